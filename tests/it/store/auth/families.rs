//! Families of refresh tokens against a model, from seeds: two tabs and a thief with copies, one after another and at
//! once, calls that are cut short and repeated, and time that goes on between them.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::{Error, Service, store};
use capecontrol::base::{Secret, SeededRng, SessionId, Timestamp, World};
use capecontrol::db::{Conn as _, Scope};
use futures_util::poll;

use super::{authenticated, count, nobody, node, options, request_key, signed_in, subjects};
use crate::support::{Fixture, on_both};

const SEEDS: u64 = 16;
const ACTIONS: usize = 40;
const GRACE: Duration = Duration::from_secs(10);
const TEST: Scope = Scope::System("test");

/// What a call with a refresh token comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The next token, which is of this generation.
    Next(usize),
    Reused,
    Revoked,
}

/// What is known of a family: the model.
#[derive(Clone, Debug)]
struct Model {
    /// Of each generation from the first: the token, once somebody was told it, and when it was exchanged.
    tokens: Vec<(Option<Secret<String>>, Option<Timestamp>)>,
    ended: bool,
    alarms: usize,
}

impl Model {
    /// Somebody brings the token of a generation.
    fn bring(&mut self, generation: usize, now: Timestamp) -> Outcome {
        let newest = self.tokens.len() - 1;
        match self.tokens[generation].1 {
            _ if self.ended => Outcome::Revoked,
            None => {
                self.tokens[generation].1 = Some(now);
                self.tokens.push((None, None));
                Outcome::Next(generation + 1)
            }
            Some(used) if newest == generation + 1 && now.since(used) < GRACE => {
                Outcome::Next(generation + 1)
            }
            Some(_) => {
                (self.ended, self.alarms) = (true, self.alarms + 1);
                Outcome::Reused
            }
        }
    }

    /// Holds what came back against what it had to be, and learns the token.
    fn learn(&mut self, outcome: Outcome, token: Option<Secret<String>>) {
        let (Outcome::Next(generation), Some(token)) = (outcome, token) else { return };
        let known = self.tokens[generation].0.get_or_insert_with(|| token.clone());
        assert_eq!(*known, token, "two successors of one token");
    }
}

struct Scene<'t> {
    t: &'t Fixture,
    service: Arc<Service>,
    session: SessionId,
    model: Model,
    dice: World,
    /// The generation that each of the tabs and the thief holds.
    held: [usize; 3],
    /// Whether nobody steals, and tabs look what the others hold before they call.
    honest: bool,
}

type Came = (Outcome, Option<Secret<String>>);

