//! Reading, exporting and verifying the log.
//!
//! Whoever reads for an organisation sees that organisation's entries, and of the others that they have a place in the
//! chain: the digests between its own entries, which tell nothing of what they are made of.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::model::Risk;
use super::model::chain::{Bad, KIND};
use super::model::event::{Event, EventId, Remembered};
use super::store::{self, Wanted};
use super::{Log, SCOPE};
use crate::base::{OrganizationId, Timestamp};
use crate::chain::{Behind, End, Fault, GENESIS, Head, Known, Seal, Walk};
use crate::db::{self, Db, Scope};

/// How many links a verification reads at once.
const LINKS_AT_ONCE: i64 = 1_000;
/// How many entries are looked at in one statement for one without a place.
const UNCHAINED_AT_ONCE: i64 = 20_000;
/// How many waiting entries are counted. A sealer that works leaves none for longer than a second.
pub const TAIL_MAX: i64 = 10_000;
const BEFORE_ALL: EventId = EventId::from_uuid(Uuid::nil());

/// How much of the log is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    Platform,
    /// What concerns an organisation.
    Organization(OrganizationId),
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only actions that begin so.
    pub action_prefix: String,
    /// Only what they did, or what was done in their name.
    pub actor: Option<Uuid>,
    /// Only what was done to it.
    pub subject: Option<Uuid>,
    /// Only of this risk.
    pub risk: Option<Risk>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
}

/// Where an entry stands in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its position, from 1.
    pub position: i64,
    /// The hash there.
    pub hash: [u8; 32],
}

/// An entry as a reader sees it. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct Seen {
    /// What is stored.
    pub event: Event,
    /// What can be read of its personal part.
    pub personal: Remembered,
    /// Its place; none when it waits for one.
    pub place: Option<Place>,
}

/// A link of the chain in an export.
#[derive(Clone)]
pub enum Link {
    /// An entry of the reader's.
    Entry(Box<Seen>),
    /// Somebody else's: what the chain needs of it, and no more.
    Others {
        /// Its position.
        position: i64,
        /// Its digest.
        digest: Vec<u8>,
    },
}

/// A batch of the chain in an export.
#[derive(Clone)]
pub struct Batch {
    /// Its links in order; none when no entry in it is the reader's.
    pub links: Vec<Link>,
    /// Its signed end.
    pub head: Head,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many entries were compared with their digests.
    pub entries: i64,
    /// How many links were followed: all of them when nothing is wrong.
    pub links: i64,
    /// How many entries waited for a place when the verification began.
    pub unsealed: i64,
    /// The last signed head that holds.
    pub head: Option<Head>,
    /// The first bad entry.
    pub bad: Option<Bad>,
}

/// The end of the log: what is sealed, and what waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// How many entries wait for a place, counted up to one more than [`TAIL_MAX`].
    pub unsealed: i64,
    /// Since when the first of them waits.
    pub oldest: Option<Timestamp>,
    /// The last signed head.
    pub head: Option<Head>,
}

/// The log, to be read.
#[derive(Clone)]
pub struct Archive {
    db: Db,
    log: Log,
}

impl Archive {
    /// The archive of this log.
    #[must_use]
    pub const fn new(db: Db, log: Log) -> Self {
        Self { db, log }
    }

