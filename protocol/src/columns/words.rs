//! Texts as words: where the same words come again and again, an index of one is shorter than what zstd makes of it.

use super::bytes::{Reader, malformed, put_uint, within};
use super::distinct::distinct;
use super::estimate::compressed_len;
use super::ints::{indexes, put_uints, uints};
use super::texts::{plain, put_plain};
use crate::error::DecodeError;

/// Words of one column, so that what few bytes may claim is bounded.
const WORDS_MAX: usize = 1 << 18;
/// In fewer texts words hardly repeat.
const TEXTS_MIN: usize = 16;
/// A word is indexed by the space behind it.
const SPACE: u8 = b' ';
/// What zstd makes of texts of words, in hundredths of what their bytes take by how often each is there: measured.
const PERCENT_OF_ENTROPY: usize = 78;

/// Texts as indexes of words.
pub(super) struct Words<'a> {
    /// Ascending.
    distinct: Vec<&'a [u8]>,
    /// How many words each text has.
    counts: Vec<u64>,
    indexes: Vec<u64>,
}

impl<'a> Words<'a> {
    /// Splits texts at their spaces, if that pays.
    pub(super) fn of(texts: &[&'a [u8]]) -> Option<Self> {
        if texts.len() < TEXTS_MIN {
            return None;
        }
        let mut words: Vec<&[u8]> = Vec::new();
        let mut counts = Vec::with_capacity(texts.len());
        for text in texts {
            let before = words.len();
            words.extend(text.split(|byte| *byte == SPACE));
            counts.push((words.len() - before) as u64);
            if words.len() > WORDS_MAX {
                return None;
            }
        }
        let (distinct, indexes) = distinct(&words);
        let words = Self { distinct, counts, indexes };
        words.pays(texts).then_some(words)
    }

    fn pays(&self, texts: &[&[u8]]) -> bool {
        // No index is shorter than a word that is there once.
        if 2 * self.distinct.len() > self.indexes.len() {
            return false;
        }
        let width = usize::BITS - (self.distinct.len() - 1).leading_zeros();
        let by_index = compressed_len(&self.distinct.concat()) + self.distinct.len() + self.indexes.len() * width as usize / 8;
        by_index < compressed_len(&texts.concat()) * PERCENT_OF_ENTROPY / 100
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.distinct.len() as u64);
        put_plain(out, &self.distinct);
        put_uints(out, &self.counts);
        put_uints(out, &self.indexes);
    }
}

/// Reads `count` texts; weighs them before they are made.
pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Vec<u8>>, DecodeError> {
    let size = reader.count("a dictionary of words", WORDS_MAX)?;
    let distinct = plain(reader, size)?;
    let counts = uints(reader, count)?;
    let total = counts.iter().fold(0u64, |total, words| total.saturating_add(*words));
    within("words", usize::try_from(total).unwrap_or(usize::MAX), WORDS_MAX)?;
    if counts.contains(&0) {
        return Err(malformed("a text of no words"));
    }
    let indexes = indexes(reader, total as usize, size)?;
    reader.weigh(indexes.iter().map(|index| distinct[*index].len()).sum::<usize>() + indexes.len() - count, 1)?;
    let mut rest = &indexes[..];
    let text = |words: u64| {
        let (own, others) = rest.split_at(words as usize);
        rest = others;
        let mut text = Vec::with_capacity(own.iter().map(|index| distinct[*index].len() + 1).sum::<usize>());
        for (place, index) in own.iter().enumerate() {
            if place > 0 {
                text.push(SPACE);
            }
            text.extend_from_slice(distinct[*index]);
        }
        text
    };
    Ok(counts.into_iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(texts: &[&[u8]]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        Words::of(texts)?.put(&mut bytes);
        Some(bytes)
    }

    /// Sentences of few words, each another one.
    fn sentences(count: usize) -> Vec<String> {
        let words = ["fever", "since", "three", "days", "mother", "cough", "returned", "yesterday"];
        let word = |number: usize, place: usize| words[(number * (place + 3) + number / 7 + place * place) % words.len()];
        (0..count).map(|number| (0..8).map(|place| word(number, place)).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn texts_of_repeated_words_take_an_index_a_word() {
        let sentences = sentences(100);
        let texts: Vec<&[u8]> = sentences.iter().map(|text| text.as_bytes()).collect();
        let bytes = split(&texts).unwrap();
        assert!(bytes.len() < 100 * 8 * 3 / 8 + 80, "{}", bytes.len());
        let weight: usize = texts.iter().map(|text| text.len()).sum();
        let mut reader = Reader::new(&bytes, weight);
        assert_eq!(read(&mut reader, 100).unwrap(), texts);
        assert_eq!(reader.finish(), Ok(weight));
        assert!(matches!(read(&mut Reader::new(&bytes, weight - 1), 100), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn texts_of_other_words_are_left_alone() {
        let texts: Vec<String> = (0..100u64).map(|number| crate::hash::short(&number.to_le_bytes()).to_string()).collect();
        assert!(split(&texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>()).is_none());
        assert!(split(&[b"a b".as_slice(); 3]).is_none(), "too few");
    }

    #[test]
    fn few_bytes_cannot_claim_many_words() {
        let mut bytes = vec![1, 1, b'x', 4, 3, 0];
        bytes.extend([4, 0, 0]);
        assert_eq!(read(&mut Reader::new(&bytes, 100), 2).unwrap(), [b"x x x", b"x x x"]);
        let mut many = vec![1, 1, b'x', 4];
        put_uint(&mut many, WORDS_MAX as u64);
        many.push(0);
        assert!(matches!(read(&mut Reader::new(&many, usize::MAX), 2), Err(DecodeError::TooLarge { what: "words", .. })));
        let none = [1, 1, b'x', 4, 0, 0];
        assert!(matches!(read(&mut Reader::new(&none, 100), 2), Err(DecodeError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn texts_come_back(texts in proptest::collection::vec("[ab ]{0,6}", 16..80)) {
            let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
            if let Some(bytes) = split(&texts) {
                prop_assert_eq!(read(&mut Reader::new(&bytes, 10_000), texts.len()).unwrap(), texts);
            }
        }
    }
}
