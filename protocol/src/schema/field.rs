//! From a declared field to a sound one: its kind, and the attributes that fit it and each other.

use super::entries::{At, list};
use super::model::{Field, Kind, Reference, TimeUnit};
use super::plain::Plain;
use super::problem::Problems;
use super::read::{DeclaredField, KindWord};
use super::validate::{check_name, label_of};
use crate::ids::{FieldTag, TableTag};
use crate::limits::{CHOICES_MAX, ROW_BYTES_MAX};
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Tags of the tables by name.
pub(super) type TablesByName<'a> = BTreeMap<&'a str, TableTag>;

/// The field that is declared. Where something is wrong it is reported, and what is returned is a placeholder.
pub(super) fn validate_field(tables: &TablesByName<'_>, declared: &DeclaredField, problems: &mut Problems) -> Field {
    let name = check_name(&declared.name, &declared.what, problems);
    if let Some(at) = declared.name.as_ref().filter(|at| at.value == "id") {
        problems.add(at.line, &declared.what, "`id` is the name of every row's own id; choose another name");
    }
    let mut field = Field {
        tag: FieldTag(declared.tag.as_ref().map_or(0, |at| at.value)),
        label: label_of(&declared.label, &name, &declared.what, problems),
        name,
        kind: Kind::Text,
        required: declared.required.as_ref().is_some_and(|at| at.value),
        unique: declared.unique.as_ref().is_some_and(|at| at.value),
        default: None,
        initial: None,
        choices: Vec::new(),
        min: None,
        max: None,
        min_length: declared.min_length.as_ref().map(|at| at.value),
        max_length: declared.max_length.as_ref().map(|at| at.value),
        reference: None,
        multiline: declared.multiline.as_ref().is_some_and(|at| at.value),
    };
    // Without its kind nothing can be said about the rest.
    let Some(word) = declared.kind.as_ref().map(|at| at.value) else { return field };
    check_fit(declared, word, problems);
    let Some(kind) = kind_of(declared, word, problems) else { return field };
    field.kind = kind;
    field.reference = reference_of(tables, declared, word, problems);
    field.choices = choices_of(declared, problems);
    check_lengths(declared, problems);
    read_values(declared, &mut field, problems);
    field
}

/// Reports attributes that mean nothing for the kind.
fn check_fit(declared: &DeclaredField, word: KindWord, problems: &mut Problems) {
    use KindWord::{Bytes, Date, Decimal, Float, Int, Reference, Text, Timestamp, Uuid};
    fn line<T>(at: &Option<At<T>>) -> Option<usize> {
        at.as_ref().map(|at| at.line)
    }
    let line_where_true = |at: &Option<At<bool>>| at.as_ref().filter(|at| at.value).map(|at| at.line);
    let ordered: &[KindWord] = &[Int, Float, Decimal, Date, Timestamp];
    let attributes = [
        ("choices", line(&declared.choices), [Text].as_slice()),
        ("multiline", line_where_true(&declared.multiline), &[Text]),
        ("min", line(&declared.min), ordered),
        ("max", line(&declared.max), ordered),
        ("min_length", line(&declared.min_length), &[Text, Bytes]),
        ("max_length", line(&declared.max_length), &[Text, Bytes]),
        ("unique", line_where_true(&declared.unique), &[Text, Int, Decimal, Date, Timestamp, Uuid, Reference, Bytes]),
        ("scale", line(&declared.scale), &[Decimal]),
        ("unit", line(&declared.unit), &[Timestamp]),
        ("references", line(&declared.references), &[Reference]),
        ("on_delete", line(&declared.on_delete), &[Reference]),
    ];
    for (key, line, kinds) in attributes {
        if let Some(line) = line.filter(|_| !kinds.contains(&word)) {
            let kinds = list(kinds.iter().map(|kind| kind.word()));
            let message =
                format!("`{key}` does not fit the kind `{}`, only {kinds}; remove it or change the kind", word.word());
            problems.add(line, &declared.what, message);
        }
    }
}

fn kind_of(declared: &DeclaredField, word: KindWord, problems: &mut Problems) -> Option<Kind> {
    Some(match word {
        KindWord::Text => Kind::Text,
        KindWord::Bool => Kind::Bool,
        KindWord::Int => Kind::Int,
        KindWord::Float => Kind::Float,
        KindWord::Date => Kind::Date,
        KindWord::Uuid | KindWord::Reference => Kind::Uuid,
        KindWord::Bytes => Kind::Bytes,
        KindWord::Timestamp => Kind::Timestamp { unit: declared.unit.as_ref().map_or(TimeUnit::Seconds, |at| at.value) },
        KindWord::Decimal => {
            let Some(scale) = &declared.scale else {
                let message = "a decimal needs the number of digits behind the point; add `scale = 2`";
                problems.add(declared.line, &declared.what, message);
                return None;
            };
            let Some(digits) = u8::try_from(scale.value).ok().filter(|digits| *digits <= 9) else {
                problems.add(scale.line, &declared.what, "`scale` must be 0 to 9");
                return None;
            };
            Kind::Decimal { scale: digits }
        }
    })
}

