//! Columns of whole numbers, in the shortest of six forms.

use super::bits::{bits, packed_len, put_bits};
use super::bytes::{Reader, malformed, put_uint, uint_len, unzigzag, zigzag};
use super::estimate::compressed_len;
use crate::error::DecodeError;

const PLAIN: u8 = 0;
const DELTAS: u8 = 1;
const RUNS: u8 = 2;
const DELTA_RUNS: u8 = 3;
const PACKED: u8 = 4;
const PACKED_DELTAS: u8 = 5;

/// Writes a column of unsigned numbers; how many there are is known from elsewhere.
pub(super) fn put_uints(out: &mut Vec<u8>, numbers: &[u64]) {
    put(out, numbers, Signs::One);
}

/// Writes a column of signed numbers.
pub(super) fn put_ints(out: &mut Vec<u8>, numbers: &[i64]) {
    let numbers: Vec<u64> = numbers.iter().map(|number| *number as u64).collect();
    put(out, &numbers, Signs::Both);
}

/// Reads a column of `count` unsigned numbers. The caller has bounded the count.
pub(super) fn uints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    read(reader, count, Signs::One)
}

/// Reads a column of `count` signed numbers.
pub(super) fn ints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, DecodeError> {
    let numbers = read(reader, count, Signs::Both)?;
    Ok(numbers.into_iter().map(|number| number as i64).collect())
}

/// Reads a column of `count` indexes below `end`.
pub(super) fn indexes(reader: &mut Reader<'_>, count: usize, end: usize) -> Result<Vec<usize>, DecodeError> {
    let index =
        |number| usize::try_from(number).ok().filter(|index| *index < end).ok_or_else(|| malformed("an index beyond its list"));
    uints(reader, count)?.into_iter().map(index).collect()
}

fn put(out: &mut Vec<u8>, numbers: &[u64], signs: Signs) {
    let [first, second, rest @ ..] = numbers else {
        return numbers.iter().for_each(|number| put_uint(out, signs.shown(*number)));
    };
    if !rest.is_empty() && first == second && rest.iter().all(|number| number == first) {
        out.push(RUNS);
        put_uint(out, signs.shown(*first));
        return put_uint(out, numbers.len() as u64);
    }
    let Measured { plain, deltas, runs, delta_runs, packed, packed_deltas } = Measured::of(numbers, signs);
    let forms = [(PLAIN, plain), (DELTAS, deltas), (RUNS, runs.length()), (DELTA_RUNS, delta_runs.length())];
    let (form, length) = forms.into_iter().min_by_key(|(_, length)| *length).expect("there are four");
    let shown = || numbers.iter().map(|number| signs.shown(*number));
    let start = out.len();
    out.push(form);
    match form {
        PLAIN => shown().for_each(|number| put_uint(out, number)),
        DELTAS => changes(numbers).for_each(|number| put_uint(out, number)),
        RUNS => put_runs(out, &shown().collect::<Vec<_>>()),
        _ => put_runs(out, &changes(numbers).collect::<Vec<_>>()),
    }
    let packed = [(PACKED, packed), (PACKED_DELTAS, packed_deltas)];
    let (form, packed) = packed.into_iter().min_by_key(|(_, packed)| packed.len()).expect("there are two");
    if packed.len() < length && 1 + packed.len() < compressed_len(&out[start..]) {
        out.truncate(start);
        out.push(form);
        packed.put(out, numbers);
    }
}

/// What each form of a column takes, without the byte that names it; found in one pass.
struct Measured {
    plain: usize,
    deltas: usize,
    runs: Runs,
    delta_runs: Runs,
    packed: Packed,
    packed_deltas: Packed,
}

