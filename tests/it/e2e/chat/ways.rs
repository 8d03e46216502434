//! One story over every way to the platform: whichever kind of stream somebody has, and whatever stands before the
//! node, they do the same and are told the same.

use std::collections::VecDeque;

use capecontrol::db::{Conn as _, Scope};
use prost::Message;
use tonic::transport::Channel;

use super::*;

/// A way to the platform.
pub struct Way {
    pub kind: Kind,
    /// Where it begins: at the node, or at what stands before it.
    pub url: String,
    pub channel: Channel,
    pub http: reqwest::Client,
}

/// Somebody on this way, with one stream.
struct Talk<'a> {
    way: &'a Way,
    who: Person,
    client: Client,
    /// What was told while an answer was waited for.
    heard: VecDeque<Frame>,
}

impl<'a> Talk<'a> {
    async fn open(way: &'a Way, who: &Person, threads: Vec<wire::ThreadCursor>) -> Self {
        let who = who.over(way.channel.clone());
        let client = match way.kind {
            Kind::Browser => {
                let request = wire::SubscribeRequest { threads, ..Default::default() };
                let answer = grpc_web::call(&way.http, &way.url, SUBSCRIBE, bearer(&who), &request).await;
                assert_eq!(answer.grpc_status(), None);
                Client::Browser(Box::new(answer))
            }
            Kind::Subscribe => {
                let request = wire::SubscribeRequest { threads, ..Default::default() };
                Client::Subscribe(who.chat().subscribe(request).await.unwrap().into_inner())
            }
            Kind::Converse => {
                let mut client = Client::converse(&who).await.unwrap();
                client.say(Say::Hello(wire::Hello { threads, ..Default::default() }));
                client
            }
        };
        Self { way, who, client, heard: VecDeque::new() }
    }

    async fn frame(&mut self) -> Frame {
        match self.heard.pop_front() {
            Some(frame) => frame,
            None => self.client.next().await.unwrap().unwrap(),
        }
    }

    /// The next event, in a word.
    async fn event(&mut self) -> String {
        loop {
            if let Frame::Event(event) = self.frame().await {
                return told(&event);
            }
        }
    }

