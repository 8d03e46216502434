//! Reconciliation: what of ours the rows of the history are, the runs, and the differences. For the platform only.

use uuid::Uuid;

use crate::base::Timestamp;
use crate::db::{self, Conn, Tx};
use crate::payments::model::RefundId;
use crate::payments::model::reconciliation::{
    Difference, DifferenceId, DifferenceState, Reconciliation, ReconciliationId,
};

/// A receipt as it is compared: the provider's id of the payment, its id, gross and fee.
pub type Held = (String, Uuid, i64, i64);

/// Begins a run.
///
/// # Errors
/// What the database refuses.
pub async fn begin(tx: &mut Tx, run: &Reconciliation) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO reconciliations (id, provider, from_day, to_day, origin, status, closed, row_count, matched_count,
                repaired_count, open_count, currency, provider_change_minor, booked_change_minor, started_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, $9, $10, 0, $11)",
    )
    .bind(run.id)
    .bind(run.provider)
    .bind(run.from_day.clone())
    .bind(run.to_day.clone())
    .bind(run.origin)
    .bind(run.status)
    .bind(run.closed)
    .bind(run.row_count)
    .bind(run.currency)
    .bind(run.provider_change_minor)
    .bind(run.started_at)
    .execute()
    .await?;
    Ok(())
}

/// Ends a run.
///
/// # Errors
/// What the database refuses.
pub async fn finish(tx: &mut Tx, run: &Reconciliation) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE reconciliations SET status = $2, matched_count = $3, repaired_count = $4, open_count = $5,
                booked_change_minor = $6, finished_at = $7
         WHERE id = $1",
    )
    .bind(run.id)
    .bind(run.status)
    .bind(run.matched_count)
    .bind(run.repaired_count)
    .bind(run.open_count)
    .bind(run.booked_change_minor)
    .bind(run.finished_at)
    .execute()
    .await?;
    Ok(())
}

