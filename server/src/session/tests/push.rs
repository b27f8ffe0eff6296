//! Stories of pushing: traps T2, T11, T13, T22.

use super::super::{LITTLE_CHANGES_MAX, Output, Registry};
use super::peer::Peer;
use crate::access::OPERATOR;
use crate::testing::*;
use crate::workspace::{Job, Reply};
use tombolo_protocol::change::{Change, Op, Refusal, Verdict};
use tombolo_protocol::commit::AccessChange;
use tombolo_protocol::ids::{DeviceId, Hash16, PushNo, RowNo, Seq};
use tombolo_protocol::message::{CloseReason, Down, Outcome, Up, WantedRow};
use tombolo_protocol::row::RowName;
use tombolo_protocol::value::Value;

fn start() -> (World, Registry, Pusher) {
    (World::new(), Registry::default(), Pusher::new(900, EVERYBODY))
}

fn result(peer: &Peer) -> Outcome {
    let found = peer.seen.iter().rev().find_map(|message| match message {
        Down::Result { outcome, .. } => Some((**outcome).clone()),
        _ => None,
    });
    found.expect("a result came")
}

fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    outcome.verdicts.iter().flat_map(|runs| runs.iter().cloned()).collect()
}

fn based(mut change: Change, peer: &Peer) -> Change {
    change.view_base = peer.view_base(&change.key);
    change
}

#[test]
fn a_result_leaves_its_row_complete_and_the_row_is_not_echoed() {
    // T2 (i): B changes g, my change of f is merged behind it, and the row then stands in the feed as mine.
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, NOTES, "theirs")]);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "mine"), &peer);
    let push = peer.freeze(vec![change]);
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    while !matches!(peer.seen.last(), Some(Down::Result { .. })) {
        assert!(peer.receive());
    }
    assert_eq!(verdicts(&result(&peer)), [Verdict::Accepted { merged: true }]);
    assert_eq!(peer.value(&key(PATIENTS, 1), NOTES), Value::text("theirs"));
    assert_eq!(peer.value(&key(PATIENTS, 1), PHONE), Value::text("mine"));
    peer.seen.clear();
    peer.settle(&mut world, &mut registry);
    let echoed = peer.seen.iter().any(|message| matches!(message, Down::Delta(delta) if !delta.rows.0.is_empty()));
    assert!(!echoed, "{:?}", peer.seen);
    peer.sync(&mut world, &mut registry);
    peer.assert_converged(&world);
}

#[test]
fn an_own_row_whose_result_is_not_out_yet_is_not_left_out() {
    // S6: a cut behind the delta would leave the client without what its push merged with.
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, NOTES, "theirs")]);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "mine"), &peer);
    let push = peer.freeze(vec![change]);
    peer.send(&push);
    let session = peer.session.as_mut().unwrap();
    session.serve(&world.snapshot(), &registry, 0).unwrap();
    // The writer decided; its reply is still under way when the session looks at the new head.
    while let Some(output) = session.poll_output() {
        if let Output::Submit(job) = output {
            world.apply(job);
        }
    }
    session.handle_head(world.news);
    peer.serve(&mut world, &mut registry);
    while peer.receive() {}
    assert_eq!(peer.value(&key(PATIENTS, 1), NOTES), Value::text("theirs"));
}

#[test]
fn a_push_of_few_changes_and_its_result_are_little_and_rows_are_not() {
    for (changes, little) in [(LITTLE_CHANGES_MAX as u64, true), (LITTLE_CHANGES_MAX as u64 + 1, false)] {
        let (mut world, mut registry, mut other) = start();
        let mut peer = Peer::new(&mut world, 1, NORTHERN);
        peer.connect();
        assert!(!peer.session.as_ref().unwrap().wants_little(), "a greeting");
        peer.sync(&mut world, &mut registry);
        let push = peer.freeze((1..=changes).map(|number| create_patient(number, "p", NORTH)).collect());
        peer.send(&push);
        let session = peer.session.as_mut().unwrap();
        assert_eq!((session.wants_snapshot(), session.wants_little()), (true, little), "{changes} changes");
        session.serve(&world.snapshot(), &registry, 0).unwrap();
        let Some(Output::Submit(job)) = session.poll_output() else { panic!("nothing was submitted") };
        let Reply::Push(reply) = world.apply(job) else { panic!("another reply") };
        session.handle_reply(reply);
        assert_eq!((session.wants_snapshot(), session.wants_little()), (true, little), "its result");
        world.accepted(&mut other, vec![create_patient(99, "q", NORTH)]);
        session.handle_head(world.news);
        assert!(!session.wants_little(), "rows");
    }
}

