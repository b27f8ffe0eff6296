//! What needs other rows: references, uniqueness and deletions, on the state after all changes that still stand (P7, T20).

use super::{Decider, Draft};
use crate::access::scopes_max;
use crate::fold::{references, unique_key};
use crate::store::StoreError;
use crate::store::read::{Read, UniqueKey};
use crate::store::tables::Tables;
use redb::ReadableTableMetadata;
use std::collections::BTreeMap;
use tombolo_protocol::change::{Op, Refusal, Verdict};
use tombolo_protocol::ids::{FieldTag, RowKey};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{OnDelete, Table};

/// A change that must not stand, and what is said of it.
pub(super) struct Violation {
    pub(super) index: usize,
    pub(super) verdict: Verdict,
}

/// What the rows of the standing changes would have and refer to.
struct Standing {
    unique: BTreeMap<UniqueKey, Vec<usize>>,
    references: BTreeMap<RowKey, Vec<(usize, FieldTag)>>,
}

impl<T: Tables> Decider<'_, T> {
    /// The first violation in push order.
    pub(super) fn first_violation(&self, draft: &Draft<'_>) -> Result<Option<Violation>, StoreError> {
        if let Some(violation) = self.too_many_scopes(draft)? {
            return Ok(Some(violation));
        }
        let standing = self.standing(draft);
        for (index, drafted) in draft.states.iter().enumerate() {
            let Some(after) = drafted.standing_after() else { continue };
            let Some(table) = self.schema.table(after.key.table) else { continue };
            let found = if after.is_live() {
                match self.missing_parent(draft, index, table, after)? {
                    None => self.clash(draft, &standing, index, table, after)?,
                    found => found,
                }
            } else {
                self.still_referenced(draft, &standing, index, after)?
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The last new row of the scope table, where there would be more scopes than a list of sections holds.
    fn too_many_scopes(&self, draft: &Draft<'_>) -> Result<Option<Violation>, StoreError> {
        let is_new_scope = |index: &usize| {
            let effect = draft.states[*index].effect();
            effect.is_some_and(|effect| effect.op == Op::Create && Some(effect.key.table) == self.schema.scope_table)
        };
        let new: Vec<usize> = (0..draft.states.len()).filter(is_new_scope).collect();
        let Some(last) = new.last() else { return Ok(None) };
        let most = scopes_max(self.schema);
        let known = usize::try_from(self.tables.scopes().len()?).unwrap_or(usize::MAX);
        let verdict = || Verdict::Refused(Refusal::TooManyScopes { most: u32::try_from(most).unwrap_or(u32::MAX) });
        Ok((known.saturating_add(new.len()) > most).then(|| Violation { index: *last, verdict: verdict() }))
    }

    fn standing(&self, draft: &Draft<'_>) -> Standing {
        let mut standing = Standing { unique: BTreeMap::new(), references: BTreeMap::new() };
        for (index, drafted) in draft.states.iter().enumerate() {
            let Some(after) = drafted.standing_after() else { continue };
            let Some(table) = self.schema.table(after.key.table) else { continue };
            for key in crate::fold::unique_keys(table, after) {
                standing.unique.entry(key).or_default().push(index);
            }
            for (field, target) in references(table, after) {
                standing.references.entry(target).or_default().push((index, field));
            }
        }
        standing
    }

    /// A reference that the change brings must name a row that is there and that the user may see; a row that is not, or that
    /// this user may not see, is the same answer.
    fn missing_parent(
        &self,
        draft: &Draft<'_>,
        index: usize,
        table: &Table,
        after: &Row,
    ) -> Result<Option<Violation>, StoreError> {
        for (field, target) in references(table, after) {
            if planted(Planted::ParentUnchecked) || !draft.states[index].brings(field) || target == after.key {
                continue;
            }
            let in_push = draft.places.get(&target).copied();
            if let Some(place) = in_push
                && let Some(parent) = draft.states[place].standing_after()
            {
                // Where the parent is being deleted, its deletion is the violation.
                if parent.is_live() || draft.states[place].before.as_ref().is_some_and(Row::is_live) {
                    continue;
                }
            }
            let kept = reference_of(table, field) == Some(OnDelete::Keep);
            let parent = self.tables.row(&target)?.filter(|row| self.rights.may_see(self.schema, row));
            if parent.is_some_and(|row| row.is_live() || kept) {
                continue;
            }
            let waits = in_push.is_some_and(|place| matches!(draft.changes[place].op, Op::Create | Op::Restore));
            let verdict = if waits {
                Verdict::Held { by: target }
            } else {
                Verdict::Refused(Refusal::MissingParent { field, parent: target.id })
            };
            return Ok(Some(Violation { index, verdict }));
        }
        Ok(None)
    }

    /// A value of a unique field that the change brings must not be that of another row. Where both rows got it in this push,
    /// the later change is refused.
    fn clash(
        &self,
        draft: &Draft<'_>,
        standing: &Standing,
        index: usize,
        table: &Table,
        after: &Row,
    ) -> Result<Option<Violation>, StoreError> {
        for field in table.fields.iter().filter(|field| field.unique).map(|field| field.tag) {
            let brings = |index: usize| {
                let drafted = &draft.states[index];
                drafted.brings(field) || table.scope.is_some_and(|scope| drafted.brings(scope))
            };
            let Some(key) = unique_key(table, after, field).filter(|_| brings(index) && !planted(Planted::UniqueUnchecked))
            else {
                continue;
            };
            let rival = standing.unique.get(&key).into_iter().flatten().copied().find(|other| *other != index);
            if let Some(rival) = rival {
                let refused = if brings(rival) { rival.max(index) } else { index };
                let other = if refused == index { rival } else { index };
                let with = draft.states[other].standing_after().filter(|row| self.rights.may_see(self.schema, row));
                let verdict = Verdict::Clash { field, with: with.map(|row| row.key.id) };
                return Ok(Some(Violation { index: refused, verdict }));
            }
            let Some(holder) = self.tables.unique_holder(&key)? else { continue };
            let holder = self.tables.row_numbered(holder)?;
            let holder = holder.ok_or_else(|| StoreError::damaged("a unique value of a row that is not there"))?;
            let changed_here = draft.places.get(&holder.key).and_then(|place| draft.states[*place].standing_after());
            if holder.key == after.key || changed_here.is_some() {
                continue;
            }
            let with = self.rights.may_see(self.schema, &holder).then_some(holder.key.id);
            return Ok(Some(Violation { index, verdict: Verdict::Clash { field, with } }));
        }
        Ok(None)
    }

    /// A row that live rows refer to is not deleted, unless their field says that the reference may stay.
    fn still_referenced(
        &self,
        draft: &Draft<'_>,
        standing: &Standing,
        index: usize,
        after: &Row,
    ) -> Result<Option<Violation>, StoreError> {
        for (other, field) in standing.references.get(&after.key).into_iter().flatten().copied() {
            let Some(referrer) = draft.states[other].standing_after().filter(|_| other != index) else { continue };
            let table = self.schema.table(referrer.key.table);
            if table.and_then(|table| reference_of(table, field)) != Some(OnDelete::Refuse) {
                continue;
            }
            if draft.states[other].brings(field) && other > index {
                let verdict = Verdict::Refused(Refusal::MissingParent { field, parent: after.key.id });
                return Ok(Some(Violation { index: other, verdict }));
            }
            return Ok(Some(Violation { index, verdict: self.referenced_by(referrer) }));
        }
        if planted(Planted::ReferrersUnchecked) {
            return Ok(None);
        }
        // Rows of this push are looked at above, so each field is read at most as far as the first row that is none of them.
        for (table, field) in self.schema.referrers(after.key.table) {
            if reference_of(table, field.tag) != Some(OnDelete::Refuse) {
                continue;
            }
            for number in self.tables.referrers(&after.key, table.tag, field.tag)? {
                let row = self.tables.row_numbered(number?)?;
                let row = row.ok_or_else(|| StoreError::damaged("a reference of a row that is not there"))?;
                let place = draft.places.get(&row.key);
                if place.is_none_or(|place| draft.states[*place].standing_after().is_none()) {
                    return Ok(Some(Violation { index, verdict: self.referenced_by(&row) }));
                }
            }
        }
        Ok(None)
    }

    fn referenced_by(&self, row: &Row) -> Verdict {
        let by = self.rights.may_see(self.schema, row).then_some(row.key);
        Verdict::Refused(Refusal::Referenced { by })
    }
}

fn reference_of(table: &Table, field: FieldTag) -> Option<OnDelete> {
    table.field(field)?.reference.map(|reference| reference.on_delete)
}
