//! The devices of a world at work: engines, links, and the decisions of their drivers.

use super::*;

impl World {
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
            return match &self.devices[at].engine {
                Some(engine) => self.oracles.started(at, engine),
                None => Ok(()),
            };
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
        // Nobody starts a program again in no time, also where its disk is full.
        let after_ms = if is_dark { self.rng.below(20_000) } else { 1_000 };
        self.devices[at].engine = None;
        self.devices[at].is_syncing = false;
        if is_dark {
            self.client_lost_power(at);
        }
        self.later(after_ms, Happening::Reopen(at));
        Ok(())
    }

    pub(super) fn client_lost_power(&mut self, at: usize) {
        let Self { devices, rng, .. } = self;
        let cut = devices[at].lose_power(rng);
        self.count_cut(cut);
    }

    pub(super) fn count_cut(&mut self, cut: CutCounts) {
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
        device.gone.clear();
        self.later(1_000, Happening::Reopen(at));
    }

    /// The client forgets its link; the server is told, or has to notice by itself.
    pub(super) fn drop_link(&mut self, at: usize) {
        if let Some(link) = self.devices[at].link.take() {
            let tells = self.rng.chance(2, 3);
            self.hang_up(link, tells);
        }
    }

    pub(super) fn hang_up(&mut self, link: LinkId, tells: bool) {
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

    pub(super) fn connect(&mut self, at: usize) -> Result<()> {
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
    pub(super) fn log_in_where_needed(&mut self, at: usize) -> Result<bool> {
        let Some(engine) = &self.devices[at].engine else { return Ok(false) };
        let account = engine.account().cloned();
        let Some(snapshot) = self.server.snapshot()? else {
            self.wait(at, None);
            return Ok(false);
        };
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
    pub(super) fn wait(&mut self, at: usize, ms: Option<u64>) {
        let random = self.rng.draw();
        let device = &mut self.devices[at];
        let ms = ms.unwrap_or_else(|| device.backoff.failed(0, random));
        let ms = if self.knobs.is_impatient { 0 } else { ms };
        // An attempt costs some time, also an impatient one.
        device.retry += 1;
        device.is_waiting = true;
        let retry = device.retry;
        self.later(ms + 10, Happening::Retry(at, retry));
    }

    /// The link of a device is over; the next one is planned.
    pub(super) fn end_link(&mut self, at: usize, by_error: bool, wait_ms: Option<u64>) -> Result<()> {
        let link = self.devices[at].link.take();
        if let Some(link) = link {
            self.hang_up(link, true);
        }
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

    pub(super) fn down(&mut self, link: LinkId, frame: &[u8]) -> Result<()> {
        let at = self.links[&link].device;
        if self.devices[at].link != Some(link) {
            return Ok(());
        }
        self.note(&format!("device {at} reads from {}", link.0), frame);
        if let Some(engine) = &self.devices[at].engine {
            self.oracles.before_frame(at, engine)?;
        }
        self.with_engine(at, |engine, now_ms| engine.handle_frame(frame, now_ms))?;
        if let (Some(engine), Some(snapshot)) = (&self.devices[at].engine, self.server.snapshot()?) {
            self.oracles.after_frame(at, engine, &snapshot)?;
        }
        Ok(())
    }

    pub(super) fn client_timer(&mut self, at: usize) -> Result<()> {
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

    pub(super) fn drain_frames(&mut self, at: usize) {
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

    pub(super) fn hear(&mut self, at: usize, event: Event) -> Result<()> {
        self.say(|| format!("device {at}: {event:?}"));
        match event {
            Event::Synced(_) => {
                self.devices[at].is_syncing = false;
                self.devices[at].backoff.reset();
            }
            Event::CaughtUp { head } => {
                self.oracles.prompt_returns.remove(&at);
                if let (Some(engine), Some(snapshot)) = (&self.devices[at].engine, self.server.snapshot()?) {
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
            Event::NewLife { foreign_process } => self.oracles.new_life(at, foreign_process)?,
            Event::Diverged { common, lost } => {
                self.oracles.diverged(at, common, lost.offered, self.devices[at].engine.as_ref())?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn hung_up(&mut self, at: usize, hangup: Hangup) -> Result<()> {
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
}
