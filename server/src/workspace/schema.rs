//! A new schema: logged only if it may follow the present one and the data does not violate it (H7).

use super::Writer;
use crate::access::scopes_max;
use crate::fold::{references, unique_keys};
use crate::store::StoreError;
use crate::store::read::{Read, UniqueKey};
use crate::store::tables::Tables;
use redb::ReadableTable;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tombolo_protocol::commit::CommitBody;
use tombolo_protocol::ids::{RowId, Seq, TableTag, UserId};
use tombolo_protocol::schema::{Evolution, Schema, SchemaError, Table};

/// Violations that are told; there may be more.
const VIOLATIONS_SHOWN: usize = 20;
const ROWS_AT_ONCE: usize = 1000;

/// What a schema job did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SchemaReply {
    /// It is the present schema, to the letter.
    Unchanged,
    /// It is logged.
    Changed {
        /// The commit.
        seq: Seq,
        /// What it changes.
        evolution: Evolution,
    },
}

/// An honest no to a schema.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SchemaRefusal {
    /// It is not sound, or may not follow the present one.
    #[error("{0}")]
    Unsound(#[from] SchemaError),
    /// Rows violate it.
    #[error("the schema was not changed, because rows violate the new one:\n{}", .0.join("\n"))]
    Violated(Vec<String>),
    /// There are more scopes than its scoped tables allow.
    #[error(
        "the schema was not changed: with its scoped tables there cannot be more than {most} rows in the scope table, deleted ones \
         included, and there are {scopes}"
    )]
    TooManyScopes {
        /// How many there are.
        scopes: usize,
        /// How many there may be.
        most: usize,
    },
}

impl Writer<'_> {
    pub(super) fn change_schema(&mut self, by: UserId, text: String) -> Result<Result<SchemaReply, SchemaRefusal>, StoreError> {
        let old = self.fold.schema()?.clone();
        if old.text == text {
            return Ok(Ok(SchemaReply::Unchanged));
        }
        let new = match Schema::parse(&text) {
            Ok(new) => new,
            Err(error) => return Ok(Err(error.into())),
        };
        let evolution = match new.evolve_from(&old) {
            Ok(evolution) => evolution,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Some(refusal) = self.too_many_scopes(&old, &new)? {
            return Ok(Err(refusal));
        }
        let narrowed: BTreeSet<TableTag> = evolution.narrowing().filter_map(|change| change.table).collect();
        let mut violations = Vec::new();
        for table in new.tables.iter().filter(|table| narrowed.contains(&table.tag)) {
            self.check_rows(table, &mut violations)?;
        }
        if !violations.is_empty() {
            return Ok(Err(SchemaRefusal::Violated(violations)));
        }
        let seq = self.append(by, CommitBody::Schema { text })?;
        Ok(Ok(SchemaReply::Changed { seq, evolution }))
    }

    /// Where the new schema leaves less room for scopes than the old one did, and there are more.
    fn too_many_scopes(&self, old: &Schema, new: &Schema) -> Result<Option<SchemaRefusal>, StoreError> {
        let most = scopes_max(new);
        let Some(table) = new.scope_table.filter(|_| most < scopes_max(old)) else { return Ok(None) };
        let rows = self.tables.ids().range((table.0, &[0; 16])..=(table.0, &[0xFF; 16]))?;
        let scopes = rows.count();
        Ok((scopes > most).then_some(SchemaRefusal::TooManyScopes { scopes, most }))
    }

    fn check_rows(&self, table: &Table, violations: &mut Vec<String>) -> Result<(), StoreError> {
        let mut unique: BTreeMap<UniqueKey, RowId> = BTreeMap::new();
        let mut last = None;
        loop {
            let rows = self.tables.rows_after(table.tag, last, ROWS_AT_ONCE)?;
            let Some(newest) = rows.last() else { return Ok(()) };
            last = Some(newest.key.id);
            for row in rows.iter().filter(|row| row.is_live()) {
                if violations.len() >= VIOLATIONS_SHOWN {
                    return Ok(());
                }
                let place = format!("table `{}`, row {}", table.name, row.key.id);
                for field in &table.fields {
                    if let Err(problem) = field.check(row.value(field.tag)) {
                        violations.push(format!("{place}: {}", field.explain(problem)));
                    }
                }
                for (field, target) in references(table, row) {
                    if self.tables.row(&target)?.is_none() {
                        violations.push(format!("{place}: field {field} refers to row {}, which is not there", target.id));
                    }
                }
                for key in unique_keys(table, row) {
                    if let Some(other) = unique.insert(key, row.key.id) {
                        violations.push(format!("{place}: row {other} has the same value in a unique field"));
                    }
                }
            }
        }
    }
}
