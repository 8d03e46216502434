//! A node of the chat domain, with everything outside of it in the test's hands.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use capecontrol::ai::tool::{SideEffect, ToolError, Use};
use capecontrol::ai::{self, Chunk, Finish, FinishReason, Prompt, Tool, ToolCall, ToolSpec, Toolbox};
use capecontrol::auth::hashing;
use capecontrol::auth::service::{Login, Register, Transport};
use capecontrol::auth::{self, Caller, Origin};
use capecontrol::base::{Id, OrganizationId, Secret};
use capecontrol::bus::{Bus, Hint, Listener, Signal, local::Local};
use capecontrol::chat::link::Links;
use capecontrol::chat::model::attachment::Limits;
use capecontrol::chat::model::frame::{Delta, Fleeting};
use capecontrol::chat::model::plan::Allowed;
use capecontrol::chat::model::{Draft, Event, MessageId, Thread, ThreadId};
use capecontrol::chat::service::{CreateThread, ListEvents, Sent};
use capecontrol::chat::{self, Allowance, Files, Options, Outside, Service, turn};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::jobs::Worker;
use capecontrol::keyring::RootKey;
use capecontrol::market::{self, ListingId};
use capecontrol::storage::{self, Storage};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{Fixture, audit_log};

const PASSWORD: &str = "correct horse battery";
const TERMS: &str = "2026-01";

/// One node over a test's database.
pub struct Node {
    /// The tool of which the scripted agent may make use.
    pub tool: Arc<Counting>,
    pub chat: Arc<Service>,
    pub auth: Arc<auth::Service>,
    pub provider: Arc<Scripted>,
    pub bus: Arc<Lossy>,
    pub drain: CancellationToken,
    pub tasks: TaskTracker,
}

/// Intervals that a test can wait for.
pub fn quick() -> Options {
    Options {
        recheck: Duration::from_millis(20),
        backstop: Duration::from_millis(20),
        reconnect_spread: Duration::from_millis(1),
        ..Options::default()
    }
}

impl Node {
    pub async fn start(t: &Fixture, options: Options) -> Self {
        let auth_options = auth::Options {
            terms_versions: vec![TERMS.to_owned()],
            hashing: hashing::Options {
                memory_kib: 64,
                passes: 1,
                lanes: 1,
                concurrent_max: 2,
                waiting_max: 64,
            },
            session_memory: Duration::ZERO,
            ..auth::Options::default()
        };
        let key = RootKey::new([7; 32]);
        let auth = auth::Service::new(t.db.clone(), t.world.clone(), auth_options, key).unwrap();
        auth.prepare().await.unwrap();
        let (auth, provider) = (Arc::new(auth), Arc::new(Scripted::default()));
        let tool = Arc::new(Counting::default());
        let (bus, drain, tasks) = (Arc::new(Lossy::default()), CancellationToken::new(), TaskTracker::new());
        let outside = Outside {
            auth: Arc::clone(&auth),
            bus: Arc::clone(&bus) as Arc<dyn Bus>,
            provider: Arc::clone(&provider) as Arc<dyn ai::Provider>,
            tools: Toolbox::default().with(Arc::clone(&tool) as Arc<dyn Tool>),
            files: files(),
            drain: drain.clone(),
            tasks: tasks.clone(),
        };
        let chat = Arc::new(Service::new(t.db.clone(), t.world.clone(), options, outside));
        let running = Arc::clone(&chat);
        tasks.spawn(async move { running.run().await });
        Self { tool, chat, auth, provider, bus, drain, tasks }
    }

    /// Runs the domain's jobs when it is told to.
    pub fn worker(&self, t: &Fixture) -> Worker {
        t.worker(|registry| {
            chat::register(registry, &self.chat);
            turn::register(registry, Arc::clone(&self.chat));
            chat::files::register(registry, Arc::clone(&self.chat));
        })
    }

    /// Registers somebody and signs them in.
    pub async fn somebody(&self, email: &str) -> Caller {
        let nobody = Caller::anonymous(Origin::default());
        let register = Register {
            email: email.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
            display_name: "Somebody".to_owned(),
            accepted_terms_version: TERMS.to_owned(),
            invitation: None,
        };
        self.auth.register(&nobody, register, None).await.unwrap();
        self.sign_in(email).await
    }

    /// Signs somebody in once more.
    pub async fn sign_in(&self, email: &str) -> Caller {
        let nobody = Caller::anonymous(Origin::default());
        let password = Secret::new(PASSWORD.to_owned());
        let login = Login { email: email.to_owned(), password, transport: Transport::Token };
        let issued = self.auth.login(&nobody, login, None).await.unwrap();
        self.auth.authenticate(issued.access_token.expose(), Origin::default()).await.unwrap()
    }

    /// A thread, with an agent or without.
    pub async fn thread(&self, caller: &Caller, listing_id: Option<ListingId>) -> Thread {
        let command = CreateThread { title: "Talk".to_owned(), listing_id, ..CreateThread::default() };
        self.chat.create_thread(caller, command, None).await.unwrap().thread
    }

