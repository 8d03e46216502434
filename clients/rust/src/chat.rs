//! Conversations as a client keeps them: one stream for all threads, a position in each, and what is still to be sent.
//!
//! [`Machine`] is handed what happens ([`Input`], with the time and a random number) and answers with what is to be
//! done ([`Command`]). It is the reference for clients in every language: docs/chat-client.md has the table of its
//! transitions, clients/contract/chat what it answers to scripted inputs. It must not know how a stream is opened, what
//! time it is, where randomness comes from, or how a message looks that somebody else wrote.
//!
//! Each part decides one thing: [`cursors`] what of a thread is applied and [`account`] what of the account's log,
//! [`outbox`] what is sent and when again, [`backoff`] how long to wait, [`quality`] how good the connection is,
//! [`verdict`] what follows from the end of a stream, [`acks`] when positions are acknowledged. The machine joins them.

pub mod account;
pub mod acks;
pub mod backoff;
pub mod cursors;
pub mod machine;
pub mod outbox;
pub mod quality;
pub mod verdict;
pub mod words;

pub use machine::{Config, Machine, State};
pub use words::{Command, Frame, Input};
