use super::client::Client;
use super::{World, client, soon};
use crate::control::{self, Answer, Console, Request, Served};
use crate::net::folder::Folder;
use crate::net::hub::Hub;
use crate::net::log;
use crate::net::operator::blocking;
use crate::net::{Config, Imported, Limits, Server};
use std::time::Duration;
use tokio::time::Instant;
use tombolo_protocol::schema::{CLINIC, RENTAL, Role};

#[tokio::test]
async fn an_import_is_idempotent() {
    let world = World::new().await;
    let operator = world.server.operator();
    operator.import_csv("sites", &[], b"name\nKisumu\nSiaya\n".to_vec()).await.unwrap();
    let file = b"name,weight_kg,notes\nRose,61.5,\"two\nlines\"\nPaul,,\n".to_vec();
    let imported = operator.import_csv("patients", &[("site", "Kisumu")], file).await.unwrap();
    assert_eq!(imported, Imported { created: 2, updated: 0, unchanged: 0 });
    let exported = operator.export_csv("patients").await.unwrap();
    let again = operator.import_csv("patients", &[], exported.clone()).await.unwrap();
    assert_eq!(again, Imported { created: 0, updated: 0, unchanged: 2 });
    let changed = String::from_utf8(exported).unwrap().replace("61.5", "62");
    let updated = operator.import_csv("patients", &[], changed.clone().into_bytes()).await.unwrap();
    assert_eq!(updated, Imported { created: 0, updated: 1, unchanged: 1 });
    assert_eq!(operator.export_csv("patients").await.unwrap(), changed.into_bytes());
    // What is unique is not in its own way.
    let sites = operator.export_csv("sites").await.unwrap();
    let swapped = String::from_utf8(sites).unwrap().replace("Siaya", "Ahero");
    let updated = operator.import_csv("sites", &[], swapped.into_bytes()).await.unwrap();
    assert_eq!(updated, Imported { created: 0, updated: 1, unchanged: 1 });
    assert!(operator.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_running_server_compacts_its_log() {
    let world = World::new().await;
    let operator = world.server.operator();
    operator.import_csv("sites", &[], b"name\nKisumu\nSiaya\n".to_vec()).await.unwrap();
    let exported = operator.export_csv("sites").await.unwrap();
    // Nothing is as old as a day.
    assert_eq!(operator.compact(1).await.unwrap(), 0);
    let head = operator.read(|snapshot| Ok(snapshot.head().seq)).await.unwrap();
    assert_eq!(operator.compact(0).await.unwrap(), head.0);
    assert_eq!(operator.read(|snapshot| snapshot.horizon()).await.unwrap(), head);
    assert_eq!(operator.compact(0).await.unwrap(), 0);
    assert!(operator.verify().await.unwrap().is_sound());
    assert_eq!(operator.export_csv("sites").await.unwrap(), exported);
    operator.import_csv("sites", &[], b"name\nKilifi\n".to_vec()).await.unwrap();
    assert!(operator.compact(0).await.unwrap() > 0);
    assert!(operator.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_file_with_one_mistake_imports_nothing() {
    let world = World::new().await;
    let operator = world.server.operator();
    operator.import_csv("sites", &[], b"name\nKisumu\n".to_vec()).await.unwrap();
    let file = b"name,site\nRose,Kisumu\nPaul,Nairobi\nPiet,00000000-0000-7000-8000-000000000001\n".to_vec();
    let error = operator.import_csv("patients", &[], file).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the file has mistakes, nothing was imported:\n\
         line 3, column `site`: there is no row in sites called `Nairobi`\n\
         line 4, column `site`: there is no row in sites with this id"
    );
    assert_eq!(operator.export_csv("patients").await.unwrap().iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[tokio::test]
async fn what_must_be_unique_is_told_with_its_line() {
    let world = World::new().await;
    let operator = world.server.operator();
    operator.import_csv("sites", &[], b"name\nKisumu\n".to_vec()).await.unwrap();
    let error = operator.import_csv("sites", &[], b"name\nSiaya\nKisumu\nSiaya\n".to_vec()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the file has mistakes, nothing was imported:\n\
         line 3, column `name`: another row has `Kisumu` already, and it must be unique\n\
         line 4, column `name`: `Siaya` stands in line 2 too, and must be unique"
    );
    let error = operator.import_csv("sites", &[("name", "Ahero")], b"id\n\n,\n".to_vec()).await.unwrap_err().to_string();
    assert!(error.contains("line 3: has 2 cells, but the first line names 1 columns"), "{error}");
}

#[tokio::test]
async fn a_missing_column_is_told_unless_there_is_a_default() {
    let world = World::new().await;
    let operator = world.server.operator();
    operator.import_csv("sites", &[], b"name\nKisumu\n".to_vec()).await.unwrap();
    let error = operator.import_csv("stock", &[], b"item\nGauze\n".to_vec()).await.unwrap_err().to_string();
    assert!(
        error.ends_with("line 2, column `site`: Site: a value is needed here; add the column, or --set site=VALUE"),
        "{error}"
    );
    // The count has a default.
    operator.import_csv("stock", &[("site", "Kisumu")], b"item\nGauze\n".to_vec()).await.unwrap();
    assert!(String::from_utf8(operator.export_csv("stock").await.unwrap()).unwrap().contains(",Gauze,0,"));
}

#[tokio::test]
async fn a_title_that_several_rows_have_is_not_guessed() {
    let world = World::new().await;
    let operator = world.server.operator();
    operator.import_csv("sites", &[], b"name\nKisumu\n".to_vec()).await.unwrap();
    operator.import_csv("patients", &[("site", "Kisumu")], b"name\nRose\nRose\n".to_vec()).await.unwrap();
    let set = [("site", "Kisumu"), ("patient", "Rose"), ("date", "2026-05-01")];
    let error = operator.import_csv("visits", &set, b"reason\nflu\n".to_vec()).await.unwrap_err().to_string();
    assert!(error.contains("--set patient: 2 rows in patients are called `Rose`; write the id"), "{error}");
    let error = operator.add_user("ben", "pw", Role::Editor, &["Kisumu", "Nowhere"]).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no row in sites with the id or title `Nowhere`: nothing was changed"), "{error}");
    operator.add_user("ben", "pw", Role::Editor, &["Kisumu"]).await.unwrap();
}

#[tokio::test]
async fn many_rows_are_imported_as_a_whole() {
    let world = World::new().await;
    let operator = world.server.operator();
    let names: String = (0..1_000).map(|number| format!("Site {number}\n")).collect();
    operator.import_csv("sites", &[], format!("name\n{names}").into_bytes()).await.unwrap();
    let exported = String::from_utf8(operator.export_csv("sites").await.unwrap()).unwrap();
    // Ids ascend in the order of the file, and an export goes by id.
    let exported: String = exported.lines().skip(1).map(|line| format!("{}\n", line.split_once(',').unwrap().1)).collect();
    assert_eq!(exported, names);
}

/// A console that keeps what it is given.
#[derive(Default)]
struct Kept(Vec<u8>);

impl Console for Kept {
    fn progress(&mut self, _: &str) {}

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// A console that is still there when it is first asked, and then no more.
#[derive(Default)]
struct Leaving {
    asked: bool,
}

impl Console for Leaving {
    fn progress(&mut self, _: &str) {}

    fn is_awaited(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    fn data(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_import_that_nobody_waits_for_leaves_nothing() {
    let world = World::new().await;
    world.server.shutdown().await;
    let folder = Folder::new(world.folder.path());
    let rows = blocking(move || {
        let opening = folder.clone();
        let (hub, writer) = Hub::open(Box::new(move || opening.open_store()), log::nowhere).unwrap();
        let names: String = (0..30_000).map(|number| format!("Visit {number}\n")).collect();
        let import = Request::Import { table: "sites".into(), set: Vec::new() };
        let answer = control::carry_out(&hub, &folder, import, format!("name\n{names}").as_bytes(), &mut Leaving::default());
        assert!(answer.unwrap_err().message.contains("given up"));
        let mut kept = Kept::default();
        control::carry_out(&hub, &folder, Request::Export { table: "sites".into() }, &[], &mut kept).unwrap();
        hub.stop(writer);
        kept.0.iter().filter(|byte| **byte == b'\n').count()
    })
    .await;
    assert_eq!(rows, 1, "the titles");
}

/// Asks through the control socket, as the command line does.
async fn ask(folder: &Folder, request: Request, content: &[u8]) -> Option<(Result<Answer, control::Refused>, Vec<u8>)> {
    let (folder, content) = (folder.clone(), content.to_vec());
    blocking(move || {
        let mut kept = Kept::default();
        match control::ask(&folder, &request, &content, &mut kept) {
            Served::Answered(answer) => Some((answer, kept.0)),
            Served::Nobody => None,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_asked_through_its_folder() {
    let world = World::new().await;
    let folder = Folder::new(world.folder.path());
    let names: String = (0..1_000).map(|number| format!("A site with a long name and the number {number:080}\n")).collect();
    let file = format!("name\n{names}");
    let import = Request::Import { table: "sites".into(), set: Vec::new() };
    let (answer, _) = ask(&folder, import, file.as_bytes()).await.unwrap();
    assert!(matches!(answer, Ok(Answer::Imported { created: 1_000, .. })), "{answer:?}");
    let (answer, exported) = ask(&folder, Request::Export { table: "sites".into() }, &[]).await.unwrap();
    assert!(matches!(answer, Ok(Answer::Exported { rows: 1_000, .. })));
    assert_eq!(exported.iter().filter(|byte| **byte == b'\n').count(), 1_001);
    let (answer, _) = ask(&folder, Request::Export { table: "nothing".into() }, &[]).await.unwrap();
    let refused = answer.unwrap_err();
    assert!(refused.usage);
    assert!(refused.message.starts_with("there is no table `nothing`: nothing was done. The tables are sites, patients"));
    let (answer, _) = ask(&folder, Request::Verify, &[]).await.unwrap();
    assert!(matches!(answer, Ok(Answer::Verified { sound: true, .. })), "{answer:?}");
    world.server.shutdown().await;
    assert!(ask(&folder, Request::UserList, &[]).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_takes_a_changed_schema_and_refuses_a_wrong_one() {
    let world = World::new().await;
    let folder = Folder::new(world.folder.path());
    let text = CLINIC.replace("max_length = 30\n", "max_length = 40\n");
    assert_ne!(text, CLINIC);
    let (answer, _) = ask(&folder, Request::Schema { text: text.clone() }, &[]).await.unwrap();
    let Ok(Answer::Schema { changed: Some(changed), .. }) = answer else { panic!("{answer:?}") };
    assert!(changed.contains("phone"), "{changed}");
    let (answer, _) = ask(&folder, Request::Schema { text }, &[]).await.unwrap();
    assert_eq!(answer, Ok(Answer::Schema { name: "clinic".into(), changed: None, hidden: Vec::new() }));
    let (answer, _) = ask(&folder, Request::Schema { text: RENTAL.to_owned() }, &[]).await.unwrap();
    assert!(answer.unwrap_err().message.starts_with("the changed schema was refused, the workspace keeps the one"));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_control_socket_works_in_a_folder_with_a_long_name() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("a-folder-with-quite-a-long-name".repeat(4));
    let server = Server::start(Config::local(&data, CLINIC)).await.unwrap();
    let (answer, _) = ask(&Folder::new(&data), Request::UserList, &[]).await.unwrap();
    assert_eq!(answer, Ok(Answer::Users(Vec::new())));
    server.shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_control_socket_is_for_the_owner_and_replaces_only_a_dead_one() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let path = Folder::new(world.folder.path()).control_path();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // A server that was killed leaves its socket behind.
    world.server.shutdown().await;
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::start(Config::local(world.folder.path(), CLINIC)).await.unwrap();
    server.shutdown().await;
    std::fs::write(&path, "my diary").unwrap();
    let Err(error) = Server::start(Config::local(world.folder.path(), CLINIC)).await else { panic!("it took the file away") };
    assert!(error.to_string().contains("another file has its name"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"my diary");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_listed_with_their_state() {
    let world = World::new().await;
    let folder = Folder::new(world.folder.path());
    let login = world.login().await;
    let other = client::login(world.server.addr(), "anna", "river stone", None).await.unwrap();
    let _client = Client::fresh(world.server.addr(), &login, 1).await;
    ask(&folder, Request::DeviceRevoke { id: other.device.to_string() }, &[]).await.unwrap().0.unwrap();
    let (Ok(Answer::Devices(mut lines)), _) = ask(&folder, Request::DeviceList, &[]).await.unwrap() else { panic!("a list") };
    lines.sort_by_key(|line| line.state.clone());
    let states: Vec<_> = lines.iter().map(|line| (line.id, line.user.as_str(), line.state.as_str())).collect();
    assert_eq!(states, [(login.device, "anna", "active"), (other.device, "anna", "revoked")]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_stops_also_while_all_places_for_commands_are_taken() {
    let world = World::with(Limits { drain: Duration::from_millis(100), ..Limits::default() }).await;
    let path = Folder::new(world.folder.path()).control_path();
    // Command lines that say nothing; one more than there are places.
    let silent: Vec<_> = (0..5).map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap()).collect();
    // They are taken by the time that somebody else was served.
    for _ in &silent {
        world.login().await;
    }
    let begun = Instant::now();
    soon(world.server.shutdown()).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "a silent command line is given up after 30 s");
    drop(silent);
}
