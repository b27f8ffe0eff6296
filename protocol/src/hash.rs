//! Hashes: of the log's commits (chained), of pushes, schemas and rows. All BLAKE3.

use crate::ids::{Hash16, RowKey, Section, Seq};
use crate::row::Row;

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

/// Over table tag, id, version and all fields' tags and values; no stamps; null adds nothing; a tombstone is zero.
fn row_hash(row: &Row) -> u128 {
    if !row.is_live() {
        return 0;
    }
    let RowKey { table, id } = row.key;
    let mut form = vec![1u8];
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
pub fn mark(seq: Seq, hash: CommitHash) -> crate::ids::Mark {
    crate::ids::Mark { seq, hash: hash.short() }
}
