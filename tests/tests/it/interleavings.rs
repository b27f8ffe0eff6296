//! The short interleavings of two devices; the program `laws` plays longer ones.

use anyhow::Result;
use tombolo_tests::interleavings::{KINDS, play_all};

/// Steps of the longest sequences.
const DEPTH: usize = 2;

#[test]
fn two_devices_agree_after_every_short_sequence_of_steps() -> Result<()> {
    for kind in KINDS {
        let played = play_all(kind, DEPTH)?;
        assert!(played.failing == 0, "{:?}", played.failures);
        assert!(played.sequences > 20, "of {kind:?} only {} were played", played.sequences);
    }
    Ok(())
}
