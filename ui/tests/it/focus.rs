//! The keyboard is never dead, and nothing takes it from whoever is typing.

use crate::stage::{Clinic, PATIENTS, Person};
use i_slint_backend_testing::{AccessibleRole, ElementHandle};
use slint::platform::{Key, PointerEventButton, WindowEvent};
use slint::{ComponentHandle, LogicalPosition};
use tombolo_ui::window::{Browse, Conn, Detail, Form, Import, Picker, Report, Settings, Shell, SignIn};

/// The list has the focus: an arrow key moves the choice.
fn the_list_has_the_keys(person: &Person) {
    let browse = person.get::<Browse>();
    let before = browse.get_selected();
    person.key(if before == 0 { Key::DownArrow } else { Key::UpArrow });
    assert_ne!(browse.get_selected(), before, "no key comes to the list");
}

fn has_a_ring(person: &Person) -> bool {
    ElementHandle::find_by_element_id(person.ui(), "ListPane::ring").next().is_some()
}

#[test]
fn the_keys_go_to_the_list_from_the_start_and_it_shows_that_also_without_a_chosen_row() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    assert!(has_a_ring(&amina), "nothing is chosen");
    amina.key(Key::DownArrow);
    assert_eq!(amina.get::<Browse>().get_selected(), 0);
    assert!(!has_a_ring(&amina), "the row has it");
    amina.control("k");
    amina.write("nobody");
    assert_eq!(amina.get::<Browse>().get_total(), 0);
    amina.key(Key::DownArrow);
    assert!(has_a_ring(&amina), "nothing is in the list");
    amina.click("Show all");
    amina.key(Key::End);
    assert!(!has_a_ring(&amina));
    // So little room that a list of four is scrolled.
    amina.control(",");
    amina.press(AccessibleRole::RadioButton, "200 %");
    amina.key(Key::Escape);
    amina.ui().window().set_size(slint::PhysicalSize::new(1280, 650));
    amina.settle();
    let position = LogicalPosition::new(600.0, 600.0);
    amina.ui().window().dispatch_event(WindowEvent::PointerScrolled { position, delta_x: 0.0, delta_y: -300.0 });
    amina.key(Key::Home);
    amina.settle();
    assert!(!has_a_ring(&amina), "it was brought into sight");
    amina.ui().window().dispatch_event(WindowEvent::PointerScrolled { position, delta_x: 0.0, delta_y: -300.0 });
    amina.settle();
    assert!(has_a_ring(&amina), "the row was scrolled out of sight");
}

#[test]
fn the_menu_of_a_text_field_speaks_the_language_of_the_window() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.speak("Language", Key::DownArrow);
    amina.find(AccessibleRole::TextInput, "Chercher dans Patients").mock_single_click(PointerEventButton::Right);
    amina.settle();
    assert!(amina.has("Tout sélectionner"), "{:#?}", amina.labels());
}

#[test]
fn a_sync_that_ends_while_somebody_types_takes_no_key_from_them() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(1);
    let shell = amina.get::<Shell>();
    shell.invoke_sync();
    amina.get::<Browse>().invoke_edit_record();
    assert!(shell.get_form_open());
    amina.until("the sync is over", |me| me.get::<Shell>().get_conn() != Conn::Syncing);
    assert!(!shell.get_report_open(), "it waits");
    amina.find(AccessibleRole::TextInput, "Phone").mock_single_click(PointerEventButton::Left);
    amina.rewrite("5 5");
    assert_eq!(amina.field("Phone").text, "5 5");
    amina.control("s");
    amina.until("now it comes", |me| me.get::<Shell>().get_report_open());
    assert!(!shell.get_form_open() && !amina.get::<Report>().get_failed());
    amina.key(Key::Escape);
    assert!(!shell.get_report_open());
    the_list_has_the_keys(&amina);
}

#[test]
fn what_was_over_the_pending_changes_gives_the_keys_back() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(1);
    let shell = amina.get::<Shell>();
    amina.control("p");
    amina.key(Key::F1);
    assert!(shell.get_pending_open() && shell.get_shortcuts_open());
    amina.key(Key::Escape);
    assert!(!shell.get_shortcuts_open());
    amina.control(",");
    assert!(shell.get_settings_open());
    amina.key(Key::Escape);
    assert!(shell.get_pending_open() && !shell.get_settings_open());
    amina.key(Key::Escape);
    assert!(!shell.get_pending_open());
    the_list_has_the_keys(&amina);
}

