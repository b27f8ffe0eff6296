//! Everything that is kept of a row besides itself: feed, exit markers, digests, unique values, references.

use super::Fold;
use crate::store::StoreError;
use crate::store::read::{Read, UniqueKey, value_key};
use crate::store::tables::{Tables, WriteTables};
use redb::ReadableTable;
use std::collections::BTreeSet;
use tombolo_protocol::codec;
use tombolo_protocol::ids::{FieldTag, RowId, RowKey, Section, TableTag};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Schema, Table};
use tombolo_protocol::value::Value;

/// Rows that are read at once while a table is indexed again.
const REINDEX_ROWS: usize = 1000;

/// What a live row has in the unique index: for each unique field with a value its key.
pub(crate) fn unique_keys<'a>(table: &'a Table, row: &'a Row) -> impl Iterator<Item = UniqueKey> + 'a {
    let fields = table.fields.iter().filter(|field| field.unique && row.is_live());
    fields.filter_map(|field| unique_key(table, row, field.tag))
}

/// The key of one unique field; none where it has no value, since null never clashes.
pub(crate) fn unique_key(table: &Table, row: &Row, field: FieldTag) -> Option<UniqueKey> {
    let value = row.value(field);
    if value.is_null() {
        return None;
    }
    let scope = match table.scope.map(|scope| row.value(scope)) {
        Some(Value::Uuid(scope)) => scope.to_vec(),
        _ => Vec::new(),
    };
    Some(UniqueKey { table: table.tag, field, scope, value: value_key(value) })
}

/// What a live row refers to: its reference fields with the rows they name.
pub(crate) fn references<'a>(table: &'a Table, row: &'a Row) -> impl Iterator<Item = (FieldTag, RowKey)> + 'a {
    let fields = table.fields.iter().filter(|_| row.is_live());
    fields.filter_map(|field| {
        let (Some(reference), Value::Uuid(id)) = (field.reference, row.value(field.tag)) else { return None };
        Some((field.tag, RowKey { table: reference.table, id: RowId::from_bytes(*id) }))
    })
}

impl Fold {
    /// Stores a row and moves everything that is kept of it.
    pub(super) fn replace_row(
        &mut self,
        tables: &mut WriteTables<'_>,
        table: &Table,
        before: Option<&Row>,
        after: &Row,
    ) -> Result<(), StoreError> {
        tables.rows.insert(after.no.0, codec::store::encode(after).as_slice())?;
        self.move_in_feed(tables, table, before, after)?;
        let unique = |row: &Row| unique_keys(table, row).collect::<BTreeSet<_>>();
        let (old, new) = (before.map(unique).unwrap_or_default(), unique(after));
        change_unique(tables, after, old.difference(&new), new.difference(&old))?;
        let refs = |row: &Row| references(table, row).collect::<BTreeSet<_>>();
        let (old, new) = (before.map(refs).unwrap_or_default(), refs(after));
        change_references(tables, after, old.difference(&new), new.difference(&old))
    }

    /// The row leaves its place in the feed for the place of its last change; a section that it leaves keeps an exit marker
    /// there, and a section that it enters again loses the one that it had (S5).
    fn move_in_feed(
        &mut self,
        tables: &mut WriteTables<'_>,
        table: &Table,
        before: Option<&Row>,
        after: &Row,
    ) -> Result<(), StoreError> {
        let left = before.and_then(|row| Some((row, row.section(table)?)));
        let entered = after.section(table);
        if let Some((row, section)) = left {
            let number = self.sections.number(tables, &mut self.meta, &section)?;
            tables.feed.remove((number, row.seq.0, row.ordinal))?;
            self.sections.leave(tables, &mut self.meta, &section, row)?;
            if entered != Some(section) {
                tables.feed.insert((number, after.seq.0, after.ordinal), (after.no.0, true))?;
                tables.exits.insert((after.no.0, number), (after.seq.0, after.ordinal))?;
            }
        }
        if let Some(section) = entered {
            let number = self.sections.number(tables, &mut self.meta, &section)?;
            let marker = tables.exits.remove((after.no.0, number))?.map(|place| place.value());
            if let Some((seq, ordinal)) = marker {
                tables.feed.remove((number, seq, ordinal))?;
            }
            tables.feed.insert((number, after.seq.0, after.ordinal), (after.no.0, false))?;
            self.sections.enter(tables, &mut self.meta, &section, after)?;
            if let Some(scope) = section.scope {
                self.know_scope(tables, scope.value, after.seq)?;
            }
        }
        Ok(())
    }

    /// After a new schema: tables whose scope, unique fields or references are others now are indexed again. The sections of
    /// an old scope field vanish with their markers; rows enter the new ones at the place of their last change.
    pub(super) fn reindex(&mut self, tables: &mut WriteTables<'_>, old: &Schema, new: &Schema) -> Result<(), StoreError> {
        let tags: BTreeSet<TableTag> = old.tables.iter().chain(&new.tables).map(|table| table.tag).collect();
        for tag in tags {
            let (before, after) = (old.table(tag), new.table(tag));
            if before.map(indexed) == after.map(indexed) {
                continue;
            }
            let mut last = None;
            loop {
                let rows = tables.rows_after(tag, last, REINDEX_ROWS)?;
                let Some(newest) = rows.last() else { break };
                last = Some(newest.key.id);
                for row in &rows {
                    self.reindex_row(tables, before, after, row)?;
                }
            }
        }
        Ok(())
    }

