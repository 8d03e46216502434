//! PayFast over HTTP: asking it to confirm, calling its API, and (for the simulator) posting notifications.
//!
//! A client is built once, follows no redirect and reads no more than an answer can be. It is behind traits, so that
//! a test's provider can be slow, silent or lie.

mod api;
mod probe;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;

use super::options::{Mode, Options};
use super::payfast::api::answer::{RawAnswer, Unanswered};
use super::payfast::api::call::Call;
use super::payfast::confirmation::{self, ANSWER_BYTES_MAX, Confirmation};
use super::payfast::itn::Itn;
use crate::base::breaker::Circuit;

pub use api::Api;
pub use probe::probe;

const FORM: &str = "application/x-www-form-urlencoded";

/// Asks the provider whether it sent a notification.
#[async_trait]
pub trait Confirm: Send + Sync + 'static {
    /// The provider's answer. What is no answer is [`Confirmation::Retry`].
    async fn confirm(&self, itn: &Itn) -> Confirmation;
}

/// Sends a call to the provider's API.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends it once and hands back what came, whatever it is.
    ///
    /// # Errors
    /// When there is no answer: whether the call left or not is in it.
    async fn send(&self, call: &Call) -> Result<RawAnswer, Unanswered>;

    /// Whether the API serves and whether it takes our signature, as far as this node knows; none where nobody looks.
    fn circuits(&self) -> (Option<Circuit>, Option<Circuit>) {
        (None, None)
    }
}

/// A transport that leads nowhere, for whoever makes no calls.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

/// How long to wait for what will not come.
const NOWHERE_WAIT: Duration = Duration::from_hours(1);

#[async_trait]
impl Transport for Nowhere {
    async fn send(&self, _: &Call) -> Result<RawAnswer, Unanswered> {
        Err(Unanswered::NotSent {
            why: "there is no way to the provider's API".to_owned(),
            wait: NOWHERE_WAIT,
        })
    }
}

/// Posts a notification, as the provider does.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// The status of the answer; `None` when there was none.
    async fn deliver(&self, url: &str, body: Vec<u8>) -> Option<u16>;
}

/// PayFast over HTTP.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    validate_url: String,
    with_signature: bool,
}

impl Http {
    /// A client for the PayFast that `options` name.
    ///
    /// # Errors
    /// When the TLS set-up of the process is missing.
    pub fn new(options: &Options) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .timeout(options.confirmation_max)
            .connect_timeout(options.confirmation_max.min(Duration::from_secs(5)))
            .redirect(Policy::none());
        // The simulator is this very process; a proxy in the environment is for the outside.
        let builder = if options.mode == Mode::Simulator { builder.no_proxy() } else { builder };
        let client = builder.build()?;
        // PayFast documents the parameters without their signature. The simulator tells its own by it, not from memory.
        let with_signature = options.mode == Mode::Simulator;
        Ok(Self { client, validate_url: options.validate_url(), with_signature })
    }

    async fn ask(&self, itn: &Itn) -> Result<Confirmation, reqwest::Error> {
        let mut body = itn.parameters();
        if let (true, Some(signature)) = (self.with_signature, itn.text("signature")) {
            body.push_str("&signature=");
            body.push_str(signature);
        }
        let mut answer =
            self.client.post(&self.validate_url).header(CONTENT_TYPE, FORM).body(body).send().await?;
        let status = answer.status().as_u16();
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            text.extend_from_slice(&chunk);
            if text.len() > ANSWER_BYTES_MAX {
                return Ok(Confirmation::Retry);
            }
        }
        Ok(confirmation::read(status, &text))
    }
}

#[async_trait]
impl Confirm for Http {
    async fn confirm(&self, itn: &Itn) -> Confirmation {
        self.ask(itn).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error.without_url(), "PayFast did not answer the confirmation");
            Confirmation::Retry
        })
    }
}

#[async_trait]
impl Deliver for Http {
    async fn deliver(&self, url: &str, body: Vec<u8>) -> Option<u16> {
        let sent = self.client.post(url).header(CONTENT_TYPE, FORM).body(body).send().await;
        sent.ok().map(|answer| answer.status().as_u16())
    }
}
