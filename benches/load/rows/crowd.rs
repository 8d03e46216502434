//! A thread of 1,000 members in which everybody reads on, and comes and goes: how many frames that is for each of them.
//!
//! Both are told at fixed intervals, whatever happens in between. The control's figure is what there would be to tell
//! if nothing were: how often somebody read on or came or went, each of which would be a frame for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use capecontrol::app::real;
use capecontrol::base::AccountId;
use capecontrol::chat::model::member::ThreadRole;
use capecontrol::chat::store;
use capecontrol::db::{Conn as _, Db, Options, Scope};
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::event::Change;
use capecontrol::proto::capecontrol::chat::v1::server_frame::Frame;
use tokio::task::JoinSet;

use super::row;
use crate::Outcome;
use crate::client::{Crowd, connect, kind, message};
use crate::control::{pace, repeat};
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::{Place, Program};
use crate::scene::{PEOPLE, Places, Scene, enrol};

/// How many are in the thread, and follow it.
const PEOPLE_IN_THE_HALL: usize = 1_000;
const CONNECTIONS: usize = 50;
/// Whose presence each of them watches: as many as one stream may.
const WATCHED: usize = 200;
/// How many do something at once, and how often a message is written.
const BUSY: usize = 32;
const MESSAGES_PER_SECOND: f64 = 10.0;
const TURN: Duration = Duration::from_secs(5);
/// Once a second it is told how far people have read, and once a second who is there; one more of each may fall into a
/// turn.
const MOST: f64 = 2.0 + 2.0 / TURN.as_secs() as f64;

/// Frames a second for each listener.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let place = places.fresh("crowd").await?;
    let platform = Program::platform(&place).await?;
    let (accounts, tokens) = gathered(&platform, &place, &places.scene).await?;
    let mut crowd = Crowd::sign_in(&platform.url, &places.scene, CONNECTIONS).await?;
    crowd.joined_by(tokens)?;
    let hall = Hall::open(&crowd, &places.scene, &accounts).await?;
    hall.turn(&crowd).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(hall.turn(&crowd).await?);
    }
    platform.stop().await?;
    let name = format!("crowd, receipts and presence in a thread of {PEOPLE_IN_THE_HALL}");
    Ok(vec![row(places, name, "frames/s", Target::ValueAtMost(MOST), rounds)])
}

/// Makes more people members of the hall; everybody's account, and the tokens of those who came.
async fn gathered(program: &Program, place: &Place, scene: &Scene) -> Outcome<(Vec<AccountId>, Vec<String>)> {
    let channel = connect(&program.url, 1).await?.pop().ok_or("no connection")?;
    let mut client = AuthServiceClient::new(channel.clone());
    let (mut accounts, mut tokens) = (scene.accounts.clone(), Vec::new());
    for person in PEOPLE..PEOPLE_IN_THE_HALL {
        let (account, token) = enrol(&mut client, channel.clone(), person).await?;
        accounts.push(account);
        tokens.push(token);
    }
    let (db, now) = (Db::open(&Options::new(&place.database_url)).await?, real::world().now());
    let mut tx = db.begin(Scope::System("bench")).await?;
    for part in accounts[PEOPLE..].chunks(100) {
        tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES $rows")
            .rows(part, |statement, account| {
                statement.bind(scene.organization).bind(*account).bind("member").bind(now)
            })
            .execute()
            .await?;
        let members: Vec<_> = part.iter().map(|account| (*account, ThreadRole::Member)).collect();
        store::insert_members(&mut tx, scene.organization, scene.hall, &members, now).await?;
    }
    tx.commit().await?;
    db.close().await;
    Ok((accounts, tokens))
}

/// Everybody in the hall, each listening.
struct Hall {
    thread: String,
    connections: Arc<Vec<String>>,
    heard: Arc<Heard>,
    _streams: JoinSet<()>,
}

#[derive(Default)]
struct Heard {
    /// Frames that tell of receipts or presence.
    frames: AtomicU64,
    /// The newest position that anybody was told of.
    head: AtomicI64,
}

