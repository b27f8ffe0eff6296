//! Stories of identity and history: traps T5, T6, T11, T23, and who may connect.

use super::super::{Output, Registry, Session, SessionId};
use super::peer::Peer;
use crate::access::OPERATOR;
use crate::testing::*;
use crate::workspace::Job;
use tombolo_protocol::commit::{AccessChange, Offer};
use tombolo_protocol::ids::{Seq, WorkspaceId};
use tombolo_protocol::limits::PUSH_WINDOW_MAX;
use tombolo_protocol::message::{CloseReason, Down, Up};

fn start() -> (World, Registry, Pusher) {
    (World::new(), Registry::default(), Pusher::new(900, EVERYBODY))
}

/// A session that has not greeted.
fn silent(peer: &Peer) -> Session {
    Session::new(peer.config, SessionId(1), identity(peer.kept.device, peer.kept.user), 0)
}

/// A client that has pushed one row, and the world as it was before that.
fn pushed_and_backup() -> (World, World, Registry, Peer) {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let backup = world.copy();
    peer.freeze(vec![create_patient(1, "acknowledged", NORTH)]);
    peer.sync(&mut world, &mut registry);
    peer.cut();
    peer.seen.clear();
    (world, backup, registry, peer)
}

#[test]
fn a_server_put_back_behind_an_acknowledged_push_is_noticed() {
    // T5: the client was cut right after its result; its cursor alone would still match.
    let (_, mut restored, _, mut peer) = pushed_and_backup();
    let mut registry = Registry::default();
    peer.connect();
    peer.settle(&mut restored, &mut registry);
    assert!(matches!(peer.seen.last(), Some(Down::WhichCommon)), "{:?}", peer.seen);
    let pairs = peer.common_pairs();
    peer.say(Up::CommonPairs { pairs });
    peer.settle(&mut restored, &mut registry);
    let Some(Down::Diverged(diverged)) = peer.seen.last() else { panic!("{:?}", peer.seen) };
    assert_eq!(diverged.common.seq, restored.workspace.head().seq);
    assert_eq!(diverged.offer, Offer::Yes, "a folder put back by hand");
    assert!(peer.closed);
}

#[test]
fn what_the_operator_chose_at_a_restore_is_told() {
    let (_, mut restored, mut registry, mut peer) = pushed_and_backup();
    restored.apply(Job::Restore { by: OPERATOR, offer: Offer::Ask });
    peer.connect();
    peer.settle(&mut restored, &mut registry);
    let pairs = peer.common_pairs();
    peer.say(Up::CommonPairs { pairs });
    peer.settle(&mut restored, &mut registry);
    assert!(matches!(peer.seen.last(), Some(Down::Diverged(diverged)) if diverged.offer == Offer::Ask));
}

#[test]
fn diverged_names_outcomes_without_rows_of_a_history_that_the_client_does_not_have() {
    // H7: and of a schema that it may not have.
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let push = peer.freeze(vec![create_patient(1, "own", NORTH)]);
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    peer.kept.witness.hash.0[0] ^= 1;
    peer.connect();
    peer.settle(&mut world, &mut registry);
    let pairs = peer.common_pairs();
    peer.say(Up::CommonPairs { pairs });
    peer.settle(&mut world, &mut registry);
    let Some(Down::Diverged(diverged)) = peer.seen.last() else { panic!("{:?}", peer.seen) };
    let [outcome] = &diverged.outcomes[..] else { panic!("{diverged:?}") };
    assert!(outcome.verdicts.is_some() && outcome.rows.0.is_empty());
}

