//! Stories in real windows with a real server, by keyboard alone: two people sign in, edit the same note offline, sync, and the
//! second one decides; a window is opened twice; a clock is set under a window. Played where `TOMBOLO_SCREEN` is set: it presses keys on the display that it finds, and needs `xdotool`
//! and a window manager.

use crate::stage::{Clinic, PASSWORD, PATIENTS};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tombolo_client::Client;
use tombolo_client::paths::{STORE_FILE, store_folder};
use tombolo_client::protocol::schema::{CLINIC, Plain};
use tombolo_client::table::{Fields, Find};

/// What a person needs to see what happened, with much to spare on a busy machine.
const LOOK: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(60);

/// Modes as the settings have them.
const METERED: u8 = 2;
const AUTOMATIC: u8 = 1;

/// One story at a time: keys go to the window in front.
static SCREEN: Mutex<()> = Mutex::new(());

/// The screen for one story; `None` where this process may not have it.
pub fn screen() -> Option<MutexGuard<'static, ()>> {
    if std::env::var_os("TOMBOLO_SCREEN").is_none() {
        eprintln!("skipped: this story takes over keyboard and windows; `.ci/run tests` plays it on a display of its own");
        return None;
    }
    Some(SCREEN.lock().unwrap_or_else(PoisonError::into_inner))
}

