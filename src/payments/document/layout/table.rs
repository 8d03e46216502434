//! The table, which flows over pages, and the sums below it, which stay together.

use super::super::page::{Ink, Item, Mark, Role};
use super::super::sheet::{Row, Sum};
use super::{
    BODY, BOTTOM, CONTENT, Composer, GAP, LABEL, LEFT, LINE, NOTES_ABOVE, RIGHT, RISE, SMALL, SMALL_LINE,
    STRONG, TOP_RUNNING,
};

/// Above and below the text of a row.
const PAD: f32 = 5.5;
/// The head of the table.
const HEAD: f32 = 20.0;
/// A line with the sum so far.
const CARRY: f32 = 20.0;
/// Where rows end on a page, so that the sum so far has room below them.
const ROWS_BOTTOM: f32 = BOTTOM - CARRY;
/// What a page has for rows at least.
const ROWS_ROOM: f32 = ROWS_BOTTOM - TOP_RUNNING - HEAD - CARRY;
const SUM_LINE: f32 = 19.0;
const SUMS_WIDTH: f32 = 262.0;
/// How many notes stay with the sums.
const NOTES_KEPT: usize = 5;
/// Narrower than this, columns of amounts run together.
const AMOUNTS_WIDTH_MIN: f32 = 72.0;
/// Text in a shaded bar stands this far from its edge.
const INSET: f32 = 8.0;

/// What a row says in a column.
type CellText = fn(&Row) -> &str;

/// A column of numbers.
struct Column {
    head: &'static str,
    text: CellText,
    /// Its right edge.
    right: f32,
}

