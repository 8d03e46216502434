//! What many send at the same time: written together, and no different from what is sent one after the other.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{AccountId, Fault as _, Id};
use capecontrol::chat::Error;
use capecontrol::chat::model::member::ThreadRole;
use capecontrol::chat::model::{Change, Draft, MessageId, ThreadId, ThreadKind};
use capecontrol::chat::service::{CreateThread, Sent};
use capecontrol::chat::store;
use capecontrol::db::{self, Conn as _, Engine, Scope, Tx};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::bench::{Node, Pair, draft, installed, join, quick};
use crate::support::{Fixture, on_both};

/// After so long whoever still waits is taken to wait for good.
const PATIENCE: Duration = Duration::from_secs(10);

/// An organisation with all kinds of threads, and all kinds of people who send to them.
struct Ground {
    people: Vec<Caller>,
    threads: Vec<ThreadId>,
    /// The first message of each thread, if it has one.
    firsts: Vec<Option<MessageId>>,
}

/// One message of a plan: which thread, who, which of their keys, which text, and what it answers.
#[derive(Clone, Copy, Debug)]
struct Planned {
    thread: usize,
    who: usize,
    key: u128,
    text: u64,
    reply_to: u64,
}

/// What its sender was told: where it stands, whether it is a repetition, whether an agent will answer, and the text.
type Told = Result<(i64, bool, bool, String), String>;

impl Ground {
    async fn lay(t: &Fixture, node: &Node, name: &str) -> Self {
        let person = async |who: &str| node.somebody(&format!("{who}@{name}.example")).await;
        let (ada, ben, cid) = (person("ada").await, person("ben").await, person("cid").await);
        let (dan, zoe) = (person("dan").await, person("zoe").await);
        for other in [&ben, &cid, &dan] {
            join(t, other, &ada).await;
        }
        let home = ada.personal().unwrap();
        let open = async |kind, listing_id, members: &[&Caller]| {
            let members = members.iter().map(|member| account(member)).collect();
            let organization_id = Some(home);
            let command =
                CreateThread { organization_id, kind, listing_id, members, ..CreateThread::default() };
            node.chat.create_thread(&ada, command, None).await.unwrap().thread.id
        };
        let listing = installed(t, &ada).await;
        let threads = vec![
            open(None, None, &[&ben, &dan]).await,
            open(Some(ThreadKind::Direct), None, &[&ben]).await,
            open(Some(ThreadKind::Direct), None, &[&cid]).await,
            open(None, Some(listing), &[]).await,
            open(None, None, &[&ben]).await,
        ];
        node.chat.add_thread_member(&ada, threads[0], account(&cid), ThreadRole::Reader, None).await.unwrap();
        let mut firsts = Vec::new();
        for thread in &threads {
            firsts.push(Some(node.send(&ada, *thread, "first").await.message.id));
        }
        // From here on these two do not hear each other, one thread is gone, and one person left the organisation.
        node.chat.block_account(&cid, account(&ada), None).await.unwrap();
        node.chat.delete_thread(&ada, threads[4], "", None).await.unwrap();
        firsts[4] = None;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("DELETE FROM memberships WHERE organization_id = $1 AND account_id = $2")
            .bind(home)
            .bind(account(&dan))
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Self { people: vec![ada, ben, cid, dan, zoe], threads, firsts }
    }

    fn draft(&self, planned: Planned) -> Draft {
        let other = (planned.thread + 1) % self.threads.len();
        let reply_to = match planned.reply_to {
            0 => self.firsts[planned.thread],
            1 => self.firsts[other],
            2 => Some(Id::from_uuid(uuid::Uuid::from_u128(0xdead))),
            _ => None,
        };
        Draft {
            thread_id: self.threads[planned.thread],
            client_message_id: uuid::Uuid::from_u128(planned.key),
            text: format!("text {} of a plan", planned.text),
            reply_to,
            attachments: Vec::new(),
        }
    }

    async fn send(&self, node: &Node, planned: Planned) -> Told {
        told(node.chat.send(&self.people[planned.who], self.draft(planned)).await)
    }

    /// Every event of the threads that are left: its position, and what was written.
    async fn written(&self, node: &Node) -> Vec<Vec<(i64, String)>> {
        let mut all = Vec::new();
        for thread in &self.threads[..4] {
            all.push(texts(node, &self.people[0], *thread).await);
        }
        all
    }
}

fn account(caller: &Caller) -> AccountId {
    caller.account().unwrap()
}

fn told(answer: Result<Sent, Error>) -> Told {
    match answer {
        Ok(sent) => Ok((sent.message.seq, sent.duplicate, sent.awaits_answer, sent.message.text)),
        Err(error) => Err(format!("{}: {error}", error.reason().name)),
    }
}

