//! What others replaced under a pending change: values that a person had seen in fields that they did not touch. A conflict
//! shows them as the base of what only others changed. Nothing is decided by them, so a store in which they are missing shows
//! less and is as right as any.

use crate::step::Step;
use crate::store::{Displaced, StoreError};
use tombolo_protocol::change::Op;
use tombolo_protocol::ids::{FieldTag, Seq};
use tombolo_protocol::outbox::Entry;
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::row::{Life, Row};
use tombolo_protocol::value::Value;

impl Step<'_, '_> {
    /// Keeps what `row` replaced of what the person saw who made the pending changes of `entry`. `before` says what a field was, and
    /// at which seq it is known to have been that.
    pub fn displace(&mut self, entry: &Entry, before: impl Fn(FieldTag) -> (Value, Seq), row: &Row) -> Result<(), StoreError> {
        // Before a new row there was nothing.
        let bases: Vec<Seq> = entry.layers().filter(|layer| layer.op != Op::Create).map(|layer| layer.row_base).collect();
        // What is in flight may be what replaces it: then nobody else did.
        let in_flight = |field: &FieldTag| entry.sent.as_ref().is_some_and(|sent| sent.pending.fields.contains_key(field));
        let known = self.tables.displaced(entry.key)?;
        let mut kept: Vec<Displaced> =
            known.iter().filter(|displaced| bases.iter().any(|base| displaced.stood_at(*base))).cloned().collect();
        for (field, now) in row.fields.iter().filter(|(field, _)| !in_flight(field)) {
            let (value, from) = before(*field);
            let from = if planted(Planted::NewestDisplaced) { Seq(0) } else { from };
            let displaced = Displaced { field: *field, value, from, until: now.stamp };
            if planted(Planted::NewestDisplaced) {
                kept.retain(|kept| kept.field != *field);
            }
            let is_kept = |base: &Seq| kept.iter().any(|kept| kept.field == *field && kept.stood_at(*base));
            if bases.iter().any(|base| displaced.stood_at(*base) && !is_kept(base)) {
                kept.push(displaced);
            }
        }
        if kept == known { Ok(()) } else { self.tables.set_displaced(entry.key, &kept) }
    }

    /// A person has decided about this row as a dialog showed it: whatever the base of what is pending is, that is what they have
    /// seen of it, until the next decision.
    pub fn displaced_by_now(&mut self, entry: &Entry, shown: &Row) -> Result<(), StoreError> {
        let Some(next) = &entry.next else { return Ok(()) };
        let newer = shown.fields.iter().filter(|(_, stamped)| stamped.stamp > next.row_base);
        let seen = newer.map(|(field, stamped)| Displaced {
            field: *field,
            value: stamped.value.clone(),
            from: next.row_base,
            until: Seq(u64::MAX),
        });
        self.tables.set_displaced(entry.key, &seen.collect())
    }

