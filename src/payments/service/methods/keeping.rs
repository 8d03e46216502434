//! Stored cards over time: those that end soon are announced, those that ended are not charged any more, and those that
//! nobody confirmed are given up.

use std::time::Duration;

use crate::auth::Caller;
use crate::base::{OrganizationId, Timestamp};
use crate::db::{Scope, Tx};
use crate::payments::model::method::CardExpiry;
use crate::payments::model::{PaymentMethod, PaymentMethodId, PaymentMethodStatus};
use crate::payments::{Error, letter, store};

use super::super::Service;
use super::about;

/// How long a card waits for the provider's word.
const CONFIRMED_WITHIN: Duration = Duration::from_hours(7 * 24);
/// How long before a card ends its owners are told.
const NOTICE: Duration = Duration::from_hours(30 * 24);

const PURPOSE: &str = "payments.keep_methods";
const SCOPE: Scope = Scope::System(PURPOSE);

/// What time does to a card.
#[derive(Clone, Copy)]
enum Due {
    Expire,
    Notice,
    GiveUp,
}

impl Service {
    /// Does what is due with stored cards, at most `limit` of each kind. Tells how many there were of the most frequent
    /// kind.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn keep_methods(&self, limit: i64) -> Result<u64, Error> {
        let now = self.world.now();
        let (over, soon, old) = {
            let mut conn = self.db.conn(SCOPE).await?;
            let pending = PaymentMethodStatus::Pending;
            let old =
                store::method::added_before(&mut conn, pending, now.minus(CONFIRMED_WITHIN), limit).await?;
            let soon = store::method::to_notice(&mut conn, now.plus(NOTICE), limit).await?;
            (store::method::over_by(&mut conn, now, limit).await?, soon, old)
        };
        let most = over.len().max(soon.len()).max(old.len());
        for (due, found) in [(Due::Notice, soon), (Due::Expire, over), (Due::GiveUp, old)] {
            for (id, organization) in found {
                self.keep_method(due, organization, id).await?;
            }
        }
        Ok(u64::try_from(most).unwrap_or(0))
    }

    async fn keep_method(
        &self,
        due: Due,
        organization: OrganizationId,
        id: PaymentMethodId,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let now = self.world.now();
        let profile = store::profile::lock(&mut tx, organization, now).await?;
        let Some(before) = store::method::lock(&mut tx, organization, id).await? else { return Ok(()) };
        // Somebody may have changed it, or another node have been here, since it was found.
        let (action, after) = match (due, before.expires_at) {
            (Due::GiveUp, _) if before.status == PaymentMethodStatus::Pending => {
                ("payments.give_up_payment_method", before.clone().removed(now).map_err(Error::internal)?)
            }
            (Due::Expire, Some(ends_at)) if ends_at <= now => match before.clone().expired(now) {
                Ok(after) => ("payments.expire_payment_method", after),
                Err(_) => return Ok(()),
            },
            (Due::Notice, Some(ends_at)) if to_be_told(&before, ends_at, now) => {
                self.announce(&mut tx, &before, ends_at, &profile.email).await?;
                let after = PaymentMethod { noticed_at: Some(now), updated_at: now, ..before.clone() };
                ("payments.notice_payment_method", after)
            }
            _ => return Ok(()),
        };
        store::method::update(&mut tx, &after).await?;
        let entry = about(Caller::system(PURPOSE).entry(action), &after);
        self.audit.record(&mut tx, entry.changed(&before, &after)).await?;
        Ok(tx.commit().await?)
    }

    /// Mails that a card ends soon to where the organisation's invoices go, if anybody ever said.
    async fn announce(
        &self,
        tx: &mut Tx,
        method: &PaymentMethod,
        ends_at: Timestamp,
        address: &str,
    ) -> Result<(), Error> {
        if let (Some(outbox), false) = (&self.outbox, address.is_empty()) {
            let expiry = CardExpiry::before(ends_at);
            let (site, name) = (self.options.home_url(), method.display_name.as_str());
            let mail = letter::card_expires(address, &site, name, expiry, method.test);
            outbox.push(tx, &mail).await?;
        }
        Ok(())
    }
}

fn to_be_told(method: &PaymentMethod, ends_at: Timestamp, now: Timestamp) -> bool {
    method.status == PaymentMethodStatus::Active && method.noticed_at.is_none() && ends_at <= now.plus(NOTICE)
}
