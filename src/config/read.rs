//! Reads the settings of a command from all sources, and finds every mistake in them.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use clap::{
    Arg, ArgMatches, Command, FromArgMatches,
    builder::{OsStr, ValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use super::{
    conflicts::Conflict,
    file::{Entry, SettingsFile},
};

/// The one setting that cannot be in the file: its path.
pub(super) const CONFIG: &str = "config";

/// Where settings come from, besides the file that one of them names.
pub struct Sources<'a> {
    /// The command line, beginning with the name of the program.
    pub arguments: Vec<OsString>,
    /// Returns the value of an environment variable, if it is set.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Why settings cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The command line is invalid, or asks for help.
    Usage(clap::Error),
    /// One sentence for each mistake: the setting, where its value is from, and the problem, but never the value, which may be
    /// a secret.
    Mistakes(Vec<String>),
}

/// An option that is a setting.
pub(super) struct Setting<'a> {
    pub(super) arg: &'a Arg,
    pub(super) name: &'a str,
    pub(super) variable: &'a str,
}

impl<'a> Setting<'a> {
    fn of(arg: &'a Arg) -> Option<Self> {
        let (name, variable) = (arg.get_long()?, arg.get_env()?.to_str()?);
        Some(Self { arg, name, variable })
    }

    pub(super) fn all(command: &'a Command) -> impl Iterator<Item = Self> {
        command.get_arguments().filter_map(Self::of)
    }

    pub(super) fn is_list(&self) -> bool {
        self.arg.get_value_delimiter().is_some()
    }
}

/// Reads the settings of `command` and of the subcommand that the command line names.
///
/// When the command line stops at a command whose subcommand is optional, the settings of all its subcommands are checked.
///
/// # Errors
/// When the command line is invalid or asks for help, and when there are mistakes.
pub fn read<P: FromArgMatches>(
    command: &Command,
    sources: &Sources<'_>,
    conflicts: impl Fn(&P) -> Vec<Conflict>,
) -> Result<P, ReadError> {
    let flags = accepting_all(command.clone()).try_get_matches_from(&sources.arguments);
    let flags = flags.map_err(|error| {
        // The error of the real command has its complete help and usage.
        let real = command.clone().try_get_matches_from(&sources.arguments).err();
        usage(real.filter(|real| real.kind() == error.kind()).unwrap_or(error))
    })?;
    let mut path = vec![(command, &flags)];
    while let Some((name, flags)) = path.last().and_then(|(_, flags)| flags.subcommand()) {
        path.extend(
            path.last()
                .and_then(|(above, _)| above.find_subcommand(name))
                .map(|found| (found, flags)),
        );
    }
    let last = path.last().map_or(command, |(last, _)| *last);
    let is_optional = !last.is_subcommand_required_set() && !last.is_arg_required_else_help_set();
    let optional: Vec<&Command> = last.get_subcommands().filter(|_| is_optional).collect();

    let mut reader = Reader {
        sources,
        file: None,
        found: BTreeMap::new(),
        mistakes: Vec::new(),
    };
    reader.read_file(command, &flags);
    for (command, flags) in &path {
        Setting::all(command).for_each(|setting| reader.read(&setting, Some(flags), true));
    }
    for command in &optional {
        Setting::all(command).for_each(|setting| reader.read(&setting, None, false));
    }

    let resolved = map_args(command.clone(), &|arg| reader.resolve(arg));
    let words: Vec<&str> = path.iter().map(|(command, _)| command.get_name()).collect();
    for end in optional.iter().map(|command| Some(command.get_name())).chain([None]) {
        // It fails when a required argument is missing. Then there is nothing to compare.
        let matches = resolved.clone().try_get_matches_from(words.iter().copied().chain(end));
        if let Ok(settings) = matches.and_then(|matches| P::from_arg_matches(&matches)) {
            conflicts(&settings).iter().for_each(|conflict| reader.add(conflict));
        }
    }
    if !reader.mistakes.is_empty() {
        return Err(ReadError::Mistakes(reader.mistakes));
    }
    let matches = resolved.try_get_matches_from(&sources.arguments);
    matches.and_then(|matches| P::from_arg_matches(&matches)).map_err(usage)
}

