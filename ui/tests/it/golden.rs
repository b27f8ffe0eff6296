//! What the window looks like, pixel by pixel, drawn by the software renderer with the fonts that are built in.
//! `UPDATE_GOLDEN=1` writes the pictures anew; each new one is to be looked at.

use crate::stage::{Clinic, Person};
use slint::platform::software_renderer::{MinimalSoftwareWindow, RepaintBufferType};
use slint::platform::{Platform, WindowAdapter, WindowEvent};
use slint::{ComponentHandle, LogicalPosition, Model, PhysicalSize, PlatformError};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tombolo_client::protocol::schema::Plain;
use tombolo_client::table::Fields;
use tombolo_ui::app::Options;
use tombolo_ui::window::{
    Browse, Conflict, Conn, Detail, History, Import, Merge, Pending, Report, RowState, Settings, Shell, Side, SignIn, Theme,
    ThemeMode,
};

/// Differences of a channel that come from rounding.
const TOLERANCE: u8 = 12;
/// The share of pixels that may differ by more.
const SHARE: f64 = 0.002;

/// A platform that draws into memory, with a clock that is moved by hand.
struct Drawn {
    window: Rc<MinimalSoftwareWindow>,
    now: Rc<Cell<Duration>>,
}

impl Platform for Drawn {
    fn create_window_adapter(&self) -> Result<Rc<dyn WindowAdapter>, PlatformError> {
        Ok(self.window.clone())
    }

    fn duration_since_start(&self) -> Duration {
        self.now.get()
    }
}

struct Picture {
    person: Person,
    now: Rc<Cell<Duration>>,
    scale: f32,
}

impl Picture {
    fn of(clinic: &Clinic, scale: f32, theme: ThemeMode) -> Self {
        Self::of_user(clinic, "amina", scale, theme)
    }

    fn of_user(clinic: &Clinic, user: &str, scale: f32, theme: ThemeMode) -> Self {
        let store = clinic.signed_in(user);
        let picture = Self::at(clinic.options(Some(store), user), scale, theme);
        picture.until(|me| me.get::<Browse>().get_total() == 4);
        picture.until(|me| me.get::<Shell>().get_conn() == Conn::Online);
        picture
    }

    fn at(options: Options, scale: f32, theme: ThemeMode) -> Self {
        let window = MinimalSoftwareWindow::new(RepaintBufferType::NewBuffer);
        let now = Rc::new(Cell::new(Duration::ZERO));
        slint::platform::set_platform(Box::new(Drawn { window: window.clone(), now: now.clone() })).unwrap();
        window.dispatch_event(WindowEvent::ScaleFactorChanged { scale_factor: scale });
        let person = Person::undressed(options);
        person.get::<Theme>().set_motion(false);
        person.get::<Theme>().set_mode(theme);
        person.ui().show().unwrap();
        let picture = Self { person, now, scale };
        picture.resize();
        picture
    }

    fn resize(&self) {
        self.person.ui().window().set_size(PhysicalSize::new((1280.0 * self.scale) as u32, (800.0 * self.scale) as u32));
    }

    fn tick(&self) {
        self.person.app.pump();
        self.wait();
    }

    /// Time goes by, and no news come in.
    fn wait(&self) {
        self.now.set(self.now.get() + Duration::from_millis(50));
        slint::platform::update_timers_and_animations();
    }

