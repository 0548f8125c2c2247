//! What `assign`, `transfer` and `unassign` have in common: a list of rows, sent in calls to a running service.

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgGroup, Args};
use serde_json::json;

use super::{
    CommandError,
    input::{Input, Size, ignored_columns},
    output::{print, print_lines, say},
    progress::Progress,
    skipped::Skipped,
    target::{failure, target},
};
use crate::{
    client::{self, Action, ClientError, Event, RemoteService, Report, Settings, Source},
    config::BulkConfig,
};

/// The exit code when everything succeeded except rows that were skipped.
const SOME_SKIPPED: u8 = 3;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("customers").required(true).args(["customer", "csv"]))]
pub(super) struct Bulk {
    /// The customer's email address
    #[arg(long, value_name = "EMAIL")]
    customer: Option<String>,

    /// Device identifiers
    #[arg(value_name = "ID", conflicts_with_all = ["csv", "file"], required_unless_present_any = ["csv", "file"])]
    identifiers: Vec<String>,

    /// A file with one device identifier per line, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    file: Option<PathBuf>,

    /// A CSV file for many customers, or - for standard input
    ///
    /// Its first line names the columns `customer_email` and `device_identifier`, and may name `device_type`, the type of
    /// the devices that `assign` and `transfer` create. They come in any order, and other columns are ignored. The
    /// separator is a comma, a semicolon or a tab.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write the skipped rows to a file for --csv, which only its owner can read
    #[arg(long, value_name = "FILE")]
    skipped: Option<PathBuf>,

    /// Change nothing: report what would be done
    ///
    /// Each call is checked against what exists, without what the other calls of the list would do.
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,

    /// Show no progress on a terminal
    #[arg(long)]
    no_progress: bool,

    #[command(flatten)]
    service: BulkConfig,
}

/// What `assign` and `transfer` do with devices that do not exist.
#[derive(Debug, Args)]
pub(super) struct Creation {
    /// Create the devices that do not exist, instead of skipping them
    #[arg(long)]
    pub(super) auto_create: bool,

    /// The type of the devices to create; in a CSV file, of rows without a type
    #[arg(long = "type", value_name = "TYPE", requires = "auto_create")]
    pub(super) device_type: Option<String>,
}

/// The rows to send.
struct List {
    source: Source,
    /// The name of the file, if there is one.
    name: Option<String>,
    size: Size,
}

/// The exit code after a run.
pub(super) fn exit_code(report: &Report) -> ExitCode {
    match report {
        Report { refused: 1.., .. } => ExitCode::FAILURE,
        Report { skipped: 1.., .. } => ExitCode::from(SOME_SKIPPED),
        _ => ExitCode::SUCCESS,
    }
}

