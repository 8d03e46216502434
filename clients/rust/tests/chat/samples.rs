//! One input of each kind that can make a difference, and a machine in each state: what the table is made of.

use capecontrol_client::chat::words::{AccountCursor, Frame, Transport};
use capecontrol_client::chat::{Config, Input, Machine, State};
use serde_json::{Value, json};

use crate::json;

/// The name of an input, as tables and vectors call it. No `_`: a new kind does not compile until it has a name.
pub fn kind(input: &Input) -> &'static str {
    match input {
        Input::Start => "start",
        Input::Stop => "stop",
        Input::Follow(_) => "follow",
        Input::Unfollow(_) => "unfollow",
        Input::Send(_) => "send",
        Input::Opened(_) => "opened",
        Input::Frame(_, frame) => frame_kind(frame),
        Input::Closed(..) => "closed",
        Input::Answered(_) => "answered",
        Input::Rejected(_) => "rejected",
        Input::Timer => "timer",
        Input::TokenRefreshed => "token_refreshed",
        Input::RefreshFailed => "refresh_failed",
        Input::RefreshRefused { .. } => "refresh_refused",
        Input::NetworkUp => "network_up",
        Input::NetworkDown => "network_down",
    }
}

fn frame_kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Welcome { .. } => "Welcome",
        Frame::CatchUp { .. } => "CatchUp",
        Frame::Event { .. } => "Event",
        Frame::Live { .. } => "Live",
        Frame::AccountSnapshot { .. } => "AccountSnapshot",
        Frame::AccountEvent { .. } => "AccountEvent",
        Frame::AccountLive { .. } => "AccountLive",
        Frame::Ack(_) => "Ack",
        Frame::Nack(_) => "Nack",
        Frame::Heartbeat { .. } => "Heartbeat",
        Frame::Detached { .. } => "Detached",
        Frame::GoAway(_) => "GoAway",
        Frame::Other => "other frame",
    }
}

/// How many names [`kind`] has.
pub const KINDS: usize = 28;

/// When the samples happen: what waits 50 ms, or silently for a while, is not due yet, or is.
pub const SOON: u64 = 1_010;
pub const LATE: u64 = 100_000;

/// What there is beside the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A and B are followed, and A has the unsettled message m1.
    Usual,
    /// A alone is followed, without messages.
    Alone,
    /// A alone, and the log of the account, of which 5 entries are there.
    Listening,
    /// A alone, which was unfollowed and stays for m1.
    Leaving,
    /// A was unfollowed, so that nothing is followed.
    Empty,
    /// The token has expired.
    Expired,
    /// There is no network.
    Unplugged,
    /// The time of the next attempt has not come.
    Early,
}

/// Every setting, with what the table says of it.
pub const SETTINGS: [(Setting, &str); 8] = [
    (Setting::Usual, ""),
    (Setting::Alone, "A alone, without messages"),
    (Setting::Listening, "A alone, and the account's log"),
    (Setting::Leaving, "A alone, unfollowed, waits for m1"),
    (Setting::Empty, "nothing is followed"),
    (Setting::Expired, "the token has expired"),
    (Setting::Unplugged, "there is no network"),
    (Setting::Early, "the wait is not over"),
];

/// A machine in this state and setting; none where the two do not go together.
pub fn machine(transport: Transport, setting: Setting, state: State) -> Option<Machine> {
    let account = (setting == Setting::Listening).then_some(AccountCursor { seq: 5, epoch: 1 });
    let mut machine = Machine::new(Config { account, ..Config::new(transport) });
    let script = [followed(setting, state), path(setting, state)?, ending(setting, state)?].concat();
    for value in script {
        machine.handle(1_000, 100, json::input(&value));
    }
    assert_eq!(machine.state(), state, "{setting:?}");
    Some(machine)
}

fn followed(setting: Setting, state: State) -> Vec<Value> {
    let follow =
        |thread: &str, seq: i64| json!({ "follow": { "thread": thread, "after_seq": seq, "epoch": 1 } });
    let say = || json!({ "send": { "thread": "A", "client_message_id": "m1", "text": "hello" } });
    match setting {
        Setting::Usual if state == State::Idle => vec![],
        Setting::Usual => vec![follow("A", 5), follow("B", 0), say()],
        Setting::Leaving => vec![follow("A", 5), say()],
        _ => vec![follow("A", 5)],
    }
}

