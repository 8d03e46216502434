//! Access tokens: Ed25519-signed statements about a session, which any node checks by itself.
//!
//! Whoever checks one knows the key and takes exactly one algorithm: what the token says of its own algorithm decides
//! nothing. Time is compared here, with the clock that was handed in.

use std::collections::BTreeSet;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::base::{AccountId, Id, OrganizationId, SessionId, Timestamp};

use super::Error;
use super::keys::KeyId;
use super::model::key::{Grant, KeyScope};

/// Longer ones are not looked at.
const TOKEN_BYTES_MAX: usize = 2_048;
/// RFC 9068: says that this is an access token, so that no other signed statement of ours passes for one.
const TYPE: &str = "at+jwt";

/// Marks the id of a single token.
pub enum Token {}

/// What a token states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who made it.
    pub iss: String,
    /// For whom it was made.
    pub aud: String,
    /// The account.
    pub sub: AccountId,
    /// The session.
    pub sid: SessionId,
    /// When it was made, in seconds since the Unix epoch.
    pub iat: i64,
    /// When it stops being valid.
    pub exp: i64,
    /// Its own id.
    pub jti: Id<Token>,
    /// The one organisation that it works in; absent in a person's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrganizationId>,
    /// What it may do there (RFC 9068): scopes with a space between. Stands with `org` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl Claims {
    /// When the token stops being valid.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.exp)
    }

    /// The same statement, limited to an organisation and to what the scopes allow.
    #[must_use]
    pub fn limited(mut self, organization: OrganizationId, scopes: &BTreeSet<KeyScope>) -> Self {
        self.org = Some(organization);
        self.scope = Some(scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
        self
    }

    /// What the token is limited to; none for a person's. A scope that this version does not know allows nothing.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        let organization = self.org?;
        let words = self.scope.as_deref().unwrap_or_default().split(' ');
        Some(Grant { organization, scopes: words.filter_map(KeyScope::parse).collect(), key: None })
    }
}

/// By whom and for whom tokens are made, and how long they live.
#[derive(Clone, Debug)]
pub struct Terms {
    issuer: String,
    audience: String,
    ttl: Duration,
    validation: Validation,
}

impl Terms {
    /// Sets the terms.
    ///
    /// # Errors
    /// [`Error::Setup`] when issuer or audience is empty: a check against nothing would pass everything.
    pub fn new(issuer: &str, audience: &str, ttl: Duration) -> Result<Self, Error> {
        if issuer.trim().is_empty() || audience.trim().is_empty() || ttl < Duration::from_secs(1) {
            return Err(Error::Setup(
                "Access tokens need an issuer, an audience and a life of a second.".to_owned(),
            ));
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        // The library reads the ambient clock; `verify` compares with the one handed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { issuer: issuer.to_owned(), audience: audience.to_owned(), ttl, validation })
    }

    /// A statement about a session, made now.
    #[must_use]
    pub fn claims(&self, account: AccountId, session: SessionId, jti: Id<Token>, now: Timestamp) -> Claims {
        self.claims_for(account, session, jti, now, self.ttl)
    }

    /// A statement about a session, made now, that is good for a time of its own.
    #[must_use]
    pub fn claims_for(
        &self,
        account: AccountId,
        session: SessionId,
        jti: Id<Token>,
        now: Timestamp,
        ttl: Duration,
    ) -> Claims {
        Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: account,
            sid: session,
            iat: now.as_seconds(),
            exp: now.plus(ttl).as_seconds(),
            jti,
            org: None,
            scope: None,
        }
    }

    /// Who makes the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// For whom tokens are made.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Reads a token that `key` signed.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] unless it is one of ours, [`Error::TokenExpired`] when its time is over.
    pub fn verify(&self, token: &str, key: &DecodingKey, now: Timestamp) -> Result<Claims, Error> {
        let read =
            jsonwebtoken::decode::<Claims>(token, key, &self.validation).map_err(|_| Error::TokenInvalid)?;
        let Claims { iss, aud, org, scope, .. } = &read.claims;
        // One without the other would be a limited token taken for an unlimited one.
        if scope.is_some() != org.is_some() {
            return Err(Error::TokenInvalid);
        }
        // The library takes lists of issuers and audiences too; ours are single and must be the very ones.
        if *iss != self.issuer || *aud != self.audience || !is_ours(&read.header) {
            return Err(Error::TokenInvalid);
        }
        if now >= read.claims.expires_at() {
            return Err(Error::TokenExpired);
        }
        Ok(read.claims)
    }
}

