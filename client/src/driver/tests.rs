//! The driver against tiny servers: whatever comes back, what is pending stays and the state is named.

use super::jobs::{Seen, SyncJob};
use super::*;
use crate::event::Event;
use crate::handle::Client;
use crate::local::LocalWrite;
use crate::login::LoginAnswer;
use crate::store::Store;
use crate::testing::{account, answer_once, client_at, clinic, login_answer, site};
use crate::transport::{Incoming, Knock, Link};
use futures::{SinkExt, StreamExt};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tombolo_protocol::frame::{decode_up, encode_down, hello_from_header};
use tombolo_protocol::ids::{FieldTag, Hash16, Mark, PushNo, RowId, RowKey, Seq, TableTag, WorkspaceId};
use tombolo_protocol::message::{Activity, CaughtUp, CloseReason, Down, History, Up, Welcome};
use tombolo_protocol::outbox::Write;
use tombolo_protocol::schema::Role;
use tombolo_protocol::value::Value;
use tombolo_protocol::version::{HELLO_HEADER, PROTOCOL, SUBPROTOCOL};

/// What a tiny server does with one connection.
#[derive(Clone, Copy)]
enum Play {
    /// Greets, and answers what is asked.
    Serve,
    /// Greets, and cuts the link.
    Cut,
    /// Says nothing at all.
    Silent,
    /// Says only this, and closes.
    Say(fn() -> Down),
    /// Speaks gibberish.
    Gibberish,
}

/// What a tiny server heard.
#[derive(PartialEq, Debug)]
enum Heard {
    /// With the counter of connections of a Hello inside.
    Upgrade {
        bearer: String,
        hello: Option<u32>,
    },
    Up(Up),
    End,
}

/// A server that plays one part after the other, the last one for ever.
fn server(plays: &[Play]) -> (String, Receiver<Heard>) {
    let (heard, hears) = channel();
    let (told, tells) = channel();
    let plays = plays.to_vec();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let play = plays[plays.len().min(connection + 1) - 1];
                tokio::spawn(serve(stream, play, heard.clone()));
            }
        });
    });
    (tells.recv().unwrap(), hears)
}

#[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
async fn serve(stream: TcpStream, play: Play, heard: Sender<Heard>) {
    let upgrades = heard.clone();
    let upgrade = move |request: &Request, mut response: Response| {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("sec-websocket-protocol").as_deref(), Some(SUBPROTOCOL));
        let hello = header(HELLO_HEADER).map(|hello| hello_from_header(&hello).unwrap());
        let _ = upgrades.send(Heard::Upgrade {
            bearer: header("authorization").unwrap_or_default(),
            hello: hello.map(|hello| hello.connection),
        });
        response.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, upgrade).await.unwrap();
    match play {
        Play::Silent => {}
        Play::Gibberish => socket.send(Message::Binary(vec![9, 9, 9].into())).await.unwrap(),
        Play::Say(what) => say(&mut socket, &what()).await,
        Play::Cut => return say(&mut socket, &welcome()).await,
        Play::Serve => {
            say(&mut socket, &welcome()).await;
            say(&mut socket, &caught_up()).await;
        }
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(frame) = message else { continue };
        let up = decode_up(&frame).unwrap();
        let answer = match (&up, play) {
            (Up::WantCaughtUp, Play::Serve) => Some(caught_up()),
            (Up::WantHistory { key }, Play::Serve) => {
                Some(Down::History(Box::new(History { key: *key, entries: Vec::new(), more: true })))
            }
            (Up::WantActivity, Play::Serve) => Some(Down::Activity(Box::new(Activity { deeds: Vec::new(), more: true }))),
            _ => None,
        };
        let _ = heard.send(Heard::Up(up));
        if let Some(answer) = answer {
            say(&mut socket, &answer).await;
        }
    }
    let _ = heard.send(Heard::End);
}

async fn say(socket: &mut WebSocketStream<TcpStream>, down: &Down) {
    // The client may have gone already.
    let _ = socket.send(Message::Binary(encode_down(down).into())).await;
}

fn head() -> Mark {
    Mark { seq: Seq(4), hash: Hash16([4; 16]) }
}

fn welcome() -> Down {
    Down::Welcome(Box::new(Welcome {
        protocol: PROTOCOL,
        server_ms: 0,
        snapshot: head(),
        last: (PushNo(0), Hash16::default()),
        outcomes: Vec::new(),
        sections: Some(Vec::new()),
        authors: Default::default(),
    }))
}