impl Composer<'_> {
    /// Places table and sums.
    pub(super) fn table(&mut self) {
        let (columns, left) = self.columns();
        let table = self.part(Role::Table, None);
        if self.y + HEAD + CARRY + 4.0 * LINE > BOTTOM {
            self.begin_page();
        }
        let head = self.part(Role::Row, Some(table));
        self.head(&columns, Some(head));
        let mut carried = None;
        let sheet = self.sheet;
        for row in &sheet.rows {
            self.row(table, &columns, row, left - GAP - LEFT - INSET, carried);
            carried = Some(row.carried.as_str());
        }
        self.sums(carried.unwrap_or_default());
    }

    /// The columns of numbers, each as wide as the widest of its texts, and where the first begins.
    fn columns(&self) -> (Vec<Column>, f32) {
        let heads = &self.sheet.columns;
        let mut columns: Vec<Column> = Vec::new();
        let mut right = RIGHT - INSET;
        let wanted: [(Option<&'static str>, f32, CellText); 4] = [
            (Some(heads.amount), AMOUNTS_WIDTH_MIN, |row| &row.amount),
            (Some(heads.unit), AMOUNTS_WIDTH_MIN, |row| &row.unit),
            (heads.rate, 0.0, |row| &row.rate),
            (Some("Quantity"), 0.0, |row| &row.quantity),
        ];
        for (head, at_least, text) in wanted {
            let Some(head) = head else { continue };
            let cells = self.sheet.rows.iter().map(|row| self.fonts.run(text(row), BODY).width);
            let width = cells.fold(self.fonts.run(head, LABEL).width.max(at_least), f32::max);
            columns.push(Column { head, text, right });
            right -= width + GAP;
        }
        columns.reverse();
        (columns, right + GAP)
    }

    /// The head of the table: a row of it the first time, and repeated for the eye on further pages.
    fn head(&mut self, columns: &[Column], row: Option<usize>) {
        self.draw(Item::Bar { x: LEFT, y: self.y, width: CONTENT, height: HEAD, ink: Ink::Shade });
        let mark = self.head_mark(row);
        self.text(mark, LEFT + INSET, 13.0, self.fonts.run("Description", LABEL), Ink::Text);
        for column in columns {
            let mark = self.head_mark(row);
            self.text_right(mark, column.right, 13.0, self.fonts.run(column.head, LABEL), Ink::Text);
        }
        self.y += HEAD;
    }

    fn head_mark(&mut self, row: Option<usize>) -> Mark {
        match row {
            Some(row) => Mark::Part(self.part(Role::ColumnHead, Some(row))),
            None => Mark::Head,
        }
    }

    /// A row. It stays together when a page can hold it, and goes on over the page when not.
    fn row(&mut self, table: usize, columns: &[Column], row: &Row, width: f32, carried: Option<&str>) {
        let text = self.fonts.wrap(&row.description, BODY, width);
        let detail = row.detail.as_deref().map(|detail| self.fonts.wrap(detail, SMALL, width));
        let lines = text.into_iter().map(|run| (run, LINE, Ink::Text));
        let details = detail.into_iter().flatten().map(|run| (run, SMALL_LINE, Ink::Soft));
        let lines: Vec<_> = lines.chain(details).collect();
        let height = 2.0 * PAD + 0.5 + lines.iter().map(|(_, line, _)| line).sum::<f32>();
        if self.y + height.min(ROWS_ROOM) > ROWS_BOTTOM {
            self.turn_page(columns, carried);
        }
        let row_part = self.part(Role::Row, Some(table));
        let cell = self.part(Role::Cell, Some(row_part));
        self.y += PAD;
        for (at, (run, line, ink)) in lines.into_iter().enumerate() {
            if self.y + line > ROWS_BOTTOM {
                self.turn_page(columns, Some(&row.carried));
                self.y += PAD;
            }
            self.text(Mark::Part(cell), LEFT + INSET, RISE, run, ink);
            if at == 0 {
                self.numbers(row_part, columns, row);
            }
            self.y += line;
        }
        self.y += PAD + 0.5;
        self.rule(self.y, LEFT, CONTENT);
    }

    fn numbers(&mut self, row_part: usize, columns: &[Column], row: &Row) {
        for column in columns {
            let cell = self.part(Role::Cell, Some(row_part));
            let run = self.fonts.run((column.text)(row), BODY);
            self.text_right(Mark::Part(cell), column.right, RISE, run, Ink::Text);
        }
    }

    /// Goes on with the table on the next page. What stands above is carried over, if anything does.
    fn turn_page(&mut self, columns: &[Column], carried: Option<&str>) {
        if let Some(carried) = carried {
            self.carry("Carried forward", carried);
        }
        self.begin_page();
        self.head(columns, None);
        if let Some(carried) = carried {
            self.carry("Brought forward", carried);
            self.rule(self.y, LEFT, CONTENT);
        }
    }

    fn carry(&mut self, label: &str, carried: &str) {
        self.text(Mark::Head, LEFT + INSET, 14.0, self.fonts.run(label, STRONG), Ink::Soft);
        self.text_right(Mark::Head, RIGHT - INSET, 14.0, self.fonts.run(carried, STRONG), Ink::Soft);
        self.y += CARRY;
    }

    fn sums(&mut self, carried: &str) {
        let sheet = self.sheet;
        // The first notes come with them: they say how it was paid.
        let lines = |count: usize| f32::from(u16::try_from(count).unwrap_or(u16::MAX));
        let notes = lines(sheet.notes.len().min(NOTES_KEPT)) * (SMALL_LINE + 2.0);
        if self.y + 8.0 + lines(sheet.sums.len()) * SUM_LINE + NOTES_ABOVE + notes > BOTTOM {
            self.carry("Carried forward", carried);
            self.begin_page();
            self.carry("Brought forward", carried);
            self.rule(self.y, LEFT, CONTENT);
        }
        self.y += 8.0;
        let table = self.part(Role::Table, None);
        for sum in &sheet.sums {
            self.sum(table, sum);
        }
    }

    fn sum(&mut self, table: usize, sum: &Sum) {
        let x = RIGHT - SUMS_WIDTH;
        let (style, ink) = if sum.strong { (STRONG, Ink::Text) } else { (BODY, Ink::Soft) };
        if sum.strong {
            let (y, height) = (self.y, SUM_LINE - 1.0);
            self.draw(Item::Bar { x, y, width: SUMS_WIDTH, height, ink: Ink::Shade });
        }
        let row = self.part(Role::Row, Some(table));
        let head = self.part(Role::RowHead, Some(row));
        let cell = self.part(Role::Cell, Some(row));
        self.text(Mark::Part(head), x + INSET, 13.0, self.fonts.run(&sum.label, style), ink);
        let amount = self.fonts.run(&sum.amount, style);
        self.text_right(Mark::Part(cell), RIGHT - INSET, 13.0, amount, Ink::Text);
        self.y += SUM_LINE;
    }
}
