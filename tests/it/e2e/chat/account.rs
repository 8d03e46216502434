//! The log of an account over streams: what concerns somebody whichever threads they follow.

use capecontrol::db::{Conn as _, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use tonic::{Code, Status};
use wire::account_event::Change;
use wire::server_frame::Frame;

use super::presence::friend;
use super::{Client, KINDS, Kind, from, open_thread, send};
use crate::e2e::api_keys;
use crate::support::{App, Person, on_both};

/// A stream that tells of nothing but the account.
async fn listen(t: &App, who: &Person, kind: Kind, after_seq: i64, epoch: i64) -> Result<Client, Status> {
    let account = Some(wire::AccountCursor { after_seq, epoch });
    Client::open_with(t, who, kind, wire::SubscribeRequest { account, ..Default::default() }).await
}

/// What is told next of the account: entries, how things stand, or that the past is told.
pub async fn told(client: &mut Client) -> Frame {
    loop {
        match client.next().await.unwrap().unwrap() {
            frame @ (Frame::AccountEvent(_) | Frame::AccountSnapshot(_) | Frame::AccountLive(_)) => {
                return frame;
            }
            Frame::Welcome(_) | Frame::Heartbeat(_) => {}
            frame => panic!("{frame:?}"),
        }
    }
}

async fn snapshot(client: &mut Client) -> wire::AccountSnapshot {
    match told(client).await {
        Frame::AccountSnapshot(snapshot) => snapshot,
        frame => panic!("{frame:?}"),
    }
}

async fn live(client: &mut Client) -> wire::AccountLive {
    match told(client).await {
        Frame::AccountLive(live) => live,
        frame => panic!("{frame:?}"),
    }
}

async fn entry(client: &mut Client) -> wire::AccountEvent {
    match told(client).await {
        Frame::AccountEvent(event) => event,
        frame => panic!("{frame:?}"),
    }
}

/// The next entry that is not of what is unread, which comes when it is counted.
async fn change(client: &mut Client) -> Change {
    loop {
        match entry(client).await.change.unwrap() {
            Change::UnreadChanged(_) => {}
            change => return change,
        }
    }
}

/// What is unread when it is told next.
async fn unread(client: &mut Client) -> (i32, i32, Vec<(String, i32)>) {
    loop {
        if let Some(Change::UnreadChanged(totals)) = entry(client).await.change {
            let of = totals.unread.into_iter().map(|thread| (thread.thread_id, thread.messages)).collect();
            return (totals.threads, totals.messages, of);
        }
    }
}

fn seat(thread: &wire::Thread) -> wire::ThreadSeat {
    wire::ThreadSeat { organization_id: thread.organization_id.clone(), thread_id: thread.id.clone() }
}

async fn verify(t: &App, person: &Person) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    tx.shared_sql("UPDATE accounts SET email_verified_at = created_at WHERE id = $1")
        .bind(person.account_id)
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn invite(owner: &Person, team: &str, email: &str) -> String {
    let request = auth::InviteMemberRequest {
        organization_id: team.to_owned(),
        email: email.to_owned(),
        role: auth::OrganizationRole::Member.into(),
        ..Default::default()
    };
    owner.organizations().invite_member(request).await.unwrap().into_inner().invitation.unwrap().id
}

on_both! {
    async fn whoever_listens_is_told_of_their_threads(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, _) = friend(&t, &ada, "bob@example.com").await;
        for kind in KINDS {
            let mut client = listen(&t, &bob, kind, 0, 0).await.unwrap();
            let stands = snapshot(&mut client).await;
            let at = live(&mut client).await;
            assert_eq!((at.seq, at.epoch), (stands.seq, stands.epoch));
            let request = wire::CreateThreadRequest {
                member_account_ids: vec![bob.account_id.to_string()],
                ..Default::default()
            };
            let thread = ada.chat().create_thread(request).await.unwrap().into_inner().thread.unwrap();
            let joined = entry(&mut client).await;
            assert_eq!(joined.seq, at.seq + 1);
            assert_eq!(joined.change, Some(Change::ThreadJoined(seat(&thread))));
            // He follows no thread, and is told all the same that there is something to read.
            let message = send(&ada, &thread.id, "Are you there?").await;
            assert_eq!(unread(&mut client).await, (1, 1, vec![(thread.id.clone(), 1)]));
            let mark = wire::MarkReadRequest { thread_id: thread.id.clone(), up_to_seq: message.seq };
            bob.chat().mark_read(mark).await.unwrap();
            assert_eq!(unread(&mut client).await, (0, 0, vec![]));
            let update = wire::UpdateThreadRequest {
                thread_id: thread.id.clone(),
                thread: Some(wire::Thread {
                    membership: Some(wire::ThreadMembership { muted: true, ..Default::default() }),
                    ..Default::default()
                }),
                update_mask: Some(prost_types::FieldMask { paths: vec!["membership.muted".to_owned()] }),
                ..Default::default()
            };
            bob.chat().update_thread(update).await.unwrap();
            assert_eq!(change(&mut client).await, Change::ThreadChanged(seat(&thread)));
            let role = wire::AddThreadMemberRequest {
                thread_id: thread.id.clone(),
                account_id: bob.account_id.to_string(),
                role: wire::ThreadRole::Owner.into(),
                ..Default::default()
            };
            ada.chat().add_thread_member(role).await.unwrap();
            assert_eq!(change(&mut client).await, Change::ThreadChanged(seat(&thread)));
            let delete = wire::DeleteThreadRequest { thread_id: thread.id.clone(), ..Default::default() };
            ada.chat().delete_thread(delete).await.unwrap();
            let left = entry(&mut client).await;
            assert_eq!(left.change, Some(Change::ThreadLeft(seat(&thread))));
            // Another stream goes on exactly where this one was.
            let mut again = listen(&t, &bob, kind, joined.seq, joined.epoch).await.unwrap();
            for seq in joined.seq + 1..=left.seq {
                assert_eq!(entry(&mut again).await.seq, seq);
            }
            assert_eq!(live(&mut again).await.seq, left.seq);
        }
    }

    async fn a_position_of_no_use_is_answered_with_how_things_stand(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        send(&ada, &thread.id, "one").await;
        let mut client = listen(&t, &bob, Kind::Converse, 0, 0).await.unwrap();
        let stands = snapshot(&mut client).await;
        live(&mut client).await;
        // It may have been counted already.
        if stands.seq == 1 {
            assert_eq!(stands.unread, Some(wire::UnreadTotals::default()));
            assert_eq!(unread(&mut client).await, (1, 1, vec![(thread.id.clone(), 1)]));
        }
        for (after_seq, epoch) in [(1, stands.epoch + 1), (99, stands.epoch)] {
            let mut client = listen(&t, &bob, Kind::Subscribe, after_seq, epoch).await.unwrap();
            let stands = snapshot(&mut client).await;
            assert_eq!((stands.seq, stands.unread.unwrap().messages), (2, 1));
            assert_eq!(live(&mut client).await.seq, 2);
        }
        for (after_seq, epoch, field) in [(-1, 0, "after_seq"), (0, -1, "epoch"), (1, 0, "epoch")] {
            for kind in [Kind::Subscribe, Kind::Converse] {
                let refused = match listen(&t, &bob, kind, after_seq, epoch).await {
                    Err(status) => status,
                    Ok(mut client) => client.next().await.unwrap_err(),
                };
                assert_eq!(refused.code(), Code::InvalidArgument);
                assert!(refused.message().contains(field) || kind == Kind::Converse, "{refused:?}");
            }
        }
        let nothing = bob.chat().subscribe(wire::SubscribeRequest::default()).await.unwrap_err();
        assert_eq!(nothing.code(), Code::InvalidArgument);
    }

    async fn invitations_and_memberships_are_told(t: App) {
        let (ada, bob) = (t.register("ada@example.com").await, t.register("bob@example.com").await);
        let team = api_keys::team(&ada).await;
        // Whoever has not proved the address may be anybody.
        invite(&ada, &team, &bob.email).await;
        verify(&t, &bob).await;
        let mut client = listen(&t, &bob, Kind::Subscribe, 0, 0).await.unwrap();
        assert_eq!(snapshot(&mut client).await.seq, 0);
        live(&mut client).await;
        let first = invite(&ada, &team, &bob.email).await;
        // The invitation before was replaced by this one.
        let Change::InvitationEnded(ended) = change(&mut client).await else { panic!() };
        assert_eq!(ended.organization_id, team);
        let Change::InvitationReceived(received) = change(&mut client).await else { panic!() };
        assert_eq!((&received.invitation_id, &received.organization_id), (&first, &team));
        assert_eq!(received.organization_name, "Engines");
        assert!(received.expire_time.unwrap().seconds > t.clock_now());
        let revoke = auth::RevokeInvitationRequest { invitation_id: first.clone(), ..Default::default() };
        ada.organizations().revoke_invitation(revoke).await.unwrap();
        let ended = wire::InvitationEnded { invitation_id: first, organization_id: team.clone() };
        assert_eq!(change(&mut client).await, Change::InvitationEnded(ended));
        // A place in an organisation is told when it is taken and when it is lost.
        let own = api_keys::team(&bob).await;
        let joined = wire::OrganizationSeat { organization_id: own.clone() };
        assert_eq!(change(&mut client).await, Change::OrganizationJoined(joined.clone()));
        let close = auth::DeleteOrganizationRequest { organization_id: own, ..Default::default() };
        bob.organizations().delete_organization(close).await.unwrap();
        assert_eq!(change(&mut client).await, Change::OrganizationLeft(joined));
    }

    async fn a_stream_of_the_account_outlives_its_threads(t: App) {
        let ada = t.register("ada@example.com").await;
        let (bob, thread) = friend(&t, &ada, "bob@example.com").await;
        for kind in KINDS {
            let mine = open_thread(&bob, "").await;
            let request = wire::SubscribeRequest {
                threads: vec![from(&mine.id, 0)],
                account: Some(wire::AccountCursor::default()),
                ..Default::default()
            };
            let mut client = Client::open_with(&t, &bob, kind, request).await.unwrap();
            client.live().await;
            let delete = wire::DeleteThreadRequest { thread_id: mine.id.clone(), ..Default::default() };
            bob.chat().delete_thread(delete).await.unwrap();
            while !matches!(client.next().await.unwrap().unwrap(), Frame::Detached(_)) {}
            send(&ada, &thread.id, "still there?").await;
            loop {
                if let Frame::AccountEvent(event) = client.next().await.unwrap().unwrap()
                    && let Some(Change::UnreadChanged(totals)) = event.change
                {
                    assert_eq!(totals.unread[0].thread_id, thread.id);
                    break;
                }
            }
        }
    }

    async fn a_program_is_told_of_its_organisation_only(t: App) {
        let ada = t.register("ada@example.com").await;
        let team = api_keys::team(&ada).await;
        let wanted = api_keys::wanted(&["chat.read"]);
        let (_, key) = api_keys::made(&ada, wanted).await;
        let request = wire::SubscribeRequest {
            account: Some(wire::AccountCursor::default()),
            ..Default::default()
        };
        let stream = ChatServiceClient::new(t.channel()).subscribe(api_keys::keyed(&key, request)).await;
        let mut client = Client::Subscribe(stream.unwrap().into_inner());
        let at = snapshot(&mut client).await;
        live(&mut client).await;
        let elsewhere = wire::CreateThreadRequest { organization_id: team, ..Default::default() };
        ada.chat().create_thread(elsewhere).await.unwrap();
        let here = open_thread(&ada, "").await;
        let unnamed = entry(&mut client).await;
        assert_eq!((unnamed.seq, unnamed.change), (at.seq + 1, None));
        let named = entry(&mut client).await;
        assert_eq!((named.seq, named.change), (at.seq + 2, Some(Change::ThreadJoined(seat(&here)))));
    }
}
