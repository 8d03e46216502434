//! For every method a request that succeeds, from somebody who has one of everything.
//!
//! A new method is added here, with every id filled in; the tests do the rest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
use capecontrol::proto::capecontrol::operations::v1 as operations;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use capecontrol::rpc::encode;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::store::methods::{set_up, token};
use crate::store::payments::{itn, post};
use crate::store::refunds::{promote, wish};
use crate::support::app::PASSWORD;
use crate::support::{App, Person, insert_account};

/// An agent that a [`Party`] has installed, and one that it has not.
const GUIDE: &str = "0195b3a0-0000-7000-8000-000000000001";
const SUPPORT: &str = "0195b3a0-0000-7000-8000-000000000002";

/// Somebody who has one of everything.
pub struct Party {
    pub person: Person,
    pub terms_version: String,
    pub organization_id: String,
    pub thread_id: String,
    pub message_id: String,
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
fn program() -> KeyPair {
    KeyPair::from_seed(&[5; 32])
}

/// A method, and how a request of it is made that succeeds. A method may have several, one for each alternative.
pub type Request = (&'static str, fn(&Party) -> Vec<u8>);

pub const REQUESTS: &[Request] = &[
    ("/capecontrol.auth.v1.AccountService/GetAccount", |_| auth::GetAccountRequest {}.encode_to_vec()),
    ("/capecontrol.auth.v1.AccountService/ListSessions", |_| {
        auth::ListSessionsRequest::default().encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AccountService/RevokeOtherSessions", |_| {
        auth::RevokeOtherSessionsRequest::default().encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AccountService/RevokeSession", |p| {
        auth::RevokeSessionRequest { session_id: p.session_id.clone(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AccountService/UpdateAccount", |_| {
        let account = auth::Account { display_name: "Ada L.".to_owned(), ..auth::Account::default() };
        auth::UpdateAccountRequest { account: Some(account), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AdminService/CreatePlatformInvitation", |p| {
        let email = format!("friend-of-{}", p.person.email);
        auth::CreatePlatformInvitationRequest { email, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AdminService/GetAccountForAdmin", |p| {
        auth::GetAccountForAdminRequest { account_id: p.person.account_id.to_string() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AdminService/ListAccounts", |p| {
        auth::ListAccountsRequest { email_prefix: p.person.email.clone(), ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AdminService/ReinstateAccount", |p| {
        let account_id = p.person.account_id.to_string();
        auth::ReinstateAccountRequest { account_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AdminService/SetAccountRole", |p| {
        let (account_id, role) = (p.person.account_id.to_string(), auth::Role::Developer.into());
        auth::SetAccountRoleRequest { account_id, role, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AdminService/SuspendAccount", |p| {
        let (account_id, reason) = (p.person.account_id.to_string(), "a stolen card".to_owned());
        auth::SuspendAccountRequest { account_id, reason, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.ApiKeyService/CreateApiKey", |p| create_api_key(p).encode_to_vec()),
    ("/capecontrol.auth.v1.ApiKeyService/CreateServiceAccount", |p| {
        create_service_account(p).encode_to_vec()
    }),
    ("/capecontrol.auth.v1.ApiKeyService/DeleteServiceAccount", |p| {
        let service_account_id = p.service_account_id.clone();
        auth::DeleteServiceAccountRequest { service_account_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.ApiKeyService/ListApiKeys", |p| {
        let organization_id = p.team_id.clone();
        auth::ListApiKeysRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.ApiKeyService/ListServiceAccounts", |p| {
        let organization_id = p.team_id.clone();
        auth::ListServiceAccountsRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.ApiKeyService/RevokeApiKey", |p| {
        auth::RevokeApiKeyRequest { api_key_id: p.api_key_id.clone(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.ApiKeyService/RotateApiKey", |p| {
        let api_key_id = p.api_key_id.clone();
        auth::RotateApiKeyRequest { api_key_id, overlap_seconds: Some(60), ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuditService/ExportAuditEvents", |p| {
        let organization_id = p.organization_id.clone();
        auth::ExportAuditEventsRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuditService/ListAuditEvents", |p| {
        auth::ListAuditEventsRequest {
            organization_id: p.organization_id.clone(),
            action_prefix: "auth.".to_owned(),
            actor: p.person.account_id.to_string(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuditService/VerifyAuditLog", |p| {
        let organization_id = p.organization_id.clone();
        auth::VerifyAuditLogRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/ChangePassword", |_| {
        let (current_password, new_password) = (PASSWORD.to_owned(), "a quiet lorry of gravel".to_owned());
        auth::ChangePasswordRequest { current_password, new_password, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/ExchangeServiceAccountToken", |p| {
        let assertion = p.assertion.clone();
        auth::ExchangeServiceAccountTokenRequest { assertion, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/Login", |p| {
        let (email, password) = (p.person.email.clone(), PASSWORD.to_owned());
        auth::LoginRequest { email, password, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/Logout", |p| {
        let refresh_token = p.person.refresh_token.clone();
        auth::LogoutRequest { refresh_token, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/RefreshSession", |p| {
        let refresh_token = p.person.refresh_token.clone();
        auth::RefreshSessionRequest { refresh_token, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/Register", |p| {
        auth::RegisterRequest {
            email: format!("friend-of-{}", p.person.email),
            password: PASSWORD.to_owned(),
            display_name: "Grace".to_owned(),
            accepted_terms_version: p.terms_version.clone(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/RequestEmailVerification", |p| {
        auth::RequestEmailVerificationRequest { email: p.person.email.clone(), ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/RequestPasswordReset", |p| {
        auth::RequestPasswordResetRequest { email: p.person.email.clone(), ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/ResetPassword", |p| {
        let (token, new_password) = (p.reset_token.clone(), "a quiet lorry of gravel".to_owned());
        auth::ResetPasswordRequest { token, new_password, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.AuthService/VerifyEmail", |p| {
        auth::VerifyEmailRequest { token: p.verify_token.clone(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/AcceptInvitation", |p| {
        let token = p.invitation_token.clone();
        auth::AcceptInvitationRequest { token, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/CreateOrganization", |_| {
        auth::CreateOrganizationRequest { name: "Engines".to_owned(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/DeleteOrganization", |p| {
        let organization_id = p.team_id.clone();
        let etag = "\"1\"".to_owned();
        auth::DeleteOrganizationRequest { organization_id, etag, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/GetOrganization", |p| {
        auth::GetOrganizationRequest { organization_id: p.organization_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/InviteMember", |p| {
        invite_member(p, "another").encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/ListInvitations", |p| {
        let organization_id = p.team_id.clone();
        auth::ListInvitationsRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/ListMembers", |p| {
        let organization_id = p.team_id.clone();
        auth::ListMembersRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/ListOrganizations", |_| {
        auth::ListOrganizationsRequest::default().encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/RemoveMember", |p| {
        let (organization_id, account_id) = (p.team_id.clone(), p.friend_id.clone());
        auth::RemoveMemberRequest { organization_id, account_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/RevokeInvitation", |p| {
        let invitation_id = p.invitation_id.clone();
        auth::RevokeInvitationRequest { invitation_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/UpdateMemberRole", |p| {
        let (organization_id, account_id) = (p.team_id.clone(), p.friend_id.clone());
        let role = auth::OrganizationRole::Billing.into();
        auth::UpdateMemberRoleRequest { organization_id, account_id, role, ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.auth.v1.OrganizationService/UpdateOrganization", |p| {
        let organization = auth::Organization { name: "Renamed".to_owned(), ..Default::default() };
        auth::UpdateOrganizationRequest {
            organization_id: p.team_id.clone(),
            organization: Some(organization),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/Converse", |p| {
        let hello = chat::Hello { threads: vec![cursor(p)], watch_presence: Some(watch(p)) };
        let frame = Some(chat::client_frame::Frame::Hello(hello));
        chat::ConverseRequest { frame: Some(chat::ClientFrame { request_id: "1".to_owned(), frame }) }
            .encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/AddReaction", |p| {
        let (message_id, emoji) = (p.message_id.clone(), "🙂".to_owned());
        chat::AddReactionRequest { message_id, emoji, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/AddThreadMember", |p| {
        let (thread_id, account_id) = (p.group_thread_id.clone(), p.mate_id.clone());
        let role = chat::ThreadRole::Reader.into();
        chat::AddThreadMemberRequest { thread_id, account_id, role, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/CompleteAttachment", |p| {
        chat::CompleteAttachmentRequest { attachment_id: p.upload_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/CreateAttachment", |p| create_attachment(p).encode_to_vec()),
    ("/capecontrol.chat.v1.ChatService/GetAttachmentLink", |p| {
        let attachment_id = p.attachment_id.clone();
        let variant = chat::AttachmentVariant::Original.into();
        chat::GetAttachmentLinkRequest { attachment_id, variant }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/UploadAttachmentPart", |p| upload_part(&p.upload_id).encode_to_vec()),
    ("/capecontrol.chat.v1.ChatService/CreateThread", |p| group_thread(p).encode_to_vec()),
    ("/capecontrol.chat.v1.ChatService/DeleteMessage", |p| {
        let message_id = p.spare_message_id.clone();
        chat::DeleteMessageRequest { message_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/DeleteThread", |p| {
        chat::DeleteThreadRequest { thread_id: p.spare_thread_id.clone(), ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/EditMessage", |p| {
        let (message_id, text) = (p.message_id.clone(), "Better said".to_owned());
        chat::EditMessageRequest { message_id, text, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/ListThreadMembers", |p| {
        let thread_id = p.group_thread_id.clone();
        chat::ListThreadMembersRequest { thread_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/MarkRead", |p| {
        chat::MarkReadRequest { thread_id: p.thread_id.clone(), up_to_seq: 1 }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/RemoveReaction", |p| {
        let (message_id, emoji) = (p.message_id.clone(), "🙂".to_owned());
        chat::RemoveReactionRequest { message_id, emoji, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/RemoveThreadMember", |p| {
        let (thread_id, account_id) = (p.group_thread_id.clone(), p.mate_id.clone());
        chat::RemoveThreadMemberRequest { thread_id, account_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/UpdateThread", |p| {
        let thread = Some(chat::Thread { title: "Another title".to_owned(), ..Default::default() });
        let thread_id = p.thread_id.clone();
        chat::UpdateThreadRequest { thread_id, thread, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/GetMessage", |p| {
        chat::GetMessageRequest { message_id: p.message_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/GetThread", |p| {
        chat::GetThreadRequest { thread_id: p.thread_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/ListEvents", |p| {
        chat::ListEventsRequest { thread_id: p.thread_id.clone(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/ListThreads", |p| {
        let organization_id = p.organization_id.clone();
        chat::ListThreadsRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/SearchMessages", |p| {
        let (organization_id, thread_id) = (p.organization_id.clone(), p.thread_id.clone());
        let query = send_message(p).text;
        let author = p.person.account_id.to_string();
        let request =
            chat::SearchMessagesRequest { organization_id, thread_id, query, author, ..Default::default() };
        request.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/GetChatPolicy", |p| {
        chat::GetChatPolicyRequest { organization_id: p.organization_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/UpdateChatPolicy", |p| {
        let policy = Some(chat::ChatPolicy { retention_days: 30, ..Default::default() });
        let organization_id = p.organization_id.clone();
        chat::UpdateChatPolicyRequest { organization_id, policy, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/ExportThread", |p| {
        chat::ExportThreadRequest { thread_id: p.thread_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/BlockAccount", |p| {
        let account_id = p.friend_id.clone();
        chat::BlockAccountRequest { account_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/UnblockAccount", |p| {
        let account_id = p.foe_ids[0].clone();
        chat::UnblockAccountRequest { account_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/ListBlockedAccounts", |_| {
        chat::ListBlockedAccountsRequest::default().encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/ReportMessage", |p| {
        let (message_id, comment) = (p.message_id.clone(), "It is not nice.".to_owned());
        let reason = chat::ReportReason::Harassment.into();
        chat::ReportMessageRequest { message_id, reason, comment, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/SendMessage", |p| {
        let reply_to_message_id = p.message_id.clone();
        let attachment_ids = vec![p.attachment_id.clone()];
        chat::SendMessageRequest { reply_to_message_id, attachment_ids, ..send_message(p) }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/SetTyping", |p| {
        chat::SetTypingRequest { thread_id: p.thread_id.clone(), typing: true }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/Subscribe", |p| {
        let watch_presence = Some(watch(p));
        chat::SubscribeRequest { threads: vec![cursor(p)], watch_presence }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/SetPresence", |p| {
        let mode = chat::PresenceMode::DoNotDisturb.into();
        chat::SetPresenceRequest { mode, connection_id: p.connection_id.clone(), idle: true }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/KeepAlive", |p| {
        chat::KeepAliveRequest { connection_id: p.connection_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/UpdateSubscription", |p| {
        chat::UpdateSubscriptionRequest {
            connection_id: p.connection_id.clone(),
            subscribe: vec![cursor(p)],
            unsubscribe_thread_ids: vec![p.thread_id.clone()],
            watch_presence: Some(watch(p)),
        }
        .encode_to_vec()
    }),
    ("/capecontrol.marketplace.v1.MarketplaceService/GetListing", |_| {
        marketplace::GetListingRequest { listing_id: SUPPORT.to_owned() }.encode_to_vec()
    }),
    ("/capecontrol.marketplace.v1.MarketplaceService/InstallListing", |p| install(p).encode_to_vec()),
    ("/capecontrol.marketplace.v1.MarketplaceService/ListInstallations", |p| {
        let organization_id = p.organization_id.clone();
        marketplace::ListInstallationsRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.marketplace.v1.MarketplaceService/ListListings", |_| {
        marketplace::ListListingsRequest::default().encode_to_vec()
    }),
    ("/capecontrol.operations.v1.OperationsService/DiscardDeadJob", |p| {
        let (job_id, reason) = (p.job_id.clone(), "of no use".to_owned());
        operations::DiscardDeadJobRequest { job_id, reason, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.operations.v1.OperationsService/GetSystemStatus", |_| {
        operations::GetSystemStatusRequest {}.encode_to_vec()
    }),
    ("/capecontrol.operations.v1.OperationsService/ListDeadJobs", |_| {
        operations::ListDeadJobsRequest { kind: "test.dead".to_owned(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.operations.v1.OperationsService/RetryDeadJob", |p| {
        operations::RetryDeadJobRequest { job_id: p.job_id.clone(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/CreateCreditNote", |p| {
        payments::CreateCreditNoteRequest {
            invoice_id: p.issued_invoice_id.clone(),
            reason: "The price was wrong.".to_owned(),
            amount: Some(rand(1)),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/CreateInvoice", |p| {
        let line = payments::InvoiceLineDraft {
            description: "A day of training".to_owned(),
            quantity: 2,
            unit_price: Some(rand(1_200)),
        };
        payments::CreateInvoiceRequest {
            organization_id: p.organization_id.clone(),
            lines: vec![line],
            tax_rate: payments::TaxRate::Standard.into(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/FinalizeInvoice", |p| {
        payments::FinalizeInvoiceRequest { invoice_id: p.draft_id.clone(), ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/GetCreditNote", |p| {
        payments::GetCreditNoteRequest { credit_note_id: p.credit_note_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/GetInvoice", |p| {
        payments::GetInvoiceRequest { invoice_id: p.invoice_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/GetInvoiceDocument", |p| {
        let of = payments::get_invoice_document_request::Subject::InvoiceId(p.issued_invoice_id.clone());
        payments::GetInvoiceDocumentRequest { subject: Some(of) }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/GetInvoiceDocument", |p| {
        let of = payments::get_invoice_document_request::Subject::CreditNoteId(p.credit_note_id.clone());
        payments::GetInvoiceDocumentRequest { subject: Some(of) }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/ListCreditNotes", |p| {
        payments::ListCreditNotesRequest {
            organization_id: p.organization_id.clone(),
            invoice_id: p.issued_invoice_id.clone(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/ListInvoices", |p| {
        let organization_id = p.organization_id.clone();
        payments::ListInvoicesRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.InvoiceService/VoidInvoice", |p| {
        payments::VoidInvoiceRequest { invoice_id: p.draft_id.clone(), ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/GetProviderEvent", |p| {
        payments::GetProviderEventRequest { provider_event_id: p.provider_event_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/GetProviderStatus", |_| {
        payments::GetProviderStatusRequest {}.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/ListProviderEvents", |p| {
        let (payment_id, provider_payment_id) = (p.paid_payment_id.clone(), p.provider_payment_id.clone());
        payments::ListProviderEventsRequest { payment_id, provider_payment_id, ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/ReplayProviderEvent", |p| {
        let provider_event_id = p.provider_event_id.clone();
        payments::ReplayProviderEventRequest { provider_event_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/VerifyLedger", |_| {
        payments::VerifyLedgerRequest::default().encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/ApproveRefund", |p| {
        let (refund_id, note) = (p.refund_id.clone(), "they are right".to_owned());
        let decision = payments::RefundDecision::Approve.into();
        payments::ApproveRefundRequest { refund_id, decision, note, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/RunReconciliation", |_| {
        let (from_date, to_date) = ("2026-11-18".to_owned(), "2026-11-19".to_owned());
        payments::RunReconciliationRequest { from_date, to_date, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/ListReconciliations", |_| {
        payments::ListReconciliationsRequest::default().encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/ListDifferences", |_| {
        payments::ListDifferencesRequest::default().encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/ExplainDifference", |p| {
        payments::ExplainDifferenceRequest {
            difference_id: p.difference_id.clone(),
            explanation: "PayFast corrected it by hand".to_owned(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentOperationsService/SetCheckoutSwitch", |_| {
        let reason = "all is well".to_owned();
        payments::SetCheckoutSwitchRequest { open: true, reason, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/CreateCheckout", |p| create_checkout(p).encode_to_vec()),
    ("/capecontrol.payments.v1.PaymentsService/CreateCheckout", |p| {
        let item = payments::create_checkout_request::Item::InvoiceId(p.invoice_id.clone());
        payments::CreateCheckoutRequest { item: Some(item), ..create_checkout(p) }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/CreatePaymentMethod", |p| {
        create_payment_method(p).encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/DeletePaymentMethod", |p| {
        let payment_method_id = p.payment_method_id.clone();
        payments::DeletePaymentMethodRequest { payment_method_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/ListPaymentMethods", |p| {
        let organization_id = p.organization_id.clone();
        payments::ListPaymentMethodsRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/UpdatePaymentMethod", |p| {
        let payment_method = payments::PaymentMethod {
            display_name: "Own card".to_owned(),
            is_default: true,
            expiry: Some(payments::CardExpiry { year: 2030, month: 4 }),
            ..Default::default()
        };
        payments::UpdatePaymentMethodRequest {
            payment_method_id: p.payment_method_id.clone(),
            payment_method: Some(payment_method),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/GetBillingProfile", |p| {
        payments::GetBillingProfileRequest { organization_id: p.organization_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/CancelPayment", |p| {
        payments::CancelPaymentRequest { payment_id: p.payment_id.clone(), ..Default::default() }
            .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/GetPayment", |p| {
        payments::GetPaymentRequest { payment_id: p.payment_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/GetRefund", |p| {
        payments::GetRefundRequest { refund_id: p.refund_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/ListRefunds", |p| {
        let payment_id = p.paid_payment_id.clone();
        payments::ListRefundsRequest { payment_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/RefundPayment", |p| {
        let source = payments::refund_payment_request::Source::PaymentId(p.paid_payment_id.clone());
        let amount = Some(encode::money(Money::new(150, Currency::Zar)));
        payments::RefundPaymentRequest { amount, ..refund(source) }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/RefundPayment", |p| {
        let source = payments::refund_payment_request::Source::ProviderEventId(p.provider_event_id.clone());
        refund(source).encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/ExportTransactions", |p| {
        let organization_id = p.organization_id.clone();
        payments::ExportTransactionsRequest { organization_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/GetPaymentReport", |p| {
        let (organization_id, interval) = (p.organization_id.clone(), payments::ReportInterval::Week.into());
        payments::GetPaymentReportRequest { organization_id, interval, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/ListPayments", |p| {
        payments::ListPaymentsRequest {
            organization_id: p.organization_id.clone(),
            invoice_id: p.invoice_id.clone(),
            provider_reference: "1089250".to_owned(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/ListTransactions", |p| {
        payments::ListTransactionsRequest {
            organization_id: p.organization_id.clone(),
            payment_id: p.payment_id.clone(),
            invoice_id: p.invoice_id.clone(),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.PaymentsService/UpdateBillingProfile", |p| {
        let profile = payments::BillingProfile { name: "Ada (Pty) Ltd".to_owned(), ..Default::default() };
        payments::UpdateBillingProfileRequest {
            organization_id: p.organization_id.clone(),
            billing_profile: Some(profile),
            update_mask: Some(prost_types::FieldMask { paths: vec!["name".to_owned()] }),
            ..Default::default()
        }
        .encode_to_vec()
    }),
    ("/capecontrol.payments.v1.SubscriptionService/GetSubscription", |p| {
        payments::GetSubscriptionRequest { organization_id: p.organization_id.clone() }.encode_to_vec()
    }),
    ("/capecontrol.payments.v1.SubscriptionService/ListPlans", |_| {
        payments::ListPlansRequest::default().encode_to_vec()
    }),
];

fn invite_member(party: &Party, who: &str) -> auth::InviteMemberRequest {
    auth::InviteMemberRequest {
        organization_id: party.team_id.clone(),
        email: format!("{who}@example.net"),
        role: auth::OrganizationRole::Member.into(),
        ..Default::default()
    }
}

fn create_service_account(party: &Party) -> auth::CreateServiceAccountRequest {
    let x = URL_SAFE_NO_PAD.encode(program().public());
    auth::CreateServiceAccountRequest {
        organization_id: party.team_id.clone(),
        name: "Importer".to_owned(),
        scopes: vec!["chat.write".to_owned()],
        public_key: serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string(),
        ..Default::default()
    }
}

fn create_api_key(party: &Party) -> auth::CreateApiKeyRequest {
    auth::CreateApiKeyRequest {
        organization_id: party.team_id.clone(),
        service_account_id: party.service_account_id.clone(),
        name: "Importer".to_owned(),
        scopes: vec!["chat.write".to_owned()],
        ..Default::default()
    }
}

fn create_thread(party: &Party) -> chat::CreateThreadRequest {
    chat::CreateThreadRequest {
        organization_id: party.organization_id.clone(),
        title: "Plans".to_owned(),
        listing_id: GUIDE.to_owned(),
        ..Default::default()
    }
}

/// A thread in which an agent answers two people.
fn group_thread(party: &Party) -> chat::CreateThreadRequest {
    chat::CreateThreadRequest { member_account_ids: vec![party.mate_id.clone()], ..create_thread(party) }
}

fn send_message(party: &Party) -> chat::SendMessageRequest {
    let text = "What does the pro plan cost?".to_owned();
    chat::SendMessageRequest { thread_id: party.thread_id.clone(), text, ..Default::default() }
}

/// What a file holds.
const FILE: &[u8] = b"Who reads this knows what is in the file.";

fn create_attachment(party: &Party) -> chat::CreateAttachmentRequest {
    chat::CreateAttachmentRequest {
        thread_id: party.thread_id.clone(),
        file_name: "notes.txt".to_owned(),
        size_bytes: i64::try_from(FILE.len()).unwrap(),
        sha256: Sha256::digest(FILE).to_vec(),
        ..Default::default()
    }
}

fn upload_part(attachment_id: &str) -> chat::UploadAttachmentPartRequest {
    let attachment_id = attachment_id.to_owned();
    chat::UploadAttachmentPartRequest { attachment_id, part_number: 1, data: FILE.to_vec() }
}

fn cursor(party: &Party) -> chat::ThreadCursor {
    chat::ThreadCursor { thread_id: party.thread_id.clone(), ..Default::default() }
}

fn install(party: &Party) -> marketplace::InstallListingRequest {
    marketplace::InstallListingRequest {
        organization_id: party.organization_id.clone(),
        listing_id: SUPPORT.to_owned(),
        ..Default::default()
    }
}

fn refund(source: payments::refund_payment_request::Source) -> payments::RefundPaymentRequest {
    let reason = "paid twice".to_owned();
    payments::RefundPaymentRequest { source: Some(source), reason, ..Default::default() }
}

fn rand(units: i64) -> capecontrol::proto::google::r#type::Money {
    capecontrol::rpc::encode::money(Money::new(units * 100, Currency::Zar))
}

fn create_payment_method(party: &Party) -> payments::CreatePaymentMethodRequest {
    payments::CreatePaymentMethodRequest {
        organization_id: party.organization_id.clone(),
        display_name: "Company card".to_owned(),
        expiry: Some(payments::CardExpiry { year: 2029, month: 12 }),
        return_url: "https://app.example.com/stored".to_owned(),
        cancel_url: "https://app.example.com/cancelled".to_owned(),
        ..Default::default()
    }
}

fn create_checkout(party: &Party) -> payments::CreateCheckoutRequest {
    let plan = payments::PlanItem {
        plan_id: "pro".to_owned(),
        billing_cycle: payments::BillingCycle::Monthly.into(),
    };
    payments::CreateCheckoutRequest {
        organization_id: party.organization_id.clone(),
        item: Some(payments::create_checkout_request::Item::Plan(plan)),
        return_url: "https://app.example.com/paid".to_owned(),
        cancel_url: "https://app.example.com/cancelled".to_owned(),
        payment_method_id: party.payment_method_id.clone(),
        ..Default::default()
    }
}

/// What a frame names.
#[derive(Clone, Copy)]
pub enum Names {
    Thread,
    Message,
    Person,
}

/// What can be said of a thread, a message or somebody in a conversation after Hello, by the frame's name.
pub type Say = (&'static str, Names, fn(String) -> chat::client_frame::Frame);

pub const FRAMES: &[Say] = &[
    ("subscribe", Names::Thread, |thread_id| {
        chat::client_frame::Frame::Subscribe(chat::ThreadCursor { thread_id, ..Default::default() })
    }),
    ("unsubscribe", Names::Thread, |thread_id| {
        chat::client_frame::Frame::Unsubscribe(chat::UnsubscribeThread { thread_id })
    }),
    ("send_message", Names::Thread, |thread_id| {
        let (client_message_id, text) = (SUPPORT.to_owned(), "Hello".to_owned());
        let draft = chat::MessageDraft { thread_id, client_message_id, text, ..Default::default() };
        chat::client_frame::Frame::SendMessage(draft)
    }),
    ("ack", Names::Thread, |thread_id| {
        chat::client_frame::Frame::Ack(chat::AckCursors {
            positions: vec![chat::ThreadPosition { thread_id, seq: 1 }],
        })
    }),
    ("edit_message", Names::Message, |message_id| {
        chat::client_frame::Frame::EditMessage(chat::MessageEdit { message_id, text: "Hello".to_owned() })
    }),
    ("delete_message", Names::Message, |message_id| {
        chat::client_frame::Frame::DeleteMessage(chat::MessageRef { message_id })
    }),
    ("add_reaction", Names::Message, |message_id| {
        chat::client_frame::Frame::AddReaction(reaction(message_id))
    }),
    ("remove_reaction", Names::Message, |message_id| {
        chat::client_frame::Frame::RemoveReaction(reaction(message_id))
    }),
    ("typing", Names::Thread, |thread_id| {
        chat::client_frame::Frame::Typing(chat::TypingNotice { thread_id, typing: true })
    }),
    ("watch_presence", Names::Person, |account_id| {
        chat::client_frame::Frame::WatchPresence(chat::PresenceWatch { account_ids: vec![account_id] })
    }),
    ("mark_read", Names::Thread, |thread_id| {
        chat::client_frame::Frame::MarkRead(chat::ThreadPosition { thread_id, seq: 1 })
    }),
];

fn watch(party: &Party) -> chat::PresenceWatch {
    chat::PresenceWatch { account_ids: vec![party.person.account_id.to_string()] }
}

fn reaction(message_id: String) -> chat::MessageReaction {
    chat::MessageReaction { message_id, emoji: "🙂".to_owned() }
}
