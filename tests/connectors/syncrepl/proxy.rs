//! A proxy between the connector and slapd that counts connections and cuts them where it is told to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections and octets so far, and where to cut.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connections: AtomicUsize,
    /// Octets of the server that went through.
    octets: AtomicUsize,
    /// The connection ends when so many went through.
    cut_at: AtomicUsize,
}

impl Proxy {
    /// A proxy before a server of this address (`ldap://host:port`).
    pub(crate) fn before(server: &str) -> Self {
        let target = server.strip_prefix("ldap://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ldap://{}", listener.local_addr().unwrap());
        let shared = Shared { connections: AtomicUsize::new(0), octets: AtomicUsize::new(0), cut_at: AtomicUsize::new(usize::MAX) };
        let shared = Arc::new(shared);
        let own = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                own.connections.fetch_add(1, Ordering::SeqCst);
                // A server that is down right now refuses; so does the proxy.
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from_client, &mut to_server);
                    let _ = to_server.shutdown(Shutdown::Both);
                });
                let own = own.clone();
                std::thread::spawn(move || answer(server, client, &own));
            }
        });
        Self { url, shared }
    }

    /// Begins to count anew, and ends connections behind so many octets of the server.
    pub(crate) fn watch(&self, cut_at: usize) {
        self.shared.connections.store(0, Ordering::SeqCst);
        self.shared.octets.store(0, Ordering::SeqCst);
        self.shared.cut_at.store(cut_at, Ordering::SeqCst);
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn octets(&self) -> usize {
        self.shared.octets.load(Ordering::SeqCst)
    }
}

fn answer(mut server: TcpStream, mut client: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let before = shared.octets.fetch_add(length, Ordering::SeqCst);
        let left = shared.cut_at.load(Ordering::SeqCst).saturating_sub(before).min(length);
        if client.write_all(&buffer[..left]).is_err() || left < length {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
