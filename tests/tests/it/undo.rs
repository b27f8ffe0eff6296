//! What was discarded or deleted is put back as it was, whatever it was.

use crate::worlds::{Clinic, clinic};
use anyhow::{Context, Result};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::commit::Grant;
use tombolo_client::protocol::ids::RowKey;
use tombolo_client::protocol::outbox::Write;
use tombolo_client::protocol::schema::Role;
use tombolo_client::{LocalError, Standing};

/// What is pending of the rows, and what is shown of them: without the generation, which counts on.
fn pending(c: &Clinic, at: usize) -> Result<Vec<String>> {
    let views = c.world.pending(at)?;
    views.iter().map(|view| Ok(format!("{:?} {:?} {:?}", view.key, view.standing, view.change))).collect()
}

/// Discards, and puts back: nothing has happened.
fn there_and_back(c: &mut Clinic, at: usize, key: RowKey) -> Result<()> {
    let before = pending(c, at)?;
    let discarded = c.world.discard(at, key)?;
    assert_ne!(pending(c, at)?, before);
    c.world.undo(at, &discarded)?;
    assert_eq!(pending(c, at)?, before);
    Ok(())
}

#[test]
fn an_edit_of_a_row_that_others_deleted_comes_back_with_its_question() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (c.device()?, c.device()?);
    let row = c.known_patient(&[a, b])?;
    c.world.update(a, row, &[("phone", "mine")])?;
    c.world.delete(b, row)?;
    c.world.sync(b)?;
    c.world.sync(a)?;
    assert_eq!(c.world.conflicts(a)?.len(), 1);
    there_and_back(&mut c, a, row)?;
    assert_eq!((c.world.conflicts(a)?.len(), c.world.field(a, row, "phone")?.as_str()), (1, "mine"));
    Ok(())
}

#[test]
fn an_edit_of_a_row_that_left_this_device_comes_back_and_waits() -> Result<()> {
    let mut c = clinic()?;
    let nurse = c.world.user("nurse", Role::Editor, Grant::Scopes(vec![c.site.id]))?;
    let a = c.world.device(nurse)?;
    c.world.sync(a)?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "mine")])?;
    let other = c.world.create(0, "sites", &[("name", "Lamu")])?;
    c.world.sync(0)?;
    c.world.grant(nurse, "nurse", Role::Editor, Grant::Scopes(vec![other.id]))?;
    c.world.sync(a)?;
    assert!(c.world.mirror(a, row)?.is_none());
    there_and_back(&mut c, a, row)?;
    assert_eq!(c.world.field(a, row, "phone")?, "mine");
    // Where the row is here again meanwhile, it is another case.
    let discarded = c.world.discard(a, row)?;
    c.world.grant(nurse, "nurse", Role::Editor, Grant::Scopes(vec![c.site.id, other.id]))?;
    c.world.sync(a)?;
    assert!(matches!(c.world.undo(a, &discarded), Err(LocalError::TooLate)));
    Ok(())
}

#[test]
fn what_was_typed_into_a_row_that_is_brought_back_comes_back() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (c.device()?, c.device()?);
    let row = c.known_patient(&[a, b])?;
    c.world.delete(b, row)?;
    c.world.sync(b)?;
    c.world.sync(a)?;
    c.world.restore(a, row)?;
    c.world.update(a, row, &[("phone", "typed")])?;
    there_and_back(&mut c, a, row)?;
    // A deletion over it is nothing on the tombstone; taken back, all is there again.
    let before = pending(&c, a)?;
    let deleted = c.world.delete_undoably(a, row)?;
    assert!(c.world.pending(a)?.is_empty());
    c.world.undo(a, &deleted)?;
    assert_eq!(pending(&c, a)?, before);
    Ok(())
}

