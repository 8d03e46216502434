//! Which tool a message asks for, by fixed rules over its words, and what to say of the results.
//!
//! The rules would rather miss a wish than see one that is not there: what they do not recognise is looked up in the
//! articles, and what they recognise in part is asked back.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::ai::model::{Prompt, ToolCall, ToolResult, Turn};

/// The tool that tells what a person has done and what is next.
pub const CHECKLIST: &str = "onboarding.checklist";
/// The tool that starts a checkout.
pub const CHECKOUT: &str = "payments.checkout";

/// Said at the end of what came of a rule.
const NOTICE: &str = "I am CapeControl's built-in assistant. No external model is configured, so I recognise requests \
                      like this one by fixed rules.";

/// Plans that people name; which of them exist and are sold, payments says.
const PLANS: &[&str] = &["pro", "enterprise", "free"];
/// Words for the cycles.
const CYCLES: &[(&str, &str)] = &[
    ("monthly", "monthly"),
    ("month", "monthly"),
    ("yearly", "yearly"),
    ("annual", "yearly"),
    ("annually", "yearly"),
    ("year", "yearly"),
];
/// Words that say that something is to be bought.
const BUYING: &[&str] = &["buy", "purchase", "upgrade", "subscribe", "order"];
/// Words that do so together with a plan.
const WANTING: &[&str] = &["want", "get", "take", "like", "need", "choose", "start", "switch"];
/// What a sentence begins with that asks something or supposes it, and wishes for nothing yet.
const ASKING: &[&str] = &[
    "how", "what", "which", "when", "where", "who", "why", "is", "are", "am", "do", "does", "did", "was",
    "if", "can", "could", "may", "should", "would", "will", "has", "have",
];
/// Words that turn a wish around, or that mean something already bought.
const AGAINST: &[&str] = &[
    "not",
    "don",
    "dont",
    "never",
    "cancel",
    "stop",
    "no",
    "refund",
    "back",
    "without",
    "already",
    "bought",
    "paid",
    "instead",
    "downgrade",
];
/// Requests for the checklist, as they stand in a sentence.
const NEXT: &[&str] = &[
    "checklist",
    "get started",
    "getting started",
    "get me started",
    "next step",
    "next steps",
    "what next",
    "what s next",
    "what is next",
    "do next",
    "my progress",
];

/// What the rules make of a prompt.
#[derive(Debug, PartialEq, Eq)]
pub enum Move {
    /// A tool is to be called.
    Call(ToolCall),
    /// This is to be said.
    Say(String),
}

/// What the rules make of a prompt; none when they see nothing for them in it.
pub fn apply(prompt: &Prompt) -> Option<Move> {
    if let Some(Turn::Results(results)) = prompt.turns.last() {
        return Some(Move::Say(report(results)));
    }
    let has = |name: &str| prompt.may_call && prompt.tools.iter().any(|tool| tool.name == name);
    let mut said = prompt.turns.iter().rev().filter_map(|turn| match turn {
        Turn::User(text) => Some(words(text)),
        _ => None,
    });
    let last = said.next()?;
    let before = said.next();
    if has(CHECKLIST) && asks_what_is_next(&last) {
        return Some(call(CHECKLIST, &json!({})));
    }
    let order = if has(CHECKOUT) { order(&last, before.as_deref()) } else { None };
    Some(match order? {
        Order { plan: Some(plan), cycle: Some(cycle) } => {
            call(CHECKOUT, &json!({ "plan_id": plan, "billing_cycle": cycle }))
        }
        unclear => Move::Say(ask_back(&unclear)),
    })
}

fn call(name: &str, arguments: &Value) -> Move {
    // One call in an answer, so that any id is unique in it.
    Move::Call(ToolCall { id: "local-1".to_owned(), name: name.to_owned(), arguments: arguments.to_string() })
}

/// What somebody wants to buy, as far as they said it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    plan: Option<&'static str>,
    cycle: Option<&'static str>,
}

impl Order {
    /// What is named exactly once.
    fn named(words: &[String]) -> Self {
        let plans = PLANS.iter().copied().filter(|plan| has(words, plan));
        let mut cycles: Vec<_> =
            CYCLES.iter().filter(|(word, _)| has(words, word)).map(|(_, cycle)| *cycle).collect();
        cycles.dedup();
        Self { plan: only(plans), cycle: only(cycles.into_iter()) }
    }
}

/// The wish to buy in a message, or in the answer to what was asked back.
fn order(last: &[String], before: Option<&[String]>) -> Option<Order> {
    if any(last, AGAINST) {
        return None;
    }
    let named = Order::named(last);
    if wishes(last) {
        return Some(named);
    }
    let started = before.filter(|before| wishes(before) && !any(before, AGAINST))?;
    if asks(last) || named == Order::default() {
        return None;
    }
    let earlier = Order::named(started);
    if earlier.plan.is_some() && earlier.cycle.is_some() {
        return None; // that wish was carried out
    }
    Some(Order { plan: named.plan.or(earlier.plan), cycle: named.cycle.or(earlier.cycle) })
}

fn wishes(words: &[String]) -> bool {
    let wanting = any(words, WANTING) && (any(words, PLANS) || has(words, "plan"));
    !asks(words) && (any(words, BUYING) && (any(words, PLANS) || any(words, &["plan", "upgrade"])) || wanting)
}

fn asks(words: &[String]) -> bool {
    words.first().is_some_and(|first| ASKING.contains(&first.as_str()))
}

