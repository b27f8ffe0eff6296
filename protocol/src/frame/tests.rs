//! What frames let through, and what they refuse.

use super::golden::samples_of_hello;
use super::*;
use crate::change::{PlaceRuns, Verdict, VerdictRuns};
use crate::hash::Digest;
use crate::ids::{Hash16, Mark, PushNo, Section, Seq, TableTag};
use crate::limits::{COMMON_PAIRS_MAX, PUSH_CHANGES_MAX, PUSH_WINDOW_MAX, SCHEMA_BYTES_MAX, SECTIONS_MAX, WANT_ROWS_MAX};
use crate::message::{Author, Authors, CaughtUp, Outcome, WantedRow};
use crate::row::RowName;
use proptest::collection::vec;
use proptest::prelude::*;

fn schema(bytes: usize) -> Down {
    Down::Schema { seq: Seq(2), text: "x".repeat(bytes) }
}

fn compressed(content: &[u8]) -> Vec<u8> {
    with_kind(ZSTD, &zstd::bulk::compress(content, 3).unwrap())
}

fn malformed<T: PartialEq + std::fmt::Debug>(result: Result<T, DecodeError>, what: &str) {
    match result {
        Err(DecodeError::Malformed(text)) => assert!(text.contains(what), "{text}"),
        other => panic!("{other:?} instead of: {what}"),
    }
}

#[test]
fn a_frame_is_compressed_where_that_is_smaller() {
    assert_eq!(encode_up(&Up::Bye), [PLAIN, 10]);
    let frame = encode_down(&schema(10_000));
    assert!(frame[0] == ZSTD && frame.len() < 100, "{}", frame.len());
    assert_eq!(decode_down(&frame), Ok(schema(10_000)));
    // A short answer, too, where it is worth while.
    assert_eq!(encode_down(&schema(200))[0], ZSTD);
    let random = Up::CommonPairs { pairs: vec![Mark { seq: Seq(1), hash: crate::hash::short(b"") }; 1] };
    assert_eq!(encode_up(&random)[0], PLAIN);
}

#[test]
fn contexts_of_ones_own_make_and_read_the_same_frames() {
    let (mut encoder, mut decoder) = (FrameEncoder::default(), FrameDecoder::new());
    for message in [schema(5_000), Down::WhichCommon, schema(70)] {
        let frame = encoder.down(&message);
        assert_eq!(frame, encode_down(&message));
        assert_eq!(decoder.down(&frame), Ok(message));
    }
    assert_eq!(decoder.up(&encoder.up(&Up::AckDelta)), Ok(Up::AckDelta));
}

#[test]
fn frames_of_no_known_kind_are_refused() {
    malformed(decode_up(&[]), "empty");
    assert_eq!(decode_up(&[2, 0]), Err(DecodeError::UnknownFrame(2)));
    malformed(decode_up(&[PLAIN]), "UnexpectedEnd");
    malformed(decode_up(&[PLAIN, 99]), "UnexpectedVariant");
    malformed(decode_up(&[ZSTD, 1, 2, 3]), "not a zstd frame");
}

#[test]
fn a_frame_that_inflates_beyond_the_limit_is_refused_by_its_header() {
    let bomb = compressed(&vec![0; FRAME_INFLATED_BYTES_MAX + 1]);
    assert!(bomb.len() < 1000);
    let (found, limit) = (FRAME_INFLATED_BYTES_MAX + 1, FRAME_INFLATED_BYTES_MAX);
    assert_eq!(decode_up(&bomb), Err(DecodeError::TooLarge { what: "a message", found, limit }));
    let long = vec![PLAIN; FRAME_WIRE_BYTES_MAX + 1];
    assert!(matches!(decode_up(&long), Err(DecodeError::TooLarge { what: "a frame", .. })));
}

#[test]
fn only_one_zstd_frame_that_tells_its_size_is_taken() {
    let content = codec::encode(&schema(1000));
    let frame = compressed(&content);
    assert_eq!(decode_down(&frame), Ok(schema(1000)));
    let twice = [&frame[..], &frame[1..]].concat();
    assert_eq!(decode_down(&twice), Err(DecodeError::TrailingBytes { count: frame.len() - 1 }));
    let trailing = [&frame[..], &[0]].concat();
    assert_eq!(decode_down(&trailing), Err(DecodeError::TrailingBytes { count: 1 }));
    malformed(decode_down(&frame[..frame.len() - 1]), "broken zstd frame");
    let mut streamed = Vec::new();
    zstd::stream::copy_encode(&content[..], &mut streamed, 3).unwrap();
    malformed(decode_down(&with_kind(ZSTD, &streamed)), "does not tell its size");
    let skippable = [ZSTD, 0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0];
    malformed(decode_down(&skippable), "not a zstd frame");
}

#[test]
fn a_zstd_frame_that_wants_a_dictionary_is_refused() {
    let mut frame = compressed(&codec::encode(&schema(1000)));
    frame[5] |= 1;
    frame.insert(6, 7);
    malformed(decode_down(&frame), "dictionary");
}

