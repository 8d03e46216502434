//! The provider's history held against our books: what each of its rows is found to be, and what is left over.
//!
//! The comparison is of cents and ids only. What a row's words mean is said by whoever read it, and what is done about
//! a difference is decided above.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EventId, OrganizationId, PaymentId, Provider, ReceiptId, RefundId};
use crate::base::{Currency, Id, Timestamp};
use crate::db::words;

/// Marks the id of a run.
pub enum ReconciliationMark {}
/// Marks the id of a difference.
pub enum DifferenceMark {}
/// Marks the id of a chargeback.
pub enum ChargebackMark {}
/// The id of a run.
pub type ReconciliationId = Id<ReconciliationMark>;
/// The id of a difference.
pub type DifferenceId = Id<DifferenceMark>;
/// The id of a chargeback.
pub type ChargebackId = Id<ChargebackMark>;

words! {
    /// What a row of the history tells of.
    pub enum Movement {
        /// A buyer paid.
        Payment = "payment",
        /// Money went back to a buyer.
        Refund = "refund",
        /// Money went to our bank.
        Payout = "payout",
        /// The provider charged something, or gave it back.
        Charge = "charge",
        /// A card scheme took money back.
        Chargeback = "chargeback",
        /// Something that nobody here knows.
        Unknown = "unknown",
    }
}

words! {
    /// What kind of difference it is.
    pub enum DifferenceKind {
        /// The provider lists a payment that we did not know: its notification was lost.
        MissingPayment = "missing_payment",
        /// The provider lists a refund that we did not book: one of ours that is still under way, or nobody's.
        MissingRefund = "missing_refund",
        /// The provider paid out to our bank.
        MissingPayout = "missing_payout",
        /// The provider charged something that no payment carries.
        MissingCharge = "missing_charge",
        /// A card scheme took money back.
        MissingChargeback = "missing_chargeback",
        /// We booked a payment that the provider does not list.
        ExtraPayment = "extra_payment",
        /// We booked a refund that the provider does not list.
        ExtraRefund = "extra_refund",
        /// Both know it, and not the same amount.
        AmountDiffers = "amount_differs",
        /// Both know it, and not the same fee.
        FeeDiffers = "fee_differs",
        /// A row that means nothing to us, or the second row of the same thing.
        UnknownRow = "unknown_row",
        /// The provider's balances do not follow from one another: a row is missing there.
        BrokenBalance = "broken_balance",
    }
}

words! {
    /// Where a difference stands.
    pub enum DifferenceState {
        /// Nobody has said yet why.
        Open = "open",
        /// It was booked.
        Repaired = "repaired",
        /// A later run found the other side, or somebody said why.
        Explained = "explained",
    }
}

words! {
    /// Who wanted a run.
    pub enum RunOrigin {
        /// The platform, once a day.
        Daily = "daily",
        /// Somebody of the staff.
        Staff = "staff",
    }
}

words! {
    /// Where a run stands.
    pub enum RunStatus {
        /// It is under way, or its process ended in the middle; whatever it booked is booked.
        Running = "running",
        /// It is over.
        Done = "done",
    }
}

words! {
    /// Where a chargeback stands.
    pub enum ChargebackState {
        /// The money is gone, and nobody has decided what follows.
        Open = "open",
    }
}

/// A run over some days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct Reconciliation {
    /// Its id.
    pub id: ReconciliationId,
    /// Whose history.
    pub provider: Provider,
    /// The first day, such as `2026-11-19`, by the provider's clocks.
    pub from_day: String,
    /// The last day.
    pub to_day: String,
    /// Who wanted it.
    pub origin: RunOrigin,
    /// Where it stands.
    pub status: RunStatus,
    /// Whether every day of it was over.
    pub closed: bool,
    /// How many rows the history had.
    pub row_count: i64,
    /// How many of them were found in our books.
    pub matched_count: i64,
    /// How many were booked by this run.
    pub repaired_count: i64,
    /// How many differences are left open.
    pub open_count: i64,
    /// The currency.
    pub currency: Currency,
    /// By how much the provider's account changed.
    pub provider_change_minor: i64,
    /// By how much our clearing account changed for the same.
    pub booked_change_minor: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

impl Reconciliation {
    /// By how many cents the provider and our books disagree.
    #[must_use]
    pub const fn difference_minor(&self) -> i64 {
        self.provider_change_minor.saturating_sub(self.booked_change_minor)
    }
}

