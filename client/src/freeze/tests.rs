//! Small outboxes, and what goes of them.

use super::*;
use std::collections::BTreeSet;
use std::convert::Infallible;
use tombolo_protocol::change::{Op, Refusal};
use tombolo_protocol::ids::{FieldTag, GroupId, RowId, RowNo, ScopeKey, Section, Seq, TableTag, Version};
use tombolo_protocol::limits::{PROVISIONAL_ROUNDS_MAX, PUSH_CHANGES_MAX};
use tombolo_protocol::outbox::{Edit, Entry, Review};
use tombolo_protocol::row::{Life, Stamped};
use tombolo_protocol::schema::CLINIC;
use tombolo_protocol::value::Value;

const PHONE: FieldTag = FieldTag(2);
const SITE: FieldTag = FieldTag(9);

fn schema() -> Schema {
    Schema::parse(CLINIC).unwrap()
}

fn key(table: u16, id: u8) -> RowKey {
    RowKey { table: TableTag(table), id: RowId::from_bytes([id; 16]) }
}

/// An entry with its mirror row.
type Case = (Entry, Option<Row>);

/// A patient of site 1 whose phone is being edited, seen at 40.
fn patient(id: u8) -> Case {
    let stamped = |value| Stamped { value, stamp: Seq(40) };
    let fields = [(PHONE, stamped(Value::text("a"))), (SITE, stamped(Value::Uuid([1; 16])))];
    let row = Row {
        key: key(2, id),
        no: RowNo(1),
        seq: Seq(40),
        ordinal: 0,
        version: Version(1),
        since: Seq(40),
        life: Life::Live,
        fields: fields.into(),
    };
    let mut pending = Pending::new(Op::Update, Seq(40), 0);
    let edit = Edit { value: Value::text("b"), base_value: Some(Value::text("a")), base: Seq(40) };
    pending.fields.insert(PHONE, edit);
    let mut entry = Entry::new(key(2, id), Seq(2));
    entry.next = Some(pending);
    (entry, Some(row))
}

fn section() -> Section {
    let scope = ScopeKey { field: SITE, value: RowId::from_bytes([1; 16]) };
    Section { table: TableTag(2), scope: Some(scope) }
}

fn cursors_at(complete: u64) -> Cursors {
    let mut cursors = Cursors::default();
    cursors.sections.insert(section());
    cursors.main.complete = Seq(complete);
    cursors
}

fn outlined(schema: &Schema, cases: &[Case]) -> Outline {
    let cases = cases.iter().cloned().map(Ok::<_, Infallible>);
    Outline::of(schema, &cursors_at(60), cases).unwrap()
}

/// What goes, as (first byte of the id, group), in order.
fn order(schema: &Schema, cases: &[Case], only: Option<&BTreeSet<RowKey>>) -> Vec<(u8, Option<u16>)> {
    let pushes = plan(&outlined(schema, cases), only, PUSH_CHANGES_MAX);
    pushes.into_iter().flat_map(|push| push.rows).map(|(key, group)| (key.id.bytes()[0], group)).collect()
}

fn going(schema: &Schema, cases: &[Case], only: Option<&BTreeSet<RowKey>>) -> Vec<u8> {
    order(schema, cases, only).into_iter().map(|(id, _)| id).collect()
}

fn frozen_change(cursors: &Cursors) -> Change {
    let (mut entry, mirror) = patient(7);
    frozen(&schema(), cursors, entry.key, entry.next.take().unwrap(), mirror.as_ref(), None).1
}

#[test]
fn bases_are_lifted_to_what_the_cursor_of_the_section_covers_now() {
    let change = frozen_change(&cursors_at(60));
    assert_eq!((change.fields[0].base, change.view_base), (Seq(60), Seq(60)));
}

#[test]
fn t36_nothing_is_lifted_while_the_section_is_refetched_although_others_go_on() {
    let mut cursors = cursors_at(60);
    cursors.refetch(section(), 1);
    let change = frozen_change(&cursors);
    assert_eq!((change.fields[0].base, change.view_base), (Seq(40), Seq(0)));
}

const BOSS: FieldTag = FieldTag(1);

/// A table whose rows refer to rows of the same table.
fn people() -> Schema {
    Schema::parse(
        "name = \"people\"\n[[table]]\nname = \"people\"\ntag = 1\ntitle = [\"boss\"]\n\
         [[table.field]]\nname = \"boss\"\ntag = 1\nkind = \"reference\"\nreferences = \"people\"\n",
    )
    .unwrap()
}

fn boss(id: u8) -> Edit {
    Edit { value: Value::Uuid([id; 16]), base_value: None, base: Seq(0) }
}

/// A new person under a boss.
fn new_person(id: u8, of: Option<u8>) -> Case {
    let mut pending = Pending::new(Op::Create, Seq(0), 0);
    pending.fields.extend(of.map(|of| (BOSS, boss(of))));
    let mut entry = Entry::new(key(1, id), Seq(2));
    entry.next = Some(pending);
    (entry, None)
}

/// A person who is there, under a boss, and is being deleted.
fn leaving_person(id: u8, of: Option<u8>) -> Case {
    let fields = of.map(|of| (BOSS, Stamped { value: Value::Uuid([of; 16]), stamp: Seq(40) }));
    let (mut entry, row) = patient(id);
    entry.key = key(1, id);
    entry.next = Some(Pending::new(Op::Delete, Seq(40), 0));
    (entry, row.map(|row| Row { key: key(1, id), fields: fields.into_iter().collect(), ..row }))
}