#[test]
fn undo_by_key_takes_its_message_away_and_gives_the_keys_back() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(1);
    amina.click("Delete this entry");
    amina.click("Delete");
    amina.until("it is gone", |me| me.get::<Browse>().get_total() == 3);
    let shell = amina.get::<Shell>();
    let found = (0..80).any(|_| {
        amina.key(Key::Tab);
        shell.get_toast_focus() != 0
    });
    assert!(found, "Tab comes to the message");
    // It does not go while somebody is on it.
    i_slint_backend_testing::mock_elapsed_time(std::time::Duration::from_secs(20));
    amina.settle();
    assert_ne!(shell.get_toast_focus(), 0);
    amina.key(Key::Space);
    amina.until("it is back", |me| me.get::<Browse>().get_total() == 4);
    the_list_has_the_keys(&amina);
}

#[test]
fn what_is_typed_before_the_rows_are_read_is_searched_for_when_they_are() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.table("Visits");
    amina.control("n");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    let picker = amina.get::<Picker>();
    amina.get::<Form>().invoke_pick(amina.number("Patient"));
    assert!(picker.get_reading(), "it says nothing of what it has not read");
    picker.invoke_search("baraka".into());
    amina.until("they are read", |me| !me.get::<Picker>().get_reading());
    assert_eq!(picker.get_total(), 1);
    picker.invoke_choose(picker.get_selected());
    assert_eq!(amina.field("Patient").text, "Baraka Mwangi");
}

#[test]
fn a_wheel_that_is_turned_over_a_choice_does_not_change_it() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(1);
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    let sex = amina.find(AccessibleRole::Combobox, "Sex");
    sex.mock_single_click(PointerEventButton::Left);
    amina.settle();
    amina.key(Key::Escape);
    amina.key(Key::DownArrow);
    let chosen = amina.field("Sex").choice;
    assert_eq!(chosen, 1, "a key changes it");
    let (at, size) = (sex.absolute_position(), sex.size());
    let position = LogicalPosition::new(at.x + size.width / 2.0, at.y + size.height / 2.0);
    for delta_y in [-30.0, -30.0, 30.0] {
        amina.ui().window().dispatch_event(WindowEvent::PointerScrolled { position, delta_x: 0.0, delta_y });
        amina.settle();
    }
    assert_eq!(amina.field("Sex").choice, chosen);
    // A click still opens the list.
    sex.mock_single_click(PointerEventButton::Left);
    amina.settle();
    amina.key(Key::DownArrow);
    amina.key(Key::Return);
    assert_eq!(amina.field("Sex").choice, chosen + 1);
}

#[test]
fn only_the_file_that_was_looked_at_is_imported() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let file = clinic.folder.path().join("good.csv");
    std::fs::write(&file, "name,site\nNew One,Kilifi\n").unwrap();
    amina.click("Import a CSV file");
    let import = amina.get::<Import>();
    amina.find(AccessibleRole::TextInput, "CSV file").mock_single_click(PointerEventButton::Left);
    import.set_file(file.display().to_string().into());
    amina.key(Key::Return);
    amina.until("it is ready", |me| me.get::<Import>().get_ready());
    amina.write("x");
    assert!(!import.get_ready(), "another file was not looked at");
    import.invoke_run();
    assert!(!import.get_busy());
    // A preview that comes late is of what does not stand there any more.
    import.set_file(file.display().to_string().into());
    import.invoke_look(import.get_file());
    import.invoke_changed();
    amina.settle();
    std::thread::sleep(std::time::Duration::from_millis(300));
    amina.settle();
    assert!(!import.get_ready());
}

