//! Reads the settings of a command from all sources, and finds every mistake in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
};

use clap::{
    Arg, ArgMatches, Command, FromArgMatches,
    builder::{OsStr, ValueParser},
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};

use super::{
    conflicts::Conflict,
    file::{Entry, FileValue, SettingsFile},
};

/// The one setting that cannot be in the file: its path.
pub(super) const CONFIG: &str = "config";

/// Why settings cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The command line is invalid, or asks for help.
    Usage(clap::Error),
    /// One sentence for each mistake: the setting, where its value is from, and the problem, but never the value, which may be
    /// a secret.
    Mistakes(Vec<String>),
}

/// The name and the environment variable of a setting. Other options have none.
fn setting(arg: &Arg) -> Option<(&str, &str)> {
    Some((arg.get_long()?, arg.get_env()?.to_str()?))
}

/// Reads the settings of `command` and of the subcommand that the command line names.
///
/// When the command line stops at a command whose subcommand is optional, the settings of all its subcommands are checked.
/// `arguments` begin with the name of the program; `environment` returns the value of a variable that is set.
///
/// # Errors
/// When the command line is invalid or asks for help, and when there are mistakes.
pub fn read<P: FromArgMatches>(
    command: &Command,
    arguments: &[OsString],
    environment: impl Fn(&str) -> Option<OsString>,
    conflicts: impl Fn(&P) -> Vec<Conflict>,
) -> Result<P, ReadError> {
    let parse = |command: Command| command.try_get_matches_from(arguments);
    let flags = parse(map_args(command.clone(), &accept_all)).map_err(|error| {
        // The error of the real command has its complete help and usage.
        let real = parse(command.clone()).err();
        usage(real.filter(|real| real.kind() == error.kind()).unwrap_or(error))
    })?;
    let mut reader = Reader {
        environment: &environment,
        file: None,
        found: BTreeMap::new(),
        mistakes: Vec::new(),
    };
    reader.read_file(command, &flags);
    let mut paths = Vec::new();
    reader.visit(command, Some(&flags), &[], &mut paths);

    let resolved = map_args(command.clone(), &|arg| reader.resolve(arg));
    for path in paths {
        // This fails when a required argument is missing. Then there is nothing to compare.
        let matches = resolved.clone().try_get_matches_from(path);
        if let Ok(settings) = matches.and_then(|matches| P::from_arg_matches(&matches)) {
            conflicts(&settings).iter().for_each(|conflict| reader.add(conflict));
        }
    }
    if !reader.mistakes.is_empty() {
        return Err(ReadError::Mistakes(reader.mistakes));
    }
    parse(resolved)
        .and_then(|matches| P::from_arg_matches(&matches))
        .map_err(usage)
}

/// An error without URLs, which may hold a password.
fn usage(mut error: clap::Error) -> ReadError {
    let urls = error.context().filter(|(_, value)| value.to_string().contains("://"));
    for kind in urls.map(|(kind, _)| kind).collect::<Vec<_>>() {
        error.remove(kind);
    }
    ReadError::Usage(error)
}

/// Lets a setting be absent or have any value: to find out which flags were given.
fn accept_all(arg: Arg) -> Arg {
    if setting(&arg).is_none() {
        return arg;
    }
    let arg = arg.env(None::<&str>).default_value(None::<&str>).required(false);
    arg.value_parser(ValueParser::os_string())
}

fn map_args(command: Command, change: &impl Fn(Arg) -> Arg) -> Command {
    let command = command.mut_args(change);
    command.mut_subcommands(|command| map_args(command, change))
}

