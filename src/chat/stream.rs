//! One stream to one client, whatever its kind: the same core tells Subscribe and Converse.
//!
//! A stream is a task with two parts. The [`Teller`] decides what is said next; it is asked only when the client has
//! room, so a client that reads nothing makes its stream read nothing either. The [`Watch`] looks whether the caller
//! may go on. [`Frames`] is the end that the wire reads. Whatever ends the stream, its registration in the hub goes
//! with the task.
//!
//! Waiting is measured with the runtime's clock; whether a token has expired is decided by the platform's.

use std::collections::{HashSet, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::mpsc::{self, OwnedPermit, Permit};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::error::Error;
use super::hub::Registration;
use super::model::backlog::News;
use super::model::feed::{Feed, Notice, Read, Step};
use super::model::frame::{Ack, ClientBody, ClientFrame, Frame, GoAway, Nack, Receipt, THREADS_MAX, Wish};
use super::model::{Change, Draft, MessageId, ThreadId};
use super::service::Service;
use crate::auth::{self, Caller};
use crate::base::{Code, Fault as _, Timestamp, Violations};

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
        loop {
            tokio::select! {
                () = self.service.drain().cancelled() => return Error::Draining(self.service.reconnect_after()),
                () = sleep(self.pause()) => {}
            }
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
            // What cannot be asked now is asked again soon; meanwhile no event can be read either.
            Err(error) => tracing::warn!(%error, "a stream's session cannot be checked"),
            Ok(()) => {}
        }
        match self.service.lost(&self.caller, &self.registration.threads()).await {
            Ok(lost) => {
                for thread_id in lost {
                    self.registration.inbox().lose(thread_id);
                }
            }
            Err(error) => tracing::warn!(%error, "a stream's memberships cannot be checked"),
        }
        Ok(())
    }
}

/// Decides what a stream says next.
struct Teller {
    service: Arc<Service>,
    caller: Caller,
    registration: Arc<Registration>,
    feed: Feed,
    /// The client's side, until it has said its last word.
    words: Option<Words>,
    /// Whether the stream ends when the client has said its last word and everything is told.
    converses: bool,
    welcomed: bool,
    /// Answers to the client's frames, and what may be lost. A few at most: it is emptied before anything else is done.
    ready: VecDeque<Frame>,
    /// Messages of this stream that an agent is to answer.
    awaited: HashSet<MessageId>,
    silence_ends: Instant,
    nonce: i64,
    pinged_at: Option<Timestamp>,
    round_trip: Option<Duration>,
}

/// What ends a teller's waiting.
enum Wake {
    Word(Option<Inbound>),
    News,
    Silence,
}

impl Teller {
    fn new(
        service: Arc<Service>,
        caller: Caller,
        registration: Registration,
        feed: Feed,
        words: Option<Words>,
    ) -> Self {
        Self {
            service,
            caller,
            registration: Arc::new(registration),
            feed,
            converses: words.is_some(),
            words,
            welcomed: false,
            ready: VecDeque::new(),
            awaited: HashSet::new(),
            silence_ends: Instant::now(),
            nonce: 0,
            pinged_at: None,
            round_trip: None,
        }
    }

    /// Tells until the client has heard everything it asked for, or something fails.
    async fn run(&mut self, outlet: &Outlet) -> Result<(), Error> {
        if self.converses {
            self.hello().await?;
        }
        self.ready.push_front(Frame::Welcome {
            connection_id: self.registration.id(),
            heartbeat: self.service.options().heartbeat,
            at: self.service.world().now(),
        });
        self.welcomed = true;
        let stall = self.service.options().stall;
        loop {
            let room = outlet.room(stall).await?;
            let Some(frame) = self.next().await? else { return Ok(()) };
            room.send(Item::Frame(Box::new(frame)));
            self.silence_ends = Instant::now() + self.service.options().heartbeat;
        }
    }