    /// Reads until a thread is live, and tells of what came before.
    async fn live(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            match self.frame().await {
                Frame::CatchUp(frame) => words.push(format!("{} to {}", frame.from_seq, frame.to_seq)),
                Frame::Event(event) => words.push(told(&event)),
                Frame::Live(frame) => {
                    words.push(format!("live at {}", frame.seq));
                    return words;
                }
                _ => {}
            }
        }
    }

    /// Says a frame, and reads its answer.
    async fn say(&mut self, frame: Say) -> wire::Ack {
        self.client.say(frame);
        loop {
            match self.client.next().await.unwrap().unwrap() {
                Frame::Ack(ack) => return ack,
                Frame::Nack(nack) => panic!("{nack:?}"),
                frame => self.heard.push_back(frame),
            }
        }
    }

    /// A call as a browser makes it.
    async fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> A {
        let method = format!("/capecontrol.chat.v1.ChatService/{method}");
        let (http, url) = (&self.way.http, &self.way.url);
        let mut answer = grpc_web::call(http, url, &method, bearer(&self.who), request).await;
        let message = answer.message().await;
        message.unwrap_or_else(|| panic!("{method}: {:?}", answer.grpc_status()))
    }

    /// Writes a message; its id, and whether it was there.
    async fn send(&mut self, request: wire::SendMessageRequest) -> (String, bool) {
        let answer = match self.way.kind {
            Kind::Converse => {
                let wire::SendMessageRequest {
                    thread_id,
                    client_message_id,
                    text,
                    reply_to_message_id,
                    attachment_ids,
                } = request;
                let draft = wire::MessageDraft {
                    thread_id,
                    client_message_id,
                    text,
                    reply_to_message_id,
                    attachment_ids,
                };
                let ack = self.say(Say::SendMessage(draft)).await;
                return (ack.message_id, ack.duplicate);
            }
            Kind::Subscribe => self.who.chat().send_message(request).await.unwrap().into_inner(),
            Kind::Browser => self.call::<wire::SendMessageResponse>("SendMessage", &request).await,
        };
        (answer.message.unwrap().id, answer.duplicate)
    }

    async fn edit(&mut self, message_id: &str, text: &str) {
        let (message_id, text) = (message_id.to_owned(), text.to_owned());
        let request = wire::EditMessageRequest { message_id, text, request_id: key() };
        match self.way.kind {
            Kind::Converse => {
                let wire::EditMessageRequest { message_id, text, .. } = request;
                drop(self.say(Say::EditMessage(wire::MessageEdit { message_id, text })).await);
            }
            Kind::Subscribe => drop(self.who.chat().edit_message(request).await.unwrap()),
            Kind::Browser => drop(self.call::<wire::EditMessageResponse>("EditMessage", &request).await),
        }
    }

    async fn react(&mut self, message_id: &str, emoji: &str) {
        let (message_id, emoji) = (message_id.to_owned(), emoji.to_owned());
        let request = wire::AddReactionRequest { message_id, emoji, request_id: key() };
        match self.way.kind {
            Kind::Converse => {
                let wire::AddReactionRequest { message_id, emoji, .. } = request;
                drop(self.say(Say::AddReaction(wire::MessageReaction { message_id, emoji })).await);
            }
            Kind::Subscribe => drop(self.who.chat().add_reaction(request).await.unwrap()),
            Kind::Browser => drop(self.call::<wire::AddReactionResponse>("AddReaction", &request).await),
        }
    }

    async fn mark_read(&mut self, thread_id: &str, up_to_seq: i64) {
        let thread_id = thread_id.to_owned();
        let request = wire::MarkReadRequest { thread_id, up_to_seq };
        match self.way.kind {
            Kind::Converse => {
                let wire::MarkReadRequest { thread_id, up_to_seq: seq } = request;
                drop(self.say(Say::MarkRead(wire::ThreadPosition { thread_id, seq })).await);
            }
            Kind::Subscribe => drop(self.who.chat().mark_read(request).await.unwrap()),
            Kind::Browser => drop(self.call::<wire::MarkReadResponse>("MarkRead", &request).await),
        }
    }

    async fn delete(&mut self, message_id: &str) {
        let message_id = message_id.to_owned();
        let request = wire::DeleteMessageRequest { message_id, request_id: key() };
        match self.way.kind {
            Kind::Converse => {
                let wire::DeleteMessageRequest { message_id, .. } = request;
                drop(self.say(Say::DeleteMessage(wire::MessageRef { message_id })).await);
            }
            Kind::Subscribe => drop(self.who.chat().delete_message(request).await.unwrap()),
            Kind::Browser => drop(self.call::<wire::DeleteMessageResponse>("DeleteMessage", &request).await),
        }
    }

    /// Follows another thread beside those that it follows: on Subscribe that takes another stream.
    async fn follow(&mut self, thread: &wire::ThreadCursor, others: &[wire::ThreadCursor]) {
        if self.way.kind == Kind::Converse {
            self.say(Say::Subscribe(thread.clone())).await;
        } else {
            let threads = others.iter().chain([thread]).cloned().collect();
            *self = Self::open(self.way, &self.who, threads).await;
            for _ in others {
                self.live().await;
            }
        }
    }
}

fn bearer(who: &Person) -> HeaderMap {
    let bearer = HeaderValue::from_str(&format!("Bearer {}", who.token)).unwrap();
    HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer)])
}

/// An event, in a word: nothing in it differs from one telling to the next.
fn told(event: &wire::Event) -> String {
    let what = match event.change.as_ref().unwrap() {
        Change::MessageCreated(message) => format!("said {}", message.text),
        Change::MessageEdited(edit) => format!("mended to {}", edit.text),
        Change::MessageDeleted(_) => "deleted".to_owned(),
        Change::ReactionAdded(reaction) => format!("reacted {}", reaction.emoji),
        Change::MemberAdded(_) => "somebody came".to_owned(),
        Change::MemberRemoved(_) => "somebody left".to_owned(),
        Change::ReceiptsMoved(moved) => format!("read up to {}", moved.positions[0].seq),
        other => panic!("{other:?}"),
    };
    format!("{} {what}", event.seq)
}

/// Two people of one organisation, and a third.
async fn people(t: &App, number: usize) -> [Person; 3] {
    let mut people = Vec::new();
    for name in ["ada", "ben", "cat"] {
        people.push(t.register(&format!("{name}{number}@example.com")).await);
    }
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    for person in &people[1..] {
        tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, 'member', $3)")
            .bind(people[0].organization_id)
            .bind(person.account_id)
            .bind(t.world.now())
            .execute()
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    people.try_into().unwrap_or_else(|_| panic!())
}

