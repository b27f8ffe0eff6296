//! Golden bytes: `protocol/vectors/*.txt` hold what every message, commit and part of them is on the wire. A test makes each
//! again, compares, and reads it back. They change together with [`crate::version::PROTOCOL`]; `UPDATE_GOLDEN=1` writes them,
//! and the seeds of the fuzzer, anew.

mod commits;
mod down;
mod parts;
mod up;

use super::*;
use crate::codec::{Decode, Encode};
use crate::ids::{Hash16, Mark, RowId, RowKey, ScopeKey, Section, Seq, TableTag};
use crate::schema::{CLINIC, RENTAL, Schema};
use crate::version::PROTOCOL;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Hellos for other tests.
pub(super) fn samples_of_hello() -> Vec<Hello> {
    vec![up::hello_first(), up::hello_again()]
}

/// A named sample: what it shows, and what it is.
struct Sample<T> {
    name: &'static str,
    shows: &'static str,
    value: T,
}

fn sample<T>(name: &'static str, shows: &'static str, value: T) -> Sample<T> {
    Sample { name, shows, value }
}

fn hash(byte: u8) -> Hash16 {
    Hash16([byte; 16])
}

fn mark(seq: u64) -> Mark {
    Mark { seq: Seq(seq), hash: hash(seq as u8) }
}

/// A UUIDv7 of 2025.
fn id(number: u8) -> RowId {
    RowId::from_bytes([0x01, 0x99, 0xC8, 0x2C, 0xC6, number, 0x7A, 0xBC, 0x9D, 0xEF, 1, 2, 3, 4, 5, number])
}

fn key(number: u8) -> RowKey {
    RowKey { table: TableTag(2), id: id(number) }
}

fn section(table: u16, scope: Option<u8>) -> Section {
    let scope = scope.map(|number| ScopeKey { field: crate::ids::FieldTag(1), value: id(number) });
    Section { table: TableTag(table), scope }
}

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).expect("hexadecimal") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn write_file(file: &str, title: &str, samples: impl Iterator<Item = (&'static str, &'static str, Vec<u8>)>) {
    let mut text = format!("# Tombolo, golden bytes: {title}.\nprotocol = {PROTOCOL}\n");
    for (name, shows, bytes) in samples {
        let shows = if shows.is_empty() { name } else { shows };
        write!(text, "\n# {shows}\n{name} = {}\n", hex(&bytes)).expect("a string takes everything");
    }
    std::fs::create_dir_all(folder("vectors")).unwrap();
    std::fs::write(folder("vectors").join(file), text).unwrap();
}

fn read_file(file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder("vectors").join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(" = ").unwrap()).map(|(name, bytes)| (name.to_owned(), bytes.to_owned())).collect()
}

/// Compares samples with their file, both ways; `encode` and `decode` are what is held to the file.
fn compare<T: PartialEq + Debug>(
    (file, title): (&str, &str),
    samples: &[Sample<T>],
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    if updating() {
        write_file(file, title, samples.iter().map(|sample| (sample.name, sample.shows, encode(&sample.value))));
    }
    let mut golden = read_file(file);
    assert_eq!(golden.remove("protocol"), Some(PROTOCOL.to_string()), "{file} is of another protocol version");
    for Sample { name, value, .. } in samples {
        let bytes = golden.remove(*name).unwrap_or_else(|| panic!("{file} lacks `{name}`: UPDATE_GOLDEN=1 writes it"));
        assert_eq!(hex(&encode(value)), bytes, "`{name}` has other bytes: that is another protocol version");
        assert_eq!(decode(&unhex(&bytes)).as_ref(), Ok(value), "`{name}` reads as something else");
    }
    assert!(golden.is_empty(), "{file} has more than there are samples: {golden:?}");
}

fn plain<T: Encode>(value: &T) -> Vec<u8> {
    with_kind(PLAIN, &codec::encode(value))
}

/// How many variants a wire enum has, found by asking the decoder.
fn variants<T: Decode<()> + Debug>() -> usize {
    let unknown = |number: &u8| {
        let error = codec::decode::<T>(&[*number]).map_err(|error| error.to_string());
        error.is_err_and(|error| error.contains(&format!("found: {number} }}")) && error.contains("UnexpectedVariant"))
    };
    (0u8..=250).find(unknown).expect("no enum has so many").into()
}

