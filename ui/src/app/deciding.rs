//! The conflict dialog.

use super::form::{kind, wrong};
use super::shown::Showing;
use super::{App, Place, State, at, fill, handler, handler1, handler2, int, model, named};
use crate::desk::{Ask, Trouble};
use crate::presenters::decision::{Decision, Line, Merge, Side, TOGETHER_NAMED_MAX, Taking};
use crate::presenters::form::editor_of;
use crate::presenters::words::{Piece, is_long, words};
use crate::window::{self, Conflict, ConflictKind, ConflictLine, Shell, Words};
use slint::{Model, SharedString, StyledText};
use std::rc::Rc;
use tombolo_client::protocol::ids::RowKey;
use tombolo_client::protocol::outbox::{self, Pending};
use tombolo_client::protocol::schema::{Field, Kind};
use tombolo_client::protocol::value::Value;

impl App {
    pub(super) fn bind_deciding(self: &Rc<Self>) {
        let conflict = self.get::<Conflict>();
        conflict.on_choose(handler2(self, |app, line, side: window::Side| {
            app.change_decision(|decision| decision.choose(at(line), side_of(side)));
        }));
        conflict.on_choose_value(handler2(self, |app, line, text: SharedString| {
            app.change_decision(|decision| decision.type_in(at(line), &text));
        }));
        conflict.on_choose_option(handler2(self, |app, line, option: i32| {
            let value = {
                let state = app.state.borrow();
                let line = state.decision.as_ref().and_then(|decision| decision.lines.get(at(line)));
                line.and_then(|line| options(&line.field).into_iter().nth(at(option))).unwrap_or_default()
            };
            app.change_decision(|decision| decision.choose_value(at(line), &value));
        }));
        conflict.on_pick(handler1(self, |app, line| app.pick(Place::Decision(at(line)))));
        conflict.on_pick_day(handler1(self, |app, line| app.pick_day(Place::Decision(at(line)))));
        conflict.on_choose_all(handler1(self, |app, side: window::Side| {
            app.change_decision(|decision| {
                if decision.about_row() {
                    decision.decide_row(side_of(side));
                } else {
                    decision.choose_all(side_of(side));
                }
            });
        }));
        conflict.on_apply(handler(self, |app| app.apply()));
        conflict.on_drop(handler(self, |app| {
            app.change_decision(|decision| decision.decide_row(Side::Server));
            app.apply();
        }));
        conflict.on_cancel(handler(self, |app| {
            put_aside(&mut app.state.borrow_mut());
            app.close_decision();
        }));
        conflict.on_looks_changed(handler(self, |app| app.show_decision(false)));
        conflict.on_next(handler(self, |app| {
            // Without a dialog, what an earlier reading said may be decided already.
            let next = if app.state.borrow().decision.is_some() { app.next_conflict() } else { None };
            app.decide(next);
        }));
    }

    /// Opens the dialog for a row, or for the first one, once what is pending has been read: what an earlier reading said may be
    /// decided already.
    pub(super) fn decide(self: &Rc<Self>, key: Option<RowKey>) {
        self.state.borrow_mut().decide_wanted = Some(key);
        self.ask(Ask::PendingShown(true));
    }

    pub(super) fn open_decision(self: &Rc<Self>, key: Option<RowKey>) {
        let opened = {
            let mut state = self.state.borrow_mut();
            let found = match key {
                Some(key) => state.conflicts.iter().find(|(view, _)| view.key == key),
                None => state.conflicts.first(),
            };
            let (found, schema) = (found.cloned(), state.schema.clone());
            let default = [Side::None, Side::Mine, Side::Server][usize::from(state.settings.conflict_default.min(2))];
            found.zip(schema).and_then(|((view, title), schema)| {
                let mut decision = Decision::new(&schema, &view, default, state.locale())?;
                put_aside(&mut state);
                let earlier = state.put_aside.remove(&view.key);
                let dropped = earlier.as_ref().map_or(0, |earlier| decision.take_over(earlier));
                state.decision = Some(decision);
                Some((title, dropped))
            })
        };
        let Some((title, dropped)) = opened else {
            // Something else than a conflict waits, or nothing any more. A dialog that is open stays.
            if self.state.borrow().decision.is_none() {
                self.stop_looking();
            }
            return;
        };
        self.close_choosers();
        let conflict = self.get::<Conflict>();
        conflict.set_title(named(&title));
        conflict.set_moved(dropped > 0);
        conflict.set_dropped(int(dropped));
        conflict.set_trouble("".into());
        conflict.set_show_unchanged(false);
        self.show_decision(true);
        self.get::<Shell>().set_conflict_open(true);
    }

