//! A server and the windows of people who use it.

use i_slint_backend_testing::{AccessibleRole, ElementHandle, ElementQuery, init_no_event_loop, mock_elapsed_time};
use slint::platform::{Key, PointerEventButton, WindowEvent};
use slint::{ComponentHandle, Global, Model, SharedString};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tombolo_client::paths::STORE_FILE;
use tombolo_client::protocol::commit::{AccessChange, Grant};
use tombolo_client::protocol::ids::DeviceId;
use tombolo_client::protocol::schema::{CLINIC, Plain, RENTAL, Role};
use tombolo_client::table::{Fields, Find};
use tombolo_client::url::ServerUrl;
use tombolo_client::{Client, Login};
use tombolo_server::access::OPERATOR;
use tombolo_server::net::{Config, RunningServer, Server};
use tombolo_server::store::records::User;
use tombolo_server::workspace::{Job, Reply};
use tombolo_ui::app::{App, Options};
use tombolo_ui::desk::PathFor;
use tombolo_ui::presenters::values::Language;
use tombolo_ui::window::{AppWindow, Browse, Detail, FieldVm, Form, Import, Report, RowState, Shell, Theme};

pub const PASSWORD: &str = "river stone 42";
/// Nothing takes longer than this, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What people choose next in place of a window of the desktop.
pub static CHOSEN: Mutex<Option<PathBuf>> = Mutex::new(None);

fn chosen(_: PathFor, _: &str) -> Option<PathBuf> {
    CHOSEN.lock().unwrap().take()
}

/// A clinic with its server.
pub struct Clinic {
    runtime: tokio::runtime::Runtime,
    server: Option<RunningServer>,
    place: SocketAddr,
    pub folder: TempDir,
}

/// What the patients are called; in the order of the list.
pub const PATIENTS: [&str; 4] = ["Achieng Otieno", "Baraka Mwangi", "Chep Koech", "Dalila Hassan"];

impl Clinic {
    pub fn open() -> Self {
        let clinic = Self::of(CLINIC);
        clinic.runtime.block_on(async {
            let operator = clinic.server.as_ref().unwrap().operator();
            operator.import_csv("sites", &[], b"name\nKilifi\n".to_vec()).await.unwrap();
            let mut csv = "name,phone,village,birth_date,weight_kg,notes\n".to_owned();
            for (at, name) in PATIENTS.iter().enumerate() {
                csv += &format!(
                    "{name},+25470000000{at},{},19{}0-05-31,6{at}.5,Comes every second Monday for her blood pressure\n",
                    ["Mtwapa", "Lamu", "Watamu", "Gede"][at],
                    4 + at
                );
            }
            operator.import_csv("patients", &[("site", "Kilifi")], csv.into_bytes()).await.unwrap();
            for (name, role) in [
                ("amina", Role::Editor),
                ("brian", Role::Editor),
                ("visitor", Role::Viewer),
                ("chief", Role::Admin),
                ("deputy", Role::Admin),
            ] {
                operator.add_user(name, PASSWORD, role, &["Kilifi"]).await.unwrap();
            }
        });
        clinic
    }

    /// An agency that lets dwellings, in place of a clinic, where Amina and Brian work.
    pub fn agency() -> Self {
        let agency = Self::of(RENTAL);
        agency.runtime.block_on(async {
            let operator = agency.server.as_ref().unwrap().operator();
            for name in ["amina", "brian"] {
                operator.add_user(name, PASSWORD, Role::Editor, &[]).await.unwrap();
            }
        });
        agency
    }

