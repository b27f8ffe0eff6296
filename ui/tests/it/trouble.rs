//! What may go wrong under a window, and what the person is told.

use crate::stage::{Clinic, PASSWORD, PATIENTS, Person};
use i_slint_backend_testing::{AccessibleLiveness, AccessibleRole, ElementHandle, ElementQuery};
use slint::platform::{Key, PointerEventButton, WindowEvent};
use slint::{ComponentHandle, Model};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use tombolo_client::protocol::schema::CLINIC;
use tombolo_ui::app::Options;
use tombolo_ui::presenters::values::Language;
use tombolo_ui::window::{
    Browse, Conflict, ConflictLine, Conn, Detail, Form, Pending, Report, Settings, Shell, SignIn, SignInFault, SyncFault,
};

#[test]
fn a_failed_sync_never_looks_like_success_and_keeps_everything() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "555");
    clinic.close();
    amina.control("r");
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    let report = amina.get::<Report>();
    assert_eq!((report.get_failed(), report.get_fault(), report.get_waiting()), (true, SyncFault::Unreachable, 1));
    assert!(amina.has("The sync did not finish"));
    amina.key(Key::Escape);
    assert_eq!(amina.pending(), 1);
}

#[cfg(unix)]
#[test]
fn settings_on_a_disk_that_hangs_keep_no_window_waiting_and_count_when_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let (data, kept) = (folder.path().join("settings"), folder.path().join("settings/desktop.json"));
    fs::create_dir(&data).unwrap();
    // Whoever reads it waits until somebody writes.
    assert!(std::process::Command::new("mkfifo").arg(&kept).status().unwrap().success());
    let amina = Person::of(Options { data: Some(data), language: Some(Language::English), ..Options::default() });
    assert!(amina.ui().window().is_visible() && !amina.get::<SignIn>().get_shown(), "nothing is asked before it is known");
    fs::write(&kept, r#"{"language":"Swahili","name":"amina"}"#).unwrap();
    amina.until("it goes on", |me| me.get::<SignIn>().get_shown());
    assert_eq!(amina.get::<SignIn>().get_name(), "amina");
    assert!(amina.has("Ingia"), "{:#?}", amina.labels());
}

#[test]
fn a_sign_in_that_the_server_has_ended_blocks_no_work_and_is_asked_for_when_syncing() {
    let clinic = Clinic::open();
    let device = clinic.client("amina").account().unwrap().unwrap().device;
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.ready().choose(0);
    clinic.revoke(device);
    amina.until("it is said", |me| me.get::<Shell>().get_conn() == Conn::NeedsSignIn);
    assert!(!amina.get::<SignIn>().get_shown(), "nobody is interrupted");
    amina.edit("Phone", "555");
    amina.until("the edit is kept", |me| me.pending() == 1);
    amina.control("r");
    amina.until("it is said", |me| me.get::<Shell>().get_report_open());
    assert_eq!(amina.get::<Report>().get_fault(), SyncFault::NeedsSignIn);
    let said = "The sync did not finish. You need to sign in again before syncing. \
        Your change is kept on this device and goes out with the next sync.";
    assert!(amina.has(said));
    amina.key(Key::Escape);
    amina.click("Sign in");
    amina.find(AccessibleRole::TextInput, "Password").mock_single_click(PointerEventButton::Left);
    amina.write(PASSWORD);
    amina.key(Key::Return);
    amina.until("signed in", |me| !me.get::<SignIn>().get_shown());
    assert!(amina.sync());
    amina.until("the edit has gone", |me| me.pending() == 0);
}

