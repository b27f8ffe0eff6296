//! The only place that knows both sides: it puts what the desk tells into the window, and what a person does into requests.
//!
//! All of it runs on the window's thread. No borrow of the state is held while anything of the window is set: Slint calls
//! straight back.

mod browse;
mod chooser;
mod deciding;
mod files;
mod filters;
mod form;
mod link;
mod list;
mod pending;
mod shown;

use crate::desk::{Ask, Desk, Referred, Sink, Tell, Trouble, recall};
use crate::presenters::calendar::Calendar;
use crate::presenters::decision::Decision;
use crate::presenters::form::Form;
use crate::presenters::progress::Progress;
use crate::presenters::values::{Language, Locale, Names};
use crate::settings::Settings;
use crate::window::{self, AppWindow};
pub use chooser::Chooser;
use jiff::tz::TimeZone;
use list::{HitModel, Rows};
use slint::{CloseRequestResponse, ComponentHandle, Global, Model, ModelRc, SharedString, VecModel};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tombolo_client::listing::{Listing, Wanted};
use tombolo_client::paths::{STORE_FILE, data_folder};
use tombolo_client::protocol::ids::{FieldTag, GroupId, RowKey, TableTag};
use tombolo_client::protocol::outbox::Seen;
use tombolo_client::protocol::schema::{Role, Schema};
use tombolo_client::view::{ConflictView, PendingView};
use tombolo_client::{Connection, Estimate, LocalWrite, TableInfo};

/// How long a message stays.
const TOAST: Duration = Duration::from_secs(8);
/// A window that is shown before it knows its language would change it before one's eyes; but it waits no longer than this for a
/// disk that hangs.
const SETTINGS_WAIT: Duration = Duration::from_millis(150);
/// Messages at a time.
const TOASTS_MAX: usize = 3;

/// How a window begins.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder of the store; without it, that of the last sign-in.
    pub store: Option<PathBuf>,
    /// The folder for settings and stores; without it, the platform's.
    pub data: Option<PathBuf>,
    /// The language until one is chosen; without it, the system's.
    pub language: Option<Language>,
    /// Where the demo switches this window's network.
    pub network: Option<SocketAddr>,
    /// How files are chosen; without it, in the desktop's own window.
    pub chooser: Option<Chooser>,
}

