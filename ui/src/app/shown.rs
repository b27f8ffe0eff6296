//! Changes as lines of before and after.

use crate::presenters::values::{Locale, Names};
use crate::window::{ChangeLine, OpKind};
use slint::SharedString;
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::FieldTag;
use tombolo_client::protocol::outbox::Pending;
use tombolo_client::protocol::schema::{Field, Table};
use tombolo_client::protocol::value::Value;

/// How values are put into words.
pub(super) struct Showing<'a> {
    pub(super) locale: &'a Locale,
    pub(super) yes: &'a SharedString,
    pub(super) no: &'a SharedString,
    pub(super) names: &'a Names,
}

impl Showing<'_> {
    /// A value as text. What is known of a row that a reference points at is what it is called.
    pub(super) fn show(&self, field: &Field, value: &Value) -> SharedString {
        match (value, field.reference) {
            (Value::Bool(true), _) => self.yes.clone(),
            (Value::Bool(false), _) => self.no.clone(),
            (Value::Uuid(_), Some(_)) => self.names.of(field, value).unwrap_or("…").into(),
            (Value::Bytes(_), _) => "…".into(),
            (value, _) => self.locale.show(field, value).into(),
        }
    }

    /// The same for a field of a table; empty where it has no such field.
    pub(super) fn show_in(&self, table: &Table, tag: FieldTag, value: &Value) -> SharedString {
        table.field(tag).map(|field| self.show(field, value)).unwrap_or_default()
    }
}

/// What a pending change does, field by field.
pub(super) fn change_lines(table: &Table, change: &Pending, showing: &Showing<'_>) -> Vec<ChangeLine> {
    if change.op == Op::Delete {
        return Vec::new();
    }
    let edits = change.fields.iter().filter(|(_, edit)| edit.base_value.as_ref() != Some(&edit.value));
    edits
        .filter(|(_, edit)| change.op != Op::Create || !edit.value.is_null())
        .map(|(tag, edit)| ChangeLine {
            label: label(table, *tag),
            unknown: change.op != Op::Create && edit.base_value.is_none(),
            before: match &edit.base_value {
                Some(before) if change.op != Op::Create => showing.show_in(table, *tag, before),
                _ => SharedString::default(),
            },
            after: showing.show_in(table, *tag, &edit.value),
        })
        .collect()
}

pub(super) fn label(table: &Table, tag: FieldTag) -> SharedString {
    table.field(tag).map(|field| field.label.as_str().into()).unwrap_or_default()
}

pub(super) fn op(op: Op) -> OpKind {
    match op {
        Op::Create => OpKind::Create,
        Op::Update => OpKind::Update,
        Op::Decide => OpKind::Decide,
        Op::Delete => OpKind::Delete,
        Op::Restore => OpKind::Restore,
    }
}
