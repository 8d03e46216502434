//! The history of our account, as CSV: what moved, what it cost, and what was left.
//!
//! Columns are found by their names, for PayFast has more of them for some accounts. A row that cannot be read is an
//! error that names its line: a reconciliation over rows with a hole in them would be worse than none. Each row keeps
//! the bytes that it was read from, under the names of the columns, so that it can be stored and read again by itself.

use std::collections::HashMap;

use csv::{ByteRecord, ReaderBuilder, Trim};
use sha2::{Digest as _, Sha256};
use time::macros::format_description;
use time::{PrimitiveDateTime, UtcOffset};

use super::answer::{Outcome, Place, RawAnswer, Stop, decode, place, settle};
use super::lenient::cleaned;
use crate::base::Timestamp;
use crate::payments::model::reconciliation::Movement;
use crate::payments::payfast::verdict::{Facts, PaymentStatus, amount_minor, id_fits};

/// How far South Africa's clocks are ahead, in hours.
const AHEAD_HOURS: i8 = 2;

/// Whether money came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It came.
    Credit,
    /// It went.
    Debit,
}

/// A row of the history. Amounts are in cents, as they stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its line in the answer, from 1.
    pub line: u64,
    /// When.
    pub at: Timestamp,
    /// What, in PayFast's word: `FUNDS_RECEIVED` and others.
    pub kind: String,
    /// Whether it came or went.
    pub sign: Sign,
    /// Who is at the other end.
    pub party: String,
    /// The name of what was paid for.
    pub name: String,
    /// More about it.
    pub description: String,
    /// The currency.
    pub currency: String,
    /// How it was paid.
    pub funding: String,
    /// Before PayFast's fee.
    pub gross_minor: i64,
    /// The fee, negative as PayFast writes it.
    pub fee_minor: i64,
    /// What moved on our account.
    pub net_minor: i64,
    /// What was left there.
    pub balance_minor: i64,
    /// Our reference; empty when there is none.
    pub reference: String,
    /// PayFast's id; empty when there is none.
    pub provider_payment_id: String,
    /// The names of the columns and the row itself, as they came: a history of this one row.
    pub csv: Vec<u8>,
}

/// PayFast's words for what moves, in small letters, and what each means. It documents the first only: the others are
/// what its statements say, to be confirmed by a live account. A word that is not here moves nothing in the books.
const WORDS: &[(&str, Movement)] = &[
    ("funds_received", Movement::Payment),
    ("funds_received_refund", Movement::Refund),
    ("refund", Movement::Refund),
    ("payout", Movement::Payout),
    ("immediate_payout", Movement::Payout),
    ("withdrawal", Movement::Payout),
    ("fee", Movement::Charge),
    ("payout_fee", Movement::Charge),
    ("refund_fee", Movement::Charge),
    ("chargeback_fee", Movement::Charge),
    ("chargeback", Movement::Chargeback),
    ("funds_received_chargeback", Movement::Chargeback),
];
/// How much of a digest is in a row's key, in bytes.
const KEY_BYTES: usize = 16;
/// The only currency of PayFast.
const RAND: &str = "ZAR";

impl Row {
    /// What moved, as far as it can be told. What could not be booked as the thing that its word says is unknown.
    #[must_use]
    pub fn movement(&self) -> Movement {
        let word = self.kind.to_ascii_lowercase().replace([' ', '-'], "_");
        let movement = WORDS.iter().find(|(known, _)| *known == word).map(|(_, movement)| *movement);
        let left = self.gross_minor < 0 && self.fee_minor <= 0;
        let bookable = match movement {
            Some(Movement::Payment) => {
                self.gross_minor > 0
                    && self.fee_minor <= 0
                    && self.net_minor >= 0
                    && id_fits(&self.provider_payment_id)
            }
            Some(Movement::Refund) => left && id_fits(&self.provider_payment_id),
            Some(Movement::Payout | Movement::Chargeback) => left,
            // A charge may be given back.
            Some(Movement::Charge) => self.net_minor != 0,
            Some(Movement::Unknown) | None => false,
        };
        movement.filter(|_| bookable && self.currency == RAND).unwrap_or(Movement::Unknown)
    }

