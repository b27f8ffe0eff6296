//! The window that has a store comes to the front under Wayland, too: in a compositor of this story's own, without a display.
//! Needs `sway` and `wtype`.

use crate::screen::until;
use crate::stage::Clinic;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A compositor, which refuses to be the superuser's: there it is nobody's.
struct Desktop {
    runtime: TempDir,
    sway: Child,
}

const NOBODY: u32 = 65534;

impl Desktop {
    fn begin() -> Option<Self> {
        let is_here = |tool: &str| Command::new(tool).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if !["sway", "swaymsg", "wtype"].into_iter().all(is_here) {
            eprintln!("skipped: sway and wtype are not here; `.ci/run tests` brings them");
            return None;
        }
        let runtime = tempfile::tempdir().unwrap();
        let config = runtime.path().join("config");
        fs::write(&config, "workspace_layout tabbed\n").unwrap();
        let is_superuser = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = if is_superuser {
            chown(runtime.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sway"]);
            command
        } else {
            Command::new("sway")
        };
        let without_devices = [("WLR_BACKENDS", "headless"), ("WLR_LIBINPUT_NO_DEVICES", "1"), ("WLR_RENDERER", "pixman")];
        command.arg("--config").arg(&config).envs(without_devices).env("XDG_RUNTIME_DIR", runtime.path());
        let sway = command.env("HOME", runtime.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let desktop = Self { runtime, sway };
        until("the compositor is there", || desktop.socket("sway-ipc").zip(desktop.socket("wayland-")));
        Some(desktop)
    }

    fn socket(&self, begin: &str) -> Option<PathBuf> {
        let mut paths = fs::read_dir(self.runtime.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.find(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(begin) && !name.ends_with(".lock")
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", self.runtime.path()).env_remove("DISPLAY");
        command.env("WAYLAND_DISPLAY", self.socket("wayland-").unwrap()).env("SWAYSOCK", self.socket("sway-ipc").unwrap());
        command
    }

    /// A window on the store of a device that is signed in, once it is in front.
    fn open(&self, clinic: &Clinic, name: &str, settings: &str) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_tombolo-desktop"));
        command.arg("--store").arg(clinic.folder_of(name)).arg("--data").arg(clinic.folder.path().join(settings));
        let window = command.env("SLINT_BACKEND", "winit-software").spawn().unwrap();
        self.is_in_front(&window);
        window
    }

    fn is_in_front(&self, window: &Child) {
        until("it is in front", || (self.in_front()? == u64::from(window.id())).then_some(()));
    }

    /// The process whose window has the keys.
    fn in_front(&self) -> Option<u64> {
        let output = self.command("swaymsg").args(["-t", "get_tree"]).output().unwrap();
        let mut nodes = vec![serde_json::from_slice::<Value>(&output.stdout).unwrap()];
        while let Some(mut node) = nodes.pop() {
            if node["focused"] == true && node["pid"].is_u64() {
                return node["pid"].as_u64();
            }
            if let Some(below) = node["nodes"].as_array_mut() {
                nodes.append(below);
            }
        }
        None
    }

    /// Presses a key, once the window has seen that there is a keyboard.
    fn key(&self, key: &str) {
        assert!(self.command("wtype").args(["-s", "1000", "-k", key, "-s", "300"]).status().unwrap().success());
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        let _ = self.sway.kill();
        let _ = self.sway.wait();
    }
}

#[test]
fn under_wayland_the_window_that_has_the_store_comes_to_the_front_and_goes_on() {
    let Some(desktop) = Desktop::begin() else { return };
    let clinic = Clinic::open();
    ["amina", "brian"].into_iter().for_each(|name| drop(clinic.signed_in(name)));
    let mut first = desktop.open(&clinic, "amina", "home");
    // It would be in front again when the second one has gone.
    let mut other = desktop.open(&clinic, "brian", "his");
    let mut second = desktop.open(&clinic, "amina", "again");
    // The button that shows the other one has the focus, as soon as it is known that the store is open.
    let ended = until("the second one has gone", || {
        desktop.key("Return");
        second.try_wait().unwrap()
    });
    assert!(ended.success(), "{ended}");
    desktop.is_in_front(&first);
    assert!(other.try_wait().unwrap().is_none());
    assert!(desktop.command("swaymsg").arg("kill").stdout(Stdio::null()).status().unwrap().success());
    let ended = until("it is closed like any other", || first.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    other.kill().unwrap();
    other.wait().unwrap();
    drop(tombolo_client::Client::open(&clinic.folder_of("amina").join(tombolo_client::paths::STORE_FILE)).unwrap());
}
