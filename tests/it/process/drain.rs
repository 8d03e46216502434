//! The end of a process that is busy: what was acknowledged is there afterwards, and everybody is told how to go on.

use std::collections::BTreeSet;

use capecontrol::db::{self, Conn as _, Db, Engine, Scope};
use capecontrol::proto::capecontrol::chat::v1::event::Change;
use capecontrol::proto::capecontrol::chat::v1::{
    ListEventsRequest, SendMessageRequest, SendMessageResponse, SubscribeResponse, Thread,
};
use tokio::task::JoinSet;
use tonic::{Code, Response, Status, Streaming};
use tonic_types::StatusExt as _;

use super::*;
use crate::support::database_url;

const STREAMS: usize = 100;
const CALLS: usize = 50;

type Signed = InterceptedService<Channel, Bearer>;
type Sent = JoinSet<Result<Response<SendMessageResponse>, Status>>;

/// A node with somebody in it, and its database seen from outside.
struct Scene {
    folder: tempfile::TempDir,
    url: String,
    node: Node,
    db: Db,
    signed: Signed,
    thread: Thread,
}

impl Scene {
    async fn start(engine: Engine, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = database_url(engine, &folder).await;
        let mut command = serve(&folder, &url);
        command.envs(settings.iter().copied());
        let node = Node::start(command).await;
        let db = Db::open(&db::Options { connections_max: 2, ..db::Options::new(&url) }).await.unwrap();
        node.register().await;
        let signed = node.sign_in().await;
        let created =
            ChatServiceClient::new(signed.clone()).create_thread(CreateThreadRequest::default()).await;
        let thread = created.unwrap().into_inner().thread.unwrap();
        Self { folder, url, node, db, signed, thread }
    }

    /// Keeps everybody from writing in the thread, until the transaction is dropped. On SQLite nobody writes anything.
    async fn lock(&self) -> db::Tx {
        let mut tx = self.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("UPDATE threads SET title = title").execute().await.unwrap();
        tx
    }

    /// Sends so many messages at once, each with a key of its own.
    fn send(&self, count: usize) -> Sent {
        let mut sent = JoinSet::new();
        for number in 0..count {
            let mut chat = ChatServiceClient::new(self.signed.clone());
            let request = SendMessageRequest {
                thread_id: self.thread.id.clone(),
                client_message_id: uuid::Uuid::from_u128(u128::try_from(number).unwrap() + 1).to_string(),
                text: number.to_string(),
                ..Default::default()
            };
            sent.spawn(async move { chat.send_message(request).await });
        }
        sent
    }

    async fn subscribe(&self, signed: &Signed, thread_id: &str) -> Streaming<SubscribeResponse> {
        let cursor = ThreadCursor { thread_id: thread_id.to_owned(), ..ThreadCursor::default() };
        let request = SubscribeRequest { threads: vec![cursor], ..Default::default() };
        let mut frames =
            ChatServiceClient::new(signed.clone()).subscribe(request).await.unwrap().into_inner();
        frames.message().await.unwrap().unwrap();
        frames
    }
}

/// Whoever is told to come again is told when.
fn told_to_come_again(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
}

/// Reads a stream to its end: a goodbye, and the status that goes with it.
async fn is_sent_away(mut frames: Streaming<SubscribeResponse>) {
    let mut goodbye = false;
    loop {
        match frames.message().await {
            Ok(Some(answer)) => {
                goodbye |= matches!(answer.frame.and_then(|frame| frame.frame), Some(Frame::GoAway(_)));
            }
            Ok(None) => panic!("the stream ended as if all was told"),
            Err(status) => {
                told_to_come_again(&status);
                assert!(goodbye, "{status:?}");
                return;
            }
        }
    }
}

