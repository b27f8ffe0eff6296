//! Two people at one clinic: edits offline on both sides, conflicts, and what becomes of them.

use crate::stage::{Clinic, PATIENTS, Person};
use i_slint_backend_testing::{AccessibleRole, ElementHandle};
use slint::Model;
use slint::platform::{Key, PointerEventButton};
use std::ops::ControlFlow;
use tombolo_client::protocol::schema::Plain;
use tombolo_client::table::{Fields, Find};
use tombolo_client::{Client, new_row_id};
use tombolo_ui::window::{Browse, Conflict, ConflictKind, Detail, Merge, Pending, Shell, Side};

/// Both write another note about the second patient; Amina syncs first, so that Brian is asked.
pub fn clash(clinic: &Clinic) -> (Person, Person) {
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    amina.ready().choose(1);
    brian.ready().choose(1);
    amina.edit("Phone", "111");
    amina.edit("Notes", "Allergic to penicillin");
    brian.edit("Notes", "Moved in with her sister");
    assert!(amina.sync());
    assert!(brian.sync());
    let report = brian.get::<tombolo_ui::window::Report>();
    assert_eq!((report.get_to_decide(), report.get_waiting()), (1, 1), "the report says what waits");
    brian.until("Brian is asked", |me| me.get::<Shell>().get_review() == 1);
    (amina, brian)
}

/// Both show the same, and nothing waits.
fn agree(amina: &Person, brian: &Person, at: usize) {
    for person in [brian, amina, brian] {
        assert!(person.sync());
    }
    for person in [amina, brian] {
        person.until("nothing is pending", |me| me.pending() == 0);
        person.choose(at);
    }
    let lines = |person: &Person| -> Vec<_> {
        person.get::<Detail>().get_lines().iter().map(|line| (line.label, line.value)).collect()
    };
    assert_eq!(lines(amina), lines(brian));
}

#[test]
fn a_conflict_is_decided_by_keyboard_and_both_end_equal() {
    let clinic = Clinic::open();
    let (amina, brian) = clash(&clinic);
    brian.control("d");
    brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    let conflict = brian.get::<Conflict>();
    assert_eq!((conflict.get_title().as_str(), conflict.get_who().as_str()), (PATIENTS[1], "amina"));
    let asked = |line: &tombolo_ui::window::ConflictLine| line.merge == Merge::Conflict;
    assert_eq!(conflict.get_lines().iter().filter(asked).count(), 1);
    // The schema of the clinic chooses mine beforehand; the server's is one key away.
    brian.find(AccessibleRole::RadioButton, "Notes: mine").mock_single_click(PointerEventButton::Left);
    brian.settle();
    brian.key(Key::RightArrow);
    let server = brian.find(AccessibleRole::RadioButton, "Notes: server");
    assert_eq!(server.accessible_checked(), Some(true));
    brian.control(Key::Return);
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    agree(&amina, &brian, 1);
    assert_eq!(brian.value("Notes"), "Allergic to penicillin");
    assert_eq!(brian.value("Phone"), "111", "what only Amina changed merged by itself");
    clinic.sound();
}

#[test]
fn what_only_others_changed_is_shown_with_what_it_was_and_can_be_put_back() {
    let clinic = Clinic::open();
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    amina.ready().choose(1);
    brian.ready().choose(1);
    let phone = brian.value("Phone");
    brian.edit("Notes", "Moved in with her sister");
    // It comes to Brian in two steps.
    amina.edit("Phone", "111");
    assert!(amina.sync());
    brian.until("it came", |me| me.value("Phone") == "111");
    amina.edit("Phone", "222");
    amina.edit("Notes", "Allergic to penicillin");
    assert!(amina.sync());
    brian.look_at_conflict();
    let line = || brian.get::<Conflict>().get_lines().iter().find(|line| line.label == "Phone").unwrap();
    assert_eq!((line().merge, line().unknown), (Merge::FromServer, false));
    assert_eq!((line().base.as_str(), line().server.as_str(), line().side), (phone.as_str(), "222", Side::Server));
    brian.press(AccessibleRole::RadioButton, "Phone: mine");
    assert_eq!(brian.find(AccessibleRole::RadioButton, "Phone: mine").accessible_checked(), Some(true));
    // There and back by key.
    brian.key(Key::RightArrow);
    assert_eq!(line().side, Side::Server);
    brian.key(Key::LeftArrow);
    assert_eq!(line().side, Side::Mine);
    brian.control(Key::Return);
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    agree(&amina, &brian, 1);
    assert_eq!((amina.value("Phone"), amina.value("Notes").as_str()), (phone, "Moved in with her sister"));
    clinic.sound();
}