    fn until(&self, is: impl Fn(&Person) -> bool) {
        for _ in 0..6000 {
            self.tick();
            if is(&self.person) {
                (0..10).for_each(|_| self.tick());
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("never");
    }

    /// What differs from one run to the next is set to something that does not.
    fn still(&self) {
        (0..20).for_each(|_| self.tick());
        self.person.get::<Shell>().set_last_sync("2026-11-27 09:30".into());
        self.person.get::<Conflict>().set_when("2026-11-27 09:30".into());
        self.person.get::<Pending>().set_seconds("0.4 s".into());
        self.person.get::<Settings>().set_place("/home/amina/tombolo/clinic".into());
        self.person.get::<Settings>().set_export_to("/home/amina/Documents/tombolo-export".into());
        // Messages go away by themselves; how many are left depends on the machine.
        self.person.get::<Shell>().set_toasts(slint::ModelRc::default());
        self.person.get::<Shell>().set_server("https://clinic.example".into());
        (0..5).for_each(|_| self.wait());
    }

    fn compare(&self, name: &str) {
        self.still();
        let drawn = self.person.ui().window().take_snapshot().unwrap();
        let drawn = image::RgbaImage::from_raw(drawn.width(), drawn.height(), drawn.as_bytes().to_vec()).unwrap();
        let file = format!("{name}.png");
        // `ui/pictures` wants them somewhere else.
        if let Some(folder) = std::env::var_os("TOMBOLO_PICTURES") {
            return drawn.save(Path::new(&folder).join(file)).unwrap();
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            return drawn.save(&path).unwrap();
        }
        let wanted = image::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).to_rgba8();
        assert_eq!(wanted.dimensions(), drawn.dimensions(), "{name}");
        let differs =
            |(one, other): &(&image::Rgba<u8>, &image::Rgba<u8>)| (0..3).any(|at| one.0[at].abs_diff(other.0[at]) > TOLERANCE);
        let bad = wanted.pixels().zip(drawn.pixels()).filter(differs).count();
        let share = bad as f64 / f64::from(wanted.width() * wanted.height());
        if share > SHARE {
            let actual = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
            drawn.save(&actual).unwrap();
            panic!("{name}: {:.3} % of the pixels differ; see {}", share * 100.0, actual.display());
        }
    }

    /// Text of double size in a window as small as they come.
    fn doubled(&self) {
        self.person.get::<Settings>().set_text_size(3);
        self.set();
        self.person.ui().window().set_size(PhysicalSize::new(1024, 700));
        (0..5).for_each(|_| self.tick());
    }

    /// The language, by its place among them.
    fn speak(&self, language: i32) {
        self.person.get::<Settings>().set_language(language);
        self.set();
    }

    /// What was set in the settings counts, but the theme stays the picture's.
    fn set(&self) {
        let mode = self.person.get::<Theme>().get_mode();
        self.person.get::<Settings>().invoke_changed();
        self.person.get::<Theme>().set_mode(mode);
        self.tick();
    }

    fn open_form(&self) {
        self.until(|me| me.get::<Detail>().get_shown());
        self.person.get::<Browse>().invoke_edit_record();
        self.until(|me| me.get::<Shell>().get_form_open());
    }

    /// A conflict and a change that is ready, in the drawer.
    fn pending(&self, clinic: &Clinic) {
        clinic.clash(&self.person.app);
        self.until(|me| me.get::<Shell>().get_review() == 1);
        self.edit(2, "Phone", "+254722000111");
        self.person.get::<Shell>().set_pending_open(true);
        self.until(|me| me.get::<Pending>().get_ready().row_count() == 1 && me.get::<Pending>().get_bytes() != "");
        self.cards_of_a_day();
    }

    fn cards_of_a_day(&self) {
        for cards in [self.person.get::<Pending>().get_review(), self.person.get::<Pending>().get_ready()] {
            for at in 0..cards.row_count() {
                let mut card = cards.row_data(at).unwrap();
                card.when = "2026-11-27 09:30".into();
                cards.set_row_data(at, card);
            }
        }
    }

    fn choose(&self, at: i32) {
        self.person.get::<Browse>().invoke_select_row(at);
        self.until(|me| me.get::<Detail>().get_shown());
    }

    /// Changes a field of a patient, through the form, where one of another is pending.
    fn edit(&self, at: i32, label: &str, text: &str) {
        self.choose(at);
        self.until(|me| me.get::<Detail>().get_title() == crate::stage::PATIENTS[usize::try_from(at).unwrap()]);
        self.write(label, text);
        self.until(|me| me.get::<Shell>().get_pending() == 2);
        let listed = |me: &Person| me.get::<Browse>().get_rows().row_data(usize::try_from(at).unwrap()).unwrap().state;
        self.until(|me| listed(me) == RowState::Pending && me.get::<Detail>().get_pending() == 1);
    }

    /// Changes a field of what is shown, through the form.
    fn write(&self, label: &str, text: &str) {
        self.person.get::<Browse>().invoke_edit_record();
        let form = self.person.get::<tombolo_ui::window::Form>();
        let field = form.get_fields().iter().position(|field| field.label == label).unwrap();
        form.invoke_edit_text(i32::try_from(field).unwrap(), text.into());
        form.invoke_save();
        self.until(|me| !me.get::<Shell>().get_form_open());
    }

    fn conflict(&self, clinic: &Clinic) {
        clinic.clash(&self.person.app);
        self.until(|me| me.get::<Shell>().get_review() == 1 && me.get::<Detail>().get_conflict());
        self.person.get::<Conflict>().invoke_next();
        self.until(|me| me.get::<Shell>().get_conflict_open());
    }
}

#[test]
fn the_calendar_in_spanish() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.choose(1);
    picture.speak(2);
    picture.open_form();
    let form = picture.person.get::<tombolo_ui::window::Form>();
    let born = form.get_fields().iter().position(|field| field.label == "Date of birth").unwrap();
    form.invoke_pick_day(i32::try_from(born).unwrap());
    picture.until(|me| me.get::<Shell>().get_calendar_open());
    picture.compare("calendar-spanish");
}

