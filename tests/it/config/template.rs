//! The file that `config default` prints.

use std::collections::BTreeMap;

use device_assignment::{cli, config::template};

use super::{file, serve, tell};
use crate::support::{
    Program, Suite,
    program::{command, finish, run, stderr, stdout},
};

pub fn register(suite: &mut Suite) {
    suite.test("config::the_default_file_sets_what_is_set_without_it", default_file);
    suite.test("config::file_help_and_code_name_the_same_settings", agreement);
    suite.test("config::every_setting_has_a_variable_a_meaning_and_a_unit", definitions);
}

/// What `config default` prints.
async fn printed() -> String {
    let output = run(&["config", "default"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    stdout(&output)
}

/// With every default set.
fn uncommented(template: &str) -> String {
    let lines = template.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn default_file() {
    let template = printed().await;
    let full = uncommented(&template);
    assert!(
        full.lines().filter(|line| !line.starts_with('#')).count() > 20,
        "{full}"
    );
    for text in [&template, &full] {
        let (folder, path) = file(text);
        let mut check = command(&["config", "check"]);
        check.env("CONFIG_FILE", &path).current_dir(folder.path());
        let output = finish(check).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(
            stdout(&output),
            format!("{} and the environment are valid\n", path.display())
        );
        assert_eq!(
            folder.path().read_dir().expect("a folder").count(),
            1,
            "nothing is made"
        );

        for subcommand in ["serve", "gateway --upstream http://127.0.0.1:1"] {
            let told = |arguments: &str| format!("{:?}", tell(arguments, &[]).expect("no mistake").settings);
            let with_file = told(&format!("{subcommand} --config {}", path.display()));
            assert_eq!(with_file, told(subcommand));
        }
        let with_file = serve(&format!("serve --config {}", path.display()), &[]);
        assert_eq!(
            with_file.database.database_url,
            serve("serve", &[]).database.database_url
        );
    }
    let (folder, path) = file(&full);
    let mut serve = command(&["serve", "--config"]);
    serve.arg(&path).current_dir(folder.path());
    let ended = Program::spawn(serve).await.end_by("-TERM").await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

/// The settings that a help text names, with their environment variables.
fn settings_of_help(help: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut flag = String::new();
    for line in help.lines().map(str::trim) {
        if let Some((_, name)) = line.split_once("--").filter(|(before, _)| before.len() <= 4) {
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            name[..end.unwrap_or(name.len())].clone_into(&mut flag);
        }
        if let Some(variable) = line.strip_prefix("[env: ") {
            let end = variable.find(['=', ']']).expect("an end");
            settings.insert(flag.clone(), variable[..end].to_owned());
        }
    }
    settings
        .remove("config")
        .expect("the file is a setting of every subcommand");
    settings
}

async fn agreement() {
    let printed = printed().await;
    assert_eq!(printed.trim_end(), template(&cli::command()).trim_end());
    let mut file: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut about = String::new();
    for line in printed.lines() {
        let setting = match (line.strip_prefix("# No default. Write "), line.strip_prefix('#')) {
            (Some(setting), _) => Some(setting),
            (None, Some(setting)) if !setting.starts_with(' ') => Some(setting),
            _ => None,
        };
        let Some(setting) = setting else {
            line.clone_into(&mut about);
            continue;
        };
        let (name, _) = setting.split_once(" = ").expect("a setting");
        let about: Vec<&str> = about.split("; ").collect();
        let variable = about[1].strip_suffix(" in the environment").expect("a variable");
        let users = about[2].strip_prefix("for ").expect("users");
        let twice = file.insert(name.to_owned(), (variable.to_owned(), users.to_owned()));
        assert_eq!(twice, None, "{name}");
    }
    for subcommand in ["serve", "gateway", "migrate"] {
        let help = stdout(&run(&[subcommand, "--help"]).await);
        let in_file = file
            .iter()
            .filter(|(_, (_, users))| users == "all subcommands" || users.split(", ").any(|user| user == subcommand));
        let in_file: BTreeMap<String, String> = in_file
            .map(|(name, (variable, _))| (name.clone(), variable.clone()))
            .collect();
        assert_eq!(settings_of_help(&help), in_file, "{subcommand}");
        for variable in in_file.values() {
            assert!(!variable.is_empty(), "{help}");
        }
    }
}

async fn definitions() {
    let command = cli::command();
    let mut count = 0;
    for name in ["serve", "gateway"] {
        let subcommand = command.find_subcommand(name).expect(name);
        for arg in subcommand.get_arguments().chain(command.get_arguments()) {
            let id = arg.get_id();
            let long = arg.get_long().unwrap_or_else(|| panic!("{name}: {id} has no flag"));
            let variable = arg
                .get_env()
                .unwrap_or_else(|| panic!("{name}: --{long} has no variable"));
            // Those of traces are OpenTelemetry's own.
            if long != "config" && !variable.to_string_lossy().starts_with("OTEL_") {
                assert_eq!(variable.to_str(), Some(long.to_uppercase().replace('-', "_").as_str()));
            }
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{name}: --{long} has no help");
            let units = arg.get_value_names().unwrap_or_default();
            // Without one, clap makes it of the name.
            let is_named = units.iter().any(|unit| unit != variable.to_str().expect("text"));
            assert!(is_named, "{name}: --{long} has no unit: {units:?}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}