#[test]
fn a_zstd_frame_with_a_window_larger_than_a_message_is_refused() {
    let header = |window: u8| [&[ZSTD][..], &ZSTD_MAGIC, &[0x80, window], &100u32.to_le_bytes(), &[1, 0, 0]].concat();
    assert!(matches!(decode_down(&header(13 << 3)), Err(DecodeError::TooLarge { what: "a zstd window", .. })));
    assert!(matches!(decode_down(&header(12 << 3 | 1)), Err(DecodeError::TooLarge { what: "a zstd window", .. })));
    assert!(matches!(decode_down(&header(255)), Err(DecodeError::TooLarge { what: "a zstd window", .. })));
    assert!(matches!(decode_down(&header(12 << 3)), Err(DecodeError::Malformed(_))));
}

#[test]
fn hello_travels_in_the_header_where_it_is_short_enough() {
    for hello in samples_of_hello() {
        let header = hello_to_header(&hello).unwrap();
        assert!(header.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(hello_from_header(&header), Ok(hello));
    }
    let mut long = samples_of_hello().remove(0);
    long.frozen = (1..=64).map(|number| (PushNo(number), crate::hash::short(&[number as u8]))).collect();
    assert!(hello_to_header(&long).is_some(), "a full window fits");
    long.cursors.sections = (1..200).map(section_of).collect();
    assert_eq!(hello_to_header(&long), None);
}

fn section_of(number: u16) -> Section {
    let value = crate::ids::RowId::from_bytes(crate::hash::short(&number.to_le_bytes()).0);
    Section { table: TableTag(2), scope: Some(crate::ids::ScopeKey { field: crate::ids::FieldTag(1), value }) }
}

#[test]
fn a_header_takes_nothing_but_a_hello_of_a_bounded_size() {
    let header = |frame: &[u8]| URL_SAFE_NO_PAD.encode(frame);
    malformed(hello_from_header(&header(&[PLAIN, 10])), "another message");
    malformed(hello_from_header("not base64!"), "Invalid");
    let bomb = compressed(&vec![0; UNAUTHENTICATED_BYTES_MAX + 1]);
    let (found, limit) = (UNAUTHENTICATED_BYTES_MAX + 1, UNAUTHENTICATED_BYTES_MAX);
    assert_eq!(hello_from_header(&header(&bomb)), Err(DecodeError::TooLarge { what: "a message", found, limit }));
    let long = "A".repeat(HELLO_HEADER_BYTES_MAX + 1);
    assert!(matches!(hello_from_header(&long), Err(DecodeError::TooLarge { what: "the header with Hello", .. })));
    let claims =
        [&codec::encode(&Up::Hello(Box::new(samples_of_hello().remove(0))))[..70], &codec::encode(&100_000u64)].concat();
    assert!(hello_from_header(&header(&with_kind(PLAIN, &claims))).is_err());
}

fn pairs(count: usize) -> Up {
    Up::CommonPairs { pairs: (0..count as u64).rev().map(|seq| Mark { seq: Seq(seq), hash: Hash16::default() }).collect() }
}

fn wanted(count: usize) -> Up {
    Up::WantRow { rows: vec![WantedRow { table: TableTag(1), name: RowName::No(crate::ids::RowNo(1)) }; count] }
}

fn frozen(count: usize) -> Up {
    let mut hello = samples_of_hello().remove(0);
    hello.frozen = (0..count as u64).map(|number| (PushNo(number), Hash16::default())).collect();
    Up::Hello(Box::new(hello))
}

fn sections(count: u16) -> Down {
    let sections = (0..count).map(|table| Section { table: TableTag(table), scope: None }).collect();
    Down::Sections { head: Mark::default(), sections }
}

fn result(runs: Vec<(Verdict, u32)>, authors: Authors) -> Down {
    let verdicts = Some(VerdictRuns(runs));
    let outcome = Outcome { number: PushNo(1), verdicts, ..Outcome::default() };
    Down::Result { snapshot: None, outcome: Box::new(outcome), authors }
}

#[test]
fn collections_up_to_their_limit_are_taken_and_longer_ones_refused() {
    let too_large = |error| matches!(error, DecodeError::TooLarge { .. });
    let ups = [
        (pairs(COMMON_PAIRS_MAX), pairs(COMMON_PAIRS_MAX + 1)),
        (wanted(WANT_ROWS_MAX), wanted(WANT_ROWS_MAX + 1)),
        (frozen(PUSH_WINDOW_MAX), frozen(PUSH_WINDOW_MAX + 1)),
    ];
    for (taken, refused) in ups {
        assert!(decode_up(&encode_up(&taken)).is_ok());
        assert!(too_large(decode_up(&encode_up(&refused)).unwrap_err()));
    }
    let most = PUSH_CHANGES_MAX as u32;
    let verdicts = |count| result(vec![(Verdict::Agreed, count)], Authors::default());
    let downs = [
        (sections(SECTIONS_MAX as u16), sections(SECTIONS_MAX as u16 + 1)),
        (schema(SCHEMA_BYTES_MAX), schema(SCHEMA_BYTES_MAX + 1)),
        (verdicts(most), verdicts(most + 1)),
        (verdicts(1), verdicts(u32::MAX)),
    ];
    for (taken, refused) in downs {
        assert!(decode_down(&encode_down(&taken)).is_ok());
        assert!(too_large(decode_down(&encode_down(&refused)).unwrap_err()));
    }
}

#[test]
fn lists_out_of_order_are_refused() {
    let refused_up = |message: &Up| assert_eq!(decode_up(&encode_up(message)), Err(DecodeError::NotCanonical));
    let refused_down = |message: &Down| assert_eq!(decode_down(&encode_down(message)), Err(DecodeError::NotCanonical));
    let Up::CommonPairs { pairs: mut ascending } = pairs(3) else { panic!() };
    ascending.reverse();
    refused_up(&Up::CommonPairs { pairs: ascending });
    let Up::Hello(mut hello) = frozen(2) else { panic!() };
    hello.frozen.swap(0, 1);
    refused_up(&Up::Hello(hello));
    let Down::Sections { head, sections } = sections(1) else { panic!() };
    refused_down(&Down::Sections { head, sections: [sections.clone(), sections].concat() });
    refused_down(&result(vec![(Verdict::Agreed, 0)], Authors::default()));
    refused_down(&result(vec![(Verdict::Agreed, 1), (Verdict::Agreed, 1)], Authors::default()));
    let author = Author { seq: Seq(1), name: 0, at_ms: 0 };
    refused_down(&result(Vec::new(), Authors { names: vec!["a".into()], commits: vec![author, author] }));
}

#[test]
fn a_commit_by_a_user_who_is_not_named_is_refused() {
    let author = Author { seq: Seq(1), name: 1, at_ms: 0 };
    let authors = Authors { names: vec!["a".into()], commits: vec![author] };
    malformed(decode_down(&encode_down(&result(Vec::new(), authors))), "not named");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), kind in 0u8..3) {
        for frame in [bytes.clone(), with_kind(kind, &bytes), compressed(&bytes), with_kind(ZSTD, &[&ZSTD_MAGIC[..], &bytes].concat())] {
            let _ = decode_up(&frame);
            let _ = decode_down(&frame);
            let _ = hello_from_header(&URL_SAFE_NO_PAD.encode(&frame));
        }
        let _ = hello_from_header(&String::from_utf8_lossy(&bytes));
        let _ = codec::decode::<crate::commit::Commit>(&bytes);
    }

    #[test]
    fn arbitrary_content_of_each_message_never_panics(variant in 0u8..20, bytes in vec(prop_oneof![0u8..4, any::<u8>()], 0..300)) {
        let frame = with_kind(PLAIN, &with_kind(variant, &bytes));
        let _ = decode_up(&frame);
        let _ = decode_down(&frame);
    }
}

