//! Typed values, canonical when made, so that equality is exact and total and hashes agree (T29).

use crate::codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use uuid::Uuid;

/// A value of a field. What it means (a decimal's scale, a timestamp's unit) stands in the schema.
///
/// Only canonical values may be compared or hashed: make them with the constructors, and check what was decoded with
/// [`Value::is_canonical`].
// Variants are append-only; their order is their number on the wire, in stores and in hashes.
#[derive(Clone, PartialEq, PartialOrd, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub enum Value {
    /// 0: absent; adds nothing to a hash.
    #[default]
    Null,
    /// 1: yes or no.
    Bool(bool),
    /// 2: a whole number.
    Int(i64),
    /// 3: a finite number; never -0.0.
    Float(f64),
    /// 4: a decimal as a count of its last digit: 12.50 at scale 2 is 1250.
    Decimal(i64),
    /// 5: text in NFC.
    Text(String),
    /// 6: days since 1970-01-01.
    Date(i32),
    /// 7: a moment as a count of the field's unit since 1970-01-01 00:00 UTC.
    Timestamp(i64),
    /// 8: a UUID: a reference, or any other id.
    Uuid([u8; 16]),
    /// 9: bytes.
    Bytes(Vec<u8>),
}

// Floats are finite and never -0.0, so equality is total.
impl Eq for Value {}

/// Why a number cannot be a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a number must be finite; infinity and NaN cannot be stored")]
pub struct NotFinite;

impl Value {
    /// A float; -0.0 becomes 0.0.
    ///
    /// # Errors
    /// [`NotFinite`] for infinity and NaN.
    pub fn float(number: f64) -> Result<Self, NotFinite> {
        if !number.is_finite() {
            return Err(NotFinite);
        }
        Ok(Self::Float(if number == 0.0 { 0.0 } else { number }))
    }

    /// Text, brought into NFC.
    pub fn text(text: &str) -> Self {
        if is_nfc(text) { Self::Text(text.to_owned()) } else { Self::Text(text.nfc().collect()) }
    }

    /// A UUID.
    pub fn uuid(id: Uuid) -> Self {
        Self::Uuid(*id.as_bytes())
    }

    /// Whether nothing is there.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether a decoded value is one that the constructors make.
    pub fn is_canonical(&self) -> bool {
        match self {
            Self::Float(number) => number.is_finite() && number.to_bits() != (-0.0f64).to_bits(),
            Self::Text(text) => is_nfc(text),
            _ => true,
        }
    }

    /// Appends the canonical form, which hashes and sizes are taken of: a kind byte and the content, lengths as u32, little endian.
    pub fn canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0),
            Self::Bool(flag) => out.extend([1, u8::from(*flag)]),
            Self::Int(number) => tagged(out, 2, &number.to_le_bytes()),
            Self::Float(number) => tagged(out, 3, &number.to_bits().to_le_bytes()),
            Self::Decimal(number) => tagged(out, 4, &number.to_le_bytes()),
            Self::Text(text) => sized(out, 5, text.as_bytes()),
            Self::Date(days) => tagged(out, 6, &days.to_le_bytes()),
            Self::Timestamp(count) => tagged(out, 7, &count.to_le_bytes()),
            Self::Uuid(bytes) => tagged(out, 8, bytes),
            Self::Bytes(bytes) => sized(out, 9, bytes),
        }
    }

    /// Size of the canonical form in bytes.
    pub fn canonical_len(&self) -> usize {
        match self {
            Self::Null => 1,
            Self::Bool(_) => 2,
            Self::Date(_) => 5,
            Self::Int(_) | Self::Float(_) | Self::Decimal(_) | Self::Timestamp(_) => 9,
            Self::Uuid(_) => 17,
            Self::Text(text) => 5 + text.len(),
            Self::Bytes(bytes) => 5 + bytes.len(),
        }
    }
}

fn tagged(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.push(kind);
    out.extend_from_slice(content);
}

fn sized(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_look_equal_are_equal() {
        assert_eq!(Value::float(-0.0).unwrap(), Value::float(0.0).unwrap());
        assert!(Value::float(-0.0).unwrap().is_canonical());
        assert_eq!(Value::text("e\u{301}"), Value::text("\u{e9}"));
        assert!(!Value::Float(-0.0).is_canonical());
        assert!(!Value::Text("e\u{301}".into()).is_canonical());
        assert_eq!(Value::float(f64::NAN), Err(NotFinite));
    }

    #[test]
    fn the_canonical_form_has_the_length_that_is_promised() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Int(-5),
            Value::float(1.5).unwrap(),
            Value::Decimal(1250),
            Value::text("Grüße"),
            Value::Date(-1),
            Value::Timestamp(1),
            Value::uuid(Uuid::nil()),
            Value::Bytes(vec![1, 2]),
        ];
        for value in values {
            let mut bytes = Vec::new();
            value.canonical(&mut bytes);
            assert_eq!(bytes.len(), value.canonical_len(), "{value:?}");
        }
    }
}
