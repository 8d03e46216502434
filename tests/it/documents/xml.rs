//! A reader of the XML that documents carry: strict about what it takes, and no more than that.

/// What stands in a text of XML: each element that holds a text, by its path.
pub struct Facts(Vec<(String, String)>);

impl Facts {
    /// The one text at this path.
    #[track_caller]
    pub fn one(&self, path: &str) -> &str {
        match self.all(path).as_slice() {
            [one] => one,
            other => panic!("{} texts at {path}", other.len()),
        }
    }

    /// Every text at this path.
    pub fn all(&self, path: &str) -> Vec<&str> {
        self.0.iter().filter(|(at, _)| at == path).map(|(_, text)| text.as_str()).collect()
    }
}

/// Reads a text; panics when tags do not close in their order.
pub fn read(text: &str) -> Facts {
    let mut rest = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").unwrap();
    let (mut open, mut facts): (Vec<&str>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    while let Some((between, behind)) = rest.split_once('<') {
        let (tag, behind) = behind.split_once('>').unwrap();
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            if !between.trim().is_empty() {
                facts.push((open.join("/"), unescaped(between)));
            }
            assert_eq!(open.pop(), Some(name));
        } else {
            assert!(between.trim().is_empty(), "{between:?}");
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty());
    Facts(facts)
}

fn unescaped(text: &str) -> String {
    assert!(!text.contains('>'), "{text:?}");
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#13;", "\r");
    plain.replace("&amp;", "&")
}
