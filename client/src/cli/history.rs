//! The history of a row: from the server, or what this device knows of it where there is none.

use super::args::{Output, RowArgs};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::Place;
use super::reasons::or_nothing;
use super::rows::no_such_row;
use super::shown::{RowNames, Schemas};
use super::{json, text};
use crate::driver::{Connection, Mode, Notice, SyncError};
use crate::error::ClientError;
use crate::handle::Client;
use crate::names;
use crate::store::{AuthorRecord, ReadTables, StoreError};
use crate::view::op_word;
use std::collections::BTreeMap;
use std::time::Duration;
use tombolo_protocol::change::Op;
use tombolo_protocol::ids::{DeviceId, FieldTag, RowKey, Seq, Version};
use tombolo_protocol::message::{History, HistoryEntry};
use tombolo_protocol::outbox::{Entry, Pending};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Schema, Table};
use tombolo_protocol::value::Value;

/// A link that is not there after this is not waited for: this device knows something too.
const LINK_LIMIT: Duration = Duration::from_secs(8);
/// Over a link that is there, an answer may take its time.
const HISTORY_LIMIT: Duration = Duration::from_secs(60);

/// One step; `None` where it is not known. Without a seq it is not sent yet.
pub(super) struct HistoryStep {
    pub seq: Option<Seq>,
    pub at_ms: Option<i64>,
    pub edited_at_ms: Option<i64>,
    pub by: Option<String>,
    pub device: Option<DeviceId>,
    /// What people call that.
    pub device_name: Option<String>,
    pub op: Op,
    /// With changes by others; `None` where only the server could say.
    pub merged: Option<bool>,
    pub version: Option<Version>,
    /// Before and after.
    pub fields: Vec<(FieldTag, Option<Value>, Value)>,
    pub lost: Vec<(FieldTag, Value)>,
}

pub(super) fn history(io: &mut Io<'_>, place: &Place, row: &RowArgs, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = names::table(&schema, &row.table)?;
    let key = RowKey { table: table.tag, id: row.id };
    let (steps, note) = match asked(&client, key) {
        Ok(history) if !history.entries.is_empty() => {
            let note = history.more.then(|| "older changes are left out".to_owned());
            (told_steps(&history), note)
        }
        Ok(history) if history.more => {
            let note = "the server has put its history of this row away. This is what this device knows";
            (known_here(&client, key)?, Some(note.to_owned()))
        }
        Ok(_) => (known_here(&client, key)?, Some("the server knows no history of this row; was it sent yet?".to_owned())),
        Err(error @ (SyncError::Store(_) | SyncError::Stopped)) => return Err(error.into()),
        Err(error) => {
            let note = format!(
                "{}. This is what this device knows: who changed each field last; older steps are missing",
                unasked(&error)
            );
            (known_here(&client, key)?, Some(note))
        }
    };
    if steps.is_empty() {
        return Err(no_such_row(table, row.id));
    }
    let schemas = Schemas::only(schema.clone());
    let mut names_of = RowNames::new(&client, &schemas);
    for step in &steps {
        if output.json {
            io.json(&json::history(table, step))?;
        } else {
            io.out.write_all(step_text(&mut names_of, table, step)?.as_bytes())?;
        }
    }
    io.out.flush()?;
    note.into_iter().for_each(|note| io.note(&note));
    Ok(Exit::Done)
}

/// Asks the server, if there is a link soon.
fn asked(client: &Client, key: RowKey) -> Result<History, SyncError> {
    let mut notices = client.subscribe().map_err(|_| SyncError::Stopped)?;
    client.connect(Mode::Manual).map_err(|_| SyncError::Stopped)?;
    let linked = async {
        while let Some(notice) = notices.recv().await {
            let Notice::Connection(connection) = notice else { continue };
            match connection {
                Connection::Offline | Connection::Connecting => {}
                Connection::CatchingUp | Connection::Online => return Ok(()),
                Connection::ServerUnreachable { why, .. } => return Err(SyncError::Unreachable { why }),
                Connection::CaptivePortal { what } => return Err(SyncError::CaptivePortal { what }),
                Connection::NeedsLogin => return Err(SyncError::NeedsLogin),
                Connection::OtherServer => return Err(SyncError::OtherServer),
                Connection::UpdateNeeded => return Err(SyncError::UpdateNeeded),
                Connection::StoreFailed { error } => return Err(SyncError::Store(error)),
            }
        }
        Err(SyncError::Stopped)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| StoreError::Io(error.to_string()))?;
    runtime.block_on(async { tokio::time::timeout(LINK_LIMIT, linked).await }).map_err(|_| SyncError::TimedOut)??;
    client.history(key, HISTORY_LIMIT)
}

