//! Counting what is unread: for those who listen, once whoever counts, and whatever the bus loses.

use std::sync::atomic::Ordering;
use std::time::Duration;

use capecontrol::account_log::{self, Change};
use capecontrol::auth::Caller;
use capecontrol::chat::Options;
use capecontrol::chat::model::account_feed::{AccountCursor, AccountNotice};
use capecontrol::chat::model::frame::{Frame, Opening};
use capecontrol::chat::model::member::PreferenceChange;
use capecontrol::chat::service::{CreateThread, UpdateThread};
use capecontrol::chat::stream::Frames;
use capecontrol::db::Scope;
use futures_util::StreamExt as _;

use super::bench::{Node, join, quick};
use crate::support::{Fixture, on_both};

/// What is unread is counted only when the test says so.
fn counted_by_hand() -> Options {
    Options { unread_every: Duration::from_secs(3_600), ..quick() }
}

async fn listen(node: &Node, who: &Caller) -> Frames {
    let opening = Opening { account: Some(AccountCursor::default()), ..Opening::default() };
    let mut frames = node.chat.subscribe(who.clone(), opening).await.unwrap();
    while !matches!(next(&mut frames).await, AccountNotice::Live { .. }) {}
    frames
}

async fn next(frames: &mut Frames) -> AccountNotice {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), frames.next()).await.unwrap();
        if let Frame::Account(notice) = frame.unwrap().unwrap() {
            return notice;
        }
    }
}

/// How many messages are unread by all that was written to the log, one figure for each entry.
async fn told(t: &Fixture, who: &Caller) -> Vec<i64> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let entries = account_log::entries_after(&mut conn, who.account().unwrap(), 0, 1_000).await.unwrap();
    let unread = entries.into_iter().filter_map(|entry| match entry.change {
        Some(Change::UnreadChanged(unread)) => Some(unread.messages),
        _ => None,
    });
    unread.collect()
}

on_both! {
    async fn several_nodes_count_and_one_tells(t: Fixture) {
        let node = Node::start(&t, counted_by_hand()).await;
        let other = Node::start(&t, counted_by_hand()).await;
        let (ada, bob) = (node.somebody("ada@example.com").await, node.somebody("bob@example.com").await);
        join(&t, &bob, &ada).await;
        let command = CreateThread { members: vec![bob.account().unwrap()], ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread;
        let mut here = listen(&node, &bob).await;
        let _there = listen(&other, &bob).await;
        for number in 0..3 {
            node.send(&ada, thread.id, &format!("{number}")).await;
        }
        // Own words are read.
        node.send(&bob, thread.id, "yes?").await;
        let (one, two) = tokio::join!(node.chat.tell_unread(true), other.chat.tell_unread(true));
        one.unwrap();
        two.unwrap();
        assert_eq!(told(&t, &bob).await, [3], "once, by one of the two");
        let AccountNotice::Entry(entry) = next(&mut here).await else { panic!() };
        let Some(Change::UnreadChanged(unread)) = entry.change else { panic!() };
        assert_eq!((unread.threads, unread.messages, unread.of[0].thread_id), (1, 3, thread.id.uuid()));
        // Nobody listens for Ada: nothing is counted for her, however much others write.
        assert_eq!(told(&t, &ada).await, [0_i64; 0]);
        node.chat.mark_read(&bob, thread.id, 2).await.unwrap();
        node.chat.tell_unread(true).await.unwrap();
        node.chat.tell_unread(true).await.unwrap();
        assert_eq!(told(&t, &bob).await, [3, 1]);
        let preferences = PreferenceChange { muted: Some(true), ..PreferenceChange::default() };
        let mute = UpdateThread { thread_id: thread.id, title: None, preferences, etag: String::new() };
        node.chat.update_thread(&bob, mute, None).await.unwrap();
        node.chat.tell_unread(true).await.unwrap();
        assert_eq!(told(&t, &bob).await, [3, 1, 0], "of a thread that is muted nothing is told");
    }

    /// Only what a hint was of is counted, until everybody's turn comes.
    async fn a_hint_says_whom_to_count_for(t: Fixture) {
        // Nothing is looked at by itself, and nothing is heard of, not even that he is in the thread.
        let options = Options { backstop: Duration::from_secs(3_600), ..counted_by_hand() };
        let node = Node::start(&t, options).await;
        let (ada, bob) = (node.somebody("ada@example.com").await, node.somebody("bob@example.com").await);
        join(&t, &bob, &ada).await;
        node.bus.loses.store(true, Ordering::Relaxed);
        let command = CreateThread { members: vec![bob.account().unwrap()], ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread;
        let _stream = listen(&node, &bob).await;
        node.chat.tell_unread(false).await.unwrap();
        node.send(&ada, thread.id, "unheard of").await;
        node.chat.tell_unread(false).await.unwrap();
        assert_eq!(told(&t, &bob).await, [0_i64; 0], "the hint was lost");
        node.chat.tell_unread(true).await.unwrap();
        assert_eq!(told(&t, &bob).await, [1]);
    }

    /// The bus loses every hint: the positions of logs are looked at anyway.
    async fn entries_are_told_without_a_bus(t: Fixture) {
        let options = Options { unread_every: Duration::from_millis(20), ..quick() };
        let node = Node::start(&t, options).await;
        let (ada, bob) = (node.somebody("ada@example.com").await, node.somebody("bob@example.com").await);
        join(&t, &bob, &ada).await;
        let mut frames = listen(&node, &bob).await;
        node.bus.loses.store(true, Ordering::Relaxed);
        let command = CreateThread { members: vec![bob.account().unwrap()], ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread;
        node.send(&ada, thread.id, "hello").await;
        let AccountNotice::Entry(joined) = next(&mut frames).await else { panic!() };
        assert!(matches!(joined.change, Some(Change::ThreadJoined { thread_id, .. }) if thread_id == thread.id.uuid()));
        let AccountNotice::Entry(unread) = next(&mut frames).await else { panic!() };
        assert_eq!(unread.seq, joined.seq + 1);
        assert!(matches!(unread.change, Some(Change::UnreadChanged(unread)) if unread.messages == 1));
    }
}