thread_local! {
    /// The windows of this thread, so that news find theirs.
    static APPS: RefCell<BTreeMap<u64, Weak<App>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// One window with its desk.
pub struct App {
    id: u64,
    ui: AppWindow,
    desk: RefCell<Option<Desk>>,
    /// The one before, where it still has to let go of its store.
    earlier: RefCell<Option<Desk>>,
    state: RefCell<State>,
    /// News, with the number of the desk that they are from.
    told: RefCell<Receiver<(Option<u64>, Tell)>>,
    tell: Sender<(Option<u64>, Tell)>,
    /// The number of the desk there is now: what an earlier one still tells is not for whoever is here now.
    desk_number: Cell<u64>,
    rows: Rows,
    hits: Rc<HitModel>,
    tables: Rc<VecModel<window::NavItem>>,
    details: Rc<VecModel<window::DetailLine>>,
    fields: Rc<VecModel<window::FieldVm>>,
    days: Rc<VecModel<window::DayVm>>,
    lines: Rc<VecModel<window::ConflictLine>>,
    filters: Rc<VecModel<window::Filter>>,
    beside: Rc<VecModel<i32>>,
    review: Rc<VecModel<window::PendingVm>>,
    ready: Rc<VecModel<window::PendingVm>>,
    toasts: Rc<VecModel<window::ToastVm>>,
    data: PathBuf,
    network: Option<SocketAddr>,
    chooser: Chooser,
    /// What was kept of earlier choices is known. Before that, nothing is kept in its place.
    has_begun: Cell<bool>,
    on_closed: RefCell<Option<Box<dyn Fn()>>>,
}

/// What something is chosen for in a dialog of its own; the number is that of a line.
#[derive(Clone, Copy)]
enum Place {
    /// Of the form.
    Form(usize),
    /// Of the decision.
    Decision(usize),
    /// The list shows only what points at it.
    Filter(FieldTag),
}

/// A form that is being saved.
struct Saving {
    form: u64,
    written: Vec<LocalWrite>,
    /// Somebody pressed Save again meanwhile.
    again: bool,
}

#[derive(Default)]
struct State {
    settings: Settings,
    /// The computer's time zone, as the desk told it last.
    zone: Option<TimeZone>,
    /// The folder of the store that is open, or that is to be opened first.
    store: PathBuf,
    schema: Option<Arc<Schema>>,
    role: Option<Role>,
    tables: Vec<TableInfo>,
    table: Option<TableTag>,
    listing: Option<Listing>,
    referred: Vec<Referred>,
    wanted: Wanted,
    /// The filters that are offered: a field, and the values of its choices.
    filters: Vec<filters::Offered>,
    /// The column that the list is sorted by; without one, the title.
    sorted_by: Option<FieldTag>,
    selected: Option<RowKey>,
    row: Option<crate::desk::RowNews>,
    /// What the rows are called that pending values and conflicts point at.
    names: Names,
    back: Vec<RowKey>,
    form: Option<Form>,
    /// The row that is to be deleted, if the person says so, as they saw it.
    deleting: Option<(RowKey, Seen)>,
    /// Forms that were opened.
    forms: u64,
    /// What is being saved, and of which form.
    saving: Option<Saving>,
    /// A form waits for the row to be read.
    edit_wanted: bool,
    /// The field that a row is being chosen for, and the table that it is chosen from.
    picking: Option<(Place, TableTag)>,
    candidates: Option<Listing>,
    /// What candidates are searched for.
    candidate_text: String,
    /// What the preview of an import is of.
    looked_at: Option<(TableTag, PathBuf)>,
    /// The window closes behind the question whether to leave.
    closing: bool,
    /// A window for choosing a file is open.
    choosing: bool,
    /// The field that a day is being chosen for.
    calendar: Option<(Place, Calendar)>,
    decision: Option<Decision>,
    /// What was chosen so far in dialogs that were closed to decide later.
    put_aside: BTreeMap<RowKey, Decision>,
    /// A dialog waits for what is pending to be read.
    decide_wanted: Option<Option<RowKey>>,
    pending: Vec<(PendingView, String)>,
    conflicts: Vec<(ConflictView, String)>,
    /// What is ready, with its group.
    ready: BTreeMap<RowKey, Option<GroupId>>,
    /// Ready rows that the person does not want to push now.
    left_out: BTreeSet<RowKey>,
    connection: Connection,
    /// What the push costs that is offered, once it was asked.
    estimate: Option<Estimate>,
    syncing: bool,
    /// The sync that is under way began over an open connection.
    was_open: bool,
    progress: Progress,
    last_sync_ms: i64,
    /// What can be undone last.
    undo: Option<u64>,
    /// The export that is under way is one before signing out.
    leaving: bool,
    /// The sync that is under way is the last one before signing out.
    signing_out: bool,
    /// Behind the sync that is under way comes such a one.
    sign_out_wanted: bool,
    /// The report of a sync waits until nobody is typing or deciding.
    report_due: bool,
    next_toast: i32,
    account: Option<tombolo_client::store::Account>,
    /// The store of whoever was here when somebody else began to sign in, and had not signed out.
    before: Option<PathBuf>,
    /// The folder of whoever tried to sign in, where the store in it is damaged.
    damaged: Option<PathBuf>,
    history: Option<RowKey>,
}

impl State {
    fn locale(&self) -> Locale {
        Locale { language: self.settings.language, zone: self.zone.clone().unwrap_or(TimeZone::UTC) }
    }

    /// Whether the person may change the table that is shown. Where that is not known, the server says so.
    fn may_write(&self) -> bool {
        let table = self.schema.as_ref().zip(self.table).and_then(|(schema, table)| schema.table(table));
        table.is_some_and(|table| self.role.is_none_or(|role| role.may_write(table)))
    }

    fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::CatchingUp | Connection::Online)
    }

    fn label(&self, table: TableTag) -> String {
        let table = self.schema.as_ref().and_then(|schema| schema.table(table));
        table.map(|table| table.label.clone()).unwrap_or_default()
    }
}

