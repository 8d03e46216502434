//! Lists, exports and reports of money through the front door, and readers who are slow, leave, or may not go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use capecontrol::auth::{Error, Origin};
use capecontrol::base::OrganizationId;
use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::payments::v1 as wire;
use capecontrol::proto::google;
use capecontrol::rpc::Exports;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use wire::payments_service_client::PaymentsServiceClient;

use super::payments::{checkout, payment, press};
use crate::support::{App, Person, Start as _, on_both};

const PLATFORM: &str = "-";

async fn transactions(person: &Person, organization: &str) -> Result<Vec<wire::Transaction>, Status> {
    let request =
        wire::ListTransactionsRequest { organization_id: organization.to_owned(), ..Default::default() };
    person.payments().list_transactions(request).await.map(|answer| answer.into_inner().transactions)
}

async fn export(person: &Person, resume_token: &str) -> Vec<wire::ExportTransactionsResponse> {
    let request =
        wire::ExportTransactionsRequest { resume_token: resume_token.to_owned(), ..Default::default() };
    let mut stream = person.payments().export_transactions(request).await.unwrap().into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        chunks.push(chunk);
    }
    chunks
}

fn table(chunks: &[wire::ExportTransactionsResponse]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.csv.clone()).collect()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

async fn buy(t: &App, person: &Person) -> wire::CreateCheckoutResponse {
    let started = checkout(person, "pro").await;
    press(t, &started, &[("simulator_action", "pay")]).await;
    t.run_jobs().await;
    started
}

