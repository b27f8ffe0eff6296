//! The form, and choosing what a reference points at.

use super::{App, Place, Saving, State, at, fill, handler, handler1, handler2, int, model, named};
use crate::desk::Ask;
use crate::presenters::calendar::{Calendar, Stride};
use crate::presenters::form::{Editor, Form, FormField, editor_of};
use crate::presenters::values::{Language, Locale, Names, Wrong as Fault};
use crate::window::{self, Browse, DayVm, FieldKind, FieldVm, Picker, Shell, Wrong};
use slint::{Model, SharedString};
use std::rc::Rc;
use tombolo_client::listing::{Listing, Wanted};
use tombolo_client::new_row_id;
use tombolo_client::protocol::ids::{RowKey, TableTag};
use tombolo_client::protocol::schema::{Field, Kind, Schema};
use tombolo_client::protocol::value::Value;

impl App {
    pub(super) fn bind_form(self: &Rc<Self>) {
        let browse = self.get::<Browse>();
        browse.on_new_record(handler(self, |app| app.open_new_form()));
        browse.on_edit_record(handler(self, |app| app.open_edit_form()));
        let form = self.get::<window::Form>();
        form.on_edit_text(handler2(self, |app, line, text: SharedString| {
            app.change_form(at(line), |form| form.type_in(at(line), &text));
        }));
        form.on_edit_flag(handler2(self, |app, line, choice| {
            let yes = [Some(false), Some(true), None][at(choice).min(2)];
            app.change_form(at(line), |form| form.set_flag(at(line), yes));
        }));
        form.on_edit_choice(handler2(self, |app, line, choice: i32| {
            app.change_form(at(line), |form| {
                // The first choice of a field that may be empty is "nothing".
                let empty = form.fields.get(at(line)).is_some_and(|field| !field.field.required);
                let choice = usize::try_from(choice).ok();
                form.set_choice(at(line), if empty { choice.and_then(|choice| choice.checked_sub(1)) } else { choice });
            });
        }));
        form.on_leave(handler1(self, |app, line| {
            // What comes over the form gives the focus back to where somebody typed; a chooser, to what was chosen for.
            let chooses = app.state.borrow().picking.is_some() || app.state.borrow().calendar.is_some();
            if !chooses {
                app.get::<window::Form>().set_left_field(line);
            }
            app.change_form(at(line), |form| form.leave(at(line)));
        }));
        form.on_clear(handler1(self, |app, line| app.change_form(at(line), |form| form.set_reference(at(line), None))));
        form.on_pick(handler1(self, |app, line| app.pick(Place::Form(at(line)))));
        form.on_pick_day(handler1(self, |app, line| app.pick_day(Place::Form(at(line)))));
        form.on_go_back(handler(self, |app| {
            let form = app.get::<window::Form>();
            let line = form.get_left_field();
            form.set_left_field(-1);
            app.focus_field(at(line));
        }));
        form.on_save(handler(self, |app| app.save()));
        form.on_cancel(handler(self, |app| {
            if app.would_lose_typed() {
                app.state.borrow_mut().closing = false;
                app.ask_whether_to_leave();
            } else {
                app.close_form();
            }
        }));
        self.get::<Shell>().on_leave_form(handler(self, |app| {
            if std::mem::take(&mut app.state.borrow_mut().closing) {
                app.close();
            }
            app.close_form();
        }));
        let picker = self.get::<Picker>();
        picker.on_search(handler1(self, |app, text: SharedString| {
            app.state.borrow_mut().candidate_text = text.into();
            app.find_candidates();
        }));
        picker.on_choose(handler1(self, |app, index| app.choose(at(index))));
        picker.on_cancel(handler(self, |app| app.get::<Shell>().set_picker_open(false)));
        let calendar = self.get::<window::Calendar>();
        calendar.on_move(handler1(self, |app, stride| app.change_calendar(|calendar| calendar.go(stride_of(stride)))));
        calendar.on_today(handler(self, |app| app.change_calendar(Calendar::go_to_today)));
        calendar.on_choose(handler1(self, |app, day| app.choose_day(at(day))));
        calendar.on_cancel(handler(self, |app| app.get::<Shell>().set_calendar_open(false)));
    }

