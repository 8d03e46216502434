//! Streams of both kinds through the same scenarios: what holds for one holds for the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::auth::error::{SESSION_REVOKED, TOKEN_EXPIRED};
use capecontrol::base::{Fault as _, fault};
use capecontrol::chat::error::{
    HELLO_EXPECTED, MESSAGE_DELETED, SERVER_DRAINING, SLOW_CONSUMER, THREAD_READ_ONLY, TOO_MANY_STREAMS,
};
use capecontrol::chat::model::backlog::Limits;
use capecontrol::chat::model::feed::Notice;
use capecontrol::chat::model::frame::{ClientBody, ClientFrame, Frame, GoAway, Wish};
use capecontrol::chat::model::member::{TYPING_MEMBERS_MAX, ThreadRole};
use capecontrol::chat::model::{Change, Draft, Edit, Event, Reaction, ThreadId};
use capecontrol::chat::service::CreateThread;
use capecontrol::chat::stream::{Frames, Inbound};
use capecontrol::chat::{Error, Options, store};
use capecontrol::db::Scope;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::bench::{Node, draft, eventually, installed, join, no_thread, quick};
use crate::support::{Fixture, insert_account, on_both};

const KINDS: [Kind; 2] = [Kind::Subscribe, Kind::Converse];
/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Subscribe,
    Converse,
}

/// The client's end of a stream.
pub struct Client {
    frames: Frames,
    words: Option<mpsc::UnboundedSender<Inbound>>,
}

pub fn from(thread_id: ThreadId, after_seq: i64) -> Wish {
    Wish { thread_id, after_seq, epoch: 0, newest: 0 }
}

impl Client {
    pub async fn open(node: &Node, caller: &Caller, kind: Kind, wishes: Vec<Wish>) -> Result<Self, Error> {
        match kind {
            Kind::Subscribe => {
                let frames = node.chat.subscribe(caller.clone(), wishes.into()).await?;
                Ok(Self { frames, words: None })
            }
            Kind::Converse => {
                let mut client = Self::converse(node, caller)?;
                client.say(ClientBody::Hello(wishes.into()));
                Ok(client)
            }
        }
    }

    fn converse(node: &Node, caller: &Caller) -> Result<Self, Error> {
        let (words, heard) = mpsc::unbounded_channel();
        let heard = futures_util::stream::unfold(heard, async |mut heard| {
            heard.recv().await.map(|word| (word, heard))
        });
        let frames = node.chat.converse(caller.clone(), heard.boxed())?;
        Ok(Self { frames, words: Some(words) })
    }

    fn say(&mut self, body: ClientBody) {
        let frame = ClientFrame { request_id: "r".to_owned(), body };
        self.words.as_ref().unwrap().send(Inbound::Frame(frame)).unwrap();
    }

    async fn next(&mut self) -> Option<Result<Frame, Error>> {
        tokio::time::timeout(PATIENCE, self.frames.next()).await.unwrap()
    }

    /// The next frame that `pick` picks; others are passed over.
    pub async fn until<T>(&mut self, pick: impl Fn(&Frame) -> Option<T>) -> T {
        loop {
            let frame = self.next().await.unwrap().unwrap();
            if let Some(picked) = pick(&frame) {
                return picked;
            }
        }
    }

    pub async fn event(&mut self) -> Arc<Event> {
        self.until(|frame| match frame {
            Frame::Notice(Notice::Event(event)) => Some(Arc::clone(event)),
            _ => None,
        })
        .await
    }

    pub async fn live(&mut self) -> i64 {
        self.until(|frame| match frame {
            Frame::Notice(Notice::Live { seq, .. }) => Some(*seq),
            _ => None,
        })
        .await
    }

    /// The positions of the next events, up to `last`.
    async fn positions(&mut self, last: i64) -> Vec<i64> {
        let mut positions = Vec::new();
        while positions.last() != Some(&last) {
            positions.push(self.event().await.seq);
        }
        positions
    }

    /// Reads to the end, and tells the goodbye and the error.
    async fn end(&mut self) -> (Option<GoAway>, Option<Error>) {
        let mut goodbye = None;
        loop {
            match self.next().await {
                Some(Ok(Frame::GoAway { code, .. })) => goodbye = Some(code),
                Some(Ok(_)) => assert!(goodbye.is_none(), "something came after the goodbye"),
                Some(Err(error)) => {
                    assert!(self.frames.next().await.is_none());
                    return (goodbye, Some(error));
                }
                None => return (goodbye, None),
            }
        }
    }
}

