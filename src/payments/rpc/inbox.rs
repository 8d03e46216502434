//! The inbox on the wire: what providers sent, and how they stand.

use tonic::{Request, Response, Status};

use crate::base::Violations;
use crate::base::breaker::Circuit;
use crate::payments::model::{EventStatus, Provider, ProviderEvent};
use crate::payments::options::Options;
use crate::payments::service::{Cursor, EventFilter, ProviderEventDetail, ProviderStatus, SeenEvent};
use crate::payments::store::alarm::Raised;
use crate::payments::store::answer::Summary;
use crate::payments::store::event::Wanted;
use crate::proto::capecontrol::payments::v1 as wire;
use crate::rpc::{self, decode, encode};

use super::Rpc;

const LIST_PROVIDER_EVENTS: &str = "payments.ListProviderEvents";
/// The longest id of a payment at the provider, in characters.
const PROVIDER_ID_CHARS_MAX: usize = 64;

impl Rpc {
    pub(super) async fn provider_events(
        &self,
        request: Request<wire::ListProviderEventsRequest>,
    ) -> Result<Response<wire::ListProviderEventsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let filter = filter(&request)?;
        let Wanted { status, payment_reference, provider_payment_id, from } = &filter.wanted;
        let ids = (payment_reference, provider_payment_id);
        let question = (filter.quarantined, status, ids, from, filter.until);
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<Cursor>(&caller, LIST_PROVIDER_EVENTS, &question, size, &token)?;
        let mut rows = self.service.list_provider_events(&caller, &filter, page.after, page.probe()).await?;
        let next =
            self.pages.cut(&caller, LIST_PROVIDER_EVENTS, &question, page.size, &mut rows, SeenEvent::place);
        Ok(Response::new(wire::ListProviderEventsResponse {
            provider_events: rows.into_iter().map(seen).collect(),
            next_page_token: next,
        }))
    }

    pub(super) async fn provider_event(
        &self,
        request: Request<wire::GetProviderEventRequest>,
    ) -> Result<Response<wire::GetProviderEventResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = decode::only_id("provider_event_id", &request.provider_event_id)?;
        let found = self.service.get_provider_event(&caller, id).await?;
        Ok(Response::new(detail(found)))
    }

    pub(super) async fn replay(
        &self,
        request: Request<wire::ReplayProviderEventRequest>,
    ) -> Result<Response<wire::ReplayProviderEventResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("provider_event_id", &request.provider_event_id)?;
        let replayed = self.service.replay_provider_event(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::ReplayProviderEventResponse { provider_event: Some(event(replayed)) }))
    }

    pub(super) async fn provider_status(
        &self,
        request: Request<wire::GetProviderStatusRequest>,
    ) -> Result<Response<wire::GetProviderStatusResponse>, Status> {
        let (caller, _) = rpc::open(request)?;
        let found = self.service.provider_status(&caller).await?;
        Ok(Response::new(standing(found, self.service.options())))
    }
}

fn filter(request: &wire::ListProviderEventsRequest) -> Result<EventFilter, Violations> {
    let mut v = Violations::new();
    let (quarantined, status) = match wire::ProviderEventStatus::try_from(request.status) {
        Ok(wire::ProviderEventStatus::Unspecified) => (false, None),
        Ok(wire::ProviderEventStatus::Received) => (false, Some(EventStatus::Received)),
        Ok(wire::ProviderEventStatus::Applied) => (false, Some(EventStatus::Applied)),
        Ok(wire::ProviderEventStatus::Ignored) => (false, Some(EventStatus::Ignored)),
        Ok(wire::ProviderEventStatus::Unapplied) => (false, Some(EventStatus::Unapplied)),
        Ok(wire::ProviderEventStatus::Refused) => (false, Some(EventStatus::Refused)),
        Ok(wire::ProviderEventStatus::Quarantined) => (true, None),
        Err(_) => {
            v.add("status", "must be a known status");
            (false, None)
        }
    };
    let payment =
        decode::optional_id::<crate::payments::model::PaymentMark>(&mut v, "payment_id", &request.payment_id);
    let id = request.provider_payment_id.as_str();
    let fits = id.len() <= PROVIDER_ID_CHARS_MAX && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    v.check(
        fits,
        "provider_payment_id",
        format!("must be at most {PROVIDER_ID_CHARS_MAX} letters and digits"),
    );
    v.check(
        !quarantined || request.payment_id.is_empty(),
        "payment_id",
        "must be empty for what is in quarantine",
    );
    let unread = !quarantined || id.is_empty();
    v.check(unread, "provider_payment_id", "must be empty for what is in quarantine");
    let from = decode::optional_time(&mut v, "from_time", request.from_time);
    let until = decode::optional_time(&mut v, "until_time", request.until_time);
    let provider_payment_id = Some(id.to_owned()).filter(|id| !id.is_empty());
    let payment_reference = payment.map(|id| id.to_string());
    let wanted = Wanted { status, payment_reference, provider_payment_id, from };
    v.finish().map(|()| EventFilter { quarantined, wanted, until })
}

