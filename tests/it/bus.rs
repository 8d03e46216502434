//! Buses between nodes, over a real PostgreSQL and a real NATS server.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use capecontrol::bus::nats::{Nats, Options};
use capecontrol::bus::postgres::Postgres;
use capecontrol::bus::{Bus, Heard, Hint, Listener, Passing, Signal};
use capecontrol::db::Engine;
use capecontrol::keyring::RootKey;
use sqlx::Connection as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Fixture, NatsServer, Start as _, postgres, world};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

const ROOT: RootKey = RootKey::new([7; 32]);

fn hint(thread: u128, seq: i64) -> Signal {
    Signal::Hint(Hint { thread: Uuid::from_u128(thread), seq, inline: None })
}

fn passing(body: &[u8]) -> Signal {
    Signal::Passing(Passing { about: Uuid::from_u128(1), body: Arc::from(body) })
}

/// A bus of one node, and whoever listens to it.
struct Node {
    bus: Arc<dyn Bus>,
    listener: Box<dyn Listener>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Node {
    fn new(bus: impl Bus) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(bus);
        Self { listener: bus.listen(), bus, stop: CancellationToken::new(), tasks: JoinSet::new() }
    }

    fn run(&mut self) {
        let (bus, stop) = (Arc::clone(&self.bus), self.stop.clone());
        self.tasks.spawn(async move { bus.run(stop).await });
    }

    /// Runs the bus, and waits until it hears others.
    async fn connect(&mut self) {
        self.run();
        assert_eq!(self.heard().await, Heard::Missed);
        assert_eq!(self.bus.tally().connections, 1);
    }

    async fn heard(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.listener.next()).await.unwrap().unwrap()
    }

    /// The next signal that is heard, whatever was missed before it.
    async fn signal(&mut self) -> Signal {
        loop {
            if let Heard::Signal(signal) = self.heard().await {
                return signal;
            }
        }
    }

    /// Listens until something was missed.
    async fn missed(&mut self) {
        while self.heard().await != Heard::Missed {}
    }

    async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended).await.unwrap();
    }
}

fn on_nats(server: &NatsServer, seed: u64) -> Node {
    Node::new(Nats::new(Options::parse(&server.url()).unwrap(), world(seed).0, ROOT))
}

fn on_postgres(t: &Fixture, seed: u64) -> Node {
    Node::new(Postgres::new(t.db.clone(), world(seed).0, ROOT))
}

/// Both nodes hear everything, each its own once.
async fn carries(mut here: Node, mut there: Node) {
    here.connect().await;
    there.connect().await;
    for (signal, number) in [hint(1, 7), passing(b"a piece"), hint(2, 1)].into_iter().zip(1..) {
        here.bus.publish(signal.clone());
        assert_eq!(here.heard().await, Heard::Signal(signal.clone()));
        assert_eq!(there.heard().await, Heard::Signal(signal));
        assert_eq!(there.bus.tally().received, number);
    }
    // What comes back after it would have brought another copy of the first ones.
    there.bus.publish(hint(3, 1));
    assert_eq!(here.heard().await, Heard::Signal(hint(3, 1)));
    assert_eq!((here.bus.tally().published, here.bus.tally().received), (3, 1));
    here.stop().await;
    there.stop().await;
}

/// Too many hints wait before the bus runs: whoever listens elsewhere is told that some were lost.
async fn overflows(mut here: Node, mut there: Node) {
    there.connect().await;
    for thread in 0..6_000 {
        here.bus.publish(hint(thread, 1));
    }
    here.run();
    assert_eq!(there.heard().await, Heard::Missed);
    assert_eq!(here.bus.tally().dropped, 4_097);
    let Signal::Hint(first) = there.signal().await else { panic!("only hints were published") };
    assert_eq!(first.thread, Uuid::from_u128(4_097), "what came after the loss");
    here.stop().await;
    there.stop().await;
}

