//! The composition root: builds everything, joins the services on one port, and stops it all in order.
//!
//! This is the only place that knows all domains. It decides nothing that a customer would notice.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::World;
use crate::bus::{self, Bus};
use crate::config::Config;
use crate::db::{self, Db};
use crate::jobs::{Registry, Worker};
use crate::keyring::RootKey;
use crate::payments::provider::{Api, Http};
use crate::payments::simulator::{self, Simulator};
use crate::rpc::metrics::Metrics;
use crate::rpc::policy::{self, Policies};
use crate::rpc::{Pages, health, server};
use crate::{ai, audit, auth, chat, mail, market, operations, payments, proto, storage, tools};

mod alarms;
mod allowance;
mod console;
mod descriptors;
mod maintenance;
pub mod real;
mod routes;
mod start;

use maintenance::Maintenance;

pub use console::{Console, must_exist};
pub use descriptors::descriptors;
pub use start::{
    Lock, describe_database, existing_root_key, lock, migrate, one_time_password_file, prepare_folder,
    root_key_file,
};

/// How long the ends of the audit log and of the ledger may take to be sealed, and the database's connections to close.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// How long before the end of the drain what is still under way is told to end: long enough to say so over a
/// connection, and to give a job back. A quarter of a drain that is shorter than four times this.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A proto declares too little.
    #[error(transparent)]
    Policies(#[from] policy::Error),
    /// The database cannot be used.
    #[error("the database cannot be used: {}", .0.chain())]
    Database(#[from] db::Error),
    /// The database was made by another version.
    #[error(
        "the database is at migration {}, and this program needs {}: run `capecontrol migrate`, or set \
         DATABASE__MIGRATE=true", .0.applied, .0.expected
    )]
    Level(db::Level),
    /// The role of the database could reach past the wall between tenants.
    #[error(
        "this role of the database must not serve: {}. Give DATABASE__URL a role of its own, which owns nothing, and \
         DATABASE__OWNER_URL of `capecontrol migrate` the one that owns the tables (docs/operations.md, \
         \"PostgreSQL\")", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Role(Vec<db::Breach>),
    /// Files cannot be kept.
    #[error("files cannot be kept where STORAGE__URL says: {}", std::error::Error::source(.0).map_or_else(
        || .0.to_string(), ToString::to_string
    ))]
    Storage(#[from] storage::Error),
    /// Accounts cannot be served.
    #[error("accounts cannot be served: {0}")]
    Auth(#[from] auth::Error),
    /// Letters cannot be written.
    #[error(transparent)]
    Mail(#[from] mail::Error),
    /// The provider's client cannot be made.
    #[error("the payment provider's client cannot be made: {0}")]
    Provider(#[from] reqwest::Error),
    /// A file or an address cannot be used.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The reflection service cannot be made.
    #[error("the reflection service cannot be made: {0}")]
    Reflection(tonic_reflection::server::Error),
    /// Another process serves from the same file.
    #[error(
        "another process serves from this SQLite file already ({0} is locked); stop it first, or use PostgreSQL"
    )]
    Served(PathBuf),
    /// The root key is gone, and the database holds what only it opens.
    #[error(
        "{0} is missing, and the database holds keys that only it opens: restore it from a backup of the data folder"
    )]
    RootKeyLost(PathBuf),
    /// A command was to work with a database that is not there.
    #[error(
        "{0} does not exist: was the right one named (DATA_DIR, DATABASE__URL)? `capecontrol serve` makes a new one"
    )]
    NoDatabase(PathBuf),
    /// A key cannot be used.
    #[error("the root key in {0} cannot be used: {1}")]
    RootKey(PathBuf, crate::keyring::NotAKey),
}

impl Error {
    /// Says what was tried when the system refused.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }
}

/// A node: everything that it consists of, not yet listening.
pub struct App {
    /// The database.
    pub db: Db,
    /// Accounts and organisations.
    pub auth: Arc<auth::Service>,
    /// Carries hints between streams and nodes.
    pub bus: Arc<dyn Bus>,
    /// Conversations.
    pub chat: Arc<chat::Service>,
    /// Money.
    pub payments: Arc<payments::Service>,
    /// The catalogue of agents.
    pub market: Arc<market::Service>,
    /// What operators see and decide.
    pub operations: Arc<operations::Service>,
    /// Run the jobs of this node: one those that are quick, among them whatever moves money; the other the agents'
    /// turns, which last as long as a provider takes.
    workers: [Worker; 2],
    /// Gives the entries of the audit log their places.
    sealer: audit::Sealer,
    /// Sends letters.
    pub postman: Arc<mail::Postman>,
    /// What the node counts.
    pub metrics: Metrics,
    world: World,
    config: Config,
    policies: Policies,
    pages: Pages,
    root: RootKey,
    simulator: Option<Arc<Simulator>>,
    drain: CancellationToken,
    /// Cancelled shortly before the drain is over: what still runs says so, or gives its job back.
    closing: CancellationToken,
    tasks: TaskTracker,
    ready: watch::Sender<bool>,
}

