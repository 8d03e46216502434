//! The wire of this domain: requests in, answers and frames out, nothing decided.

mod decode;
mod encode;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::model::frame::{ClientBody, ClientFrame, Frame};
use super::model::{Draft, Event, Thread};
use super::service::{CreateThread, ListEvents};
use super::store::ThreadsAfter;
use super::stream::{Frames, Inbound};
use super::{Error, Service};
use crate::auth::Caller;
use crate::base::{Fault as _, OrganizationId, Violations};
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::limits::Limits;
use crate::rpc::policy::RateClass;
use crate::rpc::refusals::OfStream;
use crate::rpc::{self, Pages, decode as read};

rpc::status_from!(Error);

const LIST_THREADS: &str = "chat.ListThreads";
const LIST_EVENTS: &str = "chat.ListEvents";

/// The service `ChatService`.
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

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl wire::chat_service_server::ChatService for Rpc {
    type SubscribeStream = Answers<wire::SubscribeResponse>;
    type ConverseStream = Answers<wire::ConverseResponse>;

    async fn create_thread(
        &self,
        request: Request<wire::CreateThreadRequest>,
    ) -> Result<Response<wire::CreateThreadResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let organization_id = read::optional_id(&mut violations, "organization_id", &request.organization_id);
        let listing_id = read::optional_id(&mut violations, "listing_id", &request.listing_id);
        let command = CreateThread::parse(violations, organization_id, &request.title, listing_id)?;
        let thread = self.service.create_thread(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::CreateThreadResponse { thread: Some(encode::thread(thread)) }))
    }

    async fn get_thread(
        &self,
        request: Request<wire::GetThreadRequest>,
    ) -> Result<Response<wire::GetThreadResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let thread_id = read::only_id("thread_id", &request.thread_id)?;
        let thread = self.service.thread(&caller, thread_id).await?;
        Ok(Response::new(wire::GetThreadResponse { thread: Some(encode::thread(thread)) }))
    }

    async fn list_threads(
        &self,
        request: Request<wire::ListThreadsRequest>,
    ) -> Result<Response<wire::ListThreadsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let home: Option<OrganizationId> =
            read::optional_id(&mut violations, "organization_id", &request.organization_id);
        violations.finish()?;
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<ThreadsAfter>(&caller, LIST_THREADS, &home, size, token)?;
        let mut threads = self.service.threads(&caller, home, page.after, page.probe()).await?;
        let place = |thread: &Thread| ThreadsAfter { updated_at: thread.updated_at, id: thread.id };
        let next_page_token = self.pages.cut(&caller, LIST_THREADS, &home, page.size, &mut threads, place);
        let threads = threads.into_iter().map(encode::thread).collect();
        Ok(Response::new(wire::ListThreadsResponse { threads, next_page_token }))
    }

    async fn send_message(
        &self,
        request: Request<wire::SendMessageRequest>,
    ) -> Result<Response<wire::SendMessageResponse>, Status> {
        let in_metadata = idempotency_key(request.metadata());
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let key = decode::message_key(&mut violations, &request.client_message_id, in_metadata.as_deref());
        let draft = Draft::parse(&mut violations, &request.thread_id, &key, &request.text);
        violations.finish()?;
        let Some(draft) = draft else { return Err(Error::Broken(None).into()) };
        let sent = self.service.send(&caller, draft).await?;
        let message = Some(encode::message(sent.message));
        Ok(Response::new(wire::SendMessageResponse { message, duplicate: sent.duplicate }))
    }

    async fn get_message(
        &self,
        request: Request<wire::GetMessageRequest>,
    ) -> Result<Response<wire::GetMessageResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let message_id = read::only_id("message_id", &request.message_id)?;
        let message = self.service.message(&caller, message_id).await?;
        Ok(Response::new(wire::GetMessageResponse { message: Some(encode::message(message)) }))
    }

    async fn list_events(
        &self,
        request: Request<wire::ListEventsRequest>,
    ) -> Result<Response<wire::ListEventsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let thread_id = read::id(&mut violations, "thread_id", &request.thread_id);
        violations.check(request.after_seq >= 0, "after_seq", "must not be negative");
        violations.check(request.before_seq >= 0, "before_seq", "must not be negative");
        violations.finish()?;
        let question = (thread_id, request.after_seq, request.before_seq, request.newest_first);
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<i64>(&caller, LIST_EVENTS, &question, size, token)?;
        let before = if request.before_seq == 0 { i64::MAX } else { request.before_seq };
        let (after, before) = match page.after {
            Some(place) if request.newest_first => (request.after_seq, before.min(place)),
            Some(place) => (request.after_seq.max(place), before),
            None => (request.after_seq, before),
        };
        let newest_first = request.newest_first;
        let wanted = ListEvents { thread_id, after, before, newest_first, limit: page.probe() };
        let mut events = self.service.events(&caller, wanted).await?;
        let place = |event: &Event| event.seq;
        let next_page_token = self.pages.cut(&caller, LIST_EVENTS, &question, page.size, &mut events, place);
        let events = events.into_iter().map(encode::event).collect();
        Ok(Response::new(wire::ListEventsResponse { events, next_page_token }))
    }

    async fn subscribe(
        &self,
        request: Request<wire::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let refusals = rpc::refusals(&request)?;
        let (caller, request) = rpc::open(request)?;
        let request_id = caller.origin.request_id.clone();
        let mut violations = Violations::new();
        let wishes = decode::wishes(&mut violations, &request.threads);
        violations.check(!request.threads.is_empty(), "threads", "must not be empty");
        violations.finish()?;
        let frames = self.service.subscribe(caller, &wishes).await?;
        let respond = |frame| wire::SubscribeResponse { frame: Some(frame) };
        Ok(Response::new(answers(frames, refusals, request_id, respond)))
    }

    async fn converse(
        &self,
        request: Request<Streaming<wire::ConverseRequest>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let refusals = rpc::refusals(&request)?;
        let (caller, limits, requests) = rpc::open_stream(request)?;
        let request_id = caller.origin.request_id.clone();
        let payer = caller.clone();
        let words = requests.map(move |request| match request {
            Ok(request) => within(&limits, &payer, decode::word(request.frame.unwrap_or_default())),
            Err(status) => {
                tracing::debug!(%status, "a conversation cannot be read any further");
                Inbound::Unreadable
            }
        });
        let frames = self.service.converse(caller, words.boxed())?;
        let respond = |frame| wire::ConverseResponse { frame: Some(frame) };
        Ok(Response::new(answers(frames, refusals, request_id, respond)))
    }
}

