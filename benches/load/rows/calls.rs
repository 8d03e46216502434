//! Calls that are answered one by one.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::proto::capecontrol::auth::v1::GetAccountRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{TURN, row};
use crate::client::{Crowd, message};
use crate::control::repeat;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::Program;
use crate::scene::{Engine, Places, Scene};
use crate::{Failure, Outcome};

/// Connections that the callers share: one alone is a bottleneck of its own.
pub const CONNECTIONS: usize = 8;
pub const SENDERS: usize = 64;

/// Authenticated GetAccount against a bare handler with the same read.
pub async fn get_account(places: &Places) -> Outcome<Vec<Row>> {
    let (platform, control) =
        (Program::platform(&places.platform).await?, Program::control(&places.control).await?);
    let ours = Crowd::sign_in(&platform.url, &places.scene, CONNECTIONS).await?;
    let theirs = ours.elsewhere(&control.url, CONNECTIONS).await?;
    let mut rows = Vec::new();
    for in_flight in [1, SENDERS] {
        let turn = |program, crowd| accounts_read(program, crowd, in_flight);
        turn(&platform, &ours).await?;
        turn(&control, &theirs).await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((turn(&platform, &ours).await?, turn(&control, &theirs).await?));
        }
        let name = format!("GetAccount, {in_flight} in flight");
        rows.push(row(places, name, "calls/s", Target::RatioAtLeast(0.75), rounds));
    }
    platform.stop().await?;
    Ok(rows)
}

async fn accounts_read(program: &Program, crowd: &Crowd, in_flight: usize) -> Outcome<Round> {
    let before = program.cpu()?;
    let crowd = crowd.clone();
    let (count, elapsed) = repeat(in_flight, TURN, move |caller, _| {
        let mut accounts = crowd.accounts(caller, caller);
        async move {
            let answer = accounts.get_account(GetAccountRequest {}).await?.into_inner();
            answer.account.map(|_| ()).ok_or_else(|| Failure::from("no account in the answer"))
        }
    })
    .await?;
    Ok(Round::rate(count, elapsed, program.cpu()? - before))
}

/// Durable SendMessage over the wire against the bare transaction in the control's own process.
pub async fn send_message(places: &Places) -> Outcome<Vec<Row>> {
    let (platform, mut control) =
        (Program::platform(&places.platform).await?, Program::control(&places.control).await?);
    let crowd = Crowd::sign_in(&platform.url, &places.scene, CONNECTIONS).await?;
    messages_sent(&platform, &crowd, places).await?;
    by_order(&mut control, "send").await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let ours = messages_sent(&platform, &crowd, places).await?;
        rounds.push((ours, by_order(&mut control, "send").await?));
    }
    platform.stop().await?;
    let name = format!("SendMessage, {SENDERS} senders, 1,000 threads");
    // SQLite has one writer: what is written beside each other on PostgreSQL waits there.
    let target = Target::RatioAtLeast(if places.engine == Engine::Postgres { 0.85 } else { 0.75 });
    Ok(vec![row(places, name, "messages/s", target, rounds)])
}

/// Durable SendMessage of many to one thread over the wire, against the same platform that writes each message by
/// itself, and against the bare transaction of as many at once in the control's own process: there each waits for the
/// lock on the thread's row until the one before is on the disk.
pub async fn hot_thread(places: &Places) -> Outcome<Vec<Row>> {
    let mut control = Program::control(&places.control).await?;
    let (mut by_itself, mut bare) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=ROUNDS {
        let together = Program::platform_without_jobs(&places.platform).await?;
        let ours = messages_to_the_hall(together, places).await?;
        let one_by_one = Program::platform_one_by_one(&places.platform).await?;
        let single = messages_to_the_hall(one_by_one, places).await?;
        let theirs = by_order(&mut control, "send-hot").await?;
        if round > 0 {
            by_itself.push((ours, single));
            bare.push((ours, theirs));
        }
    }
    let name = |control: &str| format!("hot thread, {SENDERS} senders to one thread, and {control}");
    Ok(vec![
        row(places, name("each by itself"), "messages/s", Target::RatioAtLeast(10.0), by_itself),
        row(places, name("the bare transaction"), "messages/s", Target::None, bare),
    ])
}

