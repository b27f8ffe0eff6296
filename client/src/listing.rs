//! The rows of one table as a list shows them, kept in memory: searched at each key stroke, and scrolled without a disk.
//!
//! A [`Lister`] belongs to a thread that may wait; it reads rows in short steps, so that the engine's thread is never held up
//! for long, and makes [`Listing`]s: immutable snapshots with a generation, cheap to clone and to hand to another thread. The
//! store may change between two steps: what changed is told by the client's notices, and comes with the next
//! [`Lister::refresh`]. So subscribe first, then build the list.
//!
//! # What a list shows
//! The title has the fields that the schema names as title: without any, the first text. The line below it has the first
//! three fields with a value that are not in the title and are neither long texts, yes-or-no fields, bytes nor bare ids. A
//! reference shows the title of the row that it points at. Everything shown, and the first 4,000 characters of every other
//! text, can be searched, without regard to case and accents. In a list whose searched text has 24 MiB, it is the first 120 of
//! what is read behind that, or read again.

use crate::error::ClientError;
use crate::handle::Client;
use crate::local::LocalError;
use crate::store::{ReadTables, StoreError};
use crate::view::{self, RowStanding, RowView};
use memchr::memmem::Finder;
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
/// Between the title and the other searched text of a row. It sorts before everything that a folded text can have, so that a
/// title comes before those that begin with it.
const TITLE_END: char = '\t';
/// The sort key of a row without a value: behind all others.
const NO_VALUE: [u8; 1] = [1];
/// Characters of a text that are searched.
const SEARCHED_MAX: usize = 4_000;
/// Bytes of a list's searched text, up to which texts are searched as far as that.
const SEARCHED_BYTES_MAX: usize = if cfg!(test) { 64 << 10 } else { 24 << 20 };
/// Characters of a text that are searched in a list of any size.
const SEARCHED_ALWAYS: usize = 120;
/// Fields in the line below the title.
const BELOW_MAX: usize = 3;
/// Between two fields in the line below the title.
const BETWEEN: &str = " \u{b7} ";

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
    /// The searched text of each row, and a line end; it begins with the title and [`TITLE_END`].
    folded: String,
    /// What rows are sorted by before their titles.
    keys: Vec<u8>,
    /// The numbers of the facets, a line for each row.
    facets: Vec<u32>,
}

/// How many characters of a text are searched in a list that has these pieces already.
fn searched_of(pieces: &[Arc<Piece>]) -> usize {
    let bytes: usize = pieces.iter().map(|piece| piece.folded.len()).sum();
    if bytes < SEARCHED_BYTES_MAX { SEARCHED_MAX } else { SEARCHED_ALWAYS }
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

    fn of<'a>(rows: impl IntoIterator<Item = &'a Made>) -> Self {
        let mut piece = Self::default();
        rows.into_iter().for_each(|row| piece.push(row));
        piece.items.shrink_to_fit();
        piece.shown.shrink_to_fit();
        piece.folded.shrink_to_fit();
        piece.keys.shrink_to_fit();
        piece.facets.shrink_to_fit();
        piece
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

    /// The place of a row in this very snapshot; `None` where it is not in it.
    pub fn position(&self, id: RowId) -> Option<u32> {
        let after = self.pieces.partition_point(|piece| piece.items.first().is_some_and(|first| first.id <= id));
        let number = after.checked_sub(1)?;
        let at = self.pieces[number].items.binary_search_by_key(&id, |item| item.id).ok()?;
        Some(place(number, at))
    }

    /// The places of the rows that are wanted, in their order.
    pub fn find(&self, wanted: &Wanted) -> Vec<u32> {
        let text = fold(&wanted.text);
        // The longest word is the rarest.
        let mut words: Vec<&str> = text.split_whitespace().collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let words: Vec<Finder<'_>> = words.into_iter().map(Finder::new).collect();
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
            // By place.
            let mut found = vec![words.is_empty(); self.pieces.len() * PIECE_MAX];
            for (piece, found) in self.pieces.iter().zip(found.chunks_mut(PIECE_MAX)) {
                self.find_in(piece, &words, &numbers, wanted.standings, &mut found[..piece.items.len()]);
            }
            self.order.iter().copied().filter(|place| found[*place as usize]).collect()
        };
        if wanted.descending {
            let with_value = places.partition_point(|place| self.key(*place) != NO_VALUE);
            places[..with_value].reverse();
        }
        places
    }

    fn key(&self, place: u32) -> &[u8] {
        let (piece, at) = split(place);
        self.pieces[piece].key(at)
    }

    /// Marks the rows of a piece that are wanted; without words all are marked before.
    fn find_in(&self, piece: &Piece, words: &[Finder<'_>], numbers: &[(usize, u32)], standings: Standings, found: &mut [bool]) {
        if let Some((first, others)) = words.split_first() {
            // One pass over the whole text; a hit leads to its row. No word has a line end in it.
            let mut at = 0;
            let mut from = 0;
            while let Some(hit) = first.find(&piece.folded.as_bytes()[from..]) {
                let hit = from + hit;
                while piece.items[at].folded_end as usize <= hit {
                    at += 1;
                }
                let text = piece.folded(at).as_bytes();
                found[at] = others.iter().all(|word| word.find(text).is_some());
                from = piece.items[at].folded_end as usize;
                at += 1;
                if at == piece.items.len() {
                    break;
                }
            }
        }
        if standings == Standings::All && numbers.is_empty() {
            return;
        }
        let columns = self.facets.len();
        for (at, item) in piece.items.iter().enumerate() {
            found[at] = found[at]
                && standings.admits(item.standing)
                && numbers.iter().all(|(column, number)| piece.facets[at * columns + column] == *number);
        }
    }
}