/// Where a node listens.
pub struct Listeners {
    /// For clients.
    pub clients: TcpListener,
    /// For operators.
    pub operations: TcpListener,
}

impl Listeners {
    /// Takes the addresses that the settings name. Where a port is 0 the system chooses one, and the settings are told
    /// which; links that would have led to port 0 lead there too.
    ///
    /// # Errors
    /// When an address is taken.
    pub async fn bind(config: &mut Config) -> Result<Self, Error> {
        let clients = listen("SERVER__LISTEN", &mut config.server.listen).await?;
        let operations = listen("OPS__LISTEN", &mut config.ops_listen).await?;
        if let Some(host) = config.server.public_url.strip_suffix(":0") {
            config.server.public_url = format!("{host}:{}", config.server.listen.port());
        }
        Ok(Self { clients, operations })
    }
}

async fn listen(key: &str, address: &mut SocketAddr) -> Result<TcpListener, Error> {
    let what = format!("{key} {address} cannot be listened on");
    let listener = TcpListener::bind(*address).await.map_err(Error::io(what.clone()))?;
    *address = listener.local_addr().map_err(Error::io(what))?;
    Ok(listener)
}

impl App {
    /// Puts a node together: opens (and, where it should, migrates) the database, and makes the services.
    ///
    /// # Errors
    /// What keeps the node from serving.
    pub async fn build(config: Config, world: World) -> Result<Self, Error> {
        let policies = Policies::load(proto::DESCRIPTORS)?;
        let db = open_database(&config).await?;
        let root = start::root_key(&config, &db, &world).await?;
        let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
        let auth =
            Arc::new(auth::Service::new(db.clone(), world.clone(), auth_options(&config), root.clone())?);
        auth.prepare().await?;
        let market = Arc::new(market::Service::new(db.clone(), world.clone(), auth.audit().clone()));
        let operations = Arc::new(operators(&config, db.clone(), world.clone(), Arc::clone(&auth)));
        let options = payments_options(&config);
        let provider = Arc::new(Http::new(&options)?);
        let payments = till(db.clone(), world.clone(), &options, provider.clone(), &auth, &root)?;
        auth.ask_before_closing(payments.clone());
        let bus = bus::open(&config.bus, &db, &world, &root);
        let outside = chat::Outside {
            auth: Arc::clone(&auth),
            bus: Arc::clone(&bus),
            provider: Arc::new(ai::local::Local::new()),
            tools: tools::toolbox(&db, &payments),
            files: files(&config, &payments, &root)?,
            drain: drain.clone(),
            tasks: tasks.clone(),
        };
        let chat =
            Arc::new(chat::Service::new(db.clone(), world.clone(), config.bounds.chat.clone(), outside));
        let simulator = (config.payfast.mode == payments::Mode::Simulator)
            .then(|| Arc::new(Simulator::new(db.clone(), world.clone(), options, provider)));
        let mut registry = Registry::default();
        let postman = start::postman(&config, &world, &root)?;
        mail::register(&mut registry, &postman);
        auth::service::register(&mut registry, &auth);
        payments::register(&mut registry, &payments);
        chat::register(&mut registry, &chat);
        if let Some(simulator) = &simulator {
            simulator::register(&mut registry, simulator);
        }
        let mut slow = Registry::default();
        chat::turn::register(&mut slow, Arc::clone(&chat));
        chat::files::register(&mut slow, Arc::clone(&chat));
        let worker = |registry| Worker::new(db.clone(), world.clone(), config.bounds.jobs.clone(), registry);
        let workers = [worker(registry), worker(slow)];
        let sealer = audit::Sealer::new(db.clone(), auth.audit().clone());
        let pages = Pages::new(root.derive("page-tokens"));
        let (metrics, ready) = (Metrics::default(), watch::Sender::new(false));
        Ok(Self {
            db,
            auth,
            bus,
            chat,
            payments,
            market,
            operations,
            workers,
            sealer,
            postman,
            metrics,
            world,
            config,
            policies,
            pages,
            root,
            simulator,
            drain,
            closing: CancellationToken::new(),
            tasks,
            ready,
        })
    }

