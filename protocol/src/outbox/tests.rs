//! Stories of single entries: each trap of the outbox, played by hand.

use super::*;
use crate::change::Verdict;
use crate::ids::{FieldTag, Generation, PushNo};
use crate::row::Life;
use crate::schema::Table;
use crate::testing::{key, live_row, medications, stock};
use std::collections::BTreeMap;

mod deciding;

const NAME: FieldTag = FieldTag(1);
const DOSE: FieldTag = FieldTag(2);
const UNIT: FieldTag = FieldTag(3);
const NOTES: FieldTag = FieldTag(4);

fn text(text: &str) -> Value {
    Value::text(text)
}

fn set(fields: &[(FieldTag, &str)]) -> BTreeMap<FieldTag, Value> {
    fields.iter().map(|(field, value)| (*field, text(value))).collect()
}

fn row(name: &str, notes: &str, seq: u64) -> Row {
    live_row(&[(NAME, text(name), seq), (NOTES, text(notes), seq)])
}

/// An entry with its table and mirror.
struct Story {
    table: Table,
    mirror: Option<Row>,
    entry: Entry,
    settled: Vec<Settled>,
}

impl Story {
    fn new(table: Table, mirror: Option<Row>) -> Self {
        Self { table, mirror, entry: Entry::new(key(), Seq(2)), settled: Vec::new() }
    }

    fn write(&mut self, what: Write) -> Result<(), WriteError> {
        self.write_seen(what, None)
    }

    fn write_seen(&mut self, what: Write, seen: Option<Seen>) -> Result<(), WriteError> {
        let Self { table, mirror, entry, settled } = self;
        write(table, entry, mirror.as_ref(), what, seen.as_ref(), settled, 1)?;
        entry.generation = Generation(entry.generation.0 + 1);
        Ok(())
    }

    fn update(&mut self, fields: &[(FieldTag, &str)]) {
        self.write(Write::Update(set(fields))).unwrap();
    }

    fn freeze(&mut self, complete: u64) -> crate::change::Change {
        let mut pending = self.entry.next.take().unwrap();
        if let Some(mirror) = &self.mirror {
            lift(&mut pending, mirror, Some(Seq(complete)));
        }
        let change = change_of(key(), &pending, Seq(complete), None);
        let generation = self.entry.generation;
        self.entry.sent = Some(Sent { number: PushNo(1), generation, view_base: Seq(complete), pending });
        change
    }

    /// The server's answer, with the row as the server has it now.
    fn answer(&mut self, verdict: Verdict, seq: u64, server: &Row) {
        let state = server.since_base(Seq(0));
        self.settled.extend(settle(&self.table, &mut self.entry, &verdict, Seq(seq), Some(&state)));
        self.mirror = Some(server.clone());
    }

    fn next(&self) -> &Pending {
        self.entry.next.as_ref().unwrap()
    }

    fn conflict(&self) -> Option<ConflictKind> {
        let next = self.entry.next.as_ref()?;
        conflict(&self.table, next, self.mirror.as_ref()).map(|conflict| conflict.kind)
    }

    fn shown(&self) -> Option<BTreeMap<FieldTag, Value>> {
        shown(self.mirror.as_ref(), Some(&self.entry))
    }
}

fn seen(seq: u64, generation: u64) -> Option<Seen> {
    Some(Seen { history: 0, seq: Seq(seq), generation: Generation(generation), values: None })
}

#[test]
fn an_edit_is_shown_at_once_and_an_edit_back_leaves_nothing() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    assert_eq!(story.shown().unwrap()[&NAME], text("b"));
    story.update(&[(NAME, "a")]);
    assert!(story.entry.is_empty());
}

#[test]
fn an_edit_made_during_a_push_survives_its_answer_and_is_based_on_what_was_sent() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    story.update(&[(NAME, "c")]);
    let server = live_row(&[(NAME, text("b"), 9), (NOTES, text("n"), 5)]);
    story.answer(Verdict::Accepted { merged: false }, 9, &server);
    assert_eq!(story.next().fields[&NAME], Edit { value: text("c"), base_value: Some(text("b")), base: Seq(9) });
    assert_eq!(story.conflict(), None);
    assert_eq!(story.shown().unwrap()[&NAME], text("c"));
}

#[test]
fn a_delete_after_a_sent_create_is_sent_as_a_delete() {
    let mut story = Story::new(medications(), None);
    story.write(Write::Create(set(&[(NAME, "new")]))).unwrap();
    story.freeze(0);
    story.write(Write::Delete).unwrap();
    assert_eq!(story.shown(), None);
    let server = row("new", "", 9);
    story.answer(Verdict::Accepted { merged: false }, 9, &server);
    assert_eq!((story.next().op, story.next().row_base), (Op::Delete, Seq(9)));
    assert_eq!(story.conflict(), None);
}

#[test]
fn a_create_that_was_never_sent_is_deleted_without_a_trace() {
    let mut story = Story::new(medications(), None);
    story.write(Write::Create(set(&[(NAME, "new")]))).unwrap();
    story.write(Write::Delete).unwrap();
    assert!(story.entry.is_empty());
}

#[test]
fn a_delete_behind_an_edit_does_not_delete_what_others_changed_unseen() {
    // T35: the answer of the edit brings somebody else's change; the delete was decided without it.
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.freeze(40);
    story.write(Write::Delete).unwrap();
    let server = live_row(&[(NAME, text("b"), 50), (NOTES, text("theirs"), 45)]);
    story.answer(Verdict::Accepted { merged: true }, 50, &server);
    assert_eq!(story.next().row_base, Seq(40));
    assert_eq!(story.conflict(), Some(ConflictKind::DeleteUpdate));
}

