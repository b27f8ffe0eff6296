//! What is wrong with a schema is said with its line, its place and the way out.

use super::{CLINIC, Kind, OnDelete, Preselect, RENTAL, Role, Schema, TimeUnit};
use crate::ids::{FieldTag, TableTag};
use crate::limits::{CHOICES_MAX, FIELDS_MAX, NAME_BYTES_MAX, SCHEMA_BYTES_MAX, TABLES_MAX};
use crate::value::Value;
use proptest::prelude::*;

/// Seven lines, so that what a test adds begins in line 8: the attributes of field `it`.
const FIELD: &str = "name = \"x\"\n[[table]]\nname = \"rows\"\ntag = 1\n[[table.field]]\nname = \"it\"\ntag = 1\n";

/// A scope table and a table `rows` with the field `site` in line 14; what a test adds begins in line 19.
const SCOPED: &str = r#"name = "x"
scope_table = "sites"
[[table]]
name = "sites"
tag = 1
[[table.field]]
name = "name"
tag = 1
kind = "text"
[[table]]
name = "rows"
tag = 2
scope = "site"
[[table.field]]
name = "site"
tag = 1
kind = "reference"
references = "sites"
"#;

fn problems(text: &str) -> String {
    Schema::parse(text).expect_err("the schema is wrong").to_string()
}

/// The problems of a schema whose field `it` has these attributes in line 8 and below.
fn field_problems(attributes: &str) -> String {
    problems(&format!("{FIELD}{attributes}\n")).replace("table `rows`, field `it`", "it")
}

/// The problems of a schema whose table `rows` has these lines, from line 3 on, before a text field `a` and an int field `b`.
fn table_problems(attributes: &str, groups: &str) -> String {
    let fields =
        "[[table.field]]\nname = \"a\"\ntag = 1\nkind = \"text\"\n[[table.field]]\nname = \"b\"\ntag = 2\nkind = \"int\"\n";
    problems(&format!("name = \"x\"\n[[table]]\n{attributes}\nname = \"rows\"\ntag = 1\n{fields}{groups}\n"))
}

#[test]
fn all_problems_are_reported_at_once_by_line() {
    let text = "scope_tabel = \"x\"\n[[table]]\nname = \"Rows\"\ntag = 0\n[[table.field]]\nname = \"id\"\nkind = \"txt\"\n";
    let lines: Vec<String> = problems(text).lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "line 1: schema: `name` is missing; add the name of your application: `name = \"clinic\"`",
            "line 1: schema: `scope_tabel` is not known here; known are `name`, `scope_table`, `table`",
            "line 3: table `Rows`: `name` must begin with a letter a-z, and go on with a-z, 0-9 and _; what people read is the `label`",
            "line 4: table `Rows`: `tag` must be a whole number from 1 to 65535",
            "line 5: table `Rows`, field `id`: `tag` is missing; add a number that stays with it for ever: `tag = 1`",
            "line 6: table `Rows`, field `id`: `id` is the name of every row's own id; choose another name",
            "line 7: table `Rows`, field `id`: `kind` must be one of `text`, `bool`, `int`, `float`, `decimal`, `date`, `timestamp`, `uuid`, `reference`, `bytes`",
        ]
    );
}

#[test]
fn what_is_not_toml_is_named_by_line() {
    let error = problems("name = \"x\"\n[[table]\nname = ");
    assert!(error.starts_with("line 2: schema: this is not TOML: "), "{error}");
    assert!(error.lines().any(|line| line.starts_with("line 3: ")), "{error}");
    let twice = problems("name = \"x\"\nname = \"y\"");
    assert_eq!(twice, "line 2: schema: this is not TOML: duplicate key");
}

