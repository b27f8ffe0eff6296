//! `tombolo-desktop`: opens the window, or says in one sentence why there is none.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tombolo_ui::open() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tombolo-desktop: {error}");
            ExitCode::FAILURE
        }
    }
}