fn place(piece: usize, at: usize) -> u32 {
    (end(piece) << PIECE_BITS) | end(at)
}

fn split(place: u32) -> (usize, usize) {
    ((place >> PIECE_BITS) as usize, (place & (PIECE_MAX as u32 - 1)) as usize)
}

/// Text without case and accents, in one line.
pub fn fold(text: &str) -> String {
    let in_line = |char: char| if char.is_control() { ' ' } else { char };
    // Most text, and several times as quick.
    if text.is_ascii() {
        return text.chars().map(|char| in_line(char.to_ascii_lowercase())).collect();
    }
    let folded = text.nfkd().filter(|char| !is_combining_mark(*char)).flat_map(char::to_lowercase);
    folded.map(in_line).collect()
}

/// Keeps the list of a table up to date. Whatever fails leaves it as it was.
pub struct Lister {
    table: TableTag,
    order: Order,
    listing: Listing,
    /// What rows that are referred to are called.
    titles: BTreeMap<RowKey, String>,
}

impl Lister {
    /// Reads a table.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or there is no such table.
    pub fn new(client: &Client, table: TableTag, order: Order) -> Result<Self, ClientError> {
        let mut lister = Self::empty(table, order);
        lister.read_all(client)?;
        Ok(lister)
    }

    fn empty(table: TableTag, order: Order) -> Self {
        let listing = Listing {
            generation: 0,
            pieces: Arc::default(),
            order: Arc::default(),
            numbers: Arc::default(),
            facets: Arc::default(),
        };
        Self { table, order, listing, titles: BTreeMap::new() }
    }

    /// The table.
    pub fn table(&self) -> TableTag {
        self.table
    }

    /// The newest snapshot.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// The rows that a reference of the listed rows points at, by what they are called; `None` where there are more than `most`.
    pub fn referred(&self, field: &Field, most: usize) -> Option<Vec<(RowId, String)>> {
        let reference = field.reference?;
        let ids = [0, u8::MAX].map(|byte| (field.tag, Facet::Uuid([byte; 16])));
        let [first, last] = &ids;
        let mut referred = Vec::new();
        for (_, facet) in self.listing.numbers.range(first..=last).map(|(key, _)| key) {
            let Facet::Uuid(bytes) = facet else { continue };
            if referred.len() == most {
                return None;
            }
            let id = RowId::from_bytes(*bytes);
            let title = self.titles.get(&RowKey { table: reference.table, id });
            referred.push((id, title.cloned().unwrap_or_default()));
        }
        referred.sort_by_cached_key(|(_, title)| fold(title));
        Some(referred)
    }

