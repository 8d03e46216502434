//! Looking at what there is. What belongs to others does not exist.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::auth::{self, Caller, access};
use crate::base::{Id, OrganizationId, Timestamp};
use crate::db::{self, Conn, Scope};
use crate::payments::Error;
use crate::payments::model::{
    EventStatus, FREE_PLAN, Invoice, InvoiceId, InvoiceLine, Payment, PaymentId, Plan, ProviderEvent,
    Subscription, SubscriptionStatus,
};
use crate::payments::store;

use super::Service;

/// To find out whose something is. What it holds is read in its organisation's scope.
pub(super) const LOCATE: Scope = Scope::System("payments.locate");

/// A place in a list that begins with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// When the last item came.
    pub at: Timestamp,
    /// Its id.
    pub id: uuid::Uuid,
}

impl Cursor {
    /// Before every item.
    const START: Self = Self { at: Timestamp::from_micros(FAR_FUTURE_MICROS), id: uuid::Uuid::max() };

    pub(super) fn place<T>(after: Option<Self>) -> (Timestamp, Id<T>) {
        let Self { at, id } = after.unwrap_or(Self::START);
        (at, Id::from_uuid(id))
    }
}

/// The year 9999, which both engines can store.
const FAR_FUTURE_MICROS: i64 = 253_370_764_800_000_000;

/// An invoice with what it charges for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceWithLines {
    /// The invoice.
    pub invoice: Invoice,
    /// Its lines, in order.
    pub lines: Vec<InvoiceLine>,
}

/// What an organisation may use now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentSubscription {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// What was bought last, if anything ever was.
    pub bought: Option<Subscription>,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// The plan whose limits apply.
    pub plan: Plan,
}

impl Service {
    /// The plans on sale after a place in the price list, for anybody.
    pub async fn list_plans(&self, after: Option<i64>, limit: i64) -> Result<Vec<Plan>, Error> {
        let mut conn = self.db.conn(Scope::System("payments.plans")).await?;
        Ok(store::plan::listed(&mut conn, after.unwrap_or(0), limit).await?)
    }

    /// A payment of an organisation that the caller belongs to.
    pub async fn get_payment(&self, caller: &Caller, id: PaymentId) -> Result<Payment, Error> {
        caller.account()?;
        let mut conn = self.db.conn(LOCATE).await?;
        let home = store::payment::organization_of(&mut conn, id).await?.ok_or(Error::PaymentNotFound)?;
        drop(conn);
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        if !visible(&mut conn, caller, home).await? {
            return Err(Error::PaymentNotFound);
        }
        store::payment::get(&mut conn, id).await?.ok_or(Error::PaymentNotFound)
    }

    /// An invoice of an organisation that the caller belongs to.
    pub async fn get_invoice(&self, caller: &Caller, id: InvoiceId) -> Result<InvoiceWithLines, Error> {
        caller.account()?;
        let mut conn = self.db.conn(LOCATE).await?;
        let home = store::invoice::organization_of(&mut conn, id).await?.ok_or(Error::InvoiceNotFound)?;
        drop(conn);
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        if !visible(&mut conn, caller, home).await? {
            return Err(Error::InvoiceNotFound);
        }
        let invoice = store::invoice::get(&mut conn, id).await?.ok_or(Error::InvoiceNotFound)?;
        let lines = store::invoice::lines(&mut conn, home, [id]).await?;
        Ok(InvoiceWithLines { invoice, lines })
    }

    /// Invoices of an organisation, the newest first.
    pub async fn list_invoices(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<InvoiceWithLines>, Error> {
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(assumed)).await?;
        let organization_id = access::resolve_billing(&mut conn, caller, named).await?;
        let invoices = store::invoice::page(&mut conn, organization_id, Cursor::place(after), limit).await?;
        let ids = invoices.iter().map(|invoice| invoice.id);
        let lines = store::invoice::lines(&mut conn, organization_id, ids).await?;
        let mut of: HashMap<InvoiceId, Vec<InvoiceLine>> = HashMap::new();
        for line in lines {
            of.entry(line.invoice_id).or_default().push(line);
        }
        let with = |invoice: Invoice| InvoiceWithLines {
            lines: of.remove(&invoice.id).unwrap_or_default(),
            invoice,
        };
        Ok(invoices.into_iter().map(with).collect())
    }

    /// What an organisation may use now. Without a purchase, and after its end, that is the free plan.
    pub async fn get_subscription(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
    ) -> Result<CurrentSubscription, Error> {
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(assumed)).await?;
        let organization_id = access::resolve(&mut conn, caller, named).await?;
        let bought = store::subscription::get(&mut conn, organization_id).await?;
        let status =
            bought.as_ref().map_or(SubscriptionStatus::Active, |bought| bought.status(self.world.now()));
        let plan_id = match (&bought, status) {
            (Some(bought), SubscriptionStatus::Active) => bought.plan_id.as_str(),
            _ => FREE_PLAN,
        };
        let plan = store::plan::get(&mut conn, plan_id).await?.ok_or(db::Error::NotFound)?;
        Ok(CurrentSubscription { organization_id, bought, status, plan })
    }

    /// Notifications that providers sent, the newest first, for platform administrators.
    pub async fn list_provider_events(
        &self,
        caller: &Caller,
        status: Option<EventStatus>,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<ProviderEvent>, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(Scope::System("payments.list_provider_events")).await?;
        let after = Cursor::place(after);
        Ok(match status {
            Some(status) => store::event::page_of(&mut conn, status, after, limit).await?,
            None => store::event::page(&mut conn, after, limit).await?,
        })
    }
}

/// That the caller administers the platform, or is the platform.
pub(super) fn administrator(caller: &Caller) -> Result<(), Error> {
    if caller.is_admin() || caller.purpose().is_some() { Ok(()) } else { Err(Error::NotAnAdministrator) }
}

/// Whether the caller belongs to the organisation. Not belonging is no error here: what it means is the asker's. To
/// belong to it and to have nothing to do with its money is one.
async fn visible(
    conn: &mut impl Conn,
    caller: &Caller,
    organization_id: OrganizationId,
) -> Result<bool, Error> {
    match access::billing(conn, caller, organization_id).await {
        Ok(()) => Ok(true),
        Err(auth::Error::OrganizationNotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
