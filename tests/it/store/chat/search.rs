//! Messages that are found again by their words: the same on both engines, and only what the caller may see.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{Fault as _, ManualClock, Timestamp, Violations, fault};
use capecontrol::chat::Error;
use capecontrol::chat::model::member::ThreadRole;
use capecontrol::chat::model::search::{MESSAGE_WORDS_MAX, Query};
use capecontrol::chat::model::{Change, Edit, ThreadId};
use capecontrol::chat::service::{FoundPage, SearchMessages};
use capecontrol::chat::store::FoundBefore;
use capecontrol::db::{Conn as _, Scope};

use super::bench::{Node, draft, installed, join, no_thread, quick};
use crate::support::{Fixture, on_both};

/// Ada's organisation, with Ben in it, and Ada's thread, which Ben is not in.
struct Scene {
    node: Node,
    ada: Caller,
    ben: Caller,
    thread: ThreadId,
    clock: Arc<ManualClock>,
}

impl Scene {
    async fn start(t: &Fixture) -> Self {
        let node = Node::start(t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(t, &ben, &ada).await;
        let thread = node.thread(&ada, None).await.id;
        Self { node, ada, ben, thread, clock: Arc::clone(&t.clock) }
    }

    fn question(&self, text: &str) -> SearchMessages {
        let mut violations = Violations::new();
        SearchMessages {
            organization_id: Some(self.ada.personal().unwrap()),
            query: Query::parse(&mut violations, "query", text).unwrap(),
            thread_id: None,
            author: None,
            since: None,
            until: None,
        }
    }

    async fn page(
        &self,
        caller: &Caller,
        question: &SearchMessages,
        before: Option<FoundBefore>,
        size: usize,
    ) -> Result<FoundPage, Error> {
        self.node.chat.search(caller, question, before, size).await
    }

    /// The texts that somebody finds.
    async fn found(&self, caller: &Caller, text: &str) -> Vec<String> {
        let page = self.page(caller, &self.question(text), None, 100).await.unwrap();
        assert_eq!(page.next, None);
        page.found.into_iter().map(|found| found.message.text).collect()
    }

    async fn finds(&self, text: &str) -> Vec<String> {
        self.found(&self.ada, text).await
    }

    /// Each a second after the one before it.
    async fn say(&self, text: &str) {
        self.clock.advance(Duration::from_secs(1));
        self.node.send(&self.ada, self.thread, text).await;
    }
}

/// How many words are noted.
async fn noted(t: &Fixture) -> i64 {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    conn.sql("SELECT count(*) FROM message_words").one::<(i64,)>().await.unwrap().0
}

on_both! {
    async fn words_are_found_whatever_their_case_and_accents(t: Fixture) {
        let s = Scene::start(&t).await;
        let invoices = ["The INVOICE of March", "the march of invoices"];
        for text in ["Goeie môre, almal!", "Sawubona, unjani namhlanje?"].into_iter().chain(invoices) {
            s.say(text).await;
        }
        assert_eq!(s.finds("MORE").await, ["Goeie môre, almal!"]);
        assert_eq!(s.finds("Ünjani sawubona").await, ["Sawubona, unjani namhlanje?"]);
        assert_eq!(s.finds("invoice march").await, ["The INVOICE of March"]);
        assert_eq!(s.finds("invoi* march").await, ["the march of invoices", "The INVOICE of March"]);
        assert_eq!(s.finds("\"invoice of\"").await, ["The INVOICE of March"]);
        assert_eq!(s.finds("march -invoice").await, ["the march of invoices"]);
        assert_eq!(s.finds("in*").await.len(), 2);
        assert!(s.finds("nothing").await.is_empty());
        assert!(s.finds("invoice nothing").await.is_empty());
    }

    async fn what_engines_make_of_signs_does_not_matter(t: Fixture) {
        let s = Scene::start(&t).await;
        s.say("50% of it's \"AND\" (NOT) a:b & c|d <-> 'x' \\ ; -- NEAR/2 *").await;
        for question in ["50%", "\"it's and\"", "not", "a:b", "c|d", "x'", "near/2", "AND", "NEAR \\"] {
            assert_eq!(s.finds(question).await.len(), 1, "{question}");
        }
        for question in ["a OR zebra", "zeb%", "zebr_", "a:c", "!zebra"] {
            assert!(s.finds(question).await.is_empty(), "{question}");
        }
    }

    async fn only_members_find_and_only_while_they_are(t: Fixture) {
        let s = Scene::start(&t).await;
        s.say("a needle").await;
        assert!(s.found(&s.ben, "needle").await.is_empty());
        let (ben, role) = (s.ben.account().unwrap(), ThreadRole::Reader);
        s.node.chat.add_thread_member(&s.ada, s.thread, ben, role, None).await.unwrap();
        assert_eq!(s.found(&s.ben, "needle").await, ["a needle"]);
        s.node.chat.remove_thread_member(&s.ada, s.thread, Some(ben), None).await.unwrap();
        assert!(s.found(&s.ben, "needle").await.is_empty());
        // Of a thread that is not theirs, and one that is not there, they are told the same.
        for thread_id in [s.thread, no_thread()] {
            let question = SearchMessages { thread_id: Some(thread_id), ..s.question("needle") };
            let error = s.page(&s.ben, &question, None, 10).await.unwrap_err();
            assert_eq!(error.reason().name, fault::NOT_FOUND.name);
            assert_eq!(error.to_string(), "There is no such thread.");
        }
        let zoe = s.node.somebody("zoe@example.com").await;
        let error = s.page(&zoe, &s.question("needle"), None, 10).await.unwrap_err();
        assert_eq!(error.reason().name, fault::NOT_FOUND.name);
        // Her own organisation has nothing of it.
        let own = SearchMessages { organization_id: None, ..s.question("needle") };
        assert!(s.page(&zoe, &own, None, 10).await.unwrap().found.is_empty());
    }

    async fn edits_are_found_and_what_was_taken_back_is_not(t: Fixture) {
        let s = Scene::start(&t).await;
        let message_id = s.node.send(&s.ada, s.thread, "the frist one").await.message.id;
        let edit = Edit { message_id, text: "the first one".to_owned() };
        s.node.chat.edit(&s.ada, edit, None).await.unwrap();
        assert_eq!(s.finds("first").await, ["the first one"]);
        assert!(s.finds("frist").await.is_empty());
        let again = s.node.send(&s.ada, s.thread, "first of all").await.message.id;
        s.node.chat.delete(&s.ada, message_id, None).await.unwrap();
        assert_eq!(s.finds("first").await, ["first of all"]);
        s.node.chat.delete(&s.ada, again, None).await.unwrap();
        assert_eq!(noted(&t).await, 0, "no word of them is left");
        s.say("first and last").await;
        s.node.chat.delete_thread(&s.ada, s.thread, "", None).await.unwrap();
        assert!(s.finds("first").await.is_empty());
        s.node.worker(&t).run_due().await.unwrap();
        assert_eq!(noted(&t).await, 0, "nor of a thread that is gone");
    }

    async fn what_agents_answer_is_found_by_its_author(t: Fixture) {
        let s = Scene::start(&t).await;
        let listing = installed(&t, &s.ada).await;
        let thread = s.node.thread(&s.ada, Some(listing)).await.id;
        s.node.send(&s.ada, thread, "answer").await;
        s.node.worker(&t).run_due().await.unwrap();
        let all = s.node.events(&s.ada, thread).await;
        let Change::MessageCreated(answer) = &all.last().unwrap().change else { panic!("{all:?}") };
        let word = capecontrol::base::words::words(&answer.text).next().unwrap().folded;
        let by = |author| SearchMessages { author: Some(author), ..s.question(&word) };
        let page = s.page(&s.ada, &by(listing.uuid()), None, 10).await.unwrap();
        assert_eq!(page.found.iter().map(|found| found.message.id).collect::<Vec<_>>(), [answer.id]);
        assert!(!page.found[0].snippet.marks.is_empty());
        let by_ada = s.page(&s.ada, &by(s.ada.account().unwrap().uuid()), None, 10).await.unwrap();
        assert!(by_ada.found.iter().all(|found| found.message.id != answer.id));
    }

    async fn pages_go_back_in_time_and_every_match_is_on_one(t: Fixture) {
        let s = Scene::start(&t).await;
        let other = s.node.thread(&s.ada, None).await.id;
        let mut sent = Vec::new();
        for number in 0..25 {
            // Three of them at the same moment.
            if number % 3 == 0 {
                t.clock.advance(Duration::from_secs(1));
            }
            let thread = if number % 2 == 0 { s.thread } else { other };
            // Every one has the words, and some not in this order.
            let text = if number % 4 == 3 { format!("two one {number}") } else { format!("one two {number}") };
            let message = s.node.send(&s.ada, thread, &text).await.message;
            if number % 4 != 3 {
                sent.push((message.created_at, message.id));
            }
        }
        sent.sort_unstable();
        sent.reverse();
        let (question, mut before, mut found) = (s.question("\"one two\""), None, Vec::new());
        loop {
            let page = s.page(&s.ada, &question, before, 4).await.unwrap();
            found.extend(page.found.iter().map(|found| (found.message.created_at, found.message.id)));
            before = page.next;
            if before.is_none() {
                break;
            }
            assert_eq!(page.found.len(), 4);
        }
        assert_eq!(found, sent);
        let first = sent.last().unwrap().0;
        let within = |since: Timestamp, until: Timestamp| {
            let (since, until) = (Some(since), Some(until));
            SearchMessages { since, until, ..question.clone() }
        };
        let count = |page: FoundPage| page.found.len();
        assert_eq!(count(s.page(&s.ada, &within(first, first), None, 50).await.unwrap()), 0);
        let second = within(first, first.plus(Duration::from_secs(1)));
        assert_eq!(count(s.page(&s.ada, &second, None, 50).await.unwrap()), 3);
        let there = SearchMessages { thread_id: Some(other), ..question };
        let page = s.page(&s.ada, &there, None, 50).await.unwrap();
        assert!(page.found.len() == 6 && page.found.iter().all(|found| found.message.thread_id == other));
    }

    async fn a_question_that_many_nearly_match_is_answered_in_steps(t: Fixture) {
        let s = Scene::start(&t).await;
        s.say("one two").await;
        for _ in 0..401 {
            s.say("two one").await;
        }
        let page = s.page(&s.ada, &s.question("\"one two\""), None, 5).await.unwrap();
        assert!(page.found.is_empty() && page.next.is_some(), "so many are looked through for one page");
        let page = s.page(&s.ada, &s.question("\"one two\""), page.next, 5).await.unwrap();
        assert_eq!((page.found.len(), page.next), (1, None));
    }

    async fn of_a_long_message_the_first_words_are_found(t: Fixture) {
        let s = Scene::start(&t).await;
        let words: Vec<String> = (0..MESSAGE_WORDS_MAX + 5).map(|number| format!("w{number}")).collect();
        s.say(&words.join(" ")).await;
        assert_eq!(noted(&t).await, 1_000);
        assert_eq!(s.finds("w0 w999").await.len(), 1);
        assert!(s.finds("w1000").await.is_empty());
    }

    async fn messages_from_before_are_made_searchable(t: Fixture) {
        let s = Scene::start(&t).await;
        for text in ["old one", "old two", "old three"] {
            s.say(text).await;
        }
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("DELETE FROM message_words").execute().await.unwrap();
        tx.sql("UPDATE messages SET searchable = FALSE").execute().await.unwrap();
        tx.commit().await.unwrap();
        assert!(s.finds("old").await.is_empty());
        t.clock.advance(Duration::from_secs(1));
        let edited = s.node.send(&s.ada, s.thread, "new").await.message.id;
        let edit = Edit { message_id: edited, text: "old four".to_owned() };
        s.node.chat.edit(&s.ada, edit, None).await.unwrap();
        assert_eq!(s.node.chat.make_searchable(2).await.unwrap(), 2);
        assert_eq!(s.finds("old").await, ["old four", "old two", "old one"]);
        assert_eq!(s.node.chat.make_searchable(2).await.unwrap(), 1);
        assert_eq!(s.node.chat.make_searchable(2).await.unwrap(), 0);
        assert_eq!(s.finds("old").await.len(), 4);
    }

    async fn a_repeated_sending_notes_its_words_once(t: Fixture) {
        let s = Scene::start(&t).await;
        let sent = draft(s.thread, "once upon once");
        s.node.chat.send(&s.ada, sent.clone()).await.unwrap();
        assert!(s.node.chat.send(&s.ada, sent).await.unwrap().duplicate);
        assert_eq!(noted(&t).await, 2);
    }
}
