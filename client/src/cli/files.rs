//! Files: import and export of CSV.

use super::args::Output;
use super::failure::{Exit, Failure};
use super::io::{Io, STANDARD};
use super::json;
use super::place::Place;
use super::text::counted;
use crate::csv::{self, ImportError, Imported};
use crate::handle::Client;
use crate::names;
use crate::table::json_of;
use crate::view::Query;
use serde_json::json;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tombolo_protocol::ids::{FieldTag, RowId};
use tombolo_protocol::schema::{Field, Table};
use tombolo_protocol::value::Value;

/// What `export` writes.
pub(super) struct Export<'a> {
    pub table: &'a str,
    pub out: Option<&'a Path>,
    pub recovery: Option<u32>,
}

pub(super) fn import(
    io: &mut Io<'_>,
    place: &Place,
    table: &str,
    file: &Path,
    set: &[(String, String)],
    output: Output,
) -> Result<Exit, Failure> {
    let text = io
        .read(file)
        .map_err(|error| Failure::failed(format!("{} could not be read: {error}. Nothing was imported", file.display())))?;
    let client = place.open()?;
    let imported = csv::import(&client, table, &text, set).map_err(|error| match error {
        ImportError::Problems(problems) => Failure::failed(format!(
            "nothing was imported from {}; mend these and import it again (--set FIELD=VALUE gives all rows the same value):\n{problems}",
            file.display()
        )),
        ImportError::Client(error) => error.into(),
    })?;
    let Imported { created, updated, unchanged } = imported;
    if output.json {
        io.json(&json!({ "created": created, "updated": updated, "unchanged": unchanged }))?;
    } else {
        writeln!(io.out, "{created} created, {updated} updated, {unchanged} unchanged")?;
    }
    if created + updated > 0 {
        io.note("saved on this device; `tombolo sync` sends it");
    }
    Ok(Exit::Done)
}

pub(super) fn export(io: &mut Io<'_>, place: &Place, what: &Export<'_>, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, what.table)?;
    let rows = rows(&client, table, what.recovery)?;
    match what.out.filter(|file| *file != Path::new(STANDARD)) {
        None if output.json => print_rows(io, &client, table, what.recovery)?,
        None => write(table, &rows, &mut *io.out)?,
        Some(file) => {
            let was_there = file.is_file();
            to_file(table, &rows, file).map_err(|error| {
                let kept = if was_there { ". It is as it was before" } else { "" };
                Failure::failed(format!("{} could not be written: {error}{kept}", file.display()))
            })?;
            if output.json {
                io.json(&json!({ "rows": rows.len(), "out": file.display().to_string() }))?;
            }
            io.note(&format!("{} in {}", counted(rows.len(), "row", "rows"), file.display()));
        }
    }
    Ok(Exit::Done)
}

type Values = Vec<(RowId, std::collections::BTreeMap<FieldTag, Value>)>;

fn rows(client: &Client, table: &Table, recovery: Option<u32>) -> Result<Values, Failure> {
    let Some(copy) = recovery else {
        let rows = client.list(table.tag, Query::default())?;
        return Ok(rows.into_iter().map(|row| (row.key.id, row.values)).collect());
    };
    if !client.status()?.recovery_copies.iter().any(|(number, _)| *number == copy) {
        return Err(Failure::failed(format!("there is no copy {copy} on this device; `tombolo status` lists those that are")));
    }
    let rows = client.recovery_rows(copy)?.into_iter().filter(|row| row.key.table == table.tag && row.is_live());
    Ok(rows.map(|row| (row.key.id, row.fields.into_iter().map(|(tag, stamped)| (tag, stamped.value)).collect())).collect())
}

/// As JSON lines, like `list`; of a copy what it holds, since nothing in it has a state.
fn print_rows(io: &mut Io<'_>, client: &Client, table: &Table, recovery: Option<u32>) -> Result<(), Failure> {
    if recovery.is_none() {
        for row in client.list(table.tag, Query::default())? {
            io.json(&json::row(table, &row))?;
        }
        return Ok(());
    }
    for (id, values) in rows(client, table, recovery)? {
        let value = |field: &Field| json_of(&field.plain(values.get(&field.tag).unwrap_or(&Value::Null)));
        let fields: serde_json::Map<_, _> = table.fields.iter().map(|field| (field.name.clone(), value(field))).collect();
        io.json(&json!({ "id": id, "fields": fields }))?;
    }
    Ok(())
}

fn write(table: &Table, rows: &Values, out: impl Write) -> std::io::Result<()> {
    let values: Vec<_> =
        rows.iter().map(|(id, values)| (*id, move |tag: FieldTag| values.get(&tag).cloned().unwrap_or_default())).collect();
    csv::export(table, values.iter().map(|(id, value)| (*id, value as &dyn Fn(FieldTag) -> Value)), out)
}

/// Something with a name that is no file: a device, a pipe, a folder.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// A file is there whole or not at all. What is no file but has a name is written to directly, and not replaced; a link is
/// followed.
fn to_file(table: &Table, rows: &Values, file: &Path) -> std::io::Result<()> {
    let fill = |out: std::fs::File| {
        let mut out = BufWriter::new(out);
        write(table, rows, &mut out)?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)
    };
    if is_special(file) {
        return fill(std::fs::File::options().write(true).open(file)?).map(drop);
    }
    let place = match std::fs::canonicalize(file) {
        Ok(place) => place,
        // A link to where nothing is yet.
        Err(_) if file.is_symlink() => return fill(std::fs::File::create(file)?).map(drop),
        Err(_) => file.to_owned(),
    };
    let part: PathBuf = place.with_added_extension("part");
    let written = std::fs::File::create(&part).and_then(fill).and_then(|out| out.sync_all());
    written.and_then(|()| std::fs::rename(&part, &place)).inspect_err(|_| {
        // What is left of it would only be in the way.
        let _ = std::fs::remove_file(&part);
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use tombolo_protocol::schema::{CLINIC, Schema};

    #[test]
    fn an_export_replaces_neither_a_link_nor_a_pipe() {
        let schema = Schema::parse(CLINIC).unwrap();
        let write = |path: &Path| to_file(schema.table_named("sites").unwrap(), &Vec::new(), path);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(at("target.csv"), at("link.csv")).unwrap();
        for _ in ["where nothing was", "over what was there"] {
            write(&at("link.csv")).unwrap();
            assert!(at("link.csv").is_symlink());
            assert_eq!(std::fs::read(at("target.csv")).unwrap(), b"id,name\n");
        }
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let pipe = at("pipe");
        let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap());
        write(&at("pipe")).unwrap();
        assert!(std::fs::metadata(at("pipe")).unwrap().file_type().is_fifo());
        assert_eq!(reader.join().unwrap(), b"id,name\n");
        assert!(write(folder.path()).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
