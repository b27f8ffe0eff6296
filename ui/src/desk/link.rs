//! What the desk does over the network. Each job has a thread of its own.

use super::rows::names;
use super::{Found, HistorySource, SignInFailed, Sink, Tell, Trouble, Worker};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use tombolo_client::engine::LoginError;
use tombolo_client::login::{self, LoginFailure};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::{DeviceId, FieldTag, RowKey, TableTag};
use tombolo_client::protocol::message::{Activity, History};
use tombolo_client::protocol::value::Value;
use tombolo_client::url::ServerUrl;
use tombolo_client::{
    Client, ClientError, Connection, KnownCommit, Login, LoginFailed, Mode, SyncDone, SyncError, SyncOptions,
};

/// A sync that makes no end within this time is told to be too slow; what was done stays done.
const SYNC_LIMIT: Duration = Duration::from_secs(30 * 60);
/// A history is not worth a longer wait.
const HISTORY_LIMIT: Duration = Duration::from_secs(15);
/// The demo's switch is on this machine.
const SWITCH_LIMIT: Duration = Duration::from_secs(2);
/// Histories that are kept for when there is no network.
const HISTORIES_MAX: usize = 200;

/// Looks whether there is a server at an address; that needs no store. Told with [`Tell::Found`].
pub fn look(address: String, sink: Sink) {
    let look = move || {
        let found = match address.parse::<ServerUrl>() {
            Ok(url) if login::look(&url).is_ok() => Found::Server,
            _ => Found::Nothing,
        };
        sink(Tell::Found(address, found));
    };
    // Without a thread nothing is known of the server, as before.
    let _ = std::thread::Builder::new().name("tombolo-look".to_owned()).spawn(look);
}

impl Worker {
    pub(super) fn sign_in(&mut self, address: &str, name: &str, password: String, device: String) {
        let url: ServerUrl = match address.parse() {
            Ok(url) => url,
            Err(error) => return self.tell(Tell::SignedIn(Err(SignInFailed::Address(format!("{error}"))))),
        };
        if self.client.is_none() {
            // A store that could not be opened is tried again; where it still cannot, the window is told so.
            self.open();
        }
        let name = name.to_owned();
        self.beside(
            move |job| {
                let device_name = Some(device.as_str()).filter(|name| !name.is_empty());
                job.client.login(&url, Login { device_name, ..Login::new(&name, &password) })
            },
            |worker, result| {
                let signed_in = result.map_err(|failed| match failed {
                    LoginFailed::Server(LoginFailure::WrongCredentials) => SignInFailed::Wrong,
                    LoginFailed::Server(LoginFailure::Unreachable { .. }) => SignInFailed::Unreachable,
                    LoginFailed::Server(LoginFailure::TooManyAttempts { after_s }) => SignInFailed::Wait(after_s),
                    LoginFailed::Server(LoginFailure::NotTombolo { .. }) => SignInFailed::NotTombolo,
                    LoginFailed::Server(LoginFailure::Refused { message }) => SignInFailed::Refused(message),
                    LoginFailed::Server(other) => SignInFailed::Trouble(other.to_string()),
                    LoginFailed::Client(ClientError::Login(LoginError::Schema)) => SignInFailed::Newer,
                    LoginFailed::Client(error) if error.store_failure().is_some() => SignInFailed::Store((&error).into()),
                    other => SignInFailed::Other(other.to_string()),
                });
                let well = signed_in.is_ok();
                worker.tell(Tell::SignedIn(signed_in));
                if well {
                    worker.tell_schema();
                    worker.go_online();
                    worker.stale.everything = true;
                    worker.stale.status = true;
                }
            },
        );
    }

    pub(super) fn sign_out(&mut self) {
        self.beside(
            |job| job.client.logout(),
            |worker, result| match result {
                Ok(_) => worker.tell(Tell::SignedOut),
                Err(error) => worker.tell(Tell::Trouble((&error).into())),
            },
        );
    }

    pub(super) fn sync(&mut self, only: Option<BTreeSet<RowKey>>, sign_out: bool) {
        if self.syncing {
            return self.tell_synced(Err(SyncError::Busy));
        }
        self.syncing = true;
        self.tell(Tell::Progress(tombolo_client::SyncProgress { connection: Connection::Connecting, ..Default::default() }));
        let options = SyncOptions { only, timeout: Some(SYNC_LIMIT) };
        self.beside(
            move |job| {
                job.client.sync(options, |progress| {
                    (job.sink)(Tell::Progress(progress));
                    ControlFlow::Continue(())
                })
            },
            move |worker, result: Result<SyncDone, SyncError>| {
                worker.syncing = false;
                let well = result.is_ok();
                worker.tell_status();
                worker.tell_synced(result);
                worker.stale.status = true;
                let nothing_left =
                    worker.client.as_ref().and_then(|client| client.pending().ok()).is_some_and(|left| left.is_empty());
                if sign_out && well && nothing_left {
                    worker.sign_out();
                }
            },
        );
    }

