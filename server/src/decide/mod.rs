//! Deciding a push: from its changes and the state at the head to the record that the log keeps (P7, section 4).
//!
//! Each change is first admitted by its own row. Then groups, references, uniqueness and deletions are looked at on the state
//! as it would be after all changes that still stand; a violation refuses the last change that brings it about, and this is
//! repeated until there is none. Nothing is written here.

mod constraints;

use crate::access::Rights;
use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::tables::Tables;
use constraints::Violation;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tombolo_protocol::admit::{Decision, Facts, admit, recorded_lost};
use tombolo_protocol::change::{Change, Effect, LostValue, Op, Push, Refusal, Verdict, VerdictRuns};
use tombolo_protocol::commit::{PushRecord, RecordedRow};
use tombolo_protocol::ids::{DeviceId, FieldTag, RowKey, RowNo, Seq};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Field, Schema, Table};
use tombolo_protocol::value::Value;

/// The function that decides a change by its own row: [`admit`], unless a test breaks it.
pub type Admit = fn(&Facts<'_>, &Change) -> Decision;

/// Everything that a push is decided by, besides the push.
pub struct Decider<'a, T: Tables> {
    /// The state at the head.
    pub tables: &'a T,
    /// The schema at the head.
    pub schema: &'a Schema,
    /// The schema that the push was written under.
    pub written_under: &'a Schema,
    /// The user's rights at the head.
    pub rights: &'a Rights,
    /// Decides a change by its own row.
    pub admit: Admit,
}

impl<'a, T: Tables> Decider<'a, T> {
    /// With the real admission.
    pub fn new(tables: &'a T, schema: &'a Schema, written_under: &'a Schema, rights: &'a Rights) -> Self {
        Self { tables, schema, written_under, rights, admit }
    }

    /// Decides the push of a device. `hash` is what is recorded.
    ///
    /// # Errors
    /// [`StoreError`] only; whatever the push holds is decided.
    pub fn decide(&self, device: DeviceId, push: &Push) -> Result<PushRecord, StoreError> {
        let mut draft = Draft { changes: &push.changes, states: Vec::new(), places: BTreeMap::new() };
        for (index, change) in push.changes.iter().enumerate() {
            draft.states.push(self.admit_one(change)?);
            draft.places.insert(change.key, index);
        }
        draft.close_groups();
        while let Some(Violation { index, verdict }) = self.first_violation(&draft)? {
            draft.states[index].state = State::Out(verdict);
            draft.close_groups();
        }
        Ok(draft.record(device, push))
    }

    fn admit_one(&self, change: &Change) -> Result<Drafted, StoreError> {
        let before = self.tables.row(&change.key)?;
        let Some(table) = self.schema.table(change.key.table) else {
            let verdict = Verdict::Refused(Refusal::UnknownTable);
            let state =
                if change.op == Op::Decide { State::Stands { effect: None, merged: false } } else { State::Out(verdict) };
            return Ok(Drafted { before, after: None, state, lost: Vec::new() });
        };
        let facts = Facts {
            table,
            row: before.as_ref(),
            visible: before.as_ref().is_none_or(|row| self.rights.may_see(self.schema, row)),
            may_write: self.rights.role.may_write(table),
            may_write_scope: &|scope| self.rights.grant.covers(scope),
            initial: &self.initial(table, change),
        };
        // A defect in deciding one change must not stop the queue: it is a recorded refusal (P6).
        let decided = catch_unwind(AssertUnwindSafe(|| (self.admit)(&facts, change)));
        let state = match decided {
            Ok(Decision::Stands { effect, merged }) => State::Stands { effect, merged },
            Ok(Decision::Verdict(verdict)) => State::Out(verdict),
            Err(_) => State::Out(Verdict::Refused(Refusal::Defect)),
        };
        let after = match &state {
            State::Stands { effect: Some(effect), .. } => {
                Some(crate::fold::row_after(table, before.as_ref(), RowNo(0), effect, Seq(u64::MAX), 0))
            }
            _ => None,
        };
        let lost = recorded_lost(&facts, change);
        Ok(Drafted { before, after, state, lost })
    }

