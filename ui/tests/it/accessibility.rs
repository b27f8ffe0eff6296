//! Everything can be reached and is named.

use crate::people::clash;
use crate::stage::{Clinic, PATIENTS, Person};
use i_slint_backend_testing::{AccessibleRole, ElementHandle, ElementQuery};
use slint::Model;
use slint::platform::{Key, PointerEventButton, WindowEvent};
use std::collections::BTreeSet;
use tombolo_ui::window::{
    Browse, Detail, FieldKind, Form, History, Import, Pending, Picker, Settings, Shell, SignIn, SignInFault,
};

/// Whether a person acts on what has this role.
fn acting(role: AccessibleRole) -> bool {
    use AccessibleRole as R;
    matches!(
        role,
        R::Button
            | R::TextInput
            | R::Combobox
            | R::RadioButton
            | R::RadioGroup
            | R::Checkbox
            | R::Switch
            | R::ListItem
            | R::Tab
            | R::List
            | R::Region
    )
}

fn told(element: &ElementHandle) -> String {
    format!("{:?} {:?} {:?}", element.accessible_role(), element.id(), element.type_name())
}

/// Elements that a person acts on and that have no name, or no role.
fn nameless(person: &Person) -> Vec<String> {
    let acted_on = ElementQuery::from_root(person.ui())
        .match_predicate(|element| element.accessible_role().is_some_and(acting))
        .find_all();
    let no_name = |element: &&ElementHandle| element.accessible_label().is_none_or(|label| label.trim().is_empty());
    let mut found: Vec<String> = acted_on.iter().filter(no_name).map(told).collect();
    let place = |element: &ElementHandle| {
        let (at, size) = (element.absolute_position(), element.size());
        [at.x, at.y, size.width, size.height].map(|length| length.round() as i32)
    };
    let mut places: BTreeSet<[i32; 4]> = acted_on.iter().map(place).collect();
    // Parts of widgets of Slint that the pointer has, and keys do the same in another way: bars, and what empties a field.
    for widget in ["ScrollBar", "LineEdit"] {
        let parts = ElementQuery::from_root(person.ui()).match_inherits(widget).match_descendants().match_inherits("TouchArea");
        places.extend(parts.find_all().iter().map(place));
    }
    // What takes clicks or keys is as large as the control that it works.
    let works = ["TouchArea", "FocusScope"].map(|base| ElementQuery::from_root(person.ui()).match_inherits(base).find_all());
    let no_role = |element: &&ElementHandle| !is_no_control(element) && !places.contains(&place(element));
    found.extend(works.iter().flatten().filter(no_role).map(told));
    found
}

/// What takes clicks or keys and is nothing that a person works.
fn is_no_control(element: &ElementHandle) -> bool {
    let of = element.type_name().into_iter().chain(element.bases().into_iter().flatten());
    let mut of = of.chain(element.id());
    of.any(|name| ["ClickShield", "Hearing", "FocusSentinel::stop", "AppWindow::keys"].contains(&name.as_str()))
}

/// Opens each thing that lies over the window, looks, and closes it.
fn each_overlay(person: &Person, mut look: impl FnMut(&str, &Person)) {
    for (name, switch, _) in OVERLAYS {
        open(person, name, switch);
        look(name, person);
        switch(&person.get::<Shell>(), false);
        person.settle();
    }
}

fn open(person: &Person, name: &str, switch: Switch) {
    if name == "form" {
        person.control("e");
    }
    if name == "calendar" {
        let form = person.get::<Form>();
        let born = form.get_fields().iter().position(|field| field.kind == FieldKind::Date).unwrap();
        form.invoke_pick_day(i32::try_from(born).unwrap());
    }
    if name == "licences" {
        person.get::<Settings>().invoke_open_licences();
    }
    switch(&person.get::<Shell>(), true);
    person.settle();
}

