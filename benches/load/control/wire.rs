//! A bare tonic server for the methods that are measured: one handler each, on tonic's own transport.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use capecontrol::base::Timestamp;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use futures_util::{Stream, StreamExt as _, future, stream};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::store::Store;
use crate::Outcome;
use crate::client::{ACCOUNT_HEADER, frame};

/// How many frames a reader may lag behind: more than a wave has.
const LAG_MAX: usize = 256;

/// Serves until it is killed.
pub async fn serve(listener: TcpListener, store: Arc<Store>, channels: Arc<Channels>) -> Outcome<()> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    Server::builder()
        .add_service(health)
        .add_service(auth::account_service_server::AccountServiceServer::new(Accounts { store }))
        .add_service(chat::chat_service_server::ChatServiceServer::new(Chat { channels }))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

struct Accounts {
    store: Arc<Store>,
}

#[tonic::async_trait]
impl auth::account_service_server::AccountService for Accounts {
    async fn get_account(
        &self,
        request: Request<auth::GetAccountRequest>,
    ) -> Result<Response<auth::GetAccountResponse>, Status> {
        let id = request.metadata().get(ACCOUNT_HEADER).and_then(|value| value.to_str().ok());
        let id = id.and_then(|id| id.parse().ok()).ok_or_else(|| Status::unauthenticated("who?"))?;
        let account = self.store.account(id).await.map_err(|error| Status::internal(error.to_string()))?;
        let account = auth::Account {
            id: account.id.to_string(),
            email: account.email.as_str().to_owned(),
            email_verified: account.email_verified,
            role: auth::Role::Customer.into(),
            personal_organization_id: account.personal_organization.to_string(),
            display_name: account.profile.display_name,
            bio: account.profile.bio,
            company: account.profile.company,
            website: account.profile.website,
            skills: account.profile.skills,
            interests: account.profile.interests,
            preferences: account.profile.preferences.into_iter().collect(),
            etag: account.version.to_string(),
            create_time: Some(timestamp(account.created_at)),
            update_time: Some(timestamp(account.updated_at)),
        };
        Ok(Response::new(auth::GetAccountResponse { account: Some(account) }))
    }

    async fn update_account(
        &self,
        _request: Request<auth::UpdateAccountRequest>,
    ) -> Result<Response<auth::UpdateAccountResponse>, Status> {
        Err(not_measured())
    }

    async fn list_sessions(
        &self,
        _request: Request<auth::ListSessionsRequest>,
    ) -> Result<Response<auth::ListSessionsResponse>, Status> {
        Err(not_measured())
    }

    async fn revoke_session(
        &self,
        _request: Request<auth::RevokeSessionRequest>,
    ) -> Result<Response<auth::RevokeSessionResponse>, Status> {
        Err(not_measured())
    }

    async fn revoke_other_sessions(
        &self,
        _request: Request<auth::RevokeOtherSessionsRequest>,
    ) -> Result<Response<auth::RevokeOtherSessionsResponse>, Status> {
        Err(not_measured())
    }
}

/// A channel for each thread. Every subscriber gets a copy of what is sent.
#[derive(Default)]
pub struct Channels {
    threads: Mutex<HashMap<String, broadcast::Sender<Arc<chat::SubscribeResponse>>>>,
}

impl Channels {
    /// Sends a message to everybody who follows its thread.
    pub fn deliver(&self, message: &chat::SendMessageRequest) {
        // Nobody may listen.
        let _ = self.of(&message.thread_id).send(Arc::new(frame(message)));
    }

    fn of(&self, thread: &str) -> broadcast::Sender<Arc<chat::SubscribeResponse>> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.entry(thread.to_owned()).or_insert_with(|| broadcast::Sender::new(LAG_MAX)).clone()
    }
}

struct Chat {
    channels: Arc<Channels>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Calls that nobody measures, as `async_trait` writes them: it does not look into macros.
macro_rules! not_measured {
    ($($name:ident: $request:ident => $response:ident,)+) => {
        $(fn $name<'life0, 'async_trait>(
            &'life0 self,
            _request: Request<chat::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<chat::$response>, Status>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(future::ready(Err(not_measured())))
        })+
    };
}

#[tonic::async_trait]
impl chat::chat_service_server::ChatService for Chat {
    type ExportThreadStream = Answers<chat::ExportThreadResponse>;
    type SubscribeStream = Answers<chat::SubscribeResponse>;
    type ConverseStream = Answers<chat::ConverseResponse>;

