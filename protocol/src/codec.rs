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
    let (value, used) = bincode::decode_from_slice(bytes, config).map_err(|e| DecodeError::Malformed(e.to_string()))?;
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
            bincode::serde::decode_from_slice(bytes, config).map_err(|e| DecodeError::Malformed(e.to_string()))?;
        if used != bytes.len() {
            return Err(DecodeError::TrailingBytes { count: bytes.len() - used });
        }
        Ok(value)
    }
}
