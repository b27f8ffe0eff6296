//! What one person does with what is there: writing, deleting, discarding, looking at histories, choosing when to sync.

use crate::stage::{Clinic, PATIENTS, Person};
use i_slint_backend_testing::{AccessibleRole, mock_elapsed_time};
use slint::platform::{Key, PointerEventButton};
use slint::{Model, StyledText};
use std::fs;
use std::time::Duration;
use tombolo_client::protocol::schema::Plain;
use tombolo_client::table::Fields;
use tombolo_ui::window::{Browse, Calendar, Conn, Detail, Fault, History, Piece, Report, Settings, Shell, Words};

#[test]
fn a_new_patient_is_made_by_keyboard_and_goes_to_the_server() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.control("n");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    // Nothing is filled in yet: what has to be is said.
    amina.control("s");
    assert!(amina.get::<tombolo_ui::window::Form>().get_faults() > 0);
    assert!(amina.has("Please fill in Name."));
    amina.fill("Name (required)", "Zawadi Kamau");
    amina.fill("Weight (kg)", "6x");
    amina.key(Key::Tab);
    let form = amina.get::<tombolo_ui::window::Form>();
    let weight = form.get_fields().iter().find(|field| field.label == "Weight (kg)").unwrap();
    assert_eq!(weight.wrong.fault, Fault::NotANumber, "said as the field is left");
    amina.fill("Weight (kg)", "61,5");
    // By Tab: past who updated it, to the site, which scrolls into view.
    amina.key(Key::Tab);
    amina.key(Key::Tab);
    amina.key(Key::Return);
    amina.until("the sites are offered", |me| me.has("Kilifi"));
    amina.write("kil");
    amina.key(Key::Return);
    assert!(!amina.get::<Shell>().get_picker_open());
    amina.control("s");
    amina.until("it is saved", |me| !me.get::<Shell>().get_form_open());
    amina.until("it is in the list", |me| me.get::<Browse>().get_total() == 5);
    amina.until("and pending", |me| me.pending() == 1);
    assert_eq!(amina.get::<Detail>().get_title(), "Zawadi Kamau");
    amina.control("r");
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    assert_eq!((amina.get::<Report>().get_failed(), amina.get::<Report>().get_pushed()), (false, 1));
    amina.key(Key::Escape);
    amina.until("nothing is pending", |me| me.pending() == 0);
}

#[test]
fn a_day_is_chosen_from_a_calendar_and_focus_comes_back_to_the_field() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(1);
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    let born = || {
        let form = amina.get::<tombolo_ui::window::Form>();
        form.get_fields().iter().find(|field| field.label == "Date of birth").unwrap().text
    };
    assert_eq!(born(), "1950-05-31");
    amina.click("Choose a day for Date of birth");
    let calendar = amina.get::<Calendar>();
    assert_eq!((calendar.get_title().as_str(), calendar.get_days().row_count()), ("May 1950", 42));
    assert!(amina.has("Wednesday 31 May 1950"));
    for key in [Key::RightArrow, Key::DownArrow, Key::PageUp, Key::UpArrow, Key::LeftArrow, Key::End] {
        amina.key(key);
    }
    // 1 June, 8 June, 8 May, 1 May, 30 April: a Sunday, and the week's last day is the Saturday behind it.
    assert_eq!(calendar.get_title(), "May 1950");
    amina.key(Key::Return);
    assert!(!amina.get::<Shell>().get_calendar_open());
    assert_eq!(born(), "1950-05-06");
    // What is typed goes into the field again.
    amina.rewrite("1960-02-29");
    assert_eq!(born(), "1960-02-29");
    amina.alt(Key::DownArrow);
    assert!(amina.get::<Shell>().get_calendar_open());
    amina.click("Year after");
    assert_eq!(calendar.get_title(), "February 1961");
    let day = amina.find(AccessibleRole::ListItem, "Tuesday 14 February 1961");
    day.mock_single_click(PointerEventButton::Left);
    amina.settle();
    assert_eq!(born(), "1961-02-14");
    amina.click("Choose a day for Date of birth");
    amina.key(Key::RightArrow);
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_calendar_open() && amina.get::<Shell>().get_form_open());
    assert_eq!(born(), "1961-02-14", "nothing was chosen");
    amina.rewrite("1962-01-01");
    assert_eq!(born(), "1962-01-01", "focus came back");
}

