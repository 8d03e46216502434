//! What is stored in the end: of each thread its log, as whoever comes now is told it, and what the tables hold, which
//! is what the log comes to.

use std::collections::{BTreeMap, BTreeSet};

use capecontrol::db::{Conn as _, Session};
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use uuid::Uuid;
use wire::event::Change;

use super::witness::digest;
use crate::support::app::Bearer;

/// How many events are read at once.
const PAGE: i32 = 200;

/// The kinds of events that people make.
pub const KINDS: [&str; 10] = [
    "message_created",
    "message_edited",
    "message_deleted",
    "reaction_added",
    "reaction_removed",
    "member_added",
    "member_role_changed",
    "member_removed",
    "thread_updated",
    "receipts_moved",
];

/// The kind of an event.
pub fn kind(event: &wire::Event) -> &'static str {
    let place = match event.change.as_ref().unwrap() {
        Change::MessageCreated(_) => 0,
        Change::MessageEdited(_) => 1,
        Change::MessageDeleted(_) => 2,
        Change::ReactionAdded(_) => 3,
        Change::ReactionRemoved(_) => 4,
        Change::MemberAdded(_) => 5,
        Change::MemberRoleChanged(_) => 6,
        Change::MemberRemoved(_) => 7,
        Change::ThreadUpdated(_) => 8,
        Change::ReceiptsMoved(_) => 9,
        Change::AgentTurnFailed(_)
        | Change::AgentToolCalled(_)
        | Change::AttachmentSettled(_)
        | Change::SupportChanged(_) => {
            panic!("nobody did this: {event:?}")
        }
    };
    KINDS[place]
}

/// A message in its table.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    seq: i64,
    id: String,
    client_message_id: String,
    /// None when it is deleted.
    text: Option<u64>,
}

/// A thread.
pub struct Stored {
    pub log: Vec<wire::Event>,
    title: String,
    messages: Vec<Message>,
    /// By message, emoji and account.
    reactions: BTreeSet<(String, String, String)>,
    members: BTreeSet<String>,
    /// How far each member has read.
    marks: BTreeMap<String, i64>,
}

impl Stored {
    /// Reads a thread, the log over the network as `reader`.
    pub async fn read(
        conn: &mut Session,
        reader: &mut ChatServiceClient<InterceptedService<Channel, Bearer>>,
        thread: &str,
    ) -> Self {
        let id: Uuid = thread.parse().unwrap();
        let (title,): (String,) =
            conn.sql("SELECT title FROM threads WHERE id = $1").bind(id).one().await.unwrap();
        let messages: Vec<(i64, Uuid, Uuid, String, bool)> = conn
            .sql(
                "SELECT seq, id, client_message_id, text, deleted_at IS NOT NULL FROM messages
                 WHERE thread_id = $1 ORDER BY seq",
            )
            .bind(id)
            .all()
            .await
            .unwrap();
        let message = |(seq, id, client_message_id, text, deleted): (i64, Uuid, Uuid, String, bool)| {
            assert!(!deleted || text.is_empty(), "the text of {id} is still there");
            let text = (!deleted).then(|| digest(text.as_bytes()));
            Message { seq, id: id.to_string(), client_message_id: client_message_id.to_string(), text }
        };
        let reactions: Vec<(Uuid, String, Uuid)> = conn
            .sql(
                "SELECT r.message_id, r.emoji, r.account_id FROM message_reactions r
                 JOIN messages m ON m.id = r.message_id WHERE m.thread_id = $1",
            )
            .bind(id)
            .all()
            .await
            .unwrap();
        let reaction =
            |(id, emoji, account): (Uuid, String, Uuid)| (id.to_string(), emoji, account.to_string());
        let marks: Vec<(Uuid, i64)> = conn
            .sql("SELECT account_id, read_seq FROM thread_members WHERE thread_id = $1")
            .bind(id)
            .all()
            .await
            .unwrap();
        let marks: BTreeMap<_, _> =
            marks.into_iter().map(|(account, seq)| (account.to_string(), seq)).collect();
        Self {
            log: log(reader, thread).await,
            title,
            messages: messages.into_iter().map(message).collect(),
            reactions: reactions.into_iter().map(reaction).collect(),
            members: marks.keys().cloned().collect(),
            marks,
        }
    }

    /// How far a member has read.
    pub fn mark(&self, account: &str) -> i64 {
        self.marks[account]
    }

