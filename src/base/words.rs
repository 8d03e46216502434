//! The words of a text, as they are compared: without case and accents, whatever script they are written in.
//!
//! Both engines of the database would do this in their own ways, and not in the same. Here it is done once, for what is
//! stored and for what is asked.

use std::iter::Peekable;
use std::str::CharIndices;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// How many characters of a word count. What is longer is no word that people write.
pub const WORD_CHARS_MAX: usize = 64;

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it is compared.
    pub folded: String,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends, in bytes.
    pub end: usize,
}

/// The words of a text, in their order.
#[must_use]
pub fn words(text: &str) -> Words<'_> {
    Words { text, letters: text.char_indices().peekable() }
}

/// See [`words`].
#[derive(Clone, Debug)]
pub struct Words<'t> {
    text: &'t str,
    letters: Peekable<CharIndices<'t>>,
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        loop {
            let (start, first) = self.letters.find(|(_, letter)| begins(*letter))?;
            let mut end = start.saturating_add(first.len_utf8());
            while let Some((at, letter)) = self.letters.next_if(|(_, letter)| goes_on(*letter)) {
                end = at.saturating_add(letter.len_utf8());
            }
            let folded = fold(self.text.get(start..end).unwrap_or_default());
            if !folded.is_empty() {
                return Some(Word { folded, start, end });
            }
        }
    }
}

/// Whether a word begins. A mark alone is none, also where it counts as a letter.
fn begins(letter: char) -> bool {
    letter.is_alphanumeric() && !is_combining_mark(letter)
}

/// Whether a word that has begun goes on: letters, digits, marks on them, and what joins or parts them unseen.
fn goes_on(letter: char) -> bool {
    letter.is_alphanumeric() || is_combining_mark(letter) || is_unseen(letter)
}

/// Soft hyphen, zero width joiner and non-joiner.
const fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200c}' | '\u{200d}')
}

/// The accents of Latin, Greek and Cyrillic. The vowel signs of other scripts are marks too, and are not accents.
const fn is_accent(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

fn fold(word: &str) -> String {
    let parts = word.nfkd().filter(|letter| !is_accent(*letter) && !is_unseen(*letter));
    let small = parts.flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter });
    // What a compatible form is made of may be no letter, such as the stroke of a fraction.
    let kept = small.filter(|letter| !is_accent(*letter) && goes_on(*letter));
    // Nor need it begin with one.
    kept.skip_while(|letter| !begins(*letter)).nfc().take(WORD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).map(|word| word.folded).collect()
    }

    #[test]
    fn case_and_accents_do_not_count() {
        assert_eq!(folded("Môre, MÔRE! mo\u{302}re"), ["more", "more", "more"]);
        assert_eq!(folded("Ngiyabonga kakhulu"), ["ngiyabonga", "kakhulu"]);
        assert_eq!(folded("ΟΔΟΣ οδός"), ["οδοσ", "οδοσ"]);
        assert_eq!(folded("ﬁne İzmir"), ["fine", "izmir"]);
    }

    #[test]
    fn scripts_keep_what_is_no_accent() {
        assert_eq!(folded("हिन्दी"), ["हिन्दी"]);
        assert_eq!(folded("한국어"), ["한국어"]);
        assert_eq!(folded("co\u{ad}operate"), ["cooperate"]);
    }

    #[test]
    fn what_is_no_letter_parts_words() {
        assert_eq!(
            folded("e-mail: ada@example.com, 3,50 🙂 --"),
            ["e", "mail", "ada", "example", "com", "3", "50"]
        );
        assert_eq!(folded(&"x".repeat(WORD_CHARS_MAX + 9)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    proptest! {
        #[test]
        fn words_stand_in_their_text_in_order(text in "\\PC{0,60}") {
            let mut before = 0;
            for word in words(&text) {
                prop_assert!(before <= word.start && word.start < word.end);
                prop_assert!(text.get(word.start..word.end).is_some());
                prop_assert!(!word.folded.is_empty() && word.folded.chars().count() <= WORD_CHARS_MAX);
                before = word.end;
            }
        }

        #[test]
        fn what_is_folded_stays_as_it_is(text in "\\PC{0,60}") {
            let once = folded(&text);
            prop_assert_eq!(folded(&once.join(" ")), once);
        }

        #[test]
        fn case_does_not_count(text in "[a-zà-þ0-9 ,.-]{0,60}") {
            prop_assert_eq!(folded(&text.to_uppercase()), folded(&text));
        }
    }
}
