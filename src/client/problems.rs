//! Reads from an error what is wrong with the rows of a call.

use std::collections::BTreeMap;

use tonic::Status;
use tonic_types::StatusExt;

use super::{connect::one_line, rows::HEADER_WITH_TYPE};

/// The reason of the error that the customer does not exist.
pub(super) const CUSTOMER_NOT_FOUND: &str = "CUSTOMER_NOT_FOUND";

/// What is wrong with the rows of a request.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// Problems of single rows, by their place.
    pub(super) rows: BTreeMap<usize, String>,
    /// The problem of their customer.
    pub(super) customer: Option<String>,
    /// Whether that is that it does not exist.
    pub(super) is_unknown_customer: bool,
    /// The problem of the customer whom the devices must belong to.
    pub(super) expected_owner: Option<String>,
    /// The problem of their device type.
    pub(super) device_type: Option<String>,
    /// There are too many.
    pub(super) too_many: bool,
}

impl Problems {
    /// Reads the details of a rejection.
    pub(super) fn of(status: &Status) -> Self {
        let mut problems = Self::default();
        if has_reason(status, CUSTOMER_NOT_FOUND) {
            problems.customer = Some(one_line(status.message()));
            problems.is_unknown_customer = true;
        }
        let violations = status.get_details_bad_request().map(|details| details.field_violations);
        let [customer, identifier, device_type] = HEADER_WITH_TYPE;
        for violation in violations.unwrap_or_default() {
            let about = |column| in_columns(column, &violation.description);
            match violation.field.as_str() {
                "device_identifiers" => problems.too_many = true,
                "customer_email" => problems.customer = Some(about(customer)),
                "expected_owner" => problems.expected_owner = Some(one_line(&violation.description)),
                "device_type" => problems.device_type = Some(about(device_type)),
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

/// The description of a problem with the name of a column in place of the field's name, with which it begins.
fn in_columns(column: &str, description: &str) -> String {
    let description = one_line(description);
    match description.split_once(' ') {
        Some((name, rest)) if name.starts_with(|char: char| char.is_ascii_lowercase()) => format!("{column} {rest}"),
        _ => format!("{column}: {description}"),
    }
}

/// Whether an error has this reason.
pub(super) fn has_reason(status: &Status, reason: &str) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == reason)
}
