//! Decisions of unique clashes, and of what is in review as well; creates that come back.

use super::*;

/// Medications whose name is unique, and required or not.
fn unique_names(required: bool) -> Table {
    let mut table = medications();
    let name = table.fields.iter_mut().find(|field| field.tag == NAME).unwrap();
    (name.unique, name.required) = (true, required);
    table
}

fn clash() -> Verdict {
    Verdict::Clash { field: NAME, with: None }
}

fn decide(story: &mut Story, resolution: &Resolution) -> Result<(), ResolveError> {
    let asked = conflict(&story.table, story.next(), story.mirror.as_ref()).unwrap();
    resolve(&story.table, &mut story.entry, &asked, story.mirror.as_ref(), resolution, 7)
}

fn name(choice: Choice) -> Resolution {
    Resolution::Fields([(NAME, choice)].into())
}

/// A new row that was sent and whose name another row has.
fn new_row_that_clashes(required: bool) -> Story {
    let mut story = Story::new(unique_names(required), None);
    story.write(Write::Create(set(&[(NAME, "taken"), (NOTES, "mine")]))).unwrap();
    story.freeze(0);
    settle(&story.table, &mut story.entry, &clash(), Seq(9), None);
    story
}

/// A deleted row that is restored, and whose name another row has by now.
fn restored_row_that_clashes(required: bool) -> Story {
    let gone = Row { life: Life::Deleted, seq: Seq(9), ..row("taken", "n", 5) };
    let mut story = Story::new(unique_names(required), Some(gone));
    story.write(Write::Restore).unwrap();
    story.update(&[(NOTES, "mine")]);
    story.freeze(9);
    settle(&story.table, &mut story.entry, &clash(), Seq(12), None);
    assert_eq!(story.conflict(), Some(ConflictKind::Unique));
    story
}

#[test]
fn a_new_row_that_clashes_stays_without_the_value_where_it_may_and_is_given_up_only_as_a_whole() {
    let mut story = new_row_that_clashes(false);
    decide(&mut story, &name(Choice::Server)).unwrap();
    assert_eq!((story.next().op, story.next().fields.keys().copied().collect()), (Op::Create, vec![NOTES]));
    assert_eq!((&story.next().review, story.next().lost.len()), (&None, 1));
    let mut story = new_row_that_clashes(true);
    assert_eq!(decide(&mut story, &name(Choice::Server)), Err(ResolveError::WholeRow));
    assert_eq!(story.conflict(), Some(ConflictKind::Unique), "nothing was decided");
    decide(&mut story, &Resolution::AllServer).unwrap();
    assert!(story.entry.is_empty());
}

#[test]
fn a_restored_row_that_clashes_can_be_decided_every_way() {
    let mut story = restored_row_that_clashes(true);
    assert_eq!(decide(&mut story, &name(Choice::Server)), Err(ResolveError::WholeRow));
    decide(&mut story, &name(Choice::Value(text("another")))).unwrap();
    assert_eq!((story.next().op, story.shown().unwrap()[&NAME].clone()), (Op::Restore, text("another")));
    assert_eq!(story.conflict(), None);

    let mut story = restored_row_that_clashes(true);
    decide(&mut story, &Resolution::AllServer).unwrap();
    assert_eq!((story.next().op, story.shown()), (Op::Decide, None));
    assert_eq!(story.next().lost, [LostValue { field: NOTES, value: text("mine") }]);

    let mut story = restored_row_that_clashes(false);
    decide(&mut story, &name(Choice::Server)).unwrap();
    assert_eq!((story.next().op, story.shown().unwrap()[&NAME].clone()), (Op::Restore, Value::Null));
    assert_eq!(story.next().lost, [LostValue { field: NAME, value: text("taken") }]);
}

#[test]
fn a_value_typed_for_a_restored_row_that_clashes_gives_way_to_what_the_row_had() {
    let mut story = restored_row_that_clashes(true);
    decide(&mut story, &name(Choice::Value(text("typed")))).unwrap();
    story.freeze(9);
    settle(&story.table, &mut story.entry, &clash(), Seq(15), None);
    decide(&mut story, &name(Choice::Server)).unwrap();
    assert_eq!(story.shown().unwrap()[&NAME], text("taken"));
    assert_eq!(story.next().lost, [LostValue { field: NAME, value: text("typed") }]);
}

#[test]
fn one_decision_is_enough_for_what_is_in_review_and_in_conflict() {
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "mine")]);
    story.entry.next.as_mut().unwrap().review = Some(Review::Offered);
    story.mirror = Some(row("theirs", "n", 8));
    decide(&mut story, &Resolution::AllMine).unwrap();
    assert_eq!((story.next().review.clone(), story.conflict()), (None, None));
}

