//! The wire of what was paid and booked: lists of payments and transactions, exports, reports.

use std::pin::Pin;

use futures_util::{Stream, TryStreamExt as _};
use serde::Serialize;
use tonic::{Request, Response, Status};

use super::{Rpc, answer};
use crate::base::{Currency, Money, Violations};
use crate::payments::model::PaymentStatus;
use crate::payments::model::figures::{Figures, Interval, Purse, ReportPeriod};
use crate::payments::model::ledger::Kind;
use crate::payments::model::transaction::Transaction;
use crate::payments::service::{
    BooksOf, Cursor, ExportPlace, ExportTransactions, Exporting, PaymentFilter, TransactionFilter,
};
use crate::proto::capecontrol::payments::v1 as wire;
use crate::proto::google;
use crate::rpc::{self, decode, encode};

const LIST_PAYMENTS: &str = "payments.ListPayments";
const LIST_TRANSACTIONS: &str = "payments.ListTransactions";
const EXPORT_TRANSACTIONS: &str = "payments.ExportTransactions";
/// What stands for the whole platform where an organisation is named.
const PLATFORM: &str = "-";
/// The longest id of a payment at a provider, in characters.
const REFERENCE_CHARS_MAX: usize = 100;

/// The chunks of an export.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<wire::ExportTransactionsResponse, Status>> + Send>>;

impl Rpc {
    pub(super) async fn payments_page(
        &self,
        request: Request<wire::ListPaymentsRequest>,
    ) -> Result<Response<wire::ListPaymentsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let organization_id = decode::optional_id(&mut v, "organization_id", &request.organization_id);
        let filter = payment_filter(&mut v, &request);
        v.finish()?;
        let question = same_but_for_the_page(&request, |asked| {
            asked.page_size = 0;
            asked.page_token = String::new();
        });
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<Cursor>(&caller, LIST_PAYMENTS, &question, size, token)?;
        let listed = self.service.list_payments(&caller, organization_id, &filter, page.after, page.probe());
        let mut rows = listed.await?;
        let next = self.pages.cut(&caller, LIST_PAYMENTS, &question, page.size, &mut rows, |row| Cursor {
            at: row.payment.created_at,
            id: row.payment.id.uuid(),
        });
        Ok(Response::new(wire::ListPaymentsResponse {
            payments: rows.into_iter().map(|row| answer::payment(row.payment, row.refunded)).collect(),
            next_page_token: next,
        }))
    }

    pub(super) async fn transactions_page(
        &self,
        request: Request<wire::ListTransactionsRequest>,
    ) -> Result<Response<wire::ListTransactionsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let of = books_of(&mut v, &request.organization_id);
        let filter = transaction_filter(&mut v, &request);
        v.finish()?;
        let question = same_but_for_the_page(&request, |asked| {
            asked.page_size = 0;
            asked.page_token = String::new();
        });
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<Cursor>(&caller, LIST_TRANSACTIONS, &question, size, token)?;
        let found = self.service.list_transactions(&caller, of, &filter, page.after, page.size).await?;
        let sealed = found.next.map(|place| self.pages.seal(&caller, LIST_TRANSACTIONS, &question, &place));
        Ok(Response::new(wire::ListTransactionsResponse {
            transactions: found.transactions.into_iter().map(transaction).collect(),
            next_page_token: sealed.unwrap_or_default(),
        }))
    }

    pub(super) async fn transactions_table(
        &self,
        request: Request<wire::ExportTransactionsRequest>,
    ) -> Result<Response<Chunks>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let of = books_of(&mut v, &request.organization_id);
        let kinds = kinds(&mut v, &request.kinds);
        let since = decode::optional_time(&mut v, "start_time", request.start_time);
        let until = decode::optional_time(&mut v, "end_time", request.end_time);
        v.finish()?;
        let question = same_but_for_the_page(&request, |asked| asked.resume_token = String::new());
        let token = &request.resume_token;
        let place = self.pages.open::<ExportPlace>(&caller, EXPORT_TRANSACTIONS, &question, 0, token)?.after;
        let command = ExportTransactions { of, kinds, since, until, place };
        let exporting = self.service.export_transactions(caller.clone(), command).await?;
        let service = self.service.clone();
        let chunks = self.exports.parts(caller.clone(), exporting, move |mut exporting: Exporting| {
            let service = service.clone();
            async move {
                let chunk = service.next_table_chunk(&mut exporting).await?;
                Ok::<_, super::Error>(chunk.map(|chunk| (chunk, exporting)))
            }
        });
        let pages = self.pages.clone();
        let chunks = chunks.map_ok(move |chunk| wire::ExportTransactionsResponse {
            csv: chunk.csv.into_bytes(),
            resume_token: pages.seal(&caller, EXPORT_TRANSACTIONS, &question, &chunk.place),
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    pub(super) async fn report(
        &self,
        request: Request<wire::GetPaymentReportRequest>,
    ) -> Result<Response<wire::GetPaymentReportResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let of = books_of(&mut v, &request.organization_id);
        let interval = interval(&mut v, request.interval);
        let since = decode::optional_time(&mut v, "start_time", request.start_time);
        let until = decode::optional_time(&mut v, "end_time", request.end_time);
        v.finish()?;
        let report = self.service.get_payment_report(&caller, of, interval, since, until).await?;
        Ok(Response::new(wire::GetPaymentReportResponse {
            periods: report.periods.into_iter().map(period).collect(),
            total: Some(period(report.total)),
        }))
    }
}

