//! Access by names: rows as a program's own types, through serde, or as maps of plain values.
//!
//! A type has a member for each field that it cares about, called like the field: `Option` where a field may be empty; texts for
//! text, dates, moments, decimals and bytes; numbers, `bool`, and `uuid::Uuid` or text for ids. For dynamic access, the type
//! is [`Fields`].

use crate::error::ClientError;
use crate::freeze::Standing;
use crate::handle::{Client, new_row_id};
use crate::local::LocalWrite;
use crate::names;
use crate::view::{Query, RowStanding, RowView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use tombolo_protocol::ids::{FieldTag, RowId, RowKey, TableTag, Version};
use tombolo_protocol::outbox::{Seen, Write};
use tombolo_protocol::schema::{Plain, Schema, Table as TableSchema};
use tombolo_protocol::value::Value;

/// A row without a type of its own: field names and plain values.
pub type Fields = BTreeMap<String, Plain>;

/// A row with what a program needs to change it.
#[derive(Clone, PartialEq, Debug)]
pub struct TypedRow<T> {
    /// Its id.
    pub id: RowId,
    /// How often it was changed, for people.
    pub version: Version,
    /// How it stands.
    pub standing: RowStanding,
    /// What the program saw: given back by [`Table::update`] and [`Table::delete`], so that what others changed meanwhile is
    /// merged or asked about.
    pub seen: Seen,
    /// Its values.
    pub value: T,
    /// The values as they were read, to tell what a program changed.
    before: BTreeMap<FieldTag, Value>,
}

/// A table whose rows are `T`.
pub struct Table<T> {
    client: Client,
    schema: Arc<Schema>,
    tag: TableTag,
    of: PhantomData<fn() -> T>,
}

/// Which rows [`Table::query`] returns.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Find {
    equal: Vec<(String, Plain)>,
    sort: Option<String>,
    query: Query,
}

impl Find {
    /// All rows.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only rows whose field has this value.
    #[must_use]
    pub fn equal(mut self, field: &str, value: Plain) -> Self {
        self.equal.push((field.to_owned(), value));
        self
    }

    /// In the order of this field.
    #[must_use]
    pub fn sort(mut self, field: &str) -> Self {
        self.sort = Some(field.to_owned());
        self
    }

    /// Greatest first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.query.descending = true;
        self
    }

    /// A page of the rows.
    #[must_use]
    pub fn page(mut self, offset: usize, limit: usize) -> Self {
        self.query.offset = offset;
        self.query.limit = Some(limit);
        self
    }
}

impl Client {
    /// A table by name, with rows of the program's own type (or [`Fields`]).
    ///
    /// # Errors
    /// [`ClientError`] when there is no such table.
    pub fn table<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Table<T>, ClientError> {
        let schema = self.schema()?;
        let tag = names::table(&schema, name)?.tag;
        Ok(Table { client: self.clone(), schema, tag, of: PhantomData })
    }

    /// What is pending in all tables, counted: (ready or being sent, waiting, refused, in conflict).
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn pending_counts(&self) -> Result<(usize, usize, usize, usize), ClientError> {
        let mut counts = (0, 0, 0, 0);
        for view in self.pending()? {
            match view.standing {
                Standing::Ready | Standing::InFlight => counts.0 += 1,
                Standing::Waiting { .. } => counts.1 += 1,
                Standing::Refused => counts.2 += 1,
                Standing::Conflict => counts.3 += 1,
            }
        }
        Ok(counts)
    }
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The table in the schema.
    pub fn schema(&self) -> &TableSchema {
        self.schema.table(self.tag).expect("the table was found in this very schema")
    }

    /// The key of a row of this table.
    pub fn key(&self, id: RowId) -> RowKey {
        RowKey { table: self.tag, id }
    }

    /// A row; `None` where it is not there.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or the type does not fit.
    pub fn get(&self, id: RowId) -> Result<Option<TypedRow<T>>, ClientError> {
        self.client.get(self.key(id))?.map(|view| self.typed(view)).transpose()
    }

    /// All rows, by id.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or the type does not fit.
    pub fn list(&self) -> Result<Vec<TypedRow<T>>, ClientError> {
        self.query(Find::all())
    }

