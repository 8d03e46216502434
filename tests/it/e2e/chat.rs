//! Conversations over real sockets. Every scenario of a stream runs over each kind of stream: Subscribe, Subscribe as a
//! browser reads it, and Converse.

pub mod account;
pub mod agents;
mod attachments;
mod conduct;
pub mod connections;
mod ends;
mod plans;
pub mod presence;
mod support;
pub mod ways;

use std::time::Duration;

use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;
use wire::client_frame::Frame as Say;
use wire::event::Change;
use wire::server_frame::Frame;

use crate::support::{App, Person, grpc_web, on_both};

const SUBSCRIBE: &str = "/capecontrol.chat.v1.ChatService/Subscribe";
const NO_THREAD: &str = "0198c0de-dead-7000-8000-000000000000";
/// A test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Subscribe,
    Browser,
    Converse,
}

pub const KINDS: [Kind; 3] = [Kind::Subscribe, Kind::Browser, Kind::Converse];

/// The client's end of a stream.
pub enum Client {
    Subscribe(Streaming<wire::SubscribeResponse>),
    Browser(Box<grpc_web::Answer>),
    Converse(Streaming<wire::ConverseResponse>, mpsc::UnboundedSender<wire::ConverseRequest>),
}

impl Client {
    pub async fn open(
        t: &App,
        who: &Person,
        kind: Kind,
        threads: Vec<wire::ThreadCursor>,
    ) -> Result<Self, Status> {
        let request = wire::SubscribeRequest { threads, ..Default::default() };
        Self::open_with(t, who, kind, request).await
    }

    /// A stream of this kind that tells what is asked for.
    pub async fn open_with(
        t: &App,
        who: &Person,
        kind: Kind,
        request: wire::SubscribeRequest,
    ) -> Result<Self, Status> {
        match kind {
            Kind::Subscribe => Ok(Self::Subscribe(who.chat().subscribe(request).await?.into_inner())),
            Kind::Browser => {
                let mut headers = HeaderMap::new();
                let bearer = HeaderValue::from_str(&format!("Bearer {}", who.token)).unwrap();
                headers.insert("authorization", bearer);
                let answer = grpc_web::call(&t.http, &t.url, SUBSCRIBE, headers, &request).await;
                match answer.grpc_status() {
                    Some(code) => Err(Status::new(Code::from(code), "")),
                    None => Ok(Self::Browser(Box::new(answer))),
                }
            }
            Kind::Converse => {
                let mut client = Self::converse(who).await?;
                let wire::SubscribeRequest { threads, watch_presence, account } = request;
                client.say(Say::Hello(wire::Hello { threads, watch_presence, account }));
                Ok(client)
            }
        }
    }

    pub async fn converse(who: &Person) -> Result<Self, Status> {
        let (words, heard) = mpsc::unbounded_channel();
        let frames = who.chat().converse(UnboundedReceiverStream::new(heard)).await?.into_inner();
        Ok(Self::Converse(frames, words))
    }

    pub fn say(&mut self, frame: Say) {
        let Self::Converse(_, words) = self else { panic!("only a conversation has two sides") };
        let frame = wire::ClientFrame { request_id: "r1".to_owned(), frame: Some(frame) };
        words.send(wire::ConverseRequest { frame: Some(frame) }).unwrap();
    }

    pub async fn next(&mut self) -> Result<Option<Frame>, Status> {
        let frame = tokio::time::timeout(PATIENCE, self.read()).await.unwrap()?;
        Ok(frame.map(|frame| frame.frame.unwrap()))
    }

    async fn read(&mut self) -> Result<Option<wire::ServerFrame>, Status> {
        match self {
            Self::Subscribe(frames) => Ok(frames.message().await?.and_then(|item| item.frame)),
            Self::Converse(frames, _) => Ok(frames.message().await?.and_then(|item| item.frame)),
            Self::Browser(answer) => match answer.message::<wire::SubscribeResponse>().await {
                Some(item) => Ok(item.frame),
                None => match answer.grpc_status() {
                    Some(0) | None => Ok(None),
                    Some(code) => Err(Status::new(Code::from(code), "")),
                },
            },
        }
    }

    pub async fn event(&mut self) -> wire::Event {
        loop {
            if let Frame::Event(event) = self.next().await.unwrap().unwrap() {
                return event;
            }
        }
    }

    pub async fn live(&mut self) -> i64 {
        loop {
            if let Frame::Live(live) = self.next().await.unwrap().unwrap() {
                return live.seq;
            }
        }
    }

    async fn positions(&mut self, last: i64) -> Vec<i64> {
        let mut positions = Vec::new();
        while positions.last() != Some(&last) {
            positions.push(self.event().await.seq);
        }
        positions
    }

