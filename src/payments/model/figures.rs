//! The figures of a report: the periods that a range is cut into, and what is summed up in each.
//!
//! Days begin at midnight in South Africa, which is two hours ahead of UTC all year round.

use std::collections::BTreeMap;
use std::time::Duration;

use time::{Date, Month};

use super::PaymentStatus;
use super::ledger::Kind;
use super::period::Period;
use super::transaction::Amounts;
use crate::base::{Currency, Timestamp};

/// How far South Africa's clocks are ahead of UTC.
pub(super) const AHEAD: Duration = Duration::from_secs(2 * 60 * 60);

/// How long the periods of a report are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// A day.
    Day,
    /// A week of ISO 8601, from Monday on.
    Week,
    /// A calendar month.
    Month,
}

impl Interval {
    /// The first day of the period behind the one that `day` lies in.
    fn next(self, day: Date) -> Option<Date> {
        match self {
            Self::Day => day.next_day(),
            Self::Week => {
                let left = 7 - i64::from(day.weekday().number_days_from_monday());
                day.checked_add(time::Duration::days(left))
            }
            Self::Month => {
                let next = day.month().next();
                let year = day.year() + i32::from(next == Month::January);
                Date::from_calendar_date(year, next, 1).ok()
            }
        }
    }
}

/// Cuts a range into periods, the first and the last of which may be parts of one; none when there would be more than
/// `most`, or the range is empty.
#[must_use]
pub fn periods(interval: Interval, range: Period, most: usize) -> Option<Vec<Period>> {
    let (mut found, mut start) = (Vec::new(), range.start);
    while start < range.end {
        let boundary = interval.next(local_date(start))?;
        let boundary = local_midnight(boundary);
        let end = boundary.min(range.end);
        // Beyond the calendar a boundary may lie anywhere.
        if found.len() == most || end <= start {
            return None;
        }
        found.push(Period { start, end });
        start = end;
    }
    (!found.is_empty()).then_some(found)
}

/// The date in South Africa, by whose days PayFast's history goes too.
#[must_use]
pub fn local_date(at: Timestamp) -> Date {
    at.plus(AHEAD).date()
}

/// When a day begins in South Africa.
#[must_use]
pub fn local_midnight(day: Date) -> Timestamp {
    Timestamp::from_utc(day.midnight().assume_utc()).minus(AHEAD)
}

/// What is never added up: amounts of two currencies, and money of tests with real money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purse {
    /// The currency.
    pub currency: Currency,
    /// Whether it is money of tests.
    pub test: bool,
}

/// What happened in one period with one kind of money, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Sales less what was taken back, without tax.
    pub revenue: i64,
    /// The tax on them.
    pub tax: i64,
    /// What payers paid.
    pub gross: i64,
    /// What providers charged.
    pub fees: i64,
    /// What went back to payers.
    pub refunds: i64,
    /// What card schemes took back.
    pub chargebacks: i64,
    /// The total of the invoices that were issued.
    pub invoiced: i64,
    /// The total of the credit notes.
    pub credit_notes: i64,
    /// What was given up for lost.
    pub written_off: i64,
    /// The payments that were started.
    pub payments: Counts,
}

impl Figures {
    /// Adds the amounts of transactions of one kind.
    pub fn add(&mut self, kind: Kind, amounts: Amounts) {
        add(&mut self.revenue, amounts.revenue);
        add(&mut self.tax, amounts.tax);
        add(&mut self.fees, amounts.fee);
        let (sum, gross) = match kind {
            Kind::Settlement | Kind::UnappliedReceipt => (&mut self.gross, amounts.gross),
            Kind::Refund => (&mut self.refunds, amounts.gross.saturating_neg()),
            Kind::Chargeback => (&mut self.chargebacks, amounts.gross.saturating_neg()),
            Kind::InvoiceIssued => (&mut self.invoiced, amounts.gross),
            Kind::CreditNote => (&mut self.credit_notes, amounts.gross.saturating_neg()),
            Kind::WriteOff => (&mut self.written_off, amounts.gross.saturating_neg()),
            // Their fees are all that they change; the rest goes from one account of ours to another.
            Kind::ProviderCharge | Kind::BankPayout => return,
        };
        add(sum, gross);
    }