impl Measured {
    fn of(numbers: &[u64], signs: Signs) -> Self {
        let (mut plain, mut deltas) = (0, 0);
        let (mut runs, mut delta_runs) = (Runs::default(), Runs::default());
        let (mut range, mut step_range) = (Range::of(signs), Range::of(Signs::Both));
        let mut before = 0;
        for (place, number) in numbers.iter().enumerate() {
            let (shown, step) = (signs.shown(*number), number.wrapping_sub(before));
            let (length, step_length) = (uint_len(shown), uint_len(zigzag(step as i64)));
            plain += length;
            deltas += step_length;
            runs.add(shown, length);
            delta_runs.add(step, step_length);
            range.add(*number);
            // The first one has a place of its own there.
            if place > 0 {
                step_range.add(step);
            }
            before = *number;
        }
        let packed = Packed::of(&range, signs, None, numbers.len());
        let packed_deltas = Packed::of(&step_range, Signs::Both, numbers.first().copied(), numbers.len() - 1);
        Self { plain, deltas, runs, delta_runs, packed, packed_deltas }
    }
}

/// Runs of equal numbers, as number and length each.
#[derive(Default)]
struct Runs {
    bytes: usize,
    number: u64,
    /// Of the run that is not counted yet.
    length: u64,
}

impl Runs {
    fn add(&mut self, number: u64, bytes: usize) {
        if self.length > 0 && self.number == number {
            self.length += 1;
            return;
        }
        self.bytes = self.length() + bytes;
        (self.number, self.length) = (number, 1);
    }

    /// Of all numbers so far.
    fn length(&self) -> usize {
        self.bytes + if self.length == 0 { 0 } else { uint_len(self.length) }
    }
}

/// The least and the largest of some numbers, in the order of their signs.
struct Range {
    /// The lowest i64 becomes the lowest u64, so that one order serves both.
    turn: u64,
    least: u64,
    most: u64,
}

impl Range {
    fn of(signs: Signs) -> Self {
        Self { turn: if signs == Signs::Both { 1 << 63 } else { 0 }, least: u64::MAX, most: 0 }
    }

    fn add(&mut self, number: u64) {
        self.least = self.least.min(number ^ self.turn);
        self.most = self.most.max(number ^ self.turn);
    }
}

/// Whether small numbers of both signs are small.
#[derive(Clone, Copy, PartialEq)]
enum Signs {
    One,
    Both,
}

impl Signs {
    fn shown(self, number: u64) -> u64 {
        if self == Self::Both { zigzag(number as i64) } else { number }
    }

    fn meant(self, number: u64) -> u64 {
        if self == Self::Both { unzigzag(number) as u64 } else { number }
    }
}

/// Numbers as what they exceed the least of them by, in as many bits as the largest of these needs.
struct Packed {
    /// Of deltas: the number before the first.
    from: Option<u64>,
    signs: Signs,
    least: u64,
    width: u32,
    count: usize,
}

impl Packed {
    fn of(range: &Range, signs: Signs, from: Option<u64>, count: usize) -> Self {
        let width = u64::BITS - range.most.saturating_sub(range.least).leading_zeros();
        Self { from, signs, least: range.least ^ range.turn, width, count }
    }

    /// Without the form.
    fn len(&self) -> usize {
        let least = uint_len(self.signs.shown(self.least));
        self.from.map_or(0, uint_len) + least + 1 + packed_len(self.width, self.count)
    }

    fn put(&self, out: &mut Vec<u8>, numbers: &[u64]) {
        self.from.iter().for_each(|from| put_uint(out, *from));
        put_uint(out, self.signs.shown(self.least));
        out.push(self.width as u8);
        let offset = |number: u64| u128::from(number.wrapping_sub(self.least));
        match self.from {
            None => put_bits(out, self.width, numbers.iter().copied().map(offset)),
            Some(_) => put_bits(out, self.width, steps(numbers).map(offset)),
        }
    }

    fn read(reader: &mut Reader<'_>, count: usize, signs: Signs) -> Result<Vec<u64>, DecodeError> {
        let least = signs.meant(reader.uint()?);
        let width = u32::from(reader.byte()?);
        if width > u64::BITS {
            return Err(malformed("numbers of more than 64 bits"));
        }
        let offsets = bits(reader, width, count)?;
        Ok(offsets.into_iter().map(|offset| least.wrapping_add(offset as u64)).collect())
    }

    fn read_deltas(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
        let mut number = reader.uint()?;
        let steps = Self::read(reader, count - 1, Signs::Both)?;
        let mut numbers = Vec::with_capacity(count);
        numbers.push(number);
        for step in steps {
            number = number.wrapping_add(step);
            numbers.push(number);
        }
        Ok(numbers)
    }
}

