//! Invoices of the platform's staff: written as drafts, then issued, and paid like any other.

use crate::audit::Risk;
use crate::auth::{Caller, access};
use crate::base::{Currency, OrganizationId, Timestamp, Violations, text};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey, Slot};
use crate::payments::Error;
use crate::payments::model::draft::{
    DESCRIPTION_CHARS_MAX, DraftLine, LINES_MAX, QUANTITY_MAX, Sums, TOTAL_MINOR_MAX, TaxRate,
    UNIT_MINOR_MAX, sums,
};
use crate::payments::model::{
    BillingProfile, Invoice, InvoiceId, InvoiceLine, InvoiceOrigin, InvoiceStatus, card,
};
use crate::payments::store;

use super::reading::{InvoiceWithLines, LOCATE, administrator};
use super::{Service, documents};

/// A wish to charge an organisation.
#[derive(Clone, Debug)]
pub struct CreateInvoice {
    /// Who is charged.
    pub organization_id: OrganizationId,
    /// For what.
    pub lines: Vec<DraftLine>,
    /// Whether the prices include tax.
    pub prices_include_tax: bool,
    /// The rate of the tax.
    pub tax_rate: TaxRate,
    /// Until when it is to be paid, if that is said.
    pub due_at: Option<Timestamp>,
}

/// An invoice that is about to change, locked, with its organisation's profile.
pub(super) struct Opened {
    pub(super) tx: Tx,
    pub(super) slot: Slot,
    pub(super) profile: BillingProfile,
    pub(super) invoice: Invoice,
}

/// What a call on an invoice begins with.
pub(super) enum Begun<A> {
    /// The call was made before; this was the answer.
    Replay(A),
    /// The call is new.
    New(Box<Opened>),
}

impl Service {
    /// Writes a draft, for the platform's staff.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotAnAdministrator`], or that there is no such organisation.
    pub async fn create_invoice(
        &self,
        caller: &Caller,
        command: CreateInvoice,
        key: Option<&RequestKey>,
    ) -> Result<InvoiceWithLines, Error> {
        administrator(caller)?;
        let (command, sums) = checked(command, self.world.now())?;
        let organization_id = command.organization_id;
        let mut tx = self.db.begin(Scope::Organization(organization_id)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        access::organization_stands(&mut tx, organization_id).await?;
        let profile = store::profile::lock(&mut tx, organization_id, self.world.now()).await?;
        let invoice = self.draft(&command, sums, &profile);
        let lines = lines(&invoice, command.lines);
        store::invoice::insert(&mut tx, &invoice).await?;
        store::invoice::insert_lines(&mut tx, organization_id, &lines).await?;
        let made = InvoiceWithLines { invoice, lines };
        let entry = caller.entry("payments.create_invoice").of(organization_id);
        let entry = entry.on("invoice", made.invoice.id).risk(Risk::Medium).changed(&(), &made);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &made).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Issues a draft, for the platform's staff.
    ///
    /// # Errors
    /// [`Error::InvoiceNotFound`], [`Error::InvoiceNotDraft`], [`Error::BillingDetailsRequired`].
    pub async fn finalize_invoice(
        &self,
        caller: &Caller,
        id: InvoiceId,
        key: Option<&RequestKey>,
    ) -> Result<InvoiceWithLines, Error> {
        administrator(caller)?;
        let opened = match self.begin_on_invoice(caller, id, key).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(opened) => *opened,
        };
        let Opened { mut tx, slot, profile, mut invoice } = opened;
        let before = invoice.clone();
        if invoice.status != InvoiceStatus::Draft {
            return Err(Error::InvoiceNotDraft(invoice.status.as_str()));
        }
        access::organization_stands(&mut tx, invoice.organization_id).await?;
        if invoice.requires_recipient() && !profile.names_recipient() {
            return Err(Error::BillingDetailsRequired);
        }
        invoice.status = InvoiceStatus::Open;
        self.issue(&mut tx, &mut invoice, &profile).await?;
        store::invoice::update(&mut tx, &invoice).await?;
        let entry = caller.entry("payments.finalize_invoice").of(invoice.organization_id);
        let entry = entry.on("invoice", id).risk(Risk::Medium).changed(&before, &invoice);
        self.audit.record(&mut tx, entry).await?;
        let issued = self.with_lines(&mut tx, invoice).await?;
        documents::complete(&issued)?;
        slot.store(&mut tx, &issued).await?;
        tx.commit().await?;
        Ok(issued)
    }