fn caught_up() -> Down {
    Down::CaughtUp(Box::new(CaughtUp { head: None, safe: Seq(0), schema: Seq(1), sections: 0, digests: Vec::new() }))
}

fn sync(client: &Client) -> Result<SyncDone, SyncError> {
    client.sync(SyncOptions::default(), |_| ControlFlow::Continue(()))
}

fn edit(client: &Client, name: &str) -> RowKey {
    let key = RowKey { table: TableTag(2), id: crate::handle::new_row_id() };
    client.transaction(vec![LocalWrite { key, write: Write::Create(fields(name)), seen: None }], false).unwrap();
    key
}

fn fields(name: &str) -> BTreeMap<FieldTag, Value> {
    [(FieldTag(1), Value::text(name)), (FieldTag(9), Value::uuid(site().0))].into()
}

fn token(client: &Client) -> Option<String> {
    client.account().unwrap().unwrap().token
}

#[test]
fn the_role_of_the_last_login_is_known() {
    let client = client_at("");
    assert_eq!(client.role().unwrap(), Some(Role::Editor));
    client.adopt(LoginAnswer { role: Role::Viewer, ..login_answer("") }).unwrap();
    assert_eq!(client.role().unwrap(), Some(Role::Viewer));
}

#[test]
fn a_sync_says_hello_inside_the_request_and_closes_behind_itself() {
    let (url, heard) = server(&[Play::Serve]);
    let client = client_at(&url);
    let done = sync(&client).unwrap();
    assert_eq!(done.report.head, Seq(4));
    assert!(done.bytes_up > 200 && done.bytes_down > 100, "{done:?}");
    let told: Vec<Heard> = heard.iter().take_while(|heard| *heard != Heard::End).collect();
    let upgrade = Heard::Upgrade { bearer: "Bearer token".into(), hello: Some(1) };
    assert_eq!(told, [upgrade, Heard::Up(Up::Bye)]);
}

#[test]
fn a_link_that_is_cut_is_opened_again_and_the_sync_goes_on() {
    let (url, _heard) = server(&[Play::Cut, Play::Cut, Play::Serve]);
    assert_eq!(sync(&client_at(&url)).unwrap().report.head, Seq(4));
}

#[test]
fn a_server_that_is_not_there_leaves_everything_pending() {
    let client = clinic();
    edit(&client, "Rose");
    assert!(matches!(sync(&client), Err(SyncError::Unreachable { .. })));
    assert_eq!(client.pending().unwrap().len(), 1);
}

#[test]
fn an_encrypted_link_is_not_opened_to_what_does_not_encrypt() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = io::Write::write_all(&mut stream.unwrap(), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let error = sync(&client_at(&url)).unwrap_err();
    assert!(matches!(error, SyncError::Unreachable { .. }), "{error}");
}

#[test]
fn a_portal_is_a_state_of_its_own_and_no_logout() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello";
    let (url, _heard) = answer_once(page);
    let client = client_at(&url.to_string());
    let mut notices = client.subscribe().unwrap();
    client.connect(Mode::Manual).unwrap();
    let portal = std::iter::from_fn(|| notices.wait())
        .find(|notice| matches!(notice, Notice::Connection(Connection::CaptivePortal { .. })));
    assert!(portal.is_some());
    assert_eq!(token(&client).as_deref(), Some("token"));
}

#[test]
fn a_token_that_is_refused_asks_for_a_login_and_is_kept() {
    let (client, ended) = refused_by(account("").workspace);
    assert!(matches!(ended, Err(SyncError::NeedsLogin)));
    assert_eq!(client.connection(), Connection::NeedsLogin);
    assert_eq!(token(&client).as_deref(), Some("token"));
}

#[test]
fn a_token_that_another_server_refuses_is_no_logout() {
    let (client, ended) = refused_by(WorkspaceId::from_bytes([9; 16]));
    assert!(matches!(ended, Err(SyncError::OtherServer)));
    assert_eq!(client.connection(), Connection::OtherServer);
    assert!(client.status().unwrap().other_server);
    assert_eq!(token(&client).as_deref(), Some("token"));
}

/// A client, and its sync at a server of that workspace, which does not know its token.
fn refused_by(workspace: WorkspaceId) -> (Client, Result<SyncDone, SyncError>) {
    let answer = format!("HTTP/1.1 401 Unauthorized\r\ntombolo-workspace: {workspace}\r\ncontent-length: 0\r\n\r\n");
    let (url, _heard) = answer_once(&answer);
    let client = client_at(&url.to_string());
    let ended = sync(&client);
    (client, ended)
}

