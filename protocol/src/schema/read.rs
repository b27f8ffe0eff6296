//! `schema.toml` as it is written: every key with its line, nothing resolved yet.

use super::entries::{At, Document, Entries};
use super::model::{OnDelete, Preselect, Role, TimeUnit};
use super::nesting::nesting_problem;
use super::plain::Plain;
use super::problem::Problems;
use crate::limits::{FIELDS_MAX, TABLES_MAX};
use toml::de::DeTable;

/// A schema as declared. What is missing or malformed is `None` and was reported.
#[derive(Default)]
pub(super) struct DeclaredSchema {
    pub(super) name: Option<At<String>>,
    pub(super) scope_table: Option<At<String>>,
    pub(super) tables: Vec<DeclaredTable>,
}

/// A `[[table]]`.
pub(super) struct DeclaredTable {
    pub(super) line: usize,
    pub(super) what: String,
    pub(super) name: Option<At<String>>,
    pub(super) tag: Option<At<u16>>,
    pub(super) label: Option<At<String>>,
    pub(super) title: Option<At<Vec<String>>>,
    pub(super) strict: bool,
    pub(super) preselect: Preselect,
    pub(super) scope: Option<At<String>>,
    pub(super) read: Option<At<Vec<String>>>,
    pub(super) write: Option<At<Vec<String>>>,
    pub(super) fields: Vec<DeclaredField>,
    pub(super) groups: Vec<DeclaredGroup>,
}

/// A `[[table.field]]`.
pub(super) struct DeclaredField {
    pub(super) line: usize,
    pub(super) what: String,
    pub(super) name: Option<At<String>>,
    pub(super) tag: Option<At<u16>>,
    pub(super) kind: Option<At<KindWord>>,
    pub(super) label: Option<At<String>>,
    pub(super) required: Option<At<bool>>,
    pub(super) unique: Option<At<bool>>,
    pub(super) default: Option<At<Plain>>,
    pub(super) initial: Option<At<Plain>>,
    pub(super) choices: Option<At<Vec<String>>>,
    pub(super) min: Option<At<Plain>>,
    pub(super) max: Option<At<Plain>>,
    pub(super) min_length: Option<At<u32>>,
    pub(super) max_length: Option<At<u32>>,
    pub(super) references: Option<At<String>>,
    pub(super) on_delete: Option<At<OnDelete>>,
    pub(super) scale: Option<At<u32>>,
    pub(super) unit: Option<At<TimeUnit>>,
    pub(super) multiline: Option<At<bool>>,
}

/// A `[[table.group]]`.
pub(super) struct DeclaredGroup {
    pub(super) line: usize,
    pub(super) what: String,
    pub(super) name: Option<At<String>>,
    pub(super) label: Option<At<String>>,
    pub(super) fields: Option<At<Vec<String>>>,
}

/// The word after `kind =`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KindWord {
    Text,
    Bool,
    Int,
    Float,
    Decimal,
    Date,
    Timestamp,
    Uuid,
    Reference,
    Bytes,
}

