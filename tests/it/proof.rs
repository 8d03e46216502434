//! The proof that nothing is lost: two nodes as processes on one PostgreSQL, a bus that loses, repeats and reorders,
//! and clients on both kinds of stream that write while one node is killed and, later, the other one drained. Lines
//! break besides, answers are lost, and messages come twice. Beside writing, clients do whatever else makes events of
//! people's threads: they edit, delete, react, read, rename, and have a guest.
//!
//! A client is the machine of `clients/rust`, with nothing but I/O around it. Each stream is held against what it
//! promises, frame by frame, for a client that repairs what a server lost would hide it; in the end the clients are
//! held against one another, against what they said and did, and against what is stored.

mod client;
mod deeds;
mod line;
mod nodes;
mod soak;
mod stored;
mod translate;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::db::{self, Conn as _, Db, Engine, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol_client::chat::State;
use capecontrol_client::chat::words::Transport;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::support::app::{Bearer, PASSWORD};
use crate::support::lossy_nats::Faults;
use crate::support::{LossyNats, database_url, world};
use client::Client;
use deeds::Deeds;
use line::{Line, Tokens};
use nodes::Nodes;
use stored::Stored;
use witness::{Witness, agree};

/// Whoever sees nothing move for so long has failed. Nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much goes wrong on the bus, in percent.
const FAULTS: Faults = Faults { lost: 30, repeated: 10, held: 25 };
/// In so many messages each node ends once, one of them killed and the other one drained.
const ROUND: u64 = 10_000;
/// In how many threads a client is.
const THREADS_OF_ONE: u64 = 4;

/// How much is proved.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub messages: u64,
    /// Half of them on Converse, half on Subscribe as a browser has it, with calls beside it.
    pub clients: u64,
    pub threads: u64,
    /// What the network does, who is where and what is said: the same for the same seed. When it happens is not.
    pub seed: u64,
}

/// What happens, for whoever waits for it.
#[derive(Default)]
pub struct Board {
    /// Messages of which the client knows that they were written.
    pub confirmed: AtomicU64,
    /// Events that were given to clients.
    pub delivered: AtomicU64,
    /// Entries of their accounts' logs.
    pub entries: AtomicU64,
    /// What clients are to do beside writing, and how much of it is over.
    pub planned: AtomicU64,
    pub done: AtomicU64,
    pub streams: AtomicU64,
    /// Answers that said that a message had been written before.
    pub repetitions: AtomicU64,
    pub refreshes: AtomicU64,
    /// How streams ended, and how often.
    pub ends: Mutex<BTreeMap<String, u64>>,
    states: Mutex<BTreeMap<usize, State>>,
    wrong: Mutex<Vec<String>>,
}

impl Board {
    /// Something is not as it should be.
    pub fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    pub fn note(&self, client: usize, state: State) {
        self.states.lock().unwrap().insert(client, state);
    }

