//! From declarations to a sound [`Schema`]: names and tags, groups, scope, rights.

use super::entries::{At, list};
use super::field::{TablesByName, validate_field};
use super::model::{Field, FieldGroup, Role, Schema, Table};
use super::problem::{Problem, Problems, SchemaError};
use super::read::{DeclaredGroup, DeclaredSchema, DeclaredTable, roles};
use crate::ids::{FieldTag, Hash16, TableTag};
use crate::limits::{NAME_BYTES_MAX, SCHEMA_BYTES_MAX};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

impl Schema {
    /// Reads and validates a `schema.toml`.
    ///
    /// # Errors
    /// [`SchemaError`] with everything that is wrong, by line.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > SCHEMA_BYTES_MAX {
            let message = format!("{} bytes are too many; at most {SCHEMA_BYTES_MAX} are allowed", text.len());
            return Err(SchemaError { problems: vec![Problem { line: 1, what: "schema".to_owned(), message }] });
        }
        let text = normalised(text).into_owned();
        let (declared, mut problems) = DeclaredSchema::read(&text);
        let (scope_table, tables) = validate(&declared, &mut problems);
        problems.into_result()?;
        let name = declared.name.map(|at| at.value).unwrap_or_default();
        Ok(Self { name, scope_table, tables, hash: Self::hash_of(&text), text })
    }

    /// What identifies a schema: the first sixteen bytes of BLAKE3 over its text, without a byte order mark and with `\n` at
    /// the end of each line, so that a file checked out on another system is the same schema.
    pub fn hash_of(text: &str) -> Hash16 {
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(normalised(text).as_bytes()).as_bytes()[..16]);
        Hash16(hash)
    }
}

fn normalised(text: &str) -> Cow<'_, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains("\r\n") { text.replace("\r\n", "\n").into() } else { text.into() }
}

fn validate(declared: &DeclaredSchema, problems: &mut Problems) -> (Option<TableTag>, Vec<Table>) {
    if let Some(name) = &declared.name {
        check_words(name, "name", "schema", problems);
    }
    if declared.tables.is_empty() && declared.name.is_some() {
        problems.add(1, "schema", "there is no table; add one that begins with `[[table]]`");
    }
    check_distinct(declared.tables.iter().map(|t| (t.what.as_str(), &t.name, &t.tag)), "table", problems);
    let by_name: TablesByName<'_> = declared
        .tables
        .iter()
        .filter_map(|table| Some((table.name.as_ref()?.value.as_str(), TableTag(table.tag.as_ref().map_or(0, |at| at.value)))))
        .collect();
    let scope_table = declared.scope_table.as_ref().and_then(|at| {
        let found = by_name.get(at.value.as_str()).copied();
        if found.is_none() {
            let known = list(by_name.keys().copied());
            problems.add(
                at.line,
                "schema",
                format!("`scope_table` names `{}`, which is no table; the tables are {known}", at.value),
            );
        }
        found
    });
    if let Some(at) = &declared.scope_table
        && declared.tables.iter().all(|table| table.scope.is_none())
    {
        let message = "no table has a scope field, so everybody would see everything; add `scope = \"...\"` to the tables that \
                       belong to a scope, or remove `scope_table`";
        problems.add(at.line, "schema", message);
    }
    let scopes = Scopes { declared: declared.scope_table.is_some(), table: scope_table };
    let mut tables: Vec<Table> =
        declared.tables.iter().map(|table| validate_table(&by_name, &scopes, table, problems)).collect();
    tables.sort_by_key(|table| table.tag);
    (scope_table, tables)
}

/// The scope table as the file names it.
struct Scopes {
    declared: bool,
    table: Option<TableTag>,
}

