//! The only file that names bincode.
//!
//! Wire types derive [`Encode`] and [`Decode`]; records of a store derive serde's traits and go through [`store`].
//! Both use variable-length little-endian integers, refuse trailing bytes, and bound what a hostile length can allocate.

use crate::error::DecodeError;
use crate::limits::{FRAME_INFLATED_BYTES_MAX, STORE_RECORD_BYTES_MAX};
pub use bincode::{Decode, Encode};

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
    let config = bincode::config::standard().with_limit::<{ 8 * FRAME_INFLATED_BYTES_MAX }>();
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

    /// The bytes of a record.
    ///
    /// # Panics
    /// Never: a record is plain data and memory is the only sink.
    pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
        bincode::serde::encode_to_vec(record, bincode::config::standard()).expect("records always encode into memory")
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not that record: the store was written by something else, or is damaged.
    pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
        let config = bincode::config::standard().with_limit::<STORE_RECORD_BYTES_MAX>();
        let (value, used) =
            bincode::serde::decode_from_slice(bytes, config).map_err(super::outside)?;
        if used != bytes.len() {
            return Err(DecodeError::TrailingBytes { count: bytes.len() - used });
        }
        Ok(value)
    }
}
