//! Threads with the platform's support staff: who is let in, to what, for how long, and whom a thread waits for.

use capecontrol::db::{Conn as _, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use tonic::{Code, Status};
use wire::event::Change;
use wire::{SupportPriority as Priority, SupportState as State};

use super::{Client, KINDS, NO_THREAD, from, key, message, open_thread, reason, send, wrong_fields};
use crate::support::app::PASSWORD;
use crate::support::{App, Person, on_both};

async fn ask_for(who: &Person, title: &str, members: &[&Person]) -> Result<wire::Thread, Status> {
    let request = wire::CreateThreadRequest {
        title: title.to_owned(),
        kind: wire::ThreadKind::Support.into(),
        member_account_ids: members.iter().map(|member| member.account_id.to_string()).collect(),
        request_id: key(),
        ..Default::default()
    };
    Ok(who.chat().create_thread(request).await?.into_inner().thread.unwrap())
}

async fn take(who: &Person, thread_id: &str) -> Result<wire::Thread, Status> {
    let request = wire::TakeSupportThreadRequest { thread_id: thread_id.to_owned(), request_id: key() };
    Ok(who.chat().take_support_thread(request).await?.into_inner().thread.unwrap())
}

async fn update(
    who: &Person,
    thread_id: &str,
    state: State,
    priority: Priority,
) -> Result<wire::SupportStatus, Status> {
    let request = wire::UpdateSupportThreadRequest {
        thread_id: thread_id.to_owned(),
        state: state.into(),
        priority: priority.into(),
        request_id: key(),
    };
    let answer = who.chat().update_support_thread(request).await?.into_inner();
    Ok(answer.thread.unwrap().support.unwrap())
}

async fn state(who: &Person, thread_id: &str) -> State {
    let request = wire::GetThreadRequest { thread_id: thread_id.to_owned() };
    who.chat().get_thread(request).await.unwrap().into_inner().thread.unwrap().support.unwrap().state()
}

async fn listed(who: &Person, state: State, priority: Priority) -> Vec<wire::SupportThread> {
    let mut request = wire::ListSupportThreadsRequest {
        state: state.into(),
        priority: priority.into(),
        page_size: 1,
        ..Default::default()
    };
    let mut threads = Vec::new();
    loop {
        let page = who.chat().list_support_threads(request.clone()).await.unwrap().into_inner();
        threads.extend(page.support_threads);
        if page.next_page_token.is_empty() {
            return threads;
        }
        request.page_token = page.next_page_token;
    }
}

fn ids(threads: &[wire::SupportThread]) -> Vec<&str> {
    threads.iter().map(|thread| thread.thread_id.as_str()).collect()
}

/// Somebody who becomes staff.
async fn staff(t: &App, email: &str) -> Person {
    let person = t.register(email).await;
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let promote = tx.shared_sql("UPDATE accounts SET role = 'admin' WHERE id = $1").bind(person.account_id);
    assert_eq!(promote.execute().await.unwrap(), 1);
    tx.commit().await.unwrap();
    t.sign_in(&person.email, PASSWORD).await
}

on_both! {
    async fn a_support_thread_waits_for_whoever_did_not_write_last(t: App) {
        let [ada, ben] = [t.register("ada@example.com").await, t.register("ben@example.com").await];
        t.join(&ben, &ada).await;
        let sam = staff(&t, "sam@example.org").await;
        assert_eq!(wrong_fields(&ask_for(&ada, "", &[]).await.unwrap_err()), ["title"]);
        let thread = ask_for(&ada, "My card is refused", &[&ben]).await.unwrap();
        let new = thread.support.unwrap();
        assert_eq!((new.state(), new.priority()), (State::Open, Priority::Normal));
        t.advance(std::time::Duration::from_secs(1));
        let other = ask_for(&ben, "Where is my invoice?", &[]).await.unwrap();

        let open = listed(&sam, State::Unspecified, Priority::Unspecified).await;
        assert_eq!(ids(&open), [&thread.id, &other.id], "the longest wait first, page by page");
        assert_eq!((open[0].title.as_str(), open[0].staff_account_ids.len()), ("My card is refused", 0));
        assert_eq!(open[0].organization_id, ada.organization_id.to_string());

        let mut stream = Client::open(&t, &ada, KINDS[0], vec![from(&thread.id, 0)]).await.unwrap();
        stream.live().await;
        send(&ada, &thread.id, "since this morning").await;
        assert_eq!(stream.event().await.seq, 1);
        let taken = take(&sam, &thread.id).await.unwrap();
        assert_eq!(taken.membership.unwrap().role(), wire::ThreadRole::Support);
        let Some(Change::MemberAdded(came)) = stream.event().await.change else { panic!("nobody came") };
        assert_eq!((&came.account_id, came.role()), (&sam.account_id.to_string(), wire::ThreadRole::Support));
        assert_eq!(take(&sam, &thread.id).await.unwrap().last_seq, 2, "taking it again changes nothing");
        let open = listed(&sam, State::Open, Priority::Unspecified).await;
        assert_eq!(open[0].staff_account_ids, [sam.account_id.to_string()]);

        send(&sam, &thread.id, "which card is it?").await;
        assert_eq!(state(&ada, &thread.id).await, State::Waiting);
        assert_eq!(ids(&listed(&sam, State::Waiting, Priority::Unspecified).await), [&thread.id]);
        send(&ben, &thread.id, "the blue one").await;
        assert_eq!(state(&sam, &thread.id).await, State::Open);

        // A deleted thread waits for nobody.
        let delete = wire::DeleteThreadRequest { thread_id: other.id, ..Default::default() };
        ben.chat().delete_thread(delete).await.unwrap();
        assert_eq!(ids(&listed(&sam, State::Open, Priority::Unspecified).await), [&thread.id]);
    }

    async fn a_closed_support_thread_is_opened_by_what_its_people_write(t: App) {
        let [ada, ben] = [t.register("ada@example.com").await, t.register("ben@example.com").await];
        t.join(&ben, &ada).await;
        let sam = staff(&t, "sam@example.org").await;
        let thread = ask_for(&ada, "My card is refused", &[&ben]).await.unwrap();
        let said = send(&ben, &thread.id, "the blue one").await;
        take(&sam, &thread.id).await.unwrap();
        let mut stream = Client::open(&t, &ada, KINDS[0], vec![from(&thread.id, 0)]).await.unwrap();
        stream.live().await;

        let refused = update(&ada, &thread.id, State::Unspecified, Priority::Urgent).await.unwrap_err();
        assert_eq!(reason(&refused), "SUPPORT_STAFF_ONLY");
        let refused = update(&ben, &thread.id, State::Closed, Priority::Unspecified).await.unwrap_err();
        assert_eq!(reason(&refused), "THREAD_MANAGERS_ONLY");
        for wrong in [State::Unspecified, State::Waiting] {
            let refused = update(&sam, &thread.id, wrong, Priority::Unspecified).await.unwrap_err();
            assert_eq!(wrong_fields(&refused), ["state"]);
        }
        let closed = update(&sam, &thread.id, State::Closed, Priority::High).await.unwrap();
        assert_eq!((closed.state(), closed.priority()), (State::Closed, Priority::High));
        let told = loop {
            if let Some(Change::SupportChanged(told)) = stream.event().await.change {
                break told;
            }
        };
        assert_eq!((told.state(), told.priority()), (State::Closed, Priority::High));
        assert_eq!(ids(&listed(&sam, State::Closed, Priority::High).await), [&thread.id]);
        assert!(listed(&sam, State::Closed, Priority::Low).await.is_empty());
        let again = update(&sam, &thread.id, State::Closed, Priority::High).await.unwrap();
        assert_eq!(again, closed, "what is so already stays so");

        // A thumb and a mended word ask for nothing, and what is sent twice was said once.
        let (message_id, emoji) = (said.id.clone(), "👍".to_owned());
        let thumb = wire::AddReactionRequest { message_id, emoji, request_id: key() };
        ada.chat().add_reaction(thumb).await.unwrap();
        let mended = wire::EditMessageRequest { message_id: said.id, text: "blue".to_owned(), request_id: key() };
        ben.chat().edit_message(mended).await.unwrap();
        send(&sam, &thread.id, "you are welcome").await;
        assert_eq!(state(&ada, &thread.id).await, State::Closed);
        let request = message(&thread.id, "it is refused again");
        ada.chat().send_message(request.clone()).await.unwrap();
        assert_eq!(state(&ada, &thread.id).await, State::Open);
        update(&ada, &thread.id, State::Closed, Priority::Unspecified).await.unwrap();
        assert!(ada.chat().send_message(request).await.unwrap().into_inner().duplicate);
        assert_eq!(state(&ada, &thread.id).await, State::Closed);
    }

    async fn staff_see_what_they_took_up_and_nothing_else_of_an_organisation(t: App) {
        let ada = t.register("ada@example.com").await;
        let sam = staff(&t, "sam@example.org").await;
        let taken = ask_for(&ada, "Help", &[]).await.unwrap();
        let (waiting, private) = (ask_for(&ada, "More help", &[]).await.unwrap(), open_thread(&ada, "").await);
        take(&sam, &taken.id).await.unwrap();

        for thread in [&waiting, &private] {
            let secret = send(&ada, &thread.id, "secret").await;
            let foreign = ways_in(&sam, &thread.id, &secret.id).await;
            let unknown = ways_in(&sam, NO_THREAD, NO_THREAD).await;
            assert_eq!(foreign, unknown, "whoever took one thread up");
        }
        assert_eq!(reason(&take(&sam, &private.id).await.unwrap_err()), "NOT_FOUND");

        // Nor anything of the organisation itself.
        let (organization_id, mut chat) = (ada.organization_id.to_string(), sam.chat());
        let list = wire::ListThreadsRequest { organization_id: organization_id.clone(), ..Default::default() };
        let create = wire::CreateThreadRequest { organization_id: organization_id.clone(), ..Default::default() };
        let query = "secret".to_owned();
        let home = organization_id.clone();
        let search = wire::SearchMessagesRequest { organization_id: home, query, ..Default::default() };
        let policy = wire::GetChatPolicyRequest { organization_id };
        let refused = [
            chat.list_threads(list).await.unwrap_err(),
            chat.create_thread(create).await.unwrap_err(),
            chat.search_messages(search).await.unwrap_err(),
            chat.get_chat_policy(policy).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|status| reason(status) == "NOT_FOUND"), "{refused:?}");
        let account_ids = vec![ada.account_id.to_string()];
        let watch_presence = Some(wire::PresenceWatch { account_ids });
        let watch = wire::SubscribeRequest {
            threads: vec![from(&taken.id, 0)],
            watch_presence,
            ..Default::default()
        };
        assert_eq!(reason(&chat.subscribe(watch).await.unwrap_err()), "NOT_FOUND");
    }

    async fn staff_write_in_what_they_took_up_and_manage_nothing(t: App) {
        let ada = t.register("ada@example.com").await;
        let (sam, private) = (staff(&t, "sam@example.org").await, open_thread(&ada, "").await);
        let (mut chat, taken) = (sam.chat(), ask_for(&ada, "Help", &[]).await.unwrap());
        take(&sam, &taken.id).await.unwrap();
        let file = wire::CreateAttachmentRequest {
            thread_id: taken.id.clone(),
            file_name: "how.txt".to_owned(),
            size_bytes: 3,
            sha256: vec![7; 32],
            ..Default::default()
        };
        chat.create_attachment(file).await.unwrap();
        let hers = send(&ada, &taken.id, "my card is refused").await;
        send(&sam, &taken.id, "which one is it?").await;
        let delete = wire::DeleteMessageRequest { message_id: hers.id, ..Default::default() };
        assert_eq!(reason(&chat.delete_message(delete).await.unwrap_err()), "NOT_THE_AUTHOR");
        let renamed = Some(wire::Thread { title: "Solved".to_owned(), ..Default::default() });
        let rename = wire::UpdateThreadRequest { thread_id: taken.id.clone(), thread: renamed, ..Default::default() };
        let delete = wire::DeleteThreadRequest { thread_id: taken.id.clone(), ..Default::default() };
        let remove = wire::RemoveThreadMemberRequest {
            thread_id: taken.id.clone(),
            account_id: ada.account_id.to_string(),
            ..Default::default()
        };
        let refused = [
            chat.update_thread(rename).await.unwrap_err(),
            chat.delete_thread(delete).await.unwrap_err(),
            chat.remove_thread_member(remove.clone()).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|status| reason(status) == "THREAD_MANAGERS_ONLY"), "{refused:?}");

        // The organisation neither brings them in elsewhere nor gives the role, and can put them out.
        let account_id = sam.account_id.to_string();
        for (thread, role) in [(&private, wire::ThreadRole::Member), (&taken, wire::ThreadRole::Owner)] {
            let (thread_id, account_id) = (thread.id.clone(), account_id.clone());
            let add = wire::AddThreadMemberRequest { thread_id, account_id, role: role.into(), request_id: key() };
            assert_eq!(reason(&ada.chat().add_thread_member(add).await.unwrap_err()), "NOT_FOUND");
        }
        let add = wire::AddThreadMemberRequest {
            thread_id: private.id.clone(),
            account_id: account_id.clone(),
            role: wire::ThreadRole::Support.into(),
            ..Default::default()
        };
        assert_eq!(wrong_fields(&ada.chat().add_thread_member(add).await.unwrap_err()), ["role"]);
        let log = auth::ListAuditEventsRequest {
            organization_id: ada.organization_id.to_string(),
            action_prefix: "chat.take_support_thread".to_owned(),
            ..Default::default()
        };
        let log = ada.audit().list_audit_events(log).await.unwrap().into_inner().audit_events;
        let written: Vec<_> = log.iter().map(|entry| (&entry.actor_id, &entry.subject_id)).collect();
        assert_eq!(written, [(&account_id, &taken.id)], "the organisation knows who looked");
        let remove = wire::RemoveThreadMemberRequest { account_id, ..remove };
        ada.chat().remove_thread_member(remove).await.unwrap();
        let get = wire::GetThreadRequest { thread_id: taken.id };
        assert_eq!(reason(&chat.get_thread(get).await.unwrap_err()), "NOT_FOUND");
    }

    async fn who_is_no_staff_finds_and_takes_no_support_thread(t: App) {
        let [ada, eve] = [t.register("ada@example.com").await, t.register("eve@example.com").await];
        let thread = ask_for(&ada, "Help", &[]).await.unwrap();
        let refused = take(&eve, &thread.id).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        let list = wire::ListSupportThreadsRequest::default();
        assert_eq!(eve.chat().list_support_threads(list).await.unwrap_err().code(), Code::PermissionDenied);
        let refused = update(&eve, &thread.id, State::Closed, Priority::Unspecified).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_FOUND");
        // Staff of one's own organisation come in as any colleague does.
        let sam = staff(&t, "sam@example.org").await;
        t.join(&sam, &ada).await;
        assert_eq!(reason(&take(&sam, &thread.id).await.unwrap_err()), "SUPPORTS_OWN_ORGANIZATION");
        let get = wire::GetThreadRequest { thread_id: thread.id.clone() };
        assert_eq!(reason(&sam.chat().get_thread(get).await.unwrap_err()), "NOT_FOUND");
        let private = open_thread(&ada, "").await;
        let refused = update(&ada, &private.id, State::Closed, Priority::Unspecified).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_FOUND");
    }

    async fn who_is_staff_no_longer_hears_no_more(t: App) {
        let admin = t.admin().await;
        let (ada, sam) = (t.register("ada@example.com").await, staff(&t, "sam@example.org").await);
        let thread = ask_for(&ada, "Help", &[]).await.unwrap();
        let said = send(&ada, &thread.id, "secret").await;
        take(&sam, &thread.id).await.unwrap();
        let mut streams = Vec::new();
        for kind in KINDS {
            let mut stream = Client::open(&t, &sam, kind, vec![from(&thread.id, 0)]).await.unwrap();
            stream.live().await;
            streams.push(stream);
        }
        let (account_id, role) = (sam.account_id.to_string(), auth::Role::Developer.into());
        let demote = auth::SetAccountRoleRequest { account_id, role, ..Default::default() };
        admin.admin().set_account_role(demote).await.unwrap();
        for mut stream in streams {
            assert_eq!(stream.end().await, (Some(wire::GoAwayCode::Detached), Code::NotFound));
        }
        assert_eq!(ways_in(&sam, &thread.id, &said.id).await, ways_in(&sam, NO_THREAD, NO_THREAD).await);
        assert_eq!(take(&sam, &thread.id).await.unwrap_err().code(), Code::PermissionDenied);
        // Others go on.
        assert_eq!(take(&admin, &thread.id).await.unwrap().membership.unwrap().role(), wire::ThreadRole::Support);
    }
}

