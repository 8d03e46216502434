//! The inbox of provider notifications, and the keys that make each effect happen once.

use crate::base::Timestamp;
use crate::db::{self, Conn, Tx};
use crate::payments::model::{EventId, EventSource, EventStatus, Provider, ProviderEvent};

/// A notification as it came.
#[derive(Debug)]
pub struct Arrival {
    /// Its id, should it be new.
    pub id: EventId,
    /// The bytes; wrapped, when `sealed`.
    pub body: Vec<u8>,
    /// Whether they are wrapped by the root key.
    pub sealed: bool,
    /// Their SHA-256, as they came.
    pub body_hash: Vec<u8>,
    /// The address that it came from.
    pub peer: String,
    /// The headers that may matter, as JSON.
    pub headers: String,
    /// The provider's word for what happened.
    pub payment_status: String,
    /// The provider's id of the payment.
    pub provider_payment_id: String,
    /// Our payment's id as it came back.
    pub payment_reference: String,
    /// When.
    pub at: Timestamp,
}

/// Stores notifications, of which no two have the same bytes, each with how often it came; bytes that were stored
/// before only count up. Tells which ids are now stored: those that are none of `arrivals` were there before.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, arrivals: &[(&Arrival, i64)]) -> Result<Vec<EventId>, db::Error> {
    let rows: Vec<(EventId,)> = tx
        .sql(
            "INSERT INTO provider_events (id, provider, body, sealed, body_hash, peer, headers, status, detail,
                    payment_status, provider_payment_id, payment_reference, deliveries, received_at, last_received_at)
             VALUES $rows
             ON CONFLICT (provider, body_hash) DO UPDATE
                SET deliveries = provider_events.deliveries + excluded.deliveries,
                    last_received_at = excluded.last_received_at
             RETURNING id",
        )
        .rows(arrivals, |statement, (arrival, deliveries)| {
            statement
                .bind(arrival.id)
                .bind(Provider::Payfast)
                .bind(arrival.body.clone())
                .bind(arrival.sealed)
                .bind(arrival.body_hash.clone())
                .bind(arrival.peer.clone())
                .bind(arrival.headers.clone())
                .bind(EventStatus::Received)
                .bind("")
                .bind(arrival.payment_status.clone())
                .bind(arrival.provider_payment_id.clone())
                .bind(arrival.payment_reference.clone())
                .bind(*deliveries)
                .bind(arrival.at)
                .bind(arrival.at)
        })
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Stores a row of the provider's history like a notification, and locks it. Tells the id under which it is stored, now
/// or from before, where it stands, and why.
///
/// # Errors
/// What the database refuses.
pub async fn insert_row(tx: &mut Tx, row: &Arrival) -> Result<(EventId, EventStatus, String), db::Error> {
    tx.sql(
        "INSERT INTO provider_events (id, provider, source, body, body_hash, peer, headers, status, detail,
                payment_status, provider_payment_id, payment_reference, deliveries, received_at, last_received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, $11, 1, $12, $12)
         ON CONFLICT (provider, body_hash) DO UPDATE
            SET deliveries = provider_events.deliveries + excluded.deliveries,
                last_received_at = excluded.last_received_at
         RETURNING id, status, detail",
    )
    .bind(row.id)
    .bind(Provider::Payfast)
    .bind(EventSource::History)
    .bind(row.body.clone())
    .bind(row.body_hash.clone())
    .bind(row.peer.clone())
    .bind(row.headers.clone())
    .bind(EventStatus::Received)
    .bind(row.payment_status.clone())
    .bind(row.provider_payment_id.clone())
    .bind(row.payment_reference.clone())
    .bind(row.at)
    .one()
    .await
}

/// From where an event came.
///
/// # Errors
/// What the database refuses.
pub async fn source(conn: &mut impl Conn, id: EventId) -> Result<Option<EventSource>, db::Error> {
    let found: Option<(EventSource,)> =
        conn.sql("SELECT source FROM provider_events WHERE id = $1").bind(id).optional().await?;
    Ok(found.map(|(source,)| source))
}

/// The bytes of a notification, whether they are wrapped, and where it stands.
///
/// # Errors
/// What the database refuses.
pub async fn body(
    conn: &mut impl Conn,
    id: EventId,
) -> Result<Option<(Vec<u8>, bool, EventStatus)>, db::Error> {
    conn.sql("SELECT body, sealed, status FROM provider_events WHERE id = $1").bind(id).optional().await
}

