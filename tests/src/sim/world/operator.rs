//! What the operator of a world does at its server.

use super::*;
use tombolo_server::compact::{Prepared, prepare};
use tombolo_server::store::Store;

impl World {
    /// Does a job at once, as the operator does it at a running server. `None` where the server is down or the write failed.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn operate(&mut self, job: Job) -> Result<Option<Reply>> {
        let now_ms = self.server_ms();
        match self.server.apply(vec![job], now_ms) {
            None => Ok(None),
            Some(Ok(mut replies)) => {
                self.committed()?;
                self.announce()?;
                Ok(replies.pop())
            }
            Some(Err(error)) => {
                self.server_failed(&error.to_string())?;
                Ok(None)
            }
        }
    }

    pub(super) fn make_sites(&mut self) -> Result<()> {
        let mut changes = Vec::new();
        for site in 0..self.knobs.sites {
            let id = RowId(self.id());
            self.sites.push(id);
            let name = FieldChange { field: FieldTag(SITE_NAME), value: Value::text(&format!("site {site}")), base: Seq(0) };
            changes.push(Change {
                key: RowKey { table: TableTag(SITES), id },
                op: Op::Create,
                row_base: Seq(0),
                view_base: Seq(0),
                fields: vec![name],
                lost: Vec::new(),
                group: None,
                edited_at_ms: 0,
            });
        }
        match self.operate(Job::import(UserId::default(), changes))? {
            Some(Reply::Import(Ok(_))) => Ok(()),
            other => bail!("the sites were answered by {other:?}"),
        }
    }

    /// Gives a user these sites (by bits; all where every bit is set) and this role.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn grant(&mut self, user: usize, bits: u8, role: Role) -> Result<()> {
        let bits = if self.schemas.has_scopes { bits } else { u8::MAX };
        let sites = self.sites.iter().enumerate().filter(|(site, _)| bits & (1 << site) != 0);
        let grant = if bits == u8::MAX { Grant::All } else { Grant::Scopes(sites.map(|(_, id)| *id).collect()) };
        self.oracles.rights.insert(user, (bits, role));
        let name = format!("user {user}");
        let change = AccessChange::User { id: self.users[user], name, role, grant, password: String::new() };
        self.operate(Job::Access { by: UserId::default(), change }).map(drop)
    }

    /// Compacts the log up to so many commits before the head: the base is made at once, and the job waits for the writer as any
    /// other.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn compact(&mut self, back: u64) -> Result<()> {
        let Ok(workspace) = self.server.workspace() else { return Ok(()) };
        let horizon = Seq(workspace.head().seq.0.saturating_sub(back));
        match prepare(workspace.store(), &Store::in_memory()?, horizon, &mut tombolo_server::verify::unwatched) {
            Ok(Prepared::Base(base)) => {
                self.count_fault("log compacted");
                self.submit(From::Operator, Job::Compact { by: UserId::default(), base });
                Ok(())
            }
            Ok(Prepared::Unsound(report)) => Err(Broken::new("verify", format!("{report:?}"))),
            Ok(_) => Ok(()),
            Err(error) => self.server_failed(&error.to_string()),
        }
    }

    /// Revokes the device that a store has now.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn revoke(&mut self, at: usize) -> Result<()> {
        let Some(device) = self.devices[at].engine.as_ref().and_then(|engine| engine.account()).map(|a| a.device) else {
            return Ok(());
        };
        self.operate(Job::Access { by: UserId::default(), change: AccessChange::DeviceRevoked { device } }).map(drop)
    }

    pub(super) fn issue(&mut self, user: UserId, device: Option<DeviceId>) -> Result<Option<(DeviceId, String)>> {
        let (fresh, token) = (DeviceId(self.id()), self.id().to_string());
        let job = Job::IssueToken {
            user,
            device,
            // Each login calls the device otherwise.
            name: Some(format!("tablet {fresh}")),
            fresh,
            token: hash::long(token.as_bytes()),
            expires_at_ms: i64::MAX,
        };
        match self.operate(job)? {
            Some(Reply::Token(Ok(device))) => Ok(Some((device, token))),
            None => Ok(None),
            other => bail!("a token was answered by {other:?}"),
        }
    }
}