type Switch = fn(&Shell<'_>, bool);
type IsOpen = fn(&Shell<'_>) -> bool;

/// What lies over the window: how it is opened and closed, and whether it is open.
const OVERLAYS: [(&str, Switch, IsOpen); 19] = [
    ("filters", |shell, on| shell.set_filters_open(on), |shell| shell.get_filters_open()),
    ("modes", |shell, on| shell.set_modes_open(on), |shell| shell.get_modes_open()),
    ("pending", |shell, on| shell.set_pending_open(on), |shell| shell.get_pending_open()),
    ("form", |shell, on| shell.set_form_open(on), |shell| shell.get_form_open()),
    ("calendar", |shell, on| shell.set_calendar_open(on), |shell| shell.get_calendar_open()),
    ("conflict", |shell, on| shell.set_conflict_open(on), |shell| shell.get_conflict_open()),
    ("history", |shell, on| shell.set_history_open(on), |shell| shell.get_history_open()),
    ("activity", |shell, on| shell.set_activity_open(on), |shell| shell.get_activity_open()),
    ("report", |shell, on| shell.set_report_open(on), |shell| shell.get_report_open()),
    ("settings", |shell, on| shell.set_settings_open(on), |shell| shell.get_settings_open()),
    ("shortcuts", |shell, on| shell.set_shortcuts_open(on), |shell| shell.get_shortcuts_open()),
    ("import", |shell, on| shell.set_import_open(on), |shell| shell.get_import_open()),
    ("sign out", |shell, on| shell.set_sign_out_open(on), |shell| shell.get_sign_out_open()),
    ("about", |shell, on| shell.set_about_open(on), |shell| shell.get_about_open()),
    ("licences", |shell, on| shell.set_licences_open(on), |shell| shell.get_licences_open()),
    ("delete", |shell, on| shell.set_delete_open(on), |shell| shell.get_delete_open()),
    ("leave", |shell, on| shell.set_leave_open(on), |shell| shell.get_leave_open()),
    ("discard", |shell, on| shell.set_discard_open(on), |shell| shell.get_discard_open()),
    ("set aside", |shell, on| shell.set_set_aside_open(on), |shell| shell.get_set_aside_open()),
];

#[test]
fn every_control_has_a_name() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    assert_eq!(nameless(&amina), [""; 0]);
    each_overlay(&amina, |name, me| assert_eq!(nameless(me), [""; 0], "in {name}"));
    amina.get::<SignIn>().set_shown(true);
    amina.settle();
    assert_eq!(nameless(&amina), [""; 0], "in the sign-in");
}

#[test]
fn every_control_has_a_name_also_where_there_is_something_in_it() {
    let clinic = Clinic::open();
    let (_amina, brian) = clash(&clinic);
    brian.control("p");
    brian.until("the change is there", |me| me.get::<Pending>().get_review().row_count() == 1);
    assert_eq!(nameless(&brian), [""; 0], "of what is pending");
    brian.key(Key::Escape);
    brian.control("h");
    brian.until("the history is there", |me| me.get::<History>().get_lines().row_count() > 0);
    assert_eq!(nameless(&brian), [""; 0], "of a history");
    brian.key(Key::Escape);
    brian.control("d");
    brian.until("the conflict is there", |me| me.get::<Shell>().get_conflict_open());
    brian.click("Another value for Notes");
    assert_eq!(nameless(&brian), [""; 0], "of a conflict");
    let inside = brian.find(AccessibleRole::RadioGroup, "Notes").query_descendants();
    let heard = inside.match_predicate(|element| element.accessible_role().is_some_and(|role| role != AccessibleRole::None));
    let heard: Vec<_> = heard.find_all().iter().filter_map(ElementHandle::accessible_label).collect();
    assert_eq!(heard[1..3], ["Notes: mine", "Notes: server"], "the focus of a reader counts on this order");
    brian.key(Key::Escape);
    brian.get::<Browse>().invoke_select_table(2);
    brian.until("visits are shown", |me| me.get::<Browse>().get_table_title() == "Visits");
    brian.control("n");
    let form = brian.get::<Form>();
    form.invoke_pick(brian.number("Patient"));
    brian.until("patients are offered", |me| me.get::<Picker>().get_total() == 4);
    assert!(brian.has("Baraka Mwangi"));
    assert_eq!(nameless(&brian), [""; 0], "of a choice among rows");
}

#[test]
fn tab_stays_in_what_lies_over_the_window_and_escape_leads_back_to_the_list() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    type Open = fn(&Shell<'_>) -> bool;
    let overlays: [(&str, &str, Open); 4] = [
        ("p", "pending", |shell| shell.get_pending_open()),
        ("e", "form", |shell| shell.get_form_open()),
        ("h", "history", |shell| shell.get_history_open()),
        (",", "settings", |shell| shell.get_settings_open()),
    ];
    for (key, name, open) in overlays {
        amina.control(key);
        amina.until(name, |me| open(&me.get::<Shell>()));
        // Focus that left would take Escape with it.
        for step in 0..60 {
            amina.key(if step % 4 == 3 { Key::Backtab } else { Key::Tab });
        }
        amina.key(Key::Escape);
        assert!(!open(&amina.get::<Shell>()), "focus left {name}");
        let before = amina.get::<Browse>().get_selected();
        amina.key(if before == 0 { Key::DownArrow } else { Key::UpArrow });
        assert_ne!(amina.get::<Browse>().get_selected(), before, "after {name} the keyboard is dead");
    }
}

#[test]
fn tab_stays_in_every_dialog_and_escape_closes_it() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    for (name, switch, is_open) in OVERLAYS {
        open(&amina, name, switch);
        for step in 0..40 {
            amina.key(if step % 4 == 3 { Key::Backtab } else { Key::Tab });
        }
        // Focus that left would take Escape with it.
        amina.key(Key::Escape);
        assert!(!is_open(&amina.get::<Shell>()), "focus left {name}");
        // What a dialog lay over.
        for (_, switch, _) in OVERLAYS {
            switch(&amina.get::<Shell>(), false);
        }
        amina.settle();
    }
}

