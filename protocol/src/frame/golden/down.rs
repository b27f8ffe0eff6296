//! Samples of the server's messages.

use super::{Sample, hash, id, key, mark, sample, section, up};
use crate::batch::RowBatch;
use crate::change::{Op, PlaceRuns, Refusal, Verdict, VerdictRuns};
use crate::commit::Offer;
use crate::cursor::CursorName;
use crate::hash::Digest;
use crate::ids::{DeviceId, FieldTag, Position, PushNo, RowNo, Seq, TableTag, Version, WorkspaceId};
use crate::message::{
    Activity, Author, Authors, CaughtUp, CloseReason, Copied, Deed, Delta, Diverged, Down, History, HistoryEntry, HistoryField,
    Outcome, Welcome,
};
use crate::row::{FieldState, RowName, RowState, StateKind};
use crate::value::Value;

pub(super) fn samples() -> Vec<Sample<Down>> {
    let mut samples = vec![
        sample("welcome", "nothing unsettled, the sections are those of Hello", Down::Welcome(Box::new(welcome()))),
        sample("welcome_with_outcomes", "one outcome, a list of sections", Down::Welcome(Box::new(welcome_with_outcomes()))),
        sample("copy", "push 8 was recorded with another hash", Down::Copy(Box::new(copied()))),
        sample("replaced", "by a foreign process", Down::Replaced { process: 0xFEDC_BA98_7654_3210, connection: 3 }),
        sample("which_common", "", Down::WhichCommon),
        sample("diverged", "in common up to 90", Down::Diverged(Box::new(diverged()))),
        sample("other_server", "", Down::OtherServer { workspace: WorkspaceId::from_bytes([0xBB; 16]) }),
        sample("result", "as it was sent", result(as_sent(), vec![(Verdict::Accepted { merged: false }, 1)])),
        sample("result_of_many_verdicts", "each verdict once", result(clash_rows(), verdicts())),
        sample("result_as_expected", "all accepted, all but one as expected, seen from the next commit", expected()),
        sample("result_void", "recorded as void", void()),
        sample("caught_up", "two digests", Down::CaughtUp(Box::new(caught_up()))),
        sample("sections", "after a grant", Down::Sections { head: mark(300), sections: sections() }),
        sample("schema", "", Down::Schema { seq: Seq(2), text: "name = \"clinic\"\n".into() }),
        sample("history", "an update and its decision", Down::History(Box::new(history()))),
        sample("device_issued", "", Down::DeviceIssued { device: DeviceId::from_bytes([0xEE; 16]), token: "tk_1".into() }),
        sample("pong", "nonce 0x01020304", Down::Pong { nonce: 0x0102_0304 }),
        sample("restarting", "come back after 1 s, spread over 10 s", Down::Restarting { after_ms: 1_000, window_ms: 10_000 }),
        sample("rows", "one whole row of two that were asked for", rows()),
        sample("activity", "an import, and what became of it", Down::Activity(Box::new(activity()))),
    ];
    samples.extend(closed());
    samples.extend(deltas());
    samples
}

fn closed() -> Vec<Sample<Down>> {
    let closed = |name, shows, reason| sample(name, shows, Down::Closed(reason));
    vec![
        closed("closed_version", "please update", CloseReason::Version { lowest: 2, highest: 3 }),
        closed("closed_unauthorized", "", CloseReason::Unauthorized),
        closed("closed_violation", "", CloseReason::Violation { what: "a push out of order".into() }),
        closed("closed_try_later", "", CloseReason::TryLater { after_ms: 5_000 }),
        closed("closed_late", "", CloseReason::Late),
        closed("closed_revoked", "", CloseReason::Revoked),
        closed("closed_defect", "a push ended it", CloseReason::Defect { after_ms: 2_000 }),
    ]
}

fn deltas() -> Vec<Sample<Down>> {
    let delta = |name, shows, rows| sample(name, shows, Down::Delta(Box::new(delta(rows))));
    vec![
        delta("delta_empty", "the end of the snapshot, no row", Vec::new()),
        delta("delta_one_field", "one field of a row known by number", vec![one_field(4711, 261)]),
        delta("delta_of_kinds", "a value of each kind, tombstones, an exit", of_kinds()),
        delta("delta_of_many", "forty whole rows of one table", (0..40).map(patient).collect()),
        delta("delta_of_words", "forty sentences of few words, of rows far apart", (0..40).map(sentence).collect()),
    ]
}

fn authors() -> Authors {
    let author = |seq, name, at_ms| Author { seq: Seq(seq), name, at_ms };
    Authors {
        names: vec!["amina".into(), "joseph".into()],
        commits: vec![author(250, 0, 1_760_000_000_000), author(261, 1, 1_760_000_500_000)],
    }
}

