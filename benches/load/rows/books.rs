//! What much in the books costs whoever looks at them: a page of invoices out of many beside one out of few, and the
//! memory that it takes to hand all of it out.

use std::sync::Arc;

use capecontrol::proto::capecontrol::payments::v1::{
    ExportTransactionsRequest, InvoiceOrder, ListInvoicesRequest,
};

use super::calls::{CONNECTIONS, SENDERS};
use super::{TURN, row};
use crate::client::Crowd;
use crate::control::repeat;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::{Place, Program};
use crate::report::figure;
use crate::scene::Places;
use crate::{Outcome, fill};

/// Invoices of an organisation that has few.
const FEW: u64 = 1_000;
/// The first pages of these.
const ORDERS: [(InvoiceOrder, &str); 4] = [
    (InvoiceOrder::Newest, "newest"),
    (InvoiceOrder::Total, "total"),
    (InvoiceOrder::Due, "due"),
    (InvoiceOrder::Customer, "customer"),
];
/// How much more memory an export may take, in MB.
const EXPORT_MB: f64 = 32.0;

/// Pages in several orders, and exports, of an organisation with many invoices.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let (few, many) = (FEW, fill::rows()?);
    let small = places.with_books("few_books", few).await?;
    let large = places.with_books("many_books", many).await?;
    let mut rows = pages(places, (&small, few), (&large, many)).await?;
    rows.push(exports(places, &small, (&large, many)).await?);
    Ok(rows)
}

async fn pages(places: &Places, few: (&Place, u64), many: (&Place, u64)) -> Outcome<Vec<Row>> {
    let (small, large) = (Program::platform(few.0).await?, Program::platform(many.0).await?);
    let those = Arc::new(Crowd::sign_in(&small.url, &places.scene, CONNECTIONS).await?);
    let these = Arc::new(Crowd::sign_in(&large.url, &places.scene, CONNECTIONS).await?);
    let grown = format!("{}→{}", figure(few.1 as f64), figure(many.1 as f64));
    let mut rows = Vec::new();
    for (order, name) in ORDERS {
        let turn = async |program, crowd| pages_read(program, crowd, order).await;
        turn(&large, &these).await?;
        turn(&small, &those).await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((turn(&large, &these).await?, turn(&small, &those).await?));
        }
        let name = format!("a page of invoices, {grown}, {name}");
        rows.push(row(places, name, "calls/s", Target::RatioAtLeast(0.5), rounds));
    }
    small.stop().await?;
    large.stop().await?;
    Ok(rows)
}

async fn pages_read(program: &Program, crowd: &Arc<Crowd>, order: InvoiceOrder) -> Outcome<Round> {
    let (crowd, before) = (Arc::clone(crowd), program.cpu()?);
    let (count, elapsed) = repeat(SENDERS, TURN, move |caller, _| {
        let mut invoices = crowd.invoices(caller, 0);
        async move {
            let request = ListInvoicesRequest { order: order.into(), ..ListInvoicesRequest::default() };
            let page = invoices.list_invoices(request).await?.into_inner();
            if page.next_page_token.is_empty() { Err("a page is not full".into()) } else { Ok(()) }
        }
    })
    .await?;
    Ok(Round::rate(count, elapsed, program.cpu()? - before))
}

/// Beside the same of few transactions. Each on a server that has just started, for memory that was once taken is used
/// again.
async fn exports(places: &Places, small: &Place, large: (&Place, u64)) -> Outcome<Row> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((export(places, large.0, large.1).await?, export(places, small, FEW).await?));
    }
    let name = format!("memory for an export of {} transactions", figure(large.1 as f64));
    Ok(row(places, name, "MB", Target::ValueAtMost(EXPORT_MB), rounds))
}

async fn export(places: &Places, place: &Place, expected: u64) -> Outcome<Round> {
    let program = Program::platform(place).await?;
    let crowd = Crowd::sign_in(&program.url, &places.scene, 1).await?;
    let before = program.resident()?;
    program.forget_peak()?;
    let request = ExportTransactionsRequest::default();
    let mut chunks = crowd.payments(0, 0).export_transactions(request).await?.into_inner();
    let mut lines = 0;
    while let Some(chunk) = chunks.message().await? {
        // Whole rows, each with its end.
        lines += chunk.csv.split(|byte| *byte == b'\n').count() as u64 - 1;
    }
    // The first line names the columns; a transaction may have several.
    if lines <= expected {
        return Err(format!("an export of {expected} transactions has {lines} lines").into());
    }
    let grown = program.peak()? - before;
    program.stop().await?;
    Ok(Round::plain(grown / 1e6))
}
