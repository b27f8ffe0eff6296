//! What the kernel knows of a process.

use anyhow::{Context, Result};
use std::fs;
use std::time::{Duration, Instant};

/// The kernel counts CPU in hundredths of a second on every Linux that Rust knows.
const TICK_MS: u64 = 10;

#[expect(clippy::disallowed_methods, reason = "the benchmark measures time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "idleness is measured over a time")]
pub(super) fn let_time_pass(time: Duration) {
    std::thread::sleep(time);
}

/// CPU of a process so far, user and system, in milliseconds.
pub(super) fn cpu_ms(pid: u32) -> Result<u64> {
    ticks(&pid.to_string(), 11)
}

/// CPU of all children of this process that were waited for.
pub(super) fn children_cpu_ms() -> Result<u64> {
    ticks("self", 13)
}

/// The sum of two neighbouring fields of `stat`, counted behind the name, which may have anything in it.
fn ticks(process: &str, field: usize) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
    let fields: Vec<u64> = fields.split_whitespace().skip(field).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(fields.iter().sum::<u64>() * TICK_MS)
}

/// Resident memory now, in kB.
pub(super) fn rss_kb(pid: u32) -> Option<u64> {
    status_kb(pid, "VmRSS:")
}

/// The most that was resident, in kB.
pub(super) fn peak_kb(pid: u32) -> Option<u64> {
    status_kb(pid, "VmHWM:")
}

/// From here on the peak is a new one.
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status_kb(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The value below which so many of a hundred lie.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
