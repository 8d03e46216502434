//! How a refund ends: booked when the money went, given back to the receipt when it did not.

use crate::auth::Caller;
use crate::base::Money;
use crate::db::{self, Tx};
use crate::payments::Error;
use crate::payments::model::ledger::Kind;
use crate::payments::model::period::Period;
use crate::payments::model::{AlarmKind, Invoice, Payment, Receipt, Refund, RefundId, RefundStatus};
use crate::payments::store;
use crate::payments::store::alarm::Alarm;
use crate::payments::store::ledger::Head;

use super::{Service, about};
use crate::payments::service::crediting::NewCreditNote;

/// Everything that a refund touches, locked in the order that everything here keeps.
pub(super) struct Books {
    payment: Option<Payment>,
    invoice: Option<Invoice>,
    pub(super) receipt: Receipt,
    pub(super) refund: Refund,
}

impl Books {
    /// Sets the refund's money aside on its receipt.
    ///
    /// # Errors
    /// [`Error::RefundTooLarge`], [`Error::NothingToRefund`].
    pub(super) async fn set_aside(&mut self, tx: &mut Tx) -> Result<(), Error> {
        let taken = store::chargeback::taken_of(tx, self.receipt.id).await?;
        if self.refund.organization_id != self.receipt.organization_id {
            // It was nobody's when the refund was proposed, and is an order's now.
            return Err(Error::NothingToRefund);
        }
        let too_large = |left| Error::RefundTooLarge(Money::new(left, self.receipt.currency));
        let returned = self.refund.set_aside(&self.receipt, taken, self.invoice.as_ref());
        self.receipt.returned_minor = returned.map_err(too_large)?;
        Ok(store::receipt::set_returned(tx, &self.receipt).await?)
    }
}

impl Service {
    /// Locks a refund and what it touches; none when there is no such refund.
    pub(super) async fn lock_refund(&self, tx: &mut Tx, id: RefundId) -> Result<Option<Books>, db::Error> {
        let Some(found) = store::refund::get(tx, id).await? else { return Ok(None) };
        let seen = store::receipt::get(tx, found.receipt_id).await?.ok_or(db::Error::NotFound)?;
        if let Some(organization) = seen.organization_id {
            store::profile::lock(tx, organization, self.world.now()).await?;
        }
        let payment = match seen.payment_id {
            Some(payment) => Some(store::payment::lock(tx, payment).await?),
            None => None,
        };
        let invoice = match seen.invoice_id {
            Some(invoice) => Some(store::invoice::lock(tx, invoice).await?),
            None => None,
        };
        let receipt = store::receipt::lock(tx, found.receipt_id).await?;
        if receipt.invoice_id != seen.invoice_id {
            // It became an order's between the look and the lock: another look is needed.
            return Err(db::Error::Failed);
        }
        let refund = store::refund::lock(tx, id).await?;
        Ok(Some(Books { payment, invoice, receipt, refund }))
    }

    /// Ends a refund whose money went: books it, and takes back what the payment bought when all of it went.
    pub(super) async fn succeed(&self, tx: &mut Tx, books: &mut Books, how: &str) -> Result<(), Error> {
        let before = books.refund.clone();
        let status = before.status.change_to(RefundStatus::Succeeded).map_err(Error::internal)?;
        let (detail, settled_at) = (how.to_owned(), Some(self.world.now()));
        books.refund = Refund { status, detail, settled_at, ..before.clone() };
        store::refund::update(tx, &books.refund).await?;
        self.book_refund(tx, books).await?;
        let entry = about(Caller::system("payments.refunds").entry("payments.settle_refund"), &books.refund);
        self.audit.record(tx, entry.changed(&before, &books.refund)).await?;
        let returned = store::refund::returned_of(tx, books.receipt.id).await?;
        if returned == books.receipt.gross_minor {
            self.take_back(tx, books).await?;
        }
        // Last, for its number's counter is everybody's.
        self.undo_sale(tx, books).await
    }

