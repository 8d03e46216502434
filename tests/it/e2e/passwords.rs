//! Proving an address, forgetting a password and changing it, over a real socket, with the letters as they are written.

use std::time::Duration;

use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::app::PASSWORD;
use crate::support::{App, Person, on_both};

const OTHER_PASSWORD: &str = "a quiet lorry of gravel";

fn client(t: &App) -> AuthServiceClient<Channel> {
    AuthServiceClient::new(t.channel())
}

/// The token in the only letter with this subject.
pub async fn token_of(t: &App, subject: &str) -> String {
    t.run_jobs().await;
    let letters = t.letters();
    let found: Vec<_> =
        letters.iter().filter(|letter| letter.contains(&format!("Subject: {subject}\r\n"))).collect();
    assert_eq!(found.len(), 1, "letters about {subject:?}");
    // As mail programs do it: a line that goes on ends with an equals sign.
    let text = found[0].replace("=\r\n", "").replace("=3D", "=");
    let (_, rest) = text.split_once("#token=").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

#[track_caller]
fn refused(status: &Status, code: Code, reason: &str) {
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason), "{status:?}");
}

async fn change(t: &App, person: &Person, current: &str, new: &str) -> Result<(), Status> {
    let mut request = Request::new(auth::ChangePasswordRequest {
        current_password: current.to_owned(),
        new_password: new.to_owned(),
        ..Default::default()
    });
    request.metadata_mut().insert("authorization", format!("Bearer {}", person.token).parse().unwrap());
    client(t).change_password(request).await.map(|_| ())
}

async fn stands(person: &Person) -> bool {
    person.account().get_account(auth::GetAccountRequest {}).await.is_ok()
}

on_both! {
    async fn a_new_account_proves_its_address_by_the_welcome_letter(t: App) {
        let ada = t.register("ada@example.com").await;
        let token = token_of(&t, "Welcome to Cape Control").await;
        let request = auth::VerifyEmailRequest { token, ..Default::default() };
        client(&t).verify_email(request.clone()).await.unwrap();
        let account = ada.account().get_account(auth::GetAccountRequest {}).await.unwrap().into_inner().account;
        assert!(account.unwrap().email_verified);
        let status = client(&t).verify_email(request).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "VERIFICATION_TOKEN_INVALID");
        // Whoever asks for another link to a verified address is answered and gets none.
        let again = auth::RequestEmailVerificationRequest { email: "ada@example.com".to_owned(), ..Default::default() };
        t.advance(Duration::from_mins(5));
        client(&t).request_email_verification(again).await.unwrap();
        t.run_jobs().await;
        assert_eq!(t.letters().len(), 1);
    }

    async fn a_forgotten_password_is_replaced_and_everybody_is_signed_out(t: App) {
        let ada = t.register("ada@example.com").await;
        let request = |email: &str| auth::RequestPasswordResetRequest { email: email.to_owned(), ..Default::default() };
        let known = client(&t).request_password_reset(request("Ada@Example.com")).await.unwrap();
        let unknown = client(&t).request_password_reset(request("nobody@example.com")).await.unwrap();
        assert_eq!(known.into_inner(), unknown.into_inner());
        let token = token_of(&t, "Choose a new password").await;
        let reset = |new_password: &str| auth::ResetPasswordRequest {
            token: token.clone(),
            new_password: new_password.to_owned(),
            ..Default::default()
        };
        let status = client(&t).reset_password(reset("passwordpassword")).await.unwrap_err();
        let details = status.get_error_details();
        let wrong = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(wrong.field, "new_password");
        assert!(wrong.description.starts_with("is too easy to guess: about 10^"), "{}", wrong.description);
        client(&t).reset_password(reset(OTHER_PASSWORD)).await.unwrap();
        assert!(!stands(&ada).await);
        t.sign_in("ada@example.com", OTHER_PASSWORD).await;
        t.run_jobs().await;
        let changed = |letter: &&String| letter.contains("Subject: Your password was changed\r\n");
        assert_eq!(t.letters().iter().filter(changed).count(), 1);
        let status = client(&t).reset_password(reset("gravel lorry number two")).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "VERIFICATION_TOKEN_INVALID");
    }

    async fn a_password_is_changed_by_whoever_knows_it(t: App) {
        let here = t.register("ada@example.com").await;
        let there = t.sign_in("ada@example.com", PASSWORD).await;
        let status = change(&t, &here, "not the password", OTHER_PASSWORD).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "CURRENT_PASSWORD_WRONG");
        assert!(stands(&there).await);
        change(&t, &here, PASSWORD, OTHER_PASSWORD).await.unwrap();
        assert!(stands(&here).await && !stands(&there).await);
        t.sign_in("ada@example.com", OTHER_PASSWORD).await;
        let mut without = Request::new(auth::ChangePasswordRequest::default());
        without.metadata_mut().insert("authorization", "Bearer not.a.token".parse().unwrap());
        refused(&client(&t).change_password(without).await.unwrap_err(), Code::Unauthenticated, "TOKEN_INVALID");
    }

    async fn operators_see_what_became_of_letters(t: App) {
        t.register("ada@example.com").await;
        t.run_jobs().await;
        let page = t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap();
        for line in [
            "capecontrol_mail_letters_total{outcome=\"sent\"} 1",
            "capecontrol_mail_letters_total{outcome=\"refused\"} 0",
            "capecontrol_mail_circuit{state=\"closed\"} 1",
            "capecontrol_mail_circuit{state=\"open\"} 0",
        ] {
            assert!(page.lines().any(|told| told == line), "{line} in\n{page}");
        }
    }
}