impl App {
    /// A window, not shown yet, whose desk has begun to open the store.
    ///
    /// # Errors
    /// Where there is no display.
    pub fn new(options: Options) -> Result<Rc<Self>, slint::PlatformError> {
        let ui = AppWindow::new()?;
        let (tell, told) = channel();
        let id = NEXT.with(|next| next.replace(next.get() + 1));
        let data = options.data.clone().or_else(data_folder).unwrap_or_else(|| PathBuf::from("tombolo-data"));
        let system = || sys_locale::get_locales().find_map(|tag| Language::of_tag(&tag)).unwrap_or_default();
        let language = options.language.unwrap_or_else(system);
        let app = Rc::new(Self {
            id,
            ui,
            desk: RefCell::new(None),
            earlier: RefCell::new(None),
            state: RefCell::new(State {
                settings: Settings::new(language),
                store: options.store.unwrap_or_default(),
                ..State::default()
            }),
            told: RefCell::new(told),
            tell,
            desk_number: Cell::new(0),
            rows: Rows::default(),
            hits: Rc::default(),
            tables: Rc::default(),
            details: Rc::default(),
            fields: Rc::default(),
            days: Rc::default(),
            lines: Rc::default(),
            filters: Rc::default(),
            beside: Rc::default(),
            review: Rc::default(),
            ready: Rc::default(),
            toasts: Rc::default(),
            data,
            network: options.network,
            chooser: options.chooser.unwrap_or(chooser::of_desktop),
            has_begun: Cell::new(false),
            on_closed: RefCell::default(),
        });
        APPS.with(|apps| apps.borrow_mut().insert(id, Rc::downgrade(&app)));
        recall(app.data.clone(), language, app.sink(None));
        app.bind();
        let first = app.told.borrow().recv_timeout(SETTINGS_WAIT);
        match first {
            Ok((_, tell)) => app.hear(tell),
            Err(_) => app.apply_settings(),
        }
        Ok(app)
    }

    /// The window.
    pub fn window(&self) -> &AppWindow {
        &self.ui
    }

    /// What is done when the window has been closed for good. An event loop that runs until it is told to quit
    /// (`slint::run_event_loop_until_quit`) is quit here; any other ends with its last window by itself.
    pub fn on_closed(&self, done: impl Fn() + 'static) {
        *self.on_closed.borrow_mut() = Some(Box::new(done));
    }

    /// The window goes.
    fn close(&self) {
        // Without a display, in tests, there is nothing to hide.
        let _ = self.ui.hide();
        self.desk.borrow().iter().for_each(Desk::closes);
        if let Some(done) = self.on_closed.borrow().as_ref() {
            done();
        }
    }

    fn get<'a, G: Global<'a, AppWindow>>(&'a self) -> G {
        self.ui.global::<G>()
    }

    /// Models are set once; afterwards only what is in them changes, so that focus and place stay.
    fn bind(self: &Rc<Self>) {
        self.get::<window::Browse>().set_rows(ModelRc::from(self.rows.places()));
        self.get::<window::Browse>().set_tables(ModelRc::from(self.tables.clone()));
        self.get::<window::Detail>().set_lines(ModelRc::from(self.details.clone()));
        self.get::<window::Picker>().set_hits(ModelRc::from(self.hits.clone()));
        self.get::<window::Form>().set_fields(ModelRc::from(self.fields.clone()));
        self.get::<window::Calendar>().set_days(ModelRc::from(self.days.clone()));
        self.get::<window::Conflict>().set_lines(ModelRc::from(self.lines.clone()));
        self.get::<window::Browse>().set_filters(ModelRc::from(self.filters.clone()));
        self.get::<window::Browse>().set_filters_beside(ModelRc::from(self.beside.clone()));
        self.get::<window::Pending>().set_review(ModelRc::from(self.review.clone()));
        self.get::<window::Pending>().set_ready(ModelRc::from(self.ready.clone()));
        self.get::<window::Shell>().set_toasts(ModelRc::from(self.toasts.clone()));
        self.bind_browse();
        self.bind_filters();
        self.bind_form();
        self.bind_pending();
        self.bind_deciding();
        self.bind_link();
        self.bind_files();
        let weak = Rc::downgrade(self);
        self.ui.window().on_close_requested(move || match weak.upgrade() {
            Some(app) if app.would_lose_typed() || app.would_lose_choices() => {
                app.state.borrow_mut().closing = true;
                app.ask_whether_to_leave();
                CloseRequestResponse::KeepWindowShown
            }
            app => {
                app.inspect(|app| app.close());
                CloseRequestResponse::HideWindow
            }
        });
        // From now on the window says what is in sight as that changes.
        self.ui.invoke_look();
    }