    /// Reads to the end, and tells the goodbye and the status.
    pub async fn end(&mut self) -> (Option<wire::GoAwayCode>, Code) {
        let mut goodbye = None;
        loop {
            match self.next().await {
                Ok(Some(Frame::GoAway(frame))) => goodbye = Some(frame.code()),
                Ok(Some(_)) => {}
                Ok(None) => return (goodbye, Code::Ok),
                Err(status) => return (goodbye, status.code()),
            }
        }
    }
}

pub fn from(thread_id: &str, after_seq: i64) -> wire::ThreadCursor {
    wire::ThreadCursor { thread_id: thread_id.to_owned(), after_seq, ..Default::default() }
}

fn key() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static KEYS: AtomicU64 = AtomicU64::new(1);
    uuid::Uuid::from_u128(u128::from(KEYS.fetch_add(1, Ordering::Relaxed))).to_string()
}

fn message(thread_id: &str, text: &str) -> wire::SendMessageRequest {
    wire::SendMessageRequest {
        thread_id: thread_id.to_owned(),
        client_message_id: key(),
        text: text.to_owned(),
        ..Default::default()
    }
}

pub async fn open_thread(who: &Person, listing_id: &str) -> wire::Thread {
    let request = wire::CreateThreadRequest {
        title: "Talk".to_owned(),
        listing_id: listing_id.to_owned(),
        request_id: key(),
        ..Default::default()
    };
    who.chat().create_thread(request).await.unwrap().into_inner().thread.unwrap()
}

pub async fn send(who: &Person, thread_id: &str, text: &str) -> wire::Message {
    who.chat().send_message(message(thread_id, text)).await.unwrap().into_inner().message.unwrap()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn wrong_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let told = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    told.into_iter().map(|violation| violation.field).collect()
}

async fn left_by_everybody(t: &App) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while t.node.chat.hub().census() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

