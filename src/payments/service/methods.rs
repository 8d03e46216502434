//! Stored cards: added by a checkout of nothing, listed, renamed, preferred and removed.
//!
//! What PayFast keeps of a card is known by its token, which is sealed with the root key for the very card that it
//! charges. It is opened only where the provider is called, and nothing else here carries it. All of this is decided
//! under the lock of the billing profile, as whatever concerns an organisation's money.

mod arriving;
mod cancelling;
mod charging;
mod keeping;
mod settling;

use serde::{Deserialize, Serialize};

use crate::audit::{Entry, Risk};
use crate::auth::{self, Caller, access};
use crate::base::{Currency, Money, OrganizationId, Secret, Timestamp, Violations, text};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::keyring;
use crate::payments::Error;
use crate::payments::model::card;
use crate::payments::model::method::{CardExpiry, DISPLAY_NAME_CHARS_MAX};
use crate::payments::model::{FormField, PaymentMethod, PaymentMethodId, PaymentMethodStatus, Provider};
use crate::payments::store;

use super::Service;
use super::reading::{Cursor, LOCATE};

pub use cancelling::CancelToken;
pub use charging::ChargeMethod;
pub use settling::SettleCharge;

/// How many cards an organisation may keep, those among them that are not confirmed yet.
const METHODS_MAX: i64 = 20;
/// What is charged to set a card up, in cents: nothing. A bank may take a small amount and give it back.
const SET_UP_MINOR: i64 = 0;
/// What the buyer reads on the provider's page.
const ITEM_NAME: &str = "CapeControl payment method";
const ITEM_DESCRIPTION: &str = "Stores your card for later payments. Nothing is charged now.";

/// A wish to store a card.
#[derive(Clone, Debug)]
pub struct CreatePaymentMethod {
    /// Whose card; the caller's own organisation's when empty.
    pub organization_id: Option<OrganizationId>,
    /// What its owners call it; may be empty.
    pub display_name: String,
    /// Until when it is good, when they say so.
    pub expiry: Option<CardExpiry>,
    /// Where the buyer goes afterwards; home when empty.
    pub return_url: String,
    /// Where the buyer goes after giving up; home when empty.
    pub cancel_url: String,
}

/// A card that is to be stored: what the browser posts to the provider, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodCheckout {
    /// The card; it is pending.
    pub method: PaymentMethod,
    /// Where the form is posted to.
    pub action_url: String,
    /// The form, in the provider's order, the signature last.
    pub fields: Vec<FormField>,
}

/// A wish to change a stored card; what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct MethodChange {
    /// What its owners call it.
    pub display_name: Option<String>,
    /// Until when it is good.
    pub expiry: Option<CardExpiry>,
    /// Whether it becomes the one that its organisation prefers.
    pub make_default: bool,
}

impl Service {
    /// The stored cards of an organisation behind `after`, the newest first.
    pub async fn list_payment_methods(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<PaymentMethod>, Error> {
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(assumed)).await?;
        let organization_id = access::resolve_billing(&mut conn, caller, named).await?;
        Ok(store::method::list(&mut conn, organization_id, Cursor::place(after), limit).await?)
    }