#[test]
fn whoever_may_only_read_is_told_so_and_is_offered_no_changes() {
    const OFFERED: [&str; 3] = ["Edit", "Delete this entry", "Import a CSV file"];
    const SAID: &str = "You may read these, not change them.";
    let clinic = Clinic::open();
    let visitor = clinic.person("visitor");
    visitor.ready().choose(0);
    assert!(visitor.has(SAID));
    for label in OFFERED.iter().chain(&["New entry in Patients"]) {
        assert!(!visitor.has(label), "{label}");
    }
    // Nor by keys, nor by what else opens a form.
    for key in ["n", "e"] {
        visitor.control(key);
    }
    visitor.get::<Browse>().invoke_edit_record();
    visitor.get::<Browse>().invoke_delete_record();
    visitor.get::<Shell>().invoke_open_import();
    visitor.settle();
    let shell = visitor.get::<Shell>();
    assert!(!shell.get_form_open() && !shell.get_delete_open() && !shell.get_import_open());
    // An editor changes patients, and the list of sites is the administrator's.
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    assert!(!amina.has(SAID) && OFFERED.iter().all(|label| amina.has(label)));
    amina.table("Sites");
    amina.until("the site is listed", |me| me.get::<Browse>().get_total() == 1);
    assert!(amina.has(SAID) && !amina.has("New entry in Sites"));
}

#[test]
fn marked_words_are_never_taken_for_markup() {
    let clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    let words = amina.get::<Words>();
    for text in ["*two* tablets", "<u>not</u> <b", "1. first\n# second\n\n    third", "~~a~~ [b](c) \\* &amp;", " around "] {
        let plain = StyledText::from_plain_text(text);
        assert_eq!(words.invoke_marked(StyledText::default(), text.into(), Piece::Same), plain, "{text}");
        let added = words.invoke_marked(plain.clone(), "new".into(), Piece::Added);
        assert_ne!(added, StyledText::from_plain_text(&format!("{text}new")), "{text}: it is marked");
    }
}

#[test]
fn a_form_with_unsaved_changes_does_not_close_by_itself() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_form_open(), "nothing was typed");
    amina.control("e");
    amina.fill("Phone", "5");
    amina.key(Key::Escape);
    assert!(amina.get::<Shell>().get_leave_open() && amina.get::<Shell>().get_form_open());
    amina.click("Go on editing");
    assert!(amina.get::<Shell>().get_form_open());
    amina.key(Key::Escape);
    amina.click("Leave without saving");
    assert!(!amina.get::<Shell>().get_form_open());
    assert_eq!(amina.pending(), 0);
}

#[test]
fn a_discarded_change_can_be_brought_back() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(3);
    amina.edit("Phone", "999");
    amina.until("it is pending", |me| me.pending() == 1);
    let line = || amina.get::<Detail>().get_lines().iter().find(|line| line.label == "Phone").unwrap();
    amina.until("the field is marked", |_| line().pending);
    assert_eq!((line().value.as_str(), line().base.as_str()), ("999", "+254700000003"));
    amina.click("Discard this change of Phone");
    amina.until("nothing is pending", |me| me.pending() == 0);
    assert_eq!(line().value, "+254700000003");
    amina.click("Undo");
    amina.until("it is pending again", |me| me.pending() == 1);
    assert_eq!(line().value, "999");
}

#[test]
fn a_deletion_can_be_undone_until_it_is_pushed() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(3);
    amina.edit("Phone", "999");
    amina.click("Delete this entry");
    amina.click("Delete");
    amina.until("it is gone", |me| me.get::<Browse>().get_total() == 3);
    amina.click("Undo");
    amina.until("it is back", |me| me.get::<Browse>().get_total() == 4);
    amina.choose(3);
    let line = amina.get::<Detail>().get_lines().iter().find(|line| line.label == "Phone").unwrap();
    assert_eq!(line.value, "999", "with what was pending");
}

#[test]
fn a_new_entry_and_all_changes_of_an_entry_are_discarded_where_they_are_shown() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "1");
    amina.edit("Village", "Malindi");
    amina.click("Discard all changes of this entry");
    amina.until("nothing is pending", |me| me.pending() == 0);
    assert_eq!((amina.value("Phone").as_str(), amina.value("Village").as_str()), ("+254700000000", "Mtwapa"));
    amina.control("n");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    amina.fill("Name (required)", "Zawadi Kamau");
    // By Tab past who updated it, to the site, which scrolls into view.
    amina.press(AccessibleRole::TextInput, "Weight (kg)");
    amina.key(Key::Tab);
    amina.key(Key::Tab);
    amina.key(Key::Return);
    amina.until("the sites are offered", |me| me.has("Kilifi"));
    amina.key(Key::Return);
    amina.control("s");
    amina.until("it is in the list", |me| me.get::<Browse>().get_total() == 5 && me.get::<Detail>().get_is_new());
    amina.click("Discard this new entry");
    amina.until("it is gone", |me| me.get::<Browse>().get_total() == 4);
    assert_eq!(amina.pending(), 0);
}