    /// What makes the row this one, whenever it is asked for: not its words, which may be written anew, but what moved.
    #[must_use]
    pub fn key(&self) -> String {
        let what = format!(
            "{}\n{}\n{}\n{}\n{}\n{}",
            self.kind,
            self.at.as_micros(),
            self.gross_minor,
            self.fee_minor,
            self.balance_minor,
            self.provider_payment_id
        );
        let digest = Sha256::digest(what.as_bytes());
        let digits = digest.iter().take(KEY_BYTES).map(|byte| format!("{byte:02x}"));
        format!("history:{}", digits.collect::<String>())
    }

    /// What a notification of this payment would have said.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let id = |text: &str| Some(text.to_owned()).filter(|text| id_fits(text));
        Facts {
            payment: id(&self.reference),
            provider_payment: id(&self.provider_payment_id),
            status: PaymentStatus::Complete,
            gross_minor: Some(self.gross_minor),
            fee_minor: self.fee_minor.checked_neg().filter(|fee| (0..=self.gross_minor).contains(fee)),
            amount_carried: true,
        }
    }
}

/// Reads a row that was stored by itself.
///
/// # Errors
/// Why it is none.
pub fn row(csv: &[u8]) -> Result<Row, String> {
    let mut rows = read(csv)?;
    match (rows.pop(), rows.is_empty()) {
        (Some(row), true) => Ok(row),
        _ => Err("there is not exactly one row".to_owned()),
    }
}

/// Reads the answer to a question for history.
pub fn rows(answer: &RawAnswer) -> Outcome<Vec<Row>> {
    let json = answer.body.trim_ascii_start().first() == Some(&b'{');
    if place(answer.status) != Place::Taken || json {
        return decode(answer, |_| Err(Stop::unknown("the history is not CSV")));
    }
    settle(read(&answer.body).map_err(Stop::Unknown))
}

fn read(body: &[u8]) -> Result<Vec<Row>, String> {
    // A row with a field more or less is no row: a comma in the wrong place would move every amount.
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(body);
    let header = reader.byte_headers().map_err(|error| unreadable(1, &error))?;
    let columns = Columns::read(header)?;
    let names = bytes(body, 0, reader.position());
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(rows),
            Err(error) => return Err(unreadable(line, &error)),
        }
        let line = record.position().map_or(line, csv::Position::line);
        let begin = record.position().map_or(0, csv::Position::byte);
        let csv = [names, b"\n", bytes(body, begin, reader.position()), b"\n"].concat();
        rows.push(columns.row(line, &record, csv).map_err(|wrong| format!("line {line}: {wrong}"))?);
    }
}

/// What stands from a place to where the reader is, without the ends of lines around it.
fn bytes<'a>(body: &'a [u8], begin: u64, end: &csv::Position) -> &'a [u8] {
    let place = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(body.len());
    let mut text = body.get(place(begin)..place(end.byte())).unwrap_or_default();
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

fn unreadable(line: u64, error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: has {len} fields and not {expected_len}")
        }
        _ => format!("line {line}: {error}"),
    }
}

