//! The stage of the end-to-end stories: a folder with a server's data and the stores of some devices; real programs, files and
//! sockets.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tombolo_client::protocol::schema::CLINIC;
use tombolo_tests::process::{Output, ServerProcess, tombolo, tombolo_server};
use tombolo_tests::workload::{gen_rows, write_csv};

pub const PASSWORD: &str = "river stone 42";

/// A folder with everything in it.
pub struct Stage {
    folder: TempDir,
}

impl Stage {
    /// A clinic with one site, `Kilifi`, and a user `ada` who sees all; the server is not running.
    pub fn clinic() -> Result<Self> {
        let stage = Self { folder: TempDir::new()? };
        fs::write(stage.schema(), CLINIC)?;
        stage.server(&["init", "--schema", text(&stage.schema()), "--data", text(&stage.data())])?;
        stage.user("ada", "admin")?;
        let sites = stage.path("sites.csv");
        fs::write(&sites, "name\nKilifi\n")?;
        stage.server(&["import", "sites", text(&sites), "--data", text(&stage.data())])?;
        Ok(stage)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn schema(&self) -> PathBuf {
        self.path("schema.toml")
    }

    /// Runs a server command that must succeed.
    pub fn server(&self, args: &[&str]) -> Result<Output> {
        tombolo_server(args, "")?.exited_with(0)
    }

    pub fn user(&self, name: &str, role: &str) -> Result<()> {
        let data = self.data();
        let args = ["user", "add", name, "--role", role, "--password-stdin", "--data", text(&data)];
        tombolo_server(&args, PASSWORD)?.exited_with(0).map(|_| ())
    }

    /// Imports that many generated patients into `Kilifi`, through the server's folder or the running server.
    pub fn patients(&self, count: usize) -> Result<()> {
        let file = self.path("patients.csv");
        write_csv(&gen_rows(count), &mut fs::File::create(&file)?)?;
        let data = self.data();
        self.server(&["import", "patients", text(&file), "--set", "site=Kilifi", "--data", text(&data)]).map(|_| ())
    }

    pub fn serve(&self) -> Result<ServerProcess> {
        ServerProcess::start(&self.data(), &self.schema(), &[])
    }

    /// Serves on the port that it had.
    pub fn serve_at(&self, addr: std::net::SocketAddr) -> Result<ServerProcess> {
        ServerProcess::start(&self.data(), &self.schema(), &["--listen", &addr.to_string()])
    }

    /// The log is sound, and everything folded from it is what it should be.
    pub fn verify(&self) -> Result<()> {
        let data = self.data();
        self.server(&["verify", "--data", text(&data)]).map(|_| ())
    }

    /// A device that has logged in.
    pub fn device(&self, name: &str, url: &str) -> Result<Device> {
        let device = Device { store: self.path(name) };
        device.login(url)?.exited_with(0)?;
        Ok(device)
    }
}

/// The store of a device.
pub struct Device {
    pub store: PathBuf,
}

impl Device {
    /// The device is called like the folder of its store.
    pub fn login(&self, url: &str) -> Result<Output> {
        let name = self.store.file_name().and_then(|name| name.to_str()).context("a store without a name")?;
        tombolo(&self.store, &["login", url, "--user", "ada", "--device-name", name, "--password-stdin"], PASSWORD)
    }

    /// Runs a command.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        tombolo(&self.store, args, "")
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> Result<Output> {
        self.run(args)?.exited_with(0)
    }

    /// A sync that must end with this exit code. Returns its report.
    pub fn sync(&self, code: i32) -> Result<Value> {
        let lines = self.run(&["sync", "--json"])?.exited_with(code)?.json_lines()?;
        lines.into_iter().next_back().context("a sync without a report")
    }

    /// A row's field as it is shown.
    pub fn field(&self, table: &str, id: &str, field: &str) -> Result<Value> {
        let lines = self.ok(&["get", table, id, "--json"])?.json_lines()?;
        Ok(lines.first().context("no row")?["fields"][field].clone())
    }

    /// Ids of all rows of a table.
    pub fn ids(&self, table: &str) -> Result<Vec<String>> {
        let lines = self.ok(&["list", table, "--json"])?.json_lines()?;
        lines.iter().map(|line| Ok(line["id"].as_str().context("no id")?.to_owned())).collect()
    }

    /// Creates a patient; returns its id.
    pub fn patient(&self, name: &str) -> Result<String> {
        let output = self.ok(&["create", "patients", &format!("name={name}"), "site=Kilifi"])?;
        Ok(output.stdout.split_whitespace().last().context("no id was printed")?.to_owned())
    }

    /// What a table is, as CSV.
    pub fn export(&self, table: &str) -> Result<String> {
        Ok(self.ok(&["export", table])?.stdout)
    }

    pub fn json(&self, command: &str) -> Result<Vec<Value>> {
        self.ok(&[command, "--json"])?.json_lines()
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the paths of the tests are text")
}

/// The output says this, so that a person knows what happened and what to do.
pub fn says(output: &Output, words: &[&str]) -> Result<()> {
    let all = format!("{}\n{}", output.stdout, output.stderr).to_lowercase();
    for word in words {
        ensure!(all.contains(&word.to_lowercase()), "`{word}` is not in: {all}");
    }
    ensure!(!all.contains("panicked"), "a panic: {all}");
    Ok(())
}

/// Copies a folder with what is in it.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
