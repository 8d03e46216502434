//! What changes something says so in the audit log, once, and only when it was done.

use std::collections::BTreeSet;

use capecontrol::db::{Conn as _, Scope};

use super::contract::{Contract, Method};
use super::party::Party;
use super::requests::REQUESTS;
use super::scene::Scene;
use super::spoilt;
use crate::support::{App, on_both};

/// Methods that change something and are not written down, with the reason.
const UNWRITTEN: &[(&str, &str)] = &[
    ("/capecontrol.auth.v1.AuthService/RefreshSession", "every client calls it every ten minutes"),
    ("/capecontrol.chat.v1.ChatService/SendMessage", "the message is its own record, in the thread's events"),
    (
        "/capecontrol.chat.v1.ChatService/CreateAttachment",
        "nobody but its owner sees it before a message tells of it",
    ),
    ("/capecontrol.chat.v1.ChatService/EditMessage", "the text is its own record, in the thread's events"),
    ("/capecontrol.chat.v1.ChatService/AddReaction", "it is its own record, in the thread's events"),
    ("/capecontrol.chat.v1.ChatService/RemoveReaction", "it is its own record, in the thread's events"),
];

#[test]
fn whatever_changes_something_is_written_down_under_a_name_of_its_form() {
    let contract = Contract::read();
    let silent =
        contract.methods.iter().filter(|method| method.key().is_some() && method.audit_event().is_empty());
    let silent: BTreeSet<&str> = silent.map(|method| &*method.policy.path).collect();
    assert_eq!(
        silent,
        UNWRITTEN.iter().map(|(path, _)| *path).collect(),
        "declare an audit_event, or a reason here"
    );
    for method in &contract.methods {
        let name = method.audit_event();
        let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let formed = name.split_once('.').is_some_and(|(area, action)| word(area) && word(action));
        assert!(formed || name.is_empty(), "{}: {name:?} is not <area>.<verb_object>", method.policy.path);
    }
}

on_both! {
    async fn a_call_that_succeeds_leaves_one_entry_and_one_that_fails_leaves_none(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let mut seen = 0;
        for (number, (path, make)) in REQUESTS.iter().enumerate() {
            let method = contract.methods.iter().find(|method| &*method.policy.path == *path).unwrap();
            if method.audit_event().is_empty() {
                continue;
            }
            let party = Party::start(&scene.t, &format!("ada{number}")).await;
            let request = method.request(&make(&party));
            let token = scene.token(method, &party.person).await;
            let before = written(&scene.t, method).await;
            for leaf in contract.leaves(&request) {
                for value in spoilt(&leaf) {
                    // What is not refused of these, the test of the fields tells.
                    if scene.call(method, token.as_deref(), &leaf.set(&request, value)).await.is_ok() {
                        continue;
                    }
                    assert_eq!(written(&scene.t, method).await, before, "{} was refused", method.what(&leaf));
                }
            }
            let before = written(&scene.t, method).await;
            scene.call(method, token.as_deref(), &request).await.unwrap();
            assert_eq!(written(&scene.t, method).await, before + 1, "{path} succeeded");
            if method.key().is_some() {
                let _ = scene.call(method, token.as_deref(), &request).await;
                assert_eq!(written(&scene.t, method).await, before + 1, "{path} was repeated");
            }
            seen += 1;
        }
        assert!(seen >= 8, "only {seen} requests leave an entry");
        // All of it has its place in one chain.
        scene.t.seal().await;
        let log = scene.t.node.auth.audit().clone();
        let archive = capecontrol::audit::Archive::new(scene.t.db.clone(), log);
        let report = archive.verify(capecontrol::audit::Reach::Platform, None).await.unwrap();
        assert_eq!((report.bad, report.unsealed), (None, 0));
    }
}

/// How many entries say that this was done.
async fn written(t: &App, method: &Method) -> i64 {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let text = "SELECT count(*) FROM audit_events WHERE outcome = 'done' AND action = $1";
    let (count,): (i64,) = conn.sql(text).bind(method.audit_event()).one().await.unwrap();
    count
}
