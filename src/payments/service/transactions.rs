//! The books, as those see them whom they concern: the transactions of an organisation, or of the whole platform, in
//! pages or as a table.
//!
//! Owners, administrators and billing members see what was booked for their organisation. Those who run the platform
//! see that of any organisation, and what concerns nobody but the platform.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audit::Risk;
use crate::auth::{Caller, access};
use crate::base::{Currency, Money, OrganizationId, Timestamp};
use crate::db::{Conn, Scope};
use crate::payments::Error;
use crate::payments::model::ledger::{Account, Kind};
use crate::payments::model::transaction::{self, About, CUSTOMER_KINDS, PLATFORM_KINDS, Transaction};
use crate::payments::model::{InvoiceId, PaymentId, TransactionId};
use crate::payments::store;
use crate::payments::store::transaction::Wanted;

use super::Service;
use super::reading::{Cursor, FAR_FUTURE, LOCATE, administrator};

/// To read the books of the whole platform.
pub(super) const BOOKS: Scope = Scope::System("payments.books");
/// How many transactions one question asks for.
const BATCH: i64 = 500;
/// How many transactions are looked at for one page when the question leaves some of them out.
const LOOKED_AT_MAX: usize = 2_000;
/// An export ends so long before it was begun. What was booked then is committed, so that nothing can still come in
/// between what was exported.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Whose books a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BooksOf {
    /// The caller's own organisation.
    Own,
    /// An organisation.
    Organization(OrganizationId),
    /// Everybody's, and the platform's own.
    Platform,
}

/// Whose books somebody may read, and how much of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    /// One organisation's; all when there is none.
    pub(super) organization: Option<OrganizationId>,
    /// Whether the reader is one of those who run the platform.
    staff: bool,
}

impl Admitted {
    pub(super) fn scope(self) -> Scope {
        self.organization.map_or(BOOKS, Scope::Organization)
    }

    pub(super) fn sees(self, kind: Kind) -> bool {
        self.staff || CUSTOMER_KINDS.contains(&kind)
    }

    /// Those of the kinds that the reader may see; all that there are when none are named.
    fn kinds(self, named: &[Kind]) -> Vec<Kind> {
        let all = CUSTOMER_KINDS.into_iter().chain(PLATFORM_KINDS);
        all.filter(|kind| self.sees(*kind) && (named.is_empty() || named.contains(kind))).collect()
    }
}

/// Which transactions are listed.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    /// Of these kinds; of all when there are none.
    pub kinds: Vec<Kind>,
    /// Booked from then on.
    pub since: Option<Timestamp>,
    /// Booked before then.
    pub until: Option<Timestamp>,
    /// With a gross of at least so much.
    pub gross_min: Option<Money>,
    /// With a gross of at most so much.
    pub gross_max: Option<Money>,
    /// Of this payment.
    pub payment_id: Option<PaymentId>,
    /// Of this invoice.
    pub invoice_id: Option<InvoiceId>,
}

impl TransactionFilter {
    /// Whether it leaves out transactions that are looked at.
    const fn leaves_out(&self) -> bool {
        self.gross_min.is_some() || self.gross_max.is_some() || self.invoice_id.is_some()
    }

    fn lets_in(&self, transaction: &Transaction) -> bool {
        let of_invoice = self.invoice_id.is_none() || transaction.about.invoice_id == self.invoice_id;
        of_invoice && transaction.lies_between(self.gross_min, self.gross_max)
    }
}

/// A page of transactions, and the place behind it when more may follow.
#[derive(Clone, Debug)]
pub struct TransactionPage {
    /// The transactions, the newest first.
    pub transactions: Vec<Transaction>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// How far an export has come; with the same question, all that it takes to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPlace {
    /// Before when the last transaction of the export was booked.
    end: Timestamp,
    /// The last transaction that was told; none when only the header was.
    after: Option<Cursor>,
}

/// A wish for a table of transactions.
#[derive(Clone, Debug)]
pub struct ExportTransactions {
    /// Whose.
    pub of: BooksOf,
    /// Of these kinds; of all when there are none.
    pub kinds: Vec<Kind>,
    /// Booked from then on.
    pub since: Option<Timestamp>,
    /// Booked before then.
    pub until: Option<Timestamp>,
    /// Where an export that was cut off goes on.
    pub place: Option<ExportPlace>,
}

