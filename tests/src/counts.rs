//! Counts of long runs. The programs add them to `tests/counts.json` themselves (`--record`), and the table in
//! `docs/testing.md` is made of that file: nobody types a figure.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const BEGIN: &str = "<!-- counts: written by the program `counts` -->\n";
const END: &str = "<!-- end of counts -->\n";

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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn file() -> PathBuf {
    root().join("tests/counts.json")
}

fn page() -> PathBuf {
    root().join("docs/testing.md")
}

fn read() -> Result<Runs> {
    if !file().exists() {
        return Ok(Runs::new());
    }
    serde_json::from_str(&std::fs::read_to_string(file())?).context("tests/counts.json is damaged")
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
    let mut runs = read()?;
    runs.entry(program.to_owned()).or_default().push(Run { arguments, commit, counts });
    Ok(std::fs::write(file(), serde_json::to_string_pretty(&runs)? + "\n")?)
}

/// The page with the table as `tests/counts.json` has it, and as it stands.
///
/// # Errors
/// A file cannot be read, or the page has no place for the table.
pub fn page_with_table() -> Result<(String, String)> {
    let text = std::fs::read_to_string(page())?;
    let (before, rest) = text.split_once(BEGIN).context("docs/testing.md has no place for the counts")?;
    let (_, after) = rest.split_once(END).context("the place for the counts in docs/testing.md has no end")?;
    Ok((format!("{before}{BEGIN}{}{END}{after}", table(&read()?)?), text))
}

/// Writes the table into `docs/testing.md`.
///
/// # Errors
/// Those of [`page_with_table`], and of writing.
pub fn write_table() -> Result<()> {
    Ok(std::fs::write(page(), page_with_table()?.0)?)
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
fn grouped(number: f64) -> String {
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
        let (wanted, text) = page_with_table().unwrap();
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
