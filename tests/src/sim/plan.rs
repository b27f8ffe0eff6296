//! Plans: what people do and what goes wrong, step by step. A plan is drawn from a seed, played as it is, cut down, and saved.

use super::net::Direction;
use super::rng::Rng;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tombolo_client::protocol::limits::CHUNK_BYTES_MAX;

/// Devices at most, copies included.
pub const DEVICES_MAX: usize = 6;
/// Rows are counted back from the newest; from here on they are counted from the first of the newest dozen, so that people can
/// come back to the same few.
pub const STAYS: usize = 1_000;
const DOZEN: usize = 12;
/// Rows that an index below [`STAYS`] reaches.
const RECENT: usize = 16;

/// Which of `count` rows an index of a plan names; none where there are none.
pub fn row_of(index: usize, count: usize) -> Option<usize> {
    let newest = count.checked_sub(1)?;
    let in_dozen = newest % DOZEN;
    Some(match index.checked_sub(STAYS) {
        Some(place) => newest - in_dozen + place % (in_dozen + 1),
        None => newest - index % count.min(RECENT),
    })
}

/// Everything that a run does from outside.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where the schema, ids and everything that is not a step are drawn from.
    pub seed: u64,
    /// How the world is set up.
    pub knobs: Knobs,
    /// The steps, by time.
    pub steps: Vec<Timed>,
}

/// How the world is set up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Knobs {
    /// Devices at the start.
    pub devices: usize,
    /// Users; devices belong to them in turn.
    pub users: usize,
    /// Scope values.
    pub sites: usize,
    /// Rows in one chunk.
    pub chunk_rows: usize,
    /// Estimated bytes in one message with rows, at most.
    #[serde(default = "chunk_bytes_max")]
    pub chunk_bytes: usize,
    /// Chunks that may be unacknowledged.
    pub credit: u32,
    /// Frozen pushes that wait for an answer at the same time.
    pub window: usize,
    /// Changes in one push.
    pub push_changes: usize,
    /// Clients come back at once.
    pub is_impatient: bool,
    /// How long the server takes for a durable write, in milliseconds.
    pub commit_ms: u64,
    /// Syncs of all disks lie: nothing is durable. Only to show that this is found.
    #[serde(default)]
    pub lying_disks: bool,
    /// Draws other images of power cuts for the same plan.
    #[serde(default)]
    pub salt: u64,
}

/// A step and its time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Timed {
    /// Milliseconds since the start.
    pub at_ms: u64,
    /// What happens.
    pub step: Step,
}

/// Something that happens from outside.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Step {
    /// A person at a device does something.
    Person(usize, Act),
    /// The link of a device is cut after so many more bytes.
    CutAfter(usize, Direction, u64),
    /// The link of a device is cut behind the next commit of one of its pushes, before anything of the answer leaves.
    CutBehindCommit(usize),
    /// The link of a device goes on to look open while nothing passes in these directions.
    HalfOpen(usize, bool, bool),
    /// The network of a device is like this from now on.
    Weather(usize, u64, u64),
    /// There is no network at a device, for so many milliseconds.
    Away(usize, u64),
    /// The next attempts of a device to connect are answered by something else.
    Portal(usize, u32),
    /// A device opens a new link while the server still holds its old one.
    Overlap(usize),
    /// The power of a device goes at its so-manieth disk operation from now, and again at that many into recovery.
    ClientPower(usize, u64, Option<u64>),
    /// A disk operation of a device fails.
    ClientDiskError(usize, u64),
    /// The disk of a device has so many bytes left, for so many milliseconds.
    ClientDiskFull(usize, u64, u64),
    /// A device is suspended for so many milliseconds.
    Suspend(usize, u64),
    /// The clock of a device is set forward or back.
    Clock(usize, i64),
    /// The store of a device is copied to a new device.
    Copy(usize),
    /// The store of a device is kept, to be put back.
    ClientBackup(usize),
    /// The store of a device is put back.
    ClientPutBack(usize),
    /// The power of the server goes at its so-manieth disk operation from now, and again at that many into recovery.
    ServerPower(u64, Option<u64>),
    /// A disk operation of the server fails.
    ServerDiskError(u64),
    /// The server stops in good order and comes back.
    ServerRestart(u64),
    /// The server's folder is kept, to be put back.
    ServerBackup,
    /// The server's folder is put back; with an operator's choice (0 none, 1 yes, 2 ask).
    ServerPutBack(u8),
    /// Durable writes of the server take so long from now on.
    SlowCommits(u64),
    /// The schema grows.
    SchemaGrows,
    /// A user is granted this set of sites (by bits; all where every bit is set).
    Grant(usize, u8),
    /// A user becomes viewer, or editor again.
    Role(usize, bool),
    /// The server ends the session of whoever pushes a change of this row, until the step of the same kind without one.
    Poison(Option<usize>),
    /// A deleted row loses its values at the server.
    Purge(usize),
    /// The operator revokes the device.
    Revoke(usize),
    /// The server's log is compacted up to so many commits before the head.
    Compact(u64),
}

