//! Writing what people send. What is sent at the same time is written together.
//!
//! The disk is waited for once for all that waits, and n messages take few statements more than one does. Each message
//! is judged by itself under the lock on its thread, and one that is refused takes no position: the others are written
//! again without it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::conduct::silence;
use super::{Fresh, Service, admitted, unseen};
use crate::auth::{Caller, access};
use crate::base::{AccountId, OrganizationId};
use crate::chat::error::Error;
use crate::chat::model::member::ThreadRole;
use crate::chat::model::search::found_by;
use crate::chat::model::{Actor, Draft, Message, MessageId, Thread, ThreadId};
use crate::chat::store::{self, Sender, Turn, TurnState};
use crate::chat::turn::AgentTurn;
use crate::db::{Batchers, Bounds, Conn, Scope, Tx};
use crate::idempotency;
use crate::jobs;
use crate::market::ListingId;

/// How many messages one transaction writes at most.
const TOGETHER_MAX: usize = 64;
/// How much text it writes at most, in bytes.
const TOGETHER_BYTES_MAX: usize = 1 << 20;
/// How many transactions of one organisation write messages beside each other, on one node. A thread is in one lane
/// always; what is sent in one lane at the same time is written together.
const LANES: u128 = 16;

/// Messages that wait to be written, by organisation and lane.
pub(super) type Sendings = Batchers<(OrganizationId, u128), Arc<Sending>, Answer>;

/// What the sender of a message is told.
type Answer = Result<Sent, Error>;

/// What became of a message.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// Whether it had been written before.
    pub duplicate: bool,
    /// Whether an agent's answer is still to come.
    pub awaits_answer: bool,
}

/// A message on its way, and whatever can be known of it before anything is locked.
#[derive(Debug)]
pub(super) struct Sending {
    id: MessageId,
    account: AccountId,
    by_program: bool,
    draft: Draft,
    digest: [u8; 32],
    words: Vec<String>,
}

/// What makes two sendings the same one: the thread, the sender, and the sender's key.
type Key = (ThreadId, AccountId, Uuid);

impl Sending {
    const fn key(&self) -> Key {
        (self.draft.thread_id, self.account, self.draft.client_message_id)
    }

    fn is_of(&self, sender: &Sender) -> bool {
        (sender.thread_id, sender.account_id) == (self.draft.thread_id, self.account)
    }
}

/// A thread that is locked, and the first position in it that is not yet filled.
struct Locked {
    thread: Thread,
    next: i64,
}

/// Nothing waits yet.
pub(super) fn batches() -> Sendings {
    let weigh = |sending: &Arc<Sending>| sending.draft.text.len();
    Batchers::within(Bounds { most: TOGETHER_MAX, weigh, heaviest: TOGETHER_BYTES_MAX })
}

impl Service {
    /// Writes a message, once for its key. In a thread with an agent the same transaction queues the agent's turn.
    pub async fn send(&self, caller: &Caller, draft: Draft) -> Answer {
        caller.account()?;
        let home = self.home(draft.thread_id).await?;
        let account = access::reaching(caller, home).map_err(|error| unseen(error, Error::ThreadNotFound))?;
        let sending = Sending {
            id: self.world.id(),
            account,
            by_program: caller.grant.is_some(),
            digest: draft.digest(),
            words: found_by(&draft.text),
            draft,
        };
        // Staff may be in a thread without belonging to its organisation, and are asked for by themselves.
        if !sending.draft.attachments.is_empty() || caller.is_admin() {
            return Box::pin(self.send_alone(caller, home, sending)).await;
        }
        let lane = sending.draft.thread_id.uuid().as_u128() % LANES;
        let write = |sendings| Box::pin(self.write_sendings(home, sendings));
        self.sendings.run((home, lane), Arc::new(sending), write).await?
    }

    /// Writes messages of one organisation, and tells of each what became of it, in their order.
    async fn write_sendings(
        &self,
        home: OrganizationId,
        sendings: Vec<Arc<Sending>>,
    ) -> Result<Vec<Answer>, Error> {
        let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
        let mut left: Vec<(usize, Arc<Sending>)> = sendings.into_iter().enumerate().collect();
        while !left.is_empty() {
            let together: Vec<&Sending> = left.iter().map(|(_, sending)| &**sending).collect();
            let answered = self.write_together(home, &together).await?;
            let mut again = Vec::new();
            for (waiting, answer) in left.into_iter().zip(answered) {
                match answer {
                    Some(answer) => drop(answers.insert(waiting.0, answer)),
                    None => again.push(waiting),
                }
            }
            left = again;
        }
        Ok(answers.into_values().collect())
    }