/// What was published last leaves before the bus ends.
async fn ends_with_its_last_words(mut here: Node, mut there: Node) {
    here.connect().await;
    there.connect().await;
    // More than has left when the last of it is said.
    for thread in 0..2_000 {
        here.bus.publish(hint(thread, 9));
    }
    here.stop().await;
    while there.heard().await != Heard::Signal(hint(1_999, 9)) {}
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_carries_signals() {
    let t = Fixture::start(Engine::Postgres).await;
    carries(on_postgres(&t, 1), on_postgres(&t, 2)).await;
    overflows(on_postgres(&t, 3), on_postgres(&t, 4)).await;
    ends_with_its_last_words(on_postgres(&t, 5), on_postgres(&t, 6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_carries_signals() {
    let server = NatsServer::start().await;
    carries(on_nats(&server, 1), on_nats(&server, 2)).await;
    overflows(on_nats(&server, 3), on_nats(&server, 4)).await;
    ends_with_its_last_words(on_nats(&server, 5), on_nats(&server, 6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_takes_more_than_one_payload_holds_and_merges_hints() {
    let t = Fixture::start(Engine::Postgres).await;
    let (mut here, mut there) = (on_postgres(&t, 1), on_postgres(&t, 2));
    there.connect().await;
    for seq in 1..=3 {
        for thread in 0..1_000 {
            here.bus.publish(hint(thread, seq));
        }
    }
    here.bus.publish(passing(&[7; 4_000]));
    here.bus.publish(passing(&[7; 5_000]));
    here.run();
    let mut threads = HashSet::new();
    while let Signal::Hint(hint) = there.signal().await {
        assert_eq!(hint.seq, 3);
        threads.insert(hint.thread);
    }
    assert_eq!((threads.len(), there.bus.tally().received), (1_000, 1_001));
    assert_eq!(here.bus.tally().dropped, 1, "the one that is too large");
    here.stop().await;
    there.stop().await;
}

/// Two platforms in one database, and one with another root key on the same channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_platform_says_is_not_heard() {
    let (t, other) = (Fixture::start(Engine::Postgres).await, Fixture::start(Engine::Postgres).await);
    let (mut here, mut beside) = (on_postgres(&t, 1), on_postgres(&other, 2));
    let mut stranger = Node::new(Postgres::new(t.db.clone(), world(3).0, RootKey::new([8; 32])));
    for node in [&mut here, &mut beside, &mut stranger] {
        node.connect().await;
    }
    t.db.notify("capecontrol_bus", &["no base64: é".to_owned()]).await.unwrap();
    beside.bus.publish(hint(1, 1));
    stranger.bus.publish(hint(2, 1));
    let refused = async {
        while here.bus.tally().refused < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    here.bus.publish(hint(3, 1));
    assert_eq!(here.heard().await, Heard::Signal(hint(3, 1)), "nothing before it");
    for node in [here, beside, stranger] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_postgres_ended_says_so_and_goes_on() {
    let t = Fixture::start(Engine::Postgres).await;
    let (mut here, mut there) = (on_postgres(&t, 1), on_postgres(&t, 2));
    here.connect().await;
    there.connect().await;
    let mut superuser = sqlx::PgConnection::connect(&postgres::superuser_url(&t.url)).await.unwrap();
    let ended: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query =
           'LISTEN capecontrol_bus_' || left(encode(sha256(convert_to(current_schema(), 'UTF8')), 'hex'), 32)",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(ended, [true, true]);
    here.missed().await;
    there.missed().await;
    here.bus.publish(hint(1, 2));
    assert_eq!(there.signal().await, hint(1, 2));
    assert_eq!(there.bus.tally().connections, 2);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_that_went_and_came_is_found_again() {
    let mut server = NatsServer::start().await;
    let (mut here, mut there) = (on_nats(&server, 1), on_nats(&server, 2));
    here.connect().await;
    there.connect().await;
    server.kill().await;
    here.bus.publish(hint(1, 1));
    assert_eq!(here.heard().await, Heard::Signal(hint(1, 1)), "without the server");
    server.restart().await;
    here.missed().await;
    there.missed().await;
    here.bus.publish(hint(1, 2));
    while there.signal().await != hint(1, 2) {}
    assert_eq!(there.bus.tally().connections, 2);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_nats_server_comes_later_goes_on_without_it() {
    let mut server = NatsServer::start().await;
    server.kill().await;
    let (mut here, mut there) = (on_nats(&server, 1), on_nats(&server, 2));
    here.run();
    there.run();
    here.bus.publish(hint(1, 1));
    assert_eq!(here.heard().await, Heard::Signal(hint(1, 1)));
    server.restart().await;
    here.missed().await;
    there.missed().await;
    here.bus.publish(hint(1, 2));
    while there.signal().await != hint(1, 2) {}
    here.stop().await;
    // It ends also while it tries.
    server.kill().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_told_who_comes() {
    let server = NatsServer::start_with(&["--user", "cape", "--pass", "p@ss"]).await;
    let node = |login: &str, seed| {
        let options = Options::parse(&format!("nats://{login}@{}", server.address())).unwrap();
        Node::new(Nats::new(options, world(seed).0, ROOT))
    };
    let (mut right, mut wrong) = (node("cape:p%40ss", 1), node("cape:other", 2));
    wrong.run();
    right.connect().await;
    assert_eq!(wrong.bus.tally().connections, 0);
    wrong.stop().await;
    right.stop().await;
}

/// A server with a certificate of its own: only whoever is given its authority comes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_reached_over_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let [cert, key] = [&certificate, &key].map(|path| path.display().to_string());
    let server = NatsServer::start_with(&["--tls", "--tlscert", &cert, "--tlskey", &key]).await;
    let url = format!("tls://{}", server.address().replace("127.0.0.1", "localhost"));
    let node = |authorities, seed| {
        let mut options = Options::parse(&url).unwrap();
        options.authorities = authorities;
        Node::new(Nats::new(options, world(seed).0, ROOT))
    };
    let (mut right, mut wrong) = (node(Some(certificate), 1), node(None, 2));
    wrong.run();
    right.connect().await;
    assert_eq!(wrong.bus.tally().connections, 0);
    wrong.stop().await;
    right.stop().await;
}