    /// What is left of the money.
    #[must_use]
    pub const fn net(&self) -> i64 {
        self.gross.saturating_sub(self.fees).saturating_sub(self.refunds).saturating_sub(self.chargebacks)
    }

    /// Adds those of another period.
    pub fn add_all(&mut self, other: &Self) {
        add(&mut self.revenue, other.revenue);
        add(&mut self.tax, other.tax);
        add(&mut self.gross, other.gross);
        add(&mut self.fees, other.fees);
        add(&mut self.refunds, other.refunds);
        add(&mut self.chargebacks, other.chargebacks);
        add(&mut self.invoiced, other.invoiced);
        add(&mut self.credit_notes, other.credit_notes);
        add(&mut self.written_off, other.written_off);
        self.payments.add_all(&other.payments);
    }
}

/// How payments went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Paid.
    pub succeeded: i64,
    /// Failed, as the provider says.
    pub failed: i64,
    /// Given up.
    pub cancelled: i64,
    /// Not heard of for too long.
    pub expired: i64,
    /// Another payment came first.
    pub superseded: i64,
    /// Not over.
    pub open: i64,
}

impl Counts {
    /// Adds payments that stand so.
    pub fn add(&mut self, status: PaymentStatus, count: i64) {
        let sum = match status {
            PaymentStatus::Succeeded => &mut self.succeeded,
            PaymentStatus::Failed => &mut self.failed,
            PaymentStatus::Cancelled => &mut self.cancelled,
            PaymentStatus::Expired => &mut self.expired,
            PaymentStatus::Superseded => &mut self.superseded,
            PaymentStatus::Created | PaymentStatus::Pending => &mut self.open,
        };
        add(sum, count);
    }

    fn add_all(&mut self, other: &Self) {
        add(&mut self.succeeded, other.succeeded);
        add(&mut self.failed, other.failed);
        add(&mut self.cancelled, other.cancelled);
        add(&mut self.expired, other.expired);
        add(&mut self.superseded, other.superseded);
        add(&mut self.open, other.open);
    }

    /// Those that came to an end of their own. One that was superseded was not needed any more, which says nothing
    /// about paying.
    const fn concluded(&self) -> i64 {
        self.succeeded.saturating_add(self.failed).saturating_add(self.cancelled).saturating_add(self.expired)
    }

    /// Of those that came to an end of their own, how many in a hundred succeeded.
    #[must_use]
    pub fn success_rate_percent(&self) -> Option<String> {
        percent(self.succeeded, self.concluded())
    }

    /// Of the same, how many in a hundred failed.
    #[must_use]
    pub fn error_rate_percent(&self) -> Option<String> {
        percent(self.failed, self.concluded())
    }
}

fn add(sum: &mut i64, amount: i64) {
    *sum = sum.saturating_add(amount);
}

/// A share with two decimal places, rounded half up; none of nothing.
fn percent(part: i64, whole: i64) -> Option<String> {
    if whole <= 0 {
        return None;
    }
    let hundredths = (i128::from(part) * 20_000 + i128::from(whole)) / (i128::from(whole) * 2);
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

/// What happened in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPeriod {
    /// The period.
    pub period: Period,
    /// The figures of each kind of money of which there are any.
    pub figures: BTreeMap<Purse, Figures>,
}

/// Periods, and all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentReport {
    /// In order.
    pub periods: Vec<ReportPeriod>,
    /// From the first to the last.
    pub total: ReportPeriod,
}

