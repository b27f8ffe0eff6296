//! What two devices that worked offline get when they meet: merged without a question where that is safe, asked where it is
//! not, and each question answered in every direction.

use crate::worlds::{Clinic, clinic};
use anyhow::Result;
use std::collections::BTreeMap;
use tombolo_client::protocol::change::{Op, Refusal};
use tombolo_client::protocol::commit::Grant;
use tombolo_client::protocol::ids::RowKey;
use tombolo_client::protocol::outbox::{Choice, ConflictKind, Resolution, Review, Write};
use tombolo_client::protocol::schema::{CLINIC, Role};
use tombolo_client::{PushLimits, Standing};
use tombolo_tests::pair::World;

#[test]
fn edits_of_different_fields_merge_without_a_question() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let row = c.known_patient(&[a, b])?;
    c.world.update(a, row, &[("phone", "2")])?;
    c.world.update(b, row, &[("village", "Lamu")])?;
    c.world.sync(a)?;
    let report = c.world.sync(b)?;
    assert_eq!((report.pushed, report.merged), (1, 1));
    c.world.sync(a)?;
    for at in [a, b] {
        assert_eq!(c.world.field(at, row, "phone")?, "2");
        assert_eq!(c.world.field(at, row, "village")?, "Lamu");
        assert!(c.world.pending(at)?.is_empty());
        c.world.assert_equal(at)?;
    }
    Ok(())
}

#[test]
fn edits_of_the_same_field_ask_and_mine_or_theirs_can_be_taken() -> Result<()> {
    for (resolution, expected) in [(Resolution::AllMine, "mine"), (Resolution::AllServer, "theirs")] {
        let mut c = clinic()?;
        let (a, b) = (0, c.device()?);
        let row = c.known_patient(&[a, b])?;
        c.world.update(a, row, &[("phone", "theirs")])?;
        c.world.sync(a)?;
        c.world.update(b, row, &[("phone", "mine")])?;
        c.world.sync(b)?;
        let conflicts = c.world.conflicts(b)?;
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].conflict.kind, ConflictKind::UpdateUpdate);
        assert_eq!(conflicts[0].author.as_ref().map(|author| author.name.as_str()), Some("ada"));
        assert_eq!(c.world.server_field(row, "phone")?, "theirs");
        c.world.resolve(b, row, &resolution)?;
        c.world.sync(b)?;
        c.world.sync(a)?;
        assert_eq!(c.world.server_field(row, "phone")?, expected);
        for at in [a, b] {
            assert_eq!(c.world.field(at, row, "phone")?, expected);
            assert!(c.world.pending(at)?.is_empty());
            c.world.assert_equal(at)?;
        }
    }
    Ok(())
}

#[test]
fn another_value_can_be_typed_for_a_field_in_conflict() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let row = c.known_patient(&[a, b])?;
    c.world.update(a, row, &[("phone", "theirs")])?;
    c.world.sync(a)?;
    c.world.update(b, row, &[("phone", "mine"), ("village", "Lamu")])?;
    c.world.sync(b)?;
    let field = c.world.conflicts(b)?[0].conflict.fields[0];
    let value = c.world.values(b, "patients", &[("phone", "third")])?.remove(&field).unwrap();
    c.world.resolve(b, row, &Resolution::Fields([(field, Choice::Value(value))].into()))?;
    c.world.sync(b)?;
    assert_eq!(c.world.server_field(row, "phone")?, "third");
    assert_eq!(c.world.server_field(row, "village")?, "Lamu");
    Ok(())
}

#[test]
fn a_dose_and_its_unit_ask_as_one() -> Result<()> {
    // T7
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let patient = c.known_patient(&[a, b])?;
    let (patient_id, site) = (patient.id.to_string(), c.site.id.to_string());
    let fields = [("patient", patient_id.as_str()), ("name", "Amoxicillin"), ("dose", "5"), ("unit", "mg"), ("site", &site)];
    let row = c.world.create(a, "medications", &fields)?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    c.world.update(a, row, &[("dose", "10")])?;
    c.world.update(b, row, &[("unit", "g")])?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    let conflicts = c.world.conflicts(b)?;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].conflict.fields.len(), 2, "dose and unit are one question");
    c.world.resolve(b, row, &Resolution::AllMine)?;
    c.world.sync(b)?;
    assert_eq!((c.world.server_field(row, "dose")?, c.world.server_field(row, "unit")?), ("5.000".into(), "g".into()));
    Ok(())
}