/// What a person does. Rows are named as [`row_of`] says; values are numbers that nobody else writes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Act {
    /// Makes a row in a table.
    Create(usize, u64),
    /// Edits a field; from the form that is open there, if there is one and it is asked for.
    Update(usize, usize, u64, bool),
    /// Sets a field to nothing.
    Clear(usize, usize),
    /// Sets a field back to a value that it had before.
    SetBack(usize, usize),
    /// Deletes; from the form that is open there, if there is one and it is asked for.
    Delete(usize, bool),
    /// Restores.
    Restore(usize),
    /// Discards what is pending.
    Discard(usize),
    /// Discards what is pending of one field.
    DiscardField(usize, usize),
    /// Takes the last discard or deletion at this device back.
    PutBack,
    /// Opens a form of a row, to save it later; where there is a link, its history is asked for, and the activity.
    Look(usize),
    /// Opens the dialog of a conflict, to decide it later.
    OpenDialog(usize),
    /// Decides a conflict: which, how, and a new value where one is typed in.
    Resolve(usize, u8, u64),
    /// Edits rows as a group.
    Group(Vec<usize>, u64),
    /// Makes many rows in one transaction.
    Import(usize, usize, u64),
    /// Moves a row to another site.
    Move(usize, usize),
    /// Lets a row refer to another.
    Refer(usize, usize),
    /// Writes a value that a rule forbids.
    Forbidden(usize, u64),
    /// Takes a row out of its group.
    TakeOut(usize),
    /// Presses Sync.
    Sync,
    /// Syncs one row only.
    SyncOnly(usize),
    /// Gives up waiting.
    CancelSync,
    /// Changes the mode: manual, automatic, metered.
    Mode(u8),
}

/// Classes of faults; a seed has about half of them.
#[derive(Clone, Copy, Debug)]
struct Classes {
    cuts: bool,
    half_open: bool,
    weather: bool,
    overlap: bool,
    portal: bool,
    client_power: bool,
    client_disk: bool,
    suspend: bool,
    clock: bool,
    copies: bool,
    put_back: bool,
    server_power: bool,
    server_disk: bool,
    server_restart: bool,
    server_put_back: bool,
    slow: bool,
    schema: bool,
    grants: bool,
    poison: bool,
    purge: bool,
    revoke: bool,
    compact: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::part(seed, 2);
        let knobs = Knobs::draw(&mut rng);
        let classes = Classes::draw(&mut rng);
        let count = 60 + rng.below(240);
        let pace = rng.pick(&[200, 2_000, 15_000]);
        let mut drawing = Drawing::new(classes, &knobs, &mut rng);
        let (mut at_ms, mut steps) = (0, Vec::new());
        for _ in 0..count {
            let (gap_ms, step) = drawing.step(pace, &mut rng);
            at_ms += gap_ms;
            steps.push(Timed { at_ms, step });
        }
        Self { seed, knobs, steps }
    }
}

fn chunk_bytes_max() -> usize {
    CHUNK_BYTES_MAX
}

