//! The checks of Hello, in their order: protocol, workspace, history, schema, device (H1). Nothing else of the session is read
//! before they have passed.

use super::live::Live;
use super::{Entry, Output, Phase, Registry, Session, wire};
use crate::access::Rights;
use crate::feed::Load;
use crate::snapshot::{AuthorList, Snapshot};
use crate::store::StoreError;
use tombolo_protocol::change::PlaceRuns;
use tombolo_protocol::ids::{Mark, PushNo, RowNo};
use tombolo_protocol::message::{Authors, CloseReason, Copied, Diverged, Down, Hello, Outcome, Welcome};
use tombolo_protocol::planted::{Planted, planted};
use tombolo_protocol::version::{PROTOCOL, PROTOCOL_LOWEST, agree};

impl Session {
    pub(super) fn check(
        &mut self,
        hello: Box<Hello>,
        snapshot: &Snapshot,
        registry: &Registry,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let Some(protocol) = agree(hello.protocol) else {
            let reason = CloseReason::Version { lowest: PROTOCOL_LOWEST, highest: PROTOCOL };
            self.close_with(Down::Closed(reason));
            return Ok(());
        };
        if hello.workspace != snapshot.workspace() {
            self.close_with(Down::OtherServer { workspace: snapshot.workspace() });
            return Ok(());
        }
        if !planted(Planted::WitnessUnchecked) && snapshot.hash_at(hello.witness.seq)? != Some(hello.witness.hash) {
            self.send(Down::WhichCommon);
            self.phase = Phase::AskedCommon(hello);
            return Ok(());
        }
        let Some(rights) = self.check_device(&hello, snapshot)? else { return Ok(()) };
        // What is above the log was made up: the witness, which fits, covers the cursors (T5).
        if !hello.cursors.is_within(snapshot.head().seq) {
            self.violation("a cursor above the log");
            return Ok(());
        }
        if (hello.schema, hello.schema_hash) != (snapshot.schema_seq(), snapshot.schema().hash) {
            self.send(Down::Schema { seq: snapshot.schema_seq(), text: snapshot.schema().text.clone() });
        }
        if !planted(Planted::CopyGreeted) && self.is_copy(&hello, snapshot)? {
            let copied = self.copied(&hello, &rights, snapshot)?;
            self.close_with(Down::Copy(Box::new(copied)));
            return Ok(());
        }
        match registry.enter(hello.device, self.id, hello.process, hello.connection) {
            Entry::Alone => {}
            Entry::Replaces(session) => {
                let (process, connection) = (hello.process, hello.connection);
                self.outputs.push_back(Output::Replace { session, process, connection });
            }
            Entry::Late => {
                self.close_with(Down::Closed(CloseReason::Late));
                return Ok(());
            }
        }
        self.welcome(hello, protocol, &rights, snapshot, now_ms)
    }

    /// The rights of the user, where the token's device may connect. A store whose pushes were frozen under an earlier device of
    /// this user, or under one that this history does not know, may say so: it is answered as a copy.
    pub(super) fn check_device(&mut self, hello: &Hello, snapshot: &Snapshot) -> Result<Option<Rights>, StoreError> {
        let earlier = snapshot.device(hello.device)?.filter(|_| hello.device != self.identity.device);
        if earlier.is_some_and(|device| device.user != self.identity.user) {
            self.close_with(Down::Closed(CloseReason::Unauthorized));
            return Ok(None);
        }
        match self.admitted(snapshot)? {
            Ok(rights) => Ok(Some(rights)),
            Err(reason) => {
                self.close_with(Down::Closed(reason));
                Ok(None)
            }
        }
    }

    /// Whether the device may (still) be connected by the token that opened the session, and what its user may do.
    pub(super) fn admitted(&self, snapshot: &Snapshot) -> Result<Result<Rights, CloseReason>, StoreError> {
        let device = snapshot.device(self.identity.device)?;
        if device.as_ref().is_some_and(|device| device.revoked) {
            return Ok(Err(CloseReason::Revoked));
        }
        let known = device.is_some_and(|device| device.token == Some(self.identity.token) && device.user == self.identity.user);
        let rights = snapshot.rights(self.identity.user)?;
        Ok(rights.filter(|_| known).ok_or(CloseReason::Unauthorized))
    }

