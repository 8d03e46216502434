//! Looks whether the callers of all streams of a node may go on: whether their tokens, sessions and API keys stand, and
//! whether they may still see what they follow.
//!
//! One look for all streams, in a few statements: ten thousand that asked for themselves would be all that the database
//! does. Waiting is measured with the runtime's clock; whether a token has expired is decided by the platform's.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::hub::{Ended, Followed, Inbox};
use super::model::{ConnectionId, ThreadId};
use super::service::{Service, serving_among};
use super::store;
use crate::auth;
use crate::auth::model::key::KeyUse;
use crate::base::{AccountId, SessionId, Timestamp};
use crate::db::Scope;

/// How many memberships one statement asks for.
const PAIRS_MAX: usize = 500;
/// How long after a doubt it is looked: whoever adds and removes members in a loop is not to keep the database busy
/// with everybody's.
const DOUBT_PAUSE: Duration = Duration::from_millis(50);
const SCOPE: Scope = Scope::System("chat.watch");

impl Service {
    /// Looks at fixed intervals, whenever a token expires, and when somebody left a thread, until `stop`.
    pub(super) async fn watch(&self, stop: &CancellationToken) {
        // A database that does not answer must not hold the drain up.
        let _stopped = stop
            .run_until_cancelled(async {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(self.until_next_look()) => {}
                        () = self.hub().doubted() => tokio::time::sleep(DOUBT_PAUSE).await,
                    }
                    self.look().await;
                }
            })
            .await;
    }

    /// At the latest until the first token expires. A stream that was told of its end may take a moment to go: there is
    /// nothing more to wait for.
    fn until_next_look(&self) -> Duration {
        let (recheck, now) = (self.options().recheck, self.world().now());
        let streams = self.hub().streams();
        let going_on = streams.iter().filter(|stream| !stream.has_ended());
        let expiries = going_on.filter_map(|stream| stream.expires_at());
        expiries.map(|at| at.since(now)).fold(recheck, Duration::min)
    }

    async fn look(&self) {
        let mut streams = self.hub().streams();
        let now = self.world().now();
        if let Err(error) = self.look_at_tokens(&streams, now).await {
            tracing::debug!(%error, "it cannot be asked whether the tokens of streams were renewed");
        }
        for stream in &streams {
            if stream.expires_at().is_some_and(|at| at <= now) {
                let of_key = stream.holder().key.is_some();
                stream.end(if of_key { Ended::KeyExpired } else { Ended::TokenExpired });
            }
        }
        if let Err(error) = self.look_at_connections(now).await {
            tracing::debug!(%error, "it cannot be asked what calls have said of streams");
        }
        streams.retain(|stream| !stream.has_ended());
        // Memberships are read first, and told last: what ends a program ends its membership in the same transaction,
        // and whoever reads them the other way round may see the second without the first.
        let lost = self.lost_among(&streams).await;
        // What cannot be asked now is asked again soon; meanwhile no event can be read either. The hub warns.
        if let Err(error) = self.look_at_sessions(&streams).await {
            tracing::debug!(%error, "the sessions of streams cannot be checked");
        }
        if let Err(error) = self.look_at_keys(&streams).await {
            tracing::debug!(%error, "the API keys of streams cannot be checked");
        }
        match lost {
            Ok(lost) => {
                for (stream, thread_id) in lost.iter().filter(|(stream, _)| !stream.has_ended()) {
                    stream.lose(*thread_id);
                }
            }
            Err(error) => tracing::debug!(%error, "the memberships of streams cannot be checked"),
        }
    }

    /// A token that was renewed by a call on another node is noted with the stream.
    async fn look_at_tokens(&self, streams: &[Arc<Inbox>], now: Timestamp) -> Result<(), Error> {
        let over = |stream: &&Arc<Inbox>| stream.expires_at().is_some_and(|at| at <= now);
        let of_sessions = |stream: &&Arc<Inbox>| !stream.has_ended() && stream.holder().session.is_some();
        let due: Vec<ConnectionId> =
            streams.iter().filter(of_sessions).filter(over).map(|stream| stream.id()).collect();
        for part in due.chunks(PAIRS_MAX) {
            let mut conn = self.db().conn(SCOPE).await?;
            for (id, until) in store::token_ends(&mut conn, part).await? {
                if let Some(stream) = self.hub().stream(id) {
                    stream.extend(Some(until));
                }
            }
        }
        Ok(())
    }

    /// Ends streams whose clients have promised to say that they are there and do not, and rings with those that calls
    /// have left something for: the hint of that may be lost.
    async fn look_at_connections(&self, now: Timestamp) -> Result<(), Error> {
        let node = self.node();
        let mut conn = self.db().conn(SCOPE).await?;
        let lapsed = store::lapsed_connections(&mut conn, node, now).await?;
        let changed = store::changed_connections(&mut conn, node).await?;
        drop(conn);
        for stream in lapsed.into_iter().filter_map(|id| self.hub().stream(id)) {
            stream.end(Ended::LeaseLapsed);
        }
        for stream in changed.into_iter().filter_map(|id| self.hub().stream(id)) {
            stream.ring_changes();
        }
        Ok(())
    }

    async fn look_at_sessions(&self, streams: &[Arc<Inbox>]) -> Result<(), Error> {
        let sessions: HashSet<SessionId> =
            streams.iter().filter_map(|stream| stream.holder().session).collect();
        let ended = self.auth().ended_among(sessions).await?;
        for stream in streams {
            if stream.holder().session.is_some_and(|session| ended.contains(&session)) {
                stream.end(Ended::SessionRevoked);
            }
        }
        Ok(())
    }

    async fn look_at_keys(&self, streams: &[Arc<Inbox>]) -> Result<(), Error> {
        let keys: HashSet<KeyUse> = streams.iter().filter_map(|stream| stream.holder().key).collect();
        let ended = self.auth().ended_keys_among(keys).await?;
        for stream in streams {
            if stream.holder().key.is_some_and(|key| ended.contains(&key)) {
                stream.end(Ended::KeyRevoked);
            }
        }
        Ok(())
    }

    /// Which streams follow a thread that their callers may no longer see. A thread is seen by those who are members
    /// both of it and of its organisation, and by staff that took it up.
    async fn lost_among<'a>(
        &self,
        streams: &'a [Arc<Inbox>],
    ) -> Result<Vec<(&'a Arc<Inbox>, ThreadId)>, Error> {
        let seats: Vec<(&Arc<Inbox>, AccountId, Followed)> = streams
            .iter()
            .flat_map(|stream| {
                stream.followed().into_iter().map(move |thread| (stream, stream.holder().account, thread))
            })
            .collect();
        let homes: HashSet<_> =
            seats.iter().map(|(_, account, thread)| (thread.organization_id, *account)).collect();
        let threads: HashSet<_> =
            seats.iter().map(|(_, account, thread)| (thread.thread_id, *account)).collect();
        let (mut homes_seen, mut threads_seen) = (HashSet::new(), HashSet::new());
        for part in homes.into_iter().collect::<Vec<_>>().chunks(PAIRS_MAX) {
            let mut conn = self.db().conn(SCOPE).await?;
            homes_seen.extend(auth::store::memberships_among(&mut conn, part).await?);
        }
        for part in threads.into_iter().collect::<Vec<_>>().chunks(PAIRS_MAX) {
            let mut conn = self.db().conn(SCOPE).await?;
            threads_seen.extend(store::members_among(&mut conn, part).await?);
        }
        // Staff belong to no organisation whose people they help.
        let foreign = seats.iter().filter(|(_, account, thread)| {
            !homes_seen.contains(&(thread.organization_id, *account))
                && threads_seen.contains(&(thread.thread_id, *account))
        });
        let foreign: HashSet<_> = foreign.map(|(_, account, thread)| (thread.thread_id, *account)).collect();
        let mut serving = HashSet::new();
        for part in foreign.into_iter().collect::<Vec<_>>().chunks(PAIRS_MAX) {
            let mut conn = self.db().conn(SCOPE).await?;
            serving.extend(serving_among(&mut conn, part).await?);
        }
        let seen = |account: AccountId, thread: &Followed| {
            let seat = (thread.thread_id, account);
            let at_home = homes_seen.contains(&(thread.organization_id, account));
            (at_home && threads_seen.contains(&seat)) || serving.contains(&seat)
        };
        Ok(seats
            .iter()
            .filter(|(_, account, thread)| !seen(*account, thread))
            .map(|(stream, _, thread)| (*stream, thread.thread_id))
            .collect())
    }
}
