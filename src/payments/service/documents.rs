//! The documents of invoices and credit notes: made of their rows, mailed when they are issued, and handed out.
//!
//! A document says what was so when it was issued and nothing that came later, so that the same rows give the same
//! bytes for ever. The law allows one original. It is these bytes: whoever is charged gets them by mail and may fetch
//! them again as often as they like. What the platform's staff fetch is marked as a copy.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::auth::{self, Caller, access};
use crate::base::OrganizationId;
use crate::db::{self, Conn, Scope, Tx};
use crate::jobs::{self, Failure, Job, Lease};
use crate::payments::document::{self, Corrected, Customer, Document, Kind, Line, RateTotal};
use crate::payments::model::period::Period;
use crate::payments::model::{
    CreditNote, CreditNoteId, Invoice, InvoiceId, InvoiceLine, InvoiceOrigin, Receipt,
};
use crate::payments::options::Supplier;
use crate::payments::{Error, letter, store};

use super::Service;
use super::reading::{InvoiceWithLines, LOCATE};

/// How many documents are drawn at once; the next ones wait.
pub(super) const DRAWN_AT_ONCE_MAX: usize = 2;
/// Through whom a checkout was paid.
const METHOD: &str = "PayFast";

/// What a document is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An invoice that was issued.
    Invoice(InvoiceId),
    /// A credit note.
    CreditNote(CreditNoteId),
}

/// Mails a document to where the organisation's invoices go.
#[derive(Debug, Serialize, Deserialize)]
pub struct MailDocument {
    /// Of what.
    pub subject: Subject,
}

impl Job for MailDocument {
    const KIND: &'static str = "payments.mail_document";
    const ATTEMPTS_MAX: u32 = 20;
}

/// A document as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Under which name it is saved.
    pub file_name: String,
    /// The PDF.
    pub bytes: Vec<u8>,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

const PURPOSE: &str = "payments.mail_document";

impl Service {
    /// The document of an invoice that was issued, or of a credit note: the original for whoever has to do with the
    /// organisation's money, a copy for the platform's administrators.
    ///
    /// # Errors
    /// [`Error::InvoiceNotFound`], [`Error::CreditNoteNotFound`], [`Error::NoDocument`].
    pub async fn get_document(&self, caller: &Caller, subject: Subject) -> Result<Drawn, Error> {
        caller.account()?;
        let mut conn = self.db.conn(LOCATE).await?;
        let home = home(&mut conn, subject).await?.ok_or_else(|| not_found(subject))?;
        drop(conn);
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let copy = match access::billing(&mut conn, caller, home).await {
            Ok(()) => false,
            Err(auth::Error::OrganizationNotFound | auth::Error::NotBilling) if caller.is_admin() => true,
            Err(auth::Error::OrganizationNotFound) => return Err(not_found(subject)),
            Err(error) => return Err(error.into()),
        };
        let document = read(&mut conn, subject).await?;
        drop(conn);
        let document = Document { copy, ..document };
        let file_name = document.file_name();
        let bytes = self.draw(document).await?;
        Ok(Drawn { file_name, digest: Sha256::digest(&bytes).into(), bytes })
    }

    /// Has a document mailed once the transaction commits.
    pub(super) async fn send(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
        subject: Subject,
    ) -> Result<(), db::Error> {
        if self.outbox.is_none() {
            return Ok(());
        }
        jobs::push(tx, &self.world, Some(organization), &MailDocument { subject }).await
    }

