//! What is pending: what needs review, and what is ready.

use super::deciding::kind_of;
use super::shown::{Showing, change_lines, op};
use super::{App, fill, handler, handler1, handler2, int, model, named};
use crate::desk::rows::PENDING_SHOWN_MAX;
use crate::desk::{Ask, Done, Failed, Passed};
use crate::window::{ConflictKind, Pending, PendingVm, Reason, RowState, Shell, Words};
use slint::ComponentHandle;
use std::collections::BTreeSet;
use std::rc::Rc;
use tombolo_client::protocol::change::Refusal;
use tombolo_client::protocol::ids::{GroupId, RowKey};
use tombolo_client::protocol::outbox::Review;
use tombolo_client::view::PendingView;
use tombolo_client::{Estimate, Standing};

/// Lines of a change that a card shows.
const LINES_MAX: usize = 4;

impl App {
    pub(super) fn bind_pending(self: &Rc<Self>) {
        let pending = self.get::<Pending>();
        pending.on_decide(handler1(self, |app, id| {
            let key = app.pending_key(id);
            app.decide(key);
        }));
        pending.on_open(handler1(self, |app, id| {
            if let Some(key) = app.pending_key(id) {
                app.get::<Shell>().set_pending_open(false);
                app.go_to(key, false);
            }
        }));
        pending.on_discard(handler1(self, |app, id| {
            if let Some(key) = app.pending_key(id) {
                app.ask(Ask::Discard { key, field: None });
            }
        }));
        pending.on_discard_chosen(handler(self, |app| app.ask(Ask::DiscardAll(app.chosen()))));
        pending.on_again(handler1(self, |app, id| {
            if let Some(key) = app.pending_key(id) {
                app.ask(Ask::SendAgain(key));
            }
        }));
        pending.on_select(handler2(self, |app, id, on| app.select_pending(id, on)));
        pending.on_select_all(handler1(self, |app, on| {
            {
                let mut state = app.state.borrow_mut();
                state.left_out = if on { BTreeSet::new() } else { state.ready.keys().copied().collect() };
            }
            app.show_pending();
        }));
        pending.set_page(int(PENDING_SHOWN_MAX));
        pending.on_turn(handler2(self, |app, review, going| {
            app.ask(Ask::PendingBehind(Passed { review: super::at(review), going: super::at(going) }));
        }));
        pending.on_push(handler(self, |app| {
            let all = app.state.borrow().left_out.is_empty();
            app.sync((!all).then(|| app.chosen()), false);
        }));
        let shell = self.get::<Shell>();
        shell.on_pending_shown(handler1(self, |app, shown| {
            // A dialog goes on looking at what is pending.
            let decides = app.state.borrow().decision.is_some();
            app.ask(Ask::PendingShown(shown || decides));
        }));
        shell.on_undo(handler1(self, |app, id: i32| {
            app.dismiss(id);
            if let Ok(id) = u64::try_from(id) {
                app.state.borrow_mut().undo.take_if(|last| *last == id);
                app.ask(Ask::Undo(id));
            }
        }));
        shell.on_undo_last(handler(self, |app| {
            let Some(id) = app.state.borrow_mut().undo.take() else { return };
            app.dismiss(int(id));
            app.ask(Ask::Undo(id));
        }));
    }

    /// The row of a card. Cards are numbered as they were told.
    fn pending_key(&self, id: i32) -> Option<RowKey> {
        self.state.borrow().pending.get(super::at(id)).map(|(view, _)| view.key)
    }

    /// What is pending was read again.
    pub(super) fn pending(self: &Rc<Self>, passed: Passed, review: usize, going: usize) {
        let wanted = self.state.borrow_mut().decide_wanted.take();
        let window = self.get::<Pending>();
        window.set_review_total(int(review));
        window.set_going_total(int(going));
        window.set_reading(false);
        self.show_pending();
        window.set_review_passed(int(passed.review));
        window.set_going_passed(int(passed.going));
        self.conflicts_changed();
        if let Some(key) = wanted {
            self.open_decision(key);
        }
    }

