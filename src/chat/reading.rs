//! Reading for streams: whether they may follow a thread, what they missed of it, and with what else they begin.
//!
//! When a node goes away all of its clients come back at once, and most of them missed the same. So only some of the
//! database's connections are ever used for this, and the others are left to calls; whether they may is asked for many
//! at once; and those who want the same page while it is being read are given one and the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Error;
use super::hub::Registration;
use super::model::feed::{Feed, Read};
use super::model::frame::Wish;
use super::model::{Event, ThreadId};
use super::service::Service;
use super::store::{self, Seat};
use crate::auth::{Caller, access};
use crate::base::{AccountId, OrganizationId};
use crate::db::{Batcher, Batchers, Bounds, Db, Scope};

/// For how many it is asked at once whether they may follow a thread.
const SEATS_MAX: usize = 500;

const FOLLOW: Scope = Scope::System("chat.follow");

/// What streams read with.
pub(super) struct Reading {
    places: Semaphore,
    seats: Batcher<(ThreadId, AccountId), Option<Seat>>,
    pages: Batchers<Read, (), Arc<Vec<Event>>>,
}

impl Reading {
    /// Nobody reads yet. At most half of the connections are used.
    pub(super) fn of(db: &Db) -> Self {
        Self {
            places: Semaphore::new(db.connections_max().div_ceil(2)),
            seats: Batcher::new(SEATS_MAX),
            pages: Batchers::within(Bounds::at_most(usize::MAX)),
        }
    }

    /// Waits for a place, in the order of asking, for as long as its caller does.
    pub(super) async fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.places.acquire().await.map_err(|_| Error::Broken(None))
    }
}

impl Service {
    /// Has a stream follow a thread from where its client is.
    pub(super) async fn follow(
        &self,
        caller: &Caller,
        registration: &Registration,
        feed: &mut Feed,
        wish: &Wish,
    ) -> Result<(), Error> {
        let seat = self.seat(caller, wish.thread_id).await?;
        registration.follow(seat.thread_id, seat.organization_id);
        let known = feed.follow(wish, seat.last_seq, seat.epoch);
        registration.told(seat.thread_id, known);
        Ok(())
    }

    /// Where the caller sits in a thread.
    async fn seat(&self, caller: &Caller, thread_id: ThreadId) -> Result<Seat, Error> {
        let account_id = caller.account()?;
        let found = self.reading.seats.run((thread_id, account_id), |asked| self.find_seats(asked)).await?;
        if let Some(seat) = found {
            access::reaching(caller, seat.organization_id).map_err(|_| Error::ThreadNotFound)?;
            return Ok(seat);
        }
        // Staff may be in a thread without belonging to its organisation.
        if !caller.is_admin() {
            return Err(Error::ThreadNotFound);
        }
        let _place = self.reading.place().await?;
        let (_, thread) = self.open(caller, thread_id).await?;
        let (organization_id, last_seq, epoch) = (thread.organization_id, thread.last_seq, thread.epoch);
        Ok(Seat { thread_id, account_id, organization_id, last_seq, epoch })
    }

    async fn find_seats(&self, asked: Vec<(ThreadId, AccountId)>) -> Result<Vec<Option<Seat>>, Error> {
        let _place = self.reading.place().await?;
        let mut conn = self.db().conn(FOLLOW).await?;
        let pairs: BTreeSet<_> = asked.iter().copied().collect();
        let seats = store::seats(&mut conn, &pairs).await?;
        let seats: HashMap<_, _> =
            seats.into_iter().map(|seat| ((seat.thread_id, seat.account_id), seat)).collect();
        Ok(asked.iter().map(|pair| seats.get(pair).copied()).collect())
    }

    /// A page of events for a stream that follows the thread: as it is after it was asked for.
    pub(super) async fn page(&self, home: OrganizationId, read: Read) -> Result<Vec<Event>, Error> {
        let page = self.reading.pages.run(read, (), |all| self.read_page(home, read, all.len())).await?;
        Ok(Arc::unwrap_or_clone(page))
    }

    async fn read_page(
        &self,
        home: OrganizationId,
        read: Read,
        readers: usize,
    ) -> Result<Vec<Arc<Vec<Event>>>, Error> {
        let _place = self.reading.place().await?;
        let mut conn = self.db().conn(Scope::Organization(home)).await?;
        let limit = i64::try_from(read.limit).unwrap_or(i64::MAX);
        let bounds = (read.after, i64::MAX);
        let page = Arc::new(store::events_after(&mut conn, home, read.thread_id, bounds, limit).await?);
        Ok(vec![page; readers])
    }
}
