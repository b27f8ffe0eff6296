use crate::access::OPERATOR;
use crate::testing::*;
use crate::workspace::{Job, Reply, Workspace};
use tombolo_protocol::admit::{Decision, Facts, admit};
use tombolo_protocol::change::{Change, LostValue, Op, Refusal, Verdict};
use tombolo_protocol::commit::{CommitBody, Grant};
use tombolo_protocol::ids::{FieldTag, RowId, UserId};
use tombolo_protocol::schema::Role;
use tombolo_protocol::value::Value;

const ACCEPTED: Verdict = Verdict::Accepted { merged: false };
const PATIENT: FieldTag = FieldTag(1);
const REASON: FieldTag = FieldTag(2);
const FRIEND: FieldTag = FieldTag(3);
const BEFORE: FieldTag = FieldTag(4);
const WARD: FieldTag = FieldTag(7);

const READER: UserId = UserId(uuid::Uuid::from_u128(5));

fn world() -> (World, Pusher) {
    (World::new(), Pusher::new(100, EVERYBODY))
}

fn visit(number: u64, patient: u64) -> Change {
    change(key(VISITS, number), Op::Create, 0, &[(PATIENT, Value::uuid(id(patient).0))])
}

fn with_code(number: u64, code: &str, site: RowId) -> Change {
    let mut create = create_patient(number, "p", site);
    create.fields.insert(1, field(CODE, Value::text(code)));
    create
}

fn field(field: FieldTag, value: Value) -> tombolo_protocol::change::FieldChange {
    tombolo_protocol::change::FieldChange { field, value, base: tombolo_protocol::ids::Seq(0) }
}

fn grouped(mut change: Change, group: u16) -> Change {
    change.group = Some(group);
    change
}

#[test]
fn a_child_and_its_parent_go_in_one_push() {
    let (mut world, mut pusher) = world();
    let (_, verdicts) = world.push(&mut pusher, vec![create_patient(1, "a", NORTH), visit(2, 1)]);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED]);
}

#[test]
fn a_child_of_a_refused_parent_waits_for_it() {
    let (mut world, mut pusher) = world();
    let parent = change(key(PATIENTS, 1), Op::Create, 0, &[(SITE, site_value(NORTH))]);
    let (_, verdicts) = world.push(&mut pusher, vec![parent, visit(2, 1), visit(3, 9)]);
    assert!(matches!(verdicts[0], Verdict::Refused(Refusal::Field { field: NAME, .. })));
    assert_eq!(verdicts[1], Verdict::Held { by: key(PATIENTS, 1) });
    assert_eq!(verdicts[2], Verdict::Refused(Refusal::MissingParent { field: PATIENT, parent: id(9) }));
}

#[test]
fn a_reference_cycle_is_accepted_in_one_push() {
    let (mut world, mut pusher) = world();
    let one = change(key(VISITS, 1), Op::Create, 0, &[(BEFORE, Value::uuid(id(2).0))]);
    let two = change(key(VISITS, 2), Op::Create, 0, &[(BEFORE, Value::uuid(id(1).0))]);
    let (_, verdicts) = world.push(&mut pusher, vec![one, two]);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED]);
}

#[test]
fn a_unique_value_that_another_row_releases_can_be_taken_in_any_order() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![with_code(1, "T1", NORTH), with_code(2, "T2", NORTH)]).0;
    // T20: taking first, then releasing; and a swap.
    let swap = vec![update(key(PATIENTS, 1), base, CODE, "T2"), update(key(PATIENTS, 2), base, CODE, "T1")];
    let (_, verdicts) = world.push(&mut pusher, swap);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED]);
    assert_eq!(world.row(&key(PATIENTS, 1)).value(CODE), &Value::text("T2"));
    // The index follows: T1 is taken, T2 too.
    let (_, verdicts) = world.push(&mut pusher, vec![with_code(3, "T1", NORTH), with_code(4, "T2", NORTH)]);
    let clash = |with: u64| Verdict::Clash { field: CODE, with: Some(id(with)) };
    assert_eq!(verdicts, [clash(2), clash(1)]);
}

#[test]
fn where_two_changes_of_a_push_clash_the_later_one_is_refused() {
    let (mut world, mut pusher) = world();
    let (_, verdicts) = world.push(&mut pusher, vec![with_code(1, "T1", NORTH), with_code(2, "T1", NORTH)]);
    assert_eq!(verdicts, [ACCEPTED, Verdict::Clash { field: CODE, with: Some(id(1)) }]);
}

