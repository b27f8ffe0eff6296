//! The only file that names bincode.
//!
//! Wire types derive [`Encode`] and [`Decode`]; records of a store derive serde's traits and go through [`store`].
//! Both use variable-length little-endian integers, refuse trailing bytes, and bound what a hostile length can allocate.

use crate::error::DecodeError;
use crate::limits::{FRAME_INFLATED_BYTES_MAX, STORE_RECORD_BYTES_MAX};
pub use bincode::{Decode, Encode};

/// What one message may claim in memory: bincode counts elements before it makes room for them.
const MESSAGE_MEMORY_MAX: usize = 8 * FRAME_INFLATED_BYTES_MAX;

/// Implements the wire traits for a newtype over a UUID: its sixteen bytes, no length.
macro_rules! uuid_newtype {
    ($name:ident) => {
        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                bincode::Encode::encode(self.0.as_bytes(), encoder)
            }
        }
        impl<C> bincode::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
                let bytes: [u8; 16] = bincode::Decode::decode(decoder)?;
                Ok(Self(uuid::Uuid::from_bytes(bytes)))
            }
        }
        impl<'de, C> bincode::BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                bincode::Decode::decode(decoder)
            }
        }
    };
}
pub(crate) use uuid_newtype;

/// A part of a message with a format of its own: a length and bytes inside the envelope.
pub(crate) trait Blob: Sized {
    /// Its bytes.
    fn to_blob(&self) -> Vec<u8>;
    /// From its bytes, with what it weighs ([`crate::columns`]).
    fn from_blob(blob: &[u8]) -> Result<(Self, usize), DecodeError>;
}

/// A weight's bytes in memory, about.
pub(crate) const MEMORY_PER_WEIGHT: usize = 4;

/// Implements the wire traits for a [`Blob`]. What it weighs counts against the limit of the whole message.
macro_rules! blob {
    ($name:ident) => {
        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                bincode::Encode::encode(&$crate::codec::Blob::to_blob(self), encoder)
            }
        }
        impl<C> bincode::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
                let bytes: Vec<u8> = bincode::Decode::decode(decoder)?;
                let (value, weight) = <Self as $crate::codec::Blob>::from_blob(&bytes).map_err($crate::codec::inside)?;
                decoder.claim_bytes_read(weight * $crate::codec::MEMORY_PER_WEIGHT)?;
                Ok(value)
            }
        }
        impl<'de, C> bincode::BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                bincode::Decode::decode(decoder)
            }
        }
    };
}
pub(crate) use blob;

/// Carries an error of a blob through bincode, whose own errors have no place for it but this one.
pub(crate) fn inside(error: DecodeError) -> bincode::error::DecodeError {
    bincode::error::DecodeError::Io { inner: std::io::Error::other(error), additional: 0 }
}

fn outside(error: bincode::error::DecodeError) -> DecodeError {
    use bincode::error::DecodeError as Inner;
    match error {
        Inner::Io { inner, .. } => inner.downcast().unwrap_or_else(|other| DecodeError::Malformed(other.to_string())),
        Inner::LimitExceeded => DecodeError::Malformed("it claims more memory than a message may hold".into()),
        other => DecodeError::Malformed(other.to_string()),
    }
}

/// The bytes of a wire value.
///
/// # Panics
/// Never: a wire type holds only what can be encoded, and memory is the only sink.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard()).expect("wire types always encode into memory")
}

/// The wire value in `bytes`.
///
/// # Errors
/// [`DecodeError`] when the bytes are not that value, claim more memory than a frame may hold, or go on behind it.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_within::<T, MESSAGE_MEMORY_MAX>(bytes)
}

/// The wire value in `bytes`, which may claim `MEMORY_MAX` bytes of memory.
pub(crate) fn decode_within<T: Decode<()>, const MEMORY_MAX: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    let config = bincode::config::standard().with_limit::<MEMORY_MAX>();
    let (value, used) = bincode::decode_from_slice(bytes, config).map_err(outside)?;
    if used != bytes.len() {
        return Err(DecodeError::TrailingBytes { count: bytes.len() - used });
    }
    Ok(value)
}

