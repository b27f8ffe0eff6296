//! What more than one test, benchmark or demo needs: the workload, a bad network, real processes.
//!
//! It decides nothing about sync and knows no type of Tombolo: rows are text, links are bytes, programs are command lines.
//! The subjects themselves are tested where their crates are, or in this package's own test binary.

pub mod counts;
pub mod disk;
pub mod interleavings;
pub mod laws;
pub mod pair;
pub mod process;
pub mod proxy;
pub mod sim;
pub mod workload;
