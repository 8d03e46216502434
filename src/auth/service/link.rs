//! Links that prove that somebody reads an address: asked for, sent, and used.
//!
//! Asking must tell nothing of the address, in the answer or in time: the call looks nothing up. It checks the
//! address's form and pushes a job, for a known address as for any other; the job looks, and writes a letter or does
//! not.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::audit::Risk;
use crate::auth::letters::{self, Letter};
use crate::auth::model::LinkPurpose;
use crate::auth::store::link::{Addressee, NewLink};
use crate::auth::{Caller, Email, Error, store};
use crate::base::{AccountId, Secret, Timestamp};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs::{self, Failure, Job, Lease, Registry};
use crate::mail::Mail;

use super::Service;

/// How soon an address gets another letter of the same kind: a stranger must not be able to fill a mailbox.
const LETTER_EVERY: Duration = Duration::from_mins(5);
/// Ours have 43 characters. Longer ones are not hashed.
const TOKEN_BYTES_MAX: usize = 64;
const SCOPE: Scope = Scope::System("links");

/// The job that looks whether an address has an account, and writes the letter.
#[derive(Serialize, Deserialize)]
struct WriteLink {
    purpose: LinkPurpose,
    email: Email,
    /// Under which id logs speak of the call that asked.
    request_id: String,
}

impl Job for WriteLink {
    const KIND: &'static str = "auth.write_link";
    const ATTEMPTS_MAX: u32 = 12;
}

/// Lets the worker write links.
pub fn register(registry: &mut Registry, service: &Arc<Service>) {
    let service = Arc::clone(service);
    registry.on::<WriteLink, _>(move |job, lease| {
        let service = Arc::clone(&service);
        async move { service.write_link(job, lease).await.map_err(Failure::retry) }
    });
}

impl Service {
    /// Has a link sent to an address, if it has an account that has a use for one. The answer and the work are the same
    /// for every address.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no address.
    pub async fn request_link(
        &self,
        caller: &Caller,
        purpose: LinkPurpose,
        email: &str,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let email = Email::only("email", email)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let request_id = caller.origin.request_id.clone();
        jobs::push(&mut tx, &self.world, None, &WriteLink { purpose, email, request_id }).await?;
        // Whose address it is, is not asked here: the entry of the letter says it, with the same request id.
        self.audit.record(&mut tx, caller.entry(asked(purpose))).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn write_link(&self, job: WriteLink, lease: Lease) -> Result<(), Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let found = store::link::addressee(&mut tx, &job.email).await?;
        if let Some(account) = found.filter(|found| has_a_use(found, job.purpose)) {
            let now = self.world.now();
            let last = now.minus(LETTER_EVERY);
            if let Some(token) = self.new_link(&mut tx, account.id, &job.email, job.purpose, last).await? {
                let (site, good_for) = (&self.options.public_url, self.options.link_ttl);
                let letter = match job.purpose {
                    LinkPurpose::VerifyEmail => letters::verify_email(site, &token, good_for),
                    LinkPurpose::ResetPassword => letters::reset_password(site, &token, good_for),
                };
                self.write_until(&mut tx, &job.email, letter, Some(now.plus(good_for))).await?;
                let mut platform = Caller::system("links");
                platform.origin.request_id = job.request_id;
                self.audit
                    .record(&mut tx, platform.entry(sent(job.purpose)).on("account", account.id))
                    .await?;
            }
        }
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes a link, and the one before of its kind void. None when that one was made after `last`.
    pub(super) async fn new_link(
        &self,
        tx: &mut Tx,
        account: AccountId,
        email: &Email,
        purpose: LinkPurpose,
        last: Timestamp,
    ) -> Result<Option<Secret<String>>, Error> {
        let (token, at) = (Secret::new(self.world.token()), self.world.now());
        let token_hash = token_hash(&token).ok_or_else(|| Error::internal("a link's token is too long"))?;
        let expires_at = at.plus(self.options.link_ttl);
        let new = NewLink { token_hash, account, purpose, email: email.clone(), at, expires_at };
        Ok(store::link::replace(tx, &new, last).await?.then_some(token))
    }

    /// Takes the proof that an address is its account's.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`] when the link was used, has expired, or is none.
    pub async fn verify_email(
        &self,
        caller: &Caller,
        token: &Secret<String>,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let hash = token_hash(token).ok_or(Error::LinkInvalid)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let now = self.world.now();
        let taken = store::link::take(&mut tx, &hash, LinkPurpose::VerifyEmail, now).await?;
        let (account, email) = taken.ok_or(Error::LinkInvalid)?;
        if !store::link::verify_email(&mut tx, account, &email, now).await? {
            return Err(Error::LinkInvalid);
        }
        let entry =
            caller.entry("auth.verify_email").by(account, None).on("account", account).risk(Risk::Medium);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Has a letter sent to an address once the transaction commits.
    pub(super) async fn write_to(&self, tx: &mut Tx, email: &Email, letter: Letter) -> Result<(), Error> {
        self.write_until(tx, email, letter, None).await
    }

    /// As [`Self::write_to`]; a letter that could not leave before `good_until` does not leave at all.
    pub(super) async fn write_until(
        &self,
        tx: &mut Tx,
        email: &Email,
        letter: Letter,
        good_until: Option<Timestamp>,
    ) -> Result<(), Error> {
        let mail = Mail { good_until, ..Mail::to(email.as_str(), letter) };
        Ok(self.outbox.push(tx, &mail).await?)
    }
}

/// Under which a link's token is kept; none when it is too long to be one of ours.
pub(super) fn token_hash(token: &Secret<String>) -> Option<[u8; 32]> {
    let token = token.expose();
    (token.len() <= TOKEN_BYTES_MAX).then(|| Sha256::digest(token.as_bytes()).into())
}

/// Whoever has proved the address has no use for another proof.
fn has_a_use(account: &Addressee, purpose: LinkPurpose) -> bool {
    purpose == LinkPurpose::ResetPassword || account.email_verified_at.is_none()
}

const fn asked(purpose: LinkPurpose) -> &'static str {
    match purpose {
        LinkPurpose::VerifyEmail => "auth.request_email_verification",
        LinkPurpose::ResetPassword => "auth.request_password_reset",
    }
}

const fn sent(purpose: LinkPurpose) -> &'static str {
    match purpose {
        LinkPurpose::VerifyEmail => "auth.send_email_verification",
        LinkPurpose::ResetPassword => "auth.send_password_reset",
    }
}
