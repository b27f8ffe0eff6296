//! A new schema: logged only if it may follow the present one and the data does not violate it (H7).

use super::Writer;
use crate::access::scopes_max;
use crate::fold::{references, unique_keys};
use crate::store::StoreError;
use crate::store::read::{Read, UniqueKey};
use crate::store::tables::Tables;
use redb::ReadableTable;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;
use tombolo_protocol::commit::CommitBody;
use tombolo_protocol::ids::{FieldTag, RowId, Seq, TableTag, UserId};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Evolution, Narrowing, OnDelete, Schema, SchemaError, Table};

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
        let earlier = self.earlier_schemas()?;
        let earlier: Vec<&Schema> = earlier.iter().map(Arc::as_ref).collect();
        let evolution = match new.evolve_from(&old, &earlier) {
            Ok(evolution) => evolution,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Some(refusal) = self.too_many_scopes(&old, &new)? {
            return Ok(Err(refusal));
        }
        let mut violations = Vec::new();
        for (tag, narrowed) in narrowed(&evolution) {
            if let Some(table) = new.table(tag) {
                self.check_rows(table, &narrowed, &mut violations)?;
            }
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

    /// The logged schemas before the present one, the newest first.
    fn earlier_schemas(&self) -> Result<Vec<Arc<Schema>>, StoreError> {
        let seqs = self.tables.schemas().range(..self.fold.meta().schema.0)?;
        let seqs = seqs.rev().map(|entry| Ok(Seq(entry?.0.value()))).collect::<Result<Vec<_>, StoreError>>()?;
        seqs.into_iter().map(|seq| self.store.schema(&self.tables, seq)).collect()
    }

    fn check_rows(&self, table: &Table, narrowed: &Narrowed, violations: &mut Vec<String>) -> Result<(), StoreError> {
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
                for field in table.fields.iter().filter(|field| narrowed.checks(table, field.tag, row)) {
                    if let Err(problem) = field.check(row.value(field.tag)) {
                        violations.push(format!("{place}: {}", field.explain(problem)));
                    }
                }
                for (tag, target) in references(table, row).filter(|(tag, _)| narrowed.has(*tag)) {
                    let kept =
                        table.field(tag).and_then(|field| field.reference).is_some_and(|r| r.on_delete == OnDelete::Keep);
                    let what = match self.tables.row(&target)? {
                        None => "not there",
                        Some(row) if !row.is_live() && !kept => "deleted",
                        Some(_) => continue,
                    };
                    violations.push(format!("{place}: field {tag} refers to row {}, which is {what}", target.id));
                }
                for key in unique_keys(table, row).filter(|key| narrowed.has(key.field)) {
                    if let Some(other) = unique.insert(key, row.key.id) {
                        violations.push(format!("{place}: row {other} has the same value in a unique field"));
                    }
                }
            }
        }
    }
}

/// What of a table is narrowed.
#[derive(Default)]
struct Narrowed {
    /// Any field.
    whole: bool,
    /// These fields.
    fields: BTreeSet<FieldTag>,
    /// Those of them that must have a value now.
    present: BTreeSet<FieldTag>,
}

impl Narrowed {
    fn has(&self, field: FieldTag) -> bool {
        self.whole || self.fields.contains(&field)
    }

    /// Whether the row's value is looked at. That there is none was allowed where the field is not newly required; but a row
    /// without scope value has no section.
    fn checks(&self, table: &Table, field: FieldTag, row: &Row) -> bool {
        let missing = row.value(field).is_null();
        self.has(field) && (!missing || self.present.contains(&field) || table.scope == Some(field))
    }
}

fn narrowed(evolution: &Evolution) -> BTreeMap<TableTag, Narrowed> {
    let mut tables: BTreeMap<TableTag, Narrowed> = BTreeMap::new();
    for change in evolution.narrowing() {
        let Some(table) = change.table else { continue };
        let narrowed = tables.entry(table).or_default();
        match change.field {
            None => narrowed.whole = true,
            Some(field) => {
                narrowed.fields.insert(field);
                if change.narrows == Some(Narrowing::Presence) {
                    narrowed.present.insert(field);
                }
            }
        }
    }
    tables
}

#[cfg(test)]
mod tests;