#[test]
fn rows_that_others_committed_before_the_own_result_was_told_are_still_looked_for() {
    let (mut world, mut registry, mut other) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let push = peer.freeze(vec![create_patient(1, "own", NORTH)]);
    peer.send(&push);
    let session = peer.session.as_mut().unwrap();
    session.serve(&world.snapshot(), &registry, 0).unwrap();
    let Some(Output::Submit(job)) = session.poll_output() else { panic!("nothing was submitted") };
    let Reply::Push(reply) = world.apply(job) else { panic!("another reply") };
    // Both are in one durable write: the answer comes before the news of it, and is told from a state that has both.
    world.accepted(&mut other, vec![create_patient(2, "theirs", NORTH)]);
    session.handle_reply(reply);
    session.serve(&world.snapshot(), &registry, 0).unwrap();
    session.handle_head(world.news);
    assert!(session.wants_snapshot());
    peer.serve(&mut world, &mut registry);
    while peer.receive() {}
    assert_eq!(peer.value(&key(PATIENTS, 2), NAME), Value::text("theirs"));
}

#[test]
fn an_agreed_change_brings_the_row_too() {
    // T2 (iii): else the person's value would visibly go back until the delta comes.
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let theirs = world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, PHONE, "same")]);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "same"), &peer);
    let push = peer.freeze(vec![change]);
    peer.send(&push);
    peer.settle(&mut world, &mut registry);
    let outcome = result(&peer);
    assert_eq!(verdicts(&outcome), [Verdict::Agreed]);
    assert_eq!(outcome.rows.0[0].fields[0].stamp, theirs);
    assert!(!outcome.rows.0[0].as_sent);
}

#[test]
fn a_change_of_a_row_whose_section_is_being_filled_brings_the_row_whole() {
    // T36: the base is zero then, and is recorded, so that the answer is the same after a cut and a rebuild.
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    peer.cut();
    let section = peer.kept.cursors.sections.iter().find(|section| section.table == PATIENTS).copied().unwrap();
    peer.refetch(section);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "mine"), &peer);
    assert_eq!(change.view_base, Seq(0));
    let push = peer.freeze(vec![change]);
    peer.connect();
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    let mut rebuilt = world.copy();
    peer.seen.clear();
    peer.connect();
    peer.settle(&mut rebuilt, &mut Registry::default());
    let Some(Down::Welcome(welcome)) = peer.seen.first() else { panic!("{:?}", peer.seen) };
    let row = &welcome.outcomes[0].rows.0[0];
    assert!(row.whole && row.fields.iter().any(|field| field.field == NAME), "{row:?}");
    peer.sync(&mut rebuilt, &mut Registry::default());
    peer.assert_converged(&rebuilt);
}

#[test]
fn a_base_above_the_log_is_a_violation() {
    let (mut world, mut registry, mut other) = start();
    world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]);
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let push = peer.freeze(vec![update(key(PATIENTS, 1), 1_000_000, PHONE, "x")]);
    peer.send(&push);
    peer.settle(&mut world, &mut registry);
    assert!(matches!(peer.closed_because(), Some(CloseReason::Violation { .. })));
}

#[test]
fn what_was_sent_is_not_sent_back() {
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, NOTES, "theirs")]);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "mine"), &peer);
    peer.freeze(vec![change]);
    peer.sync(&mut world, &mut registry);
    let row = result(&peer).rows.0.remove(0);
    assert!(row.as_sent && row.fields.iter().map(|field| field.field).eq([NOTES]), "{row:?}");
    peer.assert_converged(&world);
}