#[test]
fn a_strict_table_asks_about_any_change_of_the_row() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let site = c.site.id.to_string();
    let row = c.world.create(a, "stock", &[("item", "gloves"), ("count", "10"), ("site", &site)])?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    c.world.update(a, row, &[("item", "gloves, large")])?;
    c.world.update(b, row, &[("count", "7")])?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    assert_eq!(c.world.conflicts(b)?.len(), 1);
    c.world.resolve(b, row, &Resolution::AllMine)?;
    c.world.sync(b)?;
    assert_eq!(c.world.server_field(row, "count")?, "7");
    assert_eq!(c.world.server_field(row, "item")?, "gloves, large");
    Ok(())
}

#[test]
fn an_edit_of_a_row_that_others_deleted_is_restored_or_given_up() -> Result<()> {
    for (resolution, phone) in [(Resolution::AllMine, "2"), (Resolution::AllServer, "-")] {
        let mut c = clinic()?;
        let (a, b) = (0, c.device()?);
        let row = c.known_patient(&[a, b])?;
        c.world.update(a, row, &[("village", "Lamu")])?;
        c.world.sync(a)?;
        c.world.delete(a, row)?;
        c.world.sync(a)?;
        c.world.update(b, row, &[("phone", "2")])?;
        c.world.sync(b)?;
        assert_eq!(c.world.conflicts(b)?[0].conflict.kind, ConflictKind::UpdateDelete);
        c.world.resolve(b, row, &resolution)?;
        c.world.sync(b)?;
        c.world.sync(a)?;
        for at in [a, b] {
            assert_eq!(c.world.field(at, row, "phone")?, phone);
            // T15: what others wrote before the deletion comes back too, not my old copy of it.
            assert_eq!(c.world.field(at, row, "village")?, if phone == "-" { "-" } else { "Lamu" });
            c.world.assert_equal(at)?;
        }
    }
    Ok(())
}

#[test]
fn a_deletion_of_a_row_that_others_changed_is_done_anyway_or_dropped() -> Result<()> {
    for (resolution, phone) in [(Resolution::AllMine, "-"), (Resolution::AllServer, "2")] {
        let mut c = clinic()?;
        let (a, b) = (0, c.device()?);
        let row = c.known_patient(&[a, b])?;
        c.world.update(a, row, &[("phone", "2")])?;
        c.world.sync(a)?;
        c.world.delete(b, row)?;
        c.world.sync(b)?;
        assert_eq!(c.world.conflicts(b)?[0].conflict.kind, ConflictKind::DeleteUpdate);
        assert_eq!(c.world.server_field(row, "phone")?, "2");
        c.world.resolve(b, row, &resolution)?;
        c.world.sync(b)?;
        c.world.sync(a)?;
        for at in [a, b] {
            assert_eq!(c.world.field(at, row, "phone")?, phone);
            assert!(c.world.pending(at)?.is_empty());
            c.world.assert_equal(at)?;
        }
    }
    Ok(())
}

#[test]
fn two_rows_with_one_id_are_the_same_or_a_question() -> Result<()> {
    for (name, resolution, expected) in [
        ("Amina", None, "Amina"),
        ("Zawadi", Some(Resolution::AllMine), "Zawadi"),
        ("Zawadi", Some(Resolution::AllServer), "Amina"),
    ] {
        let mut c = clinic()?;
        let (a, b) = (0, c.device()?);
        let row = c.patient(a, "Amina")?;
        let site = c.site.id.to_string();
        let mine = [("name", name), ("phone", "1"), ("village", "Malindi"), ("site", &site)];
        let values = c.world.values(b, "patients", &mine)?;
        c.world.write(b, row, Write::Create(values), None)?;
        c.world.sync(a)?;
        c.world.sync(b)?;
        match resolution {
            None => assert!(c.world.conflicts(b)?.is_empty()),
            Some(resolution) => {
                assert_eq!(c.world.conflicts(b)?[0].conflict.kind, ConflictKind::CreateCreate);
                c.world.resolve(b, row, &resolution)?;
                c.world.sync(b)?;
            }
        }
        assert_eq!(c.world.server_field(row, "name")?, expected);
        assert!(c.world.pending(b)?.is_empty());
        c.world.assert_equal(b)?;
    }
    Ok(())
}

