//! The command line: each subcommand a thin call into the rooms below. Data goes to stdout, talk to stderr.

mod api_key;
mod assign;
mod connect;
mod customer;
mod device;
mod gateway;
mod input;
mod logging;
mod manual;
mod migrate;
mod organization;
mod output;
mod page;
mod progress;
mod serve;
mod skipped;

use std::{io, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    config::{GatewayConfig, LogFormat},
    domain::Error,
    server::ServeError,
};

const EXAMPLES: &str = "\
Examples:
  device-assignment serve
      start on an embedded SQLite database, and print a curl and a grpcurl line to try
  device-assignment serve --database-url postgres://app:secret@db/devices
      start on PostgreSQL
  device-assignment organization create acme
  device-assignment api-key create --organization acme --expires-in 90d
  device-assignment device import --organization acme devices.csv
  device-assignment assign --csv assignments.csv
      assign devices to customers at any running service
  device-assignment customer show ann@example.com --organization acme
";

/// Tells the platform which customer owns which device: AssignDevicesToOwner over gRPC and REST
#[derive(Debug, Parser)]
#[command(name = "device-assignment", version, before_help = EXAMPLES)]
struct Cli {
    /// How the log on stderr is written; RUST_LOG sets its level
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto",
        global = true,
        display_order = 900
    )]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC and REST
    Serve(serve::Serve),
    /// Serve REST alone, for a service elsewhere
    Gateway(GatewayConfig),
    /// Bring the schema of the database up to date
    Migrate(migrate::Migrate),
    /// Create and list organizations
    #[command(subcommand)]
    Organization(organization::Organization),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Bring in devices, and show them
    #[command(subcommand)]
    Device(device::Device),
    /// Show customers
    #[command(subcommand)]
    Customer(customer::Customer),
    /// Assign devices to customers at a running service
    ///
    /// Rows that break a rule are named by line on stderr and left out. What was stopped can be run again with the same
    /// list: what is done stays done. The exit code is 0 when all is done, 3 when some devices do not exist and were
    /// skipped, 1 when rows were refused or something failed, and 2 for a mistake on the command line.
    #[command(before_help = assign::EXAMPLES)]
    Assign(Box<assign::Assign>),
    /// Print a script that has a shell complete this command line
    #[command(before_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(manual::Completions),
    /// Print a manual page
    #[command(before_help = manual::MAN_EXAMPLES)]
    Man(manual::Manual),
}

/// Why the program ends without success, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The command line or a setting is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Anything else: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

/// Operators may know what a caller may not.
impl From<Error> for Failure {
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

impl From<crate::storage::Failure> for Failure {
    fn from(failure: crate::storage::Failure) -> Self {
        Error::from(failure).into()
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Service(error) => error.into(),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Runs the program: reads the arguments, does what they say, and tells how it went.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    logging::init(cli.log_format);
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the runtime cannot start: {error}")))
        .and_then(|runtime| {
            let result = runtime.block_on(dispatch(cli.command));
            // What still runs is a close that waits for a silent peer.
            runtime.shutdown_timeout(Duration::from_millis(100));
            result
        });
    match result {
        Ok(code) => code,
        Err(failure) => {
            output::say(&format!("device-assignment: {failure}"));
            failure.exit_code()
        }
    }
}

async fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(command) => command.run().await?,
        Command::Gateway(config) => gateway::run(config).await?,
        Command::Migrate(command) => command.run().await?,
        Command::Organization(command) => command.run().await?,
        Command::ApiKey(command) => command.run().await?,
        Command::Device(command) => return command.run().await,
        Command::Customer(command) => command.run().await?,
        Command::Assign(command) => return command.run().await,
        Command::Completions(command) => command.run()?,
        Command::Man(command) => command.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Catches signals from now on; the future returns when the program is asked to stop: by Ctrl-C, or by a supervisor with
/// SIGTERM.
fn asked_to_stop() -> impl Future<Output = ()> {
    let signals =
        signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    wait_for(signals)
}

async fn wait_for(signals: io::Result<(Signal, Signal)>) {
    match signals {
        Ok((mut interrupt, mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(error) => {
            tracing::error!(%error, "signals cannot be caught; only a kill ends this program");
            std::future::pending::<()>().await;
        }
    }
    tracing::info!("stopping");
}