async fn texts(node: &Node, who: &Caller, thread: ThreadId) -> Vec<(i64, String)> {
    let events = node.events(who, thread).await;
    let text = |change: Change| match change {
        Change::MessageCreated(message) => message.text,
        other => format!("{other:?}").split([' ', '(']).next().unwrap().to_owned(),
    };
    events.into_iter().map(|event| (event.seq, text(event.change))).collect()
}

/// A plan of so many messages, the same for a seed. Most of it is good, and most keys are used once.
fn plan(seed: u64, count: u64) -> Vec<Planned> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let index = |number: u64| usize::try_from(number).unwrap();
    (0..count)
        .map(|number| {
            // What is sent again is mostly the same.
            let again = below(3) == 0;
            let key = if again { below(2) } else { number + 10 };
            Planned {
                thread: index([0, 0, 0, 0, 1, 1, 2, 3, 3, 4][index(below(10))]),
                who: index([0, 0, 0, 1, 1, 1, 2, 3, 4][index(below(9))]),
                key: u128::from(seed) << 32 | u128::from(key),
                text: if again { below(8) / 7 } else { below(2) },
                reply_to: below(if again { 40 } else { 12 }),
            }
        })
        .collect()
}

/// A transaction that keeps the lock on the thread.
async fn held(t: &Fixture, s: &Pair) -> Option<Tx> {
    let home = s.ada.personal().unwrap();
    let mut tx = t.db.begin(Scope::Organization(home)).await.unwrap();
    assert!(store::lock_thread(&mut tx, home, s.thread).await.unwrap());
    Some(tx)
}

