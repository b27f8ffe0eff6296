//! What both sides of a Tombolo sync must agree on. Pure: no IO, no clock, no randomness.
//!
//! # The story of one sync
//! A person edits a row. The app shows mirror overlaid with outbox ([`outbox::shown`]), and the edit becomes part of the
//! row's outbox entry together with what the person had seen ([`outbox::write`]). When a push is asked for, entries without
//! conflict are lifted and frozen ([`outbox::lift`], [`outbox::change_of`]) into a numbered push with a chained hash
//! ([`change::Push`]), and only then sent. The server decides each change against its own row ([`admit::admit`]) with the same
//! three-way merge ([`merge::merge_units`]) that the client uses to find conflicts ([`outbox::conflict`]), and appends one
//! commit ([`commit::Commit`]). The answer brings every row that the push names in the one wire record
//! ([`row::RowState`]); the client applies it ([`row::apply`]) and removes exactly what was sent ([`outbox::settle`]). What
//! others changed comes by scanning the feed from the client's cursors ([`cursor::Cursors`]).
//!
//! # Where things stand
//! Meaning: [`value`], [`schema`], [`row`], [`change`], [`merge`], [`admit`], [`outbox`], [`cursor`], [`commit`], [`hash`].
//! Wrongs that the simulation must find: [`planted`](mod@planted).
//! Bytes: [`message`], [`batch`], [`frame`], [`codec`], [`limits`], [`version`].

pub mod admit;
pub mod batch;
pub mod change;
pub mod codec;
mod columns;
pub mod commit;
pub mod cursor;
pub mod error;
pub mod frame;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod merge;
pub mod message;
pub mod outbox;
pub mod planted;
pub mod row;
pub mod schema;
pub mod value;
pub mod version;

#[cfg(test)]
mod testing;
