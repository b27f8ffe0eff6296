//! The validated model. Made only by the reader of `schema.toml`, so whoever holds a [`Schema`] holds a sound one.

use crate::ids::{FieldTag, Hash16, Section, TableTag};
use crate::planted::{Planted, planted};
use crate::value::Value;

/// A validated schema.
#[derive(Clone, PartialEq, Debug)]
pub struct Schema {
    /// Name of the workspace's application, shown to people.
    pub name: String,
    /// The table whose rows are the scopes (clinics, sites); none where the schema has no scopes.
    pub scope_table: Option<TableTag>,
    /// Tables by ascending tag.
    pub tables: Vec<Table>,
    /// The `schema.toml` that this was read from, with `\n` at the end of each line: what is logged, sent and stored.
    pub text: String,
    /// Hash of `text`; see [`Schema::hash_of`].
    pub hash: Hash16,
}

/// A table.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// Stable number.
    pub tag: TableTag,
    /// Name in files, commands and code.
    pub name: String,
    /// Name for people, in the plural ("Patients").
    pub label: String,
    /// Fields by ascending tag.
    pub fields: Vec<Field>,
    /// Fields that are compared and decided as one (C2). A field is in at most one group.
    pub groups: Vec<FieldGroup>,
    /// Every change of a row newer than the base is a conflict (C3).
    pub strict: bool,
    /// The side that a conflict dialog selects beforehand.
    pub preselect: Preselect,
    /// The scope field: a required reference to the scope table (section 9).
    pub scope: Option<FieldTag>,
    /// The fields whose values name a row to people; never empty.
    pub title: Vec<FieldTag>,
    /// Roles that may read.
    pub read: Vec<Role>,
    /// Roles that may write.
    pub write: Vec<Role>,
}

/// A field group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldGroup {
    /// Name in files.
    pub name: String,
    /// Name for people.
    pub label: String,
    /// Its fields by ascending tag; at least two.
    pub fields: Vec<FieldTag>,
}

/// A field.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// Stable number within the table.
    pub tag: FieldTag,
    /// Name in files, commands and code.
    pub name: String,
    /// Name for people.
    pub label: String,
    /// What it holds.
    pub kind: Kind,
    /// Null is refused.
    pub required: bool,
    /// No two live rows of the table (of the scope value, in scoped tables) have the same value; null never clashes.
    pub unique: bool,
    /// Written by the client that creates a row, where no value is given (H7).
    pub default: Option<Value>,
    /// Written by the server into creates made under a schema that did not have the field yet, or did not require it, and into
    /// restores of rows that lack it where it is required (H7).
    pub initial: Option<Value>,
    /// Allowed texts; empty where any is allowed.
    pub choices: Vec<String>,
    /// Smallest value allowed, inclusive.
    pub min: Option<Value>,
    /// Largest value allowed, inclusive.
    pub max: Option<Value>,
    /// Fewest characters of a text, or bytes of bytes.
    pub min_length: Option<u32>,
    /// Most characters of a text, or bytes of bytes.
    pub max_length: Option<u32>,
    /// The table that a uuid field refers to.
    pub reference: Option<Reference>,
    /// A long text, edited in several lines.
    pub multiline: bool,
}

/// Where a reference points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reference {
    /// The table referred to.
    pub table: TableTag,
    /// What happens to this row when that one is deleted.
    pub on_delete: OnDelete,
}

/// What deleting the target of a reference means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnDelete {
    /// The deletion is refused while live rows refer to the row.
    #[default]
    Refuse,
    /// The deletion is allowed and the reference stays.
    Keep,
}

/// The kind of a field's values; fixed with its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Yes or no.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A finite number of 64 bits.
    Float,
    /// A decimal with this many digits behind the point, 0 to 9.
    Decimal {
        /// Digits behind the point.
        scale: u8,
    },
    /// Text in NFC.
    Text,
    /// A day.
    Date,
    /// A moment, counted in this unit.
    Timestamp {
        /// The unit counted.
        unit: TimeUnit,
    },
    /// An id; with a reference, of a row.
    Uuid,
    /// Bytes.
    Bytes,
}

/// Unit of a timestamp field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// The side that a conflict dialog selects beforehand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preselect {
    /// The person's own value.
    #[default]
    Mine,
    /// The server's value.
    Server,
    /// Nothing: the person must choose.
    Nothing,
}

/// What a user is.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    crate::codec::Encode,
    crate::codec::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// 0: reads and writes everything in the scopes, and manages users.
    Admin,
    /// 1: reads and writes what the tables allow.
    Editor,
    /// 2: reads what the tables allow.
    Viewer,
}

impl Schema {
    /// The table with this tag.
    pub fn table(&self, tag: TableTag) -> Option<&Table> {
        self.tables.binary_search_by_key(&tag, |table| table.tag).ok().map(|index| &self.tables[index])
    }

    /// The table with this name.
    pub fn table_named(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The fields that refer to a table: what a deletion there has to look at (P7).
    pub fn referrers(&self, target: TableTag) -> impl Iterator<Item = (&Table, &Field)> {
        self.tables
            .iter()
            .flat_map(|table| table.fields.iter().map(move |field| (table, field)))
            .filter(move |(_, field)| field.reference.is_some_and(|reference| reference.table == target))
    }
}

impl Table {
    /// The field with this tag.
    pub fn field(&self, tag: FieldTag) -> Option<&Field> {
        self.fields.binary_search_by_key(&tag, |field| field.tag).ok().map(|index| &self.fields[index])
    }

    /// The field with this name.
    pub fn field_named(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The scope field.
    pub fn scope_field(&self) -> Option<&Field> {
        self.scope.and_then(|tag| self.field(tag))
    }

    /// What a row with these values is called: its title fields, those that are there. Empty where none is.
    pub fn title_of(&self, value_of: impl Fn(FieldTag) -> Option<Value>) -> String {
        let texts = self.title.iter().filter_map(|tag| Some(self.field(*tag)?.show(&value_of(*tag)?)));
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// The fields that are decided together with `tag`: its group, or itself alone (C2).
    pub fn unit<'a>(&'a self, tag: &'a FieldTag) -> &'a [FieldTag] {
        self.groups
            .iter()
            .find(|group| group.fields.contains(tag) && !planted(Planted::GroupByField))
            .map_or(std::slice::from_ref(tag), |group| group.fields.as_slice())
    }

    /// The section that a row with these values belongs to; `None` where the scope field has no value.
    pub fn section(&self, value_of: impl Fn(FieldTag) -> Option<Value>) -> Option<Section> {
        let Some(field) = self.scope else {
            return Some(Section { table: self.tag, scope: None });
        };
        match value_of(field) {
            Some(Value::Uuid(bytes)) => {
                let value = crate::ids::RowId::from_bytes(bytes);
                Some(Section { table: self.tag, scope: Some(crate::ids::ScopeKey { field, value }) })
            }
            _ => None,
        }
    }
}

impl Role {
    /// All roles, the most powerful first.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Editor, Self::Viewer];

    /// The role with this name.
    ///
    /// # Errors
    /// [`UnknownRole`] for any other word.
    pub fn parse(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| UnknownRole(name.to_owned()))
    }

    /// The name in files and commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::parse(name)
    }
}

/// A word that names no role.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no role; the roles are admin, editor and viewer")]
pub struct UnknownRole(pub String);
