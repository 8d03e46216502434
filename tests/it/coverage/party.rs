//! Somebody who has one of everything, of whom requests can be made that succeed.

use std::time::Duration;

use capecontrol::auth::keys::KeyPair;
use capecontrol::auth::model::LinkPurpose;
use capecontrol::auth::model::organization::Invitation;
use capecontrol::auth::store::link::{self, NewLink};
use capecontrol::auth::{Caller, Email, OrganizationRole, store};
use capecontrol::base::{Currency, Money};
use capecontrol::chat::store::{self as connections, Connection};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::jobs::JobId;
use capecontrol::payments::model::Provider;
use capecontrol::payments::model::draft::{DraftLine, TaxRate};
use capecontrol::payments::model::ledger::{self, Kind};
use capecontrol::payments::model::reconciliation::{
    self, DifferenceKind, DifferenceState, RunOrigin, RunStatus,
};
use capecontrol::payments::service::{CreateCreditNote, CreateInvoice, EventFilter};
use capecontrol::payments::store::ledger::Head;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::marketplace::v1 as marketplace;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::requests::{
    GUIDE, SUPPORT, create_api_key, create_attachment, create_checkout, create_payment_method,
    create_service_account, create_thread, group_thread, install, invite_member, send_message, upload_part,
};
use crate::store::methods::{set_up, token};
use crate::store::payments::{itn, post};
use crate::store::refunds::{promote, wish};
use crate::support::app::PASSWORD;
use crate::support::{App, Person, insert_account};

/// Somebody who has one of everything.
pub struct Party {
    pub person: Person,
    pub terms_version: String,
    pub organization_id: String,
    pub thread_id: String,
    pub message_id: String,
    /// One with the platform's staff.
    pub support_thread_id: String,
    /// A thread and a message that may be deleted: others need the first ones.
    pub spare_thread_id: String,
    pub spare_message_id: String,
    pub payment_id: String,
    pub invoice_id: String,
    /// Of an invoice that the platform's staff wrote.
    pub draft_id: String,
    /// Of one that they issued, and of what was taken off it.
    pub issued_invoice_id: String,
    pub credit_note_id: String,
    /// An organisation that the person made, with a friend in it.
    pub team_id: String,
    pub friend_id: String,
    /// Of a file whose only part has come, and of one that is complete.
    pub upload_id: String,
    pub attachment_id: String,
    /// Members of it whom the person does not want to hear.
    pub foe_ids: [String; 2],
    /// A thread with somebody who belongs to the person's own organisation.
    pub group_thread_id: String,
    pub mate_id: String,
    /// A stream of theirs.
    pub connection_id: String,
    pub invitation_id: String,
    /// Of an invitation to somebody else's organisation.
    pub invitation_token: String,
    pub service_account_id: String,
    /// What the service account's program signed.
    pub assertion: String,
    pub api_key_id: String,
    /// The key's text.
    pub api_key: String,
    pub verify_token: String,
    pub reset_token: String,
    /// Another session of theirs.
    pub session_id: String,
    /// A job that failed for good.
    pub job_id: String,
    /// A payment of theirs that succeeded, and the provider's id of it.
    pub paid_payment_id: String,
    pub provider_payment_id: String,
    /// A notification of money for nobody's order.
    pub provider_event_id: String,
    /// A refund that somebody else proposed.
    pub refund_id: String,
    /// Something in which PayFast's history and the books differ.
    pub difference_id: String,
    /// Of a card that is stored.
    pub payment_method_id: String,
}

