//! The wire of this domain: requests in, answers out, nothing decided.

mod answer;
mod books;
mod inbox;
mod invoices;
mod methods;
mod reconciliation;
mod refund;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::base::{Violations, text};
use crate::proto::capecontrol::payments::v1 as wire;
use crate::rpc::{self, Exports, Pages, decode};

use super::model::listing::Place;
use super::model::period::Cycle;
use super::model::refund::Refunded;
use super::service::{CreateCheckout, Cursor, Item, ProfileChange, UpdateBillingProfile};
use super::{Error, Service};

rpc::status_from!(Error);

const LIST_PLANS: &str = "payments.ListPlans";
const LIST_INVOICES: &str = "payments.ListInvoices";
const LIST_CREDIT_NOTES: &str = "payments.ListCreditNotes";

/// The services `PaymentsService`, `InvoiceService`, `SubscriptionService` and `PaymentOperationsService`.
#[derive(Clone)]
pub struct Rpc {
    service: Arc<Service>,
    pages: Pages,
    exports: Exports,
}

impl Rpc {
    /// Serves `service`.
    #[must_use]
    pub const fn new(service: Arc<Service>, pages: Pages, exports: Exports) -> Self {
        Self { service, pages, exports }
    }
}

#[tonic::async_trait]
impl wire::payments_service_server::PaymentsService for Rpc {
    type ExportTransactionsStream = books::Chunks;

