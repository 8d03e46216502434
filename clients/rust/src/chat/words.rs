//! What the machine hears and what it says. Times are milliseconds of a clock that only goes forward; its zero does not
//! matter.

use super::machine::State;
use super::quality::Grade;

/// A thread's id, a UUID as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(pub String);

/// The id that a client gave its message, a UUID as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientMessageId(pub String);

/// The id that the server gave a message, a UUID as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageId(pub String);

/// The number of a stream, from 1, each larger than the one before. Whatever is heard of an earlier stream is ignored.
pub type StreamNumber = u64;

/// Which kind of stream is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Converse: what the client says are frames on the same stream.
    Converse,
    /// Subscribe: what the client says are unary calls. There is neither pong nor acknowledgement of positions.
    Subscribe,
}

/// Where to begin in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After an event that the application has; 0 for the first event.
    After {
        /// The last event that it has.
        seq: i64,
        /// The epoch that came with it; 0 when unknown.
        epoch: i64,
    },
    /// With so many of the newest events.
    Newest(u32),
}

impl Start {
    /// The last event that the application has; none before the newest ones were announced.
    #[must_use]
    pub fn seq(self) -> Option<i64> {
        match self {
            Self::After { seq, .. } => Some(seq),
            Self::Newest(_) => None,
        }
    }
}

/// A thread to follow, and from where: ThreadCursor of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The thread.
    pub thread: ThreadId,
    /// Where to begin.
    pub start: Start,
}

/// Where to begin in the log of the account: AccountCursor of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCursor {
    /// The last entry that the application has; 0 when it has none.
    pub seq: i64,
    /// The epoch that came with it; 0 when it has none.
    pub epoch: i64,
}

/// A message to be written: MessageDraft, and the request of SendMessage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The thread to write in.
    pub thread: ThreadId,
    /// The client's id of it: the same whenever it is sent again. It is the frame's request_id too.
    pub client_message_id: ClientMessageId,
    /// The text.
    pub text: String,
}

/// What became of a message that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The client's id of it.
    pub client_message_id: ClientMessageId,
    /// The server's id of it.
    pub message_id: MessageId,
    /// The position of its event.
    pub seq: i64,
    /// Whether it had been written before.
    pub duplicate: bool,
}

/// A frame or call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The request_id of the frame: the thread's id for a thread to follow, the client's id for a message.
    pub request_id: String,
    /// The status.
    pub status: Status,
    /// Whether the same may succeed later. A call that was never answered counts as such.
    pub retryable: bool,
}

/// How a call or a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The number of the gRPC status code; 14 (UNAVAILABLE) for a connection that broke.
    pub code: u32,
    /// The reason of its ErrorInfo; empty when there is none.
    pub reason: String,
    /// How long its RetryInfo asks to wait, in milliseconds; 0 when it does not.
    pub retry_after: u64,
}

/// Why the server ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAwayCode {
    /// It shuts down.
    Draining,
    /// The client did not read.
    Slow,
    /// The token expired or the session ended.
    Unauthenticated,
    /// No thread may be seen any more.
    Detached,
    /// Something failed, or a reason that this client does not know.
    Failed,
}

/// The last frame of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Why.
    pub code: GoAwayCode,
    /// Whether a stream may be opened again.
    pub resume: bool,
    /// How long to wait before that, in milliseconds; 0 when it is not said.
    pub reconnect_after: u64,
}

/// The sender's own message in an event of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The client's id of it.
    pub client_message_id: ClientMessageId,
    /// The server's id of it.
    pub message_id: MessageId,
}

