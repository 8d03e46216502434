//! Agents that answer in conversations, over real sockets.

use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::marketplace::v1::marketplace_service_client::MarketplaceServiceClient;
use capecontrol::proto::capecontrol::marketplace::v1::{InstallListingRequest, ListListingsRequest};
use capecontrol::proto::capecontrol::payments::v1::create_checkout_request::Item;
use capecontrol::proto::capecontrol::payments::v1::{
    CreateCheckoutRequest, GetPaymentRequest, Payment, PaymentStatus,
};
use wire::event::Change;
use wire::server_frame::Frame;

use super::{Client, KINDS, Kind, from, key, open_thread, send};
use crate::support::{App, Person, on_both};

/// An agent of the catalogue, installed.
pub async fn agent(t: &App, who: &Person) -> String {
    let mut market = MarketplaceServiceClient::new(t.channel());
    let listings = market.list_listings(ListListingsRequest::default()).await.unwrap().into_inner().listings;
    let guide = listings.into_iter().find(|listing| listing.slug == "guide").unwrap();
    let request =
        InstallListingRequest { listing_id: guide.id.clone(), request_id: key(), ..Default::default() };
    who.market().install_listing(request).await.unwrap();
    guide.id
}

async fn payment(who: &Person, payment_id: &str) -> Payment {
    let request = GetPaymentRequest { payment_id: payment_id.to_owned() };
    who.payments().get_payment(request).await.unwrap().into_inner().payment.unwrap()
}

on_both! {
    async fn an_agent_answers_in_pieces_and_with_one_message(t: App) {
        let ada = t.register("ada@example.com").await;
        let listing_id = agent(&t, &ada).await;
        let thread = open_thread(&ada, &listing_id).await;
        assert_eq!(thread.listing_id, listing_id);
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        let asked = send(&ada, &thread.id, "How do I install an agent?").await;
        t.run_jobs().await;
        for client in &mut clients {
            assert_eq!(client.event().await.seq, 1);
            let mut preview = String::new();
            let answer = loop {
                match client.next().await.unwrap().unwrap() {
                    Frame::Ephemeral(ephemeral) => {
                        let Some(wire::ephemeral::Passing::AgentDelta(delta)) = ephemeral.passing else { panic!() };
                        assert_eq!(usize::try_from(delta.offset).unwrap(), preview.len());
                        preview.push_str(&delta.text);
                    }
                    Frame::Event(event) => break event,
                    _ => {}
                }
            };
            let Some(Change::MessageCreated(answer)) = answer.change else { panic!("the turn failed") };
            assert_eq!((answer.seq, &answer.reply_to_message_id), (2, &asked.id));
            assert_eq!(answer.author.unwrap().actor, Some(wire::actor::Actor::ListingId(listing_id.clone())));
            assert!(answer.text.len() > 20 && answer.text == preview, "{preview:?} / {:?}", answer.text);
        }
    }

    async fn an_agent_prepares_a_checkout_that_its_reader_pays(t: App) {
        let ada = t.register("ada@example.com").await;
        let listing_id = agent(&t, &ada).await;
        let thread = open_thread(&ada, &listing_id).await;
        let mut clients = Vec::new();
        for kind in KINDS {
            let mut client = Client::open(&t, &ada, kind, vec![from(&thread.id, 0)]).await.unwrap();
            client.live().await;
            clients.push(client);
        }
        let asked = send(&ada, &thread.id, "I want the pro plan monthly").await;
        t.run_jobs().await;
        let list = wire::ListEventsRequest { thread_id: thread.id.clone(), ..Default::default() };
        let listed = ada.chat().list_events(list).await.unwrap().into_inner().events;
        assert_eq!(listed.len(), 3);
        for client in &mut clients {
            for event in &listed {
                assert_eq!(&client.event().await, event);
            }
        }
        let Some(Change::AgentToolCalled(called)) = &listed[1].change else { panic!("{listed:?}") };
        assert_eq!((called.message_id.as_str(), called.tool.as_str()), (asked.id.as_str(), "payments.checkout"));
        assert_eq!(called.arguments, r#"{"billing_cycle":"monthly","plan_id":"pro"}"#);
        let Some(wire::agent_tool_called::Outcome::Result(result)) = &called.outcome else { panic!("{called:?}") };
        let result: serde_json::Value = serde_json::from_str(result).unwrap();
        let (payment_id, invoice_id) = (result["payment_id"].as_str().unwrap(), result["invoice_id"].as_str().unwrap());
        let Some(Change::MessageCreated(answer)) = &listed[2].change else { panic!("{listed:?}") };
        assert!(answer.text.contains(payment_id) && answer.text.contains("R529.00"), "{}", answer.text);
        // It is there, and nothing is paid.
        let payment = payment(&ada, payment_id).await;
        assert_eq!((payment.status(), payment.amount.unwrap().units), (PaymentStatus::Created, 529));
        // From the thread to the provider's page: the invoice is gone on with, and nothing new is made.
        let request =
            CreateCheckoutRequest { item: Some(Item::InvoiceId(invoice_id.to_owned())), ..Default::default() };
        let checkout = ada.payments().create_checkout(request).await.unwrap().into_inner();
        assert_eq!((checkout.payment_id.as_str(), checkout.invoice_id.as_str()), (payment_id, invoice_id));
        crate::e2e::payments::press(&t, &checkout, &[("simulator_action", "pay")]).await;
        t.run_jobs().await;
        assert_eq!(self::payment(&ada, payment_id).await.status(), PaymentStatus::Succeeded);
    }

    async fn a_killed_node_answers_once_after_its_restart(t: App) {
        let ada = t.register("ada@example.com").await;
        let listing_id = agent(&t, &ada).await;
        let thread = open_thread(&ada, &listing_id).await;
        let asked = send(&ada, &thread.id, "Are you still there?").await;
        let t = t.kill_and_restart().await;
        let ada = t.sign_in("ada@example.com", crate::support::app::PASSWORD).await;
        let mut client = Client::open(&t, &ada, Kind::Subscribe, vec![from(&thread.id, asked.seq)]).await.unwrap();
        client.live().await;
        t.run_jobs().await;
        t.run_jobs().await;
        let Some(Change::MessageCreated(answer)) = client.event().await.change else { panic!("no answer") };
        assert_eq!((answer.seq, answer.reply_to_message_id), (2, asked.id));
        let read = wire::GetThreadRequest { thread_id: thread.id };
        assert_eq!(ada.chat().get_thread(read).await.unwrap().into_inner().thread.unwrap().last_seq, 2);
    }
}