    /// A sync has ended; what waits then is told with it, since news of the status may come before it or behind it.
    fn tell_synced(&self, result: Result<SyncDone, SyncError>) {
        let status = self.client.as_ref().and_then(|client| client.status().ok());
        let waiting = status.map(|status| (status.pending, status.conflicts + status.refused));
        self.tell(Tell::Synced { result, waiting });
    }

    /// The network itself is cut, by whoever holds the other end of the demo's switch.
    pub(super) fn switch_network(&self, switch: SocketAddr, on: bool) {
        self.beside(
            move |_| {
                let word: &[u8] = if on { b"on\n" } else { b"off\n" };
                TcpStream::connect_timeout(&switch, SWITCH_LIMIT).and_then(|mut stream| stream.write_all(word))
            },
            move |worker, switched| match switched {
                Ok(()) => {
                    worker.tell(Tell::Network(on));
                    if on {
                        worker.go_online();
                    }
                }
                Err(error) => worker.tell(Tell::Trouble(Trouble::Other(error.to_string()))),
            },
        );
    }

    /// Whether the server can be asked something: it is connected, or a link is opened for what is asked.
    fn may_ask(&self) -> bool {
        let connection = self.client.as_ref().map(Client::connection);
        matches!(connection, Some(Connection::Online | Connection::CatchingUp)) || self.mode == Mode::Metered
    }

    pub(super) fn history(&mut self, key: RowKey) {
        let file = self.file.with_extension("histories.json");
        let online = self.may_ask();
        self.beside(
            move |job| {
                let asked = if online { job.client.history(key, HISTORY_LIMIT).ok() } else { None };
                let mut known: Histories = recall(&file).unwrap_or_default();
                let from_memory = |last: Option<SeenHistory>| last.map(|seen| (seen.history, seen.at_ms)).unzip();
                let (history, source) = match asked {
                    // What was seen before is all that is left.
                    Some(history) if history.entries.is_empty() && history.more => {
                        let (last, at_ms) = from_memory(known.of(key));
                        (last.or(Some(history)), HistorySource::PutAway { at_ms })
                    }
                    Some(history) => {
                        known.keep(SeenHistory { at_ms: Timestamp::now().as_millisecond(), history: history.clone() });
                        remember(&file, &known);
                        (Some(history), HistorySource::Server)
                    }
                    None => {
                        let (last, at_ms) = from_memory(known.of(key));
                        (last, HistorySource::Offline { at_ms })
                    }
                };
                let values = history.iter().flat_map(told).map(|(field, value)| (key.table, field, value));
                let names = names(&job.client, values).unwrap_or_default();
                (history, names, source)
            },
            move |worker, (history, names, source)| worker.tell(Tell::History { key, history, names, source }),
        );
    }
}

/// All values that a history tells.
fn told(history: &History) -> impl Iterator<Item = (FieldTag, Value)> + '_ {
    history.entries.iter().flat_map(|entry| {
        let changed = entry.fields.iter().flat_map(|change| [&change.before, &change.after].map(|value| (change.field, value)));
        changed.chain(entry.lost.iter().map(|(field, value)| (*field, value))).map(|(field, value)| (field, value.clone()))
    })
}

/// What was seen before, for when there is no network. A file that cannot be read is none: it is only a memory.
fn recall<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Beside the store and readable for its owner only, as the store is. Where that fails there is no memory the next time.
fn remember(file: &Path, what: &impl Serialize) {
    let write = || -> std::io::Result<()> {
        let new = file.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut out = fs::File::create_new(&new)?;
        tombolo_client::paths::protect(&new)?;
        out.write_all(&serde_json::to_vec(what)?)?;
        drop(out);
        fs::rename(new, file)
    };
    let _ = write();
}

/// The histories that were last seen, oldest first.
#[derive(Default, Serialize, Deserialize)]
struct Histories {
    rows: Vec<SeenHistory>,
}

/// A history as it was told at a moment.
#[derive(Clone, Serialize, Deserialize)]
struct SeenHistory {
    at_ms: i64,
    history: History,
}

impl Histories {
    fn of(&self, key: RowKey) -> Option<SeenHistory> {
        self.rows.iter().rev().find(|seen| seen.history.key == key).cloned()
    }

    fn keep(&mut self, seen: SeenHistory) {
        self.rows.retain(|row| row.history.key != seen.history.key);
        self.rows.push(seen);
        let over = self.rows.len().saturating_sub(HISTORIES_MAX);
        self.rows.drain(..over);
    }
}

/// Pushes of the same device within this time are one line of the activity.
const TOGETHER_MS: i64 = 10 * 60 * 1000;
/// Commits that the activity is made of where the server cannot be asked.
const COMMITS_MAX: usize = 2000;

