//! The questions of a first configuration: six, each tried out as soon as it is answered, and asked again with the reason when
//! it does not work. What is given by options is not asked for. Nothing is written here.

mod containers;
mod source;
mod target;

use super::App;
use super::args::{InitArguments, SourceKind};
use super::ask::Questions;
use super::calls::completed;
use super::error::{CommandError, Exit};
use super::output::clean;
use crate::config::{ConfigTemplate, TemplatePasswords};
use crate::connector::ConnectorError;
use crate::service::Surveyor;
use secrecy::SecretString;
use std::fmt::Display;

/// What was answered.
pub(in crate::cli) struct Answers {
    /// The configuration.
    pub(in crate::cli) template: ConfigTemplate,
    /// Secrets by the names of their credentials.
    pub(in crate::cli) secrets: Vec<(String, SecretString)>,
    /// Somebody wants to see at once what would be exported.
    pub(in crate::cli) look: bool,
}

/// Somebody to ask, and something to try answers with.
struct Wizard<'a> {
    app: &'a App,
    arguments: &'a InitArguments,
    questions: Questions,
    surveyor: Surveyor,
}

/// How many questions there are.
const QUESTIONS: u8 = 6;

/// Asks everything that options do not answer.
pub(in crate::cli) fn ask(app: &App, arguments: &InitArguments, questions: Questions) -> Result<Answers, CommandError> {
    let wizard = Wizard { app, arguments, questions, surveyor: Surveyor::new()? };
    wizard.note("Six questions make a first configuration. Every answer is tried out; nothing is written before the end.");
    let source = wizard.source()?;
    let target = wizard.target(&source)?;
    let password_hashes = wizard.password_hashes(&source)?;
    let name = arguments.name.clone().unwrap_or_else(|| source.name.clone());
    let mut secrets: Vec<(String, SecretString)> = source.secret.into_iter().collect();
    secrets.extend(target.secret);
    let template = ConfigTemplate {
        source_name: name,
        source: source.template,
        target_name: "Entra".to_owned(),
        tenant: target.template,
        include: source.include,
        exclude: source.exclude,
        domain: source.domain,
        max_deletes: arguments.max_deletes,
        staging: true,
        password_hashes,
    };
    wizard.note(format!(
        "\nEverything is known. It goes to {}, in staging mode: nothing is exported before you say so.",
        app.config.display()
    ));
    if !wizard.questions.yes("Write it", true)? {
        return Err(CommandError::new("declined", Exit::Stopped, "nothing was written")
            .hint("`syncline init` asks again; with options, only for what they leave open: `syncline init --help`"));
    }
    let prompt = "Read everything now and show what would be sent (nothing is)";
    let look = arguments.look || wizard.questions.yes(prompt, true)?;
    Ok(Answers { template, secrets, look })
}

impl Wizard<'_> {
    /// Tells something that is no question.
    fn note(&self, text: impl AsRef<str>) {
        self.app.output.note(completed(text.as_ref()));
    }

    /// A heading.
    fn step(&self, number: u8, what: &str) {
        self.note(format!("\n{number} of {QUESTIONS}  {what}"));
    }

    /// Says that something is as it should be.
    fn good(&self, what: impl Display) {
        self.app.output.note_behind("  ok    ", &clean(what.to_string()));
    }

    /// Says what should be looked at, and goes on.
    fn warn(&self, what: impl Display) {
        self.app.output.note_behind("  note  ", &clean(what.to_string()));
    }

    /// Says why an answer does not work. The question is asked again; what came from an option cannot be, and ends it.
    fn wrong(&self, reason: impl Display, from_option: Option<&str>) -> Result<(), CommandError> {
        if let Some(option) = from_option {
            return Err(CommandError::new("unusable", Exit::NotStarted, clean(format!("{option}: {reason}")))
                .hint("mend the option, or leave it out to be asked"));
        }
        self.app.output.note_behind("  wrong ", &clean(reason.to_string()));
        Ok(())
    }

    /// Whether passwords go along, tried out.
    fn password_hashes(&self, source: &source::Source) -> Result<Option<TemplatePasswords>, CommandError> {
        self.step(6, "Passwords");
        let Some(replication) = &source.replication else {
            self.note("  This kind of directory has none to read; people get passwords in the cloud.");
            return Ok(None);
        };
        self.note("  Hashes of hashes of passwords would be sent, and no password.");
        if !self.questions.yes("Shall people sign in with the passwords of the directory", true)? {
            return Ok(None);
        }
        let checks = self.surveyor.replication(&self.app.cx, replication.settings.clone());
        let missing: Vec<String> = match checks {
            Ok(checks) => {
                checks.iter().filter(|check| check.good).for_each(|check| self.good(format!("{}: {}", check.what, check.evidence)));
                checks.iter().filter(|check| !check.good).map(|check| format!("{}: {}", check.what, check.evidence)).collect()
            }
            Err(ConnectorError { message, .. }) => vec![message],
        };
        if missing.is_empty() {
            return Ok(Some(replication.template.clone()));
        }
        missing.iter().try_for_each(|missing| self.wrong(missing, None))?;
        self.note(format!(
            "  `syncline account ad grant {} --feature password-hash --script windows` (or samba) writes the commands that give the \
             account its rights, once this configuration is there.",
            source.name
        ));
        let on = self.questions.yes("Switch them on all the same (they flow when it is mended)", true)?;
        Ok(on.then(|| replication.template.clone()))
    }
}

/// The kinds of sources, in the order of the question.
const SOURCES: [(SourceKind, &str); 3] = [
    (SourceKind::Ad, "Active Directory (Windows or Samba)"),
    (SourceKind::Ldap, "OpenLDAP or another LDAP directory"),
    (SourceKind::Ldif, "LDIF files"),
];
