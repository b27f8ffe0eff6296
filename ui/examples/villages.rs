//! A window of one's own on Tombolo's parts: where the patients of a clinic live, edited in place, with a look of its own.
//!
//! `cargo run -p tombolo-ui --example villages -- STORE`, where STORE is a folder that `tombolo login` made. The desk does the
//! work on its own threads: this file says what is asked of it, and puts what it tells into a window that shares nothing with
//! Tombolo's own. The patients' village goes into the outbox, and to the server with the next sync, like every other edit.

use look::VillagesWindow;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use tombolo_client::listing::{Listing, Wanted};
use tombolo_client::paths::STORE_FILE;
use tombolo_client::protocol::ids::{FieldTag, RowKey, TableTag};
use tombolo_client::protocol::outbox::Write;
use tombolo_client::protocol::value::Value;
use tombolo_client::view::RowView;
use tombolo_client::{Connection, LocalWrite};
use tombolo_ui::desk::{Ask, Desk, Done, Failed, Tell};

mod look {
    #![allow(missing_docs, reason = "written by the Slint compiler")]
    slint::slint! {
        import { LineEdit, Button, StandardListView } from "std-widgets.slint";
        export component VillagesWindow inherits Window {
            title: "Villages";
            preferred-width: 480px; preferred-height: 560px;
            background: #fff8ec;
            in property <string> state;
            in property <[StandardListViewItem]> patients;
            in property <string> chosen;
            in-out property <string> village;
            in property <bool> ready;
            callback search(string);
            callback choose(int);
            callback save();
            callback sync();
            VerticalLayout {
                padding: 16px; spacing: 12px;
                HorizontalLayout { spacing: 12px;
                    Text { text: root.state; color: #7a3e00; font-size: 16px; vertical-alignment: center; horizontal-stretch: 1; accessible-label: self.text; accessible-role: text; }
                    Button { text: "Sync"; clicked => { root.sync(); } }
                }
                LineEdit { placeholder-text: "Search"; accessible-label: "Search"; edited(text) => { root.search(text); } }
                StandardListView { model: root.patients; vertical-stretch: 1; current-item-changed(at) => { root.choose(at); } }
                Text { text: root.chosen == "" ? "Choose somebody above" : root.chosen; color: #3a2000; font-weight: 600; }
                HorizontalLayout { spacing: 12px;
                    LineEdit { text <=> root.village; enabled: root.ready; placeholder-text: "Village"; accessible-label: "Village"; horizontal-stretch: 1; accepted => { root.save(); } }
                    Button { text: "Save"; enabled: root.ready; clicked => { root.save(); } }
                }
            }
        }
    }
}

/// The window with its desk.
pub struct Villages {
    /// What is on the screen.
    pub window: VillagesWindow,
    desk: Desk,
    told: Receiver<Tell>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    table: Option<TableTag>,
    village: Option<FieldTag>,
    listing: Option<Listing>,
    wanted: Wanted,
    found: Vec<u32>,
    chosen: Option<RowView>,
}

impl Villages {
    /// Opens a store. `wake` is called, from other threads, when there is something to hear.
    ///
    /// # Errors
    /// Without a display, or without a thread.
    pub fn new(folder: &Path, wake: impl Fn() + Send + Sync + 'static) -> Result<Rc<Self>, Box<dyn std::error::Error>> {
        let (tell, told) = channel();
        let sink = move |news| {
            if tell.send(news).is_ok() {
                wake();
            }
        };
        let desk = Desk::start(folder.join(STORE_FILE), Arc::new(sink))?;
        let me = Rc::new(Self { window: VillagesWindow::new()?, desk, told, state: RefCell::default() });
        let on = |act: fn(&Self)| {
            let weak = Rc::downgrade(&me);
            move || weak.upgrade().iter().for_each(|me| act(me))
        };
        me.window.on_save(on(Self::save));
        me.window.on_sync(on(|me| me.desk.ask(Ask::Sync { only: None, sign_out: false })));
        let weak = Rc::downgrade(&me);
        me.window.on_search(move |text| weak.upgrade().iter().for_each(|me| me.search(&text)));
        let weak = Rc::downgrade(&me);
        me.window.on_choose(move |at| weak.upgrade().iter().for_each(|me| me.choose(at)));
        Ok(me)
    }

    /// Puts everything that the desk told since into the window.
    pub fn hear(&self) {
        while let Ok(news) = self.told.try_recv() {
            match news {
                Tell::Schema(schema, _) => {
                    let Some(table) = schema.table_named("patients") else { return self.say("This workspace has no patients") };
                    let village = table.fields.iter().find(|field| field.name == "village").map(|field| field.tag);
                    let mut state = self.state.borrow_mut();
                    (state.table, state.village) = (Some(table.tag), village);
                    drop(state);
                    self.desk.ask(Ask::Table(table.tag));
                }
                Tell::Listing { listing, .. } => {
                    self.state.borrow_mut().listing = Some(listing);
                    self.list();
                }
                Tell::Row(news) => self.show(news.view),
                Tell::Done { done: Done::Saved(_), title, .. } => self.say(&format!("{title} is saved on this device")),
                Tell::NotSaved { why: Failed::Trouble(why), .. }
                | Tell::NotOpened { why: Some(why), .. }
                | Tell::Trouble(why) => {
                    self.say(&why.to_string());
                }
                Tell::NotOpened { locked: true, .. } => self.say("Another window has this data open"),
                Tell::Connection(Connection::Online) => self.say("Up to date"),
                Tell::Connection(Connection::ServerUnreachable { .. }) => self.say("No connection; your work is kept here"),
                Tell::Synced { result: Ok(done), .. } => {
                    self.say(&format!("{} sent, {} received", done.report.pushed, done.report.pulled))
                }
                Tell::Synced { result: Err(error), .. } => self.say(&error.to_string()),
                _ => {}
            }
        }
    }

    fn say(&self, what: &str) {
        self.window.set_state(what.into());
    }

    fn search(&self, text: &str) {
        text.clone_into(&mut self.state.borrow_mut().wanted.text);
        self.list();
    }

    fn list(&self) {
        let mut state = self.state.borrow_mut();
        let Some(listing) = state.listing.clone() else { return };
        state.found = listing.find(&state.wanted);
        let shown = |place: &u32| slint::StandardListViewItem::from(listing.row(*place).title);
        let items: Vec<_> = state.found.iter().map(shown).collect();
        drop(state);
        self.window.set_patients(slint::ModelRc::new(slint::VecModel::from(items)));
    }

    fn choose(&self, at: i32) {
        let state = self.state.borrow();
        let place = usize::try_from(at).ok().and_then(|at| state.found.get(at)).copied();
        let id = place.zip(state.listing.as_ref()).map(|(place, listing)| listing.row(place).id);
        let key = id.zip(state.table).map(|(id, table)| RowKey { table, id });
        drop(state);
        self.desk.ask(Ask::Row(key));
    }

    fn show(&self, view: Option<RowView>) {
        let mut state = self.state.borrow_mut();
        let village = state.village;
        let text = |view: &RowView| match village.and_then(|village| view.values.get(&village)) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let typed = self.window.get_village();
        let differs = |view: &RowView| text(view) != typed.as_str();
        let before = state.chosen.as_ref().zip(view.as_ref());
        if before.is_some_and(|(old, new)| old.key == new.key && differs(old) && differs(new)) {
            // Somebody is typing: the edit stays one of what was shown before, also where that has changed now.
            return;
        }
        let row = view.as_ref().zip(state.listing.as_ref());
        let title = row.and_then(|(view, listing)| Some(listing.row(listing.position(view.key.id)?).title.to_owned()));
        let shown = view.as_ref().map(text).unwrap_or_default();
        state.chosen = view;
        drop(state);
        self.window.set_ready(title.is_some());
        self.window.set_chosen(title.unwrap_or_default().into());
        self.window.set_village(shown.into());
    }

    /// What the person saw goes with the edit, so that nothing is overwritten that came meanwhile.
    fn save(&self) {
        let state = self.state.borrow();
        let (Some(view), Some(village)) = (&state.chosen, state.village) else { return };
        let typed = self.window.get_village();
        let value = if typed.is_empty() { Value::Null } else { Value::text(&typed) };
        let write =
            LocalWrite { key: view.key, write: Write::Update([(village, value)].into()), seen: Some(view.seen.clone()) };
        drop(state);
        self.desk.ask(Ask::Save { writes: vec![write], form: 0 });
    }
}

thread_local! {
    /// The window of this thread, for news from others.
    static VILLAGES: RefCell<Option<Rc<Villages>>> = const { RefCell::new(None) };
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use slint::ComponentHandle;
    let folder = std::env::args_os().nth(1).ok_or("name the folder of a store, as `tombolo login` made it")?;
    let wake = || {
        // Without an event loop any more, nobody looks.
        let _ = slint::invoke_from_event_loop(|| VILLAGES.with_borrow(|villages| villages.iter().for_each(|v| v.hear())));
    };
    let villages = Villages::new(Path::new(&folder), wake)?;
    VILLAGES.set(Some(villages.clone()));
    villages.window.run()?;
    VILLAGES.take();
    Ok(())
}
