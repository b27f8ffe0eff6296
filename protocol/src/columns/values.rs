//! Columns of values: a column of kinds, which is a byte or two where they are alike, then the values of each kind together.

use super::bytes::{Reader, malformed};
use super::ids::{ids, put_references};
use super::ints::{ints, put_ints, put_uints, uints};
use super::texts::{put_texts, texts};
use crate::error::DecodeError;
use crate::value::Value;
use unicode_normalization::is_nfc;

const KINDS: usize = 10;
const FLOATS_RAW: u8 = 0xFF;
/// What a float is divided by when it is sent as a count of its last digit; the index is the number of digits.
const SCALES: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Up to here every whole number is a float.
const EXACT_MAX: i64 = 1 << f64::MANTISSA_DIGITS;

/// The number of a value's kind: that of its variant.
fn kind(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) => 2,
        Value::Float(_) => 3,
        Value::Decimal(_) => 4,
        Value::Text(_) => 5,
        Value::Date(_) => 6,
        Value::Timestamp(_) => 7,
        Value::Uuid(_) => 8,
        Value::Bytes(_) => 9,
    }
}

/// Writes a column of values; how many there are is known from elsewhere.
pub(super) fn put_values(out: &mut Vec<u8>, values: &[&Value]) {
    let mut by_kind: [Vec<&Value>; KINDS] = Default::default();
    let mut kinds = Vec::with_capacity(values.len());
    for value in values {
        kinds.push(kind(value) as u64);
        by_kind[kind(value)].push(value);
    }
    put_uints(out, &kinds);
    for values in by_kind.iter().filter(|values| !values.is_empty()) {
        put_kind(out, values);
    }
}

