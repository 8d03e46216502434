//! `/simulator/payfast/…`: the built-in PayFast's pages, its confirmation, its API, and the switches of its faults. Only
//! mounted in simulator mode.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::{Timestamp, Violations};
use crate::db;
use crate::payments::payfast::itn::BODY_BYTES_MAX;
use crate::payments::payfast::verdict::amount_text;
use crate::payments::simulator::api::{Asked, HEADERS};
use crate::payments::simulator::faults::{Fault, Plan};
use crate::payments::simulator::{Rejection, Says, Simulator, page};
use crate::payments::store::simulator::Delivery;

/// What the pages may load and do: post their own form, and nothing else. Without `form-action`, because the answer to
/// the form sends the browser on to the shop, which browsers would count.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/// The routes.
pub fn routes(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/simulator/payfast/eng/process", post(process))
        .route("/simulator/payfast/eng/pay", post(pay))
        .route("/simulator/payfast/eng/query/validate", post(validate))
        .route("/simulator/payfast/api/{*path}", any(api))
        .route("/simulator/payfast/subscriptions/{token}/renew", post(renew))
        .route("/simulator/payfast/faults", get(faults).put(put_faults).delete(clear_faults))
        .route("/simulator/payfast/deliveries", get(deliveries))
        .with_state(simulator)
}

async fn process(State(simulator): State<Arc<Simulator>>, body: Body) -> Response {
    match read(body).await.and_then(|form| simulator.page(&form)) {
        Ok(page) => html(StatusCode::OK, page),
        Err(rejection) => rejected(&rejection),
    }
}

async fn pay(State(simulator): State<Arc<Simulator>>, body: Body) -> Response {
    let form = match read(body).await {
        Ok(form) => form,
        Err(rejection) => return rejected(&rejection),
    };
    match simulator.press(&form).await {
        Ok(destination) => (StatusCode::SEE_OTHER, [(header::LOCATION, destination)]).into_response(),
        Err(rejection) => rejected(&rejection),
    }
}

async fn validate(State(simulator): State<Arc<Simulator>>, body: Body) -> Response {
    let Ok(form) = read(body).await else { return "INVALID".into_response() };
    let confirmed = simulator.confirm(&form).await;
    // Whoever asked may give up meanwhile; then this ends with the connection.
    tokio::time::sleep(confirmed.after).await;
    match confirmed.says {
        Says::Valid => "VALID".into_response(),
        Says::Invalid => "INVALID".into_response(),
        Says::Down => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn api(
    State(simulator): State<Arc<Simulator>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = read(body).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let header_of = |name: &'static str| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name, value.to_owned()))
    };
    let headers: BTreeMap<_, _> = HEADERS.into_iter().filter_map(header_of).collect();
    let (method, query) = (parts.method.as_str(), parts.uri.query().unwrap_or_default());
    let reply = simulator.api(&Asked { method, path: &path, query, headers, body: &body }).await;
    // Whoever asked may give up meanwhile; then this ends with the connection.
    tokio::time::sleep(reply.after).await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, reply.content_type)], reply.body).into_response()
}

async fn renew(State(simulator): State<Arc<Simulator>>, Path(token): Path<String>) -> Response {
    match simulator.renew(&token).await {
        Ok(Some(told)) => Json(told).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(rejection) => rejected(&rejection),
    }
}

async fn faults(State(simulator): State<Arc<Simulator>>) -> Response {
    match simulator.plan().await {
        Ok(Some((plan, payments, since))) => {
            Json(json!({ "faults": plan, "payments": payments, "since": since.to_rfc3339() })).into_response()
        }
        Ok(None) => Json(json!({ "faults": null })).into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn put_faults(State(simulator): State<Arc<Simulator>>, body: Body) -> Response {
    let Ok(json) = read(body).await else { return refused(&Violations::one("body", "is too large")) };
    let plan = match Plan::read(&json) {
        Ok(plan) => plan,
        Err(violations) => return refused(&violations),
    };
    match simulator.put_plan(&plan).await {
        Ok(()) => faults(State(simulator)).await,
        Err(error) => unavailable(&error),
    }
}

async fn clear_faults(State(simulator): State<Arc<Simulator>>) -> Response {
    match simulator.clear_plan().await {
        Ok(()) => faults(State(simulator)).await,
        Err(error) => unavailable(&error),
    }
}

/// Which deliveries are asked for.
#[derive(Deserialize)]
struct Wanted {
    payment_id: Option<String>,
}

async fn deliveries(State(simulator): State<Arc<Simulator>>, Query(wanted): Query<Wanted>) -> Response {
    match simulator.deliveries(wanted.payment_id.as_deref()).await {
        Ok(deliveries) => {
            let deliveries: Vec<Value> = deliveries.iter().map(delivery).collect();
            Json(json!({ "deliveries": deliveries })).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

fn delivery(delivery: &Delivery) -> Value {
    let fate = &delivery.fate.0;
    json!({
        "payment_id": delivery.payment_reference,
        "pf_payment_id": delivery.provider_payment_id,
        "payment_status": delivery.payment_status,
        "amount_gross": amount_text(delivery.amount_minor),
        "payment": fate.payment,
        "faults": fate.faults,
        "due": if fate.has(Fault::Never) { None } else { Some(delivery.due_at.to_rfc3339()) },
        "sends": delivery.sends,
        "last_sent": delivery.sent_at.map(Timestamp::to_rfc3339),
        "last_answer": delivery.answer,
        "confirmations": delivery.confirmations,
    })
}

fn refused(violations: &Violations) -> Response {
    let violations: Vec<Value> = violations
        .as_slice()
        .iter()
        .map(|wrong| json!({ "field": wrong.field, "description": wrong.description }))
        .collect();
    (StatusCode::BAD_REQUEST, Json(json!({ "violations": violations }))).into_response()
}

fn unavailable(error: &db::Error) -> Response {
    tracing::error!(error = %error.chain(), "the simulator could not reach its database");
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": Rejection::Database.to_string() })))
        .into_response()
}

async fn read(body: Body) -> Result<Vec<u8>, Rejection> {
    to_bytes(body, BODY_BYTES_MAX).await.map(|bytes| bytes.to_vec()).map_err(|_| Rejection::Unreadable)
}

fn rejected(rejection: &Rejection) -> Response {
    let status = match rejection {
        Rejection::Database => StatusCode::SERVICE_UNAVAILABLE,
        Rejection::Unreadable | Rejection::Field(_) | Rejection::Signature => StatusCode::BAD_REQUEST,
    };
    html(status, page::rejection(rejection))
}

fn html(status: StatusCode, page: String) -> Response {
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::X_FRAME_OPTIONS, "DENY")];
    (status, headers, Html(page)).into_response()
}
