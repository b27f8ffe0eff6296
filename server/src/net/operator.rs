//! What an operator does with a running server, as a library: the command line's commands, and every job of the writer.

use super::clock;
use super::folder::Folder;
use super::hub::{Hub, Unavailable};
use crate::control::{Answer, Console, Refused, Request, carry_out};
use crate::passwords;
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use crate::verify::{self, Report, VerifyError};
use crate::workspace::{Job, Reply};
use std::io;
use std::sync::Arc;
use thiserror::Error;
use tombolo_protocol::ids::{DeviceId, UserId};
use tombolo_protocol::schema::Role;

/// The operator of a running server.
#[derive(Clone)]
pub struct Operator {
    hub: Arc<Hub>,
    folder: Folder,
}

/// Why a command did nothing: a sentence for the operator.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0}")]
pub struct OperatorError(String);

/// What an import did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    /// New rows.
    pub created: u64,
    /// Rows of which something differed.
    pub updated: u64,
    /// Rows that were as the file says.
    pub unchanged: u64,
}

impl Operator {
    pub(super) fn new(hub: Arc<Hub>, folder: Folder) -> Self {
        Self { hub, folder }
    }

    /// Adds a user with scopes by id or title; with all where none is given.
    ///
    /// # Errors
    /// [`OperatorError`]; nothing was changed.
    pub async fn add_user(&self, name: &str, password: &str, role: Role, scopes: &[&str]) -> Result<UserId, OperatorError> {
        let password = password.to_owned();
        let hashed = blocking(move || passwords::hash(&password, clock::random())).await;
        let password = hashed.map_err(|error| OperatorError(error.to_string()))?;
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        match self.command(Request::UserAdd { name: name.to_owned(), role, scopes, password }, Vec::new()).await? {
            (Answer::UserAdded(user), _) => Ok(user.id),
            _ => Err(unexpected()),
        }
    }

    /// Imports a CSV file, as a whole or not at all, with values for all rows.
    ///
    /// # Errors
    /// [`OperatorError`], which names lines and columns; nothing was imported.
    pub async fn import_csv(&self, table: &str, set: &[(&str, &str)], file: Vec<u8>) -> Result<Imported, OperatorError> {
        let set = set.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
        match self.command(Request::Import { table: table.to_owned(), set }, file).await? {
            (Answer::Imported { created, updated, unchanged, .. }, _) => Ok(Imported { created, updated, unchanged }),
            _ => Err(unexpected()),
        }
    }

    /// The live rows of a table as CSV.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn export_csv(&self, table: &str) -> Result<Vec<u8>, OperatorError> {
        let (_, file) = self.command(Request::Export { table: table.to_owned() }, Vec::new()).await?;
        Ok(file)
    }

    /// Closes a device's sessions and lets it connect no more.
    ///
    /// # Errors
    /// [`OperatorError`]; nothing was changed.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), OperatorError> {
        self.command(Request::DeviceRevoke { id: device.to_string() }, Vec::new()).await.map(drop)
    }

    /// Checks the log's hashes, what is folded from it, and the digests.
    ///
    /// # Errors
    /// [`OperatorError`] when the store cannot be read; what does not hold is in the report.
    pub async fn verify(&self) -> Result<Report, OperatorError> {
        let Self { hub, folder } = self.clone();
        blocking(move || {
            let scratch = folder.scratch()?;
            Ok(verify::verify(&hub.store()?, &scratch.store, &mut verify::unwatched)?)
        })
        .await
    }

    /// Puts away the contents of commits that are older than so many days; of all where that is none. Says how many that were.
    ///
    /// # Errors
    /// [`OperatorError`]; nothing was changed.
    pub async fn compact(&self, keep_days: u32) -> Result<u64, OperatorError> {
        match self.command(Request::Compact { keep_days }, Vec::new()).await? {
            (Answer::Compacted { dropped, .. }, _) => Ok(dropped),
            (Answer::NothingToCompact { .. }, _) => Ok(0),
            _ => Err(unexpected()),
        }
    }

    /// Gives the writer a job: grants, purges, restores, schemas.
    ///
    /// # Errors
    /// [`OperatorError`] when the store cannot be used now; a refusal is in the reply.
    pub async fn ask(&self, job: Job) -> Result<Reply, OperatorError> {
        Ok(self.hub.ask(job).await?)
    }

    /// Reads from a view of the newest durable state.
    ///
    /// # Errors
    /// [`OperatorError`] when the store cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Snapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, OperatorError> {
        let hub = self.hub.clone();
        blocking(move || Ok(hub.read(read)?)).await
    }

    async fn command(&self, request: Request, content: Vec<u8>) -> Result<(Answer, Vec<u8>), OperatorError> {
        let Self { hub, folder } = self.clone();
        blocking(move || {
            let mut file = InMemory(Vec::new());
            let answer = carry_out(&hub, &folder, request, &content, &mut file)?;
            Ok((answer, file.0))
        })
        .await
    }
}

/// A console that nobody looks at.
struct InMemory(Vec<u8>);

impl Console for InMemory {
    fn progress(&mut self, _: &str) {}

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn unexpected() -> OperatorError {
    OperatorError("the server answered something else: tell the makers of Tombolo".to_owned())
}

impl From<Refused> for OperatorError {
    fn from(refused: Refused) -> Self {
        Self(refused.message)
    }
}

impl From<Unavailable> for OperatorError {
    fn from(error: Unavailable) -> Self {
        Self(error.to_string())
    }
}

impl From<VerifyError> for OperatorError {
    fn from(error: VerifyError) -> Self {
        Self(error.to_string())
    }
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

/// Runs what blocks on a thread where it may; a panic there goes on here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
