//! Giving up an invoice: what nobody was charged with is void, and what nobody will pay is written off.
//!
//! An invoice that was issued stays what it is, for its number is in somebody's books: a credit note takes it back.

use crate::audit::Risk;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::RequestKey;
use crate::payments::Error;
use crate::payments::model::invoice::Unvoidable;
use crate::payments::model::ledger::Kind;
use crate::payments::model::{Invoice, InvoiceId, PaymentStatus};
use crate::payments::store;
use crate::payments::store::ledger::Head;

use super::Service;
use super::drafting::{Begun, Opened};
use super::reading::{InvoiceWithLines, administrator};

impl Service {
    /// Gives up an invoice, for the platform's staff: as void, or as `uncollectible`.
    ///
    /// # Errors
    /// [`Error::InvoiceNotFound`], [`Error::InvoiceIssued`], [`Error::InvoiceNotIssued`], [`Error::InvoiceClosed`],
    /// [`Error::PaymentUnderWay`].
    pub async fn void_invoice(
        &self,
        caller: &Caller,
        id: InvoiceId,
        uncollectible: bool,
        key: Option<&RequestKey>,
    ) -> Result<InvoiceWithLines, Error> {
        administrator(caller)?;
        let opened = match self.begin_on_invoice(caller, id, key).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(opened) => *opened,
        };
        let Opened { mut tx, slot, invoice, .. } = opened;
        let status = if uncollectible { invoice.written_off() } else { invoice.voided() };
        let status = status.map_err(refusal)?;
        self.end_attempts(&mut tx, &invoice).await?;
        if uncollectible {
            self.book_loss(&mut tx, &invoice).await?;
        }
        let after = Invoice { status, ..invoice.clone() };
        store::invoice::update(&mut tx, &after).await?;
        let entry = caller.entry("payments.void_invoice").of(after.organization_id);
        let entry = entry.on("invoice", id).risk(Risk::Medium).changed(&invoice, &after);
        self.audit.record(&mut tx, entry).await?;
        let given_up = self.with_lines(&mut tx, after).await?;
        slot.store(&mut tx, &given_up).await?;
        tx.commit().await?;
        Ok(given_up)
    }

    /// Nobody is to go on with an attempt to pay it. If money is under way, the invoice may be paid any moment.
    async fn end_attempts(&self, tx: &mut Tx, invoice: &Invoice) -> Result<(), Error> {
        let organization = invoice.organization_id;
        let last = store::payment::newest_of_invoice(tx, organization, invoice.id).await?;
        if last.is_some_and(|last| last.status == PaymentStatus::Pending) {
            return Err(Error::PaymentUnderWay);
        }
        store::payment::supersede_of_invoice(tx, organization, invoice.id, self.world.now()).await?;
        Ok(())
    }

    async fn book_loss(&self, tx: &mut Tx, invoice: &Invoice) -> Result<(), Error> {
        let books = invoice.loss().map_err(Error::internal)?;
        let head = Head {
            id: self.world.id(),
            organization_id: Some(invoice.organization_id),
            kind: Kind::WriteOff,
            payment_id: None,
            invoice_id: Some(invoice.id),
            event_id: None,
            memo: "an invoice was given up for lost".to_owned(),
            at: self.world.now(),
        };
        Ok(store::ledger::post(tx, &head, &books).await?)
    }
}

fn refusal(wrong: Unvoidable) -> Error {
    match wrong {
        Unvoidable::Issued => Error::InvoiceIssued,
        Unvoidable::NotIssued => Error::InvoiceNotIssued,
        Unvoidable::Closed(status) => Error::InvoiceClosed(status.as_str()),
    }
}
