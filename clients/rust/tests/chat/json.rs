//! Inputs and commands as clients/contract/chat writes them. Its README.md describes the form.

use capecontrol_client::chat::quality::Grade;
use capecontrol_client::chat::words::{
    AccountCursor, ClientMessageId, Command, Draft, Frame, GoAway, GoAwayCode, Input, MessageId, NotTaken,
    Own, Receipt, Refusal, Start, Status, ThreadId, Transport, Wish, Word,
};
use capecontrol_client::chat::{Config, State};
use serde_json::{Value, json};

/// An object whose fields are all looked at: one that nobody asked for is a slip of the pen.
struct Fields<'a> {
    object: &'a Value,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn of(object: &'a Value) -> Self {
        assert!(object.is_object(), "{object} is no object");
        Self { object, asked: Vec::new() }
    }

    fn get(&mut self, name: &'static str) -> &'a Value {
        self.asked.push(name);
        &self.object[name]
    }

    fn text(&mut self, name: &'static str) -> String {
        self.get(name).as_str().unwrap_or_default().to_owned()
    }

    fn int(&mut self, name: &'static str) -> i64 {
        let value = self.get(name);
        if value.is_null() { 0 } else { value.as_i64().unwrap() }
    }

    fn natural(&mut self, name: &'static str) -> u64 {
        let value = self.get(name);
        if value.is_null() { 0 } else { value.as_u64().unwrap() }
    }

    fn flag(&mut self, name: &'static str) -> bool {
        self.get(name).as_bool().unwrap_or_default()
    }

    fn thread(&mut self) -> ThreadId {
        ThreadId(self.text("thread"))
    }

    fn id(&mut self) -> ClientMessageId {
        ClientMessageId(self.text("client_message_id"))
    }

    fn done(self) {
        let names = self.object.as_object().unwrap().keys();
        let more: Vec<_> = names.filter(|name| !self.asked.contains(&name.as_str())).collect();
        assert!(more.is_empty(), "{}: nobody knows {more:?}", self.object);
    }
}

fn only(value: &Value) -> (&str, &Value) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    assert_eq!(object.len(), 1, "{value} is not one thing");
    let (name, body) = object.iter().next().unwrap();
    (name, body)
}

pub fn config(value: &Value) -> Config {
    let mut fields = Fields::of(value);
    let transport = match fields.text("transport").as_str() {
        "converse" => Transport::Converse,
        "subscribe" => Transport::Subscribe,
        other => panic!("transport {other}"),
    };
    let mut config = Config::new(transport);
    if let Some(account) = fields.get("account").as_object() {
        let at = |name: &str| account[name].as_i64().unwrap();
        config.account = Some(AccountCursor { seq: at("after_seq"), epoch: at("epoch") });
    }
    if let Some(most) = fields.get("outbox_messages_max").as_u64() {
        config.outbox_messages_max = usize::try_from(most).unwrap();
    }
    fields.done();
    config
}

pub fn input(value: &Value) -> Input {
    let (name, body) = only(value);
    let mut fields = Fields::of(body);
    let input = match name {
        "start" => Input::Start,
        "stop" => Input::Stop,
        "follow" => Input::Follow(read_wish(&mut fields)),
        "unfollow" => Input::Unfollow(fields.thread()),
        "send" => Input::Send(Draft {
            thread: fields.thread(),
            client_message_id: fields.id(),
            text: fields.text("text"),
        }),
        "opened" => Input::Opened(fields.natural("stream")),
        "frame" => Input::Frame(fields.natural("stream"), frame(fields.get("frame"))),
        "closed" => Input::Closed(fields.natural("stream"), status(&mut fields)),
        "answered" => Input::Answered(receipt(&mut fields)),
        "rejected" => Input::Rejected(refusal(&mut fields)),
        "timer" => Input::Timer,
        "token_refreshed" => Input::TokenRefreshed,
        "refresh_failed" => Input::RefreshFailed,
        "refresh_refused" => Input::RefreshRefused { reason: fields.text("reason") },
        "network_up" => Input::NetworkUp,
        "network_down" => Input::NetworkDown,
        other => panic!("input {other}"),
    };
    fields.done();
    input
}

