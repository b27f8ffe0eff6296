//! The shapes of `--json`: scripts rely on them.

use super::history::HistoryStep;
use super::shown::Schemas;
use crate::driver::SyncDone;
use crate::freeze::Standing;
use crate::table::{json_of, plain_fields};
use crate::view::{ConflictView, PendingView, RowStanding, RowView, op_word};
use serde_json::{Map, Value as Json, json};
use tombolo_protocol::change::Op;
use tombolo_protocol::ids::{FieldTag, RowKey};
use tombolo_protocol::outbox::{ConflictKind, SentBefore};
use tombolo_protocol::schema::{Field, Schema, Table};
use tombolo_protocol::value::Value;

/// The word for how a row stands.
pub(super) fn row_state(standing: RowStanding) -> &'static str {
    match standing {
        RowStanding::Clean => "clean",
        RowStanding::Pending => "pending",
        RowStanding::Refused => "refused",
        RowStanding::Conflict => "conflict",
    }
}

/// The word for how a pending change stands.
pub(super) fn change_state(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "ready",
        Standing::InFlight => "in_flight",
        Standing::Waiting { .. } => "waiting",
        Standing::Conflict => "conflict",
        Standing::Refused => "refused",
    }
}

/// The word for what clashes.
pub(super) fn conflict_kind(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::UpdateUpdate => "update_update",
        ConflictKind::UpdateDelete => "update_delete",
        ConflictKind::DeleteUpdate => "delete_update",
        ConflictKind::CreateCreate => "create_create",
        ConflictKind::Unique => "unique",
    }
}

/// A row, as in `list` and `get`.
pub(super) fn row(table: &Table, view: &RowView) -> Json {
    json!({
        "id": view.key.id,
        "version": view.version,
        "seen": view.seen.to_string(),
        "state": row_state(view.standing),
        "fields": Json::Object(plain_fields(table, view).into_iter().collect()),
    })
}

/// A field's value as JSON; of a field that no schema here knows, as text.
fn plain(field: Option<&Field>, value: &Value) -> Json {
    match field {
        Some(field) => json_of(&field.plain(value)),
        None if value.is_null() => Json::Null,
        None => json!(format!("{value:?}")),
    }
}

/// A pending change; `reason` says why it waits for a person.
pub(super) fn pending(schemas: &Schemas, view: &PendingView, reason: Option<String>) -> Json {
    let table = view.key.table;
    let mut object = Map::new();
    object.insert("table".into(), json!(schemas.table_name(table)));
    object.insert("id".into(), json!(view.key.id));
    object.insert("change".into(), json!(op_word(view.change.op)));
    object.insert("state".into(), json!(change_state(view.standing)));
    if let Some(reason) = reason {
        object.insert("reason".into(), json!(reason));
    }
    if let Standing::Waiting { on } = view.standing {
        object.insert("waits_for".into(), json!(schemas.row_name(on)));
    }
    if view.change.sent_before == SentBefore::Acknowledged {
        object.insert("sent_before".into(), json!(true));
    }
    let fields = view.change.fields.iter().map(|(tag, edit)| {
        let field = schemas.field(table, *tag);
        // Null where it is not known what the person saw: the mirror may have moved on.
        let base = edit.base_value.as_ref().map_or(Json::Null, |value| plain(field, value));
        (schemas.field_name(table, *tag), json!({ "base": base, "mine": plain(field, &edit.value) }))
    });
    object.insert("fields".into(), Json::Object(fields.collect()));
    Json::Object(object)
}

/// A conflict; `other` is the row that has the unique value, with its title.
pub(super) fn conflict(schemas: &Schemas, view: &ConflictView, other: Option<(RowKey, Option<String>)>) -> Json {
    let fields = conflict_fields(schemas.now(), view).into_iter().map(|shown| {
        let json = |value: &Option<Value>| value.as_ref().map_or(Json::Null, |value| plain(Some(shown.field), value));
        let values = json!({
            "base": json(&shown.base), "mine": json(&shown.mine), "server": json(&shown.server), "differs": shown.differs,
        });
        (shown.field.name.clone(), values)
    });
    let mut object = json!({
        "table": schemas.table_name(view.key.table),
        "id": view.key.id,
        "kind": conflict_kind(view.conflict.kind),
        "server_version": view.server.as_ref().map(|row| row.version),
        "by": view.author.as_ref().map(|author| author.name.clone()),
        "at": view.author.as_ref().map(|author| super::text::moment(author.at_ms)),
        "fields": Json::Object(fields.collect()),
    });
    if let Some((other, title)) = other {
        object["other"] = json!({ "id": other.id, "title": title });
    }
    let together: Vec<String> = view.together().map(|(key, _)| schemas.row_name(*key)).collect();
    if !together.is_empty() {
        object["together"] = json!(together);
    }
    object
}