fn asks_what_is_next(words: &[String]) -> bool {
    let text = format!(" {} ", words.join(" "));
    NEXT.iter().any(|phrase| text.contains(&format!(" {phrase} ")))
}

fn ask_back(order: &Order) -> String {
    let question = match (order.plan, order.cycle) {
        (None, Some(_)) => "Which plan shall it be: pro or enterprise?",
        (Some(_), None) => "Shall it be paid monthly or yearly?",
        _ => "Which plan shall it be, pro or enterprise, and paid monthly or yearly?",
    };
    format!(
        "{question} Then I prepare the checkout; nothing is charged before you pay on PayFast's page.\n\n{NOTICE}"
    )
}

fn report(results: &[ToolResult]) -> String {
    let mut text = String::new();
    for result in results {
        let content: Value = serde_json::from_str(&result.content).unwrap_or_default();
        let told = match result.name.as_str() {
            _ if result.is_error => failure(&content),
            CHECKLIST => checklist(&content),
            CHECKOUT => checkout(&content),
            name => format!("The tool {name} is done."),
        };
        let _ = write!(text, "{told}\n\n");
    }
    format!("{text}{NOTICE}")
}

fn failure(content: &Value) -> String {
    let message = field(&content["error"], "message");
    if message.is_empty() {
        return "That did not work.".to_owned();
    }
    format!("That did not work: {message}")
}

fn checklist(content: &Value) -> String {
    let mut text = "Here is where you are.\n\n".to_owned();
    for step in content["steps"].as_array().into_iter().flatten() {
        let mark = if step["done"] == json!(true) { "done" } else { "open" };
        let _ = writeln!(text, "- {}: {mark}", field(step, "title"));
    }
    match field(&content["next"], "how") {
        "" => text.push_str("\nThere is nothing left to do."),
        how => {
            let _ = write!(
                text,
                "\nYour next step is \u{201c}{}\u{201d}. {how}",
                field(&content["next"], "title")
            );
        }
    }
    text
}

fn checkout(content: &Value) -> String {
    format!(
        "I prepared a checkout: {}, {}, value-added tax included. Nothing is charged and nothing is bought before you \
         pay.\n\nPayment {}, invoice {}. {}",
        field(content, "description"),
        field(content, "amount"),
        field(content, "payment_id"),
        field(content, "invoice_id"),
        field(content, "how_to_pay"),
    )
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The words of a text in lower case; an apostrophe divides.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn has(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word == wanted)
}

fn any(words: &[String], wanted: &[&str]) -> bool {
    wanted.iter().any(|wanted| has(words, wanted))
}

/// The only item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_in(said: &[&str]) -> Option<(Option<&'static str>, Option<&'static str>)> {
        let said: Vec<_> = said.iter().rev().map(|text| words(text)).collect();
        order(&said[0], said.get(1).map(Vec::as_slice)).map(|order| (order.plan, order.cycle))
    }

    #[test]
    fn a_wish_to_buy_is_seen_with_what_it_names() {
        for (text, plan, cycle) in [
            ("I want the pro plan monthly", Some("pro"), Some("monthly")),
            ("Buy enterprise, yearly please", Some("enterprise"), Some("yearly")),
            ("please upgrade me to Pro for a year", Some("pro"), Some("yearly")),
            ("I'd like the free plan by the month", Some("free"), Some("monthly")),
            ("I want to upgrade", None, None),
            ("subscribe to pro", Some("pro"), None),
            ("I want the pro or the enterprise plan monthly", None, Some("monthly")),
            ("buy pro monthly or yearly", Some("pro"), None),
        ] {
            assert_eq!(order_in(&[text]), Some((plan, cycle)), "{text}");
        }
    }

    #[test]
    fn questions_and_refusals_are_no_wishes() {
        for text in [
            "How do I pay for a plan with PayFast?",
            "How much does Pro cost per year?",
            "Can I upgrade to pro monthly later?",
            "What happens if I buy pro monthly?",
            "I do not want the pro plan monthly",
            "I don't want to buy pro monthly",
            "cancel my pro plan, I want it no more",
            "I already bought pro monthly",
            "I want my money back for the pro plan",
            "I want to talk to a human",
            "order of events",
            "a month ago I wrote to you",
            "",
        ] {
            assert_eq!(order_in(&[text]), None, "{text}");
        }
    }

    #[test]
    fn what_was_asked_back_completes_the_wish_and_only_once() {
        assert_eq!(order_in(&["I want to upgrade", "pro, monthly"]), Some((Some("pro"), Some("monthly"))));
        assert_eq!(order_in(&["I want the pro plan", "yearly"]), Some((Some("pro"), Some("yearly"))));
        assert_eq!(order_in(&["I want to upgrade", "pro"]), Some((Some("pro"), None)));
        assert_eq!(order_in(&["I want the pro plan monthly", "how much is enterprise?"]), None);
        assert_eq!(order_in(&["I want the pro plan monthly", "and a year"]), None);
        assert_eq!(order_in(&["I want to upgrade", "no, not pro"]), None);
        assert_eq!(order_in(&["I want to upgrade", "thanks"]), None);
    }

    #[test]
    fn the_next_step_is_asked_for_in_several_ways() {
        for text in ["How do I get started?", "What's next?", "Show me my checklist", "what should I do next"]
        {
            assert!(asks_what_is_next(&words(text)), "{text}");
        }
        for text in ["How do I install an agent?", "the next stepping stone", "When is the next invoice due?"]
        {
            assert!(!asks_what_is_next(&words(text)), "{text}");
        }
    }
}
