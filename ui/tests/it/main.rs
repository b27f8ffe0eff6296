//! The desktop application with a real store and a real server, without a window: elements are found by role and label, clicks
//! and keys are real events, and the clock of animations is moved by hand.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may panic, and wait")]

mod accessibility;
mod files;
mod flows;
mod focus;
mod golden;
mod languages;
mod lists;
mod no_display;
mod own_window;
mod people;
mod reader;
mod rental;
mod screen;
mod signing;
mod stage;
mod trouble;
#[cfg(target_os = "linux")]
mod wayland;
