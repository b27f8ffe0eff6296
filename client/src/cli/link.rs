//! What needs the network for longer: sync, watch.

use super::args::{ModeWord, Output, SyncArgs};
use super::failure::{Exit, Failure};
use super::interrupt;
use super::io::Io;
use super::met::Met;
use super::place::Place;
use super::{json, text};
use crate::driver::{Connection, Mode, Notice, SyncDone, SyncError, SyncOptions, SyncProgress};
use crate::event::{Event, SyncReport};
use crate::freeze::Standing;
use crate::handle::Client;
use crate::names;
use crate::watch::Changed;
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use tombolo_protocol::ids::{RowKey, Seq};
use tombolo_protocol::schema::{Schema, Table};

pub(super) fn sync(io: &mut Io<'_>, place: &Place, args: &SyncArgs, output: Output) -> Result<Exit, Failure> {
    match (args.stay, args.mode) {
        (true, ModeWord::Metered) => {
            return Err(Failure::usage("--mode metered closes the connection when everything is synced, so it cannot --stay"));
        }
        (true, ModeWord::Auto) if !args.only.is_empty() => {
            return Err(Failure::usage("--mode auto --stay sends whatever is ready, so it cannot be combined with --only"));
        }
        _ => {}
    }
    let client = place.open()?;
    let only = only(io, &client, args)?;
    if args.stay {
        return sync_on(io, &client, only, args.mode.into(), output);
    }
    let cancelling = client.canceller();
    let _heeding = io.environment.heeds_interrupts.then(|| interrupt::heed(move || cancelling.cancel_sync()));
    let (done, met) = sync_once(io, &client, only);
    match done {
        Ok(done) => report(io, &client, &done, &met, output),
        Err(error) => {
            met.tell(io, &client);
            Err(error.into())
        }
    }
}

fn only(io: &mut Io<'_>, client: &Client, args: &SyncArgs) -> Result<Option<BTreeSet<RowKey>>, Failure> {
    if args.only.is_empty() {
        return Ok(None);
    }
    let schema = client.schema()?;
    let pending: BTreeSet<RowKey> = client.pending()?.iter().map(|view| view.key).collect();
    let mut only = BTreeSet::new();
    for (table, id) in &args.only {
        let table = names::table(&schema, table)?;
        let key = RowKey { table: table.tag, id: *id };
        if !pending.contains(&key) {
            io.note(&format!("nothing is pending of {}/{id}", table.name));
        }
        only.insert(key);
    }
    Ok(Some(only))
}

fn sync_once(io: &mut Io<'_>, client: &Client, only: Option<BTreeSet<RowKey>>) -> (Result<SyncDone, SyncError>, Met) {
    let mut met = Met::default();
    let shows = io.environment.shows_progress;
    let (mut width, mut told) = (0, None);
    let done = client.sync(SyncOptions { only, timeout: None }, |progress| {
        met = Met::of(&progress);
        let trouble = trouble(&progress.connection);
        if shows {
            let line = progress_line(&progress);
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(io.err, "\r{line:width$}").and_then(|()| io.err.flush());
            width = line.chars().count();
        } else if let Some(trouble) = trouble
            && told.as_ref() != Some(&trouble)
        {
            // Trying again can take minutes, and whoever waits hears why.
            io.note(&trouble);
            told = Some(trouble);
        }
        ControlFlow::Continue(())
    });
    if shows && width > 0 {
        let _ = write!(io.err, "\r{:width$}\r", "");
    }
    (done, met)
}

fn progress_line(progress: &SyncProgress) -> String {
    let state = match &progress.connection {
        Connection::Offline | Connection::Connecting => "connecting".to_owned(),
        Connection::ServerUnreachable { why, .. } => format!("no sync yet ({why}), trying again"),
        Connection::CatchingUp if progress.head > Seq(0) => {
            format!("receiving {} %", progress.scanned.0.min(progress.head.0) * 100 / progress.head.0)
        }
        Connection::CatchingUp | Connection::Online => "syncing".to_owned(),
        Connection::CaptivePortal { .. } => "something else answers, trying again".to_owned(),
        Connection::StoreFailed { error } => format!("no sync ({error}), trying again"),
        Connection::NeedsLogin | Connection::OtherServer | Connection::UpdateNeeded => "stopped".to_owned(),
    };
    let pending = text::counted(usize::try_from(progress.pending).unwrap_or(usize::MAX), "row to send", "rows to send");
    format!("{state}, {pending}, {} up, {} down", text::bytes(progress.bytes_up), text::bytes(progress.bytes_down))
}

