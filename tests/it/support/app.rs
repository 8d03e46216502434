//! The whole platform on a port of its own, and people who use it through the generated clients.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::app::{self, Listeners};
use capecontrol::auth::OrganizationRole;
use capecontrol::auth::store::member;
use capecontrol::base::{AccountId, ManualClock, OrganizationId, Rate, SeededRng, World};
use capecontrol::chain;
use capecontrol::config::{Config, Sources};
use capecontrol::db::{Conn as _, Db, Engine, Scope};
use capecontrol::payments::LedgerOptions;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::marketplace::v1::marketplace_service_client::MarketplaceServiceClient;
use capecontrol::proto::capecontrol::operations::v1 as operations;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use capecontrol::rpc::limits;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::{Start, database_url, postgres, world};

/// A password that everybody here has.
pub const PASSWORD: &str = "correct horse battery";

/// The root key of every node here.
pub const ROOT_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A running node. Its jobs run when the test says so.
pub struct App {
    pub db: Db,
    pub world: World,
    pub clock: Arc<ManualClock>,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    /// Where operators look.
    pub operations_url: String,
    /// Where the database is.
    pub database_url: String,
    /// For requests that no generated client makes.
    pub http: reqwest::Client,
    pub node: Arc<app::App>,
    channel: Channel,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    /// How many nodes ran on this folder before.
    life: u64,
    folder: tempfile::TempDir,
}

impl Start for App {
    async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| {}).await
    }
}

impl App {
    /// A node whose settings `change` changed.
    pub async fn start_with(engine: Engine, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = database_url(engine, &folder).await;
        Self::start_on(folder, url, 0, world(11), change).await
    }

    /// Another node on the same database, with clock, public address, bus, files and bounds of chat in common.
    pub async fn beside(&self) -> Self {
        let clock = Arc::clone(&self.clock);
        let world = World::new(Arc::clone(&clock) as _, Arc::new(SeededRng::new(12)));
        let folder = tempfile::tempdir().unwrap();
        let mine = self.node.config();
        let change = |config: &mut Config| {
            config.server.public_url.clone_from(&mine.server.public_url);
            config.bus = mine.bus.clone();
            config.storage = mine.storage.clone();
            config.scan = mine.scan.clone();
            config.bounds.chat = mine.bounds.chat.clone();
        };
        Self::start_on(folder, self.database_url.clone(), 0, (world, clock), change).await
    }

