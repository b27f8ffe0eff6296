//! Every table of the client's store. All keys are bytes that sort as they should: integers big endian.

use redb::TableDefinition;

/// A table: bytes to bytes.
pub type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Key: the name of a single record. Value: the record, see `records.rs`.
pub const META: Definition = TableDefinition::new("meta.1");
/// Key: table tag (u16), row id (16 bytes). Value: [`super::MirrorRow`].
pub const MIRROR: Definition = TableDefinition::new("mirror.1");
/// Key: row number (u64). Value: table tag (u16), row id (16 bytes).
pub const NUMBERS: Definition = TableDefinition::new("numbers.1");
/// Key: table tag (u16), row id (16 bytes). Value: `outbox::Entry`.
pub const OUTBOX: Definition = TableDefinition::new("outbox.1");
/// Key: push number (u64). Value: [`super::FrozenPush`].
pub const FROZEN: Definition = TableDefinition::new("frozen.1");
/// Key: seq of the commit (u64), push number (u64). Value: [`super::AcknowledgedPush`].
pub const ACKNOWLEDGED: Definition = TableDefinition::new("acknowledged.1");
/// Key: seq (u64). Value: the commit's hash (16 bytes). The first commit and the newest ones that any message named (H3).
pub const PAIRS: Definition = TableDefinition::new("pairs.1");
/// Key: an encoded `WantedRow`. Value: empty. Rows of which only a part came (S3).
pub const WANTS: Definition = TableDefinition::new("wants.1");
/// Key: seq (u64). Value: [`super::AuthorRecord`].
pub const AUTHORS: Definition = TableDefinition::new("authors.1");
/// Key: table tag (u16), row id (16 bytes). Value: a list of `outbox::Settled`. The newest confirmations of each row's edits,
/// oldest first (T41); of the newest `SETTLED_MAX` rows at least. A store of an earlier program may hold `settled.1`, which nobody
/// reads: without its confirmation a view is an old one, and a person is asked. So the format of the store is the same.
pub const SETTLED: Definition = TableDefinition::new("settled.2");
/// Key: an encoded `Section`. Value: its digest (16 bytes) over the mirror's rows.
pub const DIGESTS: Definition = TableDefinition::new("digests.1");
/// Key: seq of the schema's commit (u64). Value: its text.
pub const SCHEMAS: Definition = TableDefinition::new("schemas.1");
/// Key: number of the copy (u32). Value: [`super::RecoveryCopy`]. Mirrors set aside after a divergence (H3).
pub const RECOVERY: Definition = TableDefinition::new("recovery.1");
/// Key: number of the copy (u32), table tag (u16), row id (16 bytes). Value: `Row`.
pub const RECOVERY_ROWS: Definition = TableDefinition::new("recovery_rows.1");