async fn open_with(opener: &Person, home: &Person, others: &[&Person]) -> wire::Thread {
    let request = wire::CreateThreadRequest {
        organization_id: home.organization_id.to_string(),
        member_account_ids: others.iter().map(|other| other.account_id.to_string()).collect(),
        kind: wire::ThreadKind::Group.into(),
        request_id: key(),
        ..Default::default()
    };
    opener.chat().create_thread(request).await.unwrap().into_inner().thread.unwrap()
}

/// Ada follows, writes, mends, reacts, reads, invites, is put out of a thread, loses her connection and comes back.
/// `number` tells the tellings on one node apart.
pub async fn story(t: &App, way: &Way, number: usize) {
    let [ada, ben, cat] = people(t, number).await;
    let thread = open_with(&ben, &ada, &[&ada]).await;
    send(&ben, &thread.id, "hello").await;
    let said = send(&ben, &thread.id, "is anybody there?").await;

    let mut talk = Talk::open(way, &ada, vec![from(&thread.id, 0)]).await;
    let past = ["1 to 2", "1 said hello", "2 said is anybody there?", "live at 2"];
    assert_eq!(talk.live().await, past, "{:?}", way.kind);

    let request = message(&thread.id, "yess");
    let (own, duplicate) = talk.send(request.clone()).await;
    assert_eq!(talk.send(request).await, (own.clone(), true));
    assert!(!duplicate && talk.event().await == "3 said yess");
    talk.edit(&own, "yes").await;
    assert_eq!(talk.event().await, "4 mended to yes");
    talk.react(&said.id, "👋").await;
    assert_eq!(talk.event().await, "5 reacted 👋");
    talk.mark_read(&thread.id, 2).await;
    assert_eq!(talk.event().await, "6 read up to 2");
    send(&ben, &thread.id, "good").await;
    assert_eq!(talk.event().await, "7 said good");
    talk.delete(&own).await;
    assert_eq!(talk.event().await, "8 deleted");

    let role = wire::ThreadRole::Member.into();
    let (thread_id, account_id) = (thread.id.clone(), cat.account_id.to_string());
    let add = wire::AddThreadMemberRequest { thread_id, account_id, role, request_id: key() };
    ben.chat().add_thread_member(add).await.unwrap();
    assert_eq!(talk.event().await, "9 somebody came");

    // Another thread, and out of it again: the first one goes on.
    let other = open_with(&ben, &ada, &[&ada, &cat]).await;
    talk.follow(&from(&other.id, 0), &[from(&thread.id, 9)]).await;
    assert_eq!(talk.live().await, ["live at 0"]);
    let (thread_id, account_id) = (other.id.clone(), ada.account_id.to_string());
    let remove = wire::RemoveThreadMemberRequest { thread_id, account_id, request_id: key() };
    ben.chat().remove_thread_member(remove).await.unwrap();
    loop {
        match talk.frame().await {
            Frame::Detached(detached) => break assert_eq!(detached.thread_id, other.id),
            Frame::Event(event) => assert_eq!((event.thread_id.as_str(), event.seq), (other.id.as_str(), 1)),
            _ => {}
        }
    }
    send(&cat, &thread.id, "hi all").await;
    assert_eq!(talk.event().await, "10 said hi all");

    // Nobody listens for a while.
    drop(talk);
    send(&cat, &thread.id, "where is Ada?").await;
    send(&ben, &thread.id, "she will be back").await;
    let position = wire::ThreadCursor { epoch: thread.epoch, ..from(&thread.id, 10) };
    let mut talk = Talk::open(way, &ada, vec![position]).await;
    let missed = ["11 to 12", "11 said where is Ada?", "12 said she will be back", "live at 12"];
    assert_eq!(talk.live().await, missed);
    send(&cat, &thread.id, "there she is").await;
    assert_eq!(talk.event().await, "13 said there she is");
}

on_both! {
    async fn every_kind_of_stream_tells_the_same_story(t: App) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let way = Way { kind, url: t.url.clone(), channel: t.channel(), http: t.http.clone() };
            story(&t, &way, number).await;
        }
    }
}
