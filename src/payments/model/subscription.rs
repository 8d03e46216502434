//! Subscriptions: what an organisation has bought, for how long.

use super::SubscriptionId;
use super::period::{self, Cycle, Period};
use crate::base::{OrganizationId, Timestamp};
use crate::db::words;

words! {
    /// Where a subscription stands.
    pub enum SubscriptionStatus {
        /// Paid for.
        Active = "active",
        /// Its period is over and was not renewed: the free plan's limits apply.
        Expired = "expired",
    }
}

/// What an organisation has bought, for how long.
#[derive(Debug, Clone, PartialEq, Eq, crate::db::Row)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The plan.
    pub plan_id: String,
    /// The cycle.
    pub billing_cycle: Cycle,
    /// The day of the month on which it began, 1 to 31; later periods end on that day, or on a shorter month's last.
    pub anchor_day: i64,
    /// From when the present period runs.
    pub period_start: Timestamp,
    /// Until when the present period runs.
    pub period_end: Timestamp,
    /// When the first one was bought.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Subscription {
    /// Where it stands at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> SubscriptionStatus {
        if now < self.period_end { SubscriptionStatus::Active } else { SubscriptionStatus::Expired }
    }

    /// What it becomes when a period of a plan is bought at `now`, and the period that this purchase adds.
    ///
    /// The same plan and cycle bought early adds to the end: nothing that was paid for is lost. Another plan begins at
    /// once, with its own anchor.
    #[must_use]
    pub fn buy(self, plan_id: &str, cycle: Cycle, now: Timestamp) -> (Self, Period) {
        let same = self.plan_id == plan_id && self.billing_cycle == cycle;
        if !same || self.status(now) == SubscriptionStatus::Expired {
            let (fresh, bought) = Self::begin(self.id, self.organization_id, plan_id, cycle, now);
            return (Self { created_at: self.created_at, ..fresh }, bought);
        }
        let bought = period::after(self.period_end, self.anchor_day, cycle);
        (Self { period_end: bought.end, updated_at: now, ..self }, bought)
    }

    /// What it becomes when the whole price of a period that was bought goes back to the payer at `now`: what is left
    /// of that period is cut off the end, so that it ends at once when nothing else was paid for, and whatever else was
    /// keeps its length. None when the period is no part of it: it is over, or another plan has taken its place.
    #[must_use]
    pub fn take_back(&self, plan_id: &str, cycle: Cycle, period: Period, now: Timestamp) -> Option<Self> {
        let part =
            self.plan_id == plan_id && self.billing_cycle == cycle && period.start >= self.period_start;
        let unused = period.end.since(period.start.max(now));
        if !part || unused.is_zero() || self.status(now) == SubscriptionStatus::Expired {
            return None;
        }
        // A period has a length: one that is given back in the moment in which it was bought lasts that moment.
        let first = self.period_start.plus(std::time::Duration::from_micros(1));
        let period_end = self.period_end.minus(unused).max(now).max(first);
        Some(Self { period_end, updated_at: now, ..self.clone() })
    }

    /// The first subscription of an organisation, bought at `now`.
    #[must_use]
    pub fn begin(
        id: SubscriptionId,
        organization_id: OrganizationId,
        plan_id: &str,
        cycle: Cycle,
        now: Timestamp,
    ) -> (Self, Period) {
        let anchor_day = period::anchor_day(now);
        let bought = period::after(now, anchor_day, cycle);
        let fresh = Self {
            id,
            organization_id,
            plan_id: plan_id.to_owned(),
            billing_cycle: cycle,
            anchor_day,
            period_start: bought.start,
            period_end: bought.end,
            created_at: now,
            updated_at: now,
        };
        (fresh, bought)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    fn at(text: &str) -> Timestamp {
        let format = time::format_description::well_known::Rfc3339;
        Timestamp::from_utc(time::OffsetDateTime::parse(text, &format).unwrap())
    }

    fn pro(now: &str) -> Subscription {
        let (id, organization) = (Id::mint(1, &[1; 10]), Id::mint(1, &[2; 10]));
        Subscription::begin(id, organization, "pro", Cycle::Monthly, at(now)).0
    }

    #[test]
    fn buying_the_same_early_adds_to_the_end() {
        let (next, bought) =
            pro("2026-01-31T10:00:00Z").buy("pro", Cycle::Monthly, at("2026-02-10T00:00:00Z"));
        assert_eq!(bought.start, at("2026-02-28T10:00:00Z"));
        assert_eq!(next.period_start, at("2026-01-31T10:00:00Z"));
        assert_eq!(next.period_end, at("2026-03-31T10:00:00Z"));
    }

    #[test]
    fn what_is_given_back_ends_and_the_rest_keeps_its_length() {
        let now = at("2026-02-10T00:00:00Z");
        let (start, cycle) = (at("2026-01-31T10:00:00Z"), Cycle::Monthly);
        let first = Period { start, end: at("2026-02-28T10:00:00Z") };
        let one = pro("2026-01-31T10:00:00Z");
        assert_eq!(one.take_back("pro", cycle, first, now).unwrap().period_end, now);
        // Given back at once it lasts a moment, for a period has a length.
        let at_once = one.take_back("pro", cycle, first, start).unwrap();
        assert_eq!(at_once.period_end.as_micros(), start.as_micros() + 1);
        let (two, second) = one.clone().buy("pro", cycle, now);
        let without_second = two.take_back("pro", cycle, second, now).unwrap();
        assert_eq!(without_second.period_end, first.end);
        // Of the first, 18 days and 10 hours were left; the second follows that much earlier.
        let without_first = two.take_back("pro", cycle, first, now).unwrap();
        assert_eq!(without_first.period_end, at("2026-03-13T00:00:00Z"));
        // Both: it ends now.
        assert_eq!(without_first.take_back("pro", cycle, second, now).unwrap().period_end, now);
    }

    #[test]
    fn what_is_no_part_of_it_takes_nothing_back() {
        let now = at("2026-02-10T00:00:00Z");
        let period = Period { start: at("2026-01-31T10:00:00Z"), end: at("2026-02-28T10:00:00Z") };
        let one = pro("2026-01-31T10:00:00Z");
        assert_eq!(one.take_back("pro", Cycle::Yearly, period, now), None);
        assert_eq!(one.take_back("pro", Cycle::Monthly, period, period.end), None);
        let (other, _) = one.buy("enterprise", Cycle::Monthly, at("2026-02-09T00:00:00Z"));
        assert_eq!(other.take_back("pro", Cycle::Monthly, period, now), None);
        assert_eq!(other.take_back("enterprise", Cycle::Monthly, period, now), None);
    }

    #[test]
    fn buying_late_or_another_plan_begins_at_once() {
        let (late, _) = pro("2026-01-31T10:00:00Z").buy("pro", Cycle::Monthly, at("2026-03-05T00:00:00Z"));
        assert_eq!((late.period_start, late.anchor_day), (at("2026-03-05T00:00:00Z"), 5));
        let (other, _) =
            pro("2026-01-31T10:00:00Z").buy("enterprise", Cycle::Yearly, at("2026-02-10T00:00:00Z"));
        assert_eq!(other.plan_id, "enterprise");
        assert_eq!(other.period_end, at("2027-02-10T00:00:00Z"));
        assert_eq!(other.status(at("2027-02-10T00:00:00Z")), SubscriptionStatus::Expired);
    }
}
