//! Every problem of a configuration folder at once: where a file has one, reading goes on behind it, and with the next file.

use super::connector::ConnectorKind;
use super::{AdFile, Config, ConfigProblem, EntraFile, LdapFile, LdifFile, MAIN_FILE, MainFile, Secrets, file, toml_files};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The most problems of one file; behind them it is something else than a configuration.
const MOST: usize = 50;

/// Reads a folder for its problems alone. Gives the configuration where there are none.
///
/// # Errors
/// Everything that is wrong, in the order of files and lines.
pub fn check_folder(folder: &Path) -> Result<Box<Config>, Vec<ConfigProblem>> {
    let mut problems = Vec::new();
    let main = folder.join(MAIN_FILE);
    if main.exists() {
        all_of::<MainFile>(folder, &main, &mut problems);
    }
    for path in toml_files(&folder.join("connectors"), &mut problems) {
        of_connector(folder, &path, &mut problems);
    }
    // What single files cannot tell: names that are taken twice, values that do not go together.
    match Config::load_with(folder, Secrets::of_process(folder)) {
        Ok(config) if problems.is_empty() => return Ok(Box::new(config)),
        Ok(_) => {}
        Err(error) => {
            for problem in error.problems() {
                let known = |other: &ConfigProblem| other.place == problem.place && file_of(folder, other) == file_of(folder, problem);
                if !problems.iter().any(known) {
                    problems.push(problem.clone());
                }
            }
        }
    }
    for problem in &mut problems {
        problem.file = file_of(folder, problem);
    }
    problems.sort_by(|left, right| (&left.file, left.place).cmp(&(&right.file, right.place)));
    Err(problems)
}

fn file_of(folder: &Path, problem: &ConfigProblem) -> PathBuf {
    problem.file.strip_prefix(folder).unwrap_or(&problem.file).to_owned()
}

fn of_connector(folder: &Path, path: &Path, problems: &mut Vec<ConfigProblem>) {
    let before = problems.len();
    let Ok(text) = file::read_text(path) else { return };
    let table: Option<toml::Table> = text.parse().ok();
    let kind = table.as_ref().and_then(|table| table.get("kind")).and_then(toml::Value::as_str);
    match kind.and_then(|kind| ConnectorKind::ALL.into_iter().find(|known| known.as_str() == kind)) {
        Some(ConnectorKind::Ad) => all_of::<AdFile>(folder, path, problems),
        Some(ConnectorKind::Ldap) => all_of::<LdapFile>(folder, path, problems),
        Some(ConnectorKind::Ldif) => all_of::<LdifFile>(folder, path, problems),
        Some(ConnectorKind::Entra) => all_of::<EntraFile>(folder, path, problems),
        None => {}
    }
    if problems.len() == before
        && let Err(problem) = super::connector::read(folder, path)
    {
        problems.push(problem);
    }
}

/// The problems of one file. A line with a problem is blanked out, so that what follows can be read and keeps its place.
fn all_of<T: DeserializeOwned>(folder: &Path, path: &Path, problems: &mut Vec<ConfigProblem>) {
    let Ok(mut text) = file::read_text(path) else { return };
    let original = text.clone();
    for found in 0..MOST {
        let Err(error) = toml::from_str::<T>(&text) else { return };
        let mut problem = file::problem_of(folder, path, &original, &error);
        // What was blanked out is missing now; that is no problem of its own.
        if found > 0 && error.message().starts_with("missing field") {
            return;
        }
        let Some(span) = error.span().filter(|span| !span.is_empty()) else {
            path.strip_prefix(folder).unwrap_or(path).clone_into(&mut problem.file);
            problems.push(problem);
            return;
        };
        problems.push(problem);
        let Some(blanked) = without(&text, span.start) else { return };
        text = blanked;
    }
}

/// The text without the line of an octet; `None` where a line alone is nothing whole.
fn without(text: &str, at: usize) -> Option<String> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let end = text.get(at..)?.find('\n').map_or(text.len(), |length| at + length);
    let line = text.get(start..end)?;
    if !line.contains('=') || line.trim_start().starts_with('[') {
        return None;
    }
    let blank: String = " ".repeat(line.len());
    let blanked = format!("{}{blank}{}", text.get(..start)?, text.get(end..)?);
    // A value that goes on in the next line would leave its rest behind.
    blanked.parse::<toml::Table>().is_ok().then_some(blanked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn all_problems_of_all_files_come_at_once_with_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("syncline.toml", "version = 1\n[guard]\nmax_delete = 1\nstaging = 3\nmax_deletes = 4\n[limits]\nthreads = \"x\"\n");
        write("connectors/a.toml", "kind = \"ldif\"\npth = \"x\"\nshape = \"round\"\npath = \"x.ldif\"\n");
        write("connectors/b.toml", "kind = \"entar\"\n");
        write("connectors/c.toml", "kind = \"ldif\"\nname = \"b\"\n");
        let problems = check_folder(folder.path()).unwrap_err();
        let places: Vec<String> = problems.iter().map(ConfigProblem::at).collect();
        assert_eq!(
            places,
            [
                "connectors/a.toml:2:1",
                "connectors/a.toml:3:9",
                "connectors/b.toml:1:8",
                "connectors/c.toml",
                "syncline.toml:3:1",
                "syncline.toml:4:11",
                "syncline.toml:7:11"
            ],
            "{problems:#?}"
        );
    }

    #[test]
    fn a_sound_folder_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("syncline.toml"), "version = 1\n").unwrap();
        assert_eq!(check_folder(folder.path()).unwrap().guard.max_deletes, 500);
        let nothing = tempfile::tempdir().unwrap();
        assert!(check_folder(nothing.path()).unwrap_err()[0].message.contains("no configuration here"));
    }
}
