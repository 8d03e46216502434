//! What keeps an organisation from being closed: money that it owes, or has paid in advance, and cards that could still
//! be charged.

use async_trait::async_trait;

use crate::auth::Estate;
use crate::base::OrganizationId;
use crate::db::{self, Tx};
use crate::payments::model::SubscriptionStatus;
use crate::payments::store;

use super::Service;

#[async_trait]
impl Estate for Service {
    async fn unsettled(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
    ) -> Result<Option<&'static str>, db::Error> {
        let now = self.world.now();
        // The lock under which checkouts begin and payments are settled.
        store::profile::lock(tx, organization, now).await?;
        let bought = store::subscription::get(tx, organization).await?;
        if bought.is_some_and(|bought| bought.status(now) == SubscriptionStatus::Active) {
            return Ok(Some("a running subscription"));
        }
        if store::invoice::has_open(tx, organization).await? {
            return Ok(Some("an open invoice"));
        }
        // Nobody could have it forgotten afterwards.
        let card = store::method::has_confirmed(tx, organization).await?;
        Ok(card.then_some("a stored payment method"))
    }
}
