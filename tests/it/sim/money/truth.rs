//! What has to be true when everybody is at rest, whatever happened before: asked of the database itself, and held
//! against what PayFast truly did.

use std::collections::BTreeMap;

use capecontrol::auth::Caller;
use capecontrol::db::{Conn as _, Scope};
use capecontrol::jobs::{self, State};
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::reconciliation::{DifferenceKind, DifferenceState};
use capecontrol::payments::model::{
    EventStatus, InvoiceId, InvoiceStatus, PaymentId, PaymentStatus, ReceiptId, ReceiptStatus,
    RefundDestination, RefundStatus,
};

use super::Run;
use super::payfast::Books;
use crate::support::Fixture;

/// Money that we know to have arrived.
struct Receipt {
    id: ReceiptId,
    payment: Option<PaymentId>,
    invoice: Option<InvoiceId>,
    status: ReceiptStatus,
    gross_minor: i64,
    fee_minor: i64,
}

struct Invoice {
    status: InvoiceStatus,
    total_minor: i64,
    credited_minor: i64,
    issued: bool,
}

struct Refund {
    receipt: ReceiptId,
    provider_payment_id: String,
    destination: RefundDestination,
    status: RefundStatus,
    amount_minor: i64,
    reason: String,
}

/// What we know.
struct Ours {
    /// By PayFast's ids.
    receipts: BTreeMap<String, Receipt>,
    invoices: BTreeMap<InvoiceId, Invoice>,
    /// Each attempt, its invoice and its amount.
    payments: BTreeMap<PaymentId, (PaymentStatus, InvoiceId, i64)>,
    refunds: Vec<Refund>,
    /// What is booked for each invoice, by account.
    booked: BTreeMap<(InvoiceId, Account), i64>,
}

pub async fn holds(run: &Run<'_>) {
    let ours = Ours::read(run.t).await;
    {
        let theirs = run.payfast.books();
        ours.every_cent_that_arrived_is_held_once(&theirs);
        ours.what_the_provider_settled_is_not_pending(&theirs);
        ours.refunds_are_what_the_provider_did(&theirs);
    }
    ours.invoices_are_paid_by_what_came_less_what_went();
    nothing_is_left_to_do(run).await;
    the_books_are_the_providers(run).await;
}

impl Ours {
    async fn read(t: &Fixture) -> Self {
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        type ReceiptRow = (String, ReceiptId, Option<PaymentId>, Option<InvoiceId>, ReceiptStatus, i64, i64);
        let receipts: Vec<ReceiptRow> = conn
            .sql(
                "SELECT provider_payment_id, id, payment_id, invoice_id, status, gross_minor, fee_minor
                 FROM receipts",
            )
            .all()
            .await
            .unwrap();
        let receipts =
            receipts.into_iter().map(|(of, id, payment, invoice, status, gross_minor, fee_minor)| {
                (of, Receipt { id, payment, invoice, status, gross_minor, fee_minor })
            });
        let receipts = receipts.collect();
        let invoices: Vec<(InvoiceId, InvoiceStatus, i64, i64, Option<String>)> = conn
            .sql("SELECT id, status, total_minor, credited_minor, number FROM invoices")
            .all()
            .await
            .unwrap();
        let invoices = invoices.into_iter().map(|(id, status, total_minor, credited_minor, number)| {
            (id, Invoice { status, total_minor, credited_minor, issued: number.is_some() })
        });
        let invoices = invoices.collect();
        let payments: Vec<(PaymentId, PaymentStatus, InvoiceId, i64)> =
            conn.sql("SELECT id, status, invoice_id, amount_minor FROM payments").all().await.unwrap();
        let payments =
            payments.into_iter().map(|(id, status, invoice, minor)| (id, (status, invoice, minor)));
        let payments = payments.collect();
        let refunds: Vec<(ReceiptId, String, RefundDestination, RefundStatus, i64, String)> = conn
            .sql(
                "SELECT receipt_id, provider_payment_id, destination, status, amount_minor, reason
                 FROM refunds",
            )
            .all()
            .await
            .unwrap();
        let refund = |(receipt, provider_payment_id, destination, status, amount_minor, reason)| Refund {
            receipt,
            provider_payment_id,
            destination,
            status,
            amount_minor,
            reason,
        };
        let refunds = refunds.into_iter().map(refund).collect();
        let entries: Vec<(InvoiceId, Account, i64)> = conn
            .sql(
                "SELECT head.invoice_id, entry.account_id, entry.amount_minor
                 FROM ledger_entries AS entry JOIN ledger_transactions AS head ON head.id = entry.transaction_id
                 WHERE head.invoice_id IS NOT NULL",
            )
            .all()
            .await
            .unwrap();
        let mut booked = BTreeMap::new();
        for (invoice, account, minor) in entries {
            *booked.entry((invoice, account)).or_default() += minor;
        }
        Self { receipts, invoices, payments, refunds, booked }
    }

