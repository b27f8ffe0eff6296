//! What is wrong with a schema, in words for the person who wrote it.

use std::fmt;
use thiserror::Error;

/// One thing that is wrong with a schema.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {line}: {what}: {message}")]
pub struct Problem {
    /// Line of `schema.toml`, counted from 1.
    pub line: usize,
    /// The part it is about: ``table `patients`, field `site` ``.
    pub what: String,
    /// What is wrong and the way out.
    pub message: String,
}

/// Everything that is wrong with a schema, by line; shown as one sentence a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaError {
    /// The problems by line; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SchemaError {}

/// Problems found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, line: usize, what: &str, message: impl Into<String>) {
        self.0.push(Problem { line, what: what.to_owned(), message: message.into() });
    }

    /// The problems as an error, or nothing where there are none.
    pub(super) fn into_result(mut self) -> Result<(), SchemaError> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|problem| problem.line);
        Err(SchemaError { problems: self.0 })
    }
}