/// How many messages a second the hall takes on a platform that was just started, and is stopped after it.
async fn messages_to_the_hall(program: Program, places: &Places) -> Outcome<Round> {
    let crowd = Crowd::sign_in(&program.url, &places.scene, CONNECTIONS).await?;
    let before = program.cpu()?;
    let hall = places.scene.hall.to_string();
    let (count, elapsed) = repeat(SENDERS, TURN, move |sender, _| {
        let mut chat = crowd.chat(sender, sender);
        let request = message(&hall);
        async move {
            chat.send_message(request).await?;
            Ok(())
        }
    })
    .await?;
    let round = Round::rate(count, elapsed, program.cpu()? - before);
    program.stop().await?;
    Ok(round)
}

/// How many messages a second the platform takes.
pub async fn messages_sent(program: &Program, crowd: &Crowd, places: &Places) -> Outcome<Round> {
    let before = program.cpu()?;
    let (crowd, scene) = (crowd.clone(), Arc::new(places.scene.clone()));
    let (count, elapsed) = repeat(SENDERS, TURN, move |sender, turn| {
        let thread = Scene::thread_of(sender, turn);
        let mut chat = crowd.chat(sender, crate::scene::member(thread, 0));
        let request = message(&scene.threads[thread].to_string());
        async move {
            chat.send_message(request).await?;
            Ok(())
        }
    })
    .await?;
    Ok(Round::rate(count, elapsed, program.cpu()? - before))
}

async fn by_order(control: &mut Program, what: &str) -> Outcome<Round> {
    ordered(control, what, SENDERS).await
}

/// Has the control do something by itself for a turn, so many times at once.
pub async fn ordered(control: &mut Program, what: &str, at_once: usize) -> Outcome<Round> {
    let before = control.cpu()?;
    let answer = control.ask(&format!("{what} {at_once} {}", TURN.as_millis())).await?;
    let (count, micros) = answer.split_once(' ').ok_or_else(|| format!("what is {answer:?}?"))?;
    let elapsed = Duration::from_micros(micros.parse()?);
    Ok(Round::rate(count.parse()?, elapsed, control.cpu()? - before))
}

/// Notifications received and answered, against a bare insert of the same bytes in the control's own process: once with
/// the jobs that apply them held back, and once as they run.
pub async fn notification_received(places: &Places) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, target, jobs) in [
        (format!("ITN, {SENDERS} senders, to be applied later"), Target::RatioAtLeast(0.75), false),
        (format!("ITN, {SENDERS} senders, applied meanwhile"), Target::None, true),
    ] {
        let platform = if jobs {
            Program::platform(&places.platform).await?
        } else {
            Program::platform_without_jobs(&places.platform).await?
        };
        let mut control = Program::control(&places.control).await?;
        let sockets = Sockets::open(&platform.url).await?;
        notifications_posted(&platform, &sockets).await?;
        by_order(&mut control, "insert").await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let ours = notifications_posted(&platform, &sockets).await?;
            rounds.push((ours, by_order(&mut control, "insert").await?));
        }
        platform.stop().await?;
        rows.push(row(places, name, "ITNs/s", target, rounds));
    }
    Ok(rows)
}

async fn notifications_posted(program: &Program, sockets: &Arc<Sockets>) -> Outcome<Round> {
    let before = program.cpu()?;
    let sockets = Arc::clone(sockets);
    let (count, elapsed) = repeat(SENDERS, TURN, move |sender, _| {
        let sockets = Arc::clone(&sockets);
        async move { sockets.post(sender, &super::notification()).await }
    })
    .await?;
    Ok(Round::rate(count, elapsed, program.cpu()? - before))
}

/// Plain HTTP/1.1 with next to no cost of its own.
struct Sockets {
    host: String,
    open: Vec<Mutex<TcpStream>>,
}

impl Sockets {
    async fn open(url: &str) -> Outcome<Arc<Self>> {
        let host = url.trim_start_matches("http://").to_owned();
        let mut open = Vec::with_capacity(SENDERS);
        for _ in 0..SENDERS {
            let socket = TcpStream::connect(&host).await?;
            socket.set_nodelay(true)?;
            open.push(Mutex::new(socket));
        }
        Ok(Arc::new(Self { host, open }))
    }

    async fn post(&self, sender: usize, body: &[u8]) -> Outcome<()> {
        let head = format!(
            "POST /payfast/itn HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let mut socket = self.open[sender].lock().await;
        socket.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        while !answer.ends_with(b"\r\n\r\nOK") {
            let read = socket.read(&mut buffer).await?;
            answer.extend_from_slice(&buffer[..read]);
            let refused =
                !answer.starts_with(b"HTTP/1.1 200".get(..answer.len().min(12)).unwrap_or_default());
            if read == 0 || refused {
                return Err(
                    format!("a notification was refused: {}", String::from_utf8_lossy(&answer)).into()
                );
            }
        }
        Ok(())
    }
}
