//! The main job on real programs: two devices work offline, meet, merge, ask, decide, and end identical.

use crate::stage::{Device, Stage, copy_folder, text};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use tombolo_tests::process::{ServerProcess, spawn_tombolo};
use tombolo_tests::proxy::{Direction, Proxy};

fn equal(a: &Device, b: &Device) -> Result<()> {
    for table in ["sites", "patients", "visits", "medications", "stock"] {
        ensure!(a.export(table)? == b.export(table)?, "{table} differs");
    }
    Ok(())
}

#[test]
fn two_devices_that_worked_offline_agree_again() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(300)?;
    let server = stage.serve()?;
    let (a, b) = (stage.device("a", server.url())?, stage.device("b", server.url())?);
    assert_eq!(a.sync(0)?["pulled"], json!(301));
    b.sync(0)?;
    let rows = a.ids("patients")?;
    assert_eq!(rows.len(), 300);
    // Both edit offline: different fields of one row, the same field of another, an edit against a deletion.
    a.ok(&["update", "patients", &rows[0], "phone=111"])?;
    b.ok(&["update", "patients", &rows[0], "village=Lamu"])?;
    a.ok(&["update", "patients", &rows[1], "phone=111"])?;
    b.ok(&["update", "patients", &rows[1], "phone=222"])?;
    a.ok(&["update", "patients", &rows[2], "phone=111"])?;
    b.ok(&["delete", "patients", &rows[2]])?;
    assert_eq!(b.json("pending")?.len(), 3);
    let report = a.sync(0)?;
    assert_eq!((&report["pushed"], &report["conflicts"]), (&json!(3), &json!(0)));
    let report = b.sync(3)?;
    assert_eq!((&report["pushed"], &report["merged"], &report["conflicts"]), (&json!(1), &json!(1), &json!(2)));
    ensure!(report["bytes_up"].as_u64() > Some(100) && report["bytes_down"].as_u64() > Some(100));
    let conflicts = b.json("conflicts")?;
    let of = |id: &str| conflicts.iter().find(|conflict| conflict["id"] == json!(id)).context("no such conflict");
    let phone = of(&rows[1])?;
    assert_eq!((&phone["kind"], &phone["by"]), (&json!("update_update"), &json!("ada")));
    assert_eq!(phone["fields"]["phone"]["mine"], json!("222"));
    assert_eq!(phone["fields"]["phone"]["server"], json!("111"));
    assert_eq!(phone["fields"]["phone"]["differs"], json!(true));
    assert_eq!(of(&rows[2])?["kind"], json!("delete_update"));
    b.ok(&["resolve", "patients", &rows[1], "--field", "phone=value:333"])?;
    b.ok(&["resolve", "patients", &rows[2], "--server"])?;
    b.sync(0)?;
    a.sync(0)?;
    assert_eq!(a.field("patients", &rows[0], "village")?, json!("Lamu"));
    assert_eq!(a.field("patients", &rows[1], "phone")?, json!("333"));
    assert_eq!(a.field("patients", &rows[2], "phone")?, json!("111"));
    equal(&a, &b)?;
    let history = a.ok(&["history", "patients", &rows[1], "--json"])?.json_lines()?;
    ensure!(history.len() >= 3 && history[0]["device_name"] == json!("b"), "{history:?}");
    let told = a.ok(&["history", "patients", &rows[1]])?;
    ensure!(told.stdout.contains(" by ada at b, version "), "{}", told.stdout);
    stage.verify()?;
    server.stop()?;
    stage.verify()
}

#[test]
fn a_scripts_base_is_what_it_read_and_not_what_came_meanwhile() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let (a, b) = (stage.device("a", server.url())?, stage.device("b", server.url())?);
    a.sync(0)?;
    let row = a.patient("Amina")?;
    a.sync(0)?;
    b.sync(0)?;
    let seen = b.ok(&["get", "patients", &row, "--json"])?.json_lines()?[0]["seen"].clone();
    let seen = seen.as_str().map_or_else(|| seen.to_string(), str::to_owned);
    a.ok(&["update", "patients", &row, "phone=theirs"])?;
    a.sync(0)?;
    b.sync(0)?;
    b.ok(&["update", "patients", &row, "phone=mine", "--seen", &seen])?;
    b.sync(3)?;
    assert_eq!(b.json("conflicts")?.len(), 1);
    Ok(())
}

