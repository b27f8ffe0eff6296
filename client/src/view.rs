//! What the app shows: mirror overlaid with outbox, computed and never stored (section 2).

use crate::freeze::Standing;
use crate::pushes::all_standings;
use crate::store::{AuthorRecord, MirrorRow, ReadTables, StoreError};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use tombolo_protocol::change::{LostValue, Op};
use tombolo_protocol::ids::{FieldTag, GroupId, RowId, RowKey, TableTag, Version};
use tombolo_protocol::outbox::{Conflict, ConflictKind, Entry, Pending, Review, Seen, conflict, shown};
use tombolo_protocol::row::{Life, Row};
use tombolo_protocol::schema::{Field, FieldProblem, Schema, Table};
use tombolo_protocol::value::Value;

/// How a shown row stands; conflict before refused before pending.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RowStanding {
    /// As the server has it.
    Clean,
    /// With changes that the server does not have yet.
    Pending,
    /// With a change that was refused.
    Refused,
    /// With a conflict to decide.
    Conflict,
}

/// A shown row.
#[derive(Clone, PartialEq, Debug)]
pub struct RowView {
    /// Which row.
    pub key: RowKey,
    /// The version of the confirmed row, for people; zero for a new row.
    pub version: Version,
    /// What a write gives back as its base.
    pub seen: Seen,
    /// How it stands.
    pub standing: RowStanding,
    /// Its values; null where absent.
    pub values: BTreeMap<FieldTag, Value>,
}

impl RowView {
    /// The value of a field.
    pub fn value(&self, field: FieldTag) -> &Value {
        self.values.get(&field).unwrap_or(&Value::Null)
    }
}

/// Which rows to list.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Query {
    /// Fields that must have these values.
    pub equal: Vec<(FieldTag, Value)>,
    /// Sort by this field; by id without it.
    pub sort: Option<FieldTag>,
    /// Greatest first.
    pub descending: bool,
    /// Rows left out at the beginning.
    pub offset: usize,
    /// Most rows returned.
    pub limit: Option<usize>,
}

/// A pending change as it is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct PendingView {
    /// The row.
    pub key: RowKey,
    /// The change: what is in flight, or what comes next.
    pub change: Pending,
    /// Where it stands.
    pub standing: Standing,
    /// The server's row, where the mirror holds it.
    pub mirror: Option<Row>,
}

/// A conflict as it is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct ConflictView {
    /// The row.
    pub key: RowKey,
    /// What clashes.
    pub conflict: Conflict,
    /// My change.
    pub mine: Pending,
    /// The server's row: what a decision is based on.
    pub server: Option<Row>,
    /// Who changed the server's side last, and when.
    pub author: Option<AuthorRecord>,
    /// Values that lost in earlier decisions of this row.
    pub lost: Vec<LostValue>,
    /// What others replaced since I saw it, in fields that mine does not touch, as far as this device kept it.
    pub replaced: BTreeMap<FieldTag, Value>,
    /// All pending changes of the group that mine belongs to, by table and id; empty where it goes alone.
    pub group: Arc<Vec<(RowKey, Pending)>>,
}

impl ConflictView {
    /// What I saw in a field before I changed anything; `None` where that is not known.
    pub fn base(&self, field: FieldTag) -> Option<&Value> {
        let edit = self.mine.fields.get(&field);
        if self.mine.op == Op::Create {
            return Some(&Value::Null);
        }
        // The server's row is another one in a clash, and one that was purged has no values: they say nothing of mine.
        let own = self.server.as_ref().filter(|row| row.key == self.key && row.life != Life::Purged);
        let unmoved = || own.filter(|row| row.stamp(field) <= self.mine.row_base).map(|row| row.value(field));
        edit.map_or_else(|| unmoved().or(self.replaced.get(&field)), |edit| edit.base_value.as_ref())
    }

    /// The pending changes of other rows that go together with mine: they are sent with it, and given up with it.
    pub fn together(&self) -> impl Iterator<Item = &(RowKey, Pending)> {
        self.group.iter().filter(|(key, _)| *key != self.key)
    }

    /// Whether these are what goes together with mine, each change doing the same.
    pub fn is_together_with<'a>(&self, others: impl IntoIterator<Item = (RowKey, &'a Pending)>) -> bool {
        let mut others = others.into_iter();
        let mut is_next = |(key, shown): &(RowKey, Pending)| {
            others.next().is_some_and(|(other, pending)| *key == other && shown.does_the_same(pending))
        };
        self.together().all(&mut is_next) && others.next().is_none()
    }
}

/// A value that the server will not accept.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem<'a> {
    /// The field.
    pub field: &'a Field,
    /// What is wrong.
    pub problem: FieldProblem,
}

