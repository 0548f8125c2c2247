//! Sends the calls for one customer: again while the service cannot carry them out, and in parts when it rejects them.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};
use tonic::{Code, Status};

use super::{
    Action, ClientError, Settings, SkippedRows,
    connect::{IdempotencyKey, RemoteService, answer, one_line},
    problems::{CUSTOMER_NOT_FOUND, Problems, has_reason},
    retry::{Retry, may_succeed_later},
    rows::GroupKey,
    window::Group,
};
use crate::{
    list::RejectedRow,
    pb::{
        AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse, TransferDevicesToOwnerRequest,
        TransferDevicesToOwnerResponse, UnassignDevicesFromOwnerRequest, UnassignDevicesFromOwnerResponse,
    },
};

/// The reason of the error that none of the identifiers has a device.
const NO_VALID_DEVICES: &str = "NO_VALID_DEVICES";

/// The reason of the error that none of the devices belongs to the customer whom they must belong to.
const NOT_ASSIGNED: &str = "NOT_ASSIGNED";

/// The reason of the error that the devices have too many owners for one transfer.
const TOO_MANY_OWNERS: &str = "TOO_MANY_OWNERS";

/// Sends calls.
#[derive(Clone)]
pub(super) struct CallSender {
    service: RemoteService,
    action: Action,
    dry_run: bool,
    timeout: Duration,
    retry_for: Duration,
    /// What all rows have in common.
    common: Common,
    /// The most identifiers of a call, as far as is known: the service may have a lower limit than usual.
    max_rows: Arc<AtomicUsize>,
    /// When a call of any group last succeeded.
    last_success: watch::Sender<Option<Instant>>,
    trouble: mpsc::Sender<String>,
}

/// What all rows of a source have in common: the service's errors about it concern the whole run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common {
    pub(super) customer: bool,
    pub(super) device_type: bool,
}

/// The result of a group.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) assigned: u64,
    pub(super) already_assigned: u64,
    pub(super) unassigned: u64,
    pub(super) owners_removed: u64,
    pub(super) devices_created: u64,
    pub(super) customer_was_created: bool,
    pub(super) retries: u64,
    pub(super) skipped: SkippedRows,
    pub(super) refused: Vec<RejectedRow>,
}

/// The result of a call that was answered.
enum CallResult {
    Assigned(AssignDevicesToOwnerResponse),
    Transferred(TransferDevicesToOwnerResponse),
    Unassigned(UnassignDevicesFromOwnerResponse),
    /// None of the identifiers has a device, or none of the devices may be transferred.
    NoDevices,
    /// The request breaks a rule.
    Rejected(Status),
}

impl CallSender {
    pub(super) fn new(
        service: RemoteService,
        settings: &Settings,
        common: Common,
        trouble: mpsc::Sender<String>,
    ) -> Self {
        Self {
            service,
            common,
            action: settings.action.clone(),
            dry_run: settings.dry_run,
            timeout: settings.timeout,
            retry_for: settings.retry_for,
            max_rows: Arc::new(AtomicUsize::new(usize::MAX)),
            last_success: watch::Sender::default(),
            trouble,
        }
    }

    /// Sends a group, in as many calls as it takes.
    pub(super) async fn send(self, group: Group) -> Result<Done, ClientError> {
        let mut done = Done::default();
        done.skipped.customer.clone_from(&group.key.customer);
        done.skipped.device_type.clone_from(&group.key.device_type);
        let mut parts = vec![group.rows];
        while let Some(mut rows) = parts.pop() {
            if rows.is_empty() {
                continue;
            }
            let max_rows = self.max_rows.load(Ordering::Relaxed);
            if rows.len() > max_rows {
                parts.push(rows.split_off(max_rows));
            }
            match self.result(&group.key, &rows, &mut done.retries).await? {
                CallResult::Assigned(response) => done.count(rows, response),
                CallResult::Transferred(response) => done.count_transferred(rows, response),
                CallResult::Unassigned(response) => done.count_unassigned(rows, response),
                CallResult::NoDevices => done.skip(rows.into_iter().map(|(_, identifier)| identifier)),
                CallResult::Rejected(status) => {
                    let problems = Problems::of(&status);
                    self.check_common(&problems)?;
                    if problems.too_many && rows.len() > 1 {
                        self.max_rows.fetch_min(rows.len().div_ceil(2), Ordering::Relaxed);
                    }
                    done.reject(rows, problems, &status, &mut parts);
                }
            }
        }
        Ok(done)
    }

