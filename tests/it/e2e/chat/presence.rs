//! Who is there, as others are told.

use std::time::Duration;

use capecontrol::chat::store::{self, Connection};
use capecontrol::db::Scope;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use tonic::{Code, Request};
use wire::client_frame::Frame as Say;
use wire::server_frame::Frame;
use wire::{Presence, PresenceMode};

use super::connections::{keep, update, welcome};
use super::{Client, KINDS, Kind, from, open_thread};
use crate::support::{App, Person, on_both};

/// Somebody who belongs to another's organisation, and a thread of the two.
pub async fn friend(t: &App, owner: &Person, email: &str) -> (Person, wire::Thread) {
    let friend = t.register(email).await;
    t.join(&friend, owner).await;
    let request = wire::CreateThreadRequest {
        member_account_ids: vec![friend.account_id.to_string()],
        ..Default::default()
    };
    let thread = owner.chat().create_thread(request).await.unwrap().into_inner().thread.unwrap();
    (friend, thread)
}

pub fn watch(person: &Person) -> wire::PresenceWatch {
    wire::PresenceWatch { account_ids: vec![person.account_id.to_string()] }
}

/// A stream that watches somebody, and its id.
pub async fn watching(
    t: &App,
    who: &Person,
    kind: Kind,
    thread: &wire::Thread,
    whom: &Person,
) -> (Client, String) {
    let mut client = Client::open(t, who, kind, vec![from(&thread.id, 0)]).await.unwrap();
    let connection_id = welcome(&mut client).await;
    let watch_presence = Some(watch(whom));
    let change = wire::UpdateSubscriptionRequest {
        connection_id: connection_id.clone(),
        watch_presence,
        ..Default::default()
    };
    update(who, change).await.unwrap();
    (client, connection_id)
}

/// What is told next of somebody's presence.
pub async fn told(client: &mut Client, whom: &Person) -> Presence {
    loop {
        if let Some(Frame::Presence(changed)) = client.next().await.unwrap() {
            let [person] = changed.people.as_slice() else { panic!("{changed:?}") };
            assert_eq!(person.account_id, whom.account_id.to_string());
            return person.presence();
        }
    }
}

pub async fn set(who: &Person, mode: PresenceMode, connection_id: &str, idle: bool) {
    let request =
        wire::SetPresenceRequest { mode: mode.into(), connection_id: connection_id.to_owned(), idle };
    who.chat().set_presence(request).await.unwrap();
}

