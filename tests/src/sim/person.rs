//! What people do at the devices of a world, written into the ledger as they do it.

use super::device::{Form, Gone, Mode};
use super::ledger::{Account, Group, Ledger, content};
use super::oracles::Broken;
use super::oracles::frozen::in_flight;
use super::plan::{Act, row_of};
use super::world::World;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;
use tombolo_client::engine::Engine;
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::{FieldTag, GroupId, RowId, RowKey};
use tombolo_client::protocol::outbox::{Choice, ConflictKind, Entry, Pending, Resolution, Seen, Write};
use tombolo_client::protocol::row::{Life, Row};
use tombolo_client::protocol::schema::{Field, Kind, Schema, Table};
use tombolo_client::protocol::value::Value;
use tombolo_client::view::{self, ConflictView, RowView};
use tombolo_client::{Before, LocalError, LocalWrite, Phase};

/// Values of unique fields come from so few that they clash.
const UNIQUE_VALUES: u64 = 3;

impl World {
    /// A person at a device does something. What is not possible there and then is not done.
    ///
    /// # Errors
    /// [`super::oracles::Broken`].
    pub fn person(&mut self, at: usize, act: &Act) -> Result<()> {
        if self.devices[at].engine.is_none() || self.devices[at].asleep_until > self.now {
            return Ok(());
        }
        match act {
            Act::Sync => return self.press_sync(at, None),
            Act::SyncOnly(row) => {
                let Some(key) = self.row(*row) else { return Ok(()) };
                return self.press_sync(at, Some(key));
            }
            Act::CancelSync => {
                self.devices[at].is_syncing = false;
                self.with_engine(at, |engine, _| Ok(engine.cancel_sync()))?;
                return self.steer(at);
            }
            Act::Mode(mode) => {
                let mode = [Mode::Manual, Mode::Automatic, Mode::Metered][*mode as usize % 3];
                return self.set_mode(at, mode);
            }
            _ => {}
        }
        let Some(schema) = self.devices[at].engine.as_ref().and_then(|engine| engine.schema().cloned()) else {
            return Ok(());
        };
        self.oracles.ledger.begin();
        self.write_act(at, &schema, act)?;
        match &self.devices[at].engine {
            Some(engine) => self.oracles.after_act(at, engine),
            None => Ok(()),
        }
    }

