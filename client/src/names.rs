//! Tables and fields by the names that people and programs use, with a hint where a name is a little wrong.

use thiserror::Error;
use tombolo_protocol::schema::{Field, Schema, Table};

/// Differences up to which a name counts as a slip of the other.
const SLIPS_MAX: usize = 2;

/// A name that is not there.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no such table.
    #[error("there is no table `{name}`{hint}")]
    UnknownTable {
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// There is no such field.
    #[error("table `{table}` has no field `{name}`{hint}")]
    UnknownField {
        /// The table's name.
        table: String,
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
}

/// The table of this name.
///
/// # Errors
/// [`NameError`] with what may have been meant.
pub fn table<'s>(schema: &'s Schema, name: &str) -> Result<&'s Table, NameError> {
    schema.table_named(name).ok_or_else(|| NameError::UnknownTable {
        name: name.to_owned(),
        hint: hint(name, "tables", schema.tables.iter().map(|table| table.name.as_str())),
    })
}

/// The field of this name.
///
/// # Errors
/// [`NameError`] with what may have been meant.
pub fn field<'t>(table: &'t Table, name: &str) -> Result<&'t Field, NameError> {
    table.field_named(name).ok_or_else(|| NameError::UnknownField {
        table: table.name.clone(),
        name: name.to_owned(),
        hint: hint(name, "fields", table.fields.iter().map(|field| field.name.as_str())),
    })
}

fn hint<'n>(name: &str, what: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let wanted = name.to_lowercase();
    let near = |known: &&str| known.starts_with(&wanted) && !wanted.is_empty() || distance(&wanted, known) <= SLIPS_MAX;
    let close: Vec<&str> = known.clone().filter(near).collect();
    match close.as_slice() {
        [] => format!("; the {what} are {}", known.collect::<Vec<_>>().join(", ")),
        close => format!("; did you mean `{}`?", close.join("` or `")),
    }
}

/// Letters to insert, drop or change to come from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::schema::CLINIC;

    #[test]
    fn a_slip_in_a_name_is_answered_with_the_name_that_is_near() {
        let schema = Schema::parse(CLINIC).unwrap();
        let message = table(&schema, "patient").unwrap_err().to_string();
        assert_eq!(message, "there is no table `patient`; did you mean `patients`?");
        let patients = table(&schema, "patients").unwrap();
        let message = field(patients, "birthdate").unwrap_err().to_string();
        assert_eq!(message, "table `patients` has no field `birthdate`; did you mean `birth_date`?");
        assert!(field(patients, "colour").unwrap_err().to_string().contains("; the fields are name, "));
    }

    #[test]
    fn the_distance_counts_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
