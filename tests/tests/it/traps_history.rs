//! The traps of identity and history (T5, T6, T8, T24, T37, T38): folders put back, other servers.

use crate::worlds::clinic;
use anyhow::Result;
use tombolo_client::event::Event;
use tombolo_client::protocol::commit::Offer;
use tombolo_client::protocol::outbox::{ConflictKind, Resolution, ResolveError, Review, Write};
use tombolo_client::protocol::schema::CLINIC;
use tombolo_client::{LocalError, Standing};

#[test]
fn t5_acknowledged_edits_that_the_server_lost_are_offered_again() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    let backup = c.world.backup();
    c.world.update(a, row, &[("phone", "acknowledged")])?;
    // Only the result arrives, then the link is cut.
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    while c.world.down(a)? && !c.world.pending(a)?.is_empty() {}
    c.world.cut(a)?;
    assert!(c.world.pending(a)?.is_empty(), "it was acknowledged");
    c.world.put_back(&backup)?;
    // The seqs that the lost commits had are taken by others.
    c.world.update(0, row, &[("village", "Lamu")])?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    assert!(c.world.told(a, |event| matches!(event, Event::Diverged { .. })));
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "acknowledged");
    assert_eq!(c.world.field(a, row, "village")?, "Lamu");
    assert!(c.world.pending(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn t5_what_was_set_back_stays_so_when_the_server_lost_it_and_somebody_agreed_with_what_was_before() -> Result<()> {
    // Found by the simulation: of two lost edits of one device that cancel each other nothing was offered again, while another
    // device had agreed with the first.
    let mut c = clinic()?;
    let (a, b) = (c.device()?, c.device()?);
    let row = c.known_patient(&[0, a, b])?;
    c.world.update(0, row, &[("phone", "1")])?;
    for device in [0, a, b] {
        c.world.sync(device)?;
    }
    let backup = c.world.backup();
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.update(b, row, &[("phone", "2")])?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    c.world.update(a, row, &[("phone", "1")])?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "1");
    c.world.put_back(&backup)?;
    for device in [b, a, a] {
        c.world.sync(device)?;
    }
    assert_eq!(c.world.field(a, row, "phone")?, "1");
    assert_eq!(c.world.conflicts(a)?.len(), 1, "who set it back is asked, since the other one is there again");
    c.world.resolve(a, row, &Resolution::AllMine)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "1");
    assert!(c.world.pending(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn t6_a_base_of_the_lost_history_overwrites_nothing_of_the_new_one() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    let backup = c.world.backup();
    // The lost change stands at a higher seq than the one that the new history will have.
    for _ in 0..4 {
        c.patient(0, "filler")?;
        c.world.sync(0)?;
    }
    c.world.update(0, row, &[("phone", "lost")])?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    c.world.update(a, row, &[("phone", "mine")])?;
    c.world.put_back(&backup)?;
    // Another device writes in the new history.
    let fresh = c.device()?;
    c.world.update(fresh, row, &[("phone", "new history")])?;
    c.world.sync(fresh)?;
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "new history", "overwritten without a question");
    assert_eq!(c.world.conflicts(a)?.len(), 1);
    c.world.resolve(a, row, &Resolution::AllMine)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "mine");
    Ok(())
}

#[test]
fn t6_a_form_opened_before_a_divergence_overwrites_and_deletes_nothing_unasked() -> Result<()> {
    for deletes in [false, true] {
        let mut c = clinic()?;
        let a = c.device()?;
        let row = c.known_patient(&[0, a])?;
        let backup = c.world.backup();
        for village in ["Lamu", "Kisumu", "Old"] {
            c.world.update(0, row, &[("village", village)])?;
            c.world.sync(0)?;
        }
        c.world.sync(a)?;
        let seen = c.world.shown(a, row)?.unwrap().seen;
        c.world.put_back(&backup)?;
        let fresh = c.device()?;
        c.world.update(fresh, row, &[("phone", "new history")])?;
        c.world.sync(fresh)?;
        // The seqs that the form saw are taken by others.
        while c.world.server_row(row)?.unwrap().seq <= seen.seq {
            let village = c.world.head().0.to_string();
            c.world.update(fresh, row, &[("village", &village)])?;
            c.world.sync(fresh)?;
        }
        c.world.sync(a)?;
        c.world.sync(a)?;
        assert_eq!(c.world.field(a, row, "phone")?, "new history");
        let what = if deletes { Write::Delete } else { Write::Update(c.world.values(a, "patients", &[("phone", "mine")])?) };
        // As the command line gives it back.
        let seen = seen.to_string().parse()?;
        c.world.write(a, row, what, Some(seen))?;
        c.world.sync(a)?;
        assert_eq!(c.world.server_field(row, "phone")?, "new history");
        assert_eq!(c.world.conflicts(a)?.len(), 1);
    }
    Ok(())
}

