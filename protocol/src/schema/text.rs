//! Values as people write them, on the command line and in CSV files, by the kind of their field.

use super::model::{Field, Kind};
use super::time;
use crate::value::Value;
use std::fmt::Write;
use thiserror::Error;
use uuid::Uuid;

/// Characters of a rejected text that its error repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// Why a text, number or flag is not a value of a field.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not a bool.
    #[error("`{0}` is neither yes nor no: write yes, no, true, false, 1 or 0")]
    NotABool(String),
    /// Not an int, or outside 64 bits.
    #[error("`{0}` is not a whole number between -9223372036854775808 and 9223372036854775807")]
    NotAnInt(String),
    /// Not a finite number, or one that a float cannot hold exactly.
    #[error("`{0}` is not a number that can be stored: write it like 61.5")]
    NotAFloat(String),
    /// Not a decimal.
    #[error("`{0}` is not a decimal number: write it with a point, like 12.50, and without spaces or commas")]
    NotADecimal(String),
    /// A decimal with digits behind those that the field keeps: cutting them off would change the value.
    #[error("`{text}` has more digits behind the point than the {scale} that are kept: round it first")]
    FinerThanScale {
        /// What was given.
        text: String,
        /// Digits that the field keeps.
        scale: u8,
    },
    /// A decimal outside 64 bits.
    #[error("`{0}` is too large a number to be stored")]
    DecimalTooLarge(String),
    /// Not a date.
    #[error("`{0}` is not a date: write year, month and day, like 2024-05-31")]
    NotADate(String),
    /// Not a timestamp.
    #[error("`{0}` is not a date and time: write it like 2024-05-31 14:30 (read as UTC) or 2024-05-31T14:30:00+03:00")]
    NotATimestamp(String),
    /// A timestamp with a fraction that the field's unit does not count.
    #[error("`{text}` is finer than the {unit} that are kept: round it first")]
    FinerThanUnit {
        /// What was given.
        text: String,
        /// The unit of the field.
        unit: &'static str,
    },
    /// Not a UUID.
    #[error("`{0}` is not an id: an id is a UUID, like 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e")]
    NotAUuid(String),
    /// Not hexadecimal.
    #[error("`{0}` is not hexadecimal: write two of 0-9 and a-f for each byte")]
    NotHex(String),
    /// Of another sort than the field takes.
    #[error("{expected} is expected here, not {found}")]
    WrongKind {
        /// What the field takes.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
}

/// The beginning of a text, for an error.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl Field {
    /// The value that a person wrote. Empty text is null for every kind, so an empty text value cannot be written this way.
    ///
    /// Reads the form only; what the field allows is checked by [`Field::check`].
    ///
    /// # Errors
    /// [`ValueError`] when the text is not of the field's kind, or would have to be rounded.
    pub fn parse_text(&self, text: &str) -> Result<Value, ValueError> {
        self.kind.parse_text(text)
    }

    /// The value as text: the inverse of [`Field::parse_text`] for all but empty text. A value of another kind than the
    /// field's is shown as what it is.
    pub fn show(&self, value: &Value) -> String {
        self.kind.show(value)
    }
}

impl Kind {
    /// The value that a person wrote; see [`Field::parse_text`].
    ///
    /// # Errors
    /// [`ValueError`] when the text is not of this kind, or would have to be rounded.
    pub fn parse_text(self, text: &str) -> Result<Value, ValueError> {
        if text.is_empty() {
            return Ok(Value::Null);
        }
        if self == Self::Text {
            return Ok(Value::text(text));
        }
        let text = text.trim();
        match self {
            Self::Bool => parse_bool(text),
            Self::Int => text.parse().map(Value::Int).map_err(|_| ValueError::NotAnInt(quoted(text))),
            Self::Float => parse_float(text),
            Self::Decimal { scale } => parse_decimal(text, scale).map(Value::Decimal),
            Self::Text => Ok(Value::text(text)),
            Self::Date => time::parse_date(text).map(Value::Date),
            Self::Timestamp { unit } => time::parse_timestamp(text, unit).map(Value::Timestamp),
            Self::Uuid => Uuid::parse_str(text).map(Value::uuid).map_err(|_| ValueError::NotAUuid(quoted(text))),
            Self::Bytes => parse_hex(text).map(Value::Bytes).ok_or_else(|| ValueError::NotHex(quoted(text))),
        }
    }

