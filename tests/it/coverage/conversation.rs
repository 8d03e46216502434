//! The frames of a conversation that name a thread: what is told of somebody else's is what is told of none.

use std::collections::BTreeSet;

use capecontrol::proto;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use prost::Message as _;
use prost_reflect::{DescriptorPool, Kind};

use super::contract::unknown_id;
use super::party::Party;
use super::requests::{FRAMES, Names};
use super::scene::Scene;
use super::{fields, wire};
use crate::support::{App, on_both};

on_both! {
    async fn a_conversation_tells_of_others_threads_what_it_tells_of_none(t: App) {
        let scene = Scene::on(t).await;
        let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
        let variants = frames_about_threads();
        assert_eq!(variants, FRAMES.iter().map(|(name, ..)| (*name).to_owned()).collect());
        for (name, names, frame) in FRAMES {
            let foreign = match names {
                Names::Thread => ada.thread_id.clone(),
                Names::Message => ada.message_id.clone(),
                Names::Person => ada.mate_id.clone(),
            };
            let none = unknown_id();
            let of_foreign = conversation(&scene, &eve, frame(foreign.clone())).await;
            let of_none = conversation(&scene, &eve, frame(none.clone())).await;
            assert_eq!(of_foreign.replace(&foreign, "it"), of_none.replace(&none, "it"), "{name}");
            assert!(!of_none.is_empty(), "{name} is not answered");
        }
    }
}

/// The frames that name a thread, by the descriptors. Hello is a request of its own.
fn frames_about_threads() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let frame = pool.get_message_by_name("capecontrol.chat.v1.ClientFrame").unwrap();
    let variants =
        frame.fields().filter(|field| field.containing_oneof().is_some() && field.name() != "hello");
    let names_thread = |kind: Kind| {
        let mut inner = BTreeSet::new();
        if let Some(message) = kind.as_message() {
            fields::messages(message, &mut inner);
        }
        let messages = inner.iter().map(|name| pool.get_message_by_name(name).unwrap());
        messages
            .flat_map(|message| message.fields().collect::<Vec<_>>())
            .any(|field| field.name().ends_with("_id") || field.name().ends_with("_ids"))
    };
    variants.filter(|field| names_thread(field.kind())).map(|field| field.name().to_owned()).collect()
}

/// What is answered to a frame, but for the welcome, which is never the same twice.
async fn conversation(scene: &Scene, eve: &Party, frame: chat::client_frame::Frame) -> String {
    let say = |frame| {
        let frame = Some(chat::ClientFrame { request_id: "1".to_owned(), frame: Some(frame) });
        chat::ConverseRequest { frame }.encode_to_vec()
    };
    let hello = chat::client_frame::Frame::Hello(chat::Hello { threads: vec![], ..Default::default() });
    let path = "/capecontrol.chat.v1.ChatService/Converse";
    let token = Some(eve.person.token.as_str());
    let mut answers = wire::open(&scene.t, path, token, vec![say(hello), say(frame)]).await.unwrap();
    let mut heard = String::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let frame = chat::ConverseResponse::decode(answer.as_slice()).unwrap().frame.unwrap().frame;
        if !matches!(frame, Some(chat::server_frame::Frame::Welcome(_))) {
            heard.push_str(&format!("{frame:?}\n"));
        }
    }
    heard
}
