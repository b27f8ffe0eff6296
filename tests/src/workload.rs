//! The rows and edits that every measurement and demo uses, the same bytes in any language.
//!
//! [`gen_rows`] makes patients, [`gen_edits`] makes one-field edits of them, and the `write_*` functions serialise both.
//! Everything follows from fixed seeds: two runs, or two programs in different languages, agree on every byte, so that
//! sizes and times measured by different people can be compared. The tests hold the byte counts and check sums.
//!
//! Nothing here knows a schema: a row has the eight fields of `patients` that the measurements need, and the scope
//! field is given to an import from outside.

use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;
use uuid::Uuid;

/// The fields of [`Patient`], in the order in which they are written.
pub const PATIENT_COLUMNS: [&str; 9] =
    ["id", "name", "phone", "village", "birth_date", "sex", "notes", "weight_kg", "updated_by"];

/// The mulberry32 generator: small, and the same in every language with 32-bit arithmetic.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u32,
}

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    pub fn new(seed: u32) -> Self {
        Self { state: seed }
    }

    /// The next 32 bits.
    pub fn draw(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x6D2B_79F5);
        let s = self.state;
        let mut t = (s ^ (s >> 15)).wrapping_mul(s | 1);
        t ^= t.wrapping_add((t ^ (t >> 7)).wrapping_mul(t | 61));
        t ^ (t >> 14)
    }

    /// A number below `bound`, by scaling; the tiny bias is part of the definition.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u32::try_from(bound).expect("bounds are row counts and list lengths, far below 2^32");
        let scaled = (u64::from(self.draw()) * u64::from(bound)) >> 32;
        usize::try_from(scaled).expect("the result is below the bound")
    }

    /// [`Rng::below`] for numbers that are no index.
    fn below_u32(&mut self, bound: u32) -> u32 {
        u32::try_from((u64::from(self.draw()) * u64::from(bound)) >> 32).expect("the result is below the bound")
    }
}

/// A weight in tenths of a kilogram, shown as the shortest decimal: `10.7`, and `107` without a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeightTenths(pub u32);

impl fmt::Display for WeightTenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, tenths) => write!(f, "{whole}.{tenths}"),
        }
    }
}

impl Serialize for WeightTenths {
    /// A JSON number, a whole one without a fraction.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(10) {
            serializer.serialize_u32(self.0 / 10)
        } else {
            serializer.serialize_f64(f64::from(self.0) / 10.0)
        }
    }
}

/// One generated patient. Serialised with serde it has the keys of [`PATIENT_COLUMNS`] in that order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Patient {
    /// A valid UUIDv7 whose times grow with the rows.
    pub id: Uuid,
    /// Two capitalised words.
    pub name: String,
    /// `+2547` and eight digits.
    pub phone: String,
    /// One of forty capitalised words.
    pub village: String,
    /// `YYYY-MM-DD`, 1930 to 2024.
    pub birth_date: String,
    /// `F` or `M`.
    pub sex: &'static str,
    /// 30 to 120 characters of words.
    pub notes: String,
    /// 2.0 to 119.9 kg.
    pub weight_kg: WeightTenths,
    /// `chw-00` to `chw-59`.
    pub updated_by: String,
}

/// A field that a generated edit may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EditField {
    /// [`Patient::phone`].
    Phone,
    /// [`Patient::village`].
    Village,
    /// [`Patient::notes`].
    Notes,
    /// [`Patient::weight_kg`].
    WeightKg,
}

impl EditField {
    /// The draw picks by position, so the order is part of the definition.
    const ALL: [Self; 4] = [Self::Phone, Self::Village, Self::Notes, Self::WeightKg];

    /// The field's name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Village => "village",
            Self::Notes => "notes",
            Self::WeightKg => "weight_kg",
        }
    }
}

/// One edit of one field; no two edits of one call of [`gen_edits`] share a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Position in the rows that the edits were made for.
    pub row: usize,
    /// What is changed.
    pub field: EditField,
    /// The new value as text, the way a CSV file or a command line gives it.
    pub value: String,
}

/// The first `n` rows. A shorter run is a prefix of a longer one.
pub fn gen_rows(n: usize) -> Vec<Patient> {
    let mut rng = Rng::new(42);
    let mut ms = 1_760_000_000_000;
    (0..n).map(|_| next_row(&mut rng, &mut ms)).collect()
}

