//! Change batches: what a push proposes, by columns.

use super::bytes::{Reader, malformed, put_uint, within};
use super::ints::{ints, put_ints, put_uints, uints};
use super::shape::{ColumnName, FieldLists, below, field_tags, names, put_names, put_tables, seq_below, tables, tag16};
use super::values::{put_values, values};
use super::{CELL_WEIGHT, CHANGES_WEIGHT_MAX, ROW_WEIGHT};
use crate::batch::WireChange;
use crate::change::{FieldChange, LostValue, Op};
use crate::error::DecodeError;
use crate::ids::Seq;
use crate::limits::{FIELDS_MAX, PUSH_CHANGES_MAX};
use crate::row::RowName;
use crate::value::Value;
use std::collections::BTreeMap;

const OP: u64 = 0b111;
const BY_ID: u64 = 1 << 3;
const GROUP: u64 = 1 << 4;
const LOST: u64 = 1 << 5;
const FLAGS_END: u64 = 1 << 6;

/// The blob of these changes.
pub(crate) fn encode_changes(changes: &[WireChange]) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, changes.len() as u64);
    if changes.is_empty() {
        return out;
    }
    put_tables(&mut out, changes.iter().map(|change| change.table));
    put_uints(&mut out, &changes.iter().map(flags).collect::<Vec<_>>());
    put_names(&mut out, &changes.iter().map(|change| change.name).collect::<Vec<_>>());
    let base = usual_base(changes);
    put_uint(&mut out, base.0);
    put_ints(&mut out, &changes.iter().map(|change| below(base, change.row_base)).collect::<Vec<_>>());
    put_ints(&mut out, &changes.iter().map(|change| below(base, change.view_base)).collect::<Vec<_>>());
    put_ints(&mut out, &changes.iter().map(|change| change.edited_at_ms).collect::<Vec<_>>());
    put_uints(&mut out, &changes.iter().filter_map(|change| change.group).map(u64::from).collect::<Vec<_>>());
    FieldLists::of(changes.iter().map(|change| change.fields.iter().map(|field| field.field).collect())).put(&mut out);
    for (bases, values) in cells(changes, base).values() {
        put_ints(&mut out, bases);
        put_values(&mut out, values);
    }
    put_lost(&mut out, changes);
    out
}

