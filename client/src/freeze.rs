//! What goes into the next pushes, and in which order (O5, P1, P7). Decides purely; the caller makes it durable.

mod graph;
mod outline;
mod plan;
#[cfg(test)]
mod tests;

pub(crate) use outline::{Outline, Own, own_standing};
pub(crate) use plan::{Planned, plan};

use tombolo_protocol::change::Change;
use tombolo_protocol::cursor::Cursors;
use tombolo_protocol::ids::RowKey;
use tombolo_protocol::outbox::{Pending, change_of, lift};
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::Schema;

/// Why a pending change is not sent now; shown to people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It goes with the next push.
    Ready,
    /// Frozen in a push that has no answer yet.
    InFlight,
    /// It waits for another row's change, or its own row for coming with a fill.
    Waiting {
        /// That row.
        on: RowKey,
    },
    /// A person decides between values.
    Conflict,
    /// A person edits or discards it.
    Refused,
}

impl Standing {
    /// Whether nothing goes on before a person acts.
    pub fn waits_for_person(self) -> bool {
        matches!(self, Self::Conflict | Self::Refused)
    }
}

/// What a ready change is frozen as: its bases lifted to what the cursor of its section covers now.
pub(crate) fn frozen(
    schema: &Schema,
    cursors: &Cursors,
    key: RowKey,
    mut pending: Pending,
    mirror: Option<&Row>,
    group: Option<u16>,
) -> (Pending, Change) {
    let section = mirror.and_then(|row| row.section(schema.table(key.table)?));
    let complete = section.and_then(|section| cursors.complete_of(&section));
    if let Some(mirror) = mirror {
        lift(&mut pending, mirror, complete);
    }
    let change = change_of(key, &pending, complete.unwrap_or_default(), group);
    (pending, change)
}