#[test]
fn a_refused_new_row_that_was_deleted_and_is_wanted_again_is_a_create() {
    let refused = |op_after: Write| {
        let mut story = Story::new(medications(), None);
        story.write(Write::Create(set(&[(NAME, "new")]))).unwrap();
        story.freeze(0);
        settle(&story.table, &mut story.entry, &Verdict::Refused(Refusal::NoRight), Seq(9), None);
        story.write(Write::Delete).unwrap();
        assert_eq!(story.next().op, Op::Delete);
        (op_after, story)
    };
    let (again, mut story) = refused(Write::Restore);
    story.write(again).unwrap();
    assert_eq!((story.next().op, &story.next().fields[&NAME].value), (Op::Create, &text("new")));
    let (again, mut story) = refused(Write::Create(set(&[(NOTES, "anew")])));
    story.write(again).unwrap();
    assert_eq!((story.next().op, story.next().fields.keys().copied().collect()), (Op::Create, vec![NOTES]));
    // Wanted again while the delete is under way, which the server answers with "unknown row".
    let (again, mut story) = refused(Write::Restore);
    story.freeze(0);
    story.write(again).unwrap();
    settle(&story.table, &mut story.entry, &Verdict::Refused(Refusal::UnknownRow), Seq(12), None);
    assert_eq!((story.next().op, story.next().row_base), (Op::Create, Seq(0)));
    assert_eq!(story.next().fields[&NAME], Edit { value: text("new"), base_value: None, base: Seq(0) });
}

#[test]
fn what_lost_in_a_decision_goes_with_a_restore_or_create_that_comes_behind_it() {
    // Seed 71226: the deletion was accepted and the row restored before the decision was sent.
    for again in [Write::Restore, Write::Create(set(&[(NOTES, "anew")]))] {
        let mut story = Story::new(medications(), Some(row("a", "n", 5)));
        story.update(&[(NAME, "mine")]);
        story.mirror = Some(Row { life: Life::Deleted, seq: Seq(9), ..row("a", "n", 5) });
        decide(&mut story, &Resolution::AllServer).unwrap();
        assert_eq!(story.next().op, Op::Decide);
        story.write(again).unwrap();
        assert_eq!((story.next().op, story.next().row_base), (Op::Restore, Seq(9)));
        assert_eq!(story.next().lost, [LostValue { field: NAME, value: text("mine") }]);
    }
}

#[test]
fn the_row_base_does_not_follow_a_result_that_does_not_bring_the_row() {
    // T35: nobody can say whether something else came in between.
    let mut story = Story::new(medications(), Some(row("a", "n", 40)));
    story.update(&[(NAME, "b")]);
    story.freeze(40);
    story.write(Write::Delete).unwrap();
    settle(&story.table, &mut story.entry, &Verdict::Accepted { merged: false }, Seq(50), None);
    assert_eq!(story.next().row_base, Seq(40));
}

#[test]
fn layers_of_a_table_that_left_the_schema_are_joined_and_nothing_is_dropped() {
    let edit =
        |value: &str, base_value: &str, base| Edit { value: text(value), base_value: Some(text(base_value)), base: Seq(base) };
    let mut older = Pending::new(Op::Update, Seq(5), 1);
    older.fields = [(NAME, edit("b", "a", 5)), (NOTES, edit("m", "n", 5))].into();
    let mut newer = Pending::new(Op::Update, Seq(9), 2);
    newer.fields = [(NAME, edit("c", "b", 9))].into();
    let joined = squash(None, older, Some(newer)).unwrap();
    assert_eq!(joined.fields, [(NAME, edit("c", "a", 5)), (NOTES, edit("m", "n", 5))].into());
    assert_eq!(joined.row_base, Seq(5));
}

#[test]
fn what_lost_in_a_decision_outlives_a_restore_that_is_taken_back() {
    // Found by a law: the deletion was accepted, the row restored, and deleted again before anything was sent.
    let mut story = Story::new(medications(), Some(row("a", "n", 5)));
    story.update(&[(NAME, "mine")]);
    story.mirror = Some(Row { life: Life::Deleted, seq: Seq(9), ..row("a", "n", 5) });
    decide(&mut story, &Resolution::AllServer).unwrap();
    story.write(Write::Restore).unwrap();
    story.write(Write::Delete).unwrap();
    assert_eq!((story.next().op, story.shown()), (Op::Decide, None));
    assert_eq!(story.next().lost, [LostValue { field: NAME, value: text("mine") }]);
}
