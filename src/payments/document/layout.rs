//! Where everything stands: one template for every document, over as many pages as it needs.
//!
//! The first page begins with title, parties and facts; then the table flows, with its head on every page and the sum
//! so far where a page ends and the next begins; then the sums, which stay together, and notes. Numbers are aligned to
//! the right. Whatever can be long is placed line by line, so that nothing runs off a page.

mod table;

use super::face::{Fonts, Run, Style, Weight};
use super::page::{HEIGHT, Ink, Item, Mark, Page, Pages, Part, Role, WIDTH};
use super::sheet::{Party, Sheet};

const LEFT: f32 = 48.0;
const RIGHT: f32 = WIDTH - 48.0;
const CONTENT: f32 = RIGHT - LEFT;
/// Where text begins on a page, below whatever stands at its head.
const TOP: f32 = 60.0;
/// The same on further pages, below the running head.
const TOP_RUNNING: f32 = 84.0;
/// Where text ends on a page.
const BOTTOM: f32 = HEIGHT - 66.0;
const FOOT: f32 = HEIGHT - 40.0;
const BANNER: f32 = 26.0;

const LINE: f32 = 13.0;
const SMALL_LINE: f32 = 11.0;
/// The column of numbers and dates: wide enough for the longest date in one line.
const FACTS_WIDTH: f32 = 172.0;
/// Between columns.
const GAP: f32 = 18.0;
/// Between sums and notes.
const NOTES_ABOVE: f32 = 14.0;
/// From the top of a line of text to where its letters stand.
const RISE: f32 = 10.0;

const TITLE: Style = Style { weight: Weight::Bold, size: 24.0 };
const BRAND: Style = Style { weight: Weight::Bold, size: 14.0 };
const STRONG: Style = Style { weight: Weight::Bold, size: 9.5 };
const BODY: Style = Style { weight: Weight::Regular, size: 9.5 };
const SMALL: Style = Style { weight: Weight::Regular, size: 8.0 };
const LABEL: Style = Style { weight: Weight::Bold, size: 8.0 };
const BANNER_STYLE: Style = Style { weight: Weight::Bold, size: 11.0 };
const ACROSS: Style = Style { weight: Weight::Bold, size: 50.0 };

/// Lays a document out.
pub(super) fn lay_out(sheet: &Sheet, fonts: &Fonts) -> Pages {
    let mut composer = Composer { sheet, fonts, pages: Pages::default(), y: TOP };
    composer.begin_page();
    composer.title();
    composer.parties();
    composer.reason();
    composer.table();
    composer.notes();
    composer.feet();
    composer.pages
}

struct Composer<'a> {
    sheet: &'a Sheet,
    fonts: &'a Fonts,
    pages: Pages,
    /// The top of what comes next.
    y: f32,
}

