//! A server in memory and a network that cuts streams at any frame, loses answers, and goes away: whatever happens, in
//! whatever order, once everybody calms down each event was delivered once and in order, and each message was written
//! once and in the order in which it was sent.

use std::collections::{BTreeMap, VecDeque};

use capecontrol_client::chat::words::{
    AccountCursor, ClientMessageId, Command, Draft, Frame, GoAway, GoAwayCode, Input, MessageId, Own,
    Receipt, Refusal, Start, Status, ThreadId, Transport, Wish, Word,
};
use capecontrol_client::chat::{Config, State};
use proptest::prelude::*;

use crate::watch::Watch;

const THREADS: u64 = 3;

/// A thread at the server: who wrote each event, if it was this client.
#[derive(Default)]
struct Log {
    epoch: i64,
    events: Vec<Option<ClientMessageId>>,
}

/// The server's end of a stream.
struct Link {
    stream: u64,
    /// What is on its way to the client, and what is on its way from it.
    frames: VecDeque<Frame>,
    words: VecDeque<Word>,
    /// Up to where each thread was told.
    heads: BTreeMap<ThreadId, i64>,
    /// Up to where the account's log was told, if it is.
    account: Option<i64>,
}

struct World {
    watch: Watch,
    now: u64,
    random: u64,
    up: bool,
    /// Refuses messages for now.
    busy: bool,
    logs: BTreeMap<ThreadId, Log>,
    link: Option<Link>,
    calls: VecDeque<Draft>,
    /// What the client will hear of by and by: ends of streams, answers, tokens.
    news: VecDeque<Input>,
    /// What the application has of each thread.
    app: BTreeMap<ThreadId, Vec<Option<ClientMessageId>>>,
    sent: BTreeMap<ThreadId, Vec<ClientMessageId>>,
    /// The newest entry of the account's log, how many are kept, and its epoch.
    account: AccountLog,
    opened: usize,
}

/// The log of the account at the server. Only the newest few entries are kept.
struct AccountLog {
    last: i64,
    epoch: i64,
}

const ENTRIES_KEPT: i64 = 4;

fn thread(number: u64) -> ThreadId {
    ThreadId(format!("t{}", number % THREADS))
}

fn broken() -> Status {
    Status { code: 14, reason: String::new(), retry_after: 0 }
}

impl World {
    fn new(transport: Transport, listens: bool) -> Self {
        let account = listens.then(AccountCursor::default);
        let logs = (0..THREADS).map(|number| (thread(number), Log { epoch: 1, events: Vec::new() }));
        let mut world = Self {
            watch: Watch::new(Config { outbox_messages_max: 8, account, ..Config::new(transport) }),
            now: 1,
            random: 1,
            up: true,
            busy: false,
            logs: logs.collect(),
            link: None,
            calls: VecDeque::new(),
            news: VecDeque::new(),
            app: BTreeMap::new(),
            sent: BTreeMap::new(),
            account: AccountLog { last: 0, epoch: 1 },
            opened: 0,
        };
        world.happens(Input::Start);
        world
    }

    fn happens(&mut self, input: Input) {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        for command in self.watch.handle(self.now, mixed ^ (mixed >> 27), input.clone()) {
            self.carry_out(command, &input);
        }
    }

    fn carry_out(&mut self, command: Command, input: &Input) {
        match command {
            Command::Open { stream, wishes, account } => self.open(stream, &wishes, account),
            Command::Close { .. } => self.link = None,
            Command::SendFrame(word) => {
                // A stream that is cut takes what is said and tells nobody.
                if let Some(link) = &mut self.link {
                    link.words.push_back(word);
                }
            }
            Command::CallSend(draft) => self.calls.push_back(draft),
            Command::RefreshToken | Command::SignIn { .. } => self.news.push_back(Input::TokenRefreshed),
            Command::Deliver { thread, seq } => {
                let Input::Frame(_, Frame::Event { thread: of, seq: at, own }) = input else {
                    panic!("no event")
                };
                assert_eq!((&thread, seq), (of, *at));
                self.app
                    .entry(thread)
                    .or_default()
                    .push(own.as_ref().map(|own| own.client_message_id.clone()));
            }
            Command::Reset { thread } => self.app.entry(thread).or_default().clear(),
            Command::Failed { client_message_id, reason } => panic!("{client_message_id:?} failed: {reason}"),
            Command::NotTaken(_) => panic!("the world asks for nothing that is not taken"),
            Command::GaveUp { reason } => panic!("gave up: {reason}"),
            _ => {}
        }
    }

