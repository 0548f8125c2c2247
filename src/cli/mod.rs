//! The command line. Each subcommand is a thin layer over the other modules. Data goes to stdout, messages to stderr.

mod api_key;
mod assign;
mod bulk;
mod changes;
mod config;
mod connect;
mod customer;
mod customer_name;
mod customers;
mod delete;
mod device;
mod devices;
mod gateway;
mod health;
mod input;
mod listeners;
mod listing;
mod manual;
mod mcp;
mod migrate;
mod new_history;
mod openapi;
mod organization;
mod output;
mod owners;
mod page;
mod private;
mod progress;
mod serve;
mod signals;
mod skipped;
mod table;
mod target;
mod telemetry;
mod tls;
mod transfer;
mod unassign;
mod verify;
mod webhook;
mod welcome;

use std::{env, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, Subcommand};

use self::{signals::Signals, telemetry::Telemetry};

use crate::{
    config::{Conflict, GatewayConfig, ProcessConfig, ReadError, TraceConfig, read},
    domain::Error,
    server::ServeError,
};

/// How long the program may take to say why it fails.
const LAST_WORDS: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  device-assignment serve
      start on an embedded SQLite database, and print a first call to try
  device-assignment serve --database-url postgres://app@db/devices
      start on PostgreSQL
  device-assignment organization create acme
  device-assignment api-key create --organization acme --expires-in 90d
  device-assignment device import --organization acme devices.csv
  device-assignment assign --csv assignments.csv
      assign devices to customers at any running service
  device-assignment owners SN-001 SN-002
      look up who owns devices at any running service
  device-assignment customer show ann@example.com --organization acme
  device-assignment config default > settings.toml
      write a file that names every setting, for --config
";