    /// Lists in another order.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails.
    pub fn set_order(&mut self, client: &Client, order: Order) -> Result<(), ClientError> {
        if order == self.order { Ok(()) } else { self.become_new(client, order) }
    }

    /// Reads everything again.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or the table is not there any more.
    pub fn rebuild(&mut self, client: &Client) -> Result<(), ClientError> {
        self.become_new(client, self.order)
    }

    fn become_new(&mut self, client: &Client, order: Order) -> Result<(), ClientError> {
        let mut new = Self::empty(self.table, order);
        new.listing.generation = self.listing.generation;
        new.read_all(client)?;
        *self = new;
        Ok(())
    }

    fn read_all(&mut self, client: &Client) -> Result<(), ClientError> {
        let schema = client.schema()?;
        let table = schema.table(self.table).ok_or(LocalError::UnknownTable)?;
        self.listing.facets = Arc::new(table.fields.iter().filter(|field| is_facet(field)).map(|field| field.tag).collect());
        let mut pieces: Vec<Arc<Piece>> = Vec::new();
        let mut after = None;
        loop {
            let views = self.read_step(client, after)?;
            let Some(last) = views.last() else { break };
            after = Some(last.key.id);
            self.learn(client, table, &views)?;
            let searched = searched_of(&pieces);
            let rows: Vec<Made> = views.iter().map(|view| self.make(table, view, searched)).collect();
            // Half full, so that what comes between does not split it at once.
            pieces.extend(rows.chunks(PIECE_MAX / 2).map(|rows| Arc::new(Piece::of(rows))));
        }
        self.listing.pieces = Arc::new(pieces);
        self.sort();
        Ok(())
    }

    /// Reads rows that changed; of other tables those matter that rows of this list refer to. Returns whether anything was read
    /// again, so that there is a new snapshot.
    ///
    /// # Errors
    /// [`ClientError`] when the store fails, or the table is not there any more: the same rows may be tried again.
    pub fn refresh(&mut self, client: &Client, changed: &[RowKey]) -> Result<bool, ClientError> {
        let renamed = self.read_renamed(client, changed)?;
        let mut ids: BTreeSet<RowId> = changed.iter().filter(|key| key.table == self.table).map(|key| key.id).collect();
        ids.extend(self.referrers(renamed.iter().map(|(key, _)| *key)));
        // Without its new titles, what was read under them is not kept either.
        let old: Vec<(RowKey, String)> =
            renamed.into_iter().filter_map(|(key, title)| Some((key, self.titles.insert(key, title)?))).collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let ids: Vec<RowId> = ids.into_iter().collect();
        let before = self.listing.clone();
        // What comes in a first sync is most of a table: it is not held twice. In the order of ids, a piece is made anew once.
        let read = ids.chunks(PIECE_MAX).try_for_each(|ids| {
            let fresh = self.read_again(client, ids)?;
            self.replace(fresh);
            Ok(())
        });
        match read {
            Ok(()) => {
                self.sort();
                Ok(true)
            }
            Err(error) => {
                self.listing = before;
                self.titles.extend(old);
                Err(error)
            }
        }
    }

    fn read_again(&mut self, client: &Client, ids: &[RowId]) -> Result<BTreeMap<RowId, Option<Made>>, ClientError> {
        let schema = client.schema()?;
        let table = schema.table(self.table).ok_or(LocalError::UnknownTable)?;
        let mut fresh: BTreeMap<RowId, Option<Made>> = ids.iter().map(|id| (*id, None)).collect();
        let searched = searched_of(&self.listing.pieces);
        for step in ids.chunks(STEP) {
            let views = self.read_rows(client, step)?;
            self.learn(client, table, &views)?;
            for view in &views {
                fresh.insert(view.key.id, Some(self.make(table, view, searched)));
            }
        }
        Ok(fresh)
    }

