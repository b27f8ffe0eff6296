//! Tables as CSV: read and checked as a whole before anything is written, and written out so that it reads back unchanged.
//!
//! The first line names the columns: fields, and `id` if wished. Cells are read by the kind of their field; an empty cell is
//! no value. References are ids, or the text that names exactly one row.

mod plan;
mod problem;
mod read;
mod titles;
mod write;

pub(crate) use plan::{Plan, PlanError, RowIds, plan};
pub(crate) use problem::{At, Problem, Problems};
pub(crate) use read::read;
pub(crate) use titles::{each_live, find as find_titled, title};
pub(crate) use write::{header, record};

/// The name of the column that holds a row's id; no field may be called so.
const ID_COLUMN: &str = "id";
