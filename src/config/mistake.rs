//! What is wrong with a setting, and where.

use std::{fmt, path::PathBuf};

/// Where the value of a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    CommandLine,
    /// In a variable of this name.
    Environment(String),
    /// In a file, on this line.
    File(PathBuf, usize),
    /// Nobody gave one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("from the command line"),
            Self::Environment(name) => write!(f, "from {name}"),
            Self::File(path, line) => write!(f, "from {}, line {line}", path.display()),
            Self::Default => f.write_str("by default"),
        }
    }
}

/// A mistake in the settings. Prints one sentence: which setting it is, where its value stands, and what is wrong with it,
/// but not the value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(String);

impl Mistake {
    /// In the value of a setting.
    pub(super) fn of_setting(name: &str, origin: &Origin, problem: &str) -> Self {
        Self(format!("--{name} ({origin}): {problem}"))
    }

    /// In that a setting has no value, and has to.
    pub(super) fn of_silence(name: &str, variable: &str, help: &str) -> Self {
        Self(format!("--{name} (or {variable}) must be given: {help}"))
    }

    /// In values that do not go together.
    pub(super) fn of_settings<'a>(settings: impl Iterator<Item = (&'a str, Origin)>, problem: &str) -> Self {
        let settings: Vec<String> = settings.map(|(name, origin)| format!("--{name} ({origin})")).collect();
        Self(format!("{}: {problem}", settings.join(" and ")))
    }

    /// In the file of settings, at a place where there is no setting.
    pub(super) fn of_file(place: &str, problem: &str) -> Self {
        Self(format!("{place}: {problem}"))
    }
}

/// Settings that are right by themselves and do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Their names, as flags have them without the dashes. None of them is a mistake by itself.
    pub settings: Vec<&'static str>,
    /// What is wrong, in one sentence that tells what to do about it.
    pub problem: String,
}

/// Why the value of a setting cannot be used: a sentence that repeats nothing of the value. What else the parser of a secret
/// says is not printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Discreet(pub String);