/// Decides a notification, once. False when it was decided before.
///
/// # Errors
/// What the database refuses.
pub async fn decide(
    tx: &mut Tx,
    id: EventId,
    status: EventStatus,
    detail: &str,
    now: Timestamp,
) -> Result<bool, db::Error> {
    let touched = tx
        .sql("UPDATE provider_events SET status = $2, detail = $3, applied_at = $4 WHERE id = $1 AND status = $5")
        .bind(id)
        .bind(status)
        .bind(detail.to_owned())
        .bind(now)
        .bind(EventStatus::Received)
        .execute()
        .await?;
    Ok(touched == 1)
}

/// Takes the right to have an effect. False when it was taken before: then the effect has happened. A second
/// transaction waits here until the first has ended.
///
/// # Errors
/// What the database refuses.
pub async fn take_effect(
    tx: &mut Tx,
    provider_payment_id: &str,
    payment_status: &str,
    event_id: EventId,
    now: Timestamp,
) -> Result<bool, db::Error> {
    let touched = tx
        .sql(
            "INSERT INTO provider_effects (provider, provider_payment_id, payment_status, event_id, created_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (provider, provider_payment_id, payment_status) DO NOTHING",
        )
        .bind(Provider::Payfast)
        .bind(provider_payment_id.to_owned())
        .bind(payment_status.to_owned())
        .bind(event_id)
        .bind(now)
        .execute()
        .await?;
    Ok(touched == 1)
}

/// A notification with all that is kept of it.
#[derive(Clone, Debug, db::Row)]
pub struct Stored {
    /// Its id.
    pub id: EventId,
    /// Where it stands.
    pub status: EventStatus,
    /// The bytes; wrapped, when `sealed`.
    pub body: Vec<u8>,
    /// Whether they are wrapped by the root key.
    pub sealed: bool,
    /// The headers that may matter, as JSON.
    pub headers: String,
    /// When the same bytes came last.
    pub last_received_at: Timestamp,
}

/// A notification with all that is kept of it.
///
/// # Errors
/// What the database refuses.
pub async fn stored(conn: &mut impl Conn, id: EventId) -> Result<Option<Stored>, db::Error> {
    conn.sql("SELECT id, status, body, sealed, headers, last_received_at FROM provider_events WHERE id = $1")
        .bind(id)
        .optional()
        .await
}

/// A notification as operators see it.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: EventId) -> Result<Option<ProviderEvent>, db::Error> {
    conn.sql(
        "SELECT id, provider, status, detail, peer, payment_status, provider_payment_id, payment_reference, deliveries,
                received_at, applied_at
         FROM provider_events WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The notification that has these bytes.
///
/// # Errors
/// What the database refuses; [`db::Error::NotFound`] when there is none.
pub async fn id_of(conn: &mut impl Conn, body_hash: &[u8]) -> Result<EventId, db::Error> {
    let (id,): (EventId,) = conn
        .sql("SELECT id FROM provider_events WHERE provider = $1 AND body_hash = $2")
        .bind(Provider::Payfast)
        .bind(body_hash.to_vec())
        .one()
        .await?;
    Ok(id)
}

/// Has a notification wait to be decided again. False when it had its effect, or is not there.
///
/// # Errors
/// What the database refuses.
pub async fn reopen(tx: &mut Tx, id: EventId) -> Result<bool, db::Error> {
    let touched = tx
        .sql("UPDATE provider_events SET status = $2, applied_at = NULL WHERE id = $1 AND status <> $3")
        .bind(id)
        .bind(EventStatus::Received)
        .bind(EventStatus::Applied)
        .execute()
        .await?;
    Ok(touched == 1)
}

/// Since when the notification waits that is undecided the longest; `None` when all are decided.
///
/// # Errors
/// What the database refuses.
pub async fn oldest_undecided(conn: &mut impl Conn) -> Result<Option<Timestamp>, db::Error> {
    let row: Option<(Timestamp,)> = conn
        .sql("SELECT received_at FROM provider_events WHERE status = $1 ORDER BY received_at, id LIMIT 1")
        .bind(EventStatus::Received)
        .optional()
        .await?;
    Ok(row.map(|(at,)| at))
}

/// Which notifications are wanted, beside their place in the order.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those of this status.
    pub status: Option<EventStatus>,
    /// Those that name this payment of ours.
    pub payment_reference: Option<String>,
    /// Those of this payment at the provider.
    pub provider_payment_id: Option<String>,
    /// Those that came at this time or later.
    pub from: Option<Timestamp>,
}

