//! How a command ends, and what is said of it: what happened, what it means for the data, what to do next.

use crate::driver::SyncError;
use crate::engine::LoginError as EngineLoginError;
use crate::error::ClientError;
use crate::handle::LoginFailed;
use crate::local::LocalError;
use crate::login::LoginFailure;
use crate::names::NameError;
use crate::store::StoreError;
use crate::url::UrlError;
use std::io;

/// How a command ends; scripts rely on the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: failed.
    Failed = 1,
    /// 2: the command was not understood.
    Usage = 2,
    /// 3: done, but something needs review.
    Review = 3,
    /// 4: the server is not reachable; edits are kept.
    Unreachable = 4,
    /// 5: a login is needed.
    Login = 5,
}

/// A command that did not come to its end.
#[derive(Debug)]
pub(super) struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl ToString) -> Self {
        Self { exit, message: message.to_string() }
    }

    pub(super) fn failed(message: impl ToString) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(super) fn usage(message: impl ToString) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The reader of the output is gone: there is nothing to say and nobody to say it to.
    pub(super) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Name(_) | ClientError::Value { .. } => Exit::Usage,
            ClientError::Local(LocalError::NoSchema) => Exit::Login,
            _ => Exit::Failed,
        };
        match error {
            ClientError::Store(error) | ClientError::Local(LocalError::Store(error)) => error.into(),
            error => Self::new(exit, error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(_) => Self::failed(format!(
                "{error}. Nothing was changed. Keep the file for your administrator: edits that were not synced may be saved from it"
            )),
            error => Self::failed(error),
        }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::usage(error)
    }
}

impl From<UrlError> for Failure {
    fn from(error: UrlError) -> Self {
        Self::usage(error)
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        let exit = match &error {
            SyncError::Unreachable { .. } | SyncError::CaptivePortal { .. } | SyncError::TimedOut => Exit::Unreachable,
            SyncError::NeedsLogin => Exit::Login,
            _ => Exit::Failed,
        };
        match error {
            SyncError::Store(error) => error.into(),
            error => Self::new(exit, error),
        }
    }
}

impl From<LoginFailed> for Failure {
    fn from(error: LoginFailed) -> Self {
        match error {
            LoginFailed::Server(error) => error.into(),
            LoginFailed::Client(ClientError::Login(EngineLoginError::Store(error))) => error.into(),
            LoginFailed::Client(error) => error.into(),
        }
    }
}

impl From<LoginFailure> for Failure {
    fn from(error: LoginFailure) -> Self {
        let exit = match &error {
            LoginFailure::WrongCredentials | LoginFailure::Refused { .. } => Exit::Login,
            LoginFailure::Unreachable { .. } | LoginFailure::TryLater { .. } | LoginFailure::NotTombolo { .. } => {
                Exit::Unreachable
            }
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

/// Of writing the output: files name themselves in their messages.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::failed(format!("the output could not be written: {error}")),
        }
    }
}
