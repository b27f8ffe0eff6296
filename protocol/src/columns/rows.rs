//! Row batches: the one wire record of a row, by columns.

use super::bytes::{Reader, malformed, put_uint};
use super::ints::{ints, put_ints, put_uints, uints};
use super::shape::{ColumnName, FieldLists, below, names, put_names, put_tables, seq_below, tables};
use super::values::{put_values, values};
use super::{ROW_WEIGHT, ROWS_WEIGHT_MAX};
use crate::error::DecodeError;
use crate::ids::{Seq, Version};
use crate::limits::CHUNK_ROWS_MAX;
use crate::row::{FieldState, RowName, RowState, StateKind};
use crate::value::Value;
use std::collections::BTreeMap;

const KIND: u64 = 0b11;
const WHOLE: u64 = 1 << 2;
const AS_SENT: u64 = 1 << 3;
const BY_ID: u64 = 1 << 4;
const FLAGS_END: u64 = 1 << 5;

/// The blob of these rows.
pub(crate) fn encode_rows(rows: &[RowState]) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, rows.len() as u64);
    if rows.is_empty() {
        return out;
    }
    put_tables(&mut out, rows.iter().map(|row| row.table));
    put_uints(&mut out, &rows.iter().map(flags).collect::<Vec<_>>());
    put_names(&mut out, &rows.iter().map(|row| row.name).collect::<Vec<_>>());
    put_uints(&mut out, &rows.iter().map(|row| row.seq.0).collect::<Vec<_>>());
    put_ints(&mut out, &rows.iter().map(|row| below(row.seq, row.since)).collect::<Vec<_>>());
    put_uints(&mut out, &rows.iter().map(|row| row.version.0).collect::<Vec<_>>());
    FieldLists::of(rows.iter().map(|row| row.fields.iter().map(|field| field.field).collect())).put(&mut out);
    for (stamps, values) in cells(rows).values() {
        put_ints(&mut out, stamps);
        put_values(&mut out, values);
    }
    out
}

fn cells(rows: &[RowState]) -> BTreeMap<ColumnName, (Vec<i64>, Vec<&Value>)> {
    let mut columns: BTreeMap<ColumnName, (Vec<i64>, Vec<&Value>)> = BTreeMap::new();
    for row in rows {
        for field in &row.fields {
            let (stamps, values) = columns.entry((row.table, field.field)).or_default();
            stamps.push(below(row.seq, field.stamp));
            values.push(&field.value);
        }
    }
    columns
}

fn flags(row: &RowState) -> u64 {
    let kind = match row.kind {
        StateKind::Live => 0,
        StateKind::Deleted => 1,
        StateKind::Purged => 2,
        StateKind::Exited => 3,
    };
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    kind | flag(row.whole, WHOLE) | flag(row.as_sent, AS_SENT) | flag(matches!(row.name, RowName::Id(..)), BY_ID)
}

fn kind_of(flags: u64) -> StateKind {
    match flags & KIND {
        0 => StateKind::Live,
        1 => StateKind::Deleted,
        2 => StateKind::Purged,
        _ => StateKind::Exited,
    }
}

/// The rows in a blob, and what they weigh.
pub(crate) fn decode_rows(blob: &[u8]) -> Result<(Vec<RowState>, usize), DecodeError> {
    let mut reader = Reader::new(blob, ROWS_WEIGHT_MAX);
    let count = reader.count("rows in a batch", CHUNK_ROWS_MAX)?;
    reader.weigh(count, ROW_WEIGHT)?;
    if count == 0 {
        return Ok((Vec::new(), reader.finish()?));
    }
    let tables = tables(&mut reader, count)?;
    let flags = uints(&mut reader, count)?;
    if flags.iter().any(|flags| *flags >= FLAGS_END) {
        return Err(malformed("an unknown flag of a row"));
    }
    let names = names(&mut reader, &flags.iter().map(|flags| flags & BY_ID != 0).collect::<Vec<_>>())?;
    let seqs = uints(&mut reader, count)?;
    let stays = ints(&mut reader, count)?;
    let versions = uints(&mut reader, count)?;
    let lists = FieldLists::read(&mut reader, count)?;
    let row = |row: usize| RowState {
        table: tables[row],
        name: names[row],
        kind: kind_of(flags[row]),
        whole: flags[row] & WHOLE != 0,
        as_sent: flags[row] & AS_SENT != 0,
        seq: Seq(seqs[row]),
        version: Version(versions[row]),
        since: seq_below(Seq(seqs[row]), stays[row]),
        fields: Vec::with_capacity(lists.len_of(row)),
    };
    let mut rows: Vec<RowState> = (0..count).map(row).collect();
    for ((_, field), places) in lists.columns(&tables) {
        let stamps = ints(&mut reader, places.len())?;
        let values = values(&mut reader, places.len())?;
        for ((place, stamp), value) in places.into_iter().zip(stamps).zip(values) {
            let row = &mut rows[place];
            row.fields.push(FieldState { field, stamp: seq_below(row.seq, stamp), value });
        }
    }
    Ok((rows, reader.finish()?))
}
