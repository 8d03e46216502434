//! Looking at what there is. What belongs to others does not exist.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::{self, Caller, access};
use crate::base::{Id, OrganizationId, Timestamp};
use crate::db::{self, Conn, Scope};
use crate::payments::Error;
use crate::payments::model::listing::{Listing, Place};
use crate::payments::model::refund::Refunded;
use crate::payments::model::{
    FREE_PLAN, Invoice, InvoiceId, InvoiceLine, Payment, PaymentId, PaymentStatus, Plan, Provider,
    Subscription, SubscriptionStatus,
};
use crate::payments::store;
use crate::payments::store::payment::Wanted;

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
    const START: Self = Self { at: FAR_FUTURE, id: uuid::Uuid::max() };

    pub(super) fn place<T>(after: Option<Self>) -> (Timestamp, Id<T>) {
        let Self { at, id } = after.unwrap_or(Self::START);
        (at, Id::from_uuid(id))
    }

    /// The place in the list of what came before a time, or the one after `after` when that is later in it.
    pub(super) fn place_before<T>(until: Option<Timestamp>, after: Option<Self>) -> (Timestamp, Id<T>) {
        let Self { at, id } = after.unwrap_or(Self::START);
        let first = until.map_or((at, id), |until| (until, uuid::Uuid::nil()).min((at, id)));
        (first.0, Id::from_uuid(first.1))
    }
}

/// The year 9999, which both engines can store.
pub(super) const FAR_FUTURE: Timestamp = Timestamp::from_micros(253_370_764_800_000_000);

/// Which payments are listed, and in which order.
#[derive(Clone, Debug, Default)]
pub struct PaymentFilter {
    /// Standing so; however they stand when there are none.
    pub statuses: Vec<PaymentStatus>,
    /// Started from then on.
    pub since: Option<Timestamp>,
    /// Started before then.
    pub until: Option<Timestamp>,
    /// Of this invoice.
    pub invoice_id: Option<InvoiceId>,
    /// Known to the provider by this id.
    pub provider_payment_id: Option<String>,
    /// The oldest first, instead of the newest.
    pub oldest_first: bool,
}

impl PaymentFilter {
    fn statuses(&self) -> Vec<PaymentStatus> {
        if self.statuses.is_empty() { PaymentStatus::ALL.to_vec() } else { self.statuses.clone() }
    }

    /// The place before all that is listed, and how far the list goes.
    fn ends(&self) -> (Cursor, Timestamp) {
        let since = self.since.unwrap_or(Timestamp::from_micros(0));
        let until = self.until.unwrap_or(FAR_FUTURE);
        if self.oldest_first {
            (Cursor { at: since.minus(Duration::from_micros(1)), id: uuid::Uuid::max() }, until)
        } else {
            (Cursor { at: until, id: uuid::Uuid::nil() }, since)
        }
    }

    fn lets_in(&self, payment: &Payment) -> bool {
        self.statuses().contains(&payment.status)
            && self.since.is_none_or(|since| payment.created_at >= since)
            && self.until.is_none_or(|until| payment.created_at < until)
            && self.invoice_id.is_none_or(|invoice| payment.invoice_id == invoice)
    }
}

/// An invoice with what it charges for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceWithLines {
    /// The invoice.
    pub invoice: Invoice,
    /// Its lines, in order.
    pub lines: Vec<InvoiceLine>,
}

/// A payment, and what was given back of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentWithRefunds {
    /// The payment.
    pub payment: Payment,
    /// What was given back of it.
    pub refunded: Refunded,
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
        Ok(self.get_payment_with_refunds(caller, id).await?.payment)
    }

    /// A payment of an organisation that the caller belongs to, and what was given back of it.
    pub async fn get_payment_with_refunds(
        &self,
        caller: &Caller,
        id: PaymentId,
    ) -> Result<PaymentWithRefunds, Error> {
        caller.account()?;
        let mut conn = self.db.conn(LOCATE).await?;
        let home = store::payment::organization_of(&mut conn, id).await?.ok_or(Error::PaymentNotFound)?;
        drop(conn);
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        if !visible(&mut conn, caller, home).await? {
            return Err(Error::PaymentNotFound);
        }
        let payment = store::payment::get(&mut conn, id).await?.ok_or(Error::PaymentNotFound)?;
        let mut refunded = store::refund::of_payments(&mut conn, home, [id]).await?;
        Ok(PaymentWithRefunds { payment, refunded: refunded.remove(&id).unwrap_or_default() })
    }

    /// Payments of an organisation behind `after`, and what was given back of each.
    pub async fn list_payments(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        filter: &PaymentFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<PaymentWithRefunds>, Error> {
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(assumed)).await?;
        let organization_id = access::resolve_billing(&mut conn, caller, named).await?;
        if let Some(invoice) = filter.invoice_id {
            let home = store::invoice::organization_of(&mut conn, invoice).await?;
            home.filter(|home| *home == organization_id).ok_or(Error::InvoiceNotFound)?;
        }
        let (start, end) = filter.ends();
        let place = Cursor::place(Some(after.unwrap_or(start)));
        let wanted = Wanted { statuses: filter.statuses(), after: place, end, limit };
        let ids = chosen(&mut conn, organization_id, filter, &wanted).await?;
        let found = store::payment::among(&mut conn, organization_id, &ids).await?;
        let mut of: HashMap<PaymentId, Payment> =
            found.into_iter().map(|payment| (payment.id, payment)).collect();
        let mut refunded =
            store::refund::of_payments(&mut conn, organization_id, ids.iter().copied()).await?;
        let payments = ids.iter().filter_map(|id| of.remove(id)).filter(|payment| filter.lets_in(payment));
        let with = |payment: Payment| PaymentWithRefunds {
            refunded: refunded.remove(&payment.id).unwrap_or_default(),
            payment,
        };
        Ok(payments.map(with).collect())
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

    /// Invoices of an organisation, as the listing says, behind a place in it.
    pub async fn list_invoices(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        listing: &Listing,
        after: Option<Place>,
        limit: i64,
    ) -> Result<Vec<InvoiceWithLines>, Error> {
        let assumed = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(assumed)).await?;
        let organization_id = readable(&mut conn, caller, named).await?;
        let invoices = page(&mut conn, organization_id, listing, after, limit).await?;
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
        let (plan_id, status) = in_force(bought.as_ref(), self.world.now());
        let plan = store::plan::get(&mut conn, plan_id).await?.ok_or(db::Error::NotFound)?;
        Ok(CurrentSubscription { organization_id, bought, status, plan })
    }

    /// The id of the plan that an organisation has at this moment, for what other domains let it have by that. Nobody
    /// is told it here: who may know is theirs to decide.
    pub async fn plan_in_force(&self, organization_id: OrganizationId) -> Result<String, Error> {
        let mut conn = self.db.conn(Scope::Organization(organization_id)).await?;
        let bought = store::subscription::get(&mut conn, organization_id).await?;
        Ok(in_force(bought.as_ref(), self.world.now()).0.to_owned())
    }
}

