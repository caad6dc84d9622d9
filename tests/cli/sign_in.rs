//! A wrong password is tried once, whoever in the process wants to sign in with it: domains lock accounts out.

use crate::serve::Served;
use crate::{assert_code, document, small_world, stdout, with_config};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a domain controller says to a wrong password.
const WRONG: &str = "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v2580";

/// Refuses whoever binds.
fn answer(mut stream: TcpStream, binds: &AtomicUsize) {
    let mut message = [0; 512];
    while let Ok(length) = stream.read(&mut message) {
        // A sequence, the message's number of one octet, and what is wanted.
        let [0x30, _, 2, 1, number, 0x60, ..] = message[..length] else { return };
        binds.fetch_add(1, Ordering::SeqCst);
        let text = WRONG.as_bytes();
        let text_length = u8::try_from(text.len()).expect("a short text");
        let result = [&[10, 1, 49, 4, 0, 4, text_length], text].concat();
        let outer = u8::try_from(result.len()).expect("a short answer");
        let mut reply = vec![0x30, outer + 5, 2, 1, number, 0x61, outer];
        reply.extend(result);
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

fn keep(config: &Path, secret: &str) {
    let file = config.join("secrets/directory-bind");
    fs::create_dir_all(config.join("secrets")).expect("a folder");
    fs::write(&file, secret).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
}

#[test]
fn a_wrong_secret_is_tried_once_by_a_process_whoever_signs_in() {
    let binds: Arc<AtomicUsize> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let counted = Arc::clone(&binds);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || answer(stream, &counted));
        }
    });
    let world = small_world();
    let config = world.path().join("config");
    keep(&config, "Mistyped-1!");
    let file = format!(
        "kind = \"ad\"\nname = \"lab\"\nurl = \"ldap://{address}\"\nallow_plain = true\nbind_name = \"svc@lab.example\"\n\
         password = {{ credential = \"directory-bind\" }}\n"
    );
    fs::write(config.join("connectors/50-lab.toml"), file).expect("a file");

    // A command asks for names, and then imports.
    let refused = with_config(&config, &["--json", "run", "start", "lab", "full-import"]);
    let shown = stdout(&refused);
    assert!(shown.contains("wrong") && shown.contains("no-start-credentials"), "{shown}");
    assert_eq!(binds.swap(0, Ordering::SeqCst), 1, "{shown}");

    // A service asks for names, imports, listens, and looks for disabled accounts.
    let service = Served::start(&config);
    service.cycles(1);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(binds.load(Ordering::SeqCst), 1);
    let again = with_config(&config, &["--json", "run", "start", "lab", "full-import"]);
    assert!(stdout(&again).contains("not tried again for"), "{}", stdout(&again));
    assert_eq!(binds.load(Ordering::SeqCst), 1, "a command of the same process knows it, too");

    // Another secret is another question, asked once.
    keep(&config, "Mistyped-2!");
    for _ in 0..2 {
        let cycle = with_config(&config, &["--json", "cycle", "start"]);
        assert!(document(&cycle)["runs"].is_array(), "{}", stdout(&cycle));
        assert_eq!(binds.load(Ordering::SeqCst), 2);
    }
    service.stop();
    assert_code(&with_config(&config, &["run", "list"]), 0);
}