fn validate_table(by_name: &TablesByName<'_>, scopes: &Scopes, declared: &DeclaredTable, problems: &mut Problems) -> Table {
    let what = declared.what.as_str();
    if declared.fields.is_empty() {
        problems.add(declared.line, what, "there is no field; add one that begins with `[[table.field]]`");
    }
    check_distinct(declared.fields.iter().map(|f| (f.what.as_str(), &f.name, &f.tag)), "field", problems);
    let mut fields: Vec<Field> = declared.fields.iter().map(|field| validate_field(by_name, field, problems)).collect();
    fields.sort_by_key(|field| field.tag);
    let name = check_name(&declared.name, what, problems);
    let scope = scope_of(scopes, declared, &fields, problems);
    let (read, write) = rights_of(declared, problems);
    Table {
        tag: TableTag(declared.tag.as_ref().map_or(0, |at| at.value)),
        label: label_of(&declared.label, &name, what, problems),
        name,
        groups: groups_of(declared, &fields, scope, problems),
        strict: declared.strict,
        preselect: declared.preselect,
        scope,
        title: title_of(declared, &fields, problems),
        read,
        write,
        fields,
    }
}

fn scope_of(scopes: &Scopes, declared: &DeclaredTable, fields: &[Field], problems: &mut Problems) -> Option<FieldTag> {
    let At { line, value: name } = declared.scope.as_ref()?;
    if !scopes.declared {
        problems.add(*line, &declared.what, "`scope` needs the table of the scopes; add `scope_table = \"...\"` at the top");
    } else if scopes.table.is_some_and(|table| declared.tag.as_ref().is_some_and(|tag| tag.value == table.0)) {
        problems.add(*line, &declared.what, "the scope table itself has no scope; remove `scope`");
    }
    let field = named(fields, name, *line, "scope", &declared.what, problems)?;
    // The lines of the field itself are where it has to be changed.
    let of_field = declared.fields.iter().find(|declared| declared.name.as_ref().is_some_and(|at| at.value == *name))?;
    if field.reference.map(|reference| reference.table) != scopes.table && scopes.table.is_some() {
        let message = "a scope field must be a reference to the scope table; add `kind = \"reference\"` and `references`";
        problems.add(of_field.line, &of_field.what, message);
    }
    if !field.required {
        problems.add(of_field.line, &of_field.what, "a scope field must be required; add `required = true`");
    }
    Some(field.tag)
}

fn groups_of(declared: &DeclaredTable, fields: &[Field], scope: Option<FieldTag>, problems: &mut Problems) -> Vec<FieldGroup> {
    let mut names = BTreeSet::new();
    let mut taken: BTreeMap<FieldTag, &str> = BTreeMap::new();
    let mut groups = Vec::new();
    for group in &declared.groups {
        let name = check_name(&group.name, &group.what, problems);
        if let Some(at) = group.name.as_ref().filter(|at| !names.insert(at.value.as_str())) {
            problems.add(at.line, &group.what, "there is another group of this name; choose another one");
        }
        let members = members_of(group, fields, scope, problems);
        for tag in &members {
            if let Some(other) = taken.insert(*tag, &group.what) {
                let field = fields.iter().find(|field| field.tag == *tag).map_or("", |field| field.name.as_str());
                let message = format!("field `{field}` is in {other} too; a field is in at most one group");
                problems.add(group.line, &group.what, message);
            }
        }
        groups.push(FieldGroup { label: label_of(&group.label, &name, &group.what, problems), name, fields: members });
    }
    groups
}

fn members_of(group: &DeclaredGroup, fields: &[Field], scope: Option<FieldTag>, problems: &mut Problems) -> Vec<FieldTag> {
    let Some(At { line, value: names }) = &group.fields else { return Vec::new() };
    let found = names.iter().filter_map(|name| named(fields, name, *line, "fields", &group.what, problems));
    let tags: BTreeSet<FieldTag> = found.map(|field| field.tag).collect();
    if names.len() < 2 || (tags.len() == 1 && names.iter().all(|name| *name == names[0])) {
        problems.add(*line, &group.what, "a group has at least two different fields; add one, or remove the group");
    }
    if scope.is_some_and(|scope| tags.contains(&scope)) {
        problems.add(*line, &group.what, "the scope field cannot be in a group; remove it from `fields`");
    }
    tags.into_iter().collect()
}

/// The declared title, or the first text field, or the first field.
fn title_of(declared: &DeclaredTable, fields: &[Field], problems: &mut Problems) -> Vec<FieldTag> {
    let Some(At { line, value: names }) = &declared.title else {
        let text = fields.iter().find(|field| field.kind == super::model::Kind::Text);
        return text.or(fields.first()).map(|field| field.tag).into_iter().collect();
    };
    if names.is_empty() {
        problems.add(*line, &declared.what, "`title` is empty, so no row would have a name; name a field or remove it");
    }
    let mut tags = Vec::with_capacity(names.len());
    for name in names {
        let Some(field) = named(fields, name, *line, "title", &declared.what, problems) else { continue };
        if tags.contains(&field.tag) {
            problems.add(*line, &declared.what, format!("`title` names `{name}` twice; remove one"));
        }
        tags.push(field.tag);
    }
    tags
}

