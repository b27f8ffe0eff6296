use super::*;
use crate::testing::*;
use tombolo_protocol::change::Op;
use tombolo_protocol::ids::RowNo;
use tombolo_protocol::value::Value;

fn world() -> World {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "b", NORTH)]).0;
    world.accepted(&mut pusher, vec![change(key(PATIENTS, 1), Op::Update, base, &[(SITE, site_value(SOUTH))])]);
    world.accepted(&mut pusher, vec![delete(key(PATIENTS, 2), base)]);
    world
}

fn check(store: &Store) -> Report {
    verify(store, &Store::in_memory().unwrap(), &mut unwatched).unwrap()
}

#[test]
fn a_sound_store_is_called_sound() {
    let world = world();
    let mut heard = Vec::new();
    let report = verify(world.workspace.store(), &Store::in_memory().unwrap(), &mut |p| {
        heard.push(p);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.commits, report.rows), (world.workspace.head().seq.0, 4));
    assert_eq!(heard.last().unwrap().done, world.workspace.head().seq);
}

#[test]
fn a_commit_that_was_changed_is_found_by_its_hash() {
    let world = world();
    world.tamper(|tables| {
        let mut bytes = tables.log.get(3).unwrap().unwrap().value().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        tables.log.insert(3, bytes.as_slice()).unwrap();
    });
    assert!(matches!(check(world.workspace.store()).problems[..], [Problem::Log { seq: Seq(3), .. }]));
}

#[test]
fn a_commit_that_is_missing_is_found() {
    let world = world();
    world.tamper(|tables| {
        tables.log.remove(4).unwrap();
    });
    assert!(matches!(check(world.workspace.store()).problems[..], [Problem::Log { seq: Seq(4), .. }]));
}

#[test]
fn a_row_that_was_changed_behind_the_log_is_found_by_fold_and_digest() {
    let world = world();
    let no = world.row(&key(PATIENTS, 1)).no;
    world.tamper(|tables| {
        let mut row = tables.row_numbered(no).unwrap().unwrap();
        row.fields.get_mut(&NAME).unwrap().value = Value::text("forged");
        tables.rows.insert(no.0, codec::store::encode(&row).as_slice()).unwrap();
    });
    let problems = check(world.workspace.store()).problems;
    assert!(problems.iter().any(|problem| matches!(problem, Problem::Fold { table: "rows_1", .. })), "{problems:?}");
    assert!(problems.iter().any(|problem| matches!(problem, Problem::Digest { .. })), "{problems:?}");
}

#[test]
fn an_entry_too_many_and_one_too_few_are_found() {
    let world = world();
    world.tamper(|tables| {
        tables.history.insert((RowNo(1).0, 999), ()).unwrap();
        tables.users.remove(NORTHERN.bytes()).unwrap();
    });
    let said = check(world.workspace.store()).to_string();
    assert!(said.contains("table history_1: entry (1, 999) is too many"), "{said}");
    assert!(said.contains("table users_1: entry") && said.contains("is missing"), "{said}");
}

#[test]
fn a_rebuilt_store_is_the_same_workspace() {
    let world = world();
    let rebuilt = Store::in_memory().unwrap();
    rebuild(world.workspace.store(), &rebuilt, &mut unwatched).unwrap();
    assert_eq!(rebuilt.snapshot().unwrap().head(), world.workspace.head());
    let differences = world.workspace.store().read().unwrap().compare(&rebuilt.read().unwrap(), &|| Ok(())).unwrap();
    assert!(differences.iter().all(|(table, difference)| difference.is_none() || *table == "local_1"), "{differences:?}");
    assert!(check(&rebuilt).is_sound());
}

#[test]
fn a_verification_that_nobody_waits_for_ends() {
    let mut told = 0;
    let verified = verify(world().workspace.store(), &Store::in_memory().unwrap(), &mut |_| {
        told += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(verified, Err(VerifyError::GivenUp)), "{verified:?}");
    assert_eq!(told, 1);
}

#[test]
fn what_reads_for_long_lets_go_of_a_store_whose_write_has_failed() {
    // P9: the store is opened again only when nobody holds it.
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]);
    let store = world.workspace.store();
    let snapshot = store.snapshot().unwrap();
    let verified = verify(store, &Store::in_memory().unwrap(), &mut |_| {
        store.poison();
        ControlFlow::Continue(())
    });
    assert!(matches!(verified, Err(VerifyError::Store(StoreError::Poisoned))), "{verified:?}");
    assert!(matches!(snapshot.rows_after(PATIENTS, None, 10), Err(StoreError::Poisoned)));
}
