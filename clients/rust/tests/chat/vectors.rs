//! Plays the vectors of clients/contract/chat, and looks whether they leave anything out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use capecontrol_client::chat::State;
use serde_json::{Value, json};

use crate::table::{VARIABLE, transitions};
use crate::watch::Watch;
use crate::{json, samples};

/// What the vectors are about. The README of their folder says what each rule is.
const RULES: &[&str] = &[
    "account",
    "ack-coalescing",
    "back-off",
    "death-by-silence",
    "detached",
    "duplicate-event",
    "end-of-stream",
    "follow",
    "fresh-start",
    "gap",
    "go-away",
    "head-ahead",
    "network",
    "outbox-bound",
    "outbox-confirmed-once",
    "outbox-order",
    "outbox-refused",
    "outbox-retry",
    "pong",
    "quality",
    "reset",
    "resume",
    "session-revoked",
    "stop",
    "subscribe",
    "token-expired",
    "unknown-frame",
];

/// Every command, by the name that vectors give it.
const COMMANDS: &[&str] = &[
    "open",
    "close",
    "send_frame",
    "call_send",
    "set_timer",
    "refresh_token",
    "sign_in",
    "deliver",
    "deliver_account",
    "reset",
    "reset_account",
    "detached",
    "confirmed",
    "failed",
    "not_taken",
    "gave_up",
    "state",
    "quality",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/chat")
}

fn vectors() -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, value)
    };
    files.into_iter().map(read).collect()
}

/// What a step did.
struct Played {
    before: State,
    kind: &'static str,
    after: State,
    says: Value,
}

fn play(path: &Path, vector: &Value, mut check: impl FnMut(usize, &Played)) {
    let mut watch = Watch::new(json::config(&vector["config"]));
    for (index, step) in vector["steps"].as_array().unwrap().iter().enumerate() {
        let at =
            step["at"].as_u64().unwrap_or_else(|| panic!("{}: step {index} has no time", path.display()));
        let input = json::input(&step["input"]);
        let (before, kind) = (watch.machine.state(), samples::kind(&input));
        let commands = watch.handle(at, step["random"].as_u64().unwrap_or(0), input);
        let says = Value::Array(commands.iter().map(json::command).collect());
        check(index, &Played { before, kind, after: watch.machine.state(), says });
    }
}

/// With the variable of `make gen`, what the machine says is written into the vectors: to be read before it is
/// believed.
#[test]
fn generated_vectors_are_what_the_machine_does() {
    let write = std::env::var_os(VARIABLE).is_some();
    for (path, vector) in vectors() {
        let mut answers = Vec::new();
        play(&path, &vector, |index, played| {
            let step = &vector["steps"][index];
            if !write {
                assert_eq!(
                    played.says,
                    step["expect"],
                    "{}, step {index}: {}",
                    path.display(),
                    step["input"]
                );
            }
            answers.push(played.says.clone());
        });
        if write {
            fs::write(&path, written(&vector, &answers)).unwrap();
        }
    }
}

/// A vector as people read it: a step is its time, its input, and one line for each command.
fn written(vector: &Value, answers: &[Value]) -> String {
    let head = |name: &str| format!("  \"{name}\": {},\n", vector[name]);
    let steps = vector["steps"].as_array().unwrap().iter().zip(answers).map(|(step, answer)| {
        let mut text = format!("    {{ \"at\": {},\n", step["at"]);
        for name in ["random", "why", "input"] {
            if let Some(value) = step.get(name) {
                text += &format!("      \"{name}\": {value},\n");
            }
        }
        let answer = answer.as_array().unwrap().iter().map(|command| format!("\n        {command}"));
        let answer = answer.collect::<Vec<_>>().join(",");
        let end = if answer.is_empty() { "" } else { "\n      " };
        text + &format!("      \"expect\": [{answer}{end}] }}")
    });
    let steps = steps.collect::<Vec<_>>().join(",\n");
    format!("{{\n{}{}{}  \"steps\": [\n{steps}\n  ]\n}}\n", head("about"), head("rules"), head("config"))
}

#[test]
fn every_rule_has_a_vector_and_every_vector_a_rule() {
    let mut found = BTreeSet::new();
    for (path, vector) in vectors() {
        let rules = vector["rules"].as_array().unwrap();
        assert!(!rules.is_empty(), "{} is about nothing", path.display());
        found.extend(rules.iter().map(|rule| rule.as_str().unwrap().to_owned()));
    }
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), RULES);
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    for rule in RULES {
        assert!(readme.contains(&format!("| `{rule}` |")), "README.md does not say what {rule} is");
    }
}

#[test]
fn every_transition_and_every_command_is_in_a_vector() {
    let (mut seen, mut said) = (BTreeSet::new(), BTreeSet::new());
    for (path, vector) in vectors() {
        play(&path, &vector, |_, played| {
            seen.insert((played.before, played.kind, played.after));
            for command in played.says.as_array().unwrap() {
                said.extend(command.as_object().unwrap().keys().cloned());
            }
        });
    }
    let missing: Vec<_> = transitions().difference(&seen).copied().collect();
    assert!(missing.is_empty(), "{} transitions are in no vector: {missing:#?}", missing.len());
    let unsaid: Vec<_> = COMMANDS.iter().filter(|name| !said.contains(**name)).collect();
    assert!(unsaid.is_empty() && said.len() == COMMANDS.len(), "{unsaid:?} is in no vector; {said:?}");
}

/// A vector that is changed is noticed.
#[test]
fn a_wrong_expectation_is_found() {
    let (path, vector) = vectors().remove(0);
    let mut wrong = 0;
    play(&path, &vector, |_, played| {
        wrong += usize::from(played.says != json!([{ "close": { "stream": 99 } }]));
    });
    assert_eq!(wrong, vector["steps"].as_array().unwrap().len());
}
