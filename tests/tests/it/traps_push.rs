//! The traps of pushing (T11-T15, T18-T21, T23, T25), step by step.

use crate::worlds::{Clinic, clinic};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use tombolo_client::event::Event;
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::commit::AccessChange;
use tombolo_client::protocol::ids::{DeviceId, RowKey, UserId};
use tombolo_client::protocol::outbox::{ConflictKind, Write};
use tombolo_client::{LocalError, Standing};
use tombolo_server::workspace::Job;

#[test]
fn a_push_whose_answer_was_lost_is_applied_once() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    c.world.cut(a)?;
    // The recorded answer, which comes with Welcome, is lost too.
    for _ in 0..2 {
        c.world.begin_sync(a)?;
        c.world.connect(a)?;
        while c.world.up(a)? {}
        c.world.cut(a)?;
    }
    c.world.sync(a)?;
    assert_eq!(c.world.effects(row, Op::Update)?, 1);
    assert!(c.world.pending(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn a_push_that_never_arrived_is_sent_again_unchanged() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    // Hello arrives, the push behind it does not.
    c.world.freeze(a)?;
    c.world.restart_device(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.effects(row, Op::Update)?, 1);
    assert_eq!(c.world.server_field(row, "phone")?, "2");
    c.world.assert_equal(a)
}

#[test]
fn an_edit_made_while_its_row_is_being_pushed_is_pushed_next() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    c.world.update(a, row, &[("phone", "3")])?;
    c.world.settle(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "3");
    assert!(c.world.conflicts(a)?.is_empty(), "T12: a conflict with oneself");
    assert!(c.world.pending(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn a_delete_after_a_sent_create_reaches_the_server_as_a_delete() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.patient(a, "Amina")?;
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    c.world.delete(a, row)?;
    c.world.cut(a)?;
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert_eq!((c.world.effects(row, Op::Create)?, c.world.effects(row, Op::Delete)?), (1, 1));
    assert!(c.world.pending(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn t35_a_delete_made_during_a_push_does_not_take_a_change_that_nobody_saw() -> Result<()> {
    // Also where a frame cannot hold the result, so that the row comes ahead of it.
    for most in [None, Some(1)] {
        let mut c = clinic()?;
        let (a, b) = (c.device()?, c.device()?);
        let row = c.known_patient(&[a, b])?;
        if let Some(most) = most {
            c.world.message_bytes(most);
        }
        c.world.update(a, row, &[("phone", "mine")])?;
        c.world.begin_sync(a)?;
        c.world.greet(a)?;
        c.world.delete(a, row)?;
        c.world.update(b, row, &[("notes", "theirs")])?;
        c.world.sync(b)?;
        c.world.settle(a)?;
        assert_eq!(c.world.effects(row, Op::Delete)?, 0, "{most:?}");
        assert_eq!(c.world.conflicts(a)?.len(), 1, "{most:?}");
        assert_eq!(c.world.server_field(row, "phone")?, "mine");
    }
    Ok(())
}

#[test]
fn answers_that_a_frame_cannot_hold_lose_nothing_when_the_link_is_cut_behind_each_frame() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (c.device()?, c.device()?);
    let rows = [c.known_patient(&[a, b])?, c.known_patient(&[a, b])?, c.known_patient(&[a, b])?];
    c.world.message_bytes(1);
    for row in rows {
        c.world.update(a, row, &[("phone", "mine")])?;
        c.world.update(b, row, &[("notes", "theirs")])?;
    }
    c.world.sync(b)?;
    for frames in 0..8 {
        c.world.begin_sync(a)?;
        c.world.connect(a)?;
        while c.world.up(a)? {}
        for _ in 0..frames {
            c.world.down(a)?;
            while c.world.up(a)? {}
        }
        c.world.cut(a)?;
        for row in rows {
            assert_eq!(c.world.field(a, row, "phone")?, "mine", "{frames}");
        }
    }
    c.world.sync(a)?;
    for row in rows {
        assert_eq!(c.world.effects(row, Op::Update)?, 2);
        assert_eq!(
            (c.world.server_field(row, "phone")?, c.world.server_field(row, "notes")?),
            ("mine".into(), "theirs".into())
        );
    }
    assert!(c.world.pending(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn t11_a_copied_store_is_noticed_and_nothing_is_lost_or_doubled() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let (one, two) = (c.known_patient(&[a])?, c.known_patient(&[a])?);
    c.world.update(a, one, &[("phone", "both know it")])?;
    c.world.freeze(a)?;
    let copy = c.world.copy_device(a)?;
    c.world.update(a, two, &[("phone", "of the first")])?;
    c.world.update(copy, two, &[("village", "of the copy")])?;
    c.world.sync(a)?;
    c.world.sync(copy)?;
    assert!(c.world.told(copy, |event| matches!(event, Event::NewLife { .. })), "{:?}", c.world.devices[copy].events);
    c.world.sync(copy)?;
    c.world.sync(a)?;
    let device = |at: usize| c.world.devices[at].engine.account().map(|account| account.device);
    assert_ne!(device(a), device(copy), "two stores with one device id");
    assert_eq!(c.world.effects(one, Op::Update)?, 1);
    assert_eq!(c.world.server_field(two, "phone")?, "of the first");
    assert_eq!(c.world.server_field(two, "village")?, "of the copy");
    for at in [a, copy] {
        assert!(c.world.pending(at)?.is_empty());
        c.world.assert_equal(at)?;
    }
    Ok(())
}

#[test]
fn t11_a_copy_that_pushes_another_edit_under_the_same_number_loses_neither() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    let copy = c.world.copy_device(a)?;
    c.world.update(a, row, &[("phone", "first")])?;
    c.world.update(copy, row, &[("village", "second")])?;
    c.world.freeze(copy)?;
    c.world.sync(a)?;
    c.world.sync(copy)?;
    assert_eq!((c.world.server_field(row, "phone")?, c.world.server_field(row, "village")?), ("first".into(), "second".into()));
    c.world.sync(a)?;
    for at in [a, copy] {
        c.world.assert_equal(at)?;
    }
    Ok(())
}

#[test]
fn t11_a_store_put_back_to_an_earlier_state_gets_its_own_later_edits_again() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    let earlier = c.world.copy_device(a)?;
    c.world.update(a, row, &[("phone", "later")])?;
    c.world.sync(a)?;
    // The copy stands for the same folder put back to yesterday; the original is gone.
    c.world.sync(earlier)?;
    assert_eq!(c.world.field(earlier, row, "phone")?, "later");
    c.world.assert_equal(earlier)
}

#[test]
fn t23_two_live_copies_do_not_replace_each_other_for_ever() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let copy = c.world.copy_device(a)?;
    c.world.connect(a)?;
    c.world.settle(a)?;
    c.world.connect(copy)?;
    c.world.settle(copy)?;
    c.world.settle(a)?;
    c.world.settle(a)?;
    let device = |at: usize| c.world.devices[at].engine.account().map(|account| account.device);
    assert_ne!(device(a), device(copy));
    assert!(c.world.is_linked(a) && c.world.is_linked(copy), "both are connected now");
    Ok(())
}

#[test]
fn t13_every_decided_push_is_one_commit_and_a_retry_gets_the_recorded_answer() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let site = c.site.id.to_string();
    c.world.create(a, "patients", &[("phone", "1"), ("site", &site)])?;
    let before = c.world.head();
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    c.world.cut(a)?;
    assert_eq!(c.world.head().0, before.0 + 1, "a push with nothing accepted is a commit too");
    c.world.sync(a)?;
    assert_eq!(c.world.head().0, before.0 + 1);
    assert_eq!(c.world.pending(a)?[0].standing, Standing::Refused);
    Ok(())
}

#[test]
fn t14_a_push_that_ends_every_session_is_voided_and_goes_again() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    for _ in 0..3 {
        c.world.begin_sync(a)?;
        c.world.connect(a)?;
        // Hello is read, Welcome comes, the push is sent behind it, and the server closes with an error.
        c.world.up(a)?;
        c.world.down(a)?;
        c.world.cut_by_error(a)?;
    }
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert!(c.world.voids()? > 0, "nothing was voided");
    // Its only change failed alone as far as the client can know: it waits for a person, and is not lost.
    let pending = c.world.pending(a)?;
    assert_eq!((pending.len(), pending[0].standing), (1, Standing::Refused));
    c.world.update(a, row, &[("phone", "3")])?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "3");
    Ok(())
}