impl Hall {
    async fn open(crowd: &Crowd, scene: &Scene, accounts: &[AccountId]) -> Outcome<Self> {
        let (heard, mut connections, mut streams) = (Arc::new(Heard::default()), Vec::new(), JoinSet::new());
        let thread = scene.hall.to_string();
        for person in 0..PEOPLE_IN_THE_HALL {
            let watched = (1..=WATCHED).map(|next| accounts[(person + next) % accounts.len()].to_string());
            let request = chat::SubscribeRequest {
                threads: vec![chat::ThreadCursor {
                    thread_id: thread.clone(),
                    newest: 1,
                    ..chat::ThreadCursor::default()
                }],
                watch_presence: Some(chat::PresenceWatch { account_ids: watched.collect() }),
                ..chat::SubscribeRequest::default()
            };
            let mut frames = crowd.chat(person, person).subscribe(request).await?.into_inner();
            let first = frames.message().await?.ok_or("a stream ended at once")?;
            let Some(Frame::Welcome(welcome)) = kind(&first) else {
                return Err("nobody was welcomed".into());
            };
            connections.push(welcome.connection_id.clone());
            let heard = Arc::clone(&heard);
            streams.spawn(async move {
                while let Ok(Some(frame)) = frames.message().await {
                    heard.hear(&frame);
                }
            });
        }
        Ok(Self { thread, connections: Arc::new(connections), heard, _streams: streams })
    }

    /// Everybody reads on, and comes and goes, for a turn: the frames a second that each was told, and what happened in
    /// a second.
    async fn turn(&self, crowd: &Crowd) -> Outcome<(Round, Round)> {
        let (writer, thread) = (crowd.clone(), self.thread.clone());
        let written = pace(1, MESSAGES_PER_SECOND, TURN, move |_, _| {
            let (mut chat, request) = (writer.chat(0, 0), message(&thread));
            async move {
                chat.send_message(request).await?;
                Ok(())
            }
        });
        let (next, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let (crowd, thread) = (crowd.clone(), self.thread.clone());
        let (connections, heard, happened) =
            (Arc::clone(&self.connections), Arc::clone(&self.heard), Arc::clone(&done));
        let stirred = repeat(BUSY, TURN, move |_, _| {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let (person, idle) = (turn % PEOPLE_IN_THE_HALL, (turn / PEOPLE_IN_THE_HALL).is_multiple_of(2));
            let mut chat = crowd.chat(person, person);
            let up_to_seq = heard.head.load(Ordering::Relaxed);
            let read = chat::MarkReadRequest { thread_id: thread.clone(), up_to_seq };
            let connection_id = connections[person].clone();
            let presence = chat::SetPresenceRequest { connection_id, idle, ..Default::default() };
            let happened = Arc::clone(&happened);
            async move {
                if up_to_seq > 0 {
                    chat.mark_read(read).await?;
                }
                chat.set_presence(presence).await?;
                happened.fetch_add(2, Ordering::Relaxed);
                Ok(())
            }
        });
        let (before, from) = (self.heard.frames.load(Ordering::Relaxed), Instant::now());
        let (written, stirred) = tokio::join!(written, stirred);
        written?;
        stirred?;
        let seconds = from.elapsed().as_secs_f64();
        let frames = self.heard.frames.load(Ordering::Relaxed) - before;
        let told = frames as f64 / PEOPLE_IN_THE_HALL as f64 / seconds;
        Ok((Round::plain(told), Round::plain(done.load(Ordering::Relaxed) as f64 / seconds)))
    }
}

impl Heard {
    fn hear(&self, frame: &chat::SubscribeResponse) {
        match kind(frame) {
            Some(Frame::Event(event)) => {
                self.head.fetch_max(event.seq, Ordering::Relaxed);
                if matches!(event.change, Some(Change::ReceiptsMoved(_))) {
                    self.frames.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(Frame::Presence(_)) => {
                self.frames.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}