/// Whether it can be seen where the keys go.
fn shows_focus(person: &Person) -> bool {
    ["FocusRing::ring", "Reader::ring", "ListPane::ring"]
        .iter()
        .any(|id| ElementHandle::find_by_element_id(person.ui(), id).next().is_some())
}

#[test]
fn where_the_keys_go_is_seen_at_each_step_and_they_stay_in_what_has_something_in_it() {
    let clinic = Clinic::open();
    clinic.two_write_what_can_be_chosen();
    let amina = clinic.person("amina");
    amina.until("she is asked", |me| me.get::<Shell>().get_review() == 1);
    let goes_round = |what: &str| {
        for step in 0..60 {
            amina.key(if step % 5 == 4 { Key::Backtab } else { Key::Tab });
            assert!(shows_focus(&amina), "{what}: nobody sees where the keys go after {step} steps");
        }
    };
    goes_round("the window");
    amina.control("p");
    amina.until("the change is there", |me| me.get::<Pending>().get_review().row_count() == 1);
    goes_round("pending changes");
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_pending_open());
    amina.control("d");
    amina.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    amina.click("Another value for Date of birth");
    amina.click("Another value for Sex");
    goes_round("a conflict");
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_conflict_open());
    amina.choose(0);
    amina.control("e");
    amina.until("the form is open", |me| me.get::<Shell>().get_form_open());
    goes_round("a form");
    amina.get::<Form>().invoke_pick(amina.number("Site"));
    amina.until("sites are offered", |me| me.get::<Picker>().get_total() == 1);
    goes_round("a choice among rows");
    amina.key(Key::Escape);
    assert!(!amina.get::<Shell>().get_picker_open() && amina.get::<Shell>().get_form_open());
    amina.key(Key::Escape);
    amina.get::<Shell>().invoke_sign_in_again();
    amina.settle();
    goes_round("the sign-in");
    amina.key(Key::Escape);
    assert!(!amina.get::<SignIn>().get_shown());
}

/// Goes on by Tab until what scrolls has the focus, and by End to its end: how far a thing in it came up, in pixels.
fn scrolled(person: &Person, id: &str) -> f32 {
    let top = || ElementHandle::find_by_element_id(person.ui(), id).next().unwrap().absolute_position().y;
    let before = top();
    let reader = |me: &Person| ElementHandle::find_by_element_id(me.ui(), "Reader::ring").next().is_some();
    let found = (0..60).any(|_| {
        let found = reader(person);
        if !found {
            person.key(Key::Tab);
        }
        found
    });
    assert!(found, "Tab comes to {id}, and its ring is seen");
    person.key(Key::End);
    let end = before - top();
    person.key(Key::PageUp);
    assert!(before - top() < end, "{id}: a page back");
    person.key(Key::Home);
    assert_eq!(top(), before, "{id}: and to the beginning");
    person.key(Key::DownArrow);
    assert!(before - top() > 0.0, "{id}: a line on");
    end
}