fn unasked(error: &SyncError) -> String {
    match error {
        SyncError::Unreachable { why } => format!("the server cannot be reached ({why})"),
        SyncError::CaptivePortal { what } => format!("something other than a Tombolo server answers ({what})"),
        SyncError::NeedsLogin => "the server was not asked: a login is needed".to_owned(),
        SyncError::TimedOut => "the server does not answer in time".to_owned(),
        SyncError::OtherServer => "another Tombolo server answers at this address".to_owned(),
        SyncError::UpdateNeeded => "the server is newer than this program understands".to_owned(),
        _ => "the server could not be asked".to_owned(),
    }
}

/// What mirror and outbox know, newest first: own changes, and each commit that a field still has its value from.
fn known_here(client: &Client, key: RowKey) -> Result<Vec<HistoryStep>, ClientError> {
    let account = client.account()?;
    client.read(move |tables, schema| {
        let me = account.map(|account| (account.user_name, account.device));
        let mut steps = Vec::new();
        let entry = tables.entry(key)?;
        steps.extend(entry.iter().flat_map(Entry::layers).map(|pending| pending_step(pending, me.as_ref())));
        steps.reverse();
        let row = tables.mirror(key)?.map(|held| held.row).or_else(|| entry?.kept);
        if let Some(row) = row {
            steps.extend(confirmed_steps(tables, schema, &row)?);
        }
        Ok(steps)
    })
}

fn pending_step(pending: &Pending, me: Option<&(String, DeviceId)>) -> HistoryStep {
    let fields = if pending.op == Op::Delete { None } else { Some(&pending.fields) };
    HistoryStep {
        seq: None,
        at_ms: None,
        edited_at_ms: Some(pending.edited_at_ms),
        by: me.map(|(name, _)| name.clone()),
        device: me.map(|(_, device)| *device),
        device_name: None,
        op: pending.op,
        merged: None,
        version: None,
        fields: fields.into_iter().flatten().map(|(tag, edit)| (*tag, edit.base_value.clone(), edit.value.clone())).collect(),
        lost: pending.lost.iter().map(|lost| (lost.field, lost.value.clone())).collect(),
    }
}

fn confirmed_steps(tables: &ReadTables, schema: &Schema, row: &Row) -> Result<Vec<HistoryStep>, StoreError> {
    let mut commits: BTreeMap<Seq, Vec<(FieldTag, Option<Value>, Value)>> = BTreeMap::from([(row.since, Vec::new())]);
    commits.entry(row.seq).or_default();
    for (tag, stamped) in &row.fields {
        commits.entry(stamped.stamp).or_default().push((*tag, None, stamped.value.clone()));
    }
    commits.remove(&Seq(0));
    let oldest = commits.keys().next().copied();
    let scope = schema.table(row.key.table).and_then(|table| table.scope);
    commits
        .into_iter()
        .rev()
        .map(|(seq, fields)| {
            let author = tables.author(seq)?;
            let moved = fields.iter().any(|(tag, ..)| Some(*tag) == scope);
            let op = match () {
                () if seq == row.seq && !row.is_live() => Op::Delete,
                () if seq == row.since && Some(seq) == oldest => Op::Create,
                () if seq == row.since && !moved => Op::Restore,
                () => Op::Update,
            };
            Ok(HistoryStep {
                seq: Some(seq),
                at_ms: author.as_ref().map(|author| author.at_ms),
                edited_at_ms: None,
                by: author.map(|AuthorRecord { name, .. }| name),
                device: None,
                device_name: None,
                op,
                merged: None,
                version: (seq == row.seq).then_some(row.version),
                fields,
                lost: Vec::new(),
            })
        })
        .collect()
}

/// What the server tells, newest first.
fn told_steps(history: &History) -> Vec<HistoryStep> {
    let step = |(place, entry): (usize, &HistoryEntry)| HistoryStep {
        seq: Some(entry.seq),
        at_ms: Some(entry.at_ms),
        edited_at_ms: Some(entry.edited_at_ms),
        by: Some(entry.by.clone()),
        device: Some(entry.device),
        device_name: Some(entry.device_name.clone()).filter(|name| !name.is_empty()),
        op: entry.op,
        merged: Some(entry.merged),
        version: Some(entry.version),
        fields: entry
            .fields
            .iter()
            .map(|change| (change.field, history.before(place, change).cloned(), change.after.clone()))
            .collect(),
        lost: entry.lost.clone(),
    };
    history.entries.iter().enumerate().map(step).collect()
}

