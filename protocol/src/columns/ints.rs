//! Columns of whole numbers, in the shortest of four forms.

use super::bytes::{Reader, malformed, put_uint, unzigzag, zigzag};
use crate::error::DecodeError;

const PLAIN: u8 = 0;
const DELTAS: u8 = 1;
const RUNS: u8 = 2;
const DELTA_RUNS: u8 = 3;

/// Writes a column of unsigned numbers; how many there are is known from elsewhere.
pub(super) fn put_uints(out: &mut Vec<u8>, numbers: &[u64]) {
    put(out, numbers, &|number| number);
}

/// Writes a column of signed numbers.
pub(super) fn put_ints(out: &mut Vec<u8>, numbers: &[i64]) {
    let numbers: Vec<u64> = numbers.iter().map(|number| *number as u64).collect();
    put(out, &numbers, &|number| zigzag(number as i64));
}

/// Reads a column of `count` unsigned numbers. The caller has bounded the count.
pub(super) fn uints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    read(reader, count, &|number| number)
}

/// Reads a column of `count` signed numbers.
pub(super) fn ints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, DecodeError> {
    let numbers = read(reader, count, &|number| unzigzag(number) as u64)?;
    Ok(numbers.into_iter().map(|number| number as i64).collect())
}

/// Reads a column of `count` indexes below `end`.
pub(super) fn indexes(reader: &mut Reader<'_>, count: usize, end: usize) -> Result<Vec<usize>, DecodeError> {
    let index =
        |number| usize::try_from(number).ok().filter(|index| *index < end).ok_or_else(|| malformed("an index beyond its list"));
    uints(reader, count)?.into_iter().map(index).collect()
}

fn put(out: &mut Vec<u8>, numbers: &[u64], shown: &dyn Fn(u64) -> u64) {
    if let [] | [_] = numbers {
        numbers.iter().for_each(|number| put_uint(out, shown(*number)));
        return;
    }
    let plain: Vec<u64> = numbers.iter().map(|number| shown(*number)).collect();
    let deltas: Vec<u64> = deltas(numbers).collect();
    let forms = [
        form(PLAIN, plain.iter().copied()),
        form(DELTAS, deltas.iter().copied()),
        form(RUNS, runs(&plain)),
        form(DELTA_RUNS, runs(&deltas)),
    ];
    out.extend(forms.into_iter().min_by_key(Vec::len).expect("there are four"));
}

fn form(mode: u8, numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut bytes = vec![mode];
    numbers.for_each(|number| put_uint(&mut bytes, number));
    bytes
}

fn deltas(numbers: &[u64]) -> impl Iterator<Item = u64> {
    let before = std::iter::once(&0).chain(numbers);
    numbers.iter().zip(before).map(|(number, before)| zigzag(number.wrapping_sub(*before) as i64))
}

/// Runs of equal numbers as number, length, number, length ...
fn runs(numbers: &[u64]) -> impl Iterator<Item = u64> {
    numbers.chunk_by(|one, next| one == next).flat_map(|run| [run[0], run.len() as u64])
}

fn read(reader: &mut Reader<'_>, count: usize, meant: &dyn Fn(u64) -> u64) -> Result<Vec<u64>, DecodeError> {
    let mode = if count < 2 { PLAIN } else { reader.byte()? };
    let mut numbers = match mode {
        PLAIN | DELTAS => (0..count).map(|_| reader.uint()).collect::<Result<Vec<u64>, _>>()?,
        RUNS | DELTA_RUNS => read_runs(reader, count)?,
        _ => return Err(malformed("an unknown form of a column")),
    };
    let mut before = 0u64;
    for number in &mut numbers {
        *number = match mode {
            PLAIN | RUNS => meant(*number),
            _ => before.wrapping_add(unzigzag(*number) as u64),
        };
        before = *number;
    }
    Ok(numbers)
}

fn read_runs(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let number = reader.uint()?;
        let length = reader.count("a run", count - numbers.len())?;
        if length == 0 || numbers.last() == Some(&number) {
            return Err(DecodeError::NotCanonical);
        }
        numbers.resize(numbers.len() + length, number);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(numbers: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_uints(&mut bytes, numbers);
        bytes
    }

    #[test]
    fn a_column_takes_the_shortest_form() {
        assert!(written(&[]).is_empty());
        assert_eq!(written(&[7]), [7]);
        assert_eq!(written(&[7, 1, 9, 3]), [PLAIN, 7, 1, 9, 3]);
        assert_eq!(written(&[300, 301, 303, 302]), [DELTAS, 0xD8, 0x04, 2, 4, 1]);
        assert_eq!(written(&[5; 100]), [RUNS, 5, 100]);
        assert_eq!(written(&(1..=100).collect::<Vec<_>>()), [DELTA_RUNS, 2, 100]);
    }

    #[test]
    fn runs_have_one_form_and_never_more_than_was_asked_for() {
        let read = |bytes: &[u8]| uints(&mut Reader::new(bytes, 0), 4);
        assert_eq!(read(&[RUNS, 1, 3, 2, 1]), Ok(vec![1, 1, 1, 2]));
        assert_eq!(read(&[RUNS, 1, 3, 1, 1]), Err(DecodeError::NotCanonical));
        assert_eq!(read(&[RUNS, 1, 0, 2, 4]), Err(DecodeError::NotCanonical));
        assert_eq!(read(&[RUNS, 1, 3, 2, 2]), Err(DecodeError::TooLarge { what: "a run", found: 2, limit: 1 }));
        assert!(read(&[4, 1, 2, 3, 4]).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(
            numbers in prop_oneof![
                proptest::collection::vec(any::<i64>(), 0..20),
                proptest::collection::vec(-2i64..3, 0..60),
                proptest::collection::vec(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0)], 0..20),
            ]
        ) {
            let mut bytes = Vec::new();
            put_ints(&mut bytes, &numbers);
            let unsigned: Vec<u64> = numbers.iter().map(|number| *number as u64).collect();
            put_uints(&mut bytes, &unsigned);
            let mut reader = Reader::new(&bytes, 0);
            prop_assert_eq!(ints(&mut reader, numbers.len()).unwrap(), numbers);
            prop_assert_eq!(uints(&mut reader, unsigned.len()).unwrap(), unsigned);
            prop_assert!(reader.finish().is_ok());
        }
    }
}
