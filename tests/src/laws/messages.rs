//! Any message that a decoder takes, nasty ones among them.

use super::Choices;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::batch::{ChangeBatch, RowBatch, WireChange};
use tombolo_client::protocol::change::{FieldChange, LostValue, Op, PlaceRuns, Refusal, Verdict, VerdictRuns};
use tombolo_client::protocol::commit::Offer;
use tombolo_client::protocol::cursor::{Cursor, CursorName, Cursors, Fill};
use tombolo_client::protocol::hash::Digest;
use tombolo_client::protocol::ids::{
    DeviceId, FieldTag, Hash16, Mark, Position, PushNo, RowId, RowKey, RowNo, ScopeKey, Section, Seq, TableTag, Version,
    WorkspaceId,
};
use tombolo_client::protocol::limits::SECTIONS_MAX;
use tombolo_client::protocol::message::{
    Activity, Author, Authors, CaughtUp, CloseReason, Copied, Deed, Delta, Diverged, Down, Hello, History, HistoryEntry,
    HistoryField, Outcome, PushMessage, Up, WantedRow, Welcome,
};
use tombolo_client::protocol::row::{FieldState, RowName, RowState, StateKind};
use tombolo_client::protocol::schema::FieldProblem;
use tombolo_client::protocol::value::Value;

/// How many messages a client has.
pub(super) const UPS: usize = 12;
/// How many messages a server has.
pub(super) const DOWNS: usize = 18;

/// Any canonical value.
pub(super) fn value(c: &mut Choices<'_>) -> Value {
    match c.below(10) {
        0 => Value::Null,
        1 => Value::Bool(c.chance(50)),
        2 => Value::Int(whole(c)),
        3 => float(c),
        4 => Value::Decimal(whole(c)),
        5 => Value::text(&text(c)),
        6 => Value::Date(whole(c) as i32),
        7 => Value::Timestamp(whole(c)),
        8 => Value::Uuid(c.sixteen()),
        _ => Value::Bytes(c.several(6, |c| c.below(256) as u8)),
    }
}

fn whole(c: &mut Choices<'_>) -> i64 {
    let number = c.number() as i64;
    if c.chance(50) { number.wrapping_neg() } else { number }
}

fn float(c: &mut Choices<'_>) -> Value {
    let number = match c.below(4) {
        0 => c.number() as f64 / 100.0,
        1 => -(c.below(100) as f64),
        2 => f64::from_bits(c.word()),
        _ => c.pick(&[f64::MAX, 5e-324, -0.0, 0.1]),
    };
    Value::float(number).unwrap_or_default()
}

/// Text with what is hard about it.
pub(super) fn text(c: &mut Choices<'_>) -> String {
    let parts = ["", "a", "bc", "\u{e9}", "e\u{301}", "\u{0}", "\u{1F468}\u{200D}\u{1F469}", "\u{1100}\u{1161}", "\u{202E}x"];
    c.several(4, |c| c.pick(&parts)).concat()
}

fn seq(c: &mut Choices<'_>) -> Seq {
    Seq(c.number())
}

fn hash(c: &mut Choices<'_>) -> Hash16 {
    Hash16(c.sixteen())
}

fn mark(c: &mut Choices<'_>) -> Mark {
    Mark { seq: seq(c), hash: hash(c) }
}

fn field(c: &mut Choices<'_>) -> FieldTag {
    FieldTag(c.number() as u16)
}

fn table(c: &mut Choices<'_>) -> TableTag {
    TableTag(if c.chance(80) { 1 + c.below(3) as u16 } else { c.number() as u16 })
}

fn key(c: &mut Choices<'_>) -> RowKey {
    RowKey { table: table(c), id: RowId::from_bytes(c.sixteen()) }
}

fn section(c: &mut Choices<'_>) -> Section {
    let table = table(c);
    Section { table, scope: c.maybe(|c| ScopeKey { field: field(c), value: RowId::from_bytes(c.sixteen()) }) }
}

