//! XML, written element by element. What is put between the tags is escaped here, and nowhere else.

/// A text of XML in the making.
pub(super) struct Xml {
    out: String,
    depth: usize,
}

impl Xml {
    /// An empty document.
    pub(super) fn new() -> Self {
        Self { out: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), depth: 0 }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// An element that holds others. `start` is its name, with attributes if it has some.
    pub(super) fn nest(&mut self, start: &str, inner: impl FnOnce(&mut Self)) {
        self.indent();
        self.out.extend(["<", start, ">\n"]);
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        self.indent();
        self.end(start);
    }

    /// An element that holds a text.
    pub(super) fn leaf(&mut self, start: &str, text: &str) {
        self.indent();
        self.out.extend(["<", start, ">"]);
        self.out.extend(text.chars().map(Escaped));
        self.end(start);
    }

    /// The same, if there is a text.
    pub(super) fn leaf_if(&mut self, start: &str, text: &str) {
        if !text.trim().is_empty() {
            self.leaf(start, text.trim());
        }
    }

    fn indent(&mut self) {
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }

    fn end(&mut self, start: &str) {
        let name = start.split(' ').next().unwrap_or_default();
        self.out.extend(["</", name, ">\n"]);
    }
}

/// A character as it stands in XML: escaped, or replaced when XML cannot hold it at all.
struct Escaped(char);

impl Extend<Escaped> for String {
    fn extend<I: IntoIterator<Item = Escaped>>(&mut self, letters: I) {
        for Escaped(letter) in letters {
            match letter {
                '&' => self.push_str("&amp;"),
                '<' => self.push_str("&lt;"),
                '>' => self.push_str("&gt;"),
                '"' => self.push_str("&quot;"),
                // A parser would read it as a line feed.
                '\r' => self.push_str("&#13;"),
                '\t' | '\n' => self.push(letter),
                '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => self.push(char::REPLACEMENT_CHARACTER),
                other => self.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_escaped() {
        let mut xml = Xml::new();
        xml.nest("a xmlns=\"urn:x\"", |xml| {
            xml.leaf("b c=\"1\"", "Tea & <Sons>\u{1}\r");
            xml.leaf_if("d", " ");
        });
        assert_eq!(
            xml.finish(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns=\"urn:x\">\n  \
             <b c=\"1\">Tea &amp; &lt;Sons&gt;\u{fffd}&#13;</b>\n</a>\n"
        );
    }
}
