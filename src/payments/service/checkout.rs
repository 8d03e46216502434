//! Starting a checkout: an open invoice, a pending payment that says what it buys, and the signed form.

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
    self, BillingProfile, Checkout, FormField, Invoice, InvoiceId, InvoiceLine, InvoiceStatus,
    PLAN_ID_CHARS_MAX, Payment, PaymentId, PaymentStatus, Plan, Provider, VAT_PERCENT,
};
use crate::payments::payfast::form::{Builder, SIGNATURE_FIELD};
use crate::payments::store;

use super::Service;

/// How many unpaid checkouts an organisation may have started within [`OPEN_WINDOW`].
const OPEN_CHECKOUTS_MAX: i64 = 1_000;
/// Over which time unpaid checkouts are counted.
const OPEN_WINDOW: Duration = Duration::from_hours(24);
/// The longest name and address of a buyer that PayFast takes, in characters.
const BUYER_CHARS_MAX: usize = 100;

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
    /// An invoice that is open: its pending payment is gone on with.
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
        let urls = self.buyer_urls(&command);
        let (plan_id, cycle) = match &command.item {
            Item::Plan { plan_id, cycle } => (plan_id, *cycle),
            Item::Invoice(invoice) => {
                let checkout = self.go_on(&mut tx, organization_id, *invoice, urls).await?;
                // Nothing changed, but somebody was given a signed form.
                let entry = started(caller, organization_id, checkout.payment_id);
                self.audit.record(&mut tx, entry).await?;
                slot.store(&mut tx, &checkout).await?;
                tx.commit().await?;
                return Ok(checkout);
            }
        };
        let order = self.order(&mut tx, plan_id, cycle, urls).await?;
        let profile = store::profile::lock(&mut tx, organization_id, self.world.now()).await?;
        let since = self.world.now().minus(OPEN_WINDOW);
        if store::payment::pending_since(&mut tx, organization_id, since, OPEN_CHECKOUTS_MAX).await? {
            return Err(Error::TooManyCheckouts);
        }
        let payment = self.open(&mut tx, caller, &order, &profile).await?;
        let checkout = self.checkout(&order, &payment, &profile)?;
        let entry = started(caller, organization_id, payment.id).changed(&(), &payment);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &checkout).await?;
        tx.commit().await?;
        Ok(checkout)
    }

    /// The form for an invoice that is open, whoever started its payment.
    async fn go_on(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        invoice: InvoiceId,
        (urls, violations): (BuyerUrls, Violations),
    ) -> Result<Checkout, Error> {
        violations.finish()?;
        let profile = store::profile::lock(tx, organization_id, self.world.now()).await?;
        let payment = store::payment::of_invoice(tx, organization_id, invoice).await?;
        let payment = payment.ok_or(Error::InvoiceNotFound)?;
        // A form for the simulator's money is none for real money, and the other way round.
        if payment.status != PaymentStatus::Pending || payment.test != self.options.test() {
            return Err(Error::InvoiceNotOpen);
        }
        let plan = store::plan::get(tx, &payment.plan_id).await?.ok_or(db::Error::NotFound)?;
        let price = Money::new(payment.amount_minor, payment.currency);
        let order = Order { plan, cycle: payment.billing_cycle, price, urls };
        self.checkout(&order, &payment, &profile)
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

    fn buyer_urls(&self, command: &CreateCheckout) -> (BuyerUrls, Violations) {
        let mut violations = Violations::new();
        let return_url = self.buyer_url(&mut violations, "return_url", &command.return_url);
        let cancel_url = self.buyer_url(&mut violations, "cancel_url", &command.cancel_url);
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

    /// Writes the open invoice and the pending payment.
    async fn open(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        order: &Order,
        profile: &BillingProfile,
    ) -> Result<Payment, Error> {
        let now = self.world.now();
        let invoice = self.invoice(order, profile)?;
        store::invoice::insert(tx, &invoice).await?;
        let line = InvoiceLine {
            invoice_id: invoice.id,
            position: 1,
            description: order.description(),
            quantity: 1,
            unit_minor: order.price.minor,
            total_minor: order.price.minor,
            plan_id: order.plan.id.clone(),
            billing_cycle: order.cycle,
            period_start: None,
            period_end: None,
        };
        store::invoice::insert_line(tx, invoice.organization_id, &line).await?;
        let payment = Payment {
            id: self.world.id(),
            organization_id: invoice.organization_id,
            account_id: caller.account,
            invoice_id: invoice.id,
            provider: Provider::Payfast,
            status: PaymentStatus::Pending,
            plan_id: order.plan.id.clone(),
            billing_cycle: order.cycle,
            currency: order.price.currency,
            amount_minor: order.price.minor,
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

    fn invoice(&self, order: &Order, profile: &BillingProfile) -> Result<Invoice, Error> {
        let supplier = &self.options.supplier;
        Ok(Invoice {
            id: self.world.id(),
            organization_id: profile.organization_id,
            number: None,
            status: InvoiceStatus::Open,
            currency: order.price.currency,
            total_minor: order.price.minor,
            tax_minor: model::tax_included(order.price).map_err(Error::internal)?.minor,
            tax_rate_bp: VAT_PERCENT.saturating_mul(100),
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
        })
    }

    /// The form that the buyer's browser posts, in PayFast's order, the signature last.
    fn checkout(
        &self,
        order: &Order,
        payment: &Payment,
        profile: &BillingProfile,
    ) -> Result<Checkout, Error> {
        let name: String = profile.name.chars().take(BUYER_CHARS_MAX).collect();
        let form = Builder::new(&self.options.merchant_id, &self.options.merchant_key)
            .put("return_url", &order.urls.return_url)
            .put("cancel_url", &order.urls.cancel_url)
            .put("notify_url", &self.options.notify_url())
            // The buyer can type them where PayFast would not take ours.
            .offer("name_first", &name)
            .offer("email_address", &profile.email)
            .put("m_payment_id", &payment.id.to_string())
            .amount(Money::new(payment.amount_minor, payment.currency))
            .put("item_name", &format!("CapeControl {}", order.plan.name))
            .put("item_description", &order.description());
        let signed = form.finish(self.options.passphrase()).map_err(Error::internal)?;
        let signature = (SIGNATURE_FIELD.to_owned(), signed.signature);
        let fields = signed.fields.into_iter().chain([signature]);
        Ok(Checkout {
            payment_id: payment.id,
            invoice_id: payment.invoice_id,
            action_url: self.options.process_url(),
            fields: fields.map(|(name, value)| FormField { name, value }).collect(),
        })
    }
}

fn started(caller: &Caller, organization: OrganizationId, payment: PaymentId) -> Entry {
    caller.entry("payments.create_checkout").of(organization).on("payment", payment)
}

/// A wish that was checked.
struct Order {
    plan: Plan,
    cycle: Cycle,
    price: Money,
    urls: BuyerUrls,
}

/// Where the buyer's browser goes afterwards.
struct BuyerUrls {
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
