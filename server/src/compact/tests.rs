use super::*;
use crate::access::OPERATOR;
use crate::store::records::Checkpoint;
use crate::testing::*;
use crate::verify::{Problem, rebuild, unwatched, verify};
use crate::workspace::{Job, PushReply, Reply};
use tombolo_protocol::change::{Change, Op, Push};
use tombolo_protocol::commit::Grant;
use tombolo_protocol::schema::Role;
use tombolo_protocol::value::Value;

/// Two devices, one with more pushes than stay.
fn world() -> (World, Pusher, Vec<Push>) {
    let mut world = World::new();
    let (mut busy, mut other) = (Pusher::new(100, EVERYBODY), Pusher::new(101, EVERYBODY));
    world.accepted(&mut other, vec![create_patient(1, "a", NORTH), create_patient(2, "b", NORTH)]);
    let mut pushes = Vec::new();
    for number in 0..PUSH_WINDOW_MAX as u64 + 3 {
        pushes.push(busy.freeze(vec![create_patient(10 + number, "x", SOUTH)]));
        assert!(matches!(push(&mut world, &busy, pushes.last().unwrap()), PushReply::Recorded { verdicts: Some(_), .. }));
    }
    let base = world.workspace.head().seq.0;
    world.accepted(&mut other, vec![delete(key(PATIENTS, 2), base)]);
    (world, busy, pushes)
}

fn push(world: &mut World, pusher: &Pusher, push: &Push) -> PushReply {
    match world.apply(Job::Push { device: pusher.device, user: pusher.user, push: push.clone() }) {
        Reply::Push(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn check(world: &World) -> Report {
    verify(world.workspace.store(), &Store::in_memory().unwrap(), &mut unwatched).unwrap()
}

/// The commits that have their contents.
fn contents(world: &World) -> Vec<u64> {
    let tables = world.workspace.store().read().unwrap();
    tables.log.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect()
}

#[test]
fn what_the_base_stands_for_goes_and_everything_else_stays() {
    let (mut world, ..) = world();
    let before = world.snapshot();
    let head = before.head().seq;
    let done = world.compact(head);
    // The busy device's window, and both pushes of the other one.
    let kept = PUSH_WINDOW_MAX as u64 + 2;
    assert_eq!(done, Compacted { seq: head.next(), horizon: head, dropped: head.0 - kept, kept });
    assert_eq!(contents(&world).len() as u64, kept + 1);
    let after = world.snapshot();
    for seq in (0..=head.0).map(Seq) {
        assert_eq!(after.hash_at(seq).unwrap(), before.hash_at(seq).unwrap());
    }
    for table in [SITES, PATIENTS] {
        assert_eq!(after.rows_after(table, None, 1000).unwrap(), before.rows_after(table, None, 1000).unwrap());
    }
    let report = check(&world);
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.commits, report.horizon), (head.0 + 1, head));
    assert!(report.to_string().contains(&format!("(compacted up to commit {head})")), "{report}");
}

#[test]
fn a_log_is_compacted_again_and_again() {
    let (mut world, mut busy, _) = world();
    let first = world.workspace.head().seq;
    world.compact(first);
    for number in 500..510 {
        world.accepted(&mut busy, vec![create_patient(number, "y", NORTH)]);
    }
    assert!(check(&world).is_sound());
    let last = world.workspace.head().seq;
    world.accepted(&mut busy, vec![update(key(PATIENTS, 500), last.0, NOTES, "z")]);
    // Two commits behind the first horizon: that of the compaction, and one more.
    let second = world.compact(first.next().next());
    // The compaction itself, and as many older pushes as the window has moved on.
    assert_eq!((second.horizon, second.dropped), (first.next().next(), 12));
    assert!(check(&world).is_sound());
    let third = world.compact(last);
    assert_eq!((third.horizon, third.kept), (last, PUSH_WINDOW_MAX as u64 + 1));
    let report = check(&world);
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.horizon, last);
    world.accepted(&mut busy, vec![create_patient(600, "w", NORTH)]);
    assert!(check(&world).is_sound());
}

#[test]
fn a_log_is_compacted_again_up_to_a_commit_before_that_of_the_last_compaction() {
    let (mut world, mut busy, _) = world();
    let head = world.workspace.head().seq;
    world.accepted(&mut busy, vec![create_patient(500, "y", NORTH)]);
    world.compact(head);
    let done = world.compact(head.next());
    assert_eq!((done.horizon, done.seq), (head.next(), Seq(head.0 + 3)));
    assert!(check(&world).is_sound());
}