    /// What the push costs that is offered, by what is known of the connection now.
    pub(super) fn show_estimate(&self) {
        let (bytes, seconds) = {
            let state = self.state.borrow();
            let language = state.settings.language;
            let Some(Estimate { bytes, rate, .. }) = state.estimate else { return };
            let ms = state.settings.pace.foretold_ms(bytes, rate, state.is_connected());
            (language.bytes(bytes), ms.map(|ms| language.seconds(ms)).unwrap_or_default())
        };
        let window = self.get::<Pending>();
        window.set_bytes(bytes.into());
        window.set_seconds(seconds.into());
    }

    /// The rows that the person wants to push now.
    pub(super) fn chosen(&self) -> BTreeSet<RowKey> {
        let state = self.state.borrow();
        state.ready.keys().filter(|key| !state.left_out.contains(key)).copied().collect()
    }

    fn show_pending(self: &Rc<Self>) {
        let chosen = self.chosen();
        let selected = chosen.len();
        self.ask(Ask::Estimate(chosen));
        let (review, ready, total) = {
            let words = self.get::<Words>();
            let (yes, no) = (words.invoke_yes(), words.invoke_no());
            let state = self.state.borrow();
            let showing = Showing { locale: &state.locale(), yes: &yes, no: &no, names: &state.names };
            let mut review = Vec::new();
            let mut ready = Vec::new();
            for (id, (view, title)) in state.pending.iter().enumerate() {
                let card = self.card(&state, id, view, title, &showing);
                if view.standing.waits_for_person() { review.push(card) } else { ready.push(card) }
            }
            (review, ready, state.ready.len())
        };
        fill(&self.review, review);
        fill(&self.ready, ready);
        let window = self.get::<Pending>();
        window.set_ready_total(int(total));
        window.set_selected(int(selected));
    }

    fn card(&self, state: &super::State, id: usize, view: &PendingView, title: &str, showing: &Showing<'_>) -> PendingVm {
        let locale = state.locale();
        let table = state.schema.as_ref().and_then(|schema| schema.table(view.key.table));
        let mut lines = table.map(|table| change_lines(table, &view.change, showing)).unwrap_or_default();
        let more = lines.len().saturating_sub(LINES_MAX);
        lines.truncate(LINES_MAX);
        let conflict = state.conflicts.iter().find(|(conflict, _)| conflict.key == view.key).map(|(conflict, _)| conflict);
        let label = |field| table.and_then(|table| table.field(field)).map(|field| field.label.clone()).unwrap_or_default();
        let (reason, a) = match (&view.standing, conflict) {
            (Standing::Conflict, Some(conflict)) => {
                (Reason::None, conflict.author.as_ref().map(|author| author.name.clone()).unwrap_or_default())
            }
            _ => reason(view, label),
        };
        PendingVm {
            id: int(id),
            table: state.label(view.key.table).into(),
            title: named(title),
            when: locale.moment(view.change.edited_at_ms).unwrap_or_default().into(),
            op: op(view.change.op),
            state: match view.standing {
                Standing::Conflict => RowState::Conflict,
                Standing::Refused => RowState::Refused,
                _ => RowState::Pending,
            },
            reason,
            a: a.into(),
            kind: conflict.map_or(ConflictKind::Fields, |conflict| kind_of(conflict.conflict.kind)),
            in_flight: view.standing == Standing::InFlight,
            waits: matches!(view.standing, Standing::Waiting { .. }),
            grouped: view.change.group.is_some(),
            selected: state.ready.contains_key(&view.key) && !state.left_out.contains(&view.key),
            lines: model(lines),
            more: int(more),
        }
    }

