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

/// With another scope table than the clinic has.
const SCOPED: &str = r#"name = "o"
scope_table = "others"
[[table]]
name = "others"
tag = 9
[[table.field]]
name = "n"
tag = 1
kind = "int"
[[table]]
name = "scoped"
tag = 10
scope = "o"
[[table.field]]
name = "o"
tag = 1
kind = "reference"
references = "others"
required = true
"#;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What follows where `from` in the old text becomes `to`.
fn evolve(from: &str, to: &str) -> Result<Evolution, SchemaError> {
    assert!(OLD.contains(from), "{from}");
    schema(&OLD.replacen(from, to, 1)).evolve_from(&schema(OLD), &[])
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
    assert_eq!(schema(CLINIC).evolve_from(&schema(CLINIC), &[]), Ok(Evolution::default()));
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
    let renamed = schema(&OLD.replace("\"rows\"", "\"lines\"")).evolve_from(&schema(OLD), &[]).unwrap();
    assert!(renamed.to_string().starts_with("table `lines`: it was called `rows`"), "{renamed}");
    let table = &OLD[OLD.find("[[table]]\nname = \"others\"").unwrap()..];
    assert_eq!(changes(table, ""), "table `others` is removed; its rows are not shown any more");
    let field = "[[table.field]]\nname = \"extra\"\ntag = 9\nkind = \"int\"\n";
    assert_eq!(
        changes("kind = \"timestamp\"\n", &format!("kind = \"timestamp\"\n{field}")),
        "table `others`: field `extra` is new"
    );
    let added = schema(&format!("{OLD}[[table]]\nname = \"more\"\ntag = 3\n{field}required = true\n"));
    assert_eq!(added.evolve_from(&schema(OLD), &[]).unwrap().to_string(), "table `more` is new");
    let back = schema(OLD).evolve_from(&added, &[]).unwrap();
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
    assert_eq!(wider.evolve_from(&limited, &[]).unwrap().narrowing().count(), 0);
    assert_eq!(limited.evolve_from(&wider, &[]).unwrap().narrowing().count(), 1);
}

#[test]
fn the_scope_table_stays_and_a_table_may_change_its_scope() {
    let clinic = schema(CLINIC);
    let open = schema(&CLINIC.replacen("scope = \"site\"\nstrict", "strict", 1));
    let opened = open.evolve_from(&clinic, &[]).unwrap();
    assert!(opened.to_string().contains("table `stock`: its rows belong to no scope now: every user"), "{opened}");
    assert_eq!(opened.narrowing().next().map(|change| (change.table, change.field)), Some((Some(TableTag(5)), None)));
    let error = schema(SCOPED).evolve_from(&clinic, &[]).unwrap_err().to_string();
    assert!(error.starts_with("line 2: schema: another table cannot become the scope table"), "{error}");
    // Nor after a while without: what users were granted are still rows of the first.
    let error = schema(SCOPED).evolve_from(&schema(OLD), &[&clinic]).unwrap_err().to_string();
    assert!(error.contains("another table cannot become the scope table"), "{error}");
    assert!(schema(SCOPED).evolve_from(&schema(OLD), &[]).is_ok());
}

/// What follows where `gone` was taken out of the old text, and `back` is put in its place.
fn come_back(gone: &str, back: &str) -> Result<Evolution, SchemaError> {
    assert!(OLD.contains(gone), "{gone}");
    let (old, without) = (schema(OLD), schema(&OLD.replacen(gone, "", 1)));
    schema(&OLD.replacen(gone, back, 1)).evolve_from(&without, &[&without, &old])
}

#[test]
fn what_comes_back_is_what_it_was_and_is_to_be_checked() {
    let price = "[[table.field]]\nname = \"price\"\ntag = 1\nkind = \"decimal\"\nscale = 2\n";
    let back = come_back(price, price).unwrap();
    assert_eq!(back.to_string(), "table `rows`: field `price` is back, with the values that it had");
    let checked: Vec<_> = back.narrowing().map(|change| (change.table, change.field, change.narrows)).collect();
    assert_eq!(checked, [(Some(TableTag(1)), Some(FieldTag(1)), Some(Narrowing::Values))]);
    let error = come_back(price, &price.replace("scale = 2", "scale = 3")).unwrap_err().to_string();
    assert!(error.contains("tag 1 is a decimal of scale 2 and cannot become a decimal of scale 3"), "{error}");
    // Rows were made without it: as for a new field.
    let error = come_back(price, &format!("{price}required = true\n")).unwrap_err().to_string();
    assert!(error.contains("a field that is required later needs a value"), "{error}");
    let code = "[[table.field]]\nname = \"code\"\ntag = 2\nkind = \"text\"\nrequired = true\ninitial = \"none\"\n";
    assert!(come_back(code, code).is_ok());
    let error = come_back(code, &code.replace("none", "other")).unwrap_err().to_string();
    assert!(error.contains("`initial` cannot change, because rows were made with it; put `none` back"), "{error}");
}

#[test]
fn a_table_that_comes_back_is_compared_with_what_it_was() {
    let others = &OLD[OLD.find("[[table]]\nname = \"others\"").unwrap()..];
    let back = come_back(others, others).unwrap();
    assert_eq!(back.to_string(), "table `others`: it is back, with the rows that it had");
    assert_eq!(back.narrowing().next().map(|change| (change.table, change.field)), Some((Some(TableTag(2)), None)));
    let error = come_back(others, &others.replace("timestamp", "date")).unwrap_err().to_string();
    assert!(error.contains("tag 1 is a timestamp in seconds and cannot become a date"), "{error}");
}
