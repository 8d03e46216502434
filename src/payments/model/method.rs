//! Stored cards: where one stands, where it may go, when it ends, and how far a charge of one got.
//!
//! A stored card is no card. The provider keeps that; here are a name, perhaps the month in which it ends, and, in the
//! store only, the sealed token by which it is charged.

use serde::{Deserialize, Serialize};
use time::{Date, Month};

use super::figures::{AHEAD, local_date};
use super::{Impossible, PaymentId, PaymentMethodId, Provider};
use crate::base::{AccountId, OrganizationId, Timestamp, Violations};
use crate::db::words;

/// The longest name of a stored card, in characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 60;

words! {
    /// Where a stored card stands.
    pub enum PaymentMethodStatus {
        /// The buyer has a form. The provider has said nothing yet.
        Pending = "pending",
        /// It can be charged.
        Active = "active",
        /// It cannot be charged any more: its last month is over, or the provider charges it no longer.
        Expired = "expired",
        /// It is gone for its owners.
        Removed = "removed",
    }
}

impl PaymentMethodStatus {
    /// From `self` to another, where that is allowed. A card that expired is active again when the bank sent another
    /// one and its owners say until when that is good.
    ///
    /// # Errors
    /// When it is not.
    pub fn change_to(self, to: Self) -> Result<Self, Impossible> {
        let allowed = match to {
            Self::Pending => false,
            Self::Active => matches!(self, Self::Pending | Self::Expired),
            Self::Expired => self == Self::Active,
            Self::Removed => self != Self::Removed,
        };
        if allowed {
            Ok(to)
        } else {
            Err(Impossible { thing: "the payment method", from: self.as_str(), to: to.as_str() })
        }
    }
}

/// A stored card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct PaymentMethod {
    /// Its id; it is also PayFast's `m_payment_id` of the checkout that sets it up.
    pub id: PaymentMethodId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Who added it; `None` once that account is gone.
    pub account_id: Option<AccountId>,
    /// Who keeps the card.
    pub provider: Provider,
    /// Where it stands.
    pub status: PaymentMethodStatus,
    /// What its owners call it; may be empty.
    pub display_name: String,
    /// Whether it is the one that its organisation prefers.
    pub is_default: bool,
    /// When its last month is over, when its owners said so.
    pub expires_at: Option<Timestamp>,
    /// When its owners were told that this will be soon.
    pub noticed_at: Option<Timestamp>,
    /// True when no real money moves.
    pub test: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the provider confirmed it.
    pub activated_at: Option<Timestamp>,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
}

impl PaymentMethod {
    /// Whether it can be charged now.
    #[must_use]
    pub fn is_chargeable(&self, test: bool, now: Timestamp) -> bool {
        let over = self.expires_at.is_some_and(|expires_at| expires_at <= now);
        self.status == PaymentMethodStatus::Active && self.test == test && !over
    }

    /// The same, removed.
    ///
    /// # Errors
    /// When it was before.
    pub fn removed(self, now: Timestamp) -> Result<Self, Impossible> {
        let status = self.status.change_to(PaymentMethodStatus::Removed)?;
        Ok(Self { status, is_default: false, removed_at: Some(now), updated_at: now, ..self })
    }

    /// The same, not to be charged any more.
    ///
    /// # Errors
    /// When it could not be charged before.
    pub fn expired(self, now: Timestamp) -> Result<Self, Impossible> {
        let status = self.status.change_to(PaymentMethodStatus::Expired)?;
        Ok(Self { status, is_default: false, updated_at: now, ..self })
    }
}

/// The last month in which a card is good, as it stands on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardExpiry {
    /// The year, of four digits.
    pub year: i32,
    /// The month, from 1.
    pub month: i32,
}

/// For how many years ahead cards are good.
const YEARS_MAX: i32 = 20;