#[test]
fn what_else_was_done_stays_where_a_discard_of_many_is_undone() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    for at in [0, 1] {
        amina.choose(at);
        amina.edit("Phone", "1");
    }
    amina.control("p");
    amina.until("both are shown", |me| me.has("Discard the 2 selected"));
    amina.click("Discard the 2 selected");
    amina.click("Discard");
    amina.until("nothing is pending", |me| me.pending() == 0);
    amina.until("it is told", |me| me.has("2 changes discarded"));
    amina.key(Key::Escape);
    amina.choose(0);
    amina.edit("Phone", "9");
    amina.control("z");
    amina.until("it is said", |me| me.has("Undone, but for 1: something else was done to it meanwhile."));
    amina.until("both are pending", |me| me.pending() == 2);
    assert_eq!(amina.value("Phone"), "9");
    amina.choose(1);
    amina.until("the other one is as it was", |me| me.value("Phone") == "1");
}

#[test]
fn a_refusal_leads_from_the_entry_to_the_reason() {
    let clinic = Clinic::open();
    clinic.visitor_writes();
    let visitor = clinic.person_at(Some(clinic.folder_of("visitor")), "visitor");
    visitor.ready().choose(0);
    assert!(visitor.has("The server did not accept your change. It is kept here."));
    visitor.click("See why");
    visitor.until("it is said", |me| me.get::<Shell>().get_pending_open());
    let why = "You do not have the right to make this change. Ask for the right and send it again, or discard the change.";
    visitor.until("it is said", |me| me.has(why));
    visitor.click(&format!("Discard the change of {}", PATIENTS[0]));
    visitor.until("nothing waits", |me| me.pending() == 0);
    visitor.key(Key::Escape);
    assert_eq!(visitor.value("Phone"), "+254700000000");
}

#[test]
fn a_reference_is_followed_and_one_comes_back() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.click("Site: Kilifi, open it");
    amina.until("the site is shown", |me| me.get::<Detail>().get_title() == "Kilifi");
    assert_eq!(amina.get::<Browse>().get_table_title(), "Sites");
    amina.click("Back to where you were");
    amina.until("the patient is shown", |me| me.get::<Detail>().get_title() == PATIENTS[0]);
}

#[test]
fn the_history_of_a_row_is_shown_and_kept_for_later() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "321");
    assert!(amina.sync());
    amina.control("h");
    let history = |me: &Person| me.get::<History>().get_lines();
    amina.until("two steps are shown", |me| history(me).row_count() == 2);
    let newest = history(&amina).row_data(0).unwrap();
    assert_eq!((newest.who.as_str(), newest.here, newest.merged), ("amina", true, false));
    let change = newest.lines.iter().next().unwrap();
    assert_eq!((change.before.as_str(), change.after.as_str()), ("+254700000000", "321"));
    assert_eq!(amina.get::<History>().get_fetched(), "", "it is of now");
    amina.key(Key::Escape);
    clinic.compact();
    amina.control("h");
    amina.until("it is what was last seen", |me| me.get::<History>().get_put_away());
    assert_eq!(history(&amina).row_count(), 2);
    assert!(amina.has("The server has put this history away; this is what was last seen."));
    assert_ne!(amina.get::<History>().get_fetched(), "");
    amina.key(Key::Escape);
    clinic.close();
    amina.until("the server is gone", |me| me.get::<Shell>().get_conn() == Conn::Unreachable);
    amina.control("h");
    amina.until("it is what was last seen", |me| me.get::<History>().get_offline());
    assert_eq!(history(&amina).row_count(), 2);
    assert_ne!(amina.get::<History>().get_fetched(), "");
}

#[test]
fn a_value_before_that_is_not_known_is_not_told_to_have_been_empty() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    clinic.compact();
    amina.edit("Phone", "321");
    assert!(amina.sync());
    amina.control("h");
    amina.until("a step is shown", |me| me.get::<History>().get_lines().row_count() == 1);
    assert!(amina.has("Phone: 321"), "{:?}", amina.get::<History>().get_lines().row_data(0));
}

