//! The books over real databases: what is listed, exported and reported is what the ledger says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use capecontrol::auth::{Caller, OrganizationRole};
use capecontrol::base::fault::{Fault as _, NOT_FOUND, PERMISSION_DENIED};
use capecontrol::base::{Currency, Money, OrganizationId, SeededRng, Timestamp, World};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::payments::model::figures::{Counts, Figures, Interval, Purse};
use capecontrol::payments::model::ledger::{Account, Balanced, Entry, Kind};
use capecontrol::payments::model::period::{Cycle, Period};
use capecontrol::payments::model::transaction::Transaction;
use capecontrol::payments::model::{InvoiceId, PaymentId, PaymentStatus};
use capecontrol::payments::service::{
    BooksOf, Cursor, ExportPlace, ExportTransactions, PaymentFilter, TransactionFilter,
};
use capecontrol::payments::store::ledger::{Head, post};
use capecontrol::payments::{Error, Service};

use super::payments::{itn, node, post as notify, wish};
use crate::support::{Fixture, START, on_both, somebody};

const DAY: u64 = 24 * 60 * 60;

fn operator() -> Caller {
    Caller::system("test")
}

/// A service over the database, and a worker for its jobs.
fn plain(t: &Fixture) -> (std::sync::Arc<Service>, capecontrol::jobs::Worker) {
    node(t, std::sync::Arc::new(super::payments::Told::default()))
}

/// What is booked.
#[derive(Clone, Copy)]
struct Booking {
    organization: Option<OrganizationId>,
    kind: Kind,
    payment: Option<PaymentId>,
    invoice: Option<InvoiceId>,
    currency: Currency,
    at: Timestamp,
}

impl Booking {
    fn of(organization: OrganizationId, kind: Kind, at: Timestamp) -> Self {
        let organization = Some(organization);
        Self { organization, kind, payment: None, invoice: None, currency: Currency::Zar, at }
    }
}

async fn book(t: &Fixture, booking: Booking, entries: &[(Account, i64)]) {
    let entry = |(account, minor): &(Account, i64)| Entry {
        account: *account,
        amount: Money::new(*minor, booking.currency),
    };
    let books = Balanced::new(entries.iter().map(entry)).unwrap();
    let head = Head {
        id: t.world.id(),
        organization_id: booking.organization,
        kind: booking.kind,
        payment_id: booking.payment,
        invoice_id: booking.invoice,
        event_id: None,
        memo: format!("{} in a test", booking.kind.as_str()),
        at: booking.at,
    };
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    post(&mut tx, &head, &books).await.unwrap();
    tx.commit().await.unwrap();
}

/// Entries of a kind, with any amounts.
fn entries(kind: Kind, world: &World) -> Vec<(Account, i64)> {
    use Account::{
        BadDebts, Bank, Chargebacks, PayfastClearing, ProviderFees, Receivable, Refunds, Revenue,
        UnappliedReceipts, VatOutput,
    };
    let any = |most: u64| i64::try_from(world.below(most)).unwrap();
    let (whole, fee, tax) = (1_000 + any(1_000_000), 1 + any(500), 1 + any(100));
    match kind {
        Kind::InvoiceIssued => vec![(Receivable, whole), (Revenue, tax - whole), (VatOutput, -tax)],
        Kind::Settlement => vec![(PayfastClearing, whole - fee), (ProviderFees, fee), (Receivable, -whole)],
        Kind::UnappliedReceipt => {
            vec![(PayfastClearing, whole - fee), (ProviderFees, fee), (UnappliedReceipts, -whole)]
        }
        Kind::CreditNote => vec![(Refunds, whole - tax), (VatOutput, tax), (Receivable, -whole)],
        Kind::WriteOff => vec![(BadDebts, whole - tax), (VatOutput, tax), (Receivable, -whole)],
        Kind::Refund => vec![(UnappliedReceipts, whole), (PayfastClearing, -whole)],
        Kind::Chargeback => vec![(Chargebacks, whole), (ProviderFees, fee), (PayfastClearing, -whole - fee)],
        Kind::ProviderCharge => vec![(ProviderFees, fee), (PayfastClearing, -fee)],
        Kind::BankPayout => vec![(Bank, whole - fee), (ProviderFees, fee), (PayfastClearing, -whole)],
    }
}

