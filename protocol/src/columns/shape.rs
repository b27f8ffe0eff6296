//! What both batches have in common: tables, names of rows, and which fields are there.

use super::CELL_WEIGHT;
use super::bytes::{Reader, malformed, put_uint};
use super::ids::{Id, ids, put_ids};
use super::ints::{indexes, put_uints, uints};
use crate::error::DecodeError;
use crate::ids::{FieldTag, RowId, RowNo, Seq, TableTag};
use crate::limits::FIELDS_MAX;
use crate::row::RowName;
use std::collections::BTreeMap;

/// The column of a field in a table, by which its cells are found.
pub(super) type ColumnName = (TableTag, FieldTag);

/// Writes the tables of all rows.
pub(super) fn put_tables(out: &mut Vec<u8>, tables: impl Iterator<Item = TableTag>) {
    put_uints(out, &tables.map(|table| u64::from(table.0)).collect::<Vec<_>>());
}

/// Reads the tables of `count` rows.
pub(super) fn tables(reader: &mut Reader<'_>, count: usize) -> Result<Vec<TableTag>, DecodeError> {
    uints(reader, count)?.into_iter().map(|tag| tag16(tag).map(TableTag)).collect()
}

/// Writes the numbers of all rows, then the ids of those that are named by id.
pub(super) fn put_names(out: &mut Vec<u8>, names: &[RowName]) {
    let number = |name: &RowName| match name {
        RowName::Id(_, no) | RowName::No(no) => no.0,
    };
    let id = |name: &RowName| match name {
        RowName::Id(id, _) => Some(*id.bytes()),
        RowName::No(_) => None,
    };
    put_uints(out, &names.iter().map(number).collect::<Vec<_>>());
    put_ids(out, &names.iter().filter_map(id).collect::<Vec<Id>>());
}

/// Reads the names of as many rows as there are flags; each says whether the row is named by id.
pub(super) fn names(reader: &mut Reader<'_>, by_id: &[bool]) -> Result<Vec<RowName>, DecodeError> {
    let numbers = uints(reader, by_id.len())?;
    let mut ids = ids(reader, by_id.iter().filter(|by_id| **by_id).count())?.into_iter();
    let name = |(number, by_id): (u64, &bool)| match by_id {
        true => RowName::Id(RowId::from_bytes(ids.next().expect("as many were read as are named so")), RowNo(number)),
        false => RowName::No(RowNo(number)),
    };
    Ok(numbers.into_iter().zip(by_id).map(name).collect())
}

/// Which fields each row has: the different lists, and the index of its list for each row.
pub(super) struct FieldLists {
    lists: Vec<Vec<FieldTag>>,
    indexes: Vec<usize>,
}

impl FieldLists {
    /// Of these rows.
    pub(super) fn of<'a>(rows: impl Iterator<Item = Vec<FieldTag>> + 'a) -> Self {
        let mut places = BTreeMap::new();
        let mut lists = Vec::new();
        let place = |list: Vec<FieldTag>| {
            *places.entry(list).or_insert_with_key(|list| {
                lists.push(list.clone());
                lists.len() - 1
            })
        };
        let indexes = rows.map(place).collect();
        Self { lists, indexes }
    }

    /// Writes the lists and, where there are several, the indexes.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.lists.len() as u64);
        for list in &self.lists {
            put_uint(out, list.len() as u64);
            put_uints(out, &list.iter().map(|field| u64::from(field.0)).collect::<Vec<_>>());
        }
        if self.lists.len() > 1 {
            put_uints(out, &self.indexes.iter().map(|index| *index as u64).collect::<Vec<_>>());
        }
    }

    /// Reads those of `count` rows, at least one, and weighs their fields.
    pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, DecodeError> {
        let size = reader.count("lists of fields", count)?;
        let lists = (0..size).map(|_| field_list(reader)).collect::<Result<Vec<_>, _>>()?;
        let indexes = match size {
            0 => return Err(malformed("rows without a list of fields")),
            1 => vec![0; count],
            _ => indexes(reader, count, size)?,
        };
        for index in &indexes {
            reader.weigh(lists[*index].len(), CELL_WEIGHT)?;
        }
        Ok(Self { lists, indexes })
    }

    /// How many fields a row has.
    pub(super) fn len_of(&self, row: usize) -> usize {
        self.lists[self.indexes[row]].len()
    }

    /// The rows that have a cell in each column, columns by table and field.
    pub(super) fn columns(&self, tables: &[TableTag]) -> BTreeMap<ColumnName, Vec<usize>> {
        let mut columns: BTreeMap<ColumnName, Vec<usize>> = BTreeMap::new();
        for (row, (table, index)) in tables.iter().zip(&self.indexes).enumerate() {
            for field in &self.lists[*index] {
                columns.entry((*table, *field)).or_default().push(row);
            }
        }
        columns
    }
}

fn field_list(reader: &mut Reader<'_>) -> Result<Vec<FieldTag>, DecodeError> {
    let count = reader.count("fields of a row", FIELDS_MAX)?;
    let list = field_tags(reader, count)?;
    if list.is_sorted_by(|one, next| one < next) { Ok(list) } else { Err(DecodeError::NotCanonical) }
}

/// Reads `count` field tags in any order.
pub(super) fn field_tags(reader: &mut Reader<'_>, count: usize) -> Result<Vec<FieldTag>, DecodeError> {
    uints(reader, count)?.into_iter().map(|tag| tag16(tag).map(FieldTag)).collect()
}

/// A number of 16 bits.
pub(super) fn tag16(number: u64) -> Result<u16, DecodeError> {
    u16::try_from(number).map_err(|_| malformed("a tag of more than 16 bits"))
}

/// How far a seq lies below another one; wraps, so that each pair has a difference.
pub(super) fn below(high: Seq, seq: Seq) -> i64 {
    high.0.wrapping_sub(seq.0) as i64
}

/// The seq that lies so far below another one.
pub(super) fn seq_below(high: Seq, distance: i64) -> Seq {
    Seq(high.0.wrapping_sub(distance as u64))
}
