//! What 200 sign-ins at once do to whoever does something else.
//!
//! The control is the same program without them, turn by turn. Passwords are hashed at their full price here.

use std::time::Duration;

use capecontrol::proto::capecontrol::auth::v1::GetAccountRequest;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::calls::CONNECTIONS;
use super::row;
use crate::client::{Crowd, connect, log_in};
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::Program;
use crate::scene::Places;
use crate::{Failure, Outcome};

const SIGN_INS: usize = 200;
/// Callers beside them, each on a connection of its own, and how often each calls.
const CALLERS: usize = 8;
const PACE: Duration = Duration::from_millis(10);
/// How long the calls of one turn go on: about 3,000 of them.
const TURN: Duration = Duration::from_secs(4);
/// How long the sign-ins go on before anything is measured.
const LEAD: Duration = Duration::from_millis(500);
/// What whoever is told to come back waits, as the answer says.
const COME_BACK: Duration = Duration::from_secs(2);

/// The 99th hundredth of GetAccount beside 200 sign-ins, against the same when it is quiet.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let platform = Program::platform_with_dear_hashes(&places.platform).await?;
    let crowd = Crowd::sign_in(&platform.url, &places.scene, CALLERS).await?;
    paced(&crowd).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let quiet = paced(&crowd).await?;
        let storm = Storm::begin(connect(&platform.url, CONNECTIONS).await?);
        tokio::time::sleep(LEAD).await;
        let beside = paced(&crowd).await;
        storm.end().await?;
        rounds.push((beside?, quiet));
    }
    platform.stop().await?;
    let name = format!("GetAccount p99, {SIGN_INS} sign-ins at once");
    Ok(vec![row(places, name, "ms", Target::RatioAtMost(4.0), rounds)])
}

/// Calls at a steady pace, and tells the time that ninety-nine of a hundred stayed within.
async fn paced(crowd: &Crowd) -> Outcome<Round> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let mut accounts = crowd.accounts(caller, caller);
        callers.spawn(async move {
            let (from, mut took) = (Instant::now(), Vec::new());
            let mut beat = tokio::time::interval(PACE);
            while from.elapsed() < TURN {
                beat.tick().await;
                let began = Instant::now();
                accounts.get_account(GetAccountRequest {}).await?;
                took.push(began.elapsed());
            }
            Outcome::Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = callers.join_next().await {
        all.extend(took??);
    }
    all.sort_unstable();
    let slow = all.get(all.len() * 99 / 100).ok_or("no call was made")?;
    Ok(Round::plain(slow.as_secs_f64() * 1_000.0))
}

/// People who sign in, again and again, until they are stopped.
struct Storm(JoinSet<Failure>);

impl Storm {
    fn begin(channels: Vec<Channel>) -> Self {
        let mut set = JoinSet::new();
        for person in 0..SIGN_INS {
            let channel = channels[person % channels.len()].clone();
            set.spawn(async move {
                loop {
                    match log_in(channel.clone(), person % crate::scene::PEOPLE).await {
                        Ok(_) => {}
                        Err(error) if is_busy(&error) => tokio::time::sleep(COME_BACK).await,
                        Err(error) => return error,
                    }
                }
            });
        }
        Self(set)
    }

    /// Stops them all. An error when one of them met anything but a sign-in or the word to come back.
    async fn end(mut self) -> Outcome<()> {
        let met = self.0.try_join_next();
        self.0.shutdown().await;
        match met {
            None => Ok(()),
            Some(error) => Err(error?),
        }
    }
}

fn is_busy(error: &Failure) -> bool {
    let status = error.downcast_ref::<tonic::Status>();
    status.is_some_and(|status| status.code() == tonic::Code::ResourceExhausted)
}