fn reviewed((mut entry, mirror): Case) -> Case {
    entry.next.as_mut().unwrap().review = Some(Review::Refused(Refusal::Undeliverable));
    (entry, mirror)
}

#[test]
fn parents_go_before_children_and_a_cycle_goes_together() {
    let chain = [new_person(1, Some(5)), new_person(5, Some(3)), new_person(3, None)];
    assert_eq!(order(&people(), &chain, None), [(3, None), (5, None), (1, None)]);
    let cycle = [new_person(1, Some(5)), new_person(5, Some(3)), new_person(3, Some(1))];
    let cycle = order(&people(), &cycle, None);
    assert!(cycle.len() == 3 && cycle.iter().all(|(_, group)| *group == Some(0)), "{cycle:?}");
}

#[test]
fn deletions_go_last_children_first_and_a_cycle_of_them_goes_together() {
    let chain = [leaving_person(1, None), leaving_person(2, Some(1)), leaving_person(3, Some(2)), new_person(9, None)];
    assert_eq!(going(&people(), &chain, None), [9, 3, 2, 1]);
    let cycle = order(&people(), &[leaving_person(1, Some(2)), leaving_person(2, Some(1))], None);
    assert_eq!(cycle, [(1, Some(0)), (2, Some(0))]);
}

#[test]
fn groups_that_wait_for_each_other_are_one() {
    let grouped = |(mut entry, mirror): Case, group: u8| {
        entry.next.as_mut().unwrap().group = Some(GroupId::from_bytes([group; 16]));
        (entry, mirror)
    };
    let cases = [
        grouped(new_person(1, Some(4)), 1),
        grouped(new_person(2, None), 1),
        grouped(new_person(3, Some(2)), 2),
        grouped(new_person(4, None), 2),
        new_person(5, None),
    ];
    let order = order(&people(), &cases, None);
    assert!(order.iter().all(|(id, group)| group.is_some() == (*id != 5)), "{order:?}");
    assert_eq!(order.iter().filter_map(|(_, group)| *group).collect::<BTreeSet<_>>().len(), 1, "{order:?}");
}

#[test]
fn of_what_is_asked_for_what_must_go_before_goes_along_and_nothing_else() {
    let cases = [new_person(1, Some(2)), new_person(2, Some(3)), new_person(3, None), new_person(4, Some(3))];
    let only = |id: u8| Some(BTreeSet::from([key(1, id)]));
    assert_eq!(going(&people(), &cases, only(1).as_ref()), [3, 2, 1]);
    assert_eq!(going(&people(), &cases, only(3).as_ref()), [3]);
    // What holds it is not asked: nothing goes then.
    let [one, two, three, four] = cases;
    assert_eq!(going(&people(), &[one, two, reviewed(three), four], only(1).as_ref()), Vec::<u8>::new());
    let leaving = [leaving_person(1, None), leaving_person(2, Some(1))];
    assert_eq!(going(&people(), &leaving, only(1).as_ref()), [2, 1]);
}

#[test]
fn what_is_held_waits_for_the_row_that_holds_it_and_never_for_itself() {
    let cases = [new_person(1, Some(2)), new_person(2, Some(3)), reviewed(new_person(3, None))];
    let standings = outlined(&people(), &cases).standings();
    assert_eq!(standings[&key(1, 1)], Standing::Waiting { on: key(1, 2) });
    assert_eq!(standings[&key(1, 2)], Standing::Waiting { on: key(1, 3) });
    // One that came back too often goes with the next sync; until then it holds others.
    let (mut tired, mirror) = new_person(3, None);
    tired.next.as_mut().unwrap().rounds = PROVISIONAL_ROUNDS_MAX + 1;
    let cases = [new_person(2, Some(3)), (tired, mirror)];
    let standings = outlined(&people(), &cases).standings();
    assert_eq!(standings[&key(1, 3)], Standing::Ready);
    assert_eq!(standings[&key(1, 2)], Standing::Waiting { on: key(1, 3) });
    assert_eq!(going(&people(), &cases, None), Vec::<u8>::new());
}

#[test]
fn a_push_takes_what_fits_and_the_rest_goes_with_the_next() {
    let cases: Vec<Case> = (1..=7).map(patient).collect();
    let sizes: Vec<usize> = plan(&outlined(&schema(), &cases), None, 3).iter().map(|push| push.rows.len()).collect();
    assert_eq!(sizes, [3, 3, 1]);
}

#[test]
fn a_push_is_of_what_was_begun_under_one_schema_and_a_group_goes_whole_under_its_oldest() {
    let mut cases: Vec<Case> = (1..=5).map(patient).collect();
    cases[1].0.schema = Seq(7);
    cases[3].0.schema = Seq(7);
    let pushes = |cases: &[Case]| -> Vec<Vec<u8>> {
        let planned = plan(&outlined(&schema(), cases), None, PUSH_CHANGES_MAX);
        planned.iter().map(|push| push.rows.iter().map(|(key, _)| key.id.bytes()[0]).collect()).collect()
    };
    assert_eq!(pushes(&cases), [vec![1, 3, 5], vec![2, 4]]);
    for at in [3, 4] {
        cases[at].0.next.as_mut().unwrap().group = Some(GroupId::default());
    }
    assert_eq!(pushes(&cases), [vec![1, 3, 4, 5], vec![2]]);
}
