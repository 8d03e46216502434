//! The letters that this domain sends.
//!
//! Nothing that a stranger typed goes into one: whoever registers with somebody else's address must not be able to
//! write to that person through us.

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

/// To somebody whose session was ended because one of its refresh tokens came twice.
#[must_use]
pub fn session_ended(public_url: &str) -> Letter {
    letter(
        "A session of your Cape Control account was ended",
        &[
            "One of your sign-ins was used in two places in a way that happens when somebody has copied it. We cannot \
             tell which of the two is you, so we ended that session for both. Your other sessions were left as they \
             are.",
            "Please sign in again. If you use the same password elsewhere, or your device may have been in other \
             hands, choose another one, and end the sessions that you do not know.",
            "If an app of yours stopped working at this moment, it may simply have sent an old sign-in; signing in \
             again is then all that it needs.",
        ],
        public_url,
    )
}

/// To somebody who is invited to register. The link holds the invitation's token, which the platform made.
#[must_use]
pub fn invitation(public_url: &str, token: &str) -> Letter {
    letter(
        "You are invited to Cape Control",
        &[
            "You are invited to open a Cape Control account with this e-mail address. The link below is good once.",
            "If you did not expect this, you can ignore it; no account was made.",
        ],
        &format!("{public_url}/register?invitation={token}"),
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
