//! What goes into the next pushes, and in which order (O5, P1, P7). Decides purely; the caller makes it durable.

use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::{Change, Op};
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::ids::{FieldTag, GroupId, RowId, RowKey, Seq};
use tombolo_protocol::limits::{PROVISIONAL_ROUNDS_MAX, PUSH_BYTES_MAX, PUSH_BYTES_REFUSED, PUSH_CHANGES_MAX};
use tombolo_protocol::outbox::{Entry, Pending, change_of, conflict, lift};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Schema, Table};
use tombolo_protocol::value::Value;

/// An entry with its mirror row.
pub(crate) struct Candidate {
    pub entry: Entry,
    pub mirror: Option<Row>,
}

/// What is planned for one push: the lifted changes, in order.
pub(crate) struct Planned {
    pub schema: Seq,
    pub rows: Vec<PlannedRow>,
    /// Canonical size of its changes.
    pub bytes: usize,
}

impl Planned {
    /// Whether changes that must go together are too many for any push.
    pub fn is_too_large(&self) -> bool {
        self.rows.len() > PUSH_CHANGES_MAX || self.bytes > PUSH_BYTES_REFUSED
    }
}

/// A row in a planned push.
pub(crate) struct PlannedRow {
    pub pending: Pending,
    pub change: Change,
}

/// Why a pending change is not sent now; shown to people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It goes with the next push.
    Ready,
    /// Frozen in a push that has no answer yet.
    InFlight,
    /// It waits for another row's change.
    Waiting {
        /// That row.
        on: RowKey,
    },
    /// A person decides between values.
    Conflict,
    /// A person edits or discards it.
    Refused,
}

/// The standing of every entry.
pub(crate) fn standings(
    schema: &Schema,
    cursors: &Cursors,
    candidates: &BTreeMap<RowKey, Candidate>,
) -> BTreeMap<RowKey, Standing> {
    let mut standings: BTreeMap<RowKey, Standing> =
        candidates.iter().map(|(key, candidate)| (*key, own_standing(schema, cursors, candidate))).collect();
    let mut groups: BTreeMap<GroupId, Vec<RowKey>> = BTreeMap::new();
    for (key, candidate) in candidates {
        if let Some(group) = candidate.entry.next.as_ref().and_then(|next| next.group) {
            groups.entry(group).or_default().push(*key);
        }
    }
    // What waits makes others wait, until nothing changes any more.
    loop {
        let mut waiting = Vec::new();
        for (key, candidate) in candidates {
            if standings[key] == Standing::Ready
                && let Some(on) = held_by(schema, candidate, candidates, &groups, &standings)
            {
                waiting.push((*key, on));
            }
        }
        if waiting.is_empty() {
            return standings;
        }
        standings.extend(waiting.into_iter().map(|(key, on)| (key, Standing::Waiting { on })));
    }
}

fn own_standing(schema: &Schema, cursors: &Cursors, candidate: &Candidate) -> Standing {
    let Candidate { entry, mirror } = candidate;
    let Some(next) = entry.next.as_ref().filter(|_| entry.sent.is_none()) else {
        return Standing::InFlight;
    };
    let Some(table) = schema.table(entry.key.table) else { return Standing::Refused };
    if conflict(table, next, mirror.as_ref()).is_some() {
        return Standing::Conflict;
    }
    if next.review.is_some() {
        return Standing::Refused;
    }
    // The row may still come with a fill; its own change is not judged before that.
    let absent = mirror.is_none() && !matches!(next.op, Op::Create | Op::Decide);
    let filling = !cursors.fills.is_empty() || cursors.sections.is_empty();
    if next.rounds > PROVISIONAL_ROUNDS_MAX || (absent && filling) {
        return Standing::Waiting { on: entry.key };
    }
    Standing::Ready
}

/// The first row that holds this one: a member of its group, or a pending new row that it refers to, which does not go.
fn held_by(
    schema: &Schema,
    candidate: &Candidate,
    candidates: &BTreeMap<RowKey, Candidate>,
    groups: &BTreeMap<GroupId, Vec<RowKey>>,
    standings: &BTreeMap<RowKey, Standing>,
) -> Option<RowKey> {
    let next = candidate.entry.next.as_ref()?;
    let goes = |key: &RowKey| matches!(standings.get(key), None | Some(Standing::Ready));
    let member = next.group.and_then(|group| groups[&group].iter().find(|key| !goes(key)).copied());
    member.or_else(|| {
        parents(schema, candidate.entry.key, next).find(|parent| {
            candidates.get(parent).is_some_and(is_new) && !goes(parent) && standings[parent] != Standing::InFlight
        })
    })
}

