//! The world: what is under way, and what happens next. One thread, one queue, one seed.

use super::device::{Device, Link, Mode};
use super::net::{Direction, LinkId, Pipe, Sent};
use super::oracles::{Broken, Oracles};
use super::plan::Knobs;
use super::rng::Rng;
use super::schema::{SITE_NAME, SITES, Schemas};
use super::server::{From, Seat, Server};
use crate::disk::{CutCounts, Disk, Faults};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::hash::Hasher;
use tombolo_client::backoff::return_after_ms;
use tombolo_client::event::Event;
use tombolo_client::protocol::change::{Change, FieldChange, Op};
use tombolo_client::protocol::commit::{AccessChange, Grant};
use tombolo_client::protocol::frame::{decode_up, encode_down, encode_up};
use tombolo_client::protocol::hash;
use tombolo_client::protocol::ids::{DeviceId, FieldTag, RowId, RowKey, Seq, TableTag, UserId};
use tombolo_client::protocol::message::CloseReason;
use tombolo_client::protocol::schema::Role;
use tombolo_client::protocol::value::Value;
use tombolo_client::store::{Account, StoreError};
use tombolo_client::{Hangup, PushLimits, StepError};
use tombolo_server::session::{Output, Session, SessionConfig, SessionId};
use tombolo_server::workspace::{Job, PushReply, Reply};
use uuid::Uuid;

/// The world begins at this time, in milliseconds since 1970.
pub const EPOCH_MS: i64 = 1_700_000_000_000;
/// A session that puts out more than this at once never comes to rest.
const OUTPUTS_MAX: usize = 20_000;
/// Times that a link may end by agreement, to be opened again at once, as the shipping driver has it.
const PROMPT_RETURNS_MAX: u32 = 4;

/// What happens by itself.
#[derive(Clone, Debug)]
enum Happening {
    /// A request for a link arrives, with its first frame.
    Open(LinkId, Vec<u8>),
    Up(LinkId, Vec<u8>),
    Down(LinkId, Vec<u8>),
    /// The client's end of a link arrives at the server.
    UpEnd(LinkId),
    /// The server's end of a link arrives at the client; by an error of the server, or in good order.
    DownEnd(LinkId, bool),
    /// The server notices that a link is broken.
    ServerLost(LinkId),
    /// A session looks again at what it has to do.
    Pump(LinkId),
    SessionTimer(LinkId),
    Commit,
    ServerUp,
    Retry(usize, u64),
    ClientTimer(usize),
    Wake(usize),
    Reopen(usize),
    RoomOnDisk(usize),
    NetworkBack(usize),
}

/// What is counted over a run.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Sessions that were opened.
    pub sessions: u64,
    /// Edits that were accepted at devices.
    pub edits: u64,
    /// Decisions of people.
    pub decisions: u64,
    /// Faults by class.
    pub faults: BTreeMap<String, u64>,
    /// Writes that a power cut kept in part.
    pub torn: u64,
    /// Writes that a power cut lost.
    pub lost: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Commits in the log.
    pub commits: u64,
    /// Events that were played.
    pub events: u64,
}

/// The world.
pub struct World {
    /// Milliseconds since the start.
    pub now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    /// For what is drawn while the plan is played.
    pub rng: Rng,
    /// The server.
    pub server: Server,
    /// The devices.
    pub devices: Vec<Device>,
    links: BTreeMap<LinkId, Link>,
    /// How it was set up.
    pub knobs: Knobs,
    /// What the schema is and grows into.
    pub schemas: Schemas,
    /// The version that the server should have.
    pub schema_version: usize,
    /// The users.
    pub users: Vec<UserId>,
    /// The scope values.
    pub sites: Vec<RowId>,
    /// Rows that were ever made, in order.
    pub rows: Vec<RowKey>,
    /// What must hold.
    pub oracles: Oracles,
    /// What is counted.
    pub counts: Counts,
    ids: u64,
    /// Values that people type in after the plan is played.
    pub ids_for_people: u64,
    seed: u64,
    trace: std::hash::DefaultHasher,
    /// Disk operations of the first device and of the server, while the plan was played.
    pub operations: (u64, u64),
    /// Lines of the trace, where they are wanted.
    pub lines: Option<Vec<String>>,
}

