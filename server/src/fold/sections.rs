//! Sections while commits are folded: read once, written at the end, since most effects of a batch are in a few of them.

use crate::store::StoreError;
use crate::store::read::Read;
use crate::store::records::{Meta, SectionRecord};
use crate::store::tables::WriteTables;
use std::collections::BTreeMap;
use tombolo_protocol::codec;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::Section;
use tombolo_protocol::row::Row;

/// The sections that were touched since the last write.
#[derive(Default)]
pub(super) struct SectionCache(BTreeMap<Section, SectionRecord>);

impl SectionCache {
    /// The number of a section, which gets one now if it has none.
    pub(super) fn number(&mut self, tables: &WriteTables<'_>, meta: &mut Meta, section: &Section) -> Result<u32, StoreError> {
        Ok(self.record(tables, meta, section)?.number)
    }

    /// Counts a row out of its section.
    pub(super) fn leave(
        &mut self,
        tables: &WriteTables<'_>,
        meta: &mut Meta,
        section: &Section,
        row: &Row,
    ) -> Result<(), StoreError> {
        if row.is_live() {
            let record = self.record(tables, meta, section)?;
            record.digest = record.digest.minus(row);
            record.live -= 1;
        }
        Ok(())
    }

    /// Counts a row into its section.
    pub(super) fn enter(
        &mut self,
        tables: &WriteTables<'_>,
        meta: &mut Meta,
        section: &Section,
        row: &Row,
    ) -> Result<(), StoreError> {
        if row.is_live() {
            let record = self.record(tables, meta, section)?;
            record.digest = record.digest.plus(row);
            record.live += 1;
        }
        Ok(())
    }

    fn record(
        &mut self,
        tables: &WriteTables<'_>,
        meta: &mut Meta,
        section: &Section,
    ) -> Result<&mut SectionRecord, StoreError> {
        if !self.0.contains_key(section) {
            let record = match tables.section_record(section)? {
                Some(record) => record,
                None => {
                    meta.last_section += 1;
                    SectionRecord { section: *section, number: meta.last_section, digest: Digest::default(), live: 0 }
                }
            };
            self.0.insert(*section, record);
        }
        Ok(self.0.get_mut(section).expect("it was inserted above where it was missing"))
    }

    /// Writes all and forgets them.
    pub(super) fn write(&mut self, tables: &mut WriteTables<'_>) -> Result<(), StoreError> {
        for (section, record) in std::mem::take(&mut self.0) {
            tables.sections.insert(codec::encode(&section).as_slice(), codec::store::encode(&record).as_slice())?;
        }
        Ok(())
    }
}
