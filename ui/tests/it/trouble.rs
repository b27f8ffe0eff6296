//! What may go wrong under a window, and what the person is told.

use crate::stage::{Clinic, Person};
use slint::Model;
use slint::platform::Key;
use std::fmt::Write;
use std::fs;
use tombolo_client::Client;
use tombolo_client::paths::STORE_FILE;
use tombolo_ui::window::{Conn, Import, Pending, Report, Shell};

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
    assert_eq!((report.get_failed(), report.get_failure(), report.get_waiting()), (true, 1, 1));
    assert!(amina.has("The sync did not finish"));
    amina.key(Key::Escape);
    assert_eq!(amina.pending(), 1);
}

#[test]
fn a_store_that_is_open_elsewhere_is_said_to_be_and_opens_when_it_is_free() {
    let clinic = Clinic::open();
    let first = clinic.person("amina");
    first.ready();
    let second = Person::of(clinic.options(Some(clinic.folder_of("amina")), "amina-2"));
    second.until("it is said", |me| me.get::<Shell>().get_conn() == Conn::StoreLocked);
    assert!(second.has("Quit"));
    drop(first);
    second.click("Try again");
    second.ready();
}

#[test]
fn a_window_closed_in_the_middle_of_a_sync_loses_nothing() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "556");
    amina.control("r");
    drop(amina);
    let store = clinic.folder_of("amina").join(STORE_FILE);
    let client = Client::open(&store).unwrap();
    client.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
    let table = client.schema().unwrap().table_named("patients").unwrap().clone();
    let phone = table.field_named("phone").unwrap().tag;
    let rows = client.list(table.tag, Default::default()).unwrap();
    let edited = rows.iter().filter(|row| table.field(phone).unwrap().show(row.value(phone)) == "556").count();
    assert_eq!((edited, client.pending().unwrap().len()), (1, 0));
}

#[test]
fn ten_thousand_pending_changes_are_counted_and_some_of_them_shown() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let file = clinic.folder.path().join("many.csv");
    let mut csv = "name,site\n".to_owned();
    (0..10_000).for_each(|at| writeln!(csv, "Patient {at:05},Kilifi").unwrap());
    fs::write(&file, csv).unwrap();
    amina.get::<Shell>().invoke_open_import();
    amina.get::<Import>().set_file(file.display().to_string().into());
    amina.get::<Import>().invoke_run();
    amina.until("they are pending", |me| me.pending() == 10_000);
    amina.control("p");
    amina.until("some are shown", |me| me.get::<Pending>().get_ready().row_count() == 200);
    assert_eq!(amina.get::<Pending>().get_ready_total(), 10_000);
    assert!(amina.has("Push 10000 changes"));
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_pending_open());
}