on_both! {
    async fn a_stream_tells_the_past_and_then_the_present(t: App) {
        let ada = t.register("ada@example.com").await;
        for kind in KINDS {
            let thread = open_thread(&ada, "").await;
            for number in 1..=3 {
                send(&ada, &thread.id, &number.to_string()).await;
            }
            let mut client = Client::open(&t, &ada, kind, vec![from(&thread.id, 1)]).await.unwrap();
            let Some(Frame::Welcome(welcome)) = client.next().await.unwrap() else { panic!("no welcome") };
            assert_eq!((welcome.threads_max, welcome.text_characters_max), (100, 16_000));
            let Some(Frame::CatchUp(catch_up)) = client.next().await.unwrap() else { panic!("no catch-up") };
            assert_eq!((catch_up.from_seq, catch_up.to_seq, catch_up.reset), (2, 3, false));
            assert_eq!(client.positions(3).await, [2, 3]);
            assert_eq!(client.live().await, 3);
            let sent = send(&ada, &thread.id, "now").await;
            let event = client.event().await;
            assert_eq!(event.change, Some(Change::MessageCreated(sent.clone())));
            assert_eq!((event.seq, sent.seq, sent.text.as_str()), (4, 4, "now"));
        }
        left_by_everybody(&t).await;
    }

    async fn no_gap_and_no_repeat_while_many_write(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..3 {
            let (ada, thread_id) = (ada.clone(), thread.id.clone());
            writers.spawn(async move {
                for number in 0..15 {
                    send(&ada, &thread_id, &format!("{writer}/{number}")).await;
                }
            });
        }
        let mut clients = Vec::new();
        for kind in KINDS {
            clients.push(Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap());
        }
        for client in &mut clients {
            assert_eq!(client.positions(45).await, (1..=45).collect::<Vec<i64>>());
        }
        writers.join_all().await;
    }

    async fn a_foreign_thread_and_none_get_the_same_bytes(t: App) {
        let ada = t.register("ada@example.com").await;
        let eve = t.register("eve@example.com").await;
        let thread = open_thread(&ada, "").await;
        let secret = send(&ada, &thread.id, "secret").await;
        let mut chat = eve.chat();
        let mut told = Vec::new();
        for thread_id in [thread.id.as_str(), NO_THREAD] {
            let get = wire::GetThreadRequest { thread_id: thread_id.to_owned() };
            told.push(chat.get_thread(get).await.unwrap_err());
            told.push(chat.send_message(message(thread_id, "hi")).await.unwrap_err());
            let list = wire::ListEventsRequest { thread_id: thread_id.to_owned(), ..Default::default() };
            told.push(chat.list_events(list).await.unwrap_err());
            let subscribe = wire::SubscribeRequest { threads: vec![from(thread_id, 0)], ..Default::default() };
            told.push(chat.subscribe(subscribe).await.unwrap_err());
            let mut hello = Client::open(&t, &eve, Kind::Converse, vec![from(thread_id, 0)]).await.unwrap();
            told.push(hello.next().await.unwrap_err());
            let browser = Client::open(&t, &eve, Kind::Browser, vec![from(thread_id, 0)]).await;
            assert_eq!(browser.err().unwrap().code(), Code::NotFound);
        }
        for status in &told {
            assert_eq!((status.code(), reason(status).as_str()), (Code::NotFound, "NOT_FOUND"));
            assert_eq!((status.message(), status.details()), (told[0].message(), told[0].details()));
        }
        let mut told = Vec::new();
        for message_id in [secret.id.as_str(), NO_THREAD] {
            let get = wire::GetMessageRequest { message_id: message_id.to_owned() };
            told.push(chat.get_message(get).await.unwrap_err());
        }
        assert_eq!((told[0].code(), told[1].code()), (Code::NotFound, Code::NotFound));
        assert_eq!((told[0].message(), told[0].details()), (told[1].message(), told[1].details()));
        let organization_id = ada.organization_id.to_string();
        let foreign = wire::ListThreadsRequest { organization_id: organization_id.clone(), ..Default::default() };
        assert_eq!(chat.list_threads(foreign).await.unwrap_err().code(), Code::NotFound);
        let foreign = wire::CreateThreadRequest { organization_id, ..Default::default() };
        assert_eq!(chat.create_thread(foreign).await.unwrap_err().code(), Code::NotFound);
    }

    async fn nobody_gets_in_without_signing_in(t: App) {
        let mut chat = ChatServiceClient::new(t.channel());
        let told = [
            chat.create_thread(wire::CreateThreadRequest::default()).await.unwrap_err(),
            chat.get_thread(wire::GetThreadRequest::default()).await.unwrap_err(),
            chat.list_threads(wire::ListThreadsRequest::default()).await.unwrap_err(),
            chat.send_message(wire::SendMessageRequest::default()).await.unwrap_err(),
            chat.get_message(wire::GetMessageRequest::default()).await.unwrap_err(),
            chat.list_events(wire::ListEventsRequest::default()).await.unwrap_err(),
            chat.subscribe(wire::SubscribeRequest::default()).await.unwrap_err(),
            chat.converse(tokio_stream::empty()).await.unwrap_err(),
        ];
        assert!(told.iter().all(|status| status.code() == Code::Unauthenticated), "{told:?}");
    }

    async fn a_wrong_request_names_every_wrong_field(t: App) {
        let ada = t.register("ada@example.com").await;
        let mut chat = ada.chat();
        let thread = open_thread(&ada, "").await;
        let wrong = wire::CreateThreadRequest {
            organization_id: "x".to_owned(),
            listing_id: "y".to_owned(),
            title: "two\nlines".to_owned(),
            request_id: String::new(), ..Default::default() };
        let status = chat.create_thread(wrong).await.unwrap_err();
        assert_eq!(wrong_fields(&status), ["organization_id", "listing_id", "title"]);
        let status = chat.send_message(wire::SendMessageRequest::default()).await.unwrap_err();
        assert_eq!(wrong_fields(&status), ["thread_id", "client_message_id", "text"]);
        let long = message(&thread.id, &"é".repeat(16_001));
        assert_eq!(wrong_fields(&chat.send_message(long).await.unwrap_err()), ["text"]);
        assert!(chat.send_message(message(&thread.id, &"é".repeat(16_000))).await.is_ok());
        let status = chat.subscribe(wire::SubscribeRequest::default()).await.unwrap_err();
        assert_eq!(wrong_fields(&status), ["threads"]);
        let twice = vec![from(&thread.id, 0), from(&thread.id, 0), from("?", -1)];
        let status = chat.subscribe(wire::SubscribeRequest { threads: twice, ..Default::default() }).await.unwrap_err();
        assert_eq!(wrong_fields(&status), ["threads[2].thread_id", "threads[2].after_seq", "threads[1].thread_id"]);
        let wrong = wire::ListEventsRequest { after_seq: -1, before_seq: -1, ..Default::default() };
        assert_eq!(wrong_fields(&chat.list_events(wrong).await.unwrap_err()), ["thread_id", "after_seq", "before_seq"]);
        for status in [
            chat.get_thread(wire::GetThreadRequest::default()).await.unwrap_err(),
            chat.get_message(wire::GetMessageRequest::default()).await.unwrap_err(),
            chat.list_threads(wire::ListThreadsRequest { page_size: -1, ..Default::default() }).await.unwrap_err(),
        ] {
            assert_eq!(wrong_fields(&status).len(), 1);
        }
    }

    async fn a_message_is_sent_once_by_its_key(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut chat = ada.chat();
        let request = message(&thread.id, "once");
        let first = chat.send_message(request.clone()).await.unwrap().into_inner();
        let again = chat.send_message(request.clone()).await.unwrap().into_inner();
        assert_eq!((first.duplicate, again.duplicate), (false, true));
        assert_eq!(first.message, again.message);
        let read = wire::GetMessageRequest { message_id: first.message.clone().unwrap().id };
        assert_eq!(chat.get_message(read).await.unwrap().into_inner().message, first.message);
        let other = wire::SendMessageRequest { text: "twice".to_owned(), ..request.clone() };
        let status = chat.send_message(other).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"));
        // The metadata is the same key, and may stand in for the field.
        let mut disagreeing = Request::new(message(&thread.id, "hm"));
        disagreeing.metadata_mut().insert("idempotency-key", key().parse().unwrap());
        assert_eq!(wrong_fields(&chat.send_message(disagreeing).await.unwrap_err()), ["client_message_id"]);
        let without = wire::SendMessageRequest { client_message_id: String::new(), ..request.clone() };
        let mut standing_in = Request::new(without);
        standing_in.metadata_mut().insert("idempotency-key", request.client_message_id.parse().unwrap());
        assert_eq!(chat.send_message(standing_in).await.unwrap().into_inner().message, first.message);
        // Fifty at once.
        let same = message(&thread.id, "fifty");
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (mut chat, same) = (ada.chat(), same.clone());
            senders.spawn(async move { chat.send_message(same).await.unwrap().into_inner() });
        }
        let answers = senders.join_all().await;
        assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
        assert!(answers.iter().all(|answer| answer.message == answers[0].message));
        let read = wire::GetThreadRequest { thread_id: thread.id };
        assert_eq!(chat.get_thread(read).await.unwrap().into_inner().thread.unwrap().last_seq, 2);
    }

    async fn lists_are_read_page_by_page(t: App) {
        let ada = t.register("ada@example.com").await;
        let eve = t.register("eve@example.com").await;
        let thread = open_thread(&ada, "").await;
        open_thread(&ada, "").await;
        for number in 1..=5 {
            send(&ada, &thread.id, &number.to_string()).await;
        }
        let mut chat = ada.chat();
        for (newest_first, expected) in [(false, [1, 2, 3, 4, 5]), (true, [5, 4, 3, 2, 1])] {
            let mut request = wire::ListEventsRequest {
                thread_id: thread.id.clone(),
                page_size: 2,
                newest_first,
                ..Default::default()
            };
            let mut read = Vec::new();
            loop {
                let page = chat.list_events(request.clone()).await.unwrap().into_inner();
                read.extend(page.events.iter().map(|event| event.seq));
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
            assert_eq!(read, expected);
        }
        let first = wire::ListThreadsRequest { page_size: 1, ..Default::default() };
        let page = chat.list_threads(first.clone()).await.unwrap().into_inner();
        let second = wire::ListThreadsRequest { page_token: page.next_page_token, ..first };
        assert_eq!(chat.list_threads(second.clone()).await.unwrap().into_inner().threads.len(), 1);
        let status = eve.chat().list_threads(second).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "PAGE_TOKEN_MISMATCH"));
    }

    async fn a_conversation_refuses_in_frames_and_goes_on(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut client = Client::open(&t, &ada, Kind::Converse, vec![from(&thread.id, 0)]).await.unwrap();
        client.live().await;
        let draft = |text: &str| wire::MessageDraft {
            thread_id: thread.id.clone(),
            client_message_id: key(),
            text: text.to_owned(), ..Default::default() };
        client.say(Say::SendMessage(draft(" ")));
        let Some(Frame::Nack(nack)) = client.next().await.unwrap() else { panic!("no refusal") };
        assert_eq!((nack.code, nack.reason.as_str(), nack.request_id.as_str()), (3, "INVALID_ARGUMENT", "r1"));
        assert_eq!((nack.violations[0].field.as_str(), nack.retryable), ("text", false));
        let good = draft("good");
        client.say(Say::SendMessage(good.clone()));
        let (mut acked, mut told) = (None, None);
        while acked.is_none() || told.is_none() {
            match client.next().await.unwrap().unwrap() {
                Frame::Ack(ack) => acked = Some(ack),
                Frame::Event(event) => told = Some(event),
                other => panic!("{other:?}"),
            }
        }
        let (acked, told) = (acked.unwrap(), told.unwrap());
        assert_eq!((acked.seq, acked.duplicate, acked.client_message_id), (1, false, good.client_message_id));
        assert_eq!(told.seq, 1);
        // The last word: everything is told, and the stream ends well.
        let Client::Converse(mut frames, words) = client else { panic!() };
        drop(words);
        assert!(frames.message().await.unwrap().is_none());
        left_by_everybody(&t).await;
    }
}
