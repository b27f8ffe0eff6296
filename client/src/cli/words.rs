//! The words behind flags, read; and several of them behind one flag.

use std::ffi::OsString;
use tombolo_protocol::ids::RowId;
use tombolo_protocol::outbox::Seen;

/// Flags behind which several values may stand, and what every value of theirs has in it.
const SEVERAL: [(&str, char); 3] = [("--where", '='), ("--field", '='), ("--only", '/')];

/// `--field a=mine b=server` as `--field a=mine --field b=server`. A word belongs to the flag before it if it looks like its
/// values do, so that a table and an id may stand behind a flag too.
pub(super) fn spread(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut spread = Vec::new();
    let mut words = words.into_iter();
    let mut open = None;
    // The word that follows a flag is its value whatever it looks like.
    let mut due = false;
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--" {
            spread.push(word);
            spread.extend(words);
            return spread;
        }
        let (name, attached) = text.split_once('=').map_or((text.as_str(), false), |(name, _)| (name, true));
        let flag = SEVERAL.into_iter().find(|(flag, _)| *flag == name);
        match (flag, open) {
            _ if due => due = false,
            (Some(flag), _) => {
                open = Some(flag);
                due = !attached;
            }
            (None, Some((flag, mark))) if !text.starts_with('-') && text.contains(mark) => spread.push(flag.into()),
            _ => open = None,
        }
        spread.push(word);
    }
    spread
}

/// What is taken for a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// My value.
    Mine,
    /// The server's.
    Server,
    /// Another one.
    Value(String),
}

/// `FIELD=VALUE`.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => Ok((field.to_owned(), value.to_owned())),
        _ => Err("write it as FIELD=VALUE".to_owned()),
    }
}

pub(super) fn row_id(text: &str) -> Result<RowId, String> {
    text.trim()
        .parse()
        .map_err(|_| "an id is a UUID, like 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e; `tombolo list` shows them".to_owned())
}

pub(super) fn seen(text: &str) -> Result<Seen, String> {
    text.parse().map_err(|_| "give back what `get --json` printed as \"seen\"".to_owned())
}

pub(super) fn row_name(text: &str) -> Result<(String, RowId), String> {
    let (table, id) = text.split_once('/').ok_or("write it as TABLE/ID")?;
    Ok((table.to_owned(), row_id(id)?))
}

pub(super) fn choice(text: &str) -> Result<(String, Side), String> {
    let (field, side) = assignment(text).map_err(|_| "write it as FIELD=mine, FIELD=server or FIELD=value:TEXT")?;
    let side = match side.as_str() {
        "mine" => Side::Mine,
        "server" => Side::Server,
        other => match other.strip_prefix("value:") {
            Some(value) => Side::Value(value.to_owned()),
            None => return Err(format!("`{other}` is neither mine nor server nor value:TEXT")),
        },
    };
    Ok((field, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread_text(line: &str) -> String {
        let spread = spread(line.split(' ').map(Into::into));
        spread.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn several_values_stand_behind_one_flag_and_positional_words_stay_what_they_are() {
        for (line, expected) in [
            ("resolve t i --field a=mine b=value:x=y", "resolve t i --field a=mine --field b=value:x=y"),
            ("resolve --field a=mine b=server t i", "resolve --field a=mine --field b=server t i"),
            ("list t --where=a=1 b=2 --sort c d=3", "list t --where=a=1 --where b=2 --sort c d=3"),
            ("sync --only t/1 u/2 --json", "sync --only t/1 --only u/2 --json"),
            ("discard t i --field a b", "discard t i --field a b"),
            ("update t i a=1 b=2 --seen 5", "update t i a=1 b=2 --seen 5"),
            ("list --where a=1 -- b=2", "list --where a=1 -- b=2"),
        ] {
            assert_eq!(spread_text(line), expected, "{line}");
        }
    }
}
