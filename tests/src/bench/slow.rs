//! W6: the works over a satellite or modem link.

use super::figures::Figures;
use super::stage::{Device, Stage};
use super::sync::{nothing_to_do, pull, push};
use crate::proxy::Shape;
use anyhow::Result;

const ROUND_TRIP_MS: u64 = 600;
const BITS_PER_S: [u32; 2] = [9_600, 64_000];

/// W4, W3 and W2 at each rate; the device's set-up is not slowed.
///
/// # Errors
/// Those of the works.
pub fn slow_link(stage: &Stage, editor: &Device) -> Result<Vec<Figures>> {
    let device = stage.device_on_slow_link()?;
    stage.sync("set-up", &device)?;
    let mut all = Vec::new();
    for bits_per_s in BITS_PER_S {
        let mut add = |figures: Figures, of: &str| {
            let names = ["up", "down", "turns", "connections", "wall_ms", "client_cpu_ms", "server_cpu_ms"];
            let whole = Figures::of("W6", stage.rows.len()).with("of", of).with("bits_per_s", bits_per_s);
            all.push(whole.with("rtt_ms", ROUND_TRIP_MS).with_all("", &figures, &names));
        };
        let slow = || device.proxy.shape(Some(Shape::symmetric(ROUND_TRIP_MS, bits_per_s)));
        slow();
        add(nothing_to_do(stage, &device)?, "W4");
        add(pull(stage, editor, &device, bits_per_s)?, "W3");
        add(push(stage, &device, bits_per_s)?, "W2");
        device.proxy.shape(None);
    }
    Ok(all)
}