fn delta(rows: Vec<RowState>) -> Delta {
    let authors = if rows.is_empty() { Authors::default() } else { authors() };
    Delta {
        cursor: if rows.len() > 5 { CursorName::Fill(section(2, Some(1))) } else { CursorName::Main },
        from: Position::end_of(Seq(260)),
        to: if rows.len() > 5 { Position { seq: Seq(261), ordinal: 39 } } else { Position::end_of(Seq(261)) },
        complete: (rows.len() <= 5).then_some(Seq(261)),
        snapshot: if rows.is_empty() { None } else { Some(mark(261)) },
        rows: RowBatch(rows),
        authors,
    }
}

fn field(tag: u16, stamp: u64, value: Value) -> FieldState {
    FieldState { field: FieldTag(tag), stamp: Seq(stamp), value }
}

fn one_field(number: u64, seq: u64) -> RowState {
    RowState {
        table: TableTag(2),
        name: RowName::No(RowNo(number)),
        kind: StateKind::Live,
        whole: false,
        as_sent: false,
        seq: Seq(seq),
        version: Version(4),
        since: Seq(250),
        fields: vec![field(8, seq, Value::Float(61.5))],
    }
}

fn sentence(number: u64) -> RowState {
    const WORDS: [&str; 8] = ["fever", "since", "three", "days", "mother", "coughs", "returned", "yesterday"];
    let word = |place: u64| WORDS[(number * (place + 3) + number / 7 + place * place) as usize % WORDS.len()];
    let text = (0..8).map(word).collect::<Vec<_>>().join(" ");
    RowState { fields: vec![field(6, 261, Value::text(&text))], ..one_field(1_000 + 97 * number + number * number % 31, 261) }
}

fn patient(number: u8) -> RowState {
    let names = ["Mabo Kiru", "Rita Fuga", "Chano Wemi"];
    RowState {
        name: RowName::Id(id(number), RowNo(number.into())),
        whole: true,
        version: Version(1),
        seq: Seq(261),
        since: Seq(261),
        fields: vec![
            field(1, 261, Value::text(names[usize::from(number) % 3])),
            field(2, 261, Value::text(&format!("+25470000{:04}", u32::from(number) * 97))),
            field(4, 261, Value::Date(3_000 + 31 * i32::from(number))),
            field(8, 261, Value::Float(f64::from(number) / 2.0 + 20.0)),
            field(9, 261, Value::Uuid(*id(200 + number % 2).bytes())),
        ],
        ..one_field(number.into(), 261)
    }
}

fn of_kinds() -> Vec<RowState> {
    let whole = RowState {
        name: RowName::Id(id(1), RowNo(1)),
        whole: true,
        fields: vec![
            field(1, 250, Value::Null),
            field(2, 250, Value::Bool(true)),
            field(3, 250, Value::Int(-5)),
            field(4, 250, Value::Float(0.1 + 0.2)),
            field(5, 250, Value::Decimal(1_250)),
            field(6, 261, Value::text("Grüße")),
            field(7, 250, Value::Date(-1)),
            field(8, 250, Value::Timestamp(1_760_000_000_000)),
            field(9, 250, Value::Uuid([8; 16])),
            field(10, 250, Value::Bytes(vec![0, 255])),
        ],
        ..one_field(1, 261)
    };
    let other_table = RowState { table: TableTag(1), fields: vec![field(8, 261, Value::text("61.5"))], ..one_field(2, 261) };
    let deleted = RowState { kind: StateKind::Deleted, ..patient(3) };
    let purged = RowState { kind: StateKind::Purged, fields: Vec::new(), ..patient(4) };
    let exited = RowState { kind: StateKind::Exited, fields: Vec::new(), ..one_field(5, 261) };
    vec![whole, other_table, deleted, purged, exited]
}

fn outcome(rows: Vec<RowState>, runs: Vec<(Verdict, u32)>) -> Outcome {
    Outcome {
        number: PushNo(6),
        commit: mark(261),
        verdicts: Some(VerdictRuns(runs)),
        rows: RowBatch(rows),
        ..Outcome::default()
    }
}

fn expected_outcome() -> Outcome {
    let as_expected = PlaceRuns::of((0..247).chain([248, 249]));
    let first_created = RowNo(70_000);
    Outcome { as_expected, first_created, ..outcome(Vec::new(), vec![(Verdict::Accepted { merged: false }, 250)]) }
}