    /// An error about what all rows have in common is one error, and not one for each row.
    fn check_common(&self, problems: &Problems) -> Result<(), ClientError> {
        match problems {
            // The expected owner is the same for all rows, whatever their customers.
            Problems {
                expected_owner: Some(problem),
                ..
            } => Err(ClientError::ExpectedOwner(problem.clone())),
            Problems {
                customer: Some(problem),
                is_unknown_customer: true,
                ..
            } if self.common.customer => Err(ClientError::CustomerNotFound(problem.clone())),
            Problems {
                customer: Some(problem),
                ..
            } if self.common.customer => Err(ClientError::Customer(problem.clone())),
            Problems {
                device_type: Some(problem),
                ..
            } if self.common.device_type => Err(ClientError::DeviceType(problem.clone())),
            _ => Ok(()),
        }
    }

    /// Sends a call until it is answered.
    async fn result(
        &self,
        key: &GroupKey,
        rows: &[(u64, String)],
        retries: &mut u64,
    ) -> Result<CallResult, ClientError> {
        let mut retry = Retry::new(self.retry_for);
        let idempotency_key = IdempotencyKey::new();
        loop {
            let status = match self.call(key, rows, &idempotency_key).await {
                Ok(result) => {
                    self.last_success.send_replace(Some(Instant::now()));
                    return Ok(result);
                }
                Err(status) => status,
            };
            match status.code() {
                Code::InvalidArgument | Code::OutOfRange => return Ok(CallResult::Rejected(status)),
                Code::NotFound if has_reason(&status, CUSTOMER_NOT_FOUND) => return Ok(CallResult::Rejected(status)),
                Code::FailedPrecondition if has_reason(&status, NO_VALID_DEVICES) => return Ok(CallResult::NoDevices),
                Code::FailedPrecondition if has_reason(&status, NOT_ASSIGNED) => return Ok(CallResult::NoDevices),
                Code::FailedPrecondition if has_reason(&status, TOO_MANY_OWNERS) => {
                    return Ok(CallResult::Rejected(status));
                }
                Code::Unauthenticated | Code::PermissionDenied => {
                    return Err(ClientError::KeyRejected(one_line(status.message())));
                }
                _ if may_succeed_later(&status) => {}
                _ => {
                    let line = |row: Option<&(u64, String)>| row.map_or(0, |(line, _)| *line);
                    return Err(ClientError::Failed {
                        first: line(rows.first()),
                        last: line(rows.last()),
                        answer: answer(&status),
                    });
                }
            }
            let wait = retry.pause(&status, *self.last_success.borrow())?;
            if status.code() != Code::ResourceExhausted {
                // A full channel has a message already, and one is enough.
                let _ = self.trouble.try_send(answer(&status));
            }
            tokio::time::sleep(wait).await;
            *retries += 1;
        }
    }

    async fn call(
        &self,
        key: &GroupKey,
        rows: &[(u64, String)],
        idempotency_key: &IdempotencyKey,
    ) -> Result<CallResult, Status> {
        let customer_email = key.customer.clone();
        let device_identifiers = rows.iter().map(|(_, identifier)| identifier.clone()).collect();
        match &self.action {
            Action::Assign { auto_create } => {
                let auto_create = *auto_create;
                let message = AssignDevicesToOwnerRequest {
                    customer_email,
                    device_identifiers,
                    auto_create_devices: auto_create,
                    device_type: key.device_type.clone().filter(|_| auto_create),
                    validate_only: self.dry_run,
                };
                let response = self.service.assign(message, self.timeout).await;
                response.map(CallResult::Assigned)
            }
            Action::Transfer {
                auto_create,
                expected_owner,
            } => {
                let auto_create = *auto_create;
                let message = TransferDevicesToOwnerRequest {
                    customer_email,
                    device_identifiers,
                    auto_create_devices: auto_create,
                    device_type: key.device_type.clone().filter(|_| auto_create),
                    expected_owner: expected_owner.clone(),
                    validate_only: self.dry_run,
                };
                // Sent again without a key, it would take the device from whoever has got it since the first time.
                let response = self.service.transfer(message, self.timeout, idempotency_key).await;
                response.map(CallResult::Transferred)
            }
            Action::Unassign => {
                let message = UnassignDevicesFromOwnerRequest {
                    customer_email,
                    device_identifiers,
                    include_remaining: false,
                    validate_only: self.dry_run,
                };
                // Sent again without a key, it would remove the device from a customer who has got it back since the first time.
                let response = self.service.unassign(message, self.timeout, idempotency_key).await;
                response.map(CallResult::Unassigned)
            }
        }
    }
}

