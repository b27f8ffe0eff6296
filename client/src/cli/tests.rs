//! Commands, run without a process and without a server: everything but login and sync works so.

mod deciding;
mod words;

use super::*;
use crate::handle::Client;
use crate::testing::{closed_port, login_answer};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tombolo_protocol::ids::Seq;
use tombolo_protocol::schema::CLINIC;

/// A store in a folder, and the command on it.
struct Desk {
    folder: TempDir,
}

/// How a command ended and what it printed.
struct Said {
    exit: Exit,
    out: String,
    err: String,
}

impl Desk {
    /// With the clinic's tables, logged in at a server that is not there.
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        let client = Client::open(&desk.path("store.redb")).unwrap();
        client.adopt(login_answer(&closed_port().to_string())).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn run(&self, words: &[&str]) -> Said {
        self.run_with(words, "")
    }

    fn run_with(&self, words: &[&str], stdin: &str) -> Said {
        let store = self.folder.path().display().to_string();
        let words = ["tombolo", "--store", &store].into_iter().chain(words.iter().copied());
        run_in(Environment::default(), words, stdin.as_bytes())
    }

    fn done(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert_eq!(said.exit, Exit::Done, "{words:?}: {}{}", said.out, said.err);
        said.out
    }

    fn json(&self, words: &[&str]) -> Vec<Json> {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        self.done(&words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn site(&self) -> String {
        self.done(&["create", "sites", "name=Kisumu"]).trim().to_owned()
    }
}

fn run_in<'w>(environment: Environment, words: impl Iterator<Item = &'w str>, mut stdin: &[u8]) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut io = Io { stdin: &mut stdin, out: &mut out, err: &mut err, environment };
    let exit = run(words.map(Into::into), &mut io);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { exit, out: text(out), err: text(err) }
}

#[test]
fn a_row_is_made_changed_listed_and_deleted_without_a_server() {
    let desk = Desk::new();
    desk.site();
    let words = ["create", "patients", "name=Rose", "birth_date=1990-05-31", "weight_kg=61.5", "site=Kisumu"];
    let id = desk.done(&words).trim().to_owned();
    let row = desk.json(&["get", "patients", &id]).remove(0);
    assert_eq!((&row["id"], &row["version"], &row["state"]), (&json!(id), &json!(0), &json!("pending")));
    assert_eq!(row["fields"]["birth_date"], json!("1990-05-31"));
    assert_eq!(row["fields"]["weight_kg"], json!(61.5));
    assert_eq!(row["fields"]["phone"], Json::Null);
    let seen = row["seen"].as_str().unwrap();
    desk.done(&["update", "patients", &id, "weight_kg=62", "phone=0700", "birth_date=", "--seen", seen]);
    assert_eq!(desk.json(&["list", "patients", "--where", "phone=0700", "--sort", "name"]).len(), 1);
    assert_eq!(desk.json(&["list", "patients", "--where", "birth_date=", "--limit", "5"]).len(), 1);
    assert_eq!(desk.json(&["list", "patients", "--where", "site=Kisumu", "--sort=-name"]).len(), 1);
    assert_eq!(desk.json(&["list", "patients", "--where", "phone=1"]).len(), 0);
    desk.done(&["delete", "patients", &id]);
    assert_eq!(desk.run(&["get", "patients", &id]).exit, Exit::Failed);
    assert_eq!(desk.json(&["pending"]).len(), 1, "only the site is left: the row was never sent");
}

#[test]
fn what_is_pending_names_change_state_base_and_mine() {
    let desk = Desk::new();
    let site = desk.site();
    let pending = desk.json(&["pending"]);
    let expected = json!({
        "table": "sites", "id": site, "change": "create", "state": "ready", "fields": { "name": { "base": null, "mine": "Kisumu" } }
    });
    assert_eq!(pending, [expected]);
    let text = desk.done(&["pending"]);
    assert!(text.contains("Kisumu") && text.contains(&format!("sites/{site}")), "{text}");
    let said = desk.run(&["discard", "sites", &site]);
    assert_eq!(said.exit, Exit::Done);
    assert!(said.out.contains("discarded what was pending of sites/"), "{}", said.out);
    assert!(desk.json(&["pending"]).is_empty());
}