    fn reindex_row(
        &mut self,
        tables: &mut WriteTables<'_>,
        before: Option<&Table>,
        after: Option<&Table>,
        row: &Row,
    ) -> Result<(), StoreError> {
        let old_section = before.and_then(|table| row.section(table));
        let new_section = after.and_then(|table| row.section(table));
        if old_section != new_section {
            if let Some(section) = old_section {
                self.take_out(tables, &section, row)?;
            }
            if let Some(section) = new_section {
                self.put_in(tables, &section, row)?;
            }
            self.drop_markers(tables, row, before.map(|table| table.scope) == after.map(|table| table.scope))?;
        }
        let unique = |table: &Table| unique_keys(table, row).collect::<BTreeSet<_>>();
        let (old, new) = (before.map(unique).unwrap_or_default(), after.map(unique).unwrap_or_default());
        change_unique(tables, row, old.difference(&new), new.difference(&old))?;
        let refs = |table: &Table| references(table, row).collect::<BTreeSet<_>>();
        let (old, new) = (before.map(refs).unwrap_or_default(), after.map(refs).unwrap_or_default());
        change_references(tables, row, old.difference(&new), new.difference(&old))
    }

    fn take_out(&mut self, tables: &mut WriteTables<'_>, section: &Section, row: &Row) -> Result<(), StoreError> {
        let number = self.sections.number(tables, &mut self.meta, section)?;
        tables.feed.remove((number, row.seq.0, row.ordinal))?;
        self.sections.leave(tables, &mut self.meta, section, row)
    }

    fn put_in(&mut self, tables: &mut WriteTables<'_>, section: &Section, row: &Row) -> Result<(), StoreError> {
        let number = self.sections.number(tables, &mut self.meta, section)?;
        tables.feed.insert((number, row.seq.0, row.ordinal), (row.no.0, false))?;
        if let Some(scope) = section.scope {
            self.know_scope(tables, scope.value, self.meta.head)?;
        }
        self.sections.enter(tables, &mut self.meta, section, row)
    }

    /// Exit markers of a row stand in sections of the old scope field, which nobody is listed any more.
    fn drop_markers(&mut self, tables: &mut WriteTables<'_>, row: &Row, same_scope: bool) -> Result<(), StoreError> {
        if same_scope {
            return Ok(());
        }
        let mut markers = Vec::new();
        for entry in tables.exits().range((row.no.0, 0)..=(row.no.0, u32::MAX))? {
            let (key, place) = entry?;
            markers.push((key.value().1, place.value().0, place.value().1));
        }
        for (section, seq, ordinal) in markers {
            tables.exits.remove((row.no.0, section))?;
            tables.feed.remove((section, seq, ordinal))?;
        }
        Ok(())
    }
}

type Indexed = (Option<FieldTag>, Vec<FieldTag>, Vec<(FieldTag, TableTag)>);

/// What decides how the rows of a table are indexed.
fn indexed(table: &Table) -> Indexed {
    let unique = table.fields.iter().filter(|field| field.unique).map(|field| field.tag).collect();
    let references = table.fields.iter().filter_map(|field| Some((field.tag, field.reference?.table))).collect();
    (table.scope, unique, references)
}

fn change_unique<'a>(
    tables: &mut WriteTables<'_>,
    row: &Row,
    released: impl Iterator<Item = &'a UniqueKey>,
    taken: impl Iterator<Item = &'a UniqueKey>,
) -> Result<(), StoreError> {
    for key in released {
        let entry = (key.table.0, key.field.0, key.scope.as_slice(), key.value.as_slice());
        // A value may have been taken by another row of the same commit already.
        if tables.unique_holder(key)? == Some(row.no) {
            tables.unique.remove(entry)?;
        }
    }
    for key in taken {
        tables.unique.insert((key.table.0, key.field.0, key.scope.as_slice(), key.value.as_slice()), row.no.0)?;
    }
    Ok(())
}

fn change_references<'a>(
    tables: &mut WriteTables<'_>,
    row: &Row,
    released: impl Iterator<Item = &'a (FieldTag, RowKey)>,
    taken: impl Iterator<Item = &'a (FieldTag, RowKey)>,
) -> Result<(), StoreError> {
    let entry = |field: &FieldTag, target: &'a RowKey| (target.table.0, target.id.bytes(), row.key.table.0, field.0, row.no.0);
    for (field, target) in released {
        tables.references.remove(entry(field, target))?;
    }
    for (field, target) in taken {
        tables.references.insert(entry(field, target), ())?;
    }
    Ok(())
}
