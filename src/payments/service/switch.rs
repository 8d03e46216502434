//! Whether checkouts may be started: a setting of the node, and a switch that all nodes obey with their next checkout.
//!
//! It closes the door only. Notifications, settlements and reconciliation go on, for what was paid is paid.

use crate::audit::Risk;
use crate::auth::Caller;
use crate::base::Violations;
use crate::db::{Conn, Scope};
use crate::idempotency::{self, Claim, RequestKey};
use crate::payments::Error;
use crate::payments::store::switch::{self, Switch};

use super::Service;
use super::reading::administrator;

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 200;

impl Service {
    /// Opens or closes checkouts on all nodes, at the word of a platform administrator. A node whose own setting is
    /// closed stays closed.
    pub async fn set_checkout_switch(
        &self,
        caller: &Caller,
        open: bool,
        reason: &str,
        key: Option<&RequestKey>,
    ) -> Result<Switch, Error> {
        administrator(caller)?;
        let reason = reason.trim();
        let mut v = Violations::new();
        let fits =
            (1..=REASON_CHARS_MAX).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
        v.check(fits, "reason", format!("must be one line of 1 to {REASON_CHARS_MAX} characters"));
        v.finish()?;
        let mut tx = self.db.begin(Scope::System("payments.set_checkout_switch")).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        let before = switch::get(&mut tx).await?;
        let after = Switch { open, reason: reason.to_owned(), changed_at: self.world.now() };
        switch::set(&mut tx, &after).await?;
        let entry = caller.entry("payments.set_checkout_switch").risk(Risk::High);
        self.audit.record(&mut tx, entry.changed(&before, &after)).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Refuses while checkouts are closed.
    pub(super) async fn must_be_open(&self, conn: &mut impl Conn) -> Result<(), Error> {
        let open = self.options.checkouts_open && switch::get(conn).await?.is_none_or(|switch| switch.open);
        if open { Ok(()) } else { Err(Error::CheckoutsClosed) }
    }
}
