//! Nodes: a hub each, and streams over backlog and feed. What the server's teller awaits is played: the clients' room,
//! the database, and the silence.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use capecontrol::base::Id;
use capecontrol::bus::local::Local;
use capecontrol::bus::{Hint, Signal};
use capecontrol::chat::hub::{Holder, Hub, Registration};
use capecontrol::chat::model::backlog::{Limits, News};
use capecontrol::chat::model::feed::{Feed, Notice, Read, Step};
use capecontrol::chat::model::frame::Wish;
use capecontrol::chat::model::{Event, ThreadId};
use capecontrol_client::chat::words::{Draft, Frame, GoAway, GoAwayCode, Own, Refusal, Start, Status, Word};
use capecontrol_client::chat::{Input, words};
use uuid::Uuid;

use super::{BACKSTOP, Down, HEARTBEAT, Happening, Link, LinkId, Net, STALL, home, named, person, status};

/// Little, so that slow clients are led back to the stored events.
const LIMITS: Limits = Limits { frames: 12, bytes: 16 << 10 };
/// How many frames are under way to a client before its stream waits.
const OUTLET: usize = 16;
const EPOCH: i64 = 1;

pub(super) struct Node {
    pub hub: Arc<Hub>,
    pub up: bool,
    /// Whether it hears nothing of the others.
    pub deaf: bool,
}

/// The node's end of a stream.
pub(super) struct Stream {
    registration: Registration,
    feed: Feed,
    ready: VecDeque<Frame>,
    words: VecDeque<Word>,
    /// It waits for a page.
    reads: bool,
    /// Frames that the client has not taken.
    under_way: usize,
    taken_at: u64,
    said_at: u64,
    beats: i64,
    /// Up to where each thread was told.
    told: BTreeMap<ThreadId, i64>,
}

impl Stream {
    pub fn has_room(&mut self, now: u64) {
        self.under_way -= 1;
        self.taken_at = now;
    }

    fn follow(&mut self, wish: &Wish, last: i64) {
        self.registration.follow(wish.thread_id, home());
        let known = self.feed.follow(wish, last, EPOCH);
        self.registration.told(wish.thread_id, known);
        self.told.insert(wish.thread_id, known);
    }
}

impl Node {
    pub fn new() -> Self {
        Self { hub: Arc::new(Hub::new(Arc::new(Local::default()), LIMITS, 64)), up: true, deaf: false }
    }
}

pub(super) fn refusal(draft: &Draft, status: Status) -> Refusal {
    Refusal { request_id: draft.client_message_id.0.clone(), status, retryable: true }
}

impl Net {
    fn head(&self, thread: ThreadId) -> i64 {
        i64::try_from(self.logs[&thread].len()).unwrap()
    }

    /// The wish for a stream comes to a node, which reads how far the threads are.
    pub(super) fn arrives(&mut self, link: LinkId, wishes: Vec<Wish>) {
        let Some(line) = self.links.get(&link) else { return };
        if self.people[link.0].parted {
            return self.plan(200, Happening::Arrives(link, wishes));
        }
        if !self.nodes[line.node].up || self.refuses {
            return self.end(link, status(14, ""), None);
        }
        self.plan(0, Happening::News(link.0, Input::Opened(link.1)));
        let read = wishes.into_iter().map(|wish| (wish, self.head(wish.thread_id))).collect();
        let way = self.way();
        self.plan(way, Happening::Begins(link, read));
    }

    /// Only now does it follow: what was written since it looked comes with the first page.
    pub(super) fn begins(&mut self, link: LinkId, wishes: &[(Wish, i64)]) {
        let Some(line) = self.links.get_mut(&link) else { return };
        let node = &self.nodes[line.node];
        if !node.up {
            return self.end(link, status(14, ""), None);
        }
        let account = Id::from_uuid(Uuid::from_u128(u128::try_from(link.0).unwrap()));
        let holder = Holder {
            account,
            credential: account.uuid(),
            by_person: true,
            session: None,
            key: None,
            expires_at: None,
        };
        let registration = node.hub.register(holder, self.dice.id()).unwrap();
        let heartbeat_interval = HEARTBEAT;
        let welcome = Frame::Welcome { connection_id: link.1.to_string(), heartbeat_interval };
        let mut stream = Stream {
            registration,
            feed: Feed::new(),
            ready: [welcome].into(),
            words: VecDeque::new(),
            reads: false,
            under_way: 0,
            taken_at: self.now,
            said_at: self.now,
            beats: 0,
            told: BTreeMap::new(),
        };
        for (wish, last) in wishes {
            stream.follow(wish, *last);
        }
        line.stream = Some(stream);
        self.plan(HEARTBEAT, Happening::Look(link));
        self.turn(link);
    }