fn rights_of(declared: &DeclaredTable, problems: &mut Problems) -> (Vec<Role>, Vec<Role>) {
    let mut of = |at: &Option<At<Vec<String>>>, default: &[Role]| match at {
        Some(at) => roles(&declared.what, at, problems),
        None => default.to_vec(),
    };
    let read = of(&declared.read, &Role::ALL);
    let default: Vec<Role> = [Role::Admin, Role::Editor].into_iter().filter(|role| read.contains(role)).collect();
    let write = of(&declared.write, &default);
    if let Some(at) = &declared.write {
        if write.contains(&Role::Viewer) {
            problems.add(at.line, &declared.what, "a viewer never writes; remove `viewer` from `write`");
        }
        for role in write.iter().filter(|role| **role != Role::Viewer && !read.contains(role)) {
            let message = format!("`{role}` may write but not read; add it to `read` or remove it from `write`");
            problems.add(at.line, &declared.what, message);
        }
    }
    (read, write)
}

/// The field that `key` names, or a problem.
fn named<'a>(
    fields: &'a [Field],
    name: &str,
    line: usize,
    key: &str,
    what: &str,
    problems: &mut Problems,
) -> Option<&'a Field> {
    let found = fields.iter().find(|field| field.name == name);
    if found.is_none() {
        let known = list(fields.iter().map(|field| field.name.as_str()));
        problems.add(line, what, format!("`{key}` names `{name}`, which is no field of the table; the fields are {known}"));
    }
    found
}

/// Reports names and tags that are there twice.
fn check_distinct<'a>(
    parts: impl Iterator<Item = (&'a str, &'a Option<At<String>>, &'a Option<At<u16>>)>,
    noun: &str,
    problems: &mut Problems,
) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tags: BTreeMap<u16, &str> = BTreeMap::new();
    for (what, name, tag) in parts {
        if let Some(At { line, value }) = name
            && let Some(first) = names.insert(value, *line)
        {
            problems.add(*line, what, format!("there is another {noun} of this name in line {first}; choose another one"));
        }
        if let Some(At { line, value }) = tag
            && let Some(other) = tags.insert(*value, what)
        {
            let message = format!("tag {value} belongs to {other}; give each its own, and never one that was used before");
            problems.add(*line, what, message);
        }
    }
}

/// The name, with a problem where it is no identifier.
pub(super) fn check_name(name: &Option<At<String>>, what: &str, problems: &mut Problems) -> String {
    let Some(At { line, value }) = name else { return String::new() };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !value.starts_with(|c: char| c.is_ascii_lowercase()) || !value.chars().all(letters) {
        let message = "`name` must begin with a letter a-z, and go on with a-z, 0-9 and _; what people read is the `label`";
        problems.add(*line, what, message);
    }
    if value.len() > NAME_BYTES_MAX {
        problems.add(*line, what, format!("`name` has {} bytes; at most {NAME_BYTES_MAX} are allowed", value.len()));
    }
    value.clone()
}

/// The label, or one made of the name: `birth_date` becomes "Birth date".
pub(super) fn label_of(label: &Option<At<String>>, name: &str, what: &str, problems: &mut Problems) -> String {
    if let Some(at) = label {
        check_words(at, "label", what, problems);
        return at.value.clone();
    }
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// Reports words for people that cannot be shown in a line.
fn check_words(at: &At<String>, key: &str, what: &str, problems: &mut Problems) {
    if at.value.trim().is_empty() || at.value.chars().any(char::is_control) {
        problems.add(at.line, what, format!("`{key}` must be words in one line"));
    }
    // People's words may be in any script, with up to four bytes a character.
    if at.value.chars().count() > NAME_BYTES_MAX {
        problems.add(at.line, what, format!("`{key}` must be at most {NAME_BYTES_MAX} characters long"));
    }
}
