//! Who may go on no longer hears no more, on whichever node and on every kind of stream. No bus tells the nodes of one
//! another here: each looks by itself, every two seconds.

use capecontrol::bus::{Route, nats};
use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use std::time::Duration;
use tonic::Code;

use super::super::chat::{Client, KINDS, Kind, from};
use crate::support::app::PASSWORD;
use crate::support::{App, Person};

/// Two nodes that hear nothing of each other.
struct Nodes {
    here: App,
    there: App,
}

impl Nodes {
    async fn start() -> Self {
        let nowhere = Route::Nats(nats::Options::parse("nats://127.0.0.1:1").unwrap());
        let here = App::start_with(Engine::Postgres, |config| config.bus = nowhere).await;
        Self { there: here.beside().await, here }
    }

    /// Streams of every kind of somebody's on each node, all of them live.
    async fn streams(&self, who: &Person, thread: &wire::Thread) -> Vec<Client> {
        let mut streams = Vec::new();
        for node in [&self.here, &self.there] {
            let who = node.sign_in(&who.email, PASSWORD).await;
            for kind in KINDS {
                let mut client = Client::open(node, &who, kind, vec![from(&thread.id, 0)]).await.unwrap();
                client.live().await;
                streams.push(client);
            }
        }
        streams
    }
}

async fn all_end(mut streams: Vec<Client>, goodbye: wire::GoAwayCode, code: Code) {
    for stream in &mut streams {
        assert_eq!(stream.end().await, (Some(goodbye), code));
    }
}

/// A thread of Ada's, and Ben, who is in it and in her organisation.
async fn shared(t: &App) -> (Person, Person, wire::Thread) {
    let (ada, ben) = (t.register("ada@example.com").await, t.register("ben@example.com").await);
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, 'member', $3)")
        .bind(ada.organization_id)
        .bind(ben.account_id)
        .bind(t.world.now())
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let request = wire::CreateThreadRequest {
        member_account_ids: vec![ben.account_id.to_string()],
        ..Default::default()
    };
    let thread = ada.chat().create_thread(request).await.unwrap().into_inner().thread.unwrap();
    (ada, ben, thread)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_go_on_hears_no_more_on_any_node() {
    let nodes = Nodes::start().await;
    let (ada, ben, thread) = shared(&nodes.here).await;
    let eve = nodes.here.register("eve@example.com").await;

    // A thread of others is refused before anything is told.
    for node in [&nodes.here, &nodes.there] {
        let eve = node.sign_in(&eve.email, PASSWORD).await;
        for kind in KINDS {
            let refused = match Client::open(node, &eve, kind, vec![from(&thread.id, 0)]).await {
                Ok(mut client) => {
                    assert_eq!(kind, Kind::Converse);
                    client.next().await.unwrap_err()
                }
                Err(refused) => refused,
            };
            assert_eq!(refused.code(), Code::NotFound, "{kind:?}");
        }
    }

    let streams = nodes.streams(&ben, &thread).await;
    let (thread_id, account_id) = (thread.id.clone(), ben.account_id.to_string());
    let remove = wire::RemoveThreadMemberRequest { thread_id, account_id, ..Default::default() };
    ada.chat().remove_thread_member(remove).await.unwrap();
    all_end(streams, wire::GoAwayCode::Detached, Code::NotFound).await;

    let (thread_id, account_id) = (thread.id.clone(), ben.account_id.to_string());
    let role = wire::ThreadRole::Member.into();
    let add = wire::AddThreadMemberRequest { thread_id, account_id, role, ..Default::default() };
    ada.chat().add_thread_member(add).await.unwrap();
    let streams = nodes.streams(&ben, &thread).await;
    let (account_id, reason) = (ben.account_id.to_string(), "a stolen card".to_owned());
    let suspend = auth::SuspendAccountRequest { account_id, reason, ..Default::default() };
    nodes.here.admin().await.admin().suspend_account(suspend).await.unwrap();
    all_end(streams, wire::GoAwayCode::Unauthenticated, Code::Unauthenticated).await;

    let streams = nodes.streams(&ada, &thread).await;
    nodes.here.advance(Duration::from_secs(3_600));
    all_end(streams, wire::GoAwayCode::Unauthenticated, Code::Unauthenticated).await;
}
