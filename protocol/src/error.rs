//! Errors that keep apart whose fault it is: bytes that do not parse, a peer that broke the rules, an honest refusal.

use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The content does not parse.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Something follows behind the end.
    #[error("{count} bytes follow behind the end")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A limit is exceeded; nothing was allocated for it.
    #[error("{what} of {found} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// What was claimed or found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A value is not in its canonical form.
    #[error("a value is not canonical")]
    NotCanonical,
    /// The frame is of a kind that this version does not know.
    #[error("unknown frame kind {0}")]
    UnknownFrame(u8),
}
