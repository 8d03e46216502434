//! The frames of a stream, without the wire: the same for every kind of stream.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account_feed::{AccountCursor, AccountNotice};
use super::feed::{Cursor, Notice};
use super::presence::{PresenceMode, Sighting};
use super::quality::Grade;
use super::{ConnectionId, Draft, Edit, MessageId, Reaction, ThreadId};
use crate::base::{AccountId, Secret, Timestamp, Violations, text};

/// How many threads one stream may follow.
pub const THREADS_MAX: usize = 100;
/// How long a frame's request id may be, in characters.
pub const REQUEST_ID_CHARS_MAX: usize = 64;

/// A thread to follow, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The thread.
    pub thread_id: ThreadId,
    /// The last event that the client has.
    pub after_seq: i64,
    /// The epoch that this position belongs to; 0 when the client does not know.
    pub epoch: i64,
    /// Start with so many of the newest events instead; 0 means no.
    pub newest: i64,
}

impl Wish {
    /// Checks a wish that came in. `path` is the path of the message in the request, with its dot, or empty.
    pub fn parse(
        violations: &mut Violations,
        path: &str,
        (thread_id, after_seq, epoch, newest): (&str, i64, i64, i32),
    ) -> Option<Self> {
        let thread_id = text::id(violations, &format!("{path}thread_id"), thread_id);
        for (field, value) in [("after_seq", after_seq), ("epoch", epoch), ("newest", i64::from(newest))] {
            violations.check(value >= 0, format!("{path}{field}"), "must not be negative");
        }
        let one_start = after_seq == 0 || newest == 0;
        violations.check(one_start, format!("{path}newest"), "must not come together with after_seq");
        Some(Self { thread_id: thread_id?, after_seq, epoch, newest: i64::from(newest) })
    }

    /// Checks the threads that a stream is to follow, which came in this field.
    pub fn check_all(violations: &mut Violations, field: &str, wishes: &[Option<Self>]) {
        if wishes.len() > THREADS_MAX {
            violations.add(field, format!("must be at most {THREADS_MAX}"));
        }
        let mut seen = BTreeSet::new();
        for (index, wish) in wishes.iter().enumerate() {
            let fresh = wish.as_ref().is_none_or(|wish| seen.insert(wish.thread_id));
            violations.check(fresh, format!("{field}[{index}].thread_id"), "must not be named twice");
        }
    }
}

/// What a stream tells from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The threads to follow.
    pub follow: Vec<Wish>,
    /// Whose presence to tell.
    pub watch: BTreeSet<AccountId>,
    /// Where the client is in the log of its account, if it wants to be told of that.
    pub account: Option<AccountCursor>,
}

impl From<Vec<Wish>> for Opening {
    fn from(follow: Vec<Wish>) -> Self {
        Self { follow, watch: BTreeSet::new(), account: None }
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// The client's mark, repeated in the answer.
    pub request_id: String,
    /// What is said.
    pub body: ClientBody,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientBody {
    /// Opens the conversation.
    Hello(Opening),
    /// Follow a thread.
    Subscribe(Wish),
    /// Stop following a thread.
    Unsubscribe(ThreadId),
    /// Write a message.
    Send(Draft),
    /// Events worked off.
    Ack(Vec<(ThreadId, i64)>),
    /// The answer to a heartbeat.
    Pong(i64),
    /// Give a message another text.
    Edit(Edit),
    /// Take a message back.
    Delete(MessageId),
    /// React to a message.
    AddReaction(Reaction),
    /// Take a reaction back.
    RemoveReaction(Reaction),
    /// Read up to there.
    MarkRead(ThreadId, i64),
    /// Writing, or not any more.
    Typing(ThreadId, bool),
    /// Tell whether these people are there, and nobody else.
    Watch(BTreeSet<AccountId>),
    /// What the person wants their presence to be, and whether nothing is done on this device.
    Presence(Option<PresenceMode>, bool),
    /// Go on with this access token.
    Reauthenticate(Secret<String>),
}

impl ClientBody {
    /// Whether it draws on the budget of messages.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Send(_)
            | Self::Edit(_)
            | Self::Delete(_)
            | Self::AddReaction(_)
            | Self::RemoveReaction(_)
            | Self::MarkRead(..)
            | Self::Typing(..)
            | Self::Watch(_)
            | Self::Presence(..)
            | Self::Reauthenticate(_) => true,
            Self::Hello(_) | Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Ack(_) | Self::Pong(_) => {
                false
            }
        }
    }