    pub(super) fn ask_whether_to_leave(&self) {
        let shell = self.get::<Shell>();
        shell.set_leaves_choices(!self.would_lose_typed());
        shell.set_leave_open(true);
    }

    /// Whether something was typed into the form that is not saved.
    pub(super) fn would_lose_typed(&self) -> bool {
        let state = self.state.borrow();
        let saving = state.saving.as_ref().filter(|saving| saving.form == state.forms);
        // What is being saved is not lost, but what was typed since would be, also where that is what was there before.
        state.form.as_ref().is_some_and(|form| saving.map_or(form.dirty(), |saving| !form.writes_only(&saving.written)))
    }

    fn open_new_form(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            if !state.may_write() {
                return;
            }
            let table = state.table.and_then(|table| state.schema.as_ref()?.table(table).cloned());
            let Some(table) = table else { return };
            let form = Form::create(&table, new_row_id(), &[], state.locale());
            state.form = Some(form);
        }
        self.show_form(true);
    }

    pub(super) fn open_edit_form(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            let Some(selected) = state.selected.filter(|_| state.may_write()) else { return };
            let row = state.row.as_ref().filter(|row| row.key == selected);
            let Some(row) = row else {
                // It comes when the row has been read.
                state.edit_wanted = true;
                return;
            };
            let table = state.schema.as_ref().and_then(|schema| schema.table(row.key.table));
            let (Some(view), Some(table)) = (row.view.as_ref(), table) else { return };
            let form = Form::edit(table, view, &row.names, state.locale());
            state.form = Some(form);
        }
        self.show_form(false);
    }

    fn show_form(self: &Rc<Self>, new: bool) {
        let (table, title) = {
            let mut state = self.state.borrow_mut();
            state.forms += 1;
            let Some(form) = &state.form else { return };
            let title = state.row.as_ref().filter(|_| !new).map(|row| row.title.clone()).unwrap_or_default();
            (state.label(form.key.table), title)
        };
        let form = self.get::<window::Form>();
        form.set_is_new(new);
        form.set_table(table.into());
        form.set_title(title.into());
        form.set_gone(false);
        form.set_left(false);
        form.set_faults(0);
        form.set_trouble("".into());
        form.set_left_field(-1);
        self.show_form_fields(true);
        self.get::<Shell>().set_form_open(true);
        // The first field that can be typed in.
        let first = self
            .state
            .borrow()
            .form
            .as_ref()
            .and_then(|form| form.fields.iter().position(|field| field.editor != Editor::Fixed));
        if let Some(first) = first {
            self.focus_field(first);
        }
    }

    /// Brings the focus to a field, once the window has seen that no other is wanted.
    fn focus_field(self: &Rc<Self>, line: usize) {
        self.get::<window::Form>().set_focus_field(-1);
        let weak = Rc::downgrade(self);
        slint::Timer::single_shot(std::time::Duration::ZERO, move || {
            if let Some(app) = weak.upgrade() {
                app.get::<window::Form>().set_focus_field(int(line));
            }
        });
    }

    /// Puts the form's fields into the window: anew when the form opens or its fields change, else only those that differ, so that
    /// whoever types keeps their place.
    pub(super) fn show_form_fields(self: &Rc<Self>, anew: bool) {
        let any = SharedString::from("—");
        let (fields, gone): (Vec<FieldVm>, bool) = {
            let state = self.state.borrow();
            let Some(form) = &state.form else { return };
            let names = state.row.as_ref().map(|row| &row.names);
            (form.fields.iter().map(|field| field_vm(field, form.locale(), names, &any)).collect(), form.gone)
        };
        self.get::<window::Form>().set_gone(gone);
        if anew {
            return self.fields.set_vec(fields);
        }
        for (line, field) in fields.into_iter().enumerate() {
            self.put_field(line, field);
        }
    }

    /// The schema changed under the form. Fields that stay keep their editors, and with them the focus; what was typed into one
    /// that went is told.
    pub(super) fn form_schema_changed(self: &Rc<Self>, schema: &Schema) {
        let (before, after, lost) = {
            let mut state = self.state.borrow_mut();
            let Some(form) = &mut state.form else { return };
            let tags = |form: &Form| form.fields.iter().map(|field| field.field.tag).collect::<Vec<_>>();
            let before = tags(form);
            let lost = form.schema_changed(schema);
            (before, tags(form), lost)
        };
        // A field in a new place is not the one that was to get the focus.
        self.get::<window::Form>().set_focus_field(-1);
        if before != after {
            // What is being chosen is for a line that may be another field's now.
            self.close_choosers();
            self.get::<window::Form>().set_left_field(-1);
        }
        let mut shown = before;
        for at in (0..shown.len()).rev() {
            if !after.contains(&shown[at]) {
                shown.remove(at);
                self.fields.remove(at);
            }
        }
        for (at, tag) in after.iter().enumerate() {
            if shown.get(at) != Some(tag) {
                // In another order now: no editor is where it was.
                if shown.contains(tag) {
                    self.show_form_fields(true);
                    break;
                }
                shown.insert(at, *tag);
                self.fields.insert(at, FieldVm::default());
            }
        }
        self.show_form_fields(false);
        if !lost.is_empty() {
            let words = self.get::<window::Words>();
            self.get::<window::Form>().set_trouble(words.invoke_field_gone(lost.join(", ").into()));
        }
    }

    fn put_field(&self, line: usize, mut field: FieldVm) {
        let Some(before) = self.fields.row_data(line) else { return };
        // The model of choices is compared by identity; it stays the one that the list was opened with.
        if before.choices.iter().eq(field.choices.iter()) {
            field.choices = before.choices.clone();
        }
        if before != field {
            self.fields.set_row_data(line, field);
        }
    }

    fn change_form(self: &Rc<Self>, line: usize, change: impl FnOnce(&mut Form)) {
        let field = {
            let mut state = self.state.borrow_mut();
            let State { form: Some(form), row, .. } = &mut *state else { return };
            change(form);
            let names = row.as_ref().map(|row| &row.names);
            form.fields.get(line).map(|field| field_vm(field, form.locale(), names, &"—".into()))
        };
        if let Some(field) = field {
            self.put_field(line, field);
        }
    }

    fn save(self: &Rc<Self>) {
        if self.get::<window::Form>().get_left() {
            // The form says what to do instead.
            return;
        }
        let (faults, writes) = {
            let mut state = self.state.borrow_mut();
            let Some(form) = &mut state.form else { return };
            (form.faults(), form.writes())
        };
        let window = self.get::<window::Form>();
        window.set_faults(int(faults.len()));
        self.show_form_fields(false);
        if let Some(first) = faults.first() {
            self.focus_field(*first);
            return;
        }
        let form = self.state.borrow().forms;
        if let Some(saving) = self.state.borrow_mut().saving.as_mut().filter(|saving| saving.form == form) {
            // It is under way; what was typed since comes behind it.
            saving.again = true;
            return;
        }
        if writes.is_empty() {
            // Nothing was changed.
            return self.close_form();
        }
        window.set_trouble("".into());
        self.state.borrow_mut().saving = Some(Saving { form, written: writes.clone(), again: false });
        self.ask(Ask::Save { writes, form });
    }

    /// What was asked for is on the device. The form closes where nothing was typed since; it may have been left meanwhile, and
    /// another one opened.
    pub(super) fn saved(self: &Rc<Self>, form: u64, key: RowKey, title: &str) {
        enum Then {
            Close,
            GoOn { again: bool },
            Show,
            Nothing,
        }
        let then = {
            let mut state = self.state.borrow_mut();
            let of_this_form = state.forms == form;
            let saving = state.saving.take_if(|saving| saving.form == form);
            match (&mut state.form, saving) {
                (Some(form), Some(saving)) if of_this_form && form.writes_only(&saving.written) => Then::Close,
                (Some(form), Some(saving)) if of_this_form => {
                    form.saved(&saving.written);
                    Then::GoOn { again: saving.again }
                }
                (Some(_), _) => Then::Nothing,
                (None, _) => Then::Show,
            }
        };
        match then {
            Then::Nothing => return,
            Then::Show => {}
            Then::Close => self.close_form(),
            Then::GoOn { again } => {
                let form = self.get::<window::Form>();
                form.set_is_new(false);
                form.set_title(named(title));
                self.show_form_fields(false);
                if again {
                    self.save();
                }
            }
        }
        self.go_to(key, false);
    }

    pub(super) fn close_form(self: &Rc<Self>) {
        self.close_choosers();
        self.state.borrow_mut().form = None;
        self.get::<Shell>().set_form_open(false);
    }

    // ---- references ----

    pub(super) fn pick(self: &Rc<Self>, place: Place) {
        let (table, label) = {
            let mut state = self.state.borrow_mut();
            let Some(field) = state.field_at(place) else { return };
            let Editor::Reference(table) = editor_of(field) else { return };
            let label = field.label.clone();
            state.picking = Some((place, table));
            state.candidates = None;
            state.candidate_text.clear();
            (table, label)
        };
        self.hits.clear();
        let picker = self.get::<Picker>();
        picker.set_title(label.into());
        picker.set_total(0);
        picker.set_selected(0);
        picker.set_reading(true);
        self.leave_for(place);
        self.get::<Shell>().set_picker_open(true);
        self.ask(Ask::Candidates(table));
    }

    pub(super) fn candidates(self: &Rc<Self>, table: TableTag, listing: Listing) {
        {
            let mut state = self.state.borrow_mut();
            if state.picking.is_none_or(|(_, wanted)| wanted != table) {
                return;
            }
            state.candidates = Some(listing);
        }
        self.get::<Picker>().set_reading(false);
        self.find_candidates();
    }

    /// Finds what was typed so far, which may be before there is anything to find.
    fn find_candidates(self: &Rc<Self>) {
        let (listing, text) = {
            let state = self.state.borrow();
            let Some(listing) = state.candidates.clone() else { return };
            (listing, state.candidate_text.clone())
        };
        let places = listing.find(&Wanted { text, ..Wanted::default() });
        let picker = self.get::<Picker>();
        picker.set_total(int(places.len()));
        picker.set_selected(0);
        self.hits.show(listing, places);
    }

    fn choose(self: &Rc<Self>, index: usize) {
        let (Some((id, title)), Some((place, table))) = (self.hits.id(index), self.state.borrow_mut().picking.take()) else {
            return;
        };
        self.get::<Shell>().set_picker_open(false);
        let value = Value::Uuid(*id.bytes());
        if !matches!(place, Place::Form(_)) {
            self.state.borrow_mut().names.learn(Names::from_iter([(RowKey { table, id }, title.clone())]));
        }
        match place {
            Place::Form(line) => self.change_form(line, |form| form.set_reference(line, Some((id, title)))),
            Place::Decision(line) => self.change_decision(|decision| decision.choose_value(line, &value)),
            Place::Filter(field) => self.filter_by(field, Some(value)),
        }
    }

    /// What something was chosen for is gone, or another: nothing is chosen any more.
    pub(super) fn close_choosers(&self) {
        {
            let mut state = self.state.borrow_mut();
            (state.picking, state.calendar) = (None, None);
        }
        self.get::<window::Conflict>().set_picked_for(-1);
        let shell = self.get::<Shell>();
        shell.set_picker_open(false);
        shell.set_calendar_open(false);
    }

    /// The focus comes back to where something was chosen for.
    fn leave_for(&self, place: Place) {
        if let Place::Form(line) = place {
            self.get::<window::Form>().set_left_field(int(line));
        }
    }

    // ---- days ----

    pub(super) fn pick_day(self: &Rc<Self>, place: Place) {
        let label = {
            let mut state = self.state.borrow_mut();
            let locale = state.locale();
            let Some(field) = state.field_at(place) else { return };
            let label = field.label.clone();
            let calendar = Calendar::open(&state.written_at(place), today(&locale), locale.language);
            state.calendar = Some((place, calendar));
            label
        };
        self.get::<window::Calendar>().set_field(label.into());
        self.leave_for(place);
        self.show_calendar();
        self.get::<Shell>().set_calendar_open(true);
    }

    fn change_calendar(self: &Rc<Self>, change: impl FnOnce(&mut Calendar)) {
        if let Some((_, calendar)) = &mut self.state.borrow_mut().calendar {
            change(calendar);
        }
        self.show_calendar();
    }

    fn show_calendar(self: &Rc<Self>) {
        let Some((_, calendar)) = self.state.borrow().calendar.clone() else { return };
        let days = calendar.days().into_iter().map(|day| DayVm {
            number: day.date.day().to_string().into(),
            label: calendar.label(day.date).into(),
            inside: day.inside,
            today: day.today,
            chosen: day.chosen,
        });
        fill(&self.days, days.collect());
        let window = self.get::<window::Calendar>();
        window.set_title(calendar.title().into());
        window.set_weekdays(model(calendar.weekdays().map(SharedString::from).to_vec()));
        window.set_cursor(int(calendar.at()));
    }

    fn choose_day(self: &Rc<Self>, day: usize) {
        let Some((place, calendar)) = self.state.borrow_mut().calendar.take() else { return };
        self.get::<Shell>().set_calendar_open(false);
        let Some(day) = calendar.days().get(day).map(|day| day.date) else { return };
        let day = {
            let state = self.state.borrow();
            match state.field_at(place).map(|field| field.kind) {
                Some(Kind::Timestamp { .. }) => Calendar::moment(day, &state.written_at(place)),
                _ => day.to_string(),
            }
        };
        match place {
            Place::Form(line) => self.change_form(line, |form| {
                form.type_in(line, &day);
                form.leave(line);
            }),
            Place::Decision(line) => self.change_decision(|decision| decision.type_in(line, &day)),
            // No day is chosen for it.
            Place::Filter(_) => {}
        }
    }
}

