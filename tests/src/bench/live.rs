//! Open sessions of one device: W4 on an open session, and W5, idle.

use super::figures::{Figures, number};
use super::machine::{let_time_pass, now};
use super::stage::{Device, Stage, traffic};
use anyhow::{Result, bail};
use std::ops::ControlFlow;
use std::time::Duration;
use tombolo_client::{Client, Connection, Mode, SyncOptions};

/// Between two pings: half of the product's own interval behind one, so that the count of pings in a time is exact.
const BETWEEN_PINGS: Duration = Duration::from_millis(12_500);
/// Bytes that are under way on the loopback have arrived after this.
const SETTLED: Duration = Duration::from_millis(300);

fn online(device: &Device) -> Result<Client> {
    let client = Client::open(&device.store.join("store.redb"))?;
    client.connect(Mode::Manual)?;
    sync(&client)?;
    if client.connection() != Connection::Online {
        bail!("a device that has synced is not online but {:?}", client.connection());
    }
    let_time_pass(SETTLED);
    Ok(client)
}

fn sync(client: &Client) -> Result<()> {
    client.sync(SyncOptions { only: None, timeout: None }, |_| ControlFlow::Continue(()))?;
    Ok(())
}

/// W4 on an open session: a person presses Sync and there is nothing to do.
///
/// # Errors
/// When the store, the link or the sync fails, or a row differs.
pub fn open_session(stage: &Stage, device: &Device) -> Result<Figures> {
    let client = online(device)?;
    let before = device.proxy.counters();
    let began = now();
    sync(&client)?;
    let wall_ms = began.elapsed().as_secs_f64() * 1000.0;
    let_time_pass(SETTLED);
    let after = device.proxy.counters();
    client.close();
    stage.compare(device)?;
    Ok(traffic(Figures::of("W4O", stage.rows.len()), &before, &after).with("wall_ms", number(wall_ms)))
}

/// W5: live and idle for so many seconds, which begin and end between two pings; scaled to an hour.
///
/// # Errors
/// When the store or the link fails, or a row differs.
pub fn idle(stage: &Stage, device: &Device, seconds: u64) -> Result<Figures> {
    let client = online(device)?;
    let quiet = device.proxy.counters();
    device.proxy.wait_for_blocking(|counters| counters.up.delivered > quiet.up.delivered)?;
    let_time_pass(BETWEEN_PINGS);
    let before = device.proxy.counters();
    let_time_pass(Duration::from_secs(seconds));
    let after = device.proxy.counters();
    if client.connection() != Connection::Online {
        bail!("an idle device is not online any more but {:?}", client.connection());
    }
    client.close();
    stage.compare(device)?;
    let figures = traffic(Figures::of("W5", stage.rows.len()), &before, &after);
    let bytes = figures.number("up") + figures.number("down");
    Ok(figures.with("seconds", seconds).with("bytes_an_hour", number(bytes * 3600.0 / seconds as f64)))
}
