//! References by the text that names a row, as people write them.

#[cfg(feature = "cli")]
use crate::error::ClientError;
#[cfg(feature = "cli")]
use crate::handle::Client;
use crate::store::{ReadTables, StoreError};
use crate::view::{self, Query};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use thiserror::Error;
use tombolo_protocol::ids::{RowId, TableTag};
use tombolo_protocol::schema::Table;
use tombolo_protocol::value::Value;

/// Ids that an error names when a text names several rows.
const NAMED_MAX: usize = 3;

/// A text that does not name one row.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum TitleError {
    /// No row is called so.
    #[error("no row in {table} on this device is called `{text}`")]
    Nobody {
        /// The table's name.
        table: String,
        /// The text.
        text: String,
    },
    /// Several are.
    #[error("{} rows in {table} are called `{text}`; write the id of the one that is meant: {}", .ids.len(), first_ids(.ids))]
    Several {
        /// The table's name.
        table: String,
        /// The text.
        text: String,
        /// The rows.
        ids: Vec<RowId>,
    },
}

/// What rows are called, table by table; read when it is first asked for.
#[derive(Default)]
pub(crate) struct Titles {
    tables: BTreeMap<TableTag, BTreeMap<String, Vec<RowId>>>,
}

impl Titles {
    /// The reference that a text means, or what is wrong with it. Empty text is no value.
    #[cfg(feature = "cli")]
    pub(crate) fn value(
        &mut self,
        client: &Client,
        target: &Table,
        text: &str,
    ) -> Result<Result<Value, TitleError>, ClientError> {
        if let Some(value) = plain_reference(text) {
            return Ok(Ok(value));
        }
        if let Entry::Vacant(unread) = self.tables.entry(target.tag) {
            let table = target.clone();
            unread.insert(client.read(move |tables, _| Ok(index(tables, &table)?))?);
        }
        Ok(self.find(target, text))
    }

    /// [`Titles::value`], for who reads a snapshot already.
    pub(crate) fn value_in(
        &mut self,
        tables: &ReadTables,
        target: &Table,
        text: &str,
    ) -> Result<Result<Value, TitleError>, StoreError> {
        if let Some(value) = plain_reference(text) {
            return Ok(Ok(value));
        }
        if let Entry::Vacant(unread) = self.tables.entry(target.tag) {
            unread.insert(index(tables, target)?);
        }
        Ok(self.find(target, text))
    }

    fn find(&self, target: &Table, text: &str) -> Result<Value, TitleError> {
        let (table, text) = (target.name.clone(), text.trim().to_owned());
        match self.tables.get(&target.tag).and_then(|titles| titles.get(&text)).map(Vec::as_slice) {
            Some([id]) => Ok(Value::Uuid(*id.bytes())),
            Some(several) => Err(TitleError::Several { table, text, ids: several.to_vec() }),
            None => Err(TitleError::Nobody { table, text }),
        }
    }
}

/// An id, or no value.
fn plain_reference(text: &str) -> Option<Value> {
    match text.trim() {
        "" => Some(Value::Null),
        text => text.parse::<RowId>().ok().map(|id| Value::Uuid(*id.bytes())),
    }
}

fn index(tables: &ReadTables, table: &Table) -> Result<BTreeMap<String, Vec<RowId>>, StoreError> {
    let mut titles: BTreeMap<String, Vec<RowId>> = BTreeMap::new();
    for row in view::list(tables, table, &Query::default())? {
        let title = table.title_of(|field| row.values.get(&field).cloned());
        titles.entry(title).or_default().push(row.key.id);
    }
    Ok(titles)
}

fn first_ids(ids: &[RowId]) -> String {
    let shown: Vec<String> = ids.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if ids.len() > shown.len() { format!("{}, ...", shown.join(", ")) } else { shown.join(", ") }
}