#[test]
fn everything_but_login_and_sync_works_with_no_server_anywhere() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    server.stop()?;
    let row = a.patient("Amina")?;
    a.ok(&["update", "patients", &row, "phone=1"])?;
    a.ok(&["tables"])?;
    a.ok(&["status"])?;
    a.ok(&["list", "patients", "--where", "phone=1", "--sort", "name", "--limit", "5"])?;
    a.ok(&["export", "patients"])?;
    let pending = a.json("pending")?;
    assert_eq!((pending.len(), &pending[0]["change"], &pending[0]["state"]), (1, &json!("create"), &json!("ready")));
    let output = a.run(&["sync"])?.exited_with(4)?;
    crate::stage::says(&output, &["kept"])?;
    assert_eq!(a.json("pending")?.len(), 1);
    Ok(())
}

#[test]
fn a_push_whose_answer_the_link_swallowed_is_applied_once() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(20)?;
    let server = stage.serve()?;
    let proxy = Proxy::start(server.addr())?;
    let a = stage.device("a", &format!("http://{}", proxy.addr()))?;
    a.sync(0)?;
    let rows = a.ids("patients")?;
    for (round, row) in rows.iter().enumerate() {
        a.ok(&["update", "patients", row, &format!("phone=7{round}")])?;
    }
    // The server commits and answers; the answer never arrives, the link is cut instead.
    proxy.swallow_answers(40);
    let mut sync = spawn_tombolo(&a.store, &["sync", "--json"], "")?;
    proxy.wait_for_blocking(|counters| counters.cuts > 0)?;
    let _first_lines = sync.next_line();
    let output = sync.wait()?;
    ensure!(output.code != Some(1), "{output:?}");
    a.sync(0)?;
    assert!(a.json("pending")?.is_empty());
    for (round, row) in rows.iter().enumerate() {
        assert_eq!(a.field("patients", row, "phone")?, json!(format!("7{round}")));
        let version = &a.ok(&["get", "patients", row, "--json"])?.json_lines()?[0]["version"];
        assert_eq!(version, &json!(2), "applied twice");
    }
    server.stop()?;
    stage.verify()
}

#[test]
fn a_link_that_is_cut_at_any_byte_loses_and_doubles_nothing() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(60)?;
    let server = stage.serve()?;
    let proxy = Proxy::start(server.addr())?;
    let a = stage.device("a", &format!("http://{}", proxy.addr()))?;
    a.sync(0)?;
    let rows = a.ids("patients")?;
    for (step, row) in rows.iter().take(12).enumerate() {
        a.ok(&["update", "patients", row, &format!("phone=9{step}")])?;
        let direction = if step % 2 == 0 { Direction::Up } else { Direction::Down };
        proxy.cut_after(direction, 60 + 97 * step as u64);
        let _may_fail = a.run(&["sync"])?;
    }
    a.sync(0)?;
    for (step, row) in rows.iter().take(12).enumerate() {
        assert_eq!(a.field("patients", row, "phone")?, json!(format!("9{step}")));
        assert_eq!(a.ok(&["get", "patients", row, "--json"])?.json_lines()?[0]["version"], json!(2));
    }
    let b = stage.device("b", server.url())?;
    b.sync(0)?;
    equal(&a, &b)
}

#[test]
fn a_server_killed_again_and_again_loses_and_doubles_nothing() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(40)?;
    let mut server = stage.serve()?;
    let addr = server.addr();
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    let rows = a.ids("patients")?;
    for (round, row) in rows.iter().take(8).enumerate() {
        a.ok(&["update", "patients", row, &format!("phone=5{round}")])?;
        let sync = spawn_tombolo(&a.store, &["sync"], "")?;
        if round % 2 == 0 {
            server.kill9()?;
            let _unreachable_or_done = sync.wait()?;
            server = stage.serve_at(addr)?;
        } else {
            let _done = sync.wait()?;
            server.kill9()?;
            server = stage.serve_at(addr)?;
        }
    }
    a.sync(0)?;
    for (round, row) in rows.iter().take(8).enumerate() {
        assert_eq!(a.field("patients", row, "phone")?, json!(format!("5{round}")));
        assert_eq!(a.ok(&["get", "patients", row, "--json"])?.json_lines()?[0]["version"], json!(2));
    }
    server.stop()?;
    stage.verify()
}