    /// Each payment at the provider is one receipt here, of the same sum and fee, and there is no other.
    fn every_cent_that_arrived_is_held_once(&self, theirs: &Books) {
        let paid = theirs.paid.iter().map(|(id, paid)| (id.as_str(), (paid.gross_minor, paid.fee_minor)));
        let held = self.receipts.iter().map(|(id, held)| (id.as_str(), (held.gross_minor, held.fee_minor)));
        assert_eq!(held.collect::<BTreeMap<_, _>>(), paid.collect::<BTreeMap<_, _>>(), "what arrived");
    }

    /// An attempt that was paid exactly is not waited for, and its money is an order's unless that is closed.
    fn what_the_provider_settled_is_not_pending(&self, theirs: &Books) {
        for (id, paid) in &theirs.paid {
            let Ok(payment) = paid.reference.parse::<PaymentId>() else { continue };
            let (status, invoice, amount) = self.payments[&payment];
            if paid.gross_minor != amount {
                continue;
            }
            let invoice = &self.invoices[&invoice];
            assert!(!status.is_alive(), "{payment} is {status:?}, and PayFast has its money ({id})");
            let due = invoice.total_minor - invoice.credited_minor == amount;
            let payable = invoice.status == InvoiceStatus::Open && due && status != PaymentStatus::Superseded;
            assert!(
                !payable,
                "{payment} is {status:?}, its invoice is open, and PayFast has its money ({id})"
            );
            let receipt = &self.receipts[id];
            assert_eq!(receipt.payment, Some(payment), "whose the money of {id} is");
        }
        for (payment, (status, invoice, amount)) in &self.payments {
            let paid = self.receipts.values().filter(|receipt| {
                receipt.payment == Some(*payment) && receipt.status == ReceiptStatus::Applied
            });
            let paid: Vec<_> = paid.map(|receipt| (receipt.gross_minor, receipt.invoice)).collect();
            let expected =
                if *status == PaymentStatus::Succeeded { vec![(*amount, Some(*invoice))] } else { vec![] };
            assert_eq!(paid, expected, "{payment} is {status:?}");
        }
    }

    /// Nothing is under way any more. What succeeded went, what failed did not, and nothing was sent again.
    fn refunds_are_what_the_provider_did(&self, theirs: &Books) {
        for refund in &self.refunds {
            assert!(!refund.status.is_pending(), "{} is {:?}", refund.reason, refund.status);
        }
        let ours = self.refunds.iter().filter(|refund| {
            refund.status == RefundStatus::Succeeded && refund.destination == RefundDestination::Source
        });
        let ours = ours.map(|refund| (&refund.reason, (&refund.provider_payment_id, refund.amount_minor)));
        let theirs_done = theirs
            .returned
            .iter()
            .filter_map(|gone| Some((gone.reason.as_ref()?, (&gone.id, gone.amount_minor))));
        assert_eq!(
            ours.collect::<BTreeMap<_, _>>(),
            theirs_done.clone().collect::<BTreeMap<_, _>>(),
            "what went back"
        );
        assert!(theirs.sent.values().all(|times| *times == 1), "sent again: {:?}", theirs.sent);
        assert_eq!(theirs_done.count(), theirs.returned.iter().filter(|gone| gone.reason.is_some()).count());
    }