impl Knobs {
    fn draw(rng: &mut Rng) -> Self {
        let is_tiny = rng.chance(1, 3);
        Self {
            devices: 2 + rng.index(4),
            users: 1 + rng.index(3),
            sites: 1 + rng.index(3),
            chunk_rows: if is_tiny { 1 } else { rng.pick(&[1, 2, 5, 1000]) },
            chunk_bytes: rng.pick(&[1, 300, 2_000, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX]),
            credit: rng.pick(&[1, 2, 2, 2]),
            window: rng.pick(&[1, 2, 64, 64]),
            push_changes: rng.pick(&[1, 2, 250, 250]),
            is_impatient: rng.chance(1, 4),
            commit_ms: rng.pick(&[0, 1, 1, 30]),
            lying_disks: false,
            salt: 0,
        }
    }
}

impl Classes {
    fn draw(rng: &mut Rng) -> Self {
        let mut half = || rng.chance(1, 2);
        let mut classes = Self {
            cuts: half(),
            half_open: half(),
            weather: half(),
            overlap: half(),
            portal: half(),
            client_power: half(),
            client_disk: half(),
            suspend: half(),
            clock: half(),
            copies: half(),
            put_back: half(),
            server_power: half(),
            server_disk: half(),
            server_restart: half(),
            server_put_back: half(),
            slow: half(),
            schema: half(),
            grants: half(),
            poison: half(),
            purge: half(),
            revoke: half(),
            compact: half(),
        };
        // What takes stores back in time makes many promises weaker: most seeds are without.
        let calm = rng.chance(1, 2);
        classes.copies &= !calm;
        classes.put_back &= !calm;
        classes.server_put_back &= !calm;
        classes
    }
}

/// How the steps of a seed are drawn.
struct Drawing {
    classes: Classes,
    devices: usize,
    users: usize,
    sites: usize,
    value: u64,
    /// How many rows people come back to; zero where they take any of the newest.
    stays: usize,
    /// A fault and an act that are more frequent than others.
    favourites: (Option<u64>, Option<u64>),
    /// Steps that come next, each so many milliseconds at most behind the one before.
    next: VecDeque<(u64, Step)>,
}

impl Drawing {
    fn new(classes: Classes, knobs: &Knobs, rng: &mut Rng) -> Self {
        let mut drawing = Self {
            classes,
            devices: knobs.devices,
            users: knobs.users,
            sites: knobs.sites,
            value: 0,
            stays: rng.pick(&[0, 0, 1, 2, 4]),
            favourites: (rng.chance(1, 2).then(|| rng.below(FAULTS)), rng.chance(1, 3).then(|| rng.below(ACTS))),
            next: VecDeque::new(),
        };
        if rng.chance(1, 3) {
            // Tables that are not empty: what is filled later takes its time.
            for _ in 0..1 + rng.below(6) {
                let import = drawing.import(rng);
                drawing.next.push_back((AT_ONCE_MS, Step::Person(0, import)));
            }
            drawing.next.push_back((AT_ONCE_MS, Step::Person(0, Act::Sync)));
        }
        drawing
    }

    /// The next step, and how many milliseconds behind the last one.
    fn step(&mut self, pace: u64, rng: &mut Rng) -> (u64, Step) {
        if self.next.is_empty() && rng.chance(1, 60) {
            self.scene(rng);
        }
        if let Some((gap_ms, step)) = self.next.pop_front() {
            return (1 + rng.below(gap_ms), step);
        }
        let gap_ms = if rng.chance(1, 4) { 1 + rng.below(AT_ONCE_MS) } else { rng.below(2 * pace) };
        (gap_ms, self.any(rng))
    }

    fn any(&mut self, rng: &mut Rng) -> Step {
        // A fault that is switched off in this seed is an act of a person instead.
        if rng.chance(2, 7)
            && let Some(fault) = self.fault(rng)
        {
            if let Step::Copy(of) = fault {
                self.copied(of, rng);
            }
            return fault;
        }
        Step::Person(rng.index(self.devices), self.act(rng))
    }

