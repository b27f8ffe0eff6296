//! W8 and the server's throughput, with light devices in other processes.

use super::figures::{Figures, number};
use super::machine::{cpu_ms, let_time_pass, rss_kb};
use super::stage::{Stage, credentials};
use super::swarm::{Loaded, Pass, Swarm, Work};
use crate::process::Running;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tombolo_client::protocol::ids::{RowId, WorkspaceId};
use tombolo_client::{Client, Login};

/// As many sessions as a server takes.
const SESSIONS: usize = 10_000;
/// Where the slope of W8 begins.
const FEW_SESSIONS: usize = 1_000;
/// Open files that are something else than sessions.
const OTHER_FILES: usize = 200;
const CLIENTS: usize = 200;
/// What the allocator and the threads do after the last session has come.
const SETTLED: Duration = Duration::from_secs(3);

/// W8: memory of the server for each more session that has caught up, between 1,000 and 10,000 of them.
///
/// # Errors
/// When a device cannot connect.
pub fn sessions() -> Result<Figures> {
    let stage = Stage::new(100)?;
    let swarms = Swarms::new(&stage)?;
    let count = SESSIONS.min(open_files_max()?.saturating_sub(OTHER_FILES));
    ensure!(count > FEW_SESSIONS, "{count} sessions are as many as the limit of open files allows here");
    let passes = swarms.issued(count)?;
    let few = swarms.start(&passes[..FEW_SESSIONS], Work::Hold)?;
    let_time_pass(SETTLED);
    let few_kb = rss_kb(stage.server.pid()).context("the server is gone")?;
    let half = FEW_SESSIONS + (count - FEW_SESSIONS) / 2;
    let more = [swarms.start(&passes[FEW_SESSIONS..half], Work::Hold)?, swarms.start(&passes[half..], Work::Hold)?];
    let_time_pass(SETTLED);
    let many_kb = rss_kb(stage.server.pid()).context("the server is gone")?;
    let each = (many_kb as f64 - few_kb as f64) / (count - FEW_SESSIONS) as f64;
    drop((few, more));
    stage.stop()?;
    Ok(Figures::of("W8", 100)
        .with("sessions", count)
        .with("client_processes", 3)
        .with("server_rss_mb", many_kb / 1024)
        .with("kb_a_session", number(each)))
}

/// 200 devices push for so many seconds: single edits, and batches of 100.
///
/// # Errors
/// When a device fails, or the server does not hold what it acknowledged.
pub fn throughput(seconds: u64) -> Result<Vec<Figures>> {
    [("single edits", 1), ("batches of 100", 100)].into_iter().map(|(of, batch)| load(of, batch, seconds)).collect()
}

fn load(of: &str, batch: usize, seconds: u64) -> Result<Figures> {
    let stage = Stage::new(0)?;
    let swarms = Swarms::new(&stage)?;
    let passes = swarms.issued(CLIENTS)?;
    let sites = stage.export("sites")?;
    let site = sites.lines().nth(1).and_then(|line| line.split(',').next()).context("no site")?;
    let to = stage.folder.path().join("ledger");
    let before = cpu_ms(stage.server.pid())?;
    let work = Work::Load { batch, seconds, site: RowId(site.parse()?), to: to.clone() };
    let said = swarms.start(&passes, work)?.1;
    let cpu = cpu_ms(stage.server.pid())? - before;
    let loaded: Loaded = serde_json::from_str(said.trim_start_matches("ready "))?;
    check(&stage.export("patients")?, &std::fs::read_to_string(to)?)?;
    stage.stop()?;
    Ok(Figures::of("SERVER", 0)
        .with("of", of)
        .with("clients", CLIENTS)
        .with("changes_a_second", (loaded.changes as f64 / loaded.seconds).round() as u64)
        .with("p50_ms", number(loaded.p50_ms))
        .with("p99_ms", number(loaded.p99_ms))
        .with("server_cpu_us_a_change", number(cpu as f64 * 1000.0 / loaded.changes as f64)))
}

/// Each row has the weight that was acknowledged last.
fn check(exported: &str, ledger: &str) -> Result<()> {
    let mut lines = exported.lines();
    let header: Vec<&str> = lines.next().context("an empty export")?.split(',').collect();
    let column = |name: &str| header.iter().position(|head| *head == name).with_context(|| format!("no column {name}"));
    let (id, weight) = (column("id")?, column("weight_kg")?);
    let held: BTreeMap<&str, f64> = lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|cells| Ok((cells[id], cells[weight].parse()?)))
        .collect::<Result<_>>()?;
    for line in ledger.lines() {
        let (id, times) = line.split_once(',').context("a damaged ledger")?;
        let wanted = f64::from(times.parse::<u32>()? % 4000) / 10.0;
        ensure!(held.get(id) == Some(&wanted), "{id} has {:?}, not the {wanted} that was acknowledged", held.get(id));
    }
    ensure!(held.len() == ledger.lines().count(), "other rows than those that were created");
    Ok(())
}

/// Processes with light devices of one server.
struct Swarms<'a> {
    stage: &'a Stage,
    workspace: WorkspaceId,
    first: Pass,
}

impl<'a> Swarms<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        let client = Client::open(&stage.folder.path().join("first/store.redb"))?;
        let (name, password) = credentials();
        let account = client.login(&stage.server.url().parse()?, Login::new(name, password))?;
        client.close();
        let token = account.token.context("a login without a token")?;
        Ok(Self { stage, workspace: account.workspace, first: Pass { device: account.device, token } })
    }

    /// So many devices, the logged-in one among them.
    fn issued(&self, count: usize) -> Result<Vec<Pass>> {
        let to = self.stage.folder.path().join("passes");
        let work = Work::Issue { count: count - 1, to: to.clone() };
        self.start(std::slice::from_ref(&self.first), work)?;
        let mut passes: Vec<Pass> = serde_json::from_str(&std::fs::read_to_string(to)?)?;
        passes.push(self.first.clone());
        Ok(passes)
    }

    /// Starts a process, and returns it with what it said when it was ready.
    fn start(&self, passes: &[Pass], work: Work) -> Result<(Running, String)> {
        let swarm = Swarm { addr: self.stage.server.addr(), workspace: self.workspace, passes: passes.to_vec(), work };
        let file: PathBuf = self.stage.folder.path().join("swarm.json");
        std::fs::write(&file, serde_json::to_string(&swarm)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--swarm").arg(&file);
        let mut running = Running::start(command, "")?;
        while let Some(line) = running.next_line()? {
            if line.starts_with("ready") {
                return Ok((running, line));
            }
        }
        let ended = running.wait()?;
        anyhow::bail!("the light devices ended: {}", ended.stderr)
    }
}

fn open_files_max() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit of open files")?;
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).context("an unlimited number of files")
}