    /// Books what went: from what we owe, by a credit note or because the money was nobody's order's.
    async fn book_refund(&self, tx: &mut Tx, books: &Books) -> Result<(), Error> {
        let refund = &books.refund;
        let entries = refund.books(books.receipt.status).map_err(Error::internal)?;
        let Some(entries) = entries else { return Ok(()) };
        let head = Head {
            id: self.world.id(),
            organization_id: refund.organization_id,
            kind: Kind::Refund,
            payment_id: refund.payment_id,
            invoice_id: books.receipt.invoice_id,
            event_id: None,
            memo: format!("refund: {}", refund.reason),
            at: self.world.now(),
        };
        store::ledger::post(tx, &head, &entries).await?;
        Ok(store::refund::set_booking(tx, refund, head.id).await?)
    }

    /// Ends the period that a payment bought, now that all of its price went back.
    async fn take_back(&self, tx: &mut Tx, books: &Books) -> Result<(), Error> {
        let (Some(payment), Some(invoice)) = (&books.payment, &books.invoice) else { return Ok(()) };
        let lines = store::invoice::lines(tx, invoice.organization_id, [invoice.id]).await?;
        let Some(current) = store::subscription::get(tx, payment.organization_id).await? else {
            return Ok(());
        };
        for line in lines {
            let (Some(plan), Some(cycle)) = (&line.plan_id, line.billing_cycle) else { continue };
            let bounds = line.period_start.zip(line.period_end);
            let Some(period) = bounds.map(|(start, end)| Period { start, end }) else { continue };
            if let Some(shorter) = current.take_back(plan, cycle, period, self.world.now()) {
                store::subscription::put(tx, &shorter).await?;
                let entry = Caller::system("payments.refunds").entry("payments.take_back_period");
                let entry = entry.of(payment.organization_id).on("subscription", shorter.id);
                self.audit.record(tx, entry.risk(crate::audit::Risk::Medium)).await?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Undoes the sale that the money paid, with a credit note.
    async fn undo_sale(&self, tx: &mut Tx, books: &mut Books) -> Result<(), Error> {
        let Some(invoice) = &mut books.invoice else { return Ok(()) };
        let refund = &books.refund;
        let minor = refund.undoes(invoice);
        if minor == 0 {
            return Ok(());
        }
        let amount = Money::new(minor, refund.currency);
        let note = NewCreditNote { amount, reason: &refund.reason, refund_id: Some(refund.id) };
        self.issue_credit_note(tx, &Caller::system("payments.refunds"), invoice, note).await?;
        Ok(())
    }

    /// Ends a refund of which no money went: what was set aside is there again, and an operator is told.
    pub(super) async fn fail(&self, tx: &mut Tx, books: &mut Books, why: &str) -> Result<(), Error> {
        let before = books.refund.clone();
        let status = before.status.change_to(RefundStatus::Failed).map_err(Error::internal)?;
        let (detail, settled_at) = (why.to_owned(), Some(self.world.now()));
        books.refund = Refund { status, detail, settled_at, ..before.clone() };
        store::refund::update(tx, &books.refund).await?;
        books.receipt.returned_minor = books.receipt.returned_minor.saturating_sub(before.amount_minor);
        store::receipt::set_returned(tx, &books.receipt).await?;
        let entry = about(Caller::system("payments.refunds").entry("payments.fail_refund"), &books.refund);
        self.audit.record(tx, entry.changed(&before, &books.refund)).await?;
        self.raise(tx, alarm(AlarmKind::RefundFailed, &books.refund, why)).await?;
        Ok(())
    }
}

/// An alarm about a refund.
pub(super) fn alarm(kind: AlarmKind, refund: &Refund, detail: &str) -> Alarm {
    Alarm {
        kind,
        dedupe_key: refund.id.to_string(),
        organization_id: refund.organization_id,
        subject: refund.id.to_string(),
        detail: detail.to_owned(),
    }
}
