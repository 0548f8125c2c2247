//! The file that names every setting, as the definitions have it.

use std::fmt::Write as _;

use clap::{
    Arg, Command,
    builder::{PossibleValue, StyledStr},
};

use super::definition;

const HEAD: &str = "\
# The settings of device-assignment, for `--config FILE` or CONFIG_FILE. A flag wins over its environment variable, that over
# this file, and this file over the defaults, which stand here behind a # without a space: remove it to change one.
# `device-assignment config check --config FILE` tells what is wrong with a file. RUST_LOG sets the level of the log.
";

/// Where settings stand that have no heading of their own.
const GENERAL: &str = "General";

struct Setting<'a> {
    name: &'a str,
    arg: &'a Arg,
    /// The subcommands that know it.
    users: Vec<&'a str>,
}

/// A file that sets nothing: each setting of `command` and those below it, with what it means, its unit, its environment
/// variable, who reads it, and its default.
pub fn template(command: &Command) -> String {
    let mut settings = Vec::new();
    collect(command, None, &mut settings);
    let mut headings: Vec<&str> = Vec::new();
    for setting in &settings {
        if !headings.contains(&heading(setting.arg)) {
            headings.push(heading(setting.arg));
        }
    }
    let mut text = HEAD.to_owned();
    for name in headings {
        let _ = write!(text, "\n\n# --- {name} ---\n");
        for setting in settings.iter().filter(|setting| heading(setting.arg) == name) {
            let _ = write!(text, "\n{}", paragraph(setting));
        }
    }
    text
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or(GENERAL)
}

fn collect<'a>(command: &'a Command, user: Option<&'a str>, settings: &mut Vec<Setting<'a>>) {
    for arg in command.get_arguments() {
        let Some(name) = definition::name(arg).filter(|name| *name != definition::CONFIG) else {
            continue;
        };
        match settings.iter_mut().find(|setting| setting.name == name) {
            Some(known) => known.users.extend(user.filter(|user| !known.users.contains(user))),
            None => settings.push(Setting {
                name,
                arg,
                users: user.into_iter().collect(),
            }),
        }
    }
    // What checks the settings of others has none of its own.
    let others = command
        .get_subcommands()
        .filter(|command| command.get_name() != definition::CONFIG);
    for below in others {
        collect(below, user.or(Some(below.get_name())), settings);
    }
}

fn paragraph(setting: &Setting<'_>) -> String {
    let Setting { name, arg, users } = setting;
    let mut text = String::new();
    let help = arg.get_long_help().or(arg.get_help()).map(StyledStr::to_string);
    for line in help.unwrap_or_default().lines() {
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
    let unit = unit(arg);
    let variable = definition::variable(arg).unwrap_or_default();
    let users = if users.is_empty() {
        "everything".to_owned()
    } else {
        users.join(", ")
    };
    let _ = writeln!(text, "# {unit}; {variable} in the environment; for {users}");
    let values: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| toml(&value.to_string_lossy()))
        .collect();
    let _ = match values.as_slice() {
        [] => writeln!(text, "# No default. Write {name} = {}", toml(&unit)),
        [value] if !definition::takes_list(arg) => writeln!(text, "#{name} = {value}"),
        values => writeln!(text, "#{name} = [{}]", values.join(", ")),
    };
    text
}

/// What a value is, or which values there are.
fn unit(arg: &Arg) -> String {
    let possible = arg.get_possible_values();
    if possible.is_empty() || arg.is_hide_possible_values_set() {
        return arg.get_value_names().unwrap_or_default().join(" ");
    }
    let possible: Vec<&str> = possible.iter().map(PossibleValue::get_name).collect();
    possible.join(" or ")
}

/// A value as TOML: a number or a truth value as it is, all else in quotes.
fn toml(value: &str) -> String {
    if value.parse::<i64>().is_ok_and(|number| number.to_string() == value) || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    // The escapes of JSON are among those of TOML.
    serde_json::Value::from(value).to_string()
}