impl Composer<'_> {
    fn begin_page(&mut self) {
        let first = self.pages.pages.is_empty();
        self.pages.pages.push(Page::default());
        self.y = if first { TOP } else { TOP_RUNNING };
        if let Some(banner) = self.sheet.banner {
            self.draw(Item::Across { run: self.fonts.run(banner, ACROSS), ink: Ink::Pale });
            self.draw(Item::Bar { x: 0.0, y: 0.0, width: WIDTH, height: BANNER, ink: Ink::Warning });
            let run = self.fonts.run(banner, BANNER_STYLE);
            let x = (WIDTH - run.width) / 2.0;
            self.draw(Item::Text { mark: Mark::Head, x, y: 17.0, run, ink: Ink::White });
        }
        if !first {
            let half = CONTENT / 2.0 - GAP;
            let running = self.first_line(&self.sheet.running, STRONG, half);
            let brand = self.first_line(&self.sheet.brand, BODY, half);
            let x = RIGHT - brand.width;
            self.draw(Item::Text { mark: Mark::Head, x: LEFT, y: 58.0, run: running, ink: Ink::Text });
            self.draw(Item::Text { mark: Mark::Head, x, y: 58.0, run: brand, ink: Ink::Soft });
            self.rule(66.0, LEFT, CONTENT);
        }
    }

    fn title(&mut self) {
        let part = self.part(Role::Title(self.sheet.title), None);
        let title = self.fonts.run(self.sheet.title, TITLE);
        let mut x = LEFT + title.width + GAP;
        self.text(Mark::Part(part), LEFT, 22.0, title, Ink::Text);
        for tag in &self.sheet.tags {
            let part = self.part(Role::Paragraph, None);
            let run = self.fonts.run(tag, STRONG);
            let width = run.width + 14.0;
            let bar = Item::Bar { x, y: self.y + 6.0, width, height: 17.0, ink: Ink::Shade };
            self.draw(bar);
            self.text(Mark::Part(part), x + 7.0, 18.0, run, Ink::Accent);
            x += width + 8.0;
        }
        let part = self.part(Role::Paragraph, None);
        let left = x.max(LEFT + CONTENT * 0.6);
        let lines = self.fonts.wrap(&self.sheet.brand, BRAND, RIGHT - left);
        for run in lines {
            self.text_right(Mark::Part(part), RIGHT, 20.0, run, Ink::Accent);
            self.y += 18.0;
        }
        self.y += 18.0;
        self.rule(self.y, LEFT, CONTENT);
        self.y += 16.0;
    }

    /// Who charges, who is charged, and the facts, in three columns.
    fn parties(&mut self) {
        let width = (CONTENT - FACTS_WIDTH) / 2.0 - GAP;
        let step = width + GAP;
        let mut columns = vec![self.party(&self.sheet.supplier, LEFT, width)];
        let customer = self.sheet.customer.as_ref();
        columns.extend(customer.map(|customer| self.party(customer, LEFT + step, width)));
        columns.push(self.facts(RIGHT - FACTS_WIDTH, FACTS_WIDTH));
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        while columns.iter().any(|column| column.len() > 0) {
            self.ensure(LINE);
            self.columns_on_page(&mut columns);
        }
        self.y += 18.0;
    }

    /// Draws as much of the columns as this page has room for, one after the other.
    fn columns_on_page(&mut self, columns: &mut [std::vec::IntoIter<Vec<Placed>>]) {
        let (top, mut lowest) = (self.y, self.y);
        for column in columns {
            self.y = top;
            while self.y + LINE <= BOTTOM
                && let Some(line) = column.next()
            {
                for Placed { part, x, run, ink } in line {
                    self.text(Mark::Part(part), x, RISE, run, ink);
                }
                self.y += LINE;
            }
            lowest = lowest.max(self.y);
        }
        self.y = lowest;
    }

    fn party(&mut self, party: &Party, x: f32, width: f32) -> Vec<Vec<Placed>> {
        let heading = self.part(Role::Heading(party.heading), None);
        let mut lines = vec![vec![Placed::new(heading, x, self.fonts.run(party.heading, LABEL), Ink::Soft)]];
        let part = self.part(Role::Paragraph, None);
        let mut say = |text: &str, style: Style| {
            let runs = self.fonts.wrap(&format!("{text} "), style, width);
            lines.extend(runs.into_iter().map(|run| vec![Placed::new(part, x, run, Ink::Text)]));
        };
        if !party.name.is_empty() {
            say(&party.name, STRONG);
        }
        for line in &party.lines {
            say(line, BODY);
        }
        lines
    }

    fn facts(&mut self, x: f32, width: f32) -> Vec<Vec<Placed>> {
        let heading = self.part(Role::Heading("Details"), None);
        let mut lines = vec![vec![Placed::new(heading, x, self.fonts.run("Details", LABEL), Ink::Soft)]];
        let table = self.part(Role::Table, None);
        let labels = 68.0;
        for (label, value) in &self.sheet.facts {
            let row = self.part(Role::Row, Some(table));
            let head = self.part(Role::RowHead, Some(row));
            let cell = self.part(Role::Cell, Some(row));
            let mut head = Some(Placed::new(head, x, self.fonts.run(label, BODY), Ink::Soft));
            for run in self.fonts.wrap(value, STRONG, width - labels) {
                let value = Placed::new(cell, x + labels, run, Ink::Text);
                lines.push(head.take().into_iter().chain([value]).collect());
            }
        }
        lines
    }

    fn reason(&mut self) {
        let Some(reason) = &self.sheet.reason else { return };
        self.ensure(SMALL_LINE + LINE);
        let heading = self.part(Role::Heading("Reason"), None);
        self.text(Mark::Part(heading), LEFT, RISE, self.fonts.run("Reason", LABEL), Ink::Soft);
        self.y += LINE;
        self.paragraph(reason, BODY, LINE, Ink::Text);
        self.y += 14.0;
    }

    fn notes(&mut self) {
        let sheet = self.sheet;
        if !sheet.notes.is_empty() {
            self.y += NOTES_ABOVE;
        }
        for note in &sheet.notes {
            self.paragraph(note, SMALL, SMALL_LINE, Ink::Soft);
            self.y += 2.0;
        }
    }

    /// At the foot of every page: who issued it, and which page of how many it is.
    fn feet(&mut self) {
        let count = self.pages.pages.len();
        let foot = self.first_line(&self.sheet.foot, SMALL, CONTENT * 0.75);
        for (at, page) in self.pages.pages.iter_mut().enumerate() {
            let number = self.fonts.run(&format!("Page {} of {count}", at + 1), SMALL);
            let x = RIGHT - number.width;
            let rule = Item::Bar { x: LEFT, y: FOOT - 14.0, width: CONTENT, height: 0.6, ink: Ink::Rule };
            let texts = [(LEFT, foot.clone()), (x, number)];
            let texts =
                texts.map(|(x, run)| Item::Text { mark: Mark::Foot, x, y: FOOT, run, ink: Ink::Soft });
            page.items.push(rule);
            page.items.extend(texts);
        }
    }

    fn paragraph(&mut self, text: &str, style: Style, line: f32, ink: Ink) {
        let part = self.part(Role::Paragraph, None);
        for run in self.fonts.wrap(text, style, CONTENT) {
            self.ensure(line);
            self.text(Mark::Part(part), LEFT, RISE, run, ink);
            self.y += line;
        }
    }

    /// Goes to the next page when there is less room than `height` on this one.
    fn ensure(&mut self, height: f32) {
        if self.y + height > BOTTOM {
            self.begin_page();
        }
    }

    fn part(&mut self, role: Role, within: Option<usize>) -> usize {
        self.pages.parts.push(Part { role, within });
        self.pages.parts.len() - 1
    }

    /// Draws a text whose letters stand `rise` below the present top.
    fn text(&mut self, mark: Mark, x: f32, rise: f32, run: Run, ink: Ink) {
        let y = self.y + rise;
        self.draw(Item::Text { mark, x, y, run, ink });
    }

    fn text_right(&mut self, mark: Mark, right: f32, rise: f32, run: Run, ink: Ink) {
        self.text(mark, right - run.width, rise, run, ink);
    }

    fn rule(&mut self, y: f32, x: f32, width: f32) {
        self.draw(Item::Bar { x, y, width, height: 0.6, ink: Ink::Rule });
    }

    fn draw(&mut self, item: Item) {
        if let Some(page) = self.pages.pages.last_mut() {
            page.items.push(item);
        }
    }

    /// As much of a text as fits in a line; what is left out is marked.
    fn first_line(&self, text: &str, style: Style, width: f32) -> Run {
        let whole = self.fonts.run(text, style);
        if whole.width <= width {
            return whole;
        }
        let room = width - self.fonts.run("…", style).width;
        let lines = self.fonts.wrap(text, style, room);
        let first = lines.first().map_or("", |run| run.text.trim_end());
        self.fonts.run(&format!("{first}…"), style)
    }
}

