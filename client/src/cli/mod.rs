//! The `tombolo` command.
