//! What it costs the node to know who calls: a token that it has seen, and one that it has not.
//!
//! In this process, over the platform's own database, so that nothing but the check is in the processor time. The
//! database server's time is not in it.

use std::time::Duration;

use capecontrol::app::real;
use capecontrol::auth::{self, Caller, Origin, Service, hashing};
use capecontrol::db::{Db, Options};
use capecontrol::keyring::RootKey;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::row;
use crate::Outcome;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::{BENCH_KEY, own_cpu};
use crate::scene::{Places, email};

/// Tokens, each of a session of its own.
const TOKENS: usize = 4_000;
/// Checks of tokens that are known. As many as fit well into the three seconds in which a session is remembered.
const CHECKS: usize = 200_000;

/// The check, cached and not, beside a bare hash of the token and the bare check of its signature.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let place = places.small("tokens").await?;
    let db = Db::open(&Options::new(&place.database_url)).await?;
    let tokens = issue(&node(&db).await?).await?;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // It has seen nothing yet.
        let service = node(&db).await?;
        let begin = own_cpu()?;
        for token in &tokens {
            service.authenticate(token, Origin::default()).await?;
        }
        let ours = micros(begin, TOKENS)?;
        unknown.push((ours, signatures(&service, &tokens)?));
        let few = &tokens[..100];
        let begin = own_cpu()?;
        for number in 0..CHECKS {
            service.authenticate(&few[number % few.len()], Origin::default()).await?;
        }
        let ours = micros(begin, CHECKS)?;
        let begin = own_cpu()?;
        for number in 0..CHECKS {
            std::hint::black_box(Sha256::digest(&few[number % few.len()]));
        }
        known.push((ours, micros(begin, CHECKS)?));
    }
    db.close().await;
    let cpu = "µs of CPU";
    Ok(vec![
        row(places, "a token check, known, beside a hash of it", cpu, Target::ValueAtMost(5.0), known),
        row(places, "a token check, unknown, beside its signature", cpu, Target::ValueAtMost(150.0), unknown),
    ])
}

async fn node(db: &Db) -> Outcome<Service> {
    let cheap = hashing::Options { memory_kib: 64, passes: 1, ..hashing::Options::default() };
    let options = auth::Options { hashing: cheap, ..auth::Options::default() };
    let service = Service::new(db.clone(), real::world(), options, RootKey::parse(BENCH_KEY)?)?;
    service.prepare().await?;
    Ok(service)
}

async fn issue(service: &Service) -> Outcome<Vec<String>> {
    let caller = Caller::system("bench");
    let mut tokens = Vec::with_capacity(TOKENS);
    for _ in 0..TOKENS {
        let token = service.issue_token(&caller, &email(0), "bench", Duration::from_secs(3_600)).await?;
        tokens.push(token.access_token.expose().clone());
    }
    Ok(tokens)
}

/// The signatures alone, by the library that the platform uses.
fn signatures(service: &Service, tokens: &[String]) -> Outcome<Round> {
    let set = service.jwks();
    let keys: Vec<(String, DecodingKey)> = set["keys"]
        .as_array()
        .ok_or("no keys")?
        .iter()
        .map(|key| {
            let part = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
            Ok((part("kid"), DecodingKey::from_ed_components(&part("x"))?))
        })
        .collect::<Outcome<_>>()?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["capecontrol"]);
    let begin = own_cpu()?;
    for token in tokens {
        let kid = jsonwebtoken::decode_header(token)?.kid.ok_or("a token without a key")?;
        let (_, key) = keys.iter().find(|(known, _)| *known == kid).ok_or("an unknown key")?;
        std::hint::black_box(jsonwebtoken::decode::<Value>(token, key, &validation)?);
    }
    micros(begin, tokens.len())
}

/// The processor time since, for each of so many.
fn micros(begin: Duration, count: usize) -> Outcome<Round> {
    let used = own_cpu()?.saturating_sub(begin);
    Ok(Round::plain(used.as_secs_f64() * 1e6 / count as f64))
}