/// `k` edits of different rows, the same for the same `rows.len()` and `seed`.
///
/// # Panics
/// If there are fewer than `k` rows.
pub fn gen_edits(rows: &[Patient], k: usize, seed: u32) -> Vec<Edit> {
    assert!(k <= rows.len(), "{k} edits of different rows need at least as many rows, not {}", rows.len());
    let mut rng = Rng::new(seed);
    let mut taken = BTreeSet::new();
    let mut edits = Vec::with_capacity(k);
    while edits.len() < k {
        let row = rng.below(rows.len());
        if taken.insert(row) {
            let field = EditField::ALL[rng.below(EditField::ALL.len())];
            edits.push(Edit { row, field, value: edit_value(&mut rng, field) });
        }
    }
    edits
}

/// Writes a header and one line a row. No value needs quotes.
///
/// # Errors
/// Those of `out`.
pub fn write_csv(rows: &[Patient], mut out: impl Write) -> io::Result<()> {
    writeln!(out, "{}", PATIENT_COLUMNS.join(","))?;
    for p in rows {
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{}",
            p.id, p.name, p.phone, p.village, p.birth_date, p.sex, p.notes, p.weight_kg, p.updated_by
        )?;
    }
    Ok(())
}

/// Writes one JSON object a line, without spaces.
///
/// # Errors
/// Those of `out`.
pub fn write_jsonl(rows: &[Patient], mut out: impl Write) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut out, row)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Writes `edits` of `rows` as `id,field,value` lines under a header.
///
/// # Errors
/// Those of `out`.
///
/// # Panics
/// If the edits were made for more rows than these.
pub fn write_edits_csv(rows: &[Patient], edits: &[Edit], mut out: impl Write) -> io::Result<()> {
    writeln!(out, "id,field,value")?;
    for edit in edits {
        writeln!(out, "{},{},{}", rows[edit.row].id, edit.field.name(), edit.value)?;
    }
    Ok(())
}

/// The order of the draws is the definition: a struct literal evaluates its fields as they are written here.
fn next_row(rng: &mut Rng, ms: &mut u64) -> Patient {
    *ms += 1 + u64::from(rng.below_u32(60_000));
    Patient {
        id: row_id(rng, *ms),
        name: format!("{} {}", cap(word(rng.below(400))), cap(word(400 + rng.below(600)))),
        phone: phone(rng),
        village: village(rng),
        birth_date: format!("{}-{:02}-{:02}", 1930 + rng.below(95), 1 + rng.below(12), 1 + rng.below(28)),
        sex: if rng.below(100) < 52 { "F" } else { "M" },
        notes: notes(rng),
        weight_kg: weight(rng),
        updated_by: format!("chw-{:02}", rng.below(60)),
    }
}

/// A UUIDv7: 48 bits of time, version, 12 bits of `a`, variant, 14 more of `a`, all of `b`, 16 of `c`.
fn row_id(rng: &mut Rng, ms: u64) -> Uuid {
    let (a, b, c) = (u128::from(rng.draw()), u128::from(rng.draw()), u128::from(rng.draw()));
    let variant = 0b10 << 2 | (a >> 12 & 0b11);
    Uuid::from_u128(
        u128::from(ms) << 80 | 7 << 76 | (a & 0xfff) << 64 | variant << 60 | (a >> 16 & 0xfff) << 48 | b << 16 | c & 0xffff,
    )
}

fn edit_value(rng: &mut Rng, field: EditField) -> String {
    match field {
        EditField::Phone => phone(rng),
        EditField::Village => village(rng),
        EditField::Notes => notes(rng),
        EditField::WeightKg => weight(rng).to_string(),
    }
}

fn phone(rng: &mut Rng) -> String {
    format!("+2547{:08}", rng.below(100_000_000))
}

fn village(rng: &mut Rng) -> String {
    cap(word(1960 + rng.below(40)))
}

fn weight(rng: &mut Rng) -> WeightTenths {
    WeightTenths(20 + rng.below_u32(1180))
}

/// Words until the next would not fit; that one is drawn and dropped.
fn notes(rng: &mut Rng) -> String {
    let bytes_max = 30 + rng.below(91);
    let mut text = String::with_capacity(bytes_max);
    loop {
        let next = word(rng.below(VOCABULARY.len()));
        let space = usize::from(!text.is_empty());
        if text.len() + space + next.len() > bytes_max {
            return text;
        }
        if space == 1 {
            text.push(' ');
        }
        text.push_str(next);
    }
}

