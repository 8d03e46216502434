//! Every short sequence of inputs, from every state: whatever comes, in whatever order, what must always be true is,
//! and every change of state is one of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use capecontrol_client::chat::words::Transport;
use capecontrol_client::chat::{Config, Input, State};
use serde_json::{Value, json};

use crate::table::{STATES, transitions};
use crate::watch::Watch;
use crate::{json, samples};

type Triple = (State, &'static str, State);

/// How many inputs follow on the one that led into each state.
const DEPTH: usize = 4;

/// What was seen, and the inputs that were read already.
#[derive(Default)]
struct Exploration {
    seen: BTreeSet<Triple>,
    letters: BTreeMap<(u64, i64), Rc<[Input]>>,
}

impl Exploration {
    fn letters(&mut self, watch: &Watch) -> Rc<[Input]> {
        let stream = watch.open.unwrap_or(1);
        let next = watch.followed.values().flatten().max().copied().unwrap_or(0) + 1;
        let read = || letters(stream, next).iter().map(json::input).collect();
        Rc::clone(self.letters.entry((stream, next)).or_insert_with(read))
    }

    fn explore(&mut self, watch: &Watch, now: u64, depth: usize) {
        if depth == 0 {
            return;
        }
        for input in self.letters(watch).iter() {
            let mut after = watch.clone();
            let at = match (input, watch.armed) {
                (Input::Timer, Some(armed)) => armed.max(now),
                _ => now + 1,
            };
            // A random wait that is never 0, so that it is seen.
            after.handle(at, 100, input.clone());
            let (before, state) = (watch.machine.state(), after.machine.state());
            if before != state {
                self.seen.insert((before, samples::kind(input), state));
            }
            self.explore(&after, at, depth - 1);
        }
    }
}

/// What may come next. Frames and ends are of the newest stream; `next` is the event that follows.
fn letters(stream: u64, next: i64) -> Vec<Value> {
    let frames = [
        json!({ "welcome": { "connection_id": "c", "heartbeat_interval": 15_000 } }),
        json!({ "catch_up": { "thread": "A", "from": 1, "to": 9, "reset": true } }),
        json!({ "event": { "thread": "A", "seq": next, "client_message_id": "m1", "message_id": "s1" } }),
        json!({ "event": { "thread": "A", "seq": next + 1 } }),
        json!({ "live": { "thread": "A", "seq": next - 1, "epoch": 1 } }),
        json!({ "ack": { "client_message_id": "m1", "message_id": "s1", "seq": next } }),
        json!({ "nack": { "request_id": "m1", "code": 14, "retryable": true } }),
        json!({ "nack": { "request_id": "A", "code": 5 } }),
        json!({ "heartbeat": { "nonce": 1, "heads": { "A": next } } }),
        json!({ "detached": { "thread": "A" } }),
        json!({ "go_away": { "code": "UNAUTHENTICATED", "resume": true } }),
    ];
    let mut all: Vec<_> = frames.map(|frame| json!({ "frame": { "stream": stream, "frame": frame } })).into();
    all.extend([
        json!({ "start": {} }),
        json!({ "stop": {} }),
        json!({ "follow": { "thread": "A" } }),
        json!({ "unfollow": { "thread": "A" } }),
        json!({ "send": { "thread": "A", "client_message_id": "m1", "text": "x" } }),
        json!({ "opened": { "stream": stream } }),
        json!({ "closed": { "stream": stream, "code": 14 } }),
        json!({ "closed": { "stream": stream, "code": 16, "reason": "TOKEN_EXPIRED" } }),
        json!({ "answered": { "client_message_id": "m1", "message_id": "s1", "seq": next } }),
        json!({ "timer": {} }),
        json!({ "token_refreshed": {} }),
        json!({ "network_up": {} }),
        json!({ "network_down": {} }),
    ]);
    all
}

/// One way into each state, with one thread.
fn paths() -> Vec<Vec<Value>> {
    let frame = |frame: Value| json!({ "frame": { "stream": 1, "frame": frame } });
    let closed =
        |code: u32, reason: &str| json!({ "closed": { "stream": 1, "code": code, "reason": reason } });
    let connecting = vec![json!({ "follow": { "thread": "A" } }), json!({ "start": {} })];
    let with = |before: &[Value], next: Value| [before, &[next]].concat();
    let catching_up = with(&connecting, frame(json!({ "welcome": { "heartbeat_interval": 15_000 } })));
    let live = with(&catching_up, frame(json!({ "live": { "thread": "A", "seq": 0, "epoch": 1 } })));
    vec![
        vec![],
        vec![json!({ "start": {} })],
        with(&connecting, json!({ "network_down": {} })),
        with(&connecting, closed(14, "")),
        with(&connecting, closed(16, "TOKEN_EXPIRED")),
        with(&connecting, closed(16, "SESSION_REVOKED")),
        connecting.clone(),
        catching_up.clone(),
        live.clone(),
        with(&live, frame(json!({ "go_away": { "code": "DRAINING", "resume": true } }))),
    ]
}

#[test]
fn whatever_comes_the_machine_keeps_its_word() {
    let mut exploration = Exploration::default();
    for transport in [Transport::Converse, Transport::Subscribe] {
        for (path, state) in paths().into_iter().zip(STATES) {
            let mut watch = Watch::new(Config::new(transport));
            for value in path {
                watch.handle(1_000, 100, json::input(&value));
            }
            assert_eq!(watch.machine.state(), state);
            exploration.explore(&watch, 1_000, DEPTH);
        }
    }
    let table: BTreeSet<_> = transitions().into_iter().filter(|(before, _, after)| before != after).collect();
    let missing: Vec<_> = exploration.seen.difference(&table).collect();
    assert!(missing.is_empty(), "changes of state that the table does not have: {missing:#?}");
}