    /// Runs every job that is due by the clock, and those that they push, and tells how many attempts were made.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub async fn run_due_jobs(&self) -> Result<usize, db::Error> {
        let mut attempts = 0;
        loop {
            let before = attempts;
            for worker in &self.workers {
                attempts += worker.run_due().await?;
            }
            if attempts == before {
                return Ok(attempts);
            }
        }
    }

    /// Writes the refusals whose window is over, and seals what waits in the audit log; tells how many entries were
    /// sealed.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn seal_audit_log(&self) -> Result<usize, db::Error> {
        self.sealer.run_due().await
    }

    /// Seals what waits in the ledger; tells how many transactions that was.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn seal_ledger(&self) -> Result<usize, db::Error> {
        self.payments.ledger().seal().await
    }

    /// The settings that the node runs with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Serves until `stop`, then drains: health says NOT_SERVING, streams say goodbye, calls end, jobs end.
    ///
    /// # Errors
    /// When the routes cannot be made.
    pub async fn serve(&self, listeners: Listeners, stop: CancellationToken) -> Result<(), Error> {
        let app = self.routes()?;
        let drain_max = self.config.server.drain_max;
        let options = server::Options { drain_max, ..self.config.bounds.connections.clone() };
        // Operators can still read the counters while clients are drained.
        let operations_stop = CancellationToken::new();
        let counted = crate::http::Counted {
            metrics: self.metrics.clone(),
            worker: self.workers[0].clone(),
            postman: Arc::clone(&self.postman),
            ledger: self.payments.ledger().clone(),
            bus: Arc::clone(&self.bus),
            chat: Arc::clone(&self.chat),
        };
        let operations = crate::http::operations(counted, self.platform());
        self.tasks.spawn(server::serve(
            listeners.operations,
            operations,
            options.clone(),
            operations_stop.clone(),
        ));
        // Calls that are drained still have something to say to other nodes.
        self.tasks.spawn({
            let (bus, stop) = (Arc::clone(&self.bus), operations_stop.clone());
            async move { bus.run(stop).await }
        });
        self.start_tasks(&stop);
        let last_words = self.close_before(drain_max, &stop);
        let finished = async {
            server::serve(listeners.clients, app, options, stop.clone()).await;
            operations_stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        };
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(drain_max).await;
        };
        tokio::select! {
            () = finished => {}
            () = last_words => {}
            () = overdue => tracing::warn!(
                after = ?drain_max, "what did not end was left"
            ),
        }
        // What was refused up to the last call is written, and everything is sealed, before nobody is there to do it. A
        // connection that a left task still holds is closed with the process.
        let closed = async {
            if let Err(error) = self.sealer.finish().await {
                tracing::warn!(error = %error.chain(), "the audit log was not sealed at the end");
            }
            if let Err(error) = self.payments.ledger().seal().await {
                tracing::warn!(error = %error.chain(), "the ledger was not sealed at the end");
            }
            self.db.close().await;
        };
        if tokio::time::timeout(CLOSE_MAX, closed).await.is_err() {
            tracing::warn!(after = ?CLOSE_MAX, "the database was left open");
        }
        Ok(())
    }

    /// Announces the end shortly before the drain is over. Never comes back.
    async fn close_before(&self, drain_max: Duration, stop: &CancellationToken) {
        stop.cancelled().await;
        tokio::time::sleep(drain_max.saturating_sub(LAST_WORDS.min(drain_max / 4))).await;
        self.closing.cancel();
        std::future::pending::<()>().await;
    }

    /// What runs beside the listeners until `stop`: news to streams, jobs, health, maintenance, and the goodbye.
    fn start_tasks(&self, stop: &CancellationToken) {
        self.tasks.spawn({
            let chat = Arc::clone(&self.chat);
            async move { chat.run().await }
        });
        for worker in self.workers.clone() {
            let (stop, closing) = (stop.clone(), self.closing.clone());
            self.tasks.spawn(async move { worker.run(stop, closing).await });
        }
        self.tasks.spawn(health::follow(self.db.clone(), self.ready.clone(), stop.clone()));
        self.tasks.spawn(self.maintenance().run(stop.clone()));
        self.tasks.spawn({
            let (auth, stop) = (Arc::clone(&self.auth), stop.clone());
            async move { auth.run(stop).await }
        });
        self.tasks.spawn({
            let (sealer, options) = (self.sealer.clone(), self.config.bounds.audit.clone());
            let stop = stop.clone();
            async move { sealer.run(options, stop).await }
        });
        self.tasks.spawn({
            let (ledger, options) = (self.payments.ledger().clone(), self.config.bounds.ledger.clone());
            let stop = stop.clone();
            async move {
                let sealing = ledger.run(options.seal, stop.clone());
                tokio::join!(sealing, ledger.watch(options.verify_every, stop.clone()));
            }
        });
        self.tasks.spawn({
            let (stop, drain) = (stop.clone(), self.drain.clone());
            async move {
                stop.cancelled().await;
                drain.cancel();
            }
        });
    }

    fn maintenance(&self) -> Maintenance {
        Maintenance::new(
            self.db.clone(),
            self.world.clone(),
            Arc::clone(&self.auth),
            Arc::clone(&self.chat),
            Arc::clone(&self.payments),
        )
    }

    fn platform(&self) -> crate::http::Platform {
        crate::http::Platform { auth: Arc::clone(&self.auth), ready: self.ready.subscribe() }
    }
}