#[test]
fn another_server_is_forgotten_when_the_right_one_is_back() {
    let (url, _heard) = server(&[Play::Say(|| Down::OtherServer { workspace: Default::default() }), Play::Serve]);
    let client = client_at(&url);
    sync(&client).unwrap_err();
    assert!(client.status().unwrap().other_server);
    sync(&client).unwrap();
    assert!(!client.status().unwrap().other_server);
}

#[test]
fn a_panic_over_a_damaged_store_is_told_and_ends_nothing_else() {
    let client = clinic();
    let panicking = client.act(|_, _| -> Result<(), _> { panic!("Invalid page type byte 207") });
    let error = panicking.unwrap_err();
    assert!(matches!(error.store_failure(), Some(StoreError::Damaged(why)) if why.contains("byte 207")), "{error}");
    // The store in memory is a new one then; what counts is that there is an answer.
    client.account().unwrap();
}

#[test]
fn without_a_token_nothing_is_even_tried() {
    let client = clinic();
    assert!(!client.logout().unwrap(), "there is no server to hear of it");
    assert!(matches!(sync(&client), Err(SyncError::NeedsLogin)));
}

#[test]
fn what_the_server_says_at_the_door_becomes_a_state_that_a_person_can_act_on() {
    let cases: [(fn() -> Down, Connection); 4] = [
        (|| Down::Closed(CloseReason::Version { lowest: 7, highest: 9 }), Connection::UpdateNeeded),
        (|| Down::Closed(CloseReason::Revoked), Connection::NeedsLogin),
        (|| Down::Closed(CloseReason::Unauthorized), Connection::NeedsLogin),
        (|| Down::OtherServer { workspace: Default::default() }, Connection::OtherServer),
    ];
    for (what, state) in cases {
        let (url, _heard) = server(&[Play::Say(what)]);
        let client = client_at(&url);
        let error = sync(&client).unwrap_err();
        assert_eq!(client.connection(), state);
        let fits = match state {
            Connection::UpdateNeeded => matches!(error, SyncError::UpdateNeeded),
            Connection::NeedsLogin => matches!(error, SyncError::NeedsLogin),
            _ => matches!(error, SyncError::OtherServer),
        };
        assert!(fits, "{state:?}: {error}");
    }
}

#[test]
fn a_server_that_speaks_gibberish_is_given_up_with_that_reason() {
    let (url, _heard) = server(&[Play::Gibberish]);
    let error = sync(&client_at(&url)).unwrap_err().to_string();
    assert!(error.contains("broke the protocol"), "{error}");
}

#[test]
fn a_sync_can_be_stopped_by_who_waits_and_by_its_time() {
    let (url, _heard) = server(&[Play::Silent]);
    let client = client_at(&url);
    let stopped = client.sync(SyncOptions::default(), |progress| match progress.bytes_up {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    });
    assert!(matches!(stopped, Err(SyncError::Cancelled)));
    let options = SyncOptions { timeout: Some(Duration::from_millis(20)), ..SyncOptions::default() };
    assert!(matches!(client.sync(options, |_| ControlFlow::Continue(())), Err(SyncError::TimedOut)));
}

#[test]
fn a_client_that_is_dropped_ends_the_sync_of_who_waits() {
    let (url, heard) = server(&[Play::Silent]);
    let client = client_at(&url);
    let waiting = client.clone();
    let thread = std::thread::spawn(move || sync(&waiting));
    assert!(matches!(heard.recv().unwrap(), Heard::Upgrade { .. }));
    client.stop();
    assert!(matches!(thread.join().unwrap(), Err(SyncError::Stopped)));
    assert!(client.pending().is_err());
}

#[test]
fn a_connected_client_stays_so_until_it_is_told_otherwise() {
    let (url, heard) = server(&[Play::Serve]);
    let client = client_at(&url);
    let mut notices = client.subscribe().unwrap();
    client.connect(Mode::Manual).unwrap();
    let mut states = std::iter::from_fn(|| notices.wait()).filter_map(|notice| match notice {
        Notice::Connection(connection) => Some(connection),
        _ => None,
    });
    assert_eq!(states.next(), Some(Connection::Connecting));
    assert_eq!(states.next(), Some(Connection::CatchingUp));
    sync(&client).unwrap();
    assert_eq!(states.next(), Some(Connection::Online));
    client.disconnect().unwrap();
    assert_eq!(states.next(), Some(Connection::Offline));
    assert!(heard.iter().take_while(|heard| *heard != Heard::End).any(|heard| heard == Heard::Up(Up::Bye)));
}