impl CardExpiry {
    /// When the month is over in South Africa; none when it is no month, is over, or is too far away for a card. What
    /// is wrong is noted.
    pub fn ends_at(self, violations: &mut Violations, field: &str, now: Timestamp) -> Option<Timestamp> {
        let month = u8::try_from(self.month).ok().and_then(|month| Month::try_from(month).ok());
        violations.check(month.is_some(), format!("{field}.month"), "must be from 1 to 12");
        let years = local_date(now).year()..=local_date(now).year().saturating_add(YEARS_MAX);
        let near = years.contains(&self.year);
        let fits = format!("must be from {} to {}", years.start(), years.end());
        violations.check(near, format!("{field}.year"), fits);
        let month = month.filter(|_| near)?;
        let last = Date::from_calendar_date(self.year, month, month.length(self.year)).ok()?;
        let ends_at = Timestamp::from_utc(last.next_day()?.midnight().assume_utc()).minus(AHEAD);
        violations.check(ends_at > now, field, "must not be over");
        Some(ends_at)
    }

    /// The month that is over then.
    #[must_use]
    pub fn before(ends_at: Timestamp) -> Self {
        let last = local_date(Timestamp::from_micros(ends_at.as_micros().saturating_sub(1)));
        Self { year: last.year(), month: i32::from(u8::from(last.month())) }
    }
}

words! {
    /// How far the call got that charges a stored card.
    pub enum ChargeStatus {
        /// It is to be made.
        Queued = "queued",
        /// It is written down, before it leaves, that it is being made.
        Sent = "sent",
        /// It was made and not answered.
        Unknown = "unknown",
        /// The provider charged the card. The money is booked when it notifies.
        Accepted = "accepted",
        /// The card was not charged.
        Failed = "failed",
    }
}

impl ChargeStatus {
    /// From `self` to another, where that is allowed. Back to be made goes only what never left.
    ///
    /// # Errors
    /// When it is not.
    pub fn change_to(self, to: Self) -> Result<Self, Impossible> {
        let allowed = match to {
            Self::Queued | Self::Unknown => self == Self::Sent,
            Self::Sent => self == Self::Queued,
            Self::Accepted => matches!(self, Self::Sent | Self::Unknown),
            Self::Failed => matches!(self, Self::Queued | Self::Sent | Self::Unknown),
        };
        if allowed {
            Ok(to)
        } else {
            Err(Impossible { thing: "the charge", from: self.as_str(), to: to.as_str() })
        }
    }
}

/// The charge of a stored card that pays a payment: one, made once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, crate::db::Row)]
pub struct Charge {
    /// The payment; it is also the reference by which the provider knows the charge.
    pub payment_id: PaymentId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// What is charged.
    pub payment_method_id: PaymentMethodId,
    /// How far it got.
    pub status: ChargeStatus,
    /// The provider's id of the payment, when it told one.
    pub provider_payment_id: Option<String>,
    /// Why it stands so, in one sentence.
    pub detail: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the call was about to leave.
    pub sent_at: Option<Timestamp>,
    /// When it was known what came of it.
    pub settled_at: Option<Timestamp>,
}

/// The look, counted from 1, from which on a charge that is missing was never made: a day after it was sent.
pub const ABSENT_LOOKS_MIN: u32 = 3;

/// What the provider tells of the last payment by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastPayment {
    /// It is the charge, and money moved; the provider's id, when it told one.
    Made(Option<String>),
    /// It is the charge, and the bank refused.
    Declined,
    /// It is the charge, and it is not over.
    UnderWay,
    /// It is another payment, or there is none.
    Other,
}

/// What the provider says of a charge that nobody has heard of. What it did not answer is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChargeEvidence {
    /// The provider's id of a payment with our reference in the account's history, when the history was told.
    pub history: Option<Option<String>>,
    /// The last payment by the token.
    pub last: Option<LastPayment>,
}

/// What follows from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeFinding {
    /// The card was charged; the provider's id, when it is known.
    Made(Option<String>),
    /// The bank refused.
    Declined,
    /// The provider knows of no such charge.
    Absent,
    /// It did not say enough.
    Unclear,
}

