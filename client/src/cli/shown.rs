//! What tables, fields and rows are called where people read of them: also those that left the schema, and rows that are not
//! there any more.

use super::failure::Failure;
use crate::error::ClientError;
use crate::handle::Client;
use crate::names::{self, NameError};
use crate::view;
use std::collections::BTreeMap;
use std::sync::Arc;
use tombolo_protocol::ids::{FieldTag, RowId, RowKey, TableTag};
use tombolo_protocol::schema::{Field, Schema, Table};
use tombolo_protocol::value::Value;

/// The schema, and behind it the older ones: what is pending of a table or a field that left the schema is still called so.
pub(super) struct Schemas {
    now: Arc<Schema>,
    /// Newest first.
    older: Vec<Schema>,
}

impl Schemas {
    /// Those that the store knows.
    pub(super) fn of(client: &Client) -> Result<Self, ClientError> {
        let now = client.schema()?;
        let texts = client.read(|tables, _| Ok(tables.schema_texts()?))?;
        // One that this program cannot read any more names nothing.
        let older = texts.iter().filter(|text| **text != now.text).filter_map(|text| Schema::parse(text).ok()).collect();
        Ok(Self { now, older })
    }

    /// The schema alone, where nothing older is shown.
    pub(super) fn only(now: Arc<Schema>) -> Self {
        Self { now, older: Vec::new() }
    }

    pub(super) fn now(&self) -> &Schema {
        &self.now
    }

    fn all(&self) -> impl Iterator<Item = &Schema> {
        std::iter::once(&*self.now).chain(&self.older)
    }

    pub(super) fn table(&self, tag: TableTag) -> Option<&Table> {
        self.all().find_map(|schema| schema.table(tag))
    }

    pub(super) fn field(&self, table: TableTag, field: FieldTag) -> Option<&Field> {
        self.all().find_map(|schema| schema.table(table)?.field(field))
    }

    /// A table by the name that it has or had, or by its number.
    pub(super) fn table_called(&self, name: &str) -> Result<&Table, NameError> {
        let found = self.all().find_map(|schema| schema.table_named(name)).map(|table| table.tag);
        let numbered = || name.parse().ok().map(TableTag);
        match found.or_else(numbered).and_then(|tag| self.table(tag)) {
            Some(table) => Ok(table),
            None => names::table(&self.now, name),
        }
    }

    /// A field by the name that it has or had, or by its number.
    pub(super) fn field_called<'s>(&'s self, table: &'s Table, name: &str) -> Result<&'s Field, NameError> {
        let found = self.all().find_map(|schema| schema.table(table.tag)?.field_named(name)).map(|field| field.tag);
        let numbered = || name.parse().ok().map(FieldTag);
        match found.or_else(numbered).and_then(|tag| self.field(table.tag, tag)) {
            Some(field) => Ok(field),
            None => names::field(table, name),
        }
    }

    pub(super) fn table_name(&self, tag: TableTag) -> String {
        self.table(tag).map_or_else(|| tag.to_string(), |table| table.name.clone())
    }

    pub(super) fn field_name(&self, table: TableTag, field: FieldTag) -> String {
        self.field(table, field).map_or_else(|| field.to_string(), |field| field.name.clone())
    }

    pub(super) fn label(&self, table: TableTag, field: FieldTag) -> String {
        self.field(table, field).map_or_else(|| format!("Field {field}"), |field| field.label.clone())
    }

    /// `TABLE/ID`.
    pub(super) fn row_name(&self, key: RowKey) -> String {
        format!("{}/{}", self.table_name(key.table), key.id)
    }
}

/// Shows values, references by the name of their row.
pub(super) struct RowNames<'a> {
    client: &'a Client,
    schemas: &'a Schemas,
    known: BTreeMap<RowKey, Option<String>>,
}

impl<'a> RowNames<'a> {
    pub(super) fn new(client: &'a Client, schemas: &'a Schemas) -> Self {
        Self { client, schemas, known: BTreeMap::new() }
    }

    /// A value for people.
    pub(super) fn show(&mut self, field: &Field, value: &Value) -> Result<String, Failure> {
        match (field.reference, value) {
            (Some(reference), Value::Uuid(bytes)) => {
                self.name(RowKey { table: reference.table, id: RowId::from_bytes(*bytes) })
            }
            _ => Ok(field.show(value)),
        }
    }

    /// What a row is called, or was called last; `None` where nothing is known of it here.
    pub(super) fn title(&mut self, key: RowKey) -> Result<Option<String>, Failure> {
        if let Some(title) = self.known.get(&key) {
            return Ok(title.clone());
        }
        let values = self.client.read(move |tables, _| Ok(view::last_values(tables, key)?))?;
        let title =
            values.zip(self.schemas.table(key.table)).map(|(values, table)| table.title_of(|tag| values.get(&tag).cloned()));
        let title = title.filter(|title| !title.is_empty());
        self.known.insert(key, title.clone());
        Ok(title)
    }

    /// What a row is called: its title, or its id where it has none here.
    pub(super) fn name(&mut self, key: RowKey) -> Result<String, Failure> {
        Ok(self.title(key)?.unwrap_or_else(|| key.id.to_string()))
    }

    /// Title and `TABLE/ID` of a row that a person may want to look at.
    pub(super) fn full_name(&mut self, key: RowKey) -> Result<String, Failure> {
        let id = self.schemas.row_name(key);
        Ok(self.title(key)?.map_or_else(|| id.clone(), |title| format!("{title} ({id})")))
    }
}
