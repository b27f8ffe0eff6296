//! The words of a long text that differ from another.

use similar::{ChangeTag, TextDiff};

/// Texts from this length on are shown with their differing words marked.
const LONG: usize = 40;

/// A piece of a text that was compared with another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// In both.
    Same,
    /// Not in this text any more.
    Removed,
    /// Only in this text.
    Added,
}

/// Whether a text is long enough to have its words compared.
pub fn is_long(text: &str) -> bool {
    text.chars().count() >= LONG
}

/// `text` with the words that differ from `base`; one behind the other, the pieces are a running text. Only words are marked, not
/// the space around them.
pub fn words(base: &str, text: &str) -> Vec<(Piece, String)> {
    let mut pieces: Vec<(Piece, String)> = Vec::new();
    let mut push = |piece: Piece, text: &str| match pieces.last_mut().filter(|last| last.0 == piece) {
        Some(last) => last.1.push_str(text),
        None if text.is_empty() => {}
        None => pieces.push((piece, text.to_owned())),
    };
    for run in runs(base, text) {
        let words = run.1.trim();
        if run.0 == Piece::Same || words.is_empty() {
            push(Piece::Same, &run.1);
            continue;
        }
        let begins = run.1.len() - run.1.trim_start().len();
        push(Piece::Same, &run.1[..begins]);
        push(run.0, words);
        push(Piece::Same, &run.1[begins + words.len()..]);
    }
    // What stands in place of something stands apart from it.
    let mut at = 1;
    while at < pieces.len() {
        if pieces[at].0 != Piece::Same && pieces[at - 1].0 != Piece::Same {
            pieces.insert(at, (Piece::Same, " ".to_owned()));
        }
        at += 1;
    }
    pieces
}

/// What is the same, what went and what came, in runs as long as they are.
fn runs(base: &str, text: &str) -> Vec<(Piece, String)> {
    let mut runs: Vec<(Piece, String)> = Vec::new();
    for change in TextDiff::from_words(base, text).iter_all_changes() {
        let piece = match change.tag() {
            ChangeTag::Equal => Piece::Same,
            ChangeTag::Delete => Piece::Removed,
            ChangeTag::Insert => Piece::Added,
        };
        match runs.last_mut().filter(|last| last.0 == piece) {
            Some(last) => last.1.push_str(change.value()),
            None => runs.push((piece, change.value().to_owned())),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_are_marked() {
        let pieces = words("she takes two tablets a day", "she takes three tablets a day");
        assert_eq!(
            pieces,
            [
                (Piece::Same, "she takes ".to_owned()),
                (Piece::Removed, "two".to_owned()),
                (Piece::Same, " ".to_owned()),
                (Piece::Added, "three".to_owned()),
                (Piece::Same, " tablets a day".to_owned())
            ]
        );
    }

    #[test]
    fn only_words_are_marked() {
        let pieces = words("for her blood pressure", "for her blood pressure and her sugar");
        let same = (Piece::Same, "for her blood pressure ".to_owned());
        assert_eq!(pieces, [same, (Piece::Added, "and her sugar".to_owned())]);
    }

    #[test]
    fn without_what_was_taken_out_the_pieces_are_the_text() {
        let notes =
            [("one\ntwo  three", "one\ntwo *three* <four>"), ("", "all of it"), ("all of it", ""), ("a b c d", "b c e d f")];
        for (base, text) in notes {
            let without = |piece: Piece| -> String {
                let pieces = words(base, text).into_iter().filter(|(of, _)| *of != piece);
                pieces.flat_map(|(_, text)| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
            };
            let tight = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(without(Piece::Removed), tight(text));
            assert_eq!(without(Piece::Added), tight(base));
        }
    }
}
