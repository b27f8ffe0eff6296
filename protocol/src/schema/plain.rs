//! Values as JSON and TOML have them: null, bool, number, text.

use super::model::{Field, Kind};
use super::text::{ValueError, quoted};
use crate::value::Value;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// Whole numbers up to here are exact as floats.
const EXACT_MAX: i64 = 1 << 53;

/// A value without its kind, as JSON has it. Serde writes and reads it as that JSON.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Plain {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
}

impl Field {
    /// The value as JSON has it: numbers as numbers (a whole float as a whole number), decimals, dates, timestamps, ids and
    /// bytes as the text of [`Field::show`].
    pub fn plain(&self, value: &Value) -> Plain {
        self.kind.plain(value)
    }

    /// The value that JSON gives: the inverse of [`Field::plain`]. A decimal may also be a number.
    ///
    /// Unlike [`Field::parse_text`] this keeps empty text and null apart. What the field allows is checked by
    /// [`Field::check`].
    ///
    /// # Errors
    /// [`ValueError`] when it is not of the field's kind, or would have to be rounded.
    pub fn from_plain(&self, plain: Plain) -> Result<Value, ValueError> {
        self.kind.from_plain(plain)
    }
}

impl Kind {
    /// The value as JSON has it; see [`Field::plain`].
    pub fn plain(self, value: &Value) -> Plain {
        match value {
            Value::Null => Plain::Null,
            Value::Bool(flag) => Plain::Bool(*flag),
            Value::Int(number) => Plain::Int(*number),
            Value::Float(number) => whole(*number).map_or(Plain::Float(*number), Plain::Int),
            _ => Plain::Text(self.show(value)),
        }
    }

    /// The value that JSON gives; see [`Field::from_plain`].
    ///
    /// # Errors
    /// [`ValueError`] when it is not of this kind, or would have to be rounded.
    pub fn from_plain(self, plain: Plain) -> Result<Value, ValueError> {
        match (self, plain) {
            (_, Plain::Null) => Ok(Value::Null),
            (Self::Text, Plain::Text(text)) => Ok(Value::text(&text)),
            (Self::Bool, Plain::Bool(flag)) => Ok(Value::Bool(flag)),
            (Self::Int, Plain::Int(number)) => Ok(Value::Int(number)),
            (Self::Int, Plain::Float(number)) => {
                whole(number).map(Value::Int).ok_or_else(|| ValueError::NotAnInt(number.to_string()))
            }
            (Self::Float, Plain::Int(number)) => exact_float(number),
            (Self::Float, Plain::Float(number)) => Value::float(number).map_err(|_| ValueError::NotAFloat(number.to_string())),
            (Self::Decimal { .. }, Plain::Int(number)) => self.parse_text(&number.to_string()),
            // The shortest text of the number is what its writer wrote, if it was written exactly.
            (Self::Decimal { .. }, Plain::Float(number)) => self.parse_text(&number.to_string()),
            (Self::Decimal { .. } | Self::Date | Self::Timestamp { .. } | Self::Uuid | Self::Bytes, Plain::Text(text))
                if !text.is_empty() =>
            {
                self.parse_text(&text)
            }
            (_, plain) => Err(ValueError::WrongKind { expected: self.expected(), found: plain.found() }),
        }
    }

    /// What a value of this kind is called in a sentence.
    fn expected(self) -> &'static str {
        match self {
            Self::Bool => "yes or no (true or false)",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Decimal { .. } => "a decimal number, as text or number",
            Self::Text => "a text",
            Self::Date => "a date as text, like 2024-05-31",
            Self::Timestamp { .. } => "a date and time as text, like 2024-05-31T14:30:00Z",
            Self::Uuid => "an id (a UUID as text)",
            Self::Bytes => "hexadecimal text",
        }
    }
}

impl Plain {
    fn found(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(text) if text.is_empty() => "an empty text",
            Self::Text(_) => "a text",
        }
    }
}

fn whole(number: f64) -> Option<i64> {
    let max = EXACT_MAX as f64;
    (number.fract() == 0.0 && (-max..=max).contains(&number)).then_some(number as i64)
}

