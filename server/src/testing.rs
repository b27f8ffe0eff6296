//! A small workspace in memory, for the tests of this crate.

use crate::access::OPERATOR;
use crate::compact::{Base, Compacted, Prepared, prepare};
use crate::session::News;
use crate::snapshot::{Identity, Snapshot};
use crate::store::Store;
use crate::store::tables::WriteTables;
use crate::workspace::{Init, Job, PushReply, Reply, Workspace};
use std::collections::BTreeMap;
use tombolo_protocol::change::{Change, FieldChange, Op, Push, Verdict};
use tombolo_protocol::commit::{AccessChange, Grant};
use tombolo_protocol::ids::{
    DeviceId, FieldTag, Hash16, PushNo, RowId, RowKey, RowNo, Seq, TableTag, UserId, Version, WorkspaceId,
};
use tombolo_protocol::row::{Life, Row, Stamped};
use tombolo_protocol::schema::{Role, Schema};
use tombolo_protocol::value::Value;

pub(crate) const SCHEMA: &str = r#"
name = "testing"
scope_table = "sites"

[[table]]
name = "sites"
tag = 1
label = "Sites"
title = ["name"]
[[table.field]]
name = "name"
tag = 1
kind = "text"
label = "Name"

[[table]]
name = "patients"
tag = 2
label = "Patients"
title = ["name"]
scope = "site"
[[table.field]]
name = "name"
tag = 1
kind = "text"
label = "Name"
required = true
[[table.field]]
name = "phone"
tag = 2
kind = "text"
label = "Phone"
[[table.field]]
name = "notes"
tag = 3
kind = "text"
label = "Notes"
[[table.field]]
name = "code"
tag = 4
kind = "text"
label = "Code"
unique = true
[[table.field]]
name = "site"
tag = 9
kind = "reference"
references = "sites"
label = "Site"
required = true

[[table]]
name = "visits"
tag = 3
label = "Visits"
title = ["reason"]
[[table.field]]
name = "patient"
tag = 1
kind = "reference"
references = "patients"
label = "Patient"
[[table.field]]
name = "reason"
tag = 2
kind = "text"
label = "Reason"
[[table.field]]
name = "friend"
tag = 3
kind = "reference"
references = "patients"
on_delete = "keep"
label = "Friend"
[[table.field]]
name = "before"
tag = 4
kind = "reference"
references = "visits"
label = "Before"

[[table]]
name = "secrets"
tag = 5
label = "Secrets"
title = ["text"]
read = ["admin"]
write = ["admin"]
[[table.field]]
name = "text"
tag = 1
kind = "text"
label = "Text"
"#;

pub(crate) const SITES: TableTag = TableTag(1);
pub(crate) const PATIENTS: TableTag = TableTag(2);
pub(crate) const VISITS: TableTag = TableTag(3);

pub(crate) const NAME: FieldTag = FieldTag(1);
pub(crate) const PHONE: FieldTag = FieldTag(2);
pub(crate) const NOTES: FieldTag = FieldTag(3);
pub(crate) const CODE: FieldTag = FieldTag(4);
pub(crate) const SITE: FieldTag = FieldTag(9);

pub(crate) const NORTH: RowId = RowId(uuid::Uuid::from_u128(0xA1));
pub(crate) const SOUTH: RowId = RowId(uuid::Uuid::from_u128(0xA2));

pub(crate) fn schema() -> Schema {
    Schema::parse(SCHEMA).expect("the schema of the tests is sound")
}

pub(crate) fn id(number: u64) -> RowId {
    RowId(uuid::Uuid::from_u128(u128::from(number)))
}

pub(crate) fn key(table: TableTag, number: u64) -> RowKey {
    RowKey { table, id: id(number) }
}

pub(crate) fn site_value(site: RowId) -> Value {
    Value::uuid(site.0)
}

/// A row of patients that no store holds.
pub(crate) fn patient(number: u64, site: RowId) -> Row {
    let stamped = |value| Stamped { value, stamp: Seq(1) };
    Row {
        key: key(PATIENTS, number),
        no: RowNo(number),
        seq: Seq(1),
        ordinal: 0,
        version: Version(1),
        since: Seq(1),
        life: Life::Live,
        fields: BTreeMap::from([(NAME, stamped(Value::text("a"))), (SITE, stamped(site_value(site)))]),
    }
}