    fn write_act(&mut self, at: usize, schema: &Arc<Schema>, act: &Act) -> Result<()> {
        match act {
            Act::Create(table, value) => self.create(at, schema, *table, *value, 1),
            Act::Import(table, count, value) => self.create(at, schema, *table, *value, *count),
            Act::Update(row, field, value, from_form) => {
                let Some((key, table)) = self.row_in(schema, *row) else { return Ok(()) };
                let Some(field) = free_field(&table, *field) else { return Ok(()) };
                let value = value_of(field, *value);
                self.update(at, key, &table, [(field.tag, value)].into(), *from_form)
            }
            Act::Clear(row, field) => {
                let Some((key, table)) = self.row_in(schema, *row) else { return Ok(()) };
                let Some(field) = free_field(&table, *field) else { return Ok(()) };
                self.oracles.ledger.ambiguous.insert((key, field.tag));
                self.update(at, key, &table, [(field.tag, Value::Null)].into(), false)
            }
            Act::SetBack(row, field) => {
                let Some((key, table)) = self.row_in(schema, *row) else { return Ok(()) };
                let Some(field) = free_field(&table, *field).map(|field| field.tag) else { return Ok(()) };
                let Some(older) = self.mirror(at, key)?.map(|row| row.value(field).clone()) else { return Ok(()) };
                self.oracles.ledger.ambiguous.insert((key, field));
                let is_own = self.oracles.ledger.has_stood(at, key, field, &older);
                self.update(at, key, &table, [(field, older.clone())].into(), false)?;
                if !is_own {
                    self.oracles.ledger.is_of_others(at, key, field, &older);
                }
                Ok(())
            }
            Act::Move(row, site) => {
                let Some((key, table)) = self.row_in(schema, *row) else { return Ok(()) };
                let (Some(scope), Some(site)) = (table.scope, self.sites.get(*site).copied()) else { return Ok(()) };
                self.oracles.ledger.ambiguous.insert((key, scope));
                self.update(at, key, &table, [(scope, Value::Uuid(*site.bytes()))].into(), false)
            }
            Act::Refer(row, target) => {
                let Some((key, table)) = self.row_in(schema, *row) else { return Ok(()) };
                let reference = table.fields.iter().find(|field| field.reference.is_some() && Some(field.tag) != table.scope);
                let Some((field, of)) = reference.and_then(|field| Some((field.tag, field.reference?.table))) else {
                    return Ok(());
                };
                let rows: Vec<RowKey> = self.rows.iter().filter(|key| key.table == of).copied().collect();
                let Some(target) = rows.get(target % rows.len().max(1)) else { return Ok(()) };
                self.oracles.ledger.ambiguous.insert((key, field));
                self.update(at, key, &table, [(field, Value::Uuid(*target.id.bytes()))].into(), false)
            }
            Act::Forbidden(row, value) => {
                let Some((key, table)) = self.row_in(schema, *row) else { return Ok(()) };
                let choice = table.fields.iter().find(|field| !field.choices.is_empty());
                let Some(field) = choice.map(|field| field.tag) else { return Ok(()) };
                self.update(at, key, &table, [(field, Value::text(&format!("v{value}")))].into(), false)
            }
            Act::Delete(row, from_form) => self.delete(at, schema, *row, *from_form),
            Act::Restore(row) => {
                let Some((key, _)) = self.row_in(schema, *row) else { return Ok(()) };
                self.oracles.ledger.revived.insert(key);
                if self.write(at, vec![LocalWrite { key, write: Write::Restore, seen: None }], None)? {
                    self.saw_all(at, schema, key, None)?;
                    self.oracles.ledger.touched(at, key);
                }
                Ok(())
            }
            Act::Discard(row) => {
                let Some((key, _)) = self.row_in(schema, *row) else { return Ok(()) };
                self.discard(at, key)
            }
            Act::DiscardField(row, field) => {
                let Some((key, table)) = self.row_in(schema, *row) else { return Ok(()) };
                let Some(field) = free_field(&table, *field).map(|field| field.tag) else { return Ok(()) };
                self.give_up(at, &[key].into(), |engine, now_ms| engine.discard(key, Some(field), now_ms))
            }
            Act::PutBack => self.put_back(at),
            Act::TakeOut(row) => {
                let Some((key, _)) = self.row_in(schema, *row) else { return Ok(()) };
                if self.local(at, &[key].into(), |engine, now_ms| engine.take_out_of_group(key, now_ms))? {
                    self.oracles.ledger.touched(at, key);
                }
                Ok(())
            }
            Act::Look(row) => {
                let Some((key, _)) = self.row_in(schema, *row) else { return Ok(()) };
                if let Some(view) = self.shown(at, schema, key)? {
                    let entry = self.entry(at, key)?;
                    let layers = entry.iter().flat_map(Entry::layers);
                    let own = layers.flat_map(|layer| layer.fields.keys().copied()).collect();
                    self.devices[at].forms.insert(key, Form { view, own });
                    self.oracles.ledger.taken_back.remove(&(at, key));
                    self.oracles.ledger.written_behind.remove(&(at, key));
                }
                self.ask(at, key)
            }
            Act::OpenDialog(which) => {
                let conflicts = self.conflicts(at, schema)?;
                if let Some(view) = pick(&conflicts, *which) {
                    self.devices[at].dialogs.insert(view.key, view.clone());
                }
                Ok(())
            }
            Act::Resolve(which, how, value) => self.resolve(at, schema, *which, *how, *value),
            Act::Group(rows, value) => self.group(at, schema, rows, *value),
            Act::Sync | Act::SyncOnly(_) | Act::CancelSync | Act::Mode(_) => Ok(()),
        }
    }

    // ---- reading ----

