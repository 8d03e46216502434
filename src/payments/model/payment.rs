//! Attempts to pay: where one stands, and where it may go.

use serde::{Deserialize, Serialize};

use super::period::Cycle;
use super::{Impossible, InvoiceId, PaymentId, Provider};
use crate::base::{AccountId, Currency, OrganizationId, Timestamp};
use crate::db::words;

words! {
    /// Where an attempt to pay stands.
    pub enum PaymentStatus {
        /// The buyer has a form. The provider has said nothing yet.
        Created = "created",
        /// The provider says that the money is under way.
        Pending = "pending",
        /// The money arrived and was booked on the invoice.
        Succeeded = "succeeded",
        /// The provider says that it came to nothing.
        Failed = "failed",
        /// The buyer, or the provider, gave it up.
        Cancelled = "cancelled",
        /// Nothing was heard of it for too long.
        Expired = "expired",
        /// Another payment bought the same thing first.
        Superseded = "superseded",
    }
}

impl PaymentStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Pending,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::Superseded,
    ];

    /// From `self` to another, where that is allowed.
    ///
    /// Success is possible from wherever money can still come for the attempt: a buyer whose first card failed takes
    /// another on the provider's page, and a notification may be late. Whether the money is then for the invoice is
    /// decided by the invoice. Everything else ends an attempt that is alive.
    ///
    /// # Errors
    /// When it is not.
    pub fn change_to(self, to: Self) -> Result<Self, Impossible> {
        let allowed = match to {
            Self::Created => false,
            // What the provider has under way ends by the provider's word, however long it takes.
            Self::Pending | Self::Expired => self == Self::Created,
            Self::Succeeded => !matches!(self, Self::Succeeded | Self::Superseded),
            Self::Failed | Self::Cancelled | Self::Superseded => self.is_alive(),
        };
        if allowed {
            Ok(to)
        } else {
            Err(Impossible { thing: "the payment", from: self.as_str(), to: to.as_str() })
        }
    }

    /// True while the attempt may be gone on with.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Created | Self::Pending)
    }
}

/// An attempt to pay an invoice. It carries what it buys, so that money gives what was bought and not what somebody
/// chose in the meantime; and its own amount, which is what the provider is expected to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Who started it; `None` once that account is gone.
    pub account_id: Option<AccountId>,
    /// What it pays.
    pub invoice_id: InvoiceId,
    /// Through whom.
    pub provider: Provider,
    /// Where it stands.
    pub status: PaymentStatus,
    /// The plan that it buys, when it buys one.
    pub plan_id: Option<String>,
    /// The cycle that it buys.
    pub billing_cycle: Option<Cycle>,
    /// Its currency.
    pub currency: Currency,
    /// What is to be paid, tax included.
    pub amount_minor: i64,
    /// The provider's fee, once known.
    pub fee_minor: Option<i64>,
    /// The provider's id, once known.
    pub provider_payment_id: Option<String>,
    /// True when no real money moves.
    pub test: bool,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the money was booked.
    pub settled_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use PaymentStatus::{Cancelled, Created, Expired, Failed, Pending, Succeeded, Superseded};

    const ALL: [PaymentStatus; 7] = PaymentStatus::ALL;

    #[test]
    fn every_way_and_no_other() {
        let ways = |from: PaymentStatus| ALL.into_iter().filter(move |to| from.change_to(*to).is_ok());
        let of = |from| ways(from).collect::<Vec<_>>();
        assert_eq!(of(Created), [Pending, Succeeded, Failed, Cancelled, Expired, Superseded]);
        assert_eq!(of(Pending), [Succeeded, Failed, Cancelled, Superseded]);
        for late in [Failed, Cancelled, Expired] {
            assert_eq!(of(late), [Succeeded]);
        }
        assert!(of(Succeeded).is_empty());
        assert!(of(Superseded).is_empty());
        let refusal = Succeeded.change_to(Cancelled).unwrap_err();
        assert_eq!(refusal.to_string(), "the payment is succeeded and cannot become cancelled");
    }
}