    /// Amina lets flats of two houses to two people, and pushes nothing.
    pub fn four_leases(&self) {
        let client = self.client("amina");
        let make = |table: &str, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(field, value)| ((*field).to_owned(), Plain::Text((*value).to_owned())));
            client.table::<Fields>(table).unwrap().create(&fields.collect()).unwrap().to_string()
        };
        let houses = ["Hill Top", "Sea View"].map(|name| make("buildings", &[("name", name), ("address", "12 Beach Road")]));
        let people = ["Musa Ali", "Zawadi Kamau"].map(|name| make("tenants", &[("name", name)]));
        for (at, (house, tenant, currency)) in
            [(0, 0, "EUR"), (0, 1, "KES"), (1, 1, "KES"), (1, 1, "EUR")].into_iter().enumerate()
        {
            let apartment = format!("{}A", at + 1);
            let fields = [("building", houses[house].as_str()), ("tenant", &people[tenant]), ("currency", currency)];
            let others = [("apartment", apartment.as_str()), ("start", "2026-11-01"), ("rent", "100")];
            make("leases", &[&fields[..], &others].concat());
        }
    }

    /// A server with nothing on it.
    fn of(schema: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = runtime.block_on(Server::start(Config::local(folder.path().join("server"), schema))).unwrap();
        Self { runtime, place: server.addr(), server: Some(server), folder }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.place)
    }

    /// The operator ends the sign-in of a device.
    pub fn revoke(&self, device: DeviceId) {
        self.runtime.block_on(self.server.as_ref().unwrap().operator().revoke_device(device)).unwrap();
    }

    /// The operator takes all places from somebody.
    pub fn takes_every_place_from(&self, name: &'static str) {
        let operator = self.server.as_ref().unwrap().operator();
        self.runtime.block_on(async {
            let found = operator.read(move |snapshot| snapshot.user_named(name)).await.unwrap();
            let (id, User { name, role, password, .. }) = found.unwrap();
            let change = AccessChange::User { id, name, role, grant: Grant::Scopes(Vec::new()), password };
            let reply = operator.ask(Job::Access { by: OPERATOR, change }).await.unwrap();
            assert!(matches!(reply, Reply::Access(Ok(_))), "{reply:?}");
        });
    }

    /// The operator puts away all that happened.
    pub fn compact(&self) {
        let operator = self.server.as_ref().unwrap().operator();
        assert_ne!(self.runtime.block_on(operator.compact(0)).unwrap(), 0);
    }

    /// The server comes back at the same place with another schema.
    pub fn new_schema(&mut self, schema: &str) {
        self.close();
        let config = Config { listen: self.place, ..Config::local(self.folder.path().join("server"), schema) };
        self.server = Some(self.runtime.block_on(Server::start(config)).unwrap());
    }

    /// What the server has is kept aside as it is now, and the server comes back.
    pub fn keep_a_copy(&mut self) {
        self.close();
        copy(&self.folder.path().join("server"), &self.folder.path().join("copy"));
        self.new_schema(CLINIC);
    }

    /// The server comes back with what was kept aside, and nothing of what came behind that.
    pub fn put_back(&mut self) {
        self.close();
        let folder = self.folder.path().join("server");
        fs::remove_dir_all(&folder).unwrap();
        copy(&self.folder.path().join("copy"), &folder);
        self.new_schema(CLINIC);
    }

    /// The server is gone.
    pub fn close(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
    }

    /// The server is gone, and something stands in its place that takes calls and never answers.
    pub fn falls_silent(&mut self) -> TcpListener {
        self.close();
        TcpListener::bind(self.place).unwrap()
    }

    /// The server is gone, and something else answers whoever asks at its place, until this is dropped.
    pub fn something_else_answers(&mut self, answer: &'static str) -> SomethingElse {
        self.close();
        let listener = TcpListener::bind(self.place).unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let ended = gone.clone();
        let answers = std::thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                // Whoever hangs up on it has heard enough.
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        SomethingElse { place: self.place, gone, answers: Some(answers) }
    }

    /// Another clinic's server is at the place of this one's, which is gone.
    pub fn another_clinic_answers(&mut self) {
        self.close();
        let config = Config { listen: self.place, ..Config::local(self.folder.path().join("another"), CLINIC) };
        self.server = Some(self.runtime.block_on(Server::start(config)).unwrap());
    }

    pub fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A device that is signed in and has everything.
    pub fn client(&self, name: &str) -> Client {
        let client = Client::open(&self.folder_of(name).join(STORE_FILE)).unwrap();
        let url: ServerUrl = self.address().parse().unwrap();
        let device_name = format!("{name}'s tablet");
        client.login(&url, Login { device_name: Some(&device_name), ..Login::new(name, PASSWORD) }).unwrap();
        client.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
        client
    }

    /// The folder of such a device.
    pub fn signed_in(&self, name: &str) -> PathBuf {
        drop(self.client(name));
        self.folder_of(name)
    }

    /// Somebody with such a device.
    pub fn person(&self, name: &str) -> Person {
        self.person_at(Some(self.signed_in(name)), name)
    }

    /// The chief and her deputy make the same site; the chief was first.
    pub fn two_make_the_same_site(&self) {
        for name in ["chief", "deputy"] {
            let client = self.client(name);
            let sites = client.table::<Fields>("sites").unwrap();
            sites.create(&Fields::from_iter([("name".to_owned(), Plain::Text("Mtwapa".into()))])).unwrap();
            if name == "chief" {
                client.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
            }
        }
    }

    /// A visitor, who may only read, writes a telephone number all the same, and it is refused.
    pub fn visitor_writes(&self) {
        let visitor = self.client("visitor");
        let patients = visitor.table::<Fields>("patients").unwrap();
        let mut row = patients.query(Find::all().equal("name", Plain::Text(PATIENTS[0].into()))).unwrap().remove(0);
        row.value.insert("phone".into(), Plain::Text("557".into()));
        patients.update(&row).unwrap();
        visitor.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
    }

    /// Brian and Amina write another sex and another day of birth of the second patient; Brian was first.
    pub fn two_write_what_can_be_chosen(&self) {
        let (amina, brian) = (self.client("amina"), self.client("brian"));
        for (client, sex, born) in [(&brian, "M", "1951-02-03"), (&amina, "F", "1952-03-04")] {
            let patients = client.table::<Fields>("patients").unwrap();
            let second = Find::all().equal("name", Plain::Text(PATIENTS[1].into()));
            let mut row = patients.query(second).unwrap().remove(0);
            row.value
                .extend([("sex".to_owned(), Plain::Text(sex.into())), ("birth_date".to_owned(), Plain::Text(born.into()))]);
            patients.update(&row).unwrap();
        }
        brian.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
    }

    /// Of the third patient one of Amina and Brian changes what the other one deletes; Brian was first.
    pub fn one_deletes_what_the_other_changes(&self, amina_deletes: bool) {
        let (amina, brian) = (self.client("amina"), self.client("brian"));
        for (client, deletes) in [(&brian, !amina_deletes), (&amina, amina_deletes)] {
            let patients = client.table::<Fields>("patients").unwrap();
            let third = Find::all().equal("name", Plain::Text(PATIENTS[2].into()));
            let mut row = patients.query(third).unwrap().remove(0);
            if deletes {
                patients.delete(&row).unwrap();
                continue;
            }
            let notes = "Comes every second Tuesday for her blood pressure, with her daughter, who knows what she takes";
            for (field, text) in [("phone", "+254722000111"), ("notes", notes)] {
                row.value.insert(field.to_owned(), Plain::Text(text.into()));
            }
            patients.update(&row).unwrap();
        }
        brian.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
    }

    /// Brian and whoever looks at the window write another note about the second patient; Brian was first.
    pub fn clash(&self, app: &Rc<App>) {
        let brian = self.client("brian");
        let patients = brian.table::<Fields>("patients").unwrap();
        let second = || Find::all().equal("name", Plain::Text(PATIENTS[1].into()));
        let mut row = patients.query(second()).unwrap().remove(0);
        row.value.insert("notes".into(), Plain::Text("Comes every second Friday for her blood pressure and her sugar".into()));
        patients.update(&row).unwrap();
        // The window edits what it saw before that.
        let shell = app.window().global::<Shell>();
        app.window().global::<Browse>().invoke_select_row(1);
        let wait = |what: &str, is: &dyn Fn() -> bool| {
            until(what, || {
                app.pump();
                is()
            })
        };
        wait("she sees him", &|| app.window().global::<Detail>().get_title() == PATIENTS[1]);
        app.window().global::<Browse>().invoke_edit_record();
        let form = app.window().global::<Form>();
        let at = form.get_fields().iter().position(|field| field.label == "Notes").unwrap();
        form.invoke_edit_text(i32::try_from(at).unwrap(), "Comes every first Monday for her blood pressure".into());
        let phone = form.get_fields().iter().position(|field| field.label == "Phone").unwrap();
        form.invoke_edit_text(i32::try_from(phone).unwrap(), "+254711222333".into());
        form.invoke_save();
        wait("it is saved", &|| shell.get_pending() == 1);
        brian.sync(Default::default(), |_| std::ops::ControlFlow::Continue(())).unwrap();
        shell.invoke_sync();
        wait("it is synced", &|| shell.get_report_open());
        shell.set_report_open(false);
        let browse = app.window().global::<Browse>();
        let listed = || browse.get_rows().iter().any(|row| row.state == RowState::Conflict);
        wait("the question is shown everywhere", &|| {
            let detail = app.window().global::<Detail>();
            shell.get_review() == 1 && detail.get_conflict() && listed()
        });
    }

    /// A window that begins with a store, or with nothing.
    pub fn person_at(&self, store: Option<PathBuf>, name: &str) -> Person {
        Person::of(self.options(store, name))
    }

    pub fn options(&self, store: Option<PathBuf>, name: &str) -> Options {
        Options {
            store,
            data: Some(self.folder.path().join(format!("{name}-settings"))),
            network: None,
            chooser: Some(chosen),
            language: Some(Language::English),
        }
    }

    /// The patients as the server has them, as CSV.
    pub fn patients(&self) -> String {
        self.rows("patients")
    }

    /// The rows of a table as the server has them, as CSV.
    pub fn rows(&self, table: &str) -> String {
        let operator = self.server.as_ref().unwrap().operator();
        String::from_utf8(self.runtime.block_on(operator.export_csv(table)).unwrap()).unwrap()
    }

    pub fn sound(&self) {
        let report = self.runtime.block_on(self.server.as_ref().unwrap().operator().verify()).unwrap();
        assert!(report.is_sound(), "{report}");
    }
}

