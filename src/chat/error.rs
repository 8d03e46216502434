//! Why a call or a stream of this domain ends badly.

use std::time::Duration;

use crate::base::fault::{self, Code, Fault, Reason, Suspicion, Violation, Violations};
use crate::{auth, db, idempotency, storage};

use super::model::feed::Hole;
use super::model::plan::Bound;

/// A refusal or failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thread, or the caller may not see it: the same words for both.
    #[error("There is no such thread.")]
    ThreadNotFound,
    /// There is no such message, or the caller may not see it.
    #[error("There is no such message.")]
    MessageNotFound,
    /// There is no such stream, or it is not the caller's.
    #[error("There is no such connection. Open a stream and use the id that it is welcomed with.")]
    ConnectionNotFound,
    /// See [`TOO_MANY_CHANGES`].
    #[error("The stream has not yet taken up its last changes; please say this again in a moment.")]
    TooManyChanges,
    /// See [`OTHER_SESSION`].
    #[error("The token is of another session than the stream.")]
    OtherSession,
    /// See [`LEASE_LAPSED`].
    #[error("Nothing was heard of the client for too long; please resume from the last position.")]
    LeaseLapsed,
    /// There is no such person in the organisation, or in the thread.
    #[error("There is no such member.")]
    MemberNotFound,
    /// See [`THREAD_READ_ONLY`].
    #[error("You may read this thread and not write in it.")]
    ReadOnly,
    /// See [`THREAD_MANAGERS_ONLY`].
    #[error(
        "Only those who manage this thread may do that: its owners, and members who run the organisation."
    )]
    ManagersOnly,
    /// See [`THREAD_IS_DIRECT`].
    #[error(
        "This thread is between two people: it has no title, nobody joins or leaves it, and it is not deleted."
    )]
    ThreadIsDirect,
    /// See [`LAST_THREAD_OWNER`].
    #[error("This is the thread's last owner. Make somebody else an owner first.")]
    LastOwner,
    /// See [`TOO_MANY_THREAD_MEMBERS`].
    #[error(
        "A thread may have {} members on the organisation's plan, `{}`. Remove somebody, or choose a larger plan.",
        .0.max, .0.plan_id
    )]
    TooManyMembers(Bound),
    /// See [`TOO_MANY_THREADS`].
    #[error(
        "A person may have opened {} threads on the organisation's plan, `{}`. Delete some, or choose a larger plan.",
        .0.max, .0.plan_id
    )]
    TooManyThreads(Bound),
    /// See [`SUPPORT_STAFF_ONLY`].
    #[error("How urgent a support thread is, the platform's staff decides.")]
    SupportStaffOnly,
    /// See [`SUPPORTS_OWN_ORGANIZATION`].
    #[error(
        "You belong to this organisation. Have somebody who manages the thread add you, or leave it to other staff."
    )]
    SupportsOwnOrganization,
    /// See [`NOT_THE_AUTHOR`].
    #[error("Somebody else wrote this message.")]
    NotTheAuthor,
    /// See [`MESSAGE_DELETED`].
    #[error("The message was deleted.")]
    MessageDeleted,
    /// See [`TOO_MANY_EDITS`].
    #[error("The message was edited as often as it may.")]
    TooManyEdits,
    /// See [`TOO_MANY_REACTIONS`].
    #[error("You have reacted to this message in as many ways as you may.")]
    TooManyReactions,
    /// There is no such attachment, or the caller may not see it, or somebody else brought it.
    #[error("There is no such attachment.")]
    AttachmentNotFound,
    /// See [`ATTACHMENT_TOO_LARGE`].
    #[error("The organisation's plan takes files of at most {0} bytes.")]
    AttachmentTooLarge(i64),
    /// See [`STORAGE_FULL`].
    #[error("The organisation's plan has room for {0} bytes of files, which are used up.")]
    StorageFull(i64),
    /// See [`PART_DIFFERS`].
    #[error("This part was sent before with other bytes.")]
    PartDiffers,
    /// See [`ATTACHMENT_INCOMPLETE`].
    #[error("Parts of the file are missing, or it was not completed.")]
    AttachmentIncomplete,
    /// See [`CONTENT_DIFFERS`].
    #[error("The bytes that came are not those that were announced: their SHA-256 is another one.")]
    ContentDiffers,
    /// See [`PICTURE_UNREADABLE`].
    #[error("The picture cannot be read, or has too many pixels.")]
    PictureUnreadable,
    /// See [`ATTACHMENT_USED`].
    #[error("The file went with another message already.")]
    AttachmentUsed,
    /// See [`ATTACHMENT_BEING_SCANNED`].
    #[error("The file is being looked into; please try again in a moment.")]
    AttachmentBeingScanned,
    /// See [`ATTACHMENT_REFUSED`].
    #[error("The file does harm and is given to nobody.")]
    AttachmentRefused,
    /// See [`ATTACHMENT_HAS_NO_PREVIEW`].
    #[error("There is no preview of this file: it is no picture.")]
    NoPreview,
    /// The place of files failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// See [`ACCOUNT_BLOCKED`].
    #[error("You have blocked this person. Unblock them first.")]
    AccountBlocked,
    /// See [`TOO_MANY_BLOCKS`].
    #[error("You have blocked as many people as you may.")]
    TooManyBlocks,
    /// See [`LEGAL_HOLD`].
    #[error("The organisation may lose nothing of what is said for now.")]
    LegalHold,
    /// There is no such report, or it was resolved before.
    #[error("There is no such open report.")]
    ReportNotFound,
    /// The thread changed since it was read.
    #[error("The thread was changed meanwhile. Read it again, and repeat the change if it still fits.")]
    EtagMismatch,
    /// See [`AGENT_NOT_INSTALLED`].
    #[error("The organisation has not installed this agent. Install its listing first.")]
    AgentNotInstalled,
    /// Fields are wrong.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// See [`HELLO_EXPECTED`].
    #[error("A conversation opens with a Hello frame, and with one only.")]
    HelloExpected,
    /// See [`FRAME_UNREADABLE`].
    #[error("The client's stream cannot be read any further.")]
    FrameUnreadable,
    /// See [`TOO_MANY_STREAMS`].
    #[error("The account has {0} streams open; please close one.")]
    TooManyStreams(usize),
    /// See [`SLOW_CONSUMER`].
    #[error("The client did not read for too long; please resume from the last position.")]
    SlowConsumer,
    /// See [`SERVER_DRAINING`].
    #[error("The server is shutting down; please resume from the last position.")]
    Draining(Duration),
    /// The caller has used up the budget of messages.
    #[error("Too many messages; the next may come in {} s.", .0.as_secs_f64().ceil())]
    RateLimited(Duration),
    /// The stored sequence of a thread has a hole.
    #[error("The thread cannot be told any further.")]
    Broken(Option<Hole>),
    /// The caller may not do this.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The request id is refused.
    #[error(transparent)]
    Idempotency(#[from] idempotency::Error),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] db::Error),
}