#[test]
fn pushes_that_were_sent_before_the_history_check_failed_count_as_not_received() {
    // T6: the new history has other commits in the same places.
    let (_, mut restored, mut registry, mut peer) = pushed_and_backup();
    let mut other = Pusher::new(900, EVERYBODY);
    restored.accepted(&mut other, vec![create_patient(2, "other", NORTH), create_patient(3, "other", NORTH)]);
    let head = restored.workspace.head();
    let push = peer.freeze(vec![update(key(PATIENTS, 1), peer.kept.witness.seq.0, PHONE, "x")]);
    peer.connect();
    peer.send(&push);
    peer.settle(&mut restored, &mut registry);
    assert!(matches!(peer.seen.last(), Some(Down::WhichCommon)));
    // Also those that come afterwards.
    peer.send(&push);
    let pairs = peer.common_pairs();
    peer.say(Up::CommonPairs { pairs });
    peer.settle(&mut restored, &mut registry);
    assert!(matches!(peer.seen.last(), Some(Down::Diverged(_))));
    assert_eq!(restored.workspace.head(), head);
}

#[test]
fn another_workspace_and_nothing_in_common_are_another_server() {
    // H2: nothing is swept, pushed or offered.
    let (mut world, _, mut registry, mut peer) = pushed_and_backup();
    let mut hello = peer.hello();
    hello.workspace = WorkspaceId::default();
    peer.connect_with(hello);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(&peer.seen[..], [Down::OtherServer { workspace }] if *workspace == WORKSPACE));
    peer.seen.clear();
    let mut hello = peer.hello();
    hello.witness.hash.0[0] ^= 1;
    peer.connect_with(hello);
    peer.settle(&mut world, &mut registry);
    peer.say(Up::CommonPairs { pairs: Vec::new() });
    peer.settle(&mut world, &mut registry);
    assert!(matches!(&peer.seen[..], [Down::WhichCommon, Down::OtherServer { .. }]), "{:?}", peer.seen);
}

#[test]
fn a_store_put_back_to_yesterday_is_a_copy_before_any_delta() {
    // T2 (iv), P3: nothing is pending there, and its own pushes since would be hidden from it as own.
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let yesterday = peer.kept.clone();
    peer.freeze(vec![create_patient(1, "own", NORTH)]);
    peer.sync(&mut world, &mut registry);
    peer.kept = yesterday;
    peer.seen.clear();
    peer.connect();
    peer.settle(&mut world, &mut registry);
    assert!(matches!(&peer.seen[..], [Down::Copy(_)]), "{:?}", peer.seen);
    assert!(peer.closed);
}

#[test]
fn a_store_that_applied_another_push_under_the_same_number_is_a_copy() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    peer.freeze(vec![create_patient(1, "own", NORTH)]);
    peer.sync(&mut world, &mut registry);
    peer.kept.applied.1.0[0] ^= 1;
    peer.seen.clear();
    peer.connect();
    peer.settle(&mut world, &mut registry);
    assert!(matches!(&peer.seen[..], [Down::Copy(_)]), "{:?}", peer.seen);
}

#[test]
fn a_copy_gets_the_outcomes_that_are_recorded_under_its_hashes() {
    let (mut world, mut registry, _) = start();
    let mut original = Peer::new(&mut world, 1, NORTHERN);
    original.sync(&mut world, &mut registry);
    original.freeze(vec![create_patient(1, "shared", NORTH)]);
    let mut copy = Peer::new(&mut world, 1, NORTHERN);
    copy.kept = original.kept.clone();
    original.freeze(vec![create_patient(2, "original", NORTH)]);
    original.sync(&mut world, &mut registry);
    copy.freeze(vec![create_patient(3, "copy", NORTH)]);
    copy.connect();
    copy.settle(&mut world, &mut registry);
    let Some(Down::Copy(copied)) = copy.seen.last() else { panic!("{:?}", copy.seen) };
    assert_eq!(copied.outcomes.len(), 1);
    assert_eq!(copied.last.0.0, 2);
    assert_eq!(copy.kept.frozen.len(), 1, "the rest is thawed under a new id");
}

