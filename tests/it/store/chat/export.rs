//! Threads that are taken away as files.

use capecontrol::auth::Caller;
use capecontrol::base::{Fault as _, fault};
use capecontrol::chat::Error;
use capecontrol::chat::model::member::ThreadRole;
use capecontrol::chat::model::{Edit, ThreadId};
use capecontrol::db::{Conn as _, Scope};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::bench::{Node, join, no_thread, quick};
use crate::support::{Fixture, on_both};

/// The parts of an export.
async fn parts(node: &Node, caller: &Caller, thread_id: ThreadId) -> Result<Vec<Vec<u8>>, Error> {
    let (mut exporting, mut parts) = (node.chat.export_thread(caller.clone(), thread_id).await?, Vec::new());
    while let Some((part, next)) = node.chat.export_on(exporting).await? {
        parts.push(part);
        exporting = next;
    }
    Ok(parts)
}

fn lines(file: &str) -> Vec<Value> {
    file.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

on_both! {
    async fn an_export_is_whole_and_says_so(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let thread = node.thread(&ada, None).await;
        let role = ThreadRole::Reader;
        node.chat.add_thread_member(&ada, thread.id, ben.account().unwrap(), role, None).await.unwrap();
        for number in 0..120 {
            node.send(&ada, thread.id, &format!("message\n{number}")).await;
        }
        let secret = node.send(&ada, thread.id, "a secret").await.message.id;
        node.chat.edit(&ada, Edit { message_id: secret, text: "the secret".to_owned() }, None).await.unwrap();
        node.chat.delete(&ada, secret, None).await.unwrap();

        // Also somebody who only reads may keep what they read.
        let parts = parts(&node, &ben, thread.id).await.unwrap();
        assert!(parts.len() > 4, "the events come in several parts");
        let file = String::from_utf8(parts.concat()).unwrap();
        assert!(!file.contains("secret") && file.ends_with('\n'));
        let lines = lines(&file);
        let (head, end) = (&lines[0], lines.last().unwrap());
        assert_eq!((&head["type"], &head["thread"]["title"]), (&json!("thread"), &json!("Talk")));
        assert_eq!(head["up_to_seq"], json!(124));
        let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
        let members: Vec<_> = of("member").iter().map(|line| line["role"].clone()).collect();
        assert_eq!(members.len(), 2);
        assert!(members.contains(&json!("owner")) && members.contains(&json!("reader")));
        let positions: Vec<_> = of("event").iter().map(|line| line["seq"].as_i64().unwrap()).collect();
        assert_eq!(positions, (1..=124).collect::<Vec<_>>());
        assert_eq!(of("event")[1]["change"]["message_created"]["text"], json!("message\n0"));
        let (before, last) = file.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(serde_json::from_str::<Value>(last).unwrap(), *end);
        let digest = Sha256::digest(format!("{before}\n").as_bytes());
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(*end, json!({ "type": "end", "lines": 127, "events": 124, "sha256": sha256 }));
    }

    async fn an_export_ends_with_the_membership_of_its_reader(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let thread = node.thread(&ada, None).await;
        for id in [thread.id, no_thread()] {
            assert_eq!(parts(&node, &ben, id).await.unwrap_err().reason(), &fault::NOT_FOUND);
        }
        let (who, role) = (ben.account().unwrap(), ThreadRole::Member);
        node.chat.add_thread_member(&ada, thread.id, who, role, None).await.unwrap();
        let exporting = node.chat.export_thread(ben.clone(), thread.id).await.unwrap();
        let (_, exporting) = node.chat.export_on(exporting).await.unwrap().unwrap();
        node.chat.remove_thread_member(&ada, thread.id, Some(who), None).await.unwrap();
        assert_eq!(node.chat.export_on(exporting).await.unwrap_err().reason(), &fault::NOT_FOUND);
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let count = conn.sql("SELECT count(*) FROM audit_events WHERE action = 'chat.export_thread'");
        assert_eq!(count.one::<(i64,)>().await.unwrap(), (1,), "what was begun is written down");
    }

    async fn what_is_written_meanwhile_is_not_in_it(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let thread = node.thread(&ada, None).await;
        node.send(&ada, thread.id, "before").await;
        let mut exporting = node.chat.export_thread(ada.clone(), thread.id).await.unwrap();
        node.send(&ada, thread.id, "after").await;
        let mut file = Vec::new();
        while let Some((part, next)) = node.chat.export_on(exporting).await.unwrap() {
            file.extend(part);
            exporting = next;
        }
        let file = String::from_utf8(file).unwrap();
        assert!(file.contains("before") && !file.contains("after") && file.contains("\"events\":1"), "{file}");
    }
}