    /// That the log has no hole, and that the tables are what it comes to.
    pub fn is_consistent(&self, thread: &str) {
        let mut sum = Sum::default();
        for (event, seq) in self.log.iter().zip(1..) {
            assert_eq!(event.seq, seq, "{thread} has a hole");
            sum.add(event);
        }
        assert!(sum.gone.is_subset(&sum.deleted), "{thread}: a text is gone of what nobody took back");
        assert!(sum.told.is_disjoint(&sum.deleted), "{thread}: a text is there of what was taken back");
        let messages: Vec<_> = sum.messages.into_values().collect();
        assert!(messages == self.messages, "the messages of {thread} are not what its log comes to");
        assert_eq!(sum.reactions, self.reactions, "reactions in {thread}");
        assert!(sum.title.is_none_or(|title| title == self.title), "the title of {thread}");
        for (account, is_member) in sum.members {
            assert_eq!(self.members.contains(&account), is_member, "{account} in {thread}");
        }
        for (account, mark) in &self.marks {
            let told = sum.marks.get(account).copied().unwrap_or_default();
            assert_eq!(told, *mark, "how far {account} has read in {thread}");
        }
    }
}

/// What a log comes to.
#[derive(Default)]
struct Sum {
    /// By their places.
    messages: BTreeMap<i64, Message>,
    places: BTreeMap<String, i64>,
    /// Messages of which an event tells a text, and of which one tells that it is gone.
    told: BTreeSet<String>,
    gone: BTreeSet<String>,
    deleted: BTreeSet<String>,
    reactions: BTreeSet<(String, String, String)>,
    /// Whoever came or went: whether they are there.
    members: BTreeMap<String, bool>,
    marks: BTreeMap<String, i64>,
    title: Option<String>,
}

impl Sum {
    fn add(&mut self, event: &wire::Event) {
        let Some(wire::actor::Actor::AccountId(actor)) = event.actor.clone().unwrap().actor else {
            panic!("there are no agents here: {event:?}")
        };
        match event.change.clone().unwrap() {
            Change::MessageCreated(message) => {
                self.text(&message.id, message.delete_time.is_some(), &message.text);
                self.places.insert(message.id.clone(), event.seq);
                let text = Some(digest(message.text.as_bytes()));
                let (seq, client_message_id) = (message.seq, message.client_message_id);
                self.messages.insert(event.seq, Message { seq, id: message.id, client_message_id, text });
            }
            Change::MessageEdited(edited) => {
                self.text(&edited.message_id, edited.deleted, &edited.text);
                self.message(&edited.message_id).text = Some(digest(edited.text.as_bytes()));
            }
            Change::MessageDeleted(deleted) => {
                self.message(&deleted.message_id).text = None;
                self.reactions.retain(|(message, _, _)| *message != deleted.message_id);
                assert!(self.deleted.insert(deleted.message_id), "deleted twice: {event:?}");
            }
            Change::ReactionAdded(added) => {
                assert!(!self.deleted.contains(&added.message_id), "what is gone is reacted to: {event:?}");
                let is_new = self.reactions.insert((added.message_id, added.emoji, actor));
                assert!(is_new, "there before: {event:?}");
            }
            Change::ReactionRemoved(removed) => {
                let was_there = self.reactions.remove(&(removed.message_id, removed.emoji, actor));
                assert!(was_there, "it was not there: {event:?}");
            }
            Change::MemberAdded(added) => drop(self.members.insert(added.account_id, true)),
            Change::MemberRemoved(removed) => drop(self.members.insert(removed.account_id, false)),
            Change::MemberRoleChanged(changed) => assert!(self.members[&changed.account_id], "{event:?}"),
            Change::ThreadUpdated(updated) => self.title = Some(updated.title),
            Change::ReceiptsMoved(moved) => {
                for position in moved.positions {
                    let before = self.marks.insert(position.account_id, position.seq).unwrap_or_default();
                    assert!(
                        (before + 1..event.seq).contains(&position.seq),
                        "{before} went before {event:?}"
                    );
                }
            }
            Change::AgentTurnFailed(_)
            | Change::AgentToolCalled(_)
            | Change::AttachmentSettled(_)
            | Change::SupportChanged(_) => {
                panic!("nobody did this: {event:?}")
            }
        }
    }

    fn text(&mut self, id: &str, gone: bool, text: &str) {
        assert!(!gone || text.is_empty(), "the text of {id} is still told");
        let one = if gone { &mut self.gone } else { &mut self.told };
        one.insert(id.to_owned());
    }

    fn message(&mut self, id: &str) -> &mut Message {
        self.messages.get_mut(&self.places[id]).unwrap()
    }
}

/// The whole log of a thread.
async fn log(
    reader: &mut ChatServiceClient<InterceptedService<Channel, Bearer>>,
    thread: &str,
) -> Vec<wire::Event> {
    let mut log: Vec<wire::Event> = Vec::new();
    loop {
        let after_seq = log.last().map_or(0, |last| last.seq);
        let request = wire::ListEventsRequest {
            thread_id: thread.to_owned(),
            after_seq,
            page_size: PAGE,
            ..Default::default()
        };
        let page = reader.list_events(request).await.unwrap().into_inner().events;
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}
