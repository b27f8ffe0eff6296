//! A line of a file of changes, read with one clear sentence for what is wrong in it.

use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use tombolo_protocol::ids::RowId;
use tombolo_protocol::outbox::Seen;
use tombolo_protocol::schema::Plain;

/// What a line does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Create,
    Update,
    Delete,
    Restore,
}

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    pub op: Op,
    pub table: String,
    pub id: Option<RowId>,
    pub fields: BTreeMap<String, Plain>,
    pub seen: Option<Seen>,
}

const MEMBERS: &str = "a line has \"op\", \"table\", \"id\", \"fields\" and \"seen\"";

impl Line {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let json = serde_json::from_str(text);
        let Ok(Json::Object(mut members)) = json else {
            let example = "{\"op\":\"create\",\"table\":\"sites\",\"fields\":{\"name\":\"Kisumu\"}}";
            return Err(format!("this is not a JSON object; write each change in a line of its own, like {example}"));
        };
        let (op, change) = (take(&mut members, "op"), take(&mut members, "change"));
        let op = match (op, change) {
            (Some(_), Some(_)) => return Err("\"op\" and \"change\" mean the same; keep one of them".to_owned()),
            (op, change) => op_of(op.or(change))?,
        };
        let table = match take(&mut members, "table") {
            Some(Json::String(table)) => table,
            Some(other) => return Err(format!("\"table\" is the name of a table, and cannot be {}", kind(&other))),
            None => return Err("\"table\" is missing".to_owned()),
        };
        let id = take(&mut members, "id").map(id_of).transpose()?;
        let fields = take(&mut members, "fields").map_or_else(|| Ok(BTreeMap::new()), fields_of)?;
        let seen = take(&mut members, "seen").map(seen_of).transpose()?;
        match members.keys().next() {
            Some(unknown) => Err(format!("\"{unknown}\" means nothing here; {MEMBERS}")),
            None => Ok(Self { op, table, id, fields, seen }),
        }
    }
}

/// A member that has a value.
fn take(members: &mut Map<String, Json>, name: &str) -> Option<Json> {
    members.remove(name).filter(|value| !value.is_null())
}

fn op_of(op: Option<Json>) -> Result<Op, String> {
    match op.as_ref().map(|op| op.as_str().unwrap_or_default()) {
        Some("create") => Ok(Op::Create),
        Some("update") => Ok(Op::Update),
        Some("delete") => Ok(Op::Delete),
        Some("restore") => Ok(Op::Restore),
        Some(_) => Err("\"op\" is create, update, delete or restore".to_owned()),
        None => Err("\"op\" is missing; it is create, update, delete or restore".to_owned()),
    }
}

fn id_of(id: Json) -> Result<RowId, String> {
    let known = id.as_str().and_then(|id| id.trim().parse().ok());
    known.ok_or_else(|| format!("\"id\" cannot be {id}; an id is a UUID, like \"0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e\""))
}

fn fields_of(fields: Json) -> Result<BTreeMap<String, Plain>, String> {
    let Json::Object(fields) = fields else {
        return Err(format!("\"fields\" holds names and values, like {{\"name\":\"Rose\"}}, and cannot be {}", kind(&fields)));
    };
    fields
        .into_iter()
        .map(|(name, value)| {
            let what = kind(&value);
            let plain = serde_json::from_value(value)
                .map_err(|_| format!("{name}: a text, a number, true, false or null is expected here, and not {what}"))?;
            Ok((name, plain))
        })
        .collect()
}

/// As it was printed, or a bare number.
fn seen_of(seen: Json) -> Result<Seen, String> {
    let text = seen.as_str().map_or_else(|| seen.to_string(), str::to_owned);
    text.parse().map_err(|_| format!("\"seen\" cannot be {seen}; give back what `get --json` printed"))
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "nothing",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_a_line_is_one_sentence() {
        for (text, sentence) in [
            ("not json", "this is not a JSON object; write each change"),
            ("[1]", "this is not a JSON object"),
            (r#"{"table":"t"}"#, "\"op\" is missing; it is create, update, delete or restore"),
            (r#"{"op":"crate","table":"t"}"#, "\"op\" is create, update, delete or restore"),
            (r#"{"op":"create","change":"create","table":"t"}"#, "mean the same"),
            (r#"{"op":"create"}"#, "\"table\" is missing"),
            (r#"{"op":"create","table":5}"#, "cannot be a number"),
            (r#"{"op":"create","table":"t","id":"nouuid"}"#, "\"id\" cannot be \"nouuid\"; an id is a UUID"),
            (r#"{"op":"create","table":"t","fields":[1]}"#, "cannot be a list"),
            (r#"{"op":"create","table":"t","fields":{"a":{}}}"#, "a: a text, a number, true, false or null is expected here"),
            (r#"{"op":"create","table":"t","seen":"x"}"#, "\"seen\" cannot be \"x\""),
            (r#"{"op":"create","table":"t","extra":1}"#, "\"extra\" means nothing here"),
        ] {
            let error = Line::parse(text).unwrap_err();
            assert!(error.contains(sentence), "{text}: {error}");
        }
        let line = Line::parse(r#"{"change":"update","table":"t","fields":{"a":null},"seen":17}"#).unwrap();
        assert_eq!(
            (line.op, line.seen.unwrap().to_string(), line.fields["a"].clone()),
            (Op::Update, "17".to_owned(), Plain::Null)
        );
    }
}
