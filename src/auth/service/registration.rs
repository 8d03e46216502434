//! Registration: an account, its personal organisation and its owner's membership, in one transaction.
//!
//! Whether the address is known must not be learned here. Both ways hash once, write a letter and answer the same;
//! only whoever reads the address's mail is told which way it went.

use std::time::Duration;

use crate::auth::model::{LinkPurpose, Registration};
use crate::auth::store::account::NewAccount;
use crate::auth::{Caller, Email, Error, Role, letters, profile, store};
use crate::base::{Secret, Violations};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

use super::{Service, platform_invitation};

/// How often the owner of an address is told of registrations by others, who must not be able to fill a mailbox.
const NOTICE_EVERY: Duration = Duration::from_hours(1);
/// Why a registration came to nothing; whoever registers is not told.
const ADDRESS_TAKEN: &str = "ADDRESS_TAKEN";
const TERMS_FIELD: &str = "accepted_terms_version";

/// Somebody wants an account. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct Register {
    /// The address to sign in with.
    pub email: String,
    /// The password to sign in with.
    pub password: Secret<String>,
    /// The name to show.
    pub display_name: String,
    /// The terms that were read and accepted.
    pub accepted_terms_version: String,
    /// The invitation, while registration is closed; not looked at otherwise.
    pub invitation: Option<Secret<String>>,
}

/// A registration that may be carried out.
struct Checked {
    email: Email,
    password: Secret<String>,
    display_name: String,
    terms_version: String,
    /// The hash of the invitation's token, while registration is closed.
    invitation: Option<[u8; 32]>,
}

impl Service {
    /// Makes an account, or writes to the owner of the one that the address has. The answer tells nothing of which.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every wrong field; [`Error::HashingBusy`]; [`Error::InvitationRequired`] and
    /// [`Error::InvitationInvalid`] while registration is closed.
    pub async fn register(
        &self,
        caller: &Caller,
        command: Register,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let checked = self.check_registration(command).await?;
        let invited = self.is_invited(&checked).await?;
        if !invited {
            return self.refuse_uninvited(caller, key).await;
        }
        let hash = self.hashing.hash(checked.password.clone(), &self.world).await?;
        let mut tx = self.db.begin(Scope::System("registration")).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        self.take_invitation(&mut tx, &checked).await?;
        let new = NewAccount {
            id: self.world.id(),
            personal_organization_id: self.world.id(),
            email: checked.email.clone(),
            role: Role::Customer,
            password_hash: hash,
            one_time_issued_at: None,
            terms_version: checked.terms_version,
            display_name: checked.display_name,
            at: self.world.now(),
        };
        let entry = caller.entry("auth.register");
        if self.insert_account(&mut tx, &new).await? {
            let entry = entry.by(new.id, None).of(new.personal_organization_id).on("account", new.id);
            self.audit.record(&mut tx, entry).await?;
            self.welcome(&mut tx, &new).await?;
        } else if store::account::notice(&mut tx, &checked.email, new.at, new.at.minus(NOTICE_EVERY)).await? {
            let letter = letters::already_registered(&self.options.public_url);
            self.write_to(&mut tx, &checked.email, letter).await?;
            self.audit.refused(entry, ADDRESS_TAKEN);
        }
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The first letter to an account, with the link that proves its address.
    async fn welcome(&self, tx: &mut Tx, new: &NewAccount) -> Result<(), Error> {
        let link = self.new_link(tx, new.id, &new.email, LinkPurpose::VerifyEmail, new.at).await?;
        let token = link.ok_or_else(|| Error::internal("a new account has a link already"))?;
        let letter = letters::welcome(&self.options.public_url, &token, self.options.link_ttl);
        self.write_to(tx, &new.email, letter).await
    }

    /// Inserts an account with its personal organisation. `false`, and nothing is written, when the address has an
    /// account.
    pub(super) async fn insert_account(&self, tx: &mut Tx, new: &NewAccount) -> Result<bool, Error> {
        let inserted = store::account::insert(tx, new).await?;
        if inserted {
            let name = &new.display_name;
            store::organization::insert_personal(tx, new.personal_organization_id, new.id, name, new.at)
                .await?;
        }
        Ok(inserted)
    }

    /// Whether it could be carried out, asked before a hash is computed for it. Whether the address has an account
    /// plays no part.
    async fn is_invited(&self, checked: &Checked) -> Result<bool, Error> {
        let Some(hash) = &checked.invitation else { return Ok(true) };
        let mut conn = self.db.conn(Scope::System("registration")).await?;
        Ok(store::platform_invitation::is_open(&mut conn, hash, &checked.email, self.world.now()).await?)
    }

    /// The invitation is used up: by this very call, if it was made before.
    async fn refuse_uninvited(&self, caller: &Caller, key: Option<&RequestKey>) -> Result<(), Error> {
        let mut tx = self.db.begin(Scope::System("registration")).await?;
        match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => Ok(()),
            Claim::New(_) => Err(Error::InvitationInvalid),
        }
    }

    /// Uses the invitation up, also when the address has an account: otherwise whoever holds one could try with it
    /// which addresses do.
    async fn take_invitation(&self, tx: &mut Tx, checked: &Checked) -> Result<(), Error> {
        let Some(hash) = &checked.invitation else { return Ok(()) };
        let taken = store::platform_invitation::take(tx, hash, &checked.email, self.world.now()).await?;
        if taken { Ok(()) } else { Err(Error::InvitationInvalid) }
    }

    async fn check_registration(&self, command: Register) -> Result<Checked, Error> {
        let mut violations = Violations::new();
        let email = Email::read(&mut violations, "email", &command.email);
        let (password, name) = (&command.password, &command.display_name);
        self.judge(&mut violations, "password", password, email.as_ref(), name).await?;
        let display_name = profile::display_name(&mut violations, "display_name", &command.display_name);
        let terms_version = self.current_terms();
        if command.accepted_terms_version != terms_version {
            let fault = format!("must be `{terms_version}`, the version of the terms that is in force");
            violations.add(TERMS_FIELD, fault);
        }
        violations.finish()?;
        let email = email.ok_or_else(|| Error::internal("an address without a violation was not read"))?;
        let invitation = match (self.options.registration, command.invitation) {
            (Registration::Open, _) => None,
            (Registration::Invited, None) => return Err(Error::InvitationRequired),
            (Registration::Invited, Some(token)) => Some(platform_invitation::hash(&token)?),
        };
        Ok(Checked {
            invitation,
            email,
            password: command.password,
            display_name,
            terms_version: terms_version.to_owned(),
        })
    }

    /// The version of the terms that is in force.
    pub fn current_terms(&self) -> &str {
        self.options.terms_versions.last().map_or("", String::as_str)
    }
}