#[test]
fn the_dialog_says_whose_changes_they_are_and_how_much_is_left_to_decide() {
    let clinic = Clinic::open();
    clinic.two_write_what_can_be_chosen();
    let amina = clinic.person("amina");
    amina.look_at_conflict();
    let conflict = amina.get::<Conflict>();
    assert_eq!((conflict.get_kind(), conflict.get_who().as_str()), (ConflictKind::Fields, "brian"));
    let unchanged = conflict.get_lines().iter().filter(|line| line.merge == Merge::Unchanged).count();
    assert_eq!((conflict.get_unchanged(), conflict.get_left()), (i32::try_from(unchanged).unwrap(), 0));
    // The schema of the clinic chooses mine beforehand. What is no value is open again.
    assert_eq!((conflict.get_undecided(), conflict.get_beforehand()), (0, true));
    amina.click("Another value for Date of birth");
    amina.rewrite("yesterday");
    assert_eq!((conflict.get_undecided(), conflict.get_beforehand()), (1, true));
    amina.click("All server's");
    assert_eq!((conflict.get_undecided(), conflict.get_beforehand()), (0, false));
}

#[test]
fn the_report_of_a_sync_leads_to_what_is_to_be_decided_and_the_mouse_decides_it() {
    let clinic = Clinic::open();
    clinic.two_write_what_can_be_chosen();
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.ready();
    amina.control("r");
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    amina.click("Review now");
    amina.until("the change is there", |me| me.get::<Pending>().get_review().row_count() == 1);
    amina.click(&format!("Decide {}", PATIENTS[1]));
    amina.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    let unchanged = amina.get::<Conflict>().get_unchanged();
    let rows = || ElementHandle::find_by_element_type_name(amina.ui(), "ConflictRow").count();
    assert_eq!(rows(), 2, "those that nobody changed are folded away");
    amina.click(&format!("Show {unchanged} unchanged fields"));
    assert_eq!(rows(), 2 + usize::try_from(unchanged).unwrap());
    amina.click("All server's");
    amina.click("Apply merge");
    amina.until("it is decided", |me| me.get::<Shell>().get_review() == 0);
    assert!(amina.sync());
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_pending_open());
    amina.choose(1);
    assert_eq!((amina.value("Sex").as_str(), amina.value("Date of birth").as_str()), ("M", "1951-02-03"));
    assert_eq!(amina.pending(), 0);
}

#[test]
fn the_history_tells_this_device_from_others() {
    let clinic = Clinic::open();
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    amina.ready().choose(1);
    brian.ready().choose(1);
    amina.edit("Phone", "111");
    brian.edit("Notes", "Moved in with her sister");
    assert!(amina.sync());
    assert!(brian.sync());
    brian.control("h");
    let lines = || brian.get::<tombolo_ui::window::History>().get_lines();
    brian.until("three steps are shown", |_| lines().row_count() == 3);
    let told: Vec<_> = lines().iter().map(|line| (line.who.to_string(), line.here)).take(2).collect();
    assert_eq!(told, [("brian".to_owned(), true), ("amina".to_owned(), false)]);
}

