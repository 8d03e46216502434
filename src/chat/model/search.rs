//! What a search looks for, and where it stands in a text.
//!
//! A question is plain: words that must all be there, `"words in this order"`, `-without`, and `begin*`. What stands
//! between other marks is words in this order too, so that an address is found as it is written. No engine's own
//! language is spoken: the database is asked for texts that have certain words, and what is found is looked through
//! here. So both engines find the same.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::base::Violations;
use crate::base::words::{Word, words};

/// The longest question, in characters.
pub const QUERY_CHARS_MAX: usize = 200;
/// The most words of a question.
pub const QUERY_WORDS_MAX: usize = 20;
/// How many different words of a message are found again.
pub const MESSAGE_WORDS_MAX: usize = 1_000;
/// How much of a text is shown around what was found, in characters.
pub const SNIPPET_CHARS: usize = 200;
/// How much of that stands before it.
const LEAD_CHARS: usize = 40;

/// Above every letter that a word can have, and just above nothing.
const LAST: char = '\u{10ffff}';
const FIRST: char = '\u{1}';

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    wanted: Vec<Sequence>,
    unwanted: Vec<Sequence>,
}

/// Words that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sequence {
    words: Vec<String>,
    /// Whether the last one is only how a word begins.
    open: bool,
}

impl Query {
    /// Reads a question, and notes what is wrong with it.
    pub fn parse(violations: &mut Violations, field: &str, text: &str) -> Option<Self> {
        if text.chars().nth(QUERY_CHARS_MAX).is_some() {
            violations.add_hostile(field, format!("must have at most {QUERY_CHARS_MAX} characters"));
            return None;
        }
        let mut query = Self { wanted: Vec::new(), unwanted: Vec::new() };
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            rest = query.take(rest).trim_start();
        }
        let count =
            query.wanted.iter().chain(&query.unwanted).map(|sequence| sequence.words.len()).sum::<usize>();
        violations.check(!query.wanted.is_empty(), field, "must have a word that is to be found");
        violations.check(
            count <= QUERY_WORDS_MAX,
            field,
            format!("must have at most {QUERY_WORDS_MAX} words"),
        );
        (!query.wanted.is_empty() && count <= QUERY_WORDS_MAX).then_some(query)
    }

    /// Reads what the question begins with, and returns the rest of it.
    fn take<'t>(&mut self, text: &'t str) -> &'t str {
        let without = text.strip_prefix('-').filter(|after| !after.starts_with(char::is_whitespace));
        let body = without.unwrap_or(text);
        let (piece, rest) = if let Some(quoted) = body.strip_prefix('"') {
            quoted.split_once('"').unwrap_or((quoted, ""))
        } else {
            let end = body.find(|letter: char| letter.is_whitespace() || letter == '"').unwrap_or(body.len());
            body.split_at_checked(end).unwrap_or((body, ""))
        };
        let quoted = body.starts_with('"');
        // A star ends a word; behind quotes it belongs to the last word in them.
        let (piece, open, rest) = match (quoted, piece.strip_suffix('*'), rest.strip_prefix('*')) {
            (true, _, Some(rest)) => (piece, true, rest),
            (false, Some(piece), _) => (piece, true, rest),
            _ => (piece, false, rest),
        };
        let found: Vec<Word> = words(piece).collect();
        let open = open && found.last().is_some_and(|last| last.end == piece.len());
        let words: Vec<String> = found.into_iter().map(|word| word.folded).collect();
        if !words.is_empty() {
            let kind = if without.is_some() { &mut self.unwanted } else { &mut self.wanted };
            kind.push(Sequence { words, open });
        }
        rest
    }

    /// The words that every match has, each once.
    #[must_use]
    pub fn required(&self) -> BTreeSet<&str> {
        self.wanted.iter().flat_map(Sequence::whole).map(String::as_str).collect()
    }

    /// Between which two, the first included, a word of every match stands: the longest that there is, as long words
    /// are rare. Words are compared letter by letter.
    #[must_use]
    pub fn span(&self) -> (String, String) {
        let longest = |word: &&str| word.chars().count();
        if let Some(word) = self.required().into_iter().max_by_key(longest) {
            return (word.to_owned(), format!("{word}{FIRST}"));
        }
        let stems = self.wanted.iter().filter_map(|sequence| sequence.words.last()).map(String::as_str);
        let stem = stems.max_by_key(longest).unwrap_or_default();
        (stem.to_owned(), format!("{stem}{LAST}"))
    }

    /// Where in a text it stands, in bytes, in order and apart; none when the text does not match.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let words: Vec<Word> = words(text).collect();
        if self.unwanted.iter().any(|sequence| sequence.places(&words).next().is_some()) {
            return None;
        }
        let mut found: Vec<Range<usize>> = Vec::new();
        for sequence in &self.wanted {
            let before = found.len();
            found.extend(sequence.places(&words));
            if found.len() == before {
                return None;
            }
        }
        found.sort_by_key(|place| (place.start, place.end));
        let mut apart: Vec<Range<usize>> = Vec::new();
        for place in found {
            match apart.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => apart.push(place),
            }
        }
        Some(apart)
    }
}

