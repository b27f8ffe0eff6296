//! A person's decision of a conflict, and what a unique value that changes hands asks of the other row.

use super::{LocalError, LocalWrite};
use crate::step::Step;
use crate::store::StoreError;
use crate::view::ConflictView;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::change::{Op, Refusal};
use tombolo_protocol::ids::{FieldTag, GroupId, RowKey};
use tombolo_protocol::outbox::{Choice, Pending, Resolution, ResolveError, Review, Write, conflict, resolve, shown};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Field, Table};
use tombolo_protocol::value::Value;

impl Step<'_, '_> {
    /// A unique value changes hands: the row that has it gives it up, in one group with the row that takes it (P7). Where it
    /// may be empty, it becomes empty; a required text becomes "VALUE (2)", or the next number that no row here has; anything
    /// else cannot be taken.
    fn take_over(&mut self, rival: RowKey, field: FieldTag, taking: &mut Pending, own: Option<&Row>) -> Result<(), LocalError> {
        let mirror = self.tables.mirror(rival)?.map(|held| held.row);
        let has = shown(mirror.as_ref(), self.tables.entry(rival)?.as_ref()).and_then(|mut values| values.remove(&field));
        // A restored or moved row brings what it had along.
        let wanted = taking.fields.get(&field).map(|edit| &edit.value).or(own.map(|row| row.value(field)));
        // It may have let go of it meanwhile, here or at the server.
        if has.is_none() || has.as_ref() != wanted {
            return Ok(());
        }
        let table = self.schema.table(rival.table).ok_or(LocalError::UnknownTable)?;
        let field = table.field(field).ok_or(ResolveError::Taken)?;
        let left = match has {
            Some(Value::Text(text)) if field.required => self.renamed(table, field, &text)?.ok_or(ResolveError::Taken)?,
            _ if field.required => return Err(ResolveError::Taken.into()),
            _ => Value::Null,
        };
        let group = *taking.group.get_or_insert(GroupId(rival.id.0));
        let release = Write::Update(BTreeMap::from([(field.tag, left)]));
        self.write_row(LocalWrite { key: rival, write: release, seen: None }, Some(group))
    }

