//! Assertions of service accounts (RFC 7523): short statements that a program signs with its own key and exchanges for
//! an access token.
//!
//! The platform keeps the public half only. Exactly one algorithm is taken; what an assertion says of its own decides
//! nothing. Time is compared here, with the clock that was handed in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::VerifyingKey;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::base::{AccountId, Timestamp};

use super::Error;

/// Longer ones are not looked at.
pub const BYTES_MAX: usize = 4_096;
/// How far away the end of an assertion may be.
const LIFE_MAX: Duration = Duration::from_mins(5);
const JTI_BYTES_MAX: usize = 128;
/// Longer public keys are not looked at.
const PUBLIC_KEY_BYTES_MAX: usize = 2_048;
/// RFC 8410: the fixed beginning of the document that holds an Ed25519 public key.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    jti: String,
    nbf: Option<i64>,
}

/// What an assertion proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Stands for the assertion's id.
    pub jti_hash: [u8; 32],
    /// Until when it could be shown again.
    pub expires_at: Timestamp,
}

/// Whose assertion this claims to be. Proves nothing yet.
///
/// # Errors
/// [`Error::AssertionInvalid`] when it can be nobody's.
pub fn claimed(assertion: &str) -> Result<AccountId, Error> {
    if assertion.len() > BYTES_MAX {
        return Err(Error::AssertionInvalid("it is too long"));
    }
    let header =
        jsonwebtoken::decode_header(assertion).map_err(|_| Error::AssertionInvalid("it is not a JWT"))?;
    if header.alg != Algorithm::EdDSA {
        return Err(Error::AssertionInvalid("its algorithm must be EdDSA"));
    }
    // An access token of ours is signed by the same kind of key, and is no assertion.
    let kind = header.typ.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("JWT"));
    let plain = header.crit.is_none() && header.zip.is_none();
    if !kind || !plain {
        return Err(Error::AssertionInvalid("its header must have the type JWT and nothing critical"));
    }
    let claims = jsonwebtoken::dangerous::insecure_decode::<Claims>(assertion)
        .map_err(|_| Error::AssertionInvalid("it must state iss, sub, aud, exp and jti"))?
        .claims;
    match claims.sub.parse() {
        Ok(account) if claims.iss == claims.sub => Ok(account),
        _ => Err(Error::AssertionInvalid("its iss and sub must both be the service account's id")),
    }
}

/// Checks an assertion that `account` is said to have signed.
///
/// # Errors
/// [`Error::AssertionInvalid`].
pub fn verify(
    assertion: &str,
    account: AccountId,
    public_key: &[u8; 32],
    audiences: &[String],
    now: Timestamp,
) -> Result<Proven, Error> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    let key = DecodingKey::from_ed_der(public_key);
    let claims = jsonwebtoken::decode::<Claims>(assertion, &key, &validation)
        .map_err(|_| Error::AssertionInvalid(NOT_SIGNED))?
        .claims;
    let own = account.to_string();
    if claims.sub != own || claims.iss != own {
        return Err(Error::AssertionInvalid(NOT_SIGNED));
    }
    if !audiences.contains(&claims.aud) {
        return Err(Error::AssertionInvalid("its aud must be this platform's address"));
    }
    let expires_at = Timestamp::from_seconds(claims.exp);
    if now >= expires_at {
        return Err(Error::AssertionInvalid("it has expired"));
    }
    if expires_at > now.plus(LIFE_MAX) {
        return Err(Error::AssertionInvalid("its exp must be at most five minutes away"));
    }
    if claims.nbf.is_some_and(|from| Timestamp::from_seconds(from) > now) {
        return Err(Error::AssertionInvalid("it is not valid yet"));
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
        return Err(Error::AssertionInvalid("its jti must have 1 to 128 characters"));
    }
    Ok(Proven { jti_hash: Sha256::digest(claims.jti.as_bytes()).into(), expires_at })
}

/// An unknown service account and a wrong signature get one answer.
pub const NOT_SIGNED: &str = "no service account has signed it with the key that it registered";

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    /// The private half, which nobody but its owner is to see.
    d: Option<serde::de::IgnoredAny>,
}

/// Reads the public half of an Ed25519 key pair, as a JWK or in PEM.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn public_key(text: &str) -> Result<[u8; 32], &'static str> {
    const NEITHER: &str = "must be an Ed25519 public key, as a JWK or in PEM";
    let text = text.trim();
    if text.len() > PUBLIC_KEY_BYTES_MAX {
        return Err(NEITHER);
    }
    if text.contains("PRIVATE KEY") {
        return Err(
            "must be the public half: keep the private one, and take another pair now that it was sent",
        );
    }
    let bytes = if text.starts_with('{') { from_jwk(text)? } else { from_pem(text).ok_or(NEITHER)? };
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NEITHER)?;
    // Anybody can sign for such a key.
    if key.is_weak() { Err(NEITHER) } else { Ok(bytes) }
}

