//! An agency that lets dwellings: the same application by another schema, with fields of every kind.

use crate::stage::{Clinic, Person};
use i_slint_backend_testing::{AccessibleRole, ElementHandle};
use slint::Model;
use slint::platform::{Key, PointerEventButton};
use tombolo_ui::window::{Browse, Conflict, Detail, Fault, Merge, Shell, Side};

/// Goes to a table by the sidebar.
fn table(person: &Person, name: &str) {
    person.until("the tables are listed", |me| me.labels().iter().any(|(_, label)| label.starts_with(name)));
    let (role, label) = person.labels().into_iter().find(|(_, label)| label.starts_with(name)).unwrap();
    person.find(role, &label).mock_single_click(PointerEventButton::Left);
    person.until("the table is shown", |me| me.get::<Browse>().get_table_title() == name);
}

fn new_entry(person: &Person, first: &str) {
    person.control("n");
    person.until("the form is open", |me| me.get::<Shell>().get_form_open() && me.has(first));
    person.find(AccessibleRole::TextInput, first).mock_single_click(PointerEventButton::Left);
    person.settle();
}

fn saved(person: &Person) {
    person.control("s");
    person.until("it is saved", |me| !me.get::<Shell>().get_form_open());
}

/// Chooses what a reference points at from the field that has the focus, by keys.
fn refer(person: &Person, to: &str) {
    person.key(Key::Return);
    person.until("the rows are offered", |me| me.get::<Shell>().get_picker_open() && me.has(to));
    person.write(to);
    person.key(Key::Return);
    assert!(!person.get::<Shell>().get_picker_open());
}

/// A house, who lives there, and the contract, all made with keys from the first field to the last.
fn let_a_flat(person: &Person) {
    table(person, "Buildings");
    new_entry(person, "Name (required)");
    person.write("Sea View");
    person.key(Key::Tab);
    person.write("12 Beach Road");
    person.key(Key::Tab);
    person.write("three");
    person.key(Key::Tab);
    assert_eq!(person.field("Floors").wrong.fault, Fault::NotWhole, "said as the field is left");
    person.find(AccessibleRole::TextInput, "Floors").mock_single_click(PointerEventButton::Left);
    person.rewrite("3");
    person.key(Key::Tab);
    assert_eq!(person.field("Has a lift").flag, 2, "nobody knows yet");
    person.key(Key::LeftArrow);
    assert_eq!(person.field("Has a lift").flag, 1);
    saved(person);
    table(person, "Tenants");
    new_entry(person, "Name (required)");
    person.write("Zawadi Kamau");
    saved(person);
    table(person, "Leases");
    person.control("n");
    person.until("the form is open", |me| me.get::<Shell>().get_form_open());
    refer(person, "Sea View");
    person.key(Key::Tab);
    refer(person, "Zawadi Kamau");
    // What has to be chosen has no button that empties it: the next field is the apartment.
    for text in ["4B", "2026-11-01"] {
        person.key(Key::Tab);
        person.write(text);
    }
    person.find(AccessibleRole::TextInput, "Monthly rent (required)").mock_single_click(PointerEventButton::Left);
    person.write("1,250.50");
    person.key(Key::Tab);
    person.key(Key::DownArrow);
    person.find(AccessibleRole::TextInput, "Signed at").mock_single_click(PointerEventButton::Left);
    person.write("2026-10-31 25:00");
    person.key(Key::Tab);
    assert_eq!(person.field("Signed at").wrong.fault, Fault::NotATime);
    person.find(AccessibleRole::TextInput, "Signed at").mock_single_click(PointerEventButton::Left);
    person.rewrite("2026-10-31 14:30");
    // Another day, at the same time of day.
    person.alt(Key::DownArrow);
    assert!(person.get::<Shell>().get_calendar_open());
    person.key(Key::LeftArrow);
    person.key(Key::Return);
    assert_eq!(person.field("Signed at").text, "2026-10-30 14:30");
    saved(person);
}

