//! What is shown of conflicts and refused changes, and how they are decided. The server's side is put into the mirror by hand.

use super::*;
use crate::store::{AuthorRecord, MirrorRow, StoreError, WriteTables};
use std::collections::BTreeMap;
use tombolo_protocol::change::{Op, Refusal};
use tombolo_protocol::ids::{FieldTag, RowKey, RowNo, TableTag, Version};
use tombolo_protocol::outbox::{Entry, Pending, Review, SentBefore};
use tombolo_protocol::row::{Life, Row, Stamped};
use tombolo_protocol::schema::FieldProblem;
use tombolo_protocol::value::Value;

pub(super) const PATIENT: &str = "0199c5a4-0d2b-7c11-9e55-000000000001";
const SITES: [&str; 3] =
    ["0199c5a4-0d2b-7c11-9e55-0000000000a1", "0199c5a4-0d2b-7c11-9e55-0000000000a2", "0199c5a4-0d2b-7c11-9e55-0000000000a3"];
const STOCK: [&str; 2] = ["0199c5a4-0d2b-7c11-9e55-0000000000b1", "0199c5a4-0d2b-7c11-9e55-0000000000b2"];

fn key(table: u16, id: &str) -> RowKey {
    RowKey { table: TableTag(table), id: id.parse().unwrap() }
}

fn site(index: usize) -> Value {
    Value::Uuid(*key(1, SITES[index]).id.bytes())
}

/// A row that was made at 40.
fn row(table: u16, id: &str, fields: &[(u16, Value)]) -> Row {
    let stamped = |value: &Value| Stamped { value: value.clone(), stamp: Seq(40) };
    Row {
        key: key(table, id),
        no: RowNo(0),
        seq: Seq(40),
        ordinal: 0,
        version: Version(1),
        since: Seq(40),
        life: Life::Live,
        fields: fields.iter().map(|(tag, value)| (FieldTag(*tag), stamped(value))).collect(),
    }
}

fn set(row: &mut Row, tag: u16, value: Value, seq: u64) {
    row.fields.insert(FieldTag(tag), Stamped { value, stamp: Seq(seq) });
    row.seq = Seq(seq);
    row.version = Version(row.version.0 + 1);
}

fn rose() -> Row {
    row(2, PATIENT, &[(1, Value::text("Rose")), (2, Value::text("1")), (9, site(0))])
}

fn gauze() -> Row {
    row(5, STOCK[0], &[(1, Value::text("Gauze")), (2, Value::Int(10)), (3, site(0))])
}

