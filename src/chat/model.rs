//! What a conversation is: threads, their events, messages, and the limits on what people write.
//!
//! Pure: no clock, no database, no wire. The parts of the streaming core that decide something live in the modules
//! below and are equally pure, so that a simulation can drive them.

pub mod account_feed;
pub mod attachment;
pub mod backlog;
pub mod conduct;
pub mod context;
pub mod export;
pub mod feed;
pub mod frame;
pub mod member;
pub mod plan;
pub mod policy;
pub mod presence;
pub mod quality;
pub mod search;
pub mod sniff;
pub mod support;
pub mod tools;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::base::{AccountId, Id, OrganizationId, Timestamp, Violations, text};
use crate::db;
use crate::market::ListingId;
use attachment::{Attached, AttachmentId};
use member::{ReadPosition, ThreadRole};

/// The longest text of a message, in characters.
pub const TEXT_CHARS_MAX: usize = 16_000;
/// The longest title of a thread, in characters.
pub const TITLE_CHARS_MAX: usize = 200;
/// U+200D, zero width joiner.
const JOINER: char = '\u{200d}';
/// The longest reaction, in characters: some emoji are made of ten.
pub const EMOJI_CHARS_MAX: usize = 16;

/// The id of a thread.
pub type ThreadId = Id<Thread>;
/// The id of a message.
pub type MessageId = Id<Message>;
/// The id of one open stream.
pub type ConnectionId = Id<Connection>;

/// One open stream; a mark for its id.
pub enum Connection {}

/// The id of a process that serves.
pub type NodeId = Id<Node>;

/// A process that serves; a mark for its id.
pub enum Node {}

db::words! {
    /// What kind of conversation a thread is.
    pub enum ThreadKind {
        /// Between two people, of whom an organisation has one.
        Direct = "direct",
        /// Between any number of people.
        Group = "group",
        /// With an agent that answers.
        Agent = "agent",
        /// With the platform's support staff.
        Support = "support",
    }
}

/// A conversation of people of one organisation, and perhaps of one agent, or of staff of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The id.
    pub id: ThreadId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Who opened it.
    pub created_by: AccountId,
    /// What kind it is.
    pub kind: ThreadKind,
    /// What it is called; may be empty.
    pub title: String,
    /// The agent that answers in it.
    pub listing_id: Option<ListingId>,
    /// The position of the newest event; 0 when there is none.
    pub last_seq: i64,
    /// Which life of the sequence this is: a restored backup begins another.
    pub epoch: i64,
    /// Counts the changes of the title.
    pub version: i64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When the newest event happened.
    pub updated_at: Timestamp,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A person.
    Account(AccountId),
    /// An agent, by its listing.
    Agent(ListingId),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The id.
    pub id: MessageId,
    /// Where it was written.
    pub thread_id: ThreadId,
    /// The position of the event that created it.
    pub seq: i64,
    /// Who wrote it.
    pub author: Actor,
    /// The id that the sender's client gave it.
    pub client_message_id: Option<Uuid>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// The text; none is left of a message that was deleted.
    pub text: String,
    /// The files that go with it; none are left of a message that was deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attached>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When its text was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

impl Message {
    /// About how much memory its words take, in bytes.
    fn weight(&self) -> usize {
        let attached = |it: &Attached| size_of::<Attached>() + it.file_name.len() + it.media_type.len();
        self.attachments.iter().map(attached).fold(self.text.len(), usize::saturating_add)
    }
}

/// One durable change of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The thread.
    pub thread_id: ThreadId,
    /// The position: 1, 2, 3, … without a hole, in the order of commits.
    pub seq: i64,
    /// Who did it.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// What.
    pub change: Change,
}

impl Event {
    /// The event that `message` was written.
    #[must_use]
    pub const fn created(message: Message) -> Self {
        Self {
            thread_id: message.thread_id,
            seq: message.seq,
            actor: message.author,
            at: message.created_at,
            change: Change::MessageCreated(message),
        }
    }

    /// Whether it ended somebody's membership of the thread.
    #[must_use]
    pub const fn ends_membership(&self) -> bool {
        matches!(self.change, Change::MemberRemoved { .. })
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let text = match &self.change {
            Change::MessageCreated(message) => message.weight(),
            Change::AgentToolCalled(used) => used.weight(),
            Change::MessageEdited { text, .. } => text.len(),
            Change::ReactionAdded { emoji, .. } | Change::ReactionRemoved { emoji, .. } => emoji.len(),
            Change::ThreadUpdated { title } => title.len(),
            Change::ReceiptsMoved { positions } => positions.len().saturating_mul(size_of::<ReadPosition>()),
            Change::AgentTurnFailed { .. }
            | Change::AttachmentSettled { .. }
            | Change::SupportChanged { .. }
            | Change::MessageDeleted { .. }
            | Change::MemberAdded { .. }
            | Change::MemberRoleChanged { .. }
            | Change::MemberRemoved { .. } => 0,
        };
        size_of::<Self>().saturating_add(text)
    }
}