#[test]
fn a_store_put_back_to_before_the_kept_pushes_is_a_copy_and_gets_the_answers_that_there_are() {
    let (mut world, mut registry, _) = start();
    let mut original = Peer::new(&mut world, 1, NORTHERN);
    original.sync(&mut world, &mut registry);
    original.freeze(vec![create_patient(1, "put away", NORTH)]);
    original.freeze(vec![create_patient(2, "kept", NORTH)]);
    let mut copy = Peer::new(&mut world, 1, NORTHERN);
    copy.kept = original.kept.clone();
    original.sync(&mut world, &mut registry);
    for number in 3..=PUSH_WINDOW_MAX as u64 + 1 {
        original.freeze(vec![create_patient(number, "later", NORTH)]);
        original.sync(&mut world, &mut registry);
    }
    let head = world.workspace.head().seq;
    world.compact(head);
    copy.connect();
    copy.settle(&mut world, &mut registry);
    let Some(Down::Copy(copied)) = copy.seen.last() else { panic!("{:?}", copy.seen) };
    assert_eq!(copied.outcomes.iter().map(|outcome| outcome.number.0).collect::<Vec<_>>(), [2]);
    assert_eq!(copy.kept.frozen.len(), 1, "the other one is thawed, and sent under a new id");
}

#[test]
fn who_pushes_again_what_was_put_away_is_told_that_this_is_a_copy() {
    // No client does: it names what is in flight in Hello, and is told then.
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let first = peer.freeze(vec![create_patient(1, "put away", NORTH)]);
    for number in 2..=PUSH_WINDOW_MAX as u64 + 1 {
        peer.freeze(vec![create_patient(number, "later", NORTH)]);
        peer.sync(&mut world, &mut registry);
    }
    let head = world.workspace.head().seq;
    world.compact(head);
    peer.send(&first);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(peer.seen.last(), Some(Down::Copy(_))), "{:?}", peer.seen.last());
    assert_eq!(world.workspace.head().seq, head.next());
}

#[test]
fn the_tail_of_a_copy_is_never_admitted_under_the_original_id() {
    // T11 (ii): the copy pipelines 1 and 2; 1 is recorded with another hash, 2 would be the next free number.
    let (mut world, mut registry, _) = start();
    let mut original = Peer::new(&mut world, 1, NORTHERN);
    original.sync(&mut world, &mut registry);
    let mut copy = Peer::new(&mut world, 1, NORTHERN);
    copy.kept = original.kept.clone();
    copy.process = 8;
    copy.sync(&mut world, &mut registry);
    let one = original.freeze(vec![create_patient(1, "original", NORTH)]);
    original.send(&one);
    original.settle(&mut world, &mut registry);
    let head = world.workspace.head();
    let pushes = [copy.freeze(vec![create_patient(2, "copy", NORTH)]), copy.freeze(vec![create_patient(3, "copy", NORTH)])];
    pushes.iter().for_each(|push| copy.send(push));
    copy.settle(&mut world, &mut registry);
    assert!(matches!(copy.seen.last(), Some(Down::Copy(_))), "{:?}", copy.seen.last());
    assert!(copy.closed);
    assert_eq!(world.workspace.head(), head);
}

#[test]
fn the_newer_session_of_a_device_replaces_the_older_one_and_a_late_one_is_refused() {
    // P4, T23.
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let mut newer = Peer::new(&mut world, 1, NORTHERN);
    newer.kept = peer.kept.clone();
    newer.process = 8;
    newer.connect();
    let told = newer.serve(&mut world, &mut registry);
    assert_eq!(told, [Output::Replace { session: SessionId(1007), process: 8, connection: 1 }]);
    peer.session.as_mut().unwrap().handle_replaced(8, 1);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(peer.seen.last(), Some(Down::Replaced { process: 8, connection: 1 })));
    assert!(peer.closed);
    // An earlier connection of the newer process arrives late.
    let mut late = newer.hello();
    late.connection = 0;
    newer.connect_with(late);
    newer.settle(&mut world, &mut registry);
    assert_eq!(newer.closed_because(), Some(&CloseReason::Late));
}

