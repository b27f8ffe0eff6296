//! W7: durable local saves, beside the raw fdatasync of the same disk in the same seconds.

use super::figures::{Figures, number};
use super::machine::{now, percentile};
use super::stage::{Device, Stage};
use crate::workload::{Edit, EditField, gen_edits};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::fs::{File, copy, create_dir_all};
use std::io::Write as _;
use std::time::Duration;
use tombolo_client::protocol::ids::{FieldTag, RowId, RowKey, TableTag};
use tombolo_client::protocol::outbox::Write;
use tombolo_client::protocol::value::Value;
use tombolo_client::{Client, LocalWrite};

const PATIENTS: TableTag = TableTag(2);
/// What a plain append of a small record would write.
const RECORD_BYTES: usize = 300;
const SAVES: usize = 1000;

/// 1,000 saves of one field each, one by one; and in one transaction. On a copy of the device's store.
///
/// # Errors
/// When the store fails, or an edit is not in it when it is opened again.
pub fn saves(stage: &Stage, device: &Device) -> Result<Figures> {
    let folder = stage.folder.path().join("saves");
    create_dir_all(&folder)?;
    let file = folder.join("store.redb");
    copy(device.store.join("store.redb"), &file)?;
    let client = Client::open(&file)?;
    let count = SAVES.min(stage.rows.len());
    let one_by_one = gen_edits(&stage.rows, count, 2);
    let (mut saved, mut raw) = (Vec::new(), Vec::new());
    let mut plain = File::create(folder.join("plain"))?;
    for edit in &one_by_one {
        // In turns, so that both meet the same disk.
        raw.push(fdatasync(&mut plain)?);
        let began = now();
        client.transaction(vec![local_write(stage, edit)?], false)?;
        saved.push(began.elapsed());
    }
    let together = gen_edits(&stage.rows, count, 102);
    let writes = together.iter().map(|edit| local_write(stage, edit)).collect::<Result<Vec<_>>>()?;
    let began = now();
    client.transaction(writes, false)?;
    let transaction = began.elapsed();
    client.close();
    check(stage, &file, &one_by_one, &together)?;
    saved.sort();
    raw.sort();
    let us = |time: Duration| time.as_micros() as u64;
    let ratio = percentile(&saved, 50).as_secs_f64() / percentile(&raw, 50).as_secs_f64();
    Ok(Figures::of("W7", stage.rows.len())
        .with("save_us_p50", us(percentile(&saved, 50)))
        .with("save_us_p99", us(percentile(&saved, 99)))
        .with("fdatasync_us_p50", us(percentile(&raw, 50)))
        .with("over_fdatasync", number(ratio))
        .with("transaction_ms", number(transaction.as_secs_f64() * 1000.0)))
}

fn fdatasync(file: &mut File) -> Result<Duration> {
    let began = now();
    file.write_all(&[b'x'; RECORD_BYTES])?;
    file.sync_data()?;
    Ok(began.elapsed())
}

fn local_write(stage: &Stage, edit: &Edit) -> Result<LocalWrite> {
    let (field, value) = field(edit)?;
    Ok(LocalWrite { key: key(stage, edit), write: Write::Update(BTreeMap::from([(field, value)])), seen: None })
}

fn key(stage: &Stage, edit: &Edit) -> RowKey {
    RowKey { table: PATIENTS, id: RowId(stage.rows[edit.row].id) }
}

fn field(edit: &Edit) -> Result<(FieldTag, Value)> {
    Ok(match edit.field {
        EditField::Phone => (FieldTag(2), Value::text(&edit.value)),
        EditField::Village => (FieldTag(3), Value::text(&edit.value)),
        EditField::Notes => (FieldTag(6), Value::text(&edit.value)),
        EditField::WeightKg => (FieldTag(7), Value::float(edit.value.parse()?)?),
    })
}

/// Every edit is there after opening the store again; the later ones where both set the same field.
fn check(stage: &Stage, file: &std::path::Path, first: &[Edit], second: &[Edit]) -> Result<()> {
    let client = Client::open(file)?;
    let mut wanted = BTreeMap::new();
    for edit in first.iter().chain(second) {
        let (field, value) = field(edit)?;
        wanted.insert((key(stage, edit), field), value);
    }
    for ((key, field), value) in wanted {
        let row = client.get(key)?;
        ensure!(row.is_some_and(|row| *row.value(field) == value), "a saved edit is not in the store");
    }
    client.close();
    Ok(())
}
