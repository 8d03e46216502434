//! Several nodes, and files that are kept at a service that speaks S3.

use std::time::Duration;

use capecontrol::db::Engine;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::storage::Route;
use http::StatusCode;
use image::ImageFormat;
use tonic::Code;

use super::{
    PART, announce, begin, complete, counted, fetch, kept, large, link, picture, put, reason, refused, send,
    thread_of_two, upload, with,
};
use crate::support::s3::S3Server;
use crate::support::{App, on_both};

on_both! {
    async fn parts_come_to_any_node_and_at_once(t: App) {
        // One process serves from a SQLite file; there the second way in is the same node again.
        let other = if t.db.engine() == Engine::Postgres { Some(t.beside().await) } else { None };
        let (ada, ben, thread) = thread_of_two(&t).await;
        let there = match &other {
            Some(other) => ada.over(other.channel()),
            None => ada.clone(),
        };
        let bytes = large();
        let made = begin(&ada, announce(&thread.id, "a.bin", &bytes)).await.unwrap();
        let mut sent = tokio::task::JoinSet::new();
        for (index, part) in bytes.chunks(PART).enumerate() {
            for who in [&ada, &there, &ada, &there] {
                let (who, id, part) = (who.clone(), made.id.clone(), part.to_vec());
                sent.spawn(async move { put(&who, &id, index + 1, &part).await.unwrap() });
            }
        }
        while let Some(outcome) = sent.join_next().await {
            outcome.unwrap();
        }
        let (one, two) = tokio::join!(complete(&ada, &made.id), complete(&there, &made.id));
        assert_eq!(one.unwrap(), two.unwrap());
        t.run_jobs().await;
        assert_eq!(counted(&t, &ada).await, (1, i64::try_from(bytes.len()).unwrap()));
        // Of two messages with it at the same time one has it.
        let (one, two) = tokio::join!(
            send(&ada, with(&thread.id, "one", &[&made.id])),
            send(&there, with(&thread.id, "two", &[&made.id]))
        );
        assert!(one.is_ok() != two.is_ok());
        assert_eq!(refused(one.and(two)), "ATTACHMENT_USED");
        // A link that one node made the other takes.
        let url = link(&ben, &made.id).await.unwrap();
        let url = match &other {
            Some(other) => url.replace(&t.url, &other.url),
            None => url,
        };
        assert!(fetch(&t, &url, None).await.2 == bytes);
        assert_eq!(kept(&t).len(), 1);
    }

    async fn a_node_that_dies_leaves_nothing_that_nobody_knows(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let made = begin(&ada, announce(&thread.id, "a.txt", b"words")).await.unwrap();
        put(&ada, &made.id, 1, b"words").await.unwrap();
        let t = t.kill_and_restart().await;
        let ada = t.sign_in(&ada.email, crate::support::app::PASSWORD).await;
        complete(&ada, &made.id).await.unwrap();
        let sent = send(&ada, with(&thread.id, "look", &[&made.id])).await.unwrap();
        let delete = wire::DeleteMessageRequest { message_id: sent.id, ..Default::default() };
        ada.chat().delete_message(delete).await.unwrap();
        // A call that was under way writes a part after everything was removed.
        t.run_jobs().await;
        let Route::Folder(folder) = &t.node.config().storage else { panic!("no folder") };
        let late = folder.join(format!("attachments/{}/{}/parts/1", ada.organization_id, made.id));
        std::fs::create_dir_all(late.parent().unwrap()).unwrap();
        std::fs::write(&late, "late").unwrap();
        t.advance(Duration::from_secs(3_600));
        t.run_jobs().await;
        assert!(kept(&t).is_empty());
    }
}

async fn files_are_kept_at_a_service_that_speaks_s3(engine: Engine) {
    let service = S3Server::start().await;
    let t = App::start_with(engine, |config| config.storage = service.route()).await;
    let (ada, ben, thread) = thread_of_two(&t).await;
    let bytes = large();
    let file = upload(&ada, &thread.id, "a.bin", &bytes).await;
    let shot = upload(&ada, &thread.id, "b.png", &picture(ImageFormat::Png)).await;
    let sent = send(&ada, with(&thread.id, "look", &[&file.id, &shot.id])).await.unwrap();
    t.run_jobs().await;
    let place = format!("of/a/platform/attachments/{}", ada.organization_id);
    let mut expected =
        [format!("{}/original", file.id), format!("{}/original", shot.id), format!("{}/preview", shot.id)]
            .map(|key| format!("{place}/{key}"));
    expected.sort();
    assert_eq!(service.keys(), expected);
    let url = link(&ben, &file.id).await.unwrap();
    assert!(fetch(&t, &url, None).await.2 == bytes);
    let (status, _, part) = fetch(&t, &url, Some("bytes=262140-262149")).await;
    assert_eq!((status, part.as_slice()), (StatusCode::PARTIAL_CONTENT, &bytes[262_140..262_150]));
    let delete = wire::DeleteMessageRequest { message_id: sent.id, ..Default::default() };
    ada.chat().delete_message(delete).await.unwrap();
    t.run_jobs().await;
    assert!(service.keys().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_kept_at_a_service_that_speaks_s3_sqlite() {
    files_are_kept_at_a_service_that_speaks_s3(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_kept_at_a_service_that_speaks_s3_postgres() {
    files_are_kept_at_a_service_that_speaks_s3(Engine::Postgres).await;
}

/// A service that refuses is no reason to lose anything: the call says so, and a repetition goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_refuses_is_told_of_and_asked_again() {
    let service = S3Server::start().await;
    let mut wrong = service.route();
    if let Route::S3(options) = &mut wrong {
        options.secret_key = capecontrol::base::Secret::new("another secret".to_owned());
    }
    let t = App::start_with(Engine::Sqlite, |config| config.storage = wrong).await;
    let (ada, _, thread) = thread_of_two(&t).await;
    let made = begin(&ada, announce(&thread.id, "a.txt", b"words")).await.unwrap();
    let status = put(&ada, &made.id, 1, b"words").await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "STORAGE_UNAVAILABLE"));
    assert!(!status.message().contains("secret"));
    assert_eq!(refused(complete(&ada, &made.id).await), "ATTACHMENT_INCOMPLETE");
    assert!(service.keys().is_empty());
}
