//! Whoever looks at the clock learns nothing of an address.
//!
//! How long calls take for addresses of either kind is compared by rank, in turns and in one run, so that a slow
//! moment falls on both. A real difference would put the ranks of one kind far before the other's, as it does where
//! one call is made and where six are; that is tried here too.

use std::time::Duration;

use capecontrol::auth::model::LinkPurpose;
use capecontrol::auth::{Error, Service};
use capecontrol::base::World;
use tokio::time::Instant;

use super::{login, nobody, node, patient, refused, registration};
use crate::support::{Fixture, on_both};

const ADA: &str = "ada@example.com";
const TURNS: usize = 150;
/// In standard deviations. By chance it is beyond four once in fifteen thousand runs, and three runs in a row
/// never.
const Z_MAX: f64 = 4.0;

/// How far the ranks of the first are from those of the second, in standard deviations (Mann and Whitney).
#[expect(clippy::cast_precision_loss, reason = "a few hundred of each")]
fn rank_distance(one: &[Duration], other: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> =
        one.iter().map(|took| (*took, true)).chain(other.iter().map(|took| (*took, false))).collect();
    all.sort_unstable();
    let ranks: f64 =
        all.iter().enumerate().filter(|(_, (_, first))| *first).map(|(at, _)| (at + 1) as f64).sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

/// The times of both kinds of call, which are made in turns, in an order that is drawn.
async fn times<A, B>(
    world: &World,
    mut one: impl FnMut(usize) -> A,
    mut other: impl FnMut(usize) -> B,
) -> (Vec<Duration>, Vec<Duration>)
where
    A: Future<Output = ()>,
    B: Future<Output = ()>,
{
    let mut took = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let one_first = world.below(2) == 0;
        for half in [one_first, !one_first] {
            let began = Instant::now();
            if half {
                one(turn).await;
                took.0.push(began.elapsed());
            } else {
                other(turn).await;
                took.1.push(began.elapsed());
            }
        }
    }
    took
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
        let unknown = |turn: usize| format!("nobody{turn}@example.com");
        let mut seen = Vec::new();
        for _ in 0..3 {
            let ask_unknown = async |turn| ask(&service, &unknown(turn)).await;
            let (known, other) = times(&t.world, |_| ask(&service, ADA), ask_unknown).await;
            let guess_unknown = async |turn| guess(&service, &unknown(turn)).await;
            let (known_guess, other_guess) = times(&t.world, |_| guess(&service, ADA), guess_unknown).await;
            seen.push((rank_distance(&known, &other), rank_distance(&known_guess, &other_guess)));
            if seen.last().is_some_and(|(asked, guessed)| asked.abs() < Z_MAX && guessed.abs() < Z_MAX) {
                break;
            }
        }
        let (asked, guessed) = seen.last().unwrap();
        assert!(asked.abs() < Z_MAX && guessed.abs() < Z_MAX, "three runs tell the kinds apart: {seen:?}");
        // A difference of some calls is seen from far, also beside a disk that others wait for.
        let often = async |_| {
            for _ in 0..6 {
                ask(&service, ADA).await;
            }
        };
        let (once, often) = times(&t.world, |_| ask(&service, ADA), often).await;
        assert!(rank_distance(&once, &often) < -Z_MAX, "the comparison sees nothing");
    }
}
