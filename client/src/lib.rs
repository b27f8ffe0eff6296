//! An offline-first store that syncs.
//!
//! It keeps a *mirror* of confirmed rows and an *outbox* of this device's own changes in one embedded store, shows the one
//! overlaid with the other, and brings both into agreement with a server over one session. It never waits for a network in a
//! local write, and it never forgets an edit that it accepted.
//!
//! The pure part is [`tombolo_protocol`]; [`engine::Engine`] is session and store together without sockets, clock or threads.

mod answers;
#[cfg(feature = "driver")]
pub mod backoff;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "csv")]
pub mod csv;
mod displaced;
#[cfg(feature = "driver")]
pub mod driver;
pub mod engine;
#[cfg(feature = "driver")]
mod error;
#[cfg(feature = "driver")]
mod estimate;
pub mod event;
mod freeze;
#[cfg(feature = "driver")]
mod handle;
#[cfg(feature = "driver")]
pub mod listing;
mod local;
#[cfg(feature = "driver")]
pub mod login;
#[cfg(feature = "driver")]
pub mod names;
#[cfg(feature = "driver")]
pub mod paths;
#[cfg(feature = "driver")]
mod proxy;
mod pushes;
mod recovery;
mod session;
mod step;
pub mod store;
#[cfg(feature = "driver")]
pub mod table;
#[cfg(test)]
#[cfg(feature = "driver")]
mod testing;
#[cfg(feature = "csv")]
mod titles;
#[cfg(feature = "driver")]
mod tls;
#[cfg(feature = "driver")]
mod transport;
#[cfg(feature = "driver")]
pub mod url;
pub mod view;
#[cfg(feature = "driver")]
mod watch;

#[cfg(feature = "driver")]
pub use driver::{Connection, Mode, Notice, SyncDone, SyncError, SyncOptions, SyncProgress, outlive_file_size_limit};
#[cfg(feature = "driver")]
pub use error::ClientError;
#[cfg(feature = "driver")]
pub use estimate::Estimate;
pub use freeze::Standing;
#[cfg(feature = "driver")]
pub use handle::{Canceller, Client, KnownCommit, LoginFailed, Status, TableInfo, new_row_id};
pub use local::{Before, LocalError, LocalWrite};
#[cfg(feature = "driver")]
pub use login::Login;
pub use pushes::PushLimits;
pub use session::{Hangup, Phase};
pub use step::StepError;
pub use tombolo_protocol as protocol;
#[cfg(feature = "driver")]
pub use transport::ByteCounts;
pub use view::check;
#[cfg(feature = "driver")]
pub use watch::{Changed, Subscription, Watch};
