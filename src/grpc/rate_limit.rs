//! The rate-limit headers of every response (draft-ietf-httpapi-ratelimit-headers-11).

use std::fmt::{self, Write};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    domain::Metered,
    duration::ceil_seconds,
    service::{Allowance, Caller},
};

/// The header with what is left of each limit.
pub(super) const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// The header with the limits.
pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The rate-limit headers.
pub const RATE_LIMIT_HEADERS: [HeaderName; 2] = [POLICY, LEFT];

/// Writes the limits of `caller`, if there are any.
pub(super) fn write(headers: &mut HeaderMap, caller: &Caller) {
    let (mut policy, mut left) = (String::new(), String::new());
    for allowance in caller.allowances() {
        let result = write_policy(&mut policy, &allowance).and_then(|()| write_left(&mut left, &allowance));
        // Writing to a string does not fail.
        debug_assert!(result.is_ok());
    }
    for (name, value) in [(POLICY, policy), (LEFT, left)] {
        if !value.is_empty()
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
    }
}

/// The quota and its window.
fn write_policy(list: &mut String, allowance: &Allowance) -> fmt::Result {
    let (name, quota) = (allowance.of.name(), allowance.limit.burst());
    let window = ceil_seconds(allowance.limit.window());
    let unit = match allowance.of {
        Metered::Calls => "", // the default unit, requests
        Metered::Devices => ";qu=\"devices\"",
    };
    write!(list, "{}\"{name}\";q={quota}{unit};w={window}", comma(list))
}

/// The units that are left, and the seconds until the quota is full.
fn write_left(list: &mut String, allowance: &Allowance) -> fmt::Result {
    let Some(left) = allowance.left else {
        return Ok(());
    };
    let (name, full_in) = (allowance.of.name(), ceil_seconds(allowance.full_in(left)));
    write!(list, "{}\"{name}\";r={left};t={full_in}", comma(list))
}

/// The separator before another item of a list.
fn comma(list: &str) -> &'static str {
    if list.is_empty() { "" } else { ", " }
}
