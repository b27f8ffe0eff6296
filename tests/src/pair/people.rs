//! What people do in a world, and what can be seen of it.

use super::World;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tombolo_client::event::Event;
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::commit::Grant;
use tombolo_client::protocol::commit::{CommitBody, Offer};
use tombolo_client::protocol::ids::{FieldTag, GroupId, RowKey, Seq, UserId};
use tombolo_client::protocol::message::HistoryEntry;
use tombolo_client::protocol::outbox::{Resolution, Seen, Write};
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::schema::{Role, Schema, Table};
use tombolo_client::protocol::value::Value;
use tombolo_client::view::{self, ConflictView, PendingView, RowView};
use tombolo_client::{Before, LocalError, LocalWrite};
use tombolo_server::store::Store as ServerStore;
use tombolo_server::workspace::{Job, Reply};
impl World {
    fn table(&self, at: usize, name: &str) -> Result<Table> {
        let schema = self.devices[at].engine.schema().context("no schema")?;
        Ok(schema.table_named(name).with_context(|| format!("no table {name}"))?.clone())
    }

    /// Values by field name, written as on a command line.
    pub fn values(&self, at: usize, table: &str, fields: &[(&str, &str)]) -> Result<BTreeMap<FieldTag, Value>> {
        let table = self.table(at, table)?;
        fields
            .iter()
            .map(|(name, text)| {
                let field = table.field_named(name).with_context(|| format!("no field {name}"))?;
                Ok((field.tag, field.parse_text(text)?))
            })
            .collect()
    }

    /// A local write.
    pub fn write(&mut self, at: usize, key: RowKey, write: Write, seen: Option<Seen>) -> Result<(), LocalError> {
        self.now_ms += 1;
        let done = self.devices[at].engine.write(vec![LocalWrite { key, write, seen }], None, self.now_ms);
        self.drain_client(at);
        done
    }

    /// Creates a row.
    pub fn create(&mut self, at: usize, table: &str, fields: &[(&str, &str)]) -> Result<RowKey> {
        let key = RowKey { table: self.table(at, table)?.tag, id: self.row_id() };
        let values = self.values(at, table, fields)?;
        self.write(at, key, Write::Create(values), None)?;
        Ok(key)
    }

    /// Updates a row.
    pub fn update(&mut self, at: usize, key: RowKey, fields: &[(&str, &str)]) -> Result<()> {
        let name = self.table_name(at, key)?;
        let values = self.values(at, &name, fields)?;
        Ok(self.write(at, key, Write::Update(values), None)?)
    }

    /// Writes several rows as a group.
    pub fn group(&mut self, at: usize, writes: Vec<(RowKey, Write)>) -> Result<(), LocalError> {
        let group = GroupId(self.id());
        let writes = writes.into_iter().map(|(key, write)| LocalWrite { key, write, seen: None }).collect();
        self.devices[at].engine.write(writes, Some(group), self.now_ms)
    }

    /// Deletes a row.
    pub fn delete(&mut self, at: usize, key: RowKey) -> Result<()> {
        Ok(self.write(at, key, Write::Delete, None)?)
    }

    /// Restores a row.
    pub fn restore(&mut self, at: usize, key: RowKey) -> Result<()> {
        Ok(self.write(at, key, Write::Restore, None)?)
    }

    /// Decides a conflict.
    pub fn resolve(&mut self, at: usize, key: RowKey, resolution: &Resolution) -> Result<(), LocalError> {
        self.resolve_shown(at, key, None, resolution)
    }

    /// Somebody decides what a dialog showed.
    ///
    /// # Errors
    /// [`LocalError`]; nothing was decided.
    pub fn resolve_shown(
        &mut self,
        at: usize,
        key: RowKey,
        shown: Option<&ConflictView>,
        resolution: &Resolution,
    ) -> Result<(), LocalError> {
        self.now_ms += 1;
        let done = self.devices[at].engine.resolve(key, shown, resolution, self.now_ms);
        self.drain_client(at);
        done
    }

    fn schema_of(&self, at: usize) -> Result<Arc<Schema>> {
        Ok(self.devices[at].engine.schema().context("no schema")?.clone())
    }

    fn table_name(&self, at: usize, key: RowKey) -> Result<String> {
        Ok(self.schema_of(at)?.table(key.table).context("no table")?.name.clone())
    }

