//! Conversations: threads of people and agents, told live over streams.
//!
//! Three things hold everywhere here. Every durable change of a thread is an event with a contiguous position
//! ([`store::advance`]). What is told to a client comes from the stored events, or is exactly the next one
//! ([`model::feed`]); the bus only hints. And nobody who writes ever waits for somebody who reads ([`hub`]).
//!
//! This domain knows which agents an organisation has installed and what tools they may use (`market`), asks a model
//! provider for their answers, and runs the tools that the model calls (`ai`); it knows neither plans nor payments, and
//! not what a tool does. Files are kept by `storage` and looked into by `scan`.

mod connections;
mod erasure;
pub mod error;
pub mod files;
mod homes;
pub mod hub;
mod imaging;
pub mod link;
pub mod model;
pub mod operator;
pub mod presence;
mod reading;
mod receipts;
mod removal;
pub mod rpc;
pub mod service;
mod sight;
pub mod store;
pub mod stream;
pub mod turn;
mod unread;
mod watch;

pub use erasure::EraseMessages;
pub use error::{Error, REASONS};
pub use files::{Allowance, Files};
pub use operator::Operator;
pub use removal::RemoveThread;
pub use service::{Outside, Service};

use std::sync::Arc;
use std::time::Duration;

use crate::jobs::Registry;
use model::backlog;
use model::context::Window;
use model::tools;

/// Has the domain's quick jobs run. What waits for others is registered by [`turn::register`] and
/// [`files::register`].
pub fn register(registry: &mut Registry, service: &Arc<Service>) {
    let chat = Arc::clone(service);
    registry.on::<RemoveThread, _>(move |job, _lease| {
        let chat = Arc::clone(&chat);
        async move { chat.remove_thread(job).await }
    });
    files::register_quick(registry, service);
    let chat = Arc::clone(service);
    registry.on::<EraseMessages, _>(move |job, _lease| {
        let chat = Arc::clone(&chat);
        async move { chat.erase_messages(job).await }
    });
}

/// Bounds and intervals of the domain.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest silence on a stream: a heartbeat breaks it.
    pub heartbeat: Duration,
    /// How often it is looked whether the callers of streams may go on.
    pub recheck: Duration,
    /// How often the stored positions of all followed threads are looked at, in case a hint was lost.
    pub backstop: Duration,
    /// How long a client may read nothing before it is sent away.
    pub stall: Duration,
    /// How long a client may take to open its conversation.
    pub hello: Duration,
    /// Over how long a time clients are told to come back after a drain.
    pub reconnect_spread: Duration,
    /// How much news a stream queues before it goes back to the stored events.
    pub backlog: backlog::Limits,
    /// How long a stream whose client has promised to say that it is there goes on without a word.
    pub lease: Duration,
    /// How often it is looked who is there.
    pub presence_every: Duration,
    /// How long what people have read is collected before others are told.
    pub receipts_every: Duration,
    /// How long what is written and read is collected before it is counted what is unread.
    pub unread_every: Duration,
    /// How many messages one transaction writes at most; with 1 each is written by itself.
    pub messages_together_max: usize,
    /// How many streams an account may have open on one node.
    pub streams_per_account_max: usize,
    /// An agent's turn.
    pub turn: TurnOptions,
}

/// Bounds of an agent's turn.
#[derive(Clone, Debug)]
pub struct TurnOptions {
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long pieces of an answer are collected before they are sent.
    pub merge: Duration,
    /// How much of the conversation the model is shown.
    pub window: Window,
    /// How many tokens an answer may have.
    pub output_tokens_max: u32,
    /// How many bytes an answer may have; it is cut there.
    pub answer_bytes_max: usize,
    /// The tools that it may call on the way.
    pub tools: tools::Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            recheck: Duration::from_secs(2),
            backstop: Duration::from_secs(2),
            stall: Duration::from_secs(30),
            hello: Duration::from_secs(10),
            reconnect_spread: Duration::from_secs(5),
            backlog: backlog::Limits { frames: 256, bytes: 1 << 20 },
            lease: Duration::from_secs(75),
            presence_every: Duration::from_secs(1),
            receipts_every: Duration::from_secs(1),
            unread_every: Duration::from_secs(1),
            messages_together_max: 64,
            streams_per_account_max: 64,
            turn: TurnOptions::default(),
        }
    }
}

impl Default for TurnOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            merge: Duration::from_millis(40),
            window: Window { messages: 50, chars: 24_000 },
            output_tokens_max: 2_048,
            answer_bytes_max: 64 << 10,
            tools: tools::Limits::default(),
        }
    }
}