fn upto(last: i64) -> Vec<i64> {
    (1..=last).collect()
}

on_both! {
    async fn the_past_and_the_present_join_without_gap_or_repeat(t: Fixture) {
        let node = Arc::new(Node::start(&t, quick()).await);
        let ada = node.somebody("ada@example.com").await;
        for bare in [false, true] {
            node.bus.bare.store(bare, Ordering::Relaxed);
            let thread_id = node.thread(&ada, None).await.id;
            for number in 0..30 {
                node.send(&ada, thread_id, &number.to_string()).await;
            }
            let mut clients = Vec::new();
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..4 {
                let (node, ada) = (Arc::clone(&node), ada.clone());
                writers.spawn(async move {
                    for number in 0..20 {
                        node.send(&ada, thread_id, &format!("{writer}/{number}")).await;
                    }
                });
            }
            for kind in [KINDS, KINDS].concat() {
                clients.push(Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap());
            }
            for client in &mut clients {
                assert_eq!(client.positions(110).await, upto(110));
            }
            writers.join_all().await;
        }
        node.is_left_by_everybody().await;
    }

    async fn a_stream_resumes_from_where_the_client_is(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        for number in 1..=9 {
            node.send(&ada, thread_id, &number.to_string()).await;
        }
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 6)]).await.unwrap();
            let welcome = client.next().await.unwrap().unwrap();
            assert!(matches!(welcome, Frame::Welcome { .. }), "{welcome:?}");
            let catch_up = client.next().await.unwrap().unwrap();
            let expected = Notice::CatchUp { thread_id, from: 7, to: 9, reset: false, epoch: 1 };
            assert_eq!(catch_up, Frame::Notice(expected));
            assert_eq!(client.positions(9).await, [7, 8, 9]);
            assert_eq!(client.live().await, 9);
            let newest = Wish { newest: 2, ..from(thread_id, 0) };
            let mut client = Client::open(&node, &ada, kind, vec![newest]).await.unwrap();
            assert_eq!(client.positions(9).await, [8, 9]);
            // Whoever is ahead of the thread has seen another life of it.
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 99)]).await.unwrap();
            assert_eq!(client.positions(9).await, upto(9));
        }
    }

    async fn a_thread_of_others_and_none_are_refused_alike(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let eve = node.somebody("eve@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        for kind in KINDS {
            for wanted in [thread_id, no_thread()] {
                let error = match Client::open(&node, &eve, kind, vec![from(wanted, 0)]).await {
                    Err(error) => error,
                    Ok(mut client) => client.next().await.unwrap().unwrap_err(),
                };
                assert_eq!(error.reason(), &fault::NOT_FOUND);
                assert_eq!(error.to_string(), "There is no such thread.");
            }
        }
        // Later on it is only a frame that is refused.
        let mut client = Client::open(&node, &eve, Kind::Converse, vec![]).await.unwrap();
        let mut refusals = Vec::new();
        for wanted in [thread_id, no_thread()] {
            client.say(ClientBody::Subscribe(from(wanted, 0)));
            client.say(ClientBody::Send(draft(wanted, "let me in")));
            for _ in 0..2 {
                let nack = |frame: &Frame| match frame {
                    Frame::Nack(nack) => Some((nack.reason, nack.message.clone(), nack.violations.len())),
                    _ => None,
                };
                refusals.push(client.until(nack).await);
            }
        }
        assert!(refusals.iter().all(|refusal| *refusal == refusals[0] && refusal.0 == &fault::NOT_FOUND));
    }

    async fn what_the_bus_loses_the_backstop_finds(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        node.bus.loses.store(true, Ordering::Relaxed);
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap();
            client.live().await;
            let last = node.send(&ada, thread_id, "lost?").await.message.seq;
            assert_eq!(client.event().await.seq, last);
            drop(client);
        }
        // Another node has a bus of its own.
        let other = Node::start(&t, quick()).await;
        let mut client = Client::open(&other, &ada, Kind::Subscribe, vec![from(thread_id, 2)]).await.unwrap();
        client.live().await;
        node.send(&ada, thread_id, "from afar").await;
        assert_eq!(client.event().await.seq, 3);
    }

    async fn a_slow_reader_is_led_back_to_the_stored_events(t: Fixture) {
        let limits = Limits { frames: 8, bytes: 4 << 10 };
        let node = Node::start(&t, Options { backlog: limits, ..quick() }).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        for number in 0..200 {
            node.send(&ada, thread_id, &number.to_string()).await;
        }
        for client in &mut clients {
            assert_eq!(client.positions(200).await, upto(200));
        }
        node.send(&ada, thread_id, "and on").await;
        for client in &mut clients {
            assert_eq!(client.event().await.seq, 201);
        }
    }

    async fn a_client_that_reads_nothing_is_sent_away(t: Fixture) {
        let node = Node::start(&t, Options { stall: Duration::from_millis(100), ..quick() }).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        for number in 0..60 {
            node.send(&ada, thread_id, &number.to_string()).await;
        }
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap();
            node.is_left_by_everybody().await;
            let (goodbye, error) = client.end().await;
            assert_eq!(goodbye, Some(GoAway::Slow));
            assert_eq!(error.unwrap().reason(), &SLOW_CONSUMER);
        }
    }

    async fn a_stream_ends_when_its_token_expires(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        t.clock.advance(Duration::from_secs(10 * 60));
        for client in &mut clients {
            let (goodbye, error) = client.end().await;
            assert_eq!(goodbye, Some(GoAway::Unauthenticated));
            assert_eq!(error.unwrap().reason(), &TOKEN_EXPIRED);
        }
        node.is_left_by_everybody().await;
    }

    async fn a_stream_ends_when_its_session_does(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let other_device = node.sign_in("ada@example.com").await;
        let mut stays = Client::open(&node, &other_device, Kind::Subscribe, vec![from(thread_id, 0)]).await.unwrap();
        for kind in KINDS {
            let device = node.sign_in("ada@example.com").await;
            let mut client = Client::open(&node, &device, kind, vec![from(thread_id, 0)]).await.unwrap();
            client.live().await;
            let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
            capecontrol::db::Conn::sql(
                &mut tx, "UPDATE sessions SET ended_at = $2, end_reason = 'logout' WHERE id = $1",
            ).bind(device.session.unwrap()).bind(t.world.now()).execute().await.unwrap();
            tx.commit().await.unwrap();
            let (goodbye, error) = client.end().await;
            assert_eq!(goodbye, Some(GoAway::Unauthenticated));
            assert_eq!(error.unwrap().reason(), &SESSION_REVOKED);
        }
        let seq = node.send(&ada, thread_id, "still here").await.message.seq;
        assert_eq!(stays.event().await.seq, seq);
    }

    async fn a_stream_ends_with_its_last_membership(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let account = ada.account().unwrap();
        for kind in KINDS {
            let (one, two) = (node.thread(&ada, None).await, node.thread(&ada, None).await);
            let wishes = vec![from(one.id, 0), from(two.id, 0)];
            let mut client = Client::open(&node, &ada, kind, wishes).await.unwrap();
            client.live().await;
            client.live().await;
            for thread in [&one, &two] {
                let mut tx = t.db.begin(Scope::Organization(thread.organization_id)).await.unwrap();
                store::delete_member(&mut tx, thread.organization_id, thread.id, account).await.unwrap();
                tx.commit().await.unwrap();
                if thread.id == one.id {
                    let detached = |frame: &Frame| matches!(frame, Frame::Detached(id) if *id == one.id).then_some(());
                    client.until(detached).await;
                }
            }
            let (goodbye, error) = client.end().await;
            assert_eq!(goodbye, Some(GoAway::Detached));
            assert_eq!(error.unwrap().reason(), &fault::NOT_FOUND);
        }
        node.is_left_by_everybody().await;
    }

    async fn a_drain_says_goodbye_to_everybody(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        // One that does not read must not hold the drain up.
        let silent = Client::converse(&node, &ada).unwrap();
        node.drain.cancel();
        node.tasks.close();
        tokio::time::timeout(PATIENCE, node.tasks.wait()).await.unwrap();
        for client in &mut clients {
            let (goodbye, error) = client.end().await;
            let error = error.unwrap();
            assert_eq!((goodbye, error.reason()), (Some(GoAway::Draining), &SERVER_DRAINING));
            assert!(error.retry_after().is_some());
        }
        drop(silent);
        assert!(Client::open(&node, &ada, Kind::Subscribe, vec![from(thread_id, 0)]).await.is_err());
    }

    async fn a_client_that_vanishes_leaves_nothing_behind(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let mut clients = Vec::new();
        for kind in [KINDS, KINDS, KINDS].concat() {
            clients.push(Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap());
        }
        eventually(|| node.chat.hub().census() == (6, 1)).await;
        let tasks = node.tasks.len();
        drop(clients);
        node.is_left_by_everybody().await;
        eventually(|| node.tasks.len() == tasks - 6).await;
    }

    async fn an_agents_answer_comes_in_pieces_and_once(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread_id = node.thread(&ada, Some(agent)).await.id;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        node.send(&ada, thread_id, "hello").await;
        node.worker(&t).run_due().await.unwrap();
        for client in &mut clients {
            assert_eq!(client.event().await.seq, 1);
            let mut text = String::new();
            let written = loop {
                match client.next().await.unwrap().unwrap() {
                    Frame::Delta(delta) => {
                        assert_eq!(delta.offset, text.len());
                        text.push_str(&delta.text);
                    }
                    Frame::Notice(Notice::Event(event)) => break event,
                    _ => {}
                }
            };
            let Change::MessageCreated(message) = &written.change else { panic!("the turn failed") };
            assert_eq!((written.seq, message.text.as_str(), text.as_str()), (2, "You said: hello", "You said: hello"));
        }
    }

    async fn silence_is_broken_by_heartbeats(t: Fixture) {
        let node = Node::start(&t, Options { heartbeat: Duration::from_millis(30), ..quick() }).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        node.send(&ada, thread_id, "one").await;
        for kind in KINDS {
            let mut client = Client::open(&node, &ada, kind, vec![from(thread_id, 0)]).await.unwrap();
            client.live().await;
            let beat = |frame: &Frame| match frame {
                Frame::Heartbeat { nonce, heads, round_trip, .. } => Some((*nonce, heads.clone(), *round_trip)),
                _ => None,
            };
            let (nonce, heads, _) = client.until(beat).await;
            assert_eq!((heads[0].0, heads[0].1.sent, heads[0].1.acked), (thread_id, 1, 0));
            if kind == Kind::Converse {
                client.say(ClientBody::Pong(nonce));
                client.say(ClientBody::Ack(vec![(thread_id, 1)]));
                while client.until(beat).await.1[0].1.acked != 1 {}
                client.say(ClientBody::Ack(vec![(thread_id, 2)]));
                let nack = |frame: &Frame| matches!(frame, Frame::Nack(_)).then_some(());
                client.until(nack).await;
            }
        }
    }

    async fn a_conversation_opens_with_hello(t: Fixture) {
        let node = Node::start(&t, Options { hello: Duration::from_millis(50), ..quick() }).await;
        let ada = node.somebody("ada@example.com").await;
        let mut mute = Client::converse(&node, &ada).unwrap();
        let (goodbye, error) = mute.end().await;
        assert_eq!((goodbye, error.unwrap().reason()), (None, &HELLO_EXPECTED));
        let mut hasty = Client::converse(&node, &ada).unwrap();
        hasty.say(ClientBody::Pong(1));
        assert_eq!(hasty.end().await.1.unwrap().reason(), &HELLO_EXPECTED);
        let mut twice = Client::open(&node, &ada, Kind::Converse, vec![]).await.unwrap();
        twice.say(ClientBody::Hello(vec![].into()));
        let nack = |frame: &Frame| match frame {
            Frame::Nack(nack) => Some(nack.reason),
            _ => None,
        };
        assert_eq!(twice.until(nack).await, &HELLO_EXPECTED);
    }

    async fn a_conversation_writes_follows_and_stops_following(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let mut client = Client::open(&node, &ada, Kind::Converse, vec![]).await.unwrap();
        client.say(ClientBody::Subscribe(from(thread_id, 0)));
        client.live().await;
        let message = draft(thread_id, "hello");
        let receipt = |frame: &Frame| match frame {
            Frame::Ack(ack) => ack.client_message_id.map(|_| ack.clone()),
            _ => None,
        };
        client.say(ClientBody::Send(message.clone()));
        let first = client.until(receipt).await;
        client.say(ClientBody::Send(message));
        let second = client.until(receipt).await;
        assert_eq!((first.seq, first.duplicate, second.duplicate), (1, false, true));
        assert_eq!(first.message_id, second.message_id);
        client.say(ClientBody::Unsubscribe(thread_id));
        client.until(|frame| matches!(frame, Frame::Ack(_)).then_some(())).await;
        eventually(|| node.chat.hub().census() == (1, 0)).await;
    }

    async fn a_conversation_changes_what_was_written(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let message_id = node.send(&ada, thread_id, "hello").await.message.id;
        let mut client = Client::open(&node, &ada, Kind::Converse, vec![from(thread_id, 1)]).await.unwrap();
        client.live().await;
        let reaction = Reaction { message_id, emoji: "🙂".to_owned() };
        let words = [
            (ClientBody::Edit(Edit { message_id, text: "Hello".to_owned() }), 2),
            (ClientBody::AddReaction(reaction.clone()), 3),
            (ClientBody::RemoveReaction(reaction.clone()), 4),
            (ClientBody::RemoveReaction(reaction), 0),
            (ClientBody::MarkRead(thread_id, 4), 4),
            (ClientBody::Delete(message_id), 5),
        ];
        for (word, seq) in words {
            let says = format!("{word:?}");
            client.say(word);
            let ack = |frame: &Frame| match frame {
                Frame::Ack(ack) => Some(ack.seq),
                _ => None,
            };
            assert_eq!(client.until(ack).await, seq, "{says}");
        }
        client.say(ClientBody::Edit(Edit { message_id, text: "again".to_owned() }));
        let nack = |frame: &Frame| match frame {
            Frame::Nack(nack) => Some(nack.reason),
            _ => None,
        };
        assert_eq!(client.until(nack).await, &MESSAGE_DELETED);
    }

    async fn others_are_told_who_is_writing(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let command = CreateThread { members: vec![ben.account().unwrap()], ..CreateThread::default() };
        let thread = node.chat.create_thread(&ada, command, None).await.unwrap().thread;
        let typing = |frame: &Frame| match frame {
            Frame::Typing(typing) => Some((typing.account_id, typing.typing)),
            _ => None,
        };
        for kind in KINDS {
            let mut bens = Client::open(&node, &ben, kind, vec![from(thread.id, 0)]).await.unwrap();
            let mut adas = Client::open(&node, &ada, Kind::Converse, vec![from(thread.id, 0)]).await.unwrap();
            bens.live().await;
            adas.live().await;
            node.chat.set_typing(&ada, thread.id, true).await.unwrap();
            assert_eq!(bens.until(typing).await, (ada.account().unwrap(), true));
            adas.say(ClientBody::Typing(thread.id, false));
            assert_eq!(bens.until(typing).await, (ada.account().unwrap(), false));
            // Ada, who is not told of her own writing, is told of Ben's first.
            node.chat.set_typing(&ben, thread.id, true).await.unwrap();
            assert_eq!(adas.until(typing).await, (ben.account().unwrap(), true));
        }
        let zoe = node.somebody("zoe@example.com").await;
        let error = node.chat.set_typing(&zoe, thread.id, true).await.unwrap_err();
        assert_eq!(error.reason(), &fault::NOT_FOUND);
        let (who, role) = (ben.account().unwrap(), ThreadRole::Reader);
        node.chat.add_thread_member(&ada, thread.id, who, role, None).await.unwrap();
        let error = node.chat.set_typing(&ben, thread.id, true).await.unwrap_err();
        assert_eq!(error.reason(), &THREAD_READ_ONLY);
    }

    async fn in_a_large_thread_nobody_is_told_who_is_writing(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let thread = node.thread(&ada, None).await;
        let mut members = vec![(ben.account().unwrap(), ThreadRole::Member)];
        for number in 1..TYPING_MEMBERS_MAX {
            let (account, _) = insert_account(&t.db, &t.world, &format!("{number}@example.com")).await;
            members.push((account, ThreadRole::Member));
        }
        let mut tx = t.db.begin(Scope::Organization(thread.organization_id)).await.unwrap();
        store::insert_members(&mut tx, thread.organization_id, thread.id, &members, t.world.now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut client = Client::open(&node, &ben, Kind::Subscribe, vec![from(thread.id, 0)]).await.unwrap();
        client.live().await;
        node.chat.set_typing(&ada, thread.id, true).await.unwrap();
        node.send(&ada, thread.id, "hello").await;
        let frame = client.until(|frame| matches!(frame, Frame::Typing(_) | Frame::Notice(_)).then(|| frame.clone()));
        assert!(matches!(frame.await, Frame::Notice(Notice::Event(_))), "the message, and nothing before it");
    }

    async fn whoever_is_removed_hears_no_more(t: Fixture) {
        // The look at all memberships is far away: it is the event that has them looked at.
        let node = Node::start(&t, Options { recheck: Duration::from_secs(3_600), ..quick() }).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let command = CreateThread { members: vec![ben.account().unwrap()], ..CreateThread::default() };
        for kind in KINDS {
            let thread = node.chat.create_thread(&ada, command.clone(), None).await.unwrap().thread;
            let mut client = Client::open(&node, &ben, kind, vec![from(thread.id, 0)]).await.unwrap();
            client.live().await;
            node.chat.remove_thread_member(&ada, thread.id, ben.account().ok(), None).await.unwrap();
            let (goodbye, error) = client.end().await;
            assert_eq!(goodbye, Some(GoAway::Detached));
            assert_eq!(error.unwrap().reason(), &fault::NOT_FOUND);
        }
    }

    async fn what_a_person_answers_is_not_the_agents_answer(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let listing_id = Some(installed(&t, &ada).await);
        let command = CreateThread { listing_id, members: vec![ben.account().unwrap()], ..CreateThread::default() };
        let thread_id = node.chat.create_thread(&ada, command, None).await.unwrap().thread.id;
        let mut client = Client::open(&node, &ada, Kind::Converse, vec![from(thread_id, 0)]).await.unwrap();
        client.say(ClientBody::Send(draft(thread_id, "anybody?")));
        client.words = None;
        let asked = client.event().await;
        let Change::MessageCreated(message) = &asked.change else { panic!("{asked:?}") };
        let answer = Draft { reply_to: Some(message.id), ..draft(thread_id, "me") };
        node.chat.send(&ben, answer).await.unwrap();
        assert_eq!(client.event().await.seq, 2);
        node.worker(&t).run_due().await.unwrap();
        assert_eq!(client.event().await.seq, 3, "the agent's is still waited for");
    }

    async fn the_last_word_is_answered_before_the_end(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread_id = node.thread(&ada, Some(agent)).await.id;
        let mut client = Client::open(&node, &ada, Kind::Converse, vec![from(thread_id, 0)]).await.unwrap();
        client.say(ClientBody::Send(draft(thread_id, "hello")));
        client.words = None;
        assert_eq!(client.event().await.seq, 1);
        node.worker(&t).run_due().await.unwrap();
        assert_eq!(client.event().await.seq, 2);
        let (goodbye, error) = client.end().await;
        assert!(goodbye.is_none() && error.is_none());
        node.is_left_by_everybody().await;
    }

    async fn an_account_has_so_many_streams_and_no_more(t: Fixture) {
        let node = Node::start(&t, Options { streams_per_account_max: 2, ..quick() }).await;
        let ada = node.somebody("ada@example.com").await;
        let thread_id = node.thread(&ada, None).await.id;
        let first = Client::open(&node, &ada, Kind::Subscribe, vec![from(thread_id, 0)]).await.unwrap();
        let _second = Client::open(&node, &ada, Kind::Converse, vec![]).await.unwrap();
        let error = Client::open(&node, &ada, Kind::Subscribe, vec![from(thread_id, 0)]).await.err().unwrap();
        assert_eq!(error.reason(), &TOO_MANY_STREAMS);
        drop(first);
        eventually(|| node.chat.hub().census().0 == 1).await;
        assert!(Client::open(&node, &ada, Kind::Subscribe, vec![from(thread_id, 0)]).await.is_ok());
    }
}