pub(crate) fn change(key: RowKey, op: Op, base: u64, fields: &[(FieldTag, Value)]) -> Change {
    Change {
        key,
        op,
        row_base: Seq(base),
        view_base: Seq(base),
        fields: fields
            .iter()
            .map(|(field, value)| FieldChange { field: *field, value: value.clone(), base: Seq(base) })
            .collect(),
        lost: Vec::new(),
        group: None,
        edited_at_ms: 1,
    }
}

pub(crate) fn create_patient(number: u64, name: &str, site: RowId) -> Change {
    change(key(PATIENTS, number), Op::Create, 0, &[(NAME, Value::text(name)), (SITE, site_value(site))])
}

pub(crate) fn update(key: RowKey, base: u64, field: FieldTag, value: &str) -> Change {
    change(key, Op::Update, base, &[(field, Value::text(value))])
}

pub(crate) fn delete(key: RowKey, base: u64) -> Change {
    change(key, Op::Delete, base, &[])
}

/// Who a device is by the token that [`World::login`] gives it.
pub(crate) fn identity(device: DeviceId, user: UserId) -> Identity {
    Identity { device, user, token: tombolo_protocol::hash::long(device.bytes()), expires_at_ms: i64::MAX }
}

/// A device that counts and chains its pushes.
#[derive(Clone, Copy)]
pub(crate) struct Pusher {
    pub(crate) device: DeviceId,
    pub(crate) user: UserId,
    pub(crate) last: PushNo,
    pub(crate) hash: Hash16,
}

impl Pusher {
    pub(crate) fn new(device: u128, user: UserId) -> Self {
        let device = DeviceId(uuid::Uuid::from_u128(device));
        Self { device, user, last: PushNo(0), hash: Hash16::default() }
    }

    pub(crate) fn freeze(&mut self, changes: Vec<Change>) -> Push {
        self.freeze_under(Seq(2), changes)
    }

    /// A push of changes that were made under the schema of this commit.
    pub(crate) fn freeze_under(&mut self, schema: Seq, changes: Vec<Change>) -> Push {
        let mut push = Push { number: self.last.next(), hash: Hash16::default(), schema, changes };
        push.hash = push.compute_hash(self.hash);
        (self.last, self.hash) = (push.number, push.hash);
        push
    }
}

/// A workspace with two sites and users.
pub(crate) struct World {
    pub(crate) workspace: Workspace,
    pub(crate) news: News,
    now_ms: i64,
}

pub(crate) const EVERYBODY: UserId = UserId(uuid::Uuid::from_u128(1));
pub(crate) const NORTHERN: UserId = UserId(uuid::Uuid::from_u128(2));
pub(crate) const SOUTHERN: UserId = UserId(uuid::Uuid::from_u128(3));

pub(crate) const WORKSPACE: WorkspaceId = WorkspaceId(uuid::Uuid::from_u128(77));

impl World {
    pub(crate) fn new() -> Self {
        let store = Store::in_memory().unwrap();
        let workspace = Workspace::init(store, Init { id: WORKSPACE, schema: SCHEMA }, 1000).unwrap();
        let news = News::of(workspace.head());
        let mut world = Self { workspace, news, now_ms: 1000 };
        let sites = [(NORTH, "North"), (SOUTH, "South")];
        let changes =
            sites.map(|(id, name)| change(RowKey { table: SITES, id }, Op::Create, 0, &[(NAME, Value::text(name))])).to_vec();
        let reply = world.apply(Job::import(OPERATOR, changes));
        assert!(matches!(reply, Reply::Import(Ok(_))), "{reply:?}");
        world.user(EVERYBODY, "everybody", Role::Admin, Grant::All);
        world.user(NORTHERN, "northern", Role::Editor, Grant::Scopes(vec![NORTH]));
        world.user(SOUTHERN, "southern", Role::Editor, Grant::Scopes(vec![SOUTH]));
        world
    }

