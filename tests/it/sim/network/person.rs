//! People: a machine each, an application that keeps what it is given, and whims.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash as _;
use std::sync::Arc;

use capecontrol::chat::model::frame::Wish;
use capecontrol::chat::model::{Change, Event, ThreadId};
use capecontrol_client::chat::words::{ClientMessageId, Command, Draft, Start, Transport, Word};
use capecontrol_client::chat::{Config, Input, Machine, words};
use uuid::Uuid;

use super::{CALL_DEADLINE, Down, Happening, Link, Net, STALL, named, status, thread};

pub(super) struct Person {
    pub machine: Machine,
    /// Nothing that is sent arrives, in either direction, until it is over. Nobody is told.
    pub parted: bool,
    /// How many streams were opened.
    pub opened: u64,
    /// The keys of what the application has.
    pub app: BTreeMap<ThreadId, Vec<Uuid>>,
    pub said: BTreeMap<ThreadId, Vec<Uuid>>,
    follows: BTreeSet<ThreadId>,
    timer: Option<u64>,
    link: Option<u64>,
}

/// The id that its sender gave a message.
pub(super) fn key(event: &Event) -> Option<Uuid> {
    match &event.change {
        Change::MessageCreated(message) => message.client_message_id,
        _ => None,
    }
}

impl Person {
    pub fn new(transport: Transport) -> Self {
        Self {
            machine: Machine::new(Config::new(transport)),
            parted: false,
            opened: 0,
            app: BTreeMap::new(),
            said: BTreeMap::new(),
            follows: BTreeSet::new(),
            timer: None,
            link: None,
        }
    }
}

impl Net {
    /// Hands an input to somebody's machine, and carries out what it says. `event` is that of the frame at hand.
    pub(super) fn happens(&mut self, who: usize, input: Input, event: Option<&Arc<Event>>) {
        let (now, random) = (self.now, self.roll(u64::MAX));
        let commands = self.people[who].machine.handle(now, random, input);
        for command in commands {
            (who, now, format!("{command:?}")).hash(&mut self.trace);
            self.carry_out(who, command, event);
        }
    }

    fn carry_out(&mut self, who: usize, command: Command, event: Option<&Arc<Event>>) {
        let person = &mut self.people[who];
        match command {
            Command::Open { stream, wishes, .. } => {
                person.opened += 1;
                person.link = Some(stream);
                self.open(who, stream, wishes);
            }
            Command::Close { stream } => {
                person.link = None;
                // Whoever is parted from the node cannot tell it.
                let after = if person.parted { STALL } else { self.way() };
                self.plan(after, Happening::Gone((who, stream)));
            }
            Command::SendFrame(word) => {
                let link = (who, person.link.unwrap());
                self.say(link, word);
            }
            Command::CallSend(draft) => self.send(who, draft),
            Command::SetTimer { at } => {
                person.timer = Some(at);
                let after = at.saturating_sub(self.now);
                self.plan(after, Happening::Timer(who, at));
            }
            Command::RefreshToken => {
                let failed = !self.calm && self.one_in(3);
                let way = self.way();
                let input = if failed { Input::RefreshFailed } else { Input::TokenRefreshed };
                self.plan(way, Happening::News(who, input));
            }
            Command::Deliver { thread, seq } => {
                let event = event.unwrap();
                assert_eq!((named(event.thread_id), event.seq), (thread, seq));
                let app = person.app.entry(event.thread_id).or_default();
                app.push(key(event).unwrap());
                assert_eq!(i64::try_from(app.len()).unwrap(), seq, "{who} misses something");
                assert_eq!(
                    self.logs[&event.thread_id][app.len() - 1],
                    **event,
                    "{who} is told something else"
                );
            }
            Command::Confirmed(_) | Command::State(_) | Command::Quality(_) => {}
            Command::Reset { .. }
            | Command::DeliverAccount { .. }
            | Command::ResetAccount { .. }
            | Command::Detached { .. }
            | Command::Failed { .. }
            | Command::NotTaken(_)
            | Command::SignIn { .. }
            | Command::GaveUp { .. } => panic!("{who}: {command:?}"),
        }
    }

