//! Whether a value is one that its field allows. Uniqueness and references need other rows and are checked elsewhere.

use super::model::{Field, Kind, Role, Table};
use super::time;
use crate::codec::{Decode, Encode};
use crate::value::Value;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a field does not allow a value. [`Field::explain`] adds the name and the limits.
// Variants are append-only; their order is their number on the wire and in stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error, Encode, Decode, Serialize, Deserialize)]
pub enum FieldProblem {
    /// 0
    #[error("the value is of another kind than the field holds")]
    WrongKind,
    /// 1
    #[error("a value is needed here")]
    Required,
    /// 2
    #[error("the value is not one of the choices")]
    NotAChoice,
    /// 3
    #[error("the value is smaller than is allowed")]
    TooSmall,
    /// 4
    #[error("the value is larger than is allowed")]
    TooLarge,
    /// 5
    #[error("the text is shorter than is allowed")]
    TooShort,
    /// 6
    #[error("the text is longer than is allowed")]
    TooLong,
}

impl Field {
    /// Whether the field allows the value: its kind, that it is there where required, choices, range and length.
    ///
    /// Null is allowed unless the field is required; an empty text counts as missing there. Days and moments must lie in the
    /// years 1 to 9999.
    ///
    /// # Errors
    /// [`FieldProblem`], the first that is found.
    pub fn check(&self, value: &Value) -> Result<(), FieldProblem> {
        let missing = match value {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            _ => false,
        };
        if missing && self.required {
            return Err(FieldProblem::Required);
        }
        if value.is_null() {
            return Ok(());
        }
        self.check_kind(value)?;
        self.check_range(value)?;
        if let Value::Text(text) = value
            && !self.choices.is_empty()
            && !self.choices.contains(text)
        {
            return Err(FieldProblem::NotAChoice);
        }
        match value {
            Value::Text(text) => self.check_length(text.chars().count()),
            Value::Bytes(bytes) => self.check_length(bytes.len()),
            _ => Ok(()),
        }
    }

    fn check_kind(&self, value: &Value) -> Result<(), FieldProblem> {
        let fits = match self.kind {
            Kind::Bool => matches!(value, Value::Bool(_)),
            Kind::Int => matches!(value, Value::Int(_)),
            Kind::Float => matches!(value, Value::Float(_)),
            Kind::Decimal { .. } => matches!(value, Value::Decimal(_)),
            Kind::Text => matches!(value, Value::Text(_)),
            Kind::Date => matches!(value, Value::Date(_)),
            Kind::Timestamp { .. } => matches!(value, Value::Timestamp(_)),
            Kind::Uuid => matches!(value, Value::Uuid(_)),
            Kind::Bytes => matches!(value, Value::Bytes(_)),
        };
        if fits { Ok(()) } else { Err(FieldProblem::WrongKind) }
    }

    /// Values of one kind are ordered by their number.
    fn check_range(&self, value: &Value) -> Result<(), FieldProblem> {
        let calendar = calendar(self.kind);
        let below = |min: &Option<Value>| min.as_ref().is_some_and(|min| value < min);
        let above = |max: &Option<Value>| max.as_ref().is_some_and(|max| value > max);
        if below(&self.min) || below(&calendar.0) {
            return Err(FieldProblem::TooSmall);
        }
        if above(&self.max) || above(&calendar.1) { Err(FieldProblem::TooLarge) } else { Ok(()) }
    }

    fn check_length(&self, length: usize) -> Result<(), FieldProblem> {
        let limit = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        if self.min_length.is_some_and(|min| length < limit(min)) {
            return Err(FieldProblem::TooShort);
        }
        if self.max_length.is_some_and(|max| length > limit(max)) { Err(FieldProblem::TooLong) } else { Ok(()) }
    }

    /// The problem in a sentence with the field's label and what it allows: "Weight: the largest value allowed is 400".
    pub fn explain(&self, problem: FieldProblem) -> String {
        format!("{}: {}", self.label, self.sentence(problem))
    }

    pub(super) fn sentence(&self, problem: FieldProblem) -> String {
        let (first, last) = calendar(self.kind);
        let length = |limit: Option<u32>| match (limit, self.kind) {
            (Some(count), Kind::Bytes) => format!("{count} bytes"),
            (Some(1), _) => "1 character".to_owned(),
            (Some(count), _) => format!("{count} characters"),
            (None, _) => "another length".to_owned(),
        };
        let show = |limit: &Option<Value>, calendar: &Option<Value>| {
            limit.as_ref().or(calendar.as_ref()).map_or_else(|| "another one".to_owned(), |value| self.show(value))
        };
        match problem {
            FieldProblem::NotAChoice => format!("choose one of {}", self.choices.join(", ")),
            FieldProblem::TooSmall => format!("the smallest value allowed is {}", show(&self.min, &first)),
            FieldProblem::TooLarge => format!("the largest value allowed is {}", show(&self.max, &last)),
            FieldProblem::TooShort => format!("at least {} are needed", length(self.min_length)),
            FieldProblem::TooLong => format!("at most {} are allowed", length(self.max_length)),
            FieldProblem::WrongKind | FieldProblem::Required => problem.to_string(),
        }
    }
}

/// First and last value of the calendar, for days and moments.
fn calendar(kind: Kind) -> (Option<Value>, Option<Value>) {
    match kind {
        Kind::Date => {
            let (first, last) = time::day_range();
            (Some(Value::Date(first)), Some(Value::Date(last)))
        }
        Kind::Timestamp { unit } => {
            let (first, last) = unit.range();
            (Some(Value::Timestamp(first)), Some(Value::Timestamp(last)))
        }
        _ => (None, None),
    }
}