/// From each number to the next.
fn steps(numbers: &[u64]) -> impl ExactSizeIterator<Item = u64> {
    numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))
}

/// From each number to the next, beginning with zero, as small numbers of both signs.
fn changes(numbers: &[u64]) -> impl Iterator<Item = u64> {
    let before = std::iter::once(&0).chain(numbers);
    numbers.iter().zip(before).map(|(number, before)| zigzag(number.wrapping_sub(*before) as i64))
}

/// Writes runs of equal numbers as number, length, number, length ...
fn put_runs(out: &mut Vec<u8>, numbers: &[u64]) {
    for run in numbers.chunk_by(|one, next| one == next) {
        put_uint(out, run[0]);
        put_uint(out, run.len() as u64);
    }
}

fn read(reader: &mut Reader<'_>, count: usize, signs: Signs) -> Result<Vec<u64>, DecodeError> {
    let form = if count < 2 { PLAIN } else { reader.byte()? };
    let mut numbers = match form {
        PLAIN | DELTAS => (0..count).map(|_| reader.uint()).collect::<Result<Vec<u64>, _>>()?,
        RUNS | DELTA_RUNS => read_runs(reader, count)?,
        PACKED => return Packed::read(reader, count, signs),
        PACKED_DELTAS => return Packed::read_deltas(reader, count),
        _ => return Err(malformed("an unknown form of a column")),
    };
    let mut before = 0u64;
    for number in &mut numbers {
        *number = match form {
            PLAIN | RUNS => signs.meant(*number),
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
        assert_eq!(written(&[300, 301, 303]), [DELTAS, 0xD8, 0x04, 2, 4]);
        assert_eq!(written(&[5; 100]), [RUNS, 5, 100]);
        assert_eq!(written(&(1..=100).collect::<Vec<_>>()), [DELTA_RUNS, 2, 100]);
        assert_eq!(written(&[300, 303, 301, 302, 300, 303]), [PACKED, 0xAC, 0x02, 2, 0b1001_1100, 0b1100]);
        assert_eq!(written(&[300, 301, 304, 306, 307, 310, 311, 314, 316, 319])[0], PACKED_DELTAS);
    }

    #[test]
    fn runs_have_one_form_and_never_more_than_was_asked_for() {
        let read = |bytes: &[u8]| uints(&mut Reader::new(bytes, 0), 4);
        assert_eq!(read(&[RUNS, 1, 3, 2, 1]), Ok(vec![1, 1, 1, 2]));
        assert_eq!(read(&[RUNS, 1, 3, 1, 1]), Err(DecodeError::NotCanonical));
        assert_eq!(read(&[RUNS, 1, 0, 2, 4]), Err(DecodeError::NotCanonical));
        assert_eq!(read(&[RUNS, 1, 3, 2, 2]), Err(DecodeError::TooLarge { what: "a run", found: 2, limit: 1 }));
        assert!(read(&[6, 1, 2, 3, 4]).is_err());
    }

    #[test]
    fn packed_numbers_are_of_64_bits_at_most_and_nothing_hides_behind_them() {
        let read = |bytes: &[u8], count| uints(&mut Reader::new(bytes, 0), count);
        assert_eq!(read(&[PACKED, 9, 0], 3), Ok(vec![9, 9, 9]));
        assert_eq!(read(&[PACKED, 9, 1, 0b101], 3), Ok(vec![10, 9, 10]));
        assert_eq!(read(&[PACKED, 9, 1, 0b1101], 3), Err(DecodeError::NotCanonical));
        assert!(matches!(read(&[PACKED, 9, 65, 0], 2), Err(DecodeError::Malformed(_))));
        assert!(matches!(read(&[PACKED, 9, 64, 0], 1 << 20), Err(DecodeError::Malformed(_))));
        assert_eq!(read(&[PACKED_DELTAS, 9, 1, 0], 3), Ok(vec![9, 8, 7]));
    }

    proptest! {
        #[test]
        fn numbers_come_back(
            numbers in prop_oneof![
                proptest::collection::vec(any::<i64>(), 0..20),
                proptest::collection::vec(-2i64..3, 0..60),
                proptest::collection::vec(-9_000i64..9_000, 0..60),
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
