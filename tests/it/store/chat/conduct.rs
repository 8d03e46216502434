//! People who want to hear nothing from one another, and messages that are reported.

use std::sync::Arc;

use capecontrol::auth::store::account::{self, NewAccount};
use capecontrol::auth::store::organization;
use capecontrol::auth::{Caller, Email, Role};
use capecontrol::base::{AccountId, Fault as _, Id, Violations, fault};
use capecontrol::chat::error::{ACCOUNT_BLOCKED, MESSAGE_DELETED, THREAD_READ_ONLY, TOO_MANY_BLOCKS};
use capecontrol::chat::model::conduct::{BLOCKS_MAX, Complaint, ReportReason};
use capecontrol::chat::model::frame::Frame;
use capecontrol::chat::model::member::{SeenThread, ThreadRole};
use capecontrol::chat::model::search::Query;
use capecontrol::chat::model::{Edit, MessageId, Reaction, ThreadId, ThreadKind};
use capecontrol::chat::service::{CreateThread, SearchMessages};
use capecontrol::chat::{Error, Operator, store};
use capecontrol::db::{Scope, Tx};
use capecontrol::idempotency::RequestKey;

use super::bench::{Node, draft, join, quick};
use super::streams::{Client, Kind, from};
use crate::support::{Fixture, audit_log, on_both};

/// Ada, Ben and Cid, of Ada's organisation.
struct Scene {
    node: Node,
    ada: Caller,
    ben: Caller,
    cid: Caller,
}

