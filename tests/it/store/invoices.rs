//! Invoices of the staff and credit notes over real databases: what is owed, what is taken back, and their numbers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::{Caller, Role};
use capecontrol::base::fault::{Fault as _, NOT_FOUND, PERMISSION_DENIED};
use capecontrol::base::{Currency, Id, Money, OrganizationId};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::idempotency::RequestKey;
use capecontrol::jobs::Worker;
use capecontrol::payments::model::draft::{DraftLine, TaxRate};
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::listing::{Listing, Order, Place, Span};
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{CreditNote, Invoice, InvoiceId, InvoiceStatus, PaymentStatus};
use capecontrol::payments::service::{
    CreateCheckout, CreateCreditNote, CreateInvoice, Item, ProfileChange, UpdateBillingProfile,
};
use capecontrol::payments::{
    BILLING_DETAILS_REQUIRED, CREDIT_EXCEEDS_INVOICE, Error, INVOICE_CLOSED, INVOICE_ISSUED,
    INVOICE_NOT_CREDITABLE, INVOICE_NOT_DRAFT, INVOICE_NOT_ISSUED, INVOICE_NOT_OPEN, Options,
    PAYMENT_TOO_SMALL, PAYMENT_UNDER_WAY, Service, store,
};

use super::payments::{Told, balances, itn, node, post, wish};
use crate::support::{Fixture, START, on_both, somebody};

const SUPPLIER: &str = "Cape Craft Projects CC";

fn staff() -> Caller {
    Caller::system("test")
}

fn plain(t: &Fixture) -> (Arc<Service>, Worker) {
    node(t, Arc::new(Told::default()))
}

fn rand(minor: i64) -> Money {
    Money::new(minor, Currency::Zar)
}

fn draft_of(organization_id: OrganizationId, quantity: i64, unit_minor: i64) -> CreateInvoice {
    let description = "A day of training".to_owned();
    CreateInvoice {
        organization_id,
        lines: vec![DraftLine { description, quantity, unit: rand(unit_minor) }],
        prices_include_tax: true,
        tax_rate: TaxRate::Standard,
        due_at: None,
    }
}

async fn drafted(service: &Service, of: &Caller, minor: i64) -> InvoiceId {
    let wish = draft_of(of.personal().unwrap(), 1, minor);
    service.create_invoice(&staff(), wish, None).await.unwrap().invoice.id
}

async fn issued(service: &Service, of: &Caller, minor: i64) -> Invoice {
    let draft = drafted(service, of, minor).await;
    service.finalize_invoice(&staff(), draft, None).await.unwrap().invoice
}

async fn credit(service: &Service, invoice: InvoiceId, minor: Option<i64>) -> Result<CreditNote, Error> {
    let reason = "It was not all delivered.".to_owned();
    let wish = CreateCreditNote { invoice_id: invoice, amount: minor.map(rand), reason };
    service.create_credit_note(&staff(), wish, None).await
}

async fn seen(service: &Service, by: &Caller, id: InvoiceId) -> Invoice {
    service.get_invoice(by, id).await.unwrap().invoice
}

fn paying(invoice: InvoiceId) -> CreateCheckout {
    CreateCheckout { item: Item::Invoice(invoice), ..wish("pro", Cycle::Monthly) }
}

async fn pay(t: &Fixture, node: &(Arc<Service>, Worker), payment: &str, id: &str, amount: &str) {
    t.clock.advance(Duration::from_secs(1));
    post(&node.0, itn(payment, id, "COMPLETE", amount)).await;
    node.1.run_due().await.unwrap();
}

/// Has somebody pay what is due on an invoice.
async fn paid(t: &Fixture, node: &(Arc<Service>, Worker), by: &Caller, invoice: InvoiceId, id: &str) {
    let due = rand(seen(&node.0, by, invoice).await.due_minor()).to_decimal_string();
    let checkout = node.0.create_checkout(by, paying(invoice), None).await.unwrap();
    pay(t, node, &checkout.payment_id.to_string(), id, &due).await;
    assert_eq!(seen(&node.0, by, invoice).await.status, InvoiceStatus::Paid);
}

async fn name_recipient(service: &Service, caller: &Caller, name: &str) {
    let address = Some("1 Long Street, Cape Town".to_owned());
    let change = ProfileChange { name: Some(name.to_owned()), address, ..ProfileChange::default() };
    let command = UpdateBillingProfile { organization_id: None, change, version: None };
    service.update_billing_profile(caller, command, None).await.unwrap();
}

