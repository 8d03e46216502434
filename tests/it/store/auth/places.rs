//! The letter about a sign-in from where the account was not seen before.

use std::net::IpAddr;
use std::time::Duration;

use capecontrol::auth::{Caller, Origin, Service};

use super::{PASSWORD, count, letters, login, nobody, node, patient, registration};
use crate::support::{Fixture, on_both};

const ADA: &str = "ada@example.com";
const SUBJECT: &str = "A new sign-in to your account";

fn from(address: &str, agent: &str) -> Caller {
    let peer: IpAddr = address.parse().unwrap();
    Caller::anonymous(Origin { request_id: "test".to_owned(), peer: Some(peer), agent: agent.to_owned() })
}

async fn sign_in(service: &Service, caller: &Caller) {
    service.login(caller, login(ADA, PASSWORD), None).await.unwrap();
}

async fn told(t: &Fixture) -> Vec<String> {
    letters(t)
        .await
        .into_iter()
        .filter(|letter| letter.subject == SUBJECT)
        .map(|letter| letter.text)
        .collect()
}

on_both! {
    async fn the_owner_is_told_of_a_new_place_once(t: Fixture) {
        let service = node(&t, patient()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        // Somebody has to sign in for the first time, and goes on doing so: with a newer browser, by another address.
        sign_in(&service, &from("203.0.113.9", "Firefox/141.0")).await;
        for _ in 0..2 {
            sign_in(&service, &from("203.0.7.1", "Firefox/142.0")).await;
        }
        assert_eq!(told(&t).await.len(), 0);
        for _ in 0..2 {
            sign_in(&service, &from("198.51.100.7", "Firefox/142.0")).await;
            sign_in(&service, &from("203.0.7.1", "curl\r\nBcc: eve@example.com")).await;
        }
        let told = told(&t).await;
        assert_eq!(told.len(), 2);
        for says in ["From the address: 198.51.100.7\nWith: Firefox/142.0\n", "With: curl Bcc: eve@example. com\n"] {
            assert!(told.iter().any(|letter| letter.contains(says)), "{says} in {told:?}");
        }
    }

    async fn letters_of_new_places_come_to_an_end(t: Fixture) {
        let service = node(&t, patient()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        for network in 0..40 {
            sign_in(&service, &from(&format!("10.{network}.0.1"), "Firefox")).await;
        }
        // The first place of all is not new, but it is one of the day's five.
        assert_eq!(told(&t).await.len(), 4);
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM account_places").await, 32);
        t.clock.advance(Duration::from_hours(24));
        sign_in(&service, &from("10.200.0.1", "Firefox")).await;
        assert_eq!(told(&t).await.len(), 5);
    }

    async fn a_wrong_password_is_no_place(t: Fixture) {
        let service = node(&t, patient()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        sign_in(&service, &from("203.0.113.9", "Firefox")).await;
        let elsewhere = from("198.51.100.7", "Firefox");
        assert!(service.login(&elsewhere, login(ADA, "a guess"), None).await.is_err());
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM account_places").await, 1);
    }
}
