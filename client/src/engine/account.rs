//! Logging in and out: whom the store belongs to.

use super::Engine;
use crate::session::{Hangup, Phase};
use crate::step::StepError;
use crate::store::{Account, StoreError};
use std::sync::Arc;
use tombolo_protocol::ids::Seq;
use tombolo_protocol::schema::{Role, Schema};

impl Engine {
    /// Takes what a login brought. The store keeps its device id if the server kept it; else what is frozen stays so until the
    /// server said, in a session of the new device, what it has of it. Another workspace is refused while the store holds
    /// something (H2).
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
        let newer = match schema {
            Some((seq, text)) if seq > self.state.schema => {
                let parsed = Schema::parse(&text).map_err(|_| LoginError::Schema)?;
                Some((seq, text, parsed))
            }
            _ => None,
        };
        // A store that has one takes the newer in a session, before any row that was written under it (H7).
        let first = newer.filter(|_| self.state.schema == Seq(0));
        let known = self.account.as_ref();
        let old_device = known.map(|known| known.device).filter(|device| *device != account.device);
        let new_token = known.is_some_and(|known| known.token != account.token);
        self.step(0, |step| {
            step.tables.set_account(&account)?;
            step.state.other_server = None;
            if let Some((seq, text, _)) = &first {
                step.tables.put_schema(*seq, text)?;
                step.state.schema = *seq;
            }
            if let Some(old_device) = old_device {
                let frozen_under = step.tables.frozen_under()?.unwrap_or(old_device);
                step.tables.set_frozen_under(Some(frozen_under))?;
                if step.tables.frozen_count()? == 0 {
                    step.new_life()?;
                }
            }
            Ok(())
        })
        .map_err(LoginError::from)?;
        if let Some((_, _, schema)) = first {
            self.schema = Some(Arc::new(schema));
        }
        self.account = Some(account);
        if (old_device.is_some() || new_token) && self.session.phase != Phase::Down {
            // The session is that of the old token, and its answers are those of the old device.
            self.session.begin(Phase::Down, 0);
            self.frames.clear();
            self.hangup = Some(Hangup::Reconnect);
        }
        Ok(())
    }

    /// Keeps the user's role, for what is worth offering.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn keep_role(&mut self, role: Role) -> Result<(), StoreError> {
        self.store.write(|tables| tables.set_role(role))
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