/// A field of a conflict.
pub(super) struct ConflictField<'a> {
    pub field: &'a Field,
    /// What the person saw; `None` where that is not known.
    pub base: Option<Value>,
    /// `None` where I deleted the row.
    pub mine: Option<Value>,
    /// `None` where the server has no row.
    pub server: Option<Value>,
    pub differs: bool,
}

/// The fields that a person looks at: those to decide, and where the row as such is the question, those that either side
/// changed.
pub(super) fn conflict_fields<'a>(schema: &'a Schema, view: &ConflictView) -> Vec<ConflictField<'a>> {
    let Some(table) = schema.table(view.key.table) else { return Vec::new() };
    let asks_for_any = table.strict && view.conflict.kind == ConflictKind::UpdateUpdate;
    let changed_there = |field: FieldTag| view.server.as_ref().is_some_and(|row| row.stamp(field) > view.mine.row_base);
    let shown = |field: FieldTag| match view.conflict.fields.as_slice() {
        [] => view.mine.fields.contains_key(&field) || changed_there(field),
        fields => fields.contains(&field) || (asks_for_any && changed_there(field)),
    };
    table.fields.iter().filter(|field| shown(field.tag)).map(|field| conflict_field(field, view)).collect()
}

fn conflict_field<'a>(field: &'a Field, view: &ConflictView) -> ConflictField<'a> {
    let server = view.server.as_ref().map(|row| row.value(field.tag).clone());
    let edit = view.mine.fields.get(&field.tag);
    let mine = match (view.mine.op, edit) {
        (Op::Delete, _) => None,
        (_, Some(edit)) => Some(edit.value.clone()),
        (Op::Create, None) => Some(Value::Null),
        (_, None) => server.clone(),
    };
    let differs = mine.as_ref().unwrap_or(&Value::Null) != server.as_ref().unwrap_or(&Value::Null);
    ConflictField { field, base: view.base(field.tag).cloned(), mine, server, differs }
}

/// What a sync did. Conflicts and refused changes are those that stand now.
pub(super) fn sync(done: &SyncDone, conflicts: usize, refused: usize) -> Json {
    json!({
        "pushed": done.report.pushed,
        "pulled": done.report.pulled,
        "merged": done.report.merged,
        "conflicts": conflicts,
        "refused": refused,
        "bytes_up": done.bytes_up,
        "bytes_down": done.bytes_down,
        "head": done.report.head,
        "duration_ms": done.duration_ms,
    })
}

/// A step in a row's history; null where this device does not know.
pub(super) fn history(table: &Table, step: &HistoryStep) -> Json {
    let named = |tag: FieldTag| table.field(tag).map_or_else(|| tag.to_string(), |field| field.name.clone());
    let fields: Map<String, Json> = step
        .fields
        .iter()
        .map(|(tag, before, after)| {
            let field = table.field(*tag);
            let before = before.as_ref().map_or(Json::Null, |before| plain(field, before));
            (named(*tag), json!({ "before": before, "after": plain(field, after) }))
        })
        .collect();
    let lost: Map<String, Json> = step.lost.iter().map(|(tag, value)| (named(*tag), plain(table.field(*tag), value))).collect();
    json!({
        "seq": step.seq,
        "at": step.at_ms.map(super::text::moment),
        "edited_at": step.edited_at_ms.map(super::text::moment),
        "by": step.by,
        "device": step.device,
        "device_name": step.device_name,
        "change": op_word(step.op),
        "merged": step.merged,
        "version": step.version,
        "fields": fields,
        "lost": lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tombolo_protocol::ids::{RowId, RowNo, Seq, TableTag, Version};
    use tombolo_protocol::outbox::{Edit, Pending};
    use tombolo_protocol::row::{Life, Row, Stamped};
    use tombolo_protocol::schema::CLINIC;

    #[test]
    fn a_base_that_is_not_known_is_null_and_not_the_servers_value() {
        let phone = FieldTag(2);
        let key = RowKey { table: TableTag(2), id: RowId::from_bytes([7; 16]) };
        let mirror = Row {
            key,
            no: RowNo(1),
            seq: Seq(50),
            ordinal: 0,
            version: Version(2),
            since: Seq(40),
            life: Life::Live,
            fields: [(phone, Stamped { value: Value::text("theirs"), stamp: Seq(50) })].into(),
        };
        let mut change = Pending::new(Op::Update, Seq(40), 0);
        change.fields.insert(phone, Edit { value: Value::text("mine"), base_value: None, base: Seq(40) });
        let view = PendingView { key, change, standing: Standing::Conflict, mirror: Some(mirror) };
        let schemas = Schemas::only(Arc::new(Schema::parse(CLINIC).unwrap()));
        let shown = pending(&schemas, &view, None);
        assert_eq!(shown["fields"]["phone"], json!({ "base": null, "mine": "mine" }));
    }
}
