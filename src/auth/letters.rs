//! The letters that this domain sends.
//!
//! Whoever can have a letter sent to somebody else could abuse us to write to that person. So subjects are ours, word
//! for word; what people typed (a name, the name of an organisation, what a client calls itself) stands only where it
//! must, shortened, in quotes, and so that no mail program makes a link of it.
//!
//! A link's token stands behind the `#`, which a browser keeps to itself: it is in no log of a server or proxy.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::{Secret, Timestamp};
use crate::mail::parts::{Part, letter, says, typed};

pub use crate::mail::parts::Letter;

/// How much of a name a letter shows.
const NAME_CHARS_MAX: usize = 60;
/// How much of what a client calls itself a letter shows.
const AGENT_CHARS_MAX: usize = 80;

const OWN_ACCOUNT: &str = "You get this letter because it concerns the security of your account.";
const ADDRESS_GIVEN: &str = "You get this letter because somebody gave us this e-mail address.";

/// When and from where something was done to an account.
#[derive(Clone, Copy)]
pub struct Deed<'a> {
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub address: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: &'a str,
}

/// Somebody is invited.
#[derive(Clone, Copy)]
pub struct Invitation<'a> {
    /// The name of the person who invites; none when the platform itself does.
    pub inviter: Option<&'a str>,
    /// The organisation that they are invited to; none when they are invited to the platform.
    pub organization: Option<&'a str>,
    /// What accepts the invitation.
    pub token: &'a Secret<String>,
    /// Until when it can be accepted.
    pub good_until: Timestamp,
}

/// To somebody who has just registered, with the link that verifies the address.
#[must_use]
pub fn welcome(site: &str, token: &Secret<String>, good_for: Duration) -> Letter {
    let parts = [
        says("Your Cape Control account is ready. Please confirm that this e-mail address is yours:"),
        link("Confirm the address", site, "verify-email", token),
        says(&format!("The link works once, within {}.", minutes(good_for))),
        says("If you did not register, somebody used your address by mistake; you can ignore this letter."),
    ];
    letter("Welcome to Cape Control", &parts, ADDRESS_GIVEN, site)
}

/// To somebody whose address was given at a registration although it has an account.
#[must_use]
pub fn already_registered(site: &str) -> Letter {
    let parts = [
        says(
            "Somebody tried to register a Cape Control account with this e-mail address. You already have one, so \
             nothing was changed.",
        ),
        says(
            "If it was you, simply sign in. If you forgot the password, ask for another one on the sign-in page.",
        ),
        says("If it was not you, you need not do anything; nobody was told that you have an account."),
    ];
    letter("You already have a Cape Control account", &parts, ADDRESS_GIVEN, site)
}

/// To the owner of an account whose address is to be verified.
#[must_use]
pub fn verify_email(site: &str, token: &Secret<String>, good_for: Duration) -> Letter {
    let parts = [
        says("Please confirm that this e-mail address is yours:"),
        link("Confirm the address", site, "verify-email", token),
        says(&format!(
            "The link works once, within {}. Links that came before no longer work.",
            minutes(good_for)
        )),
        says("If you did not ask for this, you can ignore this letter."),
    ];
    letter("Confirm your e-mail address", &parts, ADDRESS_GIVEN, site)
}

/// To the owner of an account who forgot the password.
#[must_use]
pub fn reset_password(site: &str, token: &Secret<String>, good_for: Duration) -> Letter {
    let parts = [
        says(
            "Somebody asked for a new password for your Cape Control account. If it was you, choose one here:",
        ),
        link("Choose a new password", site, "reset-password", token),
        says(&format!(
            "The link works once, within {}. Links that came before no longer work.",
            minutes(good_for)
        )),
        says("If it was not you, you can ignore this letter: your password stays what it is."),
    ];
    letter("Choose a new password", &parts, ADDRESS_GIVEN, site)
}

/// To the owner of an account whose password was changed.
#[must_use]
pub fn password_changed(site: &str, deed: &Deed<'_>) -> Letter {
    let parts = [
        says("The password of your Cape Control account was changed, and other devices were signed out."),
        facts(deed),
        says(
            "If it was you, you need not do anything. If it was not, ask for a new password on the sign-in page at \
             once: that signs everybody out.",
        ),
    ];
    letter("Your password was changed", &parts, OWN_ACCOUNT, site)
}

/// To the owner of an account that was signed in to in a way that it was not before.
#[must_use]
pub fn new_sign_in(site: &str, deed: &Deed<'_>) -> Letter {
    let parts = [
        says(
            "Your Cape Control account was signed in to from a device or a place that we had not seen before.",
        ),
        facts(deed),
        says(
            "If it was you, you need not do anything. If it was not, ask for a new password on the sign-in page at \
             once: that signs everybody out.",
        ),
    ];
    letter("A new sign-in to your account", &parts, OWN_ACCOUNT, site)
}

