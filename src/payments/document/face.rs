//! The font: which glyph stands for a character, how wide it is, and where a line of text has to break.
//!
//! Noto Sans, cut down to the Latin, Greek and Cyrillic scripts (assets/fonts). Each character is one glyph; pairs are
//! kerned, nothing else is shaped. A character that the font does not have is drawn as the sign for that, `�`, and
//! remains what it is for whoever copies or searches the text.

use std::ops::Range;

use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::raw::TableProvider as _;
use skrifa::raw::tables::gpos::{PairPos, PositionSubtables, ValueContext};
use skrifa::{FontRef, GlyphId, MetadataProvider as _};

/// Noto Sans, regular.
pub(super) static REGULAR: &[u8] = include_bytes!("../../../assets/fonts/NotoSans-Regular.ttf");
/// Noto Sans, bold.
pub(super) static BOLD: &[u8] = include_bytes!("../../../assets/fonts/NotoSans-Bold.ttf");

/// How heavy letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    /// How heavy.
    pub(super) weight: Weight,
    /// How large, in points.
    pub(super) size: f32,
}

/// A glyph in a line of text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Glyph {
    /// Its place in the font.
    pub(super) id: u32,
    /// How far the next one stands, as a part of the size.
    pub(super) advance: f32,
    /// The bytes of the text that it stands for.
    pub(super) range: Range<usize>,
}

/// A text in one line, ready to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// The text.
    pub(super) text: String,
    /// Its glyphs.
    pub(super) glyphs: Vec<Glyph>,
    /// How it looks.
    pub(super) style: Style,
    /// How wide it is, in points.
    pub(super) width: f32,
}

/// The font in both weights.
pub(super) struct Fonts {
    regular: Face,
    bold: Face,
}

impl Fonts {
    /// Reads both; `None` when what was built in is no font.
    pub(super) fn new() -> Option<Self> {
        Some(Self { regular: Face::new(REGULAR)?, bold: Face::new(BOLD)? })
    }

    /// Sets a text in one line.
    pub(super) fn run(&self, text: &str, style: Style) -> Run {
        let glyphs = self.face(style).glyphs(text);
        let width = style.size * glyphs.iter().map(|glyph| glyph.advance).sum::<f32>();
        Run { text: text.to_owned(), glyphs, style, width }
    }

    /// Sets a text in as many lines as it needs. Lines break between words; a word that is wider than a line breaks
    /// where the line ends.
    pub(super) fn wrap(&self, text: &str, style: Style, width: f32) -> Vec<Run> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer, style) <= width {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                // The space stays with the line that it ends, so that whoever reads the text aloud sees two words.
                lines.push(self.run(&format!("{line} "), style));
            }
            line = self.break_word(word, style, width, &mut lines);
        }
        lines.push(self.run(&line, style));
        lines
    }

    /// Gives lines to `lines` as long as a word is wider than one, and returns what is left.
    fn break_word(&self, word: &str, style: Style, width: f32, lines: &mut Vec<Run>) -> String {
        let mut piece = String::new();
        for letter in word.chars() {
            piece.push(letter);
            if self.width(&piece, style) > width && piece.chars().nth(1).is_some() {
                piece.pop();
                lines.push(self.run(&piece, style));
                piece = String::from(letter);
            }
        }
        piece
    }

    fn width(&self, text: &str, style: Style) -> f32 {
        self.run(text, style).width
    }

    fn face(&self, style: Style) -> &Face {
        match style.weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }
}

struct Face {
    charmap: Charmap<'static>,
    metrics: GlyphMetrics<'static>,
    pairs: Vec<PairPos<'static>>,
    units_per_em: f32,
    replacement: GlyphId,
}

impl Face {
    fn new(bytes: &'static [u8]) -> Option<Self> {
        let font = FontRef::new(bytes).ok()?;
        let charmap = font.charmap();
        let units_per_em = f32::from(font.head().ok()?.units_per_em());
        Some(Self {
            replacement: charmap.map(char::REPLACEMENT_CHARACTER)?,
            metrics: font.glyph_metrics(Size::unscaled(), LocationRef::default()),
            pairs: pairs(&font).unwrap_or_default(),
            charmap,
            units_per_em,
        })
    }

    fn glyphs(&self, text: &str) -> Vec<Glyph> {
        let mut glyphs = Vec::with_capacity(text.len());
        let mut letters = text.char_indices().peekable();
        while let Some((start, letter)) = letters.next() {
            let id = self.glyph(letter);
            let kern = letters.peek().map_or(0, |(_, next)| self.kern(id, self.glyph(*next)));
            let advance = self.metrics.advance_width(id).unwrap_or_default() + f32::from(kern);
            let range = start..start + letter.len_utf8();
            glyphs.push(Glyph { id: id.to_u32(), advance: advance / self.units_per_em, range });
        }
        glyphs
    }