fn report(io: &mut Io<'_>, client: &Client, done: &SyncDone, met: &Met, output: Output) -> Result<Exit, Failure> {
    let pending = client.pending()?;
    let count = |standing: Standing| pending.iter().filter(|view| view.standing == standing).count();
    let (conflicts, refused) = (count(Standing::Conflict), count(Standing::Refused));
    if output.json {
        let mut object = json::sync(done, conflicts, refused);
        if let Some(diverged) = met.diverged(&pending) {
            object["diverged"] = diverged;
        }
        io.json(&object)?;
    } else {
        let SyncReport { pushed, pulled, merged, .. } = &done.report;
        let (up, down) = (text::bytes(done.bytes_up), text::bytes(done.bytes_down));
        let seconds = format!("{}.{} s", done.duration_ms / 1000, done.duration_ms % 1000 / 100);
        writeln!(io.out, "{pushed} sent, {pulled} received, {merged} merged; {up} up, {down} down, {seconds}")?;
    }
    io.out.flush()?;
    met.tell(io, client);
    if conflicts > 0 {
        io.note(&format!("{} to decide: tombolo conflicts", text::counted(conflicts, "conflict", "conflicts")));
    }
    if refused > 0 {
        io.note(&format!("{} refused by the server: tombolo pending", text::counted(refused, "change was", "changes were")));
    }
    Ok(if conflicts + refused > 0 { Exit::Review } else { Exit::Done })
}

/// Stays connected until it is interrupted, and tells each time that something came.
fn sync_on(
    io: &mut Io<'_>,
    client: &Client,
    only: Option<BTreeSet<RowKey>>,
    mode: Mode,
    output: Output,
) -> Result<Exit, Failure> {
    let stopping = client.canceller();
    let _heeding = io.environment.heeds_interrupts.then(|| interrupt::heed(move || stopping.stop()));
    let mut notices = client.subscribe()?;
    client.connect(mode)?;
    let mut exit = Exit::Done;
    let (done, met) = sync_once(io, client, only);
    if done.is_err() {
        met.tell(io, client);
    }
    match done {
        Ok(done) => exit = report(io, client, &done, &met, output)?,
        // It goes on trying by itself, as the notices of the connection tell.
        Err(SyncError::Unreachable { .. } | SyncError::CaptivePortal { .. }) => {}
        Err(SyncError::Stopped) => return Ok(exit),
        Err(error) => return Err(error.into()),
    }
    let mut met = Met::default();
    let mut since = Since::now(client);
    while let Some(notice) = notices.wait() {
        match notice {
            Notice::Engine(Event::RowsChanged(keys)) => since.rows += keys.len() as u64,
            Notice::Engine(Event::CaughtUp { head }) if since.rows > 0 => {
                exit = report(io, client, &since.done(client, head), &std::mem::take(&mut met), output)?;
                since = Since::now(client);
            }
            Notice::Engine(Event::Diverged { lost, .. }) => met.lost = Some(lost),
            Notice::Engine(Event::NewLife { .. }) => met.new_life = true,
            Notice::Connection(connection) => tell_connection(io, &connection),
            _ => {}
        }
        if let Some(failure) = ended(&client.connection()) {
            return Err(failure);
        }
    }
    Ok(exit)
}

/// What happened since the last report of a client that stays.
struct Since {
    rows: u64,
    bytes: (u64, u64),
    at_ms: i64,
}

impl Since {
    fn now(client: &Client) -> Self {
        Self { rows: 0, bytes: (client.bytes().up(), client.bytes().down()), at_ms: crate::driver::wall_ms() }
    }

