//! Columns of UUIDs: those of version 7 without the bits that say so and with their times as differences.

use super::bits::{bits, put_bits};
use super::bytes::{Reader, malformed, put_uint};
use super::ints::{indexes, put_uints, uints};
use crate::error::DecodeError;
use std::collections::BTreeMap;

pub(super) type Id = [u8; 16];

const RAW: u8 = 0;
const V7: u8 = 1;
const DICTIONARY: u8 = 2;

const MS_BITS: u32 = 48;
const RANDOM_BITS: u32 = 74;

/// Writes a column of ids that hardly repeat: row names.
pub(super) fn put_ids(out: &mut Vec<u8>, ids: &[Id]) {
    if ids.is_empty() {
        return;
    }
    match ids.iter().map(split_v7).collect::<Option<Vec<_>>>() {
        Some(parts) => {
            out.push(V7);
            put_uints(out, &parts.iter().map(|(ms, _)| *ms).collect::<Vec<_>>());
            put_bits(out, RANDOM_BITS, parts.iter().map(|(_, random)| *random));
        }
        None => {
            out.push(RAW);
            out.extend(ids.iter().flatten());
        }
    }
}

/// Writes a column of ids that may repeat: references.
pub(super) fn put_references(out: &mut Vec<u8>, ids: &[Id]) {
    let mut places = BTreeMap::new();
    let mut distinct: Vec<Id> = Vec::new();
    let mut indexes = Vec::with_capacity(ids.len());
    for id in ids {
        indexes.push(*places.entry(*id).or_insert_with(|| {
            distinct.push(*id);
            distinct.len() as u64 - 1
        }));
    }
    // An index takes two bytes at most in nearly all batches, an id nine at least.
    if distinct.len() < ids.len() && 9 * (ids.len() - distinct.len()) > 2 * ids.len() {
        out.push(DICTIONARY);
        put_uint(out, distinct.len() as u64);
        put_ids(out, &distinct);
        put_uints(out, &indexes);
    } else {
        put_ids(out, ids);
    }
}

/// Reads a column of `count` ids, in any form. The caller has bounded the count.
pub(super) fn ids(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Id>, DecodeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match reader.byte()? {
        DICTIONARY => {
            let size = reader.count("a dictionary", count)?;
            let mode = reader.byte()?;
            let distinct = plain_ids(reader, mode, size)?;
            Ok(indexes(reader, count, size)?.into_iter().map(|index| distinct[index]).collect())
        }
        mode => plain_ids(reader, mode, count),
    }
}

fn plain_ids(reader: &mut Reader<'_>, mode: u8, count: usize) -> Result<Vec<Id>, DecodeError> {
    match mode {
        RAW => {
            let (ids, _) = reader.take(16 * count)?.as_chunks::<16>();
            Ok(ids.to_vec())
        }
        V7 => {
            let times = uints(reader, count)?;
            if times.iter().any(|ms| *ms >> MS_BITS != 0) {
                return Err(malformed("a time of more than 48 bits in an id"));
            }
            let randoms = bits(reader, RANDOM_BITS, count)?;
            Ok(times.into_iter().zip(randoms).map(|(ms, random)| join_v7(ms, random)).collect())
        }
        _ => Err(malformed("an unknown form of ids")),
    }
}

/// Time and random bits of a UUIDv7.
fn split_v7(id: &Id) -> Option<(u64, u128)> {
    let number = u128::from_be_bytes(*id);
    let (version, variant) = (number >> 76 & 0xF, number >> 62 & 0x3);
    let random = (number >> 64 & 0xFFF) << 62 | number & ((1 << 62) - 1);
    (version == 7 && variant == 2).then_some(((number >> 80) as u64, random))
}

fn join_v7(ms: u64, random: u128) -> Id {
    let number = u128::from(ms) << 80 | 7 << 76 | (random >> 62) << 64 | 2 << 62 | random & ((1 << 62) - 1);
    number.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v7() -> impl Strategy<Value = Id> {
        (0u64..1 << MS_BITS, 0u128..1 << RANDOM_BITS).prop_map(|(ms, random)| join_v7(ms, random))
    }

    fn round_trip(ids_in: &[Id]) -> Vec<Id> {
        let mut bytes = Vec::new();
        put_ids(&mut bytes, ids_in);
        put_references(&mut bytes, ids_in);
        let mut reader = Reader::new(&bytes, 0);
        let names = ids(&mut reader, ids_in.len()).unwrap();
        assert_eq!(names, ids(&mut reader, ids_in.len()).unwrap());
        reader.finish().unwrap();
        names
    }

    #[test]
    fn a_uuid_of_version_7_is_its_time_and_74_bits() {
        let id = *uuid::Uuid::parse_str("0199c82c-c601-7abc-9def-0123456789ab").unwrap().as_bytes();
        let (ms, random) = split_v7(&id).unwrap();
        assert_eq!(ms, 0x0199_c82c_c601);
        assert_eq!(random >> 62, 0xabc);
        assert_eq!(join_v7(ms, random), id);
        let mut bytes = Vec::new();
        put_ids(&mut bytes, &[id]);
        assert_eq!(bytes.len(), 1 + 6 + 10);
        assert_eq!(split_v7(&[0; 16]), None);
    }

    #[test]
    fn references_to_few_rows_are_named_once() {
        let few: Vec<Id> = (0..100u8).map(|n| [n % 3; 16]).collect();
        let mut bytes = Vec::new();
        put_references(&mut bytes, &few);
        assert!(bytes.len() < 3 * 16 + 110, "{}", bytes.len());
        assert_eq!(round_trip(&few), few);
    }

    #[test]
    fn bits_behind_the_last_id_are_zero() {
        let mut bytes = Vec::new();
        put_ids(&mut bytes, &[join_v7(1, 1)]);
        assert!(ids(&mut Reader::new(&bytes, 0), 1).is_ok());
        *bytes.last_mut().unwrap() |= 0x80;
        assert_eq!(ids(&mut Reader::new(&bytes, 0), 1), Err(DecodeError::NotCanonical));
    }

    proptest! {
        #[test]
        fn ids_come_back(ids in proptest::collection::vec(prop_oneof![9 => v7(), 1 => any::<Id>()], 0..20)) {
            prop_assert_eq!(round_trip(&ids), ids);
        }
    }
}