/// What a token states, believed or not. For people who look into one; proves nothing.
#[must_use]
pub fn unproved(token: &str) -> Option<Claims> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    jsonwebtoken::dangerous::insecure_decode::<Claims>(token).ok().map(|read| read.claims)
}

/// Whether `key` signed a token, whatever it states.
#[must_use]
pub fn is_signed(token: &str, key: &DecodingKey) -> bool {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    jsonwebtoken::decode::<Claims>(token, key, &validation).is_ok()
}

/// Signs a statement.
///
/// # Errors
/// [`Error::Internal`] when the key cannot sign.
pub fn sign(claims: &Claims, kid: &str, key: &EncodingKey) -> Result<String, Error> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, key).map_err(Error::internal)
}

/// Which key a token claims to be signed with. Proves nothing yet. The ids of our keys are UUIDs.
///
/// # Errors
/// [`Error::TokenInvalid`] when it cannot be a token of ours.
pub fn key_id(token: &str) -> Result<KeyId, Error> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Error::TokenInvalid);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Error::TokenInvalid)?;
    if header.alg != Algorithm::EdDSA || !is_ours(&header) {
        return Err(Error::TokenInvalid);
    }
    header.kid.and_then(|kid| kid.parse().ok()).ok_or(Error::TokenInvalid)
}

