//! The link: when there is one, how it is opened and ended, and when it is tried again.

use super::jobs::SyncJob;
use super::state::{Connection, Mode, SyncError};
use super::{Driver, GOODBYE, PATIENCE_MS, random, wall_ms};
use crate::proxy;
use crate::store::StoreError;
use crate::transport::{ConnectError, Incoming, Knock, Link};
use crate::url::ServerUrl;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Bytes;
use tombolo_protocol::frame::{encode_up, hello_to_header};
use tombolo_protocol::message::Up;

pub(super) enum LinkState {
    Down,
    /// It is tried again then.
    Waiting(Instant),
    Connecting {
        attempt: JoinHandle<Result<Link, ConnectError>>,
        /// The first frame, where Hello does not go with the request.
        first: Option<Bytes>,
    },
    Up(Box<UpLink>),
}

pub(super) struct UpLink {
    pub(super) link: Link,
    pub(super) to_send: VecDeque<Bytes>,
    pub(super) since: Instant,
}

pub(super) enum News {
    Connected(Result<Link, ConnectError>),
    Incoming(Incoming),
    /// A frame went into the link's queue.
    Sent,
}

impl Driver {
    /// Opens or closes the link, as it is wanted now, and shows how it stands.
    pub(super) fn steer(&mut self) {
        if self.host.healthy().is_none() && self.is_asked_for_link() {
            let waits = matches!(self.link, LinkState::Waiting(until) if until > Instant::now());
            if waits || !self.open_store() {
                return self.show_connection();
            }
            self.link = LinkState::Down;
        }
        let wanted = self.link_is_wanted();
        match self.link {
            LinkState::Down if wanted => self.connect(),
            LinkState::Waiting(until) if wanted && until <= Instant::now() => self.connect(),
            LinkState::Waiting(_) if !wanted => self.link = LinkState::Down,
            LinkState::Connecting { .. } if !wanted => self.end_link(false, Some(0)),
            LinkState::Up(_) if !wanted => {
                if let Some(engine) = self.host.healthy() {
                    engine.bye();
                }
                self.drain_frames();
                self.end_link(false, Some(0));
            }
            _ => {}
        }
        self.show_connection();
    }

    pub(super) fn link_is_wanted(&mut self) -> bool {
        let asked = self.is_asked_for_link();
        asked && self.blocked.is_none() && self.has_token()
    }

    pub(super) fn is_asked_for_link(&self) -> bool {
        let stays = matches!(self.wanted, Some(Mode::Manual | Mode::Automatic));
        stays || self.sync.is_some() || !self.questions.is_empty()
    }

    pub(super) fn has_token(&mut self) -> bool {
        let account = self.host.healthy().and_then(|engine| engine.account());
        let has = account.is_some_and(|account| account.token.is_some());
        if !has && self.is_asked_for_link() && self.blocked.is_none() && self.host.healthy().is_some() {
            self.block(Connection::NeedsLogin);
        }
        has
    }

