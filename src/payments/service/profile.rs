//! Who is invoiced.

use crate::audit::Risk;
use crate::auth::{Caller, access};
use crate::base::{OrganizationId, Timestamp, Violations, text};
use crate::db::Scope;
use crate::idempotency::{self, Claim, RequestKey};
use crate::payments::Error;
use crate::payments::model::{BillingProfile, card};
use crate::payments::store;

use super::Service;

/// The longest name on an invoice, in characters.
const NAME_CHARS_MAX: usize = 200;
/// The longest mail address, in characters, which is PayFast's bound.
const EMAIL_CHARS_MAX: usize = 100;
/// The longest tax number, in characters.
const VAT_NUMBER_CHARS_MAX: usize = 20;
/// The longest postal address, in characters.
const ADDRESS_CHARS_MAX: usize = 500;

/// New values; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// The name on invoices.
    pub name: Option<String>,
    /// Where invoices go.
    pub email: Option<String>,
    /// The tax number.
    pub vat_number: Option<String>,
    /// The address on invoices.
    pub address: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
}

/// A wish to change who is invoiced.
#[derive(Clone, Debug)]
pub struct UpdateBillingProfile {
    /// Whose profile; the caller's own organisation's when empty.
    pub organization_id: Option<OrganizationId>,
    /// What changes.
    pub change: ProfileChange,
    /// The version that was read; `None` to change whatever is there.
    pub version: Option<i64>,
}

impl Service {
    /// The organisation's profile, empty when nobody ever said.
    pub async fn get_billing_profile(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
    ) -> Result<BillingProfile, Error> {
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(assumed)).await?;
        let organization_id = access::resolve_billing(&mut conn, caller, named).await?;
        let stored = store::profile::get(&mut conn, organization_id).await?;
        Ok(stored.unwrap_or_else(|| empty(organization_id)))
    }

    /// Changes the organisation's profile for one of its members.
    pub async fn update_billing_profile(
        &self,
        caller: &Caller,
        command: UpdateBillingProfile,
        key: Option<&RequestKey>,
    ) -> Result<BillingProfile, Error> {
        let change = checked(command.change)?;
        let named = command.organization_id;
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut tx = self.db.begin(Scope::Organization(assumed)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        let organization_id = access::resolve_billing(&mut tx, caller, named).await?;
        let stored = store::profile::lock(&mut tx, organization_id, self.world.now()).await?;
        if command.version.is_some_and(|version| version != stored.version) {
            return Err(Error::EtagMismatch);
        }
        let before = stored.clone();
        let updated = BillingProfile {
            organization_id,
            name: change.name.unwrap_or(stored.name),
            email: change.email.unwrap_or(stored.email),
            vat_number: change.vat_number.unwrap_or(stored.vat_number),
            address: change.address.unwrap_or(stored.address),
            country: change.country.unwrap_or(stored.country),
            version: stored.version.saturating_add(1),
            updated_at: self.world.now(),
        };
        store::profile::update(&mut tx, &updated).await?;
        let entry = caller.entry("payments.update_billing_profile").of(organization_id);
        let entry = entry.on("billing_profile", organization_id).risk(Risk::Medium);
        self.audit.record(&mut tx, entry.changed(&before, &updated)).await?;
        slot.store(&mut tx, &updated).await?;
        tx.commit().await?;
        Ok(updated)
    }
}

fn empty(organization_id: OrganizationId) -> BillingProfile {
    BillingProfile {
        organization_id,
        name: String::new(),
        email: String::new(),
        vat_number: String::new(),
        address: String::new(),
        country: String::new(),
        version: 0,
        updated_at: Timestamp::from_micros(0),
    }
}

fn checked(change: ProfileChange) -> Result<ProfileChange, Violations> {
    let mut v = Violations::new();
    let typed = [
        ("billing_profile.name", &change.name),
        ("billing_profile.email", &change.email),
        ("billing_profile.vat_number", &change.vat_number),
        ("billing_profile.address", &change.address),
    ];
    for (field, text) in typed {
        card::refuse_number(&mut v, field, text.as_deref().unwrap_or_default());
    }
    let change = ProfileChange {
        name: change
            .name
            .map(|name| text::optional_line(&mut v, "billing_profile.name", &name, NAME_CHARS_MAX)),
        email: change.email.map(|email| {
            let email = text::optional_line(&mut v, "billing_profile.email", &email, EMAIL_CHARS_MAX);
            let fits = email.is_empty() || email.split_once('@').is_some_and(mailbox);
            v.check(fits, "billing_profile.email", "must be an e-mail address");
            email
        }),
        vat_number: change.vat_number.map(|number| {
            let field = "billing_profile.vat_number";
            let number = text::optional_line(&mut v, field, &number, VAT_NUMBER_CHARS_MAX);
            v.check(
                number.chars().all(|c| c.is_ascii_alphanumeric()),
                field,
                "must be letters and digits only",
            );
            number
        }),
        address: change
            .address
            .map(|address| text::paragraphs(&mut v, "billing_profile.address", &address, ADDRESS_CHARS_MAX)),
        country: change.country,
    };
    if let Some(country) = change.country.as_deref().filter(|country| !country.is_empty()) {
        let fits = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        v.check(fits, "billing_profile.country", "must be two capital letters (ISO 3166-1), such as ZA");
    }
    if let (Some(number), Some("ZA")) = (&change.vat_number, change.country.as_deref()) {
        let fits =
            number.is_empty() || number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit());
        v.check(fits, "billing_profile.vat_number", "must be ten digits in South Africa");
    }
    v.finish().map(|()| change)
}

fn mailbox((local, domain): (&str, &str)) -> bool {
    let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '@');
    plain(local) && plain(domain)
}