    /// The public half of the key that signs heads.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.log.public_key()
    }

    /// Entries before `after`, the newest first, at most `limit`.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn list(
        &self,
        reach: Reach,
        filter: Filter,
        after: Option<EventId>,
        limit: i64,
    ) -> Result<Vec<Seen>, db::Error> {
        let Filter { action_prefix, actor, subject, risk, since, until } = filter;
        let wanted = Wanted { action_prefix, actor, subject, risk, since, until, after, limit };
        let mut conn = self.db.conn(scope(reach)).await?;
        let events = match reach {
            Reach::Platform => store::list(&mut conn, &wanted).await?,
            Reach::Organization(organization) => store::list_of(&mut conn, organization, &wanted).await?,
        };
        let personal = self.log.inner.people.open(&mut conn, &events).await?;
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let places = store::chain::places(&mut conn, &ids).await?;
        let places: HashMap<EventId, Place> = places
            .into_iter()
            .filter_map(|seal| Some((EventId::from_uuid(seal.id), place(&seal)?)))
            .collect();
        let seen = events.into_iter().zip(personal).map(|(event, personal)| {
            let place = places.get(&event.id).copied();
            Seen { event, personal, place }
        });
        Ok(seen.collect())
    }

    /// The hash at a position; at 0 the one that the first link hangs on. None when there is no such position.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn hash_at(&self, position: i64) -> Result<Option<[u8; 32]>, db::Error> {
        if position == 0 {
            return Ok(Some(GENESIS));
        }
        let mut conn = self.db.conn(SCOPE).await?;
        let seal = store::chain::link_at(&mut conn, position).await?;
        Ok(seal.and_then(|seal| seal.hash.try_into().ok()))
    }

    /// The signed heads after a position, at most `limit`.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn heads(&self, after: i64, limit: i64) -> Result<Vec<Head>, db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        store::chain::heads(&mut conn, after, i64::MAX, limit).await
    }

    /// The batch that ends behind a position, whole; none at the end of the chain.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn batch(&self, reach: Reach, after: i64) -> Result<Option<Batch>, db::Error> {
        let Some(head) = self.heads(after, 1).await?.into_iter().next() else { return Ok(None) };
        let (from, to) = (head.previous_position, head.position);
        let (events, personal) = {
            let mut conn = self.db.conn(scope(reach)).await?;
            let events = sealed(&mut conn, reach, from, to).await?;
            let personal = self.log.inner.people.open(&mut conn, &events).await?;
            (events, personal)
        };
        if events.is_empty() {
            return Ok(Some(Batch { links: Vec::new(), head }));
        }
        let seals = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::chain::links(&mut conn, from, to, to.saturating_sub(from)).await?
        };
        let mut own: HashMap<EventId, (Event, Remembered)> =
            events.into_iter().zip(personal).map(|pair| (pair.0.id, pair)).collect();
        let link = |seal: Seal| match own.remove(&EventId::from_uuid(seal.id)) {
            Some((event, personal)) => Link::Entry(Box::new(Seen { event, personal, place: place(&seal) })),
            None => Link::Others { position: seal.position, digest: seal.digest },
        };
        Ok(Some(Batch { links: seals.into_iter().map(link).collect(), head }))
    }

    /// How the log ends: cheap, and no verification.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn tail(&self) -> Result<Tail, db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        let (unsealed, oldest) = store::chain::waiting(&mut conn, TAIL_MAX.saturating_add(1)).await?;
        let head = store::chain::last_head(&mut conn).await?;
        Ok(Tail { unsealed, oldest, head })
    }

    /// Follows the chain from its beginning, recomputes the entries within reach, and compares everything with
    /// everything. `known` is a head that an auditor wrote down, which the chain must still hold.
    ///
    /// A log that is bad is an answer, not an error.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn verify(&self, reach: Reach, known: Option<Known>) -> Result<Report, db::Error> {
        // First, for what is sealed meanwhile must be found in the chain.
        let (unsealed, changed) = self.waiting(reach).await?;
        let ends = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::chain::ends(&mut conn).await?
        };
        let mut walk = Walk::new(KIND, self.public_key(), known);
        let mut bad = self.follow(&mut walk, reach, ends.last_seal).await?;
        if bad.is_none() {
            let end = End { position: ends.position, hash: ends.hash };
            bad = walk.finish(&end, ends.last_head).err().map(Bad::from);
        }
        let bad = match bad.or(changed) {
            Some(bad) => Some(bad),
            None => self.unchained(reach).await?,
        };
        let (entries, links, head) = (walk.entries(), walk.position(), walk.head().cloned());
        Ok(Report { entries, links, unsealed, head, bad })
    }

    /// Walks along the chain up to its last link, or the first that is bad.
    async fn follow(&self, walk: &mut Walk, reach: Reach, last: i64) -> Result<Option<Bad>, db::Error> {
        let mut buffer = Vec::new();
        while walk.position() < last {
            let after = walk.position();
            let (seals, heads, present) = {
                let mut conn = self.db.conn(SCOPE).await?;
                let seals = store::chain::links(&mut conn, after, last, LINKS_AT_ONCE).await?;
                let until = seals.last().map_or(after, |seal| seal.position);
                let heads = store::chain::heads(&mut conn, after, until, LINKS_AT_ONCE).await?;
                // Of a whole log the entries are read anyway.
                let present = match reach {
                    Reach::Platform => Vec::new(),
                    Reach::Organization(_) => store::chain::present(&mut conn, after, until).await?,
                };
                (seals, heads, present)
            };
            let Some(until) = seals.last().map(|seal| seal.position) else { return Ok(None) };
            let there: HashSet<i64> = present.into_iter().map(|(position,)| position).collect();
            let page = self.read(reach, after, until).await?;
            let mut heads = heads.into_iter().peekable();
            for seal in &seals {
                let behind = match page.get(&EventId::from_uuid(seal.id)) {
                    Some(Some(event)) => Behind::Entry(event.id.uuid(), event.digest(&mut buffer)),
                    Some(None) => Behind::Unreadable,
                    None if there.contains(&seal.position) => Behind::Others,
                    None => Behind::Nothing,
                };
                if let Err(bad) = walk.step(seal, behind) {
                    return Ok(Some(bad.into()));
                }
                while let Some(head) = heads.next_if(|head| head.position <= seal.position) {
                    if let Err(bad) = walk.pass(&head) {
                        return Ok(Some(bad.into()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The entries within reach at these positions; those that cannot be read as none.
    async fn read(
        &self,
        reach: Reach,
        after: i64,
        until: i64,
    ) -> Result<HashMap<EventId, Option<Event>>, db::Error> {
        let mut conn = self.db.conn(scope(reach)).await?;
        match sealed(&mut conn, reach, after, until).await {
            Ok(events) => Ok(events.into_iter().map(|event| (event.id, Some(event))).collect()),
            Err(db::Error::Driver(_)) => self.read_one_by_one(reach, after, until).await,
            Err(error) => Err(error),
        }
    }

    /// Some entry of these cannot be read: which?
    async fn read_one_by_one(
        &self,
        reach: Reach,
        after: i64,
        until: i64,
    ) -> Result<HashMap<EventId, Option<Event>>, db::Error> {
        let seals = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::chain::links(&mut conn, after, until, LINKS_AT_ONCE).await?
        };
        let mut page = HashMap::new();
        for seal in seals {
            let mut conn = self.db.conn(scope(reach)).await?;
            match sealed(&mut conn, reach, seal.position.saturating_sub(1), seal.position).await {
                Ok(events) => page.extend(events.into_iter().map(|event| (event.id, Some(event)))),
                Err(db::Error::Driver(_)) => {
                    page.insert(EventId::from_uuid(seal.id), None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// How many entries within reach wait for a place, and the first of them that is not what was written.
    async fn waiting(&self, reach: Reach) -> Result<(i64, Option<Bad>), db::Error> {
        let (mut count, mut bad, mut after, mut buffer) = (0_i64, None, BEFORE_ALL, Vec::new());
        loop {
            let mut conn = self.db.conn(SCOPE).await?;
            let waiting = store::chain::waiting_after(&mut conn, after, LINKS_AT_ONCE).await?;
            let Some((last, _)) = waiting.last() else { return Ok((count, bad)) };
            after = *last;
            let ids: Vec<EventId> = waiting.iter().map(|(id, _)| *id).collect();
            let events = store::among(&mut conn, &ids).await?;
            let events: HashMap<EventId, Event> = events.into_iter().map(|event| (event.id, event)).collect();
            for (id, digest) in &waiting {
                let fault = match events.get(id) {
                    None => Some(Fault::EntryMissing),
                    Some(event) if !within(reach, event) => continue,
                    Some(event) => {
                        (event.digest(&mut buffer) != digest.as_slice()).then_some(Fault::EntryChanged)
                    }
                };
                count = count.saturating_add(1);
                bad = bad.or(fault.map(|fault| Bad { position: None, id: Some(*id), fault }));
            }
        }
    }

    /// The first entry within reach that neither has a place nor waits for one.
    async fn unchained(&self, reach: Reach) -> Result<Option<Bad>, db::Error> {
        let organization = match reach {
            Reach::Platform => None,
            Reach::Organization(organization) => Some(organization),
        };
        let mut after = BEFORE_ALL;
        loop {
            let mut conn = self.db.conn(SCOPE).await?;
            let end = store::page_end(&mut conn, after, UNCHAINED_AT_ONCE).await?;
            let until = end.unwrap_or(store::AFTER_ALL);
            let id = store::unchained(&mut conn, organization, after, until).await?;
            if id.is_some() || end.is_none() {
                return Ok(id.map(|id| Bad { position: None, id: Some(id), fault: Fault::EntryUnchained }));
            }
            after = until;
        }
    }
}

const fn scope(reach: Reach) -> Scope {
    match reach {
        Reach::Platform => SCOPE,
        Reach::Organization(organization) => Scope::Organization(organization),
    }
}

fn within(reach: Reach, event: &Event) -> bool {
    match reach {
        Reach::Platform => true,
        Reach::Organization(organization) => event.organization_id == Some(organization),
    }
}

async fn sealed(
    conn: &mut db::Session,
    reach: Reach,
    after: i64,
    until: i64,
) -> Result<Vec<Event>, db::Error> {
    match reach {
        Reach::Platform => store::sealed(conn, after, until).await,
        Reach::Organization(organization) => store::sealed_of(conn, organization, after, until).await,
    }
}

fn place(seal: &Seal) -> Option<Place> {
    let hash = seal.hash.as_slice().try_into().ok()?;
    Some(Place { position: seal.position, hash })
}
