//! The streaming core against a model, from seeds: the bus loses, repeats and reorders, and hints at what is not there
//! yet; pages are read before others are committed, end early, or are never there; readers stall, come back and change
//! their minds; and now and then the database is that of an earlier day. Yet every reader is told 1, 2, 3, … of each
//! thread, in bounded memory, and has what is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use capecontrol::base::{Id, ManualClock, SeededRng, Timestamp, World};
use capecontrol::chat::model::backlog::{Backlog, Limits, News};
use capecontrol::chat::model::feed::{Feed, Notice, Read, Step};
use capecontrol::chat::model::frame::{Delta, Wish};
use capecontrol::chat::model::{Actor, Event, Message, ThreadId};
use uuid::Uuid;

const SEEDS: u64 = 300;
const ACTIONS: usize = 1_500;
const THREADS: u64 = 4;
const READERS: u64 = 3;
const LIMITS: Limits = Limits { frames: 6, bytes: 4 << 10 };
const EPOCH: i64 = 1;

/// The stored events: the model's database.
struct Log {
    epoch: i64,
    threads: BTreeMap<ThreadId, Vec<Event>>,
    /// How much was ever written: no two events are the same.
    written: i64,
}

impl Log {
    const fn new() -> Self {
        Self { epoch: EPOCH, threads: BTreeMap::new(), written: 0 }
    }

    fn commit(&mut self, thread_id: ThreadId, text: String) -> Event {
        self.written += 1;
        let events = self.threads.entry(thread_id).or_default();
        let seq = i64::try_from(events.len()).unwrap() + 1;
        let nobody = Actor::Account(Id::from_uuid(Uuid::nil()));
        let event = Event::created(Message {
            id: Id::from_uuid(Uuid::from_u128(u128::try_from(seq).unwrap())),
            thread_id,
            seq,
            author: nobody,
            client_message_id: None,
            reply_to: None,
            text,
            attachments: Vec::new(),
            created_at: Timestamp::from_seconds(self.written),
            edited_at: None,
            deleted_at: None,
        });
        events.push(event.clone());
        event
    }

    fn head(&self, thread_id: ThreadId) -> i64 {
        self.threads.get(&thread_id).map_or(0, |events| i64::try_from(events.len()).unwrap())
    }

    /// Whether this is what is stored.
    fn holds(&self, event: &Event) -> bool {
        let at = usize::try_from(event.seq - 1).unwrap();
        self.threads.get(&event.thread_id).and_then(|events| events.get(at)) == Some(event)
    }

    fn page(&self, read: Read) -> Vec<Event> {
        let events = self.threads.get(&read.thread_id).into_iter().flatten();
        events.filter(|event| event.seq > read.after).take(read.limit).cloned().collect()
    }
}

/// One stream, and what its client has been told.
struct Reader {
    feed: Feed,
    backlog: Backlog,
    /// What the bus carries to this reader and has not delivered.
    carried: Vec<News>,
    /// A page that was read and not yet taken: what is committed meanwhile is not in it.
    page: Option<(Read, Vec<Event>)>,
    /// At how many events the next page ends, though more are stored.
    ends_early: Option<usize>,
    told: BTreeMap<ThreadId, i64>,
    /// What the client keeps: the events, and the epoch that came with them.
    has: BTreeMap<ThreadId, Vec<Arc<Event>>>,
    epochs: BTreeMap<ThreadId, i64>,
    live: BTreeMap<ThreadId, bool>,
}

impl Reader {
    fn new() -> Self {
        Self {
            feed: Feed::new(),
            backlog: Backlog::new(LIMITS),
            carried: Vec::new(),
            page: None,
            ends_early: None,
            told: BTreeMap::new(),
            has: BTreeMap::new(),
            epochs: BTreeMap::new(),
            live: BTreeMap::new(),
        }
    }