impl Desk {
    fn store(&self, write: impl FnOnce(&mut WriteTables<'_>) -> Result<(), StoreError> + Send + 'static) {
        let client = Client::open(&self.path("store.redb")).unwrap();
        client.act(move |engine, _| Ok(engine.store().write(write)?)).unwrap();
    }

    /// The server's row comes into the mirror, as ada made it or ben left it.
    fn confirm(&self, row: Row) {
        self.store(move |tables| {
            let name = if row.seq == Seq(40) { "ada" } else { "ben" };
            tables.put_author(row.seq, &AuthorRecord { name: name.to_owned(), at_ms: 1_717_165_800_250 })?;
            tables.put_mirror(&MirrorRow { row, refetch: 0 })
        });
    }

    /// The patient Rose, changed by somebody else.
    pub(super) fn confirm_patient(&self, change: impl FnOnce(&mut Row)) {
        for (index, name) in ["Kisumu", "Kilifi", "Embu"].into_iter().enumerate() {
            self.confirm(row(1, SITES[index], &[(1, Value::text(name))]));
        }
        let mut row = rose();
        change(&mut row);
        self.confirm(row);
    }

    /// What is pending of a row is as if the server had said something of it.
    fn pending(&self, key: RowKey, change: impl FnOnce(&mut Pending) + Send + 'static) {
        self.store(move |tables| {
            let mut entry = tables.entry(key)?.unwrap_or_else(|| Entry::new(key, Seq(1)));
            let mut pending = entry.next.take().unwrap_or_else(|| Pending::new(Op::Update, Seq(40), 0));
            change(&mut pending);
            entry.next = Some(pending);
            tables.put_entry(&entry)
        });
    }

    /// A newer schema came.
    fn schema(&self, text: String) {
        self.store(move |tables| {
            tables.put_schema(Seq(2), &text)?;
            let mut state = tables.sync_state()?;
            state.schema = Seq(2);
            tables.set_sync_state(&state)
        });
    }
}

#[test]
fn what_is_pending_of_a_table_that_left_the_schema_has_its_name_and_can_be_given_up() {
    let desk = Desk::new();
    let create = |item: &str| desk.done(&["create", "stock", item, "count=3"]).trim().to_owned();
    let [by_name, by_number, decided] = ["item=A", "item=B", "item=C"].map(create);
    let stock = CLINIC.find("# A count is only right").unwrap();
    desk.schema(CLINIC[..stock].to_owned());
    let pending = desk.json(&["pending"]).remove(0);
    assert_eq!((&pending["table"], &pending["state"]), (&json!("stock"), &json!("refused")));
    assert_eq!(pending["fields"]["item"], json!({ "base": null, "mine": "A" }));
    assert!(pending["reason"].as_str().unwrap().contains("stock is not in the schema any more"), "{pending}");
    let text = desk.done(&["pending"]);
    assert!(text.contains("Item, Count") && text.contains(&format!("stock/{by_name}")), "{text}");
    desk.done(&["discard", "stock", &by_name]);
    desk.done(&["discard", "5", &by_number]);
    assert_eq!(desk.run(&["resolve", "stock", &decided, "--mine"]).exit, Exit::Failed);
    desk.done(&["resolve", "5", &decided, "--server"]);
    assert!(desk.json(&["pending"]).is_empty());
    assert_eq!(desk.run(&["discard", "medicines", &decided]).exit, Exit::Usage);
}

#[test]
fn what_is_pending_of_a_field_that_left_the_schema_has_its_name_and_can_be_given_up() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    desk.done(&["update", "patients", PATIENT, "phone=2", "village=Kolowa"]);
    let phone = "[[table.field]]\nname = \"phone\"\ntag = 2\nkind = \"text\"\nlabel = \"Phone\"\nmax_length = 30\n";
    desk.schema(CLINIC.replacen(phone, "", 1));
    let fields = &desk.json(&["pending"])[0]["fields"];
    assert_eq!(fields["phone"], json!({ "base": "1", "mine": "2" }));
    desk.pending(key(2, PATIENT), |next| {
        next.review = Some(Review::Refused(Refusal::UnknownField { field: FieldTag(2) }));
    });
    assert_eq!(desk.json(&["pending"])[0]["reason"], json!("Phone: the server does not know this field"));
    assert!(desk.done(&["discard", "patients", PATIENT, "--field", "phone"]).contains("Phone"));
    assert_eq!(desk.json(&["pending"])[0]["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["village"]);
}

#[test]
fn a_deletion_in_conflict_names_the_row_and_says_what_is_not_known() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    desk.done(&["delete", "patients", PATIENT]);
    let said = desk.run(&["get", "patients", PATIENT]);
    assert!(
        said.exit == Exit::Failed && said.err.contains("Rose") && said.err.contains("deleted on this device"),
        "{}",
        said.err
    );
    desk.confirm_patient(|row| set(row, 2, Value::text("7"), 50));
    let conflict = desk.json(&["conflicts"]).remove(0);
    assert_eq!((&conflict["kind"], &conflict["by"]), (&json!("delete_update"), &json!("ben")));
    assert_eq!(conflict["fields"], json!({ "phone": { "base": null, "mine": null, "server": "7", "differs": true } }));
    let text = desk.done(&["conflicts"]);
    assert!(text.starts_with(&format!("patients/{PATIENT}  Rose\n    You deleted this row, and it was changed")), "{text}");
    let words: Vec<&str> =
        text.lines().find(|line| line.contains("Phone")).unwrap().split("  ").filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["Phone", "(not known)", "(deleted)", "7"]);
    let said = desk.run(&["get", "patients", PATIENT]);
    assert!(said.exit == Exit::Failed && said.err.contains("Rose") && said.err.contains("in conflict"), "{}", said.err);
    assert!(desk.done(&["pending"]).contains("Rose"));
}

#[test]
fn a_deletion_that_a_restored_server_lost_is_asked_in_true_words() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    desk.done(&["delete", "patients", PATIENT]);
    desk.pending(key(2, PATIENT), |next| next.sent_before = SentBefore::Acknowledged);
    let text = desk.done(&["conflicts"]);
    assert!(text.contains("You had deleted this row; the server was put back to an earlier state and has it again."), "{text}");
    assert!(!text.contains("was changed"), "{text}");
    assert_eq!(desk.json(&["pending"])[0]["sent_before"], json!(true));
    desk.pending(key(2, PATIENT), |next| next.sent_before = SentBefore::Frozen);
    assert!(desk.json(&["pending"])[0].get("sent_before").is_none(), "the server never had it");
}

#[test]
fn a_strict_table_tells_what_made_it_ask() {
    let desk = Desk::new();
    desk.confirm(gauze());
    desk.done(&["update", "stock", STOCK[0], "count=9"]);
    let mut moved = gauze();
    set(&mut moved, 1, Value::text("Gauze B"), 50);
    desk.confirm(moved);
    let conflict = desk.json(&["conflicts"]).remove(0);
    assert_eq!(conflict["by"], json!("ben"));
    let expected = json!({
        "item": { "base": null, "mine": "Gauze B", "server": "Gauze B", "differs": false },
        "count": { "base": 10, "mine": 9, "server": 10, "differs": true },
    });
    assert_eq!(conflict["fields"], expected);
    let text = desk.done(&["conflicts"]);
    assert!(text.contains("in this table every change is asked about") && text.contains("Gauze B"), "{text}");
    assert!(!text.contains("changed the same"), "{text}");
    desk.done(&["resolve", "stock", STOCK[0], "--field", "count=mine"]);
}

