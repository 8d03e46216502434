//! Agents' turns: one answer for one message, whatever fails in between.

use std::time::Duration;

use capecontrol::ai::Turn;
use capecontrol::chat::model::{Actor, Change, Event, TurnFailure};
use capecontrol::chat::turn::AgentTurn;
use capecontrol::db::{Conn as _, Scope};
use capecontrol::jobs;

use super::bench::{Act, Node, installed, quick};
use crate::support::{Fixture, on_both};

fn answer(event: &Event) -> &str {
    match &event.change {
        Change::MessageCreated(message) => &message.text,
        other => panic!("no answer: {other:?}"),
    }
}

/// How many turns are queued, or dead.
async fn turns_left(t: &Fixture) -> i64 {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let (left,): (i64,) =
        conn.sql("SELECT count(*) FROM jobs WHERE kind = 'chat.agent_turn'").one().await.unwrap();
    left
}

on_both! {
    async fn the_answer_comes_in_pieces_and_then_as_one_event(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread = node.thread(&ada, Some(agent)).await;
        let sent = node.send(&ada, thread.id, "hello").await;
        assert!(sent.awaits_answer);
        node.worker(&t).run_due().await.unwrap();
        let events = node.events(&ada, thread.id).await;
        assert_eq!(events.len(), 2);
        assert_eq!((answer(&events[1]), events[1].seq, events[1].actor), ("You said: hello", 2, Actor::Agent(agent)));
        let Change::MessageCreated(written) = &events[1].change else { panic!() };
        assert_eq!(written.reply_to, Some(sent.message.id));
        let pieces = node.bus.passed();
        let mut text = String::new();
        for piece in &pieces {
            assert_eq!((piece.offset, piece.message_id, piece.attempt), (text.len(), written.id, 1));
            text.push_str(&piece.text);
        }
        assert_eq!(text, "You said: hello");
        // Nothing is left to do, and a repetition of the message asks nobody again.
        assert_eq!(turns_left(&t).await, 0);
        node.worker(&t).run_due().await.unwrap();
        assert_eq!(node.provider.asked.lock().unwrap().len(), 1);
    }

    async fn a_failed_attempt_is_repeated_and_answers_once(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread = node.thread(&ada, Some(agent)).await;
        node.provider.will(Act::Break(vec!["half an ans"]));
        node.provider.will(Act::Say(vec!["a whole ", "answer"]));
        node.send(&ada, thread.id, "hello").await;
        let worker = node.worker(&t);
        worker.run_due().await.unwrap();
        assert_eq!(node.events(&ada, thread.id).await.len(), 1);
        t.clock.advance(Duration::from_secs(3_600));
        worker.run_due().await.unwrap();
        let events = node.events(&ada, thread.id).await;
        assert_eq!(events.len(), 2);
        assert_eq!(answer(&events[1]), "a whole answer");
        let pieces = node.bus.passed();
        let starts: Vec<(u32, usize)> =
            pieces.iter().filter(|piece| piece.offset == 0).map(|piece| (piece.attempt, piece.offset)).collect();
        assert_eq!(starts, [(1, 0), (2, 0)]);
        assert!(pieces.iter().all(|piece| piece.message_id == pieces[0].message_id));
    }

    async fn a_provider_that_stays_away_is_told_of_in_the_thread(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread = node.thread(&ada, Some(agent)).await;
        let sent = node.send(&ada, thread.id, "hello").await;
        let worker = node.worker(&t);
        for _ in 0..3 {
            node.provider.will(Act::Refuse);
            worker.run_due().await.unwrap();
            t.clock.advance(Duration::from_secs(3_600));
        }
        let events = node.events(&ada, thread.id).await;
        let failed = Change::AgentTurnFailed { message_id: sent.message.id, reason: TurnFailure::Unavailable };
        assert_eq!((events.len(), &events[1].change), (2, &failed));
        assert_eq!(turns_left(&t).await, 0, "the job ended with the event");
    }

    async fn two_workers_with_the_same_turn_write_one_answer(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread = node.thread(&ada, Some(agent)).await;
        let message_id = node.send(&ada, thread.id, "hello").await.message.id;
        // As if the first worker had been given up for dead and came back.
        let again = AgentTurn { organization_id: thread.organization_id, message_id };
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        jobs::push(&mut tx, &t.world, Some(thread.organization_id), &again).await.unwrap();
        tx.commit().await.unwrap();
        let (first, second) = (node.worker(&t), node.worker(&t));
        let (first, second) = tokio::join!(first.run_due(), second.run_due());
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(node.events(&ada, thread.id).await.len(), 2);
        assert_eq!(turns_left(&t).await, 0);
    }

    async fn an_agent_that_was_uninstalled_does_not_answer(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread = node.thread(&ada, Some(agent)).await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("DELETE FROM installations").execute().await.unwrap();
        tx.commit().await.unwrap();
        let sent = node.send(&ada, thread.id, "still there?").await;
        node.worker(&t).run_due().await.unwrap();
        let events = node.events(&ada, thread.id).await;
        let failed = Change::AgentTurnFailed { message_id: sent.message.id, reason: TurnFailure::NotInstalled };
        assert_eq!((events.len(), &events[1].change), (2, &failed));
        assert!(node.provider.asked.lock().unwrap().is_empty());
    }

    async fn the_model_is_shown_the_newest_messages_oldest_first(t: Fixture) {
        let mut options = quick();
        options.turn.window.messages = 3;
        let node = Node::start(&t, options).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        let thread = node.thread(&ada, Some(agent)).await;
        let worker = node.worker(&t);
        for number in 1..=3 {
            node.send(&ada, thread.id, &number.to_string()).await;
            worker.run_due().await.unwrap();
        }
        let asked = node.provider.asked.lock().unwrap();
        let said = [Turn::User("2".into()), Turn::assistant("You said: 2".into()), Turn::User("3".into())];
        assert_eq!(asked.last().unwrap().turns, said);
        assert!(!asked.last().unwrap().system.is_empty());
    }
}
