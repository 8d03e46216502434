//! What people reported, at the command line, beside a node that serves.

use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use serde_json::{Value, json};

use super::{command, read};
use crate::process::{Node, PATIENCE, run};

async fn out_all(folder: &tempfile::TempDir) -> Value {
    let (_, out, _) = run(command(folder, &["chat", "reports", "--all", "--json"])).await;
    read(&out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_listed_and_resolved_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    node.register().await;
    let (code, out, _) = run(command(&folder, &["chat", "reports"])).await;
    assert_eq!((code, out.as_str()), (0, "There is no such report.\n"));
    let mut chat = ChatServiceClient::new(node.sign_in().await);
    let thread = chat.create_thread(wire::CreateThreadRequest::default()).await.unwrap().into_inner();
    let message = wire::SendMessageRequest {
        thread_id: thread.thread.unwrap().id,
        client_message_id: uuid::Uuid::from_u128(1).to_string(),
        text: "awful\n\u{202e}lines".to_owned(),
        ..Default::default()
    };
    let message_id = chat.send_message(message).await.unwrap().into_inner().message.unwrap().id;
    let report = wire::ReportMessageRequest {
        message_id: message_id.clone(),
        reason: wire::ReportReason::Other.into(),
        comment: "it is odd".to_owned(),
        ..Default::default()
    };
    let id = chat.report_message(report).await.unwrap().into_inner().report_id;

    let (code, out, _) = run(command(&folder, &["chat", "reports"])).await;
    assert!(code == 0 && out.contains("awful\\n\\u{202e}lines") && out.contains("it is odd"), "{out}");
    let (_, out, _) = run(command(&folder, &["chat", "reports", "--json"])).await;
    let told = read(&out);
    assert_eq!((&told[0]["id"], &told[0]["message_id"]), (&json!(id), &json!(message_id)));
    assert_eq!((&told[0]["reason"], &told[0]["resolution"]), (&json!("other"), &json!(null)));
    let resolve = ["chat", "resolve", &id, "--as", "spoken to", "--json"];
    let (code, out, _) = run(command(&folder, &resolve)).await;
    assert_eq!((code, read(&out)), (0, json!({ "id": id, "outcome": "resolved" })));
    let (code, _, error) = run(command(&folder, &resolve)).await;
    assert!(code == 1 && error.contains("no such open report"), "{error}");
    let (_, out, _) = run(command(&folder, &["chat", "reports", "--json"])).await;
    assert_eq!(read(&out), json!([]));
    let account = out_all(&folder).await[0]["author"]["account_id"].as_str().unwrap().to_owned();
    let (code, out, _) = run(command(&folder, &["chat", "erase", "--account", &account, "--json"])).await;
    assert_eq!((code, read(&out)["outcome"].clone()), (0, json!("queued")));
    let gone = async {
        let message = wire::GetMessageRequest { message_id };
        while !chat.get_message(message.clone()).await.unwrap().into_inner().message.unwrap().text.is_empty()
        {
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    let (_, out, _) = run(command(&folder, &["chat", "reports", "--all"])).await;
    assert!(out.contains("resolved: spoken to"), "{out}");
}