#[test]
fn a_clash_of_a_unique_value_shows_the_other_row_and_can_be_settled_both_ways() -> Result<()> {
    for typed in [true, false] {
        let mut c = clinic()?;
        let (a, b) = (0, c.device()?);
        let theirs = c.world.create(a, "sites", &[("name", "Lamu")])?;
        c.world.sync(a)?;
        let mine = c.world.create(b, "sites", &[("name", "Lamu")])?;
        c.world.sync(b)?;
        let conflicts = c.world.conflicts(b)?;
        assert_eq!((conflicts.len(), conflicts[0].conflict.kind), (1, ConflictKind::Unique));
        assert_eq!(conflicts[0].server.as_ref().map(|row| row.key), Some(theirs));
        let field = conflicts[0].conflict.fields[0];
        if typed {
            let value = c.world.values(b, "sites", &[("name", "Lamu town")])?.remove(&field).unwrap();
            c.world.resolve(b, mine, &Resolution::Fields([(field, Choice::Value(value))].into()))?;
        } else {
            c.world.resolve(b, mine, &Resolution::AllServer)?;
        }
        c.world.sync(b)?;
        assert_eq!(c.world.server_field(mine, "name")?, if typed { "Lamu town" } else { "-" });
        assert!(c.world.pending(b)?.is_empty());
        c.world.assert_equal(b)?;
    }
    Ok(())
}

#[test]
fn a_unique_value_is_taken_over_and_the_other_row_lets_go_of_it() -> Result<()> {
    let optional = CLINIC.replace("required = true\nunique = true", "unique = true");
    for (schema, left) in [(CLINIC, "Lamu (3)"), (optional.as_str(), "")] {
        let mut c = clinic()?;
        let (a, b) = (0, c.device()?);
        c.world.schema(schema)?;
        let theirs = c.world.create(a, "sites", &[("name", "Lamu")])?;
        c.world.create(a, "sites", &[("name", "Lamu (2)")])?;
        c.world.sync(a)?;
        let mine = c.world.create(b, "sites", &[("name", "Lamu")])?;
        c.world.sync(b)?;
        assert_eq!(c.world.conflicts(b)?.len(), 1);
        c.world.resolve(b, mine, &Resolution::AllMine)?;
        // The decision is seen before it is sent: two changes, admitted together or not at all.
        let pending = c.world.pending(b)?;
        assert_eq!(
            pending.iter().map(|view| (view.key, view.standing)).collect::<BTreeMap<_, _>>(),
            [(mine, Standing::Ready), (theirs, Standing::Ready)].into()
        );
        assert!(pending[0].change.group.is_some() && pending[0].change.group == pending[1].change.group);
        assert_eq!(c.world.field(b, theirs, "name")?, left);
        c.world.sync(b)?;
        assert!(c.world.pending(b)?.is_empty(), "{:?}", c.world.pending(b)?);
        assert_eq!((c.world.server_field(mine, "name")?, c.world.server_field(theirs, "name")?), ("Lamu".into(), left.into()));
        c.world.assert_equal(b)?;
    }
    Ok(())
}

