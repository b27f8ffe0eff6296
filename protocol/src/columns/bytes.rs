//! Bytes and varints, and the reader that counts what they claim.

use crate::error::DecodeError;

/// Seven bits a byte, lowest first; the top bit says that more follow.
pub(super) fn put_uint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The bytes that [`put_uint`] writes.
pub(super) fn uint_len(number: u64) -> usize {
    (u64::BITS - number.leading_zeros()).div_ceil(7).max(1) as usize
}

/// Small numbers of either sign as small numbers: 0, -1, 1, -2, 2 ...
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The number behind [`zigzag`].
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// A batch that is being read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    weight: usize,
    weight_max: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(blob: &'a [u8], weight_max: usize) -> Self {
        Self { rest: blob, weight: 0, weight_max }
    }

    /// Counts what is about to be allocated.
    pub(super) fn weigh(&mut self, count: usize, each: usize) -> Result<(), DecodeError> {
        self.weight = self.weight.saturating_add(count.saturating_mul(each));
        within("the weight of a batch", self.weight, self.weight_max)
    }

    /// The end: nothing may follow. Returns the weight.
    pub(super) fn finish(self) -> Result<usize, DecodeError> {
        match self.rest.len() {
            0 => Ok(self.weight),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| malformed("a batch that is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn uint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(DecodeError::NotCanonical) } else { Ok(number) };
            }
        }
        Err(malformed("a number of more than 64 bits"))
    }

    /// A count of `what`, at most `limit`.
    pub(super) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.uint()?).unwrap_or(usize::MAX);
        within(what, count, limit)?;
        Ok(count)
    }
}

pub(super) fn within(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
}

pub(super) fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<u64, DecodeError> {
        Reader::new(bytes, 0).uint()
    }

    #[test]
    fn numbers_take_as_few_bytes_as_they_need_and_come_back() {
        for (number, length) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            let mut bytes = Vec::new();
            put_uint(&mut bytes, number);
            assert_eq!((bytes.len(), uint_len(number), read(&bytes)), (length, length, Ok(number)));
        }
        for number in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn a_number_has_one_form_only() {
        assert_eq!(read(&[0x80, 0x00]), Err(DecodeError::NotCanonical));
        assert_eq!(read(&[0xFF, 0x80, 0x00]), Err(DecodeError::NotCanonical));
        let mut too_large = [0xFF; 10];
        too_large[9] = 2;
        assert_eq!(read(&too_large), Err(malformed("a number of more than 64 bits")));
        assert!(read(&[0x80; 11]).is_err());
        assert!(read(&[0x80]).is_err());
    }
}