#[test]
fn where_the_releasing_change_does_not_stand_the_taking_one_clashes() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![with_code(1, "T1", NORTH), with_code(2, "T2", NORTH)]).0;
    world.accepted(&mut pusher, vec![update(key(PATIENTS, 1), base, CODE, "T9")]);
    world.accepted(&mut pusher, vec![update(key(PATIENTS, 1), base + 1, CODE, "T1")]);
    let stale = vec![update(key(PATIENTS, 1), base, CODE, "T3"), update(key(PATIENTS, 2), base, CODE, "T1")];
    let (_, verdicts) = world.push(&mut pusher, stale);
    assert_eq!(verdicts, [Verdict::Conflict, Verdict::Clash { field: CODE, with: Some(id(1)) }]);
}

#[test]
fn uniqueness_is_per_scope_value() {
    let (mut world, mut pusher) = world();
    let (_, verdicts) = world.push(&mut pusher, vec![with_code(1, "T1", NORTH), with_code(2, "T1", SOUTH)]);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED]);
    // Moving the row into the other scope makes it clash.
    let moved = change(key(PATIENTS, 2), Op::Update, world.workspace.head().seq.0, &[(SITE, site_value(NORTH))]);
    let (_, verdicts) = world.push(&mut pusher, vec![moved]);
    assert_eq!(verdicts, [Verdict::Clash { field: CODE, with: Some(id(1)) }]);
}

#[test]
fn a_row_that_live_rows_refer_to_is_not_deleted() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), visit(2, 1)]).0;
    let (_, verdicts) = world.push(&mut pusher, vec![delete(key(PATIENTS, 1), base)]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::Referenced { by: Some(key(VISITS, 2)) })]);
    let (_, verdicts) = world.push(&mut pusher, vec![delete(key(VISITS, 2), base), delete(key(PATIENTS, 1), base)]);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED]);
}

#[test]
fn a_child_made_in_the_push_that_deletes_its_parent_keeps_the_parent() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    let (_, verdicts) = world.push(&mut pusher, vec![visit(2, 1), delete(key(PATIENTS, 1), base)]);
    assert_eq!(verdicts, [ACCEPTED, Verdict::Refused(Refusal::Referenced { by: Some(key(VISITS, 2)) })]);
}

#[test]
fn a_reference_that_may_stay_does_not_hold_a_deletion() {
    let (mut world, mut pusher) = world();
    let friend = change(key(VISITS, 2), Op::Create, 0, &[(FRIEND, Value::uuid(id(1).0))]);
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), friend]).0;
    let (_, verdicts) = world.push(&mut pusher, vec![delete(key(PATIENTS, 1), base)]);
    assert_eq!(verdicts, [ACCEPTED]);
    // Offline the same reference could have been made before the deletion was known.
    let late = change(key(VISITS, 3), Op::Create, 0, &[(FRIEND, Value::uuid(id(1).0))]);
    assert_eq!(world.push(&mut pusher, vec![late]).1, [ACCEPTED]);
}

#[test]
fn a_reference_that_holds_is_found_behind_any_number_that_may_stay() {
    let (mut world, mut pusher) = world();
    world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]);
    let friend = |number| change(key(VISITS, number), Op::Create, 0, &[(FRIEND, Value::uuid(id(1).0))]);
    world.accepted(&mut pusher, (1000..1200).map(friend).collect());
    world.accepted(&mut pusher, (1200..1400).map(friend).collect());
    let base = world.accepted(&mut pusher, vec![visit(5000, 1)]).0;
    let (_, verdicts) = world.push(&mut pusher, vec![delete(key(PATIENTS, 1), base)]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::Referenced { by: Some(key(VISITS, 5000)) })]);
    let (_, verdicts) = world.push(&mut pusher, vec![delete(key(VISITS, 5000), base), delete(key(PATIENTS, 1), base)]);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED]);
}