#[test]
fn a_strict_row_behind_an_agreed_push_does_not_overwrite_what_others_changed_unseen() {
    let mut story = Story::new(stock(), Some(row("item", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.freeze(40);
    story.update(&[(NAME, "c")]);
    let server = live_row(&[(NAME, text("b"), 45), (NOTES, text("theirs"), 46)]);
    story.answer(Verdict::Agreed, 50, &server);
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn a_strict_row_behind_its_own_accepted_push_is_not_asked_about_itself() {
    let mut story = Story::new(stock(), Some(row("item", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.freeze(40);
    story.update(&[(NAME, "c")]);
    let server = live_row(&[(NAME, text("b"), 50), (NOTES, text("n"), 40)]);
    story.answer(Verdict::Accepted { merged: false }, 50, &server);
    assert_eq!(story.conflict(), None);
    assert_eq!(story.next().row_base, Seq(50));
}

#[test]
fn an_old_form_saved_into_a_pending_change_of_a_strict_row_asks_about_what_was_changed_since() {
    let mut story = Story::new(stock(), Some(live_row(&[(NAME, text("theirs"), 45), (NOTES, text("n"), 40)])));
    story.write_seen(Write::Update(set(&[(NOTES, "mine")])), seen(45, 0)).unwrap();
    assert_eq!(story.conflict(), None);
    story.write_seen(Write::Update(set(&[(NOTES, "again")])), seen(45, 1)).unwrap();
    assert_eq!(story.conflict(), None);
    story.write_seen(Write::Update(set(&[(NAME, "mine")])), seen(40, 1)).unwrap();
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn what_is_written_over_a_strict_row_that_somebody_else_brought_to_the_same_asks_nothing() {
    let theirs = || live_row(&[(NAME, text("b"), 45), (NOTES, text("n"), 40)]);
    for (shown, asked) in [(45, None), (40, Some(ConflictKind::UpdateUpdate))] {
        let mut story = Story::new(stock(), Some(row("a", "n", 40)));
        story.update(&[(NAME, "b")]);
        story.mirror = Some(theirs());
        assert_eq!(story.conflict(), None);
        let generation = story.entry.generation;
        story.write_seen(Write::Update(set(&[(NAME, "c"), (NOTES, "m")])), seen(shown, generation.0)).unwrap();
        assert_eq!(story.conflict(), asked, "shown at {shown}");
    }
}

#[test]
fn an_old_form_of_a_strict_row_that_is_set_back_asks_nothing() {
    let mut story = Story::new(stock(), Some(live_row(&[(NAME, text("theirs"), 45), (NOTES, text("n"), 40)])));
    story.write_seen(Write::Update(set(&[(NOTES, "mine")])), seen(45, 0)).unwrap();
    let values = Some(set(&[(NAME, "a"), (NOTES, "n")]));
    story.write_seen(Write::Update(set(&[(NAME, "a")])), Some(Seen { values, ..seen(40, 1).unwrap() })).unwrap();
    assert_eq!((story.next().fields.len(), story.conflict()), (1, None));
}

#[test]
fn an_old_form_of_a_strict_row_saved_while_an_edit_is_in_flight_asks_also_when_that_comes_back() {
    for verdict in [Verdict::Held { by: key() }, Verdict::Conflict] {
        let server = live_row(&[(NAME, text("theirs"), 45), (NOTES, text("n"), 40)]);
        let mut story = Story::new(stock(), Some(server.clone()));
        story.write_seen(Write::Update(set(&[(NOTES, "mine")])), seen(45, 0)).unwrap();
        story.freeze(50);
        story.write_seen(Write::Update(set(&[(NAME, "mine")])), seen(40, 1)).unwrap();
        story.answer(verdict, 51, &server);
        assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
    }
}

#[test]
fn an_old_form_saved_into_a_restored_strict_row_asks_about_what_was_changed_before_the_deletion() {
    let deleted = |name_at| Row {
        life: Life::Deleted,
        seq: Seq(50),
        ..live_row(&[(NAME, text("theirs"), name_at), (NOTES, text("n"), 30)])
    };
    for (name_at, asked) in [(45, Some(ConflictKind::UpdateDelete)), (30, None)] {
        let mut story = Story::new(stock(), Some(deleted(name_at)));
        story.write(Write::Restore).unwrap();
        story.write_seen(Write::Update(set(&[(NOTES, "mine")])), seen(40, 1)).unwrap();
        assert_eq!(story.conflict(), asked, "changed at {name_at}");
    }
}

#[test]
fn the_base_is_what_was_displayed_and_not_what_the_mirror_has_at_saving() {
    // T17: the form opens with a@40, a delta brings x@50, the person saves b.
    let mut story = Story::new(medications(), Some(row("x", "n", 50)));
    story.write_seen(Write::Update(set(&[(NAME, "b")])), seen(40, 0)).unwrap();
    assert_eq!(story.next().fields[&NAME].base_value, None, "the value that was seen is not known, and not the server's");
    assert_eq!(story.next().fields[&NAME].base, Seq(40));
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn a_view_of_a_pending_value_that_was_confirmed_meanwhile_is_no_old_view() {
    // T41: the form shows my pending b; the push is accepted; the form is saved.
    let mut story = Story::new(medications(), Some(row("a", "n", 10)));
    story.update(&[(NAME, "b")]);
    let view = seen(10, story.entry.generation.0);
    story.freeze(10);
    let server = live_row(&[(NAME, text("b"), 50), (NOTES, text("n"), 10)]);
    story.answer(Verdict::Accepted { merged: false }, 50, &server);
    story.write_seen(Write::Update(set(&[(NAME, "c")])), view.clone()).unwrap();
    assert_eq!(story.conflict(), None);
    story.entry.next = None;
    story.write_seen(Write::Delete, view).unwrap();
    assert_eq!(story.conflict(), None);
}

#[test]
fn a_view_of_a_create_in_flight_and_an_edit_of_it_is_no_old_view_when_both_were_confirmed() {
    for table in [medications(), stock()] {
        let mut story = Story::new(table, None);
        story.write(Write::Create(set(&[(NAME, "new"), (NOTES, "n")]))).unwrap();
        let of_create = seen(0, story.entry.generation.0);
        story.freeze(0);
        story.update(&[(NAME, "newer")]);
        let of_both = seen(0, story.entry.generation.0);
        story.answer(Verdict::Accepted { merged: false }, 9, &row("new", "n", 9));
        story.freeze(9);
        story.answer(Verdict::Accepted { merged: false }, 12, &live_row(&[(NAME, text("newer"), 12), (NOTES, text("n"), 9)]));
        story.write_seen(Write::Update(set(&[(NOTES, "mine")])), of_both.clone()).unwrap();
        assert_eq!(
            story.next().fields[&NOTES].base_value,
            Some(text("n")),
            "what was confirmed of the create is what was shown"
        );
        assert_eq!(story.conflict(), None);
        story.entry.next = None;
        story.write_seen(Write::Delete, of_both).unwrap();
        assert_eq!(story.conflict(), None);
        // The view of the create alone did not show the edit.
        story.entry.next = None;
        story.write_seen(Write::Update(set(&[(NAME, "from an old form")])), of_create.clone()).unwrap();
        assert_eq!(story.next().fields[&NAME].base, Seq(9));
        assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
        story.entry.next = None;
        story.write_seen(Write::Delete, of_create).unwrap();
        assert_eq!(story.conflict(), Some(ConflictKind::DeleteUpdate));
    }
}

#[test]
fn a_view_of_two_own_changes_does_not_cover_what_others_did_between_them() {
    let mut story = Story::new(medications(), None);
    story.write(Write::Create(set(&[(NAME, "new"), (NOTES, "n")]))).unwrap();
    story.freeze(0);
    story.update(&[(NAME, "newer")]);
    let view = seen(0, story.entry.generation.0);
    story.answer(Verdict::Accepted { merged: false }, 9, &row("new", "n", 9));
    story.freeze(9);
    let server = live_row(&[(NAME, text("newer"), 12), (NOTES, text("theirs"), 11)]);
    story.answer(Verdict::Accepted { merged: true }, 12, &server);
    story.write_seen(Write::Update(set(&[(NOTES, "mine")])), view.clone()).unwrap();
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
    story.entry.next = None;
    story.write_seen(Write::Delete, view).unwrap();
    assert_eq!((story.next().row_base, story.conflict()), (Seq(9), Some(ConflictKind::DeleteUpdate)));
}

#[test]
fn a_view_of_before_anothers_change_does_not_delete_it_behind_the_answer_to_an_own_edit() {
    // The change was pulled before the push left, so that the answer does not bring it; the form is older than both.
    let server = live_row(&[(NAME, text("b"), 14), (NOTES, text("theirs"), 12)]);
    for (before, saved_in_flight) in [(11, false), (11, true), (12, false)] {
        let mut story = Story::new(medications(), Some(row("a", "n", 11)));
        story.update(&[(NAME, "b")]);
        let view = seen(before, story.entry.generation.0);
        story.mirror = Some(Row { seq: Seq(12), ..live_row(&[(NAME, text("a"), 11), (NOTES, text("theirs"), 12)]) });
        story.freeze(12);
        if saved_in_flight {
            story.write_seen(Write::Delete, view.clone()).unwrap();
        }
        story.answer(Verdict::Accepted { merged: false }, 14, &server);
        if !saved_in_flight {
            story.write_seen(Write::Delete, view).unwrap();
        }
        let asked = (before < 12).then_some(ConflictKind::DeleteUpdate);
        assert_eq!(story.conflict(), asked, "seen at {before}, saved in flight: {saved_in_flight}");
    }
}

#[test]
fn a_view_that_cannot_be_is_worth_no_more_than_the_mirror() {
    let mut story = Story::new(medications(), Some(row("a", "n", 10)));
    story.write_seen(Write::Update(set(&[(NAME, "b")])), seen(500, 0)).unwrap();
    assert_eq!(story.next().fields[&NAME].base, Seq(10));
}

#[test]
fn a_view_of_another_history_has_seen_nothing_of_this_one_but_its_values() {
    let foreign = |values| Some(Seen { history: 0, seq: Seq(10), generation: Generation(3), values }.within(1));
    let mut story = Story::new(medications(), Some(row("new history", "n", 10)));
    for values in [None, Some(set(&[(NAME, "lost"), (NOTES, "n")]))] {
        story.entry = Entry::new(key(), Seq(2));
        story.write_seen(Write::Update(set(&[(NAME, "mine")])), foreign(values.clone())).unwrap();
        assert_eq!((story.next().fields[&NAME].base, story.next().row_base), (Seq(0), Seq(0)));
        assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
        story.entry = Entry::new(key(), Seq(2));
        story.write_seen(Write::Delete, foreign(values)).unwrap();
        assert_eq!(story.conflict(), Some(ConflictKind::DeleteUpdate));
    }
    // What still is as it was shown is no question.
    story.entry = Entry::new(key(), Seq(2));
    story.write_seen(Write::Update(set(&[(NOTES, "mine")])), foreign(Some(set(&[(NAME, "lost"), (NOTES, "n")])))).unwrap();
    assert_eq!(story.conflict(), None);
}

#[test]
fn a_view_is_one_word_that_older_programs_wrote_shorter() {
    for (text, history, seq, generation) in [("17", 0, 17, 0), ("17.4", 0, 17, 4), ("17.0.2", 2, 17, 0), ("17.4.2", 2, 17, 4)] {
        let view = Seen { history, seq: Seq(seq), generation: Generation(generation), values: None };
        assert_eq!((text.parse(), view.to_string().as_str()), (Ok(view), text));
    }
    for wrong in ["", "17.", "a", "1.2.3.4", "-1"] {
        assert!(wrong.parse::<Seen>().is_err(), "{wrong}");
    }
}

#[test]
fn a_delete_is_based_on_the_row_as_it_was_seen_and_not_on_an_older_edit() {
    // T16: edit at 40, see another's edit at 50 come in, delete: no question about what was seen.
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.mirror = Some(live_row(&[(NAME, text("a"), 40), (NOTES, text("theirs"), 50)]));
    story.write(Write::Delete).unwrap();
    assert_eq!(story.next().row_base, Seq(50));
    assert_eq!(story.conflict(), None);
}

#[test]
fn a_delete_of_an_entry_in_conflict_keeps_the_base_of_the_entry() {
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.mirror = Some(row("theirs", "n", 50));
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
    story.write(Write::Delete).unwrap();
    assert_eq!(story.conflict(), Some(ConflictKind::DeleteUpdate));
}

#[test]
fn a_delete_behind_a_clash_is_not_asked_about_what_the_same_push_changed() {
    // Found by the simulation: one field was accepted and another clashed, and the delete took the own change for another's.
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "taken")]);
    story.freeze(40);
    let server = live_row(&[(NAME, text("a"), 40), (NOTES, text("mine"), 45)]);
    story.answer(Verdict::Clash { field: NAME, with: None }, 45, &server);
    assert_eq!(story.conflict(), Some(ConflictKind::Unique));
    story.write(Write::Delete).unwrap();
    assert_eq!(story.conflict(), None);
}

#[test]
fn what_a_delete_in_flight_swallowed_is_not_taken_for_newer_than_what_it_conflicts_with() {
    // Found by the simulation: mine hid theirs, they deleted the row, my deletion agreed, they brought the row back, and so did I:
    // mine was sent over theirs without a question.
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "mine")]);
    let theirs = live_row(&[(NAME, text("theirs"), 50), (NOTES, text("n"), 40)]);
    story.mirror = Some(Row { life: Life::Deleted, seq: Seq(51), ..theirs.clone() });
    story.write(Write::Delete).unwrap();
    story.freeze(51);
    let back = Row { seq: Seq(52), since: Seq(52), ..theirs };
    story.mirror = Some(back.clone());
    story.write(Write::Restore).unwrap();
    story.answer(Verdict::Conflict, 53, &back);
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn a_strict_row_brought_back_behind_a_delete_in_flight_is_not_taken_for_seen() {
    let mut story = Story::new(stock(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "mine")]);
    story.mirror = Some(Row { life: Life::Deleted, seq: Seq(51), ..row("theirs", "n", 50) });
    story.write(Write::Delete).unwrap();
    story.freeze(51);
    let back = Row { seq: Seq(52), since: Seq(52), ..row("theirs", "n", 50) };
    story.mirror = Some(back.clone());
    story.write(Write::Restore).unwrap();
    story.answer(Verdict::Conflict, 53, &back);
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn an_old_form_saved_into_a_restored_row_asks_about_what_was_changed_before_the_deletion() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    let changed = live_row(&[(NAME, text("theirs"), 8), (NOTES, text("n"), 5)]);
    story.mirror = Some(Row { life: Life::Deleted, seq: Seq(9), ..changed });
    story.write(Write::Restore).unwrap();
    assert_eq!(story.conflict(), None);
    story.write_seen(Write::Update(set(&[(NOTES, "mine")])), seen(5, 1)).unwrap();
    assert_eq!(story.conflict(), None, "nobody else changed the notes");
    story.write_seen(Write::Update(set(&[(NAME, "mine")])), seen(5, 2)).unwrap();
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateDelete));
}

#[test]
fn a_delete_undone_gives_the_swallowed_edit_back() {
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.write(Write::Delete).unwrap();
    story.write(Write::Restore).unwrap();
    assert_eq!((story.next().op, &story.next().fields[&NAME].value), (Op::Update, &text("b")));
    story.update(&[(NAME, "a")]);
    story.write(Write::Delete).unwrap();
    story.write(Write::Restore).unwrap();
    assert!(story.entry.is_empty());
}

#[test]
fn an_edit_set_back_behind_a_delete_in_flight_stays_set_back() {
    // Found by the law of overlays: edit, delete, the delete is sent and held, restore, and the edit is taken back by hand.
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.write(Write::Delete).unwrap();
    story.freeze(40);
    story.write(Write::Restore).unwrap();
    assert_eq!(story.shown().unwrap()[&NAME], text("b"));
    story.update(&[(NAME, "a")]);
    let mirror = story.mirror.clone().unwrap();
    story.answer(Verdict::Held { by: key() }, 45, &mirror);
    assert_eq!(story.shown().unwrap()[&NAME], text("a"));
}

#[test]
fn touching_a_dose_records_the_unit_and_setting_it_back_forgets_both() {
    let mut story = Story::new(medications(), Some(live_row(&[(DOSE, Value::Decimal(50), 5), (UNIT, text("mg"), 5)])));
    story.write(Write::Update([(DOSE, Value::Decimal(100))].into())).unwrap();
    assert_eq!(story.next().fields.keys().copied().collect::<Vec<_>>(), [DOSE, UNIT]);
    story.write(Write::Update([(DOSE, Value::Decimal(50))].into())).unwrap();
    assert!(story.entry.is_empty());
}

#[test]
fn nothing_is_lifted_while_the_section_is_being_filled() {
    // T36
    let mut pending = Pending::new(Op::Update, Seq(40), 0);
    pending.fields.insert(NAME, Edit { value: text("b"), base_value: Some(text("a")), base: Seq(40) });
    let mirror = row("a", "n", 40);
    lift(&mut pending, &mirror, None);
    assert_eq!(pending.fields[&NAME].base, Seq(40));
    lift(&mut pending, &mirror, Some(Seq(60)));
    assert_eq!((pending.fields[&NAME].base, pending.row_base), (Seq(60), Seq(60)));
}

#[test]
fn a_strict_row_that_agrees_is_not_lifted() {
    let mut pending = Pending::new(Op::Update, Seq(40), 0);
    pending.fields.insert(NAME, Edit { value: text("b"), base_value: Some(text("a")), base: Seq(40) });
    lift(&mut pending, &row("b", "n", 50), Some(Seq(60)));
    assert_eq!(pending.row_base, Seq(40));
}

#[test]
fn a_refused_change_keeps_its_reason_until_it_is_edited() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    let mirror = story.mirror.clone().unwrap();
    story.answer(Verdict::Refused(Refusal::NoRight), 9, &mirror);
    assert_eq!(story.next().review, Some(Review::Refused(Refusal::NoRight)));
    story.update(&[(NAME, "c")]);
    assert_eq!(story.next().review, None);
    assert_eq!(story.next().fields[&NAME].base_value, Some(text("a")));
}