/// Where each column stands.
struct Columns(HashMap<&'static str, usize>);

const DATE: &str = "Date";
const TYPE: &str = "Type";
const SIGN: &str = "Sign";
const PARTY: &str = "Party";
const NAME: &str = "Name";
const DESCRIPTION: &str = "Description";
const CURRENCY: &str = "Currency";
const FUNDING: &str = "Funding Type";
const GROSS: &str = "Gross";
const FEE: &str = "Fee";
const NET: &str = "Net";
const BALANCE: &str = "Balance";
const REFERENCE: &str = "M Payment ID";
const PROVIDER_ID: &str = "PF Payment ID";

/// The columns that a history must have.
const NEEDED: [&str; 14] = [
    DATE,
    TYPE,
    SIGN,
    PARTY,
    NAME,
    DESCRIPTION,
    CURRENCY,
    FUNDING,
    GROSS,
    FEE,
    NET,
    BALANCE,
    REFERENCE,
    PROVIDER_ID,
];

impl Columns {
    fn read(header: &ByteRecord) -> Result<Self, String> {
        let place = |name: &'static str| {
            let mut found =
                header.iter().enumerate().filter(|(_, told)| told.eq_ignore_ascii_case(name.as_bytes()));
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok((name, at)),
                (None, _) => Err(format!("line 1: there is no column {name}")),
                (Some(_), Some(_)) => Err(format!("line 1: the column {name} is there twice")),
            }
        };
        NEEDED.into_iter().map(place).collect::<Result<_, _>>().map(Self)
    }

    fn row(&self, line: u64, record: &ByteRecord, csv: Vec<u8>) -> Result<Row, String> {
        let text = |name| self.text(record, name);
        let amount = |name| {
            let text = self.text(record, name)?;
            grouped_minor(&text).ok_or_else(|| format!("{name} is not an amount"))
        };
        let (gross, fee, net) = (amount(GROSS)?, amount(FEE)?, amount(NET)?);
        if gross.checked_add(fee) != Some(net) {
            return Err("Gross and Fee do not make Net".to_owned());
        }
        Ok(Row {
            line,
            at: local_time(&text(DATE)?).ok_or("Date is not a time such as 2020-02-27 13:29:55")?,
            kind: Some(text(TYPE)?).filter(|kind| !kind.is_empty()).ok_or("Type is empty")?,
            sign: sign(&text(SIGN)?).ok_or("Sign is neither CREDIT nor DEBIT")?,
            party: text(PARTY)?,
            name: text(NAME)?,
            description: text(DESCRIPTION)?,
            currency: Some(text(CURRENCY)?).filter(|code| code.len() == 3).ok_or("Currency is not a code")?,
            funding: text(FUNDING)?,
            gross_minor: gross,
            fee_minor: fee,
            net_minor: net,
            balance_minor: amount(BALANCE)?,
            reference: text(REFERENCE)?,
            provider_payment_id: text(PROVIDER_ID)?,
            csv,
        })
    }

    fn text(&self, record: &ByteRecord, name: &'static str) -> Result<String, String> {
        let field =
            self.0.get(name).and_then(|at| record.get(*at)).ok_or_else(|| format!("{name} is missing"))?;
        std::str::from_utf8(field).map(cleaned).map_err(|_| format!("{name} is not text"))
    }
}

fn sign(word: &str) -> Option<Sign> {
    match word {
        "CREDIT" => Some(Sign::Credit),
        "DEBIT" => Some(Sign::Debit),
        _ => None,
    }
}

/// Reads `22,574.02` into cents: the commas stand where thousands do, or nowhere.
#[must_use]
pub fn grouped_minor(text: &str) -> Option<i64> {
    let whole = text.split('.').next().unwrap_or_default();
    let mut groups = whole.strip_prefix('-').unwrap_or(whole).split(',');
    let first = groups.next().unwrap_or_default();
    let mut rest = groups.peekable();
    if rest.peek().is_some() && (!(1..=3).contains(&first.len()) || !rest.all(|group| group.len() == 3)) {
        return None;
    }
    if text.get(whole.len()..).is_some_and(|cents| cents.contains(',')) {
        return None;
    }
    amount_minor(&text.replace(',', ""))
}

/// Writes cents with thousands commas: `22,574.02`.
#[must_use]
pub fn grouped_text(minor: i64) -> String {
    let size = minor.unsigned_abs();
    let mut digits = (size / 100).to_string();
    let mut at = digits.len();
    while at > 3 {
        at -= 3;
        digits.insert(at, ',');
    }
    format!("{}{digits}.{:02}", if minor < 0 { "-" } else { "" }, size % 100)
}

