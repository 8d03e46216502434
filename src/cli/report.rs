//! `ledger report`: the figures of a report, printed and drawn.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Failure, Output, operator, say};
use crate::app::{Console, real};
use crate::base::{Money, OrganizationId, Timestamp};
use crate::config::Config;
use crate::db::Access;
use crate::payments::model::figures::{Figures, Interval, PaymentReport, Purse, ReportPeriod, local_date};
use crate::payments::service::BooksOf;

/// How long the longest bar is, in characters.
const BAR_CHARS: i128 = 16;
const COLUMNS: [&str; 6] = ["revenue", "tax", "paid", "fees", "given back", "left"];

pub(super) const REPORT: &str = "\
Examples:
  capecontrol ledger report
  capecontrol ledger report --by month --since 2026-01-01T00:00:00+02:00 --json

Columns: revenue without tax, its tax, what payers paid, the provider's fees, refunds and chargebacks, and what is left
of what was paid; then how many of the payments that were started succeeded, and how many failed.

Exit codes: 0 reported; 1 not done; 2 wrong arguments.";

/// What is reported.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this organisation; without it the whole platform.
    #[arg(long, value_name = "ID", value_parser = organization)]
    organization: Option<OrganizationId>,
    /// How long the periods are.
    #[arg(long, value_enum, default_value_t = By::Day)]
    by: By,
    /// From then on, as in 2026-11-01T00:00:00+02:00; without it thirty days before the end.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Until just before then; without it until now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Day,
    Week,
    Month,
}

impl From<By> for Interval {
    fn from(by: By) -> Self {
        match by {
            By::Day => Self::Day,
            By::Week => Self::Week,
            By::Month => Self::Month,
        }
    }
}

fn organization(text: &str) -> Result<OrganizationId, String> {
    text.parse().map_err(|_| "must be the id of an organisation".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "must be a time such as 2026-11-01T00:00:00Z".to_owned())
}

pub(super) async fn run(config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let payments = console.payments(config, real::world())?;
    let of = arguments.organization.map_or(BooksOf::Platform, BooksOf::Organization);
    let Arguments { by, since, until, output, .. } = arguments;
    let report = payments.get_payment_report(&operator(), of, by.into(), since, until).await;
    console.db.close().await;
    let report = report?;
    if output.json {
        for period in report.periods.iter().chain([&report.total]) {
            for (purse, figures) in &period.figures {
                say(row_json(period, *purse, figures));
            }
        }
    } else {
        for line in lines(&report) {
            say(line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row_json(period: &ReportPeriod, purse: Purse, figures: &Figures) -> Value {
    let amount = |minor| Money::new(minor, purse.currency).to_decimal_string();
    let counts = &figures.payments;
    json!({
        "start": period.period.start.to_rfc3339(),
        "end": period.period.end.to_rfc3339(),
        "currency": purse.currency.code(),
        "test": purse.test,
        "revenue": amount(figures.revenue),
        "tax": amount(figures.tax),
        "gross": amount(figures.gross),
        "fees": amount(figures.fees),
        "refunds": amount(figures.refunds),
        "chargebacks": amount(figures.chargebacks),
        "net": amount(figures.net()),
        "invoiced": amount(figures.invoiced),
        "credit_notes": amount(figures.credit_notes),
        "written_off": amount(figures.written_off),
        "payments": {
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
            "expired": counts.expired,
            "superseded": counts.superseded,
            "open": counts.open,
            "success_rate_percent": counts.success_rate_percent(),
            "error_rate_percent": counts.error_rate_percent(),
        },
    })
}

/// The report for people: a table for each kind of money.
fn lines(report: &PaymentReport) -> Vec<String> {
    let purses: BTreeSet<Purse> = report.total.figures.keys().copied().collect();
    if purses.is_empty() {
        return vec!["Nothing was booked, and no payment was started.".to_owned()];
    }
    purses.into_iter().flat_map(|purse| table(report, purse)).collect()
}

fn table(report: &PaymentReport, purse: Purse) -> Vec<String> {
    let of = |period: &ReportPeriod| period.figures.get(&purse).copied().unwrap_or_default();
    let most = report.periods.iter().map(|period| of(period).gross).max().unwrap_or(0);
    let test = if purse.test { ", tests" } else { "" };
    let mut lines = vec![format!("{}{test}", purse.currency.code())];
    let heads: String = COLUMNS.iter().map(|name| format!(" {name:>12}")).collect();
    lines.push(format!("{:<10}{heads}{:>7}{:>7}", "from", "good", "failed"));
    for period in &report.periods {
        let figures = of(period);
        let date = local_date(period.period.start).to_string();
        lines.push(line(&date, purse, &figures, &bar(figures.gross, most)));
    }
    lines.push(line("total", purse, &of(&report.total), ""));
    lines
}

fn line(name: &str, purse: Purse, figures: &Figures, bar: &str) -> String {
    let back = figures.refunds.saturating_add(figures.chargebacks);
    let amounts = [figures.revenue, figures.tax, figures.gross, figures.fees, back, figures.net()];
    let amounts: String = amounts
        .iter()
        .map(|minor| format!(" {:>12}", Money::new(*minor, purse.currency).to_decimal_string()))
        .collect();
    let counts = &figures.payments;
    format!("{name:<10}{amounts}{:>7}{:>7}  {bar}", counts.succeeded, counts.failed).trim_end().to_owned()
}

/// A bar of this share of the longest; what is anything at all has at least one mark.
fn bar(amount: i64, most: i64) -> String {
    if amount <= 0 || most <= 0 {
        return String::new();
    }
    let marks = (i128::from(amount) * BAR_CHARS / i128::from(most)).max(1);
    "#".repeat(usize::try_from(marks).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Currency;
    use crate::payments::model::period::Period;

    #[test]
    fn a_report_is_a_table_with_bars() {
        let purse = Purse { currency: Currency::Zar, test: true };
        let day = |number: i64, gross: i64| {
            let at = |day: i64| Timestamp::from_seconds(1_795_125_600 + day * 86_400);
            let figures = Figures { gross, fees: gross / 100, ..Figures::default() };
            let figures =
                if gross > 0 { [(purse, figures)].into() } else { std::collections::BTreeMap::new() };
            ReportPeriod { period: Period { start: at(number), end: at(number + 1) }, figures }
        };
        let days = vec![day(0, 60_000), day(1, 0), day(2, 20_000), day(3, 1)];
        let range = Period { start: days[0].period.start, end: days[3].period.end };
        let report = PaymentReport::of(range, days);
        let expected = "\
ZAR, tests
from            revenue          tax         paid         fees   given back         left   good failed
2026-11-20         0.00         0.00       600.00         6.00         0.00       594.00      0      0  ################
2026-11-21         0.00         0.00         0.00         0.00         0.00         0.00      0      0
2026-11-22         0.00         0.00       200.00         2.00         0.00       198.00      0      0  #####
2026-11-23         0.00         0.00         0.01         0.00         0.00         0.01      0      0  #
total              0.00         0.00       800.01         8.00         0.00       792.01      0      0";
        assert_eq!(lines(&report).join("\n"), expected);
        let nothing = PaymentReport::of(range, Vec::new());
        assert_eq!(lines(&nothing), ["Nothing was booked, and no payment was started."]);
    }
}
