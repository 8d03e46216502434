//! The caller's own sessions: which there are, and ending some.

use crate::audit::Risk;
use crate::auth::model::{Session, SessionEnd};
use crate::auth::{Caller, Error, store};
use crate::base::SessionId;
use crate::db::Scope;
use crate::idempotency::{self, Claim, RequestKey};

use super::Service;

const SCOPE: Scope = Scope::System("own sessions");

impl Service {
    /// The caller's sessions that stand, the newest first, from behind `before`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub async fn sessions(
        &self,
        caller: &Caller,
        before: Option<SessionId>,
        limit: i64,
    ) -> Result<Vec<Session>, Error> {
        let account = caller.account()?;
        let before = before.unwrap_or(SessionId::from_uuid(uuid::Uuid::max()));
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(store::session::list(&mut conn, account, self.world.now(), before, limit).await?)
    }

    /// Ends one of the caller's sessions, which may be the one that calls.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`], the same for a session of others, one that ended before and one that never was.
    pub async fn revoke_session(
        &self,
        caller: &Caller,
        id: SessionId,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let account = caller.account()?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let now = self.world.now();
        if !store::session::end_own(&mut tx, account, id, SessionEnd::Revoked, now).await? {
            return Err(Error::SessionNotFound);
        }
        let entry = caller.entry("auth.revoke_session").of(caller.personal()?).on("session", id);
        let entry = entry.risk(Risk::Medium);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        self.standings.forget(id);
        Ok(())
    }

    /// Ends all of the caller's sessions but the one that calls, and tells how many.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub async fn revoke_other_sessions(
        &self,
        caller: &Caller,
        key: Option<&RequestKey>,
    ) -> Result<usize, Error> {
        let account = caller.account()?;
        let own = caller.session.ok_or(Error::Unauthenticated)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<usize>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(ended) => return Ok(ended),
            Claim::New(slot) => slot,
        };
        let now = self.world.now();
        let ended = store::session::end_each(&mut tx, account, Some(own), SessionEnd::Revoked, now).await?;
        let entry = caller.entry("auth.revoke_other_sessions").of(caller.personal()?).on("account", account);
        let entry = entry.risk(Risk::Medium);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &ended.len()).await?;
        tx.commit().await?;
        for session in &ended {
            self.standings.forget(*session);
        }
        Ok(ended.len())
    }
}
