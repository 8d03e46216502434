//! Credit notes: taking something off an invoice that was issued, by staff or with a refund.

use crate::audit::Risk;
use crate::auth::Caller;
use crate::base::Money;
use crate::db::Tx;
use crate::payments::Error;
use crate::payments::model::credit_note::{self, Credit, Uncreditable};
use crate::payments::model::ledger::{self, Account, Kind};
use crate::payments::model::{CreditNote, Invoice, InvoiceStatus, RefundId};
use crate::payments::store;
use crate::payments::store::ledger::Head;

use super::Service;

/// What a credit note is to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewCreditNote<'a> {
    /// What it takes off, tax included.
    pub(super) amount: Money,
    /// Why, as the law wants it told: one line.
    pub(super) reason: &'a str,
    /// The refund that it belongs to, when money goes back with it.
    pub(super) refund_id: Option<RefundId>,
}

impl Service {
    /// Takes something off an invoice that was issued, books it, and writes the invoice. The organisation's billing
    /// profile, the payment that is concerned and the invoice are locked. The note's number is taken last, so nothing
    /// may be locked after this.
    ///
    /// On an open invoice less is owed then, so attempts to pay the old sum are over; of a paid one the customer has
    /// the amount as credit, from which a refund takes it.
    ///
    /// # Errors
    /// [`Error::InvoiceNotCreditable`], [`Error::CreditExceedsInvoice`].
    pub(super) async fn issue_credit_note(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        invoice: &mut Invoice,
        new: NewCreditNote<'_>,
    ) -> Result<CreditNote, Error> {
        let credit = taken_off(invoice, new.amount)?;
        self.book_credit(tx, invoice, &credit).await?;
        if invoice.status == InvoiceStatus::Open {
            let (organization, now) = (invoice.organization_id, self.world.now());
            store::payment::supersede_of_invoice(tx, organization, invoice.id, now).await?;
        }
        invoice.status = credit.status;
        invoice.credited_minor = credit.credited_minor;
        store::invoice::update(tx, invoice).await?;
        let mut note = self.note_of(caller, invoice, &credit, new);
        // Last, for the counter is everybody's.
        let series = if invoice.test { "TESTCN" } else { "CN" };
        let number = store::invoice::take_number(tx, &invoice.supplier_legal_name, series).await?;
        note.number = format!("{series}-{number:06}");
        store::credit_note::insert(tx, &note).await?;
        let entry = caller.entry("payments.create_credit_note").of(note.organization_id);
        let entry = entry.on("credit_note", note.id).risk(Risk::Medium).changed(&(), &note);
        self.audit.record(tx, entry).await?;
        Ok(note)
    }

    async fn book_credit(&self, tx: &mut Tx, invoice: &Invoice, credit: &Credit) -> Result<(), Error> {
        let to = match invoice.status {
            InvoiceStatus::Paid => Account::CustomerCredit,
            _ => Account::Receivable,
        };
        let books = ledger::credit_note(credit.amount, credit.tax, to).map_err(Error::internal)?;
        let head = Head {
            id: self.world.id(),
            organization_id: Some(invoice.organization_id),
            kind: Kind::CreditNote,
            payment_id: None,
            invoice_id: Some(invoice.id),
            event_id: None,
            memo: "a credit note was issued".to_owned(),
            at: self.world.now(),
        };
        Ok(store::ledger::post(tx, &head, &books).await?)
    }

    /// The note without its number.
    fn note_of(
        &self,
        caller: &Caller,
        invoice: &Invoice,
        credit: &Credit,
        new: NewCreditNote<'_>,
    ) -> CreditNote {
        CreditNote {
            id: self.world.id(),
            organization_id: invoice.organization_id,
            invoice_id: invoice.id,
            invoice_number: invoice.number.clone().unwrap_or_default(),
            number: String::new(),
            refund_id: new.refund_id,
            currency: invoice.currency,
            amount_minor: credit.amount.minor,
            tax_minor: credit.tax.minor,
            tax_rate_bp: invoice.tax_rate_bp,
            reason: new.reason.to_owned(),
            account_id: caller.account,
            supplier_legal_name: invoice.supplier_legal_name.clone(),
            supplier_trading_name: invoice.supplier_trading_name.clone(),
            supplier_vat_number: invoice.supplier_vat_number.clone(),
            supplier_address: invoice.supplier_address.clone(),
            customer_name: invoice.customer_name.clone(),
            customer_vat_number: invoice.customer_vat_number.clone(),
            customer_address: invoice.customer_address.clone(),
            test: invoice.test,
            issued_at: self.world.now(),
        }
    }
}

fn taken_off(invoice: &Invoice, amount: Money) -> Result<Credit, Error> {
    let left = Money::new(invoice.due_minor(), invoice.currency);
    if amount.currency != invoice.currency {
        return Err(Error::CreditExceedsInvoice(left));
    }
    credit_note::credit(invoice, amount.minor).map_err(|wrong| match wrong {
        Uncreditable::Status(status) => Error::InvoiceNotCreditable(status.as_str()),
        Uncreditable::Amount { .. } => Error::CreditExceedsInvoice(left),
    })
}
