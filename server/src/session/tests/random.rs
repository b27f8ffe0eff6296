//! Many small histories with chunks of one row: moves, deletions, restores, grants, cuts, lost answers, refetches. In the end
//! every client holds exactly what its user may see, and no digest ever gave a false alarm.

use super::super::{Registry, SessionConfig};
use super::peer::Peer;
use crate::testing::*;
use crate::verify;
use tombolo_protocol::change::{Change, Op};
use tombolo_protocol::ids::RowKey;
use tombolo_protocol::row::Row;
use tombolo_protocol::value::Value;

/// A small generator of numbers, so that a seed is a history.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const USERS: [tombolo_protocol::ids::UserId; 3] = [EVERYBODY, NORTHERN, SOUTHERN];
const ROWS: u64 = 6;

fn some_change(dice: &mut Dice, peer: &Peer) -> Option<Change> {
    let key = key(PATIENTS, 1 + dice.below(ROWS));
    let held: Option<&Row> = peer.kept.mirror.get(&key).map(|(row, _)| row);
    let site = site_value(if dice.below(2) == 0 { NORTH } else { SOUTH });
    let Some(row) = held else {
        let fields = [(NAME, Value::text("n")), (SITE, site)];
        return Some(based(change(key, Op::Create, 0, &fields), peer));
    };
    let value = Value::text(&dice.below(4).to_string());
    let made = match (row.is_live(), dice.below(8)) {
        (false, 0..=3) => change(key, Op::Restore, row.seq.0, &[]),
        (false, _) => return None,
        (true, 0) => delete(key, row.seq.0),
        (true, 1 | 2) => change(key, Op::Update, row.seq.0, &[(SITE, site)]),
        (true, 3 | 4) => change(key, Op::Update, row.seq.0, &[(PHONE, value)]),
        (true, _) => change(key, Op::Update, row.seq.0, &[(NOTES, value)]),
    };
    Some(based(made, peer))
}

fn based(mut change: Change, peer: &Peer) -> Change {
    change.view_base = peer.view_base(&change.key);
    change
}

fn step(dice: &mut Dice, world: &mut World, registry: &mut Registry, peers: &mut [Peer]) {
    let chosen = dice.below(peers.len() as u64) as usize;
    match dice.below(20) {
        0..=4 => {
            let peer = &mut peers[chosen];
            let known = peer.kept.cursors.sections.len() + peer.kept.cursors.fills.len() > 0;
            let mut changes: Vec<Change> = Vec::new();
            for _ in 0..=dice.below(3) {
                let next = some_change(dice, peer).filter(|_| known);
                let in_flight = |key: RowKey| peer.kept.frozen.iter().any(|push| push.changes.iter().any(|c| c.key == key));
                changes.extend(next.filter(|next| changes.iter().all(|c| c.key != next.key) && !in_flight(next.key)));
            }
            if !changes.is_empty() {
                let push = peer.freeze(changes);
                if dice.below(2) == 0 && !peer.seen.is_empty() {
                    peer.send(&push);
                }
            }
        }
        5 => {
            let scopes = [&[NORTH][..], &[SOUTH], &[NORTH, SOUTH], &[]][dice.below(4) as usize];
            world.grant(USERS[1 + dice.below(2) as usize], scopes);
        }
        6 | 7 => peers[chosen].cut(),
        8 => {
            let peer = &mut peers[chosen];
            if peer.session.is_none()
                && let Some(section) = peer.kept.cursors.sections.iter().next().copied()
            {
                peer.refetch(section);
            }
        }
        9..=11 => {
            let peer = &mut peers[chosen];
            if peer.session.is_none() || peer.closed {
                peer.seen.clear();
                peer.connect();
            }
        }
        12..=16 => {
            let peer = &mut peers[chosen];
            for _ in 0..dice.below(5) {
                peer.receive();
            }
        }
        _ => {
            if let Some(session) = &mut peers[chosen].session {
                session.handle_head(world.news);
            }
            peers[chosen].serve(world, registry);
        }
    }
    if peers[chosen].closed {
        peers[chosen].cut();
    }
}

fn play(seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    let mut world = World::new();
    let mut registry = Registry::default();
    let mut peers: Vec<Peer> =
        USERS.iter().enumerate().map(|(place, user)| Peer::new(&mut world, 1 + place as u128, *user)).collect();
    for peer in &mut peers {
        let rows = 1 + dice.below(3) as usize;
        peer.config = SessionConfig { chunk_rows_max: rows, ..SessionConfig::default() };
        peer.process = 7;
    }
    for _ in 0..steps {
        step(&mut dice, &mut world, &mut registry, &mut peers);
    }
    for _ in 0..2 {
        for peer in &mut peers {
            peer.cut();
            peer.sync(&mut world, &mut registry);
            peer.sync(&mut world, &mut registry);
            assert!(peer.kept.frozen.is_empty(), "seed {seed}: an answer is missing");
        }
    }
    for peer in &mut peers {
        peer.sync(&mut world, &mut registry);
        peer.assert_converged(&world);
    }
    let scratch = crate::store::Store::in_memory().unwrap();
    let report = verify::verify(world.workspace.store(), &scratch, &mut verify::unwatched).unwrap();
    assert!(report.is_sound(), "seed {seed}: {report}");
}

#[test]
fn clients_converge_whatever_happens_in_between() {
    for seed in 0..60 {
        play(seed, 150);
    }
}
