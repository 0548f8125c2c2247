//! What a caller learns of the limits of its key, with every answer (draft-ietf-httpapi-ratelimit-headers-11).

use std::fmt::{self, Write};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    domain::Metered,
    duration::ceil_seconds,
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
    let (mut policy, mut left) = (String::new(), String::new());
    for allowance in caller.allowances() {
        let result = write_policy(&mut policy, &allowance).and_then(|()| write_left(&mut left, &allowance));
        // A string takes everything.
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

/// So many units in so many seconds.
fn write_policy(list: &mut String, allowance: &Allowance) -> fmt::Result {
    let (name, quota) = (allowance.of.name(), allowance.limit.burst());
    let window = ceil_seconds(allowance.limit.window());
    let unit = match allowance.of {
        Metered::Calls => "", // requests, unless said
        Metered::Devices => ";qu=\"devices\"",
    };
    write!(list, "{}\"{name}\";q={quota}{unit};w={window}", comma(list))
}

/// So many units are left until all are there again, in so many seconds.
fn write_left(list: &mut String, allowance: &Allowance) -> fmt::Result {
    let Some(left) = allowance.left else {
        return Ok(());
    };
    let (name, full_in) = (allowance.of.name(), ceil_seconds(allowance.full_in(left)));
    write!(list, "{}\"{name}\";r={left};t={full_in}", comma(list))
}

/// What comes before another item of a list.
fn comma(list: &str) -> &'static str {
    if list.is_empty() { "" } else { ", " }
}