    not_measured! {
        create_thread: CreateThreadRequest => CreateThreadResponse,
        get_thread: GetThreadRequest => GetThreadResponse,
        list_threads: ListThreadsRequest => ListThreadsResponse,
        update_thread: UpdateThreadRequest => UpdateThreadResponse,
        delete_thread: DeleteThreadRequest => DeleteThreadResponse,
        add_thread_member: AddThreadMemberRequest => AddThreadMemberResponse,
        remove_thread_member: RemoveThreadMemberRequest => RemoveThreadMemberResponse,
        list_thread_members: ListThreadMembersRequest => ListThreadMembersResponse,
        send_message: SendMessageRequest => SendMessageResponse,
        get_message: GetMessageRequest => GetMessageResponse,
        edit_message: EditMessageRequest => EditMessageResponse,
        delete_message: DeleteMessageRequest => DeleteMessageResponse,
        add_reaction: AddReactionRequest => AddReactionResponse,
        remove_reaction: RemoveReactionRequest => RemoveReactionResponse,
        mark_read: MarkReadRequest => MarkReadResponse,
        set_typing: SetTypingRequest => SetTypingResponse,
        set_presence: SetPresenceRequest => SetPresenceResponse,
        keep_alive: KeepAliveRequest => KeepAliveResponse,
        update_subscription: UpdateSubscriptionRequest => UpdateSubscriptionResponse,
        create_attachment: CreateAttachmentRequest => CreateAttachmentResponse,
        upload_attachment_part: UploadAttachmentPartRequest => UploadAttachmentPartResponse,
        complete_attachment: CompleteAttachmentRequest => CompleteAttachmentResponse,
        get_attachment_link: GetAttachmentLinkRequest => GetAttachmentLinkResponse,
        list_events: ListEventsRequest => ListEventsResponse,
        list_support_threads: ListSupportThreadsRequest => ListSupportThreadsResponse,
        take_support_thread: TakeSupportThreadRequest => TakeSupportThreadResponse,
        update_support_thread: UpdateSupportThreadRequest => UpdateSupportThreadResponse,
        search_messages: SearchMessagesRequest => SearchMessagesResponse,
        block_account: BlockAccountRequest => BlockAccountResponse,
        unblock_account: UnblockAccountRequest => UnblockAccountResponse,
        list_blocked_accounts: ListBlockedAccountsRequest => ListBlockedAccountsResponse,
        report_message: ReportMessageRequest => ReportMessageResponse,
        get_chat_policy: GetChatPolicyRequest => GetChatPolicyResponse,
        update_chat_policy: UpdateChatPolicyRequest => UpdateChatPolicyResponse,
    }

    async fn subscribe(
        &self,
        request: Request<chat::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let thread = request.threads.first().ok_or_else(|| Status::invalid_argument("which thread?"))?;
        let live = chat::Live { thread_id: thread.thread_id.clone(), seq: 0, epoch: 1 };
        let live = chat::ServerFrame { frame: Some(chat::server_frame::Frame::Live(live)) };
        let first = stream::once(future::ready(Ok(chat::SubscribeResponse { frame: Some(live) })));
        let news =
            BroadcastStream::new(self.channels.of(&thread.thread_id).subscribe()).map(|frame| match frame {
                Ok(frame) => Ok((*frame).clone()),
                Err(lagged) => Err(Status::data_loss(lagged.to_string())),
            });
        Ok(Response::new(Box::pin(first.chain(news))))
    }

    async fn export_thread(
        &self,
        _request: Request<chat::ExportThreadRequest>,
    ) -> Result<Response<Self::ExportThreadStream>, Status> {
        Err(not_measured())
    }

    async fn converse(
        &self,
        _request: Request<Streaming<chat::ConverseRequest>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        Err(not_measured())
    }
}

fn not_measured() -> Status {
    Status::unimplemented("nobody measures this")
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_seconds(), nanos: 0 }
}