on_both! {
    async fn whoever_shares_a_thread_is_told_who_is_there(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        for kind in KINDS {
            let (mut client, _) = watching(&t, &ada, kind, &thread, &bob).await;
            assert_eq!(told(&mut client, &bob).await, Presence::Offline);
            let mut laptop = Client::open(&t, &bob, kind, vec![from(&thread.id, 0)]).await.unwrap();
            let laptop_id = welcome(&mut laptop).await;
            assert_eq!(told(&mut client, &bob).await, Presence::Online);
            set(&bob, PresenceMode::Unspecified, &laptop_id, true).await;
            assert_eq!(told(&mut client, &bob).await, Presence::Idle);
            let phone = Client::open(&t, &bob, kind, vec![from(&thread.id, 0)]).await.unwrap();
            assert_eq!(told(&mut client, &bob).await, Presence::Online, "on the phone");
            drop(phone);
            assert_eq!(told(&mut client, &bob).await, Presence::Idle);
            set(&bob, PresenceMode::DoNotDisturb, "", false).await;
            assert_eq!(told(&mut client, &bob).await, Presence::DoNotDisturb);
            set(&bob, PresenceMode::Invisible, "", false).await;
            assert_eq!(told(&mut client, &bob).await, Presence::Offline);
            set(&bob, PresenceMode::Automatic, &laptop_id, false).await;
            assert_eq!(told(&mut client, &bob).await, Presence::Online);
            drop(laptop);
            assert_eq!(told(&mut client, &bob).await, Presence::Offline);
        }
    }

    async fn presence_is_told_to_nobody_else(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        let eve = t.register("eve@example.com").await;
        t.join(&eve, &ada).await;
        let hers = open_thread(&eve, "").await;
        let mut client = Client::open(&t, &eve, Kind::Converse, vec![from(&hers.id, 0)]).await.unwrap();
        client.live().await;
        client.say(Say::WatchPresence(watch(&bob)));
        let Some(Frame::Nack(nack)) = client.next().await.unwrap() else { panic!() };
        assert_eq!(nack.reason, "NOT_FOUND", "to belong to the same organisation is not enough");
        let request = wire::SubscribeRequest {
            threads: vec![from(&hers.id, 0)],
            watch_presence: Some(watch(&bob)),
            ..Default::default()
        };
        assert_eq!(eve.chat().subscribe(request).await.unwrap_err().code(), Code::NotFound);
        // Whoever has left hears of nobody any more.
        let (mut client, _) = watching(&t, &bob, Kind::Subscribe, &thread, &ada).await;
        assert_eq!(told(&mut client, &ada).await, Presence::Offline);
        let own = open_thread(&bob, "").await;
        let (mut of_himself, connection_id) = watching(&t, &bob, Kind::Subscribe, &own, &bob).await;
        assert_eq!(told(&mut of_himself, &bob).await, Presence::Online);
        let both = wire::PresenceWatch {
            account_ids: vec![ada.account_id.to_string(), bob.account_id.to_string()],
        };
        let change =
            wire::UpdateSubscriptionRequest { connection_id, watch_presence: Some(both), ..Default::default() };
        update(&bob, change).await.unwrap();
        assert_eq!(told(&mut of_himself, &ada).await, Presence::Offline);
        let request = wire::RemoveThreadMemberRequest { thread_id: thread.id.clone(), ..Default::default() };
        bob.chat().remove_thread_member(request).await.unwrap();
        let mut hers = Client::open(&t, &ada, Kind::Subscribe, vec![from(&thread.id, 0)]).await.unwrap();
        welcome(&mut hers).await;
        set(&bob, PresenceMode::DoNotDisturb, "", false).await;
        assert_eq!(told(&mut of_himself, &bob).await, Presence::DoNotDisturb, "and nothing of the other");
    }

    async fn people_are_seen_through_any_thread_that_joins_them(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, first) = friend(&t, &ada, "bob@example.com").await;
        let own = open_thread(&ada, "").await;
        let both = wire::CreateThreadRequest {
            member_account_ids: vec![bob.account_id.to_string()],
            ..Default::default()
        };
        let second = ada.chat().create_thread(both).await.unwrap().into_inner().thread.unwrap();
        let (mut client, connection_id) = watching(&t, &ada, Kind::Subscribe, &own, &bob).await;
        assert_eq!(told(&mut client, &bob).await, Presence::Offline);
        let mut his = Client::open(&t, &bob, Kind::Subscribe, vec![from(&second.id, 0)]).await.unwrap();
        welcome(&mut his).await;
        assert_eq!(told(&mut client, &bob).await, Presence::Online);
        let leave = async |thread: &wire::Thread| {
            let request = wire::RemoveThreadMemberRequest { thread_id: thread.id.clone(), ..Default::default() };
            bob.chat().remove_thread_member(request).await.unwrap();
        };
        leave(&first).await;
        set(&bob, PresenceMode::DoNotDisturb, "", false).await;
        assert_eq!(told(&mut client, &bob).await, Presence::DoNotDisturb, "through the other thread");
        let herself = wire::UpdateSubscriptionRequest {
            connection_id,
            watch_presence: Some(wire::PresenceWatch {
                account_ids: vec![ada.account_id.to_string(), bob.account_id.to_string()],
            }),
            ..Default::default()
        };
        update(&ada, herself).await.unwrap();
        assert_eq!(told(&mut client, &ada).await, Presence::Online);
        leave(&second).await;
        set(&bob, PresenceMode::Automatic, "", false).await;
        // Whatever were told of the other would be told before this.
        tokio::time::sleep(Duration::from_secs(2)).await;
        set(&ada, PresenceMode::DoNotDisturb, "", false).await;
        assert_eq!(told(&mut client, &ada).await, Presence::DoNotDisturb, "and nothing of the other");
    }

    async fn whoever_is_blocked_hears_nothing_more(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        let (mut client, connection_id) = watching(&t, &ada, Kind::Subscribe, &thread, &bob).await;
        assert_eq!(told(&mut client, &bob).await, Presence::Offline);
        let mut his = Client::open(&t, &bob, Kind::Subscribe, vec![from(&thread.id, 0)]).await.unwrap();
        welcome(&mut his).await;
        assert_eq!(told(&mut client, &bob).await, Presence::Online);
        let block = |account_id: String| wire::BlockAccountRequest { account_id, ..Default::default() };
        bob.chat().block_account(block(ada.account_id.to_string())).await.unwrap();
        set(&bob, PresenceMode::DoNotDisturb, "", false).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let herself = wire::UpdateSubscriptionRequest {
            connection_id,
            watch_presence: Some(watch(&ada)),
            ..Default::default()
        };
        update(&ada, herself).await.unwrap();
        assert_eq!(told(&mut client, &ada).await, Presence::Online, "and nothing of the other");
        // Whoever blocked somebody goes on hearing of them.
        let (mut his, _) = watching(&t, &bob, Kind::Subscribe, &thread, &ada).await;
        assert_eq!(told(&mut his, &ada).await, Presence::Online);
        set(&ada, PresenceMode::DoNotDisturb, "", false).await;
        assert_eq!(told(&mut his, &ada).await, Presence::DoNotDisturb);
    }

    async fn a_conversation_says_and_watches_all_of_it(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        let mut hers = Client::converse(&ada).await.unwrap();
        hers.say(Say::Hello(wire::Hello {
            threads: vec![from(&thread.id, 0)],
            watch_presence: Some(watch(&bob)),
            ..Default::default()
        }));
        assert_eq!(told(&mut hers, &bob).await, Presence::Offline);
        let mut his = Client::open(&t, &bob, Kind::Converse, vec![from(&thread.id, 0)]).await.unwrap();
        assert_eq!(told(&mut hers, &bob).await, Presence::Online);
        let say = |mode: PresenceMode, idle| {
            Say::SetPresence(wire::PresenceNotice { mode: mode.into(), idle })
        };
        his.say(say(PresenceMode::Unspecified, true));
        assert_eq!(told(&mut hers, &bob).await, Presence::Idle);
        his.say(say(PresenceMode::DoNotDisturb, false));
        assert_eq!(told(&mut hers, &bob).await, Presence::DoNotDisturb);
        hers.say(Say::WatchPresence(wire::PresenceWatch::default()));
        loop {
            if let Some(Frame::Ack(_)) = hers.next().await.unwrap() {
                break;
            }
        }
        his.say(say(PresenceMode::Automatic, false));
        hers.say(Say::WatchPresence(watch(&ada)));
        assert_eq!(told(&mut hers, &ada).await, Presence::Online, "of nobody else since");
    }

    async fn what_was_on_a_node_that_died_goes_with_it(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        let (node, stream) = (t.world.id(), t.world.id());
        let noted = Connection {
            id: stream,
            account_id: bob.account_id,
            credential: uuid::Uuid::nil(),
            by_person: true,
            token_expires_at: None,
        };
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        store::lease_node(&mut tx, node, t.world.now().plus(Duration::from_secs(35))).await.unwrap();
        store::insert_connections(&mut tx, node, &[noted]).await.unwrap();
        tx.commit().await.unwrap();
        let (mut client, _) = watching(&t, &ada, Kind::Subscribe, &thread, &bob).await;
        assert_eq!(told(&mut client, &bob).await, Presence::Online);
        t.advance(Duration::from_secs(35));
        t.node.chat.renew_node().await.unwrap();
        set(&bob, PresenceMode::Automatic, "", false).await;
        assert_eq!(told(&mut client, &bob).await, Presence::Offline);
        t.advance(Duration::from_secs(61));
        t.node.chat.renew_node().await.unwrap();
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        assert!(store::connections_of_node(&mut conn, node).await.unwrap().is_empty());
    }

    async fn a_node_that_was_taken_for_dead_notes_its_streams_again(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut client = Client::open(&t, &ada, Kind::Subscribe, vec![from(&thread.id, 0)]).await.unwrap();
        let connection_id = welcome(&mut client).await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        store::remove_nodes(&mut tx, t.world.now().plus(Duration::from_secs(3_600))).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(keep(&ada, &connection_id).await.unwrap_err().code(), Code::NotFound);
        t.node.chat.renew_node().await.unwrap();
        keep(&ada, &connection_id).await.unwrap();
        // And what is noted and not open is forgotten.
        let stray = Connection {
            id: t.world.id(),
            account_id: ada.account_id,
            credential: ada.session_id().parse().unwrap(),
            by_person: true,
            token_expires_at: None,
        };
        let node = t.node.chat.node();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        store::insert_connections(&mut tx, node, &[stray]).await.unwrap();
        tx.commit().await.unwrap();
        t.node.chat.renew_node().await.unwrap();
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let noted = store::connections_of_node(&mut conn, node).await.unwrap();
        assert_eq!(noted, [(connection_id.parse().unwrap(), ada.account_id)]);
    }

    async fn a_program_does_not_make_its_owner_present(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        let request = auth::CreateApiKeyRequest {
            organization_id: ada.organization_id.to_string(),
            name: "Watcher".to_owned(),
            scopes: vec!["chat.read".to_owned()],
            ..Default::default()
        };
        let key = ada.api_keys().create_api_key(request).await.unwrap().into_inner().key;
        let threads = vec![from(&thread.id, 0)];
        let mut request = Request::new(wire::SubscribeRequest { threads, ..Default::default() });
        request.metadata_mut().insert("x-api-key", key.parse().unwrap());
        let mut program = ChatServiceClient::new(t.channel()).subscribe(request).await.unwrap().into_inner();
        program.message().await.unwrap().unwrap();
        let (mut client, _) = watching(&t, &bob, Kind::Subscribe, &thread, &ada).await;
        assert_eq!(told(&mut client, &ada).await, Presence::Offline);
        let _hers = Client::open(&t, &ada, Kind::Subscribe, vec![from(&thread.id, 0)]).await.unwrap();
        assert_eq!(told(&mut client, &ada).await, Presence::Online);
    }
}