    /// Writes messages in one transaction: of those with one key the first. Where one of them is not to be written,
    /// nothing is: then those that are not are answered. At least one is answered; the others are to come again.
    async fn write_together(
        &self,
        home: OrganizationId,
        sendings: &[&Sending],
    ) -> Result<Vec<Option<Answer>>, Error> {
        let mut keys = HashSet::new();
        let firsts: Vec<&Sending> =
            sendings.iter().copied().filter(|sending| keys.insert(sending.key())).collect();
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        // Of two sendings with one key, from two nodes or one after the other, the second waits here, and then finds
        // the first.
        let mut threads = self.lock_threads(&mut tx, home, &firsts).await?;
        let answers = self.judge(&mut tx, home, &threads, sendings).await?;
        if answers.iter().any(Option::is_some) {
            // The transaction is dropped, and with it the positions taken.
            return Ok(answers);
        }
        let mut written = Vec::with_capacity(firsts.len());
        for sending in &firsts {
            let locked = threads.get_mut(&sending.draft.thread_id).ok_or(Error::Broken(None))?;
            written.push((self.message_of(sending, locked.next), locked.thread.listing_id));
            locked.next = locked.next.saturating_add(1);
        }
        let rows: Vec<_> =
            firsts.iter().zip(&written).map(|(sending, (message, _))| fresh(message, sending)).collect();
        self.write_all(&mut tx, home, &rows).await?;
        for locked in threads.values() {
            // Staff write by themselves: these are the people who wait for them.
            self.note_turn(&mut tx, &locked.thread, ThreadRole::Member).await?;
        }
        for (sending, (message, listing_id)) in firsts.iter().zip(&written) {
            if let Some(listing_id) = listing_id {
                self.begin_turn(&mut tx, home, message, *listing_id, sending.by_program).await?;
            }
        }
        tx.commit().await?;
        let mut sent: HashMap<MessageId, Sent> = written
            .into_iter()
            .map(|(message, listing_id)| {
                let awaits_answer = listing_id.is_some();
                (message.id, Sent { message, duplicate: false, awaits_answer })
            })
            .collect();
        Ok(sendings.iter().map(|sending| sent.remove(&sending.id).map(Ok)).collect())
    }

    /// Locks the threads that are written to and takes a position in each for each message. In the order of their ids,
    /// as on every node: of two that lock several, neither can wait for the other.
    async fn lock_threads(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        sendings: &[&Sending],
    ) -> Result<BTreeMap<ThreadId, Locked>, Error> {
        let mut counts: BTreeMap<ThreadId, i64> = BTreeMap::new();
        for sending in sendings {
            let count = counts.entry(sending.draft.thread_id).or_default();
            *count = count.saturating_add(1);
        }
        let (mut locked, now) = (BTreeMap::new(), self.world.now());
        for (thread_id, count) in counts {
            if let Some(thread) = store::advance_by(tx, home, thread_id, count, now).await? {
                let next = thread.last_seq.saturating_sub(count).saturating_add(1);
                locked.insert(thread_id, Locked { thread, next });
            }
        }
        Ok(locked)
    }

    /// Tells of each message why it is not to be written, if it is not. Asked under the lock: whoever ends a
    /// membership, or makes a reader of somebody, takes it too.
    async fn judge(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        threads: &BTreeMap<ThreadId, Locked>,
        sendings: &[&Sending],
    ) -> Result<Vec<Option<Answer>>, Error> {
        let keys: Vec<Key> = sendings.iter().map(|sending| sending.key()).collect();
        let senders = store::senders(tx, home, &keys).await?;
        let replied: Vec<MessageId> = sendings.iter().filter_map(|sending| sending.draft.reply_to).collect();
        let replied: HashMap<MessageId, ThreadId> = if replied.is_empty() {
            HashMap::new()
        } else {
            store::threads_of_messages(tx, home, &replied).await?.into_iter().collect()
        };
        let mut answers = Vec::with_capacity(sendings.len());
        for sending in sendings {
            let of = || senders.iter().filter(|sender| sending.is_of(sender));
            let thread = threads.get(&sending.draft.thread_id).map(|locked| &locked.thread);
            answers.push(match (thread, of().next()) {
                (None, _) | (_, None) => Some(Err(Error::ThreadNotFound)),
                (_, Some(sender)) if sender.role == ThreadRole::Reader => Some(Err(Error::ReadOnly)),
                (Some(thread), Some(_)) => {
                    let replied = sending.draft.reply_to.map(|answered| replied.get(&answered));
                    let key = Some(sending.draft.client_message_id);
                    let before = of().find(|sender| sender.client_message_id == key);
                    if let Some(silence) = silence(tx, thread, sending.account).await? {
                        Some(Err(silence))
                    } else if replied.is_some_and(|thread_id| thread_id != Some(&thread.id)) {
                        Some(Err(Error::MessageNotFound))
                    } else if let Some((id, hash)) =
                        before.and_then(|it| it.message_id.zip(it.body_hash.as_ref()))
                    {
                        Some(self.sent_before(tx, home, sending, id, hash).await?)
                    } else {
                        None
                    }
                }
            });
        }
        Ok(answers)
    }

