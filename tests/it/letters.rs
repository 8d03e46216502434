//! Every letter as it is written to a file, held against the one in `tests/it/letters/`. `make gen` writes them: look
//! at the difference, and at the HTML in a browser, before committing it.

use std::net::IpAddr;
use std::time::Duration;

use capecontrol::auth::letters::{self, Deed, Invitation, Letter};
use capecontrol::base::{Secret, Timestamp};
use capecontrol::mail::{FileMailer, Mail, Mailer as _, Sender, Stamp};
use capecontrol::payments::document::Document;
use capecontrol::payments::letter;
use capecontrol::payments::model::method::CardExpiry;

use crate::documents::sample;
use crate::generated::compare;

const SITE: &str = "https://cape.example";
const AT: Timestamp = Timestamp::from_seconds(1_795_168_800);
const GOOD_FOR: Duration = Duration::from_mins(30);

const TO: &str = "ada@example.com";

fn all() -> Vec<(&'static str, Mail)> {
    let of_accounts = of_accounts().into_iter().map(|(name, letter)| (name, Mail::to(TO, letter)));
    of_accounts.chain(of_payments()).collect()
}

/// Each brings a file. What stands in a real one is looked at elsewhere.
fn of_payments() -> Vec<(&'static str, Mail)> {
    let bring =
        |document: &Document| letter::bring(TO, SITE, document, b"%PDF-1.7 for tests\n".to_vec()).unwrap();
    let expiry = CardExpiry { year: 2027, month: 1 };
    vec![
        ("invoice", bring(&sample::full())),
        ("invoice-to-be-paid", bring(&sample::two_rates())),
        ("invoice-of-a-test", bring(&Document { test: true, ..sample::full() })),
        ("credit-note", bring(&sample::credit_note())),
        ("card-expires", letter::card_expires(TO, SITE, "Tea & Sons, see www.evil.example", expiry, false)),
        ("card-expires-of-a-test", letter::card_expires(TO, SITE, "", expiry, true)),
    ]
}

fn of_accounts() -> Vec<(&'static str, Letter)> {
    let token = Secret::new("Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC10b2tlbi0".to_owned());
    let address = Some(IpAddr::from([203, 0, 113, 9]));
    let deed = Deed { at: AT, address, agent: "Firefox/142.0 on Linux" };
    let good_until = AT.plus(Duration::from_hours(7 * 24));
    let (inviter, organization) = (Some("Ada <b>Lovelace</b>"), Some("Tea & Sons, see www.evil.example"));
    let invitation = Invitation { inviter, organization, token: &token, good_until };
    let platform = Invitation { inviter: None, organization: None, ..invitation };
    vec![
        ("welcome", letters::welcome(SITE, &token, GOOD_FOR)),
        ("already-registered", letters::already_registered(SITE)),
        ("verify-email", letters::verify_email(SITE, &token, GOOD_FOR)),
        ("reset-password", letters::reset_password(SITE, &token, GOOD_FOR)),
        ("password-changed", letters::password_changed(SITE, &deed)),
        ("new-sign-in", letters::new_sign_in(SITE, &deed)),
        ("token-reused", letters::token_reused(SITE, &deed)),
        ("invitation", letters::invitation(SITE, &invitation)),
        ("invitation-to-the-platform", letters::invitation(SITE, &platform)),
    ]
}

#[tokio::test]
async fn letters_are_as_generated() {
    let folder = tempfile::tempdir().unwrap();
    let sender = Sender::parse("Cape Control <no-reply@cape.example>").unwrap();
    let mailer = FileMailer::new(folder.path().to_owned(), sender).unwrap();
    for (number, (name, mail)) in all().into_iter().enumerate() {
        let stamp = Stamp { id: uuid::Uuid::from_u128(number as u128), at: AT };
        mailer.send(stamp, &mail).await.unwrap();
        let written = std::fs::read_to_string(folder.path().join(format!("{}.eml", stamp.id))).unwrap();
        // Lines end as the repository's do.
        compare(&format!("tests/it/letters/{name}.eml"), &written.replace("\r\n", "\n"));
    }
}
