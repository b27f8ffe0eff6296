//! What is shown: the mirror overlaid with what is pending.

use super::ground::{FIELDS, Story, UNITS, a_write, fields, key, not_null, row, table, value};
use super::{Choices, Law, law};
use anyhow::{Result, ensure};
use tombolo_client::protocol::change::{Op, Verdict};
use tombolo_client::protocol::ids::{FieldTag, PushNo, Seq};
use tombolo_client::protocol::outbox::{Sent, Write, settle};
use tombolo_client::protocol::row::Stamped;

pub(super) const LAWS: &[Law] = &[
    law("overlay: what is squashed shows what the layers showed", 64, squashed_shows_the_same),
    law("overlay: a row that nobody else touches asks no question", 64, nobody_conflicts_with_themselves),
    law("overlay: what was written is shown, and nothing else moves", 64, a_write_is_shown),
    law("overlay: what was written is shown, or what others wrote where it is set back", 96, a_write_over_others_is_shown),
    law("overlay: edits that are all set back leave nothing", 64, set_back_leaves_nothing),
    law("overlay: a delete and its restore show what was there", 64, delete_and_restore),
];

/// Writes that are possible, with what was pending at one of them taken into a push.
fn play(c: &mut Choices<'_>, is_there: bool) -> Story {
    let mirror = row(c, 5);
    let mut story = Story::new(table(c), is_there.then_some(mirror));
    let frozen_at = c.below(6);
    for place in 0..=c.below(6) {
        if place == frozen_at
            && let Some(pending) = story.entry.next.take()
        {
            let generation = story.entry.generation;
            story.entry.sent = Some(Sent { number: PushNo(1), generation, view_base: Seq(5), pending });
        }
        let _not_possible_now = story.write(a_write(c));
    }
    story
}

/// The answer sends all back: what was sent and what came next are one again.
fn come_back(story: &mut Story) {
    if story.entry.sent.is_some() {
        settle(story.table, &mut story.entry, &Verdict::Held { by: key() }, Seq(6), None);
    }
}

fn squashed_shows_the_same(c: &mut Choices<'_>) -> Result<()> {
    let is_there = c.chance(60);
    let mut story = play(c, is_there);
    let layered = story.clone();
    come_back(&mut story);
    ensure!(story.shown() == layered.shown(), "{layered:?} shows {:?}, and squashed {story:?}", layered.shown());
    Ok(())
}

fn nobody_conflicts_with_themselves(c: &mut Choices<'_>) -> Result<()> {
    let mut story = play(c, true);
    come_back(&mut story);
    ensure!(story.conflict().is_none(), "{story:?} asks {:?}", story.conflict());
    Ok(())
}

fn a_write_is_shown(c: &mut Choices<'_>) -> Result<()> {
    let is_there = c.chance(70);
    let mut story = play(c, is_there);
    let (before, was) = (story.clone(), story.shown());
    let what = a_write(c);
    if story.write(what.clone()).is_err() {
        ensure!(story.entry == before.entry, "a write that is not possible changed {before:?} into {story:?}");
        return Ok(());
    }
    let is = story.shown();
    let wanted = match (&what, was) {
        (Write::Delete, _) => None,
        (Write::Update(fields), Some(mut values)) => {
            values.extend(fields.clone());
            not_null(Some(values))
        }
        (Write::Create(fields), _) => not_null(Some(fields.clone())),
        (Write::Restore | Write::Update(_), _) => is.clone(),
    };
    ensure!(is == wanted, "{what:?} on {before:?} shows {is:?}, and not {wanted:?}");
    Ok(())
}

/// Somebody else's newer values arrive between the writes.
fn a_write_over_others_is_shown(c: &mut Choices<'_>) -> Result<()> {
    let is_there = c.chance(70);
    let mut story = play(c, is_there);
    let mut theirs = story.mirror.take().unwrap_or_else(|| row(c, 1));
    let moved = if is_there { fields(c) } else { FIELDS.iter().map(|field| (*field, value(c))).collect() };
    for (field, value) in moved {
        theirs.fields.insert(field, Stamped { value, stamp: Seq(6) });
    }
    theirs.seq = Seq(6);
    story.mirror = Some(theirs.clone());
    for _ in 0..=c.below(4) {
        let (before, was) = (story.clone(), story.shown());
        let what = fields(c);
        if story.write(Write::Update(what.clone())).is_err() {
            return Ok(());
        }
        let (is, was) = (story.shown().unwrap_or_default(), was.unwrap_or_default());
        for unit in UNITS {
            let touched = unit.iter().any(|member| what.contains_key(member));
            let shown_before = |member: &FieldTag| was.get(member).cloned().unwrap_or_default();
            let is_news = unit.iter().any(|member| theirs.stamp(*member) == Seq(6))
                && unit.iter().any(|member| *theirs.value(*member) != shown_before(member));
            for field in unit {
                let wanted = what.get(field).or(was.get(field)).cloned().unwrap_or_default();
                let is = is.get(field).cloned().unwrap_or_default();
                let is_theirs = touched && is_news && is == *theirs.value(*field);
                ensure!(
                    is == wanted || is_theirs,
                    "{what:?} on {before:?} shows {is:?} in {field}, and not {wanted:?}: {story:?}"
                );
            }
        }
    }
    Ok(())
}

fn set_back_leaves_nothing(c: &mut Choices<'_>) -> Result<()> {
    let mirror = row(c, 5);
    let mut story = Story::new(table(c), Some(mirror.clone()));
    for _ in 0..=c.below(4) {
        story.write(Write::Update(fields(c)))?;
    }
    let mut back = FIELDS.to_vec();
    let turns = c.below(FIELDS.len());
    back.rotate_left(turns);
    for field in back {
        story.write(Write::Update([(field, mirror.value(field).clone())].into()))?;
    }
    ensure!(story.entry.is_empty(), "everything is as it was, and this is left: {story:?}");
    Ok(())
}

fn delete_and_restore(c: &mut Choices<'_>) -> Result<()> {
    let mut story = play(c, true);
    let before = story.clone();
    // A restore that was never sent and is deleted again is nothing (O3): what was typed into it goes with it.
    if before.entry.next.as_ref().is_some_and(|next| next.op == Op::Restore) {
        return Ok(());
    }
    if story.write(Write::Delete).is_err() || story.write(Write::Restore).is_err() {
        return Ok(());
    }
    ensure!(story.shown() == before.shown(), "{before:?} deleted and restored is {story:?}");
    Ok(())
}
