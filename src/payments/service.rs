//! What the payments domain does: checkouts, the inbox of notifications, settlement, and looking at all of it.
//!
//! Authorisation is decided here. Nothing outside is awaited while a transaction is open. Whatever changes an
//! organisation's money does so under the lock of its billing profile, taken first; then payment, then invoice, then
//! counter, in that order everywhere.

mod checkout;
mod ending;
mod estate;
mod gateway;
mod inbox;
mod movement;
mod profile;
mod reading;
mod reconciliation;
mod settlement;
mod switch;
mod verification;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit;
use crate::base::{Timestamp, World};
use crate::db::{Batcher, Db, Tx};
use crate::jobs;

pub use checkout::{CreateCheckout, Item};
pub use inbox::{Incoming, Receipt};
pub use profile::{ProfileChange, UpdateBillingProfile};
pub use reading::{CurrentSubscription, Cursor, InvoiceWithLines};
pub use reconciliation::Reconcile;
pub use settlement::ApplyEvent;
pub use verification::{Fault, FaultKind, Report};

use super::options::Options;
use super::provider::{Confirm, Nowhere, Transport};
use super::store::alarm::{self, Alarm};
use super::throttle::Throttle;
use inbox::{ARRIVALS_MAX, Signed};

/// How long an alarm of what comes from outside counts up before the next one is raised.
const ALARM_WINDOW: Duration = Duration::from_hours(1);

/// The payments domain.
pub struct Service {
    db: Db,
    world: World,
    options: Options,
    confirm: Arc<dyn Confirm>,
    transport: Arc<dyn Transport>,
    audit: audit::Log,
    throttle: Mutex<Throttle>,
    /// Notifications that come at the same time are stored together.
    arrivals: Batcher<Signed, Receipt>,
}

impl Service {
    /// The domain over this database, with this provider, which writes down what is done.
    #[must_use]
    pub fn new(db: Db, world: World, options: Options, confirm: Arc<dyn Confirm>, audit: audit::Log) -> Self {
        let transport = Arc::new(Nowhere);
        let arrivals = Batcher::new(ARRIVALS_MAX);
        let throttle = Mutex::default();
        Self { db, world, options, confirm, transport, audit, throttle, arrivals }
    }

    /// The same domain, with a way to the provider's API.
    #[must_use]
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport, ..self }
    }

    /// What the domain was told at start.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    fn admit(&self, peer: Option<std::net::IpAddr>) -> Result<(), Duration> {
        // A poisoned lock holds numbers only; any of them will do.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).admit(peer, self.world.now())
    }

    /// Raises an alarm inside the transaction that found its cause.
    async fn raise(&self, tx: &mut Tx, alarm: Alarm) -> Result<(), crate::db::Error> {
        if alarm::raise(tx, self.world.id(), &alarm, self.world.now()).await? {
            tracing::warn!(
                kind = alarm.kind.as_str(),
                subject = alarm.subject,
                "a payments alarm was raised"
            );
        }
        Ok(())
    }
}

/// The window that a moment lies in, as part of an alarm's key.
fn window(at: Timestamp) -> String {
    let seconds = i64::try_from(ALARM_WINDOW.as_secs()).unwrap_or(i64::MAX);
    at.as_seconds().div_euclid(seconds).to_string()
}

/// Has the domain's jobs run.
pub fn register(registry: &mut jobs::Registry, service: &Arc<Service>) {
    let applying = Arc::clone(service);
    registry.on::<ApplyEvent, _>(move |job, lease| {
        let service = Arc::clone(&applying);
        async move { service.apply_event(job, lease).await }
    });
    let reconciling = Arc::clone(service);
    registry.on::<Reconcile, _>(move |job, lease| {
        let service = Arc::clone(&reconciling);
        async move { service.reconcile_days(job, lease).await }
    });
}
