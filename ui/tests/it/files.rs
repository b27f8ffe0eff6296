//! What comes from files, and goes into them.

use crate::stage::{CHOSEN, Clinic};
use slint::Model;
use slint::platform::Key;
use std::fs;
use tombolo_client::csv::PROBLEMS_TOLD_MAX;
use tombolo_ui::window::{Browse, Import, Settings, Shell, Words};

#[test]
fn a_file_is_looked_at_before_it_is_imported_and_everything_can_be_exported() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let file = clinic.folder.path().join("new.csv");
    fs::write(&file, "name,weight_kg,site\nNew One,sixty,Kilifi\n").unwrap();
    amina.look_at(&file);
    assert_eq!(amina.get::<Import>().get_problems().row_count(), 1);
    assert!(!amina.get::<Import>().get_ready());
    fs::write(&file, "name,weight_kg,site\nNew One,60,Kilifi\nNew Two,,Kilifi\n").unwrap();
    amina.click("Look at it");
    amina.until("it is ready", |me| me.get::<Import>().get_ready());
    assert_eq!((amina.get::<Import>().get_created(), amina.get::<Import>().get_updated()), (2, 0));
    assert!(amina.has("2 new"));
    amina.click("Import");
    amina.until("two more are listed", |me| me.get::<Browse>().get_total() == 6);
    amina.until("and pending", |me| me.pending() == 2);
    let out = clinic.folder.path().join("out");
    amina.control(",");
    amina.fill("Folder to export to", out.to_str().unwrap());
    amina.click("Export");
    amina.until("the files are written", |_| out.join("stock.csv").exists());
    assert!(fs::read_to_string(out.join("patients.csv")).unwrap().contains("New Two"));
    // What is there is not replaced: the next export gets a folder of its own.
    fs::write(out.join("stock.csv"), "mine").unwrap();
    amina.click("Export");
    let newer = || fs::read_dir(&out).unwrap().filter_map(Result::ok).map(|entry| entry.path()).find(|path| path.is_dir());
    amina.until("it says where", |me| {
        newer().is_some_and(|new| me.get::<Settings>().get_exported().contains(new.to_str().unwrap()))
    });
    assert!(fs::read_to_string(newer().unwrap().join("patients.csv")).unwrap().contains("New Two"));
    assert_eq!(fs::read_to_string(out.join("stock.csv")).unwrap(), "mine");
    amina.key(Key::Escape);
    // What was exported is here; once something has changed, the file would take that back, and it is said.
    amina.look_at(&out.join("patients.csv"));
    assert!(amina.has("Nothing in it is new: all of it is here already.") && !amina.get::<Import>().get_ready());
    amina.key(Key::Escape);
    amina.choose(0);
    amina.edit("Phone", "777");
    amina.until("it is listed", |me| me.pending() == 3);
    amina.look_at(&out.join("patients.csv"));
    assert!(amina.has("1 changed"));
    assert!(amina.has("1 entry that is here already gets what stands in the file, also where somebody changed it since."));
}

