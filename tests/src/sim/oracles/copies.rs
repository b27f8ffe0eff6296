//! Stores that were copied or put back are noticed: none is greeted while the log has pushes of its device id that it does not
//! know, or while its pushes are those of another id, and when all is quiet no two stores go by one id. No other store is taken
//! for one.

use super::{Broken, Oracles};
use crate::sim::net::LinkId;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tombolo_client::protocol::ids::{DeviceId, Hash16, PushNo};
use tombolo_client::protocol::message::{Hello, Welcome};

/// The pushes that a Hello named, with their hashes.
pub(super) type Named = BTreeMap<PushNo, Hash16>;

/// What a device says of its pushes.
pub(super) fn named(hello: &Hello) -> Named {
    hello.frozen.iter().copied().chain([hello.applied]).collect()
}

/// A store is greeted.
pub(super) fn greeted(oracles: &Oracles, link: LinkId, device: DeviceId, welcome: &Welcome) -> Result<()> {
    let Some(told) = oracles.told.get(&link) else { return Ok(()) };
    ensure!(
        told.device == device,
        Broken::new("copies", format!("{device:?} is greeted, and its pushes are those of {:?}: {welcome:?}", told.device))
    );
    let highest = told.pushes.keys().next_back().copied().unwrap_or_default();
    let next = oracles.log.model.next_push(device);
    ensure!(
        next <= highest.next(),
        Broken::new(
            "copies",
            format!("{device:?} is greeted, names pushes up to {highest}, and the log awaits {next}: {welcome:?}")
        )
    );
    for (number, hash) in &told.pushes {
        let recorded = oracles.log.push_hash(device, *number);
        ensure!(
            recorded.is_none_or(|recorded| recorded == *hash),
            Broken::new(
                "copies",
                format!("{device:?} is greeted, and its push {number} is another one in the log: {welcome:?}")
            )
        );
    }
    Ok(())
}

/// The record showed a copy, and the store takes a new life: what it had in flight goes again, so that this is right only where
/// its past is not its own.
pub(super) fn is_one(oracles: &Oracles, store: usize) -> Result<()> {
    let is_one = oracles.ledger.earlier_lives.contains(&store);
    ensure!(is_one, Broken::new("copies", format!("store {store} is taken for a copy, and is none")));
    Ok(())
}

/// Everything is quiet, and these stores are there.
pub(super) fn apart(stores: impl Iterator<Item = (usize, DeviceId)>) -> Result<()> {
    let mut ids = BTreeMap::new();
    for (store, id) in stores {
        if let Some(other) = ids.insert(id, store) {
            return Err(Broken::new("copies", format!("stores {other} and {store} both go by {id:?}")));
        }
    }
    Ok(())
}
