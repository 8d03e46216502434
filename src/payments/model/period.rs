//! Billing periods: a calendar month or a calendar year, counted in UTC.
//!
//! A period keeps the time of day at which it began and ends on the anchor day; a month that is too short ends it on
//! its last day, and the next longer month returns to the anchor: 31 January, 28 February, 31 March.

use time::{Date, Month, OffsetDateTime};

use crate::base::Timestamp;
use crate::db::words;

words! {
    /// How often a plan is paid for.
    pub enum Cycle {
        /// Every calendar month.
        Monthly = "monthly",
        /// Every calendar year.
        Yearly = "yearly",
    }
}

/// From `start` until just before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// The day of the month on which periods that begin at `start` are anchored.
#[must_use]
pub fn anchor_day(start: Timestamp) -> i64 {
    i64::from(start.date().day())
}

/// The period of one cycle that begins at `start`.
#[must_use]
pub fn after(start: Timestamp, anchor_day: i64, cycle: Cycle) -> Period {
    let from = start.to_utc();
    let (year, month) = match cycle {
        Cycle::Yearly => (from.year().saturating_add(1), from.month()),
        Cycle::Monthly if from.month() == Month::December => (from.year().saturating_add(1), Month::January),
        Cycle::Monthly => (from.year(), from.month().next()),
    };
    let day = u8::try_from(anchor_day).unwrap_or(u8::MAX).clamp(1, month.length(year));
    // Beyond the year 9999 there is no such date, and the period is empty rather than a panic.
    let date = Date::from_calendar_date(year, month, day).unwrap_or(from.date());
    let end = Timestamp::from_utc(OffsetDateTime::new_utc(date, from.time()));
    Period { start, end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(start: &str, anchor: i64, cycle: Cycle) -> String {
        let format = time::format_description::well_known::Rfc3339;
        let start = Timestamp::from_utc(OffsetDateTime::parse(start, &format).unwrap());
        after(start, anchor, cycle).end.to_rfc3339()
    }

    #[test]
    fn months_are_calendar_months() {
        assert_eq!(end("2026-11-20T10:30:00Z", 20, Cycle::Monthly), "2026-12-20T10:30:00Z");
        assert_eq!(end("2026-12-31T23:59:59Z", 31, Cycle::Monthly), "2027-01-31T23:59:59Z");
        assert_eq!(end("2026-01-31T00:00:00Z", 31, Cycle::Monthly), "2026-02-28T00:00:00Z");
        assert_eq!(end("2026-02-28T00:00:00Z", 31, Cycle::Monthly), "2026-03-31T00:00:00Z");
        assert_eq!(end("2028-01-30T00:00:00Z", 30, Cycle::Monthly), "2028-02-29T00:00:00Z");
    }

    #[test]
    fn years_are_calendar_years() {
        assert_eq!(end("2026-11-20T10:30:00Z", 20, Cycle::Yearly), "2027-11-20T10:30:00Z");
        assert_eq!(end("2028-02-29T00:00:00Z", 29, Cycle::Yearly), "2029-02-28T00:00:00Z");
        assert_eq!(end("2031-02-28T00:00:00Z", 29, Cycle::Yearly), "2032-02-29T00:00:00Z");
    }

    proptest! {
        #[test]
        fn a_period_is_one_cycle_long(seconds in 0i64..4_102_444_800, yearly: bool) {
            let start = Timestamp::from_seconds(seconds);
            let cycle = if yearly { Cycle::Yearly } else { Cycle::Monthly };
            let period = after(start, anchor_day(start), cycle);
            let days = (period.end.as_seconds() - period.start.as_seconds()) / 86_400;
            let bounds = if yearly { 365..=366 } else { 28..=31 };
            prop_assert!(bounds.contains(&days), "{} days", days);
        }

        #[test]
        fn the_anchor_is_never_lost(seconds in 0i64..4_102_444_800) {
            let start = Timestamp::from_seconds(seconds);
            let anchor = anchor_day(start);
            let mut at = start;
            for _ in 0..12 {
                at = after(at, anchor, Cycle::Monthly).end;
            }
            prop_assert_eq!(at, after(start, anchor, Cycle::Yearly).end);
        }
    }
}