impl Party {
    pub async fn start(t: &App, name: &str) -> Self {
        let person = t.register(&format!("{name}@example.com")).await;
        let organization_id = person.organization_id.to_string();
        let mut party = Self {
            person,
            terms_version: t.node.config().auth.terms_version.clone(),
            organization_id,
            thread_id: String::new(),
            message_id: String::new(),
            support_thread_id: String::new(),
            spare_thread_id: String::new(),
            spare_message_id: String::new(),
            payment_id: String::new(),
            invoice_id: String::new(),
            draft_id: String::new(),
            issued_invoice_id: String::new(),
            credit_note_id: String::new(),
            team_id: String::new(),
            friend_id: String::new(),
            upload_id: String::new(),
            attachment_id: String::new(),
            foe_ids: [String::new(), String::new()],
            group_thread_id: String::new(),
            mate_id: String::new(),
            connection_id: String::new(),
            invitation_id: String::new(),
            invitation_token: String::new(),
            service_account_id: String::new(),
            assertion: String::new(),
            api_key_id: String::new(),
            api_key: String::new(),
            verify_token: String::new(),
            reset_token: String::new(),
            session_id: String::new(),
            job_id: dead_job(t).await,
            paid_payment_id: String::new(),
            provider_payment_id: String::new(),
            provider_event_id: String::new(),
            refund_id: String::new(),
            difference_id: difference(t).await,
            payment_method_id: String::new(),
        };
        party.verify_token = party.link(t, LinkPurpose::VerifyEmail).await;
        party.reset_token = party.link(t, LinkPurpose::ResetPassword).await;
        party.session_id = t.sign_in(&party.person.email, PASSWORD).await.session_id();
        let install = marketplace::InstallListingRequest { listing_id: GUIDE.to_owned(), ..install(&party) };
        party.person.market().install_listing(install).await.unwrap();
        party.talk().await;
        let checkout =
            party.person.payments().create_checkout(create_checkout(&party)).await.unwrap().into_inner();
        (party.payment_id, party.invoice_id) = (checkout.payment_id, checkout.invoice_id);
        party.be_charged(t).await;
        for _ in 0..2 {
            party.overpay(t).await;
        }
        party.found_a_team(t, name).await;
        party.get_programs(t, name).await;
        party.connect(t, party.person.session_id().parse().unwrap()).await;
        party.pay(t, name).await;
        party.store_a_card(t, name).await;
        party
    }

    /// Two threads, and two messages in the first.
    async fn talk(&mut self) {
        let mut chat = self.person.chat();
        let request = create_thread(self);
        for id in [&mut self.spare_thread_id, &mut self.thread_id] {
            *id = chat.create_thread(request.clone()).await.unwrap().into_inner().thread.unwrap().id;
        }
        let kind = chat::ThreadKind::Support.into();
        let support = chat::CreateThreadRequest { kind, listing_id: String::new(), ..request };
        self.support_thread_id = chat.create_thread(support).await.unwrap().into_inner().thread.unwrap().id;
        let message = send_message(self);
        for (key, id) in [(SUPPORT, &mut self.spare_message_id), (GUIDE, &mut self.message_id)] {
            let request = chat::SendMessageRequest { client_message_id: key.to_owned(), ..message.clone() };
            *id = chat.send_message(request).await.unwrap().into_inner().message.unwrap().id;
        }
        let request = create_attachment(self);
        for id in [&mut self.upload_id, &mut self.attachment_id] {
            let made = chat.create_attachment(request.clone()).await.unwrap().into_inner();
            *id = made.attachment.unwrap().id;
        }
        for id in [&self.upload_id, &self.attachment_id] {
            chat.upload_attachment_part(upload_part(id)).await.unwrap();
        }
        let attachment_id = self.attachment_id.clone();
        chat.complete_attachment(chat::CompleteAttachmentRequest { attachment_id }).await.unwrap();
    }

    /// A stream on another node, opened with that session or key.
    pub async fn connect(&mut self, t: &App, credential: Uuid) {
        let (node, until) = (t.world.id(), t.world.now().plus(Duration::from_secs(1 << 30)));
        let stream = Connection {
            id: t.world.id(),
            account_id: self.person.account_id,
            credential,
            by_person: true,
            token_expires_at: None,
        };
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        connections::lease_node(&mut tx, node, until).await.unwrap();
        connections::insert_connections(&mut tx, node, &[stream]).await.unwrap();
        tx.commit().await.unwrap();
        self.connection_id = stream.id.to_string();
    }

    /// Money that came: for a payment of theirs, and for nobody's order; and the wish to give some of it back.
    async fn pay(&mut self, t: &App, name: &str) {
        let plan = payments::PlanItem { plan_id: "live-verification".to_owned(), billing_cycle: 1 };
        let item = Some(payments::create_checkout_request::Item::Plan(plan));
        let small = payments::CreateCheckoutRequest { item, ..create_checkout(self) };
        let sold = self.person.payments().create_checkout(small).await.unwrap().into_inner();
        let (service, number) = (&t.node.payments, t.world.below(1 << 60));
        (self.paid_payment_id, self.provider_payment_id) = (sold.payment_id, format!("{name}{number}"));
        let nobodys = format!("{name}{number}x");
        post(service, itn(&self.paid_payment_id, &self.provider_payment_id, "COMPLETE", "5.00")).await;
        post(service, itn("nobody's", &nobodys, "COMPLETE", "7.00")).await;
        t.run_jobs().await;
        let mut filter = EventFilter::default();
        filter.wanted.provider_payment_id = Some(nobodys);
        let found = service.list_provider_events(&Caller::system("test"), &filter, None, 1).await.unwrap();
        self.provider_event_id = found[0].place().id.to_string();
        let (account, personal) =
            insert_account(&t.db, &t.world, &format!("maker-for-{name}@example.org")).await;
        let maker = promote(&t.db, &t.world, account, personal).await;
        let wish = wish(self.paid_payment_id.parse().unwrap(), Some(100));
        self.refund_id = service.refund_payment(&maker, wish, None).await.unwrap().id.to_string();
    }