    /// What the teller does, until it has to wait.
    pub(super) fn turn(&mut self, link: LinkId) {
        loop {
            let Some(Link { stream: Some(stream), .. }) = self.links.get_mut(&link) else { return };
            if stream.reads || stream.under_way >= OUTLET {
                return;
            }
            if let Some(frame) = stream.ready.pop_front() {
                self.tell(link, frame, None);
                continue;
            }
            if let Some(word) = stream.words.pop_front() {
                self.answer(link, word);
                continue;
            }
            let news = stream.registration.inbox().take();
            let quiet = news.is_none();
            match news {
                Some(News::Event(event)) => stream.feed.offer(event),
                Some(News::Head(thread, seq)) => stream.feed.hear(thread, seq),
                Some(_) | None => {}
            }
            match stream.feed.step() {
                Step::Tell(notice) => self.notice(link, notice),
                Step::Read(read) => {
                    stream.reads = true;
                    let way = self.way();
                    return self.plan(way, Happening::Reads(link, read));
                }
                Step::Idle if quiet => return,
                Step::Idle => {}
            }
        }
    }

    fn notice(&mut self, link: LinkId, notice: Notice) {
        let Some(Link { stream: Some(stream), .. }) = self.links.get_mut(&link) else { return };
        let (frame, event) = match notice {
            Notice::CatchUp { thread_id, from, to, reset, epoch } => {
                assert_eq!(
                    (stream.told[&thread_id] + 1, false),
                    (from, reset),
                    "a stream that leaves something out"
                );
                (Frame::CatchUp { thread: named(thread_id), from, to, reset, epoch }, None)
            }
            Notice::Live { thread_id, seq, epoch } => {
                assert_eq!(stream.told[&thread_id], seq, "a stream is live where it is not");
                (Frame::Live { thread: named(thread_id), seq, epoch }, None)
            }
            Notice::Event(event) => {
                let told = stream.told.get_mut(&event.thread_id).unwrap();
                assert_eq!(*told + 1, event.seq, "a stream leaves something out, or says it twice");
                *told = event.seq;
                stream.registration.told(event.thread_id, event.seq);
                let key = person::key(&event).unwrap().to_string();
                let (client_message_id, message_id) =
                    (words::ClientMessageId(key.clone()), words::MessageId(key));
                let own = Some(Own { client_message_id, message_id });
                (Frame::Event { thread: named(event.thread_id), seq: event.seq, own }, Some(event))
            }
        };
        self.tell(link, frame, event);
    }

    fn tell(&mut self, link: LinkId, frame: Frame, event: Option<Arc<Event>>) {
        let Some(line) = self.links.get_mut(&link) else { return };
        if let Some(stream) = &mut line.stream {
            stream.under_way += 1;
            stream.said_at = self.now;
        }
        line.down.push_back(Down::Frame(frame, event));
        let way = self.way();
        self.plan(way, Happening::Down(link));
    }

    /// The first word that is on its way comes.
    pub(super) fn up(&mut self, link: LinkId) {
        let Some(line) = self.links.get_mut(&link) else { return };
        if self.people[link.0].parted {
            return self.plan(200, Happening::Up(link));
        }
        if let (Some(word), Some(stream)) = (line.up.pop_front(), &mut line.stream) {
            stream.words.push_back(word);
        }
        self.turn(link);
    }

    fn answer(&mut self, link: LinkId, word: Word) {
        let (refuses, Some(line)) = (self.refuses, self.links.get_mut(&link)) else { return };
        let (node, Some(stream)) = (line.node, &mut line.stream) else { return };
        match word {
            Word::Send(draft) if refuses => {
                let refused = refusal(&draft, status(14, "DATABASE_UNAVAILABLE"));
                stream.ready.push_back(Frame::Nack(refused));
            }
            Word::Send(draft) => {
                let receipt = self.write(node, &draft);
                if let Some(Link { stream: Some(stream), .. }) = self.links.get_mut(&link) {
                    stream.ready.push_back(Frame::Ack(receipt));
                }
            }
            Word::Subscribe(wish) => {
                let Start::After { seq, epoch } = wish.start else { panic!("everybody wants all") };
                let thread_id = wish.thread.0.parse().unwrap();
                let last = i64::try_from(self.logs[&thread_id].len()).unwrap();
                stream.follow(&Wish { thread_id, after_seq: seq, epoch, newest: 0 }, last);
            }
            Word::Unsubscribe(thread) => {
                let thread = thread.0.parse().unwrap();
                stream.registration.forget(thread);
                stream.feed.forget(thread);
            }
            Word::Ack(positions) => {
                for (thread, seq) in positions {
                    let thread = thread.0.parse().unwrap();
                    let told = !stream.feed.follows(thread) || stream.feed.acknowledge(thread, seq);
                    assert!(told, "{seq} of {thread} is acknowledged and was never told");
                }
            }
            Word::Pong { .. } => {}
        }
    }

