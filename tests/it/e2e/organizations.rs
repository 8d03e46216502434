//! Organisations over a real socket: joining by a letter, roles, leaving, closing.

use std::collections::BTreeSet;
use std::time::Duration;

use capecontrol::proto::capecontrol::auth::v1::{
    AcceptInvitationRequest, CreateOrganizationRequest, DeleteOrganizationRequest, GetOrganizationRequest,
    InviteMemberRequest, InviteMemberResponse, ListInvitationsRequest, ListMembersRequest,
    ListOrganizationsRequest, Member, Organization, OrganizationRole, RemoveMemberRequest,
    RevokeInvitationRequest, UpdateMemberRoleRequest, UpdateOrganizationRequest,
};
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{App, Person, on_both};

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, reason: &str) {
    let status = outcome.unwrap_err();
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason), "{status:?}");
}

async fn founded(person: &Person) -> Organization {
    let request = CreateOrganizationRequest { name: "Engines".to_owned(), ..Default::default() };
    let made = person.organizations().create_organization(request).await.unwrap();
    made.into_inner().organization.unwrap()
}

async fn invite(
    person: &Person,
    team: &Organization,
    email: &str,
    role: OrganizationRole,
) -> Result<InviteMemberResponse, Status> {
    let request = InviteMemberRequest {
        organization_id: team.id.clone(),
        email: email.to_owned(),
        role: role.into(),
        ..Default::default()
    };
    person.organizations().invite_member(request).await.map(tonic::Response::into_inner)
}

async fn accept(person: &Person, token: &str) -> Result<Organization, Status> {
    let request = AcceptInvitationRequest { token: token.to_owned(), ..Default::default() };
    let answer = person.organizations().accept_invitation(request).await?;
    Ok(answer.into_inner().organization.unwrap())
}

async fn set_role(
    person: &Person,
    team: &Organization,
    member: &Person,
    role: OrganizationRole,
) -> Result<Member, Status> {
    let request = UpdateMemberRoleRequest {
        organization_id: team.id.clone(),
        account_id: member.account_id.to_string(),
        role: role.into(),
        ..Default::default()
    };
    let answer = person.organizations().update_member_role(request).await?;
    Ok(answer.into_inner().member.unwrap())
}

async fn remove(person: &Person, team: &Organization, member: &Person) -> Result<(), Status> {
    let (organization_id, account_id) = (team.id.clone(), member.account_id.to_string());
    let request = RemoveMemberRequest { organization_id, account_id, ..Default::default() };
    person.organizations().remove_member(request).await.map(|_| ())
}

async fn close(person: &Person, team: &Organization) -> Result<(), Status> {
    let request = DeleteOrganizationRequest { organization_id: team.id.clone(), ..Default::default() };
    person.organizations().delete_organization(request).await.map(|_| ())
}

async fn members(person: &Person, team: &Organization) -> Result<Vec<Member>, Status> {
    let request = ListMembersRequest { organization_id: team.id.clone(), ..Default::default() };
    Ok(person.organizations().list_members(request).await?.into_inner().members)
}

/// The tokens of the invitations in the letters that were sent to an address. Lines that were broken for mail are
/// joined again.
async fn tokens(t: &App, email: &str) -> BTreeSet<String> {
    t.run_jobs().await;
    let mut found = BTreeSet::new();
    for letter in t.letters() {
        let letter = letter.replace("=\r\n", "").replace("=3D", "=");
        if letter.contains(&format!("To: {email}")) {
            let tokens = letter.split("/accept-invitation#token=").skip(1);
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            found.extend(tokens.map(|rest| rest.chars().take_while(|c| plain(*c)).collect::<String>()));
        }
    }
    found
}

async fn token(t: &App, email: &str) -> String {
    let tokens = tokens(t, email).await;
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    tokens.into_iter().next().unwrap()
}

/// Lets somebody join by a letter.
async fn joined(t: &App, owner: &Person, team: &Organization, name: &str, role: OrganizationRole) -> Person {
    let person = t.register(&format!("{name}@example.com")).await;
    invite(owner, team, &person.email, role).await.unwrap();
    accept(&person, &token(t, &person.email).await).await.unwrap();
    person
}