fn frame(value: &Value) -> Frame {
    let (name, body) = only(value);
    let mut fields = Fields::of(body);
    let frame = match name {
        "welcome" => Frame::Welcome {
            connection_id: fields.text("connection_id"),
            heartbeat_interval: fields.natural("heartbeat_interval"),
        },
        "catch_up" => Frame::CatchUp {
            thread: fields.thread(),
            from: fields.int("from"),
            to: fields.int("to"),
            reset: fields.flag("reset"),
            epoch: fields.int("epoch"),
        },
        "event" => Frame::Event { thread: fields.thread(), seq: fields.int("seq"), own: own(&mut fields) },
        "live" => Frame::Live { thread: fields.thread(), seq: fields.int("seq"), epoch: fields.int("epoch") },
        "ack" => Frame::Ack(receipt(&mut fields)),
        "nack" => Frame::Nack(refusal(&mut fields)),
        "heartbeat" => Frame::Heartbeat {
            nonce: fields.int("nonce"),
            heads: heads(fields.get("heads")),
            account: fields.int("account"),
            round_trip: fields.get("round_trip").as_u64(),
        },
        "detached" => Frame::Detached { thread: fields.thread() },
        "go_away" => Frame::GoAway(GoAway {
            code: go_away_code(&fields.text("code")),
            resume: fields.flag("resume"),
            reconnect_after: fields.natural("reconnect_after"),
        }),
        "account_snapshot" => Frame::AccountSnapshot { seq: fields.int("seq"), epoch: fields.int("epoch") },
        "account_event" => Frame::AccountEvent { seq: fields.int("seq"), epoch: fields.int("epoch") },
        "account_live" => Frame::AccountLive { seq: fields.int("seq"), epoch: fields.int("epoch") },
        "other" => Frame::Other,
        other => panic!("frame {other}"),
    };
    fields.done();
    frame
}

fn heads(value: &Value) -> Vec<(ThreadId, i64)> {
    let heads = value.as_object().unwrap().iter();
    heads.map(|(thread, seq)| (ThreadId(thread.clone()), seq.as_i64().unwrap())).collect()
}

fn go_away_code(name: &str) -> GoAwayCode {
    match name {
        "DRAINING" => GoAwayCode::Draining,
        "SLOW" => GoAwayCode::Slow,
        "UNAUTHENTICATED" => GoAwayCode::Unauthenticated,
        "DETACHED" => GoAwayCode::Detached,
        "FAILED" => GoAwayCode::Failed,
        other => panic!("code {other}"),
    }
}

fn own(fields: &mut Fields<'_>) -> Option<Own> {
    let (client_message_id, message_id) = (fields.id(), MessageId(fields.text("message_id")));
    (!client_message_id.0.is_empty()).then_some(Own { client_message_id, message_id })
}

fn receipt(fields: &mut Fields<'_>) -> Receipt {
    Receipt {
        client_message_id: fields.id(),
        message_id: MessageId(fields.text("message_id")),
        seq: fields.int("seq"),
        duplicate: fields.flag("duplicate"),
    }
}

fn refusal(fields: &mut Fields<'_>) -> Refusal {
    Refusal {
        request_id: fields.text("request_id"),
        status: status(fields),
        retryable: fields.flag("retryable"),
    }
}

fn status(fields: &mut Fields<'_>) -> Status {
    Status {
        code: u32::try_from(fields.natural("code")).unwrap(),
        reason: fields.text("reason"),
        retry_after: fields.natural("retry_after"),
    }
}

fn read_wish(fields: &mut Fields<'_>) -> Wish {
    let (seq, epoch) = (fields.int("after_seq"), fields.int("epoch"));
    let start = match fields.natural("newest") {
        0 => Start::After { seq, epoch },
        newest => Start::Newest(u32::try_from(newest).unwrap()),
    };
    Wish { thread: fields.thread(), start }
}

