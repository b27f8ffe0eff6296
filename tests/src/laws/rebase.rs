//! What an answer leaves of an entry that was edited meanwhile (O5, O6).

use super::ground::{FIELDS, Story, a_write, fields, key, row, table, value};
use super::{Choices, Law, law};
use anyhow::{Context, Result, ensure};
use tombolo_client::protocol::change::{Op, Refusal, Verdict};
use tombolo_client::protocol::ids::{PushNo, Seq};
use tombolo_client::protocol::outbox::{Pending, Sent, Write, change_of, lift, settle};
use tombolo_client::protocol::row::{Life, Row, Stamped};

pub(super) const LAWS: &[Law] = &[
    law("rebase: an accepted push leaves what was edited meanwhile, on what was sent", 64, accepted),
    law("rebase: what is shown does not move when the own push is answered", 64, shown_stays),
    law("rebase: the row base follows the own result and nobody else's change", 64, row_base),
    law("rebase: a push that comes back drops nothing that was typed", 64, comes_back),
    law("rebase: lifting changes bases only, and never lowers one", 64, lifting),
    law("rebase: a change carries what is pending, and a delete nothing", 64, changes),
];

const COMPLETE: Seq = Seq(20);
const RESULT: Seq = Seq(30);

/// An entry of a row that is there, of which a part is in flight and a part may have come since.
fn in_flight(c: &mut Choices<'_>) -> Option<Story> {
    let mut story = Story::new(table(c), Some(row(c, 5)));
    for _ in 0..=c.below(3) {
        let _not_possible_now = story.write(a_write(c));
    }
    let mut pending = story.entry.next.take()?;
    lift(&mut pending, story.mirror.as_ref()?, Some(COMPLETE));
    let generation = story.entry.generation;
    story.entry.sent = Some(Sent { number: PushNo(1), generation, view_base: COMPLETE, pending });
    for _ in 0..c.below(4) {
        let _not_possible_now = story.write(a_write(c));
    }
    Some(story)
}

/// The server's row when it has accepted what was sent, and perhaps somebody else's change before it.
fn after_push(mirror: &Row, sent: &Pending, foreign: Option<&(Stamped, usize)>) -> Row {
    let mut server = mirror.clone();
    if let Some((stamped, place)) = foreign {
        server.fields.insert(FIELDS[*place], stamped.clone());
    }
    if sent.op == Op::Delete {
        server.life = Life::Deleted;
    } else {
        for (field, edit) in &sent.fields {
            if server.value(*field) != &edit.value {
                server.fields.insert(*field, Stamped { value: edit.value.clone(), stamp: RESULT });
            }
        }
        if server.life != Life::Live {
            (server.life, server.since) = (Life::Live, RESULT);
        }
    }
    server.seq = RESULT;
    server
}

fn accepted(c: &mut Choices<'_>) -> Result<()> {
    let Some(mut story) = in_flight(c) else { return Ok(()) };
    let before = story.clone();
    let sent = before.entry.sent.clone().context("it was sent")?;
    let mirror = before.mirror.clone().context("it is there")?;
    let server = after_push(&mirror, &sent.pending, None);
    let verdict = c.pick(&[Verdict::Accepted { merged: false }, Verdict::Agreed]);
    let state = server.since_base(COMPLETE);
    let settled = settle(story.table, &mut story.entry, &verdict, RESULT, Some(&state)).context("it was confirmed")?;
    ensure!(story.entry.sent.is_none() && settled.generation == sent.generation, "{before:?} became {story:?}");
    let Some(was) = &before.entry.next else {
        ensure!(story.entry.is_empty(), "nothing came meanwhile, and this is left: {story:?}");
        return Ok(());
    };
    let is = story.entry.next.as_ref().context("an answer for an older edit cleared a newer one")?;
    ensure!(is.op == was.op && is.fields.keys().eq(was.fields.keys()), "{before:?} became {story:?}");
    for (field, edit) in &is.fields {
        let old = &was.fields[field];
        ensure!(edit.value == old.value, "the answer changed {field}: {before:?} became {story:?}");
        let sent_value = sent.pending.fields.get(field).filter(|_| sent.pending.op != Op::Delete).map(|edit| &edit.value);
        match sent_value {
            Some(value) => ensure!(
                edit.base_value.as_ref() == Some(value) && edit.base == RESULT,
                "{field} is not based on what was sent: {before:?} became {story:?}"
            ),
            None if sent.pending.op == Op::Create => {}
            None => ensure!(edit == old, "{field} was not sent, and moved: {before:?} became {story:?}"),
        }
    }
    Ok(())
}

fn shown_stays(c: &mut Choices<'_>) -> Result<()> {
    let Some(mut story) = in_flight(c) else { return Ok(()) };
    let before = story.clone();
    let (sent, mirror) = before.entry.sent.as_ref().zip(before.mirror.as_ref()).context("it was sent")?;
    let server = after_push(mirror, &sent.pending, None);
    let state = server.since_base(COMPLETE);
    story.settled.extend(settle(story.table, &mut story.entry, &Verdict::Accepted { merged: false }, RESULT, Some(&state)));
    story.mirror = Some(server);
    ensure!(story.shown() == before.shown(), "{before:?} showed {:?}; {story:?} shows {:?}", before.shown(), story.shown());
    ensure!(story.conflict().is_none(), "a question about the own push: {story:?} from {before:?}");
    Ok(())
}

