//! Batches of rows and of changes, which go over the wire by columns.

use crate::change::{FieldChange, LostValue, Op};
use crate::codec::{Decode, Encode};
use crate::ids::{Seq, TableTag};
use crate::row::{RowName, RowState};

/// Rows in a message.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct RowBatch(pub Vec<RowState>);

/// Changes in a push.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ChangeBatch(pub Vec<WireChange>);

/// A change on the wire: as [`crate::change::Change`], but its row may be named by number.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
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