    /// A page as it is now; it takes a moment to come.
    pub(super) fn reads(&mut self, link: LinkId, read: Read) {
        if self.refuses {
            return self.end(link, status(14, "DATABASE_UNAVAILABLE"), Some((GoAwayCode::Failed, 0)));
        }
        let events = self.logs[&read.thread_id].iter().filter(|event| event.seq > read.after);
        let events = events.take(read.limit).cloned().collect();
        let way = self.way();
        self.plan(way, Happening::Page(link, read, events));
    }

    pub(super) fn page(&mut self, link: LinkId, read: Read, events: Vec<Event>) {
        let Some(Link { stream: Some(stream), .. }) = self.links.get_mut(&link) else { return };
        stream.reads = false;
        stream.feed.page(read, events).unwrap();
        self.turn(link);
    }

    /// Breaks the silence, and sends away who takes nothing.
    pub(super) fn look(&mut self, link: LinkId) {
        let Some(Link { stream: Some(stream), .. }) = self.links.get_mut(&link) else { return };
        if stream.under_way >= OUTLET && self.now - stream.taken_at >= STALL {
            return self.end(link, status(8, "SLOW_CONSUMER"), Some((GoAwayCode::Slow, 0)));
        }
        if self.now - stream.said_at >= HEARTBEAT && stream.under_way < OUTLET {
            stream.beats += 1;
            let heads = stream.feed.cursors().map(|(thread, cursor)| (named(thread), cursor.sent)).collect();
            stream.ready.push_back(Frame::Heartbeat {
                nonce: stream.beats,
                heads,
                account: 0,
                round_trip: None,
            });
        }
        self.plan(HEARTBEAT / 4, Happening::Look(link));
        self.turn(link);
    }

    /// Ends a stream from the node's side.
    fn end(&mut self, link: LinkId, status: Status, goodbye: Option<(GoAwayCode, u64)>) {
        let Some(line) = self.links.get_mut(&link) else { return };
        line.stream = None;
        let goodbye = goodbye.map(|(code, reconnect_after)| {
            Down::Frame(Frame::GoAway(GoAway { code, resume: true, reconnect_after }), None)
        });
        for item in goodbye.into_iter().chain([Down::Closed(status)]) {
            let way = self.way();
            self.links.get_mut(&link).unwrap().down.push_back(item);
            self.plan(way, Happening::Down(link));
        }
    }

    pub(super) fn signal(&mut self, node: usize, signal: &Signal) {
        if self.nodes[node].deaf || !self.nodes[node].up {
            return;
        }
        self.nodes[node].hub.carry(signal);
        self.wake(node);
    }

    /// What the bus lost is found.
    pub(super) fn backstop(&mut self, node: usize) {
        self.plan(BACKSTOP, Happening::Backstop(node));
        if self.refuses || !self.nodes[node].up {
            return;
        }
        for thread in self.logs.keys().copied().collect::<Vec<_>>() {
            let hint = Hint { thread: thread.uuid(), seq: self.head(thread), inline: None };
            self.nodes[node].hub.carry(&Signal::Hint(hint));
        }
        self.wake(node);
    }

    fn wake(&mut self, node: usize) {
        for link in self.links_of(node) {
            self.turn(link);
        }
    }

    fn links_of(&self, node: usize) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| link.node == node).map(|(id, _)| *id).collect()
    }

    /// SendMessage as a call.
    pub(super) fn call(&mut self, who: usize, draft: Draft, lose: bool) {
        let node = self.pick(self.nodes.len());
        let answer = if self.refuses || !self.nodes[node].up || self.people[who].parted {
            Input::Rejected(refusal(&draft, status(14, "")))
        } else {
            let receipt = self.write(node, &draft);
            if lose { Input::Rejected(refusal(&draft, status(14, ""))) } else { Input::Answered(receipt) }
        };
        let way = self.way();
        self.plan(way, Happening::News(who, answer));
    }

    /// A node dies, or drains; another is there before long.
    pub(super) fn die(&mut self, node: usize, drains: bool) {
        self.nodes[node].up = false;
        for link in self.links_of(node) {
            if drains {
                let after = self.roll(5_000);
                self.end(link, status(14, "SERVER_DRAINING"), Some((GoAwayCode::Draining, after)));
            } else {
                self.links.get_mut(&link).unwrap().down.clear();
                self.end(link, status(14, ""), None);
            }
        }
        let back = 200 + self.roll(4_000);
        self.plan(back, Happening::NodeUp(node));
    }

    /// Somebody's lines break, and what is on its way is lost.
    pub(super) fn cut(&mut self, who: usize) {
        for link in self.links.keys().copied().filter(|(of, _)| *of == who).collect::<Vec<_>>() {
            self.links.get_mut(&link).unwrap().down.clear();
            self.end(link, status(14, ""), None);
        }
    }

    /// Somebody's token expires.
    pub(super) fn expire(&mut self, who: usize) {
        for link in self.links.keys().copied().filter(|(of, _)| *of == who).collect::<Vec<_>>() {
            self.end(link, status(16, "TOKEN_EXPIRED"), Some((GoAwayCode::Unauthenticated, 0)));
        }
    }
}
