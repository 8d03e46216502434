//! The signature of Stripe's webhooks: `Stripe-Signature: t=<unix time>,v1=<hex>[,v1=<hex>…][,<scheme>=…]`.
//!
//! A `v1` is the HMAC-SHA-256 of `<t>.<payload>` under the endpoint's secret, whole, its `whsec_` included. While a
//! secret is replaced Stripe signs with both, so that any `v1` may match any secret that we hold. Other schemes (`v0`
//! is for test events) prove nothing and are passed over. The payload is the bytes as they came: whoever parses first
//! and verifies what was written again verifies something else.
//!
//! Time counts both ways. Stripe's own libraries refuse what is older than the tolerance and take any future; here the
//! future has the same bound, because what is signed for later could be repeated until then. A clock that is off by
//! more than the tolerance is a fault to be seen, whichever way.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::base::Secret;

/// The longest header that is read, in bytes. Real ones have about two hundred.
pub const HEADER_BYTES_MAX: usize = 4_096;
/// How old, or how far ahead, a signature may be by Stripe's advice, in seconds.
pub const TOLERANCE_SECONDS: u64 = 300;

const TIME: &str = "t";
const SCHEME: &str = "v1";

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than [`HEADER_BYTES_MAX`].
    #[error("the header is longer than 4096 bytes")]
    HeaderTooLong,
    /// No time, two, or not a number.
    #[error("the header does not have one time, t=<seconds since 1970>")]
    Time,
    /// Nothing of the scheme that counts.
    #[error("the header has no v1 signature; other schemes are not taken")]
    NoSignature,
    /// We hold no secret, so nothing can match.
    #[error("there is no secret to verify with")]
    NoSecret,
    /// Anybody can sign with an empty secret.
    #[error("a secret is empty")]
    EmptySecret,
    /// No signature is that of the payload under any secret.
    #[error("no v1 signature is that of this payload under any of the secrets")]
    Mismatch,
    /// The signature is right and its time is past.
    #[error("the signature is right, but {0} s old, which is more than the tolerance")]
    TooOld(u64),
    /// The signature is right and its time is to come.
    #[error("the signature is right, but {0} s ahead of this clock, which is more than the tolerance")]
    TooEarly(u64),
}

/// Whether `payload` came from Stripe, now. All secrets and signatures are compared, in constant time, whichever match.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn verify(
    payload: &[u8],
    header: &str,
    secrets: &[Secret<String>],
    now: i64,
    tolerance_seconds: u64,
) -> Result<(), Refusal> {
    let (time, signatures) = read(header)?;
    if secrets.is_empty() {
        return Err(Refusal::NoSecret);
    }
    if secrets.iter().any(|secret| secret.expose().is_empty()) {
        return Err(Refusal::EmptySecret);
    }
    let mut matches = Choice::from(0);
    for secret in secrets {
        let expected = sign(payload, time, secret);
        for signature in &signatures {
            matches |= signature.as_bytes().ct_eq(expected.as_bytes());
        }
    }
    if !bool::from(matches) {
        return Err(Refusal::Mismatch);
    }
    // It was a number when it was read, and the reader takes no more digits than fit.
    let signed_at = time.parse::<i64>().map_err(|_| Refusal::Time)?;
    let away = now.abs_diff(signed_at);
    match away <= tolerance_seconds {
        true => Ok(()),
        false if signed_at < now => Err(Refusal::TooOld(away)),
        false => Err(Refusal::TooEarly(away)),
    }
}