    /// A row as a device shows it.
    pub fn shown(&self, at: usize, key: RowKey) -> Result<Option<RowView>> {
        Ok(view::get(&self.devices[at].engine.store().read()?, &*self.schema_of(at)?, key)?)
    }

    /// A field as a device shows it; "-" where the row is not there.
    pub fn field(&self, at: usize, key: RowKey, field: &str) -> Result<String> {
        let schema = self.schema_of(at)?;
        let table = schema.table(key.table).context("no table")?;
        let field = table.field_named(field).context("no field")?;
        Ok(self.shown(at, key)?.map_or("-".into(), |row| field.show(row.value(field.tag))))
    }

    /// What is pending at a device.
    pub fn pending(&self, at: usize) -> Result<Vec<PendingView>> {
        Ok(view::pending(&self.devices[at].engine.store().read()?, &*self.schema_of(at)?)?)
    }

    /// What a person has to decide at a device.
    pub fn conflicts(&self, at: usize) -> Result<Vec<ConflictView>> {
        Ok(view::conflicts(&self.devices[at].engine.store().read()?, &*self.schema_of(at)?)?)
    }

    /// What the mirror of a device holds of a row.
    pub fn mirror(&self, at: usize, key: RowKey) -> Result<Option<Row>> {
        Ok(self.devices[at].engine.store().read()?.mirror(key)?.map(|held| held.row))
    }

    /// The server's row.
    pub fn server_row(&self, key: RowKey) -> Result<Option<Row>> {
        Ok(self.workspace.store().snapshot()?.row(&key)?)
    }

    /// A field of the server's row; "-" where the row is not there.
    pub fn server_field(&self, key: RowKey, field: &str) -> Result<String> {
        let snapshot = self.workspace.store().snapshot()?;
        let table = snapshot.schema().table(key.table).context("no table")?;
        let field = table.field_named(field).context("no field")?;
        Ok(snapshot.row(&key)?.filter(Row::is_live).map_or("-".into(), |row| field.show(row.value(field.tag))))
    }

    /// The server's head.
    pub fn head(&self) -> Seq {
        self.workspace.head().seq
    }

    /// The server's store.
    pub fn store(&self) -> &ServerStore {
        self.workspace.store()
    }

    /// How often the server's log holds an effect of this kind on a row.
    pub fn effects(&self, key: RowKey, op: Op) -> Result<usize> {
        let snapshot = self.workspace.store().snapshot()?;
        let mut count = 0;
        for seq in 1..=snapshot.head().seq.0 {
            let commit = snapshot.commit(Seq(seq))?.context("a gap in the log")?;
            if let CommitBody::Push(record) = commit.body {
                count += record.effects.iter().filter(|effect| effect.key == key && effect.op == op).count();
            }
        }
        Ok(count)
    }

    /// Demands that the mirror of a device is exactly what the server shows its user: rows, values, stamps and digests.
    pub fn assert_equal(&self, at: usize) -> Result<()> {
        let device = &self.devices[at];
        let snapshot = self.workspace.store().snapshot()?;
        let user = device.engine.account().context("no account")?.user;
        let rights = snapshot.rights(user)?.context("no rights")?;
        let sections = snapshot.sections(&rights)?;
        let tables = device.engine.store().read()?;
        anyhow::ensure!(
            device.engine.cursors().fills.is_empty() && device.engine.cursors().sections == sections,
            "device {at} does not serve all sections: {:?}",
            device.engine.cursors()
        );
        for table in &snapshot.schema().tables {
            let live = |row: &Row| row.is_live() && row.section(table).is_some_and(|section| sections.contains(&section));
            let mut theirs = BTreeMap::new();
            let mut after = None;
            loop {
                let page = snapshot.rows_after(table.tag, after, 1000)?;
                let Some(last) = page.last() else { break };
                after = Some(last.key.id);
                theirs.extend(page.into_iter().filter(live).map(|row| (row.key, comparable(&row))));
            }
            let mut mine = BTreeMap::new();
            for held in tables.mirror_rows(table.tag, None)? {
                let row = held?.row;
                if row.is_live() {
                    mine.insert(row.key, comparable(&row));
                }
            }
            anyhow::ensure!(mine == theirs, "device {at}, {}: mirror {mine:#?}\nserver {theirs:#?}", table.name);
        }
        for section in sections {
            let (mine, theirs) = (tables.digest(&section)?, snapshot.digest(&section)?);
            anyhow::ensure!(mine == theirs, "device {at}: the digests of {section:?} differ");
        }
        Ok(())
    }