#[test]
fn what_a_reader_sees() {
    let clinic = Clinic::open();
    let picture = Picture::of_user(&clinic, "visitor", 1.0, ThemeMode::Light);
    picture.choose(1);
    picture.compare("reader-light");
}

fn list(name: &str, scale: f32, theme: ThemeMode) {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, scale, theme);
    picture.choose(1);
    picture.compare(name);
}

#[test]
fn the_list_in_light() {
    list("list-light", 1.0, ThemeMode::Light);
}

#[test]
fn the_list_in_dark() {
    list("list-dark", 1.0, ThemeMode::Dark);
}

#[test]
fn the_list_at_double_resolution() {
    list("list-light-2x", 2.0, ThemeMode::Light);
}

#[test]
fn a_list_of_many_in_light() {
    const GIVEN: [&str; 10] =
        ["Zawadi", "Salim", "Neema", "Juma", "Halima", "Karisa", "Mwanaisha", "Omondi", "Riziki", "Wanjiru"];
    const FAMILY: [&str; 6] = ["Charo", "Kazungu", "Mohamed", "Njoroge", "Odhiambo", "Said"];
    const VILLAGES: [&str; 5] = ["Mtwapa", "Lamu", "Watamu", "Gede", "Takaungu"];
    let clinic = Clinic::open();
    let client = clinic.client("amina");
    let patients = client.table::<Fields>("patients").unwrap();
    let site = patients.list().unwrap().remove(0).value["site"].clone();
    for (at, family) in FAMILY.iter().enumerate() {
        for (by, given) in GIVEN.iter().enumerate() {
            let patient = [
                ("name", Plain::Text(format!("{given} {family}"))),
                ("village", Plain::Text(VILLAGES[(at + by) % 5].into())),
                ("phone", Plain::Text(format!("+25471{at}{by:02}4{at}0{by}"))),
                ("site", site.clone()),
            ];
            patients.create(&patient.map(|(field, value)| (field.to_owned(), value)).into()).unwrap();
        }
    }
    drop((patients, client));
    let picture = Picture::at(clinic.options(Some(clinic.signed_in("amina")), "amina"), 1.0, ThemeMode::Light);
    picture.until(|me| me.get::<Browse>().get_total() == 64 && me.get::<Shell>().get_conn() == Conn::Online);
    picture.person.ui().window().dispatch_event(WindowEvent::PointerScrolled {
        position: LogicalPosition::new(500.0, 500.0),
        delta_x: 0.0,
        delta_y: -700.0,
    });
    (0..20).for_each(|_| picture.tick());
    for (pending, (at, label, text)) in (1..).zip([(21, "Phone", "+254722000111"), (24, "Village", "Malindi")]) {
        picture.person.get::<Browse>().invoke_select_row(at);
        let row = |me: &Person| me.get::<Browse>().get_rows().iter().find(|row| row.current && row.at == at);
        picture.until(|me| row(me).is_some_and(|row| row.title == me.get::<Detail>().get_title()));
        picture.write(label, text);
        picture.until(|me| row(me).is_some_and(|row| row.state == RowState::Pending) && me.get::<Detail>().get_pending() == 1);
        picture.until(|me| me.get::<Shell>().get_pending() == pending);
    }
    picture.compare("list-many-light");
}