#[test]
fn another_value_can_be_typed_in_place_of_either() {
    let clinic = Clinic::open();
    let (amina, brian) = clash(&clinic);
    brian.control("p");
    brian.until("what is pending is shown", |me| me.has(&format!("Decide {}", PATIENTS[1])));
    brian.click(&format!("Decide {}", PATIENTS[1]));
    brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    brian.click("Another value for Notes");
    brian.rewrite("Both");
    brian.click("Apply merge");
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    brian.key(Key::Escape);
    agree(&amina, &brian, 1);
    assert_eq!(amina.value("Notes"), "Both");
}

#[test]
fn a_row_that_moves_while_it_is_decided_says_so_and_keeps_what_holds() {
    let clinic = Clinic::open();
    let (amina, brian) = clash(&clinic);
    brian.control("d");
    brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    amina.edit("Notes", "Allergic to aspirin, too");
    assert!(amina.sync());
    brian.until("Brian's dialog says that it moved", |me| me.get::<Conflict>().get_moved());
    assert!(brian.get::<Shell>().get_conflict_open());
    let notes = brian.get::<Conflict>().get_lines().iter().find(|line| line.label == "Notes").unwrap();
    assert_eq!(notes.server, "Allergic to aspirin, too");
    assert_eq!(notes.side, Side::None, "the choice was about another value");
    brian.click("All server's");
    brian.click("Apply merge");
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    agree(&amina, &brian, 1);
}

#[test]
fn a_deletion_against_an_edit_is_asked_in_plain_words() {
    let clinic = Clinic::open();
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    amina.ready().choose(2);
    brian.ready().choose(2);
    amina.edit("Phone", "333");
    brian.key(Key::Delete);
    if !brian.get::<Shell>().get_delete_open() {
        brian.click("Delete this entry");
    }
    brian.click("Delete");
    brian.until("it is gone from the list", |me| me.get::<Browse>().get_total() == 3);
    assert!(amina.sync());
    assert!(brian.sync());
    brian.until("Brian is asked", |me| me.get::<Shell>().get_review() == 1);
    brian.control("d");
    brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    assert_eq!(brian.get::<Conflict>().get_kind(), ConflictKind::IDeleted);
    assert!(brian.has("Phone: 333"), "what Amina changed is shown to whoever deletes it");
    assert!(!brian.has("Village: Watamu"), "and only that");
    brian.click("Keep it");
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    brian.until("it is back in the list", |me| me.get::<Browse>().get_total() == 4);
    agree(&amina, &brian, 2);
    assert_eq!(brian.value("Phone"), "333");
}

/// Brian has an edit of the third patient, which Amina has deleted.
fn they_deleted(clinic: &Clinic) -> (Person, Person) {
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    amina.ready().choose(2);
    brian.ready().choose(2);
    brian.edit("Phone", "333");
    amina.click("Delete this entry");
    amina.click("Delete");
    assert!(amina.sync());
    assert!(brian.sync());
    brian.until("Brian is asked", |me| me.get::<Shell>().get_review() == 1);
    (amina, brian)
}

#[test]
fn an_edit_of_what_others_deleted_brings_it_back_or_leaves_it_deleted() {
    for brings_back in [true, false] {
        let clinic = Clinic::open();
        let (amina, brian) = they_deleted(&clinic);
        brian.control("d");
        brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
        assert_eq!(brian.get::<Conflict>().get_kind(), ConflictKind::TheyDeleted);
        assert!(brian.has("Mine: 333"), "what is at stake is shown");
        brian.click(if brings_back { "Bring it back" } else { "Leave it deleted" });
        brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
        for person in [&brian, &amina] {
            assert!(person.sync());
            person.until("nothing waits", |me| me.pending() == 0);
            let rows = if brings_back { 4 } else { 3 };
            person.until("both see the same", |me| me.get::<Browse>().get_total() == rows);
        }
    }
}

