//! The benchmark: the works W1-W4 of the workload, and W1 over a link that is cut (W1C), on a real server process and real stores, with bytes counted by a proxy
//! (TCP payload both ways, handshakes in). Every result is checked, or it does not count. Times are printed, never judged.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;
use tombolo_client::protocol::limits::CHUNK_BYTES_MAX;
use tombolo_client::protocol::schema::CLINIC;
use tombolo_tests::process::{Output, ServerProcess, spawn_tombolo, tombolo, tombolo_server};
use tombolo_tests::proxy::{Counters, Direction, Proxy};
use tombolo_tests::workload::{Edit, Patient, gen_edits, gen_rows, write_csv};

const PASSWORD: &str = "river stone 42";
/// Times that the link is cut in W1C.
const CUTS: u64 = 5;

/// Prints bytes, turns and times of the works.
#[derive(Parser)]
#[command(name = "bench", after_help = "Example:\n  cargo run --release -p tombolo-tests --bin bench -- W1 --rows 100000")]
struct Options {
    /// Which works: W1 W1C W2 W3 W4; all without any
    works: Vec<String>,
    /// Patients at the server
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
    /// One JSON object a work
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "the figures are printed on standard output")]
fn say(text: &str) {
    println!("{text}");
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(unknown) = options.works.iter().find(|work| !["W1", "W1C", "W2", "W3", "W4"].contains(&work.as_str())) {
        bail!("there is no work {unknown}; there are W1, W1C, W2, W3 and W4");
    }
    let wanted = |work: &str| options.works.is_empty() || options.works.iter().any(|known| known == work);
    let bench = Bench::new(options.rows)?;
    let print = |figures: Figures| say(&if options.json { figures.json(options.rows) } else { figures.line(options.rows) });
    let first = bench.device("first")?;
    let whole = bench.w1(&first)?;
    let whole_down = whole.down;
    print_if(wanted("W1"), whole, &print);
    if wanted("W1C") {
        print(bench.w1_cut(whole_down)?);
    }
    if wanted("W4") {
        print(bench.w4(&first)?);
    }
    if wanted("W2") {
        print(bench.w2(&first)?);
    }
    if wanted("W3") {
        let second = bench.device("second")?;
        bench.measured("W3 set-up", &second)?;
        print(bench.w3(&first, &second)?);
    }
    bench.server.stop()?;
    Ok(())
}

fn print_if(wanted: bool, figures: Figures, print: &dyn Fn(Figures)) {
    if wanted {
        print(figures);
    }
}

/// What a work took.
struct Figures {
    work: &'static str,
    up: u64,
    down: u64,
    turns: u64,
    connections: u64,
    wall_ms: u128,
    client_rss_mb: u64,
    store_bytes: u64,
}

impl Figures {
    fn json(&self, rows: usize) -> String {
        let Self { work, up, down, turns, connections, wall_ms, client_rss_mb, store_bytes } = self;
        json!({
            "work": work, "rows": rows, "up": up, "down": down, "turns": turns, "connections": connections,
            "wall_ms": wall_ms, "client_rss_mb": client_rss_mb, "store_bytes": store_bytes, "correct": true,
        })
        .to_string()
    }

    fn line(&self, rows: usize) -> String {
        format!(
            "{} @ {rows} rows: {} B up, {} B down, {} turns, {} connections; {} ms, client RSS {} MB, client store {} B",
            self.work, self.up, self.down, self.turns, self.connections, self.wall_ms, self.client_rss_mb, self.store_bytes
        )
    }
}

struct Bench {
    folder: TempDir,
    server: ServerProcess,
    rows: Vec<Patient>,
}

struct Device {
    store: PathBuf,
    proxy: Proxy,
}

