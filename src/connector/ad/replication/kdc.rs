//! Messages to the Kerberos key distribution centre over TCP (RFC 4120 section 7.2.2), and what it said last.

use super::trouble::Place;
use super::wait::within;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::protocol::kerberos::Refusal;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Octets of an answer at most: a ticket with thousands of groups has 64 KiB.
const ANSWER_MAX: usize = 1 << 20;

/// A client of one key distribution centre, for one sign-in.
pub(super) struct KdcClient {
    place: Place,
    connect_timeout: Duration,
    answer_timeout: Duration,
    refusal: Option<Refusal>,
    /// Microseconds by which the other clock is ahead of ours.
    ahead: Option<i64>,
}

impl KdcClient {
    pub(super) fn new(place: Place, connect_timeout: Duration, answer_timeout: Duration) -> Self {
        Self { place, connect_timeout, answer_timeout, refusal: None, ahead: None }
    }

    /// Why the last message was refused, if it was.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// By how many microseconds the domain's clock is ahead of ours, if it was told.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        self.ahead
    }

    /// Sends a message, which begins with its length, and gives the answer in the same form.
    pub(super) async fn exchange(&mut self, cx: &Context, address: &str, message: &[u8]) -> Result<Vec<u8>, ConnectorError> {
        self.refusal = None;
        let connect = within(cx, self.connect_timeout, TcpStream::connect(address)).await;
        let connected = connect.map_err(|why| match self.place.interrupted(why, "Kerberos") {
            error if error.kind == ConnectorErrorKind::Cancelled => error,
            _ => {
                self.place.error(ConnectorErrorKind::Connection, format!("no connection to the key distribution centre {address} in time"))
            }
        })?;
        let mut stream = connected.map_err(|error| self.place.unreachable(address, &error))?;
        let answer = async {
            stream.write_all(message).await?;
            let length = stream.read_u32().await?;
            let length = usize::try_from(length).ok().filter(|length| *length <= ANSWER_MAX);
            let Some(length) = length else { return Ok(None) };
            let mut answer = vec![0; 4 + length];
            answer[..4].copy_from_slice(&u32::try_from(length).unwrap_or_default().to_be_bytes());
            stream.read_exact(&mut answer[4..]).await?;
            Ok(Some(answer))
        };
        let answer = within(cx, self.answer_timeout, answer).await.map_err(|why| self.place.interrupted(why, "Kerberos"))?;
        let answer = answer.map_err(|error| self.place.lost(&error, "Kerberos"))?;
        let answer = answer.ok_or_else(|| self.place.protocol("the answer of the key distribution centre is too large"))?;
        if let Some(refusal) = Refusal::read(&answer[4..]) {
            self.ahead = Some(refusal.server_time.0.saturating_sub(cx.now().0));
            self.refusal = Some(refusal).filter(|refusal| refusal.code != Refusal::PASSWORD_WANTED);
        }
        Ok(answer)
    }
}
