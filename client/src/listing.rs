//! The rows of one table as a list shows them, kept in memory: searched at each key stroke, and scrolled without a disk.
//!
//! A [`Lister`] belongs to a thread that may wait; it reads rows in short steps, so that the engine's thread is never held up
//! for long, and makes [`Listing`]s: immutable snapshots with a generation, cheap to clone and to hand to another thread. Rows
//! that change between two steps are told by the client's notices, and come with the next [`Lister::refresh`].
//!
//! # What a list shows
//! The title is the schema's; the line below it has the first fields that are neither the title nor long. A reference shows
//! the title of the row that it points at. Everything shown, and the beginning of every other text, can be searched, without
//! regard to case and accents.

use crate::error::ClientError;
use crate::handle::Client;
use crate::store::{ReadTables, StoreError};
use crate::view::{self, RowStanding, RowView};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tombolo_protocol::ids::{FieldTag, RowId, RowKey, TableTag};
use tombolo_protocol::schema::{Field, Kind, Schema, Table};
use tombolo_protocol::value::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Rows that are read in one step on the engine's thread.
const STEP: usize = 512;
/// Rows in a piece of the list; a change copies one piece. A row's place is a piece's number and its place in the piece.
const PIECE_BITS: u32 = 10;
const PIECE_MAX: usize = 1 << PIECE_BITS;
/// Characters of a text that are searched.
const SEARCHED_MAX: usize = 120;
/// Fields in the line below the title.
const BELOW_MAX: usize = 3;

/// In which order rows are listed. Rows without a value come last; rows that are equal are ordered by title.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Order {
    /// By this field; by title without it.
    pub by: Option<FieldTag>,
}

/// Rows by how they stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standings {
    /// All.
    #[default]
    All,
    /// Those with a change that the server does not have, whatever becomes of it.
    Pending,
    /// Those that wait for a person.
    Review,
}

impl Standings {
    fn admits(self, standing: RowStanding) -> bool {
        match self {
            Self::All => true,
            Self::Pending => standing != RowStanding::Clean,
            Self::Review => matches!(standing, RowStanding::Conflict | RowStanding::Refused),
        }
    }
}

/// Which rows are wanted.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wanted {
    /// Words that must all occur.
    pub text: String,
    /// How they stand.
    pub standings: Standings,
    /// Choices, references and yes-or-no fields that must have these values.
    pub equal: Vec<(FieldTag, Value)>,
    /// Greatest first.
    pub descending: bool,
}

/// A row of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed<'a> {
    /// Which row.
    pub id: RowId,
    /// How it stands.
    pub standing: RowStanding,
    /// What it is called.
    pub title: &'a str,
    /// The line below it.
    pub below: &'a str,
}

/// A value that rows are filtered by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Facet {
    Bool(bool),
    Text(String),
    Uuid([u8; 16]),
}

impl Facet {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(bool) => Some(Self::Bool(*bool)),
            Value::Text(text) => Some(Self::Text(text.clone())),
            Value::Uuid(bytes) => Some(Self::Uuid(*bytes)),
            _ => None,
        }
    }
}

/// The number of "no value".
const NO_FACET: u32 = 0;

#[derive(Clone)]
struct Item {
    id: RowId,
    standing: RowStanding,
    /// Ends in `Piece::shown`: of the title, and of the line below it; both begin where the item before ends.
    title_end: u32,
    below_end: u32,
    /// End in `Piece::folded`.
    folded_end: u32,
    /// End in `Piece::keys`.
    key_end: u32,
}

/// Some rows in the order of their ids.
#[derive(Clone, Default)]
struct Piece {
    items: Vec<Item>,
    shown: String,
    /// The searched text of each row, and a line end; it begins with the title.
    folded: String,
    /// What rows are sorted by; empty for the title.
    keys: Vec<u8>,
    /// The numbers of the facets, a line for each row.
    facets: Vec<u32>,
}

impl Piece {
    fn start(&self, at: usize) -> (usize, usize, usize) {
        match at.checked_sub(1).and_then(|before| self.items.get(before)) {
            Some(before) => (before.below_end as usize, before.folded_end as usize, before.key_end as usize),
            None => (0, 0, 0),
        }
    }

