//! The letters that this domain sends.
//!
//! Whoever registers with somebody else's address must not be able to write to that person through us: nothing that a
//! stranger typed goes into a letter but the names in an invitation, shortened and quoted.

use crate::base::{Secret, Timestamp};

/// How much of a name a letter shows.
const NAME_CHARS_MAX: usize = 60;

/// A letter without its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject.
    pub subject: &'static str,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// To somebody who has just registered.
#[must_use]
pub fn welcome(public_url: &str) -> Letter {
    letter(
        "Welcome to Cape Control",
        &[
            "Your Cape Control account is ready.",
            "Sign in with this e-mail address and the password you chose.",
            "If you did not register, somebody used your address by mistake; you can ignore this letter.",
        ],
        public_url,
    )
}

/// To somebody whose address was given at a registration although it has an account.
#[must_use]
pub fn already_registered(public_url: &str) -> Letter {
    letter(
        "You already have a Cape Control account",
        &[
            "Somebody tried to register a Cape Control account with this e-mail address. You already have one, so \
             nothing was changed.",
            "If it was you, simply sign in with the password you chose back then.",
            "If it was not you, you need not do anything; nobody was told that you have an account.",
        ],
        public_url,
    )
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

/// To somebody who is invited to an organisation, or to the platform.
#[must_use]
pub fn invitation(site: &str, invitation: &Invitation<'_>) -> Letter {
    let who = invitation.inviter.map_or_else(|| "The team of Cape Control".to_owned(), quoted);
    let what = invitation.organization.map_or_else(
        || format!("{who} invites you to Cape Control."),
        |name| format!("{who} invites you to the organisation {} on Cape Control.", quoted(name)),
    );
    let until = format!("The link is good once, until {}.", invitation.good_until.to_rfc3339());
    letter(
        "You are invited to an organisation on Cape Control",
        &[
            &what,
            "To accept, sign in with this e-mail address, or register with it first, and open the link.",
            &until,
            "If you do not know who this is, you can ignore this letter: nothing happens then.",
        ],
        // Behind the `#`, which browsers do not send: the token is in no log of addresses.
        &format!("{site}/accept-invitation#token={}", invitation.token.expose()),
    )
}

/// What people typed, shortened, in quotes, and so that no mail program makes a link of it.
fn quoted(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, ' ' | '-' | '\'') { c } else { ' ' };
    format!("“{}”", name.chars().take(NAME_CHARS_MAX).map(plain).collect::<String>().trim())
}

fn letter(subject: &'static str, paragraphs: &[&str], public_url: &str) -> Letter {
    let text = format!("{}\n\n{public_url}\n", paragraphs.join("\n\n"));
    let (url, body) = (escaped(public_url), escaped(&paragraphs.join("\n")).replace('\n', "</p>\n<p>"));
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><body>\n<p>{body}</p>\n<p><a href=\"{url}\">{url}</a></p>\n</body></html>\n"
    );
    Letter { subject, text, html }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_carries_names_and_no_links_of_others() {
        let token = Secret::new("a-token".to_owned());
        let letter = invitation(
            "https://cape.example",
            &Invitation {
                inviter: Some("Ada\r\nBcc: eve@example.com"),
                organization: Some("<b>https://evil.example</b> Win now"),
                token: &token,
                good_until: Timestamp::from_seconds(1_795_000_000),
            },
        );
        for text in [&letter.text, &letter.html] {
            assert!(text.contains("https://cape.example/accept-invitation#token=a-token"), "{text}");
            assert!(
                !text.contains("evil.example") && !text.contains("Bcc:") && !text.contains("<b>"),
                "{text}"
            );
        }
    }

    #[test]
    fn letters_say_the_same_in_both_forms_and_escape_what_is_put_in() {
        let letter = welcome("https://cape.example/?a=1&b=\"2\"");
        assert!(letter.text.contains("https://cape.example/?a=1&b=\"2\""));
        assert!(letter.html.contains("href=\"https://cape.example/?a=1&amp;b=&quot;2&quot;\""));
        assert!(letter.html.contains("Your Cape Control account is ready."));
    }
}