#[test]
fn the_form_in_french() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.choose(1);
    picture.speak(1);
    picture.open_form();
    picture.compare("form-french");
}

#[test]
fn the_conflict_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.conflict(&clinic);
    picture.compare("conflict-light");
}

#[test]
fn the_conflict_in_dark_at_double_resolution() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 2.0, ThemeMode::Dark);
    picture.conflict(&clinic);
    picture.compare("conflict-dark-2x");
}

#[test]
fn the_settings_in_dark() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Dark);
    picture.person.get::<Shell>().set_settings_open(true);
    picture.compare("settings-dark");
}

#[test]
fn what_is_pending_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.pending(&clinic);
    picture.compare("pending-light");
}

#[test]
fn what_is_pending_in_swahili() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.pending(&clinic);
    picture.speak(3);
    picture.cards_of_a_day();
    picture.compare("pending-swahili");
}

#[test]
fn the_conflict_in_spanish() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.conflict(&clinic);
    picture.speak(2);
    picture.compare("conflict-spanish");
}

#[test]
fn what_others_did_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    clinic.clash(&picture.person.app);
    picture.person.get::<Shell>().invoke_open_activity();
    picture.until(|me| me.get::<History>().get_activity().row_count() == 2);
    let lines = picture.person.get::<History>().get_activity();
    for at in 0..lines.row_count() {
        let mut line = lines.row_data(at).unwrap();
        line.when = "2026-11-27 09:30".into();
        if !line.device.is_empty() {
            line.device = "0a1b2c3d".into();
        }
        lines.set_row_data(at, line);
    }
    picture.compare("activity-light");
}

#[test]
fn a_history_that_was_put_away_in_dark() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Dark);
    picture.choose(0);
    let open = || picture.person.get::<Shell>().invoke_open_history();
    open();
    picture.until(|me| me.get::<History>().get_lines().row_count() == 1);
    clinic.compact();
    open();
    picture.until(|me| me.get::<History>().get_put_away());
    let window = picture.person.get::<History>();
    window.set_fetched("2026-11-27 09:30".into());
    let lines = window.get_lines();
    let mut line = lines.row_data(0).unwrap();
    (line.when, line.device) = ("2026-11-27 09:30".into(), "0a1b2c3d".into());
    lines.set_row_data(0, line);
    picture.compare("history-put-away-dark");
}

#[test]
fn other_values_in_a_conflict_in_light() {
    let clinic = Clinic::open();
    clinic.two_write_what_can_be_chosen();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.until(|me| me.get::<Shell>().get_review() == 1);
    let conflict = picture.person.get::<Conflict>();
    conflict.invoke_next();
    picture.until(|me| me.get::<Shell>().get_conflict_open());
    for line in 0..conflict.get_lines().row_count() {
        if conflict.get_lines().row_data(line).unwrap().merge == Merge::Conflict {
            conflict.invoke_choose(i32::try_from(line).unwrap(), Side::Other);
        }
    }
    picture.compare("conflict-other-light");
}

