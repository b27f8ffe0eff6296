//! Typed reading of one TOML table, which goes on after a problem, so that a person sees all of them at once.
//!
//! Serde would stop at the first; the spans of every key are needed for the line numbers anyway.

use super::plain::Plain;
use super::problem::Problems;
use toml::de::{DeTable, DeValue};

/// A value and the line of its key.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// The document being read: where its lines begin, and what was wrong so far.
pub(super) struct Document {
    newlines: Vec<usize>,
    pub(super) problems: Problems,
}

impl Document {
    pub(super) fn new(text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { newlines, problems: Problems::default() }
    }

    /// Line of a byte offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.newlines.partition_point(|newline| *newline < offset) + 1
    }
}

/// One TOML table, read key by key.
pub(super) struct Entries<'d, 'i> {
    table: &'d DeTable<'i>,
    /// Line of its header.
    pub(super) line: usize,
    /// What it describes, for problems.
    pub(super) what: String,
    known: Vec<&'static str>,
}

impl<'d, 'i> Entries<'d, 'i> {
    pub(super) fn new(table: &'d DeTable<'i>, line: usize, what: String) -> Self {
        Self { table, line, what, known: Vec::new() }
    }

    fn find(&mut self, key: &'static str) -> Option<(usize, &'d DeValue<'i>)> {
        self.known.push(key);
        let (found, value) = self.table.get_key_value(key)?;
        Some((found.span().start, value.get_ref()))
    }

    fn read<T>(
        &mut self,
        doc: &mut Document,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&'d DeValue<'i>) -> Option<T>,
    ) -> Option<At<T>> {
        let (offset, value) = self.find(key)?;
        let line = doc.line(offset);
        let converted = convert(value);
        if converted.is_none() {
            doc.problems.add(line, &self.what, format!("`{key}` must be {expected}"));
        }
        converted.map(|value| At { line, value })
    }

    pub(super) fn text(&mut self, doc: &mut Document, key: &'static str) -> Option<At<String>> {
        self.read(doc, key, "a text in quotes", |value| value.as_str().map(str::to_owned))
    }

    /// A text, or a problem where the key is missing.
    pub(super) fn needed_text(&mut self, doc: &mut Document, key: &'static str, example: &str) -> Option<At<String>> {
        self.needed(doc, key, example);
        self.text(doc, key)
    }

    /// A tag, or a problem where the key is missing.
    pub(super) fn needed_tag(&mut self, doc: &mut Document) -> Option<At<u16>> {
        self.needed(doc, "tag", "a number that stays with it for ever: `tag = 1`");
        self.read(doc, "tag", "a whole number from 1 to 65535", |value| {
            integer(value).and_then(|tag| u16::try_from(tag).ok()).filter(|tag| *tag > 0)
        })
    }

    fn needed(&mut self, doc: &mut Document, key: &'static str, example: &str) {
        if !self.table.contains_key(key) {
            doc.problems.add(self.line, &self.what, format!("`{key}` is missing; add {example}"));
        }
    }

    pub(super) fn flag(&mut self, doc: &mut Document, key: &'static str) -> Option<At<bool>> {
        self.read(doc, key, "true or false", DeValue::as_bool)
    }

    pub(super) fn count(&mut self, doc: &mut Document, key: &'static str) -> Option<At<u32>> {
        self.read(doc, key, "a whole number, 0 or more", |value| integer(value).and_then(|n| u32::try_from(n).ok()))
    }

    pub(super) fn texts(&mut self, doc: &mut Document, key: &'static str) -> Option<At<Vec<String>>> {
        self.read(doc, key, "a list of texts: [\"a\", \"b\"]", |value| {
            value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        })
    }

    pub(super) fn plain(&mut self, doc: &mut Document, key: &'static str) -> Option<At<Plain>> {
        self.read(doc, key, "a text, a number, true, false or a date", plain)
    }

    /// One word of several.
    pub(super) fn word<T: Copy>(&mut self, doc: &mut Document, key: &'static str, words: &[(&str, T)]) -> Option<At<T>> {
        let expected = format!("one of {}", list(words.iter().map(|(word, _)| *word)));
        self.read(doc, key, &expected, |value| {
            let text = value.as_str()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
        })
    }

    /// The tables of an array of tables, at most `max`, each with the line of its header.
    pub(super) fn tables(&mut self, doc: &mut Document, key: &'static str, max: usize) -> Vec<(usize, &'d DeTable<'i>)> {
        let header = if key == "table" { "[[table]]".to_owned() } else { format!("[[table.{key}]]") };
        let expected = format!("a list of tables: {header}");
        let read = self.read(doc, key, &expected, |value| {
            value
                .as_array()?
                .iter()
                .map(|item| Some((item.span().start, item.get_ref().as_table()?)))
                .collect::<Option<Vec<_>>>()
        });
        let Some(At { line, value: mut tables }) = read else { return Vec::new() };
        if tables.len() > max {
            doc.problems.add(
                line,
                &self.what,
                format!("{} of `{header}` are too many; at most {max} are allowed", tables.len()),
            );
            tables.truncate(max);
        }
        tables.into_iter().map(|(offset, table)| (doc.line(offset), table)).collect()
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, doc: &mut Document) {
        for (key, _) in self.table.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) {
            let known = list(self.known.iter().copied());
            let line = doc.line(key.span().start);
            doc.problems.add(line, &self.what, format!("`{}` is not known here; known are {known}", key.get_ref()));
        }
    }
}

/// Names in a sentence: `` `a`, `b` ``.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn plain(value: &DeValue<'_>) -> Option<Plain> {
    match value {
        DeValue::Boolean(flag) => Some(Plain::Bool(*flag)),
        DeValue::Integer(_) => integer(value).map(Plain::Int),
        DeValue::Float(number) => number.as_str().parse().ok().map(Plain::Float),
        DeValue::String(text) => Some(Plain::Text(text.to_string())),
        DeValue::Datetime(moment) => Some(Plain::Text(moment.to_string())),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
