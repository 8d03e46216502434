//! The wire of stored cards.

use tonic::{Request, Response, Status};

use super::{Rpc, answer};
use crate::base::Violations;
use crate::payments::model::method::CardExpiry;
use crate::payments::model::{PaymentMethod, PaymentMethodStatus};
use crate::payments::service::{CreatePaymentMethod, Cursor, MethodChange, MethodCheckout};
use crate::proto::capecontrol::payments::v1 as wire;
use crate::rpc::{self, decode, encode};

const LIST_PAYMENT_METHODS: &str = "payments.ListPaymentMethods";

impl Rpc {
    pub(super) async fn methods_page(
        &self,
        request: Request<wire::ListPaymentMethodsRequest>,
    ) -> Result<Response<wire::ListPaymentMethodsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        v.finish()?;
        let (size, token) = (request.page_size, &request.page_token);
        let question = &request.organization_id;
        let page = self.pages.open::<Cursor>(&caller, LIST_PAYMENT_METHODS, question, size, token)?;
        let (after, limit) = (page.after, page.probe());
        let mut rows = self.service.list_payment_methods(&caller, organization_id, after, limit).await?;
        let next = self.pages.cut(&caller, LIST_PAYMENT_METHODS, question, page.size, &mut rows, |row| {
            Cursor { at: row.created_at, id: row.id.uuid() }
        });
        Ok(Response::new(wire::ListPaymentMethodsResponse {
            payment_methods: rows.into_iter().map(method).collect(),
            next_page_token: next,
        }))
    }

    pub(super) async fn store_method(
        &self,
        request: Request<wire::CreatePaymentMethodRequest>,
    ) -> Result<Response<wire::CreatePaymentMethodResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        v.finish()?;
        let command = CreatePaymentMethod {
            organization_id,
            display_name: request.display_name,
            expiry: request.expiry.map(expiry),
            return_url: request.return_url,
            cancel_url: request.cancel_url,
        };
        let started = self.service.create_payment_method(&caller, command, key.as_deref()).await?;
        let MethodCheckout { method: stored, action_url, fields } = started;
        Ok(Response::new(wire::CreatePaymentMethodResponse {
            payment_method: Some(method(stored)),
            action_url,
            fields: answer::form(fields),
        }))
    }

    pub(super) async fn change_method(
        &self,
        request: Request<wire::UpdatePaymentMethodRequest>,
    ) -> Result<Response<wire::UpdatePaymentMethodResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut v = Violations::new();
        let id = decode::id(&mut v, "payment_method_id", &request.payment_method_id);
        let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let change = change(&mut v, request.payment_method, &paths);
        v.finish()?;
        let changed = self.service.update_payment_method(&caller, id, change, key.as_deref()).await?;
        Ok(Response::new(wire::UpdatePaymentMethodResponse { payment_method: Some(method(changed)) }))
    }

    pub(super) async fn remove_method(
        &self,
        request: Request<wire::DeletePaymentMethodRequest>,
    ) -> Result<Response<wire::DeletePaymentMethodResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("payment_method_id", &request.payment_method_id)?;
        self.service.delete_payment_method(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::DeletePaymentMethodResponse {}))
    }
}

/// Reads which fields change, and to what.
fn change(v: &mut Violations, wanted: Option<wire::PaymentMethod>, paths: &[String]) -> MethodChange {
    v.check(wanted.is_some(), "payment_method", "must not be empty");
    let wanted = wanted.unwrap_or_default();
    for path in paths {
        let known = matches!(path.as_str(), "display_name" | "expiry" | "is_default");
        v.check(known, "update_mask", "must name only display_name, expiry or is_default");
    }
    let named = |path: &str, filled: bool| {
        if paths.is_empty() { filled } else { paths.iter().any(|named| named == path) }
    };
    let (rename, expire) =
        (named("display_name", !wanted.display_name.is_empty()), named("expiry", wanted.expiry.is_some()));
    let prefer = named("is_default", wanted.is_default);
    v.check(!expire || wanted.expiry.is_some(), "payment_method.expiry", "must not be empty");
    let wrong = "must be true: prefer another payment method instead";
    v.check(!prefer || wanted.is_default, "payment_method.is_default", wrong);
    MethodChange {
        display_name: rename.then_some(wanted.display_name),
        expiry: wanted.expiry.filter(|_| expire).map(expiry),
        make_default: prefer,
    }
}

const fn expiry(expiry: wire::CardExpiry) -> CardExpiry {
    CardExpiry { year: expiry.year, month: expiry.month }
}

fn method(method: PaymentMethod) -> wire::PaymentMethod {
    let expiry = method.expires_at.map(CardExpiry::before);
    wire::PaymentMethod {
        id: method.id.to_string(),
        organization_id: method.organization_id.to_string(),
        status: status(method.status).into(),
        display_name: method.display_name,
        is_default: method.is_default,
        expiry: expiry.map(|CardExpiry { year, month }| wire::CardExpiry { year, month }),
        provider: method.provider.as_str().to_owned(),
        test: method.test,
        create_time: Some(encode::timestamp(method.created_at)),
        update_time: Some(encode::timestamp(method.updated_at)),
        activate_time: method.activated_at.map(encode::timestamp),
    }
}

const fn status(status: PaymentMethodStatus) -> wire::PaymentMethodStatus {
    match status {
        PaymentMethodStatus::Pending => wire::PaymentMethodStatus::Pending,
        PaymentMethodStatus::Active => wire::PaymentMethodStatus::Active,
        PaymentMethodStatus::Expired => wire::PaymentMethodStatus::Expired,
        // What is removed is never told.
        PaymentMethodStatus::Removed => wire::PaymentMethodStatus::Unspecified,
    }
}