#[test]
fn a_question_opens_a_link_of_its_own() {
    let (url, _heard) = server(&[Play::Cut, Play::Serve]);
    let key = RowKey { table: TableTag(2), id: RowId::from_bytes([5; 16]) };
    let history = client_at(&url).history(key, Duration::from_secs(60)).unwrap();
    assert!(history.more && history.key == key);
    assert!(matches!(clinic().history(key, Duration::from_secs(60)), Err(SyncError::Unreachable { .. })));
    let (url, _heard) = server(&[Play::Cut, Play::Serve]);
    assert!(client_at(&url).activity(Duration::from_secs(60)).unwrap().more);
    assert!(matches!(clinic().activity(Duration::from_secs(60)), Err(SyncError::Unreachable { .. })));
}

/// A disk in memory that outlives its store, and fails when it is told to.
#[derive(Clone, Debug)]
struct Disk {
    bytes: Arc<InMemoryBackend>,
    broken: Arc<AtomicBool>,
    /// Counts what was made durable.
    syncs: Arc<AtomicUsize>,
    /// It takes no writes from then on.
    syncs_max: Arc<AtomicUsize>,
}

impl Disk {
    fn works(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.works()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.works()?;
        if self.syncs.load(Ordering::Relaxed) >= self.syncs_max.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.write(offset, data)
    }
}

#[test]
fn after_a_failed_write_the_store_is_opened_again_and_nothing_saved_is_lost() {
    let (client, disk) = on_disk("http://127.0.0.1:1");
    edit(&client, "Rose");
    disk.broken.store(true, Ordering::Relaxed);
    let fields = [(FieldTag(1), Value::text("Otieno"))].into();
    let key = RowKey { table: TableTag(2), id: RowId::from_bytes([6; 16]) };
    let write = LocalWrite { key, write: Write::Create(fields), seen: None };
    let error = client.transaction(vec![write.clone()], false).unwrap_err();
    assert!(matches!(error.store_failure(), Some(StoreError::DiskFull)), "{error}");
    disk.broken.store(false, Ordering::Relaxed);
    client.transaction(vec![write], false).unwrap();
    assert_eq!(client.pending().unwrap().len(), 2);
}

/// A client on a disk that can be broken, logged in at an address.
fn on_disk(url: &str) -> (Client, Disk) {
    let syncs_max = Arc::new(AtomicUsize::new(usize::MAX));
    let disk = Disk { bytes: Arc::new(InMemoryBackend::new()), broken: Arc::default(), syncs: Arc::default(), syncs_max };
    let opened = disk.clone();
    let client = Client::with_opener(Box::new(move || Store::with_backend(opened.clone()))).unwrap();
    client.adopt(login_answer(url)).unwrap();
    (client, disk)
}

#[test]
fn a_store_that_cannot_be_opened_again_is_tried_by_itself_while_a_link_is_wanted() {
    let (url, heard) = server(&[Play::Serve]);
    let (client, disk) = on_disk(&url);
    let mut notices = client.subscribe().unwrap();
    client.connect(Mode::Manual).unwrap();
    let mut states = std::iter::from_fn(|| notices.wait()).filter_map(|notice| match notice {
        Notice::Connection(connection) => Some(connection),
        _ => None,
    });
    assert!(states.any(|state| state == Connection::Online));
    disk.broken.store(true, Ordering::Relaxed);
    let write = LocalWrite { key: RowKey { table: TableTag(2), id: site() }, write: Write::Create(fields("Rose")), seen: None };
    client.transaction(vec![write], false).unwrap_err();
    assert!(states.any(|state| matches!(state, Connection::StoreFailed { error: StoreError::DiskFull })));
    disk.broken.store(false, Ordering::Relaxed);
    assert!(states.any(|state| state == Connection::Online));
    let hellos: Vec<u32> = heard
        .try_iter()
        .filter_map(|heard| match heard {
            Heard::Upgrade { hello, .. } => hello,
            _ => None,
        })
        .collect();
    assert_eq!(hellos, [1, 2], "the process goes on counting");
}