/// What somebody did at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// The name.
    pub who: String,
    /// On which device, where the server told.
    pub device: Option<DeviceId>,
    /// What people call that; empty where nobody named it.
    pub device_name: String,
    /// The first commit's time, in milliseconds since 1970.
    pub from_ms: i64,
    /// The last one's.
    pub until_ms: i64,
    /// To how many rows of a table what was done; `None` of those that this device holds as that left them.
    pub rows: BTreeMap<(TableTag, Option<Op>), usize>,
}

/// Who did what, newest first.
#[derive(Clone, Debug)]
pub struct Deeds {
    /// By person, device and time.
    pub deeds: Vec<Deed>,
    /// Older ones were left out.
    pub more: bool,
    /// Where it is from.
    pub source: HistorySource,
}

/// The activity as it was told at a moment.
#[derive(Serialize, Deserialize)]
struct SeenActivity {
    at_ms: i64,
    activity: Activity,
}

impl Worker {
    pub(super) fn activity(&self) {
        let file = self.file.with_extension("activity.json");
        let online = self.may_ask();
        self.beside(
            move |job| {
                let asked = if online { job.client.activity(HISTORY_LIMIT).ok() } else { None };
                if let Some(activity) = asked {
                    let seen = SeenActivity { at_ms: Timestamp::now().as_millisecond(), activity };
                    remember(&file, &seen);
                    return Deeds {
                        deeds: told_deeds(&seen.activity),
                        more: seen.activity.more,
                        source: HistorySource::Server,
                    };
                }
                match recall::<SeenActivity>(&file) {
                    Some(SeenActivity { at_ms, activity }) => {
                        let source = HistorySource::Offline { at_ms: Some(at_ms) };
                        Deeds { deeds: told_deeds(&activity), more: activity.more, source }
                    }
                    None => {
                        let known = job.client.known_commits(COMMITS_MAX).unwrap_or_default();
                        Deeds { deeds: known_deeds(known), more: false, source: HistorySource::Offline { at_ms: None } }
                    }
                }
            },
            |worker, deeds| worker.tell(Tell::Activity(deeds)),
        );
    }
}

fn told_deeds(activity: &Activity) -> Vec<Deed> {
    together(activity.deeds.iter().map(|deed| Deed {
        who: deed.by.clone(),
        device: Some(deed.device),
        device_name: deed.device_name.clone(),
        from_ms: deed.at_ms,
        until_ms: deed.at_ms,
        rows: deed.rows.iter().map(|(table, op, count)| ((*table, Some(*op)), *count as usize)).collect(),
    }))
}

fn known_deeds(commits: Vec<KnownCommit>) -> Vec<Deed> {
    together(commits.into_iter().map(|KnownCommit { author, rows, .. }| Deed {
        who: author.name,
        device: None,
        device_name: String::new(),
        from_ms: author.at_ms,
        until_ms: author.at_ms,
        rows: rows.into_iter().map(|(table, count)| ((table, None), count)).collect(),
    }))
}

/// Newest first, and so it stays: what somebody did at a device within a short time is one deed.
fn together(deeds: impl Iterator<Item = Deed>) -> Vec<Deed> {
    let mut joined: Vec<Deed> = Vec::new();
    for deed in deeds {
        match joined.last_mut() {
            Some(newer)
                if (&newer.who, newer.device) == (&deed.who, deed.device) && newer.from_ms - deed.until_ms < TOGETHER_MS =>
            {
                newer.from_ms = deed.from_ms;
                deed.rows.into_iter().for_each(|(what, count)| *newer.rows.entry(what).or_default() += count);
            }
            _ => joined.push(deed),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_does_at_a_device_within_ten_minutes_is_one_deed() {
        let device = |number| Some(DeviceId::from_bytes([number; 16]));
        let deed = |who: &str, on, minute: i64, op, count| Deed {
            who: who.to_owned(),
            device: device(on),
            device_name: format!("device {on}"),
            from_ms: minute * 60_000,
            until_ms: minute * 60_000,
            rows: [((TableTag(2), Some(op)), count)].into(),
        };
        let deeds = [
            deed("amina", 1, 30, Op::Update, 2),
            deed("amina", 1, 25, Op::Update, 1),
            deed("amina", 1, 20, Op::Delete, 1),
            deed("amina", 2, 19, Op::Update, 1),
            deed("brian", 2, 18, Op::Update, 1),
            deed("brian", 2, 8, Op::Update, 1),
        ];
        let joined = together(deeds.into_iter());
        let told: Vec<_> =
            joined.iter().map(|deed| (deed.who.as_str(), deed.from_ms / 60_000, deed.until_ms / 60_000)).collect();
        assert_eq!(told, [("amina", 20, 30), ("amina", 19, 19), ("brian", 18, 18), ("brian", 8, 8)]);
        assert_eq!(joined[0].rows, [((TableTag(2), Some(Op::Update)), 3), ((TableTag(2), Some(Op::Delete)), 1)].into());
    }
}
