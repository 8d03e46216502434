//! Letters through a mail server that serves, refuses, hangs or hangs up: what arrives, and what becomes of the job.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use capecontrol::auth::letters::{self, Invitation};
use capecontrol::base::{Secret, Timestamp};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::jobs::{State, Worker};
use capecontrol::keyring::RootKey;
use capecontrol::mail::{
    self, Attachment, Circuit, Mail, Outbox, Postman, Security, Sender, SmtpMailer, SmtpOptions,
};

use crate::support::smtp::{Manners, Says, Server};
use crate::support::{Fixture, on_both};

/// As long as a server may take that answers.
const PATIENCE: Duration = Duration::from_secs(20);
const ADA: &str = "ada@example.com";

fn letter(subject: &str) -> Mail {
    Mail {
        to: ADA.to_owned(),
        subject: subject.to_owned(),
        text: "Goeie dag.\n.\nTot siens, Ada.".to_owned(),
        html: "<p>Goeie dag.</p>".to_owned(),
        attachments: Vec::new(),
        good_until: None,
    }
}

fn options(server: &Server, security: Security) -> SmtpOptions {
    SmtpOptions {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        security,
        credentials: Some(("robot".to_owned(), Secret::new("hunter2".to_owned()))),
        authorities: server.certificate.clone().into_bytes(),
        step_max: PATIENCE,
    }
}

/// A post office on a fixture's queue.
struct Post<'t> {
    t: &'t Fixture,
    outbox: Outbox,
    postman: Arc<Postman>,
    worker: Worker,
}

impl<'t> Post<'t> {
    fn with(t: &'t Fixture, options: SmtpOptions) -> Self {
        // The first test to come installs it for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sender = Sender::parse("Cape Control <no-reply@cape.example>").unwrap();
        let mailer = Arc::new(SmtpMailer::new(options, sender).unwrap());
        let outbox = Outbox::new(t.world.clone(), RootKey::new([7; 32]));
        let postman = Arc::new(Postman::new(outbox.clone(), t.world.clone(), mailer));
        let worker = t.worker(|registry| mail::register(registry, &postman));
        Self { t, outbox, postman, worker }
    }

    fn to(t: &'t Fixture, server: &Server) -> Self {
        Self::with(t, options(server, Security::StartTls))
    }

