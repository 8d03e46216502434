//! Finding, keeping apart, reporting and taking away, over real sockets.

use capecontrol::proto::capecontrol::chat::v1 as wire;
use serde_json::Value;

use super::{open_thread, reason, send, wrong_fields};
use crate::support::{App, Person, on_both};

async fn search(who: &Person, query: &str, page_token: &str) -> wire::SearchMessagesResponse {
    let (query, page_token) = (query.to_owned(), page_token.to_owned());
    let request = wire::SearchMessagesRequest { query, page_token, page_size: 1, ..Default::default() };
    who.chat().search_messages(request).await.unwrap().into_inner()
}

on_both! {
    async fn what_was_said_is_found_and_marked(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let long = format!("{}Die môre is mooi{}", "woord ".repeat(60), " en lank".repeat(60));
        let first = send(&ada, &thread.id, &long).await;
        t.advance(std::time::Duration::from_secs(1));
        send(&ada, &thread.id, "môre").await;
        let page = search(&ada, "MORE", "").await;
        assert_eq!(page.messages[0].snippet.as_ref().unwrap().text, "môre");
        let page = search(&ada, "MORE", &page.next_page_token).await;
        let found = &page.messages[0];
        assert_eq!((&found.message_id, &found.thread_id, found.seq), (&first.id, &thread.id, first.seq));
        let snippet = found.snippet.as_ref().unwrap();
        assert!(snippet.cut_before && snippet.cut_after && page.next_page_token.is_empty());
        let bytes = |at: i32| usize::try_from(at).unwrap();
        let marked = snippet.marks.iter().map(|mark| &snippet.text[bytes(mark.start)..bytes(mark.end)]);
        assert_eq!(marked.collect::<Vec<_>>(), ["môre"]);
        for query in ["", "-môre", "!?"] {
            let request = wire::SearchMessagesRequest { query: query.to_owned(), ..Default::default() };
            assert_eq!(wrong_fields(&ada.chat().search_messages(request).await.unwrap_err()), ["query"]);
        }
    }

    async fn a_thread_comes_as_a_file(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        for number in 0..60 {
            send(&ada, &thread.id, &format!("message {number}")).await;
        }
        let request = wire::ExportThreadRequest { thread_id: thread.id };
        let mut parts = ada.chat().export_thread(request).await.unwrap().into_inner();
        let mut file = Vec::new();
        while let Some(part) = parts.message().await.unwrap() {
            file.extend(part.chunk);
        }
        let file = String::from_utf8(file).unwrap();
        let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1 + 1 + 60 + 1);
        assert_eq!((&lines[0]["type"], &lines[62]["events"]), (&"thread".into(), &60.into()));
    }

    async fn nobody_blocks_themselves_or_reports_without_a_reason(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada, "").await;
        let message_id = send(&ada, &thread.id, "odd").await.id;
        let account_id = ada.account_id.to_string();
        let block = wire::BlockAccountRequest { account_id: account_id.clone(), ..Default::default() };
        assert_eq!(wrong_fields(&ada.chat().block_account(block).await.unwrap_err()), ["account_id"]);
        let unblock = wire::UnblockAccountRequest { account_id, ..Default::default() };
        assert_eq!(reason(&ada.chat().unblock_account(unblock).await.unwrap_err()), "NOT_FOUND");
        let report = wire::ReportMessageRequest { message_id, ..Default::default() };
        assert_eq!(wrong_fields(&ada.chat().report_message(report.clone()).await.unwrap_err()), ["reason"]);
        let other = wire::ReportMessageRequest { reason: wire::ReportReason::Other.into(), ..report.clone() };
        assert_eq!(wrong_fields(&ada.chat().report_message(other).await.unwrap_err()), ["comment"]);
        let spam = wire::ReportMessageRequest { reason: wire::ReportReason::Spam.into(), ..report };
        let first = ada.chat().report_message(spam.clone()).await.unwrap().into_inner();
        assert_eq!(ada.chat().report_message(spam).await.unwrap().into_inner(), first);
    }
}
