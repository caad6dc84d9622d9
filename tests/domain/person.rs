//! Somebody at a real terminal, who reads what is shown and answers.

use crate::labs::{self, Lab};
use rexpect::session::{PtySession, spawn_command};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// So long an answer may take on a busy machine, in milliseconds.
const PATIENCE: u64 = 60_000;
/// A terminal shows a question before it stops showing what is typed.
pub(crate) const BEFORE_TYPING: Duration = Duration::from_millis(300);

/// Somebody at a terminal.
pub(crate) struct Person {
    /// The terminal.
    pub(crate) terminal: PtySession,
    /// Everything that was shown.
    seen: String,
}

impl Person {
    pub(crate) fn at(config: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.arg("--config").arg(config).args(arguments).env("NO_COLOR", "1").env("TERM", "xterm").env_remove("CREDENTIALS_DIRECTORY");
        Self { terminal: spawn_command(command, Some(PATIENCE)).unwrap(), seen: String::new() }
    }

    #[track_caller]
    pub(crate) fn reads(&mut self, text: &str) {
        match self.terminal.exp_string(text) {
            Ok(before) => {
                self.seen.push_str(&before);
                self.seen.push_str(text);
            }
            Err(error) => panic!("'{text}' did not come: {error}\n--- seen before:\n{}", self.seen),
        }
    }

    #[track_caller]
    pub(crate) fn answers(&mut self, question: &str, answer: &str) {
        self.reads(question);
        std::thread::sleep(BEFORE_TYPING);
        self.terminal.send_line(answer).unwrap();
    }

    /// Takes what is offered.
    #[track_caller]
    pub(crate) fn agrees(&mut self, question: &str) {
        self.answers(question, "");
    }

    /// Takes an entry of a list, so many below the one that is offered.
    #[track_caller]
    pub(crate) fn takes(&mut self, question: &str, below: usize) {
        self.reads(question);
        std::thread::sleep(BEFORE_TYPING);
        for _ in 0..below {
            self.terminal.send("\u{1b}[B").unwrap();
            self.terminal.flush().unwrap();
            std::thread::sleep(BEFORE_TYPING);
        }
        self.terminal.send_line("").unwrap();
    }

    /// Says no, for which one key is enough.
    #[track_caller]
    pub(crate) fn refuses(&mut self, question: &str) {
        self.reads(question);
        std::thread::sleep(BEFORE_TYPING);
        self.terminal.send("n").unwrap();
        self.terminal.flush().unwrap();
    }

    /// Signs in to a directory, at first with a wrong password.
    #[track_caller]
    pub(crate) fn signs_in(&mut self, question: &str, lab: &Lab, wrong: &str) {
        self.answers(question, lab.text("bind_name"));
        self.answers("Password (not shown)", "not-the-password");
        self.reads(wrong);
        // Whoever types it again is not seen doing so.
        self.answers("Password (not shown; empty: another account)", lab.text("password"));
    }

    /// Has it written and reads everything. Gives everything that was shown.
    #[track_caller]
    pub(crate) fn writes_and_looks(mut self) -> String {
        self.agrees("Write it");
        self.agrees("Read everything now");
        self.reads("would be exported, such as");
        let (seen, code) = self.leaves();
        assert!(matches!(code, 0 | 1), "{code}\n{seen}");
        seen
    }

    /// Reads to the end. Gives everything that was shown, and the exit code.
    #[track_caller]
    pub(crate) fn leaves(mut self) -> (String, i32) {
        self.seen.push_str(&self.terminal.exp_eof().unwrap());
        let status = self.terminal.process().wait().unwrap();
        let rexpect::process::WaitStatus::Exited(_, code) = status else { panic!("{status:?}\n{}", self.seen) };
        (self.seen, code)
    }
}

/// The program without a terminal.
pub(crate) fn syncline(config: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline")).arg("--config").arg(config).args(arguments).output().unwrap()
}

/// A directory in a file.
pub(crate) fn people_in(folder: &Path) -> PathBuf {
    let people = folder.join("people.ldif");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&people).unwrap());
    labs::recipe(25, 3, 2).write_ldif(&mut file).unwrap();
    file.flush().unwrap();
    people
}