#[test]
fn a_client_killed_at_any_moment_keeps_every_edit_that_it_accepted() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(40)?;
    let server = stage.serve()?;
    let proxy = Proxy::start(server.addr())?;
    let a = stage.device("a", &format!("http://{}", proxy.addr()))?;
    a.sync(0)?;
    let rows = a.ids("patients")?;
    for (round, row) in rows.iter().take(8).enumerate() {
        a.ok(&["update", "patients", row, &format!("phone=4{round}")])?;
        let before = proxy.counters();
        let sync = spawn_tombolo(&a.store, &["sync"], "")?;
        // Killed when it has sent, or received, a little more each time.
        let (up, down) = (before.up.delivered + 50 * round as u64, before.down.delivered + 80 * round as u64);
        // What an earlier round did not freeze goes with this one's push, so a whole sync may be shorter than that.
        proxy.wait_for_blocking(|counters| {
            let over = counters.connections > before.connections && counters.open == 0;
            over || counters.up.delivered > up || counters.down.delivered > down
        })?;
        sync.kill9()?;
    }
    a.sync(0)?;
    for (round, row) in rows.iter().take(8).enumerate() {
        assert_eq!(a.field("patients", row, "phone")?, json!(format!("4{round}")));
        assert_eq!(a.ok(&["get", "patients", row, "--json"])?.json_lines()?[0]["version"], json!(2));
    }
    Ok(())
}

#[test]
fn a_copied_store_is_noticed_and_loses_nothing() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(10)?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    let rows = a.ids("patients")?;
    a.ok(&["update", "patients", &rows[0], "phone=both"])?;
    let copy = Device { store: stage.path("copy") };
    copy_folder(&a.store, &copy.store)?;
    a.ok(&["update", "patients", &rows[1], "phone=first"])?;
    copy.ok(&["update", "patients", &rows[1], "village=second"])?;
    a.sync(0)?;
    copy.sync(0)?;
    a.sync(0)?;
    assert_eq!(a.field("patients", &rows[0], "phone")?, json!("both"));
    assert_eq!(a.field("patients", &rows[1], "phone")?, json!("first"));
    assert_eq!(a.field("patients", &rows[1], "village")?, json!("second"));
    equal(&a, &copy)?;
    let devices = stage.server(&["device", "list", "--json", "--data", text(&stage.data())])?.json_lines()?;
    ensure!(devices.len() >= 2, "the copy has a device id of its own: {devices:?}");
    ensure!(devices.iter().all(|device| device["name"] == json!("a")), "and goes on under its name: {devices:?}");
    Ok(())
}

#[test]
fn a_server_folder_put_back_is_noticed_and_acknowledged_edits_come_again() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(10)?;
    let server = stage.serve()?;
    let addr = server.addr();
    let (a, b) = (stage.device("a", server.url())?, stage.device("b", server.url())?);
    a.sync(0)?;
    b.sync(0)?;
    let rows = a.ids("patients")?;
    server.stop()?;
    let backup = stage.path("backup");
    copy_folder(&stage.data(), &backup)?;
    let server = stage.serve_at(addr)?;
    a.ok(&["update", "patients", &rows[0], "phone=lost"])?;
    let new = a.patient("Made and lost")?;
    a.sync(0)?;
    assert!(a.json("pending")?.is_empty(), "it was acknowledged");
    server.stop()?;
    fs::remove_dir_all(stage.data())?;
    copy_folder(&backup, &stage.data())?;
    let server = stage.serve_at(addr)?;
    b.ok(&["update", "patients", &rows[0], "village=new history"])?;
    b.sync(0)?;
    a.sync(0)?;
    b.sync(0)?;
    for device in [&a, &b] {
        assert_eq!(device.field("patients", &rows[0], "phone")?, json!("lost"));
        assert_eq!(device.field("patients", &rows[0], "village")?, json!("new history"));
        assert_eq!(device.field("patients", &new, "name")?, json!("Made and lost"));
    }
    equal(&a, &b)?;
    server.stop()?;
    stage.verify()
}

#[test]
fn an_empty_server_at_the_same_address_empties_nobodys_mirror() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(10)?;
    let server = stage.serve()?;
    let addr = server.addr();
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    let row = &a.ids("patients")?[0];
    a.ok(&["update", "patients", row, "phone=pending"])?;
    server.stop()?;
    fs::rename(stage.data(), stage.path("old"))?;
    let other = Stage::clinic()?;
    let server = ServerProcess::start(&other.data(), &other.schema(), &["--listen", &addr.to_string()])?;
    let output = a.run(&["sync"])?.exited_with(1)?;
    crate::stage::says(&output, &["another tombolo server", "nothing was changed"])?;
    assert_eq!(a.ids("patients")?.len(), 10);
    assert_eq!(a.json("pending")?.len(), 1);
    // Logging in there does not mix the two either.
    let output = a.login(server.url())?.exited_with(1)?;
    crate::stage::says(&output, &["another server"])?;
    assert_eq!((a.ids("patients")?.len(), a.json("pending")?.len()), (10, 1));
    Ok(())
}