#[test]
fn what_was_decided_about_one_other_row_is_not_done_to_another_that_has_the_value_by_now() -> Result<()> {
    use tombolo_client::LocalError;
    use tombolo_client::protocol::outbox::ResolveError;
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let first = c.world.create(a, "sites", &[("name", "Lamu")])?;
    c.world.sync(a)?;
    let mine = c.world.create(b, "sites", &[("name", "Lamu")])?;
    c.world.sync(b)?;
    let shown = c.world.conflicts(b)?.remove(0);
    assert_eq!(shown.server.as_ref().map(|row| row.key), Some(first));
    // The dialog stays open, the first one gives the name up, and another site takes it.
    c.world.update(a, first, &[("name", "Lamu town")])?;
    c.world.sync(a)?;
    let second = c.world.create(a, "sites", &[("name", "Lamu")])?;
    c.world.sync(a)?;
    c.world.update(b, mine, &[("name", "Shela")])?;
    c.world.update(b, mine, &[("name", "Lamu")])?;
    c.world.sync(b)?;
    assert_eq!(c.world.conflicts(b)?[0].server.as_ref().map(|row| row.key), Some(second));
    let decided = c.world.resolve_shown(b, mine, Some(&shown), &Resolution::AllMine);
    assert!(matches!(decided, Err(LocalError::Resolve(ResolveError::Moved))), "{decided:?}");
    assert_eq!(c.world.field(b, second, "name")?, "Lamu");
    Ok(())
}

#[test]
fn what_was_decided_about_one_change_is_not_done_to_another_that_was_made_since() -> Result<()> {
    use tombolo_client::LocalError;
    use tombolo_client::protocol::outbox::ResolveError;
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let row = c.known_patient(&[a, b])?;
    c.world.update(b, row, &[("phone", "first")])?;
    c.world.update(a, row, &[("phone", "theirs")])?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    let shown = c.world.conflicts(b)?.remove(0);
    // The dialog stays open; the change that it is about is discarded, and another one written over what the server has.
    c.world.discard(b, row)?;
    c.world.update(b, row, &[("phone", "second")])?;
    c.world.update(a, row, &[("phone", "theirs again")])?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    for resolution in [Resolution::AllServer, Resolution::AllMine] {
        let decided = c.world.resolve_shown(b, row, Some(&shown), &resolution);
        assert!(matches!(decided, Err(LocalError::Resolve(ResolveError::Moved))), "{decided:?}");
        assert_eq!(c.world.field(b, row, "phone")?, "second");
    }
    // Looked at again, it is decided.
    let shown = c.world.conflicts(b)?.remove(0);
    c.world.resolve_shown(b, row, Some(&shown), &Resolution::AllServer)?;
    assert_eq!(c.world.field(b, row, "phone")?, "theirs again");
    Ok(())
}

#[test]
fn a_unique_value_is_not_taken_where_the_other_row_can_have_no_other() -> Result<()> {
    use tombolo_client::LocalError;
    use tombolo_client::protocol::outbox::ResolveError;
    let short = CLINIC.replace("unique = true\nmax_length = 120", "unique = true\nmax_length = 4");
    assert_ne!(short, CLINIC);
    let mut world = World::new(&short)?;
    let user = world.user("ada", Role::Admin, Grant::All)?;
    let (a, b) = (world.device(user)?, world.device(user)?);
    world.create(a, "sites", &[("name", "Lamu")])?;
    world.sync(a)?;
    let mine = world.create(b, "sites", &[("name", "Lamu")])?;
    world.sync(b)?;
    let refused = world.resolve(b, mine, &Resolution::AllMine);
    assert!(matches!(refused, Err(LocalError::Resolve(ResolveError::Taken))), "{refused:?}");
    assert_eq!(world.pending(b)?.len(), 1, "nothing was decided");
    Ok(())
}

#[test]
fn a_row_that_is_restored_takes_its_unique_value_over_from_the_row_that_has_it_now() -> Result<()> {
    for (mine, expected) in [(true, ("Lamu", "")), (false, ("-", "Lamu"))] {
        let mut c = clinic()?;
        c.world.schema(&CLINIC.replace("required = true\nunique = true", "unique = true"))?;
        let (a, b) = (0, c.device()?);
        let old = c.world.create(a, "sites", &[("name", "Lamu")])?;
        c.world.sync(a)?;
        c.world.delete(a, old)?;
        c.world.sync(a)?;
        c.world.sync(b)?;
        let new = c.world.create(a, "sites", &[("name", "Lamu")])?;
        c.world.sync(a)?;
        c.world.restore(b, old)?;
        c.world.sync(b)?;
        assert_eq!(c.world.conflicts(b)?[0].conflict.kind, ConflictKind::Unique);
        c.world.resolve(b, old, &if mine { Resolution::AllMine } else { Resolution::AllServer })?;
        c.world.sync(b)?;
        assert!(c.world.pending(b)?.is_empty(), "{:?}", c.world.pending(b)?);
        assert_eq!((c.world.server_field(old, "name")?.as_str(), c.world.server_field(new, "name")?.as_str()), expected);
        c.world.assert_equal(b)?;
    }
    Ok(())
}

