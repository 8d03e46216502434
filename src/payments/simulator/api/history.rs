//! The history of the merchant's account, as the CSV that PayFast writes.

use time::{Date, Duration, Month, PrimitiveDateTime, Time};

use super::refunds::local_text;
use super::{Call, Reply, nothing_here};
use crate::base::Timestamp;
use crate::db;
use crate::payments::payfast::api::history::grouped_text;
use crate::payments::payfast::verdict::amount_text;
use crate::payments::simulator::books::{AHEAD, local_day};
use crate::payments::simulator::recurring::day;
use crate::payments::simulator::{SCOPE, Simulator};
use crate::payments::store::simulator::account::{self, Entry};

/// How many rows are told at once, and when it is not said how many.
const ROWS_MAX: i64 = 1_000;

const COLUMNS: [&str; 14] = [
    "Date",
    "Type",
    "Sign",
    "Party",
    "Name",
    "Description",
    "Currency",
    "Funding Type",
    "Gross",
    "Fee",
    "Net",
    "Balance",
    "M Payment ID",
    "PF Payment ID",
];
/// The shop's own fields, in PayFast's order of columns.
const OWN: [&str; 10] = [
    "custom_str1",
    "custom_int1",
    "custom_str2",
    "custom_int2",
    "custom_str3",
    "custom_str4",
    "custom_str5",
    "custom_int3",
    "custom_int4",
    "custom_int5",
];

impl Simulator {
    pub(super) async fn history(&self, call: &Call<'_>, span: Option<&str>) -> Result<Reply, db::Error> {
        let now = self.world.now();
        let asked = match span {
            Some("daily" | "weekly" | "monthly") | None => days(call, span, local_day(now)),
            Some(_) => Err(nothing_here()),
        };
        let page = || -> Result<(i64, i64), Reply> {
            let (limit, offset) =
                (call.whole("limit")?.unwrap_or(ROWS_MAX), call.whole("offset")?.unwrap_or(0));
            let fits = (1..=ROWS_MAX).contains(&limit) && offset >= 0;
            if fits { Ok((limit, offset)) } else { Err(wrong("limit")) }
        };
        let ((from, to), (limit, offset)) = match asked.and_then(|days| Ok((days, page()?))) {
            Ok(asked) => asked,
            Err(reply) => return Ok(reply),
        };
        let mut tx = self.db.begin(SCOPE).await?;
        self.complete_refunds(&mut tx).await?;
        let span = (midnight(from), midnight(to.next_day().unwrap_or(to)));
        let entries = account::history(&mut tx, span, limit, offset).await?;
        tx.commit().await?;
        Ok(Reply::text("text/csv", csv(&entries)))
    }
}

/// The first day and the last that are asked for.
fn days(call: &Call<'_>, span: Option<&str>, today: Date) -> Result<(Date, Date), Reply> {
    let given = |name: &str, default: Date| match call.given(name) {
        None => Ok(default),
        Some(text) => day(text).ok_or_else(|| wrong(name)),
    };
    let first = |date: Date| date.replace_day(1).unwrap_or(date);
    match span {
        None => Ok((given("from", first(today))?, given("to", today)?)),
        Some("daily") => given("date", today).map(|date| (date, date)),
        Some("weekly") => {
            let monday = today - Duration::days(i64::from(today.weekday().number_days_from_monday()));
            given("date", monday).map(|date| (date, date + Duration::days(6)))
        }
        Some(_) => {
            let month = match call.given("date") {
                None => first(today),
                Some(text) => month(text).ok_or_else(|| wrong("date"))?,
            };
            let last = time::util::days_in_month(month.month(), month.year());
            Ok((month, month.replace_day(last).unwrap_or(month)))
        }
    }
}

fn wrong(name: &str) -> Reply {
    Reply::failure(400, &format!("{name} : is not according to specification"))
}

/// Reads a month such as `2026-11` as its first day.
fn month(text: &str) -> Option<Date> {
    let (year, month) = text.split_once('-')?;
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, 1).ok().filter(|_| text.len() == 7)
}

