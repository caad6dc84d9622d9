//! People are told of what needs them: by mail over STARTTLS and with a sign-in, by a signed call of a web address; once,
//! and when it is over.

use crate::{assert_code, document, small_world, stderr, with_config};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const USER: &str = "syncline";
const PASSWORD: &str = "a-secret-for-mail";
const PATIENCE: Duration = Duration::from_mins(2);

/// A letter as the server took it.
struct Letter {
    signed_in: bool,
    encrypted: bool,
    receivers: Vec<String>,
    text: String,
}

/// A mail server that offers STARTTLS and takes letters of one user, and the certificate that it shows.
struct MailServer {
    address: SocketAddr,
    letters: Receiver<Letter>,
    certificate: String,
}

fn mail_server() -> MailServer {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name").self_signed(&key).expect("signed");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, tls) = (listener.local_addr().expect("an address"), Arc::new(tls));
    let (sender, letters) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away ends its own session only.
            let _ = session(stream, &tls, &sender);
        }
    });
    MailServer { address, letters, certificate: certificate.pem() }
}

/// One connection (RFC 5321, 3207, 4954): first in clear text, then encrypted.
fn session(mut stream: TcpStream, tls: &Arc<rustls::ServerConfig>, letters: &Sender<Letter>) -> std::io::Result<()> {
    stream.write_all(b"220 mail.example ESMTP\r\n")?;
    let mut plain = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while plain.read_line(&mut line)? > 0 {
        let command = line.trim().to_ascii_uppercase();
        if command.starts_with("EHLO") {
            stream.write_all(b"250-mail.example\r\n250 STARTTLS\r\n")?;
        } else if command == "STARTTLS" {
            stream.write_all(b"220 go ahead\r\n")?;
            let connection = rustls::ServerConnection::new(Arc::clone(tls)).map_err(std::io::Error::other)?;
            return encrypted(rustls::StreamOwned::new(connection, stream), letters);
        } else {
            stream.write_all(b"530 Must issue a STARTTLS command first\r\n")?;
        }
        line.clear();
    }
    Ok(())
}

fn encrypted(stream: impl Read + Write, letters: &Sender<Letter>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut letter = Letter { signed_in: false, encrypted: true, receivers: Vec::new(), text: String::new() };
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let command = line.trim().to_owned();
        line.clear();
        let upper = command.to_ascii_uppercase();
        let answer: &[u8] = if upper.starts_with("EHLO") {
            b"250-mail.example\r\n250 AUTH PLAIN\r\n"
        } else if upper.starts_with("AUTH PLAIN ") {
            let given = STANDARD.decode(&command["AUTH PLAIN ".len()..]).unwrap_or_default();
            letter.signed_in = given == format!("\0{USER}\0{PASSWORD}").into_bytes();
            if letter.signed_in { b"235 welcome\r\n" } else { b"535 5.7.8 Authentication credentials invalid\r\n" }
        } else if upper.starts_with("RCPT TO:") {
            letter.receivers.push(command["RCPT TO:".len()..].trim_matches(['<', '>', ' ']).to_owned());
            b"250 ok\r\n"
        } else if upper == "DATA" {
            stream.get_mut().write_all(b"354 end with a point\r\n")?;
            loop {
                let mut part = String::new();
                if stream.read_line(&mut part)? == 0 || part == ".\r\n" {
                    break;
                }
                letter.text.push_str(&part);
            }
            let text = std::mem::take(&mut letter.text);
            let done = Letter { signed_in: letter.signed_in, encrypted: true, receivers: std::mem::take(&mut letter.receivers), text };
            drop(letters.send(done));
            b"250 taken\r\n"
        } else if upper == "QUIT" {
            stream.get_mut().write_all(b"221 bye\r\n")?;
            return Ok(());
        } else {
            b"250 ok\r\n"
        };
        stream.get_mut().write_all(answer)?;
    }
    Ok(())
}

/// A web address that takes calls; each with its headers, in small letters, and its body.
pub(crate) fn web_server(status: Arc<Mutex<u16>>) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, calls) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut headers, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                headers.push_str(&line);
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok() {
                let status = *status.lock().expect("a number");
                drop(
                    reader.get_mut().write_all(format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()),
                );
                if status == 200 {
                    drop(sender.send((headers, body)));
                }
            }
        }
    });
    (address, calls)
}

fn keep_secret(config: &Path, name: &str, secret: &str) {
    let folder = config.join("secrets");
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), secret).expect("the folder can be written");
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).expect("it is ours");
}

fn configure(config: &Path, alerts: &str) {
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).expect("text");
    let before = text.split("\n[alerts]").next().unwrap_or_default();
    fs::write(&main, format!("{before}\n[alerts]\n{alerts}")).expect("the folder can be written");
}

fn mail_table(server: &MailServer) -> String {
    format!(
        "[alerts.mail]\nserver = \"127.0.0.1\"\nport = {}\nca_file = \"mail.pem\"\nfrom = \"Syncline <syncline@corp.example>\"\n\
         to = [\"ops@corp.example\", \"boss@corp.example\"]\nuser = \"{USER}\"\npassword = {{ credential = \"mail\" }}\n",
        server.address.port()
    )
}