    fn done(&self, client: &Client, head: Seq) -> SyncDone {
        SyncDone {
            report: SyncReport { pulled: self.rows, head, ..SyncReport::default() },
            bytes_up: client.bytes().up() - self.bytes.0,
            bytes_down: client.bytes().down() - self.bytes.1,
            duration_ms: u64::try_from(crate::driver::wall_ms() - self.at_ms).unwrap_or(0),
        }
    }
}

fn tell_connection(io: &mut Io<'_>, connection: &Connection) {
    match connection {
        Connection::Online => io.note("up to date"),
        other => {
            if let Some(trouble) = trouble(other) {
                io.note(&trouble);
            }
        }
    }
}

/// Why there is no link, where it is tried again by itself.
fn trouble(connection: &Connection) -> Option<String> {
    match connection {
        Connection::ServerUnreachable { why, .. } => Some(format!("no sync yet ({why}); trying again by itself")),
        Connection::CaptivePortal { what } => Some(format!("something else answers ({what}); trying again by itself")),
        Connection::StoreFailed { error } => Some(format!("{error}; trying again by itself")),
        _ => None,
    }
}

/// What only a person can change ends a command that stays.
fn ended(connection: &Connection) -> Option<Failure> {
    let error = match connection {
        Connection::NeedsLogin => SyncError::NeedsLogin,
        Connection::OtherServer => SyncError::OtherServer,
        Connection::UpdateNeeded => SyncError::UpdateNeeded,
        _ => return None,
    };
    Some(error.into())
}

pub(super) fn watch(io: &mut Io<'_>, place: &Place, table: Option<&str>, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let schema = client.schema()?;
    let table = table.map(|name| names::table(&schema, name)).transpose()?.map(|table| table.tag);
    let stopping = client.canceller();
    let _heeding = io.environment.heeds_interrupts.then(|| interrupt::heed(move || stopping.stop()));
    let mut changes = client.watch(table)?;
    let rows: usize =
        client.tables()?.iter().filter(|info| table.is_none_or(|tag| tag == info.tag)).map(|info| info.rows).sum();
    let as_of = match client.status()?.caught_up_at_ms {
        0 => "never synced".to_owned(),
        at => format!("up to date at {}", text::moment(at)),
    };
    io.note(&format!("{} here, {as_of}; rows are printed as they change", text::counted(rows, "row", "rows")));
    client.connect(Mode::Manual)?;
    while let Some(changed) = changes.wait()? {
        match changed {
            Changed::Row(key, view) => {
                // The schema may have got a table since.
                let schema = client.schema()?;
                show_change(io, &schema, key, view.as_deref(), output)?;
            }
            Changed::Everything => io.note("much has changed; list again what you watch"),
            Changed::Connection(connection) => {
                tell_connection(io, &connection);
                if let Some(failure) = ended(&connection) {
                    return Err(failure);
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// `TABLE/ID`.
fn row_name(table: &Table, key: RowKey) -> String {
    format!("{}/{}", table.name, key.id)
}

fn show_change(
    io: &mut Io<'_>,
    schema: &Schema,
    key: RowKey,
    view: Option<&crate::view::RowView>,
    output: Output,
) -> Result<(), Failure> {
    let Some(table) = schema.table(key.table) else { return Ok(()) };
    match (view, output.json) {
        (Some(view), true) => {
            let mut object = json!({ "table": table.name });
            if let (Some(object), Some(row)) = (object.as_object_mut(), json::row(table, view).as_object_mut()) {
                object.append(row);
            }
            io.json(&object)?;
        }
        (None, true) => io.json(&json!({ "table": table.name, "id": key.id, "state": "gone" }))?,
        (Some(view), false) => {
            let title = table.title_of(|tag| view.values.get(&tag).cloned());
            writeln!(io.out, "{}  {title}  {}", row_name(table, key), json::row_state(view.standing))?;
        }
        (None, false) => writeln!(io.out, "{}  gone", row_name(table, key))?,
    }
    Ok(io.out.flush()?)
}