#[test]
fn an_empty_file_says_how_to_begin() {
    assert_eq!(problems(""), "line 1: schema: `name` is missing; add the name of your application: `name = \"clinic\"`");
    assert_eq!(problems("name = \"x\""), "line 1: schema: there is no table; add one that begins with `[[table]]`");
    let empty = problems("name = \"x\"\n[[table]]\nname = \"a\"\ntag = 1");
    assert_eq!(empty, "line 2: table `a`: there is no field; add one that begins with `[[table.field]]`");
    assert_eq!(
        problems("name = \"x\"\ntable = 5").lines().next(),
        Some("line 1: schema: there is no table; add one that begins with `[[table]]`")
    );
}

#[test]
fn parts_without_a_name_are_called_by_their_place() {
    let text = "name = \"x\"\n[[table]]\ntag = 1\n[[table.field]]\ntag = 1\nkind = \"int\"\n[[table.group]]\nlabel = \"L\"\n";
    let error = problems(text);
    assert!(error.contains("line 2: table number 1: `name` is missing"), "{error}");
    assert!(error.contains("line 4: table number 1, field number 1: `name` is missing"), "{error}");
    assert!(error.contains("line 7: table number 1, group number 1: `name` is missing"), "{error}");
    assert!(error.contains("line 7: table number 1, group number 1: `fields` is missing"), "{error}");
}

#[test]
fn names_and_tags_are_there_once() {
    let table = |name: &str, tag: u16| {
        format!("[[table]]\nname = \"{name}\"\ntag = {tag}\n[[table.field]]\nname = \"f\"\ntag = 1\nkind = \"int\"\n")
    };
    let error = problems(&format!("name = \"x\"\n{}{}{}", table("a", 1), table("a", 2), table("c", 1)));
    assert_eq!(
        error,
        "line 10: table `a`: there is another table of this name in line 3; choose another one\n\
         line 18: table `c`: tag 1 belongs to table `a`; give each its own, and never one that was used before"
    );
    let error = field_problems("kind = \"int\"\n[[table.field]]\nname = \"it\"\ntag = 1\nkind = \"int\"");
    assert_eq!(
        error,
        "line 10: it: there is another field of this name in line 6; choose another one\n\
         line 11: it: tag 1 belongs to it; give each its own, and never one that was used before"
    );
}

#[test]
fn limits_are_checked() {
    let long = "a".repeat(SCHEMA_BYTES_MAX + 1);
    assert_eq!(problems(&long), "line 1: schema: 262145 bytes are too many; at most 262144 are allowed");
    let tables: String = (0..=TABLES_MAX)
        .map(|n| {
            format!("[[table]]\nname = \"t{n}\"\ntag = {}\n[[table.field]]\nname = \"f\"\ntag = 1\nkind = \"int\"\n", n + 1)
        })
        .collect();
    assert_eq!(
        problems(&format!("name = \"x\"\n{tables}")),
        "line 2: schema: 257 of `[[table]]` are too many; at most 256 are allowed"
    );
    let fields: String =
        (0..FIELDS_MAX).map(|n| format!("[[table.field]]\nname = \"f{n}\"\ntag = {}\nkind = \"int\"\n", n + 2)).collect();
    assert_eq!(
        field_problems(&format!("kind = \"int\"\n{fields}")),
        "line 5: table `rows`: 257 of `[[table.field]]` are too many; at most 256 are allowed"
    );
    let choices = (0..=CHOICES_MAX).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
    assert_eq!(
        field_problems(&format!("kind = \"text\"\nchoices = [{choices}]")),
        "line 9: it: 1025 choices are too many; at most 1024 are allowed"
    );
    let name = "n".repeat(NAME_BYTES_MAX + 1);
    let error = problems(&format!(
        "name = \"x\"\n[[table]]\nname = \"{name}\"\ntag = 1\n[[table.field]]\nname = \"f\"\ntag = 1\nkind = \"int\""
    ));
    assert!(error.ends_with("`name` has 65 bytes; at most 64 are allowed"), "{error}");
    assert_eq!(
        field_problems(&format!("kind = \"int\"\nlabel = \"{name}\"")),
        "line 9: it: `label` must be at most 64 characters long"
    );
}