impl State {
    /// The field of a line.
    fn field_at(&self, place: Place) -> Option<&Field> {
        match place {
            Place::Form(line) => Some(&self.form.as_ref()?.fields.get(line)?.field),
            Place::Decision(line) => Some(&self.decision.as_ref()?.lines.get(line)?.field),
            Place::Filter(field) => self.schema.as_ref()?.table(self.table?)?.field(field),
        }
    }

    /// What stands in a line.
    fn written_at(&self, place: Place) -> String {
        let written = match place {
            Place::Form(line) => self.form.as_ref().and_then(|form| Some(form.fields.get(line)?.text(form.locale()))),
            Place::Decision(line) => self.decision.as_ref().and_then(|decision| Some(decision.lines.get(line)?.other.clone())),
            Place::Filter(_) => None,
        };
        written.unwrap_or_default()
    }
}

/// The calendar gets it as an argument.
fn today(locale: &Locale) -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(locale.zone.clone()).date()
}

fn stride_of(stride: window::Stride) -> Stride {
    match stride {
        window::Stride::DayBack => Stride::Days(-1),
        window::Stride::DayOn => Stride::Days(1),
        window::Stride::WeekBack => Stride::Days(-7),
        window::Stride::WeekOn => Stride::Days(7),
        window::Stride::WeekFirst => Stride::WeekFirst,
        window::Stride::WeekLast => Stride::WeekLast,
        window::Stride::MonthBack => Stride::Months(-1),
        window::Stride::MonthOn => Stride::Months(1),
        window::Stride::YearBack => Stride::Years(-1),
        window::Stride::YearOn => Stride::Years(1),
    }
}

