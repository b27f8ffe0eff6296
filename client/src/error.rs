//! What can go wrong for whoever uses a [`crate::Client`].

use crate::engine::LoginError;
use crate::local::LocalError;
use crate::names::NameError;
use crate::store::StoreError;
use thiserror::Error;
use tombolo_protocol::schema::ValueError;

/// Why something was not done; nothing of it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A local write that is not possible.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A login that this store cannot take.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A name that the schema does not have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A value that a field cannot hold.
    #[error("{field}: {error}")]
    Value {
        /// The field's name.
        field: String,
        /// Why.
        error: ValueError,
    },
    /// A type that does not fit the table.
    #[error("this program's type does not fit table `{table}`: {why}")]
    Shape {
        /// The table's name.
        table: String,
        /// Why.
        why: String,
    },
    /// There is no such row.
    #[error("there is no row {id} in table `{table}` on this device")]
    NoSuchRow {
        /// The table's name.
        table: String,
        /// The id.
        id: tombolo_protocol::ids::RowId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine's thread has ended.
    #[error("the client was stopped; what was saved is safe")]
    Stopped,
}

impl ClientError {
    /// The failure of the store behind this, if it is one.
    pub fn store_failure(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) | Self::Local(LocalError::Store(error)) | Self::Login(LoginError::Store(error)) => Some(error),
            _ => None,
        }
    }
}
