//! Comparing two tables entry by entry, for the verification of folds.

use super::StoreError;
use redb::{Key, ReadOnlyTable, ReadableTable, Value};

/// Asked now and then by what takes long; an error ends it.
pub type GoesOn<'a> = &'a dyn Fn() -> Result<(), StoreError>;

/// The first difference in words; none where the tables are equal.
pub(super) fn first_difference<K: Key + 'static, V: Value + 'static>(
    left: &ReadOnlyTable<K, V>,
    right: &ReadOnlyTable<K, V>,
    goes_on: GoesOn<'_>,
) -> Result<Option<String>, StoreError> {
    let (mut lefts, mut rights) = (left.iter()?, right.iter()?);
    loop {
        goes_on()?;
        let (left, right) = (lefts.next().transpose()?, rights.next().transpose()?);
        let ((left_key, left_value), (right_key, right_value)) = match (&left, &right) {
            (None, None) => return Ok(None),
            (Some((key, _)), None) => return Ok(Some(format!("entry {} is too many", shown::<K>(&key.value())))),
            (None, Some((key, _))) => return Ok(Some(format!("entry {} is missing", shown::<K>(&key.value())))),
            (Some(left), Some(right)) => (left, right),
        };
        let (left_key, right_key) = (left_key.value(), right_key.value());
        match K::compare(K::as_bytes(&left_key).as_ref(), K::as_bytes(&right_key).as_ref()) {
            std::cmp::Ordering::Less => return Ok(Some(format!("entry {} is too many", shown::<K>(&left_key)))),
            std::cmp::Ordering::Greater => return Ok(Some(format!("entry {} is missing", shown::<K>(&right_key)))),
            std::cmp::Ordering::Equal => {}
        }
        if V::as_bytes(&left_value.value()).as_ref() != V::as_bytes(&right_value.value()).as_ref() {
            return Ok(Some(format!("entry {} has another content", shown::<K>(&left_key))));
        }
    }
}

fn shown<K: Key + 'static>(key: &K::SelfType<'_>) -> String {
    let shown = format!("{key:?}");
    if shown.chars().count() <= 120 { shown } else { shown.chars().take(120).chain("...".chars()).collect() }
}
