//! How streams end: with their token, their deadline, their client, or the node.

use std::time::Duration;

use capecontrol::config::Config;
use capecontrol::db::Engine;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use tonic::{Code, Request};
use wire::client_frame::Frame as Say;

use super::{Client, KINDS, Kind, PATIENCE, from, left_by_everybody, open_thread, send};
use crate::support::{App, on_both};

on_both! {
    async fn a_frame_too_large_to_read_ends_the_conversation(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut client = Client::open(&t, &ada, Kind::Converse, vec![from(&thread.id, 0)]).await.unwrap();
        client.live().await;
        client.say(Say::SendMessage(wire::MessageDraft { text: "x".repeat(2 << 20), ..Default::default() }));
        let (goodbye, code) = client.end().await;
        assert_eq!((goodbye, code), (Some(wire::GoAwayCode::Failed), Code::InvalidArgument));
    }

    async fn a_stream_ends_with_its_token(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        t.advance(Duration::from_secs(3_600));
        for client in &mut clients {
            assert_eq!(client.end().await, (Some(wire::GoAwayCode::Unauthenticated), Code::Unauthenticated));
        }
        left_by_everybody(&t).await;
    }

    async fn a_deadline_ends_a_stream(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let threads = vec![from(&thread.id, 0)];
        let mut request = Request::new(wire::SubscribeRequest { threads, ..Default::default() });
        // Written by hand: the generated client would give up by its own clock first.
        request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
        let mut frames = ada.chat().subscribe(request).await.unwrap().into_inner();
        let status = loop {
            match frames.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        left_by_everybody(&t).await;
    }

    async fn clients_that_vanish_leave_nothing_behind(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        assert_eq!(t.node.chat.hub().census(), (3, 1));
        drop(clients);
        left_by_everybody(&t).await;
    }

    async fn a_drain_says_goodbye_on_every_stream(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        let goodbyes = async {
            for mut client in clients {
                assert_eq!(client.end().await, (Some(wire::GoAwayCode::Draining), Code::Unavailable));
            }
        };
        let both = async { tokio::join!(t.stop(), goodbyes) };
        tokio::time::timeout(PATIENCE, both).await.unwrap();
    }
}

/// Clients that read nothing are sent away by the server itself: what they leave behind is bounded and goes.
async fn a_client_that_stops_reading_is_sent_away(engine: Engine) {
    let impatient = |config: &mut Config| config.bounds.chat.stall = Duration::from_millis(200);
    let t = App::start_with(engine, impatient).await;
    let ada = t.register("ada@example.com").await;
    let thread = open_thread(&ada, "").await;
    for _ in 0..120 {
        send(&ada, &thread.id, &"é".repeat(16_000)).await;
    }
    // More than the windows of HTTP/2 and of the socket hold; and the first reader reads in the end.
    let mut clients = Vec::new();
    for kind in [Kind::Subscribe, Kind::Converse, Kind::Browser] {
        clients.push(Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap());
    }
    let browser = clients.pop();
    let waited = tokio::time::timeout(PATIENCE, async {
        while t.node.chat.hub().census().0 > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
    drop(browser);
    for client in &mut clients {
        assert_eq!(client.end().await, (Some(wire::GoAwayCode::Slow), Code::ResourceExhausted));
    }
    left_by_everybody(&t).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_is_sent_away_sqlite() {
    a_client_that_stops_reading_is_sent_away(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_is_sent_away_postgres() {
    a_client_that_stops_reading_is_sent_away(Engine::Postgres).await;
}
