//! Every sentence of the window is there in every language.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const LANGUAGES: [&str; 3] = ["fr", "es", "sw"];

/// What Slint's own menu of a text field says.
const MENU: [&str; 6] = ["Undo", "Redo", "Cut", "Copy", "Paste", "Select All"];

/// A message and its plural.
type Message = (String, Option<String>);

/// The literal that begins behind `"`, and what follows it.
fn literal(text: &str) -> (String, &str) {
    let mut end = 0;
    let bytes = text.as_bytes();
    while bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (text[..end].to_owned(), &text[end + 1..])
}

fn messages_in(folder: &Path, found: &mut Vec<Message>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            messages_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "slint") {
            let text = fs::read_to_string(&path).unwrap();
            for call in text.split("@tr(").skip(1) {
                let (one, rest) = literal(call.trim_start().strip_prefix('"').unwrap());
                let many =
                    rest.trim_start().strip_prefix('|').map(|rest| literal(rest.trim_start().strip_prefix('"').unwrap()).0);
                found.push((one, many));
            }
        }
    }
}

/// The translations of a file: of each message all its forms.
fn translations(language: &str) -> BTreeMap<String, Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("lang").join(language).join("LC_MESSAGES/tombolo-ui.po");
    let text = fs::read_to_string(file).unwrap();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut id = String::new();
    for line in text.lines() {
        let quoted = |rest: &str| rest.trim().trim_start_matches('"').trim_end_matches('"').to_owned();
        if let Some(rest) = line.strip_prefix("msgid ") {
            id = quoted(rest);
        } else if line.starts_with("msgstr") && !id.is_empty() {
            let (_, rest) = line.split_once(' ').unwrap();
            all.entry(id.clone()).or_default().push(quoted(rest));
        }
    }
    all
}

/// The places that are filled in, sorted.
fn places(text: &str) -> Vec<&str> {
    let mut places: Vec<&str> = text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
    places.sort_unstable();
    places
}

#[test]
fn every_message_is_translated_with_the_same_places_and_none_is_left_over() {
    let mut messages = Vec::new();
    messages_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ui"), &mut messages);
    assert!(messages.len() > 300, "the messages are not found any more");
    messages.extend(MENU.map(|message| (message.to_owned(), None)));
    for language in LANGUAGES {
        let translations = translations(language);
        for (one, many) in &messages {
            let forms = translations.get(one).unwrap_or_else(|| panic!("{language}: no translation of {one:?}"));
            assert_eq!(forms.len(), if many.is_some() { 2 } else { 1 }, "{language}: forms of {one:?}");
            for (form, message) in forms.iter().zip(std::iter::once(one).chain(many)) {
                assert!(!form.trim().is_empty(), "{language}: {message:?} is empty");
                assert_eq!(places(form), places(message), "{language}: {message:?}");
            }
        }
        let unused: Vec<&String> = translations.keys().filter(|id| !messages.iter().any(|(one, _)| one == *id)).collect();
        assert!(unused.is_empty(), "{language}: not used any more: {unused:?}");
    }
}
