//! Cuts the power at every disk operation of a set of workloads, and looks at what is found afterwards:
//! `cargo run --release -p tombolo-tests --bin crash -- --images 5000`.
//!
//! Each image is a run of the simulation: people work and sync, the power of one device or of the server goes at one disk
//! operation, writes that were not synced are lost, torn or reordered, in half of the runs the power goes again while the
//! store is repaired, and then everything that the simulation demands must hold. As a control the same is done on disks whose
//! syncs lie, which must be found out.

use anyhow::{Result, bail};
use clap::Parser;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tombolo_tests::counts::record;
use tombolo_tests::sim::plan::{Plan, Step, Timed};
use tombolo_tests::sim::run::{Failure, play};

/// A fifth faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Failures that are told.
const TOLD_MAX: usize = 5;
/// Runs on lying disks.
const LYING_RUNS: u64 = 60;

/// Power cuts at every disk operation, on real stores.
#[derive(Parser)]
struct Args {
    /// Images to look at.
    #[arg(long, default_value_t = 5_000)]
    images: u64,
    /// The first workload.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play one point and print its trace: workload, operation, and `server` or `device`, such as `162:78:server`.
    #[arg(long)]
    replay: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Add the counts to tests/counts.json.
    #[arg(long)]
    record: bool,
}

#[derive(Default, serde::Serialize)]
struct Total {
    /// Images of disks that were looked at.
    images: u64,
    /// Workloads that they are of.
    workloads: u64,
    /// Points at which the power went.
    points: u64,
    /// Writes that were kept in part.
    torn_writes: u64,
    /// Writes that were lost before they were synced.
    unsynced_writes: u64,
    /// Runs in which something that was promised did not hold.
    lost: u64,
    /// Runs in which a store held a torn state: its log or its folds did not agree.
    torn: u64,
    /// Runs in which a store did not open.
    unopenable: u64,
    /// Runs on lying disks, and in how many of them that was found out.
    lying: (u64, u64),
    seconds: f64,
}

/// One run: a workload with the power cut at one operation.
struct Point {
    plan: Plan,
}

impl Point {
    /// The `index`-th point of all: workloads follow each other, each with all operations of a device and of the server.
    fn of(workload: &Workload, operation: u64, of_server: bool) -> Self {
        let mut plan = workload.plan.clone();
        plan.knobs.salt = operation + 1;
        let again = operation.is_multiple_of(2).then_some(1 + operation % 23);
        let step = if of_server { Step::ServerPower(operation, again) } else { Step::ClientPower(0, operation, again) };
        plan.steps.insert(0, Timed { at_ms: 0, step });
        Self { plan }
    }
}

/// People who work and sync while nothing else goes wrong; half-way the log is compacted.
struct Workload {
    plan: Plan,
    operations: (u64, u64),
}

impl Workload {
    fn of(seed: u64, lying: bool) -> Self {
        let mut plan = Plan::of(seed);
        plan.steps.retain(|timed| matches!(timed.step, Step::Person(..)));
        plan.steps.truncate(40);
        let half = plan.steps.len() / 2;
        plan.steps.insert(half, Timed { at_ms: plan.steps[half].at_ms, step: Step::Compact(0) });
        plan.knobs.devices = 2;
        plan.knobs.lying_disks = lying;
        let operations = play(&plan, false).operations;
        Self { plan, operations }
    }
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a command line prints, also how long it took")]
fn main() -> Result<ExitCode> {
    let args = Args::parse();
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(what) = &args.replay {
        return replay(what);
    }
    let begun = Instant::now();
    let (total, failures) = (Mutex::new(Total::default()), Mutex::new(Vec::new()));
    let next = AtomicU64::new(args.from);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while total.lock().expect("no thread panics with it").images < args.images {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let workload = Workload::of(seed, false);
                    total.lock().expect("no thread panics with it").workloads += 1;
                    for (operations, of_server) in [(workload.operations.0, false), (workload.operations.1, true)] {
                        for operation in 1..=operations {
                            if total.lock().expect("no thread panics with it").images >= args.images {
                                return;
                            }
                            let run = play(&Point::of(&workload, operation, of_server).plan, false);
                            let mut total = total.lock().expect("no thread panics with it");
                            total.points += 1;
                            total.images += run.counts.cuts;
                            total.torn_writes += run.counts.torn;
                            total.unsynced_writes += run.counts.lost;
                            if let Some(failure) = run.failure {
                                match failure.oracle.as_str() {
                                    "opens" => total.unopenable += 1,
                                    "verify" | "fold" | "log" => total.torn += 1,
                                    _ => total.lost += 1,
                                }
                                failures.lock().expect("no thread panics with it").push((seed, operation, of_server, failure));
                            }
                        }
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().expect("no thread panics with it");
    total.lying = lying();
    total.seconds = begun.elapsed().as_secs_f64();
    let text = if args.json { serde_json::to_string(&total)? } else { serde_json::to_string_pretty(&total)? };
    println!("{text}");
    if args.record {
        record("crash", &total)?;
    }
    let failures: Vec<(u64, u64, bool, Failure)> = failures.into_inner().expect("no thread panics with it");
    for (seed, operation, of_server, failure) in failures.iter().take(TOLD_MAX) {
        let whose = if *of_server { "server" } else { "device" };
        let what: String = failure.what.chars().take(800).collect();
        eprintln!("workload {seed}, operation {operation} of the {whose}: {}: {what}", failure.oracle);
    }
    if total.lying.1 == 0 {
        eprintln!("the control failed: no lying disk was found out");
    }
    Ok(if failures.is_empty() && total.lying.1 > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays one point and prints its trace.
#[expect(clippy::print_stdout, reason = "a command line prints")]
fn replay(what: &str) -> Result<ExitCode> {
    let (workload, operation, of_server) = match what.split(':').collect::<Vec<_>>()[..] {
        [workload, operation, "server"] => (workload.parse()?, operation.parse()?, true),
        [workload, operation, "device"] => (workload.parse()?, operation.parse()?, false),
        _ => bail!("{what} is not WORKLOAD:OPERATION:server or WORKLOAD:OPERATION:device"),
    };
    let run = play(&Point::of(&Workload::of(workload, false), operation, of_server).plan, true);
    run.lines.iter().for_each(|line| println!("{line}"));
    match run.failure {
        Some(failure) => {
            println!("{}: {}", failure.oracle, failure.what);
            Ok(ExitCode::FAILURE)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Runs on disks whose syncs lie, and in how many of them that was found out.
fn lying() -> (u64, u64) {
    let mut found = 0;
    for seed in 0..LYING_RUNS {
        let workload = Workload::of(seed % 6, true);
        let operations = workload.operations.1.max(2);
        let point = Point::of(&workload, operations / 2 + seed % (operations / 2), seed.is_multiple_of(2));
        found += u64::from(play(&point.plan, false).failure.is_some());
    }
    (LYING_RUNS, found)
}