#[test]
fn a_store_that_is_open_elsewhere_is_said_to_be_and_opens_when_it_is_free() {
    let clinic = Clinic::open();
    let first = clinic.person("amina");
    first.ready();
    let second = Person::of(clinic.options(Some(clinic.folder_of("amina")), "amina-2"));
    second.until("it is said", |me| me.get::<Shell>().get_conn() == Conn::StoreLocked);
    assert!(second.has("Quit"));
    // What lies below is out of reach, by keys too.
    second.control(",");
    assert!(!second.get::<Shell>().get_settings_open());
    second.click("Show that window");
    second.until("it goes, as the other one comes", |me| !me.ui().window().is_visible());
    second.ui().show().unwrap();
    drop(first);
    second.click("Try again");
    second.ready();
}

/// More patients, by a file, all pending.
fn many(clinic: &Clinic, person: &Person, count: usize) {
    let file = clinic.folder.path().join("many.csv");
    let mut csv = "name,site\n".to_owned();
    (0..count).for_each(|at| writeln!(csv, "Patient {at:05},Kilifi").unwrap());
    fs::write(&file, csv).unwrap();
    person.look_at(&file);
    let before = person.pending();
    person.click("Import");
    person.until("they are pending", |me| me.pending() - before == i32::try_from(count).unwrap());
}

/// Sends many, until the server has some of them.
fn in_the_middle_of_a_sync(clinic: &Clinic, person: &Person) {
    many(clinic, person, 3_000);
    person.control("r");
    person.until("some are there", |_| clinic.patients().lines().count() > 300);
    assert!(clinic.patients().lines().count() < 3_000, "it is the middle");
}

#[test]
fn a_window_closed_in_the_middle_of_a_sync_loses_and_doubles_nothing() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    in_the_middle_of_a_sync(&clinic, &amina);
    drop(amina);
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.until("everything is listed", |me| me.get::<Browse>().get_total() == 3_004);
    assert!(amina.sync());
    assert_eq!(amina.pending(), 0);
    assert_eq!(clinic.patients().lines().count(), 3_005);
    clinic.sound();
}

#[test]
fn a_sync_that_is_stopped_says_so_and_keeps_everything() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "555");
    // Somebody takes the call, and says nothing.
    let silent = clinic.falls_silent();
    amina.control("r");
    amina.until("it is under way", |me| me.get::<Shell>().get_conn() == Conn::Syncing);
    assert!(amina.has("Connection: Syncing…") && amina.has("Sync progress"));
    amina.click("Stop the sync");
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    let report = amina.get::<Report>();
    assert_eq!((report.get_failed(), report.get_fault(), report.get_waiting()), (true, SyncFault::Stopped, 1));
    let said = "The sync did not finish. You stopped the sync. What was not sent yet goes out with the next one. \
        Your change is kept on this device and goes out with the next sync.";
    assert!(amina.has(said));
    amina.key(Key::Escape);
    assert_eq!(amina.pending(), 1);
    drop(silent);
    clinic.new_schema(CLINIC);
    assert!(amina.sync());
    assert_eq!(amina.pending(), 0);
    clinic.sound();
}

#[test]
fn how_a_sync_ended_is_said_aloud_also_where_it_went_well() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    for (well, beginning, loud) in
        [(true, "Synced. ", AccessibleLiveness::Polite), (false, "The sync did not finish. ", AccessibleLiveness::Assertive)]
    {
        if !well {
            clinic.close();
        }
        amina.control("r");
        amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
        let aloud = ElementQuery::from_root(amina.ui())
            .match_predicate(move |element| element.accessible_label().is_some_and(|label| label.starts_with(beginning)))
            .find_first();
        assert_eq!(aloud.and_then(|element| element.accessible_live_region()), Some(loud));
        amina.key(Key::Escape);
    }
}

#[test]
fn a_sync_that_sends_says_how_far_it_is_and_never_goes_back() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    many(&clinic, &amina, 3_000);
    let said = std::cell::RefCell::new(Vec::new());
    amina.control("r");
    amina.until("the sync is over", |me| {
        said.borrow_mut().push(me.get::<Shell>().get_progress());
        me.get::<Shell>().get_report_open()
    });
    let said = said.into_inner();
    assert!(said.is_sorted(), "{said:?}");
    assert!(said.iter().any(|percent| (1..99).contains(percent)), "{said:?}");
}

