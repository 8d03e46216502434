//! What an API key may call, asked of every method: what declares a scope, with that scope, in the key's organisation,
//! and nothing else.

use capecontrol::auth::model::key::KeyScope;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::rpc::policy::Access;
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::contract::{Contract, Method, unknown_id};
use super::party::Party;
use super::scene::Scene;
use super::wire::{call_with, refusal, told};
use super::{NO_ID, SHARED};
use crate::support::{App, on_both};

impl Scene {
    async fn call_as_program(
        &self,
        method: &Method,
        key: &str,
        request: &DynamicMessage,
    ) -> Result<Vec<u8>, Status> {
        call_with(&self.t, &method.policy.path, &[("x-api-key", key)], request.encode_to_vec()).await
    }
}

/// A key of the person's in an organisation.
async fn key(party: &Party, organization_id: &str, scopes: &[KeyScope]) -> String {
    made(party, organization_id, scopes).await.key
}

async fn made(party: &Party, organization_id: &str, scopes: &[KeyScope]) -> auth::CreateApiKeyResponse {
    let request = auth::CreateApiKeyRequest {
        organization_id: organization_id.to_owned(),
        name: "Test".to_owned(),
        scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        ..Default::default()
    };
    party.person.api_keys().create_api_key(request).await.unwrap().into_inner()
}

on_both! {
    async fn a_key_calls_what_declares_its_scope_and_nothing_else(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let mut party = Party::start(&scene.t, "ada").await;
        let all = made(&party, &party.organization_id, &KeyScope::ALL).await;
        // A call names the streams that were opened with the same key.
        party.connect(&scene.t, all.api_key.unwrap().id.parse().unwrap()).await;
        let (home, all) = (&party.organization_id, all.key);
        let mut called = 0;
        for (method, request) in contract.requests(&party) {
            let path = &*method.policy.path;
            let Some(wanted) = method.policy.api_key_scope else {
                if method.policy.access != Access::Public {
                    let (_, reason) = refusal(path, scene.call_as_program(method, &all, &request).await);
                    assert_eq!(reason.name, "API_KEY_NOT_ACCEPTED", "{path}");
                }
                continue;
            };
            // In the organisation that the request names, and in the one that an empty field stands for.
            let answer = scene.call_as_program(method, &all, &request).await;
            assert!(answer.is_ok(), "{path}: {answer:?}");
            called += 1;
            let others: Vec<KeyScope> = KeyScope::ALL.into_iter().filter(|has| !has.covers(wanted)).collect();
            let other = key(&party, home, &others).await;
            let (status, reason) = refusal(path, scene.call_as_program(method, &other, &request).await);
            assert_eq!(reason.name, "API_KEY_SCOPE", "{path}");
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().metadata["scope"], wanted.as_str(), "{path}");
        }
        assert!(called > 10, "only {called} methods take a key");
    }

    async fn another_organisation_does_not_exist_for_a_key_of_its_owner(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let party = Party::start(&scene.t, "ada").await;
        // Ada owns both; the requests name things of the first, and the key is the second's.
        let other = key(&party, &party.team_id, &KeyScope::ALL).await;
        let mut asked = 0;
        for (method, request) in contract.requests(&party) {
            if method.policy.api_key_scope.is_none() {
                continue;
            }
            let ids: Vec<_> =
                contract.ids(&request).into_iter().filter(|leaf| !SHARED.contains(&leaf.path.as_str())).collect();
            for leaf in &ids {
                // Only this one field is of the other organisation: no other is to be what is refused.
                let mut request = request.clone();
                for rest in ids.iter().filter(|rest| rest.path != leaf.path) {
                    let own = if rest.path == "organization_id" { party.team_id.clone() } else { unknown_id() };
                    request = rest.set(&request, Value::String(own));
                }
                let what = method.what(leaf);
                let (status, reason) = refusal(&what, scene.call_as_program(method, &other, &request).await);
                assert_eq!((status.code(), reason.name), (Code::NotFound, "NOT_FOUND"), "{what}");
                let nothing = leaf.set(&request, Value::String(unknown_id()));
                let (of_none, _) = refusal(&what, scene.call_as_program(method, &other, &nothing).await);
                assert_eq!(told(&status), told(&of_none), "{what} tells that it is there");
                asked += 1;
            }
        }
        assert!(asked > 10, "only {asked} fields name what belongs to somebody");
    }

    async fn no_method_takes_two_credentials_or_half_of_one(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let party = Party::start(&scene.t, "ada").await;
        let good = key(&party, &party.organization_id, &KeyScope::ALL).await;
        let bearer = format!("Bearer {}", party.person.token);
        let other_kind = good.replace("cape_test_", "cape_live_");
        let slip = good.replace(&good[good.len() - 1..], "x");
        for (method, request) in contract.requests(&party) {
            let path = &*method.policy.path;
            let both = [("x-api-key", good.as_str()), ("authorization", bearer.as_str())];
            let outcome = call_with(&scene.t, path, &both, request.encode_to_vec()).await;
            assert_eq!(refusal(path, outcome).1.name, "TWO_CREDENTIALS", "{path}");
            if method.policy.access == Access::Public {
                continue;
            }
            for (malformed, says) in [
                ("", "API_KEY_INVALID"),
                ("cape_test_", "API_KEY_INVALID"),
                (NO_ID, "API_KEY_INVALID"),
                (slip.as_str(), "API_KEY_INVALID"),
                (other_kind.as_str(), "API_KEY_KIND"),
            ] {
                let (_, reason) = refusal(path, scene.call_as_program(method, malformed, &request).await);
                assert_eq!(reason.name, says, "{path} with {malformed}");
            }
        }
    }
}
