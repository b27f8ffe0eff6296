//! What is wrong with a file, by line and column, for the person who has to mend it.

use std::fmt;

/// Problems that are told; the others are counted.
const TOLD_MAX: usize = 20;

/// Where a problem is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum At {
    /// In a value given for all rows.
    Set {
        /// The field.
        field: String,
    },
    /// In a line, counted from 1 as an editor does.
    Line {
        /// The line at which the row starts.
        line: u64,
        /// The column, where the problem is in one.
        column: Option<String>,
    },
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { field } => write!(f, "--set {field}"),
            Self::Line { line, column: Some(column) } => write!(f, "line {line}, column `{column}`"),
            Self::Line { line, column: None } => write!(f, "line {line}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) at: At,
    pub(crate) message: String,
}

/// Everything that is wrong with a file: the first ones told, the others counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Problems {
    told: Vec<Problem>,
    more: usize,
}

impl Problems {
    pub(crate) fn add(&mut self, at: At, message: impl Into<String>) {
        if self.told.len() < TOLD_MAX {
            self.told.push(Problem { at, message: message.into() });
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn in_cell(&mut self, line: u64, column: &str, message: impl Into<String>) {
        self.add(At::Line { line, column: Some(column.to_owned()) }, message);
    }

    pub(crate) fn in_line(&mut self, line: u64, message: impl Into<String>) {
        self.add(At::Line { line, column: None }, message);
    }

    /// Whether something was told of this place.
    pub(crate) fn has(&self, at: &At) -> bool {
        self.told.iter().any(|problem| problem.at == *at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// The value, or the problems where there are any.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { at, message }) in self.told.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{at}: {message}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_twenty_are_told_and_the_others_counted() {
        let mut problems = Problems::default();
        for line in 2..30 {
            problems.in_cell(line, "weight_kg", "is wrong");
        }
        let text = problems.to_string();
        assert!(text.starts_with("line 2, column `weight_kg`: is wrong\nline 3"), "{text}");
        assert!(text.ends_with("line 21, column `weight_kg`: is wrong\n... and 8 more"), "{text}");
    }
}
