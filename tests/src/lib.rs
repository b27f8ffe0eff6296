//! What more than one test, benchmark or demo needs: the workload, a bad network, real processes, and the proof of the promise:
//! simulated worlds, laws, every interleaving of two devices, and the counts of what was played.
//!
//! It decides nothing about sync. The subjects themselves are tested where their crates are, or in this package's own test binary.

pub mod bench;
pub mod clinic;
pub mod counts;
pub mod disk;
pub mod interleavings;
pub mod laws;
pub mod licences;
pub mod pair;
pub mod process;
pub mod proxy;
#[cfg(target_os = "linux")]
pub mod room;
pub mod sim;
pub mod workload;