    /// The history of a row, as an administrator sees it, newest first.
    pub fn history(&self, key: RowKey) -> Result<Vec<HistoryEntry>> {
        let snapshot = self.workspace.store().snapshot()?;
        let (admin, _) = snapshot.users()?.into_iter().find(|(_, user)| user.role == Role::Admin).context("no admin")?;
        let rights = snapshot.rights(admin)?.context("no rights")?;
        Ok(snapshot.history(&rights, &key, 100)?.entries)
    }

    /// Takes the values of a deleted row at the server.
    pub fn purge(&mut self, key: RowKey) -> Result<()> {
        match self.server(Job::Purge { by: UserId::default(), rows: vec![key] })? {
            Reply::Purge(Ok(_)) => Ok(()),
            other => bail!("the purge was answered by {other:?}"),
        }
    }

    /// How many pushes the log holds as void.
    pub fn voids(&self) -> Result<usize> {
        let snapshot = self.workspace.store().snapshot()?;
        let mut count = 0;
        for seq in 1..=snapshot.head().seq.0 {
            let body = snapshot.commit(Seq(seq))?.map(|commit| commit.body);
            count += usize::from(matches!(body, Some(CommitBody::Push(record)) if record.void));
        }
        Ok(count)
    }

    /// Cuts the link of a device as a server does that closes with an error.
    pub fn cut_by_error(&mut self, at: usize) -> Result<()> {
        let device = &mut self.devices[at];
        if let Some(link) = device.link.take() {
            self.registry.leave(link.identity.device, link.id);
            device.engine.disconnected(true)?;
        }
        Ok(())
    }

    /// Discards what is pending of a row.
    pub fn discard(&mut self, at: usize, key: RowKey) -> Result<Before, LocalError> {
        self.devices[at].engine.discard(key, None, self.now_ms)
    }

    /// Deletes a row, so that it can be taken back.
    pub fn delete_undoably(&mut self, at: usize, key: RowKey) -> Result<Before, LocalError> {
        self.devices[at].engine.delete(key, None, self.now_ms)
    }

    /// Puts back what was discarded or deleted.
    pub fn undo(&mut self, at: usize, before: &Before) -> Result<(), LocalError> {
        self.devices[at].engine.put_back(before, self.now_ms)
    }

    /// Writes many rows in one local transaction that is no group.
    pub fn import(&mut self, at: usize, writes: Vec<(RowKey, Write)>) -> Result<(), LocalError> {
        let writes = writes.into_iter().map(|(key, write)| LocalWrite { key, write, seen: None }).collect();
        self.devices[at].engine.write(writes, None, self.now_ms)
    }

    /// Makes commits at the server that nobody in particular cares for, so that seqs are taken.
    pub fn patient_filler(&mut self) -> Result<()> {
        for name in ["filler", "another", "third"] {
            let id = UserId(self.id());
            self.grant(id, name, Role::Viewer, Grant::All)?;
        }
        Ok(())
    }

    /// Whether the device told something.
    pub fn told(&self, at: usize, is_it: impl Fn(&Event) -> bool) -> bool {
        self.devices[at].events.iter().any(is_it)
    }

    /// A restore as the operator's choice in the log.
    pub fn restore_commit(&mut self, offer: Offer) -> Result<()> {
        self.server(Job::Restore { by: UserId::default(), offer }).map(|_| ())
    }

    /// Pushes only these rows in the next sync of a device.
    pub fn sync_only(&mut self, at: usize, rows: BTreeSet<RowKey>) -> Result<()> {
        let now_ms = self.now_ms;
        self.devices[at].engine.sync(Some(rows), now_ms)?;
        self.connect(at)?;
        self.settle(at)?;
        self.cut(at)
    }
}

type Comparable = (u64, u64, u64, BTreeMap<FieldTag, (Value, Seq)>);

fn comparable(row: &Row) -> Comparable {
    let fields = row.fields.iter().filter(|(_, stamped)| !stamped.value.is_null());
    let fields = fields.map(|(field, stamped)| (*field, (stamped.value.clone(), stamped.stamp))).collect();
    (row.version.0, row.seq.0, row.since.0, fields)
}