impl World {
    /// The world of a seed.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn new(seed: u64, knobs: &Knobs) -> Result<Self> {
        let schemas = Schemas::of(seed);
        let config = SessionConfig { chunk_rows_max: knobs.chunk_rows, credit: knobs.credit, ..SessionConfig::default() };
        let server = Server::new(&schemas.versions[0], config, knobs, EPOCH_MS)?;
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            order: 0,
            rng: Rng::part(seed, 3 + knobs.salt),
            server,
            devices: Vec::new(),
            links: BTreeMap::new(),
            knobs: knobs.clone(),
            schemas,
            schema_version: 0,
            users: Vec::new(),
            sites: Vec::new(),
            rows: Vec::new(),
            oracles: Oracles::default(),
            counts: Counts::default(),
            ids: 0,
            ids_for_people: 0,
            seed,
            trace: std::hash::DefaultHasher::new(),
            operations: (0, 0),
            lines: None,
        };
        world.make_sites()?;
        for user in 0..knobs.users {
            let id = UserId(world.id());
            world.users.push(id);
            let all = user == 0 || world.rng.chance(1, 2);
            world.grant(user, if all { u8::MAX } else { 1 }, Role::Editor)?;
        }
        for at in 0..knobs.devices {
            let user = at % knobs.users;
            let disk = if knobs.lying_disks { Disk::lying() } else { Disk::default() };
            let device = Device::new(disk, world.users[user], user);
            world.devices.push(device);
            world.boot(at)?;
        }
        Ok(world)
    }

    // ---- names, time, trace ----

    /// A new id. Ids look like UUIDv7 made a millisecond apart.
    pub fn id(&mut self) -> Uuid {
        self.ids += 1;
        let ms = (EPOCH_MS as u64 + self.ids) as u128;
        Uuid::from_u128((ms << 80) | (0x7 << 76) | (0x8 << 60) | u128::from(self.seed << 16 | self.ids) & 0x0fff_ffff_ffff_ffff)
    }

    /// The clock of a device.
    pub fn device_ms(&self, at: usize) -> i64 {
        EPOCH_MS + self.now as i64 + self.devices[at].clock_ms
    }

    /// The server's clock.
    pub fn server_ms(&self) -> i64 {
        EPOCH_MS + self.now as i64
    }

    /// Notes something in the trace.
    pub fn note(&mut self, what: &str, bytes: &[u8]) {
        self.trace.write_u64(self.now);
        self.trace.write(what.as_bytes());
        self.trace.write(bytes);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9} {what}", self.now));
        }
    }

    /// Notes something that is only worth saying to who reads the trace.
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9}   {}", self.now, what()));
        }
    }

    /// The trace so far, as a number: two plays of one plan have the same.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Counts a fault.
    pub fn count_fault(&mut self, class: &str) {
        *self.counts.faults.entry(class.to_owned()).or_default() += 1;
    }

    fn later(&mut self, ms: u64, happening: Happening) {
        self.at(self.now + ms, happening);
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), happening);
    }

    // ---- the clock ----

    /// Plays everything that happens until `until`, and moves the clock there.
    ///
    /// # Errors
    /// [`Broken`] where something does not hold.
    pub fn run_until(&mut self, until: u64) -> Result<()> {
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            if at > until {
                break;
            }
            self.play_next()?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// Plays what happens next. Returns whether there was something.
    ///
    /// # Errors
    /// [`Broken`] where something does not hold.
    pub fn play_next(&mut self) -> Result<bool> {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return Ok(false) };
        self.now = self.now.max(at);
        self.counts.events += 1;
        self.play(happening)?;
        Ok(true)
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<u64> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    fn play(&mut self, happening: Happening) -> Result<()> {
        if let Some(at) = self.client_of(&happening)
            && self.devices[at].asleep_until > self.now
        {
            let wake = self.devices[at].asleep_until;
            self.at(wake, happening);
            return Ok(());
        }
        match happening {
            Happening::Open(link, frame) => self.open(link, &frame),
            Happening::Up(link, frame) => self.up(link, &frame),
            Happening::Down(link, frame) => self.down(link, &frame),
            Happening::UpEnd(link) | Happening::ServerLost(link) => {
                self.leave(link);
                Ok(())
            }
            Happening::DownEnd(link, by_error) => {
                let at = self.links[&link].device;
                if self.devices[at].link == Some(link) {
                    self.note(&format!("device {at} lost its link"), &[]);
                    self.end_link(at, by_error, None)?;
                }
                Ok(())
            }
            Happening::Pump(link) => self.pump(link),
            Happening::SessionTimer(link) => self.session_timer(link),
            Happening::Commit => self.commit(),
            Happening::ServerUp => self.server_up(),
            Happening::Retry(at, retry) => {
                if self.devices[at].retry == retry {
                    self.devices[at].is_waiting = false;
                    self.steer(at)?;
                }
                Ok(())
            }
            Happening::ClientTimer(at) => self.client_timer(at),
            Happening::Wake(at) => self.woke_up(at),
            Happening::Reopen(at) => {
                self.boot(at)?;
                self.steer(at)
            }
            Happening::RoomOnDisk(at) => {
                self.devices[at].disk.set_faults(Faults::default());
                Ok(())
            }
            Happening::NetworkBack(at) => {
                self.devices[at].weather.is_away = false;
                Ok(())
            }
        }
    }

    fn client_of(&self, happening: &Happening) -> Option<usize> {
        match happening {
            Happening::Down(link, _) | Happening::DownEnd(link, _) => self.links.get(link).map(|link| link.device),
            Happening::Retry(at, _) | Happening::ClientTimer(at) | Happening::Reopen(at) | Happening::Wake(at) => Some(*at),
            _ => None,
        }
    }

    // ---- the operator ----

    /// Does a job at once, as the operator does it at a running server. `None` where the server is down or the write failed.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn operate(&mut self, job: Job) -> Result<Option<Reply>> {
        let now_ms = self.server_ms();
        let Some(workspace) = self.server.workspace.as_mut() else { return Ok(None) };
        match workspace.apply(vec![job], now_ms) {
            Ok(mut replies) => {
                self.committed()?;
                self.announce()?;
                Ok(replies.pop())
            }
            Err(error) => {
                self.server_failed(&error.to_string())?;
                Ok(None)
            }
        }
    }

    fn make_sites(&mut self) -> Result<()> {
        let mut changes = Vec::new();
        for site in 0..self.knobs.sites {
            let id = RowId(self.id());
            self.sites.push(id);
            let name = FieldChange { field: FieldTag(SITE_NAME), value: Value::text(&format!("site {site}")), base: Seq(0) };
            changes.push(Change {
                key: RowKey { table: TableTag(SITES), id },
                op: Op::Create,
                row_base: Seq(0),
                view_base: Seq(0),
                fields: vec![name],
                lost: Vec::new(),
                group: None,
                edited_at_ms: 0,
            });
        }
        match self.operate(Job::Import { by: UserId::default(), changes })? {
            Some(Reply::Import(Ok(_))) => Ok(()),
            other => bail!("the sites were answered by {other:?}"),
        }
    }

    /// Gives a user these sites (by bits; all where every bit is set) and this role.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn grant(&mut self, user: usize, bits: u8, role: Role) -> Result<()> {
        let bits = if self.schemas.has_scopes { bits } else { u8::MAX };
        let sites = self.sites.iter().enumerate().filter(|(site, _)| bits & (1 << site) != 0);
        let grant = if bits == u8::MAX { Grant::All } else { Grant::Scopes(sites.map(|(_, id)| *id).collect()) };
        self.oracles.rights.insert(user, (bits, role));
        let name = format!("user {user}");
        let change = AccessChange::User { id: self.users[user], name, role, grant, password: String::new() };
        self.operate(Job::Access { by: UserId::default(), change }).map(drop)
    }

    /// Revokes the device that a store has now.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn revoke(&mut self, at: usize) -> Result<()> {
        let Some(device) = self.devices[at].engine.as_ref().and_then(|engine| engine.account()).map(|a| a.device) else {
            return Ok(());
        };
        self.operate(Job::Access { by: UserId::default(), change: AccessChange::DeviceRevoked { device } }).map(drop)
    }

    fn issue(&mut self, user: UserId, device: Option<DeviceId>) -> Result<Option<(DeviceId, String)>> {
        let (fresh, token) = (DeviceId(self.id()), self.id().to_string());
        let job = Job::IssueToken { user, device, fresh, token: hash::long(token.as_bytes()), expires_at_ms: i64::MAX };
        match self.operate(job)? {
            Some(Reply::Token(Ok(device))) => Ok(Some((device, token))),
            None => Ok(None),
            other => bail!("a token was answered by {other:?}"),
        }
    }

    // ---- the server ----

    fn leave(&mut self, link: LinkId) {
        if let Some(seat) = self.server.sessions.remove(&link) {
            self.server.registry.leave(seat.identity.device, seat.id);
        }
    }

    fn open(&mut self, link: LinkId, frame: &[u8]) -> Result<()> {
        let (device, latency) = (self.links[&link].device, self.links[&link].down.latency_ms);
        let Some(workspace) = &self.server.workspace else {
            self.later(latency, Happening::DownEnd(link, false));
            return Ok(());
        };
        let token = self.devices[device].engine.as_ref().and_then(|e| e.account()).and_then(|a| a.token.clone());
        let hash = hash::long(token.unwrap_or_default().as_bytes());
        let Some(identity) = workspace.store().snapshot()?.identity(&hash, self.server_ms())? else {
            // As by 401: the client asks for a login, which comes with the next attempt.
            self.later(latency, Happening::DownEnd(link, false));
            return Ok(());
        };
        self.counts.sessions += 1;
        let id = SessionId(link.0);
        let session = Session::new(self.server.config, id, identity, self.server_ms());
        self.server.sessions.insert(link, Seat { session, id, identity, issued: Vec::new() });
        self.later(1, Happening::SessionTimer(link));
        self.up(link, frame)
    }

    fn up(&mut self, link: LinkId, frame: &[u8]) -> Result<()> {
        let now_ms = self.server_ms();
        self.note(&format!("server reads from {}", link.0), frame);
        let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
        let message = decode_up(frame).context("a client sent what cannot be read")?;
        seat.session.handle_bytes(now_ms);
        seat.session.handle_up(message, now_ms);
        self.pump(link)
    }

    fn session_timer(&mut self, link: LinkId) -> Result<()> {
        let now_ms = self.server_ms();
        let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
        if seat.session.deadline_ms() <= now_ms {
            seat.session.handle_timeout(now_ms);
            return self.pump(link);
        }
        let wait = seat.session.deadline_ms() - now_ms;
        self.later(wait as u64, Happening::SessionTimer(link));
        Ok(())
    }

    /// Lets a session do what it can.
    fn pump(&mut self, link: LinkId) -> Result<()> {
        for _ in 0..OUTPUTS_MAX {
            let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
            if let Some(output) = seat.session.poll_output() {
                self.put_out(link, output)?;
                continue;
            }
            if !seat.session.wants_snapshot() {
                return Ok(());
            }
            let Some(workspace) = &self.server.workspace else { return Ok(()) };
            let snapshot = workspace.store().snapshot()?;
            let now_ms = EPOCH_MS + self.now as i64;
            seat.session.serve(&snapshot, &self.server.registry, now_ms)?;
        }
        Err(Broken::new("limits", "a session puts out things without end"))
    }

    fn put_out(&mut self, link: LinkId, output: Output) -> Result<()> {
        let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
        match output {
            Output::Frame(message) => {
                let identity = seat.identity;
                let Some(workspace) = &self.server.workspace else { return Ok(()) };
                self.oracles.sent(&workspace.store().snapshot()?, identity, &message)?;
                let frame = encode_down(&message);
                self.send_down(link, frame);
            }
            Output::Submit(job) => {
                if let (Job::Push { push, .. }, Some(poison)) = (&job, self.server.poison)
                    && push.changes.iter().any(|change| change.key == poison)
                {
                    self.count_fault("poisoned push");
                    self.close(link, true);
                    return Ok(());
                }
                self.submit(From::Link(link), job);
            }
            Output::IssueDevice => {
                let user = seat.identity.user;
                let (fresh, token) = (DeviceId(self.id()), self.id().to_string());
                let hash = hash::long(token.as_bytes());
                if let Some(seat) = self.server.sessions.get_mut(&link) {
                    seat.issued.push(token);
                }
                let job = Job::IssueToken { user, device: None, fresh, token: hash, expires_at_ms: i64::MAX };
                self.submit(From::Link(link), job);
            }
            Output::Replace { session, process, connection } => {
                let other = self.server.sessions.iter_mut().find(|(_, seat)| seat.id == session);
                if let Some((other, seat)) = other {
                    seat.session.handle_replaced(process, connection);
                    let other = *other;
                    self.later(0, Happening::Pump(other));
                }
            }
            Output::Close => self.close(link, false),
        }
        Ok(())
    }

    fn close(&mut self, link: LinkId, by_error: bool) {
        self.leave(link);
        let sent = self.links.get_mut(&link).map(|held| held.down.send(self.now, 0));
        if let Some(Sent::Arrives { at } | Sent::Breaks { at }) = sent {
            self.at(at, Happening::DownEnd(link, by_error));
        }
    }

    fn send_down(&mut self, link: LinkId, frame: Vec<u8>) {
        self.note(&format!("server writes to {}", link.0), &frame);
        let Some(held) = self.links.get_mut(&link) else { return };
        match held.down.send(self.now, frame.len()) {
            Sent::Arrives { at } => self.at(at, Happening::Down(link, frame)),
            Sent::Breaks { at } => self.broken(link, at),
            Sent::Vanishes => {}
        }
    }

    /// A link breaks: each side notices at its own time.
    fn broken(&mut self, link: LinkId, at: u64) {
        if let Some(held) = self.links.get_mut(&link) {
            (held.up.is_dead, held.down.is_dead) = (true, true);
            let latency = held.up.latency_ms;
            self.at(at, Happening::DownEnd(link, false));
            self.at(at + latency, Happening::ServerLost(link));
        }
    }

    fn submit(&mut self, from: From, job: Job) {
        self.server.queue.push((from, job));
        if !self.server.is_writing {
            self.server.is_writing = true;
            let ms = self.server.commit_ms;
            self.later(ms, Happening::Commit);
        }
    }

    fn commit(&mut self) -> Result<()> {
        self.server.is_writing = false;
        let now_ms = self.server_ms();
        let queue = std::mem::take(&mut self.server.queue);
        let Some(workspace) = self.server.workspace.as_mut() else { return Ok(()) };
        let (from, jobs): (Vec<From>, Vec<Job>) = queue.into_iter().unzip();
        let replies = match workspace.apply(jobs, now_ms) {
            Ok(replies) => replies,
            Err(error) => return self.server_failed(&error.to_string()),
        };
        self.note("commit", &workspace_head(&self.server));
        self.committed()?;
        // A session may look at the new state before it hears of its own answers.
        if self.rng.chance(1, 4) {
            self.announce()?;
        }
        let mut answered = Vec::new();
        for (from, reply) in from.into_iter().zip(replies) {
            let From::Link(link) = from else { continue };
            answered.push(link);
            let at = self.links[&link].device;
            let is_push = matches!(reply, Reply::Push(PushReply::Recorded { .. }));
            if is_push && std::mem::take(&mut self.devices[at].cut_behind_commit) {
                self.count_fault("cut behind a commit");
                self.leave(link);
                self.broken(link, self.now);
            }
            self.answer(link, reply);
        }
        answered.dedup();
        for link in answered {
            self.pump(link)?;
        }
        self.announce()
    }

    fn answer(&mut self, link: LinkId, reply: Reply) {
        let Some(seat) = self.server.sessions.get_mut(&link) else { return };
        match reply {
            Reply::Push(reply) => seat.session.handle_reply(reply),
            Reply::Token(Ok(device)) if !seat.issued.is_empty() => {
                let token = seat.issued.remove(0);
                seat.session.handle_device_issued(device, token);
            }
            _ => seat.session.handle_trouble(2_000),
        }
    }

    /// Every session hears of the head.
    fn announce(&mut self) -> Result<()> {
        let links: Vec<LinkId> = self.server.sessions.keys().copied().collect();
        for link in links {
            if let Some(seat) = self.server.sessions.get_mut(&link) {
                seat.session.handle_head();
            }
            self.pump(link)?;
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<()> {
        let Some(workspace) = &self.server.workspace else { return Ok(()) };
        let snapshot = workspace.store().snapshot()?;
        self.oracles.committed(&snapshot)
    }

    /// A durable write failed (P9): the power went, or the disk has an error.
    fn server_failed(&mut self, why: &str) -> Result<()> {
        self.note("a write of the server failed", why.as_bytes());
        if self.server.disk.is_dark() {
            return self.server_lost_power();
        }
        let links: Vec<LinkId> = self.server.sessions.keys().copied().collect();
        for link in links {
            if let Some(seat) = self.server.sessions.get_mut(&link) {
                seat.session.handle_trouble(2_000);
            }
            while let Some(output) = self.server.sessions.get_mut(&link).and_then(|seat| seat.session.poll_output()) {
                // Nothing is answered any more; only the goodbye leaves.
                match output {
                    Output::Frame(message) => self.send_down(link, encode_down(&message)),
                    Output::Close => self.close(link, false),
                    _ => {}
                }
            }
        }
        self.server.stop();
        let disk = self.server.disk.clone();
        disk.set_faults(Faults::default());
        self.reopen_server(disk)
    }

    /// The power of the server is gone, with everything that was not synced.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn server_lost_power(&mut self) -> Result<()> {
        self.note("the server's power is gone", &[]);
        let (disk, cut) = self.server.disk.after_power_cut(&mut self.rng);
        self.count_cut(cut);
        self.stop_server(disk);
        let ms = self.rng.below(20_000);
        self.later(ms, Happening::ServerUp);
        Ok(())
    }

    /// Stops the server; it will come up on this disk. Clients notice by and by, or not at all.
    pub fn stop_server(&mut self, disk: Disk) {
        for link in self.server.stop() {
            if self.rng.chance(1, 2) {
                self.broken(link, self.now);
            } else if let Some(held) = self.links.get_mut(&link) {
                (held.up.is_dead, held.down.is_dead) = (true, true);
            }
        }
        self.server.disk = disk;
    }

    /// The server comes up after so many milliseconds.
    pub fn server_up_after(&mut self, ms: u64) {
        self.later(ms, Happening::ServerUp);
    }

    /// Tells all sessions that the server restarts.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn say_restarting(&mut self, after_ms: u32) -> Result<()> {
        let links: Vec<LinkId> = self.server.sessions.keys().copied().collect();
        for link in links {
            if let Some(seat) = self.server.sessions.get_mut(&link) {
                seat.session.handle_restarting(after_ms, 5_000);
            }
            self.pump(link)?;
        }
        Ok(())
    }

    /// The server comes up at once.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn server_up_now(&mut self) -> Result<()> {
        self.server_up()
    }

    fn server_up(&mut self) -> Result<()> {
        if self.server.workspace.is_some() {
            return Ok(());
        }
        let disk = self.server.disk.clone();
        self.reopen_server(disk)
    }

    fn reopen_server(&mut self, disk: Disk) -> Result<()> {
        match self.server.start(disk) {
            Ok(()) => {
                self.note("the server is up", &workspace_head(&self.server));
                let snapshot = self.server.workspace()?.store().snapshot()?;
                self.oracles.server_opened(&snapshot)
            }
            Err(error) => {
                if !self.server.disk.is_dark() {
                    // An error of the disk that passes: the operator tries again. One that stays never comes right.
                    self.note(&format!("the server's store does not open: {error}"), &[]);
                    self.server.disk.set_faults(Faults::default());
                    self.later(1_000, Happening::ServerUp);
                    return Ok(());
                }
                self.count_fault("server power in recovery");
                self.server_lost_power()
            }
        }
    }

    // ---- clients ----

    /// Starts the engine of a device.
    ///
    /// # Errors
    /// [`Broken`] where its store is damaged.
    pub fn boot(&mut self, at: usize) -> Result<()> {
        if self.devices[at].engine.is_some() {
            return Ok(());
        }
        self.ids += 1;
        let process = self.ids;
        let limits = PushLimits { window: self.knobs.window, changes: self.knobs.push_changes };
        let Err(error) = self.devices[at].start(process, limits) else {
            self.note(&format!("device {at} is up"), &[]);
            return Ok(());
        };
        self.note(&format!("device {at} does not start: {error}"), &[]);
        if self.devices[at].disk.is_dark() {
            self.count_fault("client power in recovery");
            self.client_lost_power(at);
        } else if matches!(error, StoreError::Damaged(_) | StoreError::Newer { .. }) {
            return Err(Broken::new("opens", format!("the store of device {at}: {error}")));
        }
        self.later(1_000, Happening::Reopen(at));
        Ok(())
    }

    /// Something with the engine of a device, and what follows from it. `None` where it is not running, or its store failed.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn with_engine<R>(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut tombolo_client::engine::Engine, i64) -> Result<R, StepError>,
    ) -> Result<Option<R>> {
        let now_ms = self.device_ms(at);
        let Some(engine) = self.devices[at].engine.as_mut() else { return Ok(None) };
        match act(engine, now_ms) {
            Ok(done) => {
                self.drain(at)?;
                Ok(Some(done))
            }
            Err(StepError::Store(error)) => {
                self.store_failed(at, &error)?;
                Ok(None)
            }
            Err(StepError::Violation(what)) => {
                Err(Broken::new("protocol", format!("device {at} says that the server broke the protocol: {what}")))
            }
        }
    }

    /// The store of a device failed: nothing is answered from memory; it is opened again.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn store_failed(&mut self, at: usize, error: &StoreError) -> Result<()> {
        self.note(&format!("the store of device {at} failed: {error}"), &[]);
        self.drop_link(at);
        let is_dark = self.devices[at].disk.is_dark();
        let after_ms = if is_dark { self.rng.below(20_000) } else { 0 };
        self.devices[at].engine = None;
        self.devices[at].is_syncing = false;
        if is_dark {
            self.client_lost_power(at);
        }
        self.later(after_ms, Happening::Reopen(at));
        Ok(())
    }

    fn client_lost_power(&mut self, at: usize) {
        let Self { devices, rng, .. } = self;
        let cut = devices[at].lose_power(rng);
        self.count_cut(cut);
    }

    fn count_cut(&mut self, cut: CutCounts) {
        self.counts.cuts += 1;
        self.counts.torn += cut.torn;
        self.counts.lost += cut.lost;
    }

    /// Ends the process of a device: as by kill -9, or because its power is gone.
    pub fn kill(&mut self, at: usize) {
        self.drop_link(at);
        let device = &mut self.devices[at];
        device.engine = None;
        device.is_syncing = false;
        device.forms.clear();
        device.dialogs.clear();
        self.later(1_000, Happening::Reopen(at));
    }

    /// The client forgets its link; the server is told, or has to notice by itself.
    fn drop_link(&mut self, at: usize) {
        if let Some(link) = self.devices[at].link.take() {
            let tells = self.rng.chance(2, 3);
            self.hang_up(link, tells);
        }
    }

    fn hang_up(&mut self, link: LinkId, tells: bool) {
        let Some(held) = self.links.get_mut(&link) else { return };
        held.client_holds = false;
        if !tells {
            return;
        }
        if let Sent::Arrives { at } | Sent::Breaks { at } = held.up.send(self.now, 0) {
            self.at(at, Happening::UpEnd(link));
        }
    }

    /// Opens a link where one is wanted.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn steer(&mut self, at: usize) -> Result<()> {
        let device = &self.devices[at];
        if device.link.is_some() && !device.wants_link() {
            if let Some(engine) = self.devices[at].engine.as_mut() {
                engine.bye();
            }
            self.drain_frames(at);
            return self.end_link(at, false, Some(0));
        }
        let idle = device.link.is_none() && !device.is_waiting;
        if idle && device.wants_link() && device.asleep_until <= self.now { self.connect(at) } else { Ok(()) }
    }

    fn connect(&mut self, at: usize) -> Result<()> {
        let weather = &mut self.devices[at].weather;
        if weather.is_away || weather.portals > 0 {
            weather.portals = weather.portals.saturating_sub(1);
            self.wait(at, None);
            return Ok(());
        }
        if !self.log_in_where_needed(at)? {
            return Ok(());
        }
        let now_ms = self.device_ms(at);
        let Some(engine) = self.devices[at].engine.as_mut() else { return Ok(()) };
        let first = match engine.connect(now_ms) {
            Ok(first) => first,
            Err(error) => return self.store_failed(at, &error),
        };
        let first = encode_up(&first.context("a device without an account")?);
        self.ids += 1;
        let link = LinkId(self.ids);
        let weather = self.devices[at].weather;
        let (mut up, down) = (Pipe::new(&weather), Pipe::new(&weather));
        let sent = up.send(self.now, first.len() + 200);
        self.links.insert(link, Link { device: at, up, down, since: self.now, client_holds: true });
        self.devices[at].link = Some(link);
        self.note(&format!("device {at} connects as {}", link.0), &first);
        match sent {
            Sent::Arrives { at } => self.at(at, Happening::Open(link, first)),
            Sent::Breaks { at } => self.broken(link, at),
            Sent::Vanishes => {}
        }
        self.drain(at)
    }

    /// A person logs in where the server does not know the token. False where that has to wait.
    fn log_in_where_needed(&mut self, at: usize) -> Result<bool> {
        let Some(engine) = &self.devices[at].engine else { return Ok(false) };
        let account = engine.account().cloned();
        let Some(workspace) = &self.server.workspace else {
            self.wait(at, None);
            return Ok(false);
        };
        let snapshot = workspace.store().snapshot()?;
        if let Some(account) = &account {
            let hash = hash::long(account.token.clone().unwrap_or_default().as_bytes());
            if snapshot.identity(&hash, self.server_ms())?.is_some() {
                return Ok(true);
            }
        }
        let (user, workspace) = (self.devices[at].user, snapshot.workspace());
        let schema = account.is_none().then(|| (snapshot.schema_seq(), snapshot.schema().text.clone()));
        drop(snapshot);
        let Some((device, token)) = self.issue(user, account.map(|account| account.device))? else {
            self.wait(at, None);
            return Ok(false);
        };
        let account =
            Account { url: "http://server".into(), workspace, user, user_name: "somebody".into(), device, token: Some(token) };
        let Some(engine) = self.devices[at].engine.as_mut() else { return Ok(false) };
        match engine.logged_in(account, schema) {
            Ok(()) => Ok(true),
            Err(tombolo_client::engine::LoginError::Store(error)) => {
                self.store_failed(at, &error)?;
                Ok(false)
            }
            Err(error) => bail!("device {at} cannot log in: {error}"),
        }
    }

    /// Waits before the next attempt, as the shipping driver does.
    fn wait(&mut self, at: usize, ms: Option<u64>) {
        let lived = 0;
        let random = self.rng.draw();
        let device = &mut self.devices[at];
        let ms = ms.unwrap_or_else(|| device.backoff.failed(lived, random));
        let ms = if self.knobs.is_impatient { 0 } else { ms };
        // An attempt costs some time, also an impatient one.
        device.retry += 1;
        device.is_waiting = true;
        let retry = device.retry;
        self.later(ms + 10, Happening::Retry(at, retry));
    }

    /// The link of a device is over; the next one is planned.
    fn end_link(&mut self, at: usize, by_error: bool, wait_ms: Option<u64>) -> Result<()> {
        let link = self.devices[at].link.take();
        if let Some(link) = link {
            self.hang_up(link, true);
        }
        let now_ms = self.device_ms(at);
        let _ = now_ms;
        if let Some(engine) = self.devices[at].engine.as_mut()
            && let Err(error) = engine.disconnected(by_error)
        {
            return self.store_failed(at, &error);
        }
        let lived = link.and_then(|link| self.links.get(&link)).map_or(0, |link| self.now - link.since);
        let random = self.rng.draw();
        let ms = wait_ms.unwrap_or_else(|| self.devices[at].backoff.failed(lived, random));
        self.wait(at, Some(ms));
        Ok(())
    }

    fn down(&mut self, link: LinkId, frame: &[u8]) -> Result<()> {
        let at = self.links[&link].device;
        if self.devices[at].link != Some(link) {
            return Ok(());
        }
        self.note(&format!("device {at} reads from {}", link.0), frame);
        if let Some(engine) = &self.devices[at].engine {
            self.oracles.before_frame(at, engine)?;
        }
        self.with_engine(at, |engine, now_ms| engine.handle_frame(frame, now_ms))?;
        if let (Some(engine), Some(workspace)) = (&self.devices[at].engine, &self.server.workspace) {
            let snapshot = workspace.store().snapshot()?;
            self.oracles.after_frame(at, engine, &snapshot, self.schema_version)?;
        }
        Ok(())
    }

    fn client_timer(&mut self, at: usize) -> Result<()> {
        if self.devices[at].timer.is_some_and(|timer| timer > self.now) {
            return Ok(());
        }
        self.devices[at].timer = None;
        let now_ms = self.device_ms(at);
        if self.devices[at].link.is_none() {
            return Ok(());
        }
        let Some(engine) = self.devices[at].engine.as_mut() else { return Ok(()) };
        if engine.deadline_ms().is_some_and(|deadline| deadline <= now_ms) {
            engine.handle_timeout(now_ms);
        }
        self.drain(at)
    }

    /// What the engine puts out: frames, events, a word about the link; and its next deadline.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn drain(&mut self, at: usize) -> Result<()> {
        self.drain_frames(at);
        while let Some(event) = self.devices[at].engine.as_mut().and_then(|engine| engine.poll_event()) {
            self.hear(at, event)?;
        }
        let hangup = self.devices[at].engine.as_mut().and_then(|engine| engine.poll_hangup());
        if let Some(hangup) = hangup {
            self.drain_frames(at);
            self.hung_up(at, hangup)?;
        }
        let now_ms = self.device_ms(at);
        let deadline = self.devices[at].engine.as_ref().and_then(|engine| engine.deadline_ms());
        if let (Some(deadline), true) = (deadline, self.devices[at].link.is_some()) {
            let at_ms = self.now + u64::try_from(deadline - now_ms).unwrap_or(0).max(1);
            // One that comes too early looks again; there is one at a time.
            if self.devices[at].timer.is_none_or(|timer| timer > at_ms) {
                self.devices[at].timer = Some(at_ms);
                self.at(at_ms, Happening::ClientTimer(at));
            }
        }
        self.steer(at)
    }

    fn drain_frames(&mut self, at: usize) {
        let mut count = 0;
        while let Some(frame) = self.devices[at].engine.as_mut().and_then(|engine| engine.poll_frame()) {
            count += 1;
            let Some(link) = self.devices[at].link else { continue };
            self.note(&format!("device {at} writes to {}", link.0), &frame);
            let Some(held) = self.links.get_mut(&link) else { continue };
            match held.up.send(self.now, frame.len()) {
                Sent::Arrives { at } => self.at(at, Happening::Up(link, frame)),
                Sent::Breaks { at } => self.broken(link, at),
                Sent::Vanishes => {}
            }
        }
        self.devices[at].frames_max = self.devices[at].frames_max.max(count);
    }

    fn hear(&mut self, at: usize, event: Event) -> Result<()> {
        self.say(|| format!("device {at}: {event:?}"));
        match event {
            Event::Synced(_) => {
                self.devices[at].is_syncing = false;
                self.devices[at].backoff.reset();
            }
            Event::Online { .. } => self.oracles.online(at),
            Event::CaughtUp { head } => {
                self.oracles.prompt_returns.remove(&at);
                if let (Some(engine), Some(workspace)) = (&self.devices[at].engine, &self.server.workspace) {
                    let snapshot = workspace.store().snapshot()?;
                    self.oracles.caught_up(at, engine, &snapshot, head)?;
                }
            }
            Event::DigestMismatch { sections, .. } => {
                return Err(Broken::new("digest", format!("device {at} found {sections} sections that differ")));
            }
            Event::UpdateNeeded | Event::OtherServer => {
                return Err(Broken::new("wedge", format!("device {at} stops for good: {event:?}")));
            }
            Event::Closed(CloseReason::Violation { what }) => {
                return Err(Broken::new("protocol", format!("the server says that device {at} broke the protocol: {what}")));
            }
            Event::NewLife { .. } => self.oracles.new_life(at),
            Event::Diverged { common, .. } => self.oracles.diverged(at, common)?,
            _ => {}
        }
        Ok(())
    }

    fn hung_up(&mut self, at: usize, hangup: Hangup) -> Result<()> {
        let returns = self.oracles.prompt_returns.entry(at).or_default();
        if hangup == Hangup::Reconnect && *returns < PROMPT_RETURNS_MAX {
            *returns += 1;
            return self.end_link(at, false, Some(0));
        }
        match hangup {
            Hangup::Reconnect => self.end_link(at, false, None),
            Hangup::ReconnectAfter(ms) => {
                let ms = return_after_ms(ms, 1_000, self.rng.draw());
                self.end_link(at, false, Some(ms))
            }
            // Who could go on by logging in does so at the next attempt.
            Hangup::Stay => self.end_link(at, false, Some(5_000)),
        }
    }

    // ---- what goes wrong ----

    /// The link of a device is cut after so many more bytes.
    pub fn cut_after(&mut self, at: usize, direction: Direction, bytes: u64) {
        let Some(held) = self.devices[at].link.and_then(|link| self.links.get_mut(&link)) else { return };
        let pipe = if direction == Direction::Up { &mut held.up } else { &mut held.down };
        pipe.cut_after = Some(bytes);
        self.count_fault("cut at a byte");
    }

    /// The link of a device looks open while nothing passes in these directions.
    pub fn half_open(&mut self, at: usize, up: bool, down: bool) {
        let Some(held) = self.devices[at].link.and_then(|link| self.links.get_mut(&link)) else { return };
        held.up.is_dead |= up;
        held.down.is_dead |= down;
        self.count_fault(if up && down { "half-open" } else { "one-way" });
    }

    /// The link of a device takes the weather around it.
    pub fn take_weather(&mut self, at: usize) {
        let weather = self.devices[at].weather;
        if let Some(held) = self.devices[at].link.and_then(|link| self.links.get_mut(&link)) {
            for pipe in [&mut held.up, &mut held.down] {
                // What is under way is not overtaken.
                let under_way = pipe.arrived_at();
                (pipe.latency_ms, pipe.rate) = (weather.latency_ms, weather.rate.max(1));
                pipe.hold_until(under_way);
            }
        }
    }

    /// There is no network at a device for a while.
    pub fn go_away(&mut self, at: usize, ms: u64) {
        self.devices[at].weather.is_away = true;
        if let Some(link) = self.devices[at].link {
            self.broken(link, self.now);
        }
        self.later(ms, Happening::NetworkBack(at));
    }

    /// A device opens a new link while the server still holds its old one.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn overlap(&mut self, at: usize) -> Result<()> {
        let Some(link) = self.devices[at].link.take() else { return Ok(()) };
        self.hang_up(link, false);
        self.count_fault("overlapping sessions");
        self.end_link(at, false, Some(0))
    }

    /// A device sleeps.
    pub fn suspend(&mut self, at: usize, ms: u64) {
        let until = self.now + ms;
        self.devices[at].asleep_until = until;
        self.at(until, Happening::Wake(at));
    }

    /// The clock of a device is set.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn set_clock(&mut self, at: usize, ms: i64) -> Result<()> {
        self.devices[at].clock_ms += ms;
        self.woke_up(at)
    }

    fn woke_up(&mut self, at: usize) -> Result<()> {
        self.devices[at].backoff.reset();
        if self.devices[at].link.is_some() {
            self.end_link(at, false, Some(0))?;
        }
        self.steer(at)
    }

    /// The disk of a device is full for a while.
    pub fn fill_disk(&mut self, at: usize, room: u64, ms: u64) {
        let bytes = self.devices[at].disk.bytes();
        self.devices[at].disk.set_faults(Faults { bytes_max: Some(bytes + room), ..Faults::default() });
        self.later(ms, Happening::RoomOnDisk(at));
    }

    /// A person presses Sync, also where only a person could go on.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn press_sync(&mut self, at: usize, only: Option<RowKey>) -> Result<()> {
        if self.devices[at].engine.is_none() || self.devices[at].asleep_until > self.now {
            return Ok(());
        }
        let device = &mut self.devices[at];
        device.backoff.reset();
        device.is_blocked = false;
        device.is_syncing = true;
        device.is_waiting = false;
        let only = only.map(|key| [key].into());
        self.with_engine(at, |engine, now_ms| engine.sync(only, now_ms))?;
        self.steer(at)
    }

    /// A person changes the mode.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn set_mode(&mut self, at: usize, mode: Mode) -> Result<()> {
        self.devices[at].mode = mode;
        let automatic = mode == Mode::Automatic;
        self.with_engine(at, |engine, now_ms| {
            engine.set_automatic(automatic);
            engine.go_on(now_ms)
        })?;
        self.steer(at)
    }

    /// Everything that was wrong is mended: the network, the disks, the power, the clocks.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn heal(&mut self) -> Result<()> {
        self.server.poison = None;
        self.server.commit_ms = 1;
        self.server.disk.set_faults(Faults::default());
        self.server.cut_again = None;
        for at in 0..self.devices.len() {
            let device = &mut self.devices[at];
            device.weather = super::net::Weather::default();
            device.disk.set_faults(Faults::default());
            device.cut_again = None;
            device.cut_behind_commit = false;
            device.asleep_until = 0;
            device.mode = Mode::Manual;
            if let Some(link) = device.link {
                self.broken(link, self.now);
            }
        }
        self.run_until(self.now + 30_000)?;
        for at in 0..self.devices.len() {
            self.boot(at)?;
            self.set_mode(at, Mode::Manual)?;
        }
        Ok(())
    }
}

fn workspace_head(server: &Server) -> Vec<u8> {
    server.workspace.as_ref().map(|workspace| workspace.head().hash.0.to_vec()).unwrap_or_default()
}