#[test]
fn a_value_that_the_server_will_refuse_is_kept_with_a_warning() {
    let desk = Desk::new();
    desk.site();
    let said = desk.run(&["create", "patients", "site=Kisumu", "birth_date=1850-01-01"]);
    assert_eq!(said.exit, Exit::Done);
    assert!(said.err.contains("Name: a value is needed here"), "{}", said.err);
    assert!(said.err.contains("Date of birth: the smallest value allowed is 1900-01-01"), "{}", said.err);
    assert_eq!(desk.json(&["list", "patients"]).len(), 1);
}

#[test]
fn what_is_wrong_with_a_command_is_told_in_one_sentence_with_exit_2() {
    let desk = Desk::new();
    let id = desk.site();
    for (words, sentence) in [
        (vec!["list", "patient"], "did you mean `patients`?"),
        (vec!["create", "sites", "nam=x"], "did you mean `name`?"),
        (vec!["create", "patients", "birth_date=soon"], "birth_date: `soon` is not a date"),
        (vec!["create", "patients", "site=Nowhere"], "no row in sites on this device is called `Nowhere`"),
        (vec!["create", "sites", "name=a", "name=b"], "name is given twice"),
        (vec!["get", "sites", "17"], "an id is a UUID"),
        (vec!["update", "sites", &id, "name=x", "--seen", "yesterday"], "give back what"),
        (vec!["lits", "sites"], "unrecognized subcommand"),
    ] {
        let said = desk.run(&words);
        assert_eq!(said.exit, Exit::Usage, "{words:?}: {}", said.err);
        assert!(said.err.contains(sentence), "{words:?}: {}", said.err);
    }
}

#[test]
fn a_file_of_changes_is_applied_whole_or_not_at_all() {
    let desk = Desk::new();
    let site = desk.site();
    let id = "0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e";
    let good = desk.file(
        "good.jsonl",
        &format!(
            "{{\"op\":\"create\",\"table\":\"patients\",\"id\":\"{id}\",\"fields\":{{\"name\":\"Rose\",\"site\":\"Kisumu\",\"weight_kg\":61.5}}}}\n\n\
             {{\"change\":\"update\",\"table\":\"patients\",\"id\":\"{id}\",\"fields\":{{\"weight_kg\":null}},\"seen\":0}}\n\
             {{\"op\":\"delete\",\"table\":\"sites\",\"id\":\"{site}\"}}\n"
        ),
    );
    assert_eq!(desk.done(&["apply", &good, "--group"]).trim(), id);
    assert_eq!(desk.json(&["get", "patients", id])[0]["fields"]["weight_kg"], Json::Null);
    for (line, sentence) in [
        (format!("{{\"op\":\"create\",\"table\":\"patients\",\"id\":\"{id}\",\"fields\":{{}}}}"), "is there already"),
        (
            format!("{{\"op\":\"update\",\"table\":\"sites\",\"id\":\"{site}\",\"fields\":{{\"name\":\"x\"}}}}"),
            "there is no row",
        ),
        ("{\"op\":\"delete\",\"table\":\"sites\"}".to_owned(), "\"id\" is missing"),
        ("{\"op\":\"create\",\"table\":\"sites\",\"fields\":{\"name\":5}}".to_owned(), "a text is expected here"),
        ("{\"op\":\"create\",\"table\":\"site\"}".to_owned(), "did you mean `sites`?"),
        ("nonsense".to_owned(), "this is not a JSON object"),
    ] {
        let bad = desk.file(
            "bad.jsonl",
            &format!("{{\"op\":\"create\",\"table\":\"sites\",\"fields\":{{\"name\":\"Nyeri\"}}}}\n{line}\n"),
        );
        let said = desk.run(&["apply", &bad]);
        assert_eq!(said.exit, Exit::Failed);
        assert!(said.err.contains("bad.jsonl, line 2: ") && said.err.contains(sentence), "{line}: {}", said.err);
        assert!(said.err.contains("Nothing was written"), "{}", said.err);
    }
    assert!(desk.json(&["list", "sites"]).is_empty());
    let stdin = "{\"op\":\"create\",\"table\":\"sites\",\"fields\":{\"name\":\"Nyeri\"}}";
    assert_eq!(desk.run_with(&["apply", "-"], stdin).exit, Exit::Done);
}