    async fn push(&self, mail: &Mail) {
        let mut tx = self.t.db.begin(Scope::System("test")).await.unwrap();
        self.outbox.push(&mut tx, mail).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn run(&self) -> usize {
        self.worker.run_due().await.unwrap()
    }

    /// Pushes a letter, and runs what is due. A moment later than the one before, for ids sort by milliseconds.
    async fn send(&self, subject: &str) {
        self.t.clock.advance(Duration::from_millis(1));
        self.push(&letter(subject)).await;
        self.run().await;
    }

    /// The letters that are not away: state, attempts that count, and why.
    async fn waiting(&self) -> Vec<(State, i64, String)> {
        let mut conn = self.t.db.conn(Scope::System("test")).await.unwrap();
        let statement = "SELECT state, attempts, COALESCE(last_error, '') FROM jobs ORDER BY id LIMIT 100";
        conn.sql(statement).all().await.unwrap()
    }
}

on_both! {
    async fn a_letter_goes_through_starttls_and_is_away(t: Fixture) {
        let server = Server::start(Manners::default()).await;
        let post = Post::to(&t, &server);
        post.send("Hallo").await;
        let received = server.received();
        assert_eq!(received.len(), 1);
        assert!(received[0].encrypted);
        assert_eq!(received[0].credentials.as_deref(), Some("robot hunter2"));
        assert_eq!(received[0].header("Subject"), "Hallo");
        assert_eq!(received[0].header("To"), ADA);
        assert!(received[0].header("Message-ID").ends_with("@cape.example>"));
        // A line with a dot alone is the letter's, not its end.
        assert!(received[0].data.contains("\r\nTot siens, Ada."), "{}", received[0].data);
        assert_eq!((post.waiting().await, post.postman.tally().sent), (vec![], 1));
        // Before TLS nothing is said but that it is to begin.
        let before: Vec<_> = server.commands().into_iter().take(2).collect();
        assert_eq!(before, ["EHLO cape.example", "STARTTLS"]);
    }

    async fn a_letter_goes_through_tls_from_the_first_byte(t: Fixture) {
        let server = Server::start(Manners { tls: true, ..Manners::default() }).await;
        let post = Post::with(&t, options(&server, Security::Tls));
        post.send("Hallo").await;
        assert!(server.received()[0].encrypted);
        assert_eq!(post.waiting().await, []);
    }

    async fn without_protection_or_with_a_strangers_certificate_nothing_is_said(t: Fixture) {
        let server = Server::start(Manners { starttls: false, ..Manners::default() }).await;
        Post::to(&t, &server).send("One").await;
        server.behave(Manners::default());
        let stranger = SmtpOptions { authorities: Vec::new(), ..options(&server, Security::StartTls) };
        let post = Post::with(&t, stranger);
        post.send("Two").await;
        assert_eq!(server.received().len(), 0);
        assert!(server.commands().iter().all(|said| !said.starts_with("AUTH") && !said.starts_with("MAIL")));
        let waiting = post.waiting().await;
        assert!(waiting.iter().all(|(state, attempts, _)| (*state, *attempts) == (State::Ready, 0)), "{waiting:?}");
        assert!(waiting[0].2.contains("STARTTLS") && waiting[1].2.contains("certificate"), "{waiting:?}");
    }

    async fn what_the_server_says_decides_what_becomes_of_the_letter(t: Fixture) {
        let fine = Manners::default();
        let said = |recipient| Manners { recipient: Says::Line(recipient), ..fine };
        let server = Server::start(fine).await;
        for (manners, state, attempts, cause) in [
            (said("550 5.1.1 <ada@example.com>: no such person"), State::Dead, 1, "answered 550 5.1.1"),
            (said("451 4.7.1 <ada@example.com>: come again"), State::Ready, 1, "answered 451 4.7.1"),
            (said("452 too much"), State::Ready, 1, "answered 452"),
            (said("421 closing"), State::Ready, 0, "answered 421"),
            (Manners { auth: Says::Line("535 5.7.8 who is that?"), ..fine }, State::Ready, 0, "answered 535 5.7.8"),
            (Manners { greeting: Says::Line("554 not you"), ..fine }, State::Ready, 0, "answered 554"),
            (Manners { letter: Says::Line("554 5.6.0 no"), ..fine }, State::Dead, 1, "answered 554 5.6.0"),
            (Manners { letter: Says::Line("what?"), ..fine }, State::Ready, 1, "cannot be read"),
            (Manners { greeting: Says::HangsUp, ..fine }, State::Ready, 0, "does not serve"),
        ] {
            server.behave(manners);
            // A post office of its own, whose breaker is closed.
            let post = Post::to(&t, &server);
            post.send("Hallo").await;
            let (is, counted, why) = post.waiting().await.pop().unwrap();
            assert_eq!((is, counted), (state, attempts), "{manners:?}: {why}");
            assert!(why.contains(cause) && !why.contains("ada@"), "{why}");
        }
    }

    async fn a_server_that_hangs_up_after_the_letter_gets_the_same_one_again(t: Fixture) {
        let server = Server::start(Manners { letter: Says::HangsUp, ..Manners::default() }).await;
        let post = Post::to(&t, &server);
        post.send("Hallo").await;
        // It may have it: this counts as an attempt.
        let (state, attempts, _) = post.waiting().await.pop().unwrap();
        assert_eq!((state, attempts), (State::Ready, 1));
        server.behave(Manners::default());
        t.clock.advance(Duration::from_mins(1));
        assert_eq!(post.run().await, 1);
        let received = server.received();
        assert_eq!(received.len(), 2);
        assert_eq!(received[0].data, received[1].data);
        assert_eq!((post.waiting().await, post.postman.tally().failed), (vec![], 1));
    }

    async fn a_server_that_hangs_is_not_waited_for(t: Fixture) {
        let fine = Manners::default();
        let server = Server::start(fine).await;
        let short = SmtpOptions { step_max: Duration::from_millis(300), ..options(&server, Security::None) };
        for (manners, attempts) in
            [(Manners { greeting: Says::Nothing, ..fine }, 0), (Manners { letter: Says::Nothing, ..fine }, 1)]
        {
            server.behave(manners);
            let post = Post::with(&t, short.clone());
            post.send("Hallo").await;
            let (state, counted, why) = post.waiting().await.pop().unwrap();
            assert_eq!((state, counted), (State::Ready, attempts), "{why}");
            assert!(why.contains("no answer within"), "{why}");
        }
    }

    async fn letters_wait_while_the_server_does_not_serve(t: Fixture) {
        let server = Server::start(Manners { greeting: Says::HangsUp, ..Manners::default() }).await;
        let post = Post::to(&t, &server);
        for number in 0..5 {
            post.send(&format!("Letter {number}")).await;
        }
        // Three tried; the others were not let.
        assert_eq!((server.connections(), post.postman.tally().circuit), (3, Circuit::Open));
        assert_eq!(post.postman.tally().held, 5);
        assert!(post.waiting().await.iter().all(|(state, attempts, _)| (*state, *attempts) == (State::Ready, 0)));
        // After the pause one tries, and while it fails no other does.
        t.clock.advance(Duration::from_secs(60));
        assert_eq!(post.run().await, 5);
        assert_eq!(server.connections(), 4);
        server.behave(Manners::default());
        t.clock.advance(Duration::from_mins(10));
        assert_eq!(post.run().await, 5);
        let tally = post.postman.tally();
        assert_eq!((tally.sent, tally.circuit), (5, Circuit::Closed));
        assert_eq!((post.waiting().await, server.received().len()), (vec![], 5));
    }

    async fn a_letter_is_given_up_after_three_days_and_one_of_no_use_is_not_sent(t: Fixture) {
        let server = Server::start(Manners { greeting: Says::HangsUp, ..Manners::default() }).await;
        let post = Post::to(&t, &server);
        let good_until = Some(t.world.now().plus(Duration::from_mins(30)));
        post.push(&Mail { good_until, ..letter("A link") }).await;
        post.push(&letter("News")).await;
        post.run().await;
        t.clock.advance(Duration::from_mins(30));
        post.run().await;
        assert_eq!((post.postman.tally().expired, post.waiting().await.len()), (1, 1));
        t.clock.advance(Duration::from_hours(72));
        post.run().await;
        assert_eq!(post.waiting().await.first().map(|(state, ..)| *state), Some(State::Dead));
    }

    async fn what_is_attached_arrives_and_waits_sealed(t: Fixture) {
        let server = Server::start(Manners::default()).await;
        let post = Post::to(&t, &server);
        let bytes = b"%PDF-1.7 Table Bay Traders".repeat(2_000);
        let attachment = Attachment::new("tax-invoice-INV-1.pdf", "application/pdf", bytes.clone()).unwrap();
        post.push(&Mail { attachments: vec![attachment], ..letter("Your invoice") }).await;
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let (payload,): (String,) = conn.sql("SELECT payload FROM jobs").one().await.unwrap();
        drop(conn);
        let plain = STANDARD.encode(&bytes);
        assert!(payload.len() > bytes.len() && !payload.contains(&plain[..40]) && !payload.contains("tax-invoice"));
        post.run().await;
        let received = server.received().pop().unwrap();
        let (_, part) = received.data.split_once("filename=\"tax-invoice-INV-1.pdf\"").unwrap();
        let (_, body) = part.split_once("\r\n\r\n").unwrap();
        let body: String = body.split("--attached").next().unwrap().split_whitespace().collect();
        assert_eq!(STANDARD.decode(body).unwrap(), bytes);
        assert!(received.data.contains("Goeie dag"));
    }

    async fn a_letter_of_another_key_is_dead(t: Fixture) {
        let server = Server::start(Manners::default()).await;
        let post = Post::to(&t, &server);
        let other = Outbox::new(t.world.clone(), RootKey::new([8; 32]));
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        other.push(&mut tx, &letter("Hallo")).await.unwrap();
        tx.commit().await.unwrap();
        post.run().await;
        assert_eq!(post.waiting().await.first().map(|(state, ..)| *state), Some(State::Dead));
        assert_eq!(server.connections(), 0);
    }

    async fn nothing_that_people_type_reaches_a_header(t: Fixture) {
        let server = Server::start(Manners::default()).await;
        let post = Post::to(&t, &server);
        let token = Secret::new(t.world.token());
        let mut heads = Vec::new();
        for name in [
            "Ada",
            "Ada\r\nBcc: eve@example.com",
            "Ada\r\n\r\n.\r\nMAIL FROM:<eve@example.com>\r\n",
            "\u{202e}Ada\u{2028}Subject: x",
            "=?utf-8?q?Ada=0D=0ABcc:_eve@example.com?=",
            "</p><script>alert(1)</script>",
        ] {
            let good_until = Timestamp::from_seconds(1_795_168_800);
            let invited = Invitation { inviter: Some(name), organization: Some(name), token: &token, good_until };
            let written = letters::invitation("https://cape.example", &invited);
            post.push(&Mail::to(ADA, written)).await;
            post.run().await;
            let received = server.received().pop().unwrap();
            assert_eq!(received.commands.iter().filter(|said| said.starts_with("RCPT")).count(), 1, "{name:?}");
            let (_, html) = received.data.split_once("text/html").unwrap();
            assert!(!html.contains("<script"), "{html}");
            let names: Vec<String> =
                received.headers().iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
            heads.push((names, received.header("To"), received.header("Subject")));
        }
        assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
        assert_eq!(server.commands().iter().filter(|said| said.contains("eve")).count(), 0);
        // A subject with a line break is no letter.
        post.send("Hallo\r\nBcc: eve@example.com").await;
        assert_eq!(post.waiting().await.first().map(|(state, ..)| *state), Some(State::Dead));
        assert_eq!(server.received().len(), heads.len());
    }
}
