//! The mirror: cursors never go back and cover what they say, and whoever is caught up has exactly what the server shows them.

use super::{Broken, Oracles};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::cursor::Cursors;
use tombolo_client::protocol::ids::{FieldTag, Mark, RowKey, Seq, TableTag};
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::value::Value;
use tombolo_server::snapshot::Snapshot;

/// Rows that are read at a time.
const PAGE: usize = 1000;

/// Rows by table.
type Rows = BTreeMap<TableTag, BTreeMap<RowKey, Row>>;

/// The rows of the server, read once for each head: they are looked at behind every frame.
#[derive(Default)]
pub(super) struct ServerRows {
    head: Mark,
    rows: Rows,
}

impl ServerRows {
    fn at(&mut self, snapshot: &Snapshot) -> Result<&Rows> {
        if self.head != snapshot.head() {
            let tables = snapshot.schema().tables.iter();
            self.rows = tables.map(|table| Ok((table.tag, server_rows(snapshot, table.tag)?))).collect::<Result<_>>()?;
            self.head = snapshot.head();
        }
        Ok(&self.rows)
    }
}

/// The cursors of a store moved, perhaps.
pub(super) fn moved(oracles: &mut Oracles, store: usize, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
    let Some(account) = engine.account() else { return Ok(()) };
    let watched = oracles.stores.entry(store).or_default();
    let cursors = engine.cursors();
    let mut completed = true;
    if let Some((device, before)) = &watched.cursors
        && *device == account.device
        && !before.sections.is_empty()
        && !cursors.sections.is_empty()
    {
        ensure!(
            cursors.main.complete >= before.main.complete && cursors.main.scanned >= before.main.scanned,
            Broken::new("cursor", format!("store {store} went back from {before:?} to {cursors:?}"))
        );
        completed = cursors.main.complete > before.main.complete || cursors.sections != before.sections;
    }
    // A step that told of another history may have failed at the disk, and be durable all the same.
    let is_of_this_history = snapshot.hash_at(watched.witness.seq)? == Some(watched.witness.hash);
    ensure!(
        engine.state().witness.seq >= watched.witness.seq || !is_of_this_history,
        Broken::new("witness", format!("store {store} went back from {:?} to {:?}", watched.witness, engine.state().witness))
    );
    watched.witness = engine.state().witness;
    let mirror = mirror_rows(engine)?;
    nothing_newer(store, &mirror, cursors, engine.state().witness.seq)?;
    watched.cursors = Some((account.device, cursors.clone()));
    // Between histories there is nothing to compare with.
    let same_history = snapshot.hash_at(engine.state().witness.seq)? == Some(engine.state().witness.hash);
    if completed && same_history { covers(store, engine, &mirror, oracles.rows.at(snapshot)?) } else { Ok(()) }
}

/// The witness covers every cursor, and every row of the mirror.
fn nothing_newer(store: usize, mirror: &Rows, cursors: &Cursors, witness: Seq) -> Result<()> {
    ensure!(
        cursors.is_within(witness),
        Broken::new("witness", format!("store {store} has {cursors:?}, above its witness {witness}"))
    );
    for row in mirror.values().flat_map(BTreeMap::values) {
        let newest = row.fields.values().map(|it| it.stamp).chain([row.seq, row.since]).max();
        ensure!(
            newest <= Some(witness),
            Broken::new("witness", format!("store {store} has {row:?}, newer than its witness {witness}"))
        );
    }
    Ok(())
}

