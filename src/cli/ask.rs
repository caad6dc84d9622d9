//! Questions to a person at a terminal. They are asked on standard error, so that what goes to standard output stays the
//! result; where nobody sits, nobody is asked.

use super::error::{CommandError, Exit};
use dialoguer::console::Term;
use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use dialoguer::{Confirm, Input, MultiSelect, Password, Select};
use secrecy::SecretString;
use std::io::IsTerminal as _;

/// Asks.
pub(in crate::cli) struct Questions {
    term: Term,
    theme: Box<dyn Theme>,
}

/// Lines of a list that are shown at once.
const LINES: usize = 15;

impl Questions {
    /// Somebody who can be asked; `None` where standard input or standard error is no terminal.
    pub(in crate::cli) fn of_terminal() -> Option<Self> {
        let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let theme: Box<dyn Theme> = if color { Box::new(ColorfulTheme::default()) } else { Box::new(SimpleTheme) };
        somebody.then(|| Self { term: Term::stderr(), theme })
    }

    /// A line of text; with a default, nothing typed means that.
    pub(in crate::cli) fn text(&self, prompt: &str, default: Option<&str>) -> Result<String, CommandError> {
        let mut input = Input::<String>::with_theme(self.theme.as_ref()).with_prompt(prompt).allow_empty(true);
        if let Some(default) = default {
            input = input.default(default.to_owned());
        }
        input.interact_text_on(&self.term).map(|text| text.trim().to_owned()).map_err(left)
    }

    /// Something that is not shown while it is typed.
    pub(in crate::cli) fn secret(&self, prompt: &str) -> Result<SecretString, CommandError> {
        let typed = Password::with_theme(self.theme.as_ref()).with_prompt(prompt).report(false).interact_on(&self.term);
        typed.map(SecretString::from).map_err(left)
    }

    /// The same, where nothing typed means something else.
    pub(in crate::cli) fn secret_or_nothing(&self, prompt: &str) -> Result<Option<SecretString>, CommandError> {
        let asked = Password::with_theme(self.theme.as_ref()).with_prompt(prompt).report(false).allow_empty_password(true);
        let typed = asked.interact_on(&self.term).map_err(left)?;
        Ok(Some(typed).filter(|typed| !typed.is_empty()).map(SecretString::from))
    }

    /// The same, typed twice.
    pub(in crate::cli) fn new_secret(&self, prompt: &str) -> Result<SecretString, CommandError> {
        let asked = Password::with_theme(self.theme.as_ref()).with_prompt(prompt).report(false);
        let typed = asked.with_confirmation("The same again", "these were two different ones").interact_on(&self.term);
        typed.map(SecretString::from).map_err(left)
    }

    /// One of several; gives its place.
    pub(in crate::cli) fn one_of(&self, prompt: &str, items: &[String], default: usize) -> Result<usize, CommandError> {
        let select = Select::with_theme(self.theme.as_ref()).with_prompt(prompt).items(items).default(default).max_length(LINES);
        select.interact_on(&self.term).map_err(left)
    }

    /// Some of several, each with what is ticked at first; gives what is ticked at last.
    pub(in crate::cli) fn some_of(&self, prompt: &str, items: &[(String, bool)]) -> Result<Vec<bool>, CommandError> {
        let select = MultiSelect::with_theme(self.theme.as_ref()).with_prompt(prompt).report(false).max_length(LINES);
        let ticked =
            select.items_checked(items.iter().map(|(text, ticked)| (text.as_str(), *ticked))).interact_on(&self.term).map_err(left)?;
        let mut chosen = vec![false; items.len()];
        for place in ticked {
            if let Some(chosen) = chosen.get_mut(place) {
                *chosen = true;
            }
        }
        Ok(chosen)
    }

    /// Yes or no.
    pub(in crate::cli) fn yes(&self, prompt: &str, default: bool) -> Result<bool, CommandError> {
        Confirm::with_theme(self.theme.as_ref()).with_prompt(prompt).default(default).interact_on(&self.term).map_err(left)
    }
}

/// Whoever was asked has gone.
fn left(error: dialoguer::Error) -> CommandError {
    CommandError::new("no-answer", Exit::Stopped, format!("the question was not answered ({error}); nothing was written"))
}
