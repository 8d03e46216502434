//! `GET /attachments/{token}`: the file that a link leads to.
//!
//! The link is the credential. What is given out is shown in place by a browser only when it is a picture that was
//! written anew here; everything else is saved. A page or a script that somebody uploaded must not run on this address:
//! no type is guessed, and whatever is opened all the same is in a sandbox.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::chat::Service;
use crate::chat::service::Download;

/// What RFC 8187 leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers that every answer with a file has.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::CACHE_CONTROL, "private, max-age=300"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::ACCEPT_RANGES, "bytes"),
];

/// The route.
pub fn routes(service: Arc<Service>) -> Router {
    Router::new().route("/attachments/{token}", get(download)).with_state(service)
}

async fn download(
    State(service): State<Arc<Service>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let what = match service.open_link(&token).await {
        Ok(Some(what)) => what,
        Ok(None) => return gone(),
        Err(error) => return unavailable(&error),
    };
    let wanted = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let part = match wanted.map_or(Wanted::All, |range| part(range, what.size_bytes)) {
        Wanted::All => None,
        Wanted::Part(part) => Some(part),
        Wanted::Nothing => return beyond(what.size_bytes),
    };
    match service.download(&what, part.clone()).await {
        Ok(chunks) => {
            let failed = |error| {
                // The length is told already: the client notices that some is missing.
                tracing::warn!(%error, "a download ended early");
                std::io::Error::other(error)
            };
            answer(&what, part, Body::from_stream(chunks.map(move |chunk| chunk.map_err(failed))))
        }
        Err(error) => unavailable(&error),
    }
}

fn answer(what: &Download, part: Option<Range<u64>>, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut set = |name: HeaderName, value: String| {
        // All of these are plain; what would be none is left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, what.media_type.clone());
    set(header::CONTENT_DISPOSITION, disposition(what));
    let size = what.size_bytes;
    set(header::CONTENT_LENGTH, part.as_ref().map_or(size, |part| part.end - part.start).to_string());
    if let Some(part) = part {
        set(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// RFC 6266: the name in letters that every client reads, and as it is.
fn disposition(what: &Download) -> String {
    let kind = if what.shown { "inline" } else { "attachment" };
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' };
    let bare: String = what.file_name.chars().map(|c| if c == ' ' { c } else { plain(c) }).collect();
    let encoded = utf8_percent_encode(&what.file_name, ENCODED);
    format!("{kind}; filename=\"{bare}\"; filename*=UTF-8''{encoded}")
}

/// What a `Range` header wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    /// Something that is not there.
    Nothing,
}

/// Reads a `Range` header. One part is given; who wants several, or says what is not understood, is given all.
fn part(range: &str, size: u64) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Wanted::All;
    }
    // What has more digits than fit is beyond every end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let part = if first.is_empty() {
        size.saturating_sub(number(last))..size
    } else {
        let end = if last.is_empty() { size } else { number(last).saturating_add(1).min(size) };
        number(first)..end
    };
    let backwards = !first.is_empty() && !last.is_empty() && number(last) < number(first);
    if part.start < part.end {
        Wanted::Part(part)
    } else if backwards {
        Wanted::All
    } else {
        Wanted::Nothing
    }
}

/// A link that was not made here, has expired, or leads to what is gone: which of these nobody is told.
fn gone() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no such file, or the link has expired" })))
        .into_response()
}

fn beyond(size: u64) -> Response {
    (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, format!("bytes */{size}"))]).into_response()
}

fn unavailable(error: &crate::chat::Error) -> Response {
    tracing::warn!(%error, "a file could not be given out");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_is_given_and_what_is_not_understood_is_given_whole() {
        for (range, expected) in [
            ("bytes=0-", Wanted::Part(0..100)),
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=10-19", Wanted::Part(10..20)),
            ("bytes=90-1000", Wanted::Part(90..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=99-99999999999999999999999", Wanted::Part(99..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=20-10", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("", Wanted::All),
        ] {
            assert_eq!(part(range, 100), expected, "{range}");
        }
    }
}
