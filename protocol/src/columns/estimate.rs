//! What bytes will take behind zstd, roughly: by it an encoder chooses among the forms of a column, and does not try to compress a
//! short answer of hashes. In whole numbers, so that every machine chooses alike.

/// Below this nothing is saved by a table of code lengths.
const SHORT: usize = 32;
/// What such a table takes, besides half a byte for each different byte.
const TABLE: usize = 4;

/// By how often each byte is there, and never more than the bytes themselves. What repeats as a whole takes less.
pub(crate) fn compressed_len(bytes: &[u8]) -> usize {
    if bytes.len() < SHORT {
        return bytes.len();
    }
    let mut counts = [0u64; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let of_all = log2(bytes.len() as u64);
    let present = || counts.iter().filter(|count| **count > 0);
    let bits: u64 = present().map(|count| count * (of_all - log2(*count))).sum();
    (TABLE + present().count() / 2 + (bits / (8 * ONE)) as usize).min(bytes.len())
}

/// One bit.
const ONE: u64 = 256;

/// The logarithm of a number that is not zero, in 256ths; between powers of two on a straight line.
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    let below = (u128::from(number) * u128::from(ONE)) >> whole;
    u64::from(whole) * ONE + below as u64 - ONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_random_stays_and_what_is_alike_shrinks() {
        let all: Vec<u8> = (0..=255).cycle().take(2560).collect();
        assert_eq!(compressed_len(&all), 2560);
        assert!(compressed_len(&[7; 1000]) < 10);
        let digits: Vec<u8> = all.iter().map(|byte| b'0' + byte % 8).collect();
        assert!((960..980).contains(&compressed_len(&digits)), "{}", compressed_len(&digits));
        assert_eq!(compressed_len(b"short"), 5);
    }
}