#[test]
fn an_edit_behind_a_refused_one_keeps_the_oldest_base_and_is_ready_again() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    story.update(&[(NAME, "c")]);
    let mirror = story.mirror.clone().unwrap();
    story.answer(Verdict::Refused(Refusal::NoRight), 9, &mirror);
    assert_eq!(story.next().review, None);
    assert_eq!(story.next().fields[&NAME], Edit { value: text("c"), base_value: Some(text("a")), base: Seq(5) });
}

#[test]
fn a_provisional_conflict_about_a_value_set_back_is_none() {
    // T28: by stamp the server sees a conflict; with base values there is none.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    story.answer(Verdict::Conflict, 9, &row("a", "n", 8));
    assert_eq!(story.conflict(), None);
    assert_eq!(story.next().rounds, 1);
}

#[test]
fn a_create_sent_once_and_deleted_keeps_the_delete() {
    // T42
    let mut create = Pending::new(Op::Create, Seq(0), 0);
    create.sent_before = SentBefore::Frozen;
    let delete = Pending::new(Op::Delete, Seq(0), 1);
    let joined = squash(Some(&medications()), create.clone(), Some(delete.clone())).unwrap();
    assert_eq!(joined.op, Op::Delete);
    create.sent_before = SentBefore::Never;
    assert_eq!(squash(Some(&medications()), create, Some(delete)), None);
}

