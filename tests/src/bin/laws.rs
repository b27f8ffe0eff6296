//! Tries the laws on many cases, or every interleaving of two devices:
//! `cargo run --release -p tombolo-tests --bin laws -- --cases 2000000`, or `-- --interleavings 5`.

use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tombolo_tests::counts::record;
use tombolo_tests::interleavings::{KINDS, Played, play_all};
use tombolo_tests::laws::{self, Counterexample, Law};

/// Cases of a law that are tried in one go, with a seed of their own.
const BATCH: u64 = 5_000;

/// Laws: what holds for every case.
#[derive(Parser)]
struct Args {
    /// Cases of all laws together.
    #[arg(long, default_value_t = 2_000_000)]
    cases: u64,
    /// The seed of all cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only laws whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
    /// Instead, play every sequence of up to so many steps of two devices on one row.
    #[arg(long, value_name = "STEPS")]
    interleavings: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Add the counts to tests/counts.json.
    #[arg(long)]
    record: bool,
}

/// What was tried of a law.
#[derive(Default)]
struct Tried {
    cases: u64,
    found: Option<Counterexample>,
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a command line prints, also how long it took")]
fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // A panic in a case is a finding like others; its text comes with it.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    if let Some(depth) = args.interleavings {
        return interleavings(depth, &args, begun);
    }
    let laws: Vec<Law> = laws::all().into_iter().filter(|law| law.name.contains(&args.only)).collect();
    anyhow::ensure!(!laws.is_empty(), "no law has {:?} in its name", args.only);
    let tried = run(&laws, args.cases, args.seed);
    let cases: u64 = tried.iter().map(|tried| tried.cases).sum();
    let failing = tried.iter().filter(|tried| tried.found.is_some()).count();
    let seconds = begun.elapsed().as_secs_f64();
    for (law, tried) in laws.iter().zip(&tried) {
        if !args.json {
            println!("{:>12}  {}", tried.cases, law.name);
        }
        if let Some(found) = &tried.found {
            eprintln!("does not hold: {}\n  {}\n  choices {:?}", law.name, found.what, found.choices);
        }
    }
    let counts = serde_json::json!({ "law_cases": cases, "failing": failing, "seconds": seconds });
    println!("{counts}");
    if args.record {
        record("laws", &counts)?;
    }
    Ok(if failing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "a command line prints")]
fn interleavings(depth: usize, args: &Args, begun: Instant) -> Result<ExitCode> {
    let mut total = Played::default();
    for kind in KINDS {
        let played = play_all(kind, depth)?;
        if !args.json {
            let seconds = begun.elapsed().as_secs_f64();
            println!("{:>12}  {kind:?}, {} ended early, after {seconds:.1} s", played.sequences, played.pruned);
        }
        played.failures.iter().for_each(|failure| eprintln!("{failure}"));
        total.sequences += played.sequences;
        total.pruned += played.pruned;
        total.failing += played.failing;
    }
    let Played { sequences, pruned, failing, .. } = total;
    let seconds = begun.elapsed().as_secs_f64();
    let counts = serde_json::json!({
        "depth": depth, "sequences": sequences, "ended_early": pruned, "failing": failing, "seconds": seconds,
    });
    println!("{counts}");
    if args.record {
        record("laws", &counts)?;
    }
    Ok(if failing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Spreads the cases over the laws in equal parts, and the batches over the processors. A law that failed is not tried on.
fn run(laws: &[Law], cases: u64, seed: u64) -> Vec<Tried> {
    let of_each = cases.div_ceil(laws.len() as u64);
    let batches = of_each.div_ceil(BATCH) as usize;
    let next = AtomicUsize::new(0);
    let tried: Vec<Mutex<Tried>> = laws.iter().map(|_| Mutex::default()).collect();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (batch, law) = (at / laws.len(), at % laws.len());
                    if batch >= batches {
                        break;
                    }
                    if tried[law].lock().expect("no thread panics with it").found.is_some() {
                        continue;
                    }
                    let count = BATCH.min(of_each - batch as u64 * BATCH);
                    let of_batch = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(at as u64);
                    let result = laws[law].run(count as u32, of_batch);
                    let mut tried = tried[law].lock().expect("no thread panics with it");
                    tried.cases += count;
                    tried.found = tried.found.take().or(result.err());
                }
            });
        }
    });
    tried.into_iter().map(|tried| tried.into_inner().expect("no thread panics with it")).collect()
}