    /// The store goes on from pushes of an earlier device; or it was copied or put back: the record is above what it ever froze,
    /// or differs where both have something (P3).
    fn is_copy(&self, hello: &Hello, snapshot: &Snapshot) -> Result<bool, StoreError> {
        if hello.device != self.identity.device {
            return Ok(true);
        }
        let recorded =
            |number: PushNo| Ok::<_, StoreError>(snapshot.recorded_push(hello.device, number)?.map(|(hash, _)| hash));
        let (applied, applied_hash) = hello.applied;
        let highest = hello.frozen.last().map_or(applied, |(number, _)| *number).max(applied);
        if snapshot.last_push(hello.device)?.0 > highest {
            return Ok(true);
        }
        if applied != PushNo(0) && recorded(applied)? != Some(applied_hash) {
            return Ok(true);
        }
        for (number, hash) in &hello.frozen {
            if !planted(Planted::OtherPushAnswered) && recorded(*number)?.is_some_and(|recorded| recorded != *hash) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn welcome(
        &mut self,
        hello: Box<Hello>,
        protocol: u16,
        rights: &Rights,
        snapshot: &Snapshot,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        // Not known settles nothing: what is left out is sent again, and answered by itself.
        let outcomes = self.outcomes(&hello, rights, snapshot, Surplus::LeftOut)?;
        let listed = snapshot.sections(rights)?;
        let named = hello.cursors.sections.iter().chain(hello.cursors.fills.keys()).copied().collect();
        let answered = outcomes.last().map_or(hello.applied.0, |outcome| outcome.number).max(hello.applied.0);
        let welcome = Welcome {
            protocol,
            server_ms: now_ms,
            snapshot: snapshot.head(),
            last: snapshot.last_push(hello.device)?,
            authors: AuthorList::of_outcomes(&outcomes).read(snapshot)?,
            outcomes,
            sections: (listed != named).then(|| listed.iter().copied().collect()),
        };
        self.send(Down::Welcome(Box::new(welcome)));
        let mut live = Live::new(&self.config, *hello, answered, snapshot);
        live.told.tell_snapshot(snapshot.head());
        live.relist(listed, snapshot.head().seq);
        self.phase = Phase::Live(Box::new(live));
        Ok(())
    }

    /// What is answered to a copy: everything that is recorded under the hashes that it named.
    pub(super) fn copied(&self, hello: &Hello, rights: &Rights, snapshot: &Snapshot) -> Result<Copied, StoreError> {
        let outcomes = self.outcomes(hello, rights, snapshot, Surplus::WithoutRows)?;
        Ok(Copied {
            snapshot: snapshot.head(),
            last: snapshot.last_push(hello.device)?,
            authors: AuthorList::of_outcomes(&outcomes).read(snapshot)?,
            outcomes,
        })
    }

    /// The recorded outcomes of frozen pushes whose hashes are the recorded ones, as far as they fit into one message.
    fn outcomes(
        &self,
        hello: &Hello,
        rights: &Rights,
        snapshot: &Snapshot,
        surplus: Surplus,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::new();
        let mut load = Load::default();
        for (number, hash) in &hello.frozen {
            let recorded = snapshot.recorded_push(hello.device, *number)?;
            if recorded.map(|(recorded, _)| recorded) != Some(*hash) {
                continue;
            }
            let Some(mut outcome) = snapshot.outcome(rights, hello.device, *number)? else { continue };
            load.reserve(wire::verdict_bytes(&outcome));
            if !load.try_add(&outcome.rows.0, surplus.room(self.config.chunk_bytes_max)) {
                match surplus {
                    Surplus::LeftOut => break,
                    Surplus::WithoutRows => outcome.rows.0.clear(),
                }
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// The histories differ, or have nothing in common (H2, H3).
    pub(super) fn diverged(&mut self, hello: &Hello, pairs: &[Mark], snapshot: &Snapshot) -> Result<(), StoreError> {
        let mut common: Option<Mark> = None;
        for pair in pairs {
            if snapshot.hash_at(pair.seq)? == Some(pair.hash) {
                common = common.max(Some(*pair));
            }
        }
        let Some(common) = common else {
            self.close_with(Down::OtherServer { workspace: snapshot.workspace() });
            return Ok(());
        };
        let Some(rights) = self.check_device(hello, snapshot)? else { return Ok(()) };
        // Without rows: they would be of a history and a schema that the client does not have yet, and every section is filled
        // anew (H3, H7).
        let mut outcomes = self.outcomes(hello, &rights, snapshot, Surplus::WithoutRows)?;
        for outcome in &mut outcomes {
            outcome.rows.0.clear();
            (outcome.as_expected, outcome.first_created) = (PlaceRuns::default(), RowNo(0));
        }
        let diverged = Diverged {
            common,
            snapshot: snapshot.head(),
            outcomes,
            authors: Authors::default(),
            offer: snapshot.offer_after(common.seq)?,
        };
        self.close_with(Down::Diverged(Box::new(diverged)));
        Ok(())
    }
}

/// What becomes of outcomes that do not fit into a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surplus {
    /// The first one ends the list.
    LeftOut,
    /// They come without rows, which the deltas to a new device bring.
    WithoutRows,
}

impl Surplus {
    /// For rows; beside them stand the verdicts, which are never left out of an outcome.
    fn room(self, most: usize) -> usize {
        match self {
            Self::LeftOut => most,
            Self::WithoutRows => most / 2,
        }
    }
}