    /// Two cards, so that a list has more than a page; the provider keeps one.
    async fn store_a_card(&mut self, t: &App, name: &str) {
        let mut payments = self.person.payments();
        for _ in 0..2 {
            let begun =
                payments.create_payment_method(create_payment_method(self)).await.unwrap().into_inner();
            self.payment_method_id = begun.payment_method.unwrap().id;
        }
        let id = self.payment_method_id.parse().unwrap();
        post(&t.node.payments, set_up(id, &format!("{name}-card"), &token(1))).await;
        t.run_jobs().await;
    }

    /// Has the platform's staff write two invoices, issue one, and take something off it, twice.
    async fn be_charged(&mut self, t: &App) {
        let (staff, payments) = (Caller::system("test"), &t.node.payments);
        let wish = || CreateInvoice {
            organization_id: self.person.organization_id,
            lines: vec![DraftLine {
                description: "A day of training".to_owned(),
                quantity: 1,
                unit: Money::new(120_000, Currency::Zar),
            }],
            prices_include_tax: false,
            tax_rate: TaxRate::Standard,
            due_at: None,
        };
        self.draft_id = payments.create_invoice(&staff, wish(), None).await.unwrap().invoice.id.to_string();
        let second = payments.create_invoice(&staff, wish(), None).await.unwrap().invoice.id;
        let issued = payments.finalize_invoice(&staff, second, None).await.unwrap().invoice;
        self.issued_invoice_id = issued.id.to_string();
        for cents in [100, 200] {
            let credit = CreateCreditNote {
                invoice_id: issued.id,
                amount: Some(Money::new(cents, Currency::Zar)),
                reason: "An hour less".to_owned(),
            };
            let note = payments.create_credit_note(&staff, credit, None).await.unwrap();
            self.credit_note_id = note.id.to_string();
        }
    }