/// A line of text that has its place from left to right, and gets the other as it is drawn.
struct Placed {
    part: usize,
    x: f32,
    run: Run,
    ink: Ink,
}

impl Placed {
    const fn new(part: usize, x: f32, run: Run, ink: Ink) -> Self {
        Self { part, x, run, ink }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::form::Form;
    use super::super::sample::{self, document};
    use super::super::{Document, sheet};
    use super::*;

    fn laid_out(document: &Document, form: Form) -> Pages {
        lay_out(&sheet::sheet(document, form), &Fonts::new().unwrap())
    }

    fn texts(page: &Page) -> Vec<&str> {
        page.items
            .iter()
            .filter_map(|item| match item {
                Item::Text { run, .. } => Some(run.text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Each text lies within the page, whatever stands in it.
    fn assert_within(pages: &Pages) {
        for item in pages.pages.iter().flat_map(|page| &page.items) {
            if let Item::Text { mark, x, y, run, .. } = item {
                assert!(
                    *x >= LEFT - 0.1 && x + run.width <= RIGHT + 5.0,
                    "{x} + {}: {}",
                    run.width,
                    run.text
                );
                let bottom = if matches!(mark, Mark::Part(_)) { BOTTOM + 2.0 } else { HEIGHT - 20.0 };
                assert!((10.0..=bottom).contains(y), "{y}: {}", run.text);
            }
        }
    }

    #[test]
    fn a_long_table_has_its_head_and_the_sum_so_far_on_every_page() {
        let mut long = document();
        sample::fill(&mut long, 200);
        let pages = laid_out(&long, Form::Full);
        assert!(pages.pages.len() > 4);
        assert_within(&pages);
        for (at, page) in pages.pages.iter().enumerate() {
            let texts = texts(page);
            assert!(texts.contains(&format!("Page {} of {}", at + 1, pages.pages.len()).as_str()));
            let forward = texts.iter().position(|text| *text == "Carried forward");
            let brought = texts.iter().position(|text| *text == "Brought forward");
            assert_eq!(forward.is_some(), at + 1 < pages.pages.len(), "page {}", at + 1);
            assert_eq!(brought.is_some(), at > 0, "page {}", at + 1);
            if let (Some(forward), Some(next)) = (forward, pages.pages.get(at + 1)) {
                let next = self::texts(next);
                let brought = next.iter().position(|text| *text == "Brought forward").unwrap();
                assert_eq!(texts[forward + 1], next[brought + 1]);
            }
        }
    }

    #[test]
    fn a_description_longer_than_a_page_goes_on_over_the_page() {
        let mut long = document();
        long.lines[0].description = "W".repeat(1_000);
        long.lines[0].quantity = 1_000_000_000;
        let pages = laid_out(&long, Form::Full);
        assert_within(&pages);
        let drawn: String =
            pages.pages.iter().flat_map(texts).filter(|text| text.starts_with("WW")).collect();
        assert_eq!(drawn.len(), 1_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn nothing_runs_off_a_page(document in sample::documents()) {
            let form = document.form().unwrap();
            assert_within(&laid_out(&document, form));
        }
    }
}