/// The base that most of the changes and fields name (C6).
fn usual_base(changes: &[WireChange]) -> Seq {
    let mut counts: BTreeMap<Seq, usize> = BTreeMap::new();
    for change in changes {
        let of_fields = change.fields.iter().map(|field| field.base);
        for base in of_fields.chain([change.row_base, change.view_base]) {
            *counts.entry(base).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(base, _)| base).unwrap_or_default()
}

fn cells(changes: &[WireChange], base: Seq) -> BTreeMap<ColumnName, (Vec<i64>, Vec<&Value>)> {
    let mut columns: BTreeMap<ColumnName, (Vec<i64>, Vec<&Value>)> = BTreeMap::new();
    for change in changes {
        for field in &change.fields {
            let (bases, values) = columns.entry((change.table, field.field)).or_default();
            bases.push(below(base, field.base));
            values.push(&field.value);
        }
    }
    columns
}

/// Lost values stay in the order in which they were lost: in one column over all changes that have any.
fn put_lost(out: &mut Vec<u8>, changes: &[WireChange]) {
    let lost = || changes.iter().flat_map(|change| &change.lost);
    let counts = changes.iter().map(|change| change.lost.len() as u64).filter(|count| *count > 0);
    put_uints(out, &counts.collect::<Vec<_>>());
    put_uints(out, &lost().map(|lost| u64::from(lost.field.0)).collect::<Vec<_>>());
    put_values(out, &lost().map(|lost| &lost.value).collect::<Vec<_>>());
}

fn flags(change: &WireChange) -> u64 {
    let op = match change.op {
        Op::Create => 0,
        Op::Update => 1,
        Op::Delete => 2,
        Op::Restore => 3,
        Op::Decide => 4,
    };
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    op | flag(matches!(change.name, RowName::Id(..)), BY_ID)
        | flag(change.group.is_some(), GROUP)
        | flag(!change.lost.is_empty(), LOST)
}

fn op_of(flags: u64) -> Result<Op, DecodeError> {
    if flags >= FLAGS_END {
        return Err(malformed("an unknown flag of a change"));
    }
    match flags & OP {
        0 => Ok(Op::Create),
        1 => Ok(Op::Update),
        2 => Ok(Op::Delete),
        3 => Ok(Op::Restore),
        4 => Ok(Op::Decide),
        _ => Err(malformed("an unknown kind of change")),
    }
}

/// The changes in a blob, and what they weigh.
pub(crate) fn decode_changes(blob: &[u8]) -> Result<(Vec<WireChange>, usize), DecodeError> {
    let mut reader = Reader::new(blob, CHANGES_WEIGHT_MAX);
    let count = reader.count("changes in a push", PUSH_CHANGES_MAX)?;
    reader.weigh(count, ROW_WEIGHT)?;
    if count == 0 {
        return Ok((Vec::new(), reader.finish()?));
    }
    let tables = tables(&mut reader, count)?;
    let flags = uints(&mut reader, count)?;
    let ops = flags.iter().map(|flags| op_of(*flags)).collect::<Result<Vec<_>, _>>()?;
    let names = names(&mut reader, &flags.iter().map(|flags| flags & BY_ID != 0).collect::<Vec<_>>())?;
    let base = Seq(reader.uint()?);
    let row_bases = ints(&mut reader, count)?;
    let view_bases = ints(&mut reader, count)?;
    let edited = ints(&mut reader, count)?;
    let mut groups = groups(&mut reader, &flags)?.into_iter();
    let lists = FieldLists::read(&mut reader, count)?;
    let change = |change: usize| WireChange {
        table: tables[change],
        name: names[change],
        op: ops[change],
        row_base: seq_below(base, row_bases[change]),
        view_base: seq_below(base, view_bases[change]),
        fields: Vec::with_capacity(lists.len_of(change)),
        lost: Vec::new(),
        group: if flags[change] & GROUP != 0 { groups.next() } else { None },
        edited_at_ms: edited[change],
    };
    let mut changes: Vec<WireChange> = (0..count).map(change).collect();
    for ((_, field), places) in lists.columns(&tables) {
        let bases = ints(&mut reader, places.len())?;
        let values = values(&mut reader, places.len())?;
        for ((place, distance), value) in places.into_iter().zip(bases).zip(values) {
            changes[place].fields.push(FieldChange { field, value, base: seq_below(base, distance) });
        }
    }
    read_lost(&mut reader, &flags, &mut changes)?;
    Ok((changes, reader.finish()?))
}

fn groups(reader: &mut Reader<'_>, flags: &[u64]) -> Result<Vec<u16>, DecodeError> {
    let count = flags.iter().filter(|flags| **flags & GROUP != 0).count();
    uints(reader, count)?.into_iter().map(tag16).collect()
}

fn read_lost(reader: &mut Reader<'_>, flags: &[u64], changes: &mut [WireChange]) -> Result<(), DecodeError> {
    let losing = || flags.iter().enumerate().filter(|(_, flags)| **flags & LOST != 0).map(|(change, _)| change);
    let counts = uints(reader, losing().count())?;
    let mut total = 0;
    for count in &counts {
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        within("lost values of a change", count, FIELDS_MAX)?;
        if count == 0 {
            return Err(DecodeError::NotCanonical);
        }
        reader.weigh(count, CELL_WEIGHT)?;
        total += count;
    }
    let fields = field_tags(reader, total)?;
    let mut lost = fields.into_iter().zip(values(reader, total)?).map(|(field, value)| LostValue { field, value });
    for (change, count) in losing().zip(counts) {
        changes[change].lost = lost.by_ref().take(count as usize).collect();
    }
    Ok(())
}
