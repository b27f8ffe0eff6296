//! The server of a world at work: sessions, the writer, and how it stops and comes back.

use super::*;

impl World {
    pub(super) fn leave(&mut self, link: LinkId) {
        if let Some(seat) = self.server.sessions.remove(&link) {
            self.server.registry.leave(seat.identity.device, seat.id);
        }
    }

    pub(super) fn open(&mut self, link: LinkId, frame: &[u8]) -> Result<()> {
        let (device, latency) = (self.links[&link].device, self.links[&link].down.latency_ms);
        let Some(snapshot) = self.server.snapshot()? else {
            self.later(latency, Happening::DownEnd(link, false));
            return Ok(());
        };
        let token = self.devices[device].engine.as_ref().and_then(|e| e.account()).and_then(|a| a.token.clone());
        let hash = hash::long(token.unwrap_or_default().as_bytes());
        let Some(identity) = snapshot.identity(&hash, self.server_ms())? else {
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

    pub(super) fn up(&mut self, link: LinkId, frame: &[u8]) -> Result<()> {
        let now_ms = self.server_ms();
        self.note(&format!("server reads from {}", link.0), frame);
        let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
        let message = decode_up(frame).context("a client sent what cannot be read")?;
        if let Up::Hello(hello) = &message {
            self.oracles.hello(link, hello);
        }
        seat.session.handle_bytes(now_ms);
        seat.session.handle_up(message, now_ms);
        self.pump(link)
    }

    pub(super) fn session_timer(&mut self, link: LinkId) -> Result<()> {
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
    pub(super) fn pump(&mut self, link: LinkId) -> Result<()> {
        for _ in 0..OUTPUTS_MAX {
            let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
            if let Some(output) = seat.session.poll_output() {
                self.put_out(link, output)?;
                continue;
            }
            if !seat.session.wants_snapshot() {
                return Ok(());
            }
            let Some(snapshot) = self.server.snapshot()? else { return Ok(()) };
            let now_ms = self.server_ms();
            let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
            seat.session.serve(&snapshot, &self.server.registry, now_ms)?;
        }
        Err(Broken::new("limits", "a session puts out things without end"))
    }

    fn put_out_frame(&mut self, link: LinkId, message: &Down, frame: Vec<u8>) -> Result<()> {
        let Some(seat) = self.server.sessions.get(&link) else { return Ok(()) };
        let identity = seat.identity;
        let Some(snapshot) = self.server.snapshot()? else { return Ok(()) };
        self.oracles.sent(&snapshot, link, identity, message)?;
        self.send_down(link, frame);
        Ok(())
    }

    pub(super) fn put_out(&mut self, link: LinkId, output: Output) -> Result<()> {
        let Some(seat) = self.server.sessions.get_mut(&link) else { return Ok(()) };
        match output {
            Output::Frame(message) => self.put_out_frame(link, &message, encode_down(&message))?,
            Output::Prepared(frame) => {
                let message = decode_down(&frame).context("a prepared chunk cannot be read")?;
                let user = seat.identity.user;
                let Some(snapshot) = self.server.snapshot()? else { return Ok(()) };
                prepared::sent(&snapshot, user, &message)?;
                self.put_out_frame(link, &message, frame.to_vec())?;
            }
            Output::Submit(job) => {
                if let Job::Push { push, .. } = &job {
                    let device = self.links[&link].device;
                    let creates = push.changes.iter().filter(|change| change.op == Op::Create);
                    self.oracles.ledger.sent_creates.extend(creates.map(|change| (device, change.key)));
                }
                if let (Job::Push { push, .. }, Some(poison)) = (&job, self.server.poison)
                    && push.changes.iter().any(|change| change.key == poison)
                {
                    self.count_fault("poisoned push");
                    self.oracles.poisoned(link, push);
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
                let job = Job::IssueToken { user, device: None, name: None, fresh, token: hash, expires_at_ms: i64::MAX };
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

    pub(super) fn close(&mut self, link: LinkId, by_error: bool) {
        self.leave(link);
        let sent = self.links.get_mut(&link).map(|held| held.down.send(self.now, 0));
        if let Some(Sent::Arrives { at } | Sent::Breaks { at }) = sent {
            self.at(at, Happening::DownEnd(link, by_error));
        }
    }

    pub(super) fn send_down(&mut self, link: LinkId, frame: Vec<u8>) {
        self.note(&format!("server writes to {}", link.0), &frame);
        let Some(held) = self.links.get_mut(&link) else { return };
        match held.down.send(self.now, frame.len()) {
            Sent::Arrives { at } => self.at(at, Happening::Down(link, frame)),
            Sent::Breaks { at } => self.broken(link, at),
            Sent::Vanishes => {}
        }
    }

    /// A link breaks: each side notices at its own time.
    pub(super) fn broken(&mut self, link: LinkId, at: u64) {
        if let Some(held) = self.links.get_mut(&link) {
            (held.up.is_dead, held.down.is_dead) = (true, true);
            let latency = held.up.latency_ms;
            self.at(at, Happening::DownEnd(link, false));
            self.at(at + latency, Happening::ServerLost(link));
        }
    }

    pub(super) fn submit(&mut self, from: From, job: Job) {
        self.oracles.asked(&job);
        self.server.queue.push((from, job));
        if !self.server.is_writing {
            self.server.is_writing = true;
            let ms = self.server.commit_ms;
            self.later(ms, Happening::Commit);
        }
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        self.server.is_writing = false;
        let now_ms = self.server_ms();
        let queue = std::mem::take(&mut self.server.queue);
        let (from, jobs): (Vec<From>, Vec<Job>) = queue.into_iter().unzip();
        let replies = match self.server.apply(jobs, now_ms) {
            Some(Ok(replies)) => replies,
            Some(Err(error)) => return self.server_failed(&error.to_string()),
            None => return Ok(()),
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

    pub(super) fn answer(&mut self, link: LinkId, reply: Reply) {
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
    pub(super) fn announce(&mut self) -> Result<()> {
        let news = self.server.news;
        let links: Vec<LinkId> = self.server.sessions.keys().copied().collect();
        for link in links {
            if let Some(seat) = self.server.sessions.get_mut(&link) {
                seat.session.handle_head(news);
            }
            self.pump(link)?;
        }
        Ok(())
    }

    /// Where nothing is under way, whoever is connected has everything, without asking for it.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn rest(&mut self) -> Result<()> {
        let under_way = |happening: &Happening| match happening {
            Happening::Open(link, _) | Happening::Up(link, _) | Happening::Down(link, _) => Some(*link),
            Happening::UpEnd(link) | Happening::DownEnd(link, _) | Happening::ServerLost(link) | Happening::Pump(link) => {
                Some(*link)
            }
            _ => None,
        };
        let busy: BTreeSet<LinkId> = self.queue.values().filter_map(under_way).collect();
        let Some(snapshot) = self.server.snapshot()?.filter(|_| !self.server.is_writing) else { return Ok(()) };
        for (at, device) in self.devices.iter().enumerate() {
            let (Some(link), Some(engine)) = (device.link, &device.engine) else { continue };
            let is_heard = self.links.get(&link).is_some_and(|held| !held.up.is_dead && !held.down.is_dead);
            let is_quiet = self.server.sessions.contains_key(&link) && !busy.contains(&link) && device.asleep_until <= self.now;
            if is_heard && is_quiet && engine.phase() == Phase::Live {
                self.oracles.rests(at, link, engine, &snapshot)?;
            }
        }
        Ok(())
    }

    pub(super) fn committed(&mut self) -> Result<()> {
        let Some(snapshot) = self.server.snapshot()? else { return Ok(()) };
        self.oracles.committed(&snapshot)
    }

    /// A durable write failed (P9): the power went, or the disk has an error.
    pub(super) fn server_failed(&mut self, why: &str) -> Result<()> {
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

    pub(super) fn server_up(&mut self) -> Result<()> {
        if self.server.is_up() {
            return Ok(());
        }
        let disk = self.server.disk.clone();
        self.reopen_server(disk)
    }

    pub(super) fn reopen_server(&mut self, disk: Disk) -> Result<()> {
        match self.server.start(disk) {
            Ok(()) => {
                self.note("the server is up", &workspace_head(&self.server));
                let Some(snapshot) = self.server.snapshot()? else { return Ok(()) };
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
}