    /// Of the rows that changed those that this list shows in its references, where they are called something else now.
    fn read_renamed(&self, client: &Client, changed: &[RowKey]) -> Result<Vec<(RowKey, String)>, ClientError> {
        let shown: Vec<RowKey> = changed.iter().filter(|key| self.titles.contains_key(key)).copied().collect();
        let mut renamed = Vec::new();
        for step in shown.chunks(STEP) {
            let titles = client.titles(step.to_vec())?;
            let differs = |(key, title): &(RowKey, String)| self.titles.get(key) != Some(title);
            renamed.extend(step.iter().copied().zip(titles).filter(differs));
        }
        Ok(renamed)
    }

    /// The listed rows that refer to any of these.
    fn referrers(&self, keys: impl Iterator<Item = RowKey>) -> Vec<RowId> {
        let facets = &self.listing.facets;
        // Which of the tables a field refers to does not matter: an id names one row.
        let numbers: BTreeSet<(usize, u32)> = keys
            .flat_map(|key| {
                let number = move |(column, field): (usize, &FieldTag)| {
                    let number = self.listing.numbers.get(&(*field, Facet::Uuid(*key.id.bytes())))?;
                    Some((column, *number))
                };
                facets.iter().enumerate().filter_map(number).collect::<Vec<_>>()
            })
            .collect();
        if numbers.is_empty() {
            return Vec::new();
        }
        let mut ids = Vec::new();
        for piece in self.listing.pieces.iter() {
            for (item, row) in piece.items.iter().zip(piece.facets.chunks(facets.len())) {
                if row.iter().enumerate().any(|(column, number)| numbers.contains(&(column, *number))) {
                    ids.push(item.id);
                }
            }
        }
        ids
    }

    fn read_step(&self, client: &Client, after: Option<RowId>) -> Result<Vec<RowView>, ClientError> {
        let tag = self.table;
        client.read(move |tables, schema| {
            let table = schema.table(tag).ok_or(LocalError::UnknownTable)?;
            Ok(view::some(tables, table, after, STEP)?)
        })
    }

    fn read_rows(&self, client: &Client, ids: &[RowId]) -> Result<Vec<RowView>, ClientError> {
        let (tag, ids) = (self.table, ids.to_vec());
        client.read(move |tables, schema| {
            let mut views = Vec::with_capacity(ids.len());
            for id in ids {
                views.extend(view::get(tables, schema, RowKey { table: tag, id })?);
            }
            Ok(views)
        })
    }

    /// Reads what the rows are called that these refer to, where that is not known.
    fn learn(&mut self, client: &Client, table: &Table, views: &[RowView]) -> Result<(), ClientError> {
        let unknown: BTreeSet<RowKey> = views
            .iter()
            .flat_map(|view| table.fields.iter().filter_map(|field| target(field, view.value(field.tag))))
            .filter(|key| !self.titles.contains_key(key))
            .collect();
        let unknown: Vec<RowKey> = unknown.into_iter().collect();
        for step in unknown.chunks(STEP) {
            self.titles.extend(step.iter().copied().zip(client.titles(step.to_vec())?));
        }
        Ok(())
    }

    /// `searched` are the characters of a text that are searched.
    fn make(&mut self, table: &Table, view: &RowView, searched: usize) -> Made {
        let title = self.text_of(table, &table.title, view);
        let mut below = String::new();
        let mut shown: Vec<FieldTag> = table.title.clone();
        for field in table.fields.iter().filter(|field| is_below(table, field)) {
            let text = self.show(field, view);
            if text.is_empty() {
                continue;
            }
            if !below.is_empty() {
                below.push_str(BETWEEN);
            }
            below.push_str(&text);
            shown.push(field.tag);
            if shown.len() == table.title.len() + BELOW_MAX {
                break;
            }
        }
        let mut folded = fold(&title);
        folded.push(TITLE_END);
        folded.push_str(&fold(&below));
        for field in table.fields.iter().filter(|field| !shown.contains(&field.tag)) {
            if let (Kind::Text, Value::Text(text)) = (field.kind, view.value(field.tag)) {
                folded.push(' ');
                folded.push_str(&fold(&text.chars().take(searched).collect::<String>()));
            }
        }
        let key = match self.order.by.and_then(|by| table.field(by)) {
            Some(field) => self.sort_key(field, view),
            None if title.is_empty() => NO_VALUE.to_vec(),
            None => Vec::new(),
        };
        let facets = self.listing.facets.clone();
        let facets = facets.iter().map(|field| self.number(*field, view.value(*field))).collect();
        Made { id: view.key.id, standing: view.standing, title, below, folded, key, facets }
    }

