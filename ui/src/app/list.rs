//! Rows of a snapshot as the window's models: nothing is copied but what is on the screen.

use super::named;
use crate::window::{Hit, RowState, RowVm};
use slint::{Model, ModelNotify, ModelTracker};
use std::cell::RefCell;
use tombolo_client::listing::{Listed, Listing};
use tombolo_client::protocol::ids::RowId;
use tombolo_client::view::RowStanding;

#[derive(Default)]
struct Found {
    listing: Option<Listing>,
    places: Vec<u32>,
}

impl Found {
    fn listed(&self, at: usize) -> Option<Listed<'_>> {
        Some(self.listing.as_ref()?.row(*self.places.get(at)?))
    }
}

/// What was found in a list.
pub(super) struct FoundModel<T> {
    found: RefCell<Found>,
    notify: ModelNotify,
    make: fn(Listed<'_>) -> T,
}

/// The rows of the table that is shown.
pub(super) type RowModel = FoundModel<RowVm>;
/// The rows that a reference may point at.
pub(super) type HitModel = FoundModel<Hit>;

impl Default for RowModel {
    fn default() -> Self {
        Self::new(|row| RowVm { title: named(row.title), subtitle: row.below.into(), state: state(row.standing) })
    }
}

impl Default for HitModel {
    fn default() -> Self {
        Self::new(|row| Hit { title: named(row.title), subtitle: row.below.into() })
    }
}

impl<T> FoundModel<T> {
    fn new(make: fn(Listed<'_>) -> T) -> Self {
        Self { found: RefCell::default(), notify: ModelNotify::default(), make }
    }

    /// Shows other rows.
    pub(super) fn show(&self, listing: Listing, places: Vec<u32>) {
        *self.found.borrow_mut() = Found { listing: Some(listing), places };
        self.notify.reset();
    }

    /// Shows nothing.
    pub(super) fn clear(&self) {
        *self.found.borrow_mut() = Found::default();
        self.notify.reset();
    }

    /// The row at an index.
    pub(super) fn id(&self, at: usize) -> Option<(RowId, String)> {
        self.found.borrow().listed(at).map(|row| (row.id, row.title.to_owned()))
    }

    /// Where a row is.
    pub(super) fn position(&self, id: RowId) -> Option<usize> {
        let found = self.found.borrow();
        let wanted = found.listing.as_ref()?.position(id)?;
        found.places.iter().position(|place| *place == wanted)
    }
}

impl<T: 'static> Model for FoundModel<T> {
    type Data = T;

    fn row_count(&self) -> usize {
        self.found.borrow().places.len()
    }

    fn row_data(&self, at: usize) -> Option<T> {
        self.found.borrow().listed(at).map(self.make)
    }

    fn model_tracker(&self) -> &dyn ModelTracker {
        &self.notify
    }
}

pub(super) fn state(standing: RowStanding) -> RowState {
    match standing {
        RowStanding::Clean => RowState::Clean,
        RowStanding::Pending => RowState::Pending,
        RowStanding::Refused => RowState::Refused,
        RowStanding::Conflict => RowState::Conflict,
    }
}