    /// Of each invoice: what came for it less what went back is what it is worth now and what the customer has of it as
    /// credit; and what was not paid is owed, or was given up.
    fn invoices_are_paid_by_what_came_less_what_went(&self) {
        for (id, invoice) in &self.invoices {
            let booked = |account| self.booked.get(&(*id, account)).copied().unwrap_or(0);
            let receipts: Vec<&Receipt> =
                self.receipts.values().filter(|receipt| receipt.invoice == Some(*id)).collect();
            let came: i64 = receipts.iter().map(|receipt| receipt.gross_minor).sum();
            let went: i64 = self
                .refunds
                .iter()
                .filter(|refund| receipts.iter().any(|receipt| receipt.id == refund.receipt))
                .filter(|refund| refund.status == RefundStatus::Succeeded)
                .filter(|refund| refund.destination == RefundDestination::Source)
                .map(|refund| refund.amount_minor)
                .sum();
            let paid = booked(Account::PayfastClearing)
                + booked(Account::ProviderFees)
                + booked(Account::UnappliedReceipts);
            assert_eq!(paid, came - went, "what is booked as paid for {id}");
            let worth = invoice.total_minor - invoice.credited_minor;
            let owed = booked(Account::Receivable);
            match invoice.status {
                InvoiceStatus::Paid => {
                    assert_eq!(receipts.len(), 1, "how often {id} was paid");
                    let credit = booked(Account::CustomerCredit);
                    assert_eq!(paid, worth - credit, "what was paid for {id}");
                    assert!(credit <= 0, "what went back for {id} was nobody's credit: {credit}");
                    assert_eq!(owed, 0, "what is owed on {id}");
                }
                InvoiceStatus::Open => {
                    assert_eq!((paid, owed), (0, if invoice.issued { worth } else { 0 }), "{id} is open");
                }
                InvoiceStatus::Draft | InvoiceStatus::Void | InvoiceStatus::Uncollectible => {
                    assert_eq!((paid, owed), (0, 0), "{id} is over");
                }
            }
        }
    }
}

/// The inbox is decided, and no job is left, dead ones included.
async fn nothing_is_left_to_do(run: &Run<'_>) {
    let mut conn = run.t.db.conn(Scope::System("test")).await.unwrap();
    let jobs: Vec<(State, i64)> = jobs::store::count(&mut conn).await.unwrap();
    let dead: Vec<(String, Option<String>)> =
        conn.sql("SELECT kind, last_error FROM jobs").all().await.unwrap();
    assert_eq!(jobs, [], "jobs are left: {dead:?}");
    let undecided: Vec<(String,)> = conn
        .sql("SELECT detail FROM provider_events WHERE status = $1")
        .bind(EventStatus::Received)
        .all()
        .await
        .unwrap();
    assert_eq!(undecided, [], "notifications are undecided");
}

/// The ledger is whole, and holds what PayFast holds, but for what was done there by hand and is told of.
async fn the_books_are_the_providers(run: &Run<'_>) {
    let report = run.process.service.verify_ledger(&Caller::system("test")).await.unwrap();
    assert!(report.faults.is_empty() && report.balanced(), "{:?}", report.faults);
    assert!(report.chain.broken.is_none() && report.chain.unsealed == 0, "{:?}", report.chain);
    let clearing = report.balances.iter().find(|(account, _)| *account == Account::PayfastClearing);
    let clearing = clearing.map_or(0, |(_, balance)| balance.minor);
    let told = run.process.service.list_differences(&run.maker, None, None, 1_000).await.unwrap();
    let open: Vec<_> = told.iter().filter(|one| one.state == DifferenceState::Open).collect();
    assert!(open.iter().all(|one| one.kind == DifferenceKind::MissingRefund), "{open:?}");
    let open_minor: i64 = open.iter().map(|one| one.provider_minor - one.booked_minor).sum();
    let theirs = run.payfast.books();
    let by_hand = theirs.returned.iter().filter(|gone| gone.reason.is_none()).count();
    assert_eq!(open.len(), by_hand, "refunds by hand that are told of: {open:?}");
    assert_eq!(clearing + open_minor, theirs.balance_minor, "what PayFast holds");
}

/// The hashes of the chain.
pub async fn chain(t: &Fixture) -> Vec<[u8; 32]> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let hashes: Vec<(Vec<u8>,)> =
        conn.sql("SELECT hash FROM ledger_seals ORDER BY position").all().await.unwrap();
    assert!(!hashes.is_empty());
    hashes.into_iter().map(|(hash,)| hash.try_into().unwrap()).collect()
}
