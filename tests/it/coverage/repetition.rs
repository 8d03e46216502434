//! A call that is repeated with its key has one effect and one answer.

use std::time::Duration;

use capecontrol::rpc::policy::Access;
use prost_reflect::{DynamicMessage, Kind, Value};

use super::contract::{Contract, Method, unknown_id};
use super::fields::Leaf;
use super::party::Party;
use super::requests::REQUESTS;
use super::scene::Scene;
use super::wire::refusal;

#[tokio::test]
async fn a_repetition_gets_the_first_answer_and_no_second_effect() {
    let (contract, scene) = (Contract::read(), Scene::start().await);
    let mut reused = Vec::new();
    for (number, (path, make)) in REQUESTS.iter().enumerate() {
        let method = contract.methods.iter().find(|method| &*method.policy.path == *path).unwrap();
        if !method.policy.idempotent {
            continue;
        }
        let party = Party::start(&scene.t, &format!("ada{number}")).await;
        let request = method.request(&make(&party));
        let token = scene.token(method, &party.person).await;
        let first = scene.call(method, token.as_deref(), &request).await.unwrap();
        scene.t.advance(Duration::from_secs(1));
        match scene.call(method, token.as_deref(), &request).await {
            Ok(second) if !method.is_secret() => {
                assert_eq!(answer(method, &second), answer(method, &first), "{path}");
            }
            second => {
                let (_, reason) = refusal(&format!("{path} a second time"), second);
                assert_eq!((reason.name, method.is_secret()), ("SECRET_ALREADY_ISSUED", true), "{path}");
            }
        }
        let other = match method.policy.access {
            // What a stranger sends is somebody's credential: another that is as good is another's.
            Access::Public => {
                Some(method.request(&make(&Party::start(&scene.t, &format!("bob{number}")).await)))
            }
            _ => changed(&request, contract.leaves(&request)),
        };
        // A request of a key only has no other.
        let Some(other) = other else { continue };
        let other = method.with_key_of(&request, other);
        let outcome = scene.call(method, token.as_deref(), &other).await;
        let (_, reason) = refusal(&format!("{path} with a used key"), outcome);
        reused.push((*path, reason.name));
    }
    let otherwise: Vec<_> = reused.iter().filter(|(_, reason)| *reason != "IDEMPOTENCY_KEY_REUSED").collect();
    assert!(otherwise.is_empty(), "another request with a used key: {otherwise:?}");
}

/// An answer without the mark that says that it was given before.
fn answer(method: &Method, bytes: &[u8]) -> DynamicMessage {
    let mut answer = DynamicMessage::decode(method.descriptor.output(), bytes).unwrap();
    if answer.get_field_by_name("duplicate").is_some() {
        answer.clear_field_by_name("duplicate");
    }
    answer
}

/// The request with one text changed, so that it is another that is as good; an id only when there is no other text.
fn changed(request: &DynamicMessage, leaves: Vec<Leaf>) -> Option<DynamicMessage> {
    let text = |leaf: &&Leaf| matches!(leaf.kind, Kind::String) && !leaf.text().is_empty() && !leaf.is_key();
    // A currency is one of a few words: another text in its place is no good request.
    let other = |leaf: &&Leaf| leaf.path != "organization_id" && !leaf.path.ends_with("currency_code");
    let mut leaves: Vec<&Leaf> = leaves.iter().filter(text).filter(other).collect();
    leaves.sort_by_key(|leaf| leaf.is_id());
    let leaf = leaves.first()?;
    let other = if leaf.is_id() { unknown_id() } else { format!("{}x", leaf.text()) };
    Some(leaf.set(request, Value::String(other)))
}
