//! Finds the statements in Rust source: what stands in a call of `.sql(…)` or `.shared_sql(…)`.
//!
//! It reads the forms that the house uses: a literal, `concat!`, the forks of the database floor, and a constant of the
//! same file. Whatever else stands there is told as unread, so that no statement goes by unseen.

use std::iter::Peekable;
use std::str::Chars;

use crate::tidy::source::{Source, line_of, literal_or_comment};

const SHARED: &str = ".shared_sql(";
const CALLS: [&str; 2] = [".sql(", SHARED];

/// A statement as each engine is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub sqlite: String,
    pub postgres: String,
}

/// A call and its statement; none when it is written in a way that is not read.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// `path:line`.
    pub place: String,
    /// Whether it is `.shared_sql(…)`.
    pub shared: bool,
    pub text: Option<Text>,
}

/// All calls of a file, in order.
pub fn calls(source: &Source) -> Vec<Call> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < source.text.len() {
        let rest = &source.text[at..];
        if let Some(call) = CALLS.iter().find(|call| rest.starts_with(**call)) {
            at += call.len();
            let place = format!("{}:{}", source.path, line_of(&source.text, at));
            let shared = *call == SHARED;
            found.push(Call { place, shared, text: Reader::new(&source.text, at).expression() });
            continue;
        }
        let (skipped, _) = literal_or_comment(rest, source.text[..at].chars().next_back());
        at += if skipped > 0 { skipped } else { rest.chars().next().map_or(1, char::len_utf8) };
    }
    found
}

/// Reads an expression from a place in a file on.
struct Reader<'s> {
    file: &'s str,
    rest: &'s str,
}

impl<'s> Reader<'s> {
    fn new(file: &'s str, at: usize) -> Self {
        Self { file, rest: &file[at..] }
    }

    fn expression(&mut self) -> Option<Text> {
        if let Some(text) = self.literal() {
            return Some(Text { sqlite: text.clone(), postgres: text });
        }
        match self.path()? {
            "concat" => self.arguments("!(", ")").map(|parts| join(&parts, "")),
            "lock" => {
                let text = one(self.arguments("!(", ")")?)?;
                Some(Text { postgres: format!("{} FOR UPDATE", text.postgres), ..text })
            }
            "claim" => {
                let parts = self.arguments("!(", ")").filter(|parts| parts.len() == 2)?;
                Some(Text {
                    sqlite: join(&parts, " ").sqlite,
                    postgres: join(&parts, " FOR UPDATE SKIP LOCKED ").postgres,
                })
            }
            "Sql" => self.fork(),
            name => self.constant(name),
        }
    }

    /// `{ sqlite: …, postgres: … }`.
    fn fork(&mut self) -> Option<Text> {
        self.take("{")?;
        self.take("sqlite")?;
        self.take(":")?;
        let sqlite = self.expression()?.sqlite;
        self.take(",")?;
        self.take("postgres")?;
        self.take(":")?;
        let postgres = self.expression()?.postgres;
        Some(Text { sqlite, postgres })
    }

    /// The value of a constant that the file declares.
    fn constant(&self, name: &str) -> Option<Text> {
        let declared = self.file.find(&format!("const {name}:"))?;
        let value = self.file[declared..].find('=')? + declared + 1;
        Reader::new(self.file, value).expression()
    }

    fn arguments(&mut self, open: &str, close: &str) -> Option<Vec<Text>> {
        self.take(open)?;
        let mut found = Vec::new();
        while self.take(close).is_none() {
            found.push(self.expression()?);
            if self.take(",").is_none() {
                self.take(close)?;
                break;
            }
        }
        Some(found)
    }

    /// The last name of a path such as `db::lock`.
    fn path(&mut self) -> Option<&'s str> {
        loop {
            self.skip();
            let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
            let (name, rest) = self.rest.split_at(end);
            self.rest = rest;
            if self.take("::").is_none() {
                return (!name.is_empty()).then_some(name);
            }
        }
    }

    fn literal(&mut self) -> Option<String> {
        self.skip();
        if !self.rest.starts_with('"') && !self.rest.starts_with("r\"") && !self.rest.starts_with("r#") {
            return None;
        }
        let (literal, rest) = self.rest.split_at(literal_or_comment(self.rest, None).0);
        self.rest = rest;
        match literal.strip_prefix('r') {
            Some(raw) => Some(raw.trim_matches('#').strip_prefix('"')?.strip_suffix('"')?.to_owned()),
            None => Some(unescape(literal.strip_prefix('"')?.strip_suffix('"')?)),
        }
    }

    fn take(&mut self, wanted: &str) -> Option<()> {
        self.skip();
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    /// Goes over white space and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with("//") && !self.rest.starts_with("/*") {
                return;
            }
            self.rest = &self.rest[literal_or_comment(self.rest, None).0..];
        }
    }
}

