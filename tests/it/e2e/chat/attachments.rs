//! Files: how they come in, go with messages, are given out, and go.

mod hostile;
mod places;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::storage::Route;
use http::{HeaderMap, StatusCode};
use image::{DynamicImage, ImageFormat, RgbImage};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use uuid::Uuid;
use wire::client_frame::Frame as Say;
use wire::event::Change;

use super::{Client, Kind, from, key, message, open_thread, reason, wrong_fields};
use crate::support::clamd::{ClamdServer, HARM};
use crate::support::{App, Person, on_both};

const PART: usize = 256 << 10;

/// Three parts, the last of which is short.
fn large() -> Vec<u8> {
    (0..2 * PART + 1_000).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn announce(thread_id: &str, name: &str, bytes: &[u8]) -> wire::CreateAttachmentRequest {
    wire::CreateAttachmentRequest {
        thread_id: thread_id.to_owned(),
        file_name: name.to_owned(),
        size_bytes: i64::try_from(bytes.len()).unwrap(),
        sha256: Sha256::digest(bytes).to_vec(),
        request_id: key(),
    }
}

async fn begin(who: &Person, request: wire::CreateAttachmentRequest) -> Result<wire::Attachment, Status> {
    Ok(who.chat().create_attachment(request).await?.into_inner().attachment.unwrap())
}

async fn put(who: &Person, id: &str, number: usize, data: &[u8]) -> Result<wire::Attachment, Status> {
    let part_number = i32::try_from(number).unwrap();
    let request =
        wire::UploadAttachmentPartRequest { attachment_id: id.to_owned(), part_number, data: data.to_vec() };
    Ok(who.chat().upload_attachment_part(request).await?.into_inner().attachment.unwrap())
}

async fn complete(who: &Person, id: &str) -> Result<wire::Attachment, Status> {
    let request = wire::CompleteAttachmentRequest { attachment_id: id.to_owned() };
    Ok(who.chat().complete_attachment(request).await?.into_inner().attachment.unwrap())
}

/// A file, all of it.
async fn upload(who: &Person, thread_id: &str, name: &str, bytes: &[u8]) -> wire::Attachment {
    let made = begin(who, announce(thread_id, name, bytes)).await.unwrap();
    for (index, part) in bytes.chunks(PART).enumerate() {
        put(who, &made.id, index + 1, part).await.unwrap();
    }
    complete(who, &made.id).await.unwrap()
}

fn with(thread_id: &str, text: &str, ids: &[&str]) -> wire::SendMessageRequest {
    let attachment_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    wire::SendMessageRequest { attachment_ids, ..message(thread_id, text) }
}

async fn send(who: &Person, request: wire::SendMessageRequest) -> Result<wire::Message, Status> {
    Ok(who.chat().send_message(request).await?.into_inner().message.unwrap())
}

async fn link_of(who: &Person, id: &str, variant: wire::AttachmentVariant) -> Result<String, Status> {
    let request = wire::GetAttachmentLinkRequest { attachment_id: id.to_owned(), variant: variant.into() };
    Ok(who.chat().get_attachment_link(request).await?.into_inner().url)
}

async fn link(who: &Person, id: &str) -> Result<String, Status> {
    link_of(who, id, wire::AttachmentVariant::Original).await
}

/// What an address answers.
async fn fetch(t: &App, url: &str, range: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = t.http.get(url);
    let request = match range {
        Some(range) => request.header("range", range),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap().to_vec())
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> String {
    reason(&outcome.unwrap_err())
}

/// Ada, and a thread of hers that Ben is a member of.
async fn thread_of_two(t: &App) -> (Person, Person, wire::Thread) {
    let (ada, ben) = (t.register("ada@example.com").await, t.register("ben@example.com").await);
    join(t, &ben, &ada).await;
    let thread = open_thread(&ada, "").await;
    let request = wire::AddThreadMemberRequest {
        thread_id: thread.id.clone(),
        account_id: ben.account_id.to_string(),
        ..Default::default()
    };
    ada.chat().add_thread_member(request).await.unwrap();
    (ada, ben, thread)
}

async fn join(t: &App, who: &Person, whose: &Person) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, 'member', $3)")
        .bind(whose.organization_id)
        .bind(who.account_id)
        .bind(t.world.now())
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Every file below the folder where files are kept.
fn kept(t: &App) -> Vec<PathBuf> {
    let Route::Folder(folder) = &t.node.config().storage else { panic!("no folder") };
    let (mut left, mut found) = (vec![folder.clone()], Vec::new());
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let into = if entry.file_type().unwrap().is_dir() { &mut left } else { &mut found };
            into.push(entry.path());
        }
    }
    found
}

