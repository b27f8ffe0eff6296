//! Local writes: one durable transaction that touches no network (O1, O7, O9), decisions and discards.

mod decide;
mod undo;

pub use self::undo::Before;

use crate::engine::Engine;
use crate::step::{Step, StepError};
use crate::store::StoreError;
use crate::view::ConflictView;
use std::collections::BTreeMap;
use thiserror::Error;
use tombolo_protocol::ids::{FieldTag, GroupId, RowKey, Seq};
use tombolo_protocol::limits::{PUSH_BYTES_MAX, PUSH_CHANGES_MAX, ROW_BYTES_MAX};
use tombolo_protocol::outbox::{Pending, Resolution, ResolveError, Seen, Write, WriteError, change_of, write};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::schema::{Kind, Schema};
use tombolo_protocol::value::Value;

/// A local write of one row, with what the person saw.
#[derive(Clone, PartialEq, Debug)]
pub struct LocalWrite {
    /// The row.
    pub key: RowKey,
    /// What is done to it.
    pub write: Write,
    /// What the person saw (O2); without it the write takes the mirror of the moment.
    pub seen: Option<Seen>,
}

/// Why a local write was not done; nothing of its transaction was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Nothing is known of any table yet.
    #[error("this device does not know the tables yet; log in and sync once first")]
    NoSchema,
    /// There is no such table.
    #[error("there is no such table")]
    UnknownTable,
    /// There is no such field.
    #[error("table `{table}` has no field number {field}")]
    UnknownField {
        /// The table.
        table: String,
        /// The field.
        field: FieldTag,
    },
    /// The value is of another kind than the field, or not canonical.
    #[error("field `{field}` of table `{table}` cannot hold this kind of value")]
    WrongKind {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// The row would be too large.
    #[error("this row would be larger than {} KiB; keep large things as files", ROW_BYTES_MAX / 1024)]
    RowTooLarge,
    /// The row is not in a state for it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The group would be too large.
    #[error(
        "this group would have {changes} changes and {bytes} bytes; a group is sent whole and may have {PUSH_CHANGES_MAX} changes and {PUSH_BYTES_MAX} bytes. Split it"
    )]
    GroupTooLarge {
        /// Its changes.
        changes: usize,
        /// Its canonical bytes.
        bytes: usize,
    },
    /// There is nothing pending to discard.
    #[error("this row has no change that can be discarded")]
    NothingPending,
    /// Something else happened to it since.
    #[error("this was changed again meanwhile, so that it cannot be taken back")]
    TooLate,
    /// The change is being sent.
    #[error("this change is being sent; wait for the answer")]
    InFlight,
    /// The decision cannot be taken.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StepError> for LocalError {
    fn from(error: StepError) -> Self {
        Self::Store(error.into())
    }
}

impl Engine {
    /// Writes rows in one durable transaction. When this returns, the edits survive a power cut (O1). With `group` the server
    /// admits them together or not at all.
    ///
    /// # Errors
    /// [`LocalError`]; nothing was written.
    pub fn write(&mut self, writes: Vec<LocalWrite>, group: Option<GroupId>, now_ms: i64) -> Result<(), LocalError> {
        if self.schema().is_none() {
            return Err(LocalError::NoSchema);
        }
        self.local(now_ms, |step| {
            for local in &writes {
                check_values(step.schema, local)?;
            }
            for local in writes {
                step.write_row(local, group)?;
            }
            group.map_or(Ok(()), |group| step.check_group(group))
        })?;
        self.go_on_behind(now_ms);
        Ok(())
    }

    /// Takes a row out of its group, so that it is sent and decided by itself (O7).
    ///
    /// # Errors
    /// [`LocalError`] when nothing of the row is pending.
    pub fn take_out_of_group(&mut self, key: RowKey, now_ms: i64) -> Result<(), LocalError> {
        self.local(now_ms, |step| {
            let mut entry = step.tables.entry(key)?.ok_or(LocalError::NothingPending)?;
            entry.next.as_mut().ok_or(LocalError::NothingPending)?.group = None;
            step.put_entry(&entry)?;
            // The others of its group do not wait for it any more.
            step.others_may_go();
            Ok(())
        })?;
        self.go_on_behind(now_ms);
        Ok(())
    }

