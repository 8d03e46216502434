//! One stream to one client, whatever its kind: the same core tells Subscribe and Converse.
//!
//! A stream is a task. The [`Teller`] decides what is said next; it is asked only when the client has room, so a
//! client that reads nothing makes its stream read nothing either. Whether the caller may go on, [`super::watch`]
//! looks for all streams at once. [`Frames`] is the end that the wire reads. Whatever ends the stream, its
//! registration in the hub goes with the task.

mod teller;

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc::{self, OwnedPermit, Permit};
use tokio::time::timeout;

use super::error::Error;
use super::hub::{Ended, Registration};
use super::model::feed::Feed;
use super::model::frame::{ClientFrame, Frame, GoAway, Opening};
use super::service::Service;
use super::sight::Through;
use crate::auth::{self, Caller};
use crate::base::{Code, Fault as _};
use teller::Teller;

/// How many frames wait between a stream and the wire, which has buffers of its own.
const OUTLET_FRAMES: usize = 16;

/// What comes in from a client.
#[derive(Debug)]
pub enum Inbound {
    /// A frame.
    Frame(ClientFrame),
    /// A frame that is not carried out; the stream can go on.
    Refused {
        /// The client's mark.
        request_id: String,
        /// For a message, the client's id of it.
        client_message_id: String,
        /// Why not.
        why: Error,
    },
    /// The client's side cannot be read any further.
    Unreadable,
}

/// The client's side of a conversation. It ends when the client has said its last word.
pub type Words = BoxStream<'static, Inbound>;

/// What the wire reads: frames, and then perhaps why there are no more.
#[derive(Debug)]
pub struct Frames {
    items: mpsc::Receiver<Item>,
    ended: bool,
}

#[derive(Debug)]
enum Item {
    Frame(Box<Frame>),
    End(Option<Box<Error>>),
}

impl Stream for Frames {
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let end = match ready!(self.items.poll_recv(cx)) {
            Some(Item::Frame(frame)) => return Poll::Ready(Some(Ok(*frame))),
            Some(Item::End(end)) => end.map(|error| *error),
            // The task went without a word, which only a panic can do: a clean end would hide it.
            None => Some(Error::Broken(None)),
        };
        self.ended = true;
        Poll::Ready(end.map(Err))
    }
}

/// The end of the stream's task. Two places are kept from the start, so that the last words always fit, however full
/// the rest is.
struct Outlet {
    items: mpsc::Sender<Item>,
    last: Option<(OwnedPermit<Item>, OwnedPermit<Item>)>,
}

impl Outlet {
    fn new() -> (Self, Frames) {
        let (items, receiver) = mpsc::channel(OUTLET_FRAMES.saturating_add(2));
        let place = || items.clone().try_reserve_owned().ok();
        let last = place().zip(place());
        (Self { items, last }, Frames { items: receiver, ended: false })
    }

    /// Waits for room for one frame.
    async fn room(&self, stall: Duration) -> Result<Permit<'_, Item>, Error> {
        if let Ok(room) = self.items.try_reserve() {
            return Ok(room);
        }
        match timeout(stall, self.items.reserve()).await {
            Ok(Ok(room)) => Ok(room),
            // The client is gone: whoever waits for that ends the stream.
            Ok(Err(_closed)) => pending().await,
            Err(_elapsed) => Err(Error::SlowConsumer),
        }
    }

    /// Says the last words.
    fn end(self, farewell: Option<Frame>, error: Option<Error>) {
        let Some((first, second)) = self.last else { return };
        match farewell {
            Some(frame) => {
                first.send(Item::Frame(Box::new(frame)));
            }
            None => drop(first),
        }
        second.send(Item::End(error.map(Box::new)));
    }
}

/// Starts the task of a stream that follows threads from its start.
pub(super) fn subscribe(
    service: &Arc<Service>,
    caller: Caller,
    registration: Registration,
    feed: Feed,
    opening: Opening,
    through: &Through,
) -> Frames {
    let teller = Teller::new(Arc::clone(service), caller, registration, feed, None);
    start(service, teller.watching(opening.watch, through).listening(opening.account))
}

/// Starts the task of a conversation.
pub(super) fn converse(
    service: &Arc<Service>,
    caller: Caller,
    registration: Registration,
    words: Words,
) -> Frames {
    start(service, Teller::new(Arc::clone(service), caller, registration, Feed::new(), Some(words)))
}

fn start(service: &Service, teller: Teller) -> Frames {
    let (outlet, frames) = Outlet::new();
    service.tasks().spawn(run(Box::new(teller), outlet));
    frames
}

/// The task of a stream. There are as many as there are streams, so it is kept small: an argument would take its room
/// twice, and what is done once, at the end, has a box of its own.
async fn run(mut teller: Box<Teller>, outlet: Outlet) {
    let (service, inbox) = (Arc::clone(&teller.service), Arc::clone(teller.registration.inbox()));
    let end = tokio::select! {
        biased;
        () = service.drain().cancelled() => Some(Error::Draining(service.reconnect_after())),
        why = inbox.ended() => Some(ended(why)),
        () = outlet.items.closed() => {
            Box::pin(service.depart(&inbox)).await;
            return;
        }
        end = teller.run(&outlet) => end.err(),
    };
    if let Some(error) = &end {
        tracing::debug!(stream = %teller.registration.id(), reason = error.reason().name, "a stream ends");
    }
    // A stream that was never welcomed was refused: its status says all.
    let farewell = end.as_ref().filter(|_| teller.welcomed).map(farewell);
    outlet.end(farewell, end);
    drop(teller);
    Box::pin(service.depart(&inbox)).await;
}

fn ended(why: Ended) -> Error {
    match why {
        Ended::TokenExpired => auth::Error::TokenExpired.into(),
        Ended::SessionRevoked => auth::Error::SessionRevoked.into(),
        Ended::KeyExpired => auth::Error::ApiKeyExpired.into(),
        Ended::KeyRevoked => auth::Error::ApiKeyInvalid.into(),
        Ended::LeaseLapsed => Error::LeaseLapsed,
    }
}

/// The frame that announces an end.
fn farewell(error: &Error) -> Frame {
    let code = match error {
        Error::Draining(_) => GoAway::Draining,
        Error::SlowConsumer => GoAway::Slow,
        Error::ThreadNotFound => GoAway::Detached,
        _ if error.reason().code == Code::Unauthenticated => GoAway::Unauthenticated,
        _ => GoAway::Failed,
    };
    Frame::GoAway { code, reconnect_after: error.retry_after().unwrap_or_default() }
}
