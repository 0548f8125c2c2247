//! Completion scripts and manual pages.

use std::{fs, path::PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, CommandError, output::print_bytes};

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  device-assignment completions bash \\
      > /usr/share/bash-completion/completions/device-assignment
  device-assignment completions zsh > \"${fpath[1]}/_device-assignment\"
  device-assignment completions fish \\
      > ~/.config/fish/completions/device-assignment.fish
";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  device-assignment man | man -l -
  device-assignment man device import | man -l -
  device-assignment man --dir /usr/local/share/man/man1
";

/// The script for bash writes the hyphen of this program's name in two ways, and then completes nothing after a subcommand
/// (clap-rs/clap#6421).
const MISSPELT: &str = "device__subcmd__assignment";
const SPELT: &str = "device__assignment";

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Manual {
    /// The subcommand whose page to print [default: the program's own page]
    #[arg(value_name = "SUBCOMMAND", conflicts_with = "dir")]
    subcommand: Vec<String>,

    /// Write the pages of all subcommands to this folder instead
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let mut command = Cli::command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        let script = String::from_utf8_lossy(&script).replace(MISSPELT, SPELT);
        print_bytes(script.as_bytes()).map(drop)
    }
}

impl Manual {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let mut program = Cli::command().disable_help_subcommand(true);
        program.build();
        if let Some(folder) = &self.dir {
            return pages(&program).try_for_each(|(name, page)| {
                let path = folder.join(name);
                fs::write(&path, page).map_err(|error| {
                    CommandError::Failed(format!(
                        "{}: {error}; name a folder that can be written",
                        path.display()
                    ))
                })
            });
        }
        let mut command = &program;
        for name in &self.subcommand {
            let found = command.find_subcommand(name);
            command = found.ok_or_else(|| CommandError::Usage(format!("there is no subcommand {name}; see --help")))?;
        }
        print_bytes(&page(command)).map(drop)
    }
}

/// The pages of a command and all below it, with the names of their files.
fn pages(command: &Command) -> Box<dyn Iterator<Item = (String, Vec<u8>)> + '_> {
    let name = format!("{}.1", command.get_display_name().unwrap_or(command.get_name()));
    let own = std::iter::once((name, page(command)));
    Box::new(own.chain(command.get_subcommands().flat_map(pages)))
}

fn page(command: &Command) -> Vec<u8> {
    let mut command = command.clone();
    // A manual page has its examples at the end.
    if let Some(examples) = command.get_before_help().cloned() {
        command = command.after_long_help(examples);
    }
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command).render(&mut page);
    page
}
