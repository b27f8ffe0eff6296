//! Kills real programs at random moments, and compares what is left with a ledger of what they had accepted:
//! `cargo run --release -p tombolo-tests --bin kill -- --kills 20`.
//!
//! A server and three devices: release programs, real files and sockets, a proxy that cuts and stalls. In each round a device
//! accepts edits, begins a sync, and then the server or the device is killed as by `kill -9`, or the link is cut. Then disks are
//! full: files of the server or of a device may not grow, and, where the machine allows a mount, everything lies on a small file
//! system without room. At the end everything heals, and each edit that a program had accepted must be in the server's log, once.

#[cfg(target_os = "linux")]
mod full;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tombolo_client::protocol::commit::CommitBody;
use tombolo_client::protocol::ids::Seq;
use tombolo_client::protocol::schema::CLINIC;
use tombolo_client::protocol::value::Value;
use tombolo_server::store::Store;
use tombolo_tests::counts::record;
use tombolo_tests::process::{Output, ServerProcess, spawn_tombolo, tombolo, tombolo_server};
use tombolo_tests::proxy::{Direction, Proxy};
use tombolo_tests::sim::rng::Rng;

const PASSWORD: &str = "river stone 42";
const DEVICES: usize = 3;
/// Rows that all devices edit.
const SHARED: usize = 4;
/// Syncs of each device in which everything must have healed.
const ROUNDS: usize = 10;

/// Kills of real programs.
#[derive(Parser)]
struct Args {
    /// Kills.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Rounds with a full disk, by a file size limit and again on a small mount.
    #[arg(long, default_value_t = 4)]
    full: u64,
    /// The seed of what happens when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Add the counts to tests/counts.json.
    #[arg(long)]
    record: bool,
}

#[derive(Default, serde::Serialize)]
struct Total {
    kills: u64,
    server_kills: u64,
    client_kills: u64,
    cuts: u64,
    edits: u64,
    lost: u64,
    doubled: u64,
    unopenable: u64,
    /// Rounds with a full disk: by a limit, and on a small mount.
    full_limit: u64,
    full_mount: u64,
    /// Edits that were refused for want of room, and syncs that failed for it.
    full_edits_refused: u64,
    full_syncs_failed: u64,
    /// Programs that a full disk ended by a signal or a panic, or that did not go on when there was room again.
    full_broken: u64,
    restart_ms_max: u64,
    seconds: f64,
}

/// The server, the devices, and what they accepted.
struct Scene {
    folder: PathBuf,
    server: Option<ServerProcess>,
    proxy: Proxy,
    rng: Rng,
    total: Total,
    rows: Vec<String>,
    /// Values that a device accepted, by the place of the row and the device; the newest one only.
    standing: BTreeMap<(usize, usize), String>,
    value: u64,
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a command line prints, also how long it took")]
fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let folder = TempDir::new()?;
    let mut scene = Scene::new(folder.path().to_owned(), args.seed, Total::default())?;
    while scene.total.kills < args.kills {
        scene.round()?;
    }
    let mut total = full_disks(scene, args.full, args.seed)?;
    total.seconds = begun.elapsed().as_secs_f64();
    println!("{}", if args.json { serde_json::to_string(&total)? } else { serde_json::to_string_pretty(&total)? });
    if args.record {
        record("kill", &total)?;
    }
    let sound = total.lost + total.doubled + total.unopenable + total.full_broken == 0;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(target_os = "linux")]
fn full_disks(mut scene: Scene, rounds: u64, seed: u64) -> Result<Total> {
    full::by_limit(&mut scene, rounds)?;
    let total = scene.come_right()?;
    if rounds == 0 { Ok(total) } else { full::on_a_small_mount(seed, rounds, total) }
}

#[cfg(not(target_os = "linux"))]
fn full_disks(scene: Scene, _rounds: u64, _seed: u64) -> Result<Total> {
    eprintln!("full disks are skipped: file size limits and small mounts are made on Linux only");
    scene.come_right()
}

