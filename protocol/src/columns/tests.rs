//! Laws of both batches, and what hostile ones meet.

use super::*;
use crate::batch::{ChangeBatch, RowBatch, WireChange, weight};
use crate::change::{FieldChange, Op};
use crate::codec;
use crate::error::DecodeError;
use crate::ids::{FieldTag, RowId, RowNo, Seq, TableTag, Version};
use crate::limits::{CHUNK_ROWS_MAX, FIELDS_MAX, PUSH_CHANGES_MAX};
use crate::row::{FieldState, RowName, RowState, StateKind};
use crate::value::Value;
use bytes::put_uint;
use proptest::collection::vec;
use proptest::prelude::*;

fn row(no: u64, fields: &[(u16, Value)]) -> RowState {
    RowState {
        table: TableTag(1),
        name: RowName::No(RowNo(no)),
        kind: StateKind::Live,
        whole: false,
        as_sent: false,
        seq: Seq(70),
        version: Version(2),
        since: Seq(7),
        fields: fields
            .iter()
            .map(|(field, value)| FieldState { field: FieldTag(*field), stamp: Seq(70), value: value.clone() })
            .collect(),
    }
}

fn change(fields: &[(u16, Value)]) -> WireChange {
    WireChange {
        table: TableTag(1),
        name: RowName::Id(RowId::from_bytes([7; 16]), RowNo(0)),
        op: Op::Update,
        row_base: Seq(0),
        view_base: Seq(9),
        fields: fields
            .iter()
            .map(|(field, value)| FieldChange { field: FieldTag(*field), value: value.clone(), base: Seq(9) })
            .collect(),
        lost: Vec::new(),
        group: None,
        edited_at_ms: 1,
    }
}

/// A batch that runs make tiny: `rows` rows with the same `fields` fields, all null.
fn nulls(rows: usize, fields: usize) -> Vec<u8> {
    let fields: Vec<(u16, Value)> = (0..fields).map(|field| (field as u16, Value::Null)).collect();
    encode_rows(&vec![row(1, &fields); rows])
}

proptest! {
    #[test]
    fn a_batch_is_about_as_small_as_its_weight_promises(rows in vec(samples::row(), 0..12)) {
        let promised: usize = rows.iter().map(weight).sum();
        let blob = encode_rows(&rows);
        prop_assert!(blob.len() <= promised + promised / 2 + 64, "{} of {promised}", blob.len());
        prop_assert!(decode_rows(&blob).unwrap().1 <= promised);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode_rows(&bytes);
        let _ = decode_changes(&bytes);
    }

    #[test]
    fn a_damaged_batch_never_panics(
        rows in vec(samples::row(), 1..6),
        changes in vec(samples::change(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        for (blob, is_rows) in [(encode_rows(&rows), true), (encode_changes(&changes), false)] {
            let mut damaged = blob.clone();
            for (place, byte) in &damage {
                let place = place.index(damaged.len());
                damaged[place] = *byte;
            }
            for bytes in [&damaged[..], &blob[..end.index(blob.len())]] {
                if is_rows {
                    let _ = decode_rows(bytes);
                } else {
                    let _ = decode_changes(bytes);
                }
            }
        }
    }
}

#[test]
fn a_batch_that_is_cut_short_or_goes_on_is_refused() {
    let rows = encode_rows(&[row(1, &[(1, Value::Int(5))]), row(2, &[(2, Value::text("a"))])]);
    let changes = encode_changes(&[change(&[(1, Value::Int(5))]), change(&[(1, Value::Null), (2, Value::Bool(true))])]);
    for end in 0..rows.len() {
        assert!(decode_rows(&rows[..end]).is_err());
    }
    for end in 0..changes.len() {
        assert!(decode_changes(&changes[..end]).is_err());
    }
    let longer = |blob: &[u8]| [blob, &[0]].concat();
    assert_eq!(decode_rows(&longer(&rows)), Err(DecodeError::TrailingBytes { count: 1 }));
    assert_eq!(decode_changes(&longer(&changes)), Err(DecodeError::TrailingBytes { count: 1 }));
}

#[test]
fn more_rows_than_a_chunk_has_are_refused_by_their_count() {
    let mut blob = Vec::new();
    put_uint(&mut blob, CHUNK_ROWS_MAX as u64 + 1);
    let limit = CHUNK_ROWS_MAX;
    assert_eq!(decode_rows(&blob), Err(DecodeError::TooLarge { what: "rows in a batch", found: limit + 1, limit }));
    let mut blob = Vec::new();
    put_uint(&mut blob, PUSH_CHANGES_MAX as u64 + 1);
    let limit = PUSH_CHANGES_MAX;
    assert_eq!(decode_changes(&blob), Err(DecodeError::TooLarge { what: "changes in a push", found: limit + 1, limit }));
}

#[test]
fn few_bytes_cannot_claim_much_memory() {
    let bomb = nulls(2000, FIELDS_MAX);
    assert!(bomb.len() < 3000, "{}", bomb.len());
    assert!(matches!(decode_rows(&bomb), Err(DecodeError::TooLarge { what: "the weight of a batch", .. })));
    assert!(decode_rows(&nulls(1000, 100)).is_ok());
}

#[test]
fn batches_of_one_message_share_what_they_may_claim() {
    let blob = nulls(1900, FIELDS_MAX);
    let message = |batches: usize| codec::encode(&vec![blob.clone(); batches]);
    assert!(codec::decode::<Vec<RowBatch>>(&message(2)).is_ok());
    assert!(codec::decode::<Vec<RowBatch>>(&message(64)).is_err());
}

#[test]
fn fields_out_of_order_and_values_out_of_form_are_refused() {
    let unsorted = [(2, Value::Int(1)), (1, Value::Int(2))];
    let twice = [(1, Value::Int(1)), (1, Value::Int(2))];
    for fields in [&unsorted[..], &twice, &[(1, Value::Float(-0.0))], &[(1, Value::Text("e\u{301}".into()))]] {
        let rows = codec::encode(&RowBatch(vec![row(1, fields)]));
        assert_eq!(codec::decode::<RowBatch>(&rows), Err(DecodeError::NotCanonical), "{fields:?}");
        let changes = codec::encode(&ChangeBatch(vec![change(fields)]));
        assert_eq!(codec::decode::<ChangeBatch>(&changes), Err(DecodeError::NotCanonical), "{fields:?}");
    }
}

#[test]
fn a_value_too_large_for_a_row_still_reaches_the_server_that_refuses_it_by_name() {
    let batch = ChangeBatch(vec![change(&[(1, Value::Text("x".repeat(crate::limits::ROW_BYTES_MAX + 1)))])]);
    assert_eq!(codec::decode::<ChangeBatch>(&codec::encode(&batch)), Ok(batch));
}

#[test]
fn a_single_known_row_with_one_field_takes_few_bytes() {
    let blob = encode_rows(&[row(4000, &[(7, Value::Float(61.5))])]);
    assert!(blob.len() <= 18, "{}", blob.len());
}
