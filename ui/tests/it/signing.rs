//! Signing in and out, and who sees what then.

use crate::stage::{Clinic, PASSWORD};
use i_slint_backend_testing::{AccessibleRole, ElementHandle};
use slint::Model;
use slint::platform::{Key, PointerEventButton};
use std::time::Duration;
use tombolo_ui::window::{Browse, Conn, History, Settings, Shell, SignIn, SignInFault};

#[test]
fn signing_in_for_the_first_time_brings_everything() {
    let mut clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    assert!(amina.get::<SignIn>().get_shown());
    amina.fill("Server address", &clinic.address());
    amina.key(Key::Return);
    amina.write("amina");
    amina.key(Key::Return);
    amina.write("wrong");
    amina.key(Key::Return);
    amina.until("a wrong password is said to be wrong", |me| me.get::<SignIn>().get_fault() == SignInFault::WrongPassword);
    assert!(amina.has("The name or the password is wrong."));
    amina.fill("Password", PASSWORD);
    amina.fill("Name of this device", "Reception");
    amina.key(Key::Return);
    amina.until("the page is gone", |me| !me.get::<SignIn>().get_shown());
    amina.ready();
    assert_eq!(amina.get::<Shell>().get_user(), "amina");
    // The next time it opens without asking anything, and without the server.
    drop(amina);
    clinic.close();
    let amina = clinic.person_at(None, "amina");
    amina.ready();
    assert!(!amina.get::<SignIn>().get_shown());
    amina.until("it says when it was in step", |me| !me.get::<Shell>().get_last_sync().is_empty());
    let said = format!("amina · last synced {}", amina.get::<Shell>().get_last_sync());
    assert!(amina.has(&said));
}

#[test]
fn the_server_is_looked_for_before_anybody_has_signed_in() {
    let clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    amina.fill("Server address", &clinic.address());
    amina.key(Key::Tab);
    amina.until("it is found", |me| me.has("The server was found"));
    amina.press(AccessibleRole::TextInput, "Server address");
    amina.key(Key::End);
    amina.write("1");
    assert!(!amina.has("The server was found"), "another address stands there");
    amina.fill("Server address", "http://127.0.0.1:9");
    amina.key(Key::Tab);
    amina.until("nothing is found", |me| me.has("No server found at this address"));
}

#[test]
fn signing_out_with_pending_edits_asks_and_pushes_first() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.edit("Phone", "42");
    amina.click("Settings");
    amina.click("Sign out");
    assert!(amina.get::<Shell>().get_sign_out_open());
    amina.click("Push, then sign out");
    amina.until("signed out", |me| me.get::<SignIn>().get_shown());
    assert_eq!(amina.pending(), 0);
    amina.click("Later");
    amina.choose(0);
    assert_eq!(amina.get::<Shell>().get_conn(), Conn::NeedsSignIn, "one can go on working");
    amina.edit("Phone", "43");
    amina.until("it is pending", |me| me.pending() == 1);
}

#[test]
fn two_people_at_one_computer_have_a_store_each_and_see_nothing_of_each_other() {
    let clinic = Clinic::open();
    let window = clinic.person_at(None, "shared");
    let signs_in = |name: &str, password: &str| {
        let sign_in = window.get::<SignIn>();
        sign_in.set_address(clinic.address().into());
        sign_in.set_name(name.into());
        sign_in.set_password(password.into());
        sign_in.invoke_sign_in();
        window.app.pump();
        let heard = window.get::<History>().get_activity().row_count();
        window.until("it is over", |me| !me.get::<SignIn>().get_busy());
        heard
    };
    signs_in("amina", PASSWORD);
    window.ready().choose(0);
    window.edit("Phone", "555");
    window.until("it is pending", |me| me.pending() == 1);
    window.get::<Settings>().invoke_sign_out_anyway();
    window.until("she is signed out", |me| me.get::<SignIn>().get_shown());
    // Somebody who only knows the name sees nothing, also of what her desk told and nobody has looked at yet.
    window.get::<Shell>().invoke_open_activity();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(signs_in("brian", "wrong"), 0);
    assert_eq!(window.get::<SignIn>().get_fault(), SignInFault::WrongPassword);
    assert_eq!((window.get::<Browse>().get_total(), window.pending()), (0, 0));
    signs_in("brian", PASSWORD);
    window.ready();
    assert_eq!((window.get::<Shell>().get_user().as_str(), window.pending()), ("brian", 0));
    window.until("his filters are offered", |me| me.get::<Browse>().get_filters().row_count() > 0);
    window.get::<Settings>().invoke_sign_out_anyway();
    window.until("he is signed out", |me| me.get::<SignIn>().get_shown());
    signs_in("amina", "wrong");
    assert!(window.get::<SignIn>().get_shown());
    signs_in("amina", PASSWORD);
    window.ready();
    window.until("what she wrote is there", |me| me.pending() == 1);
    assert!(window.sync());
    assert!(clinic.patients().contains("555"));
}

#[test]
fn whoever_mistypes_their_name_has_their_data_back_behind_the_sign_in() {
    let clinic = Clinic::open();
    let device = clinic.client("amina").account().unwrap().unwrap().device;
    let amina = clinic.person_at(Some(clinic.folder_of("amina")), "amina");
    amina.ready().choose(0);
    amina.edit("Phone", "555");
    clinic.revoke(device);
    amina.until("her sign-in has ended", |me| me.get::<Shell>().get_conn() == Conn::NeedsSignIn);
    amina.click("Sign in");
    let sign_in = amina.get::<SignIn>();
    amina.fill("Your name", "anima");
    amina.fill("Password", PASSWORD);
    amina.key(Key::Return);
    amina.until("it is refused", |me| me.get::<SignIn>().get_fault() == SignInFault::WrongPassword);
    amina.until("her data are there", |me| me.get::<Browse>().get_total() == 4 && me.pending() == 1);
    assert!(sign_in.get_shown() && sign_in.get_name() == "anima", "and the sign-in still says what was wrong");
    amina.click("Later");
    assert!(!sign_in.get_shown());
    assert_eq!(amina.get::<Shell>().get_user(), "amina");
    amina.click("Sign in");
    amina.fill("Your name", "amina");
    amina.fill("Password", PASSWORD);
    amina.key(Key::Return);
    amina.until("she is signed in", |me| !me.get::<SignIn>().get_shown());
    assert!(amina.sync());
}

#[test]
fn whoever_has_signed_out_is_asked_to_sign_in_when_syncing() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    amina.control(",");
    amina.click("Sign out");
    amina.until("she is asked", |me| me.get::<Shell>().get_sign_out_open());
    // The question's button, and not the one that asked for it.
    let answer = ElementHandle::find_by_accessible_label(amina.ui(), "Sign out").last().unwrap();
    answer.mock_single_click(PointerEventButton::Left);
    amina.until("she is signed out", |me| me.get::<SignIn>().get_shown());
    amina.click("Later");
    assert!(!amina.get::<SignIn>().get_shown());
    amina.control("r");
    assert!(amina.get::<SignIn>().get_shown() && amina.get::<SignIn>().get_again());
    amina.fill("Password", PASSWORD);
    amina.key(Key::Return);
    amina.until("signed in", |me| !me.get::<SignIn>().get_shown());
    assert!(amina.sync());
}