fn xdotool(arguments: &[&str]) -> String {
    let output = Command::new("xdotool").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(got) = get() {
            return got;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A window in a process of its own.
pub struct Window {
    process: Child,
    id: String,
    data: PathBuf,
}

impl Window {
    fn open(clinic: &Clinic, name: &str) -> Self {
        let data = clinic.folder.path().join(format!("{name}-home"));
        Self::start(Command::new(env!("CARGO_BIN_EXE_tombolo-desktop")).arg("--data").arg(&data), data)
    }

    /// On the store of a device that is signed in, where a screen reader listens on this bus.
    pub fn heard_on(clinic: &Clinic, name: &str, bus: &str) -> Self {
        let (mut command, data) = Self::on_store(clinic, name, "home");
        Self::start(command.env("DBUS_SESSION_BUS_ADDRESS", bus), data)
    }

    /// On the store of a device that is signed in, with settings of its own.
    fn on_store(clinic: &Clinic, name: &str, settings: &str) -> (Command, PathBuf) {
        let data = clinic.folder.path().join(format!("{name}-{settings}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo-desktop"));
        command.arg("--store").arg(clinic.folder_of(name)).arg("--data").arg(&data);
        (command, data)
    }

    /// Metered: it connects only to sync, so that everything in between is offline.
    fn start(command: &mut Command, data: PathBuf) -> Self {
        Self::start_in(METERED, command, data)
    }

    fn start_in(mode: u8, command: &mut Command, data: PathBuf) -> Self {
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("desktop.json"), format!(r#"{{"mode": {mode}}}"#)).unwrap();
        let process = command.env("SLINT_BACKEND", "winit-software").spawn().unwrap();
        let pid = process.id().to_string();
        let id = until("the window is there", || {
            let found = xdotool(&["search", "--onlyvisible", "--pid", &pid]);
            found.lines().last().map(str::to_owned).filter(|id| !id.is_empty())
        });
        let window = Self { process, id, data };
        std::thread::sleep(LOOK);
        window
    }

    pub fn pid(&self) -> String {
        self.process.id().to_string()
    }

    pub fn activate(&self) {
        xdotool(&["windowactivate", "--sync", &self.id]);
        std::thread::sleep(Duration::from_millis(300));
    }

    pub fn keys(&self, keys: &[&str]) {
        for key in keys {
            xdotool(&["key", "--clearmodifiers", key]);
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    fn write(&self, text: &str) {
        xdotool(&["type", "--delay", "30", text]);
        std::thread::sleep(Duration::from_millis(300));
    }

    fn sign_in(&self, clinic: &Clinic, name: &str) {
        self.activate();
        self.write(&clinic.address());
        self.keys(&["Return"]);
        self.write(name);
        self.keys(&["Return"]);
        self.write(PASSWORD);
        self.keys(&["Return"]);
        until("signed in", || self.title().contains(name).then_some(()));
        // The first rows come, and the report about them is closed.
        std::thread::sleep(2 * LOOK);
        self.keys(&["Escape"]);
        std::thread::sleep(LOOK);
    }

    fn title(&self) -> String {
        xdotool(&["getwindowname", &self.id])
    }

    /// Writes a note about the second patient.
    fn note(&self, text: &str) {
        self.activate();
        self.keys(&["ctrl+k", "Down", "Down", "Down"]);
        std::thread::sleep(LOOK);
        self.keys(&["ctrl+e"]);
        std::thread::sleep(LOOK);
        // Name, phone, village, date of birth with its calendar, sex, notes.
        self.keys(&["Tab", "Tab", "Tab", "Tab", "Tab", "Tab", "ctrl+a"]);
        self.write(text);
        self.keys(&["ctrl+s"]);
        std::thread::sleep(LOOK);
    }

    fn sync(&self) {
        self.activate();
        self.keys(&["ctrl+r"]);
        std::thread::sleep(2 * LOOK);
        self.keys(&["Escape"]);
        std::thread::sleep(LOOK);
    }

    /// Closes the window as a person does.
    fn close(mut self) {
        self.activate();
        self.keys(&["alt+F4"]);
        let ended = until("the program has ended", || self.process.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    }

    /// Closes the window, and opens the store that was made as somebody signed in.
    fn close_and_look(self, clinic: &Clinic, name: &str) -> Client {
        let url = clinic.address().parse().unwrap();
        let folder = store_folder(&self.data, &url, name);
        self.close();
        Client::open(&folder.join(STORE_FILE)).unwrap()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Where it was closed as a person does, it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The library that shows a program another time than it is, and lets that be set while it runs.
fn false_clock() -> Option<PathBuf> {
    let found = fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok);
    let found = found.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    if found.is_none() {
        eprintln!("skipped: setting the clock of one program takes the Debian package libfaketime");
    }
    found
}

fn notes(client: &Client) -> Plain {
    let rows =
        client.table::<Fields>("patients").unwrap().query(Find::all().equal("name", Plain::Text(PATIENTS[1].into()))).unwrap();
    rows[0].value["notes"].clone()
}

#[test]
fn two_people_in_real_windows_end_equal_by_keyboard_alone() {
    let Some(_screen) = screen() else { return };
    let clinic = Clinic::open();
    let amina = Window::open(&clinic, "amina");
    amina.sign_in(&clinic, "amina");
    let brian = Window::open(&clinic, "brian");
    brian.sign_in(&clinic, "brian");
    amina.note("from amina");
    brian.note("from brian");
    amina.sync();
    until("Amina's note is at the server", || clinic.patients().contains("from amina").then_some(()));
    brian.sync();
    assert!(!clinic.patients().contains("from brian"), "Brian is asked first");
    brian.keys(&["ctrl+d"]);
    std::thread::sleep(LOOK);
    // Behind the close button: all mine, all the server's, and the one field in conflict. He keeps his own.
    brian.keys(&["Tab", "Tab", "Tab", "Right", "Left", "ctrl+Return"]);
    std::thread::sleep(LOOK);
    brian.sync();
    until("Brian's decision is at the server", || clinic.patients().contains("from brian").then_some(()));
    amina.sync();
    let (amina, brian) = (amina.close_and_look(&clinic, "amina"), brian.close_and_look(&clinic, "brian"));
    assert_eq!(notes(&amina), Plain::Text("from brian".into()));
    assert_eq!(notes(&amina), notes(&brian));
    assert!(amina.pending().unwrap().is_empty() && brian.pending().unwrap().is_empty());
    clinic.sound();
}

#[test]
fn the_window_that_has_the_store_comes_to_the_front_when_it_is_opened_once_more() {
    let Some(_screen) = screen() else { return };
    let clinic = Clinic::open();
    clinic.signed_in("amina");
    let open = |settings| {
        let (mut command, data) = Window::on_store(&clinic, "amina", settings);
        Window::start(&mut command, data)
    };
    let first = open("home");
    let mut second = open("again");
    second.activate();
    assert_eq!(xdotool(&["getactivewindow"]), second.id);
    // It is small, so that nobody else puts it in front. The button that shows it has the focus.
    xdotool(&["windowminimize", "--sync", &first.id]);
    second.activate();
    second.keys(&["Return"]);
    let ended = until("the second one has gone", || second.process.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    until("the first one is in front", || (xdotool(&["getactivewindow"]) == first.id).then_some(()));
    assert!(first.title().contains("amina"));
}

#[test]
fn a_window_whose_clock_is_set_back_and_forward_goes_on() {
    let (Some(_screen), Some(library)) = (screen(), false_clock()) else { return };
    let mut clinic = Clinic::open();
    clinic.signed_in("amina");
    let time = clinic.folder.path().join("time");
    // Beside the true time; the steady clock goes on, as a real one does.
    let set = |shift: &str| {
        fs::write(&time, shift).unwrap();
        std::thread::sleep(LOOK);
    };
    set("+0");
    let (mut command, data) = Window::on_store(&clinic, "amina", "home");
    let clock = [("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("DONT_FAKE_MONOTONIC", "1")];
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &time).envs(clock);
    let amina = Window::start_in(AUTOMATIC, &mut command, data);
    for (shift, text) in [("+1000d", "in three years"), ("-30d", "a month ago")] {
        clinic.close();
        amina.note(text);
        // By now it waits for its next attempt, and the clock that it began to wait by is set.
        set(shift);
        clinic.new_schema(CLINIC);
        until("what was written goes by itself", || clinic.patients().contains(text).then_some(()));
    }
    set("+1000d");
    let brian = clinic.client("brian");
    let patients = brian.table::<Fields>("patients").unwrap();
    let mut row = patients.query(Find::all().equal("name", Plain::Text(PATIENTS[0].into()))).unwrap().remove(0);
    row.value.insert("notes".into(), Plain::Text("of others".into()));
    patients.update(&row).unwrap();
    brian.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
    amina.sync();
    amina.close();
    let amina = Client::open(&clinic.folder_of("amina").join(STORE_FILE)).unwrap();
    assert!(amina.pending().unwrap().is_empty());
    let caught_up = |client: &Client| client.status().unwrap().caught_up_at_ms;
    assert!(caught_up(&amina) - caught_up(&brian) > 900 * 86_400_000, "the clock was another one");
    let all = |client: &Client| -> Vec<_> {
        let rows = client.table::<Fields>("patients").unwrap().query(Find::all()).unwrap();
        rows.into_iter().map(|row| (row.id, row.value)).collect()
    };
    assert_eq!(all(&amina), all(&brian));
    clinic.sound();
}
