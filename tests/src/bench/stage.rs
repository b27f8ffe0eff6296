//! A server with the workload's rows, and devices behind proxies.

use super::figures::Figures;
use super::machine::{children_cpu_ms, cpu_ms, forget_peak, now, peak_kb};
use crate::process::{Output, ServerProcess, spawn_tombolo, tombolo, tombolo_server};
use crate::proxy::{Counters, Proxy, Shape};
use crate::workload::{Edit, Patient, gen_rows, write_csv};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tombolo_client::protocol::schema::CLINIC;

/// What the blocks of a file are counted in, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;
const PASSWORD: &str = "river stone 42";

/// A running server that holds the rows, imported into one site.
pub struct Stage {
    pub(super) folder: TempDir,
    pub(super) server: ServerProcess,
    pub(super) rows: Vec<Patient>,
    devices: Cell<usize>,
}

/// A device that has logged in, behind a proxy of its own.
pub struct Device {
    pub(super) store: PathBuf,
    pub(super) proxy: Proxy,
}

impl Device {
    /// How long the file of its store is, and what of that takes space on the disk.
    pub(super) fn store_bytes(&self) -> Result<(u64, u64)> {
        let file = fs::metadata(self.store.join("store.redb"))?;
        Ok((file.len(), file.blocks() * BLOCK_BYTES))
    }
}

