//! The tenant on the network: one port for the provisioning service, tokens, Graph and the administrator's endpoint.

mod admin;
mod graph;
mod login;
mod provisioning;
mod tls;

use super::{Tenant, TenantError};
use crate::context::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections served at the same time; more wait.
const MAX_CONNECTIONS: usize = 512;
const HANDSHAKE: Duration = Duration::from_secs(30);
const HEADER_READ: Duration = Duration::from_mins(1);

/// How connections are protected.
#[derive(Clone, Debug)]
pub enum Tls {
    /// By a certificate of the tenant's own authority, whose files live in this folder.
    Own {
        /// The folder; made when missing.
        folder: PathBuf,
    },
    /// Not at all; only on loopback addresses.
    Plain,
}

/// Why the tenant cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket or a file.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// Plain HTTP would leave the machine.
    #[error("plain HTTP is for loopback addresses only, not for {0}; leave --plain-http out, or listen on 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// The authority's files or certificates.
    #[error("certificates: {0}")]
    Certificate(String),
}

/// A tenant being served.
#[derive(Debug)]
pub struct ServerHandle {
    /// `http://127.0.0.1:port` or `https://localhost:port`, without a slash at the end.
    pub base_url: String,
    /// The certificate of the tenant's authority, when there is one; clients trust it and nothing else.
    pub ca_pem: Option<String>,
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ServerHandle {
    /// Takes no new connections, lets requests under way finish, and returns when all is done.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Returns when the server has ended, by [`Self::shutdown`] elsewhere or by the context.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}

/// What handlers share.
pub(in crate::tenant) struct App {
    tenant: Arc<Tenant>,
    scheme: &'static str,
    authority: String,
}

type Shared = Arc<App>;

/// Marks an answer that must never be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
struct CloseConnection;

/// The address of a client.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// Serves a tenant until the handle or the context says stop.
pub async fn serve(tenant: Arc<Tenant>, listener: TcpListener, tls: Tls, context: Context) -> Result<ServerHandle, ServeError> {
    let address = listener.local_addr().map_err(|source| ServeError::Io { what: "the listening address".to_owned(), source })?;
    let (scheme, acceptor, ca_pem) = match &tls {
        Tls::Plain if !address.ip().is_loopback() => return Err(ServeError::NotLoopback(address)),
        Tls::Plain => ("http", None, None),
        Tls::Own { folder } => {
            let own = tls::Authority::load_or_create(folder, context.now())?;
            let acceptor = TlsAcceptor::from(Arc::new(own.server_configuration(address.ip(), context.now())?));
            ("https", Some(acceptor), Some(own.pem().to_owned()))
        }
    };
    let host = match (&tls, address.is_ipv6()) {
        (Tls::Own { .. }, _) if address.ip().is_loopback() => "localhost".to_owned(),
        (_, true) => format!("[{}]", address.ip()),
        (_, false) => address.ip().to_string(),
    };
    let authority = format!("{host}:{}", address.port());
    let base_url = format!("{scheme}://{authority}");
    let router = router(Arc::new(App { tenant, scheme, authority }));
    let stop = context.cancel.child_token();
    let tasks = TaskTracker::new();
    tasks.spawn(accept(listener, acceptor, router, stop.clone(), tasks.clone()));
    tasks.close();
    Ok(ServerHandle { base_url, ca_pem, address, stop, tasks })
}

fn router(app: Shared) -> Router {
    Router::new()
        .merge(login::routes())
        .merge(graph::routes())
        .merge(admin::routes())
        .fallback(provisioning::handle)
        .layer(map_response_with_state(app.clone(), dated))
        .with_state(app)
}

/// Every answer says what the tenant's clock shows (RFC 9110 section 6.6.1), which may be ahead of this machine's.
async fn dated(State(app): State<Shared>, mut response: Response) -> Response {
    let date = jiff::Timestamp::from_second(app.tenant.now().seconds())
        .and_then(|now| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now));
    if let Some(date) = date.ok().and_then(|date| header::HeaderValue::from_str(&date).ok()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, router: Router, stop: CancellationToken, tasks: TaskTracker) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = tokio::select! {
            () = stop.cancelled() => return,
            slot = slots.clone().acquire_owned() => match slot {
                Ok(slot) => slot,
                Err(_) => return,
            },
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                tasks.spawn(async move {
                    connection(stream, peer, acceptor, router, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    match acceptor {
        None => converse(stream, peer, router, stop).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, router, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "the TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
        },
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, router: Router, stop: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            let response = answer(router, request).await;
            if response.extensions().get::<CloseConnection>().is_some() {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed on demand"));
            }
            Ok(response)
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ);
    let mut running = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = running.as_mut() => if let Err(error) = ended {
            tracing::debug!(%error, %peer, "a connection ended early");
        },
        () = stop.cancelled() => {
            running.as_mut().graceful_shutdown();
            if let Err(error) = running.await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        }
    }
}

async fn answer(router: Router, request: Request) -> Response {
    let Ok(response): Result<Response, Infallible> = router.oneshot(request).await;
    response
}

impl App {
    /// The URL by which this client reached us, without a slash at the end.
    fn base_url(&self, headers: &HeaderMap) -> String {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .filter(|host| !host.is_empty() && host.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-:[]".contains(&octet)))
            .unwrap_or(&self.authority);
        format!("{}://{host}", self.scheme)
    }

    /// Runs work that computes or waits for the disk off the asynchronous threads.
    async fn blocking<R: Send + 'static>(&self, work: impl FnOnce(&Tenant) -> R + Send + 'static) -> Result<R, TenantFailure> {
        let tenant = self.tenant.clone();
        tokio::task::spawn_blocking(move || work(&tenant)).await.map_err(|error| {
            tracing::error!(%error, "work of the tenant ended early");
            TenantFailure
        })
    }
}

/// Something of the tenant's own went wrong; details are in the log, not in the answer.
#[derive(Clone, Copy, Debug)]
struct TenantFailure;

impl From<TenantError> for TenantFailure {
    fn from(error: TenantError) -> Self {
        tracing::error!(%error, "the tenant failed");
        Self
    }
}

impl From<super::directory::DirectoryError> for TenantFailure {
    fn from(error: super::directory::DirectoryError) -> Self {
        TenantError::from(error).into()
    }
}

/// The answer that closes the connection without a word.
fn close_connection() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(CloseConnection);
    response
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