#[test]
fn a_session_ends_when_its_device_is_revoked_or_its_token_given_back() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    world.apply(Job::Access { by: OPERATOR, change: AccessChange::TokenRevoked { device: peer.kept.device } });
    peer.settle(&mut world, &mut registry);
    assert_eq!(peer.closed_because(), Some(&CloseReason::Unauthorized));
    world.login(peer.kept.device, NORTHERN);
    peer.sync(&mut world, &mut registry);
    assert!(!peer.closed);
    world.apply(Job::Access { by: OPERATOR, change: AccessChange::DeviceRevoked { device: peer.kept.device } });
    peer.settle(&mut world, &mut registry);
    assert_eq!(peer.closed_because(), Some(&CloseReason::Revoked));
}

#[test]
fn pushes_of_an_earlier_device_are_answered_to_its_user_and_never_admitted() {
    // A device is revoked while its push is under way, and its user logs in again under a new one.
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let arrived = peer.freeze(vec![create_patient(1, "arrived", NORTH)]);
    let waiting = peer.freeze(vec![create_patient(2, "waiting", NORTH)]);
    peer.send(&arrived);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    let earlier = peer.kept.device;
    world.apply(Job::Access { by: OPERATOR, change: AccessChange::DeviceRevoked { device: earlier } });
    let head = world.workspace.head();
    peer.kept.device.0 = uuid::Uuid::from_u128(5);
    world.login(peer.kept.device, NORTHERN);
    let mut hello = peer.hello();
    hello.device = earlier;
    peer.seen.clear();
    peer.connect_with(hello);
    peer.send(&waiting);
    peer.settle(&mut world, &mut registry);
    let [Down::Copy(copied)] = &peer.seen[..] else { panic!("{:?}", peer.seen) };
    assert_eq!(copied.outcomes.iter().map(|outcome| outcome.number).collect::<Vec<_>>(), [arrived.number]);
    assert_eq!(copied.last.0, arrived.number);
    assert!(peer.closed && world.workspace.head().seq.0 == head.seq.0 + 1, "only the login is new");
}

#[test]
fn a_device_that_this_history_does_not_know_has_nothing_recorded() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    let mut hello = peer.hello();
    hello.device.0 = uuid::Uuid::from_u128(5);
    peer.connect_with(hello);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(&peer.seen[..], [.., Down::Copy(copied)] if copied.outcomes.is_empty()), "{:?}", peer.seen);
}

#[test]
fn a_device_of_another_user_is_not_let_in() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    let other = Peer::new(&mut world, 5, EVERYBODY);
    let mut hello = peer.hello();
    hello.device = other.kept.device;
    peer.connect_with(hello);
    peer.settle(&mut world, &mut registry);
    assert_eq!(peer.closed_because(), Some(&CloseReason::Unauthorized));
}

#[test]
fn a_client_too_old_is_asked_to_update() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    let mut hello = peer.hello();
    hello.protocol = (0, 0);
    peer.connect_with(hello);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(peer.closed_because(), Some(CloseReason::Version { .. })));
}

#[test]
fn cursors_above_the_log_are_refused() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    let mut hello = peer.hello();
    hello.cursors.main.complete = Seq(1_000_000);
    peer.connect_with(hello);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(peer.closed_because(), Some(CloseReason::Violation { .. })));
}

#[test]
fn a_store_in_a_new_life_asks_for_a_device_before_it_greets() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.connect();
    peer.session = Some(silent(&peer));
    peer.say(Up::NewDevice);
    assert_eq!(peer.serve(&mut world, &mut registry), [Output::IssueDevice]);
    let device = tombolo_protocol::ids::DeviceId(uuid::Uuid::from_u128(55));
    peer.session.as_mut().unwrap().handle_device_issued(device, "token".to_owned());
    peer.serve(&mut world, &mut registry);
    assert!(matches!(peer.down.back(), Some(Down::DeviceIssued { .. })));
}