    async fn start_on(
        folder: tempfile::TempDir,
        database_url: String,
        life: u64,
        (world, clock): (World, Arc<ManualClock>),
        change: impl FnOnce(&mut Config),
    ) -> Self {
        // The first test to come installs it for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = config(&folder, &database_url);
        change(&mut config);
        let listeners = Listeners::bind(&mut config).await.unwrap();
        let url = format!("http://{}", config.server.listen);
        let operations_url = format!("http://{}", config.ops_listen);
        let node = Arc::new(app::App::build(config, world.clone()).await.unwrap());
        let stop = CancellationToken::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "kept in the struct, and stopped or killed by the test"
        )]
        let serving = tokio::spawn({
            let (node, stop) = (Arc::clone(&node), stop.clone());
            async move { node.serve(listeners, stop).await.unwrap() }
        });
        let channel = Endpoint::new(url.clone()).unwrap().connect_lazy();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let db = node.db.clone();
        Self {
            db,
            world,
            clock,
            url,
            operations_url,
            database_url,
            http,
            node,
            channel,
            stop,
            serving,
            life,
            folder,
        }
    }

    /// A connection that all clients of this test may share.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Runs every job that is due by the clock.
    pub async fn run_jobs(&self) -> usize {
        self.node.run_due_jobs().await.unwrap()
    }

    /// Writes the refusals whose window is over, and seals the audit log.
    pub async fn seal(&self) -> usize {
        self.node.seal_audit_log().await.unwrap()
    }

    /// Seals the ledger.
    pub async fn seal_ledger(&self) -> usize {
        self.node.seal_ledger().await.unwrap()
    }

    /// The letters that were written so far, the oldest first.
    pub fn letters(&self) -> Vec<String> {
        let written = std::fs::read_dir(self.folder.path().join("mail")).unwrap();
        let mut files: Vec<_> = written.map(|file| file.unwrap().path()).collect();
        // Their names are ids, which sort by the time they were made.
        files.sort();
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Registers somebody and signs them in.
    pub async fn register(&self, email: &str) -> Person {
        let request = auth::RegisterRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            display_name: email.split('@').next().unwrap().to_owned(),
            accepted_terms_version: self.node.config().auth.terms_version.clone(),
            ..auth::RegisterRequest::default()
        };
        auth::auth_service_client::AuthServiceClient::new(self.channel()).register(request).await.unwrap();
        self.sign_in(email, PASSWORD).await
    }

    /// Signs somebody in.
    pub async fn sign_in(&self, email: &str, password: &str) -> Person {
        let request = auth::LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            session_transport: auth::SessionTransport::Token.into(),
            request_id: String::new(),
        };
        let answer =
            auth::auth_service_client::AuthServiceClient::new(self.channel()).login(request).await.unwrap();
        let Some(auth::login_response::Result::Session(session)) = answer.into_inner().result else {
            panic!("no session in the answer")
        };
        let account = session.account.clone().unwrap();
        Person {
            account_id: account.id.parse().unwrap(),
            organization_id: account.personal_organization_id.parse().unwrap(),
            email: email.to_owned(),
            token: session.access_token.clone(),
            refresh_token: session.refresh_token,
            channel: self.channel(),
        }
    }

    /// Seconds since the epoch, by the platform's clock.
    pub fn clock_now(&self) -> i64 {
        self.world.now().as_seconds()
    }

    /// Makes somebody a member of somebody else's own organisation.
    pub async fn join(&self, who: &Person, whose: &Person) {
        let mut tx = self.db.begin(Scope::System("test")).await.unwrap();
        let (home, now) = (whose.organization_id, self.world.now());
        let role = OrganizationRole::Member;
        member::insert(&mut tx, home, who.account_id, role, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Has somebody's own organisation on a plan for an hour, as if it had been bought.
    pub async fn subscribe(&self, who: &Person, plan_id: &str) {
        let now = self.world.now();
        let mut tx = self.db.begin(Scope::System("test")).await.unwrap();
        tx.sql(
            "INSERT INTO subscriptions (id, organization_id, plan_id, billing_cycle, anchor_day, period_start,
                    period_end, created_at, updated_at)
             VALUES ($1, $2, $3, 'monthly', 1, $4, $5, $4, $4)",
        )
        .bind(self.world.id::<()>())
        .bind(who.organization_id)
        .bind(plan_id.to_owned())
        .bind(now)
        .bind(now.plus(Duration::from_secs(3_600)))
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// Somebody with the next tokens of their session.
    pub async fn refresh(&self, person: &Person) -> Person {
        let request =
            auth::RefreshSessionRequest { refresh_token: person.refresh_token.clone(), ..Default::default() };
        let answer =
            auth::auth_service_client::AuthServiceClient::new(self.channel()).refresh_session(request).await;
        let session = answer.unwrap().into_inner().session.unwrap();
        Person {
            token: session.access_token,
            refresh_token: session.refresh_token,
            channel: self.channel(),
            ..person.clone()
        }
    }

    /// The first administrator, signed in with the one-time password.
    pub async fn admin(&self) -> Person {
        let email = self.node.administrator().await.unwrap().unwrap();
        let file = app::one_time_password_file(self.node.config());
        let password = std::fs::read_to_string(file).unwrap();
        self.sign_in(&email, password.trim()).await
    }

    /// Stops the node in good order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }

    /// Stops the node in good order and starts another on another database.
    pub async fn restart_on(self, database_url: String) -> Self {
        self.stop.cancel();
        self.serving.await.unwrap();
        let life = self.life + 1;
        Self::start_on(self.folder, database_url, life, world(11 + life), |_| {}).await
    }

    /// Stops the node as a kill would, between two lines, and starts another on the same data.
    pub async fn kill_and_restart(self) -> Self {
        self.serving.abort();
        let _ = self.serving.await;
        let life = self.life + 1;
        // What a node draws in one life must not come again in the next.
        Self::start_on(self.folder, self.database_url, life, world(11 + life), |_| {}).await
    }
}

/// The settings of a node of these tests.
pub fn config(folder: &tempfile::TempDir, database_url: &str) -> Config {
    let settings = [
        ("DATA_DIR", folder.path().display().to_string()),
        ("SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("OPS__LISTEN", "127.0.0.1:0".to_owned()),
        ("SERVER__ALLOWED_ORIGINS", "https://app.example.com".to_owned()),
        ("DATABASE__URL", database_url.to_owned()),
        ("DATABASE__OWNER_URL", postgres::owner_url(database_url).unwrap_or_default()),
        ("DATABASE__MIGRATE", "true".to_owned()),
        ("DATABASE__CONNECTIONS_MAX", "6".to_owned()),
        ("SECURITY__ROOT_KEY", ROOT_KEY.to_owned()),
        ("AUTH__ARGON2_MEMORY_KIB", "64".to_owned()),
        ("AUTH__ARGON2_PASSES", "1".to_owned()),
        ("MAIL__URL", format!("file://{}", folder.path().join("mail").display())),
    ];
    let environment =
        settings.into_iter().map(|(key, value)| (format!("CAPECONTROL_{key}"), value)).collect();
    let (mut config, _) = Config::read(Sources { environment, ..Sources::default() }).unwrap();
    // Jobs run when the test says so.
    config.bounds.jobs.concurrency = 0;
    // So is the audit log sealed.
    config.bounds.audit.every = None;
    // And the ledger.
    config.bounds.ledger = LedgerOptions { seal: chain::Options { every: None }, verify_every: None };
    // The clock stands still, so that no budget would ever fill up again.
    let plenty = Rate::new(1_000_000, 60_000_000);
    config.limits = limits::Options {
        ordinary: plenty,
        credential: plenty,
        message: plenty,
        payment: plenty,
        heavy: plenty,
    };
    config
}

/// Puts the bearer token on every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    pub fn new(token: &str) -> Self {
        Self(format!("Bearer {token}").parse().unwrap())
    }
}

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The connection of somebody who is signed in.
pub type Signed = InterceptedService<Channel, Bearer>;

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Person {
    pub account_id: AccountId,
    pub organization_id: OrganizationId,
    pub email: String,
    pub token: String,
    pub refresh_token: String,
    channel: Channel,
}