#[test]
fn the_activity_says_who_did_what_to_how_many_and_what_was_last_seen_without_a_network() {
    let mut clinic = Clinic::open();
    let (amina, brian) = (clinic.person("amina"), clinic.person("brian"));
    let opened = |me: &Person, button: &str| {
        me.click(button);
        me.until("it is told", |me| !me.get::<History>().get_activity_loading());
        let history = me.get::<History>();
        let lines: Vec<_> = history.get_activity().iter().collect();
        me.key(Key::Escape);
        (lines, history.get_activity_offline(), history.get_activity_fetched())
    };
    brian.ready();
    amina.ready().choose(0);
    amina.edit("Phone", "321");
    amina.choose(1);
    amina.edit("Phone", "322");
    assert!(amina.sync());
    amina.click("Delete this entry");
    amina.click("Delete");
    assert!(amina.sync());
    let (lines, offline, fetched) = opened(&amina, "Activity");
    // What became of the same row later takes nothing away, and a deletion is told.
    assert_eq!((lines[0].who.as_str(), lines[0].what.as_str()), ("amina", "Patients: 2 changed, 1 deleted"));
    assert_eq!((lines[0].here, offline, fetched.as_str()), (true, false, ""));
    let eldest = || amina.get::<History>().get_activity().iter().last().map(|deed| deed.who);
    assert_eq!(eldest().as_deref(), Some("the server's operator"));
    brian.until("he has heard of it", |me| me.get::<Browse>().get_total() == 3);
    brian.choose(0);
    brian.control("h");
    brian.until("the history is there", |me| me.get::<History>().get_lines().row_count() > 0);
    let newest = brian.get::<History>().get_lines().row_data(0).unwrap();
    assert_eq!((newest.who.as_str(), newest.device.as_str(), newest.here), ("amina", "amina's tablet", false));
    brian.key(Key::Escape);
    clinic.close();
    amina.until("the link is gone", |me| me.get::<Shell>().get_conn() != Conn::Online);
    let (last_seen, offline, fetched) = opened(&amina, "Activity");
    assert_eq!((last_seen, offline, fetched.is_empty()), (lines, true, false));
    // Who never asked is told what this device holds.
    brian.until("the link is gone", |me| me.get::<Shell>().get_conn() != Conn::Online);
    let (held, offline, fetched) = opened(&brian, "Activity");
    assert_eq!((held[0].device.as_str(), offline, fetched.as_str()), ("", true, ""));
    assert!(held.iter().any(|deed| deed.what == "Patients: 1"), "{held:?}");
    amina.speak("Language", Key::DownArrow);
    opened(&amina, "Activité");
    assert_eq!(eldest().as_deref(), Some("l’exploitant du serveur"));
}

#[test]
fn a_deletion_is_undone_by_key_also_when_its_message_is_gone() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(1);
    amina.click("Delete this entry");
    amina.click("Delete");
    amina.until("it is gone", |me| me.get::<Browse>().get_total() == 3);
    mock_elapsed_time(Duration::from_secs(9));
    amina.until("so is the message", |me| me.get::<Shell>().get_toasts().row_count() == 0);
    amina.control("z");
    amina.until("it is back", |me| me.get::<Browse>().get_total() == 4);
    assert_eq!(amina.pending(), 0);
}

#[test]
fn only_what_is_chosen_is_pushed() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "1");
    amina.choose(1);
    amina.edit("Phone", "2");
    amina.until("two are pending", |me| me.pending() == 2);
    amina.control("p");
    let tick = format!("Push {}", PATIENTS[0]);
    amina.until("both are shown", |me| me.has(&tick));
    amina.press(AccessibleRole::Checkbox, &tick);
    amina.click("Push 1 selected");
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    assert_eq!(amina.get::<Report>().get_pushed(), 1);
    amina.key(Key::Escape);
    amina.until("one is left", |me| me.pending() == 1);
    // Nor does a key push what was left out, while the list of it is open.
    amina.press(AccessibleRole::Checkbox, &tick);
    amina.press(AccessibleRole::Checkbox, &tick);
    amina.control("r");
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    assert_eq!((amina.get::<Report>().get_pushed(), amina.pending()), (0, 1));
    amina.key(Key::Escape);
    amina.key(Key::Escape);
    assert!(amina.sync());
    assert_eq!(amina.pending(), 0);
}

#[test]
fn words_are_said_in_the_language_that_was_chosen() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let english = amina.get::<Words>().invoke_yes();
    amina.speak("Language", Key::DownArrow);
    let french = amina.get::<Words>().invoke_yes();
    assert_eq!((english.as_str(), french.as_str()), ("Yes", "Oui"));
    amina.speak("Langue", Key::UpArrow);
    assert_eq!(amina.get::<Words>().invoke_yes(), "Yes");
}

