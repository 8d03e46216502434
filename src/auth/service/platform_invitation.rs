//! Invitations to register, while registration is closed.
//!
//! An invitation is 256 random bits, kept as a hash, good once and for a while, for one address or for whoever holds
//! it.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::audit::Risk;
use crate::auth::model::PlatformInvitationId;
use crate::auth::store::platform_invitation::NewInvitation;
use crate::auth::{Caller, Email, Error, letters, store};
use crate::base::{Secret, Timestamp, Violations};
use crate::db::Scope;
use crate::idempotency::{self, Claim, RequestKey};

use super::{Service, operator};

/// How long an invitation is good when nothing is said.
const HOURS_DEFAULT: u32 = 7 * 24;
/// How long it may be good.
const HOURS_MAX: u32 = 30 * 24;
/// Ours have 43 characters. Longer ones are not hashed.
const TOKEN_BYTES_MAX: usize = 64;
const SCOPE: Scope = Scope::System("invitations");

/// Somebody is to be let register. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct Invite {
    /// Whom it is for; none for whoever holds it.
    pub email: Option<String>,
    /// For how many hours it is good; none for a week.
    pub hours: Option<u32>,
}

/// An invitation that was made.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Its id.
    pub id: PlatformInvitationId,
    /// What the invited registers with. It is told once.
    pub token: Secret<String>,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl Service {
    /// Makes an invitation, and has a letter sent to whom it is for.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::Invalid`].
    pub async fn create_invitation(
        &self,
        caller: &Caller,
        command: Invite,
        key: Option<&RequestKey>,
    ) -> Result<Invited, Error> {
        operator::admit(caller)?;
        let mut violations = Violations::new();
        let email = command.email.as_deref().and_then(|text| Email::read(&mut violations, "email", text));
        let hours = command.hours.unwrap_or(HOURS_DEFAULT);
        let says = format!("must be 1 to {HOURS_MAX}, or left out for {HOURS_DEFAULT}");
        violations.check((1..=HOURS_MAX).contains(&hours), "valid_hours", says);
        violations.finish()?;
        let mut tx = self.db.begin(SCOPE).await?;
        let Claim::New(slot) = idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? else {
            return Err(idempotency::Error::SecretAlreadyIssued.into());
        };
        self.check_administrator(&mut tx, caller).await?;
        let (now, token) = (self.world.now(), Secret::new(self.world.token()));
        let new = NewInvitation {
            id: self.world.id(),
            hash: hash(&token)?,
            email,
            by: caller.account,
            at: now,
            expires_at: now.plus(Duration::from_hours(u64::from(hours))),
        };
        store::platform_invitation::insert(&mut tx, &new).await?;
        if let Some(email) = &new.email {
            let letter = letters::invitation(
                &self.options.public_url,
                &letters::Invitation {
                    inviter: None,
                    organization: None,
                    token: &token,
                    good_until: new.expires_at,
                },
            );
            self.write_to(&mut tx, email, letter).await?;
        }
        let entry = caller.entry("auth.create_platform_invitation").risk(Risk::Medium);
        self.audit.record(&mut tx, entry.on("platform_invitation", new.id)).await?;
        slot.store_secret();
        tx.commit().await?;
        Ok(Invited { id: new.id, token, expires_at: new.expires_at })
    }
}

/// Under which an invitation is kept. It has 256 bits of its own, so a plain hash is enough.
///
/// # Errors
/// [`Error::InvitationInvalid`] when it cannot be one of ours.
pub(super) fn hash(token: &Secret<String>) -> Result<[u8; 32], Error> {
    let token = token.expose();
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Error::InvitationInvalid);
    }
    Ok(Sha256::digest(token.as_bytes()).into())
}