fn about_the_row(name: &str, amina_deletes: bool, theme: ThemeMode) {
    let clinic = Clinic::open();
    clinic.one_deletes_what_the_other_changes(amina_deletes);
    let store = clinic.signed_in("amina");
    let picture = Picture::at(clinic.options(Some(store), "amina"), 1.0, theme);
    picture.until(|me| me.get::<Shell>().get_review() == 1 && me.get::<Shell>().get_conn() == Conn::Online);
    picture.person.get::<Conflict>().invoke_next();
    picture.until(|me| me.get::<Shell>().get_conflict_open());
    picture.compare(name);
}

#[test]
fn what_was_changed_in_what_i_deleted_in_light() {
    about_the_row("conflict-i-deleted-light", true, ThemeMode::Light);
}

#[test]
fn what_i_changed_in_what_was_deleted_in_dark() {
    about_the_row("conflict-they-deleted-dark", false, ThemeMode::Dark);
}

/// The first sign-in, filled in but for the password. What the computer calls itself is in no picture.
fn first_sign_in(clinic: &Clinic) -> Picture {
    let picture = Picture::at(clinic.options(None, "amina"), 1.0, ThemeMode::Light);
    let sign_in = picture.person.get::<SignIn>();
    sign_in.set_address("https://clinic.example".into());
    sign_in.set_name("amina".into());
    sign_in.set_device("Reception".into());
    sign_in.set_found(2);
    picture
}

#[test]
fn the_first_sign_in_in_light() {
    first_sign_in(&Clinic::open()).compare("sign-in-light");
}

#[test]
fn a_value_that_another_entry_has_in_light() {
    let clinic = Clinic::open();
    clinic.two_make_the_same_site();
    let picture = Picture::of_user(&clinic, "deputy", 1.0, ThemeMode::Light);
    picture.person.get::<Shell>().invoke_sync();
    picture.until(|me| me.get::<Shell>().get_report_open());
    picture.person.get::<Shell>().set_report_open(false);
    picture.person.get::<Conflict>().invoke_next();
    picture.until(|me| me.get::<Shell>().get_conflict_open());
    picture.compare("duplicate-light");
}

#[test]
fn what_was_refused_in_dark() {
    let clinic = Clinic::open();
    clinic.visitor_writes();
    let picture = Picture::of_user(&clinic, "visitor", 1.0, ThemeMode::Dark);
    picture.until(|me| me.get::<Shell>().get_review() == 1);
    picture.person.get::<Shell>().set_pending_open(true);
    picture.until(|me| me.get::<Pending>().get_review().row_count() == 1);
    picture.cards_of_a_day();
    picture.compare("refused-dark");
}

#[test]
fn the_report_of_a_sync_that_left_something_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    let report = picture.person.get::<Report>();
    report.set_pushed(12);
    report.set_pulled(340);
    report.set_merged(2);
    report.set_to_decide(1);
    report.set_waiting(3);
    report.set_up("1.9 kB".into());
    report.set_down("21 kB".into());
    report.set_seconds("4.2 s".into());
    report.set_at("2026-11-27 09:30".into());
    picture.person.get::<Shell>().set_report_open(true);
    picture.compare("report-light");
}

#[test]
fn a_file_with_something_to_correct_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    let file = clinic.folder.path().join("patients.csv");
    std::fs::write(&file, "name,site,phone,birth_date\nAmina,Kilifi,+254711000111,1981-02-03\nBaraka,,557,yesterday\n")
        .unwrap();
    picture.person.get::<Shell>().invoke_open_import();
    let import = picture.person.get::<Import>();
    import.invoke_look(file.display().to_string().into());
    picture.until(|me| me.get::<Import>().get_problems().row_count() > 0);
    import.set_file("/home/amina/Documents/patients.csv".into());
    picture.compare("import-light");
}