/// What the server says: ServerFrame, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame.
    Welcome {
        /// The id of the stream, for reports of trouble.
        connection_id: String,
        /// The longest silence, in milliseconds.
        heartbeat_interval: u64,
    },
    /// Events of the past follow.
    CatchUp {
        /// The thread.
        thread: ThreadId,
        /// The first that follows.
        from: i64,
        /// The newest known.
        to: i64,
        /// Whether the position was of no use.
        reset: bool,
        /// The epoch to keep with the positions that follow; 0 when it is not told.
        epoch: i64,
    },
    /// A change of a thread.
    Event {
        /// The thread.
        thread: ThreadId,
        /// Its position.
        seq: i64,
        /// When it is a message with a client_message_id.
        own: Option<Own>,
    },
    /// The past is told.
    Live {
        /// The thread.
        thread: ThreadId,
        /// The newest event told.
        seq: i64,
        /// The epoch to keep with it.
        epoch: i64,
    },
    /// How things stand for the account.
    AccountSnapshot {
        /// The newest entry of its log.
        seq: i64,
        /// The epoch to keep with it.
        epoch: i64,
    },
    /// An entry of the account's log.
    AccountEvent {
        /// Its position.
        seq: i64,
        /// The epoch to keep with it.
        epoch: i64,
    },
    /// The past of the account's log is told.
    AccountLive {
        /// The newest entry told.
        seq: i64,
        /// The epoch to keep with it.
        epoch: i64,
    },
    /// A message was written. The Ack of anything else is [`Frame::Other`].
    Ack(Receipt),
    /// A frame was refused.
    Nack(Refusal),
    /// Nothing was said for a while.
    Heartbeat {
        /// To be repeated.
        nonce: i64,
        /// The newest event sent of each thread.
        heads: Vec<(ThreadId, i64)>,
        /// The newest entry sent of the account's log; 0 where it is not told.
        account: i64,
        /// How long the last pong took, in milliseconds.
        round_trip: Option<u64>,
    },
    /// A thread is no longer followed.
    Detached {
        /// The thread.
        thread: ThreadId,
    },
    /// The last frame.
    GoAway(GoAway),
    /// A frame that does not matter here: a piece of an answer, or one that this client does not know.
    Other,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin, or begin again after a stop.
    Start,
    /// End. What is to be sent and the positions are kept.
    Stop,
    /// Follow a thread. One that is followed already goes on from where it is.
    Follow(Wish),
    /// Follow a thread no longer. While messages of it are unsettled it stays on the stream, and nothing is delivered.
    Unfollow(ThreadId),
    /// Write a message in a thread that is followed. One whose id waits already is not taken twice.
    Send(Draft),
    /// The stream is there; nothing was heard yet.
    Opened(StreamNumber),
    /// A frame came.
    Frame(StreamNumber, Frame),
    /// The stream ended, or could not be opened. Not expected after [`Command::Close`], and harmless then.
    Closed(StreamNumber, Status),
    /// A unary call carried a message out.
    Answered(Receipt),
    /// A unary call failed.
    Rejected(Refusal),
    /// The time of [`Command::SetTimer`] has come. Earlier is harmless.
    Timer,
    /// The token is fresh, or somebody signed in: what was asked for or not.
    TokenRefreshed,
    /// The token could not be refreshed now: no answer, or a failure that may pass.
    RefreshFailed,
    /// The token will not be refreshed: signing in is what remains.
    RefreshRefused {
        /// The reason.
        reason: String,
    },
    /// The network is there again.
    NetworkUp,
    /// There is no network.
    NetworkDown,
}

/// What a client says on a Converse stream: ClientFrame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Follow a thread; the request_id is the thread's id.
    Subscribe(Wish),
    /// Stop following a thread.
    Unsubscribe(ThreadId),
    /// Write a message; the request_id is the client's id of it.
    Send(Draft),
    /// Events worked through.
    Ack(Vec<(ThreadId, i64)>),
    /// The answer to a heartbeat.
    Pong {
        /// The heartbeat's.
        nonce: i64,
    },
}

/// What is not taken from the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// A stream follows 100 threads at most.
    TooManyThreads(ThreadId),
    /// As many messages wait as may.
    OutboxFull(ClientMessageId),
    /// The thread of the message is not followed.
    NotFollowed(ClientMessageId),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a stream: on Converse the first frame is Hello with these threads. There is no other one then.
    Open {
        /// Its number.
        stream: StreamNumber,
        /// The threads to follow.
        wishes: Vec<Wish>,
        /// Where to begin in the account's log, if it is to be told.
        account: Option<AccountCursor>,
    },
    /// End the stream at once.
    Close {
        /// Its number.
        stream: StreamNumber,
    },
    /// Send a frame on the open stream, which is of Converse.
    SendFrame(Word),
    /// Call SendMessage, with a deadline. The answer is [`Input::Answered`] or [`Input::Rejected`].
    CallSend(Draft),
    /// Say [`Input::Timer`] at this time. There is one timer: this replaces what was set before.
    SetTimer {
        /// When.
        at: u64,
    },
    /// Refresh the token; the answer is one of three inputs.
    RefreshToken,
    /// Have the person sign in, and say [`Input::TokenRefreshed`]. For another account another machine is made.
    SignIn {
        /// Why.
        reason: String,
    },
    /// Hand the event of the frame at hand to the application: once, and in order.
    Deliver {
        /// The thread.
        thread: ThreadId,
        /// Its position.
        seq: i64,
    },
    /// Hand the entry of the frame at hand to the application: once, and in order.
    DeliverAccount {
        /// Its position.
        seq: i64,
    },
    /// Take how things stand from the frame at hand, and forget what there was: the entries from this position on
    /// follow.
    ResetAccount {
        /// The newest entry.
        seq: i64,
    },
    /// Forget what there is of a thread: it is told from the beginning.
    Reset {
        /// The thread.
        thread: ThreadId,
    },
    /// The thread is gone for this caller.
    Detached {
        /// The thread.
        thread: ThreadId,
        /// Why.
        reason: String,
    },
    /// A message was written. It is said once.
    Confirmed(Receipt),
    /// A message will not be written. It is said once.
    Failed {
        /// The client's id of it.
        client_message_id: ClientMessageId,
        /// Why.
        reason: String,
    },
    /// Something was not taken from the application.
    NotTaken(NotTaken),
    /// The machine stops by itself, for trying again would not help.
    GaveUp {
        /// Why.
        reason: String,
    },
    /// The state is another one.
    State(State),
    /// The quality of the connection is another one.
    Quality(Grade),
}