    fn text_of(&self, table: &Table, fields: &[FieldTag], view: &RowView) -> String {
        let texts = fields.iter().filter_map(|tag| Some(self.show(table.field(*tag)?, view)));
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }

    fn show(&self, field: &Field, view: &RowView) -> String {
        match (field.reference, view.value(field.tag)) {
            (Some(reference), Value::Uuid(bytes)) => {
                let key = RowKey { table: reference.table, id: RowId::from_bytes(*bytes) };
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
            Value::Null => NO_VALUE.to_vec(),
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
                if text.is_empty() { NO_VALUE.to_vec() } else { [&[0], text.as_bytes()].concat() }
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
            order.extend((0..piece.items.len()).map(|at| place(number, at)));
        }
        let compare = |a: &u32, b: &u32| -> Ordering {
            let ((piece_a, at_a), (piece_b, at_b)) = (split(*a), split(*b));
            let (piece_a, piece_b) = (&pieces[piece_a], &pieces[piece_b]);
            let by_key = piece_a.key(at_a).cmp(piece_b.key(at_b));
            by_key.then_with(|| piece_a.folded(at_a).cmp(piece_b.folded(at_b))).then(a.cmp(b))
        };
        order.sort_unstable_by(compare);
        self.listing.order = Arc::new(order);
        self.listing.generation += 1;
    }
}

fn add_pieces<'a>(pieces: &mut Vec<Arc<Piece>>, rows: impl Iterator<Item = &'a Made>) {
    let rows: Vec<&Made> = rows.collect();
    let size = if rows.len() > PIECE_MAX { PIECE_MAX / 2 } else { PIECE_MAX };
    pieces.extend(rows.chunks(size).map(|rows| Arc::new(Piece::of(rows.iter().copied()))));
}

fn is_facet(field: &Field) -> bool {
    field.reference.is_some() || !field.choices.is_empty() || field.kind == Kind::Bool
}

fn is_below(table: &Table, field: &Field) -> bool {
    let plain = !matches!(field.kind, Kind::Bool | Kind::Bytes) && (field.kind != Kind::Uuid || field.reference.is_some());
    plain && !field.multiline && !table.title.contains(&field.tag)
}

/// The row that a value of a field points at.
pub fn target(field: &Field, value: &Value) -> Option<RowKey> {
    match (field.reference, value) {
        (Some(reference), Value::Uuid(bytes)) => Some(RowKey { table: reference.table, id: RowId::from_bytes(*bytes) }),
        _ => None,
    }
}

/// What a row is called, also where it is not shown any more; empty where nothing is known of it. A reference in the title
/// is what it points at is called; in the title of that row references are left out, so that this ends.
pub(crate) fn title(tables: &ReadTables, schema: &Schema, key: RowKey) -> Result<String, StoreError> {
    title_of(tables, schema, key, true)
}

fn title_of(tables: &ReadTables, schema: &Schema, key: RowKey, follow: bool) -> Result<String, StoreError> {
    let Some(table) = schema.table(key.table) else { return Ok(String::new()) };
    let values = view::last_values(tables, key)?.unwrap_or_default();
    let mut texts = Vec::new();
    for field in table.title.iter().filter_map(|tag| table.field(*tag)) {
        let text = match (field.reference, values.get(&field.tag)) {
            (Some(reference), Some(Value::Uuid(bytes))) if follow => {
                title_of(tables, schema, RowKey { table: reference.table, id: RowId::from_bytes(*bytes) }, false)?
            }
            (_, None | Some(Value::Uuid(_) | Value::Bytes(_))) => String::new(),
            (_, Some(value)) => field.show(value),
        };
        if !text.is_empty() {
            texts.push(text);
        }
    }
    Ok(texts.join(", "))
}

#[cfg(test)]
mod tests;