    /// Where there is a link, a person asks what became of a row, and what was done lately.
    fn ask(&mut self, at: usize, key: RowKey) -> Result<()> {
        let is_live = |engine: &Engine| engine.phase() == Phase::Live;
        if self.devices[at].engine.as_ref().is_some_and(is_live) {
            self.with_engine(at, |engine, _| {
                engine.want_history(key);
                engine.want_activity();
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The row that a plan names.
    pub fn row(&self, index: usize) -> Option<RowKey> {
        row_of(index, self.rows.len()).map(|row| self.rows[row])
    }

    fn row_in(&self, schema: &Schema, index: usize) -> Option<(RowKey, Table)> {
        let key = self.row(index)?;
        Some((key, schema.table(key.table)?.clone()))
    }

    fn shown(&self, at: usize, schema: &Schema, key: RowKey) -> Result<Option<RowView>> {
        let Some(engine) = &self.devices[at].engine else { return Ok(None) };
        Ok(view::get(&engine.store().read()?, schema, key)?)
    }

    fn mirror(&self, at: usize, key: RowKey) -> Result<Option<Row>> {
        let Some(engine) = &self.devices[at].engine else { return Ok(None) };
        Ok(engine.store().read()?.mirror(key)?.map(|held| held.row))
    }

    /// What waits for a decision at a device.
    ///
    /// # Errors
    /// When the store fails; [`super::oracles::Broken`].
    pub fn conflicts(&self, at: usize, schema: &Schema) -> Result<Vec<ConflictView>> {
        let Some(engine) = &self.devices[at].engine else { return Ok(Vec::new()) };
        let conflicts = view::conflicts(&engine.store().read()?, schema)?;
        conflicts.iter().try_for_each(|dialog| self.oracles.dialog(at, engine, dialog))?;
        Ok(conflicts)
    }

    /// A row with those of its group.
    fn with_group(&self, at: usize, key: RowKey) -> Result<BTreeSet<RowKey>> {
        let mut keys = BTreeSet::from([key]);
        let Some(engine) = &self.devices[at].engine else { return Ok(keys) };
        let tables = engine.store().read()?;
        let Some(group) = tables.entry(key)?.and_then(|entry| entry.next).and_then(|next| next.group) else {
            return Ok(keys);
        };
        for entry in tables.entries()? {
            let entry = entry?;
            if entry.next.is_some_and(|next| next.group == Some(group)) {
                keys.insert(entry.key);
            }
        }
        Ok(keys)
    }

    // ---- writing ----

    /// Something that a person does with the engine to these rows. Returns whether it was done. Where the disk fails in it, that
    /// is not known: what stood there is nothing that anybody relies on.
    fn local(
        &mut self,
        at: usize,
        keys: &BTreeSet<RowKey>,
        act: impl FnOnce(&mut Engine, i64) -> Result<(), LocalError>,
    ) -> Result<bool> {
        let now_ms = self.device_ms(at);
        let Some(engine) = self.devices[at].engine.as_mut() else { return Ok(false) };
        let in_flight = in_flight(engine)?;
        // What fails behind a write that is durable is a broken store, too.
        let done = act(engine, now_ms).and_then(|()| engine.poll_failure().map_or(Ok(()), |error| Err(error.into())));
        match done {
            Ok(()) => {
                self.oracles.in_flight_stays(at, &in_flight, engine)?;
                self.oracles.ledger.begin();
                let behind = keys.iter().filter(|key| self.devices[at].forms.contains_key(key));
                self.oracles.ledger.written_behind.extend(behind.map(|key| (at, *key)));
                self.counts.edits += 1;
                self.note(&format!("device {at} accepts an edit"), &[]);
                self.drain(at)?;
                Ok(true)
            }
            Err(LocalError::Store(error)) => {
                keys.iter().for_each(|key| self.oracles.ledger.forget_row(at, *key));
                // What was seen for it may be asked about again.
                self.oracles.ledger.old_forms.extend(keys.iter().map(|key| (at, *key)));
                self.store_failed(at, &error)?;
                Ok(false)
            }
            Err(error) => {
                self.say(|| format!("device {at}: {error}"));
                self.oracles.ledger.was_not_possible();
                Ok(false)
            }
        }
    }

    fn write(&mut self, at: usize, writes: Vec<LocalWrite>, group: Option<GroupId>) -> Result<bool> {
        self.say(|| format!("device {at}: {writes:?}"));
        let keys = writes.iter().map(|write| write.key).collect();
        self.local(at, &keys, |engine, now_ms| engine.write(writes, group, now_ms))
    }

    fn create(&mut self, at: usize, schema: &Schema, table: usize, value: u64, count: usize) -> Result<()> {
        let tables: Vec<&Table> = schema.tables.iter().filter(|table| table.tag.0 != super::schema::SITES).collect();
        let table = tables[table % tables.len()];
        let mut writes = Vec::new();
        for value in value..value + count as u64 {
            let mut values = BTreeMap::new();
            for field in &table.fields {
                let wanted = field.required || self.rng.chance(2, 3);
                let value = match field.reference {
                    Some(_) if Some(field.tag) == table.scope => Value::Uuid(*self.rng.pick(&self.sites).bytes()),
                    Some(reference) => {
                        let rows: Vec<RowId> =
                            self.rows.iter().filter(|key| key.table == reference.table).map(|key| key.id).collect();
                        if rows.is_empty() { Value::Null } else { Value::Uuid(*self.rng.pick(&rows).bytes()) }
                    }
                    None => value_of(field, value),
                };
                if wanted && !value.is_null() {
                    values.insert(field.tag, value);
                }
            }
            let key = RowKey { table: table.tag, id: RowId(self.id()) };
            writes.push(LocalWrite { key, write: Write::Create(values), seen: None });
        }
        // They are in the ledger before anything else can happen, for where the write is durable and the power goes.
        self.rows.extend(writes.iter().map(|write| write.key));
        let made: Vec<_> = writes
            .iter()
            .filter_map(|write| match &write.write {
                Write::Create(values) => Some((write.key, values.clone())),
                _ => None,
            })
            .collect();
        self.may_come(&made, table);
        if self.write(at, writes, None)? {
            for (key, values) in &made {
                self.accepted(at, *key, table, values);
            }
        }
        Ok(())
    }

    /// What is about to be written may come into the log once, whether or not the person is told so: the power may go in
    /// between.
    fn may_come(&mut self, writes: &[(RowKey, BTreeMap<FieldTag, Value>)], table: &Table) {
        let Ledger { written, ambiguous, .. } = &mut self.oracles.ledger;
        for (key, values) in writes {
            for (field, value) in values.iter().filter(|(field, _)| is_traced(table, **field)) {
                let place = (*key, *field);
                match written.entry((place, content(value))) {
                    btree_map::Entry::Vacant(place) => drop(place.insert(1)),
                    // Written once more: here a value says nothing any more about who wrote it.
                    btree_map::Entry::Occupied(_) => drop(ambiguous.insert(place)),
                }
            }
        }
    }

    /// What a form shows beside the members of a group that are typed is written with them: where the row shows another value by now,
    /// it takes the place of that, and may come into the log once more. Returns those fields.
    fn given_back(
        &mut self,
        at: usize,
        schema: &Schema,
        table: &Table,
        form: &RowView,
        typed: &BTreeMap<FieldTag, Value>,
    ) -> Result<BTreeSet<FieldTag>> {
        let Some(now) = self.shown(at, schema, form.key)? else { return Ok(BTreeSet::new()) };
        let mut fields: BTreeSet<FieldTag> = typed.keys().flat_map(|field| table.unit(field)).copied().collect();
        fields.retain(|field| !typed.contains_key(field) && now.value(*field) != form.value(*field));
        for field in &fields {
            let place = ((form.key, *field), content(form.value(*field)));
            if let Some(times) = self.oracles.ledger.written.get_mut(&place) {
                *times += 1;
            }
        }
        Ok(fields)
    }

    fn accepted(&mut self, at: usize, key: RowKey, table: &Table, values: &BTreeMap<FieldTag, Value>) {
        for (field, value) in values {
            self.oracles.ledger.saw(at, key, *field, value);
            // Nothing stands for itself no longer than anything else.
            self.oracles.ledger.stands_no_more(at, key, *field, None);
            if is_traced(table, *field) && !value.is_null() {
                self.oracles.ledger.stands(at, key, *field, value);
            }
        }
    }

    /// The form of a row that was opened earlier and is used up now, where a person goes on from it.
    fn form(&mut self, at: usize, schema: &Schema, key: RowKey, from_form: bool) -> Result<Option<Form>> {
        let form = if from_form { self.devices[at].forms.remove(&key) } else { None };
        if let Some(form) = &form {
            // The form is older than what this store knows by now: it is right to be asked about one's own newer edits.
            let is_behind = self.oracles.ledger.written_behind.remove(&(at, key));
            if is_behind || self.shown(at, schema, key)?.is_none_or(|now| now.values != form.view.values) {
                self.oracles.ledger.old_forms.insert((at, key));
            }
        }
        Ok(form)
    }

    /// What a person was shown before a write counts as seen, whatever becomes of the write.
    fn update(
        &mut self,
        at: usize,
        key: RowKey,
        table: &Table,
        values: BTreeMap<FieldTag, Value>,
        from_form: bool,
    ) -> Result<()> {
        let Some(schema) = self.devices[at].engine.as_ref().and_then(|engine| engine.schema().cloned()) else {
            return Ok(());
        };
        let form = self.form(at, &schema, key, from_form)?;
        let Some(displayed) = form.as_ref().map_or_else(|| self.shown(at, &schema, key), |form| Ok(Some(form.view.clone())))?
        else {
            return Ok(());
        };
        let taken_back = self.oracles.ledger.taken_back.contains(&(at, key));
        let before = self.entry(at, key)?;
        let seen: Option<Seen> = form.as_ref().map(|form| form.view.seen.clone());
        for field in &table.fields {
            let touched = table.strict || table.unit(&field.tag).iter().any(|member| values.contains_key(member));
            if touched {
                self.oracles.ledger.saw(at, key, field.tag, displayed.value(field.tag));
            }
        }
        self.may_come(&[(key, values.clone())], table);
        let given_back = self.given_back(at, &schema, table, &displayed, &values)?;
        let write = LocalWrite { key, write: Write::Update(values.clone()), seen };
        if self.write(at, vec![write], None)? {
            self.oracles.ledger.touched(at, key);
            if let Some(engine) = &self.devices[at].engine {
                self.oracles.saved(at, engine, &displayed, &values)?;
            }
            if let (Some(form), Some(made), Some(mirror)) =
                (form.filter(|_| !taken_back), self.pending(at, key)?, self.mirror(at, key)?)
            {
                // What was pending before stays on its base where the form showed it, or wrote nothing; and what is in flight is the
                // base of what is written behind it.
                let is_written = |field| table.unit(&field).iter().any(|member| values.contains_key(member));
                let sent = before.as_ref().and_then(|before| before.sent.as_ref());
                let is_in_flight = |field| sent.is_some_and(|sent| sent.pending.fields.contains_key(&field));
                let is_of_others = |field| !form.own.contains(&field) && !is_in_flight(field);
                let is_judged = |field| before.is_none() || (is_written(field) && is_of_others(field));
                self.oracles.form_saved(at, &form.view, &mirror, &made, is_judged)?;
            }
            self.accepted(at, key, table, &values);
            given_back.iter().for_each(|field| self.oracles.ledger.stands_no_more(at, key, *field, None));
            // What is back at its base has left the outbox, and stands for nothing.
            self.forget_what_left(at, &[key].into())?;
        }
        Ok(())
    }

    fn delete(&mut self, at: usize, schema: &Schema, row: usize, from_form: bool) -> Result<()> {
        let Some((key, _)) = self.row_in(schema, row) else { return Ok(()) };
        let form = self.form(at, schema, key, from_form)?;
        let displayed = form.as_ref().map_or_else(|| self.shown(at, schema, key), |form| Ok(Some(form.view.clone())))?;
        let Some(displayed) = displayed else { return Ok(()) };
        self.saw_all(at, schema, key, Some(&displayed))?;
        let account = self.oracles.ledger.account(at, self.with_group(at, key)?);
        let seen = form.map(|form| form.view.seen);
        self.say(|| format!("device {at} deletes {key:?}, seen {seen:?}"));
        if let Some(before) = self.undoable(at, &[key].into(), |engine, now_ms| engine.delete(key, seen, now_ms))? {
            self.oracles.ledger.forget_row(at, key);
            // A create that never left is gone with its deletion; a copy of the store may send it all the same.
            let shares_a_past = self.oracles.ledger.earlier_lives.contains(&at);
            let was_sent = self.oracles.ledger.sent_creates.contains(&(at, key));
            if self.entry(at, key)?.is_some() || was_sent || !shares_a_past {
                self.oracles.ledger.deletions.insert((at, key));
            }
            self.is_gone(at, before, account);
        }
        Ok(())
    }

    /// A person is shown the whole row.
    fn saw_all(&mut self, at: usize, schema: &Schema, key: RowKey, displayed: Option<&RowView>) -> Result<()> {
        let view = displayed.cloned().map_or_else(|| self.shown(at, schema, key), |view| Ok(Some(view)))?;
        if let (Some(view), Some(table)) = (view, schema.table(key.table)) {
            for field in &table.fields {
                self.oracles.ledger.saw(at, key, field.tag, view.value(field.tag));
            }
        }
        Ok(())
    }

    fn group(&mut self, at: usize, schema: &Schema, rows: &[usize], value: u64) -> Result<()> {
        let mut writes: BTreeMap<RowKey, LocalWrite> = BTreeMap::new();
        let mut places = BTreeMap::new();
        for row in rows {
            let Some((key, table)) = self.row_in(schema, *row) else { continue };
            let Some(displayed) = self.shown(at, schema, key)? else { continue };
            let Some(field) = table.fields.iter().find(|field| is_traced(&table, field.tag) && !field.required) else {
                continue;
            };
            let value = value_of(field, value);
            for seen in &table.fields {
                if table.strict || table.unit(&field.tag).contains(&seen.tag) {
                    self.oracles.ledger.saw(at, key, seen.tag, displayed.value(seen.tag));
                }
            }
            let values = BTreeMap::from([(field.tag, value.clone())]);
            self.may_come(&[(key, values.clone())], &table);
            places.insert((key, field.tag), value);
            writes.insert(key, LocalWrite { key, write: Write::Update(values), seen: None });
        }
        if writes.len() < 2 {
            return Ok(());
        }
        let id = GroupId(self.id());
        let mut together = BTreeSet::new();
        for key in writes.keys() {
            together.extend(self.with_group(at, *key)?);
        }
        let untouched = together.len() == writes.len();
        if self.write(at, writes.into_values().collect(), Some(id))? {
            for ((key, field), value) in &places {
                self.oracles.ledger.touched(at, *key);
                self.oracles.ledger.saw(at, *key, *field, value);
                self.oracles.ledger.stands(at, *key, *field, value);
            }
            let mut ids = BTreeSet::new();
            for key in &together {
                ids.extend(self.pending(at, *key)?.map(|next| next.group));
            }
            if ids.len() > 1 {
                let what = format!("store {at} made a group of {together:?}, with those that share an entry, and has {ids:?}");
                return Err(Broken::new("groups", what));
            }
            // Of groups that are one now only plain ones are followed.
            if untouched {
                let writes = places.into_iter().map(|(place, value)| (place, content(&value))).collect();
                self.oracles.ledger.groups.insert(id, Group { store: at, writes });
            }
        }
        Ok(())
    }

    /// A person discards what is pending of a row.
    ///
    /// # Errors
    /// [`super::oracles::Broken`].
    pub fn discard(&mut self, at: usize, key: RowKey) -> Result<()> {
        let keys = self.with_group(at, key)?;
        self.give_up(at, &keys, |engine, now_ms| engine.discard(key, None, now_ms))
    }

    /// Discards, so that it can be put back.
    fn give_up(
        &mut self,
        at: usize,
        keys: &BTreeSet<RowKey>,
        act: impl FnOnce(&mut Engine, i64) -> Result<Before, LocalError>,
    ) -> Result<()> {
        let account = self.oracles.ledger.account(at, keys.clone());
        if let Some(before) = self.undoable(at, keys, act)? {
            self.given_up(at, keys)?;
            self.is_gone(at, before, account);
        }
        Ok(())
    }

    fn undoable(
        &mut self,
        at: usize,
        keys: &BTreeSet<RowKey>,
        act: impl FnOnce(&mut Engine, i64) -> Result<Before, LocalError>,
    ) -> Result<Option<Before>> {
        let mut before = None;
        let done = self.local(at, keys, |engine, now_ms| act(engine, now_ms).map(|was| before = Some(was)))?;
        Ok(before.filter(|_| done))
    }

    /// What the ledger lost since this account can be put back.
    fn is_gone(&mut self, at: usize, before: Before, account: Account) {
        let account = self.oracles.ledger.gone(account);
        self.devices[at].gone.push(Gone { before, account });
    }

    /// A person takes the last discard or deletion back.
    fn put_back(&mut self, at: usize) -> Result<()> {
        let Some(Gone { before, account }) = self.devices[at].gone.pop() else { return Ok(()) };
        self.say(|| format!("device {at} puts back {before:?}"));
        if self.local(at, &account.keys, |engine, now_ms| engine.put_back(&before, now_ms))? {
            for key in &account.keys {
                self.oracles.ledger.touched(at, *key);
                self.form_is_behind(at, *key);
                // It is on the bases that it had, whatever was seen meanwhile.
                self.oracles.ledger.old_forms.insert((at, *key));
            }
            self.oracles.ledger.is_back(account);
            self.counts.put_back += 1;
        }
        Ok(())
    }

    fn resolve(&mut self, at: usize, schema: &Schema, which: usize, how: u8, value: u64) -> Result<()> {
        let conflicts = self.conflicts(at, schema)?;
        let Some(now) = pick(&conflicts, which).cloned() else { return Ok(()) };
        let dialog = self.devices[at].dialogs.remove(&now.key).unwrap_or(now);
        self.decide(at, schema, &dialog, how, value)
    }

    /// A person decides a conflict as a dialog shows it.
    ///
    /// # Errors
    /// [`super::oracles::Broken`].
    pub fn decide(&mut self, at: usize, schema: &Schema, dialog: &ConflictView, how: u8, value: u64) -> Result<()> {
        self.oracles.ledger.begin();
        let key = dialog.key;
        let Some(table) = schema.table(key.table) else { return Ok(()) };
        let resolution = match how % 8 {
            0..3 => Resolution::AllMine,
            3 | 4 => Resolution::AllServer,
            _ => {
                let mut choices = BTreeMap::new();
                for field in &dialog.conflict.fields {
                    let typed = table.field(*field).filter(|_| is_traced(table, *field)).map(|field| value_of(field, value));
                    let choice = match (self.rng.below(3), typed) {
                        (0, Some(value)) => Choice::Value(value),
                        (1, _) => Choice::Server,
                        _ => Choice::Mine,
                    };
                    choices.insert(*field, choice);
                }
                Resolution::Fields(choices)
            }
        };
        let keys = self.with_group(at, key)?;
        // The dialog shows base, mine and the server's side of everything.
        for field in &table.fields {
            let theirs = dialog.server.as_ref().map(|row| row.value(field.tag).clone()).unwrap_or_default();
            self.oracles.ledger.saw(at, key, field.tag, &theirs);
            if let Some(edit) = dialog.mine.fields.get(&field.tag) {
                self.oracles.ledger.saw(at, key, field.tag, &edit.value);
                // Mine, chosen again, may come into the log again.
                if is_traced(table, field.tag) {
                    *self.oracles.ledger.written.entry(((key, field.tag), content(&edit.value))).or_default() += 1;
                }
            }
        }
        if let Resolution::Fields(choices) = &resolution {
            let typed = choices.iter().filter_map(|(field, choice)| match choice {
                Choice::Value(value) => Some((*field, value.clone())),
                _ => None,
            });
            self.may_come(&[(key, typed.collect())], table);
        }
        self.oracles.ledger.revived.insert(key);
        if dialog.server.as_ref().is_none_or(|row| row.life == Life::Purged) {
            // What was purged is written again as a whole.
            let values = self.shown(at, schema, key)?.map(|view| view.values).unwrap_or_default();
            for (field, value) in values.iter().filter(|(field, _)| is_traced(table, **field)) {
                *self.oracles.ledger.written.entry(((key, *field), content(value))).or_default() += 1;
            }
        }
        if dialog.conflict.kind == ConflictKind::DeleteUpdate || self.devices[at].forms.contains_key(&key) {
            // Edits that a delete swallowed come back with it on their own bases, should it be taken back; and a form from
            // before the decision shows what was undecided then.
            self.oracles.ledger.old_forms.insert((at, key));
        }
        self.saw_rivals(at, schema, dialog)?;
        self.say(|| format!("device {at} decides {resolution:?} of {dialog:?}"));
        let undecided = self.pending(at, key)?;
        if !self.local(at, &keys, |engine, now_ms| engine.resolve(key, Some(dialog), &resolution, now_ms))? {
            return Ok(());
        }
        self.counts.decisions += 1;
        self.oracles.ledger.touched(at, key);
        self.form_is_behind(at, key);
        if dialog.conflict.kind == ConflictKind::UpdateDelete && resolution == Resolution::AllServer {
            self.oracles.ledger.let_go.insert((at, key));
        }
        if let Some(undecided) = undecided {
            self.left_to_the_server(at, dialog, &undecided)?;
            if let Resolution::Fields(choices) = &resolution {
                self.typed(at, table, key, choices, &undecided);
            }
        }
        // Giving up a create over a clash, or a whole group, is the owner's wish; otherwise what lost stays readable.
        let clash = dialog.conflict.kind == ConflictKind::Unique;
        let deletes = dialog.conflict.kind == ConflictKind::DeleteUpdate;
        if clash || deletes || (keys.len() > 1 && resolution == Resolution::AllServer) {
            self.given_up(at, &keys)?;
        } else if let Resolution::Fields(_) = resolution
            && self.pending(at, key)?.is_none_or(|next| next.op == Op::Decide)
        {
            // Nothing was kept of it, field by field: its group is given up with it, and what it lost itself stays readable.
            let others: BTreeSet<RowKey> = keys.into_iter().filter(|other| *other != key).collect();
            self.given_up(at, &others)?;
            for other in others {
                if self.pending(at, other)?.is_some_and(|next| next.op != Op::Decide) {
                    let what = format!("store {at} gave up {key:?} and still has {other:?} of its group");
                    return Err(Broken::new("groups", what));
                }
            }
        }
        Ok(())
    }

    /// What a decision took out of an entry stands for nothing where it was no edit, being the value that its author saw (a field
    /// that is set back, or the other member of a group, O2), and where the dialog showed that the server has that very value:
    /// then it did not lose, and from now on it is the edit of whoever wrote it there. All else has lost, and is to be kept.
    fn left_to_the_server(&mut self, at: usize, dialog: &ConflictView, undecided: &Pending) -> Result<()> {
        let key = dialog.key;
        let now = self.pending(at, key)?;
        for (field, edit) in &undecided.fields {
            let stays = now.as_ref().is_some_and(|now| {
                now.fields.get(field).is_some_and(|now| now.value == edit.value)
                    || now.lost.iter().any(|lost| (lost.field, &lost.value) == (*field, &edit.value))
            });
            let is_at_server = dialog.server.as_ref().is_some_and(|row| *row.value(*field) == edit.value);
            if !stays && (is_at_server || edit.base_value.as_ref() == Some(&edit.value)) {
                self.oracles.ledger.standing.remove(&(at, key, *field, content(&edit.value)));
            }
        }
        Ok(())
    }

    /// What was typed in a decision stands as any other write does, and beside it the edit that lost to it.
    fn typed(&mut self, at: usize, table: &Table, key: RowKey, choices: &BTreeMap<FieldTag, Choice>, undecided: &Pending) {
        for (field, choice) in choices {
            let Choice::Value(value) = choice else { continue };
            self.oracles.ledger.saw(at, key, *field, value);
            let mine = undecided.fields.get(field).filter(|edit| edit.base_value.as_ref() != Some(&edit.value));
            let stands = (is_traced(table, *field) && !value.is_null()).then_some(value);
            self.oracles.ledger.decided(at, key, *field, stands, mine.map(|edit| &edit.value));
        }
    }

    /// What is pending of a row and not in flight.
    fn pending(&self, at: usize, key: RowKey) -> Result<Option<Pending>> {
        let Some(engine) = &self.devices[at].engine else { return Ok(None) };
        Ok(engine.store().read()?.entry(key)?.and_then(|entry| entry.next))
    }

    /// What of a row waits to be sent, or for an answer.
    fn entry(&self, at: usize, key: RowKey) -> Result<Option<Entry>> {
        let Some(engine) = &self.devices[at].engine else { return Ok(None) };
        Ok(engine.store().read()?.entry(key)?.filter(|entry| !entry.is_empty()))
    }

    /// Who takes a unique value over sees the row that has it, whichever that is by then.
    fn saw_rivals(&mut self, at: usize, schema: &Schema, dialog: &ConflictView) -> Result<()> {
        let Some(table) = schema.table(dialog.key.table) else { return Ok(()) };
        if dialog.conflict.kind != ConflictKind::Unique {
            return Ok(());
        }
        let rivals: Vec<RowKey> = self.rows.iter().filter(|key| key.table == table.tag).copied().collect();
        for rival in rivals {
            self.saw_all(at, schema, rival, None)?;
            for field in table.fields.iter().filter(|field| field.unique) {
                self.oracles.ledger.ambiguous.insert((rival, field.tag));
            }
        }
        Ok(())
    }

    /// What is not in the outbox of these rows any more was given up by its owner.
    fn given_up(&mut self, at: usize, keys: &BTreeSet<RowKey>) -> Result<()> {
        for key in keys {
            self.oracles.ledger.touched(at, *key);
            self.form_is_behind(at, *key);
        }
        self.forget_what_left(at, keys)
    }

    /// An open form shows what was pending, and is not any more.
    fn form_is_behind(&mut self, at: usize, key: RowKey) {
        if self.devices[at].forms.contains_key(&key) {
            self.oracles.ledger.taken_back.insert((at, key));
        }
    }

    fn forget_what_left(&mut self, at: usize, keys: &BTreeSet<RowKey>) -> Result<()> {
        let Some(engine) = &self.devices[at].engine else { return Ok(()) };
        let tables = engine.store().read()?;
        for key in keys {
            let entry = tables.entry(*key)?;
            let held: BTreeSet<_> = entry
                .iter()
                .flat_map(|entry| entry.layers())
                .flat_map(|pending| pending.fields.iter().map(|(field, edit)| (*field, content(&edit.value))))
                .collect();
            self.oracles
                .ledger
                .standing
                .retain(|(store, row, field, value)| (*store, row) != (at, key) || held.contains(&(*field, value.clone())));
        }
        Ok(())
    }
}

fn pick<T>(from: &[T], index: usize) -> Option<&T> {
    from.get(index % from.len().max(1))
}

/// A field that people type into.
fn free_field(table: &Table, index: usize) -> Option<&Field> {
    let free: Vec<&Field> = table.fields.iter().filter(|field| field.reference.is_none()).collect();
    free.get(index % free.len().max(1)).copied()
}

/// Whether values of a field are written by one person only, so that they can be followed.
pub fn is_traced(table: &Table, field: FieldTag) -> bool {
    table.field(field).is_some_and(|field| !field.unique && field.choices.is_empty() && field.reference.is_none())
}

fn value_of(field: &Field, value: u64) -> Value {
    match field.kind {
        _ if field.unique => Value::text(&format!("u{}", value % UNIQUE_VALUES)),
        _ if !field.choices.is_empty() => Value::text(&field.choices[value as usize % field.choices.len()]),
        Kind::Int => Value::Int(value as i64),
        _ => Value::text(&format!("v{value}")),
    }
}
