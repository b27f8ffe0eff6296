use super::*;
use crate::testing::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tombolo_protocol::change::{Op, Refusal, Verdict};
use tombolo_protocol::commit::{AccessChange, Grant, Offer};
use tombolo_protocol::ids::{DeviceId, FieldTag, RowId, RowNo};
use tombolo_protocol::limits::SECTIONS_MAX;
use tombolo_protocol::schema::Role;
use tombolo_protocol::value::Value;

#[test]
fn a_workspace_starts_with_its_id_and_its_schema() {
    let workspace = Workspace::init(Store::in_memory().unwrap(), Init { id: WORKSPACE, schema: SCHEMA }, 5).unwrap();
    assert_eq!(workspace.head().seq, Seq(2));
    let snapshot = workspace.store().snapshot().unwrap();
    assert_eq!((snapshot.workspace(), snapshot.schema_seq()), (WORKSPACE, Seq(2)));
    assert!(matches!(snapshot.commit(Seq(1)).unwrap().unwrap().body, CommitBody::Workspace { .. }));
    let again = Workspace::init(workspace.store().clone(), Init { id: WORKSPACE, schema: SCHEMA }, 5);
    assert!(matches!(again, Err(InitError::Exists)));
}

#[test]
fn a_bad_schema_makes_no_workspace() {
    let store = Store::in_memory().unwrap();
    assert!(matches!(Workspace::init(store.clone(), Init { id: WORKSPACE, schema: "name" }, 5), Err(InitError::Schema(_))));
    assert!(!store.is_initialised().unwrap());
}

#[test]
fn later_jobs_of_a_batch_see_what_earlier_ones_did() {
    let mut world = World::new();
    let mut one = Pusher::new(100, EVERYBODY);
    let mut two = Pusher::new(200, EVERYBODY);
    let base = world.accepted(&mut one, vec![create_patient(1, "a", NORTH)]).0;
    let jobs = [&mut one, &mut two]
        .map(|pusher| {
            let push = pusher.freeze(vec![update(key(PATIENTS, 1), base, PHONE, &pusher.device.to_string())]);
            Job::Push { device: pusher.device, user: pusher.user, push }
        })
        .to_vec();
    let replies = world.workspace.apply(jobs, 9).unwrap();
    let verdicts: Vec<Verdict> = replies
        .iter()
        .map(|reply| match reply {
            Reply::Push(PushReply::Recorded { verdicts: Some(verdicts), .. }) => verdicts.iter().next().unwrap().clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(verdicts, [Verdict::Accepted { merged: false }, Verdict::Conflict]);
    assert_eq!(world.workspace.head().seq.0, base + 2, "one commit each");
}

#[test]
fn after_a_defect_it_is_known_which_job_met_it() {
    let mut world = World::new();
    let mut pushers = [100, 200, 300].map(|device| Pusher::new(device, EVERYBODY));
    let mut bad = create_patient(2, "b", NORTH);
    bad.key.id = RowId::from_bytes(DEFECTIVE);
    let changes = [create_patient(1, "a", NORTH), bad, create_patient(3, "c", NORTH)];
    let jobs = pushers
        .iter_mut()
        .zip(changes)
        .map(|(pusher, change)| Job::Push { device: pusher.device, user: pusher.user, push: pusher.freeze(vec![change]) })
        .collect();
    let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.workspace.apply(jobs, 9)));
    assert!(applied.is_err());
    assert_eq!(world.workspace.at_work(), Some(1));
}

#[test]
fn rows_are_numbered_without_gaps_in_the_order_of_the_log() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    world.accepted(&mut pusher, vec![create_patient(9, "a", NORTH), create_patient(3, "b", NORTH)]);
    world.accepted(&mut pusher, vec![create_patient(5, "c", NORTH)]);
    // The sites came first.
    assert_eq!([9, 3, 5].map(|number| world.row(&key(PATIENTS, number)).no), [RowNo(3), RowNo(4), RowNo(5)]);
}

