//! The same message from everywhere at once.

use capecontrol::db::Engine;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use tokio::task::JoinSet;
use wire::client_frame::Frame as Say;
use wire::server_frame::Frame;

use super::super::chat::{Client, from, open_thread};
use crate::support::app::PASSWORD;
use crate::support::{App, Person, Start as _};

/// What is answered: the message's id and position, and whether it had been written before.
type Answer = (String, i64, bool);

async fn called(who: Person, draft: wire::MessageDraft) -> Answer {
    let wire::MessageDraft { thread_id, client_message_id, text, .. } = draft;
    let request = wire::SendMessageRequest { thread_id, client_message_id, text, ..Default::default() };
    let answer = who.chat().send_message(request).await.unwrap().into_inner();
    let message = answer.message.unwrap();
    (message.id, message.seq, answer.duplicate)
}

async fn said(who: Person, draft: wire::MessageDraft) -> Answer {
    let mut client = Client::converse(&who).await.unwrap();
    client.say(Say::Hello(wire::Hello { threads: vec![from(&draft.thread_id, 0)], ..Default::default() }));
    client.say(Say::SendMessage(draft));
    loop {
        if let Frame::Ack(ack) = client.next().await.unwrap().unwrap() {
            return (ack.message_id, ack.seq, ack.duplicate);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tasks_on_two_nodes_write_one_message() {
    let here = App::start(Engine::Postgres).await;
    let there = here.beside().await;
    let ada = here.register("ada@example.com").await;
    let ada_there = there.sign_in("ada@example.com", PASSWORD).await;
    let thread = open_thread(&ada, "").await;
    let draft = wire::MessageDraft {
        thread_id: thread.id.clone(),
        client_message_id: "0198c0de-5050-7000-8000-000000000000".to_owned(),
        text: "once".to_owned(),
        ..Default::default()
    };
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let who = if number % 2 == 0 { ada.clone() } else { ada_there.clone() };
        if number % 4 < 2 {
            tasks.spawn(called(who, draft.clone()));
        } else {
            tasks.spawn(said(who, draft.clone()));
        }
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|(_, _, duplicate)| !duplicate).count(), 1);
    assert!(answers.iter().all(|(id, seq, _)| (id, *seq) == (&answers[0].0, 1)), "{answers:?}");
    let read = wire::GetThreadRequest { thread_id: thread.id };
    assert_eq!(ada.chat().get_thread(read).await.unwrap().into_inner().thread.unwrap().last_seq, 1);
}