    /// Mails a document; the job's handler. The letter is pushed in the transaction that ends the job, so once.
    ///
    /// # Errors
    /// When it has to be tried again, or can never succeed.
    pub async fn mail_document(&self, job: MailDocument, lease: Lease) -> Result<(), Failure> {
        let mut conn = self.db.conn(Scope::System(PURPOSE)).await?;
        let home = home(&mut conn, job.subject).await?;
        let home = home.ok_or_else(|| Failure::dead("there is nothing of which a document could be"))?;
        let document = read(&mut conn, job.subject).await?;
        let profile = store::profile::get(&mut conn, home).await?;
        drop(conn);
        let address = profile.map(|profile| profile.email).filter(|address| !address.is_empty());
        let letter = match (&self.outbox, address) {
            (Some(outbox), Some(address)) => {
                let pdf = self.draw(document.clone()).await?;
                let site = &self.options.home_url();
                Some((outbox, letter::bring(&address, site, &document, pdf).map_err(Failure::dead)?))
            }
            // Nobody said where invoices go.
            _ => None,
        };
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        if let Some((outbox, mail)) = letter {
            outbox.push(&mut tx, &mail).await?;
        }
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Draws a document, apart from what answers calls.
    async fn draw(&self, document: Document) -> Result<Vec<u8>, Error> {
        let place = Arc::clone(&self.drawing).acquire_owned().await.map_err(Error::internal)?;
        let drawn = tokio::task::spawn_blocking(move || {
            let drawn = document::render(&document);
            drop(place);
            drawn
        });
        drawn.await.map_err(Error::internal)?.map_err(Error::internal)
    }
}

/// That the document of an invoice has all that the law demands. What has not is not issued.
pub(super) fn complete(issued: &InvoiceWithLines) -> Result<(), Error> {
    let InvoiceWithLines { invoice, lines } = issued.clone();
    let document = of_invoice(invoice, lines, Vec::new())?;
    document.form().map(drop).map_err(Error::internal)
}

fn not_found(subject: Subject) -> Error {
    match subject {
        Subject::Invoice(_) => Error::InvoiceNotFound,
        Subject::CreditNote(_) => Error::CreditNoteNotFound,
    }
}

async fn home(conn: &mut impl Conn, subject: Subject) -> Result<Option<OrganizationId>, db::Error> {
    match subject {
        Subject::Invoice(id) => store::invoice::organization_of(conn, id).await,
        Subject::CreditNote(id) => store::credit_note::organization_of(conn, id).await,
    }
}

/// Reads all that a document says.
async fn read(conn: &mut impl Conn, subject: Subject) -> Result<Document, Error> {
    match subject {
        Subject::Invoice(id) => {
            let invoice = store::invoice::get(conn, id).await?.ok_or(Error::InvoiceNotFound)?;
            let lines = store::invoice::lines(conn, invoice.organization_id, [id]).await?;
            let paid = match invoice.origin {
                InvoiceOrigin::Checkout => store::receipt::of_invoice(conn, id).await?,
                InvoiceOrigin::Staff => Vec::new(),
            };
            of_invoice(invoice, lines, paid)
        }
        Subject::CreditNote(id) => {
            let note = store::credit_note::get(conn, id).await?.ok_or(Error::CreditNoteNotFound)?;
            let invoice = store::invoice::get(conn, note.invoice_id).await?.ok_or(Error::InvoiceNotFound)?;
            of_note(note, &invoice)
        }
    }
}

/// The document of an invoice. What paid a checkout was there when it was issued; what paid another came later.
fn of_invoice(invoice: Invoice, lines: Vec<InvoiceLine>, paid: Vec<Receipt>) -> Result<Document, Error> {
    let (Some(number), Some(issued_at)) = (invoice.number, invoice.issued_at) else {
        return Err(Error::NoDocument);
    };
    let line = |line: InvoiceLine| Line {
        description: line.description,
        quantity: line.quantity,
        unit_minor: line.unit_minor,
        total_minor: line.total_minor,
        rate_bp: invoice.tax_rate_bp,
        period: line.period_start.zip(line.period_end).map(|(start, end)| Period { start, end }),
    };
    let payment = |receipt: Receipt| document::Payment {
        method: METHOD.to_owned(),
        reference: receipt.provider_payment_id,
        at: receipt.created_at,
        amount_minor: receipt.gross_minor,
    };
    Ok(Document {
        kind: Kind::TaxInvoice,
        number,
        issued_at,
        due_at: invoice.due_at,
        supplier: Supplier {
            legal_name: invoice.supplier_legal_name,
            trading_name: invoice.supplier_trading_name,
            vat_number: invoice.supplier_vat_number,
            address: invoice.supplier_address,
        },
        customer: customer(invoice.customer_name, invoice.customer_vat_number, invoice.customer_address),
        currency: invoice.currency,
        prices_include_tax: invoice.prices_include_tax,
        lines: lines.into_iter().map(line).collect(),
        totals: vec![total(invoice.tax_rate_bp, invoice.total_minor, invoice.tax_minor)],
        payments: paid.into_iter().map(payment).collect(),
        test: invoice.test,
        copy: false,
    })
}

fn of_note(note: CreditNote, invoice: &Invoice) -> Result<Document, Error> {
    let corrected = Corrected {
        number: note.invoice_number.clone(),
        issued_at: invoice.issued_at.ok_or(Error::NoDocument)?,
        total_minor: invoice.total_minor,
        reason: note.reason,
    };
    let line = Line {
        description: format!("Credit on invoice {}", note.invoice_number),
        quantity: 1,
        unit_minor: note.amount_minor,
        total_minor: note.amount_minor,
        rate_bp: note.tax_rate_bp,
        period: None,
    };
    Ok(Document {
        kind: Kind::CreditNote(corrected),
        number: note.number,
        issued_at: note.issued_at,
        due_at: None,
        supplier: Supplier {
            legal_name: note.supplier_legal_name,
            trading_name: note.supplier_trading_name,
            vat_number: note.supplier_vat_number,
            address: note.supplier_address,
        },
        customer: customer(note.customer_name, note.customer_vat_number, note.customer_address),
        currency: note.currency,
        prices_include_tax: true,
        lines: vec![line],
        totals: vec![total(note.tax_rate_bp, note.amount_minor, note.tax_minor)],
        payments: Vec::new(),
        test: note.test,
        copy: false,
    })
}

const fn customer(name: String, vat_number: String, address: String) -> Customer {
    Customer { name, vat_number, address, country: String::new() }
}

const fn total(rate_bp: i64, gross_minor: i64, tax_minor: i64) -> RateTotal {
    RateTotal { rate_bp, net_minor: gross_minor.saturating_sub(tax_minor), tax_minor, gross_minor }
}
