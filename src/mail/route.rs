//! Where letters go, as the setting `MAIL__URL` names it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Security, SmtpOptions};
use crate::base::Secret;

/// How long a server may take to let us in, and again to take a letter. RFC 5321 would give it minutes; a job that
/// waits for so long stands in the way of others.
const STEP_MAX: Duration = Duration::from_secs(30);

/// Where letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Into a folder.
    Folder(PathBuf),
    /// To an SMTP server.
    Smtp(SmtpOptions),
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "files in {}", folder.display()),
            Self::Smtp(options) => write!(f, "SMTP through {}:{}", options.host, options.port),
        }
    }
}

impl Route {
    /// Reads `file://<folder>`, `smtps://[user:password@]host[:port]` or `smtp://[user:password@]host[:port]`. The last
    /// begins TLS by STARTTLS, but for `?tls=none`, which is taken only for this very machine.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
        match scheme {
            "file" if !rest.is_empty() => Ok(Self::Folder(PathBuf::from(rest))),
            "smtps" => smtp(rest, Security::Tls, 465).map(Self::Smtp),
            "smtp" => smtp(rest, Security::StartTls, 587).map(Self::Smtp),
            _ => Err(
                "must be file://<folder>, smtps://user:password@host:465 or smtp://user:password@host:587"
                    .to_owned(),
            ),
        }
    }
}

fn smtp(rest: &str, security: Security, default_port: u16) -> Result<SmtpOptions, String> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.strip_suffix('/').unwrap_or(place);
    let (credentials, address) = match place.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, place),
    };
    let (host, port) = host_and_port(address, default_port)?;
    let security = match (query, security) {
        ("", security) => security,
        ("tls=none", Security::StartTls) if is_loopback(&host) => Security::None,
        ("tls=none", Security::StartTls) => {
            return Err(
                "tls=none is taken only for a server on this very machine: everybody on the way could read \
                        the links in letters"
                    .to_owned(),
            );
        }
        _ => return Err("knows no other option than tls=none, and that with smtp:// only".to_owned()),
    };
    let credentials = credentials.map(read_credentials).transpose()?;
    Ok(SmtpOptions { host, port, security, credentials, authorities: Vec::new(), step_max: STEP_MAX })
}

fn host_and_port(address: &str, default_port: u16) -> Result<(String, u16), String> {
    // An IPv6 address stands in brackets, for it has colons of its own.
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    if host.is_empty() || !host.chars().all(is_name) {
        return Err("names no host".to_owned());
    }
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| "names a port that is none".to_owned())?,
    };
    Ok((host.to_owned(), port))
}

fn read_credentials(text: &str) -> Result<(String, Secret<String>), String> {
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().map(Cow::into_owned);
    let wrong = || "needs a user and a password before the @, percent-encoded".to_owned();
    let (user, password) = text.split_once(':').ok_or_else(wrong)?;
    let (user, password) = (decoded(user).map_err(|_| wrong())?, decoded(password).map_err(|_| wrong())?);
    if user.is_empty() || password.is_empty() {
        return Err(wrong());
    }
    Ok((user, Secret::new(password)))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(url: &str) -> SmtpOptions {
        match Route::parse(url).unwrap() {
            Route::Smtp(options) => options,
            Route::Folder(folder) => panic!("{folder:?}"),
        }
    }

    #[test]
    fn each_scheme_has_its_protection_and_its_port() {
        let with_tls = smtp("smtps://robot%40cape.example:p%3Ass%2F@mail.example");
        assert_eq!(
            (with_tls.host.as_str(), with_tls.port, with_tls.security),
            ("mail.example", 465, Security::Tls)
        );
        let (user, password) = with_tls.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose().as_str()), ("robot@cape.example", "p:ss/"));
        let with_starttls = smtp("smtp://mail.example:2525/");
        assert_eq!((with_starttls.port, with_starttls.security), (2525, Security::StartTls));
        assert_eq!(with_starttls.credentials, None);
        assert_eq!(smtp("smtp://mail.example").port, 587);
        assert_eq!(smtp("smtp://[::1]:1025?tls=none").host, "::1");
        assert_eq!(smtp("smtp://127.0.0.1:1025?tls=none").security, Security::None);
        assert_eq!(Route::parse("file:///var/mail"), Ok(Route::Folder("/var/mail".into())));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for url in [
            "",
            "file://",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://user:hunter2@",
            "smtp://user:hunter2@host:port",
            "smtp://hunter2@host",
            "smtp://user:hunter2@mail.example?tls=none",
            "smtp://user:hunter2@mail.example?tls=off",
            "smtps://user:hunter2@127.0.0.1?tls=none",
            "smtp://user:hunter2@mail.example\r\nx",
        ] {
            let wrong = Route::parse(url).unwrap_err();
            assert!(!wrong.is_empty() && !wrong.contains("hunter2"), "{url:?}: {wrong}");
        }
        assert!(!format!("{:?}", smtp("smtp://user:hunter2@mail.example")).contains("hunter2"));
    }
}