fn row_base(c: &mut Choices<'_>) -> Result<()> {
    let Some(mut story) = in_flight(c) else { return Ok(()) };
    let before = story.clone();
    let foreign = c.maybe(|c| (Stamped { value: value(c), stamp: Seq(25) }, c.below(FIELDS.len())));
    let brings_row = c.chance(80);
    let (sent, mirror) = before.entry.sent.as_ref().zip(before.mirror.as_ref()).context("it was sent")?;
    let foreign =
        foreign.filter(|(_, place)| sent.pending.op == Op::Delete || !sent.pending.fields.contains_key(&FIELDS[*place]));
    let server = after_push(mirror, &sent.pending, foreign.as_ref());
    let state = brings_row.then(|| server.since_base(COMPLETE));
    settle(story.table, &mut story.entry, &Verdict::Accepted { merged: foreign.is_some() }, RESULT, state.as_ref());
    let (Some(was), Some(is)) = (&before.entry.next, &story.entry.next) else { return Ok(()) };
    // A base that is newer than somebody's change has seen it.
    let unseen = foreign.is_some() && was.row_base < Seq(25);
    let wanted = if brings_row && !unseen { RESULT } else { was.row_base };
    ensure!(is.row_base == wanted, "row base {} and not {wanted}: {before:?} became {story:?}", is.row_base);
    Ok(())
}

fn comes_back(c: &mut Choices<'_>) -> Result<()> {
    let mut story = Story::new(table(c), Some(row(c, 5)));
    story.write(Write::Update(fields(c)))?;
    let Some(pending) = story.entry.next.take() else { return Ok(()) };
    let generation = story.entry.generation;
    story.entry.sent = Some(Sent { number: PushNo(1), generation, view_base: COMPLETE, pending });
    for _ in 0..c.below(3) {
        story.write(Write::Update(fields(c)))?;
    }
    let before = story.clone();
    let verdict = c.pick(&[Verdict::Conflict, Verdict::Held { by: key() }, Verdict::Refused(Refusal::NoRight)]);
    settle(story.table, &mut story.entry, &verdict, RESULT, None);
    ensure!(story.entry.sent.is_none(), "it is still in flight: {story:?}");
    ensure!(story.shown() == before.shown(), "{before:?} came back as {story:?}");
    let fields = story.entry.next.iter().flat_map(|next| &next.fields);
    for (field, edit) in fields {
        let oldest = before.entry.layers().filter_map(|layer| layer.fields.get(field)).map(|edit| edit.base).min();
        ensure!(Some(edit.base) == oldest, "{field} came back on another base: {before:?} became {story:?}");
    }
    Ok(())
}

fn lifting(c: &mut Choices<'_>) -> Result<()> {
    let mut story = Story::new(table(c), Some(row(c, 40)));
    story.write(a_write(c)).or_else(|_| story.write(Write::Delete))?;
    let (Some(mut pending), Some(mirror)) = (story.entry.next.take(), story.mirror.clone()) else { return Ok(()) };
    pending.row_base = Seq(c.below(50) as u64);
    let before = pending.clone();
    let complete = c.maybe(|c| Seq(c.below(50) as u64));
    lift(&mut pending, &mirror, complete);
    let is_lifted = |old: Seq, new: Seq| new == old.max(complete.unwrap_or_default());
    for (field, edit) in &pending.fields {
        let old = &before.fields[field];
        let is_right = if before.op == Op::Create { edit.base == old.base } else { is_lifted(old.base, edit.base) };
        ensure!(is_right && edit.value == old.value && edit.base_value == old.base_value, "{before:?} became {pending:?}");
    }
    // T36: a row that is newer than its base has a change that nobody saw.
    let unseen = mirror.seq > before.row_base;
    let is_right = if unseen { pending.row_base == before.row_base } else { is_lifted(before.row_base, pending.row_base) };
    ensure!(is_right, "{before:?} at {complete:?} on {mirror:?} became {pending:?}");
    Ok(())
}

fn changes(c: &mut Choices<'_>) -> Result<()> {
    let Some(story) = in_flight(c) else { return Ok(()) };
    for pending in story.entry.layers() {
        let change = change_of(key(), pending, COMPLETE, None);
        let carries = !matches!(pending.op, Op::Delete | Op::Decide);
        let wanted: Vec<_> = pending.fields.iter().filter(|_| carries).map(|(f, e)| (*f, &e.value, e.base)).collect();
        let carried: Vec<_> = change.fields.iter().map(|field| (field.field, &field.value, field.base)).collect();
        ensure!(carried == wanted && change.op == pending.op && change.lost == pending.lost, "{pending:?} goes as {change:?}");
    }
    Ok(())
}
