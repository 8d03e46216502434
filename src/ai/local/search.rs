//! Ranking articles and passages for a question: BM25 over weighted fields, in integers.
//!
//! Integers, so that the answer to a question is the same on every machine. Scores are in thousandths of a bit.

use std::collections::{BTreeMap, BTreeSet};

use super::library::{Article, Passage};
use super::words::terms;

/// What a term counts in an article's title, its keywords, a heading and the text.
const TITLE_WEIGHT: u64 = 5;
const KEYWORD_WEIGHT: u64 = 4;
const HEADING_WEIGHT: u64 = 2;
const TEXT_WEIGHT: u64 = 1;

/// BM25's k1 (how soon repetition stops to count) and b (how much length counts), in thousandths.
const SATURATION: u64 = 1_200;
const LENGTH: u64 = 600;

/// What one keyword phrase adds when the question holds it whole, for each of its words: in thousandths.
const PHRASE_BONUS: u64 = 2_500;

/// How many thousandths an article gains when the agent prefers its topic.
const PREFERENCE: u64 = 150;

/// How much of a question, by weight, an article must speak to, in thousandths. Below it, words in common are chance.
const COVERAGE_MIN: u64 = 400;

/// How many passages one answer quotes.
const PASSAGES_MAX: usize = 3;

/// What a section needs of the best one's score to be quoted with it, in thousandths.
const NEARLY_AS_GOOD: u64 = 850;

/// Authors put first what matters to most, so an article's first section gains this many thousandths of its score, and
/// this much in any case.
const FIRST_SECTION_PREFERENCE: u64 = 300;
const FIRST_SECTION_BONUS: u64 = 1;

const THOUSAND: u64 = 1_000;

/// The articles, prepared for ranking.
#[derive(Debug)]
pub struct Index {
    articles: Vec<Indexed>,
    /// In how many articles each term occurs.
    spread: BTreeMap<String, u64>,
    length_average: u64,
}

#[derive(Debug)]
struct Indexed {
    article: Article,
    /// Weighted occurrences of each term.
    weights: BTreeMap<String, u64>,
    /// Keyword phrases of more than one word, as terms.
    phrases: Vec<Vec<String>>,
    /// The sum of the weights.
    length: u64,
}

/// An article that answers a question.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'a> {
    /// The article.
    pub article: &'a Article,
    /// How well it answers, in thousandths of a bit.
    pub score: u64,
}

impl Index {
    /// Prepares `articles` for ranking.
    pub fn new(articles: Vec<Article>) -> Self {
        let articles: Vec<_> = articles.into_iter().map(Indexed::new).collect();
        let mut spread = BTreeMap::new();
        for term in articles.iter().flat_map(|indexed| indexed.weights.keys()) {
            *spread.entry(term.clone()).or_insert(0_u64) += 1;
        }
        let lengths: u64 = articles.iter().map(|indexed| indexed.length).sum();
        let length_average = lengths.checked_div(count(articles.len())).unwrap_or(0).max(1);
        Self { articles, spread, length_average }
    }

    /// All articles, in their order.
    #[cfg(test)]
    pub fn articles(&self) -> impl Iterator<Item = &Article> {
        self.articles.iter().map(|indexed| &indexed.article)
    }