#[test]
fn what_does_not_fit_is_read_by_key() {
    let clinic = Clinic::open();
    clinic.one_deletes_what_the_other_changes(true);
    let amina = clinic.person("amina");
    amina.until("it is asked", |me| me.get::<Shell>().get_review() == 1);
    amina.get::<Browse>().invoke_select_row(0);
    amina.until("somebody is shown", |me| me.get::<Detail>().get_title() == PATIENTS[0]);
    amina.get::<Settings>().set_text_size(3);
    amina.get::<Settings>().invoke_changed();
    slint::ComponentHandle::window(amina.ui()).set_size(slint::PhysicalSize::new(900, 480));
    amina.settle();
    assert!(scrolled(&amina, "DetailPane::all") > 0.0);
    amina.control("h");
    amina.until("the history is there", |me| me.get::<History>().get_lines().row_count() > 0);
    assert!(scrolled(&amina, "HistoryDrawer::all") > 0.0);
    amina.key(Key::Escape);
    amina.control("d");
    amina.until("the conflict is there", |me| me.get::<Shell>().get_conflict_open());
    slint::ComponentHandle::window(amina.ui()).set_size(slint::PhysicalSize::new(720, 330));
    amina.settle();
    assert!(scrolled(&amina, "ConflictDialog::rows") > 0.0);
    amina.key(Key::Escape);
    for (name, id) in [("about", "AboutDialog::all"), ("shortcuts", "ShortcutsDialog::all")] {
        let (_, switch, _) = OVERLAYS.into_iter().find(|(overlay, ..)| *overlay == name).unwrap();
        switch(&amina.get::<Shell>(), true);
        amina.settle();
        assert!(scrolled(&amina, id) > 0.0);
        amina.key(Key::Escape);
    }
    let file = clinic.folder.path().join("wrong.csv");
    std::fs::write(&file, "name,site\n".to_owned() + &",Nowhere\n".repeat(20)).unwrap();
    amina.get::<Shell>().invoke_open_import();
    amina.get::<Import>().invoke_look(file.display().to_string().into());
    amina.until("it is told what is wrong", |me| me.get::<Import>().get_problems().row_count() > 0);
    assert!(scrolled(&amina, "ImportDialog::all") > 0.0);
}

#[test]
fn the_window_is_usable_at_double_text_size_in_a_small_window() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(0);
    amina.get::<Settings>().set_text_size(3);
    amina.get::<Settings>().invoke_changed();
    slint::ComponentHandle::window(amina.ui()).set_size(slint::PhysicalSize::new(1024, 700));
    amina.settle();
    let inside = |name: &str, me: &Person| {
        for label in ["Sync now", "Settings", "When to sync: Manual"] {
            if name.is_empty() {
                let button = me.find(AccessibleRole::Button, label);
                let (at, size) = (button.absolute_position(), button.size());
                assert!(at.x >= 0.0 && at.x + size.width <= 1024.0, "{label} at {at:?}, {size:?}");
            }
        }
        // What closes an overlay is always within the window, and so is the last line of a calendar.
        let close = ElementQuery::from_root(me.ui()).match_accessible_role(AccessibleRole::Button);
        let close = close.match_predicate(|element| {
            element.accessible_label().is_some_and(|label| label.starts_with("Close") || label == "Go to today")
        });
        for button in close.find_all() {
            let (at, size) = (button.absolute_position(), button.size());
            let fits = at.x >= 0.0 && at.y >= 0.0 && at.x + size.width <= 1025.0 && at.y + size.height <= 701.0;
            assert!(fits, "{name}: {:?} at {at:?}, {size:?}", button.accessible_label());
        }
    };
    inside("", &amina);
    each_overlay(&amina, inside);
    assert!(amina.get::<Detail>().get_shown());
}

