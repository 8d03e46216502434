//! The real Envoy in front of a node, with the configuration that is handed out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use super::App;

/// How long Envoy may take for anything before a test gives up on it. Nothing is measured with it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running Envoy.
pub struct Edge {
    /// `http(s)://127.0.0.1:<port>`.
    pub url: String,
    /// For requests that no generated client makes.
    pub http: reqwest::Client,
    child: Child,
    folder: tempfile::TempDir,
}

/// `scripts/envoy` with settings of its own.
pub fn script(folder: &Path, command: &str, settings: &[(&str, &str)]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(root.join(".tools/bin/envoy").exists(), "Envoy is missing: `make setup` installs it");
    let descriptors = folder.join("descriptors.binpb");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_capecontrol")).arg("descriptors").output();
    std::fs::write(&descriptors, output.unwrap().stdout).unwrap();
    let mut script = Command::new(root.join("scripts/envoy"));
    script
        .arg(command)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("EDGE_LISTEN", "127.0.0.1:0")
        .env("EDGE_FOLDER", folder)
        .env("EDGE_DESCRIPTORS", descriptors)
        .env("EDGE_HEALTH_INTERVAL", "0.1s")
        .envs(settings.iter().copied())
        .kill_on_drop(true);
    script
}

/// A client that comes from an address of its own. Envoy takes 127.0.0.1 for itself, and names its machine's address.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().local_address(std::net::IpAddr::from([127, 0, 0, 2]))
}

impl Edge {
    /// Envoy in front of a node, ready to serve.
    pub async fn start(t: &App, settings: &[(&str, &str)]) -> Self {
        let http = client().build().unwrap();
        Self::start_with(t, settings, "http", http, 200).await
    }

    /// Envoy that reaches no node.
    pub async fn start_alone(t: &App) -> Self {
        let http = client().build().unwrap();
        Self::start_with(t, &[("EDGE_UPSTREAM", "127.0.0.1:1")], "http", http, 503).await
    }

    /// Envoy with a certificate of its own.
    pub async fn start_with_tls(t: &App, settings: &[(&str, &str)], http: reqwest::Client) -> Self {
        Self::start_with(t, settings, "https", http, 200).await
    }

    async fn start_with(
        t: &App,
        settings: &[(&str, &str)],
        scheme: &str,
        http: reqwest::Client,
        health: u16,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = script(folder.path(), "run", &[]);
        command
            .args(["--concurrency", "1"])
            .env("EDGE_UPSTREAM", t.url.trim_start_matches("http://"))
            .env("CAPECONTROL_SERVER__PUBLIC_URL", &t.url)
            .env("CAPECONTROL_SERVER__ALLOWED_ORIGINS", "https://app.example.com")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        let mut edge = Self { url: String::new(), http, child, folder };
        let started = async {
            let port = edge.port().await;
            edge.url = format!("{scheme}://127.0.0.1:{port}");
            edge.until_healthz_says(health).await;
        };
        assert!(tokio::time::timeout(PATIENCE, started).await.is_ok(), "{}", edge.log());
        edge
    }

    /// A connection that clients may share.
    pub fn channel(&self) -> Channel {
        Endpoint::new(self.url.clone()).unwrap().connect_lazy()
    }

    /// Where Envoy is administered.
    pub fn admin_socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// What the administration answers at this path.
    pub async fn admin(&self, path: &str) -> std::io::Result<Value> {
        let mut socket = UnixStream::connect(self.admin_socket()).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        Ok(body(&answer))
    }

    /// Waits until the route for balancers answers so.
    pub async fn until_healthz_says(&self, status: u16) {
        let asked = async {
            loop {
                let answer = self.http.get(format!("{}/edge/healthz", self.url)).send().await;
                if answer.is_ok_and(|answer| answer.status() == status) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, asked).await.is_ok(), "{}", self.log());
    }

    /// The status of the answer to a request of which every byte is ours.
    pub async fn raw(&self, request: &str) -> u16 {
        let mut socket = TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        // Only the first line: Envoy waits a while before it closes what it refused.
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).await.unwrap();
        line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }

    async fn port(&mut self) -> u64 {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("Envoy ended with {status}: {}", self.log());
            }
            let listeners = self.admin("/listeners?format=json").await.unwrap_or_default();
            let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
            if let Some(port) = address["port_value"].as_u64().filter(|port| *port != 0) {
                return port;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// The JSON in an answer of the administration, put together from its chunks.
fn body(answer: &[u8]) -> Value {
    let text = String::from_utf8_lossy(answer);
    let Some((head, mut rest)) = text.split_once("\r\n\r\n") else { return Value::Null };
    if !head.contains("chunked") {
        return serde_json::from_str(rest).unwrap_or_default();
    }
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size @ 1..) = usize::from_str_radix(size.trim(), 16) else { break };
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    serde_json::from_str(&whole).unwrap_or_default()
}
