//! What the rules read: the project's files, and Rust code with everything that is not code blanked out.

use std::fs;
use std::path::Path;

/// A file of the project.
pub struct Source {
    /// Its path below the project's folder, with `/` between the parts.
    pub path: String,
    /// Its text as it stands.
    pub text: String,
    /// The same text, line for line, with comments and the contents of literals blanked out. For Rust only; other
    /// files have their text here.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if is_rust(path) { code(text) } else { text.to_owned() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub fn is_rust(&self) -> bool {
        is_rust(&self.path)
    }

    /// Whether the file is one of `places`: a path, or a folder when the place ends in `/`. `*` stands for one part.
    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| matches(&self.path, place))
    }
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn matches(path: &str, place: &str) -> bool {
    let mut parts = path.split('/');
    for wanted in place.trim_end_matches('/').split('/') {
        match parts.next() {
            Some(part) if wanted == "*" || wanted == part => {}
            _ => return false,
        }
    }
    place.ends_with('/') == parts.next().is_some()
}

/// Reads every file below `folder` that has one of the extensions, in the order of their paths.
pub fn read(root: &Path, folder: &str, extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root.join(folder), &mut |path| {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        if extensions.contains(&extension) && !name.contains("/.") {
            found.push(Source::new(&name, &fs::read_to_string(path).unwrap()));
        }
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, visit);
        } else {
            visit(&path);
        }
    }
}

/// Blanks comments and the contents of string and character literals; line breaks stay where they are.
pub fn code(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let (skipped, kept) = literal_or_comment(rest, out.chars().next_back());
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        out.push_str(kept);
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

/// The length of the comment or literal that `rest` starts with, and what stands for it. 0 when there is none.
pub fn literal_or_comment(rest: &str, before: Option<char>) -> (usize, &'static str) {
    let in_word = before.is_some_and(is_word);
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), "");
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), " ");
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), "\"\"");
    }
    if !in_word && let Some(length) = raw_string(rest) {
        return (length, "\"\"");
    }
    if rest.starts_with('\'') && is_character(rest) {
        return (quoted(rest, '\''), "' '");
    }
    (0, "")
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let opened = rest.len() - after.len() + hashes;
    if !rest[opened..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = &rest[opened + 1..];
    Some(body.find(&end).map_or(rest.len(), |at| opened + 1 + at + end.len()))
}

/// A quote opens a character when it is closed again soon; else it is a lifetime.
fn is_character(rest: &str) -> bool {
    let mut after = rest.chars().skip(1);
    after.next() == Some('\\') || after.next() == Some('\'')
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The line of a place in a text, the first being 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}