impl Role {
    /// Whether the role may read the table's rows.
    pub fn may_read(self, table: &Table) -> bool {
        self == Self::Admin || table.read.contains(&self)
    }

    /// Whether the role may change the table's rows.
    pub fn may_write(self, table: &Table) -> bool {
        self == Self::Admin || table.write.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{CLINIC, Schema};

    fn field(declared: &str) -> Field {
        let schema = format!(
            "name = \"x\"\n[[table]]\nname = \"rows\"\ntag = 1\n[[table.field]]\nname = \"it\"\ntag = 1\nlabel = \"It\"\n{declared}\n"
        );
        Schema::parse(&schema).unwrap().tables[0].fields[0].clone()
    }

    fn text(text: &str) -> Value {
        Value::text(text)
    }

    #[test]
    fn null_is_allowed_unless_the_field_is_required() {
        assert_eq!(field("kind = \"int\"\nmin = 5").check(&Value::Null), Ok(()));
        let required = field("kind = \"text\"\nrequired = true");
        assert_eq!(required.check(&Value::Null), Err(FieldProblem::Required));
        assert_eq!(required.check(&text("")), Err(FieldProblem::Required));
        assert_eq!(field("kind = \"text\"").check(&text("")), Ok(()));
    }

    #[test]
    fn a_value_of_another_kind_is_a_problem() {
        let whole = field("kind = \"int\"");
        for value in [Value::Float(1.0), Value::Decimal(1), Value::Timestamp(1), Value::Date(1), text("1"), Value::Bool(true)] {
            assert_eq!(whole.check(&value), Err(FieldProblem::WrongKind), "{value:?}");
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        let price = field("kind = \"decimal\"\nscale = 2\nmin = 0\nmax = \"9.99\"");
        assert_eq!(price.check(&Value::Decimal(0)), Ok(()));
        assert_eq!(price.check(&Value::Decimal(-1)), Err(FieldProblem::TooSmall));
        assert_eq!(price.check(&Value::Decimal(999)), Ok(()));
        assert_eq!(price.check(&Value::Decimal(1000)), Err(FieldProblem::TooLarge));
        let code = field("kind = \"text\"\nmin_length = 2\nmax_length = 3");
        assert_eq!(code.check(&text("é")), Err(FieldProblem::TooShort));
        assert_eq!(code.check(&text("ééé")), Ok(()));
        assert_eq!(code.check(&text("éééé")), Err(FieldProblem::TooLong));
        let bytes = field("kind = \"bytes\"\nmax_length = 2");
        assert_eq!(bytes.check(&Value::Bytes(vec![0; 3])), Err(FieldProblem::TooLong));
    }

    #[test]
    fn a_text_that_is_no_choice_is_a_problem() {
        let sex = field("kind = \"text\"\nchoices = [\"F\", \"M\"]");
        assert_eq!(sex.check(&text("F")), Ok(()));
        assert_eq!(sex.check(&text("f")), Err(FieldProblem::NotAChoice));
    }

    #[test]
    fn days_and_moments_outside_the_calendar_are_problems() {
        assert_eq!(field("kind = \"date\"").check(&Value::Date(i32::MAX)), Err(FieldProblem::TooLarge));
        let moment = field("kind = \"timestamp\"\nmin = 2024-01-01T00:00:00Z");
        assert_eq!(moment.check(&Value::Timestamp(i64::MIN)), Err(FieldProblem::TooSmall));
        assert_eq!(moment.check(&Value::Timestamp(i64::MAX)), Err(FieldProblem::TooLarge));
        assert_eq!(moment.check(&Value::Timestamp(1_704_067_200)), Ok(()));
    }

    #[test]
    fn a_problem_is_explained_with_label_and_limit() {
        let price = field("kind = \"decimal\"\nscale = 2\nmin = 0\nmax = \"9.99\"");
        assert_eq!(price.explain(FieldProblem::TooLarge), "It: the largest value allowed is 9.99");
        assert_eq!(price.explain(FieldProblem::Required), "It: a value is needed here");
        assert_eq!(field("kind = \"date\"").explain(FieldProblem::TooSmall), "It: the smallest value allowed is 0001-01-01");
        assert_eq!(
            field("kind = \"text\"\nchoices = [\"F\", \"M\"]").explain(FieldProblem::NotAChoice),
            "It: choose one of F, M"
        );
        let code = field("kind = \"text\"\nmin_length = 2\nmax_length = 3");
        assert_eq!(code.explain(FieldProblem::TooShort), "It: at least 2 characters are needed");
    }

    #[test]
    fn a_role_does_what_the_table_allows() {
        let clinic = Schema::parse(CLINIC).unwrap();
        let patients = clinic.table_named("patients").unwrap();
        let sites = clinic.table_named("sites").unwrap();
        assert!(Role::Viewer.may_read(patients) && !Role::Viewer.may_write(patients));
        assert!(Role::Editor.may_write(patients) && !Role::Editor.may_write(sites));
        assert!(Role::Admin.may_write(sites));
    }

    #[test]
    fn problems_travel_as_one_byte() {
        let problems = [
            FieldProblem::WrongKind,
            FieldProblem::Required,
            FieldProblem::NotAChoice,
            FieldProblem::TooSmall,
            FieldProblem::TooLarge,
            FieldProblem::TooShort,
            FieldProblem::TooLong,
        ];
        for (number, problem) in problems.into_iter().enumerate() {
            assert_eq!(crate::codec::encode(&problem), [u8::try_from(number).unwrap()]);
        }
    }
}
