//! Cuts a failing plan down to few steps: what is left fails by the same oracle.

use super::plan::Plan;
use super::run::play;

/// Plays that one shrinking may take.
const PLAYS_MAX: usize = 1_500;

/// The smallest plan that was found which still fails by `oracle`.
pub fn shrink(plan: &Plan, oracle: &str) -> Plan {
    let mut plays = 0;
    let mut fails = |plan: &Plan| {
        plays += 1;
        (play(plan, false).failure.is_some_and(|failure| failure.oracle == oracle), plays >= PLAYS_MAX)
    };
    let mut best = plan.clone();
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        let mut shrunk = false;
        while from < best.steps.len() {
            let mut smaller = best.clone();
            smaller.steps.drain(from..best.steps.len().min(from + size));
            let (still_fails, tired) = fails(&smaller);
            if still_fails {
                best = smaller;
                shrunk = true;
            } else {
                from += size;
            }
            if tired {
                return best;
            }
        }
        if !shrunk || size > 1 {
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
    best
}
