//! What the tests share: both engines, a clock that stands still until it is moved, and the whole platform on a port.

pub mod app;
pub mod clamd;
pub mod edge;
pub mod grpc_web;
pub mod intruder;
pub mod lossy_nats;
pub mod nats;
pub mod postgres;
pub mod s3;
pub mod smtp;

pub use app::{App, Person};
pub use edge::Edge;
pub use lossy_nats::LossyNats;
pub use nats::NatsServer;

use std::sync::Arc;

use capecontrol::audit;
use capecontrol::auth::caller::Proof;
use capecontrol::auth::store::{account, organization};
use capecontrol::auth::{Caller, Email, Origin, Role};
use capecontrol::base::{AccountId, ManualClock, OrganizationId, SeededRng, Timestamp, World};
use capecontrol::db::{self, Db, Engine, Options, Scope};
use capecontrol::jobs::{self, Registry, Worker};
use capecontrol::keyring::RootKey;
use capecontrol::payments::Ledger;

/// 2026-11-20T10:00:00Z, where the clock of every test begins.
pub const START: Timestamp = Timestamp::from_seconds(1_795_168_800);

/// An empty, migrated database of one engine, with a clock to move and randomness that repeats itself.
pub struct Fixture {
    pub db: Db,
    pub world: World,
    pub clock: Arc<ManualClock>,
    /// Where the database is, for a second node or a look from outside; on PostgreSQL as the role that serves.
    pub url: String,
    _folder: tempfile::TempDir,
}

/// Something that a test begins with, on a given engine.
pub trait Start: Sized {
    async fn start(engine: Engine) -> Self;
}

impl Start for Fixture {
    async fn start(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = database_url(engine, &folder).await;
        let db = Db::open(&Options { connections_max: 4, ..Options::new(&url) }).await.unwrap();
        migrate(&db, &url).await.unwrap();
        let (world, clock) = world(7);
        Self { db, world, clock, url, _folder: folder }
    }
}

impl Fixture {
    /// Another one on the same engine, with a database of its own.
    pub async fn start_like(other: &Self) -> Self {
        Self::start(other.db.engine()).await
    }

    /// A worker for the jobs that `register` registers.
    pub fn worker(&self, register: impl FnOnce(&mut Registry)) -> Worker {
        let mut registry = Registry::default();
        register(&mut registry);
        Worker::new(self.db.clone(), self.world.clone(), jobs::Options::default(), registry)
    }
}

/// Registers somebody with a personal organisation.
pub async fn somebody(t: &Fixture, email: &str) -> Caller {
    let (account, personal) = insert_account(&t.db, &t.world, email).await;
    let expires_at = Timestamp::from_micros(i64::MAX);
    let proof = Proof { account, session: t.world.id(), role: Role::Customer, personal, expires_at };
    Caller::signed_in(proof, Origin::default())
}

/// Makes an account that nobody signs in to, and its personal organisation.
pub async fn insert_account(db: &Db, world: &World, email: &str) -> (AccountId, OrganizationId) {
    let new = account::NewAccount {
        id: world.id(),
        personal_organization_id: world.id(),
        email: Email::parse(email).unwrap(),
        role: Role::Customer,
        password_hash: "none".to_owned(),
        one_time_issued_at: None,
        terms_version: "1".to_owned(),
        display_name: "Somebody".to_owned(),
        at: world.now(),
    };
    let personal = new.personal_organization_id;
    let mut tx = db.begin(Scope::System("test")).await.unwrap();
    assert!(account::insert(&mut tx, &new).await.unwrap());
    organization::insert_personal(&mut tx, personal, new.id, "Somebody", new.at).await.unwrap();
    tx.commit().await.unwrap();
    (new.id, personal)
}

/// The audit log of a domain that is tested alone.
pub fn audit_log(world: &World) -> audit::Log {
    audit::Log::new(world.clone(), RootKey::new([7; 32]))
}

/// The ledger of a domain that is tested alone.
pub fn ledger(t: &Fixture) -> Ledger {
    Ledger::new(t.db.clone(), t.world.clone(), audit_log(&t.world), &RootKey::new([7; 32]))
}

/// Migrates a database as it is done in earnest: on PostgreSQL as another role than the one that serves.
pub async fn migrate(db: &Db, url: &str) -> Result<(), db::Error> {
    let Some(owner) = postgres::owner_url(url) else { return db.migrate().await };
    let owner = Db::open(&Options { connections_max: 1, ..Options::new(owner) }).await?;
    let migrated = db.migrate_as(&owner).await;
    owner.close().await;
    migrated
}

/// The address of an empty database.
pub async fn database_url(engine: Engine, folder: &tempfile::TempDir) -> String {
    match engine {
        Engine::Sqlite => format!("sqlite://{}", folder.path().join("test.db").display()),
        Engine::Postgres => postgres::fresh().await.url,
    }
}

/// A world whose clock stands at [`START`].
pub fn world(seed: u64) -> (World, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    (World::new(Arc::clone(&clock) as _, Arc::new(SeededRng::new(seed))), clock)
}

/// Makes of each test one for SQLite and one for PostgreSQL.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($t:ident: $start:ty) $body:block)+) => {
        $(
            mod $name {
                #[allow(unused_imports, reason = "whether a body needs something from around it differs")]
                #[allow(clippy::wildcard_imports, clippy::allow_attributes, reason = "the body sees what surrounds it")]
                use super::*;

                $(#[$meta])*
                async fn body($t: $start) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    body(<$start as $crate::support::Start>::start(::capecontrol::db::Engine::Sqlite).await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    body(<$start as $crate::support::Start>::start(::capecontrol::db::Engine::Postgres).await).await;
                }
            }
        )+
    };
}
pub(crate) use on_both;