#[test]
fn fields_of_every_kind_are_filled_by_keyboard_and_come_to_others() {
    let agency = Clinic::agency();
    let (amina, brian) = (agency.person("amina"), agency.person("brian"));
    let_a_flat(&amina);
    amina.until("all three are pending", |me| me.pending() == 3);
    table(&brian, "Buildings");
    assert!(amina.sync() && brian.sync());
    table(&brian, "Leases");
    brian.until("the contract is listed", |me| me.get::<Browse>().get_total() == 1);
    brian.press(AccessibleRole::ListItem, "4B, 2026-11-01");
    brian.until("it is shown", |me| me.get::<Detail>().get_title() == "4B, 2026-11-01");
    for (label, shown) in [
        ("Building", "Sea View"),
        ("Tenant", "Zawadi Kamau"),
        ("From", "2026-11-01"),
        ("Monthly rent", "1250.50"),
        ("Currency", "GBP"),
        ("Signed at", "2026-10-30 14:30"),
    ] {
        assert_eq!(brian.value(label), shown, "{label}");
    }
    assert!(agency.rows("leases").contains("1250.50,GBP"), "{}", agency.rows("leases"));
    assert!(agency.rows("buildings").contains("3,yes"), "{}", agency.rows("buildings"));
    agency.sound();
}

/// The first row of a table.
fn first(person: &Person, name: &str) {
    table(person, name);
    person.until("there is a row", |me| me.get::<Browse>().get_total() == 1);
    let title = if name == "Leases" { "4B, 2026-11-01" } else { "Sea View" };
    person.press(AccessibleRole::ListItem, title);
    person.until("it is shown", |me| me.get::<Detail>().get_title() == title);
}

fn has_a_lift(person: &Person, answer: &str) {
    first(person, "Buildings");
    person.control("e");
    person.until("the form is open", |me| me.get::<Shell>().get_form_open());
    person.find(AccessibleRole::RadioButton, answer).mock_single_click(PointerEventButton::Left);
    saved(person);
}

#[test]
fn a_moment_an_amount_with_its_currency_and_yes_or_no_are_decided() {
    let agency = Clinic::agency();
    let (amina, brian) = (agency.person("amina"), agency.person("brian"));
    let_a_flat(&amina);
    table(&brian, "Buildings");
    assert!(amina.sync() && brian.sync());
    has_a_lift(&amina, "No");
    has_a_lift(&brian, "Not known");
    for (person, signed) in [(&amina, "2026-10-29 09:00"), (&brian, "2026-10-28 10:00")] {
        first(person, "Leases");
        person.edit("Signed at", signed);
    }
    amina.edit("Monthly rent (required)", "1300");
    brian.control("e");
    brian.until("the form is open", |me| me.get::<Shell>().get_form_open());
    brian.find(AccessibleRole::Combobox, "Currency (required)").mock_single_click(PointerEventButton::Left);
    brian.settle();
    brian.key(Key::DownArrow);
    brian.key(Key::DownArrow);
    brian.key(Key::Return);
    let currency = brian.field("Currency");
    assert_eq!(currency.choices.row_data(usize::try_from(currency.choice).unwrap()).unwrap(), "USD");
    saved(&brian);
    assert!(amina.sync() && brian.sync());
    brian.until("both are to be decided", |me| me.get::<Shell>().get_review() == 2);
    brian.control("d");
    brian.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    let line = |label: &str| brian.get::<Conflict>().get_lines().iter().find(|line| line.label == label);
    if line("Has a lift").is_none() {
        brian.alt('n');
    }
    let lift = line("Has a lift").unwrap();
    assert_eq!((lift.base.as_str(), lift.mine.as_str(), lift.server.as_str()), ("Yes", "", "No"));
    assert_eq!((lift.merge, lift.side), (Merge::Conflict, Side::Mine));
    // They went to look: it has one.
    brian.click("Another value for Has a lift");
    let other = || {
        let lift = line("Has a lift").unwrap();
        lift.choices.row_data(usize::try_from(lift.choice).unwrap()).unwrap_or_default()
    };
    for _ in 0..3 {
        if other() != "Yes" {
            brian.key(Key::DownArrow);
        }
    }
    assert_eq!(other(), "Yes");
    brian.control(Key::Return);
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    brian.control("d");
    brian.until("the next is asked", |me| me.get::<Shell>().get_conflict_open());
    assert_eq!(brian.get::<Conflict>().get_title(), "4B, 2026-11-01");
    let side = |label: &str| line(label).unwrap().side;
    let sides = || ["Monthly rent", "Currency", "Signed at"].map(side);
    assert_eq!((sides(), brian.get::<Conflict>().get_beforehand()), ([Side::None; 3], false));
    // This table leaves it open; whoever wants something chosen beforehand says so.
    brian.click("Decide later");
    brian.control(",");
    brian.press(AccessibleRole::RadioButton, "Server's");
    brian.key(Key::Escape);
    brian.control("d");
    brian.until("it is asked again", |me| me.get::<Shell>().get_conflict_open());
    assert_eq!((sides(), brian.get::<Conflict>().get_beforehand()), ([Side::Server; 3], true));
    brian.find(AccessibleRole::RadioButton, "Monthly rent: mine").mock_single_click(PointerEventButton::Left);
    brian.settle();
    assert_eq!((side("Monthly rent"), side("Currency")), (Side::Mine, Side::Mine), "an amount and its currency go together");
    brian.click("Another value for Signed at");
    brian.rewrite("27 October");
    brian.control(Key::Return);
    assert!(brian.get::<Shell>().get_conflict_open());
    assert_eq!(line("Signed at").unwrap().wrong.fault, Fault::NotATime);
    brian.find(AccessibleRole::TextInput, "Another value for Signed at").mock_single_click(PointerEventButton::Left);
    brian.rewrite("2026-10-27 08:15");
    brian.control(Key::Return);
    brian.until("it is decided", |me| !me.get::<Shell>().get_conflict_open());
    assert!(brian.sync() && amina.sync());
    for person in [&amina, &brian] {
        assert_eq!(person.pending(), 0);
        first(person, "Leases");
        let shown = ["Monthly rent", "Currency", "Signed at"].map(|label| person.value(label).to_string());
        assert_eq!(shown, ["1250.50", "USD", "2026-10-27 08:15"]);
        first(person, "Buildings");
        assert_eq!(person.value("Has a lift"), "Yes");
    }
    agency.sound();
}