impl Stage {
    /// Imports the rows and starts the server.
    ///
    /// # Errors
    /// When a program does not build or fails.
    pub fn new(count: usize) -> Result<Self> {
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name);
        let rows = gen_rows(count);
        fs::write(path("schema.toml"), CLINIC)?;
        fs::write(path("sites.csv"), "name\nKilifi\n")?;
        write_csv(&rows, &mut fs::File::create(path("patients.csv"))?)?;
        let (schema, data) = (path("schema.toml"), path("data"));
        run(&["init", "--schema", text(&schema), "--data", text(&data)], "")?;
        run(&["import", "sites", text(&path("sites.csv")), "--data", text(&data)], "")?;
        if count > 0 {
            run(&["import", "patients", text(&path("patients.csv")), "--set", "site=Kilifi", "--data", text(&data)], "")?;
        }
        run(&["user", "add", "ada", "--role", "admin", "--password-stdin", "--data", text(&data)], PASSWORD)?;
        let server = ServerProcess::start(&data, &schema, &[])?;
        Ok(Self { folder, server, rows, devices: Cell::new(0) })
    }

    /// A new device.
    ///
    /// # Errors
    /// When it cannot log in.
    pub fn device(&self) -> Result<Device> {
        self.device_behind(Proxy::start(self.server.addr())?)
    }

    /// A new device behind small buffers, as a slow link has them; the link is fast until it is shaped.
    pub(super) fn device_on_slow_link(&self) -> Result<Device> {
        let proxy = Proxy::start_slow(self.server.addr(), Shape::default())?;
        proxy.shape(None);
        self.device_behind(proxy)
    }

    fn device_behind(&self, proxy: Proxy) -> Result<Device> {
        let number = self.devices.get() + 1;
        self.devices.set(number);
        let device = Device { store: self.folder.path().join(format!("device {number}")), proxy };
        let url = format!("http://{}", device.proxy.addr());
        tombolo(&device.store, &["login", &url, "--user", "ada", "--password-stdin"], PASSWORD)?.exited_with(0)?;
        Ok(device)
    }

    /// One sync, from the start of the program until it says that all is durable; bytes until it has hung up.
    pub(super) fn sync(&self, work: &str, device: &Device) -> Result<Figures> {
        self.sync_while(work, device, || Ok(()))
    }

    /// The same, while something happens to the link.
    pub(super) fn sync_while(&self, work: &str, device: &Device, happens: impl FnOnce() -> Result<()>) -> Result<Figures> {
        forget_peak(self.server.pid())?;
        let (server_before, clients_before) = (cpu_ms(self.server.pid())?, children_cpu_ms()?);
        let before = device.proxy.counters();
        let began = now();
        let mut child = spawn_tombolo(&device.store, &["sync", "--json"], "")?;
        happens()?;
        let mut rss_kb = 0;
        // The last line comes when all is durable; until then the peak is read again with each line.
        while let Some(line) = child.next_line()? {
            rss_kb = peak_kb(child.pid()).unwrap_or(rss_kb);
            if line.contains("\"pushed\"") {
                break;
            }
        }
        let wall_ms = began.elapsed().as_millis() as u64;
        child.wait()?.exited_with(0)?;
        let after = device.proxy.wait_for_blocking(|counters| counters.open == before.open)?;
        let (store_bytes, store_disk_bytes) = device.store_bytes()?;
        Ok(traffic(Figures::of(work, self.rows.len()), &before, &after)
            .with("wall_ms", wall_ms)
            .with("client_cpu_ms", children_cpu_ms()? - clients_before)
            .with("server_cpu_ms", cpu_ms(self.server.pid())? - server_before)
            .with("client_rss_mb", rss_kb / 1024)
            .with("server_rss_mb", peak_kb(self.server.pid()).unwrap_or(0) / 1024)
            .with("store_bytes", store_bytes)
            .with("store_disk_bytes", store_disk_bytes))
    }

    /// A device that holds everything.
    pub(super) fn synced_device(&self) -> Result<Device> {
        let device = self.device()?;
        self.sync("set-up", &device)?;
        Ok(device)
    }

    /// The device makes these edits, offline.
    pub(super) fn edit(&self, device: &Device, edits: &[Edit]) -> Result<()> {
        let file = self.folder.path().join("edits.jsonl");
        let line = |edit: &Edit| {
            let value = match edit.value.parse::<f64>() {
                Ok(number) if edit.field.name() == "weight_kg" => json!(number),
                _ => json!(edit.value),
            };
            let (id, fields) = (self.rows[edit.row].id, json!({edit.field.name(): value}));
            json!({"change": "update", "table": "patients", "id": id, "fields": fields}).to_string() + "\n"
        };
        fs::write(&file, edits.iter().map(line).collect::<String>())?;
        tombolo(&device.store, &["apply", text(&file)], "")?.exited_with(0)?;
        Ok(())
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn export(&self, table: &str) -> Result<String> {
        Ok(tombolo_server(&["export", table, "--data", text(&self.data())], "")?.exited_with(0)?.stdout)
    }

    /// The device holds what the server holds, row by row.
    pub(super) fn compare(&self, device: &Device) -> Result<()> {
        let theirs = self.export("patients")?;
        let Output { stdout: mine, .. } = tombolo(&device.store, &["export", "patients"], "")?.exited_with(0)?;
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
    pub(super) fn check_edits(&self, edits: &[Edit]) -> Result<()> {
        let exported = self.export("patients")?;
        let by_id: std::collections::BTreeMap<&str, &str> = exported.lines().filter_map(|line| line.split_once(',')).collect();
        for edit in edits {
            let id = self.rows[edit.row].id.to_string();
            let line = by_id.get(id.as_str()).with_context(|| format!("no row {id}"))?;
            ensure!(line.contains(&edit.value), "{} of {id} is not {}", edit.field.name(), edit.value);
        }
        Ok(())
    }

    /// Ends the server in good order.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(self) -> Result<()> {
        self.server.stop().map(drop)
    }
}

/// Bytes, turns and connections between two moments.
pub(super) fn traffic(figures: Figures, before: &Counters, after: &Counters) -> Figures {
    figures
        .with("up", after.up.delivered - before.up.delivered)
        .with("down", after.down.delivered - before.down.delivered)
        .with("turns", after.turns - before.turns)
        .with("connections", after.connections - before.connections)
}

pub(super) fn run(args: &[&str], stdin: &str) -> Result<()> {
    tombolo_server(args, stdin)?.exited_with(0).map(drop)
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in text")
}

/// What a user of the stage logs in with.
pub(super) fn credentials() -> (&'static str, &'static str) {
    ("ada", PASSWORD)
}