/// The agent is not installed.
pub static AGENT_NOT_INSTALLED: Reason = Reason::new(
    Code::FailedPrecondition,
    "AGENT_NOT_INSTALLED",
    "The organisation has not installed the agent that the thread is to address; call InstallListing first.",
);
/// The first frame was not Hello, or a later one was.
pub static HELLO_EXPECTED: Reason = Reason::new(
    Code::InvalidArgument,
    "HELLO_EXPECTED",
    "The first frame of a Converse stream, and only the first, is Hello, within ten seconds.",
);
/// The client's stream broke.
pub static FRAME_UNREADABLE: Reason = Reason::new(
    Code::InvalidArgument,
    "FRAME_UNREADABLE",
    "A client frame was no valid message, or too large, so that nothing after it can be read; open a new stream.",
)
.suspected(Suspicion::Slight);
/// The account has too many streams.
pub static TOO_MANY_STREAMS: Reason = Reason::new(
    Code::ResourceExhausted,
    "TOO_MANY_STREAMS",
    "The account has as many streams open as it may; one stream carries up to 100 threads, so one will do.",
);
/// The client does not read.
pub static SLOW_CONSUMER: Reason = Reason::new(
    Code::ResourceExhausted,
    "SLOW_CONSUMER",
    "The client read nothing from its stream for 30 seconds; open it again from the last position received.",
);
/// The server shuts down.
pub static SERVER_DRAINING: Reason = Reason::new(
    Code::Unavailable,
    "SERVER_DRAINING",
    "The server is shutting down; open the stream again after the delay in RetryInfo, from the last position received.",
);