/// An error without URLs, which may hold a password.
fn usage(mut error: clap::Error) -> ReadError {
    let urls = error.context().filter(|(_, value)| value.to_string().contains("://"));
    for kind in urls.map(|(kind, _)| kind).collect::<Vec<_>>() {
        error.remove(kind);
    }
    ReadError::Usage(error)
}

/// The command with each setting optional and of any value: it tells which flags were given.
fn accepting_all(command: Command) -> Command {
    map_args(command, &|arg| match Setting::of(&arg) {
        None => arg,
        Some(_) => {
            let arg = arg.env(None::<&str>).default_value(None::<&str>).required(false);
            arg.value_parser(ValueParser::os_string())
        }
    })
}

fn map_args(command: Command, change: &impl Fn(Arg) -> Arg) -> Command {
    let command = command.mut_args(change);
    command.mut_subcommands(|command| map_args(command, change))
}

/// Where a value is from, and the value: an error if it is of the wrong type, unless that is reported already.
type Found = (String, Result<Vec<OsString>, Option<String>>);

struct Reader<'a> {
    sources: &'a Sources<'a>,
    file: Option<SettingsFile>,
    /// By name, where each value is from, and its parts unless they are invalid.
    found: BTreeMap<String, (String, Option<Vec<OsString>>)>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    /// Reads the file of settings, if one is named.
    fn read_file(&mut self, command: &Command, flags: &ArgMatches) {
        Setting::all(command)
            .filter(|setting| setting.name == CONFIG)
            .for_each(|setting| self.read(&setting, Some(flags), false));
        let Some((origin, Some(values))) = self.found.get(CONFIG) else {
            return;
        };
        let path: OsString = values.iter().map(AsRef::<std::ffi::OsStr>::as_ref).collect();
        match SettingsFile::read(Path::new(&path)) {
            Ok(file) => {
                self.mistakes.extend(file.mistakes.iter().cloned());
                // Settings of other commands are fine: one file may serve them all.
                let known = names(command);
                let unknown = file.entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
                let place = |entry: &Entry| format!("{}, line {}", file.path, entry.line);
                self.mistakes
                    .extend(unknown.map(|entry| format!("{}: {}", place(entry), unknown_name(entry, &known))));
                self.file = Some(file);
            }
            Err(problem) => self.mistakes.push(format!("--{CONFIG} ({origin}): {problem}")),
        }
    }

    /// Takes the value of a setting from the first source that has one, and checks it.
    fn read(&mut self, setting: &Setting<'_>, flags: Option<&ArgMatches>, is_needed: bool) {
        let name = setting.name;
        if self.found.contains_key(name) {
            return;
        }
        let Some((origin, values)) = self.find(setting, flags) else {
            if is_needed && setting.arg.is_required_set() {
                let help = setting.arg.get_help().map(ToString::to_string).unwrap_or_default();
                self.mistakes
                    .push(format!("--{name} (or {}) is required: {help}", setting.variable));
            }
            return;
        };
        let values = values.and_then(|values| check(setting, &values).map(|()| values).map_err(Some));
        if let Err(Some(problem)) = &values {
            self.mistakes.push(format!("--{name} ({origin}): {problem}"));
        }
        self.found.insert(name.to_owned(), (origin, values.ok()));
    }

    fn find(&self, setting: &Setting<'_>, flags: Option<&ArgMatches>) -> Option<Found> {
        let id = setting.arg.get_id().as_str();
        if let Some(flags) = flags.filter(|flags| flags.value_source(id) == Some(ValueSource::CommandLine)) {
            let values = flags.get_raw(id).into_iter().flatten();
            return Some((
                "from the command line".into(),
                Ok(values.map(ToOwned::to_owned).collect()),
            ));
        }
        if let Some(value) = (self.sources.environment)(setting.variable) {
            return Some((format!("from {}", setting.variable), Ok(vec![value])));
        }
        let file = self.file.as_ref()?;
        let entry = file.entries.iter().find(|entry| entry.key == setting.name)?;
        let values = match &entry.values {
            _ if entry.is_broken => Err(None),
            Ok(_) if entry.is_list && !setting.is_list() => Err(Some("must be one value, not a list".into())),
            Ok(values) => Ok(values.clone()),
            Err(other) => Err(Some(format!(
                "must be a string, an integer or a boolean, not a TOML {other}"
            ))),
        };
        Some((format!("from {}, line {}", file.path, entry.line), values))
    }

    /// A setting with the value that was found as its default.
    fn resolve(&self, arg: Arg) -> Arg {
        let found = Setting::of(&arg).and_then(|setting| self.found.get(setting.name));
        let values = found.and_then(|(_, values)| values.as_ref());
        let arg = arg.env(None::<&str>);
        match values {
            None => arg,
            Some(values) => arg
                .default_values(values.iter().cloned().map(OsStr::from))
                .required(false),
        }
    }

    /// Adds a conflict, unless one of its settings is a mistake by itself.
    fn add(&mut self, conflict: &Conflict) {
        let found = conflict.settings.iter().map(|name| (name, self.found.get(*name)));
        let settings: Option<Vec<String>> = found
            .map(|(name, found)| match found {
                Some((origin, Some(_))) => Some(format!("--{name} ({origin})")),
                Some((_, None)) => None,
                None => Some(format!("--{name} (by default)")),
            })
            .collect();
        let Some(settings) = settings else { return };
        let mistake = format!("{}: {}", settings.join(" and "), conflict.problem);
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }
}

