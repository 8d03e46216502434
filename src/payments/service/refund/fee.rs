//! The provider's fee for a refund. Its answer does not tell it; the account's history does, later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Money;
use crate::db::{Scope, Tx};
use crate::jobs::{Failure, Job, Lease};
use crate::payments::model::ledger::{self, Kind};
use crate::payments::model::{EventId, Refund, RefundId, RefundStatus};
use crate::payments::store;
use crate::payments::store::ledger::Head;

use super::Service;

/// Books the provider's fee for a refund.
#[derive(Debug, Serialize, Deserialize)]
pub struct BookRefundFee {
    /// Which.
    pub refund_id: RefundId,
}

impl Job for BookRefundFee {
    const KIND: &'static str = "payments.book_refund_fee";
    // Once a day; what is not in the history after a week is for the reconciliation to tell.
    const ATTEMPTS_MAX: u32 = 8;
}

/// When the history is looked at first.
pub(super) const FIRST_LOOK: Duration = Duration::from_mins(15);
/// When again.
const LATER_LOOK: Duration = Duration::from_hours(24);

const SCOPE: Scope = Scope::System("payments.book_refund_fee");

impl Service {
    /// Books the fee of a refund that succeeded, once it is known; the job's handler.
    ///
    /// # Errors
    /// When it is not known yet.
    pub async fn book_refund_fee(&self, job: BookRefundFee, lease: Lease) -> Result<(), Failure> {
        let refund = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::refund::get(&mut conn, job.refund_id).await?
        };
        let Some(refund) = refund.filter(wants_fee) else { return Ok(()) };
        let Some(row) = self.refund_in_history(&refund).await else {
            // That it is not there for a week is no failure of ours: the reconciliation tells of it.
            let why = "the provider's history does not have the refund yet";
            return if lease.last { Ok(()) } else { Err(Failure::retry_after(LATER_LOOK, why)) };
        };
        let mut tx = self.db.begin(SCOPE).await?;
        self.know_fee(&mut tx, refund.id, row.fee_minor.saturating_neg().max(0), None).await?;
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Books the fee of a refund, unless it is known already; `event` told of it, when it is in the inbox. False when it
    /// was known.
    pub(in crate::payments::service) async fn know_fee(
        &self,
        tx: &mut Tx,
        id: RefundId,
        fee_minor: i64,
        event: Option<EventId>,
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

    fn charge(&self, refund: &Refund, event_id: Option<EventId>) -> Head {
        Head {
            id: self.world.id(),
            organization_id: refund.organization_id,
            kind: Kind::ProviderCharge,
            payment_id: refund.payment_id,
            invoice_id: None,
            event_id,
            memo: "the provider's fee for a refund".to_owned(),
            at: self.world.now(),
        }
    }
}

fn wants_fee(refund: &Refund) -> bool {
    refund.status == RefundStatus::Succeeded && refund.fee_minor.is_none() && refund.sent_at.is_some()
}