impl Person {
    /// The same person on another way to the node.
    pub fn over(&self, channel: Channel) -> Self {
        Self { channel, ..self.clone() }
    }
    fn signed(&self) -> Signed {
        InterceptedService::new(self.channel.clone(), Bearer::new(&self.token))
    }
    pub fn account(&self) -> auth::account_service_client::AccountServiceClient<Signed> {
        auth::account_service_client::AccountServiceClient::new(self.signed())
    }
    /// The id of the session, as the access token tells it.
    pub fn session_id(&self) -> String {
        capecontrol::auth::token::unproved(&self.token).unwrap().sid.to_string()
    }
    pub fn admin(&self) -> auth::admin_service_client::AdminServiceClient<Signed> {
        auth::admin_service_client::AdminServiceClient::new(self.signed())
    }
    pub fn platform(&self) -> operations::operations_service_client::OperationsServiceClient<Signed> {
        operations::operations_service_client::OperationsServiceClient::new(self.signed())
    }
    pub fn organizations(&self) -> auth::organization_service_client::OrganizationServiceClient<Signed> {
        auth::organization_service_client::OrganizationServiceClient::new(self.signed())
    }
    pub fn api_keys(&self) -> auth::api_key_service_client::ApiKeyServiceClient<Signed> {
        auth::api_key_service_client::ApiKeyServiceClient::new(self.signed())
    }
    pub fn audit(&self) -> auth::audit_service_client::AuditServiceClient<Signed> {
        auth::audit_service_client::AuditServiceClient::new(self.signed())
    }
    pub fn chat(&self) -> ChatServiceClient<Signed> {
        ChatServiceClient::new(self.signed())
    }
    pub fn market(&self) -> MarketplaceServiceClient<Signed> {
        MarketplaceServiceClient::new(self.signed())
    }
    pub fn payments(&self) -> payments::payments_service_client::PaymentsServiceClient<Signed> {
        payments::payments_service_client::PaymentsServiceClient::new(self.signed())
    }
    pub fn invoices(&self) -> payments::invoice_service_client::InvoiceServiceClient<Signed> {
        payments::invoice_service_client::InvoiceServiceClient::new(self.signed())
    }
    pub fn subscriptions(&self) -> payments::subscription_service_client::SubscriptionServiceClient<Signed> {
        payments::subscription_service_client::SubscriptionServiceClient::new(self.signed())
    }
    pub fn operations(
        &self,
    ) -> payments::payment_operations_service_client::PaymentOperationsServiceClient<Signed> {
        payments::payment_operations_service_client::PaymentOperationsServiceClient::new(self.signed())
    }
}