#[test]
fn t6_a_decision_about_a_row_of_the_lost_history_is_not_taken() -> Result<()> {
    for overtaken in [false, true] {
        let mut c = clinic()?;
        let a = c.device()?;
        let row = c.known_patient(&[0, a])?;
        let backup = c.world.backup();
        for village in ["Lamu", "Kisumu", "Old"] {
            c.world.update(0, row, &[("phone", "theirs"), ("village", village)])?;
            c.world.sync(0)?;
        }
        c.world.update(a, row, &[("phone", "mine")])?;
        c.world.sync(a)?;
        let shown = c.world.conflicts(a)?.remove(0);
        c.world.put_back(&backup)?;
        let fresh = c.device()?;
        c.world.update(fresh, row, &[("phone", "new history")])?;
        c.world.sync(fresh)?;
        while overtaken && c.world.server_row(row)?.unwrap().seq <= shown.server.as_ref().unwrap().seq {
            let village = c.world.head().0.to_string();
            c.world.update(fresh, row, &[("village", &village)])?;
            c.world.sync(fresh)?;
        }
        c.world.sync(a)?;
        c.world.sync(a)?;
        let refused = c.world.devices[a].engine.resolve(row, Some(&shown), &Resolution::AllMine, 1);
        assert!(matches!(refused, Err(LocalError::Resolve(ResolveError::Moved))), "{refused:?}");
        // Looked at again, it is; what came in since is no reason to ask about the same again.
        let shown = c.world.conflicts(a)?.remove(0);
        c.world.update(fresh, row, &[("village", "Mombasa")])?;
        c.world.sync(fresh)?;
        c.world.sync(a)?;
        c.world.devices[a].engine.resolve(row, Some(&shown), &Resolution::AllMine, 1)?;
        c.world.sync(a)?;
        assert_eq!(c.world.server_field(row, "phone")?, "mine");
    }
    Ok(())
}

#[test]
fn t8_an_empty_or_other_server_empties_nobodys_mirror() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    c.world.update(a, row, &[("phone", "pending")])?;
    c.world.another_server(CLINIC)?;
    // The new server does not know the token at all.
    assert!(c.world.sync(a).is_err());
    assert_eq!(c.world.field(a, row, "phone")?, "pending");
    assert!(c.world.mirror(a, row)?.is_some());
    assert_eq!(c.world.pending(a)?.len(), 1);
    Ok(())
}

#[test]
fn t8_a_deletion_that_a_restore_undid_is_asked_and_not_done_again() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    let backup = c.world.backup();
    c.world.delete(a, row)?;
    c.world.sync(a)?;
    c.world.put_back(&backup)?;
    c.world.patient_filler()?;
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "name")?, "Amina");
    assert_eq!(c.world.conflicts(a)?[0].conflict.kind, ConflictKind::DeleteUpdate);
    c.world.resolve(a, row, &Resolution::AllServer)?;
    c.world.sync(a)?;
    assert_eq!(c.world.field(a, row, "name")?, "Amina");
    Ok(())
}

