use super::client::{Client, send};
use super::{World, soon};
use crate::net::{Config, Limits, Server, StartError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tombolo_protocol::message::{Down, Up};
use tombolo_protocol::schema::CLINIC;
use tombolo_protocol::version::WORKSPACE_HEADER;

#[tokio::test]
async fn what_is_not_there_is_told_so() {
    let world = World::new().await;
    let addr = world.server.addr();
    let get = |path: &str| send(addr, format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
    assert!(get("/").await.unwrap().body.as_str().unwrap().starts_with("This is a Tombolo server"));
    let health = get("/healthz").await.unwrap();
    assert_eq!((health.status, health.body.as_str()), (200, Some("ok\n")));
    let lost = get("/nowhere").await.unwrap();
    assert_eq!((lost.status, &lost.body["error"]), (404, &"not_found".into()));
    let method = get("/api/login").await.unwrap();
    assert_eq!((method.status, &method.body["error"]), (405, &"method_not_allowed".into()));
    let sync = get("/sync").await.unwrap();
    assert_eq!((sync.status, &sync.body["error"]), (426, &"upgrade_required".into()));
}

#[tokio::test]
async fn only_a_valid_token_is_upgraded() {
    let world = World::new().await;
    let login = world.login().await;
    for token in ["", "nonsense", &login.token[1..]] {
        let Err(Error::Http(answer)) = Client::open(world.server.addr(), token, &[]).await else {
            panic!("{token} was let in")
        };
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()[WORKSPACE_HEADER], login.workspace.to_string());
        assert!(String::from_utf8_lossy(answer.body().as_ref().unwrap()).contains("\"unauthorized\""));
    }
    assert!(Client::open(world.server.addr(), &login.token, &[]).await.is_ok());
}

#[tokio::test]
async fn a_client_of_another_subprotocol_is_told_to_update() {
    let world = World::new().await;
    let login = world.login().await;
    let other = [("sec-websocket-protocol", "tombolo.99".to_owned())];
    let Err(Error::Http(answer)) = Client::open(world.server.addr(), &login.token, &other).await else {
        panic!("it was let in")
    };
    assert_eq!(answer.status(), 400);
    assert!(String::from_utf8_lossy(answer.body().as_ref().unwrap()).contains("update the older of both"));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let world = World::new().await;
    let start = "GET / HTTP/1.1\r\nhost: t\r\nx: ";
    let head = format!("{start}{}", "x".repeat(8 * 1024 - start.len()));
    assert_eq!(send(world.server.addr(), head).await.unwrap().status, 431);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let world = World::new().await;
    let answer = send(world.server.addr(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(answer.is_none_or(|answer| answer.status == 400));
}

#[tokio::test]
async fn a_stranger_who_takes_too_long_is_gone() {
    let world = World::with(Limits { stranger_time: Duration::from_millis(300), ..Limits::default() }).await;
    // Silent, in the middle of a head, and in the middle of a body.
    for beginning in ["", "GET / HTTP/1.1\r\nhost:", "POST /api/login HTTP/1.1\r\nhost: t\r\ncontent-length: 50\r\n\r\n{"] {
        let mut stream = TcpStream::connect(world.server.addr()).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
    // One who is known stays.
    let login = world.login().await;
    let mut client = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    tokio::time::timeout(Duration::from_millis(600), client.hear()).await.unwrap_err();
}

#[tokio::test]
async fn strangers_have_only_so_many_places() {
    let world = World::with(Limits { strangers_max: 2, ..Limits::default() }).await;
    let addr = world.server.addr();
    let mut first = TcpStream::connect(addr).await.unwrap();
    let _second = TcpStream::connect(addr).await.unwrap();
    assert!(send(addr, "GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.is_none(), "there was no place");
    // Whoever is done gives the place back.
    first.write_all(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    soon(first.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(send(addr, "GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap().status, 200);
}

#[tokio::test]
async fn whoever_is_known_takes_no_place_of_strangers_and_may_send_more_than_they() {
    let limits = Limits { strangers_max: 1, stranger_bytes_max: 2048, ..Limits::default() };
    let world = World::with(limits).await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    for nonce in 0..1_000 {
        client.say(&Up::Ping { nonce }).await;
    }
    client.hear_until(|down| *down == Down::Pong { nonce: 999 }).await;
    assert_eq!(send(world.server.addr(), "GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_strangers() {
    let world = World::new().await;
    let mut strangers = Vec::new();
    for beginning in ["", "GET / HTTP/1.1\r\nhost:", "POST /api/login HTTP/1.1\r\nhost: t\r\ncontent-length: 50\r\n\r\n{"] {
        let mut stream = TcpStream::connect(world.server.addr()).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        strangers.push(stream);
    }
    // Answered behind them, so that they were accepted.
    send(world.server.addr(), "GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    tokio::time::timeout(Limits::default().drain / 2, world.server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_told_and_leaves_no_workspace_behind() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = Config { listen: world.server.addr(), ..Config::local(&data, CLINIC) };
    let Err(error) = Server::start(config).await else { panic!("two servers have one port") };
    assert!(matches!(error, StartError::Listen { .. }));
    let said = format!("{} is in use by another program: nothing was started", world.server.addr());
    assert!(error.to_string().starts_with(&said), "{error}");
    assert!(!data.exists());
}
