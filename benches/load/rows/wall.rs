//! The price of the second wall, on PostgreSQL: what the policies add to a call of the same server on the same data,
//! and what a read in a scope costs over one that needs none. It is printed, and nothing is wanted of it.

use std::sync::Arc;

use capecontrol::proto::capecontrol::chat::v1::GetThreadRequest;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::calls::{CONNECTIONS, SENDERS, ordered};
use super::{TURN, row};
use crate::Outcome;
use crate::client::Crowd;
use crate::control::repeat;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::Program;
use crate::scene::{Places, Scene, member};

/// How many are under way at once.
const IN_FLIGHT: [usize; 2] = [1, SENDERS];

/// Here the control is the same without the wall.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let mut rows = calls(places).await?;
    rows.extend(reads(places).await?);
    Ok(rows)
}

/// GetThread, with the policies in force and not, turn by turn. A node that starts looks for them, and one that runs
/// does not.
async fn calls(places: &Places) -> Outcome<Vec<Row>> {
    let platform = Program::platform(&places.platform).await?;
    let crowd = Crowd::sign_in(&platform.url, &places.scene, CONNECTIONS).await?;
    let owner = places.platform.owner_url.as_ref().ok_or("only PostgreSQL has a wall")?;
    let mut owner = PgConnection::connect(owner).await?;
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut rounds = Vec::new();
        // The first round warms up.
        for round in 0..=ROUNDS {
            policies(&mut owner, "ENABLE").await?;
            let ours = threads_read(&platform, &crowd, places, in_flight).await?;
            policies(&mut owner, "DISABLE").await?;
            let control = threads_read(&platform, &crowd, places, in_flight).await?;
            rounds.extend((round > 0).then_some((ours, control)));
        }
        let name = format!("the wall: GetThread with its policies, {in_flight} in flight");
        rows.push(row(places, name, "calls/s", Target::None, rounds));
    }
    policies(&mut owner, "ENABLE").await?;
    owner.close().await?;
    platform.stop().await?;
    Ok(rows)
}

/// Puts all policies in force, or out of it.
async fn policies(owner: &mut PgConnection, how: &str) -> Outcome<()> {
    let listed = "SELECT DISTINCT tablename::text FROM pg_policies WHERE schemaname = current_schema()";
    let tables: Vec<(String,)> = sqlx::query_as(listed).fetch_all(&mut *owner).await?;
    for (table,) in tables {
        let text = format!("ALTER TABLE {table} {how} ROW LEVEL SECURITY");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *owner).await?;
    }
    Ok(())
}

async fn threads_read(program: &Program, crowd: &Crowd, places: &Places, in_flight: usize) -> Outcome<Round> {
    let before = program.cpu()?;
    let (crowd, scene) = (crowd.clone(), Arc::new(places.scene.clone()));
    let (count, elapsed) = repeat(in_flight, TURN, move |caller, turn| {
        let thread = Scene::thread_of(caller, turn);
        let mut chat = crowd.chat(caller, member(thread, 0));
        let request = GetThreadRequest { thread_id: scene.threads[thread].to_string() };
        async move {
            chat.get_thread(request).await?;
            Ok(())
        }
    })
    .await?;
    Ok(Round::rate(count, elapsed, program.cpu()? - before))
}

/// The head of a thread on the bare database floor: in a scope behind the wall, and without either.
async fn reads(places: &Places) -> Outcome<Vec<Row>> {
    let bare = places.small("bare").await?;
    let mut owner =
        PgConnection::connect(bare.owner_url.as_ref().ok_or("only PostgreSQL has a wall")?).await?;
    policies(&mut owner, "DISABLE").await?;
    owner.close().await?;
    let walled = places.small("walled").await?;
    let (mut walled, mut bare) = (Program::control(&walled).await?, Program::control(&bare).await?);
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let ours = ordered(&mut walled, "read", in_flight).await?;
            let control = ordered(&mut bare, "read-bare", in_flight).await?;
            rounds.extend((round > 0).then_some((ours, control)));
        }
        let name = format!("the wall: one read in a scope, {in_flight} in flight");
        rows.push(row(places, name, "reads/s", Target::None, rounds));
    }
    Ok(rows)
}