impl Bulk {
    /// What a summary begins with.
    pub(super) fn when(&self) -> &'static str {
        if self.dry_run { "dry run: " } else { "" }
    }

    /// Sends the rows. `device_type` is the type of the devices to create.
    pub(super) async fn run(&self, action: Action, device_type: Option<String>) -> Result<Report, CommandError> {
        let reason = match action {
            Action::Assign { .. }
            | Action::Transfer {
                expected_owner: None, ..
            } => "device does not exist",
            Action::Transfer { .. } => "device does not exist, or does not belong to the expected owner",
            Action::Unassign => "device does not belong to the customer",
        };
        let creates = matches!(
            action,
            Action::Assign { auto_create: true } | Action::Transfer { auto_create: true, .. }
        );
        let settings = Settings {
            action,
            dry_run: self.dry_run,
            parallel: self.service.bulk.parallel.into(),
            timeout: self.service.client.calls.timeout,
            retry_for: self.service.client.calls.retry_for,
        };
        let lacks_type = creates && device_type.is_none();
        if lacks_type && self.csv.is_none() {
            return Err(CommandError::Usage(
                "--auto-create needs --type, the type of the devices to create".into(),
            ));
        }
        let target = target(&self.service.client.target)?;
        let List { source, name, size } = self.list(device_type)?;
        let name = name.as_deref();
        if lacks_type && !source.has_types() {
            return Err(CommandError::Usage(
                "--auto-create needs --type, or a column device_type in the list".into(),
            ));
        }
        if let Some(note) = ignored_columns(&source.ignored_columns()) {
            say(&note);
        }
        let service = RemoteService::connect(&target);
        let service = service.await.map_err(|error| self.failure(error, name))?;
        let path = self.skipped.as_deref();
        let mut skipped = Skipped::start(path, reason, source.has_types(), source.has_customers())?;
        let place = if name.is_some() { "line" } else { "identifier" };
        let progress = Progress::start(size, !self.no_progress && name.is_some());
        let mut all_done = 0;
        let result = client::run(service, source, &settings, |event| {
            match event {
                Event::Rejected(row) => progress.say(&format!("{place} {}: {}", row.line, row.problem)),
                Event::Skipped(rows) => skipped.take(rows, &progress).map_err(Stopped::Here)?,
                Event::Progress { read, done } => {
                    all_done = done;
                    progress.update(read, done);
                }
                Event::Trouble(answer) => progress.say(&format!("{answer}; trying again")),
            }
            Ok(())
        })
        .await;
        progress.finish(result.as_ref().ok().map(|_| all_done));
        result.map_err(|stopped| self.stopped(stopped, name, all_done))
    }

    /// Prints what was assigned, with the number of previous owners who were removed if the devices were transferred.
    pub(super) fn print_assigned(&self, report: &Report, owners_removed: Option<u64>) -> Result<(), CommandError> {
        let Report {
            assigned,
            already_assigned,
            skipped,
            refused,
            devices_created,
            customers_created,
            retries,
            ..
        } = report;
        if self.json {
            let mut value = json!({
                "assigned": assigned,
                "alreadyAssigned": already_assigned,
                "skipped": skipped,
                "refused": refused,
                "devicesCreated": devices_created,
                "customersCreated": customers_created,
                "retries": retries,
                "dryRun": self.dry_run,
            });
            if let (Some(count), Some(members)) = (owners_removed, value.as_object_mut()) {
                members.insert("ownersRemoved".into(), count.into());
            }
            return print(&value.to_string());
        }
        let summary = format!(
            "{}{assigned} assigned, {already_assigned} already assigned, {skipped} skipped, {refused} refused",
            self.when()
        );
        let removed = owners_removed.map(|count| format!("{count} previous owner(s) removed"));
        let created = (devices_created + customers_created > 0)
            .then(|| format!("{devices_created} device(s) and {customers_created} customer(s) created"));
        print_lines([summary].into_iter().chain(removed).chain(created)).map(drop)
    }

    fn stopped(&self, stopped: Stopped, list: Option<&str>, all_done: u64) -> CommandError {
        let failure = match stopped {
            Stopped::Here(failure) => failure,
            Stopped::Client(error) => self.failure(error, list),
        };
        match failure {
            CommandError::Failed(sentence) if all_done > 0 => CommandError::Failed(format!(
                "{sentence}; {all_done} row(s) are done, and stay so when the same command is run again"
            )),
            failure => failure,
        }
    }

    fn list(&self, device_type: Option<String>) -> Result<List, CommandError> {
        let customer = self.customer.clone().unwrap_or_default();
        let Some(path) = self.csv.as_deref().or(self.file.as_deref()) else {
            return Ok(List {
                source: Source::given(self.identifiers.clone(), customer, device_type),
                name: None,
                size: Size::default(),
            });
        };
        let input = Input::open(path)?;
        if self.skipped.as_deref().is_some_and(|skipped| input.is_file_at(skipped)) {
            return Err(CommandError::Usage(
                "--skipped must be another file than the list that is read".into(),
            ));
        }
        let name = input.name.clone();
        let size = input.size.clone();
        let reader = input.into_reader();
        let source = if self.csv.is_some() {
            Source::csv(reader, device_type).map_err(|error| self.failure(error.into(), Some(&name)))?
        } else {
            Source::lines(reader, customer, device_type)
        };
        Ok(List {
            source,
            name: Some(name),
            size,
        })
    }

    fn failure(&self, error: ClientError, list: Option<&str>) -> CommandError {
        failure(error, &self.service.client.target, list)
    }
}

/// Why a run stopped.
enum Stopped {
    Client(ClientError),
    Here(CommandError),
}

impl From<ClientError> for Stopped {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}
