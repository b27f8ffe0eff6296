//! Strategies for values, rows and changes, nasty ones among them.

use crate::batch::WireChange;
use crate::change::{FieldChange, LostValue, Op};
use crate::ids::{FieldTag, RowId, RowNo, Seq, TableTag, Version};
use crate::row::{FieldState, RowName, RowState, StateKind};
use crate::value::Value;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn whole() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -300i64..300, 2 => any::<i64>(), 1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(1 << 53)]]
}

fn float() -> impl Strategy<Value = Value> {
    let any_float = any::<u64>().prop_filter_map("finite", |bits| Value::float(f64::from_bits(bits)).ok());
    let short = (-100_000i64..100_000).prop_map(|number| Value::float(number as f64 / 100.0).expect("finite"));
    prop_oneof![4 => short, 1 => any_float, 1 => Just(Value::Float(f64::MAX)), 1 => Just(Value::Float(5e-324))]
}

fn text() -> impl Strategy<Value = Value> {
    let nasty = vec!["", "e\u{301}", "\u{0}", "\u{1F468}\u{200D}\u{1F469}", "\u{FFFD}", "\u{1100}\u{1161}", "\u{202E}x"];
    let long = (0usize..70).prop_map(|blocks| "ab-".repeat(blocks * 10));
    let text = prop_oneof![3 => "[a-c]{0,2}", 2 => ".*", 2 => prop::sample::select(nasty).prop_map(str::to_owned), 1 => long];
    text.prop_map(|text| Value::text(&text))
}

fn id() -> impl Strategy<Value = [u8; 16]> {
    let v7 = any::<[u8; 16]>().prop_map(|mut id| {
        id[6] = id[6] & 0x0F | 0x70;
        id[8] = id[8] & 0x3F | 0x80;
        id
    });
    prop_oneof![4 => v7, 2 => (0u8..4).prop_map(|n| [n; 16]), 1 => any::<[u8; 16]>()]
}

/// One value of the kind with this number.
fn of_kind(kind: usize) -> BoxedStrategy<Value> {
    match kind {
        0 => Just(Value::Null).boxed(),
        1 => any::<bool>().prop_map(Value::Bool).boxed(),
        2 => whole().prop_map(Value::Int).boxed(),
        3 => float().boxed(),
        4 => whole().prop_map(Value::Decimal).boxed(),
        5 => text().boxed(),
        6 => prop_oneof![3 => -20_000..20_000, 1 => any::<i32>()].prop_map(Value::Date).boxed(),
        7 => whole().prop_map(Value::Timestamp).boxed(),
        8 => id().prop_map(Value::Uuid).boxed(),
        _ => vec(any::<u8>(), 0..6).prop_map(Value::Bytes).boxed(),
    }
}

/// Any canonical value.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    (0usize..10).prop_flat_map(of_kind)
}

/// A column of one kind.
pub(crate) fn values_of_one_kind() -> impl Strategy<Value = Vec<Value>> {
    (0usize..10).prop_flat_map(|kind| vec(of_kind(kind), 0..50))
}

fn seq() -> impl Strategy<Value = Seq> {
    prop_oneof![8 => 90u64..110, 1 => any::<u64>(), 1 => Just(0), 1 => Just(u64::MAX)].prop_map(Seq)
}

fn name() -> impl Strategy<Value = RowName> {
    let number = || prop_oneof![5 => 1u64..3000, 1 => any::<u64>()].prop_map(RowNo);
    prop_oneof![(id(), number()).prop_map(|(id, no)| RowName::Id(RowId::from_bytes(id), no)), number().prop_map(RowName::No)]
}

fn table() -> impl Strategy<Value = TableTag> {
    prop_oneof![8 => 1u16..4, 1 => any::<u16>()].prop_map(TableTag)
}

fn field() -> impl Strategy<Value = FieldTag> {
    prop_oneof![8 => 1u16..9, 1 => any::<u16>()].prop_map(FieldTag)
}

/// Any row record that a decoder takes.
pub(crate) fn row() -> impl Strategy<Value = RowState> {
    let kind = prop::sample::select(vec![StateKind::Live, StateKind::Deleted, StateKind::Purged, StateKind::Exited]);
    let fields = btree_map(field(), (seq(), value()), 0..6);
    let counters = (seq(), any::<u8>(), seq());
    (table(), name(), kind, any::<bool>(), any::<bool>(), counters, fields).prop_map(
        |(table, name, kind, whole, as_sent, (seq, version, since), fields)| RowState {
            table,
            name,
            kind,
            whole,
            as_sent,
            seq,
            version: Version(version.into()),
            since,
            fields: fields.into_iter().map(|(field, (stamp, value))| FieldState { field, stamp, value }).collect(),
        },
    )
}

/// Any change that a decoder takes.
pub(crate) fn change() -> impl Strategy<Value = WireChange> {
    let op = prop::sample::select(vec![Op::Create, Op::Update, Op::Delete, Op::Restore, Op::Decide]);
    let fields = btree_map(field(), (seq(), value()), 0..6);
    let lost = prop_oneof![3 => Just(Vec::new()), 1 => vec((field(), value()), 1..4)];
    let group = proptest::option::weighted(0.3, any::<u16>());
    (table(), name(), op, (seq(), seq()), fields, lost, group, whole()).prop_map(
        |(table, name, op, (row_base, view_base), fields, lost, group, edited_at_ms)| WireChange {
            table,
            name,
            op,
            row_base,
            view_base,
            fields: fields.into_iter().map(|(field, (base, value))| FieldChange { field, value, base }).collect(),
            lost: lost.into_iter().map(|(field, value)| LostValue { field, value }).collect(),
            group,
            edited_at_ms,
        },
    )
}