#[test]
fn a_first_sync_that_is_cut_again_and_again_transfers_little_twice() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(3000)?;
    let server = stage.serve()?;
    let whole = Proxy::start(server.addr())?;
    let b = stage.device("b", &format!("http://{}", whole.addr()))?;
    let begin = whole.counters().down.delivered;
    b.sync(0)?;
    let in_one = whole.counters().down.delivered - begin;
    let proxy = Proxy::start(server.addr())?;
    let a = stage.device("a", &format!("http://{}", proxy.addr()))?;
    let begin = proxy.counters().down.delivered;
    // The sync goes on by itself after each cut.
    proxy.cut_after(Direction::Down, in_one / 5);
    let sync = spawn_tombolo(&a.store, &["sync"], "")?;
    for cuts in 1..=3 {
        proxy.wait_for_blocking(|counters| counters.cuts >= cuts)?;
        if cuts < 3 {
            proxy.cut_after(Direction::Down, in_one / 5);
        }
    }
    sync.wait()?.exited_with(0)?;
    let (in_parts, cuts) = (proxy.counters().down.delivered - begin, proxy.counters().cuts);
    // Each cut may repeat one chunk with its greetings, and no more.
    ensure!(in_parts < in_one * 2, "{in_one} bytes in one go, {in_parts} with {cuts} cuts");
    equal(&a, &b)
}

#[test]
fn a_schema_that_gains_a_field_reaches_a_store_with_pending_edits() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(5)?;
    let server = stage.serve()?;
    let addr = server.addr();
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    let row = a.ids("patients")?[0].clone();
    a.ok(&["update", "patients", &row, "phone=pending"])?;
    let new = a.patient("Made before")?;
    server.stop()?;
    let field = "\n[[table.field]]\nname = \"blood_group\"\ntag = 91\nkind = \"text\"\nlabel = \"Blood group\"\n";
    let grown = fs::read_to_string(stage.schema())?;
    fs::write(stage.schema(), crate::traps_push::with_field(&grown, "patients", field))?;
    let _server = stage.serve_at(addr)?;
    a.sync(0)?;
    assert_eq!(a.field("patients", &row, "phone")?, json!("pending"));
    a.ok(&["update", "patients", &new, "blood_group=A+"])?;
    a.sync(0)?;
    assert_eq!(a.field("patients", &new, "blood_group")?, json!("A+"));
    Ok(())
}

#[test]
fn changes_from_a_file_go_as_one_transaction_and_as_a_group_if_asked() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(3)?;
    let server = stage.serve()?;
    let (a, b) = (stage.device("a", server.url())?, stage.device("b", server.url())?);
    a.sync(0)?;
    b.sync(0)?;
    let rows = a.ids("patients")?;
    b.ok(&["update", "patients", &rows[0], "phone=theirs"])?;
    b.sync(0)?;
    let line = |id: &str| json!({"change": "update", "table": "patients", "id": id, "fields": {"phone": "mine"}}).to_string();
    let file = stage.path("changes.jsonl");
    fs::write(&file, format!("{}\n{}\n", line(&rows[0]), line(&rows[1])))?;
    a.ok(&["apply", text(&file), "--group"])?;
    a.sync(3)?;
    let pending = a.json("pending")?;
    assert_eq!(pending.len(), 2, "half of a group went through");
    let held = pending.iter().find(|change| change["id"] == json!(rows[1])).context("no held member")?;
    assert_eq!(held["state"], json!("waiting"));
    assert_eq!(a.json("conflicts")?[0]["together"], json!([format!("patients/{}", rows[1])]));
    let said = a.ok(&["conflicts"])?;
    crate::stage::says(&said, &["It goes together with"])?;
    a.ok(&["resolve", "patients", &rows[0], "--mine"])?;
    a.sync(0)?;
    assert_eq!(a.field("patients", &rows[1], "phone")?, json!("mine"));
    // A file with a wrong line does nothing at all.
    fs::write(&file, format!("{}\n{{\"change\": \"update\"}}\n", line(&rows[2])))?;
    let output = a.run(&["apply", text(&file)])?.exited_with(1)?;
    crate::stage::says(&output, &["line 2"])?;
    assert!(a.json("pending")?.is_empty());
    Ok(())
}

#[test]
fn rows_listed_as_json_say_how_they_stand() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(3)?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    let rows = a.ids("patients")?;
    a.ok(&["update", "patients", &rows[0], "phone=x"])?;
    let lines = a.ok(&["list", "patients", "--json"])?.json_lines()?;
    let states: Vec<&Value> = lines.iter().map(|line| &line["state"]).collect();
    assert_eq!(states, [&json!("pending"), &json!("clean"), &json!("clean")]);
    ensure!(lines[0]["fields"]["weight_kg"].is_number() && lines[0]["fields"]["birth_date"].is_string());
    Ok(())
}
