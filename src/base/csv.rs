//! Tables of comma-separated values: RFC 4180, UTF-8, CRLF.
//!
//! Text that a spreadsheet might take for a formula gets an apostrophe before it: whoever chose a name or a memo must
//! not get to compute on the desk of whoever opens the table. Amounts are made of a number here and never of text, so
//! that a minus sign before one begins nothing but a number.

use super::{Money, Timestamp};

/// How a cell begins that a spreadsheet takes for more than text, the full-width forms among it.
const DANGEROUS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// A cell.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// What somebody wrote, or a word of ours.
    Text(&'a str),
    /// An amount, as a plain decimal number without its currency.
    Amount(Money),
    /// A time, as RFC 3339 writes it, in UTC.
    Time(Timestamp),
    /// `true` or `false`.
    Flag(bool),
}

/// Writes a row behind what is in `table`.
pub fn push_row<'a>(table: &mut String, cells: impl IntoIterator<Item = Cell<'a>>) {
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            table.push(',');
        }
        match cell {
            Cell::Text(text) => push_text(table, text),
            Cell::Amount(amount) => table.push_str(&amount.to_decimal_string()),
            Cell::Time(at) => table.push_str(&at.to_rfc3339()),
            Cell::Flag(flag) => table.push_str(if flag { "true" } else { "false" }),
        }
    }
    table.push_str("\r\n");
}

fn push_text(table: &mut String, text: &str) {
    // Text that is guarded already as somebody else wrote it gets one more, so that whoever takes one off has the text.
    let guard = if text.trim_start_matches('\'').starts_with(DANGEROUS) { "'" } else { "" };
    if !text.contains(['"', ',', '\r', '\n']) {
        table.push_str(guard);
        table.push_str(text);
        return;
    }
    table.push('"');
    table.push_str(guard);
    table.push_str(&text.replace('"', "\"\""));
    table.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Currency;
    use proptest::prelude::*;

    fn row(cells: &[Cell<'_>]) -> String {
        let mut table = String::new();
        push_row(&mut table, cells.iter().copied());
        table
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(row(&[Cell::Text("a"), Cell::Text(""), Cell::Text("b c")]), "a,,b c\r\n");
        assert_eq!(row(&[Cell::Text("a,b"), Cell::Text("say \"hi\"")]), "\"a,b\",\"say \"\"hi\"\"\"\r\n");
        assert_eq!(row(&[Cell::Text("two\r\nlines")]), "\"two\r\nlines\"\r\n");
        let at = Timestamp::from_micros(1_500_000);
        let amount = Money::new(-5, Currency::Zar);
        let cells = [Cell::Time(at), Cell::Amount(amount), Cell::Flag(true), Cell::Flag(false)];
        assert_eq!(row(&cells), "1970-01-01T00:00:01.5Z,-0.05,true,false\r\n");
    }

    #[test]
    fn text_is_never_a_formula() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+27 21 000 0000", "'+27 21 000 0000"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("\nx", "\"'\nx\""),
            ("=cmd|' /C calc'!A0,1", "\"'=cmd|' /C calc'!A0,1\""),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}x", "'\u{ff20}x"),
            ("a=1", "a=1"),
            ("'=1", "''=1"),
            ("'tis", "'tis"),
        ] {
            assert_eq!(row(&[Cell::Text(text)]), format!("{cell}\r\n"), "{text:?}");
        }
    }

    /// Reads a table as RFC 4180 says, written from the RFC.
    fn read(table: &str) -> Vec<Vec<String>> {
        let (mut rows, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
        let (mut rest, mut quoted) = (table.chars().peekable(), false);
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted && rest.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                '\r' if !quoted && rest.next_if_eq(&'\n').is_some() => {
                    cells.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut cells));
                }
                c => cell.push(c),
            }
        }
        assert!(cell.is_empty() && cells.is_empty() && !quoted, "the table ends with its last row");
        rows
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_again(
            texts in prop::collection::vec(prop::collection::vec("['=+,\"\r\n a-]{0,4}|.*", 2), 1..5),
        ) {
            let mut table = String::new();
            for cells in &texts {
                push_row(&mut table, cells.iter().map(|text| Cell::Text(text)));
            }
            let read = read(&table);
            prop_assert_eq!(read.len(), texts.len());
            for (read, written) in read.iter().flatten().zip(texts.iter().flatten()) {
                prop_assert!(!read.starts_with(DANGEROUS));
                let guarded = |rest: &&str| rest.trim_start_matches('\'').starts_with(DANGEROUS);
                prop_assert_eq!(read.strip_prefix('\'').filter(guarded).unwrap_or(read), written);
            }
        }

        #[test]
        fn an_amount_is_a_number_and_nothing_else(minor: i64) {
            let cell = row(&[Cell::Amount(Money::new(minor, Currency::Zar))]);
            let digits = cell.trim_end().strip_prefix('-').unwrap_or(cell.trim_end());
            let (units, cents) = digits.split_once('.').unwrap();
            prop_assert!(cents.len() == 2 && !units.is_empty());
            prop_assert!([units, cents].concat().bytes().all(|byte| byte.is_ascii_digit()));
        }
    }
}
