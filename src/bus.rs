//! Hints between streams and nodes.
//!
//! A signal says that something happened in a thread, or in the log of an account, so that whoever follows it looks. It
//! may be lost, repeated or come out of order: the database is the log, and every listener makes do without the bus,
//! only later. So publishing never waits and never fails. The bus knows threads and accounts by their bare id, and
//! nothing of what is in them.
//!
//! Within one process it is a ring in memory ([`local`]). Between nodes it goes through PostgreSQL ([`postgres`]) or
//! NATS ([`nats`]), which differ in the way alone: what waits, what is dropped and what is taken for true is the same
//! for both.

pub mod local;
pub mod nats;
mod outbox;
pub mod postgres;
mod relay;
pub mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::base::World;
use crate::db::Db;
use crate::keyring::RootKey;

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Something was committed.
    Hint(Hint),
    /// Something that is stored nowhere.
    Passing(Passing),
}

/// A thread, or the log of an account, has come to this position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The thread or the account.
    pub thread: Uuid,
    /// The position of its newest event.
    pub seq: i64,
    /// That event itself, when it is small enough to come along; for the listener to decode.
    pub inline: Option<Arc<[u8]>>,
}

/// Something that is stored nowhere, such as a piece of an answer in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// What it is about, mostly a thread.
    pub about: Uuid,
    /// For the listener to decode.
    pub body: Arc<[u8]>,
}

/// The largest event that comes along with its hint, in bytes.
pub const INLINE_BYTES_MAX: usize = 4 << 10;

/// Carries signals to every node.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends a signal to every listener on every node, this one included. Never waits.
    fn publish(&self, signal: Signal);

    /// Listens from now on.
    fn listen(&self) -> Box<dyn Listener>;

    /// Works for the signals between nodes until `stop`. Within one process there is nothing to do.
    async fn run(&self, _stop: CancellationToken) {}

    /// How much was carried so far between this node and others.
    fn tally(&self) -> Tally {
        Tally::default()
    }
}

/// How much was carried between this node and others since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Signals that left.
    pub published: u64,
    /// Signals that came.
    pub received: u64,
    /// Signals that did not leave: they were too many, or too large.
    pub dropped: u64,
    /// What came and was not of this platform, or of a version that is not understood.
    pub refused: u64,
    /// How often listeners were told that signals were lost.
    pub missed: u64,
    /// How often a connection was made: once, and once more after each that was lost.
    pub connections: u64,
}

/// Which way signals go.
#[derive(Clone, Debug)]
pub enum Route {
    /// Within the process.
    Local,
    /// Through the PostgreSQL server that holds the data.
    Postgres,
    /// Through NATS.
    Nats(nats::Options),
}

/// The bus that goes this way. Nothing is connected before it runs.
#[must_use]
pub fn open(route: &Route, db: &Db, world: &World, root: &RootKey) -> Arc<dyn Bus> {
    let (world, root) = (world.clone(), root.clone());
    match route {
        Route::Local => Arc::new(local::Local::new()),
        Route::Postgres => Arc::new(postgres::Postgres::new(db.clone(), world, root)),
        Route::Nats(options) => Arc::new(nats::Nats::new(options.clone(), world, root)),
    }
}

/// One listener.
#[async_trait]
pub trait Listener: Send {
    /// The next thing heard; `None` when the bus is gone.
    async fn next(&mut self) -> Option<Heard>;
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A signal.
    Signal(Signal),
    /// Signals were lost, nobody knows which.
    Missed,
}
