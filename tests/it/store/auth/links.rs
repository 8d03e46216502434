//! Links that are good once, and passwords that are replaced: what is refused, what is kept, and who wins a race.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::model::LinkPurpose;
use capecontrol::auth::service::{self, ChangePassword, ResetPassword};
use capecontrol::auth::{self, Caller, Error, Service};
use capecontrol::base::{Fault as _, Secret};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::idempotency;

use super::{
    OTHER_PASSWORD, PASSWORD, ROOT_KEY, authenticated, caller, count, first_password, letters, login, nobody,
    node, options, refused, registration, request_key, signed_in, subjects,
};
use crate::support::{Fixture, on_both};

const ADA: &str = "ada@example.com";
const RESET: &str = "Choose a new password";
const WINDOW: Duration = Duration::from_mins(5);

/// Has the links written that were asked for.
async fn write_links(t: &Fixture, service: &Arc<Service>) {
    let worker = t.worker(|registry| service::register(registry, service));
    worker.run_due().await.unwrap();
}

/// Asks for a link, and has it written.
async fn ask(t: &Fixture, service: &Arc<Service>, purpose: LinkPurpose, email: &str) {
    service.request_link(&nobody(), purpose, email, None).await.unwrap();
    write_links(t, service).await;
}

/// The token in the last letter with this subject.
async fn token_of(t: &Fixture, subject: &str) -> Secret<String> {
    let letters = letters(t).await;
    let letter = letters.iter().rev().find(|letter| letter.subject == subject).unwrap();
    let (_, token) = letter.text.split_once("#token=").unwrap();
    Secret::new(token.split_whitespace().next().unwrap().to_owned())
}

async fn reset_token(t: &Fixture, service: &Arc<Service>) -> Secret<String> {
    ask(t, service, LinkPurpose::ResetPassword, ADA).await;
    token_of(t, RESET).await
}

fn reset(token: &Secret<String>, password: &str) -> ResetPassword {
    ResetPassword { token: token.clone(), new_password: Secret::new(password.to_owned()) }
}

fn change(current: &str, new: &str) -> ChangePassword {
    let secret = |text: &str| Secret::new(text.to_owned());
    ChangePassword { current_password: secret(current), new_password: secret(new) }
}

async fn verified(service: &Service, ada: &Caller) -> bool {
    service.account(ada).await.unwrap().email_verified
}

/// Whose entry of this name is in the log: the kind of the actor, and the account that it is about.
async fn entries(t: &Fixture, action: &'static str) -> Vec<(String, bool)> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let statement =
        "SELECT actor_kind, subject_id IS NOT NULL FROM audit_events WHERE action = $1 ORDER BY id LIMIT 99";
    conn.sql(statement).bind(action).all().await.unwrap()
}