/// Polls a future so many times, each time that it can go on, and no further.
async fn up_to<F: Future>(mut future: Pin<&mut F>, polls: usize) -> Option<F::Output> {
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

on_both! {
    async fn what_is_sent_at_once_ends_as_if_sent_in_turn(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let (one, other) = (Ground::lay(&t, &node, "one").await, Ground::lay(&t, &node, "other").await);
        let (mut repeated, mut refused) = (0, BTreeSet::new());
        for seed in 1..=12 {
            let plan = plan(seed, 60);
            let mut in_turn = Vec::new();
            for planned in &plan {
                in_turn.push(one.send(&node, *planned).await);
            }
            let at_once = join_all(plan.iter().map(|planned| other.send(&node, *planned))).await;
            for (planned, (expected, seen)) in plan.iter().zip(in_turn.iter().zip(&at_once)) {
                assert_eq!(expected, seen, "seed {seed}, {planned:?}");
            }
            assert_eq!(one.written(&node).await, other.written(&node).await, "seed {seed}");
            repeated += in_turn.iter().flatten().filter(|(_, duplicate, ..)| *duplicate).count();
            refused.extend(in_turn.into_iter().filter_map(Result::err));
        }
        assert!(repeated > 20, "{repeated}");
        let reasons: BTreeSet<&str> = refused.iter().filter_map(|why| why.split(':').next()).collect();
        let expected = ["ACCOUNT_BLOCKED", "IDEMPOTENCY_KEY_REUSED", "NOT_FOUND", "THREAD_READ_ONLY"];
        assert_eq!(reasons, expected.into_iter().collect(), "{refused:?}");
        assert_eq!(refused.len(), 5, "{refused:?}");
    }

    async fn two_nodes_write_to_one_thread_without_a_hole(t: Fixture) {
        let (s, far) = (Pair::start(&t).await, Node::start(&t, quick()).await);
        let thread = s.thread;
        // Both know whose the thread is, so that a message waits as soon as it is sent.
        for (node, who) in [(&s.node, &s.ada), (&far, &s.ben)] {
            node.events(who, thread).await;
        }
        let send = async |node: &Node, who: &Caller, number: u32| {
            let text = format!("{number} of {:?}", account(who));
            let sent = node.chat.send(who, draft(thread, &text)).await.unwrap();
            assert_eq!((sent.duplicate, &sent.message.text), (false, &text));
            (sent.message.seq, text)
        };
        let here = join_all((0..100).map(|number| send(&s.node, &s.ada, number)));
        let there = join_all((0..100).map(|number| send(&far, &s.ben, number)));
        let (here, there) = tokio::join!(here, there);
        for told in [&here, &there] {
            assert!(told.is_sorted(), "each node keeps the order in which it was asked");
        }
        let mut all: Vec<(i64, String)> = here.into_iter().chain(there).collect();
        all.sort();
        assert_eq!(all, texts(&s.node, &s.ada, thread).await);
        assert_eq!(all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    }

    async fn what_waits_for_a_thread_is_one_transaction(t: Fixture) {
        let s = Pair::start(&t).await;
        s.say(&s.ada, "first").await;
        let sent = join_all((0..40).map(|number| {
            s.node.chat.send(if number % 2 == 0 { &s.ada } else { &s.ben }, draft(s.thread, &format!("{number}")))
        }))
        .await;
        assert!(sent.iter().all(Result::is_ok));
        if t.db.engine() == Engine::Postgres {
            let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
            let count = "SELECT count(DISTINCT xmin::text) FROM thread_events WHERE thread_id = $1";
            let transactions: (i64,) = conn.sql(count).bind(s.thread).one().await.unwrap();
            assert_eq!(transactions, (3,), "what came before, whoever came first, and all others");
        }
    }

    async fn nobody_makes_others_wait_for_a_thread_of_which_they_are_no_member(t: Fixture) {
        let s = Pair::start(&t).await;
        let zoe = s.node.somebody("zoe@sending.example").await;
        join(&t, &zoe, &s.ada).await;
        s.say(&s.ada, "first").await;
        let mut held = held(&t, &s).await;
        if t.db.engine() == Engine::Sqlite {
            // There is one writer: whoever writes waits for it, whatever it is that they write.
            held = None;
        }
        let refused = tokio::time::timeout(PATIENCE, s.node.chat.send(&zoe, draft(s.thread, "let me in"))).await;
        let refused = refused.unwrap().unwrap_err();
        assert!(matches!(refused, Error::ThreadNotFound), "{refused}");
        drop(held);
        assert_eq!(texts(&s.node, &s.ada, s.thread).await, [(1, "first".to_owned())]);
    }

    async fn a_message_whose_time_is_over_ends_alone(t: Fixture) {
        let s = Pair::start(&t).await;
        s.say(&s.ada, "first").await;
        let held = held(&t, &s).await;
        let mut before = Box::pin(s.node.chat.send(&s.ada, draft(s.thread, "before")));
        assert!(futures_util::poll!(&mut before).is_pending());
        // These two wait for it, and are written together; the first of them does it, and has no time.
        let late = db::deadline::within(Instant::now(), s.node.chat.send(&s.ada, draft(s.thread, "late")));
        let mut late = Box::pin(late);
        assert!(futures_util::poll!(&mut late).is_pending());
        let mut patient = Box::pin(s.node.chat.send(&s.ben, draft(s.thread, "patient")));
        assert!(futures_util::poll!(&mut patient).is_pending());
        drop(held);
        let (before, late, patient) = tokio::join!(before, late, patient);
        assert!(matches!(late, Err(Error::Db(db::Error::Timeout))), "{late:?}");
        assert!(!before.unwrap().duplicate && !patient.unwrap().duplicate);
        // What was told that its time is over may have been written all the same.
        let written = texts(&s.node, &s.ada, s.thread).await;
        let in_order = |texts: &[&str]| (1..).zip(texts.iter().map(|text| (*text).to_owned())).collect::<Vec<_>>();
        let (without, with) = (["first", "before", "patient"], ["first", "before", "late", "patient"]);
        assert!(written == in_order(&without) || written == in_order(&with), "{written:?}");
    }

    async fn whoever_goes_away_at_any_moment_takes_nothing_from_the_others(t: Fixture) {
        let s = Pair::start(&t).await;
        // From then on it is known where the thread is at home: whoever is not polled here holds no connection.
        s.say(&s.ada, "first").await;
        let (mut written, mut gone, mut polls) = (1, 0, 0);
        // The first does its own, the second the others' too. Each is stopped at every place where it waits.
        loop {
            polls += 1;
            let key = draft(s.thread, "");
            let text = |number: u32| Draft { text: format!("{polls}/{number}"), ..draft(s.thread, "") };
            // A quick server may answer all that it is asked within one poll.
            let held = held(&t, &s).await;
            let mut first = Box::pin(s.node.chat.send(&s.ada, text(1)));
            assert!(futures_util::poll!(&mut first).is_pending());
            let again = Draft { text: format!("{polls}/2"), ..key };
            let mut second = Box::pin(s.node.chat.send(&s.ben, again.clone()));
            assert!(futures_util::poll!(&mut second).is_pending());
            let mut third = Box::pin(s.node.chat.send(&s.ada, text(3)));
            assert!(futures_util::poll!(&mut third).is_pending());
            drop(held);
            first.await.unwrap();
            let second_ended = up_to(second.as_mut(), polls).await;
            drop(second);
            let third = third.await.unwrap();
            assert!(!third.duplicate, "it was sent once, however often it was tried");
            // Whoever does not know what became of a message sends it again.
            let told = s.node.chat.send(&s.ben, again).await.unwrap();
            gone += i32::from(!told.duplicate);
            written += 3;
            let stored: Vec<(i64, String)> = texts(&s.node, &s.ada, s.thread).await;
            let positions: Vec<i64> = stored.iter().map(|(seq, _)| *seq).collect();
            assert_eq!(positions, (1..=written).collect::<Vec<_>>(), "{polls}");
            let distinct: BTreeSet<&String> = stored.iter().map(|(_, text)| text).collect();
            assert_eq!(distinct.len(), stored.len(), "{polls}");
            // How far one poll comes is not always the same: some few are made whatever happens.
            if second_ended.is_some() && polls > 3 {
                break;
            }
        }
        assert!(gone > 0, "none of {polls} was stopped before the end");
    }
}