#[test]
fn t14_a_group_that_ends_every_session_waits_for_a_person_and_goes_again_whole() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let (one, two) = (c.known_patient(&[a])?, c.known_patient(&[a])?);
    let values = c.world.values(a, "patients", &[("phone", "2")])?;
    c.world.group(a, vec![(one, Write::Update(values.clone())), (two, Write::Update(values))])?;
    for _ in 0..3 {
        c.world.begin_sync(a)?;
        c.world.connect(a)?;
        c.world.up(a)?;
        c.world.down(a)?;
        c.world.cut_by_error(a)?;
    }
    c.world.sync(a)?;
    c.world.sync(a)?;
    assert_eq!(c.world.voids()?, 1);
    let refused = |view: &tombolo_client::view::PendingView| view.standing == Standing::Refused;
    assert_eq!(c.world.pending(a)?.iter().filter(|view| refused(view)).count(), 2, "{:?}", c.world.pending(a)?);
    // One decision sends the group again.
    c.world.resolve(a, one, &tombolo_client::protocol::outbox::Resolution::AllMine)?;
    c.world.sync(a)?;
    assert_eq!((c.world.server_field(one, "phone")?, c.world.server_field(two, "phone")?), ("2".into(), "2".into()));
    assert_eq!(c.world.devices[a].engine.state().push_changes_max, 0);
    Ok(())
}

