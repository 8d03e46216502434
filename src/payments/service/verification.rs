//! Recomputing the books and comparing them with what the rest of the platform believes.
//!
//! The chain is followed from its beginning, a page of transactions at a time: what is held in memory is a page, and a
//! sum for each account and currency.

use std::collections::HashMap;

use uuid::Uuid;

use crate::auth::Caller;
use crate::base::{Currency, Money};
use crate::chain::{self, Behind, End, Head, Known, Seal, Walk};
use crate::db::{self, Conn, Db, Scope};
use crate::payments::Error;
use crate::payments::model::balance::Sums;
use crate::payments::model::ledger::Account;
use crate::payments::model::posted::{KIND, Posted, TransactionId};
use crate::payments::model::report::{
    Broken, Chain, FAULTS_OF_A_KIND_MAX, Fault, FaultKind, Findings, Report, totals,
};
use crate::payments::store::{balance, seal, verification as store};

use super::Service;
use super::ledger::Ledger;
use super::reading::administrator;

/// How many transactions are read at once.
const PAGE: i64 = 500;
/// How many transactions are looked at in one statement for one without a place.
const UNCHAINED_AT_ONCE: i64 = 20_000;
const SCOPE: Scope = Scope::System("payments.verify_ledger");

impl Service {
    /// Recomputes the ledger, for platform administrators.
    pub async fn verify_ledger(&self, caller: &Caller) -> Result<Report, Error> {
        self.ledger.verify(caller, None).await
    }
}

impl Ledger {
    /// Follows the chain from its beginning, recomputes every transaction and every balance, and compares the ledger
    /// with invoices and payments; for platform administrators. `known` is a head that an auditor wrote down, which the
    /// chain must still hold.
    ///
    /// A ledger that is bad is an answer, not an error.
    ///
    /// # Errors
    /// When the caller is none, or the database cannot be read.
    pub async fn verify(&self, caller: &Caller, known: Option<Known>) -> Result<Report, Error> {
        administrator(caller)?;
        let mut findings = Findings::default();
        // First, for what is sealed meanwhile must be found in the chain.
        let waiting = self.waiting(&mut findings).await?;
        let (projected_until, projected, ends) = {
            let mut conn = self.db.conn(SCOPE).await?;
            let (until, projected) = balance::projected(&mut conn).await?;
            (until, projected, seal::ends(&mut conn).await?)
        };
        let mut books = Books { until: projected_until, ..Books::default() };
        let mut walk = Walk::new(KIND, self.public_key(), known);
        let bad = self.follow(&mut walk, ends.last_seal, &mut books, &mut findings).await?;
        let end = End { position: ends.position, hash: ends.hash };
        let bad = bad.or_else(|| walk.finish(&end, ends.last_head).err()).or(waiting);
        let unchained = self.unchained().await?;
        for drift in books.sums.drifts(&projected) {
            let subject = format!("{} {}", drift.account_id, drift.currency);
            findings.note(FaultKind::Projection, subject, format!("the balance {drift}"));
        }
        let (balances, totals) = self.balances(&mut findings).await?;
        self.compare(&mut findings).await?;
        let chain = Chain {
            sealed: walk.position(),
            unsealed: ends.waiting,
            unsealed_for: self.since(ends.waiting_since),
            head: walk.head().cloned(),
            broken: bad.or(unchained).map(Broken::from),
            public_key: self.public_key(),
        };
        let chained = [bad, unchained].into_iter().flatten().map(|bad| Broken::from(bad).fault());
        let faults: Vec<Fault> = chained.chain(findings.faults).collect();
        self.found(faults.len());
        if let Some(fault) = faults.first() {
            let (kind, subject, detail) = (fault.kind.as_str(), &fault.subject, &fault.detail);
            tracing::error!(kind, subject, detail, faults = faults.len(), "the ledger is bad");
        }
        Ok(Report {
            transactions: books.transactions.saturating_add(ends.waiting),
            entries: books.entries.saturating_add(ends.waiting_entries),
            totals,
            balances,
            chain,
            faults,
        })
    }