#[test]
fn a_refused_new_row_that_was_deleted_and_is_restored_goes_through_once_it_is_mended() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let site = c.site.id.to_string();
    let nameless = c.world.create(a, "patients", &[("phone", "1"), ("site", &site)])?;
    c.world.sync(a)?;
    c.world.delete(a, nameless)?;
    c.world.restore(a, nameless)?;
    c.world.update(a, nameless, &[("name", "Rose")])?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(nameless, "name")?, "Rose");
    assert!(c.world.pending(a)?.is_empty());
    c.world.assert_equal(a)
}

#[test]
fn a_refused_change_is_kept_with_its_reason_and_the_others_go_through() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let good = c.patient(a, "Amina")?;
    let site = c.site.id.to_string();
    let nameless = c.world.create(a, "patients", &[("phone", "1"), ("site", &site)])?;
    let orphan_of = c.world.row_id().to_string();
    let orphan =
        c.world.create(a, "visits", &[("patient", &orphan_of), ("date", "2026-01-02"), ("reason", "x"), ("site", &site)])?;
    let report = c.world.sync(a)?;
    assert_eq!((report.pushed, report.refused), (1, 2));
    assert_eq!(c.world.server_field(good, "name")?, "Amina");
    for (row, is_it) in [(nameless, false), (orphan, true)] {
        let pending = c.world.pending(a)?;
        let pending = pending.iter().find(|pending| pending.key == row).unwrap();
        assert_eq!(pending.standing, Standing::Refused);
        let missing = matches!(pending.change.review, Some(Review::Refused(Refusal::MissingParent { .. })));
        assert_eq!(missing, is_it, "{:?}", pending.change.review);
    }
    // Mended, it goes.
    c.world.update(a, nameless, &[("name", "Zawadi")])?;
    c.world.sync(a)?;
    assert_eq!(c.world.server_field(nameless, "name")?, "Zawadi");
    Ok(())
}

#[test]
fn children_go_after_their_parents_and_wait_for_one_that_is_refused() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let site = c.site.id.to_string();
    let nameless = c.world.create(a, "patients", &[("phone", "1"), ("site", &site)])?;
    let of = nameless.id.to_string();
    let visit = c.world.create(a, "visits", &[("patient", &of), ("date", "2026-01-02"), ("reason", "x"), ("site", &site)])?;
    c.world.sync(a)?;
    let standing = |c: &Clinic, row| c.world.pending(a).map(|all| all.into_iter().find(|p| p.key == row).map(|p| p.standing));
    assert_eq!(standing(&c, nameless)?, Some(Standing::Refused));
    assert_eq!(standing(&c, visit)?, Some(Standing::Waiting { on: nameless }));
    c.world.update(a, nameless, &[("name", "Zawadi")])?;
    c.world.sync(a)?;
    assert!(c.world.pending(a)?.is_empty(), "{:?}", c.world.pending(a)?);
    assert_eq!(c.world.server_field(visit, "reason")?, "x");
    Ok(())
}

#[test]
fn what_was_planned_behind_a_change_that_is_refused_is_not_sent() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let site = c.site.id.to_string();
    // One change a push and one push at a time: the child is planned long before its parent is answered.
    c.world.devices[a].engine.set_push_limits(PushLimits { window: 1, changes: 1 });
    let nameless = c.world.create(a, "patients", &[("phone", "1"), ("site", &site)])?;
    let of = nameless.id.to_string();
    let visit = c.world.create(a, "visits", &[("patient", &of), ("date", "2026-01-02"), ("reason", "x"), ("site", &site)])?;
    let other = c.patient(a, "Amina")?;
    let head = c.world.head();
    c.world.sync(a)?;
    assert_eq!(c.world.head().0, head.0 + 2, "the refused one and the other one");
    assert_eq!(c.world.server_field(other, "name")?, "Amina");
    let standings: BTreeMap<_, _> = c.world.pending(a)?.into_iter().map(|view| (view.key, view.standing)).collect();
    assert_eq!(standings, [(nameless, Standing::Refused), (visit, Standing::Waiting { on: nameless })].into());
    Ok(())
}

