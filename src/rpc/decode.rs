//! Reading requests: each helper notes what is wrong and goes on, so that every wrong field is told at once.

pub use crate::base::text::optional_id;
use crate::base::{Currency, Id, Money, Timestamp, Violations, text};
use crate::chain::Known;
use crate::proto::google;

const NANOS_PER_UNIT: i64 = 1_000_000_000;
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

/// Reads an amount that may be left out, of a currency that books are kept in and to its minor unit. When it is wrong
/// that is noted.
pub fn optional_money(
    violations: &mut Violations,
    field: &str,
    money: Option<&google::r#type::Money>,
) -> Option<Money> {
    let money = money?;
    let Some(currency) = Currency::parse(&money.currency_code) else {
        violations.add(field, "must be in a currency that the platform keeps books in, such as ZAR");
        return None;
    };
    let read = minor(money, currency);
    violations.check(read.is_some(), field, "must be an amount in whole cents, its parts of one sign");
    read.map(|minor| Money::new(minor, currency))
}

/// Reads a required amount. When it is wrong that is noted, and nothing stands in until [`Violations::finish`].
pub fn money(violations: &mut Violations, field: &str, money: Option<&google::r#type::Money>) -> Money {
    violations.check(money.is_some(), field, "must not be empty");
    optional_money(violations, field, money).unwrap_or(Money::zero(Currency::Zar))
}

fn minor(money: &google::r#type::Money, currency: Currency) -> Option<i64> {
    let scale = 10_i64.checked_pow(currency.exponent())?;
    let nanos_per_minor = NANOS_PER_UNIT.checked_div(scale)?;
    let nanos = i64::from(money.nanos);
    let fits = nanos.abs() < NANOS_PER_UNIT && nanos.checked_rem(nanos_per_minor)? == 0;
    let alike = money.units == 0 || nanos == 0 || (money.units < 0) == (nanos < 0);
    let whole = money.units.checked_mul(scale)?.checked_add(nanos.checked_div(nanos_per_minor)?);
    whole.filter(|_| fits && alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_money(code: &str, units: i64, nanos: i32) -> Option<i64> {
        let mut violations = Violations::new();
        let money = google::r#type::Money { currency_code: code.to_owned(), units, nanos };
        let read = optional_money(&mut violations, "amount", Some(&money));
        assert_eq!(read.is_none(), violations.len() == 1);
        read.map(|money| money.minor)
    }

    #[test]
    fn amounts_are_read_to_the_cent() {
        assert_eq!(read_money("ZAR", 529, 0), Some(52_900));
        assert_eq!(read_money("ZAR", -1, -500_000_000), Some(-150));
        assert_eq!(read_money("ZAR", 0, -10_000_000), Some(-1));
        for (code, units, nanos) in [
            ("", 1, 0),
            ("zar", 1, 0),
            ("XTS", 1, 0),
            ("ZAR", 1, 1),
            ("ZAR", 1, -10_000_000),
            ("ZAR", -1, 10_000_000),
            ("ZAR", 0, 1_000_000_000),
            ("ZAR", 0, i32::MIN),
            ("ZAR", i64::MAX, 0),
            ("ZAR", i64::MIN, 0),
        ] {
            assert_eq!(read_money(code, units, nanos), None, "{code} {units} {nanos}");
        }
        let mut violations = Violations::new();
        assert_eq!(money(&mut violations, "amount", None).minor, 0);
        assert_eq!(violations.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(minor: i64) {
            let written = crate::rpc::encode::money(Money::new(minor, Currency::Zar));
            proptest::prop_assert_eq!(read_money("ZAR", written.units, written.nanos), Some(minor));
        }
    }

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
