//! `POST /payfast/itn`: PayFast's notifications.
//!
//! The body is taken as raw bytes: a form extractor would decode it, and what is decoded can no longer be verified. The
//! answer is 200 `OK` whatever the verdict, once it is stored; PayFast sends again whatever is answered otherwise.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode, header};

use crate::auth::Origin;
use crate::payments::Service;
use crate::payments::payfast::itn::BODY_BYTES_MAX;
use crate::payments::service::{Incoming, Receipt};

/// How long a body may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(20);
/// The longest header value that is kept, in bytes.
const HEADER_BYTES_MAX: usize = 256;
/// The headers that may help whoever looks into a notification.
const HEADERS_KEPT: [header::HeaderName; 4] =
    [header::CONTENT_TYPE, header::USER_AGENT, header::HOST, header::REFERER];

/// The route.
pub fn routes(service: Arc<Service>) -> Router {
    Router::new().route("/payfast/itn", post(itn)).with_state(service)
}

async fn itn(
    State(service): State<Arc<Service>>,
    origin: Option<Extension<Origin>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let peer = origin.and_then(|Extension(origin)| origin.peer);
    let incoming = Incoming { body: body.to_vec(), peer, headers: kept(&headers) };
    match service.receive(incoming).await {
        Ok(Receipt::Stored | Receipt::Repeated | Receipt::Quarantined) => {
            (StatusCode::OK, "OK").into_response()
        }
        Ok(Receipt::Throttled(wait)) => throttled(wait),
        Err(error) => {
            // PayFast sends it again; until then the money is only known there.
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, cause, "a notification could not be stored");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn throttled(wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(1);
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())]).into_response()
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let one = |name: header::HeaderName| {
        let value = headers.get(&name)?.as_bytes();
        let value = value.get(..HEADER_BYTES_MAX).unwrap_or(value);
        Some((name.to_string(), String::from_utf8_lossy(value).into_owned()))
    };
    HEADERS_KEPT.into_iter().filter_map(one).collect()
}