    /// Follows a thread from where the client is.
    fn follow(&mut self, log: &Log, thread_id: ThreadId, newest: i64) {
        let after_seq = if newest == 0 { self.told.get(&thread_id).copied().unwrap_or(0) } else { 0 };
        let head = log.head(thread_id);
        let mut epoch = self.epochs.get(&thread_id).copied().unwrap_or(0);
        if newest > 0 {
            self.told.insert(thread_id, (head - newest).max(0));
            self.has.remove(&thread_id);
            self.epochs.remove(&thread_id);
            epoch = 0;
        }
        self.live.insert(thread_id, false);
        self.feed.follow(&Wish { thread_id, after_seq, epoch, newest }, head, log.epoch);
    }

    /// One turn of the stream: what `chat::stream` does in its loop.
    fn turn(&mut self, log: &Log) -> bool {
        if let Some((read, events)) = self.page.take() {
            self.feed.page(read, events).unwrap();
            return true;
        }
        let news = self.backlog.take();
        let busy = news.is_some();
        match news {
            Some(News::Event(event)) => self.feed.offer(event),
            Some(News::Head(thread_id, seq)) => self.feed.hear(thread_id, seq),
            Some(_) | None => {}
        }
        match self.feed.step() {
            Step::Tell(notice) => self.tell(&notice),
            Step::Read(read) => {
                let mut events = log.page(read);
                events.truncate(self.ends_early.take().unwrap_or(usize::MAX));
                self.page = Some((read, events));
            }
            Step::Idle => return busy,
        }
        true
    }

    fn tell(&mut self, notice: &Notice) {
        match notice {
            Notice::Event(event) => {
                let told = self.told.entry(event.thread_id).or_default();
                assert_eq!(event.seq, *told + 1, "a gap or a repeat in {}", event.thread_id);
                *told = event.seq;
                self.has.entry(event.thread_id).or_default().push(Arc::clone(event));
            }
            Notice::Live { thread_id, seq, epoch } => {
                assert_eq!(self.told.get(thread_id).copied().unwrap_or(0), *seq, "live at another place");
                self.live.insert(*thread_id, true);
                self.epochs.insert(*thread_id, *epoch);
            }
            Notice::CatchUp { thread_id, from, reset, epoch, .. } => {
                if *reset {
                    self.told.remove(thread_id);
                    self.has.remove(thread_id);
                }
                assert_eq!(self.told.get(thread_id).copied().unwrap_or(0) + 1, *from);
                self.live.insert(*thread_id, false);
                self.epochs.insert(*thread_id, *epoch);
            }
        }
    }

    fn deliver(&mut self, news: News) {
        match news {
            News::Event(event) => self.backlog.event(event),
            News::Head(thread_id, seq) => self.backlog.head(thread_id, seq),
            News::Delta(delta) => self.backlog.delta(&delta),
            News::Typing(typing) => self.backlog.typing(typing),
            _ => {}
        }
        let (frames, bytes) = self.backlog.load();
        assert!(frames <= LIMITS.frames && bytes <= LIMITS.bytes, "{frames} frames, {bytes} bytes");
    }
}

struct Sim {
    /// Whether the bus loses and repeats; it reorders always.
    lossy: bool,
    dice: World,
    log: Log,
    readers: Vec<Reader>,
}

