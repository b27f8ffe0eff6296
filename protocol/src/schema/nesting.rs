//! A look at the brackets of a text before the TOML reader sees it.
//!
//! The reader bounds braces and the parts of a dotted key, but not their product: 70 inline tables under keys of 70 parts make
//! tables 4,900 deep, which overflow the stack when they are dropped. A schema comes from a server, so that must not happen.

/// Brackets and braces in one another; a schema needs five (choices in a list, of a field in a list, of a table in a list).
const NESTING_MAX: usize = 8;

/// Where brackets are nested too deeply or do not pair, or a text in quotes has no end, and what to do.
///
/// Outside of texts and comments a quote always begins a text and a `#` a comment, so brackets can be told apart without
/// knowing the rest of the grammar.
pub(super) fn nesting_problem(text: &str) -> Option<(usize, &'static str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut open = Vec::new();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => open.push(*byte),
            // A bracket that closes nothing is passed over by the reader, so it must not count as closing here.
            b'}' | b']' if open.pop() != Some(if *byte == b'}' { b'{' } else { b'[' }) => {
                return Some((at, "this bracket closes nothing; remove it, or add the one that opens"));
            }
            b'#' => at += bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len() - at),
            b'"' | b'\'' => {
                let Some(end) = end_of_text(bytes, at) else {
                    return Some((at, "the text that begins here has no end; close it with the quotes that it begins with"));
                };
                at = end;
                continue;
            }
            _ => {}
        }
        if open.len() > NESTING_MAX {
            return Some((at, "brackets are nested too deeply; write `[[table]]` and `[[table.field]]` instead"));
        }
        at += 1;
    }
    None
}

/// The offset behind the text in quotes that begins at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let long = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if long { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' if !long => return None,
            // What is escaped may be a quote or a backslash; an escaped newline still ends a short text.
            b'\\' if quote == b'"' && matches!(bytes.get(at + 1), Some(b'"' | b'\\')) => at += 1,
            _ if *byte == quote && !long => return Some(at + 1),
            _ if bytes[at..].starts_with(&[quote; 3]) && long => {
                // One or two quotes may stand before the three that end it.
                let run = bytes[at..].iter().take(5).take_while(|byte| **byte == quote).count();
                return Some(at + run);
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_texts_and_comments_do_not_count() {
        let braces = "{".repeat(NESTING_MAX + 1);
        for text in [
            format!("a = \"{braces}\""),
            format!("a = \"\\\"{braces}\""),
            format!("a = '{braces}'"),
            format!("a = \"\"\"\n\"{braces}\"\"\"\"\""),
            format!("a = '''\n'{braces}'''"),
            format!("# {braces}\na = \"\""),
            "a = {b = {}}\n".repeat(NESTING_MAX + 1),
        ] {
            assert_eq!(nesting_problem(&text), None, "{text}");
        }
    }

    #[test]
    fn deep_braces_are_found_behind_texts_and_comments() {
        let braces = "{".repeat(NESTING_MAX + 1);
        for before in ["", "'}'", "\"}\"", "\"\"\"}\"\"\"\"\"", "'''}'''''", "\"\"", "''", "# \"\n", "\"\\\\\"", "'\\'"] {
            let found = nesting_problem(&format!("{before}{braces}"));
            assert_eq!(found.map(|(at, _)| at), Some(before.len() + NESTING_MAX), "{before}");
        }
    }

    #[test]
    fn brackets_that_do_not_pair_are_found() {
        for (text, at) in [("}", 0), ("a = [}", 5), ("{]", 1), ("[]]", 2), ("# ]\n]", 4)] {
            assert_eq!(nesting_problem(text).map(|(at, _)| at), Some(at), "{text}");
        }
    }

    #[test]
    fn a_text_without_end_is_found() {
        for text in ["\"", "'", "\"\\\"", "\"\n\"", "'\n'", "\"\"\"\"\"", "\"\\\n\""] {
            assert_eq!(nesting_problem(text).map(|(at, _)| at), Some(0), "{text:?}");
        }
    }
}