#[test]
fn a_device_that_may_not_connect_gets_no_other_one_however_early_it_asks() {
    let (mut world, mut registry, _) = start();
    for (device, change) in [
        (1, (|device| AccessChange::DeviceRevoked { device }) as fn(_) -> _),
        (2, |device| AccessChange::TokenRevoked { device }),
    ] {
        let mut peer = Peer::new(&mut world, device, NORTHERN);
        peer.session = Some(silent(&peer));
        world.apply(Job::Access { by: OPERATOR, change: change(peer.kept.device) });
        peer.say(Up::NewDevice);
        assert_eq!(peer.serve(&mut world, &mut registry), []);
        assert!(matches!(peer.down.back(), Some(Down::Closed(CloseReason::Revoked | CloseReason::Unauthorized))));
        assert!(peer.closed);
    }
    // Or the writer hears of the revocation first.
    let mut peer = Peer::new(&mut world, 3, NORTHERN);
    peer.session = Some(silent(&peer));
    peer.say(Up::NewDevice);
    assert_eq!(peer.serve(&mut world, &mut registry), [Output::IssueDevice]);
    peer.session.as_mut().unwrap().handle_device_refused();
    peer.serve(&mut world, &mut registry);
    assert_eq!(peer.down.back(), Some(&Down::Closed(CloseReason::Unauthorized)));
}

#[test]
fn a_session_ends_with_the_token_that_opened_it() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    // It logs in again.
    let (device, fresh) = (Some(peer.kept.device), peer.kept.device);
    world.apply(Job::IssueToken { user: NORTHERN, device, name: None, fresh, token: [7; 32], expires_at_ms: i64::MAX });
    peer.settle(&mut world, &mut registry);
    assert_eq!(peer.closed_because(), Some(&CloseReason::Unauthorized));
    // It expires.
    let identity = crate::snapshot::Identity { expires_at_ms: 20_000, ..identity(peer.kept.device, NORTHERN) };
    let mut session = Session::new(peer.config, SessionId(2), identity, 0);
    session.handle_bytes(10_000);
    assert_eq!(session.deadline_ms(), 20_000);
    session.handle_timeout(20_000);
    assert_eq!(session.poll_output(), Some(Output::Frame(Down::Closed(CloseReason::Unauthorized))));
    assert_eq!(session.poll_output(), Some(Output::Close));
}

#[test]
fn a_session_that_does_not_greet_ends_whatever_it_sends() {
    let (mut world, _, _) = start();
    let peer = Peer::new(&mut world, 1, NORTHERN);
    let mut session = silent(&peer);
    for now_ms in (0..60_000).step_by(20_000) {
        session.handle_up(Up::Ping { nonce: 1 }, now_ms);
        session.handle_timeout(now_ms);
        assert_eq!(session.poll_output(), Some(Output::Frame(Down::Pong { nonce: 1 })));
    }
    assert_eq!(session.deadline_ms(), 60_000);
    session.handle_timeout(60_000);
    assert_eq!(session.poll_output(), Some(Output::Close));
}

#[test]
fn a_silent_session_is_closed_and_one_with_bytes_is_not() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let session = peer.session.as_mut().unwrap();
    session.handle_bytes(30_000);
    session.handle_timeout(60_000);
    assert!(session.poll_output().is_none());
    assert_eq!(session.deadline_ms(), 75_000);
    session.handle_timeout(75_000);
    assert_eq!(session.poll_output(), Some(Output::Close));
}

#[test]
fn a_stopping_server_says_when_to_return() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    peer.session.as_mut().unwrap().handle_restarting(500, 5_000);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(peer.seen.last(), Some(Down::Restarting { after_ms: 500, window_ms: 5_000 })));
    assert!(peer.closed);
}

#[test]
fn a_ping_is_answered_before_and_after_the_checks() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.connect();
    peer.say(Up::Ping { nonce: 3 });
    peer.serve(&mut world, &mut registry);
    assert!(peer.down.contains(&Down::Pong { nonce: 3 }));
}