    pub async fn send(&self, caller: &Caller, thread_id: ThreadId, text: &str) -> Sent {
        self.chat.send(caller, draft(thread_id, text)).await.unwrap()
    }

    /// Every stored event of a thread.
    pub async fn events(&self, caller: &Caller, thread_id: ThreadId) -> Vec<Event> {
        let all = ListEvents { thread_id, after: 0, before: i64::MAX, newest_first: false, limit: 10_000 };
        self.chat.events(caller, all).await.unwrap()
    }

    /// Waits until no stream is left, so that nothing leaks.
    pub async fn is_left_by_everybody(&self) {
        eventually(|| self.chat.hub().census() == (0, 0)).await;
    }
}

/// Files that nobody brings: what becomes of those that somebody does is tried over real sockets.
fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&storage::Route::Folder(folder.path().to_owned())).unwrap();
    Files::new(storage, None, Arc::new(Nothing), Links::new(&RootKey::new([7; 32]), "http://127.0.0.1"))
}

/// Nobody may store anything.
struct Nothing;

#[async_trait]
impl Allowance for Nothing {
    async fn allowed(&self, _: OrganizationId) -> Result<Allowed, chat::Error> {
        let files = Limits { file_bytes_max: 0, stored_bytes_max: 0 };
        Ok(Allowed { plan_id: "test".to_owned(), files, members_max: 1_000, threads_max: 1_000 })
    }
}

/// A message with a key that was not used before.
pub fn draft(thread_id: ThreadId, text: &str) -> Draft {
    use std::sync::atomic::AtomicU64;
    static KEYS: AtomicU64 = AtomicU64::new(1);
    let key = u128::from(KEYS.fetch_add(1, Ordering::Relaxed));
    Draft {
        thread_id,
        client_message_id: uuid::Uuid::from_u128(key),
        text: text.to_owned(),
        reply_to: None,
        attachments: Vec::new(),
    }
}

/// Makes somebody a member of somebody else's organisation.
pub async fn join(t: &Fixture, who: &Caller, whose: &Caller) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, 'member', $3)")
        .bind(whose.personal().unwrap())
        .bind(who.account().unwrap())
        .bind(t.world.now())
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Ada's thread, with Ben in it.
pub struct Pair {
    pub node: Node,
    pub ada: Caller,
    pub ben: Caller,
    pub thread: ThreadId,
}