    fn open(&mut self, stream: u64, wishes: &[Wish], account: Option<AccountCursor>) {
        assert!(self.link.is_none());
        self.opened += 1;
        if !self.up {
            self.news.push_back(Input::Closed(stream, broken()));
            return;
        }
        let welcome = Frame::Welcome { connection_id: stream.to_string(), heartbeat_interval: 15_000 };
        let mut frames = VecDeque::from([welcome]);
        if let Some(cursor) = account {
            self.tell_account(cursor, &mut frames);
        }
        let told = account.map(|_| self.account.last);
        self.link =
            Some(Link { stream, frames, words: VecDeque::new(), heads: BTreeMap::new(), account: told });
        for wish in wishes {
            self.tell_past(wish);
        }
    }

    /// As src/chat/model/account_feed.rs of the server does it.
    fn tell_account(&self, cursor: AccountCursor, frames: &mut VecDeque<Frame>) {
        let AccountLog { last, epoch } = self.account;
        let useful = cursor.epoch == epoch && (last - ENTRIES_KEPT..=last).contains(&cursor.seq);
        if useful {
            frames.extend((cursor.seq + 1..=last).map(|seq| Frame::AccountEvent { seq, epoch }));
        } else {
            frames.push_back(Frame::AccountSnapshot { seq: last, epoch });
        }
        frames.push_back(Frame::AccountLive { seq: last, epoch });
    }

    /// Something happens to the account.
    fn concern(&mut self) {
        self.account.last += 1;
        let AccountLog { last: seq, epoch } = self.account;
        if let Some(link) = &mut self.link
            && let Some(told) = &mut link.account
        {
            *told = seq;
            link.frames.push_back(Frame::AccountEvent { seq, epoch });
        }
    }

    /// As src/chat/model/feed.rs of the server does it.
    fn tell_past(&mut self, wish: &Wish) {
        let (Some(link), Some(log)) = (&mut self.link, self.logs.get(&wish.thread)) else { return };
        let last = i64::try_from(log.events.len()).unwrap();
        let Start::After { seq, epoch } = wish.start else { panic!("the world asks for all") };
        let reset = (epoch != 0 && epoch != log.epoch) || seq > last;
        let sent = if reset { 0 } else { seq };
        let thread = || wish.thread.clone();
        if sent < last || reset {
            let (from, to, epoch) = (sent + 1, last, log.epoch);
            link.frames.push_back(Frame::CatchUp { thread: thread(), from, to, reset, epoch });
        }
        for seq in sent + 1..=last {
            link.frames.push_back(event(&wish.thread, seq, log));
        }
        link.frames.push_back(Frame::Live { thread: thread(), seq: last, epoch: log.epoch });
        link.heads.insert(thread(), last);
    }

    /// Writes a message, unless it was written before.
    fn write(&mut self, thread: &ThreadId, id: Option<ClientMessageId>) -> Option<Receipt> {
        let log = self.logs.get_mut(thread).unwrap();
        let before = log.events.iter().position(|event| id.is_some() && *event == id);
        let at = before.unwrap_or_else(|| {
            log.events.push(id.clone());
            log.events.len() - 1
        });
        let seq = i64::try_from(at).unwrap() + 1;
        if before.is_none()
            && let Some(link) = &mut self.link
            && let Some(head) = link.heads.get_mut(thread)
        {
            *head = seq;
            link.frames.push_back(event(thread, seq, log));
        }
        let message_id = MessageId(format!("{}/{seq}", thread.0));
        Some(Receipt { client_message_id: id?, message_id, seq, duplicate: before.is_some() })
    }

    fn refusal(draft: &Draft) -> Refusal {
        let status = Status { code: 14, reason: "DATABASE_UNAVAILABLE".to_owned(), retry_after: 20 };
        Refusal { request_id: draft.client_message_id.0.clone(), status, retryable: true }
    }

