//! Flags over the environment over a file over defaults, and every mistake in them at once.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use clap::{Arg, ArgMatches, Command, FromArgMatches, parser::ValueSource};

use super::{
    definition::{self, CONFIG},
    file::{Entry, SettingsFile, Value},
    mistake::{Conflict, Mistake, Origin},
};

/// What the settings are read from, besides the file that these name.
pub struct Sources<'a> {
    /// The command line, the name of the program first.
    pub arguments: Vec<OsString>,
    /// The value of an environment variable that is set.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Why there are no settings.
#[derive(Debug)]
pub enum Refusal {
    /// The command line cannot be read, or asks for help.
    Usage(clap::Error),
    /// Every mistake that was made.
    Mistakes(Vec<Mistake>),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

/// Reads what `command` is told. `conflicts` finds what does not go together.
///
/// A command that leaves open which one below it is meant is about the settings of all of those.
///
/// # Errors
/// As [`Refusal`] says.
pub fn read<P: FromArgMatches>(
    command: &Command,
    sources: &Sources<'_>,
    conflicts: impl Fn(&P) -> Vec<Conflict>,
) -> Result<P, Refusal> {
    let asked = definition::unjudged(command.clone()).try_get_matches_from(&sources.arguments);
    let asked = asked.map_err(|error| usage(command, sources, error))?;
    let mut told = Told::default();
    let path = chain(command, &asked);
    let (last, _) = path.last().copied().unwrap_or((command, &asked));

    let file = told.read_file(command, &asked, sources);
    told.judge_names(command, file.as_ref());
    for (command, matches) in &path {
        for arg in command.get_arguments() {
            told.judge(arg, Some(matches), sources, file.as_ref());
            told.miss(arg);
        }
    }
    for command in last.get_subcommands().filter(|_| is_open(last)) {
        for arg in command.get_arguments() {
            told.judge(arg, None, sources, file.as_ref());
        }
    }

    let told_command = definition::with_values(command.clone(), &|name| told.values(name));
    let names: Vec<&str> = path.iter().map(|(command, _)| command.get_name()).collect();
    let below = last.get_subcommands().map(Command::get_name).filter(|_| is_open(last));
    let ends = below.map(Some).chain([None]);
    for end in ends {
        let words = names.iter().copied().chain(end);
        // Where something is missing, nothing can be said of what goes together.
        if let Ok(matches) = told_command.clone().try_get_matches_from(words)
            && let Ok(settings) = P::from_arg_matches(&matches)
        {
            told.judge_conflicts(conflicts(&settings));
        }
    }
    if !told.mistakes.is_empty() {
        return Err(Refusal::Mistakes(told.mistakes));
    }
    let matches = told_command.try_get_matches_from(&sources.arguments);
    let settings = matches.and_then(|matches| P::from_arg_matches(&matches));
    settings.map_err(|error| Refusal::Usage(withheld(error)))
}

/// Whether a command can be given with none of those below it.
fn is_open(command: &Command) -> bool {
    command.has_subcommands() && !command.is_subcommand_required_set() && !command.is_arg_required_else_help_set()
}

/// The commands that were asked for, from the program itself down.
fn chain<'a>(command: &'a Command, asked: &'a ArgMatches) -> Vec<(&'a Command, &'a ArgMatches)> {
    let mut chain = vec![(command, asked)];
    while let Some((command, matches)) = chain.last()
        && let Some((name, matches)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        chain.push((command, matches));
    }
    chain
}

/// The error of a command line, with help and usage as the real command has them.
fn usage(command: &Command, sources: &Sources<'_>, error: clap::Error) -> Refusal {
    match command.clone().try_get_matches_from(&sources.arguments) {
        Err(real) if real.kind() == error.kind() => Refusal::Usage(withheld(real)),
        _ => Refusal::Usage(withheld(error)),
    }
}

/// The error without what may be a secret: a database URL that stands where none is expected.
fn withheld(mut error: clap::Error) -> clap::Error {
    let urls = error.context().filter(|(_, value)| value.to_string().contains("://"));
    for kind in urls.map(|(kind, _)| kind).collect::<Vec<_>>() {
        error.remove(kind);
    }
    error
}

/// What was said of the settings so far.
#[derive(Default)]
struct Told {
    /// By the name of the setting; without values where these are a mistake.
    settings: BTreeMap<String, (Origin, Option<Vec<OsString>>)>,
    mistakes: Vec<Mistake>,
}

impl Told {
    /// The values of a setting that was given and is right.
    fn values(&self, name: &str) -> Option<&[OsString]> {
        let (_, values) = self.settings.get(name)?;
        values.as_deref()
    }

    /// The file, if there is to be one.
    fn read_file(&mut self, command: &Command, asked: &ArgMatches, sources: &Sources<'_>) -> Option<SettingsFile> {
        let arg = command
            .get_arguments()
            .find(|arg| definition::name(arg) == Some(CONFIG))?;
        self.judge(arg, Some(asked), sources, None);
        let (origin, values) = self.settings.get(CONFIG)?;
        let path = values.as_ref()?.first()?;
        match SettingsFile::read(Path::new(path)) {
            Ok((file, mistakes)) => {
                self.mistakes.extend(mistakes);
                Some(file)
            }
            Err(problem) => {
                self.mistakes.push(Mistake::of_setting(CONFIG, origin, &problem));
                None
            }
        }
    }