impl Sequence {
    /// The words that stand there as they are.
    fn whole(&self) -> impl Iterator<Item = &String> {
        let count = self.words.len().saturating_sub(usize::from(self.open));
        self.words.iter().take(count)
    }

    fn places<'w>(&'w self, words: &'w [Word]) -> impl Iterator<Item = Range<usize>> + 'w {
        let last = self.words.len().saturating_sub(1);
        let fits = move |window: &&[Word]| {
            window.iter().zip(&self.words).enumerate().all(|(at, (word, wanted))| {
                word.folded == *wanted
                    || (self.open && at == last && word.folded.starts_with(wanted.as_str()))
            })
        };
        let place = |window: &[Word]| Some(window.first()?.start..window.last()?.end);
        words.windows(self.words.len().max(1)).filter(fits).filter_map(place)
    }
}

/// The different words of a message that it is found by. They are forgotten by asking its text again: whoever changes
/// which words a text has empties `message_words` and has every message noted anew (`messages.searchable`).
#[must_use]
pub fn found_by(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for word in words(text) {
        if seen.len() >= MESSAGE_WORDS_MAX {
            break;
        }
        seen.insert(word.folded);
    }
    seen.into_iter().collect()
}

/// A part of a text, around what was found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The part.
    pub text: String,
    /// What was found, in bytes of the part.
    pub marks: Vec<Range<usize>>,
    /// Whether the text begins before the part.
    pub cut_before: bool,
    /// Whether the text goes on after the part.
    pub cut_after: bool,
}

