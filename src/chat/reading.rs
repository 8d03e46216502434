//! Reading for streams: whether they may follow a thread, what they missed of it, and with what else they begin.
//!
//! When a node goes away all of its clients come back at once, and most of them missed the same. So only some of the
//! database's connections are ever used for this, and the others are left to calls; and those who want the same page
//! while it is being read are given one and the same.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Error;
use super::hub::Registration;
use super::model::Event;
use super::model::feed::{Feed, Read};
use super::model::frame::Wish;
use super::service::Service;
use super::store;
use crate::auth::Caller;
use crate::base::OrganizationId;
use crate::db::{Batchers, Bounds, Db, Scope};

/// What streams read with.
pub(super) struct Reading {
    places: Semaphore,
    pages: Batchers<Read, (), Arc<Vec<Event>>>,
}

impl Reading {
    /// Nobody reads yet. At most half of the connections are used.
    pub(super) fn of(db: &Db) -> Self {
        Self {
            places: Semaphore::new(db.connections_max().div_ceil(2)),
            pages: Batchers::within(Bounds { most: usize::MAX, weigh: |()| 0, heaviest: 0 }),
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
        let place = self.reading.place().await?;
        let thread = self.open(caller, wish.thread_id).await?.1;
        drop(place);
        registration.follow(thread.id, thread.organization_id);
        let known = feed.follow(wish, thread.last_seq, thread.epoch);
        registration.told(thread.id, known);
        Ok(())
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
