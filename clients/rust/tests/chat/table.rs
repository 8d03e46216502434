//! The table of transitions in docs/chat-client.md is what the machine does: it is made by asking it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use capecontrol_client::chat::words::Transport;
use capecontrol_client::chat::{Command, State};

use crate::samples::{SETTINGS, Setting};
use crate::{json, samples};

/// Set by `make gen`: write instead of compare.
pub const VARIABLE: &str = "CAPECONTROL_WRITE_GENERATED";
const MARK: &str = "<!-- What follows is written by `make gen`. -->\n";

pub const STATES: [State; 10] = [
    State::Stopped,
    State::Idle,
    State::Offline,
    State::Waiting,
    State::Refreshing,
    State::SignedOut,
    State::Connecting,
    State::CatchingUp,
    State::Live,
    State::Closing,
];

/// What one input does in one state.
struct Row {
    kind: &'static str,
    about: &'static str,
    next: State,
    says: Vec<String>,
}

fn rows(transport: Transport, setting: Setting, state: State) -> Vec<Row> {
    let Some(machine) = samples::machine(transport, setting, state) else { return Vec::new() };
    let inputs = samples::inputs().into_iter();
    inputs
        .map(|(about, at, value)| {
            let mut machine = machine.clone();
            let input = json::input(&value);
            let kind = samples::kind(&input);
            let commands = machine.handle(at, 100, input);
            let says = commands.iter().filter_map(short).collect();
            Row { kind, about, next: machine.state(), says }
        })
        .collect()
}

/// A command in a word or two; the state stands in its own column.
fn short(command: &Command) -> Option<String> {
    if matches!(command, Command::State(_)) {
        return None;
    }
    let value = json::command(command);
    let (name, body) = value.as_object()?.iter().next()?;
    let inner = body.as_object().and_then(|body| body.keys().next());
    Some(match command {
        Command::SendFrame(_) => format!("{name} {}", inner?),
        _ => name.clone(),
    })
}

/// Every change of state that the table has, by the kind of input, with those that say or change something only.
pub fn transitions() -> BTreeSet<(State, &'static str, State)> {
    let mut found = BTreeSet::new();
    for transport in [Transport::Converse, Transport::Subscribe] {
        for (state, (setting, _)) in
            STATES.into_iter().flat_map(|state| SETTINGS.map(|setting| (state, setting)))
        {
            let rows = rows(transport, setting, state).into_iter();
            let counts = rows.filter(|row| row.next != state || !row.says.is_empty());
            found.extend(counts.map(|row| (state, row.kind, row.next)));
        }
    }
    found
}

fn line(state: State, row: &Row, when: &str) -> String {
    let next = if row.next == state { "" } else { json::state_name(row.next) };
    let about = [row.about, when].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    format!("| {} | {about} | {next} | {} |\n", row.kind, row.says.join(", "))
}

fn generated() -> String {
    let mut text = String::new();
    for state in STATES {
        text += &format!("\n### {}\n\n", json::state_name(state));
        text += "| input | which | next state | commands |\n| --- | --- | --- | --- |\n";
        let usual = rows(Transport::Converse, Setting::Usual, state);
        let subscribe = rows(Transport::Subscribe, Setting::Usual, state);
        let mut silent: Vec<(&str, Vec<&str>)> = Vec::new();
        for (row, other) in usual.iter().zip(&subscribe) {
            let (ours, theirs) = (line(state, row, ""), line(state, other, "on Subscribe"));
            let same = row.next == other.next && row.says == said_on_converse(other);
            if same && row.next == state && row.says.is_empty() {
                match silent.last_mut() {
                    Some((kind, which)) if *kind == row.kind => which.push(row.about),
                    _ => silent.push((row.kind, vec![row.about])),
                }
                continue;
            }
            text += &ours;
            if !same {
                text += &theirs;
            }
        }
        for (setting, when) in SETTINGS {
            let others = rows(Transport::Converse, setting, state);
            let differ = others.iter().zip(&usual).filter(|(other, row)| other.next != row.next);
            text.extend(differ.map(|(other, _)| line(state, other, when)));
        }
        let silent: Vec<_> = silent.into_iter().map(|(kind, which)| nothing(kind, &which, &usual)).collect();
        text += &wrapped(&format!("Nothing follows on: {}.", silent.join("; ")));
    }
    text
}

fn said_on_converse(row: &Row) -> Vec<String> {
    row.says.iter().map(|word| word.replace("call_send", "send_frame send_message")).collect()
}

/// Of a kind of input, those on which nothing follows.
fn nothing(kind: &str, which: &[&str], rows: &[Row]) -> String {
    let all = rows.iter().filter(|row| row.kind == kind).count() == which.len();
    if all { kind.to_owned() } else { format!("{kind} ({})", which.join("; ")) }
}

/// A paragraph of lines that fit.
fn wrapped(text: &str) -> String {
    let mut lines = String::from("\n");
    let mut column = 0;
    for word in text.split(' ') {
        if column + word.len() > 118 {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
        }
        lines.push_str(word);
        column += word.len() + 1;
    }
    lines + "\n"
}

#[test]
fn generated_table_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/chat-client.md");
    let text = fs::read_to_string(&file).unwrap();
    let (page, table) = text.split_once(MARK).expect("the mark of what is generated");
    if std::env::var_os(VARIABLE).is_some() {
        fs::write(&file, format!("{page}{MARK}{}", generated())).unwrap();
    } else {
        assert!(table == generated(), "docs/chat-client.md is not what the machine does: make gen");
    }
}

/// A kind of input that has no sample would have no row.
#[test]
fn every_kind_of_input_has_a_row() {
    let inputs = samples::inputs().into_iter();
    let kinds: BTreeSet<_> = inputs.map(|(_, _, value)| samples::kind(&json::input(&value))).collect();
    assert_eq!(kinds.len(), samples::KINDS, "{kinds:?}");
}
