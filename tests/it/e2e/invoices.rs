//! The staff charge a customer, who pays on the hosted page; what was wrong is credited.

use std::time::Duration;

use capecontrol::proto::capecontrol::payments::v1 as wire;
use capecontrol::proto::google::r#type::Money;
use sha2::Digest as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::create_checkout_request::Item;
use wire::get_invoice_document_request::Subject;

use super::payments::{ledger, press};
use crate::support::app::{App, Person};
use crate::support::on_both;

fn rand(units: i64) -> Money {
    Money { currency_code: "ZAR".to_owned(), units, nanos: 0 }
}

fn wish(of: &Person, prices: &[Money]) -> wire::CreateInvoiceRequest {
    let line = |price: &Money| wire::InvoiceLineDraft {
        description: "A day of training".to_owned(),
        quantity: 1,
        unit_price: Some(price.clone()),
    };
    wire::CreateInvoiceRequest {
        organization_id: of.organization_id.to_string(),
        lines: prices.iter().map(line).collect(),
        tax_rate: wire::TaxRate::Standard.into(),
        ..Default::default()
    }
}

async fn draft(admin: &Person, of: &Person, prices: &[Money]) -> wire::Invoice {
    admin.invoices().create_invoice(wish(of, prices)).await.unwrap().into_inner().invoice.unwrap()
}

async fn issue(admin: &Person, draft: wire::Invoice) -> wire::Invoice {
    let request = wire::FinalizeInvoiceRequest { invoice_id: draft.id, ..Default::default() };
    admin.invoices().finalize_invoice(request).await.unwrap().into_inner().invoice.unwrap()
}

async fn seen(person: &Person, id: &str) -> wire::Invoice {
    let request = wire::GetInvoiceRequest { invoice_id: id.to_owned() };
    person.invoices().get_invoice(request).await.unwrap().into_inner().invoice.unwrap()
}

async fn pay(t: &App, person: &Person, invoice: &str) {
    let request =
        wire::CreateCheckoutRequest { item: Some(Item::InvoiceId(invoice.to_owned())), ..Default::default() };
    let checkout = person.payments().create_checkout(request).await.unwrap().into_inner();
    press(t, &checkout, &[("simulator_action", "pay")]).await;
    t.run_jobs().await;
}

async fn document(person: &Person, subject: Subject) -> Result<wire::GetInvoiceDocumentResponse, Status> {
    let request = wire::GetInvoiceDocumentRequest { subject: Some(subject) };
    Ok(person.invoices().get_invoice_document(request).await?.into_inner())
}

fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let told = details.bad_request().map(|told| told.field_violations.clone()).unwrap_or_default();
    told.into_iter().map(|violation| violation.field).collect()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