#[test]
fn a_sync_that_breaks_says_what_went_out_before_that() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    in_the_middle_of_a_sync(&clinic, &amina);
    clinic.close();
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    let report = amina.get::<Report>();
    assert!(report.get_failed() && report.get_pushed() > 0);
    assert_eq!(report.get_pushed() + report.get_waiting(), 3_000);
    let pushed = Language::English.count(usize::try_from(report.get_pushed()).unwrap());
    assert!(amina.has(&format!("{pushed} changes had gone out before that.")));
    let bytes = format!("{} sent, {} received", report.get_up(), report.get_down());
    assert!(amina.has(&bytes), "{bytes}");
}

#[test]
fn a_server_that_goes_in_the_middle_of_a_sync_and_comes_back_has_everything_once() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    in_the_middle_of_a_sync(&clinic, &amina);
    clinic.new_schema(CLINIC);
    amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
    amina.key(Key::Escape);
    assert!(amina.sync());
    assert_eq!(amina.pending(), 0);
    assert_eq!(clinic.patients().lines().count(), 3_005);
    clinic.sound();
}

#[test]
fn a_sign_in_without_a_place_for_data_ends_and_says_why() {
    let clinic = Clinic::open();
    let mut options = clinic.options(None, "amina");
    let file = clinic.folder.path().join("a file");
    fs::write(&file, "").unwrap();
    options.data = Some(file.join("data"));
    let amina = Person::of(options);
    let sign_in = amina.get::<SignIn>();
    sign_in.set_address(clinic.address().into());
    sign_in.set_name("amina".into());
    sign_in.set_password(PASSWORD.into());
    amina.click("Sign in");
    amina.until("it is over", |me| !me.get::<SignIn>().get_busy());
    assert_eq!(sign_in.get_fault(), SignInFault::NoStore);
    assert!(sign_in.get_shown());
    amina.click("Sign in");
    amina
        .until("so it is again", |me| !me.get::<SignIn>().get_busy() && me.get::<SignIn>().get_fault() == SignInFault::NoStore);
}

#[test]
fn what_was_refused_can_be_sent_again_once_the_reason_is_gone() {
    let clinic = Clinic::open();
    clinic.visitor_writes();
    let visitor = clinic.person_at(Some(clinic.folder_of("visitor")), "visitor");
    visitor.ready();
    visitor.control("p");
    visitor.until("it waits", |me| me.get::<Pending>().get_review_total() == 1);
    assert!(
        visitor
            .has("You do not have the right to make this change. Ask for the right and send it again, or discard the change.")
    );
    visitor
        .find(AccessibleRole::Button, &format!("Send the change of {} again", PATIENTS[0]))
        .mock_single_click(PointerEventButton::Left);
    visitor.until("it is ready", |me| me.get::<Pending>().get_ready_total() == 1);
    assert_eq!(visitor.get::<Pending>().get_review_total(), 0);
    // The focus went on to the drawer.
    visitor.key(Key::Escape);
    assert!(!visitor.get::<Shell>().get_pending_open());
}

