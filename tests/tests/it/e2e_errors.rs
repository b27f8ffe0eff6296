//! Bad input and bad surroundings: one clear sentence, the right exit code, and nothing lost.

use crate::stage::{Device, Stage, copy_folder, says, text};
use anyhow::{Result, ensure};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use tombolo_tests::process::{spawn_tombolo, tombolo, tombolo_server};
use tombolo_tests::proxy::{Admission, Proxy};

#[test]
fn a_bad_schema_is_told_with_line_and_field() -> Result<()> {
    let stage = Stage::clinic()?;
    let bad = stage.path("bad.toml");
    fs::write(
        &bad,
        "name = \"x\"\n\n[[table]]\nname = \"t\"\ntag = 1\n\n[[table.field]]\nname = \"f\"\ntag = 1\nkind = \"txt\"\n",
    )?;
    let data = stage.path("elsewhere");
    let output = tombolo_server(&["init", "--schema", text(&bad), "--data", text(&data)], "")?.exited_with(1)?;
    says(&output, &["line 10", "field `f`", "kind"])
}

#[test]
fn a_bad_csv_is_told_with_line_and_column_and_nothing_is_imported() -> Result<()> {
    let stage = Stage::clinic()?;
    let file = stage.path("bad.csv");
    fs::write(&file, "name,birth_date\nAmina,2001-02-03\nZawadi,yesterday\n")?;
    let data = stage.data();
    let args = ["import", "patients", text(&file), "--set", "site=Kilifi", "--data", text(&data)];
    let output = tombolo_server(&args, "")?.exited_with(1)?;
    says(&output, &["line 3", "birth_date"])?;
    let exported = stage.server(&["export", "patients", "--data", text(&stage.data())])?;
    assert_eq!(exported.stdout.lines().count(), 1, "{}", exported.stdout);
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    let output = a.run(&["import", "patients", text(&file), "--set", "site=Kilifi"])?.exited_with(1)?;
    says(&output, &["line 3", "birth_date"])?;
    assert!(a.json("pending")?.is_empty());
    Ok(())
}

#[test]
fn bad_words_are_usage_errors() -> Result<()> {
    let stage = Stage::clinic()?;
    tombolo_server(&["serve", "--nonsense"], "")?.exited_with(2)?;
    tombolo(&stage.path("a"), &["nonsense"], "")?.exited_with(2)?;
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let stage = Stage::clinic()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let addr = taken.local_addr()?.to_string();
    let (schema, data) = (stage.schema(), stage.data());
    let args = ["serve", "--schema", text(&schema), "--data", text(&data), "--listen", &addr];
    let output = tombolo_server(&args, "")?.exited_with(1)?;
    says(&output, &[&addr, "in use"])
}

#[test]
fn a_data_folder_that_is_being_served_is_not_served_twice() -> Result<()> {
    let stage = Stage::clinic()?;
    let _server = stage.serve()?;
    let (schema, data) = (stage.schema(), stage.data());
    let args = ["serve", "--schema", text(&schema), "--data", text(&data), "--listen", "127.0.0.1:0"];
    let output = tombolo_server(&args, "")?.exited_with(1)?;
    says(&output, &["another"])
}

#[test]
fn a_store_that_another_program_has_open_is_left_alone() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    let mut watching = spawn_tombolo(&a.store, &["watch", "--json"], "")?;
    let row = stage.device("b", server.url())?;
    row.sync(0)?;
    row.patient("Amina")?;
    row.sync(0)?;
    ensure!(watching.next_line()?.is_some(), "watch shows nothing");
    let output = a.run(&["list", "patients"])?.exited_with(1)?;
    says(&output, &["open in another"])?;
    watching.kill9()?;
    a.ok(&["list", "patients"])?;
    Ok(())
}

#[test]
fn a_wrong_password_changes_nothing() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let store = stage.path("a");
    let args = ["login", server.url(), "--user", "ada", "--password-stdin"];
    let output = tombolo(&store, &args, "wrong")?.exited_with(5)?;
    says(&output, &["password"])?;
    let a = Device { store };
    a.run(&["list", "patients"])?.exited_with(5)?;
    Ok(())
}

#[test]
fn nobody_at_the_address_is_told_as_that() -> Result<()> {
    let stage = Stage::clinic()?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let a = Device { store: stage.path("a") };
    let output = a.login(&format!("http://{free}"))?.exited_with(4)?;
    says(&output, &["reach"])
}

#[test]
fn a_login_portal_in_the_way_is_no_server_and_no_logout() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let proxy = Proxy::start(server.addr())?;
    let a = stage.device("a", &format!("http://{}", proxy.addr()))?;
    a.sync(0)?;
    a.patient("Amina")?;
    proxy.set_admission(Admission::Portal);
    let output = a.run(&["sync"])?.exited_with(4)?;
    says(&output, &["kept"])?;
    proxy.set_admission(Admission::Forward);
    a.sync(0)?;
    assert!(a.json("pending")?.is_empty());
    Ok(())
}