/// When a day begins by South Africa's clocks.
fn midnight(day: Date) -> Timestamp {
    Timestamp::from_utc(PrimitiveDateTime::new(day, Time::MIDNIGHT).assume_utc()).minus(AHEAD)
}

/// PayFast's CSV: names in quotes, and values in quotes where they have a blank or a comma.
fn csv(entries: &[Entry]) -> String {
    let names = COLUMNS.iter().map(|name| format!("\"{name}\""));
    let own = OWN.iter().map(|name| format!("\"{}\"", name.replace('_', " ")));
    let mut text = names.chain(own).collect::<Vec<_>>().join(",");
    text.push('\n');
    for entry in entries {
        text.push_str(&row(entry));
        text.push('\n');
    }
    text
}

fn row(entry: &Entry) -> String {
    let net = entry.gross_minor.saturating_add(entry.fee_minor);
    let values = [
        local_text(entry.occurred_at),
        entry.kind.clone(),
        if net < 0 { "DEBIT" } else { "CREDIT" }.to_owned(),
        "Test User 01".to_owned(),
        entry.item_name.clone(),
        entry.item_description.clone(),
        "ZAR".to_owned(),
        entry.funding.clone(),
        amount_text(entry.gross_minor),
        amount_text(entry.fee_minor),
        amount_text(net),
        grouped_text(entry.balance_minor),
        entry.payment_reference.clone(),
        entry.provider_payment_id.clone(),
    ];
    let own = OWN.iter().map(|name| entry.fields.0.get(*name).cloned().unwrap_or_default());
    values.into_iter().chain(own).map(quoted).collect::<Vec<_>>().join(",")
}

fn quoted(value: String) -> String {
    if value.contains([' ', ',', '"', '\t', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::db::Json;
    use crate::payments::payfast::api::answer::RawAnswer;
    use crate::payments::payfast::api::history::rows;

    fn entry(gross_minor: i64, balance_minor: i64, name: &str) -> Entry {
        Entry {
            position: 1,
            occurred_at: Timestamp::from_seconds(1_582_802_995),
            kind: "FUNDS_RECEIVED".to_owned(),
            item_name: name.to_owned(),
            item_description: String::new(),
            funding: "CC".to_owned(),
            gross_minor,
            fee_minor: -2_473,
            balance_minor,
            payment_reference: String::new(),
            provider_payment_id: "994209".to_owned(),
            fields: Json(BTreeMap::from([("custom_str2".to_owned(), "a b".to_owned())])),
        }
    }

    #[test]
    fn a_row_is_written_as_payfast_documents_it() {
        let text = csv(&[entry(50_000, 2_257_402, "test")]);
        let (header, row) = text.trim_end().split_once('\n').unwrap();
        assert!(
            header.starts_with(r#""Date","Type","Sign","#)
                && header.ends_with(r#""custom int4","custom int5""#)
        );
        let documented = concat!(
            r#""2020-02-27 13:29:55",FUNDS_RECEIVED,CREDIT,"Test User 01",test,,ZAR,CC,500.00,-24.73,475.27,"22,574.02""#,
            r#",,994209,,,"a b",,,,,,,"#
        );
        assert_eq!(row, documented);
    }

    #[test]
    fn days_are_those_of_south_africa() {
        assert_eq!(midnight(day("2026-11-20").unwrap()).to_rfc3339(), "2026-11-19T22:00:00Z");
        assert_eq!(
            (month("2026-11").map(|day| day.to_string()).as_deref(), month("2026-13"), month("2026-1")),
            (Some("2026-11-01"), None, None)
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(gross in -1_000_000_i64..1_000_000, balance in any::<i32>(), name in "[a-z\", ]{1,20}") {
            let text = csv(&[entry(gross, i64::from(balance), &name)]);
            let raw = RawAnswer { status: 200, headers: Vec::new(), body: text.into_bytes() };
            let read = rows(&raw).done().unwrap();
            prop_assert_eq!((read[0].gross_minor, read[0].balance_minor), (gross, i64::from(balance)));
        }
    }
}