fn sections(c: &mut Choices<'_>) -> Vec<Section> {
    c.several(3, section).into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn name(c: &mut Choices<'_>) -> RowName {
    if c.chance(50) { RowName::Id(RowId::from_bytes(c.sixteen()), RowNo(c.number())) } else { RowName::No(RowNo(c.number())) }
}

/// By ascending tag, as every list of fields is.
fn by_field<T>(c: &mut Choices<'_>, one: impl Fn(&mut Choices<'_>) -> T) -> BTreeMap<FieldTag, T> {
    c.several(4, |c| (field(c), one(c))).into_iter().collect()
}

/// Any row record.
pub(super) fn row(c: &mut Choices<'_>) -> RowState {
    let fields = by_field(c, |c| (seq(c), value(c)));
    RowState {
        table: table(c),
        name: name(c),
        kind: c.pick(&[StateKind::Live, StateKind::Deleted, StateKind::Purged, StateKind::Exited]),
        whole: c.chance(50),
        as_sent: c.chance(50),
        seq: seq(c),
        version: Version(c.number()),
        since: seq(c),
        fields: fields.into_iter().map(|(field, (stamp, value))| FieldState { field, stamp, value }).collect(),
    }
}

fn rows(c: &mut Choices<'_>) -> RowBatch {
    RowBatch(c.several(4, row))
}

fn op(c: &mut Choices<'_>) -> Op {
    c.pick(&[Op::Create, Op::Update, Op::Delete, Op::Restore, Op::Decide])
}

/// Any change.
pub(super) fn change(c: &mut Choices<'_>) -> WireChange {
    let fields = by_field(c, |c| (seq(c), value(c)));
    WireChange {
        table: table(c),
        name: name(c),
        op: op(c),
        row_base: seq(c),
        view_base: seq(c),
        fields: fields.into_iter().map(|(field, (base, value))| FieldChange { field, value, base }).collect(),
        lost: c.several(2, |c| LostValue { field: field(c), value: value(c) }),
        group: c.maybe(|c| c.number() as u16),
        edited_at_ms: whole(c),
    }
}

/// Any changes of a push.
pub(super) fn changes(c: &mut Choices<'_>) -> ChangeBatch {
    ChangeBatch(c.several(4, change))
}

fn verdict(c: &mut Choices<'_>) -> Verdict {
    match c.below(6) {
        0 => Verdict::Accepted { merged: c.chance(50) },
        1 => Verdict::Agreed,
        2 => Verdict::Conflict,
        3 => Verdict::Clash { field: field(c), with: c.maybe(|c| RowId::from_bytes(c.sixteen())) },
        4 => Verdict::Refused(refusal(c)),
        _ => Verdict::Held { by: key(c) },
    }
}

fn refusal(c: &mut Choices<'_>) -> Refusal {
    let problems = [
        FieldProblem::WrongKind,
        FieldProblem::Required,
        FieldProblem::NotAChoice,
        FieldProblem::TooSmall,
        FieldProblem::TooLarge,
        FieldProblem::TooShort,
        FieldProblem::TooLong,
    ];
    match c.below(11) {
        0 => Refusal::UnknownRow,
        1 => Refusal::UnknownTable,
        2 => Refusal::UnknownField { field: field(c) },
        3 => Refusal::Field { field: field(c), problem: c.pick(&problems) },
        4 => Refusal::MissingParent { field: field(c), parent: RowId::from_bytes(c.sixteen()) },
        5 => Refusal::Referenced { by: c.maybe(key) },
        6 => Refusal::NoRight,
        7 => Refusal::RowTooLarge,
        8 => Refusal::Defect,
        9 => Refusal::Undeliverable,
        _ => Refusal::TooManyScopes { most: c.number() as u32 },
    }
}

/// Verdicts, each by itself.
pub(super) fn verdicts(c: &mut Choices<'_>) -> Vec<Verdict> {
    let runs = c.several(4, |c| (verdict(c), 1 + c.below(3)));
    runs.into_iter().flat_map(|(verdict, count)| vec![verdict; count]).collect()
}

fn outcome(c: &mut Choices<'_>) -> Outcome {
    let verdicts = c.maybe(|c| VerdictRuns::of(verdicts(c)));
    let accepted = verdicts.iter().flat_map(VerdictRuns::iter).enumerate();
    let accepted = accepted.filter(|(_, verdict)| matches!(verdict, Verdict::Accepted { .. })).map(|(place, _)| place);
    let as_expected = PlaceRuns::of(accepted.filter(|_| c.chance(50)).collect::<Vec<_>>());
    let first_created = RowNo(c.number());
    Outcome { number: PushNo(c.number()), commit: mark(c), verdicts, as_expected, first_created, rows: rows(c) }
}

