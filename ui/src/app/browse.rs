//! Tables, the list and the details of a row.

use super::filters::filtered_by;
use super::shown::Showing;
use super::{App, State, at, fill, handler, handler1, handler2, int, model, named};
use crate::desk::{Ask, Referred, RowNews};
use crate::window::{Browse, Detail, DetailLine, NavItem, Shell, Words};
use std::rc::Rc;
use std::sync::Arc;
use tombolo_client::listing::{Listing, Order, Standings, Wanted, target};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::{FieldTag, RowKey, TableTag};
use tombolo_client::protocol::schema::{Kind, Role, Schema, Table};
use tombolo_client::view::RowStanding;
use tombolo_client::{Status, TableInfo};

impl App {
    pub(super) fn bind_browse(self: &Rc<Self>) {
        let browse = self.get::<Browse>();
        browse.on_select_table(handler1(self, |app, index| app.select_table(index)));
        browse.on_look(handler2(self, |app, first, room| app.rows.look(at(first), at(room))));
        browse.on_select_row(handler1(self, |app, index| app.select_index(index)));
        browse.on_search(handler1(self, |app, text: slint::SharedString| {
            app.state.borrow_mut().wanted.text = text.to_string();
            app.find();
        }));
        browse.on_set_standing(handler1(self, |app, standing| {
            app.state.borrow_mut().wanted.standings =
                [Standings::All, Standings::Pending, Standings::Review][at(standing).min(2)];
            app.find();
        }));
        browse.on_sort(handler2(self, |app, column, descending| app.sort(at(column), descending)));
        browse.on_delete_record(handler(self, |app| {
            if app.get::<Detail>().get_shown() && app.get::<Browse>().get_can_write() {
                app.ask_whether_to_delete();
            }
        }));
        self.get::<Shell>().on_delete_row(handler(self, |app| app.delete_row()));
        let detail = self.get::<Detail>();
        detail.on_follow(handler1(self, |app, line| app.follow(at(line))));
        detail.on_back(handler(self, |app| {
            let back = app.state.borrow_mut().back.pop();
            if let Some(key) = back {
                app.go_to(key, false);
            }
        }));
        detail.on_discard_field(handler1(self, |app, line| {
            let field = app.line_field(at(line));
            if let (Some(key), Some(field)) = (app.state.borrow().row_shown(), field) {
                app.ask(Ask::Discard { key, field: Some(field) });
            }
        }));
        detail.on_discard_all(handler(self, |app| {
            if let Some(key) = app.state.borrow().row_shown() {
                app.ask(Ask::Discard { key, field: None });
            }
        }));
        detail.on_decide(handler(self, |app| {
            let key = app.state.borrow().row_shown();
            app.decide(key);
        }));
    }

    pub(super) fn schema(self: &Rc<Self>, schema: Arc<Schema>, role: Option<Role>) {
        let first = {
            let mut state = self.state.borrow_mut();
            let stays = state.table.filter(|table| schema.table(*table).is_some());
            state.schema = Some(schema.clone());
            state.role = role;
            stays.is_none()
        };
        self.get::<Shell>().set_workspace(capitalised(&schema.name).into());
        self.form_schema_changed(&schema);
        if first {
            // Where people work, and not the list of sites that they work at.
            let places = schema.scope_table;
            let work = schema.tables.iter().position(|table| Some(table.tag) != places).unwrap_or_default();
            self.select_table(int(work));
        } else {
            self.show_table_head();
        }
    }