impl Scene {
    fn new(folder: PathBuf, seed: u64, total: Total) -> Result<Self> {
        let (schema, data) = (folder.join("schema.toml"), folder.join("data"));
        std::fs::write(&schema, CLINIC)?;
        let (schema, data) = (schema.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
        tombolo_server(&["init", "--schema", &schema, "--data", &data], "")?.exited_with(0)?;
        let user = ["user", "add", "ada", "--role", "admin", "--password-stdin", "--data", &data];
        tombolo_server(&user, PASSWORD)?.exited_with(0)?;
        let server = ServerProcess::start(data.as_ref(), schema.as_ref(), &[])?;
        let proxy = Proxy::start(server.addr())?;
        let mut scene = Self {
            folder,
            server: Some(server),
            proxy,
            rng: Rng::new(seed),
            total,
            rows: Vec::new(),
            standing: BTreeMap::new(),
            value: 0,
        };
        let url = format!("http://{}", scene.proxy.addr());
        for device in 0..DEVICES {
            let login = ["login", &url, "--user", "ada", "--password-stdin"];
            tombolo(&scene.store(device), &login, PASSWORD)?.exited_with(0)?;
        }
        scene.tombolo(0, &["create", "sites", "name=Kilifi"])?.exited_with(0)?;
        for row in 0..SHARED {
            let id = format!("01900000-0000-7000-8000-{row:012}");
            let name = format!("name=patient {row}");
            scene.tombolo(0, &["create", "patients", &name, "site=Kilifi", "--id", &id])?.exited_with(0)?;
            scene.rows.push(id);
        }
        for device in 0..DEVICES {
            scene.tombolo(device, &["sync"])?.exited_with(0)?;
        }
        Ok(scene)
    }

    fn store(&self, device: usize) -> PathBuf {
        self.folder.join(format!("device {device}"))
    }

    fn tombolo(&mut self, device: usize, args: &[&str]) -> Result<Output> {
        let done = tombolo(&self.store(device), args, "")?;
        if done.stderr.contains("damaged") || done.code.is_none_or(|code| code == 101) {
            self.total.unopenable += 1;
            eprintln!("{}: {}", done.command, done.stderr);
        }
        Ok(done)
    }

    /// A device accepts edits, begins a sync, and something is killed or cut.
    fn round(&mut self) -> Result<()> {
        let device = self.rng.index(DEVICES);
        for _ in 0..1 + self.rng.below(3) {
            self.edit(device)?;
        }
        match self.rng.below(4) {
            0 => self.proxy.cut_after(Direction::Up, self.rng.below(3_000)),
            1 => self.proxy.cut_after(Direction::Down, self.rng.below(3_000)),
            2 if self.rng.chance(1, 3) => self.proxy.stall(Direction::Down),
            _ => {}
        }
        let dies_in_edit = self.rng.chance(1, 4);
        let (running, edited) = if dies_in_edit {
            self.value += 1;
            let (row, value) = (self.rng.index(SHARED), format!("v{}", self.value));
            let edit = format!("notes={value}");
            let args = ["update", "patients", &self.rows[row], &edit];
            (spawn_tombolo(&self.store(device), &args, "")?, Some((row, value)))
        } else {
            (spawn_tombolo(&self.store(device), &["sync", "--json"], "")?, None)
        };
        let_time_pass(Duration::from_micros(self.rng.below(120_000)));
        self.total.kills += 1;
        if !dies_in_edit && self.rng.chance(1, 2) {
            self.total.server_kills += 1;
            self.kill_server()?;
            // It notices, or waits for the server: either way it ends, or is ended.
            let_time_pass(Duration::from_millis(self.rng.below(400)));
        } else {
            self.total.client_kills += 1;
        }
        let ended = running.kill9()?;
        if let Some((row, value)) = edited {
            // Whether it was accepted is known only where the program said so; what stood there is replaced, or not.
            self.standing.remove(&(row, device));
            if ended.code == Some(0) {
                self.total.edits += 1;
                self.standing.insert((row, device), value);
            }
        }
        self.proxy.cut_now();
        self.proxy.resume(Direction::Down);
        self.total.cuts += 1;
        Ok(())
    }

    /// An edit that the program says it accepted, in a field of the device's own or one that all edit.
    fn edit(&mut self, device: usize) -> Result<()> {
        self.value += 1;
        let (row, value) = (self.rng.index(SHARED), format!("v{}", self.value));
        let edit = format!("notes={value}");
        let id = self.rows[row].clone();
        let done = self.tombolo(device, &["update", "patients", &id, &edit])?;
        if done.code == Some(0) {
            self.total.edits += 1;
            self.standing.insert((row, device), value);
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "how long a restart takes is printed")]
    fn kill_server(&mut self) -> Result<()> {
        let server = self.server.take().context("no server")?;
        server.kill9()?;
        let begun = Instant::now();
        let folder = &self.folder;
        let server = match ServerProcess::start(&folder.join("data"), &folder.join("schema.toml"), &[]) {
            Ok(server) => server,
            Err(error) => {
                self.total.unopenable += 1;
                bail!("the server does not start again: {error}");
            }
        };
        self.total.restart_ms_max = self.total.restart_ms_max.max(begun.elapsed().as_millis() as u64);
        self.proxy.set_upstream(server.addr());
        self.server = Some(server);
        Ok(())
    }

    /// Everything heals, and what is there is compared with what was accepted.
    fn come_right(mut self) -> Result<Total> {
        self.heal()?;
        self.compare()?;
        Ok(self.total)
    }

    /// Everybody syncs and decides until nothing waits.
    fn heal(&mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut quiet = true;
            for device in 0..DEVICES {
                let done = self.tombolo(device, &["sync", "--json"])?;
                ensure!(matches!(done.code, Some(0 | 3)), "{} ended with {:?}: {}", done.command, done.code, done.stderr);
                for conflict in self.tombolo(device, &["conflicts", "--json"])?.json_lines()? {
                    quiet = false;
                    let side = if self.rng.chance(1, 2) { "--mine" } else { "--server" };
                    let id = conflict.get("id").and_then(Json::as_str).context("a conflict without id")?.to_owned();
                    self.tombolo(device, &["resolve", "patients", &id, side])?.exited_with(0)?;
                }
                quiet &= self.tombolo(device, &["pending", "--json"])?.json_lines()?.is_empty();
            }
            if quiet {
                return Ok(());
            }
        }
        bail!("it does not come to rest")
    }