/// How many rows there are of attachments, and how much their organisation stores.
async fn counted(t: &App, whose: &Person) -> (i64, i64) {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let (rows,): (i64,) = conn.sql("SELECT count(*) FROM attachments").one().await.unwrap();
    let usage = conn.sql("SELECT stored_bytes FROM attachment_usage WHERE organization_id = $1");
    let used: Option<(i64,)> = usage.bind(whose.organization_id).optional().await.unwrap();
    (rows, used.map_or(0, |(used,)| used))
}

fn picture(format: ImageFormat) -> Vec<u8> {
    let image = DynamicImage::from(RgbImage::from_pixel(600, 300, image::Rgb([0, 90, 200])));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

on_both! {
    async fn a_file_goes_with_a_message_and_is_had_by_a_link(t: App) {
        let (ada, ben, thread) = thread_of_two(&t).await;
        let bytes = large();
        let made = begin(&ada, announce(&thread.id, "Überblick 2026.bin", &bytes)).await.unwrap();
        assert_eq!((made.part_count, made.part_size_bytes, made.missing_parts.clone()), (3, 262_144, vec![1, 2, 3]));
        assert_eq!(made.state(), wire::AttachmentState::Uploading);
        let parts: Vec<&[u8]> = bytes.chunks(PART).collect();
        // In any order, and again.
        assert_eq!(put(&ada, &made.id, 3, parts[2]).await.unwrap().missing_parts, [1, 2]);
        assert_eq!(put(&ada, &made.id, 1, parts[0]).await.unwrap().missing_parts, [2]);
        assert_eq!(put(&ada, &made.id, 3, parts[2]).await.unwrap().missing_parts, [2]);
        assert_eq!(refused(complete(&ada, &made.id).await), "ATTACHMENT_INCOMPLETE");
        assert_eq!(refused(link(&ada, &made.id).await), "ATTACHMENT_INCOMPLETE");
        assert_eq!(put(&ada, &made.id, 2, parts[1]).await.unwrap().missing_parts, [0_i32; 0]);
        let done = complete(&ada, &made.id).await.unwrap();
        assert_eq!(done.state(), wire::AttachmentState::Available);
        assert_eq!(done.media_type, "application/octet-stream");
        // Nobody else has it before a message has.
        assert_eq!(refused(link(&ben, &made.id).await), "NOT_FOUND");
        let (status, _, own) = fetch(&t, &link(&ada, &made.id).await.unwrap(), None).await;
        assert_eq!((status, own == bytes), (StatusCode::OK, true));

        let mut client = Client::open(&t, &ben, Kind::Subscribe, vec![from(&thread.id, 0)]).await.unwrap();
        client.live().await;
        let sent = send(&ada, with(&thread.id, "", &[&made.id])).await.unwrap();
        let told = [wire::MessageAttachment {
            id: made.id.clone(),
            file_name: "Überblick 2026.bin".to_owned(),
            media_type: "application/octet-stream".to_owned(),
            size_bytes: i64::try_from(bytes.len()).unwrap(),
            has_preview: false,
        }];
        assert_eq!(sent.attachments, told);
        let Some(Change::MessageCreated(heard)) = client.event().await.change else { panic!("another event") };
        assert_eq!(heard.attachments, told);
        let read = wire::GetMessageRequest { message_id: sent.id.clone() };
        assert_eq!(ben.chat().get_message(read).await.unwrap().into_inner().message.unwrap().attachments, told);

        let url = link(&ben, &made.id).await.unwrap();
        assert!(url.starts_with(&t.url), "{url}");
        let (status, headers, got) = fetch(&t, &url, None).await;
        assert_eq!((status, got == bytes), (StatusCode::OK, true));
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-length"), bytes.len().to_string());
        assert_eq!(header("content-type"), "application/octet-stream");
        let named = "attachment; filename=\"_berblick 2026.bin\"; filename*=UTF-8''%C3%9Cberblick%202026.bin";
        assert_eq!(header("content-disposition"), named);
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
        assert!(header("cache-control").starts_with("private"));
        let (status, headers, part) = fetch(&t, &url, Some("bytes=262140-262149")).await;
        assert_eq!((status, part.as_slice()), (StatusCode::PARTIAL_CONTENT, &bytes[262_140..262_150]));
        assert_eq!(headers["content-range"], format!("bytes 262140-262149/{}", bytes.len()));
        let (status, headers, _) = fetch(&t, &url, Some("bytes=9999999-")).await;
        assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(headers["content-range"], format!("bytes */{}", bytes.len()));
        let head = t.http.head(&url).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.headers()["content-length"], bytes.len().to_string());
        // What came in parts is kept once.
        t.run_jobs().await;
        assert_eq!(kept(&t).len(), 1);
        assert_eq!(counted(&t, &ada).await, (1, i64::try_from(bytes.len()).unwrap()));
    }

    async fn what_is_done_again_is_done_once(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let bytes = large();
        let request = announce(&thread.id, "a.bin", &bytes);
        let made = begin(&ada, request.clone()).await.unwrap();
        put(&ada, &made.id, 2, &bytes[PART..2 * PART]).await.unwrap();
        // Whoever lost the answer asks again and hears how far it came.
        let again = begin(&ada, request.clone()).await.unwrap();
        assert_eq!((again.id.as_str(), again.missing_parts.as_slice()), (made.id.as_str(), [1, 3].as_slice()));
        let other = wire::CreateAttachmentRequest { file_name: "b.bin".to_owned(), ..request };
        assert_eq!(refused(begin(&ada, other).await), "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused(put(&ada, &made.id, 2, &bytes[..PART]).await), "PART_DIFFERS");
        put(&ada, &made.id, 1, &bytes[..PART]).await.unwrap();
        put(&ada, &made.id, 3, &bytes[2 * PART..]).await.unwrap();
        let done = complete(&ada, &made.id).await.unwrap();
        assert_eq!(complete(&ada, &made.id).await.unwrap(), done);
        assert_eq!(put(&ada, &made.id, 1, &bytes[..PART]).await.unwrap(), done);
        t.run_jobs().await;
        assert_eq!(complete(&ada, &made.id).await.unwrap(), done);

        let request = with(&thread.id, "once", &[&made.id]);
        let sent = send(&ada, request.clone()).await.unwrap();
        let answer = ada.chat().send_message(request.clone()).await.unwrap().into_inner();
        assert_eq!((answer.duplicate, answer.message), (true, Some(sent)));
        let without = wire::SendMessageRequest { attachment_ids: Vec::new(), ..request };
        assert_eq!(refused(send(&ada, without).await), "IDEMPOTENCY_KEY_REUSED");
    }

    async fn a_file_is_sent_by_whoever_brought_it_where_it_was_brought_and_once(t: App) {
        let (ada, ben, thread) = thread_of_two(&t).await;
        let file = upload(&ada, &thread.id, "a.txt", b"words").await;
        let elsewhere = open_thread(&ada, "").await;
        let begun = begin(&ada, announce(&thread.id, "b.txt", b"later")).await.unwrap();
        let nothing = t.world.id::<()>().to_string();
        for (who, thread_id, ids, expected) in [
            (&ben, &thread.id, vec![file.id.as_str()], "NOT_FOUND"),
            (&ada, &elsewhere.id, vec![&file.id], "NOT_FOUND"),
            (&ada, &thread.id, vec![&file.id, &nothing], "NOT_FOUND"),
            (&ada, &thread.id, vec![&file.id, &begun.id], "ATTACHMENT_INCOMPLETE"),
        ] {
            assert_eq!(refused(send(who, with(thread_id, "x", &ids)).await), expected);
        }
        // What was refused took nothing: it can still be sent, also over a stream.
        let Ok(mut client) = Client::open(&t, &ada, Kind::Converse, vec![from(&thread.id, 0)]).await else {
            panic!("no stream")
        };
        client.live().await;
        client.say(Say::SendMessage(wire::MessageDraft {
            thread_id: thread.id.clone(),
            client_message_id: key(),
            attachment_ids: vec![file.id.clone()],
            ..Default::default()
        }));
        let heard = loop {
            if let Some(Change::MessageCreated(heard)) = client.event().await.change {
                break heard;
            }
        };
        assert_eq!((heard.text.as_str(), heard.attachments[0].file_name.as_str()), ("", "a.txt"));
        assert_eq!(refused(send(&ada, with(&thread.id, "x", &[&file.id])).await), "ATTACHMENT_USED");
        // A reader brings nothing.
        let reads = wire::AddThreadMemberRequest {
            thread_id: thread.id.clone(),
            account_id: ben.account_id.to_string(),
            role: wire::ThreadRole::Reader.into(),
            ..Default::default()
        };
        ada.chat().add_thread_member(reads).await.unwrap();
        assert_eq!(refused(begin(&ben, announce(&thread.id, "c.txt", b"c")).await), "THREAD_READ_ONLY");
        assert!(link(&ben, &file.id).await.is_ok());
    }

    async fn a_link_lives_five_minutes_and_gives_nothing_out_that_was_deleted(t: App) {
        let (ada, ben, thread) = thread_of_two(&t).await;
        let file = upload(&ada, &thread.id, "a.txt", b"words").await;
        let sent = send(&ada, with(&thread.id, "look", &[&file.id])).await.unwrap();
        let url = link(&ben, &file.id).await.unwrap();
        let status = |url: String| { let t = &t; async move { fetch(t, &url, None).await.0 } };
        assert_eq!(status(url.clone()).await, StatusCode::OK);
        let forged = format!("{}B", &url[..url.len() - 1]);
        for wrong in [forged, format!("{}/attachments/x", t.url), format!("{}/attachments/", t.url)] {
            assert_eq!(status(wrong).await, StatusCode::NOT_FOUND);
        }
        t.advance(Duration::from_secs(300));
        assert_eq!(status(url).await, StatusCode::NOT_FOUND);

        // Whoever leaves makes no more links; one that they have is theirs until it expires.
        let url = link(&ben, &file.id).await.unwrap();
        let leave = wire::RemoveThreadMemberRequest { thread_id: thread.id.clone(), ..Default::default() };
        ben.chat().remove_thread_member(leave).await.unwrap();
        assert_eq!(refused(link(&ben, &file.id).await), "NOT_FOUND");
        assert_eq!(status(url.clone()).await, StatusCode::OK);

        let delete = wire::DeleteMessageRequest { message_id: sent.id.clone(), ..Default::default() };
        ada.chat().delete_message(delete).await.unwrap();
        assert_eq!(status(url).await, StatusCode::NOT_FOUND);
        assert_eq!(refused(link(&ada, &file.id).await), "NOT_FOUND");
        let read = wire::GetMessageRequest { message_id: sent.id };
        assert!(ada.chat().get_message(read).await.unwrap().into_inner().message.unwrap().attachments.is_empty());
        let past = wire::ListEventsRequest { thread_id: thread.id.clone(), ..Default::default() };
        let past = ada.chat().list_events(past).await.unwrap().into_inner().events;
        assert!(!format!("{past:?}").contains("a.txt"), "{past:?}");
        assert_eq!(kept(&t).len(), 2, "the part and the whole");
        t.run_jobs().await;
        assert!(kept(&t).is_empty());
        assert_eq!(counted(&t, &ada).await, (1, 0));
        // The row stays while somebody may still be writing.
        t.advance(Duration::from_secs(3_600));
        t.run_jobs().await;
        assert_eq!(counted(&t, &ada).await, (0, 0));
    }

    async fn with_a_thread_its_files_go(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let file = upload(&ada, &thread.id, "a.txt", b"words").await;
        send(&ada, with(&thread.id, "look", &[&file.id])).await.unwrap();
        upload(&ada, &thread.id, "b.txt", b"not sent").await;
        let begun = begin(&ada, announce(&thread.id, "c.bin", &large())).await.unwrap();
        put(&ada, &begun.id, 1, &large()[..PART]).await.unwrap();
        let url = link(&ada, &file.id).await.unwrap();
        let delete = wire::DeleteThreadRequest { thread_id: thread.id.clone(), ..Default::default() };
        ada.chat().delete_thread(delete).await.unwrap();
        assert_eq!(refused(link(&ada, &file.id).await), "NOT_FOUND");
        assert_eq!(refused(put(&ada, &begun.id, 1, &large()[..PART]).await), "NOT_FOUND");
        t.run_jobs().await;
        assert_eq!(fetch(&t, &url, None).await.0, StatusCode::NOT_FOUND);
        assert!(kept(&t).is_empty(), "{:?}", kept(&t));
        assert_eq!(counted(&t, &ada).await, (3, 0));
        t.advance(Duration::from_secs(3_600));
        t.run_jobs().await;
        assert_eq!(counted(&t, &ada).await, (0, 0));
    }

    async fn what_was_said_with_a_file_is_held_with_its_bytes(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let file = upload(&ada, &thread.id, "a.txt", b"words").await;
        let sent = send(&ada, with(&thread.id, "look", &[&file.id])).await.unwrap();
        upload(&ada, &thread.id, "unsent.txt", b"unsent").await;
        t.run_jobs().await;
        let delete = wire::DeleteMessageRequest { message_id: sent.id, request_id: key() };
        ada.chat().delete_message(delete).await.unwrap();
        let decide = |legal_hold_reason: &str| wire::UpdateChatPolicyRequest {
            policy: Some(wire::ChatPolicy {
                legal_hold_reason: legal_hold_reason.to_owned(),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["legal_hold_reason".to_owned()] }),
            request_id: key(),
            ..Default::default()
        };
        ada.chat().update_chat_policy(decide("case 7")).await.unwrap();
        t.advance(Duration::from_secs(24 * 3_600));
        assert_eq!(t.node.chat.expire_attachments(10).await.unwrap(), 1);
        t.run_jobs().await;
        assert_eq!(kept(&t).len(), 1, "{:?}", kept(&t));
        let ada = t.refresh(&ada).await;
        ada.chat().update_chat_policy(decide("")).await.unwrap();
        t.advance(Duration::from_secs(24 * 3_600));
        t.run_jobs().await;
        assert!(kept(&t).is_empty(), "{:?}", kept(&t));
    }

    async fn what_nobody_sends_goes_after_a_day(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let sent = upload(&ada, &thread.id, "sent.txt", b"sent").await;
        send(&ada, with(&thread.id, "look", &[&sent.id])).await.unwrap();
        let whole = upload(&ada, &thread.id, "whole.txt", b"whole").await;
        let begun = begin(&ada, announce(&thread.id, "begun.txt", b"begun")).await.unwrap();
        put(&ada, &begun.id, 1, b"begun").await.unwrap();
        t.run_jobs().await;
        t.advance(Duration::from_secs(24 * 3_600 - 1));
        assert_eq!(t.node.chat.expire_attachments(10).await.unwrap(), 0);
        t.advance(Duration::from_secs(1));
        let ada = t.refresh(&ada).await;
        // Nothing that is overdue is taken, whether it was swept already or not.
        assert_eq!(refused(send(&ada, with(&thread.id, "late", &[&whole.id])).await), "NOT_FOUND");
        assert_eq!(refused(complete(&ada, &begun.id).await), "NOT_FOUND");
        assert_eq!(t.node.chat.expire_attachments(1).await.unwrap(), 1);
        assert_eq!(t.node.chat.expire_attachments(10).await.unwrap(), 1);
        assert_eq!(t.node.chat.expire_attachments(10).await.unwrap(), 0);
        t.run_jobs().await;
        t.advance(Duration::from_secs(3_600));
        t.run_jobs().await;
        let ada = t.refresh(&ada).await;
        assert_eq!(counted(&t, &ada).await, (1, 4));
        assert_eq!(kept(&t).len(), 1);
        assert_eq!(fetch(&t, &link(&ada, &sent.id).await.unwrap(), None).await.2, b"sent");
    }

    async fn how_much_is_stored_depends_on_what_was_bought(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let of = |size_bytes| wire::CreateAttachmentRequest { size_bytes, ..announce(&thread.id, "a", b"a") };
        let status = begin(&ada, of((10 << 20) + 1)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "ATTACHMENT_TOO_LARGE"));
        begin(&ada, of(10 << 20)).await.unwrap();
        let mut tx = t.db.begin(Scope::Organization(ada.organization_id)).await.unwrap();
        let full = tx.sql("UPDATE attachment_usage SET stored_bytes = $2 WHERE organization_id = $1");
        full.bind(ada.organization_id).bind((1_i64 << 30) - 10).execute().await.unwrap();
        tx.commit().await.unwrap();
        // Of two that take the last room, one gets it.
        let (one, other) = tokio::join!(begin(&ada, of(6)), begin(&ada, of(6)));
        assert!(one.is_ok() != other.is_ok());
        let status = one.and(other).unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "STORAGE_FULL"));
        assert_eq!(counted(&t, &ada).await.1, (1 << 30) - 4);
        t.subscribe(&ada, "pro").await;
        begin(&ada, of(25 << 20)).await.unwrap();
        assert_eq!(refused(begin(&ada, of((25 << 20) + 1)).await), "ATTACHMENT_TOO_LARGE");
    }

    async fn what_cannot_be_completed_counts_for_nothing(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let other = begin(&ada, announce(&thread.id, "other.txt", b"words")).await.unwrap();
        put(&ada, &other.id, 1, b"SWORD").await.unwrap();
        let cut = picture(ImageFormat::Png)[..100].to_vec();
        let picture = begin(&ada, announce(&thread.id, "cut.png", &cut)).await.unwrap();
        put(&ada, &picture.id, 1, &cut).await.unwrap();
        let partly = begin(&ada, announce(&thread.id, "partly.txt", &large())).await.unwrap();
        let large = i64::try_from(large().len()).unwrap();
        assert_eq!(counted(&t, &ada).await.1, 5 + 100 + large);
        assert_eq!(refused(complete(&ada, &other.id).await), "CONTENT_DIFFERS");
        assert_eq!(refused(complete(&ada, &picture.id).await), "PICTURE_UNREADABLE");
        assert_eq!(refused(complete(&ada, &partly.id).await), "ATTACHMENT_INCOMPLETE");
        assert_eq!(counted(&t, &ada).await.1, large, "what may still be completed counts");
        // No other bytes can come for it.
        assert_eq!(refused(complete(&ada, &other.id).await), "NOT_FOUND");
        assert_eq!(refused(put(&ada, &other.id, 1, b"words").await), "NOT_FOUND");
        t.run_jobs().await;
        assert!(kept(&t).is_empty(), "{:?}", kept(&t));
        assert_eq!(counted(&t, &ada).await.1, large, "it is not taken off twice");
        t.advance(Duration::from_secs(3_600));
        t.run_jobs().await;
        assert_eq!(counted(&t, &ada).await, (1, large));
    }

    async fn a_picture_is_shown_and_has_a_preview(t: App) {
        let (ada, ben, thread) = thread_of_two(&t).await;
        let came = picture(ImageFormat::Jpeg);
        let file = upload(&ada, &thread.id, "holiday.html", &came).await;
        assert_eq!(file.media_type, "image/jpeg");
        let sent = send(&ada, with(&thread.id, "look", &[&file.id])).await.unwrap();
        assert!(sent.attachments[0].has_preview);
        let (_, headers, got) = fetch(&t, &link(&ben, &file.id).await.unwrap(), None).await;
        assert_eq!(headers["content-type"], "image/jpeg");
        assert_eq!(i64::try_from(got.len()).unwrap(), sent.attachments[0].size_bytes);
        assert!(headers["content-disposition"].to_str().unwrap().starts_with("inline; "));
        let url = link_of(&ben, &file.id, wire::AttachmentVariant::Preview).await.unwrap();
        let (_, headers, small) = fetch(&t, &url, None).await;
        assert_eq!(headers["content-type"], "image/jpeg");
        let small = image::load_from_memory(&small).unwrap();
        assert_eq!((small.width(), small.height()), (512, 256));
        let words = upload(&ada, &thread.id, "a.png", b"words").await;
        assert_eq!(words.media_type, "text/plain; charset=utf-8");
        let preview = link_of(&ada, &words.id, wire::AttachmentVariant::Preview).await;
        assert_eq!(refused(preview), "ATTACHMENT_HAS_NO_PREVIEW");
    }
}