    /// A text with the least number behind it that no row of the table has, as far as this device knows; `None` where the field
    /// does not allow such a text.
    fn renamed(&self, table: &Table, field: &Field, text: &str) -> Result<Option<Value>, StoreError> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut take = |value: &Value| {
            if let Value::Text(text) = value {
                taken.insert(text.clone());
            }
        };
        for held in self.tables.mirror_rows(table.tag, None)? {
            take(held?.row.value(field.tag));
        }
        for entry in self.tables.entries_of(table.tag, None)? {
            let entry = entry?;
            entry.layers().filter_map(|layer| layer.fields.get(&field.tag)).for_each(|edit| take(&edit.value));
        }
        Ok((2..=taken.len() + 2)
            .filter_map(|number| numbered(text, number, field.max_length))
            .find(|text| !taken.contains(text))
            .map(|text| Value::text(&text))
            .filter(|value| field.check(value).is_ok()))
    }

    pub(super) fn resolve_row(
        &mut self,
        key: RowKey,
        dialog: Option<&ConflictView>,
        resolution: &Resolution,
    ) -> Result<(), LocalError> {
        let table = self.schema.table(key.table).ok_or(LocalError::UnknownTable)?;
        let mut entry = self.tables.entry(key)?.ok_or(ResolveError::NoConflict)?;
        if entry.sent.is_some() {
            return Err(LocalError::InFlight);
        }
        // What was decided about one change is not done to another that the person made since.
        if let (Some(dialog), Some(next)) = (dialog, &entry.next)
            && !dialog.mine.does_the_same(next)
        {
            return Err(ResolveError::Moved.into());
        }
        let mirror = self.tables.mirror(key)?.map(|held| held.row);
        let shown = dialog.and_then(|dialog| dialog.server.as_ref());
        // Newer deltas may have come; a row that the dialog showed of another history is no base for anything (H3).
        if let Some(shown) = shown
            && !self.tables.mirror(shown.key)?.is_some_and(|held| held.row.follows(shown))
        {
            return Err(ResolveError::Moved.into());
        }
        // A clash shows the other row; what was decided about one is not done to another.
        let clash = entry.next.as_ref().and_then(|next| next.review.as_ref());
        if let (Some(shown), Some(Review::Clash { with: Some(other), .. })) = (shown, clash)
            && shown.key != key
            && shown.key.id != *other
        {
            return Err(ResolveError::Moved.into());
        }
        let server = shown.filter(|shown| shown.key == key).or(mirror.as_ref());
        let is_clash = matches!(clash, Some(Review::Clash { .. }));
        let next = entry.next.as_mut().ok_or(ResolveError::NoConflict)?;
        let group = next.group;
        match conflict(table, next, server) {
            Some(conflict) => {
                let rival = rival(next, resolution, key);
                resolve(table, &mut entry, &conflict, server, resolution, self.now_ms)?;
                if let Some((rival, field)) = rival
                    && let Some(next) = &mut entry.next
                {
                    self.take_over(rival, field, next, mirror.as_ref())?;
                }
            }
            // What was refused, or is offered again: mine sends it again, the server's gives it up.
            None if next.review.is_some() => match resolution {
                Resolution::AllMine => {
                    next.review = None;
                    next.rounds = 0;
                }
                Resolution::AllServer => entry.next = entry.next.take().and_then(Pending::given_up),
                Resolution::Fields(_) => return Err(ResolveError::WholeRow.into()),
            },
            None => return Err(ResolveError::NoConflict.into()),
        }
        entry.generation = self.next_generation();
        self.touched.insert(key);
        self.put_entry(&entry)?;
        // A clash shows the other row, and nothing of this one.
        let seen = if dialog.is_some() { shown.filter(|shown| shown.key == key) } else { mirror.as_ref() };
        if let (Some(seen), Some(row), false) = (seen, &mirror, is_clash || entry.is_empty()) {
            self.displaced_by_now(&entry, seen)?;
            self.displace_row(&entry, seen, row)?;
        }
        if let Some(group) = entry.next.as_ref().and_then(|next| next.group) {
            self.check_group(group)?;
        }
        let Some(group) = group else { return Ok(()) };
        // Giving up one member gives up the group, also field by field: half of it was never meant.
        let is_given_up = match resolution {
            Resolution::AllMine => false,
            Resolution::AllServer => true,
            Resolution::Fields(_) => entry.next.as_ref().is_none_or(|next| next.op == Op::Decide),
        };
        let mut members = self.members(group)?;
        members.retain(|member| member.key != key);
        // Nobody gives up what the dialog did not show.
        let at_stake = members.iter().filter_map(|member| Some((member.key, member.next.as_ref()?)));
        if is_given_up && dialog.is_some_and(|dialog| !dialog.is_together_with(at_stake)) {
            return Err(ResolveError::Moved.into());
        }
        for mut member in members {
            match &mut member.next {
                next if is_given_up => *next = next.take().and_then(Pending::given_up),
                // What could only not be delivered together goes again together.
                Some(next) if next.review == Some(Review::Refused(Refusal::Undeliverable)) => next.review = None,
                _ => continue,
            }
            member.generation = self.next_generation();
            self.touched.insert(member.key);
            self.put_entry(&member)?;
        }
        Ok(())
    }
}

/// The row that a decision for mine takes a unique value from.
fn rival(next: &Pending, resolution: &Resolution, key: RowKey) -> Option<(RowKey, FieldTag)> {
    let Some(Review::Clash { field, with: Some(other) }) = &next.review else { return None };
    let mine = match resolution {
        Resolution::AllMine => true,
        Resolution::AllServer => false,
        Resolution::Fields(choices) => choices.get(field) == Some(&Choice::Mine),
    };
    mine.then_some((RowKey { table: key.table, id: *other }, *field))
}

/// "TEXT (2)", the text cut so that all of it has at most so many characters; `None` where nothing of it would be left.
fn numbered(text: &str, number: usize, max_length: Option<u32>) -> Option<String> {
    let suffix = format!(" ({number})");
    let max_length = max_length.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let room = max_length.checked_sub(suffix.chars().count()).filter(|room| *room > 0)?;
    let kept: String = text.chars().take(room).collect();
    Some(format!("{}{suffix}", kept.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn a_numbered_text_is_cut_to_what_the_field_holds() {
        assert_eq!(numbered("Lamu", 2, None).as_deref(), Some("Lamu (2)"));
        assert_eq!(numbered("Lamu Öst", 12, Some(10)).as_deref(), Some("Lamu (12)"));
        assert_eq!(numbered("Übersee", 2, Some(5)).as_deref(), Some("Ü (2)"));
        assert_eq!(numbered("Lamu", 2, Some(4)), None);
    }
}
