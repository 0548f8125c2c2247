use tonic_types::ErrorDetails;

use super::*;
use crate::gateway::error_responses::ERROR_RESPONSES;

/// The rows of the tables in `docs/ERRORS.md` that have a column `REST`: the reason, where the table has a column for it, and
/// the statuses.
fn documented() -> Vec<(Option<&'static str>, Vec<u16>)> {
    let mut rows = Vec::new();
    let mut columns: Option<(Option<usize>, usize)> = None;
    for line in include_str!("../../../docs/ERRORS.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let column = |name| cells.iter().position(|cell| *cell == name);
        if !line.starts_with('|') {
            columns = None;
        } else if let Some(rest) = column("REST") {
            columns = Some((column("reason"), rest));
        } else if let Some((reason, rest)) = columns.filter(|_| !line.starts_with("|-")) {
            let statuses = cells[rest].split(", ").filter(|status| !status.is_empty());
            let statuses = statuses.map(|status| status.parse().expect("a status")).collect();
            rows.push((reason.map(|reason| cells[reason]), statuses));
        }
    }
    rows
}

#[test]
fn the_documented_status_of_a_reason_is_its_own() {
    let documented = documented();
    for &reason in Reason::ALL {
        let row = documented.iter().find(|(name, _)| *name == Some(reason.name()));
        let (_, statuses) = row.unwrap_or_else(|| panic!("{} is not documented", reason.name()));
        // Without a status it exists on gRPC only.
        if !statuses.is_empty() {
            assert_eq!(statuses, &[status_of(reason).as_u16()], "{}", reason.name());
        }
    }
}

#[test]
fn every_status_is_documented_and_no_other() {
    // A proxy's; the transport's.
    const OTHERS: [u16; 2] = [502, 431];
    let documented: Vec<u16> = documented().into_iter().flat_map(|(_, statuses)| statuses).collect();
    let described: Vec<u16> = ERROR_RESPONSES.iter().map(|response| response.http).collect();
    for status in &described {
        assert!(documented.contains(status), "{status} is not documented");
    }
    for status in documented {
        let is_described = described.contains(&status) || OTHERS.contains(&status);
        assert!(is_described, "{status} is never returned");
    }
}

#[test]
fn a_status_of_another_does_not_show_its_message() {
    let cases = [
        (Code::Unavailable, 503, Reason::Unavailable),
        (Code::Unknown, 503, Reason::Unavailable),
        (Code::ResourceExhausted, 429, Reason::Overloaded),
        (Code::DeadlineExceeded, 504, Reason::DeadlineExceeded),
        (Code::Cancelled, 499, Reason::Cancelled),
        (Code::Unauthenticated, 500, Reason::Internal),
        (Code::Unimplemented, 500, Reason::Internal),
        (Code::InvalidArgument, 500, Reason::Internal),
    ];
    for (code, http, reason) in cases {
        let secret = "upstream 10.0.0.7 said no";
        let foreign = ErrorDetails::with_error_info("RATE_LIMITED", "proxy.example", []);
        for status in [
            Status::new(code, secret),
            Status::with_error_details(code, secret, foreign.clone()),
        ] {
            let Problem(problem) = Problem::from(status);
            assert_eq!((problem.http.as_u16(), problem.code), (http, reason.code()), "{code:?}");
            assert_eq!(problem.reason, reason.name());
            assert!(!problem.sentence.contains("10.0.0.7"), "{}", problem.sentence);
        }
    }
}

#[test]
fn a_status_of_the_service_keeps_its_reason_and_numbers() {
    // A reason of a newer service.
    let mut details = ErrorDetails::with_error_info("NEW_REASON", DOMAIN, [("limit".into(), "7".into())]);
    details.set_retry_info(Some(Duration::from_millis(2_500)));
    details.add_bad_request_violation("device_identifiers[2]", "device_identifiers[2] is new");
    let status = Status::with_error_details(Code::ResourceExhausted, "set auto_create_devices", details);
    let Problem(problem) = Problem::from(status);
    assert_eq!(problem.http, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (&*problem.reason, problem.sentence.as_str()),
        ("NEW_REASON", "set autoCreateDevices")
    );
    assert_eq!(problem.headers[header::RETRY_AFTER], "3");
    let metadata: Vec<_> = problem
        .metadata
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(metadata, [("limit", "7"), ("retryAfterSeconds", "3")]);
    let [violation] = problem.violations.as_slice() else {
        panic!("{:?}", problem.violations);
    };
    assert_eq!(violation.field, "deviceIdentifiers[2]");
    assert_eq!(violation.description, "deviceIdentifiers[2] is new");
}

#[test]
fn contention_says_when_to_try_again() {
    let mut details = ErrorDetails::with_error_info(Reason::TooMuchContention.name(), DOMAIN, []);
    details.set_retry_info(Some(Duration::from_secs(1)));
    let status = Status::with_error_details(Code::Aborted, "too many changes", details);
    let Problem(problem) = Problem::from(status);
    assert_eq!(problem.http, StatusCode::CONFLICT);
    assert_eq!(problem.headers[header::RETRY_AFTER], "1");
    assert_eq!(problem.metadata["retryAfterSeconds"], "1");
}
