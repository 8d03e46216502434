//! A whole node in this process, on free ports and an empty folder.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::app::{self, App, Listeners, real};
use capecontrol::config::{Config, Sources};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::{Failure, step, verify};

/// Always the same, so that the demonstration can run again on the same database. Never for real data.
const DEMONSTRATION_KEY: &str = "ZGVtb25zdHJhdGlvbiBvbmx5LCBub3Qgc2VjcmV0ISE=";

/// How long anything may take before the demonstration gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Platform {
    pub(crate) url: String,
    pub(crate) channel: Channel,
    pub(crate) app: Arc<App>,
    serving: JoinHandle<Result<(), app::Error>>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Platform {
    pub(crate) async fn start() -> Result<Self, Failure> {
        step(1, "Start the platform on an empty data folder");
        // One TLS implementation for the process; there is none yet.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let mut config = settings(&folder)?;
        let listeners = Listeners::bind(&mut config).await?;
        let url = config.server.public_url.clone();
        println!("     data in {}, {}", config.data_dir.display(), app::describe_database(&config));
        let app = Arc::new(App::build(config, real::world()).await?);
        let stop = CancellationToken::new();
        let serving = tokio::spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { app.serve(listeners, stop).await }
        });
        let channel = Endpoint::new(url.clone())?.connect().await?;
        wait_until_serving(channel.clone()).await?;
        println!("     gRPC, gRPC-Web and HTTP on {url}");
        Ok(Self { url, channel, app, serving, stop, _folder: folder })
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        step(13, "Drain and stop");
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.serving).await???;
        verify(true, "the platform stopped in good order")
    }
}

fn settings(folder: &tempfile::TempDir) -> Result<Config, Failure> {
    let mut settings = vec![
        ("DATA_DIR", folder.path().display().to_string()),
        ("SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("OPS__LISTEN", "127.0.0.1:0".to_owned()),
        ("DATABASE__MIGRATE", "true".to_owned()),
    ];
    #[expect(
        clippy::disallowed_methods,
        reason = "the one thing that whoever runs this may choose: the database"
    )]
    if let Ok(url) = std::env::var("DATABASE_URL") {
        settings.extend([("DATABASE__URL", url), ("SECURITY__ROOT_KEY", DEMONSTRATION_KEY.to_owned())]);
        settings.extend(std::env::var("DATABASE_OWNER_URL").ok().map(|url| ("DATABASE__OWNER_URL", url)));
    }
    let environment =
        settings.into_iter().map(|(key, value)| (format!("CAPECONTROL_{key}"), value)).collect();
    Ok(Config::read(Sources { environment, ..Sources::default() })?.0)
}

async fn wait_until_serving(channel: Channel) -> Result<(), Failure> {
    let request = HealthCheckRequest { service: String::new() };
    let mut states = HealthClient::new(channel).watch(request).await?.into_inner();
    let serving = async {
        while let Some(state) = states.message().await? {
            if state.status() == ServingStatus::Serving {
                return verify(true, "health went from NOT_SERVING to SERVING");
            }
        }
        Err("health ended".into())
    };
    tokio::time::timeout(PATIENCE, serving).await?
}
