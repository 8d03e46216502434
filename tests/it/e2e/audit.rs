//! The audit log over a real socket: who may read how much of it, and what an auditor can do with an export.

use std::time::Duration;

use capecontrol::auth::service::AuditReach;
use capecontrol::auth::{Error, Origin};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::proto::capecontrol::auth::v1 as wire;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use wire::export_audit_events_response::Part;

use super::payments::{checkout, press};
use crate::support::{App, Person, Start as _, on_both};

const PLATFORM: &str = "-";

async fn list(person: &Person, organization: &str, prefix: &str) -> Result<Vec<wire::AuditEvent>, Status> {
    let request = wire::ListAuditEventsRequest {
        organization_id: organization.to_owned(),
        action_prefix: prefix.to_owned(),
        ..Default::default()
    };
    person.audit().list_audit_events(request).await.map(|answer| answer.into_inner().audit_events)
}

async fn export(person: &Person, organization: &str, after_position: i64) -> Vec<Part> {
    let request = wire::ExportAuditEventsRequest { organization_id: organization.to_owned(), after_position };
    let mut stream = person.audit().export_audit_events(request).await.unwrap().into_inner();
    let mut parts = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        parts.push(message.part.unwrap());
    }
    parts
}

async fn verify(person: &Person, organization: &str) -> wire::VerifyAuditLogResponse {
    let request =
        wire::VerifyAuditLogRequest { organization_id: organization.to_owned(), ..Default::default() };
    person.audit().verify_audit_log(request).await.unwrap().into_inner()
}

fn actions(events: &[wire::AuditEvent]) -> Vec<&str> {
    let mut actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    actions.sort_unstable();
    actions
}

