//! One client: the machine of `clients/rust`, and around it as little as carries its commands out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use capecontrol::base::World;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol_client::chat::words::{
    AccountCursor, ClientMessageId, Command, Draft, Start, ThreadId, Wish,
};
use capecontrol_client::chat::{Config, Input, Machine};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::server_frame::Frame;

use super::Board;
use super::deeds::{Act, Deed, Deeds, Done};
use super::line::{Heard, Line, Opened};
use super::translate;
use super::witness::{Promise, Witness};

/// How many messages of a client are unsettled at most, in all its threads.
const UNSETTLED_MAX: usize = 2;
/// How long texts are, in characters: some are too long for a hint, which then is only a position.
const TEXT_CHARS: [(u64, usize); 3] = [(90, 80), (98, 900), (100, 6_000)];

/// What a client is made of.
pub struct Plan {
    pub name: usize,
    pub threads: Vec<String>,
    /// How many messages it says.
    pub messages: u64,
    pub dice: World,
    /// What it does beside.
    pub deeds: Deeds,
}

pub struct Client {
    plan: Plan,
    board: Arc<Board>,
    line: Line,
    heard: UnboundedReceiver<Heard>,
    machine: Machine,
    began: Instant,
    timer: Option<u64>,
    stream: Option<(Opened, Promise)>,
    calls: JoinSet<()>,
    said: u64,
    witness: Witness,
}

impl Client {
    pub fn new(plan: Plan, board: Arc<Board>, line: Line, heard: UnboundedReceiver<Heard>) -> Self {
        let account = Some(AccountCursor::default());
        let machine = Machine::new(Config { account, ..Config::new(line.kind) });
        let (began, calls) = (Instant::now(), JoinSet::new());
        let (timer, stream, said, witness) = (None, None, 0, Witness::of(plan.deeds.account()));
        Self { plan, board, line, heard, machine, began, timer, stream, calls, said, witness }
    }

    /// Goes on until it is told to stop; what it was given then.
    pub async fn run(mut self, stop: CancellationToken) -> Witness {
        for thread in self.plan.threads.clone() {
            let start = Start::After { seq: 0, epoch: 0 };
            self.happens(Input::Follow(Wish { thread: ThreadId(thread), start }), None);
        }
        self.happens(Input::Start, None);
        while !stop.is_cancelled() {
            self.talk();
            if let Some(act) = self.plan.deeds.next() {
                self.line.act(&mut self.calls, act);
            }
            let rings = self.timer.map(|at| self.began + Duration::from_millis(at));
            tokio::select! {
                () = stop.cancelled() => {}
                Some(heard) = self.heard.recv() => self.hears(heard),
                Some(ended) = self.calls.join_next() => ended.unwrap(),
                () = sleep_until(rings.unwrap_or(self.began)), if rings.is_some() => {
                    self.timer = None;
                    self.happens(Input::Timer, None);
                }
            }
        }
        self.witness
    }

    fn wrong(&self, what: impl std::fmt::Display) {
        self.board.wrong(format!("client {}: {what}", self.plan.name));
    }

    /// Says what it has to say, as fast as it is taken.
    fn talk(&mut self) {
        while self.said < self.plan.messages && self.machine.unsettled() < UNSETTLED_MAX {
            let dice = &self.plan.dice;
            let threads = u64::try_from(self.plan.threads.len()).unwrap();
            let thread = self.plan.threads[usize::try_from(dice.below(threads)).unwrap()].clone();
            let id = dice.id::<wire::Message>().uuid();
            let text = format!("{}/{} {}", self.plan.name, self.said, some_text(dice));
            self.said += 1;
            self.witness.say(&thread, id, &text);
            let client_message_id = ClientMessageId(id.to_string());
            self.happens(Input::Send(Draft { thread: ThreadId(thread), client_message_id, text }), None);
        }
    }