#[test]
fn t14_in_automatic_mode_too_pushes_are_whole_again_once_everything_went_through() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let (one, two) = (c.known_patient(&[a])?, c.known_patient(&[a])?);
    c.world.devices[a].engine.set_automatic(true);
    c.world.update(a, one, &[("phone", "2")])?;
    c.world.update(a, two, &[("phone", "2")])?;
    for _ in 0..3 {
        c.world.connect(a)?;
        c.world.up(a)?;
        c.world.down(a)?;
        c.world.cut_by_error(a)?;
    }
    c.world.connect(a)?;
    c.world.settle(a)?;
    assert_eq!((c.world.voids()?, c.world.server_field(two, "phone")?), (1, "2".into()));
    assert_eq!(c.world.devices[a].engine.state().push_changes_max, 0);
    Ok(())
}

#[test]
fn t18_an_import_is_no_group_and_a_group_that_is_too_large_is_refused_at_once() -> Result<()> {
    let mut c = clinic()?;
    c.world.chunk_rows(1000);
    let a = c.device()?;
    let site = c.site.id.to_string();
    let values = c.world.values(a, "patients", &[("name", "x"), ("site", &site)])?;
    let table = c.world.devices[a].engine.schema().unwrap().table_named("patients").unwrap().tag;
    let rows: Vec<_> = (0..600).map(|_| (RowKey { table, id: c.world.row_id() }, Write::Create(values.clone()))).collect();
    let refused = c.world.group(a, rows.clone());
    assert!(matches!(refused, Err(LocalError::GroupTooLarge { changes: 600, .. })), "{refused:?}");
    assert!(c.world.pending(a)?.is_empty(), "a refused group leaves nothing");
    c.world.import(a, rows)?;
    let report = c.world.sync(a)?;
    assert_eq!(report.pushed, 600);
    c.world.assert_equal(a)
}

