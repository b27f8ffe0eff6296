//! What a screen reader hears of a real window over AT-SPI, and that it can work the window: on a session bus of its own.
//! Played where `TOMBOLO_SCREEN` is set, as [`crate::screen`] is; needs `dbus-daemon`, AT-SPI and Python's binding of it.

use crate::screen::{Window, screen, until};
use crate::stage::{Clinic, PATIENTS};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader.py");
/// What a person works by: each has a name.
const WORKED_BY: [&str; 8] = ["push button", "button", "entry", "text", "check box", "combo box", "list item", "page tab"];

/// A session bus with what passes on what windows say.
struct Bus {
    address: String,
    daemon: Child,
    launcher: Child,
}

impl Bus {
    fn start() -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--print-address", "--nofork"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        let launcher = Command::new("/usr/libexec/at-spi-bus-launcher")
            .arg("--launch-immediately")
            .env("DBUS_SESSION_BUS_ADDRESS", &address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bus = Self { address, daemon, launcher };
        until("a screen reader may listen", || bus.reader(&["on"]).map(drop));
        bus
    }

    /// What the reader prints; `None` where it could not do what it was told.
    fn reader(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(SCRIPT).args(arguments).env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn tree(&self, window: &Window) -> Vec<Value> {
        let text = self.reader(&["tree", &window.pid()]).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until something is heard.
    fn hears(&self, window: &Window, role: &str, name: &str) -> Value {
        until(&format!("{role} {name:?} is heard"), || {
            self.tree(window).into_iter().find(|element| element["role"] == role && element["name"] == name)
        })
    }

    fn press(&self, window: &Window, label: &str) {
        until(&format!("{label:?} can be pressed"), || self.reader(&["press", &window.pid(), label]));
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Asked to end, the launcher ends the second bus that it started.
        let _ = Command::new("kill").arg(self.launcher.id().to_string()).status();
        let _ = self.launcher.wait();
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn a_screen_reader_hears_the_window_and_works_it() {
    let Some(_screen) = screen() else { return };
    let clinic = Clinic::open();
    clinic.signed_in("amina");
    let bus = Bus::start();
    let window = Window::heard_on(&clinic, "amina", &bus.address);
    for patient in PATIENTS {
        bus.hears(&window, "list item", patient);
    }
    for element in bus.tree(&window) {
        let role = element["role"].as_str().unwrap();
        if WORKED_BY.contains(&role) && element["focusable"] == true {
            assert_ne!(element["name"], "", "what is worked by has a name: {element}");
        }
    }
    bus.press(&window, "Settings");
    window.activate();
    window.keys(&["Tab", "Left"]);
    until("the reader is at what an arrow key chose", || {
        bus.tree(&window).into_iter().find(|element| element["name"] == "Manual" && element["focused"] == true)
    });
    window.keys(&["Escape"]);
    bus.press(&window, PATIENTS[2]);
    bus.hears(&window, "label", &format!("Name: {}", PATIENTS[2]));
    bus.press(&window, "Edit");
    let name = bus.hears(&window, "entry", "Name (required)");
    assert_eq!(name["focused"], true, "the form begins with its first field: {name}");
    drop(window);
    clinic.sound();
}
