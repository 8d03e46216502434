//! The wire of this domain: requests in, answers out, nothing decided.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::service;
use super::{Error, Service};
use crate::audit::Tail;
use crate::auth::keys::SeenKey;
use crate::auth::model::rotation::Duty;
use crate::base::Timestamp;
use crate::db::Engine;
use crate::jobs::store::dead::Dead;
use crate::jobs::{JobId, State};
use crate::proto::capecontrol::operations::v1 as wire;
use crate::rpc::{self, Pages, decode, encode};

rpc::status_from!(Error);

const LIST_DEAD_JOBS: &str = "operations.ListDeadJobs";
/// How much of an error is told.
const ERROR_CHARS_MAX: usize = 500;

/// The service `OperationsService`.
#[derive(Clone)]
pub struct Rpc {
    service: Arc<Service>,
    pages: Pages,
}

impl Rpc {
    /// Serves `service`.
    #[must_use]
    pub const fn new(service: Arc<Service>, pages: Pages) -> Self {
        Self { service, pages }
    }
}

#[tonic::async_trait]
impl wire::operations_service_server::OperationsService for Rpc {
    async fn get_system_status(
        &self,
        request: Request<wire::GetSystemStatusRequest>,
    ) -> Result<Response<wire::GetSystemStatusResponse>, Status> {
        let (caller, _) = rpc::open(request)?;
        Ok(Response::new(status(self.service.status(&caller).await?)))
    }

    async fn list_dead_jobs(
        &self,
        request: Request<wire::ListDeadJobsRequest>,
    ) -> Result<Response<wire::ListDeadJobsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let (kind, size, token) = (request.kind, request.page_size, request.page_token);
        let page = self.pages.open::<(i64, JobId)>(&caller, LIST_DEAD_JOBS, &kind, size, &token)?;
        let after = page.after.map(|(micros, id)| (Timestamp::from_micros(micros), id));
        let mut rows = self.service.dead_jobs(&caller, &kind, after, page.probe()).await?;
        let cursor = |row: &Dead| (row.failed_at.as_micros(), row.id);
        let next = self.pages.cut(&caller, LIST_DEAD_JOBS, &kind, page.size, &mut rows, cursor);
        let jobs = rows.into_iter().map(dead_job).collect();
        Ok(Response::new(wire::ListDeadJobsResponse { jobs, next_page_token: next }))
    }

    async fn retry_dead_job(
        &self,
        request: Request<wire::RetryDeadJobRequest>,
    ) -> Result<Response<wire::RetryDeadJobResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("job_id", &request.job_id)?;
        self.service.retry(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::RetryDeadJobResponse {}))
    }

    async fn discard_dead_job(
        &self,
        request: Request<wire::DiscardDeadJobRequest>,
    ) -> Result<Response<wire::DiscardDeadJobResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("job_id", &request.job_id)?;
        self.service.discard(&caller, id, &request.reason, key.as_deref()).await?;
        Ok(Response::new(wire::DiscardDeadJobResponse {}))
    }
}

fn status(status: service::Status) -> wire::GetSystemStatusResponse {
    let next = status.keys.iter().filter(|key| key.duty == Duty::Next).map(|key| key.signs_from).min();
    let engine = match status.engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
    };
    wire::GetSystemStatusResponse {
        version: status.node.version.to_owned(),
        time: Some(encode::timestamp(status.at)),
        database: Some(wire::DatabaseStatus {
            engine: engine.to_owned(),
            applied_migration: status.level.applied,
            expected_migration: status.level.expected,
        }),
        jobs: status.jobs.into_iter().map(|(state, count)| job_count(state, count)).collect(),
        oldest_due_job_time: status.oldest_due.map(encode::timestamp),
        signing_keys: status.keys.iter().map(signing_key).collect(),
        next_key_rotation_time: next.map(encode::timestamp),
        payment_mode: status.node.payment_mode.to_owned(),
        registration: status.node.registration.to_owned(),
        audit_log: Some(audit_log(&status.audit)),
        newest_alarms: status.alarms.into_iter().map(alarm).collect(),
        start_time: Some(encode::timestamp(status.started_at)),
    }
}

fn audit_log(tail: &Tail) -> wire::AuditLogStatus {
    wire::AuditLogStatus {
        unsealed_count: tail.unsealed,
        oldest_unsealed_time: tail.oldest.map(encode::timestamp),
        sealed_count: tail.head.as_ref().map_or(0, |head| head.position),
        last_seal_time: tail.head.as_ref().map(|head| encode::timestamp(head.signed_at)),
    }
}

fn alarm(alarm: service::Alarm) -> wire::AlarmStatus {
    wire::AlarmStatus {
        kind: alarm.kind.to_owned(),
        subject: alarm.subject,
        occurrence_count: alarm.occurrences,
    }
}

fn job_count(state: State, count: i64) -> wire::JobCount {
    let state = match state {
        State::Ready => wire::JobState::Ready,
        State::Running => wire::JobState::Running,
        State::Dead => wire::JobState::Dead,
    };
    wire::JobCount { state: state.into(), count }
}

fn signing_key(key: &SeenKey) -> wire::SigningKeyStatus {
    let duty = match key.duty {
        Duty::Next => wire::SigningKeyDuty::Next,
        Duty::Signing => wire::SigningKeyDuty::Signing,
        Duty::Retired => wire::SigningKeyDuty::Retired,
    };
    wire::SigningKeyStatus {
        id: key.id.to_string(),
        duty: duty.into(),
        create_time: Some(encode::timestamp(key.created_at)),
        sign_time: Some(encode::timestamp(key.signs_from)),
        delete_time: key.ends_at.map(encode::timestamp),
    }
}

fn dead_job(job: Dead) -> wire::DeadJob {
    wire::DeadJob {
        id: job.id.to_string(),
        kind: job.kind,
        organization_id: job.organization_id.map(|id| id.to_string()).unwrap_or_default(),
        attempts: job.attempts,
        last_error: job.last_error.unwrap_or_default().chars().take(ERROR_CHARS_MAX).collect(),
        create_time: Some(encode::timestamp(job.created_at)),
        fail_time: Some(encode::timestamp(job.failed_at)),
    }
}
