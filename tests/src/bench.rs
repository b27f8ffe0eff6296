//! The benchmark: the works of the workload on real programs, real stores and real sockets, with bytes counted by a proxy.
//!
//! Every result is compared with what it must be, or it does not count. Bytes are exact; times and CPU belong to the machine and
//! are printed, never judged. CPU is counted in ticks of 10 ms, as the kernel does.

mod figures;
mod floors;
mod growth;
mod live;
mod local;
mod machine;
mod record;
mod server;
mod slow;
mod stage;
mod swarm;
mod sync;

pub use figures::Figures;
pub use floors::floors;
pub use growth::growth;
pub use live::{idle, open_session};
pub use local::saves;
pub use record::{check, record, write_table};
pub use server::{sessions, throughput};
pub use slow::slow_link;
pub use stage::{Device, Stage};
pub use swarm::{Swarm, run_swarm};
pub use sync::{cut_first_sync, first_sync, nothing_to_do, pull, push};
