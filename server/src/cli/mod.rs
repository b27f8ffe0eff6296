//! The command line: words in, sentences and exit codes out.

mod args;
mod commands;
mod failure;
mod serve;
mod show;
mod terminal;

use args::{Cli, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Bad words are answered here, with exit code 2; help and version with 0.
    let Cli { command } = Cli::parse();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message }) => {
            eprintln!("{message}");
            ExitCode::FAILURE
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
    }
}