/// The caller only reads.
pub static THREAD_READ_ONLY: Reason = Reason::new(
    Code::PermissionDenied,
    "THREAD_READ_ONLY",
    "The caller is a reader of the thread and cannot write in it; somebody who manages it can change that.",
);
/// The caller does not manage the thread.
pub static THREAD_MANAGERS_ONLY: Reason = Reason::new(
    Code::PermissionDenied,
    "THREAD_MANAGERS_ONLY",
    "This is for owners of the thread, and for members of it who own or administer the organisation.",
);
/// The thread is between two people.
pub static THREAD_IS_DIRECT: Reason = Reason::new(
    Code::FailedPrecondition,
    "THREAD_IS_DIRECT",
    "A thread between two people has no title, nobody joins or leaves it, and it is not deleted; it can be archived.",
);
/// The thread would have no owner.
pub static LAST_THREAD_OWNER: Reason = Reason::new(
    Code::FailedPrecondition,
    "LAST_THREAD_OWNER",
    "The last owner of a thread keeps the role; make somebody else an owner first.",
);
/// The thread is full.
pub static TOO_MANY_THREAD_MEMBERS: Reason = Reason::new(
    Code::FailedPrecondition,
    "TOO_MANY_THREAD_MEMBERS",
    "The thread has as many members as the organisation's plan allows; remove somebody, or choose a larger plan.",
);
/// The person has opened as many threads as they may.
pub static TOO_MANY_THREADS: Reason = Reason::new(
    Code::FailedPrecondition,
    "TOO_MANY_THREADS",
    "The person has opened as many threads in the organisation as its plan allows; delete some, or take another plan.",
);
/// How urgent it is, is not for the customer to say.
pub static SUPPORT_STAFF_ONLY: Reason = Reason::new(
    Code::PermissionDenied,
    "SUPPORT_STAFF_ONLY",
    "How urgent a support thread is, only staff of the platform decides that took it up (TakeSupportThread).",
);
/// Staff of the platform and member of the organisation.
pub static SUPPORTS_OWN_ORGANIZATION: Reason = Reason::new(
    Code::FailedPrecondition,
    "SUPPORTS_OWN_ORGANIZATION",
    "The caller belongs to the organisation and comes into its threads as any member does, by AddThreadMember.",
);
/// The message is somebody else's.
pub static NOT_THE_AUTHOR: Reason = Reason::new(
    Code::PermissionDenied,
    "NOT_THE_AUTHOR",
    "A message is changed by its author only; those who manage the thread can delete it.",
);
/// The message is gone.
pub static MESSAGE_DELETED: Reason = Reason::new(
    Code::FailedPrecondition,
    "MESSAGE_DELETED",
    "The message was deleted and cannot be changed.",
);
/// The message was edited too often.
pub static TOO_MANY_EDITS: Reason = Reason::new(
    Code::FailedPrecondition,
    "TOO_MANY_EDITS",
    "A message is edited at most 100 times; write a new one, or delete it.",
);
/// The account reacted to the message in too many ways.
pub static TOO_MANY_REACTIONS: Reason = Reason::new(
    Code::FailedPrecondition,
    "TOO_MANY_REACTIONS",
    "An account reacts to a message in at most 20 ways; take one back first.",
);

