//! Reading requests: each helper notes what is wrong and goes on, so that every wrong field is told at once.

use crate::base::{Id, Violations};

const NOT_A_UUID: &str = "must be a UUID in lower-case hyphenated form";

/// Reads a required id. When it is wrong that is noted, and the nil id stands in until [`Violations::finish`].
pub fn id<T>(violations: &mut Violations, field: &str, text: &str) -> Id<T> {
    violations.check(!text.is_empty(), field, "must not be empty");
    optional_id(violations, field, text).unwrap_or(Id::from_uuid(uuid::Uuid::nil()))
}

/// Reads an id that may be left empty.
pub fn optional_id<T>(violations: &mut Violations, field: &str, text: &str) -> Option<Id<T>> {
    if text.is_empty() {
        return None;
    }
    let read = text.parse().ok();
    violations.check(read.is_some(), field, NOT_A_UUID);
    read
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