#[test]
fn a_restored_row_has_come_into_its_section_again() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    let base = world.accepted(&mut pusher, vec![delete(key(PATIENTS, 1), base)]).0;
    let restored = world.accepted(&mut pusher, vec![change(key(PATIENTS, 1), Op::Restore, base, &[])]);
    let row = world.row(&key(PATIENTS, 1));
    assert_eq!((row.since, row.version.0, row.value(NAME)), (restored, 3, &Value::text("a")));
    assert!(row.since_base(Seq(restored.0 - 1)).whole, "stamps did not move, and it is sent whole all the same");
}

#[test]
fn purging_takes_values_and_leaves_the_identity() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    let purge = |world: &mut World| world.apply(Job::Purge { by: OPERATOR, rows: vec![key(PATIENTS, 1)] });
    assert_eq!(purge(&mut world), Reply::Purge(Err(PurgeError::NotDeleted(key(PATIENTS, 1)))));
    let before = world.row(&key(PATIENTS, 1));
    world.accepted(&mut pusher, vec![delete(key(PATIENTS, 1), base)]);
    assert!(matches!(purge(&mut world), Reply::Purge(Ok(_))));
    let row = world.row(&key(PATIENTS, 1));
    assert_eq!((row.no, row.life), (before.no, tombolo_protocol::row::Life::Purged));
    assert!(row.value(NAME).is_null() && !row.value(SITE).is_null());
    // Also who brings the row back does not bring its values back by the history.
    let back = change(key(PATIENTS, 1), Op::Restore, row.seq.0, &[(NAME, Value::text("new"))]);
    world.accepted(&mut pusher, vec![back]);
    let snapshot = world.snapshot();
    let rights = snapshot.rights(EVERYBODY).unwrap().unwrap();
    let history = snapshot.history(&rights, &key(PATIENTS, 1), 10).unwrap();
    assert_eq!(history.entries.len(), 1);
    assert!(history.entries[0].fields[0].before.is_null());
}

#[test]
fn an_import_goes_in_whole_or_not_at_all() {
    let mut world = World::new();
    let head = world.workspace.head();
    let mut changes: Vec<_> = (1..=600).map(|number| create_patient(number, "p", NORTH)).collect();
    changes.push(change(key(PATIENTS, 601), Op::Create, 0, &[(SITE, site_value(NORTH))]));
    let reply = world.apply(Job::import(OPERATOR, changes.clone()));
    let Reply::Import(Err(ImportRefusal::Change { index, key: of, .. })) = reply else { panic!("{reply:?}") };
    assert_eq!((index, of), (600, key(PATIENTS, 601)));
    assert_eq!(world.workspace.head(), head);
    assert!(world.snapshot().row(&key(PATIENTS, 1)).unwrap().is_none());
    changes.pop();
    let reply = world.apply(Job::import(OPERATOR, changes));
    let Reply::Import(Ok(imported)) = reply else { panic!("{reply:?}") };
    assert_eq!((imported.accepted, imported.agreed), (600, 0));
    assert_eq!(world.workspace.head().seq.0, head.seq.0 + 3, "250 changes a push");
}

#[test]
fn an_import_says_how_far_it_is_and_one_that_is_given_up_leaves_nothing() {
    let mut world = World::new();
    let head = world.workspace.head();
    let changes: Vec<_> = (1..=600).map(|number| create_patient(number, "p", NORTH)).collect();
    let watch = Arc::new(ImportWatch::default());
    watch.give_up();
    let reply = world.apply(Job::Import { by: OPERATOR, changes: changes.clone(), watch: watch.clone() });
    assert_eq!((reply, watch.decided()), (Reply::Import(Err(ImportRefusal::GivenUp)), 0));
    assert_eq!(world.workspace.head(), head);
    let watch = Arc::new(ImportWatch::default());
    let reply = world.apply(Job::Import { by: OPERATOR, changes, watch: watch.clone() });
    assert!(matches!(reply, Reply::Import(Ok(_))), "{reply:?}");
    assert_eq!(watch.decided(), 600);
}

