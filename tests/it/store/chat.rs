//! Conversations over real databases: messages, agents' turns, and streams of both kinds.

mod bench;
mod messages;
mod streams;
mod tools;
mod turns;
