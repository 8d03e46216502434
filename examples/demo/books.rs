//! What operators do about money: look at the books, find a payment whose notification was lost, and give it back, the
//! two of them. At the end every cent at PayFast is a cent in the books.

use std::time::Duration;

use capecontrol::app::real;
use capecontrol::payments::model::figures::local_date;
use capecontrol::proto::capecontrol::payments::v1::payment_operations_service_client::PaymentOperationsServiceClient;
use capecontrol::proto::capecontrol::payments::v1::payments_service_client::PaymentsServiceClient;
use capecontrol::proto::capecontrol::payments::v1::refund_payment_request::Source;
use capecontrol::proto::capecontrol::payments::v1::{
    ApproveRefundRequest, CreateCheckoutResponse, GetRefundRequest, ListProviderEventsRequest, Payment,
    PaymentStatus, ProviderEventStatus, Reconciliation, Refund, RefundDecision, RefundPaymentRequest,
    RefundStatus, RunReconciliationRequest, VerifyLedgerRequest,
};

use crate::browser::Browser;
use crate::customer::{Customer, Signed};
use crate::payment::{order, payment, press_pay, text};
use crate::platform::{PATIENCE, Platform};
use crate::{Failure, step, verify};

pub(crate) async fn open_no_question(
    platform: &Platform,
    customer: &Customer,
    bought: &Payment,
) -> Result<(), Failure> {
    step(7, "Let the administrator look at the books");
    let Some(administrator) = Customer::administrator(platform).await? else {
        println!("     this database had an administrator before, whose password is not known here");
        return Ok(());
    };
    let mut operations = PaymentOperationsServiceClient::new(administrator.signed());
    let events = operations.list_provider_events(ListProviderEventsRequest::default()).await?.into_inner();
    let ours =
        events.provider_events.iter().find(|event| event.provider_payment_id == bought.provider_payment_id);
    verify(
        ours.is_some_and(|event| event.status() == ProviderEventStatus::Applied),
        "PayFast's notification is kept, and marked as applied",
    )?;
    balanced(&mut operations).await?;
    let lost = lose(platform, customer).await?;
    find(&mut operations, customer, &lost).await?;
    give_back(platform, &administrator, &lost).await?;
    let run = reconcile(&mut operations).await?;
    verify(run.repaired_count == 1, "a run more finds what PayFast takes for the refund, and books it")?;
    balanced(&mut operations).await
}

async fn balanced(operations: &mut PaymentOperationsServiceClient<Signed>) -> Result<(), Failure> {
    let ledger = operations.verify_ledger(VerifyLedgerRequest::default()).await?.into_inner();
    for balance in &ledger.balances {
        println!("     {:<28} {:>14}", balance.account, text(balance.balance.as_ref()));
    }
    let count = ledger.entry_count;
    verify(
        ledger.balanced && ledger.faults.is_empty(),
        format_args!("{count} ledger entries, which sum to zero"),
    )
}

/// Pays R5.00 while PayFast's simulator sends no notification.
async fn lose(platform: &Platform, customer: &Customer) -> Result<CreateCheckoutResponse, Failure> {
    step(8, "Pay while PayFast's notification gets lost, and hold its history against the books");
    let faults = format!("{}/simulator/payfast/faults", platform.url);
    let browser = Browser::new()?;
    browser.put(&faults, r#"{"seed": 1, "first": [["never"]]}"#).await?;
    let answer =
        PaymentsServiceClient::new(customer.signed()).create_checkout(order("live-verification")).await?;
    let checkout = answer.into_inner();
    press_pay(&checkout).await?;
    browser.delete(&faults).await?;
    let unheard = payment(customer, &checkout.payment_id).await?;
    verify(unheard.status() == PaymentStatus::Created, "the buyer paid, and the platform does not know")?;
    Ok(checkout)
}

async fn find(
    operations: &mut PaymentOperationsServiceClient<Signed>,
    customer: &Customer,
    lost: &CreateCheckoutResponse,
) -> Result<(), Failure> {
    let run = reconcile(operations).await?;
    verify(run.repaired_count == 1, "the payment was in PayFast's history, and was booked")?;
    let found = payment(customer, &lost.payment_id).await?;
    verify(found.status() == PaymentStatus::Succeeded, "it succeeded, as if PayFast had told of it")
}

/// Holds PayFast's history of today against the books.
async fn reconcile(
    operations: &mut PaymentOperationsServiceClient<Signed>,
) -> Result<Reconciliation, Failure> {
    let today = local_date(real::world().now()).to_string();
    let request = RunReconciliationRequest { from_date: today.clone(), to_date: today, ..Default::default() };
    let run = operations.run_reconciliation(request).await?.into_inner().reconciliation.unwrap_or_default();
    let (rows, matched, repaired) = (run.row_count, run.matched_count, run.repaired_count);
    println!("     {rows} rows of PayFast's history: {matched} matched, {repaired} repaired");
    let no_cent = run.difference.as_ref().is_some_and(|cents| cents.units == 0 && cents.nanos == 0);
    verify(run.open_count == 0 && no_cent, "PayFast's account and the books agree to the cent")?;
    Ok(run)
}

async fn give_back(
    platform: &Platform,
    administrator: &Customer,
    lost: &CreateCheckoutResponse,
) -> Result<(), Failure> {
    step(9, "Give the payment back, by the word of two administrators");
    let colleague = Customer::colleague(platform).await?;
    let mut first = PaymentsServiceClient::new(administrator.signed());
    let mut second = PaymentsServiceClient::new(colleague.signed());
    let request = RefundPaymentRequest {
        source: Some(Source::PaymentId(lost.payment_id.clone())),
        reason: "bought to see it come back".to_owned(),
        ..RefundPaymentRequest::default()
    };
    let proposed = first.refund_payment(request).await?.into_inner().refund.unwrap_or_default();
    let approval = ApproveRefundRequest {
        refund_id: proposed.id.clone(),
        decision: RefundDecision::Approve.into(),
        ..ApproveRefundRequest::default()
    };
    let alone = first.approve_refund(approval.clone()).await;
    verify(alone.is_err(), "whoever proposed it cannot approve it")?;
    second.approve_refund(approval).await?;
    let done = async {
        loop {
            let request = GetRefundRequest { refund_id: proposed.id.clone() };
            let refund = first.get_refund(request).await?.into_inner().refund.unwrap_or_default();
            if !matches!(refund.status(), RefundStatus::Approved | RefundStatus::Sent) {
                return Ok::<Refund, Failure>(refund);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let refund = tokio::time::timeout(PATIENCE, done).await??;
    verify(
        refund.status() == RefundStatus::Succeeded,
        format_args!("PayFast gave {} back", text(refund.amount.as_ref())),
    )
}
