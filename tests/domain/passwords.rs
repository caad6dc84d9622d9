//! Passwords from a real domain to sign-in at the tenant, by an account with exactly the documented rights; and what must
//! not be left behind of them.

use crate::PEOPLE;
use crate::world::{VERIFIED, World};
use md4::{Digest as _, Md4};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use syncline::context::{Clock as _, SystemClock};

const USERS: u64 = 300;
/// "Invalid username or password" and "the account is disabled".
const WRONG: u64 = 50_126;
const DISABLED: u64 = 50_057;

struct Person {
    dn: String,
    password: String,
    enabled: bool,
}

/// Everybody that the laboratory gave a password, by account name.
fn people(world: &World) -> BTreeMap<String, Person> {
    let attributes = ["sAMAccountName", "userPrincipalName", "employeeID", "userAccountControl"];
    let found = world.lab.search(PEOPLE, "(&(objectClass=user)(employeeID=*)(userPrincipalName=*))", &attributes);
    let mut people = BTreeMap::new();
    for (dn, entry) in found {
        let text = |name: &str| String::from_utf8(entry[name].first().unwrap().clone()).unwrap();
        let number: u64 = text("employeeID").parse().unwrap();
        let enabled = text("userAccountControl").parse::<u32>().unwrap() & 2 == 0;
        let person = Person { dn, password: format!("Pw-{number:06}-Sync!"), enabled };
        people.insert(text("sAMAccountName"), person);
    }
    people
}

/// The sign-in names that the tenant gave, by account name.
fn names(world: &World) -> BTreeMap<String, String> {
    let users = world.graph_list("/users?$select=userPrincipalName,onPremisesSamAccountName");
    let text = |user: &Value, key: &str| user[key].as_str().unwrap_or_default().to_owned();
    users.iter().map(|user| (text(user, "onPremisesSamAccountName"), text(user, "userPrincipalName"))).collect()
}

/// Every enabled account gets in with its own password and with no other; a disabled one does not get in.
fn everybody_signs_in(world: &World, people: &BTreeMap<String, Person>) -> usize {
    let names = names(world);
    let mut inside = 0;
    for (account, person) in people {
        let Some(name) = names.get(account) else { panic!("{account} is not in the tenant") };
        let expected = if person.enabled { 0 } else { DISABLED };
        let answer = world.sign_in(name, &person.password);
        assert!(answer == expected || (!person.enabled && answer == WRONG), "{account} as {name}: {answer}");
        inside += usize::from(answer == 0);
        assert_ne!(world.sign_in(name, &format!("{}x", person.password)), 0, "{account} gets in with a wrong password");
    }
    inside
}

/// `unicodePwd` as an administrator writes it.
fn written(password: &str) -> String {
    let octets: Vec<u8> = format!("\"{password}\"").encode_utf16().flat_map(u16::to_le_bytes).collect();
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets)
}

fn change_password(world: &World, person: &mut Person, password: &str) {
    let change = format!("dn: {}\nchangetype: modify\nreplace: unicodePwd\nunicodePwd:: {}\n", person.dn, written(password));
    world.modify(&change);
    password.clone_into(&mut person.password);
}