#[test]
fn a_lost_answer_is_given_again_in_welcome_with_the_row_as_it_is_now() {
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "mine"), &peer);
    let push = peer.freeze(vec![change]);
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    let head = world.workspace.head().seq;
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), head.0, PHONE, "later")]);
    peer.seen.clear();
    peer.sync(&mut world, &mut registry);
    let Some(Down::Welcome(welcome)) = peer.seen.first() else { panic!("{:?}", peer.seen) };
    assert_eq!(welcome.outcomes.len(), 1);
    assert_eq!(welcome.outcomes[0].commit.seq, head);
    assert_eq!(world.workspace.head().seq.0, head.0 + 1, "applied once");
    assert_eq!(peer.value(&key(PATIENTS, 1), PHONE), Value::text("later"));
    peer.assert_converged(&world);
}

#[test]
fn a_create_whose_answer_was_lost_does_not_come_back_from_a_compacted_log() {
    // T19 i: the row was deleted meanwhile, and the commit of the create has been put away but for what is kept of each device.
    let (mut world, mut registry, mut other) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let push = peer.freeze(vec![create_patient(1, "mine", NORTH)]);
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    let head = world.workspace.head().seq;
    world.accepted(&mut other, vec![delete(key(PATIENTS, 1), head.0)]);
    let head = world.workspace.head().seq;
    world.compact(head);
    peer.seen.clear();
    peer.sync(&mut world, &mut registry);
    let Some(Down::Welcome(welcome)) = peer.seen.first() else { panic!("{:?}", peer.seen) };
    assert_eq!(verdicts(&welcome.outcomes[0]), [Verdict::Accepted { merged: false }]);
    assert_eq!(world.workspace.head().seq, head.next(), "nothing but the compaction");
    assert!(!world.row(&key(PATIENTS, 1)).is_live());
    peer.assert_converged(&world);
}

#[test]
fn a_resent_push_is_applied_once() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let push = peer.freeze(vec![create_patient(1, "own", NORTH)]);
    peer.send(&push);
    peer.send(&push);
    let head = world.workspace.head().seq;
    peer.settle(&mut world, &mut registry);
    assert_eq!(world.workspace.head().seq, head.next());
    assert_eq!(peer.seen.iter().filter(|message| matches!(message, Down::Result { .. })).count(), 1);
}

#[test]
fn a_push_is_one_commit_also_when_nothing_is_accepted() {
    // T13: and its retry repeats the verdict, although the reason is gone.
    let (mut world, mut registry, mut other) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let visit = change(key(VISITS, 5), Op::Create, 0, &[(tombolo_protocol::ids::FieldTag(1), Value::uuid(id(1).0))]);
    let push = peer.freeze(vec![visit]);
    peer.send(&push);
    let head = world.workspace.head().seq;
    peer.serve(&mut world, &mut registry);
    assert_eq!(world.workspace.head().seq, head.next());
    peer.cut();
    world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]);
    peer.seen.clear();
    peer.sync(&mut world, &mut registry);
    let Some(Down::Welcome(welcome)) = peer.seen.first() else { panic!("{:?}", peer.seen) };
    assert!(matches!(verdicts(&welcome.outcomes[0])[..], [Verdict::Refused(Refusal::MissingParent { .. })]));
}

#[test]
fn a_missing_number_and_a_wrong_hash_end_the_session() {
    // T11: only the next number is admitted, and only what its hash says.
    let (mut world, mut registry, _) = start();
    for wrong in [(|push: &mut tombolo_protocol::change::Push| push.number = PushNo(2)) as fn(&mut _), |push| {
        push.hash = Hash16([9; 16])
    }] {
        let mut peer = Peer::new(&mut world, 1, NORTHERN);
        peer.sync(&mut world, &mut registry);
        let mut push = peer.freeze(vec![create_patient(1, "own", NORTH)]);
        wrong(&mut push);
        let head = world.workspace.head().seq;
        peer.send(&push);
        peer.settle(&mut world, &mut registry);
        assert!(matches!(peer.closed_because(), Some(CloseReason::Violation { .. })), "{:?}", peer.seen);
        assert_eq!(world.workspace.head().seq, head);
    }
}