/// The signature of a payload at a time, as lower-case hex.
#[must_use]
pub fn sign(payload: &[u8], time: &str, secret: &Secret<String>) -> String {
    let key = secret.expose().as_bytes();
    // HMAC takes a key of any length; without a signature nothing matches.
    let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) else { return String::new() };
    for part in [time.as_bytes(), b".", payload] {
        mac.update(part);
    }
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The time, as it was signed, and the signatures that count.
fn read(header: &str) -> Result<(&str, Vec<&str>), Refusal> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(Refusal::HeaderTooLong);
    }
    let pairs = || header.split(',').filter_map(|part| part.trim_matches([' ', '\t']).split_once('='));
    let of = |wanted: &'static str| pairs().filter(move |(name, _)| *name == wanted).map(|(_, value)| value);
    let mut times = of(TIME);
    let (Some(time), None) = (times.next(), times.next()) else { return Err(Refusal::Time) };
    let digits = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || time.parse::<i64>().is_err() {
        return Err(Refusal::Time);
    }
    let signatures: Vec<&str> = of(SCHEME).collect();
    if signatures.is_empty() { Err(Refusal::NoSignature) } else { Ok((time, signatures)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: i64 = 1_533_204_620;
    const SECRET: &str = "webhook_secret";
    /// The vector of Stripe's .NET library: `event_test_signature.json` and `EventUtilityTest.cs`, at 6045930.
    const PAYLOAD: &str = r#"{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
"#;
    const SIGNATURE: &str = "2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7";
    const OTHER_SCHEME: &str = "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef";

    fn secrets(texts: &[&str]) -> Vec<Secret<String>> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    fn judge(header: &str, of: &[&str], now: i64) -> Result<(), Refusal> {
        verify(PAYLOAD.as_bytes(), header, &secrets(of), now, TOLERANCE_SECONDS)
    }

    #[test]
    fn the_published_vector_holds() {
        assert_eq!(sign(PAYLOAD.as_bytes(), &TIME.to_string(), &Secret::new(SECRET.to_owned())), SIGNATURE);
        let header = format!("t={TIME},v1={SIGNATURE},{OTHER_SCHEME}");
        assert_eq!(judge(&header, &[SECRET], TIME + 100), Ok(()));
        assert_eq!(
            verify(PAYLOAD.trim_end().as_bytes(), &header, &secrets(&[SECRET]), TIME, 300),
            Err(Refusal::Mismatch)
        );
    }

    #[test]
    fn any_v1_may_match_any_secret() {
        let wrong = SIGNATURE.replace('2', "3");
        for header in [
            format!("t={TIME},v1={wrong},v1={SIGNATURE}"),
            format!("t={TIME},v1={SIGNATURE},v1={wrong}"),
            format!("v1={SIGNATURE}, t={TIME}, v2=later, nonsense,"),
        ] {
            assert_eq!(judge(&header, &["whsec_new", SECRET], TIME), Ok(()), "{header}");
            assert_eq!(judge(&header, &[SECRET, "whsec_new"], TIME), Ok(()), "{header}");
            assert_eq!(judge(&header, &["whsec_new"], TIME), Err(Refusal::Mismatch), "{header}");
        }
    }

    #[test]
    fn time_is_bounded_both_ways() {
        let header = format!("t={TIME},v1={SIGNATURE}");
        assert_eq!(judge(&header, &[SECRET], TIME + 300), Ok(()));
        assert_eq!(judge(&header, &[SECRET], TIME + 301), Err(Refusal::TooOld(301)));
        assert_eq!(judge(&header, &[SECRET], TIME - 300), Ok(()));
        assert_eq!(judge(&header, &[SECRET], TIME - 301), Err(Refusal::TooEarly(301)));
        assert!(matches!(judge(&header, &[SECRET], i64::MIN), Err(Refusal::TooEarly(_))));
        // Whoever cannot sign is not told whether the time would do.
        assert_eq!(judge(&header, &["x"], TIME + 301), Err(Refusal::Mismatch));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("t={TIME},v1={}", "0".repeat(HEADER_BYTES_MAX));
        for (header, refusal) in [
            (String::new(), Refusal::Time),
            (format!("v1={SIGNATURE}"), Refusal::Time),
            (format!("t=,v1={SIGNATURE}"), Refusal::Time),
            (format!("t=+{TIME},v1={SIGNATURE}"), Refusal::Time),
            (format!("t=-{TIME},v1={SIGNATURE}"), Refusal::Time),
            (format!("t={},v1={SIGNATURE}", "9".repeat(30)), Refusal::Time),
            (format!("t={TIME},t={TIME},v1={SIGNATURE}"), Refusal::Time),
            (format!("t={TIME}"), Refusal::NoSignature),
            (format!("t={TIME},v0={SIGNATURE}"), Refusal::NoSignature),
            (format!("t={TIME},v1="), Refusal::Mismatch),
            (format!("t={TIME},v1={}", SIGNATURE.to_uppercase()), Refusal::Mismatch),
            (format!("t=0{TIME},v1={SIGNATURE}"), Refusal::Mismatch),
            (long, Refusal::HeaderTooLong),
        ] {
            assert_eq!(judge(&header, &[SECRET], TIME), Err(refusal), "{header}");
        }
        let header = format!("t={TIME},v1={SIGNATURE}");
        assert_eq!(judge(&header, &[], TIME), Err(Refusal::NoSecret));
        assert_eq!(judge(&header, &[SECRET, ""], TIME), Err(Refusal::EmptySecret));
    }

    proptest! {
        #[test]
        fn what_is_signed_is_taken_and_what_is_changed_is_not(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            secret in "[!-~]{1,40}",
            time in 0_i64..4_000_000_000,
            change in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let secrets = secrets(&[&secret]);
            let signature = sign(&payload, &time.to_string(), &secrets[0]);
            let header = format!("t={time},v1={signature}");
            prop_assert_eq!(verify(&payload, &header, &secrets, time, 0), Ok(()));
            let other = format!("t={},v1={signature}", time + 1);
            prop_assert_eq!(verify(&payload, &other, &secrets, time, 1), Err(Refusal::Mismatch));
            if !payload.is_empty() {
                let mut changed = payload.clone();
                let at = change.index(changed.len());
                changed[at] ^= 1 << bit;
                prop_assert_eq!(verify(&changed, &header, &secrets, time, 0), Err(Refusal::Mismatch));
            }
        }

        #[test]
        fn any_header_gets_an_answer(header in "[tv01=, a-f0-9]{0,80}|\\PC{0,80}") {
            prop_assert!(judge(&header, &[SECRET], TIME).is_err());
        }
    }
}