/// One password cycle that must end well. Gives how many were sent.
fn cycle(world: &World) -> u64 {
    let output = world.syncline(&["--json", "phs", "run", "--once"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&shown).unwrap();
    let domains = report["directories"][0]["domains"].as_array().unwrap();
    domains.iter().map(|domain| domain["sent"].as_u64().unwrap()).sum()
}

/// Where passwords are read: by replication, from the controller's own address.
fn configure(world: &World, sign_in: &str, account: &str) {
    let file = fs::read_dir(world.config().join("connectors")).unwrap().map(|entry| entry.unwrap().path());
    let file = file.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    let file = file.into_iter().find(|path| fs::read_to_string(path).unwrap().contains("kind = \"ad\"")).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let own = text.split("[password_hash_sync]").next().unwrap();
    let (host, address) = (world.lab.text("host"), world.lab.text("address"));
    let table = format!(
        "\n[password_hash_sync]\nenabled = true\nsign_in = \"{sign_in}\"\naccount = '{account}'\n\
         servers = [{{ name = \"{host}\", address = \"{address}\" }}]\n"
    );
    fs::write(&file, format!("{}\n{table}", own.trim_end())).unwrap();
}

#[test]
fn a_password_of_the_domain_opens_the_tenant() {
    let world = World::new(USERS, 20, 5);
    let account = world.lab.text("bind_name").to_owned();
    configure(&world, "kerberos", &account);
    // Accepted before the first synchronization, and waits for it.
    let enabled = world.syncline(&["--json", "phs", "enable"]);
    assert_eq!(enabled.status.code(), Some(0), "{}", String::from_utf8_lossy(&enabled.stdout));
    let enabled: Value = serde_json::from_slice(&enabled.stdout).unwrap();
    assert_eq!(enabled["waits"], true, "{enabled}");
    let before = fs::read(world.config().join("syncline.toml")).unwrap();

    world.cycle(&["--initial"]);
    let mut people = people(&world);
    assert!(people.len() >= usize::try_from(USERS).unwrap() - 20, "{}", people.len());
    let inside = everybody_signs_in(&world, &people);
    assert_eq!(inside, people.values().filter(|person| person.enabled).count());
    assert!(people.values().any(|person| !person.enabled), "nobody is disabled");
    assert_eq!(cycle(&world), 0, "nothing is sent twice");
    let coverage = world.syncline(&["--json", "phs", "coverage"]);
    let coverage: Value = serde_json::from_slice(&coverage.stdout).unwrap();
    assert_eq!(coverage["confirmed"], coverage["in_scope"], "{coverage}");

    // Twenty changes: the new passwords count and the old ones do not, within one password cycle.
    let changed: Vec<String> = people.iter().filter(|(_, person)| person.enabled).map(|(account, _)| account.clone()).take(20).collect();
    let mut old = Vec::new();
    for (number, account) in changed.iter().enumerate() {
        let person = people.get_mut(account).unwrap();
        old.push((account.clone(), person.password.clone()));
        change_password(&world, person, &format!("Grün-{number}-neu!"));
    }
    assert_eq!(cycle(&world), 20);
    let names = names(&world);
    for (account, password) in &old {
        assert_eq!(world.sign_in(&names[account], &people[account].password), 0, "{account}");
        assert_eq!(world.sign_in(&names[account], password), WRONG, "{account} gets in with the old password");
    }

    // Somebody new signs in after one directory cycle, somebody disabled does not.
    world.modify(&format!(
        "dn: CN=Nina New,{PEOPLE}\nchangetype: add\nobjectClass: user\ncn: Nina New\nsAMAccountName: nina.new\ngivenName: Nina\nsn: New\n\
         userPrincipalName: nina.new@{VERIFIED}\nuserAccountControl: 512\nunicodePwd:: {}\n",
        written("Brand-New-77")
    ));
    let gone = people.iter_mut().find(|(account, person)| person.enabled && !changed.contains(account)).unwrap().1;
    world.modify(&format!("dn: {}\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n", gone.dn));
    gone.enabled = false;
    world.cycle(&[]);
    assert_eq!(world.sign_in(&format!("nina.new@{VERIFIED}"), "Brand-New-77"), 0);
    everybody_signs_in(&world, &people);

    // The same account by NTLM.
    let (_, realm) = account.split_once('@').unwrap();
    let short = format!("{}\\{}", world.lab.text("domain"), account.trim_end_matches(realm).trim_end_matches('@'));
    configure(&world, "ntlm", &short);
    let last = people.get_mut(&changed[0]).unwrap();
    change_password(&world, last, "By-NTLM-1!");
    assert_eq!(cycle(&world), 1);
    assert_eq!(world.sign_in(&names[&changed[0]], "By-NTLM-1!"), 0);
    configure(&world, "kerberos", &account);

    the_account_needs_both_rights(&world);
    configure(&world, "kerberos", &account);
    nothing_is_left_behind(&world, &people);
    assert_eq!(fs::read(world.config().join("syncline.toml")).unwrap(), before);
}

/// An account without the rights is told which, once, and nothing else happens.
fn the_account_needs_both_rights(world: &World) {
    configure(world, "kerberos", world.lab.text("reader_name"));
    for _ in 0..2 {
        let output = world.syncline(&["--json", "phs", "run", "--once"]);
        assert_eq!(output.status.code(), Some(2));
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("Replicating Directory Changes") && shown.contains("Replicating Directory Changes All"), "{shown}");
    }
    let events = world.syncline(&["--json", "events", "list", "--id", "611"]);
    let events: Value = serde_json::from_slice(&events.stdout).unwrap();
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");
}

/// Octets that must be nowhere: hashes, and passwords in the forms in which programs hold them.
struct Secrets {
    /// Beginnings of eight octets, so that one pass finds them all.
    beginnings: HashSet<[u8; 8]>,
    all: Vec<(String, Vec<u8>)>,
}