on_both! {
    async fn with_its_organisation_a_support_thread_is_gone_for_staff_too(t: App) {
        let ada = t.register("ada@example.com").await;
        let sam = staff(&t, "sam@example.org").await;
        let make = auth::CreateOrganizationRequest { name: "Team".to_owned(), ..Default::default() };
        let team = ada.organizations().create_organization(make).await.unwrap().into_inner().organization.unwrap();
        let request = wire::CreateThreadRequest {
            organization_id: team.id.clone(),
            title: "Help".to_owned(),
            kind: wire::ThreadKind::Support.into(),
            ..Default::default()
        };
        let thread = ada.chat().create_thread(request).await.unwrap().into_inner().thread.unwrap();
        let said = send(&ada, &thread.id, "secret").await;
        take(&sam, &thread.id).await.unwrap();
        let mut stream = Client::open(&t, &sam, KINDS[0], vec![from(&thread.id, 0)]).await.unwrap();
        stream.live().await;
        let close = auth::DeleteOrganizationRequest { organization_id: team.id, ..Default::default() };
        ada.organizations().delete_organization(close).await.unwrap();
        assert_eq!(stream.end().await, (Some(wire::GoAwayCode::Detached), Code::NotFound));
        assert_eq!(ways_in(&sam, &thread.id, &said.id).await, ways_in(&sam, NO_THREAD, NO_THREAD).await);
        assert_eq!(reason(&take(&sam, &thread.id).await.unwrap_err()), "NOT_FOUND");
        assert!(listed(&sam, State::Open, Priority::Unspecified).await.is_empty());
    }
}

