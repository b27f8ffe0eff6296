//! Why a change waits for a person, and what a conflict is about, in sentences.

use super::failure::Failure;
use super::shown::{RowNames, Schemas};
use super::{json, text};
use crate::freeze::Standing;
use crate::view::{ConflictView, PendingView};
use tombolo_protocol::change::{Op, Refusal};
use tombolo_protocol::ids::RowKey;
use tombolo_protocol::outbox::{ConflictKind, Review, SentBefore};
use tombolo_protocol::row::Row;
use tombolo_protocol::value::Value;

/// Why a pending change waits for a person.
pub(super) fn reason(names_of: &mut RowNames<'_>, schemas: &Schemas, view: &PendingView) -> Result<Option<String>, Failure> {
    let table = view.key.table;
    let gone =
        || format!("the table {} is not in the schema any more; `tombolo discard` gives this up", schemas.table_name(table));
    let Some(review) = view.change.review.as_ref() else {
        let is_gone = schemas.now().table(table).is_none() && view.standing == Standing::Refused;
        return Ok(is_gone.then(gone));
    };
    Ok(Some(match review {
        Review::Refused(Refusal::UnknownTable) if schemas.now().table(table).is_none() => gone(),
        Review::Refused(Refusal::Field { field, problem }) => match schemas.field(table, *field) {
            Some(field) => field.explain(*problem),
            None => problem.to_string(),
        },
        Review::Refused(Refusal::UnknownField { field }) => {
            format!("{}: the server does not know this field", schemas.label(table, *field))
        }
        Review::Refused(Refusal::MissingParent { field, parent }) => {
            let label = schemas.label(table, *field);
            let target = schemas.field(table, *field).and_then(|field| field.reference);
            let row = match target {
                Some(target) => names_of.full_name(RowKey { table: target.table, id: *parent })?,
                None => parent.to_string(),
            };
            format!("{label}: the row that it refers to is not at the server: {row}")
        }
        Review::Refused(Refusal::Referenced { by: Some(by) }) => {
            format!("other rows still refer to it: {}", names_of.full_name(*by)?)
        }
        Review::Refused(refusal) => refusal.to_string(),
        Review::Clash { field, .. } => {
            format!("{}: another row has the same value, and it must be unique", schemas.label(table, *field))
        }
        Review::Left => "this row is not among those that you may see any more".to_owned(),
        Review::Offered => "the server lost this change when it was put back; say whether it is to be sent again".to_owned(),
    }))
}

/// The row that has the unique value, where the user may see it.
pub(super) fn other(view: &ConflictView) -> Option<RowKey> {
    match &view.mine.review {
        Some(Review::Clash { with: Some(id), .. }) => Some(RowKey { table: view.key.table, id: *id }),
        _ => None,
    }
}

/// A conflict as people read it.
pub(super) fn conflict_text(names_of: &mut RowNames<'_>, schemas: &Schemas, view: &ConflictView) -> Result<String, Failure> {
    let row = schemas.row_name(view.key);
    let mut lines = match names_of.title(view.key)? {
        Some(title) => format!("{row}  {title}\n"),
        None => format!("{row}\n"),
    };
    lines += &format!("    {}\n", question(names_of, schemas, view)?);
    if let Some(author) = &view.author {
        lines += &format!("    The server's side is by {}, {}.\n", author.name, text::moment(author.at_ms));
    }
    let others: Vec<String> = view.together().map(|(key, _)| names_of.full_name(*key)).collect::<Result<_, _>>()?;
    if !others.is_empty() {
        let others = others.join(", ");
        lines += &format!("    It goes together with {others}: where nothing of yours is kept, that is given up too.\n");
    }
    let fields = json::conflict_fields(schemas.now(), view);
    let deleted_there = view.server.as_ref().is_some_and(|row| !row.is_live());
    let mut rows = Vec::with_capacity(fields.len());
    for shown in fields {
        let mut cell = |value: Option<&Value>, absent: &str| match value {
            Some(value) => Ok(or_nothing(names_of.show(shown.field, value)?)),
            None => Ok::<_, Failure>(absent.to_owned()),
        };
        rows.push(vec![
            shown.field.label.clone(),
            cell(shown.base.as_ref(), "(not known)")?,
            cell(shown.mine.as_ref(), "(deleted)")?,
            cell(shown.server.as_ref().filter(|_| !deleted_there), if deleted_there { "(deleted)" } else { "(not known)" })?,
        ]);
    }
    if !rows.is_empty() {
        let header = ["", "Before", "Mine", "Server"].map(str::to_owned);
        text::columns(&header, &rows).lines().for_each(|line| lines += &format!("    {line}\n"));
    }
    Ok(lines)
}

fn question(names_of: &mut RowNames<'_>, schemas: &Schemas, view: &ConflictView) -> Result<String, Failure> {
    let strict = schemas.table(view.key.table).is_some_and(|table| table.strict);
    Ok(match view.conflict.kind {
        ConflictKind::UpdateUpdate if strict => {
            "This row was changed meanwhile; in this table every change is asked about.".to_owned()
        }
        ConflictKind::UpdateUpdate => "You and somebody else changed the same.".to_owned(),
        ConflictKind::UpdateDelete if view.mine.op == Op::Create => {
            "You made a row with this id, and there was one that was deleted: --mine restores it with your values, --server gives \
             yours up."
                .to_owned()
        }
        ConflictKind::UpdateDelete => {
            "You changed this row, and it was deleted: --mine restores it with your change, --server accepts the deletion.".to_owned()
        }
        ConflictKind::DeleteUpdate if view.mine.sent_before == SentBefore::Acknowledged => {
            "You had deleted this row; the server was put back to an earlier state and has it again. Delete it again (--mine), or \
             keep it (--server)?"
                .to_owned()
        }
        ConflictKind::DeleteUpdate => {
            "You deleted this row, and it was changed: --mine deletes it all the same, --server keeps it.".to_owned()
        }
        ConflictKind::CreateCreate => "A row with this id was made by somebody else too.".to_owned(),
        ConflictKind::Unique => {
            let label = view.conflict.fields.first().map(|field| schemas.label(view.key.table, *field)).unwrap_or_default();
            let field = view.conflict.fields.first();
            let mine = field.and_then(|field| view.mine.fields.get(field)).map(|edit| &edit.value);
            let let_go = |row: &Row| !row.is_live() || field.map(|field| row.value(*field)) != mine;
            let who = match other(view) {
                Some(other) if view.server.as_ref().is_some_and(let_go) => {
                    let other = names_of.full_name(other)?;
                    return Ok(format!("{label} must be unique. {other} had the same value and has it no more: --mine sends yours again."));
                }
                Some(other) => format!(
                    "Another row has the same value: {}. --mine takes it from there, --server gives yours up, and --field sets \
                     another value.",
                    names_of.full_name(other)?
                ),
                None => "Another row, which you may not see, has the same value. Choose another one with --field, or give yours \
                         up with --server."
                    .to_owned(),
            };
            format!("{label} must be unique. {who}")
        }
    })
}

/// A value for people, also where there is none.
pub(super) fn or_nothing(text: String) -> String {
    if text.is_empty() { "(nothing)".to_owned() } else { text }
}
