//! How present people are, and what of it is told to whom.
//!
//! Two things make it: which of a person's devices are there and in use, which they tell by themselves, and what the
//! person wants it to be. Everybody who may see it sees the same.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ConnectionId;
use super::frame::Wish;
use super::{ThreadId, frame};
use crate::base::{AccountId, Violations, text};
use crate::db;

/// How many people one stream may watch.
pub const WATCHED_MAX: usize = 200;
/// How many changes wait at most for the node that has the stream.
pub const CHANGES_MAX: i64 = 20;

/// How present somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// There, and doing something.
    Online,
    /// There, and doing nothing.
    Idle,
    /// There, and not to be disturbed.
    DoNotDisturb,
    /// Not there, or not to be seen.
    Offline,
}

db::words! {
    /// What a person wants their presence to be.
    pub enum PresenceMode {
        /// What their devices say.
        Automatic = "automatic",
        /// There, and not to be disturbed.
        DoNotDisturb = "do_not_disturb",
        /// Not to be seen.
        Invisible = "invisible",
    }
}

/// What of a person's devices is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// How many are connected.
    pub connected: i64,
    /// On how many of these the person does something.
    pub active: i64,
}

impl Presence {
    /// How present somebody is who has these devices and wants this.
    #[must_use]
    pub const fn of(devices: Devices, mode: PresenceMode) -> Self {
        match mode {
            PresenceMode::Invisible => Self::Offline,
            _ if devices.connected == 0 => Self::Offline,
            PresenceMode::DoNotDisturb => Self::DoNotDisturb,
            PresenceMode::Automatic if devices.active > 0 => Self::Online,
            PresenceMode::Automatic => Self::Idle,
        }
    }
}

/// What a stream knows of somebody whom it watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// What was told of them; none before.
    pub told: Option<Presence>,
    /// The thread through which they were seen then.
    pub through: Option<ThreadId>,
}

/// That somebody is present in another way than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who it is.
    pub account: AccountId,
    /// How present they are.
    pub presence: Presence,
    /// A thread that joins them and whoever is told, as far as is known.
    pub through: Option<ThreadId>,
}

/// What a person says of their presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceSaid {
    /// What they want it to be; none leaves that as it is.
    pub mode: Option<PresenceMode>,
    /// The device that it is said of, and whether nothing is done on it.
    pub device: Option<(ConnectionId, bool)>,
}

/// What a stream is to tell of from now on. It is stored: the names never change their meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionChange {
    /// Threads to follow.
    pub follow: Vec<Wish>,
    /// Threads to follow no more.
    pub forget: Vec<ThreadId>,
    /// Whose presence to tell, instead of those before; none leaves that as it is.
    pub watch: Option<BTreeSet<AccountId>>,
}

impl SubscriptionChange {
    /// Checks a change that came in.
    pub fn parse(
        violations: &mut Violations,
        follow: Vec<Option<Wish>>,
        forget: &[String],
        watch: Option<&[String]>,
    ) -> Self {
        Wish::check_all(violations, "subscribe", &follow);
        violations.check(
            forget.len() <= frame::THREADS_MAX,
            "unsubscribe_thread_ids",
            format!("must be at most {}", frame::THREADS_MAX),
        );
        let thread = |(index, id): (usize, &String)| {
            text::id(violations, &format!("unsubscribe_thread_ids[{index}]"), id)
        };
        let forget = forget.iter().take(frame::THREADS_MAX).enumerate().filter_map(thread).collect();
        let watch = watch.map(|accounts| watched(violations, accounts));
        let change = Self { follow: follow.into_iter().flatten().collect(), forget, watch };
        let empty = change == Self::default();
        violations.check(
            !empty || !violations.is_empty(),
            "subscribe",
            "or another field must say something",
        );
        change
    }
}

/// Checks the people whose presence is to be told.
pub fn watched(violations: &mut Violations, accounts: &[String]) -> BTreeSet<AccountId> {
    let field = "watch_presence.account_ids";
    violations.check(accounts.len() <= WATCHED_MAX, field, format!("must be at most {WATCHED_MAX}"));
    let account = |(index, id): (usize, &String)| text::id(violations, &format!("{field}[{index}]"), id);
    accounts.iter().take(WATCHED_MAX).enumerate().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_wishes_make_a_presence() {
        let devices = |connected, active| Devices { connected, active };
        let cases = [
            (devices(0, 0), PresenceMode::Automatic, Presence::Offline),
            (devices(2, 0), PresenceMode::Automatic, Presence::Idle),
            (devices(2, 1), PresenceMode::Automatic, Presence::Online),
            (devices(0, 0), PresenceMode::DoNotDisturb, Presence::Offline),
            (devices(2, 0), PresenceMode::DoNotDisturb, Presence::DoNotDisturb),
            (devices(2, 1), PresenceMode::DoNotDisturb, Presence::DoNotDisturb),
            (devices(0, 0), PresenceMode::Invisible, Presence::Offline),
            (devices(2, 2), PresenceMode::Invisible, Presence::Offline),
        ];
        for (devices, mode, expected) in cases {
            assert_eq!(Presence::of(devices, mode), expected, "{devices:?} {mode:?}");
        }
    }

    #[test]
    fn a_change_that_says_nothing_or_too_much_is_refused() {
        let problems = |forget: &[String], watch: Option<&[String]>| {
            let mut violations = Violations::new();
            SubscriptionChange::parse(&mut violations, Vec::new(), forget, watch);
            violations.as_slice().iter().map(|violation| violation.field.clone()).collect::<Vec<_>>()
        };
        assert_eq!(problems(&[], None), ["subscribe"]);
        assert!(problems(&[], Some(&[])).is_empty(), "to watch nobody any more is a change");
        assert_eq!(problems(&["x".to_owned()], None), ["unsubscribe_thread_ids[0]"]);
        let many = vec![uuid::Uuid::nil().to_string(); WATCHED_MAX + 1];
        assert_eq!(problems(&[], Some(&many)), ["watch_presence.account_ids"]);
    }
}