    /// Something that takes several people and steps, and would seldom come about by itself. It is about a row of its own, the
    /// newest.
    fn scene(&mut self, rng: &mut Rng) {
        let (here, there) = (rng.index(self.devices), rng.index(self.devices));
        let c = self.classes;
        match rng.below(6) {
            0 if c.cuts && c.compact => self.compacted_behind_a_cut(here, rng),
            1 if c.copies && c.grants && self.devices < DEVICES_MAX => self.copied_without_rights(here, rng),
            2 if c.grants => self.rights_lost_for_a_while(here, there, rng),
            3 => self.same_value(here, there, rng),
            4 if c.grants => self.changed_while_filled(here, rng),
            5 if c.server_put_back => self.discarded_in_a_lost_history(here, there, rng),
            _ => self.form_of_an_earlier_life(here, there, rng),
        }
    }

    /// A form from before a row was changed and deleted is saved into the row that was brought back.
    fn form_of_an_earlier_life(&mut self, here: usize, there: usize, rng: &mut Rng) {
        let field = rng.index(8);
        self.row_of_both(here, there, rng);
        let changed = Act::Update(NEWEST, field, self.value(), false);
        let saved = Act::Update(NEWEST, field, self.value(), true);
        self.next.extend([
            person(here, Act::Look(NEWEST)),
            person(there, changed),
            person(there, Act::Sync),
            person(there, Act::Delete(NEWEST, false)),
            person(there, Act::Sync),
            person(here, Act::Sync),
            person(here, Act::Restore(NEWEST)),
            person(here, saved),
            person(here, Act::Sync),
        ]);
    }

    /// What was discarded before the server was put back is taken back behind it, where another one wrote meanwhile.
    fn discarded_in_a_lost_history(&mut self, here: usize, there: usize, rng: &mut Rng) {
        let field = rng.index(8);
        self.row_of_both(here, there, rng);
        self.next.push_back((SCENE_MS, Step::ServerBackup));
        // So many that what is written in the new history has a number that the old one had, too.
        for _ in 0..5 {
            let lost = Act::Update(NEWEST, field, self.value(), false);
            self.next.extend([person(there, lost), person(there, Act::Sync)]);
        }
        let [discarded, written] = [(); 2].map(|()| Act::Update(NEWEST, field, self.value(), false));
        self.next.extend([
            person(here, Act::Sync),
            person(here, discarded),
            person(here, Act::Discard(NEWEST)),
            (PAUSE_MS, Step::ServerPutBack(rng.below(3) as u8)),
            person(there, Act::Sync),
            (PAUSE_MS, Step::Person(there, written)),
            person(there, Act::Sync),
            (PAUSE_MS, Step::Person(here, Act::Sync)),
            (PAUSE_MS, Step::Person(here, Act::PutBack)),
            person(here, Act::Sync),
        ]);
    }

    /// Somebody loses rights and gets them back, and edits while all of it comes again over a slow link.
    fn rights_lost_for_a_while(&mut self, here: usize, there: usize, rng: &mut Rng) {
        let (field, user) = (rng.index(8), here % self.users);
        self.row_of_both(here, there, rng);
        let changed = Act::Update(NEWEST, field, self.value(), false);
        let saved = Act::Update(NEWEST, field, self.value(), false);
        self.next.extend([
            (SCENE_MS, Step::Grant(user, 0)),
            (SCENE_MS, Step::Grant(user, 7)),
            (AT_ONCE_MS, Step::Weather(here, 20, rng.pick(&[300, 1_200, 8_000]))),
            person(here, Act::Sync),
            person(there, changed),
            person(there, Act::Sync),
            person(here, saved),
            person(here, Act::Sync),
            (SCENE_MS, Step::Weather(here, 20, 1_000_000)),
        ]);
    }

