//! Squash: two pending changes of one row become one (O3). Associative, and with the same effect as the sequence.
//!
//! It joins what was never sent with what was sent and came back (conflict, refusal, a new life of the store): the older
//! part is `older`.

use super::{Edit, Pending, SentBefore};
use crate::change::Op;
use crate::ids::{FieldTag, Seq};
use crate::planted::{Planted, planted};
use crate::schema::Table;
use std::collections::BTreeMap;

/// The change that has the effect of `older` and then `newer`; `None` where nothing is left. Of a table that left the schema no
/// field groups are known: what is back at its base stays in an update then.
pub fn squash(table: Option<&Table>, older: Pending, newer: Option<Pending>) -> Option<Pending> {
    let Some(newer) = newer else { return Some(older) };
    let mut lost = older.lost.clone();
    lost.extend(newer.lost.iter().cloned());
    let joined = Pending {
        lost,
        edited_at_ms: older.edited_at_ms.max(newer.edited_at_ms),
        group: newer.group.or(older.group),
        review: newer.review.clone(),
        rounds: newer.rounds,
        sent_before: older.sent_before.max(newer.sent_before),
        ..newer.clone()
    };
    let was_sent = older.sent_before != SentBefore::Never && !planted(Planted::SentCreateSquashed);
    // A strict row asks about what changed behind the oldest view that was edited in (C3).
    let is_strict = table.is_some_and(|table| table.strict);
    let seen_with = if is_strict { older.row_base.min(newer.row_base) } else { older.row_base };
    match (older.op, newer.op) {
        (_, Op::Decide) => Some(Pending { op: older.op, row_base: older.row_base, fields: older.fields, ..joined }),
        (Op::Decide, _) => Some(joined),
        (Op::Create | Op::Restore, Op::Delete) if !was_sent => joined.decision_alone(),
        // Sent once, the row may be there: the delete stays, and swallows what came before.
        (Op::Delete, Op::Delete) => Some(Pending {
            row_base: older.row_base.max(newer.row_base),
            fields: merge_fields(older.fields, newer.fields),
            ..joined
        }),
        (_, Op::Delete) => Some(Pending { fields: merge_fields(older.fields, newer.fields), ..joined }),
        // Undone before a server ever had the row: it is new again, and asked about where somebody made it all the same.
        (Op::Delete, Op::Restore | Op::Update | Op::Create) if older.swallowed_create() => Some(Pending {
            op: Op::Create,
            row_base: Seq(0),
            fields: as_new(merge_fields(older.fields, newer.fields)),
            ..joined
        }),
        (Op::Delete, Op::Restore | Op::Update | Op::Create) => {
            let fields = merge_fields(older.fields, newer.fields);
            // Sent once, the row may be gone: the wish to have it back stays.
            let op = if was_sent { Op::Restore } else { Op::Update };
            set_back(table, Pending { op, fields, ..joined })
        }
        (Op::Create, _) => {
            let fields = as_new(merge_fields(older.fields, newer.fields));
            Some(Pending { op: Op::Create, row_base: older.row_base, fields, ..joined })
        }
        (Op::Restore, Op::Restore) => Some(Pending {
            row_base: older.row_base.max(newer.row_base),
            fields: merge_fields(older.fields, newer.fields),
            ..joined
        }),
        (Op::Restore, _) => {
            Some(Pending { op: Op::Restore, row_base: seen_with, fields: merge_fields(older.fields, newer.fields), ..joined })
        }
        (Op::Update, Op::Restore | Op::Create) => {
            Some(Pending { op: Op::Restore, fields: merge_fields(older.fields, newer.fields), ..joined })
        }
        (Op::Update, Op::Update) => {
            let fields = merge_fields(older.fields, newer.fields);
            set_back(table, Pending { row_base: seen_with, fields, ..joined })
        }
    }
}

/// The newer value on the oldest base.
fn merge_fields(older: BTreeMap<FieldTag, Edit>, newer: BTreeMap<FieldTag, Edit>) -> BTreeMap<FieldTag, Edit> {
    let mut fields = older;
    for (field, edit) in newer {
        match fields.get_mut(&field) {
            Some(known) => {
                known.value = edit.value;
                known.base = known.base.min(edit.base);
            }
            None => {
                fields.insert(field, edit);
            }
        }
    }
    fields
}

/// The fields of a create: they have no base.
fn as_new(fields: BTreeMap<FieldTag, Edit>) -> BTreeMap<FieldTag, Edit> {
    let set = fields.into_iter().filter(|(_, edit)| !edit.value.is_null());
    set.map(|(field, edit)| (field, Edit { value: edit.value, base_value: None, base: Seq(0) })).collect()
}

/// Units that are back at their base leave an update. In a restore they stay: they say that what a delete before it swallowed
/// was taken back.
fn set_back(table: Option<&Table>, mut pending: Pending) -> Option<Pending> {
    let Some(table) = table.filter(|_| pending.op == Op::Update) else { return Some(pending) };
    let at_base = |fields: &BTreeMap<_, Edit>, member| {
        fields.get(member).is_none_or(|edit: &Edit| edit.base_value.as_ref() == Some(&edit.value))
    };
    let leaving: Vec<_> = pending
        .fields
        .keys()
        .filter(|field| table.unit(field).iter().all(|member| at_base(&pending.fields, member)))
        .copied()
        .collect();
    for field in leaving {
        pending.fields.remove(&field);
    }
    pending.tidied()
}