/// What a token is bound to: a request as it is on the wire, without what says where in the answer it begins.
#[derive(Serialize)]
struct Question(Vec<u8>);

fn same_but_for_the_page<M: prost::Message + Clone>(request: &M, clear: impl FnOnce(&mut M)) -> Question {
    let mut asked = request.clone();
    clear(&mut asked);
    Question(asked.encode_to_vec())
}

fn books_of(v: &mut Violations, organization: &str) -> BooksOf {
    match organization {
        PLATFORM => BooksOf::Platform,
        named => match decode::optional_id(v, "organization_id", named) {
            Some(organization) => BooksOf::Organization(organization),
            None => BooksOf::Own,
        },
    }
}

fn payment_filter(v: &mut Violations, request: &wire::ListPaymentsRequest) -> PaymentFilter {
    let reference = &request.provider_reference;
    // PostgreSQL takes no NUL in a text.
    let plain = reference.chars().count() <= REFERENCE_CHARS_MAX && !reference.chars().any(char::is_control);
    v.check(plain, "provider_reference", "must be an id as the provider tells it, at most 100 characters");
    let oldest_first = match wire::PaymentOrder::try_from(request.order) {
        Ok(wire::PaymentOrder::Unspecified | wire::PaymentOrder::NewestFirst) => false,
        Ok(wire::PaymentOrder::OldestFirst) => true,
        Err(_) => {
            v.add("order", "must be an order that the platform knows");
            false
        }
    };
    PaymentFilter {
        statuses: statuses(v, &request.statuses),
        since: decode::optional_time(v, "start_time", request.start_time),
        until: decode::optional_time(v, "end_time", request.end_time),
        invoice_id: decode::optional_id(v, "invoice_id", &request.invoice_id),
        provider_payment_id: Some(reference.clone()).filter(|reference| !reference.is_empty()),
        oldest_first,
    }
}

fn statuses(v: &mut Violations, numbers: &[i32]) -> Vec<PaymentStatus> {
    let status = |number: &i32| match wire::PaymentStatus::try_from(*number) {
        Ok(wire::PaymentStatus::Created) => Some(PaymentStatus::Created),
        Ok(wire::PaymentStatus::Pending) => Some(PaymentStatus::Pending),
        Ok(wire::PaymentStatus::Succeeded) => Some(PaymentStatus::Succeeded),
        Ok(wire::PaymentStatus::Failed) => Some(PaymentStatus::Failed),
        Ok(wire::PaymentStatus::Cancelled) => Some(PaymentStatus::Cancelled),
        Ok(wire::PaymentStatus::Expired) => Some(PaymentStatus::Expired),
        Ok(wire::PaymentStatus::Superseded) => Some(PaymentStatus::Superseded),
        Ok(wire::PaymentStatus::Unspecified) | Err(_) => None,
    };
    let known: Vec<PaymentStatus> = numbers.iter().filter_map(status).collect();
    v.check(known.len() == numbers.len(), "statuses", "must be statuses that the platform knows");
    known
}

