//! Tombolo's desktop application: work offline, press Sync, decide conflicts.
//!
//! It is made of the schema: any workspace gives a usable application. Programs of their own can use the parts: [`desk`] is the
//! thread between a window and the engine, [`presenters`] hold forms and decisions, [`app::App`] puts both into the window.
//!
//! # Who may wait for what
//! The window's thread never waits for a disk or a network. It shows snapshots that the desk's thread made, searches them in
//! memory, and sends requests; see [`desk`].

pub mod app;
pub mod desk;
pub mod presenters;
mod settings;

pub use settings::Settings;

/// What the Slint compiler made of `ui/*.slint`.
pub mod window {
    #![allow(
        unsafe_code,
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::unwrap_used,
        clippy::todo,
        clippy::unimplemented,
        clippy::dbg_macro,
        clippy::print_stdout,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "written by the Slint compiler"
    )]
    slint::include_modules!();
}

use app::{App, Options};
use slint::ComponentHandle;

/// Why the window did not come up, or went away by itself.
#[derive(Debug, thiserror::Error)]
#[error(
    "no window can be opened here, because no display is reachable; \
     your data is not touched, and the command line `tombolo` works without a display"
)]
pub struct NoDisplay(#[source] slint::PlatformError);

/// Opens the window and returns when it has been closed; then the store is closed, too.
///
/// # Errors
/// [`NoDisplay`] where the session has no display that a window could appear on.
pub fn open(options: Options) -> Result<(), NoDisplay> {
    let app = App::new(options).map_err(NoDisplay)?;
    // A window that is hidden for a moment is not closed: it says itself when it is.
    app.on_closed(|| drop(slint::quit_event_loop()));
    app.window().show().map_err(NoDisplay)?;
    slint::run_event_loop_until_quit().map_err(NoDisplay)
}
