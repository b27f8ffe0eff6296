//! Numbers of a fixed width, packed: what is random takes what it must and no more.

use super::bytes::Reader;
use crate::error::DecodeError;

/// Packs numbers of `width` bits, at most 128, lowest bit first; the last byte is filled up with zeros.
pub(super) fn put_bits(out: &mut Vec<u8>, width: u32, numbers: impl ExactSizeIterator<Item = u128>) {
    out.reserve(packed_len(width, numbers.len()) + 8);
    // What is held is less than 64 bits between two steps, and a step adds 64 at most.
    let (mut held, mut filled) = (0u128, 0);
    for number in numbers {
        for (part, bits) in [(number as u64, width.min(64)), ((number >> 64) as u64, width.saturating_sub(64))] {
            held |= u128::from(part) << filled;
            filled += bits;
            if filled >= 64 {
                out.extend_from_slice(&(held as u64).to_le_bytes());
                held >>= 64;
                filled -= 64;
            }
        }
    }
    out.extend_from_slice(&(held as u64).to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// The bytes that so many numbers take.
pub(super) fn packed_len(width: u32, count: usize) -> usize {
    count.saturating_mul(width as usize).div_ceil(8)
}

/// Reads `count` numbers. The caller has bounded the count.
pub(super) fn bits(reader: &mut Reader<'_>, width: u32, count: usize) -> Result<Vec<u128>, DecodeError> {
    let (words, rest) = reader.take(packed_len(width, count))?.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    let (mut held, mut filled) = (0u128, 0);
    let mut part = |bits: u32| {
        if filled < bits {
            held |= u128::from(words.next().unwrap_or(0)) << filled;
            filled += 64;
        }
        let part = held & ((1 << bits) - 1);
        held >>= bits;
        filled -= bits;
        part
    };
    let low = width.min(64);
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        let number = part(low);
        numbers.push(if width > 64 { number | part(width - 64) << 64 } else { number });
    }
    if held == 0 && words.all(|word| word == 0) { Ok(numbers) } else { Err(DecodeError::NotCanonical) }
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
        fn numbers_come_back(width in 0u32..=120, numbers in proptest::collection::vec(any::<u128>(), 0..40)) {
            let numbers: Vec<u128> = numbers.into_iter().map(|number| number & ((1 << width) - 1)).collect();
            let mut bytes = Vec::new();
            put_bits(&mut bytes, width, numbers.iter().copied());
            prop_assert_eq!(bytes.len(), packed_len(width, numbers.len()));
            prop_assert_eq!(bits(&mut Reader::new(&bytes, 0), width, numbers.len()).unwrap(), numbers);
        }
    }
}
