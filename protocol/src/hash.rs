//! Hashes: of the log's commits (chained), of pushes, schemas and rows. All BLAKE3.

use crate::ids::{Hash16, Mark, RowKey, Section, Seq};
use crate::row::Row;
use std::collections::BTreeSet;

/// Hash of a commit: over the hash of the one before and the commit's bytes as they are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CommitHash(pub [u8; 32]);

impl CommitHash {
    /// The hash of the commit with these stored bytes behind this one.
    pub fn next(&self, commit_bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(commit_bytes);
        Self(*hasher.finalize().as_bytes())
    }

    /// The part that goes over the wire.
    pub fn short(&self) -> Hash16 {
        cut(&self.0)
    }
}

/// The first sixteen bytes of BLAKE3 over `bytes`.
pub fn short(bytes: &[u8]) -> Hash16 {
    cut(blake3::hash(bytes).as_bytes())
}

/// The whole of BLAKE3 over `bytes`; tokens are stored as this.
pub fn long(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// BLAKE3 of bytes that come in parts.
#[derive(Default)]
pub struct InParts(blake3::Hasher);

impl InParts {
    /// The next part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The hash of all parts.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

fn cut(hash: &[u8; 32]) -> Hash16 {
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    Hash16(first)
}

/// Hash of a list of sections, which must be sorted.
pub fn sections(sections: &[Section]) -> Hash16 {
    short(&crate::codec::encode(&sections.to_vec()))
}

/// The digest of a section: the sum of its live rows' hashes modulo 2^128, kept by both sides as rows change (S7, T26).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, crate::codec::Encode, crate::codec::Decode, serde::Serialize, serde::Deserialize,
)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// With a row added.
    #[must_use]
    pub fn plus(self, row: &Row) -> Self {
        Self(u128::from_le_bytes(self.0).wrapping_add(row_hash(row)).to_le_bytes())
    }

    /// With a row taken away.
    #[must_use]
    pub fn minus(self, row: &Row) -> Self {
        Self(u128::from_le_bytes(self.0).wrapping_sub(row_hash(row)).to_le_bytes())
    }
}

/// What a session said last: a snapshot, and the digests of the sections that the main cursor serves. Both sides keep it, so that
/// it is said again only where it changed; a section of which nothing was said yet counts as one without rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    snapshot: Option<Mark>,
    digests: Vec<(Section, Digest)>,
}

impl Told {
    /// At the server: takes the snapshot of a message. Returns it where it is to be said.
    pub fn tell_snapshot(&mut self, snapshot: Mark) -> Option<Mark> {
        (self.snapshot.replace(snapshot) != Some(snapshot)).then_some(snapshot)
    }

    /// At the client: takes what a message says of its snapshot. Returns the snapshot; `None` where none was said yet.
    pub fn hear_snapshot(&mut self, said: Option<Mark>) -> Option<Mark> {
        self.snapshot = said.or(self.snapshot);
        self.snapshot
    }

    /// At the server: takes what the sections have now, ascending. Returns what is to be said, by place.
    pub fn tell(&mut self, now: Vec<(Section, Digest)>) -> Vec<(u32, Digest)> {
        let changed = (0..).zip(&now).filter(|(_, (section, digest))| self.of(section) != *digest);
        let said = changed.map(|(place, (_, digest))| (place, *digest)).collect();
        self.keep(now);
        said
    }

    /// At the client: takes what was said of the sections. Returns what it now knows of each.
    pub fn hear(&mut self, sections: &BTreeSet<Section>, said: &[(u32, Digest)]) -> Vec<(Section, Digest)> {
        let mut now: Vec<_> = sections.iter().map(|section| (*section, self.of(section))).collect();
        for (place, digest) in said {
            if let Some((_, known)) = now.get_mut(*place as usize) {
                *known = *digest;
            }
        }
        self.keep(now.clone());
        now
    }

    fn of(&self, section: &Section) -> Digest {
        let place = self.digests.binary_search_by_key(section, |(known, _)| *known);
        place.map_or(Digest::default(), |place| self.digests[place].1)
    }

    fn keep(&mut self, now: Vec<(Section, Digest)>) {
        self.digests = now;
        self.digests.retain(|(_, digest)| *digest != Digest::default());
        self.digests.shrink_to_fit();
    }
}

/// Over table tag, id, version and all fields' tags and values; no stamps; null adds nothing; a tombstone is zero.
fn row_hash(row: &Row) -> u128 {
    if !row.is_live() {
        return 0;
    }
    let RowKey { table, id } = row.key;
    let mut form = Vec::with_capacity(256);
    form.push(1u8);
    form.extend(table.0.to_le_bytes());
    form.extend(id.bytes());
    form.extend(row.version.0.to_le_bytes());
    for (field, stamped) in &row.fields {
        if !stamped.value.is_null() {
            form.extend(field.0.to_le_bytes());
            stamped.value.canonical(&mut form);
        }
    }
    u128::from_le_bytes(short(&form).0)
}

/// A commit as the mark that clients keep.
pub fn mark(seq: Seq, hash: CommitHash) -> Mark {
    Mark { seq, hash: hash.short() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableTag;

    fn section(table: u16) -> Section {
        Section { table: TableTag(table), scope: None }
    }

    fn digest(byte: u8) -> Digest {
        Digest([byte; 16])
    }

    #[test]
    fn a_snapshot_is_said_again_only_where_it_changed() {
        let (mut server, mut client) = (Told::default(), Told::default());
        assert_eq!(client.hear_snapshot(None), None);
        for (seq, said) in [(5, true), (5, false), (6, true), (5, true)] {
            let snapshot = mark(Seq(seq), CommitHash::default());
            let told = server.tell_snapshot(snapshot);
            assert_eq!((told.is_some(), client.hear_snapshot(told)), (said, Some(snapshot)));
        }
    }

    #[test]
    fn a_digest_is_said_again_only_where_it_changed_and_both_sides_know_all() {
        let (mut server, mut client) = (Told::default(), Told::default());
        let mut play = |now: &[(u16, u8)], said: usize| {
            let now: Vec<_> = now.iter().map(|(table, byte)| (section(*table), digest(*byte))).collect();
            let sections = now.iter().map(|(section, _)| *section).collect();
            let changed = server.tell(now.clone());
            assert_eq!(changed.len(), said);
            assert_eq!(client.hear(&sections, &changed), now);
            assert_eq!(server, client);
        };
        play(&[(1, 7), (2, 0), (3, 9)], 2);
        play(&[(1, 7), (2, 0), (3, 9)], 0);
        play(&[(1, 7), (2, 5), (3, 9)], 1);
        // A section that was emptied; one that left; one that came back with what it had.
        play(&[(1, 0), (3, 9)], 1);
        play(&[(1, 0), (2, 5), (3, 9)], 1);
    }
}