on_both! {
    async fn somebody_joins_by_a_letter_that_is_good_once(t: App) {
        let (ada, bob) = (t.register("ada@example.com").await, t.register("bob@example.com").await);
        let eve = t.register("eve@example.com").await;
        let team = founded(&ada).await;
        assert!(!team.personal && team.role() == OrganizationRole::Owner);
        let sent = invite(&ada, &team, "Bob@Example.com", OrganizationRole::Admin).await.unwrap();
        let letter = token(&t, "bob@example.com").await;
        // Nobody else may use it, and nobody else learns what it is for.
        assert_refused(accept(&eve, &letter).await, Code::FailedPrecondition, "INVITATION_INVALID");
        assert_refused(accept(&eve, "invented").await, Code::FailedPrecondition, "INVITATION_INVALID");
        let joined = accept(&bob, &letter).await.unwrap();
        assert_eq!((joined.id.as_str(), joined.role()), (team.id.as_str(), OrganizationRole::Admin));
        assert_refused(accept(&bob, &letter).await, Code::FailedPrecondition, "INVITATION_INVALID");
        assert_refused(
            invite(&ada, &team, "bob@example.com", OrganizationRole::Member).await,
            Code::AlreadyExists,
            "ALREADY_A_MEMBER",
        );
        let listed = members(&bob, &team).await.unwrap();
        let mut roles: Vec<_> = listed.into_iter().map(|m| (m.email.clone(), m.role())).collect();
        roles.sort();
        assert_eq!(
            roles,
            [
                ("ada@example.com".to_owned(), OrganizationRole::Owner),
                ("bob@example.com".to_owned(), OrganizationRole::Admin)
            ]
        );
        assert_refused(members(&eve, &team).await, Code::NotFound, "NOT_FOUND");
        assert_eq!(sent.invitation.unwrap().email, "bob@example.com");
    }

    async fn an_invitation_tells_nothing_of_an_account(t: App) {
        let ada = t.register("ada@example.com").await;
        t.register("known@example.com").await;
        let team = founded(&ada).await;
        let mut answers = Vec::new();
        for email in ["known@example.com", "nobody@example.com"] {
            let mut sent =
                invite(&ada, &team, email, OrganizationRole::Member).await.unwrap().invitation.unwrap();
            (sent.id, sent.email) = (String::new(), String::new());
            answers.push(sent);
            assert_eq!(tokens(&t, email).await.len(), 1, "{email}");
        }
        assert_eq!(answers[0], answers[1]);
        // Whoever registers afterwards can use it.
        let late = t.register("nobody@example.com").await;
        assert_eq!(accept(&late, &token(&t, "nobody@example.com").await).await.unwrap().id, team.id);
    }

    async fn an_invitation_ends_by_time_by_another_and_by_hand(t: App) {
        let (ada, bob) = (t.register("ada@example.com").await, t.register("bob@example.com").await);
        let team = founded(&ada).await;
        invite(&ada, &team, "bob@example.com", OrganizationRole::Member).await.unwrap();
        let first = token(&t, "bob@example.com").await;
        let again = invite(&ada, &team, "bob@example.com", OrganizationRole::Member).await.unwrap();
        let second: Vec<_> =
            tokens(&t, "bob@example.com").await.into_iter().filter(|token| *token != first).collect();
        assert_refused(accept(&bob, &first).await, Code::FailedPrecondition, "INVITATION_INVALID");
        let open = async || {
            let request = ListInvitationsRequest { organization_id: team.id.clone(), ..Default::default() };
            ada.organizations().list_invitations(request).await.unwrap().into_inner().invitations
        };
        assert_eq!(open().await, [again.invitation.clone().unwrap()]);
        let revoke = || RevokeInvitationRequest {
            invitation_id: again.invitation.clone().unwrap().id,
            ..Default::default()
        };
        for _ in 0..2 {
            ada.organizations().revoke_invitation(revoke()).await.unwrap();
        }
        assert_refused(accept(&bob, &second[0]).await, Code::FailedPrecondition, "INVITATION_INVALID");
        assert!(open().await.is_empty());

        let mut before = tokens(&t, "bob@example.com").await;
        invite(&ada, &team, "bob@example.com", OrganizationRole::Member).await.unwrap();
        before = &tokens(&t, "bob@example.com").await - &before;
        t.advance(Duration::from_hours(7 * 24));
        let bob = t.refresh(&bob).await;
        let late = before.into_iter().next().unwrap();
        assert_refused(accept(&bob, &late).await, Code::FailedPrecondition, "INVITATION_INVALID");
    }

    async fn only_owners_decide_about_owners(t: App) {
        let ada = t.register("ada@example.com").await;
        let team = founded(&ada).await;
        let admin = joined(&t, &ada, &team, "admin", OrganizationRole::Admin).await;
        let member = joined(&t, &ada, &team, "member", OrganizationRole::Member).await;
        let denied = |outcome| assert_refused::<Member>(outcome, Code::PermissionDenied, "PERMISSION_DENIED");
        denied(set_role(&admin, &team, &admin, OrganizationRole::Owner).await);
        denied(set_role(&admin, &team, &member, OrganizationRole::Owner).await);
        denied(set_role(&admin, &team, &ada, OrganizationRole::Member).await);
        denied(set_role(&member, &team, &member, OrganizationRole::Admin).await);
        assert_refused(remove(&admin, &team, &ada).await, Code::PermissionDenied, "PERMISSION_DENIED");
        assert_refused(
            invite(&admin, &team, "friend@example.com", OrganizationRole::Owner).await,
            Code::PermissionDenied,
            "PERMISSION_DENIED",
        );
        assert_refused(close(&admin, &team).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let changed = set_role(&admin, &team, &member, OrganizationRole::Billing).await.unwrap();
        assert_eq!(changed.role(), OrganizationRole::Billing);
        // The last owner stays one, whoever asks and however.
        assert_refused(
            set_role(&ada, &team, &ada, OrganizationRole::Admin).await,
            Code::FailedPrecondition,
            "LAST_OWNER",
        );
        assert_refused(remove(&ada, &team, &ada).await, Code::FailedPrecondition, "LAST_OWNER");
        set_role(&ada, &team, &admin, OrganizationRole::Owner).await.unwrap();
        remove(&admin, &team, &ada).await.unwrap();
        assert_refused(members(&ada, &team).await, Code::NotFound, "NOT_FOUND");
        assert_refused(remove(&admin, &team, &admin).await, Code::FailedPrecondition, "LAST_OWNER");
        // Everybody may leave, and to be gone is to know nothing.
        remove(&member, &team, &member).await.unwrap();
        assert_refused(members(&member, &team).await, Code::NotFound, "NOT_FOUND");
    }

    async fn of_two_owners_who_leave_at_once_one_stays(t: App) {
        let ada = t.register("ada@example.com").await;
        for round in 0..6 {
            let team = founded(&ada).await;
            let bob = joined(&t, &ada, &team, &format!("bob{round}"), OrganizationRole::Owner).await;
            let (of_ada, of_bob) = match round % 3 {
                0 => tokio::join!(remove(&ada, &team, &ada), remove(&bob, &team, &bob)),
                1 => tokio::join!(remove(&ada, &team, &bob), remove(&bob, &team, &ada)),
                _ => {
                    let down = async |who: &Person| {
                        set_role(who, &team, who, OrganizationRole::Member).await.map(|_| ())
                    };
                    tokio::join!(down(&ada), down(&bob))
                }
            };
            assert!(of_ada.is_ok() != of_bob.is_ok(), "round {round}: {of_ada:?}, {of_bob:?}");
            let seen = members(&ada, &team).await.ok();
            let left = if let Some(seen) = seen { seen } else { members(&bob, &team).await.unwrap() };
            let owners = left.iter().filter(|member| member.role() == OrganizationRole::Owner).count();
            assert_eq!(owners, 1, "round {round}");
        }
    }

    async fn a_name_is_changed_upon_the_state_that_was_read(t: App) {
        let ada = t.register("ada@example.com").await;
        let team = founded(&ada).await;
        let rename = async |name: &str, mask: &[&str], etag: &str| {
            let request = UpdateOrganizationRequest {
                organization_id: team.id.clone(),
                organization: Some(Organization {
                    name: name.to_owned(),
                    // What a caller may not set is not looked at outside the mask.
                    role: OrganizationRole::Owner.into(),
                    personal: true,
                    ..Default::default()
                }),
                update_mask: Some(FieldMask { paths: mask.iter().map(|&path| path.to_owned()).collect() }),
                etag: etag.to_owned(),
                ..Default::default()
            };
            ada.organizations().update_organization(request).await
        };
        let renamed = rename("Looms", &["name"], &team.etag).await.unwrap().into_inner().organization.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.personal), ("Looms", false));
        assert_ne!(renamed.etag, team.etag);
        assert_refused(rename("Mills", &["name"], &team.etag).await, Code::Aborted, "ETAG_MISMATCH");
        for field in ["role", "personal", "id"] {
            assert_refused(rename("Mills", &[field], "").await, Code::InvalidArgument, "INVALID_ARGUMENT");
        }
        assert_refused(rename(" ", &["name"], "").await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }

    async fn a_personal_organisation_stays_as_it_is(t: App) {
        let ada = t.register("ada@example.com").await;
        let request = GetOrganizationRequest { organization_id: ada.organization_id.to_string() };
        let own = ada.organizations().get_organization(request).await.unwrap().into_inner().organization.unwrap();
        assert_refused(close(&ada, &own).await, Code::FailedPrecondition, "PERSONAL_ORGANIZATION");
        assert_refused(
            invite(&ada, &own, "bob@example.com", OrganizationRole::Member).await,
            Code::FailedPrecondition,
            "PERSONAL_ORGANIZATION",
        );
        assert_refused(remove(&ada, &own, &ada).await, Code::FailedPrecondition, "LAST_OWNER");
    }

    async fn what_is_closed_does_not_exist_and_what_is_not_settled_is_not_closed(t: App) {
        let ada = t.register("ada@example.com").await;
        let team = founded(&ada).await;
        let bob = joined(&t, &ada, &team, "bob", OrganizationRole::Owner).await;
        invite(&ada, &team, "late@example.com", OrganizationRole::Member).await.unwrap();
        let late = t.register("late@example.com").await;
        let letter = token(&t, "late@example.com").await;
        let plan = payments::PlanItem {
            plan_id: "pro".to_owned(),
            billing_cycle: payments::BillingCycle::Monthly.into(),
        };
        let checkout = payments::CreateCheckoutRequest {
            organization_id: team.id.clone(),
            item: Some(payments::create_checkout_request::Item::Plan(plan)),
            ..Default::default()
        };
        let started = bob.payments().create_checkout(checkout).await.unwrap().into_inner();
        assert_refused(close(&ada, &team).await, Code::FailedPrecondition, "ORGANIZATION_NOT_SETTLED");
        set_invoice(&t, &started.invoice_id, "void").await;
        close(&ada, &team).await.unwrap();
        for person in [&ada, &bob] {
            assert_refused(members(person, &team).await, Code::NotFound, "NOT_FOUND");
            assert_refused(close(person, &team).await, Code::NotFound, "NOT_FOUND");
            let request = payments::GetInvoiceRequest { invoice_id: started.invoice_id.clone() };
            assert_refused(person.invoices().get_invoice(request).await, Code::NotFound, "NOT_FOUND");
            let listed = person.organizations().list_organizations(ListOrganizationsRequest::default()).await;
            assert_eq!(listed.unwrap().into_inner().organizations.len(), 1);
        }
        assert_refused(accept(&late, &letter).await, Code::FailedPrecondition, "INVITATION_INVALID");
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM invoices").await, 1);
        assert_eq!(
            count(&t, "SELECT CAST(count(*) AS bigint) FROM organizations WHERE closed_at IS NOT NULL").await,
            1
        );
    }

    async fn whoever_is_removed_hears_no_more(t: Impatient) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let team = founded(&ada).await;
        let bob = joined(&t, &ada, &team, "bob", OrganizationRole::Member).await;
        let request = chat::CreateThreadRequest { organization_id: team.id.clone(), ..Default::default() };
        let thread = bob.chat().create_thread(request).await.unwrap().into_inner().thread.unwrap();
        let cursor = chat::ThreadCursor { thread_id: thread.id.clone(), ..Default::default() };
        let request = chat::SubscribeRequest { threads: vec![cursor], ..Default::default() };
        let mut frames = bob.chat().subscribe(request).await.unwrap().into_inner();
        frames.message().await.unwrap().unwrap();
        remove(&ada, &team, &bob).await.unwrap();
        let end = loop {
            match frames.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a word"),
                Err(status) => break status,
            }
        };
        assert_eq!(end.code(), Code::NotFound);
        let request = chat::GetThreadRequest { thread_id: thread.id };
        assert_refused(bob.chat().get_thread(request).await, Code::NotFound, "NOT_FOUND");
    }
}

/// A node that looks after its streams more often than it has to, so that a test need not wait.
struct Impatient(App);

impl crate::support::Start for Impatient {
    async fn start(engine: capecontrol::db::Engine) -> Self {
        Self(App::start_with(engine, |config| config.bounds.chat.recheck = Duration::from_millis(20)).await)
    }
}

async fn set_invoice(t: &App, id: &str, status: &str) {
    use capecontrol::db::{Conn as _, Scope};
    let id: capecontrol::base::Id<()> = id.parse().unwrap();
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let update = tx.shared_sql("UPDATE invoices SET status = $1 WHERE id = $2").bind(status.to_owned());
    assert_eq!(update.bind(id).execute().await.unwrap(), 1);
    tx.commit().await.unwrap();
}

async fn count(t: &App, sql: &'static str) -> i64 {
    use capecontrol::db::{Conn as _, Scope};
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    conn.sql(sql).one::<(i64,)>().await.unwrap().0
}