/// Whether the row exists only in the outbox so far.
fn is_new(candidate: &Candidate) -> bool {
    candidate.mirror.is_none() && candidate.entry.layers().any(|layer| layer.op == Op::Create)
}

/// The rows that a change refers to.
fn parents<'a>(schema: &'a Schema, key: RowKey, pending: &'a Pending) -> impl Iterator<Item = RowKey> + 'a {
    let table = schema.table(key.table);
    let fields = if pending.op == Op::Delete { None } else { Some(&pending.fields) };
    fields.into_iter().flatten().filter_map(move |(field, edit)| {
        let reference = table?.field(*field)?.reference?;
        match edit.value {
            Value::Uuid(id) => Some(RowKey { table: reference.table, id: RowId::from_bytes(id) }),
            _ => None,
        }
    })
}

/// Plans pushes of what is ready: units that go together stay together, parents before children, deletes last, children first.
pub(crate) fn plan(
    schema: &Schema,
    cursors: &Cursors,
    candidates: &BTreeMap<RowKey, Candidate>,
    only: Option<&BTreeSet<RowKey>>,
    changes_max: usize,
) -> Vec<Planned> {
    let standings = standings(schema, cursors, candidates);
    let ready: BTreeMap<RowKey, &Candidate> = candidates
        .iter()
        .filter(|(key, _)| standings[key] == Standing::Ready)
        .map(|(key, candidate)| (*key, candidate))
        .collect();
    let units = ordered_units(schema, units(schema, &ready), &ready);
    let mut pushes: Vec<Planned> = Vec::new();
    let mut groups = 0u16;
    for unit in units {
        if only.is_some_and(|only| !unit.iter().any(|key| only.contains(key))) {
            continue;
        }
        let group = (unit.len() > 1).then_some(groups);
        let rows: Vec<PlannedRow> = unit.iter().map(|key| planned(schema, cursors, ready[key], group)).collect();
        let unit_bytes: usize = rows.iter().map(|row| row.change.canonical_len()).sum();
        let schema_of_unit = unit.iter().map(|key| ready[key].entry.schema).min().unwrap_or_default();
        let fits = pushes.last().is_some_and(|push| {
            push.rows.len() + rows.len() <= changes_max.min(PUSH_CHANGES_MAX) && push.bytes + unit_bytes <= PUSH_BYTES_MAX
        });
        match pushes.last_mut() {
            Some(push) if fits => {
                push.schema = push.schema.min(schema_of_unit);
                push.rows.extend(rows);
                push.bytes += unit_bytes;
            }
            _ => pushes.push(Planned { schema: schema_of_unit, rows, bytes: unit_bytes }),
        }
        groups = groups.wrapping_add(u16::from(group.is_some()));
    }
    // The order of the units stands, but deletions of a mixed group come behind its other changes.
    for push in &mut pushes {
        push.rows.sort_by_key(|row| row.change.op == Op::Delete);
    }
    pushes
}

fn planned(schema: &Schema, cursors: &Cursors, candidate: &Candidate, group: Option<u16>) -> PlannedRow {
    let key = candidate.entry.key;
    let mut pending = candidate.entry.next.clone().expect("a ready entry has a change");
    let table = schema.table(key.table).expect("a ready entry's table is in the schema");
    let section = candidate.mirror.as_ref().and_then(|row| row.section(table));
    let complete = section.and_then(|section| cursors.complete_of(&section));
    if let Some(mirror) = &candidate.mirror {
        lift(&mut pending, mirror, complete);
    }
    let change = change_of(key, &pending, complete.unwrap_or_default(), group);
    PlannedRow { pending, change }
}

/// Rows that are admitted together: groups, reference cycles among new rows, and a unique value that changes hands (P7).
fn units(schema: &Schema, ready: &BTreeMap<RowKey, &Candidate>) -> Vec<Vec<RowKey>> {
    let keys: Vec<RowKey> = ready.keys().copied().collect();
    let index: BTreeMap<RowKey, usize> = keys.iter().enumerate().map(|(index, key)| (*key, index)).collect();
    let mut sets = Sets::new(keys.len());
    let mut first_of_group = BTreeMap::new();
    for (key, candidate) in ready {
        if let Some(group) = candidate.entry.next.as_ref().and_then(|next| next.group) {
            let first = *first_of_group.entry(group).or_insert(index[key]);
            sets.join(first, index[key]);
        }
    }
    for (giver, taker) in handed_over(schema, ready) {
        sets.join(index[&giver], index[&taker]);
    }
    for cycle in cycles(schema, ready, &index) {
        for pair in cycle.windows(2) {
            sets.join(pair[0], pair[1]);
        }
    }
    // Groups that depend on each other in a cycle are one (O7).
    loop {
        let edges: BTreeSet<(usize, usize)> = unit_edges(schema, ready, &index, &mut sets).collect();
        let Some(cycle) = find_cycle(&edges) else { break };
        for pair in cycle.windows(2) {
            sets.join(pair[0], pair[1]);
        }
    }
    let mut units: BTreeMap<usize, Vec<RowKey>> = BTreeMap::new();
    for (position, key) in keys.iter().enumerate() {
        units.entry(sets.find(position)).or_default().push(*key);
    }
    units.into_values().collect()
}