const KINDS: [Kind; 9] = [
    Kind::InvoiceIssued,
    Kind::Settlement,
    Kind::UnappliedReceipt,
    Kind::CreditNote,
    Kind::WriteOff,
    Kind::Refund,
    Kind::Chargeback,
    Kind::ProviderCharge,
    Kind::BankPayout,
];

/// A history of two organisations and the platform within sixty days before now, in two currencies, in no order.
async fn history(
    t: &Fixture,
    world: &World,
    organizations: [OrganizationId; 2],
    payment: PaymentId,
    steps: usize,
) {
    for _ in 0..steps {
        let kind = KINDS[usize::try_from(world.below(9)).unwrap()];
        let whose = usize::try_from(world.below(2)).unwrap();
        let own = matches!(kind, Kind::ProviderCharge | Kind::BankPayout);
        let of_a_payment = kind == Kind::Settlement && whose == 0 && world.below(2) == 0;
        let booking = Booking {
            organization: (!own).then(|| organizations[whose]),
            payment: of_a_payment.then_some(payment),
            currency: if world.below(4) == 0 { Currency::Usd } else { Currency::Zar },
            ..Booking::of(organizations[whose], kind, START.minus(Duration::from_secs(world.below(60 * DAY))))
        };
        book(t, booking, &entries(kind, world)).await;
    }
}

/// All pages of a list, however short.
async fn listed(
    service: &Service,
    caller: &Caller,
    of: BooksOf,
    filter: &TransactionFilter,
) -> Vec<Transaction> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = service.list_transactions(caller, of, filter, after, 7).await.unwrap();
        found.extend(page.transactions);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// The ledger's own sums over a period, by kind, account and kind of money: nothing that the platform computes.
async fn recomputed(
    t: &Fixture,
    organization: Option<OrganizationId>,
    period: Period,
) -> BTreeMap<(Purse, String, String), i64> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let rows: Vec<(String, String, Currency, Option<PaymentId>, i64)> = conn
        .sql(
            "SELECT head.kind, entry.account_id, entry.currency, head.payment_id, entry.amount_minor
             FROM ledger_entries AS entry JOIN ledger_transactions AS head ON head.id = entry.transaction_id
             WHERE head.created_at >= $1 AND head.created_at < $2 AND (head.organization_id = $3 OR $3 IS NULL)",
        )
        .bind(period.start)
        .bind(period.end)
        .bind(organization)
        .all()
        .await
        .unwrap();
    let mut sums = BTreeMap::new();
    for (kind, account, currency, payment, minor) in rows {
        // The only payment of these tests is of the simulator.
        let purse = Purse { currency, test: payment.is_some() };
        *sums.entry((purse, kind, account)).or_default() += minor;
    }
    sums
}

/// What the figures of one kind of money must be, each by the other side of its booking.
fn expected(sums: &BTreeMap<(Purse, String, String), i64>, wanted: Purse) -> Figures {
    let sum = |kinds: &[&str], accounts: &[&str]| -> i64 {
        let within = |(purse, kind, account): &(Purse, String, String)| {
            *purse == wanted
                && (kinds.is_empty() || kinds.contains(&kind.as_str()))
                && accounts.contains(&account.as_str())
        };
        sums.iter().filter(|(key, _)| within(key)).map(|(_, minor)| minor).sum()
    };
    Figures {
        revenue: -sum(&[], &["revenue", "refunds"]),
        tax: -sum(&[], &["vat_output"]),
        gross: -sum(&["settlement"], &["receivable"]) - sum(&["unapplied_receipt"], &["unapplied_receipts"]),
        fees: sum(&[], &["provider_fees"]),
        refunds: sum(&["refund"], &["unapplied_receipts"]),
        chargebacks: sum(&[], &["chargebacks"]),
        invoiced: sum(&["invoice_issued"], &["receivable"]),
        credit_notes: -sum(&["credit_note"], &["receivable"]),
        written_off: -sum(&["write_off"], &["receivable"]),
        payments: Counts::default(),
    }
}

