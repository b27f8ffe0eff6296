//! `tombolo-desktop`: opens the window, or says in one sentence why there is none.

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tombolo_ui::app::Options;

/// Work offline, press Sync, decide conflicts.
#[derive(Parser)]
#[command(name = "tombolo-desktop", version, after_help = "Example:\n  tombolo-desktop")]
struct Arguments {
    /// The folder of the store to open; without it, that of the last sign-in
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The folder for settings and stores, in place of the system's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the network of this window is switched on and off (for the demo)
    #[arg(long, value_name = "ADDRESS", hide = true)]
    network: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let Arguments { store, data, network } = Arguments::parse();
    tombolo_client::outlive_file_size_limit();
    match tombolo_ui::open(Options { store, data, network, ..Options::default() }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tombolo-desktop: {error}");
            ExitCode::FAILURE
        }
    }
}
