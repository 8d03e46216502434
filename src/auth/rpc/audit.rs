//! The wire of `AuditService`.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::audit::{self, ActorKind, Batch, EventId, Filter, Link, Outcome, Remembered, Risk, Seen};
use crate::auth::Error;
use crate::auth::service::{AuditReach, Auditing};
use crate::base::{Id, Timestamp, Violations};
use crate::proto::capecontrol::auth::v1 as wire;
use crate::rpc::{self, encode};
use wire::export_audit_events_response::Part;

const LIST_AUDIT_EVENTS: &str = "auth.ListAuditEvents";
/// What stands for the whole platform where an organisation is named.
const PLATFORM: &str = "-";
/// The longest action, in characters.
const ACTION_CHARS_MAX: usize = 100;
const NANOS_PER_MICRO: i32 = 1_000;

#[tonic::async_trait]
impl wire::audit_service_server::AuditService for Rpc {
    type ExportAuditEventsStream =
        Pin<Box<dyn Stream<Item = Result<wire::ExportAuditEventsResponse, Status>> + Send>>;

    async fn list_audit_events(
        &self,
        request: Request<wire::ListAuditEventsRequest>,
    ) -> Result<Response<wire::ListAuditEventsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let reach = reach(&mut violations, &request.organization_id);
        let filter = filter(&mut violations, &request);
        violations.finish()?;
        let question = Question::new(&request, &filter);
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<EventId>(&caller, LIST_AUDIT_EVENTS, &question, size, token)?;
        let mut rows =
            self.service.list_audit_events(&caller, reach, filter, page.after, page.probe()).await?;
        let next =
            self.pages.cut(&caller, LIST_AUDIT_EVENTS, &question, page.size, &mut rows, |row| row.event.id);
        Ok(Response::new(wire::ListAuditEventsResponse {
            audit_events: rows.into_iter().map(event).collect(),
            next_page_token: next,
        }))
    }

    async fn export_audit_events(
        &self,
        request: Request<wire::ExportAuditEventsRequest>,
    ) -> Result<Response<Self::ExportAuditEventsStream>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let reach = reach(&mut violations, &request.organization_id);
        violations.check(request.after_position >= 0, "after_position", "must not be negative");
        violations.finish()?;
        let auditing =
            self.service.export_audit_events(caller.clone(), reach, request.after_position).await?;
        let start = wire::AuditExportStart {
            position: auditing.position,
            hash: auditing.hash.to_vec(),
            public_key: self.service.audit().public_key().to_vec(),
        };
        let first = stream::once(async { Ok(part(Part::Start(start))) });
        let service = self.service.clone();
        let batches = self.exports.parts(caller, auditing, move |mut auditing: Auditing| {
            let service = service.clone();
            async move {
                let batch = service.next_audit_batch(&mut auditing).await?;
                Ok::<_, Error>(batch.map(|batch| (batch, auditing)))
            }
        });
        let parts = batches.map_ok(|batch| stream::iter(parts(batch).into_iter().map(Ok))).try_flatten();
        Ok(Response::new(Box::pin(first.chain(parts))))
    }

    async fn verify_audit_log(
        &self,
        request: Request<wire::VerifyAuditLogRequest>,
    ) -> Result<Response<wire::VerifyAuditLogResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let reach = reach(&mut violations, &request.organization_id);
        let known = rpc::decode::known(&mut violations, request.known_position, &request.known_hash);
        violations.finish()?;
        let report = self.service.verify_audit_log(&caller, reach, known).await?;
        Ok(Response::new(wire::VerifyAuditLogResponse {
            intact: report.bad.is_none(),
            entry_count: report.entries,
            link_count: report.links,
            unsealed_count: report.unsealed,
            head: report.head.map(head),
            fault: report.bad.map(fault),
            public_key: self.service.audit().public_key().to_vec(),
        }))
    }
}

/// What shapes a list: a page token is good for the same question only.
#[derive(Serialize)]
struct Question {
    organization_id: String,
    action_prefix: String,
    actor: Option<Uuid>,
    subject: Option<Uuid>,
    risk: Option<Risk>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Question {
    fn new(request: &wire::ListAuditEventsRequest, filter: &Filter) -> Self {
        Self {
            organization_id: request.organization_id.clone(),
            action_prefix: filter.action_prefix.clone(),
            actor: filter.actor,
            subject: filter.subject,
            risk: filter.risk,
            since: filter.since,
            until: filter.until,
        }
    }
}

fn reach(violations: &mut Violations, organization: &str) -> AuditReach {
    match organization {
        PLATFORM => AuditReach::Platform,
        named => match rpc::decode::optional_id(violations, "organization_id", named) {
            Some(organization) => AuditReach::Organization(organization),
            None => AuditReach::Own,
        },
    }
}

fn filter(violations: &mut Violations, request: &wire::ListAuditEventsRequest) -> Filter {
    let fits = request.action_prefix.chars().count() <= ACTION_CHARS_MAX;
    // PostgreSQL takes no NUL in a text.
    let plain = request.action_prefix.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'));
    violations.check(fits && plain, "action_prefix", "must be the beginning of an action, such as `auth.`");
    let risk = match wire::AuditRisk::try_from(request.risk) {
        Ok(wire::AuditRisk::Unspecified) => None,
        Ok(wire::AuditRisk::Low) => Some(Risk::Low),
        Ok(wire::AuditRisk::Medium) => Some(Risk::Medium),
        Ok(wire::AuditRisk::High) => Some(Risk::High),
        Err(_) => {
            violations.add("risk", "must be a risk that the platform knows");
            None
        }
    };
    Filter {
        action_prefix: request.action_prefix.clone(),
        actor: uuid(violations, "actor", &request.actor),
        subject: uuid(violations, "subject", &request.subject),
        risk,
        since: time(violations, "start_time", request.start_time),
        until: time(violations, "end_time", request.end_time),
    }
}

fn uuid(violations: &mut Violations, field: &str, text: &str) -> Option<Uuid> {
    rpc::decode::optional_id(violations, field, text).map(Id::<()>::uuid)
}

fn time(violations: &mut Violations, field: &str, at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let prost_types::Timestamp { seconds, nanos } = at?;
    // From the year 1 to 9999, as the type says.
    let known = (-62_135_596_800..253_402_300_800).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
    violations.check(known, field, "must be a time between the years 1 and 9999");
    let micros = seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos / NANOS_PER_MICRO))?;
    known.then_some(Timestamp::from_micros(micros))
}