    /// Applies a person's decision. `shown` is what the dialog showed: the change that is decided about, and the server's row (for a
    /// unique clash, the other row); without it, both as they are at the moment.
    ///
    /// # Errors
    /// [`LocalError`]; nothing was decided.
    pub fn resolve(
        &mut self,
        key: RowKey,
        shown: Option<&ConflictView>,
        resolution: &Resolution,
        now_ms: i64,
    ) -> Result<(), LocalError> {
        self.local(now_ms, |step| step.resolve_row(key, shown, resolution))?;
        self.go_on_behind(now_ms);
        Ok(())
    }

    fn local<R>(&mut self, now_ms: i64, act: impl FnOnce(&mut Step<'_, '_>) -> Result<R, LocalError>) -> Result<R, LocalError> {
        // The step's own errors are the store's; ours go past it, and its transaction is given up all the same.
        let mut refused = None;
        let done = self.step(now_ms, |step| {
            act(step).map_err(|error| {
                refused = Some(error);
                StepError::Violation("a local write was refused")
            })
        });
        match (done, refused) {
            (_, Some(error)) => Err(error),
            (done, None) => Ok(done?),
        }
    }
}

impl Step<'_, '_> {
    fn write_row(&mut self, local: LocalWrite, group: Option<GroupId>) -> Result<(), LocalError> {
        let LocalWrite { key, write: what, seen } = local;
        let table = self.schema.table(key.table).ok_or(LocalError::UnknownTable)?;
        let mirror = self.tables.mirror(key)?.map(|held| held.row);
        let mut entry = self.entry_or_new(key)?;
        let settled = self.tables.settled(key)?;
        let seen = seen.map(|seen| seen.within(self.state.recovery_copies));
        let (unwritten, was_empty) = (entry.next.clone(), entry.is_empty());
        write(table, &mut entry, mirror.as_ref(), what, seen.as_ref(), &settled, self.now_ms)?;
        // Who writes what stands there anyway changes nothing of what is shown: a view from before it is as good as one from
        // behind it, and is to be worth as much when the entry is confirmed (O2).
        if shown_part(entry.next.as_ref()) != shown_part(unwritten.as_ref()) {
            entry.generation = self.next_generation();
        }
        let before = entry.next.as_ref().and_then(|next| next.group);
        if let (Some(next), Some(group)) = (&mut entry.next, group) {
            next.group = Some(group);
        }
        let bytes: usize =
            entry.next.iter().flat_map(|next| next.fields.values()).map(|edit| 2 + edit.value.canonical_len()).sum();
        if bytes > ROW_BYTES_MAX {
            return Err(LocalError::RowTooLarge);
        }
        self.touched.insert(key);
        self.put_entry_over(&entry, mirror.as_ref())?;
        // What came while the form was open replaced what it shows. Of another history nobody knows when it was so.
        let shown = seen.as_ref().filter(|seen| was_empty && !entry.is_empty() && seen.seq > Seq(0));
        if let (Some(Seen { seq, values: Some(values), .. }), Some(row)) = (shown, &mirror) {
            self.displace(&entry, |field| (values.get(&field).cloned().unwrap_or_default(), *seq), row)?;
        }
        match (before, group) {
            // Groups that share an entry are one.
            (Some(before), Some(group)) if before != group && !planted(Planted::GroupsStayApart) => {
                self.merge_groups(before, group)
            }
            (Some(before), None) => self.check_group(before),
            _ => Ok(()),
        }
    }

    fn members(&self, group: GroupId) -> Result<Vec<tombolo_protocol::outbox::Entry>, StoreError> {
        self.tables
            .entries()?
            .filter(|entry| entry.as_ref().map_or(true, |e| e.next.as_ref().is_some_and(|next| next.group == Some(group))))
            .collect()
    }

    fn merge_groups(&mut self, from: GroupId, to: GroupId) -> Result<(), LocalError> {
        for mut entry in self.members(from)? {
            if let Some(next) = &mut entry.next {
                next.group = Some(to);
            }
            self.put_entry(&entry)?;
        }
        Ok(())
    }

