//! Every letter as it is written to a file, held against the one in `tests/it/letters/`. `make gen` writes them: look
//! at the difference, and at the HTML in a browser, before committing it.

use std::net::IpAddr;
use std::time::Duration;

use capecontrol::auth::letters::{self, Deed, Invitation, Letter};
use capecontrol::base::{Secret, Timestamp};
use capecontrol::mail::{FileMailer, Mail, Mailer as _, Sender, Stamp};

use crate::generated::compare;

const SITE: &str = "https://cape.example";
const AT: Timestamp = Timestamp::from_seconds(1_795_168_800);
const GOOD_FOR: Duration = Duration::from_mins(30);

fn all() -> Vec<(&'static str, Letter)> {
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
async fn letters_are_written_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let sender = Sender::parse("Cape Control <no-reply@cape.example>").unwrap();
    let mailer = FileMailer::new(folder.path().to_owned(), sender).unwrap();
    for (number, (name, letter)) in all().into_iter().enumerate() {
        let stamp = Stamp { id: uuid::Uuid::from_u128(number as u128), at: AT };
        let (to, subject) = ("ada@example.com".to_owned(), letter.subject.to_owned());
        let mail = Mail { to, subject, text: letter.text, html: letter.html, good_until: None };
        mailer.send(stamp, &mail).await.unwrap();
        let written = std::fs::read_to_string(folder.path().join(format!("{}.eml", stamp.id))).unwrap();
        // Lines end as the repository's do.
        compare(&format!("tests/it/letters/{name}.eml"), &written.replace("\r\n", "\n"));
    }
}
