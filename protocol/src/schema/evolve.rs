//! Whether a schema may follow another one, and what that changes (H7).
//!
//! Data, pushes and digests name tables and fields by tag, so a tag means the same for ever: names may change and parts may
//! come and go, but the kind of a tag may not. A tag that was removed earlier does not come back as something else either, and
//! rows may have changed in the meantime as it would not have allowed; so the earlier schemas are looked at too.

use super::model::{Field, Kind, Schema, Table};
use super::problem::{Problems, SchemaError};
use super::read::DeclaredSchema;
use crate::ids::{FieldTag, TableTag};
use std::fmt;

/// What a new schema changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evolution {
    /// The changes by table and field tag. Empty where only comments and their like differ.
    pub changes: Vec<SchemaChange>,
}

/// One thing that a new schema changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaChange {
    /// The table; none for the schema as a whole.
    pub table: Option<TableTag>,
    /// The field; none for the table as a whole.
    pub field: Option<FieldTag>,
    /// How rows that were allowed may not be any more: the data is to be checked before this is logged.
    pub narrows: Option<Narrowing>,
    /// The change in words: ``table `patients`: field `email` is new``.
    pub text: String,
}

/// What of existing rows a change may make wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Narrowing {
    /// The values that are there, that they are unique, what they refer to. A row without a value is none the worse for it: a
    /// required field that came later has an initial value for those who write such a row next.
    Values,
    /// Those, and that there is a value at all.
    Presence,
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Evolution {
    /// The changes that existing rows may violate; without a field the whole table is to be checked.
    pub fn narrowing(&self) -> impl Iterator<Item = &SchemaChange> {
        self.changes.iter().filter(|change| change.narrows.is_some())
    }
}

impl fmt::Display for Evolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return f.write_str("only the wording changed");
        }
        for (index, change) in self.changes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            change.fmt(f)?;
        }
        Ok(())
    }
}

impl Schema {
    /// What this schema changes where it follows `old`. `earlier` are the schemas before that, the newest first: what comes
    /// back is compared with what it was last.
    ///
    /// # Errors
    /// [`SchemaError`], with the lines of this schema, where it must not follow `old`: a tag with another kind (scale, unit and
    /// table referred to included), another scope table, a field of an old table that is newly required without `initial`, an
    /// `initial` that changed.
    pub fn evolve_from(&self, old: &Self, earlier: &[&Self]) -> Result<Evolution, SchemaError> {
        let (lines, problems) = (Lines::of(self), Problems::default());
        let mut comparison = Comparison { old, earlier, new: self, lines, problems, changes: Vec::new() };
        comparison.compare();
        comparison.problems.into_result()?;
        Ok(Evolution { changes: comparison.changes })
    }
}

/// Where the parts of a schema stand in its text.
struct Lines(DeclaredSchema);

impl Lines {
    fn of(schema: &Schema) -> Self {
        Self(DeclaredSchema::read(&schema.text).0)
    }

    fn scope_table(&self) -> usize {
        self.0.scope_table.as_ref().map_or(1, |at| at.line)
    }

    fn field(&self, table: &Table, field: &Field) -> (usize, String) {
        let tables = self.0.tables.iter().filter(|t| t.name.as_ref().is_some_and(|name| name.value == table.name));
        let mut fields =
            tables.flat_map(|t| &t.fields).filter(|f| f.name.as_ref().is_some_and(|name| name.value == field.name));
        fields.next().map_or_else(|| (1, field.name.clone()), |declared| (declared.line, declared.what.clone()))
    }
}

