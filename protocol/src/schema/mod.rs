//! The schema: tables, fields, groups, references, scope and rights, read from `schema.toml` and validated (section 2, H7).
//!
//! Names may change; tags and kinds never do. A schema is identified by the hash of its text in canonical form, and its
//! versions are commits of the log.

mod model;

pub use model::*;