fn from_jwk(text: &str) -> Result<[u8; 32], &'static str> {
    const NO_JWK: &str = "must be a JWK with kty OKP, crv Ed25519 and x";
    let jwk: Jwk = serde_json::from_str(text).map_err(|_| NO_JWK)?;
    if jwk.d.is_some() {
        return Err("must be the public half: leave d out, and take another pair now that it was sent");
    }
    let sound = jwk.kty == "OKP" && jwk.crv == "Ed25519";
    let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).ok().filter(|_| sound);
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(NO_JWK)
}

fn from_pem(text: &str) -> Option<[u8; 32]> {
    let body = text.strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let body: String = body.split_ascii_whitespace().collect();
    let document = STANDARD.decode(body).ok()?;
    document.strip_prefix(SPKI.as_slice())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::auth::keys::KeyPair;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);
    const HERE: &str = "https://cape.example";

    fn account() -> AccountId {
        AccountId::mint(1, &[1; 10])
    }

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_seed(&[seed; 32])
    }

    fn claims() -> Value {
        let id = account().to_string();
        json!({"iss": id, "sub": id, "aud": HERE, "exp": NOW.as_seconds() + 60, "jti": "1"})
    }

    fn with(claim: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[claim] = value;
        claims
    }

    fn signed(claims: &Value, seed: u8) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &pair(seed).encoding()).unwrap()
    }

    fn check(assertion: &str) -> Result<Proven, Error> {
        let audiences = [HERE.to_owned(), format!("{HERE}/token")];
        verify(assertion, claimed(assertion)?, &pair(1).public(), &audiences, NOW)
    }

    fn why(assertion: &str) -> &'static str {
        match check(assertion) {
            Err(Error::AssertionInvalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_one_is_taken_for_either_audience() {
        let proven = check(&signed(&claims(), 1)).unwrap();
        assert_eq!(proven.expires_at, NOW.plus(Duration::from_mins(1)));
        assert!(check(&signed(&with("aud", json!(format!("{HERE}/token"))), 1)).is_ok());
    }

    #[test]
    fn each_wrong_claim_is_told() {
        let seconds = |by: i64| json!(NOW.as_seconds() + by);
        for (claims, says) in [
            (with("aud", json!("https://elsewhere.example")), "aud"),
            (with("aud", json!([HERE, "https://elsewhere.example"])), "must state"),
            (with("exp", seconds(0)), "has expired"),
            (with("exp", seconds(301)), "five minutes"),
            (with("nbf", seconds(1)), "not valid yet"),
            (with("jti", json!("")), "jti"),
            (with("jti", json!("j".repeat(129))), "jti"),
            (with("iss", json!("somebody")), "iss and sub"),
            (with("sub", json!("somebody")), "iss and sub"),
        ] {
            assert!(why(&signed(&claims, 1)).contains(says), "{claims}: {}", why(&signed(&claims, 1)));
        }
        for claim in ["iss", "sub", "aud", "exp", "jti"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(claim);
            assert!(why(&signed(&claims, 1)).contains("must state"), "{claim}");
        }
    }

    #[test]
    fn another_key_or_algorithm_is_refused() {
        assert_eq!(why(&signed(&claims(), 2)), NOT_SIGNED);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for alg in ["none", "None", "HS256", "ES256", "RS256"] {
            for signature in ["", "AAAA"] {
                let forged = format!("{}.{}.{signature}", part(&json!({"alg": alg})), part(&claims()));
                assert!(check(&forged).is_err(), "{alg}");
            }
        }
        // The public key taken for a shared secret.
        let secret = EncodingKey::from_secret(&pair(1).public());
        let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        assert!(why(&confused).contains("EdDSA"));
        // An access token's type.
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        let typed = jsonwebtoken::encode(&header, &claims(), &pair(1).encoding()).unwrap();
        assert!(why(&typed).contains("header"));
    }

    #[test]
    fn keys_are_read_in_both_forms() {
        let public = pair(1).public();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public), "kid": "any"});
        assert_eq!(public_key(&jwk.to_string()), Ok(public));
        let body = STANDARD.encode([SPKI.as_slice(), &public].concat());
        assert_eq!(public_key(&format!("{PEM_BEGIN}\n{body}\n{PEM_END}\n")), Ok(public));
        let mut private = jwk.clone();
        private["d"] = json!("AAAA");
        assert!(public_key(&private.to_string()).unwrap_err().contains("public half"));
        assert!(public_key("-----BEGIN PRIVATE KEY-----\nAAAA").unwrap_err().contains("public half"));
        let mut other = jwk;
        other["crv"] = json!("P-256");
        assert!(public_key(&other.to_string()).is_err());
        // A point of small order, for which anybody can sign.
        let weak = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([0_u8; 32])});
        assert!(public_key(&weak.to_string()).is_err());
    }

    proptest! {
        #[test]
        fn noise_is_refused(text in "\\PC{0,200}") {
            prop_assert!(check(&text).is_err());
            prop_assert!(public_key(&text).is_err());
        }
    }
}
