//! Columns of texts and bytes: lengths and content; a dictionary where texts repeat, one of words where words do, and numbers
//! where all texts are digits behind one prefix.

use super::bytes::{Reader, malformed, put_uint};
use super::digits::{self, Digits};
use super::distinct::distinct;
use super::ints::{indexes, put_uints, uints};
use super::words::{self, Words};
use crate::error::DecodeError;

const PLAIN: u8 = 0;
const DICTIONARY: u8 = 1;
const WORDS: u8 = 2;
const DIGITS: u8 = 3;

/// Writes a column of byte strings; how many there are is known from elsewhere.
pub(super) fn put_texts(out: &mut Vec<u8>, texts: &[&[u8]]) {
    if texts.len() < 2 {
        return put_plain(out, texts);
    }
    let (distinct, indexes) = distinct(texts);
    let bytes = |texts: &[&[u8]]| texts.iter().map(|text| text.len() + 1).sum::<usize>();
    let index_bytes = if distinct.len() > 128 { 2 } else { 1 };
    if bytes(&distinct) + index_bytes * texts.len() < bytes(texts) {
        out.push(DICTIONARY);
        put_uint(out, distinct.len() as u64);
        put_plain(out, &distinct);
        put_uints(out, &indexes);
    } else if let Some(digits) = Digits::of(texts) {
        out.push(DIGITS);
        digits.put(out);
    } else if let Some(words) = Words::of(texts) {
        out.push(WORDS);
        words.put(out);
    } else {
        out.push(PLAIN);
        put_plain(out, texts);
    }
}

pub(super) fn put_plain(out: &mut Vec<u8>, texts: &[&[u8]]) {
    put_uints(out, &texts.iter().map(|text| text.len() as u64).collect::<Vec<_>>());
    texts.iter().for_each(|text| out.extend_from_slice(text));
}

/// Reads a column of `count` byte strings as what `made` makes of them. The caller has bounded the count.
pub(super) fn texts<T: Clone>(
    reader: &mut Reader<'_>,
    count: usize,
    made: &dyn Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mode = if count < 2 { PLAIN } else { reader.byte()? };
    match mode {
        PLAIN => {
            let texts = plain(reader, count)?;
            reader.weigh(texts.iter().map(|text| text.len()).sum(), 1)?;
            texts.into_iter().map(made).collect()
        }
        DICTIONARY => {
            let size = reader.count("a dictionary", count)?;
            let distinct = plain(reader, size)?;
            let indexes = indexes(reader, count, size)?;
            for index in &indexes {
                reader.weigh(distinct[*index].len(), 1)?;
            }
            let distinct = distinct.into_iter().map(made).collect::<Result<Vec<T>, _>>()?;
            Ok(indexes.into_iter().map(|index| distinct[index].clone()).collect())
        }
        WORDS => words::read(reader, count)?.iter().map(|text| made(text)).collect(),
        DIGITS => digits::read(reader, count)?.iter().map(|text| made(text)).collect(),
        _ => Err(malformed("an unknown form of texts")),
    }
}

pub(super) fn plain<'a>(reader: &mut Reader<'a>, count: usize) -> Result<Vec<&'a [u8]>, DecodeError> {
    let lengths = uints(reader, count)?;
    let text = |length| reader.take(usize::try_from(length).unwrap_or(usize::MAX));
    lengths.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(texts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_texts(&mut bytes, texts);
        bytes
    }

    fn read(bytes: &[u8], count: usize, weight_max: usize) -> Result<Vec<Vec<u8>>, DecodeError> {
        texts(&mut Reader::new(bytes, weight_max), count, &|text| Ok(text.to_vec()))
    }

    #[test]
    fn repeated_texts_stand_once() {
        let villages: Vec<&[u8]> = (0..50).map(|n| if n % 2 == 0 { b"Kiru".as_slice() } else { b"Mabo" }).collect();
        let bytes = written(&villages);
        assert_eq!(bytes[0], DICTIONARY);
        assert!(bytes.len() < 70, "{}", bytes.len());
        assert_eq!(read(&bytes, 50, 1000).unwrap(), villages);
        assert_eq!(written(&[b"a", b"b"])[0], PLAIN);
    }

    #[test]
    fn a_long_text_repeated_by_index_weighs_as_often_as_it_comes_out() {
        let text = [b'x'; 1000];
        let bytes = written(&[text.as_slice(); 100]);
        assert!(bytes.len() < 1020);
        assert!(read(&bytes, 100, 100_000).is_ok());
        assert!(matches!(read(&bytes, 100, 99_999), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert!(matches!(read(&[5, b'a'], 1, 100), Err(DecodeError::Malformed(_))));
        let mut most = vec![0xFF; 9];
        most.push(1);
        assert!(matches!(read(&most, 1, 100), Err(DecodeError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn texts_come_back(texts in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..4), 0..200)) {
            let slices: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(read(&written(&slices), texts.len(), 10_000).unwrap(), texts);
        }
    }
}