#[test]
fn a_discarded_edit_of_what_others_deleted_can_be_brought_back() {
    let clinic = Clinic::open();
    let (_amina, brian) = they_deleted(&clinic);
    brian.control("p");
    let discard = format!("Discard the change of {}", PATIENTS[2]);
    brian.until("it is told", |me| me.has(&discard));
    brian.click(&discard);
    brian.until("nothing is pending", |me| me.pending() == 0);
    brian.control("z");
    brian.until("it is there again, with its question", |me| me.get::<Shell>().get_review() == 1);
}

#[test]
fn a_discarded_deletion_gives_back_what_it_swallowed() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(2);
    amina.edit("Phone", "333");
    amina.click("Delete this entry");
    amina.click("Delete");
    amina.until("it is gone", |me| me.get::<Browse>().get_total() == 3);
    amina.control("p");
    let discard = format!("Discard the change of {}", PATIENTS[2]);
    amina.until("it is told", |me| me.has(&discard));
    amina.click(&discard);
    amina.until("it is back", |me| me.get::<Browse>().get_total() == 4);
    amina.key(Key::Escape);
    amina.choose(2);
    assert_eq!((amina.value("Phone").as_str(), amina.pending()), ("333", 1));
    amina.control("z");
    amina.until("it is deleted again", |me| me.get::<Browse>().get_total() == 3);
}

#[test]
fn the_next_conflict_by_key_has_the_keys() {
    let clinic = Clinic::open();
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    for (person, text) in [(&amina, "Allergic to penicillin"), (&brian, "Moved in with her sister")] {
        person.ready();
        for at in [1, 2] {
            person.choose(at);
            person.edit("Notes", text);
        }
    }
    assert!(amina.sync());
    assert!(brian.sync());
    brian.until("Brian is asked twice", |me| me.get::<Shell>().get_review() == 2);
    brian.control("d");
    brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    let conflict = brian.get::<Conflict>();
    let first = conflict.get_title();
    brian.find(AccessibleRole::RadioButton, "Notes: mine").mock_single_click(PointerEventButton::Left);
    brian.settle();
    brian.alt("n");
    brian.until("the next one is shown", |me| me.get::<Conflict>().get_title() != first);
    brian.click("All mine");
    assert_eq!(conflict.get_undecided(), 0);
    brian.control(Key::Return);
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    brian.control("d");
    brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    assert_eq!(conflict.get_title(), first);
    brian.key(Key::Escape);
    assert!(!brian.get::<Shell>().get_conflict_open(), "Escape comes to the dialog");
}

#[test]
fn a_form_over_a_row_that_others_delete_says_so_and_loses_nothing() {
    let clinic = Clinic::open();
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    amina.ready().choose(0);
    brian.ready().choose(0);
    brian.control("e");
    brian.until("the form is open", |me| me.get::<Shell>().get_form_open());
    brian.find(AccessibleRole::TextInput, "Phone").mock_single_click(PointerEventButton::Left);
    brian.settle();
    brian.rewrite("777");
    amina.click("Delete this entry");
    amina.click("Delete");
    assert!(amina.sync());
    brian.until("Brian's form says that it is gone", |me| me.get::<tombolo_ui::window::Form>().get_gone());
    brian.control("s");
    brian.until("it is saved and comes back", |me| !me.get::<Shell>().get_form_open());
    agree(&amina, &brian, 0);
    assert_eq!(amina.value("Phone"), "777");
}