/// The file is larger than the plan allows.
pub static ATTACHMENT_TOO_LARGE: Reason = Reason::new(
    Code::PermissionDenied,
    "ATTACHMENT_TOO_LARGE",
    "The file is larger than the organisation's plan takes; the message says how large it may be.",
);
/// The organisation stores as much as it may.
pub static STORAGE_FULL: Reason = Reason::new(
    Code::ResourceExhausted,
    "STORAGE_FULL",
    "The organisation's files take up all the room of its plan; delete messages with files, or choose another plan.",
);
/// The part was other bytes before.
pub static PART_DIFFERS: Reason = Reason::new(
    Code::FailedPrecondition,
    "PART_DIFFERS",
    "The part was sent before with other bytes; begin another attachment for another file.",
);
/// Not everything has come.
pub static ATTACHMENT_INCOMPLETE: Reason = Reason::new(
    Code::FailedPrecondition,
    "ATTACHMENT_INCOMPLETE",
    "Parts of the file are missing, or CompleteAttachment was not called; UploadAttachmentPart tells what is missing.",
);
/// Something else has come.
pub static CONTENT_DIFFERS: Reason = Reason::new(
    Code::FailedPrecondition,
    "CONTENT_DIFFERS",
    "The SHA-256 of the bytes that came is not the one that was announced; begin another attachment.",
);
/// The bytes begin like a picture, and cannot be read as one.
pub static PICTURE_UNREADABLE: Reason = Reason::new(
    Code::FailedPrecondition,
    "PICTURE_UNREADABLE",
    "The bytes begin like a picture and cannot be read as one, or all its frames have more than 32 million pixels.",
)
.suspected(Suspicion::Slight);
/// The attachment is another message's.
pub static ATTACHMENT_USED: Reason = Reason::new(
    Code::FailedPrecondition,
    "ATTACHMENT_USED",
    "An attachment goes with one message; upload the file again to send it again.",
);
/// There is no verdict yet.
pub static ATTACHMENT_BEING_SCANNED: Reason = Reason::new(
    Code::Unavailable,
    "ATTACHMENT_BEING_SCANNED",
    "It is not known yet whether the file does harm; an attachment_settled event tells of it.",
);
/// The scanner found something.
pub static ATTACHMENT_REFUSED: Reason = Reason::new(
    Code::FailedPrecondition,
    "ATTACHMENT_REFUSED",
    "The scanner found that the file does harm; nobody gets it.",
);
/// There is no picture of it.
pub static ATTACHMENT_HAS_NO_PREVIEW: Reason = Reason::new(
    Code::FailedPrecondition,
    "ATTACHMENT_HAS_NO_PREVIEW",
    "The attachment is no picture, so that there is no preview of it; ask for the original.",
);
/// Changes of a stream wait to be taken up.
pub static TOO_MANY_CHANGES: Reason = Reason::new(
    Code::ResourceExhausted,
    "TOO_MANY_CHANGES",
    "Twenty changes of the stream wait to be taken up; say this again after the delay in RetryInfo.",
);
/// A stream goes on with tokens of its own session only.
pub static OTHER_SESSION: Reason = Reason::new(
    Code::FailedPrecondition,
    "OTHER_SESSION",
    "A stream goes on with an access token of the session that opened it, as RefreshSession gives it; for another \
     session open another stream.",
);
/// The client stopped to say that it is there.
pub static LEASE_LAPSED: Reason = Reason::new(
    Code::Unavailable,
    "LEASE_LAPSED",
    "A client that has called KeepAlive once and then is silent for 75 seconds counts as gone; open the stream again \
     from the last position received.",
);
/// The caller blocks the other of two.
pub static ACCOUNT_BLOCKED: Reason = Reason::new(
    Code::FailedPrecondition,
    "ACCOUNT_BLOCKED",
    "The caller has blocked the other of the two, and nobody writes in their direct thread; call UnblockAccount first.",
);
/// The organisation holds what is said.
pub static LEGAL_HOLD: Reason = Reason::new(
    Code::FailedPrecondition,
    "LEGAL_HOLD",
    "The organisation is under a legal hold: nothing can be deleted until an owner or administrator ends the hold.",
);
/// The account blocks too many.
pub static TOO_MANY_BLOCKS: Reason =
    Reason::new(Code::FailedPrecondition, "TOO_MANY_BLOCKS", "An account blocks at most 1,000 people.");

/// Every reason that this domain answers beside the common ones.
pub static REASONS: &[&Reason] = &[
    &AGENT_NOT_INSTALLED,
    &THREAD_READ_ONLY,
    &THREAD_MANAGERS_ONLY,
    &THREAD_IS_DIRECT,
    &LAST_THREAD_OWNER,
    &TOO_MANY_THREAD_MEMBERS,
    &TOO_MANY_THREADS,
    &SUPPORT_STAFF_ONLY,
    &SUPPORTS_OWN_ORGANIZATION,
    &NOT_THE_AUTHOR,
    &MESSAGE_DELETED,
    &TOO_MANY_EDITS,
    &TOO_MANY_REACTIONS,
    &ATTACHMENT_TOO_LARGE,
    &STORAGE_FULL,
    &PART_DIFFERS,
    &ATTACHMENT_INCOMPLETE,
    &CONTENT_DIFFERS,
    &PICTURE_UNREADABLE,
    &ATTACHMENT_USED,
    &ATTACHMENT_BEING_SCANNED,
    &ATTACHMENT_REFUSED,
    &ATTACHMENT_HAS_NO_PREVIEW,
    &ACCOUNT_BLOCKED,
    &TOO_MANY_BLOCKS,
    &LEGAL_HOLD,
    &HELLO_EXPECTED,
    &FRAME_UNREADABLE,
    &TOO_MANY_STREAMS,
    &SLOW_CONSUMER,
    &SERVER_DRAINING,
    &TOO_MANY_CHANGES,
    &OTHER_SESSION,
    &LEASE_LAPSED,
];

