//! The template of a settings file, made from the declarations.

use clap::{Command, builder::PossibleValue};

use super::read::{CONFIG, Setting};

const HEAD: &str = "\
# Settings of device-assignment. Use this file with `--config FILE` or CONFIG_FILE.
# Flags override environment variables, which override this file, which overrides the defaults.
# The lines that begin with # and no space show the defaults: remove the # to change a setting.
# `device-assignment config check --config FILE` checks a file. RUST_LOG sets the log level.
";

/// A settings file that lists every setting of `command` and its subcommands, each commented out: with its meaning, unit,
/// environment variable, default, and the subcommands that use it.
pub fn template(command: &Command) -> String {
    let mut settings = Vec::new();
    collect(command, None, &mut settings);
    let mut sections: Vec<(&str, String)> = Vec::new();
    for (setting, users) in &settings {
        let heading = setting.arg.get_help_heading().unwrap_or("Main settings");
        let text = describe(setting, users);
        match sections.iter_mut().find(|(name, _)| *name == heading) {
            Some((_, section)) => section.push_str(&text),
            None => sections.push((heading, format!("\n\n# --- {heading} ---\n{text}"))),
        }
    }
    let sections: String = sections.into_iter().map(|(_, section)| section).collect();
    format!("{HEAD}{sections}")
}

/// Adds the settings of a command, each with the subcommands that use it.
fn collect<'a>(command: &'a Command, user: Option<&'a str>, settings: &mut Vec<(Setting<'a>, Vec<&'a str>)>) {
    for setting in Setting::all(command).filter(|setting| setting.name != CONFIG) {
        match settings.iter_mut().find(|(known, _)| known.name == setting.name) {
            Some((_, users)) => users.extend(user.filter(|user| !users.contains(user))),
            None => settings.push((setting, user.into_iter().collect())),
        }
    }
    // `config check` repeats the settings of others.
    for below in command.get_subcommands().filter(|command| command.get_name() != CONFIG) {
        collect(below, user.or(Some(below.get_name())), settings);
    }
}

fn describe(setting: &Setting<'_>, users: &[&str]) -> String {
    let Setting { arg, name, variable } = setting;
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let valid = arg.get_possible_values();
    let valid: Vec<&str> = valid.iter().map(PossibleValue::get_name).collect();
    let unit = if valid.is_empty() || arg.is_hide_possible_values_set() {
        arg.get_value_names().unwrap_or_default().join(" ")
    } else {
        valid.join(" or ")
    };
    let users = if users.is_empty() {
        "all subcommands".into()
    } else {
        users.join(", ")
    };
    let default = match arg.get_default_values() {
        [] => format!("# No default. Write {name} = {}", toml(&unit)),
        [default] => format!("#{name} = {}", toml(&default.to_string_lossy())),
        defaults => format!("#{name} = {defaults:?}"),
    };
    format!("\n# {help}\n# {unit}; {variable} in the environment; for {users}\n{default}\n")
}

/// A value in TOML: an integer or a boolean as it is, anything else in quotes.
fn toml(value: &str) -> String {
    if value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok() {
        return value.into();
    }
    // The escapes of JSON are valid in TOML.
    serde_json::Value::from(value).to_string()
}
