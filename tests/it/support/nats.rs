//! A real NATS server, on a port that the system gave it, for as long as a test wants.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

/// How long the server may take for anything before a test gives up on it. Nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs, or was killed.
pub struct NatsServer {
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl NatsServer {
    /// One that lets anybody in.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One with further arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().copied().map(str::to_owned).collect();
        let mut server = Self { child: None, port: 0, arguments, folder };
        server.run("-1").await;
        server
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it is, for whoever needs no name.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.run(&self.port.to_string()).await;
    }

    async fn run(&mut self, port: &str) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server");
        assert!(program.exists(), "the NATS server is missing: `make setup` installs it");
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir"]).arg(self.folder.path());
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        // The server writes this file when it listens.
        let told = self.folder.path().join(format!("nats-server_{}.ports", child.id().unwrap()));
        self.child = Some(child);
        let listens = async {
            loop {
                if let Some(port) = std::fs::read(&told).ok().and_then(|text| port_in(&text)) {
                    break port;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        self.port = tokio::time::timeout(PATIENCE, listens).await.unwrap();
    }
}

fn port_in(told: &[u8]) -> Option<u16> {
    let told: Value = serde_json::from_slice(told).ok()?;
    told["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}
