//! A machine with somebody beside it who holds every command against what must always be true.

use std::collections::{BTreeMap, BTreeSet};

use capecontrol_client::chat::cursors::THREADS_MAX;
use capecontrol_client::chat::words::{
    ClientMessageId, Command, Draft, NotTaken, Start, ThreadId, Transport,
};
use capecontrol_client::chat::{Config, Input, Machine, State};

#[derive(Clone)]
pub struct Watch {
    pub machine: Machine,
    transport: Transport,
    /// The stream that is open, and the number of the newest.
    pub open: Option<u64>,
    newest: u64,
    pub armed: Option<u64>,
    /// What the application follows, and the last event that it has there; none while it wants only the newest.
    pub followed: BTreeMap<ThreadId, Option<i64>>,
    unsettled: BTreeSet<ClientMessageId>,
    /// The last entry of the account's log that the application has, if it wants it.
    pub account: Option<i64>,
}

impl Watch {
    pub fn new(config: Config) -> Self {
        Self {
            machine: Machine::new(config),
            transport: config.transport,
            open: None,
            newest: 0,
            armed: None,
            followed: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            account: config.account.map(|cursor| cursor.seq),
        }
    }

    /// Hands an input to the machine and looks at what it answers.
    pub fn handle(&mut self, now: u64, random: u64, input: Input) -> Vec<Command> {
        let before = self.machine.state();
        let bound = 8 + 2 * self.unsettled.len();
        self.expect(&input);
        let commands = self.machine.handle(now, random, input.clone());
        for command in &commands {
            self.look(command);
        }
        let state = self.machine.state();
        let told: Vec<_> = commands.iter().filter(|command| matches!(command, Command::State(_))).collect();
        assert_eq!(told.len(), usize::from(state != before), "{input:?}: {commands:?}");
        assert!(commands.len() <= bound, "{} commands for one input: {commands:?}", commands.len());
        assert_eq!(self.machine.unsettled(), self.unsettled.len(), "{input:?}");
        self.is_never_stuck(state);
        commands
    }

    /// What an input means before the machine says anything.
    fn expect(&mut self, input: &Input) {
        match input {
            Input::Closed(stream, _) if self.open == Some(*stream) => self.open = None,
            Input::Timer => self.armed = None,
            Input::Follow(wish) if self.followed.len() < THREADS_MAX => {
                let have = match wish.start {
                    Start::After { seq, .. } => Some(seq),
                    Start::Newest(_) => None,
                };
                self.followed.entry(wish.thread.clone()).or_insert(have);
            }
            Input::Unfollow(thread) => {
                self.followed.remove(thread);
            }
            Input::Send(Draft { client_message_id, .. }) => {
                self.unsettled.insert(client_message_id.clone());
            }
            _ => {}
        }
    }

    fn look(&mut self, command: &Command) {
        match command {
            Command::Open { stream, wishes, account } => {
                assert_eq!(self.open, None, "a second stream is opened");
                assert_eq!(account.map(|cursor| cursor.seq), self.account);
                let purpose = account.is_some() || !wishes.is_empty();
                assert!(*stream > self.newest && purpose && wishes.len() <= THREADS_MAX);
                (self.open, self.newest) = (Some(*stream), *stream);
            }
            Command::Close { stream } => assert_eq!(self.open.take(), Some(*stream)),
            Command::SendFrame(_) => assert!(self.transport == Transport::Converse && self.open.is_some()),
            Command::CallSend(_) => assert_eq!(self.transport, Transport::Subscribe),
            Command::SetTimer { at } => {
                assert!(self.armed.is_none_or(|armed| *at < armed), "the timer is set for nothing");
                self.armed = Some(*at);
            }
            Command::Deliver { thread, seq } => {
                let have = self.followed.get_mut(thread).expect("a thread that nobody follows");
                assert!(have.is_none_or(|have| have + 1 == *seq), "{have:?}, then {seq}");
                *have = Some(*seq);
            }
            Command::DeliverAccount { seq } => {
                let have = self.account.as_mut().expect("a log that nobody asked for");
                assert_eq!(*have + 1, *seq);
                *have = *seq;
            }
            Command::ResetAccount { seq } => assert!(self.account.replace(*seq).is_some()),
            Command::Reset { thread } => {
                assert!(self.followed.insert(thread.clone(), Some(0)).is_some());
            }
            Command::Detached { thread, .. } => {
                assert!(self.followed.remove(thread).is_some());
            }
            Command::Confirmed(receipt) => assert!(self.unsettled.remove(&receipt.client_message_id)),
            Command::Failed { client_message_id, .. }
            | Command::NotTaken(
                NotTaken::OutboxFull(client_message_id) | NotTaken::NotFollowed(client_message_id),
            ) => {
                assert!(self.unsettled.remove(client_message_id));
            }
            Command::State(state) => assert_eq!(*state, self.machine.state()),
            Command::NotTaken(NotTaken::TooManyThreads(_))
            | Command::RefreshToken
            | Command::SignIn { .. }
            | Command::GaveUp { .. }
            | Command::Quality(_) => {}
        }
    }

    /// Wherever nobody else is expected to say something, the timer will ring.
    fn is_never_stuck(&self, state: State) {
        let has_stream =
            matches!(state, State::Connecting | State::CatchingUp | State::Live | State::Closing);
        assert_eq!(self.open.is_some(), has_stream, "{state:?}");
        assert!(
            self.armed.is_some() || !(has_stream || state == State::Waiting),
            "{state:?} without a timer"
        );
    }
}