fn detail(detail: ProviderEventDetail) -> wire::GetProviderEventResponse {
    let header = |(name, value)| wire::ProviderEventHeader { name, value };
    wire::GetProviderEventResponse {
        provider_event: Some(seen(detail.event)),
        body_text: detail.body_text.unwrap_or_default(),
        body_bytes: i64::try_from(detail.body_bytes).unwrap_or(i64::MAX),
        headers: detail.headers.into_iter().map(header).collect(),
        signature_valid: detail.signature_valid,
        last_receive_time: Some(encode::timestamp(detail.last_received_at)),
    }
}

fn seen(seen: SeenEvent) -> wire::ProviderEvent {
    match seen {
        SeenEvent::Signed(signed) => event(signed),
        SeenEvent::Quarantined { id, reason, peer, received_at } => wire::ProviderEvent {
            id: id.to_string(),
            provider: Provider::Payfast.as_str().to_owned(),
            status: wire::ProviderEventStatus::Quarantined.into(),
            detail: reason,
            peer,
            deliveries: 1,
            receive_time: Some(encode::timestamp(received_at)),
            ..wire::ProviderEvent::default()
        },
    }
}

fn standing(status: ProviderStatus, options: &Options) -> wire::GetProviderStatusResponse {
    wire::GetProviderStatusResponse {
        provider: Provider::Payfast.as_str().to_owned(),
        mode: options.mode.as_str().to_owned(),
        merchant_id: options.merchant_id.clone(),
        api_circuit: circuit(status.api).into(),
        signature_circuit: circuit(status.signature).into(),
        last_answers: status.answers.into_iter().map(answer).collect(),
        oldest_undecided_time: status.oldest_undecided.map(encode::timestamp),
        quarantined_count: status.quarantined,
        unknown_refund_count: status.unknown_refunds,
        proposed_refund_count: status.proposed_refunds,
        alarms: status.alarms.into_iter().map(alarm).collect(),
    }
}

fn circuit(circuit: Option<Circuit>) -> wire::CircuitState {
    match circuit {
        None => wire::CircuitState::Unspecified,
        Some(Circuit::Closed) => wire::CircuitState::Closed,
        Some(Circuit::HalfOpen) => wire::CircuitState::HalfOpen,
        Some(Circuit::Open) => wire::CircuitState::Open,
    }
}

fn answer(answer: Summary) -> wire::ProviderAnswer {
    wire::ProviderAnswer {
        endpoint: answer.endpoint.as_str().to_owned(),
        purpose: answer.purpose,
        http_status: answer.status.and_then(|status| i32::try_from(status).ok()).unwrap_or(0),
        detail: answer.detail.unwrap_or_default(),
        ask_time: Some(encode::timestamp(answer.asked_at)),
        answer_time: answer.answered_at.map(encode::timestamp),
    }
}

fn alarm(alarm: Raised) -> wire::Alarm {
    wire::Alarm {
        kind: alarm.kind.as_str().to_owned(),
        subject: alarm.subject,
        detail: alarm.detail,
        organization_id: alarm.organization_id.map(|id| id.to_string()).unwrap_or_default(),
        occurrences: alarm.occurrences,
        create_time: Some(encode::timestamp(alarm.created_at)),
        last_raise_time: Some(encode::timestamp(alarm.last_at)),
    }
}

fn event(event: ProviderEvent) -> wire::ProviderEvent {
    wire::ProviderEvent {
        id: event.id.to_string(),
        provider: event.provider.as_str().to_owned(),
        status: event_status(event.status).into(),
        detail: event.detail,
        peer: event.peer,
        payment_status: event.payment_status,
        provider_payment_id: event.provider_payment_id,
        payment_id: event.payment_reference,
        deliveries: event.deliveries,
        receive_time: Some(encode::timestamp(event.received_at)),
        apply_time: event.applied_at.map(encode::timestamp),
    }
}

fn event_status(status: EventStatus) -> wire::ProviderEventStatus {
    match status {
        EventStatus::Received => wire::ProviderEventStatus::Received,
        EventStatus::Applied => wire::ProviderEventStatus::Applied,
        EventStatus::Ignored => wire::ProviderEventStatus::Ignored,
        EventStatus::Unapplied => wire::ProviderEventStatus::Unapplied,
        EventStatus::Refused => wire::ProviderEventStatus::Refused,
    }
}