    /// Every edit that a program had accepted is in the log, and applied at most once.
    fn compare(&mut self) -> Result<()> {
        self.server.take().context("no server")?.stop()?;
        let data = self.folder.join("data").to_string_lossy().into_owned();
        let verified = tombolo_server(&["verify", "--data", &data], "")?;
        ensure!(verified.code == Some(0), "{}", verified.stderr);
        let store = Store::open(&self.folder.join("data").join("tombolo.redb"))?;
        let snapshot = store.snapshot()?;
        let (mut applied, mut held): (BTreeMap<String, u64>, BTreeMap<String, u64>) = Default::default();
        for seq in 1..=snapshot.head().seq.0 {
            let Some(CommitBody::Push(record)) = snapshot.commit(Seq(seq))?.map(|commit| commit.body) else { continue };
            for (_, value) in record.effects.iter().flat_map(|effect| &effect.fields) {
                if let Value::Text(text) = value {
                    *applied.entry(text.clone()).or_default() += 1;
                }
            }
            for (_, lost) in &record.lost {
                if let Value::Text(text) = &lost.value {
                    *held.entry(text.clone()).or_default() += 1;
                }
            }
        }
        for ((row, device), value) in &self.standing {
            if !applied.contains_key(value) && !held.contains_key(value) {
                self.total.lost += 1;
                eprintln!("the edit {value} of row {row}, accepted by device {device}, is lost");
            }
        }
        // Values are written once; a value that comes in twice was applied twice.
        for (value, count) in applied.iter().filter(|(value, count)| value.starts_with('v') && **count > 1) {
            self.total.doubled += 1;
            eprintln!("the edit {value} was applied {count} times");
        }
        Ok(())
    }
}

/// Kills come at moments that nothing tells.
#[expect(clippy::disallowed_methods, reason = "a random moment is what is wanted, not an event")]
fn let_time_pass(time: Duration) {
    std::thread::sleep(time);
}