#[test]
fn a_voided_number_is_recorded_as_empty_and_the_next_one_follows() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let poison = peer.freeze(vec![create_patient(1, "own", NORTH)]);
    let next = peer.freeze(vec![create_patient(2, "own", NORTH)]);
    peer.say(Up::Void { number: poison.number, hash: poison.hash });
    peer.send(&next);
    peer.settle(&mut world, &mut registry);
    let results: Vec<_> = peer
        .seen
        .iter()
        .filter_map(|message| if let Down::Result { outcome, .. } = message { Some(outcome.verdicts.is_some()) } else { None })
        .collect();
    assert_eq!(results, [false, true]);
    assert!(world.snapshot().row(&key(PATIENTS, 1)).unwrap().is_none());
    // A void of what is recorded is answered with the record.
    peer.kept.frozen.push(next.clone());
    peer.cut();
    peer.seen.clear();
    peer.connect();
    peer.settle(&mut world, &mut registry);
    assert!(matches!(peer.seen.first(), Some(Down::Welcome(welcome)) if welcome.outcomes[0].verdicts.is_some()));
}

#[test]
fn a_void_behind_a_push_that_shows_a_copy_is_not_recorded() {
    // The original has pushed under the same number meanwhile; the void's number is the next free one.
    let (mut world, mut registry, _) = start();
    let mut copy = Peer::new(&mut world, 1, NORTHERN);
    copy.sync(&mut world, &mut registry);
    let mut original = Pusher::new(1, NORTHERN);
    world.accepted(&mut original, vec![create_patient(1, "original", NORTH)]);
    let head = world.workspace.head();
    let pushes = [copy.freeze(vec![create_patient(2, "copy", NORTH)]), copy.freeze(vec![create_patient(3, "copy", NORTH)])];
    copy.send(&pushes[0]);
    copy.say(Up::Void { number: pushes[1].number, hash: pushes[1].hash });
    // The writer takes its time.
    let session = copy.session.as_mut().unwrap();
    session.serve(&world.snapshot(), &registry, 0).unwrap();
    let jobs: Vec<Output> = std::iter::from_fn(|| session.poll_output()).collect();
    assert!(!session.wants_snapshot());
    for job in jobs {
        let Output::Submit(job) = job else { panic!("{job:?}") };
        let Reply::Push(reply) = world.apply(job) else { panic!("an answer to a push") };
        session.handle_reply(reply);
    }
    copy.settle(&mut world, &mut registry);
    assert!(matches!(copy.seen.last(), Some(Down::Copy(_))), "{:?}", copy.seen.last());
    assert_eq!(world.workspace.head(), head);
}

#[test]
fn a_recorded_conflict_does_not_show_a_row_whose_grant_was_taken() {
    // T22 (i).
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, PHONE, "secret")]);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "mine"), &peer);
    let push = peer.freeze(vec![change]);
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    world.grant(NORTHERN, &[SOUTH]);
    peer.seen.clear();
    peer.connect();
    peer.settle(&mut world, &mut registry);
    let Some(Down::Welcome(welcome)) = peer.seen.first() else { panic!("{:?}", peer.seen) };
    assert_eq!(verdicts(&welcome.outcomes[0]), [Verdict::Conflict]);
    assert!(welcome.outcomes[0].rows.0.is_empty());
}

