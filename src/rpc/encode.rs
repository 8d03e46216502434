//! Writing answers: the house's values as the well-known types.

use std::time::Duration;

use crate::base::{Money, Timestamp};
use crate::proto::google;

const NANOS_PER_UNIT: i64 = 1_000_000_000;

/// A point in time.
#[must_use]
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_seconds(), nanos: at.subsecond_nanos() }
}

/// A span of time.
#[must_use]
pub fn duration(span: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0) }
}

/// An amount: units and nanos have the same sign.
#[must_use]
pub fn money(amount: Money) -> google::r#type::Money {
    let scale = 10_i64.pow(amount.currency.exponent());
    google::r#type::Money {
        currency_code: amount.currency.code().to_owned(),
        units: amount.minor / scale,
        nanos: i32::try_from(amount.minor % scale * (NANOS_PER_UNIT / scale)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Currency;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn amounts_lose_nothing(minor: i64) {
            let wire = money(Money::new(minor, Currency::Zar));
            prop_assert_eq!(i128::from(wire.units) * 100 + i128::from(wire.nanos) / 10_000_000, i128::from(minor));
            prop_assert!(wire.units == 0 || wire.nanos == 0 || (wire.units < 0) == (wire.nanos < 0));
        }

        #[test]
        fn times_lose_nothing(micros: i64) {
            let wire = timestamp(Timestamp::from_micros(micros));
            prop_assert!((0..1_000_000_000).contains(&wire.nanos));
            prop_assert_eq!(i128::from(wire.seconds) * 1_000_000 + i128::from(wire.nanos) / 1_000, i128::from(micros));
        }
    }
}
