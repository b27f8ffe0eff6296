//! Batches by columns: what is alike stands together, so that it is small by itself and smaller behind zstd.
//!
//! A batch is one blob of bytes inside its message, written and read here and nowhere else; `protocol/WIRE.md` has the layout
//! to the byte. Rows keep their order. What a row has once (its name, seq, version) stands in columns over all rows; values
//! and stamps stand in columns per table and field. An encoder may choose among the forms of a column, and a decoder takes
//! each of them, but the content has one form only: ascending tags, canonical values, shortest varints.
//!
//! # Bounds
//! Runs and dictionaries let few bytes claim many rows, so a decoder counts a *weight* before it allocates: [`ROW_WEIGHT`] a
//! row, [`CELL_WEIGHT`] a field and the bytes of texts as often as they come out. Memory is at most a small multiple of it.

mod bits;
mod bytes;
mod changes;
mod digits;
mod distinct;
mod estimate;
mod ids;
mod ints;
mod rows;
mod shape;
mod texts;
mod values;
mod words;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub(crate) use changes::{decode_changes, encode_changes};
pub(crate) use estimate::compressed_len;
pub(crate) use rows::{decode_rows, encode_rows};

use crate::limits::{FRAME_INFLATED_BYTES_MAX, PUSH_BYTES_REFUSED};

/// What a row or change weighs without its fields: at least what its name and counters take on the wire.
pub(crate) const ROW_WEIGHT: usize = 64;
/// What a field weighs besides its content.
pub(crate) const CELL_WEIGHT: usize = 8;
/// Weight of a row batch.
pub(crate) const ROWS_WEIGHT_MAX: usize = FRAME_INFLATED_BYTES_MAX;
/// Weight of a change batch: what is larger than a push may be is refused by name, what is much larger is not read.
pub(crate) const CHANGES_WEIGHT_MAX: usize = PUSH_BYTES_REFUSED;
