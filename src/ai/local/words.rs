//! From text to terms: lower case, split, without words that say nothing, reduced to their stems.
//!
//! The stemmer is small on purpose. It need not be right about English, only the same for questions and articles.

/// How many characters of a text are looked at.
const CHARACTERS_MAX: usize = 4_096;

/// How many characters a term keeps; what is longer is no word.
const TERM_CHARACTERS_MAX: usize = 40;

/// Words that are in every question and therefore tell nothing, among them the platform's own name.
const STOP_WORDS: &[&str] = &[
    "a",
    "about",
    "after",
    "again",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "anything",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "but",
    "by",
    "can",
    "cannot",
    "cape",
    "capecontrol",
    "control",
    "could",
    "d",
    "did",
    "do",
    "does",
    "doing",
    "don",
    "each",
    "else",
    "every",
    "explain",
    "for",
    "from",
    "get",
    "give",
    "go",
    "good",
    "got",
    "had",
    "has",
    "have",
    "he",
    "hello",
    "help",
    "here",
    "hi",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "just",
    "know",
    "let",
    "like",
    "ll",
    "m",
    "make",
    "many",
    "may",
    "me",
    "mean",
    "more",
    "much",
    "must",
    "my",
    "need",
    "no",
    "not",
    "now",
    "of",
    "on",
    "one",
    "only",
    "or",
    "other",
    "our",
    "out",
    "please",
    "re",
    "s",
    "say",
    "she",
    "should",
    "so",
    "some",
    "something",
    "t",
    "take",
    "tell",
    "than",
    "thank",
    "thanks",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "thing",
    "this",
    "those",
    "to",
    "too",
    "up",
    "us",
    "use",
    "used",
    "using",
    "ve",
    "very",
    "via",
    "want",
    "was",
    "way",
    "we",
    "well",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "why",
    "will",
    "with",
    "work",
    "would",
    "yes",
    "you",
    "your",
];

/// The terms of a text, in order and with repetitions.
pub fn terms(text: &str) -> Vec<String> {
    let text: String = text.chars().take(CHARACTERS_MAX).flat_map(char::to_lowercase).collect();
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(word))
        .map(stem)
        .collect()
}

/// Reduces a word in lower case to its stem.
fn stem(word: &str) -> String {
    let word: String = word.chars().take(TERM_CHARACTERS_MAX).collect();
    let word = without_plural(&word);
    let word = ["ations", "ation", "ments", "ment", "ings", "ing", "ed", "er"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending).filter(|rest| rest.chars().count() >= 3))
        .unwrap_or(&word);
    let word = word.strip_suffix('e').filter(|rest| rest.chars().count() >= 3).unwrap_or(word);
    without_doubling(word).replace("isation", "ization")
}

/// `invoices` → `invoice`, `queries` → `query`; `status`, `access` and `this` stay.
fn without_plural(word: &str) -> String {
    if let Some(rest) = word.strip_suffix("ies").filter(|rest| rest.len() >= 2) {
        return format!("{rest}y");
    }
    let keeps = ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending));
    match word.strip_suffix('s') {
        Some(rest) if !keeps && rest.chars().count() >= 3 => rest.to_owned(),
        _ => word.to_owned(),
    }
}

/// `cancell` → `cancel`, `install` → `instal`.
fn without_doubling(word: &str) -> &str {
    let mut backwards = word.chars().rev();
    match (backwards.next(), backwards.next()) {
        (Some(last), Some(before)) if last == before && last.is_alphabetic() => {
            word.strip_suffix(last).unwrap_or(word)
        }
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_are_one_term() {
        for forms in [
            &["cancel", "cancels", "cancelled", "cancelling", "cancellation"][..],
            &["install", "installs", "installed", "installing", "installation"],
            &["invoice", "invoices", "invoiced", "invoicing"],
            &["price", "prices", "pricing", "priced"],
            &["pay", "pays", "paying", "payment", "payments"],
            &["query", "queries"],
            &["refund", "refunds", "refunded", "Refunding"],
        ] {
            let stems: Vec<_> = forms.iter().flat_map(|form| terms(form)).collect();
            assert!(stems.windows(2).all(|pair| pair[0] == pair[1]), "{forms:?} → {stems:?}");
        }
    }

    #[test]
    fn words_that_say_nothing_are_dropped() {
        assert!(terms("How do I use this, please?").is_empty());
        assert!(terms("  …!? 🙂 ").is_empty());
    }

    #[test]
    fn names_with_underscores_stay_whole() {
        assert_eq!(terms("the `page_token`"), ["page_token"]);
    }
}