#[test]
fn a_rebuilt_workspace_is_the_compacted_one() {
    let (mut world, mut busy, pushes) = world();
    world.compact(world.workspace.head().seq);
    world.accepted(&mut busy, vec![create_patient(500, "y", NORTH)]);
    let rebuilt = Store::in_memory().unwrap();
    rebuild(world.workspace.store(), &rebuilt, &mut unwatched).unwrap();
    let differences = world.workspace.store().read().unwrap().compare(&rebuilt.read().unwrap(), &|| Ok(())).unwrap();
    assert!(differences.iter().all(|(table, difference)| difference.is_none() || *table == "local_1"), "{differences:?}");
    let mut copy = world.copy();
    assert!(check(&copy).is_sound());
    assert!(matches!(push(&mut copy, &busy, pushes.last().unwrap()), PushReply::Recorded { verdicts: None, .. }));
    assert!(copy.compact(copy.workspace.head().seq).dropped > 0);
    assert!(check(&copy).is_sound());
}

#[test]
fn a_push_of_the_last_window_gets_its_recorded_answer_however_long_that_is_ago() {
    // T19 i: the answer to a create was lost; the row was deleted, and the log compacted.
    let (mut world, busy, pushes) = world();
    let base = world.workspace.head().seq.0;
    let mut other = Pusher::new(102, EVERYBODY);
    world.accepted(&mut other, vec![delete(pushes[3].changes[0].key, base)]);
    let rights = world.snapshot().rights(EVERYBODY).unwrap().unwrap();
    let before = world.snapshot().outcome(&rights, busy.device, pushes[3].number).unwrap().unwrap();
    world.compact(world.workspace.head().seq);
    for kept in &pushes[3..] {
        assert!(matches!(push(&mut world, &busy, kept), PushReply::Recorded { verdicts: None, .. }));
        assert!(world.snapshot().outcome(&rights, busy.device, kept.number).unwrap().is_some());
    }
    let after = world.snapshot().outcome(&rights, busy.device, pushes[3].number).unwrap().unwrap();
    assert_eq!((after.commit, &after.verdicts, &after.rows), (before.commit, &before.verdicts, &before.rows));
    assert!(!world.row(&pushes[3].changes[0].key).is_live());
}

#[test]
fn an_older_push_is_known_by_its_hash_and_answered_as_one_of_a_copy() {
    let (mut world, busy, pushes) = world();
    world.compact(world.workspace.head().seq);
    let rights = world.snapshot().rights(EVERYBODY).unwrap().unwrap();
    for gone in &pushes[..3] {
        assert_eq!(push(&mut world, &busy, gone), PushReply::Copy);
        let (hash, _) = world.snapshot().recorded_push(busy.device, gone.number).unwrap().unwrap();
        assert_eq!(hash, gone.hash);
        assert_eq!(world.snapshot().outcome(&rights, busy.device, gone.number).unwrap(), None);
    }
}

#[test]
fn a_row_that_changed_before_the_horizon_is_not_said_to_be_as_expected() {
    let (mut world, mut busy, _) = world();
    let base = world.workspace.head().seq.0;
    let mut other = Pusher::new(102, EVERYBODY);
    world.accepted(&mut other, vec![update(key(PATIENTS, 1), base, PHONE, "1")]);
    let horizon = world.workspace.head().seq;
    world.compact(horizon);
    let rights = world.snapshot().rights(EVERYBODY).unwrap().unwrap();
    let outcome = |world: &mut World, busy: &mut Pusher, change: Change| {
        world.accepted(busy, vec![change]);
        world.snapshot().outcome(&rights, busy.device, busy.last).unwrap().unwrap()
    };
    let told = outcome(&mut world, &mut busy, update(key(PATIENTS, 1), base, NOTES, "n"));
    assert!(told.as_expected.is_empty());
    assert!(told.rows.0[0].fields.iter().any(|field| field.field == PHONE), "{told:?}");
    // From the horizon on the index is whole.
    let told = outcome(&mut world, &mut busy, update(key(PATIENTS, 10), horizon.0, NOTES, "n"));
    assert!(!told.as_expected.is_empty() && told.rows.0.is_empty(), "{told:?}");
}

#[test]
fn a_rows_history_ends_at_the_horizon_and_says_so() {
    let (mut world, mut busy, _) = world();
    let base = world.workspace.head().seq.0;
    world.accepted(&mut busy, vec![update(key(PATIENTS, 1), base, PHONE, "1")]);
    let rights = world.snapshot().rights(EVERYBODY).unwrap().unwrap();
    let history = |world: &World, number| world.snapshot().history(&rights, &key(PATIENTS, number), 10).unwrap();
    assert_eq!((history(&world, 1).entries.len(), history(&world, 1).more), (2, false));
    world.compact(Seq(base));
    let told = history(&world, 1);
    assert_eq!((told.entries.len(), told.entries[0].op, told.more), (1, Op::Update, true));
    assert_eq!((&told.entries[0].fields[0].before, &told.entries[0].fields[0].after), (&Value::Null, &Value::text("1")));
    let told = history(&world, 10);
    assert!(told.entries.is_empty() && told.more);
    world.accepted(&mut busy, vec![create_patient(500, "y", NORTH)]);
    assert_eq!((history(&world, 500).entries.len(), history(&world, 500).more), (1, false));
}