impl KindWord {
    const WORDS: [(&'static str, Self); 10] = [
        ("text", Self::Text),
        ("bool", Self::Bool),
        ("int", Self::Int),
        ("float", Self::Float),
        ("decimal", Self::Decimal),
        ("date", Self::Date),
        ("timestamp", Self::Timestamp),
        ("uuid", Self::Uuid),
        ("reference", Self::Reference),
        ("bytes", Self::Bytes),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

impl DeclaredSchema {
    /// Reads what is declared, and everything that is wrong with its form.
    pub(super) fn read(text: &str) -> (Self, Problems) {
        let mut doc = Document::new(text);
        if let Some((offset, message)) = nesting_problem(text) {
            let line = doc.line(offset);
            doc.problems.add(line, "schema", format!("this is not TOML for a schema: {message}"));
            return (Self::default(), doc.problems);
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = doc.line(error.span().map_or(0, |span| span.start));
            doc.problems.add(line, "schema", format!("this is not TOML: {}", error.message()));
        }
        if !errors.is_empty() {
            return (Self::default(), doc.problems);
        }
        let mut root = Entries::new(root.get_ref(), 1, "schema".to_owned());
        let name = root.needed_text(&mut doc, "name", "the name of your application: `name = \"clinic\"`");
        let scope_table = root.text(&mut doc, "scope_table");
        let tables = root.tables(&mut doc, "table", TABLES_MAX);
        root.finish(&mut doc);
        let tables = tables.into_iter().enumerate().map(|(at, (line, table))| read_table(&mut doc, at, line, table)).collect();
        (Self { name, scope_table, tables }, doc.problems)
    }
}

fn read_table(doc: &mut Document, index: usize, line: usize, table: &DeTable<'_>) -> DeclaredTable {
    let mut entries = Entries::new(table, line, called("table", index, table));
    let name = entries.needed_text(doc, "name", "the name for files and commands: `name = \"patients\"`");
    let tag = entries.needed_tag(doc);
    let label = entries.text(doc, "label");
    let title = entries.texts(doc, "title");
    let strict = entries.flag(doc, "strict").is_some_and(|at| at.value);
    let sides = [("mine", Preselect::Mine), ("server", Preselect::Server), ("nothing", Preselect::Nothing)];
    let preselect = entries.word(doc, "preselect", &sides).map_or_else(Preselect::default, |at| at.value);
    let scope = entries.text(doc, "scope");
    let read = entries.texts(doc, "read");
    let write = entries.texts(doc, "write");
    let fields = entries.tables(doc, "field", FIELDS_MAX);
    let groups = entries.tables(doc, "group", FIELDS_MAX);
    let what = entries.what.clone();
    entries.finish(doc);
    let fields = fields.into_iter().enumerate().map(|(at, (line, field))| read_field(doc, &what, at, line, field)).collect();
    let groups = groups.into_iter().enumerate().map(|(at, (line, group))| read_group(doc, &what, at, line, group)).collect();
    DeclaredTable { line, what, name, tag, label, title, strict, preselect, scope, read, write, fields, groups }
}

fn read_field(doc: &mut Document, table: &str, index: usize, line: usize, field: &DeTable<'_>) -> DeclaredField {
    let what = format!("{table}, {}", called("field", index, field));
    let mut entries = Entries::new(field, line, what.clone());
    let units = [("seconds", TimeUnit::Seconds), ("milliseconds", TimeUnit::Milliseconds)];
    let declared = DeclaredField {
        line,
        what,
        name: entries.needed_text(doc, "name", "the name for files and commands: `name = \"phone\"`"),
        tag: entries.needed_tag(doc),
        kind: {
            let kind = entries.word(doc, "kind", &KindWord::WORDS);
            if kind.is_none() && !field.contains_key("kind") {
                doc.problems.add(line, &entries.what, "`kind` is missing; add what it holds: `kind = \"text\"`");
            }
            kind
        },
        label: entries.text(doc, "label"),
        required: entries.flag(doc, "required"),
        unique: entries.flag(doc, "unique"),
        default: entries.plain(doc, "default"),
        initial: entries.plain(doc, "initial"),
        choices: entries.texts(doc, "choices"),
        min: entries.plain(doc, "min"),
        max: entries.plain(doc, "max"),
        min_length: entries.count(doc, "min_length"),
        max_length: entries.count(doc, "max_length"),
        references: entries.text(doc, "references"),
        on_delete: entries.word(doc, "on_delete", &[("refuse", OnDelete::Refuse), ("keep", OnDelete::Keep)]),
        scale: entries.count(doc, "scale"),
        unit: entries.word(doc, "unit", &units),
        multiline: entries.flag(doc, "multiline"),
    };
    entries.finish(doc);
    declared
}

fn read_group(doc: &mut Document, table: &str, index: usize, line: usize, group: &DeTable<'_>) -> DeclaredGroup {
    let what = format!("{table}, {}", called("group", index, group));
    let mut entries = Entries::new(group, line, what.clone());
    let name = entries.needed_text(doc, "name", "the name of the group: `name = \"dose\"`");
    let label = entries.text(doc, "label");
    let fields = entries.texts(doc, "fields");
    if fields.is_none() && !group.contains_key("fields") {
        doc.problems.add(line, &what, "`fields` is missing; add the fields decided as one: `fields = [\"dose\", \"unit\"]`");
    }
    entries.finish(doc);
    DeclaredGroup { line, what, name, label, fields }
}

/// How problems call a part: by its name, or by its place where it has none.
fn called(part: &str, index: usize, table: &DeTable<'_>) -> String {
    match table.get("name").and_then(|name| name.get_ref().as_str()) {
        Some(name) => format!("{part} `{}`", name.chars().take(64).collect::<String>()),
        None => format!("{part} number {}", index + 1),
    }
}

/// The roles that a list names.
pub(super) fn roles(what: &str, at: &At<Vec<String>>, problems: &mut Problems) -> Vec<Role> {
    let mut roles = vec![Role::Admin];
    for word in &at.value {
        match Role::parse(word) {
            Ok(role) => roles.push(role),
            Err(unknown) => problems.add(at.line, what, unknown.to_string()),
        }
    }
    roles.sort();
    roles.dedup();
    roles
}