fn word(index: usize) -> &'static str {
    &VOCABULARY[index]
}

fn cap(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// 2,000 distinct pronounceable words of three bytes or more.
static VOCABULARY: LazyLock<Vec<String>> = LazyLock::new(|| {
    const CONSONANTS: [&str; 18] = ["b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "w", "z", "ch", "ng"];
    const VOWELS: [&str; 5] = ["a", "e", "i", "o", "u"];
    let mut rng = Rng::new(1);
    let mut taken = BTreeSet::new();
    let mut words = Vec::with_capacity(2000);
    while words.len() < 2000 {
        let mut word = String::new();
        for _ in 0..1 + rng.below(3) {
            word += CONSONANTS[rng.below(CONSONANTS.len())];
            word += VOWELS[rng.below(VOWELS.len())];
        }
        if word.len() >= 3 && taken.insert(word.clone()) {
            words.push(word);
        }
    }
    words
});

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Byte count and the first 16 hex digits of the check sum, as the definition of the workload states them.
    fn sum(bytes: &[u8]) -> (usize, String) {
        (bytes.len(), Sha256::digest(bytes).iter().take(8).map(|b| format!("{b:02x}")).collect())
    }

    fn csv(rows: &[Patient]) -> (usize, String) {
        let mut out = Vec::new();
        write_csv(rows, &mut out).unwrap();
        sum(&out)
    }

    fn jsonl(rows: &[Patient]) -> (usize, String) {
        let mut out = Vec::new();
        write_jsonl(rows, &mut out).unwrap();
        sum(&out)
    }

    fn edits_csv(rows: &[Patient], k: usize, seed: u32) -> (usize, String) {
        let mut out = Vec::new();
        write_edits_csv(rows, &gen_edits(rows, k, seed), &mut out).unwrap();
        sum(&out)
    }

    fn stated(bytes: usize, sha256: &str) -> (usize, String) {
        (bytes, sha256.to_owned())
    }

    #[test]
    fn the_csv_has_the_stated_bytes_at_every_size() {
        let rows = gen_rows(100_000);
        assert_eq!(csv(&rows[..1_000]), stated(167_990, "9b11d7f2c6b1f70c"));
        assert_eq!(csv(&rows[..10_000]), stated(1_677_455, "36f38c46a5ed095d"));
        assert_eq!(csv(&rows), stated(16_787_178, "bd0c89b04181f057"));
    }

    #[test]
    fn the_json_lines_have_the_stated_bytes_at_every_size() {
        let rows = gen_rows(100_000);
        assert_eq!(jsonl(&rows[..1_000]), stated(267_926, "d28e7df5785e561f"));
        assert_eq!(jsonl(&rows[..10_000]), stated(2_677_391, "ebb875df09b17aa4"));
        assert_eq!(jsonl(&rows), stated(26_787_114, "db0faf0a86c95a5c"));
    }

    #[test]
    fn the_edits_have_the_stated_bytes() {
        let rows = gen_rows(10_000);
        assert_eq!(edits_csv(&rows, 1_000, 2), stated(69_609, "0e43adf01de633f8"));
        assert_eq!(edits_csv(&rows, 100, 3), stated(6_817, "760aae6c765ece6b"));
    }

    #[test]
    fn a_shorter_run_is_a_prefix_of_a_longer_one() {
        assert_eq!(gen_rows(50), gen_rows(200)[..50]);
    }

    #[test]
    fn every_id_is_a_valid_uuid_of_version_7_and_ids_grow() {
        let rows = gen_rows(1_000);
        assert!(rows.iter().all(|p| p.id.get_version_num() == 7 && p.id.get_variant() == uuid::Variant::RFC4122));
        assert!(rows.is_sorted_by(|a, b| a.id < b.id));
    }

    #[test]
    fn edits_of_one_call_never_share_a_row_even_if_all_rows_are_edited() {
        let rows = gen_rows(300);
        let edited: BTreeSet<_> = gen_edits(&rows, 300, 7).iter().map(|edit| edit.row).collect();
        assert_eq!(edited.len(), 300);
    }

    #[test]
    #[should_panic(expected = "need at least as many rows")]
    fn more_edits_than_rows_are_refused_at_once() {
        gen_edits(&gen_rows(3), 4, 2);
    }
}
