//! A client that assigns in bulk: the rows of a list of any length become as few calls as the service allows, several of
//! them under way at once. It can be run again with the same list at any time, because the calls are idempotent.
//!
//! A list of rows for many customers is gathered in a window: a call takes what waits there for the customer whose rows
//! have waited longest. There is no timer: a call that may be made is made at once, and while the service is busy the
//! calls grow by themselves.

mod call;
mod connect;
mod rows;
mod window;

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinSet};

use self::{
    call::{Caller, Done},
    rows::Row,
    window::Window,
};
pub use self::{
    connect::{Service, Target},
    rows::{HEADER, HEADER_WITH_TYPE, Source},
};
use crate::list::{ListError, RefusedRow};

/// How many rows are read ahead of the window.
const READ_AHEAD: usize = 1_024;

/// How calls are made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether devices that are unknown are created.
    pub auto_create: bool,
    /// How many calls are under way at once.
    pub parallel: usize,
    /// How long a call may take.
    pub timeout: Duration,
    /// How long a call is made again that cannot be carried out for the time being.
    pub retry_for: Duration,
}

/// What became of the rows of a list. Each counts once, but for devices and customers created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows whose device belongs to the customer since now.
    pub assigned: u64,
    /// Rows whose device belonged to the customer already, and those that repeat another.
    pub already_assigned: u64,
    /// Rows whose identifier leads to no device.
    pub skipped: u64,
    /// Rows that break a rule.
    pub refused: u64,
    /// Devices that are new.
    pub devices_created: u64,
    /// Customers that are new.
    pub customers_created: u64,
    /// How often a call was made again.
    pub retries: u64,
}

/// What happens while a list is worked on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A row breaks a rule.
    Refused(&'a RefusedRow),
    /// These identifiers lead to no device.
    Skipped(&'a SkippedRows),
    /// So many rows have been read, and so many of them are dealt with.
    Progress {
        /// Rows read.
        read: u64,
        /// Rows dealt with.
        done: u64,
    },
    /// A call was not carried out and is going to be made again; why, as a clause.
    Trouble(&'a str),
}

/// Rows of one customer that were skipped.
#[derive(Debug, Default)]
pub struct SkippedRows {
    /// Whom the devices were meant for.
    pub customer: String,
    /// The type that the rows name, if they do.
    pub device_type: Option<String>,
    /// The identifiers, in the order of the list.
    pub identifiers: Vec<String>,
}

/// Why nothing, or nothing more, is assigned. What has been done stays.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL names no service.
    #[error("{0}")]
    Url(String),
    /// The certificates to trust are none.
    #[error("there is no certificate in PEM form in it")]
    Ca,
    /// A key is 53 letters, digits and underscores.
    #[error("the API key has characters that no key has")]
    Key,
    /// Nobody answers there.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable {
        /// Where the service should be.
        url: String,
        /// Why.
        problem: String,
    },
    /// Whoever answers there is not the service.
    #[error("{0} does not answer as the device assignment service does")]
    NotTheService(String),
    /// The service does not know the key, or does not let it in.
    #[error("the service refuses the API key: {0}")]
    KeyRefused(String),
    /// The service failed, and calling again does not help.
    #[error("the service failed at lines {first} to {last}: {answer}")]
    Failed {
        /// The first line of the call.
        first: u64,
        /// The last line of the call.
        last: u64,
        /// What it answered.
        answer: String,
    },
    /// The service could not carry out a call for too long.
    #[error("the service has not carried out a call for {}: {answer}", humantime::format_duration(*.retried_for))]
    GaveUp {
        /// How long.
        retried_for: Duration,
        /// What it answered last.
        answer: String,
    },
    /// The list cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A fault of ours.
    #[error("a call came to no end")]
    Panicked,
}

/// Assigns what `source` lists, and tells `on_event` what happens. Needs no more memory for a longer list.
///
/// # Errors
/// As [`ClientError`] says, and whatever `on_event` returns.
pub async fn assign<E: From<ClientError>>(
    service: Service,
    mut source: Source,
    settings: &Settings,
    mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
) -> Result<Report, E> {
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
    let caller = Caller::new(service, settings, trouble);
    let mut run = Run::default();
    let mut rows = Vec::with_capacity(READ_AHEAD);
    let mut is_read = false;
    loop {
        let is_waiting_for_rows = !is_read && !run.window.is_full() && !read.is_empty();
        while !is_waiting_for_rows && run.calls.len() < settings.parallel {
            let Some(group) = run.window.pop() else { break };
            run.calls.spawn(caller.clone().carry_out(group));
        }
        if is_read && run.calls.is_empty() {
            return Ok(run.report);
        }
        tokio::select! {
            count = read.recv_many(&mut rows, READ_AHEAD), if !is_read && !run.window.is_full() => {
                is_read = count == 0;
                for row in rows.drain(..) {
                    run.take(row.map_err(ClientError::from)?, &mut on_event)?;
                }
            }
            Some(done) = run.calls.join_next() => {
                run.is_in_trouble = false;
                run.finish(done.unwrap_or(Err(ClientError::Panicked))?, &mut on_event)?;
            }
            Some(answer) = troubles.recv() => {
                // Once is enough, until something succeeds again.
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

/// A list that is being worked on.
#[derive(Default)]
struct Run {
    window: Window,
    calls: JoinSet<Result<Done, ClientError>>,
    report: Report,
    read: u64,
    done: u64,
    is_in_trouble: bool,
}

impl Run {
    fn take<E>(
        &mut self,
        row: Result<Row, RefusedRow>,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read += 1;
        match row {
            Ok(row) => self.window.push(row),
            Err(row) => self.refuse(&row, on_event)?,
        }
        Ok(())
    }

    fn refuse<E>(&mut self, row: &RefusedRow, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        self.report.refused += 1;
        self.done += 1;
        on_event(Event::Refused(row))
    }

    fn finish<E>(&mut self, done: Done, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let skipped = done.skipped.identifiers.len() as u64;
        self.done += done.assigned + done.already_assigned + skipped;
        self.report.assigned += done.assigned;
        self.report.already_assigned += done.already_assigned;
        self.report.skipped += skipped;
        self.report.devices_created += done.devices_created;
        self.report.customers_created += u64::from(done.customer_was_created);
        self.report.retries += done.retries;
        for row in &done.refused {
            self.refuse(row, on_event)?;
        }
        if skipped > 0 {
            on_event(Event::Skipped(&done.skipped))?;
        }
        Ok(())
    }
}