#[test]
fn the_sign_in_scrolls_to_what_has_the_focus_where_it_does_not_fit() {
    let clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    amina.get::<Settings>().set_text_size(3);
    amina.get::<Settings>().invoke_changed();
    for (width, height) in [(1024, 700), (720, 480)] {
        slint::ComponentHandle::window(amina.ui()).set_size(slint::PhysicalSize::new(width, height));
        amina.settle();
        // What has the focus is scrolled away by the wheel.
        let position = slint::LogicalPosition::new(width as f32 / 2.0, height as f32 / 2.0);
        let wheel = WindowEvent::PointerScrolled { position, delta_x: 0.0, delta_y: 2000.0 };
        slint::ComponentHandle::window(amina.ui()).dispatch_event(wheel);
        amina.settle();
        amina.find(AccessibleRole::TextInput, "Server address").mock_single_click(PointerEventButton::Left);
        // As much as it ever says.
        amina.get::<SignIn>().set_found(3);
        amina.get::<SignIn>().set_fault(SignInFault::NotTombolo);
        amina.settle();
        let card = amina.find(AccessibleRole::Form, "Sign in");
        let (top, end) = (card.absolute_position().y, card.absolute_position().y + card.size().height);
        assert!(top >= 0.0 && end <= height as f32, "{width} x {height}: the card is within the window");
        let stops = [
            (Key::Tab, AccessibleRole::TextInput, "Your name"),
            (Key::Tab, AccessibleRole::TextInput, "Password"),
            (Key::Tab, AccessibleRole::Button, "Show the password"),
            (Key::Tab, AccessibleRole::TextInput, "Name of this device"),
            (Key::Tab, AccessibleRole::Combobox, "Language"),
            (Key::Tab, AccessibleRole::Button, "Sign in"),
            (Key::Tab, AccessibleRole::TextInput, "Server address"),
            (Key::Backtab, AccessibleRole::Button, "Sign in"),
        ];
        for (key, role, label) in stops {
            amina.key(key);
            let ring = ElementHandle::find_by_element_id(amina.ui(), "FocusRing::ring").next();
            let ring = ring.unwrap_or_else(|| panic!("{width} x {height}: the focus is not at {label:?}, but out of sight"));
            let (y, height) = (ring.absolute_position().y, ring.size().height);
            let stop = amina.find(role, label).absolute_position().y;
            assert!((y - stop).abs() < 6.0, "the focus is at {y}, and {label:?} at {stop}");
            assert!(y >= top && y + height <= end, "{label:?} is at {y}, in a card from {top} to {end}");
        }
        amina.click("Sign in");
    }
}

#[test]
fn a_password_is_shown_and_hidden_by_key_and_stays_what_it_is() {
    let clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    amina.until("the sign-in is there", |me| me.has("Password"));
    amina.find(AccessibleRole::TextInput, "Password").mock_single_click(PointerEventButton::Left);
    amina.write("a secret");
    let is_seen = || amina.find(AccessibleRole::TextInput, "Password").accessible_value().unwrap() == "a secret";
    assert!(!is_seen());
    amina.key(Key::Tab);
    amina.key(Key::Space);
    assert!(is_seen() && amina.has("Hide the password"));
    amina.key(Key::Return);
    assert!(!is_seen() && amina.get::<SignIn>().get_password() == "a secret");
}

#[test]
fn the_card_of_details_ends_below_its_last_line() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready().choose(1);
    amina.edit("Notes", &"Comes every second Monday for her blood pressure. ".repeat(3));
    amina.until("the note is pending", |me| me.get::<Detail>().get_pending() == 1);
    for (size, width) in [(0, 1024), (0, 1280), (0, 1600), (1, 1280), (2, 1100), (3, 1024), (3, 1600)] {
        amina.get::<Settings>().set_text_size(size);
        amina.get::<Settings>().invoke_changed();
        // So high that nothing has to be scrolled: what is out of sight is not found.
        slint::ComponentHandle::window(amina.ui()).set_size(slint::PhysicalSize::new(width, 3000));
        amina.settle();
        let card = ElementHandle::find_by_element_id(amina.ui(), "DetailPane::card").next().unwrap();
        let ends = |element: &ElementHandle| element.absolute_position().y + element.size().height;
        let notes = ElementQuery::from_root(amina.ui())
            .match_predicate(|element| element.accessible_label().is_some_and(|label| label.starts_with("Notes: ")));
        let notes = notes.find_first().unwrap().size().width;
        assert!(notes > 120.0, "text size {size}, {width} wide: the note has a room of {notes}");
        let last = ends(&amina.find(AccessibleRole::Button, "Site: Kilifi, open it"));
        let room = ends(&card) - last;
        assert!((8.0..40.0).contains(&room), "text size {size}, {width} wide: the card ends {room} below its last line");
        let discard = amina.find(AccessibleRole::Button, "Discard all changes of this entry");
        assert!(discard.absolute_position().y >= ends(&card), "text size {size}, {width} wide: what follows is above its end");
    }
}

