//! A table as CSV.

use super::Console;
use super::request::{Answer, Refused};
use crate::csv::{self, each_live};
use crate::net::hub::Hub;
use tombolo_protocol::schema::{Schema, Table};

/// Bytes that are passed on at once.
const PART_BYTES: usize = 64 * 1024;

pub(super) fn table_named<'a>(schema: &'a Schema, name: &str) -> Result<&'a Table, Refused> {
    schema.table_named(name).ok_or_else(|| {
        let names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
        Refused::usage(format!("there is no table `{name}`: nothing was done. The tables are {}", names.join(", ")))
    })
}

pub(super) fn export(hub: &Hub, table: &str, console: &mut dyn Console) -> Result<Answer, Refused> {
    let snapshot = hub.snapshot()?;
    let schema = snapshot.schema().clone();
    let table = table_named(&schema, table)?;
    let mut file = ::csv::Writer::from_writer(Vec::new());
    let mut rows = 0;
    let mut written = file.write_record(csv::header(table)).map_err(Into::into);
    each_live(&snapshot, table, |row| {
        rows += 1;
        let line = csv::record(table, row);
        if written.is_ok() {
            written = file.write_record(line).map_err(Into::into).and_then(|()| pass_on(&mut file, console, PART_BYTES));
        }
    })?;
    written.and_then(|()| pass_on(&mut file, console, 0)).map_err(|error: std::io::Error| {
        Refused::new(format!("the file cannot be written: {error}. What was written of it is not complete"))
    })?;
    Ok(Answer::Exported { table: table.name.clone(), rows })
}

/// Passes on what was written, where it is enough.
fn pass_on(file: &mut ::csv::Writer<Vec<u8>>, console: &mut dyn Console, least: usize) -> std::io::Result<()> {
    if file.get_ref().len() < least {
        return Ok(());
    }
    file.flush()?;
    let full = std::mem::replace(file, ::csv::Writer::from_writer(Vec::new()));
    console.data(&full.into_inner().map_err(|error| error.into_error())?)
}
