//! How fast the audit log is verified, against bare hashing of the same bytes: from the memory, and as it is read from
//! the database.

use std::net::IpAddr;

use capecontrol::app::real;
use capecontrol::audit::{Archive, Event, Head, KIND, Link, Log, Reach, Risk, Sealer};
use capecontrol::auth::{Caller, Origin};
use capecontrol::base::{AccountId, OrganizationId};
use capecontrol::chain::{Behind, Seal, Walk};
use capecontrol::db::{Db, Options, Scope};
use capecontrol::keyring::RootKey;
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection, ValueRef as _};
use tokio::time::Instant;

use super::row;
use crate::Outcome;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::scene::{Engine, Places, place};

/// Entries in the log.
const ENTRIES: usize = 20_000;
/// How many times the memory is gone through in one round, which would be too short otherwise.
const TURNS: usize = 10;

/// The same rows in the same order, as the verification reads them.
const BARE: &str =
    "SELECT s.position, s.digest, s.hash, e.id, e.organization_id, e.action, e.outcome, e.reason,
    e.occurrences, e.risk, e.actor_kind, e.actor_id, e.on_behalf_of, e.session_id, e.purpose, e.subject_kind,
    e.subject_id, e.before_digest, e.after_digest, e.request_id, e.person_id, e.personal, e.created_at
 FROM audit_seals AS s JOIN audit_events AS e ON e.id = s.event_id ORDER BY s.position";

/// A log of its own, verified and bare.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let place = place(folder.path(), places.engine, "audit").await?;
    let db = Db::open(&Options::new(&place.database_url)).await?;
    match &place.owner_url {
        Some(owner) => {
            let owner = Db::open(&Options::new(owner)).await?;
            db.migrate_as(&owner).await?;
            owner.close().await;
        }
        None => db.migrate().await?,
    }
    let log = Log::new(real::world(), RootKey::new([7; 32]));
    fill(&db, &log).await?;
    let archive = Archive::new(db.clone(), log.clone());
    let chain = Chain::read(&archive).await?;
    chain.follow(log.public_key())?;
    let (mut memory, mut stored) = (Vec::new(), Vec::new());
    bare(places.engine, &place.database_url).await?;
    for _ in 0..ROUNDS {
        let ours = timed(TURNS, || chain.follow(log.public_key()))?;
        memory.push((ours, timed(TURNS, || Ok(chain.hash()))?));
        let begin = Instant::now();
        let report = archive.verify(Reach::Platform, None).await?;
        let ours = rate(1, begin);
        if report.bad.is_some() || usize::try_from(report.entries)? != ENTRIES {
            return Err(format!("the log is not whole: {report:?}").into());
        }
        let begin = Instant::now();
        bare(places.engine, &place.database_url).await?;
        stored.push((ours, rate(1, begin)));
    }
    db.close().await;
    let target = Target::RatioAtLeast(0.5);
    let name = |what: &str| format!("audit verification of {ENTRIES} entries, {what}");
    Ok(vec![
        row(places, name("from the memory"), "entries/s", target, memory),
        row(places, name("from the database"), "entries/s", target, stored),
    ])
}

fn timed(turns: usize, mut work: impl FnMut() -> Outcome<[u8; 32]>) -> Outcome<Round> {
    let begin = Instant::now();
    for _ in 0..turns {
        std::hint::black_box(work()?);
    }
    Ok(rate(turns, begin))
}

fn rate(turns: usize, begin: Instant) -> Round {
    Round::plain((ENTRIES * turns) as f64 / begin.elapsed().as_secs_f64())
}

