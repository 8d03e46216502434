//! Reading requests: each helper notes what is wrong and goes on, so that every wrong field is told at once.

pub use crate::base::text::optional_id;
use crate::base::{Id, Timestamp, Violations, text};
use crate::chain::Known;

/// The seconds that a well-formed `google.protobuf.Timestamp` may have: the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

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

/// Reads a time that may be left out, to the microsecond. When it is wrong that is noted.
pub fn optional_time(
    violations: &mut Violations,
    field: &str,
    time: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    let time = time?;
    let micros = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000).map(|it| it / 1_000);
    let read = micros.filter(|_| SECONDS.contains(&time.seconds)).map(|micros| {
        Timestamp::from_micros(time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(micros)))
    });
    violations.check(read.is_some(), field, "must be a time between the years 1 and 9999");
    read
}

/// Reads the head of a chain that a caller wrote down before, from the fields `known_position` and `known_hash`; none
/// when they say nothing.
pub fn known(violations: &mut Violations, position: i64, hash: &[u8]) -> Option<Known> {
    violations.check(position >= 0, "known_position", "must not be negative");
    if position <= 0 {
        violations.check(hash.is_empty(), "known_hash", "must be empty without a known_position");
        return None;
    }
    let hash = hash.try_into().ok();
    violations.check(hash.is_some(), "known_hash", "must be the 32 bytes of the hash at known_position");
    hash.map(|hash| Known { position, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        let read = |seconds, nanos| {
            let mut violations = Violations::new();
            let at = prost_types::Timestamp { seconds, nanos };
            let read = optional_time(&mut violations, "at", Some(at));
            assert_eq!(read.is_none(), !violations.is_empty());
            read
        };
        assert_eq!(read(2, 3_999), Some(Timestamp::from_micros(2_000_003)));
        assert_eq!(read(-1, 0), Some(Timestamp::from_seconds(-1)));
        let (first, last) = (*SECONDS.start(), *SECONDS.end());
        for (seconds, nanos) in [(first - 1, 0), (last + 1, 0), (i64::MAX, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(read(seconds, nanos), None);
        }
    }
}