    fn listed(&self, at: usize) -> Listed<'_> {
        let item = &self.items[at];
        let begin = self.start(at).0;
        Listed {
            id: item.id,
            standing: item.standing,
            title: &self.shown[begin..item.title_end as usize],
            below: &self.shown[item.title_end as usize..item.below_end as usize],
        }
    }

    fn folded(&self, at: usize) -> &str {
        &self.folded[self.start(at).1..self.items[at].folded_end as usize - 1]
    }

    fn key(&self, at: usize) -> &[u8] {
        &self.keys[self.start(at).2..self.items[at].key_end as usize]
    }

    fn push(&mut self, row: &Made) {
        self.shown.push_str(&row.title);
        let title_end = end(self.shown.len());
        self.shown.push_str(&row.below);
        self.folded.push_str(&row.folded);
        self.folded.push('\n');
        self.keys.extend_from_slice(&row.key);
        self.facets.extend_from_slice(&row.facets);
        self.items.push(Item {
            id: row.id,
            standing: row.standing,
            title_end,
            below_end: end(self.shown.len()),
            folded_end: end(self.folded.len()),
            key_end: end(self.keys.len()),
        });
    }

    /// A row of this piece, to be put into another one.
    fn made(&self, at: usize, facets: usize) -> Made {
        let Listed { id, standing, title, below } = self.listed(at);
        Made {
            id,
            standing,
            title: title.to_owned(),
            below: below.to_owned(),
            folded: self.folded(at).to_owned(),
            key: self.key(at).to_vec(),
            facets: self.facets[at * facets..(at + 1) * facets].to_vec(),
        }
    }
}

/// Rows are bounded in size, and pieces in rows.
fn end(length: usize) -> u32 {
    u32::try_from(length).expect("a piece of a list is far below 4 GiB")
}

/// A row, ready to be listed.
struct Made {
    id: RowId,
    standing: RowStanding,
    title: String,
    below: String,
    folded: String,
    key: Vec<u8>,
    facets: Vec<u32>,
}

/// The rows of a table at one moment, in their order.
#[derive(Clone)]
pub struct Listing {
    generation: u64,
    pieces: Arc<Vec<Arc<Piece>>>,
    /// Places, ascending.
    order: Arc<Vec<u32>>,
    numbers: Arc<BTreeMap<(FieldTag, Facet), u32>>,
    facets: Arc<Vec<FieldTag>>,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("generation", &self.generation).field("rows", &self.len()).finish()
    }
}

impl Listing {
    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The row at a place that [`Listing::find`] of this very snapshot returned.
    ///
    /// # Panics
    /// Where the place is of another snapshot.
    pub fn row(&self, place: u32) -> Listed<'_> {
        let (piece, at) = split(place);
        self.pieces[piece].listed(at)
    }

    /// The places of the rows that are wanted, in their order.
    pub fn find(&self, wanted: &Wanted) -> Vec<u32> {
        let words: Vec<String> = fold(&wanted.text).split_whitespace().map(str::to_owned).collect();
        let mut numbers = Vec::with_capacity(wanted.equal.len());
        for (field, value) in &wanted.equal {
            let column = self.facets.iter().position(|facet| facet == field);
            let number = Facet::of(value).map_or(Some(NO_FACET), |facet| self.numbers.get(&(*field, facet)).copied());
            match (column, number) {
                (Some(column), Some(number)) => numbers.push((column, number)),
                // No row has it.
                _ => return Vec::new(),
            }
        }
        let everything = words.is_empty() && numbers.is_empty() && wanted.standings == Standings::All;
        let mut places: Vec<u32> = if everything {
            self.order.to_vec()
        } else {
            let found: Vec<Vec<bool>> =
                self.pieces.iter().map(|piece| self.found_in(piece, &words, &numbers, wanted.standings)).collect();
            let is_found = |place: &u32| {
                let (piece, at) = split(*place);
                found[piece][at]
            };
            self.order.iter().copied().filter(is_found).collect()
        };
        if wanted.descending {
            places.reverse();
        }
        places
    }

    fn found_in(&self, piece: &Piece, words: &[String], numbers: &[(usize, u32)], standings: Standings) -> Vec<bool> {
        let mut found = vec![words.is_empty(); piece.items.len()];
        if let Some((first, others)) = words.split_first() {
            // One pass over the whole text; a hit leads to its row. No word has a line end in it.
            let mut at = 0;
            let mut from = 0;
            while let Some(hit) = piece.folded[from..].find(first.as_str()) {
                let hit = from + hit;
                while piece.items[at].folded_end as usize <= hit {
                    at += 1;
                }
                let text = piece.folded(at);
                found[at] = others.iter().all(|word| text.contains(word.as_str()));
                from = piece.items[at].folded_end as usize;
                at += 1;
                if at == piece.items.len() {
                    break;
                }
            }
        }
        let columns = self.facets.len();
        for (at, item) in piece.items.iter().enumerate() {
            found[at] = found[at]
                && standings.admits(item.standing)
                && numbers.iter().all(|(column, number)| piece.facets[at * columns + column] == *number);
        }
        found
    }
}

