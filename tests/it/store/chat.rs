//! Conversations over real databases: messages, agents' turns, and streams of both kinds.

mod bench;
mod changes;
mod conduct;
mod erasure;
mod export;
mod holds;
mod messages;
mod people;
mod policy;
mod receipts;
mod search;
mod sending;
mod streams;
mod tools;
mod turns;
mod unread;