fn field_vm(field: &FormField, locale: &Locale, names: Option<&Names>, nothing: &SharedString) -> FieldVm {
    let required = field.field.required;
    let choices: Vec<SharedString> = {
        let empty = (!required && field.editor == Editor::Choice).then(|| nothing.clone());
        empty.into_iter().chain(field.field.choices.iter().map(|choice| choice.as_str().into())).collect()
    };
    let offset = usize::from(!required);
    FieldVm {
        label: field.field.label.as_str().into(),
        kind: kind(field.editor),
        required,
        text: field.text(locale).into(),
        flag: match field.flag() {
            Some(false) => 0,
            Some(true) => 1,
            None => 2,
        },
        choice: field.choice().map_or(if required { -1 } else { 0 }, |choice| int(choice + offset)),
        choices: model(choices),
        wrong: wrong(field.wrong(locale)),
        dirty: field.dirty(locale),
        news: field.news.as_ref().map(|news| news_text(field, news, locale, names)).unwrap_or_default().into(),
        group: field.group.as_str().into(),
    }
}

fn news_text(field: &FormField, news: &Value, locale: &Locale, names: Option<&Names>) -> String {
    match (field.field.kind, news) {
        (_, Value::Null) => "—".to_owned(),
        (Kind::Uuid, _) => names.and_then(|names| names.of(&field.field, news)).unwrap_or("…").to_owned(),
        _ => locale.show(&field.field, news),
    }
}

