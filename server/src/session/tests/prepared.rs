//! Full chunks of a first sync are made once, and again where what they say is not so any more.

use super::super::{Registry, SessionConfig};
use super::peer::Peer;
use crate::testing::*;
use std::sync::Arc;
use tombolo_protocol::change::{Change, FieldChange};
use tombolo_protocol::commit::Grant;
use tombolo_protocol::ids::Seq;
use tombolo_protocol::message::{Down, Up};
use tombolo_protocol::row::StateKind;
use tombolo_protocol::schema::Role;
use tombolo_protocol::value::Value;

/// Patients of one commit; a chunk has room for one commit of so many, and not for two.
const TOGETHER: u64 = 30;

/// A story with devices that come to one section.
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
fn chunks_behind_one_that_changed_stay_where_they_are_also_where_each_row_has_a_commit_of_its_own() {
    let mut clinic = Clinic::new();
    for number in 1000..1200 {
        clinic.push(vec![create_patient(number, "p", NORTH)]);
    }
    let (_, first) = clinic.first_sync();
    let base = clinic.world.workspace.head().seq.0;
    clinic.push(vec![delete(key(PATIENTS, 1000), base)]);
    let (_, second) = clinic.first_sync();
    let again = shared(&first, &second).iter().filter(|is_shared| !**is_shared).count();
    assert_eq!((again, first.len()), (1, second.len()));
}

#[test]
fn who_begins_inside_a_chunk_has_the_others_behind_it() {
    let mut clinic = Clinic::new();
    let (_, first) = clinic.first_sync();
    let mut peer = clinic.device();
    peer.config.chunk_bytes_first = 1024;
    peer.sync(&mut clinic.world, &mut clinic.registry);
    peer.assert_converged(&clinic.world);
    assert_eq!(shared(&first[1..], &peer.prepared), [true; 4]);
}

#[test]
fn a_chunk_that_lost_most_of_its_rows_takes_in_others() {
    let mut clinic = Clinic::new();
    let (_, first) = clinic.first_sync();
    let base = clinic.world.workspace.head().seq.0;
    clinic.push((1..TOGETHER).map(|number| delete(key(PATIENTS, number), base)).collect());
    let (_, second) = clinic.first_sync();
    assert!(second.len() < first.len(), "{} and {}", second.len(), first.len());
}

#[test]
fn a_commit_that_fits_by_now_is_not_split_where_it_was() {
    // S2: it was too large for a chunk because of one row, which has moved away.
    let mut clinic = Clinic::new();
    let numbers = 6 * TOGETHER + 1..=7 * TOGETHER + 2;
    let large = key(PATIENTS, 7 * TOGETHER + 1);
    let mut commit: Vec<Change> = numbers.map(|number| create_patient(number, "p", NORTH)).collect();
    let notes = FieldChange { field: NOTES, value: Value::text(&"n".repeat(3_000)), base: Seq(0) };
    commit.iter_mut().filter(|change| change.key == large).for_each(|change| change.fields.insert(1, notes.clone()));
    clinic.push(commit);
    let seq = clinic.world.workspace.head().seq;
    let rows_of_commit = |peer: &Peer| -> Vec<usize> {
        let of_commit = |down: &Down| match down {
            Down::Delta(delta) => delta.rows.0.iter().filter(|row| row.seq == seq).count(),
            _ => 0,
        };
        peer.seen.iter().map(of_commit).filter(|count| *count > 0).collect()
    };
    let together = TOGETHER as usize;
    let (peer, _) = clinic.first_sync();
    assert_eq!(rows_of_commit(&peer), [together, 2]);
    clinic.push(vec![update(large, seq.0, PHONE, "7")]);
    let (peer, _) = clinic.first_sync();
    assert_eq!(rows_of_commit(&peer), [together + 1]);
}

#[test]
fn who_made_the_rows_is_told_by_the_name_that_they_have_now() {
    let mut clinic = Clinic::new();
    let (_, first) = clinic.first_sync();
    clinic.world.user(SOUTHERN, "somebody else", Role::Viewer, Grant::Scopes(vec![SOUTH]));
    let (_, second) = clinic.first_sync();
    assert_eq!(shared(&first, &second), [true; 5], "of others nothing is said in it");
    clinic.world.user(EVERYBODY, "renamed", Role::Admin, Grant::All);
    let (peer, third) = clinic.first_sync();
    assert_eq!(shared(&first, &third), [false; 5]);
    let told = |down: &Down| matches!(down, Down::Delta(delta) if delta.authors.names.contains(&"everybody".to_owned()));
    assert!(!peer.seen.iter().any(told));
}

#[test]
fn a_head_that_moves_meanwhile_is_told_ahead_of_what_was_prepared() {
    let mut clinic = Clinic::new();
    let (_, first) = clinic.first_sync();
    let mut peer = clinic.device();
    peer.connect();
    for number in 5_000.. {
        clinic.push(vec![create_patient(number, "p", SOUTH)]);
        let before = peer.prepared.len();
        peer.serve(&mut clinic.world, &mut clinic.registry);
        if !peer.receive() {
            break;
        }
        while peer.receive() {}
        if peer.prepared.len() > before {
            assert_eq!(peer.kept.witness, clinic.world.workspace.head());
        }
    }
    assert_eq!(shared(&first, &peer.prepared), [true; 5]);
    peer.settle(&mut clinic.world, &mut clinic.registry);
    peer.assert_converged(&clinic.world);
}

#[test]
fn in_a_refetch_nothing_that_is_kept_is_trusted() {
    let mut clinic = Clinic::new();
    let (mut peer, first) = clinic.first_sync();
    peer.cut();
    let section = *peer.kept.cursors.sections.iter().find(|section| section.scope.is_some()).unwrap();
    peer.refetch(section);
    peer.sync(&mut clinic.world, &mut clinic.registry);
    peer.assert_converged(&clinic.world);
    assert!(peer.prepared.is_empty() && !first.is_empty());
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
