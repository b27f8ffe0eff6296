//! Planted bugs: for each wrong that `--cfg planted` compiles in, how many seeds it takes the simulation to find it. The oracles
//! know nothing of them. What was found lies in `tests/planted.json`, and the table in `docs/testing.md` is made of that file.

use super::plan::Plan;
use super::rng::Rng;
use super::run::play;
use crate::counts::{Place, read_record, write_record};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(planted)]
use tombolo_client::protocol::planted::plant;
use tombolo_client::protocol::planted::{Planted, planted};

/// Seeds that are tried for a wrong.
pub const SEEDS: u64 = 20_000;
/// A wrong that took this many seeds is not picked: looking for it takes too long.
const PICKED_SEEDS_MAX: u64 = 2_000;
const FILE: &str = "tests/planted.json";
const PLACE: Place = Place {
    page: "docs/testing.md",
    begin: "<!-- planted: written by `sim --planted --record` -->\n",
    end: "<!-- end of planted -->\n",
};

/// How a wrong was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caught {
    /// Seeds that were played until then, the failing one included.
    pub seeds: u64,
    /// The oracle that saw it, or `panic`, or `error`.
    pub oracle: String,
}

/// What was recorded of each wrong, by its name.
pub type Record = BTreeMap<String, Caught>;

/// Without the wrongs there is nothing to choose.
#[cfg(not(planted))]
fn plant(_wrong: Option<Planted>) {}

/// Whether the wrongs are compiled in.
pub const fn is_possible() -> bool {
    cfg!(planted)
}

/// The wrongs of these names; all of them where none is named.
///
/// # Errors
/// There is no wrong of a name.
pub fn named(names: &[String]) -> Result<Vec<Planted>> {
    if names.is_empty() {
        return Ok(Planted::ALL.to_vec());
    }
    let wrong = |name: &String| Planted::ALL.iter().copied().find(|wrong| wrong.name() == name);
    names.iter().map(|name| wrong(name).with_context(|| format!("there is no planted bug `{name}`"))).collect()
}

/// So many wrongs that are found soon, chosen by a number in hexadecimal digits, such as the hash of a commit.
///
/// # Errors
/// The number cannot be read, or nothing is recorded.
pub fn pick(count: usize, by: &str) -> Result<Vec<Planted>> {
    let digits: String = by.chars().take(16).collect();
    let mut rng = Rng::part(u64::from_str_radix(&digits, 16).with_context(|| format!("`{by}` is no hexadecimal number"))?, 0);
    let record: Record = read_record(FILE)?;
    let is_soon = |wrong: &Planted| record.get(wrong.name()).is_some_and(|caught| caught.seeds < PICKED_SEEDS_MAX);
    let mut left: Vec<Planted> = Planted::ALL.iter().copied().filter(is_soon).collect();
    ensure!(left.len() >= count, "{} planted bugs are recorded as found soon, not {count}", left.len());
    Ok((0..count).map(|_| left.swap_remove(rng.index(left.len()))).collect())
}

/// Plays seeds on all cores until one fails because of the wrong. The count does not depend on the number of cores.
pub fn hunt(wrong: Planted, from: u64, seeds: u64) -> Option<Caught> {
    let mut next = from;
    while next < from + seeds {
        plant(Some(wrong));
        let (seed, oracle) = first_failing(next, from + seeds)?;
        plant(None);
        debug_assert!(!planted(wrong));
        // One that fails without the wrong too says nothing of it.
        if play(&Plan::of(seed), false).failure.is_none() {
            return Some(Caught { seeds: seed - from + 1, oracle });
        }
        next = seed + 1;
    }
    None
}