#[test]
fn a_group_goes_whole_or_not_at_all() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "b", NORTH)]).0;
    world.accepted(&mut pusher, vec![update(key(PATIENTS, 2), base, PHONE, "7")]);
    let one = grouped(update(key(PATIENTS, 1), base, PHONE, "1"), 5);
    let two = grouped(update(key(PATIENTS, 2), base, PHONE, "2"), 5);
    let (_, verdicts) = world.push(&mut pusher, vec![one, two]);
    assert_eq!(verdicts, [Verdict::Held { by: key(PATIENTS, 2) }, Verdict::Conflict]);
    assert!(world.row(&key(PATIENTS, 1)).value(PHONE).is_null());
}

#[test]
fn a_group_is_held_too_where_a_member_fails_only_by_other_rows() {
    let (mut world, mut pusher) = world();
    world.accepted(&mut pusher, vec![with_code(1, "T1", NORTH)]);
    let members = vec![grouped(create_patient(2, "b", NORTH), 1), grouped(with_code(3, "T1", NORTH), 1)];
    let (_, verdicts) = world.push(&mut pusher, members);
    assert_eq!(verdicts, [Verdict::Held { by: key(PATIENTS, 3) }, Verdict::Clash { field: CODE, with: Some(id(1)) }]);
    assert!(world.snapshot().row(&key(PATIENTS, 2)).unwrap().is_none());
}

#[test]
fn a_group_that_fails_takes_the_children_of_its_creates_with_it() {
    let (mut world, mut pusher) = world();
    let (_, verdicts) = world.push(
        &mut pusher,
        vec![grouped(create_patient(1, "a", NORTH), 1), grouped(create_patient(2, "", NORTH), 1), visit(3, 1)],
    );
    assert_eq!(verdicts[0], Verdict::Held { by: key(PATIENTS, 2) });
    assert!(matches!(verdicts[1], Verdict::Refused(_)));
    assert_eq!(verdicts[2], Verdict::Held { by: key(PATIENTS, 1) });
}

#[test]
fn a_row_of_another_scope_is_unknown_and_so_is_one_that_never_was() {
    let (mut world, mut admin) = world();
    let base = world.accepted(&mut admin, vec![create_patient(1, "a", SOUTH)]).0;
    let mut northern = Pusher::new(200, NORTHERN);
    let (_, verdicts) = world.push(
        &mut northern,
        vec![update(key(PATIENTS, 1), base, PHONE, "1"), update(key(PATIENTS, 9), base, PHONE, "1"), visit(3, 1), visit(4, 9)],
    );
    assert_eq!(verdicts[..2], [Verdict::Refused(Refusal::UnknownRow), Verdict::Refused(Refusal::UnknownRow)]);
    for (verdict, parent) in verdicts[2..].iter().zip([1, 9]) {
        assert_eq!(verdict, &Verdict::Refused(Refusal::MissingParent { field: PATIENT, parent: id(parent) }));
    }
}

#[test]
fn a_reference_that_a_change_does_not_touch_is_not_looked_at() {
    let (mut world, mut admin) = world();
    let base = world.accepted(&mut admin, vec![create_patient(1, "a", SOUTH), visit(2, 1)]).0;
    let mut northern = Pusher::new(200, NORTHERN);
    world.accepted(&mut northern, vec![update(key(VISITS, 2), base, REASON, "x")]);
}

#[test]
fn a_clash_with_a_row_that_may_not_be_seen_does_not_name_it() {
    let (mut world, mut admin) = world();
    world.accepted(&mut admin, vec![with_code(1, "T1", SOUTH)]);
    let mut northern = Pusher::new(200, NORTHERN);
    // The id is taken by a row of another scope: unknown, as any id that the user may not see.
    let (_, verdicts) = world.push(&mut northern, vec![create_patient(1, "mine", NORTH)]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::UnknownRow)]);
}

#[test]
fn writing_into_a_scope_that_is_not_granted_is_refused() {
    let (mut world, mut admin) = world();
    let base = world.accepted(&mut admin, vec![create_patient(1, "a", NORTH)]).0;
    let mut northern = Pusher::new(200, NORTHERN);
    let moved = change(key(PATIENTS, 1), Op::Update, base, &[(SITE, site_value(SOUTH))]);
    let (_, verdicts) = world.push(&mut northern, vec![create_patient(2, "b", SOUTH), moved]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::NoRight), Verdict::Refused(Refusal::NoRight)]);
}