    /// Begins with the store that was named, or that of the last sign-in; without any, with the sign-in.
    fn begin(self: &Rc<Self>, settings: Settings, export_to: &Path) {
        self.has_begun.set(true);
        let folder = {
            let mut state = self.state.borrow_mut();
            state.settings = settings;
            if state.store.as_os_str().is_empty() { PathBuf::from(&state.settings.store) } else { state.store.clone() }
        };
        self.apply_settings();
        self.get::<window::Settings>().set_export_to(export_to.display().to_string().into());
        if folder.as_os_str().is_empty() { self.show_sign_in(false) } else { self.start_desk(&folder) }
    }

    fn start_desk(self: &Rc<Self>, folder: &Path) {
        let file = folder.join(STORE_FILE);
        self.state.borrow_mut().store = folder.to_owned();
        self.close_desk();
        match Desk::start_behind(self.earlier.take(), file, self.sink(Some(self.desk_number.get()))) {
            Ok(desk) => {
                desk.ask(Ask::Mode(self.state.borrow().settings.client_mode()));
                *self.desk.borrow_mut() = Some(desk);
            }
            Err(error) => self.trouble(&Trouble::Other(error.to_string())),
        }
        self.get::<window::Settings>().set_place(folder.display().to_string().into());
    }

    /// The store is closed without the window waiting for it, and what its desk tells from now on is not heard.
    fn close_desk(&self) {
        if let Some(desk) = self.desk.take() {
            desk.ask(Ask::Close);
            // The one before that has been waited for by this one.
            self.earlier.replace(Some(desk));
        }
        self.desk_number.set(self.desk_number.get() + 1);
    }

    /// Where news for this window go, from any thread: of a desk, or of what needs none.
    fn sink(&self, desk: Option<u64>) -> Sink {
        let (tell, id) = (self.tell.clone(), self.id);
        Arc::new(move |news: Tell| {
            if tell.send((desk, news)).is_ok() {
                // Without an event loop, in tests, the window is told by hand.
                let _ = slint::invoke_from_event_loop(move || pump(id));
            }
        })
    }

    fn ask(&self, ask: Ask) {
        if let Some(desk) = self.desk.borrow().as_ref() {
            desk.ask(ask);
        }
    }

    /// Puts everything that the desk told since into the window. Called by the event loop; by hand where there is none.
    pub fn pump(self: &Rc<Self>) {
        let is_heard = |desk: Option<u64>| desk.is_none_or(|desk| desk == self.desk_number.get());
        let news: Vec<(Option<u64>, Tell)> = self.told.borrow().try_iter().filter(|(desk, _)| is_heard(*desk)).collect();
        // Of snapshots only the newest counts.
        let last = |is: fn(&Tell) -> bool| news.iter().rposition(|(_, tell)| is(tell));
        let newest = [
            last(|tell| matches!(tell, Tell::Listing { .. })),
            last(|tell| matches!(tell, Tell::Status(..))),
            last(|tell| matches!(tell, Tell::Pending { .. })),
            last(|tell| matches!(tell, Tell::Progress(..))),
        ];
        let outdated = |at: usize, tell: &Tell| {
            let kind = match tell {
                Tell::Listing { .. } => 0,
                Tell::Status(..) => 1,
                Tell::Pending { .. } => 2,
                Tell::Progress(..) => 3,
                _ => return false,
            };
            newest[kind] != Some(at)
        };
        for (at, (desk, tell)) in news.into_iter().enumerate() {
            // What was heard before may have closed the desk.
            if is_heard(desk) && !outdated(at, &tell) {
                self.hear(tell);
            }
        }
    }

