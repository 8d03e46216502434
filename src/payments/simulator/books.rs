//! The simulator's books: payments, refunds, and what they move on the merchant's account.

use std::collections::BTreeMap;
use std::time::Duration;

use time::Date;

use super::faults::{Fate, Fault};
use super::{Made, Simulator};
use crate::base::Timestamp;
use crate::db::{self, Json, Tx};
use crate::payments::store::simulator::account::{self, Entry};
use crate::payments::store::simulator::payment::{self, Payment, Refund};
use crate::payments::store::simulator::token;

/// What is on the account when it is opened, in cents: a shop that sold before.
const BALANCE_MINOR: i64 = 1_000_000;
/// PayFast's fee for a refund, in cents: R2 and the tax on it.
pub(super) const REFUND_FEE_MINOR: i64 = 230;
/// How many entries, payments and tokens are kept.
const KEPT: i64 = 10_000;

/// How a payment was made, in PayFast's word, when the form does not say.
const CARD: &str = "CC";
/// By transfer from a bank account. It cannot be refunded the way that it came.
pub(super) const TRANSFER: &str = "EF";

/// A payment that came.
pub(super) const RECEIVED: &str = "FUNDS_RECEIVED";
/// A part of one that went back.
const REFUNDED: &str = "FUNDS_RECEIVED_REFUND";

/// How far South Africa's clocks are ahead.
pub(super) const AHEAD: Duration = Duration::from_hours(2);

/// The day by South Africa's clocks.
pub(super) fn local_day(at: Timestamp) -> Date {
    at.plus(AHEAD).date()
}

/// PayFast's fee for a payment, negative: 2.3 per cent, rounded down.
pub(super) fn fee(gross_minor: i64) -> i64 {
    (gross_minor.saturating_mul(23) / 1_000).saturating_neg()
}

impl Simulator {
    /// Writes a payment down, and into the history when the money is there.
    pub(super) async fn record(&self, tx: &mut Tx, made: &Made<'_>, fate: &Fate) -> Result<(), db::Error> {
        // What PayFast disowns and what is another's was never the merchant's.
        if fate.has(Fault::Invalid) || fate.has(Fault::OtherMerchant) {
            return Ok(());
        }
        let field = |name: &str| made.fields.get(name).cloned().unwrap_or_default();
        let method = field("payment_method").to_uppercase();
        let funding = if method.is_empty() { CARD.to_owned() } else { method };
        let payment = Payment {
            id: self.world.id(),
            provider_payment_id: made.provider_id.to_owned(),
            payment_reference: field("m_payment_id"),
            token: made.token.map(|token| token.token.clone()).unwrap_or_default(),
            item_name: field("item_name"),
            funding,
            status: made.status.to_owned(),
            bank_code: made.bank_code.to_owned(),
            gross_minor: made.gross_minor,
            fate: Json(fate.clone()),
            queries: 0,
            created_at: self.world.now(),
        };
        let moves = made.status == "COMPLETE" && made.gross_minor > 0 && !fate.has(Fault::Unlisted);
        let entry = moves.then(|| received(&payment, made.fields, field("item_description")));
        payment::insert(tx, payment).await?;
        payment::prune(tx, KEPT).await?;
        token::prune(tx, KEPT).await?;
        match entry {
            Some(entry) => self.enter(tx, entry).await,
            None => Ok(()),
        }
    }

    /// What is on the account.
    pub(super) async fn balance(&self, tx: &mut Tx) -> Result<i64, db::Error> {
        account::open(tx, BALANCE_MINOR).await?;
        Ok(account::lock(tx).await?.balance_minor)
    }

    /// The account, locked, for whoever counts signatures.
    pub(super) async fn account(&self, tx: &mut Tx) -> Result<account::Account, db::Error> {
        account::open(tx, BALANCE_MINOR).await?;
        account::lock(tx).await
    }

    /// Writes a refund down; it is done at once or when it is due.
    pub(super) async fn refund(
        &self,
        tx: &mut Tx,
        payment: &Payment,
        (amount_minor, reason): (i64, &str),
        due_at: Timestamp,
    ) -> Result<(), db::Error> {
        let refund = Refund {
            id: self.world.id(),
            payment_id: payment.id,
            amount_minor,
            reason: reason.to_owned(),
            due_at,
            completed_at: None,
        };
        payment::insert_refund(tx, &refund).await?;
        self.complete_refunds(tx).await
    }

    /// Does the refunds that are due.
    pub(super) async fn complete_refunds(&self, tx: &mut Tx) -> Result<(), db::Error> {
        while let Some(refund) = payment::complete_due(tx, self.world.now()).await? {
            let payment = payment::get(tx, refund.payment_id).await?;
            let entry = Entry {
                kind: REFUNDED.to_owned(),
                occurred_at: refund.due_at,
                item_description: refund.reason,
                gross_minor: refund.amount_minor.saturating_neg(),
                fee_minor: REFUND_FEE_MINOR.saturating_neg(),
                ..received(&payment, &BTreeMap::new(), String::new())
            };
            self.enter(tx, entry).await?;
        }
        Ok(())
    }

    async fn enter(&self, tx: &mut Tx, entry: Entry) -> Result<(), db::Error> {
        account::open(tx, BALANCE_MINOR).await?;
        account::move_money(tx, entry).await?;
        account::prune(tx, KEPT).await
    }
}

fn received(payment: &Payment, fields: &BTreeMap<String, String>, item_description: String) -> Entry {
    let own = fields.iter().filter(|(name, _)| name.starts_with("custom_"));
    Entry {
        // Given with the balance when it is entered.
        position: 0,
        balance_minor: 0,
        occurred_at: payment.created_at,
        kind: RECEIVED.to_owned(),
        item_name: payment.item_name.clone(),
        item_description,
        funding: payment.funding.clone(),
        gross_minor: payment.gross_minor,
        fee_minor: fee(payment.gross_minor),
        payment_reference: payment.payment_reference.clone(),
        provider_payment_id: payment.provider_payment_id.clone(),
        fields: Json(own.map(|(name, value)| (name.clone(), value.clone())).collect()),
    }
}
