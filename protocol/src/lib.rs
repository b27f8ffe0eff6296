//! Draft.
pub mod codec;
pub mod error;
pub mod ids;
pub mod limits;
pub mod schema;
pub mod value;
