//! Threads and messages: who sees them, in which order they are, and that a repetition changes nothing.

use std::sync::Arc;

use capecontrol::base::{Fault as _, fault};
use capecontrol::chat::Error;
use capecontrol::chat::error::AGENT_NOT_INSTALLED;
use capecontrol::chat::model::{Change, Draft, Event};
use capecontrol::chat::service::{CreateThread, ListEvents};
use capecontrol::idempotency::{IDEMPOTENCY_KEY_REUSED, RequestKey};

use super::bench::{Node, draft, installed, join, no_thread, quick, some_listing};
use crate::support::{Fixture, on_both};

fn texts(events: &[Event]) -> Vec<&str> {
    let text = |event| match event {
        &Event { change: Change::MessageCreated(ref message), .. } => Some(message.text.as_str()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

on_both! {
    async fn positions_have_no_hole_however_many_write(t: Fixture) {
        let node = Arc::new(Node::start(&t, quick()).await);
        let ada = node.somebody("ada@example.com").await;
        let thread = node.thread(&ada, None).await;
        assert_eq!((thread.last_seq, thread.epoch), (0, 1));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let (node, ada) = (Arc::clone(&node), ada.clone());
            writers.spawn(async move {
                for number in 0..10 {
                    node.send(&ada, thread.id, &format!("{writer}/{number}")).await;
                }
            });
        }
        writers.join_all().await;
        let events = node.events(&ada, thread.id).await;
        let positions: Vec<i64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(positions, (1..=80).collect::<Vec<i64>>());
        let thread = node.chat.thread(&ada, thread.id).await.unwrap();
        assert_eq!(thread.thread.last_seq, 80);
    }

    async fn fifty_sendings_at_once_are_one_message(t: Fixture) {
        let node = Arc::new(Node::start(&t, quick()).await);
        let ada = node.somebody("ada@example.com").await;
        let thread = node.thread(&ada, None).await;
        let same = draft(thread.id, "once");
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (node, ada, same) = (Arc::clone(&node), ada.clone(), same.clone());
            senders.spawn(async move { node.chat.send(&ada, same).await.unwrap() });
        }
        let answers = senders.join_all().await;
        assert_eq!(answers.iter().filter(|sent| !sent.duplicate).count(), 1);
        assert!(answers.iter().all(|sent| sent.message == answers[0].message));
        assert_eq!(node.events(&ada, thread.id).await.len(), 1);
    }

    async fn a_key_is_good_for_one_text(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread = node.thread(&ada, None).await;
        let first = draft(thread.id, "one");
        node.chat.send(&ada, first.clone()).await.unwrap();
        let other = Draft { text: "two".to_owned(), ..first.clone() };
        let error = node.chat.send(&ada, other).await.unwrap_err();
        assert_eq!(error.reason(), &IDEMPOTENCY_KEY_REUSED);
        assert_eq!(texts(&node.events(&ada, thread.id).await), ["one"]);
        // In another thread it is another key.
        let elsewhere = node.thread(&ada, None).await;
        assert!(!node.chat.send(&ada, Draft { thread_id: elsewhere.id, ..first }).await.unwrap().duplicate);
    }

    async fn what_others_may_not_see_does_not_exist(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread = node.thread(&ada, None).await;
        let message = node.send(&ada, thread.id, "secret").await.message;
        let stranger = node.somebody("eve@example.com").await;
        let colleague = node.somebody("bob@example.com").await;
        join(&t, &colleague, &ada).await;
        for caller in [&stranger, &colleague] {
            for thread_id in [thread.id, no_thread()] {
                let answers = [
                    node.chat.thread(caller, thread_id).await.unwrap_err(),
                    node.chat.send(caller, draft(thread_id, "hi")).await.unwrap_err(),
                    node.chat.events(caller, ListEvents {
                        thread_id, after: 0, before: i64::MAX, newest_first: false, limit: 1,
                    }).await.unwrap_err(),
                ];
                for error in answers {
                    assert_eq!(error.reason(), &fault::NOT_FOUND);
                    assert_eq!(error.to_string(), Error::ThreadNotFound.to_string());
                    assert!(error.resource().is_none() && error.metadata().is_empty());
                }
            }
            let error = node.chat.message(caller, message.id).await.unwrap_err();
            assert_eq!(error.to_string(), Error::MessageNotFound.to_string());
            assert!(node.chat.threads(caller, None, false, None, 10).await.unwrap().is_empty());
        }
        assert!(node.chat.threads(&stranger, Some(thread.organization_id), false, None, 10).await.is_err());
        assert!(node.chat.threads(&colleague, Some(thread.organization_id), false, None, 10).await.unwrap().is_empty());
        assert_eq!(node.chat.message(&ada, message.id).await.unwrap().message, message);
    }

    async fn only_an_installed_agent_can_be_addressed(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let listing_id = Some(some_listing(&t).await);
        let command = CreateThread { listing_id, ..CreateThread::default() };
        let error = node.chat.create_thread(&ada, command.clone(), None).await.unwrap_err();
        assert_eq!(error.reason(), &AGENT_NOT_INSTALLED);
        installed(&t, &ada).await;
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap();
        assert_eq!(thread.thread.listing_id, listing_id);
    }

    async fn a_repeated_opening_gets_the_first_thread(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let key = RequestKey { method: "/test".into(), key: uuid::Uuid::from_u128(1), body_hash: [1; 32] };
        let command = CreateThread { title: "T".to_owned(), ..CreateThread::default() };
        let first = node.chat.create_thread(&ada, command.clone(), Some(&key)).await.unwrap();
        assert_eq!(node.chat.create_thread(&ada, command.clone(), Some(&key)).await.unwrap(), first);
        let other = RequestKey { body_hash: [2; 32], ..key };
        let error = node.chat.create_thread(&ada, command, Some(&other)).await.unwrap_err();
        assert_eq!(error.reason(), &IDEMPOTENCY_KEY_REUSED);
        assert_eq!(node.chat.threads(&ada, None, false, None, 10).await.unwrap().len(), 1);
    }

    async fn threads_are_listed_by_their_last_use(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let mut threads = Vec::new();
        for _ in 0..3 {
            threads.push(node.thread(&ada, None).await.id);
            t.clock.advance(std::time::Duration::from_secs(1));
        }
        node.send(&ada, threads[0], "again").await;
        let first = node.chat.threads(&ada, None, false, None, 2).await.unwrap();
        let last = &first.last().unwrap().thread;
        let after = capecontrol::chat::store::ThreadsAfter { updated_at: last.updated_at, id: last.id };
        let second = node.chat.threads(&ada, None, false, Some(after), 2).await.unwrap();
        let order: Vec<_> = first.iter().chain(&second).map(|seen| seen.thread.id).collect();
        assert_eq!(order, [threads[0], threads[2], threads[1]]);
    }

    async fn events_are_read_from_either_end(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        for number in 1..=5 {
            node.send(&ada, thread_id, &number.to_string()).await;
        }
        let read = async |after, before, newest_first| {
            let wanted = ListEvents { thread_id, after, before, newest_first, limit: 2 };
            let events = node.chat.events(&ada, wanted).await.unwrap();
            texts(&events).concat()
        };
        assert_eq!(read(0, i64::MAX, false).await, "12");
        assert_eq!(read(2, i64::MAX, false).await, "34");
        assert_eq!(read(0, i64::MAX, true).await, "54");
        assert_eq!(read(0, 4, true).await, "32");
    }
}