impl Pair {
    pub async fn start(t: &Fixture) -> Self {
        let node = Node::start(t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(t, &ben, &ada).await;
        let members = vec![ben.account().unwrap()];
        let command = CreateThread { members, ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread.id;
        Self { node, ada, ben, thread }
    }

    pub async fn say(&self, caller: &Caller, text: &str) -> MessageId {
        self.node.send(caller, self.thread, text).await.message.id
    }

    /// The whole history as it is told now, in its stored words.
    pub async fn told(&self) -> String {
        format!("{:?}", self.node.events(&self.ada, self.thread).await)
    }
}

/// A thread that does not exist.
pub fn no_thread() -> ThreadId {
    Id::from_uuid(uuid::Uuid::from_u128(0xdead))
}

/// Any agent of the catalogue, installed for the caller.
pub async fn installed(t: &Fixture, caller: &Caller) -> ListingId {
    let listing = some_listing(t).await;
    let market = market::Service::new(t.db.clone(), t.world.clone(), audit_log(&t.world));
    let command = market::service::InstallListing { organization: None, listing };
    market.install_listing(caller, command, None).await.unwrap();
    listing
}

pub async fn some_listing(t: &Fixture) -> ListingId {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let (listing,): (ListingId,) =
        conn.sql("SELECT id FROM listings ORDER BY slug LIMIT 1").one().await.unwrap();
    listing
}

/// Waits for something that happens on another task; a test that waits for ever has failed.
pub async fn eventually(holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap();
}

/// A bus that can be told to lose everything.
#[derive(Default)]
pub struct Lossy {
    inner: Local,
    pub loses: AtomicBool,
    /// Whether events come along with their hints.
    pub bare: AtomicBool,
    passed: Mutex<Vec<Vec<u8>>>,
}

impl Lossy {
    /// What was passed on without being stored.
    pub fn passed(&self) -> Vec<Delta> {
        let passed = self.passed.lock().unwrap();
        let deltas = passed.iter().filter_map(|body| match serde_json::from_slice(body).unwrap() {
            Fleeting::Delta(delta) => Some(delta),
            _ => None,
        });
        deltas.collect()
    }
}

impl Bus for Lossy {
    fn publish(&self, signal: Signal) {
        if let Signal::Passing(passing) = &signal {
            self.passed.lock().unwrap().push(passing.body.to_vec());
        }
        let signal = match signal {
            Signal::Hint(hint) if self.bare.load(Ordering::Relaxed) => {
                Signal::Hint(Hint { inline: None, ..hint })
            }
            signal => signal,
        };
        if !self.loses.load(Ordering::Relaxed) {
            self.inner.publish(signal);
        }
    }

    fn listen(&self) -> Box<dyn Listener> {
        self.inner.listen()
    }
}

/// What a scripted provider does when it is asked once.
#[derive(Clone, Debug)]
pub enum Act {
    /// Says these pieces.
    Say(Vec<&'static str>),
    /// Says these pieces and breaks off.
    Break(Vec<&'static str>),
    /// Cannot be reached.
    Refuse,
    /// Says a piece and calls these tools with these arguments.
    Call(&'static str, Vec<(&'static str, String)>),
}

/// A provider that does what it was told, and otherwise repeats the last turn.
#[derive(Default)]
pub struct Scripted {
    pub script: Mutex<VecDeque<Act>>,
    pub asked: Mutex<Vec<Prompt>>,
}

impl Scripted {
    pub fn will(&self, act: Act) {
        self.script.lock().unwrap().push_back(act);
    }
}

#[async_trait]
impl ai::Provider for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn generate(
        &self,
        prompt: Prompt,
    ) -> Result<BoxStream<'static, Result<Chunk, ai::Error>>, ai::Error> {
        let last = match prompt.turns.last() {
            Some(ai::Turn::User(text) | ai::Turn::Assistant { text, .. }) => text.clone(),
            Some(ai::Turn::Results(results)) => {
                results.iter().map(|result| result.content.as_str()).collect::<Vec<_>>().join(" ")
            }
            None => String::new(),
        };
        self.asked.lock().unwrap().push(prompt);
        let done = Chunk::Done(Finish { input_tokens: 3, output_tokens: 2, reason: FinishReason::Stop });
        let text = |piece: &str| Ok(Chunk::Text(piece.to_owned()));
        let cut = || Err(ai::Error::Interrupted { cause: None });
        let act = self.script.lock().unwrap().pop_front();
        let chunks: Vec<Result<Chunk, ai::Error>> = match act {
            Some(Act::Refuse) => return Err(ai::Error::Unavailable { retry_after: None, cause: None }),
            Some(Act::Say(pieces)) => pieces.iter().map(|piece| text(piece)).chain([Ok(done)]).collect(),
            Some(Act::Call(said, calls)) => {
                let calls = calls.into_iter().zip(1..).map(|((name, arguments), id)| {
                    let (id, name) = (format!("call-{id}"), name.to_owned());
                    Ok(Chunk::ToolCall(ToolCall { id, name, arguments }))
                });
                let finish = Finish { input_tokens: 3, output_tokens: 2, reason: FinishReason::ToolUse };
                [text(said)].into_iter().chain(calls).chain([Ok(Chunk::Done(finish))]).collect()
            }
            Some(Act::Break(pieces)) => pieces.iter().map(|piece| text(piece)).chain([cut()]).collect(),
            None => vec![text("You said: "), text(&last), Ok(done)],
        };
        Ok(futures_util::stream::iter(chunks).boxed())
    }
}

/// A tool that counts what it did, by key, and does what a test wants.
#[derive(Default)]
pub struct Counting {
    /// Every call, in order.
    pub calls: Mutex<Vec<(Caller, Use)>>,
    /// What its next calls do; afterwards it succeeds.
    pub script: Mutex<VecDeque<Fate>>,
}

/// What becomes of a call of the [`Counting`] tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has its effect, and then its result is lost.
    Lose,
    /// It never comes back.
    Hang,
    /// It panics.
    Panic,
    /// It refuses.
    Refuse,
    /// Its result has so many bytes.
    Long(usize),
}

impl Counting {
    pub const NAME: &str = "test.count";
    pub const SCOPE: &str = "test.use";

    pub fn will(&self, fate: Fate) {
        self.script.lock().unwrap().push_back(fate);
    }

    /// How many effects it had: the same key has its effect once.
    pub fn effects(&self) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(_, wanted)| wanted.key).collect::<std::collections::BTreeSet<_>>().len()
    }

    pub fn tries(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

#[async_trait]
impl Tool for Counting {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: Self::NAME.to_owned(),
            description: "Counts.".to_owned(),
            input_schema: serde_json::json!({ "type": "object" }),
        }
    }

    fn side_effect(&self) -> SideEffect {
        SideEffect::Propose
    }

    fn scope(&self) -> &'static str {
        Self::SCOPE
    }

    async fn call(&self, caller: &Caller, wanted: &Use) -> Result<serde_json::Value, ToolError> {
        self.calls.lock().unwrap().push((caller.clone(), wanted.clone()));
        let fate = self.script.lock().unwrap().pop_front();
        match fate {
            Some(Fate::Lose) => Err(ToolError::Failed("the connection broke".into())),
            Some(Fate::Hang) => std::future::pending().await,
            Some(Fate::Panic) => panic!("on purpose"),
            Some(Fate::Refuse) => Err(ToolError::refused("NOT_TODAY", "Not\0 today.")),
            Some(Fate::Long(bytes)) => Ok("x".repeat(bytes).into()),
            None => Ok(serde_json::json!({ "counted": wanted.arguments })),
        }
    }
}