#[test]
fn a_create_that_goes_again_is_one_when_it_was_deleted_and_brought_back() {
    // Found by reading: the server was put back and has lost the row; a restore of a row that it does not know would be refused.
    let mut story = Story::new(medications(), None);
    // As it was acknowledged: else the delete would have no base, since the kept row hides what differs.
    let values = || set(&[(NAME, "a"), (NOTES, "n")]);
    story.write(Write::Create(values())).unwrap();
    story.entry.next.as_mut().unwrap().sent_before = SentBefore::Acknowledged;
    story.entry.kept = Some(row("a", "n", 5));
    story.write(Write::Delete).unwrap();
    assert_eq!((story.next().op, story.next().row_base), (Op::Delete, Seq(5)));
    let mut in_flight = story.entry.clone();
    story.write(Write::Restore).unwrap();
    assert_eq!((story.next().op, story.shown().unwrap()), (Op::Create, values()));
    // The same where the delete is in flight, and the server answers that it does not know the row.
    std::mem::swap(&mut story.entry, &mut in_flight);
    story.freeze(5);
    story.write(Write::Restore).unwrap();
    let nothing = row("a", "n", 5);
    story.answer(Verdict::Refused(Refusal::UnknownRow), 9, &nothing);
    assert_eq!((story.next().op, story.next().fields[&NAME].value.clone()), (Op::Create, text("a")));
}

