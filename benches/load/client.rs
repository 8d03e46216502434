//! Whoever loads the programs: connections, people, and streams, the same for the platform and for the control.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use capecontrol::app::real;
use capecontrol::base::Timestamp;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::account_service_client::AccountServiceClient;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::payments::v1::invoice_service_client::InvoiceServiceClient;
use capecontrol::proto::capecontrol::payments::v1::payments_service_client::PaymentsServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::rows::MESSAGE;
use crate::scene::{self, Scene};
use crate::{Failure, Outcome};

/// The control is told in plain words who calls.
pub const ACCOUNT_HEADER: &str = "x-account";

/// What somebody puts on every call, for both programs alike.
#[derive(Clone)]
pub struct Credentials {
    bearer: MetadataValue<Ascii>,
    account: MetadataValue<Ascii>,
}

impl tonic::service::Interceptor for Credentials {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request.metadata_mut().insert(ACCOUNT_HEADER, self.account.clone());
        Ok(request)
    }
}

/// A connection of somebody who is signed in.
pub type Signed = InterceptedService<Channel, Credentials>;

/// Everybody in the scene, signed in at one program, and connections to it.
#[derive(Clone)]
pub struct Crowd {
    people: Vec<Credentials>,
    channels: Vec<Channel>,
}

impl Crowd {
    /// Signs everybody in at the platform.
    pub async fn sign_in(url: &str, scene: &Scene, connections: usize) -> Outcome<Self> {
        let channels = connect(url, connections).await?;
        let channel = channels.first().ok_or("no connection")?;
        let mut people = Vec::with_capacity(scene.accounts.len());
        for (number, account) in scene.accounts.iter().enumerate() {
            let session = patiently(channel.clone(), number).await?;
            people.push(Credentials {
                bearer: format!("Bearer {}", session.access_token).parse()?,
                account: account.to_string().parse()?,
            });
        }
        Ok(Self { people, channels })
    }

    /// The same people at the control, which believes everybody.
    pub async fn elsewhere(&self, url: &str, connections: usize) -> Outcome<Self> {
        Ok(Self { people: self.people.clone(), channels: connect(url, connections).await? })
    }

    fn signed(&self, connection: usize, person: usize) -> Signed {
        let channel = &self.channels[connection % self.channels.len()];
        InterceptedService::new(channel.clone(), self.people[person % self.people.len()].clone())
    }

    /// Accounts, over one of the connections.
    pub fn accounts(&self, connection: usize, person: usize) -> AccountServiceClient<Signed> {
        AccountServiceClient::new(self.signed(connection, person))
    }

    /// Invoices, over one of the connections.
    pub fn invoices(&self, connection: usize, person: usize) -> InvoiceServiceClient<Signed> {
        InvoiceServiceClient::new(self.signed(connection, person))
    }

    /// Payments, over one of the connections.
    pub fn payments(&self, connection: usize, person: usize) -> PaymentsServiceClient<Signed> {
        PaymentsServiceClient::new(self.signed(connection, person))
    }

    /// One of the connections, for somebody who is not signed in.
    pub fn stranger(&self, connection: usize) -> Channel {
        self.channels[connection % self.channels.len()].clone()
    }

    /// The same connections with more people, who are signed in with these tokens.
    pub fn joined_by(&mut self, tokens: impl IntoIterator<Item = String>) -> Outcome<()> {
        for token in tokens {
            let account = MetadataValue::from_static("");
            self.people.push(Credentials { bearer: format!("Bearer {token}").parse()?, account });
        }
        Ok(())
    }

    /// Conversations, over one of the connections.
    pub fn chat(&self, connection: usize, person: usize) -> ChatServiceClient<Signed> {
        ChatServiceClient::new(self.signed(connection, person))
    }
}

/// Signs one person in who may have tried too often before: comes back when the answer says so.
pub async fn patiently(channel: Channel, person: usize) -> Outcome<auth::IssuedSession> {
    loop {
        let failure = match log_in(channel.clone(), person).await {
            Ok(session) => return Ok(session),
            Err(failure) => failure,
        };
        let told = failure.downcast_ref::<tonic::Status>().and_then(StatusExt::get_details_retry_info);
        let Some(delay) = told.and_then(|told| told.retry_delay) else { return Err(failure) };
        tokio::time::sleep(delay).await;
    }
}

