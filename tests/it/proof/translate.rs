//! Between the contract and the words of a client's machine.

use std::time::Duration;

use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol_client::chat::words::{
    AccountCursor, ClientMessageId, Frame, GoAway, GoAwayCode, MessageId, Own, Receipt, Refusal, Start,
    Status, ThreadId, Wish, Word,
};
use tonic_types::StatusExt as _;
use wire::client_frame::Frame as Say;
use wire::event::Change;
use wire::server_frame::Frame as Told;

/// A frame, as far as it matters to the machine.
pub fn frame(told: &Told) -> Frame {
    let thread = |id: &String| ThreadId(id.clone());
    match told {
        Told::Welcome(welcome) => Frame::Welcome {
            connection_id: welcome.connection_id.clone(),
            heartbeat_interval: millis(welcome.heartbeat_interval),
        },
        Told::CatchUp(told) => Frame::CatchUp {
            thread: thread(&told.thread_id),
            from: told.from_seq,
            to: told.to_seq,
            reset: told.reset,
            epoch: told.epoch,
        },
        Told::Event(event) => {
            Frame::Event { thread: thread(&event.thread_id), seq: event.seq, own: own(event) }
        }
        Told::Live(live) => Frame::Live { thread: thread(&live.thread_id), seq: live.seq, epoch: live.epoch },
        Told::Ack(ack) if ack.client_message_id.is_empty() => Frame::Other,
        Told::Ack(ack) => Frame::Ack(Receipt {
            client_message_id: ClientMessageId(ack.client_message_id.clone()),
            message_id: MessageId(ack.message_id.clone()),
            seq: ack.seq,
            duplicate: ack.duplicate,
        }),
        Told::Nack(nack) => Frame::Nack(Refusal {
            request_id: nack.request_id.clone(),
            status: Status {
                code: u32::try_from(nack.code).unwrap(),
                reason: nack.reason.clone(),
                retry_after: millis(nack.retry_after),
            },
            retryable: nack.retryable,
        }),
        Told::Heartbeat(beat) => Frame::Heartbeat {
            nonce: beat.nonce,
            heads: beat.heads.iter().map(|head| (thread(&head.thread_id), head.sent_seq)).collect(),
            account: beat.account_seq,
            round_trip: beat.round_trip.map(|took| millis(Some(took))),
        },
        Told::AccountSnapshot(told) => Frame::AccountSnapshot { seq: told.seq, epoch: told.epoch },
        Told::AccountEvent(told) => Frame::AccountEvent { seq: told.seq, epoch: told.epoch },
        Told::AccountLive(told) => Frame::AccountLive { seq: told.seq, epoch: told.epoch },
        Told::Detached(told) => Frame::Detached { thread: thread(&told.thread_id) },
        Told::GoAway(told) => Frame::GoAway(GoAway {
            code: match told.code() {
                wire::GoAwayCode::Draining => GoAwayCode::Draining,
                wire::GoAwayCode::Slow => GoAwayCode::Slow,
                wire::GoAwayCode::Unauthenticated => GoAwayCode::Unauthenticated,
                wire::GoAwayCode::Detached => GoAwayCode::Detached,
                wire::GoAwayCode::Failed | wire::GoAwayCode::Unspecified => GoAwayCode::Failed,
            },
            resume: told.resume,
            reconnect_after: millis(told.reconnect_after),
        }),
        Told::Ephemeral(_) | Told::Presence(_) => Frame::Other,
    }
}

fn own(event: &wire::Event) -> Option<Own> {
    let Some(Change::MessageCreated(message)) = &event.change else { return None };
    let client_message_id = ClientMessageId(message.client_message_id.clone());
    (!client_message_id.0.is_empty())
        .then(|| Own { client_message_id, message_id: MessageId(message.id.clone()) })
}

pub fn account(cursor: AccountCursor) -> wire::AccountCursor {
    wire::AccountCursor { after_seq: cursor.seq, epoch: cursor.epoch }
}

pub fn wish(wish: Wish) -> wire::ThreadCursor {
    let thread_id = wish.thread.0;
    match wish.start {
        Start::After { seq, epoch } => wire::ThreadCursor { thread_id, after_seq: seq, epoch, newest: 0 },
        Start::Newest(newest) => {
            wire::ThreadCursor { thread_id, newest: i32::try_from(newest).unwrap(), ..Default::default() }
        }
    }
}

pub fn word(word: Word) -> wire::ClientFrame {
    let (request_id, frame) = match word {
        Word::Subscribe(wish) => (wish.thread.0.clone(), Say::Subscribe(self::wish(wish))),
        Word::Unsubscribe(thread) => {
            (thread.0.clone(), Say::Unsubscribe(wire::UnsubscribeThread { thread_id: thread.0 }))
        }
        Word::Send(draft) => {
            let (id, thread_id) = (draft.client_message_id.0, draft.thread.0);
            let client_message_id = id.clone();
            let draft =
                wire::MessageDraft { thread_id, client_message_id, text: draft.text, ..Default::default() };
            (id, Say::SendMessage(draft))
        }
        Word::Ack(positions) => {
            let positions = positions.into_iter();
            let positions = positions.map(|(thread, seq)| wire::ThreadPosition { thread_id: thread.0, seq });
            (String::new(), Say::Ack(wire::AckCursors { positions: positions.collect() }))
        }
        Word::Pong { nonce } => (String::new(), Say::Pong(wire::Pong { nonce })),
    };
    wire::ClientFrame { request_id, frame: Some(frame) }
}

/// How a call or stream ended.
pub fn status(status: &tonic::Status) -> Status {
    let details = status.get_error_details();
    let retry_after = details.retry_info().and_then(|info| info.retry_delay).unwrap_or(Duration::ZERO);
    Status {
        code: u32::try_from(i32::from(status.code())).unwrap(),
        reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
        retry_after: u64::try_from(retry_after.as_millis()).unwrap(),
    }
}

fn millis(duration: Option<prost_types::Duration>) -> u64 {
    let duration = duration.unwrap_or_default();
    u64::try_from(duration.seconds * 1_000 + i64::from(duration.nanos) / 1_000_000).unwrap()
}
