//! A server with generated patients for another program that measures: `clinic --rows 100000 --folder DIR` prints one line of
//! JSON when it can be reached, and ends when its input ends.

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;
use tombolo_client::protocol::schema::CLINIC;
use tombolo_server::net::{Config, Server};
use tombolo_tests::clinic::{PASSWORD, PEOPLE, seed};

/// A clinic's server, until standard input ends.
#[derive(Parser)]
#[command(name = "clinic", after_help = "Example:\n  clinic --rows 1000 --folder clinic-data")]
struct Options {
    /// Patients
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    /// Where the server keeps its data
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the one line is the program's answer")]
fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.block_on(Server::start(Config::local(options.folder, CLINIC)))?;
    runtime.block_on(seed(&server.operator(), options.rows)).context("the clinic cannot be filled")?;
    println!("{}", json!({"server": format!("http://{}", server.addr()), "user": PEOPLE[0], "password": PASSWORD}));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(server.shutdown());
    Ok(())
}