/// An export under way.
#[derive(Clone, Debug)]
pub struct Exporting {
    caller: Caller,
    command: ExportTransactions,
    place: ExportPlace,
    header_due: bool,
}

/// A piece of a table: whole rows, and the place behind them.
#[derive(Clone, Debug)]
pub struct TableChunk {
    /// The rows.
    pub csv: String,
    /// Where the next chunk begins.
    pub place: ExportPlace,
}

impl Service {
    /// Transactions before `after`, the newest first, at most `limit`. A page may be short and not be the last when the
    /// filter leaves out what was looked at.
    pub async fn list_transactions(
        &self,
        caller: &Caller,
        of: BooksOf,
        filter: &TransactionFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<TransactionPage, Error> {
        let admitted = self.admit_reader(caller, of).await?;
        let owner = self.owner_of_filter(admitted, filter).await?;
        let until = filter.until.unwrap_or(FAR_FUTURE);
        let start = Cursor { at: until, id: uuid::Uuid::nil() };
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut page = TransactionPage { transactions: Vec::new(), next: None };
        let (mut place, mut looked_at) = (after, 0);
        loop {
            let step = if filter.leaves_out() { BATCH } else { limit.saturating_add(1) };
            let wanted = Wanted {
                kinds: admitted.kinds(&filter.kinds),
                after: Cursor::place(Some(place.unwrap_or(start))),
                end: filter.since.unwrap_or(EPOCH),
                limit: step,
            };
            let read = self.newest(admitted, owner, filter, &wanted).await?;
            looked_at += read.len();
            let last = i64::try_from(read.len()).unwrap_or(step) < step;
            for transaction in read {
                let here = place_of(&transaction);
                if filter.lets_in(&transaction) {
                    if page.transactions.len() == most {
                        return Ok(TransactionPage { next: place, ..page });
                    }
                    page.transactions.push(transaction);
                }
                place = Some(here);
            }
            if last {
                return Ok(page);
            }
            if looked_at >= LOOKED_AT_MAX {
                return Ok(TransactionPage { next: place, ..page });
            }
        }
    }

    /// Begins an export, or goes on with one. That somebody took the books away is itself an entry of the audit log.
    pub async fn export_transactions(
        &self,
        caller: Caller,
        command: ExportTransactions,
    ) -> Result<Exporting, Error> {
        let admitted = self.admit_reader(&caller, command.of).await?;
        let entry = caller.entry("payments.export_transactions").risk(Risk::Medium);
        let entry = match admitted.organization {
            Some(organization) => entry.of(organization),
            None => entry,
        };
        let mut tx = self.db.begin(admitted.scope()).await?;
        self.audit.record(&mut tx, entry).await?;
        tx.commit().await?;
        let settled = self.world.now().minus(SETTLED_AFTER);
        let end = command.until.map_or(settled, |until| until.min(settled));
        let place = command.place.unwrap_or(ExportPlace { end, after: None });
        Ok(Exporting { header_due: command.place.is_none(), caller, command, place })
    }

    /// The next piece of an export, if its reader may still have it; none at the end.
    pub async fn next_table_chunk(&self, exporting: &mut Exporting) -> Result<Option<TableChunk>, Error> {
        let Exporting { caller, command, place, header_due } = exporting;
        let admitted = self.admit_reader(caller, command.of).await?;
        let before = command.since.unwrap_or(EPOCH).minus(Duration::from_micros(1));
        let start = Cursor { at: before, id: uuid::Uuid::max() };
        let wanted = Wanted {
            kinds: admitted.kinds(&command.kinds),
            after: Cursor::place(Some(place.after.unwrap_or(start))),
            end: place.end,
            limit: BATCH,
        };
        let read = self.oldest(admitted, &wanted).await?;
        let mut csv = String::new();
        if std::mem::take(header_due) {
            transaction::push_header(&mut csv);
        } else if read.is_empty() {
            return Ok(None);
        }
        for transaction in &read {
            transaction::push_row(&mut csv, transaction);
        }
        place.after = read.last().map(place_of).or(place.after);
        Ok(Some(TableChunk { csv, place: *place }))
    }

    /// That the caller may read these books.
    pub(super) async fn admit_reader(&self, caller: &Caller, of: BooksOf) -> Result<Admitted, Error> {
        let organization = match of {
            BooksOf::Platform => {
                return administrator(caller).map(|()| Admitted { organization: None, staff: true });
            }
            BooksOf::Own => caller.personal()?,
            BooksOf::Organization(organization) => organization,
        };
        let staff = administrator(caller).is_ok();
        let mut conn = self.db.conn(Scope::Organization(organization)).await?;
        if staff {
            access::known(&mut conn, organization).await?;
        } else {
            access::billing(&mut conn, caller, organization).await?;
        }
        Ok(Admitted { organization: Some(organization), staff })
    }

    /// The organisation of the payment or invoice that a filter names, which must be within what may be read.
    async fn owner_of_filter(
        &self,
        admitted: Admitted,
        filter: &TransactionFilter,
    ) -> Result<Option<OrganizationId>, Error> {
        let within = |home: &OrganizationId| admitted.organization.is_none_or(|own| own == *home);
        let mut owner = None;
        let mut conn = self.db.conn(LOCATE).await?;
        if let Some(id) = filter.payment_id {
            let home = store::payment::organization_of(&mut conn, id).await?;
            owner = Some(home.filter(within).ok_or(Error::PaymentNotFound)?);
        }
        if let Some(id) = filter.invoice_id {
            let home = store::invoice::organization_of(&mut conn, id).await?;
            owner = Some(home.filter(within).ok_or(Error::InvoiceNotFound)?);
        }
        Ok(owner)
    }

    async fn newest(
        &self,
        admitted: Admitted,
        owner: Option<OrganizationId>,
        filter: &TransactionFilter,
        wanted: &Wanted,
    ) -> Result<Vec<Transaction>, Error> {
        let mut conn = self.db.conn(admitted.scope()).await?;
        let conn = &mut conn;
        let ids = match (filter.payment_id, filter.invoice_id, owner, admitted.organization) {
            (Some(payment), _, Some(owner), _) => {
                store::transaction::of_payment(conn, owner, payment, wanted).await?
            }
            (None, Some(invoice), Some(owner), _) => {
                store::transaction::of_invoice(conn, owner, invoice, wanted).await?
            }
            (_, _, _, Some(organization)) => {
                store::transaction::newest_of(conn, organization, wanted).await?
            }
            (_, _, _, None) => store::transaction::newest(conn, wanted).await?,
        };
        assemble(conn, &ids).await
    }

    async fn oldest(&self, admitted: Admitted, wanted: &Wanted) -> Result<Vec<Transaction>, Error> {
        let mut conn = self.db.conn(admitted.scope()).await?;
        let ids = match admitted.organization {
            Some(organization) => store::transaction::oldest_of(&mut conn, organization, wanted).await?,
            None => store::transaction::oldest(&mut conn, wanted).await?,
        };
        assemble(&mut conn, &ids).await
    }
}

/// Before anything was booked.
const EPOCH: Timestamp = Timestamp::from_micros(0);

const fn place_of(transaction: &Transaction) -> Cursor {
    Cursor { at: transaction.about.created_at, id: transaction.about.id.uuid() }
}

/// The transactions with these ids, in the order of the ids.
async fn assemble(conn: &mut impl Conn, ids: &[TransactionId]) -> Result<Vec<Transaction>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let about = store::transaction::about(conn, ids).await?;
    let mut about: HashMap<TransactionId, About> = about.into_iter().map(|about| (about.id, about)).collect();
    let mut entries: HashMap<TransactionId, Vec<(Account, Currency, i64)>> = HashMap::new();
    for (id, account, currency, minor) in store::transaction::entries(conn, ids).await? {
        entries.entry(id).or_default().push((account, currency, minor));
    }
    let whole = |id: &TransactionId| Transaction::of(about.remove(id)?, entries.get(id)?);
    Ok(ids.iter().filter_map(whole).collect())
}
