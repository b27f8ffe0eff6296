//! The simulation as ordinary tests: some seeds, every plan that was ever saved, and that a plan says everything. The program
//! `sim` plays as many seeds as there is time for.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use tombolo_tests::sim::plan::Plan;
use tombolo_tests::sim::run::play;
use tombolo_tests::sim::shrink::shrink;

/// Seeds that are played here, in a build that is not optimised.
const SEEDS: u64 = 24;

#[test]
fn everything_goes_wrong_and_nothing_is_lost() -> Result<()> {
    for seed in 0..SEEDS {
        let run = play(&Plan::of(seed), false);
        ensure!(run.failure.is_none(), "seed {seed}: {:?}", run.failure);
        ensure!(run.counts.sessions > 0, "seed {seed}: nobody ever connected");
    }
    Ok(())
}

#[test]
fn the_same_plan_gives_the_same_trace() -> Result<()> {
    for seed in SEEDS..SEEDS + 4 {
        let (first, second) = (play(&Plan::of(seed), true), play(&Plan::of(seed), true));
        ensure!(first.lines == second.lines && first.trace == second.trace, "seed {seed} went two ways");
    }
    Ok(())
}

/// What a seed found once is played for ever.
#[test]
fn plans_that_failed_once_hold() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut played = 0;
    for file in std::fs::read_dir(&folder)? {
        let path = file?.path();
        let text = std::fs::read_to_string(&path)?;
        let plan: Plan = serde_json::from_str(&text).with_context(|| format!("{} is no plan", path.display()))?;
        let run = play(&plan, false);
        ensure!(run.failure.is_none(), "{}: {:?}", path.display(), run.failure);
        played += 1;
    }
    ensure!(played > 0, "there are no plans in {}", folder.display());
    Ok(())
}

/// On disks whose syncs lie a power cut loses what was accepted: found, and cut down to a plan that still shows it.
#[test]
fn a_lying_disk_is_found_out_and_its_plan_is_cut_down() -> Result<()> {
    for seed in 0..40 {
        let mut plan = Plan::of(seed);
        plan.knobs.lying_disks = true;
        plan.steps.truncate(80);
        let Some(failure) = play(&plan, false).failure else { continue };
        let small = shrink(&plan, &failure.oracle);
        ensure!(small.steps.len() < plan.steps.len(), "nothing was cut from seed {seed}");
        let again = play(&small, false).failure.context("what was cut down does not fail any more")?;
        ensure!(again.oracle == failure.oracle, "cut down, seed {seed} fails by {}", again.oracle);
        return Ok(());
    }
    anyhow::bail!("no lying disk was found out")
}