#[test]
fn values_of_keys_have_their_type() {
    assert_eq!(field_problems("kind = 5"), field_problems("kind = \"number\""));
    let cases = [
        ("required = \"yes\"", "line 9: it: `required` must be true or false"),
        ("label = 5", "line 9: it: `label` must be a text in quotes"),
        ("label = \" \"", "line 9: it: `label` must be words in one line"),
        ("max_length = -1", "line 9: it: `max_length` must be a whole number, 0 or more"),
        ("choices = [1]", "line 9: it: `choices` must be a list of texts: [\"a\", \"b\"]"),
        ("default = [1]", "line 9: it: `default` must be a text, a number, true, false or a date"),
    ];
    for (line, expected) in cases {
        assert_eq!(field_problems(&format!("kind = \"text\"\n{line}")), expected);
    }
    assert_eq!(
        problems("name = \" \"\n[[table]]\nname = \"rows\"\ntag = 1\n[[table.field]]\nname = \"it\"\ntag = 1\nkind = \"int\""),
        "line 1: schema: `name` must be words in one line"
    );
    assert_eq!(
        table_problems("preselect = \"theirs\"", ""),
        "line 3: table `rows`: `preselect` must be one of `mine`, `server`, `nothing`"
    );
}

#[test]
fn attributes_that_do_not_fit_the_kind_are_named() {
    let cases = [
        ("bool", "unique = true", "`unique`"),
        ("float", "unique = true", "`unique`"),
        ("int", "choices = [\"1\"]", "`choices`"),
        ("int", "multiline = true", "`multiline`"),
        ("text", "min = 1", "`min`"),
        ("date", "max_length = 1", "`max_length`"),
        ("int", "scale = 2", "`scale`"),
        ("date", "unit = \"seconds\"", "`unit`"),
        ("uuid", "references = \"rows\"", "`references`"),
        ("text", "on_delete = \"keep\"", "`on_delete`"),
    ];
    for (kind, line, key) in cases {
        let error = field_problems(&format!("kind = \"{kind}\"\n{line}"));
        let expected = format!("line 9: it: {key} does not fit the kind `{kind}`, only ");
        assert!(error.starts_with(&expected), "{error}");
    }
    assert!(Schema::parse(&format!("{FIELD}kind = \"bool\"\nunique = false\nmultiline = false")).is_ok());
}