    pub(super) fn status(self: &Rc<Self>, status: &Status, tables: Vec<TableInfo>) {
        let language = self.language();
        let items = tables.iter().map(|table| NavItem {
            title: table.label.as_str().into(),
            count: language.count(table.rows).into(),
            pending: int(table.pending),
            review: int(table.review),
        });
        let items: Vec<NavItem> = items.collect();
        let last = {
            let mut state = self.state.borrow_mut();
            state.tables = tables;
            state.last_sync_ms = status.caught_up_at_ms;
            if status.caught_up_at_ms == 0 { None } else { state.locale().moment(status.caught_up_at_ms) }
        };
        let shell = self.get::<Shell>();
        shell.set_pending(int(status.pending));
        shell.set_review(int(status.conflicts + status.refused));
        shell.set_last_sync(last.unwrap_or_default().into());
        let browse = self.get::<Browse>();
        browse.set_filling(status.filling > 0 || status.caught_up_at_ms == 0);
        fill(&self.tables, items);
        self.connection(status.connection.clone());
    }

    fn select_table(self: &Rc<Self>, index: i32) {
        let table = {
            let mut state = self.state.borrow_mut();
            let table = state.schema.as_ref().and_then(|schema| schema.tables.get(at(index))).map(|table| table.tag);
            let Some(table) = table else { return };
            state.table = Some(table);
            state.listing = None;
            state.referred.clear();
            state.wanted = Wanted::default();
            state.sorted_by = None;
            state.selected = None;
            state.row = None;
            state.back.clear();
            table
        };
        let browse = self.get::<Browse>();
        browse.set_table(index);
        self.set_selected(None);
        browse.set_text("".into());
        browse.set_standing(0);
        browse.set_column(0);
        browse.set_descending(false);
        self.rows.clear();
        browse.set_reading(true);
        browse.set_total(0);
        browse.set_of(0);
        self.get::<Detail>().set_shown(false);
        self.show_table_head();
        self.ask(Ask::Row(None));
        self.ask(Ask::Table(table));
    }

    /// Title, columns and filters of the table.
    pub(super) fn show_table_head(self: &Rc<Self>) {
        let words = self.get::<Words>();
        let by_title = words.invoke_by_title();
        let (title, columns, sorted, may_write) = {
            let state = self.state.borrow();
            let Some(table) = shown_table(&state) else { return };
            // What an entry is called begins with this field.
            let title = table.title.first().and_then(|tag| table.field(*tag));
            let by_title = title.map_or(by_title, |field| field.label.as_str().into());
            let columns = sortable(table).map(|(_, label)| label.as_str().into());
            let columns: Vec<slint::SharedString> = std::iter::once(by_title).chain(columns).collect();
            // The column has another place where the table has others by now.
            let sorted = state.sorted_by.and_then(|by| sortable(table).position(|(tag, _)| tag == by));
            (table.label.clone(), columns, sorted.map_or(0, |at| at + 1), state.may_write())
        };
        let browse = self.get::<Browse>();
        browse.set_column(int(sorted));
        browse.set_table_title(title.into());
        browse.set_columns(model(columns));
        browse.set_can_write(may_write);
        browse.set_read_only(!may_write);
        self.offer_filters();
    }

    fn sort(self: &Rc<Self>, column: usize, descending: bool) {
        let by = {
            let mut state = self.state.borrow_mut();
            state.wanted.descending = descending;
            let Some(table) = shown_table(&state) else { return };
            let by = column.checked_sub(1).and_then(|column| sortable(table).nth(column)).map(|(tag, _)| tag);
            state.sorted_by = by;
            by
        };
        self.get::<Browse>().set_descending(descending);
        self.ask(Ask::Order(Order { by }));
        self.find();
    }

    pub(super) fn listing(self: &Rc<Self>, table: TableTag, listing: Listing, referred: Vec<Referred>) {
        let others = {
            let mut state = self.state.borrow_mut();
            if state.table != Some(table) {
                return;
            }
            let first = state.listing.replace(listing).is_none();
            let others = first || state.referred != referred;
            let before = std::mem::replace(&mut state.referred, referred);
            // What the list is filtered by has its name also where there are too many by now to choose from.
            let names = filtered_by(&state, &before);
            state.names.learn(names);
            others
        };
        if others {
            self.offer_filters();
        }
        self.find();
    }