    /// Starts a checkout of nothing that stores a card.
    ///
    /// # Errors
    /// [`Error::CardsNotKept`], [`Error::TooManyPaymentMethods`], [`Error::Invalid`].
    pub async fn create_payment_method(
        &self,
        caller: &Caller,
        command: CreatePaymentMethod,
        key: Option<&RequestKey>,
    ) -> Result<MethodCheckout, Error> {
        let (urls, mut violations) = self.buyer_urls(&command.return_url, &command.cancel_url);
        let display_name = named(&mut violations, "display_name", &command.display_name);
        let expires_at = self.ends_at(&mut violations, "expiry", command.expiry);
        violations.finish()?;
        let assumed = command.organization_id.map_or_else(|| caller.personal(), Ok)?;
        let mut tx = self.db.begin(Scope::Organization(assumed)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        let organization_id = access::resolve_billing(&mut tx, caller, command.organization_id).await?;
        if self.options.passphrase().is_none() {
            return Err(Error::CardsNotKept);
        }
        let now = self.world.now();
        let profile = store::profile::lock(&mut tx, organization_id, now).await?;
        if store::method::has_at_least(&mut tx, organization_id, METHODS_MAX).await? {
            return Err(Error::TooManyPaymentMethods);
        }
        let method = PaymentMethod {
            id: self.world.id(),
            organization_id,
            account_id: caller.account,
            provider: Provider::Payfast,
            status: PaymentMethodStatus::Pending,
            display_name,
            is_default: false,
            expires_at,
            noticed_at: None,
            test: self.options.test(),
            created_at: now,
            updated_at: now,
            activated_at: None,
            removed_at: None,
        };
        store::method::insert(&mut tx, &method).await?;
        let form = self
            .form(&urls, &profile, &method.id.to_string())
            .amount(Money::new(SET_UP_MINOR, Currency::Zar))
            .tokenize()
            .put("item_name", ITEM_NAME)
            .put("item_description", ITEM_DESCRIPTION);
        let fields = self.signed(form)?;
        let entry = about(caller.entry("payments.create_payment_method"), &method);
        self.audit.record(&mut tx, entry.changed(&(), &method)).await?;
        let checkout = MethodCheckout { method, action_url: self.options.process_url(), fields };
        slot.store(&mut tx, &checkout).await?;
        tx.commit().await?;
        Ok(checkout)
    }

    /// Changes a stored card.
    ///
    /// # Errors
    /// [`Error::PaymentMethodNotFound`], [`Error::PaymentMethodNotActive`], [`Error::Invalid`].
    pub async fn update_payment_method(
        &self,
        caller: &Caller,
        id: PaymentMethodId,
        change: MethodChange,
        key: Option<&RequestKey>,
    ) -> Result<PaymentMethod, Error> {
        let mut violations = Violations::new();
        let display_name = change
            .display_name
            .map(|name| self::named(&mut violations, "payment_method.display_name", &name));
        let expires_at = self.ends_at(&mut violations, "payment_method.expiry", change.expiry);
        violations.finish()?;
        let home = self.home_of_method(id).await?;
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        let before = self.own_method(&mut tx, caller, home, id).await?;
        let now = self.world.now();
        let mut after = PaymentMethod { updated_at: now, ..before.clone() };
        after.display_name = display_name.unwrap_or(after.display_name);
        if let Some(expires_at) = expires_at.filter(|expires_at| before.expires_at != Some(*expires_at)) {
            (after.expires_at, after.noticed_at) = (Some(expires_at), None);
            if let (PaymentMethodStatus::Expired, Ok(status)) =
                (before.status, before.status.change_to(PaymentMethodStatus::Active))
            {
                after.status = status;
            }
        }
        if change.make_default && !after.is_default {
            if after.status != PaymentMethodStatus::Active {
                return Err(Error::PaymentMethodNotActive(after.status.as_str()));
            }
            store::method::prefer_none(&mut tx, after.organization_id, now).await?;
            after.is_default = true;
        }
        store::method::update(&mut tx, &after).await?;
        let entry = about(caller.entry("payments.update_payment_method"), &after);
        self.audit.record(&mut tx, entry.changed(&before, &after)).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Removes a stored card. For its owners it is gone at once; a job has the provider end its token.
    ///
    /// # Errors
    /// [`Error::PaymentMethodNotFound`].
    pub async fn delete_payment_method(
        &self,
        caller: &Caller,
        id: PaymentMethodId,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let home = self.home_of_method(id).await?;
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let before = self.own_method(&mut tx, caller, home, id).await?;
        let after = before.clone().removed(self.world.now()).map_err(Error::internal)?;
        store::method::update(&mut tx, &after).await?;
        if let Some(sealed) = store::method::token(&mut tx, &after).await? {
            self.cancel_later(&mut tx, &after, &sealed).await?;
        }
        let entry = about(caller.entry("payments.delete_payment_method"), &after);
        self.audit.record(&mut tx, entry.changed(&before, &after)).await?;
        slot.store(&mut tx, &()).await?;
        Ok(tx.commit().await?)
    }

    async fn home_of_method(&self, id: PaymentMethodId) -> Result<Option<OrganizationId>, Error> {
        let mut conn = self.db.conn(LOCATE).await?;
        Ok(store::method::organization_of(&mut conn, id).await?)
    }

    /// A card that the caller may see to, locked; what is removed or somebody else's is not there.
    async fn own_method(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        home: Option<OrganizationId>,
        id: PaymentMethodId,
    ) -> Result<PaymentMethod, Error> {
        let home = home.ok_or(Error::PaymentMethodNotFound)?;
        access::billing(tx, caller, home).await.map_err(|error| match error {
            auth::Error::OrganizationNotFound => Error::PaymentMethodNotFound,
            error => error.into(),
        })?;
        store::profile::lock(tx, home, self.world.now()).await?;
        let found = store::method::lock(tx, home, id).await?;
        found
            .filter(|method| method.status != PaymentMethodStatus::Removed)
            .ok_or(Error::PaymentMethodNotFound)
    }

    fn ends_at(
        &self,
        violations: &mut Violations,
        field: &str,
        expiry: Option<CardExpiry>,
    ) -> Option<Timestamp> {
        expiry.and_then(|expiry| expiry.ends_at(violations, field, self.world.now()))
    }

    fn seal_token(&self, id: PaymentMethodId, token: &str) -> Result<Vec<u8>, Error> {
        let root = self.root.as_ref().ok_or_else(|| Error::internal(keyring::Error))?;
        root.seal(&self.world, &purpose(id), token.as_bytes()).map_err(Error::internal)
    }

    fn open_token(&self, id: PaymentMethodId, sealed: &[u8]) -> Result<Secret<String>, Error> {
        let root = self.root.as_ref().ok_or_else(|| Error::internal(keyring::Error))?;
        let opened = root.open(&purpose(id), sealed).map_err(Error::internal)?;
        String::from_utf8(opened.expose().clone()).map(Secret::new).map_err(Error::internal)
    }
}

/// What the token of a card is sealed for.
fn purpose(id: PaymentMethodId) -> String {
    format!("payment-method:{id}")
}

fn named(violations: &mut Violations, field: &str, name: &str) -> String {
    card::refuse_number(violations, field, name);
    text::optional_line(violations, field, name, DISPLAY_NAME_CHARS_MAX)
}

/// An entry about a stored card.
fn about(entry: Entry, method: &PaymentMethod) -> Entry {
    entry.of(method.organization_id).on("payment_method", method.id).risk(Risk::Medium)
}
