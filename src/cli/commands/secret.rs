//! `secret`: the secrets that the configuration names. What they are is never shown.

use crate::cli::App;
use crate::cli::args::SecretCommand;
use crate::cli::ask::Questions;
use crate::cli::commands::init::secret_of_file;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table};
use crate::config::{Config, SecretOrigin, valid_name};
use crate::service::{SecretLine, secret_lines};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct Listed {
    secrets: Vec<SecretLine>,
}

pub(in crate::cli) fn run(app: &App, command: &SecretCommand) -> Result<Exit, CommandError> {
    let config = Config::load(&app.config)?;
    match command {
        SecretCommand::List => {
            let secrets = secret_lines(&config);
            let missing = secrets.iter().any(|line| !line.usable);
            app.output.result(&Listed { secrets }, |found| {
                let rows = found.secrets.iter().map(|line| {
                    let state = line.problem.clone().unwrap_or_else(|| line.origin.clone());
                    [line.name.clone(), line.used_by.join(", "), state]
                });
                app.output.table(table(["secret", "used by", "where it comes from"], &[], rows));
            });
            Ok(if missing { Exit::Warnings } else { Exit::Ok })
        }
        SecretCommand::Set { name, secret_file, what_if } => {
            if !valid_name(name) {
                return Err(CommandError::usage(format!("'{name}' cannot be a credential's name: letters, digits, '-' and '_' only")));
            }
            let shadow = match config.secrets.origin(name) {
                SecretOrigin::ServiceManager(path) => Some(format!("the service manager provides it as {}", path.display())),
                SecretOrigin::Variable(variable) => Some(format!("the variable {variable} gives it")),
                SecretOrigin::Folder(_) | SecretOrigin::Nowhere => None,
            };
            if !what_if {
                let secret = match (secret_file, Questions::of_terminal()) {
                    (Some(file), _) => secret_of_file(file)?,
                    (None, Some(questions)) => questions.new_secret(&format!("The secret '{name}' (not shown)"))?,
                    (None, None) => {
                        return Err(CommandError::usage("there is no terminal to ask on")
                            .hint(format!("write it to a file of mode 0600, and: `syncline secret set {name} --secret-file FILE`")));
                    }
                };
                config.secrets.keep(name, &secret).map_err(crate::service::ServiceError::from)?;
            }
            let path = config.secrets.path(name).display().to_string();
            let what_if = *what_if;
            app.output.result(&json!({ "secret": name, "file": path, "what_if": what_if, "shadowed": shadow }), |_| {
                app.output.line(format!("the secret '{name}' {} {path}", if what_if { "would be kept in" } else { "is kept in" }));
            });
            if let Some(shadow) = &shadow {
                app.output.note(clean(format!("warning: what is kept there does not count, since {shadow}")));
            }
            Ok(if shadow.is_some() { Exit::Warnings } else { Exit::Ok })
        }
        SecretCommand::Remove { name, what_if } => {
            let line = secret_lines(&config).into_iter().find(|line| line.name == *name);
            match line {
                Some(line) if !line.used_by.is_empty() => {
                    let message = format!("the secret '{name}' is named by {}", line.used_by.join(", "));
                    Err(CommandError::new("in-use", Exit::NotStarted, message).hint("take it out of the configuration first"))
                }
                Some(_) => {
                    if !what_if {
                        config.secrets.remove(name).map_err(crate::service::ServiceError::from)?;
                    }
                    let what_if = *what_if;
                    app.output.result(&json!({ "secret": name, "what_if": what_if }), |_| {
                        app.output.line(format!("the secret '{name}' {}", if what_if { "would be removed" } else { "is removed" }));
                    });
                    Ok(Exit::Ok)
                }
                None => Err(CommandError::new("not-found", Exit::Errors, format!("there is no secret '{name}'"))
                    .hint("`syncline secret list` shows those that are named, and where each comes from")),
            }
        }
    }
}