#[test]
fn t19_an_edit_of_a_purged_row_is_edit_against_delete_and_never_a_new_row() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[0, a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.delete(0, row)?;
    c.world.sync(0)?;
    c.world.purge(row)?;
    c.world.sync(a)?;
    assert_eq!(c.world.conflicts(a)?[0].conflict.kind, ConflictKind::UpdateDelete);
    assert_eq!(c.world.field(a, row, "name")?, "Amina", "the last full row stays beside the edit");
    assert_eq!(c.world.server_field(row, "phone")?, "-");
    c.world.resolve(a, row, &tombolo_client::protocol::outbox::Resolution::AllMine)?;
    c.world.sync(a)?;
    assert_eq!((c.world.server_field(row, "phone")?, c.world.server_field(row, "name")?), ("2".into(), "Amina".into()));
    c.world.assert_equal(a)
}

#[test]
fn t19_a_create_whose_answer_was_lost_does_not_come_back_after_a_purge() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.patient(a, "Amina")?;
    c.world.freeze(a)?;
    let put_back = c.world.copy_device(a)?;
    c.world.sync(a)?;
    c.world.sync(0)?;
    c.world.delete(0, row)?;
    c.world.sync(0)?;
    c.world.purge(row)?;
    for at in [a, put_back] {
        c.world.sync(at)?;
        assert_eq!(c.world.server_field(row, "name")?, "-");
    }
    assert_eq!(c.world.effects(row, Op::Create)?, 1);
    Ok(())
}

#[test]
fn t20_a_unique_value_changes_hands_in_one_push() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let one = c.world.create(a, "sites", &[("name", "One")])?;
    let two = c.world.create(a, "sites", &[("name", "Two")])?;
    c.world.sync(a)?;
    c.world.update(a, one, &[("name", "Two")])?;
    c.world.update(a, two, &[("name", "One")])?;
    c.world.sync(a)?;
    assert!(c.world.pending(a)?.is_empty(), "{:?}", c.world.pending(a)?);
    assert_eq!((c.world.server_field(one, "name")?, c.world.server_field(two, "name")?), ("Two".into(), "One".into()));
    Ok(())
}

#[test]
fn t20_a_row_and_its_children_are_deleted_together_and_not_while_others_refer_to_it() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let patient = c.known_patient(&[0, a])?;
    let (of, site) = (patient.id.to_string(), c.site.id.to_string());
    let visit = [("patient", of.as_str()), ("date", "2026-01-02"), ("reason", "x"), ("site", &site)];
    let theirs = c.world.create(0, "visits", &visit)?;
    c.world.delete(a, patient)?;
    c.world.sync(0)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(patient, "name")?, "Amina", "a row was deleted that others refer to");
    assert_eq!(c.world.pending(a)?[0].standing, Standing::Refused);
    c.world.delete(a, theirs)?;
    c.world.discard(a, patient)?;
    c.world.delete(a, patient)?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(patient, "name")?, "-");
    assert!(c.world.pending(a)?.is_empty());
    Ok(())
}

#[test]
fn t25_what_is_frozen_cannot_be_discarded() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.freeze(a)?;
    assert!(matches!(c.world.discard(a, row), Err(LocalError::InFlight)));
    c.world.update(a, row, &[("phone", "3")])?;
    c.world.discard(a, row)?;
    assert_eq!(c.world.field(a, row, "phone")?, "2");
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "2");
    Ok(())
}

#[test]
fn t25_a_sync_that_met_no_server_froze_nothing() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.begin_sync(a)?;
    assert_eq!(c.world.pending(a)?[0].standing, Standing::Ready);
    c.world.update(a, row, &[("phone", "3")])?;
    assert_eq!(c.world.pending(a)?.len(), 1, "not a byte has left, so there is one change");
    c.world.discard(a, row)?;
    assert!(c.world.pending(a)?.is_empty());
    assert_eq!(c.world.field(a, row, "phone")?, "1");
    Ok(())
}

