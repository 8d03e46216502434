//! Refunds: money that goes back to who paid it, from a receipt, by the word of two people.
//!
//! PayFast's API has no idempotency key and gives a refund no id. So a refund that was sent and not answered is
//! `unknown`, and what became of it is found out by asking, never by sending again.

use serde::{Deserialize, Serialize};

use super::ledger::{self, Account, Balanced, Unbalanced};
use super::{Impossible, Invoice, PaymentId, Receipt, ReceiptId, ReceiptStatus, RefundId};
use crate::base::{AccountId, Currency, Money, OrganizationId, Timestamp};
use crate::db::words;

/// The shortest reason, in characters, which is PayFast's bound.
pub const REASON_CHARS_MIN: usize = 3;
/// The longest reason, in characters, which is PayFast's bound.
pub const REASON_CHARS_MAX: usize = 255;

words! {
    /// Where a refund stands.
    pub enum RefundStatus {
        /// Somebody wants it. Nothing is set aside yet.
        Proposed = "proposed",
        /// A second person agrees: its money is set aside, and it is about to be sent.
        Approved = "approved",
        /// A second person does not agree.
        Rejected = "rejected",
        /// Written down that it is being sent; what the provider answers is not known yet.
        Sent = "sent",
        /// It was sent, and nobody knows what came of it.
        Unknown = "unknown",
        /// The money went back, and that is booked.
        Succeeded = "succeeded",
        /// No money went back. It may be proposed anew.
        Failed = "failed",
    }
}

impl RefundStatus {
    /// From `self` to another, where that is allowed.
    ///
    /// What is sent goes back to approved only when it is known that it never left. What is unknown is settled by what
    /// was found out, and is never sent again. A refund to a customer's credit is not sent at all.
    ///
    /// # Errors
    /// When it is not.
    pub fn change_to(self, to: Self) -> Result<Self, Impossible> {
        let allowed = match to {
            Self::Proposed => false,
            Self::Rejected => self == Self::Proposed,
            Self::Approved => matches!(self, Self::Proposed | Self::Sent),
            Self::Sent => self == Self::Approved,
            Self::Unknown => self == Self::Sent,
            Self::Succeeded | Self::Failed => matches!(self, Self::Approved | Self::Sent | Self::Unknown),
        };
        if allowed {
            Ok(to)
        } else {
            Err(Impossible { thing: "the refund", from: self.as_str(), to: to.as_str() })
        }
    }

    /// True while its money is set aside and has not gone.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::Approved | Self::Sent | Self::Unknown)
    }
}

words! {
    /// Where a refund's money goes.
    pub enum RefundDestination {
        /// Back the way that it came.
        Source = "source",
        /// To what the organisation may buy with.
        Credit = "credit",
    }
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// The money that it is taken from.
    pub receipt_id: ReceiptId,
    /// Whose money it is, when known.
    pub organization_id: Option<OrganizationId>,
    /// The payment, when the money came for one of ours.
    pub payment_id: Option<PaymentId>,
    /// The provider's id of the payment.
    pub provider_payment_id: String,
    /// Where it goes.
    pub destination: RefundDestination,
    /// Where it stands.
    pub status: RefundStatus,
    /// Its currency.
    pub currency: Currency,
    /// How much goes back.
    pub amount_minor: i64,
    /// What the provider charged for it, once known.
    pub fee_minor: Option<i64>,
    /// Why, as the payer may read it.
    pub reason: String,
    /// Who proposed it.
    pub maker_id: AccountId,
    /// Who approved or rejected it: somebody else.
    pub checker_id: Option<AccountId>,
    /// What the second person wrote.
    pub note: String,
    /// How it ended, or why it has not, in one sentence.
    pub detail: String,
    /// What the provider would have refunded of the payment before it was sent: by what is left afterwards it is found
    /// out whether it was done.
    pub available_minor: Option<i64>,
    /// True when no real money moves.
    pub test: bool,
    /// When it was proposed.
    pub created_at: Timestamp,
    /// When it was approved or rejected.
    pub decided_at: Option<Timestamp>,
    /// When it was written down that it is being sent.
    pub sent_at: Option<Timestamp>,
    /// When it succeeded or failed.
    pub settled_at: Option<Timestamp>,
}

/// What was given back of a payment, and what is about to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refunded {
    /// What went back.
    pub done_minor: i64,
    /// What is approved and has not gone, or of which nobody knows whether it has.
    pub pending_minor: i64,
}

