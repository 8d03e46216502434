//! Asking the outside before going live: whether our own address answers, whether PayFast takes our signature, and
//! whether the host that confirms notifications is there. Nothing is posted that could be taken for a notification.

use std::time::Duration;

use reqwest::redirect::Policy;

use super::{Api, Transport as _};
use crate::base::World;
use crate::payments::doctor::Probes;
use crate::payments::options::{Mode, Options};
use crate::payments::payfast::api::call::Call;

/// How long each answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Asks all of it.
///
/// # Errors
/// When the TLS set-up of the process is missing.
pub async fn probe(options: &Options, world: &World) -> Result<Probes, reqwest::Error> {
    let options = Options { api_max: options.api_max.min(ANSWER_MAX), ..options.clone() };
    let builder = reqwest::Client::builder().timeout(ANSWER_MAX).redirect(Policy::none());
    let builder = if options.mode == Mode::Simulator { builder.no_proxy() } else { builder };
    let client = builder.build()?;
    let api = Api::new(&options, world.clone())?;
    let health = format!("{}/healthz", options.public_url.trim_end_matches('/'));
    let (health, confirmation) =
        (status(&client, &health).await, status(&client, &options.validate_url()).await);
    let ping = api.send(&Call::ping()).await;
    Ok(Probes { health, ping, confirmation, now: world.now() })
}

async fn status(client: &reqwest::Client, url: &str) -> Result<u16, String> {
    let answer = client.get(url).send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| cause(&error.without_url()))
}

/// The innermost cause: what is around it says only that something was sent.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
