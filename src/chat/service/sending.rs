//! Writing what people send. What is sent at the same time is written together.
//!
//! The disk is waited for once for all that waits, and n messages take no statement more than one does. Each message is
//! judged by itself under the lock on its thread, and takes a position only when it is to be written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::conduct::silence;
use super::{Fresh, Service, admitted, unseen};
use crate::auth::{Caller, access};
use crate::base::{AccountId, OrganizationId};
use crate::chat::error::Error;
use crate::chat::model::member::ThreadRole;
use crate::chat::model::search::found_by;
use crate::chat::model::{Actor, Draft, Message, MessageId, Thread, ThreadId};
use crate::chat::store::{self, MessageKey, Sender, Turn, TurnState};
use crate::chat::turn::AgentTurn;
use crate::db::{Batchers, Bounds, Conn, Scope, Tx};
use crate::idempotency;
use crate::jobs;
use crate::market::ListingId;

/// How much text one transaction writes at most, in bytes.
const TOGETHER_BYTES_MAX: usize = 1 << 20;
/// How many transactions of one organisation write messages beside each other at most, on one node. No two of them
/// write in one thread.
const BESIDE: usize = 2;

/// Messages that wait to be written, by organisation.
pub(super) type Sendings = Batchers<OrganizationId, Arc<Sending>, Answer>;

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

impl Sending {
    const fn key(&self) -> MessageKey {
        (self.draft.thread_id, self.account, self.draft.client_message_id)
    }
}

/// A message that takes its position, what sent it, and the agent that is to answer.
struct Written<'s> {
    sending: &'s Sending,
    message: Message,
    listing_id: Option<ListingId>,
}

impl Written<'_> {
    fn sent(&self, duplicate: bool) -> Sent {
        Sent { message: self.message.clone(), duplicate, awaits_answer: self.listing_id.is_some() }
    }
}

