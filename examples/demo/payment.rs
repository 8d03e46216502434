//! Buying the Pro plan: checkout, PayFast's page, the notification, and what was bought.

use std::time::Duration;

use capecontrol::proto::capecontrol::payments::v1::create_checkout_request::Item;
use capecontrol::proto::capecontrol::payments::v1::invoice_service_client::InvoiceServiceClient;
use capecontrol::proto::capecontrol::payments::v1::payments_service_client::PaymentsServiceClient;
use capecontrol::proto::capecontrol::payments::v1::subscription_service_client::SubscriptionServiceClient;
use capecontrol::proto::capecontrol::payments::v1::{
    BillingCycle, CreateCheckoutRequest, CreateCheckoutResponse, GetInvoiceRequest, GetPaymentRequest,
    GetSubscriptionRequest, InvoiceStatus, ListPlansRequest, Payment, PaymentStatus, PlanItem,
    SubscriptionStatus,
};
use capecontrol::proto::google::r#type::Money;

use crate::browser::Browser;
use crate::customer::{Customer, uuid_of_now};
use crate::platform::{PATIENCE, Platform};
use crate::{Failure, step, verify};

pub(crate) async fn buy_pro(platform: &Platform, customer: &Customer) -> Result<Payment, Failure> {
    open_plans(platform).await?;
    let checkout = check_out(customer).await?;
    pay(&checkout).await?;
    step(6, "Wait until the notification took effect");
    let payment = settled(customer, &checkout.payment_id).await?;
    let amount = text(payment.amount.as_ref());
    verify(amount == "ZAR 529.00", "exactly the price of the plan was paid")?;
    invoice(customer, &checkout.invoice_id).await?;
    subscription(customer).await?;
    Ok(payment)
}

async fn open_plans(platform: &Platform) -> Result<(), Failure> {
    step(3, "Open the plans, without a token");
    let mut subscriptions = SubscriptionServiceClient::new(platform.channel.clone());
    let plans = subscriptions.list_plans(ListPlansRequest::default()).await?.into_inner().plans;
    for plan in &plans {
        let (monthly, yearly) = (text(plan.monthly_price.as_ref()), text(plan.yearly_price.as_ref()));
        println!("     {:<12} {monthly:>12} a month {yearly:>13} a year", plan.name);
    }
    verify(plans.len() == 3, "there are three plans to choose from")
}

async fn check_out(customer: &Customer) -> Result<CreateCheckoutResponse, Failure> {
    step(4, "Check out the Pro plan, a month at a time");
    let request = order("pro");
    let mut payments = PaymentsServiceClient::new(customer.signed());
    let checkout = payments.create_checkout(request.clone()).await?.into_inner();
    println!("     payment {}, form for {}", checkout.payment_id, checkout.action_url);
    for field in &checkout.fields {
        println!("       {:<16} {}", field.name, field.value);
    }
    let again = payments.create_checkout(request).await?.into_inner();
    verify(again == checkout, "the same request again gets the same checkout, not a second one")?;
    Ok(checkout)
}

/// A month of a plan.
pub(crate) fn order(plan_id: &str) -> CreateCheckoutRequest {
    CreateCheckoutRequest {
        request_id: uuid_of_now().to_string(),
        item: Some(Item::Plan(PlanItem {
            plan_id: plan_id.to_owned(),
            billing_cycle: BillingCycle::Monthly.into(),
        })),
        ..CreateCheckoutRequest::default()
    }
}

async fn pay(checkout: &CreateCheckoutResponse) -> Result<(), Failure> {
    step(5, "Go to PayFast's page with a browser, and press Pay");
    let (title, back) = press_pay(checkout).await?;
    verify(title.contains("TEST"), format_args!("PayFast's page opened: “{title}”"))?;
    println!("     PayFast notified the platform, and the browser was sent back to {back}");
    Ok(())
}

/// Opens PayFast's page and presses Pay; tells the page's title and where the browser is sent.
pub(crate) async fn press_pay(checkout: &CreateCheckoutResponse) -> Result<(String, String), Failure> {
    let browser = Browser::new()?;
    let fields: Vec<_> =
        checkout.fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
    let page = browser.post(&checkout.action_url, &fields).await?;
    let back = browser.press(&page, "pay").await?;
    Ok((page.title, back))
}

pub(crate) async fn payment(customer: &Customer, payment_id: &str) -> Result<Payment, Failure> {
    let request = GetPaymentRequest { payment_id: payment_id.to_owned() };
    let answer = PaymentsServiceClient::new(customer.signed()).get_payment(request).await?;
    Ok(answer.into_inner().payment.unwrap_or_default())
}

/// The notification was answered before it took effect, which a job does.
async fn settled(customer: &Customer, payment_id: &str) -> Result<Payment, Failure> {
    let settled = async {
        loop {
            let payment = payment(customer, payment_id).await?;
            if payment.status() != PaymentStatus::Created {
                return Ok::<_, Failure>(payment);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let payment = tokio::time::timeout(PATIENCE, settled).await??;
    let (amount, fee) = (text(payment.amount.as_ref()), text(payment.fee.as_ref()));
    println!("     PayFast's number {}, {amount}, of which PayFast keeps {fee}", payment.provider_payment_id);
    verify(payment.status() == PaymentStatus::Succeeded, "the payment succeeded")?;
    Ok(payment)
}

async fn invoice(customer: &Customer, invoice_id: &str) -> Result<(), Failure> {
    let request = GetInvoiceRequest { invoice_id: invoice_id.to_owned() };
    let invoice =
        InvoiceServiceClient::new(customer.signed()).get_invoice(request).await?.into_inner().invoice;
    let invoice = invoice.unwrap_or_default();
    let (total, tax) = (text(invoice.total.as_ref()), text(invoice.tax.as_ref()));
    println!("     invoice {}: {total}, of which VAT {tax}", invoice.number);
    verify(
        invoice.status() == InvoiceStatus::Paid && !invoice.number.is_empty(),
        "the invoice is paid and numbered",
    )?;
    verify(tax == "ZAR 69.00", "it contains VAT of 15/115")
}

async fn subscription(customer: &Customer) -> Result<(), Failure> {
    let mut subscriptions = SubscriptionServiceClient::new(customer.signed());
    let answer = subscriptions.get_subscription(GetSubscriptionRequest::default()).await?;
    let subscription = answer.into_inner().subscription.unwrap_or_default();
    let plan = subscription.plan.clone().unwrap_or_default();
    let date = |at: Option<prost_types::Timestamp>| {
        capecontrol::base::Timestamp::from_seconds(at.unwrap_or_default().seconds).to_utc()
    };
    let (start, end) =
        (date(subscription.current_period_start_time), date(subscription.current_period_end_time));
    println!("     {} from {} to {}", plan.name, start.date(), end.date());
    verify(
        subscription.status() == SubscriptionStatus::Active && plan.id == "pro",
        "the Pro subscription is active",
    )?;
    let next_month = start.month().next();
    // The 31st of a month is followed by the last day of the next.
    verify(
        end.month() == next_month && end.day() <= start.day() && end.time() == start.time(),
        "its period is one calendar month",
    )
}

pub(crate) fn text(money: Option<&Money>) -> String {
    let Some(money) = money else { return "-".to_owned() };
    let sign = if money.units < 0 || money.nanos < 0 { "-" } else { "" };
    let (units, cents) = (money.units.unsigned_abs(), money.nanos.unsigned_abs() / 10_000_000);
    format!("{} {sign}{units}.{cents:02}", money.currency_code)
}