    /// The articles that answer `question`, best first, those of `preferred` topics a little before others.
    pub fn search(&self, question: &str, preferred: &[&str]) -> Vec<Hit<'_>> {
        let question = terms(question);
        let distinct: BTreeSet<&String> = question.iter().collect();
        let mut hits: Vec<_> = self
            .articles
            .iter()
            .filter(|indexed| self.covers(indexed, &distinct))
            .map(|indexed| Hit {
                article: &indexed.article,
                score: self.score(indexed, &question, preferred),
            })
            .collect();
        hits.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.article.slug.cmp(b.article.slug)));
        hits
    }

    /// What to quote of `article` for `question`, in the article's order: its summary, then the section that speaks to
    /// the question most and those nearly as good.
    pub fn passages<'a>(&self, article: &'a Article, question: &str) -> Vec<&'a Passage> {
        let question: BTreeSet<_> = terms(question).into_iter().collect();
        let Some((summary, sections)) = article.passages.split_first() else { return Vec::new() };
        let mut scored: Vec<_> =
            sections.iter().map(|section| (section, self.passage_score(section, &question))).collect();
        if let Some((_, score)) = scored.first_mut() {
            *score += FIRST_SECTION_BONUS.max(*score * FIRST_SECTION_PREFERENCE / THOUSAND);
        }
        let best = scored.iter().map(|(_, score)| *score).max().unwrap_or(0);
        let chosen = scored.into_iter().filter(|(_, score)| score * THOUSAND >= best * NEARLY_AS_GOOD);
        [summary].into_iter().chain(chosen.map(|(section, _)| section)).take(PASSAGES_MAX).collect()
    }

    /// Whether any article has any of the question's terms.
    pub fn knows(&self, question: &str) -> bool {
        terms(question).iter().any(|term| self.spread.contains_key(term))
    }

    /// What a term tells: log2 of how rare it is, in thousandths. A term that no article has tells most.
    fn information(&self, term: &str) -> u64 {
        let occurrences = self.spread.get(term).copied().unwrap_or(0);
        let articles = count(self.articles.len());
        log2((articles + 1) * 2, occurrences * 2 + 1)
    }

    fn covers(&self, indexed: &Indexed, question: &BTreeSet<&String>) -> bool {
        let all: u64 = question.iter().map(|term| self.information(term)).sum();
        let known = question.iter().filter(|term| indexed.weights.contains_key(term.as_str()));
        let known: u64 = known.map(|term| self.information(term)).sum();
        known > 0 && known * THOUSAND >= all * COVERAGE_MIN
    }

    fn score(&self, indexed: &Indexed, question: &[String], preferred: &[&str]) -> u64 {
        let distinct: BTreeSet<&String> = question.iter().collect();
        let ratio = indexed.length * LENGTH / self.length_average;
        let norm = SATURATION * (THOUSAND - LENGTH + ratio) / THOUSAND;
        let mut score = 0;
        for term in distinct {
            let weight = indexed.weights.get(term).copied().unwrap_or(0) * THOUSAND;
            score += self.information(term) * weight * (THOUSAND + SATURATION) / ((weight + norm) * THOUSAND);
        }
        for phrase in indexed.phrases.iter().filter(|phrase| contains(question, phrase)) {
            score += count(phrase.len()) * PHRASE_BONUS;
        }
        let liked = indexed.article.topics.iter().any(|topic| preferred.contains(topic));
        if liked { score + score * PREFERENCE / THOUSAND } else { score }
    }

    fn passage_score(&self, passage: &Passage, question: &BTreeSet<String>) -> u64 {
        let heading: BTreeSet<_> = terms(passage.heading).into_iter().collect();
        let text: BTreeSet<_> = terms(&passage.text).into_iter().collect();
        let value = |term: &String| {
            let weight = if heading.contains(term) { HEADING_WEIGHT } else { 0 };
            let weight = weight + if text.contains(term) { TEXT_WEIGHT } else { 0 };
            weight * self.information(term)
        };
        question.iter().map(value).sum()
    }
}

impl Indexed {
    fn new(article: Article) -> Self {
        let mut weights = BTreeMap::new();
        let mut add = |text: &str, weight: u64| {
            for term in terms(text) {
                *weights.entry(term).or_insert(0) += weight;
            }
        };
        add(article.title, TITLE_WEIGHT);
        for passage in &article.passages {
            add(passage.heading, HEADING_WEIGHT);
            add(&passage.text, TEXT_WEIGHT);
        }
        // A keyword counts once, however many phrases it is part of.
        for keyword in terms(article.keywords).into_iter().collect::<BTreeSet<_>>() {
            *weights.entry(keyword).or_insert(0) += KEYWORD_WEIGHT;
        }
        let phrases = article.keywords.split(',').map(terms).filter(|phrase| phrase.len() > 1).collect();
        let length = weights.values().sum();
        Self { article, weights, phrases, length }
    }
}

/// Whether `phrase` occurs in `question` as it stands.
fn contains(question: &[String], phrase: &[String]) -> bool {
    question.windows(phrase.len().max(1)).any(|window| window == phrase)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// log2(`above` / `below`) in thousandths, for `above` ≥ `below`, both small.
fn log2(above: u64, below: u64) -> u64 {
    const FRACTION_BITS: u32 = 16;
    let mut value = (above << FRACTION_BITS) / below.max(1);
    let mut result = 0;
    while value >= 2 << FRACTION_BITS {
        value /= 2;
        result += THOUSAND;
    }
    // Each squaring yields one more binary digit of the fraction.
    for digit in 1..=10 {
        value = (value * value) >> FRACTION_BITS;
        if value >= 2 << FRACTION_BITS {
            value /= 2;
            result += THOUSAND >> digit;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_near_enough() {
        for (above, below, expected) in
            [(1, 1, 0), (2, 1, 1_000), (8, 1, 3_000), (3, 1, 1_585), (70, 9, 2_959)]
        {
            assert!(log2(above, below).abs_diff(expected) <= 6, "{above}/{below}: {}", log2(above, below));
        }
    }

    #[test]
    fn a_phrase_is_found_as_it_stands() {
        let question = terms("where is my tax invoice number");
        assert!(contains(&question, &terms("tax invoice")));
        assert!(!contains(&question, &terms("invoice tax")));
    }
}