fn authors(c: &mut Choices<'_>) -> Authors {
    let commits: BTreeMap<Seq, i64> = c.several(4, |c| (seq(c), whole(c))).into_iter().collect();
    let mut names = c.several(3, text);
    names.truncate(commits.len());
    let author = |(seq, at_ms)| Author { seq, name: c.below(names.len().max(1)) as u32, at_ms };
    let commits = if names.is_empty() { Vec::new() } else { commits.into_iter().map(author).collect() };
    Authors { names, commits }
}

fn position(c: &mut Choices<'_>) -> Position {
    Position { seq: seq(c), ordinal: c.number() as u32 }
}

fn cursor(c: &mut Choices<'_>) -> Cursor {
    Cursor { complete: seq(c), scanned: position(c) }
}

fn cursors(c: &mut Choices<'_>) -> Cursors {
    let fill = |c: &mut Choices<'_>| {
        let fill = Fill { cursor: cursor(c), head: c.maybe(seq), done: c.chance(50), refetch: c.number() as u32 };
        (section(c), fill)
    };
    let main = cursor(c);
    Cursors { main, sections: sections(c).into_iter().collect(), fills: c.several(2, fill).into_iter().collect() }
}

/// Any Hello.
pub(super) fn hello(c: &mut Choices<'_>) -> Hello {
    let frozen: BTreeMap<PushNo, Hash16> = c.several(3, |c| (PushNo(c.number()), hash(c))).into_iter().collect();
    Hello {
        protocol: (c.number() as u16, c.number() as u16),
        workspace: WorkspaceId::from_bytes(c.sixteen()),
        device: DeviceId::from_bytes(c.sixteen()),
        process: c.number(),
        connection: c.number() as u32,
        schema: seq(c),
        schema_hash: hash(c),
        cursors: cursors(c),
        witness: mark(c),
        applied: (PushNo(c.number()), hash(c)),
        frozen: frozen.into_iter().collect(),
        rate: c.number() as u32,
    }
}

fn wanted(c: &mut Choices<'_>) -> WantedRow {
    WantedRow { table: table(c), name: name(c) }
}

/// The client's message with this number.
pub(super) fn up(c: &mut Choices<'_>, number: usize) -> Up {
    match number {
        0 => Up::Hello(Box::new(hello(c))),
        1 => {
            let push = PushMessage { number: PushNo(c.number()), hash: hash(c), schema: seq(c), changes: changes(c) };
            Up::Push(Box::new(push))
        }
        2 => Up::Void { number: PushNo(c.number()), hash: hash(c) },
        3 => Up::AckDelta,
        4 => Up::WantRow { rows: c.several(3, wanted) },
        5 => Up::WantHistory { key: key(c) },
        6 => Up::WantCaughtUp,
        7 => {
            let pairs: BTreeMap<Seq, Hash16> = c.several(4, |c| (seq(c), hash(c))).into_iter().collect();
            Up::CommonPairs { pairs: pairs.into_iter().rev().map(|(seq, hash)| Mark { seq, hash }).collect() }
        }
        8 => Up::NewDevice,
        9 => Up::Ping { nonce: c.number() as u32 },
        10 => Up::Bye,
        _ => Up::WantActivity,
    }
}