#[test]
fn what_a_value_points_at_is_called_by_its_name_in_changes_conflicts_and_histories() {
    let clinic = Clinic::open();
    let (amina, brian) = (clinic.client("amina"), clinic.client("brian"));
    let patients = amina.table::<Fields>("patients").unwrap().query(Find::all()).unwrap();
    let patient = |name: &str| {
        let row = patients.iter().find(|row| row.value["name"] == Plain::Text(name.into())).unwrap();
        ("patient".to_owned(), Plain::Text(row.id.to_string()))
    };
    let site = ("site".to_owned(), patients[0].value["site"].clone());
    let visits = |client: &Client| client.table::<Fields>("visits").unwrap();
    let date = ("date".to_owned(), Plain::Text("2026-11-02".into()));
    visits(&amina).create(&[patient(PATIENTS[0]), date, site].into()).unwrap();
    let sync = |client: &Client| client.sync(Default::default(), |_| ControlFlow::Continue(())).unwrap();
    sync(&amina);
    sync(&brian);
    for (client, name) in [(&brian, PATIENTS[2]), (&amina, PATIENTS[1])] {
        let mut visit = visits(client).query(Find::all()).unwrap().remove(0);
        visit.value.extend([patient(name)]);
        visits(client).update(&visit).unwrap();
    }
    sync(&brian);
    drop(amina);

    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.until("it is to be decided", |me| me.get::<Shell>().get_review() == 1);
    amina.control("p");
    let moved = format!("Patient: from {} to {}", PATIENTS[0], PATIENTS[1]);
    amina.until("the change is told", |me| me.has(&moved));
    amina.control("d");
    amina.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    let line = amina.get::<Conflict>().get_lines().iter().find(|line| line.label == "Patient").unwrap();
    assert_eq!([line.base.as_str(), line.mine.as_str(), line.server.as_str()], [PATIENTS[0], PATIENTS[1], PATIENTS[2]]);
    // Another row is chosen as it is in a form.
    amina.click("Another value for Patient");
    amina.click(&format!("Patient: {}, choose another", PATIENTS[1]));
    amina.until("patients are offered", |me| me.get::<Shell>().get_picker_open() && me.has(PATIENTS[3]));
    amina.write("dalila");
    amina.key(Key::Return);
    amina.until("it is chosen", |me| me.has(&format!("Patient: {}, choose another", PATIENTS[3])));
    assert!(amina.get::<Shell>().get_conflict_open());
    amina.key(Key::Escape);
    amina.key(Key::Escape);
    amina.get::<Pending>().invoke_open(0);
    amina.until("the visit is shown", |me| me.get::<Detail>().get_title().contains("2026-11-02"));
    let line = amina.get::<Detail>().get_lines().iter().find(|line| line.label == "Patient").unwrap();
    assert_eq!((line.value.as_str(), line.base.as_str()), (PATIENTS[1], PATIENTS[0]));
    amina.control("h");
    let history = format!("Patient: from {} to {}", PATIENTS[0], PATIENTS[2]);
    amina.until("the history is told", |me| me.has(&history));
}

#[test]
fn another_value_is_chosen_where_it_can_be_and_a_day_from_a_calendar() {
    let clinic = Clinic::open();
    clinic.two_write_what_can_be_chosen();
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.look_at_conflict();
    let other = |label: &str| amina.get::<Conflict>().get_lines().iter().find(|line| line.label == label).unwrap().other;
    amina.click("Another value for Date of birth");
    amina.rewrite("1952-03-04");
    amina.click("Choose a day for Date of birth");
    amina.until("the calendar is open", |me| me.get::<Shell>().get_calendar_open());
    // Another conflict is not opened below it, nor this one anew.
    amina.alt('n');
    amina.settle();
    assert!(amina.get::<Shell>().get_calendar_open());
    amina.key(Key::RightArrow);
    amina.key(Key::Return);
    assert_eq!(other("Date of birth"), "1952-03-05");
    let field = amina.find(AccessibleRole::TextInput, "Another value for Date of birth");
    assert_eq!(field.accessible_value().unwrap(), "1952-03-05", "what is chosen is shown");
    // What is typed goes into the field again.
    amina.rewrite("1953-04-05");
    assert_eq!(other("Date of birth"), "1953-04-05");
    amina.click("Another value for Sex");
    amina.key(Key::DownArrow);
    amina.key(Key::DownArrow);
    assert_eq!(other("Sex"), "X");
    amina.control(Key::Return);
    amina.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    assert!(amina.sync());
    amina.choose(1);
    amina.until("nothing is pending", |me| me.pending() == 0);
    assert_eq!((amina.value("Sex").as_str(), amina.value("Date of birth").as_str()), ("X", "1953-04-05"));
}

