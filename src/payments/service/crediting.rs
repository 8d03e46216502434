//! Credit notes: taking something off an invoice that was issued, by staff or with a refund.

use crate::audit::Risk;
use crate::auth::Caller;
use crate::base::{Currency, Money, OrganizationId, Violations, text};
use crate::db::{Scope, Tx};
use crate::idempotency::RequestKey;
use crate::payments::Error;
use crate::payments::model::card;
use crate::payments::model::credit_note::{self, Credit, REASON_CHARS_MAX, Uncreditable};
use crate::payments::model::ledger::Kind;
use crate::payments::model::{CreditNote, CreditNoteId, Invoice, InvoiceId, InvoiceStatus, RefundId};
use crate::payments::store;
use crate::payments::store::ledger::Head;

use super::Service;
use super::documents::Subject;
use super::drafting::{Begun, Opened};
use super::reading::{Cursor, LOCATE, administrator, readable, visible};

/// A wish to take something off an invoice.
#[derive(Clone, Debug)]
pub struct CreateCreditNote {
    /// The invoice.
    pub invoice_id: InvoiceId,
    /// How much, tax included; none for all that is left.
    pub amount: Option<Money>,
    /// Why, as the law wants it told.
    pub reason: String,
}

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
    /// Takes something off an invoice, for the platform's staff.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvoiceNotFound`], and as [`Service::issue_credit_note`].
    pub async fn create_credit_note(
        &self,
        caller: &Caller,
        command: CreateCreditNote,
        key: Option<&RequestKey>,
    ) -> Result<CreditNote, Error> {
        administrator(caller)?;
        let command = checked(command)?;
        let opened = match self.begin_on_invoice(caller, command.invoice_id, key).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(opened) => *opened,
        };
        let Opened { mut tx, slot, mut invoice, .. } = opened;
        let left = Money::new(invoice.due_minor(), invoice.currency);
        let amount = command.amount.unwrap_or(left);
        let new = NewCreditNote { amount, reason: &command.reason, refund_id: None };
        let note = self.issue_credit_note(&mut tx, caller, &mut invoice, new).await?;
        slot.store(&mut tx, &note).await?;
        tx.commit().await?;
        Ok(note)
    }

    /// A credit note of an organisation that the caller belongs to.
    ///
    /// # Errors
    /// [`Error::CreditNoteNotFound`].
    pub async fn get_credit_note(&self, caller: &Caller, id: CreditNoteId) -> Result<CreditNote, Error> {
        caller.account()?;
        let mut conn = self.db.conn(LOCATE).await?;
        let home = store::credit_note::organization_of(&mut conn, id).await?;
        let home = home.ok_or(Error::CreditNoteNotFound)?;
        drop(conn);
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        if !visible(&mut conn, caller, home).await? {
            return Err(Error::CreditNoteNotFound);
        }
        store::credit_note::get(&mut conn, id).await?.ok_or(Error::CreditNoteNotFound)
    }

    /// Credit notes of an organisation, or of one of its invoices, the newest first.
    ///
    /// # Errors
    /// [`Error::InvoiceNotFound`] when the invoice is not the organisation's.
    pub async fn list_credit_notes(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        invoice: Option<InvoiceId>,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<CreditNote>, Error> {
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(assumed)).await?;
        let organization = readable(&mut conn, caller, named).await?;
        let after = Cursor::place(after);
        let Some(invoice) = invoice else {
            return Ok(store::credit_note::page(&mut conn, organization, after, limit).await?);
        };
        if store::invoice::organization_of(&mut conn, invoice).await? != Some(organization) {
            return Err(Error::InvoiceNotFound);
        }
        Ok(store::credit_note::page_of_invoice(&mut conn, organization, invoice, after, limit).await?)
    }

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
        self.send(tx, note.organization_id, Subject::CreditNote(note.id)).await?;
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
        let books = credit.books().map_err(Error::internal)?;
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

fn checked(mut command: CreateCreditNote) -> Result<CreateCreditNote, Violations> {
    let mut v = Violations::new();
    if let Some(amount) = command.amount {
        v.check(amount.currency == Currency::Zar, "amount", "must be in ZAR");
        v.check(amount.minor > 0, "amount", "must be above zero");
    }
    card::refuse_number(&mut v, "reason", &command.reason);
    command.reason = text::line(&mut v, "reason", &command.reason, REASON_CHARS_MAX);
    v.finish().map(|()| command)
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