    /// Walks along the chain up to its last link. Beyond the first place where it is bad the transactions are still
    /// looked at, each by itself.
    async fn follow(
        &self,
        walk: &mut Walk,
        last: i64,
        books: &mut Books,
        findings: &mut Findings,
    ) -> Result<Option<chain::Bad>, db::Error> {
        let (mut after, mut bad, mut buffer) = (0, None, Vec::new());
        while after < last {
            let page = Page::read(&self.db, after, last).await?;
            let Some(until) = page.seals.last().map(|seal| seal.position) else { break };
            let mut heads = page.heads.iter().peekable();
            for seal in &page.seals {
                let behind = match page.posted.get(&seal.id) {
                    Some(Some(posted)) => {
                        books.take(seal.position, posted);
                        findings.lacking(posted);
                        Behind::Entry(posted.head.id.uuid(), posted.digest(&mut buffer))
                    }
                    Some(None) => Behind::Unreadable,
                    None => Behind::Nothing,
                };
                bad = bad.or_else(|| walk.step(seal, behind).err());
                while let Some(head) = heads.next_if(|head| head.position <= seal.position) {
                    bad = bad.or_else(|| walk.pass(head).err());
                }
            }
            after = until;
        }
        Ok(bad)
    }

    /// Looks at what waits for a place; tells the first transaction of it that is not there.
    async fn waiting(&self, findings: &mut Findings) -> Result<Option<chain::Bad>, db::Error> {
        let (mut bad, mut after) = (None, seal::BEFORE_ALL);
        loop {
            let ids = {
                let mut conn = self.db.conn(SCOPE).await?;
                seal::waiting_after(&mut conn, after, PAGE).await?
            };
            let Some(last) = ids.last() else { return Ok(bad) };
            after = *last;
            let posted = read(&self.db, &ids).await?;
            for id in &ids {
                let fault = match posted.get(&id.uuid()) {
                    Some(Some(posted)) => {
                        findings.lacking(posted);
                        continue;
                    }
                    Some(None) => chain::Fault::EntryUnreadable,
                    None => chain::Fault::EntryMissing,
                };
                bad = bad.or(Some(chain::Bad { position: None, id: Some(id.uuid()), fault }));
            }
        }
    }

    /// The first transaction that neither has a place nor waits for one, or of which there are entries only.
    async fn unchained(&self) -> Result<Option<chain::Bad>, db::Error> {
        let mut after = seal::BEFORE_ALL;
        loop {
            let mut conn = self.db.conn(SCOPE).await?;
            let end = seal::page_end(&mut conn, after, UNCHAINED_AT_ONCE).await?;
            let until = end.unwrap_or(seal::AFTER_ALL);
            let found = match seal::unchained(&mut conn, after, until).await? {
                Some(id) => Some(id),
                None => seal::headless(&mut conn, after, until).await?,
            };
            let fault = chain::Fault::EntryUnchained;
            if found.is_some() || end.is_none() {
                return Ok(found.map(|id| chain::Bad { position: None, id: Some(id.uuid()), fault }));
            }
            after = until;
        }
    }

    /// The balances, and what they sum to in each currency.
    async fn balances(
        &self,
        findings: &mut Findings,
    ) -> Result<(Vec<(Account, Money)>, Vec<Money>), db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        let mut balances = Vec::new();
        for (account, currency, minor) in balance::current(&mut conn).await? {
            let Some((known, money)) = Account::parse(&account)
                .zip(Currency::parse(&currency).map(|currency| Money::new(minor, currency)))
            else {
                let detail = "the books have no such account in such a currency".to_owned();
                findings.note(FaultKind::Projection, format!("{account} {currency}"), detail);
                continue;
            };
            balances.push((known, money));
        }
        let totals = totals(&balances);
        Ok((balances, totals))
    }

    /// Compares the ledger with invoices and payments.
    async fn compare(&self, findings: &mut Findings) -> Result<(), db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        invoices(&mut conn, findings).await?;
        for (id, expected, booked) in store::payments(&mut conn, FAULTS_OF_A_KIND_MAX).await? {
            findings.note(FaultKind::Payment, id.to_string(), disagreement(expected, booked));
        }
        given_back(&mut conn, findings).await
    }
}

/// Where invoices disagree with the ledger, or with their credit notes.
async fn invoices(conn: &mut impl Conn, findings: &mut Findings) -> Result<(), db::Error> {
    let compared = [
        ("earned", store::issued(conn, FAULTS_OF_A_KIND_MAX).await?),
        ("owed", store::owed(conn, FAULTS_OF_A_KIND_MAX).await?),
        ("credited", store::credited(conn, FAULTS_OF_A_KIND_MAX).await?),
        ("tax credited", store::credited_tax(conn, FAULTS_OF_A_KIND_MAX).await?),
        ("written off", store::written_off(conn, FAULTS_OF_A_KIND_MAX).await?),
    ];
    for (what, rows) in compared {
        for (id, expected, booked) in rows {
            let detail = format!("{what}: {}", disagreement(expected, booked));
            findings.note(FaultKind::Invoice, id.to_string(), detail);
        }
    }
    for (id, expected, noted) in store::noted(conn, FAULTS_OF_A_KIND_MAX).await? {
        let detail = format!("credited: {expected} minor units, and its credit notes sum to {noted}");
        findings.note(FaultKind::Invoice, id.to_string(), detail);
    }
    Ok(())
}

