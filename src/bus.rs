//! Hints between streams and nodes.
//!
//! A signal says that something happened in a thread, so that whoever follows it looks. It may be lost, repeated or
//! come out of order: the database is the log, and every listener makes do without the bus, only later. So publishing
//! never waits and never fails. The bus knows threads by their bare id, and nothing of what is in them.

pub mod local;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Something was committed.
    Hint(Hint),
    /// Something that is stored nowhere.
    Passing(Passing),
}

/// A thread has come to this position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The thread.
    pub thread: Uuid,
    /// The position of its newest event.
    pub seq: i64,
    /// That event itself, when it is small enough to come along; for the listener to decode.
    pub inline: Option<Arc<[u8]>>,
}

/// Something that is stored nowhere, such as a piece of an answer in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// The thread.
    pub thread: Uuid,
    /// For the listener to decode.
    pub body: Arc<[u8]>,
}

/// The largest event that comes along with its hint, in bytes.
pub const INLINE_BYTES_MAX: usize = 4 << 10;

/// Carries signals to every node.
pub trait Bus: Send + Sync + 'static {
    /// Sends a signal to every listener on every node, this one included. Never waits.
    fn publish(&self, signal: Signal);

    /// Listens from now on.
    fn listen(&self) -> Box<dyn Listener>;
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
