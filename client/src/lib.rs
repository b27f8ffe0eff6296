//! An offline-first store that syncs.
//!
//! It keeps a *mirror* of confirmed rows and an *outbox* of this device's own changes in one embedded store, shows the one
//! overlaid with the other, and brings both into agreement with a server over one session. It never waits for a network in a
//! local write, and it never forgets an edit that it accepted.
//!
//! The pure part is [`tombolo_protocol`]; [`engine::Engine`] is session and store together without sockets, clock or threads.

mod answers;
pub mod engine;
pub mod event;
mod freeze;
mod local;
mod pushes;
mod recovery;
mod session;
mod step;
pub mod store;
pub mod view;

pub use freeze::Standing;
pub use local::{LocalError, LocalWrite};
pub use session::{Hangup, Phase};
pub use step::StepError;
pub use tombolo_protocol as protocol;
pub use view::check;