#[test]
fn a_user_is_checked_before_it_is_logged() {
    let mut world = World::new();
    let mut add = |id: u128, name: &str, grant: Grant| {
        let id = UserId(uuid::Uuid::from_u128(id));
        let change = AccessChange::User { id, name: name.to_owned(), role: Role::Editor, grant, password: String::new() };
        world.apply(Job::Access { by: OPERATOR, change })
    };
    let stranger = RowId(uuid::Uuid::from_u128(0xFF));
    for (reply, refusal) in [
        (add(50, "northern", Grant::All), AccessError::NameTaken("northern".to_owned())),
        (add(50, " x", Grant::All), AccessError::BadName),
        (add(50, "", Grant::All), AccessError::BadName),
        (add(0, "x", Grant::All), AccessError::Reserved),
        (add(50, "x", Grant::Scopes(vec![stranger])), AccessError::UnknownScope(stranger)),
    ] {
        assert_eq!(reply, Reply::Access(Err(refusal)));
    }
    assert!(matches!(add(50, "x", Grant::Scopes(vec![NORTH])), Reply::Access(Ok(_))));
}

#[test]
fn a_new_password_leaves_role_and_grant_as_they_are_when_it_is_written() {
    let mut world = World::new();
    let id = NORTHERN;
    let grant = Grant::Scopes(vec![SOUTH]);
    let narrowed = AccessChange::User {
        id,
        name: "renamed".to_owned(),
        role: Role::Viewer,
        grant: grant.clone(),
        password: "old".to_owned(),
    };
    let password = |user| Job::Password { by: OPERATOR, user, password: "new".to_owned() };
    // Asked for before the grant was narrowed, and written behind it.
    let jobs = vec![Job::Access { by: OPERATOR, change: narrowed }, password(id), password(UserId(uuid::Uuid::from_u128(99)))];
    let replies = world.workspace.apply(jobs, 9).unwrap();
    assert!(matches!(replies[1], Reply::Access(Ok(_))), "{replies:?}");
    assert_eq!(replies[2], Reply::Access(Err(AccessError::UnknownUser)));
    let user = world.snapshot().user(id).unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.role, user.grant), ("renamed", Role::Viewer, grant));
    assert_eq!(user.password, "new");
}

#[test]
fn logging_in_again_keeps_the_users_device_and_nobody_elses() {
    let mut world = World::new();
    let device = |number: u128| DeviceId(uuid::Uuid::from_u128(number));
    let mut login = |user: UserId, named: Option<u128>, fresh: u128, token: u8| {
        let job = Job::IssueToken {
            user,
            device: named.map(device),
            name: None,
            fresh: device(fresh),
            token: [token; 32],
            expires_at_ms: 10_000,
        };
        world.apply(job)
    };
    assert_eq!(login(NORTHERN, None, 1, 1), Reply::Token(Ok(device(1))));
    assert_eq!(login(NORTHERN, Some(1), 2, 2), Reply::Token(Ok(device(1))));
    assert_eq!(login(SOUTHERN, Some(1), 3, 3), Reply::Token(Ok(device(3))));
    assert_eq!(login(UserId(uuid::Uuid::from_u128(99)), None, 4, 4), Reply::Token(Err(AccessError::UnknownUser)));
    assert_eq!(login(SOUTHERN, None, 0, 5), Reply::Token(Err(AccessError::NotYourDevice)), "the server's own device");
    let snapshot = world.snapshot();
    assert!(snapshot.identity(&[1; 32], 0).unwrap().is_none(), "the old token stops working");
    assert_eq!(snapshot.identity(&[2; 32], 9_999).unwrap().unwrap().user, NORTHERN);
    assert!(snapshot.identity(&[2; 32], 10_000).unwrap().is_none(), "expired");
}

