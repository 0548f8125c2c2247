//! A client that assigns, transfers or removes devices in bulk: it sends the rows of a list of any length in as few calls as the
//! service allows, several of them at once. It can be run again with the same list at any time, because the calls are idempotent.
//!
//! The rows for many customers wait in a window. A call takes the rows of the customer whose first row has waited longest.
//! There is no timer: a call is sent as soon as it is allowed, and while the service is busy the calls grow.

mod cache;
mod call;
mod changes;
mod connect;
mod devices;
mod order;
mod problems;
mod records;
mod retry;
mod rows;
mod services;
mod window;

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet};

#[cfg(feature = "server")]
pub(crate) use self::connect::answer;
pub use self::{
    cache::{Freshness, OwnershipCache},
    changes::{ChangeFollower, FollowError, Followed, Position},
    connect::{RemoteService, Target},
    devices::Owners,
    records::{Found, Records},
    rows::{HEADER, HEADER_WITH_TYPE, Source},
    services::Services,
};
use self::{
    call::{CallSender, Common, Done},
    order::{DeviceOrder, MAX_DEVICES},
    rows::Row,
    window::Window,
};
use crate::list::{ListError, RejectedRow};

/// How many rows are read ahead of the window.
const READ_AHEAD: usize = 1_024;

/// How calls are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is done with the devices.
    pub action: Action,
    /// Whether nothing is changed: the report says what would be done.
    pub dry_run: bool,
    /// How many calls are sent at once.
    pub parallel: usize,
    /// How long a call may take.
    pub timeout: Duration,
    /// How long to retry a call.
    pub retry_for: Duration,
}

/// What is done with the devices of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Assign them to their customers.
    Assign {
        /// Whether devices that do not exist are created.
        auto_create: bool,
    },
    /// Assign them to their customers, and remove them from all other owners.
    Transfer {
        /// Whether devices that do not exist are created.
        auto_create: bool,
        /// The customer whom the devices must belong to, by email address or id; other devices are skipped.
        expected_owner: Option<String>,
    },
    /// Remove them from their customers.
    Unassign,
}

/// The result of a list. Each row counts once; devices and customers created count besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows whose device was assigned to the customer.
    pub assigned: u64,
    /// Rows whose device already belonged to the customer, and rows that repeat another.
    pub already_assigned: u64,
    /// Rows whose device was removed from the customer.
    pub unassigned: u64,
    /// How often a transferred device was removed from another owner.
    pub owners_removed: u64,
    /// Rows whose device does not exist; when devices are removed, rows whose device does not belong to the customer (any more);
    /// when devices are transferred, rows whose device does not belong to the expected owner.
    pub skipped: u64,
    /// Rows that break a rule.
    pub refused: u64,
    /// Devices that were created.
    pub devices_created: u64,
    /// Customers that were created.
    pub customers_created: u64,
    /// How often a call was sent again.
    pub retries: u64,
}

/// What happens during a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A row breaks a rule.
    Rejected(&'a RejectedRow),
    /// These rows have no device, or their device does not belong to the customer or the expected owner.
    Skipped(&'a SkippedRows),
    /// How far the run has come.
    Progress {
        /// Rows read.
        read: u64,
        /// Rows with a result.
        done: u64,
    },
    /// A call failed and is going to be sent again; why, as a clause.
    Trouble(&'a str),
}

/// Rows of one customer that were skipped.
#[derive(Debug, Default)]
pub struct SkippedRows {
    /// The customer that they name.
    pub customer: String,
    /// The type that the rows name, if they do.
    pub device_type: Option<String>,
    /// The identifiers, in the order of the list.
    pub identifiers: Vec<String>,
}

/// Why a run stops. What has been assigned stays.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is invalid.
    #[error("{0}")]
    Url(String),
    /// There are no certificates to trust.
    #[error("the file has no certificate in PEM form")]
    Ca,
    /// A key is 53 letters, digits and underscores.
    #[error("the API key has characters that are not allowed in a key")]
    Key,
    /// Nothing answers at the URL.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        problem: String,
    },
    /// Another program answers at the URL.
    #[error("{0} does not respond as the device assignment service does")]
    NotTheService(String),
    /// The service rejects the key.
    #[error("the service rejects the API key: {0}")]
    KeyRejected(String),
    /// The service rejects the customer of all rows.
    #[error("{0}")]
    Customer(String),
    /// The customer of all rows does not exist.
    #[error("{0}")]
    CustomerNotFound(String),
    /// The service rejects the customer whom the devices must belong to.
    #[error("{0}")]
    ExpectedOwner(String),
    /// The service rejects the fields of a single call.
    #[error("{0}")]
    Rejected(String),
    /// What a single call names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The service failed at a single call, and a retry would not help.
    #[error("the service failed: {0}")]
    CallFailed(String),
    /// The service rejects the device type of all rows.
    #[error("{0}")]
    DeviceType(String),
    /// The service failed, and a retry would not help.
    #[error("the service failed at lines {first} to {last}: {answer}")]
    Failed {
        /// The first line of the call.
        first: u64,
        /// The last line of the call.
        last: u64,
        /// What it answered.
        answer: String,
    },
    /// Retries of a call have failed for too long.
    #[error("no call succeeded for {}: {answer}", humantime::format_duration(*.retried_for))]
    GaveUp {
        /// How long.
        retried_for: Duration,
        /// The last error.
        answer: String,
    },
    /// The list cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A bug in this client.
    #[error("a call panicked")]
    Panicked,
}

