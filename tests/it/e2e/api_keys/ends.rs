//! How API keys end: by their time, a rotation, a revocation, or with what their account is.

use std::time::Duration;

use capecontrol::db::Scope;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use capecontrol::proto::capecontrol::payments::v1::invoice_service_client::InvoiceServiceClient;
use tonic::Code;

use super::{
    Impatient, assert_refused, create_thread, end, keyed, list_threads, made, revoke, rotate, run,
    subscribed, team, wanted,
};
use crate::support::{App, on_both};

on_both! {
    async fn a_key_ends_by_its_time(t: App) {
        let ada = t.register("ada@example.com").await;
        let end_at = t.world.now().plus(Duration::from_mins(1));
        let expire_time = Some(prost_types::Timestamp { seconds: end_at.as_seconds(), nanos: 0 });
        let (key, text) = made(&ada, auth::CreateApiKeyRequest { expire_time, ..wanted(&["chat.write"]) }).await;
        assert_eq!(key.expire_time, expire_time);
        list_threads(&t, &text).await.unwrap();
        t.advance(Duration::from_secs(59));
        list_threads(&t, &text).await.unwrap();
        t.advance(Duration::from_secs(1));
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_EXPIRED");
        assert_refused(rotate(&ada, &key, None).await, Code::FailedPrecondition, "API_KEY_REVOKED");
        let past = Some(prost_types::Timestamp { seconds: end_at.as_seconds() - 1, nanos: 0 });
        let late = auth::CreateApiKeyRequest { expire_time: past, ..wanted(&["chat.write"]) };
        assert_refused(ada.api_keys().create_api_key(late).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }

    async fn a_rotation_overlaps_for_its_time_and_no_longer(t: App) {
        let ada = t.register("ada@example.com").await;
        let (key, first) = made(&ada, wanted(&["chat.read"])).await;
        let second = rotate(&ada, &key, Some(60)).await.unwrap();
        for text in [&first, &second] {
            list_threads(&t, text).await.unwrap();
        }
        t.advance(Duration::from_secs(60));
        assert_refused(list_threads(&t, &first).await, Code::Unauthenticated, "API_KEY_EXPIRED");
        list_threads(&t, &second).await.unwrap();
        // Of two rotations in a row only the last secret but one overlaps.
        let third = rotate(&ada, &key, None).await.unwrap();
        let fourth = rotate(&ada, &key, Some(0)).await.unwrap();
        assert_refused(list_threads(&t, &second).await, Code::Unauthenticated, "API_KEY_INVALID");
        assert_refused(list_threads(&t, &third).await, Code::Unauthenticated, "API_KEY_EXPIRED");
        list_threads(&t, &fourth).await.unwrap();
        for overlap in [-1, 7 * 24 * 3_600 + 1] {
            assert_refused(
                rotate(&ada, &key, Some(overlap)).await,
                Code::InvalidArgument,
                "INVALID_ARGUMENT",
            );
        }
    }

    async fn a_revoked_key_is_refused_here_at_once_and_elsewhere_soon(t: App) {
        let ada = t.register("ada@example.com").await;
        let (first, text) = made(&ada, wanted(&["chat.read"])).await;
        list_threads(&t, &text).await.unwrap();
        revoke(&ada, &first).await.unwrap();
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
        revoke(&ada, &first).await.unwrap();
        assert_refused(rotate(&ada, &first, None).await, Code::FailedPrecondition, "API_KEY_REVOKED");
        // On another node, which this one hears of by looking.
        let (_, text) = made(&ada, wanted(&["chat.read"])).await;
        list_threads(&t, &text).await.unwrap();
        run(&t, "UPDATE api_keys SET revoked_at = created_at WHERE revoked_at IS NULL").await;
        t.advance(Duration::from_secs(3));
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
    }

    async fn a_key_goes_with_the_membership_of_its_account(t: App) {
        let (ada, bob) = (t.register("ada@example.com").await, t.register("bob@example.com").await);
        let home = team(&ada).await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let role = capecontrol::auth::OrganizationRole::Admin;
        let id = home.parse().unwrap();
        let now = t.world.now();
        capecontrol::auth::store::member::insert(&mut tx, id, bob.account_id, role, now).await.unwrap();
        tx.commit().await.unwrap();
        let request = auth::CreateApiKeyRequest {
            organization_id: home.clone(),
            ..wanted(&["chat.write", "payments.read"])
        };
        let (_, text) = made(&bob, request).await;
        create_thread(&t, &text).await.unwrap();
        let invoices = async || {
            let request = keyed(&text, payments::ListInvoicesRequest::default());
            InvoiceServiceClient::new(t.channel()).list_invoices(request).await
        };
        invoices().await.unwrap();
        // A key has no more power than its account has by then.
        let down = auth::UpdateMemberRoleRequest {
            organization_id: home.clone(),
            account_id: bob.account_id.to_string(),
            role: auth::OrganizationRole::Member.into(),
            ..Default::default()
        };
        ada.organizations().update_member_role(down).await.unwrap();
        assert_refused(invoices().await, Code::PermissionDenied, "PERMISSION_DENIED");
        let (organization_id, account_id) = (home.clone(), bob.account_id.to_string());
        let gone = auth::RemoveMemberRequest { organization_id, account_id, ..Default::default() };
        ada.organizations().remove_member(gone).await.unwrap();
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
        // Coming back does not bring the key back.
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        capecontrol::auth::store::member::insert(&mut tx, id, bob.account_id, role, now).await.unwrap();
        tx.commit().await.unwrap();
        t.advance(Duration::from_secs(3));
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
    }

    async fn a_key_stops_while_its_account_is_suspended(t: App) {
        let (root, ada) = (t.admin().await, t.register("ada@example.com").await);
        let (_, text) = made(&ada, wanted(&["chat.read"])).await;
        list_threads(&t, &text).await.unwrap();
        let (account_id, reason) = (ada.account_id.to_string(), "a stolen card".to_owned());
        let suspend =
            auth::SuspendAccountRequest { account_id: account_id.clone(), reason, ..Default::default() };
        root.admin().suspend_account(suspend).await.unwrap();
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
        let reinstate = auth::ReinstateAccountRequest { account_id, ..Default::default() };
        root.admin().reinstate_account(reinstate).await.unwrap();
        list_threads(&t, &text).await.unwrap();
    }

    async fn a_stream_of_a_key_ends_when_its_account_is_suspended(t: Impatient) {
        let t = t.0;
        let (root, ada) = (t.admin().await, t.register("ada@example.com").await);
        let (_, text) = made(&ada, wanted(&["chat.write"])).await;
        let thread = create_thread(&t, &text).await.unwrap();
        let frames = subscribed(&t, &text, &thread).await;
        let (account_id, reason) = (ada.account_id.to_string(), "a stolen card".to_owned());
        let suspend = auth::SuspendAccountRequest { account_id, reason, ..Default::default() };
        root.admin().suspend_account(suspend).await.unwrap();
        assert_refused(Err::<(), _>(end(frames).await), Code::Unauthenticated, "API_KEY_INVALID");
    }

    async fn streams_end_with_the_key_that_opened_them(t: Impatient) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let expire_time = Some(prost_types::Timestamp {
            seconds: t.world.now().plus(Duration::from_mins(5)).as_seconds(),
            nanos: 0,
        });
        let (_, expiring) = made(&ada, auth::CreateApiKeyRequest { expire_time, ..wanted(&["chat.write"]) }).await;
        let thread = create_thread(&t, &expiring).await.unwrap();
        let (revoked, revoked_text) = made(&ada, wanted(&["chat.read"])).await;
        let (rotated, rotated_text) = made(&ada, wanted(&["chat.read"])).await;
        let (_, steady_text) = made(&ada, wanted(&["chat.read"])).await;
        let streams = [
            subscribed(&t, &revoked_text, &thread).await,
            subscribed(&t, &rotated_text, &thread).await,
            subscribed(&t, &expiring, &thread).await,
        ];
        let mut steady = subscribed(&t, &steady_text, &thread).await;
        let [of_revoked, of_rotated, of_expiring] = streams;
        revoke(&ada, &revoked).await.unwrap();
        assert_refused::<()>(Err(end(of_revoked).await), Code::Unauthenticated, "API_KEY_INVALID");
        // A secret that a rotation ended at once takes its streams along.
        rotate(&ada, &rotated, Some(0)).await.unwrap();
        assert_refused::<()>(Err(end(of_rotated).await), Code::Unauthenticated, "API_KEY_INVALID");
        t.advance(Duration::from_mins(5));
        assert_refused::<()>(Err(end(of_expiring).await), Code::Unauthenticated, "API_KEY_EXPIRED");
        // The others go on.
        let message = chat::SendMessageRequest {
            thread_id: thread.id.clone(),
            client_message_id: uuid::Uuid::from_u128(1).to_string(),
            text: "Still here".to_owned(), ..Default::default() };
        let ada = t.refresh(&ada).await;
        ada.chat().send_message(message).await.unwrap();
        let told = loop {
            let frame = steady.message().await.unwrap().unwrap();
            if let Some(chat::server_frame::Frame::Event(event)) = frame.frame.unwrap().frame {
                break event;
            }
        };
        assert_eq!(told.seq, 1);
    }
}
