//! `serve`: the platform until a signal.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, log, say};
use crate::app::{self, App, Listeners, real};
use crate::config::Config;
use crate::payments::Mode;

pub(super) const SERVE: &str = "\
Examples:
  capecontrol serve                                     on 127.0.0.1:8080, with everything in ./data
  CAPECONTROL_SERVER__LISTEN=127.0.0.1:9000 capecontrol serve
  capecontrol --config /etc/capecontrol.toml serve

It prints where it listens, and where the first administrator's one-time password is. Logs go to standard error.
Settings come from the file and the environment; `capecontrol config print` lists them.

Exit codes: 0 stopped by a signal and drained; 1 not started, or stopped at once by a second signal; 2 wrong
arguments.
Secrets: come from settings, each of which can name a file (…_FILE); on SQLite the root key is made in the data
folder.";

pub(super) async fn run(mut config: Config) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    app::prepare_folder(&config)?;
    let _lock = app::lock(&config)?;
    // The addresses first: a second node on the same port is told before anything is touched.
    let listeners = Listeners::bind(&mut config).await?;
    let app = App::build(config, real::world()).await?;
    welcome(&app).await?;
    let stop = CancellationToken::new();
    let signals = stop_at_signal(stop.clone())?;
    tokio::select! {
        served = app.serve(listeners, stop) => served?,
        code = signals => return Ok(code),
    }
    say("Stopped.");
    Ok(ExitCode::SUCCESS)
}

/// The first signal begins the drain; the second ends the process at once.
fn stop_at_signal(stop: CancellationToken) -> Result<impl Future<Output = ExitCode>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        say("Draining: calls under way are finished. Another signal stops at once.");
        stop.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        say("Stopped at once.");
        ExitCode::FAILURE
    })
}

async fn welcome(app: &App) -> Result<(), Failure> {
    let config = app.config();
    let (listen, url) = (config.server.listen, &config.server.public_url);
    say(format_args!(
        "CapeControl {} serves gRPC, gRPC-Web and HTTP on {listen} ({url}).",
        env!("CARGO_PKG_VERSION")
    ));
    say(format_args!("  database   {}", app::describe_database(config)));
    say(format_args!("  metrics    http://{}/metrics", config.ops_listen));
    say(format_args!("  payments   PayFast {}", payfast(config)));
    say("  AI         local: answers from the built-in help articles; no external model is configured");
    say(format_args!("  mail       {}", config.mail.route));
    say("Try it:");
    say(format_args!("  grpcurl -plaintext {listen} list"));
    say(format_args!("  grpcurl -plaintext {listen} capecontrol.payments.v1.SubscriptionService/ListPlans"));
    if let Some(email) = app.administrator().await? {
        let file = app::one_time_password_file(config);
        say(format_args!(
            "The first administrator is {email}. The one-time password is in {}",
            file.display()
        ));
        say("  (readable by you only; the file is removed at the first sign-in).");
    }
    say("Ctrl-C drains and stops.");
    Ok(())
}

const fn payfast(config: &Config) -> &'static str {
    match config.payfast.mode {
        Mode::Simulator => "simulator, built in: no money moves",
        Mode::Sandbox => "sandbox: no money moves",
        Mode::Live => "live",
    }
}
