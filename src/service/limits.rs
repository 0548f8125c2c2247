//! Rate limits of keys, and the bound on calls in flight. Each instance counts for itself.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};

use governor::{
    Quota,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::{policy::EvictionPolicy, sync::Cache};

use super::{Caller, Service};
use crate::{
    domain::{
        Error, Metered,
        id::{ApiKeyId, OrganizationId},
    },
    duration::ceil_to_seconds,
    shares::{Holder, Share, Shares},
};

/// The most keys, and the most addresses, that are remembered. Beyond it, the one that was idle longest is forgotten.
pub(super) const REMEMBERED: u64 = 100_000;
/// The longest time that an idle key or address is remembered.
pub(super) const LONGEST_MEMORY: Duration = Duration::from_secs(24 * 3_600);

/// A rate limit: one unit each interval, and up to the burst at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    interval: Duration,
    burst: NonZeroU32,
}

impl Limit {
    /// One unit each `interval`, and at most `burst` at once. `None`, which is no limit, if one of them is zero.
    pub fn new(interval: Duration, burst: u32) -> Option<Self> {
        let burst = NonZeroU32::new(burst)?;
        (!interval.is_zero()).then_some(Self { interval, burst })
    }

    /// `units` a second, and at most `burst` at once. `None`, which is no limit, if one of them is 0.
    pub fn per_second(units: u32, burst: u32) -> Option<Self> {
        Self::new(Duration::from_secs(1).checked_div(units)?, burst)
    }

    /// How long until another unit may be taken.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The most units at once.
    pub fn burst(&self) -> u32 {
        self.burst.get()
    }

    /// How long until so many units may be taken again.
    fn time_for(&self, units: u32) -> Duration {
        self.interval.saturating_mul(units)
    }

    /// How long until an empty bucket is full.
    pub fn window(&self) -> Duration {
        self.time_for(self.burst.get())
    }
}

/// The limits of keys and addresses. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Calls with one API key.
    pub calls: Option<Limit>,
    /// Device identifiers in the calls with one API key.
    pub devices: Option<Limit>,
    /// Invalid API keys from one address.
    pub failed_keys: Option<Limit>,
    /// The most calls in flight, of all callers. One organization may have no more than are left for the others.
    pub max_in_flight: Option<usize>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            calls: Limit::per_second(10_000, 20_000),
            devices: Limit::per_second(1_000_000, 2_000_000),
            failed_keys: Limit::per_second(10, 100),
            max_in_flight: Some(4_096),
        }
    }
}

/// A token bucket: a limit, and how much of it is left.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: Limit,
    limiter: governor::RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
}

/// A bucket has too few units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    /// The units that are left.
    pub(super) left: u32,
    /// How long until there are enough.
    pub(super) wait: Duration,
}

impl Bucket {
    pub(super) fn new(limit: Limit) -> Self {
        let quota = Quota::with_period(limit.interval).unwrap_or(Quota::per_second(limit.burst));
        let limiter = governor::RateLimiter::direct(quota.allow_burst(limit.burst)).with_middleware();
        Self { limit, limiter }
    }

    /// Takes `units`, all or none, and returns how many are left.
    pub(super) fn take(&self, units: u32) -> Result<u32, Shortage> {
        // More than the burst would never be available.
        let units = units.min(self.limit.burst());
        let Some(wanted) = NonZeroU32::new(units) else {
            return Ok(self.limit.burst());
        };
        match self.limiter.check_n(wanted) {
            Ok(Ok(state)) => Ok(state.remaining_burst_capacity()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                let missing = wait.as_nanos().div_ceil(self.limit.interval.as_nanos().max(1));
                let left = units.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX));
                Err(Shortage { left, wait })
            }
            // Bounded above.
            Err(_more_than_the_burst) => Ok(0),
        }
    }
}

/// The limits of one key.
#[derive(Debug, Default)]
pub(super) struct KeyLimits {
    calls: Option<Bucket>,
    devices: Option<Bucket>,
}

/// The rate limits of a call's key, and what is left of them.
#[derive(Debug, Default)]
pub(super) struct RateLimitHandle {
    limits: Arc<KeyLimits>,
    calls_left: OnceLock<u32>,
    devices_left: OnceLock<u32>,
}

/// One rate limit of a key, and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// What it counts.
    pub of: Metered,
    /// The limit.
    pub limit: Limit,
    /// How much is left, if the call was counted.
    pub left: Option<u32>,
}

impl Allowance {
    /// How long until the bucket is full, if so much is left.
    pub fn full_in(&self, left: u32) -> Duration {
        self.limit.time_for(self.limit.burst().saturating_sub(left))
    }
}

impl RateLimitHandle {
    pub(super) fn take(&self, of: Metered, units: u32) -> Result<(), Error> {
        let (bucket, left) = match of {
            Metered::Calls => (&self.limits.calls, &self.calls_left),
            Metered::Devices => (&self.limits.devices, &self.devices_left),
        };
        let Some(bucket) = bucket else {
            return Ok(());
        };
        let taken = bucket.take(units);
        let _ = left.set(taken.unwrap_or_else(|shortage| shortage.left));
        taken.map(drop).map_err(|shortage| Error::RateLimited {
            of,
            limit: bucket.limit.burst(),
            retry_after: ceil_to_seconds(shortage.wait),
        })
    }