#[test]
fn a_banner_is_as_high_as_its_text_beside_its_button() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    clinic.clash(&amina.app);
    amina.until("there is a conflict", |me| me.get::<Detail>().get_conflict());
    for (size, width) in [(0, 1024), (0, 1280), (3, 1024)] {
        amina.get::<Settings>().set_text_size(size);
        amina.get::<Settings>().invoke_changed();
        slint::ComponentHandle::window(amina.ui()).set_size(slint::PhysicalSize::new(width, 3000));
        amina.settle();
        let ends = |id: &str| {
            let element = ElementHandle::find_by_element_id(amina.ui(), id).next().unwrap();
            element.absolute_position().y + element.size().height
        };
        let decide = amina.find(AccessibleRole::Button, "Decide");
        assert!(decide.size().width >= 50.0, "text size {size}, {width} wide: the button is {} wide", decide.size().width);
        let said = ends("Banner::said");
        let card = ElementHandle::find_by_element_id(amina.ui(), "DetailPane::card").next().unwrap();
        assert!(
            said < card.absolute_position().y,
            "text size {size}, {width} wide: the text ends at {said}, behind the card's head"
        );
    }
}

/// The relative luminance of a colour, and from two of them the contrast (WCAG 2).
fn contrast(one: slint::Color, other: slint::Color) -> f32 {
    let light = |color: slint::Color| {
        let part = |value: u8| {
            let value = f32::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(color.red()) + 0.7152 * part(color.green()) + 0.0722 * part(color.blue())
    };
    let (one, other) = (light(one), light(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn texts_and_borders_have_enough_contrast_in_both_themes() {
    let clinic = Clinic::open();
    let amina = clinic.person_at(None, "amina");
    let theme = amina.get::<tombolo_ui::window::Theme>();
    for mode in [tombolo_ui::window::ThemeMode::Light, tombolo_ui::window::ThemeMode::Dark] {
        theme.set_mode(mode);
        amina.settle();
        let surfaces = [theme.get_surface(), theme.get_surface_2(), theme.get_bg()];
        for surface in surfaces {
            for text in [
                theme.get_text(),
                theme.get_text_2(),
                theme.get_text_3(),
                theme.get_accent(),
                theme.get_danger(),
                theme.get_warn(),
            ] {
                assert!(contrast(text, surface) >= 4.5, "{mode:?}: {text:?} on {surface:?}: {}", contrast(text, surface));
            }
            let border = theme.get_border_input();
            assert!(contrast(border, surface) >= 3.0, "{mode:?}: {border:?} on {surface:?}");
        }
        let pairs = [
            (theme.get_warn(), theme.get_warn_soft()),
            (theme.get_danger(), theme.get_danger_soft()),
            (theme.get_ok(), theme.get_ok_soft()),
            (theme.get_info(), theme.get_info_soft()),
            (theme.get_accent(), theme.get_accent_soft()),
            (theme.get_text(), theme.get_accent_soft()),
            (theme.get_text_2(), theme.get_accent_soft()),
            // Marked words in what is chosen, and under the pointer.
            (theme.get_warn(), theme.get_accent_soft()),
            (theme.get_danger(), theme.get_accent_soft()),
            (theme.get_warn(), theme.get_surface_hover()),
            (theme.get_danger(), theme.get_surface_hover()),
            (theme.get_on_accent(), theme.get_accent()),
            (theme.get_on_toast(), theme.get_toast()),
            (theme.get_text_2(), theme.get_surface_hover()),
        ];
        for (text, surface) in pairs {
            assert!(contrast(text, surface) >= 4.5, "{mode:?}: {text:?} on {surface:?}: {}", contrast(text, surface));
        }
    }
}
