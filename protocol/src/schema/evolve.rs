//! Whether a schema may follow another one, and what that changes (H7).
//!
//! Data, pushes and digests name tables and fields by tag, so a tag means the same for ever: names may change and parts may
//! come and go, but the kind of a tag may not. A tag that was removed earlier must not come back as something else either;
//! that cannot be seen from two neighbouring versions.

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
    /// Rows that were allowed may not be any more: the data is to be checked before this is logged.
    pub narrows: bool,
    /// The change in words: ``table `patients`: field `email` is new``.
    pub text: String,
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Evolution {
    /// The changes that existing rows may violate; without a field the whole table is to be checked.
    pub fn narrowing(&self) -> impl Iterator<Item = &SchemaChange> {
        self.changes.iter().filter(|change| change.narrows)
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
    /// What this schema changes where it follows `old`.
    ///
    /// # Errors
    /// [`SchemaError`], with the lines of this schema, where it must not follow `old`: a tag with another kind (scale, unit and
    /// table referred to included), another scope table, a field of an old table that is newly required without `initial`, an
    /// `initial` that changed.
    pub fn evolve_from(&self, old: &Self) -> Result<Evolution, SchemaError> {
        let mut comparison =
            Comparison { old, new: self, lines: Lines::of(self), problems: Problems::default(), changes: Vec::new() };
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
    new: &'a Schema,
    lines: Lines,
    problems: Problems,
    changes: Vec<SchemaChange>,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self) {
        let (old, new) = (self.old, self.new);
        if old.name != new.name {
            self.note(None, None, false, format!("the schema `{}` is now called `{}`", old.name, new.name));
        }
        match (old.scope_table, new.scope_table) {
            (Some(before), Some(after)) if before != after => {
                let message = "another table cannot become the scope table: what users are granted are rows of the present one";
                self.problems.add(self.lines.scope_table(), "schema", message);
            }
            (None, Some(_)) => self.note(None, None, false, "there are scopes now".to_owned()),
            (Some(_), None) => self.note(None, None, false, "there are no scopes any more".to_owned()),
            _ => {}
        }
        for table in old.tables.iter().filter(|table| new.table(table.tag).is_none()) {
            let text = format!("table `{}` is removed; its rows are not shown any more", table.name);
            self.note(Some(table.tag), None, false, text);
        }
        for table in &new.tables {
            match old.table(table.tag) {
                None => self.note(Some(table.tag), None, false, format!("table `{}` is new", table.name)),
                Some(before) => self.compare_table(before, table),
            }
        }
    }

    fn note(&mut self, table: Option<TableTag>, field: Option<FieldTag>, narrows: bool, text: String) {
        self.changes.push(SchemaChange { table, field, narrows, text });
    }

    fn note_table(&mut self, table: &Table, narrows: bool, text: &str) {
        self.note(Some(table.tag), None, narrows, format!("table `{}`: {text}", table.name));
    }

    fn compare_table(&mut self, old: &'a Table, new: &'a Table) {
        if old.name != new.name {
            self.note_table(new, false, &format!("it was called `{}`", old.name));
        }
        if old.scope != new.scope {
            let text = match new.scope_field() {
                Some(field) => format!("its rows belong to the scope in `{}` now", field.name),
                None => "its rows belong to no scope now: every user who may read the table sees all of them".to_owned(),
            };
            // Which rows clash in a unique field depends on the scope, and a row without a scope value has no section.
            self.note_table(new, true, &text);
        }
        let facts = [
            (old.strict != new.strict, if new.strict { "it is strict now" } else { "it is not strict any more" }),
            (old.groups != new.groups, "its field groups changed"),
            (old.read != new.read, "who may read it changed"),
            (old.write != new.write, "who may write it changed"),
            (old.label != new.label || old.title != new.title || old.preselect != new.preselect, "how it is shown changed"),
        ];
        for (_, text) in facts.iter().filter(|(changed, _)| *changed) {
            self.note_table(new, false, text);
        }
        for field in old.fields.iter().filter(|field| new.field(field.tag).is_none()) {
            let text = format!("table `{}`: field `{}` is removed; its values are not shown any more", new.name, field.name);
            self.note(Some(new.tag), Some(field.tag), false, text);
        }
        for field in &new.fields {
            match old.field(field.tag) {
                None => self.added_field(new, field),
                Some(before) => self.compare_field(new, before, field),
            }
        }
    }

    fn added_field(&mut self, table: &Table, field: &Field) {
        self.needs_initial(table, field, field.required);
        let text = format!("table `{}`: field `{}` is new", table.name, field.name);
        self.note(Some(table.tag), Some(field.tag), false, text);
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

    fn compare_field(&mut self, table: &'a Table, old: &'a Field, new: &'a Field) {
        let (before, after) = (kind_in_words(self.old, old), kind_in_words(self.new, new));
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
        self.needs_initial(table, new, new.required && !old.required);
        if old.initial.is_some() && old.initial != new.initial {
            let was = old.initial.as_ref().map(|value| old.show(value)).unwrap_or_default();
            let message = format!("`initial` cannot change, because rows were made with it; put `{was}` back");
            self.problems.add(line, &what, message);
        }
        let mut note = |narrows: bool, text: String| {
            let text = format!("table `{}`: field `{}` {text}", table.name, new.name);
            self.note(Some(table.tag), Some(new.tag), narrows, text);
        };
        if old.name != new.name {
            note(false, format!("was called `{}`", old.name));
        }
        if old.required != new.required {
            note(new.required, if new.required { "is required now" } else { "is not required any more" }.to_owned());
        }
        if old.unique != new.unique {
            note(new.unique, if new.unique { "is unique now" } else { "is not unique any more" }.to_owned());
        }
        if limits_differ(old, new) {
            note(narrower(old, new), "allows other values now".to_owned());
        }
        if target_rule(old) != target_rule(new) {
            note(true, "has another rule for the deletion of what it refers to".to_owned());
        }
        if old.default != new.default {
            note(false, "has another default for new rows".to_owned());
        }
        if old.label != new.label || old.multiline != new.multiline {
            note(false, "is shown in another way".to_owned());
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
mod tests {
    use super::*;
    use crate::schema::CLINIC;

    const OLD: &str = r#"name = "x"
[[table]]
name = "rows"
tag = 1
[[table.field]]
name = "price"
tag = 1
kind = "decimal"
scale = 2
[[table.field]]
name = "code"
tag = 2
kind = "text"
required = true
initial = "none"
[[table.field]]
name = "parent"
tag = 3
kind = "reference"
references = "rows"
[[table]]
name = "others"
tag = 2
[[table.field]]
name = "at"
tag = 1
kind = "timestamp"
"#;

    fn schema(text: &str) -> Schema {
        Schema::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What follows where `from` in the old text becomes `to`.
    fn evolve(from: &str, to: &str) -> Result<Evolution, SchemaError> {
        assert!(OLD.contains(from), "{from}");
        schema(&OLD.replacen(from, to, 1)).evolve_from(&schema(OLD))
    }

    fn changes(from: &str, to: &str) -> String {
        evolve(from, to).unwrap_or_else(|error| panic!("{error}")).to_string()
    }

    fn narrowing(from: &str, to: &str) -> usize {
        evolve(from, to).unwrap_or_else(|error| panic!("{error}")).narrowing().count()
    }

    #[test]
    fn a_schema_follows_itself_and_its_comments() {
        assert_eq!(changes("name = \"x\"", "# a comment\nname = \"x\""), "only the wording changed");
        assert_eq!(schema(CLINIC).evolve_from(&schema(CLINIC)), Ok(Evolution::default()));
    }

    #[test]
    fn a_tag_never_changes_its_kind() {
        let refused = |from: &str, to: &str| evolve(from, to).unwrap_err().to_string();
        let error = refused("scale = 2", "scale = 3");
        assert_eq!(
            error,
            "line 5: table `rows`, field `price`: tag 1 is a decimal of scale 2 and cannot become a decimal of scale 3: the rows \
             that there are hold the old kind; give the new field a new tag, and keep or remove the old one"
        );
        let error = refused("kind = \"timestamp\"", "kind = \"timestamp\"\nunit = \"milliseconds\"");
        assert!(
            error.contains("line 24: table `others`, field `at`: tag 1 is a timestamp in seconds and cannot become"),
            "{error}"
        );
        let error = refused("references = \"rows\"", "references = \"others\"");
        assert!(error.contains("tag 3 is a reference to `rows` and cannot become a reference to `others`"), "{error}");
        let error = refused("kind = \"reference\"\nreferences = \"rows\"", "kind = \"uuid\"");
        assert!(error.contains("cannot become a uuid"), "{error}");
    }

    #[test]
    fn names_may_change_and_parts_may_come_and_go() {
        assert_eq!(
            changes("\"price\"\n", "\"cost\"\n"),
            "table `rows`: field `cost` was called `price`\ntable `rows`: field `cost` is shown in another way"
        );
        let renamed = schema(&OLD.replace("\"rows\"", "\"lines\"")).evolve_from(&schema(OLD)).unwrap();
        assert!(renamed.to_string().starts_with("table `lines`: it was called `rows`"), "{renamed}");
        let table = &OLD[OLD.find("[[table]]\nname = \"others\"").unwrap()..];
        assert_eq!(changes(table, ""), "table `others` is removed; its rows are not shown any more");
        let field = "[[table.field]]\nname = \"extra\"\ntag = 9\nkind = \"int\"\n";
        assert_eq!(
            changes("kind = \"timestamp\"\n", &format!("kind = \"timestamp\"\n{field}")),
            "table `others`: field `extra` is new"
        );
        let added = schema(&format!("{OLD}[[table]]\nname = \"more\"\ntag = 3\n{field}required = true\n"));
        assert_eq!(added.evolve_from(&schema(OLD)).unwrap().to_string(), "table `more` is new");
        let back = schema(OLD).evolve_from(&added).unwrap();
        assert_eq!(back.to_string(), "table `more` is removed; its rows are not shown any more");
    }

    #[test]
    fn a_field_that_becomes_required_needs_an_initial_value() {
        let error = evolve("scale = 2", "scale = 2\nrequired = true").unwrap_err().to_string();
        assert_eq!(
            error,
            "line 5: table `rows`, field `price`: a field that is required later needs a value for rows that devices create before \
             they know it; add `initial = ...`, or remove `required`"
        );
        assert_eq!(narrowing("scale = 2", "scale = 2\nrequired = true\ninitial = 1"), 1);
        let field = "[[table.field]]\nname = \"extra\"\ntag = 9\nkind = \"int\"\nrequired = true\n";
        let error = evolve("kind = \"timestamp\"\n", &format!("kind = \"timestamp\"\n{field}")).unwrap_err().to_string();
        assert!(error.starts_with("line 28: table `others`, field `extra`: a field that is required later"), "{error}");
        assert!(evolve("kind = \"timestamp\"\n", &format!("kind = \"timestamp\"\n{field}initial = 0\n")).is_ok());
        let error =
            evolve("kind = \"timestamp\"\n", &format!("kind = \"timestamp\"\n{field}unique = true\n")).unwrap_err().to_string();
        assert!(error.contains("a unique field cannot become required later"), "{error}");
    }

    #[test]
    fn an_initial_value_stays() {
        for to in ["initial = \"other\"", ""] {
            let error = evolve("initial = \"none\"", to).unwrap_err().to_string();
            assert!(error.contains("`initial` cannot change, because rows were made with it; put `none` back"), "{error}");
        }
        assert_eq!(changes("required = true\n", ""), "table `rows`: field `code` is not required any more");
    }

    #[test]
    fn what_existing_rows_may_violate_is_marked() {
        let text = "kind = \"text\"\nrequired = true";
        assert_eq!(narrowing(text, &format!("{text}\nmax_length = 10")), 1);
        assert_eq!(narrowing(text, &format!("{text}\nchoices = [\"none\"]")), 1);
        assert_eq!(narrowing("scale = 2", "scale = 2\nmin = 0"), 1);
        assert_eq!(narrowing("scale = 2", "scale = 2\nunique = true"), 1);
        assert_eq!(narrowing("references = \"rows\"", "references = \"rows\"\non_delete = \"keep\""), 1);
        let limited = schema(&OLD.replace("scale = 2", "scale = 2\nmin = 0\nmax = 9"));
        let wider = schema(&OLD.replace("scale = 2", "scale = 2\nmin = -1"));
        assert_eq!(wider.evolve_from(&limited).unwrap().narrowing().count(), 0);
        assert_eq!(limited.evolve_from(&wider).unwrap().narrowing().count(), 1);
    }

    #[test]
    fn the_scope_table_stays_and_a_table_may_change_its_scope() {
        let clinic = schema(CLINIC);
        let open = schema(&CLINIC.replacen("scope = \"site\"\nstrict", "strict", 1));
        let opened = open.evolve_from(&clinic).unwrap();
        assert!(opened.to_string().contains("table `stock`: its rows belong to no scope now: every user"), "{opened}");
        assert_eq!(opened.narrowing().next().map(|change| (change.table, change.field)), Some((Some(TableTag(5)), None)));
        let others = "name = \"o\"\nscope_table = \"others\"\n[[table]]\nname = \"others\"\ntag = 9\n[[table.field]]\nname = \"n\"\ntag = 1\n\
                      kind = \"int\"\n[[table]]\nname = \"scoped\"\ntag = 10\nscope = \"o\"\n[[table.field]]\nname = \"o\"\ntag = 1\n\
                      kind = \"reference\"\nreferences = \"others\"\nrequired = true\n";
        let error = schema(others).evolve_from(&clinic).unwrap_err().to_string();
        assert!(error.starts_with("line 2: schema: another table cannot become the scope table"), "{error}");
    }
}