/// Where receipts, refunds and chargebacks disagree with the ledger, or with each other.
async fn given_back(conn: &mut impl Conn, findings: &mut Findings) -> Result<(), db::Error> {
    for (id, expected, booked) in store::receipts(conn, FAULTS_OF_A_KIND_MAX).await? {
        findings.note(FaultKind::Receipt, id.to_string(), disagreement(expected, booked));
    }
    for (id, expected, returned) in store::returned(conn, FAULTS_OF_A_KIND_MAX).await? {
        let detail = format!("its refunds take {expected} minor units and {returned} are set aside");
        findings.note(FaultKind::Receipt, id.to_string(), detail);
    }
    for (id, expected, booked) in store::refunds(conn, FAULTS_OF_A_KIND_MAX).await? {
        findings.note(FaultKind::Refund, id.to_string(), disagreement(expected, booked));
    }
    for (id, expected, booked) in store::chargebacks(conn, FAULTS_OF_A_KIND_MAX).await? {
        findings.note(FaultKind::Chargeback, id.to_string(), disagreement(expected, booked));
    }
    for (id,) in store::refunds_of_nobody(conn, FAULTS_OF_A_KIND_MAX).await? {
        let detail = "is a refund's and no refund knows it".to_owned();
        findings.note(FaultKind::Refund, id.to_string(), detail);
    }
    Ok(())
}

/// A part of the chain with what stands there. What cannot be read is none.
struct Page {
    seals: Vec<Seal>,
    heads: Vec<Head>,
    posted: HashMap<Uuid, Option<Posted>>,
}

impl Page {
    async fn read(db: &Db, after: i64, last: i64) -> Result<Self, db::Error> {
        let (seals, heads) = {
            let mut conn = db.conn(SCOPE).await?;
            let seals = seal::links(&mut conn, after, last, PAGE).await?;
            let until = seals.last().map_or(after, |seal| seal.position);
            let heads = seal::heads(&mut conn, after, until, PAGE).await?;
            (seals, heads)
        };
        let ids: Vec<TransactionId> = seals.iter().map(|seal| TransactionId::from_uuid(seal.id)).collect();
        Ok(Self { posted: read(db, &ids).await?, seals, heads })
    }
}

/// Those of the transactions that are there; those that cannot be read as none.
async fn read(db: &Db, ids: &[TransactionId]) -> Result<HashMap<Uuid, Option<Posted>>, db::Error> {
    if let Some(posted) = read_at_once(db, ids).await? {
        return Ok(posted);
    }
    // Some of them cannot be read: which?
    let mut found = HashMap::new();
    for id in ids {
        match read_at_once(db, std::slice::from_ref(id)).await? {
            Some(posted) => found.extend(posted),
            None => drop(found.insert(id.uuid(), None)),
        }
    }
    Ok(found)
}

/// Those of the transactions that are there; none when some of them cannot be read.
async fn read_at_once(
    db: &Db,
    ids: &[TransactionId],
) -> Result<Option<HashMap<Uuid, Option<Posted>>>, db::Error> {
    let mut conn = db.conn(SCOPE).await?;
    match seal::posted(&mut conn, ids).await {
        Ok(posted) => {
            Ok(Some(posted.into_iter().map(|posted| (posted.head.id.uuid(), Some(posted))).collect()))
        }
        Err(db::Error::Driver(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What was counted and summed on the way.
#[derive(Default)]
struct Books {
    /// Up to which position is summed.
    until: i64,
    transactions: i64,
    entries: i64,
    sums: Sums,
}

impl Books {
    fn take(&mut self, position: i64, posted: &Posted) {
        self.transactions = self.transactions.saturating_add(1);
        let entries = i64::try_from(posted.entries.len()).unwrap_or(i64::MAX);
        self.entries = self.entries.saturating_add(entries);
        // What was sealed while the projection was read is not in it.
        if position <= self.until {
            self.sums.add(position, posted);
        }
    }
}

fn disagreement(expected: i64, booked: i64) -> String {
    format!("should have {expected} minor units in the ledger and has {booked}")
}