/// Signs one person of the scene in.
pub async fn log_in(channel: Channel, person: usize) -> Outcome<auth::IssuedSession> {
    let request = auth::LoginRequest {
        email: scene::email(person),
        password: scene::PASSWORD.to_owned(),
        session_transport: auth::SessionTransport::Token.into(),
        request_id: String::new(),
    };
    match AuthServiceClient::new(channel).login(request).await?.into_inner().result {
        Some(auth::login_response::Result::Session(session)) => Ok(session),
        _ => Err("no session in the answer".into()),
    }
}

/// Opens connections, each a socket of its own.
pub async fn connect(url: &str, connections: usize) -> Outcome<Vec<Channel>> {
    let mut channels = Vec::with_capacity(connections);
    for _ in 0..connections {
        channels.push(Endpoint::new(url.to_owned())?.connect().await?);
    }
    Ok(channels)
}

/// Opens a stream on a thread and waits until it is live.
pub async fn follow(
    mut chat: ChatServiceClient<Signed>,
    thread: String,
) -> Outcome<tonic::Streaming<chat::SubscribeResponse>> {
    // Beyond every event: only what comes from now on.
    let cursor = chat::ThreadCursor { thread_id: thread, newest: 1, ..chat::ThreadCursor::default() };
    let mut frames = chat
        .subscribe(chat::SubscribeRequest { threads: vec![cursor], ..Default::default() })
        .await?
        .into_inner();
    while let Some(answer) = frames.message().await? {
        if matches!(kind(&answer), Some(chat::server_frame::Frame::Live(_))) {
            return Ok(frames);
        }
    }
    Err(Failure::from("a stream ended before it was live"))
}

/// What a frame says.
pub fn kind(answer: &chat::SubscribeResponse) -> Option<&chat::server_frame::Frame> {
    answer.frame.as_ref()?.frame.as_ref()
}

/// An id that nobody else has, without the cost of randomness.
pub fn unique() -> Uuid {
    static FIRST: LazyLock<u128> = LazyLock::new(|| real::world().id::<Crowd>().uuid().as_u128());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Uuid::from_u128(FIRST.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into()))
}

/// A message to send.
pub fn message(thread: &str) -> chat::SendMessageRequest {
    chat::SendMessageRequest {
        thread_id: thread.to_owned(),
        client_message_id: unique().to_string(),
        text: MESSAGE.to_owned(),
        ..Default::default()
    }
}

/// A message whose id tells when it was made, by a clock that the programs share.
pub fn stamped(thread: &str) -> chat::SendMessageRequest {
    let micros = u128::from(real::world().now().as_micros().unsigned_abs());
    let id = Uuid::from_u128(micros << 64 | (unique().as_u128() & u128::from(u64::MAX)));
    chat::SendMessageRequest { client_message_id: id.to_string(), ..message(thread) }
}

/// How long ago a message was made, of which a frame tells.
pub fn age(frame: &chat::SubscribeResponse) -> Option<Duration> {
    let Some(chat::server_frame::Frame::Event(event)) = kind(frame) else { return None };
    let Some(chat::event::Change::MessageCreated(message)) = &event.change else { return None };
    let id: Uuid = message.client_message_id.parse().ok()?;
    let made = i64::try_from(id.as_u128() >> 64).ok()?;
    Some(real::world().now().since(Timestamp::from_micros(made)))
}

/// The frame in which a message reaches those who follow its thread, of the same length as the platform's.
pub fn frame(request: &chat::SendMessageRequest) -> chat::SubscribeResponse {
    let author = || Some(chat::Actor { actor: Some(chat::actor::Actor::AccountId(unique().to_string())) });
    let at = || Some(prost_types::Timestamp { seconds: 1_795_000_000, nanos: 123_456_000 });
    let message = chat::Message {
        id: unique().to_string(),
        thread_id: request.thread_id.clone(),
        seq: 100,
        author: author(),
        client_message_id: request.client_message_id.clone(),
        reply_to_message_id: String::new(),
        text: request.text.clone(),
        create_time: at(),
        ..Default::default()
    };
    let event = chat::Event {
        thread_id: request.thread_id.clone(),
        seq: 100,
        actor: author(),
        create_time: at(),
        change: Some(chat::event::Change::MessageCreated(message)),
    };
    chat::SubscribeResponse {
        frame: Some(chat::ServerFrame { frame: Some(chat::server_frame::Frame::Event(event)) }),
    }
}
