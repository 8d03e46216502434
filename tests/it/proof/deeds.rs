//! What clients do beside saying things: they change their messages and take them back, react to those of others and
//! take that back too, and read on; whoever opened a thread gives it other titles, and has a guest in it. Each deed is
//! done once, however often the network has it called.

use std::collections::{BTreeSet, VecDeque};

use capecontrol::base::World;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use wire::event::Change;

/// Of so many of its own messages a client gives one another text.
const EDITED_ONE_IN: u64 = 25;
/// Of so many it takes one back.
const TAKEN_BACK_ONE_IN: u64 = 50;
/// To one of so many messages of others it reacts; every other reaction it takes back.
const REACTED_TO_ONE_IN: u64 = 400;
/// After so many messages it says how far it has read.
const READ_AFTER: u64 = 120;
/// After so many messages whoever opened a thread does something about it.
const MANAGED_AFTER: u64 = 150;
const EMOJIS: [&str; 3] = ["👍", "🎉", "👩‍🚀"];

/// Something that a client does.
#[derive(Clone, Debug)]
pub enum Deed {
    Edit { message: String, text: String },
    Delete { message: String },
    React { message: String, emoji: &'static str },
    Unreact { message: String, emoji: &'static str },
    Rename { title: String },
    Invite { guest: String },
    Demote { guest: String },
    Dismiss { guest: String },
    Read { seq: i64 },
}

/// A deed on its way. The key is the same in every call of it.
#[derive(Clone, Debug)]
pub struct Act {
    pub thread: String,
    pub key: String,
    pub deed: Deed,
}

/// What a deed came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// An event, at this position.
    At(i64),
    /// An event, at a position that the answer does not tell.
    Somewhere,
    /// Nothing: it was so before, or the message is gone.
    Nothing,
}

impl Deed {
    /// What is told of it, but for a text; nothing of how far somebody has read, which is told of several together.
    pub fn change(&self) -> Option<Change> {
        let changed = |guest: &String, role: wire::ThreadRole| wire::MemberChanged {
            account_id: guest.clone(),
            role: role.into(),
        };
        let reaction = |message: &String, emoji: &str| wire::Reaction {
            message_id: message.clone(),
            emoji: emoji.to_owned(),
        };
        Some(match self {
            Self::Edit { message, .. } => Change::MessageEdited(wire::MessageEdited {
                message_id: message.clone(),
                ..Default::default()
            }),
            Self::Delete { message } => {
                Change::MessageDeleted(wire::MessageDeleted { message_id: message.clone() })
            }
            Self::React { message, emoji } => Change::ReactionAdded(reaction(message, emoji)),
            Self::Unreact { message, emoji } => Change::ReactionRemoved(reaction(message, emoji)),
            Self::Rename { title } => Change::ThreadUpdated(wire::ThreadUpdated { title: title.clone() }),
            Self::Invite { guest } => Change::MemberAdded(changed(guest, wire::ThreadRole::Member)),
            Self::Demote { guest } => Change::MemberRoleChanged(changed(guest, wire::ThreadRole::Reader)),
            Self::Dismiss { guest } => {
                Change::MemberRemoved(wire::MemberRemoved { account_id: guest.clone() })
            }
            Self::Read { .. } => return None,
        })
    }

    /// The text that it gives a message.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Edit { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// What a client is still to do, one thing after the other.
pub struct Deeds {
    account: String,
    /// The threads that it opened.
    opened: BTreeSet<String>,
    /// Who is now and then in them.
    guest: String,
    dice: World,
    count: u64,
    waiting: VecDeque<(String, Deed)>,
    under_way: bool,
}

impl Deeds {
    pub fn new(account: String, opened: BTreeSet<String>, guest: String, dice: World) -> Self {
        Self { account, opened, guest, dice, count: 0, waiting: VecDeque::new(), under_way: false }
    }

    pub fn account(&self) -> &str {
        &self.account
    }

    fn one_in(&self, many: u64) -> bool {
        self.dice.below(many) == 0
    }

    /// Looks what to do about a message that was told. Tells how much that is.
    pub fn consider(&mut self, event: &wire::Event, text: impl FnOnce(&World) -> String) -> u64 {
        let Some(Change::MessageCreated(message)) = &event.change else { return 0 };
        let (before, thread, id) = (self.waiting.len(), &event.thread_id, &message.id);
        let author = message.author.as_ref().and_then(|author| author.actor.as_ref());
        if author == Some(&wire::actor::Actor::AccountId(self.account.clone())) {
            if self.one_in(EDITED_ONE_IN) {
                let text = text(&self.dice);
                self.plan(thread, [Deed::Edit { message: id.clone(), text }]);
            }
            if self.one_in(TAKEN_BACK_ONE_IN) {
                self.plan(thread, [Deed::Delete { message: id.clone() }]);
            }
        } else if self.one_in(REACTED_TO_ONE_IN) {
            let emoji = EMOJIS[usize::try_from(self.dice.below(3)).unwrap()];
            self.plan(thread, [Deed::React { message: id.clone(), emoji }]);
            if self.one_in(2) {
                self.plan(thread, [Deed::Unreact { message: id.clone(), emoji }]);
            }
        }
        if self.one_in(READ_AFTER) {
            self.plan(thread, [Deed::Read { seq: event.seq }]);
        }
        if self.opened.contains(thread) && self.one_in(MANAGED_AFTER) {
            self.manage(thread);
        }
        u64::try_from(self.waiting.len() - before).unwrap()
    }

    fn manage(&mut self, thread: &str) {
        if self.one_in(2) {
            self.count += 1;
            let title = format!("Title {} of {}", self.count, self.account);
            return self.plan(thread, [Deed::Rename { title }]);
        }
        let guest = || self.guest.clone();
        let stay = [
            Deed::Invite { guest: guest() },
            Deed::Demote { guest: guest() },
            Deed::Dismiss { guest: guest() },
        ];
        self.plan(thread, stay);
    }

    fn plan(&mut self, thread: &str, deeds: impl IntoIterator<Item = Deed>) {
        self.waiting.extend(deeds.into_iter().map(|deed| (thread.to_owned(), deed)));
    }

    /// What is to be done next, once what was done last is over.
    pub fn next(&mut self) -> Option<Act> {
        if self.under_way {
            return None;
        }
        let (thread, deed) = self.waiting.pop_front()?;
        self.under_way = true;
        Some(Act { thread, deed, key: self.dice.id::<wire::Event>().uuid().to_string() })
    }

    pub const fn over(&mut self) {
        self.under_way = false;
    }
}