fn unit_edges<'a>(
    schema: &'a Schema,
    ready: &'a BTreeMap<RowKey, &'a Candidate>,
    index: &'a BTreeMap<RowKey, usize>,
    sets: &'a mut Sets,
) -> impl Iterator<Item = (usize, usize)> {
    let mut edges = Vec::new();
    for (key, candidate) in ready {
        for parent in new_parents(schema, candidate, ready) {
            let (child, parent) = (sets.find(index[key]), sets.find(index[&parent]));
            if child != parent {
                edges.push((child, parent));
            }
        }
    }
    edges.into_iter()
}

fn new_parents<'a>(
    schema: &'a Schema,
    candidate: &'a Candidate,
    ready: &'a BTreeMap<RowKey, &'a Candidate>,
) -> impl Iterator<Item = RowKey> + 'a {
    let next = candidate.entry.next.as_ref().expect("a ready entry has a change");
    parents(schema, candidate.entry.key, next)
        .filter(|parent| *parent != candidate.entry.key && ready.get(parent).is_some_and(|parent| is_new(parent)))
}

/// Cycles of references among new rows, each as the positions on it.
fn cycles(schema: &Schema, ready: &BTreeMap<RowKey, &Candidate>, index: &BTreeMap<RowKey, usize>) -> Vec<Vec<usize>> {
    let mut edges = BTreeSet::new();
    for (key, candidate) in ready {
        edges.extend(new_parents(schema, candidate, ready).map(|parent| (index[key], index[&parent])));
    }
    let mut found = Vec::new();
    while let Some(cycle) = find_cycle(&edges) {
        edges.remove(&(cycle[0], cycle[1]));
        found.push(cycle);
    }
    found
}

/// A cycle in a directed graph, as its nodes in order with the first again at the end; without recursion.
fn find_cycle(edges: &BTreeSet<(usize, usize)>) -> Option<Vec<usize>> {
    let mut done: BTreeSet<usize> = BTreeSet::new();
    for (start, _) in edges {
        let mut path = vec![*start];
        let mut tried: Vec<usize> = vec![0];
        while let Some(node) = path.last().copied() {
            let depth = path.len() - 1;
            let next = edges.range((node, 0)..=(node, usize::MAX)).nth(tried[depth]).map(|(_, to)| *to);
            tried[depth] += 1;
            match next {
                None => {
                    done.insert(node);
                    path.pop();
                    tried.pop();
                }
                Some(to) if done.contains(&to) => {}
                Some(to) => match path.iter().position(|on_path| *on_path == to) {
                    Some(from) => {
                        let mut cycle = path.split_off(from);
                        cycle.push(to);
                        return Some(cycle);
                    }
                    None => {
                        path.push(to);
                        tried.push(0);
                    }
                },
            }
        }
    }
    None
}

/// A value of a unique field of a table, in canonical form.
type UniqueValue = (u16, FieldTag, Vec<u8>);

/// Pairs of ready rows where one lets go of a unique value and the other takes it.
fn handed_over(schema: &Schema, ready: &BTreeMap<RowKey, &Candidate>) -> Vec<(RowKey, RowKey)> {
    let mut given: BTreeMap<UniqueValue, RowKey> = BTreeMap::new();
    let mut taken: Vec<(UniqueValue, RowKey)> = Vec::new();
    let place = |key: RowKey, field: FieldTag, value: &Value| {
        let mut bytes = Vec::new();
        value.canonical(&mut bytes);
        (key.table.0, field, bytes)
    };
    for (key, candidate) in ready {
        let Some(table) = schema.table(key.table) else { continue };
        let next = candidate.entry.next.as_ref().expect("a ready entry has a change");
        for field in unique_fields(table) {
            let before = candidate.mirror.as_ref().filter(|row| row.is_live()).map(|row| row.value(field).clone());
            let after = match next.op {
                Op::Delete => Some(Value::Null),
                Op::Decide => None,
                _ => next.fields.get(&field).map(|edit| edit.value.clone()),
            };
            let Some(after) = after.filter(|after| before.as_ref() != Some(after)) else { continue };
            if let Some(before) = before.filter(|value| !value.is_null()) {
                given.insert(place(*key, field, &before), *key);
            }
            if !after.is_null() {
                taken.push((place(*key, field, &after), *key));
            }
        }
    }
    taken.into_iter().filter_map(|(place, taker)| given.get(&place).map(|giver| (*giver, taker))).collect()
}

