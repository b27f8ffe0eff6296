//! What forms and dialogs hold and decide, without a window: plain data, tested as such.

pub mod decision;
pub mod form;
pub mod values;
