//! What a save, a sync with nothing to do, a pull and a first sync cost as the rows become more.

use super::figures::Figures;
use super::local::saves;
use super::stage::Stage;
use super::sync::{first_sync, nothing_to_do, pull};
use anyhow::Result;

/// One object for each number of rows: 10,000, 100,000, and `rows` if that is more.
///
/// # Errors
/// Those of the works.
pub fn growth(rows: usize) -> Result<Vec<Figures>> {
    let sizes = [10_000, 100_000].into_iter().chain((rows > 100_000).then_some(rows));
    sizes.map(at).collect()
}

fn at(rows: usize) -> Result<Figures> {
    let stage = Stage::new(rows)?;
    let (device, first) = first_sync(&stage)?;
    let nothing = nothing_to_do(&stage, &device)?;
    let saved = saves(&stage, &device)?;
    let pulled = pull(&stage, &stage.synced_device()?, &device, 0)?;
    stage.stop()?;
    let sync = ["up", "down", "wall_ms", "client_cpu_ms", "server_cpu_ms"];
    Ok(Figures::of("GROWTH", rows)
        .with_all("first_", &first, &["client_rss_mb", "server_rss_mb", "store_bytes", "store_disk_bytes"])
        .with_all("noop_", &nothing, &sync)
        .with_all("pull_", &pulled, &sync)
        .with_all("", &saved, &["save_us_p50", "over_fdatasync"]))
}