/// What the server will say of these values: all fields of a new row, or the touched ones of a row that is there.
pub fn check<'a>(table: &'a Table, values: &BTreeMap<FieldTag, Value>, new: bool) -> Vec<Problem<'a>> {
    table
        .fields
        .iter()
        .filter(|field| new || values.contains_key(&field.tag))
        .filter_map(|field| {
            let value = values.get(&field.tag).unwrap_or(&Value::Null);
            field.check(value).err().map(|problem| Problem { field, problem })
        })
        .collect()
}

fn view(table: &Table, key: RowKey, history: u32, mirror: Option<&Row>, entry: Option<&Entry>) -> Option<RowView> {
    let values = shown(mirror, entry)?;
    let row = mirror.or(entry.and_then(|entry| entry.kept.as_ref()));
    Some(RowView {
        key,
        version: mirror.map_or(Version(0), |row| row.version),
        seen: Seen::of(history, row, entry),
        standing: entry.map_or(RowStanding::Clean, |entry| standing(table, mirror, entry)),
        values,
    })
}

fn standing(table: &Table, mirror: Option<&Row>, entry: &Entry) -> RowStanding {
    match &entry.next {
        Some(next) if entry.sent.is_none() && conflict(table, next, mirror).is_some() => RowStanding::Conflict,
        Some(next) if next.review.is_some() => RowStanding::Refused,
        _ => RowStanding::Pending,
    }
}

/// A row as it is shown; `None` where it is not there.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn get(tables: &ReadTables, schema: &Schema, key: RowKey) -> Result<Option<RowView>, StoreError> {
    let Some(table) = schema.table(key.table) else { return Ok(None) };
    let mirror = tables.mirror(key)?.map(|held| held.row);
    let history = tables.sync_state()?.recovery_copies;
    Ok(view(table, key, history, mirror.as_ref(), tables.entry(key)?.as_ref()))
}

/// The values of a row as it is shown, or, where it is not there any more, the last ones that are known of it.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn last_values(tables: &ReadTables, key: RowKey) -> Result<Option<BTreeMap<FieldTag, Value>>, StoreError> {
    let mirror = tables.mirror(key)?.map(|held| held.row);
    let entry = tables.entry(key)?;
    if let Some(values) = shown(mirror.as_ref(), entry.as_ref()) {
        return Ok(Some(values));
    }
    let row = mirror.filter(|row| row.life != Life::Purged).or_else(|| entry?.kept);
    Ok(row.map(|row| row.fields.into_iter().map(|(field, stamped)| (field, stamped.value)).collect()))
}

/// The rows of a table as they are shown.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn list(tables: &ReadTables, table: &Table, query: &Query) -> Result<Vec<RowView>, StoreError> {
    let matches = |row: &RowView| query.equal.iter().all(|(field, value)| row.value(*field) == value);
    let unsorted = query.sort.is_none() && !query.descending;
    let enough = query.limit.filter(|_| unsorted).map_or(usize::MAX, |limit| query.offset.saturating_add(limit));
    let mut rows = Vec::new();
    for row in Overlay::new(tables, table, None)? {
        let row = row?;
        if rows.len() >= enough {
            break;
        }
        if matches(&row) {
            rows.push(row);
        }
    }
    let order = |a: &RowView, b: &RowView| match query.sort {
        Some(field) => a.value(field).partial_cmp(b.value(field)).unwrap_or(Ordering::Equal).then(a.key.cmp(&b.key)),
        None => a.key.cmp(&b.key),
    };
    if !unsorted {
        rows.sort_by(|a, b| if query.descending { order(b, a) } else { order(a, b) });
    }
    Ok(rows.into_iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX)).collect())
}

/// The rows of a table as they are shown, by id, behind `after`; at most `limit`.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn some(tables: &ReadTables, table: &Table, after: Option<RowId>, limit: usize) -> Result<Vec<RowView>, StoreError> {
    Overlay::new(tables, table, after)?.take(limit).collect()
}

/// Everything pending, by table and id; for a row with a change in flight and another behind it, both.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn pending(tables: &ReadTables, schema: &Schema) -> Result<Vec<PendingView>, StoreError> {
    let standings = all_standings(tables, schema)?;
    let mut views = Vec::new();
    for entry in tables.entries()? {
        let entry = entry?;
        let mirror = tables.mirror(entry.key)?.map(|held| held.row);
        let key = entry.key;
        if let Some(sent) = entry.sent {
            views.push(PendingView { key, change: sent.pending, standing: Standing::InFlight, mirror: mirror.clone() });
            let behind = Standing::Waiting { on: key };
            views.extend(entry.next.map(|change| PendingView { key, change, standing: behind, mirror }));
        } else if let (Some(change), Some(standing)) = (entry.next, standings.get(&key)) {
            views.push(PendingView { key, change, standing: *standing, mirror });
        }
    }
    Ok(views)
}