#[test]
fn what_is_wrong_with_a_file_is_said_line_by_line_in_the_language_of_the_window() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let file = clinic.folder.path().join("new.csv");
    let look_at = |text: &str| {
        fs::write(&file, text).unwrap();
        amina.look_at(&file);
    };
    look_at("name,sex,birth_date,weight_kg,site\n,F,1990-01-01,60,Kilifi\nRose,Q,soon,900,Nowhere\na,b\n");
    let told = [
        "Line 2, Name: Please fill in Name.",
        "Line 3, Sex: “Q” is none of these: F, M, X.",
        "Line 3, Date of birth: “soon” cannot be taken over. Please write a date, for example 2024-05-31.",
        "Line 3, Weight (kg): “900” cannot be taken over. This is too high: at most 500.",
        "Line 3, Site: “Nowhere” was not found in Sites.",
        "Line 4: There are 2 cells in this line, and 5 in the first one. Perhaps a quotation mark is missing.",
    ];
    let said = || -> Vec<String> {
        let words = amina.get::<Words>();
        amina.get::<Import>().get_problems().iter().map(|problem| words.invoke_file_problem(problem).into()).collect()
    };
    assert_eq!(said(), told);
    assert!(amina.has(told[0]) && amina.has(told[5]));
    amina.get::<Settings>().set_language(1);
    amina.get::<Settings>().invoke_changed();
    assert_eq!(
        said()[3],
        "Ligne 3, Weight (kg)\u{a0}: «\u{a0}900\u{a0}» ne peut pas être repris. C’est trop élevé\u{a0}: au plus 500."
    );
    amina.get::<Settings>().set_language(0);
    amina.get::<Settings>().invoke_changed();
    look_at("nam;age\nRose;3\n");
    assert!(amina.has("Line 1, nam;age: The columns have to be divided by commas. Save the file anew as CSV with commas."));
    look_at(&format!("name,site\n{}", ",Kilifi\n".repeat(30)));
    assert_eq!(amina.get::<Import>().get_problems().row_count(), PROBLEMS_TOLD_MAX);
    assert_eq!(amina.get::<Import>().get_more_problems(), 10);
    // What was looked at and has changed since is not imported, and said again.
    look_at("name,site\nRose,Kilifi\n");
    assert!(amina.get::<Import>().get_ready());
    fs::write(&file, "name,site\nRose,Nowhere\n").unwrap();
    amina.click("Import");
    amina.until("it is said", |me| me.get::<Import>().get_problems().row_count() == 1);
    assert!(amina.get::<Shell>().get_import_open() && !amina.get::<Import>().get_ready());
    assert_eq!(amina.pending(), 0);
}

#[test]
fn a_button_pressed_twice_imports_once() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let file = clinic.folder.path().join("new.csv");
    fs::write(&file, "name,site\nNew One,Kilifi\n").unwrap();
    amina.look_at(&file);
    // Twice before anything of the first has come back; the button itself goes dim at once.
    let import = amina.get::<Import>();
    import.invoke_run();
    assert!(import.get_busy());
    import.invoke_run();
    // What becomes of it is said there.
    amina.key(Key::Escape);
    assert!(amina.get::<Shell>().get_import_open());
    amina.until("it is over", |me| !me.get::<Import>().get_busy());
    amina.until("it is pending", |me| me.pending() > 0);
    assert_eq!(amina.pending(), 1);
}

#[test]
fn a_file_and_a_folder_are_chosen_instead_of_typed_and_nothing_chosen_is_said() {
    const NOTHING: &str = "Nothing was chosen. If no window for choosing opened, please type the path.";
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let file = clinic.folder.path().join("new.csv");
    fs::write(&file, "name,weight_kg,site\nNew One,60,Kilifi\n").unwrap();
    amina.click("Import a CSV file");
    amina.click("Choose the CSV file");
    amina.until("it is said that nothing was chosen", |me| me.has(NOTHING));
    *CHOSEN.lock().unwrap() = Some(file.clone());
    amina.click("Choose the CSV file");
    amina.until("the chosen file was looked at", |me| me.get::<Import>().get_ready());
    assert_eq!(amina.get::<Import>().get_file(), file.display().to_string());
    assert!(!amina.has(NOTHING));
    amina.key(Key::Escape);
    amina.control(",");
    *CHOSEN.lock().unwrap() = Some(clinic.folder.path().to_owned());
    amina.click("Choose the folder to export to");
    let folder = clinic.folder.path().display().to_string();
    amina.until("the folder is there", |me| me.get::<Settings>().get_export_to() == folder);
}

#[test]
fn an_export_that_was_not_begun_before_signing_out_does_not_make_the_next_one_ask() {
    let clinic = Clinic::open();
    let amina = clinic.person("amina");
    amina.ready();
    let settings = amina.get::<Settings>();
    settings.set_export_to("".into());
    settings.invoke_export_then_ask();
    settings.set_export_to(clinic.folder.path().join("out").to_str().unwrap().into());
    settings.invoke_export();
    amina.until("it is written", |me| !me.get::<Settings>().get_exported().is_empty());
    assert!(!amina.get::<Shell>().get_sign_out_open());
}
