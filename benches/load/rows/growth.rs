//! How the platform's cost grows with what it holds. Its control is the platform itself, with little in its tables or
//! with nobody listening; 1.00 says that the growth costs nothing.

use std::sync::Arc;

use capecontrol::proto::capecontrol::auth::v1::GetAccountRequest;
use capecontrol::proto::capecontrol::chat::v1::{ListEventsRequest, ListThreadsRequest};
use capecontrol::proto::capecontrol::payments::v1::ListInvoicesRequest;

use super::calls::{CONNECTIONS, SENDERS};
use super::{TURN, row, streams};
use crate::client::{Crowd, log_in, message};
use crate::control::repeat;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::fill::{Filling, SMALL};
use crate::process::{Place, Program};
use crate::report::figure;
use crate::scene::{Places, Scene, member};
use crate::{Outcome, fill};

/// Streams that are open while nobody writes, and the connections that they share.
const STREAMS: usize = 10_000;
const STREAM_CONNECTIONS: usize = 50;

/// What is called.
#[derive(Clone, Copy)]
enum Call {
    Account,
    Login,
    Threads,
    ThreadsOfFew,
    Events,
    Invoices,
    Send,
}

/// All calls on few rows and on many, and one beside idle streams.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let mut rows = with_rows(places).await?;
    rows.push(beside_streams(places).await?);
    Ok(rows)
}

async fn with_rows(places: &Places) -> Outcome<Vec<Row>> {
    let few = Side::start(&places.small("small").await?, places).await?;
    let many = Side::start(places.filled().await?, places).await?;
    let mut rows = Vec::new();
    for (call, name) in names(places)? {
        few.turn(call, places).await?;
        many.turn(call, places).await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((many.turn(call, places).await?, few.turn(call, places).await?));
        }
        rows.push(row(places, name, "calls/s", Target::None, rounds));
    }
    few.program.stop().await?;
    many.program.stop().await?;
    Ok(rows)
}

/// What is compared, in the order in which it is measured: what writes comes last.
fn names(places: &Places) -> Outcome<[(Call, String); 7]> {
    let few = Filling::new(&places.scene, SMALL)?;
    let many = Filling::new(&places.scene, fill::rows()?)?;
    let grown = |from: u64, to: u64, what: &str| {
        format!("growth {}→{} {what}", figure(from as f64), figure(to as f64))
    };
    let rows = |what: &str| grown(few.rows, many.rows, &format!("rows, {what}"));
    Ok([
        (Call::Account, rows("GetAccount")),
        (Call::Threads, grown(few.list(), many.list(), "threads, ListThreads")),
        (Call::ThreadsOfFew, grown(few.list(), many.list(), "others' threads, ListThreads")),
        (Call::Events, grown(few.history(), many.history(), "events, ListEvents")),
        (Call::Invoices, grown(few.list(), many.list(), "invoices, ListInvoices")),
        (Call::Login, rows("Login")),
        (Call::Send, rows("SendMessage")),
    ])
}

/// GetAccount while 10,000 streams are open, and while none is.
async fn beside_streams(places: &Places) -> Outcome<Row> {
    let beside = Side::start(&places.small("beside").await?, places).await?;
    let alone = Side::start(&places.small("alone").await?, places).await?;
    let listeners = beside.crowd.elsewhere(&beside.program.url, STREAM_CONNECTIONS).await?;
    let open = streams::open(&listeners, places, STREAMS).await?;
    beside.turn(Call::Account, places).await?;
    alone.turn(Call::Account, places).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((beside.turn(Call::Account, places).await?, alone.turn(Call::Account, places).await?));
    }
    drop(open);
    beside.program.stop().await?;
    alone.program.stop().await?;
    let name = format!("growth 0→{} idle streams, GetAccount", figure(STREAMS as f64));
    Ok(row(places, name, "calls/s", Target::None, rounds))
}

/// The platform at one place, and those who call it.
struct Side {
    program: Program,
    crowd: Arc<Crowd>,
}

impl Side {
    async fn start(place: &Place, places: &Places) -> Outcome<Self> {
        let program = Program::platform(place).await?;
        let crowd = Arc::new(Crowd::sign_in(&program.url, &places.scene, CONNECTIONS).await?);
        Ok(Self { program, crowd })
    }

    async fn turn(&self, call: Call, places: &Places) -> Outcome<Round> {
        let before = self.program.cpu()?;
        let (crowd, scene) = (Arc::clone(&self.crowd), Arc::new(places.scene.clone()));
        let (count, elapsed) = repeat(SENDERS, TURN, move |caller, turn| {
            let (crowd, scene) = (Arc::clone(&crowd), Arc::clone(&scene));
            async move { call.make(&crowd, &scene, caller, turn).await }
        })
        .await?;
        Ok(Round::rate(count, elapsed, self.program.cpu()? - before))
    }
}

impl Call {
    async fn make(self, crowd: &Crowd, scene: &Scene, caller: usize, turn: usize) -> Outcome<()> {
        // The first person has the long lists; the second is in the same organisation, and in few of its threads.
        let read = match self {
            Self::Account => {
                crowd.accounts(caller, caller).get_account(GetAccountRequest {}).await?;
                1
            }
            Self::Send => {
                let thread = Scene::thread_of(caller, turn);
                let request = message(&scene.threads[thread].to_string());
                crowd.chat(caller, member(thread, 0)).send_message(request).await?;
                1
            }
            Self::Login => {
                log_in(crowd.stranger(caller), (caller + turn) % scene.accounts.len()).await?;
                1
            }
            Self::Threads => threads(crowd, scene, caller, 0).await?,
            Self::ThreadsOfFew => threads(crowd, scene, caller, 1).await?,
            Self::Events => {
                let thread_id = Filling::deep_thread().to_string();
                let request = ListEventsRequest { thread_id, ..ListEventsRequest::default() };
                crowd.chat(caller, 0).list_events(request).await?.into_inner().events.len()
            }
            Self::Invoices => {
                let request = ListInvoicesRequest::default();
                crowd.invoices(caller, 0).list_invoices(request).await?.into_inner().invoices.len()
            }
        };
        if read == 0 { Err("a list is empty".into()) } else { Ok(()) }
    }
}

async fn threads(crowd: &Crowd, scene: &Scene, caller: usize, person: usize) -> Outcome<usize> {
    let organization_id = scene.organization.to_string();
    let request = ListThreadsRequest { organization_id, ..ListThreadsRequest::default() };
    Ok(crowd.chat(caller, person).list_threads(request).await?.into_inner().threads.len())
}