/// Assigns devices to their owners, over gRPC and REST
#[derive(Debug, Parser)]
#[command(name = "device-assignment", version, before_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    process: ProcessConfig,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC and REST
    #[command(before_help = serve::EXAMPLES)]
    Serve(serve::Serve),
    /// Serve REST alone, in front of a service elsewhere
    #[command(before_help = gateway::EXAMPLES)]
    Gateway(GatewayConfig),
    /// Check whether a running service or gateway is ready: exit code 0 if so, else 1
    #[command(before_help = health::EXAMPLES)]
    Health(health::Health),
    /// Update the schema of the database
    #[command(before_help = migrate::EXAMPLES)]
    Migrate(migrate::Migrate),
    /// Create and list organizations
    #[command(subcommand, before_help = organization::EXAMPLES)]
    Organization(organization::Organization),
    /// Create, list and revoke API keys
    #[command(subcommand, before_help = api_key::EXAMPLES)]
    ApiKey(api_key::ApiKey),
    /// Import and show devices in the database, and delete devices at a running service
    #[command(subcommand, before_help = device::EXAMPLES)]
    Device(device::Device),
    /// Show customers in the database, and delete customers at a running service
    #[command(subcommand, before_help = customer::EXAMPLES)]
    Customer(customer::Customer),
    /// Assign devices to customers at a running service
    ///
    /// Invalid rows are left out and listed on stderr with their line. A run that was stopped can be run again with the same
    /// list: assigned devices stay assigned.
    ///
    /// The exit code is 0 if every row was assigned, 3 if rows were skipped because their device does not exist, 1 if rows
    /// were refused or the run failed, and 2 for a mistake on the command line.
    #[command(before_help = assign::EXAMPLES)]
    Assign(Box<assign::Assign>),
    /// Transfer devices to customers at a running service: assign them, and remove them from all other owners
    ///
    /// Rows that break a rule are reported on stderr with their line and left out. A run that was stopped can be run again with
    /// the same list. Use --expected-owner for that: without it, a device that has been sold on since is taken back.
    ///
    /// The exit code is 0 if every device was transferred, 3 if rows were skipped because their device does not exist or does not
    /// belong to the expected owner, 1 if rows were refused or something failed, and 2 if the command line is invalid.
    #[command(before_help = transfer::EXAMPLES)]
    Transfer(Box<transfer::Transfer>),
    /// Remove devices from customers at a running service
    ///
    /// Rows that break a rule are reported on stderr with their line and left out. After a failure, run it again with the same
    /// list: removed devices are then skipped.
    ///
    /// The exit code is 0 if every device was removed, 3 if rows were skipped because their device does not belong to the
    /// customer, 1 if rows were refused or something failed, and 2 if the command line is invalid.
    #[command(before_help = unassign::EXAMPLES)]
    Unassign(Box<unassign::Unassign>),
    /// Look up the owners of devices at a running service
    ///
    /// A line has the identifier, the type, the email address and id of an owner, and the time of the assignment. A device with
    /// several owners has several lines.
    ///
    /// The exit code is 0 if every device exists, 3 if some do not, 1 if rows were refused or something failed, and 2 if the
    /// command line is invalid.
    #[command(before_help = owners::EXAMPLES)]
    Owners(owners::Owners),
    /// List the devices of a customer, or of the organization, at a running service
    #[command(before_help = devices::EXAMPLES)]
    Devices(devices::Devices),
    /// List the customers of the organization at a running service
    #[command(before_help = customers::EXAMPLES)]
    Customers(customers::Customers),
    /// Print the changes of an organization at a running service, or post them to a webhook
    ///
    /// A line has the revision, the time, the kind, and how much was changed, separated by tabs. With --follow, the command does not
    /// end; it connects again by itself, and prints every change once.
    ///
    /// With --webhook, each change is a request, signed as Standard Webhooks specifies, and sent again until the receiver answers
    /// with a status 2xx. If it rejects a change with another status than 408, 425, 429 or 5xx, the command ends with exit code 1.
    /// Started again, it goes on with the change after the last one that was accepted.
    #[command(before_help = changes::EXAMPLES)]
    Changes(changes::Changes),
    /// Give AI assistants tools that call a running service: a server of the Model Context Protocol on stdin and stdout
    ///
    /// The tools look up owners, devices, customers and changes. With a key of the scope write, they also assign, remove and
    /// transfer devices, each after a preview. Messages go to stderr. The command ends when stdin is closed.
    #[command(before_help = mcp::EXAMPLES)]
    Mcp(mcp::Mcp),
    /// Compare the change log with the tables: exit code 0 if they agree, and 1 with every difference if not
    #[command(before_help = verify::EXAMPLES)]
    Verify(verify::Verify),
    /// Begin a new history of changes, after a restore of the database, and print its id
    ///
    /// A restored database gives revisions to other changes than before. Readers of changes see the new history and start again.
    #[command(before_help = new_history::EXAMPLES)]
    NewHistory(new_history::NewHistory),
    /// Print a completion script for a shell
    #[command(before_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(manual::Completions),
    /// Print a manual page
    #[command(before_help = manual::MAN_EXAMPLES)]
    Man(manual::Manual),
    /// Print a template of a settings file, and check settings
    #[command(subcommand, before_help = config::EXAMPLES)]
    Config(config::Config),
    /// Print the OpenAPI description of the REST API, with the default limits
    #[command(before_help = openapi::EXAMPLES)]
    Openapi,
}

impl Command {
    /// For a command that serves: where its traces go, and the name of the service in them.
    fn serves(&self) -> Option<(&TraceConfig, &'static str)> {
        match self {
            Self::Serve(serve) => Some((serve.traces(), "device-assignment")),
            Self::Gateway(config) => Some((&config.server.traces, "device-assignment-gateway")),
            _ => None,
        }
    }
}

/// Why the program fails, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// The command line or a setting is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Anything else: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl CommandError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

/// Operators see the cause, which callers do not.
impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::Failed(match error {
            Error::Unavailable(cause) | Error::Internal(cause) => cause.to_string(),
            Error::NotFound(sentence) => {
                format!("{sentence}; `device-assignment organization list` and `api-key list` name what there is")
            }
            error => error.to_string(),
        })
    }
}

