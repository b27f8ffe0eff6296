//! What a server says of a row to somebody who holds it as it was, and what comes of applying it (S1 to S3).

use super::ground::{fields, key, row};
use super::{Choices, Law, law};
use anyhow::{Context, Result, ensure};
use tombolo_client::protocol::ids::Seq;
use tombolo_client::protocol::row::{Applied, Life, Row, RowState, Stamped, StateKind, apply};

pub(super) const LAWS: &[Law] = &[
    law("diff: applied to what was held it gives the row", 64, gives_the_row),
    law("diff: applied twice it changes nothing more", 64, idempotent),
    law("diff: records in any order end at the newest", 64, any_order),
    law("diff: it brings what is newer than the base, and nothing else", 64, minimal),
    law("diff: an exit evicts what it is newer than, and nothing else", 64, exits),
];

/// A row as it was after each of its commits.
fn history(c: &mut Choices<'_>) -> Vec<Row> {
    let mut now = row(c, 1);
    let mut rows = vec![now.clone()];
    for seq in 2..3 + c.below(6) as u64 {
        now.seq = Seq(seq);
        now.version.0 += 1;
        match (now.life, c.below(5)) {
            (Life::Live, 0) => now.life = Life::Deleted,
            (Life::Live, _) => {
                for (field, value) in fields(c) {
                    now.fields.insert(field, Stamped { value, stamp: Seq(seq) });
                }
            }
            (Life::Deleted, 0) => {
                now.life = Life::Purged;
                now.fields.clear();
            }
            (Life::Deleted | Life::Purged, _) => (now.life, now.since) = (Life::Live, Seq(seq)),
        }
        rows.push(now.clone());
    }
    rows
}

/// What is held afterwards.
fn applied(held: Option<&Row>, state: &RowState) -> Option<Row> {
    match apply(key(), held, state) {
        Applied::Store(row) => Some(row),
        Applied::Unchanged => held.cloned(),
        Applied::Evict | Applied::Want => None,
    }
}

fn gives_the_row(c: &mut Choices<'_>) -> Result<()> {
    let rows = history(c);
    let held = c.maybe(|c| c.below(rows.len()));
    let to = c.below(rows.len()).max(held.unwrap_or_default());
    let (held, server) = (held.map(|at| &rows[at]), &rows[to]);
    let state = server.since_base(held.map_or(Seq(0), |row| row.seq));
    let after = applied(held, &state);
    ensure!(after.as_ref() == Some(server), "{state:?} on {held:?} gives {after:?}, and not {server:?}");
    Ok(())
}

fn idempotent(c: &mut Choices<'_>) -> Result<()> {
    let rows = history(c);
    let (held, server) = (&rows[c.below(rows.len())], &rows[c.below(rows.len())]);
    let state = server.since_base(Seq(c.below(rows.len()) as u64));
    let Some(once) = applied(Some(held), &state) else { return Ok(()) };
    let twice = apply(key(), Some(&once), &state);
    ensure!(twice == Applied::Unchanged, "{state:?} on {held:?} gives {once:?}, and then {twice:?}");
    Ok(())
}

fn any_order(c: &mut Choices<'_>) -> Result<()> {
    let rows = history(c);
    let last = rows.last().context("a row has a beginning")?;
    // Everything since what is held comes, each record at least once.
    let begin = c.below(rows.len());
    let base = rows[begin].seq;
    let mut states: Vec<RowState> = rows[begin..].iter().map(|row| row.since_base(base)).collect();
    for place in (1..states.len()).rev() {
        states.swap(place, c.below(place + 1));
    }
    let mut held = rows[begin].clone();
    for state in &states {
        held = applied(Some(&held), state).with_context(|| format!("{state:?} drops the row: {states:?}"))?;
    }
    ensure!(&held == last, "{states:?} on {:?} give {held:?}, and not {last:?}", rows[begin]);
    Ok(())
}

fn minimal(c: &mut Choices<'_>) -> Result<()> {
    let rows = history(c);
    let (base, server) = (Seq(c.below(rows.len() + 1) as u64), &rows[c.below(rows.len())]);
    let state = server.since_base(base);
    let is_needed_whole = base == Seq(0) || server.since > base || !server.is_live();
    ensure!(state.whole == is_needed_whole, "{server:?} since {base}: {state:?}");
    let wanted = server.fields.iter().filter(|(_, stamped)| state.whole || stamped.stamp > base).map(|(field, _)| *field);
    ensure!(wanted.eq(state.fields.iter().map(|field| field.field)), "{server:?} since {base}: {state:?}");
    Ok(())
}

fn exits(c: &mut Choices<'_>) -> Result<()> {
    let rows = history(c);
    let held = &rows[c.below(rows.len())];
    let at = Seq(c.below(9) as u64);
    let exit = RowState { kind: StateKind::Exited, fields: Vec::new(), seq: at, ..held.since_base(Seq(0)) };
    let found = apply(key(), Some(held), &exit);
    let wanted = if at > held.since { Applied::Evict } else { Applied::Unchanged };
    ensure!(found == wanted, "an exit at {at} of {held:?}: {found:?}");
    ensure!(apply(key(), None, &exit) == Applied::Unchanged, "an exit of a row that is not held does something");
    Ok(())
}
