//! Calls that name a stream: what it tells is changed, it is kept, and it goes on with another token.

use std::time::Duration;

use capecontrol::chat::model::ConnectionId;
use capecontrol::db::{Conn as _, Scope};
use capecontrol::proto::capecontrol::chat::v1 as wire;
use tonic::{Code, Status};
use wire::client_frame::Frame as Say;
use wire::server_frame::Frame;

use super::{
    Client, KINDS, Kind, PATIENCE, from, left_by_everybody, open_thread, reason, send, wrong_fields,
};
use crate::support::app::PASSWORD;
use crate::support::{App, Person, on_both};

/// Reads the welcome.
pub async fn welcome(client: &mut Client) -> String {
    let Some(Frame::Welcome(welcome)) = client.next().await.unwrap() else { panic!("no welcome") };
    welcome.connection_id
}

pub async fn update(who: &Person, request: wire::UpdateSubscriptionRequest) -> Result<(), Status> {
    who.chat().update_subscription(request).await.map(drop)
}

pub async fn keep(who: &Person, connection_id: &str) -> Result<wire::KeepAliveResponse, Status> {
    let request = wire::KeepAliveRequest { connection_id: connection_id.to_owned() };
    Ok(who.chat().keep_alive(request).await?.into_inner())
}

/// The id of the stream that somebody opened last.
pub async fn newest(t: &App, who: &Person) -> String {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let rows: Vec<(ConnectionId,)> = conn
        .shared_sql("SELECT id FROM connections WHERE account_id = $1 ORDER BY id DESC LIMIT 1")
        .bind(who.account_id)
        .all()
        .await
        .unwrap();
    rows[0].0.to_string()
}

/// Has time go by, with which the node renews its lease.
async fn pass(t: &App, seconds: u64) {
    t.advance(Duration::from_secs(seconds));
    t.node.chat.renew_node().await.unwrap();
}

