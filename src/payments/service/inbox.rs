//! The inbox: what comes in is stored with its job, then answered, then applied.
//!
//! Whoever posts gets the same answer whatever the verdict, because any other makes PayFast post again, and because a
//! forger should learn nothing. Only what could not be stored is refused.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::base::Timestamp;
use crate::db::{Scope, Tx};
use crate::jobs;
use crate::keyring;
use crate::payments::Error;
use crate::payments::crash::CrashPoint;
use crate::payments::model::{AlarmKind, EventId, EventStatus};
use crate::payments::payfast::api::history::Row;
use crate::payments::payfast::itn::{Itn, TOKEN_FIELD};
use crate::payments::store::alarm::Alarm;
use crate::payments::store::event::{self, Arrival};
use crate::payments::store::quarantine::{self, Suspect};

use super::{ApplyEvent, Service, window};

/// How many unsigned notifications from the provider's own addresses are kept.
const QUARANTINE_LISTED_MAX: i64 = 10_000;
/// How many from anywhere else.
const QUARANTINE_UNLISTED_MAX: i64 = 1_000;
/// How long they are kept.
const QUARANTINE_AGE_MAX: Duration = Duration::from_hours(30 * 24);
/// How much of each is kept, in bytes. Real notifications have about one thousand.
const QUARANTINE_BODY_BYTES_MAX: usize = 16 * 1024;
/// How much of a word from a notification is kept beside its bytes, in characters.
const WORD_CHARS_MAX: usize = 100;

/// What was posted, as it came.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The bytes.
    pub body: Vec<u8>,
    /// The address that it came from, through trusted proxies only.
    pub peer: Option<IpAddr>,
    /// The headers that may matter to whoever looks into it: name and value.
    pub headers: Vec<(String, String)>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Stored, and a job will apply it.
    Stored,
    /// The same bytes were stored before.
    Repeated,
    /// Not signed; kept aside.
    Quarantined,
    /// A stranger that posts too often; nothing was stored. Come back after this long.
    Throttled(Duration),
}

/// A notification whose signature holds, on its way to the inbox.
#[derive(Clone)]
pub(super) struct Signed {
    arrival: Arc<Arrival>,
    /// Whether it came from one of the provider's own addresses.
    listed: bool,
}

/// How many notifications one transaction stores at most.
pub(super) const ARRIVALS_MAX: usize = 64;
const RECEIVE: Scope = Scope::System("payments.receive");

impl Service {
    /// Stores a notification and the job that applies it, in one transaction.
    ///
    /// # Errors
    /// Only when it could not be stored.
    pub async fn receive(&self, incoming: Incoming) -> Result<Receipt, Error> {
        let listed = self.options.lists(incoming.peer);
        if !listed && let Err(wait) = self.admit(incoming.peer) {
            return Ok(Receipt::Throttled(wait));
        }
        let reason = match Itn::parse(&incoming.body) {
            Ok(itn) if itn.signature_holds(self.options.passphrase()) => {
                let arrival = self.arrival(self.world.id(), self.envelope(incoming), &itn)?;
                let arrival = Arc::new(arrival);
                let store = |arrivals| self.store_events(arrivals);
                let receipt = self.arrivals.run(Signed { arrival, listed }, store).await?;
                self.crash.reach(CrashPoint::EventStored).await;
                return Ok(receipt);
            }
            Ok(_) => "the signature is missing or wrong".to_owned(),
            Err(error) => error.to_string(),
        };
        let mut tx = self.db.begin(RECEIVE).await?;
        let receipt = self.quarantine(&mut tx, incoming, listed, &reason).await?;
        tx.commit().await?;
        Ok(receipt)
    }

    /// What is stored of a notification: its bytes as they came; wrapped when there is a token in them with which a
    /// card could be charged.
    pub(super) fn arrival(&self, id: EventId, envelope: Envelope, itn: &Itn) -> Result<Arrival, Error> {
        let arrival = arrival(id, envelope, itn);
        let carries = itn.get(TOKEN_FIELD).is_some_and(|token| !token.is_empty());
        let Some(root) = self.root.as_ref().filter(|_| carries) else { return Ok(arrival) };
        let body = root.seal(&self.world, &purpose(id), &arrival.body).map_err(Error::internal)?;
        Ok(Arrival { body, sealed: true, ..arrival })
    }

    /// A stored notification as it came, and where it stands.
    ///
    /// # Errors
    /// What the database refuses, or that it does not open.
    pub async fn notification(&self, id: EventId) -> Result<Option<(Vec<u8>, EventStatus)>, Error> {
        let mut conn = self.db.conn(Scope::System("payments.notification")).await?;
        let stored = event::body(&mut conn, id).await?;
        drop(conn);
        let open = |(body, sealed, status)| Ok((self.opened(id, body, sealed)?, status));
        stored.map(open).transpose()
    }

    /// The bytes of a stored notification as they came.
    pub(super) fn opened(&self, id: EventId, body: Vec<u8>, sealed: bool) -> Result<Vec<u8>, Error> {
        if !sealed {
            return Ok(body);
        }
        let root = self.root.as_ref().ok_or_else(|| Error::internal(keyring::Error))?;
        Ok(root.open(&purpose(id), &body).map_err(Error::internal)?.expose().clone())
    }

