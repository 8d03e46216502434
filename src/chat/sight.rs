//! Who may see whose presence: whoever shares a thread with somebody and was not blocked by them.
//!
//! It is asked whenever presence is told, and in a large thread many streams tell of many people in the same moment.
//! So a stream remembers through which thread it saw somebody, and all streams that ask at once have their threads
//! looked at together: that costs as much as there are people, not as there are pairs of them. Only where that thread
//! no longer joins the two is another one looked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::error::Error;
use super::model::ThreadId;
use super::model::presence::Sighting;
use super::service::Service;
use super::store;
use crate::auth::Caller;
use crate::base::AccountId;
use crate::db::{Batcher, Bounds, Scope};

/// How many streams are answered together, and how many people they may ask about.
const TOGETHER_MAX: usize = 256;
const PEOPLE_MAX: usize = 4_000;

const SCOPE: Scope = Scope::System("chat.presence");

/// The thread through which each of some people is seen.
pub(super) type Through = HashMap<AccountId, ThreadId>;

/// Looks that wait to be had.
pub(super) type Looks = Batcher<Arc<Look>, HashSet<AccountId>>;

/// Somebody who looks at people, each through a thread that joined the two.
#[derive(Debug)]
pub(super) struct Look {
    own: AccountId,
    at: Vec<(ThreadId, AccountId)>,
}

/// Nobody looks yet.
pub(super) fn looks() -> Looks {
    let weigh = |look: &Arc<Look>| look.at.len();
    Batcher::within(Bounds { weigh, heaviest: PEOPLE_MAX, ..Bounds::at_most(TOGETHER_MAX) })
}

impl Service {
    /// Refuses to have people watched whose presence the caller may not see. Tells through which thread each is seen;
    /// themselves through none.
    pub(super) async fn check_watched(
        &self,
        caller: &Caller,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<Through, Error> {
        let own = caller.account()?;
        let others: Vec<AccountId> = accounts.iter().copied().filter(|account| *account != own).collect();
        let acquainted = self.acquainted(caller, &others).await?;
        if others.iter().all(|account| acquainted.contains_key(account)) {
            Ok(acquainted)
        } else {
            Err(Error::MemberNotFound)
        }
    }

    /// Those of the sightings that the caller may have at this moment.
    pub(super) async fn seen(
        &self,
        caller: &Caller,
        mut sightings: Vec<Sighting>,
    ) -> Result<Vec<Sighting>, Error> {
        let own = caller.account()?;
        let at: Vec<_> = sightings.iter().filter_map(|it| Some((it.through?, it.account))).collect();
        let met = if at.is_empty() {
            HashSet::new()
        } else {
            self.looks.run(Arc::new(Look { own, at }), |looks| Box::pin(self.meet(looks))).await?
        };
        let is_met = |account: &AccountId| *account == own || met.contains(account);
        let others: Vec<AccountId> =
            sightings.iter().map(|it| it.account).filter(|account| !is_met(account)).collect();
        let acquainted = self.acquainted(caller, &others).await?;
        sightings.retain_mut(|sighting| {
            let found = acquainted.get(&sighting.account).copied();
            sighting.through = found.or(sighting.through);
            found.is_some() || is_met(&sighting.account)
        });
        Ok(sightings)
    }

    /// Whom each of those who look still sees through the threads that they name.
    async fn meet(&self, looks: Vec<Arc<Look>>) -> Result<Vec<HashSet<AccountId>>, Error> {
        let pairs = looks.iter().flat_map(|look| {
            look.at.iter().flat_map(|(thread_id, account)| [(*thread_id, *account), (*thread_id, look.own)])
        });
        let pairs: BTreeSet<(ThreadId, AccountId)> = pairs.collect();
        let watchers: BTreeSet<AccountId> = looks.iter().map(|look| look.own).collect();
        let mut conn = self.db().conn(SCOPE).await?;
        let seats = store::seats(&mut conn, &pairs).await?;
        let members: HashSet<_> = seats.iter().map(|seat| (seat.thread_id, seat.account_id)).collect();
        let deaf: HashSet<_> = store::deaf_to(&mut conn, &watchers).await?.into_iter().collect();
        let seen = |look: &Look| {
            let joins = |(thread_id, account): &(ThreadId, AccountId)| {
                members.contains(&(*thread_id, *account))
                    && members.contains(&(*thread_id, look.own))
                    && !deaf.contains(&(*account, look.own))
            };
            look.at.iter().filter(|at| joins(at)).map(|(_, account)| *account).collect()
        };
        Ok(looks.iter().map(|look| seen(look)).collect())
    }

    /// Those of the people whom the caller may see, each with a thread that joins the two.
    async fn acquainted(&self, caller: &Caller, others: &[AccountId]) -> Result<Through, Error> {
        if others.is_empty() {
            return Ok(HashMap::new());
        }
        let own = caller.account()?;
        let within = caller.grant.as_ref().map(|grant| grant.organization);
        let _place = self.reading.place().await?;
        let mut conn = self.db().conn(SCOPE).await?;
        Ok(store::acquainted(&mut conn, own, within, others).await?.into_iter().collect())
    }
}