on_both! {
    async fn what_the_staff_issue_is_owed_and_paid(t: Fixture) {
        let node = plain(&t);
        let service = &node.0;
        let ada = somebody(&t, "ada@example.com").await;
        let wish = CreateInvoice {
            prices_include_tax: false,
            due_at: Some(START.plus(Duration::from_hours(24))),
            ..draft_of(ada.personal().unwrap(), 3, 99_999)
        };
        let draft = service.create_invoice(&staff(), wish, None).await.unwrap();
        let id = draft.invoice.id;
        assert_eq!((draft.invoice.total_minor, draft.invoice.tax_minor), (344_997, 45_000));
        assert_eq!((draft.invoice.status, draft.invoice.number), (InvoiceStatus::Draft, None));
        assert_eq!(draft.lines[0].total_minor, 299_997);
        assert_eq!(balances(service).await, []);
        // Nobody pays a draft.
        let refused = service.create_checkout(&ada, paying(id), None).await.unwrap_err();
        assert_eq!(refused.reason(), &INVOICE_NOT_OPEN);
        // The profile of the day counts, not that of the draft.
        name_recipient(service, &ada, "Ada CC").await;
        let issued = service.finalize_invoice(&staff(), id, None).await.unwrap();
        assert_eq!(issued.invoice.number.as_deref(), Some("TEST-000001"));
        assert_eq!((issued.invoice.customer_name.as_str(), issued.lines.len()), ("Ada CC", 1));
        assert_eq!(issued.invoice.due_at, Some(START.plus(Duration::from_hours(24))));
        let owed = [(Account::Receivable, 344_997), (Account::Revenue, -299_997), (Account::VatOutput, -45_000)];
        assert_eq!(balances(service).await, owed);
        let twice = service.finalize_invoice(&staff(), id, None).await.unwrap_err();
        assert_eq!(twice.reason(), &INVOICE_NOT_DRAFT);
        paid(&t, &node, &ada, id, "1").await;
        assert_eq!(seen(service, &ada, id).await.number.as_deref(), Some("TEST-000001"));
        let books = balances(service).await;
        assert!(!books.iter().any(|(account, _)| *account == Account::Receivable), "{books:?}");
    }

    async fn above_five_thousand_the_recipient_is_named(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let (small, large) = (drafted(&service, &ada, 500_000).await, drafted(&service, &ada, 500_001).await);
        service.finalize_invoice(&staff(), small, None).await.unwrap();
        let refused = service.finalize_invoice(&staff(), large, None).await.unwrap_err();
        assert_eq!(refused.reason(), &BILLING_DETAILS_REQUIRED);
        name_recipient(&service, &ada, "Ada CC").await;
        let issued = service.finalize_invoice(&staff(), large, None).await.unwrap().invoice;
        // What was refused took no number.
        assert_eq!(issued.number.as_deref(), Some("TEST-000002"));
    }

    async fn less_is_owed_after_a_credit_note(t: Fixture) {
        let node = plain(&t);
        let service = &node.0;
        let ada = somebody(&t, "ada@example.com").await;
        let invoice = issued(service, &ada, 115_000).await;
        let first = service.create_checkout(&ada, paying(invoice.id), None).await.unwrap();
        let note = credit(service, invoice.id, Some(15_000)).await.unwrap();
        assert_eq!((note.number.as_str(), note.amount_minor, note.tax_minor), ("TESTCN-000001", 15_000, 1_957));
        assert_eq!(note.invoice_number, "TEST-000001");
        assert_eq!(note.supplier_vat_number, invoice.supplier_vat_number);
        let owed = [
            (Account::Receivable, 100_000),
            (Account::Refunds, 13_043),
            (Account::Revenue, -100_000),
            (Account::VatOutput, -13_043),
        ];
        assert_eq!(balances(service).await, owed);
        // The attempt to pay the old sum is over; its money is the payer's.
        let old = service.get_payment(&ada, first.payment_id).await.unwrap();
        assert_eq!(old.status, PaymentStatus::Superseded);
        pay(&t, &node, &first.payment_id.to_string(), "1", "1150.00").await;
        assert_eq!(seen(service, &ada, invoice.id).await.status, InvoiceStatus::Open);
        assert!(balances(service).await.contains(&(Account::UnappliedReceipts, -115_000)));
        // Another pays what is left, and of what is paid the rest is credit.
        paid(&t, &node, &ada, invoice.id, "2").await;
        let refused = credit(service, invoice.id, Some(100_001)).await.unwrap_err();
        assert_eq!(refused.reason(), &CREDIT_EXCEEDS_INVOICE);
        let note = credit(service, invoice.id, Some(1)).await.unwrap();
        assert_eq!((note.number.as_str(), note.tax_minor), ("TESTCN-000002", 0));
        t.clock.advance(Duration::from_secs(1));
        let rest = credit(service, invoice.id, None).await.unwrap();
        assert_eq!((rest.amount_minor, rest.tax_minor), (99_999, 13_043));
        let whole = seen(service, &ada, invoice.id).await;
        assert_eq!((whole.status, whole.credited_minor), (InvoiceStatus::Paid, 115_000));
        let books = balances(service).await;
        assert!(books.contains(&(Account::CustomerCredit, -100_000)), "{books:?}");
        assert!(!books.iter().any(|(account, _)| *account == Account::VatOutput), "{books:?}");
        assert!(credit(service, invoice.id, None).await.is_err());
        let listed = service.list_credit_notes(&ada, None, Some(invoice.id), None, 10).await.unwrap();
        let numbers: Vec<_> = listed.iter().map(|note| note.number.as_str()).collect();
        assert_eq!(numbers, ["TESTCN-000003", "TESTCN-000002", "TESTCN-000001"]);
        assert_eq!(service.get_credit_note(&ada, rest.id).await.unwrap(), rest);
    }

    async fn an_open_invoice_credited_whole_is_void(t: Fixture) {
        let node = plain(&t);
        let service = &node.0;
        let ada = somebody(&t, "ada@example.com").await;
        let invoice = issued(service, &ada, 115).await;
        credit(service, invoice.id, None).await.unwrap();
        let void = seen(service, &ada, invoice.id).await;
        assert_eq!((void.status, void.number), (InvoiceStatus::Void, invoice.number));
        assert_eq!(balances(service).await, [(Account::Refunds, 100), (Account::Revenue, -100)]);
        let refused = service.create_checkout(&ada, paying(invoice.id), None).await.unwrap_err();
        assert_eq!(refused.reason(), &INVOICE_NOT_OPEN);
        let again = credit(service, invoice.id, Some(1)).await.unwrap_err();
        assert_eq!(again.reason(), &INVOICE_NOT_CREDITABLE);
    }

    async fn what_was_issued_is_not_void(t: Fixture) {
        let node = plain(&t);
        let service = &node.0;
        let ada = somebody(&t, "ada@example.com").await;
        let void = |id, lost| {
            let service = Arc::clone(service);
            async move { service.void_invoice(&staff(), id, lost, None).await }
        };
        let draft = drafted(service, &ada, 115).await;
        assert_eq!(void(draft, true).await.unwrap_err().reason(), &INVOICE_NOT_ISSUED);
        assert_eq!(void(draft, false).await.unwrap().invoice.status, InvoiceStatus::Void);
        assert_eq!(void(draft, false).await.unwrap_err().reason(), &INVOICE_CLOSED);
        assert_eq!(credit(service, draft, Some(1)).await.unwrap_err().reason(), &INVOICE_NOT_CREDITABLE);
        let refused = service.finalize_invoice(&staff(), draft, None).await.unwrap_err();
        assert_eq!(refused.reason(), &INVOICE_NOT_DRAFT);
        // A checkout that nobody paid, with its attempt.
        let checkout = service.create_checkout(&ada, wish("pro", Cycle::Monthly), None).await.unwrap();
        assert_eq!(void(checkout.invoice_id, true).await.unwrap_err().reason(), &INVOICE_NOT_ISSUED);
        assert_eq!(credit(service, checkout.invoice_id, Some(1)).await.unwrap_err().reason(), &INVOICE_NOT_CREDITABLE);
        void(checkout.invoice_id, false).await.unwrap();
        let attempt = service.get_payment(&ada, checkout.payment_id).await.unwrap();
        assert_eq!(attempt.status, PaymentStatus::Superseded);
        let small = issued(service, &ada, 115).await.id;
        let refused = service.create_checkout(&ada, paying(small), None).await.unwrap_err();
        assert_eq!(refused.reason(), &PAYMENT_TOO_SMALL);
        let open = issued(service, &ada, 1_150).await.id;
        let refused = void(open, false).await.unwrap_err();
        assert_eq!(refused.reason(), &INVOICE_ISSUED);
        assert!(refused.to_string().contains("CreateCreditNote"), "{refused}");
        paid(&t, &node, &ada, open, "1").await;
        assert_eq!(void(open, false).await.unwrap_err().reason(), &INVOICE_ISSUED);
        assert_eq!(void(open, true).await.unwrap_err().reason(), &INVOICE_CLOSED);
        balances(service).await;
    }

    async fn what_is_lost_is_written_off_with_its_tax(t: Fixture) {
        let node = plain(&t);
        let service = &node.0;
        let ada = somebody(&t, "ada@example.com").await;
        let invoice = issued(service, &ada, 115_000).await;
        credit(service, invoice.id, Some(15_000)).await.unwrap();
        let checkout = service.create_checkout(&ada, paying(invoice.id), None).await.unwrap();
        let payment = checkout.payment_id.to_string();
        // While money is under way nothing is given up.
        post(service, itn(&payment, "1", "PENDING", "1000.00")).await;
        node.1.run_due().await.unwrap();
        let refused = service.void_invoice(&staff(), invoice.id, true, None).await.unwrap_err();
        assert_eq!(refused.reason(), &PAYMENT_UNDER_WAY);
        post(service, itn(&payment, "1", "FAILED", "1000.00")).await;
        node.1.run_due().await.unwrap();
        let lost = service.void_invoice(&staff(), invoice.id, true, None).await.unwrap().invoice;
        assert_eq!((lost.status, lost.due_minor()), (InvoiceStatus::Uncollectible, 100_000));
        // Neither is anything owed nor is any tax of it.
        let books = [(Account::Refunds, 13_043), (Account::Revenue, -100_000), (Account::BadDebts, 86_957)];
        let told: BTreeSet<_> = balances(service).await.into_iter().collect();
        assert_eq!(told, BTreeSet::from(books));
        assert_eq!(credit(service, invoice.id, Some(1)).await.unwrap_err().reason(), &INVOICE_NOT_CREDITABLE);
        // Money that comes after all is the payer's.
        pay(&t, &node, &payment, "1", "1000.00").await;
        assert!(balances(service).await.contains(&(Account::UnappliedReceipts, -100_000)));
        assert_eq!(seen(service, &ada, invoice.id).await.status, InvoiceStatus::Uncollectible);
    }

    async fn the_books_tell_of_a_changed_credit(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let invoice = issued(&service, &ada, 115_000).await;
        credit(&service, invoice.id, Some(15_000)).await.unwrap();
        for (change, told) in [
            ("UPDATE invoices SET credited_minor = credited_minor + 1", "credited"),
            ("UPDATE credit_notes SET tax_minor = tax_minor + 1", "tax credited"),
            ("UPDATE credit_notes SET amount_minor = amount_minor - 1", "credited"),
            ("UPDATE invoices SET status = 'uncollectible'", "written off"),
        ] {
            let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
            assert_eq!(tx.sql(change).execute().await.unwrap(), 1);
            tx.commit().await.unwrap();
            let report = service.verify_ledger(&staff()).await.unwrap();
            let found = report.faults.iter().any(|fault| fault.detail.starts_with(&format!("{told}:")));
            assert!(found, "{change}: {report:?}");
            let back = "UPDATE invoices SET status = 'open', credited_minor = 15000";
            let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
            tx.sql(back).execute().await.unwrap();
            tx.sql("UPDATE credit_notes SET amount_minor = 15000, tax_minor = 1957").execute().await.unwrap();
            tx.commit().await.unwrap();
            balances(&service).await;
        }
    }

    async fn numbers_have_no_gap_whatever_happens_at_once(t: Fixture) {
        let (service, _) = plain(&t);
        let mut drafts = Vec::new();
        for number in 0..8 {
            let somebody = somebody(&t, &format!("somebody{number}@example.com")).await;
            for _ in 0..8 {
                drafts.push(drafted(&service, &somebody, 115).await);
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (number, draft) in drafts.into_iter().enumerate() {
            let (service, db) = (Arc::clone(&service), t.db.clone());
            tasks.spawn(async move {
                if number % 4 == 0 {
                    // Somebody who takes a number and gives it back.
                    let mut tx = db.begin(Scope::System("test")).await.unwrap();
                    store::invoice::take_number(&mut tx, SUPPLIER, "TEST").await.unwrap();
                    store::invoice::take_number(&mut tx, SUPPLIER, "TESTCN").await.unwrap();
                    drop(tx);
                }
                let issued = service.finalize_invoice(&staff(), draft, None).await.unwrap().invoice;
                let note = credit(&service, issued.id, Some(15)).await.unwrap();
                (issued.number.unwrap(), note.number)
            });
        }
        let (mut invoices, mut notes) = (BTreeSet::new(), BTreeSet::new());
        while let Some(numbers) = tasks.join_next().await {
            let (invoice, note) = numbers.unwrap();
            invoices.insert(invoice);
            notes.insert(note);
        }
        let all = |series: &str| -> BTreeSet<String> { (1..=64).map(|n| format!("{series}-{n:06}")).collect() };
        assert_eq!((invoices, notes), (all("TEST"), all("TESTCN")));
        balances(&service).await;
    }

    async fn every_order_and_range_pages_through_all_of_its_own(t: Fixture) {
        let node = plain(&t);
        let service = &node.0;
        let (ada, bob) = (somebody(&t, "ada@example.com").await, somebody(&t, "bob@example.com").await);
        issued(service, &bob, 700).await;
        for number in 0..12_u32 {
            if number % 2 == 0 {
                t.clock.advance(Duration::from_mins(1));
            }
            name_recipient(service, &ada, ["Éclair", "éa", "Zulu CC"][number as usize % 3]).await;
            let due = (number % 3 == 0).then(|| START.plus(Duration::from_hours(u64::from(30 - number))));
            let draft = draft_of(ada.personal().unwrap(), i64::from(number % 5) + 1, 1_000);
            let wish = CreateInvoice { due_at: due, ..draft };
            let id = service.create_invoice(&staff(), wish, None).await.unwrap().invoice.id;
            match number % 6 {
                0 => {}
                1 => drop(service.void_invoice(&staff(), id, false, None).await.unwrap()),
                other => {
                    t.clock.advance(Duration::from_secs(1));
                    service.finalize_invoice(&staff(), id, None).await.unwrap();
                    if other == 2 {
                        service.void_invoice(&staff(), id, true, None).await.unwrap();
                    } else if other == 3 {
                        paid(&t, &node, &ada, id, &number.to_string()).await;
                    }
                }
            }
        }
        let all: Vec<Invoice> = {
            let rows = service.list_invoices(&ada, None, &Listing::default(), None, 100).await.unwrap();
            rows.into_iter().map(|row| row.invoice).collect()
        };
        assert_eq!(all.len(), 12);
        let (early, late) = (Some(START.plus(Duration::from_mins(2))), Some(START.plus(Duration::from_mins(5))));
        let span = Span { from: early, until: late };
        let due = Span { from: None, until: Some(START.plus(Duration::from_hours(28))) };
        let orders = [
            (Order::Newest(Span::default()), 12),
            (Order::Oldest(Span::default()), 12),
            (Order::Newest(span), 6),
            (Order::Oldest(span), 6),
            (Order::Issued(Span::default()), 8),
            (Order::Due(Span::default()), 4),
            (Order::Due(due), 3),
            (Order::Total(Span::default()), 12),
            (Order::Total(Span { from: Some(2_000), until: Some(4_001) }), 7),
            (Order::Number(String::new()), 8),
            (Order::Number("TEST-00000".to_owned()), 8),
            (Order::Number("INV".to_owned()), 0),
            (Order::Customer(String::new()), 12),
            (Order::Customer("é".to_owned()), 8),
            (Order::Customer("éc".to_owned()), 4),
        ];
        let (open, lost) = (InvoiceStatus::Open, InvoiceStatus::Uncollectible);
        for (order, many) in orders {
            for statuses in [vec![], vec![open], vec![lost, InvoiceStatus::Void]] {
                let whole = statuses.is_empty();
                let listing = Listing { statuses, test: None, order: order.clone() };
                let expected = expected(&all, &listing);
                assert!(!whole || expected.len() == many, "{listing:?}: {} are expected", expected.len());
                assert_eq!(paged(service, &ada, &listing).await, expected, "{listing:?}");
            }
        }
        let live = Listing { test: Some(false), ..Listing::default() };
        assert_eq!(paged(service, &ada, &live).await, []);
        let test = Listing { test: Some(true), ..Listing::default() };
        assert_eq!(paged(service, &ada, &test).await.len(), 12);
        // A place of another order leads nowhere.
        let place = Some(Order::Number(String::new()).place(&all[0]));
        assert_eq!(service.list_invoices(&ada, None, &Listing::default(), place, 5).await.unwrap(), []);
    }

    async fn a_wrong_draft_names_everything_that_is_wrong(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let home = ada.personal().unwrap();
        let line = |description: &str, quantity, unit| {
            let description = description.to_owned();
            DraftLine { description, quantity, unit }
        };
        let wrong = CreateInvoice {
            lines: vec![
                line(" ", 0, rand(0)),
                line("a\u{2028}b", -1, rand(-1)),
                line("a\u{7}b", 1_000_001, rand(1_000_000_001)),
                line(&"x".repeat(501), i64::MAX, Money::new(5, Currency::Usd)),
                line("right", 1, rand(1)),
            ],
            due_at: Some(START),
            ..draft_of(home, 1, 1)
        };
        let error = service.create_invoice(&staff(), wrong, None).await.unwrap_err();
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        let of = |index, names: &[&str]| names.iter().map(|name| format!("lines[{index}].{name}")).collect::<Vec<_>>();
        let all = ["description", "quantity", "unit_price"];
        let expected: Vec<String> = (0..4).flat_map(|index| of(index, &all)).chain(["due_time".to_owned()]).collect();
        assert_eq!(fields, expected);
        for lines in [vec![], vec![line("x", 1, rand(1)); 201], vec![line("x", 1_000_000, rand(1_000_000_000)); 200]] {
            let wish = CreateInvoice { lines, ..draft_of(home, 1, 1) };
            let error = service.create_invoice(&staff(), wish, None).await.unwrap_err();
            let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, ["lines"]);
        }
        let most = CreateInvoice { lines: vec![line("x", 1, rand(50_000_000)); 200], ..draft_of(home, 1, 1) };
        assert_eq!(service.create_invoice(&staff(), most, None).await.unwrap().lines.len(), 200);
        let amount = Some(Money::new(0, Currency::Eur));
        let wish = CreateCreditNote { invoice_id: t.world.id(), amount, reason: "a\nb".to_owned() };
        let error = service.create_credit_note(&staff(), wish, None).await.unwrap_err();
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["amount", "amount", "reason"]);
    }

    async fn invoices_are_the_staffs_to_write_and_the_customers_to_see(t: Fixture) {
        let (service, _) = plain(&t);
        let (ada, bob) = (somebody(&t, "ada@example.com").await, somebody(&t, "bob@example.com").await);
        let invoice = issued(&service, &ada, 115).await.id;
        let draft = drafted(&service, &ada, 115).await;
        let note = credit(&service, invoice, Some(5)).await.unwrap().id;
        // A customer writes nothing, be it their own.
        let home = ada.personal().unwrap();
        let reason = || "It was not all delivered.".to_owned();
        let wish = CreateCreditNote { invoice_id: invoice, amount: None, reason: reason() };
        for refused in [
            service.create_invoice(&ada, draft_of(home, 1, 1), None).await.unwrap_err(),
            service.finalize_invoice(&ada, draft, None).await.unwrap_err(),
            service.void_invoice(&ada, draft, false, None).await.unwrap_err(),
            service.create_credit_note(&ada, wish, None).await.unwrap_err(),
        ] {
            assert_eq!(refused.reason(), &PERMISSION_DENIED);
        }
        // What is somebody else's does not exist, and what does not exist does not either.
        let unknown: InvoiceId = t.world.id();
        for refused in [
            service.get_credit_note(&bob, note).await.unwrap_err(),
            service.get_credit_note(&bob, t.world.id()).await.unwrap_err(),
            service.list_credit_notes(&bob, None, Some(invoice), None, 10).await.unwrap_err(),
            service.list_credit_notes(&bob, Some(home), None, None, 10).await.unwrap_err(),
            service.finalize_invoice(&staff(), unknown, None).await.unwrap_err(),
            service.void_invoice(&staff(), unknown, true, None).await.unwrap_err(),
            credit(&service, unknown, Some(1)).await.unwrap_err(),
            service.create_invoice(&staff(), draft_of(t.world.id(), 1, 1), None).await.unwrap_err(),
        ] {
            assert_eq!(refused.reason(), &NOT_FOUND);
        }
        // An administrator sees every organisation's by its name.
        let mut admin = bob.clone();
        admin.role = Role::Admin;
        assert_eq!(service.get_invoice(&admin, invoice).await.unwrap().invoice.id, invoice);
        assert_eq!(service.get_credit_note(&admin, note).await.unwrap().id, note);
        let listing = Listing::default();
        assert_eq!(service.list_invoices(&admin, Some(home), &listing, None, 10).await.unwrap().len(), 2);
        assert_eq!(service.list_invoices(&admin, None, &listing, None, 10).await.unwrap(), []);
        assert_eq!(service.list_credit_notes(&admin, Some(home), None, None, 10).await.unwrap().len(), 1);
    }

    async fn a_repeated_call_is_the_first_one(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let mut admin = somebody(&t, "admin@example.com").await;
        admin.role = Role::Admin;
        let key = |number| {
            let key = uuid::Uuid::from_u128(number);
            RequestKey { method: "invoices".into(), key, body_hash: [1; 32] }
        };
        let home = ada.personal().unwrap();
        let first = service.create_invoice(&admin, draft_of(home, 1, 115), Some(&key(1))).await.unwrap();
        let again = service.create_invoice(&admin, draft_of(home, 1, 115), Some(&key(1))).await.unwrap();
        assert_eq!(first, again);
        let id = first.invoice.id;
        let issued = service.finalize_invoice(&admin, id, Some(&key(2))).await.unwrap();
        assert_eq!(service.finalize_invoice(&admin, id, Some(&key(2))).await.unwrap(), issued);
        let wish = || CreateCreditNote { invoice_id: id, amount: Some(rand(15)), reason: "Too dear".to_owned() };
        let note = service.create_credit_note(&admin, wish(), Some(&key(3))).await.unwrap();
        assert_eq!(service.create_credit_note(&admin, wish(), Some(&key(3))).await.unwrap(), note);
        assert_eq!(note.account_id, admin.account);
        let lost = service.void_invoice(&admin, id, true, Some(&key(4))).await.unwrap();
        assert_eq!(service.void_invoice(&admin, id, true, Some(&key(4))).await.unwrap(), lost);
        assert_eq!(lost.invoice.credited_minor, 15);
        assert_eq!(service.list_invoices(&ada, None, &Listing::default(), None, 10).await.unwrap().len(), 1);
    }
}