on_both! {
    async fn the_welcome_letter_verifies_the_address_once(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, ADA).await;
        let token = token_of(&t, "Welcome to Cape Control").await;
        assert!(!verified(&service, &ada).await);
        let before = service.account(&ada).await.unwrap();
        service.verify_email(&nobody(), &token, Some(&request_key(1, 1))).await.unwrap();
        assert!(verified(&service, &ada).await);
        assert_ne!(service.account(&ada).await.unwrap().etag(), before.etag());
        // The repetition of the call gets its answer; another call with the same link does not.
        service.verify_email(&nobody(), &token, Some(&request_key(1, 1))).await.unwrap();
        refused!(service.verify_email(&nobody(), &token, None).await, Error::LinkInvalid);
        assert_eq!(entries(&t, "auth.verify_email").await, [("account".to_owned(), true)]);
    }

    async fn whatever_is_wrong_with_a_link_gets_one_answer(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, ADA).await;
        let verify = token_of(&t, "Welcome to Cape Control").await;
        let expired = reset_token(&t, &service).await;
        t.clock.advance(Duration::from_mins(30));
        let replaced = reset_token(&t, &service).await;
        t.clock.advance(WINDOW);
        let other_kind = reset_token(&t, &service).await;
        let invented = Secret::new(t.world.token());
        let endless = Secret::new("x".repeat(100_000));
        let mut told = Vec::new();
        for token in [&verify, &other_kind, &invented, &endless, &Secret::new(String::new())] {
            told.push(service.verify_email(&nobody(), token, None).await.unwrap_err());
        }
        for token in [&verify, &expired, &replaced, &invented, &endless] {
            told.push(service.reset_password(&nobody(), reset(token, OTHER_PASSWORD), None).await.unwrap_err());
        }
        let answer = |error: &Error| (error.to_string(), error.reason(), error.metadata(), error.violations().to_vec());
        assert!(told.iter().all(|error| answer(error) == answer(&told[0])), "{told:?}");
        assert_eq!(told[0].reason().name, "VERIFICATION_TOKEN_INVALID");
        assert!(!verified(&service, &ada).await);
        // Nothing was hashed but for the registration and the sign-in.
        assert_eq!(service.hashing_rounds(), 2);
        // All that was wrong with the last of them was what it was used for.
        service.reset_password(&nobody(), reset(&other_kind, OTHER_PASSWORD), None).await.unwrap();
    }

    async fn who_has_an_account_is_not_told_and_costs_the_same(t: Fixture) {
        let service = node(&t, options()).await;
        caller(&service, ADA).await;
        // Letters sort by the millisecond.
        t.clock.advance(Duration::from_millis(1));
        let grace = caller(&service, "grace@example.com").await;
        let of_grace = token_of(&t, "Welcome to Cape Control").await;
        service.verify_email(&nobody(), &of_grace, None).await.unwrap();
        assert!(verified(&service, &grace).await);
        t.clock.advance(WINDOW);
        let (letters, rounds) = (subjects(&t).await.len(), service.hashing_rounds());
        let rows = "SELECT CAST((SELECT count(*) FROM jobs) + (SELECT count(*) FROM audit_events)
            + (SELECT count(*) FROM account_links) AS bigint)";
        let mut costs = Vec::new();
        for purpose in [LinkPurpose::VerifyEmail, LinkPurpose::ResetPassword] {
            for email in [ADA, "grace@example.com", "nobody@example.com"] {
                let before = count(&t, rows).await;
                service.request_link(&nobody(), purpose, email, None).await.unwrap();
                costs.push(count(&t, rows).await - before);
            }
        }
        // One job and one entry each; nothing is looked up and nothing is hashed.
        assert_eq!((costs.as_slice(), service.hashing_rounds()), ([2; 6].as_slice(), rounds));
        write_links(&t, &service).await;
        let written: Vec<_> = super::letters(&t).await.split_off(letters);
        let mut told: Vec<_> = written.iter().map(|letter| (letter.to.as_str(), letter.subject.as_str())).collect();
        told.sort_unstable();
        assert_eq!(told, [(ADA, RESET), (ADA, "Confirm your e-mail address"), ("grace@example.com", RESET)]);
        let stranger = ("stranger".to_owned(), false);
        assert_eq!(entries(&t, "auth.request_password_reset").await, vec![stranger; 3]);
        assert_eq!(entries(&t, "auth.send_password_reset").await, vec![("platform".to_owned(), true); 2]);
        refused!(service.request_link(&nobody(), LinkPurpose::VerifyEmail, "x", None).await, Error::Invalid(_));
    }

    async fn a_stranger_cannot_fill_a_mailbox(t: Fixture) {
        let service = node(&t, options()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        t.clock.advance(WINDOW);
        let many = (0..12).map(|at| {
            let service = Arc::clone(&service);
            let purpose = if at % 2 == 0 { LinkPurpose::VerifyEmail } else { LinkPurpose::ResetPassword };
            async move { service.request_link(&nobody(), purpose, ADA, None).await }
        });
        for outcome in futures_util::future::join_all(many).await {
            outcome.unwrap();
        }
        write_links(&t, &service).await;
        // One letter of each kind, beside the welcome.
        assert_eq!(subjects(&t).await.len(), 3);
        t.clock.advance(WINDOW.saturating_sub(Duration::from_micros(1)));
        ask(&t, &service, LinkPurpose::ResetPassword, ADA).await;
        assert_eq!(subjects(&t).await.len(), 3);
        t.clock.advance(Duration::from_micros(1));
        ask(&t, &service, LinkPurpose::ResetPassword, ADA).await;
        assert_eq!(subjects(&t).await.len(), 4);
    }

    async fn a_repeated_request_is_one(t: Fixture) {
        let service = node(&t, options()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        let key = request_key(4, 4);
        for _ in 0..2 {
            service.request_link(&nobody(), LinkPurpose::ResetPassword, ADA, Some(&key)).await.unwrap();
        }
        let waiting = count(&t, "SELECT CAST(count(*) AS bigint) FROM jobs WHERE kind = 'auth.write_link'").await;
        assert_eq!(waiting, 1);
    }

    async fn a_reset_ends_all_sessions_and_tells_the_owner(t: Fixture) {
        let service = node(&t, options()).await;
        let (first, ada) = (signed_in(&service, ADA).await, login(ADA, PASSWORD));
        let second = service.login(&nobody(), ada, None).await.unwrap();
        let token = reset_token(&t, &service).await;
        let key = request_key(2, 2);
        service.reset_password(&nobody(), reset(&token, OTHER_PASSWORD), Some(&key)).await.unwrap();
        for issued in [&first, &second] {
            refused!(authenticated(&service, issued).await, Error::SessionRevoked);
            refused!(service.refresh(&nobody(), &issued.refresh_token, None).await, Error::SessionRevoked);
        }
        refused!(service.login(&nobody(), login(ADA, PASSWORD), None).await, Error::InvalidCredentials);
        let issued = service.login(&nobody(), login(ADA, OTHER_PASSWORD), None).await.unwrap();
        // Whoever reads the address has proved it.
        assert!(issued.account.email_verified);
        assert!(subjects(&t).await.contains(&"Your password was changed".to_owned()));
        assert_eq!(entries(&t, "auth.reset_password").await, [("account".to_owned(), true)]);
        // The repetition is answered as the first was, although its link is spent; a used key tells of another body.
        service.reset_password(&nobody(), reset(&token, OTHER_PASSWORD), Some(&key)).await.unwrap();
        refused!(
            service.reset_password(&nobody(), reset(&token, OTHER_PASSWORD), Some(&request_key(2, 3))).await,
            Error::Idempotency(idempotency::Error::Reused)
        );
        refused!(service.reset_password(&nobody(), reset(&token, PASSWORD), None).await, Error::LinkInvalid);
        let one = service.reset_password(&nobody(), reset(&token, PASSWORD), Some(&request_key(3, 3))).await;
        refused!(one, Error::LinkInvalid);
    }

    async fn of_many_that_use_one_link_at_once_exactly_one_succeeds(t: Fixture) {
        let service = node(&t, options()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        let token = reset_token(&t, &service).await;
        let many = (0..6).map(|at| {
            let (service, token) = (Arc::clone(&service), token.clone());
            async move {
                let password = format!("gravel lorry number {at}");
                (service.reset_password(&nobody(), reset(&token, &password), None).await, password)
            }
        });
        let outcomes = futures_util::future::join_all(many).await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(outcome, _)| outcome.is_ok());
        assert!(lost.iter().all(|(outcome, _)| matches!(outcome, Err(Error::LinkInvalid))));
        assert_eq!(won.len(), 1);
        service.login(&nobody(), login(ADA, &won[0].1), None).await.unwrap();
        let changed = subjects(&t).await.iter().filter(|subject| *subject == "Your password was changed").count();
        assert_eq!(changed, 1);
    }

    async fn a_password_that_is_refused_leaves_the_link_good(t: Fixture) {
        let service = node(&t, options()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        let token = reset_token(&t, &service).await;
        let rounds = service.hashing_rounds();
        for weak in ["short", "passwordpassword", "ada@example.com", &"x".repeat(129)] {
            let error = service.reset_password(&nobody(), reset(&token, weak), None).await.unwrap_err();
            assert_eq!(error.violations()[0].field, "new_password", "{weak}");
        }
        assert_eq!(service.hashing_rounds(), rounds);
        service.reset_password(&nobody(), reset(&token, OTHER_PASSWORD), None).await.unwrap();
    }

    async fn a_change_asks_for_the_present_password_and_ends_the_others_sessions(t: Fixture) {
        let service = node(&t, options()).await;
        let here = signed_in(&service, ADA).await;
        let there = service.login(&nobody(), login(ADA, PASSWORD), None).await.unwrap();
        let ada = authenticated(&service, &here).await.unwrap();
        let link = reset_token(&t, &service).await;
        let wrong = service.change_password(&ada, change("a guess", OTHER_PASSWORD), None).await;
        refused!(wrong, Error::CurrentPasswordWrong);
        for (current, new, field) in [
            ("", OTHER_PASSWORD, "current_password"),
            (PASSWORD, PASSWORD, "new_password"),
            (PASSWORD, "short", "new_password"),
            (PASSWORD, "passwordpassword", "new_password"),
            (&"x".repeat(200), OTHER_PASSWORD, "current_password"),
        ] {
            let error = service.change_password(&ada, change(current, new), None).await.unwrap_err();
            assert_eq!(error.violations()[0].field, field);
        }
        authenticated(&service, &there).await.unwrap();
        let key = request_key(7, 7);
        for _ in 0..2 {
            service.change_password(&ada, change(PASSWORD, OTHER_PASSWORD), Some(&key)).await.unwrap();
        }
        authenticated(&service, &here).await.unwrap();
        service.refresh(&nobody(), &here.refresh_token, None).await.unwrap();
        refused!(authenticated(&service, &there).await, Error::SessionRevoked);
        refused!(service.login(&nobody(), login(ADA, PASSWORD), None).await, Error::InvalidCredentials);
        service.login(&nobody(), login(ADA, OTHER_PASSWORD), None).await.unwrap();
        // A link that somebody may have seen is no way back.
        refused!(service.reset_password(&nobody(), reset(&link, PASSWORD), None).await, Error::LinkInvalid);
        assert!(subjects(&t).await.contains(&"Your password was changed".to_owned()));
        assert_eq!(entries(&t, "auth.change_password").await, [("account".to_owned(), true)]);
        let stranger = service.change_password(&nobody(), change(PASSWORD, OTHER_PASSWORD), None).await;
        refused!(stranger, Error::Unauthenticated);
    }

    async fn the_present_password_is_not_found_out_by_a_stolen_session(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, ADA).await;
        let rounds = service.hashing_rounds();
        let mut delayed = 0;
        for _ in 0..30 {
            match service.change_password(&ada, change("a guess", OTHER_PASSWORD), None).await.unwrap_err() {
                Error::CurrentPasswordWrong => {}
                Error::GuessDelayed(_) => delayed += 1,
                other => panic!("{other:?}"),
            }
        }
        // Each of those that were not delayed was hashed.
        assert!(delayed >= 20, "{delayed}");
        assert_eq!(service.hashing_rounds() - rounds, 30 - delayed);
    }

    async fn of_two_changes_of_a_password_at_once_one_counts(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, ADA).await;
        let (one, two) = futures_util::future::join(
            service.change_password(&ada, change(PASSWORD, OTHER_PASSWORD), None),
            service.change_password(&ada, change(PASSWORD, "gravel lorry number two"), None),
        )
        .await;
        let (kept, lost) = if one.is_ok() { (OTHER_PASSWORD, two) } else { ("gravel lorry number two", one) };
        refused!(lost, Error::CurrentPasswordWrong);
        service.login(&nobody(), login(ADA, kept), None).await.unwrap();
    }

    async fn the_first_administrator_can_choose_a_password(t: Fixture) {
        let service = node(&t, options()).await;
        let (email, password) = first_password(&service).await.unwrap().unwrap();
        let issued = service.login(&nobody(), login(email.as_str(), password.expose()), None).await.unwrap();
        let admin = authenticated(&service, &issued).await.unwrap();
        let command = change(password.expose(), OTHER_PASSWORD);
        service.change_password(&admin, command, None).await.unwrap();
        for _ in 0..2 {
            service.login(&nobody(), login(email.as_str(), OTHER_PASSWORD), None).await.unwrap();
        }
        // Now there is one who needs no other one-time password.
        assert!(first_password(&service).await.unwrap().is_none());
    }

    async fn nothing_that_is_stored_is_a_credential(t: Fixture) {
        let service = node(&t, options()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        let token = reset_token(&t, &service).await;
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let stored: Vec<(String,)> =
            conn.sql("SELECT CAST(payload AS text) FROM jobs ORDER BY id LIMIT 100").all().await.unwrap();
        assert_eq!(stored.len(), 2);
        for (payload,) in &stored {
            assert!(!payload.contains(token.expose()) && !payload.contains("ada@"), "{payload}");
        }
        let hashes: Vec<(Vec<u8>,)> =
            conn.shared_sql("SELECT token_hash FROM account_links ORDER BY purpose LIMIT 9").all().await.unwrap();
        assert!(hashes.iter().all(|(hash,)| hash.len() == 32 && hash != token.expose().as_bytes()));
        let printed = format!("{:?} {:?}", letters(&t).await, token);
        assert!(!printed.contains(token.expose()) && !printed.contains(ADA), "{printed}");
    }

    async fn links_work_for_fifteen_minutes_to_an_hour(t: Fixture) {
        for (minutes, holds) in [(14, false), (15, true), (60, true), (61, false)] {
            let options = auth::Options { link_ttl: Duration::from_mins(minutes), ..options() };
            let root = capecontrol::keyring::RootKey::new(ROOT_KEY);
            let made = Service::new(t.db.clone(), t.world.clone(), options, root);
            assert_eq!(made.is_ok(), holds, "{minutes}");
        }
        let service = node(&t, auth::Options { link_ttl: Duration::from_mins(15), ..options() }).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        let token = token_of(&t, "Welcome to Cape Control").await;
        t.clock.advance(Duration::from_mins(15));
        refused!(service.verify_email(&nobody(), &token, None).await, Error::LinkInvalid);
    }
}