#[test]
fn a_device_is_called_as_its_last_login_said() {
    let mut world = World::new();
    let device = |number: u128| DeviceId(uuid::Uuid::from_u128(number));
    let login = |world: &mut World, named: Option<u128>, name: Option<&str>, fresh: u128| {
        world.apply(Job::IssueToken {
            user: NORTHERN,
            device: named.map(device),
            name: name.map(str::to_owned),
            fresh: device(fresh),
            token: [fresh as u8; 32],
            expires_at_ms: i64::MAX,
        })
    };
    let called = |world: &World, number: u128| world.snapshot().device_name(device(number)).unwrap();
    assert_eq!(login(&mut world, None, Some("Reception"), 1), Reply::Token(Ok(device(1))));
    assert_eq!(called(&world, 1), "Reception");
    let head = world.snapshot().head();
    login(&mut world, Some(1), None, 2);
    login(&mut world, Some(1), Some("Reception"), 3);
    assert_eq!(called(&world, 1), "Reception");
    assert_eq!(world.snapshot().head().seq.0, head.seq.0 + 2, "a name that stays is no commit");
    for bad in ["", " Reception", "a\nb", &"x".repeat(65)] {
        let head = world.snapshot().head();
        assert_eq!(login(&mut world, Some(1), Some(bad), 4), Reply::Token(Err(AccessError::BadDeviceName)));
        assert_eq!(world.snapshot().head(), head, "nothing was changed");
    }
    let issue =
        Job::IssueDevice { asking: device(1), by_token: [3; 32], fresh: device(5), token: [5; 32], expires_at_ms: i64::MAX };
    assert_eq!(world.apply(issue), Reply::Token(Ok(device(5))));
    assert_eq!(called(&world, 5), "Reception", "a copy is called like the one that it was");
    login(&mut world, Some(5), Some("Ward 2"), 6);
    assert_eq!((called(&world, 1), called(&world, 5)), ("Reception".to_owned(), "Ward 2".to_owned()));
}

#[test]
fn a_new_device_is_issued_only_to_one_that_may_connect() {
    let mut world = World::new();
    let device = |number: u128| DeviceId(uuid::Uuid::from_u128(number));
    let issue = |world: &mut World, by_token: [u8; 32], fresh: u128| {
        world.apply(Job::IssueDevice {
            asking: device(1),
            by_token,
            fresh: device(fresh),
            token: [fresh as u8; 32],
            expires_at_ms: i64::MAX,
        })
    };
    let login = |world: &mut World, token: [u8; 32], expires_at_ms: i64| {
        let job =
            Job::IssueToken { user: NORTHERN, device: Some(device(1)), name: None, fresh: device(1), token, expires_at_ms };
        assert_eq!(world.apply(job), Reply::Token(Ok(device(1))));
    };
    login(&mut world, [1; 32], i64::MAX);
    assert_eq!(issue(&mut world, [1; 32], 10), Reply::Token(Ok(device(10))));
    assert_eq!(world.snapshot().identity(&[10; 32], 0).unwrap().unwrap().user, NORTHERN);
    let refused = Reply::Token(Err(AccessError::Unauthorized));
    assert_eq!(issue(&mut world, [2; 32], 11), refused, "another token");
    login(&mut world, [3; 32], 1);
    assert_eq!(issue(&mut world, [3; 32], 12), refused, "expired");
    login(&mut world, [4; 32], i64::MAX);
    world.apply(Job::Access { by: OPERATOR, change: AccessChange::DeviceRevoked { device: device(1) } });
    assert_eq!(issue(&mut world, [4; 32], 13), refused, "revoked");
}