impl ChargeEvidence {
    /// Weighs it. Money in the history is money; that there is none says something only of a history that was told.
    #[must_use]
    pub fn weigh(&self) -> ChargeFinding {
        match (&self.history, &self.last) {
            (Some(Some(id)), _) => ChargeFinding::Made(Some(id.clone())),
            (_, Some(LastPayment::Made(id))) => ChargeFinding::Made(id.clone()),
            (_, Some(LastPayment::Declined)) => ChargeFinding::Declined,
            (Some(None), Some(LastPayment::Other)) => ChargeFinding::Absent,
            _ => ChargeFinding::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUSES: [PaymentMethodStatus; 4] = [
        PaymentMethodStatus::Pending,
        PaymentMethodStatus::Active,
        PaymentMethodStatus::Expired,
        PaymentMethodStatus::Removed,
    ];
    const CHARGES: [ChargeStatus; 5] = [
        ChargeStatus::Queued,
        ChargeStatus::Sent,
        ChargeStatus::Unknown,
        ChargeStatus::Accepted,
        ChargeStatus::Failed,
    ];

    #[test]
    fn a_card_goes_every_way_and_no_other() {
        use PaymentMethodStatus::{Active, Expired, Pending, Removed};
        let of = |from: PaymentMethodStatus| {
            STATUSES.into_iter().filter(|to| from.change_to(*to).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(of(Pending), [Active, Removed]);
        assert_eq!(of(Active), [Expired, Removed]);
        assert_eq!(of(Expired), [Active, Removed]);
        assert!(of(Removed).is_empty());
        let refusal = Removed.change_to(Active).unwrap_err();
        assert_eq!(refusal.to_string(), "the payment method is removed and cannot become active");
    }

    #[test]
    fn a_charge_goes_every_way_and_no_other() {
        use ChargeStatus::{Accepted, Failed, Queued, Sent, Unknown};
        let of = |from: ChargeStatus| {
            CHARGES.into_iter().filter(|to| from.change_to(*to).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(of(Queued), [Sent, Failed]);
        assert_eq!(of(Sent), [Queued, Unknown, Accepted, Failed]);
        assert_eq!(of(Unknown), [Accepted, Failed]);
        assert!(of(Accepted).is_empty() && of(Failed).is_empty());
    }

    #[test]
    fn a_month_ends_when_it_does_in_south_africa() {
        let now = Timestamp::parse_rfc3339("2026-11-20T10:00:00Z").unwrap();
        let ends = |year, month| {
            let mut violations = Violations::new();
            let ends_at = CardExpiry { year, month }.ends_at(&mut violations, "expiry", now);
            violations.finish().map(|()| ends_at.unwrap())
        };
        for (year, month, at) in [
            (2026, 11, "2026-11-30T22:00:00Z"),
            (2026, 12, "2026-12-31T22:00:00Z"),
            (2028, 2, "2028-02-29T22:00:00Z"),
        ] {
            let ends_at = ends(year, month).unwrap();
            assert_eq!(ends_at.to_rfc3339(), at);
            assert_eq!(CardExpiry::before(ends_at), CardExpiry { year, month });
        }
        for (year, month, field) in [
            (2026, 10, "expiry"),
            (2026, 13, "expiry.month"),
            (2027, 0, "expiry.month"),
            (2025, 12, "expiry.year"),
            (2047, 1, "expiry.year"),
            (27, 1, "expiry.year"),
        ] {
            assert_eq!(ends(year, month).unwrap_err().as_slice()[0].field, field, "{year}-{month}");
        }
    }

    #[test]
    fn a_charge_is_missing_only_where_the_provider_says_so() {
        let weigh = |history, last| ChargeEvidence { history, last }.weigh();
        let (id, other) = (Some("7".to_owned()), Some(LastPayment::Other));
        let (made, ours) = (ChargeFinding::Made(id.clone()), Some(LastPayment::Made(id.clone())));
        assert_eq!(weigh(Some(id), None), made);
        assert_eq!(weigh(None, ours.clone()), made);
        assert_eq!(weigh(Some(None), ours), made, "the history may be behind");
        assert_eq!(weigh(Some(None), Some(LastPayment::Declined)), ChargeFinding::Declined);
        assert_eq!(weigh(Some(None), other.clone()), ChargeFinding::Absent);
        let under_way = Some(LastPayment::UnderWay);
        for (history, last) in [(None, None), (None, other), (Some(None), None), (Some(None), under_way)] {
            assert_eq!(weigh(history, last), ChargeFinding::Unclear);
        }
    }
}