    /// Somebody is given sites again, with much in them, over a slow link, while another deletes and edits what is there.
    fn changed_while_filled(&mut self, here: usize, rng: &mut Rng) {
        let user = here % self.users;
        let others = || (1..self.devices).map(|next| (here + next) % self.devices);
        let there = others().find(|other| other % self.users != user).or(others().next()).unwrap_or(here);
        for _ in 0..3 {
            let import = self.import(rng);
            self.next.push_back(person(there, import));
        }
        self.next.extend([
            person(there, Act::Sync),
            person(here, Act::Sync),
            (SCENE_MS, Step::Grant(user, rng.pick(&[0, 1, 2]))),
            person(here, Act::Sync),
            (AT_ONCE_MS, Step::Weather(here, 20, rng.pick(&[100, 300, 1_200]))),
            (AT_ONCE_MS, Step::Grant(user, 7)),
        ]);
        for _ in 0..2 + rng.below(3) {
            // Not the newest: what is older comes first, and may be there when it changes.
            let (row, field) = (2 + rng.index(8), rng.index(8));
            if rng.chance(1, 2) {
                self.next.push_back(person(there, Act::Delete(row, false)));
            } else {
                for at in [there, here] {
                    let changed = Act::Update(row, field, self.value(), false);
                    self.next.push_back(person(at, changed));
                }
            }
            self.next.push_back((AT_ONCE_MS, Step::Person(there, Act::Sync)));
        }
        self.next.extend([person(here, Act::Sync), (PAUSE_MS, Step::Weather(here, 20, 1_000_000))]);
    }

    /// Two people write the same, and one of them sets it back.
    fn same_value(&mut self, here: usize, there: usize, rng: &mut Rng) {
        let field = rng.index(8);
        let (at_first, same) = (self.row_of_both(here, there, rng), self.value());
        let [before, meanwhile, back] = [same, same, at_first].map(|value| Act::Update(NEWEST, field, value, false));
        self.next.extend([
            person(here, before),
            person(there, meanwhile),
            person(there, Act::Sync),
            person(here, back),
            person(here, Act::Sync),
        ]);
    }

    /// The log is compacted before a device can ask again what became of its push.
    fn compacted_behind_a_cut(&mut self, here: usize, rng: &mut Rng) {
        self.new_row(here, rng);
        let changed = Act::Update(NEWEST, rng.index(8), self.value(), false);
        self.next.extend([
            (SCENE_MS, Step::CutBehindCommit(here)),
            person(here, changed),
            person(here, Act::Sync),
            (SCENE_MS, Step::Compact(0)),
        ]);
    }

    /// A store is copied while a push of it is in flight and its user has lost the rights for the row, for a while. The copy hears
    /// late what became of the push, over a slow link, while the row is deleted.
    fn copied_without_rights(&mut self, here: usize, rng: &mut Rng) {
        let (copy, user) = (self.devices, here % self.users);
        self.devices += 1;
        self.new_row(here, rng);
        let field = rng.index(8);
        let [first, second] = [(); 2].map(|()| Act::Update(NEWEST, field, self.value(), false));
        self.next.extend([
            (SCENE_MS, Step::SlowCommits(3_000)),
            person(here, first),
            person(here, Act::Sync),
            (AT_ONCE_MS, Step::Grant(user, 0)),
            (SCENE_MS, Step::Copy(here)),
            (AT_ONCE_MS, Step::Away(copy, 4_000)),
            (AT_ONCE_MS, Step::Grant(user, 7)),
            (AT_ONCE_MS, Step::Weather(copy, rng.pick(&[1_000, 2_000]), 1_000_000)),
            (PAUSE_MS, Step::SlowCommits(500)),
            person(here, second),
            person(here, Act::Sync),
            (PAUSE_MS, Step::Person(copy, Act::Sync)),
            person(here, Act::Delete(NEWEST, false)),
            person(here, Act::Sync),
            (PAUSE_MS, Step::Weather(copy, 20, 1_000_000)),
            (SCENE_MS, Step::SlowCommits(1)),
        ]);
    }

    /// One makes the newest row, and the other gets it. Returns the value that is in it.
    fn row_of_both(&mut self, here: usize, there: usize, rng: &mut Rng) -> u64 {
        let (table, value) = (rng.index(4), self.value());
        let made = person(there, Act::Create(table, value));
        self.next.extend([made, person(there, Act::Sync), person(here, Act::Sync)]);
        value
    }