/// Reads a time by South Africa's clocks, such as `2020-02-27 13:29:55`.
pub(super) fn local_time(text: &str) -> Option<Timestamp> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let offset = UtcOffset::from_hms(AHEAD_HOURS, 0, 0).ok()?;
    let local = PrimitiveDateTime::parse(text, format).ok()?;
    Some(Timestamp::from_utc(local.assume_offset(offset)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As PayFast documents it.
    const DOCUMENTED: &str = concat!(
        r#""Date","Type","Sign","Party","Name","Description","Currency","Funding Type","Gross","Fee","Net","Balance","#,
        r#""M Payment ID","PF Payment ID","custom str1","custom int1","custom str2","custom int2","custom str3","#,
        r#""custom str4","custom str5","custom int3","custom int4","custom int5""#,
        "\n",
        r#""2020-02-27 13:29:55",FUNDS_RECEIVED,CREDIT,"Test User 01",test,,ZAR,CC,500.00,-24.73,475.27,"22,574.02","#,
        r#",994209,,,,,,,,,, "#,
        "\n",
        r#""2020-03-02 14:31:30",FUNDS_RECEIVED,CREDIT,"Test User 01","item name",,ZAR,CC,121.00,-7.73,113.27,"#,
        r#""22,780.50",pay_now_11611660,995893,,,,,,,,,,"#,
        "\n",
    );

    fn raw(status: u16, body: &str) -> RawAnswer {
        RawAnswer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn the_documented_history_is_read_to_the_cent() {
        let read = rows(&raw(200, DOCUMENTED)).done().unwrap();
        let [first, second] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((first.line, first.at.to_rfc3339().as_str()), (2, "2020-02-27T11:29:55Z"));
        assert_eq!(
            (first.kind.as_str(), first.sign, first.party.as_str()),
            ("FUNDS_RECEIVED", Sign::Credit, "Test User 01")
        );
        assert_eq!((first.gross_minor, first.fee_minor, first.net_minor), (50_000, -2_473, 47_527));
        assert_eq!(
            (first.balance_minor, first.currency.as_str(), first.funding.as_str()),
            (2_257_402, "ZAR", "CC")
        );
        assert_eq!((first.reference.as_str(), first.provider_payment_id.as_str()), ("", "994209"));
        assert_eq!(
            (second.line, second.reference.as_str(), second.name.as_str()),
            (3, "pay_now_11611660", "item name")
        );
    }

    #[test]
    fn a_row_stands_by_itself_and_keeps_its_key() {
        for text in [DOCUMENTED.to_owned(), DOCUMENTED.replace('\n', "\r\n")] {
            for read in rows(&raw(200, &text)).done().unwrap() {
                let alone = row(&read.csv).unwrap();
                assert_eq!(alone, Row { line: 2, ..read.clone() });
                assert_eq!((alone.key(), alone.movement()), (read.key(), Movement::Payment));
                assert_eq!(alone.facts().fee_minor, read.fee_minor.checked_neg());
            }
        }
        let [first, second] = &rows(&raw(200, DOCUMENTED)).done().unwrap()[..] else { panic!("two rows") };
        assert_ne!(first.key(), second.key());
        let renamed = Row { party: "Somebody".to_owned(), description: "else".to_owned(), ..first.clone() };
        assert_eq!(renamed.key(), first.key());
        assert!(row(DOCUMENTED.as_bytes()).is_err() && row(b"").is_err());
    }

    #[test]
    fn what_cannot_be_booked_as_what_it_says_is_unknown() {
        let payment = rows(&raw(200, DOCUMENTED)).done().unwrap().remove(0);
        let gone = Row { gross_minor: -50_000, fee_minor: 0, net_minor: -50_000, ..payment.clone() };
        let said = |row: &Row, kind: &str| Row { kind: kind.to_owned(), ..row.clone() }.movement();
        assert_eq!(said(&payment, "Funds Received"), Movement::Payment);
        assert_eq!(said(&gone, "PAYOUT"), Movement::Payout);
        assert_eq!(said(&gone, "chargeback"), Movement::Chargeback);
        assert_eq!(said(&gone, "FUNDS_RECEIVED_REFUND"), Movement::Refund);
        assert_eq!((said(&gone, "FEE"), said(&payment, "FEE")), (Movement::Charge, Movement::Charge));
        for wrong in [
            Row { kind: "SOMETHING_NEW".to_owned(), ..payment.clone() },
            Row { currency: "USD".to_owned(), ..payment.clone() },
            Row { provider_payment_id: String::new(), ..payment.clone() },
            Row { kind: "PAYOUT".to_owned(), ..payment.clone() },
            Row { kind: "FUNDS_RECEIVED".to_owned(), ..gone.clone() },
        ] {
            assert_eq!(wrong.movement(), Movement::Unknown, "{wrong:?}");
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        let (header, rest) = DOCUMENTED.split_once('\n').unwrap();
        let header = header.replace(r#""Gross""#, r#""Batch ID","GROSS""#);
        let rest = rest.replace("CC,", "CC,17,");
        let read = rows(&raw(200, &format!("{header}\r\n{}", rest.replace('\n', "\r\n")))).done().unwrap();
        assert_eq!((read.len(), read[1].gross_minor), (2, 12_100));
        let header_only = DOCUMENTED.lines().next().unwrap();
        assert_eq!(rows(&raw(200, header_only)), Outcome::Done(Vec::new()));
        for (from, to) in [(r#""Net","#, ""), (r#""Fee""#, r#""Net""#)] {
            let Outcome::Unknown(why) = rows(&raw(200, &DOCUMENTED.replace(from, to))) else {
                panic!("{from}")
            };
            assert!(why.starts_with("line 1: "), "{why}");
        }
        assert_eq!(rows(&raw(200, "")).word(), "unknown");
    }

    #[test]
    fn a_row_that_cannot_be_read_names_its_line() {
        for (from, to, says) in [
            ("121.00", "121,00", "line 3: has 25 fields and not 24"),
            ("121.00", "121.00.0", "line 3: Gross is not an amount"),
            ("121.00", "122.00", "line 3: Gross and Fee do not make Net"),
            ("-7.73", "", "line 3: Fee is not an amount"),
            ("22,780.50", "2,2780.50", "line 3: Balance is not an amount"),
            ("2020-03-02", "02/03/2020", "line 3: Date is not a time such as 2020-02-27 13:29:55"),
            (
                "FUNDS_RECEIVED,CREDIT,\"Test User 01\",\"item",
                "FUNDS_RECEIVED,PLUS,\"Test User 01\",\"item",
                "line 3: Sign is neither CREDIT nor DEBIT",
            ),
            (",995893,,,,,,,,,,", "", "line 3: has 13 fields and not 24"),
        ] {
            let broken = DOCUMENTED.replace(from, to);
            assert_ne!(broken, DOCUMENTED, "{from}");
            assert_eq!(rows(&raw(200, &broken)), Outcome::Unknown(says.to_owned()));
        }
        let mut bytes = DOCUMENTED.as_bytes().to_vec();
        let at = DOCUMENTED.find("item name").unwrap();
        bytes[at] = 0xFF;
        let broken = RawAnswer { body: bytes, ..raw(200, "") };
        assert_eq!(rows(&broken), Outcome::Unknown("line 3: Name is not text".to_owned()));
    }

    #[test]
    fn what_is_no_history_is_told_as_what_it_is() {
        let no = r#"{"code":400,"status":"failed","data":{"response":false,"message":"date is wrong"}}"#;
        assert_eq!((rows(&raw(400, no)).word(), rows(&raw(200, no)).word()), ("refused", "refused"));
        assert_eq!(
            (rows(&raw(200, "{}")).word(), rows(&raw(500, DOCUMENTED)).word()),
            ("unknown", "unknown")
        );
        assert_eq!(rows(&raw(200, "<html>\n<body>")).word(), "unknown");
    }

    #[test]
    fn thousands_are_grouped_by_threes_or_not_at_all() {
        for (text, minor) in [
            ("22,574.02", 2_257_402),
            ("-1,234,567.89", -123_456_789),
            ("500.00", 50_000),
            ("22574.02", 2_257_402),
        ] {
            assert_eq!(grouped_minor(text), Some(minor), "{text}");
        }
        for wrong in [
            "",
            ",",
            "1,23.00",
            ",123.00",
            "1234,567.00",
            "1.000,00",
            "1,000.0,0",
            "1,000.000",
            "--1.00",
            "1,,000.00",
        ] {
            assert_eq!(grouped_minor(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn grouped_amounts_round_trip(minor in -1_000_000_000_000_i64..1_000_000_000_000) {
            prop_assert_eq!(grouped_minor(&grouped_text(minor)), Some(minor));
        }

        #[test]
        fn any_bytes_are_an_outcome(status in 0_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = rows(&RawAnswer { status, headers: Vec::new(), body });
        }

        #[test]
        fn any_rows_below_the_header_are_read_or_named(more in "[\\PC\n\",]{0,120}") {
            if let Outcome::Unknown(why) = rows(&raw(200, &format!("{DOCUMENTED}{more}"))) {
                prop_assert!(why.starts_with("line "), "{}", why);
            }
        }

        #[test]
        fn any_text_is_an_amount_or_none(text in "[-0-9.,]{0,16}") {
            let _ = grouped_minor(&text);
        }
    }
}