/// The same by summing up what a list says.
fn summed(transactions: &[Transaction], wanted: Purse) -> Figures {
    let mut figures = Figures::default();
    for transaction in transactions {
        let purse = Purse { currency: transaction.currency, test: transaction.about.test };
        let amounts = transaction.amounts;
        if purse != wanted {
            continue;
        }
        figures.revenue += amounts.revenue;
        figures.tax += amounts.tax;
        figures.fees += amounts.fee;
        match transaction.about.kind {
            Kind::Settlement | Kind::UnappliedReceipt => figures.gross += amounts.gross,
            Kind::Refund => figures.refunds -= amounts.gross,
            Kind::Chargeback => figures.chargebacks -= amounts.gross,
            Kind::InvoiceIssued => figures.invoiced += amounts.gross,
            Kind::CreditNote => figures.credit_notes -= amounts.gross,
            Kind::WriteOff => figures.written_off -= amounts.gross,
            Kind::ProviderCharge | Kind::BankPayout => {}
        }
    }
    figures
}

async fn every_figure_agrees(t: &Fixture, seed: u64) {
    let (service, _) = plain(t);
    let (ada, eve) = (somebody(t, "ada@example.com").await, somebody(t, "eve@example.com").await);
    let checkout = service.create_checkout(&ada, wish("pro", Cycle::Monthly), None).await.unwrap();
    let world = World::new(t.clock.clone(), std::sync::Arc::new(SeededRng::new(seed)));
    let organizations = [ada.personal().unwrap(), eve.personal().unwrap()];
    history(t, &world, organizations, checkout.payment_id, 120).await;
    let readers = [
        (&ada, BooksOf::Own, Some(organizations[0])),
        (&eve, BooksOf::Own, Some(organizations[1])),
        (&operator(), BooksOf::Organization(organizations[0]), Some(organizations[0])),
        (&operator(), BooksOf::Platform, None),
    ];
    let mut compared = 0;
    for (reader, of, organization) in readers {
        for interval in [Interval::Day, Interval::Week, Interval::Month] {
            let start = START.minus(Duration::from_secs(world.below(70 * DAY)));
            let end = start.plus(Duration::from_secs(1 + world.below(40 * DAY)));
            let report =
                service.get_payment_report(reader, of, interval, Some(start), Some(end)).await.unwrap();
            assert_eq!(report.total.period, Period { start, end });
            for reported in report.periods.iter().chain([&report.total]) {
                let Period { start, end } = reported.period;
                let sums = recomputed(t, organization, reported.period).await;
                let filter = TransactionFilter {
                    since: Some(start),
                    until: Some(end),
                    ..TransactionFilter::default()
                };
                let listed = listed(&service, reader, of, &filter).await;
                let purses: BTreeSet<Purse> = sums.keys().map(|(purse, _, _)| *purse).collect();
                for purse in &purses {
                    let found = Figures { payments: Counts::default(), ..reported.figures[purse] };
                    assert_eq!(found, expected(&sums, *purse), "seed {seed}, {interval:?} {start:?} {end:?}");
                    assert_eq!(found, summed(&listed, *purse), "seed {seed}, {interval:?} {start:?} {end:?}");
                    let held = sums.iter().filter(|((of, _, account), _)| {
                        of == purse && ["payfast_clearing", "bank"].contains(&account.as_str())
                    });
                    assert_eq!(
                        found.net(),
                        held.map(|(_, minor)| minor).sum::<i64>(),
                        "what is left is held"
                    );
                    compared += 1;
                }
                // What has figures and nothing in the ledger has a payment that was started.
                let only_started = reported.figures.iter().filter(|(purse, _)| !purses.contains(purse));
                for (_, figures) in only_started {
                    let nothing = Figures { payments: figures.payments, ..Figures::default() };
                    assert!(*figures == nothing && figures.payments.open == 1);
                }
            }
        }
    }
    assert!(compared > 50, "seed {seed} compares only {compared}");
}

