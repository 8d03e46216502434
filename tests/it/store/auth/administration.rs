//! Administrators at work, at once and against each other: who keeps the platform, and who is kept out.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::model::Registration;
use capecontrol::auth::service::{CreateAdministrator, Created, Filter, Invite, Register};
use capecontrol::auth::{self, Caller, Error, Role, Service};
use capecontrol::base::{AccountId, Fault as _, Secret, SessionId};
use capecontrol::db::{Conn as _, Scope};

use super::{
    PASSWORD, authenticated, caller, count, login, nobody, nobody_static, node, options, registration,
    request_key, signed_in, subjects,
};
use crate::support::{Fixture, on_both};

fn operator() -> Caller {
    Caller::system("test")
}

/// Another administrator, signed in.
async fn administrator(service: &Service, email: &str) -> Caller {
    let password = Some(Secret::new(PASSWORD.to_owned()));
    let command = CreateAdministrator { email: email.to_owned(), password };
    let made = service.create_administrator(&operator(), command, |_| Ok(())).await.unwrap();
    assert!(matches!(made, Created::Now(_)));
    let issued = service.login(&nobody(), login(email, PASSWORD), None).await.unwrap();
    authenticated(service, &issued).await.unwrap()
}

async fn verify(t: &Fixture, id: AccountId) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let update = tx.shared_sql("UPDATE accounts SET email_verified_at = $1 WHERE id = $2");
    update.bind(t.world.now()).bind(id).execute().await.unwrap();
    tx.commit().await.unwrap();
}

const ADMINISTRATORS: &str = "SELECT CAST(count(*) AS bigint) FROM accounts
    WHERE role = 'admin' AND suspended_at IS NULL";

fn reason(error: &Error) -> &'static str {
    error.reason().name
}