#[test]
fn an_entry_that_was_made_twice_is_decided_field_by_field() {
    let clinic = Clinic::open();
    // The id is the same only where a program gives it: that of an entry in another system, for instance.
    let id = new_row_id();
    let (amina, brian) = (clinic.client("amina"), clinic.client("brian"));
    for (client, phone, village) in [(&amina, "111", "Gede"), (&brian, "222", "")] {
        let patients = client.table::<Fields>("patients").unwrap();
        let mut fields = patients.query(Find::all()).unwrap().remove(0).value;
        for (field, text) in [("name", "Zuri Abdalla"), ("phone", phone), ("village", village)] {
            fields.insert(field.into(), if text.is_empty() { Plain::Null } else { Plain::Text(text.into()) });
        }
        client.transaction(vec![patients.creation(id, &fields).unwrap()], false).unwrap();
        client.sync(Default::default(), |_| ControlFlow::Continue(())).unwrap();
    }
    drop((amina, brian));
    let brian = clinic.person_at(Some(clinic.folder_of("brian")), "brian");
    brian.look_at_conflict();
    let conflict = brian.get::<Conflict>();
    assert_eq!(conflict.get_kind(), ConflictKind::CreatedTwice);
    let question = "It was made here and on the server at the same time.";
    assert!(brian.labels().iter().any(|(_, label)| label.starts_with(question)), "{:#?}", brian.labels());
    let lines = conflict.get_lines();
    let asked = lines.iter().filter(|line| line.merge == Merge::Conflict).map(|line| line.label.to_string());
    assert_eq!(asked.collect::<Vec<_>>(), ["Phone", "Village"]);
    brian.press(AccessibleRole::RadioButton, "Phone: mine");
    brian.press(AccessibleRole::RadioButton, "Village: server");
    brian.control(Key::Return);
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    assert!(brian.sync());
    brian.until("nothing is pending", |me| me.pending() == 0);
    assert!(clinic.patients().lines().any(|line| line.contains("Zuri Abdalla,222,Gede")), "{}", clinic.patients());
    clinic.sound();
}

/// The second of two who made the same site, before the dialog.
fn asked_about_the_same_site(clinic: &Clinic) -> Person {
    clinic.two_make_the_same_site();
    let deputy = clinic.person_at(Some(clinic.folder_of("deputy")), "deputy");
    deputy.ready();
    assert!(deputy.sync());
    deputy.control("d");
    deputy.until("it is asked", |me| me.get::<Shell>().get_conflict_open());
    deputy
}

#[test]
fn a_value_that_must_be_unique_is_decided_between_this_entry_and_the_other() {
    let clinic = Clinic::open();
    let deputy = asked_about_the_same_site(&clinic);
    assert!(deputy.has(
        "The other entry is Mtwapa. If this entry keeps the value, the other one gets a number behind it, like Mtwapa (2). \
         If not, write another value here, or drop this entry."
    ));
    assert!(!deputy.has("Name: server"), "a site must have a name: it cannot be left to the other one");
    assert!(!deputy.has("All mine"));
    deputy.click("Another value for Name");
    deputy.write("Mtwapa South");
    deputy.control(Key::Return);
    deputy.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    assert!(deputy.sync());
    assert_eq!((deputy.pending(), deputy.get::<Shell>().get_review()), (0, 0));
    clinic.sound();
}

