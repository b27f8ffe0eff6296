//! What planning knows of the outbox: little of each entry, since there may be a hundred thousand.

use super::Standing;
use std::collections::{BTreeMap, VecDeque};
use tombolo_protocol::change::Op;
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::ids::{FieldTag, GroupId, RowId, RowKey, Seq, TableTag};
use tombolo_protocol::limits::PROVISIONAL_ROUNDS_MAX;
use tombolo_protocol::outbox::{Entry, Pending, change_of, conflict};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Schema, Table};
use tombolo_protocol::value::Value;

/// How an entry stands by itself, whatever others do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Own {
    /// Nothing of its own holds it.
    Ready,
    /// It came back too often in this sync, and goes with the next one (C6).
    Resting,
    /// Its row may still come with a fill; it is not judged before that.
    Absent,
    /// Frozen in a push that has no answer yet.
    InFlight,
    /// A person decides between values.
    Conflict,
    /// A person edits or discards it.
    Refused,
}

/// How an entry stands by itself.
pub(crate) fn own_standing(schema: &Schema, cursors: &Cursors, entry: &Entry, mirror: Option<&Row>) -> Own {
    let Some(next) = entry.next.as_ref().filter(|_| entry.sent.is_none() || planted(Planted::InFlightFrozenAgain)) else {
        return Own::InFlight;
    };
    let Some(table) = schema.table(entry.key.table) else { return Own::Refused };
    if conflict(table, next, mirror).is_some() && !planted(Planted::ConflictSent) {
        return Own::Conflict;
    }
    if next.review.is_some() {
        return Own::Refused;
    }
    let absent = mirror.is_none() && !matches!(next.op, Op::Create | Op::Decide);
    match (absent && cursors.are_filling(), next.rounds > PROVISIONAL_ROUNDS_MAX) {
        (true, _) => Own::Absent,
        (false, true) => Own::Resting,
        (false, false) => Own::Ready,
    }
}

/// A value of a unique field of a table, in canonical form.
pub(super) type UniqueValue = (TableTag, FieldTag, Vec<u8>);

/// What planning knows of an entry.
#[derive(Debug)]
pub(crate) struct Brief {
    pub(super) own: Own,
    pub(super) op: Op,
    pub(super) group: Option<GroupId>,
    /// The schema under which the entry was begun.
    pub(super) schema: Seq,
    /// Canonical size of the change.
    pub(super) bytes: usize,
    /// The row is there only when a change of this entry went through.
    brings: bool,
    /// The rows that the change refers to.
    refers: Vec<RowKey>,
    /// The rows that the confirmed row refers to, and would not any more.
    pub(super) lets_go: Vec<RowKey>,
    /// Unique values that the row has, and would not any more.
    pub(super) gives: Vec<UniqueValue>,
    /// Unique values that it would have.
    pub(super) takes: Vec<UniqueValue>,
}

impl Brief {
    fn of(schema: &Schema, cursors: &Cursors, entry: &Entry, mirror: Option<&Row>) -> Self {
        let live = mirror.filter(|row| row.is_live());
        let mut brief = Self {
            own: own_standing(schema, cursors, entry, mirror),
            op: Op::Decide,
            group: None,
            schema: entry.schema,
            bytes: 0,
            brings: live.is_none() && entry.layers().any(|layer| matches!(layer.op, Op::Create | Op::Restore)),
            refers: Vec::new(),
            lets_go: Vec::new(),
            gives: Vec::new(),
            takes: Vec::new(),
        };
        if let (Some(next), Some(table)) = (&entry.next, schema.table(entry.key.table)) {
            (brief.op, brief.group) = (next.op, next.group);
            brief.bytes = change_of(entry.key, next, Seq(0), None).canonical_len();
            brief.look_at_fields(table, next, live);
        }
        brief
    }

