//! Signing keys over months, on several nodes, by a clock that is moved.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::keys::{KeyId, Rotate};
use capecontrol::auth::model::rotation::{Duty, PUBLISHED_AHEAD};
use capecontrol::auth::service::Issued;
use capecontrol::auth::{Caller, Error, Origin, Service, token};

use super::{PASSWORD, authenticated, count, login, nobody, node, options, signed_in};
use crate::support::{Fixture, on_both};

const DAY: Duration = Duration::from_hours(24);
const KEYS: &str = "SELECT CAST(count(*) AS bigint) FROM signing_keys";

fn operator() -> Caller {
    Caller::system("test")
}

fn kid(issued: &Issued) -> KeyId {
    token::key_id(issued.access_token.expose()).unwrap()
}

fn with_duty(service: &Service, duty: Duty) -> Vec<KeyId> {
    let keys = service.signing_keys(&operator()).unwrap();
    keys.into_iter().filter(|key| key.duty == duty).map(|key| key.id).collect()
}

async fn again(service: &Service) -> Issued {
    service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap()
}

fn published(service: &Service) -> Vec<String> {
    let jwks = service.jwks();
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

on_both! {
    async fn keys_rotate_by_themselves_and_every_node_follows(t: Fixture) {
        let (here, there) = (node(&t, options()).await, node(&t, options()).await);
        let first = signed_in(&here, "ada@example.com").await;
        let next = with_duty(&here, Duty::Next)[0];
        // Published thirty days ahead, on both.
        for service in [&here, &there] {
            assert_eq!(published(service), [kid(&first).to_string(), next.to_string()]);
        }
        t.clock.advance(Duration::from_secs(30 * 24 * 3_600 - 1));
        let last = again(&here).await;
        assert_eq!(kid(&last), kid(&first));
        t.clock.advance(Duration::from_secs(1));
        // The time has come, without anybody having looked.
        let second = again(&there).await;
        assert_eq!(kid(&second), next);
        for issued in [&last, &second] {
            authenticated(&here, issued).await.unwrap();
            authenticated(&there, issued).await.unwrap();
        }
        // Both look at once, and one key is made.
        let (one, two) = futures_util::future::join(here.upkeep(), there.upkeep()).await;
        one.unwrap();
        two.unwrap();
        assert_eq!(count(&t, KEYS).await, 3);
        for service in [&here, &there] {
            service.upkeep().await.unwrap();
            assert_eq!(with_duty(service, Duty::Next).len(), 1);
        }
        assert_eq!(published(&here), published(&there));
    }

    async fn a_retired_key_verifies_until_its_last_token_has_expired(t: Fixture) {
        let service = node(&t, options()).await;
        signed_in(&service, "ada@example.com").await;
        t.clock.advance(Duration::from_secs(30 * 24 * 3_600 - 1));
        let day = service.issue_token(&operator(), "ada@example.com", "test", DAY).await.unwrap();
        let old = token::key_id(day.access_token.expose()).unwrap();
        t.clock.advance(Duration::from_secs(1));
        service.upkeep().await.unwrap();
        assert_eq!((count(&t, KEYS).await, with_duty(&service, Duty::Retired)), (3, vec![old]));
        t.clock.advance(Duration::from_secs(24 * 3_600 - 2));
        service.upkeep().await.unwrap();
        service.authenticate(day.access_token.expose(), Origin::default()).await.unwrap();
        t.clock.advance(Duration::from_secs(1));
        let over = service.authenticate(day.access_token.expose(), Origin::default()).await;
        assert!(matches!(over, Err(Error::TokenExpired)), "{over:?}");
        t.clock.advance(Duration::from_secs(61));
        service.upkeep().await.unwrap();
        assert_eq!((count(&t, KEYS).await, with_duty(&service, Duty::Retired)), (2, vec![]));
    }

    async fn a_year_of_nodes_that_look_leaves_no_gap(t: Fixture) {
        let nodes = [node(&t, options()).await, node(&t, options()).await];
        signed_in(&nodes[0], "ada@example.com").await;
        let mut seen = std::collections::BTreeSet::new();
        for week in 0_usize..52 {
            t.clock.advance(DAY * 7);
            // Each looks every other week only.
            nodes[week % 2].upkeep().await.unwrap();
            let issued = again(&nodes[week % 2]).await;
            seen.insert(kid(&issued));
            for node in &nodes {
                authenticated(node, &issued).await.unwrap();
            }
        }
        assert!((12..=13).contains(&seen.len()), "{} keys signed", seen.len());
        assert!(count(&t, KEYS).await <= 3);
    }

    async fn a_leaked_key_is_worth_nothing_within_seconds(t: Fixture) {
        let (here, there) = (node(&t, options()).await, node(&t, options()).await);
        let issued = signed_in(&here, "ada@example.com").await;
        authenticated(&there, &issued).await.unwrap();
        let ahead = with_duty(&here, Duty::Next);
        let refused = here.rotate_keys(&nobody(), Rotate::Retire(kid(&issued))).await;
        assert!(matches!(refused, Err(Error::NotAnAdministrator)));
        here.rotate_keys(&operator(), Rotate::Retire(kid(&issued))).await.unwrap();
        for node in [&here, &there] {
            node.upkeep().await.unwrap();
            let refused = authenticated(node, &issued).await;
            assert!(matches!(refused, Err(Error::TokenInvalid)), "{refused:?}");
            // The refresh token is good, and the key that was published long ago signs.
            let next = node.refresh(&nobody(), &issued.refresh_token, None).await.unwrap();
            assert_eq!(vec![kid(&next)], ahead);
            authenticated(node, &next).await.unwrap();
        }
        let unknown = here.rotate_keys(&operator(), Rotate::Retire(kid(&issued))).await;
        assert!(matches!(unknown, Err(Error::NoSuchKey)), "{unknown:?}");
        // Nobody knows which leaked.
        let last = here.refresh(&nobody(), &issued.refresh_token, None).await.unwrap();
        here.rotate_keys(&operator(), Rotate::RetireAll).await.unwrap();
        there.upkeep().await.unwrap();
        for node in [&here, &there] {
            assert!(authenticated(node, &last).await.is_err());
            authenticated(node, &again(&here).await).await.unwrap();
        }
    }

    async fn the_next_key_takes_over_early_but_not_before_it_is_known(t: Fixture) {
        let service = node(&t, options()).await;
        let first = signed_in(&service, "ada@example.com").await;
        t.clock.advance(Duration::from_mins(30));
        service.rotate_keys(&operator(), Rotate::Next).await.unwrap();
        assert_eq!(kid(&again(&service).await), kid(&first));
        t.clock.advance(Duration::from_mins(30));
        let second = again(&service).await;
        assert_ne!(kid(&second), kid(&first));
        service.upkeep().await.unwrap();
        // Two operators at once.
        t.clock.advance(DAY);
        let (one, two) = futures_util::future::join(
            service.rotate_keys(&Caller::system("test"), Rotate::Next),
            service.rotate_keys(&Caller::system("test"), Rotate::Next),
        )
        .await;
        one.unwrap();
        two.unwrap();
        assert_ne!(kid(&again(&service).await), kid(&second));
        service.upkeep().await.unwrap();
        assert_eq!(with_duty(&service, Duty::Signing).len(), 1);
        assert_eq!(with_duty(&service, Duty::Next).len(), 1);
    }

    async fn nodes_whose_clocks_differ_know_each_others_keys(t: Fixture) {
        use capecontrol::base::{ManualClock, SeededRng, World};
        let here = node(&t, options()).await;
        let behind = Arc::new(ManualClock::new(t.world.now().minus(Duration::from_secs(1))));
        let world = World::new(Arc::clone(&behind) as _, Arc::new(SeededRng::new(99)));
        let root = capecontrol::keyring::RootKey::new([7; 32]);
        let there = Service::new(t.db.clone(), world.clone(), options(), root).unwrap();
        there.prepare().await.unwrap();
        signed_in(&here, "ada@example.com").await;
        let turn = t.world.now().plus(DAY * 30);
        t.clock.set(turn);
        behind.set(turn.minus(Duration::from_secs(1)));
        let (one, two) = (again(&here).await, again(&there).await);
        assert_ne!(kid(&one), kid(&two));
        for issued in [&one, &two] {
            here.authenticate(issued.access_token.expose(), Origin::default()).await.unwrap();
            there.authenticate(issued.access_token.expose(), Origin::default()).await.unwrap();
        }
    }
}

/// Envoy keeps the published keys for a while: the next key must be published for longer than that and a token's life
/// before it signs.
#[test]
fn the_proxy_learns_of_a_key_long_before_it_signs() {
    let configured = std::fs::read_to_string("envoy/envoy.yaml").unwrap();
    let (_, rest) = configured.split_once("cache_duration: ").unwrap();
    let seconds: u64 = rest.split_once('s').unwrap().0.parse().unwrap();
    let life = options().access_token_ttl;
    assert!(PUBLISHED_AHEAD > life + Duration::from_secs(seconds), "{seconds}");
}