async fn fail_to_sign_in(t: &App, email: &str) {
    let request = wire::LoginRequest {
        email: email.to_owned(),
        password: "not the password".to_owned(),
        ..Default::default()
    };
    let refused = AuthServiceClient::new(t.channel()).login(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

on_both! {
    async fn an_owner_reads_what_concerns_the_organisation(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let profile = wire::Account { display_name: "Ada L.".to_owned(), ..Default::default() };
        let change = wire::UpdateAccountRequest { account: Some(profile), ..Default::default() };
        ada.account().update_account(change).await.unwrap();
        let hers = list(&ada, "", "").await.unwrap();
        assert_eq!(actions(&hers), ["auth.login", "auth.register", "auth.update_account"]);
        assert_eq!(actions(&list(&ada, "", "auth.l").await.unwrap()), ["auth.login"]);
        let change = hers.iter().find(|event| event.action == "auth.update_account").unwrap();
        assert_eq!(change.actor_id, ada.account_id.to_string());
        assert_eq!(change.actor_kind(), wire::AuditActorKind::Account);
        assert_eq!((change.outcome(), change.risk()), (wire::AuditOutcome::Done, wire::AuditRisk::Low));
        assert_eq!(change.subject_id, ada.account_id.to_string());
        assert!(change.before_digest.len() == 32 && change.before_digest != change.after_digest);
        assert_eq!(change.address, "127.0.0.1");
        assert!(!change.session_id.is_empty() && !change.request_id.is_empty() && change.position == 0);
        t.seal().await;
        let sealed = list(&ada, "", "auth.update").await.unwrap();
        assert!(sealed[0].position > 0 && sealed[0].hash.len() == 32);
        // Others' organisations do not exist, and the whole is for those who run the platform.
        let foreign = list(&eve, &ada.organization_id.to_string(), "").await.unwrap_err();
        assert_eq!(foreign.code(), Code::NotFound);
        assert_eq!(list(&eve, PLATFORM, "").await.unwrap_err().code(), Code::PermissionDenied);
        let admin = t.admin().await;
        assert!(list(&admin, PLATFORM, "").await.unwrap().len() > hers.len() * 2);
    }

    async fn pages_and_filters_lead_through_the_log(t: App) {
        let ada = t.register("ada@example.com").await;
        for _ in 0..5 {
            t.advance(Duration::from_secs(60));
            t.sign_in(&ada.email, crate::support::app::PASSWORD).await;
        }
        let action_prefix = "auth.login".to_owned();
        let ask = wire::ListAuditEventsRequest { action_prefix, page_size: 2, ..Default::default() };
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let request = wire::ListAuditEventsRequest { page_token: token, ..ask.clone() };
            let page = ada.audit().list_audit_events(request).await.unwrap().into_inner();
            found.extend(page.audit_events);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let times: Vec<i64> = found.iter().map(|event| event.create_time.unwrap().seconds).collect();
        assert!(times.len() == 6 && times.is_sorted_by(|one, next| one > next), "{times:?}");
        let between = wire::ListAuditEventsRequest {
            start_time: found[4].create_time,
            end_time: found[2].create_time,
            page_size: 0,
            ..ask.clone()
        };
        let page = ada.audit().list_audit_events(between).await.unwrap().into_inner().audit_events;
        assert_eq!(page.iter().map(|event| &event.id).collect::<Vec<_>>(), [&found[3].id, &found[4].id]);
        let by_subject = wire::ListAuditEventsRequest { subject: found[1].subject_id.clone(), ..ask.clone() };
        let page = ada.audit().list_audit_events(by_subject).await.unwrap().into_inner().audit_events;
        assert_eq!(page.iter().map(|event| &event.id).collect::<Vec<_>>(), [&found[1].id]);
        for nothing in [
            wire::ListAuditEventsRequest { actor: found[1].subject_id.clone(), ..ask.clone() },
            wire::ListAuditEventsRequest { risk: wire::AuditRisk::High.into(), ..ask.clone() },
        ] {
            assert_eq!(ada.audit().list_audit_events(nothing).await.unwrap().into_inner().audit_events, []);
        }
    }

    async fn refusals_are_counted_into_the_log(t: App) {
        let (admin, ada) = (t.admin().await, t.register("ada@example.com").await);
        for _ in 0..3 {
            fail_to_sign_in(&t, &ada.email).await;
        }
        fail_to_sign_in(&t, "nobody@example.com").await;
        ada.operations().verify_ledger(payments::VerifyLedgerRequest::default()).await.unwrap_err();
        let forged = crate::support::app::Bearer::new("not.a.token");
        let mut client = wire::account_service_client::AccountServiceClient::with_interceptor(t.channel(), forged);
        assert_eq!(client.get_account(wire::GetAccountRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
        t.advance(Duration::from_secs(60));
        t.seal().await;
        let all = list(&admin, PLATFORM, "").await.unwrap();
        let refused: Vec<_> = all.iter().filter(|event| event.outcome() == wire::AuditOutcome::Refused).collect();
        let counted = |action: &str, reason: &str, subject: &str| {
            let equal = |event: &&&wire::AuditEvent| {
                event.action == action && event.reason.starts_with(reason) && event.subject_id == subject
            };
            refused.iter().filter(equal).map(|event| event.occurrences).collect::<Vec<_>>()
        };
        assert_eq!(counted("auth.login", "INVALID_CREDENTIALS", &ada.account_id.to_string()), [3], "{all:#?}");
        assert_eq!(counted("auth.login", "INVALID_CREDENTIALS", ""), [1]);
        assert_eq!(counted("platform.call_method", "PERMISSION_DENIED /capecontrol.payments", ""), [1]);
        assert_eq!(counted("auth.authenticate", "TOKEN_INVALID", ""), [1]);
        assert_eq!(refused.len(), 4, "{refused:#?}");
    }

    async fn money_that_moves_is_in_the_log(t: App) {
        let (admin, ada) = (t.admin().await, t.register("ada@example.com").await);
        let started = checkout(&ada, "pro").await;
        press(&t, &started, &[("simulator_action", "pay")]).await;
        t.run_jobs().await;
        let payments = list(&ada, "", "payments.").await.unwrap();
        assert_eq!(actions(&payments), ["payments.create_checkout", "payments.settle_payment"]);
        let settled = payments.iter().find(|event| event.action == "payments.settle_payment").unwrap();
        assert_eq!(settled.actor_kind(), wire::AuditActorKind::Platform);
        assert_eq!((settled.subject_kind.as_str(), &settled.subject_id), ("payment", &started.payment_id));
        // The state that the settlement began with is the one that the checkout left.
        let opened = payments.iter().find(|event| event.action == "payments.create_checkout").unwrap();
        assert_eq!(settled.before_digest, opened.after_digest);
        assert!(verify(&admin, PLATFORM).await.intact);
    }

    async fn an_export_is_verified_with_nothing_but_itself(t: App) {
        let (admin, ada) = (t.admin().await, t.register("ada@example.com").await);
        t.seal().await;
        t.register("eve@example.com").await;
        t.seal().await;
        t.sign_in(&ada.email, crate::support::app::PASSWORD).await;
        t.seal().await;
        let whole = export(&admin, PLATFORM, 0).await;
        let all = audit(&whole);
        let hers = export(&ada, "", 0).await;
        assert_eq!(audit(&hers), 3);
        assert!(hers.iter().any(|part| matches!(part, Part::Link(_))), "others' entries are digests");
        assert!(hers.len() < whole.len());
        // It goes on where it ended, and says itself who took it.
        t.seal().await;
        let Some(Part::Head(head)) = whole.last() else { panic!("an export ends with a head") };
        let rest = export(&admin, PLATFORM, head.position).await;
        assert_eq!(audit(&rest), 2);
        let taken: Vec<_> = rest.iter().filter(|part| matches!(part, Part::AuditEvent(event)
            if event.action == "audit.export_events")).collect();
        assert_eq!(taken.len(), 2);
        assert_eq!(usize::try_from(head.position).unwrap(), all);
    }

    async fn an_export_ends_when_its_reader_may_not_go_on(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let service = &t.node.auth;
        let begin = async |person: &Person| {
            let caller = service.authenticate(&person.token, Origin::default()).await.unwrap();
            let mut export = service.export_audit_events(caller.clone(), AuditReach::Own, 0).await.unwrap();
            t.seal().await;
            assert!(service.next_audit_batch(&mut export).await.unwrap().is_some());
            service.still_stands(&caller).await.unwrap();
            (caller, export)
        };
        let (caller, _) = begin(&ada).await;
        let logout = wire::LogoutRequest { refresh_token: ada.refresh_token.clone(), ..Default::default() };
        AuthServiceClient::new(t.channel()).logout(logout).await.unwrap();
        assert!(matches!(service.still_stands(&caller).await, Err(Error::SessionRevoked)));
        let (caller, mut export) = begin(&eve).await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let demoted = tx.sql("UPDATE memberships SET role = 'member' WHERE organization_id = $1");
        demoted.bind(eve.organization_id).execute().await.unwrap();
        tx.commit().await.unwrap();
        assert!(matches!(service.next_audit_batch(&mut export).await, Err(Error::NotAnOwner)));
        t.advance(Duration::from_secs(700));
        assert!(matches!(service.still_stands(&caller).await, Err(Error::TokenExpired)));
    }

    async fn verification_tells_of_the_first_bad_entry_and_of_a_known_head(t: App) {
        let (admin, ada) = (t.admin().await, t.register("ada@example.com").await);
        t.seal().await;
        let whole = verify(&admin, PLATFORM).await;
        assert!(whole.intact && whole.entry_count == whole.link_count && whole.unsealed_count == 0);
        let head = whole.head.unwrap();
        let own = verify(&ada, "").await;
        assert!(own.intact && own.entry_count == 2 && own.link_count == whole.link_count);
        let ask = |known_hash: Vec<u8>| wire::VerifyAuditLogRequest {
            organization_id: PLATFORM.to_owned(),
            known_position: head.position,
            known_hash,
        };
        assert!(admin.audit().verify_audit_log(ask(head.hash.clone())).await.unwrap().into_inner().intact);
        let other = admin.audit().verify_audit_log(ask(vec![9; 32])).await.unwrap().into_inner();
        assert_eq!(other.fault.unwrap().kind, "head_unknown");
        let short = admin.audit().verify_audit_log(ask(vec![9; 31])).await.unwrap_err();
        assert_eq!(short.code(), Code::InvalidArgument);
        assert_eq!(verify(&ada, "").await.public_key, whole.public_key);
    }
}

#[tokio::test]
async fn what_was_refused_last_is_written_while_the_node_stops() {
    let t = App::start(capecontrol::db::Engine::Sqlite).await;
    let email = "nobody@example.com";
    fail_to_sign_in(&t, email).await;
    let url = t.database_url.clone();
    let t = t.restart_on(url).await;
    let admin = t.admin().await;
    let all = list(&admin, PLATFORM, "auth.login").await.unwrap();
    let refused = all.iter().find(|event| event.outcome() == wire::AuditOutcome::Refused).unwrap();
    assert!(refused.position > 0 && refused.reason == "INVALID_CREDENTIALS");
}

/// What an auditor does who has an export, and docs/audit.md. Tells how many entries were in it.
fn audit(parts: &[Part]) -> usize {
    let Some((Part::Start(start), parts)) = parts.split_first() else {
        panic!("an export begins with its start")
    };
    let key = VerifyingKey::from_bytes(start.public_key.as_slice().try_into().unwrap()).unwrap();
    let (mut position, mut hash, mut entries) = (start.position, start.hash.clone(), 0);
    let (mut signed, mut links) = (position, 0);
    for part in parts {
        let digest = match part {
            Part::AuditEvent(event) => {
                entries += 1;
                Sha256::digest(encoded(event)).to_vec()
            }
            Part::Link(link) => link.digest.clone(),
            Part::Head(head) => {
                // Without links the signature alone carries the chain over the batch.
                assert!(links == 0 || (position, &hash) == (head.position, &head.hash));
                assert_eq!(head.previous_position, signed);
                let at = head.sign_time.unwrap();
                let micros = at.seconds * 1_000_000 + i64::from(at.nanos / 1_000);
                let numbers = [head.previous_position, head.position].map(i64::to_be_bytes).concat();
                let tag = b"capecontrol audit head 1\n".as_slice();
                let message = [tag, &numbers, &head.hash, &micros.to_be_bytes()].concat();
                key.verify_strict(&message, &Signature::from_slice(&head.signature).unwrap()).unwrap();
                (position, signed, links) = (head.position, head.position, 0);
                hash.clone_from(&head.hash);
                continue;
            }
            Part::Start(_) => panic!("an export begins once"),
        };
        (position, links) = (position + 1, links + 1);
        let tag = b"capecontrol audit link 1\n".as_slice();
        hash = Sha256::digest([tag, &hash, &position.to_be_bytes(), &digest].concat()).to_vec();
        if let Part::AuditEvent(event) = part {
            assert_eq!((event.position, &event.hash), (position, &hash));
        }
    }
    entries
}

/// The encoding of an entry, written from the page and from nothing else.
fn encoded(event: &wire::AuditEvent) -> Vec<u8> {
    let mut out = b"capecontrol audit entry 1\n".to_vec();
    let mut field = |bytes: Option<Vec<u8>>| match bytes {
        None => out.push(0),
        Some(bytes) => {
            out.push(1);
            out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
            out.extend(bytes);
        }
    };
    let id =
        |text: &str| (!text.is_empty()).then(|| text.parse::<uuid::Uuid>().unwrap().into_bytes().to_vec());
    let optional = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
    let bytes = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
    let word =
        |name: &str, prefix: &str| Some(name.strip_prefix(prefix).unwrap().to_lowercase().into_bytes());
    field(id(&event.id));
    field(id(&event.organization_id));
    field(Some(event.action.clone().into_bytes()));
    field(word(event.outcome().as_str_name(), "AUDIT_OUTCOME_"));
    field(optional(&event.reason));
    field(Some(event.occurrences.to_be_bytes().to_vec()));
    field(word(event.risk().as_str_name(), "AUDIT_RISK_"));
    field(word(event.actor_kind().as_str_name(), "AUDIT_ACTOR_KIND_"));
    field(id(&event.actor_id));
    field(id(&event.on_behalf_of));
    field(id(&event.session_id));
    field(optional(&event.purpose));
    field(optional(&event.subject_kind));
    field(id(&event.subject_id));
    field(bytes(&event.before_digest));
    field(bytes(&event.after_digest));
    field(Some(event.request_id.clone().into_bytes()));
    field(id(&event.person_id));
    field(bytes(&event.sealed_personal));
    let at = event.create_time.unwrap();
    field(Some((at.seconds * 1_000_000 + i64::from(at.nanos / 1_000)).to_be_bytes().to_vec()));
    out
}
