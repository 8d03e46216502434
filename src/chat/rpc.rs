//! The wire of this domain: requests in, answers and frames out, nothing decided.

mod account;
mod attachments;
mod conduct;
mod decode;
mod encode;
mod export;
mod policy;
mod search;
mod support;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::model::frame::Frame;
use super::model::member::{FIRST_MEMBERS_MAX, SeenThread, ThreadMember};
use super::model::presence::PresenceSaid;
use super::model::{Draft, Edit, Event, ThreadId};
use super::service::{CreateThread, ListEvents};
use super::store::ThreadsAfter;
use super::stream::{Frames, Inbound};
use super::{Error, Service};
use crate::auth::Caller;
use crate::base::{AccountId, Fault as _, OrganizationId, Violations};
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::encode::timestamp;
use crate::rpc::limits::Limits;
use crate::rpc::policy::RateClass;
use crate::rpc::refusals::OfStream;
use crate::rpc::{self, Exports, Pages, decode as read};

rpc::status_from!(Error);

const LIST_THREADS: &str = "chat.ListThreads";
const LIST_MEMBERS: &str = "chat.ListThreadMembers";
const LIST_EVENTS: &str = "chat.ListEvents";

/// The service `ChatService`.
#[derive(Clone)]
pub struct Rpc {
    service: Arc<Service>,
    pages: Pages,
    exports: Exports,
}

