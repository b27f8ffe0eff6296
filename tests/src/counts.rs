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
/// What runs add up in.
const UNITS: [&str; 5] = ["images", "kills", "law_cases", "seeds", "sequences"];
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
    let arguments = of_the_run(std::env::args().skip(1));
    let mut runs: Runs = read_record(FILE)?;
    runs.entry(program.to_owned()).or_default().push(Run { arguments, commit, counts });
    write_record(FILE, &runs)
}

/// The arguments that say what was run. What is written, and where to on this machine, is left out.
fn of_the_run(mut arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--record" | "--json" => {}
            "--save" => drop(arguments.next()),
            other if other.starts_with("--save=") => {}
            _ => kept.push(argument),
        }
    }
    kept
}

/// Writes the table into `docs/testing.md`.
///
/// # Errors
/// A file cannot be read or written, or the page has no place for the table.
pub fn write_table() -> Result<()> {
    PLACE.write(&table(&read_record(FILE)?)?)
}

/// One row a run, the newest of each program first: what an older one found stays to be read beside what the newer ones did not find
/// any more.
fn table(runs: &Runs) -> Result<String> {
    let mut text = String::from("\n| run | commit | counts |\n|---|---|---|\n");
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (program, runs) in runs {
        for run in runs.iter().rev() {
            let mut counts = Vec::new();
            for (name, value) in &run.counts {
                let Some(number) = value.as_f64() else { continue };
                counts.push(format!("{} {}", grouped(number), name.replace('_', " ")));
                if let Some(unit) = UNITS.iter().find(|unit| *unit == name) {
                    *sums.entry(unit).or_default() += number;
                }
            }
            let called = [program].into_iter().chain(&run.arguments).map(String::as_str).collect::<Vec<_>>().join(" ");
            writeln!(text, "| `{called}` | {} | {} |", run.commit, counts.join(", "))?;
        }
    }
    let sums: Vec<String> = sums.iter().map(|(unit, sum)| format!("{} {}", grouped(*sum), unit.replace('_', " "))).collect();
    writeln!(text, "\nTogether {}.", sums.join(", "))?;
    if let Some(last) = runs.get("sim").and_then(|runs| runs.last()) {
        writeln!(text, "\n| faults and verdicts in the newest run of `sim` | times |\n|---|---|")?;
        let classes: BTreeMap<&str, u64> = last.counts.values().filter_map(Json::as_object).flatten().map(count).collect();
        for (class, count) in classes {
            writeln!(text, "| {class} | {} |", grouped(count as f64))?;
        }
    }
    text.push('\n');
    Ok(text)
}

fn count<'r>((class, count): (&'r String, &'r Json)) -> (&'r str, u64) {
    (class, count.as_u64().unwrap_or(0))
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
    fn of_a_run_is_kept_what_was_run_and_no_folder_of_this_machine() {
        let arguments = ["--from", "9", "--save", "/here", "--record", "--seeds", "5", "--save=/there", "--json"];
        assert_eq!(of_the_run(arguments.map(str::to_owned).into_iter()), ["--from", "9", "--seeds", "5"]);
    }

    #[test]
    fn each_run_has_its_row_the_newest_first_and_what_was_found_once_stays() {
        let run = |seeds: u64, failing: u64, commit: &str| Run {
            arguments: vec!["--seeds".into(), seeds.to_string()],
            commit: commit.into(),
            counts: serde_json::from_value(
                serde_json::json!({"seeds": seeds, "failing": failing, "faults": {"cut": seeds / 2}}),
            )
            .unwrap(),
        };
        let text = table(&Runs::from([("sim".into(), vec![run(1_000, 3, "c0ffee"), run(200, 0, "beef00")])])).unwrap();
        let rows =
            "| `sim --seeds 200` | beef00 | 0 failing, 200 seeds |\n| `sim --seeds 1000` | c0ffee | 3 failing, 1,000 seeds |";
        assert!(text.contains(rows), "{text}");
        assert!(text.contains("Together 1,200 seeds."), "{text}");
        assert!(text.contains("| cut | 100 |"), "{text}");
    }
}
