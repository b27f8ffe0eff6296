//! What an edit is made on is what was displayed: a form that was opened long ago does not take what came since for seen, not even
//! where it is of the same person. And what a dialog shows as the base of what others changed is what the row was then.

use super::{Broken, Oracles};
use crate::sim::ledger::content;
use anyhow::{Result, ensure};
use tombolo_client::protocol::ids::FieldTag;
use tombolo_client::protocol::outbox::Pending;
use tombolo_client::protocol::row::Row;
use tombolo_client::view::{ConflictView, RowView};

/// A form was saved. An older base than the form's only asks a question. Fields that are not judged stand on an own change, which
/// the form showed or which is in flight.
pub(super) fn of_form(
    store: usize,
    form: &RowView,
    mirror: &Row,
    made: &Pending,
    is_judged: impl Fn(FieldTag) -> bool,
) -> Result<()> {
    for (field, edit) in made.fields.iter().filter(|(field, _)| is_judged(**field)) {
        let (now, stamp) = (mirror.value(*field), mirror.stamp(*field));
        let takes_now_for_seen = edit.base_value.as_ref() == Some(now) && edit.base >= stamp;
        ensure!(
            !takes_now_for_seen || form.value(*field) == now,
            Broken::new("bases", format!("store {store}, field {field} is {now:?} of {stamp}: {form:?} made {made:?}"))
        );
    }
    Ok(())
}

/// A dialog of a store whose history is the log's. A base may be older than the newest view that the change was made in; what such
/// a view showed beside it is what the person saw, too.
pub(super) fn of_dialog(oracles: &Oracles, store: usize, dialog: &ConflictView) -> Result<()> {
    let base = dialog.mine.row_base;
    for (field, value) in &dialog.replaced {
        let place = (dialog.key, *field);
        let was = oracles.log.value_at(place, base);
        ensure!(
            was == value || oracles.ledger.has_seen(&[store].into(), place, &content(value)),
            Broken::new("bases", format!("store {store}, field {field} was {was:?} at {base}, not {value:?}: {dialog:?}"))
        );
    }
    Ok(())
}