    fn hear(self: &Rc<Self>, tell: Tell) {
        let words = self.get::<window::Words>();
        match tell {
            Tell::Opened { account, has_schema } => self.opened(account, has_schema),
            Tell::NotOpened { locked, why } => self.not_opened(locked, why.as_ref()),
            Tell::Kept(settings, export_to) => self.begin(*settings, &export_to),
            Tell::Zone(zone) => self.state.borrow_mut().zone = Some(zone),
            Tell::Rung => self.come_to_front(),
            Tell::OtherShown(shown) => self.other_shown(shown),
            Tell::Schema(schema, role) => self.schema(schema, role),
            Tell::Status(status, tables) => self.status(&status, tables),
            Tell::Connection(connection) => self.connection(connection),
            Tell::Connected { took } => self.connected(took),
            Tell::Listing { table, listing, referred } => self.listing(table, listing, referred),
            Tell::Row(news) => self.row(*news),
            Tell::Candidates(table, listing) => self.candidates(table, listing),
            Tell::Pending { pending, passed, conflicts, ready, review, going, names } => {
                {
                    let mut state = self.state.borrow_mut();
                    state.names.learn(names);
                    state.left_out.retain(|key| ready.contains_key(key));
                    (state.pending, state.conflicts, state.ready) = (pending, conflicts, ready);
                }
                self.pending(passed, review, going);
            }
            Tell::Estimate(estimate) => {
                self.state.borrow_mut().estimate = Some(estimate);
                self.show_estimate();
            }
            Tell::Done { done, title, undo, key } => self.done(done, &title, undo, key),
            Tell::NotSaved { form, why } => self.not_saved(form, &why),
            Tell::NotDone(failed) => self.not_done(&failed),
            Tell::NotDecided(why) => self.not_decided(&why),
            Tell::PathChosen(choice, chosen) => self.path_chosen(choice, chosen),
            Tell::Exported(result) => self.exported(result),
            Tell::Preview { table, file, result } => self.previewed(table, &file, result),
            Tell::Imported(result) => self.imported(result),
            Tell::Found(address, found) => self.found(&address, found),
            Tell::SignedIn(result) => self.signed_in(result),
            Tell::SignedOut => self.signed_out(),
            Tell::Progress(progress) => self.progress(&progress),
            Tell::Synced { result, waiting } => self.synced(result, waiting),
            Tell::History { key, history, names, source } => self.history(key, history, &names, source),
            Tell::Activity(deeds) => self.activity(deeds),
            Tell::Network(on) => self.get::<window::Shell>().set_network_on(on),
            Tell::NewLife => self.toast(words.invoke_never_copied(), None, false),
            Tell::SetAside(place) => self.was_set_aside(&place),
            Tell::PutBack { offered } => self.toast(words.invoke_put_back(int(offered)), None, false),
            Tell::Trouble(why) => self.trouble(&why),
        }
    }

    fn trouble(self: &Rc<Self>, why: &Trouble) {
        if self.state.borrow().damaged.is_some() {
            // The data file could not be put aside.
            self.get::<window::SignIn>().set_busy(false);
        }
        self.toast(self.get::<window::Words>().invoke_not_done(self.in_words(why)), None, true);
    }

    fn in_words(&self, trouble: &Trouble) -> SharedString {
        use window::Trouble as Kind;
        let (kind, detail) = match trouble {
            Trouble::DiskFull => (Kind::DiskFull, ""),
            Trouble::Newer => (Kind::Newer, ""),
            Trouble::Older => (Kind::Older, ""),
            Trouble::Damaged(what) => (Kind::Damaged, what.as_str()),
            Trouble::Io(what) => (Kind::File, what.as_str()),
            Trouble::TooLarge => (Kind::TooLarge, ""),
            Trouble::Moved => (Kind::Moved, ""),
            Trouble::MixedGroup(fields) => (Kind::MixedGroup, fields.as_str()),
            Trouble::Gone => (Kind::Gone, ""),
            Trouble::Taken => (Kind::Taken, ""),
            Trouble::Other(what) => (Kind::Other, what.as_str()),
        };
        self.get::<window::Words>().invoke_trouble(kind, detail.into())
    }

