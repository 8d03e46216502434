//! Rows of the provider's history, applied: a payment whose notification was lost, and what only the history tells of:
//! payouts to our bank, charges, chargebacks.
//!
//! Each has its effect once, by the key of what it is: a payment by the provider's id, as its notification would, and
//! anything else by the row.

use crate::audit::Risk;
use crate::auth::Caller;
use crate::base::{Currency, Money};
use crate::db::Tx;
use crate::jobs::Failure;
use crate::payments::model::ledger::{self, Balanced, Kind, Unbalanced};
use crate::payments::model::reconciliation::{Chargeback, ChargebackState, Movement};
use crate::payments::model::{AlarmKind, EventId, EventStatus};
use crate::payments::payfast::api::history::{self, Row};
use crate::payments::store;
use crate::payments::store::alarm::Alarm;

use super::Service;
use super::settlement::Outcome;

const PURPOSE: &str = "payments.reconcile";

impl Service {
    /// Has the effect of a stored row.
    pub(super) async fn apply_row(
        &self,
        tx: &mut Tx,
        event: EventId,
        csv: &[u8],
    ) -> Result<Outcome, Failure> {
        let row = match history::row(csv) {
            Ok(row) => row,
            Err(why) => {
                let detail = format!("the row can no longer be read: {why}");
                return Ok(Outcome::new(EventStatus::Refused, detail));
            }
        };
        match row.movement() {
            Movement::Payment => self.once(tx, event, &row.facts()).await,
            Movement::Payout => {
                let books = ledger::bank_payout(rand(gone(row.gross_minor)), rand(gone(row.fee_minor)));
                self.book_row(tx, event, &row, &Booking::of("PAYOUT", Kind::BankPayout, books)?).await
            }
            Movement::Charge => {
                let books = ledger::provider_charge(rand(gone(row.net_minor)));
                self.book_row(tx, event, &row, &Booking::of("CHARGE", Kind::ProviderCharge, books)?).await
            }
            // What it says is held against our refunds, never booked by itself: nobody can tell whose it is.
            Movement::Refund => Ok(Outcome::new(EventStatus::Ignored, "a refund is booked by who made it")),
            Movement::Chargeback => self.charge_back(tx, event, &row).await,
            Movement::Unknown => {
                Ok(Outcome::new(EventStatus::Ignored, "the row says nothing that could be booked"))
            }
        }
    }

    /// Books a row that is about no payment.
    async fn book_row(
        &self,
        tx: &mut Tx,
        event: EventId,
        row: &Row,
        booking: &Booking,
    ) -> Result<Outcome, Failure> {
        let now = self.world.now();
        if !store::event::take_effect(tx, &row.key(), booking.word, event, now).await? {
            return Ok(Outcome::new(EventStatus::Ignored, "this effect has happened already"));
        }
        let memo = format!("the provider's history: {}", row.kind);
        self.book(tx, Some(event), booking.kind, None, &memo, &booking.books).await?;
        let entry = Caller::system(PURPOSE).entry("payments.book_provider_movement");
        self.audit.record(tx, entry.on("provider_event", event).risk(Risk::Medium)).await?;
        Ok(Outcome::new(EventStatus::Applied, format!("booked as {}", booking.kind.as_str())))
    }

    /// Books a chargeback and makes it an object, which an operator is told of.
    async fn charge_back(&self, tx: &mut Tx, event: EventId, row: &Row) -> Result<Outcome, Failure> {
        let now = self.world.now();
        if !store::event::take_effect(tx, &row.key(), "CHARGEBACK", event, now).await? {
            return Ok(Outcome::new(EventStatus::Ignored, "this effect has happened already"));
        }
        // Locked, for a refund of the same money may be on its way.
        let receipt = match store::receipt::of_provider_payment(tx, &row.provider_payment_id).await? {
            Some(found) => Some(store::receipt::lock(tx, found.id).await?),
            None => None,
        };
        let payment = match receipt.as_ref().and_then(|receipt| receipt.payment_id) {
            Some(id) => store::payment::get(tx, id).await?,
            None => None,
        };
        let (amount, fee) = (gone(row.gross_minor), gone(row.fee_minor));
        let books = ledger::chargeback(rand(amount), rand(fee)).map_err(Failure::dead)?;
        self.book(tx, Some(event), Kind::Chargeback, payment.as_ref(), "a chargeback", &books).await?;
        let chargeback = Chargeback {
            id: self.world.id(),
            organization_id: receipt.as_ref().and_then(|receipt| receipt.organization_id),
            receipt_id: receipt.as_ref().map(|receipt| receipt.id),
            payment_id: payment.as_ref().map(|payment| payment.id),
            event_id: event,
            provider_payment_id: row.provider_payment_id.clone(),
            state: ChargebackState::Open,
            currency: Currency::Zar,
            amount_minor: amount,
            fee_minor: fee,
            occurred_at: row.at,
            created_at: now,
        };
        store::chargeback::insert(tx, &chargeback).await?;
        let entry = Caller::system(PURPOSE).entry("payments.book_chargeback").on("chargeback", chargeback.id);
        let entry = match chargeback.organization_id {
            Some(organization) => entry.of(organization),
            None => entry,
        };
        self.audit.record(tx, entry.risk(Risk::High).changed(&(), &chargeback)).await?;
        let detail = format!("a card scheme took back {}", rand(amount));
        let alarm = Alarm {
            kind: AlarmKind::Chargeback,
            dedupe_key: row.key(),
            organization_id: chargeback.organization_id,
            subject: row.provider_payment_id.clone(),
            detail: detail.clone(),
        };
        Ok(Outcome::new(EventStatus::Applied, detail).alarmed(alarm))
    }
}

/// How a row is booked.
struct Booking {
    /// The word of its effect.
    word: &'static str,
    kind: Kind,
    books: Balanced,
}

impl Booking {
    fn of(word: &'static str, kind: Kind, books: Result<Balanced, Unbalanced>) -> Result<Self, Failure> {
        Ok(Self { word, kind, books: books.map_err(Failure::dead)? })
    }
}

/// What went, as something that is there.
const fn gone(minor: i64) -> i64 {
    minor.saturating_neg()
}

const fn rand(minor: i64) -> Money {
    Money::new(minor, Currency::Zar)
}
