//! The proof of the promise: a deterministic world of shipping code, in which everything goes wrong that can, and nothing may be
//! lost.
//!
//! The client's engine, the server's sessions and its workspace run on their real stores over simulated disks, with a simulated
//! network and clock, on one thread, with one queue of events. One seed makes one [`plan::Plan`], a plan is played by
//! [`run::play`], and [`oracles`] look at every step. The same plan gives the same trace, byte for byte. A plan that fails is
//! cut down by [`shrink`] and saved as a file, which replays as an ordinary test.

pub mod device;
pub mod ledger;
pub mod model;
pub mod net;
pub mod oracles;
pub mod person;
pub mod plan;
pub mod planted;
pub mod rng;
pub mod run;
pub mod schema;
pub mod server;
pub mod shrink;
pub mod world;
