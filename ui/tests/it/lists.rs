//! Lists: searched, filtered, ordered, short and long.

use crate::stage::{Clinic, PATIENTS, Person};
use i_slint_backend_testing::AccessibleRole;
use slint::Model;
use slint::platform::{Key, PointerEventButton};
use tombolo_client::protocol::schema::Plain;
use tombolo_client::table::Fields;
use tombolo_ui::window::{Browse, Picker, RowVm, Settings, Shell};

#[test]
fn the_list_is_searched_filtered_and_sorted() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.control("k");
    amina.write("LAMU");
    assert_eq!((amina.get::<Browse>().get_total(), amina.get::<Browse>().get_of()), (1, 4));
    assert_eq!(amina.get::<Browse>().get_rows().row_data(0).unwrap().title, PATIENTS[1]);
    amina.click("Show all");
    assert_eq!(amina.get::<Browse>().get_total(), 4);
    let first = |me: &Person| me.get::<Browse>().get_rows().row_data(0).map(|row| row.title);
    amina.click("Ascending; press for descending");
    assert_eq!(first(&amina).as_deref(), Some(PATIENTS[3]));
    amina.click("Descending; press for ascending");
    // By birth date: the first patient was born first.
    let columns: Vec<_> = amina.get::<Browse>().get_columns().iter().collect();
    let born = columns.iter().position(|column| column == "Date of birth").unwrap();
    (0..born).for_each(|_| amina.pick("Sort by", Key::DownArrow));
    amina.until("the eldest comes first", |me| first(me).as_deref() == Some(PATIENTS[0]));
    amina.click("Ascending; press for descending");
    amina.until("the youngest comes first", |me| first(me).as_deref() == Some(PATIENTS[3]));
    amina.press(AccessibleRole::RadioButton, "Pending");
    assert_eq!(amina.get::<Browse>().get_total(), 0);
}

#[test]
fn a_long_list_shows_what_is_in_sight_in_a_few_places() {
    let clinic = Clinic::open();
    let client = clinic.client("amina");
    let patients = client.table::<Fields>("patients").unwrap();
    let site = patients.list().unwrap().remove(0).value["site"].clone();
    for at in 0..200 {
        let patient = [("name", Plain::Text(format!("Patient {at:03}"))), ("site", site.clone())];
        patients.create(&patient.map(|(field, value)| (field.to_owned(), value)).into()).unwrap();
    }
    drop((patients, client));
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.until("all are listed", |me| me.get::<Browse>().get_total() == 204);
    let in_sight = || {
        let mut rows: Vec<_> = amina.get::<Browse>().get_rows().iter().collect();
        rows.sort_by_key(|row| row.at);
        assert!((5..40).contains(&rows.len()), "{} places", rows.len());
        assert!(rows.windows(2).all(|two| two[0].at + 1 == two[1].at), "one row after another");
        rows
    };
    assert_eq!(in_sight()[0].title, PATIENTS[0]);
    // The list has the focus once something was chosen in it.
    amina.find(AccessibleRole::ListItem, PATIENTS[2]).mock_single_click(PointerEventButton::Left);
    amina.settle();
    let current = |rows: &[RowVm]| rows.iter().filter(|row| row.current).map(|row| row.at).collect::<Vec<_>>();
    assert_eq!(current(&in_sight()), [2]);
    amina.key(Key::End);
    let rows = in_sight();
    assert_eq!((rows.last().unwrap().title.as_str(), current(&rows)), ("Patient 199", vec![203]));
    let last = amina.find(AccessibleRole::ListItem, "Patient 199");
    assert!(last.absolute_position().y + last.size().height <= 800.0, "it can be seen");
    for _ in 0..30 {
        amina.key(Key::UpArrow);
    }
    assert_eq!(current(&in_sight()), [173]);
    amina.find(AccessibleRole::ListItem, "Patient 169");
    // A search begins at the top, and what is behind its end is not shown.
    amina.control("k");
    amina.write("patient 19");
    // The words stand anywhere in a name: 019, 119, and 190 to 199.
    assert_eq!(amina.get::<Browse>().get_total(), 12);
    assert_eq!(in_sight()[0].title, "Patient 019");
    amina.find(AccessibleRole::ListItem, "Patient 019");
    assert!(!amina.has("Patient 168"));
    amina.click("Show all");
    assert_eq!(in_sight()[0].title, PATIENTS[0]);
}

#[test]
fn a_list_is_ordered_by_a_column_that_its_table_has() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.table("Visits");
    let first = amina.get::<Browse>().get_columns().row_data(0).unwrap();
    let client = clinic.client("brian");
    let schema = client.schema().unwrap();
    let visits = schema.table_named("visits").unwrap();
    assert!(visits.fields.iter().any(|field| field.label == first.as_str()), "visits have no {first}");
}

#[test]
fn nothing_is_called_empty_before_it_is_read_nor_complete_before_it_is() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let browse = amina.get::<Browse>();
    browse.invoke_select_table(2);
    assert!(browse.get_reading() && amina.has("Reading…") && !amina.has("0 entries"));
    amina.until("it was read", |me| !me.get::<Browse>().get_reading());
    assert!(amina.has("0 entries"));
    let part = "Not everything has been received yet. What you do not find may still come.";
    amina.table("Patients");
    amina.ready();
    assert!(!amina.has(part));
    browse.set_filling(true);
    assert!(amina.has(part));
}

