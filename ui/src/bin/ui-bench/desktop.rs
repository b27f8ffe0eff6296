//! The desktop application itself on a display, with the software renderer: when its window is there, what it holds, and what it does when nobody does.

use crate::figures::rss_mb_of;
use crate::{PATIENCE, Result, now};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// From the start until all is read and painted.
const SETTLED: Duration = Duration::from_secs(5);
/// How long nobody does anything.
const IDLE: Duration = Duration::from_secs(20);
/// The kernel's unit of CPU time, on every Linux that runs this.
const TICKS_PER_SECOND: f64 = 100.0;

/// `None` where there is no display, or nothing that looks for windows.
pub fn figures(store: &Path) -> Result<Option<Map<String, Value>>> {
    let display = std::env::var_os("DISPLAY").is_some_and(|display| !display.is_empty());
    if !display || Command::new("xdotool").arg("version").output().is_err() {
        eprintln!("ui-bench: the desktop application itself is not measured: that needs an X display and xdotool");
        return Ok(None);
    }
    let program = build()?;
    let data = store.with_extension("desktop");
    let began = now();
    let window = Window(
        Command::new(program)
            .arg("--store")
            .arg(store)
            .arg("--data")
            .arg(&data)
            .env("SLINT_BACKEND", "winit-software")
            .spawn()?,
    );
    let process = window.0.id().to_string();
    while !there(&process)? {
        if began.elapsed() > PATIENCE {
            return Err("the desktop application shows no window".into());
        }
    }
    let visible = began.elapsed();
    std::thread::park_timeout(SETTLED);
    let before = cpu_ticks(&process)?;
    std::thread::park_timeout(IDLE);
    let ticks = cpu_ticks(&process)? - before;
    Ok(Some(Map::from_iter([
        ("desktop_visible_ms".to_owned(), json!(visible.as_millis())),
        ("desktop_rss_mb".to_owned(), json!(rss_mb_of(&process, "VmRSS")?)),
        ("desktop_rss_peak_mb".to_owned(), json!(rss_mb_of(&process, "VmHWM")?)),
        ("desktop_idle_cpu_percent".to_owned(), json!(ticks / TICKS_PER_SECOND / IDLE.as_secs_f64() * 100.0)),
    ])))
}

/// A window that is closed with this handle.
struct Window(Child);

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds the desktop application like this program.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = std::env::current_exe()?;
    let built =
        Command::new(cargo).args(["build", "--release", "--quiet", "-p", "tombolo-ui", "--bin", "tombolo-desktop"]).status()?;
    if built.success() {
        Ok(own.with_file_name("tombolo-desktop"))
    } else {
        Err("the desktop application does not build".into())
    }
}

fn there(process: &str) -> Result<bool> {
    let found = Command::new("xdotool").args(["search", "--onlyvisible", "--pid", process]).output()?;
    Ok(!found.stdout.is_empty())
}

/// CPU time in user and system mode.
fn cpu_ticks(process: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name in brackets.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("not a number");
    Ok(number(11)? + number(12)?)
}