fn path(setting: Setting, state: State) -> Option<Vec<Value>> {
    let start = || json!({ "start": {} });
    let frame = |frame: Value| json!({ "frame": { "stream": 1, "frame": frame } });
    let welcome = || frame(json!({ "welcome": { "connection_id": "c", "heartbeat_interval": 15_000 } }));
    let live =
        |thread: &str, seq: i64| frame(json!({ "live": { "thread": thread, "seq": seq, "epoch": 1 } }));
    let broken = || closed(14, "");
    let expired = || closed(16, "TOKEN_EXPIRED");
    let live_path = || match setting {
        Setting::Usual => vec![start(), welcome(), live("A", 5), live("B", 0)],
        Setting::Listening => {
            let account = frame(json!({ "account_live": { "seq": 5, "epoch": 1 } }));
            vec![start(), welcome(), live("A", 5), account]
        }
        _ => vec![start(), welcome(), live("A", 5)],
    };
    let failed = || json!({ "refresh_failed": {} });
    let go_away = |code: &str, after: u64| {
        frame(json!({ "go_away": { "code": code, "resume": true, "reconnect_after": after } }))
    };
    Some(match (setting, state) {
        (Setting::Early, State::Stopped) => vec![start(), broken(), json!({ "stop": {} })],
        (Setting::Early, State::Idle) => vec![start(), broken(), json!({ "unfollow": { "thread": "A" } })],
        (Setting::Expired, State::Stopped) => vec![start(), expired(), json!({ "stop": {} })],
        (Setting::Expired, State::Idle) => {
            vec![start(), expired(), failed(), json!({ "unfollow": { "thread": "A" } })]
        }
        (Setting::Expired, State::Offline) => {
            vec![start(), expired(), failed(), json!({ "network_down": {} })]
        }
        (Setting::Expired, State::Waiting) => vec![start(), expired(), failed()],
        (Setting::Expired, State::Closing) => [live_path(), vec![go_away("UNAUTHENTICATED", 0)]].concat(),
        (Setting::Early | Setting::Expired, _) => return None,
        (_, State::Stopped) => vec![],
        (_, State::Idle) if setting != Setting::Usual => return None,
        (_, State::Offline) => vec![start(), json!({ "network_down": {} })],
        (_, State::Waiting) => vec![start(), broken()],
        (_, State::Refreshing) => vec![start(), expired()],
        (_, State::SignedOut) => vec![start(), closed(16, "SESSION_REVOKED")],
        (_, State::Idle | State::Connecting) => vec![start()],
        (Setting::Usual | Setting::Listening, State::CatchingUp) => {
            vec![start(), welcome(), live("A", 5)]
        }
        (_, State::CatchingUp) => vec![start(), welcome()],
        (_, State::Live) => live_path(),
        (_, State::Closing) => [live_path(), vec![go_away("DRAINING", 700)]].concat(),
    })
}

fn ending(setting: Setting, state: State) -> Option<Vec<Value>> {
    let unfollow = || json!({ "unfollow": { "thread": "A" } });
    let rests = [State::Stopped, State::Offline, State::Refreshing, State::SignedOut, State::Closing];
    match setting {
        Setting::Leaving => Some(vec![unfollow()]),
        Setting::Empty => rests.contains(&state).then(|| vec![unfollow()]),
        Setting::Unplugged => [State::Stopped, State::Refreshing, State::SignedOut]
            .contains(&state)
            .then(|| vec![json!({ "network_down": {} })]),
        _ => Some(vec![]),
    }
}

fn closed(code: u32, reason: &str) -> Value {
    json!({ "closed": { "stream": 1, "code": code, "reason": reason } })
}

/// Inputs with what is special about them, and when they happen.
pub fn inputs() -> Vec<(&'static str, u64, Value)> {
    let mut all = actions();
    all.extend(ends());
    let frames = frames().into_iter();
    all.extend(
        frames.map(|(about, frame)| (about, SOON, json!({ "frame": { "stream": 1, "frame": frame } }))),
    );
    all
}

fn actions() -> Vec<(&'static str, u64, Value)> {
    let soon = |about, value| (about, SOON, value);
    vec![
        soon("", json!({ "start": {} })),
        soon("", json!({ "stop": {} })),
        soon("C", json!({ "follow": { "thread": "C" } })),
        ("C, later", LATE, json!({ "follow": { "thread": "C" } })),
        soon("A", json!({ "follow": { "thread": "A" } })),
        soon("B", json!({ "unfollow": { "thread": "B" } })),
        soon("A", json!({ "unfollow": { "thread": "A" } })),
        soon("in B", json!({ "send": { "thread": "B", "client_message_id": "m2", "text": "x" } })),
        soon("in A, behind m1", json!({ "send": { "thread": "A", "client_message_id": "m2", "text": "x" } })),
        soon(
            "thread not followed",
            json!({ "send": { "thread": "Z", "client_message_id": "m2", "text": "x" } }),
        ),
        soon("of m1", json!({ "answered": { "client_message_id": "m1", "message_id": "s1", "seq": 6 } })),
        soon("m1, for good", rejected(3, "INVALID_ARGUMENT", false)),
        soon("m1, for now", rejected(14, "", true)),
        soon("too early", json!({ "timer": {} })),
        ("due", LATE, json!({ "timer": {} })),
        soon("", json!({ "token_refreshed": {} })),
        ("later", LATE, json!({ "token_refreshed": {} })),
        soon("", json!({ "refresh_failed": {} })),
        soon("", json!({ "refresh_refused": { "reason": "REFRESH_TOKEN_INVALID" } })),
        soon("", json!({ "network_up": {} })),
        soon("", json!({ "network_down": {} })),
    ]
}

