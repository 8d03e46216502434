//! What the payments domain does: checkouts, the inbox of notifications, settlement, and looking at all of it.
//!
//! Authorisation is decided here. Nothing outside is awaited while a transaction is open. Whatever changes an
//! organisation's money does so under the lock of its billing profile, taken first; then payment, invoice, receipt and
//! refund, and last the counter of numbers, in that order everywhere.

mod checkout;
mod crediting;
mod documents;
mod drafting;
mod ending;
mod estate;
mod gateway;
mod history;
mod inbox;
mod issuing;
mod ledger;
mod methods;
mod movement;
mod operations;
mod profile;
mod reading;
mod reconciliation;
mod refund;
mod report;
mod settlement;
mod switch;
mod transactions;
mod verification;
mod voiding;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::audit;
use crate::base::{Timestamp, World};
use crate::db::{Batcher, Db, Tx};
use crate::jobs;
use crate::keyring::RootKey;
use crate::mail::Outbox;

pub use checkout::{CreateCheckout, Item};
pub use crediting::CreateCreditNote;
pub use documents::{Drawn, MailDocument, Subject};
pub use drafting::CreateInvoice;
pub use inbox::{Incoming, Receipt};
pub use ledger::{Ledger, Options as LedgerOptions, Rebuilt, Standing};
pub use methods::{
    CancelToken, ChargeMethod, CreatePaymentMethod, MethodChange, MethodCheckout, SettleCharge,
};
pub use operations::{EventFilter, ProviderEventDetail, ProviderStatus, SeenEvent};
pub use profile::{ProfileChange, UpdateBillingProfile};
pub use reading::{CurrentSubscription, Cursor, InvoiceWithLines, PaymentFilter, PaymentWithRefunds};
pub use reconciliation::Reconcile;
pub use refund::{ApproveRefund, RefundFilter, RefundPayment, RefundSource, SendRefund, SettleRefund};
pub use settlement::ApplyEvent;
pub use transactions::{
    BooksOf, ExportPlace, ExportTransactions, Exporting, TableChunk, TransactionFilter, TransactionPage,
};

pub use super::model::report::{Fault, FaultKind, Report};

use super::crash::{Crash, Never};
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
    crash: Arc<dyn Crash>,
    audit: audit::Log,
    ledger: Ledger,
    throttle: Mutex<Throttle>,
    /// What wraps the tokens of cards; none when the domain keeps no cards.
    root: Option<RootKey>,
    /// Where letters go; none when the domain writes none.
    outbox: Option<Outbox>,
    /// How many documents may still be drawn now.
    drawing: Arc<Semaphore>,
    /// Notifications that come at the same time are stored together.
    arrivals: Batcher<Signed, Receipt>,
}

impl Service {
    /// The domain over this database, with this provider and these books, which writes down what is done.
    #[must_use]
    pub fn new(
        db: Db,
        world: World,
        options: Options,
        confirm: Arc<dyn Confirm>,
        audit: audit::Log,
        ledger: Ledger,
    ) -> Self {
        Self {
            db,
            world,
            options,
            confirm,
            transport: Arc::new(Nowhere),
            crash: Arc::new(Never),
            audit,
            ledger,
            throttle: Mutex::default(),
            root: None,
            outbox: None,
            drawing: Arc::new(Semaphore::new(documents::DRAWN_AT_ONCE_MAX)),
            arrivals: Batcher::new(ARRIVALS_MAX),
        }
    }

    /// The ledger as a whole.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The same domain, with a way to the provider's API.
    #[must_use]
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport, ..self }
    }

    /// The same domain, which keeps cards: their tokens are wrapped with this key.
    #[must_use]
    pub fn sealing(self, root: RootKey) -> Self {
        Self { root: Some(root), ..self }
    }

    /// The same domain, which mails invoices and credit notes when they are issued.
    #[must_use]
    pub fn writing(self, outbox: Outbox) -> Self {
        Self { outbox: Some(outbox), ..self }
    }

    /// The same domain, of which somebody hears how far it gets: a test that has it die there.
    #[must_use]
    pub fn heard_by(self, crash: Arc<dyn Crash>) -> Self {
        Self { crash, ..self }
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
    let of = || Arc::clone(service);
    let applies = of();
    registry.on::<ApplyEvent, _>(move |job, lease| {
        let service = Arc::clone(&applies);
        async move { service.apply_event(job, lease).await }
    });
    let sends = of();
    registry.on::<SendRefund, _>(move |job, lease| {
        let service = Arc::clone(&sends);
        async move { service.send_refund(job, lease).await }
    });
    let settles = of();
    registry.on::<SettleRefund, _>(move |job, lease| {
        let service = Arc::clone(&settles);
        async move { service.settle_refund(job, lease).await }
    });
    let charges = of();
    registry.on::<ChargeMethod, _>(move |job, lease| {
        let service = Arc::clone(&charges);
        async move { service.send_charge(job, lease).await }
    });
    let finds = of();
    registry.on::<SettleCharge, _>(move |job, lease| {
        let service = Arc::clone(&finds);
        async move { service.settle_charge(job, lease).await }
    });
    let cancels = of();
    registry.on::<CancelToken, _>(move |job, lease| {
        let service = Arc::clone(&cancels);
        async move { service.cancel_token(job, lease).await }
    });
    let mails = of();
    registry.on::<MailDocument, _>(move |job, lease| {
        let service = Arc::clone(&mails);
        async move { service.mail_document(job, lease).await }
    });
    let reconciles = of();
    registry.on::<Reconcile, _>(move |job, lease| {
        let service = Arc::clone(&reconciles);
        async move { service.reconcile_days(job, lease).await }
    });
}
