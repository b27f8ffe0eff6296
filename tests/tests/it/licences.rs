//! The About dialog names what others wrote.

use anyhow::{Result, ensure};
use tombolo_tests::licences::{TARGETS, file, named, parts};

#[test]
fn every_crate_in_the_desktop_application_is_named_with_its_licence() -> Result<()> {
    let page = file()?;
    // The other systems' crates need not be on this machine.
    let parts = parts(TARGETS[0])?;
    ensure!(parts.len() > 100, "cargo tree names only {}", parts.len());
    let missing: Vec<String> = parts.iter().map(named).filter(|name| !page.contains(&format!("■ {name} · "))).collect();
    ensure!(
        missing.is_empty(),
        "ui/licences.txt is older than Cargo.lock; call `cargo run -p tombolo-tests --bin licences`. It lacks {missing:?}"
    );
    Ok(())
}
