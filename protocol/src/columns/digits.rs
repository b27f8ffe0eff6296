//! Texts that are all decimal digits, as many in each, behind one prefix: telephone numbers, codes, receipts.

use super::bytes::{Reader, malformed, put_uint};
use super::ints::{put_uints, uints};
use crate::error::DecodeError;

/// Below this the prefix and the lengths cost nothing anyway.
const TEXTS_MIN: usize = 4;
/// Fewer digits are better off as text.
const DIGITS_MIN: usize = 3;
/// What fits into 64 bits.
const DIGITS_MAX: usize = 19;

/// Such texts as numbers.
pub(super) struct Digits<'a> {
    prefix: &'a [u8],
    digits: usize,
    numbers: Vec<u64>,
}

impl<'a> Digits<'a> {
    /// Takes as many digits as all texts have at their end, of equal lengths and behind the same prefix.
    pub(super) fn of(texts: &[&'a [u8]]) -> Option<Self> {
        let (first, rest) = texts.split_first()?;
        if texts.len() < TEXTS_MIN || rest.iter().any(|text| text.len() != first.len()) {
            return None;
        }
        let common = |text: &&[u8]| first.iter().zip(*text).take_while(|(one, other)| one == other).count();
        let alike = rest.iter().map(common).min()?;
        let digits = first.len() - alike;
        if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits) {
            return None;
        }
        let numbers = texts.iter().map(|text| number(&text[alike..])).collect::<Option<Vec<u64>>>()?;
        Some(Self { prefix: &first[..alike], digits, numbers })
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.prefix.len() as u64);
        out.extend(self.prefix);
        out.push(self.digits as u8);
        put_uints(out, &self.numbers);
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, digit| {
        digit.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?
    })
}

/// Reads `count` texts; weighs them before they are made.
pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Vec<u8>>, DecodeError> {
    let length = usize::try_from(reader.uint()?).unwrap_or(usize::MAX);
    let prefix = reader.take(length)?;
    let digits = usize::from(reader.byte()?);
    if !(1..=DIGITS_MAX).contains(&digits) {
        return Err(malformed("texts of no digit or of more than 64 bits"));
    }
    reader.weigh(count, prefix.len() + digits)?;
    let text = |number: u64| {
        let mut text = prefix.to_vec();
        text.extend(format!("{number:0digits$}").as_bytes());
        if text.len() == prefix.len() + digits { Ok(text) } else { Err(malformed("a number of more digits than its text has")) }
    };
    uints(reader, count)?.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(texts: &[&str]) -> Option<usize> {
        let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        let mut bytes = Vec::new();
        Digits::of(&texts)?.put(&mut bytes);
        let mut reader = Reader::new(&bytes, 1000);
        assert_eq!(read(&mut reader, texts.len()).unwrap(), texts);
        assert_eq!(reader.finish(), Ok(texts.iter().map(|text| text.len()).sum()));
        Some(bytes.len())
    }

    #[test]
    fn telephone_numbers_take_little_more_than_their_digits() {
        let phones = ["+254712345678", "+254700000001", "+254799999999", "+254750505050", "+254708642135"];
        assert!(round_trip(&phones).unwrap() < 8 + 5 * 4);
        assert!(round_trip(&["007", "019", "333", "120"]).is_some());
    }

    #[test]
    fn other_texts_are_left_alone() {
        assert_eq!(round_trip(&["123", "456", "789"]), None, "too few");
        assert_eq!(round_trip(&["123", "456", "789", "12"]), None, "another length");
        assert_eq!(round_trip(&["123", "456", "78x", "120"]), None, "no digit");
        assert_eq!(round_trip(&["5555"; 4]), None, "nothing differs");
        let long = ["11111111111111111111", "22222222222222222222", "33333333333333333333", "44444444444444444444"];
        assert_eq!(round_trip(&long), None, "more than 64 bits");
    }

    #[test]
    fn a_number_too_large_for_its_text_is_refused() {
        let texts: Vec<&[u8]> = vec![b"123", b"456", b"789", b"999"];
        let mut bytes = Vec::new();
        Digits::of(&texts).unwrap().put(&mut bytes);
        assert_eq!(bytes[..2], [0, 3]);
        for digits in [0, 2, 20] {
            bytes[1] = digits;
            assert!(matches!(read(&mut Reader::new(&bytes, 1000), 4), Err(DecodeError::Malformed(_))), "{digits}");
        }
        bytes[1] = 3;
        assert!(matches!(read(&mut Reader::new(&bytes, 11), 4), Err(DecodeError::TooLarge { .. })));
    }
}
