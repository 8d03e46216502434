//! Two nodes on one PostgreSQL: what is said on one is told on the other by the bus. The backstop, which would tell it
//! too, looks once an hour here.

mod ends;
mod once;

use std::time::Duration;

use capecontrol::bus::{Route, nats};
use capecontrol::config::Config;
use capecontrol::db::Engine;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use wire::event::Change;
use wire::server_frame::Frame;

use super::chat::agents::agent;
use super::chat::{Client, Kind, PATIENCE, from, open_thread, send};
use super::chat::{connections, presence};
use crate::support::app::PASSWORD;
use crate::support::{App, NatsServer, Person};

/// Two nodes that hear each other, and somebody who is signed in on each.
struct Nodes {
    here: App,
    there: App,
    ada: Person,
    ada_there: Person,
}

impl Nodes {
    async fn start(bus: Route) -> Self {
        let change = |config: &mut Config| {
            config.bus = bus;
            config.bounds.chat.backstop = Duration::from_secs(3_600);
        };
        let here = App::start_with(Engine::Postgres, change).await;
        let there = here.beside().await;
        let ada = here.register("ada@example.com").await;
        let ada_there = there.sign_in("ada@example.com", PASSWORD).await;
        for node in [&here, &there] {
            let connected = async {
                while node.node.bus.tally().connections == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, connected).await.unwrap();
        }
        Self { here, there, ada, ada_there }
    }

    async fn follow(&self, thread: &wire::Thread) -> Client {
        let wanted = vec![from(&thread.id, 0)];
        let mut client = Client::open(&self.there, &self.ada_there, Kind::Subscribe, wanted).await.unwrap();
        client.live().await;
        client
    }

    async fn messages_are_told(&self) {
        let thread = open_thread(&self.ada, "").await;
        let mut client = self.follow(&thread).await;
        // The first may be found by the look that follows on connecting; the others only by the bus.
        for seq in 1..=5 {
            send(&self.ada, &thread.id, "from afar").await;
            assert_eq!(client.event().await.seq, seq);
        }
    }

    async fn pieces_of_an_answer_are_told(&self) {
        let listing_id = agent(&self.here, &self.ada).await;
        let thread = open_thread(&self.ada, &listing_id).await;
        let mut client = self.follow(&thread).await;
        send(&self.ada, &thread.id, "How do I install an agent?").await;
        assert_eq!(client.event().await.seq, 1);
        self.here.run_jobs().await;
        let mut preview = String::new();
        let answer = loop {
            match client.next().await.unwrap().unwrap() {
                Frame::Ephemeral(ephemeral) => {
                    let Some(wire::ephemeral::Passing::AgentDelta(delta)) = ephemeral.passing else {
                        panic!()
                    };
                    preview.push_str(&delta.text);
                }
                Frame::Event(event) => break event,
                _ => {}
            }
        };
        let Some(Change::MessageCreated(answer)) = answer.change else { panic!("the turn failed") };
        assert!(answer.text.len() > 20 && answer.text == preview, "{preview:?} / {:?}", answer.text);
    }

    /// Calls reach a stream that is on the other node, and who is there is told across nodes.
    async fn streams_are_named_from_afar(&self) {
        let (first, second) = (open_thread(&self.ada, "").await, open_thread(&self.ada, "").await);
        let mut client = self.follow(&first).await;
        let connection_id = connections::newest(&self.here, &self.ada).await;
        let from_afar = self.ada_there.over(self.here.channel());
        connections::keep(&from_afar, &connection_id).await.unwrap();
        let (bob, _) = presence::friend(&self.here, &self.ada, "bob@example.com").await;
        let change = wire::UpdateSubscriptionRequest {
            connection_id,
            subscribe: vec![from(&second.id, 0)],
            watch_presence: Some(presence::watch(&bob)),
            ..Default::default()
        };
        connections::update(&from_afar, change).await.unwrap();
        client.live().await;
        send(&from_afar, &second.id, "from afar").await;
        assert_eq!(client.event().await.thread_id, second.id);
        assert_eq!(presence::told(&mut client, &bob).await, wire::Presence::Offline);
        let his = open_thread(&bob, "").await;
        let _his = Client::open(&self.here, &bob, Kind::Subscribe, vec![from(&his.id, 0)]).await.unwrap();
        assert_eq!(presence::told(&mut client, &bob).await, wire::Presence::Online);
        presence::set(&bob, wire::PresenceMode::DoNotDisturb, "", false).await;
        assert_eq!(presence::told(&mut client, &bob).await, wire::Presence::DoNotDisturb);
    }

    async fn are_counted(&self) {
        let metrics = |node: &App| {
            let asked = node.http.get(format!("{}/metrics", node.operations_url)).send();
            async { asked.await.unwrap().text().await.unwrap() }
        };
        let (here, there) = (metrics(&self.here).await, metrics(&self.there).await);
        for (text, line) in [
            (&here, "capecontrol_bus_signals_total{outcome=\"published\"} "),
            (&there, "capecontrol_bus_signals_total{outcome=\"received\"} "),
            (&there, "capecontrol_bus_connections_total "),
            (&there, "capecontrol_bus_missed_total "),
        ] {
            let count = text.split(line).nth(1).unwrap().lines().next().unwrap();
            assert!(count.parse::<u64>().unwrap() > 0, "{line}{count}");
        }
        assert!(there.contains("capecontrol_bus_signals_total{outcome=\"refused\"} 0\n"));
    }

    async fn stop(self) {
        self.here.stop().await;
        self.there.stop().await;
    }
}

async fn hear_each_other(bus: Route) {
    let nodes = Nodes::start(bus).await;
    nodes.messages_are_told().await;
    nodes.pieces_of_an_answer_are_told().await;
    nodes.streams_are_named_from_afar().await;
    nodes.are_counted().await;
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_each_other_over_postgres() {
    hear_each_other(Route::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_each_other_over_nats() {
    let server = NatsServer::start().await;
    hear_each_other(Route::Nats(nats::Options::parse(&server.url()).unwrap())).await;
}

/// NATS cannot be reached: the node serves, and its own streams hear of everything at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_without_its_bus() {
    let bus = Route::Nats(nats::Options::parse("nats://127.0.0.1:1").unwrap());
    let t = App::start_with(Engine::Postgres, |config| {
        config.bus = bus;
        config.bounds.chat.backstop = Duration::from_secs(3_600);
    })
    .await;
    let ada = t.register("ada@example.com").await;
    let thread = open_thread(&ada, "").await;
    let mut client = Client::open(&t, &ada, Kind::Subscribe, vec![from(&thread.id, 0)]).await.unwrap();
    client.live().await;
    send(&ada, &thread.id, "is anybody there?").await;
    assert_eq!(client.event().await.seq, 1);
    t.stop().await;
}