#[test]
fn an_update_of_a_deleted_row_is_restored_with_the_edit_or_given_up() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "mine")]);
    let tombstone = Row { life: Life::Deleted, seq: Seq(9), ..row("a", "theirs", 8) };
    story.mirror = Some(tombstone.clone());
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateDelete));
    let decide = |story: &mut Story, resolution| {
        let conflict = conflict(&story.table, story.next(), story.mirror.as_ref()).unwrap();
        resolve(&story.table, &mut story.entry, &conflict, Some(&tombstone), &resolution, 1).unwrap();
    };
    let before = story.entry.clone();
    decide(&mut story, Resolution::AllMine);
    assert_eq!((story.next().op, story.next().row_base), (Op::Restore, Seq(9)));
    assert_eq!(story.conflict(), None);
    story.entry = before;
    decide(&mut story, Resolution::AllServer);
    assert_eq!((story.next().op, story.next().lost.len()), (Op::Decide, 1));
    assert_eq!(story.shown(), None);
}

#[test]
fn a_decision_is_based_on_what_the_dialog_showed_and_asked_again_where_the_server_moved() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "mine"), (NOTES, "mine")]);
    let shown_row = row("theirs", "theirs", 8);
    story.mirror = Some(live_row(&[(NAME, text("theirs"), 8), (NOTES, text("moved"), 9)]));
    let before = conflict(&story.table, story.next(), Some(&shown_row)).unwrap();
    resolve(&story.table, &mut story.entry, &before, Some(&shown_row), &Resolution::AllMine, 1).unwrap();
    let again = conflict(&story.table, story.next(), story.mirror.as_ref()).unwrap();
    assert_eq!(again.fields, [NOTES]);
}

#[test]
fn the_value_that_lost_goes_with_the_decision() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "mine")]);
    story.mirror = Some(row("theirs", "n", 8));
    let conflict = conflict(&story.table, story.next(), story.mirror.as_ref()).unwrap();
    let server = story.mirror.clone();
    resolve(&story.table, &mut story.entry, &conflict, server.as_ref(), &Resolution::AllServer, 1).unwrap();
    assert_eq!(story.next().op, Op::Decide);
    assert_eq!(story.next().lost, [LostValue { field: NAME, value: text("mine") }]);
    assert_eq!(story.shown().unwrap()[&NAME], text("theirs"));
}

#[test]
fn a_row_that_is_kept_keeps_what_the_deletion_swallowed_in_the_history() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.write(Write::Delete).unwrap();
    let server = live_row(&[(NAME, text("a"), 5), (NOTES, text("theirs"), 9)]);
    story.mirror = Some(server.clone());
    let asked = conflict(&story.table, story.next(), Some(&server)).unwrap();
    assert_eq!(asked.kind, ConflictKind::DeleteUpdate);
    resolve(&story.table, &mut story.entry, &asked, Some(&server), &Resolution::AllServer, 7).unwrap();
    assert_eq!((story.next().op, story.next().fields.len()), (Op::Decide, 0));
    assert_eq!(story.next().lost, [LostValue { field: NAME, value: text("b") }]);
}

#[test]
fn a_create_that_another_device_got_through_under_an_older_schema_is_not_asked_about() {
    let mut table = medications();
    table.fields.iter_mut().find(|field| field.tag == NOTES).unwrap().initial = Some(text("none"));
    let mut story = Story::new(table, None);
    story.write(Write::Create(set(&[(NAME, "new")]))).unwrap();
    story.mirror = Some(row("new", "none", 9));
    assert_eq!(story.conflict(), None);
    story.mirror = Some(row("new", "theirs", 9));
    assert_eq!(story.conflict(), Some(ConflictKind::CreateCreate));
}

#[test]
fn what_is_set_back_after_somebody_else_brought_the_same_value_is_an_edit_of_that() {
    // Found by the simulation: both marked it b, theirs arrived, and mine was set back. It left the outbox, and b showed again.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.mirror = Some(live_row(&[(NAME, text("b"), 8), (NOTES, text("n"), 5)]));
    story.update(&[(NAME, "a")]);
    assert_eq!(story.shown().unwrap()[&NAME], text("a"));
    assert_eq!(story.next().fields[&NAME], Edit { value: text("a"), base_value: Some(text("b")), base: Seq(8) });
    assert_eq!(story.conflict(), None);
}

#[test]
fn what_is_emptied_in_a_create_that_goes_again_shows_nothing_of_the_earlier_life() {
    // Found by the simulation: the server was put back and does not know the row any more; its create goes again.
    let mut story = Story::new(medications(), None);
    story.write(Write::Create(set(&[(NAME, "a"), (NOTES, "n")]))).unwrap();
    story.entry.kept = Some(row("a", "n", 5));
    story.update(&[(NOTES, "m")]);
    story.write(Write::Update([(NOTES, Value::Null)].into())).unwrap();
    assert_eq!(story.shown().unwrap(), set(&[(NAME, "a")]));
    story.mirror = story.entry.kept.take();
    assert_eq!(story.shown().unwrap(), set(&[(NAME, "a")]));
}