/// A message draws on the same budget as a call of SendMessage.
fn within(limits: &Limits, payer: &Caller, word: Inbound) -> Inbound {
    let Inbound::Frame(ClientFrame { request_id, body: ClientBody::Send(draft) }) = word else { return word };
    match limits.take(RateClass::Message, payer) {
        Ok(()) => Inbound::Frame(ClientFrame { request_id, body: ClientBody::Send(draft) }),
        Err(refusal) => Inbound::Refused {
            request_id,
            client_message_id: draft.client_message_id.to_string(),
            why: Error::RateLimited(refusal.retry_after().unwrap_or_default()),
        },
    }
}

/// The frames as the items of a stream. They are written out when the wire asks for them, and not before.
fn answers<T: 'static>(
    frames: Frames,
    refusals: OfStream,
    request_id: String,
    respond: fn(wire::ServerFrame) -> T,
) -> Answers<T> {
    Box::pin(frames.map(move |frame: Result<Frame, Error>| match frame {
        Ok(frame) => {
            if let Frame::Nack(nack) = &frame {
                refusals.tell(nack.reason, &nack.violations);
            }
            Ok(respond(encode::frame(frame)))
        }
        // The call has left the gate long ago: what goes wrong now must still be found in the logs by its id.
        Err(error) => {
            refusals.tell(error.reason(), error.violations());
            Err(rpc::status::status_of_request(&request_id, &error))
        }
    }))
}

/// What the metadata says of the request's id, if it says anything. What is not text is not a UUID either.
fn idempotency_key(metadata: &MetadataMap) -> Option<String> {
    let value = metadata.get("idempotency-key")?;
    Some(value.to_str().unwrap_or("?").to_owned())
}