impl Wanted {
    fn status(&self) -> &'static str {
        self.status.map_or("", EventStatus::as_str)
    }

    fn from(&self) -> Timestamp {
        self.from.unwrap_or(Timestamp::from_micros(0))
    }
}

/// Notifications, the newest first, after a place in that order.
///
/// # Errors
/// What the database refuses.
pub async fn page(
    conn: &mut impl Conn,
    wanted: &Wanted,
    after: (Timestamp, EventId),
    limit: i64,
) -> Result<Vec<ProviderEvent>, db::Error> {
    match wanted {
        Wanted { provider_payment_id: Some(id), .. } => {
            of_provider_payment(conn, wanted, id, after, limit).await
        }
        Wanted { payment_reference: Some(id), .. } => of_reference(conn, wanted, id, after, limit).await,
        Wanted { status: Some(status), .. } => of_status(conn, wanted, *status, after, limit).await,
        Wanted { .. } => of_any(conn, wanted, after, limit).await,
    }
}

async fn of_any(
    conn: &mut impl Conn,
    wanted: &Wanted,
    after: (Timestamp, EventId),
    limit: i64,
) -> Result<Vec<ProviderEvent>, db::Error> {
    conn.sql(
        "SELECT id, provider, status, detail, peer, payment_status, provider_payment_id, payment_reference, deliveries,
                received_at, applied_at
         FROM provider_events WHERE received_at >= $1 AND (received_at, id) < ($2, $3)
         ORDER BY received_at DESC, id DESC LIMIT $4",
    )
    .bind(wanted.from())
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

async fn of_status(
    conn: &mut impl Conn,
    wanted: &Wanted,
    status: EventStatus,
    after: (Timestamp, EventId),
    limit: i64,
) -> Result<Vec<ProviderEvent>, db::Error> {
    conn.sql(
        "SELECT id, provider, status, detail, peer, payment_status, provider_payment_id, payment_reference, deliveries,
                received_at, applied_at
         FROM provider_events WHERE status = $1 AND received_at >= $2 AND (received_at, id) < ($3, $4)
         ORDER BY received_at DESC, id DESC LIMIT $5",
    )
    .bind(status)
    .bind(wanted.from())
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

async fn of_reference(
    conn: &mut impl Conn,
    wanted: &Wanted,
    reference: &str,
    after: (Timestamp, EventId),
    limit: i64,
) -> Result<Vec<ProviderEvent>, db::Error> {
    conn.sql(
        "SELECT id, provider, status, detail, peer, payment_status, provider_payment_id, payment_reference, deliveries,
                received_at, applied_at
         FROM provider_events
         WHERE payment_reference = $1 AND ($2 = '' OR status = $2) AND received_at >= $3
           AND (received_at, id) < ($4, $5)
         ORDER BY received_at DESC, id DESC LIMIT $6",
    )
    .bind(reference)
    .bind(wanted.status())
    .bind(wanted.from())
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

async fn of_provider_payment(
    conn: &mut impl Conn,
    wanted: &Wanted,
    provider_payment_id: &str,
    after: (Timestamp, EventId),
    limit: i64,
) -> Result<Vec<ProviderEvent>, db::Error> {
    conn.sql(
        "SELECT id, provider, status, detail, peer, payment_status, provider_payment_id, payment_reference, deliveries,
                received_at, applied_at
         FROM provider_events
         WHERE provider_payment_id = $1 AND ($2 = '' OR status = $2) AND ($3 = '' OR payment_reference = $3)
           AND received_at >= $4 AND (received_at, id) < ($5, $6)
         ORDER BY received_at DESC, id DESC LIMIT $7",
    )
    .bind(provider_payment_id)
    .bind(wanted.status())
    .bind(wanted.payment_reference.as_deref().unwrap_or_default())
    .bind(wanted.from())
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}
