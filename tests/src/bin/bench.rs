//! The benchmark: `cargo run --release -p tombolo-tests --bin bench -- [W1 W2 ...] [--rows N] [--json]`. `docs/performance.md`
//! says what each work is.

use anyhow::{Result, bail};
use clap::Parser;
use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;
use tombolo_tests::bench::{
    Device, Figures, Stage, check, cut_first_sync, first_sync, floors, growth, idle, nothing_to_do, open_session, pull, push,
    record, run_swarm, saves, sessions, slow_link, throughput,
};

const WORKS: [&str; 13] = ["W1", "W1C", "W2", "W3", "W4", "W4O", "W5", "W6", "W7", "W8", "SERVER", "GROWTH", "FLOOR"];

/// Prints what the works take.
#[derive(Parser)]
#[command(name = "bench", after_help = "Example:\n  cargo run --release -p tombolo-tests --bin bench -- W1 --rows 100000")]
struct Options {
    /// Which works: W1 W1C W2 W3 W4 W4O W5 W6 W7 W8 SERVER GROWTH FLOOR; all without any
    works: Vec<String>,
    /// Patients at the server; GROWTH goes up to them
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
    /// Runs of W1 to W4, of which the medians are printed
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// How long W5 is idle; a multiple of the 25 s between two pings
    #[arg(long, default_value_t = 100)]
    idle_seconds: u64,
    /// How long SERVER pushes
    #[arg(long, default_value_t = 10)]
    load_seconds: u64,
    /// One JSON object a work
    #[arg(long)]
    json: bool,
    /// Write the figures into tests/bench.json
    #[arg(long)]
    record: bool,
    /// Fail where bytes grew by more than 3 % over tests/bench.json
    #[arg(long)]
    check: bool,
    /// Be the light devices that a file describes
    #[arg(long, hide = true)]
    swarm: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the figures are printed on standard output")]
fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(file) = &options.swarm {
        return run_swarm(file).map(|()| ExitCode::SUCCESS);
    }
    if let Some(unknown) = options.works.iter().find(|work| !WORKS.contains(&work.as_str())) {
        bail!("there is no work {unknown}; there are {}", WORKS.join(" "));
    }
    let mut all = Vec::new();
    let mut told = |figures: Figures| {
        println!("{}", if options.json { figures.json() } else { figures.line() });
        all.push(figures);
    };
    let scene = Scene { options: &options, stage: OnceCell::new(), first: OnceCell::new() };
    for work in WORKS.into_iter().filter(|work| options.works.is_empty() || options.works.iter().any(|known| known == work)) {
        scene.play(work)?.into_iter().for_each(&mut told);
    }
    if options.record {
        record(&all)?;
    }
    let grown = if options.check { check(&all)? } else { Vec::new() };
    grown.iter().for_each(|complaint| eprintln!("{complaint}"));
    Ok(if grown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the works share: a server, and a device that holds everything.
struct Scene<'a> {
    options: &'a Options,
    stage: OnceCell<Stage>,
    first: OnceCell<(Device, Figures)>,
}

impl Scene<'_> {
    fn play(&self, work: &str) -> Result<Vec<Figures>> {
        Ok(match work {
            "W1" => vec![self.first_syncs()?],
            "W1C" => vec![cut_first_sync(self.stage()?, self.first()?.1.down())?],
            "W2" => vec![self.runs(|run| push(self.stage()?, self.device()?, run))?],
            "W3" => {
                let (other, _) = first_sync(self.stage()?)?;
                vec![self.runs(|run| pull(self.stage()?, self.device()?, &other, run))?]
            }
            "W4" => vec![self.runs(|_| nothing_to_do(self.stage()?, self.device()?))?],
            "W4O" => vec![open_session(self.stage()?, self.device()?)?],
            "W5" => vec![idle(self.stage()?, self.device()?, self.options.idle_seconds)?],
            "W6" => slow_link(self.stage()?, self.device()?)?,
            "W7" => vec![saves(self.stage()?, self.device()?)?],
            "W8" => vec![sessions()?],
            "SERVER" => throughput(self.options.load_seconds)?,
            "GROWTH" => growth(self.options.rows)?,
            _ => floors(self.options.rows)?,
        })
    }

    fn runs(&self, one: impl Fn(u32) -> Result<Figures>) -> Result<Figures> {
        Ok(Figures::median(&(0..self.options.runs.max(1)).map(one).collect::<Result<Vec<_>>>()?))
    }

    /// For the first device of all the server makes what it then has ready for the others, so what that cost is told besides.
    fn first_syncs(&self) -> Result<Figures> {
        let first = &self.first()?.1;
        let runs = self.runs(|run| if run == 0 { Ok(first.clone()) } else { Ok(first_sync(self.stage()?)?.1) })?;
        Ok(runs.with_all("first_", first, &["wall_ms", "client_cpu_ms", "server_cpu_ms"]))
    }

    fn stage(&self) -> Result<&Stage> {
        if self.stage.get().is_none() {
            let _ = self.stage.set(Stage::new(self.options.rows)?);
        }
        Ok(self.stage.get().expect("it was set"))
    }

    fn first(&self) -> Result<&(Device, Figures)> {
        if self.first.get().is_none() {
            let _ = self.first.set(first_sync(self.stage()?)?);
        }
        Ok(self.first.get().expect("it was set"))
    }

    fn device(&self) -> Result<&Device> {
        Ok(&self.first()?.0)
    }
}
