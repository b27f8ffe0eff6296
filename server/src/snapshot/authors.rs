//! Who made the commits that rows name, and when: each once a message (S2).

use super::Snapshot;
use crate::access::OPERATOR;
use crate::store::StoreError;
use crate::store::read::Read;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_protocol::ids::{DeviceId, Seq, UserId};
use tombolo_protocol::message::{Author, Authors, Outcome};
use tombolo_protocol::row::RowState;

/// What people read where no user made a commit.
pub const OPERATOR_NAME: &str = "the server's operator";

/// The commits that rows name.
pub struct AuthorList(BTreeSet<Seq>);

impl AuthorList {
    /// The commits that these rows name.
    pub fn of<'r>(rows: impl IntoIterator<Item = &'r RowState>) -> Self {
        Self(rows.into_iter().flat_map(commits_of).collect())
    }

    /// The commits that these outcomes name: those of their rows, and their own where rows are as expected.
    pub fn of_outcomes<'o>(outcomes: impl IntoIterator<Item = &'o Outcome>) -> Self {
        let named = |outcome: &'o Outcome| {
            let own = Some(outcome.commit.seq).filter(|_| !outcome.as_expected.is_empty());
            outcome.rows.0.iter().flat_map(commits_of).chain(own)
        };
        Self(outcomes.into_iter().flat_map(named).collect())
    }

    /// Names and times.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(self, snapshot: &Snapshot) -> Result<Authors, StoreError> {
        Ok(self.read_by(snapshot)?.0)
    }

    /// The same, and whose names they are.
    pub(crate) fn read_by(self, snapshot: &Snapshot) -> Result<(Authors, Vec<UserId>), StoreError> {
        let (mut authors, mut users) = (Authors::default(), Vec::new());
        let mut places: BTreeMap<UserId, u32> = BTreeMap::new();
        for seq in self.0 {
            let Some(mark) = snapshot.tables.commit_mark(seq)? else { continue };
            let name = match places.get(&mark.user) {
                Some(place) => *place,
                None => {
                    let place = u32::try_from(authors.names.len()).unwrap_or(u32::MAX);
                    authors.names.push(snapshot.user_name(mark.user)?);
                    users.push(mark.user);
                    places.insert(mark.user, place);
                    place
                }
            };
            authors.commits.push(Author { seq, name, at_ms: mark.at_ms });
        }
        Ok((authors, users))
    }
}

/// The stamps of a row, and the commit that last changed it: of a deletion there is no stamp.
pub(crate) fn commits_of(row: &RowState) -> impl Iterator<Item = Seq> + '_ {
    row.fields.iter().map(|field| field.stamp).chain([row.seq])
}

impl Snapshot {
    /// The name of a commit's author, as people read it.
    pub(super) fn user_name(&self, user: UserId) -> Result<String, StoreError> {
        if user == OPERATOR {
            return Ok(OPERATOR_NAME.to_owned());
        }
        Ok(self.tables.user(user)?.map_or_else(String::new, |user| user.name))
    }

    /// What people call a device; empty where nobody named it.
    pub(crate) fn device_name(&self, device: DeviceId) -> Result<String, StoreError> {
        Ok(self.tables.device_name(device)?.unwrap_or_default())
    }
}
