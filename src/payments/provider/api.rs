//! PayFast's REST API over HTTP.
//!
//! It sends what it is given, once, and never decides what an answer means. But it knows when to be silent: while the
//! API does not serve, and for a growing while after PayFast refused our signature, for more of those only make it
//! refuse good ones as well.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;

use super::Transport;
use crate::base::breaker::{Breaker, Circuit, Limits, Permit};
use crate::base::{Timestamp, World};
use crate::payments::options::{Mode, Options};
use crate::payments::payfast::api::answer::{RawAnswer, Unanswered};
use crate::payments::payfast::api::call::{Account, Call, Method, Request};

/// The largest answer that is read, in bytes: a thousand rows of history have about 300 KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long it may take to reach the API.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The headers of an answer that are kept.
const HEADERS_KEPT: [&str; 5] = ["content-type", "date", "server", "retry-after", "x-request-id"];
/// The longest value of a header that is kept, in bytes.
const HEADER_BYTES_MAX: usize = 256;
/// For how long nobody calls after PayFast refused our signature.
const SIGNATURE: Limits = Limits {
    failures_max: 1,
    pause_first: Duration::from_mins(5),
    pause_last: Duration::from_hours(6),
    trial_max: Duration::from_mins(5),
};
/// When to look again whether a setting was changed.
const SETTING_WAIT: Duration = Duration::from_hours(1);

const NOT_AUTHORISED: &str = "PayFast refused our merchant id, passphrase or address: check them; until then it is \
                              called less and less";
const NOT_SERVING: &str = "PayFast's API did not serve lately";
const TOO_LARGE: &str = "the answer is larger than is read";
const NO_PASSPHRASE: &str = "PayFast's API wants a passphrase, and none is set";

/// The API of one PayFast, for our account there.
pub struct Api {
    client: reqwest::Client,
    world: World,
    base: String,
    account: Account,
    serving: Breaker,
    signature: Breaker,
}

impl Api {
    /// A client for the PayFast that `options` name.
    ///
    /// # Errors
    /// When the TLS set-up of the process is missing.
    pub fn new(options: &Options, world: World) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .timeout(options.api_max)
            .connect_timeout(options.api_max.min(CONNECT_MAX))
            .redirect(Policy::none())
            // Nothing is sent twice, whatever the protocol would allow, and nothing on a connection that may have ended:
            // there is no idempotency key.
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0);
        // The simulator is this very process; a proxy in the environment is for the outside.
        let builder = if options.mode == Mode::Simulator { builder.no_proxy() } else { builder };
        let account = Account {
            merchant_id: options.merchant_id.clone(),
            passphrase: options.passphrase.clone(),
            sandbox: options.mode == Mode::Sandbox,
        };
        Ok(Self {
            client: builder.build()?,
            world,
            base: options.api_url(),
            account,
            serving: Breaker::new("PayFast's API", Limits::ORDINARY),
            signature: Breaker::new("PayFast's API for our signature", SIGNATURE),
        })
    }

    fn admit(&self, now: Timestamp) -> Result<(Permit<'_>, Permit<'_>), Unanswered> {
        if self.account.passphrase.expose().is_empty() {
            return Err(not_sent(NO_PASSPHRASE, SETTING_WAIT));
        }
        let signature = self.signature.admit(now).map_err(|wait| not_sent(NOT_AUTHORISED, wait))?;
        match self.serving.admit(now) {
            Ok(serving) => Ok((serving, signature)),
            Err(wait) => {
                signature.unused(now);
                Err(not_sent(NOT_SERVING, wait))
            }
        }
    }

    /// Sends a request; none when the answer is too large to be read.
    async fn exchange(&self, request: Request) -> Result<Option<RawAnswer>, reqwest::Error> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Post => reqwest::Method::POST,
        };
        let call = self.client.request(method.clone(), format!("{}{}", self.base, request.target));
        let call = call.headers(headers(&request));
        let call = if method == reqwest::Method::GET { call } else { call.body(request.body) };
        let mut answer = call.send().await?;
        let (status, headers) = (answer.status().as_u16(), kept(answer.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Ok(None);
            }
        }
        Ok(Some(RawAnswer { status, headers, body }))
    }

    /// Notes what an answer tells of PayFast and of our signature.
    fn note(&self, endpoint: &str, status: u16, (serving, signature): (Permit<'_>, Permit<'_>)) {
        let now = self.world.now();
        if status >= 500 {
            serving.failed(now);
        } else {
            serving.served();
        }
        match status {
            401 | 429 => {
                let wait = signature.failed(now);
                tracing::error!(endpoint, status, ?wait, "{NOT_AUTHORISED}");
            }
            // Whoever fails may not have looked at the signature.
            500.. => signature.unused(now),
            _ => signature.served(),
        }
    }

    /// Notes that there was no answer.
    fn miss(&self, endpoint: &str, error: reqwest::Error, permits: (Permit<'_>, Permit<'_>)) -> Unanswered {
        let now = self.world.now();
        let (serving, signature) = permits;
        signature.unused(now);
        let wait = serving.failed(now);
        let left = !(error.is_connect() || error.is_builder());
        // An address may have a token in it.
        let why = chain(&error.without_url());
        tracing::warn!(endpoint, error = why, left, "PayFast's API did not answer");
        if left { Unanswered::Lost(why) } else { Unanswered::NotSent { why, wait } }
    }
}

#[async_trait]
impl Transport for Api {
    async fn send(&self, call: &Call) -> Result<RawAnswer, Unanswered> {
        let now = self.world.now();
        let permits = self.admit(now)?;
        let endpoint = call.endpoint().as_str();
        match self.exchange(call.request(&self.account, now)).await {
            Ok(Some(answer)) => {
                self.note(endpoint, answer.status, permits);
                Ok(answer)
            }
            Ok(None) => {
                self.note(endpoint, 200, permits);
                Err(Unanswered::Lost(TOO_LARGE.to_owned()))
            }
            Err(error) => Err(self.miss(endpoint, error, permits)),
        }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Api {
    /// Whether PayFast's API serves, as far as this node knows.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        self.serving.circuit(self.world.now())
    }

    /// Whether PayFast takes our signature, as far as this node knows.
    #[must_use]
    pub fn authorised(&self) -> Circuit {
        self.signature.circuit(self.world.now())
    }
}

fn not_sent(why: &str, wait: Duration) -> Unanswered {
    Unanswered::NotSent { why: why.to_owned(), wait }
}

fn headers(request: &Request) -> HeaderMap {
    let pair = |(name, value): &(&'static str, String)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_static(name), value))
    };
    request.headers.iter().filter_map(pair).collect()
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let one = |name: &str| {
        let value = headers.get(name)?.as_bytes();
        let value = value.get(..HEADER_BYTES_MAX).unwrap_or(value);
        Some((name.to_owned(), String::from_utf8_lossy(value).into_owned()))
    };
    HEADERS_KEPT.into_iter().filter_map(one).collect()
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
