//! A store whose writes or reads fail (P9).

use super::client::{Client, send};
use super::sessions::site;
use super::{World, soon};
use crate::access::OPERATOR;
use crate::net::clock;
use crate::net::hub::{Health, Hub};
use crate::net::log;
use crate::net::operator::blocking;
use crate::store::{Store, StoreError};
use crate::workspace::{Init, Job, Reply, Workspace};
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tombolo_protocol::commit::{AccessChange, Grant};
use tombolo_protocol::ids::{Hash16, UserId, WorkspaceId};
use tombolo_protocol::message::{CloseReason, Down, Up};
use tombolo_protocol::schema::{CLINIC, Role};

/// A file on a disk that can be full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    // The locks are those of the file: the store is opened again only when everybody has let go of it.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

fn open(path: &PathBuf, full: &Arc<AtomicBool>) -> Result<Store, StoreError> {
    let file =
        std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(StoreError::Io)?;
    Store::with_backend(Disk { file: FileBackend::new(file)?, full: full.clone() })
}

fn add(name: &str) -> Job {
    let change = AccessChange::User {
        id: UserId(clock::random_id()),
        name: name.to_owned(),
        role: Role::Viewer,
        grant: Grant::All,
        password: String::new(),
    };
    Job::Access { by: OPERATOR, change }
}

#[tokio::test]
async fn after_a_failed_write_nobody_is_answered_until_the_store_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let full = Arc::new(AtomicBool::new(false));
    let store = open(&path, &full).unwrap();
    let id = WorkspaceId(clock::random_id());
    Workspace::init(store, Init { id, schema: CLINIC }, 1).map(drop).unwrap();

    let again = full.clone();
    let (hub, writer) = Hub::open(Box::new(move || open(&path, &again)), log::nowhere).unwrap();
    let mut health = hub.health();
    assert!(matches!(hub.ask(add("anna")).await, Ok(Reply::Access(Ok(_)))));
    let head = hub.snapshot().unwrap().head();

    full.store(true, Ordering::SeqCst);
    let error = hub.ask(add("ben")).await.unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    soon(health.wait_for(|health| *health == Health::Trouble)).await.unwrap();
    assert!(hub.snapshot().is_err(), "nothing is answered from what may not be durable");

    full.store(false, Ordering::SeqCst);
    soon(health.wait_for(|health| *health == Health::Serving(1))).await.unwrap();
    assert_eq!(hub.head().borrow().head, head);
    assert!(hub.snapshot().unwrap().user_named("ben").unwrap().is_none());
    assert!(matches!(hub.ask(add("ben")).await, Ok(Reply::Access(Ok(_)))));
    assert!(hub.snapshot().unwrap().user_named("ben").unwrap().is_some());
    let stopping = hub.clone();
    blocking(move || stopping.stop(writer)).await;
    assert!(hub.ask(add("cem")).await.is_err());
}

#[tokio::test]
async fn after_a_failed_read_the_store_is_opened_again_without_any_write() {
    let world = World::new().await;
    let hub = world.server.hub();
    let mut health = hub.health();
    // A record that contradicts another one would do so again.
    assert!(hub.read(|_| Err::<(), _>(StoreError::damaged("a record"))).is_err());
    assert!(hub.snapshot().is_ok());
    assert!(hub.read(|_| Err::<(), _>(StoreError::Io(io::Error::other("a bad sector")))).is_err());
    assert!(hub.snapshot().is_err(), "nothing is answered from a store that cannot be read");
    soon(health.wait_for(|health| *health == Health::Serving(1))).await.unwrap();
    assert!(hub.snapshot().is_ok());
    // What failed in the store before does not close the new one.
    hub.ask_to_reopen();
    assert!(matches!(hub.ask(add("ben")).await, Ok(Reply::Access(Ok(_)))));
}

#[tokio::test]
async fn readers_share_a_view_until_the_next_write_and_none_is_answered_from_after_a_failed_one() {
    let world = World::new().await;
    let hub = world.server.hub();
    let view = hub.snapshot().unwrap();
    assert!(Arc::ptr_eq(&view, &hub.snapshot().unwrap()), "one for all readers");
    assert!(matches!(hub.ask(add("ben")).await, Ok(Reply::Access(Ok(_)))));
    let newer = hub.snapshot().unwrap();
    assert_eq!(newer.head().seq, view.head().seq.next(), "who hears of a write reads what it wrote");
    assert!(hub.read(|view| view.user_named("ben")).unwrap().is_some());
    let store = hub.store().unwrap();
    let answer = hub.read(|view| {
        store.poison();
        view.user_named("ben")
    });
    assert!(answer.is_err(), "what was read when a write failed is not told");
    assert!(hub.snapshot().is_err(), "a view that is there already is not given");
}

#[tokio::test]
async fn sessions_end_with_the_store_and_are_told_when_to_come_back() {
    let world = World::new().await;
    let login = world.login().await;
    let mut client = Client::fresh(world.server.addr(), &login, 1).await;
    client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    world.server.hub().announce_health(Health::Trouble);
    let heard = client.hear_all().await;
    assert!(matches!(heard.last(), Some(Down::Closed(CloseReason::TryLater { .. }))), "{heard:?}");
    // Also one that comes meanwhile.
    let mut late = Client::fresh(world.server.addr(), &login, 2).await;
    assert!(matches!(late.hear_all().await.last(), Some(Down::Closed(CloseReason::TryLater { .. }))));
    let health = send(world.server.addr(), "GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    assert_eq!(health.status, 503);
}

#[tokio::test]
async fn who_asks_while_the_store_is_opened_again_waits_a_little() {
    let world = World::new().await;
    let hub = world.server.hub();
    let store = hub.store().unwrap();
    hub.set_store(None);
    let operator = world.server.operator();
    let mended = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        hub.set_store(Some(store));
    };
    let asked = async { tokio::join!(world.login(), operator.export_csv("sites"), mended) };
    let (_, exported, ()) = soon(asked).await;
    exported.unwrap();
}

#[tokio::test]
async fn a_defect_is_told_to_the_session_whose_push_met_it_and_to_no_other() {
    let world = World::new().await;
    let (one, two) = (world.login().await, world.login().await);
    let mut bystander = Client::fresh(world.server.addr(), &one, 1).await;
    let mut client = Client::fresh(world.server.addr(), &two, 1).await;
    for client in [&mut bystander, &mut client] {
        client.hear_until(|down| matches!(down, Down::Welcome(_))).await;
    }
    client.say(&Up::Push(Box::new(site(0xDE, Hash16::default())))).await;
    assert!(matches!(client.hear_all().await.last(), Some(Down::Closed(CloseReason::Defect { .. }))));
    assert!(matches!(bystander.hear_all().await.last(), Some(Down::Closed(CloseReason::TryLater { .. }))));
}