#[test]
fn a_form_over_an_entry_that_leaves_says_so_and_keeps_what_was_typed_in_sight() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    amina.find(AccessibleRole::TextInput, "Phone").mock_single_click(PointerEventButton::Left);
    amina.settle();
    amina.rewrite("777");
    clinic.takes_every_place_from("amina");
    amina.until("it is said", |me| me.get::<Form>().get_left());
    assert!(
        amina.has(
            "This entry is not on this device any more: you do not see its place now. What you typed cannot be saved here."
        )
    );
    assert!(amina.has("Copy what you want to keep."));
    amina.control("s");
    assert_eq!(amina.find(AccessibleRole::Button, "Save").accessible_enabled(), Some(false));
    assert_eq!(amina.find(AccessibleRole::TextInput, "Phone").accessible_value().unwrap(), "777", "it can be copied");
    // The keys go round without the button that cannot be pressed, both ways.
    for key in [Key::Tab, Key::Backtab] {
        (0..40).for_each(|_| amina.key(key));
        amina.key(Key::Escape);
        amina.click("Go on editing");
    }
    amina.click("Cancel");
    amina.click("Leave without saving");
    let detail = amina.get::<Detail>();
    assert_eq!((detail.get_title().as_str(), detail.get_left()), (PATIENTS[0], true), "it is called as it was");
    assert!(amina.has("Not on this device any more") && !amina.has("Phone: empty"));
    assert_eq!(amina.pending(), 0);
}

#[test]
fn a_window_with_something_typed_asks_before_it_closes() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open() && me.has("Phone"));
    amina.find(AccessibleRole::TextInput, "Phone").mock_single_click(PointerEventButton::Left);
    amina.rewrite("558");
    amina.ui().window().dispatch_event(WindowEvent::CloseRequested);
    amina.settle();
    assert!(amina.ui().window().is_visible());
    assert!(amina.has("Leave without saving?"));
    amina.click("Go on editing");
    assert!(amina.get::<Shell>().get_form_open());
    amina.ui().window().dispatch_event(WindowEvent::CloseRequested);
    amina.settle();
    amina.click("Leave without saving");
    assert!(!amina.ui().window().is_visible(), "whoever says so is not asked to close it once more");
}

#[test]
fn a_window_with_a_decision_that_is_begun_asks_before_it_closes() {
    let clinic = Clinic::open();
    clinic.two_write_what_can_be_chosen();
    let amina = clinic.person("amina");
    amina.look_at_conflict();
    amina.click("Another value for Date of birth");
    amina.rewrite("1953-04-05");
    amina.click("Decide later");
    assert!(!amina.get::<Shell>().get_conflict_open());
    amina.ui().window().dispatch_event(WindowEvent::CloseRequested);
    amina.settle();
    assert!(amina.ui().window().is_visible() && amina.has("What you chose in a conflict is not applied yet."));
    amina.click("Go on editing");
    amina.control("d");
    amina.until("the dialog is open again", |me| me.get::<Shell>().get_conflict_open());
    let typed = |line: ConflictLine| line.other == "1953-04-05";
    assert!(amina.get::<Conflict>().get_lines().iter().any(typed), "what was typed is there");
    amina.control(Key::Return);
    amina.until("it is decided", |me| me.get::<Shell>().get_review() == 0);
    amina.ui().window().dispatch_event(WindowEvent::CloseRequested);
    assert!(!amina.ui().window().is_visible(), "nothing is left to ask about");
}

#[test]
fn whoever_types_while_the_form_gets_another_field_goes_on_in_the_same_one() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.click("When to sync: Manual");
    amina.press(AccessibleRole::ListItem, "Automatic");
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open() && me.has("Phone"));
    amina.find(AccessibleRole::TextInput, "Phone").mock_single_click(PointerEventButton::Left);
    amina.rewrite("55");
    // Between the two texts that are there.
    clinic.new_schema(&CLINIC.replacen("[[table.field]]\nname = \"phone\"", "[[table.field]]\nname = \"nickname\"\ntag = 77\nlabel = \"Nickname\"\nkind = \"text\"\n\n[[table.field]]\nname = \"phone\"", 1));
    amina.until("the field is there", |me| me.has("Nickname"));
    amina.write("9");
    let form = amina.get::<Form>();
    let text = |label: &str| form.get_fields().iter().find(|field| field.label == label).unwrap().text;
    assert_eq!((text("Phone").as_str(), text("Nickname").as_str()), ("559", ""));
}