/// To the owner of an account one of whose refresh tokens was used twice: somebody holds a copy.
#[must_use]
pub fn token_reused(site: &str, deed: &Deed<'_>) -> Letter {
    let parts = [
        says(
            "A key that keeps one of your devices signed in was used a second time, which means that somebody may \
             hold a copy of it. That device was signed out; sign in there again.",
        ),
        facts(deed),
        says(
            "If you do not know how that came about, change your password: that signs other devices out too.",
        ),
    ];
    letter("A device was signed out for safety", &parts, OWN_ACCOUNT, site)
}

/// To somebody who is invited to an organisation, or to the platform.
#[must_use]
pub fn invitation(site: &str, invitation: &Invitation<'_>) -> Letter {
    let who = invitation.inviter.map_or_else(|| "The team of Cape Control".to_owned(), quoted);
    let (subject, what, page) = match invitation.organization {
        Some(name) => (
            "You are invited to an organisation on Cape Control",
            format!("{who} invites you to the organisation {} on Cape Control.", quoted(name)),
            "accept-invitation",
        ),
        None => {
            ("You are invited to Cape Control", format!("{who} invites you to Cape Control."), "register")
        }
    };
    let parts = [
        says(&what),
        link("Look at the invitation", site, page, invitation.token),
        says(&format!("The invitation can be accepted until {}.", date(invitation.good_until))),
        says("If you do not know who this is, you can ignore this letter: nothing happens then."),
    ];
    letter(subject, &parts, ADDRESS_GIVEN, site)
}

fn link(label: &'static str, site: &str, page: &str, token: &Secret<String>) -> Part {
    Part::Link { label, url: format!("{site}/{page}#token={}", token.expose()) }
}

fn facts(deed: &Deed<'_>) -> Part {
    let agent = typed(deed.agent, AGENT_CHARS_MAX);
    let mut facts = vec![("When", date(deed.at))];
    facts.extend(deed.address.map(|address| ("From the address", address.to_string())));
    if !agent.is_empty() {
        facts.push(("With", agent));
    }
    Part::Facts(facts)
}

fn quoted(name: &str) -> String {
    format!("“{}”", typed(name, NAME_CHARS_MAX))
}

fn minutes(span: Duration) -> String {
    format!("{} minutes", span.as_secs() / 60)
}

/// Such as `20 November 2026, 10:05 UTC`.
fn date(at: Timestamp) -> String {
    let utc = at.to_utc();
    format!("{} {} {}, {:02}:{:02} UTC", utc.day(), utc.month(), utc.year(), utc.hour(), utc.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "https://cape.example";

    fn token() -> Secret<String> {
        Secret::new("AbC-_1".to_owned())
    }

    #[test]
    fn a_link_carries_its_token_behind_the_hash() {
        let letter = reset_password(SITE, &token(), Duration::from_mins(30));
        assert!(letter.text.contains("https://cape.example/reset-password#token=AbC-_1\n"));
        assert!(letter.html.contains("href=\"https://cape.example/reset-password#token=AbC-_1\""));
        assert!(letter.text.contains("within 30 minutes"));
    }

    #[test]
    fn a_name_that_was_typed_writes_no_letter_of_its_own() {
        let nasty = "Eve\r\n\r\nYour account is blocked, see https://evil.example/<a href=\"x\">now</a>";
        let (token, good_until) = (token(), Timestamp::from_seconds(1_795_168_800));
        let invited =
            Invitation { inviter: Some(nasty), organization: Some(nasty), token: &token, good_until };
        let letter = invitation(SITE, &invited);
        assert_eq!(letter.subject, "You are invited to an organisation on Cape Control");
        assert!(
            letter
                .text
                .starts_with("“Eve Your account is blocked, see https:/ /evil. example/<a hre…” invites you")
        );
        assert!(!letter.html.contains("<a href=\"x\"") && !letter.html.contains("https://evil"));
        assert!(letter.text.contains("until 20 November 2026, 10:00 UTC."));
    }

    #[test]
    fn a_deed_tells_what_is_known_of_it() {
        let at = Timestamp::from_seconds(1_795_168_800);
        let address = Some(IpAddr::from([203, 0, 113, 9]));
        let letter = new_sign_in(SITE, &Deed { at, address, agent: "Firefox" });
        assert!(
            letter.text.contains(
                "When: 20 November 2026, 10:00 UTC\nFrom the address: 203.0.113.9\nWith: Firefox\n"
            )
        );
        let letter = token_reused(SITE, &Deed { at, address: None, agent: "" });
        assert!(!letter.text.contains("From the address") && !letter.text.contains("With"));
    }
}
