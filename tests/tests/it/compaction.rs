//! A log that is compacted while devices are away, on real programs.

use crate::stage::{Stage, says, text};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tombolo_tests::process::tombolo_server;

fn compact(stage: &Stage, days: &str) -> Result<Value> {
    let data = stage.data();
    let output = stage.server(&["compact", "--keep-days", days, "--data", text(&data), "--json"])?;
    output.json_lines()?.pop().context("nothing was said")
}

fn number(report: &Value, name: &str) -> Result<u64> {
    report[name].as_u64().with_context(|| format!("no {name} in {report}"))
}

#[test]
fn a_log_is_compacted_under_a_running_server_and_nobody_who_was_away_misses_anything() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(300)?;
    let server = stage.serve()?;
    let (a, far, late) =
        (stage.device("a", server.url())?, stage.device("far", server.url())?, stage.device("late", server.url())?);
    a.sync(0)?;
    far.sync(0)?;
    let rows = a.ids("patients")?;
    // One device is far behind, with edits that meet newer ones; another has received nothing yet.
    far.ok(&["update", "patients", &rows[0], "village=Lamu"])?;
    far.ok(&["update", "patients", &rows[1], "phone=222"])?;
    far.ok(&["update", "patients", &rows[2], "phone=333"])?;
    for round in 0..4 {
        for row in &rows[..3] {
            a.ok(&["update", "patients", row, &format!("phone=1{round}")])?;
        }
        a.sync(0)?;
    }
    a.ok(&["delete", "patients", &rows[2]])?;
    a.sync(0)?;
    // Nothing is as old as that.
    assert_eq!(compact(&stage, "90")?, json!({"dropped": 0}));
    let report = compact(&stage, "0")?;
    let (commit, horizon) = (number(&report, "commit")?, number(&report, "horizon")?);
    ensure!(commit == horizon + 1 && number(&report, "dropped")? > 0 && number(&report, "kept")? > 0, "{report}");
    stage.verify()?;

    let report = far.sync(3)?;
    assert_eq!((&report["pushed"], &report["conflicts"]), (&json!(1), &json!(2)));
    assert_eq!(far.field("patients", &rows[0], "phone")?, json!("13"));
    far.ok(&["resolve", "patients", &rows[1], "--mine"])?;
    far.ok(&["resolve", "patients", &rows[2], "--server"])?;
    far.sync(0)?;
    // All patients but the deleted one, and the site.
    assert_eq!(late.sync(0)?["pulled"], json!(rows.len()));
    a.sync(0)?;
    late.sync(0)?;
    for table in ["sites", "patients"] {
        ensure!(a.export(table)? == far.export(table)? && a.export(table)? == late.export(table)?, "{table} differs");
    }

    // The history of a row begins at the compaction, and says so.
    let output = a.ok(&["history", "patients", &rows[0], "--json"])?;
    let history = output.json_lines()?;
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!((&history[0]["change"], &history[0]["fields"]["village"]["after"]), (&json!("update"), &json!("Lamu")));
    says(&output, &["older changes are left out"])?;
    let output = a.ok(&["history", "patients", &rows[5]])?;
    says(&output, &["has put its history of this row away"])?;

    // Again, and then without a server, which makes the file smaller.
    ensure!(number(&compact(&stage, "0")?, "horizon")? > horizon);
    assert_eq!(compact(&stage, "0")?, json!({"dropped": 0}));
    stage.verify()?;
    a.ok(&["update", "patients", &rows[1], "phone=after"])?;
    a.sync(0)?;
    let addr = server.addr();
    server.stop()?;
    let report = compact(&stage, "0")?;
    ensure!(number(&report, "bytes_after")? < number(&report, "bytes_before")?, "{report}");
    stage.verify()?;
    let _server = stage.serve_at(addr)?;
    far.sync(0)?;
    assert_eq!(far.field("patients", &rows[1], "phone")?, json!("after"));
    ensure!(a.export("patients")? == far.export("patients")?);
    Ok(())
}

#[test]
fn a_compaction_says_in_words_what_it_did() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(5)?;
    let data = stage.data();
    let output = stage.server(&["compact", "--data", text(&data)])?;
    says(&output, &["older than 90 days", "nothing was changed"])?;
    let output = stage.server(&["compact", "--keep-days", "0", "--data", text(&data)])?;
    says(&output, &["The log was compacted up to commit", "were put away", "The data file had"])?;
    says(&stage.server(&["verify", "--data", text(&data)])?, &["(compacted up to commit", "hold"])?;
    let nowhere = stage.path("nowhere");
    says(&tombolo_server(&["compact", "--data", text(&nowhere)], "")?.exited_with(1)?, &["no workspace", "nothing was done"])
}