/// Each variant of `T` has a sample; `number` is the first byte of its encoding.
fn assert_all_variants<T: Decode<()> + Encode + Debug>(samples: &[Sample<T>]) {
    let shown: BTreeSet<usize> = samples.iter().map(|sample| codec::encode(&sample.value)[0].into()).collect();
    let all: BTreeSet<usize> = (0..variants::<T>()).collect();
    assert_eq!(shown, all, "variants of {} without a sample", std::any::type_name::<T>());
}

fn assert_names_differ<T>(samples: &[Sample<T>]) {
    let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name).collect();
    assert_eq!(names.len(), samples.len());
}

fn write_seed(target: &str, name: &str, input: &[u8]) {
    let folder = folder("../fuzz/corpus").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), input).unwrap();
}

fn write_seeds<T: Encode>(target: &str, samples: &[Sample<T>]) {
    samples.iter().for_each(|sample| write_seed(target, sample.name, &plain(&sample.value)));
}

#[test]
fn the_messages_of_the_client_have_their_golden_bytes() {
    let samples = up::samples();
    assert_names_differ(&samples);
    assert_all_variants(&samples);
    if updating() {
        write_seeds("decode_up", &samples);
    }
    compare(("up.txt", "messages of the client, as plain frames"), &samples, plain, decode_up);
}

#[test]
fn the_messages_of_the_server_have_their_golden_bytes() {
    let samples = down::samples();
    assert_names_differ(&samples);
    assert_all_variants(&samples);
    if updating() {
        write_seeds("decode_down", &samples);
    }
    compare(("down.txt", "messages of the server, as plain frames"), &samples, plain, decode_down);
}

#[test]
fn commits_have_their_golden_bytes() {
    let samples = commits::samples();
    assert_names_differ(&samples);
    let bodies: Vec<_> = samples.iter().map(|commit| sample(commit.name, commit.shows, commit.value.body.clone())).collect();
    assert_all_variants(&bodies);
    compare(("commits.txt", "commits, as they are stored and hashed"), &samples, codec::encode, codec::decode);
}

#[test]
fn every_variant_of_the_parts_has_its_golden_bytes() {
    parts::compare_all();
}

#[test]
fn a_compressed_frame_of_another_encoder_reads_as_the_message() {
    let delta = down::samples().into_iter().find(|sample| sample.name == "delta_of_many").unwrap();
    let samples = [sample("delta_of_many", "the delta of that name, compressed by zstd at level 3", delta.value)];
    if updating() {
        let compressed = samples.iter().map(|sample| (sample.name, sample.shows, encode_down(&sample.value)));
        write_file("compressed.txt", "a compressed frame; other encoders may write other bytes", compressed);
    }
    let golden = read_file("compressed.txt");
    let frame = unhex(&golden["delta_of_many"]);
    assert_eq!(frame[0], ZSTD);
    assert_eq!(decode_down(&frame).as_ref(), Ok(&samples[0].value));
    assert!(frame.len() < plain(&samples[0].value).len());
}

#[test]
fn damaged_golden_frames_never_panic() {
    let up: Vec<Vec<u8>> = up::samples().iter().map(|sample| plain(&sample.value)).collect();
    let down: Vec<Vec<u8>> = down::samples().iter().map(|sample| plain(&sample.value)).collect();
    for frame in up.iter().chain(&down) {
        for end in 0..frame.len() {
            assert_reads_safely(&frame[..end]);
        }
        // Each bit of short frames, one of each byte of long ones.
        for bit in (0..8 * frame.len()).filter(|bit| frame.len() < 300 || bit / 8 % 8 == bit % 8) {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_reads_safely(&flipped);
        }
    }
}

/// Never panics, and what is read is written as something that reads the same.
fn assert_reads_safely(frame: &[u8]) {
    if let Ok(message) = decode_up(frame) {
        assert_eq!(decode_up(&encode_up(&message)), Ok(message));
    }
    if let Ok(message) = decode_down(frame) {
        assert_eq!(decode_down(&encode_down(&message)), Ok(message));
    }
}

/// What the fuzzer starts from, and what it once found.
#[test]
fn the_corpus_of_the_fuzzer_replays() {
    if updating() {
        write_seed("decode_schema", "clinic", CLINIC.as_bytes());
        write_seed("decode_schema", "rental", RENTAL.as_bytes());
    }
    for corpus in ["corpus/decode_up", "corpus/decode_down", "corpus/decode_schema"] {
        let files = std::fs::read_dir(folder("../fuzz").join(corpus)).unwrap();
        let inputs: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty());
        for input in inputs {
            assert_reads_safely(&input);
            let _ = std::str::from_utf8(&input).map(Schema::parse);
        }
    }
}
