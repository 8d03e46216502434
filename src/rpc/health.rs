//! Health as gRPC clients ask for it: NOT_SERVING at first, then what the database says, and NOT_SERVING again while
//! the node drains.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::db::Db;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Follows the database until `stop`, and tells health and readiness of the services named (and of the server as a
/// whole, the empty name).
pub async fn follow(
    db: Db,
    reporter: HealthReporter,
    services: Vec<String>,
    ready: tokio::sync::watch::Sender<bool>,
    stop: CancellationToken,
) {
    loop {
        let alive = matches!(tokio::time::timeout(ANSWER_WITHIN, is_ready(&db)).await, Ok(true));
        if ready.send_replace(alive) != alive {
            tracing::info!(alive, "readiness changed");
        }
        set(&reporter, &services, alive).await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    ready.send_replace(false);
    set(&reporter, &services, false).await;
}

/// Declares every name NOT_SERVING before the first look.
pub async fn declare(reporter: &HealthReporter, services: &[String]) {
    set(reporter, services, false).await;
}

async fn is_ready(db: &Db) -> bool {
    match db.level().await {
        Ok(level) if level.is_current() => true,
        Ok(level) => {
            tracing::warn!(?level, "the database is behind this program; run `capecontrol migrate`");
            false
        }
        Err(error) => {
            tracing::warn!(error = %error.chain(), "the database does not answer");
            false
        }
    }
}

async fn set(reporter: &HealthReporter, services: &[String], alive: bool) {
    let status = if alive { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status("", status).await;
    for service in services {
        reporter.set_service_status(service, status).await;
    }
}