impl Scene<'_> {
    fn below(&self, below: usize) -> usize {
        usize::try_from(self.dice.below(u64::try_from(below).unwrap())).unwrap()
    }

    /// The token that somebody holds; none when the only call that was told it was cut short.
    fn token(&self, who: usize) -> Option<Secret<String>> {
        self.model.tokens[self.held[who]].0.clone()
    }

    async fn call(&self, token: &Secret<String>, generation: usize) -> Came {
        match self.service.refresh(&nobody(), token, None).await {
            Ok(issued) => (Outcome::Next(generation + 1), Some(issued.refresh_token)),
            Err(Error::RefreshTokenReused) => (Outcome::Reused, None),
            Err(Error::SessionRevoked) => (Outcome::Revoked, None),
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn alone(&mut self, who: usize) {
        let (Some(token), generation) = (self.token(who), self.held[who]) else { return };
        let (came, next) = self.call(&token, generation).await;
        assert_eq!(came, self.model.bring(generation, self.t.world.now()), "generation {generation}");
        self.take(who, came, next);
    }

    fn take(&mut self, who: usize, came: Outcome, next: Option<Secret<String>>) {
        self.model.learn(came, next);
        if let Outcome::Next(generation) = came {
            self.held[who] = generation;
        }
    }

    /// Two call at once: what came must be what comes when one is first and the other second.
    async fn together(&mut self, one: usize, two: usize) {
        let (Some(first), Some(second)) = (self.token(one), self.token(two)) else { return };
        let (a, b, now) = (self.held[one], self.held[two], self.t.world.now());
        let (came_a, came_b) = futures_util::future::join(self.call(&first, a), self.call(&second, b)).await;
        let mut orders = [self.model.clone(), self.model.clone()];
        let in_order = (orders[0].bring(a, now), orders[0].bring(b, now));
        let turned = (orders[1].bring(b, now), orders[1].bring(a, now));
        let [in_order_after, turned_after] = orders;
        let came = (came_a.0, came_b.0);
        // Both may have seen that a copy is about before either ended the session; one of them does.
        let both = (self.model.clone().bring(a, now), self.model.clone().bring(b, now));
        self.model = if came == in_order {
            in_order_after
        } else if (came.1, came.0) == turned {
            turned_after
        } else {
            assert_eq!((came, both), ((Outcome::Reused, Outcome::Reused), came), "{in_order:?} {turned:?}");
            in_order_after
        };
        self.take(one, came_a.0, came_a.1);
        self.take(two, came_b.0, came_b.1);
    }

    /// A call is cut short somewhere, as by a client or a node that dies. It happened or it did not.
    async fn cut_short(&mut self, who: usize, polls: usize) {
        let (Some(token), generation) = (self.token(who), self.held[who]) else { return };
        let mut done = None;
        {
            let mut call = std::pin::pin!(self.call(&token, generation));
            for _ in 0..polls {
                if let std::task::Poll::Ready(came) = poll!(call.as_mut()) {
                    done = Some(came);
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        if let Some((came, next)) = done {
            assert_eq!(came, self.model.bring(generation, self.t.world.now()));
            return self.take(who, came, next);
        }
        let (newest, ended) = self.stored().await;
        let before = (self.model.tokens.len(), self.model.ended);
        let mut after = self.model.clone();
        after.bring(generation, self.t.world.now());
        if (newest, ended) != before {
            assert_eq!((newest, ended), (after.tokens.len(), after.ended), "half of a call");
            self.model = after;
        }
    }

    /// How many generations are stored, and whether the session has ended. Waits for whatever still runs.
    async fn stored(&self) -> (usize, bool) {
        let mut tx = self.t.db.begin(TEST).await.unwrap();
        let locked = store::session::lock(&mut tx, self.session).await.unwrap().unwrap();
        let counted =
            tx.shared_sql("SELECT CAST(count(*) AS bigint) FROM refresh_tokens WHERE session_id = $1");
        let (counted,): (i64,) = counted.bind(self.session).one().await.unwrap();
        (usize::try_from(counted).unwrap(), locked.ended_at.is_some())
    }

    async fn act(&mut self) {
        let (one, two) = (self.below(3), self.below(3));
        if self.honest {
            let newest = (0..self.model.tokens.len()).rev().find(|it| self.model.tokens[*it].0.is_some());
            self.held = [newest.unwrap(); 3];
        }
        match self.below(10) {
            0..=3 => self.alone(one).await,
            4 | 5 => self.together(one, two).await,
            6 => self.cut_short(one, 1 + self.below(60)).await,
            7 => self.t.clock.advance(Duration::from_millis([0, 1, 4_000, 9_999][self.below(4)])),
            8 if self.below(4) == 0 => self.t.clock.advance(GRACE),
            // The thief copies what a tab holds, or a tab shares it with the other.
            _ => self.held[one] = self.held[two],
        }
    }
}

on_both! {
    async fn a_family_goes_on_as_one_or_ends_for_all(t: Fixture) {
        let service = node(&t, options()).await;
        let (mut alarms, mut ended, mut longest) = (0, 0, 0);
        for seed in 0..SEEDS {
            let email = format!("ada{seed}@example.com");
            let issued = signed_in(&service, &email).await;
            let session = authenticated(&service, &issued).await.unwrap().session.unwrap();
            let tokens = vec![(Some(issued.refresh_token), None)];
            let mut scene = Scene {
                t: &t,
                service: Arc::clone(&service),
                session,
                model: Model { tokens, ended: false, alarms: 0 },
                dice: World::new(t.clock.clone(), Arc::new(SeededRng::new(seed))),
                held: [0; 3],
                honest: seed % 2 == 0,
            };
            for _ in 0..ACTIONS {
                scene.act().await;
                if scene.model.ended {
                    break;
                }
            }
            let model = &scene.model;
            assert_eq!(scene.stored().await, (model.tokens.len(), model.ended), "seed {seed}");
            alarms += model.alarms;
            ended += usize::from(model.ended);
            longest = longest.max(model.tokens.len());
        }
        // The seeds reach what they are for.
        assert!(ended > 3 && ended < usize::try_from(SEEDS).unwrap() && longest > 8, "{ended} {longest}");
        // Whoever is robbed is told, once, and the log says so.
        let told = subjects(&t).await.iter().filter(|subject| subject.contains("signed out for safety")).count();
        let logged = "SELECT CAST(count(*) AS bigint) FROM audit_events
            WHERE action = 'auth.refresh_token_reused' AND risk = 'high'";
        assert_eq!((told, count(&t, logged).await), (alarms, i64::try_from(alarms).unwrap()));
    }

    async fn the_grace_ends_after_ten_seconds_and_with_the_next_step(t: Fixture) {
        let service = node(&t, options()).await;
        let first = signed_in(&service, "ada@example.com").await;
        let second = service.refresh(&nobody(), &first.refresh_token, None).await.unwrap();
        t.clock.advance(Duration::from_millis(9_999));
        let again = service.refresh(&nobody(), &first.refresh_token, None).await.unwrap();
        assert_eq!(again.refresh_token, second.refresh_token);
        assert_ne!(again.access_token, second.access_token);
        // What was sealed for the grace is there for it, and gone with it.
        let kept = "SELECT CAST(count(*) AS bigint) FROM refresh_tokens WHERE successor IS NOT NULL";
        service.upkeep().await.unwrap();
        assert_eq!(count(&t, kept).await, 1);
        t.clock.advance(Duration::from_millis(1));
        service.upkeep().await.unwrap();
        assert_eq!(count(&t, kept).await, 0);
        let late = service.refresh(&nobody(), &first.refresh_token, None).await;
        assert!(matches!(late, Err(Error::RefreshTokenReused)), "{late:?}");
        let over = service.refresh(&nobody(), &second.refresh_token, None).await;
        assert!(matches!(over, Err(Error::SessionRevoked)), "{over:?}");
    }

    async fn a_stolen_database_does_not_open_the_successor(t: Fixture) {
        let service = node(&t, options()).await;
        let first = signed_in(&service, "ada@example.com").await;
        let second = service.refresh(&nobody(), &first.refresh_token, None).await.unwrap();
        let mut conn = t.db.conn(TEST).await.unwrap();
        let sql = "SELECT successor FROM refresh_tokens WHERE successor IS NOT NULL";
        let (sealed,): (Vec<u8>,) = conn.shared_sql(sql).one().await.unwrap();
        let plain = second.refresh_token.expose().as_bytes();
        assert!(!sealed.windows(plain.len()).any(|part| part == plain));
        let root = capecontrol::keyring::RootKey::new([7; 32]);
        let purpose = |token: &str| format!("auth.refresh_successor.{token}");
        // With the root key, and without the very token, it does not open.
        assert!(root.open(&purpose(second.refresh_token.expose()), &sealed).is_err());
        assert!(root.open(&purpose(first.refresh_token.expose()), &sealed).is_ok());
    }

    async fn a_repetition_with_its_request_id_is_no_second_use(t: Fixture) {
        let service = node(&t, options()).await;
        let first = signed_in(&service, "ada@example.com").await;
        let key = request_key(1, 1);
        let second = service.refresh(&nobody(), &first.refresh_token, Some(&key)).await.unwrap();
        service.refresh(&nobody(), &second.refresh_token, None).await.unwrap();
        t.clock.advance(GRACE);
        let repeated = service.refresh(&nobody(), &first.refresh_token, Some(&key)).await;
        assert!(matches!(repeated, Err(Error::Idempotency(_))), "{repeated:?}");
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM sessions WHERE ended_at IS NOT NULL").await, 0);
    }
}
