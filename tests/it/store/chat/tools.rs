//! The tools that an agent calls on the way to its answer: once each, within bounds, whatever fails in between.

use std::time::Duration;

use capecontrol::ai::Turn;
use capecontrol::base::{Fault as _, Violations};
use capecontrol::chat::model::member::ThreadRole;
use capecontrol::chat::model::tools::{Outcome, ToolUse};
use capecontrol::chat::model::{Actor, Change, Event, Thread, TurnFailure};
use capecontrol::chat::service::CreateThread;
use capecontrol::chat::store;
use capecontrol::chat::turn::AgentTurn;
use capecontrol::db::{Conn as _, Json, Scope};
use capecontrol::jobs;
use capecontrol::market::ListingId;
use capecontrol::market::manifest::{Manifest, Permissions, SideEffect, Tool};
use serde_json::json;

use super::bench::{Act, Counting, Fate, Node, installed, quick, some_listing};
use crate::support::{Fixture, on_both};

/// The catalogue's first agent in a new version.
async fn published(t: &Fixture, change: impl FnOnce(&mut Manifest)) {
    let listing = some_listing(t).await;
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let (Json(mut manifest),): (Json<Manifest>,) = tx
        .sql("SELECT manifest FROM listing_versions WHERE listing_id = $1")
        .bind(listing)
        .one()
        .await
        .unwrap();
    manifest.version = "9.0.0".parse().unwrap();
    change(&mut manifest);
    manifest.validate().unwrap();
    tx.sql(
        "INSERT INTO listing_versions (listing_id, version, manifest, digest, published_at)
         VALUES ($1, '9.0.0', $2, $3, $4)",
    )
    .bind(listing)
    .bind(Json(manifest.clone()))
    .bind(manifest.digest().as_bytes().to_vec())
    .bind(t.world.now())
    .execute()
    .await
    .unwrap();
    tx.sql("UPDATE listings SET current_version = '9.0.0' WHERE id = $1")
        .bind(listing)
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// The catalogue's first agent in a new version that names these tools, with these scopes.
async fn named(t: &Fixture, tools: &[(&str, bool)], scopes: &[&str]) {
    let tool = |(name, approval_required): &(&str, bool)| Tool {
        name: (*name).to_owned(),
        description: "Counts.".to_owned(),
        input_schema: json!({ "type": "object" }),
        side_effect: SideEffect::Propose,
        approval_required: *approval_required,
        placements: None,
    };
    published(t, |manifest| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        manifest.permissions = Permissions { scopes, egress_hosts: Vec::new() };
        manifest.tools = tools.iter().map(tool).collect();
    })
    .await;
}

/// Somebody with an installed agent that may use the counting tool, and a thread with it.
struct Scene {
    node: Node,
    ada: capecontrol::auth::Caller,
    agent: ListingId,
    thread: Thread,
}

impl Scene {
    async fn start(t: &Fixture) -> Self {
        Self::with(t, &[(Counting::NAME, false)], &[Counting::SCOPE]).await
    }

    async fn with(t: &Fixture, tools: &[(&str, bool)], scopes: &[&str]) -> Self {
        named(t, tools, scopes).await;
        let mut options = quick();
        options.turn.tools.call_timeout = Duration::from_millis(50);
        let node = Node::start(t, options).await;
        let ada = node.somebody("ada@example.com").await;
        let agent = installed(t, &ada).await;
        let thread = node.thread(&ada, Some(agent)).await;
        Self { node, ada, agent, thread }
    }

    /// Everything after the question.
    async fn told(&self) -> Vec<Event> {
        let events = self.node.events(&self.ada, self.thread.id).await;
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "the sequence has a hole");
        events.into_iter().skip(1).collect()
    }

    async fn uses(&self) -> Vec<ToolUse> {
        let told = self.told().await.into_iter().filter_map(|event| match event.change {
            Change::AgentToolCalled(used) => Some(used),
            _ => None,
        });
        told.collect()
    }

    async fn answer(&self) -> Option<String> {
        match self.told().await.pop()?.change {
            Change::MessageCreated(message) => Some(message.text),
            _ => None,
        }
    }

    fn asked(&self) -> usize {
        self.node.provider.asked.lock().unwrap().len()
    }
}

