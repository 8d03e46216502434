//! Accounts, sign-ins and organisations on both engines: what is refused, what is kept, and who wins a race.

mod administration;
mod families;
mod first_administrator;
mod links;
mod lookalikes;
mod places;
mod rotation;
mod sessions;
mod timing;

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::guess;
use capecontrol::auth::hashing;
use capecontrol::auth::profile::Profile;
use capecontrol::auth::service::{Issued, Login, Register, Transport, UpdateAccount};
use capecontrol::auth::{self, Caller, Error, Origin, Role, Service, access, store};
use capecontrol::base::{Fault as _, OrganizationId, Rate, Secret};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::idempotency::{self, RequestKey};
use capecontrol::keyring::RootKey;
use capecontrol::mail::{Mail, Outbox};

use crate::support::{Fixture, on_both};

const TERMS: &str = "2026-01";
const PASSWORD: &str = "correct horse battery";
const OTHER_PASSWORD: &str = "a quiet lorry of gravel";
const ROOT_KEY: [u8; 32] = [7; 32];
const HASHING: hashing::Options =
    hashing::Options { memory_kib: 64, passes: 1, lanes: 1, concurrent_max: 2, waiting_max: 64 };

fn options() -> auth::Options {
    auth::Options {
        issuer: "https://cape.example".to_owned(),
        public_url: "https://cape.example".to_owned(),
        hashing: HASHING,
        terms_versions: vec!["2025-06".to_owned(), TERMS.to_owned()],
        ..auth::Options::default()
    }
}

/// Options with which nobody is told to wait: for tests of what comes behind that.
fn patient() -> auth::Options {
    let often = Rate::new(1_000_000, 1_000_000);
    let guesses = guess::Options { of_network: often, of_strangers: often, of_all_strangers: often };
    auth::Options { guesses, ..options() }
}

/// A node: another one over the same database shares what is stored and nothing else.
async fn node(t: &Fixture, options: auth::Options) -> Arc<Service> {
    let service = Service::new(t.db.clone(), t.world.clone(), options, RootKey::new(ROOT_KEY)).unwrap();
    service.prepare().await.unwrap();
    Arc::new(service)
}

fn nobody() -> Caller {
    Caller::anonymous(Origin { request_id: "test".to_owned(), ..Origin::default() })
}

/// For calls that outlive the statement that makes them.
fn nobody_static() -> &'static Caller {
    static NOBODY: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(nobody);
    &NOBODY
}

fn registration(email: &str) -> Register {
    Register {
        email: email.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        display_name: "Ada".to_owned(),
        accepted_terms_version: TERMS.to_owned(),
        invitation: None,
    }
}

fn login(email: &str, password: &str) -> Login {
    Login { email: email.to_owned(), password: Secret::new(password.to_owned()), transport: Transport::Token }
}

async fn signed_in(service: &Service, email: &str) -> Issued {
    service.register(&nobody(), registration(email), None).await.unwrap();
    service.login(&nobody(), login(email, PASSWORD), None).await.unwrap()
}

async fn authenticated(service: &Service, issued: &Issued) -> Result<Caller, Error> {
    service.authenticate(issued.access_token.expose(), Origin::default()).await
}

async fn caller(service: &Service, email: &str) -> Caller {
    let issued = signed_in(service, email).await;
    authenticated(service, &issued).await.unwrap()
}

fn request_key(key: u128, body: u8) -> RequestKey {
    RequestKey { method: "/test".into(), key: uuid::Uuid::from_u128(key), body_hash: [body; 32] }
}

/// The address and the one-time password of the first administrator, when they are issued.
async fn first_password(service: &Service) -> Result<Option<(auth::Email, Secret<String>)>, Error> {
    let mut published = None;
    let publish = |_: &auth::Email, password: &Secret<String>| {
        published = Some(password.clone());
        Ok(())
    };
    let email = service.ensure_administrator(publish).await?;
    Ok(email.zip(published))
}

/// The letters that wait to be sent, the oldest first.
async fn letters(t: &Fixture) -> Vec<Mail> {
    let outbox = Outbox::new(t.world.clone(), RootKey::new(ROOT_KEY));
    let waiting = "SELECT CAST(payload AS text) FROM jobs WHERE kind = 'mail.send' ORDER BY id LIMIT 100";
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let rows: Vec<(String,)> = conn.sql(waiting).all().await.unwrap();
    rows.iter().map(|(payload,)| outbox.open(&serde_json::from_str(payload).unwrap()).unwrap()).collect()
}