    fn select_pending(self: &Rc<Self>, id: i32, on: bool) {
        let Some(key) = self.pending_key(id) else { return };
        {
            let mut state = self.state.borrow_mut();
            // A group goes whole, also what of it is on another page.
            let group = state.ready.get(&key).copied().flatten();
            let is_member = |of: &(&RowKey, &Option<GroupId>)| *of.0 == key || (group.is_some() && *of.1 == group);
            let members: Vec<RowKey> = state.ready.iter().filter(is_member).map(|(key, _)| *key).collect();
            for member in members {
                if on {
                    state.left_out.remove(&member)
                } else {
                    state.left_out.insert(member)
                };
            }
        }
        self.show_pending();
    }

    // ---- answers ----

    pub(super) fn done(self: &Rc<Self>, done: Done, title: &str, undo: Option<u64>, key: RowKey) {
        let words = self.get::<Words>();
        let name = named(title);
        let text = match done {
            Done::Saved(_) => words.invoke_saved(name),
            Done::Deleted => words.invoke_deleted(name),
            Done::Discarded => words.invoke_discarded(name),
            Done::DiscardedAll(count) => words.invoke_discarded_all(int(count)),
            Done::Decided => words.invoke_decided(name),
            Done::SentAgain => words.invoke_sent_again(name),
            Done::Undone => words.invoke_undone(name),
            Done::UndoneBut(count) => words.invoke_undone_but(int(count)),
        };
        match done {
            Done::Saved(form) => self.saved(form, key, title),
            Done::Decided => self.decided(),
            Done::Deleted | Done::Discarded | Done::DiscardedAll(_) | Done::SentAgain | Done::Undone | Done::UndoneBut(_) => {}
        }
        self.toast(text, undo, false);
    }

    pub(super) fn not_done(self: &Rc<Self>, failed: &Failed) {
        self.toast(self.why_not(failed), None, true);
        self.window().window().request_redraw();
    }

    /// A form was not saved: it says why, if it is still there.
    pub(super) fn not_saved(self: &Rc<Self>, form: u64, failed: &Failed) {
        let is_there = {
            let mut state = self.state.borrow_mut();
            state.saving.take_if(|saving| saving.form == form);
            state.form.is_some() && state.forms == form
        };
        if !is_there {
            return self.not_done(failed);
        }
        self.get::<crate::window::Form>().set_trouble(self.why_not(failed));
        self.window().window().request_redraw();
    }

    fn why_not(&self, failed: &Failed) -> slint::SharedString {
        let words = self.get::<Words>();
        match failed {
            Failed::InFlight => words.invoke_in_flight(),
            Failed::TooLate => words.invoke_undo_too_late(),
            Failed::Trouble(why) => words.invoke_not_done(self.in_words(why)),
        }
    }
}

/// Why a change waits for a person.
fn reason(view: &PendingView, label: impl Fn(tombolo_client::protocol::ids::FieldTag) -> String) -> (Reason, String) {
    match &view.change.review {
        None => (Reason::None, String::new()),
        Some(Review::Refused(refusal)) => match refusal {
            Refusal::NoRight => (Reason::Rights, String::new()),
            Refusal::Field { field, problem: tombolo_client::protocol::schema::FieldProblem::Required } => {
                (Reason::Required, label(*field))
            }
            Refusal::Field { field, .. } => (Reason::Invalid, label(*field)),
            Refusal::MissingParent { field, .. } => (Reason::Reference, label(*field)),
            Refusal::Referenced { .. } => (Reason::ReferredTo, String::new()),
            Refusal::UnknownTable | Refusal::UnknownField { .. } => (Reason::Schema, String::new()),
            Refusal::RowTooLarge => (Reason::TooLarge, String::new()),
            Refusal::TooManyScopes { most } => (Reason::TooMany, most.to_string()),
            Refusal::Defect | Refusal::Undeliverable => (Reason::Poisoned, String::new()),
            Refusal::UnknownRow => (Reason::Rights, String::new()),
            other => (Reason::Other, other.to_string()),
        },
        Some(Review::Clash { field, .. }) => (Reason::Unique, label(*field)),
        Some(Review::Left) => (Reason::Left, String::new()),
        Some(Review::Offered) => (Reason::Offered, String::new()),
    }
}