/// What changed. The names are stored: they never change their meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A message was written.
    MessageCreated(Message),
    /// The agent called a tool on the way to its answer, and this came of it.
    AgentToolCalled(tools::ToolUse),
    /// The agent could not answer a message.
    AgentTurnFailed {
        /// The message.
        message_id: MessageId,
        /// Why.
        reason: TurnFailure,
    },
    /// A message got another text.
    MessageEdited {
        /// The message.
        message_id: MessageId,
        /// Its text from here on; none is left when the message was deleted since.
        text: String,
        /// Whether the message was deleted since.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deleted: bool,
    },
    /// A message was deleted.
    MessageDeleted {
        /// The message.
        message_id: MessageId,
    },
    /// The actor reacted to a message.
    ReactionAdded {
        /// The message.
        message_id: MessageId,
        /// How.
        emoji: String,
    },
    /// The actor took a reaction back.
    ReactionRemoved {
        /// The message.
        message_id: MessageId,
        /// Which.
        emoji: String,
    },
    /// Somebody joined.
    MemberAdded {
        /// Who.
        account_id: AccountId,
        /// As what.
        role: ThreadRole,
    },
    /// A member got another role.
    MemberRoleChanged {
        /// Who.
        account_id: AccountId,
        /// Which, from here on.
        role: ThreadRole,
    },
    /// Somebody left or was removed.
    MemberRemoved {
        /// Who.
        account_id: AccountId,
    },
    /// The thread got another title.
    ThreadUpdated {
        /// Which, from here on.
        title: String,
    },
    /// It is known whether a file that went with a message does harm.
    AttachmentSettled {
        /// The message.
        message_id: MessageId,
        /// The file.
        attachment_id: AttachmentId,
        /// Whether it does, and nobody gets it.
        refused: bool,
    },
    /// It was said how a support thread stands.
    SupportChanged {
        /// Whom it waits for, from here on.
        state: support::SupportState,
        /// How urgent it is.
        priority: support::SupportPriority,
    },
    /// Members have read on, each named once.
    ReceiptsMoved {
        /// How far.
        positions: Vec<ReadPosition>,
    },
}

/// Why an agent did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnFailure {
    /// It is no longer installed.
    NotInstalled,
    /// Its model could not be reached, or refused.
    Unavailable,
    /// It called tools as often as it may and gave no answer.
    NoAnswer,
    /// The message was deleted before it was answered.
    MessageDeleted,
}

/// A message as it came in, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where it is to be written.
    pub thread_id: ThreadId,
    /// The sender's id of it: the idempotency key.
    pub client_message_id: Uuid,
    /// The text, as it came.
    pub text: String,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// The files that are to go with it, in their order.
    pub attachments: Vec<AttachmentId>,
}

impl Draft {
    /// Checks what came in, and notes everything that is wrong with it. What has files needs no text.
    pub fn parse(
        violations: &mut Violations,
        thread_id: &str,
        client_message_id: &str,
        body: &str,
        reply_to: &str,
        attachments: &[String],
    ) -> Option<Self> {
        let thread_id = text::id(violations, "thread_id", thread_id);
        let key: Option<Id<Self>> = text::id(violations, "client_message_id", client_message_id);
        let before = violations.len();
        let text = if attachments.is_empty() || !body.is_empty() {
            self::body(violations, body)
        } else {
            String::new()
        };
        let reply_to = text::optional_id(violations, "reply_to_message_id", reply_to);
        let attachments = attachment::ids(violations, attachments);
        (violations.len() == before).then_some(()).and_then(|()| {
            Some(Self { thread_id: thread_id?, client_message_id: key?.uuid(), text, reply_to, attachments })
        })
    }

    /// What makes two drafts with one key the same: the hash of everything but the key.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(self.text.as_bytes());
        if let Some(reply_to) = self.reply_to {
            // No text has a zero byte in it.
            hasher.update([0]);
            hasher.update(reply_to.uuid());
        }
        for id in &self.attachments {
            // Nor has it this one.
            hasher.update([1]);
            hasher.update(id.uuid());
        }
        hasher.finalize().into()
    }
}

/// Another text for a message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The message.
    pub message_id: MessageId,
    /// The text, as it came.
    pub text: String,
}

impl Edit {
    /// Checks what came in, and notes everything that is wrong with it.
    pub fn parse(violations: &mut Violations, message_id: &str, body: &str) -> Option<Self> {
        let message_id = text::id(violations, "message_id", message_id);
        let before = violations.len();
        let text = self::body(violations, body);
        (violations.len() == before).then_some(()).and_then(|()| Some(Self { message_id: message_id?, text }))
    }
}

fn body(violations: &mut Violations, body: &str) -> String {
    violations.check(!body.trim().is_empty(), "text", "must not be empty");
    text::paragraphs(violations, "text", body, TEXT_CHARS_MAX)
}

