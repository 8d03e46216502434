//! What plans allow in conversations.

use capecontrol::auth::{OrganizationRole, store};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::proto::capecontrol::chat::v1 as wire;
use tonic::Status;

use super::{key, reason};
use crate::support::{App, Person, insert_account, on_both};

async fn open(who: &Person, members: &[String], kind: wire::ThreadKind) -> Result<wire::Thread, Status> {
    let request = wire::CreateThreadRequest {
        title: if kind == wire::ThreadKind::Direct { String::new() } else { "Talk".to_owned() },
        kind: kind.into(),
        member_account_ids: members.to_vec(),
        request_id: key(),
        ..Default::default()
    };
    Ok(who.chat().create_thread(request).await?.into_inner().thread.unwrap())
}

async fn group(who: &Person, members: &[String]) -> Result<wire::Thread, Status> {
    open(who, members, wire::ThreadKind::Group).await
}

async fn limits(who: &Person) -> wire::ChatLimits {
    let request = wire::GetChatPolicyRequest::default();
    who.chat().get_chat_policy(request).await.unwrap().into_inner().limits.unwrap()
}

/// Colleagues of somebody.
async fn colleagues(t: &App, who: &Person, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        let (account, _) = insert_account(&t.db, &t.world, &format!("colleague{number}@example.org")).await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let (home, role, now) = (who.organization_id, OrganizationRole::Member, t.world.now());
        store::member::insert(&mut tx, home, account, role, now).await.unwrap();
        tx.commit().await.unwrap();
        ids.push(account.to_string());
    }
    ids
}

/// That a refusal says how many are allowed, and by which plan.
fn refuses(status: &Status, wanted: &str, max: &str) {
    assert_eq!(reason(status), wanted);
    let message = status.message();
    assert!(message.contains(max) && message.contains("`free`"), "{message}");
}

on_both! {
    async fn a_plan_bounds_how_many_are_in_a_thread(t: App) {
        let ada = t.register("ada@example.com").await;
        let free = limits(&ada).await;
        assert_eq!((free.plan_id.as_str(), free.thread_members_max, free.open_threads_max), ("free", 50, 500));
        assert_eq!((free.file_bytes_max, free.stored_bytes_max), (10 << 20, 1 << 30));
        let others = colleagues(&t, &ada, 50).await;
        refuses(&group(&ada, &others).await.unwrap_err(), "TOO_MANY_THREAD_MEMBERS", "50");
        let thread = group(&ada, &others[1..]).await.unwrap();
        let add = wire::AddThreadMemberRequest {
            thread_id: thread.id.clone(),
            account_id: others[0].clone(),
            role: wire::ThreadRole::Member.into(),
            ..Default::default()
        };
        refuses(&ada.chat().add_thread_member(add.clone()).await.unwrap_err(), "TOO_MANY_THREAD_MEMBERS", "50");
        // Who is in it already may get another role.
        let reader = wire::AddThreadMemberRequest {
            account_id: others[1].clone(),
            role: wire::ThreadRole::Reader.into(),
            ..add.clone()
        };
        ada.chat().add_thread_member(reader).await.unwrap();
        t.subscribe(&ada, "pro").await;
        ada.chat().add_thread_member(add).await.unwrap();
        group(&ada, &others).await.unwrap();
        assert_eq!(limits(&ada).await.thread_members_max, 250);
    }

    async fn a_plan_bounds_how_many_threads_a_person_opens(t: App) {
        let ada = t.register("ada@example.com").await;
        let other = colleagues(&t, &ada, 1).await;
        let direct = open(&ada, &other, wire::ThreadKind::Direct).await.unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        for _ in 1..499 {
            tx.sql(
                "INSERT INTO threads (id, organization_id, created_by, title, last_seq, epoch, created_at, updated_at)
                 VALUES ($1, $2, $3, '', 0, 1, $4, $4)",
            )
            .bind(t.world.id::<()>())
            .bind(ada.organization_id)
            .bind(ada.account_id)
            .bind(t.world.now())
            .execute()
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        let last = group(&ada, &[]).await.unwrap();
        refuses(&group(&ada, &[]).await.unwrap_err(), "TOO_MANY_THREADS", "500");
        // What is there is found, and others may go on opening theirs.
        assert_eq!(open(&ada, &other, wire::ThreadKind::Direct).await.unwrap().id, direct.id);
        let ben = t.register("ben@example.com").await;
        t.join(&ben, &ada).await;
        let request = wire::CreateThreadRequest {
            organization_id: ada.organization_id.to_string(),
            title: "Talk".to_owned(),
            ..Default::default()
        };
        ben.chat().create_thread(request).await.unwrap();
        // Room is made by deleting, or by a larger plan.
        let delete = wire::DeleteThreadRequest { thread_id: last.id, ..Default::default() };
        ada.chat().delete_thread(delete).await.unwrap();
        group(&ada, &[]).await.unwrap();
        refuses(&group(&ada, &[]).await.unwrap_err(), "TOO_MANY_THREADS", "500");
        t.subscribe(&ada, "enterprise").await;
        group(&ada, &[]).await.unwrap();
    }
}
