//! A small model of the server, in plain maps: what the design says becomes of a push, and of the rows.
//!
//! It is written from the numbered rules of the design and knows nothing of the code that it is compared with: of the product it
//! uses ids, values, schemas, changes and verdicts as plain data, and no function that decides. It is as slow and as simple as it
//! may be: every rule is one short function that can be read beside its sentence.
//!
//! Where the design leaves open which of several answers is given, the comment says what the model takes. Not in it, because
//! no simulated world comes near: the sizes of rows and pushes, and the greatest number of scopes.

mod alone;
mod together;
mod values;

use std::collections::BTreeMap;
use tombolo_client::protocol::change::{Change, Effect, LostValue, Op, Push, Refusal, Verdict};
use tombolo_client::protocol::commit::{AccessChange, CommitBody, Grant, PushRecord};
use tombolo_client::protocol::ids::{DeviceId, FieldTag, PushNo, RowId, RowKey, RowNo, Seq, UserId, Version};
use tombolo_client::protocol::schema::{Role, Schema, Table};
use tombolo_client::protocol::value::Value;

/// Everything that the log says, folded.
#[derive(Default)]
pub struct Model {
    /// The rows that were ever made.
    pub rows: BTreeMap<RowKey, Row>,
    schemas: BTreeMap<Seq, Schema>,
    users: BTreeMap<UserId, Rights>,
    pushes: BTreeMap<DeviceId, PushNo>,
    device_names: BTreeMap<DeviceId, String>,
}

/// A row.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Gap-free in (commit, ordinal) order.
    pub number: RowNo,
    /// It is not deleted.
    pub live: bool,
    /// Its values were taken.
    pub purged: bool,
    /// The commit that last changed it, and its place in there.
    pub at: (Seq, u32),
    /// Accepted changes.
    pub version: Version,
    /// When it last came into its section.
    pub since: Seq,
    /// Values and stamps; a field that was never set is absent.
    pub fields: BTreeMap<FieldTag, (Value, Seq)>,
}

/// What a user may do.
#[derive(Clone, PartialEq, Debug)]
struct Rights {
    role: Role,
    grant: Grant,
}

/// What a push must become.
#[derive(Debug)]
pub struct Prediction {
    /// One for each change.
    pub verdicts: Vec<Expected>,
    /// What changes.
    pub effects: Vec<Effect>,
    /// Values that lost and are kept with the commit.
    pub lost: Vec<(RowKey, LostValue)>,
}

/// What must be said of a change, and why.
#[derive(Clone, PartialEq, Debug)]
pub enum Expected {
    /// It goes through.
    Accepted {
        /// The row had moved on since the change's bases.
        merged: bool,
    },
    /// The row is as asked.
    Agreed,
    /// A question.
    Conflict(Question),
    /// Another live row has the value.
    Clash {
        /// Of this field.
        field: FieldTag,
        /// The row, if the user may see it.
        with: Option<RowId>,
    },
    /// A no.
    Refused(Refusal),
    /// It waits for the change of this row.
    Held(RowKey),
}

/// What a conflict is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Both changed these fields (C1, C2).
    Fields(Vec<FieldTag>),
    /// A row of a strict table changed (C3).
    StrictRow,
    /// An edit, or a create, of a row that was deleted (C4, H5).
    EditOfDeleted,
    /// A delete of a row that was changed (C4).
    DeleteOfChanged,
    /// A restore of a row that changed since it was seen deleted (C5).
    RestoreOfChanged,
    /// Two creates with one id that are not the same (C4).
    CreateOfOther,
}

impl Expected {
    /// What is recorded and sent of it; the client computes the question itself (C6).
    pub fn verdict(&self) -> Verdict {
        match self.clone() {
            Self::Accepted { merged } => Verdict::Accepted { merged },
            Self::Agreed => Verdict::Agreed,
            Self::Conflict(_) => Verdict::Conflict,
            Self::Clash { field, with } => Verdict::Clash { field, with },
            Self::Refused(refusal) => Verdict::Refused(refusal),
            Self::Held(by) => Verdict::Held { by },
        }
    }

