//! Sessions and the tokens of them: exchanged, ended, forged.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::keys::KeyPair;
use capecontrol::auth::token::{self, Terms};
use capecontrol::auth::{self, Error, Origin, Service};
use capecontrol::base::{Secret, SessionId};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::idempotency;
use capecontrol::keyring::RootKey;

use super::{
    PASSWORD, authenticated, count, login, nobody, node, options, refused, request_key, signed_in, stands,
};
use crate::support::{Fixture, on_both};

on_both! {
    async fn a_refresh_token_is_good_once_and_its_second_use_ends_the_session(t: Fixture) {
        let service = node(&t, options()).await;
        let first = signed_in(&service, "ada@example.com").await;
        let second = service.refresh(&nobody(), &first.refresh_token, None).await.unwrap();
        assert_ne!(first.refresh_token, second.refresh_token);
        let third = service.refresh(&nobody(), &second.refresh_token, None).await.unwrap();
        authenticated(&service, &third).await.unwrap();
        refused!(service.refresh(&nobody(), &first.refresh_token, None).await, Error::RefreshTokenReused);
        // The whole family is gone: the newest token, and every access token, at once on this node.
        refused!(service.refresh(&nobody(), &third.refresh_token, None).await, Error::SessionRevoked);
        for issued in [&first, &second, &third] {
            refused!(authenticated(&service, issued).await, Error::SessionRevoked);
        }
        // Another sign-in of the same person is not touched.
        let other = service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
        authenticated(&service, &other).await.unwrap();
    }

    async fn many_exchanges_of_one_token_at_once_go_on_in_one_family(t: Fixture) {
        let service = node(&t, options()).await;
        let first = signed_in(&service, "ada@example.com").await;
        let many = (0..8).map(|_| {
            let (service, token) = (Arc::clone(&service), first.refresh_token.clone());
            async move { service.refresh(&nobody(), &token, None).await }
        });
        let outcomes = futures_util::future::join_all(many).await;
        let issued: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        for one in &issued {
            assert_eq!(one.refresh_token, issued[0].refresh_token);
            authenticated(&service, one).await.unwrap();
        }
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM refresh_tokens").await, 2);
        // Each goes on from there, together.
        let next = service.refresh(&nobody(), &issued[0].refresh_token, None).await.unwrap();
        let again = service.refresh(&nobody(), &issued[7].refresh_token, None).await.unwrap();
        assert_eq!(next.refresh_token, again.refresh_token);
    }

    async fn the_repetition_of_an_answered_exchange_is_no_second_use(t: Fixture) {
        let service = node(&t, options()).await;
        let first = signed_in(&service, "ada@example.com").await;
        let key = request_key(9, 9);
        let second = service.refresh(&nobody(), &first.refresh_token, Some(&key)).await.unwrap();
        refused!(
            service.refresh(&nobody(), &first.refresh_token, Some(&key)).await,
            Error::Idempotency(idempotency::Error::SecretAlreadyIssued)
        );
        service.refresh(&nobody(), &second.refresh_token, None).await.unwrap();
        // With a key of its own it is one, as somebody has gone on, and the refusal does not keep the key.
        for _ in 0..2 {
            let refusal = service.refresh(&nobody(), &first.refresh_token, Some(&request_key(10, 9))).await;
            assert!(matches!(refusal, Err(Error::RefreshTokenReused | Error::SessionRevoked)));
        }
    }

    async fn invented_refresh_tokens_are_refused(t: Fixture) {
        let service = node(&t, options()).await;
        signed_in(&service, "ada@example.com").await;
        for token in ["", "x", &"x".repeat(5_000), &t.world.token()] {
            let token = Secret::new(token.to_owned());
            refused!(service.refresh(&nobody(), &token, None).await, Error::RefreshTokenInvalid);
        }
    }

    async fn a_session_ends_by_itself(t: Fixture) {
        const DAY: Duration = Duration::from_hours(24);
        let service = node(&t, options()).await;
        let unused = signed_in(&service, "ada@example.com").await;
        let mut used = service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
        for _ in 0..4 {
            t.clock.advance(DAY * 20);
            used = service.refresh(&nobody(), &used.refresh_token, None).await.unwrap();
        }
        refused!(service.refresh(&nobody(), &unused.refresh_token, None).await, Error::SessionExpired);
        // Ninety days after the sign-in even a session in use is over.
        t.clock.advance(DAY * 10);
        refused!(service.refresh(&nobody(), &used.refresh_token, None).await, Error::SessionExpired);
    }

    async fn signing_out_ends_the_session_and_always_succeeds(t: Fixture) {
        let service = node(&t, options()).await;
        let issued = signed_in(&service, "ada@example.com").await;
        let ada = authenticated(&service, &issued).await.unwrap();
        stands(&service, &ada, true).await;
        for _ in 0..2 {
            service.logout(&nobody(), &issued.refresh_token, None).await.unwrap();
        }
        refused!(authenticated(&service, &issued).await, Error::SessionRevoked);
        stands(&service, &ada, false).await;
        refused!(service.refresh(&nobody(), &issued.refresh_token, None).await, Error::SessionRevoked);
        for token in ["", "unknown", &"x".repeat(5_000)] {
            service.logout(&nobody(), &Secret::new(token.to_owned()), None).await.unwrap();
        }
    }

    async fn a_session_ended_on_one_node_is_refused_on_the_other_within_seconds(t: Fixture) {
        let (here, there) = (node(&t, options()).await, node(&t, options()).await);
        let issued = signed_in(&here, "ada@example.com").await;
        let ada = authenticated(&there, &issued).await.unwrap();
        here.logout(&nobody(), &issued.refresh_token, None).await.unwrap();
        refused!(authenticated(&here, &issued).await, Error::SessionRevoked);
        // There the session is remembered for three seconds, and a stream looks every two.
        t.clock.advance(Duration::from_millis(2_999));
        authenticated(&there, &issued).await.unwrap();
        t.clock.advance(Duration::from_millis(1));
        refused!(authenticated(&there, &issued).await, Error::SessionRevoked);
        stands(&there, &ada, false).await;
    }

    async fn a_token_expires_by_the_clock_that_was_handed_in(t: Fixture) {
        let service = node(&t, options()).await;
        let issued = signed_in(&service, "ada@example.com").await;
        authenticated(&service, &issued).await.unwrap();
        t.clock.advance(Duration::from_secs(599));
        t.clock.advance(Duration::from_secs(1));
        refused!(authenticated(&service, &issued).await, Error::TokenExpired);
    }

    async fn hostile_tokens_are_refused(t: Fixture) {
        let service = node(&t, options()).await;
        let issued = signed_in(&service, "ada@example.com").await;
        let token = issued.access_token.expose().clone();
        let kid = token::key_id(&token).unwrap();
        let terms = Terms::new("https://cape.example", "capecontrol", Duration::from_mins(10)).unwrap();
        let session: SessionId = t.world.id();
        let claims = terms.claims(issued.account.id, session, t.world.id(), t.world.now());
        let foreign = KeyPair::from_seed(&[9; 32]).encoding();
        let (head, rest) = token.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        let hostile = [
            // Another key under our key's name, an unknown name, and a name that is none.
            token::sign(&claims, &kid.to_string(), &foreign).unwrap(),
            token::sign(&claims, &session.to_string(), &foreign).unwrap(),
            token::sign(&claims, "../../etc/passwd", &foreign).unwrap(),
            // {"alg":"none","typ":"at+jwt"} with our body.
            format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{body}."),
            format!("{head}.{body}."),
            format!("{head}.{body}"),
            token[..token.len() - 1].to_owned(),
            String::new(),
            ". .".to_owned(),
        ];
        for token in hostile {
            refused!(service.authenticate(&token, Origin::default()).await, Error::TokenInvalid);
        }
        // Our own key, for another audience and by another issuer.
        for other in [
            auth::Options { audience: "other".to_owned(), ..options() },
            auth::Options { issuer: "https://other.example".to_owned(), ..options() },
        ] {
            let other = node(&t, other).await;
            let issued = other.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
            authenticated(&other, &issued).await.unwrap();
            refused!(authenticated(&service, &issued).await, Error::TokenInvalid);
        }
        authenticated(&service, &issued).await.unwrap();
    }

    async fn a_key_that_is_gone_takes_the_tokens_with_it_that_were_verified_before(t: Fixture) {
        let service = node(&t, options()).await;
        let issued = signed_in(&service, "ada@example.com").await;
        authenticated(&service, &issued).await.unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.shared_sql("DELETE FROM signing_keys").execute().await.unwrap();
        tx.commit().await.unwrap();
        t.clock.advance(Duration::from_secs(5));
        // A token of a key that is not known makes the node look.
        let terms = Terms::new("https://cape.example", "capecontrol", Duration::from_mins(10)).unwrap();
        let claims = terms.claims(issued.account.id, t.world.id(), t.world.id(), t.world.now());
        let kid = t.world.id::<Service>().to_string();
        let unknown = token::sign(&claims, &kid, &KeyPair::from_seed(&[9; 32]).encoding()).unwrap();
        refused!(service.authenticate(&unknown, Origin::default()).await, Error::TokenInvalid);
        refused!(authenticated(&service, &issued).await, Error::TokenInvalid);
    }

    async fn nodes_that_start_at_once_share_one_signing_key(t: Fixture) {
        let nodes = futures_util::future::join_all((0..4).map(|_| node(&t, options()))).await;
        // One that signs, and the next.
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM signing_keys").await, 2);
        for node in &nodes {
            node.upkeep().await.unwrap();
        }
        let first = nodes.first().unwrap();
        let issued = signed_in(first, "ada@example.com").await;
        for node in &nodes {
            authenticated(node, &issued).await.unwrap();
            assert_eq!(node.jwks(), first.jwks());
        }
        let jwks = first.jwks();
        let key = jwks.pointer("/keys/0").unwrap();
        let told = |name| key.get(name).and_then(serde_json::Value::as_str);
        assert_eq!(["kty", "crv", "alg"].map(told), [Some("OKP"), Some("Ed25519"), Some("EdDSA")]);
        let kid = token::key_id(issued.access_token.expose()).unwrap();
        assert_eq!(told("kid"), Some(kid.to_string().as_str()));
        assert!(key.get("d").is_none());
        // Another root key opens nothing, and says so.
        let stranger = Service::new(t.db.clone(), t.world.clone(), options(), RootKey::new([8; 32])).unwrap();
        refused!(stranger.prepare().await, Error::Setup(_));
    }
}