#[test]
fn a_child_that_is_asked_for_takes_its_new_parent_along_and_nothing_else() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let (parent, other) = (c.patient(a, "Amina")?, c.patient(a, "Zawadi")?);
    let (of, site) = (parent.id.to_string(), c.site.id.to_string());
    let visit = c.world.create(a, "visits", &[("patient", &of), ("date", "2026-01-02"), ("reason", "x"), ("site", &site)])?;
    let head = c.world.head();
    c.world.sync_only(a, [visit].into())?;
    assert_eq!(c.world.head().0, head.0 + 1, "one push, and none in vain");
    assert_eq!((c.world.server_field(parent, "name")?, c.world.server_field(visit, "reason")?), ("Amina".into(), "x".into()));
    let left = c.world.pending(a)?;
    assert_eq!(left.iter().map(|view| (view.key, view.standing)).collect::<Vec<_>>(), [(other, Standing::Ready)]);
    // Without the choice, everything goes.
    c.world.sync(a)?;
    assert!(c.world.pending(a)?.is_empty());
    Ok(())
}

#[test]
fn a_child_that_is_asked_for_stays_with_a_parent_that_waits_for_a_person() -> Result<()> {
    let mut c = clinic()?;
    let a = c.device()?;
    let site = c.site.id.to_string();
    let nameless = c.world.create(a, "patients", &[("phone", "1"), ("site", &site)])?;
    let of = nameless.id.to_string();
    let visit = c.world.create(a, "visits", &[("patient", &of), ("date", "2026-01-02"), ("reason", "x"), ("site", &site)])?;
    c.world.sync_only(a, [visit].into())?;
    let head = c.world.head();
    c.world.sync_only(a, [visit].into())?;
    assert_eq!(c.world.head(), head, "nothing is pushed in vain");
    let standing =
        |c: &Clinic| c.world.pending(a).map(|all| all.into_iter().find(|view| view.key == visit).map(|view| view.standing));
    assert_eq!(standing(&c)?, Some(Standing::Waiting { on: nameless }));
    c.world.update(a, nameless, &[("name", "Zawadi")])?;
    assert_eq!(standing(&c)?, Some(Standing::Ready));
    c.world.sync(a)?;
    assert!(c.world.pending(a)?.is_empty());
    Ok(())
}

/// A group of two rows, of which somebody else has changed the first; the device that made it, and the rows.
fn group_in_conflict() -> Result<(Clinic, usize, [RowKey; 2])> {
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let (one, two) = (c.known_patient(&[a, b])?, c.known_patient(&[a, b])?);
    c.world.update(a, one, &[("phone", "theirs")])?;
    c.world.sync(a)?;
    let values = |c: &Clinic, phone| c.world.values(b, "patients", &[("phone", phone)]);
    let writes = vec![(one, Write::Update(values(&c, "7")?)), (two, Write::Update(values(&c, "8")?))];
    c.world.group(b, writes)?;
    c.world.sync(b)?;
    Ok((c, b, [one, two]))
}

#[test]
fn a_group_goes_whole_or_not_at_all() -> Result<()> {
    let (mut c, b, [one, two]) = group_in_conflict()?;
    assert_eq!(c.world.server_field(two, "phone")?, "1", "half of a group went through");
    assert_eq!(c.world.pending(b)?.len(), 2);
    c.world.resolve(b, one, &Resolution::AllMine)?;
    c.world.sync(b)?;
    assert_eq!((c.world.server_field(one, "phone")?, c.world.server_field(two, "phone")?), ("7".into(), "8".into()));
    assert!(c.world.pending(b)?.is_empty());
    Ok(())
}