    /// A message that goes away by itself.
    fn toast(self: &Rc<Self>, text: SharedString, undo: Option<u64>, error: bool) {
        let id = {
            let mut state = self.state.borrow_mut();
            state.next_toast += 1;
            state.undo = undo.or(state.undo);
            // What can be undone carries the desk's number; both stay small.
            undo.map_or(-state.next_toast, int)
        };
        while self.toasts.row_count() >= TOASTS_MAX {
            self.toasts.remove(0);
        }
        self.toasts.push(window::ToastVm { id, text, undo: undo.is_some(), error });
        self.let_fade(id);
    }

    /// The message goes after a while, but not while its button has the focus.
    fn let_fade(self: &Rc<Self>, id: i32) {
        let weak = Rc::downgrade(self);
        slint::Timer::single_shot(TOAST, move || match weak.upgrade() {
            Some(app) if app.get::<window::Shell>().get_toast_focus() == id => app.let_fade(id),
            Some(app) => app.dismiss(id),
            None => {}
        });
    }

    fn dismiss(&self, id: i32) {
        if let Some(at) = self.toasts.iter().position(|toast| toast.id == id) {
            self.toasts.remove(at);
        }
    }

    fn language(&self) -> Language {
        self.state.borrow().settings.language
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let id = self.id;
        // The thread may be ending.
        let _ = APPS.try_with(|apps| apps.borrow_mut().remove(&id));
    }
}

fn pump(id: u64) {
    let app = APPS.with(|apps| apps.borrow().get(&id).and_then(Weak::upgrade));
    if let Some(app) = app {
        app.pump();
    }
}

/// A count as the window takes it.
fn int(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// A place in a list as the window gives it.
fn at(index: i32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// A handler that does nothing once the window's state is gone.
fn handler<F: Fn(&Rc<App>)>(app: &Rc<App>, act: F) -> impl Fn() + use<F> {
    let weak = Rc::downgrade(app);
    move || {
        if let Some(app) = weak.upgrade() {
            act(&app);
        }
    }
}

/// [`handler`], with what the window says.
fn handler1<A, F: Fn(&Rc<App>, A)>(app: &Rc<App>, act: F) -> impl Fn(A) + use<A, F> {
    let weak = Rc::downgrade(app);
    move |said| {
        if let Some(app) = weak.upgrade() {
            act(&app, said);
        }
    }
}

/// [`handler`], with two things that the window says.
fn handler2<A, B, F: Fn(&Rc<App>, A, B)>(app: &Rc<App>, act: F) -> impl Fn(A, B) + use<A, B, F> {
    let weak = Rc::downgrade(app);
    move |one, two| {
        if let Some(app) = weak.upgrade() {
            act(&app, one, two);
        }
    }
}

/// What is shown stays in its place, and only what differs is drawn anew: a line costs several times as much to make as to change,
/// and one that is made anew has lost the focus.
fn fill<T: Clone + PartialEq + 'static>(model: &VecModel<T>, lines: Vec<T>) {
    while model.row_count() > lines.len() {
        model.remove(lines.len());
    }
    for (at, line) in lines.into_iter().enumerate() {
        match model.row_data(at) {
            None => model.push(line),
            Some(before) if before != line => model.set_row_data(at, line),
            Some(_) => {}
        }
    }
}

/// What a row is called; of one without a title, a dash.
fn named(title: &str) -> SharedString {
    if title.is_empty() { "—".into() } else { title.into() }
}

fn model<T: Clone + 'static>(items: Vec<T>) -> ModelRc<T> {
    ModelRc::new(VecModel::from(items))
}
