//! What is there several times, once.

use std::cmp::Ordering;

/// Places in the table of texts that were met: it stays in the processor's nearest memory.
const PLACES: usize = 1 << 12;
/// So many texts are looked up, whether they repeat or not.
const TRIED: usize = 1024;
/// How many places are looked at for a text. A peer may choose texts that all belong to one place.
const LOOKS_MAX: usize = 4;
const VACANT: u32 = u32::MAX;

/// The different ones of these, ascending, and for each the index of its own.
pub(super) fn distinct<'a>(texts: &[&'a [u8]]) -> (Vec<&'a [u8]>, Vec<u64>) {
    let (mut met, meetings) = met(texts);
    met.sort_unstable_by(|one, other| one.head.cmp(&other.head).then_with(|| tail(one.text, other.text)));
    let mut distinct: Vec<&[u8]> = Vec::new();
    let mut ranks = vec![0; met.len()];
    for Met { text, place, .. } in met {
        if distinct.last() != Some(&text) {
            distinct.push(text);
        }
        ranks[place as usize] = distinct.len() as u64 - 1;
    }
    let indexes = meetings.into_iter().map(|place| ranks[place as usize]).collect();
    (distinct, indexes)
}

/// A text that was met, and its place in the order of meeting.
struct Met<'a> {
    /// Most texts differ within the eight bytes that compare as one number.
    head: u64,
    text: &'a [u8],
    place: u32,
}

/// The texts as they are met, most of those that repeat once, and for each of all its place there: fewer are to be sorted.
fn met<'a>(texts: &[&'a [u8]]) -> (Vec<Met<'a>>, Vec<u32>) {
    let mut table = [VACANT; PLACES];
    let mut met: Vec<Met<'a>> = Vec::with_capacity(texts.len());
    let mut meetings = Vec::with_capacity(texts.len());
    for (count, text) in texts.iter().enumerate() {
        let head = head(text);
        let mut place = None;
        // Where the first ones hardly repeat, the others are not looked up either.
        if count < TRIED || 8 * met.len() < 7 * count {
            let first = spread(head, text);
            let ats = (first..first + LOOKS_MAX).map(|at| at % PLACES);
            for at in ats {
                match met.get(table[at] as usize) {
                    Some(known) if known.head == head && known.text == *text => place = Some(known.place),
                    Some(_) => continue,
                    None => table[at] = met.len() as u32,
                }
                break;
            }
        }
        meetings.push(place.unwrap_or(met.len() as u32));
        if place.is_none() {
            met.push(Met { head, text, place: met.len() as u32 });
        }
    }
    (met, meetings)
}

/// A place that depends on all of a text: the high bits of a product do.
fn spread(head: u64, text: &[u8]) -> usize {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |mixed: u64, number: u64| (mixed.rotate_left(5) ^ number).wrapping_mul(ODD);
    let tail = text.get(8..).unwrap_or_default().chunks(8).map(self::head);
    (tail.fold(mix(text.len() as u64, head), mix) >> (u64::BITS - PLACES.ilog2())) as usize
}

/// The order of texts with equal heads.
fn tail(text: &[u8], other: &[u8]) -> Ordering {
    if text.len() <= 8 && other.len() <= 8 { text.len().cmp(&other.len()) } else { text.cmp(other) }
}

/// The first eight bytes as a number that sorts as they do; zeros stand for those that are not there.
fn head(text: &[u8]) -> u64 {
    match (text.first_chunk::<8>(), text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(whole), ..) => u64::from_be_bytes(*whole),
        (None, Some(first), Some(last)) => {
            let tail = u64::from(u32::from_be_bytes(*last)) << (8 * (8 - text.len()));
            u64::from(u32::from_be_bytes(*first)) << 32 | tail
        }
        _ => text.iter().enumerate().fold(0, |head, (place, byte)| head | u64::from(*byte) << (56 - 8 * place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_is_there_once_and_found_by_its_index() {
        let texts: [&[u8]; 6] = [b"village of Mabo", b"", b"\0", b"village of Kiru", b"", b"village of Mabo"];
        let (once, indexes) = distinct(&texts);
        assert_eq!(once, [b"".as_slice(), b"\0", b"village of Kiru", b"village of Mabo"]);
        assert_eq!(indexes, [3, 0, 1, 2, 0, 3]);
    }

    #[test]
    fn texts_that_repeat_are_met_once_and_those_that_find_no_place_are_left_to_sorting() {
        let words = ["fever", "cough", "since yesterday", "since yesterdaz"];
        let texts: Vec<&[u8]> = (0..100).map(|number| words[number % 4].as_bytes()).collect();
        assert_eq!(met(&texts).0.len(), 4);
        // Each twice, and more than there are places.
        let numbers: Vec<String> = (0..4 * PLACES).map(|number| (number / 2).to_string()).collect();
        let texts: Vec<&[u8]> = numbers.iter().map(|text| text.as_bytes()).collect();
        assert!(met(&texts).0.len() > texts.len() / 2);
        assert_eq!(distinct(&texts).0.len(), texts.len() / 2);
    }

    #[test]
    fn a_head_sorts_as_its_bytes_do() {
        for length in 0..10 {
            let text: Vec<u8> = (1..=length).collect();
            let mut padded = [0; 8];
            padded.iter_mut().zip(&text).for_each(|(to, byte)| *to = *byte);
            assert_eq!(head(&text), u64::from_be_bytes(padded), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn the_different_ones_are_those_of_a_set(texts in proptest::collection::vec(proptest::collection::vec(0u8..2, 0..12), 0..200)) {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let (once, indexes) = distinct(&texts);
            prop_assert_eq!(&once, &std::collections::BTreeSet::from_iter(texts.iter().copied()).into_iter().collect::<Vec<_>>());
            prop_assert!(texts.iter().zip(indexes).all(|(text, index)| once[index as usize] == *text));
        }
    }
}
