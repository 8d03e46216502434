//! Conversations over real databases: messages, agents' turns, and streams of both kinds.

mod bench;
mod changes;
mod messages;
mod people;
mod receipts;
mod streams;
mod tools;
mod turns;
