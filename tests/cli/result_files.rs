//! Results go where the caller says, but not over the store, the configuration or what a connector reads.

use crate::moves::{World, people};
use crate::{assert_code, stderr};
use std::fs;

const FILE: &str = "in/1.ldif";

#[test]
fn a_result_replaces_nothing_that_syncline_lives_on() {
    let world = World::with(&[(FILE, &people(1..4))]);
    world.first_cycle();
    let ours = [
        world.config().join("syncline.redb"),
        world.config().join("syncline.toml"),
        world.config().join("connectors/10-corp.example.toml"),
        world.config().join("rules/10.toml"),
        world.at(FILE),
        world.at("in/new.ldif"),
    ];
    fs::create_dir(world.config().join("rules")).expect("a folder can be made");
    let link = world.at("link");
    std::os::unix::fs::symlink(&ours[0], &link).expect("a link can be made");
    let before = ours.each_ref().map(|file| fs::read(file).ok());
    for command in [
        &["lint", "directory", "--ldif"][..],
        &["lint", "directory", "--csv"],
        &["object", "export", "user1@corp.example", "--bundle"],
        &["object", "explain", "user1@corp.example", "--html"],
        &["object", "sync", "user1@corp.example", "--html"],
        &["preview", "user1@corp.example", "--html"],
        &["mv", "why", "user1@corp.example", "title", "--html"],
        &["export", "--what-if", "--html"],
        &["export", "--what-if", "--csv"],
        &["cs", "search", "corp.example", "--csv"],
        &["connector", "export", "corp.example", "--to"],
    ] {
        for file in ours.iter().chain([&link]) {
            let output = world.run(&[command, &[file.to_str().expect("a path")]].concat());
            assert_code(&output, 64);
            assert!(stderr(&output).contains("would be replaced by the result"), "{command:?}: {}", stderr(&output));
        }
        let output = world.run(&[command, &[world.at("result").to_str().expect("a path")]].concat());
        assert!(matches!(output.status.code(), Some(0 | 1)), "{command:?}: {}", stderr(&output));
        assert!(fs::metadata(world.at("result")).is_ok(), "{command:?}");
        fs::remove_file(world.at("result")).expect("it was written");
    }
    assert_eq!(ours.each_ref().map(|file| fs::read(file).ok()).map(|read| read.is_some()), before.each_ref().map(Option::is_some));
    assert_eq!(fs::read(&ours[4]).ok(), before[4]);
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, crate::exported(&shown)), (Some(0), 0), "{shown:#}");
}