#[test]
fn an_edit_that_is_durable_is_told_so_although_the_disk_fails_behind_it() {
    let (url, _heard) = server(&[Play::Serve]);
    let (client, disk) = on_disk(&url);
    let before = disk.syncs.load(Ordering::Relaxed);
    edit(&client, "Rose");
    let each = disk.syncs.load(Ordering::Relaxed) - before;
    let mut notices = client.subscribe().unwrap();
    client.connect(Mode::Automatic).unwrap();
    let mut states = std::iter::from_fn(|| notices.wait()).filter_map(|notice| match notice {
        Notice::Connection(connection) => Some(connection),
        _ => None,
    });
    assert!(states.any(|state| state == Connection::Online));
    // The edit is the last thing that the disk takes: not that it is frozen for sending.
    disk.syncs_max.store(disk.syncs.load(Ordering::Relaxed) + each, Ordering::Relaxed);
    edit(&client, "Otieno");
    // Whatever is asked next comes behind the failure.
    assert!(client.account().is_err());
    let is_failure = |state| matches!(state, Connection::StoreFailed { error: StoreError::DiskFull });
    assert!(is_failure(client.connection()));
    disk.syncs_max.store(usize::MAX, Ordering::Relaxed);
    assert!(states.any(|state| state == Connection::Online));
    assert_eq!(client.pending().unwrap().len(), 2);
}

fn driver() -> Driver {
    let host = Host::open(Box::new(|| Store::with_backend(InMemoryBackend::new())), 1).unwrap();
    Driver::new(host, mpsc::unbounded_channel().1, watch::channel(Connection::Offline).0, Arc::default())
}

#[tokio::test]
async fn attempts_that_lead_on_are_made_again_soon_while_somebody_waits() {
    let mut driver = driver();
    for waits in [false, true] {
        driver.sync = waits.then(|| SyncJob::new(Arc::default(), Instant::now(), None, (0, 0)));
        for _ in 0..5 {
            driver.backoff.failed(0, 0);
        }
        driver.tell(Event::RowsChanged(Default::default()));
        assert_eq!(driver.backoff.failures() == 0, waits);
    }
}

#[tokio::test]
async fn whoever_waits_hears_of_every_answer_how_much_is_still_pending() {
    let mut driver = driver();
    let watch = Arc::new(SyncWatch::default());
    driver.sync = Some(SyncJob::new(watch.clone(), Instant::now(), None, (0, 0)));
    driver.tell(Event::RowsChanged(Default::default()));
    watch.done(Ok(SyncDone::default()));
    assert!(matches!(watch.wait(), Seen::Progress(_)));
}

#[tokio::test]
async fn of_several_questions_each_is_told_when_its_own_time_is_over() {
    let mut driver = driver();
    let now = Instant::now();
    let answers: Vec<_> = [60, 0, 0]
        .into_iter()
        .map(|seconds| {
            let (reply, answer) = std::sync::mpsc::sync_channel(1);
            let key = RowKey { table: TableTag(2), id: site() };
            driver
                .questions
                .push_back(Question { asked: Asked::History(key, reply), deadline: now + Duration::from_secs(seconds) });
            answer
        })
        .collect();
    driver.time_passed();
    let told: Vec<bool> = answers.iter().map(|answer| matches!(answer.try_recv(), Ok(Err(SyncError::TimedOut)))).collect();
    assert_eq!(told, [false, true, true]);
    assert!(driver.next_timer() > now, "or the thread spins");
}

#[tokio::test]
async fn a_sleep_is_noticed_by_whatever_comes_first_behind_it() {
    let mut driver = driver();
    driver.link = LinkState::Waiting(Instant::now() + Duration::from_secs(60));
    driver.clock.sleep(600_000);
    driver.next_timer();
    assert!(matches!(driver.link, LinkState::Down), "what was waited for before the sleep is not waited for behind it");
}

#[tokio::test]
async fn a_session_goes_through_a_proxy() {
    let (url, _heard) = server(&[Play::Serve]);
    let url: crate::url::ServerUrl = url.parse().unwrap();
    let (proxy, asked) = crate::testing::proxy_once();
    let target = url.authority();
    let knock = Knock { url, proxy: Some(proxy), token: "token".to_owned(), workspace: Default::default(), hello: None };
    let mut link = Link::open(knock, Arc::default()).await.unwrap();
    assert!(matches!(link.incoming.recv().await, Some(Incoming::Frame(_))));
    assert!(asked.recv().unwrap().starts_with(&format!("CONNECT {target} ")));
}