/// What is answered to every way into a thread and a message of it, each of which must end in the same words.
async fn ways_in(who: &Person, thread_id: &str, message_id: &str) -> Vec<(Code, String, Vec<u8>)> {
    let told = [
        ways_to_look(who, thread_id).await,
        ways_to_change(who, thread_id).await,
        ways_to_a_message(who, message_id).await,
    ];
    let told = told.concat();
    for status in &told {
        assert_eq!((status.code(), reason(status).as_str()), (Code::NotFound, "NOT_FOUND"));
    }
    told.iter().map(|it| (it.code(), it.message().to_owned(), it.details().to_vec())).collect()
}

async fn ways_to_look(who: &Person, thread_id: &str) -> Vec<Status> {
    let (mut chat, thread_id) = (who.chat(), thread_id.to_owned());
    let threads = vec![from(&thread_id, 0)];
    let get = wire::GetThreadRequest { thread_id: thread_id.clone() };
    let events = wire::ListEventsRequest { thread_id: thread_id.clone(), ..Default::default() };
    let members = wire::ListThreadMembersRequest { thread_id: thread_id.clone(), ..Default::default() };
    let export = wire::ExportThreadRequest { thread_id: thread_id.clone() };
    let read = wire::MarkReadRequest { thread_id: thread_id.clone(), up_to_seq: 0 };
    let typing = wire::SetTypingRequest { thread_id, typing: true };
    vec![
        chat.get_thread(get).await.unwrap_err(),
        chat.list_events(events).await.unwrap_err(),
        chat.list_thread_members(members).await.unwrap_err(),
        chat.export_thread(export).await.unwrap_err(),
        chat.mark_read(read).await.unwrap_err(),
        chat.set_typing(typing).await.unwrap_err(),
        chat.subscribe(wire::SubscribeRequest { threads, ..Default::default() }).await.unwrap_err(),
    ]
}