/// Writes values that are all of one kind.
fn put_kind(out: &mut Vec<u8>, values: &[&Value]) {
    let (mut whole, mut floats, mut texts, mut uuids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for value in values {
        match value {
            Value::Null => {}
            Value::Bool(flag) => whole.push(i64::from(*flag)),
            Value::Int(number) | Value::Decimal(number) | Value::Timestamp(number) => whole.push(*number),
            Value::Date(days) => whole.push(i64::from(*days)),
            Value::Float(number) => floats.push(*number),
            Value::Text(text) => texts.push(text.as_bytes()),
            Value::Bytes(bytes) => texts.push(bytes.as_slice()),
            Value::Uuid(id) => uuids.push(*id),
        }
    }
    put_ints(out, &whole);
    if !floats.is_empty() {
        put_floats(out, &floats);
    }
    put_texts(out, &texts);
    put_references(out, &uuids);
}

fn put_floats(out: &mut Vec<u8>, floats: &[f64]) {
    for (digits, scale) in SCALES.into_iter().enumerate() {
        if let Some(scaled) = floats.iter().map(|number| scaled(*number, scale)).collect::<Option<Vec<i64>>>() {
            out.push(digits as u8);
            return put_ints(out, &scaled);
        }
    }
    out.push(FLOATS_RAW);
    floats.iter().for_each(|number| out.extend(number.to_bits().to_le_bytes()));
}

/// The whole number that gives exactly this float, to the bit, when divided by the scale.
fn scaled(number: f64, scale: f64) -> Option<i64> {
    let scaled = (number * scale).round();
    // A number that is not finite, or too large, becomes the nearest i64 here and fails the comparison or the bound.
    let whole = scaled as i64;
    let back = whole as f64 / scale;
    (whole.unsigned_abs() <= EXACT_MAX.unsigned_abs() && back.to_bits() == number.to_bits()).then_some(whole)
}

/// Reads a column of `count` values. The caller has bounded and weighed the count.
pub(super) fn values(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Value>, DecodeError> {
    let kinds = uints(reader, count)?;
    let mut counts = [0; KINDS];
    for kind in &kinds {
        let place = usize::try_from(*kind).ok().and_then(|kind| counts.get_mut(kind));
        *place.ok_or_else(|| malformed("an unknown kind of value"))? += 1;
    }
    let mut by_kind: [std::vec::IntoIter<Value>; KINDS] = Default::default();
    for (kind, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        by_kind[kind] = of_kind(reader, kind, count)?.into_iter();
    }
    Ok(kinds.into_iter().map(|kind| by_kind[kind as usize].next().expect("as many were read as there are")).collect())
}

fn of_kind(reader: &mut Reader<'_>, kind: usize, count: usize) -> Result<Vec<Value>, DecodeError> {
    match kind {
        0 => Ok(vec![Value::Null; count]),
        1 => whole(reader, count, &|number| match number {
            0 => Ok(Value::Bool(false)),
            1 => Ok(Value::Bool(true)),
            _ => Err(malformed("neither yes nor no")),
        }),
        2 => whole(reader, count, &|number| Ok(Value::Int(number))),
        3 => floats(reader, count),
        4 => whole(reader, count, &|number| Ok(Value::Decimal(number))),
        5 => texts(reader, count, &text),
        6 => whole(reader, count, &|number| {
            i32::try_from(number).map(Value::Date).map_err(|_| malformed("a date of more than 32 bits"))
        }),
        7 => whole(reader, count, &|number| Ok(Value::Timestamp(number))),
        8 => Ok(ids(reader, count)?.into_iter().map(Value::Uuid).collect()),
        _ => texts(reader, count, &|bytes| Ok(Value::Bytes(bytes.to_vec()))),
    }
}

fn whole(
    reader: &mut Reader<'_>,
    count: usize,
    made: &dyn Fn(i64) -> Result<Value, DecodeError>,
) -> Result<Vec<Value>, DecodeError> {
    ints(reader, count)?.into_iter().map(made).collect()
}

fn text(bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("a text that is not UTF-8"))?;
    if is_nfc(text) { Ok(Value::Text(text.to_owned())) } else { Err(DecodeError::NotCanonical) }
}

fn floats(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Value>, DecodeError> {
    let float = |number: f64| {
        let value = Value::Float(number);
        if value.is_canonical() { Ok(value) } else { Err(DecodeError::NotCanonical) }
    };
    match reader.byte()? {
        FLOATS_RAW => {
            let (raw, _) = reader.take(8 * count)?.as_chunks::<8>();
            raw.iter().map(|bytes| float(f64::from_bits(u64::from_le_bytes(*bytes)))).collect()
        }
        digits => {
            let scale = *SCALES.get(usize::from(digits)).ok_or_else(|| malformed("an unknown form of floats"))?;
            let exact = |number: i64| number.unsigned_abs() <= EXACT_MAX.unsigned_abs();
            let made = |number: i64| if exact(number) { float(number as f64 / scale) } else { Err(DecodeError::NotCanonical) };
            whole(reader, count, &made)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::samples;
    use proptest::prelude::*;

    fn written(values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_values(&mut bytes, &values.iter().collect::<Vec<_>>());
        bytes
    }

    fn read(bytes: &[u8], count: usize) -> Result<Vec<Value>, DecodeError> {
        let mut reader = Reader::new(bytes, 1 << 20);
        let values = values(&mut reader, count)?;
        reader.finish().map(|_| values)
    }

    #[test]
    fn numbers_with_up_to_three_digits_are_sent_as_whole_numbers() {
        let weights: Vec<Value> = [10.7, 55.0, 0.1, 118.9].map(Value::Float).into();
        let bytes = written(&weights);
        assert!(bytes.len() < 14, "{}", bytes.len());
        assert_eq!(read(&bytes, 4).unwrap(), weights);
    }

    #[test]
    fn a_float_that_is_no_short_decimal_comes_back_to_the_bit() {
        for number in [0.1 + 0.2, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::MIN, 1e300, 9_007_199_254_740_993.0, -0.0005] {
            let values = [Value::Float(number), Value::Float(1.5)];
            assert_eq!(read(&written(&values), 2).unwrap(), values);
        }
        assert_eq!(scaled(0.1 + 0.2, 1000.0), None);
        assert_eq!(scaled(f64::MAX, 1.0), None);
        assert_eq!(scaled(-0.0, 1.0), None);
    }

    #[test]
    fn a_value_that_no_constructor_makes_is_refused() {
        for value in [Value::Float(-0.0), Value::Float(f64::NAN), Value::Float(f64::INFINITY), Value::Text("e\u{301}".into())] {
            assert_eq!(read(&written(&[value]), 1), Err(DecodeError::NotCanonical));
        }
        assert!(matches!(read(&[5, 1, 0xFF], 1), Err(DecodeError::Malformed(_))), "not UTF-8");
        assert!(matches!(read(&[1, 4], 1), Err(DecodeError::Malformed(_))), "a bool of two");
        assert!(matches!(read(&[6, 0xFE, 0xFF, 0xFF, 0xFF, 0x1F], 1), Err(DecodeError::Malformed(_))), "a late date");
        assert!(matches!(read(&[10], 1), Err(DecodeError::Malformed(_))), "an unknown kind");
        assert!(matches!(read(&[3, 4, 0], 1), Err(DecodeError::Malformed(_))), "an unknown scale");
    }

    proptest! {
        #[test]
        fn values_of_mixed_kinds_come_back(values in proptest::collection::vec(samples::value(), 0..40)) {
            prop_assert_eq!(read(&written(&values), values.len()).unwrap(), values);
        }

        #[test]
        fn values_of_one_kind_come_back(values in samples::values_of_one_kind()) {
            prop_assert_eq!(read(&written(&values), values.len()).unwrap(), values);
        }
    }
}
