//! The machine: which state follows on what happens, and what is to be done. There is one stream at most, and one
//! timer. It must not know how its commands are carried out.
//!
//! A stream ends in three ways. The server or the network ends it ([`Input::Closed`]), the client gives it up because
//! it lost something or nothing comes any more, or the application changes what it wants. The first two are failures,
//! and wait; all of them come back through [`Machine::proceed`], which alone decides what is next.

mod told;

use super::account::Account;
use super::acks::Acks;
use super::backoff::Backoff;
use super::cursors::Cursors;
use super::outbox::Outbox;
use super::quality::{Grade, Quality};
use super::verdict::{self, Verdict, code};
use super::words::{
    AccountCursor, Command, Draft, GoAway, Input, NotTaken, Start, Status, StreamNumber, ThreadId, Transport,
    Wish, Word,
};

/// How many unsettled messages are kept, unless it is said otherwise.
pub const OUTBOX_MESSAGES_MAX: usize = 1_000;
/// How long a stream may take to be there, and then to say Welcome, in milliseconds.
pub const WELCOME_MS: u64 = 10_000;
/// How long a stream may take to end after GoAway, in milliseconds.
pub const GOODBYE_MS: u64 = 5_000;
/// How long changes of the threads are gathered when they need a new stream, in milliseconds.
pub const GATHER_MS: u64 = 50;
/// The shortest heartbeat interval that is believed, in milliseconds.
pub const HEARTBEAT_MS_MIN: u64 = 1_000;

/// What a machine is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The kind of stream.
    pub transport: Transport,
    /// How many unsettled messages are kept.
    pub outbox_messages_max: usize,
    /// Where to begin in the log of the account, if it is to be told.
    pub account: Option<AccountCursor>,
}

impl Config {
    /// As usual, for this kind of stream: threads alone.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self { transport, outbox_messages_max: OUTBOX_MESSAGES_MAX, account: None }
    }
}

/// Where the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not started, or stopped: by the application, or because trying again would not help.
    Stopped,
    /// There is nothing to be told.
    Idle,
    /// There is no network.
    Offline,
    /// A time has to pass before the next attempt.
    Waiting,
    /// The token is being refreshed.
    Refreshing,
    /// Somebody has to sign in.
    SignedOut,
    /// A stream is being opened; there was no Welcome yet.
    Connecting,
    /// The past of some thread, or of the account's log, is still being told.
    CatchingUp,
    /// Everything is told as it happens.
    Live,
    /// The server said GoAway; the status is awaited.
    Closing,
}

impl State {
    fn has_stream(self) -> bool {
        matches!(self, Self::Connecting | Self::CatchingUp | Self::Live | Self::Closing)
    }

    fn is_connected(self) -> bool {
        matches!(self, Self::CatchingUp | Self::Live)
    }
}

/// One client of one account. Its memory is bounded by the threads of a stream and the size of the outbox.
#[derive(Clone, Debug)]
pub struct Machine {
    transport: Transport,
    state: State,
    online: bool,
    cursors: Cursors,
    account: Option<Account>,
    outbox: Outbox,
    backoff: Backoff,
    quality: Quality,
    acks: Acks,
    /// The number of the newest stream.
    stream: StreamNumber,
    go_away: Option<GoAway>,
    heartbeat_ms: u64,
    heard_at: u64,
    /// The longest silence before the stream counts as dead.
    silence_ms: u64,
    must_refresh: bool,
    /// No stream is opened before this.
    reopen_at: u64,
    /// What of `reopen_at` the server asked for.
    asked_until: u64,
    /// When the timer will ring.
    armed: Option<u64>,
}

/// One input being worked off.
struct Turn {
    now: u64,
    random: u64,
    commands: Vec<Command>,
}

impl Turn {
    fn say(&mut self, command: Command) {
        self.commands.push(command);
    }
}

impl Machine {
    /// Stopped, and following nothing.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            transport: config.transport,
            state: State::Stopped,
            online: true,
            cursors: Cursors::default(),
            account: config.account.map(Account::new),
            outbox: Outbox::new(config.outbox_messages_max),
            backoff: Backoff::default(),
            quality: Quality::default(),
            acks: Acks::default(),
            stream: 0,
            go_away: None,
            heartbeat_ms: HEARTBEAT_MS_MIN,
            heard_at: 0,
            silence_ms: WELCOME_MS,
            must_refresh: false,
            reopen_at: 0,
            asked_until: 0,
            armed: None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// How good the connection is.
    #[must_use]
    pub fn quality(&self) -> Grade {
        self.quality.grade()
    }