fn transaction_filter(v: &mut Violations, request: &wire::ListTransactionsRequest) -> TransactionFilter {
    let gross_min = amount(v, "min_gross", request.min_gross.as_ref());
    let gross_max = amount(v, "max_gross", request.max_gross.as_ref());
    let agree = gross_min.zip(gross_max).is_none_or(|(least, most)| least.currency == most.currency);
    v.check(agree, "max_gross", "must be in the same currency as min_gross");
    TransactionFilter {
        kinds: kinds(v, &request.kinds),
        since: decode::optional_time(v, "start_time", request.start_time),
        until: decode::optional_time(v, "end_time", request.end_time),
        gross_min,
        gross_max,
        payment_id: decode::optional_id(v, "payment_id", &request.payment_id),
        invoice_id: decode::optional_id(v, "invoice_id", &request.invoice_id),
    }
}

fn amount(v: &mut Violations, field: &str, amount: Option<&google::r#type::Money>) -> Option<Money> {
    let amount = amount?;
    let read = Currency::parse(&amount.currency_code).and_then(|currency| {
        let scale = 10_i64.pow(currency.exponent());
        let nanos_per_minor = 1_000_000_000 / scale;
        let nanos = i64::from(amount.nanos);
        let fits = nanos.abs() < 1_000_000_000 && nanos % nanos_per_minor == 0;
        let agree = amount.units == 0 || nanos == 0 || (amount.units < 0) == (nanos < 0);
        let minor = amount.units.checked_mul(scale)?.checked_add(nanos / nanos_per_minor)?;
        (fits && agree).then_some(Money::new(minor, currency))
    });
    v.check(
        read.is_some(),
        field,
        "must be an amount in whole cents, in a currency that the platform keeps books in",
    );
    read
}

fn kinds(v: &mut Violations, numbers: &[i32]) -> Vec<Kind> {
    let kind = |number: &i32| match wire::TransactionKind::try_from(*number) {
        Ok(wire::TransactionKind::InvoiceIssued) => Some(Kind::InvoiceIssued),
        Ok(wire::TransactionKind::Settlement) => Some(Kind::Settlement),
        Ok(wire::TransactionKind::UnappliedReceipt) => Some(Kind::UnappliedReceipt),
        Ok(wire::TransactionKind::CreditNote) => Some(Kind::CreditNote),
        Ok(wire::TransactionKind::WriteOff) => Some(Kind::WriteOff),
        Ok(wire::TransactionKind::Refund) => Some(Kind::Refund),
        Ok(wire::TransactionKind::Chargeback) => Some(Kind::Chargeback),
        Ok(wire::TransactionKind::ProviderCharge) => Some(Kind::ProviderCharge),
        Ok(wire::TransactionKind::BankPayout) => Some(Kind::BankPayout),
        Ok(wire::TransactionKind::Unspecified) | Err(_) => None,
    };
    let known: Vec<Kind> = numbers.iter().filter_map(kind).collect();
    v.check(known.len() == numbers.len(), "kinds", "must be kinds that the platform knows");
    known
}

const fn wire_kind(kind: Kind) -> wire::TransactionKind {
    match kind {
        Kind::InvoiceIssued => wire::TransactionKind::InvoiceIssued,
        Kind::Settlement => wire::TransactionKind::Settlement,
        Kind::UnappliedReceipt => wire::TransactionKind::UnappliedReceipt,
        Kind::CreditNote => wire::TransactionKind::CreditNote,
        Kind::WriteOff => wire::TransactionKind::WriteOff,
        Kind::Refund => wire::TransactionKind::Refund,
        Kind::Chargeback => wire::TransactionKind::Chargeback,
        Kind::ProviderCharge => wire::TransactionKind::ProviderCharge,
        Kind::BankPayout => wire::TransactionKind::BankPayout,
    }
}