    /// Searches the snapshot, in memory, and shows what was found.
    pub(super) fn find(self: &Rc<Self>) {
        let (listing, places, of, filtered, selected) = {
            let state = self.state.borrow();
            let Some(listing) = state.listing.clone() else { return };
            let wanted = &state.wanted;
            let filtered = !wanted.text.trim().is_empty() || wanted.standings != Standings::All || !wanted.equal.is_empty();
            let places = listing.find(wanted);
            let of = listing.len();
            let selected = state.selected.filter(|key| Some(key.table) == state.table);
            (listing, places, of, filtered, selected)
        };
        let total = places.len();
        self.rows.show(listing, places);
        let browse = self.get::<Browse>();
        browse.set_reading(false);
        browse.set_total(int(total));
        browse.set_of(int(of));
        browse.set_filtered(filtered);
        self.set_selected(selected.and_then(|key| self.rows.position(key.id)));
    }

    fn set_selected(&self, index: Option<usize>) {
        self.rows.select(index);
        self.get::<Browse>().set_selected(index.map_or(-1, int));
    }

    fn select_index(self: &Rc<Self>, index: i32) {
        let Some(id) = self.rows.id(at(index)) else { return };
        let key = {
            let mut state = self.state.borrow_mut();
            let Some(table) = state.table else { return };
            let key = RowKey { table, id };
            state.selected = Some(key);
            state.back.clear();
            key
        };
        self.set_selected(Some(at(index)));
        self.ask(Ask::Row(Some(key)));
    }

    /// Shows a row, of whatever table.
    pub(super) fn go_to(self: &Rc<Self>, key: RowKey, remember: bool) {
        let (before, index) = {
            let state = self.state.borrow();
            let index = state.schema.as_ref().and_then(|schema| schema.tables.iter().position(|table| table.tag == key.table));
            (state.selected, index)
        };
        let Some(index) = index else { return };
        let back = self.state.borrow().back.clone();
        if self.state.borrow().table != Some(key.table) {
            self.select_table(int(index));
        }
        {
            let mut state = self.state.borrow_mut();
            state.selected = Some(key);
            state.back = back;
            state.back.extend(before.filter(|before| remember && *before != key));
        }
        self.ask(Ask::Row(Some(key)));
        self.find();
    }

    fn line_field(&self, line: usize) -> Option<FieldTag> {
        let state = self.state.borrow();
        shown_table(&state)?.fields.get(line).map(|field| field.tag)
    }

    fn follow(self: &Rc<Self>, line: usize) {
        let target = {
            let state = self.state.borrow();
            let field = shown_table(&state).and_then(|table| table.fields.get(line));
            let view = state.row.as_ref().and_then(|row| row.view.as_ref());
            match (field, view) {
                (Some(field), Some(view)) => target(field, view.value(field.tag)),
                _ => None,
            }
        };
        if let Some(key) = target {
            self.go_to(key, true);
        }
    }

    pub(super) fn row(self: &Rc<Self>, mut news: RowNews) {
        let mut left = false;
        let edit = {
            let mut state = self.state.borrow_mut();
            if state.selected != Some(news.key) {
                return;
            }
            // What was only here has not left: it was deleted, or discarded.
            let was_only_here = |row: &RowNews| {
                let is_new = row.pending.as_ref().is_some_and(|change| change.op == Op::Create);
                row.key == news.key && (is_new || row.view.is_none() && !row.left)
            };
            news.left &= !state.row.as_ref().is_some_and(was_only_here);
            if let Some(before) = state.row.take().filter(|before| before.key == news.key && news.view.is_none()) {
                // It is called as it was while it was there.
                news.title = before.title;
            }
            if let Some(form) = state.form.as_mut().filter(|form| form.key == news.key) {
                form.refresh(news.view.as_ref(), &news.names);
                left = news.left;
            }
            state.row = Some(news);
            std::mem::take(&mut state.edit_wanted)
        };
        self.get::<crate::window::Form>().set_left(left);
        self.show_row();
        self.show_form_fields(false);
        if edit {
            self.open_edit_form();
        }
    }

