//! Values as people write them on the command line: by the kind of their field, references by id or by the text that names the
//! row.

use super::failure::Failure;
use super::io::Io;
use crate::handle::Client;
use crate::names;
use crate::titles::Titles;
use crate::view::check;
use std::collections::BTreeMap;
use std::fmt;
use tombolo_protocol::ids::FieldTag;
use tombolo_protocol::schema::{Field, Schema, Table};
use tombolo_protocol::value::Value;

/// `FIELD=VALUE` words as values of a table's fields.
pub(super) fn fields(
    client: &Client,
    schema: &Schema,
    table: &Table,
    words: &[(String, String)],
) -> Result<BTreeMap<FieldTag, Value>, Failure> {
    let mut titles = Titles::default();
    let mut values = BTreeMap::new();
    for (name, text) in words {
        let field = names::field(table, name)?;
        let value = value(client, &mut titles, schema, field, text)?;
        if values.insert(field.tag, value).is_some() {
            return Err(Failure::usage(format!("{name} is given twice; give it once")));
        }
    }
    Ok(values)
}

/// One value.
pub(super) fn value(
    client: &Client,
    titles: &mut Titles,
    schema: &Schema,
    field: &Field,
    text: &str,
) -> Result<Value, Failure> {
    let wrong = |error: &dyn fmt::Display| Failure::usage(format!("{}: {error}", field.name));
    match field.reference.and_then(|reference| schema.table(reference.table)) {
        Some(target) => titles.value(client, target, text)?.map_err(|error| wrong(&error)),
        None => field.parse_text(text).map_err(|error| wrong(&error)),
    }
}

/// Says of what was saved that the server will refuse it.
pub(super) fn warn(io: &mut Io<'_>, table: &Table, values: &BTreeMap<FieldTag, Value>, new: bool) {
    for problem in check(table, values, new) {
        let sentence = problem.field.explain(problem.problem);
        io.note(&format!(
            "warning: the server will refuse this ({sentence}). It is kept on this device; change it before you sync"
        ));
    }
}
