//! Messages that are edited, deleted, answered and reacted to.

use capecontrol::auth::Caller;
use capecontrol::base::{Fault as _, fault};
use capecontrol::chat::Error;
use capecontrol::chat::error::{MESSAGE_DELETED, NOT_THE_AUTHOR, TOO_MANY_EDITS, TOO_MANY_REACTIONS};
use capecontrol::chat::model::member::{EDITS_MAX, REACTIONS_MAX, ThreadRole};
use capecontrol::chat::model::{Change, Draft, Edit, MessageId, Reaction, TurnFailure};
use capecontrol::idempotency::RequestKey;

use super::bench::{Pair, draft, installed};
use crate::support::{Fixture, on_both};

impl Pair {
    async fn edit(&self, caller: &Caller, message_id: MessageId, text: &str) -> Result<i64, Error> {
        let edit = Edit { message_id, text: text.to_owned() };
        self.node.chat.edit(caller, edit, None).await.map(|changed| changed.seq)
    }

    async fn react(&self, caller: &Caller, message_id: MessageId, emoji: &str) -> Result<i64, Error> {
        let reaction = Reaction { message_id, emoji: emoji.to_owned() };
        self.node.chat.add_reaction(caller, reaction, None).await
    }
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.unwrap_err().reason().name
}

