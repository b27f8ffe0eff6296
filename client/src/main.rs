//! The `tombolo` command.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tombolo_client::cli::{Environment, Io, run};

/// Rows become many small pieces of memory, and few of them are kept for long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What a panic means is told by the command; its place in the source is nothing for people.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut stdin, mut out, mut err) = (std::io::stdin(), std::io::BufWriter::new(std::io::stdout()), std::io::stderr());
    let environment = Environment {
        store: std::env::var_os("TOMBOLO_STORE").filter(|folder| !folder.is_empty()).map(PathBuf::from),
        data: None,
        shows_progress: err.is_terminal(),
        heeds_interrupts: true,
    };
    let exit = run(std::env::args_os(), &mut Io { stdin: &mut stdin, out: &mut out, err: &mut err, environment });
    // Every command has flushed what it printed; an error of this last time would be the same one again.
    let _ = out.flush();
    ExitCode::from(exit as u8)
}