    fn glyph(&self, letter: char) -> GlyphId {
        self.charmap.map(letter).unwrap_or(self.replacement)
    }

    /// How much nearer the second of two glyphs stands. The first table that knows the pair decides.
    fn kern(&self, first: GlyphId, second: GlyphId) -> i16 {
        self.pairs.iter().find_map(|pairs| kern(pairs, first, second)).unwrap_or(0)
    }
}

/// The tables of the font that say how pairs of glyphs stand.
fn pairs(font: &FontRef<'static>) -> Option<Vec<PairPos<'static>>> {
    let mut found = Vec::new();
    for lookup in font.gpos().ok()?.lookup_list().ok()?.lookups().iter() {
        if let Ok(PositionSubtables::Pair(tables)) = lookup.ok()?.subtables() {
            found.extend(tables.iter().filter_map(Result::ok));
        }
    }
    Some(found)
}

fn kern(pairs: &PairPos<'static>, first: GlyphId, second: GlyphId) -> Option<i16> {
    match pairs {
        PairPos::Format1(table) => {
            let set = table.pair_sets().get(table.coverage().ok()?.get(first)?.into()).ok()?;
            let mut records = set.pair_value_records().iter().filter_map(Result::ok);
            let record = records.find(|record| GlyphId::from(record.second_glyph()) == second)?;
            record.value_record1().x_advance()
        }
        PairPos::Format2(table) => {
            table.coverage().ok()?.get(first)?;
            let (first, second) = (table.class_def1().ok()?.get(first), table.class_def2().ok()?.get(second));
            let [value, _] = table.values(first, second, &ValueContext::default()).ok()?;
            Some(value.x_advance)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STYLE: Style = Style { weight: Weight::Regular, size: 10.0 };

    fn fonts() -> Fonts {
        Fonts::new().unwrap()
    }

    #[test]
    fn figures_are_of_one_width_so_that_columns_of_amounts_align() {
        for weight in [Weight::Regular, Weight::Bold] {
            let style = Style { weight, size: 10.0 };
            let widths: Vec<f32> = ('0'..='9').map(|c| fonts().run(&c.to_string(), style).width).collect();
            assert!(widths.iter().all(|width| (width - widths[0]).abs() < 0.001), "{widths:?}");
            let pairs = ["11", "17", "71", "74", "47"].map(|pair| fonts().run(pair, style).width);
            assert!(pairs.iter().all(|width| (width - pairs[0]).abs() < 0.001), "{pairs:?}");
        }
    }

    #[test]
    fn pairs_are_kerned() {
        let width = |text| fonts().run(text, STYLE).width;
        assert!(width("Ta") < width("T") + width("a") - 0.2);
        assert!(width("AV") < width("A") + width("V") - 0.2);
        assert!((width("HH") - 2.0 * width("H")).abs() < 0.001);
    }

    #[test]
    fn what_the_font_lacks_is_seen_and_stays_what_it_is() {
        let fonts = fonts();
        let run = fonts.run("a漢b", STYLE);
        let sign = fonts.run("\u{fffd}", STYLE).glyphs[0].id;
        assert_eq!((run.glyphs.len(), run.glyphs[1].id, run.text.as_str()), (3, sign, "a漢b"));
        assert_ne!(sign, 0);
        assert!(run.glyphs.iter().all(|glyph| glyph.id != 0));
    }

    #[test]
    fn lines_break_between_words_and_long_words_where_the_line_ends() {
        let texts = |text: &str, width: f32| -> Vec<String> {
            fonts().wrap(text, STYLE, width).into_iter().map(|run| run.text).collect()
        };
        assert_eq!(texts("one two three", 1_000.0), ["one two three"]);
        assert_eq!(texts("one two three", 45.0), ["one two ", "three"]);
        assert_eq!(texts("", 45.0), [""]);
        let broken = texts("Llanfairpwllgwyngyllgogerychwyrndrobwll x", 60.0);
        assert!(
            broken.len() > 3 && broken.concat() == "Llanfairpwllgwyngyllgogerychwyrndrobwll x",
            "{broken:?}"
        );
        assert_eq!(texts("WWW", 1.0), ["W", "W", "W"]);
    }

    proptest! {
        #[test]
        fn wrapped_lines_fit_and_hold_the_whole_text(text in "\\PC{0,80}", width in 20.0_f32..300.0) {
            let lines = fonts().wrap(&text, STYLE, width);
            let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).collect::<String>();
            let all: String = lines.iter().map(|line| line.text.as_str()).collect();
            prop_assert_eq!(words(&all), words(&text));
            for line in &lines {
                let seen = fonts().run(line.text.trim_end_matches(' '), STYLE);
                prop_assert!(seen.width <= width + 0.01 || seen.glyphs.len() == 1);
                prop_assert!(line.glyphs.iter().all(|glyph| glyph.id != 0));
            }
        }
    }
}