#[test]
fn signing_out_without_a_network_exports_and_then_lets_go() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "559");
    clinic.close();
    let out = clinic.folder.path().join("out");
    amina.control(",");
    amina.fill("Folder to export to", out.to_str().unwrap());
    amina.click("Sign out");
    amina.click("Export as CSV");
    amina.until("it is asked again", |me| me.get::<Shell>().get_sign_out_open());
    assert!(out.join("patients.csv").exists());
    assert!(amina.has("Exported. 1 change stays on this device too, and goes out once you have signed in again."));
    // The one in the question, which lies over the settings.
    let sign_out = ElementHandle::find_by_accessible_label(amina.ui(), "Sign out").last().unwrap();
    sign_out.mock_single_click(PointerEventButton::Left);
    amina.until("it is signed out", |me| me.get::<SignIn>().get_shown());
    assert_eq!(amina.pending(), 1);
    assert!(amina.get::<SignIn>().get_hides(), "what is there is not shown behind the page");
    // Whoever signs in here next reads that something of hers stays.
    let stays = "1 change of amina stays on this device, and goes out once they have signed in again.";
    assert!(!amina.has(stays));
    amina.fill("Your name", "brian");
    assert!(amina.has(stays));
}

#[test]
fn what_a_server_lost_that_was_put_back_is_told_and_goes_again_with_the_next_sync() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    clinic.keep_a_copy();
    amina.edit("Phone", "777");
    assert!(amina.sync());
    assert_eq!(amina.pending(), 0);
    clinic.put_back();
    assert!(!clinic.patients().contains("777"));
    amina.until("it is told", |me| me.has("The server was put back to an earlier state. 1 change is offered again."));
    amina.until("it is pending again", |me| me.pending() == 1);
    assert_eq!(amina.value("Phone"), "777");
    assert!(amina.sync());
    assert!(clinic.patients().contains("777"));
    clinic.sound();
}

#[test]
fn ten_thousand_pending_changes_are_counted_and_some_of_them_shown() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    many(&clinic, &amina, 10_000);
    amina.control("p");
    amina.until("some are shown", |me| me.get::<Pending>().get_ready().row_count() == 100);
    assert_eq!(amina.get::<Pending>().get_ready_total(), 10_000);
    assert!(amina.has("Push 10,000 changes"));
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_pending_open());
}