on_both! {
    async fn only_the_author_edits_and_the_earlier_text_stays(t: Fixture) {
        let s = Pair::start(&t).await;
        let message = s.say(&s.ben, "teh first").await;
        assert_eq!(s.edit(&s.ben, message, "the first").await.unwrap(), 2);
        assert_eq!(s.edit(&s.ben, message, "the first").await.unwrap(), 0, "no change is no event");
        assert_eq!(reason(s.edit(&s.ada, message, "mine").await), NOT_THE_AUTHOR.name);
        let seen = s.node.chat.message(&s.ada, message).await.unwrap().message;
        assert_eq!((seen.text.as_str(), seen.seq, seen.edited_at), ("the first", 1, Some(t.world.now())));
        let told = s.told().await;
        assert!(told.contains("teh first") && told.contains("the first"));
        let zoe = s.node.somebody("zoe@example.com").await;
        assert_eq!(reason(s.edit(&zoe, message, "x").await), fault::NOT_FOUND.name);
    }

    async fn an_edit_is_made_once_for_its_key(t: Fixture) {
        let s = Pair::start(&t).await;
        let message_id = s.say(&s.ada, "one").await;
        let key = RequestKey { method: "edit".into(), key: uuid::Uuid::from_u128(7), body_hash: [1; 32] };
        let edit = Edit { message_id, text: "two".to_owned() };
        let first = s.node.chat.edit(&s.ada, edit.clone(), Some(&key)).await.unwrap();
        s.edit(&s.ada, message_id, "three").await.unwrap();
        let again = s.node.chat.edit(&s.ada, edit, Some(&key)).await.unwrap();
        assert_eq!((first.seq, again.seq), (2, 2));
        assert_eq!(again.message.text, "three", "the repetition tells the message as it is");
    }

    async fn of_a_deleted_message_no_text_is_left_anywhere(t: Fixture) {
        let s = Pair::start(&t).await;
        let message = s.say(&s.ben, "secret one").await;
        s.edit(&s.ben, message, "secret two").await.unwrap();
        s.edit(&s.ben, message, "secret three").await.unwrap();
        s.react(&s.ada, message, "🙂").await.unwrap();
        let other = s.say(&s.ada, "harmless").await;
        assert_eq!(reason(s.node.chat.delete(&s.ben, other, None).await), NOT_THE_AUTHOR.name);
        // The owner of the thread deletes what a member wrote.
        assert_eq!(s.node.chat.delete(&s.ada, message, None).await.unwrap(), 6);
        assert_eq!(s.node.chat.delete(&s.ada, message, None).await.unwrap(), 0);
        let told = s.told().await;
        assert!(!told.contains("secret") && told.contains("harmless"), "{told}");
        let seen = s.node.chat.message(&s.ben, message).await.unwrap();
        assert_eq!((seen.message.text.as_str(), seen.message.deleted_at), ("", Some(t.world.now())));
        assert!(seen.reactions.is_empty());
        assert_eq!(reason(s.edit(&s.ben, message, "again").await), MESSAGE_DELETED.name);
        assert_eq!(reason(s.react(&s.ben, message, "🙂").await), MESSAGE_DELETED.name);
        let positions: Vec<i64> = s.node.events(&s.ada, s.thread).await.iter().map(|event| event.seq).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5, 6], "the places stay");
    }

    async fn a_deleted_question_is_not_answered(t: Fixture) {
        let s = Pair::start(&t).await;
        let listing_id = Some(installed(&t, &s.ada).await);
        let thread = s.node.thread(&s.ada, listing_id).await;
        let asked = s.node.send(&s.ada, thread.id, "what?").await.message.id;
        s.node.chat.delete(&s.ada, asked, None).await.unwrap();
        s.node.worker(&t).run_due().await.unwrap();
        let changes: Vec<Change> =
            s.node.events(&s.ada, thread.id).await.into_iter().map(|event| event.change).collect();
        let failed = Change::AgentTurnFailed { message_id: asked, reason: TurnFailure::MessageDeleted };
        assert_eq!(changes[1..], [Change::MessageDeleted { message_id: asked }, failed]);
    }

    async fn reactions_are_counted_and_each_is_there_once(t: Fixture) {
        let s = Pair::start(&t).await;
        let message = s.say(&s.ada, "look").await;
        assert_eq!(s.react(&s.ada, message, "👍").await.unwrap(), 2);
        assert_eq!(s.react(&s.ada, message, "👍").await.unwrap(), 0);
        s.react(&s.ben, message, "👍").await.unwrap();
        s.react(&s.ben, message, "🎉").await.unwrap();
        let reactions = s.node.chat.message(&s.ada, message).await.unwrap().reactions;
        let counts: Vec<_> =
            reactions.iter().map(|reaction| (reaction.emoji.as_str(), reaction.count, reaction.own)).collect();
        assert_eq!(counts, [("👍", 2, 1), ("🎉", 1, 0)]);
        let back = Reaction { message_id: message, emoji: "👍".to_owned() };
        assert_eq!(s.node.chat.remove_reaction(&s.ada, back.clone(), None).await.unwrap(), 5);
        assert_eq!(s.node.chat.remove_reaction(&s.ada, back, None).await.unwrap(), 0);
        for number in 0..REACTIONS_MAX {
            s.react(&s.ada, message, &format!("{number}")).await.unwrap();
        }
        assert_eq!(reason(s.react(&s.ada, message, "one more").await), TOO_MANY_REACTIONS.name);
        let zoe = s.node.somebody("zoe@example.com").await;
        assert_eq!(reason(s.react(&zoe, message, "👍").await), fault::NOT_FOUND.name);
    }

    async fn a_message_is_edited_so_often_and_its_texts_all_go(t: Fixture) {
        let s = Pair::start(&t).await;
        let message = s.say(&s.ada, "secret 0").await;
        for number in 1..=EDITS_MAX {
            s.edit(&s.ada, message, &format!("secret {number}")).await.unwrap();
        }
        assert_eq!(reason(s.edit(&s.ada, message, "secret too").await), TOO_MANY_EDITS.name);
        s.node.chat.delete(&s.ada, message, None).await.unwrap();
        assert!(!s.told().await.contains("secret"));
    }

    async fn the_key_of_a_deleted_message_writes_nothing_new(t: Fixture) {
        let s = Pair::start(&t).await;
        let sent = draft(s.thread, "once");
        let message = s.node.chat.send(&s.ada, sent.clone()).await.unwrap().message.id;
        s.node.chat.delete(&s.ada, message, None).await.unwrap();
        let again = s.node.chat.send(&s.ada, sent).await.unwrap();
        assert!(again.duplicate && again.message.text.is_empty());
    }

    async fn an_answer_names_a_message_of_its_thread(t: Fixture) {
        let s = Pair::start(&t).await;
        let asked = s.say(&s.ada, "when?").await;
        let elsewhere = s.node.thread(&s.ada, None).await;
        let reply_to = Some(asked);
        let answer = Draft { reply_to, ..draft(s.thread, "now") };
        let sent = s.node.chat.send(&s.ben, answer.clone()).await.unwrap();
        assert_eq!(sent.message.reply_to, reply_to);
        assert!(s.node.chat.send(&s.ben, answer.clone()).await.unwrap().duplicate);
        let other = Draft { reply_to: None, ..answer };
        assert_eq!(reason(s.node.chat.send(&s.ben, other).await), "IDEMPOTENCY_KEY_REUSED");
        let stray = Draft { reply_to, ..draft(elsewhere.id, "here") };
        assert_eq!(reason(s.node.chat.send(&s.ada, stray).await), fault::NOT_FOUND.name);
        assert!(s.node.events(&s.ada, elsewhere.id).await.is_empty());
    }

    async fn whoever_left_changes_nothing_any_more(t: Fixture) {
        let s = Pair::start(&t).await;
        let message = s.say(&s.ben, "bye").await;
        s.node.chat.remove_thread_member(&s.ben, s.thread, None, None).await.unwrap();
        assert_eq!(reason(s.edit(&s.ben, message, "hello").await), fault::NOT_FOUND.name);
        assert_eq!(reason(s.node.chat.delete(&s.ben, message, None).await), fault::NOT_FOUND.name);
        assert_eq!(reason(s.react(&s.ben, message, "👋").await), fault::NOT_FOUND.name);
        let ben = s.ben.account().unwrap();
        s.node.chat.add_thread_member(&s.ada, s.thread, ben, ThreadRole::Reader, None).await.unwrap();
        assert_eq!(reason(s.edit(&s.ben, message, "hello").await), "THREAD_READ_ONLY");
    }
}