    fn look_at_fields(&mut self, table: &Table, next: &Pending, live: Option<&Row>) {
        for field in table.fields.iter().filter(|field| field.unique || field.reference.is_some()) {
            let before = live.map(|row| row.value(field.tag));
            let after = match next.op {
                Op::Delete => Some(&Value::Null),
                Op::Decide => None,
                _ => next.fields.get(&field.tag).map(|edit| &edit.value),
            };
            let target = |value: Option<&Value>| match (field.reference, value) {
                (Some(reference), Some(Value::Uuid(id))) => Some(RowKey { table: reference.table, id: RowId::from_bytes(*id) }),
                _ => None,
            };
            self.refers.extend(target(after));
            let Some(after) = after.filter(|after| before != Some(after)) else { continue };
            self.lets_go.extend(target(before));
            if field.unique {
                let place = |value: &Value| {
                    let mut bytes = Vec::new();
                    value.canonical(&mut bytes);
                    (table.tag, field.tag, bytes)
                };
                self.gives.extend(before.filter(|value| !value.is_null()).map(place));
                self.takes.extend(Some(after).filter(|value| !value.is_null()).map(place));
            }
        }
    }
}

/// The outbox in outline, by table and id.
pub(crate) struct Outline {
    rows: Vec<(RowKey, Brief)>,
    standings: Vec<Standing>,
}

impl Outline {
    /// Takes the outbox, entry by entry with its mirror row.
    pub fn of<E>(
        schema: &Schema,
        cursors: &Cursors,
        entries: impl Iterator<Item = Result<(Entry, Option<Row>), E>>,
    ) -> Result<Self, E> {
        let mut rows = entries
            .map(|item| item.map(|(entry, mirror)| (entry.key, Brief::of(schema, cursors, &entry, mirror.as_ref()))))
            .collect::<Result<Vec<_>, E>>()?;
        rows.sort_unstable_by_key(|(key, _)| *key);
        let mut outline = Self { rows, standings: Vec::new() };
        outline.standings = outline.judge();
        Ok(outline)
    }

    /// The standing of every entry.
    pub fn standings(self) -> BTreeMap<RowKey, Standing> {
        self.rows.into_iter().map(|(key, _)| key).zip(self.standings).collect()
    }

    /// The places of what goes.
    pub(super) fn ready(&self) -> Vec<usize> {
        (0..self.rows.len()).filter(|at| self.brief(*at).own == Own::Ready && self.standings[*at] == Standing::Ready).collect()
    }

    pub(super) fn key(&self, at: usize) -> RowKey {
        self.rows[at].0
    }

    pub(super) fn brief(&self, at: usize) -> &Brief {
        &self.rows[at].1
    }

    pub(super) fn place(&self, key: &RowKey) -> Option<usize> {
        self.rows.binary_search_by_key(key, |(key, _)| *key).ok()
    }

    /// The rows that a change refers to and that are there only once their own changes went through.
    pub(super) fn new_parents(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let places = self.brief(at).refers.iter().filter_map(|key| self.place(key));
        places.filter(move |parent| *parent != at && self.brief(*parent).brings)
    }

    /// What does not go holds its group and the rows that refer to what it would bring, and those hold others in turn. A new row
    /// in flight holds nobody: what refers to it goes behind it.
    fn judge(&self) -> Vec<Standing> {
        let mut groups: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.rows.len() {
            if let Some(group) = self.brief(at).group {
                groups.entry(group).or_default().push(at);
            }
            self.new_parents(at).for_each(|parent| children.entry(parent).or_default().push(at));
        }
        let mut standings: Vec<Standing> = self
            .rows
            .iter()
            .map(|(key, brief)| match brief.own {
                Own::Ready | Own::Resting => Standing::Ready,
                Own::Absent => Standing::Waiting { on: *key },
                Own::InFlight => Standing::InFlight,
                Own::Conflict => Standing::Conflict,
                Own::Refused => Standing::Refused,
            })
            .collect();
        let mut holders: VecDeque<usize> = (0..self.rows.len()).filter(|at| self.brief(*at).own != Own::Ready).collect();
        while let Some(holder) = holders.pop_front() {
            let brief = self.brief(holder);
            let members = brief.group.and_then(|group| groups.get(&group)).into_iter().flatten();
            let behind = children.get(&holder).filter(|_| brief.own != Own::InFlight).into_iter().flatten();
            for held in members.chain(behind) {
                if self.brief(*held).own == Own::Ready && standings[*held] == Standing::Ready {
                    standings[*held] = Standing::Waiting { on: self.key(holder) };
                    holders.push_back(*held);
                }
            }
        }
        standings
    }
}
