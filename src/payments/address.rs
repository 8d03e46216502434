//! Where a buyer's browser may be sent: only to origins that the operator configured.
//!
//! The address is parsed as browsers parse it, because what a naive look takes for the host (`https://ours@theirs`,
//! `https://ours\.theirs`) is where an open redirect begins.

use reqwest::Url;

/// The longest address that is taken, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 2_000;

/// The address as it will be sent on, when it is one that may be.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn allowed<'a>(
    address: &str,
    origins: impl IntoIterator<Item = &'a str>,
) -> Result<String, &'static str> {
    if address.len() > ADDRESS_BYTES_MAX {
        return Err("must have at most 2000 bytes");
    }
    let url = Url::parse(address).map_err(|_| "must be an absolute URL")?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err("must be an http or https URL without credentials");
    }
    let origin = url.origin();
    let known = |known: &str| Url::parse(known).is_ok_and(|known| known.origin() == origin);
    if origins.into_iter().any(known) {
        Ok(url.into())
    } else {
        Err("must have an origin that the platform is configured for")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 2] = ["https://app.example.com", "http://127.0.0.1:8080"];

    #[test]
    fn configured_origins_are_allowed() {
        for fine in
            ["https://app.example.com/paid?x=1#y", "http://127.0.0.1:8080/", "HTTPS://APP.example.com:443/a"]
        {
            assert!(allowed(fine, OURS).is_ok(), "{fine}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for foreign in [
            "",
            "/paid",
            "//app.example.com",
            "https://app.example.com.evil.test/",
            "https://app.example.com@evil.test/",
            "https://evil.test\\@app.example.com/",
            "https://user@app.example.com/",
            "http://app.example.com/",
            "https://app.example.com:8443/",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https://evil.test/?https://app.example.com",
        ] {
            assert!(allowed(foreign, OURS).is_err(), "{foreign}");
        }
        assert!(allowed(&format!("https://app.example.com/{}", "a".repeat(2_000)), OURS).is_err());
    }
}