    /// Writes a message by itself: its files, if it has any, are locked too.
    async fn send_alone(&self, caller: &Caller, home: OrganizationId, sending: Sending) -> Answer {
        let account = sending.account;
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        let place = Some((home, sending.draft.thread_id));
        admitted(&mut tx, caller, place, Error::ThreadNotFound).await?;
        let thread = self.write_in(&mut tx, home, sending.draft.thread_id, account).await?;
        // A repetition is answered whatever has become of its files.
        let key = sending.draft.client_message_id;
        let used = store::message_by_key(&mut tx, home, thread.id, account, key).await?;
        if let Some((message_id, used_for)) = used {
            return self.sent_before(&mut tx, home, &sending, message_id, &used_for).await?;
        }
        let files = &sending.draft.attachments;
        let attachments = self.to_attach(&mut tx, caller, &thread, files).await?;
        if let Some(answered) = sending.draft.reply_to {
            let found = store::threads_of_messages(&mut tx, home, &[answered]).await?;
            found.into_iter().find(|(_, thread_id)| *thread_id == thread.id).ok_or(Error::MessageNotFound)?;
        }
        let message = Message { attachments, ..self.message_of(&sending, thread.last_seq) };
        self.write_all(&mut tx, home, &[fresh(&message, &sending)]).await?;
        self.attach(&mut tx, home, message.id, files).await?;
        if let Some(listing_id) = thread.listing_id {
            self.begin_turn(&mut tx, home, &message, listing_id, sending.by_program).await?;
        }
        tx.commit().await?;
        Ok(Sent { message, duplicate: false, awaits_answer: thread.listing_id.is_some() })
    }

    fn message_of(&self, sending: &Sending, seq: i64) -> Message {
        Message {
            id: sending.id,
            thread_id: sending.draft.thread_id,
            seq,
            author: Actor::Account(sending.account),
            client_message_id: Some(sending.draft.client_message_id),
            reply_to: sending.draft.reply_to,
            text: sending.draft.text.clone(),
            attachments: Vec::new(),
            created_at: self.world.now(),
            edited_at: None,
            deleted_at: None,
        }
    }

    async fn begin_turn(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        message: &Message,
        listing_id: ListingId,
        by_program: bool,
    ) -> Result<(), Error> {
        let turn = Turn {
            message_id: message.id,
            thread_id: message.thread_id,
            organization_id: home,
            listing_id,
            answer_id: self.world.id(),
            by_program,
            state: TurnState::Pending,
        };
        store::insert_turn(tx, &turn, message.created_at).await?;
        let job = AgentTurn { organization_id: home, message_id: message.id };
        Ok(jobs::push(tx, &self.world, Some(home), &job).await?)
    }

    /// What became of the message that the key was used for before.
    async fn sent_before(
        &self,
        conn: &mut impl Conn,
        home: OrganizationId,
        sending: &Sending,
        message_id: MessageId,
        used_for: &[u8],
    ) -> Result<Answer, Error> {
        let message = store::message(conn, home, message_id).await?.ok_or(Error::MessageNotFound)?;
        let turn = store::turn(conn, home, message_id).await?;
        let awaits_answer = turn.is_some_and(|turn| turn.state == TurnState::Pending);
        // Whoever wrote it for this very call was stopped before it could say so.
        let duplicate = message_id != sending.id;
        // What the key of a deleted message was used for is not known any more.
        if used_for != sending.digest && message.deleted_at.is_none() {
            return Ok(Err(idempotency::Error::Reused.into()));
        }
        Ok(Ok(Sent { message, duplicate, awaits_answer }))
    }
}

fn fresh<'m>(message: &'m Message, sending: &'m Sending) -> Fresh<'m> {
    Fresh { message, digest: Some(sending.digest), words: &sending.words }
}
