//! The changes of a push together: groups, references, uniqueness and deletions, on the state after all that still stand (P7).

use super::{Deciding, Expected, Row, apply};
use std::collections::BTreeMap;
use tombolo_client::protocol::change::{Change, Effect, Op, Refusal};
use tombolo_client::protocol::ids::{FieldTag, RowId, RowKey, Seq};
use tombolo_client::protocol::schema::{Field, OnDelete, Table};
use tombolo_client::protocol::value::Value;

/// The stamp of what is not in the log yet.
const NOT_YET: Seq = Seq(u64::MAX);

/// The push as far as it still stands.
struct Standing<'a> {
    changes: &'a [Change],
    /// The effects of what stands.
    effects: Vec<Option<&'a Effect>>,
    /// The rows after them.
    rows: BTreeMap<RowKey, Row>,
}

/// A change that must not stand.
type Violation = (usize, Expected);

impl Deciding<'_> {
    /// Takes out what cannot stand: of the changes that take part in a violation the last one, until there is none. The first
    /// violation in push order is looked at first.
    pub(super) fn together(&self, changes: &[Change], verdicts: &mut [Expected], effects: &[Option<Effect>]) {
        loop {
            hold_groups(changes, verdicts);
            let standing = self.standing(changes, verdicts, effects);
            let found = (0..changes.len()).find_map(|index| self.violation(&standing, index));
            let Some((index, expected)) = found else { return };
            verdicts[index] = expected;
        }
    }

    fn standing<'a>(&self, changes: &'a [Change], verdicts: &[Expected], effects: &'a [Option<Effect>]) -> Standing<'a> {
        let stands = |verdict: &Expected| matches!(verdict, Expected::Accepted { .. });
        let effects: Vec<Option<&Effect>> =
            effects.iter().zip(verdicts).map(|(effect, verdict)| effect.as_ref().filter(|_| stands(verdict))).collect();
        let mut rows = self.model.rows.clone();
        for effect in effects.iter().flatten() {
            if let Some(table) = self.table(effect.key) {
                apply(&mut rows, table, effect, (NOT_YET, 0));
            }
        }
        Standing { changes, effects, rows }
    }

    fn violation(&self, standing: &Standing<'_>, index: usize) -> Option<Violation> {
        let effect = standing.effects[index]?;
        let (table, row) = (self.table(effect.key)?, standing.rows.get(&effect.key)?);
        if row.live {
            self.missing_parent(standing, index, table, row).or_else(|| self.clash(standing, index, table, row))
        } else {
            self.still_referenced(standing, index, effect.key)
        }
    }

    /// A reference that the change brings names a row that is there and that the user may see. Where the push deletes that row, the
    /// deletion takes part too, and is looked at there.
    fn missing_parent(&self, standing: &Standing<'_>, index: usize, table: &Table, row: &Row) -> Option<Violation> {
        for (field, target) in references(table, row).filter(|(field, _)| standing.brings(index, field.tag)) {
            let parent = standing.rows.get(&target).filter(|parent| self.may_see(target, parent));
            let place = standing.place(target);
            let deletes = place.and_then(|place| standing.effects[place]).is_some_and(|effect| effect.op == Op::Delete);
            if parent.is_some_and(|parent| parent.live || deletes || may_dangle(field)) {
                continue;
            }
            let is_made = place.is_some_and(|place| matches!(standing.changes[place].op, Op::Create | Op::Restore));
            let refusal = Refusal::MissingParent { field: field.tag, parent: target.id };
            return Some((index, if is_made { Expected::Held(target) } else { Expected::Refused(refusal) }));
        }
        None
    }

    /// No two live rows of a table, or of a scope value, have the same value in a unique field. A change takes part where it brings
    /// the value or the scope. The row that is named is one of this push, if there is one.
    fn clash(&self, standing: &Standing<'_>, index: usize, table: &Table, row: &Row) -> Option<Violation> {
        let key = standing.changes[index].key;
        for field in table.fields.iter().filter(|field| field.unique).map(|field| field.tag) {
            let takes_part =
                |index: usize| standing.brings(index, field) || table.scope.is_some_and(|scope| standing.brings(index, scope));
            if *row.value(field) == Value::Null || !takes_part(index) {
                continue;
            }
            let is_rival = |(other, there): &(&RowKey, &Row)| {
                **other != key
                    && other.table == key.table
                    && there.live
                    && there.value(field) == row.value(field)
                    && there.scope(table) == row.scope(table)
            };
            let rivals = standing.rows.iter().filter(is_rival).map(|(rival, _)| *rival);
            let Some(rival) = rivals.min_by_key(|rival| standing.stands(*rival).unwrap_or(usize::MAX)) else { continue };
            let out = standing.stands(rival).filter(|rival| takes_part(*rival)).map_or(index, |rival| rival.max(index));
            let with = if out == index { rival } else { key };
            let with = standing.rows.get(&with).filter(|row| self.may_see(with, row)).map(|_| with.id);
            return Some((out, Expected::Clash { field, with }));
        }
        None
    }

    /// A row that live rows refer to is not deleted, unless their field lets the reference dangle. Where the other row got its
    /// reference in this push, the later of the two changes goes. The row that is named is one of this push, if there is one, else
    /// the first by table, field and row number.
    fn still_referenced(&self, standing: &Standing<'_>, index: usize, deleted: RowKey) -> Option<Violation> {
        let mut referrers = Vec::new();
        for (key, row) in standing.rows.iter().filter(|(_, row)| row.live) {
            let Some(table) = self.table(*key) else { continue };
            let here = references(table, row).filter(|(field, target)| *target == deleted && !may_dangle(field));
            referrers.extend(here.map(|(field, _)| (standing.stands(*key).unwrap_or(usize::MAX), *key, field.tag, row.number)));
        }
        referrers.sort_by_key(|(place, key, field, number)| (*place, key.table, *field, *number));
        let (place, by, field, _) = referrers.into_iter().next()?;
        if place > index && place < usize::MAX && standing.brings(place, field) {
            return Some((place, Expected::Refused(Refusal::MissingParent { field, parent: deleted.id })));
        }
        let by = standing.rows.get(&by).filter(|row| self.may_see(by, row)).map(|_| by);
        Some((index, Expected::Refused(Refusal::Referenced { by })))
    }
}