/// Books many receipts of an organisation, a cent more in each than in the one before, one in each second.
async fn fill(t: &App, organization: OrganizationId, count: u64) {
    let now = t.world.now();
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let all: Vec<u64> = (0..count).collect();
    for part in all.chunks(1_000) {
        let ids: Vec<(u64, capecontrol::base::Id<()>)> =
            part.iter().map(|number| (*number, t.world.id())).collect();
        tx.sql("INSERT INTO ledger_transactions (id, organization_id, kind, memo, created_at) VALUES $rows")
            .rows(&ids, |statement, (number, id)| {
                let at = now.minus(std::time::Duration::from_secs(100_000 - number));
                let memo = format!("=HYPERLINK(\"http://evil.example\") {number}");
                statement.bind(*id).bind(organization).bind("unapplied_receipt").bind(memo).bind(at)
            })
            .execute()
            .await
            .unwrap();
        tx.sql("INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor) VALUES $rows")
            .rows(ids.iter().flat_map(|of| [(of, 1), (of, -1)]), |statement, ((number, id), sign)| {
                let account = if sign > 0 { "payfast_clearing" } else { "unapplied_receipts" };
                let amount = sign * (1 + i64::try_from(*number).unwrap());
                let position = if sign > 0 { 1_i64 } else { 2 };
                statement.bind(*id).bind(position).bind(account).bind("ZAR").bind(amount)
            })
            .execute()
            .await
            .unwrap();
        tx.sql("INSERT INTO ledger_postings (transaction_id, posted_at) VALUES $rows")
            .rows(&ids, |statement, (_, id)| statement.bind(*id).bind(now))
            .execute()
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

/// So many whole rand.
fn rand(units: i64) -> google::r#type::Money {
    google::r#type::Money { currency_code: "ZAR".to_owned(), units, nanos: 0 }
}

on_both! {
    async fn a_sale_is_listed_exported_and_reported(t: App) {
        let ada = t.register("ada@example.com").await;
        let sold = buy(&t, &ada).await;
        t.advance(std::time::Duration::from_secs(60));
        let mut listed = transactions(&ada, "").await.unwrap();
        listed.sort_by_key(|found| found.kind);
        let [issued, paid] = listed.as_slice() else { panic!("{listed:#?}") };
        assert_eq!(issued.kind(), wire::TransactionKind::InvoiceIssued);
        assert_eq!(paid.kind(), wire::TransactionKind::Settlement);
        let sale = (&Some(rand(529)), &Some(rand(69)), &Some(rand(460)));
        assert_eq!((&issued.gross, &issued.tax, &issued.revenue), sale);
        assert_eq!((&issued.fee, &issued.payment_id), (&Some(rand(0)), &String::new()));
        assert_eq!((&paid.gross, &paid.tax, &paid.invoice_id), (&Some(rand(529)), &Some(rand(0)), &sold.invoice_id));
        assert_eq!((&paid.payment_id, paid.test), (&sold.payment_id, true));
        assert_eq!(paid.invoice_number, "TEST-000001");
        let told = payment(&ada, &sold.payment_id).await.unwrap();
        assert_eq!((&paid.fee, &paid.provider_payment_id), (&told.fee, &told.provider_payment_id));

        // The table, byte for byte.
        let fee = paid.fee.clone().unwrap();
        let fee = format!("{}.{:02}", fee.units, fee.nanos / 10_000_000);
        let net = paid.net.clone().unwrap();
        let net = format!("{}.{:02}", net.units, net.nanos / 10_000_000);
        let home = ada.organization_id;
        let (payment, invoice, known_as) = (&sold.payment_id, &sold.invoice_id, &paid.provider_payment_id);
        let issued_row = format!(
            "{},2026-11-20T10:00:00Z,invoice_issued,{home},,{invoice},TEST-000001,,,ZAR,\
             529.00,0.00,529.00,69.00,460.00,an invoice was issued,true\r\n", issued.id);
        let paid_row = format!(
            "{},2026-11-20T10:00:00Z,settlement,{home},{payment},{invoice},TEST-000001,payfast,{known_as},ZAR,\
             529.00,{fee},{net},0.00,0.00,payment of an invoice,true\r\n", paid.id);
        let mut rows = [(&issued.id, issued_row), (&paid.id, paid_row)];
        rows.sort();
        let header = "id,time,kind,organization_id,payment_id,invoice_id,invoice_number,provider,provider_payment_id,\
                      currency,gross,fee,net,tax,revenue,memo,test\r\n";
        let exported = String::from_utf8(table(&export(&ada, "").await)).unwrap();
        assert_eq!(exported, format!("{header}{}{}", rows[0].1, rows[1].1));

        let interval = wire::ReportInterval::Week.into();
        let request = wire::GetPaymentReportRequest { interval, ..Default::default() };
        let report = ada.payments().get_payment_report(request).await.unwrap().into_inner();
        assert_eq!(report.periods.len(), 5);
        let last = report.periods.last().unwrap();
        // Monday, the 16th of November, at midnight in South Africa.
        assert_eq!(last.start_time.unwrap().seconds, 1_794_780_000);
        let total = report.total.unwrap();
        assert_eq!(total.figures, last.figures);
        let [figures] = total.figures.as_slice() else { panic!("{total:#?}") };
        assert_eq!((figures.currency_code.as_str(), figures.test), ("ZAR", true));
        assert_eq!((&figures.gross, &figures.tax, &figures.revenue), sale);
        assert_eq!((&figures.invoiced, &figures.fees, &figures.net), (&Some(rand(529)), &paid.fee, &paid.net));
        let counts = figures.payments.clone().unwrap();
        assert_eq!((counts.succeeded_count, counts.success_rate_percent.as_str()), (1, "100.00"));

        // Payments, by what the provider calls them.
        let provider_reference = paid.provider_payment_id.clone();
        let request = wire::ListPaymentsRequest { provider_reference, ..Default::default() };
        let found = ada.payments().list_payments(request).await.unwrap().into_inner().payments;
        assert_eq!(found.iter().map(|payment| &payment.id).collect::<Vec<_>>(), [&sold.payment_id]);

        // Who runs the platform sees it too, and nobody else does.
        let (admin, eve) = (t.admin().await, t.register("eve@example.com").await);
        assert_eq!(transactions(&admin, PLATFORM).await.unwrap().len(), 2);
        assert_eq!(transactions(&admin, &home.to_string()).await.unwrap().len(), 2);
        assert_eq!(transactions(&eve, PLATFORM).await.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(transactions(&eve, &home.to_string()).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(transactions(&eve, "").await.unwrap(), []);
    }

    async fn a_program_reads_with_its_scope(t: App) {
        let ada = t.register("ada@example.com").await;
        fill(&t, ada.organization_id, 3).await;
        let mut client = PaymentsServiceClient::new(t.channel());
        for (scope, allowed) in [("payments.read", true), ("chat.write", false)] {
            let request = auth::CreateApiKeyRequest {
                name: "Books".to_owned(),
                scopes: vec![scope.to_owned()],
                ..Default::default()
            };
            let key = ada.api_keys().create_api_key(request).await.unwrap().into_inner().key;
            let payments = client.list_payments(keyed(&key, wire::ListPaymentsRequest::default())).await;
            let listed = client.list_transactions(keyed(&key, wire::ListTransactionsRequest::default())).await;
            let exported = client.export_transactions(keyed(&key, wire::ExportTransactionsRequest::default())).await;
            if allowed {
                payments.unwrap();
                assert_eq!(listed.unwrap().into_inner().transactions.len(), 3);
                let chunk = exported.unwrap().into_inner().message().await.unwrap().unwrap();
                let csv = String::from_utf8(chunk.csv).unwrap();
                // What the memo of a receipt tries is text.
                assert!(csv.contains(",\"'=HYPERLINK(\"\"http://evil.example\"\") 2\",false\r\n"), "{csv}");
            } else {
                let refused = [payments.unwrap_err(), listed.unwrap_err(), exported.unwrap_err()];
                assert_eq!(refused.map(|status| reason(&status)), ["API_KEY_SCOPE"; 3]);
            }
            let report = client.get_payment_report(keyed(&key, wire::GetPaymentReportRequest::default())).await;
            assert_eq!(reason(&report.unwrap_err()), "API_KEY_NOT_ACCEPTED");
            let foreign = wire::ListTransactionsRequest { organization_id: PLATFORM.to_owned(), ..Default::default() };
            let refused = client.list_transactions(keyed(&key, foreign)).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
    }

    async fn a_large_export_resumes_from_any_chunk(t: App) {
        const ROWS: u64 = 20_000;
        let ada = t.register("ada@example.com").await;
        fill(&t, ada.organization_id, ROWS).await;
        let whole = export(&ada, "").await;
        assert_eq!(whole.len(), 40);
        let largest = whole.iter().map(|chunk| chunk.csv.len()).max().unwrap();
        assert!(largest < 256 * 1_024, "a chunk has {largest} bytes");
        let bytes = table(&whole);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let rows: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(rows.len(), 1 + usize::try_from(ROWS).unwrap());
        for (number, row) in (0..).zip(&rows[1..]) {
            let cents: i64 = number + 1;
            assert!(row.contains(&format!(",ZAR,{}.{:02},0.00,", cents / 100, cents % 100)), "{row}");
        }
        for cut in [0, 17, 38, 39] {
            let rest = table(&export(&ada, &whole[cut].resume_token).await);
            let before = table(&whole[..=cut]);
            assert_eq!([before, rest].concat(), bytes, "cut behind chunk {cut}");
        }
        // A token is good for its export only.
        let eve = t.register("eve@example.com").await;
        let token = whole[0].resume_token.clone();
        let kinds = vec![wire::TransactionKind::Refund.into()];
        let other = wire::ExportTransactionsRequest { resume_token: token.clone(), kinds, ..Default::default() };
        let same = wire::ExportTransactionsRequest { resume_token: token, ..Default::default() };
        for (person, request) in [(&ada, other), (&eve, same)] {
            let refused = person.payments().export_transactions(request).await.unwrap_err();
            assert_eq!(reason(&refused), "PAGE_TOKEN_MISMATCH");
        }
    }

    /// More exports that nobody reads on than there are connections to the database; then all of them are left.
    async fn a_reader_who_stops_keeps_nothing_from_others(t: App) {
        const READERS: usize = 12;
        let ada = t.register("ada@example.com").await;
        fill(&t, ada.organization_id, 20_000).await;
        let mut open = Vec::new();
        for _ in 0..READERS {
            // On a way of its own: what one reader leaves lying there is not to keep the others' answers back.
            let reader = ada.over(Endpoint::new(t.url.clone()).unwrap().connect_lazy());
            let request = wire::ExportTransactionsRequest::default();
            let mut stream = reader.payments().export_transactions(request).await.unwrap().into_inner();
            assert!(!stream.message().await.unwrap().unwrap().csv.is_empty());
            open.push(stream);
        }
        assert_eq!(transactions(&ada, "").await.unwrap().len(), 50);
        checkout(&ada, "pro").await;
        drop(open);
        assert_eq!(transactions(&ada, "").await.unwrap().len(), 50);
    }
}

fn keyed<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request
}

/// What every export has in common: nothing is read ahead, whoever may not go on is told so, and so is everybody when
/// the node drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_reads_when_it_is_asked_and_ends_with_a_reason() {
    let t = App::start(Engine::Sqlite).await;
    let ada = t.register("ada@example.com").await;
    let caller = t.node.auth.authenticate(&ada.token, Origin::default()).await.unwrap();
    let read = Arc::new(AtomicU64::new(0));
    let drain = CancellationToken::new();
    let exports = Exports::new(t.node.auth.clone(), drain.clone());
    let parts = || {
        let read = Arc::clone(&read);
        let parts = exports.parts(caller.clone(), 0_u64, move |state| {
            let read = Arc::clone(&read);
            async move {
                read.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Error>((state < 3).then_some((state, state + 1)))
            }
        });
        Box::pin(parts)
    };
    let count = || read.swap(0, Ordering::SeqCst);
    let mut whole = parts();
    assert_eq!(count(), 0);
    assert_eq!((whole.next().await.unwrap().unwrap(), count()), (0, 1));
    assert_eq!(
        (whole.next().await.unwrap().unwrap(), whole.next().await.unwrap().unwrap(), count()),
        (1, 2, 2)
    );
    assert!(whole.next().await.is_none());

    let mut drained = parts();
    drained.next().await.unwrap().unwrap();
    drain.cancel();
    count();
    let closing = drained.next().await.unwrap().unwrap_err();
    assert_eq!(
        (closing.code(), reason(&closing).as_str(), count()),
        (Code::Unavailable, "SERVER_CLOSING", 0)
    );
    assert!(drained.next().await.is_none());

    let exports = Exports::new(t.node.auth.clone(), CancellationToken::new());
    let mut revoked =
        Box::pin(exports.parts(caller.clone(), (), |()| async { Ok::<_, Error>(Some(((), ()))) }));
    revoked.next().await.unwrap().unwrap();
    let logout = auth::LogoutRequest { refresh_token: ada.refresh_token.clone(), ..Default::default() };
    AuthServiceClient::new(t.channel()).logout(logout).await.unwrap();
    let ended = revoked.next().await.unwrap().unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unauthenticated, "SESSION_REVOKED"));
}

/// A key that is revoked ends the export that it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_ends_with_its_key() {
    let t = App::start(Engine::Sqlite).await;
    let ada = t.register("ada@example.com").await;
    let request = auth::CreateApiKeyRequest {
        name: "Books".to_owned(),
        scopes: vec!["payments.read".to_owned()],
        ..Default::default()
    };
    let made = ada.api_keys().create_api_key(request).await.unwrap().into_inner();
    let caller = t.node.auth.authenticate_key(&made.key, Origin::default()).await.unwrap();
    t.node.auth.still_stands(&caller).await.unwrap();
    let revoke = auth::RevokeApiKeyRequest { api_key_id: made.api_key.unwrap().id, ..Default::default() };
    ada.api_keys().revoke_api_key(revoke).await.unwrap();
    let ended = t.node.auth.still_stands(&caller).await;
    assert!(matches!(ended, Err(Error::ApiKeyInvalid)), "{ended:?}");
}