/// Checks values as clap checks flags.
fn check(setting: &Setting<'_>, values: &[OsString]) -> Result<(), String> {
    let flags = values.iter().map(|value| {
        let mut flag = OsString::from(format!("--{}=", setting.name));
        flag.push(value);
        flag
    });
    let arg = setting.arg.clone().env(None::<&str>).global(false).required(false);
    let command = Command::new("setting").no_binary_name(true).arg(arg);
    let Err(error) = command.try_get_matches_from(flags) else {
        return Ok(());
    };
    let problem = match (
        error.kind(),
        std::error::Error::source(&error),
        error.get(ContextKind::ValidValue),
    ) {
        (ErrorKind::InvalidValue, _, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
            return Err(format!("must be one of {}", valid.join(", ")));
        }
        (_, Some(cause), _) => cause.to_string(),
        (ErrorKind::InvalidUtf8, ..) => "must be UTF-8 text".into(),
        (ErrorKind::ArgumentConflict | ErrorKind::TooManyValues, ..) => "takes one value".into(),
        _ => "the value is invalid".into(),
    };
    Err(match setting.arg.get_default_values() {
        [default] if !default.is_empty() => format!("{problem}; the default is {}", default.display()),
        _ => problem,
    })
}

/// The names of all settings that can be in a file.
fn names(command: &Command) -> Vec<&str> {
    let own = Setting::all(command).map(|setting| setting.name);
    let below = command.get_subcommands().flat_map(names);
    own.chain(below).filter(|name| *name != CONFIG).collect()
}

fn unknown_name(entry: &Entry, known: &[&str]) -> String {
    let key = entry.key.as_str();
    if entry.values == Err("table") {
        return format!("{key} is a table; settings are not in tables");
    }
    if key == CONFIG {
        return "config cannot be in the file itself; use --config or CONFIG_FILE".into();
    }
    // A quoted key can hold anything, even a secret.
    let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let key = if is_plain { key } else { "of this name" };
    let similarity = |name: &str| strsim::jaro(name, key);
    let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match nearest {
        // The threshold that clap has for flags.
        Some(name) if similarity(name) > 0.7 => format!("there is no setting {key}; did you mean {name}?"),
        _ => format!("there is no setting {key}; `device-assignment config default` lists all settings"),
    }
}