/// How much of a receipt, of which card schemes took `taken_minor`, is proposed: what is asked for, or the rest when
/// nothing is.
///
/// # Errors
/// What could be given back, when it is less or nothing.
pub fn proposable(receipt: &Receipt, taken_minor: i64, wanted_minor: Option<i64>) -> Result<i64, i64> {
    let left = receipt.returnable_minor(taken_minor);
    let amount = wanted_minor.unwrap_or(left);
    if amount > 0 && amount <= left { Ok(amount) } else { Err(left) }
}

/// How many times the provider is asked before what it says of a refund that is not there is believed: an answer that
/// got lost may belong to a refund that is still on its way through the provider's house.
pub const ABSENT_LOOKS_MIN: u32 = 3;

/// A movement on a payment, as the provider tells it. Negative when money went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Movement {
    /// How much.
    pub amount_minor: i64,
    /// When.
    pub at: Timestamp,
}

/// What the provider says when it is asked about a refund that was not answered. Each may be missing.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What it would still refund, by the refund's terms.
    pub available_minor: Option<i64>,
    /// What moved on the payment.
    pub movements: Option<Vec<Movement>>,
    /// Money that went back, by the account's history. What is not there may not be written yet.
    pub history: Option<Vec<Movement>>,
    /// When refunds of the same money and amount were sent that are known to be done: what moved may have been them.
    pub alike: Vec<Timestamp>,
}

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The money went back.
    Done,
    /// The provider has no such refund.
    Absent,
    /// Nothing that can be acted on, and why.
    Unclear(&'static str),
}

/// How far the provider's clock may be behind ours, in seconds.
const CLOCK_SECONDS: i64 = 300;

impl Refund {
    /// What is set aside of the receipt once this refund is approved, when card schemes took `taken_minor` of it and
    /// `invoice` is what the money paid. Of an invoice only what no credit note has made credit before can become
    /// credit; money that goes back to its source is not bound by it, for what was credited before is what then goes.
    ///
    /// # Errors
    /// What could be given back, when it is less or nothing.
    pub fn set_aside(
        &self,
        receipt: &Receipt,
        taken_minor: i64,
        invoice: Option<&Invoice>,
    ) -> Result<i64, i64> {
        let creditable = match (invoice, self.destination) {
            (Some(invoice), RefundDestination::Credit) => invoice.due_minor(),
            _ => i64::MAX,
        };
        let left = receipt.returnable_minor(taken_minor).min(creditable);
        if self.amount_minor > left {
            return Err(left.max(0));
        }
        Ok(receipt.returned_minor.saturating_add(self.amount_minor))
    }