#[test]
fn a_clash_names_the_other_row_only_as_long_as_it_may_be_seen() {
    let (mut world, mut registry, mut other) = start();
    let coded = |number: u64| {
        change(
            key(PATIENTS, number),
            Op::Create,
            0,
            &[(NAME, Value::text("p")), (CODE, Value::text("T")), (SITE, site_value(NORTH))],
        )
    };
    let base = world.accepted(&mut other, vec![coded(1)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let push = peer.freeze(vec![coded(2)]);
    peer.send(&push);
    peer.serve(&mut world, &mut registry);
    peer.cut();
    peer.kept.cursors = Default::default();
    peer.kept.mirror.clear();
    let mut before = Peer::new(&mut world, 2, NORTHERN);
    before.kept = peer.kept.clone();
    before.connect();
    before.settle(&mut world, &mut registry);
    let Some(Down::Welcome(welcome)) = before.seen.first() else { panic!("{:?}", before.seen) };
    assert_eq!(verdicts(&welcome.outcomes[0]), [Verdict::Clash { field: CODE, with: Some(id(1)) }]);
    assert_eq!(welcome.outcomes[0].rows.0.len(), 1, "the other row comes whole");
    // It moves out of sight.
    world.accepted(&mut other, vec![change(key(PATIENTS, 1), Op::Update, base, &[(SITE, site_value(SOUTH))])]);
    peer.seen.clear();
    peer.connect();
    peer.settle(&mut world, &mut registry);
    let Some(Down::Welcome(welcome)) = peer.seen.first() else { panic!("{:?}", peer.seen) };
    assert_eq!(verdicts(&welcome.outcomes[0]), [Verdict::Clash { field: CODE, with: None }]);
    assert!(welcome.outcomes[0].rows.0.is_empty());
}

#[test]
fn a_guessed_row_number_tells_nothing() {
    // T22 (ii): a number of a row of another scope, and one that was never given, end in the same answer.
    let (mut world, mut registry, mut other) = start();
    world.accepted(&mut other, vec![create_patient(1, "p", SOUTH)]);
    let hidden = world.row(&key(PATIENTS, 1)).no;
    let mut answers = Vec::new();
    for (device, number) in [(1, hidden), (2, RowNo(4_000))] {
        let mut peer = Peer::new(&mut world, device, NORTHERN);
        peer.sync(&mut world, &mut registry);
        let push = peer.freeze(vec![update(key(PATIENTS, 77), 5, PHONE, "x")]);
        let changes = vec![peer.wire(&push.changes[0], Some(number))];
        let message = tombolo_protocol::message::PushMessage {
            number: push.number,
            hash: push.hash,
            schema: push.schema,
            changes: tombolo_protocol::batch::ChangeBatch(changes),
        };
        peer.say(Up::Push(Box::new(message)));
        peer.settle(&mut world, &mut registry);
        answers.push(peer.closed_because().cloned());
        peer.seen.clear();
        peer.sync(&mut world, &mut registry);
        let want = WantedRow { table: PATIENTS, name: RowName::No(number) };
        peer.say(Up::WantRow { rows: vec![want] });
        peer.settle(&mut world, &mut registry);
        let rows = peer.seen.iter().rev().find_map(|m| if let Down::Rows { rows, .. } = m { Some(rows.0.len()) } else { None });
        assert_eq!(rows, Some(0));
    }
    assert!(matches!(answers[0], Some(CloseReason::Violation { .. })));
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_row_that_left_while_its_change_was_frozen_is_unknown_and_no_violation() {
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    world.accepted(&mut other, vec![change(key(PATIENTS, 1), Op::Update, base, &[(SITE, site_value(SOUTH))])]);
    let change = based(update(key(PATIENTS, 1), base, PHONE, "mine"), &peer);
    let push = peer.freeze(vec![change]);
    peer.send(&push);
    peer.settle(&mut world, &mut registry);
    let outcome = result(&peer);
    assert_eq!(verdicts(&outcome), [Verdict::Refused(Refusal::UnknownRow)]);
    assert!(outcome.rows.0.is_empty());
}

#[test]
fn a_wanted_row_comes_whole_and_one_that_may_not_be_seen_is_only_among_those_asked_for() {
    let (mut world, mut registry, mut other) = start();
    world.accepted(&mut other, vec![create_patient(1, "p", NORTH), create_patient(2, "q", SOUTH)]);
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    peer.seen.clear();
    let want = |number: u64| WantedRow { table: PATIENTS, name: RowName::Id(id(number), RowNo(0)) };
    peer.say(Up::WantRow { rows: vec![want(1), want(2), want(3)] });
    peer.settle(&mut world, &mut registry);
    let [Down::Rows { rows, asked, .. }] = &peer.seen[..] else { panic!("{:?}", peer.seen) };
    assert_eq!((rows.0.len(), asked.len()), (1, 3));
    assert!(rows.0[0].whole);
}

fn name(world: &mut World, device: DeviceId) {
    let change = AccessChange::DeviceNamed { device, name: "Reception".to_owned() };
    assert!(matches!(world.apply(Job::Access { by: OPERATOR, change }), Reply::Access(Ok(_))));
}

#[test]
fn a_history_shows_values_before_and_after_newest_first() {
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    let base = world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, PHONE, "1")]).0;
    let base = world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, PHONE, "2")]).0;
    world.accepted(&mut other, vec![delete(key(PATIENTS, 1), base)]);
    name(&mut world, other.device);
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    peer.seen.clear();
    peer.say(Up::WantHistory { key: key(PATIENTS, 1) });
    peer.say(Up::WantHistory { key: key(PATIENTS, 99) });
    peer.settle(&mut world, &mut registry);
    let [Down::History(history), Down::History(unknown)] = &peer.seen[..] else { panic!("{:?}", peer.seen) };
    let told: Vec<_> = history.entries.iter().map(|entry| (entry.op, entry.version.0)).collect();
    assert_eq!(told, [(Op::Delete, 4), (Op::Update, 3), (Op::Update, 2), (Op::Create, 1)]);
    assert!(history.entries.iter().all(|entry| entry.device == other.device && entry.device_name == "Reception"));
    let phone = &history.entries[1].fields[0];
    assert_eq!((&phone.before, &phone.after), (&Value::text("1"), &Value::text("2")));
    assert!(history.entries[2].fields[0].before.is_null());
    assert!(unknown.entries.is_empty());
    // Cut short, a value before is still found behind the cut.
    let snapshot = world.snapshot();
    let rights = snapshot.rights(NORTHERN).unwrap().unwrap();
    for (limit, more) in [(1, true), (2, true), (4, false)] {
        let short = snapshot.history(&rights, &key(PATIENTS, 1), limit).unwrap();
        assert_eq!((short.entries.len(), short.more), (limit, more));
        assert_eq!(short.entries[..], history.entries[..limit]);
    }
}

