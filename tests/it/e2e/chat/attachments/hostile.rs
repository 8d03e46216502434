//! What somebody tries who means no good.

use capecontrol::base::Id;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use http::StatusCode;
use image::ImageFormat;
use tonic::Code;

use super::{
    PART, announce, begin, complete, fetch, kept, large, link, picture, put, reason, refused, send,
    thread_of_two, upload, with, wrong_fields,
};
use crate::support::{App, on_both};

on_both! {
    async fn a_page_or_a_script_is_handed_out_to_be_saved(t: App) {
        let (ada, ben, thread) = thread_of_two(&t).await;
        for (name, bytes) in [
            ("a.png", b"<!DOCTYPE html><script>alert(1)</script>".as_slice()),
            ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
            ("a.html", b"<html><body onload=alert(1)>"),
            ("a.pdf", b"%PDF-1.7 <script>"),
            ("a.gif", b"MZ\x90\x00GIF89a"),
        ] {
            let file = upload(&ada, &thread.id, name, bytes).await;
            send(&ada, with(&thread.id, name, &[&file.id])).await.unwrap();
            let (status, headers, got) = fetch(&t, &link(&ben, &file.id).await.unwrap(), None).await;
            assert_eq!((status, got.as_slice()), (StatusCode::OK, bytes));
            let kind = headers["content-type"].to_str().unwrap();
            assert!(!kind.contains("html") && !kind.contains("svg") && !kind.contains("image"), "{name}: {kind}");
            assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment; "), "{name}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
        }
    }

    async fn what_hides_behind_a_picture_is_not_given_out(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP] {
            let bytes = [picture(format), b"PK\x03\x04<script>alert(1)</script>".to_vec()].concat();
            let file = upload(&ada, &thread.id, "a.jpg.html", &bytes).await;
            assert_eq!(file.media_type, format.to_mime_type());
            let (_, _, got) = fetch(&t, &link(&ada, &file.id).await.unwrap(), None).await;
            assert!(!got.windows(8).any(|window| window == b"<script>"), "{format:?}");
            assert!(image::load_from_memory_with_format(&got, format).is_ok());
        }
    }

    async fn a_picture_that_is_none_or_unpacks_into_too_much_is_not_completed(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        // A GIF that says of itself that it has a picture of 65,535 by 65,535 pixels.
        let frame = b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;".as_slice();
        let bomb = [b"GIF89a\xff\xff\xff\xff\x00\x00\x00".as_slice(), frame].concat();
        for bytes in [b"\x89PNG\r\n\x1a\nno picture".to_vec(), b"\xff\xd8\xff\xe0".to_vec(), bomb] {
            let made = begin(&ada, announce(&thread.id, "a.png", &bytes)).await.unwrap();
            put(&ada, &made.id, 1, &bytes).await.unwrap();
            assert_eq!(refused(complete(&ada, &made.id).await), "PICTURE_UNREADABLE");
            assert_eq!(refused(send(&ada, with(&thread.id, "x", &[&made.id])).await), "NOT_FOUND");
        }
    }

    async fn other_bytes_than_were_announced_are_not_taken(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        let made = begin(&ada, announce(&thread.id, "a.bin", &large())).await.unwrap();
        for (number, length) in [(0, PART), (4, PART), (1, PART - 1), (1, PART + 1), (3, PART), (3, 0)] {
            let status = put(&ada, &made.id, number, &vec![0; length]).await.unwrap_err();
            let field = if length == PART && number != 3 { "part_number" } else { "data" };
            assert_eq!((reason(&status).as_str(), wrong_fields(&status)), ("INVALID_ARGUMENT", vec![field.to_owned()]));
        }
        let none = wire::UploadAttachmentPartRequest { attachment_id: made.id.clone(), part_number: -1, data: vec![] };
        assert_eq!(wrong_fields(&ada.chat().upload_attachment_part(none).await.unwrap_err()), ["part_number"]);
        assert!(kept(&t).is_empty());

        let other = begin(&ada, announce(&thread.id, "b.txt", b"words")).await.unwrap();
        put(&ada, &other.id, 1, b"swords"[1..].as_ref()).await.unwrap();
        complete(&ada, &other.id).await.unwrap();
        let other = begin(&ada, announce(&thread.id, "c.txt", b"words")).await.unwrap();
        put(&ada, &other.id, 1, b"SWORD").await.unwrap();
        assert_eq!(refused(complete(&ada, &other.id).await), "CONTENT_DIFFERS");
    }

    async fn a_name_leads_nowhere_and_breaks_out_of_no_header(t: App) {
        let (ada, _, thread) = thread_of_two(&t).await;
        for name in ["../../etc/passwd", "..\\x", "a/b", "..", "a\r\nSet-Cookie: x", "\u{202e}gpj.exe", ""] {
            let status = begin(&ada, announce(&thread.id, name, b"a")).await.unwrap_err();
            assert!(wrong_fields(&status).contains(&"file_name".to_owned()), "{name:?}");
        }
        let file = upload(&ada, &thread.id, "a\"; filename=\"b%41.exe;名.txt", b"a").await;
        let (_, headers, _) = fetch(&t, &link(&ada, &file.id).await.unwrap(), None).await;
        assert_eq!(
            headers["content-disposition"],
            "attachment; filename=\"a_; filename=_b_41.exe;_.txt\"; \
             filename*=UTF-8''a%22%3B%20filename%3D%22b%2541.exe%3B%E5%90%8D.txt"
        );
        for name in kept(&t) {
            assert!(!name.to_string_lossy().contains("filename"), "{}", name.display());
        }
    }

    async fn nobody_touches_what_somebody_else_brings(t: App) {
        let (ada, ben, thread) = thread_of_two(&t).await;
        let eve = t.register("eve@example.com").await;
        let made = begin(&ada, announce(&thread.id, "a.txt", b"words")).await.unwrap();
        let none: Id<()> = t.world.id();
        for who in [&ben, &eve] {
            for outcome in [put(who, &made.id, 1, b"other").await, complete(who, &made.id).await] {
                let of_none = complete(who, &none.to_string()).await.unwrap_err();
                let status = outcome.unwrap_err();
                assert_eq!((status.code(), status.message()), (Code::NotFound, of_none.message()));
            }
        }
        put(&ada, &made.id, 1, b"words").await.unwrap();
        complete(&ada, &made.id).await.unwrap();
        send(&ada, with(&thread.id, "look", &[&made.id])).await.unwrap();
        assert_eq!(refused(link(&eve, &made.id).await), "NOT_FOUND");
        let far = wire::CreateAttachmentRequest { thread_id: thread.id.clone(), ..announce("", "a", b"a") };
        assert_eq!(refused(begin(&eve, far).await), "NOT_FOUND");
    }
}