pub struct SomethingElse {
    place: SocketAddr,
    gone: Arc<AtomicBool>,
    answers: Option<JoinHandle<()>>,
}

impl Drop for SomethingElse {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        // It hears of it with the next call, which is this one.
        let _ = TcpStream::connect(self.place);
        self.answers.take().unwrap().join().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A window and who looks at it.
pub struct Person {
    pub app: Rc<App>,
}

impl Person {
    /// A window on the platform of this thread, as it is.
    pub fn undressed(options: Options) -> Self {
        Self { app: App::new(options).unwrap() }
    }

    pub fn of(options: Options) -> Self {
        thread_local!(static PLATFORM: () = init_no_event_loop());
        PLATFORM.with(|()| ());
        let Self { app } = Self::undressed(options);
        app.window().global::<Theme>().set_motion(false);
        app.window().show().unwrap();
        app.window().window().set_size(slint::PhysicalSize::new(1280, 800));
        Self { app }
    }

    pub fn ui(&self) -> &AppWindow {
        self.app.window()
    }

    pub fn get<'a, G: Global<'a, AppWindow>>(&'a self) -> G {
        self.ui().global::<G>()
    }

    /// News come in, and the handlers of changes run.
    pub fn settle(&self) {
        self.app.pump();
        mock_elapsed_time(Duration::from_millis(400));
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let begun = now();
        loop {
            self.app.pump();
            mock_elapsed_time(Duration::from_millis(20));
            if is(self) {
                self.settle();
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "never: {what}; there is: {:#?}", self.labels());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the patients are listed.
    pub fn ready(&self) -> &Self {
        self.until("all patients are listed", |me| me.get::<Browse>().get_total() == 4);
        self
    }

    pub fn labels(&self) -> Vec<(AccessibleRole, SharedString)> {
        ElementQuery::from_root(self.ui())
            .match_predicate(|element| element.accessible_label().is_some())
            .find_all()
            .iter()
            .filter_map(|element| Some((element.accessible_role()?, element.accessible_label()?)))
            .collect()
    }

    /// The one element with a role and a label. Standard widgets are made of several with one label.
    #[track_caller]
    pub fn find(&self, role: AccessibleRole, label: &str) -> ElementHandle {
        let wanted = label.to_owned();
        ElementQuery::from_root(self.ui())
            .match_accessible_role(role)
            .match_predicate(move |element| element.accessible_label().as_deref() == Some(wanted.as_str()))
            .find_first()
            .unwrap_or_else(|| panic!("no {role:?} {label:?}; there is: {:#?}", self.labels()))
    }

    pub fn has(&self, label: &str) -> bool {
        ElementHandle::find_by_accessible_label(self.ui(), label).next().is_some()
    }

    /// A real click in the middle: it fails where something covers the element.
    #[track_caller]
    pub fn click(&self, label: &str) {
        self.press(AccessibleRole::Button, label);
    }

    /// A real click in the middle of anything.
    #[track_caller]
    pub fn press(&self, role: AccessibleRole, label: &str) {
        self.find(role, label).mock_single_click(PointerEventButton::Left);
        self.settle();
    }

    /// Types into a field in place of what is there.
    #[track_caller]
    pub fn fill(&self, label: &str, text: &str) {
        self.press(AccessibleRole::TextInput, label);
        self.rewrite(text);
    }

    pub fn key(&self, key: impl Into<SharedString>) {
        let text = key.into();
        self.ui().window().dispatch_event(WindowEvent::KeyPressed { text: text.clone() });
        self.ui().window().dispatch_event(WindowEvent::KeyReleased { text });
        self.settle();
    }

    pub fn control(&self, key: impl Into<SharedString>) {
        self.holding(Key::Control, key);
    }

    pub fn alt(&self, key: impl Into<SharedString>) {
        self.holding(Key::Alt, key);
    }

    fn holding(&self, held: Key, key: impl Into<SharedString>) {
        self.ui().window().dispatch_event(WindowEvent::KeyPressed { text: held.into() });
        self.key(key);
        self.ui().window().dispatch_event(WindowEvent::KeyReleased { text: held.into() });
    }

    /// Opens the conflict that there is to decide.
    #[track_caller]
    pub fn look_at_conflict(&self) {
        self.until("there is something to decide", |me| me.get::<Shell>().get_review() == 1);
        self.control("d");
        self.until("the dialog is open", |me| me.get::<Shell>().get_conflict_open());
    }

    /// The number of a field of the form.
    #[track_caller]
    pub fn number(&self, label: &str) -> i32 {
        let at = self.get::<Form>().get_fields().iter().position(|field| field.label == label);
        i32::try_from(at.unwrap_or_else(|| panic!("no field {label}"))).unwrap()
    }

    /// A field of the form.
    #[track_caller]
    pub fn field(&self, label: &str) -> FieldVm {
        let fields = self.get::<Form>().get_fields();
        fields.iter().find(|field| field.label == label).unwrap_or_else(|| panic!("no field {label}"))
    }

    /// A value of the details.
    #[track_caller]
    pub fn value(&self, label: &str) -> SharedString {
        let lines = self.get::<Detail>().get_lines();
        lines.iter().find(|line| line.label == label).unwrap_or_else(|| panic!("no field {label}")).value
    }

    pub fn write(&self, text: &str) {
        text.chars().for_each(|c| self.key(SharedString::from(c)));
    }

    /// Empties the field that has the focus and types.
    pub fn rewrite(&self, text: &str) {
        self.control("a");
        self.write(text);
    }

    /// Chooses a patient in the list.
    #[track_caller]
    pub fn choose(&self, at: usize) {
        self.press(AccessibleRole::ListItem, PATIENTS[at]);
        self.until("the patient is shown", |me| me.get::<Detail>().get_title() == PATIENTS[at]);
    }

    /// Goes to a table.
    #[track_caller]
    pub fn table(&self, title: &str) {
        self.press(AccessibleRole::Tab, title);
        self.until("the table is shown", |me| me.get::<Browse>().get_table_title() == title);
    }

    /// Goes to a neighbour in a box of choices, as a person does in any list of the desktop.
    #[track_caller]
    pub fn pick(&self, label: &str, neighbour: Key) {
        self.press(AccessibleRole::Combobox, label);
        self.key(neighbour);
        self.key(Key::Return);
    }

    /// Goes to a neighbour of the language, whose box has a name in the present one.
    #[track_caller]
    pub fn speak(&self, label: &str, neighbour: Key) {
        self.control(",");
        self.pick(label, neighbour);
        self.key(Key::Escape);
        assert!(!self.get::<Shell>().get_settings_open());
    }

    /// Has a file looked at, to import it.
    #[track_caller]
    pub fn look_at(&self, file: &Path) {
        if !self.get::<Shell>().get_import_open() {
            self.click("Import a CSV file");
        }
        self.fill("CSV file", file.to_str().unwrap());
        self.click("Look at it");
        self.until("it was looked at", |me| me.get::<Import>().get_looked());
    }

    /// Edits a field of the patient that is shown, by the form, and saves.
    pub fn edit(&self, label: &str, text: &str) {
        self.control("e");
        self.until("the form is open", |me| me.get::<Shell>().get_form_open() && me.has(label));
        self.fill(label, text);
        self.control("s");
        self.until("it is saved", |me| !me.get::<Shell>().get_form_open());
    }

    /// Presses Sync and waits for the report, which it closes. Returns whether it went well.
    pub fn sync(&self) -> bool {
        self.control("r");
        self.until("the sync is over", |me| me.get::<Shell>().get_report_open());
        let well = !self.get::<Report>().get_failed();
        self.key(Key::Escape);
        assert!(!self.get::<Shell>().get_report_open(), "Escape closes the report");
        well
    }

    pub fn pending(&self) -> i32 {
        self.settle();
        self.get::<Shell>().get_pending()
    }
}

fn now() -> Instant {
    Instant::now()
}
