//! The controllers of a domain as something that takes calls, and the real ones behind it.

use super::auth;
use super::settings::{ReplicationServer, ReplicationSettings, with_port};
use super::transport::Connection;
use super::trouble::Place;
use super::wait::within;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::protocol::drsuapi::{ENDPOINT_MAPPER, MAP, REPLICATION, SessionKey, map_request, map_response};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// The port of the endpoint mapper.
const MAPPER_PORT: u16 = 135;

/// A signed-in connection to the replication interface of one controller. Arguments in, results out, one at a time.
/// After an error it is of no further use.
#[async_trait]
pub trait DrsCall: Send {
    /// Calls a procedure by its number.
    ///
    /// # Errors
    /// When there is no answer. A refusal inside the answer is none.
    async fn call(&mut self, cx: &Context, operation: u16, stub: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConnectorError>;

    /// The key under which attributes are encrypted on this connection.
    ///
    /// # Errors
    /// When there is none.
    fn session_key(&mut self) -> Result<SessionKey, ConnectorError>;

    /// Microseconds by which the controller's clock is ahead of ours, when the sign-in told it.
    fn clock_ahead(&self) -> Option<i64>;
}

/// The controllers of a domain in the order in which they are tried.
#[async_trait]
pub trait Controllers: Send + Sync {
    /// Their names.
    fn names(&self) -> Vec<String>;

    /// The port that a controller's replication interface listens on.
    ///
    /// # Errors
    /// When the endpoint mapper does not tell.
    async fn port(&self, cx: &Context, index: usize) -> Result<u16, ConnectorError>;

    /// Connects and signs in. `index` is a position in [`Self::names`].
    ///
    /// # Errors
    /// When the controller is not reached, or refuses the account.
    async fn connect(&self, cx: &Context, index: usize, port: u16) -> Result<Box<dyn DrsCall>, ConnectorError>;
}

/// The controllers that `settings` name, over TCP: for whoever measures what the calls alone take.
pub fn network(settings: Arc<ReplicationSettings>) -> Arc<dyn Controllers> {
    Arc::new(NetworkControllers::new(settings))
}

/// Real controllers, over TCP.
pub(super) struct NetworkControllers {
    settings: Arc<ReplicationSettings>,
}

impl NetworkControllers {
    pub(super) fn new(settings: Arc<ReplicationSettings>) -> Self {
        Self { settings }
    }

    fn server(&self, index: usize) -> Result<(&ReplicationServer, Place), ConnectorError> {
        let server = self.settings.servers.get(index).ok_or_else(|| {
            ConnectorError::new(ConnectorErrorKind::Configuration, "no domain controller is named to read password hashes from").unsent()
        })?;
        Ok((server, self.settings.place(server)))
    }

    async fn open(&self, cx: &Context, address: &str, place: &Place) -> Result<TcpStream, ConnectorError> {
        let connecting = within(cx, self.settings.connect_timeout, TcpStream::connect(address)).await;
        let connected = connecting.map_err(|why| match place.interrupted(why, "connecting") {
            error if error.kind == ConnectorErrorKind::Cancelled => error,
            _ => place.unreachable(address, &std::io::ErrorKind::TimedOut.into()),
        })?;
        let stream = connected.map_err(|error| place.unreachable(address, &error))?;
        stream.set_nodelay(true).map_err(|error| place.lost(&error, "connecting"))?;
        Ok(stream)
    }
}

#[async_trait]
impl Controllers for NetworkControllers {
    fn names(&self) -> Vec<String> {
        self.settings.servers.iter().map(|server| server.host.clone()).collect()
    }

    async fn port(&self, cx: &Context, index: usize) -> Result<u16, ConnectorError> {
        let (server, place) = self.server(index)?;
        if let Some(port) = server.port {
            return Ok(port);
        }
        let stream = self.open(cx, &with_port(server.address(), MAPPER_PORT), &place).await?;
        // The mapper answers at once or not at all.
        let timeout = self.settings.connect_timeout;
        let mut mapper = Connection::bind(cx, stream, ENDPOINT_MAPPER, None, place.clone(), timeout).await?;
        let answer = mapper.call(cx, MAP, &map_request()).await?;
        map_response(&answer).map_err(|error| {
            place.error(ConnectorErrorKind::Connection, format!("{error}; if the endpoint mapper answers nobody, set the port"))
        })
    }

    async fn connect(&self, cx: &Context, index: usize, port: u16) -> Result<Box<dyn DrsCall>, ConnectorError> {
        let (server, place) = self.server(index)?;
        let auth = auth::sign_in(&self.settings, server, &place)?;
        let stream = self.open(cx, &with_port(server.address(), port), &place).await?;
        let connection = Connection::bind(cx, stream, REPLICATION, Some(auth), place, self.settings.answer_timeout).await?;
        Ok(Box::new(NetworkCall { connection }))
    }
}

struct NetworkCall {
    connection: Connection<TcpStream>,
}

#[async_trait]
impl DrsCall for NetworkCall {
    async fn call(&mut self, cx: &Context, operation: u16, stub: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConnectorError> {
        self.connection.call(cx, operation, stub).await
    }

    fn session_key(&mut self) -> Result<SessionKey, ConnectorError> {
        self.connection.session_key()
    }

    fn clock_ahead(&self) -> Option<i64> {
        self.connection.clock_ahead()
    }
}
