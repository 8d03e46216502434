//! The letters that this domain sends.
//!
//! Nothing that a stranger typed goes into one: whoever registers with somebody else's address must not be able to
//! write to that person through us.

use std::time::Duration;

use crate::base::Secret;

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

/// To somebody who is asked to join an organisation. Who asks, and to what, is told after signing in: a letter of ours
/// is not to carry a stranger's words.
#[must_use]
pub fn invitation(public_url: &str, token: &Secret<String>, ttl: Duration) -> Letter {
    // Behind the `#`, which browsers do not send: the token is in no log of addresses.
    let link = format!("{public_url}/invitation#token={}", token.expose());
    let days = ttl.as_secs().div_ceil(24 * 60 * 60);
    let until = format!("The link below is good once, for {days} days, and for this e-mail address only.");
    letter(
        "You are invited to an organisation on Cape Control",
        &[
            "Somebody who works with Cape Control invites you to join their organisation.",
            "To accept, sign in with this e-mail address, or register with it first, and open the link.",
            &until,
            "If you do not know what this is about, you need not do anything.",
        ],
        &link,
    )
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
    fn letters_say_the_same_in_both_forms_and_escape_what_is_put_in() {
        let letter = welcome("https://cape.example/?a=1&b=\"2\"");
        assert!(letter.text.contains("https://cape.example/?a=1&b=\"2\""));
        assert!(letter.html.contains("href=\"https://cape.example/?a=1&amp;b=&quot;2&quot;\""));
        assert!(letter.html.contains("Your Cape Control account is ready."));
    }
}