    /// Waits for the first frame and carries it out.
    async fn hello(&mut self) -> Result<(), Error> {
        let first = timeout(self.service.options().hello, next_word(&mut self.words)).await;
        match first {
            Ok(Some(Inbound::Frame(ClientFrame { body: ClientBody::Hello(wishes), .. }))) => {
                for wish in wishes {
                    self.follow(&wish).await?;
                }
                Ok(())
            }
            Ok(Some(Inbound::Bad { violations, .. })) => Err(violations.into()),
            Ok(Some(Inbound::Unreadable)) => Err(Error::FrameUnreadable),
            Ok(Some(Inbound::Frame(_)) | None) | Err(_) => Err(Error::HelloExpected),
        }
    }

    /// The next frame, waiting for it if need be; none when everything is told.
    async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            // One word and one piece of news a turn, so that neither side of a busy stream starves the other.
            if let Some(word) = next_word(&mut self.words).now_or_never() {
                self.answer(word).await?;
            }
            let news = self.registration.inbox().take();
            let quiet = news.is_none();
            if let Some(news) = news {
                self.hear(news)?;
            }
            match self.feed.step() {
                Step::Tell(notice) => return Ok(Some(self.tell(notice))),
                Step::Read(read) => self.read(read).await?,
                Step::Idle if !quiet || !self.ready.is_empty() => {}
                Step::Idle if self.is_done() => return Ok(None),
                Step::Idle => self.wait().await?,
            }
        }
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let wake = tokio::select! {
            word = next_word(&mut self.words) => Wake::Word(word),
            () = self.registration.inbox().filled() => Wake::News,
            () = sleep_until(self.silence_ends) => Wake::Silence,
        };
        match wake {
            Wake::Word(word) => self.answer(word).await?,
            Wake::News => {}
            Wake::Silence => self.beat(),
        }
        Ok(())
    }

    /// Whether the client has said its last word and everything it asked for is told.
    fn is_done(&self) -> bool {
        self.converses && self.words.is_none() && self.awaited.is_empty() && self.feed.is_settled()
    }

    fn beat(&mut self) {
        let at = self.service.world().now();
        self.nonce = self.nonce.saturating_add(1);
        self.pinged_at = Some(at);
        let heads = self.feed.cursors().collect();
        self.ready.push_back(Frame::Heartbeat { at, nonce: self.nonce, heads, round_trip: self.round_trip });
    }

    fn hear(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Event(event) => self.feed.offer(event),
            News::Head(thread_id, seq) => self.feed.hear(thread_id, seq),
            News::Delta(delta) if self.feed.is_live(delta.thread_id) => {
                self.ready.push_back(Frame::Delta(delta));
            }
            News::Delta(_) => {}
            News::Lost(thread_id) => {
                self.registration.forget(thread_id);
                if self.feed.forget(thread_id) {
                    self.ready.push_back(Frame::Detached(thread_id));
                    if self.feed.is_empty() {
                        return Err(Error::ThreadNotFound);
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, notice: Notice) -> Frame {
        if let Notice::Event(event) = &notice
            && !self.awaited.is_empty()
        {
            let answered = match &event.change {
                Change::MessageCreated(message) => message.reply_to,
                Change::AgentTurnFailed { message_id, .. } => Some(*message_id),
            };
            answered.map(|message_id| self.awaited.remove(&message_id));
        }
        Frame::Notice(notice)
    }

    async fn read(&mut self, read: Read) -> Result<(), Error> {
        let Some(organization_id) = self.registration.organization_of(read.thread_id) else {
            self.feed.forget(read.thread_id);
            return Ok(());
        };
        let events = self.service.page(organization_id, read).await?;
        self.feed.page(read, events).map_err(|hole| {
            tracing::error!(thread = %hole.thread_id, missing = hole.missing, "a thread's events have a hole");
            Error::Broken(Some(hole))
        })
    }

    async fn follow(&mut self, wish: &Wish) -> Result<(), Error> {
        if !self.feed.follows(wish.thread_id) && self.feed.len() >= THREADS_MAX {
            let full = format!("must not be followed beside {THREADS_MAX} others");
            return Err(Violations::one("subscribe.thread_id", full).into());
        }
        self.service.follow(&self.caller, &self.registration, &mut self.feed, wish).await
    }

    /// Carries out what the client says; what fails is refused, and the stream goes on.
    async fn answer(&mut self, word: Option<Inbound>) -> Result<(), Error> {
        match word {
            None => self.words = None,
            Some(Inbound::Unreadable) => return Err(Error::FrameUnreadable),
            Some(Inbound::Bad { request_id, client_message_id, violations }) => {
                self.refuse(request_id, client_message_id, &violations.into());
            }
            Some(Inbound::Frame(ClientFrame { request_id, body })) => self.carry_out(request_id, body).await,
        }
        Ok(())
    }

    async fn carry_out(&mut self, request_id: String, body: ClientBody) {
        let done = match body {
            ClientBody::Hello(_) => Err(Error::HelloExpected),
            ClientBody::Subscribe(wish) => self.follow(&wish).await.map(|()| Some(wish.thread_id)),
            ClientBody::Unsubscribe(thread_id) => {
                self.registration.forget(thread_id);
                self.feed.forget(thread_id);
                Ok(Some(thread_id))
            }
            ClientBody::Send(draft) => return self.send(request_id, draft).await,
            ClientBody::Ack(positions) => self.acknowledge(&positions).map(|()| None),
            ClientBody::Pong(nonce) => {
                if nonce == self.nonce {
                    let now = self.service.world().now();
                    self.round_trip = self.pinged_at.take().map(|at| now.since(at)).or(self.round_trip);
                }
                Ok(None)
            }
        };
        match done {
            Ok(Some(thread_id)) => {
                self.ready.push_back(Frame::Ack(Ack { request_id, thread_id, receipt: None }));
            }
            Ok(None) => {}
            Err(error) => self.refuse(request_id, String::new(), &error),
        }
    }

    async fn send(&mut self, request_id: String, draft: Draft) {
        let (thread_id, client_message_id) = (draft.thread_id, draft.client_message_id);
        match self.service.send(&self.caller, draft).await {
            Ok(sent) => {
                if sent.awaits_answer && self.feed.follows(thread_id) {
                    self.awaited.insert(sent.message.id);
                }
                let receipt = Receipt {
                    client_message_id,
                    message_id: sent.message.id,
                    seq: sent.message.seq,
                    duplicate: sent.duplicate,
                };
                self.ready.push_back(Frame::Ack(Ack { request_id, thread_id, receipt: Some(receipt) }));
            }
            Err(error) => self.refuse(request_id, client_message_id.to_string(), &error),
        }
    }

    fn acknowledge(&mut self, positions: &[(ThreadId, i64)]) -> Result<(), Error> {
        let mut violations = Violations::new();
        for (index, (thread_id, seq)) in positions.iter().enumerate() {
            let told = self.feed.acknowledge(*thread_id, *seq);
            violations.check(
                told,
                format!("ack.positions[{index}].seq"),
                "must have been told on this stream",
            );
        }
        Ok(violations.finish()?)
    }

    fn refuse(&mut self, request_id: String, client_message_id: String, error: &Error) {
        let reason = error.reason();
        if reason.code == Code::Internal {
            let request = &self.caller.origin.request_id;
            tracing::error!(request, cause = ?error, "a client's frame failed");
        }
        self.ready.push_back(Frame::Nack(Nack {
            request_id,
            client_message_id,
            reason,
            message: error.to_string(),
            violations: error.violations().to_vec(),
            retry_after: error.retry_after(),
        }));
    }
}

/// The client's next word: `None` is its last. A client that has said its last word says nothing more.
async fn next_word(words: &mut Option<Words>) -> Option<Inbound> {
    match words {
        Some(words) => words.next().await,
        None => pending().await,
    }
}
