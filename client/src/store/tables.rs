//! Every table of the client's store. All keys are bytes that sort as they should: integers big endian.

use redb::TableDefinition;

/// A table: bytes to bytes.
pub type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The tables.
#[derive(Clone, Copy, Debug)]
pub enum Name {
    /// Key: the name of a single record. Value: the record, see `records.rs`.
    Meta,
    /// Key: table tag (u16), row id (16 bytes). Value: what [`super::MirrorRow`] has besides.
    Mirror,
    /// Key: row number, as the count of its bytes and these, without zeros ahead. Value: table tag (u16), row id (16 bytes).
    Numbers,
    /// Key: table tag (u16), row id (16 bytes). Value: `outbox::Entry`.
    Outbox,
    /// Key: push number (u64). Value: [`super::FrozenPush`].
    Frozen,
    /// Key: seq of the commit (u64), push number (u64). Value: [`super::AcknowledgedPush`].
    Acknowledged,
    /// Key: seq (u64). Value: the commit's hash (16 bytes). The first commit and the newest ones that any message named (H3).
    Pairs,
    /// Key: an encoded `WantedRow`. Value: empty. Rows of which only a part came (S3).
    Wants,
    /// Key: seq (u64). Value: [`super::AuthorRecord`].
    Authors,
    /// Key: table tag (u16), row id (16 bytes). Value: a list of `outbox::Settled`. The newest confirmations of each row's edits,
    /// oldest first (T41); of the newest `SETTLED_MAX` rows at least. A store of an earlier program may hold `settled.1`, which nobody
    /// reads: without its confirmation a view is an old one, and a person is asked. So the format of the store is the same.
    Settled,
    /// Key: table tag (u16), row id (16 bytes). Value: a list of [`super::Displaced`], of rows with an entry. For showing alone: a
    /// program that does not know it leaves it as it is, and what is out of date in it has another base. So the format of the
    /// store is the same.
    Displaced,
    /// Key: an encoded `Section`. Value: its digest (16 bytes) over the mirror's rows.
    Digests,
    /// Key: seq of the schema's commit (u64). Value: its text.
    Schemas,
    /// Key: number of the copy (u32). Value: [`super::RecoveryCopy`]. Mirrors set aside after a divergence (H3).
    Recovery,
    /// Key: number of the copy (u32), table tag (u16), row id (16 bytes). Value: `Row`.
    RecoveryRows,
}

impl Name {
    /// All of them, each at its place.
    pub const ALL: [Self; 15] = [
        Self::Meta,
        Self::Mirror,
        Self::Numbers,
        Self::Outbox,
        Self::Frozen,
        Self::Acknowledged,
        Self::Pairs,
        Self::Wants,
        Self::Authors,
        Self::Settled,
        Self::Displaced,
        Self::Digests,
        Self::Schemas,
        Self::Recovery,
        Self::RecoveryRows,
    ];

    /// What the store calls it; a layout that changes gets another number.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Meta => "meta.1",
            Self::Mirror => "mirror.2",
            Self::Numbers => "numbers.2",
            Self::Outbox => "outbox.1",
            Self::Frozen => "frozen.1",
            Self::Acknowledged => "acknowledged.1",
            Self::Pairs => "pairs.1",
            Self::Wants => "wants.1",
            Self::Authors => "authors.1",
            Self::Settled => "settled.2",
            Self::Displaced => "displaced.1",
            Self::Digests => "digests.1",
            Self::Schemas => "schemas.1",
            Self::Recovery => "recovery.1",
            Self::RecoveryRows => "recovery_rows.1",
        }
    }

    pub(super) const fn definition(self) -> Definition {
        TableDefinition::new(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_stands_at_its_place() {
        assert!(Name::ALL.iter().enumerate().all(|(place, name)| *name as usize == place));
    }
}
