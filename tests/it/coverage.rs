//! What every method must do, asked of every method that the descriptors declare.
//!
//! Nothing here is a list of methods but the requests that succeed, and those are held against the descriptors. All
//! else follows from them: a credential is left out, a role is wrong, a field is spoilt, an id is somebody else's, a
//! call is repeated. Every refusal must be one that programs can read ([`wire::refusal`]).

mod audited;
mod contract;
mod conversation;
mod fields;
mod party;
mod programs;
mod repetition;
mod requests;
mod roles;
mod scene;
mod tenants;
pub mod wire;

use std::collections::BTreeSet;

use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::rpc::policy::Access;
use contract::{Contract, unknown_id};
use fields::Leaf;
use party::Party;
use prost_reflect::{DynamicMessage, Kind, Value};
use requests::REQUESTS;
use scene::Scene;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::{call, refusal, told};

use crate::e2e::attacks::Evidence;
use crate::support::{App, Person, on_both};

/// Ids of what belongs to no tenant: anybody may name them.
const SHARED: &[&str] = &["listing_id", "plan.plan_id"];

/// Not a UUID, not a word of ours, and longer than a mark may be.
const NO_ID: &str = "not-a-uuid-and-not-a-word-that-the-platform-would-know-and-far-too-long-for-a-mark";

/// Fields in which nothing is wrong, with the reason.
const FINE: &[(&str, &str, &str)] = &[(
    "/capecontrol.auth.v1.AuthService/Logout",
    "refresh_token",
    "whoever has no session any more is signed out",
)];

/// Longer than any text that the platform takes.
const TEXT_CHARACTERS: usize = 100_001;

#[test]
fn every_declared_method_has_a_request_that_succeeds() {
    let contract = Contract::read();
    let declared: BTreeSet<&str> = contract.methods.iter().map(|method| &*method.policy.path).collect();
    let known: BTreeSet<&str> = REQUESTS.iter().map(|(path, _)| *path).collect();
    assert_eq!(declared, known, "the descriptors, and the requests in coverage/requests.rs");
    for method in &contract.methods {
        let says = "a request with a request_id is declared idempotent, and only such a one";
        assert_eq!(method.policy.idempotent, method.key().is_some(), "{}: {says}", method.policy.path);
    }
}