/// Assigns, transfers or removes the devices of `source`, and calls `on_event` for what happens. Needs no more memory for a longer list.
/// A device that several rows transfer belongs to the customer of the last of them.
///
/// # Errors
/// As [`ClientError`] says, and whatever `on_event` returns.
pub async fn run<E: From<ClientError>>(
    service: RemoteService,
    mut source: Source,
    settings: &Settings,
    mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
) -> Result<Report, E> {
    let common = Common {
        customer: !source.has_customers(),
        device_type: !source.has_types(),
    };
    let (to_window, mut read) = mpsc::channel(READ_AHEAD);
    // Reading blocks.
    tokio::task::spawn_blocking(move || {
        while let Some(row) = source.next().transpose() {
            let is_last = row.is_err();
            if to_window.blocking_send(row).is_err() || is_last {
                break;
            }
        }
    });
    let (trouble, mut troubles) = mpsc::channel(1);
    let sender = CallSender::new(service, settings, common, trouble);
    let mut run = Run {
        is_dry: settings.dry_run,
        order: matches!(settings.action, Action::Transfer { .. }).then(|| DeviceOrder::new(MAX_DEVICES)),
        ..Run::default()
    };
    let mut rows = Vec::with_capacity(READ_AHEAD);
    let mut is_read = false;
    loop {
        run.take_rows(&mut on_event)?;
        let is_taking_rows = !is_read && run.rows.is_empty() && !run.window.is_full();
        let is_waiting_for_rows = is_taking_rows && !read.is_empty();
        while !is_waiting_for_rows && run.calls.len() < settings.parallel {
            let Some(group) = run.window.pop() else { break };
            run.calls.spawn(sender.clone().send(group));
        }
        if is_read && run.rows.is_empty() && run.calls.is_empty() {
            return Ok(run.report);
        }
        tokio::select! {
            count = read.recv_many(&mut rows, READ_AHEAD), if is_taking_rows => {
                is_read = count == 0;
                run.rows.extend(rows.drain(..));
            }
            Some(done) = run.calls.join_next() => {
                run.is_in_trouble = false;
                run.finish(done.unwrap_or(Err(ClientError::Panicked))?, &mut on_event)?;
            }
            Some(answer) = troubles.recv() => {
                // Once, until a call succeeds again.
                if !std::mem::replace(&mut run.is_in_trouble, true) {
                    on_event(Event::Trouble(&answer))?;
                }
            }
        }
        on_event(Event::Progress {
            read: run.read,
            done: run.done,
        })?;
    }
}

/// The state of a run.
#[derive(Default)]
struct Run {
    /// Rows that were read and are not in the window yet.
    rows: VecDeque<Result<Result<Row, RejectedRow>, ListError>>,
    /// Set if the order of a device's rows matters.
    order: Option<DeviceOrder>,
    window: Window,
    calls: JoinSet<Result<Done, ClientError>>,
    report: Report,
    read: u64,
    done: u64,
    is_in_trouble: bool,
    is_dry: bool,
    /// The hashes of the customers that a dry run would have created so far: each of its calls would create them again.
    new_customers: HashSet<u64>,
    hasher: RandomState,
}

impl Run {
    /// Takes the rows that were read, up to one that must wait for the calls of the rows before it.
    fn take_rows<E: From<ClientError>>(
        &mut self,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(row) = self.rows.front() {
            if let (Some(order), Ok(Ok(row))) = (&mut self.order, row)
                && !order.allows(row)
            {
                if !self.window.is_empty() || !self.calls.is_empty() {
                    break;
                }
                order.restart();
                continue;
            }
            let Some(row) = self.rows.pop_front() else { break };
            self.take(row.map_err(ClientError::from)?, on_event)?;
        }
        Ok(())
    }

    fn take<E>(
        &mut self,
        row: Result<Row, RejectedRow>,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read += 1;
        match row {
            Ok(row) => self.window.push(row),
            Err(row) => self.reject(&row, on_event)?,
        }
        Ok(())
    }

    fn reject<E>(&mut self, row: &RejectedRow, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        self.report.refused += 1;
        self.done += 1;
        on_event(Event::Rejected(row))
    }

    /// Whether a customer that a call created is new to this run.
    fn is_new(&mut self, customer: &str) -> bool {
        let hash = self.hasher.hash_one(customer.to_ascii_lowercase());
        !self.is_dry || self.new_customers.insert(hash)
    }

    fn finish<E>(&mut self, done: Done, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let skipped = done.skipped.identifiers.len() as u64;
        self.done += done.assigned + done.already_assigned + done.unassigned + skipped;
        self.report.unassigned += done.unassigned;
        self.report.owners_removed += done.owners_removed;
        self.report.assigned += done.assigned;
        self.report.already_assigned += done.already_assigned;
        self.report.skipped += skipped;
        self.report.devices_created += done.devices_created;
        self.report.customers_created += u64::from(done.customer_was_created && self.is_new(&done.skipped.customer));
        self.report.retries += done.retries;
        for row in &done.refused {
            self.reject(row, on_event)?;
        }
        if skipped > 0 {
            on_event(Event::Skipped(&done.skipped))?;
        }
        Ok(())
    }
}
