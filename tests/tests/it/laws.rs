//! Some cases of each law; the program `laws` tries as many as one likes.

use anyhow::{Result, ensure};
use tombolo_tests::laws;

/// Cases of each law, where the variable `PROPTEST_CASES` says nothing else.
const CASES: u32 = 1_000;

#[test]
fn every_law_holds_in_some_cases() -> Result<()> {
    let cases = std::env::var("PROPTEST_CASES").map_or(Ok(CASES), |cases| cases.parse())?;
    for law in laws::all() {
        let tried = law.run(cases, 1);
        ensure!(tried.is_ok(), "{}: {tried:?}", law.name);
    }
    Ok(())
}