impl Scene {
    async fn start(t: &Fixture) -> Self {
        let node = Node::start(t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let (ben, cid) = (node.somebody("ben@example.com").await, node.somebody("cid@example.com").await);
        join(t, &ben, &ada).await;
        join(t, &cid, &ada).await;
        Self { node, ada, ben, cid }
    }

    async fn open(&self, who: &Caller, whom: &[&Caller], kind: ThreadKind) -> Result<SeenThread, Error> {
        let command = CreateThread {
            organization_id: Some(self.ada.personal().unwrap()),
            kind: Some(kind),
            members: whom.iter().map(|member| member.account().unwrap()).collect(),
            ..CreateThread::default()
        };
        self.node.chat.create_thread(who, command, None).await
    }

    async fn direct(&self, who: &Caller, whom: &Caller) -> Result<ThreadId, Error> {
        Ok(self.open(who, &[whom], ThreadKind::Direct).await?.thread.id)
    }

    async fn block(&self, who: &Caller, whom: &Caller) -> Result<(), Error> {
        self.node.chat.block_account(who, whom.account().unwrap(), None).await.map(drop)
    }

    async fn unblock(&self, who: &Caller, whom: &Caller) -> Result<(), Error> {
        self.node.chat.unblock_account(who, whom.account().unwrap(), None).await
    }

    async fn say(&self, who: &Caller, thread_id: ThreadId, text: &str) -> Result<MessageId, Error> {
        Ok(self.node.chat.send(who, draft(thread_id, text)).await?.message.id)
    }
}

/// Makes an account that nobody signs in to.
async fn stranger(t: &Fixture, tx: &mut Tx, number: i64) -> AccountId {
    let new = NewAccount {
        id: t.world.id(),
        personal_organization_id: t.world.id(),
        email: Email::parse(&format!("stranger{number}@example.com")).unwrap(),
        role: Role::Customer,
        password_hash: "none".to_owned(),
        one_time_issued_at: None,
        terms_version: "1".to_owned(),
        display_name: "Stranger".to_owned(),
        at: t.world.now(),
    };
    let personal = new.personal_organization_id;
    assert!(account::insert(tx, &new).await.unwrap());
    organization::insert_personal(tx, personal, new.id, "Stranger", new.at).await.unwrap();
    new.id
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.unwrap_err().reason().name
}

fn complaint(message_id: MessageId, reason: ReportReason) -> Complaint {
    Complaint { message_id, reason, comment: "see for yourself".to_owned() }
}

on_both! {
    async fn whoever_is_blocked_cannot_reach_who_blocked_them(t: Fixture) {
        let s = Scene::start(&t).await;
        s.block(&s.ada, &s.ben).await.unwrap();
        // Told like somebody whom there is not.
        let gone = s.direct(&s.ben, &s.ada).await.unwrap_err();
        let zoe = s.node.somebody("zoe@example.com").await;
        let none = s.direct(&s.ben, &zoe).await.unwrap_err();
        assert_eq!((gone.reason().name, gone.to_string()), (fault::NOT_FOUND.name, none.to_string()));
        assert_eq!(reason(s.open(&s.ben, &[&s.cid, &s.ada], ThreadKind::Group).await), fault::NOT_FOUND.name);
        let group = s.open(&s.ben, &[&s.cid], ThreadKind::Group).await.unwrap().thread.id;
        let ada = s.ada.account().unwrap();
        let add = s.node.chat.add_thread_member(&s.ben, group, ada, ThreadRole::Member, None).await;
        assert_eq!(reason(add), fault::NOT_FOUND.name);
        // Others bring her in, and she brings him in.
        let theirs = s.open(&s.cid, &[&s.ada, &s.ben], ThreadKind::Group).await.unwrap().thread.id;
        s.say(&s.ben, theirs, "a group is a group").await.unwrap();
        s.open(&s.ada, &[&s.ben], ThreadKind::Group).await.unwrap();
        // She is told what she has done.
        assert_eq!(reason(s.direct(&s.ada, &s.ben).await), ACCOUNT_BLOCKED.name);
        s.unblock(&s.ada, &s.ben).await.unwrap();
        s.direct(&s.ben, &s.ada).await.unwrap();
        assert_eq!(reason(s.unblock(&s.ada, &s.ben).await), fault::NOT_FOUND.name);
    }

    async fn in_the_direct_thread_of_the_two_nobody_writes(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.direct(&s.ada, &s.ben).await.unwrap();
        let message_id = s.say(&s.ben, thread, "hello").await.unwrap();
        s.block(&s.ada, &s.ben).await.unwrap();
        assert_eq!(reason(s.say(&s.ben, thread, "hello?").await), THREAD_READ_ONLY.name);
        assert_eq!(reason(s.say(&s.ada, thread, "and another thing").await), ACCOUNT_BLOCKED.name);
        let edit = Edit { message_id, text: "HELLO".to_owned() };
        assert_eq!(reason(s.node.chat.edit(&s.ben, edit, None).await), THREAD_READ_ONLY.name);
        let reaction = Reaction { message_id, emoji: "👋".to_owned() };
        assert_eq!(reason(s.node.chat.add_reaction(&s.ben, reaction, None).await), THREAD_READ_ONLY.name);
        // Both still see it, it is found when it is opened again, and what one wrote one takes back.
        assert_eq!(s.node.events(&s.ben, thread).await.len(), 1);
        assert_eq!(s.direct(&s.ben, &s.ada).await.unwrap(), thread);
        s.node.chat.delete(&s.ben, message_id, None).await.unwrap();
        s.unblock(&s.ada, &s.ben).await.unwrap();
        s.say(&s.ben, thread, "hello again").await.unwrap();
    }

    async fn a_block_is_of_one_person_by_one_person(t: Fixture) {
        let s = Scene::start(&t).await;
        s.block(&s.ada, &s.ben).await.unwrap();
        s.direct(&s.ben, &s.cid).await.unwrap();
        s.direct(&s.cid, &s.ada).await.unwrap();
        let own = s.node.chat.block_account(&s.ada, s.ada.account().unwrap(), None).await;
        assert_eq!(reason(own), fault::INVALID_ARGUMENT.name);
        let zoe = s.node.somebody("zoe@example.com").await;
        assert_eq!(reason(s.block(&s.ada, &zoe).await), fault::NOT_FOUND.name, "they share nothing");
        let blocks = |who: Caller| {
            let chat = Arc::clone(&s.node.chat);
            async move { chat.blocked_accounts(&who, Id::from_uuid(uuid::Uuid::nil()), 10).await.unwrap() }
        };
        let blocked: Vec<_> = blocks(s.ada.clone()).await.into_iter().map(|block| block.account_id).collect();
        assert_eq!(blocked, [s.ben.account().unwrap()]);
        assert!(blocks(s.ben.clone()).await.is_empty());
    }

    async fn blocks_are_bounded_and_made_once(t: Fixture) {
        let s = Scene::start(&t).await;
        let key = RequestKey { method: "block".into(), key: uuid::Uuid::from_u128(9), body_hash: [1; 32] };
        let ben = s.ben.account().unwrap();
        let first = s.node.chat.block_account(&s.ada, ben, Some(&key)).await.unwrap();
        s.unblock(&s.ada, &s.ben).await.unwrap();
        assert_eq!(s.node.chat.block_account(&s.ada, ben, Some(&key)).await.unwrap(), first);
        assert!(s.direct(&s.ben, &s.ada).await.is_ok(), "the repetition blocked nobody");
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let ada = s.ada.account().unwrap();
        for number in 1..BLOCKS_MAX {
            let stranger = stranger(&t, &mut tx, number).await;
            assert!(store::insert_block(&mut tx, ada, stranger, t.world.now()).await.unwrap());
        }
        tx.commit().await.unwrap();
        s.block(&s.ada, &s.cid).await.unwrap();
        assert_eq!(reason(s.block(&s.ada, &s.ben).await), TOO_MANY_BLOCKS.name);
        s.unblock(&s.ada, &s.cid).await.unwrap();
        s.block(&s.ada, &s.ben).await.unwrap();
    }

    async fn nobody_is_told_that_whom_they_blocked_is_writing(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.open(&s.cid, &[&s.ada, &s.ben], ThreadKind::Group).await.unwrap().thread.id;
        s.block(&s.ada, &s.ben).await.unwrap();
        let typing = |frame: &Frame| match frame {
            Frame::Typing(typing) => Some(typing.account_id),
            _ => None,
        };
        let follow = vec![from(thread, 0)];
        let mut adas = Client::open(&s.node, &s.ada, Kind::Subscribe, follow.clone()).await.unwrap();
        let mut cids = Client::open(&s.node, &s.cid, Kind::Converse, follow).await.unwrap();
        adas.live().await;
        cids.live().await;
        s.node.chat.set_typing(&s.ben, thread, true).await.unwrap();
        assert_eq!(cids.until(typing).await, s.ben.account().unwrap());
        // What she hears first is of somebody else, who began later.
        s.node.chat.set_typing(&s.cid, thread, true).await.unwrap();
        assert_eq!(adas.until(typing).await, s.cid.account().unwrap());
    }

    async fn nothing_is_found_of_whom_one_has_blocked(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.open(&s.cid, &[&s.ada, &s.ben], ThreadKind::Group).await.unwrap().thread.id;
        s.say(&s.ben, thread, "a needle of Ben's").await.unwrap();
        s.say(&s.cid, thread, "a needle of Cid's").await.unwrap();
        let question = SearchMessages {
            organization_id: Some(s.ada.personal().unwrap()),
            query: Query::parse(&mut Violations::new(), "query", "needle").unwrap(),
            thread_id: None,
            author: None,
            since: None,
            until: None,
        };
        let found = |who: Caller| {
            let (chat, question) = (Arc::clone(&s.node.chat), question.clone());
            async move { chat.search(&who, &question, None, 10).await.unwrap().found.len() }
        };
        assert_eq!(found(s.ada.clone()).await, 2);
        s.block(&s.ada, &s.ben).await.unwrap();
        assert_eq!((found(s.ada.clone()).await, found(s.cid.clone()).await, found(s.ben.clone()).await), (1, 2, 2));
    }

    async fn a_report_keeps_the_text_as_it_was(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.open(&s.cid, &[&s.ada, &s.ben], ThreadKind::Group).await.unwrap().thread.id;
        let message_id = s.say(&s.ben, thread, "something awful").await.unwrap();
        let report = |who: &Caller, reason| {
            let (chat, who) = (Arc::clone(&s.node.chat), who.clone());
            async move { chat.report_message(&who, complaint(message_id, reason), None).await }
        };
        let first = report(&s.ada, ReportReason::Harassment).await.unwrap();
        assert_eq!(report(&s.ada, ReportReason::Spam).await.unwrap(), first, "once for each person");
        assert_ne!(report(&s.cid, ReportReason::Hate).await.unwrap().id, first.id);
        let zoe = s.node.somebody("zoe@example.com").await;
        assert_eq!(reason(report(&zoe, ReportReason::Spam).await), fault::NOT_FOUND.name);
        s.node.chat.edit(&s.ben, Edit { message_id, text: "something nice".to_owned() }, None).await.unwrap();
        s.node.chat.delete(&s.ben, message_id, None).await.unwrap();
        assert_eq!(reason(report(&s.ben, ReportReason::Spam).await), MESSAGE_DELETED.name);

        let operator = Operator::new(t.db.clone(), t.world.clone(), audit_log(&t.world));
        let platform = Caller::system("test");
        assert_eq!(reason(operator.reports(&s.ada, true, 10).await), fault::PERMISSION_DENIED.name);
        assert_eq!(reason(operator.resolve(&s.ada, first.id, "x").await), fault::PERMISSION_DENIED.name);
        let open = operator.reports(&platform, false, 10).await.unwrap();
        let told: Vec<_> = open.iter().map(|report| (report.text.as_str(), report.reason)).collect();
        let awful = "something awful";
        assert_eq!(told, [(awful, ReportReason::Harassment), (awful, ReportReason::Hate)]);
        operator.resolve(&platform, first.id, "he was spoken to").await.unwrap();
        assert_eq!(reason(operator.resolve(&platform, first.id, "again").await), fault::NOT_FOUND.name);
        assert_eq!(operator.reports(&platform, false, 10).await.unwrap().len(), 1);
        let all = operator.reports(&platform, true, 10).await.unwrap();
        let resolution = Some((t.world.now(), "he was spoken to".to_owned()));
        assert_eq!((all.len(), &all[0].resolution), (2, &resolution));
        // It outlives the thread.
        s.node.chat.delete_thread(&s.cid, thread, "", None).await.unwrap();
        s.node.worker(&t).run_due().await.unwrap();
        assert_eq!(operator.reports(&platform, true, 10).await.unwrap()[0].text, awful);
    }
}
