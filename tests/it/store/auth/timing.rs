//! Whoever looks at the clock learns nothing of an address.
//!
//! How long calls take for addresses of either kind is compared in pairs, of which the members follow each other in an
//! order that is drawn: a slow moment falls on both. What a pair's members differ by is ranked, so that a single pause
//! weighs no more than any other difference. To find a row takes some microseconds more than to find none; what is
//! looked for is more than [`MARGIN`], such as questions to the database that only one of the kinds comes to. A
//! real difference would have most pairs lean to one side, as they do where one call is made and where two are; that is
//! tried here too. Behind a password's hash, which takes two thousand times as long, and with the few guesses that one
//! account allows, nobody finds what is left.

use capecontrol::auth::model::LinkPurpose;
use capecontrol::auth::{Error, Service};
use capecontrol::base::World;
use tokio::time::Instant;

use super::{login, nobody, node, patient, refused, registration};
use crate::support::{Fixture, on_both};

const ADA: &str = "ada@example.com";
/// An address without an account, as long as the other, and guessed at as often: a new row is another work than one
/// that is there.
const EVE: &str = "eve@example.com";
const TURNS: usize = 400;
/// The difference that does not count, in seconds.
const MARGIN: f64 = 50e-6;
/// In standard deviations. Without a difference beyond the margin it is beyond four once in thirty thousand runs at
/// most, and three runs in a row never.
const Z_MAX: f64 = 4.0;

/// How long the two calls of a pair took, in seconds.
type Pair = (f64, f64);

/// How surely the calls of the pairs differ by more than the margin, whichever is the slower one, in standard
/// deviations.
fn apart(pairs: &[Pair]) -> f64 {
    let beyond = |sign: f64| pairs.iter().map(|(one, other)| sign * (other - one) - MARGIN).collect();
    lean(beyond(1.0)).max(lean(beyond(-1.0)))
}

/// How far differences lean upwards, in standard deviations (Wilcoxon's signed ranks).
#[expect(clippy::cast_precision_loss, reason = "a few hundred pairs")]
fn lean(mut differences: Vec<f64>) -> f64 {
    differences.sort_unstable_by(|one, other| one.abs().total_cmp(&other.abs()));
    let sum: f64 =
        differences.iter().enumerate().map(|(at, difference)| (at + 1) as f64 * difference.signum()).sum();
    let n = differences.len() as f64;
    sum / (n * (n + 1.0) * (2.0 * n + 1.0) / 6.0).sqrt()
}

/// The times of both kinds of call, each pair in an order that is drawn.
async fn times<A, B>(world: &World, mut one: impl FnMut() -> A, mut other: impl FnMut() -> B) -> Vec<Pair>
where
    A: Future<Output = ()>,
    B: Future<Output = ()>,
{
    let mut pairs = Vec::new();
    for _ in 0..TURNS {
        let mut pair = Pair::default();
        let one_first = world.below(2) == 0;
        for half in [one_first, !one_first] {
            let began = Instant::now();
            if half {
                one().await;
                pair.0 = began.elapsed().as_secs_f64();
            } else {
                other().await;
                pair.1 = began.elapsed().as_secs_f64();
            }
        }
        pairs.push(pair);
    }
    pairs
}

async fn ask(service: &Service, email: &str) {
    service.request_link(&nobody(), LinkPurpose::ResetPassword, email, None).await.unwrap();
}

async fn guess(service: &Service, email: &str) {
    let guess = login(email, "a wrong guess");
    refused!(service.login(&nobody(), guess, None).await, Error::InvalidCredentials);
}

on_both! {
    async fn known_and_unknown_addresses_take_the_same_time(t: Fixture) {
        let service = node(&t, patient()).await;
        service.register(&nobody(), registration(ADA), None).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let asked = times(&t.world, || ask(&service, ADA), || ask(&service, EVE)).await;
            let guessed = times(&t.world, || guess(&service, ADA), || guess(&service, EVE)).await;
            seen.push(apart(&asked).max(apart(&guessed)));
            if seen.last().is_some_and(|apart| *apart < Z_MAX) {
                break;
            }
        }
        assert!(seen.last().unwrap() < &Z_MAX, "three runs tell the kinds apart: {seen:?}");
        // A difference is seen, also beside a disk that others wait for.
        let twice = async || {
            ask(&service, ADA).await;
            ask(&service, ADA).await;
        };
        let seen = apart(&times(&t.world, || ask(&service, ADA), twice).await);
        assert!(seen > Z_MAX, "the comparison sees nothing: {seen}");
    }
}
