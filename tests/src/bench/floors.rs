//! What the same rows take without any protocol: as CSV, compressed whole by common means.

use super::figures::Figures;
use super::machine::now;
use crate::workload::{gen_edits, gen_rows, write_csv, write_edits_csv};
use anyhow::{Result, ensure};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// The rows, and the edits of W2 and W3 on them.
///
/// # Errors
/// When the program `gzip` is not there or fails.
pub fn floors(count: usize) -> Result<Vec<Figures>> {
    let rows = gen_rows(count);
    let mut csv = Vec::new();
    write_csv(&rows, &mut csv)?;
    let mut all = vec![floor("rows", count, &csv)?];
    for (of, edits, seed) in [("edits of W2", 1000, 2), ("edits of W3", 100, 3)] {
        let mut csv = Vec::new();
        write_edits_csv(&rows, &gen_edits(&rows, edits.min(count), seed), &mut csv)?;
        all.push(floor(of, count, &csv)?);
    }
    Ok(all)
}

fn floor(of: &str, rows: usize, csv: &[u8]) -> Result<Figures> {
    let began = now();
    let zstd_3 = zstd(csv, 3)?;
    let zstd_3_ms = began.elapsed().as_millis() as u64;
    Ok(Figures::of("FLOOR", rows)
        .with("of", of)
        .with("csv", csv.len())
        .with("gzip", gzip(csv)?)
        .with("zstd_3", zstd_3)
        .with("zstd_3_ms", zstd_3_ms)
        .with("zstd_19", zstd(csv, 19)?))
}

fn zstd(bytes: &[u8], level: i32) -> Result<usize> {
    let small = zstd::bulk::compress(bytes, level)?;
    ensure!(zstd::bulk::decompress(&small, bytes.len())? == bytes, "zstd returned other bytes");
    Ok(small.len())
}

fn gzip(bytes: &[u8]) -> Result<usize> {
    let mut child = Command::new("gzip").args(["-6", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut input, content) = (child.stdin.take().expect("it is piped"), bytes.to_vec());
    let writer = std::thread::spawn(move || input.write_all(&content));
    let mut small = Vec::new();
    child.stdout.take().expect("it is piped").read_to_end(&mut small)?;
    writer.join().expect("writing does not panic")?;
    ensure!(child.wait()?.success(), "gzip failed");
    Ok(small.len())
}