    pub(super) fn connect(&mut self) {
        let now_ms = self.now_ms();
        let Some(engine) = self.host.healthy() else { return };
        let Some(account) = engine.account().cloned() else { return };
        let (Some(token), workspace, url) = (account.token, account.workspace, account.url) else { return };
        let url: ServerUrl = match url.parse() {
            Ok(url) => url,
            Err(error) => return self.store_failed(Some(StoreError::Damaged(format!("the address of the server: {error}")))),
        };
        let up = match engine.connect(now_ms) {
            Ok(Some(up)) => up,
            Ok(None) => return,
            Err(error) => return self.store_failed(Some(error)),
        };
        let hello = if let Up::Hello(hello) = &up { hello_to_header(hello) } else { None };
        let first = hello.is_none().then(|| encode_up(&up).into());
        let attempt = tokio::spawn(Link::open(
            Knock { proxy: proxy::of_environment(&url), url, token, workspace, hello },
            self.bytes.clone(),
        ));
        self.link = LinkState::Connecting { attempt, first };
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Connected(Ok(link)) => self.connected(link),
            News::Connected(Err(error)) => self.not_connected(error),
            News::Incoming(Incoming::Frame(frame)) => self.frame(&frame),
            News::Incoming(Incoming::Gone { by_error }) => self.link_broke(by_error),
            News::Sent => {}
        }
    }

    pub(super) fn connected(&mut self, link: Link) {
        if let LinkState::Connecting { first, .. } = std::mem::replace(&mut self.link, LinkState::Down) {
            let to_send = first.into_iter().collect();
            self.bytes_seen = self.bytes.down();
            self.trouble = None;
            self.link = LinkState::Up(Box::new(UpLink { link, to_send, since: Instant::now() }));
        }
    }

    pub(super) fn not_connected(&mut self, error: ConnectError) {
        let mut wait_ms = None;
        match &error {
            ConnectError::LoginNeeded => self.block(Connection::NeedsLogin),
            ConnectError::OtherServer { workspace } => {
                let met = self.host.healthy().map(|engine| engine.met_other_server(*workspace));
                if let Some(Err(error)) = met {
                    return self.store_failed(Some(error));
                }
                self.block(Connection::OtherServer);
            }
            ConnectError::UpdateNeeded => self.block(Connection::UpdateNeeded),
            ConnectError::SomethingElse { what } => self.trouble = Some(Connection::CaptivePortal { what: what.clone() }),
            ConnectError::TryLater { after_ms, .. } => {
                wait_ms = Some(u64::from(*after_ms));
                self.unreachable(error.to_string());
            }
            ConnectError::Unreachable { why } => self.unreachable(why.clone()),
        }
        self.end_link(false, None);
        self.wait_at_least(wait_ms.unwrap_or(0));
        if wait_ms.is_some_and(|ms| ms > PATIENCE_MS) {
            let error = self.reason();
            self.end_sync(Err(error));
        }
    }

    pub(super) fn unreachable(&mut self, why: String) {
        let since_ms = match &self.trouble {
            Some(Connection::ServerUnreachable { since_ms, .. }) => *since_ms,
            _ => wall_ms(),
        };
        self.trouble = Some(Connection::ServerUnreachable { since_ms, why });
    }

    pub(super) fn link_broke(&mut self, by_error: bool) {
        self.unreachable("the link broke".to_owned());
        self.end_link(by_error, None);
    }

    pub(super) fn frame(&mut self, frame: &[u8]) {
        let now_ms = self.now_ms();
        self.bytes_seen = self.bytes.down();
        let handled = match self.host.healthy() {
            Some(engine) => engine.handle_frame(frame, now_ms),
            None => return,
        };
        if let Err(error) = handled {
            self.step_failed(error);
        }
    }

    /// Ends the link behind what is still to be said, and plans the next one: `wait_ms` from now, or when the backoff says.
    pub(super) fn end_link(&mut self, by_error: bool, wait_ms: Option<u64>) {
        let lived = match std::mem::replace(&mut self.link, LinkState::Down) {
            LinkState::Up(up) => {
                let UpLink { link, to_send, since } = *up;
                tokio::spawn(timeout(GOODBYE, send_and_close(link, to_send)));
                since.elapsed()
            }
            LinkState::Connecting { attempt, .. } => {
                attempt.abort();
                Duration::ZERO
            }
            LinkState::Down | LinkState::Waiting(_) => Duration::ZERO,
        };
        if let Some(Err(error)) = self.host.healthy().map(|engine| engine.disconnected(by_error)) {
            return self.store_failed(Some(error));
        }
        let wait_ms = wait_ms.unwrap_or_else(|| {
            let lived_ms = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
            let wait_ms = self.backoff.failed(lived_ms, random());
            self.count_failure();
            wait_ms
        });
        self.link = LinkState::Waiting(Instant::now() + Duration::from_millis(wait_ms));
    }

    pub(super) fn wait_at_least(&mut self, ms: u64) {
        if let LinkState::Waiting(until) = &mut self.link {
            *until = (*until).max(Instant::now() + Duration::from_millis(ms));
        }
    }

    /// Those who wait are told when it makes no sense any more.
    pub(super) fn count_failure(&mut self) {
        let given_up = self.sync.as_mut().is_some_and(SyncJob::failed);
        if given_up {
            let error = self.reason();
            self.end_sync(Err(error));
        }
        if self.backoff.failures() >= 3 {
            self.fail_questions();
        }
    }

    /// Why there is no link, for those who wait for one.
    pub(super) fn reason(&self) -> SyncError {
        match self.blocked.as_ref().or(self.trouble.as_ref()) {
            Some(Connection::NeedsLogin) => SyncError::NeedsLogin,
            Some(Connection::OtherServer) => SyncError::OtherServer,
            Some(Connection::UpdateNeeded) => SyncError::UpdateNeeded,
            Some(Connection::CaptivePortal { what }) => SyncError::CaptivePortal { what: what.clone() },
            Some(Connection::StoreFailed { error }) => SyncError::Store(error.clone()),
            Some(Connection::ServerUnreachable { why, .. }) => SyncError::Unreachable { why: why.clone() },
            _ => SyncError::Unreachable { why: "the link broke".to_owned() },
        }
    }

    /// Only a person can go on from here; whoever waits is told.
    pub(super) fn block(&mut self, state: Connection) {
        self.blocked = Some(state);
        let error = self.reason();
        self.end_sync(Err(error));
        self.fail_questions();
    }

    pub(super) fn fail_questions(&mut self) {
        for question in std::mem::take(&mut self.questions) {
            question.fail(self.reason());
        }
    }
}

/// What happens next on the link. Nothing is lost when this is given up half way.
pub(super) async fn news(link: &mut LinkState) -> News {
    match link {
        LinkState::Down | LinkState::Waiting(_) => std::future::pending().await,
        LinkState::Connecting { attempt, .. } => {
            let opened = attempt.await;
            News::Connected(opened.unwrap_or_else(|_| Err(ConnectError::unreachable("the attempt was given up"))))
        }
        LinkState::Up(up) => {
            let UpLink { link, to_send, .. } = up.as_mut();
            tokio::select! {
                room = link.outgoing.reserve(), if !to_send.is_empty() => match room {
                    Ok(room) => {
                        room.send(to_send.pop_front().expect("there is a frame to send"));
                        News::Sent
                    }
                    Err(_) => News::Incoming(Incoming::Gone { by_error: false }),
                },
                incoming = link.incoming.recv() => News::Incoming(incoming.unwrap_or(Incoming::Gone { by_error: false })),
            }
        }
    }
}

pub(super) async fn send_and_close(link: Link, to_send: VecDeque<Bytes>) {
    for frame in to_send {
        if link.outgoing.send(frame).await.is_err() {
            return;
        }
    }
    link.close().await;
}