    /// The rows that are wanted.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, a name is unknown, or the type does not fit.
    pub fn query(&self, find: Find) -> Result<Vec<TypedRow<T>>, ClientError> {
        let Find { equal, sort, mut query } = find;
        for (name, plain) in equal {
            query.equal.push(value_of(self.schema(), &name, plain)?);
        }
        query.sort = sort.map(|name| names::field(self.schema(), &name).map(|field| field.tag)).transpose()?;
        self.client.list(self.tag, query)?.into_iter().map(|view| self.typed(view)).collect()
    }

    /// Makes a row; fields without a value get their default. Returns its id.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was written.
    pub fn create(&self, value: &T) -> Result<RowId, ClientError> {
        let id = new_row_id();
        self.client.transaction(vec![self.creation(id, value)?], false)?;
        Ok(id)
    }

    /// The making of a row, for a [`Client::transaction`].
    ///
    /// # Errors
    /// [`ClientError`] when the type does not fit.
    pub fn creation(&self, id: RowId, value: &T) -> Result<LocalWrite, ClientError> {
        let mut fields = self.values(value)?;
        fields.retain(|_, value| !value.is_null());
        fill_defaults(self.schema(), &mut fields);
        Ok(LocalWrite { key: self.key(id), write: Write::Create(fields), seen: None })
    }

    /// Saves what the program changed in a row that it read: only those fields are touched.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was written.
    pub fn update(&self, row: &TypedRow<T>) -> Result<(), ClientError> {
        self.client.transaction(vec![self.change(row)?], false)
    }

    /// What the program changed in a row that it read, for a [`Client::transaction`].
    ///
    /// # Errors
    /// [`ClientError`] when the type does not fit.
    pub fn change(&self, row: &TypedRow<T>) -> Result<LocalWrite, ClientError> {
        let mut fields = self.values(&row.value)?;
        fields.retain(|tag, value| row.before.get(tag).unwrap_or(&Value::Null) != value);
        Ok(LocalWrite { key: self.key(row.id), write: Write::Update(fields), seen: Some(row.seen.clone()) })
    }

    /// Deletes a row that the program read.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was written.
    pub fn delete(&self, row: &TypedRow<T>) -> Result<(), ClientError> {
        let write = LocalWrite { key: self.key(row.id), write: Write::Delete, seen: Some(row.seen.clone()) };
        self.client.transaction(vec![write], false)
    }

    /// Brings a deleted row back.
    ///
    /// # Errors
    /// [`ClientError`]; nothing was written.
    pub fn restore(&self, id: RowId) -> Result<(), ClientError> {
        self.client.transaction(vec![LocalWrite { key: self.key(id), write: Write::Restore, seen: None }], false)
    }

    fn typed(&self, view: RowView) -> Result<TypedRow<T>, ClientError> {
        let json = Json::Object(plain_fields(self.schema(), &view).into_iter().collect());
        let value = serde_json::from_value(json).map_err(|error| self.shape(error.to_string()))?;
        let RowView { key, version, seen, standing, values } = view;
        Ok(TypedRow { id: key.id, version, standing, seen, value, before: values })
    }

    /// The fields that the type has; those that it does not care about stay as they are.
    fn values(&self, value: &T) -> Result<BTreeMap<FieldTag, Value>, ClientError> {
        let json = serde_json::to_value(value).map_err(|error| self.shape(error.to_string()))?;
        let Json::Object(members) = json else {
            return Err(self.shape("it is not made of named members".to_owned()));
        };
        members
            .into_iter()
            .map(|(name, json)| {
                let plain = serde_json::from_value(json).map_err(|error| self.shape(format!("`{name}`: {error}")))?;
                value_of(self.schema(), &name, plain)
            })
            .collect()
    }

    fn shape(&self, why: String) -> ClientError {
        ClientError::Shape { table: self.schema().name.clone(), why }
    }
}

/// A field's tag and value, from its name and what JSON has.
pub(crate) fn value_of(table: &TableSchema, name: &str, plain: Plain) -> Result<(FieldTag, Value), ClientError> {
    let field = names::field(table, name)?;
    let value = field.from_plain(plain).map_err(|error| ClientError::Value { field: name.to_owned(), error })?;
    Ok((field.tag, value))
}

