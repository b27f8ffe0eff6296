//! Numbers of a fixed width, packed: what is random takes what it must and no more.

use super::bytes::Reader;
use crate::error::DecodeError;

/// Packs numbers of `width` bits (at most 120), lowest bit first; the last byte is filled up with zeros.
pub(super) fn put_bits(out: &mut Vec<u8>, width: u32, numbers: impl Iterator<Item = u128>) {
    let (mut held, mut filled) = (0u128, 0);
    for number in numbers {
        held |= number << filled;
        filled += width;
        while filled >= 8 {
            out.push(held as u8);
            held >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(held as u8);
    }
}

/// The bytes that so many numbers take.
pub(super) fn packed_len(width: u32, count: usize) -> usize {
    count.saturating_mul(width as usize).div_ceil(8)
}

/// Reads `count` numbers. The caller has bounded the count.
pub(super) fn bits(reader: &mut Reader<'_>, width: u32, count: usize) -> Result<Vec<u128>, DecodeError> {
    let mut packed = reader.take(packed_len(width, count))?.iter();
    let (mut held, mut filled) = (0u128, 0);
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        while filled < width {
            held |= u128::from(*packed.next().expect("as many bytes were taken as the bits need")) << filled;
            filled += 8;
        }
        numbers.push(held & ((1 << width) - 1));
        held >>= width;
        filled -= width;
    }
    if held == 0 { Ok(numbers) } else { Err(DecodeError::NotCanonical) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_behind_the_last_number_are_zero() {
        let mut bytes = Vec::new();
        put_bits(&mut bytes, 3, [5, 2, 7].into_iter());
        assert_eq!(bytes, [0b1101_0101, 1]);
        assert_eq!(bits(&mut Reader::new(&bytes, 0), 3, 3), Ok(vec![5, 2, 7]));
        bytes[1] |= 0x80;
        assert_eq!(bits(&mut Reader::new(&bytes, 0), 3, 3), Err(DecodeError::NotCanonical));
        assert!(bits(&mut Reader::new(&bytes, 0), 3, 6).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(width in 0u32..=64, numbers in proptest::collection::vec(any::<u64>(), 0..40)) {
            let numbers: Vec<u128> = numbers.into_iter().map(|number| u128::from(number) & ((1 << width) - 1)).collect();
            let mut bytes = Vec::new();
            put_bits(&mut bytes, width, numbers.iter().copied());
            prop_assert_eq!(bytes.len(), packed_len(width, numbers.len()));
            prop_assert_eq!(bits(&mut Reader::new(&bytes, 0), width, numbers.len()).unwrap(), numbers);
        }
    }
}
