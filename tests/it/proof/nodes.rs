//! Two nodes as real processes on one database and one bus, which are killed, drained and started again.

use std::sync::Arc;

use super::line::Addresses;
use crate::process::{Node, serve};

pub struct Nodes {
    pub addresses: Arc<Addresses>,
    running: Vec<(Node, tempfile::TempDir)>,
    database_url: String,
    bus_url: String,
}

impl Nodes {
    pub async fn start(database_url: String, bus_url: String) -> Self {
        let mut nodes = Self { addresses: Arc::default(), running: Vec::new(), database_url, bus_url };
        for _ in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let node = nodes.run(&folder).await;
            nodes.addresses.write().unwrap().push(node.url.clone());
            nodes.running.push((node, folder));
        }
        nodes
    }

    pub fn first(&self) -> &Node {
        &self.running[0].0
    }

    async fn run(&self, folder: &tempfile::TempDir) -> Node {
        let mut command = serve(folder, &self.database_url);
        command.env("CAPECONTROL_BUS__URL", &self.bus_url).env("CAPECONTROL_LOG__FILTER", "error");
        // One platform: what one node signs the other takes.
        command.env("CAPECONTROL_SERVER__PUBLIC_URL", "http://127.0.0.1:1");
        Node::start(command).await
    }

    /// Kills one between two instructions, and starts it again, at another address.
    pub async fn kill(&mut self, number: usize) {
        let node = &mut self.running[number].0;
        node.signal("-KILL");
        assert!(!node.ended().await.success());
        self.start_again(number).await;
    }

    /// Has one end in good order, and starts it again, at another address.
    pub async fn drain(&mut self, number: usize) {
        let node = &mut self.running[number].0;
        node.signal("-TERM");
        assert_eq!(node.ended().await.code(), Some(0), "the drain did not end in time");
        self.start_again(number).await;
    }

    async fn start_again(&mut self, number: usize) {
        let node = self.run(&self.running[number].1).await;
        self.addresses.write().unwrap()[number].clone_from(&node.url);
        self.running[number].0 = node;
    }
}
