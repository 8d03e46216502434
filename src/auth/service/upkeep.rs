//! What a node does for accounts beside its calls: looks after the signing keys, notes which sessions are used, and
//! forgets what has had its time.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::audit::Risk;
use crate::auth::keys::{Rotate, SeenKey};
use crate::auth::model::family;
use crate::auth::{Caller, Error, store};
use crate::base::{SessionId, Timestamp};
use crate::db::Scope;

use super::{SESSIONS_AT_ONCE, Service, operator};

/// How often a node looks after all of this. A key that was retired on another node is refused within this time.
const EVERY: Duration = Duration::from_secs(2);
/// How exactly the last use of a session is known: it is written down once in this time, however often it is used.
const USE_EVERY: Duration = Duration::from_secs(60);
/// Sessions whose use waits to be written down. Beyond this it is not known to the minute.
const USES_MAX: usize = 50_000;
/// How long a session that ended or expired is kept with its tokens: for whoever asks what became of it.
const SESSIONS_KEPT: Duration = Duration::from_hours(30 * 24);
/// How long an invitation that expired is kept.
const INVITATIONS_KEPT: Duration = Duration::from_hours(30 * 24);
const SCOPE: Scope = Scope::System("auth upkeep");

/// Which sessions were used since that was last written down.
#[derive(Debug, Default)]
pub(super) struct Uses {
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    sessions: HashSet<SessionId>,
    written_at: Option<Timestamp>,
}

impl Uses {
    /// Notes that a session is used.
    pub(super) fn note(&self, session: SessionId) {
        let mut noted = self.noted();
        if noted.sessions.len() < USES_MAX {
            noted.sessions.insert(session);
        }
    }

    /// The sessions to write down, when it is time.
    fn take(&self, now: Timestamp) -> Vec<SessionId> {
        let mut noted = self.noted();
        let due = noted.written_at.is_none_or(|at| now < at || now.since(at) >= USE_EVERY);
        if !due || noted.sessions.is_empty() {
            return Vec::new();
        }
        noted.written_at = Some(now);
        noted.sessions.drain().collect()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Looks after it all until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            if let Err(error) = self.upkeep().await {
                tracing::warn!(%error, "signing keys and sessions were not looked after");
            }
        }
    }

    /// Looks after it all once.
    ///
    /// # Errors
    /// What the database refuses; [`Error::Setup`] when the root key does not open a key.
    pub async fn upkeep(&self) -> Result<(), Error> {
        self.keys.tend().await?;
        self.forget_successors().await?;
        self.write_uses().await
    }

    /// Deletes sessions and invitations that have had their time, at most `limit` of each kind; tells the most that
    /// were deleted of one.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn prune(&self, limit: i64) -> Result<u64, Error> {
        let now = self.world.now();
        let mut tx = self.db.begin(SCOPE).await?;
        let before = now.minus(SESSIONS_KEPT);
        let ended = store::session::prune_ended(&mut tx, before, limit).await?;
        let expired = store::session::prune_expired(&mut tx, before, limit).await?;
        let invitations =
            store::platform_invitation::prune(&mut tx, now.minus(INVITATIONS_KEPT), limit).await?;
        tx.commit().await?;
        Ok(ended.max(expired).max(invitations))
    }

    /// The signing keys as this node knows them, the newest first.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`].
    pub fn signing_keys(&self, caller: &Caller) -> Result<Vec<SeenKey>, Error> {
        operator::admit(caller)?;
        Ok(self.keys.seen())
    }

    /// Does something with the signing keys out of turn, and tells how they stand then. Nodes notice within seconds.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::NoSuchKey`].
    pub async fn rotate_keys(&self, caller: &Caller, what: Rotate) -> Result<Vec<SeenKey>, Error> {
        operator::admit(caller)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let keys = self.keys.rotate(&mut tx, what).await?;
        let entry = caller.entry("auth.rotate_signing_keys").risk(Risk::High);
        let entry = match what {
            Rotate::Retire(id) => entry.on("signing_key", id),
            Rotate::Next | Rotate::RetireAll => entry,
        };
        self.audit.record(&mut tx, entry).await?;
        tx.commit().await?;
        self.keys.read().await?;
        Ok(keys)
    }

    /// Forgets successors of refresh tokens that nobody can ask for any more.
    async fn forget_successors(&self) -> Result<(), Error> {
        let before = self.world.now().minus(family::GRACE);
        // A look first: most of the time there is nothing, and a transaction is a place in the writer's line.
        let any = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::session::keeps_successors(&mut conn, before).await?
        };
        if any {
            let mut tx = self.db.begin(SCOPE).await?;
            store::session::forget_successors(&mut tx, before).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Writes down which sessions were used, in as few statements as can be.
    async fn write_uses(&self) -> Result<(), Error> {
        let now = self.world.now();
        for sessions in self.uses.take(now).chunks(SESSIONS_AT_ONCE) {
            let mut tx = self.db.begin(SCOPE).await?;
            store::session::used(&mut tx, sessions, now, now.minus(USE_EVERY)).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u8) -> SessionId {
        SessionId::mint(1, &[number; 10])
    }

    #[test]
    fn a_use_is_written_down_once_in_a_minute() {
        let (uses, start) = (Uses::default(), Timestamp::from_seconds(1_000));
        assert!(uses.take(start).is_empty());
        uses.note(session(1));
        uses.note(session(1));
        assert_eq!(uses.take(start), [session(1)]);
        uses.note(session(2));
        assert!(uses.take(start.plus(Duration::from_secs(59))).is_empty());
        uses.note(session(2));
        assert_eq!(uses.take(start.plus(Duration::from_secs(60))), [session(2)]);
    }
}