    /// What is booked when the money went from a receipt that stands so; none where the credit note is the booking.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn books(&self, receipt: ReceiptStatus) -> Result<Option<Balanced>, Unbalanced> {
        let amount = Money::new(self.amount_minor, self.currency);
        let books = match (self.destination, receipt) {
            (RefundDestination::Source, ReceiptStatus::Applied) => {
                ledger::refund(Account::CustomerCredit, amount)
            }
            (RefundDestination::Source, ReceiptStatus::Unapplied) => {
                ledger::refund(Account::UnappliedReceipts, amount)
            }
            (RefundDestination::Credit, ReceiptStatus::Unapplied) => ledger::refund_to_credit(amount),
            (RefundDestination::Credit, ReceiptStatus::Applied) => return Ok(None),
        };
        books.map(Some)
    }

    /// How much of the sale that the money paid is undone by a credit note of its own. What one took off before is the
    /// customer's credit already, and goes from there.
    #[must_use]
    pub fn undoes(&self, invoice: &Invoice) -> i64 {
        self.amount_minor.min(invoice.due_minor()).max(0)
    }

    /// What the evidence says of this refund, which is the only one of its receipt under way.
    #[must_use]
    pub fn weigh(&self, evidence: &Evidence) -> Finding {
        let by_terms = self.by_terms(evidence.available_minor);
        let among =
            |moved: &Option<Vec<Movement>>| moved.as_deref().and_then(|moved| self.is_among(moved, evidence));
        let listed = among(&evidence.movements);
        let in_history = among(&evidence.history).filter(|is_there| *is_there);
        match (by_terms, listed.into_iter().chain(in_history).max()) {
            // What the provider has taken off is gone, also while it is not listed yet.
            (Some(Finding::Done), _) | (None, Some(true)) => Finding::Done,
            (Some(Finding::Absent), Some(false) | None) | (None, Some(false)) => Finding::Absent,
            (Some(Finding::Unclear(why)), _) => Finding::Unclear(why),
            (Some(Finding::Absent), Some(true)) => {
                Finding::Unclear("the provider's answers contradict each other")
            }
            (None, None) => Finding::Unclear("the provider answered nothing that tells"),
        }
    }

    fn by_terms(&self, available_minor: Option<i64>) -> Option<Finding> {
        let (before, now) = (self.available_minor?, available_minor?);
        Some(match before.saturating_sub(now) {
            0 => Finding::Absent,
            gone if gone == self.amount_minor => Finding::Done,
            _ => Finding::Unclear("another amount than this refund's is gone from the payment"),
        })
    }

    /// Whether one of what moved must be this refund; none when it may as well be an alike one that was done before.
    fn is_among(&self, movements: &[Movement], evidence: &Evidence) -> Option<bool> {
        let since = self.sent_at.map_or(i64::MAX, |at| at.as_seconds().saturating_sub(CLOCK_SECONDS));
        let gone = self.amount_minor.saturating_neg();
        let same = |movement: &&Movement| movement.amount_minor == gone && movement.at.as_seconds() >= since;
        let moved = movements.iter().filter(same).count();
        // As far back as the provider may have written down what was sent then as if it were since.
        let from = since.saturating_sub(CLOCK_SECONDS);
        let others = evidence.alike.iter().filter(|sent_at| sent_at.as_seconds() >= from).count();
        match moved {
            0 => Some(false),
            moved if moved > others => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::Id;
    use proptest::prelude::*;

    const ALL: [RefundStatus; 7] = [
        RefundStatus::Proposed,
        RefundStatus::Approved,
        RefundStatus::Rejected,
        RefundStatus::Sent,
        RefundStatus::Unknown,
        RefundStatus::Succeeded,
        RefundStatus::Failed,
    ];
    const SENT_AT: Timestamp = Timestamp::from_seconds(1_000_000);

    fn sent(amount_minor: i64, available_minor: i64) -> Refund {
        Refund {
            id: Id::mint(1, &[1; 10]),
            receipt_id: Id::mint(1, &[2; 10]),
            organization_id: None,
            payment_id: None,
            provider_payment_id: "1".to_owned(),
            destination: RefundDestination::Source,
            status: RefundStatus::Unknown,
            currency: Currency::Zar,
            amount_minor,
            fee_minor: None,
            reason: "paid twice".to_owned(),
            maker_id: Id::mint(1, &[3; 10]),
            checker_id: Some(Id::mint(1, &[4; 10])),
            note: String::new(),
            detail: String::new(),
            available_minor: Some(available_minor),
            test: true,
            created_at: SENT_AT,
            decided_at: Some(SENT_AT),
            sent_at: Some(SENT_AT),
            settled_at: None,
        }
    }

    fn gone(amount_minor: i64, seconds: i64) -> Movement {
        Movement { amount_minor: -amount_minor, at: Timestamp::from_seconds(1_000_000 + seconds) }
    }

    #[test]
    fn every_way_and_no_other() {
        use RefundStatus::{Approved, Failed, Proposed, Rejected, Sent, Succeeded, Unknown};
        let of = |from: RefundStatus| {
            ALL.into_iter().filter(move |to| from.change_to(*to).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(of(Proposed), [Approved, Rejected]);
        assert_eq!(of(Approved), [Sent, Succeeded, Failed]);
        assert_eq!(of(Sent), [Approved, Unknown, Succeeded, Failed]);
        assert_eq!(of(Unknown), [Succeeded, Failed]);
        for over in [Rejected, Succeeded, Failed] {
            assert!(of(over).is_empty());
        }
        let refusal = Unknown.change_to(Sent).unwrap_err();
        assert_eq!(refusal.to_string(), "the refund is unknown and cannot become sent");
    }

    #[test]
    fn what_is_left_tells_whether_it_was_done() {
        let refund = sent(1_000, 52_900);
        let by_terms =
            |available| refund.weigh(&Evidence { available_minor: Some(available), ..Evidence::default() });
        assert_eq!(by_terms(51_900), Finding::Done);
        assert_eq!(by_terms(52_900), Finding::Absent);
        for other in [0, 51_899, 53_000] {
            assert!(matches!(by_terms(other), Finding::Unclear(_)), "{other}");
        }
        assert!(matches!(refund.weigh(&Evidence::default()), Finding::Unclear(_)));
    }

    #[test]
    fn a_movement_counts_when_it_is_as_much_and_not_older() {
        let refund = sent(1_000, 52_900);
        let listed = |movements: &[Movement]| {
            refund.weigh(&Evidence { movements: Some(movements.to_vec()), ..Evidence::default() })
        };
        assert_eq!(listed(&[gone(1_000, 0)]), Finding::Done);
        assert_eq!(listed(&[gone(1_000, -300)]), Finding::Done);
        for other in [gone(1_000, -301), gone(999, 0), gone(-1_000, 0)] {
            assert_eq!(listed(&[other]), Finding::Absent, "{other:?}");
        }
        // What the history lacks may only not be written yet.
        let both = |history: Vec<Movement>| {
            let history = Some(history);
            refund.weigh(&Evidence { movements: Some(Vec::new()), history, ..Evidence::default() })
        };
        assert_eq!((both(Vec::new()), both(vec![gone(1_000, 9)])), (Finding::Absent, Finding::Done));
    }

    #[test]
    fn what_an_alike_refund_moved_proves_nothing() {
        let refund = sent(1_000, 52_900);
        let weigh = |available_minor, moved: &[Movement], alike: &[i64]| {
            let alike = alike.iter().map(|seconds| Timestamp::from_seconds(1_000_000 + seconds)).collect();
            let (movements, history) = (Some(moved.to_vec()), Some(moved.to_vec()));
            refund.weigh(&Evidence { available_minor, movements, history, alike })
        };
        let (one, two) = ([gone(1_000, -60)], [gone(1_000, -60), gone(1_000, 5)]);
        assert!(matches!(weigh(None, &one, &[-60]), Finding::Unclear(_)));
        assert_eq!(weigh(None, &two, &[-60]), Finding::Done);
        assert_eq!(weigh(None, &one, &[-601]), Finding::Done, "that one was long before");
        assert_eq!(weigh(None, &[], &[-60]), Finding::Absent);
        // What is left of the payment tells all the same.
        assert_eq!(weigh(Some(52_900), &one, &[-60]), Finding::Absent);
        assert_eq!(weigh(Some(51_900), &one, &[-60]), Finding::Done);
    }

    #[test]
    fn answers_that_contradict_each_other_settle_nothing() {
        let refund = sent(1_000, 52_900);
        let told = |available, movements| {
            let (available_minor, movements) = (Some(available), Some(movements));
            refund.weigh(&Evidence { available_minor, movements, ..Evidence::default() })
        };
        assert!(matches!(told(52_900, vec![gone(1_000, 0)]), Finding::Unclear(_)));
        // A refund that was taken on is listed when it is complete.
        assert_eq!(told(51_900, vec![]), Finding::Done);
    }

    proptest! {
        #[test]
        fn nothing_is_done_or_absent_without_a_word_for_it(
            amount in 1_i64..100_000, available in proptest::option::of(any::<i64>()),
            listed in proptest::option::of(proptest::collection::vec((any::<i64>(), 0_i64..9_999), 0..4)),
        ) {
            let refund = sent(amount, 100_000);
            let at = |seconds| SENT_AT.plus(Duration::from_secs(u64::try_from(seconds).unwrap()));
            let movements = listed.map(|listed| {
                let moved = |(amount_minor, seconds)| Movement { amount_minor, at: at(seconds) };
                listed.into_iter().map(moved).collect::<Vec<_>>()
            });
            let evidence =
                Evidence { available_minor: available, movements: movements.clone(), ..Evidence::default() };
            let found = refund.weigh(&evidence);
            let listed = movements.map(|movements| movements.iter().any(|moved| moved.amount_minor == -amount));
            match found {
                Finding::Done => prop_assert!(available == Some(100_000 - amount) || listed == Some(true)),
                Finding::Absent => prop_assert!(available == Some(100_000) || listed == Some(false)),
                Finding::Unclear(_) => {}
            }
            // Nobody is told that it failed while anything says that it went.
            prop_assert!(found != Finding::Absent || (listed != Some(true) && available != Some(100_000 - amount)));
        }
    }
}
