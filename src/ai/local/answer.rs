//! From a prompt to the words of an answer.

use std::fmt::Write as _;

use super::library::Article;
use super::search::{Hit, Index};
use super::words::terms;
use crate::ai::model::{Prompt, Turn};

/// How near to the best article's score another must come to be named as related, in percent.
const RELATED_PERCENT: u64 = 45;

/// How many related articles an answer names.
const RELATED_MAX: usize = 2;

/// Said at the end of every answer.
const NOTICE: &str = "I am CapeControl's built-in assistant. No external model is configured, so I answer from the \
                      help articles only.";

/// What the assistant can be asked, in groups.
const OFFER: &str = "\
- **Plans and payments:** plans and prices, paying with PayFast, invoices and VAT, cancelling, refunds
- **Agents and threads:** choosing and installing an agent, threads, streaming, reconnecting
- **Your account:** signing in, your profile, organisations, security, your data
- **The API:** grpcurl, gRPC-Web, errors and retries, paging
- **First steps:** getting started, a first week with your team, running CapeControl yourself";

/// How an agent speaks: what the provider knows of it by its slug.
struct Voice {
    slug: &'static str,
    name: &'static str,
    opening: &'static str,
    /// Topics whose articles it prefers.
    topics: &'static [&'static str],
}

/// The agents that come with the platform.
const VOICES: &[Voice] = &[
    Voice { slug: "guide", name: "guide", opening: "Here is how that works.", topics: &["basics"] },
    Voice {
        slug: "support",
        name: "support agent",
        opening: "Let us sort that out.",
        topics: &["troubleshooting"],
    },
    Voice {
        slug: "developer",
        name: "developer agent",
        opening: "Here is how to do that.",
        topics: &["developers"],
    },
    Voice {
        slug: "finance",
        name: "finance agent",
        opening: "Here are the facts.",
        topics: &["payments", "finance"],
    },
    Voice {
        slug: "content",
        name: "content agent",
        opening: "Here is something to work from.",
        topics: &["content"],
    },
    Voice {
        slug: "onboarding",
        name: "onboarding agent",
        opening: "Here is your next step.",
        topics: &["onboarding"],
    },
];

/// How any other agent speaks.
const PLAIN_VOICE: Voice =
    Voice { slug: "", name: "assistant", opening: "Here is what the help articles say.", topics: &[] };

/// Answers the last turn of `prompt`.
pub fn compose(index: &Index, prompt: &Prompt) -> String {
    let voice = VOICES.iter().find(|voice| voice.slug == prompt.agent).unwrap_or(&PLAIN_VOICE);
    let mut asked = prompt.turns.iter().rev().filter_map(|turn| match turn {
        Turn::User(text) => Some(text.as_str()),
        _ => None,
    });
    let question = asked.next().unwrap_or_default();
    if terms(question).is_empty() {
        return greeting(voice);
    }
    if let Some(answer) = answer(index, voice, question) {
        return answer;
    }
    // "And for a year?" means something only together with what was asked before.
    let together =
        asked.next().filter(|_| index.knows(question)).map(|before| format!("{before} {question}"));
    together.and_then(|together| answer(index, voice, &together)).unwrap_or_else(nothing_found)
}

fn answer(index: &Index, voice: &Voice, question: &str) -> Option<String> {
    let hits = index.search(question, voice.topics);
    let (best, others) = hits.split_first()?;
    let mut text = format!("{}\n\n", voice.opening);
    for passage in index.passages(best.article, question) {
        if !passage.heading.is_empty() {
            let _ = writeln!(text, "**{}**", passage.heading);
        }
        let _ = write!(text, "{}\n\n", passage.text);
    }
    let _ = write!(text, "Source: help article {} ({}).", title(best.article), best.article.slug);
    let related: Vec<_> =
        others.iter().filter(|hit| is_related(hit, best)).map(|hit| title(hit.article)).collect();
    if let Some(related) = related.get(..related.len().min(RELATED_MAX)).filter(|related| !related.is_empty())
    {
        let _ = write!(text, " Related: {}.", related.join(", "));
    }
    let _ = write!(text, "\n\n{NOTICE}");
    Some(text)
}

fn is_related(hit: &Hit<'_>, best: &Hit<'_>) -> bool {
    hit.score.saturating_mul(100) >= best.score.saturating_mul(RELATED_PERCENT)
}

fn title(article: &Article) -> String {
    format!("\u{201c}{}\u{201d}", article.title)
}

fn greeting(voice: &Voice) -> String {
    format!("Hello, I am your {}. Ask me about:\n\n{OFFER}\n\n{NOTICE}", voice.name)
}

fn nothing_found() -> String {
    format!("I found nothing about that in the help articles. I can help with:\n\n{OFFER}\n\n{NOTICE}")
}
