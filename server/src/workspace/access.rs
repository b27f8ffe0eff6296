//! Users, grants, devices and tokens, checked before they are logged.

use super::Writer;
use super::import::SERVER_DEVICE;
use crate::access::OPERATOR;
use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::records::{Device, User};
use thiserror::Error;
use tombolo_protocol::commit::{AccessChange, CommitBody, Grant};
use tombolo_protocol::ids::{DeviceId, RowId, RowKey, Seq, UserId};
use tombolo_protocol::limits::NAME_BYTES_MAX;

/// An honest no to a change of users, grants, devices or tokens.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Another user has the name.
    #[error("there is another user with the name `{0}`; choose another name")]
    NameTaken(String),
    /// The name cannot be one.
    #[error("a user's name has 1 to {NAME_BYTES_MAX} bytes and neither control characters nor blanks around it")]
    BadName,
    /// A device cannot be called so.
    #[error("a device's name has 1 to {NAME_BYTES_MAX} bytes and neither control characters nor blanks around it")]
    BadDeviceName,
    /// The nil id is that of the operator.
    #[error("this user id is reserved")]
    Reserved,
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
    /// There is no such device.
    #[error("there is no such device")]
    UnknownDevice,
    /// The schema has no scopes, or this is none.
    #[error("{0} is not a row of the table that the schema names as scope table")]
    UnknownScope(RowId),
    /// Another user, or the server itself, has the device.
    #[error("the device belongs to another user, or was revoked")]
    NotYourDevice,
    /// Whoever asks may not connect any more.
    #[error("the device was revoked or logged out, or its token has expired")]
    Unauthorized,
}

impl Writer<'_> {
    pub(super) fn access(&mut self, by: UserId, change: AccessChange) -> Result<Result<Seq, AccessError>, StoreError> {
        if let Some(refusal) = self.access_refusal(&change)? {
            return Ok(Err(refusal));
        }
        Ok(Ok(self.append(by, CommitBody::Access(change))?))
    }

    /// Role and grant are read here, since they may have been changed while the job waited.
    pub(super) fn change_password(
        &mut self,
        by: UserId,
        user: UserId,
        password: String,
    ) -> Result<Result<Seq, AccessError>, StoreError> {
        let Some(User { name, role, grant, .. }) = self.tables.user(user)? else {
            return Ok(Err(AccessError::UnknownUser));
        };
        self.access(by, AccessChange::User { id: user, name, role, grant, password })
    }

    fn access_refusal(&self, change: &AccessChange) -> Result<Option<AccessError>, StoreError> {
        match change {
            AccessChange::User { id, name, grant, .. } => self.user_refusal(*id, name, grant),
            AccessChange::Token { device, user, .. } => {
                if self.tables.user(*user)?.is_none() {
                    return Ok(Some(AccessError::UnknownUser));
                }
                if *device == SERVER_DEVICE {
                    return Ok(Some(AccessError::NotYourDevice));
                }
                let foreign = self.tables.device(*device)?.is_some_and(|known| known.revoked || known.user != *user);
                Ok(foreign.then_some(AccessError::NotYourDevice))
            }
            AccessChange::DeviceRevoked { device } | AccessChange::TokenRevoked { device } => {
                Ok(self.tables.device(*device)?.is_none().then_some(AccessError::UnknownDevice))
            }
            AccessChange::DeviceNamed { name, .. } if !may_be_a_name(name) => Ok(Some(AccessError::BadDeviceName)),
            AccessChange::DeviceNamed { device, .. } => {
                Ok(self.tables.device(*device)?.is_none().then_some(AccessError::UnknownDevice))
            }
        }
    }

    fn user_refusal(&self, id: UserId, name: &str, grant: &Grant) -> Result<Option<AccessError>, StoreError> {
        if id == OPERATOR {
            return Ok(Some(AccessError::Reserved));
        }
        if !may_be_a_name(name) {
            return Ok(Some(AccessError::BadName));
        }
        if self.tables.user_named(name)?.is_some_and(|other| other != id) {
            return Ok(Some(AccessError::NameTaken(name.to_owned())));
        }
        let Grant::Scopes(scopes) = grant else { return Ok(None) };
        let scope_table = self.fold.schema()?.scope_table;
        for scope in scopes {
            let row = scope_table.map(|table| self.tables.row(&RowKey { table, id: *scope })).transpose()?;
            if row.flatten().is_none() {
                return Ok(Some(AccessError::UnknownScope(*scope)));
            }
        }
        Ok(None)
    }

    /// Logging in again names the store's device, which stays if it is that user's and was not revoked (P4).
    pub(super) fn issue_token(
        &mut self,
        user: UserId,
        device: Option<DeviceId>,
        name: Option<String>,
        fresh: DeviceId,
        token: [u8; 32],
        expires_at_ms: i64,
    ) -> Result<Result<DeviceId, AccessError>, StoreError> {
        let named = device.map(|id| Ok::<_, StoreError>((id, self.tables.device(id)?))).transpose()?;
        let kept = named.and_then(|(id, known)| {
            known.filter(|known| known.user == user && !known.revoked && id != SERVER_DEVICE).map(|_| id)
        });
        let device = kept.unwrap_or(fresh);
        if name.as_deref().is_some_and(|name| !may_be_a_name(name)) {
            return Ok(Err(AccessError::BadDeviceName));
        }
        let issued = self.access(user, AccessChange::Token { device, user, token, expires_at_ms })?;
        let known = self.tables.device_name(device)?;
        if let (Ok(_), Some(name)) = (&issued, name.filter(|name| known.as_ref() != Some(name))) {
            return Ok(self.access(user, AccessChange::DeviceNamed { device, name })?.map(|_| device));
        }
        Ok(issued.map(|_| device))
    }

    /// The request may have been queued before the revocation was decided: who asks is looked at once more.
    pub(super) fn issue_device(
        &mut self,
        asking: DeviceId,
        by_token: [u8; 32],
        fresh: DeviceId,
        token: [u8; 32],
        expires_at_ms: i64,
    ) -> Result<Result<DeviceId, AccessError>, StoreError> {
        let known = self.tables.device(asking)?;
        let may = |known: &Device| !known.revoked && known.token == Some(by_token) && self.now_ms < known.expires_at_ms;
        match known.filter(may) {
            Some(known) => {
                // What goes on as a device of its own is called like the one that it was, until somebody logs in there.
                let name = self.tables.device_name(asking)?;
                self.issue_token(known.user, None, name, fresh, token, expires_at_ms)
            }
            None => Ok(Err(AccessError::Unauthorized)),
        }
    }
}

/// Whether a user, or a device, can be called so.
fn may_be_a_name(name: &str) -> bool {
    let is_clean = name.trim() == name && !name.chars().any(char::is_control);
    is_clean && (1..=NAME_BYTES_MAX).contains(&name.len())
}
