//! Whose own logs are told on this node, and how much of what is written they have not read.
//!
//! Nobody who writes a message writes to all who may read it: a row for each of a thousand members would be what the
//! database does. What is unread follows from the messages and the marks of the readers, and is written to an account's
//! log only while somebody listens to that, at most about once a second, and when it is something else than what was
//! told last. Hints say whom to count for; everybody is counted for from time to time, for hints get lost. Several
//! nodes may count the same: the log's lock lets one of them tell.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::Error;
use super::hub::{Hub, Inbox};
use super::model::frame::Fleeting;
use super::model::member::ThreadRole;
use super::model::{ConnectionId, ThreadId};
use super::service::Service;
use super::store;
use crate::account_log::{self, Unread};
use crate::auth;
use crate::base::AccountId;
use crate::db::Scope;

/// For how many accounts one transaction counts.
const ACCOUNTS_MAX: usize = 50;
/// The members of how many threads one statement asks for: each has up to a thousand.
const THREADS_MAX: usize = 20;
/// At every which look everybody is counted for.
const ALL_EVERY: u32 = 30;

const SCOPE: Scope = Scope::System("chat.unread");

/// The accounts whose logs are told here.
#[derive(Default)]
pub struct Listeners(Mutex<State>);

#[derive(Default)]
struct State {
    accounts: HashMap<AccountId, Listening>,
    /// Threads in which something was written or taken back.
    stirred: HashSet<ThreadId>,
}

#[derive(Default)]
struct Listening {
    streams: Vec<Arc<Inbox>>,
    /// Whether to count.
    doubted: bool,
    /// The newest entry heard of, or written here: news of an earlier one are no reason to count again.
    known: i64,
}

impl Listeners {
    /// Has a stream told of its account's log.
    pub fn listen(&self, stream: &Arc<Inbox>) {
        let mut state = self.state();
        let listening = state.accounts.entry(stream.holder().account).or_default();
        listening.streams.push(Arc::clone(stream));
        listening.doubted = true;
    }

    /// Has a stream told no longer.
    pub fn forget(&self, account: AccountId, stream: ConnectionId) {
        let mut state = self.state();
        let Some(listening) = state.accounts.get_mut(&account) else { return };
        listening.streams.retain(|listener| listener.id() != stream);
        if listening.streams.is_empty() {
            state.accounts.remove(&account);
        }
    }

    /// Hears that something has come to a position: the log of an account, or a thread, in which something else may be
    /// unread then. Whether it is a log that somebody listens to here. No account has the id of a thread.
    pub fn hear(&self, about: Uuid, seq: i64) -> bool {
        let mut state = self.state();
        if let Some(listening) = state.accounts.get_mut(&AccountId::from_uuid(about)) {
            listening.hear(seq);
            return true;
        }
        if !state.accounts.is_empty() {
            state.stirred.insert(ThreadId::from_uuid(about));
        }
        false
    }

    /// Hears that what is unread for an account may be something else; whether somebody listens to it.
    pub fn doubt(&self, account: AccountId) -> bool {
        let mut state = self.state();
        state.accounts.get_mut(&account).map(|listening| listening.doubted = true).is_some()
    }

    /// The threads in which something was written since they were last taken.
    fn take_stirred(&self) -> Vec<ThreadId> {
        std::mem::take(&mut self.state().stirred).into_iter().collect()
    }

    /// For whom to count: those in doubt, or everybody. They are in doubt no longer.
    fn take_doubted(&self, all: bool) -> Vec<AccountId> {
        let mut state = self.state();
        let doubted = state.accounts.iter_mut().filter(|(_, listening)| all || listening.doubted);
        doubted.map(|(account, listening)| (std::mem::take(&mut listening.doubted), *account).1).collect()
    }

    /// Whose logs are told here.
    pub fn accounts(&self) -> Vec<AccountId> {
        self.state().accounts.keys().copied().collect()
    }

    /// Notes what this node wrote.
    fn counted(&self, positions: &[(AccountId, i64)]) {
        let mut state = self.state();
        for (account, seq) in positions {
            if let Some(listening) = state.accounts.get_mut(account) {
                listening.known = listening.known.max(*seq);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    fn hear(&mut self, seq: i64) {
        self.doubted |= seq > self.known;
        self.known = self.known.max(seq);
        for stream in &self.streams {
            stream.leave_account(seq);
        }
    }
}

impl Service {
    /// Looks at fixed intervals, until `stop`.
    pub(super) async fn watch_unread(&self, stop: &CancellationToken) {
        let _stopped = stop
            .run_until_cancelled(async {
                let mut look = 0_u32;
                loop {
                    tokio::time::sleep(self.options().unread_every).await;
                    look = look.wrapping_add(1);
                    if let Err(error) = self.tell_unread(look.is_multiple_of(ALL_EVERY)).await {
                        tracing::debug!(%error, "what is unread cannot be told");
                    }
                }
            })
            .await;
    }

    /// Counts for those for whom something may have changed, or for everybody who listens here, and writes it to their
    /// logs.
    ///
    /// # Errors
    /// When it cannot be found out. It is counted again at the next look.
    pub async fn tell_unread(&self, all: bool) -> Result<(), Error> {
        let listeners = self.hub().listeners();
        let stirred = listeners.take_stirred();
        if let Err(error) = self.doubt_members(&stirred).await {
            listeners.state().stirred.extend(stirred);
            return Err(error);
        }
        let doubted = listeners.take_doubted(all);
        for part in doubted.chunks(ACCOUNTS_MAX) {
            if let Err(error) = self.count_unread(part).await {
                for account in &doubted {
                    listeners.doubt(*account);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Doubts what is unread for the members of these threads.
    async fn doubt_members(&self, threads: &[ThreadId]) -> Result<(), Error> {
        for part in threads.chunks(THREADS_MAX) {
            let mut conn = self.db().conn(SCOPE).await?;
            let members = store::members_of(&mut conn, part).await?;
            drop(conn);
            for account in members {
                self.hub().listeners().doubt(account);
            }
        }
        Ok(())
    }

    async fn count_unread(&self, accounts: &[AccountId]) -> Result<(), Error> {
        let mut counted: BTreeMap<AccountId, Vec<_>> = accounts.iter().map(|id| (*id, Vec::new())).collect();
        let mut conn = self.db().conn(SCOPE).await?;
        let staff = auth::access::administrators_among(&mut conn, accounts).await?;
        for (account, role, thread) in store::unread(&mut conn, accounts).await? {
            // Who is staff no longer sees nothing of what they took up.
            if role != ThreadRole::Support || staff.contains(&account) {
                counted.entry(account).or_default().push(thread);
            }
        }
        let told: HashMap<AccountId, Unread> =
            account_log::unread(&mut conn, accounts).await?.into_iter().collect();
        drop(conn);
        let mut counted: BTreeMap<AccountId, Unread> =
            counted.into_iter().map(|(account, threads)| (account, Unread::sum(threads))).collect();
        counted.retain(|account, unread| told.get(account).unwrap_or(&Unread::default()) != unread);
        if counted.is_empty() {
            return Ok(());
        }
        let mut tx = self.db().begin(SCOPE).await?;
        let positions = account_log::record_unread(&mut tx, &counted, self.world().now()).await?;
        self.hub().listeners().counted(&positions);
        self.hint_logs_after(&mut tx, positions);
        Ok(tx.commit().await?)
    }
}

impl Hub {
    /// Says that what is unread for an account may be something else.
    pub fn doubt_unread(&self, account_id: AccountId) {
        self.pass(&Fleeting::Read { account_id });
    }
}