#[test]
fn long_names_in_dark() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Dark);
    let long = "Wilhelmina Nyambura Wanjiku-Otieno von Habsburg-Lothringen, called Mama Nyambura by everybody in the village";
    picture.choose(0);
    picture.write("Village", "The third house behind the market, on the road to Mtwapa, where the old baobab stands");
    picture.until(|me| me.get::<Detail>().get_pending() == 1);
    picture.write("Name", long);
    let listed = |me: &Person| me.get::<Browse>().get_rows().iter().any(|row| row.title == long);
    picture.until(|me| me.get::<Detail>().get_title() == long && listed(me) && me.get::<Shell>().get_pending() == 1);
    picture.compare("long-names-dark");
}

#[test]
fn a_list_without_anything_in_it_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.person.get::<Browse>().invoke_select_table(2);
    picture.until(|me| me.get::<Browse>().get_table_title() == "Visits" && me.get::<Browse>().get_total() == 0);
    picture.compare("empty-light");
}

#[test]
fn double_text_in_a_small_window_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.doubled();
    picture.choose(1);
    picture.compare("double-text-light");
}

#[test]
fn a_form_with_double_text_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.choose(1);
    picture.doubled();
    picture.open_form();
    picture.compare("double-text-form-light");
}

#[test]
fn a_conflict_with_double_text_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.conflict(&clinic);
    picture.doubled();
    picture.compare("double-text-conflict-light");
}

#[test]
fn the_sign_in_with_double_text_in_light() {
    let clinic = Clinic::open();
    let picture = first_sign_in(&clinic);
    picture.doubled();
    picture.compare("double-text-sign-in-light");
}

#[test]
fn what_is_pending_with_double_text_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.pending(&clinic);
    picture.doubled();
    picture.compare("double-text-pending-light");
}

#[test]
fn all_filters_of_a_table_in_light() {
    let (_agency, picture) = filters();
    picture.compare("filters-light");
}

#[test]
fn all_filters_of_a_table_with_double_text_in_light() {
    let (_agency, picture) = filters();
    picture.doubled();
    picture.compare("double-text-filters-light");
}

/// The filters of a table with several, two of them chosen.
fn filters() -> (Clinic, Picture) {
    let agency = Clinic::agency();
    agency.four_leases();
    let picture = Picture::at(agency.options(Some(agency.folder_of("amina")), "amina"), 1.0, ThemeMode::Light);
    let browse = picture.person.get::<Browse>();
    picture.until(|me| me.get::<Shell>().get_conn() == Conn::Online && me.get::<Shell>().get_pending() == 8);
    browse.invoke_select_table(2);
    picture.until(|me| me.get::<Browse>().get_total() == 4 && me.get::<Browse>().get_filters().row_count() == 3);
    browse.invoke_set_filter(1, 2);
    browse.invoke_set_filter(2, 3);
    picture.person.get::<Shell>().set_filters_open(true);
    (agency, picture)
}

#[test]
fn the_menu_of_modes_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    let place = LogicalPosition::new(938.0, 29.0);
    let button = slint::platform::PointerEventButton::Left;
    let window = picture.person.ui().window();
    window.dispatch_event(WindowEvent::PointerPressed { position: place, button });
    window.dispatch_event(WindowEvent::PointerReleased { position: place, button });
    picture.until(|me| me.get::<Shell>().get_modes_open());
    picture.compare("modes-light");
}

#[test]
fn the_licences_in_light() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Light);
    picture.person.get::<Settings>().invoke_open_licences();
    picture.compare("licences-light");
}

#[test]
fn a_conflict_chosen_beforehand_in_dark() {
    let clinic = Clinic::open();
    let picture = Picture::of(&clinic, 1.0, ThemeMode::Dark);
    picture.person.get::<Settings>().set_conflict_default(2);
    picture.person.get::<Settings>().invoke_changed();
    picture.person.get::<Theme>().set_mode(ThemeMode::Dark);
    picture.conflict(&clinic);
    picture.compare("conflict-beforehand-dark");
}
