//! The help articles and how they are read.
//!
//! An article is a file: a `# Title`, lines `topics:` and `keywords:`, a summary, then sections under `## Heading`.

/// The articles' file names and texts.
const FILES: &[(&str, &str)] = &[
    ("account-security", include_str!("articles/account-security.md")),
    ("after-you-pay", include_str!("articles/after-you-pay.md")),
    ("ai-models", include_str!("articles/ai-models.md")),
    ("api-access", include_str!("articles/api-access.md")),
    ("billing-details", include_str!("articles/billing-details.md")),
    ("cancelling", include_str!("articles/cancelling.md")),
    ("choosing-an-agent", include_str!("articles/choosing-an-agent.md")),
    ("connection-problems", include_str!("articles/connection-problems.md")),
    ("contacting-support", include_str!("articles/contacting-support.md")),
    ("errors-and-retries", include_str!("articles/errors-and-retries.md")),
    ("getting-started", include_str!("articles/getting-started.md")),
    ("grpc-web", include_str!("articles/grpc-web.md")),
    ("grpcurl", include_str!("articles/grpcurl.md")),
    ("install-an-agent", include_str!("articles/install-an-agent.md")),
    ("invoices", include_str!("articles/invoices.md")),
    ("organisations", include_str!("articles/organisations.md")),
    ("paging-lists", include_str!("articles/paging-lists.md")),
    ("paying-with-payfast", include_str!("articles/paying-with-payfast.md")),
    ("payment-problems", include_str!("articles/payment-problems.md")),
    ("plans-and-prices", include_str!("articles/plans-and-prices.md")),
    ("publishing-agents", include_str!("articles/publishing-agents.md")),
    ("reconnecting", include_str!("articles/reconnecting.md")),
    ("refunds", include_str!("articles/refunds.md")),
    ("running-locally", include_str!("articles/running-locally.md")),
    ("signing-in", include_str!("articles/signing-in.md")),
    ("streaming", include_str!("articles/streaming.md")),
    ("tax-invoices-south-africa", include_str!("articles/tax-invoices-south-africa.md")),
    ("team-onboarding", include_str!("articles/team-onboarding.md")),
    ("threads-and-messages", include_str!("articles/threads-and-messages.md")),
    ("writing-content", include_str!("articles/writing-content.md")),
    ("your-data", include_str!("articles/your-data.md")),
    ("your-profile", include_str!("articles/your-profile.md")),
];

/// A help article.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Article {
    /// The file's name without its ending.
    pub slug: &'static str,
    /// What the article is called.
    pub title: &'static str,
    /// The areas that it belongs to; agents prefer some.
    pub topics: Vec<&'static str>,
    /// Words that people use for its subject, whether or not it uses them itself.
    pub keywords: &'static str,
    /// The article in pieces that can stand alone. The first is the summary and has no heading.
    pub passages: Vec<Passage>,
}

/// A piece of an article that can stand alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// The heading, empty for the summary.
    pub heading: &'static str,
    /// The text under it.
    pub text: String,
}

/// All articles, by file name.
pub fn articles() -> Vec<Article> {
    FILES.iter().map(|(slug, text)| parse(slug, text)).collect()
}

fn parse(slug: &'static str, text: &'static str) -> Article {
    let mut article = Article { slug, passages: vec![Passage::default()], ..Article::default() };
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            article.title = title.trim();
        } else if let Some(topics) = line.strip_prefix("topics:") {
            article.topics = topics.split(',').map(str::trim).collect();
        } else if let Some(keywords) = line.strip_prefix("keywords:") {
            article.keywords = keywords.trim();
        } else if let Some(heading) = line.strip_prefix("## ") {
            article.passages.push(Passage { heading: heading.trim(), text: String::new() });
        } else if let Some(passage) = article.passages.last_mut() {
            passage.text.push_str(line);
            passage.text.push('\n');
        }
    }
    for passage in &mut article.passages {
        passage.text = passage.text.trim().to_owned();
    }
    article
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_article_is_whole() {
        for article in articles() {
            let slug = article.slug;
            assert!(!article.title.is_empty(), "{slug} has a title");
            assert!(
                !article.topics.is_empty() && !article.keywords.is_empty(),
                "{slug} has topics and keywords"
            );
            assert!(article.passages.len() >= 2, "{slug} has a summary and at least one section");
            for passage in &article.passages {
                assert!(!passage.text.is_empty(), "{slug}: {:?} has a text", passage.heading);
                assert!(
                    passage.text.len() <= 1_200,
                    "{slug}: {:?} is short enough to quote",
                    passage.heading
                );
            }
            assert!(article.passages.iter().skip(1).all(|passage| !passage.heading.is_empty()), "{slug}");
        }
    }

    #[test]
    fn every_file_is_in_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ai/local/articles");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("the articles' folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().replace(".md", ""))
            .collect();
        files.sort();
        assert_eq!(files, FILES.iter().map(|(slug, _)| *slug).collect::<Vec<_>>());
    }

    #[test]
    fn an_article_is_read_into_its_parts() {
        let article =
            parse("slug", "# Title\ntopics: a, b\nkeywords: x, y\n\nSummary.\n\n## Part\nOne.\n\nTwo.\n");
        assert_eq!((article.title, article.keywords), ("Title", "x, y"));
        assert_eq!(article.topics, ["a", "b"]);
        let part = Passage { heading: "Part", text: "One.\n\nTwo.".into() };
        assert_eq!(article.passages, [Passage { heading: "", text: "Summary.".into() }, part]);
    }
}