    async fn create_checkout(
        &self,
        request: Request<wire::CreateCheckoutRequest>,
    ) -> Result<Response<wire::CreateCheckoutResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        v.check(request.item.is_some(), "item", "must name what is bought");
        let item = match request.item {
            Some(wire::create_checkout_request::Item::Plan(plan)) => {
                Some(Item::Plan { cycle: cycle(&plan), plan_id: plan.plan_id })
            }
            Some(wire::create_checkout_request::Item::InvoiceId(id)) => {
                text::id(&mut v, "invoice_id", &id).map(Item::Invoice)
            }
            None => None,
        };
        let method = decode::optional_id(&mut v, "payment_method_id", &request.payment_method_id);
        v.finish()?;
        let item = item.unwrap_or_else(|| Item::Plan { plan_id: String::new(), cycle: None });
        let (return_url, cancel_url) = (request.return_url, request.cancel_url);
        let command =
            CreateCheckout { organization_id, item, return_url, cancel_url, payment_method_id: method };
        let checkout = self.service.create_checkout(&caller, command, key.as_deref()).await?;
        Ok(Response::new(answer::checkout(checkout)))
    }

    async fn cancel_payment(
        &self,
        request: Request<wire::CancelPaymentRequest>,
    ) -> Result<Response<wire::CancelPaymentResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("payment_id", &request.payment_id)?;
        let cancelled = self.service.cancel_payment(&caller, id, key.as_deref()).await?;
        let payment = answer::payment(cancelled, Refunded::default());
        Ok(Response::new(wire::CancelPaymentResponse { payment: Some(payment) }))
    }

    async fn refund_payment(
        &self,
        request: Request<wire::RefundPaymentRequest>,
    ) -> Result<Response<wire::RefundPaymentResponse>, Status> {
        self.propose_refund(request).await
    }

    async fn approve_refund(
        &self,
        request: Request<wire::ApproveRefundRequest>,
    ) -> Result<Response<wire::ApproveRefundResponse>, Status> {
        self.decide_refund(request).await
    }

    async fn get_refund(
        &self,
        request: Request<wire::GetRefundRequest>,
    ) -> Result<Response<wire::GetRefundResponse>, Status> {
        self.refund(request).await
    }

    async fn list_refunds(
        &self,
        request: Request<wire::ListRefundsRequest>,
    ) -> Result<Response<wire::ListRefundsResponse>, Status> {
        self.refunds(request).await
    }

    async fn get_payment(
        &self,
        request: Request<wire::GetPaymentRequest>,
    ) -> Result<Response<wire::GetPaymentResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = decode::only_id("payment_id", &request.payment_id)?;
        let found = self.service.get_payment_with_refunds(&caller, id).await?;
        let chargebacks = self.service.chargebacks(&found.payment).await?;
        let chargebacks = chargebacks.into_iter().map(reconciliation::chargeback).collect();
        let payment = wire::Payment { chargebacks, ..answer::payment(found.payment, found.refunded) };
        Ok(Response::new(wire::GetPaymentResponse { payment: Some(payment) }))
    }

    async fn list_payments(
        &self,
        request: Request<wire::ListPaymentsRequest>,
    ) -> Result<Response<wire::ListPaymentsResponse>, Status> {
        self.payments_page(request).await
    }

    async fn list_transactions(
        &self,
        request: Request<wire::ListTransactionsRequest>,
    ) -> Result<Response<wire::ListTransactionsResponse>, Status> {
        self.transactions_page(request).await
    }

    async fn export_transactions(
        &self,
        request: Request<wire::ExportTransactionsRequest>,
    ) -> Result<Response<Self::ExportTransactionsStream>, Status> {
        self.transactions_table(request).await
    }

    async fn get_payment_report(
        &self,
        request: Request<wire::GetPaymentReportRequest>,
    ) -> Result<Response<wire::GetPaymentReportResponse>, Status> {
        self.report(request).await
    }

    async fn list_payment_methods(
        &self,
        request: Request<wire::ListPaymentMethodsRequest>,
    ) -> Result<Response<wire::ListPaymentMethodsResponse>, Status> {
        self.methods_page(request).await
    }

    async fn create_payment_method(
        &self,
        request: Request<wire::CreatePaymentMethodRequest>,
    ) -> Result<Response<wire::CreatePaymentMethodResponse>, Status> {
        self.store_method(request).await
    }

    async fn update_payment_method(
        &self,
        request: Request<wire::UpdatePaymentMethodRequest>,
    ) -> Result<Response<wire::UpdatePaymentMethodResponse>, Status> {
        self.change_method(request).await
    }

    async fn delete_payment_method(
        &self,
        request: Request<wire::DeletePaymentMethodRequest>,
    ) -> Result<Response<wire::DeletePaymentMethodResponse>, Status> {
        self.remove_method(request).await
    }

    async fn get_billing_profile(
        &self,
        request: Request<wire::GetBillingProfileRequest>,
    ) -> Result<Response<wire::GetBillingProfileResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        v.finish()?;
        let found = self.service.get_billing_profile(&caller, organization_id).await?;
        Ok(Response::new(wire::GetBillingProfileResponse { billing_profile: Some(answer::profile(found)) }))
    }

    async fn update_billing_profile(
        &self,
        request: Request<wire::UpdateBillingProfileRequest>,
    ) -> Result<Response<wire::UpdateBillingProfileResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = update(request)?;
        let updated = self.service.update_billing_profile(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::UpdateBillingProfileResponse {
            billing_profile: Some(answer::profile(updated)),
        }))
    }
}

