//! Attempts to pay that nobody goes on with: given up by a member of the organisation, or not heard of for too long.
//!
//! Money that still comes for one is booked like any other money: on its invoice while that is open, else for nobody.

use std::time::Duration;

use crate::auth::{Caller, access};
use crate::base::OrganizationId;
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::payments::Error;
use crate::payments::model::{InvoiceId, Payment, PaymentId, PaymentStatus};
use crate::payments::store;

use super::Service;
use super::reading::LOCATE;

/// After how long an attempt is over of which the provider never said anything. Bank transfers, the slowest, are
/// announced within days.
const HEARD_WITHIN: Duration = Duration::from_hours(7 * 24);
const EXPIRE: &str = "payments.expire";

impl Service {
    /// Gives up an attempt of which the provider has said nothing yet, and with it the invoice that its checkout made.
    ///
    /// # Errors
    /// [`Error::PaymentNotFound`], [`Error::PaymentOver`], [`Error::PaymentUnderWay`].
    pub async fn cancel_payment(
        &self,
        caller: &Caller,
        id: PaymentId,
        key: Option<&RequestKey>,
    ) -> Result<Payment, Error> {
        let home = {
            let mut conn = self.db.conn(LOCATE).await?;
            store::payment::organization_of(&mut conn, id).await?
        };
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(payment) => return Ok(payment),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::PaymentNotFound)?;
        access::billing(&mut tx, caller, home).await.map_err(|error| match error {
            crate::auth::Error::OrganizationNotFound => Error::PaymentNotFound,
            error => error.into(),
        })?;
        store::profile::lock(&mut tx, home, self.world.now()).await?;
        let payment = store::payment::lock(&mut tx, id).await?;
        if payment.status == PaymentStatus::Pending {
            return Err(Error::PaymentUnderWay);
        }
        let over = |_| Error::PaymentOver(payment.status.as_str());
        let status = payment.status.change_to(PaymentStatus::Cancelled).map_err(over)?;
        let ended = self.end(&mut tx, &payment, status).await?;
        let entry = caller.entry("payments.cancel_payment").of(home).on("payment", id);
        self.audit.record(&mut tx, entry.changed(&payment, &ended)).await?;
        slot.store(&mut tx, &ended).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends attempts that were not heard of for too long, and voids the invoices of checkouts whose attempts failed and
    /// were not followed by another; at most `limit` of each. Tells how many there were of the more frequent.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn expire(&self, limit: i64) -> Result<u64, Error> {
        let unheard = self.expire_payments(limit).await?;
        Ok(unheard.max(self.give_up_invoices(limit).await?))
    }

    async fn give_up_invoices(&self, limit: i64) -> Result<u64, Error> {
        let before = self.world.now().minus(HEARD_WITHIN);
        let found = {
            let mut conn = self.db.conn(Scope::System(EXPIRE)).await?;
            store::invoice::given_up_before(&mut conn, before, limit).await?
        };
        let count = u64::try_from(found.len()).unwrap_or(0);
        for (id, organization) in found {
            self.give_up_invoice(id, organization).await?;
        }
        Ok(count)
    }

    async fn give_up_invoice(&self, id: InvoiceId, organization: OrganizationId) -> Result<(), Error> {
        let mut tx = self.db.begin(Scope::System(EXPIRE)).await?;
        store::profile::lock(&mut tx, organization, self.world.now()).await?;
        // Somebody may have begun another attempt since it was found.
        let last = store::payment::newest_of_invoice(&mut tx, organization, id).await?;
        if last.is_some_and(|last| last.status.is_alive()) {
            return Ok(());
        }
        if store::invoice::void_unissued(&mut tx, organization, [id]).await? > 0 {
            let entry = Caller::system(EXPIRE).entry("payments.void_invoice").of(organization);
            self.audit.record(&mut tx, entry.on("invoice", id)).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn expire_payments(&self, limit: i64) -> Result<u64, Error> {
        let before = self.world.now().minus(HEARD_WITHIN);
        let found = {
            let mut conn = self.db.conn(Scope::System(EXPIRE)).await?;
            store::payment::unheard_before(&mut conn, before, limit).await?
        };
        let count = u64::try_from(found.len()).unwrap_or(0);
        for (id, organization) in found {
            self.expire_payment(id, organization).await?;
        }
        Ok(count)
    }

    async fn expire_payment(&self, id: PaymentId, organization: OrganizationId) -> Result<(), Error> {
        let mut tx = self.db.begin(Scope::System(EXPIRE)).await?;
        store::profile::lock(&mut tx, organization, self.world.now()).await?;
        let payment = store::payment::lock(&mut tx, id).await?;
        // The provider may have spoken, or another node have been here, since it was found.
        if payment.status != PaymentStatus::Created {
            return Ok(());
        }
        let ended = self.end(&mut tx, &payment, PaymentStatus::Expired).await?;
        let entry = Caller::system(EXPIRE).entry("payments.expire_payment").of(organization);
        self.audit.record(&mut tx, entry.on("payment", id).changed(&payment, &ended)).await?;
        Ok(tx.commit().await?)
    }

    async fn end(&self, tx: &mut Tx, payment: &Payment, status: PaymentStatus) -> Result<Payment, Error> {
        let ended = Payment { status, updated_at: self.world.now(), ..payment.clone() };
        store::payment::update(tx, &ended).await?;
        store::invoice::void_unissued(tx, payment.organization_id, [payment.invoice_id]).await?;
        Ok(ended)
    }
}
