//! Stories of results that say nothing of rows, since the client knows what it sent (P5).

use super::super::{Output, Registry};
use super::peer::Peer;
use crate::testing::*;
use tombolo_protocol::change::{Change, PlaceRuns};
use tombolo_protocol::ids::RowNo;
use tombolo_protocol::message::{Down, Outcome};
use tombolo_protocol::value::Value;

/// A device that holds patients 1 to 3, and somebody else who made them.
fn start() -> (World, Registry, Peer, Pusher) {
    let (mut world, mut registry, mut other) = (World::new(), Registry::default(), Pusher::new(900, EVERYBODY));
    world.accepted(&mut other, (1..=3).map(|number| create_patient(number, "p", NORTH)).collect());
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    (world, registry, peer, other)
}

fn based(mut change: Change, peer: &Peer) -> Change {
    change.view_base = peer.view_base(&change.key);
    change.row_base = change.view_base;
    change.fields.iter_mut().for_each(|field| field.base = change.view_base);
    change
}

fn phone(number: u64, value: &str, peer: &Peer) -> Change {
    based(update(key(PATIENTS, number), 0, PHONE, value), peer)
}

/// Pushes; `meanwhile` happens behind the commit and ahead of the answer.
fn answer(
    world: &mut World,
    registry: &mut Registry,
    peer: &mut Peer,
    changes: Vec<Change>,
    meanwhile: impl FnOnce(&mut World),
) -> Outcome {
    let push = peer.freeze(changes);
    peer.send(&push);
    let session = peer.session.as_mut().unwrap();
    session.serve(&world.snapshot(), registry, 0).unwrap();
    let Some(Output::Submit(job)) = session.poll_output() else { panic!("a push goes to the writer") };
    let crate::workspace::Reply::Push(reply) = world.apply(job) else { panic!("a push is answered") };
    meanwhile(world);
    peer.session.as_mut().unwrap().handle_reply(reply);
    peer.settle(world, registry);
    let outcome = peer.seen.iter().rev().find_map(|message| match message {
        Down::Result { outcome, .. } => Some((**outcome).clone()),
        _ => None,
    });
    peer.sync(world, registry);
    peer.assert_converged(world);
    outcome.expect("a result came")
}

#[test]
fn of_rows_that_are_as_expected_nothing_is_told() {
    let (mut world, mut registry, mut peer, _) = start();
    let create = |number| create_patient(number, "q", NORTH);
    let changes = vec![create(11), phone(1, "mine", &peer), create(12), based(delete(key(PATIENTS, 2), 0), &peer), create(13)];
    let outcome = answer(&mut world, &mut registry, &mut peer, changes, |_| {});
    assert_eq!((outcome.as_expected, outcome.rows.0), (PlaceRuns::of(0..5), Vec::new()));
    assert_eq!(outcome.first_created, world.row(&key(PATIENTS, 11)).no);
    assert_eq!(world.row(&key(PATIENTS, 13)).no, RowNo(outcome.first_created.0 + 2));
}

#[test]
fn a_row_that_somebody_else_changed_before_or_behind_the_push_is_told() {
    let (mut world, mut registry, mut peer, mut other) = start();
    let theirs = |number: u64| update(key(PATIENTS, number), u64::MAX >> 1, NOTES, "theirs");
    world.accepted(&mut other, vec![theirs(1)]);
    let changes =
        vec![phone(1, "mine", &peer), phone(2, "mine", &peer), phone(3, "mine", &peer), create_patient(4, "q", NORTH)];
    let outcome = answer(&mut world, &mut registry, &mut peer, changes, |world| {
        world.accepted(&mut other, vec![theirs(3), theirs(4)]);
    });
    assert_eq!((outcome.as_expected, outcome.rows.0.len()), (PlaceRuns::of([1]), 3));
    assert_eq!(peer.value(&key(PATIENTS, 3), NOTES), Value::text("theirs"));
}

#[test]
fn a_row_that_an_own_push_changed_since_the_base_is_told() {
    // Its version is two more than what the client held at the base, though no stamp tells it.
    let (mut world, mut registry, mut peer, _) = start();
    let (first, mut second) = (phone(1, "one", &peer), phone(1, "two", &peer));
    let outcome = answer(&mut world, &mut registry, &mut peer, vec![first], |_| {});
    assert_eq!(outcome.as_expected, PlaceRuns::of([0]));
    second.fields[0].base = outcome.commit.seq;
    let outcome = answer(&mut world, &mut registry, &mut peer, vec![second], |_| {});
    assert_eq!((outcome.as_expected.is_empty(), outcome.rows.0.len()), (true, 1));
}

#[test]
fn a_row_that_may_not_be_seen_any_more_is_not_as_expected() {
    let (mut world, mut registry, mut peer, _) = start();
    let changes = vec![phone(1, "mine", &peer)];
    let outcome = answer(&mut world, &mut registry, &mut peer, changes, |world| world.grant(NORTHERN, &[SOUTH]));
    assert_eq!((outcome.as_expected.is_empty(), outcome.rows.0.len()), (true, 0));
}