/// Until a scanner has looked into a file, nobody has it but whoever brought it.
async fn a_file_is_had_by_others_once_it_was_looked_into(engine: Engine) {
    let scanner = ClamdServer::start().await;
    let t = App::start_with(engine, |config| config.scan = scanner.route()).await;
    let (ada, ben, thread) = thread_of_two(&t).await;
    let harm = [b"looks fine ", HARM].concat();
    let good = upload(&ada, &thread.id, "good.txt", b"good").await;
    let bad = upload(&ada, &thread.id, "bad.txt", &harm).await;
    let unsent = upload(&ada, &thread.id, "unsent.txt", &harm).await;
    assert_eq!(good.state(), wire::AttachmentState::Scanning);
    let sent = send(&ada, with(&thread.id, "both", &[&good.id, &bad.id])).await.unwrap();
    let own = link(&ada, &bad.id).await.unwrap();
    assert_eq!(fetch(&t, &own, None).await.2, harm);
    let status = link(&ben, &good.id).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "ATTACHMENT_BEING_SCANNED"));

    // A scanner that gives no verdict is asked again.
    scanner.is_ill(true);
    t.run_jobs().await;
    assert_eq!(refused(link(&ben, &good.id).await), "ATTACHMENT_BEING_SCANNED");
    scanner.is_ill(false);
    let mut client = Client::open(&t, &ben, Kind::Subscribe, vec![from(&thread.id, sent.seq)]).await.unwrap();
    client.live().await;
    t.advance(Duration::from_secs(60));
    t.run_jobs().await;
    let mut settled = Vec::new();
    for _ in 0..2 {
        let Some(Change::AttachmentSettled(event)) = client.event().await.change else {
            panic!("another event")
        };
        assert_eq!(event.message_id, sent.id);
        settled.push((event.attachment_id, event.refused));
    }
    settled.sort();
    let mut expected = vec![(good.id.clone(), false), (bad.id.clone(), true)];
    expected.sort();
    assert_eq!(settled, expected);
    assert_eq!(fetch(&t, &link(&ben, &good.id).await.unwrap(), None).await.2, b"good");
    assert_eq!(refused(link(&ben, &bad.id).await), "ATTACHMENT_REFUSED");
    assert_eq!(refused(link(&ada, &bad.id).await), "ATTACHMENT_REFUSED");
    assert_eq!(fetch(&t, &own, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(refused(send(&ada, with(&thread.id, "x", &[&unsent.id])).await), "ATTACHMENT_REFUSED");
    assert!(scanner.scanned().contains(&harm));
    // What is clean before it is sent is told of by nothing but its message.
    let third = upload(&ada, &thread.id, "third.txt", b"third").await;
    t.run_jobs().await;
    let sent = send(&ada, with(&thread.id, "third", &[&third.id])).await.unwrap();
    let Some(Change::MessageCreated(heard)) = client.event().await.change else { panic!("another event") };
    assert_eq!(heard.id, sent.id);
    assert!(link(&ben, &third.id).await.is_ok());
    harm_is_written_down(&t, &ada, [bad.id, unsent.id]).await;
    let bytes = 4 + 2 * harm.len() + 5;
    are_counted(&t, [("completed", 4), ("spoilt", 0), ("clean", 2), ("harmful", 2), ("unscanned", 3)], bytes)
        .await;
}

/// What does harm is in the log of the organisation.
async fn harm_is_written_down(t: &App, ada: &Person, files: [String; 2]) {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let entries: Vec<(String, String, String, Uuid)> = conn
        .sql(
            "SELECT actor_kind, risk, subject_kind, subject_id FROM audit_events
             WHERE action = 'chat.refuse_attachment' AND organization_id = $1",
        )
        .bind(ada.organization_id)
        .all()
        .await
        .unwrap();
    let ids: BTreeSet<_> = entries.iter().map(|(_, _, _, id)| id.to_string()).collect();
    assert_eq!(ids, BTreeSet::from(files));
    let about = |(actor, risk, kind, _): &(String, String, String, Uuid)| {
        (actor.as_str(), risk.as_str(), kind.as_str()) == ("platform", "high", "attachment")
    };
    assert!(entries.iter().all(about), "{entries:?}");
}

/// The counters tell of all files.
async fn are_counted(t: &App, outcomes: [(&str, u64); 5], bytes: usize) {
    let page =
        t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap();
    for (outcome, count) in outcomes {
        let line = format!("capecontrol_attachments_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(page.contains(&line), "{line} is not in {page}");
    }
    let line = format!("capecontrol_attachment_bytes_total {bytes}\n");
    assert!(page.contains(&line), "{line} is not in {page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_had_by_others_once_it_was_looked_into_sqlite() {
    a_file_is_had_by_others_once_it_was_looked_into(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_had_by_others_once_it_was_looked_into_postgres() {
    a_file_is_had_by_others_once_it_was_looked_into(Engine::Postgres).await;
}