#[test]
fn t21_a_schema_that_gains_a_required_field_takes_old_creates_with_its_initial_value() -> Result<()> {
    use tombolo_client::protocol::schema::CLINIC;
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.patient(a, "Amina")?;
    let field = "\n[[table.field]]\nname = \"consent\"\ntag = 90\nkind = \"text\"\nlabel = \"Consent\"\nrequired = true\ninitial = \"unknown\"\n";
    let grown = with_field(CLINIC, "patients", field);
    c.world.schema(&grown)?;
    c.world.sync(a)?;
    assert!(c.world.pending(a)?.is_empty(), "{:?}", c.world.pending(a)?);
    assert_eq!(c.world.server_field(row, "consent")?, "unknown");
    assert_eq!(c.world.field(a, row, "consent")?, "unknown");
    c.world.assert_equal(a)
}

/// A schema whose table has one more field.
pub fn with_field(schema: &str, table: &str, field: &str) -> String {
    let begin = schema.find(&format!("name = \"{table}\"")).expect("the table is there");
    let end = schema[begin..].find("[[table]]").map_or(schema.len(), |at| begin + at);
    let groups = schema[begin..end].find("[[table.group]]").map_or(end, |at| begin + at);
    format!("{}{field}\n{}", &schema[..groups], &schema[groups..])
}

/// A device changed a phone number to 2; the server decided that, and its answer is on the way.
fn answer_under_way() -> Result<(Clinic, usize, RowKey)> {
    let mut c = clinic()?;
    let a = c.device()?;
    let row = c.known_patient(&[a])?;
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.begin_sync(a)?;
    c.world.greet(a)?;
    while c.world.up(a)? {}
    assert_eq!(c.world.server_field(row, "phone")?, "2");
    Ok((c, a, row))
}

#[test]
fn a_login_under_another_device_id_while_an_answer_is_under_way_loses_no_edit() -> Result<()> {
    let (mut c, a, row) = answer_under_way()?;
    let mut account = c.world.devices[a].engine.account().context("no account")?.clone();
    account.device = DeviceId(c.world.row_id().0);
    c.world.devices[a].engine.logged_in(account, None)?;
    // The answer is one to the session of the old device.
    c.world.update(a, row, &[("phone", "3")])?;
    c.world.begin_sync(a)?;
    while c.world.down(a)? && c.world.is_linked(a) {}
    assert_eq!(c.world.field(a, row, "phone")?, "3");
    assert_eq!(
        c.world.pending(a)?.len(),
        2,
        "what is in flight waits for a session of the new device, and what came next with it"
    );
    Ok(())
}

#[test]
fn a_device_that_is_revoked_with_a_push_under_way_is_asked_nothing_about_it_after_the_next_login() -> Result<()> {
    let (mut c, a, row) = answer_under_way()?;
    c.world.cut(a)?;
    let device = c.world.devices[a].engine.account().context("no account")?.device;
    c.world.server(Job::Access { by: UserId::default(), change: AccessChange::DeviceRevoked { device } })?;
    c.world.update(a, row, &[("phone", "3")])?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(row, "phone")?, "3", "2 is what it was made on, not what somebody else wrote");
    assert_eq!(c.world.pending(a)?.len(), 0);
    Ok(())
}

#[test]
fn in_automatic_mode_what_was_pushed_without_its_parent_goes_behind_it() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let site = c.world.create(a, "sites", &[("name", "Lamu")])?;
    let patient = c.world.create(a, "patients", &[("name", "x"), ("site", &site.id.to_string())])?;
    let head = c.world.head();
    c.world.sync_only(a, BTreeSet::from([patient]))?;
    assert!(c.world.head().0 - head.0 <= 2, "tried again and again");
    c.world.devices[a].engine.cancel_sync();
    c.world.devices[a].engine.set_automatic(true);
    c.world.connect(a)?;
    c.world.settle(a)?;
    assert_eq!(c.world.server_field(site, "name")?, "Lamu");
    assert_eq!(c.world.server_field(patient, "name")?, "x");
    Ok(())
}