/// The server's message with this number.
pub(super) fn down(c: &mut Choices<'_>, number: usize) -> Down {
    match number {
        0 => Down::Welcome(Box::new(welcome(c))),
        1 => {
            let last = (PushNo(c.number()), hash(c));
            let copied = Copied { snapshot: mark(c), last, outcomes: c.several(2, outcome), authors: authors(c) };
            Down::Copy(Box::new(copied))
        }
        2 => Down::Replaced { process: c.number(), connection: c.number() as u32 },
        3 => Down::WhichCommon,
        4 => Down::Diverged(Box::new(diverged(c))),
        5 => Down::OtherServer { workspace: WorkspaceId::from_bytes(c.sixteen()) },
        6 => Down::Result { snapshot: c.maybe(mark), outcome: Box::new(outcome(c)), authors: authors(c) },
        7 => Down::Delta(Box::new(delta(c))),
        8 => {
            let sections = c.below(SECTIONS_MAX) as u32;
            let digests = c.several(3, |c| (c.below(SECTIONS_MAX) as u32, Digest(c.sixteen())));
            let digests: BTreeMap<_, _> = digests.into_iter().filter(|(place, _)| *place < sections).collect();
            let (safe, schema) = (seq(c), seq(c));
            let digests = digests.into_iter().collect();
            Down::CaughtUp(Box::new(CaughtUp { head: c.maybe(mark), safe, schema, sections, digests }))
        }
        9 => Down::Sections { head: mark(c), sections: sections(c) },
        10 => Down::Schema { seq: seq(c), text: text(c) },
        11 => Down::History(Box::new(History { key: key(c), entries: c.several(3, history_entry), more: c.chance(50) })),
        12 => Down::DeviceIssued { device: DeviceId::from_bytes(c.sixteen()), token: text(c) },
        13 => Down::Pong { nonce: c.number() as u32 },
        14 => Down::Restarting { after_ms: c.number() as u32, window_ms: c.number() as u32 },
        15 => Down::Closed(close_reason(c)),
        16 => Down::Rows { snapshot: c.maybe(mark), rows: rows(c), asked: c.several(3, wanted), authors: authors(c) },
        _ => Down::Activity(Box::new(Activity { deeds: c.several(3, deed), more: c.chance(50) })),
    }
}

fn welcome(c: &mut Choices<'_>) -> Welcome {
    Welcome {
        protocol: c.number() as u16,
        server_ms: whole(c),
        snapshot: mark(c),
        last: (PushNo(c.number()), hash(c)),
        outcomes: c.several(2, outcome),
        sections: c.maybe(sections),
        authors: authors(c),
    }
}

fn diverged(c: &mut Choices<'_>) -> Diverged {
    let offer = c.pick(&[Offer::Yes, Offer::Ask, Offer::No]);
    Diverged { common: mark(c), snapshot: mark(c), outcomes: c.several(2, outcome), authors: authors(c), offer }
}

fn delta(c: &mut Choices<'_>) -> Delta {
    let cursor = if c.chance(50) { CursorName::Fill(section(c)) } else { CursorName::Main };
    Delta {
        cursor,
        from: position(c),
        to: position(c),
        complete: c.maybe(seq),
        snapshot: c.maybe(mark),
        rows: rows(c),
        authors: authors(c),
    }
}

fn deed(c: &mut Choices<'_>) -> Deed {
    let rows: BTreeMap<(TableTag, Op), u32> =
        c.several(3, |c| ((key(c).table, op(c)), c.number() as u32)).into_iter().collect();
    Deed {
        seq: seq(c),
        at_ms: whole(c),
        by: text(c),
        device: DeviceId::from_bytes(c.sixteen()),
        device_name: text(c),
        rows: rows.into_iter().map(|((table, op), count)| (table, op, count)).collect(),
    }
}

fn history_entry(c: &mut Choices<'_>) -> HistoryEntry {
    HistoryEntry {
        seq: seq(c),
        at_ms: whole(c),
        edited_at_ms: whole(c),
        by: text(c),
        device: DeviceId::from_bytes(c.sixteen()),
        device_name: text(c),
        op: op(c),
        merged: c.below(2) == 0,
        version: Version(c.number()),
        fields: c.several(3, |c| HistoryField { field: field(c), before: value(c), after: value(c) }),
        lost: c.several(2, |c| (field(c), value(c))),
    }
}

fn close_reason(c: &mut Choices<'_>) -> CloseReason {
    match c.below(7) {
        0 => CloseReason::Version { lowest: c.number() as u16, highest: c.number() as u16 },
        1 => CloseReason::Unauthorized,
        2 => CloseReason::Violation { what: text(c) },
        3 => CloseReason::TryLater { after_ms: c.number() as u32 },
        4 => CloseReason::Late,
        5 => CloseReason::Revoked,
        _ => CloseReason::Defect { after_ms: c.number() as u32 },
    }
}
