//! The platform with no workers: what comes in is stored and answered, and its jobs stay queued. On an order it puts
//! events before its hub as if they had just been committed, so that delivery can be measured by itself. It can be told
//! to write each message by itself.

use std::collections::HashMap;

use capecontrol::app::{App, Listeners, real};
use capecontrol::base::World;
use capecontrol::chat::hub::Hub;
use capecontrol::chat::model::{Actor, Event, Message, ThreadId};
use capecontrol::chat::store;
use capecontrol::config::{Config, Sources};
use capecontrol::db::{Db, Scope};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::rows::MESSAGE;
use crate::scene::Scene;

/// The argument that makes this program the platform.
pub const ROLE: &str = "platform";
/// The argument after that, with which it writes each message by itself.
pub const ONE_BY_ONE: &str = "one-by-one";

/// Serves, and does what standard input says, until that ends or SIGTERM comes.
pub async fn run() -> Outcome<()> {
    let (mut config, _) = Config::read(Sources::of_process(None, Vec::new())?)?;
    config.bounds.jobs.concurrency = 0;
    if std::env::args().any(|argument| argument == ONE_BY_ONE) {
        config.bounds.chat.messages_together_max = 1;
    }
    let listeners = Listeners::bind(&mut config).await?;
    let listen = config.server.listen;
    let app = App::build(config, real::world()).await?;
    println!("the platform listens on {listen} .");
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let asked = async {
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            obeyed = obey(&app) => obeyed,
        }
    };
    let (served, obeyed) = tokio::join!(app.serve(listeners, stop.clone()), async {
        let obeyed = asked.await;
        stop.cancel();
        obeyed
    });
    served?;
    obeyed
}

/// Reads orders line by line, and answers each with a line.
async fn obey(app: &App) -> Outcome<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let scene = Scene::read(&std::env::current_dir()?).await?;
    let mut author = Author::new(&app.db, &scene).await?;
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["deliver", whom, events] = words.as_slice() else {
            return Err(format!("what is {line:?}?").into());
        };
        for thread_id in scene.wave(whom, events.parse()?) {
            app.chat.hub().carry(&Hub::hint(&author.write(thread_id)));
        }
        println!("delivered");
    }
    Ok(())
}

/// Writes events that are nowhere stored.
struct Author {
    world: World,
    actor: Actor,
    positions: HashMap<ThreadId, i64>,
}

impl Author {
    async fn new(db: &Db, scene: &Scene) -> Outcome<Self> {
        let actor = Actor::Account(*scene.accounts.first().ok_or("nobody is there")?);
        let mut conn = db.conn(Scope::System("bench")).await?;
        let mut positions = HashMap::new();
        for part in scene.threads.chunks(500) {
            positions.extend(store::heads(&mut conn, part).await?);
        }
        positions.extend(store::heads(&mut conn, &[scene.hall]).await?);
        Ok(Self { world: real::world(), actor, positions })
    }

    fn write(&mut self, thread_id: ThreadId) -> Event {
        let position = self.positions.entry(thread_id).or_default();
        *position += 1;
        Event::created(Message {
            id: self.world.id(),
            thread_id,
            seq: *position,
            author: self.actor,
            client_message_id: Some(self.world.id::<Message>().uuid()),
            reply_to: None,
            text: MESSAGE.to_owned(),
            attachments: Vec::new(),
            created_at: self.world.now(),
            edited_at: None,
            deleted_at: None,
        })
    }
}