struct Comparison<'a> {
    old: &'a Schema,
    /// Newest first.
    earlier: &'a [&'a Schema],
    new: &'a Schema,
    lines: Lines,
    problems: Problems,
    changes: Vec<SchemaChange>,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self) {
        let (old, new) = (self.old, self.new);
        if old.name != new.name {
            self.note(None, None, None, format!("the schema `{}` is now called `{}`", old.name, new.name));
        }
        let last_scope_table = old.scope_table.or_else(|| self.earlier.iter().find_map(|earlier| earlier.scope_table));
        match (old.scope_table, new.scope_table) {
            (_, Some(after)) if last_scope_table.is_some_and(|before| before != after) => {
                let message = "another table cannot become the scope table: what users are granted are rows of the present one";
                self.problems.add(self.lines.scope_table(), "schema", message);
            }
            (None, Some(_)) => self.note(None, None, None, "there are scopes now".to_owned()),
            (Some(_), None) => self.note(None, None, None, "there are no scopes any more".to_owned()),
            _ => {}
        }
        for table in old.tables.iter().filter(|table| new.table(table.tag).is_none()) {
            let text = format!("table `{}` is removed; its rows are not shown any more", table.name);
            self.note(Some(table.tag), None, None, text);
        }
        for table in &new.tables {
            let last = self.earlier.iter().find_map(|earlier| Some((*earlier, earlier.table(table.tag)?)));
            match (old.table(table.tag), last) {
                (Some(before), _) => self.compare_table(old, before, table),
                (None, Some((earlier, before))) => {
                    self.note_table(table, Some(Narrowing::Values), "it is back, with the rows that it had");
                    self.compare_table(earlier, before, table);
                }
                (None, None) => self.note(Some(table.tag), None, None, format!("table `{}` is new", table.name)),
            }
        }
    }

    fn note(&mut self, table: Option<TableTag>, field: Option<FieldTag>, narrows: Option<Narrowing>, text: String) {
        self.changes.push(SchemaChange { table, field, narrows, text });
    }

    fn note_table(&mut self, table: &Table, narrows: Option<Narrowing>, text: &str) {
        self.note(Some(table.tag), None, narrows, format!("table `{}`: {text}", table.name));
    }

    /// `old` is the table as it last was, in the schema `of`.
    fn compare_table(&mut self, of: &'a Schema, old: &'a Table, new: &'a Table) {
        if old.name != new.name {
            self.note_table(new, None, &format!("it was called `{}`", old.name));
        }
        if old.scope != new.scope {
            let text = match new.scope_field() {
                Some(field) => format!("its rows belong to the scope in `{}` now", field.name),
                None => "its rows belong to no scope now: every user who may read the table sees all of them".to_owned(),
            };
            // Which rows clash in a unique field depends on the scope, and a row without a scope value has no section.
            self.note_table(new, Some(Narrowing::Values), &text);
        }
        let facts = [
            (old.strict != new.strict, if new.strict { "it is strict now" } else { "it is not strict any more" }),
            (old.groups != new.groups, "its field groups changed"),
            (old.read != new.read, "who may read it changed"),
            (old.write != new.write, "who may write it changed"),
            (old.label != new.label || old.title != new.title || old.preselect != new.preselect, "how it is shown changed"),
        ];
        for (_, text) in facts.iter().filter(|(changed, _)| *changed) {
            self.note_table(new, None, text);
        }
        for field in old.fields.iter().filter(|field| new.field(field.tag).is_none()) {
            let text = format!("table `{}`: field `{}` is removed; its values are not shown any more", new.name, field.name);
            self.note(Some(new.tag), Some(field.tag), None, text);
        }
        for field in &new.fields {
            let in_earlier = |earlier: &&'a Schema| Some((*earlier, earlier.table(new.tag)?.field(field.tag)?));
            match (old.field(field.tag), self.earlier.iter().find_map(in_earlier)) {
                (Some(before), _) => {
                    self.needs_initial(new, field, field.required && !before.required);
                    self.compare_field(of, new, before, field);
                }
                (None, last) => self.added_field(last, new, field),
            }
        }
    }

    /// A field that is new, or comes back as it last was in an earlier schema: rows were made without it since then.
    fn added_field(&mut self, last: Option<(&'a Schema, &'a Field)>, table: &'a Table, field: &'a Field) {
        self.needs_initial(table, field, field.required);
        let (narrows, what) = match last {
            Some(_) => (Some(Narrowing::Values), "back, with the values that it had"),
            None => (None, "new"),
        };
        let text = format!("table `{}`: field `{}` is {what}", table.name, field.name);
        self.note(Some(table.tag), Some(field.tag), narrows, text);
        if let Some((earlier, before)) = last {
            self.compare_field(earlier, table, before, field);
        }
    }

    /// A create of a client that does not know the field, or does not know that it is required, must find a value.
    fn needs_initial(&mut self, table: &Table, field: &Field, newly_required: bool) {
        if !newly_required || field.initial.is_some() {
            return;
        }
        let message = if field.unique {
            "a unique field cannot become required later: devices that do not know it yet would create rows without a value, \
             and no `initial` value fits two of them; remove `required`"
        } else {
            "a field that is required later needs a value for rows that devices create before they know it; add `initial = ...`, \
             or remove `required`"
        };
        let (line, what) = self.lines.field(table, field);
        self.problems.add(line, &what, message);
    }

    /// `old` is the field as it last was, in the schema `of`.
    fn compare_field(&mut self, of: &'a Schema, table: &'a Table, old: &'a Field, new: &'a Field) {
        let (before, after) = (kind_in_words(of, old), kind_in_words(self.new, new));
        let target = |field: &Field| field.reference.map(|reference| reference.table);
        let (line, what) = self.lines.field(table, new);
        if old.kind != new.kind || target(old) != target(new) {
            let message = format!(
                "tag {} is {before} and cannot become {after}: the rows that there are hold the old kind; give the new field a new \
                 tag, and keep or remove the old one",
                new.tag
            );
            self.problems.add(line, &what, message);
            return;
        }
        if old.initial.is_some() && old.initial != new.initial {
            let was = old.initial.as_ref().map(|value| old.show(value)).unwrap_or_default();
            let message = format!("`initial` cannot change, because rows were made with it; put `{was}` back");
            self.problems.add(line, &what, message);
        }
        let mut note = |narrows: Option<Narrowing>, text: String| {
            let text = format!("table `{}`: field `{}` {text}", table.name, new.name);
            self.note(Some(table.tag), Some(new.tag), narrows, text);
        };
        if old.name != new.name {
            note(None, format!("was called `{}`", old.name));
        }
        if old.required != new.required {
            let narrows = new.required.then_some(Narrowing::Presence);
            note(narrows, if new.required { "is required now" } else { "is not required any more" }.to_owned());
        }
        if old.unique != new.unique {
            let narrows = new.unique.then_some(Narrowing::Values);
            note(narrows, if new.unique { "is unique now" } else { "is not unique any more" }.to_owned());
        }
        if limits_differ(old, new) {
            note(narrower(old, new).then_some(Narrowing::Values), "allows other values now".to_owned());
        }
        if target_rule(old) != target_rule(new) {
            note(Some(Narrowing::Values), "has another rule for the deletion of what it refers to".to_owned());
        }
        if old.default != new.default {
            note(None, "has another default for new rows".to_owned());
        }
        if old.label != new.label || old.multiline != new.multiline {
            note(None, "is shown in another way".to_owned());
        }
    }
}