#[test]
fn of_a_group_nothing_is_given_up_that_the_dialog_did_not_show() -> Result<()> {
    use tombolo_client::LocalError;
    use tombolo_client::protocol::outbox::ResolveError;
    let (mut c, b, [one, two]) = group_in_conflict()?;
    let shown = c.world.conflicts(b)?.remove(0);
    assert_eq!(shown.together().map(|(key, _)| *key).collect::<Vec<_>>(), [two]);
    // The dialog stays open, and the other row is written to once more.
    c.world.update(b, two, &[("notes", "while it is open")])?;
    let decided = c.world.resolve_shown(b, one, Some(&shown), &Resolution::AllServer);
    assert!(matches!(decided, Err(LocalError::Resolve(ResolveError::Moved))), "{decided:?}");
    assert_eq!(c.world.field(b, two, "notes")?, "while it is open");
    // Looked at again, it is given up.
    let again = c.world.conflicts(b)?.remove(0);
    c.world.resolve_shown(b, one, Some(&again), &Resolution::AllServer)?;
    assert_eq!((c.world.field(b, one, "phone")?, c.world.field(b, two, "phone")?), ("theirs".into(), "1".into()));
    Ok(())
}

#[test]
fn a_group_that_comes_back_while_one_of_its_rows_is_in_a_newer_group_is_one_with_that() -> Result<()> {
    // Found by a power cut at the server, which kept the group in flight: workload 162 of `crash`. The row that is in both groups
    // took its part of the older one along, and the other row of that stayed behind.
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let (one, two, three) = (c.known_patient(&[a, b])?, c.known_patient(&[a, b])?, c.known_patient(&[a, b])?);
    c.world.update(a, two, &[("phone", "theirs")])?;
    let values = |c: &Clinic, phone| c.world.values(b, "patients", &[("phone", phone)]);
    let writes = vec![(one, Write::Update(values(&c, "7")?)), (two, Write::Update(values(&c, "7")?))];
    c.world.group(b, writes)?;
    c.world.freeze(b)?;
    let village = c.world.values(b, "patients", &[("village", "Lamu")])?;
    let writes = vec![(one, Write::Update(village.clone())), (three, Write::Update(village))];
    c.world.group(b, writes)?;
    c.world.sync(a)?;
    c.world.sync(b)?;
    c.world.sync(b)?;
    let phones = |c: &Clinic| -> Result<_> { Ok((c.world.server_field(one, "phone")?, c.world.server_field(two, "phone")?)) };
    assert_eq!(phones(&c)?, ("1".into(), "theirs".into()), "half of a group went through");
    assert_eq!(c.world.server_field(three, "village")?, "Malindi", "half of a group went through");
    assert_eq!(c.world.pending(b)?.len(), 3);
    c.world.resolve(b, two, &Resolution::AllMine)?;
    c.world.sync(b)?;
    assert_eq!(phones(&c)?, ("7".into(), "7".into()));
    assert_eq!(
        (c.world.server_field(one, "village")?, c.world.server_field(three, "village")?),
        ("Lamu".into(), "Lamu".into())
    );
    assert!(c.world.pending(b)?.is_empty());
    Ok(())
}

#[test]
fn a_decision_keeps_the_value_that_lost_in_the_history() -> Result<()> {
    let mut c = clinic()?;
    let (a, b) = (0, c.device()?);
    let row = c.known_patient(&[a, b])?;
    c.world.update(a, row, &[("phone", "theirs")])?;
    c.world.sync(a)?;
    c.world.update(b, row, &[("phone", "mine")])?;
    c.world.sync(b)?;
    let version = c.world.server_row(row)?.unwrap().version;
    c.world.resolve(b, row, &Resolution::AllServer)?;
    c.world.sync(b)?;
    let server = c.world.server_row(row)?.unwrap();
    assert_eq!(server.version, version, "a decision changes no row");
    assert_eq!(c.world.effects(row, Op::Update)?, 1);
    let history = c.world.history(row)?;
    assert!(history.iter().any(|entry| entry.lost.iter().any(|(_, value)| format!("{value:?}").contains("mine"))));
    Ok(())
}
