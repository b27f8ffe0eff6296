//! Tombolo's desktop application.
//!
//! It does not exist yet: this crate opens a real window that says so and names the toolkit, so that the toolkit's
//! build, features and licence are settled before any view is written. It reads no store and talks to no server.
//!
//! Driven by [`open`], which blocks until the window is closed.

mod generated {
    #![allow(
        unsafe_code,
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::unwrap_used,
        reason = "written by the Slint compiler"
    )]
    slint::include_modules!();
}

use slint::ComponentHandle;

/// Why the window did not come up, or went away by itself.
#[derive(Debug, thiserror::Error)]
#[error(
    "no window can be opened here, because no display is reachable; \
     your data is not touched, and the command line `tombolo` works without a display"
)]
pub struct NoDisplay(#[source] slint::PlatformError);

/// Opens the window and returns when it has been closed.
///
/// # Errors
/// [`NoDisplay`] where the session has no display that a window could appear on.
pub fn open() -> Result<(), NoDisplay> {
    generated::AppWindow::new().and_then(|window| window.run()).map_err(NoDisplay)
}
