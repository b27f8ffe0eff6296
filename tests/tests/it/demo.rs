//! `cargo demo` with a display: the story that it proposes, in its two windows, by keyboard. Played where `TOMBOLO_SCREEN` is set: it
//! presses keys on the display that it finds, and needs `xdotool` and a window manager.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a story on a screen takes its time")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a person needs to see what happened, with much to spare on a busy machine.
const LOOK: Duration = Duration::from_millis(2500);
/// The windows are built before the demo says that they are there.
const PATIENCE: Duration = Duration::from_secs(60);

fn xdotool(arguments: &[&str]) -> String {
    let output = Command::new("xdotool").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The program and its windows, ended in any case.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let windows = xdotool(&["search", "--name", "Tombolo"]);
        windows.lines().for_each(|window| drop(xdotool(&["windowkill", window])));
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Window(String);

impl Window {
    fn of(person: &str) -> Self {
        let begun = Instant::now();
        loop {
            let found = xdotool(&["search", "--onlyvisible", "--name", person]);
            if let Some(id) = found.lines().next() {
                return Self(id.to_owned());
            }
            assert!(begun.elapsed() < PATIENCE, "the window of {person} does not come up");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn keys(&self, keys: &[&str]) {
        xdotool(&["windowactivate", "--sync", &self.0]);
        std::thread::sleep(Duration::from_millis(300));
        for key in keys {
            xdotool(&["key", "--clearmodifiers", key]);
            std::thread::sleep(Duration::from_millis(150));
        }
        std::thread::sleep(LOOK);
    }

    /// Writes a note about the first patient.
    fn note(&self, text: &str) {
        self.keys(&["ctrl+k", "Down", "Down"]);
        self.keys(&["ctrl+e"]);
        // Name, phone, village, date of birth with its calendar, sex, notes.
        self.keys(&["Tab", "Tab", "Tab", "Tab", "Tab", "Tab", "ctrl+a"]);
        xdotool(&["type", "--delay", "30", text]);
        self.keys(&["ctrl+s"]);
    }

    /// Presses the button that switches this window's network off, or on again.
    fn switch_network(&self) {
        self.keys(&["ctrl+k"]);
        // Back from the search: shortcuts, import, five tables, sync, pending changes, mode, settings, activity, and there it is.
        self.keys(&["shift+Tab"; 13]);
        self.keys(&["space"]);
    }

    /// Syncs, and closes the report. What a wrong key opened is closed before, so that it does not hinder it.
    fn sync(&self) {
        self.keys(&["Escape", "ctrl+r"]);
        self.keys(&["Escape"]);
    }
}

#[test]
fn the_story_of_the_demo_can_be_played_in_its_two_windows() {
    if std::env::var_os("TOMBOLO_SCREEN").is_none() {
        eprintln!("skipped: this story takes over keyboard and windows; `.ci/run tests` plays it on a display of its own");
        return;
    }
    let demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--rows", "50"])
        .env("SLINT_BACKEND", "winit-software")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut demo = Demo(demo);
    let mut told = BufReader::new(demo.0.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("Close both windows") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0, "the demo ended before its windows were there");
    }
    let (amina, brian) = (Window::of("amina"), Window::of("brian"));
    std::thread::sleep(LOOK);
    amina.note("from amina");
    brian.note("from brian");
    // Without a network Amina's sync fails, and Brian's note is the first that the server has. With one she is asked.
    amina.switch_network();
    amina.sync();
    brian.sync();
    amina.switch_network();
    amina.sync();
    amina.keys(&["ctrl+d"]);
    // Behind the close button: all mine, all the server's, and the one field in conflict. She keeps her own.
    amina.keys(&["Tab", "Tab", "Tab", "Right", "Left", "ctrl+Return"]);
    amina.sync();
    brian.sync();
    amina.keys(&["alt+F4"]);
    brian.keys(&["alt+F4"]);
    let mut end = String::new();
    told.read_to_string(&mut end).unwrap();
    assert!(demo.0.wait().unwrap().success());
    assert!(end.contains("Both devices are identical, nothing is pending, and the server's log verifies"), "{end}");
    // Brian's note and Amina's decision: her window knew of his before it sent anything.
    assert!(end.contains("Commits that they made: 2."), "{end}");
}
