//! A mutating call with a request id happens once: its answer is stored with its effect, and a repetition gets it
//! again.
//!
//! A service claims the key as the first statement of its transaction and stores the answer as the last. Two calls with
//! the same key at once wait for each other there; `rpc` refuses the second sooner when both reach the same node.

mod store;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::auth::Caller;
use crate::base::World;
use crate::base::fault::{Code, Fault, Reason};
use crate::db::{self, Tx};

/// How long answers are kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The key of a call, as the caller chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The full name of the method.
    pub method: Arc<str>,
    /// The request id.
    pub key: Uuid,
    /// A keyed hash of the request without its id.
    pub body_hash: [u8; 32],
}

/// Why a key is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key was used with another body.
    #[error(
        "This request id was used before with another request. Use a new one, or repeat the request unchanged."
    )]
    Reused,
    /// The first answer carried a secret, which is not stored.
    #[error("This request was answered before with a secret, which is shown once only.")]
    SecretAlreadyIssued,
    /// The same call is under way.
    #[error("A call with this request id is under way; please repeat it in a moment.")]
    InFlight,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] db::Error),
}

/// A key was used with another request.
pub static IDEMPOTENCY_KEY_REUSED: Reason = Reason::new(
    Code::InvalidArgument,
    "IDEMPOTENCY_KEY_REUSED",
    "The request id was used before with another body; a new request needs a new id.",
);
/// The answer to this key was a secret.
pub static SECRET_ALREADY_ISSUED: Reason = Reason::new(
    Code::AlreadyExists,
    "SECRET_ALREADY_ISSUED",
    "The request was answered before with a secret, which is shown once only; make a new request with a new id.",
);
/// A call with this key is under way.
pub static REQUEST_IN_FLIGHT: Reason = Reason::new(
    Code::Aborted,
    "REQUEST_IN_FLIGHT",
    "A call with the same request id is under way; repeat it after the delay in RetryInfo to get its answer.",
);

/// What this module answers.
pub static REASONS: &[&Reason] = &[&IDEMPOTENCY_KEY_REUSED, &SECRET_ALREADY_ISSUED, &REQUEST_IN_FLIGHT];

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::Reused => &IDEMPOTENCY_KEY_REUSED,
            Self::SecretAlreadyIssued => &SECRET_ALREADY_ISSUED,
            Self::InFlight => &REQUEST_IN_FLIGHT,
            Self::Db(error) => error.reason(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::InFlight => Some(Duration::from_millis(200)),
            Self::Db(error) => error.retry_after(),
            Self::Reused | Self::SecretAlreadyIssued => None,
        }
    }
}

/// What a claim found.
pub enum Claim<A> {
    /// The call was made before; this was the answer.
    Replay(A),
    /// The call is new; the slot takes its answer.
    New(Slot),
}

/// Where the answer of a new call goes.
#[must_use = "the answer must be stored in the same transaction"]
pub struct Slot(Option<(String, RequestKey)>);

/// Claims the key inside the transaction that will have the effect. Without a key every call is new.
///
/// # Errors
/// [`Error::Reused`], [`Error::SecretAlreadyIssued`], or what the database refuses.
pub async fn claim<A: DeserializeOwned>(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    key: Option<&RequestKey>,
) -> Result<Claim<A>, Error> {
    let Some(key) = key else { return Ok(Claim::New(Slot(None))) };
    let principal = principal(caller);
    if store::insert(tx, &principal, key, world.now(), world.now().plus(KEPT)).await? {
        return Ok(Claim::New(Slot(Some((principal, key.clone())))));
    }
    let stored = store::get(tx, &principal, key).await?;
    if stored.body_hash != key.body_hash {
        return Err(Error::Reused);
    }
    let answer = stored.answer.ok_or(Error::SecretAlreadyIssued)?;
    // An answer that this version cannot read was stored by another; repeating the effect would be worse.
    serde_json::from_str(&answer).map(Claim::Replay).map_err(|_| Error::Db(db::Error::Failed))
}

impl Slot {
    /// Stores the answer for repetitions.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn store<A: Serialize>(self, tx: &mut Tx, answer: &A) -> Result<(), Error> {
        let Some((principal, key)) = self.0 else { return Ok(()) };
        // Answers are model types; their JSON cannot fail.
        let answer = serde_json::to_string(answer).unwrap_or_default();
        Ok(store::set_answer(tx, &principal, &key, &answer).await?)
    }

    /// Notes that the call was answered with a secret: a repetition is refused.
    pub fn store_secret(self) {}
}

/// Forgets answers that are past their time, at most `limit`; tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, world: &World, limit: i64) -> Result<u64, db::Error> {
    store::prune(tx, world.now(), limit).await
}

/// Keys belong to whoever calls; strangers share one space, in which a key is as hard to guess as any UUID. What a
/// person did elsewhere is not told to a program that acts in their name in one organisation.
fn principal(caller: &Caller) -> String {
    match (caller.account, &caller.grant) {
        (Some(account), Some(grant)) => format!("{account}@{}", grant.organization),
        (Some(account), None) => account.to_string(),
        (None, _) => "public".to_owned(),
    }
}