#[test]
fn a_create_of_a_deleted_row_is_edit_against_delete() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    world.accepted(&mut pusher, vec![delete(key(PATIENTS, 1), base)]);
    // T19: also after the values were purged.
    let (_, verdicts) = world.push(&mut pusher, vec![create_patient(1, "a", NORTH)]);
    assert_eq!(verdicts, [Verdict::Conflict]);
    world.apply(Job::Purge { by: OPERATOR, rows: vec![key(PATIENTS, 1)] });
    let retry = vec![create_patient(1, "a", NORTH)];
    assert_eq!(world.push(&mut pusher, retry).1, [Verdict::Conflict]);
    assert_eq!(world.push(&mut pusher, vec![update(key(PATIENTS, 1), base, PHONE, "1")]).1, [Verdict::Conflict]);
}

#[test]
fn a_decision_is_always_accepted_and_its_lost_value_is_kept() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    let mut decision = change(key(PATIENTS, 1), Op::Decide, base, &[]);
    decision.lost.push(LostValue { field: PHONE, value: Value::text("mine") });
    let before = world.row(&key(PATIENTS, 1));
    assert_eq!(world.push(&mut pusher, vec![decision]).1, [ACCEPTED]);
    assert_eq!(world.row(&key(PATIENTS, 1)), before);
    let snapshot = world.snapshot();
    let rights = snapshot.rights(EVERYBODY).unwrap().unwrap();
    let history = snapshot.history(&rights, &key(PATIENTS, 1), 10).unwrap();
    assert_eq!(history.entries[0].lost, [(PHONE, Value::text("mine"))]);
}

#[test]
fn what_lost_enters_no_history_that_its_author_may_not_write() {
    let (mut world, mut admin) = world();
    world.user(READER, "reader", Role::Viewer, Grant::All);
    let base = world.accepted(&mut admin, vec![create_patient(1, "a", SOUTH), create_patient(2, "b", NORTH)]).0;
    let lost_in = |number: u64, field: FieldTag| {
        let mut decision = change(key(PATIENTS, number), Op::Decide, base, &[]);
        decision.lost.push(LostValue { field, value: Value::text("not yours") });
        decision
    };
    let mut northern = Pusher::new(200, NORTHERN);
    let mut reader = Pusher::new(300, READER);
    // Another scope, a row that is not there, a field that is not there, a role that only reads: accepted, since nothing is
    // left to do about it, and without a trace.
    let unwelcome = vec![lost_in(1, PHONE), lost_in(9, PHONE), lost_in(2, FieldTag(99))];
    let (seq, verdicts) = world.push(&mut northern, unwelcome);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED, ACCEPTED]);
    let (later, verdicts) = world.push(&mut reader, vec![lost_in(2, PHONE)]);
    assert_eq!(verdicts, [ACCEPTED]);
    let snapshot = world.snapshot();
    for seq in [seq, later] {
        let CommitBody::Push(record) = snapshot.commit(seq).unwrap().unwrap().body else { panic!("a push") };
        assert!(record.lost.is_empty(), "{:?}", record.lost);
    }
    let rights = snapshot.rights(EVERYBODY).unwrap().unwrap();
    for number in [1, 2] {
        assert_eq!(snapshot.history(&rights, &key(PATIENTS, number), 10).unwrap().entries.len(), 1);
    }
    world.push(&mut northern, vec![lost_in(2, PHONE)]);
    let history = world.snapshot().history(&rights, &key(PATIENTS, 2), 10).unwrap();
    assert_eq!(history.entries[0].lost, [(PHONE, Value::text("not yours"))], "of who may write it, it is kept");
}

#[test]
fn a_defect_in_deciding_one_change_is_a_recorded_refusal() {
    fn broken(facts: &Facts<'_>, change: &Change) -> Decision {
        assert!(change.key.id != id(1), "a defect");
        admit(facts, change)
    }
    let (mut world, mut pusher) = world();
    Workspace::set_admit(&mut world.workspace, broken);
    let (seq, verdicts) = world.push(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "b", NORTH)]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::Defect), ACCEPTED]);
    assert_eq!(world.snapshot().recorded_push(pusher.device, pusher.last).unwrap().unwrap().1, seq);
}