#[tonic::async_trait]
impl wire::invoice_service_server::InvoiceService for Rpc {
    async fn get_invoice(
        &self,
        request: Request<wire::GetInvoiceRequest>,
    ) -> Result<Response<wire::GetInvoiceResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = decode::only_id("invoice_id", &request.invoice_id)?;
        let found = self.service.get_invoice(&caller, id).await?;
        Ok(Response::new(wire::GetInvoiceResponse { invoice: Some(answer::invoice(found)) }))
    }

    async fn list_invoices(
        &self,
        request: Request<wire::ListInvoicesRequest>,
    ) -> Result<Response<wire::ListInvoicesResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        let listing = invoices::listing(&mut v, &request);
        v.finish()?;
        let question = (organization_id.map(|id| id.to_string()), &listing);
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<Place>(&caller, LIST_INVOICES, &question, size, &token)?;
        let (after, limit) = (page.after.clone(), page.probe());
        let mut rows = self.service.list_invoices(&caller, organization_id, &listing, after, limit).await?;
        let next = self.pages.cut(&caller, LIST_INVOICES, &question, page.size, &mut rows, |row| {
            listing.order.place(&row.invoice)
        });
        Ok(Response::new(wire::ListInvoicesResponse {
            invoices: rows.into_iter().map(answer::invoice).collect(),
            next_page_token: next,
        }))
    }

    async fn create_invoice(
        &self,
        request: Request<wire::CreateInvoiceRequest>,
    ) -> Result<Response<wire::CreateInvoiceResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = invoices::create(request)?;
        let made = self.service.create_invoice(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::CreateInvoiceResponse { invoice: Some(answer::invoice(made)) }))
    }

    async fn finalize_invoice(
        &self,
        request: Request<wire::FinalizeInvoiceRequest>,
    ) -> Result<Response<wire::FinalizeInvoiceResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("invoice_id", &request.invoice_id)?;
        let issued = self.service.finalize_invoice(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::FinalizeInvoiceResponse { invoice: Some(answer::invoice(issued)) }))
    }

    async fn void_invoice(
        &self,
        request: Request<wire::VoidInvoiceRequest>,
    ) -> Result<Response<wire::VoidInvoiceResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("invoice_id", &request.invoice_id)?;
        let lost = request.uncollectible;
        let given_up = self.service.void_invoice(&caller, id, lost, key.as_deref()).await?;
        Ok(Response::new(wire::VoidInvoiceResponse { invoice: Some(answer::invoice(given_up)) }))
    }

    async fn create_credit_note(
        &self,
        request: Request<wire::CreateCreditNoteRequest>,
    ) -> Result<Response<wire::CreateCreditNoteResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = invoices::credit(request)?;
        let note = self.service.create_credit_note(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::CreateCreditNoteResponse { credit_note: Some(invoices::credit_note(note)) }))
    }

    async fn get_invoice_document(
        &self,
        request: Request<wire::GetInvoiceDocumentRequest>,
    ) -> Result<Response<wire::GetInvoiceDocumentResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let subject = invoices::subject(&request)?;
        let drawn = self.service.get_document(&caller, subject).await?;
        Ok(Response::new(invoices::document(drawn)))
    }

    async fn get_credit_note(
        &self,
        request: Request<wire::GetCreditNoteRequest>,
    ) -> Result<Response<wire::GetCreditNoteResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = decode::only_id("credit_note_id", &request.credit_note_id)?;
        let note = self.service.get_credit_note(&caller, id).await?;
        Ok(Response::new(wire::GetCreditNoteResponse { credit_note: Some(invoices::credit_note(note)) }))
    }

    async fn list_credit_notes(
        &self,
        request: Request<wire::ListCreditNotesRequest>,
    ) -> Result<Response<wire::ListCreditNotesResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        let invoice_id = decode::optional_id(&mut v, "invoice_id", &request.invoice_id);
        v.finish()?;
        let question = (&request.organization_id, &request.invoice_id);
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<Cursor>(&caller, LIST_CREDIT_NOTES, &question, size, token)?;
        let (after, limit) = (page.after, page.probe());
        let mut rows =
            self.service.list_credit_notes(&caller, organization_id, invoice_id, after, limit).await?;
        let next = self.pages.cut(&caller, LIST_CREDIT_NOTES, &question, page.size, &mut rows, |row| {
            Cursor { at: row.issued_at, id: row.id.uuid() }
        });
        Ok(Response::new(wire::ListCreditNotesResponse {
            credit_notes: rows.into_iter().map(invoices::credit_note).collect(),
            next_page_token: next,
        }))
    }
}

#[tonic::async_trait]
impl wire::subscription_service_server::SubscriptionService for Rpc {
    async fn list_plans(
        &self,
        request: Request<wire::ListPlansRequest>,
    ) -> Result<Response<wire::ListPlansResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<i64>(&caller, LIST_PLANS, &(), size, &token)?;
        let mut rows = self.service.list_plans(page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_PLANS, &(), page.size, &mut rows, |row| row.position);
        Ok(Response::new(wire::ListPlansResponse {
            plans: rows.into_iter().map(answer::plan).collect(),
            next_page_token: next,
        }))
    }

    async fn get_subscription(
        &self,
        request: Request<wire::GetSubscriptionRequest>,
    ) -> Result<Response<wire::GetSubscriptionResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        v.finish()?;
        let found = self.service.get_subscription(&caller, organization_id).await?;
        Ok(Response::new(wire::GetSubscriptionResponse { subscription: Some(answer::subscription(found)) }))
    }
}

