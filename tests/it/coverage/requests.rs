//! For every method a request that succeeds, from somebody who has one of everything.
//!
//! A new method is added here, with every id filled in; the tests do the rest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use capecontrol::base::{Currency, Money};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::marketplace::v1 as marketplace;
use capecontrol::proto::capecontrol::operations::v1 as operations;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use capecontrol::rpc::encode;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::party::{Party, program};
use crate::support::app::PASSWORD;

/// An agent that a [`Party`] has installed, and one that it has not.
pub(super) const GUIDE: &str = "0195b3a0-0000-7000-8000-000000000001";
pub(super) const SUPPORT: &str = "0195b3a0-0000-7000-8000-000000000002";

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
        let hello =
            chat::Hello { threads: vec![cursor(p)], watch_presence: Some(watch(p)), account: Some(start()) };
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
    ("/capecontrol.chat.v1.ChatService/ListSupportThreads", |_| {
        chat::ListSupportThreadsRequest::default().encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/TakeSupportThread", |p| {
        let thread_id = p.support_thread_id.clone();
        chat::TakeSupportThreadRequest { thread_id, ..Default::default() }.encode_to_vec()
    }),
    ("/capecontrol.chat.v1.ChatService/UpdateSupportThread", |p| {
        let (thread_id, state) = (p.support_thread_id.clone(), chat::SupportState::Closed.into());
        chat::UpdateSupportThreadRequest { thread_id, state, ..Default::default() }.encode_to_vec()
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
        let account = Some(start());
        chat::SubscribeRequest { threads: vec![cursor(p)], watch_presence, account }.encode_to_vec()
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

pub(super) fn invite_member(party: &Party, who: &str) -> auth::InviteMemberRequest {
    auth::InviteMemberRequest {
        organization_id: party.team_id.clone(),
        email: format!("{who}@example.net"),
        role: auth::OrganizationRole::Member.into(),
        ..Default::default()
    }
}

pub(super) fn create_service_account(party: &Party) -> auth::CreateServiceAccountRequest {
    let x = URL_SAFE_NO_PAD.encode(program().public());
    auth::CreateServiceAccountRequest {
        organization_id: party.team_id.clone(),
        name: "Importer".to_owned(),
        scopes: vec!["chat.write".to_owned()],
        public_key: serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string(),
        ..Default::default()
    }
}

pub(super) fn create_api_key(party: &Party) -> auth::CreateApiKeyRequest {
    auth::CreateApiKeyRequest {
        organization_id: party.team_id.clone(),
        service_account_id: party.service_account_id.clone(),
        name: "Importer".to_owned(),
        scopes: vec!["chat.write".to_owned()],
        ..Default::default()
    }
}

pub(super) fn create_thread(party: &Party) -> chat::CreateThreadRequest {
    chat::CreateThreadRequest {
        organization_id: party.organization_id.clone(),
        title: "Plans".to_owned(),
        listing_id: GUIDE.to_owned(),
        ..Default::default()
    }
}

/// A thread in which an agent answers two people.
pub(super) fn group_thread(party: &Party) -> chat::CreateThreadRequest {
    chat::CreateThreadRequest { member_account_ids: vec![party.mate_id.clone()], ..create_thread(party) }
}

pub(super) fn send_message(party: &Party) -> chat::SendMessageRequest {
    let text = "What does the pro plan cost?".to_owned();
    chat::SendMessageRequest { thread_id: party.thread_id.clone(), text, ..Default::default() }
}

/// What a file holds.
const FILE: &[u8] = b"Who reads this knows what is in the file.";

pub(super) fn create_attachment(party: &Party) -> chat::CreateAttachmentRequest {
    chat::CreateAttachmentRequest {
        thread_id: party.thread_id.clone(),
        file_name: "notes.txt".to_owned(),
        size_bytes: i64::try_from(FILE.len()).unwrap(),
        sha256: Sha256::digest(FILE).to_vec(),
        ..Default::default()
    }
}

pub(super) fn upload_part(attachment_id: &str) -> chat::UploadAttachmentPartRequest {
    let attachment_id = attachment_id.to_owned();
    chat::UploadAttachmentPartRequest { attachment_id, part_number: 1, data: FILE.to_vec() }
}

fn cursor(party: &Party) -> chat::ThreadCursor {
    chat::ThreadCursor { thread_id: party.thread_id.clone(), ..Default::default() }
}

pub(super) fn install(party: &Party) -> marketplace::InstallListingRequest {
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

pub(super) fn create_payment_method(party: &Party) -> payments::CreatePaymentMethodRequest {
    payments::CreatePaymentMethodRequest {
        organization_id: party.organization_id.clone(),
        display_name: "Company card".to_owned(),
        expiry: Some(payments::CardExpiry { year: 2029, month: 12 }),
        return_url: "https://app.example.com/stored".to_owned(),
        cancel_url: "https://app.example.com/cancelled".to_owned(),
        ..Default::default()
    }
}

pub(super) fn create_checkout(party: &Party) -> payments::CreateCheckoutRequest {
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

/// The start of the log of an account.
const fn start() -> chat::AccountCursor {
    chat::AccountCursor { after_seq: 0, epoch: 0 }
}

fn watch(party: &Party) -> chat::PresenceWatch {
    chat::PresenceWatch { account_ids: vec![party.person.account_id.to_string()] }
}

fn reaction(message_id: String) -> chat::MessageReaction {
    chat::MessageReaction { message_id, emoji: "🙂".to_owned() }
}