    fn read_word(&mut self) {
        let Some(word) = self.link.as_mut().and_then(|link| link.words.pop_front()) else { return };
        let answer = match word {
            Word::Send(draft) if self.busy => Frame::Nack(Self::refusal(&draft)),
            Word::Send(draft) => {
                Frame::Ack(self.write(&draft.thread, Some(draft.client_message_id)).unwrap())
            }
            Word::Subscribe(wish) => return self.tell_past(&wish),
            Word::Unsubscribe(thread) => {
                self.link.as_mut().unwrap().heads.remove(&thread);
                return;
            }
            Word::Ack(positions) => {
                let heads = &self.link.as_ref().unwrap().heads;
                let told = |(thread, seq): &(ThreadId, i64)| heads.get(thread).is_none_or(|head| seq <= head);
                assert!(positions.iter().all(told), "acknowledges what was not told");
                return;
            }
            Word::Pong { .. } => return,
        };
        self.link.as_mut().unwrap().frames.push_back(answer);
    }

    /// Carries a call out, or not; the answer may be lost.
    fn answer_call(&mut self, lose: bool) {
        let Some(draft) = self.calls.pop_front() else { return };
        let refusal = Self::refusal(&draft);
        let answer = if self.busy || !self.up {
            Input::Rejected(refusal)
        } else {
            let receipt = self.write(&draft.thread, Some(draft.client_message_id)).unwrap();
            if lose { Input::Rejected(refusal) } else { Input::Answered(receipt) }
        };
        self.news.push_back(answer);
    }

    fn hear_frame(&mut self) {
        let Some(link) = &mut self.link else { return };
        let stream = link.stream;
        if let Some(frame) = link.frames.pop_front() {
            self.happens(Input::Frame(stream, frame));
        }
    }

    fn cut(&mut self, status: Status) {
        if let Some(link) = self.link.take() {
            self.news.push_back(Input::Closed(link.stream, status));
        }
    }

    fn farewell(&mut self, code: GoAwayCode, status: Status) {
        let Some(link) = &mut self.link else { return };
        link.frames.push_back(Frame::GoAway(GoAway { code, resume: true, reconnect_after: 0 }));
        while self.link.as_ref().is_some_and(|link| !link.frames.is_empty()) {
            self.hear_frame();
        }
        self.cut(status);
    }

    fn ring(&mut self) {
        if self.watch.armed.is_some_and(|at| at <= self.now) {
            self.happens(Input::Timer);
        }
    }

    fn follow(&mut self, thread: ThreadId) {
        let seq = i64::try_from(self.app.get(&thread).map_or(0, Vec::len)).unwrap();
        self.happens(Input::Follow(Wish { thread, start: Start::After { seq, epoch: 0 } }));
    }

    fn say(&mut self, thread: ThreadId, number: u64) {
        if self.watch.machine.unsettled() >= 8 || !self.watch.followed.contains_key(&thread) {
            return;
        }
        let client_message_id = ClientMessageId(format!("m{number}"));
        self.sent.entry(thread.clone()).or_default().push(client_message_id.clone());
        self.happens(Input::Send(Draft { thread, client_message_id, text: "x".to_owned() }));
    }

    /// Something happens: what, and with which number.
    fn step(&mut self, what: u8, number: u64, count: u64) {
        match what {
            0..=5 => (0..=number % 8).for_each(|_| self.hear_frame()),
            6 | 7 => self.read_word(),
            8..=10 => self.say(thread(number), count),
            11 | 12 => drop(self.write(&thread(number), None)),
            13 => self.cut(broken()),
            14 => {
                self.up = false;
                self.cut(broken());
            }
            15 => self.up = true,
            16 | 17 => {
                self.now += number % 20_000;
                self.ring();
            }
            18 => self.beat(),
            19 => self.farewell(GoAwayCode::Draining, broken()),
            20 => {
                let expired = Status { code: 16, reason: "TOKEN_EXPIRED".to_owned(), retry_after: 0 };
                self.farewell(GoAwayCode::Unauthenticated, expired);
            }
            21 => {
                self.logs.get_mut(&thread(number)).unwrap().epoch += 1;
                self.cut(broken());
            }
            22 | 23 => self.answer_call(number.is_multiple_of(2)),
            24 => self.happens(Input::NetworkDown),
            25 => self.happens(Input::NetworkUp),
            26 => self.busy = !self.busy,
            27 | 28 => self.follow(thread(number)),
            29 => self.happens(Input::Unfollow(thread(number))),
            30 => self.lose_event(),
            31 => (0..number % 7).for_each(|_| self.concern()),
            32 if number.is_multiple_of(4) => {
                self.account = AccountLog { last: self.account.last / 2, epoch: self.account.epoch + 1 };
                self.cut(broken());
            }
            _ => {
                if let Some(input) = self.news.pop_front() {
                    self.happens(input);
                }
            }
        }
    }

