//! Samples of the client's messages.

use super::{Sample, hash, id, key, mark, sample, section};
use crate::batch::{ChangeBatch, WireChange};
use crate::change::{FieldChange, LostValue, Op};
use crate::cursor::{Cursor, Cursors, Fill};
use crate::ids::{DeviceId, FieldTag, Position, PushNo, RowNo, Seq, TableTag, WorkspaceId};
use crate::message::{Hello, PushMessage, Up, WantedRow};
use crate::row::RowName;
use crate::value::Value;

pub(super) fn samples() -> Vec<Sample<Up>> {
    vec![
        sample("hello_first", "an empty mirror, right after login", Up::Hello(Box::new(hello_first()))),
        sample("hello_again", "a main cursor, a refetch, two frozen pushes", Up::Hello(Box::new(hello_again()))),
        sample("push_empty", "no change at all", Up::Push(Box::new(push(Vec::new())))),
        sample("push_update", "one field of a row known by number", Up::Push(Box::new(push(vec![update(4711, 61.5)])))),
        sample("push_mixed", "all kinds of change, a group, lost values", Up::Push(Box::new(push(mixed())))),
        sample("void", "give up push 7", Up::Void { number: PushNo(7), hash: hash(7) }),
        sample("ack_delta", "a delta is durable", Up::AckDelta),
        sample("want_row", "one by number, one by id", Up::WantRow { rows: wanted() }),
        sample("want_history", "of one row", Up::WantHistory { key: key(1) }),
        sample("want_caught_up", "", Up::WantCaughtUp),
        sample("common_pairs", "newest first", Up::CommonPairs { pairs: vec![mark(300), mark(90), mark(1)] }),
        sample("new_device", "", Up::NewDevice),
        sample("ping", "nonce 0x01020304", Up::Ping { nonce: 0x0102_0304 }),
        sample("bye", "", Up::Bye),
        sample("want_activity", "", Up::WantActivity),
    ]
}

pub(super) fn wanted() -> Vec<WantedRow> {
    let row = |name| WantedRow { table: TableTag(2), name };
    vec![row(RowName::No(RowNo(300))), row(RowName::Id(id(9), RowNo(0)))]
}

pub(super) fn hello_first() -> Hello {
    Hello {
        protocol: (1, 1),
        workspace: WorkspaceId::from_bytes([0xAA; 16]),
        device: DeviceId::from_bytes([0xDD; 16]),
        process: 0x0123_4567_89AB_CDEF,
        connection: 1,
        schema: Seq(0),
        schema_hash: hash(0),
        cursors: Cursors::default(),
        witness: mark(0),
        applied: (PushNo(0), hash(0)),
        frozen: Vec::new(),
        rate: 0,
    }
}

pub(super) fn hello_again() -> Hello {
    let scanned = Position { seq: Seq(251), ordinal: 40 };
    let fill = Fill { cursor: Cursor { complete: Seq(0), scanned }, head: Some(Seq(260)), done: false, refetch: 3 };
    Hello {
        connection: 12,
        schema: Seq(2),
        schema_hash: hash(2),
        cursors: Cursors {
            main: Cursor { complete: Seq(260), scanned: Position::end_of(Seq(260)) },
            sections: [section(1, None), section(2, Some(1))].into(),
            fills: [(section(3, Some(1)), fill)].into(),
        },
        witness: mark(261),
        applied: (PushNo(5), hash(5)),
        frozen: vec![(PushNo(6), hash(6)), (PushNo(7), hash(7))],
        rate: 1_200,
        ..hello_first()
    }
}

fn push(changes: Vec<WireChange>) -> PushMessage {
    PushMessage { number: PushNo(6), hash: hash(6), schema: Seq(2), changes: ChangeBatch(changes) }
}

fn update(number: u64, weight: f64) -> WireChange {
    WireChange {
        table: TableTag(2),
        name: RowName::No(RowNo(number)),
        op: Op::Update,
        row_base: Seq(0),
        view_base: Seq(260),
        fields: vec![FieldChange { field: FieldTag(8), value: Value::Float(weight), base: Seq(260) }],
        lost: Vec::new(),
        group: None,
        edited_at_ms: 1_760_000_000_000,
    }
}

fn mixed() -> Vec<WireChange> {
    let field = |tag, value| FieldChange { field: FieldTag(tag), value, base: Seq(0) };
    let create = WireChange {
        table: TableTag(3),
        name: RowName::Id(id(20), RowNo(0)),
        op: Op::Create,
        view_base: Seq(0),
        fields: vec![field(1, Value::Uuid(*id(1).bytes())), field(2, Value::Date(20_000)), field(3, Value::text("Grüße"))],
        group: Some(1),
        ..update(0, 1.0)
    };
    let second = WireChange { name: RowName::Id(id(21), RowNo(0)), ..create.clone() };
    let delete = WireChange { op: Op::Delete, row_base: Seq(258), fields: Vec::new(), ..update(12, 1.0) };
    let restore = WireChange { op: Op::Restore, row_base: Seq(200), name: RowName::Id(id(3), RowNo(3)), ..update(3, 70.25) };
    let lost = vec![
        LostValue { field: FieldTag(8), value: Value::Float(60.0) },
        LostValue { field: FieldTag(2), value: Value::text("was typed") },
    ];
    let decide = WireChange { op: Op::Decide, fields: Vec::new(), lost, edited_at_ms: 1_760_000_060_000, ..update(13, 1.0) };
    vec![update(4711, 61.5), update(4712, 118.9), create, second, restore, decide, delete]
}
