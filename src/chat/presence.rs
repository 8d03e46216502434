//! Whose presence is watched on this node, and telling it.
//!
//! What is known is in the database: which devices are there and what people want. A hint says whom to look at again;
//! everybody is looked at from time to time, for hints get lost and leases end without a word. Once a second at most a
//! stream is told that something changed. Who may see it is asked when it is told ([`super::sight`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::hub::Inbox;
use super::model::ConnectionId;
use super::model::presence::{Devices, Presence, PresenceMode, Sighting, Watch};
use super::service::Service;
use super::store;
use crate::base::AccountId;
use crate::db::Scope;

/// How many people one statement asks about.
const ACCOUNTS_MAX: usize = 500;
/// At every which look everybody is looked at.
const ALL_EVERY: u32 = 15;

const SCOPE: Scope = Scope::System("chat.presence");

/// The people who are watched.
#[derive(Default)]
pub struct Board(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    people: HashMap<AccountId, Person>,
    /// Whom each stream watches.
    streams: HashMap<ConnectionId, Vec<AccountId>>,
}

#[derive(Default)]
struct Person {
    watchers: Vec<Arc<Inbox>>,
    /// As it was when last looked at; none before.
    presence: Option<Presence>,
    /// Whether to look again.
    doubted: bool,
}

impl Board {
    /// Has a stream told of these people, and of nobody else.
    pub fn watch<'a>(&self, stream: &Arc<Inbox>, accounts: impl IntoIterator<Item = &'a AccountId>) {
        let mut watched = self.watched();
        watched.forget(stream.id());
        let accounts: Vec<AccountId> = accounts.into_iter().copied().collect();
        let mut known = false;
        for account in &accounts {
            let person = watched.people.entry(*account).or_default();
            person.watchers.push(Arc::clone(stream));
            person.doubted |= person.presence.is_none();
            known |= person.presence.is_some();
        }
        if !accounts.is_empty() {
            watched.streams.insert(stream.id(), accounts);
        }
        drop(watched);
        if known {
            stream.ring_presence();
        }
    }

    /// Has a stream told of nobody any more.
    pub fn forget(&self, stream: ConnectionId) {
        self.watched().forget(stream);
    }

    /// Hears that the presence of these people may have changed.
    pub fn doubt(&self, accounts: &[AccountId]) {
        let mut watched = self.watched();
        for account in accounts {
            if let Some(person) = watched.people.get_mut(account) {
                person.doubted = true;
            }
        }
    }

    /// Those of the people watched whose presence is another now than what was told.
    pub fn changed(&self, watches: &BTreeMap<AccountId, Watch>) -> Vec<Sighting> {
        let watched = self.watched();
        let changed = |(account, watch): (&AccountId, &Watch)| {
            let presence = watched.people.get(account)?.presence.filter(|now| Some(*now) != watch.told)?;
            Some(Sighting { account: *account, presence, through: watch.through })
        };
        watches.iter().filter_map(changed).collect()
    }

    /// Whom to look at: those in doubt, or everybody. They are in doubt no longer.
    fn take_doubted(&self, all: bool) -> Vec<AccountId> {
        let mut watched = self.watched();
        let doubted = watched.people.iter_mut().filter(|(_, person)| all || person.doubted);
        doubted.map(|(account, person)| (std::mem::take(&mut person.doubted), *account).1).collect()
    }

    /// Notes what was found, and rings with those who are to be told.
    fn find(&self, found: &[(AccountId, Presence)]) {
        let mut watched = self.watched();
        let mut ringing: HashMap<ConnectionId, Arc<Inbox>> = HashMap::new();
        for (account, presence) in found {
            let Some(person) = watched.people.get_mut(account) else { continue };
            if person.presence.replace(*presence) != Some(*presence) {
                ringing.extend(person.watchers.iter().map(|stream| (stream.id(), Arc::clone(stream))));
            }
        }
        drop(watched);
        for stream in ringing.values() {
            stream.ring_presence();
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn forget(&mut self, stream: ConnectionId) {
        for account in self.streams.remove(&stream).unwrap_or_default() {
            let Some(person) = self.people.get_mut(&account) else { continue };
            person.watchers.retain(|watcher| watcher.id() != stream);
            if person.watchers.is_empty() {
                self.people.remove(&account);
            }
        }
    }
}

impl Service {
    /// Looks at fixed intervals, until `stop`.
    pub(super) async fn watch_presence(&self, stop: &CancellationToken) {
        let _stopped = stop
            .run_until_cancelled(async {
                let mut look = 0_u32;
                loop {
                    tokio::time::sleep(self.options().presence_every).await;
                    look = look.wrapping_add(1);
                    let doubted = self.hub().board().take_doubted(look.is_multiple_of(ALL_EVERY));
                    if let Err(error) = self.look_at_presence(&doubted).await {
                        tracing::debug!(%error, "it cannot be read who is there");
                        self.hub().board().doubt(&doubted);
                    }
                }
            })
            .await;
    }

    async fn look_at_presence(&self, accounts: &[AccountId]) -> Result<(), Error> {
        for part in accounts.chunks(ACCOUNTS_MAX) {
            let mut conn = self.db().conn(SCOPE).await?;
            let devices: HashMap<AccountId, Devices> =
                store::devices(&mut conn, part, self.world().now()).await?.into_iter().collect();
            let modes: HashMap<AccountId, PresenceMode> =
                store::presence_modes(&mut conn, part).await?.into_iter().collect();
            drop(conn);
            let found = part.iter().map(|account| {
                let devices = devices.get(account).copied().unwrap_or_default();
                let mode = modes.get(account).copied().unwrap_or(PresenceMode::Automatic);
                (*account, Presence::of(devices, mode))
            });
            self.hub().board().find(&found.collect::<Vec<_>>());
        }
        Ok(())
    }
}