    /// No network does this. A client has to notice it all the same.
    fn lose_event(&mut self) {
        let Some(link) = &mut self.link else { return };
        let is_event = |frame: &Frame| matches!(frame, Frame::Event { .. } | Frame::AccountEvent { .. });
        let event = link.frames.iter().position(is_event);
        event.map(|at| link.frames.remove(at));
    }

    fn beat(&mut self) {
        if let Some(link) = &mut self.link {
            let heads = link.heads.iter().map(|(thread, seq)| (thread.clone(), *seq)).collect();
            let account = link.account.unwrap_or(0);
            link.frames.push_back(Frame::Heartbeat { nonce: 1, heads, account, round_trip: None });
        }
    }

    /// Everything works again, and everybody says what is left to say.
    fn calm_down(&mut self) {
        (self.up, self.busy) = (true, false);
        self.happens(Input::NetworkUp);
        (0..THREADS).for_each(|number| self.follow(thread(number)));
        let opened = self.opened;
        let mut asked = false;
        for _ in 0..200 {
            self.settle();
            if self.watch.machine.state() != State::Live || self.watch.machine.unsettled() > 0 {
                self.now = self.now.max(self.watch.armed.unwrap_or(self.now));
                self.ring();
            } else if std::mem::replace(&mut asked, true) {
                break;
            } else {
                // Nothing but a heartbeat tells of an event that was lost and had no other behind it.
                self.write(&thread(0), None);
                self.lose_event();
                self.beat();
            }
        }
        assert!(self.opened - opened < 10, "{} streams to calm down", self.opened - opened);
    }

    fn settle(&mut self) {
        loop {
            let link = self.link.as_ref();
            if let Some(input) = self.news.pop_front() {
                self.happens(input);
            } else if link.is_some_and(|link| !link.words.is_empty()) {
                self.read_word();
            } else if link.is_some_and(|link| !link.frames.is_empty()) {
                self.hear_frame();
            } else if !self.calls.is_empty() {
                self.answer_call(false);
            } else {
                return;
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.watch.machine.state(), State::Live);
        assert_eq!(self.watch.machine.unsettled(), 0);
        assert!(self.watch.account.is_none_or(|have| have == self.account.last), "{:?}", self.watch.account);
        for (thread, log) in &self.logs {
            assert_eq!(self.app.get(thread).map_or(&[][..], Vec::as_slice), log.events, "{thread:?}");
            let written: Vec<_> = log.events.iter().flatten().cloned().collect();
            assert_eq!(written, self.sent.get(thread).cloned().unwrap_or_default(), "{thread:?}");
        }
    }
}

fn event(thread: &ThreadId, seq: i64, log: &Log) -> Frame {
    let writer = log.events[usize::try_from(seq).unwrap() - 1].clone();
    let message_id = MessageId(format!("{}/{seq}", thread.0));
    let own = writer.map(|client_message_id| Own { client_message_id, message_id });
    Frame::Event { thread: thread.clone(), seq, own }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn once_all_is_calm_nothing_was_lost_or_told_twice(
        steps in prop::collection::vec((0_u8..36, any::<u64>()), 0..150),
        (converse, listens) in any::<(bool, bool)>(),
    ) {
        let transport = if converse { Transport::Converse } else { Transport::Subscribe };
        let mut world = World::new(transport, listens);
        for (count, (what, number)) in (0_u64..).zip(steps) {
            world.step(what, number, count);
        }
        world.calm_down();
        world.check();
    }
}