/// Something that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct Difference {
    /// Its id.
    pub id: DifferenceId,
    /// The run that found it first.
    pub reconciliation_id: ReconciliationId,
    /// What kind.
    pub kind: DifferenceKind,
    /// The provider's id of the payment, or the key of the row.
    pub subject: String,
    /// Where it stands.
    pub state: DifferenceState,
    /// What was found, in one sentence.
    pub detail: String,
    /// Why it is so, once somebody said; empty before.
    pub explanation: String,
    /// The currency.
    pub currency: Currency,
    /// By how much the provider's account changed for it.
    pub provider_minor: i64,
    /// By how much ours did.
    pub booked_minor: i64,
    /// The row of the history in the inbox, when it was stored there.
    pub event_id: Option<EventId>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was found.
    pub created_at: Timestamp,
    /// When it was repaired or explained.
    pub decided_at: Option<Timestamp>,
}

/// Money that a card scheme took back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct Chargeback {
    /// Its id.
    pub id: ChargebackId,
    /// Whose payment it was, when known.
    pub organization_id: Option<OrganizationId>,
    /// The money that it was taken from, when known.
    pub receipt_id: Option<ReceiptId>,
    /// The payment, when it was ours.
    pub payment_id: Option<PaymentId>,
    /// The row of the history that told of it.
    pub event_id: EventId,
    /// The provider's id of the payment; may be empty.
    pub provider_payment_id: String,
    /// Where it stands.
    pub state: ChargebackState,
    /// The currency.
    pub currency: Currency,
    /// How much was taken.
    pub amount_minor: i64,
    /// What the provider charged for it.
    pub fee_minor: i64,
    /// When, says the provider.
    pub occurred_at: Timestamp,
    /// When it was booked.
    pub created_at: Timestamp,
}

/// A row of the history, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// What makes it this row.
    pub key: &'a str,
    /// What it tells of.
    pub movement: Movement,
    /// The provider's id of the payment; may be empty.
    pub payment: &'a str,
    /// Before the fee; negative when it went.
    pub gross_minor: i64,
    /// The fee, negative.
    pub fee_minor: i64,
    /// What was left on the account.
    pub balance_minor: i64,
}

impl Listed<'_> {
    /// By how much the account changed.
    #[must_use]
    pub const fn net_minor(&self) -> i64 {
        self.gross_minor.saturating_add(self.fee_minor)
    }

    /// What a difference about it is about: a payment is known by its id, anything else by the row.
    #[must_use]
    pub fn subject(&self) -> &str {
        if self.movement == Movement::Payment { self.payment } else { self.key }
    }
}

/// Money of ours that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The receipt.
    pub id: Uuid,
    /// What the payer paid.
    pub gross_minor: i64,
    /// What the provider kept of it.
    pub fee_minor: i64,
}

/// Money of ours that went back to a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenBack {
    /// The refund.
    pub id: RefundId,
    /// What the payer got.
    pub amount_minor: i64,
    /// What the provider took for it, once that is known.
    pub fee_minor: Option<i64>,
}

impl GivenBack {
    /// By how much our clearing account changed, as far as it is booked.
    const fn net_minor(&self) -> i64 {
        self.amount_minor
            .saturating_add(match self.fee_minor {
                Some(fee) => fee,
                None => 0,
            })
            .saturating_neg()
    }
}

/// What we know of the rows.
#[derive(Debug, Default)]
pub struct Ours {
    /// Receipts, by the provider's id of the payment.
    pub receipts: BTreeMap<String, Held>,
    /// Refunds that succeeded, by the provider's id of the payment.
    pub refunds: BTreeMap<String, Vec<GivenBack>>,
    /// What earlier runs found rows to be.
    pub matches: BTreeMap<String, Uuid>,
    /// Rows that were booked by themselves, by their keys.
    pub booked: BTreeSet<String>,
}

/// What a row is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This, of ours; or something that was booked by itself.
    Matched(Option<Uuid>),
    /// A refund of ours whose fee was not known until now.
    FeeOf(RefundId),
    /// Nothing of ours.
    Missing,
    /// This of ours, which is not the same.
    Differs {
        /// What of ours.
        ours: Uuid,
        /// In what.
        kind: DifferenceKind,
        /// By how much our clearing account changed for it.
        booked_minor: i64,
    },
    /// What it is cannot be told, or it was listed before.
    Unknown,
}