#[test]
fn the_activity_counts_what_was_done_to_rows_that_may_be_seen_newest_first() {
    let (mut world, mut registry, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH), create_patient(2, "q", SOUTH)]).0;
    world.accepted(&mut other, vec![create_patient(3, "r", SOUTH)]);
    let of_first = world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, PHONE, "1")]).0;
    world.accepted(&mut other, vec![delete(key(PATIENTS, 1), of_first), create_patient(4, "s", NORTH)]);
    name(&mut world, other.device);
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    peer.seen.clear();
    peer.say(Up::WantActivity);
    peer.settle(&mut world, &mut registry);
    let [Down::Activity(activity)] = &peer.seen[..] else { panic!("{:?}", peer.seen) };
    let told: Vec<_> = activity.deeds.iter().map(|deed| deed.rows.clone()).collect();
    let of = |op, count| (PATIENTS, op, count);
    // What was done in the south alone is not told, nor how much of a push was.
    let here = [vec![of(Op::Create, 1), of(Op::Delete, 1)], vec![of(Op::Update, 1)], vec![of(Op::Create, 1)]];
    assert_eq!(told[..3], here);
    assert!(activity.deeds.is_sorted_by(|newer, older| newer.seq > older.seq));
    assert!(activity.deeds[..3].iter().all(|deed| deed.device == other.device && !deed.by.is_empty() && deed.at_ms > 0));
    assert!(activity.deeds[..3].iter().all(|deed| deed.device_name == "Reception"));
    // Cut short, it says so.
    let snapshot = world.snapshot();
    let rights = snapshot.rights(NORTHERN).unwrap().unwrap();
    let short = snapshot.activity(&rights, 2).unwrap();
    assert_eq!((short.deeds.len(), short.more), (2, true));
    assert_eq!(short.deeds[..], activity.deeds[..2]);
    // What was purged is told of by nothing, not even a count to who may see everything.
    let purge = Job::Purge { by: OPERATOR, rows: vec![key(PATIENTS, 1)] };
    assert!(matches!(world.apply(purge), Reply::Purge(Ok(_))));
    let snapshot = world.snapshot();
    let rights = snapshot.rights(EVERYBODY).unwrap().unwrap();
    let told: Vec<_> = snapshot.activity(&rights, 3).unwrap().deeds.into_iter().map(|deed| deed.rows).collect();
    assert_eq!(told, [vec![of(Op::Create, 1)], vec![of(Op::Create, 1)], vec![of(Op::Create, 1)]]);
}

