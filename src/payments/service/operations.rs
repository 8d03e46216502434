//! What operators see of the provider and its inbox, and what they do with it.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::audit::Risk;
use crate::auth::Caller;
use crate::base::breaker::Circuit;
use crate::base::{Id, Timestamp};
use crate::db::{Conn, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs;
use crate::payments::Error;
use crate::payments::model::{EventId, EventStatus, ProviderEvent, RefundStatus};
use crate::payments::payfast::itn::{Itn, TOKEN_FIELD};
use crate::payments::store;
use crate::payments::store::alarm::Raised;
use crate::payments::store::answer::Summary;
use crate::payments::store::event::Wanted;
use crate::payments::store::quarantine::Kept;

use super::inbox::Envelope;
use super::reading::{Cursor, administrator};
use super::{ApplyEvent, Service};

/// How many alarms are told.
const ALARMS_MAX: i64 = 100;
/// How old they are at most.
const ALARM_AGE_MAX: Duration = Duration::from_hours(30 * 24);
/// How many answers of the provider's API are told.
const ANSWERS_MAX: i64 = 10;
/// What stands for a token in a body that is shown.
const LEFT_OUT: &str = "(left out)";

const SCOPE: Scope = Scope::System("payments.operations");

/// Which notifications are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Those in quarantine, which have no payments and no status.
    pub quarantined: bool,
    /// What else they have.
    pub wanted: Wanted,
    /// Those that came before this time.
    pub until: Option<Timestamp>,
}

/// A notification, or what is in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenEvent {
    /// In the inbox.
    Signed(ProviderEvent),
    /// In quarantine.
    Quarantined {
        /// Its id.
        id: EventId,
        /// What is wrong with it.
        reason: String,
        /// The address that it came from.
        peer: String,
        /// When it came.
        received_at: Timestamp,
    },
}

impl SeenEvent {
    /// Its place in the list.
    #[must_use]
    pub const fn place(&self) -> Cursor {
        match self {
            Self::Signed(event) => Cursor { at: event.received_at, id: event.id.uuid() },
            Self::Quarantined { id, received_at, .. } => Cursor { at: *received_at, id: id.uuid() },
        }
    }
}

/// A notification as it came.
#[derive(Clone, Debug)]
pub struct ProviderEventDetail {
    /// What became of it.
    pub event: SeenEvent,
    /// The body, when it is text, without what could be misused.
    pub body_text: Option<String>,
    /// How many bytes of it are kept.
    pub body_bytes: usize,
    /// The headers that are kept.
    pub headers: Vec<(String, String)>,
    /// Whether its signature holds by the passphrase of now.
    pub signature_valid: bool,
    /// When the same bytes came last.
    pub last_received_at: Timestamp,
}

/// How payments stand with the provider.
#[derive(Clone, Debug)]
pub struct ProviderStatus {
    /// Whether its API is called; none when it never is.
    pub api: Option<Circuit>,
    /// Whether it takes our signature; none when that is never asked.
    pub signature: Option<Circuit>,
    /// What the API was asked last.
    pub answers: Vec<Summary>,
    /// Since when the oldest undecided notification waits.
    pub oldest_undecided: Option<Timestamp>,
    /// How many are in quarantine.
    pub quarantined: i64,
    /// How many refunds nobody knows the end of.
    pub unknown_refunds: i64,
    /// How many refunds wait for a second person.
    pub proposed_refunds: i64,
    /// The latest alarms.
    pub alarms: Vec<Raised>,
}

impl Service {
    /// Notifications that providers sent, or what is in quarantine, the newest first, for platform administrators.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`].
    pub async fn list_provider_events(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<SeenEvent>, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        if filter.quarantined {
            let from = filter.wanted.from.unwrap_or(Timestamp::from_micros(0));
            let after = Cursor::place_before(filter.until, after);
            let kept = store::quarantine::page(&mut conn, from, after, limit).await?;
            return Ok(kept.into_iter().map(seen).collect());
        }
        let after = Cursor::place_before(filter.until, after);
        let events = store::event::page(&mut conn, &filter.wanted, after, limit).await?;
        Ok(events.into_iter().map(SeenEvent::Signed).collect())
    }

