//! The listener: HTTP/1 and HTTP/2 without TLS on one port, and the drain.
//!
//! Not tonic's own server: that one turns a passed deadline into CANCELLED before the gate can say DEADLINE_EXCEEDED,
//! and waits without bound for open streams when it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::idle::Impatient;

/// Bounds of the listener.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many connections may be open.
    pub connections_max: usize,
    /// How many streams one HTTP/2 connection may have open.
    pub streams_per_connection_max: u32,
    /// How long a client may take to say its first words, and to send the head of an HTTP/1 request.
    pub head_within: Duration,
    /// How long nothing may be sent or taken on a connection. Longer than the pings of HTTP/2 and the heartbeats of
    /// streams, which keep a connection in use.
    pub idle_max: Duration,
    /// How often a quiet HTTP/2 connection is pinged, and how long it may take to answer.
    pub keep_alive: (Duration, Duration),
    /// How long calls and streams may still take when the server stops.
    pub drain_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            streams_per_connection_max: 200,
            head_within: Duration::from_secs(10),
            idle_max: Duration::from_secs(90),
            keep_alive: (Duration::from_secs(30), Duration::from_secs(20)),
            drain_max: Duration::from_secs(20),
        }
    }
}

/// The address that a connection came from, as the socket says.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves `app` on the listener until `stop`, then lets what is under way end, at most for the drain's bound.
pub async fn serve(listener: TcpListener, app: Router, options: Options, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let builder = connection_builder(&options);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match (accepted, permit) {
            (Ok((socket, peer)), Ok(permit)) => {
                // Small frames, such as the words of an answer, go out at once.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY was not set");
                }
                let socket = Impatient::new(socket, options.head_within, options.idle_max);
                let connection = Connection { socket, peer, app: app.clone(), permit };
                connections.spawn(connection.serve(builder.clone(), graceful.watcher()));
            }
            (Err(error), _) => {
                // Out of file descriptors, for one: waiting lets connections end.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (_, Err(_)) => break,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(options.drain_max, graceful.shutdown()).await.is_err() {
        tracing::warn!(after = ?options.drain_max, "connections that did not end were cut");
    }
    connections.shutdown().await;
}

fn connection_builder(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.head_within).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_per_connection_max)
        .keep_alive_interval(options.keep_alive.0)
        .keep_alive_timeout(options.keep_alive.1)
        .max_header_list_size(32 * 1024)
        .max_send_buf_size(64 * 1024);
    builder
}

struct Connection {
    socket: Impatient,
    peer: SocketAddr,
    app: Router,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(
        self,
        builder: auto::Builder<TokioExecutor>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let peer = Peer(self.peer);
        let app = self.app.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            request
        });
        let service = TowerToHyperService::new(app);
        let connection = builder.serve_connection(TokioIo::new(self.socket), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(error, "a connection ended early");
        }
        drop(self.permit);
    }
}