#[test]
fn a_list_is_filtered_by_every_choice_and_reference_of_its_table() {
    let agency = Clinic::agency();
    agency.four_leases();
    let amina = agency.person_at(Some(agency.folder_of("amina")), "amina");
    table(&amina, "Leases");
    amina.until("all are listed", |me| me.get::<Browse>().get_total() == 4);
    let listed = || amina.get::<Browse>().get_total();
    let chosen = |label: &str| amina.find(AccessibleRole::Combobox, label).accessible_value().unwrap();
    // The first reference and the choice stand beside the list.
    amina.find(AccessibleRole::Combobox, "Only Building");
    amina.find(AccessibleRole::Combobox, "Only Currency");
    assert!(!amina.has("Only Tenant"));
    let choose = |label: &str, steps: usize| {
        let boxes = ElementHandle::find_by_accessible_label(amina.ui(), label);
        let combo = boxes.filter(|of| of.accessible_role() == Some(AccessibleRole::Combobox)).last().unwrap();
        combo.mock_single_click(PointerEventButton::Left);
        amina.settle();
        (0..steps).for_each(|_| amina.key(Key::DownArrow));
        amina.key(Key::Return);
    };
    choose("Only Currency", 3);
    assert_eq!((listed(), chosen("Only Currency").as_str()), (2, "KES"));
    // Those that have no room there are in a dialog, with the others.
    amina.click("All filters, 1 is used");
    assert!(amina.get::<Shell>().get_filters_open());
    choose("Only Tenant", 1);
    assert_eq!(listed(), 0);
    choose("Only Tenant", 1);
    assert_eq!((listed(), chosen("Only Tenant").as_str()), (2, "Zawadi Kamau"));
    choose("Only Building", 1);
    assert_eq!(listed(), 1);
    assert!(amina.has("1 of 4"));
    amina.click("Done");
    assert!(!amina.get::<Shell>().get_filters_open());
    amina.find(AccessibleRole::Button, "All filters, 3 are used");
    assert!(!amina.has("Only Tenant"), "the first of each kind stand beside the list");
    assert_eq!((chosen("Only Building").as_str(), chosen("Only Currency").as_str()), ("Hill Top", "KES"));
    amina.click("Show all");
    assert_eq!(listed(), 4);
    assert_eq!((chosen("Only Building").as_str(), chosen("Only Currency").as_str()), ("All", "All"));
    // Escape closes it too, and the list has the keys.
    amina.click("All filters");
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_filters_open());
    amina.key(Key::DownArrow);
    assert_eq!(amina.get::<Browse>().get_selected(), 0);
}
