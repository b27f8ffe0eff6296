//! The world: what is under way, and what happens next. One thread, one queue, one seed.

mod devices;
mod operator;
mod serving;
mod trouble;

use super::device::{Device, Link, Mode};
use super::net::{Direction, LinkId, Pipe, Sent};
use super::oracles::{Broken, Oracles, prepared};
use super::plan::Knobs;
use super::rng::Rng;
use super::schema::{SITE_NAME, SITES, Schemas};
use super::server::{From, Seat, Server};
use crate::disk::{CutCounts, Disk, Faults};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use tombolo_client::backoff::return_after_ms;
use tombolo_client::event::Event;
use tombolo_client::protocol::change::{Change, FieldChange, Op};
use tombolo_client::protocol::commit::{AccessChange, Grant};
use tombolo_client::protocol::frame::{decode_down, decode_up, encode_down, encode_up};
use tombolo_client::protocol::hash;
use tombolo_client::protocol::ids::{DeviceId, FieldTag, RowId, RowKey, Seq, TableTag, UserId};
use tombolo_client::protocol::message::{CloseReason, Down, Up};
use tombolo_client::protocol::schema::Role;
use tombolo_client::protocol::value::Value;
use tombolo_client::store::{Account, StoreError};
use tombolo_client::{Hangup, Phase, PushLimits, StepError};
use tombolo_server::session::{Output, Session, SessionConfig, SessionId};
use tombolo_server::workspace::{Job, PushReply, Reply};
use uuid::Uuid;

/// The world begins at this time, in milliseconds since 1970.
pub const EPOCH_MS: i64 = 1_700_000_000_000;
/// A session that puts out more than this at once never comes to rest.
const OUTPUTS_MAX: usize = 20_000;
/// Happenings in a world before it counts as one without end.
const EVENTS_MAX: u64 = 300_000;
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
    /// Discards and deletions that people took back.
    pub put_back: u64,
    /// Faults by class.
    pub faults: BTreeMap<String, u64>,
    /// Verdicts by kind, as the model foretold them.
    pub verdicts: BTreeMap<String, u64>,
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
        let config = SessionConfig {
            chunk_rows_max: knobs.chunk_rows,
            chunk_bytes_max: knobs.chunk_bytes,
            chunk_bytes_first: knobs.chunk_bytes.min(SessionConfig::default().chunk_bytes_first),
            credit: knobs.credit,
            ..SessionConfig::default()
        };
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
        if self.counts.events > EVENTS_MAX {
            return Err(Broken::new("wedge", format!("{EVENTS_MAX} events, and no end")));
        }
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
                    if by_error {
                        self.oracles.ended_by_error(at, link)?;
                    }
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
}

fn workspace_head(server: &Server) -> Vec<u8> {
    server.workspace().map(|workspace| workspace.head().hash.0.to_vec()).unwrap_or_default()
}
