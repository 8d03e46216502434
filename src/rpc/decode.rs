//! Reading requests: each helper notes what is wrong and goes on, so that every wrong field is told at once.

pub use crate::base::text::optional_id;
use crate::base::{Id, Violations, text};

/// Reads a required id. When it is wrong that is noted, and the nil id stands in until [`Violations::finish`].
pub fn id<T>(violations: &mut Violations, field: &str, word: &str) -> Id<T> {
    text::id(violations, field, word).unwrap_or(Id::from_uuid(uuid::Uuid::nil()))
}

/// Reads the id of a request that has no other field to check.
///
/// # Errors
/// When it is empty or not a UUID.
pub fn only_id<T>(field: &str, text: &str) -> Result<Id<T>, Violations> {
    let mut violations = Violations::new();
    let id = id(&mut violations, field, text);
    violations.finish().map(|()| id)
}
