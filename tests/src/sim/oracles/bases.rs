//! What an edit is made on is what was displayed: a form that was opened long ago does not take what came since for seen, not even
//! where it is of the same person.

use super::Broken;
use anyhow::{Result, ensure};
use tombolo_client::protocol::ids::{FieldTag, RowKey};
use tombolo_client::protocol::outbox::Pending;
use tombolo_client::view::RowView;

/// A form was saved that touches these fields, where nothing of the row was pending before.
pub(super) fn of_form<'f>(
    store: usize,
    key: RowKey,
    form: &RowView,
    touched: impl Iterator<Item = &'f FieldTag>,
    made: &Pending,
) -> Result<()> {
    for field in touched {
        let base = made.fields.get(field).and_then(|edit| edit.base_value.as_ref());
        ensure!(
            base.is_none_or(|base| base == form.value(*field)),
            Broken::new(
                "bases",
                format!("store {store}, field {field} of {key:?}: the form showed {form:?}, and made {made:?}")
            )
        );
    }
    Ok(())
}
