//! Pages as a PDF: archival (PDF/A-3a), readable without eyes (PDF/UA-1, tagged), with the facts for machines inside.
//!
//! The writer validates as it writes and refuses what would break either standard. The same pages give the same bytes:
//! the only date is the document's own, and ids are digests of the content.

use std::num::NonZeroU16;

use krilla::color::rgb;
use krilla::configure::{Accessibility, Archival, ConfigurationBuilder};
use krilla::destination::XyzDestination;
use krilla::embed::{AssociationKind, EmbeddedFile, MimeType};
use krilla::geom::{PathBuilder, Point, Rect, Transform};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::tagging::{
    Artifact, ArtifactType, ContentTag, Identifier, Node, SpanTag, TableHeaderScope, Tag, TagGroup, TagKind,
    TagTree,
};
use krilla::text::{Font, GlyphId, KrillaGlyph};
use krilla::{Document, SerializeSettings};

use super::face::{BOLD, REGULAR, Run, Weight};
use super::page::{HEIGHT, Ink, Item, Mark, Page, Pages, Part, Role, WIDTH};
use super::sheet::Sheet;
use super::{Error, words};

/// English as South Africa writes it.
const LANGUAGE: &str = "en-ZA";
/// What made it.
const PRODUCER: &str = "CapeControl";
/// How steeply a text goes across the page: 52 degrees, as cosine and sine. Written out, for no two machines are sure
/// to compute the same last bit of them.
const ACROSS: (f32, f32) = (0.615_661_5, 0.788_010_8);

/// Writes the pages, with `facts` inside.
pub(super) fn write(sheet: &Sheet, pages: &Pages, facts: String) -> Result<Vec<u8>, Error> {
    let mut document = Document::new_with(settings()?);
    let mut pen = Pen::new(pages.parts.len())?;
    for page in &pages.pages {
        let size = PageSettings::from_wh(WIDTH, HEIGHT).ok_or_else(|| drawing("the page has no size"))?;
        let mut canvas = document.start_page_with(size);
        let mut surface = canvas.surface();
        pen.draw(page, &mut surface);
        surface.finish();
        canvas.finish();
    }
    document.set_tag_tree(tree(&pages.parts, &pen.leaves));
    document.set_metadata(metadata(sheet));
    let mut outline = Outline::new();
    outline.push_child(OutlineNode::new(
        sheet.running.clone(),
        XyzDestination::new(0, Point::from_xy(0.0, 0.0)),
    ));
    document.set_outline(outline);
    document.embed_file(file(sheet, facts)).ok_or_else(|| drawing("the facts cannot be embedded"))?;
    document.finish().map_err(|error| drawing(&format!("{error:?}")))
}

fn drawing(what: &str) -> Error {
    Error::Drawing(what.to_owned())
}

fn settings() -> Result<SerializeSettings, Error> {
    let configuration = ConfigurationBuilder::new()
        .with_archival_validator(Archival::A3_A)
        .with_accessibility_validator(Accessibility::UA1)
        .finish()
        .map_err(|error| drawing(&format!("{error:?}")))?;
    Ok(SerializeSettings { configuration, ..SerializeSettings::default() })
}

fn metadata(sheet: &Sheet) -> Metadata {
    Metadata::new()
        .title(sheet.running.clone())
        .authors(vec![sheet.supplier.name.clone()])
        .language(LANGUAGE.to_owned())
        .creator(PRODUCER.to_owned())
        .producer(PRODUCER.to_owned())
        .creation_date(issued(sheet))
}

/// When it was issued, by South Africa's clocks.
fn issued(sheet: &Sheet) -> DateTime {
    let at = words::in_south_africa(sheet.issued_at);
    DateTime::new(u16::try_from(at.year()).unwrap_or_default())
        .month(at.month().into())
        .day(at.day())
        .hour(at.hour())
        .minute(at.minute())
        .second(at.second())
        .utc_offset_hour(2)
}

fn file(sheet: &Sheet, facts: String) -> EmbeddedFile {
    EmbeddedFile {
        path: sheet.file.to_owned(),
        mime_type: MimeType::new("application/xml"),
        description: Some("The same document for machines, in UBL 2.1".to_owned()),
        association_kind: AssociationKind::Alternative,
        data: facts.into_bytes().into(),
        modification_date: Some(issued(sheet)),
        compress: Some(true),
        location: None,
    }
}

/// Draws, and keeps which piece of which page belongs to which part of the text.
struct Pen {
    regular: Font,
    bold: Font,
    leaves: Vec<Vec<Identifier>>,
}

