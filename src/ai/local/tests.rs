use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::ai::model::{ToolCall, ToolResult, ToolSpec, Turn};

static LOCAL: LazyLock<Local> = LazyLock::new(Local::new);

fn prompt(agent: &str, questions: &[&str]) -> Prompt {
    let turns = questions.iter().map(|text| Turn::User((*text).into())).collect();
    Prompt {
        system: String::new(),
        turns,
        tools: Vec::new(),
        may_call: true,
        agent: agent.into(),
        output_tokens_max: 2_000,
    }
}

/// The same with both tools.
fn equipped(questions: &[&str]) -> Prompt {
    let tool =
        |name: &str| ToolSpec { name: name.into(), description: "x".into(), input_schema: true.into() };
    Prompt { tools: vec![tool(rules::CHECKLIST), tool(rules::CHECKOUT)], ..prompt("guide", questions) }
}

fn ask(local: &Local, agent: &str, questions: &[&str]) -> String {
    spoken(local, &prompt(agent, questions)).0
}

/// What is said, and how it ended; for a prompt to which the answer is a text.
fn spoken(local: &Local, prompt: &Prompt) -> (String, Finish) {
    let chunks = local.answer(prompt);
    let Some((Chunk::Done(finish), pieces)) = chunks.split_last() else { panic!("{chunks:?}") };
    let piece = |chunk: &Chunk| match chunk {
        Chunk::Text(piece) => piece.clone(),
        other => panic!("{other:?}"),
    };
    (pieces.iter().map(piece).collect(), *finish)
}

/// The call that is the answer, if it is one.
fn called(prompt: &Prompt) -> Option<ToolCall> {
    match LOCAL.answer(prompt).as_slice() {
        [Chunk::ToolCall(call), Chunk::Done(finish)] => {
            assert_eq!(finish.reason, FinishReason::ToolUse);
            Some(call.clone())
        }
        _ => None,
    }
}

/// What people ask, and the article that answers it.
const CASES: &[(&str, &str)] = &[
    ("How do I get started?", "getting-started"),
    ("I'm new here, what is CapeControl and how do I begin", "getting-started"),
    ("How much does Pro cost per year?", "plans-and-prices"),
    ("what are your prices", "plans-and-prices"),
    ("Is VAT included in the price?", "plans-and-prices"),
    ("How many agents may I have on the free plan?", "plans-and-prices"),
    ("How do I pay with PayFast?", "paying-with-payfast"),
    ("Can I pay by credit card or EFT?", "paying-with-payfast"),
    ("I have paid, when is my plan activated?", "after-you-pay"),
    ("what happens after paying", "after-you-pay"),
    ("My payment failed", "payment-problems"),
    ("I was charged twice!", "payment-problems"),
    ("Where can I find my invoices?", "invoices"),
    ("Do I get a tax invoice that SARS accepts?", "tax-invoices-south-africa"),
    ("how can my accountant claim the VAT", "tax-invoices-south-africa"),
    ("How do I put our VAT number on the invoice?", "billing-details"),
    ("change my billing address", "billing-details"),
    ("How do I cancel my subscription?", "cancelling"),
    ("will it renew automatically?", "cancelling"),
    ("I want my money back", "refunds"),
    ("can I get a refund", "refunds"),
    ("How do I install an agent?", "install-an-agent"),
    ("It says the agent is not installed", "install-an-agent"),
    ("Which agent should I choose?", "choosing-an-agent"),
    ("How do I open a new thread?", "threads-and-messages"),
    ("where are my old messages", "threads-and-messages"),
    ("How does streaming work?", "streaming"),
    ("Is there a websocket or a bidirectional stream?", "streaming"),
    ("how do I resume after a lost connection without missing messages", "reconnecting"),
    ("My access token expired", "signing-in"),
    ("I cannot log in", "signing-in"),
    ("I forgot my password", "account-security"),
    ("I think my account was hacked", "account-security"),
    ("How do I change my display name?", "your-profile"),
    ("Can I invite a colleague into my organisation?", "organisations"),
    ("Where do I get an API key?", "api-access"),
    ("Show me an example with grpcurl", "grpcurl"),
    ("How do I call this from a browser with gRPC-Web?", "grpc-web"),
    ("my page is blocked by CORS", "grpc-web"),
    ("When should I retry a call that timed out?", "errors-and-retries"),
    ("What is the request_id for?", "errors-and-retries"),
    ("how does pagination with page_token work", "paging-lists"),
    ("Can I publish my own agent and earn money?", "publishing-agents"),
    ("Are you ChatGPT? which model is this", "ai-models"),
    ("How do I run the server on my own laptop?", "running-locally"),
    ("The agent does not answer, nothing works", "connection-problems"),
    ("I want to talk to a human", "contacting-support"),
    ("What do you do with my personal data under POPIA?", "your-data"),
    ("Help me write a product description", "writing-content"),
    ("is there a free trial?", "plans-and-prices"),
    ("do you accept Visa", "paying-with-payfast"),
    ("is there a REST API", "api-access"),
    ("is my chat used to train AI", "your-data"),
    ("my card was declined", "payment-problems"),
    ("the payment still says pending", "after-you-pay"),
    ("delete my account", "cancelling"),
    ("how often are heartbeats sent", "streaming"),
    ("reset my password", "account-security"),
    ("add team members", "organisations"),
    ("how to list services with reflection", "grpcurl"),
    ("what does ABORTED mean", "errors-and-retries"),
    ("how do I self host with postgres", "running-locally"),
    ("How should my team spend its first week?", "team-onboarding"),
];