/// What a listing shows of these, in its order.
fn expected(all: &[Invoice], listing: &Listing) -> Vec<InvoiceId> {
    let order = &listing.order;
    let inside = |invoice: &&Invoice| {
        let (place, start, end) = (order.place(invoice), order.start(), order.end());
        let known = match order {
            Order::Issued(_) => invoice.issued_at.is_some(),
            Order::Due(_) => invoice.due_at.is_some(),
            Order::Number(_) => invoice.number.is_some(),
            _ => true,
        };
        let range = if order.descends() {
            place < start && place.key >= end
        } else {
            place > start && place.key < end
        };
        known && range && listing.shown().contains(&invoice.status)
    };
    let mut places: Vec<Place> = all.iter().filter(inside).map(|invoice| order.place(invoice)).collect();
    places.sort();
    if order.descends() {
        places.reverse();
    }
    places.into_iter().map(|place| Id::from_uuid(place.id)).collect()
}

/// The same, read in pages of two.
async fn paged(service: &Service, by: &Caller, listing: &Listing) -> Vec<InvoiceId> {
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = service.list_invoices(by, None, listing, after, 2).await.unwrap();
        read.extend(page.iter().map(|row| row.invoice.id));
        match page.last() {
            Some(last) if page.len() == 2 => after = Some(listing.order.place(&last.invoice)),
            _ => return read,
        }
    }
}

#[test]
fn the_supplier_is_the_one_of_these_tests() {
    assert_eq!(Options::default().supplier.legal_name, SUPPLIER);
}
