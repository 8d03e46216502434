//! How long what is said is kept, and what a legal hold keeps.

use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{Fault as _, fault};
use capecontrol::chat::error::LEGAL_HOLD;
use capecontrol::chat::model::policy::{Policy, PolicyChange};
use capecontrol::chat::model::{Edit, Reaction};
use capecontrol::chat::service::UpdateChatPolicy;
use capecontrol::chat::{Error, Operator};
use capecontrol::db::{Conn as _, Scope};

use super::bench::Pair;
use crate::support::{Fixture, audit_log, on_both};

const DAY: Duration = Duration::from_hours(24);

impl Pair {
    async fn decide(&self, who: &Caller, change: PolicyChange, etag: &str) -> Result<Policy, Error> {
        let organization_id = Some(self.ada.personal().unwrap());
        let command = UpdateChatPolicy { organization_id, change, etag: etag.to_owned() };
        Ok(self.node.chat.update_chat_policy(who, command, None).await?.policy)
    }

    async fn keep(&self, days: i64) {
        let change = PolicyChange { retention_days: Some(Some(days)), hold_reason: None };
        self.decide(&self.ada, change, "").await.unwrap();
    }

    async fn hold(&self, reason: Option<&str>) {
        let change = PolicyChange { retention_days: None, hold_reason: Some(reason.map(str::to_owned)) };
        self.decide(&self.ada, change, "").await.unwrap();
    }
}

/// How many words and reactions are noted.
async fn noted(t: &Fixture) -> (i64, i64) {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let count =
        conn.sql("SELECT (SELECT count(*) FROM message_words), (SELECT count(*) FROM message_reactions)");
    count.one().await.unwrap()
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.unwrap_err().reason().name
}

on_both! {
    async fn texts_go_when_their_time_is_over_and_places_stay(t: Fixture) {
        let s = Pair::start(&t).await;
        let message_id = s.say(&s.ada, "secret one").await;
        s.node.chat.edit(&s.ada, Edit { message_id, text: "secret two".to_owned() }, None).await.unwrap();
        let reaction = Reaction { message_id, emoji: "🙂".to_owned() };
        s.node.chat.add_reaction(&s.ben, reaction, None).await.unwrap();
        for number in 0..101 {
            s.say(&s.ada, &format!("secret {number}")).await;
        }
        t.clock.advance(DAY);
        s.say(&s.ada, "harmless").await;
        assert_eq!(s.node.chat.forget_outdated().await.unwrap(), 0, "who decides nothing keeps everything");
        s.keep(2).await;
        t.clock.advance(DAY);
        assert_eq!(s.node.chat.forget_outdated().await.unwrap(), 0, "the last moment is within the time");
        t.clock.advance(Duration::from_micros(1));
        assert_eq!(s.node.chat.forget_outdated().await.unwrap(), 102);
        assert_eq!(s.node.chat.forget_outdated().await.unwrap(), 0);
        let told = s.told().await;
        assert!(!told.contains("secret") && told.contains("harmless"), "{told}");
        let positions: Vec<i64> = s.node.events(&s.ada, s.thread).await.iter().map(|event| event.seq).collect();
        assert_eq!(positions, (1..=105).collect::<Vec<_>>(), "nothing is missing, and nothing was added");
        assert_eq!(noted(&t).await, (1, 0));
        let seen = s.node.chat.message(&s.ben, message_id).await.unwrap().message;
        assert!(seen.text.is_empty() && seen.deleted_at.is_some());
    }

    async fn what_is_held_goes_nowhere(t: Fixture) {
        let s = Pair::start(&t).await;
        let message_id = s.say(&s.ada, "evidence").await;
        let gone = s.node.thread(&s.ada, None).await.id;
        s.node.send(&s.ada, gone, "more evidence").await;
        s.node.chat.delete_thread(&s.ada, gone, "", None).await.unwrap();
        s.keep(1).await;
        s.hold(Some("case 7")).await;
        t.clock.advance(2 * DAY);
        assert_eq!(s.node.chat.forget_outdated().await.unwrap(), 0);
        assert_eq!(reason(s.node.chat.delete(&s.ada, message_id, None).await), LEGAL_HOLD.name);
        assert_eq!(reason(s.node.chat.delete_thread(&s.ada, s.thread, "", None).await), LEGAL_HOLD.name);
        let alone = s.node.thread(&s.ada, None).await.id;
        assert_eq!(reason(s.node.chat.remove_thread_member(&s.ada, alone, None, None).await), LEGAL_HOLD.name);
        s.node.chat.remove_thread_member(&s.ada, s.thread, Some(s.ben.account().unwrap()), None).await.unwrap();
        s.node.chat.edit(&s.ada, Edit { message_id, text: "nothing".to_owned() }, None).await.unwrap();
        let operator = Operator::new(t.db.clone(), t.world.clone(), audit_log(&t.world));
        operator.erase_messages(&Caller::system("test"), s.ada.account().unwrap()).await.unwrap();
        let worker = s.node.worker(&t);
        worker.run_due().await.unwrap();
        assert!(s.told().await.contains("evidence"));
        let texts = "SELECT count(*) FROM messages WHERE text <> ''";
        let left = async || {
            let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
            conn.sql(texts).one::<(i64,)>().await.unwrap().0
        };
        assert_eq!(left().await, 2, "also of what was on its way out");
        s.hold(None).await;
        t.clock.advance(DAY);
        worker.run_due().await.unwrap();
        assert_eq!(left().await, 0, "and all of it goes when the hold ends");
        assert!(!s.told().await.contains("evidence"));
    }

    async fn owners_decide_and_members_read(t: Fixture) {
        let s = Pair::start(&t).await;
        let change = PolicyChange { retention_days: Some(Some(30)), hold_reason: None };
        assert_eq!(reason(s.decide(&s.ben, change.clone(), "").await), fault::PERMISSION_DENIED.name);
        let zoe = s.node.somebody("zoe@example.com").await;
        assert_eq!(reason(s.decide(&zoe, change.clone(), "").await), fault::NOT_FOUND.name);
        let home = Some(s.ada.personal().unwrap());
        assert_eq!(reason(s.node.chat.chat_policy(&zoe, home).await), fault::NOT_FOUND.name);
        assert_eq!(s.node.chat.chat_policy(&s.ben, home).await.unwrap().policy, Policy::default());
        let decided = s.decide(&s.ada, change.clone(), "\"0\"").await.unwrap();
        assert_eq!(decided, Policy { retention_days: Some(30), hold_reason: None, version: 1 });
        assert_eq!(reason(s.decide(&s.ada, change, "\"0\"").await), fault::ETAG_MISMATCH.name);
        assert_eq!(s.node.chat.chat_policy(&s.ben, home).await.unwrap().policy, decided);
        s.hold(Some("case 7")).await;
        let reason_for = async |who: &Caller| s.node.chat.chat_policy(who, home).await.unwrap().policy.hold_reason;
        assert_eq!(reason_for(&s.ada).await.as_deref(), Some("case 7"));
        assert_eq!(reason_for(&s.ben).await.as_deref(), Some(""), "why is not for everybody");
    }
}