#[test]
fn a_token_that_was_given_back_asks_for_a_login_and_keeps_the_edits() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    a.patient("Amina")?;
    a.ok(&["logout"])?;
    assert_eq!(a.json("pending")?.len(), 1);
    let output = a.run(&["sync"])?.exited_with(5)?;
    says(&output, &["log"])?;
    a.login(server.url())?.exited_with(0)?;
    a.sync(0)?;
    assert!(a.json("pending")?.is_empty());
    Ok(())
}

#[test]
fn a_revoked_device_is_told_so_and_keeps_its_edits() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    a.patient("Amina")?;
    let data = stage.data();
    let devices = stage.server(&["device", "list", "--json", "--data", text(&data)])?.json_lines()?;
    for device in devices {
        if let Some(id) = device["id"].as_str().or(device["device"].as_str()) {
            let _own = tombolo_server(&["device", "revoke", id, "--data", text(&data)], "")?;
        }
    }
    a.run(&["sync"])?.exited_with(5)?;
    assert_eq!(a.json("pending")?.len(), 1);
    Ok(())
}

#[test]
fn an_unknown_table_or_field_is_named_with_what_there_is() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    says(&a.run(&["list", "patient"])?.exited_with(2)?, &["patients"])?;
    says(&a.run(&["create", "patients", "nam=x"])?.exited_with(2)?, &["nam"])?;
    says(&a.run(&["create", "patients", "name=x", "birth_date=soon", "site=Kilifi"])?.exited_with(2)?, &["birth"])?;
    says(&a.run(&["create", "patients", "name=x", "site=Nowhere"])?.exited_with(2)?, &["Nowhere"])?;
    assert!(a.json("pending")?.is_empty());
    Ok(())
}

#[test]
fn something_else_that_wants_a_login_is_no_logout_and_no_server_to_log_in_at() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let addr = server.addr();
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    a.patient("Amina")?;
    server.stop()?;
    let listener = TcpListener::bind(addr)?;
    std::thread::spawn(move || {
        let answer = b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(answer);
        }
    });
    says(&a.run(&["sync"])?.exited_with(4)?, &["something other than a tombolo server", "kept"])?;
    says(&a.login(&format!("http://{addr}"))?.exited_with(4)?, &["not a tombolo server"])?;
    assert_eq!(a.json("pending")?.len(), 1);
    Ok(())
}

#[test]
fn a_server_that_was_put_back_is_told_with_what_becomes_of_the_lost_edits() -> Result<()> {
    let stage = Stage::clinic()?;
    let server = stage.serve()?;
    let addr = server.addr();
    let a = stage.device("a", server.url())?;
    assert!(a.sync(0)?.get("diverged").is_none());
    a.patient("Amina")?;
    a.sync(0)?;
    server.stop()?;
    copy_folder(&stage.data(), &stage.path("backup"))?;
    let server = stage.serve_at(addr)?;
    a.patient("Zawadi")?;
    a.sync(0)?;
    server.stop()?;
    fs::remove_dir_all(stage.data())?;
    copy_folder(&stage.path("backup"), &stage.data())?;
    let server = stage.serve_at(addr)?;
    let output = a.run(&["sync", "--json"])?.exited_with(0)?;
    says(&output, &["put back to an earlier state", "1 row", "1 went through, 0 wait", "export TABLE --recovery 1"])?;
    let report = output.json_lines()?;
    assert_eq!(report[0]["diverged"], json!({ "offered": 1, "agreed": 1, "asked": 0, "dropped": 0 }));
    let log = server.stderr_so_far();
    ensure!(log.contains("of ada knows commits that this server does not have"), "{log}");
    Ok(())
}

#[test]
fn a_damaged_file_is_told_in_a_sentence_by_both_programs() -> Result<()> {
    let stage = Stage::clinic()?;
    stage.patients(300)?;
    let server = stage.serve()?;
    let a = stage.device("a", server.url())?;
    a.sync(0)?;
    server.stop()?;
    for file in [stage.data().join("tombolo.redb"), a.store.join("store.redb")] {
        let mut bytes = fs::read(&file)?;
        // Everything behind the header, which has its own check.
        bytes[8192..].iter_mut().for_each(|byte| *byte ^= 0xa5);
        fs::write(&file, bytes)?;
    }
    let data = stage.data();
    for args in [&["verify"][..], &["export", "patients"], &["user", "list"]] {
        let args: Vec<&str> = args.iter().copied().chain(["--data", text(&data)]).collect();
        says(&tombolo_server(&args, "")?.exited_with(1)?, &["damaged"])?;
    }
    for args in [&["list", "patients"][..], &["sync"], &["status"]] {
        says(&a.run(args)?.exited_with(1)?, &["damaged"])?;
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_limit_on_files_is_a_full_disk_and_an_init_that_fails_leaves_no_store() -> Result<()> {
    let stage = Stage::clinic()?;
    let data = stage.path("elsewhere");
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" init --schema \"$1\" --data \"$2\"";
    let program = &tombolo_tests::process::binaries()?.server;
    let output = std::process::Command::new("sh").args(["-c", limited]).arg(program).arg(stage.schema()).arg(&data).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("the disk is full"), "{output:?}");
    assert!(!data.join("tombolo.redb").exists());
    let schema = stage.schema();
    stage.server(&["init", "--schema", text(&schema), "--data", text(&data)])?;
    Ok(())
}
