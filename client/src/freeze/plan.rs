//! The order of pushes: units that go together stay together, parents before children, deletions last, children first (P7).

use super::graph::{Sets, components};
use super::outline::{Outline, UniqueValue};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::Op;
use tombolo_protocol::ids::{GroupId, RowKey, Seq};
use tombolo_protocol::limits::{PUSH_BYTES_MAX, PUSH_BYTES_REFUSED, PUSH_CHANGES_MAX};
use tombolo_protocol::planted::{Planted, planted};

/// What is planned for one push: its rows in order, each with its group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Planned {
    pub rows: Vec<(RowKey, Option<u16>)>,
    /// Canonical size of its changes.
    pub bytes: usize,
}

impl Planned {
    /// Whether changes that must go together are too many for any push.
    pub fn is_too_large(&self) -> bool {
        self.rows.len() > PUSH_CHANGES_MAX || self.bytes > PUSH_BYTES_REFUSED
    }
}

/// Rows that are admitted together, as places in the outline, ascending.
struct Unit {
    rows: Vec<usize>,
    /// The units that must go before it.
    behind: Vec<usize>,
    /// Length of the longest chain of units behind which it goes.
    depth: usize,
    /// It only deletes, and so does everything that goes behind it.
    late: bool,
    /// The oldest schema under which any of it was begun.
    schema: Seq,
    wanted: bool,
}

/// Plans pushes of what is ready. A push names one schema, and the server writes initial values into what was made before their
/// fields came (H7): what was begun under another schema goes in another push, unless it is admitted together. With `only`, these
/// rows go, with what is admitted together with them and what must go before.
pub(crate) fn plan(outline: &Outline, only: Option<&BTreeSet<RowKey>>, changes_max: usize) -> Vec<Planned> {
    let mut units = units(outline, only);
    units.retain(|unit| unit.wanted);
    units.sort_by_key(|unit| (unit.late, unit.depth, unit.schema, unit.rows[0]));
    let changes_max = changes_max.min(PUSH_CHANGES_MAX);
    let mut pushes: Vec<Planned> = Vec::new();
    let (mut groups, mut last_schema) = (0u16, None);
    for Unit { mut rows, schema, .. } in units {
        rows.sort_by_key(|at| outline.brief(*at).op == Op::Delete);
        let group = (rows.len() > 1).then_some(groups);
        groups = groups.wrapping_add(u16::from(group.is_some()));
        let bytes: usize = rows.iter().map(|at| outline.brief(*at).bytes).sum();
        let has_room = pushes
            .last()
            .is_some_and(|push| push.rows.len() + rows.len() <= changes_max && push.bytes + bytes <= PUSH_BYTES_MAX);
        if last_schema.replace(schema) != Some(schema) || !has_room {
            pushes.push(Planned::default());
        }
        if let Some(push) = pushes.last_mut() {
            push.rows.extend(rows.into_iter().map(|at| (outline.key(at), group)));
            push.bytes += bytes;
        }
    }
    pushes
}

/// The units of what is ready: groups, reference cycles, and a unique value that changes hands. Each stands behind those that
/// must go before it.
fn units(outline: &Outline, only: Option<&BTreeSet<RowKey>>) -> Vec<Unit> {
    let ready: Vec<usize> = outline.ready();
    let mut sets = Sets::new(ready.len());
    if !planted(Planted::GroupSplit) {
        join_groups(outline, &ready, &mut sets);
    }
    join_handed_over(outline, &ready, &mut sets);
    // One node for each set; a set is named by its first member, so its node is known when another is met.
    let mut node_of = vec![usize::MAX; ready.len()];
    let mut nodes = 0;
    for member in 0..ready.len() {
        let first = sets.find(member);
        if first == member {
            node_of[member] = nodes;
            nodes += 1;
        } else {
            node_of[member] = node_of[first];
        }
    }
    let edges = edges(outline, &ready, &node_of, nodes);
    // Sets that depend on each other in a cycle are one unit (O7, P7).
    let components = components(&edges);
    let mut unit_of = vec![0; nodes];
    for (unit, component) in components.iter().enumerate() {
        component.iter().for_each(|node| unit_of[*node] = unit);
    }
    let mut units: Vec<Unit> = Vec::with_capacity(components.len());
    for (index, component) in components.iter().enumerate() {
        let mut behind: Vec<usize> =
            component.iter().flat_map(|node| &edges[*node]).map(|node| unit_of[*node]).filter(|unit| *unit != index).collect();
        behind.sort_unstable();
        behind.dedup();
        let depth = behind.iter().map(|unit| units[*unit].depth + 1).max().unwrap_or(0);
        units.push(Unit { rows: Vec::new(), behind, depth, late: true, schema: Seq(u64::MAX), wanted: only.is_none() });
    }
    for (member, at) in ready.iter().enumerate() {
        let unit = &mut units[unit_of[node_of[member]]];
        unit.rows.push(*at);
        unit.schema = unit.schema.min(outline.brief(*at).schema);
        unit.late &= outline.brief(*at).op == Op::Delete;
        unit.wanted |= only.is_some_and(|only| only.contains(&outline.key(*at)));
    }
    // From those behind to those before: what must go before goes along.
    for index in (0..units.len()).rev() {
        let Unit { late, wanted, .. } = units[index];
        for before in std::mem::take(&mut units[index].behind) {
            units[before].late &= late;
            units[before].wanted |= wanted;
        }
    }
    units
}

fn join_groups(outline: &Outline, ready: &[usize], sets: &mut Sets) {
    let mut first_of: BTreeMap<GroupId, usize> = BTreeMap::new();
    for (member, at) in ready.iter().enumerate() {
        if let Some(group) = outline.brief(*at).group {
            sets.join(*first_of.entry(group).or_insert(member), member);
        }
    }
}

/// Rows where one lets go of a unique value and the other takes it.
fn join_handed_over(outline: &Outline, ready: &[usize], sets: &mut Sets) {
    let mut given: BTreeMap<&UniqueValue, usize> = BTreeMap::new();
    for (member, at) in ready.iter().enumerate() {
        given.extend(outline.brief(*at).gives.iter().map(|value| (value, member)));
    }
    for (member, at) in ready.iter().enumerate() {
        for giver in outline.brief(*at).takes.iter().filter_map(|value| given.get(value)) {
            sets.join(*giver, member);
        }
    }
}

/// From each node to those that must go before it: new rows before what refers to them, and before a deletion what lets go of
/// the deleted row.
fn edges(outline: &Outline, ready: &[usize], node_of: &[usize], nodes: usize) -> Vec<Vec<usize>> {
    let mut edges = vec![Vec::new(); nodes];
    let node_at = |at: usize| ready.binary_search(&at).ok().map(|member| node_of[member]);
    for (member, at) in ready.iter().enumerate() {
        let (node, brief) = (node_of[member], outline.brief(*at));
        for before in outline.new_parents(*at).filter_map(node_at).filter(|before| *before != node) {
            edges[node].push(before);
        }
        for target in &brief.lets_go {
            let target = outline.place(target).filter(|target| outline.brief(*target).op == Op::Delete).and_then(node_at);
            if let Some(deleted) = target.filter(|deleted| *deleted != node) {
                edges[deleted].push(node);
            }
        }
    }
    edges
}