on_both! {
    async fn a_suspended_account_is_out_everywhere_and_comes_back(t: Fixture) {
        let (here, there) = (node(&t, options()).await, node(&t, options()).await);
        let root = administrator(&here, "root@example.com").await;
        let logged = "SELECT CAST(count(*) AS bigint) FROM audit_events
            WHERE action = 'auth.create_administrator'";
        assert_eq!(count(&t, logged).await, 1);
        let issued = signed_in(&here, "ada@example.com").await;
        let ada = authenticated(&there, &issued).await.unwrap();
        let id = ada.account().unwrap();
        let key = request_key(1, 1);
        let done = here.suspend_account(&root, id, "a stolen card", Some(&key)).await.unwrap();
        assert_eq!(done.suspension.as_ref().unwrap().reason, "a stolen card");
        assert!(here.suspend_account(&root, id, "a stolen card", Some(&key)).await.unwrap() == done);
        // On this node at once, on the other when its memory is too old.
        assert!(matches!(authenticated(&here, &issued).await, Err(Error::SessionRevoked)));
        assert_eq!(there.ended_among([ada.session.unwrap()].into()).await.unwrap().len(), 1);
        assert!(matches!(authenticated(&there, &issued).await, Err(Error::SessionRevoked)));
        let refreshed = there.refresh(&nobody(), &issued.refresh_token, None).await;
        assert!(matches!(refreshed, Err(Error::SessionRevoked)));
        // Told to whoever knows the password, and to nobody else.
        let wrong = here.login(&nobody(), login("ada@example.com", "a wrong one!"), None).await.unwrap_err();
        let unknown = here.login(&nobody(), login("eve@example.com", "a wrong one!"), None).await.unwrap_err();
        assert_eq!((wrong.to_string(), reason(&wrong)), (unknown.to_string(), reason(&unknown)));
        let right = here.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap_err();
        assert_eq!(reason(&right), "ACCOUNT_SUSPENDED");
        // Nothing acts for it, and nobody gets a token for it.
        assert!(here.on_behalf_of(id, "r".to_owned()).await.is_err());
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        assert!(!auth::access::account_stands(&mut conn, id).await.unwrap());
        drop(conn);
        let token = here.issue_token(&operator(), "ada@example.com", "test", Duration::from_secs(60)).await;
        assert!(matches!(token, Err(Error::AccountSuspended)));
        // A second suspension changes nothing, not even the reason.
        t.clock.advance(Duration::from_secs(1));
        assert!(here.suspend_account(&root, id, "another reason", None).await.unwrap() == done);

        let back = here.reinstate_account(&root, id, None).await.unwrap();
        assert!(back.suspension.is_none());
        assert!(matches!(authenticated(&here, &issued).await, Err(Error::SessionRevoked)));
        let issued = here.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
        authenticated(&here, &issued).await.unwrap();
        here.on_behalf_of(id, "r".to_owned()).await.unwrap();
        let logged = "SELECT CAST(count(*) AS bigint) FROM audit_events
            WHERE action IN ('auth.suspend_account', 'auth.reinstate_account')";
        assert_eq!(count(&t, logged).await, 3);
    }

    async fn sign_ins_that_race_a_suspension_leave_no_session(t: Fixture) {
        let service = node(&t, options()).await;
        let id = signed_in(&service, "ada@example.com").await.account.id;
        let enter = || service.login(nobody_static(), login("ada@example.com", PASSWORD), None);
        let operator = operator();
        let many = futures_util::future::join_all((0..6).map(|_| enter()));
        let (_, suspended) =
            futures_util::future::join(many, service.suspend_account(&operator, id, "now", None)).await;
        suspended.unwrap();
        let standing = "SELECT CAST(count(*) AS bigint) FROM sessions WHERE ended_at IS NULL";
        assert_eq!(count(&t, standing).await, 0);
    }

    async fn two_administrators_who_take_each_others_role_leave_one(t: Fixture) {
        let service = node(&t, options()).await;
        for round in 0..6 {
            let ada = administrator(&service, &format!("ada{round}@example.com")).await;
            let eve = administrator(&service, &format!("eve{round}@example.com")).await;
            let (of_ada, of_eve) = (ada.account().unwrap(), eve.account().unwrap());
            let (one, two) = if round % 2 == 0 {
                futures_util::future::join(
                    service.set_account_role(&ada, of_eve, Role::Customer, None),
                    service.set_account_role(&eve, of_ada, Role::Customer, None),
                )
                .await
            } else {
                futures_util::future::join(
                    service.suspend_account(&ada, of_eve, "mine", None),
                    service.suspend_account(&eve, of_ada, "mine", None),
                )
                .await
            };
            let refused = [one.err(), two.err()];
            let refused: Vec<_> = refused.iter().flatten().map(reason).collect();
            assert_eq!(refused, ["PERMISSION_DENIED"], "round {round}");
            assert_eq!(count(&t, ADMINISTRATORS).await, round + 1);
        }
    }

    async fn nobody_changes_their_own_role_and_the_last_administrator_stays(t: Fixture) {
        let service = node(&t, options()).await;
        let root = administrator(&service, "root@example.com").await;
        let own = root.account().unwrap();
        for refused in [
            service.set_account_role(&root, own, Role::Customer, None).await.err().unwrap(),
            service.suspend_account(&root, own, "a slip", None).await.err().unwrap(),
        ] {
            assert_eq!(reason(&refused), "OWN_ACCOUNT");
        }
        for refused in [
            service.set_account_role(&operator(), own, Role::Developer, None).await.err().unwrap(),
            service.suspend_account(&operator(), own, "a slip", None).await.err().unwrap(),
        ] {
            assert_eq!(reason(&refused), "LAST_ADMINISTRATOR");
        }
        assert_eq!(count(&t, ADMINISTRATORS).await, 1);
        let nowhere = service.set_account_role(&root, t.world.id(), Role::Developer, None).await.err().unwrap();
        assert_eq!(reason(&nowhere), "NOT_FOUND");
    }

    async fn a_role_counts_within_seconds_on_every_node(t: Fixture) {
        let (here, there) = (node(&t, options()).await, node(&t, options()).await);
        let root = administrator(&here, "root@example.com").await;
        let issued = signed_in(&here, "ada@example.com").await;
        let id = issued.account.id;
        assert!(!authenticated(&there, &issued).await.unwrap().is_developer());
        here.set_account_role(&root, id, Role::Developer, None).await.unwrap();
        assert!(authenticated(&here, &issued).await.unwrap().is_developer());
        t.clock.advance(Duration::from_secs(3));
        assert!(authenticated(&there, &issued).await.unwrap().is_developer());
        // Whose address it is must be proved before they are given the platform.
        let refused = here.set_account_role(&root, id, Role::Admin, None).await.err().unwrap();
        assert_eq!(reason(&refused), "ADDRESS_NOT_VERIFIED");
        verify(&t, id).await;
        let before = here.account(&authenticated(&here, &issued).await.unwrap()).await.unwrap().etag();
        let made = here.set_account_role(&root, id, Role::Admin, None).await.unwrap();
        assert_eq!((made.account.role, made.account.etag() == before), (Role::Admin, false));
        let ada = authenticated(&here, &issued).await.unwrap();
        assert!(ada.is_admin());
        // An administrator no longer, who still holds a token on a node that has not heard of it.
        here.set_account_role(&root, id, Role::Customer, None).await.unwrap();
        let refused = there.set_account_role(&ada, root.account().unwrap(), Role::Customer, None).await;
        assert_eq!(reason(&refused.err().unwrap()), "PERMISSION_DENIED");
    }

    async fn customers_and_developers_administer_nothing(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, "ada@example.com").await;
        let id = ada.account().unwrap();
        service.set_account_role(&operator(), id, Role::Developer, None).await.unwrap();
        let agent = service.on_behalf_of(id, "r".to_owned()).await.unwrap();
        for who in [&ada, &agent, &nobody()] {
            let refusals = [
                service.list_accounts(who, &Filter::default(), None, 10).await.err(),
                service.administered_account(who, id).await.err(),
                service.suspend_account(who, id, "x", None).await.err(),
                service.reinstate_account(who, id, None).await.err(),
                service.set_account_role(who, id, Role::Admin, None).await.err(),
                service.create_invitation(who, Invite { email: None, hours: None }, None).await.err(),
            ];
            for refusal in refusals {
                assert_eq!(reason(&refusal.unwrap()), "PERMISSION_DENIED");
            }
        }
    }

    async fn accounts_are_found(t: Fixture) {
        let service = node(&t, options()).await;
        for name in ["ada", "adam", "bob", "eve"] {
            t.clock.advance(Duration::from_secs(10));
            signed_in(&service, &format!("{name}@example.com")).await;
        }
        let id = service.account_by_email(&operator(), "Eve@example.com").await.unwrap();
        service.suspend_account(&operator(), id, "x", None).await.unwrap();
        let names = async |filter: Filter, after: Option<&str>, limit: i64| {
            let listed = service.list_accounts(&operator(), &filter, after.map(str::to_owned), limit).await.unwrap();
            let name = |it: &str| it.split('@').next().unwrap().to_owned();
            listed.iter().map(|it| name(it.account.email.as_str())).collect::<Vec<_>>()
        };
        let all = Filter::default;
        assert_eq!(names(all(), None, 10).await, ["ada", "adam", "bob", "eve"]);
        assert_eq!(names(all(), None, 2).await, ["ada", "adam"]);
        assert_eq!(names(all(), Some("adam@example.com"), 2).await, ["bob", "eve"]);
        assert_eq!(names(Filter { prefix: "ADA".to_owned(), ..all() }, None, 10).await, ["ada", "adam"]);
        assert_eq!(names(Filter { prefix: "ada@".to_owned(), ..all() }, None, 10).await, ["ada"]);
        assert_eq!(names(Filter { suspended: Some(true), ..all() }, None, 10).await, ["eve"]);
        assert_eq!(names(Filter { suspended: Some(false), ..all() }, None, 10).await, ["ada", "adam", "bob"]);
        assert!(names(Filter { role: Some(Role::Admin), ..all() }, None, 10).await.is_empty());
        let (from, until) = (crate::support::START.plus(Duration::from_secs(20)), t.world.now());
        assert_eq!(names(Filter { from: Some(from), until: Some(until), ..all() }, None, 10).await, ["adam", "bob"]);
        let told = service.administered_account(&operator(), id).await.unwrap();
        assert_eq!((told.sessions.len(), told.memberships.len()), (0, 1));
    }

    async fn while_registration_is_closed_an_invitation_lets_one_in(t: Fixture) {
        let closed = auth::Options { registration: Registration::Invited, ..options() };
        let service = node(&t, closed).await;
        let invite = async |email: Option<&str>, hours: Option<u32>| {
            let invite = Invite { email: email.map(str::to_owned), hours };
            service.create_invitation(&operator(), invite, None).await.unwrap().token
        };
        let register = async |email: &str, token: Option<&Secret<String>>| {
            let invitation = token.cloned();
            let outcome = service.register(&nobody(), Register { invitation, ..registration(email) }, None).await;
            outcome.map_err(|error| reason(&error))
        };
        let (open, bound) = (invite(None, None).await, invite(Some("Ada@example.com"), Some(1)).await);
        assert_eq!(subjects(&t).await, ["You are invited to Cape Control"]);
        let work = service.hashing_rounds();
        assert_eq!(register("ada@example.com", None).await, Err("INVITATION_REQUIRED"));
        for wrong in [Secret::new("invented".to_owned()), Secret::new("x".repeat(9_999)), bound.clone()] {
            assert_eq!(register("eve@example.com", Some(&wrong)).await, Err("INVITATION_INVALID"));
        }
        // What cannot be carried out costs no hash.
        assert_eq!(service.hashing_rounds(), work);
        assert_eq!(register("ada@example.com", Some(&bound)).await, Ok(()));
        assert_eq!(register("ada@example.com", Some(&bound)).await, Err("INVITATION_INVALID"));
        service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
        // Whether an address is known makes no difference, not even to the invitation.
        assert_eq!(register("ada@example.com", None).await, Err("INVITATION_REQUIRED"));
        assert_eq!(register("ada@example.com", Some(&open)).await, Ok(()));
        assert_eq!(register("bob@example.com", Some(&open)).await, Err("INVITATION_INVALID"));
        let late = invite(None, Some(1)).await;
        t.clock.advance(Duration::from_hours(1));
        assert_eq!(register("bob@example.com", Some(&late)).await, Err("INVITATION_INVALID"));
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 1);
        // A repetition of the call that was answered is answered again, and uses up nothing.
        let (token, key) = (invite(None, None).await, request_key(4, 4));
        for _ in 0..2 {
            let register = Register { invitation: Some(token.clone()), ..registration("bob@example.com") };
            service.register(&nobody(), register, Some(&key)).await.unwrap();
        }
    }

    async fn of_many_who_use_one_invitation_at_once_one_gets_in(t: Fixture) {
        let service = node(&t, auth::Options { registration: Registration::Invited, ..options() }).await;
        let invited = service.create_invitation(&operator(), Invite { email: None, hours: None }, None).await;
        let token = invited.unwrap().token;
        let many = (0..6).map(|number| {
            let (service, token) = (Arc::clone(&service), token.clone());
            async move {
                let email = format!("ada{number}@example.com");
                service.register(&nobody(), Register { invitation: Some(token), ..registration(&email) }, None).await
            }
        });
        let outcomes = futures_util::future::join_all(many).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 1);
    }

    async fn ones_own_sessions_are_listed_and_ended(t: Fixture) {
        let service = node(&t, options()).await;
        let (ada, eve) = (caller(&service, "ada@example.com").await, caller(&service, "eve@example.com").await);
        let mut others = Vec::new();
        for _ in 0..3 {
            t.clock.advance(Duration::from_secs(1));
            let issued = service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
            others.push(authenticated(&service, &issued).await.unwrap());
        }
        let ids = async |before: Option<SessionId>, limit: i64| {
            let listed = service.sessions(&ada, before, limit).await.unwrap();
            listed.iter().map(|session| session.id).collect::<Vec<_>>()
        };
        let all: Vec<_> = others.iter().rev().chain([&ada]).map(|who| who.session.unwrap()).collect();
        assert_eq!(ids(None, 10).await, all);
        assert_eq!([ids(None, 2).await, ids(Some(all[1]), 2).await].concat(), all);
        // Somebody else's session and one that never was get the same answer.
        let foreign = service.revoke_session(&eve, all[0], None).await.unwrap_err();
        let missing = service.revoke_session(&eve, t.world.id(), None).await.unwrap_err();
        assert_eq!((foreign.to_string(), reason(&foreign)), (missing.to_string(), reason(&missing)));
        assert_eq!(reason(&foreign), "NOT_FOUND");
        service.revoke_session(&ada, all[0], None).await.unwrap();
        assert_eq!(reason(&service.revoke_session(&ada, all[0], None).await.unwrap_err()), "NOT_FOUND");
        assert_eq!(ids(None, 10).await, all[1..]);
        let key = request_key(2, 2);
        for _ in 0..2 {
            assert_eq!(service.revoke_other_sessions(&ada, Some(&key)).await.unwrap(), 2);
        }
        assert_eq!(ids(None, 10).await, [ada.session.unwrap()]);
        assert_eq!(service.sessions(&eve, None, 10).await.unwrap().len(), 1);
    }

    async fn the_last_use_is_written_down_once_in_a_minute(t: Fixture) {
        let service = node(&t, options()).await;
        let issued = signed_in(&service, "ada@example.com").await;
        let ada = authenticated(&service, &issued).await.unwrap();
        let used = async || service.sessions(&ada, None, 1).await.unwrap()[0].used_at.since(crate::support::START);
        let mut written = std::collections::BTreeSet::new();
        for _ in 0..60 {
            t.clock.advance(Duration::from_secs(5));
            authenticated(&service, &issued).await.unwrap();
            service.upkeep().await.unwrap();
            written.insert(used().await);
        }
        // Five minutes of use: five writes at most, and never more than a minute behind.
        assert!(written.len() <= 6, "{written:?}");
        assert!(used().await + Duration::from_secs(60) >= Duration::from_secs(300), "{written:?}");
    }

    async fn sessions_that_ended_are_deleted_after_thirty_days(t: Fixture) {
        const DAY: Duration = Duration::from_hours(24);
        let service = node(&t, options()).await;
        let issued = signed_in(&service, "ada@example.com").await;
        service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
        service.logout(&nobody(), &issued.refresh_token, None).await.unwrap();
        let rows = "SELECT CAST(count(*) AS bigint) FROM refresh_tokens";
        t.clock.advance(Duration::from_secs(30 * 24 * 3_600 - 1));
        assert_eq!((service.prune(10).await.unwrap(), count(&t, rows).await), (0, 2));
        t.clock.advance(Duration::from_secs(1));
        // The other one expired today, and is kept for as long.
        assert_eq!((service.prune(10).await.unwrap(), count(&t, rows).await), (1, 1));
        t.clock.advance(DAY * 30);
        assert_eq!((service.prune(10).await.unwrap(), count(&t, rows).await), (1, 0));
        let gone = service.refresh(&nobody(), &issued.refresh_token, None).await;
        assert!(matches!(gone, Err(Error::RefreshTokenInvalid)), "{gone:?}");
    }
}