#[test]
fn a_history_says_which_changes_were_merged_with_those_of_others() {
    let (mut world, _, mut other) = start();
    let base = world.accepted(&mut other, vec![create_patient(1, "p", NORTH)]).0;
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, PHONE, "1")]);
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, NAME, "q")]);
    let snapshot = world.snapshot();
    let rights = snapshot.rights(NORTHERN).unwrap().unwrap();
    let history = snapshot.history(&rights, &key(PATIENTS, 1), 9).unwrap();
    assert_eq!(history.entries.iter().map(|entry| entry.merged).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn results_precede_the_notice_of_being_replaced() {
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let push = peer.freeze(vec![create_patient(1, "own", NORTH)]);
    peer.send(&push);
    let session = peer.session.as_mut().unwrap();
    session.serve(&world.snapshot(), &registry, 0).unwrap();
    let Some(Output::Submit(job)) = session.poll_output() else { panic!("a push is submitted") };
    session.handle_replaced(99, 1);
    session.serve(&world.snapshot(), &registry, 0).unwrap();
    assert!(session.poll_output().is_none(), "the answer is waited for");
    // Else its driver would let it look again and again, and never hear the answer.
    assert!(!session.wants_snapshot(), "there is nothing to do before the answer");
    let Reply::Push(reply) = world.apply(job) else { panic!("an answer to a push") };
    session.handle_reply(reply);
    peer.serve(&mut world, &mut registry);
    let told: Vec<_> = peer.down.iter().collect();
    assert!(matches!(told[..], [Down::Result { .. }, Down::Replaced { process: 99, connection: 1 }]), "{told:?}");
    assert!(peer.closed);
}

#[test]
fn a_field_that_the_push_did_not_know_is_written_by_the_server_and_told() {
    // H7, T21 (i).
    let (mut world, mut registry, _) = start();
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    peer.freeze(vec![create_patient(1, "own", NORTH)]);
    let grown = SCHEMA.replace(
        "[[table.field]]\nname = \"code\"",
        "[[table.field]]\nname = \"level\"\ntag = 8\nkind = \"text\"\nlabel = \"Level\"\nrequired = true\ninitial = \"low\"\n[[table.field]]\nname = \"code\"",
    );
    let reply = world.apply(Job::Schema { by: OPERATOR, text: grown });
    assert!(matches!(reply, Reply::Schema(Ok(_))), "{reply:?}");
    let schema_seq = world.workspace.head().seq;
    peer.seen.clear();
    peer.sync(&mut world, &mut registry);
    assert!(matches!(peer.seen.first(), Some(Down::Schema { seq, .. }) if *seq == schema_seq), "before Welcome");
    let level = tombolo_protocol::ids::FieldTag(8);
    assert_eq!(peer.value(&key(PATIENTS, 1), level), Value::text("low"));
    assert!(peer.kept.schema.0 > Seq(2));
    peer.assert_converged(&world);
}

#[test]
fn a_restored_row_tells_what_the_server_wrote_into_it() {
    // A required field that came later is filled in at the restore, and its value stands in no push.
    let (mut world, mut registry, mut other) = start();
    world.accepted(&mut other, vec![create_patient(1, "own", NORTH)]);
    let base = world.workspace.head().seq.0;
    world.accepted(&mut other, vec![delete(key(PATIENTS, 1), base)]);
    let grown = SCHEMA.replace(
        "[[table.field]]\nname = \"code\"",
        "[[table.field]]\nname = \"level\"\ntag = 8\nkind = \"text\"\nlabel = \"Level\"\nrequired = true\ninitial = \"low\"\n[[table.field]]\nname = \"code\"",
    );
    let reply = world.apply(Job::Schema { by: OPERATOR, text: grown });
    assert!(matches!(reply, Reply::Schema(Ok(_))), "{reply:?}");
    let mut peer = Peer::new(&mut world, 1, NORTHERN);
    peer.sync(&mut world, &mut registry);
    let head = world.workspace.head().seq.0;
    let push = peer.freeze(vec![change(key(PATIENTS, 1), Op::Restore, head, &[])]);
    peer.send(&push);
    peer.settle(&mut world, &mut registry);
    assert_eq!(verdicts(&result(&peer)), [Verdict::Accepted { merged: false }]);
    assert_eq!(peer.value(&key(PATIENTS, 1), tombolo_protocol::ids::FieldTag(8)), Value::text("low"));
    peer.assert_converged(&world);
}
