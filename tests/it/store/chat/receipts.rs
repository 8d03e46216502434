//! How far people have read: marks that never go back, and one event for all who read meanwhile.

use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::chat::Options;
use capecontrol::chat::model::Change;
use capecontrol::chat::model::member::{ReadPosition, UNREAD_MAX};
use capecontrol::chat::service::CreateThread;

use super::bench::{Node, join, quick};
use crate::support::{Fixture, on_both};

/// Marks are told only when the test says so.
fn told_by_hand() -> Options {
    Options { receipts_every: Duration::from_secs(3_600), ..quick() }
}

fn position(caller: &Caller, read_seq: i64) -> ReadPosition {
    ReadPosition { account_id: caller.account().unwrap(), read_seq }
}

on_both! {
    async fn what_several_read_is_told_once_and_by_one_node(t: Fixture) {
        let node = Node::start(&t, told_by_hand()).await;
        let other = Node::start(&t, told_by_hand()).await;
        let ada = node.somebody("ada@example.com").await;
        let (ben, cid) = (node.somebody("ben@example.com").await, node.somebody("cid@example.com").await);
        for member in [&ben, &cid] {
            join(&t, member, &ada).await;
        }
        let members = vec![ben.account().unwrap(), cid.account().unwrap()];
        let command = CreateThread { members, ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread;
        for number in 0..5 {
            node.send(&ada, thread.id, &format!("{number}")).await;
        }
        let before = node.chat.thread(&ada, thread.id).await.unwrap().thread.updated_at;
        t.clock.advance(Duration::from_secs(5));
        for (reader, up_to, mark) in [(&ben, 2, 2), (&ben, 4, 4), (&ben, 3, 4), (&cid, 5, 5)] {
            assert_eq!(node.chat.mark_read(reader, thread.id, up_to).await.unwrap(), mark);
        }
        let (one, two) = tokio::join!(node.chat.tell_receipts(), other.chat.tell_receipts());
        one.unwrap();
        two.unwrap();
        let events = node.events(&ada, thread.id).await;
        assert_eq!(events.len(), 6, "one event for both");
        let Change::ReceiptsMoved { positions } = &events[5].change else { panic!("{events:?}") };
        let mut expected = vec![position(&ben, 4), position(&cid, 5)];
        expected.sort_by_key(|position| position.account_id);
        let mut told = positions.clone();
        told.sort_by_key(|position| position.account_id);
        assert_eq!(told, expected);
        let seen = node.chat.thread(&ada, thread.id).await.unwrap();
        assert_eq!(seen.thread.updated_at, before, "reading is not using");
        assert_eq!(seen.thread.last_seq, 6);
        node.chat.tell_receipts().await.unwrap();
        assert_eq!(node.events(&ada, thread.id).await.len(), 6, "nothing is told twice");
        // Whoever reads that others have read is no news, or two open windows would write to each other for ever.
        for reader in [&ada, &cid] {
            assert_eq!(node.chat.mark_read(reader, thread.id, 6).await.unwrap(), 6);
        }
        node.chat.tell_receipts().await.unwrap();
        let events = node.events(&ada, thread.id).await;
        assert_eq!(events.len(), 7, "Ada had not read the messages yet, and Cid had");
        let Change::ReceiptsMoved { positions } = &events[6].change else { panic!("{events:?}") };
        assert_eq!(*positions, [position(&ada, 6)]);
    }

    async fn whoever_is_alone_tells_nobody(t: Fixture) {
        let node = Node::start(&t, told_by_hand()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread = node.thread(&ada, None).await;
        node.send(&ada, thread.id, "note to self").await;
        node.chat.mark_read(&ada, thread.id, 1).await.unwrap();
        node.chat.tell_receipts().await.unwrap();
        assert_eq!(node.events(&ada, thread.id).await.len(), 1);
    }

    async fn what_others_wrote_since_is_counted(t: Fixture) {
        let node = Node::start(&t, told_by_hand()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let command = CreateThread { members: vec![ben.account().unwrap()], ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread;
        let mut written = Vec::new();
        for number in 0..4 {
            written.push(node.send(&ada, thread.id, &format!("{number}")).await.message.id);
        }
        let unread = |caller: Caller| {
            let chat = std::sync::Arc::clone(&node.chat);
            async move {
                let one = chat.thread(&caller, thread.id).await.unwrap().seat.unread;
                let home = Some(thread.organization_id);
                let listed = chat.threads(&caller, home, false, None, 10).await.unwrap()[0].seat.unread;
                assert_eq!(one, listed);
                one
            }
        };
        assert_eq!((unread(ben.clone()).await, unread(ada.clone()).await), (4, 0), "one's own are not news");
        node.chat.mark_read(&ben, thread.id, 2).await.unwrap();
        node.chat.delete(&ada, written[3], None).await.unwrap();
        assert_eq!(unread(ben.clone()).await, 1);
        for number in 0..=UNREAD_MAX {
            node.send(&ada, thread.id, &format!("{number}")).await;
        }
        assert_eq!(unread(ben).await, UNREAD_MAX);
    }

    async fn marks_are_told_by_themselves(t: Fixture) {
        let node = Node::start(&t, Options { receipts_every: Duration::from_millis(5), ..quick() }).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let command = CreateThread { members: vec![ben.account().unwrap()], ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread;
        node.send(&ada, thread.id, "hello").await;
        node.chat.mark_read(&ben, thread.id, 1).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while node.events(&ada, thread.id).await.len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap();
    }
}