/// How long an account with too many streams waits.
const STREAMS_RETRY: Duration = Duration::from_secs(10);
/// How long a file that is being looked into is waited for.
const SCAN_RETRY: Duration = Duration::from_secs(5);
/// How long whoever has no room waits: others may delete something, and what was not sent goes by itself.
const ROOM_RETRY: Duration = Duration::from_secs(3_600);
/// How long a client waits that could not be served at its pace.
const SLOW_RETRY: Duration = Duration::from_secs(1);

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::ThreadNotFound
            | Self::MessageNotFound
            | Self::MemberNotFound
            | Self::AttachmentNotFound
            | Self::ConnectionNotFound
            | Self::ReportNotFound => &fault::NOT_FOUND,
            Self::TooManyChanges => &TOO_MANY_CHANGES,
            Self::OtherSession => &OTHER_SESSION,
            Self::LeaseLapsed => &LEASE_LAPSED,
            Self::ReadOnly => &THREAD_READ_ONLY,
            Self::ManagersOnly => &THREAD_MANAGERS_ONLY,
            Self::ThreadIsDirect => &THREAD_IS_DIRECT,
            Self::LastOwner => &LAST_THREAD_OWNER,
            Self::TooManyMembers(_) => &TOO_MANY_THREAD_MEMBERS,
            Self::TooManyThreads(_) => &TOO_MANY_THREADS,
            Self::SupportStaffOnly => &SUPPORT_STAFF_ONLY,
            Self::SupportsOwnOrganization => &SUPPORTS_OWN_ORGANIZATION,
            Self::NotTheAuthor => &NOT_THE_AUTHOR,
            Self::MessageDeleted => &MESSAGE_DELETED,
            Self::TooManyEdits => &TOO_MANY_EDITS,
            Self::TooManyReactions => &TOO_MANY_REACTIONS,
            Self::AttachmentTooLarge(_) => &ATTACHMENT_TOO_LARGE,
            Self::StorageFull(_) => &STORAGE_FULL,
            Self::PartDiffers => &PART_DIFFERS,
            Self::AttachmentIncomplete => &ATTACHMENT_INCOMPLETE,
            Self::ContentDiffers => &CONTENT_DIFFERS,
            Self::PictureUnreadable => &PICTURE_UNREADABLE,
            Self::AttachmentUsed => &ATTACHMENT_USED,
            Self::AttachmentBeingScanned => &ATTACHMENT_BEING_SCANNED,
            Self::AttachmentRefused => &ATTACHMENT_REFUSED,
            Self::NoPreview => &ATTACHMENT_HAS_NO_PREVIEW,
            Self::Storage(error) => error.reason(),
            Self::AccountBlocked => &ACCOUNT_BLOCKED,
            Self::LegalHold => &LEGAL_HOLD,
            Self::TooManyBlocks => &TOO_MANY_BLOCKS,
            Self::EtagMismatch => &fault::ETAG_MISMATCH,
            Self::AgentNotInstalled => &AGENT_NOT_INSTALLED,
            Self::Invalid(violations) => violations.reason(),
            Self::HelloExpected => &HELLO_EXPECTED,
            Self::FrameUnreadable => &FRAME_UNREADABLE,
            Self::TooManyStreams(_) => &TOO_MANY_STREAMS,
            Self::SlowConsumer => &SLOW_CONSUMER,
            Self::Draining(_) => &SERVER_DRAINING,
            Self::RateLimited(_) => &fault::RATE_LIMITED,
            Self::Broken(_) => &fault::INTERNAL,
            Self::Auth(error) => error.reason(),
            Self::Idempotency(error) => error.reason(),
            Self::Db(error) => error.reason(),
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Self::Invalid(violations) => violations.as_slice(),
            Self::Auth(error) => error.violations(),
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyStreams(_) => Some(STREAMS_RETRY),
            Self::SlowConsumer | Self::TooManyChanges | Self::LeaseLapsed => Some(SLOW_RETRY),
            Self::Draining(after) | Self::RateLimited(after) => Some(*after),
            Self::AttachmentBeingScanned => Some(SCAN_RETRY),
            Self::StorageFull(_) => Some(ROOM_RETRY),
            Self::Auth(error) => error.retry_after(),
            Self::Idempotency(error) => error.retry_after(),
            Self::Db(error) => error.retry_after(),
            _ => None,
        }
    }
}
