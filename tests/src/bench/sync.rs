//! W1 to W4: a first sync, whole and over a link that is cut; a push; a pull; and nothing to do.

use super::figures::Figures;
use super::stage::{Device, Stage};
use crate::proxy::Direction;
use crate::workload::gen_edits;
use anyhow::{Result, ensure};
use tombolo_client::protocol::limits::CHUNK_BYTES_MAX;

/// Times that the link is cut in W1C.
const CUTS: u64 = 5;
/// Edits that are pushed in W2, and pulled in W3.
const PUSHED: usize = 1000;
const PULLED: usize = 100;

/// W1: a fresh device gets everything. Returns it.
///
/// # Errors
/// When a program fails, or a row differs.
pub fn first_sync(stage: &Stage) -> Result<(Device, Figures)> {
    let device = stage.device()?;
    let figures = stage.sync("W1", &device)?;
    stage.compare(&device)?;
    Ok((device, figures))
}

/// W1C: the first sync over a link that is cut again and again. Each cut costs at most the chunk that was under way, and what was
/// received whole before is not sent again.
///
/// # Errors
/// When a program fails, a row differs, or more was sent again.
pub fn cut_first_sync(stage: &Stage, whole_down: u64) -> Result<Figures> {
    let device = stage.device()?;
    let before = device.proxy.counters();
    let figures = stage.sync_while("W1C", &device, || {
        for cut in 1..=CUTS {
            device.proxy.cut_after(Direction::Down, whole_down / (CUTS + 1));
            device.proxy.wait_for_blocking(|counters| counters.connections > before.connections + cut)?;
        }
        Ok(())
    })?;
    stage.compare(&device)?;
    let repeated = (figures.number("down") as u64).saturating_sub(whole_down);
    ensure!(
        repeated <= CUTS * CHUNK_BYTES_MAX as u64,
        "{CUTS} cuts repeated {repeated} B, more than the largest chunk for each"
    );
    ensure!(figures.number("connections") as u64 == CUTS + 1, "other connections than those of {CUTS} cuts");
    Ok(figures)
}

/// W2: 1,000 offline edits are pushed, the `run`-th time.
///
/// # Errors
/// When a program fails, or an edit is not at the server.
pub fn push(stage: &Stage, device: &Device, run: u32) -> Result<Figures> {
    let edits = gen_edits(&stage.rows, PUSHED.min(stage.rows.len()), 2 + 100 * run);
    stage.edit(device, &edits)?;
    let figures = stage.sync("W2", device)?;
    stage.check_edits(&edits)?;
    Ok(figures)
}

/// W3: 100 edits of another device are pulled, the `run`-th time.
///
/// # Errors
/// When a program fails, or a row differs.
pub fn pull(stage: &Stage, editor: &Device, device: &Device, run: u32) -> Result<Figures> {
    let edits = gen_edits(&stage.rows, PULLED.min(stage.rows.len()), 3 + 100 * run);
    stage.sync("set-up", device)?;
    // Else it would edit what it has not seen, and be asked.
    stage.sync("set-up", editor)?;
    stage.edit(editor, &edits)?;
    stage.sync("set-up", editor)?;
    let figures = stage.sync("W3", device)?;
    stage.check_edits(&edits)?;
    stage.compare(device)?;
    Ok(figures)
}

/// W4: nothing to do.
///
/// # Errors
/// When a program fails, or a row differs.
pub fn nothing_to_do(stage: &Stage, device: &Device) -> Result<Figures> {
    let figures = stage.sync("W4", device)?;
    stage.compare(device)?;
    Ok(figures)
}