fn unique_fields(table: &Table) -> impl Iterator<Item = FieldTag> + '_ {
    table.fields.iter().filter(|field| field.unique).map(|field| field.tag)
}

/// Units in an order in which each can be decided: those with new rows before those that refer to them, deletions last.
fn ordered_units(schema: &Schema, units: Vec<Vec<RowKey>>, ready: &BTreeMap<RowKey, &Candidate>) -> Vec<Vec<RowKey>> {
    let unit_of: BTreeMap<RowKey, usize> =
        units.iter().enumerate().flat_map(|(index, unit)| unit.iter().map(move |key| (*key, index))).collect();
    let depths = depths(&units, |unit| {
        let new: Vec<usize> =
            unit.iter().flat_map(|key| new_parents(schema, ready[key], ready)).map(|parent| unit_of[&parent]).collect();
        new
    });
    let deletion_depths = depths_of_deletions(schema, &units, &unit_of, ready);
    let only_deletes =
        |unit: &[RowKey]| unit.iter().all(|key| ready[key].entry.next.as_ref().is_some_and(|next| next.op == Op::Delete));
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_key(|index| (only_deletes(&units[*index]), depths[*index], deletion_depths[*index], *index));
    let mut units: Vec<Option<Vec<RowKey>>> = units.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| units[index].take()).collect()
}

/// Children are deleted before what they refer to.
fn depths_of_deletions(
    schema: &Schema,
    units: &[Vec<RowKey>],
    unit_of: &BTreeMap<RowKey, usize>,
    ready: &BTreeMap<RowKey, &Candidate>,
) -> Vec<usize> {
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (key, candidate) in ready {
        for parent in mirror_parents(schema, candidate) {
            if let Some(parent) = unit_of.get(&parent) {
                children.entry(*parent).or_default().push(unit_of[key]);
            }
        }
    }
    let by_unit: BTreeMap<*const RowKey, usize> =
        units.iter().enumerate().map(|(index, unit)| (unit.as_ptr(), index)).collect();
    depths(units, |unit| children.get(&by_unit[&unit.as_ptr()]).cloned().unwrap_or_default())
}

fn mirror_parents<'a>(schema: &'a Schema, candidate: &'a Candidate) -> impl Iterator<Item = RowKey> + 'a {
    let table = schema.table(candidate.entry.key.table);
    candidate.mirror.iter().flat_map(move |row| {
        row.fields.iter().filter_map(move |(field, stamped)| {
            let reference = table?.field(*field)?.reference?;
            match stamped.value {
                Value::Uuid(id) => Some(RowKey { table: reference.table, id: RowId::from_bytes(id) }),
                _ => None,
            }
        })
    })
}

