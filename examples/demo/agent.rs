//! Installing an agent, and talking to it while a browser watches.

use std::io::Write as _;

use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::chat::v1::client_frame::Frame as Said;
use capecontrol::proto::capecontrol::chat::v1::ephemeral::Passing;
use capecontrol::proto::capecontrol::chat::v1::event::Change;
use capecontrol::proto::capecontrol::chat::v1::server_frame::Frame as Heard;
use capecontrol::proto::capecontrol::chat::v1::{
    ClientFrame, ConverseRequest, CreateThreadRequest, Event, Hello, MessageDraft, SubscribeRequest,
    ThreadCursor,
};
use capecontrol::proto::capecontrol::marketplace::v1::marketplace_service_client::MarketplaceServiceClient;
use capecontrol::proto::capecontrol::marketplace::v1::{InstallListingRequest, ListListingsRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::browser;
use crate::customer::{Customer, uuid_of_now};
use crate::platform::{PATIENCE, Platform};
use crate::{Failure, step, verify};

const QUESTION: &str = "How do I pay for a plan with PayFast?";

pub(crate) async fn converse(platform: &Platform, customer: &Customer) -> Result<(), Failure> {
    let listing_id = install(platform, customer).await?;
    let thread_id = open_thread(customer, &listing_id).await?;
    step(11, "Ask the agent over the bidirectional stream, while a browser subscribes by gRPC-Web");
    let watching = tokio::spawn(watch(platform.url.clone(), customer.bearer(), thread_id.clone()));
    let heard = tokio::time::timeout(PATIENCE, ask(customer, &thread_id)).await??;
    let seen = tokio::time::timeout(PATIENCE, watching).await???;
    for event in &heard {
        println!("     event {}: {}", event.seq, describe(event, &customer.account_id));
    }
    let contiguous = heard.iter().zip(1..).all(|(event, seq)| event.seq == seq);
    verify(contiguous && heard.len() == 2, "the question and the answer are events 1 and 2 of the thread")?;
    verify(seen == heard, "the browser saw the same events, byte for byte")
}

async fn install(platform: &Platform, customer: &Customer) -> Result<String, Failure> {
    step(10, "Install an agent from the marketplace and open a thread with it");
    let mut market = MarketplaceServiceClient::new(platform.channel.clone());
    let listings = market.list_listings(ListListingsRequest::default()).await?.into_inner().listings;
    for listing in &listings {
        println!("     {:<12} {}", listing.slug, listing.description.chars().take(70).collect::<String>());
    }
    let guide = listings
        .iter()
        .find(|listing| listing.slug == "guide")
        .ok_or("there is no guide among the agents")?;
    let request = CreateThreadRequest { listing_id: guide.id.clone(), ..CreateThreadRequest::default() };
    let refused = ChatServiceClient::new(customer.signed()).create_thread(request).await;
    verify(refused.is_err(), "an agent that is not installed cannot be addressed")?;
    let request = InstallListingRequest {
        listing_id: guide.id.clone(),
        request_id: uuid_of_now().to_string(),
        organization_id: String::new(),
    };
    let mut market = MarketplaceServiceClient::new(customer.signed());
    let installed = market.install_listing(request).await?.into_inner().installation;
    verify(installed.is_some(), format_args!("{} is installed", guide.name))?;
    Ok(guide.id.clone())
}

async fn open_thread(customer: &Customer, listing_id: &str) -> Result<String, Failure> {
    let request = CreateThreadRequest {
        title: "Paying".to_owned(),
        listing_id: listing_id.to_owned(),
        request_id: uuid_of_now().to_string(),
        ..CreateThreadRequest::default()
    };
    let answer = ChatServiceClient::new(customer.signed()).create_thread(request).await?;
    let thread = answer.into_inner().thread.unwrap_or_default();
    println!("     thread {}", thread.id);
    Ok(thread.id)
}

/// Asks, prints the answer as it comes, and returns the durable events.
async fn ask(customer: &Customer, thread_id: &str) -> Result<Vec<Event>, Failure> {
    let (say, said) = mpsc::channel(4);
    let cursor = ThreadCursor { thread_id: thread_id.to_owned(), ..ThreadCursor::default() };
    say.send(frame(Said::Hello(Hello { threads: vec![cursor], ..Default::default() }))).await?;
    let draft = MessageDraft {
        thread_id: thread_id.to_owned(),
        client_message_id: uuid_of_now().to_string(),
        text: QUESTION.to_owned(),
        ..MessageDraft::default()
    };
    println!("     you:   {QUESTION}");
    say.send(frame(Said::SendMessage(draft))).await?;
    let mut frames =
        ChatServiceClient::new(customer.signed()).converse(ReceiverStream::new(said)).await?.into_inner();
    let (mut events, mut words, mut acknowledged) = (Vec::new(), String::new(), false);
    print!("     agent: ");
    while events.len() < 2 {
        let Some(answer) = frames.message().await? else { return Err("the stream ended early".into()) };
        match answer.frame.and_then(|frame| frame.frame) {
            Some(Heard::Event(event)) => events.push(event),
            Some(Heard::Ack(_)) => acknowledged = true,
            Some(Heard::Nack(nack)) => {
                return Err(format!("the message was refused: {}", nack.message).into());
            }
            Some(Heard::Ephemeral(passing)) => {
                if let Some(Passing::AgentDelta(delta)) = passing.passing {
                    print!("{}", delta.text.replace('\n', "\n            "));
                    std::io::stdout().flush()?;
                    words.push_str(&delta.text);
                }
            }
            _ => {}
        }
    }
    println!();
    verify(acknowledged, "the message was acknowledged")?;
    let last = events.last().map(text_of).unwrap_or_default();
    verify(!words.is_empty() && last == words, "the streamed words are the durable answer")?;
    Ok(events)
}

/// The same thread through a browser's eyes.
async fn watch(url: String, bearer: browser::Bearer, thread_id: String) -> Result<Vec<Event>, Failure> {
    let cursor = ThreadCursor { thread_id, ..ThreadCursor::default() };
    let mut chat = browser::chat(&url, bearer)?;
    let mut frames =
        chat.subscribe(SubscribeRequest { threads: vec![cursor], ..Default::default() }).await?.into_inner();
    let mut events = Vec::new();
    while events.len() < 2 {
        let Some(answer) = frames.message().await? else {
            return Err("the browser's stream ended early".into());
        };
        if let Some(Heard::Event(event)) = answer.frame.and_then(|frame| frame.frame) {
            events.push(event);
        }
    }
    Ok(events)
}

fn frame(said: Said) -> ConverseRequest {
    ConverseRequest { frame: Some(ClientFrame { request_id: String::new(), frame: Some(said) }) }
}

fn text_of(event: &Event) -> String {
    match &event.change {
        Some(Change::MessageCreated(message)) => message.text.clone(),
        _ => String::new(),
    }
}

fn describe(event: &Event, account_id: &str) -> String {
    use capecontrol::proto::capecontrol::chat::v1::actor::Actor;
    let by = match event.actor.as_ref().and_then(|actor| actor.actor.as_ref()) {
        Some(Actor::AccountId(id)) if id == account_id => "you",
        Some(Actor::AccountId(_)) => "somebody",
        Some(Actor::ListingId(_)) => "the agent",
        None => "the platform",
    };
    format!("{by} wrote {} characters", text_of(event).chars().count())
}
