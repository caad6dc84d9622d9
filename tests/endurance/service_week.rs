//! A week of the running service, with a real store, a real tenant and a clock that passes it in a minute: tenant,
//! directory and disk fail for hours, somebody suspends it, sets the clock, keeps it busy and changes its configuration.
//! It does the right thing at the right moment, never in a hurry, and is as large in the end as after its first day.

use crate::killed::setting;
use crate::life::{LOOK_EVERY, Life};
use crate::world::{World, assert_same, people, person};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;
use syncline::config::{Config, set_key};
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe, PasswordState};
use syncline::engine::Silent;
use syncline::model::Timestamp;
use syncline::schedule::Suspension;
use syncline::service::{DriveOptions, EventQuery, Health, Profile, ServiceError, Work};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const USERS: u64 = 60;
/// The supervisor, the password agent and who looks at the configuration; nobody listens to the directory in this week.
const RESIDENTS: usize = 3;
/// Set where the week is alone in its process, so that its memory is the service's own.
const ALONE: &str = "SYNCLINE_WEEK_ALONE";

/// Minutes from the beginning, by what the clock said, at which cycles began since a time.
fn cycles(life: &Life, since: Timestamp) -> Vec<i64> {
    let query = EventQuery { numbers: vec![7001], since: Some(since), ..EventQuery::default() };
    let (events, more) = life.service().events(&query, 10_000).unwrap();
    assert!(!more);
    let minute = |at: &str| (at.parse::<jiff::Timestamp>().unwrap().as_microsecond() - life.began.0).div_euclid(60_000_000);
    events.iter().map(|event| minute(&event.at)).collect()
}

fn told(life: &Life, number: u32) -> usize {
    life.service().events(&EventQuery { numbers: vec![number], ..EventQuery::default() }, 10_000).unwrap().0.len()
}