    /// Books money that came for the payment and is not what it costs.
    async fn overpay(&self, t: &App) {
        let cent = Money::new(1, Currency::Zar);
        let head = Head {
            id: t.world.id(),
            organization_id: Some(self.person.organization_id),
            kind: Kind::UnappliedReceipt,
            payment_id: Some(self.payment_id.parse().unwrap()),
            invoice_id: Some(self.invoice_id.parse().unwrap()),
            event_id: None,
            memo: "one cent".to_owned(),
            at: t.world.now(),
        };
        let books = ledger::unapplied_receipt(cent, Money::zero(Currency::Zar)).unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        capecontrol::payments::store::ledger::post(&mut tx, &head, &books).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn found_a_team(&mut self, t: &App, name: &str) {
        let mut organizations = self.person.organizations();
        let team = auth::CreateOrganizationRequest { name: format!("Team of {name}"), ..Default::default() };
        let made = organizations.create_organization(team).await.unwrap().into_inner().organization.unwrap();
        self.team_id = made.id;
        let (friend, _) = insert_account(&t.db, &t.world, &format!("friend-of-{name}@example.org")).await;
        self.friend_id = friend.to_string();
        let (mate, _) = insert_account(&t.db, &t.world, &format!("mate-of-{name}@example.org")).await;
        self.mate_id = mate.to_string();
        let mut foes = Vec::new();
        for number in 0..self.foe_ids.len() {
            let email = format!("foe{number}-of-{name}@example.org");
            foes.push(insert_account(&t.db, &t.world, &email).await.0);
        }
        let host = t.world.id();
        let invitation = Invitation {
            id: t.world.id(),
            organization: host,
            email: Email::parse(&self.person.email).unwrap(),
            role: OrganizationRole::Member,
            invited_by: friend,
            created_at: t.world.now(),
            expires_at: t.world.now().plus(Duration::from_hours(24)),
        };
        self.invitation_token = format!("token-for-{}", invitation.id);
        let hash = Sha256::digest(self.invitation_token.as_bytes()).into();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let team = self.team_id.parse().unwrap();
        let (mate, role) = (self.mate_id.parse().unwrap(), OrganizationRole::Member);
        for (organization, who) in [(team, friend), (self.person.organization_id, mate)] {
            store::member::insert(&mut tx, organization, who, role, t.world.now()).await.unwrap();
        }
        for (foe, id) in foes.iter().zip(&mut self.foe_ids) {
            store::member::insert(&mut tx, team, *foe, role, t.world.now()).await.unwrap();
            *id = foe.to_string();
        }
        store::organization::insert(&mut tx, host, friend, "Host", t.world.now()).await.unwrap();
        store::invitation::insert(&mut tx, &invitation, hash).await.unwrap();
        tx.commit().await.unwrap();
        let sent = organizations.invite_member(invite_member(self, "guest")).await.unwrap().into_inner();
        self.invitation_id = sent.invitation.unwrap().id;
        for account_id in self.foe_ids.clone() {
            let block = chat::BlockAccountRequest { account_id, ..Default::default() };
            self.person.chat().block_account(block).await.unwrap();
        }
        let made = self.person.chat().create_thread(group_thread(self)).await.unwrap().into_inner();
        self.group_thread_id = made.thread.unwrap().id;
    }

    async fn get_programs(&mut self, t: &App, name: &str) {
        let mut keys = self.person.api_keys();
        let made = keys.create_service_account(create_service_account(self)).await.unwrap().into_inner();
        self.service_account_id = made.service_account.unwrap().id;
        let claims = serde_json::json!({
            "iss": self.service_account_id,
            "sub": self.service_account_id,
            "aud": t.node.config().server.public_url,
            "exp": t.world.now().as_seconds() + 240,
            "jti": name,
        });
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        self.assertion = jsonwebtoken::encode(&header, &claims, &program().encoding()).unwrap();
        let made = keys.create_api_key(create_api_key(self)).await.unwrap().into_inner();
        (self.api_key_id, self.api_key) = (made.api_key.unwrap().id, made.key);
    }

    /// The token of a link that works, as a letter would carry it.
    async fn link(&self, t: &App, purpose: LinkPurpose) -> String {
        let (token, at) = (t.world.token(), t.world.now());
        let new = NewLink {
            token_hash: Sha256::digest(token.as_bytes()).into(),
            account: self.person.account_id,
            purpose,
            email: Email::parse(&self.person.email).unwrap(),
            at,
            expires_at: at.plus(Duration::from_mins(30)),
        };
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        assert!(link::replace(&mut tx, &new, at).await.unwrap());
        tx.commit().await.unwrap();
        token
    }
}

/// A difference that nobody has explained.
async fn difference(t: &App) -> String {
    let (run, difference) = (t.world.id(), t.world.id());
    let run = reconciliation::Reconciliation {
        id: run,
        provider: Provider::Payfast,
        from_day: "2026-11-19".to_owned(),
        to_day: "2026-11-19".to_owned(),
        origin: RunOrigin::Staff,
        status: RunStatus::Running,
        closed: true,
        row_count: 1,
        matched_count: 0,
        repaired_count: 0,
        open_count: 1,
        currency: Currency::Zar,
        provider_change_minor: 500,
        booked_change_minor: 0,
        started_at: t.world.now(),
        finished_at: None,
    };
    let open = reconciliation::Difference {
        id: difference,
        reconciliation_id: run.id,
        kind: DifferenceKind::UnknownRow,
        subject: difference.to_string(),
        state: DifferenceState::Open,
        detail: "a row".to_owned(),
        explanation: String::new(),
        currency: Currency::Zar,
        provider_minor: 500,
        booked_minor: 0,
        event_id: None,
        occurred_at: t.world.now(),
        created_at: t.world.now(),
        decided_at: None,
    };
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    capecontrol::payments::store::reconciliation::begin(&mut tx, &run).await.unwrap();
    capecontrol::payments::store::reconciliation::note(&mut tx, &open).await.unwrap();
    tx.commit().await.unwrap();
    open.id.to_string()
}

/// A job of a kind that nobody runs.
async fn dead_job(t: &App) -> String {
    let id: JobId = t.world.id();
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    tx.sql(
        "INSERT INTO jobs (id, kind, payload, state, run_at, attempts, fence, last_error, created_at)
         VALUES ($1, 'test.dead', '{}', 'dead', $2, 3, 3, 'it failed', $2)",
    )
    .bind(id)
    .bind(t.world.now())
    .execute()
    .await
    .unwrap();
    tx.commit().await.unwrap();
    id.to_string()
}

/// What the programs of all parties sign with.
pub fn program() -> KeyPair {
    KeyPair::from_seed(&[5; 32])
}
