//! Starting a checkout: an open invoice, an attempt to pay it that says what it buys, and the signed form.

use std::time::Duration;

use crate::audit::Entry;
use crate::auth::{Caller, access};
use crate::base::{Money, OrganizationId, Violations};
use crate::db::{self, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::payments::Error;
use crate::payments::address;
use crate::payments::model::period::Cycle;
use crate::payments::model::{
    self, BillingProfile, Checkout, FormField, Invoice, InvoiceId, InvoiceLine, InvoiceOrigin, InvoiceStatus,
    PLAN_ID_CHARS_MAX, Payment, PaymentId, PaymentMethodId, PaymentStatus, Plan, Provider, VAT_PERCENT,
};
use crate::payments::payfast::form::{AMOUNT_MINOR_MIN, Builder, SIGNATURE_FIELD};
use crate::payments::store;

use super::Service;

/// How many unpaid checkouts an organisation may have started within [`OPEN_WINDOW`].
const OPEN_CHECKOUTS_MAX: i64 = 1_000;
/// Over which time unpaid checkouts are counted.
const OPEN_WINDOW: Duration = Duration::from_hours(24);
/// The longest name and address of a buyer that PayFast takes, in characters.
const BUYER_CHARS_MAX: usize = 100;
/// The longest name of what is bought that PayFast takes, in characters.
const ITEM_NAME_CHARS_MAX: usize = 100;
/// The longest description of it, likewise.
const ITEM_DESCRIPTION_CHARS_MAX: usize = 255;

/// What is bought.
#[derive(Clone, Debug)]
pub enum Item {
    /// A plan for one cycle; the cycle may be missing in the request.
    Plan {
        /// The plan's id.
        plan_id: String,
        /// The cycle.
        cycle: Option<Cycle>,
    },
    /// An invoice that is open: the attempt to pay it that is alive is gone on with, or another begins.
    Invoice(InvoiceId),
}

/// A wish to buy.
#[derive(Clone, Debug)]
pub struct CreateCheckout {
    /// Who buys; the caller's own organisation when empty.
    pub organization_id: Option<OrganizationId>,
    /// What is bought.
    pub item: Item,
    /// Where the buyer goes after paying; home when empty.
    pub return_url: String,
    /// Where the buyer goes after giving up; home when empty.
    pub cancel_url: String,
    /// The stored card that is charged now; the buyer pays on the provider's page when there is none.
    pub payment_method_id: Option<PaymentMethodId>,
}

impl Service {
    /// Starts a checkout for a member of the organisation.
    pub async fn create_checkout(
        &self,
        caller: &Caller,
        command: CreateCheckout,
        key: Option<&RequestKey>,
    ) -> Result<Checkout, Error> {
        let named = command.organization_id;
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut tx = self.db.begin(Scope::Organization(assumed)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        let organization_id = access::resolve_billing(&mut tx, caller, named).await?;
        self.must_be_open(&mut tx).await?;
        let urls = self.buyer_urls(&command.return_url, &command.cancel_url);
        let (plan_id, cycle) = match &command.item {
            Item::Plan { plan_id, cycle } => (plan_id, *cycle),
            Item::Invoice(invoice) => {
                let begun = self.go_on(&mut tx, caller, organization_id, *invoice, urls).await?;
                let (payment, checkout) = self.pay_with(&mut tx, begun, command.payment_method_id).await?;
                // Even if nothing changed, somebody was given a signed form.
                let entry = started(caller, organization_id, payment.id).changed(&(), &payment);
                self.audit.record(&mut tx, entry).await?;
                slot.store(&mut tx, &checkout).await?;
                tx.commit().await?;
                return Ok(checkout);
            }
        };
        let order = self.order(&mut tx, plan_id, cycle, urls).await?;
        let profile = store::profile::lock(&mut tx, organization_id, self.world.now()).await?;
        let since = self.world.now().minus(OPEN_WINDOW);
        if store::payment::unheard_since(&mut tx, organization_id, since, OPEN_CHECKOUTS_MAX).await? {
            return Err(Error::TooManyCheckouts);
        }
        let payment = self.open(&mut tx, caller, &order, &profile).await?;
        let subject =
            Subject { name: format!("CapeControl {}", order.plan.name), description: order.description() };
        let checkout = self.checkout(&subject, &order.urls, &payment, &profile)?;
        let begun = (payment, checkout);
        let (payment, checkout) = self.pay_with(&mut tx, begun, command.payment_method_id).await?;
        let entry = started(caller, organization_id, payment.id).changed(&(), &payment);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &checkout).await?;
        tx.commit().await?;
        Ok(checkout)
    }

    /// Has a stored card charged when one is named: then there is nothing to be posted.
    async fn pay_with(
        &self,
        tx: &mut Tx,
        (payment, checkout): (Payment, Checkout),
        method: Option<PaymentMethodId>,
    ) -> Result<(Payment, Checkout), Error> {
        let Some(method) = method else { return Ok((payment, checkout)) };
        let payment = self.charge_method(tx, &payment, method).await?;
        Ok((payment, Checkout { action_url: String::new(), fields: Vec::new(), ..checkout }))
    }

    /// The form for an invoice that is open: of the attempt that is alive, whoever started it, or of a new one.
    async fn go_on(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        organization_id: OrganizationId,
        invoice: InvoiceId,
        (urls, violations): (BuyerUrls, Violations),
    ) -> Result<(Payment, Checkout), Error> {
        violations.finish()?;
        let profile = store::profile::lock(tx, organization_id, self.world.now()).await?;
        let home = store::invoice::organization_of(tx, invoice).await?;
        if home != Some(organization_id) {
            return Err(Error::InvoiceNotFound);
        }
        let invoice = store::invoice::lock(tx, invoice).await?;
        // A form for the simulator's money is none for real money, and the other way round.
        if invoice.status != InvoiceStatus::Open || invoice.test != self.options.test() {
            return Err(Error::InvoiceNotOpen);
        }
        if invoice.due_minor() < AMOUNT_MINOR_MIN {
            return Err(Error::PaymentTooSmall);
        }
        let last = store::payment::newest_of_invoice(tx, organization_id, invoice.id).await?;
        let payment = match last {
            Some(payment) if payment.status == PaymentStatus::Pending => return Err(Error::PaymentUnderWay),
            Some(payment) if payment.status == PaymentStatus::Created => payment,
            last => {
                let buys = last.and_then(|last| last.plan_id.zip(last.billing_cycle));
                self.attempt(tx, caller, &invoice, buys).await?
            }
        };
        let subject = self.subject(tx, &invoice, &payment).await?;
        let checkout = self.checkout(&subject, &urls, &payment, &profile)?;
        Ok((payment, checkout))
    }

    /// What the buyer reads on the provider's page about an invoice.
    pub(super) async fn subject(
        &self,
        tx: &mut Tx,
        invoice: &Invoice,
        payment: &Payment,
    ) -> Result<Subject, Error> {
        let lines = store::invoice::lines(tx, invoice.organization_id, [invoice.id]).await?;
        let description = lines.into_iter().next().map(|line| line.description).unwrap_or_default();
        let what = match (&payment.plan_id, &invoice.number) {
            (Some(plan), _) => store::plan::get(tx, plan).await?.ok_or(db::Error::NotFound)?.name,
            (None, Some(number)) => format!("invoice {number}"),
            (None, None) => "invoice".to_owned(),
        };
        Ok(Subject { name: format!("CapeControl {what}"), description })
    }

    /// An attempt to pay what is due on an invoice.
    async fn attempt(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        invoice: &Invoice,
        buys: Option<(String, Cycle)>,
    ) -> Result<Payment, Error> {
        let (plan_id, billing_cycle) = buys.unzip();
        let now = self.world.now();
        let payment = Payment {
            id: self.world.id(),
            organization_id: invoice.organization_id,
            account_id: caller.account,
            invoice_id: invoice.id,
            provider: Provider::Payfast,
            status: PaymentStatus::Created,
            plan_id,
            billing_cycle,
            currency: invoice.currency,
            amount_minor: invoice.due_minor(),
            fee_minor: None,
            provider_payment_id: None,
            test: self.options.test(),
            created_at: now,
            updated_at: now,
            settled_at: None,
        };
        store::payment::insert(tx, &payment).await?;
        Ok(payment)
    }

    /// Checks everything about a wish, and names all that is wrong with it at once.
    async fn order(
        &self,
        tx: &mut Tx,
        plan_id: &str,
        cycle: Option<Cycle>,
        (urls, mut violations): (BuyerUrls, Violations),
    ) -> Result<Order, Error> {
        let plan = match plan_id {
            id if id.chars().count() > PLAN_ID_CHARS_MAX => None,
            id => store::plan::get(tx, id).await?,
        };
        let free = plan.as_ref().is_some_and(|plan| plan.monthly_minor == 0);
        let price = match (&plan, cycle) {
            (Some(plan), Some(cycle)) => plan.price(cycle).map(|price| (cycle, price)),
            _ => None,
        };
        violations.check(plan.is_some(), "plan.plan_id", "must be a plan from the price list");
        violations.check(free || cycle.is_some(), "plan.billing_cycle", "must be monthly or yearly");
        let sold = free || plan.is_none() || cycle.is_none() || price.is_some();
        violations.check(sold, "plan.billing_cycle", "must be a cycle that the plan is sold by");
        violations.finish()?;
        match (plan, price) {
            (Some(plan), Some((cycle, price))) if price.minor > 0 => Ok(Order { plan, cycle, price, urls }),
            _ => Err(Error::PlanIsFree),
        }
    }

    pub(super) fn buyer_urls(&self, return_url: &str, cancel_url: &str) -> (BuyerUrls, Violations) {
        let mut violations = Violations::new();
        let return_url = self.buyer_url(&mut violations, "return_url", return_url);
        let cancel_url = self.buyer_url(&mut violations, "cancel_url", cancel_url);
        (BuyerUrls { return_url, cancel_url }, violations)
    }

    fn buyer_url(&self, violations: &mut Violations, field: &'static str, url: &str) -> String {
        let home = self.options.home_url();
        if url.is_empty() {
            return home;
        }
        let origins = self.options.return_origins.iter().map(String::as_str).chain([home.as_str()]);
        match address::allowed(url, origins) {
            Ok(url) => url,
            Err(wrong) => {
                violations.add(field, wrong);
                home
            }
        }
    }

    /// Writes the open invoice and the first attempt to pay it.
    async fn open(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        order: &Order,
        profile: &BillingProfile,
    ) -> Result<Payment, Error> {
        let invoice = self.invoice(order, profile)?;
        if invoice.requires_recipient() && !profile.names_recipient() {
            return Err(Error::BillingDetailsRequired);
        }
        store::invoice::insert(tx, &invoice).await?;
        let line = InvoiceLine {
            invoice_id: invoice.id,
            position: 1,
            description: order.description(),
            quantity: 1,
            unit_minor: order.price.minor,
            total_minor: order.price.minor,
            plan_id: Some(order.plan.id.clone()),
            billing_cycle: Some(order.cycle),
            period_start: None,
            period_end: None,
        };
        store::invoice::insert_lines(tx, invoice.organization_id, &[line]).await?;
        self.attempt(tx, caller, &invoice, Some((order.plan.id.clone(), order.cycle))).await
    }

    fn invoice(&self, order: &Order, profile: &BillingProfile) -> Result<Invoice, Error> {
        let supplier = &self.options.supplier;
        Ok(Invoice {
            id: self.world.id(),
            organization_id: profile.organization_id,
            origin: InvoiceOrigin::Checkout,
            number: None,
            status: InvoiceStatus::Open,
            currency: order.price.currency,
            total_minor: order.price.minor,
            tax_minor: model::tax_included(order.price).map_err(Error::internal)?.minor,
            tax_rate_bp: VAT_PERCENT.saturating_mul(100),
            prices_include_tax: true,
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
            due_at: None,
        })
    }

    /// The form that the buyer's browser posts, in PayFast's order, the signature last.
    fn checkout(
        &self,
        subject: &Subject,
        urls: &BuyerUrls,
        payment: &Payment,
        profile: &BillingProfile,
    ) -> Result<Checkout, Error> {
        let subject = subject.clipped();
        let form = self
            .form(urls, profile, &payment.id.to_string())
            .amount(Money::new(payment.amount_minor, payment.currency))
            .put("item_name", &subject.name)
            .offer("item_description", &subject.description);
        Ok(Checkout {
            payment_id: payment.id,
            invoice_id: payment.invoice_id,
            action_url: self.options.process_url(),
            fields: self.signed(form)?,
        })
    }

    /// A form with what every one has: who sells, where the buyer goes afterwards, who that is, and our reference.
    pub(super) fn form(&self, urls: &BuyerUrls, profile: &BillingProfile, reference: &str) -> Builder {
        Builder::new(&self.options.merchant_id, &self.options.merchant_key)
            .put("return_url", &urls.return_url)
            .put("cancel_url", &urls.cancel_url)
            .put("notify_url", &self.options.notify_url())
            // The buyer can type them where PayFast would not take ours.
            .offer("name_first", &clipped(&profile.name, BUYER_CHARS_MAX))
            .offer("email_address", &profile.email)
            .put("m_payment_id", reference)
    }

    /// The fields of a form in PayFast's order, the signature last.
    pub(super) fn signed(&self, form: Builder) -> Result<Vec<FormField>, Error> {
        let signed = form.finish(self.options.passphrase()).map_err(Error::internal)?;
        let signature = (SIGNATURE_FIELD.to_owned(), signed.signature);
        let fields = signed.fields.into_iter().chain([signature]);
        Ok(fields.map(|(name, value)| FormField { name, value }).collect())
    }
}

fn started(caller: &Caller, organization: OrganizationId, payment: PaymentId) -> Entry {
    caller.entry("payments.create_checkout").of(organization).on("payment", payment)
}

fn clipped(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

/// What the buyer reads on the provider's page.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) description: String,
}

impl Subject {
    /// As much of it as PayFast takes.
    pub(super) fn clipped(&self) -> Self {
        Self {
            name: clipped(&self.name, ITEM_NAME_CHARS_MAX),
            description: clipped(&self.description, ITEM_DESCRIPTION_CHARS_MAX),
        }
    }
}

/// A wish that was checked.
struct Order {
    plan: Plan,
    cycle: Cycle,
    price: Money,
    urls: BuyerUrls,
}

/// Where the buyer's browser goes afterwards.
pub(super) struct BuyerUrls {
    return_url: String,
    cancel_url: String,
}

impl Order {
    fn description(&self) -> String {
        let cycle = match self.cycle {
            Cycle::Monthly => "one month",
            Cycle::Yearly => "one year",
        };
        format!("{} plan, {cycle}", self.plan.name)
    }
}
