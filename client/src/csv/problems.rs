//! What is wrong with a file, in parts: a program can put them into its own words, and [`Problems`] has the plain ones.

use crate::names::NameError;
use crate::titles::TitleError;
use std::fmt;
use thiserror::Error;
use tombolo_protocol::schema::{Field, FieldProblem, ValueError};

/// Problems that are told; the others are counted.
pub const PROBLEMS_TOLD_MAX: usize = 20;

/// Where something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spot {
    /// The value that a field gets in all rows.
    ForAll {
        /// The field's name, as it was given.
        field: String,
    },
    /// A line as a whole; the first is 1.
    Line(u64),
    /// One cell.
    Cell {
        /// Its line.
        line: u64,
        /// The column's name, as the first line has it.
        column: String,
    },
    /// Several rows, which only together are wrong.
    Column(String),
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForAll { field } => write!(f, "--set {field}"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Cell { line, column } => write!(f, "line {line}, column `{column}`"),
            Self::Column(column) => write!(f, "column `{column}`"),
        }
    }
}

/// What is wrong there.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Mistake {
    /// There is nothing in the file.
    #[error("the file is empty; its first line names the fields")]
    Empty,
    /// No field is called like the column.
    #[error("{error}{}", if *.semicolons { "; columns are separated by commas" } else { "" })]
    UnknownColumn {
        /// The name, with what may have been meant.
        error: NameError,
        /// Whether the first line seems to be divided by something else than commas.
        semicolons: bool,
    },
    /// Two columns have one name.
    #[error("the column is there twice; keep one of them")]
    ColumnTwice,
    /// The field has its value for all rows already.
    #[error("is also given by --set {0}; leave out one of them")]
    AlsoForAll(String),
    /// A field was given two values for all rows.
    #[error("is given twice; give it once")]
    ForAllTwice,
    /// The line has more or fewer cells than there are columns.
    #[error("has {cells} cells, but the first line names {columns} {}; is a quote missing?", if *.columns == 1 { "column" } else { "columns" })]
    Cells {
        /// Cells of the line.
        cells: usize,
        /// Columns of the first line.
        columns: usize,
    },
    /// Bytes that are no text.
    #[error("is not UTF-8; save the file with that encoding")]
    NotUtf8,
    /// Not the id of a row.
    #[error("`{0}` is not an id; leave it empty for a new row")]
    NotAnId(String),
    /// The same row as in another line.
    #[error("is the id of line {0} too; each row may be there once")]
    IdTwice(u64),
    /// The row was deleted.
    #[error("this row was deleted; restore it first, or leave the id empty for a new row")]
    Deleted,
    /// A value that the field needs is not there.
    #[error("{label}: a value is needed here; fill in this column")]
    Missing {
        /// The field's name for people.
        label: String,
    },
    /// A text that is no value of the field's kind.
    #[error("{error}")]
    Unreadable {
        /// The text.
        text: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// A value that the field does not allow.
    #[error("{explained}")]
    Unfit {
        /// The text.
        text: String,
        /// What the field does not allow.
        problem: FieldProblem,
        /// The same as a sentence.
        explained: String,
    },
    /// A text that names no row, or several.
    #[error(transparent)]
    Reference(#[from] TitleError),
    /// What must be unique would be there more than once.
    #[error("{rows} rows would have `{value}`, and it must be unique")]
    NotUnique {
        /// How many rows.
        rows: usize,
        /// The value.
        value: String,
    },
}

impl Mistake {
    /// A value that a field does not allow.
    pub(super) fn unfit(field: &Field, text: &str, problem: FieldProblem) -> Self {
        match problem {
            FieldProblem::Required => Self::Missing { label: field.label.clone() },
            problem => Self::Unfit { text: text.to_owned(), problem, explained: field.explain(problem) },
        }
    }
}

/// One thing that is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where.
    pub spot: Spot,
    /// What.
    pub mistake: Mistake,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.spot, self.mistake)
    }
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, PartialEq, Eq, Debug, Default, Error)]
pub struct Problems(Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, more) = self.told();
        f.write_str(&told.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        if more > 0 { write!(f, "\nand {more} more") } else { Ok(()) }
    }
}

impl Problems {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are told, and how many more there are.
    pub fn told(&self) -> (&[Problem], usize) {
        let told = &self.0[..self.0.len().min(PROBLEMS_TOLD_MAX)];
        (told, self.0.len() - told.len())
    }

    pub(super) fn in_line(&mut self, line: u64, mistake: Mistake) {
        self.0.push(Problem { spot: Spot::Line(line), mistake });
    }

    pub(super) fn in_cell(&mut self, line: u64, column: &str, mistake: Mistake) {
        self.0.push(Problem { spot: Spot::Cell { line, column: column.to_owned() }, mistake });
    }

    pub(super) fn in_column(&mut self, column: &str, mistake: Mistake) {
        self.0.push(Problem { spot: Spot::Column(column.to_owned()), mistake });
    }

    pub(super) fn for_all(&mut self, field: &str, mistake: Mistake) {
        self.0.push(Problem { spot: Spot::ForAll { field: field.to_owned() }, mistake });
    }

    /// Whether the first line is wrong.
    pub(super) fn in_header(&self) -> bool {
        self.0.iter().any(|problem| matches!(problem.spot, Spot::Line(1) | Spot::Cell { line: 1, .. }))
    }

    /// In the order of the lines: first what is wrong for all rows, last what is wrong only together.
    pub(super) fn sorted(mut self) -> Self {
        self.0.sort_by_key(|problem| match problem.spot {
            Spot::ForAll { .. } => 0,
            Spot::Line(line) | Spot::Cell { line, .. } => line,
            Spot::Column(_) => u64::MAX,
        });
        self
    }
}