impl Done {
    fn count(&mut self, rows: Vec<(u64, String)>, response: AssignDevicesToOwnerResponse) {
        let AssignDevicesToOwnerResponse {
            customer_was_created,
            assigned_devices,
            skipped,
            ..
        } = response;
        self.customer_was_created |= customer_was_created;
        self.devices_created += assigned_devices.iter().filter(|device| device.was_created).count() as u64;
        self.count_assigned(rows, assigned_devices.len() as u64, skipped);
    }

    fn count_transferred(&mut self, rows: Vec<(u64, String)>, response: TransferDevicesToOwnerResponse) {
        let TransferDevicesToOwnerResponse {
            customer_was_created,
            assigned_devices,
            already_assigned,
            skipped,
            ..
        } = response;
        self.customer_was_created |= customer_was_created;
        self.devices_created += assigned_devices.iter().filter(|device| device.was_created).count() as u64;
        let removed = assigned_devices.iter().chain(&already_assigned);
        let removed = removed.map(|device| u64::try_from(device.previous_owners_count).unwrap_or_default());
        self.owners_removed += removed.sum::<u64>();
        self.count_assigned(rows, assigned_devices.len() as u64, skipped);
    }

    /// Rows that are neither assigned nor skipped belonged to the customer before, or repeat another row.
    fn count_assigned(&mut self, rows: Vec<(u64, String)>, assigned: u64, skipped: Vec<String>) {
        let mut found = rows.len() as u64;
        if !skipped.is_empty() {
            let skipped: HashSet<String> = skipped.into_iter().collect();
            let identifiers = rows.into_iter().map(|(_, identifier)| identifier);
            let before = self.skipped.identifiers.len();
            self.skip(identifiers.filter(|identifier| skipped.contains(identifier)));
            found -= (self.skipped.identifiers.len() - before) as u64;
        }
        self.assigned += assigned;
        self.already_assigned += found.saturating_sub(assigned);
    }

    /// A row that repeats another is skipped: the device is removed once.
    fn count_unassigned(&mut self, rows: Vec<(u64, String)>, response: UnassignDevicesFromOwnerResponse) {
        let mut unassigned: HashSet<String> = response.unassigned_devices.into_iter().collect();
        self.unassigned += unassigned.len() as u64;
        let identifiers = rows.into_iter().map(|(_, identifier)| identifier);
        self.skip(identifiers.filter(|identifier| !unassigned.remove(identifier)));
    }

    fn skip(&mut self, identifiers: impl Iterator<Item = String>) {
        self.skipped.identifiers.extend(identifiers);
    }

    /// Leaves out the rows that are named. The others are sent again in two parts: the service names a limited number, and the
    /// problem of a call may be its size.
    fn reject(
        &mut self,
        mut rows: Vec<(u64, String)>,
        problems: Problems,
        status: &Status,
        parts: &mut Vec<Vec<(u64, String)>>,
    ) {
        let mut of_rows = problems.rows;
        let mut of_all = problems.customer.or(problems.device_type);
        if of_all.is_none() && of_rows.is_empty() && rows.len() == 1 {
            of_all = Some(one_line(status.message()));
        }
        let mut place = 0;
        rows.retain(|(line, _)| {
            let problem = of_rows.remove(&place).or_else(|| of_all.clone());
            place += 1;
            let is_rejected = problem.is_some();
            self.refused
                .extend(problem.map(|problem| RejectedRow { line: *line, problem }));
            !is_rejected
        });
        let half = rows.split_off(rows.len() / 2);
        parts.push(half);
        parts.push(rows);
    }
}