/// Length of the longest chain behind each unit; a cycle counts once round.
fn depths(units: &[Vec<RowKey>], behind: impl Fn(&[RowKey]) -> Vec<usize>) -> Vec<usize> {
    let edges: Vec<Vec<usize>> = units.iter().map(|unit| behind(unit)).collect();
    let mut depths = vec![0; units.len()];
    for _ in 0..units.len() {
        let mut changed = false;
        for index in 0..units.len() {
            let deepest = edges[index].iter().filter(|to| **to != index).map(|to| depths[*to] + 1).max().unwrap_or(0);
            if deepest > depths[index] && deepest <= units.len() {
                depths[index] = deepest;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    depths
}

/// Disjoint sets.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn find(&mut self, mut position: usize) -> usize {
        while self.0[position] != position {
            self.0[position] = self.0[self.0[position]];
            position = self.0[position];
        }
        position
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::ids::{RowNo, ScopeKey, Section, Version};
    use tombolo_protocol::outbox::Edit;
    use tombolo_protocol::row::{Life, Stamped};
    use tombolo_protocol::schema::CLINIC;

    const PHONE: FieldTag = FieldTag(2);
    const SITE: FieldTag = FieldTag(9);

    fn schema() -> Schema {
        Schema::parse(CLINIC).unwrap()
    }

    fn key(table: u16, id: u8) -> RowKey {
        RowKey { table: tombolo_protocol::ids::TableTag(table), id: RowId::from_bytes([id; 16]) }
    }

    /// A patient of site 1 whose phone is being edited, seen at 40.
    fn patient(id: u8) -> Candidate {
        let stamped = |value| Stamped { value, stamp: Seq(40) };
        let fields = [(PHONE, stamped(Value::text("a"))), (SITE, stamped(Value::Uuid([1; 16])))];
        let row = Row {
            key: key(2, id),
            no: RowNo(1),
            seq: Seq(40),
            ordinal: 0,
            version: Version(1),
            since: Seq(40),
            life: Life::Live,
            fields: fields.into(),
        };
        let mut pending = Pending::new(Op::Update, Seq(40), 0);
        let edit = Edit { value: Value::text("b"), base_value: Some(Value::text("a")), base: Seq(40) };
        pending.fields.insert(PHONE, edit);
        let mut entry = Entry::new(key(2, id), Seq(2));
        entry.next = Some(pending);
        Candidate { entry, mirror: Some(row) }
    }

    fn section() -> Section {
        let scope = ScopeKey { field: SITE, value: RowId::from_bytes([1; 16]) };
        Section { table: tombolo_protocol::ids::TableTag(2), scope: Some(scope) }
    }

    fn cursors_at(complete: u64) -> Cursors {
        let mut cursors = Cursors::default();
        cursors.sections.insert(section());
        cursors.main.complete = Seq(complete);
        cursors
    }

    fn planned_change(cursors: &Cursors) -> Change {
        let candidates = BTreeMap::from([(key(2, 7), patient(7))]);
        plan(&schema(), cursors, &candidates, None, PUSH_CHANGES_MAX).remove(0).rows.remove(0).change
    }

    #[test]
    fn bases_are_lifted_to_what_the_cursor_of_the_section_covers_now() {
        let change = planned_change(&cursors_at(60));
        assert_eq!((change.fields[0].base, change.view_base), (Seq(60), Seq(60)));
    }

    #[test]
    fn t36_nothing_is_lifted_while_the_section_is_refetched_although_others_go_on() {
        let mut cursors = cursors_at(60);
        cursors.refetch(section(), 1);
        let change = planned_change(&cursors);
        assert_eq!((change.fields[0].base, change.view_base), (Seq(40), Seq(0)));
    }

    /// New rows with references, each to the next one.
    fn chain(ids: &[u8], cyclic: bool) -> BTreeMap<RowKey, Candidate> {
        let visit = |id: u8, of: Option<u8>| {
            let mut pending = Pending::new(Op::Create, Seq(0), 0);
            if let Some(of) = of {
                let edit = Edit { value: Value::Uuid([of; 16]), base_value: None, base: Seq(0) };
                pending.fields.insert(FieldTag(1), edit);
            }
            let mut entry = Entry::new(key(1, id), Seq(2));
            entry.next = Some(pending);
            (key(1, id), Candidate { entry, mirror: None })
        };
        let next = |index: usize| ids.get(index + 1).copied().or(cyclic.then(|| ids[0]));
        ids.iter().enumerate().map(|(index, id)| visit(*id, next(index))).collect()
    }

    /// A table whose rows refer to rows of the same table.
    fn people() -> Schema {
        Schema::parse(
            "name = \"people\"\n[[table]]\nname = \"people\"\ntag = 1\ntitle = [\"boss\"]\n\
             [[table.field]]\nname = \"boss\"\ntag = 1\nkind = \"reference\"\nreferences = \"people\"\n",
        )
        .unwrap()
    }

    #[test]
    fn parents_go_before_children_and_a_cycle_goes_together() {
        let cursors = cursors_at(60);
        let order = |candidates: &BTreeMap<RowKey, Candidate>| {
            plan(&people(), &cursors, candidates, None, PUSH_CHANGES_MAX)
                .into_iter()
                .flat_map(|push| push.rows)
                .map(|row| (row.change.key.id.bytes()[0], row.change.group))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&chain(&[1, 5, 3], false)), [(3, None), (5, None), (1, None)]);
        let cycle = order(&chain(&[1, 5, 3], true));
        assert!(cycle.len() == 3 && cycle.iter().all(|(_, group)| *group == Some(0)), "{cycle:?}");
    }

    #[test]
    fn a_push_takes_what_fits_and_the_rest_goes_with_the_next() {
        let candidates: BTreeMap<_, _> = (1..=7).map(|id| (key(2, id), patient(id))).collect();
        let sizes: Vec<usize> =
            plan(&schema(), &cursors_at(60), &candidates, None, 3).iter().map(|push| push.rows.len()).collect();
        assert_eq!(sizes, [3, 3, 1]);
    }
}