pub(super) fn kind(editor: Editor) -> FieldKind {
    match editor {
        Editor::Line => FieldKind::Text,
        Editor::Lines => FieldKind::Multiline,
        Editor::Number => FieldKind::Number,
        Editor::Date => FieldKind::Date,
        Editor::Moment => FieldKind::Timestamp,
        Editor::Choice => FieldKind::Choice,
        Editor::Flag => FieldKind::Flag,
        Editor::Reference(_) => FieldKind::Reference,
        Editor::Fixed => FieldKind::Fixed,
    }
}

/// What is wrong, as the window puts it into words.
pub(super) fn wrong(wrong: Option<Fault>) -> Wrong {
    use crate::window::Fault as F;
    let (fault, a) = match wrong {
        None => (F::None, String::new()),
        Some(Fault::Required) => (F::Required, String::new()),
        Some(Fault::NotANumber) => (F::NotANumber, String::new()),
        Some(Fault::NotWhole) => (F::NotWhole, String::new()),
        Some(Fault::NotADate(example)) => (F::NotADate, example),
        Some(Fault::NotATime(example)) => (F::NotATime, example),
        Some(Fault::TooLong(most)) => (F::TooLong, most.to_string()),
        Some(Fault::TooShort(least)) => (F::TooShort, least.to_string()),
        Some(Fault::TooSmall(least)) => (F::TooSmall, least),
        Some(Fault::TooGreat(most)) => (F::TooGreat, most),
        Some(Fault::TooManyDecimals(most)) => (F::TooManyDecimals, most.to_string()),
        Some(Fault::NotAChoice) => (F::NotAChoice, String::new()),
        Some(Fault::UnknownReference) => (F::UnknownReference, String::new()),
        Some(Fault::Unfit) => (F::Other, String::new()),
    };
    Wrong { fault, a: a.into() }
}

/// The language by its place in the settings.
pub(super) fn language(index: usize) -> Language {
    Language::ALL.get(index).copied().unwrap_or_default()
}