#[test]
fn a_kind_has_what_belongs_to_it() {
    let cases = [
        ("kind = \"decimal\"", "line 5: it: a decimal needs the number of digits behind the point; add `scale = 2`"),
        ("kind = \"decimal\"\nscale = 10", "line 9: it: `scale` must be 0 to 9"),
        ("kind = \"reference\"", "line 5: it: a reference needs the table that it refers to; add `references = \"...\"`"),
        (
            "kind = \"reference\"\nreferences = \"row\"",
            "line 9: it: there is no table `row` to refer to; the tables are `rows`",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(field_problems(lines), expected);
    }
}

#[test]
fn limits_and_values_of_a_field_fit_each_other() {
    let cases = [
        ("kind = \"int\"\nmin = 5\nmax = 4", "line 10: it: `max` is smaller than `min`; exchange them"),
        ("kind = \"int\"\nmin = \"a\"", "line 9: it: `min`: a whole number is expected here, not a text"),
        (
            "kind = \"decimal\"\nscale = 1\nmax = \"0.25\"",
            "line 10: it: `max`: `0.25` has more digits behind the point than the 1 that are kept: round it first",
        ),
        (
            "kind = \"date\"\nmin = \"soon\"",
            "line 9: it: `min`: `soon` is not a date: write year, month and day, like 2024-05-31",
        ),
        (
            "kind = \"text\"\nmin_length = 5\nmax_length = 4",
            "line 10: it: `max_length` is smaller than `min_length`; exchange them",
        ),
        ("kind = \"text\"\nmax_length = 0", "line 9: it: `max_length` must be 1 to 65536, which is all that a row can hold"),
        (
            "kind = \"text\"\nmin_length = 65537",
            "line 9: it: `min_length` must be 1 to 65536, which is all that a row can hold",
        ),
        ("kind = \"text\"\nchoices = []", "line 9: it: `choices` is empty, so nothing could be chosen; name some or remove it"),
        ("kind = \"text\"\nchoices = [\"a\", \"a\"]", "line 9: it: the choice `a` is there twice; remove one"),
        ("kind = \"text\"\nchoices = [\"a \"]", "line 9: it: the choice `a ` is empty or has space around it"),
        (
            "kind = \"text\"\nchoices = [\"a\"]\nmax_length = 3",
            "line 9: it: `choices` says all there is to say about the text; remove lengths and `multiline`",
        ),
        (
            "kind = \"text\"\nchoices = [\"a\", \"b\"]\ndefault = \"c\"",
            "line 10: it: `default` does not fit the field: choose one of a, b",
        ),
        (
            "kind = \"int\"\nmax = 5\ninitial = 6",
            "line 10: it: `initial` does not fit the field: the largest value allowed is 5",
        ),
        (
            "kind = \"text\"\nrequired = true\ndefault = \"\"",
            "line 10: it: `default` does not fit the field: a value is needed here",
        ),
        (
            "kind = \"int\"\nunique = true\ninitial = 6",
            "line 10: it: a unique field cannot have `initial`: the second row with it would clash; remove one of the two",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(field_problems(lines), expected);
    }
}

#[test]
fn titles_groups_and_rights_name_what_there_is() {
    let group = |fields: &str| format!("[[table.group]]\nname = \"g\"\nfields = [{fields}]");
    let cases = [
        (
            "title = []",
            String::new(),
            "line 3: table `rows`: `title` is empty, so no row would have a name; name a field or remove it",
        ),
        ("title = [\"a\", \"a\"]", String::new(), "line 3: table `rows`: `title` names `a` twice; remove one"),
        (
            "title = [\"c\"]",
            String::new(),
            "line 3: table `rows`: `title` names `c`, which is no field of the table; the fields are `a`, `b`",
        ),
        (
            "",
            group("\"a\""),
            "line 16: table `rows`, group `g`: a group has at least two different fields; add one, or remove the group",
        ),
        (
            "",
            group("\"a\", \"a\""),
            "line 16: table `rows`, group `g`: a group has at least two different fields; add one, or remove the group",
        ),
        (
            "",
            group("\"a\", \"c\""),
            "line 16: table `rows`, group `g`: `fields` names `c`, which is no field of the table; the fields are `a`, `b`",
        ),
        ("read = [\"boss\"]", String::new(), "line 3: table `rows`: `boss` is no role; the roles are admin, editor and viewer"),
        ("write = [\"viewer\"]", String::new(), "line 3: table `rows`: a viewer never writes; remove `viewer` from `write`"),
        (
            "write = [\"editor\"]\nread = [\"admin\"]",
            String::new(),
            "line 3: table `rows`: `editor` may write but not read; add it to `read` or remove it from `write`",
        ),
        (
            "scope = \"a\"",
            String::new(),
            "line 3: table `rows`: `scope` needs the table of the scopes; add `scope_table = \"...\"` at the top",
        ),
    ];
    for (attributes, groups, expected) in cases {
        assert_eq!(table_problems(attributes, &groups).lines().next(), Some(expected));
    }
}

#[test]
fn a_field_is_in_one_group_at_most() {
    let group = |name: &str| format!("[[table.group]]\nname = \"{name}\"\nfields = [\"a\", \"b\"]\n");
    let error = table_problems("", &format!("{}{}", group("g"), group("g")));
    assert_eq!(
        error,
        "line 17: table `rows`, group `g`: field `a` is in table `rows`, group `g` too; a field is in at most one group\n\
         line 17: table `rows`, group `g`: field `b` is in table `rows`, group `g` too; a field is in at most one group\n\
         line 18: table `rows`, group `g`: there is another group of this name; choose another one"
    );
}

#[test]
fn a_scope_field_is_a_required_reference_to_the_scope_table() {
    assert!(Schema::parse(&format!("{SCOPED}required = true")).is_ok());
    assert_eq!(problems(SCOPED), "line 14: table `rows`, field `site`: a scope field must be required; add `required = true`");
    let other = SCOPED.replace("references = \"sites\"", "references = \"rows\"\nrequired = true");
    assert_eq!(
        problems(&other),
        "line 14: table `rows`, field `site`: a scope field must be a reference to the scope table; add `kind = \"reference\"` and `references`"
    );
    let group = "required = true\n[[table.field]]\nname = \"a\"\ntag = 2\nkind = \"int\"\n[[table.group]]\nname = \"g\"\nfields = [\"a\", \"site\"]";
    assert_eq!(
        problems(&format!("{SCOPED}{group}")),
        "line 26: table `rows`, group `g`: the scope field cannot be in a group; remove it from `fields`"
    );
    let itself = SCOPED.replace("name = \"sites\"\ntag = 1", "name = \"sites\"\ntag = 1\nscope = \"name\"");
    assert!(problems(&itself).contains("line 6: table `sites`: the scope table itself has no scope; remove `scope`"));
}

#[test]
fn a_scope_table_is_one_that_is_there_and_used() {
    let missing = SCOPED.replace("scope_table = \"sites\"", "scope_table = \"site\"") + "required = true";
    assert_eq!(
        problems(&missing),
        "line 2: schema: `scope_table` names `site`, which is no table; the tables are `rows`, `sites`"
    );
    let unused = SCOPED.replace("scope = \"site\"\n", "");
    assert!(problems(&unused).starts_with("line 2: schema: no table has a scope field, so everybody would see everything"));
}

#[test]
fn what_is_not_said_has_its_default() {
    let schema =
        Schema::parse(&format!("{FIELD}kind = \"timestamp\"\n[[table.field]]\nname = \"full_name\"\ntag = 9\nkind = \"text\""))
            .unwrap();
    let table = &schema.tables[0];
    assert_eq!((table.label.as_str(), table.strict, table.preselect, table.scope), ("Rows", false, Preselect::Mine, None));
    assert_eq!(table.title, [FieldTag(9)]);
    assert_eq!((table.read.as_slice(), table.write.as_slice()), (Role::ALL.as_slice(), [Role::Admin, Role::Editor].as_slice()));
    assert_eq!(table.fields[0].kind, Kind::Timestamp { unit: TimeUnit::Seconds });
    assert_eq!(table.fields[1].label, "Full name");
    assert!(!table.fields[0].required && !table.fields[0].unique);
}

#[test]
fn what_is_said_is_in_the_model() {
    let schema = Schema::parse(&format!(
        "{SCOPED}required = true\non_delete = \"keep\"\n[[table.field]]\nname = \"price\"\ntag = 7\nkind = \"decimal\"\nscale = 2\nmin = 0.5\nmax = 9\n\
         [[table.field]]\nname = \"at\"\ntag = 3\nkind = \"timestamp\"\nunit = \"milliseconds\"\nmin = 1970-01-01T00:00:01Z\ninitial = 1970-01-02 00:00:00"
    ))
    .unwrap();
    let rows = schema.table_named("rows").unwrap();
    assert_eq!(rows.fields.iter().map(|field| field.tag.0).collect::<Vec<_>>(), [1, 3, 7]);
    let site = rows.scope_field().unwrap();
    assert_eq!(site.reference.map(|r| (r.table, r.on_delete)), Some((TableTag(1), OnDelete::Keep)));
    let price = rows.field_named("price").unwrap();
    assert_eq!((&price.min, &price.max), (&Some(Value::Decimal(50)), &Some(Value::Decimal(900))));
    let at = rows.field_named("at").unwrap();
    assert_eq!((&at.min, &at.initial), (&Some(Value::Timestamp(1000)), &Some(Value::Timestamp(86_400_000))));
    assert_eq!(rows.title, [FieldTag(1)]);
}

#[test]
fn the_roles_of_a_table_include_the_admin() {
    let text =
        format!("{FIELD}kind = \"int\"").replace("tag = 1\n[[", "tag = 1\nread = [\"editor\"]\nwrite = [\"editor\"]\n[[");
    let schema = Schema::parse(&text).unwrap();
    let expected = [Role::Admin, Role::Editor];
    assert_eq!((&schema.tables[0].read, &schema.tables[0].write), (&expected.to_vec(), &expected.to_vec()));
    let secret = Schema::parse(&text.replace("\"editor\"", "\"admin\"").replace("write = [\"admin\"]\n", "")).unwrap();
    assert_eq!((&secret.tables[0].read, &secret.tables[0].write), (&vec![Role::Admin], &vec![Role::Admin]));
}

#[test]
fn line_endings_and_a_byte_order_mark_do_not_change_the_hash() {
    let schema = Schema::parse(CLINIC).unwrap();
    let windows = Schema::parse(&format!("\u{feff}{}", CLINIC.replace('\n', "\r\n"))).unwrap();
    assert_eq!(windows, schema);
    assert_eq!(schema.hash, Schema::hash_of(&schema.text));
    assert_eq!(schema.hash.0, blake3::hash(CLINIC.as_bytes()).as_bytes()[..16]);
    assert_ne!(schema.hash, Schema::parse(RENTAL).unwrap().hash);
}

#[test]
fn a_row_is_called_by_its_title_fields() {
    let rental = Schema::parse(RENTAL).unwrap();
    let leases = rental.table_named("leases").unwrap();
    let apartment = leases.field_named("apartment").unwrap().tag;
    let both = |tag| Some(if tag == apartment { Value::text("3B") } else { Value::Date(0) });
    assert_eq!(leases.title_of(both), "3B, 1970-01-01");
    assert_eq!(leases.title_of(|tag| (tag == apartment).then(|| Value::text("3B"))), "3B");
    assert_eq!(leases.title_of(|_| None), "");
}

#[test]
fn roles_are_named_in_one_way() {
    for role in Role::ALL {
        assert_eq!(Role::parse(&role.to_string()), Ok(role));
    }
    assert_eq!(Role::parse("Admin").unwrap_err().to_string(), "`Admin` is no role; the roles are admin, editor and viewer");
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let dotted = vec!["a"; 100_000].join(".");
    let long_key = vec!["a"; 79].join(".");
    let inline = format!("{long_key} = {{");
    let texts = [
        format!("{dotted} = 1"),
        format!("[{dotted}]"),
        format!("[[{dotted}]]"),
        format!("a = {}", "[".repeat(200_000)),
        inline.repeat(1_000),
        format!("{}{}", inline.repeat(70), "}".repeat(70)),
        // The deepest that reaches the TOML reader.
        format!("[{long_key}]\n{}{}", inline.repeat(8), "}".repeat(8)),
    ];
    for text in texts {
        let text = &text[..text.len().min(SCHEMA_BYTES_MAX)];
        assert!(Schema::parse(text).is_err());
    }
}

proptest! {
    #[test]
    fn a_damaged_schema_is_an_error_or_a_schema_and_no_panic(
        cut in any::<prop::sample::Index>(),
        length in 0..80_usize,
        text in prop_oneof![any::<String>(), "[\\[\\]{}\"'#=.\\\\\n a-z0-9é-]{0,40}"],
    ) {
        let starts: Vec<usize> = RENTAL.char_indices().map(|(at, _)| at).collect();
        let from = cut.index(starts.len());
        let to = (from + length).min(starts.len() - 1);
        let damaged = format!("{}{text}{}", &RENTAL[..starts[from]], &RENTAL[starts[to]..]);
        match Schema::parse(&damaged) {
            Ok(schema) => prop_assert_eq!(schema.hash, Schema::hash_of(&damaged)),
            Err(error) => prop_assert!(error.problems.iter().all(|problem| problem.line <= damaged.lines().count() + 1)),
        }
    }
}
