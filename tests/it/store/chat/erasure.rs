//! Taking back all that a person wrote.

use capecontrol::auth::Caller;
use capecontrol::base::{Fault as _, fault};
use capecontrol::chat::Operator;
use capecontrol::chat::model::Edit;
use capecontrol::chat::service::CreateThread;
use capecontrol::db::{Conn as _, Scope};

use super::bench::{Node, join, quick};
use super::streams::{Client, Kind, from};
use crate::support::{Fixture, audit_log, on_both};

on_both! {
    async fn of_what_a_person_wrote_nothing_is_left_and_of_others_all_of_it(t: Fixture) {
        let node = Node::start(&t, quick()).await;
        let (ada, ben) = (node.somebody("ada@example.com").await, node.somebody("ben@example.com").await);
        join(&t, &ben, &ada).await;
        let members = vec![ben.account().unwrap()];
        let command = CreateThread { members, ..CreateThread::default() };
        let shared = node.chat.create_thread(&ada, command, None).await.unwrap().thread.id;
        let own = node.thread(&ben, None).await.id;
        // More than are looked up at a time.
        for number in 0..103 {
            node.send(&ben, own, &format!("secret {number}")).await;
        }
        let message_id = node.send(&ben, shared, "secret one").await.message.id;
        node.chat.edit(&ben, Edit { message_id, text: "secret two".to_owned() }, None).await.unwrap();
        node.send(&ada, shared, "harmless").await;
        let left = node.send(&ben, shared, "secret three").await.message.id;
        node.chat.delete(&ben, left, None).await.unwrap();

        let operator = Operator::new(t.db.clone(), t.world.clone(), audit_log(&t.world));
        let account = ben.account().unwrap();
        let refused = operator.erase_messages(&ada, account).await.unwrap_err();
        assert_eq!(refused.reason(), &fault::PERMISSION_DENIED);
        let mut adas = Client::open(&node, &ada, Kind::Subscribe, vec![from(shared, 5)]).await.unwrap();
        adas.live().await;
        operator.erase_messages(&Caller::system("test"), account).await.unwrap();
        operator.erase_messages(&Caller::system("test"), account).await.unwrap();
        node.worker(&t).run_due().await.unwrap();

        let told = format!("{:?}", node.events(&ada, shared).await);
        assert!(!told.contains("secret") && told.contains("harmless"), "{told}");
        assert!(!format!("{:?}", node.events(&ben, own).await).contains("secret"));
        assert_eq!(node.events(&ben, own).await.len(), 206, "each was taken back once");
        assert_eq!(node.events(&ada, shared).await.len(), 6, "and what was deleted before is left alone");
        // Whoever follows the thread is told as of any deletion.
        assert_eq!(adas.event().await.seq, 6);
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let words = conn.sql("SELECT count(*) FROM message_words").one::<(i64,)>().await.unwrap();
        assert_eq!(words, (1,), "only of what was harmless");
    }
}