/// All chunks of an export, each with the place behind it.
async fn exported(
    service: &Service,
    caller: &Caller,
    place: Option<ExportPlace>,
) -> Vec<(String, ExportPlace)> {
    let command = ExportTransactions { of: BooksOf::Own, kinds: Vec::new(), since: None, until: None, place };
    let mut exporting = service.export_transactions(caller.clone(), command).await.unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = service.next_table_chunk(&mut exporting).await.unwrap() {
        chunks.push((chunk.csv, chunk.place));
    }
    chunks
}

async fn fill(t: &Fixture, organization: OrganizationId, count: u64) {
    for step in 0..count {
        // Five at a time in one moment, so that pages end between equals.
        let at = START.minus(Duration::from_secs(DAY)).plus(Duration::from_secs(step / 5));
        let amount = 100 + i64::try_from(step).unwrap();
        let books = [(Account::PayfastClearing, amount), (Account::UnappliedReceipts, -amount)];
        book(t, Booking::of(organization, Kind::UnappliedReceipt, at), &books).await;
    }
}

on_both! {
    async fn every_figure_is_the_ledgers(t: Fixture) {
        every_figure_agrees(&t, 1).await;
    }

    async fn pages_have_no_gap_and_no_repeat_while_more_is_booked(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let home = ada.personal().unwrap();
        fill(&t, home, 33).await;
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let all = TransactionFilter::default();
            let page = service.list_transactions(&ada, BooksOf::Own, &all, after, 4).await.unwrap();
            assert!(page.transactions.len() == 4 || page.next.is_none());
            seen.extend(page.transactions.iter().map(|found| (found.about.created_at, found.amounts.gross)));
            // What comes meanwhile is newer than all of it.
            let books = [(Account::PayfastClearing, 1), (Account::UnappliedReceipts, -1)];
            t.clock.advance(Duration::from_secs(1));
            book(&t, Booking::of(home, Kind::UnappliedReceipt, t.world.now()), &books).await;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.iter().map(|(_, gross)| *gross).collect::<BTreeSet<_>>(), (100..133).collect());
        assert!(seen.len() == 33 && seen.is_sorted_by(|one, next| one.0 >= next.0));
    }

    async fn an_export_resumes_anywhere_byte_for_byte(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let home = ada.personal().unwrap();
        // Of nothing there is the header.
        let [(header, _)] = exported(&service, &ada, None).await.try_into().unwrap();
        assert!(header.starts_with("id,time,kind,") && header.ends_with(",memo,test\r\n"));
        fill(&t, home, 1_203).await;
        let whole = exported(&service, &ada, None).await;
        let rows: Vec<&str> = whole.iter().flat_map(|(csv, _)| csv.split_terminator("\r\n")).collect();
        assert_eq!((whole.len(), rows.len()), (3, 1_204));
        assert_eq!(format!("{}\r\n", rows[0]), header);
        let mut list = listed(&service, &ada, BooksOf::Own, &TransactionFilter::default()).await;
        list.reverse();
        for (row, transaction) in rows[1..].iter().zip(&list) {
            assert!(row.starts_with(&transaction.about.id.to_string()));
            assert!(row.contains(&format!(",ZAR,{},0.00,", Money::new(transaction.amounts.gross, Currency::Zar)
                .to_decimal_string())), "{row}");
        }
        // What is booked later is in no part of it, also when a part comes much later.
        t.clock.advance(Duration::from_secs(3_600));
        let books = [(Account::PayfastClearing, 1), (Account::UnappliedReceipts, -1)];
        book(&t, Booking::of(home, Kind::UnappliedReceipt, t.world.now()), &books).await;
        t.clock.advance(Duration::from_secs(3_600));
        for cut in 0..whole.len() {
            let rest = exported(&service, &ada, Some(whole[cut].1)).await;
            let rest: String = rest.into_iter().map(|(csv, _)| csv).collect();
            let expected: String = whole[cut + 1..].iter().map(|(csv, _)| csv.as_str()).collect();
            assert_eq!(rest, expected, "cut behind chunk {cut}");
        }
        // A new export has it, and what was booked just now is not settled yet.
        book(&t, Booking::of(home, Kind::UnappliedReceipt, t.world.now()), &books).await;
        let again: String = exported(&service, &ada, None).await.into_iter().map(|(csv, _)| csv).collect();
        assert_eq!(again.split_terminator("\r\n").count(), 1_205);
    }

    async fn filters_leave_out_what_is_not_meant(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let home = ada.personal().unwrap();
        let bought = service.create_checkout(&ada, wish("pro", Cycle::Monthly), None).await.unwrap();
        notify(&service, itn(&bought.payment_id.to_string(), "1089250", "COMPLETE", "529.00")).await;
        worker.run_due().await.unwrap();
        fill(&t, home, 20).await;
        let find = async |filter: TransactionFilter| {
            let found = listed(&service, &ada, BooksOf::Own, &filter).await;
            found.into_iter().map(|found| (found.about.kind, found.amounts.gross)).collect::<Vec<_>>()
        };
        let default = TransactionFilter::default;
        let sale = [(Kind::Settlement, 52_900), (Kind::InvoiceIssued, 52_900)];
        let mut of_invoice = find(TransactionFilter { invoice_id: Some(bought.invoice_id), ..default() }).await;
        of_invoice.sort_by_key(|(kind, _)| std::cmp::Reverse(kind.as_str()));
        assert_eq!(of_invoice, sale);
        assert_eq!(find(TransactionFilter { payment_id: Some(bought.payment_id), ..default() }).await, sale[..1]);
        let (invoice_id, payment_id) = (Some(bought.invoice_id), Some(bought.payment_id));
        let both = TransactionFilter { invoice_id, payment_id, ..default() };
        assert_eq!(find(both).await, sale[..1]);
        let kinds = vec![Kind::InvoiceIssued, Kind::BankPayout];
        assert_eq!(find(TransactionFilter { kinds, ..default() }).await, sale[1..]);
        assert_eq!(find(TransactionFilter { kinds: vec![Kind::BankPayout], ..default() }).await, []);
        let rand = |minor| Some(Money::new(minor, Currency::Zar));
        let between = TransactionFilter { gross_min: rand(105), gross_max: rand(107), ..default() };
        let found: BTreeSet<i64> = find(between).await.iter().map(|(_, gross)| *gross).collect();
        assert_eq!(found, [105, 106, 107].into());
        let dollars = TransactionFilter { gross_min: Some(Money::new(0, Currency::Usd)), ..default() };
        assert_eq!(find(dollars).await, []);
        let since = START.minus(Duration::from_secs(DAY)).plus(Duration::from_secs(1));
        let until = Some(since.plus(Duration::from_secs(1)));
        let second = TransactionFilter { since: Some(since), until, ..default() };
        assert_eq!(find(second).await.len(), 5);
        // The sale tells its number and ids.
        let filter = TransactionFilter { payment_id: Some(bought.payment_id), ..default() };
        let about = listed(&service, &ada, BooksOf::Own, &filter).await.remove(0).about;
        assert_eq!(about.invoice_number.as_deref(), Some("TEST-000001"));
        assert_eq!(about.provider_payment_id.as_deref(), Some("1089250"));
        assert!(about.test && about.provider.is_some() && about.invoice_id == Some(bought.invoice_id));
    }

    async fn nobody_reads_the_books_of_others(t: Fixture) {
        let (service, _) = plain(&t);
        let (ada, eve) = (somebody(&t, "ada@example.com").await, somebody(&t, "eve@example.com").await);
        let home = ada.personal().unwrap();
        fill(&t, home, 3).await;
        let charge = Booking { organization: None, ..Booking::of(home, Kind::ProviderCharge, START) };
        book(&t, charge, &[(Account::ProviderFees, 5), (Account::PayfastClearing, -5)]).await;
        let own = Booking::of(home, Kind::BankPayout, START);
        book(&t, own, &[(Account::Bank, 5), (Account::PayfastClearing, -5)]).await;
        let all = TransactionFilter::default();
        let refused = async |caller: &Caller, of: BooksOf| {
            let list = service.list_transactions(caller, of, &all, None, 9).await.unwrap_err();
            let report = service.get_payment_report(caller, of, Interval::Day, None, None).await.unwrap_err();
            let export = ExportTransactions { of, kinds: Vec::new(), since: None, until: None, place: None };
            let export = service.export_transactions(caller.clone(), export).await.unwrap_err();
            let reasons = [list, report, export].map(|error: Error| error.reason().name);
            let reasons = BTreeSet::from(reasons);
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            reasons.into_iter().next().unwrap()
        };
        let unknown = BooksOf::Organization(t.world.id());
        assert_eq!(refused(&eve, BooksOf::Organization(home)).await, NOT_FOUND.name);
        assert_eq!(refused(&eve, unknown).await, NOT_FOUND.name);
        assert_eq!(refused(&eve, BooksOf::Platform).await, PERMISSION_DENIED.name);
        assert_eq!(refused(&operator(), unknown).await, NOT_FOUND.name);
        // A member who has nothing to do with money; then one who has.
        join(&t, &eve, home, OrganizationRole::Member).await;
        assert_eq!(refused(&eve, BooksOf::Organization(home)).await, PERMISSION_DENIED.name);
        set_role(&t, &eve, home, OrganizationRole::Billing).await;
        assert_eq!(listed(&service, &eve, BooksOf::Organization(home), &all).await.len(), 3);
        // Who runs the platform sees what is the platform's, too.
        assert_eq!(listed(&service, &operator(), BooksOf::Organization(home), &all).await.len(), 4);
        assert_eq!(listed(&service, &operator(), BooksOf::Platform, &all).await.len(), 5);
        // An export asks again for each chunk.
        let command = ExportTransactions {
            of: BooksOf::Organization(home), kinds: Vec::new(), since: None, until: None, place: None,
        };
        let mut export = service.export_transactions(eve.clone(), command).await.unwrap();
        assert!(service.next_table_chunk(&mut export).await.unwrap().is_some());
        set_role(&t, &eve, home, OrganizationRole::Member).await;
        let ended = service.next_table_chunk(&mut export).await.unwrap_err();
        assert_eq!(ended.reason().name, PERMISSION_DENIED.name);
    }

    async fn a_page_may_be_short_and_lead_on(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        fill(&t, ada.personal().unwrap(), 2_600).await;
        let oldest = Money::new(100, Currency::Zar);
        let filter = TransactionFilter { gross_max: Some(oldest), ..TransactionFilter::default() };
        let first = service.list_transactions(&ada, BooksOf::Own, &filter, None, 10).await.unwrap();
        assert!(first.transactions.is_empty() && first.next.is_some(), "a call looks at a part only");
        let rest = service.list_transactions(&ada, BooksOf::Own, &filter, first.next, 10).await.unwrap();
        assert_eq!((rest.transactions.len(), rest.next), (1, None));
    }

    async fn payments_are_listed_in_either_order(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let mut started = Vec::new();
        for _ in 0..7 {
            t.clock.advance(Duration::from_secs(1));
            started.push(service.create_checkout(&ada, wish("live-verification", Cycle::Monthly), None).await.unwrap());
        }
        notify(&service, itn(&started[2].payment_id.to_string(), "1089250", "COMPLETE", "5.00")).await;
        notify(&service, itn(&started[4].payment_id.to_string(), "1089251", "CANCELLED", "")).await;
        worker.run_due().await.unwrap();
        let find = async |filter: PaymentFilter| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = service.list_payments(&ada, None, &filter, after, 3).await.unwrap();
                let page: Vec<_> = page.into_iter().map(|listed| listed.payment).collect();
                after = page.last().map(|payment| Cursor { at: payment.created_at, id: payment.id.uuid() });
                found.extend(page.iter().map(|payment| payment.id));
                if page.len() < 3 {
                    break;
                }
            }
            found.iter().map(|id| started.iter().position(|one| one.payment_id == *id).unwrap()).collect::<Vec<_>>()
        };
        let default = PaymentFilter::default;
        assert_eq!(find(default()).await, [6, 5, 4, 3, 2, 1, 0]);
        let oldest_first = true;
        assert_eq!(find(PaymentFilter { oldest_first, ..default() }).await, [0, 1, 2, 3, 4, 5, 6]);
        let statuses = vec![PaymentStatus::Succeeded, PaymentStatus::Cancelled];
        assert_eq!(find(PaymentFilter { statuses: statuses.clone(), ..default() }).await, [4, 2]);
        assert_eq!(find(PaymentFilter { statuses, oldest_first, ..default() }).await, [2, 4]);
        let (since, until) = (Some(START.plus(Duration::from_secs(3))), Some(START.plus(Duration::from_secs(6))));
        assert_eq!(find(PaymentFilter { since, until, ..default() }).await, [4, 3, 2]);
        assert_eq!(find(PaymentFilter { since, until, oldest_first, ..default() }).await, [2, 3, 4]);
        let invoice_id = Some(started[5].invoice_id);
        assert_eq!(find(PaymentFilter { invoice_id, ..default() }).await, [5]);
        assert_eq!(find(PaymentFilter { invoice_id, oldest_first, ..default() }).await, [5]);
        let known = |id: &str| PaymentFilter { provider_payment_id: Some(id.to_owned()), ..default() };
        assert_eq!(find(known("1089250")).await, [2]);
        let since = Some(START.plus(Duration::from_secs(4)));
        assert!(find(PaymentFilter { since, ..known("1089250") }).await.is_empty());
        assert!(find(known("1")).await.is_empty());
        let eve = somebody(&t, "eve@example.com").await;
        let theirs = PaymentFilter { invoice_id, ..default() };
        assert!(matches!(service.list_payments(&eve, None, &theirs, None, 3).await, Err(Error::InvoiceNotFound)));
        // The report counts them where they were started.
        t.clock.advance(Duration::from_secs(1));
        let report = service.get_payment_report(&ada, BooksOf::Own, Interval::Month, None, None).await.unwrap();
        let [counts] = report.total.figures.values().map(|figures| figures.payments).collect::<Vec<_>>()[..] else {
            panic!("one currency of tests")
        };
        assert_eq!((counts.succeeded, counts.cancelled, counts.open), (1, 1, 5));
        assert_eq!(counts.success_rate_percent().as_deref(), Some("50.00"));
        assert_eq!(counts.error_rate_percent().as_deref(), Some("0.00"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_is_the_ledgers_from_other_seeds() {
    use crate::support::Start as _;
    for seed in 2..=5 {
        let t = Fixture::start(capecontrol::db::Engine::Sqlite).await;
        every_figure_agrees(&t, seed).await;
    }
}

async fn join(t: &Fixture, caller: &Caller, organization: OrganizationId, role: OrganizationRole) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let (account, now) = (caller.account().unwrap(), t.world.now());
    capecontrol::auth::store::member::insert(&mut tx, organization, account, role, now).await.unwrap();
    tx.commit().await.unwrap();
}

async fn set_role(t: &Fixture, caller: &Caller, organization: OrganizationId, role: OrganizationRole) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let changed = tx.sql("UPDATE memberships SET role = $1 WHERE organization_id = $2 AND account_id = $3");
    let changed = changed.bind(role.as_str()).bind(organization).bind(caller.account().unwrap());
    assert_eq!(changed.execute().await.unwrap(), 1);
    tx.commit().await.unwrap();
}