    fn check_group(&self, group: GroupId) -> Result<(), LocalError> {
        let members = self.members(group)?;
        let bytes = members
            .iter()
            .filter_map(|entry| Some(change_of(entry.key, entry.next.as_ref()?, Default::default(), None).canonical_len()))
            .sum();
        if members.len() > PUSH_CHANGES_MAX || bytes > PUSH_BYTES_MAX {
            return Err(LocalError::GroupTooLarge { changes: members.len(), bytes });
        }
        Ok(())
    }

    fn discard_row(&mut self, key: RowKey) -> Result<(), LocalError> {
        let entry = self.tables.entry(key)?.ok_or(LocalError::NothingPending)?;
        let Some(next) = &entry.next else {
            if planted(Planted::DiscardInFlight) {
                return Ok(self.put_entry(&tombolo_protocol::outbox::Entry { sent: None, ..entry })?);
            }
            return Err(LocalError::InFlight);
        };
        let entries = match next.group {
            Some(group) => self.members(group)?,
            None => vec![entry],
        };
        for mut entry in entries {
            entry.next = None;
            entry.generation = self.next_generation();
            self.touched.insert(entry.key);
            self.put_entry(&entry)?;
        }
        Ok(())
    }

    fn discard_field(&mut self, key: RowKey, field: FieldTag) -> Result<(), LocalError> {
        let table = self.schema.table(key.table).ok_or(LocalError::UnknownTable)?;
        let mut entry = self.tables.entry(key)?.ok_or(LocalError::NothingPending)?;
        let mut next = entry.next.take().ok_or(LocalError::InFlight)?;
        let unit = table.unit(&field);
        if !unit.iter().any(|member| next.fields.contains_key(member)) {
            return Err(LocalError::NothingPending);
        }
        next.fields.retain(|member, _| !unit.contains(member));
        next.review = None;
        next.rounds = 0;
        entry.next = without_emptiness(next);
        entry.generation = self.next_generation();
        self.touched.insert(key);
        Ok(self.put_entry(&entry)?)
    }
}

/// A pending change without what no view shows: when it was written last, and how often and why it did not go.
fn shown_part(next: Option<&Pending>) -> Option<Pending> {
    next.map(|next| Pending { edited_at_ms: 0, review: None, rounds: 0, ..next.clone() })
}

/// A change from which a field was taken: nothing where nothing is left of it.
fn without_emptiness(next: Pending) -> Option<Pending> {
    use tombolo_protocol::change::Op;
    let nothing = next.fields.is_empty() && next.lost.is_empty() && matches!(next.op, Op::Update | Op::Decide);
    (!nothing).then_some(next)
}

/// Kinds are checked here, since a value of another kind could not even be shown; whether a value is allowed is the server's to
/// say, and [`crate::check`] says it beforehand.
fn check_values(schema: &Schema, local: &LocalWrite) -> Result<(), LocalError> {
    let table = schema.table(local.key.table).ok_or(LocalError::UnknownTable)?;
    let fields: Option<&BTreeMap<FieldTag, Value>> = match &local.write {
        Write::Create(fields) | Write::Update(fields) => Some(fields),
        Write::Delete | Write::Restore => None,
    };
    for (tag, value) in fields.into_iter().flatten() {
        let unknown = || LocalError::UnknownField { table: table.name.clone(), field: *tag };
        let field = table.field(*tag).ok_or_else(unknown)?;
        if !value.is_canonical() || !(value.is_null() || is_of_kind(value, field.kind)) {
            return Err(LocalError::WrongKind { table: table.name.clone(), field: field.name.clone() });
        }
    }
    Ok(())
}

fn is_of_kind(value: &Value, kind: Kind) -> bool {
    matches!(
        (value, kind),
        (Value::Bool(_), Kind::Bool)
            | (Value::Int(_), Kind::Int)
            | (Value::Float(_), Kind::Float)
            | (Value::Decimal(_), Kind::Decimal { .. })
            | (Value::Text(_), Kind::Text)
            | (Value::Date(_), Kind::Date)
            | (Value::Timestamp(_), Kind::Timestamp { .. })
            | (Value::Uuid(_), Kind::Uuid)
            | (Value::Bytes(_), Kind::Bytes)
    )
}
