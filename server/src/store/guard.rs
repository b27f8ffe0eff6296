//! A damaged file may hold what the engine of the store takes to be impossible; it panics then.

use super::StoreError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does something with a store. A panic ends that work and nothing else.
///
/// # Errors
/// [`StoreError::Damaged`] with what the panic said.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, StoreError> {
    // Whoever goes on after this reads everything again from the store.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| StoreError::damaged(said(&*panic)))
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it cannot be read").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_engine_is_told_as_a_damaged_file() {
        let page = 207;
        let error = guarded(|| -> () { panic!("Invalid page type byte {page}") }).unwrap_err().to_string();
        assert!(error.starts_with("the data file is damaged (Invalid page type byte 207). Do not delete it"), "{error}");
        assert_eq!(guarded(|| 5).unwrap(), 5);
    }
}
