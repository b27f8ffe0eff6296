//! What an edit is made on is what was displayed: a form that was opened long ago does not take what came since for seen, not even
//! where it is of the same person.

use super::Broken;
use anyhow::{Result, ensure};
use tombolo_client::protocol::outbox::Pending;
use tombolo_client::protocol::row::Row;
use tombolo_client::view::RowView;

/// A form was saved where nothing of the row was pending before. An older base than the form's only asks a question.
pub(super) fn of_form(store: usize, form: &RowView, mirror: &Row, made: &Pending) -> Result<()> {
    for (field, edit) in &made.fields {
        let (now, stamp) = (mirror.value(*field), mirror.stamp(*field));
        let takes_now_for_seen = edit.base_value.as_ref() == Some(now) && edit.base >= stamp;
        ensure!(
            !takes_now_for_seen || form.value(*field) == now,
            Broken::new("bases", format!("store {store}, field {field} is {now:?} of {stamp}: {form:?} made {made:?}"))
        );
    }
    Ok(())
}
