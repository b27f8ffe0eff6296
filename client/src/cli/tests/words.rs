//! What commands say of what they did, and of where they did it.

use super::deciding::PATIENT;
use super::*;
use crate::testing::answer_once;

#[test]
fn what_was_not_changed_is_not_called_saved() {
    let desk = Desk::new();
    let site = desk.site();
    let said = desk.run(&["update", "sites", &site, "name=Embu"]);
    assert!(said.err.contains("saved on this device"), "{}", said.err);
    let said = desk.run(&["update", "sites", &site, "name="]);
    assert!(said.err.contains("saved") && said.err.contains("warning: the server will refuse this"), "{}", said.err);
    let fresh = desk.done(&["create", "sites", "name=Nyeri"]).trim().to_owned();
    assert!(desk.run(&["delete", "sites", &fresh]).err.contains("nothing new of this row is left to send"));
    desk.confirm_patient(|_| {});
    let said = desk.run(&["update", "patients", PATIENT, "phone=1"]);
    assert_eq!((said.exit, said.err.as_str()), (Exit::Done, "nothing is different by this, and nothing new is to be sent\n"));
    desk.done(&["update", "patients", PATIENT, "phone=2"]);
    let said = desk.run(&["update", "patients", PATIENT, "phone=1"]);
    assert_eq!(said.err, "nothing new of this row is left to send\n");
}

#[test]
fn a_warning_of_what_the_server_will_refuse_follows_what_was_saved() {
    let desk = Desk::new();
    let site = desk.site();
    let said = desk.run(&["create", "sites", "name=", "--id", &site]);
    assert_eq!((said.exit, said.err.contains("warning")), (Exit::Failed, false), "{}", said.err);
}

#[test]
fn every_command_tells_what_it_did_as_json() {
    let desk = Desk::new();
    let id = desk.json(&["create", "sites", "name=Kisumu"]).remove(0)["id"].as_str().unwrap().to_owned();
    let state = |state: &str| vec![json!({ "table": "sites", "id": id, "state": state })];
    assert_eq!(desk.json(&["update", "sites", &id, "name=Embu"]), state("pending"));
    let line =
        "{\"op\":\"create\",\"table\":\"sites\",\"id\":\"0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e\",\"fields\":{\"name\":\"a\"}}";
    let applied = desk.run_with(&["apply", "-", "--json"], line).out;
    assert_eq!(
        serde_json::from_str::<Json>(&applied).unwrap(),
        json!({ "created": 1, "updated": 0, "deleted": 0, "restored": 0, "ids": ["0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e"] })
    );
    let imported = desk.run_with(&["import", "sites", "-", "--json"], "name\nNyeri\n");
    assert_eq!(imported.out, "{\"created\":1,\"updated\":0,\"unchanged\":0}\n", "{}", imported.err);
    assert_eq!(desk.json(&["export", "sites"]), desk.json(&["list", "sites"]));
    let out = desk.path("out.csv").display().to_string();
    assert_eq!(desk.json(&["export", "sites", "--out", &out]), [json!({ "rows": 3, "out": out })]);
    assert_eq!(desk.json(&["discard", "sites", &id])[0], json!({ "table": "sites", "id": id, "state": "gone", "also": [] }));
    assert_eq!(desk.json(&["logout"]), [json!({ "logged_out": true, "server_told": false, "pending": 2 })]);
}

#[test]
fn a_dash_stands_for_standard_input_and_output() {
    let desk = Desk::new();
    assert_eq!(desk.run_with(&["import", "sites", "-"], "name\nNyeri\n").out, "1 created, 0 updated, 0 unchanged\n");
    assert_eq!(desk.done(&["export", "sites", "--out", "-"]), desk.done(&["export", "sites"]));
}

#[test]
fn a_file_that_cannot_be_made_is_not_called_as_it_was_before() {
    let desk = Desk::new();
    let said = desk.run(&["export", "sites", "--out", "/nowhere/at/all.csv"]);
    assert!(said.exit == Exit::Failed && !said.err.contains("as it was before"), "{}", said.err);
}

#[test]
fn history_without_a_server_is_what_this_device_knows() {
    let desk = Desk::new();
    desk.confirm_patient(|_| {});
    desk.done(&["update", "patients", PATIENT, "phone=2"]);
    let said = desk.run(&["history", "patients", PATIENT, "--json"]);
    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    assert!(said.err.contains("cannot be reached") && said.err.contains("older steps are missing"), "{}", said.err);
    let steps: Vec<Json> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), 2);
    assert_eq!((&steps[0]["seq"], &steps[0]["by"], &steps[0]["change"]), (&Json::Null, &json!("anna"), &json!("update")));
    assert_eq!(steps[0]["fields"], json!({ "phone": { "before": "1", "after": "2" } }));
    assert_eq!((&steps[1]["seq"], &steps[1]["by"], &steps[1]["change"]), (&json!(40), &json!("ada"), &json!("create")));
    let text = desk.done(&["history", "patients", PATIENT]);
    assert!(text.starts_with("not sent yet  update by anna\n    Phone: 1 -> 2\n"), "{text}");
    assert_eq!(desk.run(&["history", "patients", "0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4f"]).exit, Exit::Failed);
}

#[test]
fn commands_work_on_the_store_of_the_last_login() {
    const ID: &str = "0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e";
    let data = tempfile::tempdir().unwrap();
    let environment = Environment { data: Some(data.path().to_owned()), ..Environment::default() };
    let run = |words: &[&str]| run_in(environment.clone(), ["tombolo"].iter().chain(words).copied(), b"x\n");
    let schema = json!({ "seq": 1, "name": "clinic", "text": CLINIC });
    let user = |said: &Said| serde_json::from_str::<Json>(&said.out).unwrap()["user"].clone();
    let mut folders = Vec::new();
    for name in ["anna", "ben"] {
        let body = json!({ "token": "t", "device": ID, "user": ID, "name": name, "role": "editor", "workspace": ID, "schema": schema });
        let body = body.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
        let (url, _) = answer_once(&format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        let said = run(&["login", &url.to_string(), "--user", name, "--password-stdin", "--json"]);
        assert_eq!(said.exit, Exit::Done, "{}", said.err);
        folders.push(serde_json::from_str::<Json>(&said.out).unwrap()["store"].as_str().unwrap().to_owned());
        assert_eq!(user(&run(&["status", "--json"])), json!(name));
    }
    let status = run(&["status"]).out;
    assert!(status.contains("(of the last login on this device)"), "{status}");
    assert!(status.contains("Also here   anna at 127.0.0.1:") && status.contains(&folders[0]), "{status}");
    assert_eq!(user(&run(&["--store", &folders[0], "status", "--json"])), json!("anna"));
}
