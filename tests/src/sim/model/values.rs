//! What a field allows (section 2).

use tombolo_client::protocol::schema::{Field, FieldProblem, Kind};
use tombolo_client::protocol::value::Value;

/// What is wrong with a value, the first that is.
pub(super) fn problem(field: &Field, value: &Value) -> Option<FieldProblem> {
    let is_empty = matches!(value, Value::Null) || matches!(value, Value::Text(text) if text.is_empty());
    if field.required && is_empty {
        return Some(FieldProblem::Required);
    }
    let length = match (field.kind, value) {
        (_, Value::Null) => return None,
        (Kind::Text, Value::Text(text)) => Some(text.chars().count()),
        (Kind::Bytes, Value::Bytes(bytes)) => Some(bytes.len()),
        (Kind::Bool, Value::Bool(_))
        | (Kind::Int, Value::Int(_))
        | (Kind::Float, Value::Float(_))
        | (Kind::Decimal { .. }, Value::Decimal(_))
        | (Kind::Date, Value::Date(_))
        | (Kind::Timestamp { .. }, Value::Timestamp(_))
        | (Kind::Uuid, Value::Uuid(_)) => None,
        _ => return Some(FieldProblem::WrongKind),
    };
    if field.min.as_ref().is_some_and(|min| value < min) {
        return Some(FieldProblem::TooSmall);
    }
    if field.max.as_ref().is_some_and(|max| value > max) {
        return Some(FieldProblem::TooLarge);
    }
    let is_choice = |text: &String| field.choices.is_empty() || field.choices.contains(text);
    if matches!(value, Value::Text(text) if !is_choice(text)) {
        return Some(FieldProblem::NotAChoice);
    }
    match length {
        Some(length) if field.min_length.is_some_and(|min| length < min as usize) => Some(FieldProblem::TooShort),
        Some(length) if field.max_length.is_some_and(|max| length > max as usize) => Some(FieldProblem::TooLong),
        _ => None,
    }
}
