//! Counts of long runs. The programs add them to `tests/counts.json` themselves (`--record`), and the table in
//! `docs/testing.md` is made of that file: nobody types a figure.

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One run of a program.
#[derive(Serialize, Deserialize)]
struct Run {
    /// What it was called with.
    arguments: Vec<String>,
    /// The commit that was checked out.
    commit: String,
    /// What it printed.
    counts: BTreeMap<String, Json>,
}

/// The runs of each program.
type Runs = BTreeMap<String, Vec<Run>>;

const FILE: &str = "tests/counts.json";
const PLACE: Place = Place {
    page: "docs/testing.md",
    begin: "<!-- counts: written by the program `counts` -->\n",
    end: "<!-- end of counts -->\n",
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a program recorded in a file of the repository; nothing where there is none.
pub(crate) fn read_record<R: DeserializeOwned + Default>(name: &str) -> Result<R> {
    let path = root().join(name);
    if !path.exists() {
        return Ok(R::default());
    }
    serde_json::from_str(&std::fs::read_to_string(path)?).with_context(|| format!("{name} is damaged"))
}

/// Writes what a program records into a file of the repository.
pub(crate) fn write_record(name: &str, record: &impl Serialize) -> Result<()> {
    Ok(std::fs::write(root().join(name), serde_json::to_string_pretty(record)? + "\n")?)
}

/// The place of a table that a program writes.
pub(crate) struct Place {
    /// The page.
    pub page: &'static str,
    /// The line before it.
    pub begin: &'static str,
    /// The line behind it.
    pub end: &'static str,
}

impl Place {
    /// The page with this table in its place, and as it stands.
    pub(crate) fn page_with(&self, table: &str) -> Result<(String, String)> {
        let Self { page, begin, end } = self;
        let text = std::fs::read_to_string(root().join(page))?;
        let (before, rest) = text.split_once(begin).with_context(|| format!("{page} has no line {begin}"))?;
        let (_, after) = rest.split_once(end).with_context(|| format!("{page} has no line {end}"))?;
        Ok((format!("{before}{begin}{table}{end}{after}"), text))
    }

    /// Writes the table.
    pub(crate) fn write(&self, table: &str) -> Result<()> {
        Ok(std::fs::write(root().join(self.page), self.page_with(table)?.0)?)
    }
}

/// Adds what this run of `program` counted to `tests/counts.json`.
///
/// # Errors
/// The file cannot be read or written, or no commit is known.
pub fn record(program: &str, counts: &impl Serialize) -> Result<()> {
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(root()).output()?;
    ensure!(git.status.success(), "counts belong to a commit, and git knows none here");
    let commit = String::from_utf8(git.stdout)?.trim().to_owned();
    let counts = serde_json::from_value(serde_json::to_value(counts)?)?;
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--record" && argument != "--json").collect();
    let mut runs: Runs = read_record(FILE)?;
    runs.entry(program.to_owned()).or_default().push(Run { arguments, commit, counts });
    write_record(FILE, &runs)
}

/// Writes the table into `docs/testing.md`.
///
/// # Errors
/// A file cannot be read or written, or the page has no place for the table.
pub fn write_table() -> Result<()> {
    PLACE.write(&table(&read_record(FILE)?)?)
}

fn table(runs: &Runs) -> Result<String> {
    let mut text = String::from("\n| program | runs | counts | last commit |\n|---|---|---|---|\n");
    let mut faults = BTreeMap::new();
    for (program, runs) in runs {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, value) in runs.iter().flat_map(|run| &run.counts) {
            if let Some(number) = value.as_f64() {
                let sum = sums.entry(name).or_default();
                *sum = if name.ends_with("_max") { sum.max(number) } else { *sum + number };
            }
            for (class, count) in value.as_object().into_iter().flatten() {
                *faults.entry(class.as_str()).or_insert(0) += count.as_u64().unwrap_or(0);
            }
        }
        let counts: Vec<String> =
            sums.iter().map(|(name, sum)| format!("{} {}", grouped(*sum), name.replace('_', " "))).collect();
        let last = runs.last().map_or("", |run| &run.commit);
        writeln!(text, "| `{program}` | {} | {} | {last} |", runs.len(), counts.join(", "))?;
    }
    text.push_str("\n| fault in simulated worlds | times |\n|---|---|\n");
    for (class, count) in faults {
        writeln!(text, "| {class} | {} |", grouped(count as f64))?;
    }
    text.push('\n');
    Ok(text)
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_the_programs_counted() {
        let (wanted, text) = PLACE.page_with(&table(&read_record(FILE).unwrap()).unwrap()).unwrap();
        assert!(wanted == text, "cargo run -p tombolo-tests --bin counts writes the table into docs/testing.md");
    }

    #[test]
    fn runs_add_up_and_the_longest_time_stays_one() {
        let run = |edits: u64, ms: u64| Run {
            arguments: Vec::new(),
            commit: "c0ffee".into(),
            counts: serde_json::from_value(serde_json::json!({"edits": edits, "ms_max": ms, "faults": {"cut": 2}})).unwrap(),
        };
        let text = table(&Runs::from([("kill".into(), vec![run(1_200_000, 7), run(34, 5)])])).unwrap();
        assert!(text.contains("| `kill` | 2 | 1,200,034 edits, 7 ms max | c0ffee |"), "{text}");
        assert!(text.contains("| cut | 4 |"), "{text}");
    }
}