impl From<crate::storage::DatabaseError> for CommandError {
    fn from(error: crate::storage::DatabaseError) -> Self {
        Error::from(error).into()
    }
}

impl From<ServeError> for CommandError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Service(error) => error.into(),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// The command line: every subcommand, flag and setting.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program: reads the arguments, runs the subcommand, and returns the exit code.
pub fn run() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let cli: Cli = match read(&command(), &arguments, |name| env::var_os(name), conflicts) {
        Ok(cli) => cli,
        Err(ReadError::Usage(error)) => {
            // If it cannot be printed, nobody can be told.
            let _ = error.print();
            return error
                .exit_code()
                .try_into()
                .map_or(ExitCode::FAILURE, |code: u8| code.into());
        }
        Err(ReadError::Mistakes(mistakes)) => {
            for mistake in mistakes {
                output::say(&format!("device-assignment: {mistake}"));
            }
            return ExitCode::from(2);
        }
    };
    match run_in_a_runtime(cli) {
        Ok(code) => code,
        Err(failure) => {
            let code = failure.exit_code();
            output::within(LAST_WORDS, move || {
                output::say(&format!("device-assignment: {failure}"))
            });
            code
        }
    }
}

/// The conflicts between settings that are valid one by one.
fn conflicts(cli: &Cli) -> Vec<Conflict> {
    match &cli.command {
        Command::Serve(command) => command.conflicts(),
        Command::Gateway(config) => gateway::conflicts(config),
        Command::Config(command) => command.conflicts(),
        Command::Changes(command) => command.conflicts(),
        Command::Health(_)
        | Command::Migrate(_)
        | Command::Organization(_)
        | Command::ApiKey(_)
        | Command::Device(_)
        | Command::Customer(_)
        | Command::Assign(_)
        | Command::Transfer(_)
        | Command::Unassign(_)
        | Command::Owners(_)
        | Command::Devices(_)
        | Command::Customers(_)
        | Command::Mcp(_)
        | Command::Verify(_)
        | Command::NewHistory(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Openapi => Vec::new(),
    }
}

fn run_in_a_runtime(cli: Cli) -> Result<ExitCode, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("the runtime cannot start: {error}")))?;
    let telemetry = {
        let _runtime = runtime.enter();
        Telemetry::start(cli.process.log_format, cli.command.serves())?
    };
    let result = runtime.block_on(dispatch(cli));
    telemetry.flush_traces();
    // What still runs waits for a silent peer to close its connection.
    runtime.shutdown_timeout(Duration::from_millis(100));
    telemetry.flush_log();
    result
}

async fn dispatch(cli: Cli) -> Result<ExitCode, CommandError> {
    match cli.command {
        Command::Serve(command) => return command.run().await,
        Command::Gateway(config) => return gateway::run(config).await,
        Command::Health(command) => return command.run().await,
        Command::Migrate(command) => command.run().await?,
        Command::Organization(command) => command.run().await?,
        Command::ApiKey(command) => command.run().await?,
        Command::Device(command) => return command.run().await,
        Command::Config(command) => command.run(cli.process.config.as_deref())?,
        Command::Openapi => openapi::run()?,
        Command::Customer(command) => command.run().await?,
        Command::Changes(command) => command.run().await?,
        Command::Mcp(command) => command.run().await?,
        Command::Assign(command) => return command.run().await,
        Command::Transfer(command) => return command.run().await,
        Command::Unassign(command) => return command.run().await,
        Command::Owners(command) => return command.run().await,
        Command::Devices(command) => command.run().await?,
        Command::Customers(command) => command.run().await?,
        Command::Verify(command) => return command.run().await,
        Command::NewHistory(command) => command.run().await?,
        Command::Completions(command) => command.run()?,
        Command::Man(command) => command.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_task_ends_the_program_with_1() {
        let error = CommandError::from(ServeError::TaskFailed("writer_worker"));
        assert_eq!(error.exit_code(), ExitCode::from(1));
        assert_eq!(
            error.to_string(),
            "stopped because the task writer_worker failed; its errors are in the log"
        );
    }
}