/// Says of each row what it is. Each thing of ours is one row only.
#[must_use]
pub fn compare(rows: &[Listed<'_>], ours: &Ours) -> Vec<Verdict> {
    let told: BTreeSet<&str> = rows.iter().map(|row| row.key).collect();
    // What earlier runs found first: a second row of the same thing must not take its place.
    let elsewhere = ours.matches.iter().filter(|(key, _)| !told.contains(key.as_str()));
    let mut taken: BTreeSet<Uuid> = elsewhere.map(|(_, id)| *id).collect();
    // Refunds have no id of the provider's, so that those go first which fit to the cent.
    let exact: Vec<Option<Verdict>> = rows.iter().map(|row| exact_refund(row, ours, &mut taken)).collect();
    let judged = rows.iter().zip(exact);
    judged.map(|(row, exact)| exact.unwrap_or_else(|| judge(row, ours, &mut taken))).collect()
}

fn judge(row: &Listed<'_>, ours: &Ours, taken: &mut BTreeSet<Uuid>) -> Verdict {
    match row.movement {
        Movement::Payment => payment(row, ours, taken),
        Movement::Refund => other_refund(row, ours, taken),
        Movement::Payout | Movement::Charge | Movement::Chargeback if ours.booked.contains(row.key) => {
            Verdict::Matched(None)
        }
        Movement::Payout | Movement::Charge | Movement::Chargeback => Verdict::Missing,
        Movement::Unknown => Verdict::Unknown,
    }
}

fn payment(row: &Listed<'_>, ours: &Ours, taken: &mut BTreeSet<Uuid>) -> Verdict {
    let Some(held) = ours.receipts.get(row.payment) else { return Verdict::Missing };
    if !taken.insert(held.id) {
        return Verdict::Unknown;
    }
    let differs = |kind| Verdict::Differs {
        ours: held.id,
        kind,
        booked_minor: held.gross_minor.saturating_sub(held.fee_minor),
    };
    match (held.gross_minor == row.gross_minor, held.fee_minor.checked_neg() == Some(row.fee_minor)) {
        (true, true) => Verdict::Matched(Some(held.id)),
        (false, _) => differs(DifferenceKind::AmountDiffers),
        (true, false) => differs(DifferenceKind::FeeDiffers),
    }
}

/// A refund of ours that the row is to the cent; the one that an earlier run found it to be before any other, and then
/// one whose fee is the row's before one whose fee is not known.
fn exact_refund(row: &Listed<'_>, ours: &Ours, taken: &mut BTreeSet<Uuid>) -> Option<Verdict> {
    let given = ours.refunds.get(row.payment).filter(|_| row.movement == Movement::Refund)?;
    let found_before = |given: &GivenBack| ours.matches.get(row.key) == Some(&given.id.uuid());
    let same = given.iter().filter(|given| given.amount_minor == row.gross_minor.saturating_neg());
    let fits = same.filter(|given| given.fee_minor.is_none_or(|fee| fee == row.fee_minor.saturating_neg()));
    let free = fits.filter(|given| !taken.contains(&given.id.uuid()));
    let given = free.min_by_key(|given| (!found_before(given), given.fee_minor.is_none(), given.id))?;
    taken.insert(given.id.uuid());
    Some(match given.fee_minor {
        Some(_) => Verdict::Matched(Some(given.id.uuid())),
        None => Verdict::FeeOf(given.id),
    })
}

/// A refund of ours of as much that no row is to the cent: it is taken for this one, told as one whose fee differs.
/// What went in another amount is none of ours: ours may be listed on a day that is not among these.
fn other_refund(row: &Listed<'_>, ours: &Ours, taken: &mut BTreeSet<Uuid>) -> Verdict {
    let given = ours.refunds.get(row.payment).map(Vec::as_slice).unwrap_or_default();
    let same = given.iter().filter(|given| given.amount_minor == row.gross_minor.saturating_neg());
    let free = same.filter(|given| !taken.contains(&given.id.uuid()));
    let Some(given) = free.min_by_key(|given| given.id) else { return Verdict::Missing };
    taken.insert(given.id.uuid());
    let (ours, booked_minor) = (given.id.uuid(), given.net_minor());
    Verdict::Differs { ours, kind: DifferenceKind::FeeDiffers, booked_minor }
}

/// Into how many pieces the rows' balances fall: each balance but the last is what another row began with, whatever the
/// order in which they are told. One piece, or none, is a history without a hole.
#[must_use]
pub fn pieces(rows: &[Listed<'_>]) -> usize {
    let mut open: BTreeMap<i64, i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.net_minor() != 0) {
        *open.entry(row.balance_minor).or_default() += 1;
        *open.entry(row.balance_minor.saturating_sub(row.net_minor())).or_default() -= 1;
    }
    let ends = open.values().filter(|count| **count > 0).map(|count| count.unsigned_abs()).sum::<u64>();
    usize::try_from(ends).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed<'a>(key: &'a str, movement: Movement, payment: &'a str, gross: i64, fee: i64) -> Listed<'a> {
        Listed { key, movement, payment, gross_minor: gross, fee_minor: fee, balance_minor: 0 }
    }

    fn ours() -> Ours {
        let held = |id, gross_minor, fee_minor| Held { id: Uuid::from_u128(id), gross_minor, fee_minor };
        Ours {
            receipts: BTreeMap::from([("7".to_owned(), held(7, 500, 12)), ("8".to_owned(), held(8, 900, 0))]),
            ..Ours::default()
        }
    }

    #[test]
    fn a_payment_is_matched_to_the_cent() {
        let judged =
            |gross, fee| compare(&[listed("a", Movement::Payment, "7", gross, fee)], &ours()).remove(0);
        assert_eq!(judged(500, -12), Verdict::Matched(Some(Uuid::from_u128(7))));
        let differs = |kind| Verdict::Differs { ours: Uuid::from_u128(7), kind, booked_minor: 488 };
        assert_eq!(judged(501, -12), differs(DifferenceKind::AmountDiffers));
        assert_eq!(judged(500, -11), differs(DifferenceKind::FeeDiffers));
        let rows = [("a", "9"), ("b", "8"), ("c", "8")];
        let rows = rows.map(|(key, payment)| listed(key, Movement::Payment, payment, 900, 0));
        let expected = [Verdict::Missing, Verdict::Matched(Some(Uuid::from_u128(8))), Verdict::Unknown];
        assert_eq!(compare(&rows, &ours()), expected);
    }

    #[test]
    fn each_refund_is_one_row() {
        let uuid = Uuid::from_u128;
        let given = |id, amount_minor, fee_minor| GivenBack {
            id: RefundId::from_uuid(uuid(id)),
            amount_minor,
            fee_minor,
        };
        let all = vec![given(1, 100, None), given(2, 100, Some(230)), given(3, 50, Some(0))];
        let mut ours = Ours { refunds: BTreeMap::from([("7".to_owned(), all)]), ..Ours::default() };
        let refund = |key, gross| listed(key, Movement::Refund, "7", gross, -230);
        let rows = [refund("a", -90), refund("b", -100), refund("c", -100), refund("d", -100)];
        let matched = |id| Verdict::Matched(Some(uuid(id)));
        let fee_of = Verdict::FeeOf(RefundId::from_uuid(uuid(1)));
        // What fits to the cent goes first, wherever it stands, and what went in another amount is none of ours.
        assert_eq!(compare(&rows, &ours), [Verdict::Missing, matched(2), fee_of, Verdict::Missing]);
        // Once the fee is known, and what is which, a row more is still a row too many.
        let all = vec![given(1, 100, Some(230)), given(2, 100, Some(230)), given(3, 50, Some(0))];
        ours.refunds = BTreeMap::from([("7".to_owned(), all)]);
        ours.matches = [("b", 2), ("c", 1)].map(|(key, id)| (key.to_owned(), uuid(id))).into();
        assert_eq!(compare(&rows, &ours), [Verdict::Missing, matched(2), matched(1), Verdict::Missing]);
        assert_eq!(compare(&rows[3..], &ours), [Verdict::Missing]);
        let dear = listed("e", Movement::Refund, "7", -50, -1);
        ours.matches.clear();
        let differs = Verdict::Differs { ours: uuid(3), kind: DifferenceKind::FeeDiffers, booked_minor: -50 };
        assert_eq!(compare(&[dear], &ours), [differs]);
    }

    #[test]
    fn what_is_booked_by_its_row_is_booked_once() {
        let ours = Ours { booked: BTreeSet::from(["a".to_owned()]), ..Ours::default() };
        for movement in [Movement::Payout, Movement::Charge, Movement::Chargeback] {
            let rows = ["a", "b"].map(|key| listed(key, movement, "", -500, 0));
            assert_eq!(compare(&rows, &ours), [Verdict::Matched(None), Verdict::Missing]);
        }
        let unknown = listed("a", Movement::Unknown, "7", 500, 0);
        assert_eq!(compare(&[unknown], &ours), [Verdict::Unknown]);
    }

    proptest! {
        #[test]
        fn a_hole_in_the_history_is_seen_in_any_order(
            moved in proptest::collection::vec(1_i64..1_000, 3..30), seed: u64, hole in 1_usize..29,
        ) {
            let mut balance = 1_000_000;
            let mut rows: Vec<_> = moved.iter().map(|gross| {
                balance += gross;
                Listed { balance_minor: balance, ..listed("", Movement::Payment, "", *gross, 0) }
            }).collect();
            prop_assert_eq!(pieces(&rows), 1);
            let hole = 1 + hole % (rows.len() - 2);
            let middle = usize::try_from(seed % 7).unwrap() % rows.len();
            rows.rotate_left(middle);
            prop_assert_eq!(pieces(&rows), 1);
            rows.rotate_right(middle);
            rows.remove(hole);
            rows.reverse();
            prop_assert_eq!(pieces(&rows), 2);
        }
    }
}