fn rejected(code: u32, reason: &str, retryable: bool) -> Value {
    json!({ "rejected": { "request_id": "m1", "code": code, "reason": reason, "retryable": retryable } })
}

fn ends() -> Vec<(&'static str, u64, Value)> {
    vec![
        ("", SOON, json!({ "opened": { "stream": 1 } })),
        ("connection broken", SOON, closed(14, "")),
        ("TOKEN_EXPIRED", SOON, closed(16, "TOKEN_EXPIRED")),
        ("SESSION_REVOKED", SOON, closed(16, "SESSION_REVOKED")),
        ("NOT_FOUND", SOON, closed(5, "NOT_FOUND")),
        ("of an earlier stream", SOON, json!({ "closed": { "stream": 0, "code": 14 } })),
    ]
}

fn frames() -> Vec<(&'static str, Value)> {
    let nack = |request_id: &str, code: u32, retryable: bool| {
        let refusal =
            json!({ "request_id": request_id, "code": code, "reason": "WHY", "retryable": retryable });
        json!({ "nack": refusal })
    };
    vec![
        ("", json!({ "welcome": { "connection_id": "c", "heartbeat_interval": 15_000 } })),
        ("from the next", json!({ "catch_up": { "thread": "A", "from": 6, "to": 9 } })),
        ("reset", json!({ "catch_up": { "thread": "A", "from": 1, "to": 9, "reset": true } })),
        ("beyond the next", json!({ "catch_up": { "thread": "A", "from": 7, "to": 9 } })),
        ("next", json!({ "event": { "thread": "A", "seq": 6 } })),
        (
            "next, of m1",
            json!({ "event": {
            "thread": "A", "seq": 6, "client_message_id": "m1", "message_id": "s1" } }),
        ),
        ("there already", json!({ "event": { "thread": "A", "seq": 5 } })),
        ("gap", json!({ "event": { "thread": "A", "seq": 7 } })),
        ("of Z, which is not followed", json!({ "event": { "thread": "Z", "seq": 1 } })),
        ("B", json!({ "live": { "thread": "B", "seq": 0, "epoch": 1 } })),
        ("A", json!({ "live": { "thread": "A", "seq": 5, "epoch": 1 } })),
        ("beyond what came", json!({ "live": { "thread": "A", "seq": 6, "epoch": 1 } })),
        ("another epoch", json!({ "live": { "thread": "A", "seq": 5, "epoch": 2 } })),
        ("of m1", json!({ "ack": { "client_message_id": "m1", "message_id": "s1", "seq": 6 } })),
        (
            "of nothing that waits",
            json!({ "ack": { "client_message_id": "m9", "message_id": "s9", "seq": 6 } }),
        ),
        ("m1, for good", nack("m1", 3, false)),
        ("m1, for now", nack("m1", 14, true)),
        ("thread B, for good", nack("B", 5, false)),
        ("thread A, for good", nack("A", 5, false)),
        ("thread B, for now", nack("B", 14, true)),
        ("nothing ahead", json!({ "heartbeat": { "nonce": 7, "heads": { "A": 5 } } })),
        ("a head ahead", json!({ "heartbeat": { "nonce": 7, "heads": { "A": 6 } } })),
        ("the account's, ahead", json!({ "heartbeat": { "nonce": 7, "heads": {}, "account": 6 } })),
        ("", json!({ "account_snapshot": { "seq": 9, "epoch": 2 } })),
        ("next", json!({ "account_event": { "seq": 6, "epoch": 1 } })),
        ("there already", json!({ "account_event": { "seq": 5, "epoch": 1 } })),
        ("gap", json!({ "account_event": { "seq": 7, "epoch": 1 } })),
        ("another epoch", json!({ "account_event": { "seq": 6, "epoch": 2 } })),
        ("", json!({ "account_live": { "seq": 5, "epoch": 1 } })),
        ("beyond what came", json!({ "account_live": { "seq": 6, "epoch": 1 } })),
        ("A", json!({ "detached": { "thread": "A" } })),
        ("", json!({ "go_away": { "code": "DRAINING", "resume": true, "reconnect_after": 700 } })),
        ("", json!({ "other": {} })),
    ]
}