    /// Every name in the file must be that of a setting, of whatever command: one file may serve them all.
    fn judge_names(&mut self, command: &Command, file: Option<&SettingsFile>) {
        let Some(file) = file else { return };
        let known = names(command);
        for entry in &file.entries {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let place = format!("{}, line {}", file.path.display(), entry.line);
            self.mistakes.push(Mistake::of_file(&place, &unknown(entry, &known)));
        }
    }

    /// Takes the value of a setting from the first source that has one.
    fn judge(&mut self, arg: &Arg, flags: Option<&ArgMatches>, sources: &Sources<'_>, file: Option<&SettingsFile>) {
        let Some(name) = definition::name(arg) else { return };
        let is_judged = self.settings.contains_key(name);
        let Some((origin, values)) = find(arg, flags, sources, file).filter(|_| !is_judged) else {
            return;
        };
        let values = values.and_then(|values| match definition::judge(arg, &values) {
            Ok(()) => Ok(values),
            Err(problem) => Err(Some(problem)),
        });
        if let Err(Some(problem)) = &values {
            self.mistakes.push(Mistake::of_setting(name, &origin, problem));
        }
        self.settings.insert(name.to_owned(), (origin, values.ok()));
    }

    /// A setting that has to be given, and was not.
    fn miss(&mut self, arg: &Arg) {
        let Some(name) = definition::name(arg) else { return };
        if !arg.is_required_set() || self.settings.contains_key(name) {
            return;
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let variable = definition::variable(arg).unwrap_or_default();
        self.mistakes.push(Mistake::of_silence(name, variable, &help));
        self.settings.insert(name.to_owned(), (Origin::Default, None));
    }

    /// What does not go together, but for what is a mistake by itself.
    fn judge_conflicts(&mut self, conflicts: Vec<Conflict>) {
        for conflict in conflicts {
            let is_mistaken = |name: &&str| matches!(self.settings.get(*name), Some((_, None)));
            if conflict.settings.iter().any(is_mistaken) {
                continue;
            }
            let origins = conflict.settings.iter().map(|name| {
                let origin = self.settings.get(*name).map(|(origin, _)| origin.clone());
                (*name, origin.unwrap_or(Origin::Default))
            });
            let mistake = Mistake::of_settings(origins, &conflict.problem);
            if !self.mistakes.contains(&mistake) {
                self.mistakes.push(mistake);
            }
        }
    }
}

/// The values of a setting and where they stand, or what is wrong with their form, unless that is told already.
type Found = (Origin, Result<Vec<OsString>, Option<String>>);

fn find(arg: &Arg, flags: Option<&ArgMatches>, sources: &Sources<'_>, file: Option<&SettingsFile>) -> Option<Found> {
    let id = arg.get_id().as_str();
    if let Some(flags) = flags
        && flags.value_source(id) == Some(ValueSource::CommandLine)
    {
        let values = flags.get_raw(id).into_iter().flatten();
        return Some((Origin::CommandLine, Ok(values.map(ToOwned::to_owned).collect())));
    }
    let variable = definition::variable(arg)?;
    if let Some(value) = (sources.environment)(variable) {
        return Some((Origin::Environment(variable.to_owned()), Ok(vec![value])));
    }
    let file = file?;
    let entry = file
        .entries
        .iter()
        .find(|entry| Some(entry.key.as_str()) == arg.get_long())?;
    let values = match &entry.value {
        Value::One(value) => Ok(vec![value.into()]),
        Value::Many(values) if definition::takes_list(arg) => Ok(values.iter().map(Into::into).collect()),
        Value::Many(_) => Err(Some("must be one value, not a list".into())),
        Value::Other(kind) => Err(Some(format!("must be text, a whole number, true or false, not {kind}"))),
        Value::Broken => Err(None),
    };
    Some((Origin::File(file.path.clone(), entry.line), values))
}

/// The names of all settings that can stand in a file.
fn names(command: &Command) -> Vec<&str> {
    let own = command.get_arguments().filter_map(definition::name);
    let below = command.get_subcommands().flat_map(names);
    own.chain(below).filter(|name| *name != CONFIG).collect()
}

fn unknown(entry: &Entry, known: &[&str]) -> String {
    let key = entry.key.as_str();
    if entry.value == Value::Other("a table") {
        return format!("{key} is a table, and settings stand in none");
    }
    if key == CONFIG {
        return "config cannot stand in the file itself; give --config or CONFIG_FILE".into();
    }
    // Quotes may hold anything.
    let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let key = if is_plain { key } else { "of this name" };
    let likeness = |name: &str| strsim::jaro(name, key);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        // As clap has it for flags.
        Some(name) if likeness(name) > 0.7 => format!("there is no setting {key}; {name} may be meant"),
        _ => format!("there is no setting {key}; `device-assignment config default` names all there are"),
    }
}
