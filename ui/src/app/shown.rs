//! Changes as lines of before and after.

use crate::presenters::values::Locale;
use crate::window::{ChangeLine, OpKind};
use slint::SharedString;
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::FieldTag;
use tombolo_client::protocol::outbox::Pending;
use tombolo_client::protocol::schema::Table;
use tombolo_client::protocol::value::Value;

/// How yes and no are called.
pub(super) type Flags<'a> = (&'a SharedString, &'a SharedString);

/// A value as text; references are not looked up here and stay silent.
pub(super) fn show(table: &Table, tag: FieldTag, value: &Value, locale: &Locale, flags: Flags<'_>) -> SharedString {
    let Some(field) = table.field(tag) else { return SharedString::default() };
    match value {
        Value::Bool(true) => flags.0.clone(),
        Value::Bool(false) => flags.1.clone(),
        Value::Uuid(_) | Value::Bytes(_) => "…".into(),
        value => locale.show(field, value).into(),
    }
}

/// What a pending change does, field by field.
pub(super) fn change_lines(table: &Table, change: &Pending, locale: &Locale, flags: Flags<'_>) -> Vec<ChangeLine> {
    if change.op == Op::Delete {
        return Vec::new();
    }
    let edits = change.fields.iter().filter(|(_, edit)| edit.base_value.as_ref() != Some(&edit.value));
    edits
        .filter(|(_, edit)| change.op != Op::Create || !edit.value.is_null())
        .map(|(tag, edit)| ChangeLine {
            label: label(table, *tag),
            before: match &edit.base_value {
                Some(before) if change.op != Op::Create => show(table, *tag, before, locale, flags),
                _ => SharedString::default(),
            },
            after: show(table, *tag, &edit.value, locale, flags),
        })
        .collect()
}

pub(super) fn label(table: &Table, tag: FieldTag) -> SharedString {
    table.field(tag).map(|field| field.label.as_str().into()).unwrap_or_default()
}

pub(super) fn op(op: Op) -> OpKind {
    match op {
        Op::Create => OpKind::Create,
        Op::Update | Op::Decide => OpKind::Update,
        Op::Delete => OpKind::Delete,
        Op::Restore => OpKind::Restore,
    }
}
