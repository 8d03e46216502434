//! The audit log: who did what, on whose behalf, to what, and from where.
//!
//! An entry is written in the transaction of the change that it tells of, so that there is never one without the other.
//! Nobody waits there for anybody: the entry has no place in the chain yet. A [`Sealer`] on every node gives places in
//! batches, one node at a time, and signs the end of each. What is personal in an entry is sealed with a key of that
//! person, so that it can be erased while the chain holds. [`Archive`] reads, exports and verifies.
//!
//! What was refused has no transaction. [`Log::refused`] notes it in memory, bounded, and the sealer writes it.
//!
//! This module does not know what any action means or who may read the log, and decides nothing.

mod archive;
pub mod model;
mod people;
mod sealer;
mod store;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::chain::{Fault, GENESIS, Head, Known, Options};
pub use archive::{Archive, Batch, Filter, Link, Place, Reach, Report, Seen, TAIL_MAX, Tail};
pub use model::chain::{Bad, KIND};
pub use model::event::{Event, EventId, Personal, Remembered};
pub use model::{Actor, ActorKind, Entry, Outcome, Risk, Subject};
pub use sealer::Sealer;

use crate::base::{AccountId, Secret, World};
use crate::chain::HeadKey;
use crate::db::{self, Db, Scope, Tx};
use crate::keyring::{self, RootKey};
use model::refusals::{Refusals, Refused};
use people::People;

/// How many refusals one transaction writes, so that nobody waits long for the writer.
const REFUSALS_AT_ONCE: usize = 64;
const SCOPE: Scope = Scope::System("audit");

/// Writes entries. Cheap to clone; all clones share what waits to be written.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    /// For digests of states, which are few enough to be guessed without a key.
    states: Secret<[u8; 32]>,
    heads: HeadKey,
    people: People,
    refusals: Mutex<Refusals>,
}

impl Log {
    /// A log whose secrets the root key wraps.
    #[must_use]
    pub fn new(world: World, root: RootKey) -> Self {
        let states = root.derive("audit-states");
        let heads = HeadKey::from_seed(KIND, &root.derive(KIND.key()));
        let people = People::new(world.clone(), root);
        Self { inner: Arc::new(Inner { world, states, heads, people, refusals: Mutex::default() }) }
    }

    /// Writes an entry in the transaction of the change that it tells of.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn record(&self, tx: &mut Tx, entry: Entry) -> Result<(), db::Error> {
        let (id, at) = (self.inner.world.id(), self.inner.world.now());
        self.write(tx, Refused { id, at, entry, reason: Cow::default(), occurrences: 1 }, Outcome::Done).await
    }

    /// Notes what was refused, for programs that read the log: `reason` is the name of the refusal's reason. Equal
    /// refusals within a minute become one entry with a count. Costs a moment, needs no database, and cannot fail.
    pub fn refused(&self, entry: Entry, reason: impl Into<Cow<'static, str>>) {
        let (id, at) = (self.inner.world.id(), self.inner.world.now());
        self.refusals().note(Refused { id, at, entry, reason: reason.into(), occurrences: 1 });
    }

    /// Erases what the log says of a person beyond their id: the key that sealed it goes. The chain holds as before.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn erase(&self, tx: &mut Tx, account: AccountId) -> Result<(), db::Error> {
        self.inner.people.erase(tx, account.uuid()).await
    }

    /// Erases what the log says of strangers whose time is over, of at most `limit` days; tells of how many.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn forget_strangers(&self, tx: &mut Tx, limit: i64) -> Result<u64, db::Error> {
        store::people::prune(tx, self.inner.world.now(), limit).await
    }

    /// The public half of the key that signs heads.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.inner.heads.public()
    }

    /// Writes the refusals whose window is over, or all of them. Those that could not be written wait on.
    async fn flush(&self, db: &Db, all: bool) -> Result<(), db::Error> {
        let now = self.inner.world.now();
        let mut due = {
            let mut refusals = self.refusals();
            if all { refusals.take_all() } else { refusals.take_due(now) }
        };
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(REFUSALS_AT_ONCE));
            if let Err(error) = self.write_refusals(db, &due).await {
                let mut refusals = self.refusals();
                due.into_iter().chain(rest).for_each(|refused| refusals.note(refused));
                return Err(error);
            }
            due = rest;
        }
        Ok(())
    }

    async fn write_refusals(&self, db: &Db, due: &[Refused]) -> Result<(), db::Error> {
        let mut tx = db.begin(SCOPE).await?;
        for refused in due {
            self.write(&mut tx, refused.clone(), Outcome::Refused).await?;
        }
        tx.commit().await
    }

    async fn write(&self, tx: &mut Tx, noted: Refused, outcome: Outcome) -> Result<(), db::Error> {
        let Refused { id, at, entry, reason, occurrences } = noted;
        let sealed = self.inner.people.seal(tx, id, &entry.actor, at).await?;
        let (person_id, personal) = sealed.unzip();
        let Entry { action, actor, organization, subject, risk, before, after } = entry;
        let event = Event {
            id,
            organization_id: organization,
            action: action.to_owned(),
            outcome: outcome.as_str().to_owned(),
            reason: (outcome == Outcome::Refused).then(|| reason.into_owned()),
            occurrences,
            risk: risk.as_str().to_owned(),
            actor_kind: actor.kind.as_str().to_owned(),
            actor_id: actor.id,
            on_behalf_of: actor.on_behalf_of,
            session_id: actor.session,
            purpose: actor.purpose.map(str::to_owned),
            subject_kind: subject.as_ref().map(|subject| subject.kind.to_owned()),
            subject_id: subject.map(|subject| subject.id),
            before_digest: self.digest(before.as_deref()),
            after_digest: self.digest(after.as_deref()),
            request_id: actor.request_id,
            person_id,
            personal,
            created_at: at,
        };
        store::insert(tx, &event).await?;
        store::chain::enqueue(tx, id, event.digest(&mut Vec::new()), self.inner.world.now()).await
    }

    fn digest(&self, state: Option<&str>) -> Option<Vec<u8>> {
        state.map(|state| keyring::mac(self.inner.states.expose(), &[state.as_bytes()]).to_vec())
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.inner.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}
