//! Laws: what holds for every case, tried on as many random ones as are asked for.
//!
//! The ordinary tests try a few cases of each law, the program `laws` as many as one likes. A case is a string of bytes
//! ([`Choices`]); proptest draws and shrinks it.

mod choices;
mod codec;
mod diff;
mod ground;
mod life;
mod merge;
mod messages;
mod overlay;
mod rebase;
mod squash;

pub use choices::Choices;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Tries of making a counterexample smaller.
const SHRINKS_MAX: u32 = 20_000;

/// A law.
pub struct Law {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Bytes of choices that a case takes at most.
    choices: usize,
    /// Tries a case.
    check: fn(&mut Choices<'_>) -> anyhow::Result<()>,
}

/// A case in which a law does not hold, as small as it could be made.
#[derive(Debug)]
pub struct Counterexample {
    /// What is wrong with it.
    pub what: String,
    /// Its choices.
    pub choices: Vec<u8>,
}

const fn law(name: &'static str, choices: usize, check: fn(&mut Choices<'_>) -> anyhow::Result<()>) -> Law {
    Law { name, choices, check }
}

/// All laws.
pub fn all() -> Vec<Law> {
    [squash::LAWS, overlay::LAWS, rebase::LAWS, merge::LAWS, diff::LAWS, life::LAWS, codec::LAWS]
        .into_iter()
        .flatten()
        .map(|law| Law { ..*law })
        .collect()
}

impl Law {
    /// Tries so many cases; the same seed gives the same ones.
    ///
    /// # Errors
    /// The counterexample, if there is one.
    pub fn run(&self, cases: u32, seed: u64) -> Result<(), Counterexample> {
        // A seed of zeros is none for this generator.
        let state = (u128::from(seed) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let rng = TestRng::from_seed(RngAlgorithm::XorShift, &state.to_le_bytes());
        let config = Config { cases, failure_persistence: None, max_shrink_iters: SHRINKS_MAX, ..Config::default() };
        let cases = vec(any::<u8>(), self.choices / 2..=self.choices);
        let tried = TestRunner::new_with_rng(config, rng).run(&cases, |bytes| {
            (self.check)(&mut Choices::new(&bytes)).map_err(|error| TestCaseError::fail(format!("{error:#}")))
        });
        tried.map_err(|error| match error {
            TestError::Fail(what, choices) => Counterexample { what: what.to_string(), choices },
            TestError::Abort(what) => Counterexample { what: what.to_string(), choices: Vec::new() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_that_does_not_hold_is_told_with_a_small_case() {
        let wrong = law("no sum is above 300", 8, |c| {
            let (a, b) = (c.below(256), c.below(256));
            anyhow::ensure!(a + b <= 300, "{a} + {b}");
            Ok(())
        });
        let found = wrong.run(10_000, 1).unwrap_err();
        assert!(found.choices[..2].iter().map(|byte| u32::from(*byte)).sum::<u32>() == 301, "{found:?}");
        assert!(found.what.contains(" + "), "{found:?}");
    }

    #[test]
    fn names_are_of_one_law_each() {
        let names: std::collections::BTreeSet<_> = all().iter().map(|law| law.name).collect();
        assert_eq!(names.len(), all().len());
    }
}
