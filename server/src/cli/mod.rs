//! The command line: words in, sentences and exit codes out.

mod args;
mod commands;
mod failure;
mod outfile;
mod serve;
mod show;
mod terminal;

use crate::net::log;
use crate::store::guarded;
use args::{Cli, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Bad words are answered here, with exit code 2; help and version with 0.
    let Cli { command } = Cli::parse();
    // What a panic says is told as what it means, and a server that goes on says it in one line.
    let serves = matches!(command, Command::Serve { .. });
    std::panic::set_hook(Box::new(move |panic| {
        if serves {
            log::to_stderr(&format_args!("a defect: {}", panic.to_string().replace('\n', " ")));
        }
    }));
    match guarded(|| run(command)).map_err(Failure::from).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, exit }) => {
            eprintln!("{message}");
            ExitCode::from(exit)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(place) => serve::init(&place),
        Command::Serve { place, listen } => serve::serve(&place, listen),
        Command::User(user) => commands::user(user),
        Command::Device(device) => commands::device(device),
        Command::Import { table, file, set, place, output } => commands::import(table, &file, set, &place, output),
        Command::Export { table, out, place } => commands::export(table, out.as_deref(), &place),
        Command::Verify { place, output } => commands::verify(&place, output),
        Command::Compact { keep_days, place, output } => commands::compact(keep_days, &place, output),
    }
}
