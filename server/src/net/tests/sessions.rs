use super::client::{self, Client, hello};
use super::{World, soon};
use crate::net::{Config, Server};
use tokio_tungstenite::tungstenite::Message;
use tombolo_protocol::message::{CloseReason, Down, Up};
use tombolo_protocol::schema::CLINIC;
use tombolo_protocol::version::HELLO_HEADER;

fn is_violation(heard: &[Down], about: &str) -> bool {
    matches!(heard, [.., Down::Closed(CloseReason::Violation { what })] if what.contains(about))
}

#[tokio::test]
async fn hello_in_the_upgrade_is_answered_without_a_further_word() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    let welcome = client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    let Down::Welcome(welcome) = welcome else { unreachable!() };
    assert!(welcome.snapshot.seq.0 >= 4, "{welcome:?}");
    client.say(&Up::Ping { nonce: 5 }).await;
    client.hear_until(|down| *down == Down::Pong { nonce: 5 }).await;
}

#[tokio::test]
async fn hello_may_come_in_the_first_frame() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    client.say(&Up::Hello(Box::new(hello(&login, 1)))).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
}

#[tokio::test]
async fn bytes_that_are_no_message_end_the_session_with_a_reason() {
    let world = World::new().await;
    let addr = world.server.addr();
    let login = world.login().await;
    for garbage in ["!!!", "AAAA", "AAECAwQF"] {
        let mut client = Client::open(addr, &login.token, &[(HELLO_HEADER, garbage.to_owned())]).await.unwrap();
        let heard = client.hear_all().await;
        assert!(is_violation(&heard, "Hello cannot be read"), "{garbage}: {heard:?}");
    }
    for (message, about) in [
        (Message::Binary(vec![9, 9, 9].into()), "a frame cannot be read"),
        (Message::Binary(Vec::new().into()), "a frame cannot be read"),
        (Message::Text("hello".into()), "only binary"),
    ] {
        let mut client = Client::open(addr, &login.token, &[]).await.unwrap();
        client.send(message).await;
        let heard = client.hear_all().await;
        assert!(is_violation(&heard, about), "{heard:?}");
    }
    // The others do not notice.
    let mut client = Client::fresh(addr, &login, 1).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
}

#[tokio::test]
async fn a_frame_larger_than_allowed_ends_the_session_before_it_is_read() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    // The server stops reading in the middle of it, so that the sending may fail too.
    let big = Message::Binary(vec![0; tombolo_protocol::limits::FRAME_WIRE_BYTES_MAX + 1].into());
    let _ = soon(client.try_send(big)).await;
    assert_eq!(client.hear_all().await, []);
}

#[tokio::test]
async fn a_newer_connection_of_a_device_takes_over() {
    let world = World::new().await;
    let login = world.login().await;
    let mut first = Client::fresh(world.server.addr(), &login, 1).await;
    first.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    let mut second = Client::fresh(world.server.addr(), &login, 2).await;
    second.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    let heard = first.hear_all().await;
    assert_eq!(heard.last(), Some(&Down::Replaced { process: 7, connection: 2 }));
    second.say(&Up::Ping { nonce: 1 }).await;
    second.hear_until(|down| *down == Down::Pong { nonce: 1 }).await;
}

#[tokio::test]
async fn a_new_device_is_issued_with_a_token_that_works() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    client.say(&Up::NewDevice).await;
    let issued = client.hear_until(|down| matches!(down, Down::DeviceIssued { .. })).await;
    let Down::DeviceIssued { device, token } = issued else { unreachable!() };
    assert_ne!(device, login.device);
    let fresh = client::Login { token, device, ..login };
    let mut client = Client::fresh(world.server.addr(), &fresh, 1).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
}

#[tokio::test]
async fn a_revoked_device_is_told_and_does_not_come_back() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    world.server.operator().revoke_device(login.device).await.unwrap();
    assert_eq!(client.hear_all().await.last(), Some(&Down::Closed(CloseReason::Revoked)));
    assert!(Client::open(world.server.addr(), &login.token, &[]).await.is_err());
}

#[tokio::test]
async fn what_one_writes_another_hears() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    world.server.operator().import_csv("sites", &[], b"name\nKisumu\n".to_vec()).await.unwrap();
    client.hear_until(|down| matches!(down, Down::Delta(delta) if format!("{delta:?}").contains("Kisumu"))).await;
}

#[tokio::test]
async fn a_server_that_stops_says_when_to_come_back_and_gives_its_folder_free() {
    let world = World::new().await;
    let login = world.login().await;
    let mut live = Client::fresh(world.server.addr(), &login, 1).await;
    live.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    let mut silent = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    let World { server, folder } = world;
    soon(server.shutdown()).await;
    let restarting = Down::Restarting { after_ms: 1_000, window_ms: 5_000 };
    assert_eq!(live.hear_all().await.last(), Some(&restarting));
    assert_eq!(silent.hear_all().await.last(), Some(&restarting));
    // The same folder, at once; logins outlive a restart.
    let server = Server::start(Config::local(folder.path(), CLINIC)).await.unwrap();
    let mut client = Client::fresh(server.addr(), &login, 2).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
}
