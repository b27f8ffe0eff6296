//! Lines for whoever watches the server. Standard error, and never a reason to fail.

use std::fmt::Display;
use std::io::{self, Write};

/// Where a driver's lines go.
pub(crate) type Log = fn(&dyn Display);

/// Writes a line to standard error. A reader that went away is nothing to stop for.
pub(crate) fn to_stderr(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "tombolo-server: {line}");
}

/// Says nothing: whoever asked is told.
pub(crate) fn nowhere(_: &dyn Display) {}
