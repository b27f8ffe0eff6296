//! Batches of rows and of changes, which go over the wire by columns.

use crate::change::{FieldChange, LostValue, Op};
use crate::codec::{Blob, blob};
use crate::columns::{CELL_WEIGHT, ROW_WEIGHT, decode_changes, decode_rows, encode_changes, encode_rows};
use crate::error::DecodeError;
use crate::ids::{Seq, TableTag};
use crate::row::{RowName, RowState};

/// Rows in a message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowBatch(pub Vec<RowState>);

/// Changes in a push.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangeBatch(pub Vec<WireChange>);

/// What a row counts when a chunk is filled: about its bytes before compression, rather more than less. A batch of at most
/// [`crate::limits::CHUNK_BYTES_MAX`] and [`crate::limits::CHUNK_ROWS_MAX`] rows always fits its frame and is always taken.
pub fn weight(row: &RowState) -> usize {
    ROW_WEIGHT + row.fields.iter().map(|field| CELL_WEIGHT + field.value.canonical_len()).sum::<usize>()
}

impl Blob for RowBatch {
    fn to_blob(&self) -> Vec<u8> {
        encode_rows(&self.0)
    }

    fn from_blob(blob: &[u8]) -> Result<(Self, usize), DecodeError> {
        decode_rows(blob).map(|(rows, weight)| (Self(rows), weight))
    }
}
blob!(RowBatch);

impl Blob for ChangeBatch {
    fn to_blob(&self) -> Vec<u8> {
        encode_changes(&self.0)
    }

    fn from_blob(blob: &[u8]) -> Result<(Self, usize), DecodeError> {
        decode_changes(blob).map(|(changes, weight)| (Self(changes), weight))
    }
}
blob!(ChangeBatch);

/// A change on the wire: as [`crate::change::Change`], but its row may be named by number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireChange {
    /// Its table.
    pub table: TableTag,
    /// Its row.
    pub name: RowName,
    /// What is done.
    pub op: Op,
    /// See [`crate::change::Change::row_base`].
    pub row_base: Seq,
    /// See [`crate::change::Change::view_base`].
    pub view_base: Seq,
    /// The touched fields by ascending tag.
    pub fields: Vec<FieldChange>,
    /// Values that lost in a decision.
    pub lost: Vec<LostValue>,
    /// The group within the push.
    pub group: Option<u16>,
    /// When it was made, by the device's clock.
    pub edited_at_ms: i64,
}
