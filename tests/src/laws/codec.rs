//! Messages, batches, values and records as bytes and back.

use super::ground::{Story, a_write, plain, row as row_of_story};
use super::messages::{self, DOWNS, UPS, change, changes, down, hello, text, up, value, verdicts};
use super::{Choices, Law, law};
use anyhow::{Context, Result, ensure};
use std::fmt::Debug;
use tombolo_client::protocol::batch::{ChangeBatch, RowBatch, WireChange};
use tombolo_client::protocol::change::{FieldChange, VerdictRuns};
use tombolo_client::protocol::codec::{self, Decode, Encode};
use tombolo_client::protocol::frame::{decode_down, decode_up, encode_down, encode_up, hello_from_header, hello_to_header};
use tombolo_client::protocol::ids::{FieldTag, Seq};
use tombolo_client::protocol::outbox::Entry;
use tombolo_client::protocol::value::Value;

pub(super) const LAWS: &[Law] = &[
    law("codec: every message of a client comes back, and is written the same again", 300, ups_come_back),
    law("codec: every message of a server comes back, and is written the same again", 300, downs_come_back),
    law("codec: Hello comes back from the header that it travels in", 200, hello_comes_back),
    law("codec: batches of rows and of changes come back in their order", 300, batches_come_back),
    law("codec: verdicts become runs and come back", 80, verdicts_come_back),
    law("codec: entries come back from the store", 64, entries_come_back),
    law("codec: values are the same exactly when their canonical bytes are", 48, canonical_values),
    law("codec: a value that is not canonical is refused", 48, not_canonical_is_refused),
    law("codec: a damaged frame is refused, or read as something that comes back", 300, damaged_frames),
];

fn ups_come_back(c: &mut Choices<'_>) -> Result<()> {
    let number = c.below(UPS);
    let message = up(c, number);
    let frame = encode_up(&message);
    let read = decode_up(&frame).with_context(|| format!("{message:?} is not read"))?;
    ensure!(read == message, "{message:?} reads as {read:?}");
    ensure!(encode_up(&read) == frame, "{message:?} is written in two ways");
    ensure!(usize::from(codec::encode(&message)[0]) == number, "{message:?} has another number");
    Ok(())
}

fn downs_come_back(c: &mut Choices<'_>) -> Result<()> {
    let number = c.below(DOWNS);
    let message = down(c, number);
    let frame = encode_down(&message);
    let read = decode_down(&frame).with_context(|| format!("{message:?} is not read"))?;
    ensure!(read == message, "{message:?} reads as {read:?}");
    ensure!(encode_down(&read) == frame, "{message:?} is written in two ways");
    ensure!(usize::from(codec::encode(&message)[0]) == number, "{message:?} has another number");
    Ok(())
}

fn hello_comes_back(c: &mut Choices<'_>) -> Result<()> {
    let hello = hello(c);
    let header = hello_to_header(&hello).with_context(|| format!("too long: {hello:?}"))?;
    let read = hello_from_header(&header).with_context(|| format!("{hello:?} is not read"))?;
    ensure!(read == hello, "{hello:?} reads as {read:?}");
    Ok(())
}

fn comes_back<T: Encode + Decode<()> + PartialEq + Debug>(value: &T) -> Result<()> {
    let bytes = codec::encode(value);
    let read = codec::decode::<T>(&bytes).with_context(|| format!("{value:?} is not read"))?;
    ensure!(&read == value, "{value:?} reads as {read:?}");
    ensure!(codec::decode::<T>(&[&bytes[..], &[0]].concat()).is_err(), "what follows behind {value:?} is not refused");
    Ok(())
}

fn batches_come_back(c: &mut Choices<'_>) -> Result<()> {
    comes_back(&RowBatch(c.several(6, messages::row)))?;
    comes_back(&changes(c))
}

fn verdicts_come_back(c: &mut Choices<'_>) -> Result<()> {
    let verdicts = verdicts(c);
    let runs = VerdictRuns::of(verdicts.clone());
    comes_back(&runs)?;
    ensure!(runs.len() == verdicts.len() && runs.iter().eq(&verdicts), "{verdicts:?} became {runs:?}");
    ensure!(runs.0.is_sorted_by(|one, next| one.0 != next.0), "two runs of the same: {runs:?}");
    Ok(())
}

fn entries_come_back(c: &mut Choices<'_>) -> Result<()> {
    let mut story = Story::new(plain(), Some(row_of_story(c, 5)));
    for _ in 0..=c.below(4) {
        let _not_possible_now = story.write(a_write(c));
    }
    story.entry.kept = c.maybe(|c| row_of_story(c, 5));
    let read: Entry = codec::store::decode(&codec::store::encode(&story.entry))?;
    ensure!(read == story.entry, "{:?} reads as {read:?}", story.entry);
    Ok(())
}

fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.canonical(&mut bytes);
    bytes
}

fn canonical_values(c: &mut Choices<'_>) -> Result<()> {
    let (one, other) = (value(c), value(c));
    for value in [&one, &other] {
        ensure!(value.is_canonical(), "made as {value:?}");
        ensure!(canonical(value).len() == value.canonical_len(), "{value:?} has another length than it says");
        comes_back(value)?;
    }
    ensure!((one == other) == (canonical(&one) == canonical(&other)), "{one:?} and {other:?}");
    let text = text(c);
    let again = Value::text(&text);
    ensure!(Value::text(&text) == again && matches!(&again, Value::Text(nfc) if Value::text(nfc) == again), "{text:?}");
    Ok(())
}

fn not_canonical_is_refused(c: &mut Choices<'_>) -> Result<()> {
    let raw = if c.chance(30) { Value::Float(c.pick(&[-0.0, f64::NAN, f64::INFINITY])) } else { Value::Text(text(c)) };
    let mut batch = changes(c);
    let fields = vec![FieldChange { field: FieldTag(1), value: raw.clone(), base: Seq(0) }];
    batch.0.push(WireChange { fields, lost: Vec::new(), ..change(c) });
    let is_taken = codec::decode::<ChangeBatch>(&codec::encode(&batch)).is_ok();
    ensure!(is_taken == raw.is_canonical(), "{raw:?} is taken: {is_taken}");
    Ok(())
}

fn damaged_frames(c: &mut Choices<'_>) -> Result<()> {
    let is_up = c.chance(50);
    let (damages, end) = (1 + c.below(3), c.word());
    let places: Vec<(u64, u8)> = (0..damages).map(|_| (c.word(), c.below(256) as u8)).collect();
    let mut frame = if is_up {
        let number = c.below(UPS);
        encode_up(&up(c, number))
    } else {
        let number = c.below(DOWNS);
        encode_down(&down(c, number))
    };
    for (place, byte) in places {
        let length = frame.len() as u64;
        frame[(place % length) as usize] = byte;
    }
    if end % 4 == 0 {
        frame.truncate((end / 4 % frame.len() as u64) as usize);
    }
    if let Ok(message) = decode_up(&frame) {
        ensure!(decode_up(&encode_up(&message)).as_ref() == Ok(&message), "{frame:?} reads as {message:?}, which does not");
    }
    if let Ok(message) = decode_down(&frame) {
        ensure!(decode_down(&encode_down(&message)).as_ref() == Ok(&message), "{frame:?} reads as {message:?}, which does not");
    }
    Ok(())
}