    /// For a message, the client's id of it.
    #[must_use]
    pub const fn client_message_id(&self) -> Option<Uuid> {
        match self {
            Self::Send(draft) => Some(draft.client_message_id),
            _ => None,
        }
    }
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame.
    Welcome {
        /// The id of the stream.
        connection_id: ConnectionId,
        /// The longest silence.
        heartbeat: Duration,
        /// The time.
        at: Timestamp,
    },
    /// Something of a thread.
    Notice(Notice),
    /// Something of the caller's own log.
    Account(AccountNotice),
    /// A piece of an answer in the making.
    Delta(std::sync::Arc<Delta>),
    /// Somebody is writing.
    Typing(Typing),
    /// How present people are now.
    Presence(Vec<Sighting>),
    /// A client's frame was carried out.
    Ack(Ack),
    /// A client's frame was refused.
    Nack(Nack),
    /// Nothing was said for a while.
    Heartbeat {
        /// The time.
        at: Timestamp,
        /// To be repeated by the client.
        nonce: i64,
        /// Where the stream stands.
        heads: Vec<(ThreadId, Cursor)>,
        /// Where it stands in the caller's own log, if it tells of that.
        account: Option<i64>,
        /// How long the last answer took.
        round_trip: Option<Duration>,
        /// How many frames wait to be told.
        queued: usize,
        /// How good the connection is, as far as that is known.
        grade: Option<Grade>,
    },
    /// A thread is no longer followed.
    Detached(ThreadId),
    /// The last frame.
    GoAway {
        /// Why.
        code: GoAway,
        /// When to come back.
        reconnect_after: Duration,
    },
}

/// A client's frame was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The client's mark.
    pub request_id: String,
    /// The thread; none when the frame named a message.
    pub thread_id: Option<ThreadId>,
    /// For a message or a change of one, its id.
    pub message_id: Option<MessageId>,
    /// For a new message, the client's id of it.
    pub client_message_id: Option<Uuid>,
    /// The position of the event; the mark, for a read mark.
    pub seq: i64,
    /// Whether the message had been written before.
    pub duplicate: bool,
}

impl Ack {
    /// What was done in a thread. The frame's mark is to be filled in.
    #[must_use]
    pub const fn of_thread(thread_id: ThreadId, seq: i64) -> Self {
        Self {
            request_id: String::new(),
            thread_id: Some(thread_id),
            message_id: None,
            client_message_id: None,
            seq,
            duplicate: false,
        }
    }

    /// What was done to a message. The frame's mark is to be filled in.
    #[must_use]
    pub const fn of_message(message_id: MessageId, seq: i64) -> Self {
        Self {
            request_id: String::new(),
            thread_id: None,
            message_id: Some(message_id),
            client_message_id: None,
            seq,
            duplicate: false,
        }
    }
}

/// A client's frame was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The client's mark.
    pub request_id: String,
    /// For a message, the client's id of it.
    pub client_message_id: String,
    /// The reason.
    pub reason: &'static crate::base::Reason,
    /// One sentence for people.
    pub message: String,
    /// What is wrong, field by field.
    pub violations: Vec<crate::base::Violation>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
}

/// Why the server ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAway {
    /// It shuts down.
    Draining,
    /// The client does not read.
    Slow,
    /// The token expired or the session ended.
    Unauthenticated,
    /// The caller may no longer see any of the threads.
    Detached,
    /// Something failed.
    Failed,
}

/// For how long it is shown that somebody is writing. Clients say it again sooner.
pub const TYPING_SHOWN: Duration = Duration::from_secs(6);

/// What is passed on and stored nowhere. The names go from node to node: they never change their meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fleeting {
    /// A piece of an answer.
    Delta(Delta),
    /// Somebody is writing.
    Typing(TypingNotice),
    /// The presence of these people may have changed.
    Presence {
        /// Who.
        accounts: Vec<AccountId>,
    },
    /// Something else may be unread for this account.
    Read {
        /// Who.
        account_id: AccountId,
    },
    /// A call has left something for a stream.
    Change {
        /// The stream.
        connection_id: ConnectionId,
    },
}

impl Fleeting {
    /// What it is about: a thread, an account, a stream, or with the nil id nothing that everybody has.
    #[must_use]
    pub const fn about(&self) -> Uuid {
        match self {
            Self::Delta(delta) => delta.thread_id.uuid(),
            Self::Typing(notice) => notice.typing.thread_id.uuid(),
            Self::Presence { .. } => Uuid::nil(),
            Self::Read { account_id } => account_id.uuid(),
            Self::Change { connection_id } => connection_id.uuid(),
        }
    }
}

/// Somebody is writing, or has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing {
    /// The thread.
    pub thread_id: ThreadId,
    /// Who.
    pub account_id: AccountId,
    /// Whether they are writing.
    pub typing: bool,
}

/// That somebody is writing, and who is not to be told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypingNotice {
    /// Who is writing, and where.
    #[serde(flatten)]
    pub typing: Typing,
    /// Members who do not want to hear from whoever is writing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<AccountId>,
}

/// A piece of an answer that an agent is writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The thread.
    pub thread_id: ThreadId,
    /// The id that the answer will have.
    pub message_id: MessageId,
    /// The message that is answered.
    pub reply_to: MessageId,
    /// Which attempt is writing, from 1.
    pub attempt: u32,
    /// Where the piece belongs, in bytes.
    pub offset: usize,
    /// The piece.
    pub text: String,
}

impl Delta {
    /// Whether `next` goes on where this one ends.
    #[must_use]
    pub fn is_continued_by(&self, next: &Self) -> bool {
        self.message_id == next.message_id
            && self.attempt == next.attempt
            && self.offset.checked_add(self.text.len()) == Some(next.offset)
    }
}