fn interval(v: &mut Violations, number: i32) -> Interval {
    match wire::ReportInterval::try_from(number) {
        Ok(wire::ReportInterval::Unspecified | wire::ReportInterval::Day) => Interval::Day,
        Ok(wire::ReportInterval::Week) => Interval::Week,
        Ok(wire::ReportInterval::Month) => Interval::Month,
        Err(_) => {
            v.add("interval", "must be an interval that the platform knows");
            Interval::Day
        }
    }
}

fn transaction(transaction: Transaction) -> wire::Transaction {
    let Transaction { about, currency, amounts } = transaction;
    let money = |minor| Some(encode::money(Money::new(minor, currency)));
    wire::Transaction {
        id: about.id.to_string(),
        organization_id: about.organization_id.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(encode::timestamp(about.created_at)),
        kind: wire_kind(about.kind).into(),
        payment_id: about.payment_id.map(|id| id.to_string()).unwrap_or_default(),
        invoice_id: about.invoice_id.map(|id| id.to_string()).unwrap_or_default(),
        invoice_number: about.invoice_number.unwrap_or_default(),
        provider: about.provider.map(|provider| provider.as_str().to_owned()).unwrap_or_default(),
        provider_payment_id: about.provider_payment_id.unwrap_or_default(),
        gross: money(amounts.gross),
        fee: money(amounts.fee),
        net: money(amounts.net()),
        tax: money(amounts.tax),
        revenue: money(amounts.revenue),
        memo: about.memo,
        test: about.test,
    }
}

fn period(reported: ReportPeriod) -> wire::PaymentReportPeriod {
    wire::PaymentReportPeriod {
        start_time: Some(encode::timestamp(reported.period.start)),
        end_time: Some(encode::timestamp(reported.period.end)),
        figures: reported.figures.iter().map(|(purse, found)| figures(*purse, found)).collect(),
    }
}

fn figures(purse: Purse, figures: &Figures) -> wire::PaymentFigures {
    let money = |minor| Some(encode::money(Money::new(minor, purse.currency)));
    let counts = &figures.payments;
    wire::PaymentFigures {
        currency_code: purse.currency.code().to_owned(),
        test: purse.test,
        revenue: money(figures.revenue),
        tax: money(figures.tax),
        gross: money(figures.gross),
        fees: money(figures.fees),
        refunds: money(figures.refunds),
        chargebacks: money(figures.chargebacks),
        net: money(figures.net()),
        invoiced: money(figures.invoiced),
        credit_notes: money(figures.credit_notes),
        written_off: money(figures.written_off),
        payments: Some(wire::PaymentCounts {
            succeeded_count: counts.succeeded,
            failed_count: counts.failed,
            cancelled_count: counts.cancelled,
            expired_count: counts.expired,
            superseded_count: counts.superseded,
            open_count: counts.open,
            success_rate_percent: counts.success_rate_percent().unwrap_or_default(),
            error_rate_percent: counts.error_rate_percent().unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(currency: &str, units: i64, nanos: i32) -> Option<Money> {
        let mut v = Violations::new();
        let asked = google::r#type::Money { currency_code: currency.to_owned(), units, nanos };
        let read = amount(&mut v, "min_gross", Some(&asked));
        assert_eq!(read.is_none(), !v.is_empty());
        read
    }

    #[test]
    fn only_whole_cents_of_known_currencies_are_amounts() {
        assert_eq!(read("ZAR", 529, 500_000_000), Some(Money::new(52_950, Currency::Zar)));
        for (currency, units, nanos) in [
            ("", 1, 0),
            ("JPY", 1, 0),
            ("ZAR", 1, 1),
            ("ZAR", 1, -10_000_000),
            ("ZAR", 0, 1_000_000_000),
            ("ZAR", i64::MAX, 0),
        ] {
            assert_eq!(read(currency, units, nanos), None, "{currency} {units} {nanos}");
        }
    }

    proptest! {
        #[test]
        fn amounts_are_read_as_they_are_written(minor: i64) {
            let asked = encode::money(Money::new(minor, Currency::Zar));
            prop_assert_eq!(read("ZAR", asked.units, asked.nanos), Some(Money::new(minor, Currency::Zar)));
        }
    }
}
