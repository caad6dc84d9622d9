//! What administrators did: a line of JSON for each command that changes something, in a file beside the store. A store may
//! be thrown away and made anew from its directories; what was done to it must not go with it.
//!
//! An act is written down when it begins and when it ends, so that one whose process was killed does not go unseen.

use super::support_mask::typed;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The record of administrative acts.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When it began, in RFC 3339.
    #[serde(default)]
    pub begun: String,
    /// When it was over; empty while it is not, or when its process was killed.
    pub at: String,
    /// Who did it: the account of the calling process.
    pub by: String,
    /// The command as it was typed, without what may be a secret.
    pub command: Vec<String>,
    /// A running service did it.
    pub in_service: bool,
    /// How it ended; nothing while it did not.
    pub exit_code: Option<u8>,
    /// Stands for all files of the configuration before it.
    pub configuration_before: String,
    /// The same behind it: another one when the act changed a file.
    pub configuration_after: String,
}

/// A line is never longer; a longer one is not ours.
const LINE_MAX: u64 = 1 << 20;
/// How much of the file's end is read at once, looking for its last lines.
const PIECE: u64 = 1 << 16;

impl AuditLog {
    /// The record beside a store.
    pub fn beside(store: &Path) -> Self {
        Self { path: store.with_extension("audit.jsonl") }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one act to the end, down to the disk, without what may be a secret of what was typed. Only this user may read the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, act: &Act) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Act { command: typed(&act.command), ..act.clone() })?;
        line.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).read(true).mode(0o600).open(&self.path)?;
        // A line that a crash cut off must not swallow this one.
        if !ends_with_line(&mut file)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_data()
    }

    /// The newest acts first, at most so many, and whether there are more. Of an act that ended its end is told. Lines that
    /// are none are left out.
    ///
    /// # Errors
    /// When the file cannot be read. One that is not there has no acts.
    pub fn newest(&self, limit: usize) -> io::Result<(Vec<Act>, bool)> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let mut piece = PIECE;
        loop {
            let start = length.saturating_sub(piece);
            file.seek(SeekFrom::Start(start))?;
            let mut acts = Vec::new();
            let mut reader = BufReader::new(&file);
            if start > 0 {
                // What stands before the first border belongs to an earlier line.
                reader.read_until(b'\n', &mut Vec::new())?;
            }
            let mut line = Vec::new();
            while reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? > 0 {
                // Earlier releases wrote what was typed.
                acts.extend(serde_json::from_slice::<Act>(&line).ok().map(|act| Act { command: typed(&act.command), ..act }));
                line.clear();
            }
            let mut acts = once_each(acts);
            if acts.len() > limit || start == 0 {
                let more = acts.len() > limit;
                acts.truncate(limit);
                return Ok((acts, more));
            }
            piece = piece.saturating_mul(4);
        }
    }
}

/// The newest first, without the beginnings of those that ended.
fn once_each(mut acts: Vec<Act>) -> Vec<Act> {
    let key = |act: &Act| (act.begun.clone(), act.by.clone(), act.command.clone());
    let ended: HashSet<_> = acts.iter().filter(|act| act.exit_code.is_some()).map(key).collect();
    acts.retain(|act| act.exit_code.is_some() || !ended.contains(&key(act)));
    acts.reverse();
    acts
}

fn ends_with_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn act(number: usize) -> Act {
        Act {
            begun: format!("2026-11-21T07:{:02}:00Z", number % 60),
            at: format!("2026-11-21T08:{:02}:00Z", number % 60),
            by: "root (uid 0)".to_owned(),
            command: vec!["rule".to_owned(), "disable".to_owned(), format!("{number} {}", "x".repeat(200))],
            in_service: false,
            exit_code: Some(0),
            configuration_before: "0000000000000001".to_owned(),
            configuration_after: "0000000000000002".to_owned(),
        }
    }

    #[test]
    fn acts_are_read_back_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::beside(&folder.path().join("s.redb"));
        assert_eq!(log.newest(5).unwrap(), (Vec::new(), false));
        // More than one piece of the file's end.
        for number in 0..400 {
            log.append(&act(number)).unwrap();
        }
        assert_eq!(std::fs::metadata(log.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let (found, more) = log.newest(3).unwrap();
        assert_eq!((found, more), (vec![act(399), act(398), act(397)], true));
        let (found, more) = log.newest(400).unwrap();
        assert_eq!((found.len(), more, &found[399]), (400, false, &act(0)));
    }

    #[test]
    fn an_act_that_was_killed_is_told_and_one_that_ended_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::beside(&folder.path().join("s.redb"));
        let begun = |number| Act { at: String::new(), exit_code: None, configuration_after: String::new(), ..act(number) };
        for line in [begun(1), begun(2), act(1), begun(3), act(3)] {
            log.append(&line).unwrap();
        }
        assert_eq!(log.newest(9).unwrap(), (vec![act(3), act(1), begun(2)], false));
        assert_eq!(log.newest(2).unwrap(), (vec![act(3), act(1)], true));
        let older =
            br#"{"at":"a","by":"b","command":[],"in_service":false,"exit_code":0,"configuration_before":"","configuration_after":""}"#;
        assert_eq!(serde_json::from_slice::<Act>(older).unwrap().exit_code, Some(0), "as it was written before");
    }

    #[test]
    fn secrets_that_were_typed_are_not_kept_and_those_of_earlier_releases_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::beside(&folder.path().join("s.redb"));
        let typed = "config set alerts.webhook.url https://hooks.example/T0AB";
        let act = Act { command: typed.split(' ').map(str::to_owned).collect(), ..act(1) };
        log.append(&act).unwrap();
        let kept = std::fs::read_to_string(log.path()).unwrap();
        assert!(kept.contains("https://hooks.example/…") && !kept.contains("T0AB"), "{kept}");
        std::fs::write(log.path(), serde_json::to_string(&act).unwrap() + "\n").unwrap();
        assert_eq!(log.newest(1).unwrap().0[0].command[3], "https://hooks.example/…");
    }

    #[test]
    fn a_line_that_was_cut_off_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::beside(&folder.path().join("s.redb"));
        log.append(&act(1)).unwrap();
        let mut text = std::fs::read(log.path()).unwrap();
        text.extend_from_slice(b"{\"at\":\"2026-11");
        std::fs::write(log.path(), &text).unwrap();
        log.append(&act(2)).unwrap();
        assert_eq!(log.newest(9).unwrap(), (vec![act(2), act(1)], false));
    }
}
