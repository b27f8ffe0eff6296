//! The traps of pulling (T1-T4, T9, T22, T26), with chunks of one row.

use crate::worlds::clinic;
use anyhow::Result;
use tombolo_client::event::Event;
use tombolo_client::protocol::commit::Grant;
use tombolo_client::protocol::ids::RowKey;
use tombolo_client::protocol::outbox::Review;
use tombolo_client::protocol::schema::Role;

#[test]
fn t1_a_catch_up_in_many_chunks_loses_no_field() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (c.device()?, 0);
    let row = c.known_patient(&[b, a])?;
    c.world.update(b, row, &[("phone", "first")])?;
    c.world.sync(b)?;
    for _ in 0..5 {
        c.patient(b, "other")?;
        c.world.sync(b)?;
    }
    c.world.update(b, row, &[("village", "second")])?;
    c.world.sync(b)?;
    c.world.sync(a)?;
    assert_eq!((c.world.field(a, row, "phone")?, c.world.field(a, row, "village")?), ("first".into(), "second".into()));
    c.world.assert_equal(a)
}

#[test]
fn t1_a_row_that_moves_ahead_of_a_scan_that_is_cut_again_and_again_loses_no_field() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (c.device()?, 0);
    let row = c.known_patient(&[b, a])?;
    for round in 0..6 {
        c.world.update(b, row, &[(if round % 2 == 0 { "phone" } else { "village" }, &format!("v{round}"))])?;
        c.patient(b, "other")?;
        c.patient(b, "another")?;
        c.world.sync(b)?;
        // One chunk, then the link is cut.
        c.world.connect(a)?;
        c.world.up(a)?;
        for _ in 0..2 {
            c.world.down(a)?;
        }
        c.world.cut(a)?;
    }
    c.world.sync(a)?;
    c.world.assert_equal(a)
}