    /// Waits until something holds, as long as anything moves and nothing is wrong.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let (mut seen, mut since) = ((0, 0, 0), Instant::now());
        while !holds(self) {
            self.nothing_is_wrong();
            let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
            let now = (count(&self.confirmed), count(&self.delivered), count(&self.done));
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(
                since.elapsed() < PATIENCE,
                "nothing moves at {now:?}: {:?}",
                self.states.lock().unwrap()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether so many events were told and all is done that followed from them.
    fn is_quiet(&self, delivered: u64) -> bool {
        self.delivered.load(Ordering::Acquire) >= delivered
            && self.done.load(Ordering::Relaxed) >= self.planned.load(Ordering::Relaxed)
    }

    fn nothing_is_wrong(&self) {
        let wrong = self.wrong.lock().unwrap();
        let first = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
        assert!(wrong.is_empty(), "{} things are wrong:\n{first}", wrong.len());
    }
}

/// What was proved, and what happened meanwhile.
pub struct Outcome {
    plan: Plan,
    board: Arc<Board>,
    bus: Arc<crate::support::lossy_nats::Tally>,
    /// How many of each kind there are in the end.
    events: BTreeMap<&'static str, u64>,
    took: Duration,
}

impl Outcome {
    /// Each figure by its key and in words.
    fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let (plan, board, bus) = (&self.plan, &self.board, &self.bus);
        vec![
            ("seed", "seed", plan.seed),
            ("clients", "clients", plan.clients),
            ("threads", "threads", plan.threads),
            ("messages", "messages, each written once", plan.messages),
            ("events", "events, each once and in order", self.events.values().sum()),
            ("told", "times that one was told to a client", count(&board.delivered)),
            ("done", "things that clients did beside writing", count(&board.done)),
            ("repeated", "messages that were repeated, and answered as before", count(&board.repetitions)),
            ("streams", "streams", count(&board.streams)),
            ("refreshes", "tokens refreshed", count(&board.refreshes)),
            ("bus_packets", "packets of the bus", count(&bus.came)),
            ("bus_lost", "  of these lost", count(&bus.lost)),
            ("bus_repeated", "  repeated", count(&bus.repeated)),
            ("bus_late", "  late", count(&bus.late)),
        ]
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        let figures = self.figures().into_iter().map(|(key, _, figure)| (key.to_owned(), figure.into()));
        let mut json: serde_json::Map<String, serde_json::Value> = figures.collect();
        json.insert("events_by_kind".to_owned(), serde_json::json!(self.events));
        json.insert("streams_ended_with".to_owned(), serde_json::json!(*self.board.ends.lock().unwrap()));
        json.insert("seconds".to_owned(), self.took.as_secs().into());
        json.into()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, what, figure) in self.figures() {
            writeln!(f, "{what:<54}{figure:>10}")?;
        }
        for (kind, count) in &self.events {
            writeln!(f, "{:<54}{count:>10}", format!("events of {kind}"))?;
        }
        for (why, count) in &*self.board.ends.lock().unwrap() {
            writeln!(f, "{:<54}{count:>10}", format!("streams ended with {why}"))?;
        }
        writeln!(f, "{:<54}{:>10.1}", "seconds", self.took.as_secs_f64())
    }
}

/// Plays a plan, and holds everything against everything.
pub async fn prove(plan: Plan, board: Arc<Board>) -> Outcome {
    // The first test to come installs it for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let url = database_url(Engine::Postgres, &folder).await;
    let bus = LossyNats::start(plan.seed, FAULTS).await;
    let mut nodes = Nodes::start(url.clone(), bus.url()).await;
    let db = Db::open(&db::Options { connections_max: 2, ..db::Options::new(&url) }).await.unwrap();
    let scene = Scene::set(plan, &nodes, &db).await;
    let stop = CancellationToken::new();
    let mut clients = JoinSet::new();
    for client in scene.clients(plan, &nodes, &board) {
        clients.spawn(client.run(stop.clone()));
    }
    let began = Instant::now();
    let rounds = (plan.messages / ROUND).max(1);
    for (round, node) in (0..rounds).zip([0, 1].into_iter().cycle()) {
        let written = |percent: u64| {
            let wanted = plan.messages * (100 * round + percent) / (100 * rounds);
            move |board: &Board| board.confirmed.load(Ordering::Relaxed) >= wanted
        };
        board.until(written(25)).await;
        nodes.kill(node).await;
        board.until(written(60)).await;
        nodes.drain(1 - node).await;
        board.until(written(100)).await;
    }

    let wanted = scene.told_to_its_end(&board, &db).await;
    stop.cancel();
    let witnesses: Vec<Witness> = clients.join_all().await;
    board.nothing_is_wrong();
    let stored = scene.stored(&nodes, &db).await;
    assert_eq!(agree(&witnesses, &stored), usize::try_from(plan.messages).unwrap());
    let silent = stored.values().filter(|stored| stored.log.is_empty()).count();
    assert!(silent == 0 || plan.messages < 50 * plan.threads, "{silent} threads without events");
    assert_eq!(board.delivered.load(Ordering::Relaxed), wanted);
    assert!(board.entries.load(Ordering::Relaxed) > 0, "nobody was told what they have not read");
    let mut events = BTreeMap::new();
    for event in stored.values().flat_map(|stored| &stored.log) {
        *events.entry(stored::kind(event)).or_default() += 1;
    }
    Outcome { plan, board, bus: Arc::clone(&bus.tally), events, took: began.elapsed() }
}

/// Who there is, and who is in which thread.
struct Scene {
    people: Vec<Tokens>,
    accounts: Vec<String>,
    /// Somebody who is in a thread now and then, and says nothing.
    guest: String,
    /// The members of each thread, by their places among the people. The first one opened it.
    members: BTreeMap<String, Vec<usize>>,
}

