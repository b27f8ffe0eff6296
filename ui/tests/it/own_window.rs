//! What the author of an application builds on the parts: the example of a window of one's own, on a real store with a real
//! server; a look of one's own.

#[expect(dead_code, reason = "the test drives the window by hand, without the event loop of `main`")]
#[path = "../../examples/villages.rs"]
mod villages;

use crate::stage::{Clinic, until};
use i_slint_backend_testing::init_no_event_loop;
use slint::{Color, ComponentHandle};
use tombolo_ui::window::{Colours, Theme, ThemeMode};

#[test]
fn a_window_of_ones_own_lists_searches_saves_and_syncs() {
    let clinic = Clinic::open();
    let folder = clinic.signed_in("amina");
    init_no_event_loop();
    let villages = villages::Villages::new(&folder, || {}).unwrap();
    villages.window.show().unwrap();
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        until(what, || {
            villages.hear();
            is()
        })
    };
    let listed = || slint::Model::row_count(&villages.window.get_patients());
    wait("all are listed", &|| listed() == 4);
    villages.window.invoke_search("baraka".into());
    assert_eq!(listed(), 1);
    villages.window.invoke_choose(0);
    wait("the village is shown", &|| villages.window.get_village() == "Lamu");
    assert_eq!(villages.window.get_chosen(), "Baraka Mwangi");
    villages.window.set_village("Kipini".into());
    villages.window.invoke_save();
    wait("it is saved", &|| villages.window.get_state() == "Baraka Mwangi is saved on this device");
    villages.window.invoke_sync();
    wait("it is sent", &|| villages.window.get_state().starts_with("1 sent"));
    drop(villages);
    assert!(clinic.patients().contains("Kipini"));
    clinic.sound();
}

#[test]
fn a_look_of_ones_own_holds_by_day_and_by_night() {
    let clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    let theme = amina.get::<Theme>();
    let (plum, lilac) = (Color::from_rgb_u8(0x6a, 0x1b, 0x5d), Color::from_rgb_u8(0xe0, 0xa8, 0xd8));
    theme.set_by_day(Colours { accent: plum, ..theme.get_by_day() });
    theme.set_by_night(Colours { accent: lilac, ..theme.get_by_night() });
    for (mode, accent) in [(ThemeMode::Light, plum), (ThemeMode::Dark, lilac)] {
        theme.set_mode(mode);
        amina.settle();
        assert_eq!(theme.get_accent(), accent);
    }
}
