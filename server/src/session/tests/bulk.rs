//! Stories of answers that one frame cannot hold. [`Peer::serve`] reads every frame as a client does.

use super::super::{Registry, SessionConfig};
use super::peer::Peer;
use crate::access::OPERATOR;
use crate::testing::*;
use crate::workspace::{Job, Reply};
use tombolo_protocol::change::{Change, FieldChange, Push};
use tombolo_protocol::frame::encode_down;
use tombolo_protocol::ids::Seq;
use tombolo_protocol::limits::{FRAME_INFLATED_BYTES_MAX, FRAME_WIRE_BYTES_MAX};
use tombolo_protocol::message::Down;
use tombolo_protocol::value::Value;

/// Text that does not compress.
fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(33 + (state >> 33) as u8 % 94)
    };
    (0..len).map(|_| next()).collect()
}

/// A world in which somebody else wrote these notes into the patients of a device, while it changed all their phones. Its push
/// is frozen.
fn crossed(rows: u64, notes: impl Fn(u64) -> String) -> (World, Registry, Peer, Push) {
    let (mut world, mut registry) = (World::new(), Registry::default());
    let mut other = Pusher::new(900, EVERYBODY);
    let creates = (1..=rows).map(|n| create_patient(n, "p", NORTH)).collect();
    let base = world.accepted(&mut other, creates).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.config = SessionConfig::default();
    peer.sync(&mut world, &mut registry);
    peer.cut();
    peer.seen.clear();
    for n in 1..=rows {
        world.accepted(&mut other, vec![update(key(PATIENTS, n), base, NOTES, &notes(n))]);
    }
    let changed = |n| {
        let change = update(key(PATIENTS, n), base, PHONE, "1");
        Change { view_base: peer.view_base(&change.key), ..change }
    };
    let changes = (1..=rows).map(changed).collect();
    let push = peer.freeze(changes);
    (world, registry, peer, push)
}

fn results(peer: &Peer) -> usize {
    peer.seen.iter().filter(|message| matches!(message, Down::Result { .. })).count()
}

#[test]
fn a_result_that_one_frame_cannot_hold_comes_in_several() {
    let (mut world, mut registry, mut peer, push) = crossed(30, |n| noise(n, 50_000));
    peer.connect();
    peer.send(&push);
    peer.settle(&mut world, &mut registry);
    assert_eq!(results(&peer), 1);
    let ahead = peer.seen.iter().filter(|message| matches!(message, Down::Rows { asked, .. } if asked.is_empty()));
    assert!(ahead.count() >= 1);
    assert_eq!(peer.value(&key(PATIENTS, 30), PHONE), Value::text("1"));
    peer.sync(&mut world, &mut registry);
    peer.assert_converged(&world);
}

#[test]
fn a_result_that_only_inflated_is_too_large_comes_in_several() {
    let (mut world, mut registry, mut peer, push) = crossed(250, |_| "word ".repeat(4_000));
    peer.connect();
    peer.send(&push);
    peer.settle(&mut world, &mut registry);
    assert_eq!(results(&peer), 1);
    peer.sync(&mut world, &mut registry);
    peer.assert_converged(&world);
}

#[test]
fn a_lost_answer_that_welcome_cannot_hold_is_given_when_the_push_is_sent_again() {
    let (mut world, mut registry, mut peer, push) = crossed(30, |n| noise(n, 50_000));
    peer.connect();
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    let head = world.workspace.head();
    // Another one behind it is not answered before it.
    let next = peer.freeze(vec![create_patient(99, "next", NORTH)]);
    peer.connect();
    peer.settle(&mut world, &mut registry);
    let Some(Down::Welcome(welcome)) = peer.seen.first() else { panic!("{:?}", peer.seen) };
    assert!(welcome.outcomes.is_empty());
    peer.send(&push);
    peer.send(&next);
    peer.settle(&mut world, &mut registry);
    assert_eq!(world.workspace.head().seq, head.seq.next(), "applied once");
    assert_eq!(results(&peer), 2);
    peer.sync(&mut world, &mut registry);
    peer.assert_converged(&world);
}

#[test]
fn a_copy_gets_verdicts_without_the_rows_that_do_not_fit() {
    let (mut world, mut registry, mut peer, push) = crossed(30, |n| noise(n, 50_000));
    peer.connect();
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    peer.kept.applied.1.0[0] ^= 1;
    peer.kept.applied.0 = push.number;
    peer.connect();
    peer.serve(&mut world, &mut registry);
    let Some(Down::Copy(copied)) = peer.down.back() else { panic!("{:?}", peer.down) };
    let [outcome] = &copied.outcomes[..] else { panic!("{copied:?}") };
    assert_eq!(outcome.verdicts.as_ref().map(|verdicts| verdicts.len()), Some(30));
    assert!(outcome.rows.0.is_empty());
}

#[test]
fn chunks_of_rows_that_do_not_compress_fit_their_frames() {
    let (mut world, mut registry) = (World::new(), Registry::default());
    let noted = |n| {
        let mut create = create_patient(n, "p", NORTH);
        let notes = FieldChange { field: NOTES, value: Value::text(&noise(n, 60_000)), base: Seq(0) };
        create.fields.insert(1, notes);
        create
    };
    let reply = world.apply(Job::import(OPERATOR, (1..=40).map(noted).collect()));
    assert!(matches!(reply, Reply::Import(Ok(_))));
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.config = SessionConfig::default();
    let mut hello = peer.hello();
    hello.rate = 2_000_000;
    peer.connect_with(hello);
    peer.settle(&mut world, &mut registry);
    peer.assert_converged(&world);
}

#[test]
fn rows_that_each_name_commits_of_their_own_count_these_too() {
    // One byte of a value, twenty of who and when for each.
    let (mut world, mut registry) = (World::new(), Registry::default());
    let mut other = Pusher::new(900, EVERYBODY);
    let creates = (1..=250).map(|n| create_patient(n, "p", NORTH)).collect();
    let base = world.accepted(&mut other, creates).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.config = SessionConfig { chunk_bytes_max: 8 * 1024, chunk_bytes_first: 8 * 1024, ..SessionConfig::default() };
    peer.sync(&mut world, &mut registry);
    for n in 1..=250 {
        world.accepted(&mut other, vec![update(key(PATIENTS, n), base, PHONE, "1")]);
    }
    peer.seen.clear();
    peer.settle(&mut world, &mut registry);
    for message in &peer.seen {
        if let Down::Delta(delta) = message {
            assert!(delta.authors.commits.len() <= 8 * 1024 / (48 + 20), "{}", delta.authors.commits.len());
            assert!(encode_down(message).len() <= FRAME_WIRE_BYTES_MAX.min(FRAME_INFLATED_BYTES_MAX));
        }
    }
    peer.assert_converged(&world);
}