impl Snippet {
    /// The part of `text` around the first of `marks`, which stand in it in order.
    #[must_use]
    pub fn around(text: &str, marks: &[Range<usize>]) -> Self {
        let first = marks.first().map_or(0, |mark| mark.start);
        let before = text.get(..first).unwrap_or_default();
        let lead = before.char_indices().rev().take(LEAD_CHARS).last().map_or(first, |(at, _)| at);
        // Not in the middle of a word, unless it is a long one.
        let start = match before.get(lead..) {
            Some(cut) if lead > 0 => {
                cut.find(char::is_whitespace).map_or(lead, |space| lead.saturating_add(space)).min(first)
            }
            _ => lead,
        };
        let part = text.get(start..).unwrap_or_default();
        let part =
            part.char_indices().nth(SNIPPET_CHARS).and_then(|(end, _)| part.get(..end)).unwrap_or(part);
        let end = start.saturating_add(part.len());
        let shown = marks.iter().filter(|mark| mark.start < end);
        let marks =
            shown.map(|mark| mark.start.saturating_sub(start)..mark.end.min(end).saturating_sub(start));
        Self {
            text: part.to_owned(),
            marks: marks.collect(),
            cut_before: start > 0,
            cut_after: end < text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(text: &str) -> Query {
        let mut violations = Violations::new();
        Query::parse(&mut violations, "query", text).unwrap_or_else(|| panic!("{text:?}: {violations:?}"))
    }

    fn finds(question: &str, text: &str) -> Option<Vec<String>> {
        let places = query(question).find(text)?;
        Some(places.into_iter().map(|place| text[place].to_owned()).collect())
    }

    #[test]
    fn all_words_must_be_there_in_any_order() {
        assert_eq!(finds("fox BROWN", "The brown Fox.").unwrap(), ["brown", "Fox"]);
        assert_eq!(finds("fox wolf", "The brown fox."), None);
        assert_eq!(finds("môre", "Goeie more").unwrap(), ["more"]);
    }

    #[test]
    fn quotes_keep_the_order_and_dashes_leave_out() {
        assert_eq!(finds("\"brown fox\"", "a brown, fox").unwrap(), ["brown, fox"]);
        assert_eq!(finds("\"fox brown\"", "a brown fox"), None);
        assert_eq!(finds("fox -brown", "a brown fox"), None);
        assert_eq!(finds("fox -\"brown cat\"", "a brown fox").unwrap(), ["fox"]);
        assert_eq!(finds("ada@example.com", "to ada@example.com now").unwrap(), ["ada@example.com"]);
        assert_eq!(finds("ada@example.com", "example.com of ada"), None);
        assert_eq!(finds("\"never closed", "it was never closed").unwrap(), ["never closed"]);
        assert_eq!(finds("fox - cat", "fox cat").unwrap(), ["fox", "cat"], "a dash alone says nothing");
    }

    #[test]
    fn a_star_is_the_rest_of_a_word() {
        assert_eq!(finds("invoi*", "Invoices and invoicing").unwrap(), ["Invoices", "invoicing"]);
        assert_eq!(finds("\"the inv\"*", "see the invoice").unwrap(), ["the invoice"]);
        assert_eq!(finds("fox -bro*", "brown fox"), None);
        assert_eq!(finds("inv *", "inv").unwrap(), ["inv"]);
        assert_eq!(finds("inv *", "invoice"), None);
    }

    #[test]
    fn a_question_without_a_word_is_none() {
        for text in ["", "  ", "-fox", "***", "\"\"", "- -", "🙂"] {
            let mut violations = Violations::new();
            assert_eq!(Query::parse(&mut violations, "query", text), None, "{text:?}");
            assert_eq!(violations.len(), 1, "{text:?}");
        }
        let mut violations = Violations::new();
        assert_eq!(Query::parse(&mut violations, "query", &"a ".repeat(QUERY_WORDS_MAX + 1)), None);
        assert_eq!(Query::parse(&mut violations, "query", &"a".repeat(QUERY_CHARS_MAX + 1)), None);
        assert_eq!(violations.len(), 2);
    }

    #[test]
    fn a_snippet_shows_the_first_place_and_says_where_it_was_cut() {
        let text = format!("{} needle {}", "before ".repeat(20), "after ".repeat(60));
        let places = query("needle after").find(&text).unwrap();
        let snippet = Snippet::around(&text, &places);
        assert!(snippet.cut_before && snippet.cut_after);
        assert_eq!(snippet.text.chars().count(), SNIPPET_CHARS);
        assert_eq!(&snippet.text[snippet.marks[0].clone()], "needle");
        assert!(snippet.text.starts_with(" before "), "{:?}", snippet.text);
        let short = Snippet::around("a needle", &query("needle").find("a needle").unwrap());
        assert_eq!((short.text.as_str(), short.cut_before, short.cut_after), ("a needle", false, false));
    }

    proptest! {
        #[test]
        fn whatever_is_asked_is_a_question_or_is_refused(text in "[ a-zA-Zé*\"\\-'&|!():<>%_\\\\0-9]{0,40}") {
            let mut violations = Violations::new();
            let query = Query::parse(&mut violations, "query", &text);
            prop_assert_eq!(query.is_some(), violations.is_empty());
            if let Some(query) = query {
                let (from, to) = query.span();
                prop_assert!(from < to);
                prop_assert!(query.required().iter().all(|word| word.chars().all(char::is_alphanumeric)));
            }
        }

        #[test]
        fn every_word_of_a_text_finds_it(text in "\\PC{1,80}") {
            for word in words(&text) {
                let (from, to) = query(&word.folded).span();
                prop_assert!(found_by(&text).iter().any(|found| (&from..&to).contains(&found)));
                let places = query(&word.folded).find(&text).unwrap();
                prop_assert!(places.iter().any(|place| place.contains(&word.start)));
                let begin: String = word.folded.chars().take(1).collect();
                if words(&begin).count() == 1 {
                    let (from, to) = query(&format!("{begin}*")).span();
                    prop_assert!(found_by(&text).iter().any(|found| (&from..&to).contains(&found)));
                }
            }
        }

        #[test]
        fn marks_are_parts_of_the_snippet(text in "\\PC{0,400}", at in 0_usize..40) {
            let Some(word) = words(&text).nth(at) else { return Ok(()) };
            let places = query(&word.folded).find(&text).unwrap();
            let snippet = Snippet::around(&text, &places);
            prop_assert!(text.contains(&snippet.text));
            prop_assert!(!snippet.marks.is_empty());
            for mark in &snippet.marks {
                prop_assert!(snippet.text.get(mark.clone()).is_some_and(|part| !part.is_empty()));
            }
        }
    }
}
