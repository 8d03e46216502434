//! The control: the least that the same job could cost. A bare tonic server, and the bare statements, with none of the
//! platform's rules: nobody is asked who they are, nothing is bounded, counted or logged.

mod store;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;

use crate::Outcome;
use crate::client::{message, stamped};
use crate::scene::{MEMBERS, Scene};
use store::Store;
use wire::Channels;

/// The argument that makes this program the control.
pub const ROLE: &str = "control";

/// Serves, and does what standard input says, until that ends or a signal comes.
pub async fn run(arguments: &[String]) -> Outcome<()> {
    let [database_url] = arguments else { return Err("the control wants a database".into()) };
    let store = Arc::new(Store::open(database_url).await?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("the control listens on {} .", listener.local_addr()?);
    let channels = Arc::new(Channels::default());
    tokio::select! {
        served = wire::serve(listener, Arc::clone(&store), Arc::clone(&channels)) => served,
        obeyed = obey(store, channels) => obeyed,
    }
}

/// Reads orders line by line, and answers each with a line.
async fn obey(store: Arc<Store>, channels: Arc<Channels>) -> Outcome<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let scene = Arc::new(Scene::read(&std::env::current_dir()?).await?);
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [what @ ("send" | "send-hot" | "insert" | "read" | "read-bare"), senders, millis] => {
                let time = Duration::from_millis(millis.parse()?);
                let (count, elapsed) = work(what, senders.parse()?, time, &store, &scene).await?;
                println!("{count} {}", elapsed.as_micros());
            }
            ["deliver", whom, events] => {
                for thread in scene.wave(whom, events.parse()?) {
                    channels.deliver(&message(&thread.to_string()));
                }
                println!("delivered");
            }
            ["converse", senders, rate, millis] => {
                let time = Duration::from_millis(millis.parse()?);
                let sent = converse(senders.parse()?, rate.parse()?, time, &store, &channels, &scene).await?;
                println!("{sent}");
            }
            ["missed", clients, events] => {
                let (count, elapsed) = missed(clients.parse()?, events.parse()?, &store, &scene).await?;
                println!("{count} {}", elapsed.as_micros());
            }
            _ => return Err(format!("what is {line:?}?").into()),
        }
    }
    Ok(())
}

/// Writes messages or notifications, or reads threads, for a time.
async fn work(
    what: &str,
    senders: usize,
    time: Duration,
    store: &Arc<Store>,
    scene: &Arc<Scene>,
) -> Outcome<(u64, Duration)> {
    let (store, scene) = (Arc::clone(store), Arc::clone(scene));
    if let "send" | "send-hot" = what {
        let hot = what == "send-hot";
        let send = move |sender, turn| {
            let store = Arc::clone(&store);
            let place = if hot {
                (scene.hall, scene.accounts[sender])
            } else {
                scene.thread_and_author(Scene::thread_of(sender, turn))
            };
            async move { store.send(place).await }
        };
        return repeat(senders, time, send).await;
    }
    if let "read" | "read-bare" = what {
        let scope = what == "read";
        let read = move |reader, turn| {
            let (store, scene) = (Arc::clone(&store), Arc::clone(&scene));
            async move { store.thread(&scene, Scene::thread_of(reader, turn), scope).await }
        };
        return repeat(senders, time, read).await;
    }
    let insert = move |_, _| {
        let store = Arc::clone(&store);
        async move { store.insert(crate::rows::notification()).await }
    };
    repeat(senders, time, insert).await
}

/// Writes messages at a steady pace, and hands each to those who follow its thread once it is written; how many.
async fn converse(
    senders: usize,
    rate: f64,
    time: Duration,
    store: &Arc<Store>,
    channels: &Arc<Channels>,
    scene: &Arc<Scene>,
) -> Outcome<u64> {
    let (store, channels, scene) = (Arc::clone(store), Arc::clone(channels), Arc::clone(scene));
    let send = move |sender, turn| {
        let (store, channels) = (Arc::clone(&store), Arc::clone(&channels));
        let place = scene.thread_and_author(Scene::thread_of(sender, turn));
        async move {
            let request = stamped(&place.0.to_string());
            store.send(place).await?;
            channels.deliver(&request);
            Ok(())
        }
    };
    pace(senders, rate, time, send).await
}

/// How many of them wait for a database connection at once: more are not let wait.
const WAITING: usize = 1_000;

/// Reads what each of so many clients missed, ten of them on each thread, all at once; how many events it was.
async fn missed(
    clients: usize,
    events: i64,
    store: &Arc<Store>,
    scene: &Arc<Scene>,
) -> Outcome<(u64, Duration)> {
    let heads = store.heads(scene).await?;
    let waiting = Arc::new(tokio::sync::Semaphore::new(WAITING));
    let (from, mut reading) = (Instant::now(), tokio::task::JoinSet::new());
    for client in 0..clients {
        let (thread, head) = heads[(client / MEMBERS) % heads.len()];
        let (store, scene) = (Arc::clone(store), Arc::clone(scene));
        let waiting = Arc::clone(&waiting);
        reading.spawn(async move {
            let _place = waiting.acquire().await?;
            store.missed(&scene, thread, head - events).await
        });
    }
    let mut all = 0;
    while let Some(count) = reading.join_next().await {
        all += count?? as u64;
    }
    Ok((all, from.elapsed()))
}

/// Has so many tasks do the same at a steady pace, so many times a second all together; how often it was done. What
/// takes longer than its place allows makes the next one late, not left out.
pub async fn pace<F>(
    tasks: usize,
    rate: f64,
    time: Duration,
    work: impl Fn(usize, usize) -> F + Clone + Send + 'static,
) -> Outcome<u64>
where
    F: Future<Output = Outcome<()>> + Send,
{
    let from = tokio::time::Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let work = work.clone();
        let (begin, every) = (task as f64 / rate, tasks as f64 / rate);
        set.spawn(async move {
            let begin = from + Duration::from_secs_f64(begin);
            let mut beat = tokio::time::interval_at(begin, Duration::from_secs_f64(every));
            let mut count = 0_u64;
            while from.elapsed() < time {
                beat.tick().await;
                work(task, count as usize).await?;
                count += 1;
            }
            Outcome::Ok(count)
        });
    }
    let mut all = 0;
    while let Some(count) = set.join_next().await {
        all += count??;
    }
    Ok(all)
}

/// Has so many tasks do the same again and again for a time; how often it was done, and in what time.
pub async fn repeat<F>(
    tasks: usize,
    time: Duration,
    work: impl Fn(usize, usize) -> F + Clone + Send + 'static,
) -> Outcome<(u64, Duration)>
where
    F: Future<Output = Outcome<()>> + Send,
{
    let from = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let work = work.clone();
        set.spawn(async move {
            let mut count = 0_u64;
            while from.elapsed() < time {
                work(task, count as usize).await?;
                count += 1;
            }
            Outcome::Ok(count)
        });
    }
    let mut all = 0;
    while let Some(count) = set.join_next().await {
        all += count??;
    }
    Ok((all, from.elapsed()))
}