    /// Whether choices of a conflict were begun that are not applied, also in dialogs that were closed to decide later.
    pub(super) fn would_lose_choices(&self) -> bool {
        let state = self.state.borrow();
        let begun = state.decision.iter().chain(state.put_aside.values()).any(Decision::is_begun);
        drop(state);
        begun && self.get::<Shell>().get_review() > 0
    }

    /// What is pending is read again and again only while somebody looks at it.
    fn stop_looking(&self) {
        if !self.get::<Shell>().get_pending_open() {
            self.ask(Ask::PendingShown(false));
        }
    }

    fn next_conflict(&self) -> Option<RowKey> {
        let state = self.state.borrow();
        let now = state.decision.as_ref().map(|decision| decision.key);
        let here = state.conflicts.iter().position(|(view, _)| Some(view.key) == now);
        let count = state.conflicts.len();
        let next = here.map_or(0, |here| (here + 1) % count.max(1));
        state.conflicts.get(next).map(|(view, _)| view.key)
    }

    pub(super) fn change_decision(self: &Rc<Self>, change: impl FnOnce(&mut Decision)) {
        {
            let mut state = self.state.borrow_mut();
            let Some(decision) = &mut state.decision else { return };
            change(decision);
        }
        // What was said about the choice before is over.
        self.get::<Conflict>().set_trouble("".into());
        self.show_decision(false);
    }

    fn show_decision(self: &Rc<Self>, anew: bool) {
        let words = self.get::<Words>();
        let mut dialog = {
            let state = self.state.borrow();
            let Some(decision) = &state.decision else { return };
            Dialog::of(&state, decision, &words)
        };
        // A model of choices is compared by identity; it stays the one that a list was opened with.
        for (line, before) in dialog.lines.iter_mut().zip(self.lines.iter()) {
            if before.choices.iter().eq(line.choices.iter()) {
                line.choices = before.choices;
            }
        }
        let conflict = self.get::<Conflict>();
        let other_question = conflict.get_kind() != dialog.kind;
        conflict.set_kind(dialog.kind);
        conflict.set_rival(dialog.rival);
        conflict.set_value(dialog.value);
        conflict.set_taking(dialog.taking);
        conflict.set_is_new(dialog.is_new);
        conflict.set_can_yield(dialog.can_yield);
        conflict.set_together(dialog.together);
        conflict.set_who(dialog.who);
        conflict.set_when(dialog.when);
        conflict.set_unchanged(int(dialog.unchanged));
        conflict.set_undecided(int(dialog.undecided));
        conflict.set_beforehand(dialog.beforehand);
        conflict.set_left(int(dialog.left));
        if anew {
            self.lines.set_vec(dialog.lines);
        } else {
            fill(&self.lines, dialog.lines);
        }
        if anew || other_question {
            // What had the focus may have gone with its line.
            let layers = self.get::<window::Layers>();
            layers.set_refocus(layers.get_refocus() + 1);
        }
    }

    fn apply(self: &Rc<Self>) {
        let ask = {
            let state = self.state.borrow();
            let Some(decision) = &state.decision else { return };
            let Some(resolution) = decision.resolution() else { return };
            Ask::Resolve { shown: Box::new(decision.shown.clone()), resolution }
        };
        self.ask(ask);
    }

    pub(super) fn decided(self: &Rc<Self>) {
        self.close_decision();
    }

    /// The decision was not taken: what moved is shown, and the choices that hold are kept.
    pub(super) fn not_decided(self: &Rc<Self>, why: &Trouble) {
        if self.state.borrow().decision.is_none() {
            // Pressed twice, and the first press has decided it.
            return;
        }
        self.get::<Conflict>().set_trouble(self.in_words(why));
        self.ask(Ask::PendingShown(true));
    }

    fn close_decision(self: &Rc<Self>) {
        self.close_choosers();
        self.state.borrow_mut().decision = None;
        self.get::<Shell>().set_conflict_open(false);
        self.stop_looking();
    }

