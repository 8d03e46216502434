//! The shim beside gRPC: what plain HTTP asks for on the same port. Health, keys, files, the provider's callbacks and
//! the simulator's pages; whatever is decided is decided in a domain's service.

pub mod attachments;
pub mod payfast;
pub mod simulator;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::sync::watch;

use crate::auth;
use crate::bus::Bus;
use crate::chat;
use crate::jobs::Worker;
use crate::mail::Postman;
use crate::payments::Ledger;
use crate::rpc::metrics::Metrics;

/// How long the counters wait for those of the queue.
const CENSUS_MAX: Duration = Duration::from_millis(250);

/// What the routes that every node has need to know.
#[derive(Clone)]
pub struct Platform {
    /// For the public signing keys.
    pub auth: Arc<auth::Service>,
    /// Whether the node can serve.
    pub ready: watch::Receiver<bool>,
}

/// Liveness, readiness, version and the public signing keys.
pub fn platform(platform: Platform) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/alive", get(alive))
        .route("/readyz", get(ready))
        .route("/api/health", get(ready))
        .route("/api/version", get(version))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(platform)
}

/// What is counted.
#[derive(Clone)]
pub struct Counted {
    /// Calls.
    pub metrics: Metrics,
    /// Jobs.
    pub worker: Worker,
    /// Letters.
    pub postman: Arc<Postman>,
    /// The books.
    pub ledger: Ledger,
    /// Signals between nodes.
    pub bus: Arc<dyn Bus>,
    /// Files that go with messages.
    pub chat: Arc<chat::Service>,
}

/// What operators' tools ask for, on a port of its own.
pub fn operations(counted: Counted, platform: Platform) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(platform)
        .merge(Router::new().route("/metrics", get(encode_metrics)).with_state(counted))
}

/// Answers what no route knows: to gRPC clients in their way, to others with 404.
pub async fn unknown(request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind.starts_with(b"application/grpc") {
        return crate::rpc::status::no_such_service();
    }
    (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no such address" }))).into_response()
}

async fn alive() -> &'static str {
    "ok"
}

async fn ready(State(platform): State<Platform>) -> Response {
    if *platform.ready.borrow() {
        Json(json!({ "status": "ready" })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready" }))).into_response()
    }
}

async fn version() -> Response {
    Json(json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") })).into_response()
}

async fn jwks(State(platform): State<Platform>) -> Response {
    // Keys change seldom, and the next one is published ahead.
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(platform.auth.jwks())).into_response()
}

async fn encode_metrics(State(counted): State<Counted>) -> Response {
    let Counted { metrics, worker, postman, ledger, bus, chat } = counted;
    metrics.set_letters(&postman.tally());
    metrics.set_bus(&bus.tally());
    metrics.set_files(&chat.tally_files());
    // The queue and the ledger are read when they are asked for. Without the database, or while everybody waits for it,
    // the other counters are worth having still, and then most of all.
    let (census, standing) = tokio::join!(
        tokio::time::timeout(CENSUS_MAX, worker.census()),
        tokio::time::timeout(CENSUS_MAX, ledger.standing())
    );
    match census.unwrap_or(Err(crate::db::Error::Timeout)) {
        Ok(census) => census.into_iter().for_each(|(state, count)| metrics.set_jobs(state.as_str(), count)),
        Err(error) => tracing::warn!(error = %error.chain(), "the job queue cannot be counted"),
    }
    match standing.unwrap_or(Err(crate::db::Error::Timeout)) {
        Ok(standing) => metrics.set_ledger(&standing),
        Err(error) => tracing::warn!(error = %error.chain(), "the ledger's state cannot be read"),
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
}