    fn hears(&mut self, heard: Heard) {
        match heard {
            Heard::Did(act, done) => self.did(act, done),
            Heard::Input(Input::Closed(number, status)) => {
                if self.stream.as_ref().is_some_and(|(stream, _)| stream.number == number) {
                    self.stream = None;
                    self.board
                        .ends
                        .lock()
                        .unwrap()
                        .entry(end(&status))
                        .and_modify(|count| *count += 1)
                        .or_insert(1);
                }
                self.happens(Input::Closed(number, status), None);
            }
            Heard::Input(input) => {
                if let Input::Answered(receipt) = &input {
                    self.board.repetitions.fetch_add(u64::from(receipt.duplicate), Ordering::Relaxed);
                }
                self.happens(input, None);
            }
            Heard::Frame(number, frame) => {
                let Some((_, promise)) = self.stream.as_mut().filter(|(stream, _)| stream.number == number)
                else {
                    return;
                };
                if let Err(what) = promise.keeps(&frame) {
                    self.wrong(format_args!("stream {number}: {what}"));
                }
                if let Frame::Ack(ack) = &*frame {
                    self.board.repetitions.fetch_add(u64::from(ack.duplicate), Ordering::Relaxed);
                }
                let input = Input::Frame(number, translate::frame(&frame));
                let event = match *frame {
                    Frame::Event(event) => Some(event),
                    _ => None,
                };
                self.happens(input, event.as_ref());
            }
        }
    }

    fn did(&mut self, act: Act, done: Result<Done, String>) {
        match (done, &act.deed) {
            (Err(what), _) => self.wrong(what),
            (Ok(_), Deed::Read { seq }) => self.witness.read(&act.thread, *seq),
            (Ok(Done::Nothing), _) => {}
            (Ok(Done::At(seq)), _) => self.witness.did(&act, Some(seq)),
            (Ok(Done::Somewhere), _) => self.witness.did(&act, None),
        }
        self.plan.deeds.over();
        self.board.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an event that the machine delivers, and looks what to do about it.
    fn take(&mut self, event: &wire::Event) {
        if let Err(what) = self.witness.deliver(event) {
            return self.wrong(what);
        }
        let name = self.plan.name;
        let text = |dice: &World| format!("{name}/edited {}", some_text(dice));
        let planned = self.plan.deeds.consider(event, text);
        self.board.planned.fetch_add(planned, Ordering::Relaxed);
        // Last: whoever sees that all was delivered sees all planned that follows from it.
        self.board.delivered.fetch_add(1, Ordering::Release);
    }

    fn happens(&mut self, input: Input, event: Option<&wire::Event>) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let random = self.plan.dice.below(u64::MAX);
        for command in self.machine.handle(now, random, input) {
            self.carry_out(command, event);
        }
    }

    fn carry_out(&mut self, command: Command, event: Option<&wire::Event>) {
        match command {
            Command::Open { stream, wishes, account } => {
                self.board.streams.fetch_add(1, Ordering::Relaxed);
                let threads: Vec<_> = wishes.into_iter().map(translate::wish).collect();
                let account = account.map(translate::account);
                let request = wire::SubscribeRequest { threads, account, ..Default::default() };
                let promise = Promise::new(&request);
                self.stream = Some((self.line.open(stream, request), promise));
            }
            Command::Close { .. } => self.stream = None,
            Command::SendFrame(word) => {
                if let Some((stream, _)) = &self.stream {
                    stream.say(word, &self.plan.dice);
                }
            }
            Command::CallSend(draft) => self.line.send(&mut self.calls, draft),
            Command::SetTimer { at } => self.timer = Some(at),
            Command::RefreshToken => {
                self.board.refreshes.fetch_add(1, Ordering::Relaxed);
                self.line.refresh(&mut self.calls);
            }
            Command::Deliver { .. } => self.take(event.unwrap()),
            Command::DeliverAccount { .. } => drop(self.board.entries.fetch_add(1, Ordering::Relaxed)),
            Command::Confirmed(_) => drop(self.board.confirmed.fetch_add(1, Ordering::Relaxed)),
            Command::State(state) => self.board.note(self.plan.name, state),
            // How things stand comes to a client that has nothing yet: the promise holds that it comes to no other.
            Command::Quality(_) | Command::ResetAccount { .. } => {}
            Command::Reset { .. }
            | Command::Detached { .. }
            | Command::Failed { .. }
            | Command::NotTaken(_)
            | Command::SignIn { .. }
            | Command::GaveUp { .. } => self.wrong(format_args!("{command:?}")),
        }
    }
}

fn some_text(dice: &World) -> String {
    let roll = dice.below(100);
    let (_, chars) = TEXT_CHARS.into_iter().find(|(below, _)| roll < *below).unwrap();
    "é".repeat(usize::try_from(dice.below(u64::try_from(chars).unwrap())).unwrap())
}

/// How a stream ended, in a word.
fn end(status: &capecontrol_client::chat::words::Status) -> String {
    if status.reason.is_empty() { format!("code {}", status.code) } else { status.reason.clone() }
}