fn split(place: u32) -> (usize, usize) {
    ((place >> PIECE_BITS) as usize, (place & (PIECE_MAX as u32 - 1)) as usize)
}

/// Text without case and accents, in one line.
pub fn fold(text: &str) -> String {
    let folded = text.nfkd().filter(|char| !is_combining_mark(*char)).flat_map(char::to_lowercase);
    folded.map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Keeps the list of a table up to date.
pub struct Lister {
    table: TableTag,
    order: Order,
    listing: Listing,
    /// What rows that are referred to are called.
    titles: Arc<BTreeMap<RowKey, String>>,
}

impl Lister {
    /// Reads a table.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or there is no such table.
    pub fn new(client: &Client, table: TableTag, order: Order) -> Result<Self, ClientError> {
        let listing = Listing {
            generation: 0,
            pieces: Arc::default(),
            order: Arc::default(),
            numbers: Arc::default(),
            facets: Arc::default(),
        };
        let mut lister = Self { table, order, listing, titles: Arc::default() };
        lister.rebuild(client)?;
        Ok(lister)
    }

    /// The table.
    pub fn table(&self) -> TableTag {
        self.table
    }

    /// The newest snapshot.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Lists in another order.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn set_order(&mut self, client: &Client, order: Order) -> Result<(), ClientError> {
        if order == self.order {
            return Ok(());
        }
        self.order = order;
        self.rebuild(client)
    }

    /// Reads everything again.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or the table is not there any more.
    pub fn rebuild(&mut self, client: &Client) -> Result<(), ClientError> {
        let schema = client.schema()?;
        let Some(table) = schema.table(self.table) else {
            return Err(crate::local::LocalError::UnknownTable.into());
        };
        self.titles = Arc::default();
        self.listing.facets = Arc::new(table.fields.iter().filter(|field| is_facet(field)).map(|field| field.tag).collect());
        self.listing.numbers = Arc::default();
        let mut pieces: Vec<Arc<Piece>> = Vec::new();
        let mut after = None;
        loop {
            let (views, titles) = self.read_step(client, after)?;
            self.titles = titles;
            let Some(last) = views.last() else { break };
            after = Some(last.key.id);
            for view in &views {
                let made = self.make(table, view);
                match pieces.last_mut().filter(|piece| piece.items.len() < PIECE_MAX / 2) {
                    Some(piece) => Arc::make_mut(piece).push(&made),
                    None => {
                        let mut piece = Piece::default();
                        piece.push(&made);
                        pieces.push(Arc::new(piece));
                    }
                }
            }
        }
        self.listing.pieces = Arc::new(pieces);
        self.sort();
        Ok(())
    }

    /// Reads rows that changed. Returns whether this list shows anything else now.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn refresh(&mut self, client: &Client, changed: &[RowKey]) -> Result<bool, ClientError> {
        if changed.iter().any(|key| self.titles.contains_key(key)) {
            self.rebuild(client)?;
            return Ok(true);
        }
        let ids: BTreeSet<RowId> = changed.iter().filter(|key| key.table == self.table).map(|key| key.id).collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let schema = client.schema()?;
        let Some(table) = schema.table(self.table) else {
            return Err(crate::local::LocalError::UnknownTable.into());
        };
        let ids: Vec<RowId> = ids.into_iter().collect();
        let mut fresh: BTreeMap<RowId, Option<Made>> = BTreeMap::new();
        for step in ids.chunks(STEP) {
            let (views, titles) = self.read_rows(client, step)?;
            self.titles = titles;
            fresh.extend(step.iter().map(|id| (*id, None)));
            for view in &views {
                fresh.insert(view.key.id, Some(self.make(table, view)));
            }
        }
        self.replace(fresh);
        self.sort();
        Ok(true)
    }

    fn read_step(&self, client: &Client, after: Option<RowId>) -> Result<Step, ClientError> {
        let (tag, titles) = (self.table, self.titles.clone());
        client.read(move |tables, schema| {
            let Some(table) = schema.table(tag) else { return Ok((Vec::new(), titles)) };
            let views = view::some(tables, table, after, STEP)?;
            let titles = with_titles(tables, schema, table, &views, titles)?;
            Ok((views, titles))
        })
    }

    fn read_rows(&self, client: &Client, ids: &[RowId]) -> Result<Step, ClientError> {
        let (tag, titles, ids) = (self.table, self.titles.clone(), ids.to_vec());
        client.read(move |tables, schema| {
            let Some(table) = schema.table(tag) else { return Ok((Vec::new(), titles)) };
            let mut views = Vec::with_capacity(ids.len());
            for id in ids {
                views.extend(view::get(tables, schema, RowKey { table: tag, id })?);
            }
            let titles = with_titles(tables, schema, table, &views, titles)?;
            Ok((views, titles))
        })
    }

    fn make(&mut self, table: &Table, view: &RowView) -> Made {
        let title = self.text_of(table, &table.title, view);
        let below: Vec<FieldTag> = table.fields.iter().filter(|field| is_below(table, field)).map(|field| field.tag).collect();
        let below: Vec<String> = below
            .iter()
            .filter_map(|tag| Some(self.show(table.field(*tag)?, view)))
            .filter(|text| !text.is_empty())
            .take(BELOW_MAX)
            .collect();
        let below = below.join(" \u{b7} ");
        let mut searched = format!("{title} {below}");
        for field in table.fields.iter().filter(|field| field.kind == Kind::Text && !table.title.contains(&field.tag)) {
            if let Value::Text(text) = view.value(field.tag) {
                searched.push(' ');
                searched.extend(text.chars().take(SEARCHED_MAX));
            }
        }
        let key = self.order.by.and_then(|by| table.field(by)).map(|field| self.sort_key(field, view)).unwrap_or_default();
        let facets = self.listing.facets.clone();
        let facets = facets.iter().map(|field| self.number(*field, view.value(*field))).collect();
        Made { id: view.key.id, standing: view.standing, title, below, folded: fold(&searched), key, facets }
    }

    fn text_of(&self, table: &Table, fields: &[FieldTag], view: &RowView) -> String {
        let texts = fields.iter().filter_map(|tag| Some(self.show(table.field(*tag)?, view)));
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }

    fn show(&self, field: &Field, view: &RowView) -> String {
        match (field.reference, view.value(field.tag)) {
            (Some(reference), Value::Uuid(bytes)) => {
                let key = RowKey { table: reference.table, id: RowId(uuid::Uuid::from_bytes(*bytes)) };
                self.titles.get(&key).cloned().unwrap_or_default()
            }
            (None, Value::Uuid(_) | Value::Bytes(_)) => String::new(),
            (_, value) => field.show(value),
        }
    }

    /// Bytes that are ordered like the values; no value comes last.
    fn sort_key(&self, field: &Field, view: &RowView) -> Vec<u8> {
        let number = |number: i64| [vec![0], (number.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec()].concat();
        match view.value(field.tag) {
            Value::Null => vec![1],
            Value::Bool(yes) => vec![0, u8::from(*yes)],
            Value::Int(value) | Value::Decimal(value) | Value::Timestamp(value) => number(*value),
            Value::Date(days) => number(i64::from(*days)),
            Value::Float(float) => {
                let bits = float.to_bits();
                let ordered = if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) };
                [vec![0], ordered.to_be_bytes().to_vec()].concat()
            }
            Value::Text(_) | Value::Uuid(_) | Value::Bytes(_) => {
                let text = fold(&self.show(field, view));
                if text.is_empty() { vec![1] } else { [&[0], text.as_bytes()].concat() }
            }
        }
    }

    fn number(&mut self, field: FieldTag, value: &Value) -> u32 {
        let Some(facet) = Facet::of(value) else { return NO_FACET };
        let key = (field, facet);
        if let Some(number) = self.listing.numbers.get(&key) {
            return *number;
        }
        let number = end(self.listing.numbers.len() + 1);
        Arc::make_mut(&mut self.listing.numbers).insert(key, number);
        number
    }

    /// Puts rows in the place of those with their ids; only pieces that hold any of them are made anew.
    fn replace(&mut self, mut fresh: BTreeMap<RowId, Option<Made>>) {
        let facets = self.listing.facets.len();
        let old = std::mem::take(&mut self.listing.pieces);
        let mut pieces: Vec<Arc<Piece>> = Vec::with_capacity(old.len() + 1);
        for (at, piece) in old.iter().enumerate() {
            // What comes before the next piece belongs to this one.
            let next = old.get(at + 1).and_then(|next| next.items.first()).map(|item| item.id);
            let rest = next.map(|next| fresh.split_off(&next)).unwrap_or_default();
            let here = std::mem::replace(&mut fresh, rest);
            if here.is_empty() {
                pieces.push(piece.clone());
                continue;
            }
            let mut rows: BTreeMap<RowId, Made> =
                (0..piece.items.len()).map(|at| piece.made(at, facets)).map(|row| (row.id, row)).collect();
            for (id, row) in here {
                match row {
                    Some(row) => rows.insert(id, row),
                    None => rows.remove(&id),
                };
            }
            add_pieces(&mut pieces, rows.values());
        }
        if old.is_empty() {
            add_pieces(&mut pieces, fresh.values().flatten());
        }
        self.listing.pieces = Arc::new(pieces);
    }

    fn sort(&mut self) {
        let pieces = &self.listing.pieces;
        let mut order = Vec::with_capacity(pieces.iter().map(|piece| piece.items.len()).sum());
        for (number, piece) in pieces.iter().enumerate() {
            order.extend((0..piece.items.len()).map(|at| (end(number) << PIECE_BITS) | end(at)));
        }
        let by_title = self.order.by.is_none();
        let compare = |a: &u32, b: &u32| -> Ordering {
            let ((piece_a, at_a), (piece_b, at_b)) = (split(*a), split(*b));
            let (piece_a, piece_b) = (&pieces[piece_a], &pieces[piece_b]);
            let by_key = if by_title { Ordering::Equal } else { piece_a.key(at_a).cmp(piece_b.key(at_b)) };
            by_key.then_with(|| piece_a.folded(at_a).cmp(piece_b.folded(at_b))).then(a.cmp(b))
        };
        order.sort_unstable_by(compare);
        self.listing.order = Arc::new(order);
        self.listing.generation += 1;
    }
}

