//! What each role in an organisation may call is what the policies declare, no more and no less.

use capecontrol::auth::OrganizationRole;
use capecontrol::rpc::policy::Access;
use tonic::Code;

use super::contract::Contract;
use super::party::Party;
use super::requests::REQUESTS;
use super::scene::Scene;

/// What an administrator may not do although an owner may.
const OWNERS_ONLY: &[&str] = &["/capecontrol.auth.v1.OrganizationService/DeleteOrganization"];

/// From the least on: what one call ends, the next may still want.
const ROLES: [OrganizationRole; 4] =
    [OrganizationRole::Member, OrganizationRole::Billing, OrganizationRole::Admin, OrganizationRole::Owner];

fn may_call(role: OrganizationRole, path: &str, access: Access) -> bool {
    match (access, role) {
        (_, OrganizationRole::Owner) => true,
        (Access::OrganizationOwner, OrganizationRole::Admin) => !OWNERS_ONLY.contains(&path),
        (Access::OrganizationOwner, _) | (Access::OrganizationBilling, OrganizationRole::Member) => false,
        _ => true,
    }
}

#[tokio::test]
async fn a_role_may_call_what_the_policies_declare_for_it() {
    let (contract, scene) = (Contract::read(), Scene::start().await);
    let mut people = Vec::new();
    for role in ROLES {
        people.push((role, scene.t.register(&format!("{}@example.com", role.as_str())).await));
    }
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for (number, (path, make)) in REQUESTS.iter().enumerate() {
        let method = contract.methods.iter().find(|method| &*method.policy.path == *path).unwrap();
        let access = method.policy.access;
        if !matches!(access, Access::Account | Access::OrganizationOwner | Access::OrganizationBilling) {
            continue;
        }
        let party = Party::start(&scene.t, &format!("ada{number}")).await;
        for (role, person) in &people {
            scene.join_as(person, party.person.organization_id, *role).await;
            scene.join_as(person, party.team_id.parse().unwrap(), *role).await;
        }
        for (role, person) in &people {
            let outcome = scene.call(method, Some(&person.token), &method.request(&make(&party))).await;
            let denied = outcome.is_err_and(|status| status.code() == Code::PermissionDenied);
            refused += usize::from(denied);
            if denied == may_call(*role, path, access) {
                wrong.push(format!("{path} as {}: denied: {denied}", role.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > 30, "only {refused} calls were refused");
}