impl Sim {
    fn new(seed: u64, lossy: bool) -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(0));
        let dice = World::new(Arc::new(clock), Arc::new(SeededRng::new(seed)));
        Self { lossy, dice, log: Log::new(), readers: (0..READERS).map(|_| Reader::new()).collect() }
    }

    fn roll(&self, below: u64) -> u64 {
        self.dice.below(below)
    }

    fn any_thread(&self) -> ThreadId {
        Id::from_uuid(Uuid::from_u128(u128::from(self.roll(THREADS)) + 1))
    }

    fn act(&mut self) {
        let thread_id = self.any_thread();
        let reader = usize::try_from(self.roll(READERS)).unwrap();
        match self.roll(22) {
            0..=4 => self.commit(thread_id),
            5..=8 => self.carry(reader),
            9..=14 => {
                let turns = self.roll(8);
                for _ in 0..turns {
                    self.readers[reader].turn(&self.log);
                }
            }
            15 if self.lossy => {
                // Now and then of what is not there, or not to be seen here yet.
                let ahead = if self.roll(3) == 0 { i64::try_from(self.roll(40)).unwrap() } else { 0 };
                let head = self.log.head(thread_id) + ahead;
                self.readers[reader].deliver(News::Head(thread_id, head));
            }
            16 => {
                let newest = if self.roll(4) == 0 { i64::try_from(self.roll(5)).unwrap() } else { 0 };
                self.readers[reader].follow(&self.log, thread_id, newest);
            }
            17 => {
                self.readers[reader].feed.forget(thread_id);
            }
            18 => self.reconnect(reader),
            19 if self.lossy => {
                self.readers[reader].ends_early = Some(usize::try_from(self.roll(8)).unwrap());
            }
            20 if self.roll(20) == 0 => self.restore(),
            _ => self.whisper(thread_id, reader),
        }
    }

    /// Commits an event and puts it on the bus, which may lose it, or carry it twice or without its body.
    fn commit(&mut self, thread_id: ThreadId) {
        let length = usize::try_from(self.roll(900)).unwrap();
        let event = Arc::new(self.log.commit(thread_id, "x".repeat(length)));
        for index in 0..self.readers.len() {
            let copies = [0, 0, 0, 1, 1, 1, 1, 1, 1, 2][usize::try_from(self.roll(10)).unwrap()];
            let copies = if self.lossy { copies } else { 1 };
            for _ in 0..copies {
                let news = match self.roll(3) {
                    0 => News::Head(thread_id, event.seq),
                    _ => News::Event(Arc::clone(&event)),
                };
                self.readers[index].carried.push(news);
            }
        }
    }

    /// Delivers anything that is on the bus, in any order.
    fn carry(&mut self, reader: usize) {
        let carried = u64::try_from(self.readers[reader].carried.len()).unwrap();
        if carried > 0 {
            let at = usize::try_from(self.roll(carried)).unwrap();
            let news = self.readers[reader].carried.swap_remove(at);
            self.readers[reader].deliver(news);
        }
    }

    /// The database is that of an earlier day. The nodes were not there meanwhile, and no signal is under way.
    fn restore(&mut self) {
        self.log.epoch += 1;
        for events in self.log.threads.values_mut() {
            let kept = self.dice.below(u64::try_from(events.len()).unwrap() + 1);
            events.truncate(usize::try_from(kept).unwrap());
        }
        for reader in 0..self.readers.len() {
            self.readers[reader].carried.clear();
            self.reconnect(reader);
        }
    }

    /// The stream breaks, or a page cannot be read, and its client opens another from where it is.
    fn reconnect(&mut self, reader: usize) {
        let followed: Vec<ThreadId> = self.readers[reader].feed.cursors().map(|(id, _)| id).collect();
        let reader = &mut self.readers[reader];
        (reader.feed, reader.backlog, reader.page) = (Feed::new(), Backlog::new(LIMITS), None);
        for thread_id in followed {
            reader.follow(&self.log, thread_id, 0);
        }
    }

    fn whisper(&mut self, thread_id: ThreadId, reader: usize) {
        let nobody = Id::from_uuid(Uuid::nil());
        let text = "…".repeat(usize::try_from(self.roll(300)).unwrap());
        let delta = Delta { thread_id, message_id: nobody, reply_to: nobody, attempt: 1, offset: 0, text };
        self.readers[reader].deliver(News::Delta(Arc::new(delta)));
    }

    /// Nothing more is committed. What is on the bus arrives, or is lost and the backstop looks once.
    fn settle(&mut self) {
        for reader in &mut self.readers {
            reader.ends_early = None;
            if self.lossy {
                for (thread_id, events) in &self.log.threads {
                    reader.backlog.head(*thread_id, i64::try_from(events.len()).unwrap());
                }
            } else {
                for news in std::mem::take(&mut reader.carried) {
                    reader.deliver(news);
                }
            }
            let mut turns = 0;
            while reader.turn(&self.log) {
                turns += 1;
                assert!(turns < 100_000, "the stream does not come to rest");
            }
            assert!(reader.feed.is_settled());
            for (thread_id, cursor) in reader.feed.cursors() {
                let head = self.log.head(thread_id);
                assert_eq!((cursor.sent, cursor.known), (head, head));
                assert_eq!(
                    reader.told.get(&thread_id).copied().unwrap_or(0),
                    head,
                    "the client misses events"
                );
                assert!(
                    reader.live[&thread_id] && reader.feed.is_live(thread_id),
                    "the client was not told so"
                );
                let mut has = reader.has.get(&thread_id).into_iter().flatten();
                assert!(has.all(|event| self.log.holds(event)), "the client has what is not stored");
            }
        }
    }
}