/// A reaction to a message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The message.
    pub message_id: MessageId,
    /// How: any few characters that can be seen. Which of them are emoji changes every year.
    pub emoji: String,
}

impl Reaction {
    /// Checks what came in, and notes everything that is wrong with it.
    pub fn parse(violations: &mut Violations, message_id: &str, emoji: &str) -> Option<Self> {
        let message_id = text::id(violations, "message_id", message_id);
        let bounded = !emoji.is_empty() && emoji.chars().nth(EMOJI_CHARS_MAX).is_none();
        // Joined emoji have a joiner between their parts.
        let hidden = |letter: char| text::is_hidden(letter) && letter != JOINER;
        let seen = emoji.chars().any(|letter| letter != JOINER)
            && emoji.chars().all(|letter| !letter.is_whitespace() && !hidden(letter));
        let says = format!("must be 1 to {EMOJI_CHARS_MAX} characters without spaces and control characters");
        violations.check(bounded && seen, "emoji", says);
        let emoji = (bounded && seen).then(|| emoji.to_owned());
        Some(Self { message_id: message_id?, emoji: emoji? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0198c0de-0000-7000-8000-00000000000a";

    fn problems(thread: &str, key: &str, text: &str) -> Vec<String> {
        let mut violations = Violations::new();
        let draft = Draft::parse(&mut violations, thread, key, text, "", &[]);
        assert_eq!(draft.is_some(), violations.is_empty());
        violations.as_slice().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn every_wrong_field_of_a_draft_is_named() {
        assert_eq!(problems("", "x", "  \n"), ["thread_id", "client_message_id", "text"]);
        assert!(problems(KEY, KEY, "tabs\tand\r\nlines, 🙂").is_empty());
        assert_eq!(problems(KEY, KEY, "nul \0"), ["text"]);
    }

    #[test]
    fn the_length_of_a_text_counts_characters() {
        assert!(problems(KEY, KEY, &"é".repeat(TEXT_CHARS_MAX)).is_empty());
        assert_eq!(problems(KEY, KEY, &"e".repeat(TEXT_CHARS_MAX + 1)), ["text"]);
    }

    #[test]
    fn what_has_files_needs_no_text_and_other_files_make_another_message() {
        let parse = |text: &str, attachments: &[&str]| {
            let mut violations = Violations::new();
            let attachments: Vec<String> = attachments.iter().map(|id| (*id).to_owned()).collect();
            Draft::parse(&mut violations, KEY, KEY, text, "", &attachments)
        };
        let other = "0198c0de-0000-7000-8000-00000000000b";
        let bare = parse("", &[KEY]).unwrap();
        assert_eq!(parse(" ", &[KEY]), None);
        let digests = [
            bare.digest(),
            parse("", &[other]).unwrap().digest(),
            parse("", &[KEY, other]).unwrap().digest(),
            parse("", &[other, KEY]).unwrap().digest(),
            parse("text", &[KEY]).unwrap().digest(),
            parse("text", &[]).unwrap().digest(),
            Draft { reply_to: Some(KEY.parse().unwrap()), ..parse("text", &[]).unwrap() }.digest(),
        ];
        let distinct: std::collections::BTreeSet<_> = digests.into_iter().collect();
        assert_eq!(distinct.len(), digests.len());
        // What was sent before there were files keeps its digest.
        assert_eq!(parse("text", &[]).unwrap().digest(), <[u8; 32]>::from(Sha256::digest("text")));
    }

    #[test]
    fn stored_changes_keep_their_names() {
        let change =
            Change::AgentTurnFailed { message_id: KEY.parse().unwrap(), reason: TurnFailure::Unavailable };
        assert_eq!(
            serde_json::to_string(&change).unwrap(),
            format!(r#"{{"agent_turn_failed":{{"message_id":"{KEY}","reason":"unavailable"}}}}"#)
        );
        let change = Change::AgentToolCalled(tools::ToolUse {
            message_id: KEY.parse().unwrap(),
            round: 1,
            position: 2,
            tool: "a.b".to_owned(),
            arguments: "{}".to_owned(),
            outcome: tools::Outcome::Result("1".to_owned()),
        });
        let fields = r#""round":1,"position":2,"tool":"a.b","arguments":"{}","outcome":{"result":"1"}"#;
        assert_eq!(
            serde_json::to_string(&change).unwrap(),
            format!(r#"{{"agent_tool_called":{{"message_id":"{KEY}",{fields}}}}}"#)
        );
        let (message_id, attachment_id) = (KEY.parse().unwrap(), KEY.parse().unwrap());
        let change = Change::AttachmentSettled { message_id, attachment_id, refused: true };
        let fields = format!(r#""message_id":"{KEY}","attachment_id":"{KEY}","refused":true"#);
        assert_eq!(
            serde_json::to_string(&change).unwrap(),
            format!(r#"{{"attachment_settled":{{{fields}}}}}"#)
        );
    }
}
