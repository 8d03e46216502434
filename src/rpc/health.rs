//! Health as gRPC clients ask for it (`grpc.health.v1`): NOT_SERVING at first, then what the database says, and
//! NOT_SERVING again while the node drains. All services of a node serve or do not serve together.
//!
//! Not tonic's own service: the streams of its Watch end only when their clients leave, and would hold up every drain.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::db::Db;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The service `Health`.
#[derive(Clone)]
pub struct Rpc {
    services: Arc<[String]>,
    ready: watch::Receiver<bool>,
    drain: CancellationToken,
}

impl Rpc {
    /// Tells of the services named, and of the server as a whole (the empty name), what `ready` says. Its streams end
    /// with `drain`.
    #[must_use]
    pub fn new(services: &[String], ready: watch::Receiver<bool>, drain: CancellationToken) -> Self {
        Self { services: services.into(), ready, drain }
    }

    fn is_serving(&self) -> bool {
        *self.ready.borrow() && !self.drain.is_cancelled()
    }

    /// What a watcher is told after it was told this, once something may have changed. That a node which drains is not
    /// serving is the last word.
    async fn next(&mut self, told: Option<bool>) -> Option<bool> {
        match told {
            None => {}
            Some(false) if self.drain.is_cancelled() => return None,
            Some(_) => tokio::select! {
                changed = self.ready.changed() => changed.ok()?,
                () = self.drain.cancelled() => {}
            },
        }
        self.ready.mark_unchanged();
        Some(self.is_serving())
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.iter().any(|known| known == service)
    }
}

#[tonic::async_trait]
impl Health for Rpc {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("There is no such service."));
        }
        Ok(Response::new(answer(self.is_serving())))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.get_ref().service);
        let answers = stream::unfold((self.clone(), None), move |(mut health, told)| async move {
            let now = health.next(told).await?;
            Some((Ok(if known { answer(now) } else { unknown() }), (health, Some(now))))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(ready: bool) -> HealthCheckResponse {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

/// What a watcher of a service that is not there is told: it may come yet.
fn unknown() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() }
}

/// Follows the database until `stop`.
pub async fn follow(db: Db, ready: watch::Sender<bool>, stop: CancellationToken) {
    loop {
        let alive = matches!(tokio::time::timeout(ANSWER_WITHIN, is_ready(&db)).await, Ok(true));
        let changed = ready.send_if_modified(|ready| std::mem::replace(ready, alive) != alive);
        if changed {
            tracing::info!(alive, "readiness changed");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    ready.send_replace(false);
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