#[test]
fn a_unique_clash_names_the_other_row() {
    let desk = Desk::new();
    desk.confirm(gauze());
    desk.done(&["create", "stock", "item=Gauze", "--id", STOCK[1]]);
    let clash = |with| Some(Review::Clash { field: FieldTag(1), with });
    desk.pending(key(5, STOCK[1]), move |next| next.review = clash(Some(key(5, STOCK[0]).id)));
    let conflict = desk.json(&["conflicts"]).remove(0);
    assert_eq!(conflict["other"], json!({ "id": STOCK[0], "title": "Gauze" }));
    assert_eq!(conflict["fields"]["item"], json!({ "base": null, "mine": "Gauze", "server": "Gauze", "differs": false }));
    let text = desk.done(&["conflicts"]);
    assert!(text.contains(&format!("Another row has the same value: Gauze (stock/{}).", STOCK[0])), "{text}");
    let mut renamed = gauze();
    set(&mut renamed, 1, Value::text("Bandage"), 50);
    desk.confirm(renamed);
    assert!(desk.done(&["conflicts"]).contains("has it no more"));
    desk.pending(key(5, STOCK[1]), move |next| next.review = clash(None));
    assert!(desk.json(&["conflicts"])[0].get("other").is_none());
    assert!(desk.done(&["conflicts"]).contains("which you may not see"));
}

#[test]
fn references_in_a_conflict_are_shown_by_the_names_of_their_rows() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    desk.done(&["update", "patients", PATIENT, "site=Kilifi"]);
    desk.confirm_patient(|row| set(row, 9, site(2), 50));
    let text = desk.done(&["conflicts"]);
    let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(words, ["Site", "Kisumu", "Kilifi", "Embu"]);
    assert_eq!(desk.json(&["conflicts"])[0]["fields"]["site"]["mine"], json!(SITES[1]));
}

#[test]
fn a_refused_change_is_ready_again_with_another_value() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    let refuse = || {
        desk.done(&["update", "patients", PATIENT, "weight_kg=900", "phone=2"]);
        desk.pending(key(2, PATIENT), |next| {
            let problem = FieldProblem::TooLarge;
            next.review = Some(Review::Refused(Refusal::Field { field: FieldTag(7), problem }));
        });
        let pending = desk.json(&["pending"]).remove(0);
        assert_eq!(pending["state"], json!("refused"));
    };
    refuse();
    let text = desk.done(&["pending"]);
    assert!(text.contains("\n    Weight (kg): the largest value allowed is 500\n"), "{text}");
    desk.done(&["resolve", "patients", PATIENT, "--field", "weight_kg=value:61", "phone=mine"]);
    let pending = desk.json(&["pending"]).remove(0);
    assert_eq!((&pending["state"], &pending["fields"]["weight_kg"]["mine"]), (&json!("ready"), &json!(61)));
    refuse();
    desk.done(&["resolve", "patients", PATIENT, "--field", "weight_kg=server"]);
    let pending = desk.json(&["pending"]).remove(0);
    let fields: BTreeMap<String, Json> = serde_json::from_value(pending["fields"].clone()).unwrap();
    assert_eq!(pending["state"], json!("ready"));
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["phone"]);
    refuse();
    desk.done(&["resolve", "patients", PATIENT, "--field", "weight_kg=mine"]);
    assert_eq!(desk.json(&["pending"])[0]["state"], json!("ready"));
}

#[test]
fn a_row_that_others_refer_to_names_one_of_them() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    desk.done(&["delete", "sites", SITES[0]]);
    desk.pending(key(1, SITES[0]), |next| {
        next.review = Some(Review::Refused(Refusal::Referenced { by: Some(key(2, PATIENT)) }));
    });
    let reason = desk.json(&["pending"])[0]["reason"].clone();
    assert_eq!(reason, json!(format!("other rows still refer to it: Rose (patients/{PATIENT})")));
}

#[test]
fn several_values_may_stand_behind_one_flag() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    assert_eq!(desk.json(&["list", "--where", "phone=1", "site=Kisumu", "patients"]).len(), 1);
    assert_eq!(desk.json(&["list", "patients", "--where", "phone=1", "site=Embu"]).len(), 0);
    desk.done(&["update", "patients", PATIENT, "phone=2", "village=a"]);
    desk.confirm_patient(|row| {
        set(row, 2, Value::text("7"), 50);
        set(row, 3, Value::text("b"), 50);
    });
    desk.done(&["resolve", "--field", "phone=mine", "village=server", "patients", PATIENT]);
    assert!(desk.json(&["conflicts"]).is_empty());
}