impl PaymentReport {
    /// Adds periods up.
    #[must_use]
    pub fn of(range: Period, periods: Vec<ReportPeriod>) -> Self {
        let mut total: BTreeMap<Purse, Figures> = BTreeMap::new();
        for (purse, figures) in periods.iter().flat_map(|period| &period.figures) {
            total.entry(*purse).or_default().add_all(figures);
        }
        Self { periods, total: ReportPeriod { period: range, figures: total } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn cut(interval: Interval, start: &str, end: &str) -> Vec<String> {
        let found = periods(interval, Period { start: at(start), end: at(end) }, 100).unwrap();
        let mut times: Vec<String> = found.iter().map(|period| period.start.to_rfc3339()).collect();
        times.extend(found.last().map(|period| period.end.to_rfc3339()));
        times
    }

    #[test]
    fn days_begin_at_midnight_in_south_africa() {
        assert_eq!(
            cut(Interval::Day, "2026-11-20T10:00:00Z", "2026-11-22T03:00:00Z"),
            ["2026-11-20T10:00:00Z", "2026-11-20T22:00:00Z", "2026-11-21T22:00:00Z", "2026-11-22T03:00:00Z"]
        );
        // From midnight to midnight there are whole days only.
        let whole = cut(Interval::Day, "2024-02-28T22:00:00Z", "2024-03-01T22:00:00Z");
        assert_eq!(whole, ["2024-02-28T22:00:00Z", "2024-02-29T22:00:00Z", "2024-03-01T22:00:00Z"]);
    }

    #[test]
    fn weeks_begin_on_mondays_and_months_on_their_first() {
        // The 20th of November 2026 is a Friday.
        assert_eq!(
            cut(Interval::Week, "2026-11-20T10:00:00Z", "2026-12-01T00:00:00Z"),
            ["2026-11-20T10:00:00Z", "2026-11-22T22:00:00Z", "2026-11-29T22:00:00Z", "2026-12-01T00:00:00Z"]
        );
        assert_eq!(
            cut(Interval::Month, "2026-12-31T21:59:59Z", "2027-02-28T22:00:00Z"),
            ["2026-12-31T21:59:59Z", "2026-12-31T22:00:00Z", "2027-01-31T22:00:00Z", "2027-02-28T22:00:00Z"]
        );
    }

    #[test]
    fn a_range_is_bounded() {
        let range =
            |start, end| Period { start: Timestamp::from_seconds(start), end: Timestamp::from_seconds(end) };
        assert_eq!(periods(Interval::Day, range(5, 5), 10), None);
        assert_eq!(periods(Interval::Day, range(6, 5), 10), None);
        assert_eq!(periods(Interval::Day, range(0, 86_400 * 10), 10), None);
        assert_eq!(periods(Interval::Day, range(-7_200, 86_400 * 10 - 7_200), 10).unwrap().len(), 10);
        // The calendar's last day is the last.
        let last = 253_402_300_799;
        assert_eq!(periods(Interval::Day, range(last - 1, last), 10), None);
    }

    #[test]
    fn rates_are_of_what_came_to_an_end() {
        let counts = Counts { succeeded: 15, failed: 1, superseded: 40, open: 7, ..Counts::default() };
        assert_eq!(counts.success_rate_percent().as_deref(), Some("93.75"));
        assert_eq!(counts.error_rate_percent().as_deref(), Some("6.25"));
        let counts = Counts { succeeded: 1, cancelled: 1, expired: 1, ..Counts::default() };
        assert_eq!(counts.success_rate_percent().as_deref(), Some("33.33"));
        assert_eq!(counts.error_rate_percent().as_deref(), Some("0.00"));
        let counts = Counts { succeeded: 2, failed: 1, ..Counts::default() };
        assert_eq!(counts.success_rate_percent().as_deref(), Some("66.67"));
        assert_eq!(Counts { open: 3, ..Counts::default() }.success_rate_percent(), None);
    }

    proptest! {
        #[test]
        fn periods_cover_the_range_without_a_gap(
            start in 0_i64..4_000_000_000,
            length in 1_i64..20_000_000,
            which in 0_usize..3,
        ) {
            let interval = [Interval::Day, Interval::Week, Interval::Month][which];
            let range = Period { start: Timestamp::from_seconds(start), end: Timestamp::from_seconds(start + length) };
            let found = periods(interval, range, 1_000).unwrap();
            prop_assert_eq!(found.first().unwrap().start, range.start);
            prop_assert_eq!(found.last().unwrap().end, range.end);
            for pair in found.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                let local = pair[1].start.plus(AHEAD).to_utc();
                prop_assert_eq!(local.time(), time::Time::MIDNIGHT);
                let on_time = match interval {
                    Interval::Day => pair[1].end.since(pair[1].start) <= Duration::from_hours(24),
                    Interval::Week => local.weekday() == time::Weekday::Monday,
                    Interval::Month => local.day() == 1,
                };
                prop_assert!(on_time);
            }
        }
    }
}