/// The plan of a subscription, and how that stands; the free one when nothing was bought, or its time is over.
fn in_force(bought: Option<&Subscription>, now: Timestamp) -> (&str, SubscriptionStatus) {
    let status = bought.map_or(SubscriptionStatus::Active, |bought| bought.status(now));
    match (bought, status) {
        (Some(bought), SubscriptionStatus::Active) => (bought.plan_id.as_str(), status),
        _ => (FREE_PLAN, status),
    }
}

/// A page of invoices: of each state as many as it could have, put together in the listing's order.
async fn page(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    listing: &Listing,
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<Invoice>, Error> {
    let after = after.unwrap_or_else(|| listing.order.start());
    let mut places = Vec::new();
    for status in listing.shown() {
        let read = store::listing::places(conn, organization_id, status, listing, &after, limit).await?;
        places.extend(read);
    }
    places.sort();
    if listing.order.descends() {
        places.reverse();
    }
    places.truncate(usize::try_from(limit).unwrap_or(0));
    let ids = places.iter().map(|place| InvoiceId::from_uuid(place.id));
    let read = store::listing::invoices(conn, organization_id, ids).await?;
    let mut of: HashMap<uuid::Uuid, Invoice> =
        read.into_iter().map(|invoice| (invoice.id.uuid(), invoice)).collect();
    Ok(places.iter().filter_map(|place| of.remove(&place.id)).collect())
}

/// The organisation whose money the caller may look at: one that a member has to do with, or any that a platform
/// administrator names.
pub(super) async fn readable(
    conn: &mut impl Conn,
    caller: &Caller,
    named: Option<OrganizationId>,
) -> Result<OrganizationId, Error> {
    match (named, access::resolve_billing(conn, caller, named).await) {
        (Some(named), Err(auth::Error::OrganizationNotFound | auth::Error::NotBilling))
            if caller.is_admin() =>
        {
            Ok(named)
        }
        (_, resolved) => Ok(resolved?),
    }
}

/// The payments of a page, in its order.
async fn chosen(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    filter: &PaymentFilter,
    wanted: &Wanted,
) -> Result<Vec<PaymentId>, db::Error> {
    if let Some(known_as) = &filter.provider_payment_id {
        // At most one, so there is no second page.
        return store::payment::known_as(conn, organization_id, Provider::Payfast, known_as).await;
    }
    match (filter.invoice_id, filter.oldest_first) {
        (Some(invoice), false) => store::payment::newest_for(conn, organization_id, invoice, wanted).await,
        (Some(invoice), true) => store::payment::oldest_for(conn, organization_id, invoice, wanted).await,
        (None, false) => store::payment::newest_of(conn, organization_id, wanted).await,
        (None, true) => store::payment::oldest_of(conn, organization_id, wanted).await,
    }
}

/// That the caller administers the platform, or is the platform.
pub(super) fn administrator(caller: &Caller) -> Result<(), Error> {
    if caller.is_admin() || caller.purpose().is_some() { Ok(()) } else { Err(Error::NotAnAdministrator) }
}

/// Whether the caller belongs to the organisation, or administers the platform. Not belonging is no error here: what it
/// means is the asker's. To belong to it and to have nothing to do with its money is one.
pub(super) async fn visible(
    conn: &mut impl Conn,
    caller: &Caller,
    organization_id: OrganizationId,
) -> Result<bool, Error> {
    match access::billing(conn, caller, organization_id).await {
        Ok(()) => Ok(true),
        Err(auth::Error::OrganizationNotFound | auth::Error::NotBilling) if caller.is_admin() => Ok(true),
        Err(auth::Error::OrganizationNotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