    /// The value as text; see [`Field::show`].
    pub fn show(self, value: &Value) -> String {
        match (value, self) {
            (Value::Null, _) => String::new(),
            (Value::Bool(flag), _) => if *flag { "yes" } else { "no" }.to_owned(),
            (Value::Int(number), _) => number.to_string(),
            (Value::Float(number), _) => show_float(*number),
            (Value::Decimal(number), Self::Decimal { scale }) => show_decimal(*number, scale),
            (Value::Decimal(number), _) => number.to_string(),
            (Value::Text(text), _) => text.clone(),
            (Value::Date(days), _) => time::show_date(*days),
            (Value::Timestamp(count), Self::Timestamp { unit }) => time::show_timestamp(*count, unit),
            (Value::Timestamp(count), _) => count.to_string(),
            (Value::Uuid(bytes), _) => Uuid::from_bytes(*bytes).to_string(),
            (Value::Bytes(bytes), _) => show_hex(bytes),
        }
    }
}

fn parse_bool(text: &str) -> Result<Value, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Ok(Value::Bool(true)),
        "no" | "false" | "0" => Ok(Value::Bool(false)),
        _ => Err(ValueError::NotABool(quoted(text))),
    }
}

fn parse_float(text: &str) -> Result<Value, ValueError> {
    let number: Option<f64> = text.parse().ok();
    number.and_then(|number| Value::float(number).ok()).ok_or_else(|| ValueError::NotAFloat(quoted(text)))
}

/// The shortest text that reads back as the same number; with an exponent only where the zeros would be many.
fn show_float(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e16).contains(&size) { number.to_string() } else { format!("{number:e}") }
}

/// A decimal as the count of its last digit, exactly.
pub(super) fn parse_decimal(text: &str, scale: u8) -> Result<i64, ValueError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, behind) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if behind.is_empty() || !all_digits(whole) || !all_digits(behind) || (whole.is_empty() && !digits.starts_with('.')) {
        return Err(ValueError::NotADecimal(quoted(text)));
    }
    let kept = behind.len().min(usize::from(scale));
    if behind[kept..].bytes().any(|byte| byte != b'0') {
        return Err(ValueError::FinerThanScale { text: quoted(text), scale });
    }
    let zeros = std::iter::repeat_n(b'0', usize::from(scale) - kept);
    let mut count: i64 = 0;
    for digit in whole.bytes().chain(behind[..kept].bytes()).chain(zeros) {
        let digit = i64::from(digit - b'0');
        // Counted on the side of its sign, because i64 has one more negative number.
        let next = count.checked_mul(10).and_then(|count| count.checked_add(if negative { -digit } else { digit }));
        count = next.ok_or_else(|| ValueError::DecimalTooLarge(quoted(text)))?;
    }
    Ok(count)
}

