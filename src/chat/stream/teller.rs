//! What a stream says next: answers to its client first, then news, then the past, and a heartbeat when all is quiet.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{Inbound, Item, Outlet, Words};
use crate::auth::Caller;
use crate::base::{AccountId, Code, Fault as _, Timestamp, Violations};
use crate::chat::error::Error;
use crate::chat::hub::Registration;
use crate::chat::model::account_feed::{AccountCursor, AccountFeed, AccountStep};
use crate::chat::model::backlog::News;
use crate::chat::model::feed::{Feed, Notice, Read, Step};
use crate::chat::model::frame::{Ack, ClientBody, ClientFrame, Frame, Nack, THREADS_MAX, Wish};
use crate::chat::model::presence::{PresenceSaid, Sighting, Watch};
use crate::chat::model::quality::Quality;
use crate::chat::model::{Actor, Change, Draft, MessageId, ThreadId};
use crate::chat::service::Service;
use crate::chat::sight::Through;

/// Decides what a stream says next. Most streams are idle most of the time: what waits for the database is in boxes, so
/// that an idle stream keeps no room for it.
pub(super) struct Teller {
    pub(super) service: Arc<Service>,
    pub(super) caller: Caller,
    pub(super) registration: Registration,
    feed: Feed,
    /// What is to be told of the caller's own log. In a box: most streams of programs tell nothing of it.
    account: Option<Box<AccountFeed>>,
    /// The client's side, until it has said its last word.
    words: Option<Words>,
    /// Whether the stream ends when the client has said its last word and everything is told.
    converses: bool,
    pub(super) welcomed: bool,
    /// Answers to the client's frames, and what may be lost. A few at most: it is emptied before anything else is done.
    ready: VecDeque<Frame>,
    /// Whose presence to tell, and what was told of it.
    watched: BTreeMap<AccountId, Watch>,
    /// Messages of this stream that an agent is to answer.
    awaited: HashMap<MessageId, ThreadId>,
    /// When something was last said.
    said_at: Instant,
    /// Rings when nothing was said for long. Set again only when it rings, so that a busy stream leaves the timer
    /// alone.
    silence: Pin<Box<Sleep>>,
    nonce: i64,
    pinged_at: Option<Timestamp>,
    round_trip: Option<Duration>,
    quality: Quality,
}

/// What ends a teller's waiting.
enum Wake {
    Word(Option<Inbound>),
    News,
    Silence,
}

impl Teller {
    pub(super) fn new(
        service: Arc<Service>,
        caller: Caller,
        registration: Registration,
        feed: Feed,
        words: Option<Words>,
    ) -> Self {
        Self {
            service,
            caller,
            registration,
            feed,
            account: None,
            converses: words.is_some(),
            words,
            welcomed: false,
            ready: VecDeque::new(),
            watched: BTreeMap::new(),
            awaited: HashMap::new(),
            said_at: Instant::now(),
            silence: Box::pin(sleep_until(Instant::now())),
            nonce: 0,
            pinged_at: None,
            round_trip: None,
            quality: Quality::default(),
        }
    }

    /// Has this stream tell from its start whether these people are there.
    pub(super) fn watching(mut self, accounts: BTreeSet<AccountId>, through: &Through) -> Self {
        if !accounts.is_empty() {
            self.watch(accounts, through);
        }
        self
    }

    /// Has this stream tell of the caller's own log, from where the client is.
    pub(super) fn listening(mut self, cursor: Option<AccountCursor>) -> Self {
        self.listen(cursor);
        self
    }

    fn listen(&mut self, cursor: Option<AccountCursor>) {
        if let Some(cursor) = cursor {
            self.registration.listen();
            self.account = Some(Box::new(AccountFeed::new(cursor)));
        }
    }