    pub(crate) fn user(&mut self, id: UserId, name: &str, role: Role, grant: Grant) {
        let change = AccessChange::User { id, name: name.to_owned(), role, grant, password: String::new() };
        let reply = self.apply(Job::Access { by: OPERATOR, change });
        assert!(matches!(reply, Reply::Access(Ok(_))), "{reply:?}");
    }

    pub(crate) fn apply(&mut self, job: Job) -> Reply {
        self.now_ms += 1;
        let for_all = News::is_for_all(&job);
        let reply = self.workspace.apply(vec![job], self.now_ms).unwrap().remove(0);
        self.news = self.news.then(self.workspace.head(), for_all);
        reply
    }

    /// Pushes these changes and returns the commit with their verdicts.
    pub(crate) fn push(&mut self, pusher: &mut Pusher, changes: Vec<Change>) -> (Seq, Vec<Verdict>) {
        let push = pusher.freeze(changes);
        match self.apply(Job::Push { device: pusher.device, user: pusher.user, push }) {
            Reply::Push(PushReply::Recorded { seq, verdicts: Some(verdicts), .. }) => (seq, verdicts.iter().cloned().collect()),
            other => panic!("{other:?}"),
        }
    }

    /// Pushes changes that must all be accepted.
    pub(crate) fn accepted(&mut self, pusher: &mut Pusher, changes: Vec<Change>) -> Seq {
        let (seq, verdicts) = self.push(pusher, changes);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted { .. })), "{verdicts:?}");
        seq
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.workspace.store().snapshot().unwrap()
    }

    pub(crate) fn row(&self, key: &RowKey) -> Row {
        self.snapshot().row(key).unwrap().expect("the row is there")
    }
}

impl World {
    /// Another world with the same log: a backup, which either may leave.
    pub(crate) fn copy(&self) -> Self {
        let store = Store::in_memory().unwrap();
        crate::verify::rebuild(self.workspace.store(), &store, &mut crate::verify::unwatched).unwrap();
        Self { workspace: Workspace::open(store).unwrap(), news: self.news, now_ms: self.now_ms }
    }

    /// Makes the base for the commits up to here.
    pub(crate) fn base(&self, horizon: Seq) -> Base {
        match prepare(self.workspace.store(), &Store::in_memory().unwrap(), horizon, &mut crate::verify::unwatched).unwrap() {
            Prepared::Base(base) => base,
            other => panic!("{other:?}"),
        }
    }

    /// Compacts the log up to here.
    pub(crate) fn compact(&mut self, horizon: Seq) -> Compacted {
        let base = self.base(horizon);
        match self.apply(Job::Compact { by: OPERATOR, base }) {
            Reply::Compact(Ok(done)) => done,
            other => panic!("{other:?}"),
        }
    }

    /// Writes into the tables as no program would.
    pub(crate) fn tamper(&self, act: impl FnOnce(&mut WriteTables<'_>)) {
        let txn = self.workspace.store().write().unwrap();
        act(&mut WriteTables::open(&txn).unwrap());
        txn.commit().unwrap();
    }

    /// Gives a device a token, as a login does.
    pub(crate) fn login(&mut self, device: DeviceId, user: UserId) {
        let token = identity(device, user).token;
        let job = Job::IssueToken { user, device: None, name: None, fresh: device, token, expires_at_ms: i64::MAX };
        assert_eq!(self.apply(job), Reply::Token(Ok(device)));
    }

    /// All entries of the feed: row, and whether it is an exit marker; rows first.
    pub(crate) fn feed_entries(&self) -> Vec<(RowNo, bool)> {
        use redb::ReadableTable;
        let tables = self.workspace.store().read().unwrap();
        let mut entries: Vec<_> =
            tables.feed.iter().unwrap().map(|entry| entry.unwrap().1.value()).map(|(row, exit)| (RowNo(row), exit)).collect();
        entries.sort_by_key(|(row, exit)| (*exit, *row));
        entries
    }

    pub(crate) fn grant(&mut self, user: UserId, scopes: &[RowId]) {
        let known = self.snapshot().user(user).unwrap().expect("the user is there");
        self.user(user, &known.name, known.role, Grant::Scopes(scopes.to_vec()));
    }
}
