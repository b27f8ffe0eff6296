//! What was measured, and how it is told.

use crate::Result;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::Duration;

/// How long something took each time.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Milliseconds.
    pub fn json(mut self) -> Value {
        self.0.sort_unstable();
        let ms = |share: f64| {
            let at = (share * self.0.len() as f64).ceil() as usize;
            let time = self.0.get(at.saturating_sub(1).min(self.0.len().saturating_sub(1)));
            (time.map_or(0.0, Duration::as_secs_f64) * 100_000.0).round() / 100.0
        };
        json!({
            "count": self.0.len(), "p50_ms": ms(0.5), "p95_ms": ms(0.95), "p999_ms": ms(0.999), "max_ms": ms(1.0),
        })
    }
}

/// Resident memory of this process in MB of 10^6 bytes: `VmRSS` now, `VmHWM` at most so far.
pub fn rss_mb(name: &str) -> Result<f64> {
    rss_mb_of("self", name)
}

/// The same of another process.
pub fn rss_mb_of(process: &str, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok((kib * 1.024).round() / 1000.0)
}

/// Each figure in a line, as Markdown.
pub fn table(told: &Map<String, Value>) -> String {
    let mut text = String::from("| figure | measured | goal |\n|---|---|---|\n");
    let mut line = |name: &str, measured: String, goal: &str| {
        writeln!(text, "| {name} | {measured} | {goal} |").expect("a string takes everything");
    };
    let of = |times: &str, what: &str| told.get(times).map_or(0.0, |times| times[what].as_f64().unwrap_or_default());
    let number = |name: &str| told.get(name).map_or_else(|| "not measured".to_owned(), ToString::to_string);
    let frames = |times: &str| {
        let all = ["p50_ms", "p95_ms", "p999_ms", "max_ms"].map(|what| of(times, what));
        let count = told.get(times).map_or(0, |times| times["count"].as_u64().unwrap_or_default());
        let [p50, p95, p999, max] = all;
        format!("median {p50} ms, p95 {p95} ms, p99.9 {p999} ms, max {max} ms of {count}")
    };
    line("rows", number("rows"), "");
    line("one notch of the wheel", frames("list_scroll"), "p95 under 4 ms");
    line("one arrow key", frames("list_key"), "p95 under 4 ms");
    line("End or Home", frames("list_jump"), "");
    line("one letter of a search", frames("list_search"), "median under 6 ms, p95 under 16 ms");
    line("a search cleared", frames("list_search_cleared"), "");
    line("frames during the first sync", frames("bootstrap_frame"), "p99.9 under 16 ms");
    line("first picture after the start of the process", format!("{} ms", number("list_visible_ms")), "250 ms");
    line("all rows listed after the start of the process", format!("{} ms", number("list_listed_ms")), "");
    line("memory when all is listed", format!("{} MB", number("list_rss_mb")), "110 MB");
    line("memory at the end; at most", format!("{} MB; {} MB", number("list_rss_after_mb"), number("list_rss_peak_mb")), "");
    line("memory during the first sync, at most", format!("{} MB", number("bootstrap_rss_peak_mb")), "");
    line("desktop: window there after the start of the process", format!("{} ms", number("desktop_visible_ms")), "250 ms");
    line("desktop: memory", format!("{} MB", number("desktop_rss_mb")), "110 MB");
    line("desktop: CPU while nobody does anything", format!("{} %", number("desktop_idle_cpu_percent")), "about 0");
    text
}