    /// Where a stream would begin in a thread: what an application keeps for its next start.
    #[must_use]
    pub fn position(&self, thread: &ThreadId) -> Option<Start> {
        self.cursors.start(thread)
    }

    /// Where a stream would begin in the log of the account: what an application keeps for its next start.
    #[must_use]
    pub fn account_position(&self) -> Option<AccountCursor> {
        self.account.map(|account| account.cursor())
    }

    /// How many messages are unsettled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.outbox.len()
    }

    /// Takes what happened at `now`, in milliseconds, and says what is to be done. `random` is drawn anew for each
    /// input, from all numbers alike; most inputs leave it unused.
    pub fn handle(&mut self, now: u64, random: u64, input: Input) -> Vec<Command> {
        let before = self.state;
        let mut turn = Turn { now, random, commands: Vec::new() };
        self.take(&mut turn, input);
        if self.state != before {
            turn.say(Command::State(self.state));
        }
        if let Some(grade) = self.quality.judge(now) {
            turn.say(Command::Quality(grade));
        }
        self.arm(&mut turn);
        turn.commands
    }

    fn take(&mut self, turn: &mut Turn, input: Input) {
        match input {
            Input::Start => self.start(turn),
            Input::Stop => self.stop(turn),
            Input::Follow(wish) => self.follow(turn, wish),
            Input::Unfollow(thread) => self.unfollow(turn, &thread),
            Input::Send(draft) => self.send(turn, draft),
            Input::Opened(stream) if self.is_open(stream) => self.opened(turn),
            Input::Frame(stream, frame) if self.is_open(stream) => self.frame(turn, frame),
            Input::Closed(stream, status) if self.is_open(stream) => self.lose(turn, &status),
            // Of a stream that was given up.
            Input::Opened(_) | Input::Frame(..) | Input::Closed(..) => {}
            Input::Answered(receipt) => self.acked(turn, receipt),
            Input::Rejected(refusal) => self.nacked(turn, &refusal),
            Input::Timer => self.timer(turn),
            Input::TokenRefreshed => self.refreshed(turn),
            Input::RefreshFailed => self.refresh_failed(turn),
            Input::RefreshRefused { reason } => self.refresh_refused(turn, reason),
            Input::NetworkUp => self.network_up(turn),
            Input::NetworkDown => self.network_down(turn),
        }
    }

    fn is_open(&self, stream: StreamNumber) -> bool {
        self.state.has_stream() && self.stream == stream
    }

    fn enter(&mut self, now: u64, state: State) {
        match (self.state, state) {
            (State::Live, State::Live) => {}
            (_, State::Live) => self.backoff.live(now),
            (State::Live, _) => self.backoff.no_longer_live(now),
            _ => {}
        }
        self.state = state;
    }

    /// Without a stream: what is next.
    fn proceed(&mut self, turn: &mut Turn) {
        let next = if !self.online {
            State::Offline
        } else if !self.has_purpose() {
            State::Idle
        } else if turn.now < self.reopen_at {
            State::Waiting
        } else if self.must_refresh {
            turn.say(Command::RefreshToken);
            State::Refreshing
        } else {
            self.open(turn);
            State::Connecting
        };
        self.enter(turn.now, next);
    }

    fn open(&mut self, turn: &mut Turn) {
        self.stream = self.stream.saturating_add(1);
        self.heard_at = turn.now;
        self.silence_ms = WELCOME_MS;
        let account = self.account.as_mut().map(Account::open);
        turn.say(Command::Open { stream: self.stream, wishes: self.cursors.open(), account });
    }

    /// Whether there is anything to be told.
    fn has_purpose(&self) -> bool {
        self.account.is_some() || !self.cursors.is_empty()
    }

    /// The transport is there: from now on the server has the time for its Welcome.
    fn opened(&mut self, turn: &Turn) {
        if self.state == State::Connecting {
            self.heard_at = turn.now;
        }
    }

    /// Ends the stream from this side. What GoAway asked for holds all the same.
    fn close(&mut self, turn: &mut Turn) {
        turn.say(Command::Close { stream: self.stream });
        if let Some(go_away) = self.go_away {
            self.asked_until = turn.now.saturating_add(go_away.reconnect_after);
            self.reopen_at = self.reopen_at.max(self.asked_until);
        }
        self.forget_stream(turn.now);
    }

    fn forget_stream(&mut self, now: u64) {
        self.go_away = None;
        self.outbox.lose_answers();
        self.acks.clear();
        self.backoff.no_longer_live(now);
    }

    /// Gives a stream up that lost something, or from which nothing comes any more.
    fn abandon(&mut self, turn: &mut Turn) {
        turn.say(Command::Close { stream: self.stream });
        self.lose(turn, &Status { code: code::UNAVAILABLE, reason: String::new(), retry_after: 0 });
    }

    /// The stream is lost: waits, and does what its end asks for.
    fn lose(&mut self, turn: &mut Turn, status: &Status) {
        let go_away = self.go_away;
        let verdict = verdict::judge(status, go_away.as_ref());
        self.forget_stream(turn.now);
        self.quality.lost(turn.now);
        let said = go_away.map(|frame| frame.reconnect_after).filter(|wait| *wait > 0);
        self.wait(turn, verdict, said.unwrap_or(status.retry_after));
        match verdict {
            Verdict::Resume => self.proceed(turn),
            Verdict::Refresh => {
                self.must_refresh = true;
                self.proceed(turn);
            }
            Verdict::SignIn => self.sign_in(turn, status.reason.clone()),
            Verdict::Stop => {
                turn.say(Command::GaveUp { reason: status.reason.clone() });
                self.enter(turn.now, State::Stopped);
            }
        }
    }

    /// Sets the time of the next attempt after a failure: when the server asked for, else at random.
    fn wait(&mut self, turn: &Turn, verdict: Verdict, asked: u64) {
        let first = self.backoff.is_fresh();
        let own = self.backoff.fail(turn.random);
        let wait = match verdict {
            _ if asked > 0 => asked,
            // A token expires in the best of connections. One that does so again at once has to wait like all else.
            Verdict::Refresh if first => 0,
            _ => own,
        };
        self.asked_until = turn.now.saturating_add(asked);
        self.reopen_at = turn.now.saturating_add(wait);
    }

    fn sign_in(&mut self, turn: &mut Turn, reason: String) {
        self.must_refresh = false;
        turn.say(Command::SignIn { reason });
        self.enter(turn.now, State::SignedOut);
    }

    fn start(&mut self, turn: &mut Turn) {
        if self.state == State::Stopped {
            self.proceed(turn);
        }
    }

    fn stop(&mut self, turn: &mut Turn) {
        if self.state.has_stream() {
            self.close(turn);
        }
        self.enter(turn.now, State::Stopped);
    }

    fn follow(&mut self, turn: &mut Turn, wish: Wish) {
        let thread = wish.thread.clone();
        match self.cursors.follow(wish.clone()) {
            Err(_full) => turn.say(Command::NotTaken(NotTaken::TooManyThreads(thread))),
            Ok(false) => {}
            Ok(true) => match self.state {
                State::Idle => self.proceed(turn),
                State::Connecting => self.regroup(turn),
                State::CatchingUp | State::Live if self.transport == Transport::Subscribe => {
                    self.regroup(turn);
                }
                State::CatchingUp | State::Live => {
                    turn.say(Command::SendFrame(Word::Subscribe(wish)));
                    self.look(turn);
                }
                _ => {}
            },
        }
    }

    fn unfollow(&mut self, turn: &mut Turn, thread: &ThreadId) {
        if self.outbox.has(thread) {
            self.cursors.mute(thread);
        } else {
            self.leave(turn, thread);
        }
    }

    /// Takes a thread from the stream. On Subscribe what still comes of it is ignored: a new stream would cost more.
    fn leave(&mut self, turn: &mut Turn, thread: &ThreadId) {
        if !self.cursors.forget(thread) {
            return;
        }
        match self.state {
            State::Idle | State::Waiting => self.proceed(turn),
            State::Connecting => self.regroup(turn),
            State::CatchingUp | State::Live => {
                if self.transport == Transport::Converse && self.has_purpose() {
                    turn.say(Command::SendFrame(Word::Unsubscribe(thread.clone())));
                }
                self.look(turn);
            }
            _ => {}
        }
    }

    /// Opens anew with other threads, and waits a little for more of them.
    fn regroup(&mut self, turn: &mut Turn) {
        self.close(turn);
        self.reopen_at = self.reopen_at.max(turn.now.saturating_add(GATHER_MS));
        self.proceed(turn);
    }

    /// On a stream that is welcomed: whether it still has a purpose, and whether all of it is live.
    fn look(&mut self, turn: &mut Turn) {
        if self.has_purpose() {
            let live = self.cursors.are_live() && self.account.is_none_or(|account| account.is_live());
            let next = if live { State::Live } else { State::CatchingUp };
            self.enter(turn.now, next);
        } else {
            self.close(turn);
            self.proceed(turn);
        }
    }

    fn send(&mut self, turn: &mut Turn, draft: Draft) {
        let id = draft.client_message_id.clone();
        if self.outbox.knows(&id) {
            return;
        }
        if !self.cursors.follows(&draft.thread) {
            turn.say(Command::NotTaken(NotTaken::NotFollowed(id)));
        } else if self.outbox.push(draft).is_err() {
            turn.say(Command::NotTaken(NotTaken::OutboxFull(id)));
        }
        self.flush(turn);
    }

    /// Sends what is due, while somebody hears it.
    fn flush(&mut self, turn: &mut Turn) {
        if !self.state.is_connected() {
            return;
        }
        for draft in self.outbox.due(turn.now) {
            turn.say(match self.transport {
                Transport::Converse => Command::SendFrame(Word::Send(draft)),
                Transport::Subscribe => Command::CallSend(draft),
            });
        }
    }

    fn timer(&mut self, turn: &mut Turn) {
        self.armed = None;
        if self.state.has_stream() && turn.now >= self.heard_at.saturating_add(self.silence_ms) {
            self.abandon(turn);
        } else if self.state == State::Waiting {
            self.proceed(turn);
        } else if self.state.is_connected() {
            self.acknowledge(turn);
            self.flush(turn);
        }
    }

    /// Sets the timer when something is due before it would ring. What is due later waits for that ring and sets it
    /// again, so that a busy stream leaves the timer alone.
    fn arm(&mut self, turn: &mut Turn) {
        let silence = self.state.has_stream().then(|| self.heard_at.saturating_add(self.silence_ms));
        let reopen = (self.state == State::Waiting).then_some(self.reopen_at);
        let connected = self.state.is_connected();
        let acks = self.acks.due_at().filter(|_| connected);
        let outbox = self.outbox.due_at().filter(|_| connected);
        let due = [silence, reopen, acks, outbox].into_iter().flatten().min();
        if let Some(at) = due
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.armed = Some(at);
            turn.say(Command::SetTimer { at });
        }
    }

    fn refreshed(&mut self, turn: &mut Turn) {
        self.must_refresh = false;
        if matches!(self.state, State::Refreshing | State::SignedOut) {
            self.proceed(turn);
        }
    }

    fn refresh_failed(&mut self, turn: &mut Turn) {
        if self.state == State::Refreshing {
            self.reopen_at = turn.now.saturating_add(self.backoff.fail(turn.random));
            self.proceed(turn);
        }
    }

    fn refresh_refused(&mut self, turn: &mut Turn, reason: String) {
        if self.state == State::Refreshing {
            self.sign_in(turn, reason);
        }
    }

    fn network_up(&mut self, turn: &mut Turn) {
        if std::mem::replace(&mut self.online, true) {
            return;
        }
        // What failed, failed for want of a network; only what the server asked for is still waited for.
        self.reopen_at = self.asked_until;
        if self.state == State::Offline {
            self.proceed(turn);
        }
    }

    fn network_down(&mut self, turn: &mut Turn) {
        self.online = false;
        if self.state.has_stream() {
            self.close(turn);
            self.quality.lost(turn.now);
            self.proceed(turn);
        } else if matches!(self.state, State::Idle | State::Waiting) {
            self.proceed(turn);
        }
    }
}