/// Everything that a person has to decide, by table and id.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn conflicts(tables: &ReadTables, schema: &Schema) -> Result<Vec<ConflictView>, StoreError> {
    let mut views = Vec::new();
    let mut groups: BTreeMap<GroupId, Vec<(RowKey, Pending)>> = BTreeMap::new();
    for entry in tables.entries()? {
        let entry = entry?;
        let (key, is_in_flight) = (entry.key, entry.sent.is_some());
        let Some(next) = entry.next else { continue };
        if let Some(group) = next.group {
            groups.entry(group).or_default().push((key, next.clone()));
        }
        let Some(table) = schema.table(key.table).filter(|_| !is_in_flight) else { continue };
        let mirror = tables.mirror(key)?.map(|held| held.row);
        let Some(conflict) = conflict(table, &next, mirror.as_ref()) else { continue };
        let server = match &next.review {
            Some(Review::Clash { with: Some(other), .. }) => {
                tables.mirror(RowKey { table: key.table, id: *other })?.map(|held| held.row)
            }
            _ => mirror,
        };
        let newest = server.as_ref().map(|row| match conflict.kind {
            // Any change of the row is the question there.
            ConflictKind::UpdateUpdate if table.strict => row.seq,
            _ => conflict.fields.iter().map(|field| row.stamp(*field)).max().filter(|stamp| stamp.0 > 0).unwrap_or(row.seq),
        });
        let author = newest.map(|seq| tables.author(seq)).transpose()?.flatten();
        let lost = next.lost.clone();
        let mut replaced = tables.displaced(key)?;
        replaced.retain(|displaced| displaced.stood_at(next.row_base) && !next.fields.contains_key(&displaced.field));
        let replaced = replaced.into_iter().map(|displaced| (displaced.field, displaced.value)).collect();
        views.push(ConflictView { key, conflict, mine: next, server, author, lost, replaced, group: Arc::default() });
    }
    let groups: BTreeMap<GroupId, Arc<Vec<(RowKey, Pending)>>> =
        groups.into_iter().map(|(group, members)| (group, Arc::new(members))).collect();
    for view in &mut views {
        view.group = view.mine.group.and_then(|group| groups.get(&group)).cloned().unwrap_or_default();
    }
    Ok(views)
}

/// The change as a word for people and scripts.
pub fn op_word(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Restore => "restore",
        Op::Decide => "decide",
    }
}

/// A row's id with what mirror and outbox hold of it.
type Beside = (RowId, Option<Row>, Option<Entry>);

/// The rows of a table in the order of their ids, mirror and outbox side by side.
struct Overlay<'a> {
    table: &'a Table,
    tag: TableTag,
    history: u32,
    mirror: std::iter::Peekable<Box<dyn Iterator<Item = Result<MirrorRow, StoreError>> + 'a>>,
    entries: std::iter::Peekable<Box<dyn Iterator<Item = Result<Entry, StoreError>> + 'a>>,
}

impl<'a> Overlay<'a> {
    fn new(tables: &'a ReadTables, table: &'a Table, after: Option<RowId>) -> Result<Self, StoreError> {
        let mirror: Box<dyn Iterator<Item = _>> = Box::new(tables.mirror_rows(table.tag, after)?);
        let entries: Box<dyn Iterator<Item = _>> = Box::new(tables.entries_of(table.tag, after)?);
        let history = tables.sync_state()?.recovery_copies;
        Ok(Self { table, tag: table.tag, history, mirror: mirror.peekable(), entries: entries.peekable() })
    }

    fn step(&mut self) -> Result<Option<Beside>, StoreError> {
        let mirror_id = peek(&mut self.mirror, |held| held.row.key.id)?;
        let entry_id = peek(&mut self.entries, |entry| entry.key.id)?;
        let Some(id) = mirror_id.into_iter().chain(entry_id).min() else { return Ok(None) };
        let mirror = if mirror_id == Some(id) { self.mirror.next().transpose()?.map(|held| held.row) } else { None };
        let entry = if entry_id == Some(id) { self.entries.next().transpose()? } else { None };
        Ok(Some((id, mirror, entry)))
    }
}

fn peek<T>(
    items: &mut std::iter::Peekable<impl Iterator<Item = Result<T, StoreError>>>,
    id: impl Fn(&T) -> RowId,
) -> Result<Option<RowId>, StoreError> {
    match items.next_if(Result::is_err) {
        Some(Err(error)) => Err(error),
        _ => Ok(items.peek().and_then(|item| item.as_ref().ok()).map(id)),
    }
}

impl Iterator for Overlay<'_> {
    type Item = Result<RowView, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Err(error) => return Some(Err(error)),
                Ok(None) => return None,
                Ok(Some((id, mirror, entry))) => {
                    let key = RowKey { table: self.tag, id };
                    if let Some(row) = view(self.table, key, self.history, mirror.as_ref(), entry.as_ref()) {
                        return Some(Ok(row));
                    }
                }
            }
        }
    }
}