/// Their subjects.
async fn subjects(t: &Fixture) -> Vec<String> {
    letters(t).await.into_iter().map(|letter| letter.subject).collect()
}

async fn count(t: &Fixture, what: &'static str) -> i64 {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let (count,): (i64,) = conn.sql(what).one().await.unwrap();
    count
}

macro_rules! refused {
    ($outcome:expr, $refusal:pat) => {{
        let outcome = $outcome;
        assert!(matches!(outcome, Err($refusal)), "{:?}", outcome.map(|_| "no refusal"));
    }};
}

use refused;

/// Whether the session of somebody who signed in stands, as it is asked for streams.
async fn stands(service: &Service, caller: &Caller, expected: bool) {
    let session = caller.session.unwrap();
    let ended = service.ended_among([session].into()).await.unwrap();
    assert_eq!(!ended.contains(&session), expected);
}

on_both! {
    async fn a_registered_person_signs_in_and_owns_an_organization(t: Fixture) {
        let service = node(&t, options()).await;
        let issued = signed_in(&service, "Ada@Example.com").await;
        assert_eq!(issued.account.email.as_str(), "ada@example.com");
        assert_eq!((issued.account.role, issued.account.email_verified), (Role::Customer, false));
        assert_eq!(issued.access_token_expires_at, t.world.now().plus(Duration::from_mins(10)));
        let ada = authenticated(&service, &issued).await.unwrap();
        assert_eq!(ada.account, Some(issued.account.id));
        assert_eq!(ada.personal, Some(issued.account.personal_organization));
        let organizations = service.organizations(&ada, None, 10).await.unwrap();
        assert_eq!(organizations.len(), 1);
        let own = organizations.first().unwrap();
        assert!(own.personal);
        assert_eq!(own.role, auth::OrganizationRole::Owner);
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        access::owner(&mut conn, &ada, own.id).await.unwrap();
    }

    async fn every_wrong_field_of_a_registration_is_named(t: Fixture) {
        let service = node(&t, options()).await;
        let command = Register {
            email: "ada".to_owned(),
            password: Secret::new("short".to_owned()),
            display_name: " ".to_owned(),
            accepted_terms_version: "2025-06".to_owned(),
            invitation: None,
        };
        let error = service.register(&nobody(), command, None).await.unwrap_err();
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["email", "password", "display_name", "accepted_terms_version"]);
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 0);
        assert_eq!(service.hashing_rounds(), 0);
    }

    async fn known_and_unknown_addresses_get_the_same_answer_and_work(t: Fixture) {
        let service = node(&t, options()).await;
        service.register(&nobody(), registration("ada@example.com"), None).await.unwrap();
        let new = service.hashing_rounds();
        t.clock.advance(Duration::from_secs(1));
        let password = Secret::new(OTHER_PASSWORD.to_owned());
        let other = Register { password, ..registration("ada@example.com") };
        service.register(&nobody(), other, None).await.unwrap();
        assert_eq!(service.hashing_rounds(), new * 2);
        assert_eq!(subjects(&t).await, ["Welcome to Cape Control", "You already have a Cape Control account"]);

        let before = service.hashing_rounds();
        let wrong = service.login(&nobody(), login("ada@example.com", "wrong"), None).await.unwrap_err();
        let known = service.hashing_rounds() - before;
        let unknown = service.login(&nobody(), login("eve@example.com", "wrong"), None).await.unwrap_err();
        assert_eq!(service.hashing_rounds() - before, known * 2);
        assert_eq!(wrong.to_string(), unknown.to_string());
        assert_eq!(wrong.reason(), unknown.reason());
        // The first password still counts: the second registration changed nothing.
        service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
        refused!(
            service.login(&nobody(), login("ada@example.com", OTHER_PASSWORD), None).await,
            Error::InvalidCredentials
        );
    }

    async fn one_address_registered_many_times_at_once_is_one_account(t: Fixture) {
        let service = node(&t, options()).await;
        let many = (0..8).map(|_| {
            let service = Arc::clone(&service);
            async move { service.register(&nobody(), registration("ada@example.com"), None).await }
        });
        for outcome in futures_util::future::join_all(many).await {
            outcome.unwrap();
        }
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 1);
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM organizations").await, 1);
        let welcomes = subjects(&t).await.iter().filter(|subject| subject.starts_with("Welcome")).count();
        // Seven strangers at once are one letter to the owner, and an hour later there may be another.
        assert_eq!((welcomes, subjects(&t).await.len()), (1, 2));
        t.clock.advance(Duration::from_hours(1));
        for _ in 0..2 {
            service.register(&nobody(), registration("ada@example.com"), None).await.unwrap();
        }
        assert_eq!(subjects(&t).await.len(), 3);
    }

    async fn a_repeated_registration_is_one_and_another_body_is_refused(t: Fixture) {
        let service = node(&t, options()).await;
        for _ in 0..2 {
            service
                .register(&nobody(), registration("ada@example.com"), Some(&request_key(1, 1)))
                .await
                .unwrap();
        }
        assert_eq!(subjects(&t).await.len(), 1);
        refused!(
            service.register(&nobody(), registration("bob@example.com"), Some(&request_key(1, 2))).await,
            Error::Idempotency(idempotency::Error::Reused)
        );
    }

    async fn a_sign_in_is_not_repeated_with_its_tokens(t: Fixture) {
        let service = node(&t, options()).await;
        service.register(&nobody(), registration("ada@example.com"), None).await.unwrap();
        let key = request_key(5, 5);
        let ada = || login("ada@example.com", PASSWORD);
        service.login(&nobody(), ada(), Some(&key)).await.unwrap();
        refused!(
            service.login(&nobody(), ada(), Some(&key)).await,
            Error::Idempotency(idempotency::Error::SecretAlreadyIssued)
        );
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM sessions").await, 1);
        // A refused sign-in leaves its key free.
        let key = request_key(6, 6);
        refused!(
            service.login(&nobody(), login("ada@example.com", "wrong"), Some(&key)).await,
            Error::InvalidCredentials
        );
        service.login(&nobody(), ada(), Some(&key)).await.unwrap();
    }

    async fn an_unknown_transport_and_an_endless_password_are_refused(t: Fixture) {
        let service = node(&t, options()).await;
        let command = Login {
            email: String::new(),
            password: Secret::new("x".repeat(10_000)),
            transport: Transport::Unknown,
        };
        let error = service.login(&nobody(), command, None).await.unwrap_err();
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["email", "password", "session_transport"]);
        assert_eq!(service.hashing_rounds(), 0);
    }

    async fn a_hash_with_old_parameters_is_replaced_at_sign_in(t: Fixture) {
        let older = node(&t, options()).await;
        older.register(&nobody(), registration("ada@example.com"), None).await.unwrap();
        let hashing = hashing::Options { passes: 2, ..HASHING };
        let newer = node(&t, auth::Options { hashing, ..options() }).await;
        for rounds in [2, 3] {
            newer.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
            assert_eq!(newer.hashing_rounds(), rounds);
        }
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let (hash,): (String,) = conn.shared_sql("SELECT password_hash FROM accounts").one().await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
    }

    async fn a_profile_is_changed_where_the_mask_says_and_once(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, "ada@example.com").await;
        let before = service.account(&ada).await.unwrap();
        let mut profile = before.profile.clone();
        "Counts, and says \"so\".".clone_into(&mut profile.bio);
        profile.skills = vec!["analysis".to_owned(), "ünïcode".to_owned()];
        profile.preferences.insert("theme".to_owned(), "dark".to_owned());
        "not in the mask".clone_into(&mut profile.company);
        let mask = ["bio", "skills", "preferences"].map(str::to_owned).to_vec();
        let command = UpdateAccount { mask, profile, etag: before.etag() };
        t.clock.advance(Duration::from_secs(1));
        let key = request_key(3, 3);
        let after = service.update_account(&ada, command.clone(), Some(&key)).await.unwrap();
        assert_eq!(service.account(&ada).await.unwrap(), after);
        assert_eq!((after.profile.skills.len(), after.profile.company.as_str()), (2, ""));
        assert_ne!(before.etag(), after.etag());
        assert!(after.updated_at > before.updated_at);
        // The repetition gets the first answer; the same change upon the old state does not happen twice.
        assert_eq!(service.update_account(&ada, command.clone(), Some(&key)).await.unwrap(), after);
        refused!(service.update_account(&ada, command, None).await, Error::EtagMismatch);
    }

    async fn of_two_changes_at_once_none_is_lost_silently(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, "ada@example.com").await;
        let change = |bio: &str| {
            let profile = Profile { bio: bio.to_owned(), ..Profile::default() };
            UpdateAccount { mask: vec!["bio".to_owned()], profile, etag: String::new() }
        };
        let (one, two) = futures_util::future::join(
            service.update_account(&ada, change("one"), None),
            service.update_account(&ada, change("two"), None),
        )
        .await;
        let stored = service.account(&ada).await.unwrap();
        let done: Vec<_> = [one, two].into_iter().filter_map(Result::ok).collect();
        assert!(done.contains(&stored));
        assert_eq!(stored.version, 1 + i64::try_from(done.len()).unwrap());
    }

    async fn what_belongs_to_others_is_not_there(t: Fixture) {
        let service = node(&t, options()).await;
        let (ada, eve) = (caller(&service, "ada@example.com").await, caller(&service, "eve@example.com").await);
        let (of_ada, nowhere): (OrganizationId, OrganizationId) = (ada.personal().unwrap(), t.world.id());
        let told = |error: Error| (error.to_string(), error.reason(), error.metadata(), error.resource());
        let foreign = told(service.organization(&eve, of_ada).await.err().unwrap());
        let missing = told(service.organization(&eve, nowhere).await.err().unwrap());
        assert_eq!(foreign, missing);
        assert_eq!(foreign.1.name, "NOT_FOUND");
        assert_eq!(service.organization(&ada, of_ada).await.unwrap().id, of_ada);

        let mut conn = t.db.conn(Scope::Organization(of_ada)).await.unwrap();
        assert_eq!(access::resolve(&mut conn, &ada, None).await.unwrap(), of_ada);
        assert_eq!(access::resolve(&mut conn, &ada, Some(of_ada)).await.unwrap(), of_ada);
        for organization in [of_ada, nowhere] {
            refused!(access::resolve(&mut conn, &eve, Some(organization)).await, Error::OrganizationNotFound);
            refused!(access::member(&mut conn, &eve, organization).await, Error::OrganizationNotFound);
            refused!(access::owner(&mut conn, &eve, organization).await, Error::OrganizationNotFound);
        }
        refused!(access::resolve(&mut conn, &nobody(), None).await, Error::Unauthenticated);
    }

    async fn organizations_are_listed_in_pages(t: Fixture) {
        let service = node(&t, options()).await;
        let ada = caller(&service, "ada@example.com").await;
        let account = ada.account().unwrap();
        for name in ["two", "three"] {
            t.clock.advance(Duration::from_millis(1));
            let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
            let id: OrganizationId = t.world.id();
            store::organization::insert(&mut tx, id, account, name, t.world.now()).await.unwrap();
            store::member::set_role(&mut tx, id, account, auth::OrganizationRole::Billing).await.unwrap();
            tx.commit().await.unwrap();
        }
        let first = service.organizations(&ada, None, 2).await.unwrap();
        let second = service.organizations(&ada, first.last().map(|last| last.id), 2).await.unwrap();
        let names: Vec<_> = first.iter().chain(&second).map(|organization| organization.name.as_str()).collect();
        assert_eq!(names, ["Ada", "two", "three"]);
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        refused!(access::owner(&mut conn, &ada, second.first().unwrap().id).await, Error::NotAnOwner);
    }

    async fn a_flood_of_sign_ins_is_refused_with_a_delay(t: Fixture) {
        let (memory_kib, passes) = (32 * 1024, 3);
        let hashing = hashing::Options { concurrent_max: 1, waiting_max: 0, memory_kib, passes, ..HASHING };
        let service = node(&t, auth::Options { hashing, ..options() }).await;
        let flood = (0..8).map(|_| service.login(nobody_static(), login("ada@example.com", "a guess"), None));
        let outcomes: Vec<_> =
            futures_util::future::join_all(flood).await.into_iter().map(|outcome| outcome.err().unwrap()).collect();
        let busy = outcomes.iter().filter(|error| matches!(error, Error::HashingBusy)).count();
        assert!(busy >= 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|error| matches!(error, Error::HashingBusy | Error::InvalidCredentials)));
        assert!(Error::HashingBusy.retry_after().is_some());
    }
}
