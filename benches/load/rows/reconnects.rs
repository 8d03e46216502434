//! Everybody comes back at once: 10,000 clients over 50 connections, each of which missed ten events of its thread,
//! until all of them have these and are live.
//!
//! The control makes the bare reads of the same events, as many at once, in its own process and through as many
//! database connections: nobody calls, nobody is asked who they are, and nothing is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use capecontrol::app::real;
use capecontrol::chat::model::{Actor, Event, Message, ThreadId};
use capecontrol::chat::store;
use capecontrol::db::{Db, Options, Scope};
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::chat::v1::server_frame::Frame;
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};

use super::{MESSAGE, row};
use crate::Outcome;
use crate::client::{Crowd, Signed, kind, unique};
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::{Place, Program};
use crate::scene::{MEMBERS, Places, Scene, THREADS, member};

const CLIENTS: usize = 10_000;
const CONNECTIONS: usize = 50;
/// How many events each missed.
const MISSED: i64 = 10;
/// How long whoever is told to come again waits.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the platform has to note that everybody left.
const SETTLE: Duration = Duration::from_secs(3);

/// The time until all are live, against the time of the bare reads.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let heads = written(&places.platform, &places.scene).await?;
    written(&places.control, &places.scene).await?;
    let platform = Program::platform(&places.platform).await?;
    let mut control = Program::control(&places.control).await?;
    let crowd = Crowd::sign_in(&platform.url, &places.scene, 1).await?;
    let mut rounds = Vec::new();
    // The first round warms up.
    for round in 0..=ROUNDS {
        let ours = all_live(&platform, &crowd, &heads).await?;
        tokio::time::sleep(SETTLE).await;
        let order = format!("missed {CLIENTS} {MISSED}");
        let answer = control.ask(&order).await?;
        let (count, micros) = answer.split_once(' ').ok_or_else(|| format!("what is {answer:?}?"))?;
        if count.parse() != Ok(CLIENTS as i64 * MISSED) {
            return Err(format!("the control read {count} events").into());
        }
        let theirs = Round::plain(micros.parse::<f64>()? / 1e6);
        rounds.extend((round > 0).then_some((ours, theirs)));
    }
    platform.stop().await?;
    let name = format!("reconnects, {CLIENTS} clients until all are live");
    Ok(vec![row(places, name, "s", Target::RatioAtMost(3.0), rounds)])
}

/// Has everybody come back, and waits until each has what it missed and is live.
async fn all_live(program: &Program, crowd: &Crowd, heads: &[(ThreadId, i64)]) -> Outcome<Round> {
    let crowd = crowd.elsewhere(&program.url, CONNECTIONS).await?;
    let (from, mut coming, mut live) = (Instant::now(), JoinSet::new(), Vec::with_capacity(CLIENTS));
    for client in 0..CLIENTS {
        let (thread, seat) = ((client / MEMBERS) % THREADS, client % MEMBERS);
        let mut chat = crowd.chat(client, member(thread, seat));
        let (thread_id, head) = heads[thread];
        let cursor = chat::ThreadCursor {
            thread_id: thread_id.to_string(),
            after_seq: head - MISSED,
            ..chat::ThreadCursor::default()
        };
        coming.spawn(async move {
            loop {
                let request = chat::SubscribeRequest { threads: vec![cursor.clone()], ..Default::default() };
                match come_back(&mut chat, request).await {
                    // Whoever is told to come again does, as every client has to.
                    Err(status) if status.code() == Code::Unavailable => tokio::time::sleep(AGAIN).await,
                    came => return came,
                }
            }
        });
    }
    while let Some(stream) = coming.join_next().await {
        live.push(stream??);
    }
    Ok(Round::plain(from.elapsed().as_secs_f64()))
}

/// Opens a stream that tells what was missed, until it is live.
async fn come_back(
    chat: &mut ChatServiceClient<Signed>,
    request: chat::SubscribeRequest,
) -> Result<Streaming<chat::SubscribeResponse>, Status> {
    let mut frames = chat.subscribe(request).await?.into_inner();
    let mut events = 0;
    while let Some(answer) = frames.message().await? {
        match kind(&answer) {
            Some(Frame::Event(_)) => events += 1,
            Some(Frame::Live(_)) if events == MISSED => return Ok(frames),
            Some(Frame::Live(_)) => return Err(Status::data_loss(format!("{events} events were told"))),
            _ => {}
        }
    }
    Err(Status::data_loss("a stream ended before it was live"))
}

/// Has every thread of the scene go on by what is going to be missed; how far they are then.
async fn written(place: &Place, scene: &Scene) -> Outcome<Vec<(ThreadId, i64)>> {
    let (db, world) = (Db::open(&Options::new(&place.database_url)).await?, real::world());
    let home = scene.organization;
    let mut heads = BTreeMap::new();
    for part in (0..THREADS).collect::<Vec<_>>().chunks(100) {
        let mut tx = db.begin(Scope::Organization(home)).await?;
        let now = world.now();
        let authors: BTreeMap<_, _> = part.iter().map(|thread| scene.thread_and_author(*thread)).collect();
        let members: BTreeSet<_> = authors.iter().map(|(thread_id, author)| (*thread_id, *author)).collect();
        let mut threads = store::lock_threads(&mut tx, home, &members).await?;
        for thread in &mut threads {
            thread.last_seq += MISSED;
        }
        store::set_heads(&mut tx, home, &threads.iter().collect::<Vec<_>>(), now)?;
        for thread in threads {
            let (thread_id, head, author) = (thread.id, thread.last_seq, authors[&thread.id]);
            let message = |seq| Message {
                id: world.id(),
                thread_id,
                seq,
                author: Actor::Account(author),
                client_message_id: Some(unique()),
                reply_to: None,
                text: MESSAGE.to_owned(),
                attachments: Vec::new(),
                created_at: now,
                edited_at: None,
                deleted_at: None,
            };
            let messages: Vec<Message> = (head - MISSED + 1..=head).map(message).collect();
            let rows: Vec<_> = messages.iter().map(|message| (message, Some([0; 32]))).collect();
            store::insert_messages(&mut tx, home, &rows)?;
            let events: Vec<Event> = messages.into_iter().map(Event::created).collect();
            store::insert_events(&mut tx, home, &events)?;
            heads.insert(thread_id, head);
        }
        tx.commit().await?;
    }
    db.close().await;
    scene.threads.iter().map(|id| Ok((*id, *heads.get(id).ok_or("a thread is gone")?))).collect()
}
