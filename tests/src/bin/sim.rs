//! Plays seeds of the simulation, or one plan: `cargo run --release -p tombolo-tests --bin sim -- --seeds 10000`.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tombolo_tests::counts::record;
use tombolo_tests::sim::plan::Plan;
use tombolo_tests::sim::planted;
use tombolo_tests::sim::run::{Failure, play};
use tombolo_tests::sim::shrink::shrink;

/// A fifth faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Who waits for a long run hears of it each time that so many seeds were played.
const PROGRESS_SEEDS: u64 = 1_000;
/// Failures of each oracle that are told.
const TOLD_MAX: usize = 3;

/// Simulated worlds: everything goes wrong, and nothing may be lost.
#[derive(Parser)]
struct Args {
    /// Seeds to play: 1,000, and for each planted bug up to 20,000.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after so many seconds; what was played by then is counted.
    #[arg(long)]
    seconds: Option<u64>,
    /// Play this plan, or this seed, and print its trace.
    #[arg(long)]
    replay: Option<String>,
    /// Cut the first failing plan of each oracle down and save it in this folder.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Look for the bugs that `--cfg planted` compiles in, each for itself: for these, or for all.
    #[arg(long, num_args = 0.., value_name = "NAME")]
    planted: Option<Vec<String>>,
    /// Of the planted bugs look for so many that are found soon, chosen by `--by`.
    #[arg(long, requires = "planted", requires = "by")]
    pick: Option<usize>,
    /// A number in hexadecimal digits, such as the hash of a commit.
    #[arg(long)]
    by: Option<String>,
    /// Add the counts to tests/counts.json; of planted bugs, to tests/planted.json.
    #[arg(long)]
    record: bool,
}

#[derive(Default, serde::Serialize)]
struct Total {
    seeds: u64,
    failing: u64,
    sessions: u64,
    edits: u64,
    decisions: u64,
    put_back: u64,
    commits: u64,
    events: u64,
    faults: BTreeMap<String, u64>,
    verdicts: BTreeMap<String, u64>,
    seconds: f64,
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a command line prints, also how long it took")]
fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // A panic in a world is a finding like others; its text comes with it.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(what) = &args.replay {
        return replay(what, args.save.is_some());
    }
    let begun = Instant::now();
    if let Some(names) = &args.planted {
        return hunt_all(names, &args, begun);
    }
    let end = args.from + args.seeds.unwrap_or(1_000);
    let (next, total, failures) = (AtomicU64::new(args.from), Mutex::new(Total::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_late = args.seconds.is_some_and(|seconds| begun.elapsed().as_secs() >= seconds);
                    if seed >= end || is_late {
                        break;
                    }
                    let run = play(&Plan::of(seed), false);
                    let mut total = total.lock().expect("no thread panics with it");
                    total.seeds += 1;
                    total.sessions += run.counts.sessions;
                    total.edits += run.counts.edits;
                    total.decisions += run.counts.decisions;
                    total.put_back += run.counts.put_back;
                    total.commits += run.counts.commits;
                    total.events += run.counts.events;
                    for (class, count) in run.counts.faults {
                        *total.faults.entry(class).or_default() += count;
                    }
                    for (kind, count) in run.counts.verdicts {
                        *total.verdicts.entry(kind).or_default() += count;
                    }
                    if let Some(failure) = run.failure {
                        total.failing += 1;
                        eprintln!("seed {seed} fails: {}", failure.oracle);
                        failures.lock().expect("no thread panics with it").push((seed, failure));
                    }
                    if total.seeds.is_multiple_of(PROGRESS_SEEDS) {
                        eprintln!("{} seeds, {} failing, {} s", total.seeds, total.failing, begun.elapsed().as_secs());
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().expect("no thread panics with it");
    total.seconds = begun.elapsed().as_secs_f64();
    let mut failures: Vec<(u64, Failure)> = failures.into_inner().expect("no thread panics with it");
    failures.sort_by_key(|(seed, _)| *seed);
    if args.json {
        println!("{}", serde_json::to_string(&total)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&total)?);
    }
    if args.record {
        record("sim", &total)?;
    }
    tell(&failures, args.save.as_ref())?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(failures: &[(u64, Failure)], save: Option<&PathBuf>) -> Result<()> {
    let mut by_oracle: BTreeMap<&str, Vec<&(u64, Failure)>> = BTreeMap::new();
    for failure in failures {
        by_oracle.entry(&failure.1.oracle).or_default().push(failure);
    }
    for (oracle, failures) in by_oracle {
        eprintln!("{oracle}: {} seeds fail", failures.len());
        for (seed, failure) in failures.iter().take(TOLD_MAX) {
            let what: String = failure.what.chars().take(1_500).collect();
            eprintln!("  seed {seed}: {what}");
        }
        if let (Some(folder), Some((seed, _))) = (save, failures.first()) {
            let plan = shrink(&Plan::of(*seed), oracle);
            let path = folder.join(format!("{oracle}-{seed}.json"));
            std::fs::create_dir_all(folder)?;
            std::fs::write(&path, serde_json::to_string_pretty(&plan)?)?;
            eprintln!("  seed {seed} cut down to {} steps: {}", plan.steps.len(), path.display());
        }
    }
    Ok(())
}

/// Looks for planted bugs, one after another.
#[expect(clippy::print_stdout, reason = "a command line prints")]
fn hunt_all(names: &[String], args: &Args, begun: Instant) -> Result<ExitCode> {
    ensure!(
        planted::is_possible(),
        "this program was built without planted bugs; use: RUSTC_WORKSPACE_WRAPPER=$PWD/.ci/rustc-planted cargo run --release -p tombolo-tests --bin sim -- --planted"
    );
    let wrongs = match (args.pick, &args.by) {
        (Some(count), Some(by)) => planted::pick(count, by)?,
        _ => planted::named(names)?,
    };
    let seeds = args.seeds.unwrap_or(planted::SEEDS);
    let mut found = planted::Record::new();
    for wrong in &wrongs {
        let name = wrong.name();
        match planted::hunt(*wrong, args.from, seeds) {
            Some(caught) => {
                println!("{name}: caught at seed count {} by oracle {}", caught.seeds, caught.oracle);
                found.insert(name.to_owned(), caught);
            }
            None => println!("{name}: NOT caught"),
        }
    }
    if args.record {
        planted::record(&wrongs, seeds, &found)?;
    }
    let median = planted::median(found.values());
    let seconds = begun.elapsed().as_secs();
    let total = serde_json::json!({"planted": wrongs.len(), "caught": found.len(), "median_seeds": median, "seconds": seconds});
    println!("{total}");
    Ok(if found.len() == wrongs.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "a command line prints")]
fn replay(what: &str, quiet: bool) -> Result<ExitCode> {
    let plan = match what.parse() {
        Ok(seed) => Plan::of(seed),
        Err(_) => serde_json::from_str(&std::fs::read_to_string(what)?).with_context(|| format!("{what} is no plan"))?,
    };
    let run = play(&plan, !quiet);
    run.lines.iter().for_each(|line| println!("{line}"));
    println!("trace {:016x}", run.trace);
    match run.failure {
        Some(failure) => {
            println!("{}: {}", failure.oracle, failure.what);
            Ok(ExitCode::FAILURE)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}