#[test]
fn a_scope_that_would_make_the_list_of_sections_too_long_is_refused() {
    let mut world = World::new();
    let site = |number: u64| change(key(SITES, 10_000 + number), Op::Create, 0, &[(FieldTag(1), Value::text("x"))]);
    // Two are there, and the three other tables have a section each.
    let most = SECTIONS_MAX as u64 - 3;
    let refused = Verdict::Refused(Refusal::TooManyScopes { most: most as u32 });
    let reply = world.apply(Job::import(OPERATOR, (1..=most - 1).map(site).collect()));
    let Reply::Import(Err(ImportRefusal::Change { index, verdict, .. })) = reply else { panic!("{reply:?}") };
    assert_eq!((index as u64, verdict), (most - 2, refused.clone()));
    let reply = world.apply(Job::import(OPERATOR, (1..=most - 3).map(site).collect()));
    assert!(matches!(reply, Reply::Import(Ok(_))), "{reply:?}");
    let mut pusher = Pusher::new(100, EVERYBODY);
    let (_, verdicts) = world.push(&mut pusher, vec![site(9_001), create_patient(1, "a", NORTH), site(9_002)]);
    assert_eq!(verdicts, [Verdict::Accepted { merged: false }, Verdict::Accepted { merged: false }, refused]);
    let snapshot = world.snapshot();
    let rights = snapshot.rights(EVERYBODY).unwrap().unwrap();
    assert_eq!(snapshot.sections(&rights).unwrap().len(), SECTIONS_MAX);
    // Nor may another table have so many sections.
    let scoped = "[[table]]\nname = \"beds\"\ntag = 9\nlabel = \"Beds\"\ntitle = [\"site\"]\nscope = \"site\"\n[[table.field]]\nname = \"site\"\ntag = 1\n\
                  kind = \"reference\"\nreferences = \"sites\"\nlabel = \"Site\"\nrequired = true\n";
    let reply = world.apply(Job::Schema { by: OPERATOR, text: format!("{SCHEMA}\n{scoped}") });
    assert!(matches!(reply, Reply::Schema(Err(SchemaRefusal::TooManyScopes { .. }))), "{reply:?}");
}

#[test]
fn a_schema_that_rows_violate_is_not_logged() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "a", NORTH)]);
    let head = world.workspace.head();
    let narrowed = SCHEMA.replace("label = \"Phone\"", "label = \"Phone\"\nrequired = true\ninitial = \"-\"");
    let unique = SCHEMA.replace("label = \"Name\"\nrequired = true", "label = \"Name\"\nrequired = true\nunique = true");
    for text in [narrowed, unique] {
        assert_ne!(text, SCHEMA);
        let reply = world.apply(Job::Schema { by: OPERATOR, text });
        assert!(matches!(reply, Reply::Schema(Err(SchemaRefusal::Violated(_)))), "{reply:?}");
    }
    let reply = world.apply(Job::Schema { by: OPERATOR, text: "name".to_owned() });
    assert!(matches!(reply, Reply::Schema(Err(SchemaRefusal::Unsound(_)))));
    let reply = world.apply(Job::Schema { by: OPERATOR, text: SCHEMA.to_owned() });
    assert_eq!(reply, Reply::Schema(Ok(SchemaReply::Unchanged)));
    assert_eq!(world.workspace.head(), head);
}

#[test]
fn a_field_that_becomes_unique_is_guarded_from_then_on() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]);
    let text = SCHEMA.replace("label = \"Name\"\nrequired = true", "label = \"Name\"\nrequired = true\nunique = true");
    assert!(matches!(world.apply(Job::Schema { by: OPERATOR, text }), Reply::Schema(Ok(SchemaReply::Changed { .. }))));
    let (_, verdicts) = world.push(&mut pusher, vec![create_patient(2, "a", NORTH)]);
    assert_eq!(verdicts, [Verdict::Clash { field: NAME, with: Some(id(1)) }]);
    // And no more once it is not unique again.
    world.apply(Job::Schema { by: OPERATOR, text: SCHEMA.to_owned() });
    world.accepted(&mut pusher, vec![create_patient(3, "a", NORTH)]);
}

#[test]
fn a_table_whose_scope_field_goes_is_one_section() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "b", SOUTH)]);
    let text = SCHEMA.replace("scope_table = \"sites\"\n", "").replace("scope = \"site\"\n", "");
    let reply = world.apply(Job::Schema { by: OPERATOR, text });
    assert!(matches!(reply, Reply::Schema(Ok(_))), "{reply:?}");
    let records = world.snapshot().section_records().unwrap();
    let live = |scoped: bool| -> u64 {
        let of = records.iter().filter(|r| r.section.table == PATIENTS && r.section.scope.is_some() == scoped);
        of.map(|record| record.live).sum()
    };
    assert_eq!((live(true), live(false)), (0, 2));
    let scratch = Store::in_memory().unwrap();
    assert!(crate::verify::verify(world.workspace.store(), &scratch, &mut crate::verify::unwatched).unwrap().is_sound());
}

