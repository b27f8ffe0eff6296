use super::client::{self, Client, hello};
use super::{PATIENCE, World, soon};
use crate::net::{Config, Limits, Server, clock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tombolo_protocol::batch::{ChangeBatch, WireChange};
use tombolo_protocol::change::{Change, FieldChange, Op, Push, Verdict};
use tombolo_protocol::frame;
use tombolo_protocol::ids::{FieldTag, Hash16, PushNo, RowId, RowKey, RowNo, Seq, TableTag};
use tombolo_protocol::limits::PUSH_WINDOW_MAX;
use tombolo_protocol::message::{CloseReason, Down, Hello, PushMessage, Up, WantedRow};
use tombolo_protocol::row::RowName;
use tombolo_protocol::schema::CLINIC;
use tombolo_protocol::value::Value;
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
async fn a_revoked_device_that_never_greeted_gets_no_other_one() {
    let world = World::new().await;
    let login = world.login().await;
    let mut live = Client::fresh(world.server.addr(), &login, 1).await;
    live.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    let mut silent = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    silent.say(&Up::Ping { nonce: 1 }).await;
    silent.hear_until(|down| *down == Down::Pong { nonce: 1 }).await;
    world.server.operator().revoke_device(login.device).await.unwrap();
    silent.say(&Up::NewDevice).await;
    assert_eq!(silent.hear_all().await, [Down::Closed(CloseReason::Revoked)]);
}

#[tokio::test]
async fn a_login_ends_the_sessions_of_the_token_before() {
    let world = World::new().await;
    let login = world.login().await;
    let mut live = Client::fresh(world.server.addr(), &login, 1).await;
    live.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    let again = client::login(world.server.addr(), "anna", "river stone", Some(login.device)).await.unwrap();
    assert_eq!(again.device, login.device);
    assert_eq!(live.hear_all().await.last(), Some(&Down::Closed(CloseReason::Unauthorized)));
}

#[tokio::test]
async fn a_device_has_only_so_many_places() {
    let world = World::with(Limits { device_sessions_max: 2, ..Limits::default() }).await;
    let login = world.login().await;
    let addr = world.server.addr();
    let first = Client::open(addr, &login.token, &[]).await.unwrap();
    let _second = Client::open(addr, &login.token, &[]).await.unwrap();
    assert!(Client::open(addr, &login.token, &[]).await.is_err());
    // Another device is not concerned, and a place is given back.
    let other = world.login().await;
    assert!(Client::open(addr, &other.token, &[]).await.is_ok());
    drop(first);
    soon(async { while Client::open(addr, &login.token, &[]).await.is_err() {} }).await;
}

/// Patients whose notes are a megabyte that does not compress.
async fn import_a_megabyte(world: &World) {
    let operator = world.server.operator();
    operator.import_csv("sites", &[], b"name\nKisumu\n".to_vec()).await.unwrap();
    let notes = || (0..125).map(|_| format!("{:032x}", u128::from_le_bytes(clock::random()))).collect::<String>();
    let rows: String = (1..=250).map(|n| format!("{},A,{}\n", RowId::from_bytes([n as u8; 16]), notes())).collect();
    operator.import_csv("patients", &[("site", "Kisumu")], format!("id,name,notes\n{rows}").into_bytes()).await.unwrap();
}

fn patient(n: u8) -> WantedRow {
    WantedRow { table: TableTag(2), name: RowName::Id(RowId::from_bytes([n; 16]), RowNo(0)) }
}

/// A device that asks for far more than it ever takes.
async fn who_takes_no_bytes(world: &World, login: &client::Login, megabytes: usize) -> Client {
    let mut client = Client::fresh(world.server.addr(), login, 1).await;
    for _ in 0..megabytes {
        client.say(&Up::WantRow { rows: (1..=250).map(patient).collect() }).await;
    }
    client
}

#[tokio::test]
async fn a_device_that_takes_no_bytes_keeps_no_other_from_reading() {
    let world = World::with(Limits { reads_max: 1, write_deadline: 2 * PATIENCE, ..Limits::default() }).await;
    import_a_megabyte(&world).await;
    let (one, two) = (world.login().await, world.login().await);
    let _stuck = who_takes_no_bytes(&world, &one, 30).await;
    let mut client = Client::fresh(world.server.addr(), &two, 1).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    // Reads take turns, so that the other one has come to its end meanwhile.
    for _ in 0..200 {
        client.say(&Up::WantRow { rows: vec![patient(1)] }).await;
        client.hear_until(|down| matches!(down, Down::Rows { .. })).await;
    }
}

#[tokio::test]
async fn a_revoked_device_that_takes_no_bytes_is_cut() {
    let limits = Limits { shut_out_after: Duration::from_millis(100), drain: 2 * PATIENCE, ..Limits::default() };
    let world = World::with(limits).await;
    import_a_megabyte(&world).await;
    let operator = world.server.operator();
    let login = world.login().await;
    let _client = who_takes_no_bytes(&world, &login, 30).await;
    operator.revoke_device(login.device).await.unwrap();
    // A server that stops waits for its sessions; without the cut, until the client has taken everything.
    let begun = Instant::now();
    soon(world.server.shutdown()).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_device_that_leaves_has_its_place_until_nothing_is_written_to_it_any_more() {
    let world = World::with(Limits { write_deadline: 2 * PATIENCE, ..Limits::default() }).await;
    import_a_megabyte(&world).await;
    let login = world.login().await;
    // As many frames as wait for the writer: the session itself is free to hear that the device leaves.
    let mut client = who_takes_no_bytes(&world, &login, 12).await;
    let begun = Instant::now();
    client.send(Message::Close(None)).await;
    let free = async {
        while world.server.hub().sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(free).await;
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_frame_that_takes_long_to_come_in_is_answered_by_signs_of_life() {
    let world = World::with(Limits { alive_every: Duration::from_millis(50), ..Limits::default() }).await;
    let login = world.login().await;
    let mut client = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    let frozen = (1..=PUSH_WINDOW_MAX as u64).map(|number| (PushNo(number), Hash16::default())).collect();
    let frame = frame::encode_up(&Up::Hello(Box::new(Hello { frozen, ..hello(&login, 1) })));
    // Of a binary message with a mask of zeros.
    let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
    client.send_raw(&[0x82, 0x80 | 126, length[0], length[1], 0, 0, 0, 0]).await;
    let mut bytes = frame.iter();
    // However slow this machine is, a look of the server comes behind one of these bytes and before the frame is whole.
    let heard = loop {
        client.send_raw(&[*bytes.next().expect("the server says something before the frame is whole")]).await;
        if let Ok(message) = tokio::time::timeout(Duration::from_millis(10), client.hear_message()).await {
            break message;
        }
    };
    assert_eq!(heard, Message::Ping(Vec::new().into()));
    client.send_raw(bytes.as_slice()).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    // Where nothing comes in, no signs of life are needed.
    while let Ok(message) = tokio::time::timeout(Duration::from_millis(200), client.hear_message()).await {
        assert!(matches!(message, Message::Binary(_)), "{message:?}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_behind_what_came_before_it_and_a_closing_frame_by_one() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    client.say(&Up::Ping { nonce: 5 }).await;
    client.send(Message::Ping("behind".into())).await;
    client.hear_until(|down| *down == Down::Pong { nonce: 5 }).await;
    while client.hear_message().await != Message::Pong("behind".into()) {}
    let why = Message::Close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() }));
    client.send(why.clone()).await;
    while client.hear_message().await != why {}
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

/// A push that makes one site, behind the push with the other hash.
pub(super) fn site(number: u64, previous: Hash16) -> PushMessage {
    let id = RowId::from_bytes([u8::try_from(number).unwrap(); 16]);
    let fields = vec![FieldChange { field: FieldTag(1), value: Value::text(&format!("Site {number}")), base: Seq(0) }];
    let change = Change {
        key: RowKey { table: TableTag(1), id },
        op: Op::Create,
        row_base: Seq(0),
        view_base: Seq(0),
        fields,
        lost: Vec::new(),
        group: None,
        edited_at_ms: 0,
    };
    let wire = WireChange {
        table: TableTag(1),
        name: RowName::Id(id, RowNo(0)),
        op: change.op,
        row_base: change.row_base,
        view_base: change.view_base,
        fields: change.fields.clone(),
        lost: Vec::new(),
        group: None,
        edited_at_ms: 0,
    };
    let push = Push { number: PushNo(number), hash: Hash16::default(), schema: Seq(2), changes: vec![change] };
    let hash = push.compute_hash(previous);
    PushMessage { number: push.number, hash, schema: push.schema, changes: ChangeBatch(vec![wire]) }
}

#[tokio::test]
async fn a_full_window_of_pushes_is_answered_in_order_and_once() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    let mut hash = Hash16::default();
    let pushes: Vec<PushMessage> = (1..=PUSH_WINDOW_MAX as u64)
        .map(|number| {
            let push = site(number, hash);
            hash = push.hash;
            push
        })
        .collect();
    for push in &pushes {
        client.say(&Up::Push(Box::new(push.clone()))).await;
    }
    for push in &pushes {
        let result = client.hear_until(|down| matches!(down, Down::Result { .. })).await;
        let Down::Result { outcome, .. } = result else { unreachable!() };
        assert_eq!(outcome.number, push.number);
        assert!(outcome.verdicts.unwrap().iter().all(|verdict| matches!(verdict, Verdict::Accepted { .. })));
    }
    let head = world.server.operator().read(|snapshot| Ok(snapshot.head())).await.unwrap();
    // The answers were lost: Hello names the pushes, Welcome has what was recorded, and nothing is decided again.
    let mut hello = hello(&login, 2);
    hello.frozen = pushes.iter().map(|push| (push.number, push.hash)).collect();
    let mut again = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    again.say(&Up::Hello(Box::new(hello))).await;
    let Down::Welcome(welcome) = again.hear_until(|down| matches!(down, Down::Welcome(_))).await else { unreachable!() };
    assert_eq!(welcome.outcomes.len(), pushes.len());
    assert_eq!(world.server.operator().read(|snapshot| Ok(snapshot.head())).await.unwrap(), head);
}

#[tokio::test]
async fn a_server_that_stops_says_when_to_come_back_and_gives_its_folder_free() {
    let world = World::new().await;
    let login = world.login().await;
    let mut live = Client::fresh(world.server.addr(), &login, 1).await;
    live.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    let mut silent = Client::open(world.server.addr(), &login.token, &[]).await.unwrap();
    let World { server, folder } = world;
    // Whoever still holds a handle does not hold the folder.
    let _operator = server.operator();
    // Clients that close their side do not keep it waiting.
    let (to_live, to_silent) = (async move { live.hear_all().await }, async move { silent.hear_all().await });
    let ((), to_live, to_silent) = tokio::join!(soon(server.shutdown()), to_live, to_silent);
    let restarting = Down::Restarting { after_ms: 1_000, window_ms: 5_000 };
    assert_eq!((to_live.last(), to_silent.last()), (Some(&restarting), Some(&restarting)));
    // The same folder, at once; logins outlive a restart.
    let server = Server::start(Config::local(folder.path(), CLINIC)).await.unwrap();
    let mut client = Client::fresh(server.addr(), &login, 2).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
}