    /// The conflicts were read again: an open dialog whose row moved says so.
    pub(super) fn conflicts_changed(self: &Rc<Self>) {
        enum Now {
            Same,
            Moved(usize),
            Gone,
        }
        let now = {
            let mut state = self.state.borrow_mut();
            let Some(key) = state.decision.as_ref().map(|decision| decision.key) else { return };
            let view = state.conflicts.iter().find(|(view, _)| view.key == key).map(|(view, _)| view.clone());
            let schema = state.schema.clone();
            match (view, schema, state.decision.as_mut()) {
                (Some(view), Some(schema), Some(decision)) if decision.shows(&schema, &view) => Now::Same,
                (Some(view), Some(schema), Some(decision)) => Now::Moved(decision.moved(&schema, &view)),
                _ => Now::Gone,
            }
        };
        match now {
            Now::Same => self.show_decision(false),
            Now::Moved(dropped) => {
                self.close_choosers();
                let conflict = self.get::<Conflict>();
                conflict.set_moved(true);
                conflict.set_dropped(int(dropped));
                conflict.set_trouble("".into());
                self.show_decision(false);
            }
            // It was decided elsewhere, or settled by itself.
            Now::Gone => {
                let title = self.get::<Conflict>().get_title();
                self.close_decision();
                self.toast(self.get::<Words>().invoke_settled(title), None, false);
            }
        }
    }
}

/// What the dialog shows of a decision.
struct Dialog {
    kind: ConflictKind,
    lines: Vec<ConflictLine>,
    /// Lines that need no decision, and are folded away.
    unchanged: usize,
    undecided: usize,
    /// Something stands as it was chosen beforehand.
    beforehand: bool,
    /// Who changed the server's side, and when.
    who: SharedString,
    when: SharedString,
    /// Other conflicts.
    left: usize,
    /// The other entry that has a value which must be unique, and that value.
    rival: SharedString,
    value: SharedString,
    taking: window::Taking,
    is_new: bool,
    can_yield: bool,
    /// What shares the fate of this change; empty where nothing does.
    together: SharedString,
}

impl Dialog {
    fn of(state: &State, decision: &Decision, words: &Words<'_>) -> Self {
        let (yes, no) = (words.invoke_yes(), words.invoke_no());
        let locale = state.locale();
        let showing = Showing { locale: &locale, yes: &yes, no: &no, names: &state.names };
        let lines: Vec<ConflictLine> = (0..decision.lines.len()).map(|at| line_vm(decision, at, &showing, words)).collect();
        let author = decision.author.as_ref();
        let rival = decision.shown.server.as_ref().filter(|row| row.key != decision.key);
        let taken = lines.iter().find(|line| line.merge == window::Merge::Conflict);
        Self {
            kind: kind_of(decision.kind),
            unchanged: decision.lines.iter().filter(|line| line.merge == Merge::Unchanged).count(),
            undecided: decision.undecided(),
            beforehand: decision.has_beforehand(),
            who: author.map(|(name, _)| words.invoke_person(name.into())).unwrap_or_default(),
            when: author.and_then(|(_, at_ms)| locale.moment(*at_ms)).unwrap_or_default().into(),
            left: state.conflicts.iter().filter(|(view, _)| view.key != decision.key).count(),
            rival: rival.and_then(|row| state.names.of_row(row.key)).unwrap_or_default().into(),
            value: taken.map(|line| line.mine.clone()).unwrap_or_default(),
            taking: taking(decision.takes()),
            is_new: decision.is_new(),
            can_yield: decision.can_yield(),
            together: together(state, decision, words),
            lines,
        }
    }
}

/// The other rows of its group, by their names, or those of their tables.
fn together(state: &State, decision: &Decision, words: &Words<'_>) -> SharedString {
    let others = decision.shown.together().count();
    if others == 0 {
        return SharedString::default();
    }
    let label = |key: &RowKey| state.schema.as_ref()?.table(key.table).map(|table| table.label.as_str());
    let name = |(key, _): &(RowKey, Pending)| state.names.of_row(*key).or_else(|| label(key)).unwrap_or("—").to_owned();
    let named: Vec<String> = decision.shown.together().take(TOGETHER_NAMED_MAX).map(name).collect();
    words.invoke_goes_together(named.join(", ").into(), int(others - named.len()))
}

/// What was chosen so far in the open dialog is there again when it is opened the next time.
fn put_aside(state: &mut State) {
    if let Some(decision) = state.decision.take().filter(Decision::is_begun) {
        state.put_aside.insert(decision.key, decision);
    }
    // One that was decided elsewhere is not asked about again.
    let State { put_aside, conflicts, .. } = state;
    put_aside.retain(|key, _| conflicts.iter().any(|(view, _)| view.key == *key));
}