fn join(parts: &[Text], between: &str) -> Text {
    let join = |part: fn(&Text) -> &str| parts.iter().map(part).collect::<Vec<_>>().join(between);
    Text { sqlite: join(|part| &part.sqlite), postgres: join(|part| &part.postgres) }
}

fn one(parts: Vec<Text>) -> Option<Text> {
    let [part] = <[Text; 1]>::try_from(parts).ok()?;
    Some(part)
}

/// The text that a literal stands for.
fn unescape(literal: &str) -> String {
    let mut text = String::new();
    let mut rest = literal.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\\' { escape(&mut rest, &mut text) } else { text.push(c) }
    }
    text
}

fn escape(rest: &mut Peekable<Chars<'_>>, text: &mut String) {
    match rest.next() {
        Some('n') => text.push('\n'),
        Some('t') => text.push('\t'),
        Some('\n') => while rest.next_if(|c| c.is_whitespace()).is_some() {},
        Some(c @ ('"' | '\'' | '\\')) => text.push(c),
        other => panic!("a statement has an escape that is not read: \\{other:?}"),
    }
}

/// Writes placeholders for so many rows or values, as the database floor does when it knows how many there are.
pub fn expanded(text: &str, most: usize) -> Result<String, String> {
    let first = placeholders(text).max().unwrap_or(0) + 1;
    let group = |first: usize, width: usize| {
        let numbers: Vec<String> = (first..first + width).map(|number| format!("${number}")).collect();
        format!("({})", numbers.join(", "))
    };
    match (text.matches("$rows").count(), text.matches("$list").count()) {
        (0, 0) => Ok(text.to_owned()),
        (0, 1) => Ok(text.replace("$list", &group(first, most))),
        (1, 0) => {
            let width = columns(text).ok_or("names no columns before VALUES $rows")?;
            let rows: Vec<String> = (0..most).map(|row| group(first + row * width, width)).collect();
            Ok(text.replace("$rows", &rows.join(", ")))
        }
        _ => Err("has more than one $rows or $list, of which the database floor expands one".to_owned()),
    }
}

/// Says of the first row of an `IN (VALUES …)` that it holds ids, and of that of a `WITH … AS (VALUES …)` what its
/// columns' names say. There PostgreSQL cannot see what the values are compared with, and takes them for text unless it
/// is told, as the driver does when it sends them.
pub fn with_ids(text: &str) -> String {
    let Some((before, after)) = text.split_once("(VALUES (") else { return text.to_owned() };
    let Some((row, after)) = after.split_once(')') else { return text.to_owned() };
    let names = before.trim_end().strip_suffix("AS").and_then(list_before);
    let kinds = names.map(|names| names.split(',').map(|name| kind(name.trim())).collect::<Vec<_>>());
    let cast = |(at, value): (usize, &str)| {
        let kind = kinds.as_ref().and_then(|kinds| kinds.get(at)).unwrap_or(&"uuid");
        format!("CAST({value} AS {kind})")
    };
    let values: Vec<String> = row.split(", ").enumerate().map(cast).collect();
    format!("{before}(VALUES ({}){after}", values.join(", "))
}

/// What PostgreSQL calls the values of a column of this name.
fn kind(name: &str) -> &'static str {
    match name {
        "seq" => "bigint",
        "created_at" => "timestamptz",
        "words" => "jsonb",
        name if name.ends_with("_id") => "uuid",
        name => panic!("no kind is known of a column that is named {name}"),
    }
}

/// How many columns stand in the parentheses before `VALUES $rows`, `IN (VALUES $rows)` or `AS (VALUES $rows)`.
fn columns(text: &str) -> Option<usize> {
    let before = text.split_once("$rows")?.0.trim_end().strip_suffix("VALUES")?.trim_end();
    let within = before.strip_suffix("IN (").or_else(|| before.strip_suffix("AS ("));
    Some(list_before(within.unwrap_or(before))?.split(',').count())
}

/// What stands in the parentheses that a text ends with.
fn list_before(text: &str) -> Option<&str> {
    Some(text.trim_end().strip_suffix(')')?.rsplit_once('(')?.1)
}

/// The numbers of all placeholders in a text.
pub fn placeholders(text: &str) -> impl Iterator<Item = usize> {
    text.split('$').skip(1).filter_map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse().ok()
    })
}