#[test]
fn a_list_is_filtered_by_what_its_rows_point_at() {
    let clinic = Clinic::open();
    let client = clinic.client("amina");
    let patients = client.table::<Fields>("patients").unwrap().list().unwrap();
    let visits = client.table::<Fields>("visits").unwrap();
    for (patient, reason) in [(1, "Fever"), (1, "Cough"), (0, "Burn")] {
        let patient = patients.iter().find(|row| row.value["name"] == Plain::Text(PATIENTS[patient].into())).unwrap();
        let visit = [
            ("patient", Plain::Text(patient.id.to_string())),
            ("date", Plain::Text("2026-11-27".into())),
            ("reason", Plain::Text(reason.into())),
            ("site", patient.value["site"].clone()),
        ];
        visits.create(&visit.map(|(field, value)| (field.to_owned(), value)).into()).unwrap();
    }
    drop((visits, client));
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.ready();
    amina.table("Visits");
    amina.until("all visits are listed", |me| me.get::<Browse>().get_total() == 3);
    let filter = amina.get::<Browse>().get_filters().row_data(0).unwrap();
    assert_eq!(filter.label, "Patient");
    assert_eq!(filter.choices.iter().collect::<Vec<_>>(), ["All", PATIENTS[0], PATIENTS[1]]);
    amina.pick("Only Patient", Key::DownArrow);
    assert_eq!(amina.get::<Browse>().get_total(), 1);
    amina.pick("Only Patient", Key::DownArrow);
    assert_eq!(amina.get::<Browse>().get_total(), 2);
    amina.click("Show all");
    assert_eq!(amina.get::<Browse>().get_total(), 3);
}

#[test]
fn tables_orders_and_settings_are_chosen_with_the_mouse() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.press(AccessibleRole::RadioButton, "Pending");
    assert_eq!((amina.get::<Browse>().get_total(), amina.get::<Browse>().get_of()), (0, 4));
    amina.press(AccessibleRole::RadioButton, "All");
    amina.click("Ascending; press for descending");
    amina.until("the last comes first", |me| {
        me.get::<Browse>().get_rows().row_data(0).is_some_and(|row| row.title == PATIENTS[3])
    });
    // A box of choices: the pointer opens it, and keys choose, as in any list of the desktop.
    amina.pick("Sort by", Key::DownArrow);
    assert_eq!(amina.get::<Browse>().get_column(), 1);
    amina.table("Sites");
    amina.until("the sites are listed", |me| me.get::<Browse>().get_total() == 1);
    amina.click("Settings");
    amina.press(AccessibleRole::RadioButton, "Dark");
    assert_eq!(amina.get::<Settings>().get_theme(), 2);
    assert!(amina.get::<tombolo_ui::window::Theme>().get_dark());
    amina.press(AccessibleRole::RadioButton, "Save mobile data");
    assert_eq!(amina.get::<Shell>().get_mode(), 1);
    assert!(amina.has("When to sync: Save mobile data"), "the title bar says so");
    amina.press(AccessibleRole::RadioButton, "150 %");
    assert_eq!(amina.get::<tombolo_ui::window::Theme>().get_scale(), 1.5);
}

#[test]
fn a_list_is_filtered_by_one_of_many_rows_that_is_searched_for() {
    let clinic = Clinic::open();
    let client = clinic.client("amina");
    let patients = client.table::<Fields>("patients").unwrap();
    let visits = client.table::<Fields>("visits").unwrap();
    let site = patients.list().unwrap().remove(0).value["site"].clone();
    for at in 0..101 {
        let patient = [("name", Plain::Text(format!("Patient {at:03}"))), ("site", site.clone())];
        let patient = patients.create(&patient.map(|(field, value)| (field.to_owned(), value)).into()).unwrap();
        let visit = [
            ("patient", Plain::Text(patient.to_string())),
            ("date", Plain::Text("2026-11-27".into())),
            ("reason", Plain::Text(format!("Cough {at}"))),
            ("site", site.clone()),
        ];
        visits.create(&visit.map(|(field, value)| (field.to_owned(), value)).into()).unwrap();
    }
    drop((patients, visits, client));
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.until("all are listed", |me| me.get::<Browse>().get_total() == 105);
    amina.table("Visits");
    amina.until("all visits are listed", |me| me.get::<Browse>().get_total() == 101);
    let choices = || amina.get::<Browse>().get_filters().row_data(0).unwrap().choices.iter().collect::<Vec<_>>();
    assert_eq!(choices(), ["All"]);
    // Nothing chosen changes nothing.
    let search = || {
        amina.click("Only Patient: All");
        amina.until("somebody is searched for", |me| me.get::<Picker>().get_total() == 105);
    };
    search();
    amina.key(Key::Escape);
    assert_eq!((choices().len(), amina.get::<Browse>().get_total()), (1, 101));
    search();
    amina.write("patient 042");
    amina.key(Key::Return);
    assert_eq!(choices(), ["All", "Patient 042"]);
    assert_eq!(amina.get::<Browse>().get_total(), 1);
    assert!(amina.has("Only Patient: Patient 042"));
    amina.click("Whatever Patient");
    assert_eq!((choices().len(), amina.get::<Browse>().get_total()), (1, 101));
    // The list has the focus again.
    amina.key(Key::DownArrow);
    assert_eq!(amina.get::<Browse>().get_selected(), 0);
}