fn simulate(lossy: bool) {
    for seed in 0..SEEDS {
        // The seed is all that is needed to see a failure again.
        let outcome = std::panic::catch_unwind(|| {
            let mut sim = Sim::new(seed, lossy);
            for _ in 0..ACTIONS {
                sim.act();
            }
            sim.settle();
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn every_reader_is_told_every_event_once_and_in_order() {
    simulate(true);
}

#[test]
fn when_nothing_is_lost_nothing_waits_for_the_backstop() {
    simulate(false);
}

#[test]
fn a_hint_of_something_that_is_not_stored_does_not_keep_the_stream_busy() {
    let mut sim = Sim::new(0, true);
    let thread_id = sim.any_thread();
    sim.commit(thread_id);
    let reader = &mut sim.readers[0];
    reader.follow(&sim.log, thread_id, 0);
    reader.backlog.head(thread_id, 1_000_000);
    let turns = (0..100).take_while(|_| reader.turn(&sim.log)).count();
    assert!(turns < 20, "{turns} turns");
    assert_eq!(reader.told[&thread_id], 1);
}

#[test]
fn what_is_written_while_an_empty_page_is_read_is_told_at_once() {
    let mut sim = Sim::new(0, false);
    let thread_id = sim.any_thread();
    let reader = &mut sim.readers[0];
    reader.follow(&sim.log, thread_id, 0);
    assert!(reader.turn(&sim.log) && reader.page.as_ref().is_some_and(|(_, events)| events.is_empty()));
    let event = Arc::new(sim.log.commit(thread_id, "meanwhile".to_owned()));
    reader.deliver(News::Event(event));
    while reader.turn(&sim.log) {}
    assert_eq!((reader.told.get(&thread_id), reader.live[&thread_id]), (Some(&1), true));
}

/// Somebody who came to an empty thread, was told its first event, and lost the connection before the thread was live.
#[test]
fn whoever_has_events_knows_their_epoch() {
    let mut sim = Sim::new(0, false);
    let thread_id = sim.any_thread();
    sim.readers[0].follow(&sim.log, thread_id, 0);
    sim.commit(thread_id);
    while sim.readers[0].told.is_empty() {
        assert!(sim.readers[0].turn(&sim.log));
    }
    assert!(!sim.readers[0].live[&thread_id]);
    sim.log.threads.clear();
    sim.log.epoch += 1;
    sim.commit(thread_id);
    sim.reconnect(0);
    sim.settle();
}

#[test]
fn a_position_of_another_life_starts_anew() {
    let mut sim = Sim::new(0, true);
    let thread_id = sim.any_thread();
    sim.commit(thread_id);
    for wish in [
        Wish { thread_id, after_seq: 1, epoch: EPOCH + 1, newest: 0 },
        Wish { thread_id, after_seq: 7, epoch: 0, newest: 0 },
    ] {
        let mut feed = Feed::new();
        feed.follow(&wish, 1, EPOCH);
        let catch_up = Notice::CatchUp { thread_id, from: 1, to: 1, reset: true, epoch: EPOCH };
        assert_eq!(feed.step(), Step::Tell(catch_up));
    }
}

#[test]
fn a_hole_in_the_stored_events_is_never_told_over() {
    let mut sim = Sim::new(0, true);
    let thread_id = sim.any_thread();
    sim.commit(thread_id);
    sim.commit(thread_id);
    let mut feed = Feed::new();
    feed.follow(&Wish { thread_id, after_seq: 0, epoch: 0, newest: 0 }, 2, EPOCH);
    let Step::Tell(_) = feed.step() else { panic!("catching up is announced first") };
    let Step::Read(read) = feed.step() else { panic!("a page is wanted") };
    let events = sim.log.page(Read { after: 1, ..read });
    assert_eq!(feed.page(read, events).unwrap_err().missing, 1);
}