#[test]
fn an_edit_set_back_in_flight_stays_one_where_somebody_else_brought_what_was_sent() {
    // Found by reading: the push comes back because of other fields, and name is at its first base again.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b"), (NOTES, "mine")]);
    story.freeze(5);
    story.update(&[(NAME, "a")]);
    story.answer(Verdict::Conflict, 9, &row("b", "theirs", 8));
    assert_eq!(story.next().fields[&NAME], Edit { value: text("a"), base_value: Some(text("b")), base: Seq(5) });
    assert_eq!(story.shown().unwrap()[&NAME], text("a"));
    let asked = conflict(&story.table, story.next(), story.mirror.as_ref()).unwrap();
    assert_eq!(asked.fields, [NOTES]);
}

#[test]
fn an_edit_in_flight_that_a_third_person_overwrote_with_the_next_one_is_an_edit_when_set_back() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    story.update(&[(NAME, "c")]);
    // A delta is quicker than the answer: b was accepted, and somebody who saw it wrote c.
    let server = live_row(&[(NAME, text("c"), 8), (NOTES, text("n"), 5)]);
    story.mirror = Some(server.clone());
    story.update(&[(NAME, "b")]);
    story.answer(Verdict::Accepted { merged: false }, 7, &server);
    assert_eq!(story.shown().unwrap()[&NAME], text("b"));
    assert_eq!(story.conflict(), None);
}

#[test]
fn what_is_in_flight_is_written_over_whatever_the_server_still_says() {
    // Found by a law: set back to the server's value and set again over an edit in flight, the next one seemed to agree with a
    // server that had not heard of the first, and the edit in flight showed again.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    for name in ["a", "b", "a"] {
        story.update(&[(NAME, name)]);
        assert_eq!(story.shown().unwrap()[&NAME], text(name));
        assert_eq!(story.entry.next.is_some(), name == "a", "what is in flight already is no edit");
    }
    // Somebody else writes what the first one was made on.
    story.mirror = Some(live_row(&[(NAME, text("a"), 8), (NOTES, text("n"), 5)]));
    for name in ["b", "a"] {
        story.update(&[(NAME, name)]);
        assert_eq!(story.shown().unwrap()[&NAME], text(name));
    }
}

#[test]
fn what_is_set_back_in_a_row_that_others_deleted_stays_an_edit_where_they_had_brought_the_same() {
    // Found by the simulation: an edit keeps the deleted row in sight, and the value that was replaced showed again.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b"), (NOTES, "mine")]);
    let brought = live_row(&[(NAME, text("b"), 8), (NOTES, text("n"), 5)]);
    story.mirror = Some(Row { life: Life::Deleted, seq: Seq(9), ..brought });
    story.update(&[(NAME, "a")]);
    assert_eq!(story.shown().unwrap()[&NAME], text("a"));
}

#[test]
fn what_a_server_that_was_put_back_agrees_with_is_the_base_of_what_is_written_over_it() {
    // Found by the simulation: offered again, a is an edit of b, which the server has forgotten; its a is from before that.
    let mut story = Story::new(medications(), Some(row("b", "n", 9)));
    story.update(&[(NAME, "a")]);
    story.mirror = Some(row("a", "n", 5));
    story.update(&[(NAME, "b")]);
    assert_eq!(story.shown().unwrap()[&NAME], text("b"));
}

#[test]
fn a_group_that_is_set_back_as_a_whole_is_an_edit_where_others_had_brought_what_it_replaces() {
    // Found by a law: the dose, which stays, is written first; it took the unit along before anybody looked whether others agree.
    let of = |unit: &str, seq: u64| live_row(&[(DOSE, Value::Decimal(50), 5), (UNIT, text(unit), seq)]);
    let mut story = Story::new(medications(), Some(of("mg", 5)));
    story.update(&[(UNIT, "g")]);
    story.mirror = Some(of("g", 8));
    story.write_seen(Write::Update([(DOSE, Value::Decimal(50)), (UNIT, text("mg"))].into()), None).unwrap();
    assert_eq!((&story.shown().unwrap()[&UNIT], story.conflict()), (&text("mg"), None));
}

#[test]
fn a_form_from_before_an_own_edit_does_not_write_over_whoever_agreed_with_it() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    let form = seen(5, story.entry.generation.0);
    story.update(&[(NAME, "b")]);
    story.mirror = Some(live_row(&[(NAME, text("b"), 8), (NOTES, text("n"), 5)]));
    story.write_seen(Write::Update(set(&[(NAME, "z")])), form).unwrap();
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn what_a_form_sets_back_is_an_edit_where_what_it_showed_was_confirmed_with_a_newer_edit_beside_it() {
    // Found by the simulation: the form shows my pending b; another field is edited, and both are accepted. Set back to a, the
    // field was taken for one that was never touched, and b stayed.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    let form = Seen::of(0, story.mirror.as_ref(), Some(&story.entry));
    story.update(&[(NOTES, "m")]);
    story.freeze(5);
    story.answer(Verdict::Accepted { merged: false }, 9, &row("b", "m", 9));
    story.write_seen(Write::Update(set(&[(NAME, "a")])), Some(form)).unwrap();
    assert_eq!((&story.shown().unwrap()[&NAME], story.conflict()), (&text("a"), None));
}

#[test]
fn what_a_form_sets_back_is_an_edit_where_somebody_else_has_brought_what_it_showed() {
    // Found by the simulation: as above, but b is pending yet, and somebody else has written it, too.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    let form = Seen::of(0, story.mirror.as_ref(), Some(&story.entry));
    story.update(&[(NOTES, "m")]);
    story.mirror = Some(live_row(&[(NAME, text("b"), 8), (NOTES, text("n"), 5)]));
    story.write_seen(Write::Update(set(&[(NAME, "a")])), Some(form)).unwrap();
    assert_eq!((&story.shown().unwrap()[&NAME], story.conflict()), (&text("a"), None));
}