#[test]
fn giving_up_one_row_of_a_group_names_the_others_that_go_with_it() {
    let desk = Desk::new();
    let lines =
        ["Nyeri", "Embu"].map(|name| format!("{{\"op\":\"create\",\"table\":\"sites\",\"fields\":{{\"name\":\"{name}\"}}}}\n"));
    let file = desk.file("sites.jsonl", &lines.concat());
    let out = desk.done(&["apply", &file, "--group"]);
    let ids: Vec<&str> = out.lines().collect();
    let said = desk.done(&["discard", "sites", ids[0]]);
    assert!(said.contains(&format!("the other rows of its group: sites/{}", ids[1])), "{said}");
    assert!(desk.json(&["pending"]).is_empty());
}

#[test]
fn one_field_is_given_up_without_the_others() {
    let desk = Desk::new();
    let id = desk.done(&["create", "patients", "name=Rose", "phone=1"]).trim().to_owned();
    assert!(desk.done(&["discard", "patients", &id, "--field", "phone"]).contains("Phone"));
    let pending = desk.json(&["pending"]);
    assert_eq!(pending[0]["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["name"]);
    assert_eq!(desk.run(&["discard", "patients", &id, "--field", "phone"]).exit, Exit::Failed);
}

#[test]
fn a_csv_file_goes_in_and_comes_out_the_same() {
    let desk = Desk::new();
    desk.site();
    let file = desk.file("patients.csv", "name,birth_date\nRose,1990-05-31\n");
    assert_eq!(desk.done(&["import", "patients", &file, "--set", "site=Kisumu"]), "1 created, 0 updated, 0 unchanged\n");
    let csv = desk.done(&["export", "patients"]);
    assert!(csv.starts_with("id,name,phone,"), "{csv}");
    let out = desk.path("out.csv").display().to_string();
    desk.done(&["export", "patients", "--out", &out]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), csv);
    assert_eq!(desk.done(&["import", "patients", &out]), "0 created, 0 updated, 1 unchanged\n");
    let bad = desk.file("bad.csv", "name,birth_date\nOtieno,soon\n");
    let said = desk.run(&["import", "patients", &bad, "--set", "site=Kisumu"]);
    assert_eq!(said.exit, Exit::Failed);
    assert!(said.err.contains("line 2, column `birth_date`: `soon` is not a date"), "{}", said.err);
    assert_eq!(desk.run(&["import", "patients", "/none.csv"]).exit, Exit::Failed);
    assert_eq!(desk.run(&["export", "patients", "--recovery", "3"]).exit, Exit::Failed);
}

#[test]
fn a_server_that_is_not_reachable_is_exit_4_and_everything_is_kept() {
    let desk = Desk::new();
    desk.site();
    let said = desk.run(&["sync"]);
    assert_eq!(said.exit, Exit::Unreachable);
    assert!(said.err.contains("Your edits are kept"), "{}", said.err);
    assert_eq!(said.err.matches("trying again by itself").count(), 1, "who waits hears why, once: {}", said.err);
    assert_eq!(desk.json(&["pending"]).len(), 1);
    let url = closed_port().to_string();
    assert_eq!(desk.run_with(&["login", &url, "--user", "anna", "--password-stdin"], "x\n").exit, Exit::Unreachable);
}

#[test]
fn a_sync_of_rows_that_are_sent_already_is_a_sync_that_sends_nothing() {
    let desk = Desk::new();
    let row = "sites/0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e";
    let said = desk.run(&["sync", "--only", row]);
    assert!(said.err.contains("nothing is pending of sites/0199c5a4"), "{}", said.err);
    assert_eq!(said.exit, Exit::Unreachable, "it goes to the server all the same");
    assert_eq!(desk.run(&["sync", "--only", row, row, "--mode", "auto"]).exit, Exit::Unreachable);
    assert_eq!(desk.run(&["sync", "--only", "sites"]).exit, Exit::Usage);
    assert_eq!(desk.run(&["sync", "--mode", "auto", "--stay", "--only", row]).exit, Exit::Usage);
    assert_eq!(desk.run(&["sync", "--mode", "metered", "--stay"]).exit, Exit::Usage);
}

#[test]
fn a_logout_keeps_what_is_pending_and_says_so() {
    let desk = Desk::new();
    desk.site();
    let said = desk.run(&["logout"]);
    assert_eq!((said.exit, said.out.as_str()), (Exit::Done, "logged out\n"));
    assert!(said.err.contains("1 row has changes that the server does not have yet. They are kept"), "{}", said.err);
    let said = desk.run(&["sync"]);
    assert_eq!(said.exit, Exit::Login);
    assert!(said.err.contains("log in and sync again"), "{}", said.err);
    assert_eq!(desk.json(&["list", "sites"]).len(), 1);
    assert_eq!(desk.json(&["status"])[0]["logged_in"], json!(false));
}

#[test]
fn status_and_tables_say_what_is_here() {
    let desk = Desk::new();
    desk.site();
    let status = desk.json(&["status"]).remove(0);
    assert_eq!((&status["user"], &status["pending"], &status["complete"]), (&json!("anna"), &json!(1), &json!(false)));
    assert!(desk.done(&["status"]).contains("Pending     1 row"));
    let tables = desk.json(&["tables"]);
    assert_eq!(tables[0], json!({ "table": "sites", "label": "Sites", "rows": 1 }));
}

#[test]
fn a_resolution_of_what_is_no_conflict_changes_nothing() {
    let desk = Desk::new();
    let site = desk.site();
    let said = desk.run(&["resolve", "sites", &site, "--mine"]);
    assert_eq!(said.exit, Exit::Failed);
    assert!(said.err.contains("this row has no conflict"), "{}", said.err);
    assert!(desk.json(&["conflicts"]).is_empty());
}

#[test]
fn a_store_that_is_open_in_another_program_is_named() {
    let desk = Desk::new();
    let _open = Client::open(&desk.path("store.redb")).unwrap();
    let said = desk.run(&["tables"]);
    assert_eq!(said.exit, Exit::Failed);
    for reason in ["open in another Tombolo program", "tombolo watch", "tombolo sync --stay", "desktop application"] {
        assert!(said.err.contains(reason), "{}", said.err);
    }
}

#[test]
fn a_damaged_store_is_not_taken_for_an_empty_one() {
    let desk = Desk::new();
    std::fs::write(desk.path("store.redb"), b"this was a store once").unwrap();
    let said = desk.run(&["list", "sites"]);
    assert_eq!(said.exit, Exit::Failed);
    assert!(said.err.contains("damaged") && said.err.contains("Nothing was changed"), "{}", said.err);
}

#[test]
fn a_failed_first_login_leaves_no_store_behind() {
    let data = tempfile::tempdir().unwrap();
    let environment = Environment { data: Some(data.path().to_owned()), ..Environment::default() };
    let url = closed_port().to_string();
    let said = run_in(environment.clone(), ["tombolo", "login", &url, "--user", "anna", "--password-stdin"].into_iter(), b"x");
    assert_eq!(said.exit, Exit::Unreachable);
    let said = run_in(environment, ["tombolo", "tables"].into_iter(), b"");
    assert_eq!(said.exit, Exit::Login);
    assert!(said.err.contains("log in first"), "{}", said.err);
}

#[test]
fn the_only_store_is_taken_and_of_several_one_must_be_named() {
    let data = tempfile::tempdir().unwrap();
    let make = |user: &str| {
        let file = data.path().join("127.0.0.1_1").join(user).join("store.redb");
        Client::open(&file).unwrap().adopt(login_answer("http://127.0.0.1:1")).unwrap();
    };
    let tables = |store: Option<&Path>| {
        let environment =
            Environment { data: Some(data.path().to_owned()), store: store.map(Path::to_owned), ..Environment::default() };
        run_in(environment, ["tombolo", "tables"].into_iter(), b"")
    };
    make("anna");
    assert_eq!(tables(None).exit, Exit::Done);
    make("ben");
    let said = tables(None);
    assert_eq!(said.exit, Exit::Usage);
    assert!(said.err.contains("anna at 127.0.0.1:1: --store ") && said.err.contains("ben at 127.0.0.1:1: "), "{}", said.err);
    assert_eq!(tables(Some(&data.path().join("127.0.0.1_1").join("ben"))).exit, Exit::Done);
}

#[cfg(unix)]
#[test]
fn a_new_store_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("anna").join("store.redb");
    drop(Client::open(&file).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn help_is_an_answer_and_no_error() {
    let said = run_in(Environment::default(), ["tombolo", "sync", "--help"].into_iter(), b"");
    assert_eq!(said.exit, Exit::Done);
    assert!(said.out.contains("Example:"), "{}", said.out);
    assert_eq!(run_in(Environment::default(), ["tombolo"].into_iter(), b"").exit, Exit::Usage);
}