fn reference_of(
    tables: &TablesByName<'_>,
    declared: &DeclaredField,
    word: KindWord,
    problems: &mut Problems,
) -> Option<Reference> {
    if word != KindWord::Reference {
        return None;
    }
    let Some(references) = &declared.references else {
        let message = "a reference needs the table that it refers to; add `references = \"...\"`";
        problems.add(declared.line, &declared.what, message);
        return None;
    };
    let Some(table) = tables.get(references.value.as_str()) else {
        let known = list(tables.keys().copied());
        let message = format!("there is no table `{}` to refer to; the tables are {known}", references.value);
        problems.add(references.line, &declared.what, message);
        return None;
    };
    Some(Reference { table: *table, on_delete: declared.on_delete.as_ref().map(|at| at.value).unwrap_or_default() })
}

fn choices_of(declared: &DeclaredField, problems: &mut Problems) -> Vec<String> {
    let Some(At { line, value: choices }) = &declared.choices else { return Vec::new() };
    let mut add = |message: String| problems.add(*line, &declared.what, message);
    if choices.is_empty() {
        add("`choices` is empty, so nothing could be chosen; name some or remove it".to_owned());
    }
    if choices.len() > CHOICES_MAX {
        add(format!("{} choices are too many; at most {CHOICES_MAX} are allowed", choices.len()));
        return Vec::new();
    }
    if declared.min_length.is_some() || declared.max_length.is_some() || declared.multiline.as_ref().is_some_and(|at| at.value)
    {
        add("`choices` says all there is to say about the text; remove lengths and `multiline`".to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut canonical = Vec::with_capacity(choices.len());
    for choice in choices {
        let Value::Text(text) = Value::text(choice) else { continue };
        if text.trim() != text || text.is_empty() {
            add(format!("the choice `{text}` is empty or has space around it"));
        }
        if !seen.insert(text.clone()) {
            add(format!("the choice `{text}` is there twice; remove one"));
        }
        canonical.push(text);
    }
    canonical
}

fn check_lengths(declared: &DeclaredField, problems: &mut Problems) {
    for (key, at) in [("min_length", &declared.min_length), ("max_length", &declared.max_length)] {
        let Some(At { line, value }) = at else { continue };
        if *value == 0 || usize::try_from(*value).is_ok_and(|length| length > ROW_BYTES_MAX) {
            let message = format!("`{key}` must be 1 to {ROW_BYTES_MAX}, which is all that a row can hold");
            problems.add(*line, &declared.what, message);
        }
    }
    if let (Some(min), Some(max)) = (&declared.min_length, &declared.max_length)
        && min.value > max.value
    {
        problems.add(max.line, &declared.what, "`max_length` is smaller than `min_length`; exchange them");
    }
}

/// Range, default and initial value, each checked with what was read before it.
fn read_values(declared: &DeclaredField, field: &mut Field, problems: &mut Problems) {
    let read = |key: &str, at: &Option<At<Plain>>, field: &Field, problems: &mut Problems| -> Option<Value> {
        let At { line, value } = at.as_ref()?;
        let value =
            field.from_plain(value.clone()).map_err(|e| problems.add(*line, &declared.what, format!("`{key}`: {e}"))).ok()?;
        if let Err(problem) = field.check(&value) {
            let message = format!("`{key}` does not fit the field: {}", field.sentence(problem));
            problems.add(*line, &declared.what, message);
        }
        Some(value)
    };
    let min = read("min", &declared.min, field, problems);
    let max = read("max", &declared.max, field, problems);
    if let (Some(low), Some(high), Some(at)) = (&min, &max, &declared.max)
        && low > high
    {
        problems.add(at.line, &declared.what, "`max` is smaller than `min`; exchange them");
    }
    (field.min, field.max) = (min, max);
    let default = read("default", &declared.default, field, problems);
    let initial = read("initial", &declared.initial, field, problems);
    for (key, at) in [("default", &declared.default), ("initial", &declared.initial)] {
        if let Some(at) = at.as_ref().filter(|_| field.unique) {
            let message =
                format!("a unique field cannot have `{key}`: the second row with it would clash; remove one of the two");
            problems.add(at.line, &declared.what, message);
        }
    }
    (field.default, field.initial) = (default, initial);
}
