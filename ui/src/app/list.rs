//! Rows of a snapshot as the window shows them: nothing is copied but what is on the screen.

use super::{int, named};
use crate::window::{Hit, RowState, RowVm};
use slint::{Model, ModelNotify, ModelTracker, VecModel};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
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

/// The rows of the table that is shown, in places of the window that stay: only as many as are on the screen, and one that comes
/// into sight takes the place of one that went. A place costs several times as much to make as to change.
#[derive(Default)]
pub(super) struct Rows {
    found: RefCell<Found>,
    /// The place of a row is its index modulo the number of places.
    places: Rc<VecModel<RowVm>>,
    /// The first index in sight, and how many rows may be.
    sight: Cell<(usize, usize)>,
    selected: Cell<Option<usize>>,
}

impl Rows {
    /// What the window shows.
    pub(super) fn places(&self) -> Rc<VecModel<RowVm>> {
        self.places.clone()
    }

    /// Shows other rows.
    pub(super) fn show(&self, listing: Listing, places: Vec<u32>) {
        *self.found.borrow_mut() = Found { listing: Some(listing), places };
        self.place();
    }

    /// Shows nothing.
    pub(super) fn clear(&self) {
        *self.found.borrow_mut() = Found::default();
        self.place();
    }

    /// Others came into sight.
    pub(super) fn look(&self, first: usize, room: usize) {
        self.sight.set((first, room));
        self.place();
    }

    /// Marks the row that is chosen.
    pub(super) fn select(&self, index: Option<usize>) {
        self.selected.set(index);
        self.place();
    }

    /// The row at an index.
    pub(super) fn id(&self, at: usize) -> Option<RowId> {
        self.found.borrow().listed(at).map(|row| row.id)
    }

    /// Where a row is.
    pub(super) fn position(&self, id: RowId) -> Option<usize> {
        let found = self.found.borrow();
        let wanted = found.listing.as_ref()?.position(id)?;
        found.places.iter().position(|place| *place == wanted)
    }

    fn place(&self) {
        let rows = self.in_sight();
        while self.places.row_count() > rows.len() {
            self.places.remove(rows.len());
        }
        for (place, row) in rows.into_iter().enumerate() {
            match self.places.row_data(place) {
                None => self.places.push(row),
                Some(before) if before != row => self.places.set_row_data(place, row),
                Some(_) => {}
            }
        }
    }

    /// What is in sight, by place.
    fn in_sight(&self) -> Vec<RowVm> {
        let found = self.found.borrow();
        let (first, room) = self.sight.get();
        let count = room.min(found.places.len());
        let first = first.min(found.places.len() - count);
        let mut rows = vec![RowVm::default(); count];
        for at in first..first + count {
            if let Some(row) = found.listed(at) {
                let (title, subtitle) = (named(row.title), row.below.into());
                let current = self.selected.get() == Some(at);
                rows[at % count] = RowVm { at: int(at), title, subtitle, state: state(row.standing), current };
            }
        }
        rows
    }
}

/// The rows that a reference may point at.
#[derive(Default)]
pub(super) struct HitModel {
    found: RefCell<Found>,
    notify: ModelNotify,
}

impl HitModel {
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

    /// The row at an index, and what it is called.
    pub(super) fn id(&self, at: usize) -> Option<(RowId, String)> {
        self.found.borrow().listed(at).map(|row| (row.id, row.title.to_owned()))
    }
}

impl Model for HitModel {
    type Data = Hit;

    fn row_count(&self) -> usize {
        self.found.borrow().places.len()
    }

    fn row_data(&self, at: usize) -> Option<Hit> {
        let found = self.found.borrow();
        found.listed(at).map(|row| Hit { title: named(row.title), subtitle: row.below.into() })
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
