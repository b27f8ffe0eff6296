use super::*;
use crate::access::OPERATOR;
use crate::store::Store;
use crate::testing::*;
use crate::workspace::{Job, Reply};
use tombolo_protocol::change::{Change, Op};
use tombolo_protocol::ids::FieldTag;
use tombolo_protocol::value::Value;

const PHONE_FIELD: &str = "[[table.field]]\nname = \"phone\"\ntag = 2\nkind = \"text\"\nlabel = \"Phone\"\n";
const PATIENT_FIELD: &str =
    "[[table.field]]\nname = \"patient\"\ntag = 1\nkind = \"reference\"\nreferences = \"patients\"\nlabel = \"Patient\"\n";

fn start() -> (World, Pusher) {
    (World::new(), Pusher::new(100, EVERYBODY))
}

fn propose(world: &mut World, text: &str) -> Result<SchemaReply, SchemaRefusal> {
    match world.apply(Job::Schema { by: OPERATOR, text: text.to_owned() }) {
        Reply::Schema(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn logged(world: &mut World, text: &str) {
    let reply = propose(world, text);
    assert!(matches!(reply, Ok(SchemaReply::Changed { .. })), "{reply:?}");
}

/// What is said of a schema that is refused; nothing is logged then.
fn refused(world: &mut World, text: &str) -> String {
    let head = world.workspace.head();
    let refusal = propose(world, text).unwrap_err().to_string();
    assert_eq!(world.workspace.head(), head);
    refusal
}

/// The schema with one part replaced.
fn with(from: &str, to: &str) -> String {
    assert_eq!(SCHEMA.matches(from).count(), 1, "{from}");
    SCHEMA.replace(from, to)
}

fn without_visits() -> String {
    let start = SCHEMA.find("[[table]]\nname = \"visits\"").unwrap();
    let end = SCHEMA.find("[[table]]\nname = \"secrets\"").unwrap();
    with(&SCHEMA[start..end], "")
}

fn visit(number: u64, patient: u64) -> Change {
    change(key(VISITS, number), Op::Create, 0, &[(FieldTag(1), Value::uuid(id(patient).0))])
}

fn assert_sound(world: &World) {
    let scratch = Store::in_memory().unwrap();
    assert!(crate::verify::verify(world.workspace.store(), &scratch, &mut crate::verify::unwatched).unwrap().is_sound());
}

#[test]
fn a_tag_that_comes_back_keeps_its_kind() {
    let (mut world, mut pusher) = start();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    world.accepted(&mut pusher, vec![update(key(PATIENTS, 1), base, PHONE, "0712")]);
    logged(&mut world, &with(PHONE_FIELD, ""));
    logged(&mut world, &with(PHONE_FIELD, "").replace("\"Notes\"", "\"Remarks\""));
    let refusal = refused(&mut world, &with(PHONE_FIELD, &PHONE_FIELD.replace("\"text\"", "\"int\"")));
    assert!(refusal.contains("tag 2 is a text and cannot become an int"), "{refusal}");
    logged(&mut world, SCHEMA);
    assert_eq!(world.row(&key(PATIENTS, 1)).value(PHONE), &Value::text("0712"));
    assert_sound(&world);
}

#[test]
fn a_table_comes_back_only_if_what_its_rows_refer_to_is_still_there() {
    let (mut world, mut pusher) = start();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "b", NORTH), visit(7, 1)]).0;
    logged(&mut world, &without_visits());
    let gone = world.accepted(&mut pusher, vec![delete(key(PATIENTS, 1), base), delete(key(PATIENTS, 2), base)]).0;
    let refusal = refused(&mut world, SCHEMA);
    assert!(refusal.contains(&format!("refers to row {}, which is deleted", id(1))), "{refusal}");
    assert!(!refusal.contains(&id(2).to_string()), "{refusal}");
    world.accepted(&mut pusher, vec![change(key(PATIENTS, 1), Op::Restore, gone, &[])]);
    logged(&mut world, SCHEMA);
    assert_sound(&world);
}

#[test]
fn a_reference_that_held_nothing_holds_again_only_if_its_row_is_there() {
    let (mut world, mut pusher) = start();
    let kept = with(PATIENT_FIELD, &format!("{PATIENT_FIELD}on_delete = \"keep\"\n"));
    logged(&mut world, &kept);
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), visit(7, 1)]).0;
    world.accepted(&mut pusher, vec![delete(key(PATIENTS, 1), base)]);
    assert!(refused(&mut world, SCHEMA).contains("which is deleted"));
}

#[test]
fn a_field_that_comes_back_as_unique_is_checked() {
    let (mut world, mut pusher) = start();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH), create_patient(2, "b", NORTH)]).0;
    let phones = [1, 2].map(|number| update(key(PATIENTS, number), base, PHONE, "0712"));
    world.accepted(&mut pusher, phones.to_vec());
    logged(&mut world, &with(PHONE_FIELD, ""));
    let refusal = refused(&mut world, &with(PHONE_FIELD, &format!("{PHONE_FIELD}unique = true\n")));
    assert!(refusal.contains("has the same value in a unique field"), "{refusal}");
    logged(&mut world, SCHEMA);
}

#[test]
fn a_change_is_not_refused_for_what_it_does_not_narrow() {
    let (mut world, mut pusher) = start();
    let base = world.accepted(&mut pusher, vec![create_patient(1, "a", NORTH)]).0;
    world.accepted(&mut pusher, vec![update(key(PATIENTS, 1), base, PHONE, "0712")]);
    let ward =
        "[[table.field]]\nname = \"ward\"\ntag = 7\nkind = \"text\"\nlabel = \"Ward\"\nrequired = true\ninitial = \"none\"\n";
    let grown = |phone: &str, ward_too: &str| with(PHONE_FIELD, &format!("{PHONE_FIELD}{phone}{ward}{ward_too}"));
    logged(&mut world, &grown("", ""));
    // The row is older than its ward, and stays without one.
    logged(&mut world, &grown("max_length = 30\n", ""));
    logged(&mut world, &grown("max_length = 30\n", "max_length = 30\n"));
    let refusal = refused(&mut world, &grown("max_length = 3\n", "max_length = 30\n"));
    assert!(refusal.contains("Phone") && !refusal.contains("Ward"), "{refusal}");
}
