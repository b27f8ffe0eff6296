//! The schema: tables, fields, groups, references, scope and rights, read from `schema.toml` and validated (section 2, H7).
//!
//! Names may change; tags and kinds never do. A schema is identified by the hash of its text ([`Schema::hash_of`]), and its
//! versions are commits of the log. A [`Schema`] is only made by [`Schema::parse`], which reports everything that is wrong at
//! once, by line; [`Schema::evolve_from`] says whether it may follow another one.
//!
//! # The form of `schema.toml`
//! ```
//! use tombolo_protocol::schema::Schema;
//!
//! let schema = Schema::parse(r#"
//! name = "clinic"            # shown to people
//! scope_table = "sites"      # optional: the table whose rows are the scopes that users are granted
//!
//! [[table]]
//! name = "sites"             # lower-case letters, digits and _; may be changed later
//! tag = 1                    # 1 to 65535; stays with the table for ever
//! label = "Sites"            # for people; without it: made of the name
//! write = ["admin"]          # roles: admin, editor, viewer; default admin and editor; admin is always in it
//!
//! [[table.field]]
//! name = "name"
//! tag = 1                    # stays with the field for ever, as its kind does
//! kind = "text"
//! required = true            # null and empty text are refused
//! unique = true              # among the live rows of the table, or of its scope; not for bool and float
//!
//! [[table]]
//! name = "medications"
//! tag = 2
//! title = ["name", "since"]  # what names a row to people; without it: the first text field
//! scope = "site"             # the scope field: a required reference to the scope table
//! strict = false             # true: any change of the row meanwhile is a conflict
//! preselect = "mine"         # what a conflict dialog selects beforehand: mine (default), server, nothing
//! read = ["admin", "editor", "viewer"] # this is the default
//!
//! [[table.field]]
//! name = "name"
//! tag = 1
//! kind = "text"
//! min_length = 2             # characters of a text, bytes of bytes
//! max_length = 80
//! multiline = false          # true: a long text
//!
//! [[table.field]]
//! name = "dose"
//! tag = 2
//! kind = "decimal"
//! scale = 3                  # digits behind the point, 0 to 9; part of the kind
//! min = 0                    # int, float, decimal, date, timestamp; inclusive
//! max = "999.5"              # decimals as text or number
//!
//! [[table.field]]
//! name = "unit"
//! tag = 3
//! kind = "text"
//! choices = ["mg", "ml"]     # text only
//! default = "mg"             # written by the client that creates a row, where nothing is given
//! required = true
//! initial = "mg"             # a field that becomes required later: written into creates of clients that do not know it
//!
//! [[table.field]]
//! name = "since"
//! tag = 4
//! kind = "date"
//! min = 1900-01-01           # dates with or without quotes
//!
//! [[table.field]]
//! name = "changed_at"
//! tag = 5
//! kind = "timestamp"
//! unit = "seconds"           # the default, or milliseconds; part of the kind
//!
//! [[table.field]]
//! name = "site"
//! tag = 6
//! kind = "reference"
//! references = "sites"       # part of the kind
//! on_delete = "refuse"       # of the row referred to: refuse (default), or keep the reference
//! required = true
//!
//! [[table.group]]            # fields that are compared and decided as one
//! name = "dose"
//! label = "Dose"
//! fields = ["dose", "unit"]
//! "#)?;
//! assert_eq!(schema.table_named("medications").map(|table| table.label.as_str()), Some("Medications"));
//! # Ok::<(), tombolo_protocol::schema::SchemaError>(())
//! ```
//! The kinds are `text`, `bool`, `int`, `float`, `decimal`, `date`, `timestamp`, `uuid`, `reference` (a uuid of a row of
//! another table) and `bytes`. The name `id` is taken in every table.

mod check;
mod entries;
mod evolve;
mod field;
mod model;
mod nesting;
mod plain;
mod problem;
mod read;
mod templates;
mod text;
mod time;
mod validate;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use check::FieldProblem;
pub use evolve::{Evolution, Narrowing, SchemaChange};
pub use model::*;
pub use plain::Plain;
pub use problem::{Problem, SchemaError};
pub use templates::{CLINIC, RENTAL};
pub use text::ValueError;