#[test]
fn a_unit_that_a_form_changes_stands_beside_the_dose_that_it_showed() {
    // Found by the simulation: the form shows 100 mg, of a history that the server lost; by now the dose is 50 here, and 100 again
    // at the server. The unit was written beside 50, which would have replaced the 100 that the person saw.
    let of = |dose: i64, seq: u64| live_row(&[(DOSE, Value::Decimal(dose), seq), (UNIT, text("mg"), 5)]);
    let mut story = Story::new(medications(), Some(of(50, 5)));
    let form = Seen::of(0, Some(&of(100, 9)), None).within(1);
    story.write_seen(Write::Update(set(&[(UNIT, "g")])), Some(form)).unwrap();
    assert_eq!(story.next().fields[&DOSE].value, Value::Decimal(100));
    story.mirror = Some(of(100, 12));
    assert_eq!(story.conflict(), None);
    let shown = story.shown().unwrap();
    assert_eq!((&shown[&DOSE], &shown[&UNIT]), (&Value::Decimal(100), &text("g")));
}

#[test]
fn a_dose_that_a_form_writes_as_it_is_by_now_is_the_one_that_its_unit_stands_beside() {
    let of = |dose: i64, seq: u64| live_row(&[(DOSE, Value::Decimal(dose), seq), (UNIT, text("mg"), 5)]);
    let mut story = Story::new(medications(), Some(of(50, 9)));
    let form = Seen::of(0, Some(&of(100, 5)), None);
    story.write_seen(Write::Update([(DOSE, Value::Decimal(50)), (UNIT, text("g"))].into()), Some(form)).unwrap();
    let shown = story.shown().unwrap();
    assert_eq!((&shown[&DOSE], &shown[&UNIT]), (&Value::Decimal(50), &text("g")));
}

#[test]
fn a_dose_that_is_the_same_beside_another_unit_by_now_is_an_edit() {
    // The form shows 100 mg, somebody else makes it 50 g, and the person types 50: they mean milligrams.
    let of = |dose: i64, unit: &str, seq: u64| live_row(&[(DOSE, Value::Decimal(dose), seq), (UNIT, text(unit), seq)]);
    let mut story = Story::new(medications(), Some(of(50, "g", 9)));
    let form = Seen::of(0, Some(&of(100, "mg", 5)), None);
    story.write_seen(Write::Update([(DOSE, Value::Decimal(50))].into()), Some(form)).unwrap();
    assert_eq!((&story.next().fields[&UNIT].value, story.conflict()), (&text("mg"), Some(ConflictKind::UpdateUpdate)));
}

#[test]
fn a_unit_that_a_form_changes_stands_beside_the_dose_that_it_showed_also_where_an_own_one_is_pending() {
    let row = live_row(&[(DOSE, Value::Decimal(100), 5), (UNIT, text("mg"), 5)]);
    for in_flight in [false, true] {
        let mut story = Story::new(medications(), Some(row.clone()));
        let form = Seen::of(0, story.mirror.as_ref(), Some(&story.entry));
        story.write(Write::Update([(DOSE, Value::Decimal(200))].into())).unwrap();
        if in_flight {
            story.freeze(5);
        }
        story.write_seen(Write::Update(set(&[(UNIT, "g")])), Some(form)).unwrap();
        let shown = story.shown().unwrap();
        assert_eq!((&shown[&DOSE], &shown[&UNIT]), (&Value::Decimal(100), &text("g")), "in flight: {in_flight}");
    }
}

#[test]
fn what_an_old_form_writes_over_a_newer_edit_asks_about_what_was_changed_behind_the_form() {
    let theirs = live_row(&[(NAME, text("theirs"), 8), (NOTES, text("n"), 5)]);
    for typed in ["z", "a"] {
        let mut story = Story::new(medications(), Some(row("a", "n", 5)));
        let form = Seen::of(0, story.mirror.as_ref(), Some(&story.entry));
        story.mirror = Some(theirs.clone());
        story.update(&[(NAME, "mine")]);
        assert_eq!(story.conflict(), None);
        story.write_seen(Write::Update(set(&[(NAME, typed)])), Some(form)).unwrap();
        assert_eq!((&story.shown().unwrap()[&NAME], story.conflict()), (&text(typed), Some(ConflictKind::UpdateUpdate)));
        // It is an edit also where it is what the form showed, and stays one.
        story.update(&[(NAME, typed)]);
        assert_eq!(story.shown().unwrap()[&NAME], text(typed));
    }
}

#[test]
fn a_dose_that_an_old_form_gives_back_beside_its_unit_asks_about_what_was_changed_behind_the_form() {
    // Found by the simulation: 100 mg is in the form, 200 at the server, and I made it 250 where I saw that. The form writes the
    // unit beside its 100, which took the place of the server's 200 as if the form had shown that.
    let of = |dose: i64, seq: u64| live_row(&[(DOSE, Value::Decimal(dose), seq), (UNIT, text("mg"), 5)]);
    let mut story = Story::new(medications(), Some(of(100, 5)));
    let form = Seen::of(0, story.mirror.as_ref(), Some(&story.entry));
    story.mirror = Some(of(200, 8));
    story.write(Write::Update([(DOSE, Value::Decimal(250))].into())).unwrap();
    assert_eq!(story.conflict(), None);
    story.write_seen(Write::Update(set(&[(UNIT, "g")])), Some(form)).unwrap();
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
    let dose = &story.next().fields[&DOSE];
    assert_eq!((&dose.value, &dose.base_value), (&Value::Decimal(100), &Some(Value::Decimal(100))));
}

#[test]
fn what_is_written_in_the_view_of_a_decision_stands_on_that_also_where_an_older_edit_is_in_flight() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    story.mirror = Some(live_row(&[(NAME, text("theirs"), 8), (NOTES, text("n"), 5)]));
    story.update(&[(NAME, "c")]);
    let next = story.entry.next.as_mut().unwrap().fields.get_mut(&NAME).unwrap();
    (next.base_value, next.base) = (Some(text("theirs")), Seq(8));
    let now = Seen::of(0, story.mirror.as_ref(), Some(&story.entry));
    story.write_seen(Write::Update(set(&[(NAME, "d")])), Some(now)).unwrap();
    assert_eq!(story.conflict(), None);
}