impl Secrets {
    fn of(people: &BTreeMap<String, Person>) -> Self {
        let mut all = Vec::new();
        for (account, person) in people {
            let wide: Vec<u8> = person.password.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let hash = Md4::digest(&wide);
            let hex = hex::encode(hash);
            let forms =
                [hash.to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes(), person.password.clone().into_bytes(), wide];
            all.extend(forms.into_iter().map(|form| (account.clone(), form)));
        }
        let beginnings = all.iter().map(|(_, form)| <[u8; 8]>::try_from(&form[..8]).unwrap()).collect();
        Self { beginnings, all }
    }

    fn assert_absent(&self, place: &str, octets: &[u8]) {
        for (at, window) in octets.windows(8).enumerate() {
            if self.beginnings.contains(<&[u8; 8]>::try_from(window).unwrap())
                && let Some((account, form)) = self.all.iter().find(|(_, form)| octets[at..].starts_with(form))
            {
                panic!("{place} holds a secret of {account} ({} octets)", form.len());
            }
        }
    }
}

/// Logs at the highest level, the support bundle, the store, the configuration, and the memory of an agent that rests hold no
/// hash and no password.
fn nothing_is_left_behind(world: &World, people: &BTreeMap<String, Person>) {
    let secrets = Secrets::of(people);
    let known = people.values().next().unwrap().password.clone().into_bytes();
    assert!(std::panic::catch_unwind(|| secrets.assert_absent("a trap", &known)).is_err(), "the search finds what is there");

    let output = world.syncline(&["--log", "trace", "phs", "full-sync"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.lines().count() > 100, "a log at the highest level says more: {log}");
    secrets.assert_absent("the log", &output.stderr);
    secrets.assert_absent("the output", &output.stdout);
    let service = world.lab.text("password").as_bytes();
    let holds_service = |octets: &[u8]| octets.windows(service.len()).any(|window| window == service);
    assert!(!holds_service(&output.stderr), "the log holds the account's password");

    let bundle = world.syncline(&["support", "bundle", "--with-names"]);
    assert_eq!(bundle.status.code(), Some(0), "{}", String::from_utf8_lossy(&bundle.stderr));
    assert!(bundle.stdout.len() > 10_000, "a bundle says more: {}", String::from_utf8_lossy(&bundle.stdout));
    secrets.assert_absent("the support bundle", &bundle.stdout);
    assert!(!holds_service(&bundle.stdout), "the support bundle holds the account's password");

    let agent = Agent(world.command(&["--log", "info", "phs", "run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    // It has begun when nobody else can open the store.
    let clock = SystemClock::new();
    while world.syncline(&["--wait", "0", "phs", "status"]).status.success() {
        assert!(clock.elapsed() < Duration::from_mins(1), "the agent does not begin");
        std::thread::sleep(Duration::from_millis(200));
    }
    agent.rests();
    secrets.assert_absent("the agent's memory", &agent.memory());
    drop(agent);
    files(&world.config(), &mut |path, octets| secrets.assert_absent(&path.display().to_string(), octets));
}

fn files(folder: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, look) } else { look(&path, &fs::read(&path).unwrap()) }
    }
}

/// `phs run` in the background.
struct Agent(Child);

impl Agent {
    /// Waits until it does nothing: its processor time stands still for a while.
    fn rests(&self) {
        let clock = SystemClock::new();
        let mut last = String::new();
        loop {
            std::thread::sleep(Duration::from_secs(2));
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            let time = fields[11..13].join(" ");
            if time == last {
                return;
            }
            last = time;
            assert!(clock.elapsed() < Duration::from_mins(1), "the agent does not come to rest");
        }
    }

    /// Everything that it can write to, as a core dump would hold it.
    fn memory(&self) -> Vec<u8> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.0.id())).unwrap();
        let memory = fs::File::open(format!("/proc/{}/mem", self.0.id())).unwrap();
        let mut octets = Vec::new();
        for line in maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let (mut at, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let mut page = vec![0; 1 << 20];
            while at < to {
                let length = usize::try_from((to - at).min(1 << 20)).unwrap();
                // Guard pages cannot be read, and hold nothing.
                if memory.read_exact_at(&mut page[..length], at).is_ok() {
                    octets.extend_from_slice(&page[..length]);
                }
                at += length as u64;
            }
        }
        assert!(octets.len() > 1 << 20, "only {} octets of memory could be read", octets.len());
        octets
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