#[test]
fn a_deletion_that_is_taken_back_gives_back_what_it_swallowed() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "mine")])?;
    let before = pending(&c, a)?;
    let deleted = c.world.delete_undoably(a, row)?;
    assert_eq!(c.world.pending(a)?[0].change.op, Op::Delete);
    there_and_back(&mut c, a, row)?;
    c.world.undo(a, &deleted)?;
    assert_eq!(pending(&c, a)?, before);
    // A row that was never sent is gone without a trace.
    let new = c.patient(a, "Baraka")?;
    let before = pending(&c, a)?;
    let deleted = c.world.delete_undoably(a, new)?;
    assert_eq!(c.world.pending(a)?.len(), 1);
    c.world.undo(a, &deleted)?;
    assert_eq!(pending(&c, a)?, before);
    c.world.sync(a)?;
    assert_eq!((c.world.server_field(new, "name")?, c.world.server_field(row, "phone")?), ("Baraka".into(), "mine".into()));
    Ok(())
}

#[test]
fn a_group_comes_back_whole() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let (one, two) = (c.known_patient(&[a])?, c.known_patient(&[a])?);
    let phone =
        |c: &Clinic, value| Ok::<_, anyhow::Error>(Write::Update(c.world.values(a, "patients", &[("phone", value)])?));
    let writes = vec![(one, phone(&c, "2")?), (two, phone(&c, "3")?)];
    c.world.group(a, writes)?;
    there_and_back(&mut c, a, two)?;
    // Something new of one of them: half a group does not come back.
    let discarded = c.world.discard(a, one)?;
    c.world.update(a, two, &[("phone", "4")])?;
    assert!(matches!(c.world.undo(a, &discarded), Err(LocalError::TooLate)));
    assert_eq!((c.world.field(a, one, "phone")?, c.world.field(a, two, "phone")?), ("1".into(), "4".into()));
    Ok(())
}

#[test]
fn what_others_changed_meanwhile_is_asked_about_and_what_goes_meanwhile_is_too_late() -> Result<()> {
    for (field, asked) in [("phone", 1), ("notes", 0)] {
        let mut c = clinic()?;
        let (a, b) = (c.device()?, c.device()?);
        let row = c.known_patient(&[a, b])?;
        c.world.update(a, row, &[("phone", "mine")])?;
        let discarded = c.world.discard(a, row)?;
        c.world.update(b, row, &[(field, "theirs")])?;
        c.world.sync(b)?;
        c.world.sync(a)?;
        c.world.undo(a, &discarded)?;
        assert_eq!(c.world.conflicts(a)?.len(), asked);
        c.world.sync(a)?;
        assert_eq!(c.world.server_field(row, field)?, "theirs");
        let pending = c.world.pending(a)?.len();
        assert_eq!((pending, c.world.field(a, row, "phone")?.as_str()), (asked, "mine"));
    }
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    let deleted = c.world.delete_undoably(a, row)?;
    c.world.freeze(a)?;
    assert_eq!(c.world.pending(a)?[0].standing, Standing::InFlight);
    assert!(matches!(c.world.undo(a, &deleted), Err(LocalError::TooLate)));
    // The schema has another shape: what was written under the old one is not put under it.
    let edited = c.known_patient(&[a])?;
    c.world.update(a, edited, &[("phone", "2")])?;
    let discarded = c.world.discard(a, edited)?;
    let grown = tombolo_client::protocol::schema::CLINIC.replacen("label = \"Phone\"", "label = \"Telephone\"", 1);
    c.world.schema(&grown).context("the schema was not taken")?;
    c.world.sync(a)?;
    assert!(matches!(c.world.undo(a, &discarded), Err(LocalError::TooLate)));
    Ok(())
}

#[test]
fn behind_a_server_that_was_put_back_nothing_of_the_lost_history_is_put_back() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    let backup = c.world.backup();
    c.world.update(a, row, &[("notes", "lost with the server's disk")])?;
    c.world.sync(a)?;
    c.world.update(a, row, &[("phone", "2")])?;
    let discarded = c.world.discard(a, row)?;
    c.world.put_back(&backup)?;
    c.world.sync(a)?;
    assert!(matches!(c.world.undo(a, &discarded), Err(LocalError::TooLate)));
    Ok(())
}
