//! What a caller learns of the limits of its key, with every answer (draft-ietf-httpapi-ratelimit-headers-11).

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    domain::Metered,
    service::{Allowance, Caller},
};

/// What is left of each limit.
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// The limits.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The metadata entries that tell of limits.
pub const RATE_LIMIT_HEADERS: [HeaderName; 2] = [POLICY, LEFT];

/// Tells `caller` of its limits. Without limits there is nothing to tell.
pub(super) fn tell(headers: &mut HeaderMap, caller: &Caller) {
    let policies = caller.allowances().map(|allowance| policy(&allowance));
    set(headers, POLICY, &policies.collect::<Vec<_>>());
    let left = caller.allowances().filter_map(|allowance| left(&allowance));
    set(headers, LEFT, &left.collect::<Vec<_>>());
}

fn set(headers: &mut HeaderMap, name: HeaderName, items: &[String]) {
    if !items.is_empty()
        && let Ok(value) = HeaderValue::try_from(items.join(", "))
    {
        headers.insert(name, value);
    }
}

/// So many units in so many seconds.
fn policy(allowance: &Allowance) -> String {
    let (name, quota) = (allowance.of.name(), allowance.limit.burst());
    let window = seconds(allowance.limit.window());
    let unit = match allowance.of {
        Metered::Calls => "", // requests, unless said
        Metered::Devices => ";qu=\"devices\"",
    };
    format!("\"{name}\";q={quota}{unit};w={window}")
}

/// So many units are left until all are there again, in so many seconds.
fn left(allowance: &Allowance) -> Option<String> {
    let left = allowance.left?;
    let full_in = seconds(allowance.full_in(left));
    Some(format!("\"{}\";r={left};t={full_in}", allowance.of.name()))
}

/// Whole seconds, rounded up.
fn seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
