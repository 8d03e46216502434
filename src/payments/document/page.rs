//! Pages as they are to be drawn: what stands where, and what it is for whoever cannot see it.

use super::face::Run;

/// A4, in points.
pub(super) const WIDTH: f32 = 595.28;
/// Its height.
pub(super) const HEIGHT: f32 = 841.89;

/// The whole document.
#[derive(Default)]
pub(super) struct Pages {
    /// The pages.
    pub(super) pages: Vec<Page>,
    /// The parts of the text, in the order in which they are read.
    pub(super) parts: Vec<Part>,
}

/// A page: what is drawn, in this order.
#[derive(Default)]
pub(super) struct Page {
    /// What is drawn.
    pub(super) items: Vec<Item>,
}

/// Something that is drawn.
pub(super) enum Item {
    /// A line of text.
    Text {
        /// What it belongs to.
        mark: Mark,
        /// Where it begins.
        x: f32,
        /// Where its letters stand, from the top of the page.
        y: f32,
        /// The text.
        run: Run,
        /// Its colour.
        ink: Ink,
    },
    /// A text from the lower left to the upper right, across the page.
    Across {
        /// The text.
        run: Run,
        /// Its colour.
        ink: Ink,
    },
    /// A filled rectangle; a thin one is a rule.
    Bar {
        /// Where it begins.
        x: f32,
        /// Its upper edge, from the top of the page.
        y: f32,
        /// How wide it is.
        width: f32,
        /// How high it is.
        height: f32,
        /// Its colour.
        ink: Ink,
    },
}

/// What a drawn text belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A part of the text, by its place in [`Pages::parts`].
    Part(usize),
    /// The head of a page, or what is repeated there.
    Head,
    /// The foot of a page.
    Foot,
}

/// A part of the text. Tables and rows hold parts, all others hold text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What it is.
    pub(super) role: Role,
    /// Which part holds it.
    pub(super) within: Option<usize>,
}

/// What a part of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The title of the document.
    Title(&'static str),
    /// A heading below it.
    Heading(&'static str),
    /// A paragraph.
    Paragraph,
    /// A table, which holds rows.
    Table,
    /// A row, which holds cells.
    Row,
    /// A cell that heads its column.
    ColumnHead,
    /// A cell that heads its row.
    RowHead,
    /// Any other cell.
    Cell,
}

/// A colour. Text is dark enough on white, and white on what is dark, to be read by weak eyes and on bad printers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Nearly black.
    Text,
    /// Grey, for what is said in passing.
    Soft,
    /// The brand's blue.
    Accent,
    /// A thin line.
    Rule,
    /// Behind what is to be found at once.
    Shade,
    /// Red, for warnings.
    Warning,
    /// A pale red, behind text.
    Pale,
    /// White, on a warning.
    White,
}

impl Ink {
    /// Red, green and blue.
    pub(super) const fn rgb(self) -> (u8, u8, u8) {
        match self {
            Self::Text => (24, 28, 36),
            Self::Soft => (88, 96, 110),
            Self::Accent => (26, 86, 219),
            Self::Rule => (206, 211, 220),
            Self::Shade => (242, 245, 250),
            Self::Warning => (180, 35, 24),
            Self::Pale => (250, 226, 223),
            Self::White => (255, 255, 255),
        }
    }
}