#[test]
fn a_unit_of_a_new_row_that_a_form_changes_stands_beside_the_dose_that_it_showed() {
    let mut story = Story::new(medications(), None);
    story.write(Write::Create([(DOSE, Value::Decimal(100)), (UNIT, text("mg"))].into())).unwrap();
    let form = Seen::of(0, None, Some(&story.entry));
    story.write(Write::Update([(DOSE, Value::Decimal(200))].into())).unwrap();
    story.write_seen(Write::Update(set(&[(UNIT, "g")])), Some(form)).unwrap();
    let shown = story.shown().unwrap();
    assert_eq!((&shown[&DOSE], &shown[&UNIT]), (&Value::Decimal(100), &text("g")));
}

#[test]
fn a_strict_row_behind_its_own_create_is_not_asked_about_it_where_the_answer_came_without_the_row() {
    // Found by the simulation: the rights for the row were withdrawn before its creation was answered, and given back later.
    let mut story = Story::new(stock(), None);
    story.write(Write::Create(set(&[(NAME, "item")]))).unwrap();
    story.freeze(0);
    story.update(&[(NAME, "b")]);
    let settled = settle(&story.table, &mut story.entry, &Verdict::Accepted { merged: false }, Seq(7), None);
    assert_eq!(settled.unwrap().others, Some(Seq(0)));
    story.mirror = Some(live_row(&[(NAME, text("item"), 7)]));
    assert_eq!(story.conflict(), None);
    // What others changed since is a question.
    story.mirror = Some(live_row(&[(NAME, text("item"), 7), (NOTES, text("theirs"), 8)]));
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn a_form_over_a_create_has_seen_nothing_of_the_row_that_others_made() {
    let mut story = Story::new(medications(), None);
    story.write(Write::Create(set(&[(NAME, "a")]))).unwrap();
    story.mirror = Some(row("a", "theirs", 9));
    let form = Seen::of(0, story.mirror.as_ref(), Some(&story.entry));
    story.entry.next = None;
    story.write_seen(Write::Update(set(&[(NOTES, "m")])), Some(form)).unwrap();
    assert_eq!(story.conflict(), Some(ConflictKind::UpdateUpdate));
}

#[test]
fn what_a_create_leaves_empty_is_empty_when_mine_is_chosen() {
    let create = |mirror: Option<Row>| {
        let mut story = Story::new(medications(), None);
        story.write(Write::Create(set(&[(NAME, "a")]))).unwrap();
        story.mirror = mirror;
        story
    };
    let theirs = row("a", "theirs", 9);
    let gone = Row { life: Life::Deleted, ..theirs.clone() };
    for server in [theirs, gone] {
        let mut story = create(Some(server.clone()));
        let asked = conflict(&story.table, story.next(), Some(&server)).unwrap();
        resolve(&story.table, &mut story.entry, &asked, Some(&server), &Resolution::AllMine, 1).unwrap();
        assert_eq!(story.shown().unwrap().get(&NOTES), Some(&Value::Null), "{:?}", story.entry);
    }
}

#[test]
fn what_is_emptied_in_a_purged_row_whose_values_the_entry_kept_is_emptied() {
    // Found by the simulation: an edit keeps the row in sight, and the field that is emptied was compared with the purged one.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.entry.kept = story.mirror.take();
    story.mirror = Some(Row { life: Life::Purged, seq: Seq(9), fields: BTreeMap::new(), ..row("a", "n", 5) });
    assert_eq!(story.shown().unwrap()[&NOTES], text("n"));
    story.write(Write::Update([(NOTES, Value::Null)].into())).unwrap();
    assert_eq!(story.shown().unwrap()[&NOTES], Value::Null);
}

#[test]
fn an_edit_saved_again_as_somebody_else_brought_it_stays_an_edit() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.mirror = Some(live_row(&[(NAME, text("b"), 8), (NOTES, text("n"), 5)]));
    story.update(&[(NAME, "b")]);
    assert_eq!(story.next().fields[&NAME], Edit { value: text("b"), base_value: Some(text("a")), base: Seq(5) });
}

#[test]
fn a_dose_set_back_after_somebody_else_brought_it_takes_its_unit_along() {
    let mut story = Story::new(medications(), Some(live_row(&[(DOSE, Value::Decimal(50), 5), (UNIT, text("mg"), 5)])));
    story.write(Write::Update([(DOSE, Value::Decimal(100))].into())).unwrap();
    story.mirror = Some(live_row(&[(DOSE, Value::Decimal(100), 8), (UNIT, text("mg"), 5)]));
    story.write(Write::Update([(DOSE, Value::Decimal(50))].into())).unwrap();
    let shown = story.shown().unwrap();
    assert_eq!((&shown[&DOSE], &shown[&UNIT]), (&Value::Decimal(50), &text("mg")));
    assert_eq!(story.conflict(), None);
}

#[test]
fn a_dose_set_back_and_a_unit_changed_in_one_write_are_both_taken() {
    // Found by a law: the dose was back at its base, left the entry, and came back with its old value beside the new unit.
    let mut story = Story::new(medications(), Some(live_row(&[(DOSE, Value::Decimal(50), 5), (UNIT, text("mg"), 5)])));
    story.write(Write::Update([(DOSE, Value::Decimal(100))].into())).unwrap();
    story.write(Write::Update([(DOSE, Value::Decimal(50)), (UNIT, text("g"))].into())).unwrap();
    let shown = story.shown().unwrap();
    assert_eq!((&shown[&DOSE], &shown[&UNIT]), (&Value::Decimal(50), &text("g")));
}

#[test]
fn a_delete_does_not_take_for_seen_what_an_edit_hid_before_its_row_left_the_mirror() {
    // Found by the simulation: my b hides theirs, the right to see the row is withdrawn, I delete what I still see, and the
    // right comes back.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    let server = row("theirs", "n", 8);
    story.entry.kept = Some(server.clone());
    story.mirror = None;
    story.write(Write::Delete).unwrap();
    story.mirror = Some(server);
    assert_eq!(story.next().row_base, Seq(5));
    assert_eq!(story.conflict(), Some(ConflictKind::DeleteUpdate));
}

#[test]
fn a_delete_does_not_take_for_seen_what_an_edit_in_flight_hid() {
    // Found by a law: my b is in flight, a delta brings their value under it, and I delete what I see as b.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "b")]);
    story.freeze(5);
    let server = row("theirs", "n", 8);
    story.mirror = Some(server.clone());
    story.write(Write::Delete).unwrap();
    story.answer(Verdict::Conflict, 9, &server);
    assert_eq!(story.next().row_base, Seq(5));
    assert_eq!(story.conflict(), Some(ConflictKind::DeleteUpdate));
}