/// Views, and the titles that are known now.
type Step = (Vec<RowView>, Arc<BTreeMap<RowKey, String>>);

fn add_pieces<'a>(pieces: &mut Vec<Arc<Piece>>, rows: impl Iterator<Item = &'a Made>) {
    let rows: Vec<&Made> = rows.collect();
    let size = if rows.len() > PIECE_MAX { PIECE_MAX / 2 } else { PIECE_MAX };
    for rows in rows.chunks(size) {
        let mut piece = Piece::default();
        rows.iter().for_each(|row| piece.push(row));
        pieces.push(Arc::new(piece));
    }
}

fn is_facet(field: &Field) -> bool {
    field.reference.is_some() || !field.choices.is_empty() || field.kind == Kind::Bool
}

fn is_below(table: &Table, field: &Field) -> bool {
    let plain = !matches!(field.kind, Kind::Bool | Kind::Bytes) && (field.kind != Kind::Uuid || field.reference.is_some());
    plain && !field.multiline && !table.title.contains(&field.tag)
}

/// What is known of titles, and those of the rows that these rows refer to.
fn with_titles(
    tables: &ReadTables,
    schema: &Schema,
    table: &Table,
    views: &[RowView],
    mut titles: Arc<BTreeMap<RowKey, String>>,
) -> Result<Arc<BTreeMap<RowKey, String>>, StoreError> {
    for view in views {
        for (_, key) in references(table, view) {
            if !titles.contains_key(&key) {
                let title = title(tables, schema, key)?;
                Arc::make_mut(&mut titles).insert(key, title);
            }
        }
    }
    Ok(titles)
}

/// What a row refers to.
pub(crate) fn references<'a>(table: &'a Table, view: &'a RowView) -> impl Iterator<Item = (FieldTag, RowKey)> + 'a {
    table.fields.iter().filter_map(|field| match (field.reference, view.value(field.tag)) {
        (Some(reference), Value::Uuid(bytes)) => {
            Some((field.tag, RowKey { table: reference.table, id: RowId(uuid::Uuid::from_bytes(*bytes)) }))
        }
        _ => None,
    })
}

/// What a row is called, also where it is not shown any more; empty where nothing is known of it.
pub(crate) fn title(tables: &ReadTables, schema: &Schema, key: RowKey) -> Result<String, StoreError> {
    let Some(table) = schema.table(key.table) else { return Ok(String::new()) };
    let values = view::last_values(tables, key)?.unwrap_or_default();
    Ok(table.title_of(|field| values.get(&field).cloned()))
}