pub fn command(command: &Command) -> Value {
    match command {
        Command::Open { stream, wishes, account } => {
            let mut open =
                json!({ "stream": stream, "threads": wishes.iter().map(wish).collect::<Vec<_>>() });
            if let Some(AccountCursor { seq, epoch }) = account {
                open["account"] = json!({ "after_seq": seq, "epoch": epoch });
            }
            json!({ "open": open })
        }
        Command::Close { stream } => json!({ "close": { "stream": stream } }),
        Command::SendFrame(said) => json!({ "send_frame": word(said) }),
        Command::CallSend(said) => json!({ "call_send": draft(said) }),
        Command::SetTimer { at } => json!({ "set_timer": { "at": at } }),
        Command::RefreshToken => json!({ "refresh_token": {} }),
        Command::SignIn { reason } => json!({ "sign_in": { "reason": reason } }),
        Command::Deliver { thread, seq } => json!({ "deliver": { "thread": thread.0, "seq": seq } }),
        Command::DeliverAccount { seq } => json!({ "deliver_account": { "seq": seq } }),
        Command::ResetAccount { seq } => json!({ "reset_account": { "seq": seq } }),
        Command::Reset { thread } => json!({ "reset": { "thread": thread.0 } }),
        Command::Detached { thread, reason } => {
            json!({ "detached": { "thread": thread.0, "reason": reason } })
        }
        Command::Confirmed(receipt) => json!({ "confirmed": {
            "client_message_id": receipt.client_message_id.0,
            "message_id": receipt.message_id.0,
            "seq": receipt.seq,
            "duplicate": receipt.duplicate,
        } }),
        Command::Failed { client_message_id, reason } => {
            json!({ "failed": { "client_message_id": client_message_id.0, "reason": reason } })
        }
        Command::NotTaken(why) => json!({ "not_taken": not_taken(why) }),
        Command::GaveUp { reason } => json!({ "gave_up": { "reason": reason } }),
        Command::State(state) => json!({ "state": state_name(*state) }),
        Command::Quality(grade) => json!({ "quality": grade_name(*grade) }),
    }
}

fn not_taken(why: &NotTaken) -> Value {
    match why {
        NotTaken::TooManyThreads(thread) => json!({ "too_many_threads": { "thread": thread.0 } }),
        NotTaken::OutboxFull(id) => json!({ "outbox_full": { "client_message_id": id.0 } }),
        NotTaken::NotFollowed(id) => json!({ "not_followed": { "client_message_id": id.0 } }),
    }
}

fn word(word: &Word) -> Value {
    match word {
        Word::Subscribe(said) => json!({ "subscribe": wish(said) }),
        Word::Unsubscribe(thread) => json!({ "unsubscribe": { "thread": thread.0 } }),
        Word::Send(said) => json!({ "send_message": draft(said) }),
        Word::Ack(positions) => {
            let positions = positions.iter().map(|(thread, seq)| (thread.0.clone(), json!(seq)));
            json!({ "ack": Value::Object(positions.collect()) })
        }
        Word::Pong { nonce } => json!({ "pong": { "nonce": nonce } }),
    }
}

fn wish(wish: &Wish) -> Value {
    match wish.start {
        Start::After { seq, epoch } => json!({ "thread": wish.thread.0, "after_seq": seq, "epoch": epoch }),
        Start::Newest(newest) => json!({ "thread": wish.thread.0, "newest": newest }),
    }
}

fn draft(draft: &Draft) -> Value {
    json!({ "thread": draft.thread.0, "client_message_id": draft.client_message_id.0, "text": draft.text })
}

pub fn state_name(state: State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Idle => "idle",
        State::Offline => "offline",
        State::Waiting => "waiting",
        State::Refreshing => "refreshing",
        State::SignedOut => "signed_out",
        State::Connecting => "connecting",
        State::CatchingUp => "catching_up",
        State::Live => "live",
        State::Closing => "closing",
    }
}

fn grade_name(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "good",
        Grade::Fair => "fair",
        Grade::Poor => "poor",
    }
}