#[test]
fn a_form_is_saved_once_and_what_comes_late_does_not_close_another() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let shell = amina.get::<Shell>();
    amina.control("n");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    let form = amina.get::<Form>();
    form.invoke_edit_text(amina.number("Name"), "Zawadi".into());
    amina.get::<Form>().invoke_pick(amina.number("Site"));
    amina.until("sites are read", |me| me.get::<Picker>().get_total() == 1);
    amina.get::<Picker>().invoke_choose(0);
    form.invoke_save();
    form.invoke_save();
    // The person goes on before the answer has come.
    shell.invoke_leave_form();
    amina.get::<Browse>().invoke_new_record();
    form.invoke_edit_text(amina.number("Name"), "Another".into());
    amina.until("the first is saved", |me| me.get::<Browse>().get_total() == 5);
    assert!(shell.get_form_open(), "the second form is still open");
    assert_eq!((amina.field("Name").text.as_str(), form.get_trouble().as_str()), ("Another", ""));
    assert_eq!(amina.pending(), 1);
    // An entry that was only here is deleted and has not left.
    shell.invoke_leave_form();
    let browse = amina.get::<Browse>();
    let new = (0..5).find(|at| {
        browse.invoke_select_row(*at);
        amina.settle();
        std::thread::sleep(std::time::Duration::from_millis(100));
        amina.settle();
        amina.get::<Detail>().get_title() == "Zawadi"
    });
    assert!(new.is_some());
    amina.click("Delete this entry");
    amina.click("Delete");
    amina.until("it is gone", |me| me.get::<Detail>().get_gone());
    assert!(!amina.get::<Detail>().get_left());
}

#[test]
fn what_is_typed_behind_a_save_is_kept_and_saved_by_the_next() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let (shell, form) = (amina.get::<Shell>(), amina.get::<Form>());
    for (at, pressed_again) in [(1, false), (2, true)] {
        amina.choose(at);
        amina.control("e");
        amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
        let phone = amina.number("Phone");
        form.invoke_edit_text(phone, "55".into());
        form.invoke_save();
        // Before anything has come back.
        form.invoke_edit_text(phone, "556".into());
        if pressed_again {
            form.invoke_save();
        } else {
            amina.until("the first is saved", |me| me.pending() == 1);
            assert!(shell.get_form_open(), "something else stands there by now");
            assert_eq!(amina.field("Phone").text, "556");
            assert!(amina.has(&format!("Edit {}", PATIENTS[at])));
            amina.control("s");
        }
        amina.until("it is saved", |me| !me.get::<Shell>().get_form_open());
        amina.until("it is shown", |me| me.value("Phone") == "556");
    }
    // What was there before is typed again.
    amina.choose(3);
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    let (village, before) = (amina.number("Village"), amina.field("Village").text);
    form.invoke_edit_text(village, "Malindi".into());
    form.invoke_save();
    form.invoke_edit_text(village, before.clone());
    form.invoke_save();
    assert!(shell.get_form_open());
    amina.until("it is saved", |me| !me.get::<Shell>().get_form_open());
    amina.until("it is shown", |me| me.value("Village") == before);
    // So of a new entry.
    amina.control("n");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    form.invoke_edit_text(amina.number("Name"), "Zawadi".into());
    form.invoke_pick(amina.number("Site"));
    amina.until("sites are read", |me| me.get::<Picker>().get_total() == 1);
    amina.get::<Picker>().invoke_choose(0);
    form.invoke_save();
    form.invoke_edit_text(amina.number("Name"), "Zawadi Kamau".into());
    form.invoke_save();
    amina.until("it is saved", |me| !me.get::<Shell>().get_form_open());
    amina.until("it is shown", |me| me.get::<Detail>().get_title() == "Zawadi Kamau");
    amina.until("it is listed", |me| (me.get::<Browse>().get_total(), me.pending()) == (5, 3));
}

#[test]
fn a_sign_out_that_is_wanted_during_a_sync_comes_behind_it() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "42");
    amina.get::<Shell>().invoke_sync();
    amina.get::<Settings>().invoke_push_then_sign_out();
    amina.until("signed out", |me| me.get::<SignIn>().get_shown());
    assert_eq!(amina.get::<Shell>().get_conn(), Conn::NeedsSignIn);
    assert_eq!(amina.pending(), 0);
}

#[test]
fn a_sync_that_ends_while_somebody_searches_takes_no_key_from_them() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let silent = clinic.falls_silent();
    amina.control("k");
    amina.control("r");
    amina.write("Bar");
    amina.until("found", |me| me.get::<Browse>().get_total() == 1);
    assert_eq!(amina.get::<Shell>().get_conn(), Conn::Syncing, "nobody answers");
    drop(silent);
    amina.until("the sync is over", |me| me.get::<Shell>().get_conn() != Conn::Syncing);
    assert!(!amina.get::<Shell>().get_report_open());
    amina.write("aka");
    assert_eq!(amina.get::<Browse>().get_text(), "Baraka");
    // Behind the search the report comes.
    amina.key(Key::Return);
    amina.until("the report is there", |me| me.get::<Shell>().get_report_open());
}