    /// Its kind, to be counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Accepted { merged: false } => "accepted",
            Self::Accepted { merged: true } => "accepted, merged",
            Self::Agreed => "agreed",
            Self::Conflict(Question::Fields(_)) => "conflict of fields",
            Self::Conflict(Question::StrictRow) => "conflict of a strict row",
            Self::Conflict(Question::EditOfDeleted) => "conflict, edit of a deleted row",
            Self::Conflict(Question::DeleteOfChanged) => "conflict, delete of a changed row",
            Self::Conflict(Question::RestoreOfChanged) => "conflict, restore of a changed row",
            Self::Conflict(Question::CreateOfOther) => "conflict of creates",
            Self::Clash { .. } => "clash",
            Self::Refused(Refusal::UnknownRow) => "refused, unknown row",
            Self::Refused(Refusal::Field { .. }) => "refused, value",
            Self::Refused(Refusal::MissingParent { .. }) => "refused, missing parent",
            Self::Refused(Refusal::Referenced { .. }) => "refused, referenced",
            Self::Refused(Refusal::NoRight) => "refused, no right",
            Self::Refused(_) => "refused, another reason",
            Self::Held(_) => "held",
        }
    }
}

impl Row {
    /// The value of a field; null where it was never set.
    pub fn value(&self, field: FieldTag) -> &Value {
        self.fields.get(&field).map_or(&Value::Null, |(value, _)| value)
    }

    fn stamp(&self, field: FieldTag) -> Seq {
        self.fields.get(&field).map_or(Seq(0), |(_, stamp)| *stamp)
    }

    /// The scope value that says in which section of its table it stands; null where the table has no scopes.
    fn scope(&self, table: &Table) -> &Value {
        table.scope.map_or(&Value::Null, |field| self.value(field))
    }
}

impl Rights {
    fn may_read(&self, table: &Table) -> bool {
        self.role == Role::Admin || table.read.contains(&self.role)
    }

    fn may_write(&self, table: &Table) -> bool {
        self.role == Role::Admin || table.write.contains(&self.role)
    }

    fn covers(&self, table: &Table, scope: &Value) -> bool {
        match (&self.grant, scope) {
            _ if table.scope.is_none() => true,
            (Grant::All, _) => true,
            (Grant::Scopes(scopes), Value::Uuid(id)) => scopes.contains(&RowId::from_bytes(*id)),
            (Grant::Scopes(_), _) => false,
        }
    }
}

/// What a push is decided by: the state at the head, the rights of its user there, and the schema that it was written under.
struct Deciding<'a> {
    model: &'a Model,
    schema: &'a Schema,
    written_under: &'a Schema,
    rights: Rights,
}

impl Deciding<'_> {
    fn may_see(&self, key: RowKey, row: &Row) -> bool {
        let table = self.schema.tables.iter().find(|table| table.tag == key.table);
        table.is_some_and(|table| self.rights.may_read(table) && self.rights.covers(table, row.scope(table)))
    }

    fn table(&self, key: RowKey) -> Option<&Table> {
        self.schema.tables.iter().find(|table| table.tag == key.table)
    }
}

impl Model {
    /// What must become of a push of this user.
    pub fn predict(&self, user: UserId, push: &Push) -> Option<Prediction> {
        let schema = self.schemas.values().last()?;
        // After a divergence a client may name a state from before the first schema: it counts as that one.
        let written_under = self.schemas.range(..=push.schema).last().or(self.schemas.first_key_value())?.1;
        let nobody = Rights { role: Role::Viewer, grant: Grant::Scopes(Vec::new()) };
        let rights = self.users.get(&user).cloned().unwrap_or(nobody);
        let deciding = Deciding { model: self, schema, written_under, rights };
        let (mut verdicts, effects): (Vec<Expected>, Vec<Option<Effect>>) =
            push.changes.iter().map(|change| deciding.alone(change)).unzip();
        deciding.together(&push.changes, &mut verdicts, &effects);
        let goes_through = |verdict: &Expected| matches!(verdict, Expected::Accepted { .. } | Expected::Agreed);
        let lost = push.changes.iter().zip(&verdicts).filter(|(_, verdict)| goes_through(verdict));
        let lost = lost.flat_map(|(change, _)| deciding.lost(change).map(|lost| (change.key, lost.clone()))).collect();
        let effects = effects.into_iter().zip(&verdicts);
        let effects = effects.filter(|(_, verdict)| matches!(verdict, Expected::Accepted { .. }));
        Some(Prediction { effects: effects.filter_map(|(effect, _)| effect).collect(), verdicts, lost })
    }

    /// Whether a user may see a row that was made, be it deleted.
    pub fn may_see(&self, user: UserId, key: RowKey) -> bool {
        let (Some(schema), Some(rights)) = (self.schemas.values().last(), self.users.get(&user)) else { return false };
        let deciding = Deciding { model: self, schema, written_under: schema, rights: rights.clone() };
        self.rows.get(&key).is_some_and(|row| deciding.may_see(key, row))
    }

