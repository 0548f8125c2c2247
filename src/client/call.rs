//! The calls for one customer: made again while the service cannot carry them out, and in parts when it refuses them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    ClientError, Settings, SkippedRows,
    connect::{Service, answer, one_line},
    rows::{HEADER_WITH_TYPE, Key},
    window::Group,
};
use crate::{
    list::RefusedRow,
    pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse},
};

/// How long to wait before a call is made again when the service does not say; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest wait that is believed when somebody asks for it.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// The reason of a refusal of which each identifier is known to lead to no device.
const NO_VALID_DEVICES: &str = "NO_VALID_DEVICES";

/// Makes calls.
#[derive(Clone)]
pub(super) struct Caller {
    service: Service,
    auto_create: bool,
    timeout: Duration,
    retry_for: Duration,
    /// The most identifiers of a call, as far as the service has told: it may be set to less than is usual.
    max_rows: Arc<AtomicUsize>,
    /// When a call of any group was last carried out.
    last_success: watch::Sender<Option<Instant>>,
    trouble: mpsc::Sender<String>,
}

/// What became of a group.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) assigned: u64,
    pub(super) already_assigned: u64,
    pub(super) devices_created: u64,
    pub(super) customer_was_created: bool,
    pub(super) retries: u64,
    pub(super) skipped: SkippedRows,
    pub(super) refused: Vec<RefusedRow>,
}

/// What a call comes to that was answered.
enum Answer {
    Assigned(AssignDevicesToOwnerResponse),
    /// No identifier leads to a device.
    NoDevices,
    /// The request breaks a rule.
    Refused(Status),
}

/// What is wrong with a request, seen from its rows.
#[derive(Debug, Default)]
struct Problems {
    /// With single rows, by their place.
    rows: BTreeMap<usize, String>,
    /// With what they have in common.
    all: Option<String>,
    /// That there are too many.
    too_many: bool,
}

impl Caller {
    pub(super) fn new(service: Service, settings: &Settings, trouble: mpsc::Sender<String>) -> Self {
        Self {
            service,
            auto_create: settings.auto_create,
            timeout: settings.timeout,
            retry_for: settings.retry_for,
            max_rows: Arc::new(AtomicUsize::new(usize::MAX)),
            last_success: watch::Sender::default(),
            trouble,
        }
    }

    pub(super) async fn carry_out(self, group: Group) -> Result<Done, ClientError> {
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
            match self.answer(&group.key, &rows, &mut done.retries).await? {
                Answer::Assigned(response) => done.count(rows, response),
                Answer::NoDevices => done.skip(rows.into_iter().map(|(_, identifier)| identifier)),
                Answer::Refused(status) => {
                    let problems = Problems::of(&status);
                    if problems.too_many && rows.len() > 1 {
                        self.max_rows.fetch_min(rows.len().div_ceil(2), Ordering::Relaxed);
                    }
                    done.refuse(rows, problems, &status, &mut parts);
                }
            }
        }
        Ok(done)
    }

    /// Makes a call until it is answered.
    async fn answer(&self, key: &Key, rows: &[(u64, String)], retries: &mut u64) -> Result<Answer, ClientError> {
        let mut failing_since = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let message = self.message(key, rows);
            let status = match self.service.call(message, self.timeout).await {
                Ok(response) => {
                    self.last_success.send_replace(Some(Instant::now()));
                    return Ok(Answer::Assigned(response.into_inner()));
                }
                Err(status) => status,
            };
            match status.code() {
                Code::InvalidArgument | Code::OutOfRange => return Ok(Answer::Refused(status)),
                Code::FailedPrecondition if has_reason(&status, NO_VALID_DEVICES) => return Ok(Answer::NoDevices),
                Code::Unauthenticated | Code::PermissionDenied => {
                    return Err(ClientError::KeyRefused(one_line(status.message())));
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
            let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
            // Not earlier than the service says; and not all at once, either way.
            let wait = match asked {
                Some(asked) => asked.min(LONGEST_ASKED).mul_f64(rand::random_range(1.0..1.5)),
                None => pause.mul_f64(rand::random_range(0.5..1.0)),
            };
            let began = *failing_since.get_or_insert_with(Instant::now);
            // As long as others are carried out, so will this one be: calls with one key wait for each other's share.
            let failing_since = (*self.last_success.borrow()).map_or(began, |success| success.max(began));
            if failing_since.elapsed() + wait > self.retry_for {
                return Err(ClientError::GaveUp {
                    retried_for: self.retry_for,
                    answer: answer(&status),
                });
            }
            if status.code() != Code::ResourceExhausted {
                // Who listens has heard enough when there is no room for it.
                let _ = self.trouble.try_send(answer(&status));
            }
            tokio::time::sleep(wait).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            *retries += 1;
        }
    }

    fn message(&self, key: &Key, rows: &[(u64, String)]) -> AssignDevicesToOwnerRequest {
        AssignDevicesToOwnerRequest {
            customer_email: key.customer.clone(),
            device_identifiers: rows.iter().map(|(_, identifier)| identifier.clone()).collect(),
            auto_create_devices: self.auto_create,
            device_type: key.device_type.clone().filter(|_| self.auto_create),
        }
    }
}