async fn fill(db: &Db, log: &Log) -> Outcome<()> {
    let world = real::world();
    let (who, organization): (AccountId, OrganizationId) = (world.id(), world.id());
    let sealer = Sealer::new(db.clone(), log.clone());
    for _ in 0..ENTRIES / 1_000 {
        let mut tx = db.begin(Scope::System("bench")).await?;
        for number in 0..1_000 {
            let origin = Origin {
                request_id: world.id::<()>().to_string(),
                peer: Some(IpAddr::from([203, 0, 113, 7])),
                agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
            };
            let entry = Caller::anonymous(origin).entry("payments.update_billing_profile");
            let entry = entry.by(who, Some(world.id())).of(organization).on("organization", organization);
            log.record(&mut tx, entry.risk(Risk::Medium).changed(&number, &(number + 1))).await?;
        }
        tx.commit().await?;
        sealer.run_due().await?;
    }
    Ok(())
}

/// The log in memory.
struct Chain {
    links: Vec<(Seal, Event)>,
    heads: Vec<Head>,
    encoded: Vec<Vec<u8>>,
}

impl Chain {
    async fn read(archive: &Archive) -> Outcome<Self> {
        let (mut links, mut heads, mut encoded, mut position) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while let Some(batch) = archive.batch(Reach::Platform, position).await? {
            for link in batch.links {
                let Link::Entry(seen) = link else { return Err("an entry is somebody else's".into()) };
                let (event, place) = (seen.event, seen.place.ok_or("an entry without a place")?);
                let mut bytes = Vec::new();
                event.encode(&mut bytes);
                let (digest, hash) = (Sha256::digest(&bytes).to_vec(), place.hash.to_vec());
                links.push((Seal { position: place.position, id: event.id.uuid(), digest, hash }, event));
                encoded.push(bytes);
            }
            position = batch.head.position;
            heads.push(batch.head);
        }
        Ok(Self { links, heads, encoded })
    }

    fn follow(&self, public_key: [u8; 32]) -> Outcome<[u8; 32]> {
        let mut walk = Walk::new(KIND, public_key, None);
        let mut buffer = Vec::new();
        let mut heads = self.heads.iter().peekable();
        for (seal, event) in &self.links {
            let behind = Behind::Entry(event.id.uuid(), event.digest(&mut buffer));
            walk.step(seal, behind).map_err(|bad| format!("{bad:?}"))?;
            while let Some(head) = heads.next_if(|head| head.position <= seal.position) {
                walk.pass(head).map_err(|bad| format!("{bad:?}"))?;
            }
        }
        let head = walk.head().ok_or("no head holds")?;
        Ok(head.hash.as_slice().try_into()?)
    }

    /// What no verification can do without, and nothing else.
    fn hash(&self) -> [u8; 32] {
        self.encoded.iter().fold([0; 32], |_, bytes| Sha256::digest(bytes).into())
    }
}

/// Reads the rows through the bare driver, and hashes their bytes.
async fn bare(engine: Engine, url: &str) -> Outcome<[u8; 32]> {
    let mut hasher = Sha256::new();
    match engine {
        Engine::Sqlite => {
            let mut conn = SqliteConnection::connect(url).await?;
            let mut rows = sqlx::query(BARE).fetch(&mut conn);
            while let Some(row) = rows.try_next().await? {
                for column in 0..row.len() {
                    let value = row.try_get_raw(column)?;
                    match value.type_info().to_string().as_str() {
                        "BLOB" => hasher.update(row.try_get::<&[u8], _>(column)?),
                        "TEXT" => hasher.update(row.try_get::<&str, _>(column)?),
                        "INTEGER" => hasher.update(row.try_get::<i64, _>(column)?.to_be_bytes()),
                        _ => {}
                    }
                }
            }
        }
        Engine::Postgres => {
            let mut conn = PgConnection::connect(url).await?;
            // The wall lets nobody read who does not say what for.
            conn.execute("SET capecontrol.purpose = 'bench'").await?;
            let mut rows = sqlx::query(BARE).fetch(&mut conn);
            while let Some(row) = rows.try_next().await? {
                for column in 0..row.len() {
                    let value = row.try_get_raw(column)?;
                    if !value.is_null() {
                        hasher.update(value.as_bytes()?);
                    }
                }
            }
        }
    }
    Ok(hasher.finalize().into())
}
