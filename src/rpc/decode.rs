//! Reading requests: each helper notes what is wrong and goes on, so that every wrong field is told at once.

pub use crate::base::text::optional_id;
use crate::base::{Id, Timestamp, Violations, text};

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

/// 9999-12-31T23:59:59Z, the last second of the well-known type.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Reads a point in time, from 1970 on. When it is wrong that is noted.
pub fn timestamp(violations: &mut Violations, field: &str, at: &prost_types::Timestamp) -> Option<Timestamp> {
    let sound = (0..=SECONDS_MAX).contains(&at.seconds) && (0..1_000_000_000).contains(&at.nanos);
    violations.check(sound, field, "must be a time between the years 1970 and 9999");
    let micros = i64::from(at.nanos / 1_000).saturating_add(at.seconds.saturating_mul(1_000_000));
    sound.then(|| Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        let read = |seconds, nanos| {
            let mut violations = Violations::new();
            let at = prost_types::Timestamp { seconds, nanos };
            let read = timestamp(&mut violations, "at", &at);
            assert_eq!(read.is_none(), !violations.is_empty());
            read
        };
        assert_eq!(read(2, 3_999), Some(Timestamp::from_micros(2_000_003)));
        for (seconds, nanos) in [(-1, 0), (SECONDS_MAX + 1, 0), (i64::MAX, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(read(seconds, nanos), None);
        }
    }
}