fn as_expected(runs: &[(u32, u32)]) -> Result<Down, DecodeError> {
    let verdicts = VerdictRuns(vec![(Verdict::Accepted { merged: true }, 3), (Verdict::Conflict, 1)]);
    let as_expected = PlaceRuns(runs.to_vec());
    let outcome = Outcome { verdicts: Some(verdicts), as_expected, ..Outcome::default() };
    decode_down(&encode_down(&Down::Result { snapshot: None, outcome: Box::new(outcome), authors: Authors::default() }))
}

#[test]
fn only_accepted_changes_of_the_push_are_as_expected_and_their_places_have_one_form() {
    for runs in [&[][..], &[(0, 3)], &[(1, 2)], &[(0, 1), (1, 1)]] {
        assert!(as_expected(runs).is_ok(), "{runs:?}");
    }
    malformed(as_expected(&[(2, 2)]), "was not accepted");
    for runs in [&[(0, 5)][..], &[(u32::MAX, u32::MAX), (1, 1)], &[(7, 0)]] {
        assert!(matches!(as_expected(runs), Err(DecodeError::TooLarge { what: "places in a push", .. })), "{runs:?}");
    }
    for runs in [&[(0, 0)][..], &[(0, 1), (0, 1)], &[(0, 1), (1, 0)]] {
        assert_eq!(as_expected(runs), Err(DecodeError::NotCanonical), "{runs:?}");
    }
}

#[test]
fn digests_are_of_sections_that_there_are_and_ascend() {
    let caught_up = |sections: u32, places: &[u32]| {
        let digests = places.iter().map(|place| (*place, Digest::default())).collect();
        let caught_up = CaughtUp { head: None, safe: Seq(0), schema: Seq(0), sections, digests };
        decode_down(&encode_down(&Down::CaughtUp(Box::new(caught_up))))
    };
    assert!(caught_up(3, &[0, 2]).is_ok() && caught_up(SECTIONS_MAX as u32, &[]).is_ok());
    malformed(caught_up(3, &[3]), "a digest of no section");
    assert_eq!(caught_up(3, &[1, 1]), Err(DecodeError::NotCanonical));
    assert_eq!(caught_up(3, &[2, 1]), Err(DecodeError::NotCanonical));
    let too_many = caught_up(SECTIONS_MAX as u32 + 1, &[]);
    assert!(matches!(too_many, Err(DecodeError::TooLarge { what: "sections", .. })), "{too_many:?}");
}