#[tokio::test]
async fn every_method_answers_whom_it_is_for() {
    let (contract, scene) = (Contract::read(), Scene::start().await);
    for (number, (path, make)) in REQUESTS.iter().enumerate() {
        // Somebody new each time: what one call ends, such as a session, another may need.
        let party = Party::start(&scene.t, &format!("ada{number}")).await;
        let method = contract.methods.iter().find(|method| &*method.policy.path == *path).unwrap();
        let request = method.request(&make(&party));
        for leaf in contract.leaves(&request) {
            assert!(!leaf.is_id() || !leaf.text().is_empty(), "{path}: fill in {} in the request", leaf.path);
        }
        let token = scene.token(method, &party.person).await;
        let answer = scene.call(method, token.as_deref(), &request).await;
        let answer = answer.unwrap_or_else(|status| panic!("{path}: {status:?}"));
        DynamicMessage::decode(method.descriptor.output(), answer.as_slice()).unwrap();
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_credential() {
    let (contract, scene) = (Contract::read(), Scene::start().await);
    let party = Party::start(&scene.t, "ada").await;
    for (method, request) in contract.requests(&party) {
        let path = &*method.policy.path;
        if method.policy.access == Access::Public {
            continue;
        }
        let empty = DynamicMessage::new(method.descriptor.input());
        for (token, request) in [(None, &request), (None, &empty), (Some("not.a.token"), &request)] {
            let (status, _) = refusal(path, scene.call(method, token, request).await);
            assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        }
    }
}

#[tokio::test]
async fn the_wrong_role_is_refused() {
    let (contract, scene) = (Contract::read(), Scene::start().await);
    let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
    let dev = Party::start(&scene.t, "dev").await;
    let dev = scene.promoted(&dev.person, "developer").await;
    scene.join(&eve.person, ada.person.organization_id).await;
    scene.join(&eve.person, ada.team_id.parse().unwrap()).await;
    let theirs = auth::GetOrganizationRequest { organization_id: ada.organization_id.clone() };
    assert!(
        eve.person.organizations().get_organization(theirs).await.is_ok(),
        "a member sees the organisation"
    );
    for (method, request) in contract.requests(&ada) {
        let path = &*method.policy.path;
        let wrong: &[&Person] = match method.policy.access {
            Access::Public | Access::Account => &[],
            Access::Developer | Access::OrganizationOwner | Access::OrganizationBilling => &[&eve.person],
            Access::Admin => &[&eve.person, &dev],
        };
        for person in wrong {
            let (status, _) = refusal(path, scene.call(method, Some(&person.token), &request).await);
            assert_eq!(status.code(), Code::PermissionDenied, "{path}");
        }
    }
}

#[tokio::test]
async fn every_field_that_can_be_wrong_is_refused_by_its_name() {
    let (contract, scene) = (Contract::read(), Scene::start().await);
    let party = Party::start(&scene.t, "ada").await;
    let mut wrong = Vec::new();
    for (method, request) in contract.requests(&party) {
        let token = scene.token(method, &party.person).await;
        let unreadable = call(&scene.t, &method.policy.path, token.as_deref(), vec![0xff; 9]).await;
        let (status, _) = refusal(&format!("{} with noise", method.policy.path), unreadable);
        assert_eq!(status.code(), Code::InvalidArgument, "{}", method.policy.path);
        let fine =
            |leaf: &Leaf| FINE.iter().any(|fine| (fine.0, fine.1) == (&*method.policy.path, &*leaf.path));
        for leaf in contract.leaves(&request).into_iter().filter(|leaf| !fine(leaf)) {
            for spoilt in spoilt(&leaf) {
                let outcome = scene.call(method, token.as_deref(), &leaf.set(&request, spoilt.clone())).await;
                let spoilt: String =
                    format!("{} = {spoilt:?}", method.what(&leaf)).chars().take(160).collect();
                match outcome {
                    Ok(_) => wrong.push(format!("{spoilt}: was not refused")),
                    Err(status) => {
                        let (status, reason) = refusal(&spoilt, Err(status));
                        wrong.extend(
                            misnamed(&leaf, &status, reason.name).map(|says| format!("{spoilt}: {says}")),
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// Values that are wrong in a field, whatever it is for.
fn spoilt(leaf: &Leaf) -> Vec<Value> {
    let text = |text: &str| Value::String(text.to_owned());
    match &leaf.kind {
        Kind::String if leaf.is_key() || leaf.is_id() => vec![text(NO_ID)],
        Kind::String if leaf.path == "page_token" || leaf.is_etag() => vec![text("AAAA")],
        Kind::String if leaf.text().is_empty() => vec![],
        Kind::String => vec![text(&"x".repeat(TEXT_CHARACTERS))],
        Kind::Enum(_) => vec![Value::EnumNumber(99)],
        Kind::Int32 => vec![Value::I32(-1)],
        Kind::Int64 => vec![Value::I64(-1)],
        Kind::Message(_) if leaf.is_mask() => vec![fields::mask(leaf, "no_such_field")],
        _ => vec![],
    }
}

/// What is amiss with the refusal of a spoilt field, if anything is.
fn misnamed(leaf: &Leaf, status: &Status, reason: &str) -> Option<String> {
    let details = status.get_error_details();
    let named = || {
        let told = details.bad_request().map(|told| told.field_violations.as_slice()).unwrap_or_default();
        // In a conversation the path begins in the frame.
        let named = |field: &str| {
            leaf.path == field || leaf.path.ends_with(&format!(".{field}")) || leaf.is_part_of(field)
        };
        told.iter().any(|violation| named(&violation.field))
    };
    let credential = matches!(leaf.path.as_str(), "refresh_token" | "email" | "password" | "token");
    let right = match reason {
        "INVALID_ARGUMENT" => named(),
        "PAGE_TOKEN_MISMATCH" => leaf.path == "page_token",
        "ETAG_MISMATCH" => leaf.is_etag(),
        "REFRESH_TOKEN_INVALID" | "INVALID_CREDENTIALS" | "VERIFICATION_TOKEN_INVALID" => credential,
        _ => false,
    };
    (!right).then(|| format!("{reason} {:?}", details.bad_request()))
}

on_both! {
    async fn what_belongs_to_others_does_not_exist(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
        let (mut asked, mut methods) = (0, BTreeSet::new());
        for ((method, hers), (_, own)) in contract.requests(&ada).zip(contract.requests(&eve)) {
            let token = scene.token(method, &eve.person).await;
            for (hers, leaf) in contract.ids(&hers).iter().zip(contract.ids(&own)) {
                let what = method.what(&leaf);
                let shared = SHARED.contains(&leaf.path.as_str());
                assert_eq!(hers.text() == leaf.text(), shared, "{what}: is it a tenant's?");
                if shared || method.policy.access == Access::Admin {
                    continue;
                }
                let mut answers = Vec::new();
                for id in [hers.text().to_owned(), unknown_id()] {
                    let request = leaf.set(&own, Value::String(id));
                    let (status, reason) = refusal(&what, scene.call(method, token.as_deref(), &request).await);
                    assert_eq!(reason.name, "NOT_FOUND", "{what}");
                    answers.push(told(&status));
                }
                assert_eq!(answers[0], answers[1], "{what} tells who has it");
                methods.insert(&*method.policy.path);
                asked += 1;
            }
        }
        assert!(asked > 10, "only {asked} fields name what belongs to somebody");
        // Whoever tries so many doors is in the log with each of them.
        let tried = Evidence::of(&scene.t).await.written;
        let by_eve = tried.iter().filter(|event| event.actor_id == Some(eve.person.account_id.uuid()));
        let tried: BTreeSet<&str> =
            by_eve.filter_map(|event| event.reason.as_deref()?.strip_prefix("NOT_FOUND ")).collect();
        let unseen: Vec<_> = methods.difference(&tried).collect();
        assert!(unseen.is_empty(), "{unseen:?} refused and wrote nothing down");
    }
}
