//! Problems of a configuration: where, what, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<ConfigProblem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The file, as messages show it.
    pub file: PathBuf,
    /// 1-based line and column, when the problem has a place.
    pub place: Option<(usize, usize)>,
    /// What is wrong, in lower case without full stop.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl ConfigError {
    /// Several problems; at least one.
    pub fn new(problems: Vec<ConfigProblem>) -> Self {
        Self { problems }
    }

    /// One problem.
    pub fn one(problem: ConfigProblem) -> Self {
        Self { problems: vec![problem] }
    }

    /// The same problems, with files named as they lie in the folder.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        for problem in &mut self.problems {
            if let Ok(inside) = problem.file.strip_prefix(folder).map(Path::to_owned) {
                problem.file = inside;
            }
        }
        self
    }

    /// What is wrong.
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl ConfigProblem {
    /// A problem of a whole file.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, message: message.into(), hint: None }
    }

    /// Where it is: the file, with line and column when they are known.
    pub fn at(&self) -> String {
        match self.place {
            Some((line, column)) => format!("{}:{line}:{column}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at(), self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}