/// Runs, the newest first, after a place in that order.
///
/// # Errors
/// What the database refuses.
pub async fn page(
    conn: &mut impl Conn,
    after: (Timestamp, ReconciliationId),
    limit: i64,
) -> Result<Vec<Reconciliation>, db::Error> {
    conn.sql(
        "SELECT id, provider, from_day, to_day, origin, status, closed, row_count, matched_count, repaired_count,
                open_count, currency, provider_change_minor, booked_change_minor, started_at, finished_at
         FROM reconciliations WHERE (started_at, id) < ($1, $2) ORDER BY started_at DESC, id DESC LIMIT $3",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Receipts of these payments at the provider.
///
/// # Errors
/// What the database refuses.
pub async fn receipts(conn: &mut impl Conn, payments: &[String]) -> Result<Vec<Held>, db::Error> {
    conn.sql(
        "SELECT provider_payment_id, id, gross_minor, fee_minor FROM receipts
         WHERE provider = 'payfast' AND provider_payment_id IN $list",
    )
    .list(payments.iter().cloned())
    .all()
    .await
}

/// Refunds of these payments at the provider that succeeded and went back the way that the money came: the provider's
/// id of the payment, the refund, its amount, and its fee once that is known.
///
/// # Errors
/// What the database refuses.
pub async fn refunds(
    conn: &mut impl Conn,
    payments: &[String],
) -> Result<Vec<(String, RefundId, i64, Option<i64>)>, db::Error> {
    conn.sql(
        "SELECT receipt.provider_payment_id, refund.id, refund.amount_minor, refund.fee_minor
         FROM receipts AS receipt
         JOIN refunds AS refund ON refund.receipt_id = receipt.id
         WHERE receipt.provider = 'payfast' AND receipt.provider_payment_id IN $list
           AND refund.status = 'succeeded' AND refund.destination = 'source'
         ORDER BY refund.id",
    )
    .list(payments.iter().cloned())
    .all()
    .await
}

/// What earlier runs found: of these rows.
///
/// # Errors
/// What the database refuses.
pub async fn matches_of_rows(
    conn: &mut impl Conn,
    keys: &[String],
) -> Result<Vec<(String, Uuid)>, db::Error> {
    conn.sql("SELECT row_key, subject_id FROM reconciliation_matches WHERE row_key IN $list")
        .list(keys.iter().cloned())
        .all()
        .await
}

/// What earlier runs found: of these things of ours.
///
/// # Errors
/// What the database refuses.
pub async fn matches_of(conn: &mut impl Conn, subjects: &[Uuid]) -> Result<Vec<(String, Uuid)>, db::Error> {
    conn.sql("SELECT row_key, subject_id FROM reconciliation_matches WHERE subject_id IN $list")
        .list(subjects.iter().copied())
        .all()
        .await
}

/// Which of these rows were booked by themselves.
///
/// # Errors
/// What the database refuses.
pub async fn booked(conn: &mut impl Conn, keys: &[String]) -> Result<Vec<String>, db::Error> {
    let rows: Vec<(String,)> = conn
        .sql(
            "SELECT provider_payment_id FROM provider_effects
             WHERE provider = 'payfast' AND provider_payment_id IN $list",
        )
        .list(keys.iter().cloned())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Remembers what rows are. What was known before stays.
///
/// # Errors
/// What the database refuses.
pub async fn remember(tx: &mut Tx, run: ReconciliationId, found: &[(String, Uuid)]) -> Result<(), db::Error> {
    if found.is_empty() {
        return Ok(());
    }
    tx.sql(
        "INSERT INTO reconciliation_matches (subject_id, row_key, reconciliation_id) VALUES $rows
         ON CONFLICT DO NOTHING",
    )
    .rows(found, |statement, (key, subject)| statement.bind(*subject).bind(key.clone()).bind(run))
    .execute()
    .await?;
    Ok(())
}

/// Receipts of a span of time that no row of any run was found to be: the provider's id of the payment, gross, fee, and
/// when they were booked.
///
/// # Errors
/// What the database refuses.
pub async fn unlisted(
    conn: &mut impl Conn,
    (from, to): (Timestamp, Timestamp),
    test: bool,
    limit: i64,
) -> Result<Vec<(String, i64, i64, Timestamp)>, db::Error> {
    conn.sql(
        "SELECT receipt.provider_payment_id, receipt.gross_minor, receipt.fee_minor, receipt.created_at
         FROM receipts AS receipt
         WHERE receipt.status IN ('applied', 'unapplied') AND receipt.created_at >= $1 AND receipt.created_at < $2
           AND receipt.test = $3
           AND NOT EXISTS (SELECT 1 FROM reconciliation_matches AS found WHERE found.subject_id = receipt.id)
         ORDER BY receipt.created_at, receipt.id LIMIT $4",
    )
    .bind(from)
    .bind(to)
    .bind(test)
    .bind(limit)
    .all()
    .await
}

/// Refunds that ended in a span of time and that no row of any run was found to be: the refund, its amount, its fee as
/// far as it is known, and when it ended.
///
/// # Errors
/// What the database refuses.
pub async fn unlisted_refunds(
    conn: &mut impl Conn,
    (from, to): (Timestamp, Timestamp),
    test: bool,
    limit: i64,
) -> Result<Vec<(RefundId, i64, i64, Timestamp)>, db::Error> {
    conn.sql(
        "SELECT refund.id, refund.amount_minor, coalesce(refund.fee_minor, 0), refund.settled_at
         FROM refunds AS refund
         WHERE refund.status = 'succeeded' AND refund.settled_at >= $1 AND refund.settled_at < $2
           AND refund.destination = 'source' AND refund.test = $3
           AND NOT EXISTS (SELECT 1 FROM reconciliation_matches AS found WHERE found.subject_id = refund.id)
         ORDER BY refund.settled_at, refund.id LIMIT $4",
    )
    .bind(from)
    .bind(to)
    .bind(test)
    .bind(limit)
    .all()
    .await
}

/// Notes a difference, once. Tells where it stands, and whether it is new.
///
/// # Errors
/// What the database refuses.
pub async fn note(tx: &mut Tx, difference: &Difference) -> Result<(DifferenceState, bool), db::Error> {
    let (id, state): (DifferenceId, DifferenceState) = tx
        .sql(
            "INSERT INTO reconciliation_differences (id, reconciliation_id, kind, subject, state, detail, explanation,
                    currency, provider_minor, booked_minor, event_id, occurred_at, created_at, decided_at)
             VALUES ($1, $2, $3, $4, $5, $6, '', $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (kind, subject) DO UPDATE SET detail = reconciliation_differences.detail
             RETURNING id, state",
        )
        .bind(difference.id)
        .bind(difference.reconciliation_id)
        .bind(difference.kind)
        .bind(difference.subject.clone())
        .bind(difference.state)
        .bind(difference.detail.clone())
        .bind(difference.currency)
        .bind(difference.provider_minor)
        .bind(difference.booked_minor)
        .bind(difference.event_id)
        .bind(difference.occurred_at)
        .bind(difference.created_at)
        .bind(difference.decided_at)
        .one()
        .await?;
    Ok((state, id == difference.id))
}

/// Closes open differences about these, whose other side was found.
///
/// # Errors
/// What the database refuses.
pub async fn found(
    tx: &mut Tx,
    subjects: &[String],
    explanation: &str,
    now: Timestamp,
) -> Result<u64, db::Error> {
    tx.sql(
        "UPDATE reconciliation_differences SET state = $1, explanation = $2, decided_at = $3
         WHERE state = 'open' AND subject IN $list
           AND kind IN ('missing_refund', 'extra_payment', 'extra_refund', 'amount_differs', 'fee_differs')",
    )
    .bind(DifferenceState::Explained)
    .bind(explanation.to_owned())
    .bind(now)
    .list(subjects.iter().cloned())
    .execute()
    .await
}

/// Writes why an open difference is as it is. None when there is no such open difference.
///
/// # Errors
/// What the database refuses.
pub async fn explain(
    tx: &mut Tx,
    id: DifferenceId,
    explanation: &str,
    now: Timestamp,
) -> Result<Option<Difference>, db::Error> {
    tx.sql(
        "UPDATE reconciliation_differences SET state = 'explained', explanation = $2, decided_at = $3
         WHERE id = $1 AND state = 'open'
         RETURNING id, reconciliation_id, kind, subject, state, detail, explanation, currency, provider_minor,
                booked_minor, event_id, occurred_at, created_at, decided_at",
    )
    .bind(id)
    .bind(explanation.to_owned())
    .bind(now)
    .optional()
    .await
}

/// A difference.
///
/// # Errors
/// What the database refuses.
pub async fn difference(conn: &mut impl Conn, id: DifferenceId) -> Result<Option<Difference>, db::Error> {
    conn.sql(
        "SELECT id, reconciliation_id, kind, subject, state, detail, explanation, currency, provider_minor,
                booked_minor, event_id, occurred_at, created_at, decided_at
         FROM reconciliation_differences WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// Differences, the newest first, after a place in that order.
///
/// # Errors
/// What the database refuses.
pub async fn differences(
    conn: &mut impl Conn,
    after: (Timestamp, DifferenceId),
    limit: i64,
) -> Result<Vec<Difference>, db::Error> {
    conn.sql(
        "SELECT id, reconciliation_id, kind, subject, state, detail, explanation, currency, provider_minor,
                booked_minor, event_id, occurred_at, created_at, decided_at
         FROM reconciliation_differences WHERE (created_at, id) < ($1, $2)
         ORDER BY created_at DESC, id DESC LIMIT $3",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Differences in one state, likewise.
///
/// # Errors
/// What the database refuses.
pub async fn differences_in(
    conn: &mut impl Conn,
    state: DifferenceState,
    after: (Timestamp, DifferenceId),
    limit: i64,
) -> Result<Vec<Difference>, db::Error> {
    conn.sql(
        "SELECT id, reconciliation_id, kind, subject, state, detail, explanation, currency, provider_minor,
                booked_minor, event_id, occurred_at, created_at, decided_at
         FROM reconciliation_differences WHERE state = $1 AND (created_at, id) < ($2, $3)
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(state)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Takes the right to push a day's run. False when a node has done so.
///
/// # Errors
/// What the database refuses.
pub async fn take_day(tx: &mut Tx, day: &str, now: Timestamp) -> Result<bool, db::Error> {
    let touched = tx
        .sql("INSERT INTO reconciliation_days (day, pushed_at) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING")
        .bind(day.to_owned())
        .bind(now)
        .execute()
        .await?;
    Ok(touched == 1)
}

/// Whether anybody ever started to pay before `before`: until then there is nothing that could be lost.
///
/// # Errors
/// What the database refuses.
pub async fn anything_before(conn: &mut impl Conn, before: Timestamp) -> Result<bool, db::Error> {
    let found: Option<(Uuid,)> = conn
        .sql(
            "SELECT id FROM payments
             WHERE status IN ('created', 'pending', 'succeeded', 'failed', 'cancelled', 'expired', 'superseded')
               AND created_at < $1
             LIMIT 1",
        )
        .bind(before)
        .optional()
        .await?;
    Ok(found.is_some())
}