async fn ways_to_change(who: &Person, thread_id: &str) -> Vec<Status> {
    let (mut chat, thread_id) = (who.chat(), thread_id.to_owned());
    let muted = Some(wire::ThreadMembership { muted: true, ..Default::default() });
    let muting = wire::UpdateThreadRequest {
        thread_id: thread_id.clone(),
        thread: Some(wire::Thread { membership: muted, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["membership.muted".to_owned()] }),
        ..Default::default()
    };
    let (id, account_id) = (thread_id.clone(), who.account_id.to_string());
    let add = wire::AddThreadMemberRequest { thread_id: id, account_id, ..Default::default() };
    let leave = wire::RemoveThreadMemberRequest { thread_id: thread_id.clone(), ..Default::default() };
    let delete = wire::DeleteThreadRequest { thread_id: thread_id.clone(), ..Default::default() };
    let file = wire::CreateAttachmentRequest {
        thread_id: thread_id.clone(),
        file_name: "a.txt".to_owned(),
        size_bytes: 1,
        sha256: vec![0; 32],
        ..Default::default()
    };
    let (id, state) = (thread_id.clone(), State::Closed.into());
    let close = wire::UpdateSupportThreadRequest { thread_id: id, state, ..Default::default() };
    vec![
        chat.update_thread(muting).await.unwrap_err(),
        chat.add_thread_member(add).await.unwrap_err(),
        chat.remove_thread_member(leave).await.unwrap_err(),
        chat.delete_thread(delete).await.unwrap_err(),
        chat.create_attachment(file).await.unwrap_err(),
        chat.send_message(message(&thread_id, "hi")).await.unwrap_err(),
        chat.update_support_thread(close).await.unwrap_err(),
    ]
}

async fn ways_to_a_message(who: &Person, message_id: &str) -> Vec<Status> {
    let (mut chat, message_id) = (who.chat(), message_id.to_owned());
    let get = wire::GetMessageRequest { message_id: message_id.clone() };
    let (id, text) = (message_id.clone(), "x".to_owned());
    let edit = wire::EditMessageRequest { message_id: id, text, ..Default::default() };
    let delete = wire::DeleteMessageRequest { message_id: message_id.clone(), ..Default::default() };
    let (id, emoji) = (message_id.clone(), "👍".to_owned());
    let react = wire::AddReactionRequest { message_id: id, emoji, ..Default::default() };
    let reason = wire::ReportReason::Spam.into();
    let report = wire::ReportMessageRequest { message_id, reason, ..Default::default() };
    vec![
        chat.get_message(get).await.unwrap_err(),
        chat.edit_message(edit).await.unwrap_err(),
        chat.delete_message(delete).await.unwrap_err(),
        chat.add_reaction(react).await.unwrap_err(),
        chat.report_message(report).await.unwrap_err(),
    ]
}