/// Resident memory of this process, in octets.
fn memory() -> u64 {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn recipe(version: u64) -> DirectoryRecipe {
    let passwords = Some(PasswordRecipe { changed: version });
    DirectoryRecipe { users: USERS, groups: 6, contacts: 3, passwords, ..DirectoryRecipe::default() }
}

/// The directory after so many changes: each gives one person another name and another one a new password.
fn directory(version: u64) -> String {
    let mut text = Vec::new();
    recipe(version).write_ldif(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut person = 0;
    let records = text.split("\n\n").map(|record| {
        if !record.contains("objectClass: user") {
            return record.to_owned();
        }
        person += 1;
        if person <= version { record.replace("displayName: ", &format!("displayName: {version} ")) } else { record.to_owned() }
    });
    records.collect::<Vec<_>>().join("\n\n")
}

fn world(text: &str) -> World {
    let world = World::new(text, &[]);
    world.json(0, &["phs", "enable"]);
    world
}

#[test]
fn a_week_passes_and_everything_happens_at_its_time() {
    if setting(ALONE, 0) == 1 {
        return the_week();
    }
    // The memory of this process is also that of the tests beside.
    let this = "service_week::a_week_passes_and_everything_happens_at_its_time";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([this, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

/// Somebody's file is missing for nine days. Everybody else's changes go on being read as changes.
#[test]
fn a_directory_that_is_away_for_a_week_costs_nobody_else_a_full_step() {
    let world = World::new(&people(20, 2, 1), &[]);
    let first = std::fs::read_to_string(world.connector_file("10-")).unwrap();
    let other = first.replace("name = \"corp\"", "name = \"second\"").replace("directory.ldif", "second.ldif");
    std::fs::write(world.config().join("connectors/20-second.toml"), other).unwrap();
    let file = world.directory_file().with_file_name("second.ldif");
    std::fs::write(&file, person(7, "")).unwrap();
    let folder = world.config();
    let main = folder.join("syncline.toml");
    set_key(&folder, &main, "scheduler", "interval", "12h").unwrap();
    set_key(&folder, &main, "scheduler", "near_real_time", false).unwrap();
    world.cycle(0, &["--initial"]);
    // Nobody sends passwords here.
    let life = Life::begin(Config::load(&folder).unwrap(), RESIDENTS - 1);
    let last = |connector: &str, kind: &str| {
        let runs = life.service().history().unwrap().runs(50).unwrap();
        let run = runs.iter().find(|run| run.connector == connector && run.profile.ends_with(kind)).unwrap();
        (run.profile.clone(), run.result.clone())
    };
    life.pass(HOUR);
    assert_eq!(last("second", "Import").1, "success");
    let hidden = file.with_extension("away");
    std::fs::rename(&file, &hidden).unwrap();
    life.pass(HOUR * 215);
    assert_ne!(last("second", "Import").1, "success");
    let asked = |connector: &str| {
        let query = EventQuery { numbers: vec![7030], connector: Some(connector.to_owned()), ..EventQuery::default() };
        life.service().events(&query, 1_000).unwrap().0.iter().filter(|event| event.text.contains("for a week")).count()
    };
    let before = asked("second");
    assert!((3..=5).contains(&before) && asked("corp") == 0, "in each cycle of the last two days: {before}");
    assert_eq!(last("corp", "Synchronization").0, "Delta Synchronization");
    assert_eq!(last("Entra", "Import"), ("Delta Import".to_owned(), "success".to_owned()));
    std::fs::rename(&hidden, &file).unwrap();
    life.pass(HOUR * 239);
    assert_eq!(last("second", "Import").1, "success");
    assert_eq!(asked("second"), before + 1, "the first one that succeeds is the last one");
    // It is away again, and somebody reads it by hand before a week is over.
    std::fs::rename(&file, &hidden).unwrap();
    life.pass(HOUR * 383);
    std::fs::rename(&hidden, &file).unwrap();
    let service = life.service();
    let by_hand = Work::Profile { connector: service.connector_id("second").unwrap(), profile: Profile::FullImport };
    let runs = service.drive(&life.cx, &[by_hand], DriveOptions::default(), &mut Silent).unwrap();
    assert_eq!(runs[0].result, "success", "{runs:#?}");
    std::fs::rename(&file, &hidden).unwrap();
    life.pass(HOUR * 443);
    assert_ne!(last("second", "Import").1, "success");
    assert_eq!(asked("second"), 0, "what was read by hand is not too old, and what was told of the week before is history");
    drop(service);
    life.end();
}

#[expect(clippy::print_stdout, reason = "what a test measured; it calls this in another process")]
fn the_week() {
    let mut world = world(&directory(0));
    let folder = world.config();
    let main = folder.join("syncline.toml");
    set_key(&folder, &main, "scheduler", "near_real_time", false).unwrap();
    set_key(&folder, &main, "limits", "history_days", 2).unwrap();
    let life = Life::begin(Config::load(&folder).unwrap(), RESIDENTS);
    let mut version = 0;
    let write = |world: &World, version: u64| world.write_directory(&directory(version));

    // A day like any other: a cycle every half hour, and somebody changes something every four hours.
    for hour in (4..=24).step_by(4) {
        life.pass((HOUR * hour).saturating_sub(MINUTE));
        version += 1;
        write(&world, version);
    }
    life.pass(HOUR * 24 + MINUTE);
    let half_hours: Vec<i64> = (0..=48).map(|number| number * 30).collect();
    assert_eq!(cycles(&life, life.began), half_hours);
    let status = life.service().status(&life.cx, true).unwrap();
    assert_eq!(status.health, Health::Well, "{:#?}", status.attention);
    let first_day = life.settle();
    let (small, file) = (memory(), std::fs::metadata(&life.service().config().store).unwrap().len());

    // The tenant is away for a day. Every cycle tries and says so; nothing is lost and nobody hurries.
    world.kill_tenant();
    version += 1;
    write(&world, version);
    let before = life.cx.now();
    let away = life.pass(HOUR * 48 + MINUTE);
    assert_eq!(cycles(&life, before).len(), 48);
    let status = life.service().status(&life.cx, true).unwrap();
    assert_eq!(status.health, Health::Trouble);
    assert!(status.attention.iter().any(|found| found.what.contains("Entra")), "{:#?}", status.attention);
    // The supervisor and who looks at the configuration look once in a minute, the agent once in two; a cycle may try again some times.
    assert!(away.waits - first_day.waits < 2 * 24 * 60 + 24 * 30 + 48 * 30, "{} waits in a day", away.waits - first_day.waits);
    world.start_tenant();

    // The directory is away for half a day: nobody is deleted.
    life.pass(HOUR * 50);
    let status = life.service().status(&life.cx, true).unwrap();
    assert_eq!(status.health, Health::Well, "{:#?}", status.attention);
    let people = world.tenant_state().len();
    let hidden = world.directory_file().with_extension("away");
    std::fs::rename(world.directory_file(), &hidden).unwrap();
    life.pass(HOUR * 62);
    assert_eq!(life.service().status(&life.cx, true).unwrap().health, Health::Trouble);
    assert_eq!(world.tenant_state().len(), people);
    std::fs::rename(&hidden, world.directory_file()).unwrap();

    // Suspended for six hours: nothing runs, and afterwards one cycle at once.
    life.pass(HOUR * 64 + MINUTE);
    let before = life.cx.now();
    let suspension = Suspension { since: before.0, by: "somebody".to_owned(), reason: "a move".to_owned() };
    life.service().remember_schedule(|memory| memory.suspended = Some(suspension)).unwrap();
    life.station.look();
    life.pass(HOUR * 70 + MINUTE);
    assert_eq!(cycles(&life, before), Vec::<i64>::new());
    life.service().remember_schedule(|memory| memory.suspended = None).unwrap();
    life.station.look();
    life.pass(HOUR * 70 + MINUTE * 3);
    assert_eq!(cycles(&life, before).len(), 1);

    // Somebody sets the clock ten hours forward, and five back: one cycle each, and then every half hour.
    life.pass(HOUR * 72);
    let before = life.cx.now();
    life.clock.set(HOUR * 10, false);
    life.pass(HOUR * 72 + MINUTE * 2);
    assert_eq!(cycles(&life, before).len(), 1, "what was missed is done once");
    let before = life.cx.now();
    life.pass(HOUR * 76);
    assert_eq!(cycles(&life, before).len(), 7);
    life.clock.set(HOUR * 5, true);
    let before = life.cx.now();
    life.pass(HOUR * 76 + MINUTE * 2);
    let back = cycles(&life, before).into_iter().filter(|minute| *minute < 82 * 60).collect::<Vec<_>>();
    assert_eq!(back.len(), 1, "a clock that was set back holds nothing up: {back:?}");
    life.pass(HOUR * 82);

    // The disk is full for three hours: the service says so, and opens its store again when there is room.
    version += 1;
    write(&world, version);
    life.pass(HOUR * 84 + MINUTE * 5);
    let (before, waits) = (life.cx.now(), life.settle().waits);
    life.full.store(true, Ordering::SeqCst);
    version += 1;
    write(&world, version);
    let full = life.pass(HOUR * 87);
    assert!(life.service().status(&life.cx, true).is_err(), "a store that cannot be used is no store that is well");
    assert!(life.service().scheduler_memory().unwrap().cycle_began > Some(before.0), "cycles were due and tried");
    assert!(full.waits - waits < 780, "{} waits in three hours", full.waits - waits);
    life.full.store(false, Ordering::SeqCst);
    life.pass(HOUR * 88);
    assert!(told(&life, 7066) >= 1, "it is told that the store is back");
    let status = life.service().status(&life.cx, true).unwrap();
    assert_eq!(status.health, Health::Well, "{:#?}", status.attention);

    // Somebody keeps the turn for half an hour: the cycle that was due comes right behind.
    life.pass(HOUR * 90 + MINUTE);
    let last = life.service().scheduler_memory().unwrap().cycle_began.unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn({
        let (service, cx) = (life.service(), life.cx.clone());
        move || {
            let hold = || {
                held.recv().unwrap();
                Ok::<(), ServiceError>(())
            };
            service.between_runs(&cx, "a long check", Duration::ZERO, hold).unwrap();
        }
    });
    while life.service().running().is_none() {
        std::thread::sleep(LOOK_EVERY);
    }
    life.pass(HOUR * 91);
    assert_eq!(life.service().scheduler_memory().unwrap().cycle_began, Some(last));
    release.send(()).unwrap();
    holder.join().unwrap();
    life.pass(HOUR * 91 + MINUTE);
    assert!(life.service().scheduler_memory().unwrap().cycle_began > Some(last));

    // Somebody changes the interval; the rest of the week goes by.
    set_key(&folder, &main, "scheduler", "interval", "1h").unwrap();
    let taken = told(&life, 7062);
    life.pass(HOUR * 92);
    assert_eq!(told(&life, 7062), taken + 1);
    for hour in (96..=164).step_by(4) {
        life.pass(HOUR * hour);
        version += 1;
        write(&world, version.min(USERS - 1));
    }
    let before = life.cx.now();
    let end = life.pass(HOUR * 168 + MINUTE * 2);
    let last = cycles(&life, before);
    assert_eq!(last.len(), 5, "at once and behind each of four hours: {last:?}");
    assert!(last.windows(2).all(|pair| pair[1] - pair[0] == 60), "{last:?}");

    // Twice a minute, once in two minutes, and around each piece of work.
    assert!(end.waits < 7 * (2 * 24 * 60 + 24 * 30) + 2_500, "{} waits in a week", end.waits);
    let now = life.cx.now();
    let oldest = life.service().history().unwrap().runs(100_000).unwrap().pop().unwrap();
    let age = now.0 - oldest.started.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    assert!(Duration::from_micros(age.unsigned_abs()) <= HOUR * 74, "history is purged: the oldest run is of {}", oldest.started);
    let (large, grown) = (memory(), std::fs::metadata(&life.service().config().store).unwrap().len());
    println!(
        "a week: {} waits; memory {} MB after a day, {} MB after the week; store {} MB, {} MB",
        end.waits,
        small >> 20,
        large >> 20,
        file >> 20,
        grown >> 20
    );
    assert!(large <= small + (48 << 20), "{small} octets after a day, {large} after a week");
    assert!(grown <= file * 4, "the store had {file} octets after a day, and {grown} after a week");
    let status = life.service().status(&life.cx, true).unwrap();
    assert_eq!(status.health, Health::Well, "{:#?}", status.attention);
    life.end();

    // What the tenant holds is what an undisturbed installation would have brought it.
    let version = version.min(USERS - 1);
    let found = world.tenant_state();
    let calm = self::world(&directory(version));
    calm.cycle(0, &["--initial"]);
    calm.json(0, &["phs", "run", "--once"]);
    assert_same(&found, &calm.tenant_state(), "the tenant after a week");
    let recipe = recipe(version);
    for index in [0, 1, version - 1, version] {
        if recipe.password_state(index) == PasswordState::Good {
            let name = recipe.user_principal_name(index);
            let (here, there) = (world.sign_in(&name, &recipe.user_password(index)), calm.sign_in(&name, &recipe.user_password(index)));
            assert_eq!(here, there, "{name} signs in as in the calm world");
        }
    }
    world.check_store();
}
