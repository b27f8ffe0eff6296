//! What is shown is the mirror overlaid with the outbox: what a person saved is there at once and stays in sight while it is
//! pending, and everything else is as it was confirmed.

use super::Broken;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::{FieldTag, RowKey};
use tombolo_client::protocol::outbox::{Entry, Pending};
use tombolo_client::protocol::row::{Life, Row};
use tombolo_client::protocol::value::Value;
use tombolo_client::view::{self, Query, RowView};

type Values = BTreeMap<FieldTag, Value>;

/// Compares every list, and each row by itself, with what mirror and outbox hold.
pub(super) fn check(store: usize, engine: &Engine) -> Result<()> {
    let (Some(schema), tables) = (engine.schema(), engine.store().read()?) else { return Ok(()) };
    for table in &schema.tables {
        let mut held: BTreeMap<RowKey, (Option<Row>, Option<Entry>)> = BTreeMap::new();
        for row in tables.mirror_rows(table.tag, None)? {
            let row = row?.row;
            let key = row.key;
            held.entry(key).or_default().0 = Some(row);
        }
        for entry in tables.entries_of(table.tag, None)? {
            let entry = entry?;
            let key = entry.key;
            held.entry(key).or_default().1 = Some(entry);
        }
        let mut listed: BTreeMap<RowKey, Values> =
            view::list(&tables, table, &Query::default())?.into_iter().map(|row| (row.key, values(&row))).collect();
        for (key, (mirror, entry)) in &held {
            let expected = overlaid(mirror.as_ref(), entry.as_ref());
            let (in_list, alone) = (listed.remove(key), view::get(&tables, schema, *key)?.as_ref().map(values));
            ensure!(
                in_list == expected && alone == expected,
                Broken::new(
                    "shown",
                    format!(
                        "store {store} lists {in_list:?} and shows {alone:?} of {key:?}, and not {expected:?}: {mirror:?}, {entry:?}"
                    )
                )
            );
        }
        ensure!(listed.is_empty(), Broken::new("shown", format!("store {store} lists what nobody wrote: {listed:?}")));
    }
    Ok(())
}

/// What a person has just saved in place of what the form showed is shown. What they set back to what it was before their edit is
/// no edit any more (O2): if others have changed it, or the row is gone, and the form did not show that, then that is shown.
pub(super) fn saved(store: usize, engine: &Engine, form: &RowView, saved: &Values) -> Result<()> {
    let Some(schema) = engine.schema() else { return Ok(()) };
    let tables = engine.store().read()?;
    let (now, entry) = (view::get(&tables, schema, form.key)?, tables.entry(form.key)?);
    let known = tables.mirror(form.key)?.map(|held| held.row).or_else(|| entry.clone()?.kept);
    for (field, value) in saved.iter().filter(|(field, value)| form.value(**field) != *value) {
        let shows = now.as_ref().map(|row| row.value(*field));
        // Another edit keeps a deleted row in sight.
        let theirs = known.as_ref().filter(|row| row.is_live() || now.is_some()).map(|row| row.value(*field));
        let is_theirs = shows == theirs && theirs != Some(form.value(*field));
        ensure!(
            shows == Some(value) || is_theirs,
            Broken::new(
                "shown",
                format!(
                    "store {store} saved {value:?} in field {field} of {:?} and shows {shows:?}: {known:?}, {entry:?}",
                    form.key
                )
            )
        );
    }
    Ok(())
}

fn values(row: &RowView) -> Values {
    not_null(row.values.iter().map(|(field, value)| (*field, value.clone())))
}

fn not_null(values: impl Iterator<Item = (FieldTag, Value)>) -> Values {
    values.filter(|(_, value)| !value.is_null()).collect()
}

/// A row whose newest change is no deletion is there; without changes, as the server says. Of each field the newest unconfirmed
/// value counts, and else the last one that is known; a row that is made anew is not known from before.
fn overlaid(mirror: Option<&Row>, entry: Option<&Entry>) -> Option<Values> {
    let layers = entry.map(|entry| [entry.next.as_ref(), entry.sent.as_ref().map(|sent| &sent.pending)]);
    let newest_first: Vec<&Pending> = layers.into_iter().flatten().flatten().filter(|it| it.op != Op::Decide).collect();
    let kept = entry.and_then(|entry| entry.kept.as_ref());
    let is_new = newest_first.iter().any(|change| change.op == Op::Create);
    let known = mirror.filter(|row| row.life != Life::Purged).or(kept).filter(|_| !is_new);
    let is_there = match newest_first.first() {
        Some(change) => change.op != Op::Delete,
        None => mirror.map_or(kept.is_some(), Row::is_live),
    };
    let mut values: Values =
        known.into_iter().flat_map(|row| &row.fields).map(|(field, stamped)| (*field, stamped.value.clone())).collect();
    for change in newest_first.iter().rev().filter(|change| change.op != Op::Delete) {
        values.extend(change.fields.iter().map(|(field, edit)| (*field, edit.value.clone())));
    }
    is_there.then(|| not_null(values.into_iter()))
}