/// Where attachments are kept, and what is decided of them elsewhere.
fn files(config: &Config, payments: &Arc<payments::Service>, root: &RootKey) -> Result<chat::Files, Error> {
    let storage = storage::Storage::open(&config.storage)?;
    let allowance = Arc::new(allowance::OfPlans::new(Arc::clone(payments)));
    let links = chat::link::Links::new(root, &config.server.public_url);
    Ok(chat::Files::new(storage, config.scan.scanner(), allowance, links))
}

async fn open_database(config: &Config) -> Result<Db, Error> {
    let options = db::Options {
        connections_max: config.database.connections_max,
        ..db::Options::new(config.database.url.expose())
    };
    let db = Db::open(&options).await?;
    if config.database.migrate {
        start::migrate(config, &db).await?;
    }
    let level = db.level().await?;
    if !level.is_current() {
        return Err(Error::Level(level));
    }
    let breaches = db.breaches().await?;
    if breaches.is_empty() { Ok(db) } else { Err(Error::Role(breaches)) }
}

fn auth_options(config: &Config) -> auth::Options {
    auth::Options {
        issuer: config.server.public_url.clone(),
        public_url: config.server.public_url.clone(),
        registration: config.auth.registration,
        signing_key_period: config.auth.signing_key_period,
        terms_versions: vec![config.auth.terms_version.clone()],
        administrator_email: config.auth.administrator_email.clone(),
        one_time_password_file: Some(one_time_password_file(config)),
        invitation_ttl: config.auth.invitation_ttl,
        live_keys: config.payfast.mode == payments::Mode::Live,
        hashing: config.auth.hashing,
        link_ttl: config.auth.link_ttl,
        ..auth::Options::default()
    }
}

fn operators(config: &Config, db: Db, world: World, auth: Arc<auth::Service>) -> operations::Service {
    let options = operations::Options {
        version: env!("CARGO_PKG_VERSION"),
        payment_mode: config.payfast.mode.as_str(),
        registration: config.auth.registration.as_str(),
    };
    let alarms = Box::new(alarms::OfPayments::new(db.clone()));
    operations::Service::new(db, world, auth, alarms, options)
}

fn till(
    db: Db,
    world: World,
    options: &payments::Options,
    provider: Arc<Http>,
    auth: &auth::Service,
    root: &RootKey,
) -> Result<Arc<payments::Service>, Error> {
    let audit = auth.audit().clone();
    let ledger = payments::Ledger::new(db.clone(), world.clone(), audit.clone(), root);
    let api = Arc::new(Api::new(options, world.clone())?);
    let outbox = mail::Outbox::new(world.clone(), root.clone());
    let payments = payments::Service::new(db, world, options.clone(), provider, audit, ledger);
    Ok(Arc::new(payments.over(api).sealing(root.clone()).writing(outbox)))
}

/// What the payments domain is told, as the settings say.
#[must_use]
pub fn payments_options(config: &Config) -> payments::Options {
    let origins = config.server.allowed_origins.iter();
    payments::Options {
        mode: config.payfast.mode,
        merchant_id: config.payfast.merchant_id.clone(),
        merchant_key: config.payfast.merchant_key.clone(),
        passphrase: config.payfast.passphrase.clone(),
        public_url: config.server.public_url.clone(),
        return_origins: origins.filter_map(|origin| origin.to_str().ok()).map(str::to_owned).collect(),
        supplier: config.supplier.clone(),
        confirmation_max: config.bounds.confirmation_max,
        api_max: config.bounds.api_max,
        history_rows: config.bounds.history_rows,
        checkouts_open: config.payfast.checkouts_open,
    }
}