#[tonic::async_trait]
impl wire::payment_operations_service_server::PaymentOperationsService for Rpc {
    async fn list_provider_events(
        &self,
        request: Request<wire::ListProviderEventsRequest>,
    ) -> Result<Response<wire::ListProviderEventsResponse>, Status> {
        self.provider_events(request).await
    }

    async fn get_provider_event(
        &self,
        request: Request<wire::GetProviderEventRequest>,
    ) -> Result<Response<wire::GetProviderEventResponse>, Status> {
        self.provider_event(request).await
    }

    async fn replay_provider_event(
        &self,
        request: Request<wire::ReplayProviderEventRequest>,
    ) -> Result<Response<wire::ReplayProviderEventResponse>, Status> {
        self.replay(request).await
    }

    async fn get_provider_status(
        &self,
        request: Request<wire::GetProviderStatusRequest>,
    ) -> Result<Response<wire::GetProviderStatusResponse>, Status> {
        self.provider_status(request).await
    }

    async fn verify_ledger(
        &self,
        request: Request<wire::VerifyLedgerRequest>,
    ) -> Result<Response<wire::VerifyLedgerResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let known = decode::known(&mut v, request.known_position, &request.known_hash);
        v.finish()?;
        let report = self.service.ledger().verify(&caller, known).await?;
        Ok(Response::new(answer::report(report)))
    }

    async fn run_reconciliation(
        &self,
        request: Request<wire::RunReconciliationRequest>,
    ) -> Result<Response<wire::RunReconciliationResponse>, Status> {
        self.reconcile(request).await
    }

    async fn list_reconciliations(
        &self,
        request: Request<wire::ListReconciliationsRequest>,
    ) -> Result<Response<wire::ListReconciliationsResponse>, Status> {
        self.runs(request).await
    }

    async fn list_differences(
        &self,
        request: Request<wire::ListDifferencesRequest>,
    ) -> Result<Response<wire::ListDifferencesResponse>, Status> {
        self.differences(request).await
    }

    async fn explain_difference(
        &self,
        request: Request<wire::ExplainDifferenceRequest>,
    ) -> Result<Response<wire::ExplainDifferenceResponse>, Status> {
        self.explain(request).await
    }

    async fn set_checkout_switch(
        &self,
        request: Request<wire::SetCheckoutSwitchRequest>,
    ) -> Result<Response<wire::SetCheckoutSwitchResponse>, Status> {
        self.switch(request).await
    }
}

fn cycle(plan: &wire::PlanItem) -> Option<Cycle> {
    match plan.billing_cycle() {
        wire::BillingCycle::Monthly => Some(Cycle::Monthly),
        wire::BillingCycle::Yearly => Some(Cycle::Yearly),
        wire::BillingCycle::Unspecified => None,
    }
}

/// Reads a change of a billing profile: which fields, and which version was read.
fn update(request: wire::UpdateBillingProfileRequest) -> Result<UpdateBillingProfile, Violations> {
    let mut v = Violations::new();
    let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
    let version = match request.etag.as_str() {
        "" => None,
        // An etag that is none of ours is of no version.
        etag => Some(etag.parse().unwrap_or(-1)),
    };
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    v.check(request.billing_profile.is_some(), "billing_profile", "must not be empty");
    let profile = request.billing_profile.unwrap_or_default();
    let mut change = ProfileChange::default();
    let every = ["name", "email", "vat_number", "address", "country"];
    let named: Vec<&str> =
        if paths.is_empty() { every.to_vec() } else { paths.iter().map(String::as_str).collect() };
    for path in named {
        match path {
            "name" => change.name = Some(profile.name.clone()),
            "email" => change.email = Some(profile.email.clone()),
            "vat_number" => change.vat_number = Some(profile.vat_number.clone()),
            "address" => change.address = Some(profile.address.clone()),
            "country" => change.country = Some(profile.country.clone()),
            _ => v.add("update_mask", "must name only name, email, vat_number, address or country"),
        }
    }
    v.finish().map(|()| UpdateBillingProfile { organization_id, change, version })
}