struct Reader<'a> {
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    file: Option<SettingsFile>,
    /// By name, where each value is from, and the value unless it is invalid.
    found: BTreeMap<String, (String, Option<Vec<OsString>>)>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    /// Reads the file of settings, if one is named.
    fn read_file(&mut self, command: &Command, flags: &ArgMatches) {
        for config in command.get_arguments().filter(|arg| arg.get_long() == Some(CONFIG)) {
            self.read(config, Some(flags));
        }
        let Some((origin, Some(path))) = self.found.get(CONFIG) else {
            return;
        };
        match SettingsFile::read(Path::new(&path.iter().cloned().collect::<OsString>())) {
            Err(problem) => self.mistakes.push(format!("--{CONFIG} ({origin}): {problem}")),
            Ok(file) => {
                self.mistakes.extend(file.mistakes.iter().cloned());
                // Settings of other commands are fine: one file may serve them all.
                let known: BTreeSet<&str> = file_settings(command).into_iter().map(|(_, name, _)| name).collect();
                let unknown = file.entries.iter().filter(|entry| !known.contains(entry.key.as_str()));
                let mistakes = unknown.map(|entry| format!("{}: {}", entry.place, unknown_name(entry, &known)));
                self.mistakes.extend(mistakes);
                self.file = Some(file);
            }
        }
    }

    /// Reads the settings of a command, and those of the subcommand that was given, or of all subcommands if none is needed.
    /// Adds the names of the commands, from the first to the last, to `paths`.
    fn visit(&mut self, command: &Command, flags: Option<&ArgMatches>, above: &[String], paths: &mut Vec<Vec<String>>) {
        let path = [above, &[command.get_name().to_owned()]].concat();
        for arg in command.get_arguments() {
            self.read(arg, flags);
        }
        if let Some((name, flags)) = flags.and_then(ArgMatches::subcommand) {
            if let Some(below) = command.find_subcommand(name) {
                self.visit(below, Some(flags), &path, paths);
            }
            return;
        }
        let needs_one = command.is_subcommand_required_set() || command.is_arg_required_else_help_set();
        for below in command.get_subcommands().filter(|_| flags.is_some() && !needs_one) {
            self.visit(below, None, &path, paths);
        }
        paths.push(path);
    }

    /// Takes the value of a setting from the first source that has one, and checks it.
    fn read(&mut self, arg: &Arg, flags: Option<&ArgMatches>) {
        let Some((name, variable)) = setting(arg).filter(|(name, _)| !self.found.contains_key(*name)) else {
            return;
        };
        let Some((origin, values)) = self.find(arg, name, variable, flags) else {
            if flags.is_some() && arg.is_required_set() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                self.mistakes
                    .push(format!("--{name} (or {variable}) is required: {help}"));
            }
            return;
        };
        let values = values.and_then(|values| check(arg, name, &values).map(|()| values).map_err(Some));
        if let Err(Some(problem)) = &values {
            self.mistakes.push(format!("--{name} ({origin}): {problem}"));
        }
        self.found.insert(name.to_owned(), (origin, values.ok()));
    }

    /// Where a value is from, and the value, or what is wrong with its type.
    fn find(&self, arg: &Arg, name: &str, variable: &str, flags: Option<&ArgMatches>) -> Option<(String, FileValue)> {
        let id = arg.get_id().as_str();
        if let Some(flags) = flags.filter(|flags| flags.value_source(id) == Some(ValueSource::CommandLine)) {
            let values = flags.get_raw(id)?.map(ToOwned::to_owned);
            return Some(("from the command line".into(), Ok(values.collect())));
        }
        if let Some(value) = (self.environment)(variable) {
            return Some((format!("from {variable}"), Ok(vec![value])));
        }
        let mut entries = self.file.as_ref()?.entries.iter();
        let entry = entries.find(|entry| entry.key == name)?;
        let is_list = arg.get_value_delimiter().is_some();
        let value = match &entry.value {
            Ok(_) if entry.is_list && !is_list => Err(Some("must be one value, not a list".into())),
            value => value.clone(),
        };
        Some((format!("from {}", entry.place), value))
    }

    /// Makes the value that was found the default of its setting.
    fn resolve(&self, arg: Arg) -> Arg {
        let found = setting(&arg).and_then(|(name, _)| self.found.get(name));
        let values = found.and_then(|(_, values)| values.as_ref());
        let arg = arg.env(None::<&str>);
        match values {
            None => arg,
            Some(values) => arg.default_values(values.iter().map(OsStr::from)).required(false),
        }
    }

    /// Adds a conflict, unless one of its settings is a mistake by itself.
    fn add(&mut self, conflict: &Conflict) {
        let mut settings = Vec::new();
        for name in &conflict.settings {
            match self.found.get(*name) {
                Some((_, None)) => return,
                Some((origin, _)) => settings.push(format!("--{name} ({origin})")),
                None => settings.push(format!("--{name} (by default)")),
            }
        }
        let mistake = format!("{}: {}", settings.join(" and "), conflict.problem);
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }
}

/// Checks values as clap checks flags.
fn check(arg: &Arg, name: &str, values: &[OsString]) -> Result<(), String> {
    let flags = values.iter().map(|value| {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(value);
        flag
    });
    let alone = arg.clone().env(None::<&str>).global(false).required(false);
    let command = Command::new("setting").no_binary_name(true).arg(alone);
    let Err(error) = command.try_get_matches_from(flags) else {
        return Ok(());
    };
    let problem = match (std::error::Error::source(&error), error.get(ContextKind::ValidValue)) {
        (_, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
            return Err(format!("must be one of {}", valid.join(", ")));
        }
        (Some(cause), _) => cause.to_string(),
        _ => "must be one value, in UTF-8".into(),
    };
    Err(match arg.get_default_values() {
        [default] if !default.is_empty() => format!("{problem}; the default is {}", default.display()),
        _ => problem,
    })
}

/// The settings of a command and all its subcommands that can be in a file: option, name and environment variable.
pub(super) fn file_settings(command: &Command) -> Vec<(&Arg, &str, &str)> {
    let own = command
        .get_arguments()
        .filter_map(|arg| setting(arg).map(|(name, variable)| (arg, name, variable)));
    let below = command.get_subcommands().flat_map(file_settings);
    own.chain(below).filter(|(_, name, _)| *name != CONFIG).collect()
}

fn unknown_name(entry: &Entry, known: &BTreeSet<&str>) -> String {
    let key = entry.key.as_str();
    // A quoted key can hold anything, even a secret.
    if !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return "there is no setting of this name".into();
    }
    let flags = known
        .iter()
        .map(|name| Arg::new((*name).to_owned()).long((*name).to_owned()));
    let flags = Command::new("settings").no_binary_name(true).args(flags);
    let error = flags.try_get_matches_from([format!("--{key}")]).err();
    match error.as_ref().and_then(|error| error.get(ContextKind::SuggestedArg)) {
        _ if entry.is_table => format!("{key} is a table; settings are not in tables"),
        _ if key == CONFIG => "config cannot be in the file itself; use --config or CONFIG_FILE".into(),
        Some(flag) => format!(
            "there is no setting {key}; did you mean {}?",
            flag.to_string().trim_matches('-')
        ),
        None => format!("there is no setting {key}; `device-assignment config default` lists all settings"),
    }
}