on_both! {
    async fn a_call_changes_what_a_stream_tells(t: App) {
        let ada = t.register("ada@example.com").await;
        for kind in KINDS {
            let (first, second) = (open_thread(&ada, "").await, open_thread(&ada, "").await);
            send(&ada, &second.id, "of the past").await;
            let mut client = Client::open(&t, &ada, kind, vec![from(&first.id, 0)]).await.unwrap();
            let connection_id = welcome(&mut client).await;
            client.live().await;
            let change = wire::UpdateSubscriptionRequest {
                connection_id: connection_id.clone(),
                subscribe: vec![from(&second.id, 0)],
                unsubscribe_thread_ids: vec![first.id.clone()],
                ..Default::default()
            };
            update(&ada, change).await.unwrap();
            let event = client.event().await;
            assert_eq!((event.thread_id.as_str(), event.seq), (second.id.as_str(), 1));
            assert_eq!(client.live().await, 1);
            send(&ada, &first.id, "unheard").await;
            send(&ada, &second.id, "heard").await;
            let event = client.event().await;
            assert_eq!((event.thread_id.as_str(), event.seq), (second.id.as_str(), 2), "the first is forgotten");
        }
    }

    async fn several_changes_are_made_in_their_order(t: App) {
        let ada = t.register("ada@example.com").await;
        let mut threads = Vec::new();
        for _ in 0..6 {
            threads.push(open_thread(&ada, "").await.id);
        }
        let mut client =
            Client::open(&t, &ada, Kind::Subscribe, vec![from(&threads[0], 0)]).await.unwrap();
        let connection_id = welcome(&mut client).await;
        client.live().await;
        // Each is followed and left again, but for the last.
        for pair in threads[1..].windows(2) {
            for (subscribe, unsubscribe_thread_ids) in
                [(vec![from(&pair[0], 0)], vec![]), (vec![from(&pair[1], 0)], vec![pair[0].clone()])]
            {
                let connection_id = connection_id.clone();
                let watch_presence = None;
                let change = wire::UpdateSubscriptionRequest {
                    connection_id, subscribe, unsubscribe_thread_ids, watch_presence,
                };
                update(&ada, change).await.unwrap();
            }
        }
        let last = threads.last().unwrap();
        loop {
            if let Some(Frame::Live(live)) = client.next().await.unwrap()
                && live.thread_id == *last
            {
                break;
            }
        }
        for thread in &threads {
            send(&ada, thread, "Hello").await;
        }
        let told = [client.event().await.thread_id, client.event().await.thread_id];
        assert_eq!(told, [threads[0].clone(), last.clone()]);
    }

    async fn a_change_names_ones_own_stream_and_threads(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let (hers, other) = (open_thread(&ada, "").await, open_thread(&eve, "").await);
        let mut client = Client::open(&t, &ada, Kind::Subscribe, vec![from(&hers.id, 0)]).await.unwrap();
        let connection_id = welcome(&mut client).await;
        client.live().await;
        let change = |thread_id: &str| wire::UpdateSubscriptionRequest {
            connection_id: connection_id.clone(),
            subscribe: vec![from(thread_id, 0)],
            ..Default::default()
        };
        assert_eq!(update(&ada, change(&other.id)).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(update(&eve, change(&other.id)).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(keep(&eve, &connection_id).await.unwrap_err().code(), Code::NotFound);
        let nothing =
            wire::UpdateSubscriptionRequest { connection_id: connection_id.clone(), ..Default::default() };
        assert_eq!(wrong_fields(&update(&ada, nothing).await.unwrap_err()), ["subscribe"]);
        drop(client);
        left_by_everybody(&t).await;
        let gone = async {
            while keep(&ada, &connection_id).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
    }

    async fn a_stream_goes_on_with_the_token_of_a_call(t: App) {
        let mut ada = t.register("ada@example.com").await;
        let mut elsewhere = t.sign_in("ada@example.com", PASSWORD).await;
        let thread = open_thread(&ada, "").await;
        for kind in KINDS {
            let mut client = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            let connection_id = welcome(&mut client).await;
            let first = keep(&ada, &connection_id).await.unwrap().token_expire_time;
            pass(&t, 60).await;
            elsewhere = t.refresh(&elsewhere).await;
            let refused = keep(&elsewhere, &connection_id).await.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound, "it is not the stream of this session");
            ada = t.refresh(&ada).await;
            let renewed = keep(&ada, &connection_id).await.unwrap();
assert!(renewed.token_expire_time.unwrap().seconds >= first.unwrap().seconds + 60);
            let lease = renewed.lease_expire_time.unwrap().seconds - renewed.server_time.unwrap().seconds;
            assert_eq!(lease, 75);
            // Beyond the life of the first token, and within the lease.
            while t.clock_now() < first.unwrap().seconds + 5 {
                pass(&t, 70).await;
                keep(&ada, &connection_id).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            ada = t.refresh(&ada).await;
            let sent = send(&ada, &thread.id, "still there").await;
            client.positions(sent.seq).await;
            pass(&t, 74).await;
            drop(client);
        }
    }

    async fn a_conversation_goes_on_with_another_token(t: App) {
        let ada = t.register("ada@example.com").await;
        let elsewhere = t.sign_in("ada@example.com", PASSWORD).await;
        let eve = t.register("eve@example.com").await;
        let thread = open_thread(&ada, "").await;
        let mut client = Client::open(&t, &ada, Kind::Converse, vec![from(&thread.id, 0)]).await.unwrap();
        client.live().await;
        pass(&t, 300).await;
        let token = |access_token: &str| {
            Say::Reauthenticate(wire::Reauthenticate { access_token: access_token.to_owned() })
        };
        let refusals = [
            (elsewhere.token.as_str(), "OTHER_SESSION"),
            (eve.token.as_str(), "OTHER_SESSION"),
            ("nonsense", "TOKEN_INVALID"),
            ("", "INVALID_ARGUMENT"),
        ];
        for (wrong, expected) in refusals {
            client.say(token(wrong));
            let Some(Frame::Nack(nack)) = client.next().await.unwrap() else { panic!("{expected}") };
            assert_eq!(nack.reason, expected);
        }
        let renewed = t.refresh(&ada).await;
        client.say(token(&renewed.token));
        assert!(matches!(client.next().await.unwrap(), Some(Frame::Ack(_))));
        // The first token is over; the second goes on for half as long again.
        pass(&t, 400).await;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let renewed = t.refresh(&renewed).await;
        send(&renewed, &thread.id, "still there").await;
        assert_eq!(client.event().await.seq, 1);
        pass(&t, 600).await;
        assert_eq!(client.end().await, (Some(wire::GoAwayCode::Unauthenticated), Code::Unauthenticated));
    }

    async fn whoever_promised_to_speak_and_is_silent_counts_as_gone(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        for kind in KINDS {
            let mut silent = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            let mut promised = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            welcome(&mut silent).await;
            silent.live().await;
            let connection_id = welcome(&mut promised).await;
            keep(&ada, &connection_id).await.unwrap();
            pass(&t, 76).await;
            assert_eq!(promised.end().await, (Some(wire::GoAwayCode::Failed), Code::Unavailable));
            let refused = keep(&ada, &connection_id).await.unwrap_err();
            assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "NOT_FOUND"));
            let sent = send(&ada, &thread.id, "Hello").await;
            silent.positions(sent.seq).await;
        }
    }
}