fn first_failing(from: u64, end: u64) -> Option<(u64, String)> {
    let next = AtomicU64::new(from);
    let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over =
                        found.lock().expect("no thread panics with it").as_ref().is_some_and(|(first, _)| *first < seed);
                    if seed >= end || is_over {
                        break;
                    }
                    if let Some(failure) = play(&Plan::of(seed), false).failure {
                        let mut found = found.lock().expect("no thread panics with it");
                        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                            *found = Some((seed, failure.oracle));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().expect("no thread panics with it")
}

/// The seeds that half of the wrongs need at most.
pub fn median<'c>(caught: impl Iterator<Item = &'c Caught>) -> Option<u64> {
    let mut seeds: Vec<u64> = caught.map(|caught| caught.seeds).collect();
    seeds.sort_unstable();
    seeds.get(seeds.len().saturating_sub(1) / 2).copied()
}

/// Records what was found now, forgets what is no wrong any more or was not found again within `seeds`, and writes the table into
/// `docs/testing.md`.
///
/// # Errors
/// A file cannot be read or written.
pub fn record(looked_for: &[Planted], seeds: u64, found: &Record) -> Result<()> {
    let record = renewed(read_record(FILE)?, looked_for, seeds, found);
    write_record(FILE, &record)?;
    PLACE.write(&table(&record)?)
}

fn renewed(mut record: Record, looked_for: &[Planted], seeds: u64, found: &Record) -> Record {
    record.retain(|name, known| {
        let missed = looked_for.iter().any(|wrong| wrong.name() == name) && known.seeds <= seeds;
        Planted::ALL.iter().any(|wrong| wrong.name() == name) && !missed
    });
    record.extend(found.clone());
    record
}

fn table(record: &Record) -> Result<String> {
    let mut text = String::from("\n| planted bug | what is wrong | seeds until found | oracle |\n|---|---|---|---|\n");
    for wrong in Planted::ALL {
        let (seeds, oracle) = match record.get(wrong.name()) {
            Some(caught) => (caught.seeds.to_string(), format!("`{}`", caught.oracle)),
            None => ("not found".to_owned(), String::new()),
        };
        writeln!(text, "| `{}` | {} | {seeds} | {oracle} |", wrong.name(), wrong.says())?;
    }
    if let Some(median) = median(record.values()) {
        writeln!(
            text,
            "\n{} planted bugs, {} found; the median of those found is {median} seeds.",
            Planted::ALL.len(),
            record.len()
        )?;
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_found() {
        let (wanted, text) = PLACE.page_with(&table(&read_record(FILE).unwrap()).unwrap()).unwrap();
        assert!(wanted == text, "sim --planted --record writes the table into docs/testing.md");
    }

    #[test]
    fn the_same_commit_picks_the_same_bugs_and_another_one_others() {
        let names = |by: &str| pick(10, by).unwrap().iter().map(|wrong| wrong.name()).collect::<Vec<_>>();
        let picked = names("c0ffee0123456789abcdef");
        assert_eq!(picked, names("c0ffee0123456789abcdef"));
        assert_ne!(picked, names("beef000123456789abcdef"));
        assert_eq!(picked.iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    }

    #[test]
    fn what_is_not_found_again_within_as_many_seeds_is_forgotten() {
        let (one, two) = (Planted::ALL[0], Planted::ALL[1]);
        let caught = |seeds| Caught { seeds, oracle: "kept".to_owned() };
        let known: Record = [(one.name().to_owned(), caught(7)), (two.name().to_owned(), caught(90))].into();
        let again = |seeds, found: &Record| renewed(known.clone(), &[one, two], seeds, found);
        let seeds = |record: &Record| record.values().map(|caught| caught.seeds).collect::<Vec<_>>();
        assert_eq!(seeds(&again(50, &Record::new())), [90], "too few seeds to say so of the other");
        assert_eq!(seeds(&again(90, &[(one.name().to_owned(), caught(3))].into())), [3]);
    }

    #[test]
    fn the_median_is_what_half_of_the_bugs_need_at_most() {
        let caught = |seeds| Caught { seeds, oracle: String::new() };
        assert_eq!(median([9, 1, 5].map(caught).iter()), Some(5));
        assert_eq!(median([].iter()), None);
    }
}