    pub(super) fn allowances(&self) -> impl Iterator<Item = Allowance> {
        let KeyLimits { calls, devices } = &*self.limits;
        let of_each = [
            (Metered::Calls, calls, &self.calls_left),
            (Metered::Devices, devices, &self.devices_left),
        ];
        of_each.into_iter().filter_map(|(of, bucket, left)| {
            let limit = bucket.as_ref()?.limit;
            let left = left.get().copied();
            Some(Allowance { of, limit, left })
        })
    }
}

/// The rate limits of all keys, and the calls in flight.
#[derive(Debug)]
pub(super) struct RateLimiter {
    settings: LimitSettings,
    keys: Cache<ApiKeyId, Arc<KeyLimits>>,
    in_flight: Shares<Holder>,
}

impl RateLimiter {
    pub(super) fn new(settings: LimitSettings) -> Self {
        let of_a_key = [settings.calls, settings.devices];
        let longest = of_a_key.iter().flatten().map(Limit::window).max().unwrap_or_default();
        let keys = Cache::builder()
            .max_capacity(REMEMBERED)
            // With the default policy, a new key among many would not be remembered, and its calls not counted.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(ceil_to_seconds(longest).min(LONGEST_MEMORY))
            .build();
        let in_flight = Shares::new(settings.max_in_flight.unwrap_or(usize::MAX));
        Self {
            settings,
            keys,
            in_flight,
        }
    }

    /// The rate limits of `key`.
    pub(super) fn of_key(&self, key: ApiKeyId) -> RateLimitHandle {
        let LimitSettings { calls, devices, .. } = self.settings;
        if calls.is_none() && devices.is_none() {
            return RateLimitHandle::default();
        }
        let limits = self.keys.get_with(key, || {
            Arc::new(KeyLimits {
                calls: calls.map(Bucket::new),
                devices: devices.map(Bucket::new),
            })
        });
        RateLimitHandle {
            limits,
            ..RateLimitHandle::default()
        }
    }
}

/// The permit of a call to be in flight, until it is dropped.
#[derive(Debug)]
pub struct InFlightPermit(Share<Holder>);

impl InFlightPermit {
    /// Hands the permit over to the organization that calls.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the organization has too many calls in flight.
    pub fn for_organization(self, organization: OrganizationId) -> Result<Self, Error> {
        let holder = Holder::Organization(organization.uuid());
        self.0.hand_over(holder).map(Self).ok_or(Error::Overloaded)
    }
}

impl Service {
    /// Permits a call from `network` to be in flight.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if too many are.
    pub fn enter(&self, network: Option<IpAddr>) -> Result<InFlightPermit, Error> {
        let permit = self.rate_limiter.in_flight.take(Holder::Network(network), 1);
        permit.map(InFlightPermit).ok_or(Error::Overloaded)
    }

    /// Counts a call of `caller`.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn count_call(&self, caller: &Caller) -> Result<(), Error> {
        caller.rate_limits.take(Metered::Calls, 1)
    }
}

impl Caller {
    /// Counts units of a call of this caller.
    pub(super) fn count(&self, of: Metered, units: usize) -> Result<(), Error> {
        self.rate_limits.take(of, u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// Counts what a gateway itself rejected for this caller.
    pub(super) fn count_rejected(&self, calls: u32, devices: u32) -> Result<(), Error> {
        let counts = [(Metered::Calls, calls), (Metered::Devices, devices)];
        for (of, units) in counts.into_iter().filter(|(_, units)| *units > 0) {
            self.rate_limits.take(of, units)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn bucket(interval: Duration, burst: u32) -> Bucket {
        Bucket::new(Limit::new(interval, burst).expect("a limit"))
    }

    #[test]
    fn zero_units_are_no_limit() {
        assert_eq!(Limit::per_second(0, 5), None);
        assert_eq!(Limit::per_second(5, 0), None);
        let limit = Limit::per_second(10_000, 20_000).expect("a limit");
        assert_eq!((limit.burst(), limit.window()), (20_000, Duration::from_secs(2)));
    }

    #[test]
    fn a_burst_can_be_taken_once() {
        let bucket = bucket(HOUR, 3);
        assert_eq!([bucket.take(1), bucket.take(1), bucket.take(1)], [Ok(2), Ok(1), Ok(0)]);
        let shortage = bucket.take(1).expect_err("nothing left");
        assert_eq!(shortage.left, 0);
        assert_eq!(ceil_to_seconds(shortage.wait), HOUR);
    }

    #[test]
    fn many_units_are_taken_all_or_none() {
        let bucket = bucket(HOUR, 10);
        assert_eq!(bucket.take(6), Ok(4));
        let shortage = bucket.take(6).expect_err("too many");
        assert_eq!((shortage.left, ceil_to_seconds(shortage.wait)), (4, 2 * HOUR));
        assert_eq!(bucket.take(4), Ok(0));
    }

    #[test]
    fn more_than_the_burst_takes_the_burst() {
        let bucket = bucket(HOUR, 10);
        assert_eq!(bucket.take(u32::MAX), Ok(0));
        assert_eq!(bucket.take(0), Ok(10), "nothing can always be taken");
        assert!(bucket.take(1).is_err());
    }
}