#[test]
fn questions_find_their_article() {
    let local = &*LOCAL;
    let wrong: Vec<_> = CASES
        .iter()
        .filter_map(|(question, expected)| {
            let hits = local.index.search(question, &[]);
            let found: Vec<_> = hits.iter().take(3).map(|hit| (hit.article.slug, hit.score)).collect();
            (found.first().map(|hit| hit.0) != Some(*expected)).then(|| format!("{question}: {found:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn every_article_is_the_answer_to_some_question() {
    let answered: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.1).collect();
    for article in LOCAL.index.articles() {
        assert!(answered.contains(article.slug), "no question leads to {}", article.slug);
    }
}

#[test]
fn an_article_is_found_by_its_title() {
    let local = &*LOCAL;
    for article in local.index.articles() {
        let hits = local.index.search(article.title, &[]);
        assert_eq!(hits.first().map(|hit| hit.article.slug), Some(article.slug), "{}", article.title);
    }
}

#[test]
fn two_providers_answer_alike() {
    let (one, other) = (Local::new(), Local::new());
    for (question, _) in CASES {
        assert_eq!(ask(&one, "guide", &[question]), ask(&other, "guide", &[question]));
    }
}

#[test]
fn what_the_articles_do_not_cover_is_not_answered() {
    let local = &*LOCAL;
    for question in [
        "What is the weather in Cape Town?",
        "Who won the rugby on Saturday?",
        "Bake sourdough bread",
        "xyzzy plugh",
        "Who is the president of France?",
    ] {
        let answer = ask(local, "guide", &[question]);
        assert!(answer.starts_with("I found nothing"), "{question}: {answer}");
        assert!(answer.contains("plans and prices"), "{question}");
    }
}

#[test]
fn an_answer_names_its_source_and_says_what_speaks() {
    let answer = ask(&LOCAL, "finance", &["How much is the Pro plan a month?"]);
    assert!(answer.starts_with("Here are the facts."), "{answer}");
    assert!(answer.contains("R529"), "{answer}");
    assert!(
        answer.contains("Source: help article \u{201c}Plans and prices\u{201d} (plans-and-prices)."),
        "{answer}"
    );
    assert!(answer.contains("No external model is configured"), "{answer}");
}

#[test]
fn a_greeting_is_answered_with_what_can_be_asked() {
    let local = &*LOCAL;
    for greeting in ["Hello!", "thanks", "", "What can you do?"] {
        let answer = ask(local, "support", &[greeting]);
        assert!(answer.starts_with("Hello, I am your support agent."), "{greeting}: {answer}");
    }
    assert!(ask(local, "acme-helper", &[]).starts_with("Hello, I am your assistant."));
}

#[test]
fn a_follow_up_is_read_with_what_was_asked_before() {
    let local = &*LOCAL;
    let before = "How do I install an agent?";
    let answer = ask(local, "guide", &[before, "what about uninstalling the frobnicator gadget versions"]);
    assert!(answer.contains("(install-an-agent)"), "{answer}");
    let off_topic = ask(local, "guide", &[before, "weather?"]);
    assert!(off_topic.starts_with("I found nothing"), "{off_topic}");
}

#[test]
fn an_answer_stops_at_the_tokens_allowed() {
    let local = &*LOCAL;
    let mut prompt = prompt("guide", &["How do I get started?"]);
    prompt.output_tokens_max = 10;
    let (text, finish) = spoken(local, &prompt);
    assert_eq!((text.chars().count(), finish.output_tokens, finish.reason), (40, 10, FinishReason::Length));
    prompt.output_tokens_max = 0;
    assert_eq!(spoken(local, &prompt).0, "");
}

#[tokio::test]
async fn the_stream_is_the_answer_in_pieces_and_then_done() {
    let prompt = prompt("guide", &["How do I get started?"]);
    let answer = LOCAL.answer(&prompt);
    let chunks: Vec<_> = LOCAL.generate(prompt).await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(chunks, answer);
    assert!(chunks.len() > 20, "{} pieces", chunks.len());
}

#[test]
fn tools_are_called_when_they_are_offered_and_wished_for() {
    let call = called(&equipped(&["I want the pro plan monthly"])).unwrap();
    assert_eq!(call.name, "payments.checkout");
    assert_eq!(call.arguments, r#"{"billing_cycle":"monthly","plan_id":"pro"}"#);
    let call = called(&equipped(&["How do I get started?"])).unwrap();
    assert_eq!((call.name.as_str(), call.arguments.as_str()), ("onboarding.checklist", "{}"));
    // The same words without the tools are looked up.
    assert_eq!(called(&prompt("guide", &["I want the pro plan monthly"])), None);
    assert!(ask(&LOCAL, "guide", &["How do I get started?"]).contains("(getting-started)"));
}

#[test]
fn what_is_missing_for_a_checkout_is_asked_back() {
    for (question, back) in [
        ("I want to upgrade", "Which plan shall it be, pro or enterprise, and paid monthly or yearly?"),
        ("I want the pro plan", "Shall it be paid monthly or yearly?"),
        ("Upgrade me, monthly", "Which plan shall it be: pro or enterprise?"),
    ] {
        let (text, _) = spoken(&LOCAL, &equipped(&[question]));
        assert!(text.starts_with(back) && text.contains("No external model"), "{question}: {text}");
    }
}

#[test]
fn questions_that_no_rule_knows_are_answered_as_without_tools() {
    for (question, article) in CASES.iter().filter(|(_, article)| *article != "getting-started") {
        let with = spoken(&LOCAL, &equipped(&[question])).0;
        assert_eq!(with, ask(&LOCAL, "guide", &[question]), "{article}");
    }
}

#[test]
fn an_answer_is_written_from_the_results() {
    let result = |name: &str, content: &str, is_error: bool| {
        let mut prompt = equipped(&["I want the pro plan monthly"]);
        let result = ToolResult { call_id: "1".into(), name: name.into(), content: content.into(), is_error };
        prompt.turns.push(Turn::Results(vec![result]));
        spoken(&LOCAL, &prompt).0
    };
    let text =
        result("payments.checkout", r#"{"payment_id":"p1","invoice_id":"i1","amount":"R529.00"}"#, false);
    assert!(text.contains("R529.00") && text.contains("Payment p1, invoice i1"), "{text}");
    assert!(text.contains("Nothing is charged"), "{text}");
    let steps = r#"[{"title":"A","done":true},{"title":"B","done":false}]"#;
    let content = format!(r#"{{"steps":{steps},"next":{{"title":"B","how":"Do B."}}}}"#);
    let text = result("onboarding.checklist", &content, false);
    assert!(text.contains("- A: done\n- B: open") && text.contains("Do B."), "{text}");
    let text = result("payments.checkout", r#"{"error":{"reason":"R","message":"The plan is free."}}"#, true);
    assert!(text.starts_with("That did not work: The plan is free."), "{text}");
    // Whatever a tool answers, something is said.
    for content in ["", "null", "[1]", "{", r#"{"error":3}"#, r#"{"steps":{"a":1}}"#] {
        for name in ["payments.checkout", "onboarding.checklist", "other"] {
            assert!(!result(name, content, false).is_empty() && !result(name, content, true).is_empty());
        }
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_refused() {
    let mut prompt = prompt("guide", &["hello"]);
    prompt.system = "x".repeat(PROMPT_BYTES_MAX);
    let error = LOCAL.generate(prompt).await.err().unwrap();
    assert!(matches!(error, Error::PromptTooLong { bytes } if bytes == PROMPT_BYTES_MAX + 5));
}

proptest! {
    #[test]
    fn any_question_is_answered_and_always_alike(
        questions in prop::collection::vec(".{0,300}", 0..4),
        agent in ".{0,12}",
    ) {
        let questions: Vec<_> = questions.iter().map(String::as_str).collect();
        let first = ask(&LOCAL, &agent, &questions);
        prop_assert!(!first.is_empty());
        prop_assert_eq!(first, ask(&LOCAL, &agent, &questions));
    }

    #[test]
    fn words_of_the_articles_in_any_order_are_answered(picks in prop::collection::vec(0_usize..200, 1..12)) {
        let words: Vec<&str> = CASES.iter().flat_map(|case| case.0.split(' ')).collect();
        let question: Vec<_> = picks.iter().map(|pick| words[pick % words.len()]).collect();
        let question = question.join(" ");
        prop_assert_eq!(ask(&LOCAL, "guide", &[&question]), ask(&LOCAL, "guide", &[&question]));
    }

    #[test]
    fn pieces_make_up_the_text(text in "(\\PC|\n| ){0,400}") {
        prop_assert_eq!(pieces(&text).concat(), text);
    }

    #[test]
    fn truncation_counts_characters(text in "\\PC{0,50}", max in 0_usize..60) {
        let mut cut = text.clone();
        truncate(&mut cut, max);
        prop_assert_eq!(cut, text.chars().take(max).collect::<String>());
    }
}