    /// A device that can be relied on makes the newest row.
    fn new_row(&mut self, at: usize, rng: &mut Rng) {
        let made = Act::Create(rng.index(4), self.value());
        self.next.extend([
            (AT_ONCE_MS, Step::Weather(at, 20, 1_000_000)),
            (AT_ONCE_MS, Step::Person(at, Act::Mode(0))),
            person(at, Act::Sync),
            person(at, made),
            person(at, Act::Sync),
        ]);
    }

    /// People go on at the copy of a store, too; often both edit, and sync at the same moment.
    fn copied(&mut self, of: usize, rng: &mut Rng) {
        let copy = self.devices;
        self.devices += 1;
        if rng.chance(2, 3) {
            for at in [of, copy] {
                let update = Act::Update(self.row(rng), rng.index(8), self.value(), false);
                self.next.push_back((AT_ONCE_MS, Step::Person(at, update)));
            }
            self.next.extend([of, copy].map(|at| (AT_ONCE_MS, Step::Person(at, Act::Sync))));
        }
    }

    fn fault(&self, rng: &mut Rng) -> Option<Step> {
        let at = rng.index(self.devices);
        let c = self.classes;
        let (on, step) = match favourite(self.favourites.0, FAULTS, rng) {
            0..5 => (c.cuts, Step::CutBehindCommit(at)),
            5..8 => {
                let direction = rng.pick(&[Direction::Up, Direction::Down]);
                (c.cuts, Step::CutAfter(at, direction, rng.below(600)))
            }
            8 | 9 => (c.half_open, Step::HalfOpen(at, rng.chance(2, 3), rng.chance(2, 3))),
            10 | 11 => {
                let rate = rng.pick(&[1, 50, 1200, 8000, 1_000_000]);
                (c.weather, Step::Weather(at, rng.pick(&[0, 5, 300, 2_000, 90_000]), rate))
            }
            12 => (c.weather, Step::Away(at, rng.below(120_000))),
            13 => (c.portal, Step::Portal(at, 1 + rng.below(3) as u32)),
            14 | 15 => (c.overlap, Step::Overlap(at)),
            16..19 => {
                let again = rng.chance(1, 2).then(|| 1 + rng.below(30));
                (c.client_power, Step::ClientPower(at, 1 + rng.below(60), again))
            }
            19 => (c.client_disk, Step::ClientDiskError(at, 1 + rng.below(40))),
            20 => (c.client_disk, Step::ClientDiskFull(at, rng.below(40_000), rng.below(60_000))),
            21 => (c.suspend, Step::Suspend(at, rng.pick(&[5_000, 60_000, 3_600_000, 30 * 86_400_000]))),
            22 => (c.clock, Step::Clock(at, rng.pick(&[-40_000, 90_000, -30 * 86_400_000, 3 * 365 * 86_400_000]))),
            23 => (c.copies && self.devices < DEVICES_MAX, Step::Copy(at)),
            24 => (c.put_back, Step::ClientBackup(at)),
            25 => (c.put_back, Step::ClientPutBack(at)),
            26..28 => {
                let again = rng.chance(1, 2).then(|| 1 + rng.below(30));
                (c.server_power, Step::ServerPower(1 + rng.below(60), again))
            }
            28 => (c.server_disk, Step::ServerDiskError(1 + rng.below(40))),
            29 => (c.server_restart, Step::ServerRestart(rng.below(30_000))),
            30 => (c.server_put_back, Step::ServerBackup),
            31 => (c.server_put_back, Step::ServerPutBack(rng.below(3) as u8)),
            32 => (c.slow, Step::SlowCommits(rng.pick(&[0, 1, 400, 5_000]))),
            33 => (c.schema, Step::SchemaGrows),
            34 | 35 => (c.grants, Step::Grant(rng.index(self.users), rng.below(8) as u8)),
            36 => (c.grants, Step::Role(rng.index(self.users), rng.chance(1, 2))),
            37 => (c.poison, Step::Poison(rng.chance(1, 2).then(|| self.row(rng)))),
            38 => (c.purge, Step::Purge(self.row(rng))),
            39 | 40 => (c.compact, Step::Compact(rng.pick(&[0, 0, 3, 20]))),
            _ => (c.revoke, Step::Revoke(at)),
        };
        on.then_some(step)
    }