fn call(arguments: &str) -> Act {
    Act::Call("One moment.", vec![(Counting::NAME, arguments.to_owned())])
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Result(_) => "",
        Outcome::Refused(problem) | Outcome::Failed(problem) => &problem.reason,
    }
}

on_both! {
    async fn a_model_calls_gets_the_result_and_answers(t: Fixture) {
        let s = Scene::start(&t).await;
        s.node.provider.will(call(r#"{"n": 1}"#));
        s.node.provider.will(Act::Say(vec!["It ", "is done."]));
        let sent = s.node.send(&s.ada, s.thread.id, "count!").await;
        s.node.worker(&t).run_due().await.unwrap();
        let told = s.told().await;
        let Change::AgentToolCalled(used) = &told[0].change else { panic!("{told:?}") };
        assert_eq!((told[0].actor, used.message_id), (Actor::Agent(s.agent), sent.message.id));
        assert_eq!((used.round, used.position, used.tool.as_str()), (1, 1, Counting::NAME));
        assert_eq!(used.arguments, r#"{"n":1}"#);
        assert_eq!(used.outcome, Outcome::Result(r#"{"counted":"{\"n\":1}"}"#.to_owned()));
        // What was said before and after the call is one message, and was passed on as such.
        assert_eq!(s.answer().await.as_deref(), Some("One moment.\n\nIt is done."));
        let mut text = String::new();
        for piece in s.node.bus.passed() {
            assert_eq!(piece.offset, text.len());
            text.push_str(&piece.text);
        }
        assert_eq!(text, "One moment.\n\nIt is done.");
        // The model was shown its own call and the result.
        let asked = s.node.provider.asked.lock().unwrap();
        assert_eq!(asked[0].tools[0].name, Counting::NAME);
        let [.., Turn::Assistant { text, calls }, Turn::Results(results)] = asked[1].turns.as_slice() else { panic!() };
        assert_eq!((text.as_str(), calls[0].id.as_str()), ("One moment.", "call-1"));
        assert_eq!((results[0].call_id.as_str(), results[0].is_error), ("call-1", false));
        // In the person's name and organisation, with a customer's power.
        let calls = s.node.tool.calls.lock().unwrap();
        assert_eq!((calls[0].0.account, calls[0].0.session), (s.ada.account, None));
        assert_eq!(calls[0].1.organization_id, s.thread.organization_id);
    }

    async fn tokens_of_all_rounds_are_counted(t: Fixture) {
        let s = Scene::start(&t).await;
        s.node.provider.will(call("{}"));
        s.node.send(&s.ada, s.thread.id, "count!").await;
        s.node.worker(&t).run_due().await.unwrap();
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let tokens: (i64, i64) =
            conn.sql("SELECT input_tokens, output_tokens FROM agent_turns").one().await.unwrap();
        assert_eq!(tokens, (6, 4));
    }

    async fn a_crash_after_the_effect_repeats_the_call_with_its_key_and_asks_no_model_again(t: Fixture) {
        let s = Scene::start(&t).await;
        s.node.provider.will(call(r#"{"n": 1}"#));
        s.node.provider.will(Act::Say(vec!["Done."]));
        // The effect happened; what came of it was never journalled.
        s.node.tool.will(Fate::Lose);
        s.node.send(&s.ada, s.thread.id, "count!").await;
        let worker = s.node.worker(&t);
        worker.run_due().await.unwrap();
        assert_eq!((s.told().await.len(), s.asked()), (0, 1));
        t.clock.advance(Duration::from_secs(3_600));
        worker.run_due().await.unwrap();
        assert_eq!((s.node.tool.tries(), s.node.tool.effects()), (2, 1));
        assert_eq!((s.uses().await.len(), s.asked()), (1, 2));
        assert_eq!(s.answer().await.as_deref(), Some("One moment.\n\nDone."));
    }

    async fn a_crash_after_the_journal_makes_no_call_and_asks_only_for_what_is_missing(t: Fixture) {
        let s = Scene::start(&t).await;
        s.node.provider.will(call(r#"{"n": 1}"#));
        s.node.provider.will(call(r#"{"n": 2}"#));
        s.node.provider.will(Act::Break(vec!["half"]));
        s.node.provider.will(Act::Say(vec!["whole"]));
        s.node.send(&s.ada, s.thread.id, "count!").await;
        let worker = s.node.worker(&t);
        worker.run_due().await.unwrap();
        assert_eq!((s.uses().await.len(), s.node.tool.tries(), s.asked()), (2, 2, 3));
        t.clock.advance(Duration::from_secs(3_600));
        worker.run_due().await.unwrap();
        assert_eq!((s.uses().await.len(), s.node.tool.tries(), s.asked()), (2, 2, 4));
        assert_eq!(s.answer().await.as_deref(), Some("One moment.\n\nOne moment.\n\nwhole"));
        let asked = s.node.provider.asked.lock().unwrap();
        assert_eq!(asked[2], asked[3], "the model is shown the same as before the crash");
    }

    async fn two_workers_with_one_turn_have_one_effect_and_tell_of_it_once(t: Fixture) {
        let s = Scene::start(&t).await;
        for _ in 0..2 {
            s.node.provider.will(call(r#"{"n": 1}"#));
        }
        let message_id = s.node.send(&s.ada, s.thread.id, "count!").await.message.id;
        let again = AgentTurn { organization_id: s.thread.organization_id, message_id };
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        jobs::push(&mut tx, &t.world, Some(s.thread.organization_id), &again).await.unwrap();
        tx.commit().await.unwrap();
        let (first, second) = (s.node.worker(&t), s.node.worker(&t));
        let (first, second) = tokio::join!(first.run_due(), second.run_due());
        assert!(first.is_ok() && second.is_ok());
        let (uses, rounds) = (s.uses().await, rounds(&t, &s, message_id).await);
        assert_eq!(uses.len(), rounds);
        assert_eq!(s.node.tool.effects(), rounds, "each journalled call has its key");
        let answers = s.told().await.into_iter().filter(|event| matches!(event.change, Change::MessageCreated(_)));
        assert_eq!(answers.count(), 1);
    }

    async fn what_cannot_be_run_is_told_to_the_model_which_goes_on(t: Fixture) {
        let s = Scene::start(&t).await;
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(4_096));
        let calls = [
            ("no.such\0tool", "{}"), (Counting::NAME, "[1]"), (Counting::NAME, r#"{"a": "#), (Counting::NAME, &long),
            (Counting::NAME, r#"{"fine": true}"#), (Counting::NAME, r#"{"again": true}"#),
        ];
        s.node.tool.will(Fate::Refuse);
        let calls = calls.iter().map(|(name, arguments)| (*name, (*arguments).to_owned())).collect();
        s.node.provider.will(Act::Call("", calls));
        s.node.provider.will(Act::Say(vec!["So be it."]));
        s.node.send(&s.ada, s.thread.id, "count!").await;
        s.node.worker(&t).run_due().await.unwrap();
        let mut uses = s.uses().await;
        uses.sort_by_key(|used| used.position);
        let reasons: Vec<&str> = uses.iter().map(|used| reason(&used.outcome)).collect();
        let wanted =
            ["TOOL_UNKNOWN", "INVALID_ARGUMENTS", "INVALID_ARGUMENTS", "TOOL_ARGUMENTS_TOO_LONG", "NOT_TODAY", ""];
        assert_eq!(reasons, wanted);
        assert_eq!(s.node.tool.tries(), 2);
        assert_eq!(s.answer().await.as_deref(), Some("So be it."));
        let asked = s.node.provider.asked.lock().unwrap();
        let Some(Turn::Results(results)) = asked[1].turns.last() else { panic!() };
        let errors: Vec<bool> = results.iter().map(|result| result.is_error).collect();
        assert_eq!(errors, [true, true, true, true, true, false]);
        assert!(results[0].content.contains(Counting::NAME), "it is told what there is: {}", results[0].content);
    }

    async fn a_tool_that_hangs_or_panics_is_tried_again_and_then_told_of(t: Fixture) {
        let s = Scene::start(&t).await;
        s.node.provider.will(call("{}"));
        s.node.provider.will(Act::Say(vec!["It did not work."]));
        for fate in [Fate::Hang, Fate::Panic, Fate::Lose] {
            s.node.tool.will(fate);
        }
        s.node.send(&s.ada, s.thread.id, "count!").await;
        let worker = s.node.worker(&t);
        for tries in 1..=3 {
            worker.run_due().await.unwrap();
            assert_eq!(s.node.tool.tries(), tries);
            t.clock.advance(Duration::from_secs(3_600));
        }
        assert_eq!((s.node.tool.effects(), s.asked()), (1, 2));
        let uses = s.uses().await;
        assert!(matches!(&uses[0].outcome, Outcome::Failed(problem) if problem.reason == "TOOL_UNAVAILABLE"));
        assert_eq!(s.answer().await.as_deref(), Some("One moment.\n\nIt did not work."));
    }

    async fn a_result_that_is_too_long_is_not_shown(t: Fixture) {
        let s = Scene::start(&t).await;
        s.node.provider.will(call("{}"));
        s.node.tool.will(Fate::Long(9_000));
        s.node.send(&s.ada, s.thread.id, "count!").await;
        s.node.worker(&t).run_due().await.unwrap();
        let uses = s.uses().await;
        assert!(matches!(&uses[0].outcome, Outcome::Failed(problem) if problem.reason == "TOOL_RESULT_TOO_LONG"));
    }

    async fn a_model_that_calls_without_end_is_stopped(t: Fixture) {
        let s = Scene::start(&t).await;
        // One call in each round: the rounds are used up first. Afterwards it is asked for an answer and gives none.
        for _ in 0..40 {
            s.node.provider.will(call("{}"));
        }
        s.node.send(&s.ada, s.thread.id, "count!").await;
        s.node.worker(&t).run_due().await.unwrap();
        assert_eq!((s.uses().await.len(), s.asked()), (8, 9));
        {
            let asked = s.node.provider.asked.lock().unwrap();
            assert!(asked[7].may_call && !asked[8].may_call && !asked[8].tools.is_empty());
        }
        // It said something each time, and that is its answer.
        assert!(s.answer().await.is_some());
    }

    async fn calls_beyond_the_bound_are_refused_and_a_silent_model_gave_no_answer(t: Fixture) {
        let s = Scene::start(&t).await;
        for _ in 0..40 {
            s.node.provider.will(Act::Call("", vec![(Counting::NAME, "{}".to_owned()); 30]));
        }
        let sent = s.node.send(&s.ada, s.thread.id, "count!").await;
        s.node.worker(&t).run_due().await.unwrap();
        assert_eq!((s.node.tool.tries(), s.asked()), (16, 2));
        let uses = s.uses().await;
        assert_eq!(uses.len(), 17, "what comes after the bound is not even read");
        assert_eq!(uses.iter().filter(|used| reason(&used.outcome) == "TOOL_CALLS_EXHAUSTED").count(), 1);
        let failed = Change::AgentTurnFailed { message_id: sent.message.id, reason: TurnFailure::NoAnswer };
        assert_eq!(s.told().await.pop().unwrap().change, failed);
    }

    async fn whatever_a_provider_does_a_turn_ends_once_and_within_its_bounds(t: Fixture) {
        for seed in 0..8 {
            let t = <Fixture as crate::support::Start>::start(t.db.engine()).await;
            let s = Scene::start(&t).await;
            let (dice, _) = crate::support::world(seed);
            for _ in 0..60 {
                let calls = (0..dice.below(7)).map(|n| match dice.below(6) {
                    0 => ("no.such.tool", "{}".to_owned()),
                    1 => (Counting::NAME, "{\"cut\": ".to_owned()),
                    _ => (Counting::NAME, format!("{{\"n\":{n}}}")),
                });
                s.node.provider.will(match dice.below(10) {
                    0 => Act::Refuse,
                    1 => Act::Break(vec!["half"]),
                    2 => Act::Say(vec!["An answer."]),
                    _ => Act::Call(if dice.below(2) == 0 { "" } else { "Hm." }, calls.collect()),
                });
                s.node.tool.will(match dice.below(4) {
                    0 => Fate::Lose,
                    1 => Fate::Refuse,
                    2 => Fate::Panic,
                    _ => Fate::Long(3),
                });
            }
            s.node.send(&s.ada, s.thread.id, "count!").await;
            let worker = s.node.worker(&t);
            for _ in 0..4 {
                worker.run_due().await.unwrap();
                t.clock.advance(Duration::from_secs(3_600));
            }
            let told = s.told().await;
            let ends = told.iter().filter(|event| !matches!(event.change, Change::AgentToolCalled(_))).count();
            assert_eq!(ends, 1, "seed {seed}: {told:?}");
            assert!(!matches!(told.last().unwrap().change, Change::AgentToolCalled(_)), "seed {seed}");
            assert!(s.node.tool.effects() <= 16 && s.asked() <= 9 + 3, "seed {seed}");
            let mut places: Vec<(i64, i64)> = s.uses().await.iter().map(|used| (used.round, used.position)).collect();
            let count = places.len();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), count, "seed {seed}: a call was told twice");
        }
    }

    async fn a_tool_that_is_for_another_placement_is_not_there(t: Fixture) {
        let counting = Tool {
            name: Counting::NAME.to_owned(),
            description: "Counts.".to_owned(),
            input_schema: json!({ "type": "object" }),
            side_effect: SideEffect::Propose,
            approval_required: false,
            placements: Some(vec!["billing".to_owned()]),
        };
        published(&t, |manifest| {
            manifest.placements = vec!["chat".to_owned(), "billing".to_owned()];
            let scopes = vec![Counting::SCOPE.to_owned()];
            manifest.permissions = Permissions { scopes, egress_hosts: Vec::new() };
            manifest.tools = vec![counting];
        })
        .await;
        let mut node = Node::start(&t, quick()).await;
        let mut ada = node.somebody("ada@example.com").await;
        let agent = installed(&t, &ada).await;
        for (placement, met_in, wanted, offered) in [("billing", "billing", "", 1), ("", "chat", "TOOL_UNKNOWN", 0)] {
            let command =
                CreateThread { listing_id: Some(agent), placement: placement.to_owned(), ..CreateThread::default() };
            let opened = node.chat.create_thread(&ada, command, None).await.unwrap();
            assert_eq!(opened.placement.as_deref(), Some(met_in));
            let seen = node.chat.thread(&ada, opened.thread.id).await.unwrap();
            assert_eq!(seen.placement, opened.placement);
            node.provider.will(call("{}"));
            node.provider.will(Act::Say(vec!["So be it."]));
            node.send(&ada, opened.thread.id, "count!").await;
            node.worker(&t).run_due().await.unwrap();
            let s = Scene { node, ada, agent, thread: opened.thread };
            assert_eq!(reason(&s.uses().await[0].outcome), wanted, "in {met_in}");
            let asked = s.node.provider.asked.lock().unwrap().drain(..).next().unwrap();
            assert_eq!(asked.tools.len(), offered, "in {met_in}");
            Scene { node, ada, .. } = s;
        }
        let (listing_id, placement) = (Some(agent), "garden".to_owned());
        let command = CreateThread { listing_id, placement, ..CreateThread::default() };
        let refused = node.chat.create_thread(&ada, command, None).await.unwrap_err();
        let wrong = &refused.violations()[0];
        assert_eq!(wrong.field, "placement");
        assert!(wrong.description.contains("chat, billing"), "{}", wrong.description);
        let nobodys = CreateThread { placement: "chat".to_owned(), ..CreateThread::default() };
        assert_eq!(nobodys.check(Violations::new()).unwrap_err().as_slice()[0].field, "placement");
    }

    async fn a_tool_that_is_not_named_or_not_granted_or_needs_approval_is_not_run(t: Fixture) {
        for (tools, scopes, wanted, offered) in [
            (vec![], vec![Counting::SCOPE], "TOOL_UNKNOWN", 0),
            (vec![(Counting::NAME, false)], vec!["thread.read"], "TOOL_NOT_GRANTED", 0),
            (vec![(Counting::NAME, true)], vec![Counting::SCOPE], "TOOL_APPROVAL_REQUIRED", 1),
            (vec![("gone.tool", false)], vec![Counting::SCOPE], "TOOL_UNKNOWN", 0),
        ] {
            let t = <Fixture as crate::support::Start>::start(t.db.engine()).await;
            let s = Scene::with(&t, &tools, &scopes).await;
            s.node.provider.will(call("{}"));
            s.node.send(&s.ada, s.thread.id, "count!").await;
            s.node.worker(&t).run_due().await.unwrap();
            assert_eq!(reason(&s.uses().await[0].outcome), wanted);
            assert_eq!(s.node.tool.tries(), 0);
            assert_eq!(s.node.provider.asked.lock().unwrap()[0].tools.len(), offered, "{wanted}");
            assert!(s.answer().await.is_some());
        }
    }

    async fn an_agent_that_is_uninstalled_midway_calls_nothing_more(t: Fixture) {
        let s = Scene::start(&t).await;
        s.node.provider.will(call("{}"));
        s.node.tool.will(Fate::Lose);
        let sent = s.node.send(&s.ada, s.thread.id, "count!").await;
        let worker = s.node.worker(&t);
        worker.run_due().await.unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("DELETE FROM installations").execute().await.unwrap();
        tx.commit().await.unwrap();
        t.clock.advance(Duration::from_secs(3_600));
        worker.run_due().await.unwrap();
        assert_eq!(s.node.tool.tries(), 1);
        let failed = Change::AgentTurnFailed { message_id: sent.message.id, reason: TurnFailure::NotInstalled };
        assert_eq!(s.told().await.pop().unwrap().change, failed);
    }

    async fn nobody_is_acted_for_who_has_left(t: Fixture) {
        let s = Scene::start(&t).await;
        let bob = s.node.somebody("bob@example.com").await;
        s.node.provider.will(call("{}"));
        s.node.send(&s.ada, s.thread.id, "count!").await;
        let mut tx = t.db.begin(Scope::Organization(s.thread.organization_id)).await.unwrap();
        let home = s.thread.organization_id;
        // Somebody stays to see it.
        tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, 'member', $3)")
            .bind(home).bind(bob.account().unwrap()).bind(t.world.now()).execute().await.unwrap();
        let members = [(bob.account().unwrap(), ThreadRole::Member)];
        store::insert_members(&mut tx, home, s.thread.id, &members, t.world.now()).await.unwrap();
        store::delete_member(&mut tx, home, s.thread.id, s.ada.account().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        s.node.worker(&t).run_due().await.unwrap();
        let events = s.node.events(&bob, s.thread.id).await;
        let Change::AgentToolCalled(used) = &events[1].change else { panic!("{events:?}") };
        assert_eq!(reason(&used.outcome), "ASKER_NOT_A_MEMBER");
        assert_eq!(s.node.tool.tries(), 0);
    }
}

/// How many rounds are journalled, each with one call.
async fn rounds(t: &Fixture, s: &Scene, message_id: capecontrol::chat::model::MessageId) -> usize {
    let mut conn = t.db.conn(Scope::Organization(s.thread.organization_id)).await.unwrap();
    store::rounds(&mut conn, s.thread.organization_id, message_id).await.unwrap().len()
}