fn target_rule(field: &Field) -> Option<super::model::OnDelete> {
    field.reference.map(|reference| reference.on_delete)
}

fn limits_differ(old: &Field, new: &Field) -> bool {
    old.choices != new.choices
        || (&old.min, &old.max) != (&new.min, &new.max)
        || (old.min_length, old.max_length) != (new.min_length, new.max_length)
}

/// Whether a value that `old` allowed may not be allowed by `new`.
fn narrower(old: &Field, new: &Field) -> bool {
    /// A limit that is there now and was not, or was on the other side of what it is now.
    fn tighter<T: PartialOrd>(old: &Option<T>, new: &Option<T>, inward: impl Fn(&T, &T) -> bool) -> bool {
        new.as_ref().is_some_and(|new| old.as_ref().is_none_or(|old| inward(new, old)))
    }
    let choices =
        !new.choices.is_empty() && (old.choices.is_empty() || old.choices.iter().any(|choice| !new.choices.contains(choice)));
    choices
        || tighter(&old.min, &new.min, |new, old| new > old)
        || tighter(&old.max, &new.max, |new, old| new < old)
        || tighter(&old.min_length, &new.min_length, |new, old| new > old)
        || tighter(&old.max_length, &new.max_length, |new, old| new < old)
}

fn kind_in_words(schema: &Schema, field: &Field) -> String {
    if let Some(reference) = field.reference {
        let table = schema.table(reference.table).map_or("", |table| table.name.as_str());
        return format!("a reference to `{table}`");
    }
    match field.kind {
        Kind::Bool => "a bool".to_owned(),
        Kind::Int => "an int".to_owned(),
        Kind::Float => "a float".to_owned(),
        Kind::Decimal { scale } => format!("a decimal of scale {scale}"),
        Kind::Text => "a text".to_owned(),
        Kind::Date => "a date".to_owned(),
        Kind::Timestamp { unit } => format!("a timestamp in {}", unit.words()),
        Kind::Uuid => "a uuid".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
    }
}

#[cfg(test)]
mod tests;