impl Scene {
    /// People of one organisation, and threads that they share.
    async fn set(plan: Plan, nodes: &Nodes, db: &Db) -> Self {
        let channel = nodes.first().channel().await;
        let mut people = Vec::new();
        for number in 0..plan.clients {
            people.push(register(&channel, &email(usize::try_from(number).unwrap())).await);
        }
        let guest = register(&channel, "guest@example.com").await.account_id;
        let organization = people[0].personal_organization_id.clone();
        let mut tx = db.begin(Scope::System("test")).await.unwrap();
        for account in people[1..].iter().map(|person| &person.account_id).chain([&guest]) {
            tx.sql(
                "INSERT INTO memberships (organization_id, account_id, role, created_at)
                 SELECT $1, id, 'member', created_at FROM accounts WHERE id = $2",
            )
            .bind(organization.parse::<Uuid>().unwrap())
            .bind(account.parse::<Uuid>().unwrap())
            .execute()
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();

        let (dice, _) = world(plan.seed);
        let mut seats = vec![Vec::new(); usize::try_from(plan.threads).unwrap()];
        for client in 0..usize::try_from(plan.clients).unwrap() {
            let first = dice.below(plan.threads);
            let step = 1 + dice.below((plan.threads / THREADS_OF_ONE).max(1));
            for number in 0..THREADS_OF_ONE.min(plan.threads) {
                seats[usize::try_from((first + number * step) % plan.threads).unwrap()].push(client);
            }
        }
        let mut members = BTreeMap::new();
        for (number, mut seats) in seats.into_iter().enumerate() {
            seats.sort_unstable();
            seats.dedup();
            let Some((opener, others)) = seats.split_first() else { continue };
            let signed =
                InterceptedService::new(channel.clone(), Bearer::new(&people[*opener].tokens.access));
            let request = wire::CreateThreadRequest {
                organization_id: organization.clone(),
                title: format!("Thread {number}"),
                kind: wire::ThreadKind::Group.into(),
                member_account_ids: others.iter().map(|other| people[*other].account_id.clone()).collect(),
                ..Default::default()
            };
            let created = ChatServiceClient::new(signed).create_thread(request).await.unwrap();
            members.insert(created.into_inner().thread.unwrap().id, seats);
        }
        let accounts = people.iter().map(|person| person.account_id.clone()).collect();
        Self { people: people.into_iter().map(|person| person.tokens).collect(), accounts, guest, members }
    }

    fn clients(&self, plan: Plan, nodes: &Nodes, board: &Arc<Board>) -> Vec<Client> {
        let count = self.people.len();
        let one = |name: usize| {
            let (dice, _) = world(plan.seed.wrapping_mul(1_000).wrapping_add(u64::try_from(name).unwrap()));
            let (heard, hears) = mpsc::unbounded_channel();
            let threads = self.members.iter().filter(|(_, members)| members.contains(&name));
            let threads: Vec<_> = threads.map(|(thread, _)| thread.clone()).collect();
            let rest = u64::from(u64::try_from(name).unwrap() < plan.messages % plan.clients);
            let messages = plan.messages / plan.clients + rest;
            let line = Line {
                kind: if name < count / 2 { Transport::Converse } else { Transport::Subscribe },
                addresses: Arc::clone(&nodes.addresses),
                tokens: Arc::new(Mutex::new(self.people[name].clone())),
                heard,
                // Half of them begin at each node.
                turn: Arc::new(AtomicUsize::new(name)),
                http: reqwest::Client::builder().no_proxy().build().unwrap(),
                dice: dice.clone(),
            };
            let opened = self.members.iter().filter(|(_, members)| members[0] == name);
            let opened: BTreeSet<_> = opened.map(|(thread, _)| thread.clone()).collect();
            let account = self.accounts[name].clone();
            let deeds = Deeds::new(account, opened, self.guest.clone(), dice.clone());
            let plan = client::Plan { name, threads, messages, dice, deeds };
            Client::new(plan, Arc::clone(board), line, hears)
        };
        (0..count).map(one).collect()
    }

    /// How far each thread has come, and that its events have no hole. Of few messages some thread may get none.
    async fn heads(&self, db: &Db) -> BTreeMap<String, i64> {
        let mut conn = db.conn(Scope::System("test")).await.unwrap();
        let rows: Vec<(Uuid, i64, i64, i64, i64)> = conn
            .sql(
                "SELECT t.id, t.last_seq, count(e.seq), coalesce(min(e.seq), 1), coalesce(max(e.seq), 0)
                 FROM threads t LEFT JOIN thread_events e ON e.thread_id = t.id GROUP BY t.id, t.last_seq",
            )
            .all()
            .await
            .unwrap();
        let head = |(thread, last, count, first, newest): (Uuid, i64, i64, i64, i64)| {
            assert_eq!((last, 1, last), (count, first, newest), "{thread} has a hole");
            (thread.to_string(), last)
        };
        let heads: BTreeMap<_, _> = rows.into_iter().map(head).collect();
        assert!(heads.keys().eq(self.members.keys()), "threads that nobody opened");
        heads
    }

    /// Waits until everybody was told everything and has done what follows from it, and what they have read is told
    /// too. Returns how often events were told.
    async fn told_to_its_end(&self, board: &Board, db: &Db) -> u64 {
        loop {
            let heads = self.heads(db).await;
            let told = |(thread, members): (&String, &Vec<usize>)| {
                heads[thread] * i64::try_from(members.len()).unwrap()
            };
            let wanted = u64::try_from(self.members.iter().map(told).sum::<i64>()).unwrap();
            board.until(|board| board.is_quiet(wanted)).await;
            let mut conn = db.conn(Scope::System("test")).await.unwrap();
            let (untold,): (i64,) = conn
                .sql("SELECT count(*) FROM thread_members WHERE read_seq > told_seq")
                .one()
                .await
                .unwrap();
            // Looked at last: nobody does anything any more, and nothing is left to be told.
            if untold == 0 && self.heads(db).await == heads {
                return wanted;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What is stored of each thread.
    async fn stored(&self, nodes: &Nodes, db: &Db) -> BTreeMap<String, Stored> {
        let channel = nodes.first().channel().await;
        let mut conn = db.conn(Scope::System("test")).await.unwrap();
        let mut stored = BTreeMap::new();
        for (thread, members) in &self.members {
            let reader = sign_in(&channel, &email(members[0])).await;
            let signed = InterceptedService::new(channel.clone(), Bearer::new(&reader.tokens.access));
            let mut reader = ChatServiceClient::new(signed);
            stored.insert(thread.clone(), Stored::read(&mut conn, &mut reader, thread).await);
        }
        stored
    }
}

fn email(client: usize) -> String {
    format!("client{client}@example.com")
}

struct Registered {
    account_id: String,
    personal_organization_id: String,
    tokens: Tokens,
}

async fn register(channel: &Channel, email: &str) -> Registered {
    let mut client = AuthServiceClient::new(channel.clone());
    let request = auth::RegisterRequest {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        display_name: "Somebody".to_owned(),
        accepted_terms_version: "2026-01".to_owned(),
        ..Default::default()
    };
    client.register(request).await.unwrap();
    sign_in(channel, email).await
}

async fn sign_in(channel: &Channel, email: &str) -> Registered {
    let mut client = AuthServiceClient::new(channel.clone());
    let request =
        auth::LoginRequest { email: email.to_owned(), password: PASSWORD.to_owned(), ..Default::default() };
    let Some(auth::login_response::Result::Session(session)) =
        client.login(request).await.unwrap().into_inner().result
    else {
        panic!("no session in the answer")
    };
    let account = session.account.unwrap();
    Registered {
        account_id: account.id,
        personal_organization_id: account.personal_organization_id,
        tokens: Tokens { access: session.access_token, refresh: session.refresh_token },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_comes_twice() {
    let plan = Plan { messages: 10_000, clients: 50, threads: 12, seed: 1 };
    let outcome = prove(plan, Arc::default()).await;
    // What the proof is about did happen.
    let some = |of: &AtomicU64| of.load(Ordering::Relaxed) > 0;
    let (board, bus) = (&outcome.board, &outcome.bus);
    assert!(
        some(&board.repetitions) && some(&bus.lost) && some(&bus.repeated) && some(&bus.late),
        "{outcome}"
    );
    assert!(board.ends.lock().unwrap().contains_key("SERVER_DRAINING"), "{outcome}");
    assert!(board.streams.load(Ordering::Relaxed) > 2 * plan.clients, "{outcome}");
    for kind in stored::KINDS {
        assert!(outcome.events.contains_key(kind), "no event of {kind}: {outcome}");
    }
}