/// Records of the embedded stores, in the same byte format by way of serde.
pub mod store {
    use super::{DecodeError, STORE_RECORD_BYTES_MAX};
    use serde::{Serialize, de::DeserializeOwned};

    /// Room for a record of the usual kind.
    const RECORD_BYTES: usize = 256;

    /// The bytes of a record.
    ///
    /// # Panics
    /// Never: a record is plain data and memory is the only sink.
    pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
        // Most records fit, and a list that grows from nothing is copied again and again.
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bincode::serde::encode_into_std_write(record, &mut bytes, bincode::config::standard())
            .expect("records always encode into memory");
        bytes
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not that record: the store was written by something else, or is damaged.
    pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
        let config = bincode::config::standard().with_limit::<STORE_RECORD_BYTES_MAX>();
        let (value, used) = bincode::serde::decode_from_slice(bytes, config).map_err(super::outside)?;
        if used != bytes.len() {
            return Err(DecodeError::TrailingBytes { count: bytes.len() - used });
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::VerdictRuns;
    use crate::ids::{Mark, Section};
    use crate::message::{Authors, Up};
    use std::mem::size_of;

    /// A collection that says it has `length` elements, and nothing behind it.
    fn claims(length: u64) -> Vec<u8> {
        encode(&length)
    }

    #[test]
    fn a_length_that_claims_too_much_is_refused_before_anything_is_allocated() {
        let refused =
            |error: DecodeError| error == DecodeError::Malformed("it claims more memory than a message may hold".into());
        for length in [u64::from(u32::MAX), 1 << 40, u64::MAX] {
            assert!(refused(decode::<Vec<Mark>>(&claims(length)).unwrap_err()));
            assert!(refused(decode::<Vec<Section>>(&claims(length)).unwrap_err()));
            assert!(refused(decode::<Vec<u8>>(&claims(length)).unwrap_err()));
            assert!(refused(decode::<String>(&claims(length)).unwrap_err()));
            assert!(refused(decode::<VerdictRuns>(&claims(length)).unwrap_err()));
            assert!(refused(decode::<std::collections::BTreeSet<Section>>(&claims(length)).unwrap_err()));
        }
        let most = (MESSAGE_MEMORY_MAX / size_of::<Mark>()) as u64;
        assert!(refused(decode::<Vec<Mark>>(&claims(most + 1)).unwrap_err()));
        assert!(!refused(decode::<Vec<Mark>>(&claims(most)).unwrap_err()));
    }

    #[test]
    fn what_follows_behind_a_value_is_refused() {
        let mut bytes = encode(&Up::Bye);
        bytes.extend([0, 0]);
        assert_eq!(decode::<Up>(&bytes), Err(DecodeError::TrailingBytes { count: 2 }));
        let mut bytes = store::encode(&Mark::default());
        bytes.push(0);
        assert_eq!(store::decode::<Mark>(&bytes), Err(DecodeError::TrailingBytes { count: 1 }));
    }

    #[test]
    fn a_number_in_a_longer_form_reads_as_the_same_number() {
        // Harmless in envelopes: nothing that was received is ever hashed in its encoded form (`protocol/WIRE.md`).
        let short = encode(&Up::Ping { nonce: 7 });
        assert_eq!(short, [9, 7]);
        assert_eq!(decode::<Up>(&[9, 251, 7, 0]), decode::<Up>(&short));
    }

    #[test]
    fn an_error_inside_a_batch_keeps_its_type() {
        let batch = encode(&vec![255u8, 255, 3]);
        let error = decode::<crate::batch::RowBatch>(&batch).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { what: "rows in a batch", .. }), "{error}");
    }

    #[test]
    fn no_element_of_a_collection_is_of_no_size() {
        // bincode does not bound collections of them.
        assert!(size_of::<Section>() > 0 && size_of::<crate::change::Effect>() > 0 && encode(&Authors::default()).len() == 2);
    }
}