#[test]
fn a_test_arrives_by_mail_and_by_a_signed_call() {
    let world = small_world();
    let config = world.path().join("config");
    let nobody = with_config(&config, &["alerts", "test"]);
    assert_code(&nobody, 4);
    assert!(stderr(&nobody).contains("[alerts.mail]"), "{}", stderr(&nobody));

    let server = mail_server();
    let (web, calls) = web_server(Arc::new(Mutex::new(200)));
    keep_secret(&config, "mail", PASSWORD);
    keep_secret(&config, "hook", "a-secret-for-calls");
    fs::write(config.join("mail.pem"), &server.certificate).expect("the folder can be written");
    let webhook = format!("[alerts.webhook]\nurl = \"http://{web}/private/path\"\nsecret = {{ credential = \"hook\" }}\n");
    configure(&config, &(mail_table(&server) + &webhook));
    let looked = document(&with_config(&config, &["--json", "alerts", "test", "--what-if"]));
    assert_eq!((&looked["sent"], looked["channels"].as_array().map(Vec::len)), (&false.into(), Some(2)), "{looked:#}");

    let tested = with_config(&config, &["--json", "alerts", "test"]);
    assert_code(&tested, 0);
    let shown = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(!shown.contains("private") && !shown.contains("secret"), "{shown}");
    let letter = server.letters.recv_timeout(PATIENCE).expect("a letter");
    assert!(letter.encrypted && letter.signed_in);
    assert_eq!(letter.receivers, ["ops@corp.example", "boss@corp.example"]);
    let subject = letter.text.lines().find(|line| line.starts_with("Subject: ")).expect("a subject");
    assert!(subject.contains("[Syncline ") && subject.contains("TEST: nothing is wrong") && !subject.contains("no-cycle"), "{subject}");
    let body = letter.text.split_once("\r\n\r\n").expect("a body").1;
    assert!(body.contains("TEST: this is a test") && body.contains("Nothing is wrong") && !body.contains("condition"), "{body}");
    let (headers, body) = calls.recv_timeout(PATIENCE).expect("a call");
    let header = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"a-secret-for-calls").expect("a key");
    mac.update(header("x-syncline-timestamp:").as_bytes());
    mac.update(b".");
    mac.update(&body);
    assert_eq!(header("x-syncline-signature:"), format!("sha256={}", hex::encode(mac.finalize().into_bytes())));
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&body["version"], &body["alerts"][0]["news"]), (&1.into(), &"test".into()), "{body:#}");
    let told = &body["alerts"][0];
    assert!(told["condition"].is_null() && told["text"].as_str().is_some_and(|text| text.starts_with("TEST: ")), "{body:#}");

    // Whoever is not who they say they are gets neither the password nor the letter.
    let stranger = mail_server();
    fs::write(config.join("mail.pem"), &stranger.certificate).expect("the folder can be written");
    let refused = with_config(&config, &["alerts", "test"]);
    assert_code(&refused, 2);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(told.contains("did not arrive") && told.contains("ertificate"), "{told}");
    fs::write(config.join("mail.pem"), &server.certificate).expect("the folder can be written");
    keep_secret(&config, "mail", "another-secret");
    let refused = with_config(&config, &["alerts", "test"]);
    assert_code(&refused, 2);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(told.contains("535") && !told.contains("another-secret"), "{told}");
    assert!(server.letters.try_recv().is_err(), "no letter without a sign-in");
}

#[test]
fn the_service_tells_once_and_tries_again_what_did_not_arrive() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["guard", "set", "--max-deletes", "1"]), 0);
    let status = Arc::new(Mutex::new(503));
    let (web, calls) = web_server(Arc::clone(&status));
    configure(&config, &format!("conditions = [\"deletes-held\"]\n[alerts.webhook]\nurl = \"http://{web}/\"\n"));
    // One may.
    crate::two_people_leave(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 5);
    let shown = document(&with_config(&config, &["--json", "alerts", "show"]));
    assert_eq!(shown["found"][0]["condition"], "deletes-held", "{shown:#}");
    assert_eq!(shown["found"].as_array().map(Vec::len), Some(1), "{shown:#}");

    let service = crate::serve::Served::start(&config);
    // Nobody takes it, which is told once; it is tried again a minute later.
    service.until("the failure", &["events", "list", "--id", "7071"], |events| {
        events["events"].as_array().is_some_and(|events| events.len() == 1)
    });
    *status.lock().expect("a number") = 200;
    let (_, body) = calls.recv_timeout(PATIENCE).expect("a call");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let told = &body["alerts"][0];
    assert_eq!((&told["condition"], &told["news"], &told["subject"]), (&"deletes-held".into(), &"began".into(), &"Entra".into()));
    assert!(told["text"].as_str().is_some_and(|text| text.contains("2 deletes wait")), "{body:#}");
    let events = service.until("the success", &["events", "list", "--id", "7070"], |events| {
        events["events"].as_array().is_some_and(|events| !events.is_empty())
    });
    assert_eq!(events["events"][0]["fields"]["conditions"], 1, "{events:#}");
    service.stop();
    // A restart repeats nothing.
    let service = crate::serve::Served::start(&config);
    service.cycles(2);
    assert!(calls.recv_timeout(Duration::from_secs(3)).is_err(), "it was told before");
    service.stop();
}
