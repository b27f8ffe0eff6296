//! What is kept and for how long, and what is tried again.

use super::*;
use crate::store::{MirrorRow, RecoveryCopy, Store};
use redb::backends::InMemoryBackend;
use tombolo_protocol::commit::Offer;
use tombolo_protocol::ids::{FieldTag, Generation, Hash16, Mark, RowId, RowNo, ScopeKey, TableTag, Version};
use tombolo_protocol::limits::AUTHORS_KEPT_MAX;
use tombolo_protocol::message::{Author, Authors};
use tombolo_protocol::outbox::Edit;
use tombolo_protocol::row::{Life, Row, Stamped};
use tombolo_protocol::schema::{CLINIC, Schema};
use tombolo_protocol::value::Value;

const SITE: FieldTag = FieldTag(9);

fn store() -> Store {
    Store::with_backend(InMemoryBackend::new()).unwrap()
}

/// One step at a time by the device's clock, and by both where they agree.
fn step<R>(store: &Store, now_ms: i64, agree: bool, act: impl FnOnce(&mut Step<'_, '_>) -> R) -> R {
    let schema = Schema::parse(CLINIC).unwrap();
    let done = store.write(|tables| -> Result<R, StoreError> {
        let mut step = Step::begin(tables, &schema, now_ms)?;
        step.agreed_ms = agree.then_some(now_ms);
        let done = act(&mut step);
        step.end()?;
        Ok(done)
    });
    done.unwrap()
}

fn mark(seq: u64) -> Mark {
    Mark { seq: Seq(seq), hash: Hash16::default() }
}

fn site(id: u8) -> RowKey {
    RowKey { table: TableTag(1), id: RowId::from_bytes([id; 16]) }
}

fn acknowledge(step: &mut Step<'_, '_>, number: u64) {
    let outcome = Outcome { number: PushNo(number), commit: mark(number), ..Outcome::default() };
    step.keep_acknowledged(&outcome, vec![(site(1), Pending::new(Op::Delete, Seq(0), 0))]).unwrap();
}

fn kept(store: &Store) -> Vec<u64> {
    store.read().unwrap().acknowledged_above(Seq(0)).unwrap().iter().map(|push| push.commit.seq.0).collect()
}

#[test]
fn acknowledged_pushes_are_dropped_by_their_age_only_while_the_clocks_agree() {
    let store = store();
    let later = (ACKNOWLEDGED_DAYS_MAX as i64 + 1) * DAY_MS;
    step(&store, 0, true, |step| acknowledge(step, 1));
    // Set forward by mistake: nothing goes, and the push has no age.
    step(&store, later, false, |step| acknowledge(step, 2));
    assert_eq!(kept(&store), [1, 2]);
    step(&store, later, true, |step| acknowledge(step, 3));
    assert_eq!(kept(&store), [2, 3]);
    step(&store, 3 * later, true, |step| acknowledge(step, 4));
    assert_eq!(kept(&store), [2, 3, 4], "behind one without an age nothing goes by age");
    assert_eq!(store.read().unwrap().sync_state().unwrap().acknowledged_dropped, 1);
}

#[test]
fn the_bytes_of_acknowledged_pushes_are_counted_and_the_oldest_go() {
    let store = store();
    step(&store, 0, false, |step| (1..=5).for_each(|number| acknowledge(step, number)));
    let total = store.read().unwrap().sync_state().unwrap().acknowledged_bytes;
    let (three, all) = (total * 3 / 5, total);
    step(&store, 0, false, |step| step.bound_acknowledged(all).unwrap());
    assert_eq!(kept(&store), [1, 2, 3, 4, 5]);
    step(&store, 0, false, |step| step.bound_acknowledged(three).unwrap());
    assert_eq!(kept(&store), [3, 4, 5]);
    step(&store, 0, false, |step| step.caught_up(&caught_up(4), mark(4), &[]).map(drop).unwrap());
    step(&store, 0, false, |step| step.take_lost(Seq(4)).map(drop).unwrap());
    assert_eq!(store.read().unwrap().sync_state().unwrap().acknowledged_bytes, 0);
}

fn caught_up(seq: u64) -> CaughtUp {
    CaughtUp { head: None, safe: Seq(seq), schema: Seq(0), sections: 0, digests: Vec::new() }
}

#[test]
fn a_mirror_set_aside_is_kept_for_its_days_by_clocks_that_agree() {
    let store = store();
    let copy = RecoveryCopy {
        at_ms: 0,
        counts_from_ms: None,
        common: Seq(0),
        witness: Seq(0),
        offer: Offer::Yes,
        rows: 0,
        offered: 0,
    };
    step(&store, 0, false, |step| step.tables.put_recovery(1, &copy).unwrap());
    let copies = |at_days: i64, agree: bool| {
        step(&store, at_days * DAY_MS, agree, |step| step.caught_up(&caught_up(1), mark(1), &[]).map(drop).unwrap());
        store.read().unwrap().recovery_copies().unwrap().len()
    };
    // Whatever clock the device had when it was set aside, its days begin here.
    assert_eq!(copies(20_000, true), 1);
    assert_eq!(copies(20_030, true), 1);
    assert_eq!(copies(90_000, false), 1);
    assert_eq!(copies(20_031, true), 0);
}