#[test]
fn a_restore_is_a_commit_and_a_backup_is_none() {
    let mut world = World::new();
    let head = world.workspace.head().seq;
    assert_eq!(world.apply(Job::Restore { by: OPERATOR, offer: Offer::No }), Reply::Restore(head.next()));
    assert_eq!(world.apply(Job::Safe { seq: head }), Reply::Safe);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.head().seq, snapshot.safe().unwrap()), (head.next(), head));
    assert_eq!(snapshot.offer_after(head).unwrap(), Offer::No);
    assert_eq!(snapshot.offer_after(head.next()).unwrap(), Offer::Yes);
}

#[test]
fn a_push_that_was_queued_behind_the_revocation_of_its_device_is_not_admitted() {
    let mut world = World::new();
    let mut pusher = Pusher::new(100, EVERYBODY);
    world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]);
    let push = pusher.freeze(vec![create_patient(2, "b", NORTH)]);
    let revoked = AccessChange::DeviceRevoked { device: pusher.device };
    let jobs = vec![
        Job::Access { by: UserId::default(), change: revoked },
        Job::Push { device: pusher.device, user: pusher.user, push },
    ];
    let replies = world.workspace.apply(jobs, 9).unwrap();
    assert!(matches!(replies[1], Reply::Push(PushReply::Revoked)), "{replies:?}");
    assert!(world.workspace.store().snapshot().unwrap().row(&key(PATIENTS, 2)).unwrap().is_none());
}

#[test]
fn a_user_that_does_not_exist_may_write_nothing() {
    let mut world = World::new();
    let mut nobody = Pusher::new(100, UserId(uuid::Uuid::from_u128(4711)));
    let create = change(key(SITES, 7), Op::Create, 0, &[(FieldTag(1), Value::text("x"))]);
    let (_, verdicts) = world.push(&mut nobody, vec![create]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::NoRight)]);
}

/// Memory that stops working.
#[derive(Debug)]
struct Failing {
    inner: redb::backends::InMemoryBackend,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn check(&self) -> std::io::Result<()> {
        if self.fails.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.check()?;
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }
}

#[test]
fn after_a_failed_write_nothing_is_answered_until_the_store_is_opened_again() {
    // P9.
    let fails = Arc::new(AtomicBool::new(false));
    let backend = Failing { inner: redb::backends::InMemoryBackend::new(), fails: fails.clone() };
    let store = Store::with_backend(backend).unwrap();
    let mut workspace = Workspace::init(store.clone(), Init { id: WORKSPACE, schema: SCHEMA }, 5).unwrap();
    let head = workspace.head();
    fails.store(true, Ordering::SeqCst);
    let restore = || vec![Job::Restore { by: OPERATOR, offer: Offer::No }];
    assert!(matches!(workspace.apply(restore(), 6), Err(StoreError::DiskFull | StoreError::Io(_))));
    assert_eq!(workspace.head(), head);
    fails.store(false, Ordering::SeqCst);
    assert!(matches!(workspace.apply(restore(), 7), Err(StoreError::Poisoned)));
    assert!(matches!(store.snapshot(), Err(StoreError::Poisoned)));
}

#[test]
fn what_was_answered_is_there_after_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let mut workspace = Workspace::init(Store::open(&path).unwrap(), Init { id: WORKSPACE, schema: SCHEMA }, 5).unwrap();
    workspace.apply(vec![Job::Restore { by: OPERATOR, offer: Offer::No }], 6).unwrap();
    let head = workspace.head();
    drop(workspace);
    let workspace = Workspace::open(Store::open(&path).unwrap()).unwrap();
    assert_eq!(workspace.head(), head);
}
