//! Figures that are kept: `bench --record` writes them into `tests/bench.json`, and the table in `docs/performance.md` is made of
//! that file. `bench --check` fails when a work takes more bytes than were recorded.

use super::figures::{Figures, number};
use crate::counts::{Place, grouped, read_record, write_record};
use anyhow::Result;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const FILE: &str = "tests/bench.json";
const PLACE: Place = Place {
    page: "docs/performance.md",
    begin: "<!-- figures: written by the program `counts` -->\n",
    end: "<!-- end of figures -->\n",
};
/// What a work may take more than is recorded,
const GROWTH_MAX_PERCENT: f64 = 3.0;
/// beside the bytes by which two runs differ, with ids, times and the order in which messages meet.
const SLACK: f64 = 128.0;

/// The figures of each work, by [`Figures::key`].
type Recorded = BTreeMap<String, Map<String, Json>>;

/// Records figures in place of those that were there.
///
/// # Errors
/// The file cannot be read or written.
pub fn record(figures: &[Figures]) -> Result<()> {
    let mut recorded: Recorded = read_record(FILE)?;
    recorded.extend(figures.iter().map(|figures| (figures.key(), figures.values.clone())));
    write_record(FILE, &recorded)
}

/// What grew by more than 3 % over the record, in words; works that are not recorded are named too.
///
/// # Errors
/// The record cannot be read.
pub fn check(figures: &[Figures]) -> Result<Vec<String>> {
    Ok(grown(figures, &read_record(FILE)?))
}

fn grown(figures: &[Figures], recorded: &Recorded) -> Vec<String> {
    let mut complaints = Vec::new();
    for figures in figures {
        let key = figures.key();
        let Some(before) = recorded.get(&key) else {
            complaints.push(format!("{key} is not recorded: bench --record"));
            continue;
        };
        for name in ["up", "down"] {
            let (was, is) = (before.get(name).and_then(Json::as_f64).unwrap_or(0.0), figures.number(name));
            if is > was * (1.0 + GROWTH_MAX_PERCENT / 100.0) + SLACK {
                complaints
                    .push(format!("{key}: {is} B {name}, more than {GROWTH_MAX_PERCENT} % over the {was} B that are recorded"));
            }
        }
    }
    complaints
}

/// Writes the table into `docs/performance.md`.
///
/// # Errors
/// A file cannot be read or written, or the page has no place for the table.
pub fn write_table() -> Result<()> {
    PLACE.write(&table(&read_record(FILE)?)?)
}

/// A line of the table: what it is of, the names of its figures, the goal, the best peer, and the floor.
struct Line {
    what: &'static str,
    of: &'static str,
    shown: &'static [(&'static str, &'static str)],
    goal: &'static str,
    peer: &'static str,
    floor: Floor,
}