impl Rpc {
    /// Serves `service`.
    #[must_use]
    pub const fn new(service: Arc<Service>, pages: Pages, exports: Exports) -> Self {
        Self { service, pages, exports }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl wire::chat_service_server::ChatService for Rpc {
    type ExportThreadStream = Answers<wire::ExportThreadResponse>;
    type SubscribeStream = Answers<wire::SubscribeResponse>;
    type ConverseStream = Answers<wire::ConverseResponse>;

    async fn create_thread(
        &self,
        request: Request<wire::CreateThreadRequest>,
    ) -> Result<Response<wire::CreateThreadResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let member = |(index, id): (usize, &String)| {
            read::id(&mut violations, &format!("member_account_ids[{index}]"), id)
        };
        let members = request.member_account_ids.iter().take(FIRST_MEMBERS_MAX + 1).enumerate();
        let members: Vec<AccountId> = members.map(member).collect();
        let command = CreateThread {
            organization_id: read::optional_id(&mut violations, "organization_id", &request.organization_id),
            kind: decode::kind(&mut violations, request.kind),
            title: request.title,
            listing_id: read::optional_id(&mut violations, "listing_id", &request.listing_id),
            placement: request.placement,
            members,
        };
        let thread = self.service.create_thread(&caller, command.check(violations)?, key.as_deref()).await?;
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
        let question = (home, request.archived);
        let page = self.pages.open::<ThreadsAfter>(&caller, LIST_THREADS, &question, size, token)?;
        let mut threads =
            self.service.threads(&caller, home, request.archived, page.after, page.probe()).await?;
        let place =
            |seen: &SeenThread| ThreadsAfter { updated_at: seen.thread.updated_at, id: seen.thread.id };
        let next_page_token =
            self.pages.cut(&caller, LIST_THREADS, &question, page.size, &mut threads, place);
        let threads = threads.into_iter().map(encode::thread).collect();
        Ok(Response::new(wire::ListThreadsResponse { threads, next_page_token }))
    }

    async fn update_thread(
        &self,
        request: Request<wire::UpdateThreadRequest>,
    ) -> Result<Response<wire::UpdateThreadResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let command = decode::update(&mut violations, request);
        violations.finish()?;
        let thread = self.service.update_thread(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::UpdateThreadResponse { thread: Some(encode::thread(thread)) }))
    }

    async fn delete_thread(
        &self,
        request: Request<wire::DeleteThreadRequest>,
    ) -> Result<Response<wire::DeleteThreadResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let thread_id = read::only_id("thread_id", &request.thread_id)?;
        self.service.delete_thread(&caller, thread_id, &request.etag, key.as_deref()).await?;
        Ok(Response::new(wire::DeleteThreadResponse {}))
    }

    async fn add_thread_member(
        &self,
        request: Request<wire::AddThreadMemberRequest>,
    ) -> Result<Response<wire::AddThreadMemberResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let thread_id = read::id(&mut violations, "thread_id", &request.thread_id);
        let account_id = read::id(&mut violations, "account_id", &request.account_id);
        let role = decode::role(&mut violations, request.role);
        violations.finish()?;
        let member =
            self.service.add_thread_member(&caller, thread_id, account_id, role, key.as_deref()).await?;
        Ok(Response::new(wire::AddThreadMemberResponse { member: Some(encode::member(member)) }))
    }

    async fn remove_thread_member(
        &self,
        request: Request<wire::RemoveThreadMemberRequest>,
    ) -> Result<Response<wire::RemoveThreadMemberResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let thread_id = read::id(&mut violations, "thread_id", &request.thread_id);
        let account_id = read::optional_id(&mut violations, "account_id", &request.account_id);
        violations.finish()?;
        self.service.remove_thread_member(&caller, thread_id, account_id, key.as_deref()).await?;
        Ok(Response::new(wire::RemoveThreadMemberResponse {}))
    }

    async fn list_thread_members(
        &self,
        request: Request<wire::ListThreadMembersRequest>,
    ) -> Result<Response<wire::ListThreadMembersResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let thread_id: ThreadId = read::only_id("thread_id", &request.thread_id)?;
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<AccountId>(&caller, LIST_MEMBERS, &thread_id, size, token)?;
        let after = page.after.unwrap_or(AccountId::from_uuid(Uuid::nil()));
        let mut members = self.service.thread_members(&caller, thread_id, after, page.probe()).await?;
        let place = |member: &ThreadMember| member.account_id;
        let next_page_token =
            self.pages.cut(&caller, LIST_MEMBERS, &thread_id, page.size, &mut members, place);
        let members = members.into_iter().map(encode::member).collect();
        Ok(Response::new(wire::ListThreadMembersResponse { members, next_page_token }))
    }

    async fn send_message(
        &self,
        request: Request<wire::SendMessageRequest>,
    ) -> Result<Response<wire::SendMessageResponse>, Status> {
        let in_metadata = idempotency_key(request.metadata());
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let key = decode::message_key(&mut violations, &request.client_message_id, in_metadata.as_deref());
        let (thread_id, text, reply_to) = (&request.thread_id, &request.text, &request.reply_to_message_id);
        let files = &request.attachment_ids;
        let draft = Draft::parse(&mut violations, thread_id, &key, text, reply_to, files);
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
        Ok(Response::new(wire::GetMessageResponse { message: Some(encode::seen_message(message)) }))
    }

    async fn edit_message(
        &self,
        request: Request<wire::EditMessageRequest>,
    ) -> Result<Response<wire::EditMessageResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let edit = Edit::parse(&mut violations, &request.message_id, &request.text);
        violations.finish()?;
        let Some(edit) = edit else { return Err(Error::Broken(None).into()) };
        let changed = self.service.edit(&caller, edit, key.as_deref()).await?;
        let message = Some(encode::message(changed.message));
        Ok(Response::new(wire::EditMessageResponse { message, seq: changed.seq }))
    }

    async fn delete_message(
        &self,
        request: Request<wire::DeleteMessageRequest>,
    ) -> Result<Response<wire::DeleteMessageResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let message_id = read::only_id("message_id", &request.message_id)?;
        let seq = self.service.delete(&caller, message_id, key.as_deref()).await?;
        Ok(Response::new(wire::DeleteMessageResponse { seq }))
    }

    async fn add_reaction(
        &self,
        request: Request<wire::AddReactionRequest>,
    ) -> Result<Response<wire::AddReactionResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let reaction = decode::only_reaction(&request.message_id, &request.emoji)?;
        let seq = self.service.add_reaction(&caller, reaction, key.as_deref()).await?;
        Ok(Response::new(wire::AddReactionResponse { seq }))
    }

    async fn remove_reaction(
        &self,
        request: Request<wire::RemoveReactionRequest>,
    ) -> Result<Response<wire::RemoveReactionResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let reaction = decode::only_reaction(&request.message_id, &request.emoji)?;
        let seq = self.service.remove_reaction(&caller, reaction, key.as_deref()).await?;
        Ok(Response::new(wire::RemoveReactionResponse { seq }))
    }

    async fn mark_read(
        &self,
        request: Request<wire::MarkReadRequest>,
    ) -> Result<Response<wire::MarkReadResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let thread_id = read::only_id("thread_id", &request.thread_id)?;
        let read_seq = self.service.mark_read(&caller, thread_id, request.up_to_seq).await?;
        Ok(Response::new(wire::MarkReadResponse { read_seq }))
    }

    async fn set_typing(
        &self,
        request: Request<wire::SetTypingRequest>,
    ) -> Result<Response<wire::SetTypingResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let thread_id = read::only_id("thread_id", &request.thread_id)?;
        self.service.set_typing(&caller, thread_id, request.typing).await?;
        Ok(Response::new(wire::SetTypingResponse {}))
    }

    async fn create_attachment(
        &self,
        request: Request<wire::CreateAttachmentRequest>,
    ) -> Result<Response<wire::CreateAttachmentResponse>, Status> {
        self.begin_attachment(request).await
    }

    async fn upload_attachment_part(
        &self,
        request: Request<wire::UploadAttachmentPartRequest>,
    ) -> Result<Response<wire::UploadAttachmentPartResponse>, Status> {
        self.take_part(request).await
    }

    async fn complete_attachment(
        &self,
        request: Request<wire::CompleteAttachmentRequest>,
    ) -> Result<Response<wire::CompleteAttachmentResponse>, Status> {
        self.end_attachment(request).await
    }

    async fn get_attachment_link(
        &self,
        request: Request<wire::GetAttachmentLinkRequest>,
    ) -> Result<Response<wire::GetAttachmentLinkResponse>, Status> {
        self.link_attachment(request).await
    }

    async fn set_presence(
        &self,
        request: Request<wire::SetPresenceRequest>,
    ) -> Result<Response<wire::SetPresenceResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let connection = read::optional_id(&mut violations, "connection_id", &request.connection_id);
        let mode = decode::presence_mode(&mut violations, request.mode);
        violations.check(
            connection.is_some() || !request.idle,
            "connection_id",
            "must say which device is idle",
        );
        violations.finish()?;
        let said = PresenceSaid { mode, device: connection.map(|connection| (connection, request.idle)) };
        self.service.set_presence(&caller, said).await?;
        Ok(Response::new(wire::SetPresenceResponse {}))
    }

    async fn keep_alive(
        &self,
        request: Request<wire::KeepAliveRequest>,
    ) -> Result<Response<wire::KeepAliveResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let connection = read::only_id("connection_id", &request.connection_id)?;
        let kept = self.service.keep_alive(&caller, connection).await?;
        Ok(Response::new(wire::KeepAliveResponse {
            server_time: Some(timestamp(kept.at)),
            lease_expire_time: Some(timestamp(kept.until)),
            token_expire_time: kept.token_until.map(timestamp),
        }))
    }

    async fn update_subscription(
        &self,
        request: Request<wire::UpdateSubscriptionRequest>,
    ) -> Result<Response<wire::UpdateSubscriptionResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let connection = read::id(&mut violations, "connection_id", &request.connection_id);
        let change = decode::subscription_change(&mut violations, &request);
        violations.finish()?;
        self.service.update_subscription(&caller, connection, &change).await?;
        Ok(Response::new(wire::UpdateSubscriptionResponse {}))
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

    async fn search_messages(
        &self,
        request: Request<wire::SearchMessagesRequest>,
    ) -> Result<Response<wire::SearchMessagesResponse>, Status> {
        self.search(request).await
    }

    async fn block_account(
        &self,
        request: Request<wire::BlockAccountRequest>,
    ) -> Result<Response<wire::BlockAccountResponse>, Status> {
        self.block(request).await
    }

    async fn unblock_account(
        &self,
        request: Request<wire::UnblockAccountRequest>,
    ) -> Result<Response<wire::UnblockAccountResponse>, Status> {
        self.unblock(request).await
    }

    async fn list_blocked_accounts(
        &self,
        request: Request<wire::ListBlockedAccountsRequest>,
    ) -> Result<Response<wire::ListBlockedAccountsResponse>, Status> {
        self.blocked(request).await
    }

    async fn report_message(
        &self,
        request: Request<wire::ReportMessageRequest>,
    ) -> Result<Response<wire::ReportMessageResponse>, Status> {
        self.report(request).await
    }

    async fn list_support_threads(
        &self,
        request: Request<wire::ListSupportThreadsRequest>,
    ) -> Result<Response<wire::ListSupportThreadsResponse>, Status> {
        self.support_threads(request).await
    }

    async fn take_support_thread(
        &self,
        request: Request<wire::TakeSupportThreadRequest>,
    ) -> Result<Response<wire::TakeSupportThreadResponse>, Status> {
        self.take_support(request).await
    }

    async fn update_support_thread(
        &self,
        request: Request<wire::UpdateSupportThreadRequest>,
    ) -> Result<Response<wire::UpdateSupportThreadResponse>, Status> {
        self.update_support(request).await
    }

    async fn export_thread(
        &self,
        request: Request<wire::ExportThreadRequest>,
    ) -> Result<Response<Self::ExportThreadStream>, Status> {
        self.export(request).await
    }

    async fn get_chat_policy(
        &self,
        request: Request<wire::GetChatPolicyRequest>,
    ) -> Result<Response<wire::GetChatPolicyResponse>, Status> {
        self.policy(request).await
    }

    async fn update_chat_policy(
        &self,
        request: Request<wire::UpdateChatPolicyRequest>,
    ) -> Result<Response<wire::UpdateChatPolicyResponse>, Status> {
        self.change_policy(request).await
    }

    async fn subscribe(
        &self,
        request: Request<wire::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let refusals = rpc::refusals(&request)?;
        let (caller, request) = rpc::open(request)?;
        let request_id = caller.origin.request_id.clone();
        let mut violations = Violations::new();
        let wire::SubscribeRequest { threads, watch_presence, account } = request;
        let opening = decode::opening(&mut violations, &threads, watch_presence.as_ref(), account);
        let follows = !threads.is_empty() || account.is_some();
        violations.check(follows, "threads", "must not be empty, unless account is set");
        violations.finish()?;
        let frames = self.service.subscribe(caller, opening).await?;
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

/// What is written over a stream draws on the same budget as the calls that write the same.
fn within(limits: &Limits, payer: &Caller, word: Inbound) -> Inbound {
    let Inbound::Frame(frame) = word else { return word };
    if !frame.body.is_write() {
        return Inbound::Frame(frame);
    }
    match limits.take(RateClass::Message, payer) {
        Ok(()) => Inbound::Frame(frame),
        Err(refusal) => Inbound::Refused {
            client_message_id: frame.body.client_message_id().map(|id| id.to_string()).unwrap_or_default(),
            request_id: frame.request_id,
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