const fn part(part: Part) -> wire::ExportAuditEventsResponse {
    wire::ExportAuditEventsResponse { part: Some(part) }
}

fn parts(batch: Batch) -> Vec<wire::ExportAuditEventsResponse> {
    let links = batch.links.into_iter().map(|link| match link {
        Link::Entry(seen) => Part::AuditEvent(event(*seen)),
        Link::Others { position, digest } => Part::Link(wire::AuditLink { position, digest }),
    });
    links.chain([Part::Head(head(batch.head))]).map(part).collect()
}

fn event(seen: Seen) -> wire::AuditEvent {
    let Seen { event, personal, place } = seen;
    let (address, user_agent, erased) = match personal {
        Remembered::Nothing => (None, String::new(), false),
        Remembered::Erased => (None, String::new(), true),
        Remembered::Known(known) => (known.address, known.agent, false),
    };
    wire::AuditEvent {
        id: event.id.to_string(),
        organization_id: text(event.organization_id),
        outcome: outcome(&event.outcome).into(),
        reason: event.reason.unwrap_or_default(),
        occurrences: event.occurrences,
        risk: risk(&event.risk).into(),
        actor_kind: actor_kind(&event.actor_kind).into(),
        actor_id: text(event.actor_id),
        on_behalf_of: text(event.on_behalf_of),
        session_id: text(event.session_id),
        purpose: event.purpose.unwrap_or_default(),
        subject_kind: event.subject_kind.unwrap_or_default(),
        subject_id: text(event.subject_id),
        before_digest: event.before_digest.unwrap_or_default(),
        after_digest: event.after_digest.unwrap_or_default(),
        request_id: event.request_id,
        create_time: Some(encode::timestamp(event.created_at)),
        address: text(address),
        user_agent,
        erased,
        person_id: text(event.person_id),
        sealed_personal: event.personal.unwrap_or_default(),
        position: place.map_or(0, |place| place.position),
        hash: place.map(|place| place.hash.to_vec()).unwrap_or_default(),
        action: event.action,
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn outcome(word: &str) -> wire::AuditOutcome {
    match Outcome::parse(word) {
        Some(Outcome::Done) => wire::AuditOutcome::Done,
        Some(Outcome::Refused) => wire::AuditOutcome::Refused,
        None => wire::AuditOutcome::Unspecified,
    }
}

fn risk(word: &str) -> wire::AuditRisk {
    match Risk::parse(word) {
        Some(Risk::Low) => wire::AuditRisk::Low,
        Some(Risk::Medium) => wire::AuditRisk::Medium,
        Some(Risk::High) => wire::AuditRisk::High,
        None => wire::AuditRisk::Unspecified,
    }
}

fn actor_kind(word: &str) -> wire::AuditActorKind {
    match ActorKind::parse(word) {
        Some(ActorKind::Account) => wire::AuditActorKind::Account,
        Some(ActorKind::Agent) => wire::AuditActorKind::Agent,
        Some(ActorKind::ApiKey) => wire::AuditActorKind::ApiKey,
        Some(ActorKind::ServiceAccount) => wire::AuditActorKind::ServiceAccount,
        Some(ActorKind::Stranger) => wire::AuditActorKind::Stranger,
        Some(ActorKind::Platform) => wire::AuditActorKind::Platform,
        None => wire::AuditActorKind::Unspecified,
    }
}

fn head(head: audit::Head) -> wire::AuditHead {
    wire::AuditHead {
        position: head.position,
        previous_position: head.previous_position,
        hash: head.hash,
        sign_time: Some(encode::timestamp(head.signed_at)),
        public_key: head.public_key,
        signature: head.signature,
    }
}

fn fault(bad: audit::Bad) -> wire::AuditFault {
    wire::AuditFault {
        position: bad.position.unwrap_or(0),
        audit_event_id: text(bad.id),
        kind: bad.fault.as_str().to_owned(),
        detail: bad.sentence().to_owned(),
    }
}