fn exact_float(number: i64) -> Result<Value, ValueError> {
    let float = number as f64;
    if float as i128 != i128::from(number) {
        return Err(ValueError::NotAFloat(quoted(&number.to_string())));
    }
    Value::float(float).map_err(|_| ValueError::NotAFloat(quoted(&number.to_string())))
}

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl Visitor<'_> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, true, false, a number or a text")
    }

    fn visit_unit<E: Error>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Plain, E> {
        Ok(Plain::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Plain, E> {
        Ok(Plain::Int(number))
    }

    /// A number above i64 is a float; an int field refuses it then.
    fn visit_u64<E: Error>(self, number: u64) -> Result<Plain, E> {
        Ok(i64::try_from(number).map_or(Plain::Float(number as f64), Plain::Int))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Plain, E> {
        Ok(Plain::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Plain, E> {
        Ok(Plain::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::samples::kind_and_value;
    use proptest::prelude::*;

    const MONEY: Kind = Kind::Decimal { scale: 2 };

    fn refused(kind: Kind, plain: Plain) -> String {
        kind.from_plain(plain).unwrap_err().to_string()
    }

    #[test]
    fn a_decimal_is_text_and_may_be_a_number() {
        assert_eq!(MONEY.plain(&Value::Decimal(1250)), Plain::Text("12.50".into()));
        assert_eq!(MONEY.from_plain(Plain::Float(12.5)), Ok(Value::Decimal(1250)));
        assert_eq!(MONEY.from_plain(Plain::Int(-12)), Ok(Value::Decimal(-1200)));
        assert!(matches!(MONEY.from_plain(Plain::Float(0.1 + 0.2)), Err(ValueError::FinerThanScale { .. })));
        assert!(matches!(MONEY.from_plain(Plain::Int(i64::MAX)), Err(ValueError::DecimalTooLarge(_))));
        assert!(matches!(MONEY.from_plain(Plain::Float(f64::NAN)), Err(ValueError::NotADecimal(_))));
    }

    #[test]
    fn a_whole_float_is_a_whole_number_in_json() {
        assert_eq!(Kind::Float.plain(&Value::Float(107.0)), Plain::Int(107));
        assert_eq!(serde_json::to_string(&Kind::Float.plain(&Value::Float(107.0))).unwrap(), "107");
        assert_eq!(Kind::Float.from_plain(Plain::Int(107)), Ok(Value::Float(107.0)));
        assert_eq!(Kind::Float.plain(&Value::Float(1e300)), Plain::Float(1e300));
    }

    #[test]
    fn a_number_that_would_have_to_be_rounded_is_an_error() {
        assert!(Kind::Float.from_plain(Plain::Int((1 << 53) + 1)).is_err());
        assert!(Kind::Float.from_plain(Plain::Int(i64::MAX)).is_err());
        assert_eq!(Kind::Int.from_plain(Plain::Float(5.0)), Ok(Value::Int(5)));
        assert!(Kind::Int.from_plain(Plain::Float(5.5)).is_err());
        assert!(Kind::Int.from_plain(Plain::Float(1e17)).is_err());
    }

    #[test]
    fn empty_text_stays_text_and_is_nothing_else() {
        assert_eq!(Kind::Text.from_plain(Plain::Text(String::new())), Ok(Value::Text(String::new())));
        assert_eq!(
            refused(Kind::Date, Plain::Text(String::new())),
            "a date as text, like 2024-05-31 is expected here, not an empty text"
        );
    }

    #[test]
    fn another_sort_of_value_is_named_in_the_error() {
        assert_eq!(refused(Kind::Text, Plain::Int(5)), "a text is expected here, not a number");
        assert_eq!(refused(Kind::Bool, Plain::Text("yes".into())), "yes or no (true or false) is expected here, not a text");
        assert_eq!(refused(Kind::Uuid, Plain::Bool(true)), "an id (a UUID as text) is expected here, not true or false");
    }

    #[test]
    fn json_that_is_no_plain_value_is_refused() {
        assert!(serde_json::from_str::<Plain>("[1]").is_err());
        assert_eq!(serde_json::from_str::<Plain>("18446744073709551615").unwrap(), Plain::Float(18446744073709551615.0));
    }

    proptest! {
        #[test]
        fn plain_values_read_back_as_the_same_value((kind, value) in kind_and_value()) {
            prop_assert_eq!(kind.from_plain(kind.plain(&value)), Ok(value));
        }

        /// Of floats only those that people write: whether a JSON reader is exact for all others is its own matter.
        #[test]
        fn plain_values_survive_json((kind, value) in kind_and_value(), tenths in -100_000..100_000_i32) {
            let value = if kind == Kind::Float { Value::float(f64::from(tenths) / 10.0).unwrap() } else { value };
            let json = serde_json::to_string(&kind.plain(&value)).unwrap();
            let plain: Plain = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(kind.from_plain(plain), Ok(value));
        }
    }
}