on_both! {
    async fn a_customer_pays_what_the_staff_issued(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        let drafted = draft(&admin, &ada, &[rand(1_000), rand(500)]).await;
        assert_eq!((drafted.status(), drafted.number.as_str()), (wire::InvoiceStatus::Draft, ""));
        assert_eq!((drafted.total.clone(), drafted.tax.clone()), (Some(rand(1_725)), Some(rand(225))));
        assert_eq!(drafted.tax_rate_percent, "15.00");
        let issued = issue(&admin, drafted).await;
        assert_eq!((issued.status(), issued.number.as_str()), (wire::InvoiceStatus::Open, "TEST-000001"));
        // Too much was charged; she pays the rest.
        let credit = wire::CreateCreditNoteRequest {
            invoice_id: issued.id.clone(),
            amount: Some(rand(575)),
            reason: "The second day was cancelled.".to_owned(),
            ..Default::default()
        };
        let note = admin.invoices().create_credit_note(credit).await.unwrap().into_inner().credit_note.unwrap();
        assert_eq!((note.number.as_str(), note.tax), ("TESTCN-000001", Some(rand(75))));
        pay(&t, &ada, &issued.id).await;
        let paid = seen(&ada, &issued.id).await;
        assert_eq!((paid.status(), paid.credited), (wire::InvoiceStatus::Paid, Some(rand(575))));
        let request = wire::GetCreditNoteRequest { credit_note_id: note.id.clone() };
        let hers = ada.invoices().get_credit_note(request).await.unwrap().into_inner().credit_note.unwrap();
        assert_eq!(hers.invoice_number, "TEST-000001");
        assert_eq!(hers.reason, "The second day was cancelled.");
        let listed = ada.invoices().list_credit_notes(wire::ListCreditNotesRequest::default()).await.unwrap();
        assert_eq!(listed.into_inner().credit_notes, [hers]);
        let report = ledger(&admin).await;
        assert!(report.balanced, "{report:?}");
    }

    async fn documents_are_mailed_once_and_fetched_again(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        t.run_jobs().await;
        let before = t.letters().len();
        // Letters are in the order of their times: what comes now comes later.
        t.advance(Duration::from_secs(1));
        // Nobody said where invoices go: nothing is mailed, and there is a document all the same.
        let unsent = issue(&admin, draft(&admin, &ada, &[rand(100)]).await).await;
        t.run_jobs().await;
        assert_eq!(t.letters().len(), before);
        let profile = wire::BillingProfile { email: "books@example.com".to_owned(), ..Default::default() };
        let update = wire::UpdateBillingProfileRequest {
            billing_profile: Some(profile),
            update_mask: Some(prost_types::FieldMask { paths: vec!["email".to_owned()] }),
            ..Default::default()
        };
        ada.payments().update_billing_profile(update).await.unwrap();
        let issued = issue(&admin, draft(&admin, &ada, &[rand(100)]).await).await;
        let credit = wire::CreateCreditNoteRequest {
            invoice_id: issued.id.clone(),
            amount: Some(rand(15)),
            reason: "An hour less".to_owned(),
            ..Default::default()
        };
        let note = admin.invoices().create_credit_note(credit).await.unwrap().into_inner().credit_note.unwrap();
        for _ in 0..2 {
            t.run_jobs().await;
            let letters = t.letters().split_off(before);
            let subjects: Vec<bool> = letters.iter().map(|letter| letter.contains("books@example.com")).collect();
            assert_eq!(subjects, [true, true]);
            assert!(letters.iter().any(|letter| letter.contains(&issued.number)));
            assert!(letters.iter().any(|letter| letter.contains(&note.number)));
            assert!(letters.iter().all(|letter| letter.contains("application/pdf")));
        }
        let of = |id: &str| Subject::InvoiceId(id.to_owned());
        let first = document(&ada, of(&issued.id)).await.unwrap();
        let extension = first.file_name.rsplit('.').next();
        assert_eq!((first.content.starts_with(b"%PDF-"), extension), (true, Some("pdf")));
        assert_eq!(first.digest, sha2::Sha256::digest(&first.content).to_vec());
        // What is paid and credited later changes nothing of what was issued.
        pay(&t, &ada, &issued.id).await;
        assert_eq!(document(&ada, of(&issued.id)).await.unwrap(), first);
        assert_ne!(document(&admin, of(&issued.id)).await.unwrap().digest, first.digest);
        assert!(document(&ada, of(&unsent.id)).await.is_ok());
        let credited = document(&ada, Subject::CreditNoteId(note.id)).await.unwrap();
        assert!(credited.file_name.contains(&note.number), "{}", credited.file_name);
        let early = draft(&admin, &ada, &[rand(1)]).await;
        let refused = document(&ada, of(&early.id)).await.unwrap_err();
        assert_eq!(reason(&refused), "INVOICE_NOT_ISSUED");
        let bob = t.register("bob@example.com").await;
        assert_eq!(document(&bob, of(&issued.id)).await.unwrap_err().code(), Code::NotFound);
    }

    async fn what_was_issued_is_credited_and_not_void(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        let issued = issue(&admin, draft(&admin, &ada, &[rand(100)]).await).await;
        let void = wire::VoidInvoiceRequest { invoice_id: issued.id.clone(), ..Default::default() };
        let refused = admin.invoices().void_invoice(void.clone()).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "INVOICE_ISSUED"));
        assert!(refused.message().contains("CreateCreditNote"), "{}", refused.message());
        let lost = wire::VoidInvoiceRequest { uncollectible: true, ..void };
        let lost = admin.invoices().void_invoice(lost).await.unwrap().into_inner().invoice.unwrap();
        assert_eq!(lost.status(), wire::InvoiceStatus::Uncollectible);
        let report = ledger(&admin).await;
        assert!(report.balanced, "{report:?}");
        let bad = report.balances.iter().find(|balance| balance.account == "bad_debts").unwrap();
        assert_eq!(bad.balance, Some(rand(100)));
        // A customer decides nothing of this.
        let refused = ada.invoices().create_invoice(wish(&ada, &[rand(1)])).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }

    async fn wrong_amounts_are_told_by_their_field(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        let dollars = Money { currency_code: "USD".to_owned(), ..rand(1) };
        let unknown = Money { currency_code: "XTS".to_owned(), ..rand(1) };
        let crumbs = Money { nanos: 1, ..rand(1) };
        let torn = Money { nanos: -10_000_000, ..rand(1) };
        let prices = [rand(-1), dollars, unknown, crumbs, torn, rand(i64::MAX), rand(10_000_001), rand(1)];
        let mut request = wish(&ada, &prices);
        request.tax_rate = 0;
        let refused = admin.invoices().create_invoice(request).await.unwrap_err();
        let wrong: Vec<String> = [2, 3, 4, 5].map(|index| format!("lines[{index}].unit_price")).into();
        assert_eq!(fields(&refused), [&["tax_rate".to_owned()][..], &wrong].concat());
        let refused = admin.invoices().create_invoice(wish(&ada, &[rand(-1), rand(1), rand(10_000_001)])).await;
        assert_eq!(fields(&refused.unwrap_err()), ["lines[0].unit_price", "lines[2].unit_price"]);
        let many = admin.invoices().create_invoice(wish(&ada, &vec![rand(1); 201])).await.unwrap_err();
        assert_eq!(fields(&many), ["lines"]);
        let nobody = wire::CreateInvoiceRequest { organization_id: String::new(), ..wish(&ada, &[rand(1)]) };
        let refused = admin.invoices().create_invoice(nobody).await.unwrap_err();
        assert_eq!(fields(&refused), ["organization_id"]);
        let credit = wire::CreateCreditNoteRequest {
            invoice_id: draft(&admin, &ada, &[rand(1)]).await.id,
            amount: Some(rand(0)),
            reason: "a\u{2029}b".to_owned(),
            ..Default::default()
        };
        let refused = admin.invoices().create_credit_note(credit).await.unwrap_err();
        assert_eq!(fields(&refused), ["amount", "reason"]);
    }

    async fn a_list_is_searched_sorted_and_paged(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        for units in [3, 1, 2] {
            t.advance(Duration::from_secs(1));
            issue(&admin, draft(&admin, &ada, &[rand(units * 100)]).await).await;
        }
        draft(&admin, &ada, &[rand(400)]).await;
        let of = wire::ListInvoicesRequest { organization_id: ada.organization_id.to_string(), ..Default::default() };
        let numbers = |list: &wire::ListInvoicesResponse| -> Vec<String> {
            list.invoices.iter().map(|invoice| invoice.number.clone()).collect()
        };
        let total = wire::ListInvoicesRequest {
            order: wire::InvoiceOrder::Total.into(),
            statuses: vec![wire::InvoiceStatus::Open.into()],
            page_size: 2,
            ..of.clone()
        };
        let first = ada.invoices().list_invoices(total.clone()).await.unwrap().into_inner();
        assert_eq!(numbers(&first), ["TEST-000001", "TEST-000003"]);
        let next = wire::ListInvoicesRequest { page_token: first.next_page_token.clone(), ..total.clone() };
        let second = ada.invoices().list_invoices(next.clone()).await.unwrap().into_inner();
        assert_eq!((numbers(&second), second.next_page_token), (vec!["TEST-000002".to_owned()], String::new()));
        // The token is of this filter and this order.
        for other in [
            wire::ListInvoicesRequest { order: wire::InvoiceOrder::Newest.into(), ..next.clone() },
            wire::ListInvoicesRequest { statuses: vec![], ..next.clone() },
            wire::ListInvoicesRequest { test: Some(true), ..next.clone() },
            wire::ListInvoicesRequest { min_total: Some(rand(1)), ..next },
        ] {
            let refused = ada.invoices().list_invoices(other).await.unwrap_err();
            assert_eq!(reason(&refused), "PAGE_TOKEN_MISMATCH");
        }
        let prefix = wire::ListInvoicesRequest { number_prefix: "test-000003".to_owned(), ..of.clone() };
        // An administrator may look too, when they name the organisation.
        let found = admin.invoices().list_invoices(prefix.clone()).await.unwrap().into_inner();
        assert_eq!(numbers(&found), ["TEST-000003"]);
        let two = wire::ListInvoicesRequest { customer_prefix: "a".to_owned(), ..prefix };
        let refused = ada.invoices().list_invoices(two).await.unwrap_err();
        assert_eq!(fields(&refused), ["customer_prefix"]);
    }
}