    /// Puts the details of the row into the window.
    pub(super) fn show_row(self: &Rc<Self>) {
        let words = self.get::<Words>();
        let (yes, no) = (words.invoke_yes(), words.invoke_no());
        let detail = self.get::<Detail>();
        let state = self.state.borrow();
        let (Some(row), Some(schema)) = (state.row.as_ref(), state.schema.as_ref()) else { return };
        let Some(table) = schema.table(row.key.table) else { return };
        let locale = state.locale();
        let pending = row.pending.as_ref();
        let is_new = pending.is_some_and(|change| change.op == Op::Create);
        let showing = Showing { locale: &locale, yes: &yes, no: &no, names: &row.names };
        let lines: Vec<DetailLine> = table
            .fields
            .iter()
            .map(|field| {
                let value = row.view.as_ref().map(|view| view.value(field.tag).clone()).unwrap_or_default();
                let edit = pending.filter(|_| !is_new).and_then(|change| change.fields.get(&field.tag));
                let edit = edit.filter(|edit| edit.base_value.as_ref() != Some(&edit.value));
                let base = edit.and_then(|edit| edit.base_value.as_ref());
                DetailLine {
                    label: field.label.as_str().into(),
                    value: showing.show(field, &value),
                    reference: field.reference.is_some(),
                    pending: edit.is_some(),
                    unknown: base.is_none(),
                    base: base.map(|base| showing.show(field, base)).unwrap_or_default(),
                }
            })
            .collect();
        let standing = row.view.as_ref().map_or(RowStanding::Clean, |view| view.standing);
        let version = row.view.as_ref().map(|view| view.version.0.to_string()).unwrap_or_default();
        let values = (row.title.clone(), row.view.is_none(), row.left, lines, state.back.is_empty());
        drop(state);
        let (title, gone, left, lines, no_back) = values;
        detail.set_title(named(&title));
        detail.set_version(version.into());
        detail.set_gone(gone);
        detail.set_left(left);
        detail.set_pending(int(lines.iter().filter(|line| line.pending).count()));
        fill(&self.details, lines);
        detail.set_is_new(is_new);
        detail.set_conflict(standing == RowStanding::Conflict);
        detail.set_refused(standing == RowStanding::Refused);
        detail.set_can_back(!no_back);
        detail.set_shown(true);
    }

    /// Asks about the row whose details are shown; another one may be shown by the time of the answer.
    fn ask_whether_to_delete(self: &Rc<Self>) {
        let title = {
            let mut state = self.state.borrow_mut();
            let row = state.row.as_ref();
            let Some((view, title)) = row.and_then(|row| Some((row.view.as_ref()?, row.title.clone()))) else { return };
            state.deleting = Some((view.key, view.seen.clone()));
            title
        };
        let shell = self.get::<Shell>();
        shell.set_delete_title(named(&title));
        shell.set_delete_open(true);
    }

    fn delete_row(self: &Rc<Self>) {
        if let Some((key, seen)) = self.state.borrow_mut().deleting.take() {
            self.ask(Ask::Delete { key, seen });
        }
    }
}

impl State {
    /// The row whose details are shown. The one that is selected may still have to be read.
    fn row_shown(&self) -> Option<RowKey> {
        self.row.as_ref().map(|row| row.key)
    }
}

/// A name as it stands at the beginning of a line.
fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

pub(super) fn shown_table(state: &State) -> Option<&Table> {
    state.schema.as_ref()?.table(state.table?)
}

/// Fields that rows can be sorted by, beside the title.
fn sortable(table: &Table) -> impl Iterator<Item = (FieldTag, &String)> {
    let fields = table.fields.iter().filter(|field| {
        let plain = field.kind != Kind::Bytes && (field.kind != Kind::Uuid || field.reference.is_some());
        plain && !field.multiline && table.title.first() != Some(&field.tag)
    });
    fields.map(|field| (field.tag, &field.label))
}