/// What the same content takes compressed as CSV, or something else that was measured beside it.
enum Floor {
    None,
    /// zstd 19 of the rows or edits in this record.
    Zstd19(&'static str),
    /// Another figure of the same record.
    Figure(&'static str, &'static str),
}

const BYTES: &[(&str, &str)] = &[("up", "B up"), ("down", "B down"), ("turns", "turns")];
const WALL: &[(&str, &str)] = &[("wall_ms", "ms")];
const COSTS: &[(&str, &str)] = &[
    ("wall_ms", "ms wall"),
    ("client_cpu_ms", "ms client CPU"),
    ("server_cpu_ms", "ms server CPU"),
    ("client_rss_mb", "MB client RSS"),
    ("server_rss_mb", "MB server RSS"),
];
const FIRST_COSTS: &[(&str, &str)] =
    &[("first_wall_ms", "ms wall"), ("first_client_cpu_ms", "ms client CPU"), ("first_server_cpu_ms", "ms server CPU")];
/// What a first sync is to cost, and what it costs the best peer.
const COST_GOAL: &str = "700 ms; 600 / 200 ms CPU; 120 MB";
const COST_PEER: &str = "1,725 ms; 1,184 / 370 ms; 315 MB";
const GROWN: &[(&str, &str)] = &[
    ("save_us_p50", "us a save"),
    ("noop_down", "B for nothing to do"),
    ("noop_wall_ms", "ms for nothing to do"),
    ("pull_down", "B for 100 edits"),
    ("pull_wall_ms", "ms for 100 edits"),
    ("first_client_rss_mb", "MB client RSS in the first sync"),
];
const LOAD: &[(&str, &str)] = &[("changes_a_second", "changes/s"), ("p50_ms", "ms p50"), ("p99_ms", "ms p99")];

const LINES: &[Line] = &[
    line(
        "First sync, 10,000 rows",
        "W1 10000",
        BYTES,
        "540 kB down",
        "774,514 B (automerge)",
        Floor::Zstd19("FLOOR rows 10000"),
    ),
    line(
        "First sync, 100,000 rows",
        "W1 100000",
        BYTES,
        "5.3 MB down",
        "9,066,782 B (gzip over HTTP)",
        Floor::Zstd19("FLOOR rows 100000"),
    ),
    line("Its cost for the first device of a section", "W1 100000", FIRST_COSTS, COST_GOAL, COST_PEER, Floor::None),
    line("Its cost, median of three devices", "W1 100000", COSTS, COST_GOAL, COST_PEER, Floor::None),
    line(
        "Client store, 100,000 rows",
        "W1 100000",
        &[("store_disk_bytes", "B on the disk"), ("store_bytes", "B long")],
        "25 MB",
        "24 MB",
        Floor::None,
    ),
    line("First sync, cut five times", "W1C 100000", BYTES, "", "", Floor::None),
    line(
        "Push 1,000 edits",
        "W2 10000",
        BYTES,
        "16 kB up, 1 kB down",
        "44,124 / 44,162 B (Yjs)",
        Floor::Zstd19("FLOOR edits of W2 10000"),
    ),
    line(
        "Pull 100 edits",
        "W3 10000",
        BYTES,
        "0.5 kB up, 1.9 kB down",
        "668 / 4,403 B (Yjs)",
        Floor::Zstd19("FLOOR edits of W3 10000"),
    ),
    line(
        "Nothing to do, reconnect",
        "W4 10000",
        BYTES,
        "600 B, 2 round trips",
        "96 / 197 B (no session, no sign-in)",
        Floor::None,
    ),
    line("Nothing to do, open session", "W4O 10000", BYTES, "60 B, 1 round trip", "", Floor::None),
    line("Idle and live", "W5 10000", &[("bytes_an_hour", "B an hour")], "2 kB an hour", "5,760 B (automerge)", Floor::None),
    line("Nothing to do at 600 ms, 9.6 kbit/s", "W6 W4 9600 10000", WALL, "1.7 s", "1.5 s", Floor::None),
    line("Pull at 9.6 kbit/s", "W6 W3 9600 10000", WALL, "3.6 s", "10.0 s", Floor::None),
    line("Push at 9.6 kbit/s", "W6 W2 9600 10000", WALL, "18 s", "94.0 s", Floor::None),
    line("Nothing to do at 600 ms, 64 kbit/s", "W6 W4 64000 10000", WALL, "1.3 s", "1.3 s", Floor::None),
    line("Pull at 64 kbit/s", "W6 W3 64000 10000", WALL, "1.9 s", "2.5 s", Floor::None),
    line("Push at 64 kbit/s", "W6 W2 64000 10000", WALL, "4.5 s", "15.6 s", Floor::None),
    line(
        "One durable save",
        "W7 10000",
        &[("save_us_p50", "us p50"), ("save_us_p99", "us p99"), ("over_fdatasync", "x fdatasync")],
        "2.5x fdatasync",
        "1.4x (plain SQLite insert)",
        Floor::Figure("fdatasync_us_p50", "us"),
    ),
    line("1,000 saves in one transaction", "W7 10000", &[("transaction_ms", "ms")], "30 ms", "", Floor::None),
    line(
        "Memory of an idle session",
        "W8 100",
        &[("kb_a_session", "kB a session"), ("sessions", "sessions"), ("server_rss_mb", "MB server RSS")],
        "10 kB, 10,000 sessions",
        "9.1 kB (socket only)",
        Floor::None,
    ),
    line("200 devices, single edits", "SERVER single edits 0", LOAD, "10,000 changes/s, p99 50 ms", "", Floor::None),
    line("200 devices, batches of 100", "SERVER batches of 100 0", LOAD, "40,000 changes/s", "", Floor::None),
    line("At 10,000 rows", "GROWTH 10000", GROWN, "flat", "", Floor::None),
    line("At 100,000 rows", "GROWTH 100000", GROWN, "flat", "", Floor::None),
    line("At 1,000,000 rows", "GROWTH 1000000", GROWN, "flat", "", Floor::None),
];

const fn line(
    what: &'static str,
    of: &'static str,
    shown: &'static [(&'static str, &'static str)],
    goal: &'static str,
    peer: &'static str,
    floor: Floor,
) -> Line {
    Line { what, of, shown, goal, peer, floor }
}

fn table(recorded: &Recorded) -> Result<String> {
    let mut text = String::from("\n| what | measured | goal | best peer | floor |\n|---|---|---|---|---|\n");
    for Line { what, of, shown, goal, peer, floor } in LINES {
        let Some(figures) = recorded.get(*of) else { continue };
        let figure = |(name, unit): &(&str, &str)| Some(format!("{} {unit}", shown_number(figures.get(*name)?)));
        let measured: Vec<String> = shown.iter().filter_map(figure).collect();
        if measured.is_empty() {
            continue;
        }
        let floor = match floor {
            Floor::None => String::new(),
            Floor::Zstd19(of) => {
                recorded.get(*of).and_then(|floor| floor.get("zstd_19")).map(shown_number).unwrap_or_default() + " B"
            }
            Floor::Figure(name, unit) => figures.get(*name).map(shown_number).unwrap_or_default() + " " + unit,
        };
        writeln!(text, "| {what} | {} | {goal} | {peer} | {floor} |", measured.join(", "))?;
    }
    text.push('\n');
    Ok(text)
}

fn shown_number(value: &Json) -> String {
    match value.as_f64() {
        Some(whole) if whole.fract() == 0.0 => grouped(whole),
        Some(other) => number(other).to_string(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_the_benchmark_recorded() {
        let (wanted, text) = PLACE.page_with(&table(&read_record(FILE).unwrap()).unwrap()).unwrap();
        assert!(wanted == text, "cargo run -p tombolo-tests --bin counts writes the table into docs/performance.md");
    }

    #[test]
    fn three_percent_more_is_borne_and_four_are_not() {
        let work = |down: u64| Figures::of("W1", 10).with("up", 5).with("down", down);
        let recorded = Recorded::from([("W1 10".into(), work(100_000).values)]);
        assert!(grown(&[work(103_000)], &recorded).is_empty());
        assert_eq!(grown(&[work(104_000)], &recorded).len(), 1);
        assert_eq!(grown(&[Figures::of("W2", 10)], &recorded), ["W2 10 is not recorded: bench --record"]);
    }
}