#[test]
fn t24_the_operator_chooses_whether_lost_edits_are_offered_again() -> Result<()> {
    for offer in [Offer::Yes, Offer::Ask, Offer::No] {
        let mut c = clinic()?;
        let a = c.device()?;
        let row = c.known_patient(&[0, a])?;
        let backup = c.world.backup();
        c.world.update(a, row, &[("phone", "lost")])?;
        c.world.sync(a)?;
        c.world.put_back(&backup)?;
        c.world.restore_commit(offer)?;
        c.world.sync(a)?;
        c.world.sync(a)?;
        let (phone, pending) = (c.world.server_field(row, "phone")?, c.world.pending(a)?);
        match offer {
            Offer::Yes => assert_eq!((phone.as_str(), pending.len()), ("lost", 0)),
            Offer::Ask => {
                assert_eq!((phone.as_str(), pending.len()), ("1", 1));
                assert_eq!(pending[0].standing, Standing::Refused);
                c.world.resolve(a, row, &Resolution::AllMine)?;
                c.world.sync(a)?;
                assert_eq!(c.world.server_field(row, "phone")?, "lost");
            }
            Offer::No => assert_eq!((phone.as_str(), pending.len()), ("1", 0)),
        }
        let tables = c.world.devices[a].engine.store().read()?;
        let copies = tables.recovery_copies()?;
        assert_eq!(copies.len(), 1, "the old mirror is set aside");
        assert!(copies[0].1.rows > 0);
    }
    Ok(())
}

#[test]
fn t24_what_is_to_be_asked_is_asked_also_where_something_newer_is_pending() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    let backup = c.world.backup();
    c.world.update(a, row, &[("phone", "lost")])?;
    c.world.sync(a)?;
    c.world.update(a, row, &[("village", "pending")])?;
    c.world.put_back(&backup)?;
    c.world.restore_commit(Offer::Ask)?;
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "1", "sent again unasked");
    let pending = c.world.pending(a)?;
    assert_eq!((pending.len(), &pending[0].change.review), (1, &Some(Review::Offered)));
    assert_eq!(c.world.field(a, row, "village")?, "pending");
    c.world.resolve(a, row, &Resolution::AllMine)?;
    c.world.sync(a)?;
    assert_eq!((c.world.server_field(row, "phone")?, c.world.server_field(row, "village")?), ("lost".into(), "pending".into()));
    Ok(())
}

#[test]
fn one_decision_is_enough_for_a_deletion_that_is_offered_again_and_asked() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    let backup = c.world.backup();
    c.world.delete(a, row)?;
    c.world.sync(a)?;
    c.world.put_back(&backup)?;
    c.world.restore_commit(Offer::Ask)?;
    c.world.sync(a)?;
    c.world.sync(a)?;
    c.world.resolve(a, row, &Resolution::AllMine)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "-");
    Ok(())
}

#[test]
fn t38_nothing_of_the_lost_history_stays_in_the_mirror() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let (moved, deleted) = (c.known_patient(&[0, a])?, c.known_patient(&[0, a])?);
    let backup = c.world.backup();
    c.world.update(0, moved, &[("phone", "lost"), ("village", "lost")])?;
    c.world.delete(0, deleted)?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    c.world.put_back(&backup)?;
    c.world.patient_filler()?;
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.field(a, moved, "phone")?, "1");
    assert_eq!(c.world.field(a, deleted, "name")?, "Amina");
    c.world.assert_equal(a)
}

#[test]
fn t37_a_row_read_newer_than_its_answer_is_covered_by_the_witness() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    c.world.update(a, row, &[("phone", "mine")])?;
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    c.world.cut(a)?;
    let backup = c.world.backup();
    c.world.update(0, row, &[("village", "lost")])?;
    c.world.sync(0)?;
    // The recorded outcome brings the row as it is now; nothing else arrives.
    c.world.begin_sync(a)?;
    c.world.connect(a)?;
    while c.world.up(a)? {}
    while c.world.down(a)? && !c.world.pending(a)?.is_empty() {}
    c.world.cut(a)?;
    assert_eq!(c.world.field(a, row, "village")?, "lost");
    c.world.put_back(&backup)?;
    c.world.patient_filler()?;
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.field(a, row, "village")?, "Malindi");
    c.world.assert_equal(a)
}