#[test]
fn a_number_beside_a_warning_counts_what_needs_review_and_not_all_that_waits() {
    let clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    let words = amina.get::<Words>();
    let said = [(2, 1), (2, 0), (0, 0)].map(|(pending, review)| words.invoke_waiting(pending, review));
    assert_eq!(said, ["1", "2", ""]);
}

#[test]
fn what_a_push_will_cost_is_foretold() {
    let clinic = Clinic::open();
    let client = clinic.client("amina");
    let patients = client.table::<Fields>("patients").unwrap();
    let row = patients.list().unwrap().remove(0);
    for count in [1, 500] {
        for at in 0..count {
            let value = Fields::from([
                ("name".into(), Plain::Text(format!("Patient {at} of {count}"))),
                ("phone".into(), Plain::Text(format!("+2547{:08}", at * 7919))),
                ("site".into(), row.value["site"].clone()),
            ]);
            patients.create(&value).unwrap();
        }
        let ready = client.pending().unwrap().iter().map(|view| view.key).collect();
        let estimate = client.estimate(ready).unwrap();
        assert_eq!(estimate.changes, count);
        let done = client.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
        // The handshake comes on top of it.
        let (least, most) = (estimate.bytes * 9 / 10, estimate.bytes * 11 / 10 + 700);
        assert!((least..=most).contains(&done.bytes_up), "{count}: {} foretold, {} sent", estimate.bytes, done.bytes_up);
    }
    assert_eq!(client.estimate(Default::default()).unwrap(), Default::default());
}

#[test]
fn the_mode_is_chosen_from_a_menu_in_the_title_bar_by_mouse_and_by_key() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let shell = amina.get::<Shell>();
    let item = |label: &str| amina.find(AccessibleRole::ListItem, label);
    amina.click("When to sync: Manual");
    assert_eq!(item("Manual").accessible_item_selected(), Some(true));
    item("Save mobile data").mock_single_click(PointerEventButton::Left);
    amina.settle();
    assert_eq!((shell.get_mode(), shell.get_modes_open()), (1, false));
    amina.find(AccessibleRole::Button, "When to sync: Save mobile data");
    // The button has the focus again. Going through the menu chooses nothing.
    amina.key(Key::Return);
    assert!(shell.get_modes_open());
    for key in [Key::DownArrow, Key::DownArrow, Key::Home, Key::UpArrow, Key::End] {
        amina.key(key);
    }
    assert_eq!((shell.get_mode(), item("Save mobile data").accessible_item_selected()), (1, Some(true)));
    amina.key(Key::Escape);
    assert_eq!((shell.get_mode(), shell.get_modes_open()), (1, false));
    amina.key(Key::Space);
    amina.key(Key::DownArrow);
    amina.key(Key::Return);
    assert_eq!((shell.get_mode(), shell.get_modes_open()), (2, false));
    let kept = clinic.folder.path().join("amina-settings/desktop.json");
    amina.until("it is kept", |_| fs::read_to_string(&kept).is_ok_and(|kept| kept.contains("\"mode\": 1")));
    // A click beside it closes it; the keys go to its button, and from the button on.
    amina.click("When to sync: Automatic");
    assert_eq!(amina.find(AccessibleRole::Button, "When to sync: Automatic").accessible_expanded(), Some(true));
    amina.find(AccessibleRole::List, "Patients").mock_single_click(PointerEventButton::Left);
    amina.settle();
    assert!(!shell.get_modes_open() && amina.get::<Browse>().get_selected() < 0);
    amina.key(Key::Tab);
    amina.key(Key::Return);
    assert!(shell.get_pending_open(), "the next button is the one of pending changes");
}

#[test]
fn what_others_wrote_is_read_with_its_licences() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.control(",");
    amina.click("About Tombolo");
    amina.click("Licences of the parts");
    let lines = || amina.get::<Settings>().get_licence_lines().row_count();
    assert!(lines() > 1000 && amina.has("■ Inter typeface · OFL-1.1"));
    amina.key(Key::End);
    assert!(!amina.has("■ Inter typeface · OFL-1.1"), "the keys turn the pages");
    amina.key(Key::Home);
    assert!(amina.has("■ Inter typeface · OFL-1.1"));
    amina.key(Key::Escape);
    assert_eq!((lines(), amina.get::<Shell>().get_about_open()), (0, true));
    amina.key(Key::Escape);
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_settings_open(), "focus came back each time");
}