async fn nothing_is_lost_by_a_drain(engine: Engine) {
    // PayFast, asked whether it sent a notification, takes the question and never answers.
    let payfast = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", payfast.local_addr().unwrap());
    let settings =
        [("CAPECONTROL_SERVER__PUBLIC_URL", address.as_str()), ("CAPECONTROL_SERVER__DRAIN_SECONDS", "8")];
    let mut s = Scene::start(engine, &settings).await;
    let item = PlanItem { plan_id: "pro".to_owned(), billing_cycle: BillingCycle::Monthly.into() };
    let request = CreateCheckoutRequest { item: Some(Item::Plan(item)), ..CreateCheckoutRequest::default() };
    let checkout = PaymentsServiceClient::new(s.signed.clone()).create_checkout(request).await.unwrap();
    let payment_id = checkout.into_inner().payment_id;
    notify(&s.node, &payment_id).await;
    let _question = tokio::time::timeout(PATIENCE, payfast.accept()).await.unwrap().unwrap();

    // One account may not have all of the streams.
    s.node.register_as("eve@example.com").await;
    let eve = s.node.sign_in_as("eve@example.com").await;
    let hers =
        ChatServiceClient::new(eve.clone()).create_thread(CreateThreadRequest::default()).await.unwrap();
    let hers = hers.into_inner().thread.unwrap();
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS / 2 {
        streams.spawn(is_sent_away(s.subscribe(&s.signed, &s.thread.id).await));
        streams.spawn(is_sent_away(s.subscribe(&eve, &hers.id).await));
    }
    let lock = s.lock().await;
    let mut sent = s.send(CALLS);
    s.node.under_way(STREAMS + CALLS).await;

    s.node.signal("-TERM");
    s.node.says("Draining").await;
    tokio::time::timeout(PATIENCE, async {
        while streams.join_next().await.is_some_and(|end| end.is_ok()) {}
    })
    .await
    .unwrap();
    assert!(streams.is_empty(), "a stream did not end as it should");
    drop(lock);
    let mut acknowledged = BTreeSet::new();
    while let Some(answer) = sent.join_next().await {
        match answer.unwrap() {
            Ok(answer) => assert!(acknowledged.insert(answer.into_inner().message.unwrap().id)),
            Err(status) => told_to_come_again(&status),
        }
    }
    assert!(!acknowledged.is_empty(), "the lock was gone in time for some of them");
    assert_eq!(tokio::time::timeout(PATIENCE, s.node.ended()).await.unwrap().code(), Some(0));

    // The next process has PayFast's answers.
    let node = Node::start(serve(&s.folder, &s.url)).await;
    let list = ListEventsRequest { thread_id: s.thread.id, page_size: 100, ..ListEventsRequest::default() };
    let events =
        ChatServiceClient::new(node.sign_in().await).list_events(list).await.unwrap().into_inner().events;
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "the sequence has a hole");
    let written: Vec<String> = events
        .into_iter()
        .map(|event| match event.change {
            Some(Change::MessageCreated(message)) => message.id,
            other => panic!("{other:?}"),
        })
        .collect();
    let once: BTreeSet<String> = written.iter().cloned().collect();
    assert_eq!(once.len(), written.len());
    assert!(acknowledged.is_subset(&once), "an acknowledged message is gone");
    let payment = settled(&node, &payment_id).await;
    assert_eq!(
        (payment.status(), payment.provider_payment_id.as_str()),
        (PaymentStatus::Succeeded, "1089250")
    );
}

async fn calls_that_cannot_end_are_told_so_before_they_are_cut(engine: Engine) {
    let mut s = Scene::start(engine, &[("CAPECONTROL_SERVER__DRAIN_SECONDS", "2")]).await;
    let lock = s.lock().await;
    let mut sent = s.send(10);
    s.node.under_way(10).await;
    s.node.signal("-TERM");
    while let Some(answer) = sent.join_next().await {
        let status = answer.unwrap().unwrap_err();
        told_to_come_again(&status);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "SERVER_CLOSING");
    }
    assert_eq!(s.node.ended().await.code(), Some(0));
    drop(lock);
}

async fn a_second_signal_does_not_wait(engine: Engine) {
    let mut s = Scene::start(engine, &[("CAPECONTROL_SERVER__DRAIN_SECONDS", "600")]).await;
    let stream = s.subscribe(&s.signed, &s.thread.id).await;
    let _lock = s.lock().await;
    let _sent = s.send(1);
    s.node.under_way(2).await;
    s.node.signal("-TERM");
    s.node.says("Draining").await;
    s.node.signal("-TERM");
    assert_eq!(s.node.ended().await.code(), Some(1));
    drop(stream);
}

macro_rules! on_each_engine {
    ($($name:ident)+) => {
        $(
            mod $name {
                use super::*;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    super::$name(Engine::Sqlite).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    super::$name(Engine::Postgres).await;
                }
            }
        )+
    };
}

on_each_engine! {
    nothing_is_lost_by_a_drain
    calls_that_cannot_end_are_told_so_before_they_are_cut
    a_second_signal_does_not_wait
}