/// Nothing waits yet. So many messages are written together at most.
pub(super) fn batches(most: usize) -> Sendings {
    Batchers::within(Bounds {
        most,
        weigh: |sending| sending.draft.text.len(),
        heaviest: TOGETHER_BYTES_MAX,
        line: |sending| sending.draft.thread_id.uuid().as_u128(),
        turns: BESIDE,
    })
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
        let write = |sendings| Box::pin(self.write_sendings(home, sendings));
        self.sendings.run(home, Arc::new(sending), write).await?
    }

    /// Writes messages of one organisation in one transaction, and tells of each what became of it, in their order.
    async fn write_sendings(
        &self,
        home: OrganizationId,
        sendings: Vec<Arc<Sending>>,
    ) -> Result<Vec<Answer>, Error> {
        let sendings: Vec<&Sending> = sendings.iter().map(|sending| &**sending).collect();
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        // Of two sendings with one key, from two nodes or one after the other, the second waits here, and then finds
        // the first.
        let mut threads = lock_threads(&mut tx, home, &sendings).await?;
        let judged = self.judge(&mut tx, home, &threads, &sendings).await?;
        let (mut answers, mut written) = (Vec::with_capacity(sendings.len()), Vec::new());
        let mut firsts: HashMap<MessageKey, usize> = HashMap::new();
        for (sending, judged) in sendings.into_iter().zip(judged) {
            if let Some(answer) = judged {
                answers.push(answer);
                continue;
            }
            if let Some(first) = firsts.get(&sending.key()).and_then(|at| written.get(*at)) {
                answers.push(again(sending, first));
                continue;
            }
            let thread = threads.get_mut(&sending.draft.thread_id).ok_or(Error::Broken(None))?;
            thread.last_seq = thread.last_seq.saturating_add(1);
            let message = self.message_of(sending, thread.last_seq);
            let fresh = Written { sending, message, listing_id: thread.listing_id };
            answers.push(Ok(fresh.sent(false)));
            firsts.insert(sending.key(), written.len());
            written.push(fresh);
        }
        self.write_messages(&mut tx, home, &threads, &written).await?;
        tx.commit().await?;
        Ok(answers)
    }

    /// Writes messages at the positions that they took, and whatever follows from them.
    async fn write_messages(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        threads: &BTreeMap<ThreadId, Thread>,
        written: &[Written<'_>],
    ) -> Result<(), Error> {
        let of: BTreeSet<ThreadId> = written.iter().map(|it| it.message.thread_id).collect();
        let threads: Vec<&Thread> = of.iter().filter_map(|thread_id| threads.get(thread_id)).collect();
        if threads.is_empty() {
            return Ok(());
        }
        store::set_heads(tx, home, &threads, self.world.now())?;
        let rows: Vec<_> = written.iter().map(|it| fresh(&it.message, it.sending)).collect();
        self.write_all(tx, home, &rows)?;
        for thread in threads {
            // Staff write by themselves: these are the people who wait for them.
            self.note_turn(tx, thread, ThreadRole::Member).await?;
        }
        for Written { sending, message, listing_id } in written {
            if let Some(listing_id) = listing_id {
                self.begin_turn(tx, home, message, *listing_id, sending.by_program).await?;
            }
        }
        Ok(())
    }

    /// Tells of each message why it is not to be written, if it is not. Asked under the lock: whoever ends a
    /// membership, or makes a reader of somebody, takes it too.
    async fn judge(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        threads: &BTreeMap<ThreadId, Thread>,
        sendings: &[&Sending],
    ) -> Result<Vec<Option<Answer>>, Error> {
        let keys: BTreeSet<MessageKey> = sendings.iter().map(|sending| sending.key()).collect();
        let senders = store::senders(tx, home, &keys).await?;
        let senders: HashMap<MessageKey, Sender> = senders.into_iter().map(|it| (it.key(), it)).collect();
        let replied: Vec<MessageId> = sendings.iter().filter_map(|sending| sending.draft.reply_to).collect();
        let replied: HashMap<MessageId, ThreadId> = if replied.is_empty() {
            HashMap::new()
        } else {
            store::threads_of_messages(tx, home, &replied).await?.into_iter().collect()
        };
        let mut answers = Vec::with_capacity(sendings.len());
        for sending in sendings {
            let found = threads.get(&sending.draft.thread_id).zip(senders.get(&sending.key()));
            let Some((thread, sender)) = found else {
                answers.push(Some(Err(Error::ThreadNotFound)));
                continue;
            };
            let replied = sending.draft.reply_to.map(|answered| replied.get(&answered));
            answers.push(if sender.role == ThreadRole::Reader {
                Some(Err(Error::ReadOnly))
            } else if let Some(silence) = silence(tx, thread, sending.account).await? {
                Some(Err(silence))
            } else if replied.is_some_and(|thread_id| thread_id != Some(&thread.id)) {
                Some(Err(Error::MessageNotFound))
            } else if sender.message_id.is_some() {
                self.sent_before(tx, home, sending).await?
            } else {
                None
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
        if let Some(answer) = self.sent_before(&mut tx, home, &sending).await? {
            return answer;
        }
        let files = &sending.draft.attachments;
        let attachments = self.to_attach(&mut tx, caller, &thread, files).await?;
        if let Some(answered) = sending.draft.reply_to {
            let found = store::threads_of_messages(&mut tx, home, &[answered]).await?;
            found.into_iter().find(|(_, thread_id)| *thread_id == thread.id).ok_or(Error::MessageNotFound)?;
        }
        let message = Message { attachments, ..self.message_of(&sending, thread.last_seq) };
        self.write_all(&mut tx, home, &[fresh(&message, &sending)])?;
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

    /// What became of the message that the key was used for before, if it was.
    async fn sent_before(
        &self,
        conn: &mut impl Conn,
        home: OrganizationId,
        sending: &Sending,
    ) -> Result<Option<Answer>, Error> {
        let (thread_id, account, key) = sending.key();
        let used = store::message_by_key(conn, home, thread_id, account, key).await?;
        let Some((message_id, used_for)) = used else { return Ok(None) };
        let message = store::message(conn, home, message_id).await?.ok_or(Error::MessageNotFound)?;
        let turn = store::turn(conn, home, message_id).await?;
        let awaits_answer = turn.is_some_and(|turn| turn.state == TurnState::Pending);
        // Whoever wrote it for this very call was stopped before it could say so.
        let duplicate = message_id != sending.id;
        // What the key of a deleted message was used for is not known any more.
        if used_for != sending.digest && message.deleted_at.is_none() {
            return Ok(Some(Err(idempotency::Error::Reused.into())));
        }
        Ok(Some(Ok(Sent { message, duplicate, awaits_answer })))
    }
}

/// Locks the threads that somebody sends to who is a member of them: nobody else can make others wait. In the order of
/// their ids, as on every node: of two that lock several, neither can wait for the other.
async fn lock_threads(
    tx: &mut Tx,
    home: OrganizationId,
    sendings: &[&Sending],
) -> Result<BTreeMap<ThreadId, Thread>, Error> {
    let senders: BTreeSet<_> = sendings.iter().map(|it| (it.draft.thread_id, it.account)).collect();
    let threads = store::lock_threads(tx, home, &senders).await?;
    Ok(threads.into_iter().map(|thread| (thread.id, thread)).collect())
}

/// What becomes of a message whose key another one uses that is just being written.
fn again(sending: &Sending, first: &Written<'_>) -> Answer {
    if sending.digest == first.sending.digest {
        Ok(first.sent(true))
    } else {
        Err(idempotency::Error::Reused.into())
    }
}

fn fresh<'m>(message: &'m Message, sending: &'m Sending) -> Fresh<'m> {
    Fresh { message, digest: Some(sending.digest), words: &sending.words }
}
