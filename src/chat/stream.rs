//! One stream to one client, whatever its kind: the same core tells Subscribe and Converse.
//!
//! A stream is a task with two parts. The [`Teller`] decides what is said next; it is asked only when the client has
//! room, so a client that reads nothing makes its stream read nothing either. The [`Watch`] looks whether the caller
//! may go on. [`Frames`] is the end that the wire reads. Whatever ends the stream, its registration in the hub goes
//! with the task.
//!
//! Waiting is measured with the runtime's clock; whether a token has expired is decided by the platform's.

mod teller;

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc::{self, OwnedPermit, Permit};
use tokio::time::{sleep, timeout};

use super::error::Error;
use super::hub::Registration;
use super::model::feed::Feed;
use super::model::frame::{ClientFrame, Frame, GoAway};
use super::service::Service;
use crate::auth::{self, Caller};
use crate::base::{Code, Fault as _, Violations};
use teller::Teller;

/// How many frames wait between a stream and the wire, which has buffers of its own.
const OUTLET_FRAMES: usize = 16;

/// What comes in from a client.
#[derive(Debug)]
pub enum Inbound {
    /// A frame.
    Frame(ClientFrame),
    /// A frame that is wrong; the stream can go on.
    Bad {
        /// The client's mark.
        request_id: String,
        /// For a message, the client's id of it.
        client_message_id: String,
        /// What is wrong.
        violations: Violations,
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
) -> Frames {
    start(service, Teller::new(Arc::clone(service), caller, registration, feed, None))
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
    service.tasks().spawn(run(teller, outlet));
    frames
}

async fn run(mut teller: Teller, outlet: Outlet) {
    let watch = Watch {
        service: Arc::clone(&teller.service),
        caller: teller.caller.clone(),
        registration: Arc::clone(&teller.registration),
    };
    let end = tokio::select! {
        biased;
        end = watch.run() => Some(end),
        () = outlet.items.closed() => return,
        end = teller.run(&outlet) => end.err(),
    };
    if let Some(error) = &end {
        tracing::debug!(stream = %teller.registration.id(), reason = error.reason().name, "a stream ends");
    }
    // A stream that was never welcomed was refused: its status says all.
    let farewell = end.as_ref().filter(|_| teller.welcomed).map(farewell);
    outlet.end(farewell, end);
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

/// Looks whether the caller of a stream may go on.
struct Watch {
    service: Arc<Service>,
    caller: Caller,
    registration: Arc<Registration>,
}

impl Watch {
    /// Ends with the reason why the stream must.
    async fn run(&self) -> Error {
        // A database that does not answer must not hold the drain up.
        tokio::select! {
            biased;
            () = self.service.drain().cancelled() => Error::Draining(self.service.reconnect_after()),
            error = self.look() => error,
        }
    }

    async fn look(&self) -> Error {
        loop {
            sleep(self.pause()).await;
            if let Err(error) = self.check().await {
                return error;
            }
        }
    }

    /// Until the next look: at the latest when the token expires.
    fn pause(&self) -> Duration {
        let recheck = self.service.options().recheck;
        let left = self.caller.expires_at.map(|at| at.since(self.service.world().now()));
        left.map_or(recheck, |left| left.min(recheck))
    }

    async fn check(&self) -> Result<(), Error> {
        let now = self.service.world().now();
        if self.caller.expires_at.is_some_and(|at| at <= now) {
            return Err(auth::Error::TokenExpired.into());
        }
        match self.service.auth().recheck(&self.caller).await {
            Err(error) if error.reason().code == Code::Unauthenticated => return Err(error.into()),
            // What cannot be asked now is asked again soon; meanwhile no event can be read either. The hub warns, once
            // for all streams.
            Err(error) => tracing::debug!(%error, "a stream's session cannot be checked"),
            Ok(()) => {}
        }
        match self.service.lost(&self.caller, &self.registration.threads()).await {
            Ok(lost) => {
                for thread_id in lost {
                    self.registration.inbox().lose(thread_id);
                }
            }
            Err(error) => tracing::debug!(%error, "a stream's memberships cannot be checked"),
        }
        Ok(())
    }
}