    fn envelope(&self, incoming: Incoming) -> Envelope {
        Envelope {
            peer: peer_text(incoming.peer),
            headers: headers_json(&incoming.headers),
            body: incoming.body,
            at: self.world.now(),
        }
    }

    /// Stores what came at the same time in one transaction: notifications come in bursts, and the disk is waited for
    /// once.
    async fn store_events(&self, arrivals: Vec<Signed>) -> Result<Vec<Receipt>, Error> {
        // No statement may store the same bytes twice: the first of them stands for all.
        let mut copies: BTreeMap<&[u8], (&Arrival, i64)> = BTreeMap::new();
        for signed in &arrivals {
            copies.entry(&signed.arrival.body_hash).or_insert((&signed.arrival, 0)).1 += 1;
        }
        let copies: Vec<(&Arrival, i64)> = copies.into_values().collect();
        let mut tx = self.db.begin(RECEIVE).await?;
        let stored: HashSet<EventId> = event::insert(&mut tx, &copies).await?.into_iter().collect();
        let new = copies.iter().map(|(arrival, _)| arrival.id).filter(|id| stored.contains(id));
        let jobs: Vec<ApplyEvent> = new.map(|event_id| ApplyEvent { event_id }).collect();
        jobs::push_all(&mut tx, &self.world, None, &jobs).await?;
        for Signed { arrival, .. } in arrivals.iter().filter(|signed| !signed.listed) {
            let alarm = outside(AlarmKind::SourceUnlisted, &arrival.peer, arrival.at, UNLISTED);
            self.raise(&mut tx, alarm).await?;
        }
        tx.commit().await?;
        let receipt = |id| if stored.contains(id) { Receipt::Stored } else { Receipt::Repeated };
        Ok(arrivals.iter().map(|signed| receipt(&signed.arrival.id)).collect())
    }

    async fn quarantine(
        &self,
        tx: &mut Tx,
        mut incoming: Incoming,
        listed: bool,
        reason: &str,
    ) -> Result<Receipt, Error> {
        incoming.body.truncate(QUARANTINE_BODY_BYTES_MAX);
        let now = self.world.now();
        let suspect = Suspect {
            listed_source: listed,
            peer: peer_text(incoming.peer),
            headers: headers_json(&incoming.headers),
            body: incoming.body,
            reason: reason.to_owned(),
            at: now,
        };
        quarantine::insert(tx, self.world.id(), &suspect).await?;
        let keep = if listed { QUARANTINE_LISTED_MAX } else { QUARANTINE_UNLISTED_MAX };
        quarantine::prune(tx, listed, now.minus(QUARANTINE_AGE_MAX), keep).await?;
        self.raise(tx, outside(AlarmKind::SignatureWrong, &suspect.peer, now, reason)).await?;
        Ok(Receipt::Quarantined)
    }
}

const UNLISTED: &str = "a signed notification came from an address outside the provider's ranges; it is applied when \
                        the provider confirms it";

/// One alarm for all that strangers do within a window: what they send must not fill the table.
fn outside(kind: AlarmKind, peer: &str, at: Timestamp, detail: &str) -> Alarm {
    Alarm {
        kind,
        dedupe_key: window(at),
        organization_id: None,
        subject: peer.to_owned(),
        detail: detail.to_owned(),
    }
}

/// A notification as it came, beside what it says.
pub(super) struct Envelope {
    /// The bytes.
    pub(super) body: Vec<u8>,
    /// The address that it came from.
    pub(super) peer: String,
    /// The headers that are kept, as JSON.
    pub(super) headers: String,
    /// When.
    pub(super) at: Timestamp,
}

/// What the bytes of a notification are wrapped for.
fn purpose(id: EventId) -> String {
    format!("notification:{id}")
}

fn arrival(id: EventId, envelope: Envelope, itn: &Itn) -> Arrival {
    let word = |name: &str| -> String {
        let value = String::from_utf8_lossy(itn.get(name).unwrap_or_default());
        // PostgreSQL stores no NUL in a text; the bytes themselves are kept beside.
        value.chars().filter(|c| *c != '\0').take(WORD_CHARS_MAX).collect()
    };
    Arrival {
        id,
        body_hash: Sha256::digest(&envelope.body).to_vec(),
        body: envelope.body,
        sealed: false,
        peer: envelope.peer,
        headers: envelope.headers,
        payment_status: word("payment_status"),
        provider_payment_id: word("pf_payment_id"),
        payment_reference: word("m_payment_id"),
        at: envelope.at,
    }
}

/// A row of the provider's history, as the inbox keeps it. Nobody sent it: we asked.
pub(super) fn row_arrival(id: EventId, row: &Row, at: Timestamp) -> Arrival {
    let word = |text: &str| text.chars().filter(|c| *c != '\0').take(WORD_CHARS_MAX).collect();
    Arrival {
        id,
        body: row.csv.clone(),
        // No token is in it with which a card could be charged.
        sealed: false,
        body_hash: Sha256::digest(&row.csv).to_vec(),
        peer: String::new(),
        headers: headers_json(&[]),
        payment_status: word(&row.kind),
        provider_payment_id: word(&row.provider_payment_id),
        payment_reference: word(&row.reference),
        at,
    }
}

fn peer_text(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_canonical().to_string())
}

fn headers_json(headers: &[(String, String)]) -> String {
    // Pairs of texts; their JSON cannot fail.
    serde_json::to_string(headers).unwrap_or_default()
}