#[test]
fn every_one_of_many_pending_changes_is_come_to_ticked_and_discarded() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    many(&clinic, &amina, 230);
    amina.control("p");
    let pending = || amina.get::<Pending>();
    let page = |what: &str, passed: i32, shown: usize| {
        amina.until(what, |me| {
            let pending = me.get::<Pending>();
            (pending.get_going_passed(), pending.get_ready().row_count()) == (passed, shown)
        });
    };
    page("the first are shown", 0, 100);
    amina.click("Next changes: Ready to push");
    page("the mouse turns the page", 100, 100);
    assert!(amina.has("101 to 200 of 230"));
    amina.key(Key::Return);
    page("and a key", 200, 30);
    // There is nothing behind these; the focus is on the way back.
    amina.key(Key::Space);
    page("the page before", 100, 100);
    amina.key(Key::Return);
    page("the first page", 0, 100);
    amina.key(Key::Return);
    page("on again", 100, 100);
    amina.key(Key::Return);
    page("the last page", 200, 30);
    // All and none are those of every page.
    amina.click("Choose none");
    assert_eq!(pending().get_selected(), 0);
    let first = pending().get_ready().row_data(0).unwrap().title;
    let tick = || amina.press(AccessibleRole::Checkbox, &format!("Push {first}"));
    tick();
    assert!(amina.has("Push 1 selected"));
    amina.click("Choose all");
    assert_eq!(pending().get_selected(), 230);
    tick();
    assert_eq!(pending().get_selected(), 229);
    amina.click(&format!("Discard the change of {first}"));
    page("it is discarded, and the others stay", 200, 29);
    assert_eq!((pending().get_ready_total(), pending().get_selected()), (229, 229));
    // At the end of a page one turns it too, and reads the next one from its top.
    amina.click("Previous changes: Ready to push");
    page("back", 100, 100);
    let top_is_seen = || amina.has(&format!("Push {}", pending().get_ready().row_data(0).unwrap().title));
    assert!(top_is_seen());
    let position = slint::LogicalPosition::new(1000.0, 400.0);
    amina.ui().window().dispatch_event(WindowEvent::PointerScrolled { position, delta_x: 0.0, delta_y: -100_000.0 });
    amina.settle();
    assert!(!top_is_seen(), "scrolled to the end");
    let next = ElementHandle::find_by_accessible_label(amina.ui(), "Next changes: Ready to push").last().unwrap();
    next.mock_single_click(PointerEventButton::Left);
    page("turned at the end", 200, 29);
    assert!(top_is_seen());
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_pending_open());
    amina.control("p");
    page("whoever looks again begins at the top", 0, 100);
    // All that are chosen at once, but for one; and back again.
    let kept = pending().get_ready().row_data(0).unwrap().title;
    amina.press(AccessibleRole::Checkbox, &format!("Push {kept}"));
    amina.click("Discard the 228 selected");
    amina.click("Keep");
    assert_eq!(pending().get_ready_total(), 229);
    amina.click("Discard the 228 selected");
    amina.click("Discard");
    page("one is left", 0, 1);
    amina.until("it is told", |me| me.has("228 changes discarded"));
    assert!(amina.has(&format!("Push {kept}")));
    amina.until("they are gone from the list", |me| me.get::<Browse>().get_of() == 5);
    amina.control("z");
    page("all are back", 0, 100);
    assert_eq!(pending().get_ready_total(), 229);
}

#[test]
fn how_long_a_push_takes_is_said_once_the_connection_was_measured() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    let foretold = |phone: &str| {
        amina.edit("Phone", phone);
        amina.control("p");
        amina.until("the bytes are known", |me| {
            let pending = me.get::<Pending>();
            me.pending() == 1 && pending.get_ready_total() == 1 && !pending.get_bytes().is_empty()
        });
        let seconds = amina.get::<Pending>().get_seconds();
        amina.key(Key::Escape);
        seconds
    };
    assert_eq!(foretold("1"), "", "so little came at first that nobody knows how quickly it goes");
    many(&clinic, &amina, 300);
    assert!(amina.sync());
    amina.until("nothing is pending", |me| me.pending() == 0);
    assert!(foretold("2").ends_with(" s"));
}

#[test]
fn what_is_wrong_with_the_data_is_said_in_the_language_of_the_window() {
    let clinic = Clinic::open();
    let store = clinic.folder_of("broken");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join(tombolo_client::paths::STORE_FILE), b"this is no store").unwrap();
    let mut options = clinic.options(Some(store), "broken");
    options.language = Some(Language::French);
    let person = Person::of(options);
    person.until("it is said", |me| me.get::<Shell>().get_conn() == Conn::StoreFailed);
    let why = person.get::<Shell>().get_conn_why();
    assert!(why.starts_with("Le fichier de données est endommagé") && why.contains("(Pour la personne qui vous aide"), "{why}");
}