/// Up to `complete` the mirror of the complete sections lacks nothing, and has nothing that is gone.
fn covers(store: usize, engine: &Engine, mirror: &Rows, server: &Rows) -> Result<()> {
    let cursors = engine.cursors();
    let complete = cursors.main.complete;
    let Some(schema) = engine.schema() else { return Ok(()) };
    let (none, wants) = (BTreeMap::new(), engine.store().read()?.wants()?);
    for table in &schema.tables {
        let (mine, theirs) = (mirror.get(&table.tag).unwrap_or(&none), server.get(&table.tag).unwrap_or(&none));
        for row in theirs.values().filter(|row| row.is_live() && row.since <= complete) {
            if !row.section(table).is_some_and(|section| cursors.sections.contains(&section)) {
                continue;
            }
            let held = mine.get(&row.key);
            let lacks = |field: &FieldTag, stamp: Seq, value: &Value| {
                held.filter(|held| held.is_live()).is_none_or(|held| {
                    held.stamp(*field) < stamp || (held.stamp(*field) == stamp && held.value(*field) != value)
                })
            };
            let lacking = row.fields.iter().find(|(field, it)| it.stamp <= complete && lacks(field, it.stamp, &it.value));
            ensure!(
                lacking.is_none() || wants.iter().any(|want| want.table == table.tag),
                Broken::new(
                    "cursor",
                    format!("store {store} is complete at {complete} and lacks {lacking:?} of {row:?}: {held:?}")
                )
            );
        }
        for mine in mine.values() {
            let in_section = mine.section(table).is_some_and(|section| cursors.sections.contains(&section));
            let gone = theirs
                .get(&mine.key)
                .is_none_or(|row| row.seq <= complete && (!row.is_live() || row.section(table) != mine.section(table)));
            ensure!(
                !(mine.is_live() && in_section && gone),
                Broken::new("ghost", format!("store {store} is complete at {complete} and still has {mine:?}"))
            );
        }
    }
    Ok(())
}

/// The mirror is what the server shows this user: rows, values, stamps and digests.
pub(super) fn equal(rows: &mut ServerRows, store: usize, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
    let Some(account) = engine.account() else { return Ok(()) };
    let Some(rights) = snapshot.rights(account.user)? else { return Ok(()) };
    let sections = snapshot.sections(&rights)?;
    ensure!(
        engine.cursors().sections == sections,
        Broken::new("equal", format!("store {store} has sections {:?} in place of {sections:?}", engine.cursors()))
    );
    let (none, mirror, server) = (BTreeMap::new(), mirror_rows(engine)?, rows.at(snapshot)?);
    for table in &snapshot.schema().tables {
        let seen = |row: &&Row| row.is_live() && row.section(table).is_some_and(|section| sections.contains(&section));
        let comparables = |rows: &mut dyn Iterator<Item = &Row>| -> BTreeMap<RowKey, Comparable> {
            rows.map(|row| (row.key, comparable(row))).collect()
        };
        let (mine, theirs) = (mirror.get(&table.tag).unwrap_or(&none), server.get(&table.tag).unwrap_or(&none));
        let mine = comparables(&mut mine.values().filter(|row| row.is_live()));
        let theirs = comparables(&mut theirs.values().filter(seen));
        ensure!(
            mine == theirs,
            Broken::new("equal", format!("store {store}, {}: mirror {mine:#?}\nserver {theirs:#?}", table.name))
        );
    }
    let tables = engine.store().read()?;
    for section in sections {
        let (mine, theirs) = (tables.digest(&section)?, snapshot.digest(&section)?);
        ensure!(mine == theirs, Broken::new("digest", format!("store {store}: the digests of {section:?} differ")));
    }
    Ok(())
}

fn mirror_rows(engine: &Engine) -> Result<Rows> {
    let (Some(schema), tables) = (engine.schema(), engine.store().read()?) else { return Ok(Rows::new()) };
    let of = |table: TableTag| -> Result<BTreeMap<RowKey, Row>> {
        tables.mirror_rows(table, None)?.map(|held| held.map(|held| (held.row.key, held.row)).map_err(Into::into)).collect()
    };
    schema.tables.iter().map(|table| Ok((table.tag, of(table.tag)?))).collect()
}

fn server_rows(snapshot: &Snapshot, table: TableTag) -> Result<BTreeMap<RowKey, Row>> {
    let (mut rows, mut after) = (BTreeMap::new(), None);
    loop {
        let page = snapshot.rows_after(table, after, PAGE)?;
        after = page.last().map(|row| row.key.id);
        let is_last = page.len() < PAGE;
        rows.extend(page.into_iter().map(|row| (row.key, row)));
        if is_last {
            return Ok(rows);
        }
    }
}

type Comparable = (u64, u64, u64, BTreeMap<FieldTag, (Value, Seq)>);

fn comparable(row: &Row) -> Comparable {
    let fields = row.fields.iter().filter(|(_, stamped)| !stamped.value.is_null());
    let fields = fields.map(|(field, stamped)| (*field, (stamped.value.clone(), stamped.stamp))).collect();
    (row.version.0, row.seq.0, row.since.0, fields)
}
