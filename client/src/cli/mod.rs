//! The `tombolo` command, as a library: [`run`] takes the words and the streams, and returns how it ended.

mod account;
mod apply;
mod args;
mod edit;
mod failure;
mod files;
mod history;
mod interrupt;
mod io;
mod json;
mod line;
mod link;
mod met;
mod place;
mod reasons;
mod review;
mod rows;
mod shown;
#[cfg(test)]
mod tests;
mod text;
mod values;
mod words;

pub use failure::Exit;
pub use io::{Environment, Io};

use crate::store::guarded;
use args::{Cli, Command, Output};
use clap::Parser;
use failure::Failure;
use place::Place;
use std::ffi::OsString;

/// Runs a command.
pub fn run(words: impl IntoIterator<Item = OsString>, io: &mut Io<'_>) -> Exit {
    let cli = match Cli::try_parse_from(words::spread(words)) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, io),
    };
    let place = Place::new(cli.store, &io.environment);
    if io.environment.heeds_interrupts {
        crate::outlive_file_size_limit();
    }
    let output = Output { json: cli.json };
    let ended = guarded(|| obey(&cli.command, &place, io, output)).map_err(Failure::from).flatten().and_then(|exit| {
        io.out.flush()?;
        Ok(exit)
    });
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            if !failure.is_silent() {
                io.note(&format!("tombolo: {}", failure.message));
            }
            failure.exit
        }
    }
}

/// Help and version are answers; everything else is a word that was not understood.
fn explain(error: &clap::Error, io: &mut Io<'_>) -> Exit {
    let text = error.render();
    // If nobody reads it, nobody misses it.
    let _ = if error.use_stderr() { write!(io.err, "{text}") } else { write!(io.out, "{text}") };
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

fn obey(command: &Command, place: &Place, io: &mut Io<'_>, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Login(args) => account::login(io, place, args, output),
        Command::Logout => account::logout(io, place, output),
        Command::Tables => account::tables(io, place, output),
        Command::Status => account::status(io, place, output),
        Command::List(args) => rows::list(io, place, args, output),
        Command::Get(row) => rows::get(io, place, row, output),
        Command::History(row) => history::history(io, place, row, output),
        Command::Create { table, fields, id } => edit::create(io, place, table, fields, *id, output),
        Command::Update { row, fields, seen } => edit::update(io, place, row, fields, seen, output),
        Command::Delete { row, seen } => edit::delete(io, place, row, seen, output),
        Command::Restore(row) => edit::restore(io, place, row, output),
        Command::Apply { file, group } => apply::apply(io, place, file, *group, output),
        Command::Import { table, file, set } => files::import(io, place, table, file, set, output),
        Command::Export { table, out, recovery } => {
            let what = files::Export { table, out: out.as_deref(), recovery: *recovery };
            files::export(io, place, &what, output)
        }
        Command::Pending => review::pending(io, place, output),
        Command::Discard { row, field } => review::discard(io, place, row, field.as_deref(), output),
        Command::Conflicts => review::conflicts(io, place, output),
        Command::Resolve { row, decision } => review::resolve(io, place, row, decision, output),
        Command::Sync(args) => link::sync(io, place, args, output),
        Command::Watch { table } => link::watch(io, place, table.as_deref(), output),
    }
}
