//! The template of a settings file, made from the declarations.

use std::collections::BTreeSet;

use clap::{Arg, Command, builder::PossibleValue};

use super::read::{CONFIG, file_settings};

const HEAD: &str = "\
# Settings of device-assignment. Use this file with `--config FILE` or CONFIG_FILE.
# Flags override environment variables, which override this file, which overrides the defaults.
# The lines that begin with # and no space show the defaults: remove the # to change a setting.
# `device-assignment config check --config FILE` checks a file. RUST_LOG sets the log level.
";

/// A settings file that lists every setting of `command` and its subcommands, each commented out: with its meaning, unit,
/// environment variable, default, and the subcommands that use it.
pub fn template(command: &Command) -> String {
    let mut sections: Vec<(&str, String)> = Vec::new();
    let mut names = BTreeSet::new();
    for (arg, name, variable) in file_settings(command)
        .into_iter()
        .filter(|(_, name, _)| names.insert(*name))
    {
        let heading = arg.get_help_heading().unwrap_or("Main settings");
        // `config check` has the settings of other subcommands.
        let users = command.get_subcommands().filter(|user| user.get_name() != CONFIG);
        let users = users.filter(|user| file_settings(user).iter().any(|(_, other, _)| *other == name));
        let users: Vec<&str> = users.map(Command::get_name).collect();
        let users = if users.is_empty() {
            "all subcommands".into()
        } else {
            users.join(", ")
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (unit, default) = (unit(arg), default(arg, name));
        let text = format!("\n# {help}\n# {unit}; {variable} in the environment; for {users}\n{default}\n");
        match sections.iter_mut().find(|(name, _)| *name == heading) {
            Some((_, section)) => section.push_str(&text),
            None => sections.push((heading, format!("\n\n# --- {heading} ---\n{text}"))),
        }
    }
    let sections: String = sections.into_iter().map(|(_, section)| section).collect();
    format!("{HEAD}{sections}")
}

fn unit(arg: &Arg) -> String {
    let valid = arg.get_possible_values();
    if valid.is_empty() || arg.is_hide_possible_values_set() {
        return arg.get_value_names().unwrap_or_default().join(" ");
    }
    valid
        .iter()
        .map(PossibleValue::get_name)
        .collect::<Vec<_>>()
        .join(" or ")
}

fn default(arg: &Arg, name: &str) -> String {
    match arg.get_default_values() {
        [] => format!("# No default. Write {name} = {}", toml(&unit(arg))),
        [default] => format!("#{name} = {}", toml(&default.to_string_lossy())),
        defaults => format!("#{name} = {defaults:?}"),
    }
}

/// A value in TOML: an integer or a boolean as it is, anything else in quotes.
fn toml(value: &str) -> String {
    if value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok() {
        return value.into();
    }
    // The escapes of JSON are valid in TOML.
    serde_json::Value::from(value).to_string()
}