#[test]
fn nothing_is_done_where_nothing_would_go() {
    let (mut world, ..) = world();
    let prepared = |world: &World, horizon| {
        prepare(world.workspace.store(), &Store::in_memory().unwrap(), horizon, &mut unwatched).unwrap()
    };
    assert!(matches!(prepared(&world, Seq(0)), Prepared::Nothing));
    let done = world.compact(Seq(u64::MAX));
    assert!(matches!(prepared(&world, done.horizon), Prepared::Nothing));
    // A compaction alone is not worth another one.
    assert_eq!(world.workspace.head().seq, done.seq);
    assert!(matches!(prepared(&world, done.seq), Prepared::Nothing));
}

#[test]
fn a_base_that_does_not_fit_any_more_is_refused() {
    let (mut world, ..) = world();
    let head = world.workspace.head().seq;
    let (first, second) = (world.base(Seq(5)), world.base(head));
    assert!(matches!(world.apply(Job::Compact { by: OPERATOR, base: first }), Reply::Compact(Ok(_))));
    let refused = world.apply(Job::Compact { by: OPERATOR, base: second });
    assert_eq!(refused, Reply::Compact(Err(CompactError::Meanwhile)));
    assert_eq!(world.workspace.head().seq, head.next());
    assert!(check(&world).is_sound());
}

#[test]
fn a_base_that_is_not_read_as_it_was_made_puts_nothing_away() {
    let (mut world, ..) = world();
    let head = world.workspace.head();
    let base = world.base(head.seq);
    let txn = base.scratch.write().unwrap();
    WriteTables::open(&txn).unwrap().base.remove(0).unwrap();
    txn.commit().unwrap();
    let rebuilt = world.copy();
    // The data is as sound as before, and the server goes on.
    let refused = world.apply(Job::Compact { by: OPERATOR, base });
    assert_eq!(refused, Reply::Compact(Err(CompactError::Scratch)));
    assert!(check(&world).is_sound());
    assert_eq!((world.workspace.head(), rebuilt.workspace.head()), (head, head));
}

#[test]
fn a_store_that_is_not_sound_keeps_its_log() {
    let (world, ..) = world();
    let no = world.row(&key(PATIENTS, 1)).no;
    world.tamper(|tables| {
        tables.history.insert((no.0, 999), ()).unwrap();
    });
    let head = world.workspace.head().seq;
    match prepare(world.workspace.store(), &Store::in_memory().unwrap(), Seq(5), &mut unwatched).unwrap() {
        Prepared::Unsound(report) => assert!(matches!(report.problems[..], [Problem::Fold { table: "history_1", .. }])),
        other => panic!("{other:?}"),
    }
    assert_eq!((contents(&world).len() as u64, world.workspace.head().seq), (head.0, head));
}

#[test]
fn a_base_that_was_changed_or_is_gone_is_found() {
    let (mut world, ..) = world();
    world.compact(world.workspace.head().seq);
    let changed = world.copy();
    changed.tamper(|tables| {
        let mut chunk = zstd::bulk::decompress(tables.base.get(0).unwrap().unwrap().value(), 1 << 20).unwrap();
        *chunk.last_mut().unwrap() ^= 1;
        tables.base.insert(0, zstd::bulk::compress(&chunk, 1).unwrap().as_slice()).unwrap();
    });
    let torn = world.copy();
    torn.tamper(|tables| drop(tables.base.insert(0, b"nothing that inflates".as_slice()).unwrap()));
    let gone = world.copy();
    gone.tamper(|tables| drop(tables.base.remove(0).unwrap()));
    for damaged in [changed, gone] {
        assert!(matches!(check(&damaged).problems[..], [Problem::Base { .. }]), "{}", check(&damaged));
    }
    let error = verify(torn.workspace.store(), &Store::in_memory().unwrap(), &mut unwatched).unwrap_err();
    assert!(matches!(error, VerifyError::Store(StoreError::Damaged(_))), "{error}");
}