/// All fields of a row as JSON, in the order of their tags; null where there is no value.
pub(crate) fn plain_fields(table: &TableSchema, view: &RowView) -> Vec<(String, Json)> {
    table.fields.iter().map(|field| (field.name.clone(), json_of(&field.plain(view.value(field.tag))))).collect()
}

/// A plain value as JSON.
pub(crate) fn json_of(plain: &Plain) -> Json {
    serde_json::to_value(plain).unwrap_or_default()
}

/// Defaults are written by the client that creates a row (H7).
pub(crate) fn fill_defaults(table: &TableSchema, fields: &mut BTreeMap<FieldTag, Value>) {
    for field in &table.fields {
        if let Some(default) = &field.default {
            fields.entry(field.tag).or_insert_with(|| default.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clinic, site};
    use serde::Deserialize;

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Patient {
        name: String,
        birth_date: Option<String>,
        weight_kg: Option<f64>,
        site: uuid::Uuid,
    }

    fn rose() -> Patient {
        Patient { name: "Rose".into(), birth_date: Some("1990-05-31".into()), weight_kg: Some(61.0), site: site().0 }
    }

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let patients = clinic().table::<Patient>("patients").unwrap();
        let id = patients.create(&rose()).unwrap();
        let row = patients.get(id).unwrap().unwrap();
        assert_eq!(row.value, rose());
        assert_eq!((row.standing, row.version), (RowStanding::Pending, Version(0)));
        assert_eq!(patients.list().unwrap(), [row]);
    }

    #[test]
    fn an_update_touches_only_what_the_program_changed() {
        let client = clinic();
        let patients = client.table::<Patient>("patients").unwrap();
        let mut row = patients.get(patients.create(&rose()).unwrap()).unwrap().unwrap();
        row.value.weight_kg = None;
        let Write::Update(fields) = patients.change(&row).unwrap().write else { panic!("an update") };
        let weight = names::field(patients.schema(), "weight_kg").unwrap().tag;
        assert_eq!(fields, [(weight, Value::Null)].into());
        patients.update(&row).unwrap();
        assert_eq!(patients.get(row.id).unwrap().unwrap().value.weight_kg, None);
    }

    #[test]
    fn rows_without_a_type_are_maps_of_plain_values() {
        let patients = clinic().table::<Fields>("patients").unwrap();
        let fields: Fields =
            [("name".into(), Plain::Text("Otieno".into())), ("site".into(), Plain::Text(site().to_string()))].into();
        patients.create(&fields).unwrap();
        patients.create(&[("name".into(), Plain::Text("Achieng".into()))].into()).unwrap();
        let names = |find: Find| -> Vec<Plain> {
            patients.query(find).unwrap().into_iter().map(|row| row.value["name"].clone()).collect()
        };
        assert_eq!(names(Find::all().sort("name")), [Plain::Text("Achieng".into()), Plain::Text("Otieno".into())]);
        assert_eq!(names(Find::all().equal("site", Plain::Text(site().to_string()))), [Plain::Text("Otieno".into())]);
        assert_eq!(names(Find::all().sort("name").descending().page(0, 1)), [Plain::Text("Otieno".into())]);
        assert_eq!(patients.list().unwrap()[0].value["birth_date"], Plain::Null);
    }

    #[test]
    fn a_type_that_does_not_fit_is_named() {
        #[derive(Serialize, Deserialize)]
        struct Wrong {
            nam: String,
        }
        let client = clinic();
        let wrong = client.table::<Wrong>("patients").unwrap();
        let error = wrong.create(&Wrong { nam: "x".into() }).unwrap_err().to_string();
        assert_eq!(error, "table `patients` has no field `nam`; did you mean `name`?");
        let dated = client.table::<Fields>("patients").unwrap();
        let error = dated.create(&[("birth_date".into(), Plain::Text("soon".into()))].into()).unwrap_err();
        assert!(error.to_string().starts_with("birth_date: `soon` is not a date"), "{error}");
    }

    #[test]
    fn a_deleted_row_comes_back_by_restoring_it() {
        let patients = clinic().table::<Patient>("patients").unwrap();
        let id = patients.create(&rose()).unwrap();
        patients.delete(&patients.get(id).unwrap().unwrap()).unwrap();
        assert_eq!(patients.get(id).unwrap(), None);
        // It was never sent, so nothing is left to restore.
        assert!(patients.restore(id).is_err());
    }
}
