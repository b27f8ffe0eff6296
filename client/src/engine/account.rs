//! Logging in and out: whom the store belongs to.

use super::Engine;
use crate::step::StepError;
use crate::store::{Account, StoreError};
use std::sync::Arc;
use tombolo_protocol::ids::Seq;
use tombolo_protocol::schema::Schema;

impl Engine {
    /// Takes what a login brought. The store keeps its device id if the server kept it; another workspace is refused while the
    /// store holds something (H2).
    ///
    /// # Errors
    /// [`LoginError`]; the store is as before.
    pub fn logged_in(&mut self, account: Account, schema: Option<(Seq, String)>) -> Result<(), LoginError> {
        if let Some(known) = &self.account
            && known.workspace != account.workspace
        {
            return Err(LoginError::OtherServer);
        }
        if self.account.as_ref().is_some_and(|known| known.user != account.user) {
            return Err(LoginError::OtherUser);
        }
        let parsed = match schema {
            Some((seq, text)) if seq > self.state.schema => {
                let parsed = Schema::parse(&text).map_err(|_| LoginError::Schema)?;
                Some((seq, text, parsed))
            }
            _ => None,
        };
        let mut state = self.state.clone();
        let new_device = self.account.as_ref().is_some_and(|known| known.device != account.device);
        self.store.write(|tables| -> Result<(), StoreError> {
            tables.set_account(&account)?;
            state.other_server = None;
            if let Some((seq, text, _)) = &parsed
                && self.state.schema == Seq(0)
            {
                tables.put_schema(*seq, text)?;
                state.schema = *seq;
            }
            tables.set_sync_state(&state)
        })?;
        if self.state.schema == Seq(0)
            && let Some((_, _, schema)) = parsed
        {
            self.schema = Some(Arc::new(schema));
        }
        self.state = state;
        self.account = Some(account);
        if new_device {
            self.step(0, |step| Ok(step.new_life()?)).map_err(LoginError::from)?;
            self.write_state(|state| state.needs_device = false)?;
        }
        Ok(())
    }

    /// Forgets the token; what is pending stays.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn logged_out(&mut self) -> Result<(), StoreError> {
        if let Some(account) = &mut self.account {
            account.token = None;
            let account = account.clone();
            self.store.write(|tables| tables.set_account(&account))?;
        }
        Ok(())
    }
}

/// Why a login cannot be taken by this store.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The store belongs to another workspace.
    #[error(
        "this is another server than the one that this data came from; nothing was changed. Use another data folder (--store)"
    )]
    OtherServer,
    /// The store belongs to another user.
    #[error("this data belongs to another user; nothing was changed. Use another data folder (--store)")]
    OtherUser,
    /// The server's schema is newer than this program understands.
    #[error("the server's schema is newer than this program understands; please update Tombolo")]
    Schema,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StepError> for LoginError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Store(store) => Self::Store(store),
            StepError::Violation(what) => Self::Store(StoreError::Damaged(what.into())),
        }
    }
}