    /// As [`Self::displace`], where the mirror held `before`. Of a purged row nobody knows what it was.
    pub fn displace_row(&mut self, entry: &Entry, before: &Row, row: &Row) -> Result<(), StoreError> {
        if before.life == Life::Purged {
            return Ok(());
        }
        self.displace(entry, |field| (before.value(field).clone(), before.stamp(field)), row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::local::LocalWrite;
    use crate::store::Store;
    use crate::testing::{account, clinic_schema};
    use crate::view::{ConflictView, conflicts, get};
    use redb::backends::InMemoryBackend;
    use std::collections::BTreeMap;
    use tombolo_protocol::cursor::Cursors;
    use tombolo_protocol::ids::{PushNo, RowId, RowKey, RowNo, Section, TableTag, Version};
    use tombolo_protocol::outbox::{Choice, Resolution, Review, Seen, Sent, Write};
    use tombolo_protocol::row::{FieldState, RowName, RowState, StateKind};

    const SITES: Section = Section { table: TableTag(1), scope: None };
    const NAME: FieldTag = FieldTag(1);
    const DISTRICT: FieldTag = FieldTag(2);

    fn key() -> RowKey {
        RowKey { table: SITES.table, id: RowId::from_bytes([7; 16]) }
    }

    fn text(value: &str) -> Value {
        Value::text(value)
    }

    /// A device that has the site "Kilifi" in "Coast", as others made it in commit 5.
    fn device() -> Engine {
        let mut engine = Engine::open(Store::with_backend(InMemoryBackend::new()).unwrap(), 1).unwrap();
        engine.logged_in(account("http://server"), Some(clinic_schema())).unwrap();
        comes(&engine, 5, &[(NAME, "Kilifi"), (DISTRICT, "Coast")]);
        engine
    }

    fn state(seq: u64, fields: &[(FieldTag, &str)], whole: bool) -> RowState {
        let fields = fields.iter().map(|(field, value)| FieldState { field: *field, stamp: Seq(seq), value: text(value) });
        RowState {
            table: SITES.table,
            name: RowName::Id(key().id, RowNo(1)),
            kind: StateKind::Live,
            whole,
            as_sent: false,
            seq: Seq(seq),
            version: Version(seq),
            since: Seq(if whole { seq } else { 5 }),
            fields: fields.collect(),
        }
    }

    /// Others changed these fields in a commit, and it comes here.
    fn comes(engine: &Engine, seq: u64, fields: &[(FieldTag, &str)]) {
        puts(engine, &state(seq, fields, seq == 5));
    }

    fn puts(engine: &Engine, state: &RowState) {
        let schema = engine.schema().unwrap().clone();
        let store = engine.store();
        let done = store.write(|tables| -> Result<(), StoreError> {
            let mut step = Step::begin(tables, &schema, 1)?;
            step.cursors = Cursors { sections: [SITES].into(), ..Cursors::default() };
            step.put_rows([state])?;
            step.end().map(drop)
        });
        done.unwrap();
    }

    fn seen(engine: &Engine) -> Option<Seen> {
        Some(get(&engine.store().read().unwrap(), engine.schema().unwrap(), key()).unwrap().unwrap().seen)
    }

    fn rename(engine: &mut Engine, name: &str, seen: Option<Seen>) {
        let write = Write::Update(BTreeMap::from([(NAME, text(name))]));
        engine.write(vec![LocalWrite { key: key(), write, seen }], None, 1).unwrap();
    }

    /// A device on which somebody has given the site another name.
    fn edited() -> Engine {
        let mut engine = device();
        let shown = seen(&engine);
        rename(&mut engine, "Mine", shown);
        engine
    }

    fn conflict(engine: &Engine) -> ConflictView {
        conflicts(&engine.store().read().unwrap(), engine.schema().unwrap()).unwrap().remove(0)
    }

    fn bases(engine: &Engine) -> (Option<Value>, Option<Value>) {
        let view = conflict(engine);
        (view.base(NAME).cloned(), view.base(DISTRICT).cloned())
    }

    #[test]
    fn of_what_only_others_changed_the_value_from_before_the_edit_is_known() {
        let engine = edited();
        comes(&engine, 8, &[(DISTRICT, "North")]);
        comes(&engine, 9, &[(NAME, "Theirs"), (DISTRICT, "South")]);
        assert_eq!(bases(&engine), (Some(text("Kilifi")), Some(text("Coast"))), "and not what came in between");
        assert_eq!(engine.store().read().unwrap().displaced(key()).unwrap().len(), 2, "one for each field, whatever comes");
    }

    #[test]
    fn of_what_came_while_the_form_was_open_it_is_what_the_form_showed() {
        let mut engine = device();
        let shown = seen(&engine);
        comes(&engine, 8, &[(DISTRICT, "North")]);
        rename(&mut engine, "Mine", shown);
        comes(&engine, 9, &[(NAME, "Theirs")]);
        assert_eq!(bases(&engine), (Some(text("Kilifi")), Some(text("Coast"))));
    }

    #[test]
    fn of_what_moved_since_an_unknown_view_it_is_not_known() {
        let mut engine = device();
        comes(&engine, 8, &[(DISTRICT, "North")]);
        rename(&mut engine, "Mine", Some(Seen { seq: Seq(5), ..Seen::default() }));
        comes(&engine, 9, &[(NAME, "Theirs")]);
        assert_eq!(bases(&engine), (Some(text("Kilifi")), None));
    }

    #[test]
    fn of_what_came_while_a_decision_was_taken_it_is_what_the_dialog_showed() {
        let mut engine = Engine::open(Store::with_backend(InMemoryBackend::new()).unwrap(), 1).unwrap();
        engine.logged_in(account("http://server"), Some(clinic_schema())).unwrap();
        let made = Write::Create(BTreeMap::from([(NAME, text("Mine"))]));
        engine.write(vec![LocalWrite { key: key(), write: made, seen: None }], None, 1).unwrap();
        comes(&engine, 5, &[(NAME, "Kilifi"), (DISTRICT, "Coast")]);
        assert_eq!(bases(&engine), (Some(Value::Null), Some(Value::Null)), "before a new row there was nothing");
        let dialog = conflict(&engine);
        comes(&engine, 8, &[(DISTRICT, "North")]);
        let mine = Resolution::Fields([(NAME, Choice::Mine), (DISTRICT, Choice::Server)].into());
        engine.resolve(key(), Some(&dialog), &mine, 1).unwrap();
        comes(&engine, 9, &[(NAME, "Theirs")]);
        assert_eq!(bases(&engine), (Some(text("Kilifi")), Some(text("Coast"))));
    }

    #[test]
    fn behind_a_decision_it_is_what_the_dialog_showed() {
        let mut engine = edited();
        comes(&engine, 8, &[(DISTRICT, "North")]);
        comes(&engine, 9, &[(NAME, "Theirs")]);
        let dialog = conflict(&engine);
        comes(&engine, 10, &[(DISTRICT, "South")]);
        engine.resolve(key(), Some(&dialog), &Resolution::AllMine, 1).unwrap();
        comes(&engine, 11, &[(NAME, "Again")]);
        assert_eq!(bases(&engine), (Some(text("Theirs")), Some(text("North"))));
    }

    #[test]
    fn behind_a_clash_with_another_row_it_is_what_it_was() {
        let mut engine = edited();
        comes(&engine, 8, &[(DISTRICT, "North")]);
        let clashed = engine.store().write(|tables| {
            let mut entry = tables.entry(key())?.unwrap();
            entry.next.as_mut().unwrap().review = Some(Review::Clash { field: NAME, with: None });
            tables.put_entry(&entry)
        });
        clashed.unwrap();
        engine.resolve(key(), None, &Resolution::AllMine, 1).unwrap();
        comes(&engine, 9, &[(NAME, "Theirs")]);
        assert_eq!(bases(&engine), (Some(text("Kilifi")), Some(text("Coast"))));
    }

    #[test]
    fn what_was_my_own_in_flight_is_replaced_by_nobody() {
        let engine = edited();
        let store = engine.store();
        let in_flight = store.write(|tables| {
            let mut entry = tables.entry(key())?.unwrap();
            let pending = entry.next.take().unwrap();
            entry.sent = Some(Sent { number: PushNo(1), generation: entry.generation, view_base: Seq(5), pending });
            tables.put_entry(&entry)
        });
        in_flight.unwrap();
        // It is accepted, and comes with what others changed.
        comes(&engine, 9, &[(NAME, "Mine"), (DISTRICT, "North")]);
        let kept = engine.store().read().unwrap().displaced(key()).unwrap();
        assert_eq!(kept.iter().map(|kept| kept.field).collect::<Vec<_>>(), [DISTRICT]);
    }

    #[test]
    fn what_did_not_move_is_its_own_base() {
        let engine = edited();
        comes(&engine, 9, &[(NAME, "Theirs")]);
        assert_eq!(bases(&engine), (Some(text("Kilifi")), Some(text("Coast"))));
    }

    #[test]
    fn of_what_was_purged_and_came_back_it_is_what_the_last_full_row_had() {
        let engine = edited();
        let gone = |kind, seq, whole| RowState { kind, ..state(seq, &[], whole) };
        puts(&engine, &gone(StateKind::Deleted, 8, false));
        puts(&engine, &gone(StateKind::Purged, 9, true));
        assert_eq!(conflict(&engine).base(DISTRICT), None, "there is no row to say it");
        puts(&engine, &state(12, &[(NAME, "Theirs"), (DISTRICT, "South")], true));
        assert_eq!(bases(&engine), (Some(text("Kilifi")), Some(text("Coast"))));
    }

    #[test]
    fn it_goes_with_what_was_pending_and_comes_back_with_it() {
        let mut engine = edited();
        comes(&engine, 8, &[(DISTRICT, "North")]);
        let before = engine.discard(key(), None, 1).unwrap();
        assert_eq!(engine.store().read().unwrap().displaced(key()).unwrap(), Vec::new());
        // Nothing was pending when this came.
        comes(&engine, 9, &[(NAME, "Theirs")]);
        let phone = FieldTag(3);
        comes(&engine, 10, &[(phone, "555")]);
        engine.put_back(&before, 1).unwrap();
        assert_eq!(bases(&engine), (Some(text("Kilifi")), Some(text("Coast"))));
        assert_eq!(conflict(&engine).base(phone), Some(&Value::Null));
    }
}
