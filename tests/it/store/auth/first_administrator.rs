//! The first administrator and the password that lets them in once.

use std::time::Duration;

use capecontrol::auth::{self, Error, Role};
use capecontrol::base::Secret;

use super::{
    PASSWORD, authenticated, count, first_password, login, nobody, nobody_static, node, options, refused,
    registration,
};
use crate::support::{Fixture, on_both};

on_both! {
    async fn the_first_administrator_gets_in_once(t: Fixture) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("administrator");
        let options = auth::Options { one_time_password_file: Some(file.clone()), ..options() };
        let service = node(&t, options).await;
        let (email, password) = first_password(&service).await.unwrap().unwrap();
        std::fs::write(&file, password.expose()).unwrap();
        // As long as it is good, no start issues another.
        assert!(first_password(&service).await.unwrap().is_none());

        let enter = |password: &Secret<String>| login(email.as_str(), password.expose());
        refused!(
            service.login(&nobody(), login(email.as_str(), "a guess of theirs"), None).await,
            Error::InvalidCredentials
        );
        assert!(file.exists());
        let issued = service.login(&nobody(), enter(&password), None).await.unwrap();
        assert_eq!(issued.account.role, Role::Admin);
        assert!(authenticated(&service, &issued).await.unwrap().is_admin());
        assert!(!file.exists());
        refused!(service.login(&nobody(), enter(&password), None).await, Error::OneTimePasswordSpent);

        // The next start issues another, and the session of the first goes on.
        let (_, second) = first_password(&service).await.unwrap().unwrap();
        refused!(service.login(&nobody(), enter(&password), None).await, Error::InvalidCredentials);
        authenticated(&service, &issued).await.unwrap();
        // A day later it is worth nothing, and is replaced again.
        t.clock.advance(Duration::from_hours(24));
        refused!(service.login(&nobody(), enter(&second), None).await, Error::OneTimePasswordSpent);
        let (_, third) = first_password(&service).await.unwrap().unwrap();
        service.login(&nobody(), enter(&third), None).await.unwrap();
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 1);
    }

    async fn a_password_that_could_not_be_written_never_counts(t: Fixture) {
        let service = node(&t, options()).await;
        let full = |_: &auth::Email, _: &Secret<String>| Err(std::io::Error::other("the disk is full"));
        refused!(service.ensure_administrator(full).await, Error::Setup(_));
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 0);
        let (email, password) = first_password(&service).await.unwrap().unwrap();
        service.login(&nobody(), login(email.as_str(), password.expose()), None).await.unwrap();
    }

    async fn of_many_sign_ins_with_a_one_time_password_one_succeeds(t: Fixture) {
        let service = node(&t, options()).await;
        let (email, password) = first_password(&service).await.unwrap().unwrap();
        let many = (0..6).map(|_| service.login(nobody_static(), login(email.as_str(), password.expose()), None));
        let outcomes = futures_util::future::join_all(many).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM sessions").await, 1);
    }

    async fn nodes_that_start_at_once_make_one_administrator(t: Fixture) {
        let nodes = futures_util::future::join_all((0..4).map(|_| node(&t, options()))).await;
        let made = futures_util::future::join_all(nodes.iter().map(|node| first_password(node))).await;
        assert_eq!(made.into_iter().filter_map(Result::unwrap).count(), 1);
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 1);
    }

    async fn the_administrators_address_is_not_taken_from_its_owner(t: Fixture) {
        let options = auth::Options { administrator_email: "ada@example.com".to_owned(), ..options() };
        let service = node(&t, options).await;
        service.register(&nobody(), registration("ada@example.com"), None).await.unwrap();
        refused!(first_password(&service).await, Error::Setup(_));
        let issued = service.login(&nobody(), login("ada@example.com", PASSWORD), None).await.unwrap();
        assert_eq!(issued.account.role, Role::Customer);
    }
}