#[test]
fn a_damaged_store_is_put_aside_whole_and_work_goes_on_with_another() {
    let clinic = Clinic::open();
    let folder = clinic.signed_in("amina");
    let file = folder.join(tombolo_client::paths::STORE_FILE);
    fs::write(&file, b"this is no store any more").unwrap();
    let amina = clinic.person_at(Some(folder.clone()), "amina");
    amina.until("it is said", |me| me.get::<Shell>().get_conn() == Conn::StoreFailed);
    amina.control("p");
    assert!(!amina.has("Nothing waits here. Everything is on the server."));
    assert!(amina.has("The data on this device cannot be opened, so that nobody knows what waits."));
    amina.key(Key::Escape);
    amina.click("Begin anew…");
    amina.click("Leave it");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    amina.click("Begin anew…");
    amina.click("Put it aside and sign in");
    amina.until("she can sign in", |me| me.get::<SignIn>().get_shown());
    let aside = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(".aside"));
    assert_eq!(fs::read(aside.unwrap()).unwrap(), b"this is no store any more");
    amina.fill("Server address", &clinic.address());
    amina.fill("Your name", "amina");
    amina.fill("Password", PASSWORD);
    amina.key(Key::Return);
    amina.until("she is signed in", |me| !me.get::<SignIn>().get_shown());
    amina.ready();
    // Somebody else who signs in behind that gets a store of their own, and not the one that was begun anew for her.
    drop(amina);
    fs::write(&file, b"nor is this").unwrap();
    let brian = clinic.person_at(None, "amina");
    brian.until("it is said", |me| me.get::<Shell>().get_conn() == Conn::StoreFailed);
    brian.click("Begin anew…");
    brian.click("Put it aside and sign in");
    brian.until("he can sign in", |me| me.get::<SignIn>().get_shown());
    brian.fill("Your name", "brian");
    brian.fill("Password", PASSWORD);
    brian.key(Key::Return);
    brian.until("he is signed in", |me| !me.get::<SignIn>().get_shown());
    brian.ready();
    let hers = tombolo_client::Client::open(&file).unwrap();
    assert!(hers.account().unwrap().is_none(), "hers waits for her");
}

#[test]
fn a_damaged_store_of_whoever_signs_in_is_put_aside_and_the_sign_in_goes_on() {
    let clinic = Clinic::open();
    let window = clinic.person_at(None, "shared");
    let data = clinic.folder.path().join("shared-settings");
    let damaged = |name: &str| {
        let folder = tombolo_client::paths::store_folder(&data, &clinic.address().parse().unwrap(), name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(tombolo_client::paths::STORE_FILE), name).unwrap();
        folder
    };
    let signs_in = |name: &str| {
        window.fill("Server address", &clinic.address());
        window.fill("Your name", name);
        window.fill("Password", PASSWORD);
        window.key(Key::Return);
    };
    let begins_anew = |folder: &Path| {
        window.until("it is said", |me| me.get::<SignIn>().get_fault() == SignInFault::NoStore);
        window.click("Begin anew…");
        window.key(Key::Escape);
        assert!(window.get::<SignIn>().get_shown() && fs::read_dir(folder).unwrap().count() == 1);
        // The keys are in the page again, and not below it.
        window.rewrite("river stone 43");
        assert_eq!(window.get::<SignIn>().get_password(), "river stone 43");
        window.rewrite(PASSWORD);
        window.click("Begin anew…");
        window.click("Put it aside and sign in");
        window.until("the sign-in has gone on", |me| !me.get::<SignIn>().get_shown());
        window.ready();
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|end| end == "aside")).unwrap()
    };
    let folder = damaged("amina");
    signs_in("amina");
    assert_eq!(fs::read_to_string(begins_anew(&folder)).unwrap(), "amina");
    // Behind somebody who has signed out.
    window.get::<Settings>().invoke_sign_out_anyway();
    window.until("she is signed out", |me| me.get::<SignIn>().get_shown());
    let folder = damaged("brian");
    signs_in("brian");
    window.until("it is said", |me| me.get::<SignIn>().get_fault() == SignInFault::NoStore);
    // Who signs in as somebody else then is not asked about it.
    window.fill("Your name", "amina");
    window.fill("Password", "wrong");
    window.key(Key::Return);
    window.until("it is said", |me| me.get::<SignIn>().get_fault() == SignInFault::WrongPassword);
    assert!(!window.has("Begin anew…"));
    signs_in("brian");
    assert_eq!(fs::read_to_string(begins_anew(&folder)).unwrap(), "brian");
    assert_eq!(window.get::<Shell>().get_user(), "brian");
}