    pub(super) fn ring(&mut self, who: usize, at: u64) {
        if self.people[who].timer.take_if(|armed| *armed == at).is_some() {
            self.happens(who, Input::Timer, None);
        }
    }

    pub(super) fn follow(&mut self, who: usize, thread: ThreadId) {
        let person = &mut self.people[who];
        person.follows.insert(thread);
        let seq = i64::try_from(person.app.get(&thread).map_or(0, Vec::len)).unwrap();
        let start = Start::After { seq, epoch: 0 };
        self.happens(who, Input::Follow(words::Wish { thread: named(thread), start }), None);
    }

    /// Somebody says something, or follows a thread or not.
    pub(super) fn whim(&mut self, who: usize) {
        if self.calm {
            return;
        }
        let thread = thread(self.roll(super::THREADS));
        match self.roll(12) {
            0 => {
                self.people[who].follows.remove(&thread);
                self.happens(who, Input::Unfollow(named(thread)), None);
            }
            1 | 2 => self.follow(who, thread),
            _ if self.people[who].follows.contains(&thread) => {
                let id = self.dice.id::<Event>().uuid();
                let text = "x".repeat(self.pick(3_000));
                self.people[who].said.entry(thread).or_default().push(id);
                let client_message_id = ClientMessageId(id.to_string());
                self.happens(
                    who,
                    Input::Send(Draft { thread: named(thread), client_message_id, text }),
                    None,
                );
            }
            _ => {}
        }
        let next = self.roll(4_000);
        self.plan(next, Happening::Whim(who));
    }

    fn open(&mut self, who: usize, stream: u64, wishes: Vec<words::Wish>) {
        let node = self.pick(self.nodes.len());
        let link = Link { node, down: [].into(), up: [].into(), stream: None };
        self.links.insert((who, stream), link);
        let wish = |wish: words::Wish| {
            let Start::After { seq, epoch } = wish.start else { panic!("everybody wants all") };
            Wish { thread_id: wish.thread.0.parse().unwrap(), after_seq: seq, epoch, newest: 0 }
        };
        let way = self.way();
        self.plan(way, Happening::Arrives((who, stream), wishes.into_iter().map(wish).collect()));
    }

    fn say(&mut self, link: (usize, u64), word: Word) {
        let Some(line) = self.links.get_mut(&link) else { return };
        line.up.push_back(word);
        let way = self.way();
        self.plan(way, Happening::Up(link));
    }

    /// A call: it may not arrive, and its answer may not come back. Now and then it arrives twice.
    fn send(&mut self, who: usize, draft: Draft) {
        let times = if self.one_in(15) { 2 } else { 1 };
        for _ in 0..times {
            let way = self.way();
            if !self.calm && self.one_in(15) {
                let lost = Input::Rejected(super::node::refusal(&draft, status(14, "")));
                self.plan(CALL_DEADLINE, Happening::News(who, lost));
            } else {
                let lose = !self.calm && self.one_in(15);
                self.plan(way, Happening::Call(who, draft.clone(), lose));
            }
        }
    }

    /// The first that is on its way to a client comes, if nothing parts them.
    pub(super) fn down(&mut self, link: (usize, u64)) {
        let (who, number) = link;
        let Some(line) = self.links.get_mut(&link) else { return };
        if self.people[who].parted {
            return self.plan(200, Happening::Down(link));
        }
        match line.down.pop_front() {
            Some(Down::Frame(frame, event)) => {
                if let Some(stream) = &mut line.stream {
                    stream.has_room(self.now);
                }
                self.happens(who, Input::Frame(number, frame), event.as_ref());
                self.turn(link);
            }
            Some(Down::Closed(status)) => {
                self.links.remove(&link);
                self.happens(who, Input::Closed(number, status), None);
            }
            None => {}
        }
    }
}
