//! Full chunks of a first sync are made once, and again where what they say is not so any more.

use super::super::{Registry, SessionConfig};
use super::peer::Peer;
use crate::testing::*;
use std::sync::Arc;
use tombolo_protocol::change::Change;
use tombolo_protocol::commit::Grant;
use tombolo_protocol::message::{Down, Up};
use tombolo_protocol::row::StateKind;
use tombolo_protocol::schema::Role;

/// Patients of one commit; a chunk has room for one commit of so many, and not for two.
const TOGETHER: u64 = 30;

struct Clinic {
    world: World,
    registry: Registry,
    other: Pusher,
    devices: u128,
}

impl Clinic {
    fn new() -> Self {
        let mut clinic =
            Self { world: World::new(), registry: Registry::default(), other: Pusher::new(900, EVERYBODY), devices: 0 };
        (0..6).for_each(|commit| clinic.create(commit));
        clinic
    }

    fn create(&mut self, commit: u64) {
        let numbers = commit * TOGETHER + 1..=(commit + 1) * TOGETHER;
        self.push(numbers.map(|number| create_patient(number, "p", NORTH)).collect());
    }

    fn push(&mut self, changes: Vec<Change>) {
        self.world.accepted(&mut self.other, changes);
    }

    fn device(&mut self) -> Peer {
        self.devices += 1;
        let mut peer = Peer::new(&mut self.world, self.devices, NORTHERN);
        peer.config = SessionConfig { chunk_bytes_max: 4 * 1024, chunk_bytes_first: 4 * 1024, ..SessionConfig::default() };
        peer
    }

    /// A new device that has everything; what of that it was sent as frames that were made already.
    fn first_sync(&mut self) -> (Peer, Vec<Arc<[u8]>>) {
        let mut peer = self.device();
        peer.sync(&mut self.world, &mut self.registry);
        peer.assert_converged(&self.world);
        let prepared = std::mem::take(&mut peer.prepared);
        (peer, prepared)
    }
}

/// How many of these are the same pieces of memory as the others at their places.
fn shared(one: &[Arc<[u8]>], other: &[Arc<[u8]>]) -> Vec<bool> {
    one.iter().zip(other).map(|(one, other)| Arc::ptr_eq(one, other)).collect()
}

#[test]
fn a_full_chunk_is_made_once_for_all_devices_of_a_section() {
    let mut clinic = Clinic::new();
    let (_, first) = clinic.first_sync();
    let (_, second) = clinic.first_sync();
    assert_eq!(shared(&first, &second), [true; 5]);
    assert_eq!(first.len(), second.len());
}

#[test]
fn a_chunk_whose_rows_changed_is_made_again_and_the_others_are_not() {
    let mut clinic = Clinic::new();
    let (_, first) = clinic.first_sync();
    let base = clinic.world.workspace.head().seq.0;
    clinic.push(vec![delete(key(PATIENTS, 1), base)]);
    clinic.push(vec![update(key(PATIENTS, 2 * TOGETHER + 1), base, PHONE, "7")]);
    let (peer, second) = clinic.first_sync();
    assert_eq!(shared(&first, &second), [false, true, false, true, true]);
    assert!(!peer.kept.mirror.contains_key(&key(PATIENTS, 1)), "a device that comes later hears nothing of it");
}

#[test]
fn who_made_the_rows_is_told_by_the_name_that_they_have_now() {
    let mut clinic = Clinic::new();
    let (_, first) = clinic.first_sync();
    clinic.world.user(EVERYBODY, "renamed", Role::Admin, Grant::All);
    let (peer, second) = clinic.first_sync();
    assert_eq!(shared(&first, &second), [false; 5]);
    let told = |down: &Down| matches!(down, Down::Delta(delta) if delta.authors.names.contains(&"everybody".to_owned()));
    assert!(!peer.seen.iter().any(told));
}

#[test]
fn a_deletion_behind_the_head_of_a_fill_is_not_lost_by_a_chunk_that_was_made_at_a_later_head() {
    // T4: the one that began earlier holds the row, the one that began later never hears of it.
    let mut clinic = Clinic::new();
    let mut early = clinic.device();
    early.acknowledges = false;
    early.connect();
    early.serve(&mut clinic.world, &mut clinic.registry);
    while early.receive() {}
    assert!(early.kept.mirror.contains_key(&key(PATIENTS, 1)));
    let base = clinic.world.workspace.head().seq.0;
    clinic.push(vec![delete(key(PATIENTS, 1), base)]);
    (6..9).for_each(|commit| clinic.create(commit));
    let (_, late) = clinic.first_sync();
    assert_eq!(late.len(), 8, "the deletion is in one of them");
    early.acknowledges = true;
    let received = early.seen.iter().filter(|down| matches!(down, Down::Delta(_))).count();
    (0..received).for_each(|_| early.say(Up::AckDelta));
    early.settle(&mut clinic.world, &mut clinic.registry);
    let gone =
        |down: &Down| matches!(down, Down::Delta(delta) if delta.rows.0.iter().any(|row| row.kind == StateKind::Deleted));
    assert!(early.seen.iter().any(gone));
    assert!(early.prepared.iter().any(|frame| late.iter().any(|other| Arc::ptr_eq(frame, other))), "others are shared");
    early.assert_converged(&clinic.world);
}
