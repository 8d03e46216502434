//! What the provider's API was asked and what it answered, as it came. Evidence: nothing is decided from here.

use serde_json::Value;

use crate::base::{Id, Timestamp};
use crate::db::{self, Conn, Json, Tx};
use crate::payments::model::Provider;
use crate::payments::payfast::api::answer::RawAnswer;
use crate::payments::payfast::api::call::Endpoint;

/// Marks the id of a call and its answer.
pub enum AnswerMark {}
/// The id of a call and its answer.
pub type AnswerId = Id<AnswerMark>;

/// A call that is about to be made.
#[derive(Debug)]
pub struct Question {
    /// Which.
    pub id: AnswerId,
    /// What is asked.
    pub endpoint: Endpoint,
    /// What for.
    pub purpose: &'static str,
    /// What it is about.
    pub subject: String,
    /// What else stands in it.
    pub parameters: Json<Value>,
    /// When.
    pub asked_at: Timestamp,
}

/// A call and what came of it.
#[derive(Clone, Debug, db::Row)]
pub struct Answer {
    /// Which.
    pub id: AnswerId,
    /// What was asked.
    pub endpoint: Endpoint,
    /// What for.
    pub purpose: String,
    /// What it was about.
    pub subject: String,
    /// What else stood in it.
    pub parameters: Json<Value>,
    /// The status of HTTP; none without an answer.
    pub status: Option<i64>,
    /// The headers that may help.
    pub headers: Option<Json<Vec<(String, String)>>>,
    /// The bytes.
    pub body: Option<Vec<u8>>,
    /// Why there is no answer.
    pub detail: Option<String>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When that was over; none when the process ended meanwhile.
    pub answered_at: Option<Timestamp>,
}

/// Writes down what is about to be asked.
///
/// # Errors
/// What the database refuses.
pub async fn ask(tx: &mut Tx, question: &Question) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO provider_answers (id, provider, endpoint, purpose, subject, parameters, asked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(question.id)
    .bind(Provider::Payfast)
    .bind(question.endpoint)
    .bind(question.purpose)
    .bind(question.subject.clone())
    .bind(&question.parameters)
    .bind(question.asked_at)
    .execute()
    .await?;
    Ok(())
}

/// Writes down what was answered.
///
/// # Errors
/// What the database refuses; [`db::Error::NotFound`] when the question is gone.
pub async fn answered(
    tx: &mut Tx,
    id: AnswerId,
    answer: &RawAnswer,
    now: Timestamp,
) -> Result<(), db::Error> {
    let rows = tx
        .sql("UPDATE provider_answers SET status = $2, headers = $3, body = $4, answered_at = $5 WHERE id = $1")
        .bind(id)
        .bind(i64::from(answer.status))
        .bind(Json(answer.headers.clone()))
        .bind(answer.body.clone())
        .bind(now)
        .execute()
        .await?;
    if rows == 0 { Err(db::Error::NotFound) } else { Ok(()) }
}

/// Writes down that there was no answer, and why.
///
/// # Errors
/// What the database refuses; [`db::Error::NotFound`] when the question is gone.
pub async fn unanswered(tx: &mut Tx, id: AnswerId, detail: &str, now: Timestamp) -> Result<(), db::Error> {
    let rows = tx
        .sql("UPDATE provider_answers SET detail = $2, answered_at = $3 WHERE id = $1")
        .bind(id)
        .bind(detail.to_owned())
        .bind(now)
        .execute()
        .await?;
    if rows == 0 { Err(db::Error::NotFound) } else { Ok(()) }
}

/// The newest calls about a token or a payment.
///
/// # Errors
/// What the database refuses.
pub async fn newest_about(conn: &mut impl Conn, subject: &str, limit: i64) -> Result<Vec<Answer>, db::Error> {
    conn.sql(
        "SELECT id, endpoint, purpose, subject, parameters, status, headers, body, detail, asked_at, answered_at
         FROM provider_answers WHERE subject = $1 ORDER BY asked_at DESC, id DESC LIMIT $2",
    )
    .bind(subject.to_owned())
    .bind(limit)
    .all()
    .await
}

/// Deletes at most `limit` calls from before `before`, the oldest first, and tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.sql(
        "DELETE FROM provider_answers WHERE id IN (
             SELECT id FROM provider_answers WHERE asked_at < $1 ORDER BY asked_at, id LIMIT $2
         )",
    )
    .bind(before)
    .bind(limit)
    .execute()
    .await
}