#[test]
fn what_is_said_of_a_taken_name_is_what_happens() {
    for drops in [false, true] {
        let clinic = Clinic::open();
        let deputy = asked_about_the_same_site(&clinic);
        if drops {
            deputy.click("Drop this entry");
        } else {
            deputy.find(AccessibleRole::RadioButton, "Name: mine").mock_single_click(PointerEventButton::Left);
            deputy.settle();
            deputy.click("Apply merge");
        }
        deputy.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
        assert!(deputy.sync());
        assert_eq!((deputy.pending(), deputy.get::<Shell>().get_review()), (0, 0));
        let sites = clinic.rows("sites");
        let named = |name: &str| sites.lines().filter(|line| line.split(',').any(|cell| cell == name)).count();
        assert_eq!((named("Mtwapa"), named("Mtwapa (2)")), (1, usize::from(!drops)), "{sites}");
    }
}

#[test]
fn what_goes_together_with_a_change_is_told_before_it_is_given_up() {
    let clinic = Clinic::open();
    let deputy = asked_about_the_same_site(&clinic);
    deputy.find(AccessibleRole::RadioButton, "Name: mine").mock_single_click(PointerEventButton::Left);
    deputy.settle();
    deputy.click("Apply merge");
    deputy.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    // The other entry, which is to get a number behind its name, gets another one meanwhile.
    let chief = clinic.client("chief");
    let sites = chief.table::<Fields>("sites").unwrap();
    let mut site = sites.query(Find::all().equal("name", Plain::Text("Mtwapa".into()))).unwrap().remove(0);
    site.value.insert("name".into(), Plain::Text("Mtwapa North".into()));
    sites.update(&site).unwrap();
    chief.sync(Default::default(), |_| ControlFlow::Continue(())).unwrap();
    assert!(deputy.sync());
    deputy.control("d");
    deputy.until("it is asked", |me| me.get::<Shell>().get_conflict_open());
    assert!(
        deputy.has("This goes together with Mtwapa. Where nothing of yours is kept here, that is given up as well."),
        "{:?}",
        deputy.labels()
    );
    deputy.click("All server's");
    deputy.click("Apply merge");
    deputy.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    assert!(deputy.sync());
    assert_eq!((deputy.pending(), deputy.get::<Shell>().get_review()), (0, 0));
    let sites = clinic.rows("sites");
    assert!(
        sites.contains("Mtwapa North") && !sites.lines().any(|line| line.split(',').any(|cell| cell == "Mtwapa")),
        "{sites}"
    );
    clinic.sound();
}

#[test]
fn a_dialog_that_was_closed_to_decide_later_opens_with_what_was_chosen_so_far() {
    let clinic = Clinic::open();
    let (amina, brian) = clash(&clinic);
    let open = || {
        brian.control("d");
        brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
        brian.get::<Conflict>().get_lines().iter().find(|line| line.label == "Notes").unwrap()
    };
    open();
    brian.click("Another value for Notes");
    brian.rewrite("Both");
    brian.click("Decide later");
    let notes = open();
    assert_eq!((notes.side, notes.other.as_str()), (Side::Other, "Both"));
    assert!(!brian.get::<Conflict>().get_moved());
    brian.key(Key::Escape);
    // The server's side moves while the dialog is closed: what was chosen about the old one has to be chosen anew.
    amina.edit("Notes", "Allergic to aspirin, too");
    assert!(amina.sync());
    brian.until("it came to Brian", |me| {
        let lines = me.get::<Detail>().get_lines();
        lines.row_count() > 0 && me.get::<Shell>().get_review() == 1
    });
    brian.until("the dialog knows", |_| {
        let notes = open();
        let moved = notes.server == "Allergic to aspirin, too";
        if !moved {
            brian.key(Key::Escape);
        }
        moved
    });
    let notes = brian.get::<Conflict>().get_lines().iter().find(|line| line.label == "Notes").unwrap();
    assert_eq!((notes.side, notes.other.as_str()), (Side::None, "Both"), "what was typed is kept");
    assert!(brian.get::<Conflict>().get_moved());
    assert_eq!(brian.get::<Conflict>().get_dropped(), 1);
    brian.click("All server's");
    brian.click("Apply merge");
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    agree(&amina, &brian, 1);
}
