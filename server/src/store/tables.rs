//! Every table of the store, in one place. All but `local`, the log and its base are a fold of the log, and can be rebuilt and
//! compared.
//!
//! Records are encoded by [`tombolo_protocol::codec::store`], commits and section keys by the wire codec. A layout that
//! changes gets a new version suffix and a numbered migration.

use super::StoreError;
use super::base::{self, BaseWriter};
use super::compare::GoesOn;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident = $name:literal: $key:ty => $value:ty;)*) => {
        /// All tables, open in one write transaction.
        pub struct WriteTables<'txn> {
            $($(#[$doc])* pub $field: Table<'txn, $key, $value>,)*
        }

        /// All tables, as they were when the read transaction began.
        pub struct ReadTables {
            $($(#[$doc])* pub $field: ReadOnlyTable<$key, $value>,)*
        }

        /// All tables for reading, in a write or a read transaction.
        pub trait Tables {
            $($(#[$doc])* fn $field(&self) -> &impl ReadableTable<$key, $value>;)*
        }

        impl<'txn> WriteTables<'txn> {
            /// Opens all tables, and makes those that are not there yet.
            ///
            /// # Errors
            /// [`StoreError`] when the file cannot be read.
            pub fn open(txn: &'txn WriteTransaction) -> Result<Self, StoreError> {
                Ok(Self { $($field: txn.open_table(TableDefinition::new($name))?,)* })
            }
        }

        impl ReadTables {
            /// Opens all tables.
            ///
            /// # Errors
            /// [`StoreError`] when the file cannot be read.
            pub fn open(txn: &ReadTransaction) -> Result<Self, StoreError> {
                Ok(Self { $($field: txn.open_table(TableDefinition::new($name))?,)* })
            }

            /// Compares all tables: for each its name and, where they differ, the first difference in words.
            ///
            /// # Errors
            /// [`StoreError`] when a file cannot be read.
            pub fn compare(&self, other: &Self, goes_on: GoesOn<'_>) -> Result<Vec<(&'static str, Option<String>)>, StoreError> {
                Ok(vec![$(($name, super::compare::first_difference(&self.$field, &other.$field, goes_on)?),)*])
            }

            /// Writes everything that is folded into a base.
            pub(super) fn dump(&self, into: &mut BaseWriter<'_, '_>, goes_on: GoesOn<'_>) -> Result<(), StoreError> {
                $(if is_folded($name) {
                    base::dump_table($name, &self.$field, into, goes_on)?;
                })*
                Ok(())
            }
        }

        impl WriteTables<'_> {
            /// Puts an entry of a base into its table. The bytes must be those of such a table, as the base's hash makes sure.
            pub(super) fn load(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
                match table {
                    $($name if is_folded($name) => base::load_entry(&mut self.$field, key, value),)*
                    _ => Err(StoreError::damaged(format!("the base has a table {table}, which this program does not know"))),
                }
            }
        }

        impl Tables for WriteTables<'_> {
            $(fn $field(&self) -> &impl ReadableTable<$key, $value> { &self.$field })*
        }

        impl Tables for ReadTables {
            $(fn $field(&self) -> &impl ReadableTable<$key, $value> { &self.$field })*
        }
    };
}

/// What is not a fold of the log: what is this store's own, the log itself, and its base.
pub(crate) const LOCAL: &str = "local_1";
const LOG: &str = "log_1";
pub(crate) const BASE: &str = "base_1";

fn is_folded(table: &str) -> bool {
    ![LOCAL, LOG, BASE].contains(&table)
}

type Id = &'static [u8; 16];
type Bytes = &'static [u8];

tables! {
    /// What is not a fold of the log.
    /// Key: `format` (of the store), `safe` (the seq covered by a completed backup).
    /// Value: the number.
    local = "local_1": &'static str => u64;
    /// Where the fold stands.
    /// Key: unit.
    /// Value: [`super::records::Meta`].
    meta = "meta_1": () => Bytes;
    /// The log: every commit behind the horizon, and below it the last pushes of each device.
    /// Key: seq.
    /// Value: the commit's bytes, over which its hash is taken.
    log = "log_1": u64 => Bytes;
    /// The base: everything that is folded, as it was at the horizon; empty while the log is whole. `store/base.rs` describes it.
    /// Key: place of the chunk, from 0.
    /// Value: the chunk, compressed.
    base = "base_1": u64 => Bytes;
    /// What is kept of every commit for ever.
    /// Key: seq.
    /// Value: [`super::records::CommitMark`].
    marks = "marks_1": u64 => Bytes;
    /// The rows.
    /// Key: row number.
    /// Value: [`tombolo_protocol::row::Row`].
    rows = "rows_1": u64 => Bytes;
    /// Row numbers by identity.
    /// Key: table, row id.
    /// Value: row number.
    ids = "ids_1": (u16, Id) => u64;
    /// The feed: each row once in its section, by the position of its last change; and exit markers.
    /// Key: section number, seq, ordinal.
    /// Value: row number, whether it is an exit marker.
    feed = "feed_1": (u32, u64, u32) => (u64, bool);
    /// Exit markers by row.
    /// Key: row number, number of the section that it left.
    /// Value: position of the marker in that section's feed: seq, ordinal.
    exits = "exits_1": (u64, u32) => (u64, u32);
    /// The sections.
    /// Key: the section, in the wire codec.
    /// Value: [`super::records::SectionRecord`].
    sections = "sections_1": Bytes => Bytes;
    /// Scopes that have or had a section, or a row in the scope table.
    /// Key: id of the row of the scope table.
    /// Value: unit.
    scopes = "scopes_1": Id => ();
    /// Live rows by the values of their unique fields.
    /// Key: table, field, scope (empty in tables without), value (see [`super::read::value_key`]).
    /// Value: row number.
    unique = "unique_1": (u16, u16, Bytes, Bytes) => u64;
    /// Live rows by what they refer to.
    /// Key: table and id of the row referred to, table and field that refer, number of the referring row.
    /// Value: unit.
    references = "references_2": (u16, Id, u16, u16, u64) => ();
    /// Devices.
    /// Key: device id.
    /// Value: [`super::records::Device`].
    devices = "devices_1": Id => Bytes;
    /// What people call devices.
    /// Key: device id.
    /// Value: the name.
    device_names = "device_names_1": Id => &'static str;
    /// Recorded pushes.
    /// Key: device id, push number.
    /// Value: [`super::records::RecordedPush`].
    pushes = "pushes_1": (Id, u64) => Bytes;
    /// Users.
    /// Key: user id.
    /// Value: [`super::records::User`].
    users = "users_1": Id => Bytes;
    /// Users by the name to log in with.
    /// Key: the name.
    /// Value: user id.
    user_names = "user_names_1": &'static str => Id;
    /// Valid tokens.
    /// Key: BLAKE3 of the token.
    /// Value: device id.
    tokens = "tokens_1": &'static [u8; 32] => Id;
    /// Which commits concern a row; those behind the horizon.
    /// Key: row number, seq.
    /// Value: unit.
    history = "history_1": (u64, u64) => ();
    /// The schemas.
    /// Key: seq of the commit.
    /// Value: the text of the file.
    schemas = "schemas_1": u64 => &'static str;
    /// What operators chose when they put a backup back.
    /// Key: seq of the commit.
    /// Value: [`tombolo_protocol::commit::Offer`].
    restores = "restores_1": u64 => Bytes;
    /// The compactions of the log.
    /// Key: seq of the commit.
    /// Value: [`super::records::Checkpoint`].
    checkpoints = "checkpoints_1": u64 => Bytes;
}