fn step_text(names_of: &mut RowNames<'_>, table: &Table, step: &HistoryStep) -> Result<String, Failure> {
    let when = match (step.seq, step.at_ms.or(step.edited_at_ms)) {
        (Some(seq), None) => format!("commit {seq}"),
        (Some(_), Some(at)) => text::moment(at),
        (None, _) => "not sent yet".to_owned(),
    };
    let by = step.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let at = step.device_name.as_ref().map(|name| format!(" at {name}")).unwrap_or_default();
    let version =
        step.version.filter(|version| version.0 > 0).map(|version| format!(", version {version}")).unwrap_or_default();
    let merged = if step.merged == Some(true) { ", merged with changes by others" } else { "" };
    let mut lines = format!("{when}  {}{by}{at}{version}{merged}\n", op_word(step.op));
    for (tag, before, after) in &step.fields {
        let Some(field) = table.field(*tag) else { continue };
        let after = or_nothing(names_of.show(field, after)?);
        let before = match before {
            Some(before) => format!("{} -> ", or_nothing(names_of.show(field, before)?)),
            None => String::new(),
        };
        lines += &format!("    {}: {before}{after}\n", field.label);
    }
    for (tag, value) in &step.lost {
        let Some(field) = table.field(*tag) else { continue };
        lines += &format!("    {}: {} was not taken\n", field.label, or_nothing(names_of.show(field, value)?));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::clinic;
    use tombolo_protocol::ids::{RowId, RowNo, TableTag};
    use tombolo_protocol::message::HistoryField;
    use tombolo_protocol::row::{Life, Stamped};

    #[test]
    fn a_value_from_before_what_was_put_away_is_not_said_to_have_been_empty() {
        let change = |seq, op, fields: &[(u16, &str, &str)]| {
            let value = |text: &str| if text.is_empty() { Value::Null } else { Value::text(text) };
            let field = |(tag, before, after): &(u16, &str, &str)| HistoryField {
                field: FieldTag(*tag),
                before: value(before),
                after: value(after),
            };
            HistoryEntry {
                seq: Seq(seq),
                at_ms: 0,
                edited_at_ms: 0,
                by: "amina".to_owned(),
                device: DeviceId::from_bytes([1; 16]),
                device_name: String::new(),
                op,
                merged: false,
                version: Version(1),
                fields: fields.iter().map(field).collect(),
                lost: Vec::new(),
            }
        };
        let entries = vec![
            change(9, Op::Update, &[(1, "b", "c"), (2, "", "x")]),
            change(8, Op::Update, &[(1, "", "b"), (3, "kept", "z")]),
            change(7, Op::Update, &[(2, "", "")]),
        ];
        let told = |more, entries: &[HistoryEntry]| -> Vec<bool> {
            let key = RowKey { table: TableTag(2), id: RowId::from_bytes([7; 16]) };
            let steps = told_steps(&History { key, entries: entries.to_vec(), more });
            steps.iter().flat_map(|step| step.fields.iter().map(|(_, before, _)| before.is_some())).collect()
        };
        assert_eq!(told(true, &entries), [true, true, false, true, false]);
        assert_eq!(told(false, &entries), [true; 5]);
        let made = [change(9, Op::Update, &[(1, "", "c")]), change(8, Op::Create, &[(2, "", "x")])];
        assert_eq!(told(true, &made), [true, true]);
    }

    #[test]
    fn a_row_tells_what_each_of_its_commits_left_in_it() {
        let stamped = |text: &str, stamp| Stamped { value: Value::text(text), stamp: Seq(stamp) };
        let mut row = Row {
            key: RowKey { table: TableTag(2), id: RowId::from_bytes([7; 16]) },
            no: RowNo(1),
            seq: Seq(9),
            ordinal: 0,
            version: Version(3),
            since: Seq(4),
            life: Life::Live,
            fields: [(FieldTag(1), stamped("Rose", 4)), (FieldTag(2), stamped("0700", 9)), (FieldTag(3), stamped("v", 6))]
                .into(),
        };
        let steps = |row: &Row| {
            let row = row.clone();
            let steps = clinic().read(move |tables, schema| Ok(confirmed_steps(tables, schema, &row)?)).unwrap();
            steps.iter().map(|step| (step.seq.unwrap().0, step.op, step.fields.len())).collect::<Vec<_>>()
        };
        assert_eq!(steps(&row), [(9, Op::Update, 1), (6, Op::Update, 1), (4, Op::Create, 1)]);
        (row.seq, row.since) = (Seq(12), Seq(12));
        assert_eq!(steps(&row)[0], (12, Op::Restore, 0));
        (row.since, row.life) = (Seq(4), Life::Deleted);
        assert_eq!(steps(&row)[0], (12, Op::Delete, 0));
    }
}