    /// What the server writes for fields that the push's schema did not have, or did not require yet (H7): into a create, and
    /// into a restore, since the row may be older than a field that is required now.
    fn initial(&self, table: &Table, change: &Change) -> BTreeMap<FieldTag, Value> {
        if planted(Planted::InitialForgotten) {
            return BTreeMap::new();
        }
        let known = self.written_under.table(table.tag);
        let not_asked_for = |field: &&Field| {
            let before = known.and_then(|known| known.field(field.tag));
            let optional = before.is_none_or(|before| !before.required);
            match change.op {
                Op::Create => before.is_none() || field.required && optional,
                Op::Restore => field.required && (optional || change.fields.iter().all(|named| named.field != field.tag)),
                Op::Update | Op::Delete | Op::Decide => false,
            }
        };
        let fields = table.fields.iter().filter(not_asked_for);
        fields.filter_map(|field| Some((field.tag, field.initial.clone()?))).collect()
    }
}

/// A change while the push is decided.
struct Drafted {
    before: Option<Row>,
    /// The row as it would be; none where the change has no effect. Its seq and stamps are not final.
    after: Option<Row>,
    state: State,
    /// What lost, as far as it is recorded.
    lost: Vec<LostValue>,
}

enum State {
    Stands { effect: Option<Effect>, merged: bool },
    Out(Verdict),
}

impl Drafted {
    /// The row after the change, while it stands.
    fn standing_after(&self) -> Option<&Row> {
        match &self.state {
            State::Stands { effect: Some(_), .. } => self.after.as_ref(),
            _ => None,
        }
    }

    fn effect(&self) -> Option<&Effect> {
        match &self.state {
            State::Stands { effect, .. } => effect.as_ref(),
            State::Out(_) => None,
        }
    }

    /// Whether the change sets this field, or brings the whole row.
    fn brings(&self, field: FieldTag) -> bool {
        self.effect().is_some_and(|effect| {
            matches!(effect.op, Op::Create | Op::Restore) || effect.fields.iter().any(|(tag, _)| *tag == field)
        })
    }

    /// It did not go through by itself.
    fn failed(&self) -> bool {
        matches!(&self.state, State::Out(verdict) if *verdict != Verdict::Agreed)
    }
}

/// The push as it stands so far.
struct Draft<'a> {
    changes: &'a [Change],
    states: Vec<Drafted>,
    places: BTreeMap<RowKey, usize>,
}

impl Draft<'_> {
    /// A group is admitted whole or not at all: where a member failed, the others are held by it. A decision of a person
    /// changes no row and is always accepted.
    fn close_groups(&mut self) {
        let mut failed: BTreeMap<u16, RowKey> = BTreeMap::new();
        for (change, drafted) in self.changes.iter().zip(&self.states) {
            if let Some(group) = change.group
                && drafted.failed()
            {
                failed.entry(group).or_insert(change.key);
            }
        }
        for (change, drafted) in self.changes.iter().zip(&mut self.states) {
            if let Some(by) = change.group.and_then(|group| failed.get(&group))
                && !drafted.failed()
                && change.op != Op::Decide
                && !planted(Planted::GroupHalfAdmitted)
            {
                drafted.state = State::Out(Verdict::Held { by: *by });
            }
        }
    }

    fn record(self, device: DeviceId, push: &Push) -> PushRecord {
        let mut lost = Vec::new();
        for (change, drafted) in self.changes.iter().zip(&self.states) {
            // What lost is recorded with the decision that goes through; else the client keeps it and sends it again.
            if !drafted.failed() {
                lost.extend(drafted.lost.iter().map(|lost| (change.key, lost.clone())));
            }
        }
        let verdicts = VerdictRuns::of(self.states.iter().map(|drafted| match &drafted.state {
            State::Stands { merged, .. } => Verdict::Accepted { merged: *merged },
            State::Out(verdict) => verdict.clone(),
        }));
        PushRecord {
            device,
            number: push.number,
            hash: push.hash,
            void: false,
            schema: push.schema,
            rows: push.changes.iter().map(|c| RecordedRow { key: c.key, view_base: c.view_base }).collect(),
            verdicts,
            effects: self.states.iter().filter_map(|drafted| drafted.effect().cloned()).collect(),
            lost,
            edited_at_ms: push.changes.iter().map(|change| change.edited_at_ms).max().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