    /// What people call a device; empty where nobody named it.
    pub fn device_name(&self, device: DeviceId) -> String {
        self.device_names.get(&device).cloned().unwrap_or_default()
    }

    /// The number that a push of this device must have: the last one and one more (P2).
    pub fn next_push(&self, device: DeviceId) -> PushNo {
        self.pushes.get(&device).copied().unwrap_or_default().next()
    }

    /// Folds a commit. Returns the rows that it changes.
    ///
    /// # Errors
    /// What in it cannot be.
    pub fn fold(&mut self, seq: Seq, body: &CommitBody) -> Result<Vec<RowKey>, String> {
        match body {
            CommitBody::Push(record) => self.fold_push(seq, record),
            CommitBody::Purge { rows } => {
                for (key, ordinal) in rows.iter().zip(0..) {
                    self.purge(*key, seq, ordinal)?;
                }
                Ok(rows.clone())
            }
            CommitBody::Schema { text } => {
                let schema = Schema::parse(text).map_err(|error| format!("a schema that is not sound: {error}"))?;
                self.schemas.insert(seq, schema);
                Ok(Vec::new())
            }
            CommitBody::Access(AccessChange::User { id, role, grant, .. }) => {
                self.users.insert(*id, Rights { role: *role, grant: grant.clone() });
                Ok(Vec::new())
            }
            CommitBody::Access(AccessChange::DeviceNamed { device, name }) => {
                self.device_names.insert(*device, name.clone());
                Ok(Vec::new())
            }
            CommitBody::Workspace { .. }
            | CommitBody::Access(_)
            | CommitBody::Restore { .. }
            | CommitBody::Checkpoint { .. } => Ok(Vec::new()),
        }
    }

    fn fold_push(&mut self, seq: Seq, record: &PushRecord) -> Result<Vec<RowKey>, String> {
        self.pushes.insert(record.device, record.number);
        let tables: Vec<Table> = self.schemas.values().last().map(|schema| schema.tables.clone()).unwrap_or_default();
        for (effect, ordinal) in record.effects.iter().zip(0..) {
            let table = tables.iter().find(|table| table.tag == effect.key.table);
            let table = table.ok_or_else(|| format!("an effect in a table that is not there: {effect:?}"))?;
            apply(&mut self.rows, table, effect, (seq, ordinal)).ok_or_else(|| format!("{effect:?} has no row"))?;
        }
        Ok(record.effects.iter().map(|effect| effect.key).collect())
    }

    /// Purging takes a deleted row's values; who may know of it stays (H5).
    fn purge(&mut self, key: RowKey, seq: Seq, ordinal: u32) -> Result<(), String> {
        let scope = self.schemas.values().last().and_then(|schema| {
            let table = schema.tables.iter().find(|table| table.tag == key.table)?;
            table.scope
        });
        let row = self.rows.get_mut(&key).filter(|row| !row.live);
        let row = row.ok_or_else(|| format!("{key:?} was purged and is not deleted"))?;
        row.purged = true;
        row.at = (seq, ordinal);
        row.fields.retain(|field, _| Some(*field) == scope);
        Ok(())
    }
}

/// What an effect does to the rows; `None` where it is about a row that was never made.
fn apply(rows: &mut BTreeMap<RowKey, Row>, table: &Table, effect: &Effect, at: (Seq, u32)) -> Option<()> {
    let (seq, _) = at;
    if effect.op == Op::Create && !rows.contains_key(&effect.key) {
        let number = RowNo(rows.len() as u64 + 1);
        let fields = BTreeMap::new();
        let row = Row { number, live: true, purged: false, at, version: Version(0), since: seq, fields };
        rows.insert(effect.key, row);
    }
    let row = rows.get_mut(&effect.key)?;
    let scope = row.scope(table).clone();
    for (field, value) in &effect.fields {
        row.fields.insert(*field, (value.clone(), seq));
    }
    row.at = at;
    row.version.0 += 1;
    match effect.op {
        Op::Delete => row.live = false,
        Op::Create | Op::Restore => (row.live, row.purged, row.since) = (true, false, seq),
        Op::Update | Op::Decide => {}
    }
    if *row.scope(table) != scope {
        row.since = seq;
    }
    Some(())
}

/// The touched value of a field.
fn touched(change: &Change, field: FieldTag) -> Option<&Value> {
    change.fields.iter().find(|touched| touched.field == field).map(|touched| &touched.value)
}