impl Standing<'_> {
    /// The place of the change of a row, whether or not it stands.
    fn place(&self, key: RowKey) -> Option<usize> {
        self.changes.iter().position(|change| change.key == key)
    }

    /// The place of the change of a row, if it stands.
    fn stands(&self, key: RowKey) -> Option<usize> {
        self.place(key).filter(|place| self.effects[*place].is_some())
    }

    /// Whether a change that stands brings a field: it sets it, or it brings the whole row.
    fn brings(&self, index: usize, field: FieldTag) -> bool {
        let brings = |effect: &Effect| {
            matches!(effect.op, Op::Create | Op::Restore) || effect.fields.iter().any(|(brought, _)| *brought == field)
        };
        self.effects[index].is_some_and(brings)
    }
}

/// Of a group all go through or none: where a member does not, the others are held by the first such. A person's decision changes
/// no row and is held by nothing.
fn hold_groups(changes: &[Change], verdicts: &mut [Expected]) {
    let goes_through = |verdict: &Expected| matches!(verdict, Expected::Accepted { .. } | Expected::Agreed);
    let mut holds: BTreeMap<u16, RowKey> = BTreeMap::new();
    for (change, _) in changes.iter().zip(&*verdicts).filter(|(_, verdict)| !goes_through(verdict)) {
        if let Some(group) = change.group {
            holds.entry(group).or_insert(change.key);
        }
    }
    for (change, verdict) in changes.iter().zip(verdicts).filter(|(change, _)| change.op != Op::Decide) {
        if let Some(by) = change.group.and_then(|group| holds.get(&group)).filter(|_| goes_through(verdict)) {
            *verdict = Expected::Held(*by);
        }
    }
}

/// The rows that a row refers to.
fn references<'a>(table: &'a Table, row: &'a Row) -> impl Iterator<Item = (&'a Field, RowKey)> {
    table.fields.iter().filter_map(|field| match (field.reference, row.value(field.tag)) {
        (Some(reference), Value::Uuid(id)) => Some((field, RowKey { table: reference.table, id: RowId::from_bytes(*id) })),
        _ => None,
    })
}

fn may_dangle(field: &Field) -> bool {
    field.reference.is_some_and(|reference| reference.on_delete == OnDelete::Keep)
}
