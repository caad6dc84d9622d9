//! Finds the domain controllers of a domain by the name system, as members of the domain do (MS-ADTS 6.3.2.3, RFC 2782).

use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use std::net::SocketAddr;
use std::time::Duration;

/// A domain controller as the name system tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedController {
    /// Its DNS name.
    pub host: String,
    /// Its port for LDAP.
    pub port: u16,
    /// The lower the sooner.
    pub priority: u16,
    /// Of equal priority, the higher the more often.
    pub weight: u16,
}

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Controllers that are told at most; the largest domains have some hundred.
const CONTROLLERS_MAX: usize = 500;

/// The controllers of a domain, the ones to prefer first. `server`: the name server to ask instead of the machine's, with
/// its port.
///
/// # Errors
/// When nobody answers, or the domain has none.
pub async fn locate(cx: &Context, domain: &str, server: Option<SocketAddr>) -> Result<Vec<LocatedController>, ConnectorError> {
    let wrong = |message: String| ConnectorError::new(ConnectorErrorKind::Connection, message).unsent();
    let unusable = |reason: String| wrong(format!("the name servers of this machine cannot be used: {reason}"));
    let builder = match server {
        None => TokioResolver::builder_tokio().map_err(|error| unusable(error.to_string()))?,
        Some(place) => {
            let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = place.port();
            }
            let server = NameServerConfig::new(place.ip(), true, connections.to_vec());
            TokioResolver::builder_with_config(ResolverConfig::from_name_servers(vec![server]), TokioRuntimeProvider::default())
        }
    };
    let resolver = builder.build().map_err(|error| unusable(error.to_string()))?;
    // With the final dot nothing is tried behind it.
    let question = format!("_ldap._tcp.dc._msdcs.{}.", domain.trim_end_matches('.'));
    let asked = server.map_or_else(|| "the name servers of this machine".to_owned(), |place| format!("the name server {place}"));
    let answer = tokio::select! {
        answer = resolver.srv_lookup(question.as_str()) => answer,
        () = cx.clock.sleep(PATIENCE) => return Err(wrong(format!("no answer from {asked} to the question for {question}"))),
        () = cx.cancel.cancelled() => return Err(ConnectorError::new(ConnectorErrorKind::Cancelled, "told to stop")),
    };
    let answer = answer.map_err(|error| {
        if error.is_no_records_found() {
            wrong(format!(
                "{asked} know no domain controllers of '{domain}' ({question} has no SRV records); is the domain spelled right, and do \
                 they know the domain? Else name a controller itself"
            ))
        } else {
            wrong(format!("the question for {question} was not answered by {asked}: {error}"))
        }
    })?;
    let mut found: Vec<LocatedController> = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) => Some(LocatedController {
                host: service.target.to_utf8().trim_end_matches('.').to_lowercase(),
                port: service.port,
                priority: service.priority,
                weight: service.weight,
            }),
            _ => None,
        })
        .filter(|controller| !controller.host.is_empty())
        .take(CONTROLLERS_MAX)
        .collect();
    found.sort_by(|left, right| (left.priority, right.weight, &left.host).cmp(&(right.priority, left.weight, &right.host)));
    found.dedup();
    if found.is_empty() {
        return Err(wrong(format!("'{domain}' offers no domain controllers (its SRV record names none)")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UdpSocket;

    /// A name as it goes over the wire.
    fn name(text: &str) -> Vec<u8> {
        let mut octets = Vec::new();
        for label in text.split('.') {
            octets.push(u8::try_from(label.len()).unwrap());
            octets.extend_from_slice(label.as_bytes());
        }
        octets.push(0);
        octets
    }

    /// Answers one question with services, or with "no such name" when there are none.
    async fn answer(socket: &UdpSocket, services: &[(u16, u16, u16, &str)]) -> String {
        let mut question = [0; 512];
        let (length, from) = socket.recv_from(&mut question).await.unwrap();
        let question = &question[..length];
        let end = 12 + question[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
        let mut reply = question[..end].to_vec();
        // An answer; with an error when there is nothing.
        reply[2] |= 0x84;
        reply[3] = if services.is_empty() { 0x83 } else { 0x80 };
        reply[6..12].copy_from_slice(&[0, u8::try_from(services.len()).unwrap(), 0, 0, 0, 0]);
        for (priority, weight, port, host) in services {
            let data = [&priority.to_be_bytes()[..], &weight.to_be_bytes(), &port.to_be_bytes(), &name(host)].concat();
            // The name of the question, type SRV, class IN, ten minutes.
            reply.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 2, 88]);
            reply.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            reply.extend_from_slice(&data);
        }
        socket.send_to(&reply, from).await.unwrap();
        String::from_utf8_lossy(&question[12..end - 5]).into_owned()
    }

    #[tokio::test]
    async fn controllers_come_in_the_order_of_the_name_system() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (cx, place) = (Context::system(), socket.local_addr().unwrap());
        let services = [(10, 5, 389, "far.corp.example"), (0, 10, 389, "dc2.corp.example"), (0, 90, 3389, "DC1.corp.example")];
        let (asked, found) = tokio::join!(answer(&socket, &services), locate(&cx, "corp.example", Some(place)));
        assert!(asked.contains("_msdcs"), "{asked}");
        let found: Vec<(String, u16)> = found.unwrap().into_iter().map(|controller| (controller.host, controller.port)).collect();
        let wanted = [("dc1.corp.example", 3389), ("dc2.corp.example", 389), ("far.corp.example", 389)];
        assert_eq!(found, wanted.map(|(host, port)| (host.to_owned(), port)));
    }

    #[tokio::test]
    async fn a_domain_that_nobody_knows_is_named() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (cx, place) = (Context::system(), socket.local_addr().unwrap());
        let (_, found) = tokio::join!(answer(&socket, &[]), locate(&cx, "typo.example", Some(place)));
        let message = found.unwrap_err().message;
        assert!(message.contains("no domain controllers of 'typo.example'"), "{message}");
    }
}
