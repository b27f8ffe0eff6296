//! The mirror: cursors never go back and cover what they say, and whoever is caught up has exactly what the server shows them.

use super::{Broken, Oracles};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::ids::{FieldTag, RowKey, Seq, TableTag};
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::value::Value;
use tombolo_server::snapshot::Snapshot;

/// Rows that are read at a time.
const PAGE: usize = 1000;

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
    nothing_newer(store, engine)?;
    watched.cursors = Some((account.device, cursors.clone()));
    // Between histories there is nothing to compare with.
    let same_history = snapshot.hash_at(engine.state().witness.seq)? == Some(engine.state().witness.hash);
    if completed && same_history { covers(store, engine, snapshot) } else { Ok(()) }
}

/// The witness covers every row of the mirror.
fn nothing_newer(store: usize, engine: &Engine) -> Result<()> {
    let (Some(schema), witness) = (engine.schema(), engine.state().witness.seq) else { return Ok(()) };
    let tables = engine.store().read()?;
    for table in &schema.tables {
        for held in tables.mirror_rows(table.tag, None)? {
            let row = held?.row;
            let newest = row.fields.values().map(|it| it.stamp).chain([row.seq, row.since]).max();
            ensure!(
                newest <= Some(witness),
                Broken::new("witness", format!("store {store} has {row:?}, newer than its witness {witness}"))
            );
        }
    }
    Ok(())
}

/// Up to `complete` the mirror of the complete sections lacks nothing, and has nothing that is gone.
fn covers(store: usize, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
    let cursors = engine.cursors();
    let complete = cursors.main.complete;
    let Some(schema) = engine.schema() else { return Ok(()) };
    let tables = engine.store().read()?;
    for table in &schema.tables {
        let theirs = server_rows(snapshot, table.tag)?;
        for row in theirs.values().filter(|row| row.is_live() && row.since <= complete) {
            if !row.section(table).is_some_and(|section| cursors.sections.contains(&section)) {
                continue;
            }
            let held = tables.mirror(row.key)?.map(|held| held.row);
            let lacks = |field: &FieldTag, stamp: Seq, value: &Value| {
                let mine = held.as_ref().filter(|mine| mine.is_live());
                mine.is_none_or(|mine| {
                    mine.stamp(*field) < stamp || (mine.stamp(*field) == stamp && mine.value(*field) != value)
                })
            };
            let lacking = row.fields.iter().find(|(field, it)| it.stamp <= complete && lacks(field, it.stamp, &it.value));
            let wanted = || tables.wants().map(|wants| wants.iter().any(|want| want.table == table.tag)).unwrap_or(false);
            ensure!(
                lacking.is_none() || wanted(),
                Broken::new(
                    "cursor",
                    format!("store {store} is complete at {complete} and lacks {lacking:?} of {row:?}: {held:?}")
                )
            );
        }
        for held in tables.mirror_rows(table.tag, None)? {
            let mine = held?.row;
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
pub(super) fn equal(store: usize, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
    let Some(account) = engine.account() else { return Ok(()) };
    let Some(rights) = snapshot.rights(account.user)? else { return Ok(()) };
    let sections = snapshot.sections(&rights)?;
    ensure!(
        engine.cursors().sections == sections,
        Broken::new("equal", format!("store {store} has sections {:?} in place of {sections:?}", engine.cursors()))
    );
    let tables = engine.store().read()?;
    for table in &snapshot.schema().tables {
        let seen = |row: &Row| row.is_live() && row.section(table).is_some_and(|section| sections.contains(&section));
        let theirs: BTreeMap<RowKey, Comparable> =
            server_rows(snapshot, table.tag)?.into_values().filter(seen).map(|row| (row.key, comparable(&row))).collect();
        let mut mine = BTreeMap::new();
        for held in tables.mirror_rows(table.tag, None)? {
            let row = held?.row;
            if row.is_live() {
                mine.insert(row.key, comparable(&row));
            }
        }
        ensure!(
            mine == theirs,
            Broken::new("equal", format!("store {store}, {}: mirror {mine:#?}\nserver {theirs:#?}", table.name))
        );
    }
    for section in sections {
        let (mine, theirs) = (tables.digest(&section)?, snapshot.digest(&section)?);
        ensure!(mine == theirs, Broken::new("digest", format!("store {store}: the digests of {section:?} differ")));
    }
    Ok(())
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
