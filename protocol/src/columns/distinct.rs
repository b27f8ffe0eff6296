//! What is there several times, once.

use std::cmp::Ordering;

/// The different ones of these, ascending, and for each the index of its own.
pub(super) fn distinct<'a>(texts: &[&'a [u8]]) -> (Vec<&'a [u8]>, Vec<u64>) {
    // Most differ within the eight bytes that compare as one number.
    let mut sorted: Vec<(u64, &[u8], u32)> = (0u32..).zip(texts).map(|(place, text)| (head(text), *text, place)).collect();
    sorted.sort_unstable_by(|(head, text, _), (other_head, other, _)| head.cmp(other_head).then_with(|| tail(text, other)));
    let mut distinct: Vec<&[u8]> = Vec::new();
    let mut indexes = vec![0; texts.len()];
    for (_, text, place) in sorted {
        if distinct.last() != Some(&text) {
            distinct.push(text);
        }
        indexes[place as usize] = distinct.len() as u64 - 1;
    }
    (distinct, indexes)
}

/// The order of texts with equal heads.
fn tail(text: &[u8], other: &[u8]) -> Ordering {
    if text.len() <= 8 && other.len() <= 8 { text.len().cmp(&other.len()) } else { text.cmp(other) }
}

fn head(text: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = text.len().min(8);
    head[..length].copy_from_slice(&text[..length]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_there_once_and_found_by_its_index() {
        let texts: [&[u8]; 6] = [b"village of Mabo", b"", b"\0", b"village of Kiru", b"", b"village of Mabo"];
        let (once, indexes) = distinct(&texts);
        assert_eq!(once, [b"".as_slice(), b"\0", b"village of Kiru", b"village of Mabo"]);
        assert_eq!(indexes, [3, 0, 1, 2, 0, 3]);
    }
}