/// Our headers have a type and a key's id, and nothing that a careless reader would obey.
fn is_ours(header: &Header) -> bool {
    header.typ.as_deref() == Some(TYPE)
        && header.crit.is_none()
        && header.jwk.is_none()
        && header.jku.is_none()
        && header.x5u.is_none()
        && header.zip.is_none()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use crate::auth::keys::KeyPair;

    use super::*;

    const KID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

    fn terms() -> Terms {
        Terms::new("https://cape.example", "capecontrol", Duration::from_mins(10)).unwrap()
    }

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_seed(&[seed; 32])
    }

    fn claims() -> Claims {
        terms().claims(AccountId::mint(1, &[1; 10]), SessionId::mint(2, &[2; 10]), Id::mint(3, &[3; 10]), NOW)
    }

    fn signed(claims: &Claims) -> String {
        sign(claims, KID, &pair(1).encoding()).unwrap()
    }

    fn verify(token: &str) -> Result<Claims, Error> {
        key_id(token)?;
        terms().verify(token, &pair(1).decoding(), NOW)
    }

    fn invalid(token: &str) -> bool {
        matches!(verify(token), Err(Error::TokenInvalid))
    }

    /// A token with any header and body, signed or not.
    fn forged(header: &serde_json::Value, body: &serde_json::Value) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(header), part(body))
    }

    #[test]
    fn a_token_of_ours_is_read_back() {
        let token = signed(&claims());
        assert_eq!(verify(&token).unwrap(), claims());
        assert_eq!(key_id(&token).unwrap().to_string(), KID);
        assert_eq!(claims().expires_at(), NOW.plus(Duration::from_mins(10)));
    }

    #[test]
    fn a_limited_token_is_never_taken_for_an_unlimited_one() {
        let (organization, scopes) =
            (OrganizationId::mint(4, &[4; 10]), BTreeSet::from([KeyScope::ChatRead]));
        let limited = claims().limited(organization, &scopes);
        let read = verify(&signed(&limited)).unwrap();
        assert_eq!(read.grant(), Some(Grant { organization, scopes, key: None }));
        assert_eq!(claims().grant(), None);
        assert!(invalid(&signed(&Claims { org: None, ..limited.clone() })));
        assert!(invalid(&signed(&Claims { scope: None, ..limited.clone() })));
        let unknown = Claims { scope: Some("chat.read everything".to_owned()), ..limited };
        assert_eq!(verify(&signed(&unknown)).unwrap().grant().unwrap().scopes.len(), 1);
    }

    #[test]
    fn its_time_ends_to_the_second() {
        let (token, key) = (signed(&claims()), pair(1).decoding());
        let last = claims().expires_at().minus(Duration::from_micros(1));
        assert!(terms().verify(&token, &key, last).is_ok());
        assert!(matches!(terms().verify(&token, &key, claims().expires_at()), Err(Error::TokenExpired)));
    }

    #[test]
    fn another_audience_issuer_or_key_is_refused() {
        assert!(invalid(&signed(&Claims { aud: "other".to_owned(), ..claims() })));
        assert!(invalid(&signed(&Claims { iss: "https://evil.example".to_owned(), ..claims() })));
        assert!(invalid(&sign(&claims(), KID, &pair(2).encoding()).unwrap()));
        assert!(Terms::new("", "capecontrol", Duration::from_mins(10)).is_err());
        assert!(Terms::new("https://cape.example", " ", Duration::from_mins(10)).is_err());
    }

    #[test]
    fn no_algorithm_but_ours_is_taken() {
        let body = serde_json::to_value(claims()).unwrap();
        for alg in ["none", "None", "nOnE", "HS256", "RS256", "ES256"] {
            let header = json!({"alg": alg, "typ": TYPE, "kid": KID});
            for signature in ["", "AAAA"] {
                assert!(invalid(&format!("{}.{signature}", forged(&header, &body))), "{alg}");
            }
        }
        // The public key taken for a shared secret.
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(KID.to_owned());
        let confused =
            jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(&pair(1).public())).unwrap();
        assert!(invalid(&confused));
    }

    #[test]
    fn a_header_that_asks_for_more_is_refused() {
        for alter in [
            |header: &mut Header| header.typ = Some("JWT".to_owned()),
            |header: &mut Header| header.typ = None,
            |header: &mut Header| header.kid = None,
            |header: &mut Header| header.crit = Some(vec!["exp".to_owned()]),
            |header: &mut Header| header.jku = Some("https://evil.example/jwks".to_owned()),
        ] {
            let mut header = Header::new(Algorithm::EdDSA);
            (header.typ, header.kid) = (Some(TYPE.to_owned()), Some(KID.to_owned()));
            alter(&mut header);
            assert!(invalid(&jsonwebtoken::encode(&header, &claims(), &pair(1).encoding()).unwrap()));
        }
    }

    #[test]
    fn a_claim_that_is_missing_or_doubled_is_refused() {
        let header =
            Header { typ: Some(TYPE.to_owned()), kid: Some(KID.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let whole = serde_json::to_value(claims()).unwrap();
        for claim in ["iss", "aud", "sub", "sid", "iat", "exp", "jti"] {
            let mut body = whole.clone();
            body.as_object_mut().unwrap().remove(claim);
            assert!(invalid(&jsonwebtoken::encode(&header, &body, &pair(1).encoding()).unwrap()), "{claim}");
        }
        let mut body = whole;
        body["aud"] = json!(["capecontrol", "other"]);
        assert!(invalid(&jsonwebtoken::encode(&header, &body, &pair(1).encoding()).unwrap()));
    }

    #[test]
    fn a_token_that_was_cut_or_changed_is_refused() {
        let token = signed(&claims());
        for cut in 0..token.len() {
            assert!(invalid(&token[..cut]), "cut at {cut}");
        }
        for (at, letter) in token.char_indices() {
            let other = if letter == 'A' { 'B' } else { 'A' };
            let mut changed = token.clone();
            changed.replace_range(at..=at, &other.to_string());
            assert!(invalid(&changed), "changed at {at}");
        }
        assert!(invalid(&format!("{token}.")));
        assert!(invalid(&format!("{token}=")));
        assert!(invalid(&"a".repeat(TOKEN_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn nothing_that_is_no_token_is_taken_or_breaks_the_reader(text in "\\PC{0,200}") {
            prop_assert!(invalid(&text));
        }
    }
}
