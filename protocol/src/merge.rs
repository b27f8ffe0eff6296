//! The three-way comparison of one field, or of one field group as a tuple (C1, C2). Both sides decide with this function:
//! the server by stamps alone, the client also by base values (C6).

use crate::ids::{FieldTag, Seq};
use crate::planted::{Planted, planted};
use crate::row::Row;
use crate::schema::{Field, Table};
use crate::value::Value;

/// One touched field: what I want, what I saw, and when.
#[derive(Clone, Copy, Debug)]
pub struct Touch<'a> {
    /// The field.
    pub field: FieldTag,
    /// Mine.
    pub mine: &'a Value,
    /// The value that the person saw; `None` where it is not known (at the server), so that only the stamp decides.
    pub base_value: Option<&'a Value>,
    /// The base seq.
    pub base: Seq,
}

/// What the comparison of a unit says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnitOutcome {
    /// Mine stands: the server did not change it since the base.
    Mine,
    /// The server already has what I want.
    Agreed,
    /// Both changed it, differently.
    Conflict,
}

/// A unit of a table (a field, or a group) with the touched fields in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitMerge {
    /// All touched fields of the unit.
    pub touched: Vec<FieldTag>,
    /// What the comparison says.
    pub outcome: UnitOutcome,
}

/// Compares each touched unit with the server's row.
pub fn merge_units(table: &Table, server: &Row, touches: &[Touch<'_>]) -> Vec<UnitMerge> {
    let mut units: Vec<UnitMerge> = Vec::new();
    for touch in touches {
        if units.iter().any(|unit| unit.touched.contains(&touch.field)) {
            continue;
        }
        let members = table.unit(&touch.field);
        let in_unit: Vec<&Touch<'_>> = touches.iter().filter(|other| members.contains(&other.field)).collect();
        units.push(UnitMerge {
            touched: in_unit.iter().map(|touch| touch.field).collect(),
            outcome: three_way(members, server, &in_unit),
        });
    }
    units
}

/// The fields in which a create is not the row that is there; none where both are the same create (C4). `mine` are its values.
///
/// A field that it leaves out and that holds its initial value was written by the server: the create was made under a schema
/// that did not ask for it (H7).
pub fn create_differs<'a>(table: &Table, row: &Row, mine: impl Fn(FieldTag) -> Option<&'a Value>) -> Vec<FieldTag> {
    let differs = |field: &&Field| match (mine(field.tag).filter(|value| !value.is_null()), row.value(field.tag)) {
        (Some(mine), there) => mine != there,
        (None, there) => !there.is_null() && field.initial.as_ref() != Some(there),
    };
    table.fields.iter().filter(differs).map(|field| field.tag).collect()
}

/// `touches` are the touched fields of the unit `members`; a member that is not touched counts as seen at the oldest base.
fn three_way(members: &[FieldTag], server: &Row, touches: &[&Touch<'_>]) -> UnitOutcome {
    if touches.iter().all(|touch| server.value(touch.field) == touch.mine) {
        return UnitOutcome::Agreed;
    }
    let oldest = touches.iter().map(|touch| touch.base).min().unwrap_or_default();
    let base_of = |member: &FieldTag| touches.iter().find(|touch| touch.field == *member).map_or(oldest, |touch| touch.base);
    if members.iter().all(|member| server.stamp(*member) <= base_of(member)) {
        return UnitOutcome::Mine;
    }
    let untouched_moved =
        members.iter().any(|member| server.stamp(*member) > oldest && !touches.iter().any(|touch| touch.field == *member));
    let unchanged = touches.iter().all(|touch| touch.base_value.is_some_and(|base| base == server.value(touch.field)));
    if (unchanged && !untouched_moved) || planted(Planted::LastWriteWins) { UnitOutcome::Mine } else { UnitOutcome::Conflict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{live_row, medications};

    const NAME: FieldTag = FieldTag(1);
    const DOSE: FieldTag = FieldTag(2);
    const UNIT: FieldTag = FieldTag(3);

    fn touch<'a>(field: FieldTag, mine: &'a Value, base_value: &'a Value, base: u64) -> Touch<'a> {
        Touch { field, mine, base_value: Some(base_value), base: Seq(base) }
    }

    fn outcome(server: &Row, touches: &[Touch<'_>]) -> UnitOutcome {
        merge_units(&medications(), server, touches)[0].outcome
    }

    #[test]
    fn a_field_that_only_i_changed_is_mine() {
        let server = live_row(&[(NAME, Value::text("a"), 5)]);
        assert_eq!(outcome(&server, &[touch(NAME, &Value::text("b"), &Value::text("a"), 5)]), UnitOutcome::Mine);
    }

    #[test]
    fn a_field_that_both_changed_differently_is_asked() {
        let server = live_row(&[(NAME, Value::text("x"), 9)]);
        assert_eq!(outcome(&server, &[touch(NAME, &Value::text("b"), &Value::text("a"), 5)]), UnitOutcome::Conflict);
    }

    #[test]
    fn a_field_that_both_changed_alike_is_agreed() {
        let server = live_row(&[(NAME, Value::text("b"), 9)]);
        assert_eq!(outcome(&server, &[touch(NAME, &Value::text("b"), &Value::text("a"), 5)]), UnitOutcome::Agreed);
    }

    #[test]
    fn a_field_set_back_to_its_base_by_others_is_mine_only_where_base_values_are_known() {
        let server = live_row(&[(NAME, Value::text("a"), 9)]);
        let (mine, base) = (Value::text("b"), Value::text("a"));
        assert_eq!(outcome(&server, &[touch(NAME, &mine, &base, 5)]), UnitOutcome::Mine);
        let blind = Touch { field: NAME, mine: &mine, base_value: None, base: Seq(5) };
        assert_eq!(outcome(&server, &[blind]), UnitOutcome::Conflict);
    }

    #[test]
    fn a_dose_and_a_unit_changed_apart_are_asked_as_one() {
        // T7: dose 5 mg; I make it 10, another makes it g: merged by field it would be 10 g.
        let server = live_row(&[(DOSE, Value::Decimal(5), 3), (UNIT, Value::text("g"), 9)]);
        let (ten, five, mg) = (Value::Decimal(10), Value::Decimal(5), Value::text("mg"));
        assert_eq!(outcome(&server, &[touch(DOSE, &ten, &five, 5), touch(UNIT, &mg, &mg, 5)]), UnitOutcome::Conflict);
        // Also where a client forgot to record the other member.
        assert_eq!(outcome(&server, &[touch(DOSE, &ten, &five, 5)]), UnitOutcome::Conflict);
    }
}
