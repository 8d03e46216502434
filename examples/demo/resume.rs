//! A connection that is cut while things happen, and a client that misses none of them.

use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::chat::v1::server_frame::Frame as Heard;
use capecontrol::proto::capecontrol::chat::v1::{
    CreateThreadRequest, EditMessageRequest, Event, SendMessageRequest, SubscribeRequest, ThreadCursor,
};

use crate::customer::{Customer, uuid_of_now};
use crate::platform::PATIENCE;
use crate::{Failure, step, verify};

pub(crate) async fn miss_nothing(customer: &Customer) -> Result<(), Failure> {
    step(12, "Cut the connection, go on writing elsewhere, and resume from the position");
    let mut chat = ChatServiceClient::new(customer.signed());
    let request = CreateThreadRequest {
        title: "Notes".to_owned(),
        request_id: uuid_of_now().to_string(),
        ..CreateThreadRequest::default()
    };
    let thread = chat.create_thread(request).await?.into_inner().thread.unwrap_or_default();
    let first = chat.send_message(note(&thread.id, "written before")).await?.into_inner();
    let start = ThreadCursor { thread_id: thread.id.clone(), ..ThreadCursor::default() };
    let (events, position) = tokio::time::timeout(PATIENCE, follow(customer, start)).await??;
    println!("     position {} of epoch {}, and the stream is gone", position.after_seq, position.epoch);
    let second = note(&thread.id, "written while nobody listened");
    chat.send_message(second.clone()).await?;
    let again = chat.send_message(second).await?.into_inner();
    verify(again.duplicate, "a message whose answer was lost is sent again and written once")?;
    let edit = EditMessageRequest {
        message_id: first.message.unwrap_or_default().id,
        text: "written before, and mended since".to_owned(),
        request_id: uuid_of_now().to_string(),
    };
    chat.edit_message(edit).await?;
    let (missed, position) = tokio::time::timeout(PATIENCE, follow(customer, position)).await??;
    let told: Vec<i64> = events.iter().chain(&missed).map(|event| event.seq).collect();
    verify(told == [1, 2, 3], format_args!("events {told:?} were told, none missing and none twice"))?;
    verify(position.after_seq == 3, "and the stream is live again")
}

fn note(thread_id: &str, text: &str) -> SendMessageRequest {
    SendMessageRequest {
        thread_id: thread_id.to_owned(),
        client_message_id: uuid_of_now().to_string(),
        text: text.to_owned(),
        ..SendMessageRequest::default()
    }
}

/// Follows a thread from a position until it is live, and drops the stream. Returns what was told, and where to go on.
async fn follow(customer: &Customer, from: ThreadCursor) -> Result<(Vec<Event>, ThreadCursor), Failure> {
    let mut chat = ChatServiceClient::new(customer.signed());
    let request = SubscribeRequest { threads: vec![from], ..Default::default() };
    let mut frames = chat.subscribe(request).await?.into_inner();
    let mut events = Vec::new();
    while let Some(answer) = frames.message().await? {
        match answer.frame.and_then(|frame| frame.frame) {
            Some(Heard::Event(event)) => events.push(event),
            Some(Heard::Live(live)) => {
                let (thread_id, after_seq, epoch) = (live.thread_id, live.seq, live.epoch);
                return Ok((events, ThreadCursor { thread_id, after_seq, epoch, newest: 0 }));
            }
            _ => {}
        }
    }
    Err("the stream ended before it was live".into())
}
