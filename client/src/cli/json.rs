//! The shapes of `--json`: scripts rely on them.

use crate::driver::SyncDone;
use crate::freeze::Standing;
use crate::table::{json_of, plain_fields};
use crate::view::{ConflictView, PendingView, RowStanding, RowView, op_word};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use tombolo_protocol::change::{Op, Refusal};
use tombolo_protocol::ids::{FieldTag, RowKey};
use tombolo_protocol::message::HistoryEntry;
use tombolo_protocol::outbox::{ConflictKind, Review, SentBefore};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Schema, Table};
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

/// `TABLE/ID`.
pub(super) fn row_name(schema: &Schema, key: RowKey) -> String {
    let table = schema.table(key.table).map_or_else(|| key.table.to_string(), |table| table.name.clone());
    format!("{table}/{}", key.id)
}

fn table_name(schema: &Schema, key: RowKey) -> String {
    schema.table(key.table).map_or_else(|| key.table.to_string(), |table| table.name.clone())
}

/// A field's value as JSON; of a field that left the schema, nothing.
fn plain(table: Option<&Table>, field: FieldTag, value: &Value) -> Json {
    table.and_then(|table| table.field(field)).map_or(Json::Null, |field| json_of(&field.plain(value)))
}

fn field_name(table: Option<&Table>, field: FieldTag) -> String {
    table.and_then(|table| table.field(field)).map_or_else(|| field.to_string(), |field| field.name.clone())
}

/// A pending change.
pub(super) fn pending(schema: &Schema, view: &PendingView) -> Json {
    let table = schema.table(view.key.table);
    let mut object = Map::new();
    object.insert("table".into(), json!(table_name(schema, view.key)));
    object.insert("id".into(), json!(view.key.id));
    object.insert("change".into(), json!(op_word(view.change.op)));
    object.insert("state".into(), json!(change_state(view.standing)));
    if let Some(reason) = reason(schema, view) {
        object.insert("reason".into(), json!(reason));
    }
    if let Standing::Waiting { on } = view.standing {
        object.insert("waits_for".into(), json!(row_name(schema, on)));
    }
    if view.change.sent_before != SentBefore::Never {
        object.insert("sent_before".into(), json!(true));
    }
    let fields = view.change.fields.iter().map(|(field, edit)| {
        // Null where it is not known what the person saw: the mirror may have moved on.
        let base = edit.base_value.as_ref().map_or(Json::Null, |value| plain(table, *field, value));
        (field_name(table, *field), json!({ "base": base, "mine": plain(table, *field, &edit.value) }))
    });
    object.insert("fields".into(), Json::Object(fields.collect()));
    Json::Object(object)
}

/// Why a change waits for a person, in a sentence.
pub(super) fn reason(schema: &Schema, view: &PendingView) -> Option<String> {
    let table = schema.table(view.key.table);
    Some(match view.change.review.as_ref()? {
        Review::Refused(Refusal::Field { field, problem }) => match table.and_then(|table| table.field(*field)) {
            Some(field) => field.explain(*problem),
            None => problem.to_string(),
        },
        Review::Refused(Refusal::UnknownField { field }) => {
            format!("the server does not know field {}", field_name(table, *field))
        }
        Review::Refused(Refusal::MissingParent { field, parent }) => {
            format!("{}: the row {parent} that it refers to is not there", field_name(table, *field))
        }
        Review::Refused(refusal) => refusal.to_string(),
        Review::Clash { field, .. } => format!("another row has the same {}", field_name(table, *field)),
        Review::Left => "this row is not among those that you may see any more".to_owned(),
        Review::Offered => "the server lost this change when it was put back; say whether it is to be sent again".to_owned(),
    })
}

/// A conflict.
pub(super) fn conflict(schema: &Schema, view: &ConflictView) -> Json {
    let fields = conflict_fields(schema, view).into_iter().map(|field| {
        let values = json!({ "base": field.base, "mine": field.mine, "server": field.server, "differs": field.differs });
        (field.name, values)
    });
    json!({
        "table": table_name(schema, view.key),
        "id": view.key.id,
        "kind": conflict_kind(view.conflict.kind),
        "server_version": view.server.as_ref().map(|row| row.version),
        "by": view.author.as_ref().map(|author| author.name.clone()),
        "at": view.author.as_ref().map(|author| super::text::moment(author.at_ms)),
        "fields": Json::Object(fields.collect()),
    })
}

/// A field of a conflict.
pub(super) struct ConflictField {
    pub name: String,
    pub label: String,
    pub base: Json,
    pub mine: Json,
    pub server: Json,
    pub differs: bool,
}

/// The fields that a person looks at: those to decide; where the row as such is the question, those that either side changed.
pub(super) fn conflict_fields(schema: &Schema, view: &ConflictView) -> Vec<ConflictField> {
    let Some(table) = schema.table(view.key.table) else { return Vec::new() };
    let mut tags: Vec<FieldTag> = view.conflict.fields.clone();
    if tags.is_empty() {
        let changed_there = |field: FieldTag| view.server.as_ref().is_some_and(|row| row.stamp(field) > view.mine.row_base);
        let touched = |field: FieldTag| view.mine.fields.contains_key(&field);
        tags = table.fields.iter().map(|field| field.tag).filter(|tag| touched(*tag) || changed_there(*tag)).collect();
    }
    tags.into_iter().filter_map(|tag| conflict_field(table, view, tag)).collect()
}

fn conflict_field(table: &Table, view: &ConflictView, tag: FieldTag) -> Option<ConflictField> {
    let field = table.field(tag)?;
    let server = view.server.as_ref().map(|row: &Row| row.value(tag).clone()).unwrap_or_default();
    let edit = view.mine.fields.get(&tag);
    let mine = match (view.mine.op, edit) {
        // What I deleted has no value any more.
        (Op::Delete, _) => Value::Null,
        (_, Some(edit)) => edit.value.clone(),
        (Op::Create, None) => Value::Null,
        (_, None) => server.clone(),
    };
    let base = edit.and_then(|edit| edit.base_value.clone()).unwrap_or_default();
    Some(ConflictField {
        name: field.name.clone(),
        label: field.label.clone(),
        base: json_of(&field.plain(&base)),
        differs: mine != server,
        mine: json_of(&field.plain(&mine)),
        server: json_of(&field.plain(&server)),
    })
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

/// A change in a row's history.
pub(super) fn history(table: &Table, entry: &HistoryEntry) -> Json {
    let fields: Map<String, Json> = entry
        .fields
        .iter()
        .map(|change| {
            let (before, after) =
                (plain(Some(table), change.field, &change.before), plain(Some(table), change.field, &change.after));
            (field_name(Some(table), change.field), json!({ "before": before, "after": after }))
        })
        .collect();
    let lost: BTreeMap<String, Json> =
        entry.lost.iter().map(|(field, value)| (field_name(Some(table), *field), plain(Some(table), *field, value))).collect();
    json!({
        "seq": entry.seq,
        "at": super::text::moment(entry.at_ms),
        "edited_at": super::text::moment(entry.edited_at_ms),
        "by": entry.by,
        "device": entry.device,
        "change": op_word(entry.op),
        "version": entry.version,
        "fields": fields,
        "lost": lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::ids::{RowId, RowNo, Seq, TableTag, Version};
    use tombolo_protocol::outbox::{Edit, Pending};
    use tombolo_protocol::row::{Life, Stamped};
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
        let shown = pending(&Schema::parse(CLINIC).unwrap(), &view);
        assert_eq!(shown["fields"]["phone"], json!({ "base": null, "mine": "mine" }));
    }
}
