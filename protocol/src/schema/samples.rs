//! Values of every kind, for the laws of the text and JSON forms.

use super::model::{Kind, TimeUnit};
use super::time;
use crate::value::Value;
use proptest::prelude::*;

/// Every kind, the scales and units included.
pub(super) fn kinds() -> Vec<Kind> {
    let decimals = (0..=9).map(|scale| Kind::Decimal { scale });
    let stamps = [TimeUnit::Seconds, TimeUnit::Milliseconds].map(|unit| Kind::Timestamp { unit });
    let others = [Kind::Bool, Kind::Int, Kind::Float, Kind::Text, Kind::Date, Kind::Uuid, Kind::Bytes];
    decimals.chain(stamps).chain(others).collect()
}

/// A kind and a value of it that a field can hold, or null.
pub(super) fn kind_and_value() -> impl Strategy<Value = (Kind, Value)> {
    prop::sample::select(kinds()).prop_flat_map(|kind| {
        let value = prop_oneof![1 => Just(Value::Null), 20 => value_of(kind)];
        (Just(kind), value)
    })
}

fn value_of(kind: Kind) -> BoxedStrategy<Value> {
    let (day_first, day_last) = time::day_range();
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Kind::Float => any::<f64>().prop_filter_map("finite", |number| Value::float(number).ok()).boxed(),
        Kind::Decimal { .. } => any::<i64>().prop_map(Value::Decimal).boxed(),
        Kind::Text => any::<String>().prop_map(|text| Value::text(&text)).boxed(),
        Kind::Date => (day_first..=day_last).prop_map(Value::Date).boxed(),
        Kind::Timestamp { unit } => {
            let (first, last) = unit.range();
            (first..=last).prop_map(Value::Timestamp).boxed()
        }
        Kind::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        Kind::Bytes => prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes).boxed(),
    }
}
