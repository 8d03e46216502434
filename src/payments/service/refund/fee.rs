//! The provider's fee for a refund. Its answer does not tell it; the account's history does, later, so that it is the
//! reconciliation that books it, which tells alike refunds apart.

use crate::base::Money;
use crate::db::Tx;
use crate::jobs::Failure;
use crate::payments::model::ledger::{self, Kind};
use crate::payments::model::{EventId, Refund, RefundId, RefundStatus};
use crate::payments::store;
use crate::payments::store::ledger::Head;

use super::Service;

impl Service {
    /// Books the fee of a refund, of which a row of the history told. False when it was known already.
    pub(in crate::payments::service) async fn know_fee(
        &self,
        tx: &mut Tx,
        id: RefundId,
        fee_minor: i64,
        event: EventId,
    ) -> Result<bool, Failure> {
        let found = self.lock_refund(tx, id).await?;
        let Some(books) = found.filter(|books| wants_fee(&books.refund)) else { return Ok(false) };
        let known = Refund { fee_minor: Some(fee_minor), ..books.refund };
        store::refund::update(tx, &known).await?;
        if fee_minor > 0 {
            let entries = ledger::provider_charge(Money::new(fee_minor, known.currency));
            let head = self.charge(&known, event);
            store::ledger::post(tx, &head, &entries.map_err(Failure::dead)?).await?;
        }
        Ok(true)
    }

    fn charge(&self, refund: &Refund, event_id: EventId) -> Head {
        Head {
            id: self.world.id(),
            organization_id: refund.organization_id,
            kind: Kind::ProviderCharge,
            payment_id: refund.payment_id,
            invoice_id: None,
            event_id: Some(event_id),
            memo: "the provider's fee for a refund".to_owned(),
            at: self.world.now(),
        }
    }
}

fn wants_fee(refund: &Refund) -> bool {
    refund.status == RefundStatus::Succeeded && refund.fee_minor.is_none() && refund.sent_at.is_some()
}