fn has_reason(status: &Status, reason: &str) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == reason)
}

/// Whether the same call may be carried out another time: when the service says so, and when no answer of it came. The
/// outcome may be unknown then, and the call is idempotent.
fn may_succeed_later(status: &Status) -> bool {
    let is_answer = status.get_details_error_info().is_some();
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => true,
        Code::Cancelled | Code::Unknown | Code::Internal => !is_answer,
        _ => false,
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
        let assigned = assigned_devices.len() as u64;
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

    fn skip(&mut self, identifiers: impl Iterator<Item = String>) {
        self.skipped.identifiers.extend(identifiers);
    }

    /// Leaves out the rows that are named. The others go again in two parts: the service names only so many, and what
    /// is wrong with a call may be its size.
    fn refuse(
        &mut self,
        mut rows: Vec<(u64, String)>,
        mut problems: Problems,
        status: &Status,
        parts: &mut Vec<Vec<(u64, String)>>,
    ) {
        if problems.all.is_none() && problems.rows.is_empty() && rows.len() == 1 {
            problems.all = Some(one_line(status.message()));
        }
        let mut place = 0;
        rows.retain(|(line, _)| {
            let problem = problems.rows.remove(&place).or_else(|| problems.all.clone());
            place += 1;
            let is_refused = problem.is_some();
            self.refused
                .extend(problem.map(|problem| RefusedRow { line: *line, problem }));
            !is_refused
        });
        let half = rows.split_off(rows.len() / 2);
        parts.push(half);
        parts.push(rows);
    }
}

impl Problems {
    fn of(status: &Status) -> Self {
        let mut problems = Self::default();
        let violations = status.get_details_bad_request().map(|details| details.field_violations);
        let [customer, identifier, device_type] = HEADER_WITH_TYPE;
        for violation in violations.unwrap_or_default() {
            let about = |column| in_columns(column, &violation.description);
            match violation.field.as_str() {
                "device_identifiers" => problems.too_many = true,
                "customer_email" => problems.all = Some(about(customer)),
                "device_type" => problems.all = problems.all.or_else(|| Some(about(device_type))),
                field => {
                    if let Some(place) = place(field) {
                        problems.rows.insert(place, about(identifier));
                    }
                }
            }
        }
        problems
    }
}

/// The place that `device_identifiers[2]` names.
fn place(field: &str) -> Option<usize> {
    let place = field.strip_prefix("device_identifiers[")?.strip_suffix(']')?;
    place.parse().ok()
}

/// What is wrong with a field of the request, said of a column: the description begins with the field's JSON name.
fn in_columns(column: &str, description: &str) -> String {
    let description = one_line(description);
    match description.split_once(' ') {
        Some((name, rest)) if name.starts_with(|char: char| char.is_ascii_lowercase()) => format!("{column} {rest}"),
        _ => format!("{column}: {description}"),
    }
}