    /// Tells until the client has heard everything it asked for, or something fails.
    pub(super) async fn run(&mut self, outlet: &Outlet) -> Result<(), Error> {
        if self.converses {
            Box::pin(self.hello()).await?;
        }
        Box::pin(self.service.arrive(self.registration.inbox())).await?;
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
            self.said_at = Instant::now();
        }
    }

    /// Waits for the first frame and carries it out.
    async fn hello(&mut self) -> Result<(), Error> {
        let first = timeout(self.service.options().hello, next_word(&mut self.words)).await;
        match first {
            Ok(Some(Inbound::Frame(ClientFrame { body: ClientBody::Hello(opening), .. }))) => {
                for wish in opening.follow {
                    self.follow(&wish).await?;
                }
                let through = self.service.check_watched(&self.caller, &opening.watch).await?;
                self.watch(opening.watch, &through);
                self.listen(opening.account);
                Ok(())
            }
            Ok(Some(Inbound::Refused { why, .. })) => Err(why),
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
            match news {
                Some(News::Changes) => Box::pin(self.take_changes()).await?,
                Some(News::Presence) => Box::pin(self.tell_presence()).await?,
                Some(news) => self.hear(news)?,
                None => {}
            }
            match self.account.as_mut().map_or(AccountStep::Idle, |account| account.step()) {
                AccountStep::Tell(notice) => return Ok(Some(Frame::Account(notice))),
                AccountStep::Idle => {}
                step => Box::pin(self.read_account(step)).await?,
            }
            match self.feed.step() {
                Step::Tell(notice) => return Ok(Some(self.tell(notice))),
                Step::Read(read) => Box::pin(self.read(read)).await?,
                Step::Idle if !quiet || !self.ready.is_empty() || self.has_account_news() => {}
                Step::Idle if self.is_done() => return Ok(None),
                Step::Idle => self.wait().await?,
            }
        }
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let wake = tokio::select! {
            word = next_word(&mut self.words) => Wake::Word(word),
            () = self.registration.inbox().filled() => Wake::News,
            () = self.silence.as_mut() => Wake::Silence,
        };
        match wake {
            Wake::Word(word) => self.answer(word).await?,
            Wake::News => {}
            Wake::Silence => self.break_silence(),
        }
        Ok(())
    }

    /// Whether the client has said its last word and everything it asked for is told.
    fn is_done(&self) -> bool {
        self.converses && self.words.is_none() && self.awaited.is_empty() && self.feed.is_settled()
    }

    /// Whether there is something of the caller's own log to tell, or to read.
    fn has_account_news(&self) -> bool {
        self.account.as_ref().is_some_and(|account| !account.is_settled())
    }

    /// Reads what the caller's own log is to be told from.
    async fn read_account(&mut self, step: AccountStep) -> Result<(), Error> {
        let Some(feed) = &mut self.account else { return Ok(()) };
        match step {
            AccountStep::Look => feed.stands(self.service.account_head(&self.caller).await?),
            AccountStep::Read(after) => {
                feed.page(after, self.service.account_entries(&self.caller, after).await?);
            }
            AccountStep::Tell(_) | AccountStep::Idle => {}
        }
        Ok(())
    }

    /// Says something if nothing was said for as long as is promised, and sets the alarm again.
    fn break_silence(&mut self) {
        let heartbeat = self.service.options().heartbeat;
        if self.said_at.elapsed() >= heartbeat {
            self.said_at = Instant::now();
            self.beat();
        }
        self.silence.as_mut().reset(self.said_at + heartbeat);
    }

    fn beat(&mut self) {
        let at = self.service.world().now();
        self.nonce = self.nonce.saturating_add(1);
        // Only whoever converses can answer.
        if self.pinged_at.replace(at).is_some() && self.converses {
            self.quality.note(None);
        }
        self.ready.push_back(Frame::Heartbeat {
            at,
            nonce: self.nonce,
            heads: self.feed.cursors().collect(),
            account: self.account.as_ref().map(|account| account.sent()),
            round_trip: self.round_trip,
            queued: self.registration.inbox().load().0,
            grade: self.quality.grade(),
        });
    }

    fn hear(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Event(event) => self.feed.offer(event),
            News::Head(thread_id, seq) => self.feed.hear(thread_id, seq),
            News::Delta(delta) if self.feed.is_live(delta.thread_id) => {
                self.ready.push_back(Frame::Delta(delta));
            }
            News::Typing(typing) if self.feed.is_live(typing.thread_id) => {
                self.ready.push_back(Frame::Typing(typing));
            }
            News::Account(seq) => {
                if let Some(account) = &mut self.account {
                    account.hear(seq);
                }
            }
            News::Delta(_) | News::Typing(_) | News::Changes | News::Presence => {}
            News::Lost(thread_id) => {
                if self.forget(thread_id) {
                    self.ready.push_back(Frame::Detached(thread_id));
                    if self.feed.is_empty() && self.account.is_none() {
                        return Err(Error::ThreadNotFound);
                    }
                }
            }
        }
        Ok(())
    }

    /// Does what calls have left for this stream. What cannot be done is told like what ends later: calls are not
    /// answered here.
    async fn take_changes(&mut self) -> Result<(), Error> {
        for change in self.service.take_changes(&self.registration).await? {
            for thread_id in change.forget {
                self.forget(thread_id);
            }
            for wish in change.follow {
                match self.follow(&wish).await {
                    Ok(()) => {}
                    Err(Error::ThreadNotFound | Error::Invalid(_)) => {
                        self.ready.push_back(Frame::Detached(wish.thread_id));
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(accounts) = change.watch {
                // Through which threads was found on the node that took the call; it is asked when they are told of.
                self.watch(accounts, &Through::new());
            }
        }
        Ok(())
    }

    /// Has it told whether these people are there, and nobody else.
    fn watch(&mut self, accounts: BTreeSet<AccountId>, through: &Through) {
        let known = |account| {
            let before = self.watched.get(&account).copied().unwrap_or_default();
            (account, Watch { through: through.get(&account).copied().or(before.through), ..before })
        };
        self.watched = accounts.into_iter().map(known).collect();
        self.registration.watch(self.watched.keys());
    }

    async fn tell_presence(&mut self) -> Result<(), Error> {
        let changes = self.registration.presence_changes(&self.watched);
        if changes.is_empty() {
            return Ok(());
        }
        let changes = self.service.seen(&self.caller, changes).await?;
        for Sighting { account, presence, through } in &changes {
            self.watched.insert(*account, Watch { told: Some(*presence), through: *through });
        }
        if !changes.is_empty() {
            self.ready.push_back(Frame::Presence(changes));
        }
        Ok(())
    }

    /// Stops following a thread, and waiting for answers in it; whether it was followed.
    fn forget(&mut self, thread_id: ThreadId) -> bool {
        self.registration.forget(thread_id);
        self.awaited.retain(|_, of| *of != thread_id);
        self.feed.forget(thread_id)
    }

    fn tell(&mut self, notice: Notice) -> Frame {
        if let Notice::Event(event) = &notice {
            self.registration.told(event.thread_id, event.seq);
            if !self.awaited.is_empty() {
                let answered = match &event.change {
                    Change::MessageCreated(message) if matches!(message.author, Actor::Agent(_)) => {
                        message.reply_to
                    }
                    Change::AgentTurnFailed { message_id, .. } => Some(*message_id),
                    _ => None,
                };
                answered.map(|message_id| self.awaited.remove(&message_id));
            }
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
            Some(Inbound::Refused { request_id, client_message_id, why }) => {
                self.refuse(request_id, client_message_id, &why);
            }
            Some(Inbound::Frame(ClientFrame { request_id, body })) => {
                Box::pin(self.carry_out(request_id, body)).await;
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, request_id: String, body: ClientBody) {
        let client_message_id = body.client_message_id();
        match self.done(body).await {
            Ok(Some(done)) => self.ready.push_back(Frame::Ack(Ack { request_id, ..done })),
            Ok(None) => {}
            Err(error) => {
                let client_message_id = client_message_id.map(|id| id.to_string()).unwrap_or_default();
                self.refuse(request_id, client_message_id, &error);
            }
        }
    }

    /// Does what a frame asks for. Returns what is to be acknowledged, if anything is.
    async fn done(&mut self, body: ClientBody) -> Result<Option<Ack>, Error> {
        match body {
            ClientBody::Hello(_) => Err(Error::HelloExpected),
            ClientBody::Subscribe(wish) => {
                self.follow(&wish).await?;
                Ok(Some(Ack::of_thread(wish.thread_id, 0)))
            }
            ClientBody::Unsubscribe(thread_id) => {
                self.forget(thread_id);
                Ok(Some(Ack::of_thread(thread_id, 0)))
            }
            ClientBody::Ack(positions) => self.acknowledge(&positions).map(|()| None),
            ClientBody::Pong(nonce) => {
                self.hear_pong(nonce);
                Ok(None)
            }
            ClientBody::Send(draft) => self.send(draft).await.map(Some),
            ClientBody::Edit(edit) => {
                let message_id = edit.message_id;
                let seq = self.service.edit(&self.caller, edit, None).await?.seq;
                Ok(Some(Ack::of_message(message_id, seq)))
            }
            ClientBody::Delete(message_id) => {
                let seq = self.service.delete(&self.caller, message_id, None).await?;
                Ok(Some(Ack::of_message(message_id, seq)))
            }
            ClientBody::AddReaction(reaction) => {
                let message_id = reaction.message_id;
                let seq = self.service.add_reaction(&self.caller, reaction, None).await?;
                Ok(Some(Ack::of_message(message_id, seq)))
            }
            ClientBody::RemoveReaction(reaction) => {
                let message_id = reaction.message_id;
                let seq = self.service.remove_reaction(&self.caller, reaction, None).await?;
                Ok(Some(Ack::of_message(message_id, seq)))
            }
            ClientBody::Typing(thread_id, typing) => {
                self.service.set_typing(&self.caller, thread_id, typing).await?;
                Ok(None)
            }
            ClientBody::Watch(accounts) => {
                let through = self.service.check_watched(&self.caller, &accounts).await?;
                self.watch(accounts, &through);
                Ok(Some(Ack::default()))
            }
            ClientBody::Presence(mode, idle) => {
                let said = PresenceSaid { mode, device: Some((self.registration.id(), idle)) };
                self.service.set_presence(&self.caller, said).await?;
                Ok(Some(Ack::default()))
            }
            ClientBody::Reauthenticate(token) => {
                self.service.reauthenticate(&self.caller, self.registration.inbox(), &token).await?;
                Ok(Some(Ack::default()))
            }
            ClientBody::MarkRead(thread_id, up_to) => {
                let mark = self.service.mark_read(&self.caller, thread_id, up_to).await?;
                Ok(Some(Ack::of_thread(thread_id, mark)))
            }
        }
    }

    fn hear_pong(&mut self, nonce: i64) {
        if nonce == self.nonce {
            let now = self.service.world().now();
            if let Some(at) = self.pinged_at.take() {
                self.round_trip = Some(now.since(at));
                self.quality.note(self.round_trip);
            }
        }
    }

    async fn send(&mut self, draft: Draft) -> Result<Ack, Error> {
        let (thread_id, client_message_id) = (draft.thread_id, draft.client_message_id);
        let sent = self.service.send(&self.caller, draft).await?;
        if sent.awaits_answer && self.feed.follows(thread_id) {
            self.awaited.insert(sent.message.id, thread_id);
        }
        Ok(Ack {
            message_id: Some(sent.message.id),
            client_message_id: Some(client_message_id),
            duplicate: sent.duplicate,
            ..Ack::of_thread(thread_id, sent.message.seq)
        })
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