impl Pen {
    fn new(parts: usize) -> Result<Self, Error> {
        let font = |bytes: &'static [u8]| {
            Font::new(bytes.into(), 0).ok_or_else(|| drawing("the font cannot be read"))
        };
        Ok(Self { regular: font(REGULAR)?, bold: font(BOLD)?, leaves: vec![Vec::new(); parts] })
    }

    fn draw(&mut self, page: &Page, surface: &mut Surface<'_>) {
        for item in &page.items {
            match item {
                Item::Text { mark, x, y, run, ink } => self.text(surface, *mark, (*x, *y), run, *ink),
                Item::Across { run, ink } => self.across(surface, run, *ink),
                Item::Bar { x, y, width, height, ink } => {
                    let Some(rect) = Rect::from_xywh(*x, *y, *width, *height) else { continue };
                    let mut path = PathBuilder::new();
                    path.push_rect(rect);
                    let Some(path) = path.finish() else { continue };
                    surface.start_tagged(artifact(ArtifactType::Layout));
                    surface.set_fill(Some(fill(*ink)));
                    surface.draw_path(&path);
                    surface.end_tagged();
                }
            }
        }
    }

    fn text(&mut self, surface: &mut Surface<'_>, mark: Mark, at: (f32, f32), run: &Run, ink: Ink) {
        let tag = match mark {
            Mark::Part(_) => ContentTag::Span(SpanTag::empty()),
            Mark::Head => artifact(ArtifactType::Header),
            Mark::Foot => artifact(ArtifactType::Footer),
        };
        let leaf = surface.start_tagged(tag);
        self.glyphs(surface, at, run, ink);
        surface.end_tagged();
        if let Mark::Part(part) = mark
            && let Some(leaves) = self.leaves.get_mut(part)
        {
            leaves.push(leaf);
        }
    }

    fn across(&self, surface: &mut Surface<'_>, run: &Run, ink: Ink) {
        surface.start_tagged(artifact(ArtifactType::Watermark));
        let (cosine, sine) = ACROSS;
        let to_the_middle = Transform::from_row(cosine, -sine, sine, cosine, WIDTH / 2.0, HEIGHT / 2.0);
        surface.push_transform(&to_the_middle);
        self.glyphs(surface, (-run.width / 2.0, run.style.size / 3.0), run, ink);
        surface.pop();
        surface.end_tagged();
    }

    fn glyphs(&self, surface: &mut Surface<'_>, (x, y): (f32, f32), run: &Run, ink: Ink) {
        let font = match run.style.weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        };
        let glyphs: Vec<KrillaGlyph> = run
            .glyphs
            .iter()
            .map(|glyph| {
                let id = GlyphId::new(glyph.id);
                KrillaGlyph::new(id, glyph.advance, 0.0, 0.0, 0.0, glyph.range.clone(), None)
            })
            .collect();
        surface.set_fill(Some(fill(ink)));
        surface.draw_glyphs(Point::from_xy(x, y), &glyphs, font.clone(), &run.text, run.style.size, false);
    }
}

fn artifact(kind: ArtifactType) -> ContentTag<'static> {
    ContentTag::Artifact(Artifact::with_kind(kind))
}

fn fill(ink: Ink) -> Fill {
    let (red, green, blue) = ink.rgb();
    Fill {
        paint: rgb::Color::new(red, green, blue).into(),
        opacity: NormalizedF32::ONE,
        rule: krilla::paint::FillRule::default(),
    }
}

/// The parts of the text as they hold each other, with the drawn pieces at the ends.
fn tree(parts: &[Part], leaves: &[Vec<Identifier>]) -> TagTree {
    let mut groups: Vec<Option<TagGroup>> = Vec::with_capacity(parts.len());
    for (part, leaves) in parts.iter().zip(leaves) {
        groups.push(Some(TagGroup::with_children(
            tag(part.role),
            leaves.iter().copied().map(Node::from).collect(),
        )));
    }
    // From the last to the first: what a part holds comes after it, and is whole by then.
    let mut tree = Vec::new();
    for (at, part) in parts.iter().enumerate().rev() {
        let Some(mut group) = groups.get_mut(at).and_then(Option::take) else { continue };
        // What it holds came in from the last to the first.
        if matches!(part.role, Role::Table | Role::Row) {
            group.children.reverse();
        }
        match part.within.and_then(|outer| groups.get_mut(outer)).and_then(Option::as_mut) {
            Some(outer) => outer.push(group),
            None => tree.push(group),
        }
    }
    let mut root = TagTree::new().with_lang(Some(LANGUAGE.to_owned()));
    tree.into_iter().rev().for_each(|group| root.push(group));
    root
}

fn tag(role: Role) -> TagKind {
    let heading = |level: u16, title: &str| {
        let level = NonZeroU16::new(level).unwrap_or(NonZeroU16::MIN);
        Tag::Hn(level, Some(title.to_owned()))
    };
    match role {
        Role::Title(title) => heading(1, title).into(),
        Role::Heading(title) => heading(2, title).into(),
        Role::Paragraph => Tag::P.into(),
        Role::Table => Tag::Table.into(),
        Role::Row => Tag::TR.into(),
        Role::ColumnHead => Tag::TH(TableHeaderScope::Column).into(),
        Role::RowHead => Tag::TH(TableHeaderScope::Row).into(),
        Role::Cell => Tag::TD.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample;
    use super::super::{render, structured};

    #[test]
    fn the_same_document_is_the_same_bytes_and_another_is_not() {
        let bytes = render(&sample::document()).unwrap();
        assert_eq!(bytes, render(&sample::document()).unwrap());
        let mut other = sample::document();
        other.issued_at = other.issued_at.plus(std::time::Duration::from_secs(1));
        assert_ne!(bytes, render(&other).unwrap());
        assert!(structured(&sample::document()).unwrap().contains("<cbc:ID>INV-000123</cbc:ID>"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn whatever_can_be_issued_can_be_drawn(document in sample::documents()) {
            let bytes = render(&document);
            prop_assert!(bytes.is_ok(), "{:?}", bytes);
        }
    }
}