#[test]
fn a_base_that_the_log_does_not_name_is_found_also_where_the_table_of_compactions_does() {
    let (mut world, ..) = world();
    let done = world.compact(world.workspace.head().seq);
    // The base of a later state, with an entry that says that it is the right one.
    let mut other = world.copy();
    other.user(NORTHERN, "renamed", Role::Editor, Grant::All);
    let forged = other.base(done.seq.next());
    other.tamper(|tables| {
        base::copy(&forged.scratch.read().unwrap(), tables).unwrap();
        let checkpoint = Checkpoint { horizon: done.seq.next(), base: forged.hash };
        tables.checkpoints.insert(done.seq.0, codec::store::encode(&checkpoint).as_slice()).unwrap();
    });
    assert!(matches!(check(&other).problems[..], [Problem::Base { .. }]), "{}", check(&other));
}

#[test]
fn an_answer_that_must_be_kept_is_missed_and_one_that_was_changed_is_found() {
    let (mut world, ..) = world();
    world.compact(world.workspace.head().seq);
    let kept = contents(&world)[3];
    let missing = world.copy();
    missing.tamper(|tables| drop(tables.log.remove(kept).unwrap()));
    let changed = world.copy();
    changed.tamper(|tables| {
        let mut bytes = tables.log.get(kept).unwrap().unwrap().value().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        tables.log.insert(kept, bytes.as_slice()).unwrap();
    });
    for damaged in [missing, changed] {
        assert!(matches!(check(&damaged).problems[..], [Problem::Log { seq, .. }] if seq.0 == kept), "{}", check(&damaged));
    }
}

#[test]
fn rows_that_fill_many_chunks_come_back_as_they_were() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    let noise = |number: u64| -> String {
        (0..1500u64)
            .map(|place| format!("{:x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(place as u32 % 64) ^ place))
            .collect()
    };
    for number in 0..150 {
        let mut patient = create_patient(number, "x", NORTH);
        patient.fields.push(update(key(PATIENTS, number), 0, NOTES, &noise(number)).fields.remove(0));
        world.accepted(&mut pusher, vec![patient]);
    }
    let before = world.snapshot().rows_after(PATIENTS, None, 1000).unwrap();
    world.compact(world.workspace.head().seq);
    let tables = world.workspace.store().read().unwrap();
    assert!(tables.base.iter().unwrap().count() > 2);
    let rebuilt = world.copy();
    assert_eq!(rebuilt.snapshot().rows_after(PATIENTS, None, 1000).unwrap(), before);
    assert!(check(&rebuilt).is_sound());
    // A smaller base leaves nothing of the larger one.
    let head = world.workspace.head().seq.0;
    let keys: Vec<_> = before.iter().map(|row| row.key).collect();
    world.accepted(&mut pusher, keys.iter().map(|key| delete(*key, head)).collect());
    assert!(matches!(world.apply(Job::Purge { by: OPERATOR, rows: keys }), Reply::Purge(Ok(_))));
    world.compact(world.workspace.head().seq);
    assert!(check(&world).is_sound());
}

#[test]
fn a_preparation_lets_go_of_a_store_whose_write_has_failed() {
    // P9: the store is opened again only when nobody holds it.
    let (world, ..) = world();
    let store = world.workspace.store();
    let prepared = prepare(store, &Store::in_memory().unwrap(), Seq(5), &mut |_| {
        store.poison();
        ControlFlow::Continue(())
    });
    assert!(matches!(prepared, Err(VerifyError::Store(StoreError::Poisoned))), "{prepared:?}");
}

#[test]
fn a_horizon_by_time_leaves_what_is_younger_whatever_the_clock_did() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    let mut commit = |number: u64, at_ms: i64| {
        let push = pusher.freeze(vec![create_patient(number, "x", NORTH)]);
        let job = Job::Push { device: pusher.device, user: pusher.user, push };
        world.workspace.apply(vec![job], at_ms).unwrap();
        world.workspace.head().seq
    };
    let (old, _) = (commit(1, 100 * DAY_MS), commit(2, 150 * DAY_MS));
    // The clock begins at 1970 once, and goes a year too fast once.
    let (_, _) = (commit(3, 0), commit(4, 150 * DAY_MS));
    let newest = commit(5, 200 * DAY_MS);
    let older = |days, now_ms| world.snapshot().older_than(days, now_ms).unwrap();
    assert_eq!(older(90, 200 * DAY_MS), old);
    assert_eq!(older(60, 200 * DAY_MS), old, "a commit of 1970 behind a younger one does not take that along");
    assert_eq!(older(90, 565 * DAY_MS), old, "a clock that is ahead makes nothing older than the newest commit says");
    assert_eq!(older(u32::MAX, 200 * DAY_MS), Seq(0));
    assert_eq!(older(40, 200 * DAY_MS), Seq(newest.0 - 1));
    let horizon = world.compact(old).horizon;
    assert_eq!(world.snapshot().older_than(90, 200 * DAY_MS).unwrap(), horizon);
}