#[test]
fn a_restore_needs_its_parents_back() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), visit(2, 1)]).0;
    let base = {
        world.accepted(&mut pusher, vec![delete(key(VISITS, 2), base)]);
        world.accepted(&mut pusher, vec![delete(key(PATIENTS, 1), base)]).0
    };
    let back = |number: u64, table| change(key(table, number), Op::Restore, base, &[]);
    let (_, verdicts) = world.push(&mut pusher, vec![back(2, VISITS)]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::MissingParent { field: PATIENT, parent: id(1) })]);
    let (_, verdicts) = world.push(&mut pusher, vec![back(1, PATIENTS), back(2, VISITS)]);
    assert_eq!(verdicts, [ACCEPTED, ACCEPTED]);
}

#[test]
fn a_decision_for_a_table_that_is_gone_is_accepted_and_a_change_is_not() {
    let (mut world, mut pusher) = world();
    let gone = tombolo_protocol::ids::TableTag(99);
    let decide = change(key(gone, 1), Op::Decide, 0, &[]);
    let create = change(key(gone, 2), Op::Create, 0, &[(REASON, Value::text("x"))]);
    let (_, verdicts) = world.push(&mut pusher, vec![decide, create]);
    assert_eq!(verdicts, [ACCEPTED, Verdict::Refused(Refusal::UnknownTable)]);
}

/// Patients have a ward from now on: required, with the initial value `none`, or optional without.
fn add_ward(world: &mut World, required: bool) {
    let rest = if required { "required = true\ninitial = \"none\"\n" } else { "" };
    let ward = format!("[[table.field]]\nname = \"ward\"\ntag = 7\nkind = \"text\"\nlabel = \"Ward\"\n{rest}");
    let text = SCHEMA.replacen("[[table.field]]\nname = \"phone\"", &format!("{ward}[[table.field]]\nname = \"phone\""), 1);
    let reply = world.apply(Job::Schema { by: OPERATOR, text });
    assert!(matches!(reply, Reply::Schema(Ok(_))), "{reply:?}");
}

#[test]
fn a_row_deleted_before_a_required_field_came_is_restored_with_its_initial_value() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "b", NORTH)]).0;
    let gone = world.accepted(&mut pusher, vec![delete(key(PATIENTS, 1), base), delete(key(PATIENTS, 2), base)]).0;
    add_ward(&mut world, true);
    let named = change(key(PATIENTS, 2), Op::Restore, gone, &[(WARD, Value::text("east"))]);
    world.accepted(&mut pusher, vec![change(key(PATIENTS, 1), Op::Restore, gone, &[]), named]);
    assert_eq!(world.row(&key(PATIENTS, 1)).value(WARD), &Value::text("none"));
    assert_eq!(world.row(&key(PATIENTS, 2)).value(WARD), &Value::text("east"));
}

#[test]
fn a_row_older_than_a_required_field_is_edited_without_it() {
    let (mut world, mut pusher) = world();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    add_ward(&mut world, true);
    world.accepted(&mut pusher, vec![update(key(PATIENTS, 1), base, PHONE, "1")]);
    assert!(world.row(&key(PATIENTS, 1)).value(WARD).is_null());
}

#[test]
fn a_create_made_while_a_field_was_optional_gets_its_initial_value() {
    let (mut world, mut pusher) = world();
    add_ward(&mut world, false);
    let optional = world.workspace.head().seq;
    add_ward(&mut world, true);
    let push = pusher.freeze_under(optional, vec![create_patient(1, "a", NORTH)]);
    let reply = world.apply(Job::Push { device: pusher.device, user: pusher.user, push });
    assert!(matches!(reply, Reply::Push(_)), "{reply:?}");
    assert_eq!(world.row(&key(PATIENTS, 1)).value(WARD), &Value::text("none"));
}

#[test]
fn a_create_that_got_an_initial_value_is_the_same_create_from_another_device() {
    let (mut world, mut pusher) = world();
    add_ward(&mut world, true);
    world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]);
    let mut copy = Pusher::new(101, EVERYBODY);
    assert_eq!(world.push(&mut copy, vec![create_patient(1, "a", NORTH)]).1, [Verdict::Agreed]);
    assert_eq!(world.push(&mut copy, vec![create_patient(1, "b", NORTH)]).1, [Verdict::Conflict]);
    let base = world.workspace.head().seq.0;
    world.accepted(&mut pusher, vec![update(key(PATIENTS, 1), base, WARD, "east")]);
    assert_eq!(world.push(&mut copy, vec![create_patient(1, "a", NORTH)]).1, [Verdict::Conflict]);
}
