//! What needs both sides: stories played by hand on a pair of machines, and the real programs end to end.

mod compaction;
mod demo;
mod e2e;
mod e2e_errors;
mod forms;
mod interleavings;
mod laws;
mod licences;
mod merging;
mod simulation;
mod stage;
mod traps_history;
mod traps_pull;
mod traps_push;
mod undo;
mod worlds;
