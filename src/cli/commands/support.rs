//! `support bundle`: one document for whoever helps.

use crate::cli::args::{Arguments, SupportCommand};
use crate::cli::error::{CommandError, Exit};
use crate::cli::{App, Place};
use crate::service::{Access, ServiceError};
use clap::CommandFactory as _;

pub(in crate::cli) fn run(app: &App, command: &SupportCommand) -> Result<Exit, CommandError> {
    let SupportCommand::Bundle { with_names } = command;
    let served = matches!(app.place, Place::Service(_));
    let bundle = app.service(Access::Existing)?.support_bundle(&app.cx, served, *with_names, &plain_words)?;
    let text = serde_json::to_string_pretty(&bundle).map_err(|error| ServiceError::Usage(error.to_string()))?;
    app.output.line(text);
    if !app.output.json {
        let names = if *with_names { "Names of people are in it" } else { "Names of people were left out" };
        app.output.note(format!("{names}; secrets are in none. Read it before you give it away: it holds {}.", bundle.holds.join("; ")));
    }
    Ok(Exit::Ok)
}

/// The words of a command that this program knows: commands, and options without their values. All else may name a person.
fn plain_words(words: &[String]) -> Vec<String> {
    let root = Arguments::command();
    let mut at = &root;
    let mut known = Vec::new();
    for word in words {
        let option = word.split_once('=').map_or(word.as_str(), |(option, _)| option);
        let is_option = |command: &clap::Command| {
            let mut names = command.get_arguments().filter_map(clap::Arg::get_long);
            option.strip_prefix("--").is_some_and(|name| names.any(|known| known == name))
        };
        if let Some(below) = at.find_subcommand(word) {
            at = below;
            known.push(word.clone());
        } else if is_option(at) || is_option(&root) {
            known.push(option.to_owned());
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_only_its_own_words_are_kept() {
        for (typed, kept) in [
            (&["object", "sync", "jsmith", "--html", "page.html"][..], &["object", "sync", "--html"][..]),
            (&["--config", "/etc/x", "export", "--plan=abc"], &["--config", "export", "--plan"]),
            (&["config", "set", "alerts.mail.to", "ann"], &["config", "set"]),
            (&["object", "sync", "sync"], &["object", "sync"]),
        ] {
            let typed: Vec<String> = typed.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(plain_words(&typed), kept);
        }
    }
}