fn show_decimal(count: i64, scale: u8) -> String {
    let sign = if count < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", count.unsigned_abs(), width = scale + 1);
    let (whole, behind) = digits.split_at(digits.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{behind}") }
}

/// Bytes of hexadecimal digits, with or without `0x` in front.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

/// Hexadecimal; `0x` where there is no byte, because empty text is null.
fn show_hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "0x".to_owned();
    }
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model::TimeUnit;
    use crate::schema::samples::{kind_and_value, kinds};
    use proptest::prelude::*;

    fn decimal(text: &str) -> Result<Value, ValueError> {
        Kind::Decimal { scale: 2 }.parse_text(text)
    }

    #[test]
    fn a_decimal_is_read_exactly_or_not_at_all() {
        assert_eq!(decimal("12.5"), Ok(Value::Decimal(1250)));
        assert_eq!(decimal("-0.05"), Ok(Value::Decimal(-5)));
        assert_eq!(decimal(".5"), Ok(Value::Decimal(50)));
        assert_eq!(decimal("+12.5000"), Ok(Value::Decimal(1250)));
        assert_eq!(decimal("12.505"), Err(ValueError::FinerThanScale { text: "12.505".into(), scale: 2 }));
        assert_eq!(decimal("-92233720368547758.08"), Ok(Value::Decimal(i64::MIN)));
        assert!(matches!(decimal("92233720368547758.08"), Err(ValueError::DecimalTooLarge(_))));
        for text in ["12,50", "1 000", "1e3", "12.", ".", "-", "--1", "1.2.3", "٣"] {
            assert!(matches!(decimal(text), Err(ValueError::NotADecimal(_))), "{text}");
        }
    }

    #[test]
    fn a_float_is_shown_as_short_as_it_reads_back() {
        let show = |number| Kind::Float.show(&Value::Float(number));
        assert_eq!((show(107.0), show(61.5), show(0.1 + 0.2)), ("107".into(), "61.5".into(), "0.30000000000000004".into()));
        assert_eq!((show(1e300), show(-2.5e-9), show(0.0)), ("1e300".into(), "-2.5e-9".into(), "0".into()));
        for text in ["NaN", "inf", "1e999", "61,5", "abc"] {
            assert!(matches!(Kind::Float.parse_text(text), Err(ValueError::NotAFloat(_))), "{text}");
        }
    }

    #[test]
    fn bools_are_read_from_the_words_people_use() {
        for (text, flag) in [("yes", true), ("TRUE", true), ("1", true), ("No", false), ("false", false), (" 0 ", false)] {
            assert_eq!(Kind::Bool.parse_text(text), Ok(Value::Bool(flag)), "{text}");
        }
        assert!(matches!(Kind::Bool.parse_text("maybe"), Err(ValueError::NotABool(_))));
    }

    #[test]
    fn empty_text_is_null_for_every_kind() {
        for kind in kinds() {
            assert_eq!(kind.parse_text(""), Ok(Value::Null), "{kind:?}");
            assert_eq!(kind.show(&Value::Null), "");
        }
    }

    #[test]
    fn text_is_kept_as_it_is_written() {
        assert_eq!(Kind::Text.parse_text("  two  "), Ok(Value::Text("  two  ".into())));
        assert_eq!(Kind::Text.parse_text("e\u{301}"), Ok(Value::Text("\u{e9}".into())));
    }

    #[test]
    fn bytes_are_hexadecimal() {
        assert_eq!(Kind::Bytes.parse_text("0xDEad"), Ok(Value::Bytes(vec![0xde, 0xad])));
        assert_eq!(Kind::Bytes.parse_text("0x"), Ok(Value::Bytes(vec![])));
        for text in ["abc", "zz", "+1", "é"] {
            assert!(matches!(Kind::Bytes.parse_text(text), Err(ValueError::NotHex(_))), "{text}");
        }
    }

    #[test]
    fn an_error_repeats_only_the_beginning_of_a_long_text() {
        let error = Kind::Int.parse_text(&"é".repeat(100_000)).unwrap_err().to_string();
        assert!(error.starts_with("`éé") && error.len() < 300, "{error}");
    }

    #[test]
    fn a_value_of_another_kind_is_shown_as_what_it_is() {
        assert_eq!(Kind::Text.show(&Value::Decimal(1250)), "1250");
        assert_eq!(Kind::Date.show(&Value::Timestamp(5)), "5");
        assert_eq!(Kind::Timestamp { unit: TimeUnit::Seconds }.show(&Value::Int(5)), "5");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same_value((kind, value) in kind_and_value()) {
            prop_assume!(value != Value::Text(String::new()));
            prop_assert_eq!(kind.parse_text(&kind.show(&value)), Ok(value));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            for kind in kinds() {
                if let Ok(value) = kind.parse_text(&text) {
                    prop_assert!(value.is_canonical());
                }
            }
        }
    }
}