    fn value(&mut self) -> u64 {
        self.value += 1;
        self.value
    }

    fn row(&self, rng: &mut Rng) -> usize {
        if self.stays > 0 && rng.chance(3, 4) { STAYS + rng.index(self.stays) } else { rng.index(RECENT) }
    }

    fn import(&mut self, rng: &mut Rng) -> Act {
        let first = self.value();
        self.value += 4;
        Act::Import(rng.index(4), 1 + rng.index(4), first)
    }

    fn act(&mut self, rng: &mut Rng) -> Act {
        let (row, field) = (self.row(rng), rng.index(8));
        match favourite(self.favourites.1, ACTS, rng) {
            0..8 => Act::Create(rng.index(4), self.value()),
            8..24 => Act::Update(row, field, self.value(), rng.chance(1, 3)),
            24 => Act::Clear(row, field),
            25 => Act::SetBack(row, field),
            26..29 => Act::Delete(row, rng.chance(1, 3)),
            29 | 30 if field < 4 => Act::PutBack,
            29 | 30 => Act::Restore(row),
            31 => Act::Discard(row),
            32 => Act::DiscardField(row, field),
            33..36 => Act::Look(row),
            36 => Act::OpenDialog(row),
            37..40 => Act::Resolve(row, rng.below(8) as u8, self.value()),
            40 | 41 => {
                let rows = (0..2 + rng.index(2)).map(|_| self.row(rng)).collect();
                Act::Group(rows, self.value())
            }
            42 => self.import(rng),
            43 => Act::Move(row, rng.index(self.sites)),
            44 => Act::Refer(row, rng.index(RECENT)),
            45 => Act::Forbidden(row, self.value()),
            46 => Act::TakeOut(row),
            47 => Act::SyncOnly(row),
            48 => Act::CancelSync,
            49 => Act::Mode(rng.below(3) as u8),
            _ => Act::Sync,
        }
    }
}

/// Between steps that belong together, and between those of a scene, at most.
const AT_ONCE_MS: u64 = 20;
const SCENE_MS: u64 = 1_500;
/// Between steps of a scene that wait for something, at most.
const PAUSE_MS: u64 = 12_000;

/// The index of the newest row.
const NEWEST: usize = 0;

/// A step of a scene.
fn person(at: usize, act: Act) -> (u64, Step) {
    (SCENE_MS, Step::Person(at, act))
}

/// Kinds of faults and of acts, by their weights.
const FAULTS: u64 = 42;
const ACTS: u64 = 60;

/// One of `of` kinds; every third time the favourite.
fn favourite(favourite: Option<u64>, of: u64, rng: &mut Rng) -> u64 {
    favourite.filter(|_| rng.chance(1, 3)).unwrap_or_else(|| rng.below(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_one_of_the_newest_rows_or_one_that_stays_the_same_for_a_dozen() {
        assert_eq!(row_of(3, 0), None);
        assert_eq!((row_of(0, 40), row_of(15, 40), row_of(16, 40)), (Some(39), Some(24), Some(39)));
        assert_eq!((row_of(2, 2), row_of(STAYS + 5, 1)), (Some(1), Some(0)));
        let stays: Vec<_> = (24..37).map(|count| row_of(STAYS + 1, count)).collect();
        assert_eq!((stays[0], stays[1]), (Some(13), Some(24)));
        assert!(stays[2..].iter().all(|row| *row == Some(25)));
    }

    #[test]
    fn a_plan_comes_back_from_its_file() {
        for seed in 0..50 {
            let plan = Plan::of(seed);
            let text = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }
    }
}
