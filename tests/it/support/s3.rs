//! A service that speaks S3 on a port of its own, as far as files need it. It believes nothing: every request must be
//! signed with the right key (AWS Signature Version 4) over what it asks for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use capecontrol::base::Secret;
use capecontrol::keyring::mac;
use capecontrol::rpc::server::{Options, serve as serve_on};
use capecontrol::storage::{Route, S3};
use http::{HeaderMap, Method, StatusCode, Uri};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "cape-files";
const ACCESS_KEY: &str = "AKIATEST";
const SECRET_KEY: &str = "a secret that signs";
const REGION: &str = "af-south-1";

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A running service. It stops when it is dropped.
pub struct S3Server {
    port: u16,
    objects: Objects,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl S3Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let objects = Objects::default();
        let app = Router::new().fallback(serve).with_state(Arc::clone(&objects));
        #[expect(clippy::disallowed_methods, reason = "kept in the struct, and stopped when it is dropped")]
        let serving = tokio::spawn(serve_on(listener, app, Options::default(), CancellationToken::new()));
        Self { port, objects, serving }
    }

    /// How the service is named in the settings.
    pub fn route(&self) -> Route {
        Route::S3(S3 {
            bucket: BUCKET.to_owned(),
            prefix: "of/a/platform".to_owned(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: REGION.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: Secret::new(SECRET_KEY.to_owned()),
        })
    }

    /// The keys of what is kept.
    pub fn keys(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }
}

async fn serve(State(objects): State<Objects>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    if !is_signed(&head.method, &head.uri, &head.headers, &body) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(key) = head.uri.path().strip_prefix(&format!("/{BUCKET}")) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let key = key.trim_start_matches('/').to_owned();
    let mut objects = objects.lock().unwrap();
    if head.method == Method::PUT {
        objects.insert(key, body);
        return ([("etag", "\"1\"")], StatusCode::OK).into_response();
    }
    if head.method == Method::DELETE {
        objects.remove(&key);
        return StatusCode::NO_CONTENT.into_response();
    }
    let question: BTreeMap<String, String> = query(&head.uri).into_iter().collect();
    if question.get("list-type").is_some_and(|kind| kind == "2") {
        return list(&objects, question.get("prefix").map(String::as_str).unwrap_or_default());
    }
    match objects.get(&key) {
        Some(bytes) => object(bytes, head.headers.get("range").map(|range| range.to_str().unwrap())),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn object(bytes: &Bytes, range: Option<&str>) -> Response {
    let at = [("etag", "\"1\""), ("last-modified", "Fri, 20 Nov 2026 10:00:00 GMT")];
    let Some(range) = range else { return (at, bytes.clone()).into_response() };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let told = [("content-range", format!("bytes {first}-{last}/{}", bytes.len()))];
    (StatusCode::PARTIAL_CONTENT, at, told, bytes.slice(first..=last)).into_response()
}

fn list(objects: &BTreeMap<String, Bytes>, prefix: &str) -> Response {
    let mut contents = String::new();
    for (key, bytes) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let at = "2026-11-20T10:00:00.000Z";
        let size = bytes.len();
        write!(
            contents,
            "<Contents><Key>{key}</Key><LastModified>{at}</LastModified><ETag>1</ETag><Size>{size}</Size></Contents>"
        )
        .unwrap();
    }
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>").into_response()
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// Whether the request is signed as AWS Signature Version 4 has it, and its body is the one that was signed.
fn is_signed(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
    let Some(signed) = text("authorization").strip_prefix("AWS4-HMAC-SHA256 ") else { return false };
    let fields: BTreeMap<&str, &str> =
        signed.split(',').filter_map(|field| field.trim().split_once('=')).collect();
    let (at, names) = (text("x-amz-date"), fields["SignedHeaders"]);
    let scope = format!("{}/{REGION}/s3/aws4_request", &at[..8]);
    if fields["Credential"] != format!("{ACCESS_KEY}/{scope}")
        || text("x-amz-content-sha256") != hex(&Sha256::digest(body))
        || !names.split(';').any(|name| name == "x-amz-content-sha256")
    {
        return false;
    }
    let named: String = names.split(';').map(|name| format!("{name}:{}\n", text(name))).collect();
    let mut pairs: Vec<&str> = uri.query().unwrap_or_default().split('&').collect();
    pairs.sort_unstable();
    let asked = [method.as_str(), uri.path(), &pairs.join("&"), &named, names, text("x-amz-content-sha256")]
        .join("\n");
    let told = ["AWS4-HMAC-SHA256", at, &scope, &hex(&Sha256::digest(asked))].join("\n");
    let day = mac(format!("AWS4{SECRET_KEY}").as_bytes(), &[&at.as_bytes()[..8]]);
    let key = [REGION, "s3", "aws4_request"].iter().fold(day, |key, part| mac(&key, &[part.as_bytes()]));
    fields["Signature"] == hex(&mac(&key, &[told.as_bytes()]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
