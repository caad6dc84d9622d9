//! A directory server that refuses, is not there, is somebody else, or hangs up: each is named, and deletes nothing.

use crate::labs::{self, Lab};
use crate::world::{World, counted, exported};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// An OpenLDAP server with 300 users, started once.
fn openldap() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| labs::up("openldap", &labs::recipe(300, 20, 10), &["--size-limit", "100"]))
}

/// A world in which that directory was sent once, and nothing since.
fn settled() -> World {
    let lab = openldap();
    let world = World::of_server(lab, "ldap", "corp");
    assert!(counted(&world.cycle(0, &["--initial"]), "export-add") >= 300);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    world.clear("/traffic");
    world
}

/// With this in the connector's file, a cycle ends so, says this, and deletes nothing; without it all is well.
#[track_caller]
fn suffers(world: &World, from: &str, to: &str, code: i32, said: &[&str]) {
    let path = world.connector_file("10-");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    let cycle = world.cycle(code, &[]);
    for words in said {
        assert!(cycle.to_string().contains(words), "{words:?} is not in {cycle:#}");
    }
    assert!(!cycle.to_string().contains(openldap().text("password")), "the password is told");
    std::fs::write(&path, text).unwrap();
    unharmed(world, &cycle);
}

/// Without news a delta would not even meet what is wrong.
fn read_whole_next(world: &World) {
    world.json(0, &["scheduler", "override", "corp", "--full-import"]);
}

#[track_caller]
fn unharmed(world: &World, cycle: &Value) {
    assert_eq!((counted(cycle, "stage-delete"), exported(cycle), world.writes()), (0, 0, 0), "{cycle:#}");
    world.check_store();
    let after = world.cycle(0, &[]);
    assert_eq!((counted(&after, "stage-delete"), exported(&after)), (0, 0), "{after:#}");
}

#[test]
fn a_wrong_password_is_named() {
    let world = settled();
    let secret = world.config().join("secrets/directory-bind");
    std::fs::write(&secret, "wrong").unwrap();
    let cycle = world.cycle(4, &[]);
    assert_eq!(cycle["runs"][0]["result"], "no-start-credentials", "{cycle:#}");
    let message = cycle["runs"][0]["steps"][0]["message"].as_str().unwrap();
    assert!(message.contains(openldap().text("bind_name")) && !message.contains("wrong\""), "{message}");
    std::fs::write(&secret, openldap().text("password")).unwrap();
    unharmed(&world, &cycle);
}

#[test]
fn lesson_09_an_account_without_rights_is_not_taken_for_an_empty_directory() {
    let world = settled();
    suffers(&world, openldap().text("bind_name"), openldap().text("blind_name"), 3, &["the account may not see it"]);
}

#[test]
fn an_account_that_may_not_see_all_is_not_taken_for_a_smaller_directory() {
    let world = settled();
    read_whole_next(&world);
    suffers(&world, openldap().text("bind_name"), openldap().text("limited_name"), 3, &["limit"]);
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let world = settled();
    let stranger = world.config().join("stranger.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&stranger, rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    suffers(&world, openldap().text("ca"), stranger.to_str().unwrap(), 4, &["ca_file", "no-start-connection"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let world = settled();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    suffers(&world, openldap().text("ldaps"), &format!("ldaps://{closed}"), 4, &[&closed.port().to_string(), "no-start-connection"]);
}

#[test]
fn a_base_that_does_not_exist_is_named() {
    let world = settled();
    let base = format!("base = \"{}\"", openldap().text("base"));
    suffers(&world, &base, "base = \"DC=elsewhere,DC=example\"", 3, &["DC=elsewhere,DC=example"]);
}

/// Passes everything on, and hangs up after so many octets of an answer.
fn proxy(target: String, octets: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let cut = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cut);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&target).unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || drop(std::io::copy(&mut up, &mut down)));
            let (mut server, mut client, cut) = (server, client, Arc::clone(&counted));
            std::thread::spawn(move || {
                let (mut left, mut buffer) = (octets, [0; 4_096]);
                while let Ok(read) = server.read(&mut buffer) {
                    let passed = read.min(left);
                    if read == 0 || client.write_all(&buffer[..passed]).is_err() {
                        return;
                    }
                    left -= passed;
                    if left == 0 {
                        cut.fetch_add(1, Ordering::SeqCst);
                        drop((client.shutdown(std::net::Shutdown::Both), server.shutdown(std::net::Shutdown::Both)));
                        return;
                    }
                }
            });
        }
    });
    (port, cut)
}

#[test]
fn lesson_07_a_server_that_hangs_up_in_the_middle_of_a_page_deletes_nobody() {
    let world = settled();
    read_whole_next(&world);
    let plain = openldap().text("ldap").to_owned();
    let (port, cut) = proxy(plain.trim_start_matches("ldap://").to_owned(), 60_000);
    let path = world.connector_file("10-");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replace(openldap().text("ldaps"), &format!("ldap://127.0.0.1:{port}"));
    std::fs::write(&path, format!("allow_plain = true\n{changed}")).unwrap();
    let cycle = world.cycle(3, &[]);
    assert!(cut.load(Ordering::SeqCst) > 0, "the connection was never cut");
    assert_eq!(cycle["runs"][0]["result"], "stopped-connectivity", "{cycle:#}");
    std::fs::write(&path, text).unwrap();
    unharmed(&world, &cycle);
}
