//! What a setting is: an option of the command line that has an environment variable. It is declared there and nowhere else.

use std::ffi::OsString;

use clap::{
    Arg, ArgAction, Command,
    builder::{BoolishValueParser, ValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::mistake::Discreet;

/// The one setting that cannot stand in the file: where that is.
pub(super) const CONFIG: &str = "config";

/// Lets a switch be told true or false, as the environment and the file have to, and so that a flag can take back what they
/// say.
#[must_use]
pub fn with_switches(command: Command) -> Command {
    map_args(command, &|arg| match arg.get_action() {
        ArgAction::SetTrue if is_setting(&arg) => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("BOOL")
            .value_parser(BoolishValueParser::new())
            .hide_possible_values(true)
            .default_missing_value("true")
            .default_value("false"),
        _ => arg,
    })
}

/// Changes every argument of a command and of those below it.
pub fn map_args(command: Command, change: &impl Fn(Arg) -> Arg) -> Command {
    command
        .mut_args(change)
        .mut_subcommands(|command| map_args(command, change))
}

/// The name of a setting; none for another argument.
pub(super) fn name(arg: &Arg) -> Option<&str> {
    arg.get_long().filter(|_| arg.get_env().is_some())
}

pub(super) fn is_setting(arg: &Arg) -> bool {
    name(arg).is_some()
}

/// The environment variable of a setting.
pub(super) fn variable(arg: &Arg) -> Option<&str> {
    arg.get_env().and_then(|name| name.to_str())
}

/// What is marked so that help does not show it.
pub(super) fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

pub(super) fn takes_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
        || arg.get_value_delimiter().is_some()
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// A command that takes any text for a setting, and needs none: what the command line says, before anybody judges it.
pub(super) fn unjudged(command: Command) -> Command {
    map_args(command, &|arg| {
        if !is_setting(&arg) {
            return arg;
        }
        arg.env(None::<&str>)
            .value_parser(ValueParser::os_string())
            .default_value(None::<&str>)
            .required(false)
    })
}

/// A command that has these values where the command line gives none, and does not look at the environment.
pub(super) fn with_values<'a>(command: Command, values: &impl Fn(&str) -> Option<&'a [OsString]>) -> Command {
    map_args(command, &|arg| match name(&arg) {
        None => arg,
        Some(name) => match values(name) {
            Some(values) => arg
                .default_values(values.iter().cloned().map(clap::builder::OsStr::from))
                .required(false)
                .env(None::<&str>),
            None => arg.env(None::<&str>),
        },
    })
}

/// What is wrong with the values of a setting, if anything.
pub(super) fn judge(arg: &Arg, values: &[OsString]) -> Result<(), String> {
    let name = name(arg).unwrap_or_default();
    let flags = values.iter().map(|value| {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(value);
        flag
    });
    let alone = Command::new("setting")
        .no_binary_name(true)
        .arg(arg.clone().env(None::<&str>).global(false).required(false));
    match alone.try_get_matches_from(flags) {
        Ok(_) => Ok(()),
        Err(error) => Err(problem(arg, &error)),
    }
}

fn problem(arg: &Arg, error: &clap::Error) -> String {
    let cause = std::error::Error::source(error);
    if let Some(discreet) = cause.and_then(|cause| cause.downcast_ref::<Discreet>()) {
        return discreet.to_string();
    }
    if is_secret(arg) {
        return "the value is not accepted".into();
    }
    let problem = match (error.kind(), cause, error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, _, Some(ContextValue::Strings(possible))) if !possible.is_empty() => {
            return format!("must be one of {}", possible.join(", "));
        }
        (_, Some(cause), _) => cause.to_string(),
        (ErrorKind::InvalidUtf8, ..) => "must be UTF-8 text".into(),
        (ErrorKind::ArgumentConflict | ErrorKind::TooManyValues, ..) => "takes one value".into(),
        _ => "the value is not accepted".into(),
    };
    match arg.get_default_values() {
        [default] if !default.is_empty() => format!("{problem}; an example is {}", default.display()),
        _ => problem,
    }
}