    /// Begins a call that changes an invoice, whoever's it is: claims its key, and locks in the order that holds
    /// everywhere. Who calls was authorised before.
    pub(super) async fn begin_on_invoice<A: serde::de::DeserializeOwned>(
        &self,
        caller: &Caller,
        id: InvoiceId,
        key: Option<&RequestKey>,
    ) -> Result<Begun<A>, Error> {
        let home = {
            let mut conn = self.db.conn(LOCATE).await?;
            store::invoice::organization_of(&mut conn, id).await?
        };
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(Begun::Replay(answer)),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::InvoiceNotFound)?;
        let profile = store::profile::lock(&mut tx, home, self.world.now()).await?;
        let invoice = store::invoice::lock(&mut tx, id).await?;
        Ok(Begun::New(Box::new(Opened { tx, slot, profile, invoice })))
    }

    /// The invoice with its lines.
    pub(super) async fn with_lines(&self, tx: &mut Tx, invoice: Invoice) -> Result<InvoiceWithLines, Error> {
        let lines = store::invoice::lines(tx, invoice.organization_id, [invoice.id]).await?;
        Ok(InvoiceWithLines { invoice, lines })
    }

    fn draft(&self, command: &CreateInvoice, sums: Sums, profile: &BillingProfile) -> Invoice {
        let supplier = &self.options.supplier;
        Invoice {
            id: self.world.id(),
            organization_id: command.organization_id,
            origin: InvoiceOrigin::Staff,
            number: None,
            status: InvoiceStatus::Draft,
            currency: sums.total.currency,
            total_minor: sums.total.minor,
            tax_minor: sums.tax.minor,
            tax_rate_bp: command.tax_rate.basis_points(),
            prices_include_tax: command.prices_include_tax,
            credited_minor: 0,
            supplier_legal_name: supplier.legal_name.clone(),
            supplier_trading_name: supplier.trading_name.clone(),
            supplier_vat_number: supplier.vat_number.clone(),
            supplier_address: supplier.address.clone(),
            customer_name: profile.name.clone(),
            customer_vat_number: profile.vat_number.clone(),
            customer_address: profile.address.clone(),
            test: self.options.test(),
            created_at: self.world.now(),
            issued_at: None,
            paid_at: None,
            due_at: command.due_at,
        }
    }
}

fn lines(invoice: &Invoice, drafts: Vec<DraftLine>) -> Vec<InvoiceLine> {
    let line = |(position, draft): (i64, DraftLine)| InvoiceLine {
        invoice_id: invoice.id,
        position,
        quantity: draft.quantity,
        unit_minor: draft.unit.minor,
        // Bounded before: the sums could not have been computed otherwise.
        total_minor: draft.total_minor().unwrap_or(0),
        description: draft.description,
        plan_id: None,
        billing_cycle: None,
        period_start: None,
        period_end: None,
    };
    (1_i64..).zip(drafts).map(line).collect()
}

/// Checks everything about a wish, and names all that is wrong with it at once.
fn checked(mut command: CreateInvoice, now: Timestamp) -> Result<(CreateInvoice, Sums), Violations> {
    let mut v = Violations::new();
    v.check(!command.lines.is_empty(), "lines", "must not be empty");
    v.check(command.lines.len() <= LINES_MAX, "lines", format!("must be at most {LINES_MAX}"));
    for (index, line) in command.lines.iter_mut().take(LINES_MAX).enumerate() {
        check_line(&mut v, index, line);
    }
    v.check(command.due_at.is_none_or(|due_at| due_at > now), "due_time", "must lie ahead");
    v.clone().finish()?;
    let sums = sums(&command.lines, command.tax_rate, command.prices_include_tax);
    let sums = sums.filter(|sums| sums.total.minor <= TOTAL_MINOR_MAX);
    v.check(sums.is_some(), "lines", "must come to at most R100,000,000.00");
    v.finish()?;
    sums.map(|sums| (command, sums)).ok_or_else(Violations::new)
}

fn check_line(v: &mut Violations, index: usize, line: &mut DraftLine) {
    let field = |name: &str| format!("lines[{index}].{name}");
    card::refuse_number(v, &field("description"), &line.description);
    line.description = text::line(v, &field("description"), &line.description, DESCRIPTION_CHARS_MAX);
    let quantity = (1..=QUANTITY_MAX).contains(&line.quantity);
    v.check(quantity, field("quantity"), format!("must be between 1 and {QUANTITY_MAX}"));
    v.check(line.unit.currency == Currency::Zar, field("unit_price"), "must be in ZAR");
    let price = (1..=UNIT_MINOR_MAX).contains(&line.unit.minor);
    v.check(price, field("unit_price"), "must be between R0.01 and R10,000,000.00");
}