#[test]
fn what_answers_in_place_of_the_server_is_said_and_everything_is_kept() {
    let mut clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "555");
    let said = |conn: Conn, fault: SyncFault, about: &str| {
        amina.control("r");
        amina.until("the sync is over", |me| me.get::<Shell>().get_report_open());
        assert_eq!(amina.get::<Report>().get_fault(), fault);
        let kept = "Your change is kept on this device and goes out with the next sync.";
        let words = amina.labels().into_iter().map(|(_, label)| label);
        assert!(words.clone().any(|words| words.contains(about) && words.contains(kept)), "{:?}", words.collect::<Vec<_>>());
        amina.key(Key::Escape);
        amina.until("the title bar says it", |me| me.get::<Shell>().get_conn() == conn);
        assert_eq!(amina.pending(), 1);
    };
    for (answer, conn, fault, about) in [
        ("302 Found\r\nLocation: http://login.example/", Conn::Portal, SyncFault::Portal, "wants a login in a browser"),
        ("400 Bad Request\r\nServer: tombolo", Conn::UpdateNeeded, SyncFault::UpdateNeeded, "Please update Tombolo."),
    ] {
        let _something = clinic.something_else_answers(answer);
        said(conn, fault, about);
    }
    clinic.another_clinic_answers();
    said(Conn::OtherServer, SyncFault::OtherServer, "A different server answers at this address.");
    clinic.new_schema(CLINIC);
    assert!(amina.sync());
    assert_eq!((amina.pending(), amina.get::<Shell>().get_conn()), (0, Conn::Online));
    assert!(clinic.patients().contains("555"));
}

#[test]
fn what_keeps_a_person_from_signing_in_is_said() {
    let mut clinic = Clinic::open();
    let person = clinic.person_at(None, "amina");
    let tries = |address: &str, password: &str| {
        person.fill("Server address", address);
        person.fill("Your name", "amina");
        person.fill("Password", password);
        person.click("Sign in");
        person.until("it is over", |me| !me.get::<SignIn>().get_busy() && me.get::<SignIn>().get_fault() != SignInFault::None);
        person.get::<SignIn>().get_fault()
    };
    let reads = |about: &str| {
        let words: Vec<_> = person.labels().into_iter().map(|(_, label)| label).collect();
        assert!(words.iter().any(|words| words.starts_with(about)), "{words:?}");
    };
    let said = |address: &str, password: &str, fault: SignInFault, about: &str| {
        assert_eq!(tries(address, password), fault);
        reads(about);
    };
    let address = clinic.address();
    said(&address, "", SignInFault::Incomplete, "Please fill in address, name and password.");
    said("http://clinic:at home", PASSWORD, SignInFault::Address, "This address cannot be read.");
    said(&address, "wrong", SignInFault::WrongPassword, "The name or the password is wrong.");
    // Somebody tries out passwords, and has to wait in the end.
    assert!((0..30).any(|_| tries(&address, "wrong") == SignInFault::Wait));
    reads("Too many attempts. Try again in ");
    clinic.close();
    said(&address, PASSWORD, SignInFault::NotFound, "The server was not found.");
    for (answer, fault, about) in [
        ("200 OK\r\nContent-Type: text/html", SignInFault::NotTombolo, "Something other than a Tombolo server answers"),
        ("503 Service Unavailable\r\nServer: tombolo", SignInFault::ServerTrouble, "The server has trouble."),
    ] {
        let _something = clinic.something_else_answers(answer);
        said(&address, PASSWORD, fault, about);
    }
    clinic.new_schema(CLINIC);
    person.fill("Password", PASSWORD);
    person.key(Key::Return);
    person.until("signed in", |me| !me.get::<SignIn>().get_shown());
    person.ready();
}