#[test]
fn t2_a_result_leaves_the_row_complete_even_if_the_link_is_cut_behind_it() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (c.device()?, 0);
    let row = c.known_patient(&[b, a])?;
    c.world.update(b, row, &[("village", "theirs")])?;
    c.world.sync(b)?;
    c.world.update(a, row, &[("phone", "mine")])?;
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    // The push arrives; of what comes back nothing behind the result.
    while c.world.up(a)? {}
    while c.world.down(a)? && c.world.mirror(a, row)?.is_some_and(|held| held.version.0 < 3) {}
    c.world.cut(a)?;
    assert_eq!(
        c.world.mirror(a, row)?,
        c.world.server_row(row)?.map(|server| tombolo_client::protocol::row::Row { ordinal: 0, ..server })
    );
    // A deletion now is based on what was shown.
    c.world.delete(a, row)?;
    c.world.sync(a)?;
    assert!(c.world.conflicts(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn t2_other_peoples_changes_in_my_own_commits_row_still_come() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (c.device()?, 0);
    let row = c.known_patient(&[b, a])?;
    c.world.update(a, row, &[("phone", "mine")])?;
    c.world.update(b, row, &[("village", "theirs")])?;
    c.world.sync(b)?;
    // The answer is lost; the recorded outcome comes with the next Welcome.
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    c.world.cut(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.field(a, row, "village")?, "theirs");
    c.world.assert_equal(a)
}

#[test]
fn t3_a_scan_stops_inside_a_commit_and_goes_on_there() -> Result<()> {
    let mut c = clinic()?;
    let b = 0;
    for _ in 0..20 {
        c.patient(b, "imported")?;
    }
    c.world.sync(b)?;
    let a = c.world.device(c.user)?;
    // Each session brings a chunk and is cut.
    for _ in 0..40 {
        c.world.connect(a)?;
        c.world.up(a)?;
        for _ in 0..3 {
            c.world.down(a)?;
        }
        c.world.cut(a)?;
    }
    c.world.sync(a)?;
    c.world.assert_equal(a)
}

#[test]
fn t4_a_row_deleted_during_a_long_first_fill_is_no_ghost() -> Result<()> {
    let mut c = clinic()?;
    let b = 0;
    let mut rows = Vec::new();
    for _ in 0..6 {
        rows.push(c.patient(b, "one of many")?);
    }
    c.world.sync(b)?;
    let a = c.world.device(c.user)?;
    c.world.connect(a)?;
    c.world.up(a)?;
    for _ in 0..6 {
        c.world.down(a)?;
        c.world.up(a)?;
    }
    c.world.cut(a)?;
    for row in &rows {
        c.world.delete(b, *row)?;
    }
    c.world.sync(b)?;
    c.world.sync(a)?;
    for row in rows {
        assert_eq!(c.world.field(a, row, "name")?, "-");
    }
    c.world.assert_equal(a)
}

/// A nurse of the first site, and a second site.
fn two_sites(c: &mut crate::worlds::Clinic) -> Result<(usize, RowKey, tombolo_client::protocol::ids::UserId)> {
    let other = c.world.create(0, "sites", &[("name", "Lamu")])?;
    c.world.sync(0)?;
    let nurse = c.world.user("nurse", Role::Editor, Grant::Scopes(vec![c.site.id]))?;
    let at = c.world.device(nurse)?;
    c.world.sync(at)?;
    Ok((at, other, nurse))
}

#[test]
fn t9_a_row_that_moves_out_of_my_site_leaves_and_one_that_moves_in_comes_whole() -> Result<()> {
    let mut c = clinic()?;
    let (a, other, _) = two_sites(&mut c)?;
    let row = c.known_patient(&[0, a])?;
    let other_id = other.id.to_string();
    c.world.update(0, row, &[("site", &other_id)])?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    assert_eq!(c.world.field(a, row, "name")?, "-");
    assert!(c.world.mirror(a, row)?.is_none());
    c.world.assert_equal(a)?;
    let home = c.site.id.to_string();
    c.world.update(0, row, &[("site", &home)])?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    assert_eq!(c.world.field(a, row, "name")?, "Amina");
    c.world.assert_equal(a)
}

#[test]
fn t9_a_pending_edit_of_a_row_that_leaves_waits_and_is_ready_again_when_it_comes_back() -> Result<()> {
    let mut c = clinic()?;
    let (a, other, _) = two_sites(&mut c)?;
    let row = c.known_patient(&[0, a])?;
    c.world.update(a, row, &[("phone", "mine")])?;
    let (other_id, home) = (other.id.to_string(), c.site.id.to_string());
    c.world.update(0, row, &[("site", &other_id)])?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    let pending = c.world.pending(a)?;
    assert_eq!(pending.len(), 1, "the edit is kept");
    assert!(matches!(pending[0].change.review, Some(Review::Left | Review::Refused(_))), "{pending:?}");
    c.world.update(0, row, &[("site", &home)])?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    assert!(c.world.pending(a)?.is_empty(), "{:?}", c.world.pending(a)?);
    assert_eq!(c.world.server_field(row, "phone")?, "mine");
    Ok(())
}

#[test]
fn t9_a_grant_taken_and_given_evicts_and_fills() -> Result<()> {
    let mut c = clinic()?;
    let (a, other, nurse) = two_sites(&mut c)?;
    let row = c.known_patient(&[0, a])?;
    c.world.grant(nurse, "nurse", Role::Editor, Grant::Scopes(vec![other.id]))?;
    c.world.sync(a)?;
    assert!(c.world.mirror(a, row)?.is_none());
    c.world.assert_equal(a)?;
    c.world.grant(nurse, "nurse", Role::Editor, Grant::Scopes(vec![other.id, c.site.id]))?;
    c.world.sync(a)?;
    assert!(c.world.mirror(a, row)?.is_some());
    c.world.assert_equal(a)
}

#[test]
fn t9_a_grant_that_changes_in_a_live_session_is_noticed() -> Result<()> {
    let mut c = clinic()?;
    let (a, other, nurse) = two_sites(&mut c)?;
    let row = c.known_patient(&[0, a])?;
    c.world.connect(a)?;
    c.world.settle(a)?;
    c.world.grant(nurse, "nurse", Role::Editor, Grant::Scopes(vec![other.id]))?;
    c.world.head_moved();
    c.world.settle(a)?;
    assert!(c.world.mirror(a, row)?.is_none());
    c.world.assert_equal(a)
}

#[test]
fn t22_an_answer_shows_nothing_of_rows_that_i_may_not_see() -> Result<()> {
    let mut c = clinic()?;
    let (a, other, _) = two_sites(&mut c)?;
    let other_id = other.id.to_string();
    let hidden = c.world.create(0, "patients", &[("name", "Secret"), ("site", &other_id)])?;
    let parent = c.world.create(0, "patients", &[("name", "Secret too"), ("site", &other_id)])?;
    c.world.sync(0)?;
    // Creating a row with that id tells no more than that it cannot be.
    let home = c.site.id.to_string();
    let values = c.world.values(a, "patients", &[("name", "Mine"), ("site", &home)])?;
    c.world.write(a, hidden, tombolo_client::protocol::outbox::Write::Create(values), None)?;
    // Nor does referring to it.
    let of = parent.id.to_string();
    let visit = c.world.create(a, "visits", &[("patient", &of), ("date", "2026-01-02"), ("reason", "x"), ("site", &home)])?;
    let unknown = c.world.row_id().to_string();
    let control =
        c.world.create(a, "visits", &[("patient", &unknown), ("date", "2026-01-02"), ("reason", "x"), ("site", &home)])?;
    c.world.sync(a)?;
    assert!(c.world.mirror(a, hidden)?.is_none() && c.world.mirror(a, parent)?.is_none());
    let reason = |row: RowKey| -> Result<String> {
        let pending = c.world.pending(a)?;
        let review = pending.into_iter().find(|pending| pending.key == row).and_then(|pending| pending.change.review);
        Ok(format!("{review:?}").replace(&of, "ID").replace(&unknown, "ID"))
    };
    assert_eq!(reason(visit)?, reason(control)?);
    assert!(c.world.server_field(hidden, "name")? == "Secret");
    Ok(())
}

#[test]
fn t26_a_digest_of_a_head_behind_my_own_result_raises_no_alarm() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.connect(a)?;
    c.world.settle(a)?;
    for phone in ["2", "3", "4"] {
        c.world.update(a, row, &[("phone", phone)])?;
        c.world.begin_sync(a)?;
        c.world.settle(a)?;
    }
    assert!(!c.world.told(a, |event| matches!(event, Event::DigestMismatch { .. })));
    c.world.assert_equal(a)
}
