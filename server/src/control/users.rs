//! Users, their passwords and grants, and devices.

use super::request::{Answer, DeviceLine, GrantShown, Refused, UserLine};
use crate::access::OPERATOR;
use crate::csv::{find_titled, title};
use crate::net::clock;
use crate::net::hub::Hub;
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use crate::store::records::{Device, User};
use crate::workspace::{Job, Reply};
use tombolo_protocol::commit::{AccessChange, Grant};
use tombolo_protocol::ids::{DeviceId, RowId, RowKey, UserId};
use tombolo_protocol::schema::{Role, Table};

pub(super) fn add(hub: &Hub, name: &str, role: Role, scopes: &[String], password: String) -> Result<Answer, Refused> {
    let id = UserId(clock::random_id());
    let grant = resolve(&*hub.snapshot()?, scopes)?;
    let change = AccessChange::User { id, name: name.to_owned(), role, grant: grant.clone(), password };
    commit(hub, Job::Access { by: OPERATOR, change })?;
    let grant = shown(&*hub.snapshot()?, &grant)?;
    Ok(Answer::UserAdded(UserLine { id, name: name.to_owned(), role, grant }))
}

pub(super) fn list(hub: &Hub) -> Result<Answer, Refused> {
    let snapshot = hub.snapshot()?;
    let users = snapshot.users()?.into_iter().map(|(id, user)| {
        let User { name, role, grant, .. } = user;
        Ok(UserLine { id, name, role, grant: shown(&snapshot, &grant)? })
    });
    users.collect::<Result<_, StoreError>>().map(Answer::Users).map_err(Refused::from)
}

pub(super) fn change_password(hub: &Hub, name: &str, password: String) -> Result<Answer, Refused> {
    let found = hub.snapshot()?.user_named(name)?;
    let (user, _) =
        found.ok_or_else(|| Refused::new(format!("there is no user `{name}`: nothing was changed. `user list` shows them")))?;
    commit(hub, Job::Password { by: OPERATOR, user, password })?;
    Ok(Answer::PasswordChanged { name: name.to_owned() })
}

pub(super) fn devices(hub: &Hub) -> Result<Answer, Refused> {
    let snapshot = hub.snapshot()?;
    let mut lines = Vec::new();
    for (id, device) in snapshot.devices()? {
        // The server's own device pushes imports; nobody can log in with it.
        if device.user == OPERATOR {
            continue;
        }
        let user = snapshot.user(device.user)?.map_or_else(|| device.user.to_string(), |user| user.name);
        let state = state(&device, hub.now_ms()).to_owned();
        let name = snapshot.device_name(id)?;
        lines.push(DeviceLine { id, name, user, state, pushes: device.last.0 });
    }
    Ok(Answer::Devices(lines))
}

fn state(device: &Device, now_ms: i64) -> &'static str {
    match device {
        Device { revoked: true, .. } => "revoked",
        Device { token: None, .. } => "logged out",
        Device { expires_at_ms, .. } if *expires_at_ms <= now_ms => "expired",
        Device { .. } => "active",
    }
}

pub(super) fn revoke(hub: &Hub, id: &str) -> Result<Answer, Refused> {
    let unknown = || Refused::new(format!("there is no device `{id}`: nothing was changed. `device list` shows them"));
    let device: DeviceId = id.parse().map_err(|_| unknown())?;
    let snapshot = hub.snapshot()?;
    let user = snapshot.device(device)?.ok_or_else(unknown)?.user;
    let user = snapshot.user(user)?.map_or_else(|| user.to_string(), |user| user.name);
    drop(snapshot);
    commit(hub, Job::Access { by: OPERATOR, change: AccessChange::DeviceRevoked { device } })?;
    Ok(Answer::Revoked { device, user })
}

fn commit(hub: &Hub, job: Job) -> Result<(), Refused> {
    match hub.ask_blocking(job)? {
        Reply::Access(Ok(_)) => Ok(()),
        Reply::Access(Err(error)) => Err(Refused::new(format!("{error}: nothing was changed"))),
        other => {
            Err(Refused::new(format!("the writer gave an answer to something else ({other:?}): tell the makers of Tombolo")))
        }
    }
}

/// The grant that these words mean: ids or titles of rows of the scope table, or all where there is none.
fn resolve(snapshot: &Snapshot, scopes: &[String]) -> Result<Grant, Refused> {
    if scopes.is_empty() {
        return Ok(Grant::All);
    }
    let table = scope_table(snapshot).ok_or_else(|| {
        Refused::new("the schema names no scope table, so every user has all: nothing was changed. Leave --scope out")
    })?;
    let mut granted: Vec<RowId> = Vec::new();
    for scope in scopes {
        match find_titled(snapshot, table, scope)?.as_slice() {
            [id] if granted.contains(id) => {}
            [id] => granted.push(*id),
            [] => {
                let name = &table.name;
                return Err(Refused::new(format!(
                    "there is no row in {name} with the id or title `{scope}`: nothing was changed. `export {name}` shows them"
                )));
            }
            several => {
                let ids: Vec<String> = several.iter().map(|id| format!("\n  {id}")).collect();
                return Err(Refused::new(format!(
                    "{} rows in {} are called `{scope}`: nothing was changed. Give --scope the id of the one that is meant:{}",
                    several.len(),
                    table.name,
                    ids.concat()
                )));
            }
        }
    }
    Ok(Grant::Scopes(granted))
}

fn scope_table(snapshot: &Snapshot) -> Option<&Table> {
    snapshot.schema().scope_table.and_then(|tag| snapshot.schema().table(tag))
}

fn shown(snapshot: &Snapshot, grant: &Grant) -> Result<GrantShown, StoreError> {
    let Grant::Scopes(scopes) = grant else { return Ok(GrantShown::All) };
    let mut lines = Vec::with_capacity(scopes.len());
    for id in scopes {
        let named = match scope_table(snapshot) {
            Some(table) => snapshot.row(&RowKey { table: table.tag, id: *id })?.map(|row| title(table, &row)),
            None => None,
        };
        lines.push((id.to_string(), named.unwrap_or_default()));
    }
    Ok(GrantShown::Scopes(lines))
}