    /// A notification, or what is in quarantine, as it came, for platform administrators.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::EventNotFound`].
    pub async fn get_provider_event(
        &self,
        caller: &Caller,
        id: EventId,
    ) -> Result<ProviderEventDetail, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        if let Some(event) = store::event::get(&mut conn, id).await? {
            let stored = store::event::stored(&mut conn, id).await?.ok_or(Error::EventNotFound)?;
            let seen = SeenEvent::Signed(event);
            let body = self.opened(id, stored.body, stored.sealed)?;
            return Ok(self.detail(seen, &body, &stored.headers, stored.last_received_at));
        }
        let kept = store::quarantine::get(&mut conn, Id::from_uuid(id.uuid())).await?;
        let kept = kept.ok_or(Error::EventNotFound)?;
        let (body, headers, at) = (kept.body.clone(), kept.headers.clone(), kept.received_at);
        Ok(self.detail(seen(kept), &body, &headers, at))
    }

    /// Has a notification applied again by its job. The effect key makes a second effect nothing.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::EventNotFound`], [`Error::EventApplied`],
    /// [`Error::SignatureStillWrong`].
    pub async fn replay_provider_event(
        &self,
        caller: &Caller,
        id: EventId,
        key: Option<&RequestKey>,
    ) -> Result<ProviderEvent, Error> {
        administrator(caller)?;
        let mut tx = self.db.begin(Scope::System("payments.replay")).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(event) => return Ok(event),
            Claim::New(slot) => slot,
        };
        let event_id = match store::event::get(&mut tx, id).await? {
            Some(event) if event.status == EventStatus::Applied => return Err(Error::EventApplied),
            Some(_) => id,
            None => self.release(&mut tx, id).await?,
        };
        let before = found(&mut tx, event_id).await?;
        if !store::event::reopen(&mut tx, event_id).await? {
            return Err(Error::EventApplied);
        }
        jobs::push(&mut tx, &self.world, None, &ApplyEvent { event_id }).await?;
        let event = found(&mut tx, event_id).await?;
        let entry = caller.entry("payments.replay_provider_event").on("provider_event", event_id);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&before, &event)).await?;
        slot.store(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(event)
    }

    /// How payments stand with the provider, for platform administrators.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`].
    pub async fn provider_status(&self, caller: &Caller) -> Result<ProviderStatus, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        let since = self.world.now().minus(ALARM_AGE_MAX);
        let (api, signature) = self.transport.circuits();
        Ok(ProviderStatus {
            api,
            signature,
            answers: store::answer::newest(&mut conn, ANSWERS_MAX).await?,
            oldest_undecided: store::event::oldest_undecided(&mut conn).await?,
            quarantined: store::quarantine::count(&mut conn).await?,
            unknown_refunds: store::refund::count(&mut conn, RefundStatus::Unknown).await?,
            proposed_refunds: store::refund::count(&mut conn, RefundStatus::Proposed).await?,
            alarms: store::alarm::since(&mut conn, since, ALARMS_MAX).await?,
        })
    }

    /// Takes what is in quarantine into the inbox, when its signature holds by now. What is there already is found.
    async fn release(&self, tx: &mut Tx, id: EventId) -> Result<EventId, Error> {
        let suspect = Id::from_uuid(id.uuid());
        let kept = store::quarantine::get(tx, suspect).await?.ok_or(Error::EventNotFound)?;
        let itn = Itn::parse(&kept.body).ok().filter(|itn| itn.signature_holds(self.options.passphrase()));
        let itn = itn.ok_or(Error::SignatureStillWrong)?;
        if !store::quarantine::release(tx, suspect).await? {
            return Err(Error::EventNotFound);
        }
        let hash = Sha256::digest(&kept.body);
        let Kept { body, peer, headers, received_at: at, .. } = kept;
        let arrival = self.arrival(id, Envelope { body, peer, headers, at }, &itn)?;
        store::event::insert(tx, &[(&arrival, 1)]).await?;
        Ok(store::event::id_of(tx, &hash).await?)
    }

    fn detail(&self, event: SeenEvent, body: &[u8], headers: &str, last: Timestamp) -> ProviderEventDetail {
        let itn = Itn::parse(body).ok();
        ProviderEventDetail {
            event,
            body_text: std::str::from_utf8(body).ok().map(shown),
            body_bytes: body.len(),
            headers: serde_json::from_str(headers).unwrap_or_default(),
            signature_valid: itn.is_some_and(|itn| itn.signature_holds(self.options.passphrase())),
            last_received_at: last,
        }
    }
}

async fn found(conn: &mut impl Conn, id: EventId) -> Result<ProviderEvent, Error> {
    store::event::get(conn, id).await?.ok_or(Error::EventNotFound)
}

fn seen(kept: Kept) -> SeenEvent {
    let Kept { id, reason, peer, received_at, .. } = kept;
    SeenEvent::Quarantined { id: Id::from_uuid(id.uuid()), reason, peer, received_at }
}

/// A body to be shown, without the token with which a card could be charged.
fn shown(body: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_token(name) => format!("{name}={LEFT_OUT}"),
        _ => pair.to_owned(),
    };
    body.split('&').map(pair).collect::<Vec<_>>().join("&")
}

/// Whether a field is the token's, however its name is written.
fn is_token(name: &str) -> bool {
    let Ok(itn) = Itn::parse(format!("{name}=").as_bytes()) else { return false };
    itn.get(TOKEN_FIELD).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_however_it_is_written() {
        let body = "m_payment_id=1&token=abc&t%6Fken=def&Token=x&token_name=y&token=";
        let expected =
            format!("m_payment_id=1&token={LEFT_OUT}&t%6Fken={LEFT_OUT}&Token=x&token_name=y&token=");
        assert_eq!(shown(body), expected);
        assert_eq!(shown("not a form at all"), "not a form at all");
    }
}
