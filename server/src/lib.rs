//! The Tombolo server: one workspace, its log, and the sessions of its clients.
//!
//! # How it is driven
//! One thread owns the [`workspace::Workspace`], the single writer: it decides pushes, appends them to the log with one durable
//! write, hands the replies to the sessions, and then announces the new head. Each connection has a [`session::Session`], a
//! machine without IO, clock or randomness, which is fed with decoded messages, replies and snapshots, and drained of messages
//! to send and jobs for the writer. Everything that a client is told is read from a [`snapshot::Snapshot`].
//!
//! # What it never does
//! It never answers from what is not durable, never lets a fold decide, and never tells a user of rows that the one policy
//! ([`access`]) does not open.
//!
//! # Where things stand
//! Deciding: [`access`], [`decide`], [`workspace`]. Keeping: [`fold`], [`store`], [`verify`], [`compact`]. Telling: [`feed`],
//! [`snapshot`], [`session`], `prepared`. Driving: [`net`] (sockets, HTTP, the writer's thread), [`cli`] with `control` (operator commands,
//! also on a running server) and `csv`; [`passwords`].

pub mod access;
pub mod cli;
pub mod compact;
mod control;
mod csv;
pub mod decide;
pub mod feed;
pub mod fold;
pub mod net;
pub mod passwords;
mod prepared;
pub mod session;
pub mod snapshot;
pub mod store;
pub mod verify;
pub mod workspace;

#[cfg(test)]
mod testing;
