//! `healthcheck`: what a container's health check or a probe runs.

use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Failure, Output, say};
use crate::config::Config;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the node listens; without it, as the settings say.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The service to ask for, such as capecontrol.chat.v1.ChatService; without it, the node as a whole.
    #[arg(long, value_name = "NAME", default_value = "")]
    service: String,
    #[command(flatten)]
    output: Output,
}

pub(super) const HEALTHCHECK: &str = "\
Examples:
  capecontrol healthcheck
  capecontrol healthcheck --url http://127.0.0.1:8080 --service capecontrol.chat.v1.ChatService

Exit codes: 0 it is serving; 1 it is not, or does not answer within five seconds; 2 wrong arguments.";

pub(super) async fn run(config: Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let url = arguments.url.unwrap_or_else(|| loopback(&config));
    let channel = Endpoint::from_shared(url.clone())?.timeout(ANSWER_WITHIN).connect_timeout(ANSWER_WITHIN);
    let channel =
        channel.connect().await.map_err(|error| format!("{url} does not answer: {}", cause(&error)))?;
    let request = HealthCheckRequest { service: arguments.service };
    let answer = HealthClient::new(channel).check(request).await;
    let answer =
        answer.map_err(|status| format!("{url} answered {:?}: {}", status.code(), status.message()))?;
    let serving = answer.into_inner().status() == ServingStatus::Serving;
    let status = if serving { "SERVING" } else { "NOT_SERVING" };
    if arguments.output.json {
        say(serde_json::json!({ "status": status, "url": url }));
    } else {
        say(status);
    }
    Ok(if serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A node that listens everywhere is reached by loopback.
fn loopback(config: &Config) -> String {
    let listen = config.server.listen;
    let host = if listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { listen.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("http://{host}:{}", listen.port())
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
