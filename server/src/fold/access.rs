//! Folding changes of users, grants, devices and tokens.

use super::Fold;
use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::records::{Device, User};
use crate::store::tables::WriteTables;
use tombolo_protocol::codec;
use tombolo_protocol::commit::AccessChange;
use tombolo_protocol::ids::{DeviceId, Seq};

impl Fold {
    pub(super) fn fold_access(
        &mut self,
        tables: &mut WriteTables<'_>,
        seq: Seq,
        change: &AccessChange,
    ) -> Result<(), StoreError> {
        match change {
            AccessChange::User { id, name, role, grant, password } => {
                if let Some(known) = tables.user(*id)? {
                    tables.user_names.remove(known.name.as_str())?;
                }
                let user = User { name: name.clone(), role: *role, grant: grant.clone(), password: password.clone() };
                tables.users.insert(id.bytes(), codec::store::encode(&user).as_slice())?;
                tables.user_names.insert(name.as_str(), id.bytes())?;
                self.meta.sections_changed = seq;
                Ok(())
            }
            AccessChange::Token { device, user, token, expires_at_ms } => change_device(tables, *device, |record| {
                record.user = *user;
                record.token = Some(*token);
                record.expires_at_ms = *expires_at_ms;
            }),
            AccessChange::DeviceRevoked { device } => change_device(tables, *device, |record| {
                record.token = None;
                record.revoked = true;
            }),
            AccessChange::TokenRevoked { device } => change_device(tables, *device, |record| record.token = None),
            AccessChange::DeviceNamed { device, name } => {
                tables.device_names.insert(device.bytes(), name.as_str())?;
                Ok(())
            }
        }
    }
}

fn change_device(tables: &mut WriteTables<'_>, id: DeviceId, change: impl FnOnce(&mut Device)) -> Result<(), StoreError> {
    let mut device = tables.device(id)?.unwrap_or_default();
    let token_before = device.token;
    change(&mut device);
    if let Some(token) = token_before.filter(|token| device.token != Some(*token)) {
        tables.tokens.remove(&token)?;
    }
    if let Some(token) = device.token {
        tables.tokens.insert(&token, id.bytes())?;
    }
    tables.devices.insert(id.bytes(), codec::store::encode(&device).as_slice())?;
    Ok(())
}