fn expected() -> Down {
    let commits = vec![Author { seq: Seq(261), name: 0, at_ms: 1_760_000_500_000 }];
    let authors = Authors { names: vec!["joseph".into()], commits };
    Down::Result { snapshot: Some(mark(262)), outcome: Box::new(expected_outcome()), authors }
}

fn result(rows: Vec<RowState>, runs: Vec<(Verdict, u32)>) -> Down {
    Down::Result { snapshot: None, outcome: Box::new(outcome(rows, runs)), authors: authors() }
}

fn void() -> Down {
    let outcome = Outcome { verdicts: None, ..outcome(Vec::new(), Vec::new()) };
    Down::Result { snapshot: None, outcome: Box::new(outcome), authors: Authors::default() }
}

fn as_sent() -> Vec<RowState> {
    vec![RowState { as_sent: true, fields: Vec::new(), ..one_field(4711, 261) }]
}

fn clash_rows() -> Vec<RowState> {
    vec![one_field(4711, 261), patient(7)]
}

fn verdicts() -> Vec<(Verdict, u32)> {
    vec![
        (Verdict::Accepted { merged: true }, 2),
        (Verdict::Agreed, 1),
        (Verdict::Conflict, 1),
        (Verdict::Clash { field: FieldTag(2), with: Some(id(7)) }, 1),
        (Verdict::Refused(Refusal::UnknownRow), 3),
        (Verdict::Held { by: key(2) }, 1),
    ]
}

fn sections() -> Vec<crate::ids::Section> {
    vec![section(1, None), section(2, Some(1)), section(2, Some(2))]
}

fn welcome() -> Welcome {
    Welcome {
        protocol: 1,
        server_ms: 1_760_000_600_000,
        snapshot: mark(261),
        last: (PushNo(5), hash(5)),
        outcomes: Vec::new(),
        sections: None,
        authors: Authors::default(),
    }
}

fn welcome_with_outcomes() -> Welcome {
    Welcome {
        outcomes: vec![outcome(as_sent(), vec![(Verdict::Accepted { merged: false }, 1)])],
        sections: Some(sections()),
        authors: authors(),
        ..welcome()
    }
}

fn copied() -> Copied {
    Copied {
        snapshot: mark(261),
        last: (PushNo(8), hash(8)),
        outcomes: vec![outcome(as_sent(), vec![(Verdict::Agreed, 1)])],
        authors: authors(),
    }
}

fn diverged() -> Diverged {
    Diverged { common: mark(90), snapshot: mark(95), outcomes: Vec::new(), authors: Authors::default(), offer: Offer::Ask }
}

fn caught_up() -> CaughtUp {
    let digests = vec![(0, Digest([1; 16])), (2, Digest([2; 16]))];
    CaughtUp { head: Some(mark(261)), safe: Seq(200), schema: Seq(2), sections: 4, digests }
}

fn history() -> History {
    let entry = HistoryEntry {
        seq: Seq(261),
        at_ms: 1_760_000_500_000,
        edited_at_ms: 1_760_000_400_000,
        by: "joseph".into(),
        device: DeviceId::from_bytes([0xDD; 16]),
        device_name: "Reception".into(),
        op: Op::Update,
        merged: true,
        version: Version(4),
        fields: vec![HistoryField { field: FieldTag(8), before: Value::Null, after: Value::Float(61.5) }],
        lost: Vec::new(),
    };
    let decision = HistoryEntry {
        seq: Seq(262),
        op: Op::Decide,
        merged: false,
        version: Version(0),
        fields: Vec::new(),
        lost: vec![(FieldTag(8), Value::Float(60.0))],
        ..entry.clone()
    };
    History { key: key(1), entries: vec![decision, entry], more: true }
}

fn activity() -> Activity {
    let deed = |seq: u64, by: &str, rows: &[(u16, Op, u32)]| Deed {
        seq: Seq(seq),
        at_ms: 1_760_000_000_000 + i64::try_from(seq).unwrap_or(0) * 1_000,
        by: by.into(),
        device: DeviceId::from_bytes([0xDD; 16]),
        device_name: "Reception".into(),
        rows: rows.iter().map(|(table, op, count)| (TableTag(*table), *op, *count)).collect(),
    };
    let second = deed(262, "joseph", &[(2, Op::Update, 3), (2, Op::Delete, 1), (5, Op::Decide, 1)]);
    Activity { deeds: vec![second, deed(261, "amina", &[(2, Op::Create, 250)])], more: true }
}

fn rows() -> Down {
    Down::Rows { snapshot: Some(mark(261)), rows: RowBatch(vec![patient(9)]), asked: up::wanted(), authors: authors() }
}