/// What can be chosen for a field with few values. The first is nothing, where it may be empty.
fn options(field: &Field) -> Vec<Value> {
    let values: Vec<Value> = match field.kind {
        Kind::Bool => vec![Value::Bool(false), Value::Bool(true)],
        _ => field.choices.iter().map(|choice| Value::text(choice)).collect(),
    };
    let nothing = (!field.required && !values.is_empty()).then_some(Value::Null);
    nothing.into_iter().chain(values).collect()
}

fn line_vm(decision: &Decision, at: usize, showing: &Showing<'_>, words: &Words<'_>) -> ConflictLine {
    let Line { field, base, mine, server, merge, side, beforehand, other, group } = &decision.lines[at];
    let show = |value: &Value| showing.show(field, value);
    let (chosen, options, unknown) = (decision.other(at), options(field), base.is_none());
    let (base, mine, server) = (base.as_ref().map(show).unwrap_or_default(), show(mine), show(server));
    let long = *merge != Merge::Unchanged && [&base, &mine, &server].iter().any(|text| is_long(text));
    // Without a base the sides are held against each other.
    let against = |other: &SharedString| if base.is_empty() { other.clone() } else { base.clone() };
    let marked = long && !(base.is_empty() && (mine.is_empty() || server.is_empty()));
    let mark = |text: &SharedString, other: &SharedString| {
        if marked { marked_words(words, &against(other), text) } else { StyledText::default() }
    };
    ConflictLine {
        label: field.label.as_str().into(),
        mine_words: mark(&mine, &server),
        server_words: mark(&server, &mine),
        marked,
        base,
        mine,
        server,
        unknown,
        can_mine: decision.can_be_mine(at),
        other: match (&chosen, field.reference) {
            (Some(value), Some(_)) => show(value),
            _ => other.as_str().into(),
        },
        kind: kind(editor_of(field)),
        required: field.required,
        choice: options.iter().position(|option| Some(option) == chosen.as_ref()).map_or(-1, int),
        choices: model(options.iter().map(|option| if option.is_null() { "—".into() } else { show(option) }).collect()),
        side: match side {
            Side::None if matches!(merge, Merge::FromServer | Merge::Unchanged) => window::Side::Server,
            Side::None => window::Side::None,
            Side::Mine => window::Side::Mine,
            Side::Server => window::Side::Server,
            Side::Other => window::Side::Other,
        },
        beforehand: *beforehand,
        merge: match merge {
            Merge::Conflict => window::Merge::Conflict,
            Merge::FromMine => window::Merge::FromMine,
            Merge::FromServer => window::Merge::FromServer,
            Merge::Unchanged => window::Merge::Unchanged,
        },
        group: group.as_str().into(),
        wrong: wrong(decision.wrong(at)),
    }
}

/// The text with the words that differ marked in it. The window puts it together: only there is a piece never taken for markup.
fn marked_words(window: &Words<'_>, base: &str, text: &str) -> StyledText {
    words(base, text).into_iter().fold(StyledText::default(), |before, (piece, text)| {
        let piece = match piece {
            Piece::Same => window::Piece::Same,
            Piece::Removed => window::Piece::Removed,
            Piece::Added => window::Piece::Added,
        };
        window.invoke_marked(before, text.into(), piece)
    })
}

fn side_of(side: window::Side) -> Side {
    match side {
        window::Side::None => Side::None,
        window::Side::Mine => Side::Mine,
        window::Side::Server => Side::Server,
        window::Side::Other => Side::Other,
    }
}

fn taking(taking: Taking) -> window::Taking {
    match taking {
        Taking::Empties => window::Taking::Empties,
        Taking::Renames => window::Taking::Renames,
        Taking::Refused => window::Taking::Refused,
    }
}

pub(super) fn kind_of(kind: outbox::ConflictKind) -> ConflictKind {
    match kind {
        outbox::ConflictKind::UpdateUpdate => ConflictKind::Fields,
        outbox::ConflictKind::UpdateDelete => ConflictKind::TheyDeleted,
        outbox::ConflictKind::DeleteUpdate => ConflictKind::IDeleted,
        outbox::ConflictKind::CreateCreate => ConflictKind::CreatedTwice,
        outbox::ConflictKind::Unique => ConflictKind::Duplicate,
    }
}