#[test]
fn a_section_is_fetched_again_once_a_day_whatever_others_are_and_whatever_the_clock_does() {
    let section =
        |id: u8| Section { table: TableTag(2), scope: Some(ScopeKey { field: SITE, value: RowId::from_bytes([id; 16]) }) };
    let (one, two) = (section(1), section(2));
    let store = store();
    let refetched = |now_ms: i64, sections: &[Section]| {
        step(&store, now_ms, true, |step| {
            step.cursors.fills.clear();
            step.cursors.sections = [one, two].into();
            step.refetch(sections);
            step.cursors.fills.keys().copied().collect::<Vec<_>>()
        })
    };
    assert_eq!(refetched(5 * DAY_MS, &[one]), [one]);
    assert_eq!(refetched(5 * DAY_MS + 1, &[one, two]), [two]);
    assert_eq!(refetched(6 * DAY_MS, &[one, two]), [one]);
    assert_eq!(refetched(3 * DAY_MS, &[one]), [one], "the clock was set back");
}

#[test]
fn of_the_authors_the_newest_are_kept() {
    let store = store();
    step(&store, 0, true, |step| {
        let commits = (1..=3).map(|seq| Author { seq: Seq(seq), name: 0, at_ms: 0 }).collect();
        step.keep_authors(&Authors { names: vec!["amina".into()], commits }).unwrap();
        step.tables.bound_authors(2).unwrap();
        assert_eq!([1, 2, 3].map(|seq| step.tables.author(Seq(seq)).unwrap().is_some()), [false, true, true]);
    });
    const { assert!(AUTHORS_KEPT_MAX > 1000) };
}

/// A new row that refers to another, refused because the server does not know that one.
fn missing(step: &mut Step<'_, '_>, key: RowKey, parent: RowKey) {
    let mut next = Pending::new(Op::Create, Seq(0), 0);
    let edit = Edit { value: Value::Uuid(*parent.id.bytes()), base_value: None, base: Seq(0) };
    next.fields.insert(SITE, edit);
    next.review = Some(Review::Refused(Refusal::MissingParent { field: SITE, parent: parent.id }));
    next.rounds = 3;
    put(step, key, next);
    step.state.awaits_parents = true;
}

fn put(step: &mut Step<'_, '_>, key: RowKey, next: Pending) {
    let entry = Entry { next: Some(next), ..Entry::new(key, Seq(2)) };
    step.tables.put_entry(&entry).unwrap();
}

#[test]
fn what_was_set_back_over_a_push_that_comes_back_stays_where_somebody_else_brought_what_was_sent() {
    let (store, key, name) = (store(), site(1), FieldTag(1));
    let update = |value: &str, base_value: &str| {
        let mut pending = Pending::new(Op::Update, Seq(5), 0);
        let edit = Edit { value: Value::text(value), base_value: Some(Value::text(base_value)), base: Seq(5) };
        pending.fields.insert(name, edit);
        pending
    };
    step(&store, 0, false, |step| {
        let stamped = Stamped { value: Value::text("b"), stamp: Seq(8) };
        let row = Row {
            key,
            no: RowNo(1),
            seq: Seq(8),
            ordinal: 0,
            version: Version(2),
            since: Seq(5),
            life: Life::Live,
            fields: [(name, stamped)].into(),
        };
        step.tables.put_mirror(&MirrorRow { row, refetch: 0 }).unwrap();
        let (generation, view_base) = (Generation(1), Seq(5));
        let sent = Sent { number: PushNo(1), generation, view_base, pending: update("b", "a") };
        let entry = Entry { sent: Some(sent), next: Some(update("a", "b")), ..Entry::new(key, Seq(2)) };
        step.tables.put_entry(&entry).unwrap();
        step.thaw(PushNo(1), &[key]).unwrap();
        let next = step.tables.entry(key).unwrap().and_then(|entry| entry.next);
        assert_eq!(next.map(|next| next.fields[&name].value.clone()), Some(Value::text("a")));
    });
}

fn review(step: &Step<'_, '_>, key: RowKey) -> Option<Review> {
    step.tables.entry(key).unwrap().unwrap().next.unwrap().review
}

#[test]
fn t19_what_waits_for_a_row_that_could_have_gone_waits_on_and_with_one_that_is_held_up_it_waits_in_line() {
    let store = store();
    let patient = RowKey { table: TableTag(2), id: RowId::from_bytes([7; 16]) };
    step(&store, 0, true, |step| {
        missing(step, patient, site(1));
        let create = Pending::new(Op::Create, Seq(0), 0);
        // It was left out of the sync: nothing is won by sending the patient again.
        put(step, site(1), create.clone());
        step.wake_waiting().unwrap();
        assert!(review(step, patient).is_some() && step.state.awaits_parents);
        put(step, site(1), Pending { review: Some(Review::Offered), ..create });
        step.wake_waiting().unwrap();
        assert!(review(step, patient).is_none() && !step.state.awaits_parents);
    });
}

#[test]
fn what_was_tried_too_often_in_vain_is_tried_again_when_the_servers_state_is_a_new_one() {
    let store = store();
    step(&store, 0, true, |step| {
        put(step, site(1), Pending { rounds: PROVISIONAL_ROUNDS_MAX + 1, ..Pending::new(Op::Create, Seq(0), 0) });
        (step.state.rounds_used_up, step.state.result_seq) = (true, Seq(9));
        let rounds = |step: &Step<'_, '_>| step.tables.entry(site(1)).unwrap().unwrap().next.unwrap().rounds;
        // The head is the own commit that was in vain: trying again would go on for ever.
        step.caught_up(&caught_up(9), mark(9), &[]).unwrap();
        assert!(rounds(step) > PROVISIONAL_ROUNDS_MAX);
        step.caught_up(&caught_up(10), mark(10), &[]).unwrap();
        assert_eq!(rounds(step), 0);
    });
}
