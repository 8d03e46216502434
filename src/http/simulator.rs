//! `/simulator/payfast/…`: the built-in PayFast's pages and its confirmation. Only mounted in simulator mode.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::post;
use http::{StatusCode, header};

use crate::payments::payfast::itn::BODY_BYTES_MAX;
use crate::payments::simulator::{Rejection, Simulator, page};

/// What the pages may load and do: post their own form, and nothing else. Without `form-action`, because the answer to
/// the form sends the browser on to the shop, which browsers would count.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/// The routes.
pub fn routes(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/simulator/payfast/eng/process", post(process))
        .route("/simulator/payfast/eng/pay", post(pay))
        .route("/simulator/payfast/eng/query/validate", post(validate))
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
    match read(body).await {
        Ok(form) if simulator.validate(&form) => "VALID".into_response(),
        _ => "INVALID".into_response(),
    }
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