impl Bench {
    fn new(count: usize) -> Result<Self> {
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name);
        let rows = gen_rows(count);
        fs::write(path("schema.toml"), CLINIC)?;
        fs::write(path("sites.csv"), "name\nKilifi\n")?;
        write_csv(&rows, &mut fs::File::create(path("patients.csv"))?)?;
        let (schema, data) = (path("schema.toml"), path("data"));
        run(&["init", "--schema", text(&schema), "--data", text(&data)], "")?;
        run(&["import", "sites", text(&path("sites.csv")), "--data", text(&data)], "")?;
        run(&["import", "patients", text(&path("patients.csv")), "--set", "site=Kilifi", "--data", text(&data)], "")?;
        run(&["user", "add", "ada", "--role", "admin", "--password-stdin", "--data", text(&data)], PASSWORD)?;
        let server = ServerProcess::start(&data, &schema, &[])?;
        Ok(Self { folder, server, rows })
    }

    /// A device that has logged in, behind a proxy of its own.
    fn device(&self, name: &str) -> Result<Device> {
        let proxy = Proxy::start(self.server.addr())?;
        let device = Device { store: self.folder.path().join(name), proxy };
        let url = format!("http://{}", device.proxy.addr());
        tombolo(&device.store, &["login", &url, "--user", "ada", "--password-stdin"], PASSWORD)?.exited_with(0)?;
        Ok(device)
    }

    /// One sync, from the start of the program to its end.
    fn measured(&self, work: &'static str, device: &Device) -> Result<Figures> {
        self.measured_while(work, device, || Ok(()))
    }

    /// The same, while something happens to the link.
    fn measured_while(&self, work: &'static str, device: &Device, happens: impl FnOnce() -> Result<()>) -> Result<Figures> {
        let before = device.proxy.counters();
        let began = now();
        let mut child = spawn_tombolo(&device.store, &["sync", "--json"], "")?;
        happens()?;
        let mut rss_kb = 0;
        let status = PathBuf::from(format!("/proc/{}/status", child.pid()));
        // The last line comes when all is durable; until then the peak is read again with each line.
        while let Some(line) = child.next_line()? {
            rss_kb = peak_kb(&status).unwrap_or(rss_kb);
            if line.contains("\"pushed\"") {
                break;
            }
        }
        child.wait()?.exited_with(0)?;
        let after = device.proxy.counters();
        let store = fs::metadata(device.store.join("store.redb"))?.len();
        Ok(figures(work, &before, &after, began.elapsed().as_millis(), rss_kb / 1024, store))
    }

    /// A fresh client gets everything.
    fn w1(&self, device: &Device) -> Result<Figures> {
        let figures = self.measured("W1", device)?;
        self.compare(device)?;
        Ok(figures)
    }

    /// The first sync over a link that is cut again and again: each cut costs at most the chunk that was under way, and what was
    /// received whole before is not sent again.
    fn w1_cut(&self, whole_down: u64) -> Result<Figures> {
        let device = self.device("cut")?;
        let before = device.proxy.counters();
        let figures = self.measured_while("W1C", &device, || {
            for cut in 1..=CUTS {
                device.proxy.cut_after(Direction::Down, whole_down / (CUTS + 1));
                device.proxy.wait_for_blocking(|counters| counters.connections > before.connections + cut)?;
            }
            Ok(())
        })?;
        self.compare(&device)?;
        let repeated = figures.down.saturating_sub(whole_down);
        ensure!(
            repeated <= CUTS * CHUNK_BYTES_MAX as u64,
            "{CUTS} cuts repeated {repeated} B, more than the largest chunk for each"
        );
        ensure!(figures.connections == CUTS + 1, "{} connections for {CUTS} cuts", figures.connections);
        Ok(figures)
    }

    /// Nothing to do.
    fn w4(&self, device: &Device) -> Result<Figures> {
        self.measured("W4", device)
    }

    /// 1,000 offline edits are pushed.
    fn w2(&self, device: &Device) -> Result<Figures> {
        let edits = gen_edits(&self.rows, 1000.min(self.rows.len()), 2);
        self.edit(device, &edits)?;
        let figures = self.measured("W2", device)?;
        self.check_edits(&edits, "W2")?;
        Ok(figures)
    }

    /// 100 edits of another device are pulled.
    fn w3(&self, first: &Device, second: &Device) -> Result<Figures> {
        let edits = gen_edits(&self.rows, 100.min(self.rows.len()), 3);
        self.edit(first, &edits)?;
        self.measured("W3 push", first)?;
        let figures = self.measured("W3", second)?;
        self.check_edits(&edits, "W3")?;
        self.compare(second)?;
        Ok(figures)
    }

    fn edit(&self, device: &Device, edits: &[Edit]) -> Result<()> {
        let file = self.folder.path().join("edits.jsonl");
        let lines: Vec<String> = edits
            .iter()
            .map(|edit| {
                let value = match edit.value.parse::<f64>() {
                    Ok(number) if edit.field.name() == "weight_kg" => json!(number),
                    _ => json!(edit.value),
                };
                json!({"change": "update", "table": "patients", "id": self.rows[edit.row].id, "fields": {edit.field.name(): value}})
                    .to_string()
            })
            .collect();
        fs::write(&file, lines.join("\n") + "\n")?;
        tombolo(&device.store, &["apply", text(&file)], "")?.exited_with(0)?;
        Ok(())
    }

    fn export(&self) -> Result<Output> {
        tombolo_server(&["export", "patients", "--data", text(&self.folder.path().join("data"))], "")?.exited_with(0)
    }

    /// The device holds what the server holds, row by row.
    fn compare(&self, device: &Device) -> Result<()> {
        let theirs = self.export()?.stdout;
        let mine = tombolo(&device.store, &["export", "patients"], "")?.exited_with(0)?.stdout;
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        ensure!(sorted(&mine) == sorted(&theirs), "the device differs from the server");
        ensure!(theirs.lines().count() == self.rows.len() + 1, "rows are missing");
        Ok(())
    }

    /// The server holds every edit.
    fn check_edits(&self, edits: &[Edit], work: &str) -> Result<()> {
        let exported = self.export()?.stdout;
        for edit in edits {
            let id = self.rows[edit.row].id.to_string();
            let line = exported.lines().find(|line| line.starts_with(&id)).with_context(|| format!("{work}: no row {id}"))?;
            ensure!(line.contains(&edit.value), "{work}: {} of {id} is not {}", edit.field.name(), edit.value);
        }
        Ok(())
    }
}

fn figures(work: &'static str, before: &Counters, after: &Counters, wall_ms: u128, rss_mb: u64, store: u64) -> Figures {
    Figures {
        work,
        up: after.up.delivered - before.up.delivered,
        down: after.down.delivered - before.down.delivered,
        turns: after.turns - before.turns,
        connections: after.connections - before.connections,
        wall_ms,
        client_rss_mb: rss_mb,
        store_bytes: store,
    }
}

fn peak_kb(status: &Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn run(args: &[&str], stdin: &str) -> Result<()> {
    tombolo_server(args, stdin)?.exited_with(0).map(drop)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in text")
}

#[expect(clippy::disallowed_methods, reason = "the benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
